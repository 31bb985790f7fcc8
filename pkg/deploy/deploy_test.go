package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
)

const taskFile = `{
  "family": "boyacky-taskdef",
  "requiresCompatibilities": ["FARGATE"],
  "networkMode": "awsvpc",
  "cpu": "256",
  "memory": "512",
  "executionRoleArn": "arn:aws:iam::123456789012:role/ecsTaskExecutionRole",
  "containerDefinitions": [
    {
      "name": "boyacky-container",
      "image": "${IMAGE}",
      "portMappings": [{"containerPort": 8080}],
      "environment": [
        {"name": "BOYACKY_STORE", "value": "${STORE:-memory}"},
        {"name": "PORT", "value": "8080"}
      ]
    }
  ]
}`

const serviceFile = `{
  "cluster": "handon-cluster",
  "serviceName": "boyacky-service",
  "launchType": "FARGATE",
  "desiredCount": 1,
  "deploymentConfiguration": {
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
    "deploymentCircuitBreaker": {"enable": true, "rollback": true}
  },
  "networkConfiguration": {
    "awsvpcConfiguration": {
      "subnets": ["subnet-1", "subnet-2"],
      "securityGroups": ["sg-1"]
    }
  },
  "loadBalancers": [
    {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/boyacky/1", "containerName": "boyacky-container", "containerPort": 8080}
  ]
}`

// digest makes an image whose digest begins with a letter, by which the fake
// scripts what its tasks do.
func digest(letter string) name.Digest {
	d, err := name.NewDigest("127.0.0.1:5050/boyacky/web-app@sha256:" + strings.Repeat(letter, 64))
	if err != nil {
		panic(err)
	}
	return d
}

// logLines gathers what a person would read, without time and level.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *logLines) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *logLines) WithGroup(string) slog.Handler                    { return l }
func (l *logLines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r.Message)
	return nil
}

func (l *logLines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := strings.Join(l.lines, "\n")
	l.lines = nil
	return s
}

func input(t *testing.T, f *fakeECS, image, task, service string) (Input, *logLines) {
	t.Helper()
	dir := t.TempDir()
	in := Input{Files: Files{filepath.Join(dir, "taskdef.json"), filepath.Join(dir, "service.json")}, Image: digest(image)}
	for file, content := range map[string]string{in.Files.TaskDefinition: task, in.Files.Service: service} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l := &logLines{}
	in.Log, in.Clock = slog.New(l), f
	return in, l
}

// deployed is a fake with the service running image "a" in revision 1.
func deployed(t *testing.T, service string) (*fakeECS, *ecs.Client) {
	t.Helper()
	f, api := startECS(t)
	in, _ := input(t, f, "a", taskFile, service)
	if _, err := Run(t.Context(), api, in); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.calls = nil
	f.now = f.now.Add(time.Hour)
	f.mu.Unlock()
	return f, api
}

