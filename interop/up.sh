#!/usr/bin/env bash
# The quick start in the local cloud, as root and as an ordinary user: the page is
# served, a new version takes over, and a broken one is rolled back.
. "$(dirname "$0")/setup.sh"
need curl python3

# quick_start NAME COMMAND… does it all; the command is what boyabuild is run by.
quick_start() {
  local who=$1 port url app arn log pid
  shift
  port=$(free_port)
  app=$work/$who
  # With "as_user env -C DIR program", the rest of the arguments follow.
  up() { expect "$1" "${run[@]}" up --local --detach --address "127.0.0.1:$api" --tag "$2" "$app"; }
  local run=("$@") api
  api=$(free_port)
  url=http://127.0.0.1:$port/
  sample "$app" "$port"
  chmod -R go+rX "$app"

  step "$who: boyabuild up --local --detach"
  endings+=("${*@Q} local stop >/dev/null 2>&1")
  local started=$SECONDS
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
  cp "$app/app/__main__.py" "$work/main.py"
  echo 'raise SystemExit("out of tea")' >"$app/app/__main__.py"
  up 3 1.2
  says "$work/stderr" "out of tea"
  await 30 fetch "${url}healthz"
  fetch "$url" >"$work/page"
  says "$work/page" "Out with it."

  step "$who: boyabuild local stop"
  expect 0 "$@" local stop
  [ ! -d "/proc/$pid" ] || await 10 test ! -d "/proc/$pid"
  expect 7 curl -sS --noproxy '*' --max-time 5 "$url"
  expect 0 "$@" local stop
}

quick_start "$(id -un)" "$boyabuild"

if ! is_root; then
  step "the part as another user needs root"
elif make_user && ! as_user unshare --user --map-root-user true 2>"$work/unshare.log"; then
  # Where it is not permitted, that is said before anything is built.
  step "ordinary user: user namespaces are not permitted here: $(cat "$work/unshare.log")"
  sample "$work/refused" "$(free_port)"
  expect 1 as_user env BOYABUILD_CACHE="$work/user/cache" "$boyabuild" up --local --detach --tag 1.0 "$work/refused"
  says "$work/stderr" "hint:"
  [ ! -e "$work/user/cache/images/index.json" ] || die "it was built all the same"
else
  cp -r "$BOYABUILD_CACHE" "$work/user/cache"
  chown -R "$user:" "$work/user"
  quick_start "$user" as_user env BOYABUILD_CACHE="$work/user/cache" "$boyabuild"
fi
step ok
