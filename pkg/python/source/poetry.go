package source

import (
	"path"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// poetry is a project as poetry-core sees it.
type poetry struct {
	s   *sourceTree
	p   *project.Project
	t   table // [tool.poetry]
	out *plan

	excluded map[string]bool
	included map[string]bool   // by include, which counts for more than exclude
	ignored  map[string]bool   // by git, perhaps
	taken    map[string]string // file → where it goes
}

// planPoetry follows poetry-core (Poetry's documentation: "The pyproject.toml
// file").
func planPoetry(s *sourceTree, p *project.Project, _ python.Version) (*plan, error) {
	b := &poetry{s: s, p: p, t: tool(p, "poetry"), excluded: map[string]bool{}, included: map[string]bool{}, ignored: map[string]bool{}, taken: map[string]string{}}
	b.t.only("name", "version", "description", "license", "authors", "maintainers", "readme", "homepage", "repository", "documentation",
		"keywords", "classifiers", "packages", "include", "exclude", "dependencies", "dev-dependencies", "group", "extras", "scripts", "plugins",
		"urls", "package-mode", "source", "requires-poetry", "requires-plugins", "build-constraints")
	if !b.t.bool("package-mode", true) {
		b.t.refuse("package-mode", "the project is not built as a package")
	}
	if err := onlyDynamic(p, "version", "description", "readme", "classifiers"); err != nil {
		return nil, err
	}
	core, err := b.metadata()
	if err != nil {
		return nil, err
	}
	b.out = &plan{core: core, python: "py3", points: b.entryPoints()}
	if len(p.RequiresPython) == 0 || strings.HasPrefix(majors(p.RequiresPython), "py2") {
		b.out.python = "py2.py3"
	}
	b.out.pth = b.out.escaped() + ".pth"
	if *b.t.err != nil {
		return nil, *b.t.err
	}
	if err := b.collect(); err != nil {
		return nil, err
	}
	return b.out, *b.t.err
}

// metadata returns the metadata that poetry-core writes.
func (b *poetry) metadata() (coreMetadata, error) {
	p := *b.p
	if err := b.fill(&p); err != nil {
		return coreMetadata{}, err
	}
	if p.Readme.File != "" && !tableOf(&p, "project", "readme") {
		p.Readme.ContentType = "text/plain"
		switch path.Ext(p.Readme.File) {
		case ".rst":
			p.Readme.ContentType = "text/x-rst"
		case ".md", ".markdown":
			p.Readme.ContentType = "text/markdown"
		}
	}
	m, err := coreOf(b.s, &p)
	if err != nil {
		return m, err
	}
	m.metadataVersion = "2.4"
	m.importNames, m.importNamespaces = nil, nil
	if list := b.t.words("readme"); len(list) > 1 && !tableHas(b.p, "project", "readme") {
		for _, f := range list[1:] {
			text, err := b.s.text(f)
			if err != nil {
				return m, err
			}
			m.description += "\n" + text
		}
	}
	for _, list := range [][]project.Person{p.Authors, p.Maintainers} {
		if len(list) > 0 && list[0].Name == "" {
			return m, keyed(b.p, "project.authors", "the first has no name")
		}
	}
	m.author, m.authorEmail = first(p.Authors)
	m.maintainer, m.maintainerEmail = first(p.Maintainers)
	if err := b.license(&p, &m); err != nil {
		return m, err
	}
	if !tableHas(b.p, "project", "classifiers") {
		m.classifiers = poetryClassifiers(p.Classifiers, p.RequiresPython, m.license)
	}
	return m, b.dependencies()
}

// tableHas reports whether a table has a key.
func tableHas(p *project.Project, table, key string) bool {
	m, _ := p.Table(table)
	_, ok := m[key]
	return ok
}

// tableOf reports whether a value is a table.
func tableOf(p *project.Project, keys ...string) bool {
	_, ok := p.Table(keys...)
	return ok
}

func first(list []project.Person) (name, email string) {
	if len(list) == 0 {
		return "", ""
	}
	return list[0].Name, list[0].Email
}

// fill takes what [project] does not say from [tool.poetry].
func (b *poetry) fill(p *project.Project) error {
	if !tableOf(p, "project") {
		return nil
	}
	missing := func(field, key string) bool { return !tableHas(p, "project", field) && b.t.has(key) }
	for _, x := range [][2]string{{"authors", "authors"}, {"maintainers", "maintainers"}, {"license", "license"},
		{"urls", "homepage"}, {"urls", "repository"}, {"urls", "documentation"}, {"urls", "urls"}, {"entry-points", "plugins"}} {
		if missing(x[0], x[1]) {
			return needsBuild(p, []string{"tool", "poetry", x[1]}, "it is merged with [project]")
		}
	}
	if missing("description", "description") {
		p.Description = b.t.string("description")
	}
	if missing("keywords", "keywords") {
		p.Keywords = b.t.strings("keywords")
	}
	if missing("classifiers", "classifiers") {
		p.Classifiers = b.t.strings("classifiers")
	}
	if missing("readme", "readme") {
		if list := b.t.words("readme"); len(list) > 0 {
			p.Readme = project.Readme{File: list[0]}
		}
	}
	if missing("version", "version") && p.Version.IsZero() {
		return needsBuild(p, []string{"tool", "poetry", "version"}, "it stands for a version that is found when the project is built")
	}
	enriched := tableHas(p, "project", "dependencies") || tableHas(p, "project", "optional-dependencies")
	if enriched && !tableHas(p, "project", "requires-python") && b.t.table("dependencies").has("python") {
		return needsBuild(p, []string{"tool", "poetry", "dependencies", "python"}, "it is merged with [project]")
	}
	return nil
}

// license fills in the license and the files of it.
func (b *poetry) license(p *project.Project, m *coreMetadata) error {
	if p.License.File != "" {
		return keyed(p, "project.license", "the license is found by the text of %s", p.License.File)
	}
	m.license = p.License.Text
	if m.license != "" {
		if id, _, ok := poetryLicense(m.license); ok {
			m.license = id
		} else {
			return keyed(p, "tool.poetry.license", "%q is no license that is known here", m.license)
		}
	}
	var err error
	if p.LicenseFiles != nil {
		m.licenseFiles, err = b.s.licenseFiles(p, p.LicenseFiles, true, true)
	} else {
		m.licenseFiles, err = b.s.licenseFiles(p, append(defaultLicenses(), "LICENSES/**/*"), false, true)
	}
	return err
}

// poetryLicense returns the SPDX identifier of a license and its classifier.
func poetryLicense(s string) (id, classifier string, ok bool) {
	const osi = "License :: OSI Approved :: "
	known := [][3]string{
		{"MIT", "MIT License", osi + "MIT License"},
		{"Apache-2.0", "Apache License 2.0", osi + "Apache Software License"},
		{"BSD-2-Clause", `BSD 2-Clause "Simplified" License`, osi + "BSD License"},
		{"BSD-3-Clause", `BSD 3-Clause "New" or "Revised" License`, osi + "BSD License"},
		{"ISC", "ISC License", "License :: OSI Approved"},
		{"MPL-2.0", "Mozilla Public License 2.0", "License :: OSI Approved"},
		{"Unlicense", "The Unlicense", "License :: OSI Approved"},
		{"AGPL-3.0-only", "GNU Affero General Public License v3.0 only", osi + "GNU Affero General Public License v3"},
		{"AGPL-3.0-or-later", "GNU Affero General Public License v3.0 or later", osi + "GNU Affero General Public License v3 or later (AGPLv3+)"},
		{"GPL-2.0-only", "GNU General Public License v2.0 only", osi + "GNU General Public License v2 (GPLv2)"},
		{"GPL-2.0-or-later", "GNU General Public License v2.0 or later", osi + "GNU General Public License v2 or later (GPLv2+)"},
		{"GPL-3.0-only", "GNU General Public License v3.0 only", osi + "GNU General Public License v3 (GPLv3)"},
		{"GPL-3.0-or-later", "GNU General Public License v3.0 or later", osi + "GNU General Public License v3 or later (GPLv3+)"},
		{"LGPL-3.0-only", "GNU Lesser General Public License v3.0 only", osi + "GNU Lesser General Public License v3 (LGPLv3)"},
		{"LGPL-3.0-or-later", "GNU Lesser General Public License v3.0 or later", osi + "GNU Lesser General Public License v3 or later (LGPLv3+)"},
		{"Proprietary", "Proprietary", "License :: Other/Proprietary License"},
	}
	for _, l := range known {
		if strings.EqualFold(s, l[0]) || strings.EqualFold(s, l[1]) {
			return l[0], l[2], true
		}
	}
	return "", "", false
}

// poetryClassifiers adds the classifiers that follow from the versions of Python
// and the license.
func poetryClassifiers(written []string, requires python.Specifiers, license string) []string {
	const prefix = "Programming Language :: Python"
	var pythons []string
	for _, v := range []string{"2", "2.7", "3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"} {
		fits := requires.Contains(mustVersion(v))
		if len(v) == 1 {
			fits = len(requires) == 0 || strings.Contains(majors(requires), "py"+v)
		}
		if fits {
			pythons = append(pythons, prefix+" :: "+v)
		}
	}
	list := append(slices.Clone(written), pythons...)
	if _, classifier, ok := poetryLicense(license); ok {
		list = append(list, classifier)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// dependencies refuses dependencies that cannot be written as they are.
func (b *poetry) dependencies() error {
	if b.p.Tool != project.Poetry || tableHas(b.p, "project", "dependencies") || tableHas(b.p, "project", "optional-dependencies") {
		return nil
	}
	main := b.t.table("dependencies")
	optional := map[string]bool{}
	for _, name := range main.keys() {
		alternatives, ok := main.m[name].([]any)
		if !ok {
			alternatives = []any{main.m[name]}
		}
		for _, a := range alternatives {
			d, _ := a.(map[string]any)
			for _, k := range []string{"git", "path", "file", "url"} {
				if _, ok := d[k]; ok {
					main.refuse(name, "the dependency is taken from a place of its own")
				}
			}
			if o, _ := d["optional"].(bool); o {
				optional[python.NormalizeName(name)] = true
			}
		}
	}
	extras := b.t.table("extras")
	for _, extra := range extras.keys() {
		for _, name := range extras.strings(extra) {
			if !optional[python.NormalizeName(name)] {
				extras.refuse(extra, "%s is not optional", name)
			}
		}
	}
	return *b.t.err
}

// entryPoints returns the entry points.
func (b *poetry) entryPoints() []project.EntryPointGroup {
	p := *b.p
	if tableOf(&p, "project") && len(p.Scripts) == 0 {
		scripts := b.t.table("scripts")
		for _, name := range scripts.keys() {
			object, ok := scripts.m[name].(string)
			if m, isTable := scripts.m[name].(map[string]any); isTable {
				object, ok = m["reference"].(string)
				if m["type"] != "console" {
					continue
				}
			}
			if !ok {
				scripts.refuse(name, "is no entry point")
			}
			p.Scripts = append(p.Scripts, project.EntryPoint{Name: name, Object: object})
		}
	}
	return b.s.entryPoints(&p)
}

// collect chooses the files of the wheel.
func (b *poetry) collect() error {
	b.vcs()
	packages := b.formats(b.t.tables("packages", "include"), "sdist", "wheel")
	includes := b.formats(b.t.tables("include", "path"), "sdist")
	if len(packages) == 0 {
		found, err := b.discover()
		if err != nil {
			return err
		}
		packages = []table{found}
	}
	for _, pattern := range b.t.strings("exclude") {
		b.mark(pattern, b.excluded)
	}
	for _, include := range includes {
		b.mark(include.string("path"), b.included)
	}
	for _, t := range packages {
		if err := b.addPackage(t); err != nil {
			return err
		}
	}
	for _, t := range includes {
		matches, ok := b.s.glob(t.string("path"), true)
		if !ok {
			t.refuse("path", "the pattern is not followed here")
		}
		for _, m := range matches {
			if b.s.isFile(m) {
				b.take(m, m)
				continue
			}
			b.below(m, func(f string) { b.take(f, f) })
		}
	}
	for from, to := range b.taken {
		if e, ok := b.s.tree.Lookup(from); ok && e.Kind == layers.Symlink {
			return &NeedsBuildError{File: from, Reason: "a symbolic link lies among the files of the project"}
		}
		if err := b.out.add(b.s, from, to); err != nil {
			return err
		}
	}
	return b.scripts()
}

// formats returns the tables that are of wheels.
func (b *poetry) formats(list []table, missing ...string) []table {
	return slices.DeleteFunc(list, func(t table) bool {
		t.only("include", "from", "to", "format", "path")
		formats := missing
		if t.has("format") {
			formats = t.words("format")
		}
		return !slices.Contains(formats, "wheel")
	})
}

// discover finds the package by the project's name.
func (b *poetry) discover() (table, error) {
	name := b.out.escaped()
	for _, dir := range []string{"", "src"} {
		isDir, isFile := b.s.isDir(path.Join(dir, name)), b.s.isFile(path.Join(dir, name+".py"))
		if isDir && isFile {
			return table{}, &NeedsBuildError{File: path.Join(dir, name), Reason: "there is a module of the same name"}
		}
		m := map[string]any{"include": name}
		if dir != "" {
			m["from"] = dir
		}
		switch {
		case isFile:
			m["include"] = name + ".py"
			fallthrough
		case isDir:
			return table{p: b.p, key: b.t.key, m: m, err: b.t.err}, nil
		}
	}
	return table{}, keyed(b.p, "tool.poetry.packages", "no package has the project's name, and no other is named")
}

// mark notes the files that a pattern matches, or that lie in what it does.
func (b *poetry) mark(pattern string, set map[string]bool) {
	matches, ok := b.s.glob(pattern, true)
	if !ok {
		b.t.refuse("exclude", "the pattern %q is not followed here", pattern)
	}
	for _, m := range matches {
		if b.s.isFile(m) {
			set[m] = true
		} else {
			b.s.walk(m, nil, func(f string) { set[f] = true })
		}
	}
}

// skipped reports whether a file is left out.
func (b *poetry) skipped(f string) bool {
	if b.ignored[f] && !b.excluded[f] && !b.included[f] && path.Ext(f) != ".pyc" {
		b.s.refuse(&NeedsBuildError{File: f, Reason: "whether git ignores the file is written in its index"})
	}
	return path.Ext(f) == ".pyc" || slices.Contains(strings.Split(f, "/"), "__pycache__") || b.excluded[f] && !b.included[f]
}

// below calls take for each file below a directory that is not left out.
func (b *poetry) below(dir string, take func(string)) {
	b.s.walk(dir, func(_, name string) bool { return name == "__pycache__" }, func(f string) {
		if !b.skipped(f) {
			take(f)
		}
	})
}

// take notes a file; the first place it goes to counts.
func (b *poetry) take(from, to string) {
	if _, ok := b.taken[from]; !ok {
		b.taken[from] = to
	}
}

// addPackage takes the files of one entry of packages.
func (b *poetry) addPackage(t table) error {
	base, ok := clean(t.string("from"))
	to, okTo := clean(t.string("to"))
	include := t.string("include")
	matches, okGlob := b.s.glob(path.Join(base, include), true)
	if !ok || !okTo || !okGlob || include == "" {
		t.refuse("", "the package %q is not followed here", include)
		return *t.err
	}
	place := func(f string) string {
		if base != "" {
			f = strings.TrimPrefix(f, base+"/")
		}
		return path.Join(to, f)
	}
	hasModule := false
	for _, m := range matches {
		if b.s.isFile(m) {
			hasModule = hasModule || path.Ext(m) == ".py" || len(matches) == 1
			if !b.skipped(m) {
				b.take(m, place(m))
			}
			continue
		}
		b.s.walk(m, nil, func(f string) { hasModule = hasModule || path.Ext(f) == ".py" })
		b.below(m, func(f string) { b.take(f, place(f)) })
	}
	if !hasModule {
		return &NeedsBuildError{File: path.Join(base, include), Reason: "it has no modules"}
	}
	b.out.roots = append(b.out.roots, base)
	return nil
}

// vcs finds the files that git may ignore. poetry-core leaves those out that are
// ignored and not tracked, which only git's index can tell.
func (b *poetry) vcs() {
	if _, ok := b.s.tree.Lookup(".git"); !ok {
		return
	}
	ignored := map[string]ignoreList{}
	for _, e := range b.s.tree.Entries() {
		if path.Base(e.Path) != ".gitignore" && e.Path != ".git/info/exclude" {
			continue
		}
		text, err := b.s.text(e.Path)
		list, ok := parseIgnore(strings.Split(text, "\n"))
		if err != nil || !ok {
			b.s.refuse(&NeedsBuildError{File: e.Path, Reason: "the patterns are not followed here"})
		}
		dir := path.Dir(e.Path)
		if e.Path == ".git/info/exclude" {
			dir = "."
		}
		ignored[dir] = append(ignored[dir], list...)
	}
	b.s.walk("", func(_, name string) bool { return name == ".git" || name == "__pycache__" }, func(f string) {
		for dir := path.Dir(f); ; dir = path.Dir(dir) {
			if ignored[dir].match(strings.TrimPrefix(f, dir+"/")) {
				b.ignored[f] = true
			}
			if dir == "." {
				return
			}
		}
	})
}

// scripts takes the scripts that are files.
func (b *poetry) scripts() error {
	scripts := b.t.table("scripts")
	for _, name := range scripts.keys() {
		m, ok := scripts.m[name].(map[string]any)
		if !ok || m["type"] != "file" {
			continue
		}
		reference, _ := m["reference"].(string)
		if err := b.out.addExtra(b.s, reference, b.out.data("scripts")+path.Base(reference)); err != nil {
			return err
		}
	}
	return nil
}
