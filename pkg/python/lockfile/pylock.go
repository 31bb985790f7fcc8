package lockfile

import (
	"github.com/boyabuild/boyabuild/pkg/python"
)

// File is a lock file of PEP 751. What may be given as a list and is not, is
// nil. Markers of packages may ask for "extras" and "dependency_groups". URLs
// are without user information.
type File struct {
	LockVersion      string // "1.0"
	Environments     []python.Marker
	RequiresPython   python.Specifiers
	Extras           []string
	DependencyGroups []string
	DefaultGroups    []string
	CreatedBy        string
	Packages         []Package
	Tool             map[string]any // values as go-toml has them: string, int64, []any, map[string]any, ...

	// Warnings are what was read and set aside: keys of a newer minor version
	// of the standard. They are not written.
	Warnings []string

	name string // as given to ReadPylock
}

// Package is a [[packages]] of PEP 751. It has one of VCS, Directory and
// Archive, or Sdist, Wheels or both.
type Package struct {
	Name                  string         // normalized
	Version               python.Version // zero = not said
	Marker                python.Marker
	RequiresPython        python.Specifiers
	Dependencies          []Dependency
	VCS                   *VCS
	Directory             *Source
	Archive               *Artifact
	Index                 string
	Sdist                 *Artifact
	Wheels                []Artifact
	AttestationIdentities []map[string]any
	Tool                  map[string]any

	line int
}

// Dependency names another entry of [[packages]]: by as many keys as it takes.
type Dependency struct {
	Name    string
	Version python.Version // zero = not said
	Other   map[string]any // what else tells it from others of the name, as written: "vcs", "index", ...
}

// Artifact is a file with the place it is at: a URL, or a path relative to the
// lock file; or both, or, for wheels and sdists, neither: then an index knows.
type Artifact struct {
	python.File
	Path string
	// Subdirectory is for archives only.
	Subdirectory string
}

// Source is a directory of source code.
type Source struct {
	Path         string // relative to the lock file
	Editable     bool
	Subdirectory string
}

// VCS is a commit of a repository.
type VCS struct {
	Type              string // "git"
	URL, Path         string // one of the two
	RequestedRevision string
	CommitID          string
	Subdirectory      string
}
