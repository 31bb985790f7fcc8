package resolve

import (
	"fmt"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// The targets that a hint looks at: what is in use, and a little ahead of it.
const (
	oldestMinor, newestMinor = 6, 20 // of CPython 3
	newestGlibc, newestMusl  = 60, 9 // minor versions
)

var otherMachines = []string{"amd64", "arm64", "arm/v7", "ppc64le", "s390x", "riscv64"}

// elsewhere is a version that has wheels, but none for the target.
type elsewhere struct {
	*rules
	project string
	*candidate
}

// change says which one change of the target would give the version a wheel, as
// the end of a sentence: another Python, another C library, another machine.
// It tries them, so that what it says is true.
func (e elsewhere) change() string {
	for _, try := range []func() string{e.otherPython, e.otherLibc, e.otherMachine, e.otherBase} {
		if text := try(); text != "" {
			return text
		}
	}
	return "only for " + e.platforms()
}

// fits reports whether the version could be used on another target.
func (e elsewhere) fits(t python.Target) bool {
	o := *e.options
	o.Target, o.Build = t, false
	rules := newRules(&o, e.direct)
	there := &candidate{version: e.version, of: e.of, place: e.place, best: -1}
	rules.judge(e.project, e.of, e.direct[e.project]).version(there)
	return there.usable()
}

func (e elsewhere) otherPython() string {
	t := e.target
	if t.FreeThreaded {
		t.FreeThreaded = false
		if e.fits(t) {
			return "for CPython with the global interpreter lock: choose such a Python"
		}
	}
	if names := e.pythons(e.target); names != nil {
		return fmt.Sprintf("for CPython %s: choose a base with such a Python", enumerate(names, "and"))
	}
	return ""
}

// pythons are the other minor versions of CPython on which it could be used.
func (e elsewhere) pythons(t python.Target) []string {
	var names []string
	for minor := oldestMinor; minor <= newestMinor; minor++ {
		v, err := python.ParseVersion(fmt.Sprintf("3.%d", minor))
		if err != nil || minor == e.target.Python.Number(1) {
			continue
		}
		if t.Python = v; e.fits(t) {
			names = append(names, v.String())
		}
	}
	return names
}

func (e elsewhere) otherLibc() string {
	here := e.target.Libc.Name
	for _, libc := range e.libcs() {
		oldest := e.oldestLibc(libc)
		switch {
		case oldest == "":
		case libc.Name == here:
			return fmt.Sprintf("for %s and newer: choose a newer base", oldest)
		default:
			return fmt.Sprintf("for %s and newer: choose a base with %s", oldest, baseOf[libc.Name])
		}
	}
	return ""
}

var baseOf = map[string]string{"glibc": "glibc (Debian, not Alpine)", "musl": "musl (Alpine)"}

// libcs are the newest C libraries of each kind, the target's first.
func (e elsewhere) libcs() []python.Libc {
	glibc, musl := python.Libc{Name: "glibc", Major: 2, Minor: newestGlibc}, python.Libc{Name: "musl", Major: 1, Minor: newestMusl}
	if e.target.Libc.Name == "musl" {
		return []python.Libc{musl, glibc}
	}
	return []python.Libc{glibc, musl}
}

// oldestLibc is the oldest version of a C library that there is a wheel for;
// "" = none.
func (e elsewhere) oldestLibc(newest python.Libc) string {
	t, oldest := e.target, ""
	for t.Libc = newest; t.Libc.Minor >= 0 && e.fits(t); t.Libc.Minor-- {
		oldest = t.Libc.String()
	}
	return oldest
}

func (e elsewhere) otherMachine() string {
	var names []string
	for _, arch := range otherMachines {
		t := e.target
		t.Arch = arch
		if arch != e.target.Arch && e.fits(t) {
			names = append(names, "linux/"+arch)
		}
	}
	if names == nil {
		return ""
	}
	return fmt.Sprintf("for %s: choose such a platform", enumerate(names, "and"))
}

// otherBase changes C library and Python at once.
func (e elsewhere) otherBase() string {
	t := e.target
	for _, libc := range e.libcs() {
		t.Libc = libc
		names := e.pythons(t)
		switch {
		case names == nil:
		case libc.Name == e.target.Libc.Name:
			return fmt.Sprintf("for CPython %s with a newer %s: choose such a base", enumerate(names, "and"), libc.Name)
		default:
			return fmt.Sprintf("for CPython %s with %s: choose such a base", enumerate(names, "and"), baseOf[libc.Name])
		}
	}
	return ""
}

// maxPlatforms is how many are named before the rest is counted.
const maxPlatforms = 8

// platforms names what the wheels of a version are for, Linux first.
func (e elsewhere) platforms() string {
	var linux, others []string
	for i := range e.of.length(e.place) {
		f := e.of.facts(e.place, i)
		if f.kind != index.Wheel {
			continue
		}
		for _, t := range f.tags {
			name := t.Python + " on " + t.Platform
			if strings.Contains(t.Platform, "linux") {
				linux = append(linux, name)
			} else {
				others = append(others, name)
			}
		}
	}
	if linux != nil {
		others = linux
	}
	slices.Sort(others)
	others = slices.Compact(others)
	if more := len(others) - maxPlatforms; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(others[:maxPlatforms], ", "), more)
	}
	return enumerate(others, "and")
}
