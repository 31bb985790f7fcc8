package source

import (
	"fmt"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// ini is a file as Python's configparser reads it.
type ini struct{ sections []iniSection }

type iniSection struct {
	name string
	line int
	keys []iniKey
}

type iniKey struct {
	name, value string // of several lines, with "\n" between them
	line        int
}

// section returns a section; one that is not there is empty.
func (f *ini) section(name string) iniSection {
	for _, s := range f.sections {
		if s.name == name {
			return s
		}
	}
	return iniSection{name: name}
}

// parseINI reads a file in configparser's default dialect without
// interpolation. ok is false for what is not valid there, and for keys twice.
func parseINI(text string) (f *ini, line int, ok bool) {
	f = &ini{}
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	var value []string
	end := func() {
		if n := len(f.sections); n > 0 {
			if k := len(f.sections[n-1].keys); k > 0 {
				f.sections[n-1].keys[k-1].value = strings.TrimRight(strings.Join(value, "\n"), "\n")
			}
		}
		value = nil
	}
	indent := 0
	for i, raw := range lines {
		trimmed := strings.TrimSpace(raw)
		if trimmed != "" && (trimmed[0] == '#' || trimmed[0] == ';') {
			continue
		}
		if trimmed == "" {
			if value != nil {
				value = append(value, "")
			}
			continue
		}
		depth := len(raw) - len(strings.TrimLeft(raw, " \t\f\v"))
		if value != nil && depth > indent {
			value = append(value, trimmed)
			continue
		}
		end()
		indent = depth
		if trimmed[0] == '[' {
			name, rest, found := strings.Cut(trimmed[1:], "]")
			if !found || strings.TrimSpace(rest) != "" || slices.ContainsFunc(f.sections, func(s iniSection) bool { return s.name == name }) {
				return nil, i + 1, false
			}
			f.sections = append(f.sections, iniSection{name: name, line: i + 1})
			continue
		}
		at := strings.IndexAny(trimmed, "=:")
		n := len(f.sections) - 1
		if at <= 0 || n < 0 {
			return nil, i + 1, false
		}
		key := strings.TrimSpace(trimmed[:at])
		if slices.ContainsFunc(f.sections[n].keys, func(k iniKey) bool { return k.name == key }) {
			return nil, i + 1, false
		}
		f.sections[n].keys = append(f.sections[n].keys, iniKey{name: key, line: i + 1})
		value = []string{strings.TrimSpace(trimmed[at+1:])}
	}
	end()
	return f, 0, true
}

// setupCfg reads setup.cfg, and refuses options of commands in it.
func (b *setuptools) setupCfg() (*ini, error) {
	if !b.s.isFile("setup.cfg") {
		return &ini{}, nil
	}
	text, err := b.s.text("setup.cfg")
	if err != nil {
		return nil, err
	}
	f, line, ok := parseINI(text)
	if !ok {
		return nil, &NeedsBuildError{File: "setup.cfg", Line: line, Reason: "the line is not understood"}
	}
	for _, s := range f.sections {
		switch s.name {
		case "egg_info":
			for _, k := range s.keys {
				if !(k.name == "tag_build" && k.value == "" || k.name == "tag_date" && k.value == "0") {
					return nil, cfgError(s, k, "it changes the version")
				}
			}
		case "global", "bdist_wheel", "bdist", "build", "build_py", "build_ext", "build_scripts", "build_clib", "install", "install_lib",
			"install_data", "install_scripts", "install_headers", "develop", "easy_install", "dist_info", "editable_wheel":
			return nil, &NeedsBuildError{File: "setup.cfg", Line: s.line, Key: s.name, Reason: "options of commands are not followed here"}
		}
	}
	return f, nil
}

func cfgError(s iniSection, k iniKey, format string, args ...any) error {
	return &NeedsBuildError{File: "setup.cfg", Line: k.line, Key: s.name + "." + k.name, Reason: fmt.Sprintf(format, args...)}
}

// list splits a value by lines, or by a separator where it has one line.
func list(value, separator string) []string {
	parts := strings.Split(value, separator)
	if strings.Contains(value, "\n") {
		parts = strings.Split(value, "\n")
	}
	var out []string
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// pairs reads "key = value" lines.
func pairs(value string) ([][2]string, bool) {
	var out [][2]string
	for _, line := range list(value, ",") {
		k, v, ok := strings.Cut(line, "=")
		if !ok {
			return nil, false
		}
		out = append(out, [2]string{strings.TrimSpace(k), strings.TrimSpace(v)})
	}
	return out, true
}

// readCfg reads a project that setup.cfg describes ("Configuring setuptools
// using setup.cfg files").
func (b *setuptools) readCfg(f *ini) error {
	b.where = "setup.cfg"
	for _, s := range f.sections {
		var err error
		switch s.name {
		case "metadata":
			err = b.each(s, b.cfgMetadata)
		case "options":
			err = b.each(s, b.cfgOption)
		case "options.packages.find":
			// read with the option packages
		case "options.package_data", "options.exclude_package_data":
			to := b.packageData
			if s.name == "options.exclude_package_data" {
				to = b.excludeData
			}
			for _, k := range s.keys {
				name := k.name
				if name == "*" {
					name = ""
				}
				to[name] = list(k.value, ",")
			}
		case "options.extras_require":
			err = b.each(s, b.cfgExtra)
		case "options.entry_points":
			err = b.each(s, b.cfgEntryPoints)
		default:
			if strings.HasPrefix(s.name, "options.") {
				err = &NeedsBuildError{File: "setup.cfg", Line: s.line, Key: s.name, Reason: "the meaning of this section is not known here"}
			}
		}
		if err != nil {
			return err
		}
	}
	if b.core.name == "" || !python.ValidName(b.core.name) {
		return &NeedsBuildError{File: "setup.cfg", Key: "metadata.name", Reason: "there is no name"}
	}
	return b.cfgFind(f)
}

func (b *setuptools) each(s iniSection, read func(iniSection, iniKey) error) error {
	for _, k := range s.keys {
		if err := read(s, k); err != nil {
			return err
		}
	}
	return nil
}

// file returns a value, or the content of the files that it names.
func (b *setuptools) file(value string) (string, error) {
	if files, ok := strings.CutPrefix(value, "file:"); ok {
		var names []string
		for name := range strings.SplitSeq(files, ",") {
			names = append(names, strings.TrimSpace(name))
		}
		return b.read(names)
	}
	return value, nil
}

// cfgMetadata reads a key of [metadata].
func (b *setuptools) cfgMetadata(s iniSection, k iniKey) (err error) {
	m := &b.core
	plain := map[string]*string{
		"name": &m.name, "url": &m.homePage, "home_page": &m.homePage, "download_url": &m.downloadURL, "author": &m.author,
		"author_email": &m.authorEmail, "maintainer": &m.maintainer, "maintainer_email": &m.maintainerEmail,
		"license": &m.license, "long_description_content_type": &m.contentType,
	}
	if to, ok := plain[k.name]; ok {
		if strings.HasPrefix(k.value, "file:") {
			return cfgError(s, k, "a file is not taken for this")
		}
		*to = k.value
		return nil
	}
	switch k.name {
	case "version":
		return b.cfgVersion(s, k)
	case "description", "summary":
		text, err := b.file(k.value)
		m.summary, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
		return err
	case "long_description":
		m.description, err = b.file(k.value)
		return err
	case "keywords":
		m.keywords = strings.Join(list(k.value, ","), ",")
	case "platforms", "platform":
		m.platforms = list(k.value, ",")
	case "classifiers", "classifier":
		text, err := b.file(k.value)
		m.classifiers = list(text, ",")
		return err
	case "license_files":
		b.licenses = list(k.value, ",")
	case "license_file":
		b.licenses = append(b.licenses, k.value)
	case "project_urls":
		urls, ok := pairs(k.value)
		if !ok {
			return cfgError(s, k, "is not a list of \"label = URL\"")
		}
		for _, u := range urls {
			m.urls = append(m.urls, u[0]+", "+u[1])
		}
	default:
		return cfgError(s, k, "the meaning of this key is not known here")
	}
	return nil
}

func (b *setuptools) cfgVersion(s iniSection, k iniKey) error {
	if attr, ok := strings.CutPrefix(k.value, "attr:"); ok {
		b.versionAttr = strings.TrimSpace(attr)
		return nil
	}
	text, err := b.file(k.value)
	if err != nil {
		return err
	}
	if b.core.version, err = python.ParseVersion(strings.TrimSpace(text)); err != nil {
		return cfgError(s, k, "%v", err)
	}
	return nil
}

// cfgOption reads a key of [options].
func (b *setuptools) cfgOption(s iniSection, k iniKey) error {
	truth := slices.Contains([]string{"1", "true", "yes"}, strings.ToLower(k.value))
	switch k.name {
	case "zip_safe":
		b.zipSafe = truth
	case "include_package_data":
		b.includeData = truth
	case "packages":
		if v := strings.TrimSpace(k.value); v != "find:" && v != "find_namespace:" {
			b.packages = append([]string{}, list(k.value, ",")...)
		}
	case "py_modules":
		b.modules = append([]string{}, list(k.value, ",")...)
	case "package_dir":
		dirs, ok := pairs(k.value)
		if !ok {
			return cfgError(s, k, "is not a list of \"package = directory\"")
		}
		for _, d := range dirs {
			b.packageDir[d[0]] = d[1]
		}
	case "install_requires":
		list, err := b.cfgRequirements(s, k)
		for _, r := range list {
			b.core.requiresDist = append(b.core.requiresDist, canonical(r.Requirement).String())
		}
		return err
	case "python_requires":
		set, err := python.ParseSpecifiers(k.value)
		if err != nil {
			return cfgError(s, k, "%v", err)
		}
		b.core.requiresPython = set.String()
	case "tests_require", "test_suite":
	default:
		return cfgError(s, k, "the meaning of this key is not known here")
	}
	return nil
}

func (b *setuptools) cfgRequirements(s iniSection, k iniKey) ([]python.FileRequirement, error) {
	text, err := b.file(k.value)
	if err != nil {
		return nil, err
	}
	var out []python.FileRequirement
	for _, line := range list(text, ";") {
		if line[0] == '#' {
			continue
		}
		r, err := parseSetuptoolsRequirement(line)
		if err != nil {
			return nil, cfgError(s, k, "%v", err)
		}
		out = append(out, python.FileRequirement{Requirement: r})
	}
	return out, nil
}

// cfgExtra reads the requirements of an extra.
func (b *setuptools) cfgExtra(s iniSection, k iniKey) error {
	if !python.ValidName(k.name) {
		return cfgError(s, k, "is no name of an extra")
	}
	list, err := b.cfgRequirements(s, k)
	if err != nil {
		return err
	}
	return b.core.addExtra(b.p, project.Group{Name: python.NormalizeExtra(k.name), Requirements: list})
}

// cfgEntryPoints reads a group of entry points.
func (b *setuptools) cfgEntryPoints(s iniSection, k iniKey) error {
	points, ok := pairs(k.value)
	if !ok {
		return cfgError(s, k, "is not a list of \"name = module:object\"")
	}
	g := project.EntryPointGroup{Name: k.name}
	for _, p := range points {
		g.EntryPoints = append(g.EntryPoints, project.EntryPoint{Name: p[0], Object: p[1]})
	}
	if len(g.EntryPoints) == 0 {
		return nil
	}
	if _, reason := unclearPoint(g); reason != "" {
		return cfgError(s, k, "%s", reason)
	}
	b.points = append(b.points, g)
	return nil
}

// cfgFind finds packages where the option says so. What it finds out about
// directories is only for reading a version: files are taken where package_dir
// says.
func (b *setuptools) cfgFind(f *ini) error {
	packages := ""
	for _, k := range f.section("options").keys {
		if k.name == "packages" {
			packages = strings.TrimSpace(k.value)
		}
	}
	if packages != "find:" && packages != "find_namespace:" {
		return nil
	}
	var where, include, exclude []string
	for _, k := range f.section("options.packages.find").keys {
		switch v := list(k.value, ","); k.name {
		case "where":
			where = v[:min(len(v), 1)]
		case "include":
			include = v
		case "exclude":
			exclude = v
		}
	}
	given := keySet(b.packageDir)
	b.find(where, include, exclude, packages == "find_namespace:")
	for pkg := range b.packageDir {
		if !given[pkg] {
			return &NeedsBuildError{File: "setup.cfg", Key: "options.package_dir", Reason: "it does not say where the packages are"}
		}
	}
	return nil
}
