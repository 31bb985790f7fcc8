package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/boyabuild/boyabuild/pkg/sandbox"
)

// execution is the life of one task, in a goroutine of its own.
type execution struct {
	c        *Cloud
	t        *task
	def      *definition
	s        *service         // nil for a task of RunTask
	revision *serviceRevision // of s

	images     []*unpacked // by container
	containers []*runningContainer
	exits      chan *runningContainer // those that have ended
}

// runningContainer is a container that was started.
type runningContainer struct {
	def     *containerDefinition
	state   *containerState
	process Process
	log     *containerLog
	scratch string
	ended   chan struct{} // closed when status and err are set
	status  sandbox.ExitStatus
	err     error
}

// execute starts the life of a task; the cloud is locked.
func (c *Cloud) execute(e *execution) {
	c.running.Go(func() {
		order := e.live()
		e.free()
		c.mu.Lock()
		defer c.mu.Unlock()
		for port, t := range c.ports {
			if t == e.t {
				delete(c.ports, port)
			}
		}
		e.t.finish(c.clock.Now(), order)
		c.log.Info(fmt.Sprintf("task %s stopped: %s", e.t.id()[:8], order.reason))
		if e.s != nil {
			c.taskEnded(e.s, e.t, order.failed)
		}
		c.touch()
	})
}

// startFailure is why a task did not start.
func startFailure(format string, args ...any) stopOrder {
	return stopOrder{code: "TaskFailedToStart", reason: fmt.Sprintf(format, args...), failed: true}
}

// live runs the task from its images to its end and says how it ended.
func (e *execution) live() stopOrder {
	ctx, cancel := context.WithCancel(e.c.ctx)
	defer cancel()
	ordered := make(chan stopOrder, 1)
	go func() { // an order ends the preparations too
		select {
		case o := <-e.t.orders:
			ordered <- o
			cancel()
		case <-ctx.Done():
		}
	}()
	failure, ok := e.prepare(ctx)
	if ok {
		failure, ok = e.startAll(ctx)
	}
	if !ok {
		e.stopAll()
		select {
		case o := <-ordered: // what failed, failed because of it
			return o
		default:
			return failure
		}
	}
	e.set(func() {
		e.t.LastStatus, e.t.StartedAt = statusRunning, at(e.c.clock.Now())
		if e.s != nil {
			e.c.wake(e.s)
		}
	})
	verdicts := make(chan stopOrder, 1)
	if e.s != nil {
		go e.watch(ctx, verdicts)
	}
	order := e.await(ordered, verdicts)
	cancel()
	e.set(func() {
		e.t.LastStatus, e.t.DesiredStatus, e.t.StoppingAt, e.t.healthy = statusStopping, statusStopped, at(e.c.clock.Now()), false
	})
	e.stopAll()
	return order
}

// await waits for what ends the task: an order, its health, or an essential
// container.
func (e *execution) await(ordered, verdicts <-chan stopOrder) stopOrder {
	for {
		select {
		case o := <-ordered:
			return o
		case o := <-verdicts:
			return o
		case c := <-e.exits:
			if !c.def.essential() {
				continue
			}
			stopping := false
			e.set(func() { stopping = e.t.stopping() })
			if stopping { // it ended because it was told to
				return <-ordered
			}
			return essentialExited
		}
	}
}

var essentialExited = stopOrder{code: "EssentialContainerExited", reason: "Essential container in task exited", failed: true}

// set changes the task with the cloud locked.
func (e *execution) set(change func()) {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	change()
	e.c.touch()
}

// prepare checks that the task can run here, and gets its images and ports.
func (e *execution) prepare(ctx context.Context) (stopOrder, bool) {
	e.set(func() { e.t.LastStatus, e.t.PullStarted = statusPending, at(e.c.clock.Now()) })
	if what := e.def.unsupported(); what != "" {
		if e.s != nil {
			e.set(func() { e.c.sayOnce(e.s, what, "cannot run here: %s.", what) })
		}
		return startFailure("ResourceInitializationError: %s", what), false
	}
	for i := range e.def.Containers {
		image, err := e.pull(ctx, i)
		if err != nil {
			reason := "CannotPullContainerError: " + err.Error()
			e.set(func() { e.t.Containers[i].Reason = reason })
			return startFailure("%s", reason), false
		}
		e.images = append(e.images, image)
	}
	e.set(func() { e.t.PullStopped = at(e.c.clock.Now()) })
	if err := e.claimPorts(ctx); err != nil {
		return startFailure("CannotStartContainerError: %v", err), false
	}
	return stopOrder{}, true
}

