#!/usr/bin/env bash
# Times the resolution of real requirement sets beside `uv pip compile`, in one
# run and in turns, so that both meet the same network.
#
#   bench/resolve.sh [FOLDER [SET...]]
#
# FOLDER holds the sets as JSON with "name", "requirements" and "exclude_newer";
# by default it is reqsets/ of $CONFORMANCE_DIR (../shared/data). SET is the
# beginning of a name. The environment may say more:
#
#   RUNS       how often each is measured (5); the table shows medians
#   UV         the uv to compare with; if not set one is installed for this run
#   BOYABUILD  the boyabuild to measure; if not set it is built of this checkout
#   ARCH       x86_64 or aarch64
#
# cold: with empty caches. warm: with what the cold run left, a moment later. Each
# tool decides then what it asks for again: uv everything, where the index sends
# neither Cache-Control nor ETag, boyabuild what is five minutes old. That nobody
# may be fooled by that difference, "asking" is boyabuild made to ask for every
# page (--refresh), and "cached" is uv told to ask for nothing (--offline).
#
# The index is that of this machine's pip and uv. To repeat it on another one,
# set PIP_INDEX_URL and UV_INDEX_URL.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/boyabuild-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [ -z "${BOYABUILD:-}" ]; then
  BOYABUILD=$work/boyabuild
  go build -o "$BOYABUILD" ./cmd/boyabuild
fi
if [ -z "${UV:-}" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q uv==0.13.9
  UV=$work/venv/bin/uv
fi
folder=${1:-${CONFORMANCE_DIR:-../shared/data}/reqsets}
[ $# -eq 0 ] || shift
export BOYABUILD UV work folder RUNS=${RUNS:-5} ARCH=${ARCH:-x86_64}
export UV_PYTHON_DOWNLOADS=never BOYABUILD_CACHE=$work/cache

python3 - "$@" <<'PYTHON'
import glob, json, os, platform, shutil, statistics, subprocess, sys, time

get = os.environ.__getitem__
work, uv, boyabuild, runs, arch = get("work"), get("UV"), get("BOYABUILD"), int(get("RUNS")), get("ARCH")
oci = {"x86_64": "amd64", "aarch64": "arm64"}[arch]
caches = [work + "/uv-cache", get("BOYABUILD_CACHE")]
can_refresh = "--refresh" in subprocess.run([boyabuild, "lock", "--help"], capture_output=True, text=True).stdout

def commands(file, before):
    theirs = [uv, "pip", "compile", file, "--python", sys.executable, "--python-version", "3.12",
              "--python-platform", arch + "-manylinux_2_28", "--only-binary", ":all:", "--no-header", "--no-annotate",
              "--no-config", "-q", "--cache-dir", caches[0], "--exclude-newer", before]
    ours = [boyabuild, "lock", "-q", "--format", "requirements", "--platform", "linux/" + oci, "--python", "3.12",
            "--libc", "glibc2.28", "--only-binary", "--exclude-newer", before, file]
    return theirs, ours

def timed(command):
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    return time.perf_counter() - start, done

def pins(done):
    return sorted(done.stdout.split()) if done.returncode == 0 else []

print(f"{platform.machine()}, {os.cpu_count()} cores; {subprocess.check_output([uv, '--version'], text=True).strip()}; "
      f"CPython 3.12 on {arch}, glibc 2.28; medians of {runs} runs, seconds\n")
print("| set | pins | cold: uv | ours | ratio | warm: uv | ours | ratio | asking | ratio | cached: uv | same |")
print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|")
different, ratios = [], {"cold": [], "warm": [], "asking": []}
for name in sorted(glob.glob(get("folder") + "/*.json")):
    with open(name) as f:
        case = json.load(f)
    if sys.argv[1:] and not case["name"].startswith(tuple(sys.argv[1:])):
        continue
    file = f"{work}/{case['name']}.in"
    with open(file, "w") as f:
        f.write(case["requirements"])
    theirs, ours = commands(file, case["exclude_newer"])
    times = {}
    def measure(kind, command):
        seconds, done = timed(command)
        times.setdefault(kind, []).append(seconds)
        return done
    for _ in range(runs):
        for c in caches:
            shutil.rmtree(c, ignore_errors=True)
        a, b = measure("uv cold", theirs), measure("cold", ours)
    for _ in range(runs):
        measure("uv warm", theirs)
        measure("warm", ours)
        measure("uv cached", theirs + ["--offline"])
        if can_refresh:
            measure("asking", ours[:-1] + ["--refresh", file])
    m = {kind: statistics.median(seconds) for kind, seconds in times.items()}
    if (a.returncode == 0) != (b.returncode == 0) or pins(a) != pins(b):
        different.append((case["name"], a, b))
    ratio = {kind: m[kind] / m[of] for kind, of in (("cold", "uv cold"), ("warm", "uv warm"), ("asking", "uv warm")) if kind in m}
    for kind, r in ratio.items():
        ratios[kind].append(r)
    asking = f"{m['asking']:.2f} | {ratio['asking']:.2f}" if can_refresh else "- | -"
    same = "NO" if different and different[-1][0] == case["name"] else "yes"
    print(f"| {case['name']} | {len(pins(a)) or 'none'} | {m['uv cold']:.2f} | {m['cold']:.2f} | {ratio['cold']:.2f} "
          f"| {m['uv warm']:.2f} | {m['warm']:.2f} | {ratio['warm']:.2f} | {asking} | {m['uv cached']:.2f} | {same} |", flush=True)
print("\ngeometric means of the ratios: " + ", ".join(f"{k} {statistics.geometric_mean(v):.2f}" for k, v in ratios.items() if v))
for name, a, b in different:
    print(f"\n{name}: uv ended with {a.returncode}, boyabuild with {b.returncode}")
    for line in sorted(set(pins(a)) ^ set(pins(b))):
        print("  " + ("uv:   " if line in pins(a) else "ours: ") + line)
    if b.returncode:
        print("  " + b.stderr.strip()[:500])
sys.exit(1 if different else 0)
PYTHON
