#!/usr/bin/env bash
# Two views from outside on the AWS part: boyabuild against moto, whose ECS says
# that a service runs the new task definition while its deployment is the old one,
# which must not pass for success; and boto3 and skopeo against boyabuild local,
# as readers that know nothing of it.
. "$(dirname "$0")/setup.sh"
need curl python3 skopeo

step "install moto and boto3"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q moto==5.2.5 boto3==1.44.5 flask flask-cors >"$work/pip.log" 2>&1 || die "pip cannot install moto"
export AWS_ACCESS_KEY_ID=interop AWS_SECRET_ACCESS_KEY=interop AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1

step "moto: an ECS that calls every update a success"
port=$(free_port)
MOTO_ECS_SERVICE_RUNNING=1 "$work/venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$work/moto.out" 2>&1 &
processes+=($!)
export AWS_ENDPOINT_URL=http://127.0.0.1:$port
await 30 fetch "$AWS_ENDPOINT_URL/moto-api/"
"$work/venv/bin/python3" - >"$work/network" <<'PYTHON'
import boto3
ec2 = boto3.client("ec2")
subnets = ec2.describe_subnets()["Subnets"]
print("PRIVATE_SUBNET_A=" + subnets[0]["SubnetId"])
print("PRIVATE_SUBNET_C=" + subnets[1]["SubnetId"])
print("TASK_SECURITY_GROUP=" + ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"])
boto3.client("ecr").create_repository(repositoryName="boyacky/web-app")
PYTHON
sample "$work/moto"
deploy() { # STATUS TIMEOUT DIGEST
  expect "$1" env $(cat "$work/network") "$boyabuild" deploy --config "$work/moto/boyabuild.yaml" --timeout "$2" \
    "123456789012.dkr.ecr.us-east-1.amazonaws.com/boyacky/web-app@sha256:$(printf %s "$3" | sha256sum | cut -d' ' -f1)"
}
deploy 0 120s one
says "$work/stdout" "task-definition/boyacky-taskdef:1"
deploy 3 12s two
[ ! -s "$work/stdout" ] || die "a deployment that is not through prints a result: $(cat "$work/stdout")"
"$work/venv/bin/python3" - <<'PYTHON' # moto does lie: the SDK's own waiter believes it at once
import boto3
ecs = boto3.client("ecs")
of = dict(cluster="handon-cluster", services=["boyacky-service"])
ecs.get_waiter("services_stable").wait(**of, WaiterConfig={"Delay": 1, "MaxAttempts": 2})
[service] = ecs.describe_services(**of)["services"]
[deployment] = service["deployments"]
assert service["taskDefinition"].endswith(":2") and deployment["taskDefinition"].endswith(":1"), service
PYTHON

step "boyabuild local: push, and deploy by AWS_ENDPOINT_URL, as to AWS"
"$boyabuild" local --address "127.0.0.1:$(free_port)" >"$work/url" 2>"$work/local.log" &
processes+=($!)
await 20 test -s "$work/url"
AWS_ENDPOINT_URL=$(cat "$work/url")
port=$(free_port)
sample "$work/boyacky" "$port"
expect 0 "$boyabuild" push --local --create-repository --tag 1.0 "$work/boyacky"
image=$(cat "$work/stdout")
# The shell's own network and store: local.vars is for --local.
expect 0 env BOYACKY_STORE=memory "$boyabuild" deploy --config "$work/boyacky/boyabuild.yaml" "$image"
arn=$(cat "$work/stdout")
fetch "http://127.0.0.1:$port/" >"$work/page"
says "$work/page" "<title>boyacky"

step "boyabuild local: read by boto3"
"$work/venv/bin/python3" - "$image" "$arn" "$port" <<'PYTHON'
import base64, sys, boto3
image, arn, port = sys.argv[1:]
repository, digest = image.split("@")
ecr, ecs = boto3.client("ecr"), boto3.client("ecs")

[r] = ecr.describe_repositories(repositoryNames=["boyacky/web-app"])["repositories"]
assert r["repositoryUri"] == repository and r["imageTagMutability"] == "IMMUTABLE", r
[i] = ecr.describe_images(repositoryName="boyacky/web-app")["imageDetails"]
assert i["imageDigest"] == digest and i["imageTags"] == ["1.0"] and i["imageSizeInBytes"] > 10**6, i
[b] = ecr.batch_get_image(repositoryName="boyacky/web-app", imageIds=[{"imageTag": "1.0"}])["images"]
assert b["imageId"]["imageDigest"] == digest, b
[token] = ecr.get_authorization_token()["authorizationData"]
assert base64.b64decode(token["authorizationToken"]).startswith(b"AWS:"), token
try:
    ecr.describe_repositories(repositoryNames=["nothing"])
    sys.exit("a repository that does not exist is described")
except ecr.exceptions.RepositoryNotFoundException:
    pass

of = dict(cluster="handon-cluster", services=["boyacky-service"])
ecs.get_waiter("services_stable").wait(**of)
[s] = ecs.describe_services(**of)["services"]
[d] = s["deployments"]
assert s["status"] == "ACTIVE" and s["runningCount"] == s["desiredCount"] == 1, s
assert d["status"] == "PRIMARY" and d["rolloutState"] == "COMPLETED" and d["taskDefinition"] == arn, d
[t] = ecs.describe_tasks(cluster="handon-cluster", tasks=ecs.list_tasks(cluster="handon-cluster", serviceName="boyacky-service")["taskArns"])["tasks"]
assert t["lastStatus"] == "RUNNING" and t["taskDefinitionArn"] == arn and t["containers"][0]["imageDigest"] == digest, t
td = ecs.describe_task_definition(taskDefinition="boyacky-taskdef")["taskDefinition"]
[c] = td["containerDefinitions"]
assert td["taskDefinitionArn"] == arn and td["networkMode"] == "awsvpc" and td["cpu"] == "256", td
assert c["image"] == image and c["portMappings"][0]["hostPort"] == int(port), c
[sd] = ecs.list_service_deployments(cluster="handon-cluster", service="boyacky-service")["serviceDeployments"]
assert sd["status"] == "SUCCESSFUL", sd
missing = ecs.describe_services(cluster="handon-cluster", services=["nothing"])
assert missing["services"] == [] and missing["failures"][0]["reason"] == "MISSING", missing
try:
    ecs.register_task_definition(family="wrong", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256",
        memory="8192", containerDefinitions=[{"name": "a", "image": "a"}])
    sys.exit("256 CPU units with 8 GiB are accepted")
except ecs.exceptions.ClientException:
    pass

# What boto3 starts, runs. Its task has no port of the service's, for all tasks
# share this machine's network.
once = ecs.register_task_definition(family="once", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256",
    memory="512", containerDefinitions=[{"name": c["name"], "image": image}])["taskDefinition"]
[run] = ecs.run_task(cluster="handon-cluster", taskDefinition=once["taskDefinitionArn"], launchType="FARGATE", overrides={"containerOverrides": [
        {"name": c["name"], "command": ["-c", "raise SystemExit(7)"]}]},
    networkConfiguration=s["networkConfiguration"])["tasks"]
ecs.get_waiter("tasks_stopped").wait(cluster="handon-cluster", tasks=[run["taskArn"]], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
[run] = ecs.describe_tasks(cluster="handon-cluster", tasks=[run["taskArn"]])["tasks"]
assert run["stopCode"] == "EssentialContainerExited" and run["containers"][0]["exitCode"] == 7, run
PYTHON

step "boyabuild local: read and written by skopeo, with the credentials that ECR gives"
repository=${image%@*}
expect 1 skopeo inspect --tls-verify=false "docker://$repository:1.0"
export REGISTRY_AUTH_FILE=$work/auth.json
"$work/venv/bin/python3" -c 'import base64, boto3
[t] = boto3.client("ecr").get_authorization_token()["authorizationData"]
print(base64.b64decode(t["authorizationToken"]).decode().partition(":")[2])' |
  skopeo login -u AWS --password-stdin --tls-verify=false "${repository%%/*}" >/dev/null
skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$repository:1.0" "oci:$work/oci:1.0"
same "$(layout_digest "$work/oci")" "${image#*@}" "digest pulled"
skopeo --insecure-policy copy -q --dest-tls-verify=false "oci:$work/oci:1.0" "docker://$repository:by-skopeo"
same "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$repository:by-skopeo")" "${image#*@}" "digest pushed"
echo '# another' >>"$work/boyacky/app/__init__.py"
expect 0 "$boyabuild" build -t another:1.0 -o "type=oci,dest=$work/another,tar=false" "$work/boyacky"
expect 1 skopeo --insecure-policy copy --dest-tls-verify=false "oci:$work/another:1.0" "docker://$repository:1.0"
says "$work/stderr" "immutable"

expect 0 "$boyabuild" local stop
step ok
