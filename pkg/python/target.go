package python

import (
	"fmt"
	"strconv"
	"strings"
)

// Libc is the C library of a target. The zero value is an unknown one, with
// which only pure Python and the machine's own linux_* wheels run.
type Libc struct {
	Name         string // "glibc" or "musl"
	Major, Minor int    // 2.41; musl 1.2
}

// String returns "glibc 2.41", or "unknown libc".
func (l Libc) String() string {
	if l.Name == "" {
		return "unknown libc"
	}
	return fmt.Sprintf("%s %d.%d", l.Name, l.Major, l.Minor)
}

// Target is a CPython that packages are chosen for. It need not be the one of
// this machine, nor be there at all.
type Target struct {
	Python       Version // 3.13, or 3.13.5 where that is known: some markers ask for it
	FreeThreaded bool    // the build without the global interpreter lock, "3.13t"
	OS           string  // linux
	Arch         string  // as Go and OCI have it: amd64, arm64, arm/v7, ppc64le, s390x, riscv64
	Libc         Libc
}

// Validate returns an error where nothing can be chosen for the target: it
// must be a CPython 3 on Linux on a known machine.
func (t Target) Validate() error {
	switch {
	case t.Python.IsZero():
		return fmt.Errorf("target %s/%s: the version of Python is not given", t.OS, t.Arch)
	case len(t.Python.Release()) < 2 || t.Python.Number(0) != 3:
		return fmt.Errorf("target %s: Python %s is not 3.MINOR", t, t.Python)
	case t.Python.Number(1) > maxMinor:
		return fmt.Errorf("target %s: there is no Python %s", t, t.Python)
	case t.FreeThreaded && t.Python.Number(1) < 13:
		return fmt.Errorf("target %s: Python is free-threaded since 3.13 (PEP 703)", t)
	case t.OS != "linux":
		return fmt.Errorf("target %s: the operating system %q is not linux", t, t.OS)
	case t.Machine() == "":
		return fmt.Errorf("target %s: the architecture %q is not known", t, t.Arch)
	case t.Libc.Name != "" && t.Libc.Name != "glibc" && t.Libc.Name != "musl":
		return fmt.Errorf("target %s: the libc %q is neither glibc nor musl", t, t.Libc.Name)
	}
	return nil
}

// String returns "CPython 3.13 on linux/amd64 (glibc 2.41)".
func (t Target) String() string {
	threads := ""
	if t.FreeThreaded {
		threads = "t"
	}
	return fmt.Sprintf("CPython %s%s on %s/%s (%s)", t.Python, threads, t.OS, t.Arch, t.Libc)
}

// Machine returns the machine as uname has it, which is what platform_machine
// and tags say: x86_64 for amd64. It is "" when it is not known.
func (t Target) Machine() string {
	switch t.Arch {
	case "amd64", "x86_64":
		return "x86_64"
	case "arm64", "arm64/v8", "aarch64":
		return "aarch64"
	case "arm/v7", "arm", "armv7l":
		return "armv7l"
	case "arm/v6", "armv6l":
		return "armv6l"
	case "386", "i686":
		return "i686"
	case "loong64", "loongarch64":
		return "loongarch64"
	case "ppc64le", "s390x", "riscv64", "ppc64":
		return t.Arch
	}
	return ""
}

// Environment returns what markers see on the target. Of the kernel nothing is
// known, as packages are chosen before there is one.
func (t Target) Environment() Environment {
	full := t.Python.Public().String()
	if n := len(t.Python.Release()); n > 0 && n < 3 { // "3.13" is taken for "3.13.0"
		base := t.Python.Base().String()
		full = base + strings.Repeat(".0", 3-n) + full[len(base):]
	}
	return Environment{
		ImplementationName:           "cpython",
		ImplementationVersion:        full,
		OSName:                       "posix",
		PlatformMachine:              t.Machine(),
		PlatformPythonImplementation: "CPython",
		PlatformSystem:               "Linux",
		PythonFullVersion:            full,
		PythonVersion:                fmt.Sprintf("%d.%d", t.Python.Number(0), t.Python.Number(1)),
		SysPlatform:                  "linux",
	}
}

// maxMinor bounds the minor version of Python and of a libc: tags are made for
// each one below.
const maxMinor = 200

// Tags returns the tags that the target's interpreter takes, the most
// preferred first, in the order of the reference implementation. It is empty
// when the target is not valid.
func (t Target) Tags() []Tag {
	if t.Validate() != nil {
		return nil
	}
	minor := t.Python.Number(1)
	platforms := t.platforms()
	var tags []Tag
	each := func(python, abi string) {
		for _, p := range platforms {
			tags = append(tags, Tag{python, abi, p})
		}
	}
	cp := func(minor int) string { return "cp3" + strconv.Itoa(minor) }
	py := func(minor int) string { return "py3" + strconv.Itoa(minor) }

	// CPython's own: its ABI, the stable ABI of this and of all older
	// versions. Free-threaded builds have another of each (PEP 703, PEP 803).
	own, stable := cp(minor), "abi3"
	if t.FreeThreaded {
		own, stable = own+"t", "abi3t"
	}
	each(cp(minor), own)
	each(cp(minor), stable)
	each(cp(minor), "none")
	for m := minor - 1; m >= 2; m-- { // PEP 384: since 3.2
		each(cp(m), stable)
	}

	// Python code, with something for the platform and without.
	pythons := []string{py(minor), "py3"}
	for m := minor - 1; m >= 0; m-- {
		pythons = append(pythons, py(m))
	}
	for _, p := range pythons {
		each(p, "none")
	}
	tags = append(tags, Tag{cp(minor), "none", "any"})
	for _, p := range pythons {
		tags = append(tags, Tag{p, "none", "any"})
	}
	return tags
}

// platforms returns the platform tags, the most preferred first: what was
// built for this machine, then for the newest C library it has down to the
// oldest.
func (t Target) platforms() []string {
	machine := t.Machine()
	tags := []string{"linux_" + machine}
	switch {
	case t.Libc.Major < 0 || t.Libc.Minor < 0 || t.Libc.Minor > maxMinor:
	case t.Libc.Name == "glibc":
		tags = append(tags, t.manylinux(machine)...)
	case t.Libc.Name == "musl":
		// PEP 656: every minor version of the same major one.
		for m := t.Libc.Minor; m >= 0; m-- {
			tags = append(tags, fmt.Sprintf("musllinux_%d_%d_%s", t.Libc.Major, m, machine))
		}
	}
	return tags
}

// manylinux returns the tags of PEP 600 with the older names that some of them
// had: PEP 513, PEP 571 and PEP 599.
func (t Target) manylinux(machine string) []string {
	oldest := 17
	switch machine {
	case "x86_64", "i686":
		oldest = 5 // PEP 513 defined these two only
	case "armv6l":
		return nil // no policy
	}
	if t.Libc.Major != 2 {
		return nil // glibc has been 2 since 1997
	}
	var tags []string
	for m := t.Libc.Minor; m >= oldest; m-- {
		tags = append(tags, fmt.Sprintf("manylinux_2_%d_%s", m, machine))
		switch m {
		case 17:
			tags = append(tags, "manylinux2014_"+machine)
		case 12:
			tags = append(tags, "manylinux2010_"+machine)
		case 5:
			tags = append(tags, "manylinux1_"+machine)
		}
	}
	return tags
}
