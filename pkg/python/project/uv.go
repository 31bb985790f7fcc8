package project

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project/document"
)

// Source says where a dependency is taken from instead of the usual index.
// One of Index, URL, Git, Path and Workspace is set.
type Source struct {
	Name      string        // normalized
	Marker    python.Marker // where it holds
	Extra     string        // it holds for this extra only; "" = for all
	Group     string        // likewise a dependency group
	Index     string        // name of an Index, or of one that is configured elsewhere
	URL       string        // of a wheel or an archive
	Git       string        // of a repository
	Rev       string        // with Git: a commit, or anything that names one
	Tag       string        // with Git
	Branch    string        // with Git
	Subdir    string        // with Git and URL: folder of the project in it
	Path      string        // a directory, wheel or archive, relative to the file
	Editable  bool          // with Path and Workspace
	NoPackage bool          // with Path: only its dependencies are wanted
	Workspace bool          // a member of the same workspace
	Line      int

	own bool // written with the one requirement that it is of
}

// Index is a package index that the file defines.
type Index struct {
	Name     string // "" = it has none
	URL      string // may hold user information and ${VARIABLES}; "" = the default index, by its name
	Default  bool   // takes the place of the default index
	Explicit bool   // only for packages that name it in a Source
	Line     int
}

// UV is [tool.uv] as far as it concerns what is installed. Settings of package
// indexes belong to whoever reads uv's configuration.
type UV struct {
	Declared     bool
	NotManaged   bool            // managed = false: uv leaves the project alone
	Package      *bool           // package: whether the project is built and installed; nil = not said
	Environments []python.Marker // the lock is for these only; none = for all
	Members      []string        // of the workspace: patterns of directories
	ExcludeNewer string          // as written
}

// IsPackage reports whether the project itself is to be installed, beside its
// dependencies: it can be built, and its tool is not told to leave it out.
func (p *Project) IsPackage() bool {
	switch {
	case !p.Declared || p.Tool == Pipenv:
		return false
	case p.UV.Package != nil:
		return *p.UV.Package
	}
	if mode, ok := p.root.Table("tool").Table("poetry").Get("package-mode").Plain().(bool); ok {
		return mode
	}
	// uv: a project without a build system is a virtual one.
	return p.BuildSystem.Declared || p.Tool == Poetry
}

// SourcesOf returns the sources of a dependency by its name in any spelling.
func (p *Project) SourcesOf(name string) []Source {
	name = python.NormalizeName(name)
	var list []Source
	for _, s := range p.Sources {
		if s.Name == name {
			list = append(list, s)
		}
	}
	return list
}

// Direct returns the source as the URL of a direct reference (PEP 508, PEP
// 610): that of a file, or "git+https://…@rev#subdirectory=x". It is "" for an
// index, a path and a member of the workspace.
func (s Source) Direct() string {
	direct := s.URL
	if s.Git != "" {
		direct = s.Git
		if !strings.HasPrefix(direct, "git+") {
			direct = "git+" + direct
		}
		if rev := s.Rev + s.Tag + s.Branch; rev != "" {
			direct += "@" + rev
		}
	}
	if direct != "" && s.Subdir != "" {
		direct += "#subdirectory=" + url.PathEscape(s.Subdir)
	}
	return direct
}

