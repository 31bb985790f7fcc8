package sandbox

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// What a command must not be able to do, as root of the image and otherwise.
func TestConfined(t *testing.T) {
	rootfs := newRootfs(t)
	secret := filepath.Join(userDir(t), "secret")
	check(t, os.WriteFile(secret, []byte("secret"), 0o600))
	outsider := startOutsider(t)
	socket := fmt.Sprintf("sandbox-test-%d", os.Getpid())
	listener, err := net.Listen("unix", "@"+socket)
	check(t, err)
	defer listener.Close()
	abi, _ := landlockABI()

	forEachMode(t, func(t *testing.T, mode Mode) {
		for _, user := range []string{"", "web"} {
			out, status := run(t, Command{Rootfs: rootfs, Mode: mode, User: user, Args: []string{"guest", "escape", secret, "and change"}})
			b, err := os.ReadFile(secret)
			fi, serr := os.Stat(secret)
			if status.Code != 0 || err != nil || string(b) != "secret" || serr != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("user %q escaped: %v %s\n%s", user, status, b, out)
			}
			out, status = run(t, Command{Rootfs: rootfs, Mode: mode, User: user, Args: []string{"guest", "mknod"}})
			if status.Code != 0 {
				t.Errorf("user %q opened a disk: %s", user, out)
			}
			out, _ = run(t, Command{Rootfs: rootfs, Mode: mode, User: user, Args: []string{"guest", "kill", fmt.Sprint(outsider)}})
			if want := "no such process\n"; out != want && (mode != ChrootLandlock || out != "operation not permitted\n") {
				t.Errorf("user %q could signal a process outside: %s", user, out)
			}
			if abi >= 6 {
				out, status = run(t, Command{Rootfs: rootfs, Mode: mode, User: user, Args: []string{"guest", "abstract", socket}})
				if status.Code != 0 {
					t.Errorf("user %q reached an abstract socket outside: %s", user, out)
				}
			}
		}
		out, _ := run(t, Command{Rootfs: rootfs, Mode: mode, Args: []string{"guest", "caps"}})
		want := "euid 0 effective a80425fb inheritable 0 no_new_privs 0\n" // Docker's fourteen
		if mode == ChrootLandlock {
			want = fmt.Sprintf("euid 0 effective %x inheritable 0 no_new_privs 1\n", uint64(0xa80425fb)&^(1<<unix.CAP_SYS_CHROOT|1<<unix.CAP_MKNOD))
		}
		if out != want {
			t.Errorf("root: %s, want %s", out, want)
		}
		out, _ = run(t, Command{Rootfs: rootfs, Mode: mode, User: "web", Args: []string{"guest", "setuid"}})
		if want := "euid 33 effective 0 inheritable 0 no_new_privs 1\n"; out != want {
			t.Errorf("by a set-user-ID program: %s, want %s", out, want)
		}
		if mode == ChrootLandlock {
			return
		}
		for _, args := range [][]string{
			{"write", "/proc/sys/kernel/core_pattern"}, {"write", "/proc/sysrq-trigger"}, {"write", "/etc/hosts"},
			{"write", "/sys/kernel/uevent_helper"}, {"chmod", "/dev/null"}, {"chmod", "/sys/kernel"},
		} {
			var errs bytes.Buffer
			p, _ := begin(t, Command{Rootfs: rootfs, Mode: mode, Args: append([]string{"guest"}, args...), Stderr: &errs,
				Files: map[string][]byte{"/etc/hosts": nil}}, allBarriers)
			if _, err := p.Wait(); err != nil || !regexp.MustCompile("read-only|no such file").MatchString(errs.String()) {
				t.Errorf("%v: %s (%v)", args, errs.String(), err)
			}
		}
	})
}

// startOutsider starts a process that a sandbox must not reach.
func startOutsider(t *testing.T) int {
	t.Helper()
	p, err := os.StartProcess("/bin/sleep", []string{"sleep", "600"}, &os.ProcAttr{})
	check(t, err)
	t.Cleanup(func() {
		p.Signal(syscall.SIGKILL)
		if state, err := p.Wait(); err != nil || state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Error("the process outside ended before:", state, err)
		}
	})
	return p.Pid
}

// Each of the things that make up a mode, where this machine would not take the
// way by itself.
func TestFallbacks(t *testing.T) {
	rootfs := newRootfs(t)
	secret := filepath.Join(userDir(t), "secret")
	check(t, os.WriteFile(secret, []byte("secret"), 0o600))
	forEachMode(t, func(t *testing.T, mode Mode) {
		try := func(only barrier, args ...string) (string, *Process) {
			var out bytes.Buffer
			p, errs := begin(t, Command{Rootfs: rootfs, Mode: mode, Args: append([]string{"/bin/guest"}, args...), Stdout: &out}, only)
			if status, err := p.Wait(); err != nil || status.Code != 0 {
				t.Errorf("%v: %v %v %s", args, status, err, errs)
			}
			return out.String(), p
		}
		if mode == ChrootLandlock {
			// Landlock alone: root may chroot, and still can read nothing.
			try(onlyLandlock, "escape", secret)
			return
		}
		t.Run("copy", func(t *testing.T) {
			out, p := try(copyRootfs, "stat", "/bin/setuid/guest", "/tmp", "/etc/resolv.conf")
			want := "/bin/setuid/guest 104755 0:0\n/tmp 41777 0:0\n/etc/resolv.conf 120777 0:0\n"
			if diff := cmp.Diff(want, out); diff != "" {
				t.Error(diff)
			}
			if notes := strings.Join(p.Notes(), "\n"); !strings.Contains(notes, "each start copies") {
				t.Error(notes)
			}
		})
		t.Run("kernel before 5.12", func(t *testing.T) {
			out, _ := try(oldKernel, "cat", "/proc/self/mountinfo")
			for line := range strings.Lines(out) {
				f := strings.Fields(line)
				if strings.HasPrefix(f[4], "/sys") && !strings.HasPrefix(f[5], "ro,") {
					t.Error(line)
				}
			}
		})
		if mode == Namespaces {
			return
		}
		t.Run("no fresh proc", func(t *testing.T) {
			out, _ := try(hostProc, "cat", "/proc/self/stat", "/proc/self/mountinfo")
			if !strings.Contains(out, "/ /proc ro") {
				t.Error(out)
			}
			try(hostProc, "escape", secret)
		})
	})
}
