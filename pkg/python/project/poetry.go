package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project/document"
)

// poetry reads [tool.poetry]. What [project] says counts for more: there the
// table only adds where dependencies come from.
func (r *reader) poetry() {
	v := r.root.Table("tool").Get("poetry")
	if !v.Exists() {
		return
	}
	t := v.Table()
	d := &poetryReader{reader: r, table: t}
	enrich := r.root.Table("project").Has("dependencies") || r.root.Table("project").Has("optional-dependencies")
	if r.p.Declared {
		d.fill()
	} else {
		d.metadata()
	}
	d.sources()
	dependencies := t.Get("dependencies")
	if !enrich {
		d.main(dependencies.Table())
	} else {
		d.group(dependencies.Table(), func(poetryDependency) {})
		for i := range d.p.Sources { // of requirements in [project], by their names
			d.p.Sources[i].own = false
		}
	}
	d.groups()
}

// poetryReader reads the parts of [tool.poetry].
type poetryReader struct {
	*reader
	table *document.Table
}

// poetryDependency is one dependency with what a requirement cannot say.
type poetryDependency struct {
	python.FileRequirement
	optional bool
}

// sources reads [[tool.poetry.source]].
func (d *poetryReader) sources() {
	for _, t := range d.table.Get("source").Tables() {
		x := Index{Name: t.String("name"), URL: t.String("url"), Line: t.Line}
		switch priority := t.String("priority"); priority {
		case "", "primary", "supplemental", "secondary":
		case "default":
			x.Default = true
		case "explicit":
			x.Explicit = true
		default:
			t.Get("priority").Failf("%s is %q, which is none of primary, supplemental, explicit", t.Get("priority").Path, priority)
		}
		x.Default = x.Default || t.Get("default").Exists() && t.Bool("default")
		if x.URL == "" && !strings.EqualFold(x.Name, "pypi") {
			t.Failf("%s has no url", t.Path)
		}
		d.p.Indexes = append(d.p.Indexes, x)
	}
}

// main reads [tool.poetry.dependencies] and [tool.poetry.extras].
func (d *poetryReader) main(t *document.Table) {
	d.p.Tool = Poetry
	optional := map[string][]python.FileRequirement{}
	known := map[string]bool{}
	d.group(t, func(dep poetryDependency) {
		key := dep.Requirement.Key()
		known[key] = true
		if dep.optional {
			optional[key] = append(optional[key], dep.FileRequirement)
			return
		}
		d.p.Dependencies = append(d.p.Dependencies, dep.FileRequirement)
	})
	if p := t.Get("python"); p.Exists() && len(d.p.RequiresPython) == 0 {
		text := p.String()
		if p.IsTable() {
			text = p.Table().String("version")
		}
		if c, ok := d.constraint(p, text); ok {
			d.p.RequiresPython = c.pythons()
		}
	}
	extras := d.table.Table("extras")
	for _, name := range extras.Keys() {
		v := extras.Get(name)
		g := Group{Name: python.NormalizeExtra(name), Written: name, Line: v.Line}
		if slices.ContainsFunc(d.p.OptionalDependencies, func(o Group) bool { return o.Name == g.Name }) {
			v.Failf("the extra %s is given twice: the names are the same when normalized (PEP 685)", g.Name)
		}
		for _, e := range v.Array() {
			key := python.NormalizeName(e.String())
			if !known[key] {
				e.Fail(&UnknownNameError{"dependency", e.String(), "tool.poetry.dependencies", keys(known)})
			}
			g.Requirements = append(g.Requirements, optional[key]...)
		}
		d.p.OptionalDependencies = append(d.p.OptionalDependencies, g)
	}
	d.p.Dynamic = slices.DeleteFunc(d.p.Dynamic, func(f string) bool { return f == "dependencies" || f == "optional-dependencies" })
}

// groups reads [tool.poetry.group.NAME] and, before there were any,
// [tool.poetry.dev-dependencies].
func (d *poetryReader) groups() {
	found := map[string]*document.Table{}
	var order []string
	groups := d.table.Table("group")
	for _, name := range groups.Keys() {
		t := groups.Table(name)
		key := python.NormalizeName(name)
		if found[key] != nil {
			t.Failf("the group %s is given twice: the names are the same when normalized", key)
		}
		found[key] = t
		order = append(order, key)
		g := Group{Name: key, Written: name, Optional: t.Bool("optional"), Line: t.Line}
		d.group(t.Table("dependencies"), func(dep poetryDependency) { g.Requirements = append(g.Requirements, dep.FileRequirement) })
		d.addGroup(g)
	}
	if dev := d.table.Get("dev-dependencies"); dev.Exists() {
		g := Group{Name: "dev", Written: "dev", Line: dev.Line}
		d.group(dev.Table(), func(dep poetryDependency) { g.Requirements = append(g.Requirements, dep.FileRequirement) })
		d.addGroup(g)
	}
	d.include(found, order)
	for _, g := range d.p.Groups {
		if !g.Optional {
			d.p.DefaultGroups = append(d.p.DefaultGroups, g.Name)
		}
	}
	if len(d.p.Groups) > 0 && d.p.Tool == Standard {
		d.p.Tool = Poetry
	}
}

