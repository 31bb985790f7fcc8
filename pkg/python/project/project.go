// Package project reads what a Python project says of itself: pyproject.toml
// (PEP 517, 518, 621, 639, 735; the tables of uv and Poetry) and Pipfile.
//
// In goes the content of one file, out comes a Project: its metadata, what it
// and its extras and groups depend on as requirements of PEP 508 with the line
// each is written on, where tools are told to take them from, and how it is
// built. Names of extras and groups are normalized, groups that include others
// are resolved, and the constraints of Poetry and Pipenv are translated.
//
// The package runs nothing, fetches nothing and opens no other file: what only
// the back-end can know ("dynamic") is said to be so.
package project

import (
	"path"
	"path/filepath"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project/document"
)

// Tool is the program whose table says what a project depends on.
type Tool string

// The tools that have a place of their own for dependencies.
const (
	Standard Tool = ""       // [project] and [dependency-groups], whoever reads them
	Poetry   Tool = "poetry" // [tool.poetry]
	Pipenv   Tool = "pipenv" // a Pipfile
)

// Project is a project's own file. Lists are in the order in which they are
// written.
type Project struct {
	File string // as given to Read
	Tool Tool   // where the dependencies stand
	// Declared reports whether the file describes a project: [project], or a
	// name in [tool.poetry]. Without it the file may still have groups, and
	// the settings of tools.
	Declared bool

	// The metadata of PEP 621. What is in Dynamic is not here.
	Name             string // as written
	Version          python.Version
	Description      string
	Readme           Readme
	RequiresPython   python.Specifiers
	License          License
	LicenseFiles     []string // patterns (PEP 639); nil = not said
	Authors          []Person
	Maintainers      []Person
	Keywords         []string
	Classifiers      []string
	URLs             []URL
	Scripts          []EntryPoint
	GUIScripts       []EntryPoint
	EntryPoints      []EntryPointGroup
	ImportNames      []string // PEP 794; nil = not said
	ImportNamespaces []string // PEP 794
	Dynamic          []string // names of fields that the back-end determines

	Dependencies         []python.FileRequirement
	OptionalDependencies []Group // extras
	Groups               []Group // PEP 735, and what tools had before it; resolved
	// DefaultGroups are the names of the groups that the project's tool
	// installs without being asked, in order; they exist.
	DefaultGroups []string

	// Constraints limit the versions of whatever is needed, Overrides stand in
	// place of what any package asks for, and Excludes (normalized names) are
	// left out wherever they are asked for ([tool.uv]).
	Constraints, Overrides []python.FileRequirement
	Excludes               []string

	BuildSystem BuildSystem
	Sources     []Source // where tools are told to take dependencies from
	Indexes     []Index  // package indexes that the file defines
	UV          UV

	root *document.Table
	// alternatives are the constraints that no requirement can say, by the
	// requirement's name and line.
	alternatives map[string]Constraint
}

// Person is an author or a maintainer; one of the two may be "".
type Person struct{ Name, Email string }

// Readme is the long description: a file relative to the project, or its text.
type Readme struct {
	File, Text  string
	ContentType string // "text/markdown"; "" = not said
}

// License is an SPDX expression (PEP 639), or what PEP 621 had before it: a
// file relative to the project, or a text. At most one is set.
type License struct{ Expression, File, Text string }

// URL is a link with what it is of: "Homepage".
type URL struct{ Label, URL string }

// EntryPoint is a name and the object that it stands for, "package.module:main".
type EntryPoint struct{ Name, Object string }

// EntryPointGroup are the entry points of one group.
type EntryPointGroup struct {
	Name        string
	EntryPoints []EntryPoint
}

// Group are the requirements of an extra or a dependency group.
type Group struct {
	Name         string // normalized
	Written      string // as the file has it
	Optional     bool   // Poetry's: not installed without being asked for
	Requirements []python.FileRequirement
	Line         int
}

// BuildSystem says how a wheel of the project is made (PEP 517, 518). It is
// complete: defaults are filled in.
type BuildSystem struct {
	Requires    []python.Requirement
	Backend     string   // "hatchling.build"; DefaultBackend where none is named
	BackendPath []string // relative to the project
	Declared    bool     // there is a [build-system]
	Line        int
}

// DefaultBackend builds projects that name no other (PEP 517, "Source trees").
const DefaultBackend = "setuptools.build_meta:__legacy__"

