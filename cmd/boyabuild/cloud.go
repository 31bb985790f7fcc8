package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/pflag"

	"github.com/boyabuild/boyabuild/pkg/ecr"
	"github.com/boyabuild/boyabuild/pkg/local"
	"github.com/boyabuild/boyabuild/pkg/sandbox"
)

// localFlags choose between AWS and the local cloud.
type localFlags struct {
	local   bool
	state   string
	address string
	region  string
}

func (f *localFlags) register(s *pflag.FlagSet) {
	s.BoolVar(&f.local, "local", false, "use the local cloud instead of AWS: the one that runs, or one of its own")
	s.StringVar(&f.state, "state", "", "`DIR`ectory of the local cloud's state")
	s.StringVar(&f.address, "address", "", "`HOST:PORT` of a local cloud that is started (default 127.0.0.1:5050)")
	s.StringVar(&f.region, "region", "", "AWS `REGION`")
}

// cloud is AWS, or the local cloud.
type cloud struct {
	s      *session
	flags  *localFlags
	region string
	url    string        // of the local cloud; "" for AWS
	client *local.Client // of the local cloud
	own    *local.Cloud  // the local cloud that runs in this process
	served chan error    // how own's server ended
}

// startMode says how a local cloud is started where none runs.
type startMode uint8

const (
	storing    startMode = iota // in this process, for as long as the command takes; no task need run
	running                     // in this process, with tasks
	background                  // in a process of its own, which stays when this command ends
)

// cloud finds the cloud to talk to, and starts a local one where one is wanted
// and none runs. Where tasks are to run it is found out first whether they can.
func (s *session) cloud(ctx context.Context, f *localFlags, mode startMode) (*cloud, error) {
	c := &cloud{s: s, flags: f, region: f.region}
	if c.region == "" && s.env.getenv("AWS_REGION") == "" && s.env.getenv("AWS_DEFAULT_REGION") == "" {
		c.region = s.config.Deploy.Region
	}
	if !f.local {
		return c, nil
	}
	if err := f.resolveState(s.env); err != nil {
		return nil, err
	}
	client, err := local.Find(ctx, f.state)
	if err == nil {
		c.client, c.url = client, client.URL()
		return c, nil
	}
	var notRunning *local.NotRunningError
	if !errors.As(err, &notRunning) {
		return nil, err
	}
	if mode != storing {
		if err := c.canRun(ctx); err != nil {
			return nil, err
		}
	}
	if mode == background {
		return c, c.spawn(ctx)
	}
	return c, c.start(ctx, s.ui.behind())
}

// resolveState fills in the default state directory.
func (f *localFlags) resolveState(e *env) error {
	if f.state != "" {
		return nil
	}
	dir, err := e.stateDir()
	f.state = filepath.Join(dir, "local")
	return err
}

// start runs a local cloud in this process.
func (c *cloud) start(ctx context.Context, log *slog.Logger) error {
	own, err := local.New(ctx, local.Options{State: c.flags.state, Address: c.flags.address, Store: c.s.store, Log: log})
	if err != nil {
		return err
	}
	c.own, c.url, c.served = own, own.URL(), make(chan error, 1)
	// The tasks are stopped by close, in order, not by the interruption itself.
	go func() { c.served <- own.Serve(context.WithoutCancel(ctx)) }()
	c.client, err = local.Find(ctx, c.flags.state)
	if err != nil {
		c.close()
	}
	return err
}

// close ends what this command has started.
func (c *cloud) close() {
	if c.own == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	if err := c.own.Close(ctx); err != nil {
		c.s.ui.log.Warn(err.Error())
	}
	c.own = nil
}

// spawn starts `boyabuild local` in the background and waits until it answers.
func (c *cloud) spawn(ctx context.Context) error {
	logFile := filepath.Join(c.flags.state, "local.log")
	if err := os.MkdirAll(c.flags.state, 0o700); err != nil {
		return fmt.Errorf("start local cloud: %w", err)
	}
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start local cloud: %w", err)
	}
	defer out.Close()
	self, err := ownProgram()
	if err != nil {
		return fmt.Errorf("start local cloud: %w", err)
	}
	args := []string{"local", "--state", c.flags.state, "--progress", "plain"}
	if c.flags.address != "" {
		args = append(args, "--address", c.flags.address)
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0] = "boyabuild" // what a list of processes shows
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = out, out, detached()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start local cloud: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		client, err := local.Find(ctx, c.flags.state)
		if err == nil {
			c.client, c.url = client, client.URL()
			c.s.ui.log.Info(fmt.Sprintf("the local cloud runs at %s (process %d); end it with: boyabuild local stop", c.url, cmd.Process.Pid))
			return nil
		}
		select {
		case <-ctx.Done():
			_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself
			return ctx.Err()
		case <-ended:
			return fmt.Errorf("start local cloud: it ended at once; its messages are in %s", logFile)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// canRun finds out whether tasks can be run on this machine at all.
func (c *cloud) canRun(ctx context.Context) error {
	report, err := sandbox.Probe(ctx, c.flags.state)
	if err != nil {
		return err
	}
	c.s.ui.log.Debug("tasks can be run", "mode", report.Mode)
	return nil
}

func (c *cloud) local() bool { return c.flags.local }

// nameOptions let the local registry be reached without TLS.
func (c *cloud) nameOptions() []name.Option {
	if c.local() {
		return []name.Option{name.Insecure}
	}
	return nil
}

func (c *cloud) ecr(ctx context.Context) (*ecr.Client, error) {
	cfg, err := c.aws(ctx)
	if err != nil {
		return nil, err
	}
	return ecr.New(cfg), nil
}

// aws is the configuration by which the SDK reaches the cloud.
func (c *cloud) aws(ctx context.Context) (aws.Config, error) {
	if !c.local() {
		return c.s.awsConfig(ctx, c.region)
	}
	cfg := aws.Config{
		Region:       c.region,
		BaseEndpoint: aws.String(c.url),
		Credentials:  credentials.NewStaticCredentialsProvider("local", "local", ""),
		Retryer:      retryer,
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	return cfg, nil
}

// retryer rides out ECS's throttling, which allows one RegisterTaskDefinition a
// second.
func retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 8 })
}

// awsConfig is AWS's own configuration: environment, files, roles.
func (s *session) awsConfig(ctx context.Context, region string) (aws.Config, error) {
	options := []func(*awsconfig.LoadOptions) error{awsconfig.WithRetryer(retryer)}
	if region != "" {
		options = append(options, awsconfig.WithRegion(region))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("read AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return aws.Config{}, &usageError{text: "no AWS region is configured", hint: "give --region, AWS_REGION, or deploy.region in boyabuild.yaml"}
	}
	return cfg, nil
}
