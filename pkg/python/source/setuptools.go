package source

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// setuptools is a project as setuptools sees it, from pyproject.toml or from
// setup.cfg.
type setuptools struct {
	s    *sourceTree
	p    *project.Project
	core coreMetadata
	out  *plan

	packages, modules        []string // nil = not given
	packageDir               map[string]string
	packageData, excludeData map[string][]string
	includeData              bool
	zipSafe                  bool
	licenses                 []string // patterns; nil = not given
	referenced               []string // files that the configuration reads
	versionAttr              string   // "package.module.name"
	points                   []project.EntryPointGroup
	where                    string // of settings: "pyproject.toml", "setup.cfg"
}

// planSetuptools follows setuptools (its user guide: "Configuring setuptools
// using pyproject.toml files", "Package discovery", "Data files").
func planSetuptools(s *sourceTree, p *project.Project, _ python.Version) (*plan, error) {
	b := &setuptools{s: s, p: p, packageDir: map[string]string{}, packageData: map[string][]string{}, excludeData: map[string][]string{}}
	if err := b.refuseCode(); err != nil {
		return nil, err
	}
	cfg, err := b.setupCfg()
	if err != nil {
		return nil, err
	}
	if tableOf(p, "project") || tableOf(p, "tool", "setuptools") {
		err = b.readPyproject(cfg)
	} else {
		err = b.readCfg(cfg)
	}
	if err != nil {
		return nil, err
	}
	if err := b.discover(); err != nil {
		return nil, err
	}
	if b.versionAttr != "" {
		if err := b.readVersion(); err != nil {
			return nil, err
		}
	}
	required := b.licenses != nil
	if !required {
		b.licenses = defaultLicenses()
	}
	for _, pattern := range b.licenses {
		found, err := s.licenseFiles(p, []string{pattern}, required, false)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if !strings.HasSuffix(f, "~") && !slices.Contains(b.core.licenseFiles, f) {
				b.core.licenseFiles = append(b.core.licenseFiles, f)
			}
		}
	}
	if len(b.core.licenseFiles) > 0 {
		b.core.dynamic = append(b.core.dynamic, "license-file")
	}
	b.core.metadataVersion = "2.4"
	b.out = &plan{core: b.core, python: "py3", points: b.points}
	b.out.pth = "__editable__." + b.out.stem() + ".pth"
	if err := b.collect(); err != nil {
		return nil, err
	}
	var top []string
	for _, name := range slices.Concat(b.packages, b.modules) {
		name, _, _ = strings.Cut(name, ".")
		top = append(top, name)
	}
	slices.Sort(top)
	b.out.info = append(b.out.info, memory("top_level.txt", strings.Join(slices.Compact(top), "\n")+"\n"))
	if b.zipSafe {
		b.out.info = append(b.out.info, memory("zip-safe", "\n"))
	}
	return b.out, b.roots()
}

// bareSetup is a setup.py that says nothing.
var bareSetup = regexp.MustCompile(`^(?:import setuptools;|from setuptools import setup;)+(?:if __name__ ?== ?["']__main__["'] ?: ?;?)?(?:setuptools\.)?setup\( ?\);?$`)

// refuseCode refuses a setup.py with code in it, and what an earlier build left,
// which setuptools takes for its own.
func (b *setuptools) refuseCode() error {
	if b.s.isFile("setup.py") {
		text, err := b.s.text("setup.py")
		if err != nil {
			return err
		}
		if !isBareSetup(text) {
			return &NeedsBuildError{File: "setup.py", Reason: "the project is configured by code"}
		}
	}
	if b.s.isDir("build/lib") {
		return &NeedsBuildError{File: "build/lib", Reason: "setuptools takes files of an earlier build into the wheel"}
	}
	return nil
}

// isBareSetup reports whether a setup.py does nothing but call setup().
func isBareSetup(text string) bool {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		// No string is left behind by this: bareSetup has none with "#".
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	if len(lines) > 0 && len(lines[0]) > 6 && strings.HasPrefix(lines[0], `"""`) && strings.HasSuffix(lines[0], `"""`) && strings.Count(lines[0], `"`) == 6 {
		lines = lines[1:] // a docstring
	}
	return bareSetup.MatchString(strings.Join(lines, ";"))
}

