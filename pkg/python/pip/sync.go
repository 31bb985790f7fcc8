package pip

import (
	"path"
	"slices"
)

// Sync installs a project's dependencies as its lock has them, and mostly the
// project itself: `uv sync`, `poetry install`, `pipenv install`.
type Sync struct {
	Tool Tool
	// Program is the program as written: "uv", "python3 -m poetry".
	Program string
	// Line is the line in the text that the command begins at, from 1.
	Line int
	// Project is the directory of pyproject.toml (of uv's workspace member or
	// root that is named or found) or of the Pipfile, absolute.
	Project string
	// LockFile is the lock's path, absolute. uv's is looked for in Project; a
	// workspace's is in its root, which may be above.
	LockFile string

	// Frozen takes the lock as it is and looks at nothing else for what belongs
	// in it; there must be one. Locked wants it to fit the project; with neither
	// a lock that does not fit, or is not there, is made anew. Poetry's is always
	// Locked, but where there is none it resolves.
	Frozen, Locked bool
	// SkipLock resolves the Pipfile without a lock (pipenv's --skip-lock).
	SkipLock bool

	// Extras of the project; NoExtras are left out of AllExtras.
	Extras, NoExtras []string
	AllExtras        bool

	// Which dependencies, by the names of groups. "main" is Poetry's name for
	// the project's own dependencies and "default" Pipenv's, as in their locks;
	// with uv they always belong to it, unless OnlyGroups is set. Without any of
	// these fields the project's own dependencies and the default groups are
	// meant: uv's are tool.uv.default-groups, or "dev"; Poetry's all that are not
	// optional; Pipenv has none.
	//
	// --dev is Groups "dev" (Pipenv's "develop"), --no-dev is NoGroups "dev",
	// --only-dev is OnlyGroups "dev", Poetry 1's --no-dev is OnlyGroups "main".
	Groups []string // beside the default ones
	// NoGroups are left out, whatever names them.
	NoGroups []string
	// OnlyGroups stand for everything else: neither the project nor the default
	// groups are installed unless named (Poetry installs the project all the
	// same). Where Poetry has --only, Groups and NoGroups are empty, for it
	// ignores them.
	OnlyGroups      []string
	NoDefaultGroups bool
	AllGroups       bool

	// Packages are members of uv's workspace that are installed in place of the
	// project; AllPackages takes all.
	Packages    []string
	AllPackages bool

	// What is left out of that.
	NoProject     bool     // the project itself
	OnlyProject   bool     // all dependencies
	NoWorkspace   bool     // members of uv's workspace, the project too
	NoLocal       bool     // what comes from a path, the workspace too (uv)
	NoDirectories bool     // dependencies that are directories (Poetry)
	NoInstall     []string // packages by name, normalised; their dependencies stay

	// NoEditable installs the project, and members, as if from their wheels;
	// else uv and Poetry install them editable.
	NoEditable         bool
	NoEditablePackages []string

	// Inexact leaves what is installed and not asked for, as Poetry's install
	// and Pipenv do; else it goes, as with uv sync and poetry sync.
	Inexact   bool
	Reinstall bool
	// ReinstallPackages are those of --reinstall-package.
	ReinstallPackages []string
	// Upgrade makes the lock anew with the newest versions; UpgradePackages
	// those of some.
	Upgrade         bool
	UpgradePackages []string
	// Compile says whether bytecode is compiled. Pipenv, which calls pip, does.
	Compile bool

	// System installs into a Python itself: the one that PATH leads to, or that
	// of the prefix that Environment names (UV_PROJECT_ENVIRONMENT=/usr/local).
	System bool
	// Environment is the directory of the virtual environment, absolute; "" where
	// it depends on files of an image that is not known yet. Where it is not
	// there it is made as Venv says, which is nil where one must be there.
	Environment string
	Venv        *Venv
	// PythonVersion is the version that is asked for ("3.12"), Interpreter the
	// path of a Python that the environment is made with.
	PythonVersion string
	Interpreter   string

	// What source distributions would be built with.
	ConfigSettings   []string // "KEY=VALUE"
	NoBuildIsolation bool

	// Config holds the index settings of the command line, of the tool's
	// variables and configuration files. Those of the project and the lock
	// (Poetry's and Pipenv's sources) are not in it.
	Config Config
	// Harmless lists the options that were understood and change nothing here.
	Harmless []string
}

func (s *Sync) config() *Config { return &s.Config }

func (s *Sync) understood(option string) {
	if !slices.Contains(s.Harmless, option) {
		s.Harmless = append(s.Harmless, option)
	}
}

// absolute joins a path to a directory that it is relative to.
func absolute(dir, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join("/", dir, name)
}
