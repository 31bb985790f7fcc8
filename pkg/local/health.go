package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How long a task may take to become healthy, and how it is asked.
const (
	defaultGrace  = 60 * time.Second
	settledAfter  = 2 * time.Second        // a task that listens on no port
	askEvery      = 250 * time.Millisecond // until it is healthy
	watchEvery    = 30 * time.Second       // after that: a target group's default interval
	unhealthyAt   = 2                      // and its default threshold
	answerTimeout = 5 * time.Second        // and its default timeout
)

// probe is one way of asking whether a task is healthy.
type probe struct {
	ask func(context.Context) error
	// grace is how long the answer may take to become good.
	grace time.Duration
	// lasting probes go on after that.
	lasting bool
	// reason is what ECS says of a task that does not pass, and target the target group
	// for the event.
	reason string
	target string
	port   int
}

// errEnded says that asking was given up because the task ends.
var errEnded = errors.New("the task was stopped")

// watch asks whether the task is healthy, tells the scheduler when it is, and gives
// a verdict when it is not.
func (e *execution) watch(ctx context.Context, verdicts chan<- stopOrder) {
	probes := e.probes()
	for _, p := range probes {
		if err := e.untilPassed(ctx, p); errors.Is(err, errEnded) {
			return
		} else if err != nil {
			verdicts <- e.unhealthy(p, err)
			return
		}
	}
	hidden := 0 // a port that only this machine reaches
	for _, p := range probes {
		if p.port > 0 && onLoopbackOnly(ctx, p.port) {
			hidden = p.port
		}
	}
	e.set(func() {
		if e.t.LastStatus != statusRunning || e.t.stopping() || e.essentialEnded() {
			return
		}
		for _, c := range e.t.Containers {
			if d := e.def.container(c.Name); d.HealthCheck != nil && c.LastStatus == statusRunning {
				c.Health = "HEALTHY"
			}
		}
		e.c.taskHealthy(e.s, e.t)
		if hidden > 0 {
			e.c.sayOnce(e.s, "loopback", "(task %s) answers on port %d of 127.0.0.1 only: on AWS nothing could reach it. Let it listen on 0.0.0.0.", e.t.id(), hidden)
		}
	})
	failed := 0
	for e.c.sleep(ctx, watchEvery) {
		bad := e.firstFailing(ctx, probes)
		if bad == nil {
			failed = 0
			continue
		}
		if failed++; failed >= unhealthyAt && ctx.Err() == nil {
			verdicts <- e.unhealthy(*bad.probe, bad.err)
			return
		}
	}
}

// essentialEnded says whether the task is about to stop because of a container.
func (e *execution) essentialEnded() bool {
	for _, rc := range e.containers {
		if rc.def.essential() && rc.state.LastStatus == statusStopped {
			return true
		}
	}
	return false
}

type failing struct {
	probe *probe
	err   error
}

func (e *execution) firstFailing(ctx context.Context, probes []probe) *failing {
	for i := range probes {
		if !probes[i].lasting {
			continue
		}
		if err := probes[i].ask(ctx); err != nil {
			return &failing{&probes[i], err}
		}
	}
	return nil
}

// untilPassed asks until the answer is good; the error is the last answer when the
// grace has passed, or errEnded.
func (e *execution) untilPassed(ctx context.Context, p probe) error {
	deadline := e.c.clock.Now().Add(p.grace)
	for {
		err := p.ask(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errEnded
		}
		if !e.c.clock.Now().Before(deadline) {
			return err
		}
		if !e.c.sleep(ctx, askEvery) {
			return errEnded
		}
	}
}

// unhealthy words the end of a task that is not healthy.
func (e *execution) unhealthy(p probe, err error) stopOrder {
	e.set(func() {
		if p.target != "" {
			e.c.say(e.s, "(port %d) is unhealthy in (target-group %s) due to (reason %v)", p.port, p.target, err)
		} else {
			e.c.say(e.s, "(task %s) is unhealthy: %v", e.t.id(), err)
		}
	})
	return stopOrder{code: "ServiceSchedulerInitiated", reason: p.reason, failed: true}
}

