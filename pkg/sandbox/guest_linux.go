package sandbox

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// defaultPath is what container runtimes give a command without a PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// start starts the command inside. users are the user numbers that exist here.
func (g *guest) start(users []idRange) error {
	id, err := g.identity(users)
	if err != nil {
		return err
	}
	env := withDefault(withDefault(g.Env, "PATH", defaultPath), "HOME", id.Home)
	dir, err := g.workingDirectory()
	if err != nil {
		return err
	}
	path, err := g.lookPath(dir, lookupEnv(env, "PATH"))
	if err != nil {
		return err
	}
	sys, err := g.userAttributes(id)
	if err != nil {
		return err
	}
	syscall.Umask(0o022)
	g.oom = g.oomKills()
	attr := &syscall.ProcAttr{Dir: dir, Env: env, Files: []uintptr{0, 1, 2}, Sys: sys}
	confineErr, execErr := g.forkConfined(id, path, attr)
	if confineErr != nil {
		return confineErr
	}
	if execErr != nil {
		return g.explain(execErr, path, dir, id)
	}
	return nil
}

// forkConfined starts the command from a thread that is confined itself, since
// what confines is inherited, and that never ends: the parent-death signal would
// come with its end.
func (g *guest) forkConfined(id identity, path string, attr *syscall.ProcAttr) (confineErr, execErr error) {
	done := make(chan struct{})
	g.starting.Lock()
	defer g.starting.Unlock()
	go func() {
		runtime.LockOSThread()
		if confineErr = g.confine(id); confineErr == nil {
			var pid int
			pid, execErr = syscall.ForkExec(path, g.Args, attr)
			g.pid.Store(int64(pid))
		}
		close(done)
		select {}
	}()
	<-done
	g.started = confineErr == nil && execErr == nil
	return confineErr, execErr
}

// identity finds the user.
func (g *guest) identity(users []idRange) (identity, error) {
	passwd, err := readSmallFile("/etc/passwd")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return identity{}, g.startError(126, "find the user: %v", err)
	}
	group, err := readSmallFile("/etc/group")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return identity{}, g.startError(126, "find the user's groups: %v", err)
	}
	id, err := lookupUser(g.User, passwd, group)
	if err != nil {
		return identity{}, g.startError(126, "%v", err)
	}
	if g.Mode != SingleUserNamespace && !contains(users, id.UID) {
		return identity{}, g.startError(126,
			"user %d is not among the users that exist in this sandbox (mode %s)", id.UID, g.Mode)
	}
	return id, nil
}

// userAttributes returns how to become the user.
func (g *guest) userAttributes(id identity) (*syscall.SysProcAttr, error) {
	sys := &syscall.SysProcAttr{Setsid: true}
	if g.Mode == ChrootLandlock {
		sys.Pdeathsig = unix.SIGKILL
	}
	if g.Mode != SingleUserNamespace {
		c := &syscall.Credential{Uid: uint32(id.UID), Gid: uint32(id.GID)}
		for _, gid := range id.Groups {
			c.Groups = append(c.Groups, uint32(gid))
		}
		sys.Credential = c
		// Programs open /dev/stdout, and may only if it is theirs.
		for _, fd := range []int{0, 1, 2} {
			var st unix.Stat_t
			if unix.Fstat(fd, &st) == nil && (st.Mode&unix.S_IFMT == unix.S_IFIFO || st.Mode&unix.S_IFMT == unix.S_IFSOCK) {
				_ = unix.Fchown(fd, id.UID, id.GID)
			}
		}
		return sys, nil
	}
	if len(id.Groups) > 0 {
		g.note("the supplementary groups of user %d are not set", id.UID)
	}
	if id.UID == 0 && id.GID == 0 {
		return sys, nil
	}
	if g.foreignProc {
		// Go writes the map of the new namespace to /proc/PID.
		return nil, fmt.Errorf("run as user %d: only root's own number can be had where a fresh /proc is forbidden", id.UID)
	}
	// The only user here takes another number in a namespace of its own.
	sys.Cloneflags = unix.CLONE_NEWUSER
	sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: id.UID, HostID: 0, Size: 1}}
	sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: id.GID, HostID: 0, Size: 1}}
	return sys, nil
}

// workingDirectory returns the directory to start in, and makes it if need be, as
// container runtimes do.
func (g *guest) workingDirectory() (string, error) {
	dir := filepath.Join("/", g.Dir)
	fi, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(dir, 0o755)
	} else if err == nil && !fi.IsDir() {
		err = unix.ENOTDIR
	}
	if err != nil {
		return "", g.startError(126, "working directory %s: %v", dir, plainCause(err))
	}
	return dir, nil
}