// unsupported names what the definition asks for and this cloud does not have.
func (d *definition) unsupported() string {
	machine := map[string]string{"amd64": "X86_64", "arm64": "ARM64"}[runtime.GOARCH]
	if a := d.Platform.CPU; a != "" && a != machine {
		return fmt.Sprintf("runtimePlatform asks for %s, and this machine is %s", a, machine)
	}
	if s := d.Platform.OS; s != "" && s != "LINUX" {
		return fmt.Sprintf("runtimePlatform asks for %s, and this machine is LINUX", s)
	}
	for _, c := range d.Containers {
		switch {
		case len(c.Secrets) > 0:
			return fmt.Sprintf("unable to pull secrets: the local cloud has no Secrets Manager and no Parameter Store for %s of container %s", c.Secrets[0].Name, c.Name)
		case len(c.MountPoints) > 0 || len(c.VolumesFrom) > 0:
			return fmt.Sprintf("the local cloud has no volumes for container %s", c.Name)
		case len(c.EnvironmentFiles) > 0:
			return fmt.Sprintf("the local cloud has no S3 for the environmentFiles of container %s", c.Name)
		}
	}
	return ""
}

// pull gets a container's image by the digest that its service revision has settled
// on, or settles it.
func (e *execution) pull(ctx context.Context, i int) (*unpacked, error) {
	d := &e.def.Containers[i]
	digest := ""
	if e.revision != nil {
		e.set(func() { digest = e.revision.Images[d.Name] })
	}
	if digest == "" {
		var err error
		if digest, err = e.c.resolveImage(d.Image); err != nil {
			return nil, err
		}
	}
	image, err := e.c.images.acquire(ctx, digest)
	if err != nil {
		return nil, err
	}
	e.set(func() {
		e.t.Containers[i].Digest = digest
		if e.revision != nil {
			e.revision.Images[d.Name] = digest
		}
	})
	return image, nil
}

// portError says that a port of this machine cannot be had.
type portError struct {
	port int
	by   string
}

func (e *portError) Error() string { return fmt.Sprintf("port %d %s", e.port, e.by) }

