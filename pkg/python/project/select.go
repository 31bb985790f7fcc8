package project

import (
	"fmt"
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// Selection says which of a project's requirements are wanted. The zero value
// is those of the project itself.
type Selection struct {
	Extras                []string // names in any spelling
	AllExtras             bool
	Groups                []string
	NoProjectDependencies bool // only those of extras and groups
	// Alternatives returns requirements that PEP 508 cannot write, "^1 || ^3",
	// without their versions, for those who ask Project.Alternatives for them.
	// Otherwise they are an error.
	Alternatives bool
}

// Alternatives returns the versions of a requirement, which Requirements has
// returned, as alternatives; ok is false where it says its versions itself.
func (p *Project) Alternatives(r python.FileRequirement) (c Constraint, ok bool) {
	c, ok = p.alternatives[alternativesKey(r)]
	return c, ok
}

// DynamicError is a field that only the project's back-end knows.
type DynamicError struct{ Field string }

func (e *DynamicError) Error() string {
	return fmt.Sprintf("project.%s is dynamic: only the build back-end knows it", e.Field)
}

// Hint says what to do instead.
func (e *DynamicError) Hint() string {
	return fmt.Sprintf("write %s into [project], or install the project itself (pip install .), which builds it", e.Field)
}

// IsDynamic reports whether a field of [project] is left to the back-end.
func (p *Project) IsDynamic(field string) bool { return slices.Contains(p.Dynamic, field) }

// Static returns an error, a *python.FileError of a *DynamicError, where a
// field is left to the back-end.
func (p *Project) Static(field string) error {
	if !p.IsDynamic(field) {
		return nil
	}
	return &python.FileError{File: p.File, Line: p.Line("project", "dynamic"), Err: &DynamicError{field}}
}

// Extra returns an extra by its name in any spelling.
func (p *Project) Extra(name string) (Group, bool) { return lookup(p.OptionalDependencies, name) }

// Group returns a dependency group by its name in any spelling.
func (p *Project) Group(name string) (Group, bool) { return lookup(p.Groups, name) }

func lookup(list []Group, name string) (Group, bool) {
	name = python.NormalizeName(name)
	if i := slices.IndexFunc(list, func(g Group) bool { return g.Name == name }); i >= 0 {
		return list[i], true
	}
	return Group{}, false
}

func groupNames(list []Group) []string {
	var names []string
	for _, g := range list {
		names = append(names, g.Name)
	}
	return names
}

// Requirements returns what a selection asks for, each from where the project's
// tool is told to take it (see Sources): with a URL, "git+…" among them, or with
// a Path, joined to the folder of the file's name. Extras of the project that
// its own requirements name ("app[all]" within app) are replaced by what is in
// them. An extra or a group that does not exist is an *UnknownNameError, what
// only the back-end knows a *DynamicError, each in a *python.FileError.
func (p *Project) Requirements(sel Selection) ([]python.FileRequirement, error) {
	e := &expansion{project: p, alternatives: sel.Alternatives, seen: map[string]bool{}}
	if !sel.NoProjectDependencies {
		e.own(python.Marker{}, "", 0)
	}
	extras := sel.Extras
	if sel.AllExtras {
		if err := p.Static("optional-dependencies"); err != nil {
			return nil, err
		}
		extras = groupNames(p.OptionalDependencies)
	}
	for _, name := range extras {
		e.extra(name, python.Marker{}, "", p.Line("project", "optional-dependencies"))
	}
	for _, name := range sel.Groups {
		g, ok := p.Group(name)
		if !ok {
			e.fail(p.Line("dependency-groups"), &UnknownNameError{"dependency group", name, p.Name, groupNames(p.Groups)})
			continue
		}
		e.add(g.Requirements, python.Marker{}, "", g.Name)
	}
	return e.list, e.err
}

// expansion collects requirements and follows those on the project itself.
type expansion struct {
	project      *Project
	alternatives bool
	list         []python.FileRequirement
	seen         map[string]bool // an extra with the marker under which it is asked for
	err          error
}

func (e *expansion) fail(line int, err error) {
	if e.err == nil {
		e.err = &python.FileError{File: e.project.File, Line: line, Err: err}
	}
}

// own adds the project's own dependencies.
func (e *expansion) own(under python.Marker, group string, line int) {
	if err := e.project.Static("dependencies"); err != nil && e.err == nil {
		e.err = err
	}
	if key := ";" + under.String(); !e.seen[key] {
		e.seen[key] = true
		e.add(e.project.Dependencies, under, "", group)
	}
}

// extra adds the dependencies of an extra.
func (e *expansion) extra(name string, under python.Marker, group string, line int) {
	p := e.project
	x, ok := p.Extra(name)
	if !ok {
		if err := p.Static("optional-dependencies"); err != nil {
			if e.err == nil {
				e.err = err
			}
			return
		}
		e.fail(line, &UnknownNameError{"extra", name, p.Name, groupNames(p.OptionalDependencies)})
		return
	}
	if key := x.Name + ";" + under.String(); !e.seen[key] {
		e.seen[key] = true
		e.add(x.Requirements, under, x.Name, group)
	}
}

// maxExpanded bounds what extras that name one another add up to.
const maxExpanded = 20000

// add adds requirements, which are in an extra or a group if these are named.
func (e *expansion) add(list []python.FileRequirement, under python.Marker, extra, group string) {
	for _, r := range list {
		if len(e.list)+len(e.seen) > maxExpanded {
			e.fail(r.Line, fmt.Errorf("more than %d requirements", maxExpanded))
		}
		if e.err != nil {
			return
		}
		if _, several := e.project.Alternatives(r); several && !e.alternatives {
			e.fail(r.Line, &hinted{fmt.Sprintf("the alternatives for %s cannot be written as one requirement (PEP 508)", r.Requirement.Name),
				"leave one of them, or exclude what is between them with !="})
			return
		}
		if !e.itself(r) {
			sourced, err := e.project.sourced(r, extra, group)
			for i := range sourced {
				if err == nil {
					sourced[i].Requirement.Marker, err = And(under, sourced[i].Requirement.Marker)
				}
			}
			if err != nil {
				e.fail(r.Line, err)
				return
			}
			e.list = append(e.list, sourced...)
			continue
		}
		marker, err := And(under, r.Requirement.Marker)
		if err != nil {
			e.fail(r.Line, err)
			return
		}
		if len(r.Requirement.Extras) == 0 {
			e.own(marker, group, r.Line)
		}
		for _, x := range r.Requirement.Extras {
			e.extra(x, marker, group, r.Line)
		}
	}
}

// itself reports whether a requirement is on the project itself.
func (e *expansion) itself(r python.FileRequirement) bool {
	return e.project.Name != "" && r.Requirement.Key() == python.NormalizeName(e.project.Name)
}

// And returns the marker that holds where both hold. The error is a
// *python.SyntaxError: the two together are too long.
func And(a, b python.Marker) (python.Marker, error) {
	switch {
	case a.IsZero() || a.Equal(b):
		return b, nil
	case b.IsZero():
		return a, nil
	}
	return python.ParseMarker("(" + a.String() + ") and (" + b.String() + ")")
}
