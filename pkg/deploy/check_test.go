package deploy

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"
)

func TestChecksBeforeAnythingIsTouched(t *testing.T) {
	for _, tc := range []struct {
		what string
		task []string // pairs to edit in the files
		svc  []string
		arch []string
		want string // after the directory
		hint string
	}{
		{what: "no family", task: []string{`"family": "boyacky-taskdef",`, ""}, want: "taskdef.json:1: family: is missing"},
		{what: "bad family", task: []string{`boyacky-taskdef`, "a b"}, want: `taskdef.json:2: family: "a b" is no name of a family`},
		{what: "no service name", svc: []string{`"serviceName": "boyacky-service",`, ""}, want: "service.json:1: serviceName: is missing"},
		{what: "bridge on Fargate", task: []string{`"awsvpc"`, `"bridge"`}, want: "taskdef.json:4: networkMode: is bridge: Fargate takes awsvpc only", hint: "awsvpc"},
		{what: "no network mode", task: []string{`"networkMode": "awsvpc",`, ""}, want: "taskdef.json:1: networkMode: is missing"},
		{what: "no cpu", task: []string{`"cpu": "256",`, ""}, want: "taskdef.json:1: cpu: is missing"},
		{what: "no such cpu", task: []string{`"256"`, `"300"`}, want: "taskdef.json:5: cpu: Fargate has no size with 300 CPU units", hint: "256, 512, 1024"},
		{what: "no such pair", task: []string{`"512"`, `"8192"`}, want: "taskdef.json:6: memory: Fargate has no size with cpu 256 and memory 8192", hint: "512, 1024, 2048"},
		{what: "between the steps", task: []string{`"256"`, `"4 vCPU"`, `"512"`, `"8.5GB"`}, want: "no size with cpu 4096 and memory 8.5GB", hint: "8192 to 30720 in steps of 1024"},
		{what: "old platform", task: []string{`"256"`, `"8192"`, `"512"`, `"16384"`}, svc: []string{`"desiredCount": 1,`, `"desiredCount": 1, "platformVersion": "1.3.0",`},
			want: "service.json:5: platformVersion: cpu 8192 needs platform version 1.4.0, not 1.3.0"},
		{what: "container cpu", task: []string{`"name": "boyacky-container",`, `"name": "boyacky-container", "cpu": 512,`}, want: "taskdef.json:8: containerDefinitions: the containers ask for cpu 512, the task has 256"},
		{what: "container memory", task: []string{`"name": "boyacky-container",`, "\"name\": \"boyacky-container\",\n\"memory\": 1024,"}, want: "taskdef.json:11: containerDefinitions[0].memory: 1024 is more than the task's 512"},
		{what: "host port", task: []string{`{"containerPort": 8080}`, `{"containerPort": 8080, "hostPort": 80}`}, want: "taskdef.json:12: containerDefinitions[0].portMappings[0].hostPort: 80 differs from containerPort 8080"},
		{what: "privileged", task: []string{`"name": "boyacky-container",`, `"name": "boyacky-container", "privileged": true,`}, want: "privileged: Fargate runs no privileged containers"},
		{what: "links", task: []string{`"name": "boyacky-container",`, `"name": "boyacky-container", "links": ["db"],`}, want: "links: there are no links with awsvpc", hint: "localhost"},
		{what: "stop timeout", task: []string{`"name": "boyacky-container",`, `"name": "boyacky-container", "stopTimeout": 300,`}, want: "stopTimeout: 300 is more than the 120 seconds"},
		{what: "disk", task: []string{`"cpu": "256",`, `"cpu": "256", "ephemeralStorage": {"sizeInGiB": 20},`}, want: "taskdef.json:5: ephemeralStorage.sizeInGiB: 20 is not from 21 to 200"},
		{what: "no essential", task: []string{`"name": "boyacky-container",`, `"name": "boyacky-container", "essential": false,`}, want: "no container is essential"},
		{what: "logs without a role", task: []string{`"executionRoleArn": "arn:aws:iam::123456789012:role/ecsTaskExecutionRole",`, "", `"name": "boyacky-container",`,
			`"name": "boyacky-container", "logConfiguration": {"logDriver": "awslogs"},`}, want: "containerDefinitions[0].logConfiguration: to write to CloudWatch Logs on Fargate the task definition needs executionRoleArn", hint: "AmazonECSTaskExecutionRolePolicy"},
		{what: "other processor", arch: []string{"arm64"}, want: "taskdef.json:1: runtimePlatform: the task runs on X86_64, the image is built for arm64", hint: "--platform linux/amd64"},
		{what: "other processor, asked for", task: []string{`"cpu": "256",`, `"cpu": "256", "runtimePlatform": {"cpuArchitecture": "ARM64"},`}, arch: []string{"amd64"},
			want: "taskdef.json:5: runtimePlatform.cpuArchitecture: the task runs on ARM64, the image is built for amd64", hint: "linux/arm64"},
		{what: "one of two processors", arch: []string{"amd64", "arm64"}},
		{what: "no subnets", svc: []string{`"subnets": ["subnet-1", "subnet-2"],`, ""}, want: "service.json:11: networkConfiguration: a task with network mode awsvpc needs subnets"},
		{what: "no desired count", svc: []string{`"desiredCount": 1,`, ""}, want: "service.json:1: desiredCount: is missing"},
		{what: "unknown container", svc: []string{`"containerName": "boyacky-container"`, `"containerName": "web"`}, want: "service.json:18: loadBalancers[0].containerName: the task definition has no container web"},
		{what: "unmapped port", svc: []string{`"containerPort": 8080`, `"containerPort": 80`}, want: "service.json:18: loadBalancers[0].containerPort: container boyacky-container maps no port 80"},
		{what: "no headroom", svc: []string{`"maximumPercent": 200`, `"maximumPercent": 100`}, want: "service.json:7: deploymentConfiguration.maximumPercent: with 1 desired tasks, at least 100% and at most 100%", hint: "200"},
		{what: "rounded to no headroom", svc: []string{`"maximumPercent": 200`, `"maximumPercent": 150`, `"minimumHealthyPercent": 100`, `"minimumHealthyPercent": 50`}, want: "with 1 desired tasks, at least 50% and at most 150%"},
		{what: "headroom below", svc: []string{`"maximumPercent": 200`, `"maximumPercent": 100`, `"minimumHealthyPercent": 100`, `"minimumHealthyPercent": 0`}},
		{what: "sizes in words", task: []string{`"256"`, `".25 vCPU"`, `"512"`, `"0.5 GB"`}},
		{what: "not on Fargate", task: []string{`"requiresCompatibilities": ["FARGATE"],`, "", `"cpu": "256",`, ""}, svc: []string{`"launchType": "FARGATE",`, ""}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			f, api := startECS(t)
			in, _ := input(t, f, "a", edit(taskFile, tc.task...), edit(serviceFile, tc.svc...))
			in.Architectures = tc.arch
			_, err := Prepare(t.Context(), api, in)
			if tc.want == "" {
				if err != nil {
					t.Errorf("err = %v", err)
				}
				return
			}
			var wrong *FileError
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(wrong.Hint(), tc.hint) {
				t.Errorf("err = %v, hint %q\nwant %s", err, wrong.Hint(), tc.want)
			}
			if n := f.count("RegisterTaskDefinition") + f.count("CreateCluster"); n != 0 {
				t.Error("something was touched")
			}
		})
	}
}

