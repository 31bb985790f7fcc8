#!/usr/bin/env bash
# What pip itself leaves behind, beside what boyabuild lays out: pip runs in the
# base (chroot), boyabuild makes an image of it, and the two file systems are
# compared as wholes: the same files with the same bytes, modes and owners, RECORD
# and console scripts too. Of bytecode the code is compared, for its head is another
# (pip's has a time in it). A pure and a compiled set, by --root and --target, and
# smaller sets by --prefix and --user.
. "$(dirname "$0")/setup.sh"
need python3
is_root || skip "chroot needs root"

pure=(flask==3.1.3 "pynamodb==6.1.0" boto3 django uvicorn)
compiled=(numpy pandas cryptography psycopg2-binary pillow lxml grpcio pyyaml charset-normalizer)
requirements=("${pure[@]}" "${compiled[@]}")
# The base whose Python is this machine's, which fetches wheels for it and reads
# bytecode of it.
case $(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') in
  3.11) suite=bookworm ;;
  3.13) suite=trixie ;;
  *) skip "this machine's Python is that of no Debian base" ;;
esac
debian="debian://$suite?packages=python3"

step "a base with pip 26.3"
mkdir "$work/base" "$work/rootfs"
printf 'FROM base\nRUN pip install pip==26.3\n' >"$work/base/Dockerfile"
expect 0 "$boyabuild" build -t base:1.0 --build-context "base=$debian" --platform linux/amd64 -o "type=oci,dest=$work/oci,tar=false" "$work/base"
expect 0 "$boyabuild" build -t base:1.0 --build-context "base=$debian" --platform linux/amd64 -o "type=tar,dest=$work/base.tar" "$work/base"
tar -xf "$work/base.tar" -C "$work/rootfs"
mknod -m 666 "$work/rootfs/dev/null" c 1 3 2>/dev/null || true
mknod -m 666 "$work/rootfs/dev/urandom" c 1 9 2>/dev/null || true

step "the same versions: ${requirements[*]}"
# What pip finds for this machine's C library may be newer.
"$boyabuild" lock --format requirements --base "$debian" --platform linux/amd64 - \
  <<<"$(printf '%s\n' "${requirements[@]}")" >"$work/pins" 2>"$work/lock.log" || die "boyabuild lock"
python3 -m pip download -q --disable-pip-version-check --dest "$work/rootfs/wheels" --only-binary=:all: "${requirements[@]}" -c "$work/pins" \
  >"$work/pip.log" 2>&1 || die "pip cannot download"

# compare OPTIONS SET… installs a set both ways and compares.
compare() {
  local options=$1 line
  shift
  step "pip install $options: $*"
  mkdir -p "$work/app"
  printf 'FROM base\nRUN pip install %s\n' "${options#--root /root-dir} $*" >"$work/app/Dockerfile"
  expect 0 "$boyabuild" build -t pip:1.0 --build-context "base=oci-layout://$work/oci" --platform linux/amd64 \
    -o "type=tar,dest=$work/ours.tar" "$work/app"
  rm -rf "$work/ours" "$work/theirs"
  mkdir "$work/ours"
  tar -xf "$work/ours.tar" -C "$work/ours"
  cp -a "$work/rootfs" "$work/theirs"
  # shellcheck disable=SC2086 # the options are words
  env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore \
    "$(command -v chroot)" "$work/theirs" pip install -q --no-index --find-links /wheels $options "$@" >"$work/pip.log" 2>&1 || die "pip install $options"
  if [ -d "$work/theirs/root-dir" ]; then
    cp -a "$work/theirs/root-dir/." "$work/theirs"
    rm -rf "$work/theirs/root-dir"
  fi
  python3 - "$work/theirs" "$work/ours" <<'PYTHON' || die "pip leaves something else"
import marshal, os, re, stat, sys, types

aside = re.compile(r"(wheels|tmp|dev|proc|sys|root/\.cache|usr/local/lib/python[\d.]+/dist-packages/pip/.*__pycache__)(/|$)")


def files(top):
    """All below top: path → (kind and mode, owner, content)."""
    found = {}
    for folder, directories, names in os.walk(top):
        for name in directories + names:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, top)
            if aside.match(relative):
                continue
            st = os.lstat(path)
            content = None
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as f:
                    content = f.read()
            elif stat.S_ISLNK(st.st_mode):
                content = os.readlink(path)
            found[relative] = st.st_mode, (st.st_uid, st.st_gid), content
    return found


def sources(code):
    """The paths that code says it was compiled from, as they are in the image."""
    name = re.sub(r"^/tmp/pip-target-[^/]*/lib/python/", "/srv/lib/", code.co_filename)
    name = re.sub(r"^/srv/lib/\.\./\.\./", "/srv/lib/", name)
    yield os.path.normpath(name.removeprefix("/root-dir"))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from sources(constant)


def same_code(a, b):
    a, b = marshal.loads(a[16:]), marshal.loads(b[16:])
    return a == b and list(sources(a)) == list(sources(b))


pip, ours = map(files, sys.argv[1:])
problems, bytecode = [], 0
for path in sorted(pip.keys() | ours.keys()):
    if path not in ours:
        problems.append(f"{path}: only pip has it")
    elif path not in pip:
        problems.append(f"{path}: only boyabuild has it")
    elif pip[path][:2] != ours[path][:2]:
        problems.append(f"{path}: mode and owner are {pip[path][:2]} and {ours[path][:2]}")
    elif pip[path][2] == ours[path][2]:
        pass
    elif path.endswith(".pyc") and same_code(pip[path][2], ours[path][2]):
        bytecode += 1
    else:
        problems.append(f"{path}: the content differs")
print(f"pip: {len(pip)} paths, {bytecode} of bytecode, {len(problems)} differences")
sys.exit("\n".join(problems[:50]) or 0)
PYTHON
}

compare "--root /root-dir" "${requirements[@]}"
compare "--target /srv/lib" "${requirements[@]}"
compare "--prefix /opt/app" "${pure[@]}"
compare "--user" "${pure[@]}"
step ok
