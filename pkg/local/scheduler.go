package local

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The scheduler of a service compares what is with what should be, starts and stops
// tasks, and judges the deployment. It runs when something has changed (an API
// call, a task that changed its state) or when a back-off has passed, and never
// waits with the cloud locked.

// wake wakes a scheduler.
type wake chan struct{}

func (w wake) send() {
	select {
	case w <- struct{}{}:
	default: // one is on its way
	}
}

// wake lets the service's scheduler look again; the cloud is locked.
func (c *Cloud) wake(s *service) {
	if w, ok := c.wakes[s.Arn]; ok {
		w.send()
	}
	c.touch()
}

// schedule starts the scheduler of a service; the cloud is locked.
func (c *Cloud) schedule(s *service) {
	w := make(wake, 1)
	c.wakes[s.Arn] = w
	w.send()
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		var later <-chan time.Time
		for {
			select {
			case <-w:
			case <-later:
			case <-c.ctx.Done():
				return
			}
			c.mu.Lock()
			wait, on := c.reconcile(s)
			if !on && c.wakes[s.Arn] == w {
				delete(c.wakes, s.Arn)
			}
			c.mu.Unlock()
			if !on {
				return
			}
			later = nil
			if wait > 0 {
				later = c.clock.After(wait)
			}
		}
	}()
}

// reconcile brings a service closer to what it should be. It returns after what time
// to look again (0: only when woken) and whether there is still something to do for
// a scheduler at all.
func (c *Cloud) reconcile(s *service) (wait time.Duration, on bool) {
	if c.closing || s.Status == "INACTIVE" {
		return 0, false
	}
	defer c.touch()
	c.forget(s.cluster)
	if s.Status == "DRAINING" {
		return 0, c.drain(s)
	}
	p := s.primary()
	if p.Rollout == "IN_PROGRESS" {
		if _, threshold := s.breaker(); p.Failed >= threshold {
			c.trip(s, p)
			p = s.primary()
		} else if p.Failed == 2 {
			c.sayOnce(s, "inconsistent", "is unable to consistently start tasks successfully. For more information, see the reasons of its stopped tasks.")
		}
	}
	target := s.target(c.definitionOf(p))
	if target < s.desired() {
		c.sayOnce(s, "ports", "has the desired count %d and a port: all tasks share this machine's network, where a port can be had once; the local cloud runs %d.", s.desired(), target)
	}
	p.Desired = target
	if p.Rollout == "FAILED" {
		return c.reconcileFailed(s, p, target), true
	}
	wait = c.start(s, p, target)
	c.retire(s, p, target)
	c.judge(s, p, target)
	return wait, true
}

// reconcileFailed keeps what ran before a failed deployment running. On AWS it would
// not have been stopped; here it may have had to give up its port.
func (c *Cloud) reconcileFailed(s *service, p *deployment, target int) time.Duration {
	healthy := 0
	for _, t := range s.tasks(p) {
		if t.healthy {
			healthy++
		} else if !t.stopping() {
			c.stopTask(s, t, p)
		}
	}
	p.Desired = healthy
	old := s.lastDone(p)
	if old == nil {
		return 0
	}
	old.Desired = max(target-healthy, 0)
	return c.start(s, old, old.Desired)
}

// drain stops what is left of a deleted service and says whether there is more to
// wait for.
func (c *Cloud) drain(s *service) bool {
	left := false
	for _, d := range s.Rollouts {
		d.Desired = 0
		for _, t := range s.tasks(d) {
			left = true
			if !t.stopping() {
				c.stopTask(s, t, d)
			}
		}
	}
	if left {
		return true
	}
	now := c.clock.Now()
	if sd := s.current(); sd != nil && !sd.over() {
		sd.finish("STOPPED", "Service was deleted.", now)
	}
	s.Status, s.Rollouts = "INACTIVE", nil
	c.say(s, "has been deleted.")
	c.sweepSoon()
	return false
}

// definitionOf returns what a deployment runs.
func (c *Cloud) definitionOf(d *deployment) *definition {
	t, ok := c.taskDef(d.TaskDefinition)
	if !ok { // kept as long as the state is
		return &definition{}
	}
	return t.parsed()
}