// readPyproject reads [project] and [tool.setuptools].
func (b *setuptools) readPyproject(cfg *ini) error {
	b.where = "pyproject.toml"
	for _, section := range cfg.sections {
		if section.name == "metadata" || section.name == "options" || strings.HasPrefix(section.name, "options.") {
			return &NeedsBuildError{File: "setup.cfg", Line: section.line, Key: section.name, Reason: "it is merged with pyproject.toml"}
		}
	}
	if !b.p.Declared {
		return keyed(b.p, "tool.setuptools", "there is no [project]")
	}
	t := tool(b.p, "setuptools")
	t.only("packages", "py-modules", "package-dir", "package-data", "exclude-package-data", "include-package-data", "zip-safe",
		"license-files", "dynamic", "platforms")
	if tableOf(b.p, "tool", "distutils") {
		return keyed(b.p, "tool.distutils", "options of commands are not followed here")
	}
	if b.p.ImportNames != nil || b.p.ImportNamespaces != nil {
		return keyed(b.p, "project.import-names", "setuptools does not know the field")
	}
	dirs := t.table("package-dir")
	for _, k := range dirs.keys() {
		b.packageDir[k] = dirs.string(k)
	}
	b.includeData = t.bool("include-package-data", true)
	b.zipSafe = t.bool("zip-safe", false)
	b.licenses = b.p.LicenseFiles
	if t.has("license-files") {
		b.licenses = t.strings("license-files")
	}
	for key, to := range map[string]map[string][]string{"package-data": b.packageData, "exclude-package-data": b.excludeData} {
		data := t.table(key)
		for _, k := range data.keys() {
			name := k
			if name == "*" {
				name = ""
			}
			to[name] = data.strings(k)
		}
	}
	if t.has("py-modules") {
		b.modules = t.strings("py-modules")
	}
	if find, ok := t.m["packages"].(map[string]any); ok && find != nil {
		f := t.table("packages").table("find")
		t.table("packages").only("find")
		f.only("where", "include", "exclude", "namespaces")
		b.find(f.words("where"), f.strings("include"), f.strings("exclude"), f.bool("namespaces", true))
	} else if t.has("packages") {
		b.packages = t.strings("packages")
	}
	core, err := coreOf(b.s, b.p)
	if err != nil {
		return err
	}
	b.core = core
	b.core.platforms = t.strings("platforms")
	b.points = b.s.entryPoints(b.p)
	b.core.license = b.p.License.Text
	for _, f := range []string{b.p.License.File, b.p.Readme.File} {
		if f != "" {
			b.referenced = append(b.referenced, f)
		}
	}
	if f := b.p.License.File; f != "" {
		if b.core.license, err = b.s.text(f); err != nil {
			return err
		}
	}
	if err := b.dynamic(t.table("dynamic")); err != nil {
		return err
	}
	return *t.err
}

// dynamic reads [tool.setuptools.dynamic], where fields are read from files.
func (b *setuptools) dynamic(t table) error {
	for _, field := range b.p.Dynamic {
		d := t.table(field)
		if field == "optional-dependencies" && t.has(field) {
			for _, extra := range d.keys() {
				list, err := b.requirements(d.table(extra))
				if err != nil {
					return err
				}
				g := project.Group{Name: python.NormalizeExtra(extra), Requirements: list}
				if err := b.core.addExtra(b.p, g); err != nil {
					return err
				}
			}
			continue
		}
		if field == "version" && d.has("attr") {
			b.versionAttr = d.string("attr")
			continue
		}
		if !d.has("file") {
			return keyed(b.p, "project.dynamic", "%s is found by running code", field)
		}
		if err := b.dynamicFile(field, d); err != nil {
			return err
		}
	}
	return *t.err
}

