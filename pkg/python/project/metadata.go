package project

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project/document"
)

// project reads [project] (PEP 621). Nothing but what the standard names may
// be in it.
func (r *reader) project() {
	v := r.root.Get("project")
	if !v.Exists() {
		return
	}
	t, p := v.Table(), r.p
	p.Declared = true
	p.Dynamic = r.dynamic(t)
	p.Name = r.name(t)
	p.Version = r.version(t)
	p.Description = t.String("description")
	if strings.ContainsAny(p.Description, "\n\r") {
		t.Get("description").Failf("project.description has more than one line")
	}
	p.Readme = readme(t.Get("readme"))
	p.RequiresPython = r.specifiers(t.Get("requires-python"))
	r.license(t)
	p.Authors = people(t.Get("authors"))
	p.Maintainers = people(t.Get("maintainers"))
	p.Keywords = t.Strings("keywords")
	p.Classifiers = t.Strings("classifiers")
	urls := t.Table("urls")
	for _, label := range urls.Keys() {
		p.URLs = append(p.URLs, URL{label, urls.String(label)})
	}
	p.Scripts = entryPoints(t.Table("scripts"))
	p.GUIScripts = entryPoints(t.Table("gui-scripts"))
	groups := t.Table("entry-points")
	for _, name := range groups.Keys() {
		g := groups.Get(name)
		if name == "console_scripts" || name == "gui_scripts" {
			g.Failf("entry points of %s belong in project.%s (PEP 621)", name, map[string]string{"console_scripts": "scripts", "gui_scripts": "gui-scripts"}[name])
		}
		p.EntryPoints = append(p.EntryPoints, EntryPointGroup{name, entryPoints(g.Table())})
	}
	p.ImportNames = given(t.Get("import-names"))
	p.ImportNamespaces = given(t.Get("import-namespaces"))
	p.Dependencies = r.requirements(t.Get("dependencies"))
	p.OptionalDependencies = r.extras(t.Get("optional-dependencies"))
	t.RefuseUnknown()
}

// given is a list that tells "empty" from "not said".
func given(v document.Value) []string {
	list := v.Strings()
	if v.Exists() && list == nil {
		return []string{}
	}
	return list
}

// fields may be dynamic; name may not (PEP 621).
func fields() []string {
	return []string{"version", "description", "readme", "requires-python", "license", "license-files", "authors", "maintainers",
		"keywords", "classifiers", "urls", "scripts", "gui-scripts", "entry-points", "dependencies", "optional-dependencies",
		"import-names", "import-namespaces"}
}

func (r *reader) dynamic(t *document.Table) []string {
	known := fields()
	for _, v := range t.Get("dynamic").Array() {
		name := v.String()
		switch {
		case name == "name":
			v.Failf("project.name cannot be dynamic (PEP 621)")
		case !slices.Contains(known, name):
			v.Fail(&document.UnknownKeyError{Key: "project." + name, Nearest: document.Nearest(name, known)})
		case t.Has(name):
			t.Get(name).Failf("project.%s is given and said to be dynamic (PEP 621)", name)
		}
	}
	return t.Strings("dynamic")
}

func (r *reader) name(t *document.Table) string {
	v := t.Get("name")
	name := v.String()
	switch {
	case !v.Exists():
		t.Failf("project.name is missing (PEP 621)")
	case !python.ValidName(name):
		v.Failf("project.name %q is not a valid name (PEP 508)", name)
	}
	return name
}

func (r *reader) version(t *document.Table) python.Version {
	v := t.Get("version")
	text := v.String()
	if !v.Exists() {
		if !slices.Contains(r.p.Dynamic, "version") {
			t.Fail(&hinted{"project.version is missing, and not said to be dynamic (PEP 621)", `add version = "…", or dynamic = ["version"]`})
		}
		return python.Version{}
	}
	version, err := python.ParseVersion(text)
	if err != nil {
		v.Fail(err)
	}
	return version
}

func (r *reader) specifiers(v document.Value) python.Specifiers {
	s, err := python.ParseSpecifiers(v.String())
	if err != nil {
		v.Fail(err)
	}
	return s
}

func readme(v document.Value) Readme {
	if v.IsString() || !v.Exists() {
		r := Readme{File: v.String()}
		switch strings.ToLower(path.Ext(r.File)) {
		case ".md":
			r.ContentType = "text/markdown"
		case ".rst":
			r.ContentType = "text/x-rst"
		case ".txt":
			r.ContentType = "text/plain"
		}
		checkInside(v, r.File)
		return r
	}
	t := v.Table()
	r := Readme{File: t.String("file"), Text: t.String("text"), ContentType: t.String("content-type")}
	switch {
	case t.Has("file") == t.Has("text"):
		t.Failf("project.readme needs file or text, and not both (PEP 621)")
	case r.ContentType == "":
		t.Failf("project.readme.content-type is missing (PEP 621)")
	}
	checkInside(t.Get("file"), r.File)
	t.RefuseUnknown()
	return r
}

