package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project/document"
)

// groups reads [dependency-groups] (PEP 735). Groups that Poetry's own table
// has already given are added to, as Poetry does.
func (r *reader) groups() {
	t := r.root.Table("dependency-groups")
	g := &groupReader{reader: r, raw: map[string]document.Value{}, done: map[string][]python.FileRequirement{}}
	for _, name := range t.Keys() {
		v, key := t.Get(name), python.NormalizeName(name)
		switch _, twice := g.raw[key]; {
		case !python.ValidName(name):
			v.Failf("%q is not a valid name of a dependency group (PEP 735)", name)
		case twice:
			v.Failf("the dependency group %s is given twice: the names are the same when normalized (PEP 735)", key)
		}
		g.raw[key] = v
	}
	for _, name := range t.Keys() {
		key := python.NormalizeName(name)
		r.addGroup(Group{Name: key, Written: name, Line: g.raw[key].Line, Requirements: g.resolve(key, nil)})
	}
}

// addGroup adds a group, or its requirements to the one of that name.
func (r *reader) addGroup(g Group) {
	if i := slices.IndexFunc(r.p.Groups, func(o Group) bool { return o.Name == g.Name }); i >= 0 {
		r.p.Groups[i].Requirements = append(r.p.Groups[i].Requirements, g.Requirements...)
		return
	}
	r.p.Groups = append(r.p.Groups, g)
}

// groupReader resolves groups that include others.
type groupReader struct {
	*reader
	raw  map[string]document.Value
	done map[string][]python.FileRequirement
}

// maxGroupRequirements bounds what groups that include one another twice, and
// those twice again, can add up to.
const maxGroupRequirements = 10000

func (g *groupReader) resolve(key string, within []string) []python.FileRequirement {
	if list, ok := g.done[key]; ok {
		return list
	}
	within = append(within, key)
	var list []python.FileRequirement
	for _, e := range g.raw[key].Array() {
		if e.IsString() {
			if req, ok := g.requirement(e); ok {
				list = append(list, req)
			}
			continue
		}
		t := e.Table()
		include := t.Get("include-group")
		name := python.NormalizeName(include.String())
		_, known := g.raw[name]
		switch {
		case g.root.Err() != nil:
			return nil
		case !include.Exists() || len(t.Keys()) != 1:
			e.Failf(`%s is neither a requirement nor {include-group = "…"} (PEP 735)`, e.Path)
		case slices.Contains(within, name):
			e.Failf("the dependency group %s includes itself: %s", name, strings.Join(append(within, name), " → "))
		case !known:
			e.Fail(&UnknownNameError{Kind: "dependency group", Name: include.String(), Known: keys(g.raw)})
		default:
			list = append(list, g.resolve(name, within)...)
		}
		if len(list) > maxGroupRequirements {
			e.Failf("the dependency group %s has more than %d requirements", key, maxGroupRequirements)
			return nil
		}
	}
	g.done[key] = list
	return list
}

func keys[V any](m map[string]V) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// UnknownNameError is an extra or a dependency group that does not exist.
type UnknownNameError struct {
	Kind  string   // "extra", "dependency group", ...
	Name  string   // as it was asked for
	Owner string   // the project; "" = not known
	Known []string // those that there are
}

func (e *UnknownNameError) Error() string {
	if e.Owner == "" {
		return fmt.Sprintf("there is no %s %q", e.Kind, e.Name)
	}
	return fmt.Sprintf("%s has no %s %q", e.Owner, e.Kind, e.Name)
}

// Hint names those that there are.
func (e *UnknownNameError) Hint() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("it has no %s at all", e.Kind)
	}
	return fmt.Sprintf("there is: %s", strings.Join(e.Known, ", "))
}
