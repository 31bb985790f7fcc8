package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopDelay is how long a killed sandbox has to report before its init is killed
// as well; everything in it is long dead by then.
const stopDelay = 3 * time.Second

// Process is a command that runs in a sandbox.
type Process struct {
	init       *initProcess
	scratch    *scratch
	notes      []string
	stopSignal syscall.Signal
	killed     atomic.Bool
	sending    sync.Mutex // of orders
	done       chan struct{}

	// Set before done is closed.
	status ExitStatus
	err    error
}

// Start makes a sandbox and starts the command in it. It returns when the command
// runs, so a wrong command is an error here: a *StartError. The command and
// everything that it started are killed when ctx ends. With no Mode it calls
// Probe first, and returns its *UnavailableError.
func Start(ctx context.Context, c Command) (*Process, error) {
	return start(ctx, c, allBarriers)
}

func start(ctx context.Context, c Command, only barrier) (*Process, error) {
	if err := checkReady(); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Mode == BestMode {
		report, err := Probe(ctx, c.Scratch)
		if err != nil {
			return nil, err
		}
		c.Mode = report.Mode
	}
	s, err := openScratch(ctx, c.Scratch)
	if err != nil {
		return nil, err
	}
	in, err := spawn(c, s.dir)
	if err != nil {
		s.close(ctx)
		return nil, fmt.Errorf("make a sandbox (%s): %w", c.Mode, err)
	}
	p := &Process{init: in, scratch: s, stopSignal: c.StopSignal, done: make(chan struct{})}
	if p.stopSignal == 0 {
		p.stopSignal = syscall.SIGTERM
	}
	started := make(chan error, 1)
	go p.follow(ctx, c, only, started)
	if err := <-started; err != nil {
		<-p.done
		return nil, err
	}
	return p, nil
}

// check finds what cannot be, and makes the paths absolute.
func (c *Command) check() (err error) {
	switch {
	case c.Rootfs == "" || c.Scratch == "":
		return errors.New("make a sandbox: a command needs Rootfs and Scratch")
	case len(c.Args) == 0 || c.Args[0] == "":
		return &StartError{Reason: "there is no command to run", ExitCode: 127,
			hint: "give one, or an image with an ENTRYPOINT or CMD"}
	}
	for _, s := range slices.Concat(c.Args, c.Env, []string{c.Dir}) {
		if strings.ContainsRune(s, 0) {
			return &StartError{Arg: c.Args[0], Reason: fmt.Sprintf("%q holds a zero byte", s), ExitCode: 126}
		}
	}
	for path := range c.Files {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
			return fmt.Errorf("make a sandbox: %q is no absolute path of a file", path)
		}
	}
	for _, p := range []*string{&c.Rootfs, &c.Scratch} {
		if *p, err = filepath.Abs(*p); err != nil {
			return fmt.Errorf("make a sandbox: %w", err)
		}
	}
	if fi, err := os.Stat(c.Rootfs); err != nil {
		return fmt.Errorf("make a sandbox: root filesystem: %w", err)
	} else if !fi.IsDir() {
		return fmt.Errorf("make a sandbox: root filesystem: %s is not a directory", c.Rootfs)
	}
	return nil
}

// follow talks to init from the request to the end, then cleans up.
func (p *Process) follow(ctx context.Context, c Command, only barrier, started chan<- error) {
	unwatch := context.AfterFunc(ctx, p.kill)
	ran, ended, err := p.converse(c, only, started)
	waited := p.init.wait()
	cutShort := !unwatch()
	if !ended && p.killed.Load() {
		p.status = ExitStatus{Code: 128 + int(unix.SIGKILL), Signal: unix.SignalName(unix.SIGKILL)}
	}
	switch _, exited := errors.AsType[*exec.ExitError](waited); {
	case cutShort:
		err = context.Cause(ctx)
	case err != nil || p.killed.Load():
	case !ended && waited == nil:
		err = errors.New("the sandbox's init ended without a report")
	case !ended:
		err = fmt.Errorf("the sandbox's init ended without a report: %w", waited)
	case waited != nil && !exited:
		err = fmt.Errorf("pass on the command's output: %w", waited)
	case p.init.stdinError() != nil:
		err = fmt.Errorf("read the command's input: %w", p.init.stdinError())
	}
	// Also when ctx ended, the files go.
	if cerr := p.scratch.close(context.WithoutCancel(ctx)); err == nil {
		err = cerr
	}
	p.err = err
	close(p.done)
	if !ran {
		started <- err
	}
}

