package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Mount points are made only after the machine's files are gone, so that no
// symbolic link in an image can lead a mount to them. What is to be seen of the
// machine is opened before, as mounts of their own that hang nowhere.

// devices are the machine's device nodes that every container has, with their
// numbers (Linux's admin-guide/devices.txt).
var devices = []struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

// hostTrees are unattached mounts: the machine's /dev/*, /sys and /proc, and a
// fresh /proc. That one, too, must be made before the machine's files are gone: a
// user namespace may only mount a /proc while it sees another one whole.
type hostTrees struct {
	dev                map[string]int
	sys, proc, ownProc int // -1: could not be had
	ownProcErr         error
}

func (g *guest) openHostTrees() (*hostTrees, error) {
	h := &hostTrees{dev: map[string]int{}}
	for _, d := range devices {
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/dev/"+d.name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENXIO) {
			continue // no such device
		}
		if errors.Is(err, unix.ENOSYS) {
			err = fmt.Errorf("%w (of Linux 5.2)", err)
		}
		if err != nil {
			h.close()
			return nil, fmt.Errorf("open_tree /dev/%s: %w", d.name, err)
		}
		h.dev[d.name] = fd
	}
	const all = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE
	h.sys, _ = unix.OpenTree(unix.AT_FDCWD, "/sys", all)
	h.proc, _ = unix.OpenTree(unix.AT_FDCWD, "/proc", all)
	h.ownProc, h.ownProcErr = -1, unix.EPERM
	if g.Only != hostProc {
		h.ownProc, h.ownProcErr = newProc()
	}
	return h, nil
}

// newProc makes the /proc of this PID namespace.
func newProc() (int, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC,
		unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

func (h *hostTrees) close() {
	for _, fd := range h.dev {
		unix.Close(fd)
	}
	for _, fd := range []int{h.proc, h.ownProc, h.sys} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func attach(tree int, path string) error {
	return unix.MoveMount(tree, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// mountPoint makes sure that path is a directory, and not a link to one.
func mountPoint(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Mkdir(path, 0o755)
	}
	if err == nil && !fi.IsDir() {
		return fmt.Errorf("%s is not a directory in the image", path)
	}
	return err
}

// mountDev makes /dev.
func (g *guest) mountDev(host *hostTrees) error {
	if err := mountPoint("/dev"); err != nil {
		return err
	}
	// 64 KiB would do for the entries, the rest is for Command.Files.
	err := unix.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=16m")
	if err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	for name, tree := range host.dev {
		path := "/dev/" + name
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			return err
		}
		if err := attach(tree, path); err != nil {
			return fmt.Errorf("bind %s: %w", path, err)
		}
		// A device on a read-only mount can be written to; its mode and owner, which
		// are the machine's, cannot be changed.
		if err := g.protect(path, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, false); err != nil {
			return err
		}
	}
	if _, ok := host.dev["null"]; !ok {
		return errors.New("this machine has no /dev/null")
	}
	if err := g.mountTerminals(); err != nil {
		return err
	}
	if err := os.Mkdir("/dev/shm", 0o1777); err != nil {
		return err
	}
	// Docker and Fargate give 64 MiB as well.
	err = unix.Mount("shm", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=1777,size=64m")
	if err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	for i, link := range []string{"fd", "stdin", "stdout", "stderr"} {
		target := "/proc/self/fd"
		if i > 0 {
			target += "/" + strconv.Itoa(i-1)
		}
		if err := os.Symlink(target, "/dev/"+link); err != nil {
			return err
		}
	}
	return nil
}

// mountTerminals makes /dev/pts. Group 5 is tty in every distribution; a user
// namespace may lack it.
func (g *guest) mountTerminals() error {
	if err := os.Mkdir("/dev/pts", 0o755); err != nil {
		return err
	}
	const options = "newinstance,ptmxmode=0666,mode=0620"
	err := unix.Mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, options+",gid=5")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, options)
	}
	if err != nil {
		g.note("no terminals: mount /dev/pts: %v", err)
		return nil
	}
	return os.Symlink("pts/ptmx", "/dev/ptmx")
}

