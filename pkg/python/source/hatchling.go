package source

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// hatch is what hatchling is told: the tables for the wheel and for all targets,
// of which the first counts for more.
type hatch struct {
	s             *sourceTree
	p             *project.Project
	core          coreMetadata
	target, build table

	include, exclude, artifacts ignoreList
	hasInclude, excludeAll      bool
	packages                    []string
	sources                     []rewrite // in order
	force                       []rewrite // from → to
	reserved                    map[string]bool
	out                         *plan
}

// rewrite replaces a prefix of paths, or says where a path goes.
type rewrite struct{ from, to string }

// planHatchling follows hatchling (its documentation: "Build configuration",
// "Wheel builder").
func planHatchling(s *sourceTree, p *project.Project, version python.Version) (*plan, error) {
	for _, f := range []string{"hatch.toml", ".hgignore"} {
		if s.isFile(f) {
			return nil, &NeedsBuildError{File: f, Reason: "settings of hatchling in this file are not followed here"}
		}
	}
	root := tool(p, "hatch")
	h := &hatch{s: s, p: p, build: root.table("build"), reserved: map[string]bool{}}
	h.target = h.build.table("targets").table("wheel")
	h.refuseCode(root)
	core, err := hatchMetadata(s, p, root, version)
	if err != nil {
		return nil, err
	}
	h.core = core
	h.out = &plan{core: core, python: majors(p.RequiresPython), points: entryPoints(p)}
	if !h.bool("strict-naming", true) {
		h.out.name = fileNameComponent(p.Name)
	}
	h.configure()
	if *root.err != nil {
		return nil, *root.err
	}
	if err := h.collect(); err != nil {
		return nil, err
	}
	h.editable()
	return h.out, *root.err
}

// refuseCode refuses what runs code.
func (h *hatch) refuseCode(root table) {
	for _, t := range []table{h.build, h.target} {
		for _, k := range t.table("hooks").keys() {
			t.table("hooks").refuse(k, "build hooks run code")
		}
	}
	for _, k := range root.table("metadata").table("hooks").keys() {
		root.table("metadata").table("hooks").refuse(k, "metadata hooks run code")
	}
	if root.table("metadata").bool("allow-ambiguous-features", false) {
		root.table("metadata").refuse("allow-ambiguous-features", "names of extras would not be normalized")
	}
	if v := h.target.strings("versions"); len(v) > 0 && !slices.Contains(v, "standard") {
		h.target.refuse("versions", "the standard wheel is not built")
	}
}

// of returns the table that a setting is in.
func (h *hatch) of(key string) table {
	if h.target.has(key) {
		return h.target
	}
	return h.build
}

func (h *hatch) bool(key string, missing bool) bool { return h.of(key).bool(key, missing) }

// hatchMetadata returns the metadata that hatchling writes.
func hatchMetadata(s *sourceTree, p *project.Project, root table, version python.Version) (coreMetadata, error) {
	if err := onlyDynamic(p, "version"); err != nil {
		return coreMetadata{}, err
	}
	m, err := coreOf(s, p)
	if err != nil {
		return m, err
	}
	m.metadataVersion = "2.5"
	if version.Compare(mustVersion("1.33")) < 0 {
		m.metadataVersion = "2.4"
	}
	target := root.table("build").table("targets").table("wheel")
	if v := target.string("core-metadata-version"); v != "" {
		if !slices.Contains([]string{"2.3", "2.4", "2.5"}, v) || m.licenseExpression != "" && v < "2.4" {
			target.refuse("core-metadata-version", "metadata of version %s is not written here", v)
		}
		m.metadataVersion = v
	}
	if m.metadataVersion < "2.5" && (m.importNames != nil || m.importNamespaces != nil) {
		m.importNames, m.importNamespaces = nil, nil
	}
	if m.requiresDist, m.extras, err = hatchRequirements(p); err != nil {
		return m, err
	}
	keywords := slices.Clone(p.Keywords)
	slices.Sort(keywords)
	m.keywords = strings.Join(slices.Compact(keywords), ",")
	if p.IsDynamic("version") {
		if m.version, err = hatchVersion(s, p, root.table("version")); err != nil {
			return m, err
		}
	}
	if p.License.File != "" {
		if m.license, err = s.text(p.License.File); err != nil {
			return m, err
		}
	} else {
		m.license = p.License.Text
	}
	patterns := p.LicenseFiles
	if patterns == nil {
		patterns = defaultLicenses()
	}
	m.licenseFiles, err = s.licenseFiles(p, patterns, false, false)
	return m, err
}