// target is how many tasks can run here of those desired.
func (s *service) target(def *definition) int {
	if len(def.ports()) > 0 {
		return min(s.desired(), 1)
	}
	return s.desired()
}

// tasks returns the tasks of a deployment that have not stopped, oldest first.
func (s *service) tasks(d *deployment) []*task {
	var list []*task
	for _, t := range s.cluster.Tasks {
		if t.LastStatus != statusStopped && t.StartedBy == d.ID {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b *task) int {
		if n := a.CreatedAt.time().Compare(b.CreatedAt.time()); n != 0 {
			return n
		}
		return strings.Compare(a.Arn, b.Arn)
	})
	return list
}

// start starts what tasks of a deployment are missing, as far as the service's
// rules, this machine's ports and the back-off allow.
func (c *Cloud) start(s *service, d *deployment, target int) (wait time.Duration) {
	var live, mine, ending int
	for _, other := range s.Rollouts {
		for _, t := range s.tasks(other) {
			if other == d && !t.stopping() {
				mine++
			}
			if other == d && t.stopping() {
				ending++
			}
			if !t.stopping() {
				live++
			}
		}
	}
	missing := target - mine
	if missing <= 0 || ending > 0 { // whether one that ends has failed, and when to go on, is known when it has ended
		return 0
	}
	if wait := d.notUntil.Sub(c.clock.Now()); wait > 0 {
		return wait
	}
	rules := s.Settings.Deployment
	most, least := s.desired()**rules.MaximumPercent/100, ceilPercent(s.desired(), *rules.MinimumPercent)
	others := live - mine
	if d.Rollout == "IN_PROGRESS" && others > 0 && most <= others && least >= others {
		c.sayOnce(s, "headroom", "was unable to stop or start tasks during a deployment because of the service deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again.")
		return 0
	}
	if c.yieldPorts(s, d) {
		return 0 // when they have stopped
	}
	n := missing
	if d.Rollout == "IN_PROGRESS" && others > 0 {
		n = min(n, most-live)
	}
	if n <= 0 {
		return 0
	}
	var names []string
	for range n {
		names = append(names, "(task "+c.startTask(s, d).id()+")")
	}
	s.Steady = false
	c.say(s, "has started %d tasks: %s.", n, strings.Join(names, " "))
	return 0
}

// yieldPorts stops the service's tasks that hold a port which the tasks of d need: a
// port can be had once on this machine, so one cannot start beside the other as on
// AWS. It says whether there are such tasks, also when they are stopping already.
func (c *Cloud) yieldPorts(s *service, d *deployment) bool {
	ports := c.definitionOf(d).ports()
	held := false
	for _, other := range s.Rollouts {
		shared := slices.ContainsFunc(c.definitionOf(other).ports(), func(p int) bool { return slices.Contains(ports, p) })
		if !shared {
			continue
		}
		for _, t := range s.tasks(other) {
			switch {
			case t.stopping():
				held = true
			case other != d:
				held = true
				c.say(s, "stops (task %s) before it starts the next one: all tasks share this machine's network, where a port can be had once.", t.id())
				c.stopTask(s, t, other)
			}
		}
	}
	return held
}

// retire stops tasks that are not needed any more.
func (c *Cloud) retire(s *service, p *deployment, target int) {
	own := s.tasks(p)
	healthyOwn := 0
	for _, t := range own {
		if t.healthy && !t.stopping() {
			healthyOwn++
		}
	}
	c.retireSurplus(s, p, own, target)
	least := ceilPercent(s.desired(), *s.Settings.Deployment.MinimumPercent)
	healthy := healthyOwn
	var old []*task
	for _, d := range s.Rollouts {
		if d == p {
			continue
		}
		before := len(old)
		for _, t := range s.tasks(d) {
			if t.stopping() {
				continue
			}
			if t.healthy {
				healthy++
			}
			old = append(old, t)
		}
		d.Desired = len(old) - before
	}
	var stopped []string
	for _, t := range old {
		if t.healthy && healthyOwn < target && healthy-1 < least {
			continue // needed until others are healthy
		}
		if t.healthy {
			healthy--
		}
		c.stopTask(s, t, s.deployment(t.StartedBy))
		stopped = append(stopped, "(task "+t.id()+")")
	}
	if len(stopped) > 0 {
		c.say(s, "has stopped %d running tasks: %s.", len(stopped), strings.Join(stopped, " "))
	}
}

