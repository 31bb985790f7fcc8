package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// raiseLoopback brings up the only interface of init's new network namespace, for
// programs that talk to themselves by it.
func (g *guest) raiseLoopback() {
	if err := setUp("lo"); err != nil {
		g.note("no network, and no loopback interface either: %v", err)
	}
}

// setUp does what `ip link set NAME up` does (netdevice(7)).
func setUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("get its flags: %w", err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("set its flags: %w", err)
	}
	return nil
}

// auditArchitectures are the machines on which every socket comes from the system
// call socket (and not from socketcall, whose arguments a filter cannot see).
var auditArchitectures = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64, "riscv64": unix.AUDIT_ARCH_RISCV64,
}

// forbidSockets keeps the calling thread, and what it executes, from making any
// socket that could leave the machine or reach a service on it. A network
// namespace would be better; where none can be made, a filter is what there is.
func (g *guest) forbidSockets() error {
	arch, ok := auditArchitectures[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("take the network away: that is not possible on %s in the mode %s", runtime.GOARCH, g.Mode)
	}
	filter := socketFilter(arch)
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	if errors.Is(err, unix.EINVAL) {
		return errors.New("take the network away: this kernel has no seccomp filters")
	}
	if err != nil {
		return fmt.Errorf("take the network away: seccomp: %w", err)
	}
	g.note("no network is a filter of system calls: there is no loopback interface, and no 32-bit program runs")
	return nil
}

// socketFilter is the seccomp filter (seccomp(2)) that lets through Unix sockets
// and refuses all others as a machine without their protocol does. io_uring, which
// makes sockets past any filter, is said not to exist, and so are the system calls
// of other machines and of x32, whose numbers mean something else.
func socketFilter(arch uint32) []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		least = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K

		offsetNumber = 0  // struct seccomp_data: int nr
		offsetArch   = 4  // __u32 arch
		offsetFirst  = 16 // __u64 args[0], its low half on little-endian machines
		x32          = 0x40000000
	)
	return []unix.SockFilter{
		0:  {Code: load, K: offsetArch},
		1:  {Code: equal, K: arch, Jf: 7}, // else 9
		2:  {Code: load, K: offsetNumber},
		3:  {Code: least, K: x32, Jt: 5},                     // 9
		4:  {Code: equal, K: unix.SYS_IO_URING_SETUP, Jt: 4}, // 9
		5:  {Code: equal, K: unix.SYS_SOCKET, Jf: 2},         // else 8
		6:  {Code: load, K: offsetFirst},
		7:  {Code: equal, K: unix.AF_UNIX, Jf: 2}, // else 10
		8:  {Code: ret, K: unix.SECCOMP_RET_ALLOW},
		9:  {Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		10: {Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
	}
}