func edit(s string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			panic("the text to edit has no " + pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

func TestRunCreatesClusterAndService(t *testing.T) {
	f, api := startECS(t)
	in, log := input(t, f, "a", taskFile, serviceFile)
	rel, err := Run(t.Context(), api, in)
	if err != nil {
		t.Fatal(err)
	}
	rel.Plan = nil
	want := Release{Cluster: "handon-cluster", Service: "boyacky-service",
		TaskDefinitionARN: arnPrefix + "task-definition/boyacky-taskdef:1",
		ServiceARN:        arnPrefix + "service/handon-cluster/boyacky-service",
		DeploymentARN:     arnPrefix + "service-deployment/handon-cluster/boyacky-service/1",
		Image:             in.Image.String(), Registered: true, Changed: true,
		Ports: []Port{{Container: "boyacky-container", Port: 8080, Protocol: "tcp", TargetGroup: "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/boyacky/1"}}}
	if d := cmp.Diff(want, rel); d != "" {
		t.Errorf("release (-want +got):\n%s", d)
	}
	wantLog := `created cluster handon-cluster
registered boyacky-taskdef:1
creating boyacky-service in handon-cluster
boyacky-taskdef:1: 0 of 1 tasks running
(service boyacky-service) has reached a steady state.
boyacky-service in handon-cluster runs boyacky-taskdef:1 with 1 task`
	if d := cmp.Diff(wantLog, log.take()); d != "" {
		t.Errorf("log (-want +got):\n%s", d)
	}
	registered := f.last("RegisterTaskDefinition")["containerDefinitions"].([]any)[0].(map[string]any)
	if registered["image"] != in.Image.String() {
		t.Errorf("image = %v", registered["image"])
	}
}

func TestRunAgainDoesNothing(t *testing.T) {
	f, api := deployed(t, serviceFile)
	in, log := input(t, f, "a", taskFile, serviceFile)
	rel, err := Run(t.Context(), api, in)
	if err != nil {
		t.Fatal(err)
	}
	if rel.Changed || rel.Registered || rel.DeploymentARN != "" || rel.TaskDefinitionARN == "" {
		t.Errorf("release = %+v", rel)
	}
	if d := cmp.Diff([]string{"DescribeServices", "DescribeTaskDefinition"}, f.calls); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
	if d := cmp.Diff("boyacky-service in handon-cluster already runs boyacky-taskdef:1 with this image: nothing to do", log.take()); d != "" {
		t.Error(d)
	}
}

func TestRunUpdatesWithOneCall(t *testing.T) {
	f, api := deployed(t, serviceFile)
	in, _ := input(t, f, "b", taskFile, edit(serviceFile, `"sg-1"`, `"sg-2"`, `"desiredCount": 1`, `"desiredCount": 2`))
	plan, err := Prepare(t.Context(), api, in)
	if err != nil {
		t.Fatal(err)
	}
	wantChanges := []Change{
		{"desiredCount", "1", "2"},
		{"networkConfiguration.awsvpcConfiguration.securityGroups", `["sg-1"]`, `["sg-2"]`},
	}
	if d := cmp.Diff(wantChanges, plan.ServiceChanges); d != "" {
		t.Errorf("service changes (-want +got):\n%s", d)
	}
	if len(plan.TaskChanges) != 1 || plan.TaskChanges[0].Path != "containers.boyacky-container.image" {
		t.Errorf("task changes = %v", plan.TaskChanges)
	}
	rel, err := plan.Apply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(rel.TaskDefinitionARN, "boyacky-taskdef:2") || f.count("UpdateService") != 1 || f.count("RegisterTaskDefinition") != 1 {
		t.Errorf("release = %+v, calls = %v", rel, f.calls)
	}
	sent := f.last("UpdateService")
	for _, key := range []string{"launchType", "deploymentConfiguration", "loadBalancers"} {
		if _, ok := sent[key]; ok {
			t.Errorf("UpdateService was sent %s, which has not changed", key)
		}
	}
}

func TestRunUsesTheNewestRevisionIfItIsTheSame(t *testing.T) {
	f, api := deployed(t, serviceFile)
	in, _ := input(t, f, "b", taskFile, serviceFile)
	in.Options.NoWait = true
	rel, err := Run(t.Context(), api, in) // registered and under way
	if err != nil || !rel.Registered || rel.DeploymentARN != "ecs-svc/3" {
		t.Fatalf("%+v, %v", rel, err)
	}
	in.Options.NoWait = false
	rel, err = Run(t.Context(), api, in) // joins the deployment that is under way
	if err != nil || rel.Registered || rel.Changed || !strings.HasSuffix(rel.DeploymentARN, "/3") {
		t.Errorf("%+v, %v", rel, err)
	}
	if f.count("UpdateService") != 1 {
		t.Errorf("calls = %v", f.calls)
	}
}

func TestRunForce(t *testing.T) {
	f, api := deployed(t, serviceFile)
	in, _ := input(t, f, "a", taskFile, serviceFile)
	in.Force = true
	rel, err := Run(t.Context(), api, in)
	if err != nil || rel.Registered || !rel.Changed || !strings.HasSuffix(rel.DeploymentARN, "/3") {
		t.Errorf("%+v, %v", rel, err)
	}
	if sent := f.last("UpdateService"); sent["forceNewDeployment"] != true || sent["taskDefinition"] != nil {
		t.Errorf("sent %v", sent)
	}
}

// A forced deployment of the same task definition that is rolled back leaves
// the service running that very task definition: only the deployment tells.
func TestRunForcedWithTheSameTaskDefinitionRolledBack(t *testing.T) {
	for _, detailed := range []bool{true, false} {
		f, api := deployed(t, serviceFile)
		f.outcome["a"] = "crash"
		if !detailed {
			f.deny["ListServiceDeployments"] = "AccessDeniedException"
		}
		in, _ := input(t, f, "a", taskFile, serviceFile)
		in.Force = true
		_, err := Run(t.Context(), api, in)
		var back *RolledBackError
		if !errors.As(err, &back) {
			t.Errorf("detailed %v: err = %v", detailed, err)
		}
	}
}

func TestRunRolledBack(t *testing.T) {
	for _, tc := range []struct{ what, deny, code string }{
		{"service deployments", "", ""},
		{"old IAM policy", "ListServiceDeployments", "AccessDeniedException"},
		{"policy without describe", "DescribeServiceDeployments", "AccessDeniedException"},
		{"policy without revisions", "DescribeServiceRevisions", "AccessDeniedException"},
		{"no such operation", "ListServiceDeployments", "UnknownOperationException"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			f, api := deployed(t, serviceFile)
			f.outcome["b"] = "crash"
			if tc.deny != "" {
				f.deny[tc.deny] = tc.code
			}
			in, log := input(t, f, "b", taskFile, serviceFile)
			var tailed []string
			in.Tail = func(_ context.Context, task StoppedTask) ([]string, error) {
				tailed = append(tailed, task.ID())
				return []string{"Traceback (most recent call last):", "ModuleNotFoundError: No module named 'flask'"}, nil
			}
			rel, err := Run(t.Context(), api, in)
			var back *RolledBackError
			if !errors.As(err, &back) {
				t.Fatalf("err = %v", err)
			}
			if back.Serving != "boyacky-taskdef:1" || back.TaskDefinition != "boyacky-taskdef:2" || !back.Unhealthy() || len(back.Tasks) < 3 {
				t.Errorf("%+v", back)
			}
			for _, part := range []string{"deploy boyacky-service in handon-cluster: the deployment of boyacky-taskdef:2 was rolled back, boyacky-taskdef:1 is serving",
				"circuit breaker", "container boyacky-container exited with status 1 ("} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("err = %v\nlacks %q", err, part)
				}
			}
			if !strings.Contains(back.Hint(), "log") || strings.Contains(err.Error(), "\n") || rel.DeploymentARN == "" {
				t.Errorf("hint = %q, release = %+v", back.Hint(), rel)
			}
			if out := log.take(); len(tailed) != 1 || !strings.Contains(out, "  ModuleNotFoundError") || !strings.Contains(out, "rolling back to deploymentId") {
				t.Errorf("tailed %v, log:\n%s", tailed, out)
			}

			// What failed is not rolled out again as if nothing had been: the
			// service runs revision 1, the newest is 2.
			f.outcome["b"] = ""
			f.tasks = nil
			if rel, err = Run(t.Context(), api, in); err != nil || rel.Registered || !strings.HasSuffix(rel.TaskDefinitionARN, ":2") || !rel.Changed {
				t.Errorf("second try: %+v, %v", rel, err)
			}
		})
	}
}