// uv reads [tool.uv].
func (r *reader) uv() {
	v := r.root.Table("tool").Get("uv")
	if !v.Exists() {
		r.uvDefaults(document.Value{})
		return
	}
	t, u := v.Table(), &r.p.UV
	u.Declared = true
	if dev := t.Get("dev-dependencies"); dev.Exists() {
		r.addGroup(Group{Name: "dev", Written: "dev", Line: dev.Line, Requirements: r.requirements(dev)})
	}
	r.uvDefaults(t.Get("default-groups"))
	if managed := t.Get("managed"); managed.Exists() {
		u.NotManaged = !managed.Bool()
	}
	if pkg := t.Get("package"); pkg.Exists() {
		is := pkg.Bool()
		u.Package = &is
	}
	r.p.Constraints = r.requirements(t.Get("constraint-dependencies"))
	r.p.Overrides = r.requirements(t.Get("override-dependencies"))
	for _, e := range t.Strings("exclude-dependencies") {
		r.p.Excludes = append(r.p.Excludes, python.NormalizeName(e))
	}
	for _, e := range t.Get("environments").Elements() {
		u.Environments = append(u.Environments, r.marker(e))
	}
	u.Members = t.Table("workspace").Strings("members")
	if newer := t.Get("exclude-newer"); newer.Exists() {
		u.ExcludeNewer = fmt.Sprint(newer.Plain())
	}
	for _, i := range t.Get("index").Tables() {
		x := Index{Name: i.String("name"), URL: i.String("url"), Default: i.Bool("default"), Explicit: i.Bool("explicit"), Line: i.Line}
		if x.URL == "" {
			i.Failf("%s has no url", i.Path)
		}
		r.p.Indexes = append(r.p.Indexes, x)
	}
	sources := t.Table("sources")
	for _, name := range sources.Keys() {
		r.uvSources(name, sources.Get(name))
	}
}

// uvDefaults finds the groups that uv installs unless it is told otherwise:
// "dev", where there is one.
func (r *reader) uvDefaults(v document.Value) {
	if r.p.Tool == Poetry && !v.Exists() {
		return // Poetry's own rule has been followed
	}
	names := []string{}
	switch {
	case !v.Exists():
		if _, ok := r.p.Group("dev"); ok {
			names = append(names, "dev")
		}
	case v.IsString():
		if v.String() != "all" {
			v.Failf(`default-groups is %q and should be a list of names, or "all"`, v.String())
		}
		names = append(names, groupNames(r.p.Groups)...)
	default:
		for _, e := range v.Array() {
			g, ok := r.p.Group(e.String())
			if !ok && python.NormalizeName(e.String()) != "dev" { // uv: dev need not exist
				e.Fail(&UnknownNameError{"dependency group", e.String(), r.p.Name, groupNames(r.p.Groups)})
			}
			if ok && !slices.Contains(names, g.Name) {
				names = append(names, g.Name)
			}
		}
	}
	r.p.DefaultGroups = names
}

// marker reads a marker; "" is one that always holds.
func (r *reader) marker(v document.Value) python.Marker {
	text := v.String()
	if strings.TrimSpace(text) == "" {
		return python.Marker{}
	}
	m, err := python.ParseMarker(text)
	if err != nil {
		v.Fail(err)
	}
	return m
}

// uvSources reads the source of one dependency, or a list of them of which
// each has a marker of its own.
func (r *reader) uvSources(name string, v document.Value) {
	for _, e := range v.Elements() {
		t := e.Table()
		s := Source{
			Name: python.NormalizeName(name), Marker: r.marker(t.Get("marker")), Extra: python.NormalizeExtra(t.String("extra")),
			Group: python.NormalizeName(t.String("group")), Index: t.String("index"), URL: t.String("url"), Git: t.String("git"),
			Rev: t.String("rev"), Tag: t.String("tag"), Branch: t.String("branch"), Subdir: t.String("subdirectory"),
			Path: t.String("path"), Editable: t.Bool("editable"), Workspace: t.Bool("workspace"), Line: t.Line,
		}
		if pkg := t.Get("package"); pkg.Exists() {
			s.NoPackage = !pkg.Bool()
		}
		t.Get("lfs")
		kinds, revs := 0, 0
		for _, set := range []bool{s.Index != "", s.URL != "", s.Git != "", s.Path != "", t.Has("workspace")} {
			if set {
				kinds++
			}
		}
		for _, set := range []bool{s.Rev != "", s.Tag != "", s.Branch != ""} {
			if set {
				revs++
			}
		}
		switch {
		case kinds != 1:
			t.Failf("%s needs one of index, url, git, path and workspace", t.Path)
		case revs > 1:
			t.Failf("%s has more than one of rev, tag and branch", t.Path)
		case revs > 0 && s.Git == "":
			t.Failf("%s has rev, tag or branch without git", t.Path)
		}
		t.RefuseUnknown()
		if t.Has("workspace") && !s.Workspace {
			continue // workspace = false: as if it were not there
		}
		r.p.Sources = append(r.p.Sources, s)
	}
}
