package lockfile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
	"github.com/boyabuild/boyabuild/pkg/python/project/document"
)

// pipenvLock is a Pipfile.lock: a list of packages for each category. "default"
// are the project's dependencies, "develop" is the group "dev".
type pipenvLock struct {
	name     string
	beside   neighbours
	hash     string // of the Pipfile
	requires python.Specifiers
	sources  map[string]string // names of indexes → URLs
	order    []string          // names of the sources
	groups   map[string][]pipenvPackage
}

// pipenvPackage is one entry.
type pipenvPackage struct {
	name    string
	version string // "==1.0", "*", or ""
	extras  []string
	hashes  []string
	marker  python.Marker
	index   string
	local   Local // where it is no package of an index: Path or URL is set
	isLocal bool
	line    int
}

// readPipenv reads a Pipfile.lock.
func readPipenv(name string, data []byte, n neighbours) (Locker, error) {
	t, err := document.JSON(name, data)
	if err != nil {
		return nil, err
	}
	l := &pipenvLock{name: name, beside: n, sources: map[string]string{}, groups: map[string][]pipenvPackage{}}
	meta := t.Table("_meta")
	if v := meta.Get("pipfile-spec"); v.Int() != 6 {
		v.Fail(&VersionError{"Pipfile.lock", fmt.Sprint(v.Plain()), "6"})
	}
	l.hash = meta.Table("hash").String("sha256")
	requires := meta.Table("requires")
	if v := requires.Get("python_full_version"); v.String() != "" {
		l.requires = pipenvPython(v, "")
	} else if v := requires.Get("python_version"); v.String() != "" {
		l.requires = pipenvPython(v, ".*")
	}
	for _, s := range meta.Get("sources").Tables() {
		u := withoutUser(s.String("url"))
		l.sources[s.String("name")] = u
		l.order = append(l.order, u)
	}
	for _, category := range t.Keys() {
		if category == "_meta" {
			continue
		}
		packages := t.Table(category)
		group := project.PipenvGroup(category)
		if category == "default" {
			group = mainGroup
		}
		for _, key := range packages.Keys() {
			l.groups[group] = append(l.groups[group], l.pkg(key, packages.Get(key)))
		}
		if l.groups[group] == nil {
			l.groups[group] = []pipenvPackage{}
		}
	}
	if err := t.Err(); err != nil {
		return nil, err
	}
	return l, nil
}

func pipenvPython(v document.Value, suffix string) python.Specifiers {
	s, err := python.ParseSpecifiers("==" + v.String() + suffix)
	if err != nil {
		v.Failf("%s: %q is not a version of Python", v.Path, v.String())
	}
	return s
}

func (l *pipenvLock) pkg(name string, v document.Value) pipenvPackage {
	t := v.Table()
	p := pipenvPackage{name: python.NormalizeName(name), version: strings.TrimSpace(t.String("version")), index: t.String("index"), marker: marker(t.Get("markers")), line: v.Line}
	if !python.ValidName(name) {
		v.Failf("%q is not a valid name (PEP 508)", name)
	}
	for _, x := range t.Strings("extras") {
		p.extras = append(p.extras, python.NormalizeExtra(x))
	}
	slices.Sort(p.extras)
	for _, h := range t.Get("hashes").Array() {
		hash, err := python.ParseHash(h.String())
		if err != nil && !strings.HasPrefix(h.String(), "md5:") {
			h.Fail(err)
		}
		if err == nil {
			p.hashes = append(p.hashes, hash)
		}
	}
	slices.Sort(p.hashes)
	if s, ok := strings.CutPrefix(p.version, "=="); ok {
		if _, err := python.ParseVersion(s); err != nil {
			t.Get("version").Fail(err)
		}
	}
	p.local = Local{Name: p.name, Editable: t.Bool("editable"), Subdirectory: subdirectory(t), Extras: p.extras, Requested: true, Line: v.Line}
	git, file := t.String("git"), t.String("file")+t.String("uri")
	switch {
	case git != "":
		p.isLocal = true
		p.local.Kind, p.local.VCS, p.local.URL, p.local.Commit = Repository, "git", withoutUser(strings.TrimPrefix(git, "git+")), t.String("ref")
	case t.Has("path"):
		p.isLocal = true
		p.local.Kind, p.local.Path = Directory, slashed(t.String("path"))
	case strings.Contains(file, "://"):
		p.isLocal = true
		p.local.Kind, p.local.URL = Archive, withoutUser(file)
	case file != "":
		p.isLocal = true
		p.local.Kind, p.local.Path = Directory, slashed(file)
	}
	if isArchive(p.local.Path) {
		p.local.Kind = Archive
	}
	p.local.Hashes = p.hashes
	return p
}

// isArchive reports whether a path is one of a file.
func isArchive(p string) bool {
	return isWheel(p) || strings.HasSuffix(p, ".zip") || strings.HasSuffix(p, ".tgz") || strings.Contains(path.Base(p), ".tar.")
}

