package source

import (
	"path"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// planFlit follows flit_core (its documentation: "The pyproject.toml config
// file").
func planFlit(s *sourceTree, p *project.Project, version python.Version) (*plan, error) {
	settings := tool(p, "flit")
	for _, k := range settings.keys() {
		if !slices.Contains([]string{"module", "sdist", "external-data"}, k) && !strings.HasPrefix(strings.ToLower(k), "x-") {
			settings.refuse(k, "the meaning of this table is not known here")
		}
	}
	if !p.Declared {
		return nil, keyed(p, "project", "the project is described in flit's own tables")
	}
	if err := onlyDynamic(p, "version", "description", "import-names", "import-namespaces"); err != nil {
		return nil, err
	}
	name := settings.table("module").string("name")
	if name == "" {
		name = flitModule(p.Name)
	}
	found, root, err := s.flitFind(name)
	if err != nil {
		return nil, err
	}
	core, err := flitMetadata(s, p, name, found, version)
	if err != nil {
		return nil, err
	}
	out := &plan{core: core, python: flitTag(p.RequiresPython), points: s.entryPoints(p), roots: []string{root}, pth: name + ".pth"}
	strip := root
	if strip != "" {
		strip += "/"
	}
	add := func(f string) { s.refuse(out.add(s, f, strings.TrimPrefix(f, strip))) }
	if s.isFile(found) {
		add(found)
	} else {
		s.walk(found, func(_, name string) bool { return name == "__pycache__" || strings.HasSuffix(name, ".pyc") }, func(f string) {
			if base := path.Base(f); base != "__pycache__" && !strings.HasSuffix(base, ".pyc") {
				add(f)
			}
		})
	}
	if dir := settings.table("external-data").string("directory"); dir != "" {
		c, ok := clean(dir)
		if !ok || c == "" || !s.isDir(c) {
			return nil, keyed(p, "tool.flit.external-data.directory", "%s is no directory of the project", dir)
		}
		s.walk(c, func(_, name string) bool { return name == "__pycache__" }, func(f string) {
			s.refuse(out.addExtra(s, f, out.data("data")+strings.TrimPrefix(f, c+"/")))
		})
	}
	return out, *settings.err
}

// flitModule is the module of a project that names none.
func flitModule(name string) string {
	if stem, ok := strings.CutSuffix(name, "-stubs"); ok {
		return strings.ReplaceAll(stem, "-", "_") + "-stubs"
	}
	return strings.ReplaceAll(name, "-", "_")
}

// flitFind returns where a module is, and the directory that imports begin at.
func (s *sourceTree) flitFind(name string) (found, root string, err error) {
	p := strings.ReplaceAll(name, ".", "/")
	n := 0
	for _, dir := range []string{"", "src"} {
		if c := path.Join(dir, p); s.isDir(c) {
			found, root = c, dir
			n++
		}
		if c := path.Join(dir, p+".py"); s.isFile(c) {
			found, root = c, dir
			n++
		}
	}
	if n != 1 {
		return "", "", &NeedsBuildError{File: "pyproject.toml", Key: "tool.flit.module.name",
			Reason: "there is not exactly one file or directory for the module " + name}
	}
	return found, root, nil
}

// flitMetadata returns the metadata that flit_core writes.
func flitMetadata(s *sourceTree, p *project.Project, module, found string, version python.Version) (coreMetadata, error) {
	m, err := coreOf(s, p)
	if err != nil {
		return m, err
	}
	m.metadataVersion = "2.5"
	if version.Number(0) < 4 {
		m.metadataVersion = "2.4"
		m.importNames, m.importNamespaces = nil, nil
	} else {
		if m.importNames == nil {
			m.importNames = []string{module}
		}
		if m.importNamespaces == nil {
			for i, c := range module {
				if c == '.' {
					m.importNamespaces = append(m.importNamespaces, module[:i])
				}
			}
		}
	}
	if p.IsDynamic("version") || p.IsDynamic("description") {
		if err := s.flitModuleSays(p, found, &m); err != nil {
			return m, err
		}
	}
	patterns, required := p.LicenseFiles, true
	if patterns == nil {
		patterns, required = defaultLicenses(), false
	}
	if m.licenseFiles, err = s.licenseFiles(p, patterns, required, true); err != nil {
		return m, err
	}
	if f := p.License.File; f != "" && p.LicenseFiles == nil && !slices.Contains(m.licenseFiles, path.Clean(f)) {
		m.licenseFiles = append(m.licenseFiles, path.Clean(f))
		slices.Sort(m.licenseFiles)
	}
	return m, nil
}

// flitModuleSays reads version and description from the module: from
// assignments of strings, and the docstring.
func (s *sourceTree) flitModuleSays(p *project.Project, found string, m *coreMetadata) error {
	files := []string{found}
	if !s.isFile(found) {
		files = []string{found + "/__init__.py"}
		for _, name := range []string{"version.py", "_version.py", "__version__.py"} {
			if f := found + "/" + name; s.isFile(f) {
				files = slices.Insert(files, 0, f)
			}
		}
	}
	version := ""
	var statements []pyStatement
	var err error
	for _, f := range files {
		if statements, err = s.module(f); err != nil {
			return err
		}
		for _, st := range statements {
			if !slices.Contains(st.targets, "__version__") {
				continue
			}
			if !st.literal {
				return &NeedsBuildError{File: f, Reason: "__version__ is not a plain string"}
			}
			version = st.text
			break
		}
	}
	last := files[len(files)-1]
	if p.IsDynamic("version") {
		if m.version, err = python.ParseVersion(version); err != nil {
			return &NeedsBuildError{File: last, Reason: "there is no __version__ that is a plain string"}
		}
	}
	if p.IsDynamic("description") {
		if len(statements) == 0 || !statements[0].bare || strings.TrimSpace(statements[0].text) == "" {
			return &NeedsBuildError{File: last, Reason: "there is no docstring"}
		}
		m.summary, _, _ = strings.Cut(strings.TrimSpace(statements[0].text), "\n")
		m.summary = strings.TrimSpace(m.summary)
	}
	return nil
}

// flitTag is the Python part of the tag: without the 2 where a clause says 3 or
// more.
func flitTag(requires python.Specifiers) string {
	for _, c := range requires {
		switch c.Op {
		case ">", ">=", "~=", "==", "===":
			if v := c.Version; v != "" && v[0] >= '3' && v[0] <= '9' {
				return "py3"
			}
		}
	}
	return "py2.py3"
}
