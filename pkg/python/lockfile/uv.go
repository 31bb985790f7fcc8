package lockfile

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project/document"
)

// uvLock is a uv.lock, version 1: a graph of packages whose edges have markers.
type uvLock struct {
	name           string
	beside         neighbours
	requiresPython python.Specifiers
	supported      []python.Marker // the lock is for these environments; none = for all
	members        []string        // of the workspace, normalized; none = a single project
	conflicts      [][]uvConflict
	manifest       uvManifest
	packages       []*uvPackage
	byName         map[string][]*uvPackage
}

// uvManifest is what a lock without a project at its root was made from.
type uvManifest struct {
	requirements []uvRequirement // of a script (PEP 723)
	groups       map[string][]uvRequirement
	groupOrder   []string
	constraints  []uvRequirement
	overrides    []uvRequirement
}

// uvConflict is one of several extras or groups of which only one may be wanted.
type uvConflict struct{ pkg, extra, group string }

func (c uvConflict) String() string {
	switch {
	case c.extra != "":
		return fmt.Sprintf("the extra %s of %s", c.extra, c.pkg)
	case c.group != "":
		return fmt.Sprintf("the group %s of %s", c.group, c.pkg)
	}
	return c.pkg
}

// uvPackage is one [[package]].
type uvPackage struct {
	name          string
	version       python.Version
	source        uvSource
	dependencies  []uvEdge
	extras        map[string][]uvEdge
	groups        map[string][]uvEdge
	sdist         *Artifact
	wheels        []Artifact
	metadata      uvMetadata
	line          int
	providesExtra []string // nil = not said
}

// uvEdge is a dependency on another [[package]].
type uvEdge struct {
	name    string
	version string   // "" = the only one of the name
	source  uvSource // zero = likewise
	extras  []string
	marker  python.Marker // with sets in place of extra; see setMarker
	line    int
}

// uvMetadata is what the lock was made from, for those that can be checked.
type uvMetadata struct {
	present  bool
	requires []uvRequirement
	groups   map[string][]uvRequirement
}

// uvRequirement is one of these, as it was asked for.
type uvRequirement struct {
	name      string
	extras    []string
	specifier python.Specifiers
	marker    python.Marker
	source    uvSource
	line      int
}

// uvSource says where a package is from. Kind is the key that it has in the
// file.
type uvSource struct {
	kind         string // registry, git, url, path, directory, editable, virtual; "" = none
	place        string
	subdirectory string // of url; that of git is in the place
}