// hatchRequirements returns the requirements with those of the project's own
// extras in place of what names them, and the extras.
func hatchRequirements(p *project.Project) (requires, extras []string, err error) {
	normal := func(r python.Requirement) (python.Requirement, error) {
		if strings.Contains(r.URL, "{") {
			return r, keyed(p, "project.dependencies", "%s has a part that hatchling fills in", r.Name)
		}
		r = canonical(r)
		r.Name = r.Key()
		return r, nil
	}
	seen := map[string]bool{}
	for _, f := range p.Dependencies {
		r, err := normal(f.Requirement)
		if err != nil {
			return nil, nil, err
		}
		if text := r.String(); !seen[text] {
			seen[text] = true
			requires = append(requires, text)
		}
	}
	slices.Sort(requires)
	self := python.NormalizeName(p.Name)
	for _, g := range p.OptionalDependencies {
		extras = append(extras, g.Name)
		var list []string
		visited := map[string]bool{}
		var expand func(name string) error
		expand = func(name string) error {
			within, ok := p.Extra(name)
			if !ok {
				return keyed(p, "project.optional-dependencies", "there is no extra %s", name)
			}
			if visited[within.Name] {
				return nil
			}
			visited[within.Name] = true
			for _, f := range within.Requirements {
				r, err := normal(f.Requirement)
				if err != nil {
					return err
				}
				if r.Name == self {
					for _, e := range r.ExtraKeys() {
						if err := expand(e); err != nil {
							return err
						}
					}
					continue
				}
				text, err := underExtra(r, g.Name)
				if err != nil {
					return err
				}
				list = append(list, text)
			}
			return nil
		}
		if err := expand(g.Name); err != nil {
			return nil, nil, err
		}
		slices.Sort(list)
		requires = append(requires, slices.Compact(list)...)
	}
	slices.Sort(extras)
	return requires, extras, nil
}

// hatchVersionLine is what hatchling looks for in a file with the version.
var hatchVersionLine = regexp.MustCompile(`(?im)^(?:__version__|VERSION) *= *(?:'v?([^'\n]+?)'|"v?([^"\n]+?)")`)

// hatchVersion reads the version from the file that [tool.hatch.version] names.
func hatchVersion(s *sourceTree, p *project.Project, t table) (python.Version, error) {
	switch source := t.string("source"); {
	case source != "" && source != "regex":
		t.refuse("source", "the version is found by running code")
	case t.has("pattern") && t.m["pattern"] != true && t.m["pattern"] != "":
		t.refuse("pattern", "expressions of Python are not followed here")
	case t.string("path") == "":
		t.refuse("", "there is no path to read the version from")
	}
	if *t.err != nil {
		return python.Version{}, *t.err
	}
	file := t.string("path")
	text, err := s.text(file)
	if err != nil {
		return python.Version{}, err
	}
	m := hatchVersionLine.FindStringSubmatch(text)
	if m == nil {
		return python.Version{}, &NeedsBuildError{File: file, Reason: "no line says __version__ = \"…\""}
	}
	v, err := python.ParseVersion(m[1] + m[2])
	if err != nil {
		return v, &NeedsBuildError{File: file, Reason: err.Error()}
	}
	return v, nil
}

// majors is the Python part of the tag by what the project says it needs: a
// version is fit for a major version if some release of it is.
func majors(requires python.Specifiers) string {
	fits := func(major string) bool {
		for minor := range 100 {
			if requires.Contains(mustVersion(fmt.Sprintf("%s.%d.100", major, minor))) {
				return true
			}
		}
		return false
	}
	if fits("2") {
		if fits("3") {
			return "py2.py3"
		}
		return "py2"
	}
	return "py3"
}

