# What the scripts of this folder share; each sources it first:
#
#   . "$(dirname "$0")/setup.sh"
#
# Each script runs alone, in a new folder that is removed at its end. interop/run
# runs them all and gives them one program and one cache, so that each package is
# downloaded once:
#
#   INTEROP_PROGRAM  the boyabuild to test; built from this checkout if not set
#   INTEROP_CACHE    a cache to share; a new one if not set
#   INTEROP_KEEP     if set, the folder is left for a look at it

set -euo pipefail

name=$(basename "$0" .sh)
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/boyabuild-$name.XXXXXX")
chmod 755 "$work" # for the ordinary user of some scripts
boyabuild=${INTEROP_PROGRAM:-$work/boyabuild}
export BOYABUILD_CACHE=${INTEROP_CACHE:-$work/cache}

processes=() # started here, ended at the end
endings=()   # commands to run at the end, last first
user=        # the ordinary user, once made

step() { echo "$name: $*"; }
die() {
  echo "$name: FAILED: $*" >&2
  exit 1
}
skip() {
  echo "$name: SKIPPED: $*"
  exit 0
}

finish() {
  local status=$? i
  set +e
  for ((i = ${#endings[@]} - 1; i >= 0; i--)); do eval "${endings[i]}"; done
  for i in "${processes[@]}"; do
    kill "$i" 2>/dev/null && wait "$i" 2>/dev/null
  done
  if [ "$status" -ne 0 ]; then
    for log in "$work"/*.log; do
      [ -s "$log" ] && { echo "--- $(basename "$log")"; tail -n 40 "$log" | cut -c1-240; } >&2
    done
  fi
  [ -n "$user" ] && userdel "$user" 2>/dev/null
  if [ -n "${INTEROP_KEEP:-}" ]; then step "left $work"; else rm -rf "$work"; fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

if [ "$boyabuild" = "$work/boyabuild" ]; then
  step "building boyabuild"
  (cd "$repo" && go build -o "$boyabuild" ./cmd/boyabuild)
fi

# A new user's home, and nothing of this one's settings but where packages come
# from.
for v in $(compgen -e); do
  case $v in
    BOYABUILD_CACHE) ;;
    BOYABUILD_* | XDG_* | AWS_* | BOYACKY_* | DOCKER_* | SOURCE_DATE_EPOCH) unset "$v" ;;
  esac
done
mkdir -p "$work/home"
export HOME=$work/home NO_COLOR=1

is_root() { [ "$(id -u)" -eq 0 ]; }
need() {
  local tool
  for tool; do command -v "$tool" >/dev/null || die "there is no $tool here; .ci/run installs it"; done
}

# free_port prints a port that nothing listens at.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# await SECONDS COMMAND… repeats a command until it succeeds.
await() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "waited in vain for: $*"
    sleep 0.1
  done
}

# fetch URL… fetches a page and fails on an error status.
fetch() { curl -sS --fail --noproxy '*' --max-time 20 "$@"; }

# expect STATUS COMMAND… runs a command that must end with a status; what it says
# is left in $work/stdout and $work/stderr.
expect() {
  local want=$1 got=0
  shift
  "$@" >"$work/stdout" 2>"$work/stderr" </dev/null || got=$?
  if [ "$got" -ne "$want" ]; then
    sed 's/^/  /' "$work/stdout" "$work/stderr" >&2
    die "ended with status $got, not $want: $*"
  fi
}

# says FILE WORDS… checks what is left in a file.
says() {
  local file=$1 words
  shift
  for words; do
    grep -qF -- "$words" "$file" && continue
    sed 's/^/  /' "$file" >&2
    die "$(basename "$file") does not say: $words"
  done
}

same() { [ "$1" = "$2" ] || die "$3: $1 is not $2"; }

# sample DIR [PORT] copies the sample app; with a port, its service listens there,
# for the local cloud's tasks share this machine's network.
sample() {
  mkdir -p "$1"
  cp -r --no-preserve=mode "$repo/testdata/boyacky/." "$1"
  if [ $# -gt 1 ]; then
    sed -i "s/8080/$2/" "$1/deploy/taskdef.json" "$1/deploy/service.json"
    sed -i "s/\"environment\": \[/&\n        { \"name\": \"PORT\", \"value\": \"$2\" },/" "$1/deploy/taskdef.json"
  fi
}

# make_user makes the ordinary user; as_user runs a command as that user.
make_user() {
  user=boyabuild-$$
  useradd --no-create-home --home-dir "$work/user" --shell /bin/sh "$user"
  mkdir -p "$work/user"
  chown "$user:" "$work/user"
}
as_user() { (cd / && HOME=$work/user exec runuser -u "$user" -- "$@"); }

# json FILE EXPRESSION prints a value of a JSON document d.
json() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }

# layout_digest DIR prints the digest of the only image of an OCI layout.
layout_digest() { json "$1/index.json" 'd["manifests"][0]["digest"] if len(d["manifests"]) == 1 else "several"'; }

# diff_ids DIR prints the diff IDs of the only image of an OCI layout.
diff_ids() {
  local config
  config=$(json "$1/blobs/sha256/$(layout_digest "$1" | cut -d: -f2)" 'd["config"]["digest"][7:]')
  json "$1/blobs/sha256/$config" '"\n".join(d["rootfs"]["diff_ids"])'
}
