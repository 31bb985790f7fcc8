#!/usr/bin/env bash
# The build back-ends themselves, beside the wheels that boyabuild makes by their
# rules: the projects of pkg/python/source's tests, as wheels and as editable ones,
# and sdists of real projects. The same files with the same content, the same
# metadata field by field, the same entry points. A project that boyabuild leaves to
# its back-end is only counted.
gocache=$(go env GOCACHE) gomodcache=$(go env GOMODCACHE) # before HOME is another
. "$(dirname "$0")/setup.sh"
need python3 go

# The same back-ends by name, and what the newest of them no longer are.
newest=(hatchling flit_core poetry-core uv_build setuptools wheel editables)
older=("flit_core<4" "hatchling==1.27.0" "setuptools==80.9.0" wheel editables)
# One or more of each back-end, and some that must be left to theirs.
sdists=(flask itsdangerous packaging starlette rich tomlkit mdurl requests idna boto3 jinja2 stripe six gunicorn)

tests() {
  (cd "$repo" && GOCACHE=$gocache GOMODCACHE=$gomodcache SOURCE_BACKENDS=$work/backends go test -count=1 ./pkg/python/source "$@")
}

step "the back-ends: ${newest[*]}"
for age in newest older; do
  declare -n wanted=$age
  python3 -m venv "$work/$age"
  "$work/$age/bin/python" -m pip install -q -U "${wanted[@]}" >"$work/$age.log" 2>&1 || die "pip cannot install ${wanted[*]}"
done

step "the projects"
mkdir "$work/backends" "$work/downloads"
tests -run TestBackendsInterop >"$work/projects.log" 2>&1 || die "the projects cannot be written"
for sdist in "${sdists[@]}"; do
  "$work/newest/bin/python" -m pip download -q --no-deps --no-binary :all: --no-build-isolation --dest "$work/downloads" "$sdist" \
    >"$work/downloads.log" 2>&1 || step "no sdist of $sdist"
done

step "their wheels"
PYTHONDONTWRITEBYTECODE=1 "$work/newest/bin/python" - "$work" >"$work/wheels.log" 2>&1 <<'PYTHON' || die "not all wheels can be built"
import concurrent.futures, os, re, shutil, subprocess, sys, tarfile, tomllib

work = sys.argv[1]
top = os.path.join(work, "backends")
hook = """
import importlib, os, sys
directory, out, hook, backend = sys.argv[1:]
os.makedirs(out)
os.chdir(directory)
module, _, attributes = backend.partition(":")
backend = importlib.import_module(module)
for name in filter(None, attributes.split(".")):
    backend = getattr(backend, name)
sys.argv[1:] = []
getattr(backend, hook)(out)
"""


def build(directory, out, hook_name):
    """Runs a hook of the project's back-end (PEP 517, PEP 660)."""
    backend, python = "setuptools.build_meta:__legacy__", "newest"
    pyproject = os.path.join(directory, "pyproject.toml")
    if os.path.exists(pyproject):
        with open(pyproject, "rb") as f:
            system = tomllib.load(f).get("build-system", {})
        backend = system.get("build-backend", backend)
        if any(re.search(r"(<|==) *[\d.]", r) and not r.startswith("uv") for r in system.get("requires", [])):
            python = "older"
    command = [os.path.join(work, python, "bin", "python"), "-c", hook, directory, out, hook_name, backend]
    path = os.path.join(work, python, "bin") + os.pathsep + os.environ["PATH"]
    run = subprocess.run(command, env=dict(os.environ, PATH=path), capture_output=True, text=True, timeout=300)
    if run.returncode:
        shutil.rmtree(out, ignore_errors=True)
        print(f"{directory}: {hook_name}: {run.stderr.strip().splitlines()[-1:]}", flush=True)


def project(name):
    """Both wheels of one of the test's projects, which is left as it was: where
    the editable one leads to is compared, so that is built in place."""
    directory, copy = (os.path.join(top, name, d) for d in ("project", "copy"))
    shutil.copytree(directory, copy)
    build(copy, os.path.join(top, name, "wheel"), "build_wheel")
    shutil.rmtree(copy)
    shutil.copytree(directory, copy)
    build(directory, os.path.join(top, name, "editable"), "build_editable")
    shutil.rmtree(directory)
    os.rename(copy, directory)


def sdist(filename):
    """The wheel of an sdist."""
    name = filename.removesuffix(".tar.gz")
    os.makedirs(os.path.join(top, name, "sdist"))
    archive = shutil.copy(os.path.join(work, "downloads", filename), os.path.join(top, name, "sdist"))
    unpacked = os.path.join(work, "unpacked", name)
    with tarfile.open(archive) as t:
        t.extractall(unpacked)
    (directory,) = os.listdir(unpacked)
    build(os.path.join(unpacked, directory), os.path.join(top, name, "wheel"), "build_wheel")


with concurrent.futures.ThreadPoolExecutor(2) as pool:
    names = sorted(os.listdir(top))
    archives = [f for f in sorted(os.listdir(os.path.join(work, "downloads"))) if f.endswith(".tar.gz")]
    for done in [pool.submit(project, n) for n in names] + [pool.submit(sdist, f) for f in archives]:
        done.result()
PYTHON

step "boyabuild's"
tests -run 'TestBackendsInterop|TestSdistsInterop' -v >"$work/compared.log" 2>&1 || {
  grep -v '^=== ' "$work/compared.log" | head -n 100 >&2
  die "the wheels differ"
}
grep -o '[0-9]* of [0-9]* wheels compared\|[0-9]* wheels compared' "$work/compared.log" | while read -r line; do step "$line"; done
step ok