// license reads license and license-files (PEP 639, before it PEP 621).
func (r *reader) license(t *document.Table) {
	v := t.Get("license")
	if v.IsTable() {
		l := v.Table()
		r.p.License = License{File: l.String("file"), Text: l.String("text")}
		if l.Has("file") == l.Has("text") {
			v.Failf("project.license needs file or text, and not both (PEP 621)")
		}
		checkInside(l.Get("file"), r.p.License.File)
		l.RefuseUnknown()
	} else if r.p.License.Expression = v.String(); v.Exists() {
		if strings.TrimSpace(r.p.License.Expression) == "" {
			v.Failf("project.license is empty")
		}
		for _, c := range t.Get("classifiers").Array() {
			if strings.HasPrefix(c.String(), "License ::") {
				c.Failf("a classifier of the license is given together with the expression %q (PEP 639)", r.p.License.Expression)
			}
		}
	}
	files := t.Get("license-files")
	if files.IsTable() { // an early draft of PEP 639, which back-ends took
		l := files.Table()
		for _, key := range [...]string{"paths", "globs"} {
			r.p.LicenseFiles = append(r.p.LicenseFiles, given(l.Get(key))...)
		}
		l.RefuseUnknown()
		return
	}
	r.p.LicenseFiles = given(files)
	for _, e := range files.Array() {
		if s := e.String(); !isInside(s) || strings.Contains(s, `\`) {
			e.Failf("the pattern %q leads out of the project (PEP 639)", s)
		}
	}
}

func people(v document.Value) []Person {
	var list []Person
	for _, t := range v.Tables() {
		p := Person{t.String("name"), t.String("email")}
		if p == (Person{}) {
			t.Failf("%s has neither a name nor an email", t.Path)
		}
		if strings.ContainsAny(p.Email, "<> ,\n") || p.Email != "" && !strings.Contains(p.Email, "@") {
			t.Get("email").Failf("%q is not an email address", p.Email)
		}
		t.RefuseUnknown()
		list = append(list, p)
	}
	return list
}

func entryPoints(t *document.Table) []EntryPoint {
	var list []EntryPoint
	for _, name := range t.Keys() {
		v := t.Get(name)
		object := v.String()
		bare, _, _ := strings.Cut(object, "[") // extras, which nobody uses any more
		switch {
		case name == "" || strings.TrimSpace(name) != name || strings.HasPrefix(name, "[") || strings.ContainsAny(name, "=\n\r"):
			v.Failf("%q cannot be the name of an entry point", name)
		case v.IsString() && !validObject(strings.TrimSpace(bare)):
			v.Failf("%s is %q, which is not module or module:object", v.Path, object)
		}
		list = append(list, EntryPoint{name, object})
	}
	return list
}

// reference is module or module:object.attribute, of Python's identifiers.
var reference = regexp.MustCompile(`^[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*(\s*:\s*[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*)?$`)

func validObject(s string) bool { return reference.MatchString(s) }

// isInside reports whether a path stays within the folder it is relative to.
func isInside(p string) bool {
	return p != "" && !path.IsAbs(p) && path.Clean(p) != ".." && !strings.HasPrefix(path.Clean(p), "../")
}

func checkInside(v document.Value, p string) {
	if p != "" && !isInside(p) {
		v.Failf("%s: %q leads out of the project", v.Path, p)
	}
}

// extras reads [project.optional-dependencies].
func (r *reader) extras(v document.Value) []Group {
	var list []Group
	t := v.Table()
	for _, name := range t.Keys() {
		e := t.Get(name)
		g := Group{Name: python.NormalizeExtra(name), Written: name, Line: e.Line, Requirements: r.requirements(e)}
		switch {
		case !python.ValidName(name):
			e.Failf("%q is not a valid name of an extra (PEP 508)", name)
		case slices.ContainsFunc(list, func(o Group) bool { return o.Name == g.Name }):
			e.Failf("the extra %s is given twice: the names are the same when normalized (PEP 685)", g.Name)
		}
		list = append(list, g)
	}
	return list
}

// hinted is a cause with advice.
type hinted struct{ cause, hint string }

func (e *hinted) Error() string { return e.cause }

// Hint is what the user can do.
func (e *hinted) Hint() string { return e.hint }