// After a rollback, going back to the old image is what the service runs.
func TestRunAfterRollbackWithTheOldImage(t *testing.T) {
	f, api := deployed(t, serviceFile)
	f.outcome["b"] = "crash"
	in, _ := input(t, f, "b", taskFile, serviceFile)
	if _, err := Run(t.Context(), api, in); err == nil {
		t.Fatal("no error")
	}
	in.Image = digest("a")
	rel, err := Run(t.Context(), api, in)
	if err != nil || rel.Changed || !strings.HasSuffix(rel.TaskDefinitionARN, ":1") {
		t.Errorf("%+v, %v", rel, err)
	}
}

func TestRunFailsWithoutRollback(t *testing.T) {
	noRollback := edit(serviceFile, `"rollback": true`, `"rollback": false`)
	for _, deny := range []string{"", "ListServiceDeployments"} {
		f, api := deployed(t, noRollback)
		f.outcome["b"] = "crash"
		f.deny[deny] = "AccessDeniedException"
		in, _ := input(t, f, "b", taskFile, noRollback)
		_, err := Run(t.Context(), api, in)
		var failed *FailedError
		if !errors.As(err, &failed) || len(failed.Tasks) == 0 {
			t.Errorf("deny %q: err = %v", deny, err)
		}
		// The files are what ECS has; but what it has failed.
		f.outcome["b"] = ""
		rel, err := Run(t.Context(), api, in)
		if err != nil || !rel.Changed || f.last("UpdateService")["forceNewDeployment"] != true {
			t.Errorf("deny %q: again: %+v, %v", deny, rel, err)
		}
	}
}