// converse sends the request and reads events until init hangs up. It tells
// started when the command runs.
func (p *Process) converse(c Command, only barrier, started chan<- error) (ran, ended bool, err error) {
	if err := p.init.mapUsers(); err != nil {
		p.init.kill()
		return false, false, fmt.Errorf("make a sandbox (%s): %w", c.Mode, err)
	}
	p.sending.Lock()
	err = p.init.send(request{
		Mode: c.Mode, Rootfs: c.Rootfs, Scratch: c.Scratch, Args: c.Args, Env: c.Env, Dir: c.Dir,
		User: c.User, Hostname: c.Hostname, Files: c.Files, Owners: c.Owners, NoNetwork: c.NoNetwork, Only: only,
	})
	p.sending.Unlock()
	if err != nil {
		err = fmt.Errorf("make a sandbox (%s): %w", c.Mode, err)
	}
	for {
		var e event
		if p.init.events.Decode(&e) != nil {
			return ran, ended, err
		}
		switch e.Kind {
		case eventStarted:
			p.notes, ran = e.Notes, true
			started <- nil
		case eventEnded:
			p.status, ended = e.Status, true
		case eventFailed:
			err = fmt.Errorf("make a sandbox (%s): %s", c.Mode, e.Error)
			if e.Code != 0 {
				err = &StartError{Arg: c.Args[0], Reason: e.Error, ExitCode: e.Code, hint: e.Hint}
			}
		}
	}
}

// Wait waits until the command has ended, everything that it left behind has been
// killed, its output has been written and the scratch directory is empty. It may
// be called more than once. The error is ctx's cause when that ended the command.
func (p *Process) Wait() (ExitStatus, error) {
	<-p.done
	return p.status, p.err
}

// Stop sends the stop signal to the command and, when it has not ended within
// grace or ctx ends before, kills everything in the sandbox. It returns when the
// command has ended, with ctx's error if that cut the grace short.
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	var err error
	if grace > 0 {
		p.tell(p.stopSignal)
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.done:
			return nil
		case <-timer.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	p.kill()
	<-p.done
	return err
}

// Signal sends a signal to the command; SIGKILL goes to everything in the sandbox.
func (p *Process) Signal(sig syscall.Signal) {
	if sig == syscall.SIGKILL {
		p.kill()
		return
	}
	p.tell(sig)
}

// kill ends everything in the sandbox: by init, which can then say how the command
// ended, and if it does not, by ending init.
func (p *Process) kill() {
	p.killed.Store(true)
	time.AfterFunc(stopDelay, func() {
		select {
		case <-p.done:
		default:
			p.init.kill()
		}
	})
	p.tell(syscall.SIGKILL)
}

// tell sends an order. That init has just ended, and so cannot take it, is no error.
func (p *Process) tell(sig syscall.Signal) {
	p.sending.Lock()
	defer p.sending.Unlock()
	_ = p.init.send(order{Signal: int(sig)})
}

// Pid is the process id, on this machine, of the sandbox's init. A signal sent to
// it is passed on to the command. It should be ended by Stop: SIGKILL ends init
// with the command, but, in ChrootLandlock, not what the command started.
func (p *Process) Pid() int { return p.init.cmd.Process.Pid }

// Notes say what this sandbox cannot do, a line each.
func (p *Process) Notes() []string { return p.notes }
