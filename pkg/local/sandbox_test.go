package local

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/boyabuild/boyabuild/pkg/sandbox"
)

// taskArgument makes the test binary behave as a task: a small web server.
const taskArgument = "-be-a-task"

func serveAsTask() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() { <-term; fmt.Println("goodbye"); os.Exit(7) }()
	dir, _ := os.Getwd()
	host, _ := os.Hostname()
	_, err := os.Stat("/etc/hosts")
	text := fmt.Sprintf("user %d in %s on %s, %s, hosts %v", os.Getuid(), dir, host, os.Getenv("GREETING"), err == nil)
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	l, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening")
	fmt.Fprintln(os.Stderr, http.Serve(l, nil))
	os.Exit(1)
}

// askArgument makes the test binary ask for the URL that follows and print the status.
const askArgument = "-ask"

func ask(url string) {
	resp, err := http.Get(url)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(resp.StatusCode)
	os.Exit(0)
}

// ownFiles are the test binary, as /task, and the libraries that it has loaded, if
// any.
func ownFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	add := func(name, path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(name, "/")] = b
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	add("task", self)
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip("this machine has no /proc: ", err)
	}
	for _, lib := range regexp.MustCompile(`/\S+\.so\S*`).FindAllString(string(maps), -1) {
		add(lib, lib)
	}
	// Where the interpreter is named by another path than the one it is mapped from.
	for _, link := range []string{"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"} {
		if _, err := os.Stat(link); err == nil {
			add(link, link)
		}
	}
	return files
}

func TestSandbox(t *testing.T) {
	scratch := t.TempDir()
	if report, err := sandbox.Probe(t.Context(), scratch); err != nil {
		t.Skipf("no task can be run here: %v\n%s", err, report)
	}
	r := newRig(t, Options{Runner: &SandboxRunner{}, Clock: wallClock{}})
	r.createRepository("web")
	ref := r.mustPush("web", "1", image(t, ownFiles(t), "/task", taskArgument))
	port := freePort(t)
	env := map[string]string{"PORT": fmt.Sprint(port), "GREETING": "hello"}
	container := types.ContainerDefinition{Name: aws.String("web"), Image: &ref, User: aws.String("1000:1000"), WorkingDirectory: aws.String("/tmp"),
		PortMappings: []types.PortMapping{{ContainerPort: &port}}}
	for k, v := range env {
		container.Environment = append(container.Environment, types.KeyValuePair{Name: aws.String(k), Value: aws.String(v)})
	}
	register := func() string {
		t.Helper()
		out, err := r.ecs.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
			Family: aws.String("app"), NetworkMode: types.NetworkModeAwsvpc, Cpu: aws.String("256"), Memory: aws.String("512"),
			RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, ContainerDefinitions: []types.ContainerDefinition{container}})
		if err != nil {
			t.Fatal(err)
		}
		return *out.TaskDefinition.TaskDefinitionArn
	}
	r.create(register(), func(in *ecs.CreateServiceInput) {
		in.LoadBalancers = []types.LoadBalancer{{TargetGroupArn: aws.String("tg"), ContainerName: aws.String("web"), ContainerPort: &port}}
		in.DeploymentConfiguration = &types.DeploymentConfiguration{DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: true, Rollback: true}}
	})
	r.settle(types.ServiceDeploymentStatusSuccessful)
	want := regexp.MustCompile(`^user 1000 in /tmp on ip-[0-9a-f]{12}, hello, hosts true$`)
	if got := fetch(t, port); !want.MatchString(got) {
		t.Errorf("the task answers %q", got)
	}

	container.EntryPoint = []string{"no-such-program"}
	r.update(register())
	r.settle(types.ServiceDeploymentStatusRollbackSuccessful)
	if got := fetch(t, port); !want.MatchString(got) {
		t.Errorf("after the rollback the task answers %q", got)
	}
	codes := map[string]int{}
	for _, s := range r.stopped() {
		if c := s.Containers[0]; c.ExitCode != nil {
			codes[fmt.Sprintf("%s %d", s.StopCode, *c.ExitCode)]++
		}
	}
	if codes["TaskFailedToStart 127"] != 3 || codes["ServiceSchedulerInitiated 7"] != 1 {
		t.Errorf("stopped tasks: %v", codes)
	}
	c, err := Find(t.Context(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := c.Logs(t.Context(), LogQuery{Cluster: "c1", Service: "web"}, &b); err != nil || strings.Count(b.String(), "listening") != 2 || !strings.Contains(b.String(), "goodbye") {
		t.Errorf("logs: %q, %v", b.String(), err)
	}
	r.shut()
	if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		t.Error("the task outlived the cloud")
	}
	left, err := os.ReadDir(r.dir + "/scratch")
	if err != nil || len(left) > 0 {
		t.Errorf("scratch has %v, %v", left, err)
	}
}
