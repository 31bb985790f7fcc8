// Package source makes a wheel of a Python source tree, as the project's own
// build back-end would, without running any code.
//
// In goes the tree of a project, unpacked from an sdist (OpenSdist) or taken
// from a directory; out comes a wheel, or the metadata that it would have. The
// rules of hatchling, flit_core, poetry-core, uv_build and setuptools are
// followed for pure-Python projects that say all of themselves in files that
// can be read. A project of which anything is not understood completely (code
// in setup.py, build hooks, extension modules, plugins, another back-end) is a
// *NeedsBuildError that names the file and the key: it has to be built by
// running its back-end, which this package never does. It has no answer that is
// half right.
//
// The wheels are the same for the same tree and options: entries are sorted, and
// their time is given. The package never opens a connection, never looks at the
// machine's Python, and reads nothing but the tree.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// Options shape a wheel.
type Options struct {
	// Time is the modification time of every file in the wheel. Zero, and
	// anything before it, is 1980-01-01, the earliest that a zip can say.
	Time time.Time
}

// NeedsBuildError says why a wheel cannot be made without running the project's
// build back-end.
type NeedsBuildError struct {
	File   string // relative to the project: "pyproject.toml", "setup.py"
	Key    string // "tool.hatch.build.hooks"; "" = the file as a whole
	Line   int    // 0 = not known
	Reason string // "build hooks run code"
}

// Error returns "pyproject.toml:12: tool.hatch.build.hooks: build hooks run code".
func (e *NeedsBuildError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	return b.String() + ": " + e.Reason
}

// NotAProjectError reports a tree that no Python installer would take: it has
// neither pyproject.toml nor setup.py.
type NotAProjectError struct{}

func (*NotAProjectError) Error() string {
	return "the directory is no Python project: it has neither pyproject.toml nor setup.py"
}

// Wheel writes the wheel that the project's own back-end would build of tree to
// w, and returns its file name. The error is a *NeedsBuildError where that takes
// running the back-end, a *python.FileError where a file is not valid, and a
// *NotAProjectError.
func Wheel(ctx context.Context, tree layers.Tree, w io.Writer, o Options) (filename string, err error) {
	p, err := understand(tree, false)
	if err != nil {
		return "", err
	}
	return p.write(ctx, w, o)
}

// Editable writes an editable wheel (PEP 660), and returns its file name:
// metadata, entry points, and a .pth file that leads to the sources, which stay
// where they are: in projectDir, an absolute path where the wheel is installed.
//
// All back-ends leave a .pth file but setuptools for a flat layout, for which it
// leaves a finder that shows only the project's own packages. The .pth that
// stands for it shows all that lies in the project's directory, as
// "setup.py develop" did. The errors are those of Wheel.
func Editable(ctx context.Context, tree layers.Tree, projectDir string, w io.Writer, o Options) (filename string, err error) {
	if !path.IsAbs(projectDir) || strings.ContainsFunc(projectDir, func(r rune) bool { return r < ' ' }) {
		return "", fmt.Errorf("make an editable wheel: the project's directory %q is not an absolute path", projectDir)
	}
	p, err := understand(tree, true)
	if err != nil {
		return "", err
	}
	if err := p.editable(path.Clean(projectDir)); err != nil {
		return "", err
	}
	return p.write(ctx, w, o)
}

// Metadata returns the metadata that the wheel of tree would have. The errors
// are those of Wheel.
func Metadata(tree layers.Tree) (python.Metadata, error) {
	p, err := understand(tree, false)
	if err != nil {
		return python.Metadata{}, err
	}
	return python.ParseMetadata(p.core.bytes())
}

// BuildRequires returns how the project says that it is built, with the
// defaults filled in: what a wheel of it is built with where Wheel cannot make
// one.
func BuildRequires(tree layers.Tree) (project.BuildSystem, error) {
	s := newTree(tree)
	p, err := s.pyproject()
	var wrong *NeedsBuildError
	if errors.As(err, &wrong) {
		return s.buildSystem()
	}
	if err != nil {
		return project.BuildSystem{}, err
	}
	if p == nil && !s.isFile("setup.py") {
		return project.BuildSystem{}, &NotAProjectError{}
	}
	if p == nil {
		if p, err = project.Read("pyproject.toml", nil); err != nil {
			return project.BuildSystem{}, err
		}
	}
	return p.BuildSystem, nil
}

// backend is a build back-end whose rules are known.
type backend struct {
	name string // of its distribution, normalized
	// modelled are the versions whose rules are known, the newest first. A
	// project must allow one of them.
	modelled []string
	// harmless are other distributions that a project may ask for beside it.
	harmless []string
	plan     func(*sourceTree, *project.Project, python.Version) (*plan, error)
}