func TestAllProblemsAreTold(t *testing.T) {
	f, api := startECS(t)
	in, log := input(t, f, "a", edit(taskFile, `"256"`, `"300"`, `"awsvpc"`, `"host"`), serviceFile)
	_, err := Prepare(t.Context(), api, in)
	if err == nil || !strings.Contains(err.Error(), "networkMode") || !strings.Contains(log.take(), "300 CPU units") {
		t.Errorf("err = %v", err)
	}
}

// The table of Fargate's sizes against the facts kept beside the project.
func TestFargateSizesAgree(t *testing.T) {
	dir := os.Getenv("CONFORMANCE_DIR")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	data, err := os.ReadFile(filepath.Join(dir, "fargate.json"))
	if err != nil {
		t.Skipf("no vectors: %v", err)
	}
	var facts struct {
		Sizes []struct {
			CPU         int    `json:"cpu"`
			Memory      []int  `json:"memory"`
			MinPlatform string `json:"min_platform"`
		} `json:"sizes"`
	}
	if err := json.Unmarshal(data, &facts); err != nil {
		t.Fatal(err)
	}
	var want []fargateSize
	for _, s := range facts.Sizes {
		want = append(want, fargateSize{s.CPU, s.Memory, s.MinPlatform != ""})
	}
	if d := cmp.Diff(want, fargateSizes, cmp.AllowUnexported(fargateSize{})); d != "" {
		t.Errorf("(-facts +table):\n%s", d)
	}
	if n := nextMemory(256, 512); n != 1024 {
		t.Errorf("next of 512 is %d", n)
	}
	if n := nextMemory(256, 2048); n != 0 {
		t.Errorf("next of 2048 is %d", n)
	}
}

