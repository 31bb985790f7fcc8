package deploy

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// settle waits until a service that nothing was changed of has as many tasks as
// it wants: a task may have stopped since, and "nothing to do" must not be read
// as "it runs". A service that has them is not asked about.
func (r *rollout) settle(ctx context.Context) error {
	start := r.options.Clock.Now()
	service := r.before
	if d := primary(service); d != nil {
		r.id = aws.ToString(d.Id)
	}
	for n := 0; ; n++ {
		if service != nil && service.RunningCount >= service.DesiredCount {
			return nil
		}
		if service != nil {
			r.tell("%s: %d of %d tasks running%s", revisionName(r.taskDefinition), service.RunningCount, service.DesiredCount, starting(service.PendingCount))
		}
		if r.options.Clock.Now().Sub(start) >= r.options.Timeout {
			return r.unsettled(ctx, service)
		}
		if err := r.options.Clock.Sleep(ctx, r.options.pause(n)); err != nil {
			return err
		}
		now, err := r.describe(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.log.Debug("could not look at the service, trying again: " + oneLine(err.Error()))
			continue
		}
		service = now
		r.tellEvents(service)
	}
}

// unsettled says why the tasks do not run, as far as it can be found out.
func (r *rollout) unsettled(ctx context.Context, service *types.Service) error {
	if err := r.stoppedTasks(ctx); err != nil {
		r.log.Debug("stopped tasks cannot be listed: " + oneLine(err.Error()))
	}
	r.showTails(ctx)
	e := r.evidence()
	e.Reason = "the service is not to be seen"
	if service != nil {
		e.Reason = fmt.Sprintf("nothing is being deployed, and %d of %d tasks run", service.RunningCount, service.DesiredCount)
	}
	return &FailedError{e}
}
