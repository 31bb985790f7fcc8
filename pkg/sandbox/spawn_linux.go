package sandbox

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A re-executed stage knows itself by its argv[0].
const (
	// stageMap waits for its user map, which it needs for the rights of root, and
	// becomes stageInit.
	stageMap  = "boyabuild-sandbox-map"
	stageInit = "boyabuild-sandbox-init"
)

// File descriptors of a stage.
const (
	socketFD = 3 // to Start
	lockFD   = 4 // the scratch directory, whose lock lasts as long as the stage
	exeFD    = 5 // its own program
)

// mapped is what stageMap waits for.
const mapped = 'm'

// initProcess is a sandbox's init as its parent sees it.
type initProcess struct {
	cmd    *exec.Cmd
	socket *os.File
	orders *gob.Encoder
	events *gob.Decoder
	stdin  *stdin
	maps   *userMaps     // still to be given
	ended  chan struct{} // closed when cmd has been waited for
	err    error         // of that
}

// spawn starts init in the namespaces of the command's mode.
func spawn(c Command, lock *os.File) (*initProcess, error) {
	mode := c.Mode
	attr, maps, err := mode.namespaces()
	if err != nil {
		return nil, err
	}
	if c.NoNetwork && mode != ChrootLandlock {
		attr.Cloneflags |= unix.CLONE_NEWNET
	}
	// Ctrl-C at the terminal is for Start's program, which then stops the sandbox.
	attr.Setsid = true
	// Nothing may outlive Start's program, even when that is killed. With init its
	// PID namespace ends; without one, init must live on to end what it started, and
	// sees the socket close.
	if mode != ChrootLandlock {
		attr.Pdeathsig = unix.SIGKILL
	}
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	path, exe, err := ownProgram()
	if err != nil {
		ours.Close()
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: path, Args: []string{stageInit, c.Args[0]}, Env: []string{}, Dir: "/", // Args are for the process list
		Stdout: c.Stdout, Stderr: c.Stderr, ExtraFiles: []*os.File{theirs, lock}, SysProcAttr: attr,
	}
	if mode == ChrootLandlock {
		// Should init be killed, what the command started may hold the output open.
		cmd.WaitDelay = stopDelay
	}
	if maps != nil {
		cmd.Args[0] = stageMap
	}
	if exe != nil {
		defer exe.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, exe)
	}
	in, err := newStdin(c.Stdin, cmd)
	if err != nil {
		ours.Close()
		return nil, err
	}
	p := &initProcess{cmd: cmd, socket: ours, stdin: in, maps: maps, ended: make(chan struct{}),
		orders: gob.NewEncoder(ours), events: gob.NewDecoder(ours)}
	if err := p.start(); err != nil {
		ours.Close()
		in.close()
		return nil, cloneError(mode, err)
	}
	in.feed()
	return p, nil
}

// start starts the process from a thread that lives as long as the process does:
// the parent-death signal is sent when the thread that started it ends
// (prctl(2), PR_SET_PDEATHSIG).
func (p *initProcess) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.ended)
		}
	}()
	return <-started
}

// wait waits for the end of the process and of its output.
func (p *initProcess) wait() error {
	<-p.ended
	p.socket.Close()
	p.stdin.close()
	return p.err
}

func (p *initProcess) kill() { _ = p.cmd.Process.Kill() }

func (p *initProcess) send(v any) error { return p.orders.Encode(v) }

// socketpair returns both ends of a stream; ours can be closed while it is read.
func socketpair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "sandbox"), os.NewFile(uintptr(fds[1]), "sandbox"), nil
}

// ownProgram returns the path by which a child executes the program of this
// process, and the file behind that path if the child must be given it as exeFD.
//
// The file is a sealed copy in memory. What runs in the sandbox can come to hold
// the program that its init executes (by an entrypoint or interpreter
// /proc/self/exe) as the very user who may write to it on the machine; the copy is
// all that it can reach then (CVE-2019-5736). It also exists when the program was
// deleted or lies in a directory that the user cannot read.
func ownProgram() (path string, exe *os.File, err error) {
	const self = "/proc/self/exe"
	in, err := os.Open(self)
	if errors.Is(err, fs.ErrPermission) {
		return self, nil, nil // not readable, so not writable either
	}
	if err != nil {
		return "", nil, fmt.Errorf("find the running program: %w", err)
	}
	defer in.Close()
	fd, err := unix.MemfdCreate("boyabuild", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // MFD_EXEC is of Linux 6.3
		fd, err = unix.MemfdCreate("boyabuild", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return "", nil, fmt.Errorf("copy the running program: memfd_create: %w", err)
	}
	out := os.NewFile(uintptr(fd), "boyabuild")
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return "", nil, fmt.Errorf("copy the running program: %w", err)
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE
	if _, err := unix.FcntlInt(out.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		out.Close()
		return "", nil, fmt.Errorf("copy the running program: seal it: %w", err)
	}
	return "/proc/self/fd/" + strconv.Itoa(exeFD), out, nil
}

// namespaces returns how to start init in the mode, and the user map to give it
// once it runs when only a set-user-ID program may do so.
func (m Mode) namespaces() (*syscall.SysProcAttr, *userMaps, error) {
	const own = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	uid, gid := os.Geteuid(), os.Getegid()
	switch m {
	case Namespaces:
		return &syscall.SysProcAttr{Cloneflags: own}, nil, nil
	case RootUserNamespace:
		uids, err := identityMap("/proc/self/uid_map")
		if err != nil {
			return nil, nil, err
		}
		gids, err := identityMap("/proc/self/gid_map")
		if err != nil {
			return nil, nil, err
		}
		return &syscall.SysProcAttr{Cloneflags: own | unix.CLONE_NEWUSER, UidMappings: uids, GidMappings: gids,
			GidMappingsEnableSetgroups: true}, nil, nil
	case SingleUserNamespace:
		return &syscall.SysProcAttr{Cloneflags: own | unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}}, nil, nil
	case MappedUserNamespace:
		maps, err := subordinateMaps(uid, gid)
		return &syscall.SysProcAttr{Cloneflags: own | unix.CLONE_NEWUSER}, maps, err
	case ChrootLandlock:
		return &syscall.SysProcAttr{}, nil, nil
	}
	return nil, nil, fmt.Errorf("there is no mode %q", m)
}

