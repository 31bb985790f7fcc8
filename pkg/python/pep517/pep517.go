// Package pep517 makes a wheel of a source tree by running the project's own build
// back-end (PEP 517, editable wheels by PEP 660), in a Python that somebody else
// runs.
//
// In go the source's tree and a tree of what the back-end needs; both are sent on
// the standard input of the Python, which lays them out, calls the back-end in a
// virtual environment that has these requirements and nothing else, and sends the
// wheel back on its standard output. So nothing need be shared with the sandbox
// that it runs in, and its file system is not written to for good.
//
// The code that runs is the project's, and what it answers is not trusted: names
// and sizes are checked here, and the wheel is whatever it is. The package runs
// nothing by itself, resolves no requirements and writes no file.
package pep517

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
)

// Dir is the directory, in the sandbox, in which a build takes place. It is always
// the same, since compilers write it into what they make.
const Dir = "/tmp/boyabuild"

// EnvironmentDir is the virtual environment of the build.
const EnvironmentDir = Dir + "/env"

// LegacyBackend is the back-end of a project that names none (PEP 517, "Source
// trees"), as pip has it.
const LegacyBackend = "setuptools.build_meta:__legacy__"

//go:embed unpack.py
var unpackScript string

//go:embed hook.py
var hookScript string

// Runner runs a command in a sandbox, best without a network, and waits for its
// end. Input and output are passed on while it runs. A command that does not end
// with status 0 is an error. What it writes below Dir must be gone when it has
// ended.
type Runner interface {
	Run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) error
}

// Input is what is built, and with what.
type Input struct {
	// Interpreter is the Python's absolute path where the Runner runs it.
	Interpreter string
	// Source is the source tree, "pyproject.toml" and all.
	Source layers.Tree
	// At is where Source lies during the build, absolute; "" is below Dir. What the
	// sandbox's image has there is not seen, so it must hold neither Dir nor the
	// Interpreter. What is written there must be gone afterwards, too.
	At string
	// Project is the project's directory in Source where that is not its root.
	Project string
	// Environment are the build requirements as they are installed into the virtual
	// environment at EnvironmentDir: wheels laid out with the wheel package's
	// Installation{Prefix: EnvironmentDir, Interpreter: EnvironmentDir + "/bin/python",
	// Venv: true} and the Python's version.
	Environment layers.Tree
	// Backend is build-backend: "hatchling.build"; "" is LegacyBackend.
	Backend string
	// BackendPath is backend-path: directories relative to the project's.
	BackendPath []string
	// ConfigSettings are passed to the hooks, a single value as a string and
	// several as a list, as pip does.
	ConfigSettings map[string][]string
	// Env are more environment variables, KEY=VALUE; they win over the package's.
	Env []string
	// Time is SOURCE_DATE_EPOCH and the time of all files; before 1980, where a
	// wheel's times begin, it is that.
	Time time.Time
	// Log takes what the back-end says, at the debug level; nil discards it.
	Log *slog.Logger

	dir string // for tests: in place of Dir
}

// Requires returns what the back-end needs to build a wheel beyond build-system.requires
// (get_requires_for_build_wheel); Environment has these already. The error is a
// *BuildError where the back-end is the cause.
func Requires(ctx context.Context, run Runner, in Input) ([]python.Requirement, error) {
	return in.requires(ctx, run, "get_requires_for_build_wheel")
}

// RequiresEditable is Requires for an editable wheel (PEP 660).
func RequiresEditable(ctx context.Context, run Runner, in Input) ([]python.Requirement, error) {
	return in.requires(ctx, run, "get_requires_for_build_editable")
}

func (in Input) requires(ctx context.Context, run Runner, hook string) ([]python.Requirement, error) {
	r, err := in.call(ctx, run, hook, nil)
	if err != nil {
		return nil, err
	}
	var all []python.Requirement
	for _, text := range r.Requires {
		req, err := python.ParseRequirement(text)
		if err != nil {
			return nil, in.failure(hook, "asks for what is no requirement", err)
		}
		all = append(all, req)
	}
	return all, nil
}