// backends returns the back-ends by the name in build-backend. The versions are
// those that the rules here were compared with.
func backends() map[string]backend {
	setuptools := backend{name: "setuptools", modelled: []string{"84.2.1", "80.9.0"}, harmless: []string{"wheel"}, plan: planSetuptools}
	return map[string]backend{
		"hatchling.build":         {name: "hatchling", modelled: []string{"1.33.0", "1.27.0"}, plan: planHatchling},
		"flit_core.buildapi":      {name: "flit-core", modelled: []string{"4.2.0", "3.12.0"}, plan: planFlit},
		"poetry.core.masonry.api": {name: "poetry-core", modelled: []string{"2.5.0"}, plan: planPoetry},
		"uv_build":                {name: "uv-build", modelled: uvVersions(), plan: planUV},
		"setuptools.build_meta":   setuptools,
		project.DefaultBackend:    setuptools,
	}
}

// understand finds out what the wheel of a tree is.
func understand(tree layers.Tree, editable bool) (*plan, error) {
	s := newTree(tree)
	p, err := s.pyproject()
	if err != nil {
		return nil, err
	}
	if p == nil {
		if !s.isFile("setup.py") {
			return nil, &NotAProjectError{}
		}
		if p, err = project.Read("pyproject.toml", nil); err != nil {
			return nil, err
		}
	}
	b, version, err := chooseBackend(p)
	if err != nil {
		return nil, err
	}
	plan, err := b.plan(s, p, version)
	if err != nil {
		return nil, err
	}
	if s.err != nil {
		return nil, s.err
	}
	return plan, plan.check(s, editable)
}

// chooseBackend returns the rules to follow, and for which version of the
// back-end. Whatever else is installed for the build may change what it does.
func chooseBackend(p *project.Project) (backend, python.Version, error) {
	bs := p.BuildSystem
	refuse := func(key, format string, args ...any) (backend, python.Version, error) {
		return backend{}, python.Version{}, needsBuild(p, strings.Split("build-system."+key, "."), format, args...)
	}
	if len(bs.BackendPath) > 0 {
		return refuse("backend-path", "the project brings a build back-end of its own")
	}
	b, ok := backends()[bs.Backend]
	if !ok {
		return refuse("build-backend", "the rules of the back-end %s are not known here", bs.Backend)
	}
	version := mustVersion(b.modelled[0])
	for _, r := range bs.Requires {
		switch {
		case slices.Contains(b.harmless, r.Key()) && r.URL == "":
		case r.Key() != b.name:
			return refuse("requires", "%s may change what %s does", r.Name, b.name)
		case r.URL != "" || len(r.Extras) > 0 || !r.Marker.IsZero():
			return refuse("requires", "what %s is depends on the machine it is built on", r.Redacted())
		default:
			i := slices.IndexFunc(b.modelled, func(v string) bool { return r.Specifiers.Contains(mustVersion(v)) })
			if i < 0 {
				return refuse("requires", "the rules of %s are not known here", r)
			}
			if v := mustVersion(b.modelled[i]); v.Compare(version) < 0 {
				version = v
			}
		}
	}
	return b, version, nil
}

// needsBuild returns a NeedsBuildError about a key of pyproject.toml.
func needsBuild(p *project.Project, key []string, format string, args ...any) error {
	return &NeedsBuildError{File: p.File, Key: strings.Join(key, "."), Line: p.Line(key...), Reason: fmt.Sprintf(format, args...)}
}

// keyed is needsBuild for a key without dots in its parts.
func keyed(p *project.Project, key, format string, args ...any) error {
	return needsBuild(p, strings.Split(key, "."), format, args...)
}

// mustVersion reads a version of this package's own.
func mustVersion(s string) python.Version {
	v, err := python.ParseVersion(s)
	if err != nil {
		panic(err)
	}
	return v
}

// pyproject reads pyproject.toml; nil when there is none. A file that is TOML, and
// in which something else is wrong, is left to the back-end: it may take it.
func (s *sourceTree) pyproject() (*project.Project, error) {
	data, err := s.read("pyproject.toml", maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := project.Read("pyproject.toml", data)
	var wrong *python.FileError
	if errors.As(err, &wrong) && toml.Unmarshal(data, &map[string]any{}) == nil {
		return nil, &NeedsBuildError{File: wrong.File, Line: wrong.Line, Reason: wrong.Err.Error()}
	}
	return p, err
}

// buildSystem reads [build-system] alone, of a file in which something else may
// be wrong.
func (s *sourceTree) buildSystem() (project.BuildSystem, error) {
	var file struct {
		BuildSystem map[string]any `toml:"build-system"`
	}
	data, err := s.read("pyproject.toml", maxConfig)
	if err == nil {
		err = toml.Unmarshal(data, &file)
	}
	var alone []byte
	if err == nil && file.BuildSystem != nil {
		alone, err = toml.Marshal(map[string]any{"build-system": file.BuildSystem})
	}
	if err != nil {
		return project.BuildSystem{}, inFile("pyproject.toml", err)
	}
	p, err := project.Read("pyproject.toml", alone)
	if err != nil {
		return project.BuildSystem{}, err
	}
	return p.BuildSystem, nil
}
