package deploy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// withoutTasks is an ECS whose services have no running task for some looks.
type withoutTasks struct {
	*ecs.Client
	looks int
}

func (w *withoutTasks) DescribeServices(ctx context.Context, in *ecs.DescribeServicesInput, o ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error) {
	out, err := w.Client.DescribeServices(ctx, in, o...)
	if w.looks--; err == nil && w.looks >= 0 {
		for i := range out.Services {
			out.Services[i].RunningCount = 0
		}
	}
	return out, err
}

func TestNothingToDoIsSaidOnlyOfAServiceThatRuns(t *testing.T) {
	f, api := deployed(t, serviceFile)
	in, log := input(t, f, "a", taskFile, serviceFile)
	if _, err := Run(t.Context(), &withoutTasks{api, 3}, in); err != nil {
		t.Fatal(err)
	}
	if got := log.take(); !strings.Contains(got, "boyacky-taskdef:1: 0 of 1 tasks running") {
		t.Errorf("log: %s", got)
	}
	in.Timeout = time.Minute
	_, err := Run(t.Context(), &withoutTasks{api, 1000}, in)
	var failed *FailedError
	if !errors.As(err, &failed) || !failed.Unhealthy() || !strings.Contains(err.Error(), "0 of 1 tasks run") {
		t.Errorf("a service without tasks: %v", err)
	}
	in.NoWait = true
	if _, err := Run(t.Context(), &withoutTasks{api, 1000}, in); err != nil {
		t.Errorf("without waiting: %v", err)
	}
}
