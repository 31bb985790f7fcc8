package local

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"
)

// deployed is a rig whose service runs version 1 of "serve".
func deployed(t *testing.T, change func(*ecs.CreateServiceInput)) (r *rig, image_ string, port int32) {
	t.Helper()
	r = newRig(t, Options{})
	r.createRepository("web")
	image_ = r.mustPush("web", "1", image(t, map[string][]byte{"f": []byte("x")}, "serve"))
	port = freePort(t)
	r.create(r.register(image_, port, map[string]string{"VERSION": "1"}), change)
	r.settle(types.ServiceDeploymentStatusSuccessful)
	return r, image_, port
}

func withBreaker(rollback bool) func(*ecs.CreateServiceInput) {
	return func(in *ecs.CreateServiceInput) {
		in.DeploymentConfiguration = &types.DeploymentConfiguration{
			DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: true, Rollback: rollback}}
	}
}

func TestDeploy(t *testing.T) {
	r, image, port := deployed(t, nil)
	if got := fetch(t, port); got != "1" {
		t.Errorf("the task answers %q", got)
	}
	s := r.service()
	if len(s.Deployments) != 1 || s.RunningCount != 1 || s.Deployments[0].RolloutState != types.DeploymentRolloutStateCompleted {
		t.Errorf("service: %+v", s)
	}
	r.wantEvent("has started 1 tasks: (task ")
	r.wantEvent("deployment completed.")
	r.wantEvent("has reached a steady state.")
	sd := r.newest()
	revs, err := r.ecs.DescribeServiceRevisions(t.Context(), &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: []string{*sd.TargetServiceRevision.Arn}})
	if err != nil {
		t.Fatal(err)
	}
	_, digest, _ := strings.Cut(image, "@")
	if c := revs.ServiceRevisions[0].ContainerImages[0]; *c.ImageDigest != digest || *revs.ServiceRevisions[0].TaskDefinition != *s.TaskDefinition {
		t.Errorf("revision: %+v", revs.ServiceRevisions[0])
	}

	t.Run("update", func(t *testing.T) {
		r.update(r.register(image, port, map[string]string{"VERSION": "2"}))
		r.settle(types.ServiceDeploymentStatusSuccessful)
		if got := fetch(t, port); got != "2" {
			t.Errorf("the task answers %q", got)
		}
		r.wantEvent("a port can be had once")
		old := r.stopped()[0]
		if old.StopCode != types.TaskStopCodeServiceSchedulerInitiated || !strings.HasPrefix(*old.StoppedReason, "Scaling activity initiated by (deployment ecs-svc/") {
			t.Errorf("old task stopped by %s: %s", old.StopCode, *old.StoppedReason)
		}
	})
	t.Run("no change, no deployment", func(t *testing.T) {
		before := r.newest()
		r.update(*r.service().TaskDefinition)
		if after := r.newest(); *after.ServiceDeploymentArn != *before.ServiceDeploymentArn {
			t.Error("a deployment was begun")
		}
	})
	t.Run("logs", func(t *testing.T) {
		c, err := Find(t.Context(), r.dir)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := c.Logs(t.Context(), LogQuery{Cluster: "c1", Service: "web"}, &b); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		if len(lines) != 2 || !strings.HasSuffix(lines[0], " starting serve") || len(lines[0]) != len("01234567 starting serve") {
			t.Errorf("logs: %q", lines)
		}
		b.Reset()
		if err := c.Logs(t.Context(), LogQuery{Cluster: "c1", Service: "web", Tail: 1}, &b); err != nil || b.String() != lines[1]+"\n" {
			t.Errorf("tail: %q, %v", b.String(), err)
		}
		st, err := c.Status(t.Context())
		if err != nil || len(st.Services) != 1 {
			t.Fatalf("status: %+v, %v", st, err)
		}
		if diff := cmp.Diff([]string{fmt.Sprintf("http://127.0.0.1:%d", port)}, st.Services[0].URLs); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("delete", func(t *testing.T) {
		in := &ecs.DeleteServiceInput{Cluster: aws.String("c1"), Service: aws.String("web")}
		_, err := r.ecs.DeleteService(t.Context(), in)
		wantCode(t, err, "InvalidParameterException")
		in.Force = aws.Bool(true)
		if _, err := r.ecs.DeleteService(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		r.until("the service is inactive", func() bool { return *r.service().Status == "INACTIVE" })
		if _, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))); err == nil {
			t.Error("the task still runs")
		}
		_, err = r.ecs.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("c1"), Service: aws.String("web")})
		wantCode(t, err, "ServiceNotActiveException")
		r.create(r.register(image, port, nil), nil) // over an inactive one
		r.settle(types.ServiceDeploymentStatusSuccessful)
	})
}

