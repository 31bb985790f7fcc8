package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// maxDeploymentPages bounds the list of service deployments, a hundred a page.
const maxDeploymentPages = 3

// remember notes the service deployments that are there before the update, so
// that ours is told from them even if it runs the same task definition. That
// they cannot be listed is no error: the service's own state must do then.
func (r *rollout) remember(ctx context.Context) error {
	all, err := r.list(ctx, func(o *ecs.Options) { o.RetryMaxAttempts = 3 })
	if ctx.Err() != nil {
		return &APIError{Doing: "list the deployments of " + r.service, Action: "ecs:ListServiceDeployments", Cause: ctx.Err()}
	}
	if err != nil {
		r.undetailed(err)
		return nil
	}
	for _, d := range all {
		r.known[aws.ToString(d.ServiceDeploymentArn)] = true
	}
	return nil
}

func (r *rollout) undetailed(err error) {
	r.detailed = false
	if isDenied(err) {
		r.log.Warn("following the deployment by the service's state: the AWS credentials in use do not allow ecs:ListServiceDeployments, ecs:DescribeServiceDeployments and ecs:DescribeServiceRevisions")
		return
	}
	r.log.Debug("following the deployment by the service's state: " + oneLine(err.Error()))
}

// list is the recent service deployments.
func (r *rollout) list(ctx context.Context, opts ...func(*ecs.Options)) ([]types.ServiceDeploymentBrief, error) {
	in := &ecs.ListServiceDeploymentsInput{
		Cluster: &r.cluster, Service: &r.service, MaxResults: aws.Int32(100),
		CreatedAt: &types.CreatedAt{After: aws.Time(r.since.Add(-clockSkew))},
	}
	var all []types.ServiceDeploymentBrief
	for range maxDeploymentPages {
		out, err := r.api.ListServiceDeployments(ctx, in, opts...)
		if err != nil {
			return nil, err
		}
		all = append(all, out.ServiceDeployments...)
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	slices.SortStableFunc(all, func(a, b types.ServiceDeploymentBrief) int {
		return aws.ToTime(a.CreatedAt).Compare(aws.ToTime(b.CreatedAt))
	})
	return all, nil
}

// locate finds our service deployment: the first that was not there before and
// whose target is our task definition, which names the image by digest; of a
// deployment that we joined, the last.
func (r *rollout) locate(ctx context.Context) error {
	all, err := r.list(ctx)
	if err != nil {
		return err
	}
	if r.joined {
		slices.Reverse(all)
	}
	all = slices.DeleteFunc(all, func(d types.ServiceDeploymentBrief) bool {
		return r.known[aws.ToString(d.ServiceDeploymentArn)] || aws.ToString(d.TargetServiceRevisionArn) == ""
	})
	for batch := range slices.Chunk(all, 20) { // DescribeServiceRevisions takes 20
		var arns []string
		for _, d := range batch {
			arns = append(arns, *d.TargetServiceRevisionArn)
		}
		out, err := r.api.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: arns})
		if err != nil {
			return err
		}
		for _, d := range batch {
			i := slices.IndexFunc(out.ServiceRevisions, func(rev types.ServiceRevision) bool {
				return aws.ToString(rev.ServiceRevisionArn) == *d.TargetServiceRevisionArn
			})
			if i >= 0 && sameRevision(aws.ToString(out.ServiceRevisions[i].TaskDefinition), r.taskDefinition) {
				r.arn = aws.ToString(d.ServiceDeploymentArn)
				r.log.Debug("following " + r.arn)
				return nil
			}
		}
	}
	return nil
}

// lookAtDeployment looks at our service deployment, after finding it. It gives
// up on service deployments (r.detailed) where ECS does not show them.
func (r *rollout) lookAtDeployment(ctx context.Context, service *types.Service) (done bool, verdict, err error) {
	if r.arn == "" {
		err := r.locate(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return false, nil, err
		case err != nil:
			if r.misses++; isDenied(err) || isUnsupported(err) || r.misses > 3 {
				r.undetailed(err)
			}
			return false, nil, err
		case r.arn == "":
			if r.looks > lagLooks {
				r.undetailed(fmt.Errorf("ECS shows no service deployment of %s", revisionName(r.taskDefinition)))
			}
			return false, nil, nil
		}
	}
	out, err := r.api.DescribeServiceDeployments(ctx, &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{r.arn}})
	if err != nil {
		if isDenied(err) || isUnsupported(err) {
			r.undetailed(err)
		}
		return false, nil, err
	}
	if len(out.ServiceDeployments) == 0 {
		return false, nil, fmt.Errorf("ECS does not describe %s", r.arn)
	}
	done, verdict = r.judgeDeployment(ctx, &out.ServiceDeployments[0], service)
	return done, verdict, nil
}

// judgeDeployment reads the status of our service deployment.
func (r *rollout) judgeDeployment(ctx context.Context, d *types.ServiceDeployment, service *types.Service) (bool, error) {
	switch d.Status {
	case types.ServiceDeploymentStatusSuccessful:
		return r.judgeSuccess(ctx, service)
	case types.ServiceDeploymentStatusRollbackSuccessful:
		e := r.evidenceOf(d)
		e.Serving = r.rolledBackTo(ctx, d, service)
		return true, &RolledBackError{e}
	case types.ServiceDeploymentStatusRollbackFailed:
		return true, &RollbackFailedError{r.evidenceOf(d)}
	case types.ServiceDeploymentStatusStopped:
		return true, r.judgeStop(ctx, d, service)
	case types.ServiceDeploymentStatusStopRequested:
		r.tell("the deployment is being stopped")
	case types.ServiceDeploymentStatusRollbackRequested, types.ServiceDeploymentStatusRollbackInProgress:
		reason := ""
		if s := reasonOf(d); s != "" {
			reason = ": " + s
		}
		r.tell("the deployment is being rolled back%s", reason)
	default: // PENDING, IN_PROGRESS, and what ECS may come to call it
		// A circuit breaker with no completed deployment to go back to, as of a
		// service's first, leaves its deployment in progress for good.
		if r.broken++; !triggered(d) {
			r.broken = 0
		} else if r.broken >= lagLooks {
			e := r.evidenceOf(d)
			e.Reason = cmp.Or(e.Reason, "ECS gave it up, and has no earlier deployment to go back to")
			return true, &FailedError{e}
		}
		r.tellProgress(d)
	}
	return false, nil
}

