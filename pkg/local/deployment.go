package local

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// deployment is an element of a service's deployments: a revision that has tasks, or
// is about to.
type deployment struct {
	ID             string `json:"id"`
	Status         string `json:"status"`       // PRIMARY, ACTIVE
	Rollout        string `json:"rolloutState"` // IN_PROGRESS, COMPLETED, FAILED
	Reason         string `json:"rolloutStateReason"`
	TaskDefinition string `json:"taskDefinition"`
	Created        *epoch `json:"createdAt"`
	Updated        *epoch `json:"updatedAt"`
	// Desired is how many tasks this deployment is to have now.
	Desired int `json:"desiredCount"`
	// Failed counts tasks that ended before they were healthy, as the circuit breaker
	// counts them.
	Failed   int    `json:"failedTasks"`
	Revision string `json:"revision"`
	// Done says that it has once completed, and so can be rolled back to.
	Done bool `json:"done,omitempty"`

	// The restart back-off: failures in a row and when to start again.
	inRow    int
	notUntil time.Time
}

// serviceDeployment is one rollout of a service, from what ran to a target revision.
type serviceDeployment struct {
	Arn      string   `json:"arn"`
	Created  *epoch   `json:"createdAt"`
	Started  *epoch   `json:"startedAt"`
	Finished *epoch   `json:"finishedAt,omitempty"`
	Stopped  *epoch   `json:"stoppedAt,omitempty"`
	Updated  *epoch   `json:"updatedAt"`
	Status   string   `json:"status"`
	Reason   string   `json:"statusReason,omitempty"`
	Target   string   `json:"target"`  // revision ARN
	Sources  []string `json:"sources"` // revision ARNs
	// Tripped says that the circuit breaker ended it.
	Tripped   bool          `json:"tripped,omitempty"`
	Failures  int           `json:"failures"`
	Rules     rolloutRules  `json:"rules"`
	Limit     int           `json:"threshold"`
	Rollback  *rollbackNote `json:"rollback,omitempty"`
	Requested int           `json:"requested"`
}

type rollbackNote struct {
	Reason   string `json:"reason"`
	Started  *epoch `json:"startedAt"`
	Revision string `json:"serviceRevisionArn"`
}

// serviceRevision is a version of a service: its task definition, the settings that
// its tasks are started with, and the digests that its images stand for.
type serviceRevision struct {
	Arn            string            `json:"arn"`
	Created        *epoch            `json:"createdAt"`
	TaskDefinition string            `json:"taskDefinition"`
	Settings       settings          `json:"settings"`
	Images         map[string]string `json:"images"` // by container name
}

func (d *serviceDeployment) over() bool {
	switch d.Status {
	case "SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED":
		return true
	}
	return false
}

// finish ends a service deployment.
func (d *serviceDeployment) finish(status, reason string, now time.Time) {
	d.Status, d.Updated, d.Finished = status, at(now), at(now)
	d.Reason = first(reason, d.Reason)
	if status == "STOPPED" {
		d.Stopped = at(now)
	}
}

func (s *service) primary() *deployment {
	for _, d := range s.Rollouts {
		if d.Status == "PRIMARY" {
			return d
		}
	}
	return nil
}