// Read reads a project's file. One called Pipfile is read as such, any other
// as pyproject.toml. name may have folders before it: paths in the file are
// relative to them. The error is a *python.FileError.
func Read(name string, data []byte) (*Project, error) {
	if path.Base(filepath.ToSlash(name)) == "Pipfile" {
		return ReadPipfile(name, data)
	}
	return fill(name, data, (*reader).pyproject)
}

// ReadPipfile is Read for a Pipfile of any name.
func ReadPipfile(name string, data []byte) (*Project, error) {
	return fill(name, data, (*reader).pipfile)
}

func fill(name string, data []byte, read func(*reader)) (*Project, error) {
	root, err := document.TOML(name, data)
	if err != nil {
		return nil, err
	}
	r := &reader{p: &Project{File: name, root: root}, root: root}
	read(r)
	if err := root.Err(); err != nil {
		return nil, err
	}
	return r.p, nil
}

// Table returns a table of the file as Go's own types, such as
// Table("tool", "hatch", "build"), and whether it is there. For those who read
// the settings of one back-end.
func (p *Project) Table(keys ...string) (map[string]any, bool) {
	t := p.root
	for _, k := range keys {
		v := t.Get(k)
		if !v.IsTable() {
			return nil, false
		}
		t = v.Table()
	}
	return t.Plain(), true
}

// Line returns the line of a key, such as Line("project", "version"); 0 when
// it is not there.
func (p *Project) Line(keys ...string) int {
	t, line := p.root, 0
	for _, k := range keys {
		v := t.Get(k)
		if !v.Exists() {
			return 0
		}
		line = v.Line
		if !v.IsTable() {
			break
		}
		t = v.Table()
	}
	return line
}

// reader fills a Project. Errors are remembered by the document.
type reader struct {
	p    *Project
	root *document.Table
}

func (r *reader) pyproject() {
	r.project()
	r.poetry()
	r.groups()
	r.buildSystem()
	r.uv()
}

// requirement reads one of PEP 508.
func (r *reader) requirement(v document.Value) (python.FileRequirement, bool) {
	text := v.String()
	if !v.IsString() {
		return python.FileRequirement{}, false
	}
	req, err := python.ParseRequirement(text)
	if err != nil {
		v.Fail(err)
		return python.FileRequirement{}, false
	}
	return python.FileRequirement{Requirement: req, File: r.p.File, Line: v.Line}, true
}

func (r *reader) requirements(v document.Value) []python.FileRequirement {
	var list []python.FileRequirement
	for _, e := range v.Array() {
		if req, ok := r.requirement(e); ok {
			list = append(list, req)
		}
	}
	return list
}

// buildSystem reads [build-system] (PEP 518, PEP 517).
func (r *reader) buildSystem() {
	legacy := []python.Requirement{mustRequirement("setuptools>=40.8.0")}
	v := r.root.Get("build-system")
	if !v.Exists() {
		r.p.BuildSystem = BuildSystem{Requires: legacy, Backend: DefaultBackend}
		return
	}
	t := v.Table()
	b := BuildSystem{Declared: true, Line: t.Line, Backend: t.String("build-backend"), BackendPath: t.Strings("backend-path")}
	requires := t.Get("requires")
	if !requires.Exists() {
		t.Failf("build-system has no requires, which is needed (PEP 518)")
	}
	for _, req := range r.requirements(requires) {
		b.Requires = append(b.Requires, req.Requirement)
	}
	if backend := t.Get("build-backend"); !backend.Exists() {
		b.Backend = DefaultBackend
		if len(b.BackendPath) > 0 {
			t.Get("backend-path").Failf("backend-path is given without build-backend (PEP 517)")
		}
	} else if !validObject(b.Backend) {
		backend.Failf("build-backend %q is not module or module:object", b.Backend)
	}
	for _, e := range t.Get("backend-path").Array() {
		if p := e.String(); !isInside(p) {
			e.Failf("backend-path %q leads out of the project (PEP 517)", p)
		}
	}
	t.RefuseUnknown() // PEP 518: "Tools SHOULD error out"
	r.p.BuildSystem = b
}

// mustRequirement reads a requirement of this package's own.
func mustRequirement(s string) python.Requirement {
	req, err := python.ParseRequirement(s)
	if err != nil {
		panic(err)
	}
	return req
}