// Select takes the categories that are wanted.
func (l *pipenvLock) Select(t python.Target, s Selection) (Selected, error) {
	c, err := newChooser(t, s)
	if err != nil {
		return Selected{}, err
	}
	if err := requiresPython(t, l.requires); err != nil {
		return Selected{}, l.at(0, err)
	}
	known := want{}
	for g := range l.groups {
		known[g] = g != mainGroup
	}
	delete(known, mainGroup)
	for i, g := range s.OnlyGroups { // what pipenv calls its categories
		if g == "default" || g == "packages" {
			s.OnlyGroups = slices.Clone(s.OnlyGroups)
			s.OnlyGroups[i] = mainGroup
		}
	}
	s.Groups, s.OnlyGroups, s.NoGroups = pipenvGroups(s.Groups), pipenvGroups(s.OnlyGroups), pipenvGroups(s.NoGroups)
	groups, err := s.groups(known, nil)
	if err == nil {
		_, err = s.extras(want{})
	}
	if err != nil {
		return Selected{}, l.at(0, err)
	}
	own, err := l.beside.project("Pipfile")
	if err != nil {
		return Selected{}, err
	}
	if s.main() {
		groups[mainGroup] = true
	}
	taken := map[string]pipenvPackage{}
	for _, g := range groups.names() {
		for _, p := range l.groups[g] {
			if err := l.take(c, p, g, groups.names(), own, taken); err != nil {
				return Selected{}, l.at(p.line, err)
			}
		}
	}
	c.out.Indexes = append(c.out.Indexes, l.order...)
	return c.finish(), nil
}

func pipenvGroups(names []string) []string {
	var list []string
	for _, n := range names {
		list = append(list, project.PipenvGroup(n))
	}
	return list
}

func (l *pipenvLock) at(line int, err error) error {
	return &python.FileError{File: l.name, Line: line, Err: err}
}

// take adds one package, unless another category has it too.
func (l *pipenvLock) take(c *chooser, p pipenvPackage, group string, wanted []string, own *project.Project, taken map[string]pipenvPackage) error {
	holds, err := p.marker.Eval(c.env)
	if strings.Contains(p.marker.String(), "dependency_groups") { // Pipenv may write the markers of PEP 751
		holds, err = p.marker.EvalLock(c.env, nil, wanted)
	}
	if err != nil || !holds || !l.asked(c, p, group, own) {
		return err
	}
	if before, ok := taken[p.name]; ok {
		if before.version != p.version || before.local.URL != p.local.URL || before.local.Path != p.local.Path {
			return &AmbiguousError{Package: p.name, Versions: []string{before.version, p.version}, Target: c.target}
		}
		return nil
	}
	taken[p.name] = p
	if p.isLocal {
		if p.local.Kind == Repository && p.local.Commit == "" {
			return fmt.Errorf("the commit of %s is not locked", p.name)
		}
		if name := lastOf(p.local.URL); isWheel(name) && len(p.hashes) == 1 {
			algorithm, digest, _ := strings.Cut(p.hashes[0], ":")
			a := Artifact{File: python.File{Filename: name, URL: p.local.URL, Hashes: map[string]string{algorithm: digest}}}
			return c.take(python.Locked{Name: p.name, Requested: true, Extras: p.extras}, []Artifact{a}, nil, p.line)
		}
		c.out.Local = append(c.out.Local, p.local)
		return nil
	}
	text, exact := strings.CutPrefix(p.version, "==")
	if !exact || len(p.hashes) == 0 {
		return &NoFileError{Package: p.name, Target: c.target, Reason: "it is not locked to a version with hashes; Pipenv leaves out those of packages that the machine it runs on does not need"}
	}
	version, err := python.ParseVersion(text)
	if err != nil {
		return err
	}
	req, err := pinned(p.name, version)
	if err != nil {
		return err
	}
	c.out.Pins = append(c.out.Pins, python.FileRequirement{Requirement: req, Hashes: p.hashes, File: l.name, Line: p.line})
	if u := l.sources[p.index]; u != "" {
		c.out.IndexOf[p.name] = u
	}
	return nil
}

// asked reports whether the Pipfile, where it is known, asks for a package on
// the target. Pipenv writes packages that its own machine does not need without
// their marker.
func (l *pipenvLock) asked(c *chooser, p pipenvPackage, group string, own *project.Project) bool {
	if own == nil || !p.marker.IsZero() || p.isLocal || strings.HasPrefix(p.version, "==") {
		return true
	}
	list := own.Dependencies
	if group != mainGroup {
		g, _ := own.Group(group)
		list = g.Requirements
	}
	for _, r := range list {
		if r.Requirement.Key() == p.name {
			return r.Requirement.Marker.Evaluate(c.env)
		}
	}
	return true
}

// Outdated compares the hash of the Pipfile.
func (l *pipenvLock) Outdated() error {
	p, err := l.beside.project("Pipfile")
	if err != nil {
		return err
	}
	if p == nil {
		return l.at(0, &NeedsProjectError{"whether the lock is up to date cannot be known: there is no Pipfile beside it"})
	}
	all, _ := p.Table()
	// Names were hashed as written before 2026.
	if l.hash == pipenvHash(all, python.NormalizeName) || l.hash == pipenvHash(all, func(s string) string { return s }) {
		return nil
	}
	return &OutdatedError{Lock: l.name, Project: path.Join(l.beside.dir, "Pipfile"), Reasons: []string{"the Pipfile has changed"}, Command: "pipenv lock"}
}

// pipenvHash is the hash of a Pipfile: of its sources, its Python and its
// packages under the names of the lock.
func pipenvHash(all map[string]any, name func(string) string) string {
	section := func(key string) any {
		m, _ := all[key].(map[string]any)
		named := map[string]any{}
		for k, v := range m {
			named[name(k)] = v
		}
		return named
	}
	or := func(key string) any {
		if v, ok := all[key]; ok {
			return v
		}
		return map[string]any{}
	}
	data := map[string]any{
		"_meta":   map[string]any{"sources": or("source"), "requires": or("requires")},
		"default": section("packages"),
		"develop": section("dev-packages"),
	}
	for k := range all {
		switch k {
		case "source", "packages", "dev-packages", "requires", "scripts", "pipfile", "pipenv", "default", "develop":
		default:
			data[k] = section(k)
		}
	}
	return pythonHash(data, ",", ":")
}