func (b *setuptools) dynamicFile(field string, d table) error {
	if field == "dependencies" {
		list, err := b.requirements(d)
		for _, r := range list {
			b.core.requiresDist = append(b.core.requiresDist, canonical(r.Requirement).String())
		}
		return err
	}
	text, err := b.read(d.words("file"))
	if err != nil {
		return err
	}
	switch field {
	case "version":
		b.core.version, err = python.ParseVersion(strings.TrimSpace(text))
		if err != nil {
			return keyed(b.p, "tool.setuptools.dynamic.version", "%v", err)
		}
	case "readme":
		b.core.description = text
		if b.core.contentType = d.string("content-type"); b.core.contentType == "" {
			b.core.contentType = "text/x-rst"
		}
	case "description":
		b.core.summary, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	case "classifiers":
		b.core.classifiers = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	default:
		return keyed(b.p, "project.dynamic", "%s is not read here", field)
	}
	return nil
}

// read returns the content of files, one after the other.
func (b *setuptools) read(files []string) (string, error) {
	var parts []string
	for _, f := range files {
		b.referenced = append(b.referenced, f)
		text, err := b.s.text(f)
		if err != nil {
			return "", err
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "\n"), nil
}

// requirements reads a list of requirements from files: one a line, comments on
// lines of their own.
func (b *setuptools) requirements(d table) ([]python.FileRequirement, error) {
	text, err := b.read(d.words("file"))
	if err != nil {
		return nil, err
	}
	var list []python.FileRequirement
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		r, err := parseSetuptoolsRequirement(line)
		if err != nil {
			return nil, &NeedsBuildError{File: strings.Join(d.words("file"), ", "), Reason: err.Error()}
		}
		list = append(list, python.FileRequirement{Requirement: r})
	}
	return list, *d.err
}

// parseSetuptoolsRequirement reads a line of requirements; a comment may follow.
func parseSetuptoolsRequirement(line string) (python.Requirement, error) {
	if i := strings.Index(line, " #"); i >= 0 {
		line = line[:i]
	}
	return python.ParseRequirement(line)
}

// readVersion reads the version from a module, where it is a plain string.
func (b *setuptools) readVersion() error {
	i := strings.LastIndexByte(b.versionAttr, '.')
	module, name := "__init__", b.versionAttr[i+1:]
	if i > 0 {
		module = b.versionAttr[:i]
	}
	file := ""
	for _, suffix := range []string{".py", "/__init__.py"} {
		if f := path.Clean(b.dir(module) + suffix); b.s.isFile(f) {
			file = f
			break
		}
	}
	if file == "" {
		return &NeedsBuildError{File: b.where, Key: "version", Reason: "there is no module " + module}
	}
	statements, err := b.s.module(file)
	if err != nil {
		return err
	}
	for _, st := range statements {
		if !slices.Contains(st.targets, name) {
			continue
		}
		if !st.literal {
			break
		}
		if b.core.version, err = python.ParseVersion(st.text); err != nil {
			break
		}
		return nil
	}
	return &NeedsBuildError{File: file, Reason: name + " is not a plain string with a version"}
}

// dir returns the directory of a package.
func (b *setuptools) dir(pkg string) string {
	parts := strings.Split(pkg, ".")
	for i := len(parts); i > 0; i-- {
		if d, ok := b.packageDir[strings.Join(parts[:i], ".")]; ok {
			return path.Join(append([]string{d}, parts[i:]...)...)
		}
	}
	return path.Join(append([]string{b.packageDir[""]}, parts...)...)
}