// identityMap maps all ids that this process has to themselves. file is
// /proc/self/uid_map or gid_map (user_namespaces(7)).
func identityMap(file string) ([]syscall.SysProcIDMap, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var m []syscall.SysProcIDMap
	for line := range bytes.Lines(text) {
		var inside, outside, size int
		if _, err := fmt.Sscan(string(line), &inside, &outside, &size); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		m = append(m, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
	}
	return m, nil
}

// userMaps are the arguments of newuidmap(1) and newgidmap(1) after the process.
type userMaps struct {
	uid, gid []string
}

// subordinateMaps gives the user the id 0, and the ids that belong to the user in
// /etc/subuid and /etc/subgid the ones from 1 on.
func subordinateMaps(uid, gid int) (*userMaps, error) {
	name := ""
	if passwd, err := readSmallFile("/etc/passwd"); err == nil {
		if a, ok := findAccount(passwd, strconv.Itoa(uid)); ok {
			name = a.name
		}
	}
	uids, err := subordinateIDs("/etc/subuid", name, uid)
	if err != nil {
		return nil, err
	}
	gids, err := subordinateIDs("/etc/subgid", name, uid)
	if err != nil {
		return nil, err
	}
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is not installed", tool)
		}
	}
	return &userMaps{
		uid: append([]string{"0", strconv.Itoa(uid), "1"}, uids...),
		gid: append([]string{"0", strconv.Itoa(gid), "1"}, gids...),
	}, nil
}

// subordinateIDs returns the map "1 START COUNT" (and so on) of the ranges that a
// file like /etc/subuid (subuid(5)) gives to the user.
func subordinateIDs(file, name string, uid int) ([]string, error) {
	text, err := readSmallFile(file)
	if err != nil {
		return nil, err
	}
	var m []string
	next := 1
	fields(text, 3, func(f []string) bool {
		start, err1 := parseID(f[1])
		count, err2 := parseID(f[2])
		if err1 != nil || err2 != nil || count == 0 || f[0] == "" || (f[0] != name && f[0] != strconv.Itoa(uid)) {
			return true
		}
		m = append(m, strconv.Itoa(next), strconv.Itoa(start), strconv.Itoa(count))
		next += count
		return true
	})
	if m == nil {
		return nil, fmt.Errorf("%s has no range for user %d", file, uid)
	}
	return m, nil
}

// mapUsers gives a waiting stageMap its users.
func (p *initProcess) mapUsers() error {
	if p.maps == nil {
		return nil
	}
	pid := strconv.Itoa(p.cmd.Process.Pid)
	for _, run := range []struct {
		tool string
		args []string
	}{{"newuidmap", p.maps.uid}, {"newgidmap", p.maps.gid}} {
		out, err := exec.Command(run.tool, append([]string{pid}, run.args...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %s", run.tool, firstLine(out, err))
		}
	}
	_, err := p.socket.Write([]byte{mapped})
	return err
}

func firstLine(out []byte, err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line == "" {
		return err.Error()
	}
	return line
}

// cloneError says what could not be done when the first process did not start.
func cloneError(m Mode, err error) error {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return err
	}
	switch m {
	case ChrootLandlock:
		return fmt.Errorf("start the sandbox's init: %w", errno)
	case Namespaces:
		return fmt.Errorf("new namespaces: %w", errno)
	}
	return fmt.Errorf("new user namespace: %w", errno)
}

// readSmallFile reads a configuration file of at most a mebibyte, and nothing but
// a regular one: an image could have a pipe in its place.
func readSmallFile(path string) ([]byte, error) {
	f, err := os.OpenFile(filepath.Clean(path), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	const limit = 1 << 20 // etc/passwd of a large site is a tenth of it
	if !fi.Mode().IsRegular() || fi.Size() > limit {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", path, limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