// probes are those of the service's target groups and of the containers' health
// checks; without any, a container that listens must accept connections, and one
// that does not must stay up.
func (e *execution) probes() []probe {
	var all []probe
	grace := defaultGrace
	var balancers []loadBalancer
	e.set(func() {
		balancers = e.revision.Settings.balancers()
		if g := e.s.Settings.GracePeriod; g != nil && *g > 0 {
			grace = time.Duration(*g) * time.Second
		}
	})
	for _, lb := range balancers {
		target := first(lb.TargetGroup, lb.Name)
		url := fmt.Sprintf("http://127.0.0.1:%d/", lb.ContainerPort)
		all = append(all, probe{ask: answers(url, 500), grace: grace, lasting: true, target: target, port: lb.ContainerPort,
			reason: fmt.Sprintf("Task failed ELB health checks in (target-group %s)", target)})
	}
	for i := range e.def.Containers {
		if d := &e.def.Containers[i]; d.HealthCheck != nil {
			p := e.healthCheckProbe(d)
			all = append(all, p)
			e.set(func() {
				e.c.sayOnce(e.s, "healthcheck", "has container health checks: the local cloud does not run their commands, it asks from outside of the container.")
			})
		}
	}
	if len(all) > 0 {
		return all
	}
	for _, d := range e.def.Containers {
		for _, m := range d.PortMappings {
			if m.Protocol != "udp" {
				all = append(all, probe{ask: accepts(m.host()), grace: grace, port: m.host(),
					reason: fmt.Sprintf("Task failed health checks: nothing listens on port %d", m.host())})
			}
		}
	}
	if len(all) == 0 {
		all = append(all, probe{ask: e.settled(), grace: defaultGrace})
	}
	return all
}

var checkedURL = regexp.MustCompile(`https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(:\d+)?(/[^\s'"|;&)]*)?`)

// healthCheckProbe asks in place of a container's health check command: for the URL
// that the command names, or else whether the container's ports accept connections.
func (e *execution) healthCheckProbe(d *containerDefinition) probe {
	p := probe{grace: defaultGrace + time.Duration(d.HealthCheck.StartPeriod)*time.Second, lasting: true,
		reason: "Task failed container health checks"}
	if url := checkedURL.FindString(strings.Join(d.HealthCheck.Command, " ")); strings.HasPrefix(url, "http:") {
		p.ask = answers(strings.Replace(url, "//0.0.0.0", "//127.0.0.1", 1), 400)
		return p
	}
	for _, m := range d.PortMappings {
		if m.Protocol != "udp" {
			p.ask = accepts(m.host())
			return p
		}
	}
	p.ask, p.lasting = e.settled(), false
	return p
}

// settled passes after a while: the task is still there to be asked.
func (e *execution) settled() func(context.Context) error {
	from := e.c.clock.Now()
	return func(context.Context) error {
		if e.c.clock.Now().Sub(from) < settledAfter {
			return errors.New("it has just started")
		}
		return nil
	}
}

// answers asks for a URL; an answer with a status below limit is a good one.
func answers(url string, limit int) func(context.Context) error {
	client := &http.Client{
		Timeout: answerTimeout,
		// No proxy, and a connection each time: what is asked is the task, now.
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		req.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
		resp, err := client.Do(req)
		if err != nil {
			if timeout := (net.Error)(nil); errors.As(err, &timeout) && timeout.Timeout() {
				return errors.New("Request timed out")
			}
			return errors.New("Health checks failed: nothing answers")
		}
		io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if resp.StatusCode >= limit {
			return fmt.Errorf("Health checks failed with these codes: [%d]", resp.StatusCode)
		}
		return nil
	}
}

// accepts tries to connect to a port.
func accepts(port int) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("nothing listens on port %d", port)
		}
		return conn.Close()
	}
}

// onLoopbackOnly says whether a port that accepts connections on loopback refuses
// them on another address of this machine.
func onLoopbackOnly(ctx context.Context, port int) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, a := range addrs {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLoopback() || ip.IP.To4() == nil {
			continue
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(ip.IP.String(), strconv.Itoa(port)))
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	return false
}