func TestCauses(t *testing.T) {
	exit := func(n int32) *int32 { return &n }
	for _, tc := range []struct {
		task StoppedTask
		want class
	}{
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref r/x@sha256:1: not found"}, classImage},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "CannotPullContainerError: image Manifest does not contain descriptor matching platform 'linux/amd64'"}, classArch},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "CannotPullContainerError: pull access denied, repository does not exist or may require authorization: not authorized"}, classIAM},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: `CannotPullContainerError: failed to do request: Head "https://registry.example.com/v2/": dial tcp 1.2.3.4:443: i/o timeout`}, classNetwork},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "CannotPullContainerError: toomanyrequests: You have reached your pull rate limit"}, classRegistry},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "CannotPullContainerError: write /var/lib: no space left on device"}, classSize},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "ResourceInitializationError: unable to pull secrets or registry auth: AccessDeniedException: User is not authorized to perform: secretsmanager:GetSecretValue"}, classIAM},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "ResourceInitializationError: unable to pull secrets or registry auth: RequestError: send request failed: i/o timeout"}, classNetwork},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "ResourceInitializationError: unable to pull secrets: ResourceNotFoundException: Secrets Manager can't find the specified secret."}, classConfig},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: The specified log group does not exist. : exit status 1"}, classLogs},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "ResourceInitializationError: failed to validate logger args: signal: killed"}, classNetwork},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "ResourceInitializationError: failed to invoke EFS utils commands"}, classConfig},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "Unexpected EC2 error while attempting to Create Network Interface in subnet"}, classNetwork},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "Timeout waiting for network interface provisioning to complete."}, classAWS},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "Capacity is unavailable at this time. Please try again later"}, classCapacity},
		{StoppedTask{StopCode: "EssentialContainerExited", StoppedReason: "Essential container in task exited", ContainerReason: "OutOfMemoryError: Container killed due to memory usage", ExitCode: exit(137)}, classMemory},
		{StoppedTask{StopCode: "EssentialContainerExited", StoppedReason: "Essential container in task exited", ExitCode: exit(137)}, classSignal},
		{StoppedTask{StopCode: "ServiceSchedulerInitiated", StoppedReason: "Scaling activity initiated by (deployment ecs-svc/1)", ExitCode: exit(143)}, classNormal},
		{StoppedTask{StopCode: "EssentialContainerExited", ExitCode: exit(139)}, classCrash},
		{StoppedTask{StopCode: "TaskFailedToStart", StoppedReason: "Task failed to start", ContainerReason: `CannotStartContainerError: OCI runtime create failed: exec: "gunicorn": executable file not found in $PATH`}, classCommand},
		{StoppedTask{StopCode: "EssentialContainerExited", ExitCode: exit(127)}, classCommand},
		{StoppedTask{StopCode: "EssentialContainerExited", ExitCode: exit(126)}, classCommand},
		{StoppedTask{StopCode: "EssentialContainerExited", ContainerReason: "exec /usr/bin/python3: exec format error", ExitCode: exit(255)}, classArch},
		{StoppedTask{StopCode: "EssentialContainerExited", ExitCode: exit(1)}, classApp},
		{StoppedTask{StopCode: "EssentialContainerExited", ExitCode: exit(0)}, classApp},
		{StoppedTask{StopCode: "ServiceSchedulerInitiated", StoppedReason: "Task failed ELB health checks in (target-group arn:x)", ExitCode: exit(143)}, classHealth},
		{StoppedTask{StopCode: "ServiceSchedulerInitiated", StoppedReason: "Task failed container health checks"}, classHealth},
		{StoppedTask{StopCode: "SpotInterruption", StoppedReason: "Your Spot Task was interrupted."}, classNormal},
		{StoppedTask{StopCode: "InfrastructureHealth"}, classAWS},
		{StoppedTask{StopCode: "UserInitiated", StoppedReason: "Task stopped by (somebody)"}, classHuman},
		{StoppedTask{StopCode: "SomethingNew", StoppedReason: "never heard of"}, classUnknown},
	} {
		got, remedy := diagnose(tc.task)
		if got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.task.StopCode, tc.task.StoppedReason, got, tc.want)
		}
		quiet := got == classNormal || got == classAWS || got == classHuman || got == classUnknown
		if quiet != (remedy == "") || strings.Contains(remedy, "\n") {
			t.Errorf("%s: remedy %q", got, remedy)
		}
	}
}

