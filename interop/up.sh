#!/usr/bin/env bash
# The quick start in the local cloud, as root and as an ordinary user: the page is
# served, a new version takes over, and a broken one is rolled back.
. "$(dirname "$0")/setup.sh"
need curl python3

# quick_start NAME COMMAND… does it all; the command is what boyabuild is run by.
quick_start() {
  local who=$1 app=$work/$1 port api url pid started
  shift
  local run=("$@")
  port=$(free_port) api=$(free_port)
  url=http://127.0.0.1:$port/
  up() { expect "$1" "${run[@]}" up --local --detach --address "127.0.0.1:$api" --tag "$2" "$app"; } # STATUS TAG
  sample "$app" "$port"
  chmod -R go+rX "$app"

  step "$who: boyabuild up --local --detach"
  endings+=("${run[*]@Q} local stop >/dev/null 2>&1")
  started=$SECONDS
  up 0 1.0
  step "$who: healthy in $((SECONDS - started)) s"
  same "$(cat "$work/stdout")" "$url" "what up prints"
  pid=$(sed -n 's/.*(process \([0-9]*\)).*/\1/p' "$work/stderr")
  [ -n "$pid" ] || die "up does not say in which process the local cloud runs"
  fetch "$url" >"$work/page"
  says "$work/page" "<title>boyacky" "Nobody has grumbled yet"
  fetch -L -d "text=my tea went cold" "${url}grumbles" >"$work/page"
  says "$work/page" "my tea went cold"
  fetch "${url}static/teacup.svg" >"$work/page"
  says "$work/page" "<svg"
  same "$(fetch "${url}healthz" | tr -d ' \n')" '{"status":"ok","store":"memory"}' "health"

  step "$who: the same again changes nothing"
  up 0 1.0
  fetch "$url" >"$work/page"
  says "$work/page" "my tea went cold" # kept in the memory of the task that still runs

  step "$who: a new version takes over"
  sed -i 's/Let it out\./Out with it./' "$app/app/templates/base.html"
  up 0 1.1
  fetch "$url" >"$work/page"
  says "$work/page" "Out with it." "Nobody has grumbled yet"

  step "$who: one that cannot start is rolled back, with status 3 and its reasons"
  echo 'raise SystemExit("out of tea")' >"$app/app/__main__.py"
  up 3 1.2
  says "$work/stderr" "out of tea"
  await 30 fetch "${url}healthz"
  fetch "$url" >"$work/page"
  says "$work/page" "Out with it."

  step "$who: boyabuild local stop"
  expect 0 "${run[@]}" local stop
  [ ! -d "/proc/$pid" ] || await 10 test ! -d "/proc/$pid"
  expect 7 curl -sS --noproxy '*' --max-time 5 "$url"
  expect 0 "${run[@]}" local stop
}

quick_start "$(id -un)" "$boyabuild"

if ! is_root; then
  step "the part as another user needs root"
else
  make_user
  if as_user unshare --user --map-root-user true 2>"$work/unshare.log"; then
    cp -r "$BOYABUILD_CACHE" "$work/user/cache"
    chown -R "$user:" "$work/user"
    quick_start "$user" as_user env BOYABUILD_CACHE="$work/user/cache" "$boyabuild"
  else
    step "ordinary user: user namespaces are not permitted here: $(cat "$work/unshare.log")"
  fi
fi

# In a user namespace that may have none below it, without any capability, no
# sandbox can be made at all.
if unshare --user --map-root-user true 2>/dev/null; then
  step "where no task can be run, that is said before anything is built"
  sample "$work/refused"
  expect 1 env BOYABUILD_CACHE="$work/empty" unshare --user --map-root-user sh -c '
    echo 0 >/proc/sys/user/max_user_namespaces &&
    exec setpriv --bounding-set -all --inh-caps -all "$@"' sh \
    "$boyabuild" up --local --detach --tag 1.0 "$work/refused"
  says "$work/stderr" "no sandbox can be made on this machine" "hint:"
  [ -z "$(find "$work/empty/blobs" -type f)" ] || die "it was built all the same"
fi
step ok
