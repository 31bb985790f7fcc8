#!/usr/bin/env bash
# What pip itself installs, beside what boyabuild lays out: the same projects in
# the same versions, the same files with the same content, the same entry points,
# and a RECORD that is true. pip is this machine's, told to install for the base's
# Python; only what depends on where pip installs may differ.
. "$(dirname "$0")/setup.sh"
need python3

pure=(flask==3.1.3 "pynamodb==6.1.0" boto3 django uvicorn)
compiled=(numpy pandas cryptography psycopg2-binary pillow lxml grpcio pyyaml charset-normalizer)
requirements=("${pure[@]}" "${compiled[@]}")
# The base whose Python is this machine's, so that pip compiles, too.
case $(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') in
  3.11) suite=bookworm ;;
  3.13) suite=trixie ;;
  *) skip "this machine's Python is that of no Debian base" ;;
esac

step "boyabuild: ${requirements[*]}"
mkdir "$work/app"
{
  echo 'FROM base'
  echo "RUN pip install ${requirements[*]}"
} >"$work/app/Dockerfile"
# Without the cache it resolves, and says for what.
expect 0 "$boyabuild" build -t pip:1.0 --no-cache --build-context "base=debian://$suite?packages=python3" --platform linux/amd64 \
  -o "type=oci,dest=$work/oci,tar=false" "$work/app"
python=$(sed -n 's/.* for CPython \([0-9]*\.[0-9]*\)\..*/\1/p' "$work/stderr" | head -n 1)
[ -n "$python" ] || die "build does not say for which Python it resolves"
mkdir "$work/boyabuild-tree"
layer=$(json "$work/oci/blobs/sha256/$(layout_digest "$work/oci" | cut -d: -f2)" 'd["layers"][-1]["digest"][7:]')
tar -xzf "$work/oci/blobs/sha256/$layer" -C "$work/boyabuild-tree" --no-same-owner

step "pip: the same for Python $python"
# The same versions: what pip finds for this machine's C library may be newer.
"$boyabuild" lock --format requirements --base "debian://$suite?packages=python3" --platform linux/amd64 - \
  <<<"$(printf '%s\n' "${requirements[@]}")" >"$work/pins" 2>"$work/lock.log" || die "boyabuild lock"
python3 -m pip install -q --disable-pip-version-check --target "$work/pip-tree" --only-binary=:all: "${requirements[@]}" -c "$work/pins" >"$work/pip.log" 2>&1 ||
  die "pip cannot install"

python3 - "$work/pip-tree" "$work/boyabuild-tree" "$work/boyabuild-tree/usr/local/lib/python$python/dist-packages" <<'PYTHON'
import base64, csv, hashlib, os, re, stat, sys

pip, root, site = sys.argv[1:]
bin = os.path.join(root, "usr/local/bin")
problems = []


def files(top, skip=None):
    """Regular files below top: path → (content, whether anyone may execute it)."""
    found = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, top)
            assert stat.S_ISREG(os.lstat(path).st_mode), path
            if skip and relative.startswith(skip):
                continue
            with open(path, "rb") as f:
                found[relative] = f.read(), bool(os.stat(path).st_mode & 0o111)
            if relative.endswith(".pyc"):  # it names the place that it was compiled for
                found[relative] = b"", found[relative][1]
    return found


def compare(what, a, b, content=lambda name, data: data):
    for name in sorted(a.keys() | b.keys()):
        if name not in b:
            problems.append(f"{what} {name}: only pip has it")
        elif name not in a:
            problems.append(f"{what} {name}: only boyabuild has it")
        elif content(name, a[name][0]) != content(name, b[name][0]):
            problems.append(f"{what} {name}: the content differs")
        elif a[name][1] != b[name][1]:
            problems.append(f"{what} {name}: executable in one only")


def records(name, data):
    """RECORD in any order; scripts are elsewhere, and have another first line."""
    if not name.endswith(".dist-info/RECORD"):
        return data
    rows = list(csv.reader(data.decode().splitlines()))
    return sorted([os.path.basename(row[0])] if re.search(r"^(\.\./)+.*bin/", row[0]) else row for row in rows)


def calls(name, data):
    """What a script imports and calls; the lines around it are those of one pip."""
    return re.findall(rb"from (\S+) import (\S+)", data), re.findall(rb"sys\.exit\((.*)\)", data)


compare("file", files(pip, "bin/"), files(site), records)
compare("script", files(os.path.join(pip, "bin")), files(bin), calls)

for name, (data, _) in files(bin, "__pycache__").items():
    first = data.split(b"\n", 1)[0]
    if not re.fullmatch(rb"#!/usr/bin/python3(\.\d+)?", first):
        problems.append(f"script {name}: begins with {first}")

# Every row of RECORD is true, and every file has its row.
listed = set()
for name, (data, _) in files(site).items():
    if not name.endswith(".dist-info/RECORD"):
        continue
    for path, digest, size in csv.reader(data.decode().splitlines()):
        at = os.path.normpath(os.path.join(site, path))
        listed.add(at)
        if not digest:
            continue
        with open(at, "rb") as f:
            content = f.read()
        want = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        if digest != "sha256=" + want or int(size) != len(content):
            problems.append(f"RECORD of {os.path.dirname(name)}: {path} is not what it says")
for top in site, bin:
    for name in files(top):
        if os.path.join(top, name) not in listed:
            problems.append(f"file {name}: in no RECORD")

print(f"pip: {len(files(pip))} files, {len(problems)} differences")
sys.exit("\n".join(problems) or 0)
PYTHON
step ok
