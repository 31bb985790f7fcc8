package sandbox

import (
	"debug/elf"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test program is also the program that runs in the sandboxes of the tests,
// as /bin/guest, and the one that simulates a container engine's restrictions.
func TestMain(m *testing.M) {
	Main()
	switch filepath.Base(os.Args[0]) {
	case "guest":
		unix.Exit(runGuest(os.Args[1:])) // os.Exit takes a second under the race detector
	case "boxed":
		enterBox()
	case "parent":
		runParent()
	}
	os.Exit(m.Run())
}

// runGuest does what the arguments say, in a sandbox, and returns an exit status.
func runGuest(args []string) int {
	code, err := guestCommands[args[0]](args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		return 99
	}
	return code
}

var guestCommands = map[string]func(args []string) (int, error){
	"exit": func(args []string) (int, error) { return strconv.Atoi(args[0]) },
	"both": func([]string) (int, error) {
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		return 0, nil
	},
	"env": func([]string) (int, error) {
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
		return 0, nil
	},
	"where": func([]string) (int, error) {
		dir, err := os.Getwd()
		host, _ := os.Hostname()
		fmt.Println(dir, host)
		return 0, err
	},
	"id": func([]string) (int, error) {
		groups, err := os.Getgroups()
		slices.Sort(groups)
		fmt.Println(os.Getuid(), os.Getgid(), groups)
		return 0, err
	},
	"cat": func(args []string) (int, error) {
		for _, path := range args {
			b, err := os.ReadFile(path)
			if err != nil {
				return 0, err
			}
			os.Stdout.Write(b)
		}
		return 0, nil
	},
	// upper prints its standard input in capitals.
	"upper": func([]string) (int, error) {
		b, err := io.ReadAll(os.Stdin)
		fmt.Print(strings.ToUpper(string(b)))
		return 0, err
	},
	// head prints as many bytes of its standard input and closes it; with another
	// argument it then waits to be killed.
	"head": func(args []string) (int, error) {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return 0, err
		}
		if _, err := io.CopyN(os.Stdout, os.Stdin, int64(n)); err != nil {
			return 0, err
		}
		os.Stdin.Close()
		if len(args) > 1 {
			time.Sleep(time.Hour)
		}
		return 0, nil
	},
	"network": network,
	"stat": func(args []string) (int, error) {
		for _, path := range args {
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				return 0, &os.PathError{Op: "lstat", Path: path, Err: err}
			}
			fmt.Printf("%s %o %d:%d\n", path, st.Mode, st.Uid, st.Gid)
		}
		return 0, nil
	},
	"write": func(args []string) (int, error) {
		for _, path := range args {
			if err := os.WriteFile(path, []byte("written\n"), 0o644); err != nil {
				return 0, err
			}
		}
		return 0, nil
	},
	"die": func(args []string) (int, error) {
		sig, err := strconv.Atoi(args[0])
		if err != nil {
			return 0, err
		}
		signal.Reset(syscall.Signal(sig))
		if err := unix.Kill(os.Getpid(), syscall.Signal(sig)); err != nil {
			return 0, err
		}
		time.Sleep(time.Minute)
		return 0, nil
	},
	// on waits for the signals given, says which came, and exits with 7.
	"on": func(args []string) (int, error) {
		c := make(chan os.Signal, 1)
		for _, a := range args {
			n, err := strconv.Atoi(a)
			if err != nil {
				return 0, err
			}
			signal.Notify(c, syscall.Signal(n))
		}
		fmt.Println("ready")
		fmt.Println(<-c)
		return 7, nil
	},
	// stubborn does not end for anything but SIGKILL.
	"stubborn": func([]string) (int, error) {
		signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
		fmt.Println("ready")
		time.Sleep(time.Hour)
		return 0, nil
	},
	// family leaves a daemon in a session of its own behind, prints "ready", and
	// ends when the first argument says so. The others are for the process list.
	"family": func(args []string) (int, error) {
		if args[0] == "middle" { // its parent ends, so its child is an orphan
			return 0, startGuest(append([]string{"stubborn"}, args[1:]...)...)
		}
		if err := startGuest(append([]string{"family", "middle"}, args[1:]...)...); err != nil {
			return 0, err
		}
		fmt.Println("ready")
		if args[0] == "stay" {
			time.Sleep(time.Hour)
		}
		return 0, nil
	},
	// zombies starts children that orphan theirs, which end at once, and says how
	// many of them nobody has reaped.
	"zombies": func([]string) (int, error) {
		for range 3 {
			cmd := exec.Command("/bin/guest", "orphan")
			if err := cmd.Run(); err != nil {
				return 0, err
			}
		}
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			processes, zombies, err := countProcesses()
			if err != nil || (zombies == 0 && processes == 2) || time.Now().After(end) {
				fmt.Println(processes, "processes,", zombies, "zombies")
				return 0, err
			}
		}
	},
	"orphan":   func([]string) (int, error) { return 0, startGuest("exit", "0") },
	"serve":    serve,
	"escape":   escape,
	"fds":      openFiles,
	"limits":   limits,
	"setuid":   becomeByProgram,
	"caps":     capabilities,
	"kill":     killOutside,
	"abstract": dialAbstract,
	"devices":  tryDevices,
	"chmod":    func(args []string) (int, error) { return 0, os.Chmod(args[0], 0o600) },
	"mknod": func([]string) (int, error) {
		// The disk's number; opening it must fail where making it does not.
		if err := unix.Mknod("/tmp/disk", unix.S_IFBLK|0o600, int(unix.Mkdev(254, 0))); err != nil {
			fmt.Println("mknod:", err)
			return 0, nil
		}
		if _, err := os.Open("/tmp/disk"); err != nil {
			fmt.Println("open:", err)
			return 0, nil
		}
		return 1, nil
	},
}