// triggered is that the circuit breaker or an alarm has given the deployment up.
func triggered(d *types.ServiceDeployment) bool {
	const yes = types.ServiceDeploymentRollbackMonitorsStatusTriggered
	return d.DeploymentCircuitBreaker != nil && d.DeploymentCircuitBreaker.Status == yes || d.Alarms != nil && d.Alarms.Status == yes
}

func (r *rollout) tellProgress(d *types.ServiceDeployment) {
	target := d.TargetServiceRevision
	if target == nil {
		r.tell("the deployment is pending")
		return
	}
	line := fmt.Sprintf("%s: %d of %d tasks running", revisionName(r.taskDefinition), target.RunningTaskCount, target.RequestedTaskCount)
	if target.PendingTaskCount > 0 {
		line += fmt.Sprintf(", %d starting", target.PendingTaskCount)
	}
	if w := target.RequestedProductionTrafficWeight; w != nil && *w < 100 {
		line += fmt.Sprintf(", %g%% of the traffic", *w)
	}
	if d.LifecycleStage != "" {
		line += ", " + strings.ToLower(strings.ReplaceAll(string(d.LifecycleStage), "_", " "))
	}
	r.tell("%s", line)
}

// judgeSuccess holds what ECS says of the deployment against what it says of
// the service, which may lag by a look or two.
func (r *rollout) judgeSuccess(ctx context.Context, service *types.Service) (bool, error) {
	d := primary(service)
	if d != nil && sameRevision(aws.ToString(d.TaskDefinition), r.taskDefinition) && d.RunningCount >= d.DesiredCount {
		return r.succeeded(d.RunningCount)
	}
	if r.doubts++; r.doubts < lagLooks {
		return false, nil
	}
	if newer := r.newer(ctx); newer != "" {
		r.log.Warn("the deployment succeeded, and a newer one has begun: " + newer)
		return true, nil
	}
	e := r.evidence()
	switch {
	case d == nil:
		e.Reason = "ECS calls it successful, but the service has no primary deployment"
	case !sameRevision(aws.ToString(d.TaskDefinition), r.taskDefinition):
		e.Serving = revisionName(aws.ToString(d.TaskDefinition))
		e.Reason = fmt.Sprintf("ECS calls it successful, but the service runs %s", e.Serving)
	default:
		e.Reason = fmt.Sprintf("ECS calls it successful, but %d of %d tasks run", d.RunningCount, d.DesiredCount)
	}
	return true, &FailedError{e}
}

// judgeStop tells the three ways to STOPPED apart: a newer deployment took
// over, ECS gave up without a rollback, or somebody stopped it.
func (r *rollout) judgeStop(ctx context.Context, d *types.ServiceDeployment, service *types.Service) error {
	e := r.evidenceOf(d)
	if triggered(d) {
		return &FailedError{e}
	}
	if newer := r.newer(ctx); newer != "" {
		e.Serving = ""
		if now := running(service); !sameRevision(now, r.taskDefinition) {
			e.Serving = revisionName(now)
		}
		return &SupersededError{Evidence: e, By: newer}
	}
	return &StoppedError{e}
}

// newer is the ARN of a service deployment that began after ours, "" if there
// is none or ECS does not say.
func (r *rollout) newer(ctx context.Context) string {
	all, err := r.list(ctx)
	if err != nil {
		return ""
	}
	ours := slices.IndexFunc(all, func(d types.ServiceDeploymentBrief) bool { return aws.ToString(d.ServiceDeploymentArn) == r.arn })
	if ours < 0 || ours+1 == len(all) {
		return ""
	}
	return aws.ToString(all[len(all)-1].ServiceDeploymentArn)
}

func (r *rollout) evidenceOf(d *types.ServiceDeployment) Evidence {
	e := r.evidence()
	e.Reason = reasonOf(d)
	if d.Alarms != nil {
		e.Alarms = d.Alarms.TriggeredAlarmNames
	}
	if b := d.DeploymentCircuitBreaker; b != nil {
		e.Failures, e.Threshold = int(b.FailureCount), int(b.Threshold)
	}
	return e
}

func reasonOf(d *types.ServiceDeployment) string {
	reason := aws.ToString(d.StatusReason)
	if d.Rollback != nil {
		reason = cmp.Or(reason, aws.ToString(d.Rollback.Reason))
	}
	return oneLine(reason)
}

// rolledBackTo is the task definition that serves after a rollback.
func (r *rollout) rolledBackTo(ctx context.Context, d *types.ServiceDeployment, service *types.Service) string {
	if d.Rollback != nil && d.Rollback.ServiceRevisionArn != nil {
		out, err := r.api.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: []string{*d.Rollback.ServiceRevisionArn}})
		if err == nil && len(out.ServiceRevisions) > 0 {
			return revisionName(aws.ToString(out.ServiceRevisions[0].TaskDefinition))
		}
	}
	if d := primary(service); d != nil {
		return revisionName(aws.ToString(d.TaskDefinition))
	}
	return ""
}
