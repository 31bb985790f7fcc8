package lockfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// FormatError is a file whose name is that of no lock file that is known.
type FormatError struct{}

func (e *FormatError) Error() string { return "this is no lock file by its name" }

// Hint names those that are.
func (e *FormatError) Hint() string {
	return "lock files are pylock.toml, pylock.NAME.toml, uv.lock, poetry.lock and Pipfile.lock"
}

// VersionError is a lock file of a version of its format that is not known.
type VersionError struct {
	Format    string // "PEP 751", "uv.lock", ...
	Version   string // as the file has it
	Supported string // "1"
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s version %s is not supported; supported is %s", e.Format, e.Version, e.Supported)
}

// Hint says what would help.
func (e *VersionError) Hint() string {
	return "write the lock in the older format, or export it as pylock.toml"
}

// TargetError is a target that the lock is not for.
type TargetError struct {
	Target python.Target
	Reason string
}

func (e *TargetError) Error() string {
	return fmt.Sprintf("the lock is not for %s: %s", e.Target, e.Reason)
}

// Hint says what would help.
func (e *TargetError) Hint() string { return "lock again for this target too, or use another base" }

// NoFileError is a package of which the lock has no file that the target takes.
type NoFileError struct {
	Package string
	Version python.Version
	Target  python.Target
	Wheels  []string // file names of those that there are
	Sdist   string   // file name of an sdist that must not be used; "" = there is none
	Reason  string   // what else keeps the files from being used; "" = nothing
}

func (e *NoFileError) Error() string {
	name := e.Package
	if !e.Version.IsZero() {
		name += " " + e.Version.String()
	}
	if e.Reason != "" {
		return fmt.Sprintf("%s: %s", name, e.Reason)
	}
	return fmt.Sprintf("%s has no file for %s: the lock has %s", name, e.Target, e.files())
}

// files lists what there is.
func (e *NoFileError) files() string {
	const most = 4
	switch n := len(e.Wheels); {
	case n == 0 && e.Sdist == "":
		return "neither a wheel nor an sdist"
	case n == 0:
		return "only an sdist, which must not be used"
	case n > most:
		return fmt.Sprintf("%d wheels (%s, …) and no sdist", n, strings.Join(e.Wheels[:most], ", "))
	default:
		return fmt.Sprintf("%s and no sdist", strings.Join(e.Wheels, ", "))
	}
}

// Hint says what would help.
func (e *NoFileError) Hint() string {
	if e.Sdist != "" {
		return fmt.Sprintf("allow %s to be built from its source, or take a version that has a wheel", e.Package)
	}
	libc, pythons := map[string]bool{}, map[string]bool{}
	for _, w := range e.Wheels {
		n, err := python.ParseWheelName(w)
		if err != nil {
			continue
		}
		for _, t := range n.Tags {
			pythons[t.Python] = true
			switch {
			case strings.HasPrefix(t.Platform, "manylinux"):
				libc["glibc"] = true
			case strings.HasPrefix(t.Platform, "musllinux"):
				libc["musl"] = true
			}
		}
	}
	switch {
	case e.Target.Libc.Name == "musl" && libc["glibc"] && !libc["musl"]:
		return "there are wheels for glibc: use a base with glibc, such as a Debian one, or a version that has a musllinux wheel"
	case len(libc) > 0 && !pythons[fmt.Sprintf("cp%d%d", e.Target.Python.Number(0), e.Target.Python.Number(1))]:
		return "there are wheels for other versions of Python: use a base with one of them, or a version of the package that has a wheel for this one"
	}
	return "lock again for this target too, or take a version that has a wheel for it"
}

// AmbiguousError is a package of which several entries apply to a target.
type AmbiguousError struct {
	Package  string
	Versions []string
	Target   python.Target
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("several entries of %s apply to %s: %s", e.Package, e.Target, strings.Join(e.Versions, ", "))
}

// Hint says what the cause may be.
func (e *AmbiguousError) Hint() string {
	return "choose extras and groups that go together, or lock again"
}

// ConflictError are extras or groups that the project says exclude one another.
type ConflictError struct{ Names []string } // "the extra cpu of app"

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s exclude one another", strings.Join(e.Names, " and "))
}

// Hint says what to do.
func (e *ConflictError) Hint() string { return "choose one of them; a default group can be left out" }

// NeedsProjectError is a lock that does not say who asks for what.
type NeedsProjectError struct{ Why string }

func (e *NeedsProjectError) Error() string { return e.Why }

// Hint says what to do.
func (e *NeedsProjectError) Hint() string {
	return "keep pyproject.toml beside it, or lock again with Poetry 2"
}

// OutdatedError says that a lock is not that of its project any more.
type OutdatedError struct {
	Lock, Project string   // files
	Reasons       []string // what differs; at least one
	Command       string   // what makes a new one: "uv lock"
}

func (e *OutdatedError) Error() string {
	return fmt.Sprintf("%s is not up to date with %s: %s", e.Lock, e.Project, strings.Join(e.Reasons, "; "))
}

// Position is the lock file: it is the user's to make again.
func (e *OutdatedError) Position() (file string, line int) { return e.Lock, 0 }

// Hint names the command.
func (e *OutdatedError) Hint() string { return fmt.Sprintf("run %s", e.Command) }

// ApartError is a package that two targets need differently although no marker
// can tell the targets apart.
type ApartError struct {
	Package string
	A, B    python.Target
	OfA     string // version; "" = not needed at all
	OfB     string
}

func (e *ApartError) Error() string {
	text := func(v string) string {
		if v == "" {
			return "none"
		}
		return v
	}
	return fmt.Sprintf("%s and %s cannot share a lock: they need %s %s and %s, and no marker tells them apart",
		e.A, e.B, e.Package, text(e.OfA), text(e.OfB))
}

// Hint says what to do.
func (e *ApartError) Hint() string {
	return fmt.Sprintf("lock them apart, each into a file of its own (pylock.NAME.toml), or pin %s to a version that suits both", e.Package)
}

// sortedSet is a list sorted, each once; nil stays nil.
func sortedSet(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