func startGuest(args ...string) error {
	cmd := exec.Command("/bin/guest", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

func countProcesses() (processes, zombies int, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		b, err := os.ReadFile(s)
		if err != nil {
			continue
		}
		processes++
		if strings.HasPrefix(string(b[strings.LastIndexByte(string(b), ')')+1:]), " Z") {
			zombies++
		}
	}
	return processes, zombies, err
}

func serve(args []string) (int, error) {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return 0, err
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return 0, err
		}
		io.WriteString(c, "hello from inside\n")
		c.Close()
	}
}

// network tries to reach the TCP address given, and says what there is of a
// network.
func network(args []string) (int, error) {
	c, err := net.Dial("tcp", args[0])
	if err == nil {
		c.Close()
	}
	fmt.Println("outside:", err == nil)
	interfaces, err := net.Interfaces()
	for _, i := range interfaces {
		fmt.Println(i.Name, i.Flags&net.FlagUp != 0)
	}
	if err != nil {
		fmt.Println("no interfaces")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		_, err = net.Dial("tcp", l.Addr().String())
	}
	fmt.Println("loopback:", err == nil)
	for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_PACKET, unix.AF_VSOCK, unix.AF_NETLINK} {
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW} {
			if fd, err := unix.Socket(family, kind, 0); err == nil {
				unix.Close(fd)
				fmt.Println("socket of family", family)
				break
			}
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); errno != unix.ENOSYS {
		fmt.Println("io_uring:", errno)
	}
	_, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	fmt.Println("Unix sockets:", err == nil)
	return 0, nil
}

// escape tries the ways out of a chroot that root has, and then to read and to
// change the file given, as the machine names it.
func escape(args []string) (int, error) {
	os.Mkdir("/tmp/jail", 0o755)
	out, err := os.Open("/")
	if err != nil {
		return 0, err
	}
	if err := unix.Chroot("/tmp/jail"); err != nil {
		fmt.Println("chroot:", err)
	} else {
		if err := out.Chdir(); err != nil {
			return 0, err
		}
		for range 64 {
			os.Chdir("..")
		}
		if err := unix.Chroot("."); err != nil {
			return 0, err
		}
	}
	for _, path := range []string{args[0], "/proc/1/root" + args[0], "/proc/self/root" + args[0]} {
		if b, err := os.ReadFile(path); err == nil {
			fmt.Printf("read %s: %s\n", path, b)
			return 1, nil
		}
		if err := os.WriteFile(path, []byte("taken"), 0o600); err == nil {
			if _, err := os.Stat(path); err == nil {
				fmt.Println("wrote", path) // the test sees whether it is the machine's
			}
		}
		if len(args) > 1 {
			if err := os.Chmod(args[0], 0o777); err == nil {
				fmt.Println("changed the mode of", args[0])
			}
		}
	}
	return 0, nil
}

func openFiles([]string) (int, error) {
	for fd := range 256 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
				fmt.Print(fd, " ") // Go's own are close-on-exec
			}
		}
	}
	fmt.Println()
	return 0, nil
}

func limits([]string) (int, error) {
	var files, core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return 0, err
	}
	err := unix.Getrlimit(unix.RLIMIT_CORE, &core)
	mask := unix.Umask(0)
	fmt.Printf("files %d core %d umask %03o\n", files.Max, core.Max, mask)
	return 0, err
}