// configure reads which files the wheel has.
func (h *hatch) configure() {
	include := h.of("include").strings("include")
	exclude := h.of("exclude").strings("exclude")
	h.packages = h.of("packages").strings("packages")
	only := h.of("only-include").strings("only-include")
	h.force = h.mapping(h.of("force-include"), "force-include")
	if len(include)+len(h.packages)+len(only) == 0 {
		h.packages, only = h.discover()
	}
	for i, p := range h.packages {
		h.packages[i] = relative(p)
	}
	slices.Sort(h.packages)
	h.readSources()
	if len(only) == 0 {
		only = h.packages
	}
	for _, p := range h.packages {
		include = append(include, "/"+p+"/")
	}
	h.hasInclude = len(include) > 0
	excludes := []string{"*.py[cdo]", "/dist"}
	if !h.bool("ignore-vcs", false) && h.s.isFile(".gitignore") {
		text, err := h.s.text(".gitignore")
		if err != nil {
			h.s.refuse(err)
		}
		excludes = append(excludes, strings.Split(text, "\n")...)
	}
	h.include = h.patterns("include", include)
	h.exclude = h.patterns("exclude", append(excludes, exclude...))
	h.artifacts = h.patterns("artifacts", h.of("artifacts").strings("artifacts"))
	for _, f := range h.force {
		h.reserved[h.distribution(f.from)] = true
	}
	h.choose(only)
}

func (h *hatch) patterns(key string, lines []string) ignoreList {
	list, ok := parseIgnore(lines)
	if !ok {
		h.of(key).refuse(key, "the patterns are not followed here")
	}
	return list
}

// discover finds the package by the project's name ("Default file selection").
func (h *hatch) discover() (packages, only []string) {
	for _, name := range []string{fileNameComponent(h.p.Name), fileNameComponent(python.NormalizeName(h.p.Name))} {
		switch {
		case h.s.isFile(name + "/__init__.py"):
			return []string{name}, nil
		case h.s.isFile("src/" + name + "/__init__.py"):
			return []string{"src/" + name}, nil
		case h.s.isFile(name + ".py"):
			return nil, []string{name + ".py"}
		}
		var namespaces []string
		_, dirs := h.s.names("")
		for _, d := range dirs {
			if !strings.HasPrefix(d, ".") && h.s.isFile(d+"/"+name+"/__init__.py") {
				namespaces = append(namespaces, d)
			}
		}
		if len(namespaces) == 1 {
			return namespaces, nil
		}
	}
	if !h.target.bool("bypass-selection", false) && len(h.force) == 0 {
		h.target.refuse("", "no package has the project's name, and no other is named")
	}
	h.excludeAll = true
	return nil, nil
}

// readSources reads how paths are rewritten.
func (h *hatch) readSources() {
	t := h.of("sources")
	set := map[string]string{}
	if m, ok := t.m["sources"].(map[string]any); ok {
		for from := range m {
			to := relative(t.table("sources").string(from))
			if to == "." {
				to = ""
			} else {
				to += "/"
			}
			if from != "" {
				from = relative(from) + "/"
			}
			set[from] = to
		}
	} else {
		for _, from := range t.strings("sources") {
			set[relative(from)+"/"] = ""
		}
	}
	for _, p := range h.packages {
		if dir, _ := path.Split(p); dir != "" {
			if _, ok := set[p+"/"]; !ok {
				set[dir] = ""
			}
		}
	}
	for from, to := range set {
		h.sources = append(h.sources, rewrite{from, to})
	}
	slices.SortFunc(h.sources, func(a, b rewrite) int { return strings.Compare(a.from, b.from) })
}

// mapping reads a table of paths in the project and where they go, in the order
// in which hatchling takes them.
func (h *hatch) mapping(t table, key string) []rewrite {
	var list []rewrite
	m := t.table(key)
	for _, from := range m.keys() {
		source, ok := clean(from)
		if !ok || source == "" || strings.HasPrefix(from, "~") || m.string(from) == "" {
			m.refuse(from, "the file is outside of the project")
			continue
		}
		list = append(list, rewrite{source, relative(m.string(from))})
	}
	slices.SortFunc(list, func(a, b rewrite) int {
		if n := strings.Count(a.to, "/") - strings.Count(b.to, "/"); n != 0 {
			return n
		}
		return strings.Compare(a.to+"\x00"+a.from, b.to+"\x00"+b.from)
	})
	return list
}

