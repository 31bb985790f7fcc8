package source

import (
	"bytes"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

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
