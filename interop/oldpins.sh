#!/usr/bin/env bash
# The old pins of the course: they install today and then fail to import, for an
# unpinned jinja2 has moved on. With --exclude-newer they resolve to what was there
# then, which is what uv finds; markupsafe had no wheel for CPython 3.11 and is built
# from its sdist in the sandbox; and the app imports.
. "$(dirname "$0")/setup.sh"
need python3

pins=(flask==1.1.2 boto3==1.15.8 pynamodb==4.3.3)
day=2022-02-17
base="debian://bookworm?packages=python3"

step "uv"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check uv >"$work/uv.log" 2>&1 || die "uv cannot be installed"
printf '%s\n' "${pins[@]}" >"$work/requirements.in"
UV_PYTHON_DOWNLOADS=never UV_CACHE_DIR=$work/uv-cache "$work/venv/bin/uv" pip compile "$work/requirements.in" --exclude-newer "$day" \
  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-header --no-annotate -q >"$work/theirs" 2>"$work/uv.log" || die "uv finds nothing"

step "boyabuild lock"
expect 0 "$boyabuild" lock --format requirements --exclude-newer "$day" --base "$base" --platform linux/amd64 "$work/requirements.in"
diff <(sort "$work/theirs") <(sort "$work/stdout") || die "boyabuild locks other versions than uv"
says "$work/stdout" "markupsafe==2.0.1"

step "boyabuild build"
mkdir "$work/app"
cat >"$work/app/Dockerfile" <<DOCKERFILE
FROM base
RUN pip install ${pins[*]}
DOCKERFILE
expect 0 "$boyabuild" build -v -t oldpins:1.0 --exclude-newer "$day" --build-context "base=$base" --platform linux/amd64 \
  -o "type=tar,dest=$work/rootfs.tar" "$work/app"
says "$work/stderr" "markupsafe"

step "the app imports"
mkdir "$work/rootfs"
tar -xf "$work/rootfs.tar" -C "$work/rootfs" 2>"$work/tar.log" || true
is_root || skip "chroot needs root"
chroot "$work/rootfs" /usr/bin/python3 -c 'import flask, boto3, pynamodb, markupsafe; print(flask.__version__, markupsafe.__version__)' >"$work/stdout" 2>"$work/stderr" ||
  { cat "$work/stderr" >&2; die "the app does not import"; }
says "$work/stdout" "1.1.2 2.0.1"
step ok
