package source

import (
	"fmt"
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
	if *root.err != nil {
		return nil, *root.err
	}
	core, err := hatchMetadata(s, p, root, version)
	if err != nil {
		return nil, err
	}
	h.core = core
	h.out = &plan{core: core, python: majors(p.RequiresPython), points: s.entryPoints(p)}
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