func TestNoticed(t *testing.T) {
	for message, want := range map[string]bool{
		"(service web) has reached a steady state.":                                                                           false,
		"(service web) has started 1 tasks: (task 1).":                                                                        false,
		"(service web) registered 1 targets in (target-group arn)":                                                            false,
		"(service web) is unable to consistently start tasks successfully.":                                                   true,
		"(service web) was unable to place a task. Reason: Capacity is unavailable at this time.":                             true,
		"(service web) (port 80) is unhealthy in (target-group arn) due to (reason Request timed out)":                        true,
		"(service web) was unable to stop or start tasks during a deployment because of the service deployment configuration": true,
	} {
		if got, _ := noticed(message); got != want {
			t.Errorf("%s: %v", message, got)
		}
	}
}

func TestStoppedTaskBlamesTheContainerThatFailed(t *testing.T) {
	n := func(v int32) *int32 { return &v }
	s := func(v string) *string { return &v }
	got := newStoppedTask(types.Task{TaskArn: s("arn:aws:ecs:eu-west-1:1:task/c/abc"), StopCode: "EssentialContainerExited", StoppedReason: s("Essential container in task exited"),
		Containers: []types.Container{{Name: s("proxy"), ExitCode: n(137)}, {Name: s("web"), ExitCode: n(3)}, {Name: s("agent"), ExitCode: n(0)}}})
	if got.Container != "web" || *got.ExitCode != 3 || got.ID() != "abc" || got.summary() != "container web exited with status 3" {
		t.Errorf("%+v: %s", got, got.summary())
	}
	got = newStoppedTask(types.Task{StopCode: "ServiceSchedulerInitiated", StoppedReason: s("Task failed ELB health checks in (target-group t)"),
		Containers: []types.Container{{Name: s("web"), ExitCode: n(143)}}})
	if got.summary() != "Task failed ELB health checks in (target-group t)" || got.Class != "health" {
		t.Errorf("%+v: %s", got, got.summary())
	}
	got = newStoppedTask(types.Task{StopCode: "TaskFailedToStart", StoppedReason: s("CannotPullContainerError: not found " + strings.Repeat("é", 400))})
	if len(got.summary()) > 320 || got.Class != "image" {
		t.Errorf("%s", got.summary())
	}
}