// retireSurplus stops tasks of the primary deployment beyond its target, those first
// that are not healthy.
func (c *Cloud) retireSurplus(s *service, p *deployment, own []*task, target int) {
	own = slices.DeleteFunc(slices.Clone(own), func(t *task) bool { return t.stopping() })
	slices.SortStableFunc(own, func(a, b *task) int {
		switch {
		case a.healthy == b.healthy:
			return 0
		case a.healthy:
			return -1
		}
		return 1
	})
	var stopped []string
	for len(own) > target {
		t := own[len(own)-1]
		own = own[:len(own)-1]
		c.stopTask(s, t, p)
		stopped = append(stopped, "(task "+t.id()+")")
	}
	if len(stopped) > 0 {
		s.Steady = false
		c.say(s, "has stopped %d running tasks: %s.", len(stopped), strings.Join(stopped, " "))
	}
}

// judge completes the deployment when all its tasks are healthy and no others are
// left, and tells of the steady state.
func (c *Cloud) judge(s *service, p *deployment, target int) {
	healthy := 0
	for _, d := range s.Rollouts {
		for _, t := range s.tasks(d) {
			if d != p || t.stopping() {
				return
			}
			if t.healthy {
				healthy++
			}
		}
	}
	if healthy < target {
		return
	}
	if p.Rollout == "IN_PROGRESS" {
		c.complete(s, p)
		c.sweepSoon()
	}
	if !s.Steady {
		s.Steady = true
		c.say(s, "has reached a steady state.")
	}
}

// Restart back-off: short, as someone is watching.
const (
	firstBackoff = time.Second
	maxBackoff   = 30 * time.Second
	// A task that ran for this long starts the back-off anew.
	provenAfter = time.Minute
)

// taskEnded notes the end of a task of a service; the cloud is locked.
func (c *Cloud) taskEnded(s *service, t *task, failed bool) {
	defer c.wake(s)
	d := s.deployment(t.StartedBy)
	if d == nil || !failed {
		return
	}
	s.Steady = false
	now := c.clock.Now()
	if !t.everHealthy {
		d.Failed++
		if sd := s.current(); sd != nil && sd.Target == d.Revision {
			sd.Failures, sd.Updated = d.Failed, at(now)
		}
	}
	if started := t.StartedAt.time(); t.everHealthy && now.Sub(started) > provenAfter {
		d.inRow = 0
	}
	d.inRow++
	d.notUntil = now.Add(min(firstBackoff<<min(d.inRow-1, 5), maxBackoff))
	d.Updated = at(now)
}

// taskHealthy notes that a task is healthy; the cloud is locked.
func (c *Cloud) taskHealthy(s *service, t *task) {
	t.healthy, t.everHealthy = true, true
	if d := s.deployment(t.StartedBy); d != nil {
		b := s.Settings.Deployment.Breaker
		if b == nil || b.Reset == nil || *b.Reset {
			d.Failed = 0
		}
	}
	for _, lb := range s.Settings.balancers() {
		c.say(s, "registered 1 targets in (target-group %s)", first(lb.TargetGroup, lb.Name))
	}
	c.wake(s)
}

// sweepSoon removes unpacked images that no service needs, in the background; the
// cloud is locked.
func (c *Cloud) sweepSoon() {
	keep := map[string]bool{}
	for _, cl := range c.state.Clusters {
		for _, s := range cl.Services {
			for _, d := range s.Rollouts {
				if rev := s.revision(d.Revision); rev != nil {
					for _, digest := range rev.Images {
						keep[digest] = true
					}
				}
			}
		}
	}
	if c.closing {
		return
	}
	c.running.Go(func() {
		if err := c.images.sweep(keep); err != nil {
			c.log.Warn(fmt.Sprintf("remove unpacked images: %v", err))
		}
	})
}
