package local

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/boyabuild/boyabuild/pkg/sandbox"
)

// Container is a container to run.
type Container struct {
	// Task is the ARN of its task, Name its name in the task definition and Image
	// the digest of its image.
	Task, Name, Image string
	// Rootfs is the unpacked image, which is not to be written to; Scratch a
	// directory for what the container writes, to be removed by the caller.
	Rootfs, Scratch string
	// Args is the command and Env its environment, as KEY=VALUE.
	Args, Env []string
	// Dir, User and Hostname are as in the image or the container definition.
	Dir, User, Hostname string
	// StopSignal is the image's, 0 for SIGTERM.
	StopSignal syscall.Signal
	// Files are laid over the image at absolute paths.
	Files map[string][]byte
	// Owners are those that files of Rootfs should have and could not be given.
	Owners []sandbox.Owner
	// Ports are those that the container says it listens on.
	Ports []int
	// Stdout and Stderr take its output.
	Stdout, Stderr io.Writer
}

// Runner runs containers. Start returns a *[sandbox.StartError] when it is the
// image's or the definition's fault that nothing could be started.
type Runner interface {
	Start(context.Context, Container) (Process, error)
}

// Process is a running container.
type Process interface {
	// Wait waits for the end. It is called once.
	Wait() (sandbox.ExitStatus, error)
	// Stop sends the stop signal, and SIGKILL after grace or when ctx ends. It
	// returns when the process has ended.
	Stop(ctx context.Context, grace time.Duration) error
}

// SandboxRunner runs containers in sandboxes of pkg/sandbox, in the best way that
// this machine allows.
type SandboxRunner struct {
	mu     sync.Mutex
	report *sandbox.Report
}

// Start implements [Runner].
func (r *SandboxRunner) Start(ctx context.Context, c Container) (Process, error) {
	report, err := r.probe(ctx, filepath.Dir(c.Scratch))
	if err != nil {
		return nil, err
	}
	mode := report.Mode
	for _, p := range c.Ports { // a low one may need another way
		if m := report.For(p); m != report.Mode {
			mode = m
		}
	}
	p, err := sandbox.Start(ctx, sandbox.Command{
		Rootfs: c.Rootfs, Scratch: c.Scratch, Args: c.Args, Env: c.Env, Dir: c.Dir, User: c.User,
		Hostname: c.Hostname, Stdout: c.Stdout, Stderr: c.Stderr, StopSignal: c.StopSignal, Files: c.Files, Owners: c.Owners, Mode: mode,
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// probe finds out once what works.
func (r *SandboxRunner) probe(ctx context.Context, scratch string) (*sandbox.Report, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.report == nil {
		report, err := sandbox.Probe(ctx, scratch)
		if err != nil {
			return nil, err
		}
		r.report = &report
	}
	return r.report, nil
}

// command puts together what to run: the image's settings and over them the
// container definition's, as Docker and ECS merge them.
func (e *execution) command(d *containerDefinition, u *unpacked) (Container, error) {
	config := u.config.Config
	id := e.t.id()
	c := Container{
		Task: e.t.Arn, Name: d.Name, Rootfs: u.rootfs(),
		Scratch: filepath.Join(e.c.dir, "scratch", id+"-"+d.Name),
		Dir:     first(d.WorkingDirectory, config.WorkingDir), User: first(d.User, config.User),
		Hostname: "ip-" + id[:12], StopSignal: signalNumber(config.StopSignal), Owners: u.owners,
	}
	// An entry point of the definition leaves the image's command out.
	c.Args = append(c.Args, config.Entrypoint...)
	command := config.Cmd
	if len(d.EntryPoint) > 0 {
		c.Args, command = append([]string(nil), d.EntryPoint...), nil
	}
	if len(d.Command) > 0 {
		command = d.Command
	}
	if c.Args = append(c.Args, command...); len(c.Args) == 0 {
		return c, &sandbox.StartError{Reason: "No command specified", ExitCode: 127}
	}
	// What the Fargate agent sets, then the image, then the definition.
	c.Env = mergeEnv([]string{
		"AWS_EXECUTION_ENV=AWS_ECS_FARGATE", "AWS_REGION=" + regionOfArn(e.t.Arn),
		"AWS_DEFAULT_REGION=" + regionOfArn(e.t.Arn), "HOSTNAME=" + c.Hostname,
	}, config.Env, d.environment())
	for _, p := range d.PortMappings {
		c.Ports = append(c.Ports, p.host())
	}
	c.Files = sandbox.HostFiles(c.Hostname)
	if c.Files == nil {
		c.Files = map[string][]byte{}
	}
	c.Files["/etc/hostname"] = []byte(c.Hostname + "\n")
	return c, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// mergeEnv joins lists of KEY=VALUE; the last one that names a key wins.
func mergeEnv(lists ...[]string) []string {
	var env []string
	place := map[string]int{}
	for _, list := range lists {
		for _, kv := range list {
			key, _, _ := strings.Cut(kv, "=")
			if i, ok := place[key]; ok {
				env[i] = kv
				continue
			}
			place[key] = len(env)
			env = append(env, kv)
		}
	}
	return env
}
