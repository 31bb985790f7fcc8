package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// enterNamespaces makes the root filesystem over the image, moves into it and
// fills /dev, /proc and /sys.
func (g *guest) enterNamespaces() error {
	// Nothing that is mounted here may show up on the machine.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	host, err := g.openHostTrees()
	if err != nil {
		return err
	}
	defer host.close()
	// From here on by short names: overlayfs gives ',' and ':' in its options a meaning.
	if err := os.Chdir(g.Scratch); err != nil {
		return fmt.Errorf("enter the scratch directory: %w", err)
	}
	root, err := g.layOverlay()
	if err != nil {
		g.note("overlay: %v; each start copies the root filesystem", err)
		if root, err = g.copyRoot(); err != nil {
			return err
		}
	}
	if err := g.protect(root, unix.MOUNT_ATTR_NODEV, false); err != nil {
		return err
	}
	if err := enterRoot(root); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(g.hostname())); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	for _, fill := range []func(*hostTrees) error{g.mountDev, g.mountProc, g.mountSys, g.bindFiles} {
		if err := fill(host); err != nil {
			return err
		}
	}
	return nil
}

func (g *guest) note(format string, args ...any) {
	g.notes = append(g.notes, fmt.Sprintf(format, args...))
}

func (g *guest) hostname() string {
	if g.Hostname == "" {
		return "sandbox"
	}
	return g.Hostname
}

// inUserNamespace tells whether root here is not the machine's root.
func (g *guest) inUserNamespace() bool {
	return g.Mode == RootUserNamespace || g.Mode == MappedUserNamespace || g.Mode == SingleUserNamespace
}

// layOverlay mounts the image with an empty directory over it for what is
// written, and returns where.
func (g *guest) layOverlay() (string, error) {
	if g.Only == copyRootfs {
		return "", errors.New("not wanted")
	}
	for _, dir := range []string{upperDir, workDir, lowerDir, mergedDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return "", err
		}
	}
	// The root directory of an overlay is its upper directory.
	if err := copyMeta(g.Rootfs, upperDir); err != nil {
		return "", err
	}
	if err := unix.Mount(g.Rootfs, lowerDir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", fmt.Errorf("bind the root filesystem: %w", err)
	}
	options := "lowerdir=" + lowerDir + ",upperdir=" + upperDir + ",workdir=" + workDir
	if g.inUserNamespace() {
		// trusted.overlay.* attributes are for the machine's root (Linux 5.11).
		options += ",userxattr"
	}
	if err := unix.Mount("overlay", mergedDir, "overlay", unix.MS_NODEV, options); err != nil {
		return "", err
	}
	return mergedDir, nil
}

// copyRoot copies the image and makes a mount of the copy.
func (g *guest) copyRoot() (string, error) {
	if err := copyTree(g.Rootfs, copyDir); err != nil {
		return "", fmt.Errorf("copy the root filesystem: %w", err)
	}
	if err := unix.Mount(copyDir, copyDir, "", unix.MS_BIND, ""); err != nil {
		return "", fmt.Errorf("bind the copy of the root filesystem: %w", err)
	}
	return copyDir, nil
}

// enterRoot makes dir the root of this mount namespace and lets go of the old one
// (pivot_root(2), "pivot_root(".", ".")").
func enterRoot(dir string) error {
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("enter the root filesystem: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the machine's files: %w", err)
	}
	return os.Chdir("/")
}

// protect adds mount attributes (unix.MOUNT_ATTR_*) to the mount at path, and to
// those below it when deep.
func (g *guest) protect(path string, attributes uint64, deep bool) error {
	flags := uint(0)
	if deep {
		flags = unix.AT_RECURSIVE
	}
	err := error(unix.ENOSYS)
	if g.Only != oldKernel {
		err = unix.MountSetattr(unix.AT_FDCWD, path, flags, &unix.MountAttr{Attr_set: attributes})
	}
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.12
		err = remount(path, attributes, deep)
	}
	if err != nil {
		return fmt.Errorf("protect the mount %s: %w", path, err)
	}
	return nil
}

// remount does with MS_REMOUNT, mount by mount, what mount_setattr does at once.
// Flags that a mount already has must be given again (mount_namespaces(7),
// "Restrictions on mount namespaces").
func remount(path string, attributes uint64, deep bool) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	paths := []string{abs}
	if deep {
		below, err := mountsBelow(abs)
		if err != nil {
			return err
		}
		paths = append(paths, below...)
	}
	for _, p := range paths {
		var st unix.Statfs_t
		if err := unix.Statfs(p, &st); err != nil {
			return err
		}
		flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND)
		for _, f := range mountFlags {
			if int64(st.Flags)&f.statfs != 0 || attributes&f.attr != 0 {
				flags |= f.mount
			}
		}
		if err := unix.Mount("", p, "", flags, ""); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// mountFlags are the names of one flag in statfs(2), mount_setattr(2), mount(2).
var mountFlags = []struct {
	statfs int64
	attr   uint64
	mount  uintptr
}{
	{unix.ST_RDONLY, unix.MOUNT_ATTR_RDONLY, unix.MS_RDONLY},
	{unix.ST_NOSUID, unix.MOUNT_ATTR_NOSUID, unix.MS_NOSUID},
	{unix.ST_NODEV, unix.MOUNT_ATTR_NODEV, unix.MS_NODEV},
	{unix.ST_NOEXEC, unix.MOUNT_ATTR_NOEXEC, unix.MS_NOEXEC},
	{unix.ST_NOATIME, unix.MOUNT_ATTR_NOATIME, unix.MS_NOATIME},
	{unix.ST_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME, unix.MS_NODIRATIME},
	{unix.ST_RELATIME, 0, unix.MS_RELATIME},
}

// mountsBelow lists the mounts below an absolute path (proc_pid_mountinfo(5)).
func mountsBelow(path string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var below []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		if p := unescape.Replace(f[4]); strings.HasPrefix(p, path+"/") {
			below = append(below, p)
		}
	}
	return below, nil
}

// setOwners gives files the owners that the root filesystem could not hold.
func (g *guest) setOwners() {
	missing := 0
	for _, o := range g.Owners {
		path := filepath.Join("/", o.Path)
		fi, err := os.Lstat(path)
		if err == nil {
			err = os.Lchown(path, o.UID, o.GID)
		}
		if err == nil && fi.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
			err = os.Chmod(path, fi.Mode()) // chown has cleared the bits
		}
		if err != nil {
			missing++
		}
	}
	if missing > 0 && g.Mode != SingleUserNamespace { // there it is no news
		g.note("%d files kept root as their owner", missing)
	}
}
