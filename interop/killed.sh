#!/usr/bin/env bash
# Builds are killed at random instants, one and two at a time, and files are left as
# a power failure leaves them. The next build comes to the same digest each time.
. "$(dirname "$0")/setup.sh"
need python3

sample "$work/app"
build() { expect 0 "$boyabuild" build -t boyacky/web-app:1.0 "$@" "$work/app" && cut -d@ -f2 "$work/stdout"; }

step "a build that nobody kills"
first=$(build)
# The packages come from the shared cache; what is damaged is this script's own.
cp -a "$BOYABUILD_CACHE" "$work/own"
export BOYABUILD_CACHE=$work/own
took=$(python3 -c 'import sys, time, subprocess
started = time.monotonic()
subprocess.run(sys.argv[1:], check=True, capture_output=True)
print(time.monotonic() - started)' "$boyabuild" build --no-cache -t boyacky/web-app:1.0 "$work/app")

# start begins a build without records, in the background.
start() {
  "$boyabuild" build --no-cache -t boyacky/web-app:1.0 "$work/app" >/dev/null 2>>"$work/killed.log" </dev/null &
  builds+=($!)
}
# kill_all kills the builds, each after a part of the time that one takes.
kill_all() {
  local pid
  for pid in "${builds[@]}"; do
    sleep "$(python3 -c 'import random, sys; print(random.random() * float(sys.argv[1]))' "$took")"
    kill -9 "$pid" 2>/dev/null || true # it may have come to its end
    wait "$pid" 2>/dev/null || true
  done
}

step "nine that are killed, within the $took s that one takes"
for i in 1 2 3 4 5 6 7 8 9; do
  builds=()
  start
  [ $((i % 3)) -ne 0 ] || start
  kill_all
  same "$(build)" "$first" "digest after round $i"
done
same "$(build --no-cache)" "$first" "digest of a build without records"
expect 0 "$boyabuild" cache info --format json
same "$(json "$work/stdout" 'd["stale"]["files"] + d["unfinished"]["files"]')" 0 "files that are left behind"

step "after a power failure"
python3 - "$BOYABUILD_CACHE" <<'END'
import os, random, sys
for folder in ("blobs/sha256", "records"):
    for name in sorted(os.listdir(os.path.join(sys.argv[1], folder))):
        file = os.path.join(sys.argv[1], folder, name)
        size = os.path.getsize(file)
        with open(file, "r+b") as f:
            match random.randrange(5):
                case 0: f.truncate(0)
                case 1: f.write(bytes(size))
                case 2: f.truncate(size // 2)
                case 3: f.seek(size // 2); f.write(bytes(size - size // 2))
        os.utime(file, (0, 978307200)) # long before the machine was started
END
same "$(build)" "$first" "digest of the next build"
same "$(build --no-cache)" "$first" "digest of one without records"
step "all of the image is whole"
expect 0 "$boyabuild" build -t boyacky/web-app:1.0 --output "type=oci,dest=$work/image.tar" "$work/app"
python3 - "$work/image.tar" <<'END'
import hashlib, sys, tarfile
with tarfile.open(sys.argv[1]) as t:
    blobs = [m for m in t if m.isfile() and m.name.startswith("blobs/")]
    assert blobs
    for m in blobs:
        assert hashlib.sha256(t.extractfile(m).read()).hexdigest() == m.name.rsplit("/", 1)[1], m.name
END
step "ok: $first"
