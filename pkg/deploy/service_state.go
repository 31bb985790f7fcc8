package deploy

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// serviceSigns is what has been seen of our deployment in the service's own
// list of deployments.
type serviceSigns struct {
	seen      bool // it was in the list
	failed    bool // its rollout state was FAILED
	reason    string
	displaced int // looks in a row at which it was not, or no longer, primary
	settled   int // looks in a row at which it was all there was
	failing   int // looks at which it was primary and FAILED
}

// judgeService decides by the service's deployments alone. Ours is known by its
// id. It has succeeded when it is primary and ECS calls its rollout completed;
// it has failed when ECS says so, or when another deployment is primary, which
// is the rollback's or somebody else's.
func (r *rollout) judgeService(s *types.Service) (bool, error) {
	now := primary(s)
	if now == nil || r.id == "" {
		return r.judgeAbsence(now)
	}
	i := slices.IndexFunc(s.Deployments, func(d types.Deployment) bool { return aws.ToString(d.Id) == r.id })
	if i >= 0 {
		ours := &s.Deployments[i]
		r.state.seen = true
		if ours.RolloutState == types.DeploymentRolloutStateFailed {
			r.state.failed = true
			r.state.reason = oneLine(aws.ToString(ours.RolloutStateReason))
		}
		if aws.ToString(now.Id) == r.id {
			r.state.displaced = 0
			return r.judgePrimary(s, ours)
		}
	}
	if !r.state.seen {
		return r.judgeAbsence(now)
	}
	// One look may be older than the one before it.
	if r.state.displaced++; r.state.displaced < 3 {
		return false, nil
	}
	return r.judgeDisplaced(s, now)
}

// judgeAbsence is about a deployment that ECS has accepted and does not show.
func (r *rollout) judgeAbsence(now *types.Deployment) (bool, error) {
	if r.looks <= 2*lagLooks {
		return false, nil
	}
	if r.unsure && now != nil && sameRevision(aws.ToString(now.TaskDefinition), r.taskDefinition) {
		r.log.Info(fmt.Sprintf("changed settings of %s in %s: ECS started no deployment for them", r.service, r.cluster))
		return true, nil
	}
	e := r.evidence()
	e.Reason = "ECS accepted it, but the service shows no such deployment"
	if now != nil {
		e.Serving = revisionName(aws.ToString(now.TaskDefinition))
		e.Reason += fmt.Sprintf(": its primary one is %s of %s", aws.ToString(now.Id), e.Serving)
	}
	return true, &FailedError{e}
}

// judgePrimary is about our deployment while it is the primary one.
func (r *rollout) judgePrimary(s *types.Service, ours *types.Deployment) (bool, error) {
	switch ours.RolloutState {
	case types.DeploymentRolloutStateCompleted:
		if ours.RunningCount >= ours.DesiredCount {
			return r.succeeded(ours.RunningCount)
		}
		if r.doubts++; r.doubts < lagLooks {
			return false, nil
		}
		e := r.evidence()
		e.Reason = fmt.Sprintf("ECS calls it completed, but %d of %d tasks run", ours.RunningCount, ours.DesiredCount)
		return true, &FailedError{e}
	case types.DeploymentRolloutStateFailed:
		// With a rollback configured, ECS goes on to make another deployment
		// primary; without one that ever completed, it has nothing to go back to.
		if r.state.failing++; rollsBack(s) && r.state.failing < lagLooks {
			return false, nil
		}
		return true, &FailedError{r.signsEvidence()}
	}
	r.tell("%s: %d of %d tasks running%s", revisionName(r.taskDefinition), ours.RunningCount, ours.DesiredCount, starting(ours.PendingCount))
	// Behind a Classic Load Balancer ECS gives no rollout state. The deployment
	// is then through when it is alone and complete, and stays so.
	if ours.RolloutState != "" || len(s.Deployments) != 1 || ours.RunningCount != ours.DesiredCount || ours.PendingCount != 0 {
		r.state.settled = 0
		return false, nil
	}
	if r.state.settled++; r.state.settled < 3 {
		return false, nil
	}
	return r.succeeded(ours.RunningCount)
}

func starting(n int32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d starting", n)
}

// judgeDisplaced is about our deployment after another became the primary one.
func (r *rollout) judgeDisplaced(s *types.Service, now *types.Deployment) (bool, error) {
	e := r.signsEvidence()
	e.Serving = revisionName(aws.ToString(now.TaskDefinition))
	backTo := r.wasThere(aws.ToString(now.Id)) || r.before != nil && sameRevision(aws.ToString(now.TaskDefinition), running(r.before))
	if !r.state.failed && !(rollsBack(s) && backTo) {
		return true, &SupersededError{Evidence: e, By: aws.ToString(now.Id)}
	}
	switch now.RolloutState {
	case types.DeploymentRolloutStateCompleted:
		return true, &RolledBackError{e}
	case types.DeploymentRolloutStateFailed:
		return true, &RollbackFailedError{e}
	case "":
		if now.RunningCount == now.DesiredCount {
			return true, &RolledBackError{e}
		}
	}
	r.tell("the deployment failed and is being rolled back to %s", e.Serving)
	return false, nil
}

func (r *rollout) signsEvidence() Evidence {
	e := r.evidence()
	e.Reason = r.state.reason
	return e
}

// rollsBack is that ECS is set to go back by itself when a deployment fails.
func rollsBack(s *types.Service) bool {
	c := s.DeploymentConfiguration
	return c != nil && (c.DeploymentCircuitBreaker != nil && c.DeploymentCircuitBreaker.Enable && c.DeploymentCircuitBreaker.Rollback ||
		c.Alarms != nil && c.Alarms.Enable && c.Alarms.Rollback)
}
