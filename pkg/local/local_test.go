package local

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/boyabuild/boyabuild/pkg/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	if len(os.Args) > 1 && os.Args[1] == taskArgument {
		serveAsTask()
	}
	if len(os.Args) > 2 && os.Args[1] == askArgument {
		ask(os.Args[2])
	}
	os.Exit(m.Run())
}

// fastClock runs faster than the machine's.
type fastClock struct {
	from  time.Time
	speed time.Duration
}

func newFastClock() *fastClock { return &fastClock{from: time.Now(), speed: 20} }

func (c *fastClock) Now() time.Time { return c.from.Add(time.Since(c.from) * c.speed) }
func (c *fastClock) After(d time.Duration) <-chan time.Time {
	return time.After(d / c.speed)
}

// fakeRunner runs containers as goroutines. The first word of the command says what
// the program does.
type fakeRunner struct {
	mu      sync.Mutex
	started []Container
}

type fakeProcess struct {
	stop   chan struct{}
	once   sync.Once
	ended  chan struct{}
	status sandbox.ExitStatus
}

func (p *fakeProcess) end(code int) {
	p.status.Code = code
	close(p.ended)
}

func (p *fakeProcess) Wait() (sandbox.ExitStatus, error) { <-p.ended; return p.status, nil }
func (p *fakeProcess) Stop(context.Context, time.Duration) error {
	p.once.Do(func() { close(p.stop) })
	<-p.ended
	return nil
}

func (r *fakeRunner) Start(_ context.Context, c Container) (Process, error) {
	r.mu.Lock()
	r.started = append(r.started, c)
	r.mu.Unlock()
	p := &fakeProcess{stop: make(chan struct{}), ended: make(chan struct{})}
	fmt.Fprintf(c.Stdout, "starting %s\n", strings.Join(c.Args, " "))
	switch c.Args[0] {
	case "serve": // answers with the status of the second word
		status := http.StatusOK
		if len(c.Args) > 1 {
			status, _ = strconv.Atoi(c.Args[1])
		}
		l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(c.Ports[0])))
		if err != nil {
			fmt.Fprintln(c.Stderr, err)
			go p.end(1)
			return p, nil
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, envOf(c, "VERSION"))
		})}
		go srv.Serve(l)
		go func() { <-p.stop; srv.Close(); p.end(0) }()
	case "crash":
		fmt.Fprintln(c.Stderr, "ModuleNotFoundError: No module named 'flask'")
		go p.end(1)
	case "sleep":
		go func() { <-p.stop; p.end(143) }()
	case "job":
		go p.end(0)
	default:
		return nil, &sandbox.StartError{Arg: c.Args[0], Reason: fmt.Sprintf("executable %q not found in $PATH", c.Args[0]), ExitCode: 127}
	}
	return p, nil
}

func envOf(c Container, key string) string {
	for _, kv := range c.Env {
		if k, v, _ := strings.Cut(kv, "="); k == key {
			return v
		}
	}
	return ""
}

// rig is a local cloud with the clients that real tools use.
type rig struct {
	*Cloud
	t      *testing.T
	ecs    *ecs.Client
	ecr    *ecr.Client
	runner *fakeRunner
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	r := &rig{t: t}
	if o.State == "" {
		o.State = t.TempDir()
	}
	if o.Runner == nil {
		r.runner = &fakeRunner{}
		o.Runner = r.runner
	}
	if o.Clock == nil {
		o.Clock = newFastClock()
	}
	o.Address = "127.0.0.1:0"
	o.Log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	c, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r.Cloud = c
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { served <- c.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	config := aws.Config{Region: "eu-west-1", BaseEndpoint: aws.String(c.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", "")}
	r.ecs, r.ecr = ecs.NewFromConfig(config), ecr.NewFromConfig(config)
	return r
}

// shut ends the cloud before the test does.
func (r *rig) shut() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// login returns what a registry client gets from GetAuthorizationToken.
func (r *rig) login() authn.Authenticator {
	r.t.Helper()
	out, err := r.ecr.GetAuthorizationToken(r.t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		r.t.Fatal(err)
	}
	b, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		r.t.Fatal(err)
	}
	user, password, _ := strings.Cut(string(b), ":")
	return &authn.Basic{Username: user, Password: password}
}

// image makes a one-layer image whose entry point is args.
func image(t *testing.T, files map[string][]byte, args ...string) v1.Image {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range sortedKeys(files) {
		if err := w.WriteHeader(&tar.Header{Name: f, Mode: 0o755, Size: int64(len(files[f]))}); err != nil {
			t.Fatal(err)
		}
		w.Write(files[f])
	}
	w.Close()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture = "linux", runtime.GOARCH
	cf.Config.Entrypoint = args
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	return img
}

// push pushes an image and returns its reference by digest.
func (r *rig) push(repo, tag string, img v1.Image) (string, error) {
	r.t.Helper()
	ref, err := name.ParseReference(r.Address() + "/" + repo + ":" + tag)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithAuth(r.login()), remote.WithContext(r.t.Context())); err != nil {
		return "", err
	}
	d, err := img.Digest()
	return ref.Context().Name() + "@" + d.String(), err
}

func (r *rig) mustPush(repo, tag string, img v1.Image) string {
	r.t.Helper()
	ref, err := r.push(repo, tag, img)
	if err != nil {
		r.t.Fatal(err)
	}
	return ref
}

func (r *rig) createRepository(name string) {
	r.t.Helper()
	if _, err := r.ecr.CreateRepository(r.t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name}); err != nil {
		r.t.Fatal(err)
	}
}

