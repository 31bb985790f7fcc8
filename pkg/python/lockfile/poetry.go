package lockfile

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
	"github.com/boyabuild/boyabuild/pkg/python/project/document"
)

// poetryLock is a poetry.lock of version 1 or 2. Since 2.1 each package says
// which groups need it, and when; before, that is found by walking from the
// project's own file.
type poetryLock struct {
	name        string
	beside      neighbours
	written     string // version of the Poetry that wrote it; "" = not said
	pythons     project.Constraint
	contentHash string
	grouped     bool // version 2.1 or later
	extras      want
	packages    []*poetryPackage
	byName      map[string][]*poetryPackage
}

// poetryPackage is one [[package]].
type poetryPackage struct {
	name         string
	version      python.Version
	optional     bool
	develop      bool
	pythons      project.Constraint
	files        []python.File // names and hashes only
	groups       map[string]python.Marker
	dependencies []poetryEdge
	extras       map[string][]string // names of the optional dependencies of each
	source       poetrySource
	line         int
}

// poetrySource is where a package is from that is not of the default index.
type poetrySource struct{ kind, url, reference, commit, subdirectory string }

// poetryEdge is a dependency of a package.
type poetryEdge struct {
	name       string
	constraint project.Constraint
	extras     []string
	optional   bool
	pythons    project.Constraint // nil = any
	marker     python.Marker      // with sets in place of extra; see setMarker
	line       int
}

// poetryHeader is the comment that begins a lock.
var poetryHeader = regexp.MustCompile(`^#[^\n]*by Poetry ([0-9][^ \n]*)`)

// readPoetry reads a poetry.lock.
func readPoetry(name string, data []byte, n neighbours) (Locker, error) {
	t, err := document.TOML(name, data)
	if err != nil {
		return nil, err
	}
	l := &poetryLock{name: name, beside: n, extras: want{}, byName: map[string][]*poetryPackage{}}
	if m := poetryHeader.FindSubmatch(data); m != nil {
		l.written = string(m[1])
	}
	metadata := t.Table("metadata")
	v := metadata.Get("lock-version")
	text := v.String()
	if !v.Exists() && metadata.Has("content-hash") {
		text = "1.0" // of Poetry 1.0 and before
	}
	format, err := python.ParseVersion(text)
	if err != nil || format.Number(0) < 1 || format.Number(0) > 2 {
		v.Fail(&VersionError{"poetry.lock", fmt.Sprintf("%q", v.String()), "1 and 2"})
		return nil, t.Err()
	}
	l.grouped = format.Number(0) == 2 && format.Number(1) >= 1
	l.contentHash = metadata.String("content-hash")
	l.pythons = constraint(metadata.Get("python-versions"))
	for _, x := range t.Table("extras").Keys() {
		l.extras[python.NormalizeExtra(x)] = true
	}
	files := metadata.Table("files")
	if !metadata.Has("files") {
		files = metadata.Table("hashes")
	}
	for _, e := range t.Get("package").Tables() {
		p := l.pkg(e, files)
		l.packages = append(l.packages, p)
		l.byName[p.name] = append(l.byName[p.name], p)
	}
	if err := t.Err(); err != nil {
		return nil, err
	}
	return l, nil
}

// constraint reads one of Poetry; nothing is any version.
func constraint(v document.Value) project.Constraint {
	c, err := project.ParseConstraint(v.String())
	if err != nil {
		v.Fail(err)
	}
	return c
}

func (l *poetryLock) pkg(t, files *document.Table) *poetryPackage {
	p := &poetryPackage{name: nameOf(t), version: version(t.Get("version")), optional: t.Bool("optional"), develop: t.Bool("develop"),
		pythons: constraint(t.Get("python-versions")), groups: map[string]python.Marker{}, extras: map[string][]string{}, line: t.Line}
	if p.version.IsZero() {
		t.Failf("%s has no version", t.Path)
	}
	list := t.Get("files")
	if !list.Exists() { // of lock-version 1.1
		list = files.Get(t.String("name"))
	}
	for _, f := range list.Array() {
		p.files = append(p.files, poetryFile(f))
	}
	markers := t.Get("markers")
	for _, g := range t.Strings("groups") {
		m := markers
		if markers.IsTable() {
			m = markers.Table().Get(g)
		}
		p.groups[python.NormalizeName(g)] = setMarker(m)
	}
	dependencies := t.Table("dependencies")
	for _, name := range dependencies.Keys() {
		for _, e := range dependencies.Get(name).Elements() {
			p.dependencies = append(p.dependencies, poetryDependency(name, e))
		}
	}
	extras := t.Table("extras")
	for _, x := range extras.Keys() {
		for _, text := range extras.Strings(x) {
			// "name (>=1)", which is not always a requirement of PEP 508.
			name := text[:len(text)-len(strings.TrimLeft(text, nameLetters))]
			p.extras[python.NormalizeExtra(x)] = append(p.extras[python.NormalizeExtra(x)], python.NormalizeName(name))
		}
	}
	if v := t.Get("source"); v.Exists() {
		s := v.Table()
		p.source = poetrySource{s.String("type"), s.String("url"), s.String("reference"), s.String("resolved_reference"), s.String("subdirectory")}
		if leadsOut(p.source.subdirectory) {
			s.Get("subdirectory").Failf("%s: %q leads out", s.Get("subdirectory").Path, p.source.subdirectory)
		}
		switch p.source.kind {
		case "legacy", "git", "directory", "file", "url", "pypi", "":
		default:
			s.Failf("%s: the source %q is not supported", p.name, p.source.kind)
		}
	}
	return p
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// poetryFile reads a file; of Poetry 1.0 only the hash is known.
func poetryFile(v document.Value) python.File {
	if v.IsString() {
		hash, err := python.ParseHash("sha256:" + v.String())
		if err != nil {
			v.Fail(err)
		}
		return python.File{Hashes: map[string]string{"sha256": strings.TrimPrefix(hash, "sha256:")}}
	}
	t := v.Table()
	f := python.File{Filename: required(t, "file"), Hashes: map[string]string{}}
	h := t.Get("hash")
	hash, err := python.ParseHash(h.String())
	if err != nil && !strings.HasPrefix(h.String(), "md5:") { // of private indexes; safe ones are asked for where it matters
		h.Fail(err)
	}
	if algorithm, digest, ok := strings.Cut(hash, ":"); ok {
		f.Hashes[algorithm] = digest
	}
	return f
}

func poetryDependency(name string, v document.Value) poetryEdge {
	e := poetryEdge{name: python.NormalizeName(name), line: v.Line}
	if !v.IsTable() {
		e.constraint = constraint(v)
		return e
	}
	t := v.Table()
	e.constraint = constraint(t.Get("version"))
	e.optional = t.Bool("optional")
	if p := t.Get("python"); p.Exists() { // of Poetry 1.0, later a marker
		e.pythons = constraint(p)
	}
	for _, x := range t.Strings("extras") {
		e.extras = append(e.extras, python.NormalizeExtra(x))
	}
	if m := t.Get("markers"); m.Exists() {
		e.marker = setMarker(m)
	}
	return e
}