// Without a circuit breaker a deployment that cannot come up stays in progress
// for ever; with one, so does the first, which has nothing to go back to.
func TestRunFirstDeploymentTimesOut(t *testing.T) {
	noBreaker := edit(serviceFile, `,
    "deploymentCircuitBreaker": {"enable": true, "rollback": true}`, "")
	f, api := startECS(t)
	f.outcome["a"] = "crash"
	in, log := input(t, f, "a", taskFile, noBreaker)
	in.Timeout = 5 * time.Minute
	_, err := Run(t.Context(), api, in)
	var late *TimedOutError
	if !errors.As(err, &late) || late.After < in.Timeout || len(late.Tasks) == 0 {
		t.Fatalf("err = %v", err)
	}
	if !strings.Contains(err.Error(), "is not through after 5m0s and goes on; container boyacky-container exited with status 1 (") {
		t.Errorf("err = %v", err)
	}
	if out := log.take(); !strings.Contains(out, "no deployment circuit breaker") || !strings.Contains(out, "stopped: container boyacky-container exited with status 1") {
		t.Errorf("log:\n%s", out)
	}
	if len(f.tasks) < len(late.Tasks) {
		t.Errorf("%d tasks told of, %d stopped", len(late.Tasks), len(f.tasks))
	}
}

// The circuit breaker of a first deployment has nothing to go back to: the
// service deployment stays in progress, the service's own entry says FAILED.
func TestRunFirstDeploymentBreaksWithoutAnythingToGoBackTo(t *testing.T) {
	f, api := startECS(t)
	f.outcome["a"] = "crash"
	in, _ := input(t, f, "a", taskFile, serviceFile)
	_, err := Run(t.Context(), api, in)
	var failed *FailedError
	if !errors.As(err, &failed) || len(failed.Tasks) == 0 || !strings.Contains(err.Error(), "no earlier deployment to go back to") {
		t.Errorf("err = %v", err)
	}

	f, api = startECS(t)
	f.outcome["a"] = "crash"
	f.deny["ListServiceDeployments"] = "AccessDeniedException"
	in.Clock = f
	_, err = Run(t.Context(), api, in)
	if !errors.As(err, &failed) || len(failed.Tasks) == 0 {
		t.Errorf("err = %v", err)
	}
}

