#!/usr/bin/env bash
# What a back-end really does in the sandbox: settings and constraints reach it, what
# it made is not made again, and an editable install of a setup.py with code leads to
# the project in the image, where the app imports.
. "$(dirname "$0")/setup.sh"
need python3

base="debian://bookworm?packages=python3"
site=usr/local/lib/python3.11/dist-packages

# build CONTEXT LINE… builds an image whose Dockerfile has these lines, and unpacks it.
build() {
  local context=$1
  shift
  printf '%s\n' "FROM base" "WORKDIR /srv/app" "COPY . ." "$@" >"$work/Dockerfile"
  expect 0 "$boyabuild" build -v -t builds:1.0 --build-context "base=$base" --platform linux/amd64 -f "$work/Dockerfile" \
    -o "type=tar,dest=$work/rootfs.tar" "$context"
  rm -rf "$work/rootfs"
  mkdir "$work/rootfs"
  tar -xf "$work/rootfs.tar" -C "$work/rootfs" 2>"$work/tar.log" || true
}

step "an sdist whose back-end tells its settings"
mkdir -p "$work/demo-1" "$work/sdists"
cat >"$work/demo-1/pyproject.toml" <<'TOML'
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
TOML
printf 'Metadata-Version: 2.1\nName: demo\nVersion: 1\n' >"$work/demo-1/PKG-INFO"
cat >"$work/demo-1/backend.py" <<'PYTHON'
import base64, hashlib, os, zipfile

def build_wheel(out, settings=None, metadata=None):
    files = {
        "demo.py": "SETTINGS = %r\n" % settings,
        "demo-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1\n",
        "demo-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(os.path.join(out, "demo-1-py3-none-any.whl"), "w") as z:
        for name, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += "%s,sha256=%s,%d\n" % (name, digest, len(text))
            z.writestr(name, text)
        z.writestr("demo-1.dist-info/RECORD", record + "demo-1.dist-info/RECORD,,\n")
    return "demo-1-py3-none-any.whl"
PYTHON
tar -czf "$work/sdists/demo-1.tar.gz" -C "$work" demo-1
echo 'demo --config-settings="a=5"' >"$work/sdists/requirements.txt"

# settings WORDS LINE… builds, and checks what the back-end was told.
settings() {
  local words=$1
  shift
  build "$work/sdists" "$@"
  says "$work/rootfs/$site/demo.py" "SETTINGS = $words"
}
settings None "RUN pip install --no-index --find-links . demo"
says "$work/stderr" "building demo-1.tar.gz"
settings "{'a': '1', 'b': ['2', '3']}" "RUN pip install --no-index --find-links . -C a=1 -C b=2 -C b=3 demo"
settings "{'a': '5'}" "RUN pip install --no-index --find-links . -C a=7 -r requirements.txt"
settings "{'a': '7'}" "RUN uv pip install --system --no-index --find-links . -C a=7 demo"

step "what was built is not built again"
settings "{'a': '1', 'b': ['2', '3']}" "ENV X=1" "RUN pip install --no-index --find-links . -C a=1 -C b=2 -C b=3 demo"
if grep -q "building demo" "$work/stderr"; then die "the sdist is built twice"; fi

step "a setup.py with code, its build tools constrained"
mkdir -p "$work/project/flat"
cat >"$work/project/setup.py" <<'PYTHON'
from setuptools import setup
setup(name="flatproject", version="".join(["1", ".0"]), packages=["flat"], py_modules=["alone"], entry_points={"console_scripts": ["flat = flat:main"]})
PYTHON
echo 'def main(): print("flat runs in", __file__)' >"$work/project/flat/__init__.py"
echo >"$work/project/alone.py"
echo "setuptools==69.0.0" >"$work/project/constraints.txt"
build "$work/project" "RUN pip install --build-constraint constraints.txt ."
says "$work/rootfs/$site/flatproject-1.0.dist-info/WHEEL" "Generator: bdist_wheel"
build "$work/project" "RUN pip install ."
says "$work/rootfs/$site/flatproject-1.0.dist-info/WHEEL" "Generator: setuptools"

step "the same, in a virtual environment of the same line"
build "$work/project" "RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install ."
site=opt/venv/lib/python3.11/site-packages
says "$work/rootfs/$site/flatproject-1.0.dist-info/WHEEL" "Generator: setuptools"
[ -f "$work/rootfs/$site/flat/__pycache__/__init__.cpython-311.pyc" ] || die "there is no bytecode in the virtual environment"
site=usr/local/lib/python3.11/dist-packages

step "the same, editable"
build "$work/project" "RUN pip install -e ."
says "$work/rootfs/$site/flatproject-1.0.dist-info/direct_url.json" '"editable": true' "file:///srv/app"
is_root || skip "chroot needs root"
"$(command -v chroot)" "$work/rootfs" /usr/local/bin/flat >"$work/stdout" 2>"$work/stderr" || { cat "$work/stderr" >&2; die "the script does not run"; }
says "$work/stdout" "flat runs in /srv/app/flat/__init__.py"
step ok
