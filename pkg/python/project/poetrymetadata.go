package project

import (
	"regexp"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project/document"
)

// metadata reads what Poetry 1 has in place of [project].
func (d *poetryReader) metadata() {
	t, p := d.table, d.p
	p.Name = t.String("name")
	p.Tool = Poetry
	p.Declared = p.Name != ""
	if v := t.Get("name"); v.Exists() && !python.ValidName(p.Name) {
		v.Failf("tool.poetry.name %q is not a valid name (PEP 508)", p.Name)
	}
	d.version(t)
	p.Description = t.String("description")
	if v := t.Get("readme"); v.IsArray() {
		if list := v.Strings(); len(list) > 0 {
			p.Readme = readme(v.Array()[0])
		}
	} else {
		p.Readme = readme(v)
	}
	p.License.Text = t.String("license") // a name, or SPDX, as one likes
	p.Authors = d.people(t.Get("authors"))
	p.Maintainers = d.people(t.Get("maintainers"))
	p.Keywords = t.Strings("keywords")
	p.Classifiers = t.Strings("classifiers")
	for _, l := range [...]URL{{"Homepage", "homepage"}, {"Repository", "repository"}, {"Documentation", "documentation"}} {
		if u := t.String(l.URL); u != "" {
			p.URLs = append(p.URLs, URL{l.Label, u})
		}
	}
	urls := t.Table("urls")
	for _, label := range urls.Keys() {
		p.URLs = append(p.URLs, URL{label, urls.String(label)})
	}
	d.scripts(t.Table("scripts"))
	plugins := t.Table("plugins")
	for _, name := range plugins.Keys() {
		p.EntryPoints = append(p.EntryPoints, EntryPointGroup{name, entryPoints(plugins.Table(name))})
	}
}

func (d *poetryReader) version(t *document.Table) {
	v := t.Get("version")
	if !v.Exists() {
		return
	}
	version, err := python.ParseVersion(v.String())
	if err != nil {
		v.Fail(err)
	}
	d.p.Version = version
}

// scripts reads entry points; a script that is a file is not one.
func (d *poetryReader) scripts(t *document.Table) {
	for _, name := range t.Keys() {
		v := t.Get(name)
		object := ""
		if v.IsTable() {
			s := v.Table()
			if s.String("type") == "file" {
				continue
			}
			object = s.String("reference") + s.String("callable")
		} else {
			object = v.String()
		}
		if bare, _, _ := strings.Cut(object, "["); !validObject(strings.TrimSpace(bare)) {
			v.Failf("%s is %q, which is not module or module:object", v.Path, object)
		}
		d.p.Scripts = append(d.p.Scripts, EntryPoint{name, object})
	}
}

// address is "Name <email>".
var address = regexp.MustCompile(`^([^<>]*?)\s*(?:<([^<>]+)>)?$`)

func (d *poetryReader) people(v document.Value) []Person {
	var list []Person
	for _, e := range v.Array() {
		m := address.FindStringSubmatch(strings.TrimSpace(e.String()))
		if m == nil {
			e.Failf("%q is not \"Name <email>\"", e.String())
			continue
		}
		list = append(list, Person{m[1], m[2]})
	}
	return list
}

// fill adds what [project] leaves to Poetry as dynamic and its table has.
func (d *poetryReader) fill() {
	t, p := d.table, d.p
	var known []string
	for _, field := range p.Dynamic {
		v := t.Get(field)
		if !v.Exists() {
			continue
		}
		switch field {
		case "version":
			d.version(t)
			// "0" and "0.0.0" are what plugins replace when they find the version.
			if strings.Trim(p.Version.String(), "0.") == "" {
				p.Version = python.Version{}
				continue
			}
		case "description":
			p.Description = v.String()
		case "readme":
			if v.IsArray() {
				continue
			}
			p.Readme = readme(v)
		default: // classifiers, which Poetry adds to, and others
			continue
		}
		known = append(known, field)
	}
	p.Dynamic = slices.DeleteFunc(p.Dynamic, func(f string) bool { return slices.Contains(known, f) })
}