// collect chooses the files of the wheel: modules and data of the packages, and
// modules that are in none.
func (b *setuptools) collect() error {
	dirs := map[string]string{} // directory → package
	for _, pkg := range b.packages {
		d, ok := clean(b.dir(pkg))
		if !ok || d == "" || !b.s.isDir(d) {
			return &NeedsBuildError{File: b.where, Key: "packages", Reason: "there is no directory of the package " + pkg}
		}
		dirs[d] = pkg
		if !b.s.throughLink(d) {
			b.s.noLinksBelow(d)
		}
	}
	taken := map[string]bool{} // in the wheel
	take := func(from, to string) error {
		if taken[to] {
			return nil
		}
		taken[to] = true
		return b.out.add(b.s, from, to)
	}
	for _, m := range b.modules {
		from := b.dir(m) + ".py"
		if i := strings.LastIndexByte(m, '.'); i > 0 {
			return &NeedsBuildError{File: b.where, Key: "py-modules", Reason: m + " lies in a package"}
		}
		if !b.s.isFile(from) {
			return &NeedsBuildError{File: from, Reason: "there is no such module"}
		}
		if err := take(from, m+".py"); err != nil {
			return err
		}
	}
	data, err := b.dataFiles(dirs)
	if err != nil {
		return err
	}
	for _, pkg := range b.packages {
		d, _ := clean(b.dir(pkg))
		at := strings.ReplaceAll(pkg, ".", "/")
		files, _ := b.s.names(d)
		for _, f := range files {
			if strings.HasSuffix(f, ".py") && f[0] != '.' {
				if err := take(d+"/"+f, at+"/"+f); err != nil {
					return err
				}
			}
		}
		for _, f := range data[pkg] {
			if err := take(f, at+"/"+strings.TrimPrefix(f, d+"/")); err != nil {
				return err
			}
		}
	}
	return nil
}

// dataFiles returns the data files of each package.
func (b *setuptools) dataFiles(dirs map[string]string) (map[string][]string, error) {
	data := map[string][]string{}
	if b.includeData {
		manifest, err := b.manifest()
		if err != nil {
			return nil, err
		}
		for _, f := range manifest {
			d, name := path.Dir(f), path.Base(f)
			for d != "." && dirs[d] == "" {
				d = path.Dir(d)
			}
			stem, isPython := strings.CutSuffix(name, ".py")
			if pkg := dirs[d]; d != "." && !(isPython && path.Dir(f) == d && identifier.MatchString(stem)) {
				data[pkg] = append(data[pkg], f)
			}
		}
	}
	for d, pkg := range dirs {
		found, err := b.packageDataFiles(pkg, d)
		if err != nil {
			return nil, err
		}
		if data[pkg], err = b.withoutExcluded(pkg, d, append(data[pkg], found...)); err != nil {
			return nil, err
		}
		slices.Sort(data[pkg])
		data[pkg] = slices.Compact(data[pkg])
	}
	return data, nil
}

// withoutExcluded leaves out what exclude-package-data names.
func (b *setuptools) withoutExcluded(pkg, dir string, files []string) ([]string, error) {
	for _, pattern := range slices.Concat(b.excludeData[""], b.excludeData[pkg]) {
		re, ok := fnmatch(path.Join(dir, pattern))
		if !ok || strings.Contains(pattern, "..") {
			return nil, &NeedsBuildError{File: b.where, Key: "exclude-package-data", Reason: "the pattern " + pattern + " is not followed here"}
		}
		files = slices.DeleteFunc(files, re.MatchString)
	}
	return files, nil
}

// packageDataFiles returns the files of a package that package-data names, and
// those that always are data.
func (b *setuptools) packageDataFiles(pkg, dir string) ([]string, error) {
	var files []string
	for _, pattern := range slices.Concat([]string{"*.pyi", "py.typed"}, b.packageData[""], b.packageData[pkg]) {
		re, ok := globExpression(pattern, false)
		if !ok || strings.Contains(pattern, "..") || path.IsAbs(pattern) {
			return nil, &NeedsBuildError{File: b.where, Key: "package-data", Reason: "the pattern " + pattern + " is not followed here"}
		}
		for _, e := range b.s.tree.Under(dir) {
			if re.MatchString(strings.TrimPrefix(e.Path, dir+"/")) && b.s.isFile(e.Path) {
				files = append(files, e.Path)
			}
		}
	}
	return files, nil
}

// roots finds the directories that lead to the packages.
func (b *setuptools) roots() error {
	for _, name := range slices.Concat(b.packages, b.modules) {
		d, _ := clean(b.dir(name))
		root, ok := strings.CutSuffix("/"+d, "/"+strings.ReplaceAll(name, ".", "/"))
		if !ok {
			b.out.notEditable = &NeedsBuildError{File: b.where, Key: "package-dir", Reason: "the directory of " + name + " has another name"}
			return nil
		}
		b.out.roots = append(b.out.roots, strings.TrimPrefix(root, "/"))
	}
	return nil
}
