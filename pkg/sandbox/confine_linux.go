package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keptCapabilities are the fourteen that Docker leaves to a container's root.
var keptCapabilities = []uintptr{
	unix.CAP_AUDIT_WRITE, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL,
	unix.CAP_MKNOD, unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_RAW, unix.CAP_SETFCAP, unix.CAP_SETGID,
	unix.CAP_SETPCAP, unix.CAP_SETUID, unix.CAP_SYS_CHROOT,
}

// chrootBreakers are those of them with which root gets out of a chroot: by a
// second chroot, or by the device node of a disk. Landlock would still forbid to
// open the machine's files, but not to change their owners and modes.
var chrootBreakers = []uintptr{unix.CAP_MKNOD, unix.CAP_SYS_CHROOT}

// confine takes from the calling thread, and from what it executes, what the
// command is not to have. The thread must be locked and not be used for anything
// else any more.
func (g *guest) confine(id identity) error {
	// Not to share the keys of whoever runs Start's program.
	_, _ = unix.KeyctlJoinSessionKeyring("")
	if id.UID != 0 || g.Mode == ChrootLandlock {
		// A set-user-ID program in the image makes nobody root.
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	if g.Only != onlyCaps {
		if err := g.landlock(); err != nil {
			return err
		}
	}
	if g.NoNetwork && g.Mode == ChrootLandlock {
		if err := g.forbidSockets(); err != nil {
			return err
		}
	}
	if g.Only == onlyLandlock {
		return nil
	}
	if err := boundCapabilities(g.Mode); err != nil {
		return err
	}
	err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("get the capabilities: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("clear the inheritable capabilities: %w", err)
	}
	return nil
}

// boundCapabilities cuts the bounding set, which is what a process of root gets
// when it is executed (capabilities(7)).
func boundCapabilities(m Mode) error {
	for capability := uintptr(0); ; capability++ {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, capability, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil // past the last one
		}
		if err != nil {
			return fmt.Errorf("read the capability bounding set: %w", err)
		}
		keep := slices.Contains(keptCapabilities, capability) &&
			(m != ChrootLandlock || !slices.Contains(chrootBreakers, capability))
		if has == 0 || keep {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", capability, err)
		}
	}
}

// landlockABI returns the kernel's Landlock version. 2 is the first that allows
// renames from one directory to another, without which hardly a program works.
func landlockABI() (int, error) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case errno == unix.EOPNOTSUPP:
		return 0, errors.New("landlock is off in this kernel (the lsm= parameter)")
	case errno == unix.ENOSYS:
		return 0, errors.New("landlock is not in this kernel, or forbidden (Linux 5.19 has what is needed)")
	case errno != 0:
		return 0, fmt.Errorf("landlock: %w", errno)
	case v < 2:
		return 0, errors.New("landlock: this kernel has version 1, and 2 (of Linux 5.19) is needed")
	}
	return int(v), nil
}

// landlockAccess returns the filesystem rights that a Landlock version knows.
func landlockAccess(abi int) uint64 {
	access := uint64(unix.LANDLOCK_ACCESS_FS_REFER<<1 - 1) // version 2: the lowest 14 bits
	if abi >= 3 {
		access |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		access |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return access
}

// landlock puts the calling thread into a Landlock domain. In every mode it cuts
// signals and abstract sockets to what is outside, where the kernel can: abstract
// sockets belong to the network, which is the machine's, and container engines
// have been taken over by theirs (CVE-2020-15257). In ChrootLandlock it also ends
// every right over files at the root directory.
func (g *guest) landlock() error {
	abi, err := landlockABI()
	var attr unix.LandlockRulesetAttr
	if err == nil && abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	if g.Mode == ChrootLandlock {
		if err != nil {
			return err
		}
		attr.Handled_access_fs = landlockAccess(abi)
		if g.NoNetwork && abi >= 4 {
			// No rule allows any port. Belt and braces: forbidSockets does it as well.
			attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		}
		if abi < 6 {
			g.note("the command can send signals to this machine's processes (Linux 6.12 prevents it)")
			if g.NoNetwork {
				g.note("the command can reach this machine's abstract Unix sockets (Linux 6.12 prevents it)")
			}
		}
	}
	if attr == (unix.LandlockRulesetAttr{}) {
		return nil
	}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("landlock: create a ruleset: %w", errno)
	}
	defer unix.Close(int(ruleset))
	if attr.Handled_access_fs != 0 {
		if err := allowBeneathRoot(ruleset, attr.Handled_access_fs); err != nil {
			return err
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno != 0 {
		return fmt.Errorf("landlock: enter the domain: %w", errno)
	}
	return nil
}

func allowBeneathRoot(ruleset uintptr, access uint64) error {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("landlock: open the root directory: %w", err)
	}
	defer unix.Close(root)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(root)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock: allow the root filesystem: %w", errno)
	}
	return nil
}
