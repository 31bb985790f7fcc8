// Package lockfile reads the lock files of Python projects and writes those of
// PEP 751.
//
// In goes the content of pylock.toml, uv.lock, poetry.lock or Pipfile.lock,
// out comes a Locker, which answers what to install on one target: each package
// with the wheel that fits best (python.Lock), or, where the file names no
// URLs, pinned and hashed requirements for an index, and what has to be built
// from a directory or a repository. In the other direction Merge makes one
// pylock.toml of the locks of several targets, and Requirements a
// requirements.txt.
//
// Nothing is resolved, fetched, built or verified here: hashes are handed on to
// whoever downloads.
package lockfile

import (
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// Locker is a lock file that has been read.
type Locker interface {
	// Select returns what is to be installed on a target. Errors in the file
	// are *python.FileError, of a *NoFileError, *AmbiguousError, *TargetError,
	// *project.UnknownNameError or *NeedsProjectError where a caller may decide
	// on them.
	Select(t python.Target, s Selection) (Selected, error)
	// Outdated returns an *OutdatedError where the lock is not that of the
	// project any more (--locked), and nil where it is, or where the file does
	// not let it be known: pylock.toml never does. Without the project's own
	// file it is a *NeedsProjectError.
	Outdated() error
}

// Selection says what of a lock is wanted. The zero value is what the tool that
// wrote it would install without any option. Names are in any spelling.
type Selection struct {
	Extras          []string
	AllExtras       bool
	NoExtras        []string // left out of AllExtras
	Groups          []string // dependency groups, beside the default ones
	AllGroups       bool
	NoGroups        []string // left out even if default; "main" is the project's own dependencies
	NoDefaultGroups bool
	// OnlyGroups, where there are any, are the only groups that are wanted: not
	// the default ones, and neither the project's own dependencies nor the
	// project, unless "main" is one of them.
	OnlyGroups []string
	NoProject  bool // the project itself is not in Local
	// Member is the name of the member of a workspace whose dependencies are
	// wanted; "" is the one at the workspace's root, or, where there is none,
	// all members.
	Member string
	// NoWheels and NoSdists are names of projects, normalized, or ":all:", of
	// which wheels or sdists are not taken (--no-binary, --only-binary). What
	// is said of a project wins over ":all:".
	NoWheels, NoSdists []string
}

// mainGroup is what the tools call the project's own dependencies where they
// are one group among others.
const mainGroup = "main"

// main reports whether the project's own dependencies are wanted.
func (s Selection) main() bool {
	if len(s.OnlyGroups) > 0 && !wantNames(s.OnlyGroups)[mainGroup] {
		return false
	}
	return !wantNames(s.NoGroups)[mainGroup]
}

// groups returns the groups that are wanted, of those known. defaults need not
// be known.
func (s Selection) groups(known want, defaults []string) (want, error) {
	if err := knownNames("dependency group", slices.Concat(s.Groups, s.OnlyGroups, s.NoGroups), append(known.names(), mainGroup)); err != nil {
		return nil, err
	}
	w := wantNames(s.Groups)
	switch {
	case len(s.OnlyGroups) > 0:
		w = wantNames(s.OnlyGroups)
	case s.AllGroups:
		w = maps.Clone(known)
	case !s.NoDefaultGroups:
		for _, g := range defaults {
			w[python.NormalizeName(g)] = true
		}
	}
	for _, g := range s.NoGroups {
		delete(w, python.NormalizeName(g))
	}
	delete(w, mainGroup)
	return w, nil
}

// extras returns the extras that are wanted, of those known.
func (s Selection) extras(known want) (want, error) {
	if err := knownNames("extra", append(slices.Clone(s.Extras), s.NoExtras...), known.names()); err != nil {
		return nil, err
	}
	w := wantNames(s.Extras)
	if s.AllExtras {
		w = maps.Clone(known)
	}
	for _, x := range s.NoExtras {
		delete(w, python.NormalizeExtra(x))
	}
	return w, nil
}

// knownNames returns an error for a name that is not among those known.
func knownNames(kind string, names, known []string) error {
	for _, n := range names {
		if !slices.Contains(known, python.NormalizeName(n)) {
			return &project.UnknownNameError{Kind: kind, Name: n, Owner: "the lock", Known: sortedSet(known)}
		}
	}
	return nil
}

// Selected is what is to be installed.
type Selected struct {
	// Lock are the packages whose file is known by URL and hash: the wheel that
	// fits best, or the sdist where none does.
	Lock python.Lock
	// Pins are packages of which the version and the hashes of all files are
	// known, but no URL: an index has to be asked. They are exact, and complete:
	// what they depend on is not to be asked for again.
	Pins []python.FileRequirement
	// IndexOf is the URL of the index that a pin is to come from, by normalized
	// name, without user information. A name that is not in it comes from any.
	IndexOf map[string]string
	// Local are directories, files and repositories beside the lock, and what
	// has to be built though it is no sdist of an index.
	Local []Local
	// Indexes are the URLs of the indexes that the file names as the origin of
	// what was selected, sorted, without user information.
	Indexes []string
	// Warnings are what was set aside and should be told.
	Warnings []string
}

// Local is a project that is not a file of an index.
type Local struct {
	Name    string         // normalized
	Version python.Version // zero = not known before it is built
	Kind    LocalKind
	// Path is a directory or a file, relative to the folder of the lock file
	// unless it is absolute. It may begin with "..".
	Path string
	// URL is that of a file or a repository, without user information; one of
	// Path and URL is set.
	URL          string
	Editable     bool
	Subdirectory string   // of the project in an archive or a repository; never leads out
	VCS          string   // of a Repository: "git"
	Commit       string   // likewise, the exact one
	Revision     string   // likewise, as the user wrote it: a tag, a branch; may be ""
	Hashes       []string // of an Archive: "sha256:hex", any of which will do; none = not known
	RequiredBy   []string // as in python.Locked
	Requested    bool
	Extras       []string
	Root         bool // the project that the lock is of
	Line         int
}

// LocalKind tells what a Local is.
type LocalKind uint8

// The kinds of Local.
const (
	Directory  LocalKind = iota // a directory of source code
	Archive                     // a file: a wheel, or source code in an archive
	Repository                  // a commit of a repository
)

// Read reads a lock file; which format it has is told by its name: pylock.toml
// and pylock.NAME.toml, uv.lock, poetry.lock, Pipfile.lock.
//
// beside are the contents of the project's own files that lie beside the lock,
// by their names without a folder: "pyproject.toml", "Pipfile". Those that are
// not there may be missing. They tell the default groups, and whether the lock
// is up to date; a poetry.lock older than version 2.1 does not say without one
// who asks for what. Errors are *python.FileError.
func Read(name string, data []byte, beside map[string][]byte) (Locker, error) {
	n := neighbours{dir: path.Dir(filepath.ToSlash(name)), files: beside}
	switch base := path.Base(filepath.ToSlash(name)); {
	case pylockName.MatchString(base):
		return ReadPylock(name, data)
	case base == "uv.lock":
		return readUV(name, data, n)
	case base == "poetry.lock":
		return readPoetry(name, data, n)
	case base == "Pipfile.lock":
		return readPipenv(name, data, n)
	}
	return nil, &python.FileError{File: name, Err: &FormatError{}}
}

// neighbours are the files beside a lock.
type neighbours struct {
	dir   string
	files map[string][]byte
}

// project reads one of them; nil when it is not there.
func (n neighbours) project(base string) (*project.Project, error) {
	data, ok := n.files[base]
	if !ok {
		return nil, nil
	}
	return project.Read(path.Join(n.dir, base), data)
}

// pylockName is the rule of PEP 751, "File Name".
var pylockName = regexp.MustCompile(`^pylock(\.[^.]+)?\.toml$`)

// IsLockFile reports whether Read knows the format of a file by its name.
func IsLockFile(name string) bool {
	switch base := path.Base(filepath.ToSlash(name)); base {
	case "uv.lock", "poetry.lock", "Pipfile.lock":
		return true
	default:
		return pylockName.MatchString(base)
	}
}

// Requirements writes locks of the same input for one or several targets as a
// requirements file. See RequirementsOptions.
func Requirements(w io.Writer, locks []python.Lock, o RequirementsOptions) error {
	text, err := requirements(locks, o)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write requirements: %w", err)
	}
	return nil
}
