// Package sandbox runs one command in an unpacked image, apart from the rest of
// this machine.
//
// In go the root filesystem of an image (a directory, which is never written
// to), a command with its environment, user and working directory, and a
// scratch directory for what the command writes; out come its output and its
// exit status. There is no daemon and nothing to install: the program re-executes
// itself (see [Main]) in new Linux namespaces, puts a throw-away overlay over the
// root filesystem, and stays in it as the process that reaps orphans and passes
// signals on. Where namespaces are forbidden, as they are in most containers, root
// gets a copy of the root filesystem, a chroot and a Landlock domain instead.
//
// [Probe] finds out by trying which of the ways ([Mode]) this machine allows.
//
// The network is the machine's own, unless [Command.NoNetwork] takes it away: what
// listens on a port here is reachable there. The sandbox never shows the command a file of the machine outside the
// root filesystem, and never passes on an environment variable or an open file
// that was not asked for. It leaves no process and no mount behind, also when the
// program that started it is killed; what is then left in the scratch directory is
// removed when that is used again, or by [RemoveAll].
package sandbox

import (
	"io"
	"syscall"
)

// Mode is a way of keeping a command apart from the machine.
type Mode string

const (
	// BestMode lets Start ask Probe.
	BestMode Mode = ""
	// RootUserNamespace is for root: user, mount, PID, UTS and IPC namespaces. Users
	// keep their numbers, but root in the sandbox has no right over the machine, so
	// it cannot bind a port below net.ipv4.ip_unprivileged_port_start either.
	RootUserNamespace Mode = "root-user-namespace"
	// Namespaces is for root: mount, PID, UTS and IPC namespaces, and root in the
	// sandbox is the machine's root with the fourteen capabilities that Docker
	// leaves to a container.
	Namespaces Mode = "namespaces"
	// MappedUserNamespace is for an ordinary user who owns a range of user and group
	// numbers (/etc/subuid, /etc/subgid and the programs newuidmap, newgidmap).
	MappedUserNamespace Mode = "mapped-user-namespace"
	// SingleUserNamespace is for an ordinary user: the only user in the sandbox is
	// that user, by the name of root or of the image's USER.
	SingleUserNamespace Mode = "single-user-namespace"
	// ChrootLandlock is for root in a container that forbids namespaces: a copy of
	// the root filesystem, chroot, and a Landlock domain that ends at that copy.
	// There is no /proc, and the process table and host name are the machine's.
	ChrootLandlock Mode = "chroot+landlock"
)

// Command is what to run and in what.
type Command struct {
	// Rootfs is the unpacked image. It is never written to.
	Rootfs string
	// Scratch is a directory, made when missing, for what the command writes. It
	// serves one process at a time, is emptied when that ends, and must lie on a
	// filesystem that can hold the image's files: best not an overlay, and not on a
	// filesystem mounted noexec or nodev.
	Scratch string

	// Args is the command. Args[0] without a slash is looked up inside Rootfs in the
	// PATH of Env.
	Args []string
	// Env is the whole environment, as KEY=VALUE. As every container runtime does,
	// PATH gets a default and HOME the user's home when they are not in it.
	Env []string
	// Dir is the working directory, "" for "/"; made when the image lacks it.
	Dir string
	// User is "", "uid", "name", "uid:gid", "name:group" …; names are looked up in
	// the image's etc/passwd and etc/group, and a user without a group also gets the
	// supplementary groups that etc/group says.
	User string
	// Hostname is the host name seen inside, "" for "sandbox".
	Hostname string

	// Stdin is read up to its end, or as far as the command cares to: nil is empty.
	// It reaches the command through a pipe, also where it is a file. An error of it
	// is one of Wait. A Read that is under way when the command ends is not waited
	// for, and what it returns is lost.
	Stdin io.Reader
	// Stdout and Stderr get the output; nil discards it.
	Stdout, Stderr io.Writer
	// NoNetwork leaves the command without a network: with a loopback interface of
	// its own that nothing else is on, or in ChrootLandlock without any sockets but
	// Unix ones.
	NoNetwork bool
	// StopSignal is what Stop sends first, 0 for SIGTERM.
	StopSignal syscall.Signal
	// Files are shown read-only at these absolute paths in place of what the image
	// has there, such as /etc/resolv.conf and /etc/hosts.
	Files map[string][]byte
	// Owners are the owners of files that Rootfs could not hold because an ordinary
	// user unpacked it. They are set in the throw-away layer, where the mode has
	// such users at all.
	Owners []Owner
	// Mode is the way to run it, best taken from a Report.
	Mode Mode
}

// Owner gives a file of the root filesystem its owner.
type Owner struct {
	Path     string // absolute in the sandbox; a link itself, not its target
	UID, GID int
}

// ExitStatus is how a command ended.
type ExitStatus struct {
	// Code is the exit code, or 128 plus the number of the signal that ended it.
	Code int
	// Signal is the name of that signal, such as "SIGKILL", or "".
	Signal string
	// OOM says that the kernel killed processes for want of memory while the command
	// ran, and that the command was ended by SIGKILL, which nobody asked for here.
	OOM bool
}