// becomeByProgram runs a set-user-ID program of root.
func becomeByProgram([]string) (int, error) {
	cmd := exec.Command("/bin/setuid/guest", "caps")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return 0, cmd.Run()
}

func capabilities([]string) (int, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, err
	}
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	fmt.Printf("euid %d effective %x inheritable %x no_new_privs %d\n", os.Geteuid(),
		uint64(data[1].Effective)<<32|uint64(data[0].Effective),
		uint64(data[1].Inheritable)<<32|uint64(data[0].Inheritable), nnp)
	return 0, err
}

func killOutside(args []string) (int, error) {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return 0, err
	}
	fmt.Println(unix.Kill(pid, unix.SIGTERM))
	return 0, nil
}

func dialAbstract(args []string) (int, error) {
	c, err := net.Dial("unix", "@"+args[0])
	if err == nil {
		c.Close()
		return 1, nil
	}
	fmt.Println("no")
	return 0, nil
}

func tryDevices([]string) (int, error) {
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		f, err := os.OpenFile("/dev/"+name, os.O_RDWR, 0)
		if err != nil {
			return 0, err
		}
		b := make([]byte, 4)
		n, rerr := f.Read(b)
		_, werr := f.Write(b)
		fmt.Println(name, n, rerr == io.EOF, werr == nil)
		f.Close()
	}
	return 0, os.WriteFile("/dev/shm/x", nil, 0o600)
}

// newRootfs makes a root filesystem around the test program. The program needs a
// loader and libraries when it was built for the race detector.
func newRootfs(t testing.TB) string {
	t.Helper()
	root := filepath.Join(userDir(t), "rootfs")
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{
		{"", 0o755}, {"bin", 0o755}, {"bin/setuid", 0o755}, {"etc", 0o755}, {"dev", 0o755}, {"proc", 0o755},
		{"sys", 0o755}, {"tmp", 0o777 | os.ModeSticky}, {"srv", 0o755},
	} {
		path := filepath.Join(root, d.path)
		check(t, os.Mkdir(path, 0o755))
		check(t, os.Chmod(path, d.mode))
	}
	const self = "/proc/self/exe" // its path may be closed to this user
	copyInto(t, self, root+"/bin/guest", 0o755)
	check(t, os.Link(root+"/bin/guest", root+"/bin/hardlink"))
	copyInto(t, self, root+"/bin/setuid/guest", 0o755|os.ModeSetuid)
	for _, lib := range libraries(t, self) {
		check(t, os.MkdirAll(root+filepath.Dir(lib), 0o755))
		copyInto(t, lib, root+lib, 0o755)
	}
	for path, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n# comment\nweb:x:33:34:Web:/srv:/bin/false\napp:x:1000:1000::/home/app:\n",
		"etc/group":  "root:x:0:\nweb:x:34:\nlog:x:4:web,app\nmedia:x:44:app\n",
		"etc/hosts":  "192.0.2.1 from-the-image\n",
		"srv/data":   "from the image\n",
	} {
		check(t, os.WriteFile(filepath.Join(root, path), []byte(text), 0o644))
	}
	check(t, os.Symlink("../run/nowhere/resolv.conf", root+"/etc/resolv.conf"))
	return root
}

func copyInto(t testing.TB, from, to string, mode os.FileMode) {
	t.Helper()
	in, err := os.Open(from)
	check(t, err)
	defer in.Close()
	out, err := os.Create(to)
	check(t, err)
	_, err = io.Copy(out, in)
	check(t, err)
	check(t, out.Close())
	check(t, os.Chmod(to, mode))
}

func libraries(t testing.TB, program string) (libs []string) {
	f, err := elf.Open(program)
	check(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b := make([]byte, p.Filesz)
			_, err := p.ReadAt(b, 0)
			check(t, err)
			libs = append(libs, strings.TrimRight(string(b), "\x00"))
		}
	}
	if libs == nil {
		return nil
	}
	needed, err := f.ImportedLibraries()
	check(t, err)
	for _, name := range append(needed, "libm.so.6", "libpthread.so.0") {
		for _, dir := range []string{"/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"} {
			if path := filepath.Join(dir, name); fileExists(path) && !slices.Contains(libs, path) {
				libs = append(libs, path)
				break
			}
		}
	}
	return libs
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// userDir is a temporary directory that every user may pass through, and that is
// removed with everything that subordinate users own in it.
func userDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sandbox-test-")
	check(t, err)
	check(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() {
		if err := RemoveAll(t.Context(), dir); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return dir
}