func TestRunSuperseded(t *testing.T) {
	for _, deny := range []string{"", "ListServiceDeployments"} {
		f, api := deployed(t, edit(serviceFile, `"rollback": true`, `"rollback": false`))
		f.outcome["b"] = "never"
		f.deny[deny] = "AccessDeniedException"
		ticks := 0
		f.onTick = func(s *fakeService) {
			if ticks++; ticks == 5 { // somebody else deploys
				in := map[string]any{"family": "boyacky-taskdef", "containerDefinitions": []any{map[string]any{"name": "boyacky-container", "image": digest("c").String()}}}
				f.register(in)
				s.deploy("boyacky-taskdef:3")
			}
		}
		in, _ := input(t, f, "b", taskFile, edit(serviceFile, `"rollback": true`, `"rollback": false`))
		_, err := Run(t.Context(), api, in)
		var superseded *SupersededError
		if !errors.As(err, &superseded) || superseded.By == "" || superseded.Serving != "boyacky-taskdef:3" {
			t.Errorf("deny %q: err = %v", deny, err)
		}
	}
}

func TestRunStoppedBySomebody(t *testing.T) {
	f, api := deployed(t, serviceFile)
	f.outcome["b"] = "never"
	ticks := 0
	f.onTick = func(s *fakeService) {
		if ticks++; ticks == 4 {
			s.deployments[0].status = "STOP_REQUESTED"
		}
		if ticks == 6 {
			s.deployments[0].status, s.deployments[0].reason = "STOPPED", "Service deployment stopped by StopServiceDeployment."
		}
	}
	in, log := input(t, f, "b", taskFile, serviceFile)
	_, err := Run(t.Context(), api, in)
	var stopped *StoppedError
	if !errors.As(err, &stopped) || !strings.Contains(log.take(), "the deployment is being stopped") {
		t.Errorf("err = %v", err)
	}
}

func TestRunRollbackFailed(t *testing.T) {
	f, api := deployed(t, serviceFile)
	f.outcome["b"] = "never"
	f.onTick = func(s *fakeService) {
		if d := s.deployments[0]; d.ticks == 2 {
			d.status = "ROLLBACK_FAILED"
		}
	}
	in, _ := input(t, f, "b", taskFile, serviceFile)
	_, err := Run(t.Context(), api, in)
	var failed *RollbackFailedError
	if !errors.As(err, &failed) || !failed.Unhealthy() {
		t.Errorf("err = %v", err)
	}
}

func TestRunRidesOutThrottlingAndLag(t *testing.T) {
	f, api := deployed(t, serviceFile)
	f.lag = 2
	for _, op := range []string{"RegisterTaskDefinition", "UpdateService", "DescribeServices", "ListServiceDeployments", "DescribeServiceDeployments", "ListTasks"} {
		f.throttle[op] = 3
	}
	in, _ := input(t, f, "b", taskFile, serviceFile)
	rel, err := Run(t.Context(), api, in)
	if err != nil || !strings.HasSuffix(rel.DeploymentARN, "/3") {
		t.Errorf("%+v, %v", rel, err)
	}
	// Also when nothing but the service's state, which lags, is there to go by.
	f.deny["ListServiceDeployments"] = "AccessDeniedException"
	in.Image = digest("c")
	if rel, err = Run(t.Context(), api, in); err != nil || !strings.HasPrefix(rel.DeploymentARN, "ecs-svc/") {
		t.Errorf("%+v, %v", rel, err)
	}
}

// A stand-in for ECS may accept an update and do nothing about it: the service
// is stable the whole time, with the old task definition.
func TestRunAgainstALyingService(t *testing.T) {
	for _, deny := range []string{"", "ListServiceDeployments"} {
		f, api := deployed(t, serviceFile)
		f.lying = true
		f.deny[deny] = "UnknownOperationException"
		in, _ := input(t, f, "b", taskFile, serviceFile)
		_, err := Run(t.Context(), api, in)
		var failed *FailedError
		if !errors.As(err, &failed) || failed.Serving != "boyacky-taskdef:1" || !strings.Contains(err.Error(), "shows no such deployment") {
			t.Errorf("deny %q: err = %v", deny, err)
		}
		// It goes on lying: the service's own field says that it runs revision 2.
		if _, err = Run(t.Context(), api, in); !errors.As(err, &failed) {
			t.Errorf("deny %q: again: err = %v", deny, err)
		}
	}
}

