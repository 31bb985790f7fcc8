// Package deploy rolls an image out on Amazon ECS.
//
// In go the digest of an image in a registry, a task definition and a service,
// both as the JSON or YAML that the AWS CLI takes; out comes a Release, or an
// error that says what became of the deployment and why. The work has two
// halves. Prepare reads, checks and compares, and touches nothing: its Plan can
// be printed. Apply registers a revision if the newest is not already the same,
// creates the service or updates it with one call, and then follows that one
// deployment until ECS says how it ended.
//
// A deployment has succeeded when ECS calls this deployment, found once and
// then followed by its ARN, successful and the service's primary deployment
// runs the task definition that was asked for. That a service is stable says
// nothing: it also is after a rollback.
//
// The package never builds or pushes, never deletes anything, never follows
// "the current deployment" of a service, and judges no error by its text. (The
// reasons of stopped tasks are text, in ECS's API too; what is made of them is
// advice and decides nothing.)
package deploy

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/google/go-containerregistry/pkg/name"
)

// API is what is asked of ECS; *ecs.Client has it. Retries of single calls are
// the client's: many attempts (8, say) ride out ECS's throttling, which allows
// one RegisterTaskDefinition a second.
type API interface {
	DescribeTaskDefinition(context.Context, *ecs.DescribeTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error)
	RegisterTaskDefinition(context.Context, *ecs.RegisterTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.RegisterTaskDefinitionOutput, error)
	CreateCluster(context.Context, *ecs.CreateClusterInput, ...func(*ecs.Options)) (*ecs.CreateClusterOutput, error)
	DescribeServices(context.Context, *ecs.DescribeServicesInput, ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error)
	CreateService(context.Context, *ecs.CreateServiceInput, ...func(*ecs.Options)) (*ecs.CreateServiceOutput, error)
	UpdateService(context.Context, *ecs.UpdateServiceInput, ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error)
	TagResource(context.Context, *ecs.TagResourceInput, ...func(*ecs.Options)) (*ecs.TagResourceOutput, error)
	ListServiceDeployments(context.Context, *ecs.ListServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.ListServiceDeploymentsOutput, error)
	DescribeServiceDeployments(context.Context, *ecs.DescribeServiceDeploymentsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceDeploymentsOutput, error)
	DescribeServiceRevisions(context.Context, *ecs.DescribeServiceRevisionsInput, ...func(*ecs.Options)) (*ecs.DescribeServiceRevisionsOutput, error)
	ListTasks(context.Context, *ecs.ListTasksInput, ...func(*ecs.Options)) (*ecs.ListTasksOutput, error)
	DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
}

var _ API = (*ecs.Client)(nil)

// Input is what to deploy, from which files.
type Input struct {
	Files Files
	// Image is the image by digest: "repo@sha256:…".
	Image name.Digest
	// Lookup finds the variables that the files use; nil = none is set.
	Lookup Lookup
	// Cluster and Service are used instead of the file's own, if not "". With
	// neither, the cluster is ECS's "default".
	Cluster, Service string
	// Containers are the containers that get the image; nil = found out from
	// the file (placeholder, same repository, only container).
	Containers []string
	// Architectures the image was built for, as OCI names them ("amd64"); nil
	// = not known and not checked.
	Architectures []string

	Options
}

// Options is how to deploy. The zero value waits for the deployment to end, a
// quarter of an hour at most.
type Options struct {
	// Force replaces the running tasks even if nothing has changed.
	Force bool
	// NoWait returns as soon as ECS has taken the deployment.
	NoWait bool
	// DryRun only plans: nothing in AWS is touched.
	DryRun bool
	// Timeout is how long a deployment may take; 0 is 15 minutes.
	Timeout time.Duration
	// Log gets one line a step, the service's events and the reasons of tasks
	// that stop; nil is none.
	Log *slog.Logger
	// Tail gives the last lines that a stopped task logged, for the report of a
	// failure; nil is none. Its errors are told, and change nothing.
	Tail func(context.Context, StoppedTask) ([]string, error)
	// Clock is what time it is and how to wait; nil is the machine's.
	Clock Clock
	// PollMin and PollMax bound the time between two looks at a deployment,
	// which grows from the one to the other; 0 is 3 s and 15 s.
	PollMin, PollMax time.Duration
}

// Clock is the passing of time.
type Clock interface {
	Now() time.Time
	// Sleep waits, or returns the context's error as soon as it is done.
	Sleep(context.Context, time.Duration) error
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Minute
	}
	if o.PollMin <= 0 {
		o.PollMin = 3 * time.Second
	}
	if o.PollMax < o.PollMin {
		o.PollMax = max(15*time.Second, o.PollMin)
	}
	return o
}

// pause is how long to wait before look number n (from 0): growing by a quarter
// each time, and off by up to a fifth, so that several deployments at once do
// not ask in step.
func (o Options) pause(n int) time.Duration {
	d := float64(o.PollMin)
	for range min(n, 64) {
		d *= 1.25
	}
	d = min(d, float64(o.PollMax))
	return time.Duration(d * (0.8 + 0.4*rand.Float64()))
}

// Release is what a deployment came to.
type Release struct {
	Cluster           string `json:"cluster"`
	Service           string `json:"service"`
	TaskDefinitionARN string `json:"taskDefinitionArn"`
	ServiceARN        string `json:"serviceArn,omitempty"`
	// DeploymentARN is the service deployment that was followed, or, where ECS
	// has no such thing, the deployment's id ("ecs-svc/…"); "" if there was none.
	DeploymentARN string `json:"deploymentArn,omitempty"`
	Image         string `json:"image"`
	Registered    bool   `json:"registered"` // a new revision was registered
	Changed       bool   `json:"changed"`    // anything at all was changed in AWS
	// Ports are the ports that the containers listen on, those behind a load
	// balancer first: where to look for the service's URL.
	Ports []Port `json:"ports,omitempty"`
	// Plan is what was to be done; with DryRun that is all there is.
	Plan *Plan `json:"-"`
}

// Port is a port of a container.
type Port struct {
	Container   string `json:"container"`
	Port        int    `json:"port"`
	Protocol    string `json:"protocol"`              // "tcp", "udp"
	TargetGroup string `json:"targetGroup,omitempty"` // ARN, if behind a load balancer
}

// Run deploys: Prepare, and unless it is a dry run, Apply.
//
// Errors: *FileError for what is wrong in the files; *APIError; those that
// have Unhealthy() for a deployment that ECS took and that did not come to run
// (see Evidence); *InterruptedError and *LostError for one whose end is not
// known. The Release is filled in as far as the deployment got.
func Run(ctx context.Context, api API, in Input) (Release, error) {
	plan, err := Prepare(ctx, api, in)
	if err != nil {
		return Release{}, err
	}
	if in.DryRun {
		return plan.release(), nil
	}
	return plan.Apply(ctx)
}
