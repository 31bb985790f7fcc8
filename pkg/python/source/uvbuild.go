package source

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// uvVersions are the versions whose rules are known: all of some minor versions,
// for projects are to name one, and its rules stay what they are.
func uvVersions() []string {
	var list []string
	for minor := 13; minor >= 8; minor-- {
		for patch := 99; patch >= 0; patch-- {
			list = append(list, fmt.Sprintf("0.%d.%d", minor, patch))
		}
	}
	return list
}

// planUV follows uv_build (uv's documentation: "The uv build backend").
func planUV(s *sourceTree, p *project.Project, version python.Version) (*plan, error) {
	t := tool(p, "uv", "build-backend")
	t.only("module-root", "module-name", "source-include", "source-exclude", "wheel-exclude", "default-excludes", "namespace", "data")
	t.table("data").only("purelib", "platlib", "headers", "scripts", "data")
	if err := onlyDynamic(p); err != nil {
		return nil, err
	}
	core, err := uvMetadata(s, p)
	if err != nil {
		return nil, err
	}
	root := "src"
	if t.has("module-root") {
		root = t.string("module-root")
	}
	root, ok := clean(root)
	if !ok {
		t.refuse("module-root", "%s is outside of the project", root)
	}
	excluded := uvExcludes(t)
	if *t.err != nil {
		return nil, *t.err
	}
	modules, err := uvModules(s, p, t, root)
	if err != nil {
		return nil, err
	}
	out := &plan{core: core, python: "py3", points: s.entryPoints(p), roots: []string{root}}
	out.pth = out.escaped() + ".pth"
	for _, m := range modules {
		m = path.Join(root, m)
		if excluded(m) || !s.isDir(m) {
			return nil, &NeedsBuildError{File: m, Reason: "there is no such module"}
		}
		s.walk(m, func(dir, name string) bool { return excluded(path.Join(dir, name)) }, func(f string) {
			if !excluded(f) {
				s.uvVenv(f)
				s.refuse(out.add(s, f, strings.TrimPrefix(strings.TrimPrefix(f, root), "/")))
			}
		})
	}
	if err := uvData(s, t, out, excluded, version.Compare(mustVersion("0.12")) < 0); err != nil {
		return nil, err
	}
	return out, *t.err
}

// uvData takes the directories of data. Before version 0.12 nothing was left out
// of them, and an editable wheel had none.
func uvData(s *sourceTree, t table, out *plan, excluded func(string) bool, older bool) error {
	data := t.table("data")
	for _, scheme := range data.keys() {
		refusal := func(format string, args ...any) error {
			return needsBuild(t.p, append(slices.Clone(data.key), scheme), format, args...)
		}
		dir, ok := clean(data.string(scheme))
		if !ok || !s.isDir(dir) {
			return refusal("%s is no directory of the project", dir)
		}
		if older {
			out.notEditable = refusal("versions of uv_build do not agree on it in editable wheels")
		}
		leave := func(f string) bool {
			if older && excluded(f) {
				s.refuse(refusal("versions of uv_build do not agree on excluding %s", f))
			}
			return excluded(f)
		}
		s.walk(dir, func(d, name string) bool { return leave(path.Join(d, name)) }, func(f string) {
			if !leave(f) {
				s.refuse(out.addExtra(s, f, out.data(scheme)+strings.TrimPrefix(strings.TrimPrefix(f, dir), "/")))
			}
		})
	}
	return nil
}

// uvVenv refuses a virtual environment among the files, as uv_build does.
func (s *sourceTree) uvVenv(f string) {
	if path.Base(f) == "pyvenv.cfg" {
		s.refuse(&NeedsBuildError{File: f, Reason: "a virtual environment lies among the files of the project"})
	}
}

// uvMetadata returns the metadata that uv_build writes.
func uvMetadata(s *sourceTree, p *project.Project) (coreMetadata, error) {
	m, err := coreOf(s, p)
	if err != nil {
		return m, err
	}
	m.metadataVersion = "2.3"
	// Unlike others it names everybody in Author and Maintainer.
	names := func(list []project.Person) string {
		var n []string
		for _, x := range list {
			if x.Name != "" {
				n = append(n, x.Name)
			}
		}
		return strings.Join(n, ", ")
	}
	emails := func(list []project.Person) string {
		var e []string
		for _, x := range list {
			switch {
			case x.Email != "" && x.Name != "":
				e = append(e, x.Name+" <"+x.Email+">")
			case x.Email != "":
				e = append(e, x.Email)
			}
		}
		return strings.Join(e, ", ")
	}
	m.author, m.authorEmail = names(p.Authors), emails(p.Authors)
	m.maintainer, m.maintainerEmail = names(p.Maintainers), emails(p.Maintainers)
	if p.LicenseFiles != nil || p.License.Expression != "" {
		m.metadataVersion = "2.4"
	}
	if m.importNames != nil || m.importNamespaces != nil {
		m.metadataVersion = "2.5"
	}
	switch {
	case p.LicenseFiles != nil && (p.License.File != "" || p.License.Text != ""):
		return m, keyed(p, "project.license", "license-files need a license that is an SPDX expression")
	case p.License.File != "":
		if m.license, err = s.text(p.License.File); err != nil {
			return m, err
		}
	default:
		m.license = p.License.Text
	}
	for _, pattern := range p.LicenseFiles {
		re, ok := portableGlob(pattern)
		if !ok {
			return m, keyed(p, "project.license-files", "the pattern %q is not followed here", pattern)
		}
		if strings.Contains(pattern, "/") {
			s.noLinksBelow("")
		}
		for _, e := range s.tree.Entries() {
			if re.MatchString(e.Path) && s.isFile(e.Path) {
				m.licenseFiles = append(m.licenseFiles, e.Path)
			}
		}
	}
	slices.Sort(m.licenseFiles)
	m.licenseFiles = slices.Compact(m.licenseFiles)
	return m, nil
}

