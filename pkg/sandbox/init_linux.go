package sandbox

import (
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// ready says that Main was called: a program that re-executes itself without it
// would do its own work again in place of a stage's.
var ready atomic.Bool

// Main must be the first thing that main (and TestMain) of a program calls which
// uses Start. In a process that is a re-executed stage of a sandbox it never
// returns; elsewhere it does nothing but allow sandboxes.
func Main() {
	ready.Store(true)
	if len(os.Args) == 0 || (os.Args[0] != stageInit && os.Args[0] != stageMap) {
		return
	}
	// A program of that name that Start did not start ends here.
	var st unix.Stat_t
	if err := unix.Fstat(socketFD, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		fmt.Fprintln(os.Stderr, os.Args[0]+": this name is for a stage of a sandbox")
		unix.Exit(1)
	}
	if os.Args[0] == stageMap {
		awaitMap()
	}
	unix.Exit(runInit())
}

// awaitMap waits for the user map and becomes stageInit: a process that had no id
// in its user namespace when it was executed has no capabilities, and gets those
// of root by being executed as root (user_namespaces(7)).
func awaitMap() {
	var b [1]byte
	n, err := unix.Read(socketFD, b[:])
	if err != nil || n != 1 || b[0] != mapped {
		unix.Exit(1) // the parent knows why
	}
	args := append([]string{stageInit}, os.Args[1:]...)
	err = syscall.Exec("/proc/self/exe", args, nil)
	fmt.Fprintln(os.Stderr, stageMap+":", err)
	unix.Exit(1)
}

// guest is the command as its init sees it.
type guest struct {
	request
	notes       []string
	foreignProc bool         // /proc is the machine's
	procfs      *os.File     // the machine's /proc, in ChrootLandlock
	vmstat      *os.File     // the kernel's counters, or nil
	oom         int64        // processes killed for want of memory when the command started
	pid         atomic.Int64 // of the command, 0 when it has ended
	killed      atomic.Bool  // by an order
	starting    sync.Mutex   // guards started
	started     bool
	killing     sync.Once
}

// runInit is init: it makes the sandbox from within, starts the command, stays
// until the command has ended, and returns its own exit status.
func runInit() int {
	closeOnExec()
	socket := os.NewFile(socketFD, "socket")
	orders, events := gob.NewDecoder(socket), gob.NewEncoder(socket)
	g := &guest{}
	if err := orders.Decode(&g.request); err != nil {
		return 1 // the parent is gone
	}
	if g.Mode != ChrootLandlock {
		// Again: becoming root by the user map may have cleared it.
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	}
	if g.Remove != "" {
		return report(events, event{Kind: eventEnded}, os.RemoveAll(g.Remove))
	}
	signals := g.catchSignals()
	go g.obey(orders)
	if err := g.run(); err != nil {
		return report(events, event{}, err)
	}
	closeStdin()
	if events.Encode(event{Kind: eventStarted, Notes: g.notes}) != nil {
		g.kill()
	}
	go g.forward(signals)
	status := g.reap()
	_ = events.Encode(event{Kind: eventEnded, Status: status})
	return 0
}

// closeOnExec keeps every file that init has, also what Start's program itself
// inherited, from the command.
func closeOnExec() {
	if unix.CloseRange(socketFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	// Before Linux 5.11.
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= socketFD {
			unix.CloseOnExec(fd)
		}
	}
}

// closeStdin leaves the command's input to the command, so that whoever writes it
// learns when nobody reads it any more.
func closeStdin() {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_ = unix.Dup3(null, 0, unix.O_CLOEXEC)
	_ = unix.Close(null)
}

func report(events *gob.Encoder, ok event, err error) int {
	if err == nil {
		_ = events.Encode(ok)
		return 0
	}
	e := event{Kind: eventFailed, Error: err.Error()}
	if start, is := errors.AsType[*StartError](err); is {
		e.Error, e.Code, e.Hint = start.Reason, start.ExitCode, start.hint
	}
	_ = events.Encode(e)
	return 1
}

// run makes the sandbox and starts the command.
func (g *guest) run() (err error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of orphans: %w", err)
	}
	syscall.Umask(0) // files here get the modes that they are given
	g.vmstat, _ = os.Open("/proc/vmstat")
	users := readUserMap()
	if g.Mode == ChrootLandlock {
		err = g.enterChroot()
	} else {
		err = g.enterNamespaces()
	}
	if err != nil {
		return err
	}
	if g.NoNetwork && g.Mode != ChrootLandlock {
		g.raiseLoopback()
	}
	g.setOwners()
	if err := setLimits(); err != nil {
		return err
	}
	return g.start(users)
}

// setLimits gives the command the limits that Fargate gives a container: 65535
// open files (where the machine allows as many), and no core files.
func setLimits() error {
	core := unix.Rlimit{}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &core); err != nil {
		return fmt.Errorf("set the limit of core files: %w", err)
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("get the limit of open files: %w", err)
	}
	files.Max = min(files.Max, 65535)
	files.Cur = files.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("set the limit of open files: %w", err)
	}
	return nil
}

// catchSignals also undoes what the parent of Start's program let it ignore, as
// nohup(1) does: a caught signal has its default action after exec, an ignored one
// stays ignored.
func (g *guest) catchSignals() <-chan os.Signal {
	c := make(chan os.Signal, 16)
	signal.Notify(c, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM,
		unix.SIGTERM, unix.SIGWINCH, unix.SIGPIPE, unix.SIGTTIN, unix.SIGTTOU)
	return c
}

func (g *guest) forward(signals <-chan os.Signal) {
	for s := range signals {
		if sig, ok := s.(syscall.Signal); ok && sig != unix.SIGPIPE {
			g.signal(sig)
		}
	}
}

// signal passes a signal on to the command.
func (g *guest) signal(sig syscall.Signal) {
	if pid := g.pid.Load(); pid > 0 {
		_ = unix.Kill(int(pid), sig)
	}
}

// obey follows orders until the parent is gone, and then ends everything.
func (g *guest) obey(orders *gob.Decoder) {
	for {
		var o order
		if orders.Decode(&o) != nil {
			g.kill()
			return
		}
		if sig := syscall.Signal(o.Signal); sig == unix.SIGKILL {
			g.killed.Store(true)
			g.kill()
		} else {
			g.signal(sig)
		}
	}
}

// reap waits for every child, its own and orphans, until the command has ended,
// then ends whatever that left behind and waits for it.
func (g *guest) reap() (status ExitStatus) {
	command := int(g.pid.Load())
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil: // ECHILD: none is left
			return status
		case pid == command:
			g.pid.Store(0)
			command = 0
			status = g.exitStatus(ws)
			g.kill()
		}
	}
}

// kill ends everything in the sandbox; init itself ends when it has waited for all.
// Before the command has started, init is all there is.
func (g *guest) kill() {
	g.starting.Lock()
	defer g.starting.Unlock()
	if !g.started {
		unix.Exit(1)
	}
	g.killing.Do(func() { go g.killAll() })
}

func (g *guest) exitStatus(ws unix.WaitStatus) ExitStatus {
	if !ws.Signaled() {
		return ExitStatus{Code: ws.ExitStatus()}
	}
	s := ExitStatus{Code: 128 + int(ws.Signal()), Signal: unix.SignalName(ws.Signal())}
	s.OOM = ws.Signal() == unix.SIGKILL && !g.killed.Load() && g.oomKills() > g.oom
	return s
}
