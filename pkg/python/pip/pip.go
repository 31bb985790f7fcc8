// Package pip knows what pip would have done with a command line and its
// configuration, so that it can be done without pip.
//
// [Parse] reads a shell line that is made only of pip installs (`pip install`,
// `python3 -m pip install`, `uv pip install`, joined by && and ;) and gives each
// as an [Install]. A line that is understood only in part is an error that names
// the word: nothing is ever half-done. [PipConfig] and [UVConfig] find index
// settings where pip and uv find them; [Merge] joins them. [DefaultIndex] reads
// the index that pip uses without any setting out of pip's own source text.
//
// The package resolves nothing, fetches nothing and writes nothing. It reads no
// environment and no file but through what it is given, and it knows the name
// of no package index.
package pip

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Tool is the program that a line calls.
type Tool uint8

// The tools whose command lines are understood.
const (
	Pip Tool = iota + 1
	UV       // `uv pip`, which installs for pip but by its own options and defaults
)

// String returns the tool's name.
func (t Tool) String() string {
	if t == UV {
		return "uv"
	}
	return "pip"
}

// Install is one pip install.
type Install struct {
	Tool Tool
	// Program is the program as written: "pip3.12", "/opt/venv/bin/pip",
	// "python3 -m pip".
	Program string
	// Python is the version that the program's name (or uv's --python) asks
	// for: "3.12", "3", or "".
	Python string
	// Line is the line in the text that the command begins at, from 1.
	Line int

	Requirements []string // "flask[async]>=3", "pkg @ https://…": PEP 508
	Paths        []string // local wheels, source archives and directories, as written
	URLs         []string // wheels, archives and repositories named by URL only
	Editable     []string // -e, as written
	Files        []string // -r
	Constraints  []string // -c

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
	// System is uv's --system: without it uv installs into a virtual
	// environment.
	System bool

	// What source distributions would be built with.
	ConfigSettings   []string // "KEY=VALUE"
	NoBuildIsolation bool

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
	return len(in.Requirements)+len(in.Paths)+len(in.URLs)+len(in.Editable)+len(in.Files) == 0
}

// ParseOptions are what the meaning of a line depends on.
type ParseOptions struct {
	// Env is the environment that the line runs in: the image's, with ARG and
	// ENV. An unset HOME is /root, root's.
	Env map[string]string
	// Dir is the working directory; "" is the root.
	Dir string
	// ReadFile reads pip's configuration files in the image, by absolute path,
	// with fs.ErrNotExist where there is none; nil: there are none.
	ReadFile ReadFunc
	// ReadDir lists a directory of the image, for patterns such as *.whl. nil:
	// a line with a pattern is not understood.
	ReadDir func(name string) ([]fs.DirEntry, error)
	// PythonPrefix is sys.prefix of the Python that pip belongs to, where pip
	// looks for a configuration too; "" skips that.
	PythonPrefix string
}

// NotPipError reports a line that is not, or not only, pip installs.
type NotPipError struct {
	// Word is the first word that is not of a pip install: "apt-get".
	Word string
	// Line is where in the text it stands, from 1.
	Line int
}

func (e *NotPipError) Error() string { return fmt.Sprintf("%q is not a pip install", e.Word) }

// WordError reports a pip install with a word that is not understood, or that
// asks for what cannot be done.
type WordError struct {
	Word   string
	Line   int
	Reason string
	Err    error
	hint   string
}

func (e *WordError) Error() string {
	s := fmt.Sprintf("pip install: %q %s", e.Word, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *WordError) Unwrap() error { return e.Err }

// Hint says what the user can do, "" where nothing is known.
func (e *WordError) Hint() string { return e.hint }

// ParseArgs reads a command in exec form, which no shell expands:
// ["pip", "install", "flask"]. A shell called with -c is read by [Parse].
func ParseArgs(args []string, o ParseOptions) ([]Install, error) {
	if len(args) == 3 && isShell(args[0]) && isCommandFlag(args[1]) {
		return Parse(args[2], o)
	}
	if len(args) == 0 || args[0] == "export" || args[0] == "set" { // known to shells only
		return nil, notPip(strings.Join(args[:min(len(args), 1)], ""), 1)
	}
	p := newShell(o)
	if err := p.command(args, p.env, 1); err != nil {
		return nil, err
	}
	return p.installs, nil
}

func isShell(word string) bool {
	return slices.Contains([]string{"sh", "bash", "ash", "dash"}, path.Base(word))
}

// isCommandFlag reports -c, -ec, -exc and the like.
func isCommandFlag(word string) bool {
	flags, ok := strings.CutPrefix(word, "-")
	return ok && strings.HasSuffix(flags, "c") && strings.Trim(flags, "eux") == "c"
}
