package lockfile

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// Outdated compares what the lock was made from (package.metadata) with what
// pyproject.toml says now. Of a workspace only the member at its root can be
// compared.
func (l *uvLock) Outdated() error {
	p, err := l.beside.project("pyproject.toml")
	if err != nil {
		return err
	}
	if p == nil {
		return l.at(0, &NeedsProjectError{"whether the lock is up to date cannot be known: there is no pyproject.toml beside it"})
	}
	d := &uvDifference{lock: l, project: p}
	d.find()
	if len(d.reasons) == 0 {
		return nil
	}
	return &OutdatedError{Lock: l.name, Project: path.Join(l.beside.dir, "pyproject.toml"), Reasons: d.reasons, Command: "uv lock"}
}

// uvDifference collects what differs.
type uvDifference struct {
	lock    *uvLock
	project *project.Project
	reasons []string
}

// maxReasons is how many differences are told.
const maxReasons = 5

func (d *uvDifference) add(format string, args ...any) {
	if len(d.reasons) < maxReasons {
		d.reasons = append(d.reasons, fmt.Sprintf(format, args...))
	}
}

func (d *uvDifference) find() {
	l, p := d.lock, d.project
	if len(l.members) == 0 && len(p.RequiresPython) > 0 && p.RequiresPython.String() != l.requiresPython.String() {
		d.add("requires-python is %s, and %s in the lock", p.RequiresPython, l.requiresPython)
	}
	d.compare("the constraints", d.plain(p.Constraints), l.manifest.constraints)
	d.compare("the overrides", d.plain(p.Overrides), l.manifest.overrides)
	if !p.Declared {
		for _, g := range p.Groups {
			d.compare("the group "+g.Name, d.lowered(g.Requirements, "", g.Name), l.manifest.groups[g.Name])
		}
		return
	}
	root := l.rootNamed(python.NormalizeName(p.Name))
	if root == nil {
		d.add("the project %s is not in it", p.Name)
		return
	}
	if !p.Version.IsZero() && !root.version.IsZero() && !p.Version.Equal(root.version) {
		d.add("the version of %s is %s, and %s in the lock", p.Name, p.Version, root.version)
	}
	if !root.metadata.present {
		return // a project that depends on nothing
	}
	if p.IsDynamic("dependencies") || p.IsDynamic("optional-dependencies") {
		return
	}
	requires := d.lowered(p.Dependencies, "", "")
	for _, x := range p.OptionalDependencies {
		requires = append(requires, d.lowered(x.Requirements, x.Name, "")...)
	}
	d.compare("the dependencies", requires, root.metadata.requires)
	for _, g := range p.Groups {
		d.compare("the group "+g.Name, d.lowered(g.Requirements, "", g.Name), root.metadata.groups[g.Name])
	}
	for _, g := range sortedKeys(root.metadata.groups) {
		if _, ok := p.Group(g); !ok && len(root.metadata.groups[g]) > 0 {
			d.add("the group %s is only in the lock", g)
		}
	}
}

// rootNamed returns the project at the root of the lock.
func (l *uvLock) rootNamed(name string) *uvPackage {
	for _, p := range l.byName[name] {
		if p.source.place == "." {
			return p
		}
	}
	return nil
}

// plain are requirements to which sources do not apply.
func (d *uvDifference) plain(list []python.FileRequirement) []uvRequirement {
	var out []uvRequirement
	for _, r := range list {
		q := r.Requirement
		u := uvRequirement{name: q.Key(), extras: q.ExtraKeys(), specifier: q.Specifiers, marker: q.Marker}
		if q.URL != "" {
			u.source = directSource(q.URL)
		}
		out = append(out, u)
	}
	return out
}

// lowered are requirements with their sources, as the lock has them. Those of
// which the source depends on a condition have the kind "any": they are compared
// by name only.
func (d *uvDifference) lowered(list []python.FileRequirement, extra, group string) []uvRequirement {
	out := d.plain(list)
	for i := range out {
		u := &out[i]
		if extra != "" {
			only, err := python.ParseMarker(fmt.Sprintf("extra == %q", extra))
			if err == nil {
				u.marker, err = project.And(u.marker, only)
			}
			if err != nil {
				u.source.kind = "any"
			}
		}
		for _, s := range d.project.SourcesOf(u.name) {
			switch {
			case s.Group != "" && s.Group != group || s.Extra != "" && s.Extra != extra:
			case !s.Marker.IsZero() || s.Workspace:
				u.source.kind = "any"
			case s.Git != "":
				u.source = gitSource(s)
			case s.URL != "":
				u.source = uvSource{"url", s.URL, s.Subdir}
			case s.Path != "":
				u.source = uvSource{kind: "path", place: path.Clean(s.Path)}
			case s.Index != "":
				u.source = uvSource{kind: "index", place: d.indexURL(s.Index)}
			}
		}
	}
	return out
}