// claimPorts takes the ports that the task will listen on. They must be free: a task
// that finds its port taken is hard to tell from one with a fault of its own.
func (e *execution) claimPorts(ctx context.Context) error {
	var err error
	e.set(func() {
		for _, p := range e.def.ports() {
			if other := e.c.ports[p]; other != nil && other != e.t {
				err = &portError{p, fmt.Sprintf("is in use by (task %s) of %s: all tasks share this machine's network", other.id(), other.Group)}
				if e.s == nil {
					err = fmt.Errorf("%w; a task that runs another command than the definition's needs no port", err)
				}
				return
			}
		}
		for _, p := range e.def.ports() {
			e.c.ports[p] = e.t
		}
	})
	if err != nil {
		return err
	}
	for _, c := range e.def.Containers {
		for _, p := range c.PortMappings {
			if err := portFree(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// portFree tries whether a port can be listened on. One that was in use a moment
// ago may be given back yet.
func portFree(ctx context.Context, p portMapping) error {
	var err error
	for range 10 {
		if p.Protocol == "udp" {
			var l net.PacketConn
			if l, err = (&net.ListenConfig{}).ListenPacket(ctx, "udp", ":"+strconv.Itoa(p.host())); err == nil {
				return l.Close()
			}
		} else {
			var l net.Listener
			if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(p.host())); err == nil {
				return l.Close()
			}
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return &portError{p.host(), "is in use by another program on this machine"}
	case errors.Is(err, syscall.EACCES):
		return &portError{p.host(), "may not be listened on without being root on this machine: choose one from 1024 on"}
	}
	return &portError{p.host(), "cannot be listened on: " + err.Error()}
}

// startAll starts the containers, each after those that it depends on.
func (e *execution) startAll(ctx context.Context) (stopOrder, bool) {
	e.exits = make(chan *runningContainer, len(e.def.Containers))
	order, err := e.def.startOrder()
	if err != nil {
		return startFailure("%v", err), false
	}
	for _, d := range order {
		if o, ok := e.awaitDependencies(ctx, d); !ok {
			return o, false
		}
		if err := e.start(ctx, d); err != nil {
			reason := "CannotStartContainerError: " + err.Error()
			e.set(func() {
				state := e.state(d.Name)
				state.Reason = reason
				if failed := (*sandbox.StartError)(nil); errors.As(err, &failed) {
					state.ExitCode = &failed.ExitCode
				}
			})
			return startFailure("%s", reason), false
		}
	}
	return stopOrder{}, true
}

func (e *execution) state(name string) *containerState {
	for _, c := range e.t.Containers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// awaitDependencies waits until what a container depends on has come as far as it
// asks.
func (e *execution) awaitDependencies(ctx context.Context, d *containerDefinition) (stopOrder, bool) {
	for _, dep := range d.DependsOn {
		on := e.container(dep.Container)
		switch dep.Condition {
		case "HEALTHY":
			if err := e.untilPassed(ctx, e.healthCheckProbe(on.def)); err != nil {
				return startFailure("CannotStartContainerError: dependency %s of container %s did not become healthy: %v", on.def.Name, d.Name, err), false
			}
		case "COMPLETE", "SUCCESS":
			select {
			case <-on.ended:
			case <-ctx.Done():
				return stopOrder{}, false
			}
			if dep.Condition == "SUCCESS" && on.status.Code != 0 {
				return startFailure("CannotStartContainerError: dependency %s of container %s exited with %d", on.def.Name, d.Name, on.status.Code), false
			}
		}
	}
	return stopOrder{}, true
}

func (e *execution) container(name string) *runningContainer {
	for _, c := range e.containers {
		if c.def.Name == name {
			return c
		}
	}
	return nil
}

// start starts one container.
func (e *execution) start(ctx context.Context, d *containerDefinition) error {
	var image *unpacked
	for i := range e.def.Containers {
		if e.def.Containers[i].Name == d.Name {
			image = e.images[i]
		}
	}
	spec, err := e.command(d, image)
	if err != nil {
		return err
	}
	log, err := openLog(filepath.Join(e.c.logDir(lastPart(e.t.ClusterArn), e.t), d.Name+".log"))
	if err != nil {
		return err
	}
	spec.Stdout, spec.Stderr = log.stream(), log.stream()
	// The process outlives the context of the start; it is stopped by stopAll.
	process, err := e.c.runner.Start(context.WithoutCancel(ctx), spec)
	if err != nil {
		log.Close()
		removeTree(spec.Scratch)
		return err
	}
	rc := &runningContainer{def: d, state: e.state(d.Name), process: process, log: log, scratch: spec.Scratch, ended: make(chan struct{})}
	e.containers = append(e.containers, rc)
	e.set(func() { rc.state.LastStatus = statusRunning })
	go e.reap(rc)
	return nil
}

// reap waits for the end of a container and notes how it ended.
func (e *execution) reap(rc *runningContainer) {
	rc.status, rc.err = rc.process.Wait()
	rc.log.Close()
	removeTree(rc.scratch)
	e.set(func() {
		rc.state.LastStatus, rc.state.Health = statusStopped, "UNKNOWN"
		if rc.err != nil {
			rc.state.Reason = rc.err.Error()
			return
		}
		rc.state.ExitCode = &rc.status.Code
		if rc.status.OOM {
			rc.state.Reason = "OutOfMemoryError: Container killed due to memory usage"
		}
	})
	close(rc.ended)
	e.exits <- rc
}

// defaultStopTimeout is stopTimeout where the definition has none.
const defaultStopTimeout = 30 * time.Second

// stopAll stops the containers that still run and waits for all of them.
func (e *execution) stopAll() {
	var all sync.WaitGroup
	for _, rc := range e.containers {
		grace := defaultStopTimeout
		if s := rc.def.StopTimeout; s != nil {
			grace = time.Duration(*s) * time.Second
		}
		all.Go(func() {
			select {
			case <-rc.ended:
				return
			default:
			}
			if err := rc.process.Stop(e.c.ctx, grace); err != nil {
				e.c.log.Debug(fmt.Sprintf("stop container %s of task %s: %v", rc.def.Name, e.t.id(), err))
			}
			<-rc.ended
		})
	}
	all.Wait()
}

// free gives back the images.
func (e *execution) free() {
	for _, u := range e.images {
		u.release()
	}
}
