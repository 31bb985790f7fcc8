package pip

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// Install is one pip install.
type Install struct {
	Tool Tool
	// Program is the program as written: "pip3.12", "/opt/venv/bin/pip",
	// "python3 -m pip".
	Program string
	// Interpreter is the Python that is installed for, as an absolute path:
	// where the program is named by its path, where a virtual environment was
	// made or made active in the line, where uv is told by --python or
	// VIRTUAL_ENV. "" is the one that PATH leads to. A program's own folder is
	// what counts: pip's Python is taken to be python3 beside it.
	Interpreter string
	// Python is the version that the program's name (or uv's --python) asks
	// for: "3.12", "3", or "".
	Python string
	// Line is the line in the text that the command begins at, from 1.
	Line int

	Requirements []string // "flask[async]>=3", "pkg @ https://…": PEP 508
	Paths        []string // local wheels, source archives and directories, as written
	URLs         []string // wheels, archives and repositories named by URL only
	Editable     []string // -e, as written
	// Files are -r, and the arguments of `uv pip sync`: requirements files, and
	// with the names pyproject.toml, pylock.toml or pylock.NAME.toml those of
	// projects and locks.
	Files       []string
	Constraints []string // -c
	Groups      []Group  // --group: PEP 735
	// Extras and AllExtras are those of the projects and locks among Files.
	Extras    []string
	AllExtras bool
	// Sync is set for `uv pip sync`: what is installed and not asked for goes.
	Sync bool

	Upgrade         bool
	UpgradeStrategy string   // "eager", "only-if-needed"; "" is pip's default, the latter
	UpgradePackages []string // uv's --upgrade-package
	NoDeps          bool
	ForceReinstall  bool
	// Reinstall are the packages of uv's --reinstall-package.
	Reinstall            []string
	IgnoreInstalled      bool
	IgnoreRequiresPython bool
	// Compile says whether bytecode is compiled: pip does unless told not to, uv
	// only when told to.
	Compile bool

	Target, Prefix string // directories; "" is the default place
	User           bool
	// WheelDir is set for `pip wheel`: the wheels are put into that directory, and
	// nothing is installed.
	WheelDir string
	// System is uv's --system: without it uv installs into a virtual
	// environment.
	System bool

	// What source distributions would be built with.
	ConfigSettings   []string // "KEY=VALUE"
	NoBuildIsolation bool
	BuildConstraints []string // files

	// WithoutScripts are scripts that are left out: ensurepip makes no "pip".
	WithoutScripts []string

	// Config holds the index settings of the command line, of PIP_* or UV_*
	// variables in its environment, and of the configuration files in the image.
	Config Config
	// Isolated is pip's --isolated: the environment and the user's configuration
	// do not count.
	Isolated bool
	// Harmless lists the options that were understood and change nothing here,
	// as written: "--no-cache-dir".
	Harmless []string
}

// IsEmpty says whether there is nothing to install.
func (in *Install) IsEmpty() bool {
	return len(in.Requirements)+len(in.Paths)+len(in.URLs)+len(in.Editable)+len(in.Files)+len(in.Groups) == 0
}

// Group is a dependency group (PEP 735) of a project.
type Group struct {
	Name string
	// File is the pyproject.toml, as written; "" is the one in the working
	// directory.
	File string
}

func (in *Install) config() *Config { return &in.Config }

func (in *Install) understood(option string) {
	if !slices.Contains(in.Harmless, option) {
		in.Harmless = append(in.Harmless, option)
	}
}

// add takes one word that is no option: a requirement, a path or a URL, told
// apart as pip does it.
func (in *Install) add(word string) error {
	before, _, _ := strings.Cut(word, ";") // what follows is a marker
	switch {
	case regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*@`).MatchString(word):
		return in.addRequirement(word)
	case regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://|file:|(git|hg|svn|bzr)\+)`).MatchString(word):
		in.URLs = append(in.URLs, word)
	case strings.HasPrefix(before, ".") || strings.Contains(before, "/") || isArchive(before):
		in.Paths = append(in.Paths, word)
	default:
		return in.addRequirement(word)
	}
	return nil
}

func (in *Install) addRequirement(word string) error {
	if _, err := python.ParseRequirement(word); err != nil {
		return &WordError{Word: word, Reason: "is no requirement", Err: err}
	}
	in.Requirements = append(in.Requirements, word)
	return nil
}

// isArchive reports names of wheels and source archives, extras after them
// left aside.
func isArchive(word string) bool {
	if i := strings.LastIndexByte(word, '['); i > 0 && strings.HasSuffix(word, "]") {
		word = word[:i]
	}
	word = strings.ToLower(path.Base(strings.TrimSpace(word)))
	for _, ext := range []string{".whl", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lz", ".tar.lzma"} {
		if strings.HasSuffix(word, ext) {
			return true
		}
	}
	return false
}
