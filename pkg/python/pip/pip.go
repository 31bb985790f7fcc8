// Package pip knows what pip, uv, Poetry and Pipenv would have done with a
// command line and their configuration, so that it can be done without them.
//
// [ParseSteps] reads a shell line, or several, and gives what it does as [Step]s
// in order: an [Install] (`pip install`, `python3 -m pip install`, `uv pip
// install`), a [Sync] (`uv sync`, `poetry install`, `pipenv install`: a project
// with its lock), a [Venv] (`python3 -m venv`, `virtualenv`, `uv venv`) or a file
// that is written (`poetry config`). A line that is understood only in part is an
// error that names the word: nothing is ever half-done. [PipConfig] and
// [UVConfig] find index settings where pip and uv find them; [Merge] joins them.
// [DefaultIndex] reads the index that pip uses without any setting out of pip's
// own source text.
//
// The package resolves nothing, fetches nothing and writes nothing. It reads no
// environment and no file but through what it is given, and it knows the name
// of no package index.
package pip

import (
	"fmt"
	"io/fs"
)

// Tool is the program that a line calls.
type Tool uint8

// The tools whose command lines are understood.
const (
	Pip        Tool = iota + 1
	UV              // `uv pip` installs for pip but by its own options and defaults; `uv sync`, `uv venv`
	Poetry          // `poetry install`, `poetry sync`
	Pipenv          // `pipenv install`, `pipenv sync`
	VenvModule      // `python -m venv`
	Virtualenv      // `virtualenv`, `python -m virtualenv`
)

// String returns the tool's name.
func (t Tool) String() string {
	switch t {
	case UV:
		return "uv"
	case Poetry:
		return "poetry"
	case Pipenv:
		return "pipenv"
	case VenvModule:
		return "venv"
	case Virtualenv:
		return "virtualenv"
	}
	return "pip"
}

// ParseOptions are what the meaning of a line depends on.
type ParseOptions struct {
	// Env is the environment that the line runs in: the image's, with ARG and
	// ENV. An unset HOME is /root, root's.
	Env map[string]string
	// Dir is the working directory; "" is the root.
	Dir string
	// ReadFile reads the image's files, by absolute path, with fs.ErrNotExist
	// where there is none: the tools' configuration, a project's pyproject.toml,
	// the pyvenv.cfg of a virtual environment. nil: the image is not known yet;
	// what depends on its files is taken for granted, or left open.
	ReadFile ReadFunc
	// ReadDir lists a directory of the image, for patterns such as *.whl. nil:
	// a line with a pattern is not understood.
	ReadDir func(name string) ([]fs.DirEntry, error)
	// PythonPrefix is sys.prefix of the Python that pip belongs to, where pip
	// looks for a configuration too; "" skips that.
	PythonPrefix string
	// PythonVersion is that Python's version, "3.12"; "" where it is not known.
	PythonVersion string
}

// NotPipError reports a line that is not, or not only, made of what is known
// here.
type NotPipError struct {
	// Word is the first word that is not: "apt-get".
	Word string
	// Line is where in the text it stands, from 1.
	Line int
}

func (e *NotPipError) Error() string { return fmt.Sprintf("%q is not a pip install", e.Word) }

// WordError reports a known command with a word that is not understood, or that
// asks for what cannot be done.
type WordError struct {
	Command string // "uv sync"; "" for pip install
	Word    string
	Line    int
	Reason  string
	Err     error
	hint    string
}

func (e *WordError) Error() string {
	command := e.Command
	if command == "" {
		command = "pip install"
	}
	s := fmt.Sprintf("%s: %q %s", command, e.Word, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *WordError) Unwrap() error { return e.Err }

// Hint says what the user can do, "" where nothing is known.
func (e *WordError) Hint() string { return e.hint }