// BuildWheel writes the wheel that the back-end builds to w and returns its file
// name, a valid one; what the wheel holds is not looked at. The error is a
// *BuildError where the back-end is the cause; what was written to w is then of no
// use.
func BuildWheel(ctx context.Context, run Runner, in Input, w io.Writer) (filename string, err error) {
	return in.wheel(ctx, run, "build_wheel", w)
}

// BuildEditable is BuildWheel for an editable wheel (PEP 660). It leads to where
// the source lies during the build, Input.At. A back-end that writes files there
// which the wheel may lead to is an error: they would be lost.
func BuildEditable(ctx context.Context, run Runner, in Input, w io.Writer) (filename string, err error) {
	return in.wheel(ctx, run, "build_editable", w)
}

func (in Input) wheel(ctx context.Context, run Runner, hook string, w io.Writer) (string, error) {
	r, err := in.call(ctx, run, hook, w)
	if err != nil {
		return "", err
	}
	if _, err := python.ParseWheelName(r.Filename); err != nil {
		return "", in.failure(hook, "made a file with another name than a wheel's", err)
	}
	return r.Filename, nil
}

// Metadata returns the metadata that the wheel would have
// (prepare_metadata_for_build_wheel, or that of a wheel built for it where the
// back-end cannot). The error is a *BuildError where the back-end is the cause.
func Metadata(ctx context.Context, run Runner, in Input) (python.Metadata, error) {
	var b strings.Builder
	if _, err := in.call(ctx, run, "metadata", &b); err != nil {
		return python.Metadata{}, err
	}
	m, err := python.ParseMetadata([]byte(b.String()))
	if err != nil {
		return python.Metadata{}, in.failure("metadata", "has invalid metadata", err)
	}
	return m, nil
}

// backend is the one that counts.
func (in Input) backend() string {
	if in.Backend == "" {
		return LegacyBackend
	}
	return in.Backend
}

func (in Input) top() string {
	if in.dir != "" {
		return in.dir
	}
	return Dir
}

// at is where the source lies during the build.
func (in Input) at() string {
	if in.At != "" {
		return path.Clean(in.At)
	}
	return in.top() + "/source"
}

// request is the JSON object that unpack.py and hook.py read.
type request struct {
	Dir         string         `json:"dir"`
	Source      string         `json:"source"`
	Cwd         string         `json:"cwd"`
	Time        int64          `json:"time"`
	Script      string         `json:"script"`
	Env         []string       `json:"env"`
	Hook        string         `json:"hook"`
	Backend     string         `json:"backend"`
	BackendPath []string       `json:"backend_path"`
	Settings    map[string]any `json:"settings"`
}

func (in Input) request(hook string) ([]byte, error) {
	top := in.top()
	at := in.Time
	if first := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC); at.Before(first) {
		at = first
	}
	project := path.Clean("/" + in.Project)
	r := request{
		Dir: top, Source: in.at(), Cwd: path.Join(in.at(), project), Time: at.Unix(), Script: hookScript,
		Hook: hook, Backend: in.backend(), BackendPath: in.BackendPath, Settings: map[string]any{},
	}
	if r.BackendPath == nil {
		r.BackendPath = []string{}
	}
	for k, v := range in.ConfigSettings {
		r.Settings[k] = v
		if len(v) == 1 {
			r.Settings[k] = v[0]
		}
	}
	r.Env = append([]string{
		"PATH=" + top + "/env/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + top + "/home", "TMPDIR=" + top + "/tmp", "VIRTUAL_ENV=" + top + "/env",
		"LC_ALL=C.UTF-8", "PYTHONUTF8=1", "TZ=UTC",
		"PYTHONNOUSERSITE=1", "PYTHONDONTWRITEBYTECODE=1", "PYTHONHASHSEED=0", // the latter for wheels that are the same again
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", at.Unix()),
	}, in.Env...)
	for _, e := range r.Env {
		if k, _, ok := strings.Cut(e, "="); !ok || k == "" {
			return nil, fmt.Errorf("build a wheel: %q is no environment variable", e)
		}
	}
	return json.Marshal(r)
}