// freePort finds a port that nothing listens on.
func freePort(t *testing.T) int32 {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return int32(l.Addr().(*net.TCPAddr).Port)
}

// register registers a task definition with one container.
func (r *rig) register(image string, port int32, env map[string]string, command ...string) string {
	r.t.Helper()
	d := types.ContainerDefinition{Name: aws.String("web"), Image: &image, Command: command, StopTimeout: aws.Int32(2)}
	if port > 0 {
		d.PortMappings = []types.PortMapping{{ContainerPort: &port}}
	}
	for _, k := range sortedKeys(env) {
		d.Environment = append(d.Environment, types.KeyValuePair{Name: aws.String(k), Value: aws.String(env[k])})
	}
	out, err := r.ecs.RegisterTaskDefinition(r.t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("app"), NetworkMode: types.NetworkModeAwsvpc, Cpu: aws.String("256"), Memory: aws.String("512"),
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, ContainerDefinitions: []types.ContainerDefinition{d},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return *out.TaskDefinition.TaskDefinitionArn
}

var network = &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-1"}}}

// create creates the cluster and a service of one task in it.
func (r *rig) create(taskDefinition string, change func(*ecs.CreateServiceInput)) {
	r.t.Helper()
	if _, err := r.ecs.CreateCluster(r.t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("c1")}); err != nil {
		r.t.Fatal(err)
	}
	in := &ecs.CreateServiceInput{Cluster: aws.String("c1"), ServiceName: aws.String("web"), TaskDefinition: &taskDefinition,
		DesiredCount: aws.Int32(1), LaunchType: types.LaunchTypeFargate, NetworkConfiguration: network}
	if change != nil {
		change(in)
	}
	if _, err := r.ecs.CreateService(r.t.Context(), in); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) update(taskDefinition string) {
	r.t.Helper()
	_, err := r.ecs.UpdateService(r.t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("c1"), Service: aws.String("web"), TaskDefinition: &taskDefinition})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) service() types.Service {
	r.t.Helper()
	out, err := r.ecs.DescribeServices(r.t.Context(), &ecs.DescribeServicesInput{Cluster: aws.String("c1"), Services: []string{"web"}})
	if err != nil || len(out.Services) != 1 {
		r.t.Fatalf("describe service: %v, %v", out, err)
	}
	return out.Services[0]
}

// newest describes the newest service deployment.
func (r *rig) newest() types.ServiceDeployment {
	r.t.Helper()
	list, err := r.ecs.ListServiceDeployments(r.t.Context(), &ecs.ListServiceDeploymentsInput{Cluster: aws.String("c1"), Service: aws.String("web")})
	if err != nil || len(list.ServiceDeployments) == 0 {
		r.t.Fatalf("list service deployments: %v, %v", list, err)
	}
	out, err := r.ecs.DescribeServiceDeployments(r.t.Context(), &ecs.DescribeServiceDeploymentsInput{
		ServiceDeploymentArns: []string{*list.ServiceDeployments[0].ServiceDeploymentArn}})
	if err != nil || len(out.ServiceDeployments) != 1 {
		r.t.Fatalf("describe service deployment: %v, %v", out, err)
	}
	return out.ServiceDeployments[0]
}

