package sandbox

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Probe tries every way of making a sandbox that this user could have, each with
// all its steps up to the end of a program in a throw-away root filesystem below
// scratch, and reports them in the order of preference. When none works the error
// is an *UnavailableError.
func Probe(ctx context.Context, scratch string) (Report, error) {
	if err := checkReady(); err != nil {
		return err.Report, err
	}
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return Report{}, fmt.Errorf("probe for a sandbox: %w", err)
	}
	dir, err := os.MkdirTemp(scratch, "probe-")
	if err != nil {
		return Report{}, fmt.Errorf("probe for a sandbox: %w", err)
	}
	defer RemoveAll(context.WithoutCancel(ctx), dir)
	rootfs := filepath.Join(dir, "rootfs")
	if err := writeProbe(rootfs); err != nil {
		return Report{}, fmt.Errorf("probe for a sandbox: %w", err)
	}
	var r Report
	for _, m := range modesOf(os.Geteuid()) {
		a := try(ctx, m, rootfs, filepath.Join(dir, "scratch"))
		if err := ctx.Err(); err != nil {
			return Report{}, err
		}
		if a.Err == nil && r.Mode == "" {
			r.Mode, r.Notes = m, a.Notes
		}
		r.Tried = append(r.Tried, a)
	}
	if r.Mode == "" {
		r.Notes = obstacles()
		return r, &UnavailableError{Report: r, hint: hint(os.Geteuid())}
	}
	return r, nil
}

// modesOf returns what a user can try, best first.
func modesOf(uid int) []Mode {
	if uid == 0 {
		return []Mode{RootUserNamespace, Namespaces, ChrootLandlock}
	}
	return []Mode{MappedUserNamespace, SingleUserNamespace}
}

// probeStatus is what the probe's program exits with.
const probeStatus = 42

func try(ctx context.Context, m Mode, rootfs, scratch string) Attempt {
	a := Attempt{Mode: m}
	p, err := Start(ctx, Command{Rootfs: rootfs, Scratch: scratch, Args: []string{"/probe"}, Mode: m})
	if _, missing := errors.AsType[*StartError](err); missing && probeCode() == nil {
		err = nil // on this architecture the last step cannot be tried
	} else if err == nil {
		var status ExitStatus
		if status, err = p.Wait(); err == nil && status.Code != probeStatus {
			err = fmt.Errorf("the probe's program ended with status %d, not %d", status.Code, probeStatus)
		}
		a.Notes = p.Notes()
	}
	if err != nil {
		// The report says which mode; the cause is enough.
		a.Err = errors.New(strings.TrimPrefix(err.Error(), fmt.Sprintf("make a sandbox (%s): ", m)))
		return a
	}
	if m != Namespaces && m != ChrootLandlock {
		a.LowestPort = lowestPort()
		if a.LowestPort > 0 {
			a.Notes = append(a.Notes, fmt.Sprintf(
				"ports below %d cannot be bound (net.ipv4.ip_unprivileged_port_start)", a.LowestPort))
		}
	}
	if m == SingleUserNamespace {
		a.Notes = append(a.Notes, "there is one user, to whom every file belongs, and no supplementary groups")
	}
	return a
}

func lowestPort() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return 1024
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 1024
	}
	return port
}

// writeProbe makes a root filesystem whose only file is a program.
func writeProbe(rootfs string) error {
	for _, dir := range []string{rootfs, rootfs + "/dev", rootfs + "/proc", rootfs + "/sys"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	code := probeCode()
	if code == nil {
		return nil
	}
	return os.WriteFile(rootfs+"/probe", staticProgram(code), 0o755)
}

// probeCode returns exit(probeStatus) in this machine's language, nil if that is
// not known here.
func probeCode() []byte {
	switch runtime.GOARCH {
	case "amd64":
		return []byte{
			0xb8, 60, 0, 0, 0, // mov eax, 60 (exit)
			0xbf, probeStatus, 0, 0, 0, // mov edi, probeStatus
			0x0f, 0x05, // syscall
		}
	case "arm64":
		var b []byte
		for _, op := range []uint32{
			0xd2800ba8,                  // mov x8, 93 (exit)
			0xd2800000 | probeStatus<<5, // mov x0, probeStatus
			0xd4000001,                  // svc 0
		} {
			b = binary.LittleEndian.AppendUint32(b, op)
		}
		return b
	}
	return nil
}

// staticProgram wraps little-endian 64-bit machine code into the smallest ELF
// program that the kernel runs (elf(5)).
func staticProgram(code []byte) []byte {
	const (
		base    = 0x400000
		headers = 64 + 56
	)
	size := uint64(headers + len(code))
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machines[runtime.GOARCH]), Version: uint32(elf.EV_CURRENT),
		Entry: base + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	segment := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base,
		Filesz: size, Memsz: size, Align: 0x1000,
	}
	var b bytes.Buffer
	for _, part := range []any{header, segment, code} {
		_ = binary.Write(&b, binary.LittleEndian, part) // a bytes.Buffer takes everything
	}
	return b.Bytes()
}

// obstacles are this machine's settings that are known to forbid sandboxes.
func obstacles() (why []string) {
	if status, err := os.ReadFile("/proc/self/status"); err == nil && bytes.Contains(status, []byte("\nSeccomp:\t2")) {
		why = append(why, "a seccomp filter is active")
	}
	for _, s := range []struct{ path, value, name string }{
		{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0"},
		{apparmorSetting, "1", "kernel.apparmor_restrict_unprivileged_userns is 1"},
	} {
		if hasValue(s.path, s.value) {
			why = append(why, s.name)
		}
	}
	if inContainer() {
		why = append(why, "this is a container")
	}
	return why
}

const apparmorSetting = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"

func hasValue(path, value string) bool {
	text, err := os.ReadFile(path)
	return err == nil && strings.TrimSpace(string(text)) == value
}

func inContainer() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return false
}

// hint says what would make one of the ways work.
func hint(uid int) string {
	switch {
	case hasValue("/proc/sys/user/max_user_namespaces", "0"):
		return "allow user namespaces: sysctl -w user.max_user_namespaces=15000"
	case uid == 0:
		return "allow unshare and mount (docker run --security-opt seccomp=unconfined), or use a kernel with Landlock (Linux 5.19)"
	case hasValue("/proc/sys/kernel/unprivileged_userns_clone", "0"):
		return "allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1; or run as root"
	case hasValue(apparmorSetting, "1"):
		return "allow user namespaces: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; or run as root"
	}
	return "run as root, which needs no user namespaces, or allow them"
}

// HostFiles returns Command.Files with which a command finds its way in this
// machine's network: the name servers of /etc/resolv.conf, and the names of
// /etc/hosts together with the sandbox's own.
func HostFiles(hostname string) map[string][]byte {
	files := map[string][]byte{}
	if resolv, err := readSmallFile("/etc/resolv.conf"); err == nil {
		files["/etc/resolv.conf"] = resolv
	}
	hosts, err := readSmallFile("/etc/hosts")
	if err != nil {
		hosts = []byte("127.0.0.1\tlocalhost\n::1\tlocalhost\n")
	}
	if hostname != "" {
		hosts = append(bytes.TrimRight(hosts, "\n"), "\n127.0.1.1\t"+hostname+"\n"...)
	}
	files["/etc/hosts"] = hosts
	return files
}

// checkReady returns an error where the program cannot be re-executed.
func checkReady() *UnavailableError {
	if ready.Load() {
		return nil
	}
	return &UnavailableError{Report: Report{Notes: []string{"the program does not call sandbox.Main"}}, hint: "call sandbox.Main first of all in main"}
}