// indexURL is the URL of an index that the project names; "" when it is defined
// elsewhere.
func (d *uvDifference) indexURL(name string) string {
	for _, x := range d.project.Indexes {
		if x.Name == name {
			return x.URL
		}
	}
	return ""
}

// gitSource writes a source as uv.lock does: revision and folder as a query.
func gitSource(s project.Source) uvSource {
	q := url.Values{}
	for k, v := range map[string]string{"rev": s.Rev, "tag": s.Tag, "branch": s.Branch, "subdirectory": s.Subdir} {
		if v != "" {
			q.Set(k, v)
		}
	}
	return uvSource{kind: "git", place: sourceKey(strings.TrimPrefix(s.Git, "git+"), q)}
}

// sourceKey is a URL with a query of which the order does not matter.
func sourceKey(raw string, q url.Values) string {
	if len(q) == 0 {
		return withoutUser(raw)
	}
	return withoutUser(raw) + "?" + q.Encode()
}

// directSource is the source that a direct reference (PEP 508) stands for.
func directSource(raw string) uvSource {
	rest, git := strings.CutPrefix(raw, "git+")
	u, err := url.Parse(rest)
	if err != nil || u.Scheme == "file" {
		return uvSource{kind: "any"}
	}
	if !git {
		place, fragment, _ := strings.Cut(withoutUser(raw), "#")
		if q, err := url.ParseQuery(fragment); err == nil {
			return uvSource{"url", place, q.Get("subdirectory")}
		}
		return uvSource{kind: "any"}
	}
	q := url.Values{}
	if s := subdirectoryOf(u); s != "" {
		q.Set("subdirectory", s)
	}
	if at := strings.LastIndexByte(u.Path, '@'); at > 0 {
		q.Set("rev", u.Path[at+1:])
		u.Path = u.Path[:at]
	}
	u.Fragment, u.RawQuery = "", ""
	return uvSource{kind: "git", place: sourceKey(u.String(), q)}
}

// compare pairs what the project asks for with what the lock was made from. Of
// packages with a source that depends on a condition only the name counts: the
// lock has an entry for each condition.
func (d *uvDifference) compare(what string, now, then []uvRequirement) {
	left := slices.Clone(then)
	byName := map[string]bool{}
	for _, n := range now {
		byName[n.name] = byName[n.name] || n.source.kind == "any"
	}
	for _, n := range now {
		i := slices.IndexFunc(left, func(t uvRequirement) bool { return d.same(n, t) || byName[n.name] && t.name == n.name })
		switch {
		case i < 0 && byName[n.name] && slices.ContainsFunc(then, func(t uvRequirement) bool { return t.name == n.name }):
		case i < 0:
			d.add("%s have %s, which the lock was not made with", what, n)
		default:
			left = slices.Delete(left, i, i+1)
		}
	}
	for _, t := range left {
		if !byName[t.name] {
			d.add("the lock was made with %s, which %s do not have", t, what)
		}
	}
}

// same reports whether two requirements mean the same.
func (d *uvDifference) same(now, then uvRequirement) bool {
	if now.name != then.name {
		return false
	}
	if !slices.Equal(now.extras, then.extras) || !sameMarker(now.marker, then.marker, d.lock.requiresPython) {
		return false
	}
	switch now.source.kind {
	case "":
		return (then.source.kind == "" || then.source.kind == "index") && sameSpecifiers(now.specifier, then.specifier)
	case "index":
		return then.source.kind == "index" && (now.source.place == "" || strings.TrimRight(now.source.place, "/") == strings.TrimRight(then.source.place, "/")) && sameSpecifiers(now.specifier, then.specifier)
	case "path":
		local := slices.Contains([]string{"path", "directory", "editable", "virtual"}, then.source.kind)
		return local && (path.Clean(slashed(then.source.place)) == now.source.place || path.IsAbs(now.source.place))
	case "git":
		u, err := url.Parse(then.source.place)
		if err != nil || then.source.kind != "git" {
			return false
		}
		q := u.Query()
		u.RawQuery, u.Fragment = "", ""
		return sourceKey(u.String(), q) == now.source.place
	}
	then.source.place, _, _ = strings.Cut(then.source.place, "#")
	return then.source == now.source
}

// sameSpecifiers compares sets of clauses in any order and spelling.
func sameSpecifiers(a, b python.Specifiers) bool {
	within := func(a, b python.Specifiers) bool {
		for _, x := range a {
			if !slices.ContainsFunc(b, x.Equal) {
				return false
			}
		}
		return true
	}
	return within(a, b) && within(b, a)
}

// String writes a requirement for a message.
func (r uvRequirement) String() string {
	text := python.Requirement{Name: r.name, Extras: r.extras, Specifiers: r.specifier, Marker: r.marker}.String()
	if r.source.kind != "" && r.source.kind != "any" {
		text += fmt.Sprintf(" (%s %s)", r.source.kind, withoutUser(r.source.place))
	}
	return text
}