// lookPath finds Args[0], relative to dir when it has a slash, else in path.
func (g *guest) lookPath(dir, path string) (string, error) {
	name := g.Args[0]
	if strings.Contains(name, "/") {
		return g.executable(absolute(dir, name))
	}
	var inTheWay error
	for _, d := range filepath.SplitList(path) {
		p, err := g.executable(filepath.Join(absolute(dir, d), name))
		if err == nil {
			return p, nil
		}
		if start, ok := errors.AsType[*StartError](err); ok && start.ExitCode != 127 && inTheWay == nil {
			inTheWay = err
		}
	}
	if inTheWay != nil {
		return "", inTheWay
	}
	err := g.startError(127, "executable %q not found in $PATH (%s)", name, path)
	err.hint = "check the image's ENTRYPOINT and CMD, and that the image holds the program"
	return "", err
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// executable returns path if it can be executed by somebody.
func (g *guest) executable(path string) (string, error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		return "", g.startError(127, "executable %q not found", path)
	case err != nil:
		return "", g.startError(126, "%s: %v", path, plainCause(err))
	case fi.IsDir():
		return "", g.startError(126, "%s is a directory", path)
	case fi.Mode()&0o111 == 0:
		err := g.startError(126, "%s is not executable (its mode is %#o)", path, fi.Mode().Perm())
		err.hint = "set its executable bit, or give its interpreter as the command"
		return "", err
	}
	return path, nil
}

func (g *guest) startError(code int, format string, args ...any) *StartError {
	return &StartError{Arg: g.Args[0], Reason: fmt.Sprintf(format, args...), ExitCode: code}
}

// plainCause drops the path that the message names already.
func plainCause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// explain says why a file that is there could not be executed.
func (g *guest) explain(err error, path, dir string, id identity) error {
	e := g.startError(126, "execute %s: %v", path, err)
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOEXEC):
		if reason, hint := misfit(path); reason != "" {
			e.Reason, e.hint = fmt.Sprintf("execute %s: %s", path, reason), hint
		}
	case errors.Is(err, unix.EACCES):
		e.Reason = fmt.Sprintf("execute %s in %s as user %d:%d: %v", path, dir, id.UID, id.GID, err)
	}
	return e
}

// misfit says what keeps the kernel from running a program: an interpreter or
// loader that is not there, or another machine's code.
func misfit(path string) (reason, hint string) {
	f, err := os.Open(path)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	head := make([]byte, 256) // what the kernel looks at (BINPRM_BUF_SIZE)
	n, _ := f.Read(head)
	if line, ok := strings.CutPrefix(string(head[:n]), "#!"); ok {
		line, _, _ = strings.Cut(line, "\n")
		words := strings.Fields(strings.TrimRight(line, "\r"))
		if strings.HasSuffix(line, "\r") {
			return "its first line ends in a carriage return", "save the script with Unix line ends"
		}
		if len(words) > 0 {
			return fmt.Sprintf("its interpreter %q is not in the image", words[0]), "install it, or start another program"
		}
		return "its first line names no interpreter", ""
	}
	program, err := elf.NewFile(f)
	if err != nil {
		return "it is neither a program nor a script that begins with #!", "begin the script with #!/bin/sh or the like"
	}
	if want := machines[runtime.GOARCH]; program.Machine != want && want != 0 {
		return fmt.Sprintf("it is a program for %s, and this machine is %s", machineName(program.Machine), machineName(want)),
			"build the image for this machine's platform"
	}
	for _, p := range program.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err == nil {
			return fmt.Sprintf("the loader it needs, %s, is not in the image", strings.TrimRight(string(name), "\x00")),
				"the program was built for another C library than the image has (glibc or musl)"
		}
	}
	return "", ""
}

var machines = map[string]elf.Machine{
	"386": elf.EM_386, "amd64": elf.EM_X86_64, "arm": elf.EM_ARM, "arm64": elf.EM_AARCH64,
	"ppc64le": elf.EM_PPC64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390,
}

func machineName(m elf.Machine) string {
	return strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))
}

func lookupEnv(env []string, key string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, key+"="); ok {
			return v
		}
	}
	return ""
}

// withDefault adds KEY=value unless env has the key.
func withDefault(env []string, key, value string) []string {
	for _, e := range env {
		if strings.HasPrefix(e, key+"=") {
			return env
		}
	}
	return append(env[:len(env):len(env)], key+"="+value)
}

// idRange is a range of numbers that exist in a user namespace.
type idRange struct{ first, count int }

// readUserMap reads this process's user map; nil when there is none to be read.
func readUserMap() []idRange {
	m, err := identityMap("/proc/self/uid_map")
	if err != nil {
		return nil
	}
	var users []idRange
	for _, e := range m {
		users = append(users, idRange{e.ContainerID, e.Size})
	}
	return users
}

func contains(users []idRange, uid int) bool {
	for _, r := range users {
		if uid >= r.first && uid-r.first < r.count {
			return true
		}
	}
	return users == nil
}