// settle waits until the newest service deployment is over.
func (r *rig) settle(want types.ServiceDeploymentStatus) types.ServiceDeployment {
	r.t.Helper()
	over := map[types.ServiceDeploymentStatus]bool{"SUCCESSFUL": true, "STOPPED": true, "ROLLBACK_SUCCESSFUL": true, "ROLLBACK_FAILED": true}
	var d types.ServiceDeployment
	r.until("the deployment is over", func() bool { d = r.newest(); return over[d.Status] })
	if d.Status != want {
		r.t.Fatalf("deployment ended as %s (%s), want %s\n%s", d.Status, aws.ToString(d.StatusReason), want, strings.Join(r.events(), "\n"))
	}
	return d
}

func (r *rig) until(what string, done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain until %s\n%s", what, strings.Join(r.events(), "\n"))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (r *rig) events() []string {
	r.Cloud.mu.Lock()
	defer r.Cloud.mu.Unlock()
	var list []string
	for _, cl := range r.state.Clusters {
		for _, s := range cl.Services {
			for i := range s.Events {
				list = append(list, s.Events[len(s.Events)-1-i].Message)
			}
		}
	}
	return list
}

func (r *rig) wantEvent(part string) {
	r.t.Helper()
	for _, e := range r.events() {
		if strings.Contains(e, part) {
			return
		}
	}
	r.t.Errorf("no event has %q:\n%s", part, strings.Join(r.events(), "\n"))
}

// stopped describes the stopped tasks, newest first.
func (r *rig) stopped() []types.Task {
	r.t.Helper()
	list, err := r.ecs.ListTasks(r.t.Context(), &ecs.ListTasksInput{Cluster: aws.String("c1"), ServiceName: aws.String("web"), DesiredStatus: types.DesiredStatusStopped})
	if err != nil {
		r.t.Fatal(err)
	}
	if len(list.TaskArns) == 0 {
		return nil
	}
	out, err := r.ecs.DescribeTasks(r.t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("c1"), Tasks: list.TaskArns})
	if err != nil {
		r.t.Fatal(err)
	}
	return out.Tasks
}

func fetch(t *testing.T, port int32) string {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAddressIsLoopback(t *testing.T) {
	for _, a := range []string{"0.0.0.0:0", "192.0.2.1:80", "example.com:80", ":5050", "127.0.0.1"} {
		_, err := New(t.Context(), Options{State: t.TempDir(), Address: a})
		if bad := (*AddressError)(nil); !errors.As(err, &bad) {
			t.Errorf("%s: got %v, want an AddressError", a, err)
		}
	}
}

func TestLock(t *testing.T) {
	r := newRig(t, Options{})
	_, err := New(t.Context(), Options{State: r.dir, Address: "127.0.0.1:0"})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.Address != r.Address() || locked.Pid != os.Getpid() {
		t.Fatalf("second cloud in one directory: %v", err)
	}
	if _, err := os.Stat(r.dir + "/" + announceFile); err != nil {
		t.Errorf("the second took away the first one's announcement: %v", err)
	}
}

func TestGuard(t *testing.T) {
	r := newRig(t, Options{})
	for _, tt := range []struct {
		name, method, path string
		host               string
		header             http.Header
		want               int
	}{
		{"rebound name", "GET", "/v2/", "evil.example.com", nil, http.StatusForbidden},
		{"page of another site", "POST", "/", "", http.Header{"Origin": {"http://example.com"}, "X-Amz-Target": {ecsTarget + "ListClusters"}}, http.StatusForbidden},
		{"no token", "POST", "/local/stop", "", nil, http.StatusForbidden},
		{"wrong token", "GET", "/local/logs?service=x", "", http.Header{secretHeader: {"x"}}, http.StatusForbidden},
		{"no credentials", "GET", "/v2/", "", nil, http.StatusUnauthorized},
		{"unknown operation", "POST", "/", "", http.Header{"X-Amz-Target": {ecsTarget + "CreateDaemon"}}, http.StatusBadRequest},
		{"localhost", "GET", "/v2/", "localhost:1", nil, http.StatusUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, _ := http.NewRequest(tt.method, r.URL()+tt.path, nil)
			if tt.header != nil {
				req.Header = tt.header
			}
			req.Host = tt.host
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
			}
		})
	}
}