// readUV reads a uv.lock.
func readUV(name string, data []byte, n neighbours) (Locker, error) {
	t, err := document.TOML(name, data)
	if err != nil {
		return nil, err
	}
	l := &uvLock{name: name, beside: n, byName: map[string][]*uvPackage{}}
	if v := t.Get("version"); v.Int() != 1 {
		v.Fail(&VersionError{"uv.lock", fmt.Sprint(v.Plain()), "1"})
	}
	l.requiresPython = specifiers(t.Get("requires-python"))
	for _, e := range t.Get("supported-markers").Array() {
		l.supported = append(l.supported, marker(e))
	}
	for _, set := range t.Get("conflicts").Array() {
		var list []uvConflict
		for _, c := range set.Tables() {
			list = append(list, uvConflict{python.NormalizeName(c.String("package")), python.NormalizeExtra(c.String("extra")), python.NormalizeName(c.String("group"))})
		}
		l.conflicts = append(l.conflicts, list)
	}
	l.readManifest(t.Table("manifest"))
	for _, p := range t.Get("package").Tables() {
		pkg := l.pkg(p)
		l.packages = append(l.packages, pkg)
		l.byName[pkg.name] = append(l.byName[pkg.name], pkg)
	}
	if err := t.Err(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *uvLock) readManifest(t *document.Table) {
	for _, m := range t.Strings("members") {
		l.members = append(l.members, python.NormalizeName(m))
	}
	l.manifest.requirements = uvRequirements(t.Get("requirements"))
	l.manifest.constraints = uvRequirements(t.Get("constraints"))
	l.manifest.overrides = uvRequirements(t.Get("overrides"))
	groups := t.Table("dependency-groups")
	l.manifest.groups = map[string][]uvRequirement{}
	for _, g := range groups.Keys() {
		key := python.NormalizeName(g)
		l.manifest.groups[key] = uvRequirements(groups.Get(g))
		l.manifest.groupOrder = append(l.manifest.groupOrder, key)
	}
}

func (l *uvLock) pkg(t *document.Table) *uvPackage {
	p := &uvPackage{name: nameOf(t), version: version(t.Get("version")), source: readUVSource(t.Get("source")), line: t.Line,
		dependencies: uvEdges(t.Get("dependencies")), extras: map[string][]uvEdge{}, groups: map[string][]uvEdge{}}
	if !t.Has("source") {
		t.Failf("%s has no source", t.Path)
	}
	for key, into := range map[string]map[string][]uvEdge{"optional-dependencies": p.extras, "dev-dependencies": p.groups} {
		list := t.Table(key)
		for _, name := range list.Keys() {
			into[python.NormalizeName(name)] = uvEdges(list.Get(name))
		}
	}
	if v := t.Get("sdist"); v.Exists() {
		f := l.file(v.Table(), p)
		p.sdist = &f
	}
	for _, w := range t.Get("wheels").Tables() {
		f := l.file(w, p)
		if isWheel(f.Filename) {
			p.wheels = append(p.wheels, f)
		}
	}
	if v := t.Get("metadata"); v.Exists() {
		m := v.Table()
		p.metadata = uvMetadata{present: true, requires: uvRequirements(m.Get("requires-dist")), groups: map[string][]uvRequirement{}}
		groups := m.Table("requires-dev")
		for _, g := range groups.Keys() {
			p.metadata.groups[python.NormalizeName(g)] = uvRequirements(groups.Get(g))
		}
		if e := m.Get("provides-extras"); e.Exists() {
			p.providesExtra = append([]string{}, e.Strings()...)
		}
	}
	return p
}

// file reads a wheel or an sdist. Where it has neither URL nor path of its own
// it is the package's source.
func (l *uvLock) file(t *document.Table, p *uvPackage) Artifact {
	var f Artifact
	f.Size, f.UploadTime, f.Hashes = t.Get("size").Int(), t.Get("upload-time").Time(), map[string]string{}
	f.URL, f.Path = t.String("url"), slashed(t.String("path"))
	switch {
	case f.Path != "" && p.source.kind == "registry" && !path.IsAbs(f.Path): // an index that is a folder
		f.Path = path.Join(slashed(p.source.place), f.Path)
	case f.Path != "" || f.URL != "":
	case p.source.kind == "url":
		f.URL = p.source.place
	case p.source.kind == "path":
		f.Path = slashed(p.source.place)
	}
	f.Filename = t.String("filename")
	if f.Filename == "" {
		f.Filename = lastOf(cmp.Or(f.Path, f.URL))
	}
	f.URL, _, _ = strings.Cut(withoutUser(f.URL), "#")
	if v := t.Get("hash"); v.Exists() {
		h, err := python.ParseHash(v.String())
		if err != nil {
			v.Fail(err)
		}
		algorithm, digest, _ := strings.Cut(h, ":")
		f.Hashes[algorithm] = digest
	}
	return f
}

func readUVSource(v document.Value) uvSource {
	t := v.Table()
	for _, kind := range [...]string{"registry", "git", "url", "path", "directory", "editable", "virtual"} {
		if t.Has(kind) {
			return uvSource{kind, t.String(kind), t.String("subdirectory")}
		}
	}
	if v.Exists() {
		v.Failf("%s is none of registry, git, url, path, directory, editable, virtual", v.Path)
	}
	return uvSource{}
}

func uvEdges(v document.Value) []uvEdge {
	var list []uvEdge
	for _, t := range v.Tables() {
		e := uvEdge{name: nameOf(t), version: t.String("version"), line: t.Line, marker: setMarker(t.Get("marker"))}
		if s := t.Get("source"); s.Exists() {
			e.source = readUVSource(s)
		}
		for _, x := range t.Strings("extra") {
			e.extras = append(e.extras, python.NormalizeExtra(x))
		}
		list = append(list, e)
	}
	return list
}

// extraComparison is `extra == "x"` as python.Marker writes it. A name has no
// quotes, so that neither does what surrounds it.
var extraComparison = regexp.MustCompile(`\bextra (==|!=) ("[^"']*")`)

// setMarker reads a marker of an edge. In it "extra" asks whether an extra or a
// group is among those that are wanted, of which there may be several: that of
// a package as 'extra-7-package-name', for projects whose extras exclude one
// another. In python.Marker that is a set (PEP 751).
func setMarker(v document.Value) python.Marker {
	m := marker(v)
	text := m.String()
	if !strings.Contains(text, "extra") {
		return m
	}
	text = extraComparison.ReplaceAllStringFunc(text, func(s string) string {
		op, name, _ := strings.Cut(strings.TrimPrefix(s, "extra "), " ")
		if op == "==" {
			return name + " in extras"
		}
		return name + " not in extras"
	})
	sets, err := python.ParseMarker(text)
	if err != nil {
		v.Fail(err)
	}
	return sets
}

func uvRequirements(v document.Value) []uvRequirement {
	var list []uvRequirement
	for _, t := range v.Tables() {
		r := uvRequirement{name: nameOf(t), specifier: specifiers(t.Get("specifier")), marker: marker(t.Get("marker")), line: t.Line}
		for _, x := range t.Strings("extras") {
			r.extras = append(r.extras, python.NormalizeExtra(x))
		}
		slices.Sort(r.extras)
		for _, kind := range [...]string{"git", "url", "path", "directory", "editable", "virtual", "index"} {
			if t.Has(kind) {
				r.source = uvSource{kind, t.String(kind), t.String("subdirectory")}
			}
		}
		list = append(list, r)
	}
	return list
}