func TestCrashLoopFails(t *testing.T) {
	r := newRig(t, Options{})
	r.createRepository("web")
	image := r.mustPush("web", "1", image(t, nil, "crash"))
	r.create(r.register(image, 0, nil), nil)
	sd := r.settle(types.ServiceDeploymentStatusStopped)
	if b := sd.DeploymentCircuitBreaker; b.Status != types.ServiceDeploymentRollbackMonitorsStatusTriggered || b.FailureCount != 3 || b.Threshold != 3 {
		t.Errorf("circuit breaker: %+v", b)
	}
	d := r.service().Deployments[0]
	if d.RolloutState != types.DeploymentRolloutStateFailed || *d.RolloutStateReason != "ECS deployment circuit breaker: tasks failed to start." {
		t.Errorf("deployment is %s: %s", d.RolloutState, *d.RolloutStateReason)
	}
	r.wantEvent("the local cloud gives up after 3.")
	r.wantEvent("deployment failed: tasks failed to start.")
	stopped := r.stopped()
	if len(stopped) != 3 {
		t.Fatalf("%d stopped tasks", len(stopped))
	}
	for _, task := range stopped {
		c := task.Containers[0]
		if task.StopCode != types.TaskStopCodeEssentialContainerExited || *task.StoppedReason != "Essential container in task exited" || *c.ExitCode != 1 {
			t.Errorf("task stopped by %s: %s, exit code %d", task.StopCode, *task.StoppedReason, *c.ExitCode)
		}
	}
	time.Sleep(200 * time.Millisecond)
	if n := len(r.stopped()); n != 3 {
		t.Errorf("a failed deployment started another task: %d", n)
	}
}

func TestReasons(t *testing.T) {
	for _, tt := range []struct {
		name    string
		args    []string
		image   func(pushed string) string
		change  func(*ecs.CreateServiceInput)
		busy    bool // the port is in use
		code    types.TaskStopCode
		reason  string
		exit    int32
		failing string // an event
	}{
		{name: "no such image", args: []string{"serve"}, image: func(s string) string { return strings.Split(s, "@")[0] + ":9" },
			code: types.TaskStopCodeTaskFailedToStart, reason: "CannotPullContainerError: failed to resolve ref", exit: -1},
		{name: "foreign image", args: []string{"serve"}, image: func(string) string { return "registry.example.com/x:1" },
			code: types.TaskStopCodeTaskFailedToStart, reason: "of its own registry only", exit: -1},
		{name: "no such program", args: []string{"pythn3"},
			code: types.TaskStopCodeTaskFailedToStart, reason: `CannotStartContainerError: start "pythn3": executable "pythn3" not found in $PATH`, exit: 127},
		{name: "port in use", args: []string{"serve"}, busy: true,
			code: types.TaskStopCodeTaskFailedToStart, reason: "is in use by another program on this machine", exit: -1},
		{name: "unhealthy", args: []string{"serve", "500"}, change: func(in *ecs.CreateServiceInput) {
			in.HealthCheckGracePeriodSeconds = aws.Int32(5)
		}, code: types.TaskStopCodeServiceSchedulerInitiated, reason: "Task failed ELB health checks in (target-group arn:aws:tg)", exit: 0,
			failing: "is unhealthy in (target-group arn:aws:tg) due to (reason Health checks failed with these codes: [500])"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, Options{})
			r.createRepository("web")
			ref := r.mustPush("web", "1", image(t, nil, tt.args...))
			if tt.image != nil {
				ref = tt.image(ref)
			}
			port := freePort(t)
			if tt.busy {
				l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
			}
			r.create(r.register(ref, port, nil), func(in *ecs.CreateServiceInput) {
				if tt.change != nil {
					in.LoadBalancers = []types.LoadBalancer{{TargetGroupArn: aws.String("arn:aws:tg"), ContainerName: aws.String("web"), ContainerPort: &port}}
					tt.change(in)
				}
			})
			r.until("a task has stopped", func() bool {
				s := r.stopped()
				return len(s) > 0 && s[len(s)-1].LastStatus == nil == false && *s[len(s)-1].LastStatus == "STOPPED"
			})
			s := r.stopped()
			first := s[len(s)-1]
			exit := int32(-1)
			if c := first.Containers[0]; c.ExitCode != nil {
				exit = *c.ExitCode
			}
			if first.StopCode != tt.code || !strings.Contains(*first.StoppedReason, tt.reason) || exit != tt.exit {
				t.Errorf("stopped by %s: %s, exit code %d", first.StopCode, *first.StoppedReason, exit)
			}
			if tt.failing != "" {
				r.wantEvent(tt.failing)
			}
		})
	}
}