func TestRunDoesNotBelieveASuccessThatDoesNotShow(t *testing.T) {
	f, api := deployed(t, serviceFile)
	f.outcome["b"] = "never"
	f.onTick = func(s *fakeService) {
		if d := s.deployments[0]; d.ticks == 2 {
			d.status = "SUCCESSFUL" // with no task running
		}
	}
	in, _ := input(t, f, "b", taskFile, serviceFile)
	_, err := Run(t.Context(), api, in)
	var failed *FailedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "0 of 1 tasks run") {
		t.Errorf("err = %v", err)
	}
}

func TestRunWithoutRolloutState(t *testing.T) {
	f, api := deployed(t, serviceFile)
	f.noState = true
	f.deny["ListServiceDeployments"] = "UnsupportedFeatureException"
	in, _ := input(t, f, "b", taskFile, serviceFile)
	if _, err := Run(t.Context(), api, in); err != nil {
		t.Errorf("err = %v", err)
	}
}

// blinded is an API whose looks at a deployment fail from some call on.
type blinded struct {
	*ecs.Client
	from, calls int
	onCall      func(n int)
}

func (b *blinded) DescribeServices(ctx context.Context, in *ecs.DescribeServicesInput, o ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error) {
	b.calls++
	if b.onCall != nil {
		b.onCall(b.calls)
	}
	if b.from > 0 && b.calls >= b.from {
		return nil, errors.New("connection reset by peer")
	}
	return b.Client.DescribeServices(ctx, in, o...)
}

func TestRunLosesSight(t *testing.T) {
	f, api := deployed(t, serviceFile)
	in, _ := input(t, f, "b", taskFile, serviceFile)
	b := &blinded{Client: api, from: 3}
	_, err := Run(t.Context(), b, in)
	var lost *LostError
	var unhealthy interface{ Unhealthy() bool }
	if !errors.As(err, &lost) || lost.Tries != maxBlind || errors.As(err, &unhealthy) || !strings.Contains(err.Error(), "goes on in ECS") {
		t.Errorf("err = %v", err)
	}
}

func TestRunInterrupted(t *testing.T) {
	f, api := deployed(t, serviceFile)
	f.outcome["b"] = "never"
	in, _ := input(t, f, "b", taskFile, serviceFile)
	ctx, cancel := context.WithCancel(t.Context())
	b := &blinded{Client: api, onCall: func(n int) {
		if n == 3 {
			cancel()
		}
	}}
	rel, err := Run(ctx, b, in)
	var interrupted *InterruptedError
	if !errors.As(err, &interrupted) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "goes on in ECS") {
		t.Errorf("err = %v", err)
	}
	if !rel.Registered || rel.DeploymentARN == "" {
		t.Errorf("release = %+v", rel)
	}
}

func TestRunWaitsForADeletedService(t *testing.T) {
	f, api := deployed(t, serviceFile)
	first := f.last("CreateService")["clientToken"]
	f.services["handon-cluster/boyacky-service"].status = "DRAINING"
	f.services["handon-cluster/boyacky-service"].draining = 3
	in, log := input(t, f, "a", taskFile, serviceFile)
	rel, err := Run(t.Context(), api, in)
	if err != nil || rel.Registered || f.count("CreateService") != 1 || !strings.Contains(log.take(), "waiting for the deletion") {
		t.Errorf("%+v, %v, calls %v", rel, err, f.calls)
	}
	if again := f.last("CreateService")["clientToken"]; again == first {
		t.Error("the new service is asked for with the token of the deleted one")
	}
}

func TestRunRetriesInANewClusterOnly(t *testing.T) {
	f, api := startECS(t)
	f.deny["CreateService"] = "ClusterNotFoundException"
	in, log := input(t, f, "a", taskFile, serviceFile)
	_, err := Run(t.Context(), api, in)
	var refused *APIError
	if !errors.As(err, &refused) || f.count("CreateService") < 3 || !strings.Contains(log.take(), "trying again") {
		t.Errorf("err = %v after %d tries", err, f.count("CreateService"))
	}
	f.calls = nil
	if _, err = Run(t.Context(), api, in); !errors.As(err, &refused) || f.count("CreateService") != 1 {
		t.Errorf("err = %v after %d tries", err, f.count("CreateService"))
	}
	if want := "create service boyacky-service in cluster handon-cluster: ClusterNotFoundException: said by the fake"; err.Error() != want {
		t.Errorf("err = %v", err)
	}
}

