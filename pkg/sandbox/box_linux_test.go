package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// enterBox restricts this process as container engines do, with Docker's fourteen
// capabilities and a seccomp filter that forbids what its default profile forbids
// here, becomes the user of the first argument, and goes on as the test program
// with the remaining ones.
func enterBox() {
	runtime.LockOSThread()
	uid, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fatal(err)
	}
	if err := boundCapabilities(Namespaces); err != nil {
		fatal(err)
	}
	if err := forbid(); err != nil {
		fatal(err)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETUID, uintptr(uid), 0, 0); errno != 0 { // of this thread
		fatal(errno)
	}
	fatal(syscall.Exec("/proc/self/exe", append([]string{"sandbox.test"}, os.Args[2:]...), os.Environ()))
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(98)
}

// forbid installs the seccomp filter on this thread.
func forbid() error {
	const (
		load, jumpEqual, jumpSet, result = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K,
			unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, unix.BPF_RET | unix.BPF_K
		newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWUTS |
			unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP
		setFilter = 1 // SECCOMP_SET_MODE_FILTER
	)
	f := []unix.SockFilter{{Code: load, K: 0}} // seccomp_data.nr
	for _, nr := range []uint32{
		unix.SYS_UNSHARE, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_SETNS, unix.SYS_OPEN_TREE,
		unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_MOUNT_SETATTR, unix.SYS_KEYCTL,
	} {
		f = append(f, unix.SockFilter{Code: jumpEqual, K: nr, Jf: 1},
			unix.SockFilter{Code: result, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
	}
	f = append(f,
		unix.SockFilter{Code: jumpEqual, K: unix.SYS_CLONE3, Jf: 1},
		unix.SockFilter{Code: result, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		unix.SockFilter{Code: jumpEqual, K: unix.SYS_CLONE, Jf: 3},
		unix.SockFilter{Code: load, K: 16}, // the lower half of args[0]
		unix.SockFilter{Code: jumpSet, K: newNamespaces, Jf: 1},
		unix.SockFilter{Code: result, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		unix.SockFilter{Code: result, K: unix.SECCOMP_RET_ALLOW},
	)
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, setFilter, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// rerun runs tests of this program in another process, which prepare changes, and
// returns their output.
func rerun(t *testing.T, tests string, prepare func(*exec.Cmd)) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run", tests, "-test.v", "-test.count=1", "-test.timeout=3m")
	cmd.Dir = "/"
	prepare(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS") {
		t.Errorf("nothing was tested\n%s", out)
	}
	return string(out)
}

// everyMode are the tests that run for every mode that works.
const everyMode = "^(TestCommand|TestStartError|TestWrites|TestStop|TestConfined|TestPort|TestLeavesNothing)"

// A container with the usual restrictions: root, but no namespaces and no mounts.
func TestInContainer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can set up a container's restrictions")
	}
	if _, err := landlockABI(); err != nil {
		t.Skip(err)
	}
	out := rerun(t, "^(TestCommand|TestConfined|TestLeavesNothing|TestShowReport)$", func(cmd *exec.Cmd) { cmd.Args = append([]string{"boxed", "0"}, cmd.Args[1:]...) })
	for _, want := range []string{
		"sandbox: chroot+landlock", "root-user-namespace    new user namespace: operation not permitted",
		"namespaces             new namespaces: operation not permitted",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the report does not say %q:\n%s", want, out)
		}
	}
}

// nobodyInParticular is a user whom no file of the machine knows, and who
// therefore has no subordinate users.
const nobodyInParticular = 64321

func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user; the other tests ran as this one")
	}
	rerun(t, everyMode, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyInParticular, Gid: nobodyInParticular}}
	})
}

// An ordinary user in such a container has nothing left.
func TestNoneWorks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can set up a container's restrictions")
	}
	out := rerun(t, "^TestShowReport$", func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"boxed", strconv.Itoa(nobodyInParticular)}, cmd.Args[1:]...)
	})
	for _, want := range []string{
		"sandbox: none works on this machine",
		"no sandbox can be made on this machine (a seccomp filter is active",
		": mapped-user-namespace: /etc/subuid has no range for user 64321; single-user-namespace: new user namespace: operation not permitted",
		"hint: run as root",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the report does not say %q:\n%s", want, out)
		}
	}
}

// TestShowReport says what Probe finds, to whoever runs it, and to the tests above.
func TestShowReport(t *testing.T) {
	report, err := Probe(t.Context(), userDir(t))
	t.Logf("%s%v", report, err)
	if none, ok := errors.AsType[*UnavailableError](err); ok {
		t.Logf("hint: %s", none.Hint())
	} else if err != nil {
		t.Error(err)
	}
}

// runParent is a program that starts a sandbox, for the tests that kill it.
func runParent() {
	mode, rootfs, scratch, marker := Mode(os.Args[1]), os.Args[2], os.Args[3], os.Args[4]
	p, err := Start(context.Background(), Command{
		Rootfs: rootfs, Scratch: scratch, Mode: mode, Args: []string{"/bin/guest", "family", "stay", marker}, Stdout: os.Stdout,
	})
	if err != nil {
		fatal(err)
	}
	_, err = p.Wait()
	fatal(fmt.Errorf("the command ended: %w", err))
}

// processesWith returns the command lines of this machine's processes that have
// the marker in them.
func processesWith(marker string) (found []string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if line := strings.ReplaceAll(string(b), "\x00", " "); err == nil && strings.Contains(line, marker) {
			found = append(found, e.Name()+": "+line)
		}
	}
	return found
}

// awaitNone waits until no process has the marker.
func awaitNone(t *testing.T, marker string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		left := processesWith(marker)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still there:\n%s", strings.Join(left, "\n"))
		}
	}
}

// Killing the program that started a sandbox leaves no process behind, and its
// scratch directory can be used again.
func TestLeavesNothing(t *testing.T) {
	forEachMode(t, func(t *testing.T, mode Mode) {
		marker := fmt.Sprintf("marker-%d-%s", os.Getpid(), mode)
		rootfs, scratch := newRootfs(t), userDir(t)+"/scratch"
		parent := exec.Command("/proc/self/exe", string(mode), rootfs, scratch, marker)
		parent.Args[0] = "parent"
		parent.Stderr = os.Stderr
		out, err := parent.StdoutPipe()
		check(t, err)
		check(t, parent.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || line != "ready\n" {
			t.Errorf("got %q, %v", line, err)
		}
		for end := time.Now().Add(5 * time.Second); len(processesWith("stubborn\x00"+marker)) == 0 && len(processesWith("stubborn "+marker)) == 0 && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		if n := len(processesWith(marker)); n < 3 { // parent, command, daemon
			t.Errorf("only %d processes have the marker", n)
		}
		check(t, parent.Process.Kill())
		_ = parent.Wait()
		awaitNone(t, marker)
		output, status := run(t, Command{Rootfs: rootfs, Scratch: scratch, Mode: mode, Args: []string{"guest", "both"}})
		if status.Code != 0 || output != "to stdout\n" {
			t.Errorf("afterwards: %v %q", status, output)
		}
	})
}