func TestRollback(t *testing.T) {
	r, image_, port := deployed(t, withBreaker(true))
	good := *r.service().TaskDefinition
	bad := r.register(r.mustPush("web", "2", image(t, nil, "crash")), port, nil)
	r.update(bad)
	sd := r.settle(types.ServiceDeploymentStatusRollbackSuccessful)
	if sd.Rollback == nil || sd.DeploymentCircuitBreaker.Status != types.ServiceDeploymentRollbackMonitorsStatusTriggered {
		t.Errorf("service deployment: %+v", sd)
	}
	s := r.service()
	if *s.TaskDefinition != good || len(s.Deployments) != 1 || *s.Deployments[0].TaskDefinition != good || s.RunningCount != 1 {
		t.Errorf("service runs %s, deployments %+v", *s.TaskDefinition, s.Deployments)
	}
	if got := fetch(t, port); got != "1" {
		t.Errorf("the task answers %q", got)
	}
	r.wantEvent("rolling back to (deployment ecs-svc/")
	r.update(r.register(image_, port, map[string]string{"VERSION": "3"}))
	r.settle(types.ServiceDeploymentStatusSuccessful)
}

func TestFailedWithoutRollbackKeepsTheOldOne(t *testing.T) {
	r, _, port := deployed(t, withBreaker(false))
	bad := r.register(r.mustPush("web", "2", image(t, nil, "crash")), port, nil)
	r.update(bad)
	r.settle(types.ServiceDeploymentStatusStopped)
	r.until("the old task runs again", func() bool {
		s := r.service()
		return len(s.Deployments) == 2 && s.Deployments[1].RunningCount == 1
	})
	s := r.service()
	if *s.TaskDefinition != bad || s.Deployments[0].RolloutState != types.DeploymentRolloutStateFailed {
		t.Errorf("service: %+v", s)
	}
	r.until("it answers", func() bool {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}

func TestSuperseded(t *testing.T) {
	r, image_, port := deployed(t, nil)
	bad := r.register(r.mustPush("web", "2", image(t, nil, "sleep")), port, nil) // never listens
	r.update(bad)
	first := *r.newest().ServiceDeploymentArn
	r.update(r.register(image_, port, map[string]string{"VERSION": "3"}))
	r.settle(types.ServiceDeploymentStatusSuccessful)
	out, err := r.ecs.DescribeServiceDeployments(t.Context(), &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{first, "arn:aws:ecs:none"}})
	if err != nil || len(out.Failures) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if s := out.ServiceDeployments[0].Status; s != types.ServiceDeploymentStatusStopped {
		t.Errorf("the superseded deployment is %s", s)
	}
	if got := fetch(t, port); got != "3" {
		t.Errorf("the task answers %q", got)
	}
}

func TestStopServiceDeployment(t *testing.T) {
	r, _, port := deployed(t, nil)
	r.update(r.register(r.mustPush("web", "2", image(t, nil, "sleep")), port, nil))
	arn := r.newest().ServiceDeploymentArn
	if _, err := r.ecs.StopServiceDeployment(t.Context(), &ecs.StopServiceDeploymentInput{ServiceDeploymentArn: arn, StopType: types.StopServiceDeploymentStopTypeRollback}); err != nil {
		t.Fatal(err)
	}
	r.settle(types.ServiceDeploymentStatusRollbackSuccessful)
	_, err := r.ecs.StopServiceDeployment(t.Context(), &ecs.StopServiceDeploymentInput{ServiceDeploymentArn: arn})
	wantCode(t, err, "ConflictException")
	if got := fetch(t, port); got != "1" {
		t.Errorf("the task answers %q", got)
	}
}

func TestRollingWithoutPorts(t *testing.T) {
	r := newRig(t, Options{})
	r.createRepository("web")
	ref := r.mustPush("web", "1", image(t, nil, "sleep"))
	r.create(r.register(ref, 0, nil), func(in *ecs.CreateServiceInput) { in.DesiredCount = aws.Int32(3) })
	r.settle(types.ServiceDeploymentStatusSuccessful)
	least := 3
	r.update(r.register(ref, 0, map[string]string{"VERSION": "2"}))
	r.until("the deployment is over", func() bool {
		s := r.service()
		least = min(least, int(s.RunningCount))
		return len(s.Deployments) == 1 && s.Deployments[0].RolloutState == types.DeploymentRolloutStateCompleted
	})
	if least < 3 {
		t.Errorf("only %d tasks ran meanwhile, minimumHealthyPercent is 100", least)
	}
	if _, err := r.ecs.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("c1"), Service: aws.String("web"), DesiredCount: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	r.until("one runs", func() bool { s := r.service(); return s.RunningCount == 1 && len(s.Deployments) == 1 })
	if n := len(r.service().Deployments); n != 1 {
		t.Errorf("%d deployments after scaling", n)
	}
}

func TestNoHeadroom(t *testing.T) {
	r := newRig(t, Options{})
	r.createRepository("web")
	ref := r.mustPush("web", "1", image(t, nil, "sleep"))
	r.create(r.register(ref, 0, nil), func(in *ecs.CreateServiceInput) {
		in.DeploymentConfiguration = &types.DeploymentConfiguration{MaximumPercent: aws.Int32(100), MinimumHealthyPercent: aws.Int32(100)}
	})
	r.settle(types.ServiceDeploymentStatusSuccessful)
	r.update(r.register(ref, 0, map[string]string{"VERSION": "2"}))
	r.until("it says so", func() bool {
		return strings.Contains(strings.Join(r.events(), "\n"), "was unable to stop or start tasks during a deployment because of the service deployment configuration.")
	})
	if s := r.newest().Status; s != types.ServiceDeploymentStatusInProgress {
		t.Errorf("deployment is %s", s)
	}
}

func TestRestart(t *testing.T) {
	state := t.TempDir()
	first := newRig(t, Options{State: state})
	first.createRepository("web")
	ref := first.mustPush("web", "1", image(t, nil, "serve"))
	port := freePort(t)
	first.create(first.register(ref, port, map[string]string{"VERSION": "1"}), nil)
	before := first.settle(types.ServiceDeploymentStatusSuccessful)
	first.shut()
	if _, err := Find(t.Context(), state); err == nil {
		t.Error("a stopped cloud was found")
	}
	second := newRig(t, Options{State: state})
	second.until("the task runs again", func() bool { return second.service().RunningCount == 1 })
	second.until("it answers", func() bool {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	after := second.newest()
	if diff := cmp.Diff(*before.ServiceDeploymentArn, *after.ServiceDeploymentArn); diff != "" || after.Status != types.ServiceDeploymentStatusSuccessful {
		t.Errorf("deployment is %s %s", after.Status, diff)
	}
	stopped := second.stopped()
	if len(stopped) != 1 || *stopped[0].StoppedReason != reasonCloudStopped {
		t.Errorf("stopped tasks: %+v", stopped)
	}
	if _, err := second.push("web", "1", image(t, nil, "serve")); err != nil {
		t.Errorf("the repository: %v", err)
	}
}

func TestClientStop(t *testing.T) {
	r, _, port := deployed(t, nil)
	c, err := Find(t.Context(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	followed := make(chan error, 1)
	var b strings.Builder
	go func() {
		followed <- c.Logs(context.Background(), LogQuery{Cluster: "c1", Service: "web", Follow: true}, &b)
	}()
	time.Sleep(50 * time.Millisecond)
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-followed; err != nil || !strings.Contains(b.String(), "starting serve") {
		t.Errorf("followed %q, %v", b.String(), err)
	}
	if _, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))); err == nil {
		t.Error("the task still runs")
	}
	again, err := New(t.Context(), Options{State: r.dir, Address: "127.0.0.1:0", Runner: &fakeRunner{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRunTaskAndDependencies(t *testing.T) {
	r := newRig(t, Options{})
	r.createRepository("web")
	ref := r.mustPush("web", "1", image(t, nil, "job"))
	if _, err := r.ecs.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("c1")}); err != nil {
		t.Fatal(err)
	}
	container := func(name string, essential bool, command string, deps ...types.ContainerDependency) types.ContainerDefinition {
		return types.ContainerDefinition{Name: &name, Image: &ref, Essential: &essential, EntryPoint: []string{command}, DependsOn: deps}
	}
	on := func(name string, c types.ContainerCondition) types.ContainerDependency {
		return types.ContainerDependency{ContainerName: &name, Condition: c}
	}
	_, err := r.ecs.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("pair"), NetworkMode: types.NetworkModeAwsvpc, Cpu: aws.String(".25 vCPU"), Memory: aws.String("0.5GB"),
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate},
		ContainerDefinitions: []types.ContainerDefinition{
			container("main", true, "sleep", on("migrate", types.ContainerConditionSuccess), on("side", types.ContainerConditionStart)),
			container("side", false, "sleep"),
			container("migrate", false, "job"),
		}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.ecs.RunTask(t.Context(), &ecs.RunTaskInput{Cluster: aws.String("c1"), TaskDefinition: aws.String("pair"), StartedBy: aws.String("me"),
		Overrides: &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{Name: aws.String("main"), Command: []string{"deep"},
			Environment: []types.KeyValuePair{{Name: aws.String("A"), Value: aws.String("b")}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	arn := *out.Tasks[0].TaskArn
	describe := func() types.Task {
		t.Helper()
		out, err := r.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("c1"), Tasks: []string{arn}})
		if err != nil {
			t.Fatal(err)
		}
		return out.Tasks[0]
	}
	r.until("the task runs", func() bool { return *describe().LastStatus == "RUNNING" })
	var order []string
	r.runner.mu.Lock()
	for _, c := range r.runner.started {
		order = append(order, c.Name+" "+strings.Join(c.Args, " ")+" "+envOf(c, "A"))
	}
	r.runner.mu.Unlock()
	if diff := cmp.Diff([]string{"migrate job ", "side sleep ", "main sleep deep b"}, order); diff != "" {
		t.Error(diff)
	}
	if _, err := r.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("c1"), Task: &arn, Reason: aws.String("enough")}); err != nil {
		t.Fatal(err)
	}
	r.until("the task has stopped", func() bool { return *describe().LastStatus == "STOPPED" })
	task := describe()
	codes := map[string]int32{}
	for _, c := range task.Containers {
		codes[*c.Name] = *c.ExitCode
	}
	if diff := cmp.Diff(map[string]int32{"migrate": 0, "side": 143, "main": 143}, codes); diff != "" || task.StopCode != types.TaskStopCodeUserInitiated || *task.StoppedReason != "enough" {
		t.Errorf("%s %s: %s", task.StopCode, *task.StoppedReason, diff)
	}
}

func TestRunTaskBesideItsService(t *testing.T) {
	r := newRig(t, Options{})
	r.createRepository("web")
	port := freePort(t)
	r.create(r.register(r.mustPush("web", "1", image(t, map[string][]byte{"f": []byte("x")})), port, map[string]string{"VERSION": "1"}, "serve"), nil)
	r.settle(types.ServiceDeploymentStatusSuccessful)
	run := func(command ...string) types.Task {
		t.Helper()
		in := &ecs.RunTaskInput{Cluster: aws.String("c1"), TaskDefinition: r.service().TaskDefinition}
		if command != nil {
			in.Overrides = &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{Name: aws.String("web"), Command: command}}}
		}
		out, err := r.ecs.RunTask(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		var task types.Task
		r.until("the task has stopped", func() bool {
			out, err := r.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("c1"), Tasks: []string{*out.Tasks[0].TaskArn}})
			if err != nil {
				t.Fatal(err)
			}
			task = out.Tasks[0]
			return *task.LastStatus == "STOPPED"
		})
		return task
	}
	if task := run("job"); task.StopCode != types.TaskStopCodeEssentialContainerExited || *task.Containers[0].ExitCode != 0 {
		t.Errorf("another command: %s: %s", task.StopCode, *task.StoppedReason)
	}
	if task := run(); task.StopCode != types.TaskStopCodeTaskFailedToStart || !strings.Contains(*task.StoppedReason, "is in use by (task ") {
		t.Errorf("the same command: %s: %s", task.StopCode, *task.StoppedReason)
	}
	if got := fetch(t, port); got != "1" {
		t.Errorf("the service's task answers %q", got)
	}
}