// hiddenProc lets a process see or stop what concerns the machine; readOnlyProc
// lets the machine's root (which root is by number, in RootUserNamespace)
// configure its kernel. The lists are those that the OCI runtimes agree on.
var (
	hiddenProc = []string{"acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi",
		"timer_list", "timer_stats"}
	readOnlyProc = []string{"bus", "fs", "irq", "sys", "sysrq-trigger"}
	hiddenSys    = []string{"devices/virtual/powercap", "firmware", "fs/bpf", "fs/fuse/connections", "fs/pstore",
		"kernel/config", "kernel/debug", "kernel/security", "kernel/tracing"}
)

// mountProc mounts the PID namespace's /proc. A container that hides parts of
// its own /proc is not allowed to; then, and only in a user namespace, the
// container's is shown: over its processes a user namespace has no rights. It is read-only then.
func (g *guest) mountProc(host *hostTrees) error {
	if err := mountPoint("/proc"); err != nil {
		return err
	}
	tree := host.ownProc
	if err := host.ownProcErr; err != nil {
		if !g.inUserNamespace() || host.proc < 0 {
			return fmt.Errorf("make a /proc: %w", err)
		}
		g.note("a /proc of its own: %v; it sees the names of this machine's processes", err)
		g.foreignProc, tree = true, host.proc
	}
	if err := attach(tree, "/proc"); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if g.foreignProc {
		// Some of what the machine's processes have there is writable for their user.
		if err := g.protect("/proc", unix.MOUNT_ATTR_RDONLY, true); err != nil {
			return err
		}
	}
	if err := hide("/proc", hiddenProc); err != nil {
		return err
	}
	for _, name := range readOnlyProc {
		path := "/proc/" + name
		err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("bind %s: %w", path, err)
		}
		const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
		if err := g.protect(path, attributes, true); err != nil {
			return err
		}
	}
	return nil
}

// mountSys shows the machine's /sys, to read.
func (g *guest) mountSys(host *hostTrees) error {
	if err := mountPoint("/sys"); err != nil {
		return err
	}
	if host.sys < 0 {
		g.note("no /sys")
		return nil
	}
	if err := attach(host.sys, "/sys"); err != nil {
		return fmt.Errorf("bind /sys: %w", err)
	}
	const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	if err := g.protect("/sys", attributes, true); err != nil {
		return err
	}
	return hide("/sys", hiddenSys)
}

// hide puts an empty directory or /dev/null over what is below dir.
func hide(dir string, names []string) error {
	for _, name := range names {
		path := filepath.Join(dir, name)
		fi, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && fi.IsDir() {
			err = unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=0")
		} else if err == nil {
			err = unix.Mount("/dev/null", path, "", unix.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("hide %s: %w", path, err)
		}
	}
	return nil
}

// bindFiles shows Command.Files. Their contents lie in the memory of /dev, by no
// name any more.
func (g *guest) bindFiles(*hostTrees) error {
	const source = "/dev/.file"
	for _, path := range slices.Sorted(maps.Keys(g.Files)) {
		if err := os.WriteFile(source, g.Files[path], 0o644); err != nil {
			return fmt.Errorf("show %s: %w", path, err)
		}
		if err := filePoint(path); err != nil {
			return fmt.Errorf("show %s: %w", path, err)
		}
		if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("show %s: %w", path, err)
		}
		if err := g.protect(path, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, false); err != nil {
			return err
		}
		if err := os.Remove(source); err != nil {
			return err
		}
	}
	return nil
}

// filePoint makes sure that there is a file at path. A link that leads nowhere, as
// /etc/resolv.conf often is in an image, makes room for one.
func filePoint(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, nil, 0o644)
}
