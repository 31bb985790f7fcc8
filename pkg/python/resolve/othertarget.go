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

// change says which one change of the target would give the version a wheel:
// another Python, another C library, another machine. It tries them, so that
// what it says is true. choose is "" where no target would do.
func (e elsewhere) change() (where, choose string) {
	for _, try := range []func() (string, string){e.otherPython, e.otherLibc, e.otherMachine, e.otherBase} {
		if where, choose = try(); where != "" {
			return where, choose
		}
	}
	return "only for " + e.platforms(), ""
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

func (e elsewhere) otherPython() (where, choose string) {
	t := e.target
	if t.FreeThreaded {
		t.FreeThreaded = false
		if e.fits(t) {
			return "for CPython with the global interpreter lock", "choose such a Python"
		}
	}
	if names := e.pythons(e.target); names != nil {
		return "for CPython " + enumerate(names, "and"), "choose a base with such a Python"
	}
	return "", ""
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

func (e elsewhere) otherLibc() (where, choose string) {
	here := e.target.Libc.Name
	for _, libc := range e.libcs() {
		oldest := e.oldestLibc(libc)
		switch {
		case oldest == "":
		case libc.Name == here:
			return fmt.Sprintf("for %s and newer", oldest), "choose a newer base"
		default:
			return fmt.Sprintf("for %s and newer", oldest), "choose a base with " + baseOf[libc.Name]
		}
	}
	return "", ""
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

func (e elsewhere) otherMachine() (where, choose string) {
	var names []string
	for _, arch := range otherMachines {
		t := e.target
		t.Arch = arch
		if arch != e.target.Arch && e.fits(t) {
			names = append(names, "linux/"+arch)
		}
	}
	if names == nil {
		return "", ""
	}
	return "for " + enumerate(names, "and"), "choose such a platform"
}

// otherBase changes C library and Python at once.
func (e elsewhere) otherBase() (where, choose string) {
	t := e.target
	for _, libc := range e.libcs() {
		t.Libc = libc
		names := e.pythons(t)
		switch {
		case names == nil:
		case libc.Name == e.target.Libc.Name:
			return fmt.Sprintf("for CPython %s with a newer %s", enumerate(names, "and"), libc.Name), "choose such a base"
		default:
			return fmt.Sprintf("for CPython %s with %s", enumerate(names, "and"), baseOf[libc.Name]), "choose such a base"
		}
	}
	return "", ""
}

// maxPlatforms is how many are named before the rest is counted.
const maxPlatforms = 8

// platforms names what the wheels of a version are for: if none is for Linux the
// other systems.
func (e elsewhere) platforms() string {
	var linux, others []string
	for i := range e.of.length(e.place) {
		f := e.of.facts(e.place, i)
		if f.kind != index.Wheel {
			continue
		}
		for _, t := range f.tags {
			if system := systemOf(t.Platform); system != "" {
				others = append(others, system)
			} else {
				linux = append(linux, t.Python+" on "+t.Platform)
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

// systemOf is the system of a platform tag that is not Linux's; "" = another.
func systemOf(platform string) string {
	for _, s := range [...]struct{ prefix, system string }{
		{"win", "Windows"}, {"macosx_", "macOS"}, {"android_", "Android"}, {"ios_", "iOS"}, {"pyodide_", "Pyodide"}, {"emscripten_", "Emscripten"},
	} {
		if strings.HasPrefix(platform, s.prefix) {
			return s.system
		}
	}
	return ""
}