func TestRunSettingsWithoutDeployment(t *testing.T) {
	f, api := deployed(t, serviceFile)
	in, log := input(t, f, "a", taskFile, edit(serviceFile, `"desiredCount": 1,`, `"desiredCount": 3, "enableExecuteCommand": true, "tags": [{"key": "team", "value": "board"}],`))
	rel, err := Run(t.Context(), api, in)
	if err != nil || !rel.Changed || rel.DeploymentARN != "" || f.count("TagResource") != 1 {
		t.Errorf("%+v, %v", rel, err)
	}
	if out := log.take(); !strings.Contains(out, "without a deployment") || !strings.Contains(out, "keep the old settings") {
		t.Errorf("log:\n%s", out)
	}
	if sent := f.last("UpdateService"); sent["desiredCount"] != 3.0 || sent["enableExecuteCommand"] != true || len(sent) != 4 {
		t.Errorf("sent %v", sent)
	}
}

func TestRunSettingsThatECSFindsUnchanged(t *testing.T) {
	f, api := deployed(t, serviceFile)
	f.lying = true // no deployment for these settings
	in, log := input(t, f, "a", taskFile, edit(serviceFile, `"sg-1"`, `"sg-2"`))
	rel, err := Run(t.Context(), api, in)
	if err != nil || !rel.Changed || !strings.Contains(log.take(), "ECS started no deployment") {
		t.Errorf("%+v, %v", rel, err)
	}
}

func TestPlanText(t *testing.T) {
	f, api := deployed(t, serviceFile)
	in, _ := input(t, f, "b", edit(taskFile, `"8080"`, `"80"`), edit(serviceFile, `"desiredCount": 1`, `"desiredCount": 2`))
	plan, err := Prepare(t.Context(), api, in)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`register a new revision of boyacky-taskdef with %s in boyacky-container
  containers.boyacky-container.environment.PORT: "8080" becomes "80"
  containers.boyacky-container.image: "%s" becomes "%s"
update service boyacky-service in handon-cluster and replace its tasks
  desiredCount: 1 becomes 2
`, digest("b"), digest("a"), digest("b"))
	if d := cmp.Diff(want, plan.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestRunDryRunTouchesNothing(t *testing.T) {
	f, api := startECS(t)
	in, _ := input(t, f, "a", taskFile, serviceFile)
	in.DryRun = true
	rel, err := Run(t.Context(), api, in)
	if err != nil || rel.Plan == nil || rel.Plan.Action != ActionCreate || !rel.Plan.CreateCluster || !rel.Plan.Register {
		t.Errorf("%+v, %v", rel.Plan, err)
	}
	for _, call := range f.calls {
		if !strings.HasPrefix(call, "Describe") {
			t.Errorf("called %s", call)
		}
	}
}

func TestRunDeniedSaysWhatItTakes(t *testing.T) {
	for op, action := range map[string]string{"DescribeServices": "ecs:DescribeServices", "RegisterTaskDefinition": "iam:PassRole", "UpdateService": "ecs:UpdateService"} {
		f, api := deployed(t, serviceFile)
		f.deny[op] = "AccessDeniedException"
		in, _ := input(t, f, "b", taskFile, serviceFile)
		_, err := Run(t.Context(), api, in)
		var refused *APIError
		if !errors.As(err, &refused) || !strings.Contains(refused.Hint(), action) {
			t.Errorf("%s: err = %v", op, err)
		}
	}
}

func TestRunInANewCluster(t *testing.T) {
	role := refusal{"InvalidParameterException", "Unable to assume the service linked role. Please verify that the ECS service linked role exists."}
	for name, test := range map[string]struct {
		no         refusal
		lasts      time.Duration // of the refusal
		timeout    time.Duration
		ok, waited bool
	}{
		"the role is being made":           {role, 8 * time.Second, 0, true, true},
		"the role is never made":           {role, time.Hour, 0, false, true},
		"the role takes more than is left": {role, 8 * time.Second, 4 * time.Second, false, true},
		"the cluster is not known yet":     {refusal{"ClusterNotFoundException", "Cluster not found."}, 8 * time.Second, 0, true, true},
		"a wrong subnet":                   {refusal{"InvalidParameterException", "The subnet ID 'subnet-1' does not exist (ErrorCode: InvalidSubnetID.NotFound)"}, 8 * time.Second, 0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, api := startECS(t)
			start := f.now
			var last time.Duration
			f.refuse = func(op string) *refusal {
				if op != "CreateService" {
					return nil
				}
				if last = f.now.Sub(start); last >= test.lasts {
					return nil
				}
				return &test.no
			}
			in, _ := input(t, f, "a", taskFile, serviceFile)
			in.Timeout = test.timeout
			_, err := Run(t.Context(), api, in)
			var refused *APIError
			if (err == nil) != test.ok || err != nil && !errors.As(err, &refused) {
				t.Errorf("err = %v", err)
			}
			if waited := last > 0; waited != test.waited || last > creationPatience || test.timeout > 0 && last > test.timeout {
				t.Errorf("waited for %s", last)
			}
		})
	}
}

