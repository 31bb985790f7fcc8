package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project/document"
)

// pipfile reads a Pipfile: [packages] are the dependencies, [dev-packages] the
// group "dev", and any other table of packages a group of its own name.
func (r *reader) pipfile() {
	r.p.Tool = Pipenv
	r.p.BuildSystem = BuildSystem{Requires: []python.Requirement{mustRequirement("setuptools>=40.8.0")}, Backend: DefaultBackend}
	for _, t := range r.root.Get("source").Tables() {
		x := Index{Name: t.String("name"), URL: t.String("url"), Line: t.Line}
		t.Get("verify_ssl")
		if x.URL == "" {
			t.Failf("%s has no url", t.Path)
		}
		r.p.Indexes = append(r.p.Indexes, x)
	}
	requires := r.root.Table("requires")
	for _, key := range [...]string{"python_full_version", "python_version"} {
		v := requires.Get(key)
		if text := v.String(); text != "" && len(r.p.RequiresPython) == 0 {
			suffix := ".*"
			if key == "python_full_version" {
				suffix = ""
			}
			specifiers, err := python.ParseSpecifiers("==" + text + suffix)
			if err != nil {
				v.Failf("%s: %q is not a version of Python", v.Path, text)
			}
			r.p.RequiresPython = specifiers
		}
	}
	for _, name := range r.root.Keys() {
		switch name {
		case "source", "requires", "scripts", "pipenv", "pipfile", "build-system":
		case "packages":
			r.p.Dependencies = r.pipenvPackages(r.root.Table(name))
		default:
			g := Group{Name: PipenvGroup(name), Written: name, Line: r.root.Get(name).Line}
			if _, ok := r.p.Group(g.Name); ok {
				r.root.Get(name).Failf("the group %s is given twice: the names are the same when normalized", g.Name)
			}
			g.Requirements = r.pipenvPackages(r.root.Table(name))
			r.p.Groups = append(r.p.Groups, g)
		}
	}
}

// PipenvGroup returns the name of the group that Pipenv calls "dev-packages"
// in a Pipfile, "develop" in its lock and "dev" on its command line: "dev".
// Others keep their name, normalized.
func PipenvGroup(name string) string {
	switch n := python.NormalizeName(name); n {
	case "develop", "dev-packages":
		return "dev"
	default:
		return n
	}
}

func (r *reader) pipenvPackages(t *document.Table) []python.FileRequirement {
	var list []python.FileRequirement
	for _, name := range t.Keys() {
		v := t.Get(name)
		if !python.ValidName(name) {
			v.Failf("%q is not a valid name of a project (PEP 508)", name)
		}
		req := python.FileRequirement{Requirement: python.Requirement{Name: name}, File: r.p.File, Line: v.Line}
		if !v.IsTable() {
			r.specify(&req, v, v.String())
		} else {
			r.pipenvPackage(&req, v.Table())
		}
		list = append(list, req)
	}
	return list
}

// pipenvPackage reads the table of one package.
func (r *reader) pipenvPackage(req *python.FileRequirement, t *document.Table) {
	req.Requirement.Extras = t.Strings("extras")
	m := r.marker(t.Get("markers"))
	for _, variable := range MarkerVariables() {
		if v := t.Get(variable); v.Exists() {
			m = r.and(v, m, fmt.Sprintf("%s %s", variable, v.String())) // os_name = "== 'nt'"
		}
	}
	req.Requirement.Marker = m
	for _, h := range t.Strings("hashes") {
		hash, err := python.ParseHash(h)
		if err != nil {
			t.Get("hashes").Fail(err)
		}
		req.Hashes = append(req.Hashes, hash)
	}
	s := Source{
		Name: req.Requirement.Key(), Marker: m, Index: t.String("index"), Git: t.String("git"), Rev: t.String("ref"),
		Subdir: t.String("subdirectory"), Path: t.String("path"), Editable: t.Bool("editable"), Line: t.Line, own: true,
	}
	if file := t.String("file") + t.String("uri"); strings.Contains(file, "://") {
		s.URL = file
	} else {
		s.Path += file
	}
	if s.Index+s.Git+s.Path+s.URL != "" {
		r.p.Sources = append(r.p.Sources, s)
	}
	for _, system := range [...]string{"hg", "svn", "bzr"} {
		if v := t.Get(system); v.Exists() {
			v.Failf("%s: %s is not supported", req.Requirement.Name, system)
		}
	}
	t.Get("skip_resolver")
	t.Get("no_binary")
	t.Get("install_command")
	if v := t.Get("version"); v.Exists() {
		r.specify(req, v, v.String())
	}
	t.RefuseUnknown()
}

// MarkerVariables are the variables of PEP 508 but "extra", which Pipenv takes
// as keys of a package.
func MarkerVariables() []string {
	return slices.Clone([]string{"implementation_name", "implementation_version", "os_name", "platform_machine", "platform_python_implementation",
		"platform_release", "platform_system", "platform_version", "python_full_version", "python_version", "sys_platform"})
}
