package sandbox

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// enterChroot copies the image and moves init, and so all that it starts, into the
// copy. This alone would hold no root; the Landlock domain and the missing
// capabilities that confine() adds do.
func (g *guest) enterChroot() (err error) {
	if _, err := landlockABI(); err != nil {
		return err
	}
	// Without a PID namespace, what is to be killed in the end is found there.
	if g.procfs, err = os.Open("/proc"); err != nil {
		return err
	}
	root := filepath.Join(g.Scratch, copyDir)
	if err := copyTree(g.Rootfs, root); err != nil {
		return fmt.Errorf("copy the root filesystem: %w", err)
	}
	if err := unix.Chroot(root); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	g.note("no /proc, no own process table or host name; each start copies the root filesystem")
	if err := makeDev(); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(g.Files)) {
		if err := filePoint(path); err != nil {
			return fmt.Errorf("show %s: %w", path, err)
		}
		if err := os.WriteFile(path, g.Files[path], 0o644); err != nil {
			return fmt.Errorf("show %s: %w", path, err)
		}
	}
	return nil
}

// makeDev makes the device nodes. There are no /dev/fd and /dev/stdout: without
// /proc they would lead nowhere, and a program that opens them would fail instead
// of making a file.
func makeDev() error {
	if err := mountPoint("/dev"); err != nil {
		return err
	}
	for _, d := range devices {
		path := "/dev/" + d.name
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("make %s: %w", path, err)
		}
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("the scratch directory's filesystem cannot hold devices: %w", err)
	}
	null.Close()
	if err := os.RemoveAll("/dev/shm"); err != nil {
		return err
	}
	if err := os.Mkdir("/dev/shm", 0o777); err != nil {
		return err
	}
	return os.Chmod("/dev/shm", os.ModeSticky|0o777)
}

// killAll kills every process in the sandbox but init.
func (g *guest) killAll() {
	if g.Mode != ChrootLandlock {
		_ = unix.Kill(-1, unix.SIGKILL) // init's PID namespace ends at its processes
		return
	}
	// Orphans become init's children when their parent dies, so in the end all are.
	// That one look at the process table finds none proves nothing: what was just
	// forked was not in it. When none is left, reap returns and init exits.
	for {
		g.killChildren()
		time.Sleep(time.Millisecond)
	}
}

// killChildren kills every child of init in the process table.
func (g *guest) killChildren() {
	if _, err := g.procfs.Seek(0, io.SeekStart); err != nil {
		return
	}
	names, err := g.procfs.Readdirnames(-1)
	if err != nil {
		return
	}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && g.parentOf(name) == os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// parentOf returns the parent of a process, 0 if there is no such process
// (proc_pid_stat(5)). The second field, a name in parentheses, may hold anything.
func (g *guest) parentOf(pid string) int {
	fd, err := unix.Openat(int(g.procfs.Fd()), pid+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var buf [512]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return 0
	}
	text := string(buf[:n])
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(f[1])
	return parent
}

// oomKills returns how many processes the kernel has killed for want of memory.
func (g *guest) oomKills() int64 {
	if g.vmstat == nil {
		return 0
	}
	buf := make([]byte, 64<<10)
	n, err := g.vmstat.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	for line := range strings.Lines(string(buf[:n])) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			kills, _ := strconv.ParseInt(strings.TrimSpace(count), 10, 64)
			return kills
		}
	}
	return 0
}