// distribution returns where a path of the project lies in the wheel.
func (h *hatch) distribution(p string) string {
	for _, r := range h.sources {
		if r.from == "" {
			return r.to + p
		}
		if rest, ok := strings.CutPrefix(p, r.from); ok {
			return r.to + rest
		}
	}
	return p
}

// wanted reports whether a file is taken.
func (h *hatch) wanted(p string, explicit, inPackage bool) bool {
	if h.artifacts.match(p) {
		return true
	}
	return !(h.bool("only-packages", false) && !inPackage) &&
		!h.excludeAll && !h.exclude.match(p) &&
		(explicit || !h.hasInclude || h.include.match(p))
}

// choose chooses the project's own files.
func (h *hatch) choose(only []string) {
	if len(only) == 0 {
		h.s.walk("", func(dir, name string) bool {
			p := path.Join(dir, name)
			return hatchSkips(name) || h.reserved[p] || h.bool("skip-excluded-dirs", false) && (h.excludeAll || h.exclude.match(p+"/"))
		}, func(p string) { h.take(p, p, false) })
		return
	}
	var list []rewrite
	for _, p := range only {
		c := relative(p)
		if inside, ok := clean(c); !ok || inside == "" || strings.HasPrefix(p, "~") {
			h.of("only-include").refuse("only-include", "%s is outside of the project", p)
			return
		}
		list = append(list, rewrite{c, c})
	}
	slices.SortFunc(list, func(a, b rewrite) int {
		if n := strings.Count(a.to, "/") - strings.Count(b.to, "/"); n != 0 {
			return n
		}
		return strings.Compare(a.to, b.to)
	})
	for _, r := range list {
		if h.s.isFile(r.from) {
			if to := h.distribution(r.to); !h.reserved[to] {
				h.s.refuse(h.out.add(h.s, r.from, to))
			}
			continue
		}
		h.s.walk(r.from, func(_, name string) bool { return hatchSkips(name) }, func(p string) { h.take(p, p, true) })
	}
}

// take takes a file that may be left out.
func (h *hatch) take(from, p string, explicit bool) {
	name := path.Base(p)
	if name == ".DS_Store" || name == ".git" || h.reserved[h.distribution(p)] {
		return
	}
	if h.wanted(p, explicit, h.s.isFile(path.Join(path.Dir(from), "__init__.py"))) {
		h.s.refuse(h.out.add(h.s, from, h.distribution(p)))
	}
}

// collect adds what is named: forced files, data, scripts.
func (h *hatch) collect() error {
	if err := h.forced(); err != nil {
		return err
	}
	asIs := func(f planFile) (planFile, error) { return f, nil }
	for _, x := range []struct {
		key, to string
		with    func(planFile) (planFile, error)
	}{
		{"shared-data", h.out.data("data"), asIs},
		{"shared-scripts", h.out.data("scripts"), pythonShebang},
	} {
		if err := h.explicit(h.mapping(h.target, x.key), x.to, x.with); err != nil {
			return err
		}
	}
	info := len(h.out.extra)
	if err := h.explicit(h.mapping(h.target, "extra-metadata"), "extra_metadata/", asIs); err != nil {
		return err
	}
	h.out.info = slices.Clone(h.out.extra[info:])
	h.out.extra = h.out.extra[:info]
	for _, f := range h.target.strings("sbom-files") {
		file, err := h.s.file(f, "sboms/"+path.Base(f))
		if err != nil {
			return err
		}
		h.out.info = append(h.out.info, file)
	}
	return nil
}

// forced adds the files of force-include, which nothing leaves out.
func (h *hatch) forced() error {
	for _, r := range h.force {
		if h.s.isFile(r.from) {
			if err := h.out.addExtra(h.s, r.from, h.distribution(r.to)); err != nil {
				return err
			}
			continue
		}
		if !h.s.isDir(r.from) {
			return &NeedsBuildError{File: r.from, Reason: "there is no such file to include"}
		}
		h.s.walk(r.from, func(_, name string) bool { return hatchSkips(name) }, func(p string) {
			to := h.distribution(path.Join(r.to, strings.TrimPrefix(p, r.from+"/")))
			if name := path.Base(p); name != ".DS_Store" && name != ".git" && !h.reserved[to] {
				h.s.refuse(h.out.addExtra(h.s, p, to))
			}
		})
	}
	return nil
}