// uvExcludes returns whether a path is left out. What is left out of the sdist
// is left out of the wheel, too.
func uvExcludes(t table) func(string) bool {
	patterns := append(t.strings("wheel-exclude"), t.strings("source-exclude")...)
	if t.bool("default-excludes", true) {
		patterns = append(patterns, "__pycache__", "*.pyc", "*.pyo")
	}
	var list []*regexp.Regexp
	for _, pattern := range patterns {
		anchored, ok := strings.CutPrefix(pattern, "/")
		if !ok {
			anchored = "**/" + pattern
		}
		re, valid := portableGlob(anchored)
		if !valid {
			t.refuse("wheel-exclude", "the pattern %q is not followed here", pattern)
			continue
		}
		list = append(list, re)
	}
	return func(p string) bool {
		return slices.ContainsFunc(list, func(re *regexp.Regexp) bool { return re.MatchString(p) })
	}
}

// portableGlob compiles a pattern of PEP 639: "*" and "?" stay within an element
// of a path, "**" is any number of them. Dots are like anything else.
func portableGlob(pattern string) (*regexp.Regexp, bool) {
	segments := strings.Split(pattern, "/")
	var b strings.Builder
	b.WriteString("^")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch {
		case segment == "" || segment == ".." || strings.ContainsAny(segment, "\\{}") || strings.Contains(segment, "**") && segment != "**":
			return nil, false
		case segment == "**" && last:
			b.WriteString(".+")
		case segment == "**":
			b.WriteString("(?:.+/)?")
			continue
		default:
			part, ok := fnmatchExpression(segment, "[^/]")
			if !ok {
				return nil, false
			}
			b.WriteString(part)
		}
		if !last {
			b.WriteString("/")
		}
	}
	re, err := regexp.Compile(b.String() + "$")
	return re, err == nil
}

// identifier is a name of Python's.
var identifier = regexp.MustCompile(`^[\pL_][\pL\pN_]*$`)

// uvModules returns the modules of the wheel, as paths below the root.
func uvModules(s *sourceTree, p *project.Project, t table, root string) ([]string, error) {
	names := t.words("module-name")
	escaped := strings.ReplaceAll(python.NormalizeName(p.Name), "-", "_")
	namespace := t.bool("namespace", false)
	if len(names) == 0 {
		if stem, ok := strings.CutSuffix(python.NormalizeName(p.Name), "-stubs"); ok && !namespace {
			escaped = strings.ReplaceAll(stem, "-", "_") + "-stubs"
		}
		names = []string{escaped}
	}
	var modules []string
	for _, name := range names {
		if slices.ContainsFunc(names, func(o string) bool { return strings.HasPrefix(name, o+".") }) {
			continue // in another that is taken
		}
		segments := strings.Split(name, ".")
		init := "__init__.py"
		for i, segment := range segments {
			if stem, ok := strings.CutSuffix(segment, "-stubs"); ok && i == 0 {
				segment, init = stem, "__init__.pyi"
			}
			if !identifier.MatchString(segment) {
				return nil, needsBuild(p, append(slices.Clone(t.key), "module-name"), "%q is no name of a module", name)
			}
		}
		module := path.Join(segments...)
		if !namespace {
			if !s.isFile(path.Join(root, module, init)) {
				return nil, &NeedsBuildError{File: path.Join(root, module, init), Reason: "there is no such module"}
			}
			for dir := path.Dir(module); dir != "."; dir = path.Dir(dir) {
				if s.isFile(path.Join(root, dir, "__init__.py")) || s.isFile(path.Join(root, dir, "__init__.pyi")) {
					return nil, &NeedsBuildError{File: path.Join(root, dir), Reason: "a namespace is no package of its own"}
				}
			}
		}
		if !slices.Contains(modules, module) {
			modules = append(modules, module)
		}
	}
	return modules, *t.err
}