func TestRunRefusesWhatECSCannotChange(t *testing.T) {
	f, api := deployed(t, serviceFile)
	in, _ := input(t, f, "a", taskFile, edit(serviceFile, `"launchType": "FARGATE"`, `"launchType": "EC2"`))
	_, err := Run(t.Context(), api, in)
	var wrong *FileError
	if !errors.As(err, &wrong) || wrong.Line != 4 || !strings.Contains(err.Error(), "which ECS cannot change") {
		t.Errorf("err = %v", err)
	}
	if n := len(f.calls); n != 2 {
		t.Errorf("%d calls: %v", n, f.calls)
	}
}

func TestPauseGrowsAndStaysInBounds(t *testing.T) {
	o := Options{}.withDefaults()
	for n := range 200 {
		if d := o.pause(n); d < 2*time.Second || d > 18*time.Second {
			t.Errorf("pause %d is %s", n, d)
		}
	}
	if o.pause(0) > 4*time.Second || o.pause(100) < 12*time.Second {
		t.Error("the pause does not grow")
	}
}

func ExampleEvidence() {
	one := int32(1)
	err := &RolledBackError{Evidence{Cluster: "handon-cluster", Service: "boyacky-service", TaskDefinition: "boyacky-taskdef:4", Serving: "boyacky-taskdef:3",
		Reason: "ECS deployment circuit breaker: tasks failed to start.",
		Tasks:  []StoppedTask{{Container: "boyacky-container", ExitCode: &one, StopCode: "EssentialContainerExited", Remedy: "the program ended: its log says why"}}}}
	fmt.Println(err)
	fmt.Println("hint:", err.Hint())
	// Output:
	// deploy boyacky-service in handon-cluster: the deployment of boyacky-taskdef:4 was rolled back, boyacky-taskdef:3 is serving: ECS deployment circuit breaker: tasks failed to start; container boyacky-container exited with status 1
	// hint: the program ended: its log says why
}

func TestCurrent(t *testing.T) {
	f, client := startECS(t)
	in, _ := input(t, f, "a", taskFile, serviceFile)
	if got, err := Current(t.Context(), client, in); err != nil || len(got) > 0 {
		t.Fatalf("before the service is there: %v, %v", got, err)
	}
	if _, err := Run(t.Context(), client, in); err != nil {
		t.Fatal(err)
	}
	got, err := Current(t.Context(), client, in)
	if err != nil || len(got) != 1 || got[0] != in.Image.String() {
		t.Errorf("got %v, %v, want %s", got, err, in.Image)
	}
}