// explicit adds files that go to a place of their own in the wheel.
func (h *hatch) explicit(list []rewrite, prefix string, with func(planFile) (planFile, error)) error {
	for _, r := range list {
		add := func(from, to string) error {
			f, err := h.s.file(from, prefix+h.distribution(to))
			if err == nil {
				f, err = with(f)
			}
			if err == nil {
				h.out.extra = append(h.out.extra, f)
			}
			return err
		}
		if h.s.isFile(r.from) {
			if err := add(r.from, r.to); err != nil {
				return err
			}
			continue
		}
		var first error
		h.s.walk(r.from, func(_, name string) bool { return hatchSkips(name) }, func(p string) {
			to := path.Join(r.to, strings.TrimPrefix(p, r.from+"/"))
			if name := path.Base(p); name == ".DS_Store" || name == ".git" || first != nil {
				return
			}
			if h.wanted(to, true, h.s.isFile(path.Join(path.Dir(p), "__init__.py"))) {
				first = add(p, to)
			}
		})
		if first != nil {
			return first
		}
	}
	return nil
}

// shebang is a first line that calls a Python.
var shebang = regexp.MustCompile(`(?s)^#!.*(?:pythonw?|pypyw?)[0-9.]*(.*)`)

// maxScript bounds a script whose first line is rewritten.
const maxScript = 16 << 20

// pythonShebang replaces the first line of a script that calls a Python by what
// installers replace (PEP 427, "Recommended installer features").
func pythonShebang(f planFile) (planFile, error) {
	if f.content == nil || f.size > maxScript {
		return f, nil
	}
	in, err := f.content.Open()
	if err != nil {
		return f, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxScript))
	if err != nil || !bytes.HasPrefix(b, []byte("#!")) {
		return f, err
	}
	end := bytes.IndexByte(b, '\n') + 1
	if end == 0 {
		end = len(b)
	}
	m := shebang.FindSubmatch(b[:end])
	if end > 256 || m == nil {
		return f, nil
	}
	rewritten := memory(f.path, "#!python"+string(m[1])+string(b[end:]))
	rewritten.exec = f.exec
	return rewritten, nil
}

// hatchSkips reports whether hatchling never looks into a directory.
func hatchSkips(name string) bool {
	switch name {
	case "__pycache__", ".venv", ".git", ".hg", ".hatch", ".tox", ".nox", ".ruff_cache", ".pytest_cache", ".mypy_cache", ".pixi":
		return true
	}
	return false
}

// editable finds the directories that lead to the project's modules.
func (h *hatch) editable() {
	h.out.pth = "_" + strings.ReplaceAll(python.NormalizeName(h.p.Name), "-", "_") + ".pth"
	if dirs := h.of("dev-mode-dirs").strings("dev-mode-dirs"); len(dirs) > 0 {
		for _, d := range dirs {
			c, ok := clean(d)
			if !ok {
				h.of("dev-mode-dirs").refuse("dev-mode-dirs", "%s is outside of the project", d)
			}
			h.out.roots = append(h.out.roots, c)
		}
		return
	}
	h.out.pth = "_editable_impl_" + strings.ReplaceAll(python.NormalizeName(h.p.Name), "-", "_") + ".pth"
	if h.bool("dev-mode-exact", false) {
		h.out.notEditable = needsBuild(h.p, append(slices.Clone(h.of("dev-mode-exact").key), "dev-mode-exact"), "the editable wheel has hooks for the import of each package")
	}
	for _, f := range h.out.files {
		if !strings.HasSuffix(f.from, ".py") {
			continue
		}
		root, ok := strings.CutSuffix(f.from, f.path)
		if !ok {
			h.out.notEditable = needsBuild(h.p, append(slices.Clone(h.of("sources").key), "sources"), "the project's directory is not like the wheel")
			return
		}
		h.out.roots = append(h.out.roots, strings.TrimSuffix(root, "/"))
	}
}

// relative cleans a path, as hatchling does: slashes at its ends mean nothing.
func relative(p string) string { return strings.Trim(path.Clean(p), "/") }

// fileNameComponent escapes a name as hatchling does.
func fileNameComponent(name string) string {
	return regexp.MustCompile(`[^\pL\pN_.]+`).ReplaceAllString(name, "_")
}
