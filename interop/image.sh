#!/usr/bin/env bash
# The image of the sample app, made from the real package registries with empty
# caches: skopeo and umoci accept it, and what umoci unpacks runs in a chroot as
# an ordinary user, by the image's own configuration.
. "$(dirname "$0")/setup.sh"
need skopeo umoci curl python3

step "build testdata/boyacky into an OCI layout"
sample "$work/boyacky"
started=$SECONDS
expect 0 "$boyabuild" build -t boyacky/web-app:1.0 -o "type=oci,dest=$work/oci,tar=false" "$work/boyacky"
step "built in $((SECONDS - started)) s"
digest=$(cut -d@ -f2 "$work/stdout")
same "$(cat "$work/stdout")" "boyacky/web-app@$digest" "what build prints"
same "$(layout_digest "$work/oci")" "$digest" "digest of the layout"

step "skopeo inspects and copies it: $digest"
skopeo inspect "oci:$work/oci:1.0" >"$work/inspect"
same "$(json "$work/inspect" 'd["Digest"], d["Architecture"], d["Os"]')" "('$digest', 'amd64', 'linux')" "skopeo inspect"
skopeo inspect --config "oci:$work/oci:1.0" >"$work/config"
same "$(json "$work/config" 'd["config"]["Entrypoint"], d["config"]["Cmd"], d["config"]["WorkingDir"], list(d["config"]["ExposedPorts"])')" \
  "(['python3'], ['-m', 'app'], '/boyacky', ['8080/tcp'])" "configuration of the image"
skopeo --insecure-policy copy -q "oci:$work/oci:1.0" "oci:$work/copy:1.0"
same "$(layout_digest "$work/copy")" "$digest" "digest of skopeo's copy"

# skopeo uncompresses every layer and names it by what it then hashes to.
uncompressed() {
  rm -rf "$work/dir"
  skopeo --insecure-policy copy -q --dest-decompress "$1" "dir:$work/dir"
  diff_ids "$2" | cut -d: -f2 | while read -r id; do
    [ -f "$work/dir/$id" ] || die "no layer of $1 uncompresses to its diff ID $id"
  done
}
uncompressed "oci:$work/oci:1.0" "$work/oci"

step "the same as a docker archive, and as an OCI archive"
expect 0 "$boyabuild" build -q -t boyacky/web-app:1.0 -o "type=docker,dest=$work/docker.tar" -o "type=oci,dest=$work/oci.tar" "$work/boyacky"
same "$(skopeo inspect --format '{{.Architecture}}' "docker-archive:$work/docker.tar")" amd64 "docker archive"
same "$(skopeo inspect --format '{{.Digest}}' "oci-archive:$work/oci.tar")" "$digest" "OCI archive"

step "the same with zstd, by skopeo"
expect 0 "$boyabuild" build -q -t boyacky/web-app:zstd --compression zstd -o "type=oci,dest=$work/zstd,tar=false" "$work/boyacky"
skopeo inspect --raw "oci:$work/zstd:zstd" >"$work/manifest"
same "$(json "$work/manifest" '{l["mediaType"] for l in d["layers"]}')" "{'application/vnd.oci.image.layer.v1.tar+zstd'}" "media types"
same "$(diff_ids "$work/zstd")" "$(diff_ids "$work/oci")" "diff IDs with another compression"
uncompressed "oci:$work/zstd:zstd" "$work/zstd"

is_root || skip "umoci unpack with owners, and chroot, need root"
step "umoci unpacks it"
umoci unpack --image "$work/oci:1.0" "$work/bundle" >"$work/umoci.log" 2>&1
root=$work/bundle/rootfs

step "the runtime configuration of umoci runs in a chroot as uid 65532"
port=$(free_port)
cat >"$work/run.py" <<'PYTHON'
import json, os, sys
bundle, port = sys.argv[1:]
process = json.load(open(bundle + "/config.json"))["process"]
env = dict(e.split("=", 1) for e in process["env"]) | {"BOYACKY_STORE": "memory", "PORT": port}
os.chroot(bundle + "/rootfs")
os.chdir(process["cwd"])
os.setgroups([])
os.setgid(65532)
os.setuid(65532)
os.execvpe(process["args"][0], process["args"], env)
PYTHON
python3 "$work/run.py" "$work/bundle" "$port" >"$work/app.log" 2>&1 &
processes+=($!)
await 30 fetch "http://127.0.0.1:$port/healthz"
fetch "http://127.0.0.1:$port/" >"$work/page"
says "$work/page" "<title>boyacky" "Nobody has grumbled yet"
fetch -L -d "text=umoci unpacked me" "http://127.0.0.1:$port/grumbles" >"$work/page"
says "$work/page" "umoci unpacked me"
same "$(stat -c %u "/proc/${processes[0]}")" 65532 "user of the app"

step "its packages import, and pip's own records are there"
cat >"$work/import.py" <<'PYTHON'
import importlib.metadata as m, ssl, sqlite3, flask, boto3, pynamodb
for d in m.distributions():
    if d.read_text("INSTALLER") is None:
        continue
    missing = [str(f) for f in d.files if not f.locate().exists()]
    assert not missing, (d.name, missing)
print(m.version("flask"), m.version("boto3"), m.version("pynamodb"))
PYTHON
same "$(chroot --userspec=65532:65532 "$root" /usr/bin/python3 -c "$(cat "$work/import.py")")" "3.1.3 1.44.5 6.1.0" "versions"
step ok