func (s *service) deployment(id string) *deployment {
	for _, d := range s.Rollouts {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// current is the newest service deployment.
func (s *service) current() *serviceDeployment {
	if len(s.History) == 0 {
		return nil
	}
	return s.History[len(s.History)-1]
}

func (s *service) revision(arn string) *serviceRevision {
	for _, r := range s.Revisions {
		if r.Arn == arn {
			return r
		}
	}
	return nil
}

// counts returns the running and the pending tasks of a deployment.
func (s *service) counts(d *deployment) (running, pending int) {
	for _, t := range s.tasks(d) {
		switch t.LastStatus {
		case statusRunning:
			running++
		case statusProvisioning, statusPending:
			pending++
		}
	}
	return running, pending
}

// maxHistory is how many service deployments are kept.
const maxHistory = 100

// deploy begins a deployment of the service as it is set now; the cloud is locked.
func (c *Cloud) deploy(s *service) {
	now := c.clock.Now()
	sources := []string{}
	if old := s.primary(); old != nil {
		old.Status, old.Updated = "ACTIVE", at(now)
		sources = append(sources, old.Revision)
	}
	if sd := s.current(); sd != nil && !sd.over() {
		sd.finish("STOPPED", "Service deployment was stopped because a newer one was created.", now)
	}
	prefix := fmt.Sprintf("arn:aws:ecs:%s:%s", regionOfArn(s.Arn), account)
	path := s.cluster.Name + "/" + s.Name
	rev := &serviceRevision{Arn: fmt.Sprintf("%s:service-revision/%s/%s", prefix, path, randomNumber()),
		Created: at(now), TaskDefinition: s.Settings.TaskDefinition, Settings: s.Settings, Images: map[string]string{}}
	d := &deployment{ID: "ecs-svc/" + randomNumber(), Status: "PRIMARY", Rollout: "IN_PROGRESS",
		TaskDefinition: rev.TaskDefinition, Created: at(now), Updated: at(now), Desired: s.desired(), Revision: rev.Arn}
	d.Reason = fmt.Sprintf("ECS deployment %s in progress.", d.ID)
	sd := &serviceDeployment{Arn: fmt.Sprintf("%s:service-deployment/%s/%s", prefix, path, randomHex(20)),
		Created: at(now), Started: at(now), Updated: at(now), Status: "IN_PROGRESS", Target: rev.Arn, Sources: sources,
		Rules: *s.Settings.Deployment, Requested: s.desired()}
	s.Revisions = append(s.Revisions, rev)
	s.Rollouts = append([]*deployment{d}, s.Rollouts...)
	s.History = append(s.History, sd)
	s.prune()
	s.Steady, s.told = false, nil
	_, sd.Limit = s.breaker()
	if !s.Settings.Deployment.breaks() {
		c.say(s, "has no deployment circuit breaker: on AWS tasks that fail are started again for ever; the local cloud gives up after %d.", sd.Limit)
	}
	if given(s.Settings.Deployment.Alarms) {
		c.say(s, "has deployment alarms, which the local cloud does not watch.")
	}
	c.touch()
}

// prune bounds the history. Revisions that something refers to stay.
func (s *service) prune() {
	if n := len(s.History); n > maxHistory {
		s.History = slices.Clone(s.History[n-maxHistory:])
	}
	used := map[string]bool{}
	for _, sd := range s.History {
		used[sd.Target] = true
		for _, r := range sd.Sources {
			used[r] = true
		}
	}
	for _, d := range s.Rollouts {
		used[d.Revision] = true
	}
	s.Revisions = slices.DeleteFunc(s.Revisions, func(r *serviceRevision) bool { return !used[r.Arn] })
}

func (r *rolloutRules) breaks() bool { return r.Breaker != nil && r.Breaker.Enable }

// breaker returns whether a tripped circuit breaker rolls back and how many tasks
// may fail before. A service without a breaker gets one here: a deployment that
// can only fail has to end.
func (s *service) breaker() (rollback bool, threshold int) {
	bounded := func(percent int) int { return min(max(ceilPercent(s.desired(), percent), 3), 200) }
	r := s.Settings.Deployment
	if !r.breaks() {
		return false, bounded(50)
	}
	b := r.Breaker
	if b.Threshold == nil {
		return b.Rollback, bounded(50)
	}
	switch b.Threshold.Type {
	case "COUNT":
		return b.Rollback, max(b.Threshold.Value, 1)
	case "UNBOUNDED_PERCENT":
		return b.Rollback, max(ceilPercent(s.desired(), b.Threshold.Value), 1)
	}
	return b.Rollback, bounded(b.Threshold.Value)
}

func ceilPercent(n, percent int) int { return (n*percent + 99) / 100 }

// trip ends a deployment whose tasks fail.
func (c *Cloud) trip(s *service, d *deployment) {
	rollback, _ := s.breaker()
	sd := s.current()
	const cause = "tasks failed to start."
	if sd.Status == "ROLLBACK_IN_PROGRESS" {
		c.abandon(s, d, "ECS deployment circuit breaker: "+cause)
		sd.finish("ROLLBACK_FAILED", "The tasks of the revision that was rolled back to failed to start.", c.clock.Now())
		c.say(s, "(deployment %s) deployment failed: %s", d.ID, cause)
		return
	}
	sd.Tripped = true
	sd.Failures = d.Failed
	c.say(s, "(deployment %s) deployment failed: %s", d.ID, cause)
	back := s.lastDone(d)
	if !rollback || back == nil {
		c.abandon(s, d, "ECS deployment circuit breaker: "+cause)
		sd.finish("STOPPED", "Service deployment stopped because the circuit breaker threshold was exceeded.", c.clock.Now())
		if rollback {
			c.say(s, "has no completed deployment to roll back to.")
		}
		return
	}
	c.rollBack(s, d, back, "Service deployment rolled back because the circuit breaker threshold was exceeded.",
		"ECS deployment circuit breaker: "+cause)
}

// abandon marks a deployment failed: it starts no more tasks.
func (c *Cloud) abandon(s *service, d *deployment, reason string) {
	d.Rollout, d.Reason, d.Updated = "FAILED", reason, c.now()
	s.Steady = false
	c.touch()
}

// lastDone is the newest deployment besides d that has once completed.
func (s *service) lastDone(d *deployment) *deployment {
	for _, other := range s.Rollouts {
		if other != d && other.Done {
			return other
		}
	}
	return nil
}

// rollBack makes back the primary deployment again.
func (c *Cloud) rollBack(s *service, d, back *deployment, reason, failure string) {
	now := c.clock.Now()
	c.abandon(s, d, failure)
	d.Status, d.Desired = "ACTIVE", 0
	back.Status, back.Rollout, back.Updated = "PRIMARY", "IN_PROGRESS", at(now)
	back.Reason = fmt.Sprintf("ECS deployment circuit breaker: rolling back to deploymentId %s.", back.ID)
	back.Failed, back.inRow, back.notUntil = 0, 0, time.Time{}
	s.Rollouts = slices.DeleteFunc(s.Rollouts, func(x *deployment) bool { return x == back })
	s.Rollouts = append([]*deployment{back}, s.Rollouts...)
	if rev := s.revision(back.Revision); rev != nil {
		s.Settings.TaskDefinition = rev.TaskDefinition
		s.Settings.Network, s.Settings.LoadBalancers = rev.Settings.Network, rev.Settings.LoadBalancers
		s.Settings.PlatformVersion, s.Settings.Registries = rev.Settings.PlatformVersion, rev.Settings.Registries
	}
	if sd := s.current(); sd != nil {
		sd.Status, sd.Updated, sd.Reason = "ROLLBACK_IN_PROGRESS", at(now), reason
		sd.Rollback = &rollbackNote{Reason: reason, Started: at(now), Revision: back.Revision}
	}
	c.say(s, "rolling back to (deployment %s).", back.ID)
}

// complete ends a deployment whose tasks all are healthy.
func (c *Cloud) complete(s *service, d *deployment) {
	now := c.clock.Now()
	d.Rollout, d.Updated, d.Done, d.Failed = "COMPLETED", at(now), true, 0
	d.Reason = fmt.Sprintf("ECS deployment %s completed.", d.ID)
	s.Rollouts = []*deployment{d}
	c.say(s, "(deployment %s) deployment completed.", d.ID)
	if sd := s.current(); sd != nil && !sd.over() {
		if sd.Status == "ROLLBACK_IN_PROGRESS" {
			sd.finish("ROLLBACK_SUCCESSFUL", sd.Reason, now)
		} else {
			sd.finish("SUCCESSFUL", "", now)
		}
	}
	s.prune()
}

func (s *service) describeDeployment(d *deployment) map[string]any {
	running, pending := s.counts(d)
	out := map[string]any{
		"id": d.ID, "status": d.Status, "rolloutState": d.Rollout, "rolloutStateReason": d.Reason, "taskDefinition": d.TaskDefinition,
		"createdAt": d.Created, "updatedAt": d.Updated, "desiredCount": d.Desired, "runningCount": running, "pendingCount": pending,
		"failedTasks": d.Failed,
	}
	if s.LaunchType != "" {
		out["launchType"] = s.LaunchType
	}
	if rev := s.revision(d.Revision); rev != nil {
		if s.LaunchType != "EC2" {
			out["platformFamily"], out["platformVersion"] = "Linux", "1.4.0"
		}
		if given(rev.Settings.Network) {
			out["networkConfiguration"] = rev.Settings.Network
		}
	}
	return out
}

// randomNumber is a random decimal number of 19 digits, as in the ids of deployments.
func randomNumber() string {
	low := big.NewInt(1e18)
	n, err := rand.Int(rand.Reader, new(big.Int).Mul(low, big.NewInt(9)))
	if err != nil { // crypto/rand.Reader never fails
		panic(err)
	}
	return n.Add(n, low).String()
}
