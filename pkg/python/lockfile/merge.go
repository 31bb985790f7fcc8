package lockfile

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// MergeOptions say what a lock has no place for.
type MergeOptions struct {
	CreatedBy string // "" = "boyabuild"
	// RequiresPython is what the project says of itself; "" = the oldest Python
	// of the targets and later.
	RequiresPython                          string
	Extras, DependencyGroups, DefaultGroups []string // nil = not said
	// IndexOf is the URL of the index that a package comes from, by normalized
	// name. User information is left out. Packages that are not in it have none.
	IndexOf map[string]string
	// Dir is the folder that the lock will be in, as an absolute path: files of
	// this machine are then named relative to it. "" = they keep their URLs.
	Dir string
	// Tool is added to [tool].
	Tool map[string]any
}

// Merge makes one lock file of the locks of the same input for several targets.
// Versions that only some targets need get a marker. The error is an *ApartError
// where that cannot be done, and otherwise says what is wrong with the options.
func Merge(locks []python.Lock, o MergeOptions) (*File, error) {
	if len(locks) == 0 {
		return nil, errors.New("merge locks: there is none")
	}
	entries, p, err := gather(locks)
	if err != nil {
		return nil, err
	}
	f := &File{LockVersion: "1.0", CreatedBy: o.CreatedBy, Extras: normalized(o.Extras),
		DependencyGroups: normalized(o.DependencyGroups), DefaultGroups: normalized(o.DefaultGroups), Tool: map[string]any{}}
	if f.CreatedBy == "" {
		f.CreatedBy = ownTable
	}
	requires := o.RequiresPython
	if requires == "" {
		requires = ">=" + p.pythons[0]
	}
	if f.RequiresPython, err = python.ParseSpecifiers(requires); err != nil {
		return nil, fmt.Errorf("merge locks: %w", err)
	}
	var environments, targets []string
	for i, l := range locks {
		if e := p.environment(i); !slices.Contains(environments, e) {
			environments = append(environments, e)
		}
		targets = append(targets, l.Target.String())
	}
	for _, e := range environments {
		m, err := python.ParseMarker(e)
		if err != nil {
			return nil, fmt.Errorf("merge locks: %w", err)
		}
		f.Environments = append(f.Environments, m)
	}
	for _, e := range entries {
		pkg, err := e.pkg(p, entries, o)
		if err != nil {
			return nil, err
		}
		f.Packages = append(f.Packages, pkg)
	}
	for k, v := range o.Tool {
		f.Tool[k] = v
	}
	f.Tool[ownTable] = map[string]any{"targets": anys(targets)}
	f.sort()
	return f, nil
}

// normalized keeps nil for what is not said.
func normalized(names []string) []string {
	if names == nil {
		return nil
	}
	list := []string{}
	for _, n := range names {
		list = append(list, python.NormalizeName(n))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// entry is one version of a package with the targets that need it.
type entry struct {
	name      string
	version   python.Version
	in        []bool // by target
	requested []bool
	of        []python.Locked // by target; zero where it is not needed
}

// gather brings the packages of all locks together, sorted by name and version.
func gather(locks []python.Lock) ([]*entry, *partition, error) {
	var targets []python.Target
	found := map[string]*entry{}
	var entries []*entry
	for i, l := range locks {
		if err := l.Target.Validate(); err != nil {
			return nil, nil, fmt.Errorf("merge locks: %w", err)
		}
		targets = append(targets, l.Target)
		for _, p := range l.Packages {
			key := p.Name + " " + p.Version.Key()
			e := found[key]
			if e == nil {
				e = &entry{name: p.Name, version: p.Version, in: make([]bool, len(locks)), requested: make([]bool, len(locks)), of: make([]python.Locked, len(locks))}
				found[key] = e
				entries = append(entries, e)
			}
			if e.in[i] {
				return nil, nil, fmt.Errorf("merge locks: the lock for %s has %s twice", l.Target, p.Name)
			}
			e.in[i], e.requested[i], e.of[i] = true, p.Requested, p
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int {
		if a.name != b.name {
			return strings.Compare(a.name, b.name)
		}
		return a.version.Compare(b.version)
	})
	p := newPartition(targets)
	for _, e := range entries {
		if a, b, torn := p.torn(e.in); torn {
			version := func(i int) string {
				l, _ := locks[i].Lookup(e.name)
				return l.Version.String()
			}
			return nil, nil, &ApartError{Package: e.name, A: targets[a], B: targets[b], OfA: version(a), OfB: version(b)}
		}
	}
	return entries, p, nil
}

// pkg writes an entry as that of a lock file.
func (e *entry) pkg(p *partition, all []*entry, o MergeOptions) (Package, error) {
	pkg := Package{Name: e.name, Version: e.version, Index: withoutUser(o.IndexOf[e.name])}
	var err error
	if text := p.marker(e.in); text != "" {
		if pkg.Marker, err = python.ParseMarker(text); err != nil {
			return pkg, fmt.Errorf("merge locks: %w", err)
		}
	}
	var extras []string
	for i, l := range e.of {
		if !e.in[i] {
			continue
		}
		if l.Wheel.Filename != "" && !slices.ContainsFunc(pkg.Wheels, func(a Artifact) bool { return a.Filename == l.Wheel.Filename }) {
			pkg.Wheels = append(pkg.Wheels, o.artifact(l.Wheel))
		}
		if l.Sdist.Filename != "" && (pkg.Sdist == nil || l.Sdist.Filename < pkg.Sdist.Filename) {
			a := o.artifact(l.Sdist)
			pkg.Sdist = &a
		}
		extras = append(extras, l.Extras...)
	}
	pkg.Dependencies = e.dependencies(all)
	if t := e.own(p, sortedSet(extras)); len(t) > 0 {
		pkg.Tool = map[string]any{ownTable: t}
	}
	return pkg, nil
}

// own is the table of what PEP 751 has no key for.
func (e *entry) own(p *partition, extras []string) map[string]any {
	t := map[string]any{}
	if len(extras) > 0 {
		t["extras"] = anys(extras)
	}
	switch {
	case !slices.Contains(e.requested, true):
	case slices.Equal(e.requested, e.in):
		t["requested"] = true
	default:
		if _, _, torn := p.torn(e.requested); torn {
			t["requested"] = true
		} else {
			t["requested"] = p.marker(e.requested)
		}
	}
	return t
}

// dependencies are the entries that name e as what requires them.
func (e *entry) dependencies(all []*entry) []Dependency {
	var list []Dependency
	versions := map[string]int{}
	for _, d := range all {
		versions[d.name]++
	}
	for _, d := range all {
		for i := range d.of {
			if !d.in[i] || !e.in[i] || !slices.Contains(d.of[i].RequiredBy, e.name) {
				continue
			}
			dep := Dependency{Name: d.name}
			if versions[d.name] > 1 {
				dep.Version = d.version
			}
			list = append(list, dep)
			break
		}
	}
	return list
}

// artifact is a file as the lock names it.
func (o MergeOptions) artifact(f python.File) Artifact {
	a := Artifact{File: f}
	// What an index said of a file when it was chosen is not part of a lock.
	a.RequiresPython, a.Yanked, a.IsYanked = "", "", false
	a.URL = withoutUser(f.URL)
	if u, err := url.Parse(f.URL); err == nil && u.Scheme == "file" && o.Dir != "" {
		if rel, err := filepath.Rel(o.Dir, filepath.FromSlash(u.Path)); err == nil {
			a.URL, a.Path = "", filepath.ToSlash(rel)
		}
	}
	return a
}
