#!/usr/bin/env bash
# Pushes to Debian's docker-registry, and reads back with skopeo.
. "$(dirname "$0")/setup.sh"
need skopeo docker-registry python3

port=$(free_port)
repository=127.0.0.1:$port/boyacky/web-app
cat >"$work/registry.yml" <<YAML
version: 0.1
log: { level: warn, accesslog: { disabled: false } }
storage: { filesystem: { rootdirectory: $work/registry } }
http: { addr: "127.0.0.1:$port" }
YAML
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
processes+=($!)
await 20 fetch "http://127.0.0.1:$port/v2/"
writes() { grep -cE '"(POST|PATCH|PUT) ' "$work/registry.log" || true; }

step "push"
sample "$work/boyacky"
expect 0 "$boyabuild" push --repository "$repository" --tag 1.0 "$work/boyacky"
pushed=$(cat "$work/stdout")
digest=${pushed#"$repository@"}
same "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$repository:1.0")" "$digest" "digest in the registry"
skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$repository@$digest" "oci:$work/oci:1.0"
same "$(layout_digest "$work/oci")" "$digest" "digest pulled"
before=$(writes)
[ "$before" -gt 0 ] || die "the registry's log shows no upload"

step "push again: nothing is uploaded"
expect 0 "$boyabuild" push --repository "$repository" --tag 1.0 "$work/boyacky"
same "$(cat "$work/stdout")" "$pushed" "what the second push prints"
same "$(writes)" "$before" "requests that write"

step "another image under the same tag is refused, with both digests"
echo '# another' >>"$work/boyacky/app/__init__.py"
expect 1 "$boyabuild" push --repository "$repository" --tag 1.0 "$work/boyacky"
other=$("$boyabuild" build -q -t boyacky/web-app:other "$work/boyacky" | cut -d@ -f2)
says "$work/stderr" "$digest" "$other"
same "$(writes)" "$before" "requests that write"
same "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$repository:1.0")" "$digest" "digest after the refusal"

step "latest is refused"
expect 2 "$boyabuild" push --repository "$repository" --tag latest "$work/boyacky"
expect 1 skopeo inspect --tls-verify=false "docker://$repository:latest"

step "under a new tag only what changed is uploaded"
expect 0 "$boyabuild" push --repository "$repository" --tag 1.1 "$work/boyacky"
blobs=$(($(grep -cE '"PUT /v2/[^ ]*/blobs/uploads/' "$work/registry.log") - $(json "$work/oci/blobs/sha256/${digest#sha256:}" 'len(d["layers"]) + 1')))
same "$blobs" 2 "blobs uploaded: the layer of COPY, and the configuration"

step "an index of two platforms"
mkdir "$work/two"
printf 'FROM python:alpine\nRUN pip install markupsafe==3.0.4\n' >"$work/two/Dockerfile"
cp "$work/boyacky/boyabuild.yaml" "$work/two/"
sed -i '/^deploy:/,$d' "$work/two/boyabuild.yaml"
expect 0 "$boyabuild" push --repository "$repository" --tag two --platform linux/amd64,linux/arm64 "$work/two"
index=$(cut -d@ -f2 "$work/stdout")
skopeo inspect --raw --tls-verify=false "docker://$repository:two" >"$work/index"
same "$(skopeo manifest-digest "$work/index")" "$index" "digest of the index"
skopeo --insecure-policy copy -q --all --src-tls-verify=false "docker://$repository:two" "dir:$work/two.copy"
for arch in amd64 arm64; do
  same "$(skopeo inspect --tls-verify=false --override-arch $arch --format '{{.Architecture}}' "docker://$repository:two")" $arch platform
done
step ok