// include adds to each group the requirements of those that it includes.
func (d *poetryReader) include(found map[string]*document.Table, order []string) {
	own := map[string][]python.FileRequirement{}
	for _, g := range d.p.Groups {
		own[g.Name] = g.Requirements
	}
	done := map[string][]python.FileRequirement{}
	var collect func(key string, within []string) []python.FileRequirement
	collect = func(key string, within []string) []python.FileRequirement {
		if list, ok := done[key]; ok {
			return list
		}
		list := slices.Clone(own[key])
		if found[key] == nil {
			return list
		}
		within = append(within, key)
		for _, e := range found[key].Get("include-groups").Array() {
			name := python.NormalizeName(e.String())
			switch _, ok := own[name]; {
			case !ok:
				e.Fail(&UnknownNameError{"group", e.String(), "", keys(own)})
			case slices.Contains(within, name):
				e.Failf("the group %s includes itself: %s", name, strings.Join(append(within, name), " → "))
			default:
				list = append(list, collect(name, within)...)
			}
			if len(list) > maxGroupRequirements {
				e.Failf("the group %s has more than %d requirements", key, maxGroupRequirements)
			}
			if d.root.Err() != nil {
				return nil
			}
		}
		done[key] = list
		return list
	}
	for _, key := range order {
		i := slices.IndexFunc(d.p.Groups, func(g Group) bool { return g.Name == key })
		d.p.Groups[i].Requirements = collect(key, nil)
	}
}

// group reads a table of dependencies.
func (d *poetryReader) group(t *document.Table, add func(poetryDependency)) {
	for _, name := range t.Keys() {
		if python.NormalizeName(name) == "python" {
			continue
		}
		v := t.Get(name)
		if !python.ValidName(name) {
			v.Failf("%q is not a valid name of a project (PEP 508)", name)
		}
		for _, one := range v.Elements() {
			if dep, ok := d.dependency(name, one); ok {
				add(dep)
			}
		}
	}
}

// dependency reads "^1.2" or a table.
func (d *poetryReader) dependency(name string, v document.Value) (poetryDependency, bool) {
	dep := poetryDependency{FileRequirement: python.FileRequirement{Requirement: python.Requirement{Name: name}, File: d.p.File, Line: v.Line}}
	if !v.IsTable() {
		return dep, d.specify(&dep.FileRequirement, v, v.String())
	}
	t := v.Table()
	dep.optional = t.Bool("optional")
	dep.Requirement.Extras = t.Strings("extras")
	dep.Requirement.Marker = d.conditions(t)
	s := Source{
		Name: python.NormalizeName(name), Marker: dep.Requirement.Marker, Index: t.String("source"), URL: t.String("url"),
		Git: t.String("git"), Rev: t.String("rev"), Tag: t.String("tag"), Branch: t.String("branch"), Subdir: t.String("subdirectory"),
		Path: t.String("path") + t.String("file"), Editable: t.Bool("develop"), Line: t.Line, own: true,
	}
	for _, key := range []string{"allow-prereleases", "allows-prereleases", "lfs"} {
		t.Get(key)
	}
	if s.Index+s.URL+s.Git+s.Path != "" {
		d.p.Sources = append(d.p.Sources, s)
	}
	if version := t.Get("version"); version.Exists() && !d.specify(&dep.FileRequirement, version, version.String()) {
		return dep, false
	}
	t.RefuseUnknown()
	return dep, true
}

// specify sets the specifiers of a requirement. Where there are alternatives
// they are noted: it is for whoever asks for the requirements to mind.
func (r *reader) specify(req *python.FileRequirement, v document.Value, text string) bool {
	c, ok := r.constraint(v, text)
	if !ok {
		return false
	}
	var one bool
	if req.Requirement.Specifiers, one = c.Specifiers(); !one {
		if r.p.alternatives == nil {
			r.p.alternatives = map[string]Constraint{}
		}
		r.p.alternatives[alternativesKey(*req)] = c
	}
	return true
}

func alternativesKey(r python.FileRequirement) string {
	return fmt.Sprintf("%s %d %s", r.Requirement.Key(), r.Line, r.Requirement.Marker)
}

func (r *reader) constraint(v document.Value, text string) (Constraint, bool) {
	c, err := ParseConstraint(text)
	if err != nil {
		v.Fail(err)
	}
	return c, err == nil
}

// conditions reads markers, python and platform, which all must hold.
func (d *poetryReader) conditions(t *document.Table) python.Marker {
	m := d.marker(t.Get("markers"))
	if v := t.Get("python"); v.Exists() {
		if c, ok := d.constraint(v, v.String()); ok {
			m = d.and(v, m, c.marker())
		}
	}
	if v := t.Get("platform"); v.Exists() {
		var alternatives []string
		for one := range strings.SplitSeq(strings.ReplaceAll(v.String(), "||", "|"), "|") {
			op, value := "==", strings.TrimSpace(one)
			if rest, ok := strings.CutPrefix(value, "!="); ok {
				op, value = "!=", rest
			}
			value = strings.TrimSpace(strings.TrimLeft(value, "="))
			alternatives = append(alternatives, fmt.Sprintf("sys_platform %s %q", op, value))
		}
		m = d.and(v, m, strings.Join(alternatives, " or "))
	}
	return m
}

// and adds a condition, written as a marker, to a marker.
func (r *reader) and(v document.Value, m python.Marker, text string) python.Marker {
	if text == "" {
		return m
	}
	also, err := python.ParseMarker(text)
	if err == nil {
		m, err = And(m, also)
	}
	if err != nil {
		v.Fail(err)
	}
	return m
}
