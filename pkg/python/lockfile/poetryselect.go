package lockfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// Select takes what the groups of the packages say, or walks from the project.
func (l *poetryLock) Select(t python.Target, s Selection) (Selected, error) {
	c, err := newChooser(t, s)
	if err != nil {
		return Selected{}, err
	}
	if !constraintTakes(l.pythons, t) {
		return Selected{}, l.at(0, &TargetError{t, "it needs another Python"})
	}
	own, err := l.beside.project("pyproject.toml")
	if err != nil {
		return Selected{}, err
	}
	extras, groups, err := l.wanted(s, own)
	if err != nil {
		return Selected{}, l.at(0, err)
	}
	var chosen []*poetryPackage
	if l.grouped {
		chosen, err = l.byGroups(c, extras, groups, s.main())
	} else {
		chosen, err = l.walk(c, own, extras, groups, s.main())
	}
	if err != nil {
		return Selected{}, err
	}
	for i, p := range chosen {
		if i > 0 && chosen[i-1].name == p.name {
			return Selected{}, l.at(p.line, &AmbiguousError{Package: p.name, Versions: []string{chosen[i-1].version.String(), p.version.String()}, Target: t})
		}
	}
	for _, p := range chosen {
		if err := l.take(c, p); err != nil {
			return Selected{}, l.at(p.line, err)
		}
	}
	if own != nil && own.IsPackage() && !s.NoProject {
		c.out.Local = append(c.out.Local, Local{Name: python.NormalizeName(own.Name), Version: own.Version, Kind: Directory, Path: ".", Editable: true, Requested: true, Root: true})
	}
	return c.finish(), nil
}

func (l *poetryLock) at(line int, err error) error {
	return &python.FileError{File: l.name, Line: line, Err: err}
}

// constraintTakes reports whether a target's Python fits, some patch of it
// where only the minor version is known.
func constraintTakes(c project.Constraint, t python.Target) bool {
	return slices.ContainsFunc(c, func(s python.Specifiers) bool { return requiresPython(t, s) == nil })
}

// wanted finds the extras and groups of a selection. By default these are the
// groups that are not optional, which only the project's own file says.
func (l *poetryLock) wanted(s Selection, own *project.Project) (extras, groups want, err error) {
	known := want{}
	for _, p := range l.packages {
		for g := range p.groups {
			known[g] = true
		}
	}
	delete(known, mainGroup)
	var defaults []string
	extrasKnown := want{}
	for x := range l.extras {
		extrasKnown[x] = true
	}
	switch {
	case own != nil:
		for _, g := range own.Groups {
			known[g.Name] = true
			if !g.Optional {
				defaults = append(defaults, g.Name)
			}
		}
	case !l.grouped:
		return nil, nil, &NeedsProjectError{"a poetry.lock older than version 2.1 does not say what the project depends on, and there is no pyproject.toml beside it"}
	case len(s.OnlyGroups) == 0 && !s.AllGroups && !s.NoDefaultGroups && len(known) > 0:
		return nil, nil, &NeedsProjectError{"which dependency groups are optional is in pyproject.toml, which is not beside the lock"}
	}
	if groups, err = s.groups(known, defaults); err != nil {
		return nil, nil, err
	}
	extras, err = s.extras(extrasKnown)
	return extras, groups, err
}

// byGroups takes the packages that a wanted group needs.
func (l *poetryLock) byGroups(c *chooser, extras, groups want, withMain bool) ([]*poetryPackage, error) {
	var chosen []*poetryPackage
	names := extras.names()
	for _, p := range l.packages {
		for _, g := range sortedKeys(p.groups) {
			if g == mainGroup && !withMain || g != mainGroup && !groups[g] {
				continue
			}
			holds, err := p.groups[g].EvalLock(c.env, names, nil)
			if err != nil {
				return nil, l.at(p.line, err)
			}
			if holds {
				chosen = append(chosen, p)
				break
			}
		}
	}
	return sortedPackages(chosen), nil
}

func sortedPackages(list []*poetryPackage) []*poetryPackage {
	slices.SortStableFunc(list, func(a, b *poetryPackage) int { return strings.Compare(a.name, b.name) })
	return list
}

func sortedKeys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// walk follows the dependencies from the project's own requirements.
func (l *poetryLock) walk(c *chooser, own *project.Project, extras, groups want, withMain bool) ([]*poetryPackage, error) {
	list, err := own.Requirements(project.Selection{Extras: extras.names(), Groups: groups.names(), NoProjectDependencies: !withMain, Alternatives: true})
	if err != nil {
		return nil, err
	}
	w := &poetryWalk{lock: l, chooser: c, own: python.NormalizeName(own.Name), done: map[string]bool{}, found: map[*poetryPackage]bool{}}
	for _, r := range list {
		if r.Requirement.Marker.Evaluate(c.env) {
			e := poetryEdge{name: r.Requirement.Key(), constraint: project.Constraint{r.Requirement.Specifiers}, extras: r.Requirement.ExtraKeys()}
			if c, ok := own.Alternatives(r); ok {
				e.constraint = c
			}
			if err := w.follow(e); err != nil {
				return nil, err
			}
		}
	}
	return sortedPackages(w.order), nil
}

type poetryWalk struct {
	lock *poetryLock
	*chooser
	own   string          // the project itself, which plugins of it may need
	done  map[string]bool // a package with an extra
	found map[*poetryPackage]bool
	order []*poetryPackage
	queue []poetryEdge
}

// follow takes the package of an edge and all that it needs.
func (w *poetryWalk) follow(first poetryEdge) error {
	w.queue = append(w.queue, first)
	for len(w.queue) > 0 {
		e := w.queue[0]
		w.queue = w.queue[1:]
		if e.name == w.own {
			continue
		}
		p := w.find(e)
		if p == nil && unlocked(e.name) {
			warning := fmt.Sprintf("%s is not locked, as in all locks of Poetry before 1.3, and is not installed", e.name)
			if !slices.Contains(w.out.Warnings, warning) {
				w.out.Warnings = append(w.out.Warnings, warning)
			}
			continue
		}
		if p == nil {
			return w.lock.at(e.line, fmt.Errorf("the lock has no package %s for %s", e.name, w.target))
		}
		if !w.found[p] {
			w.found[p] = true
			w.order = append(w.order, p)
		}
		for _, x := range append([]string{""}, e.extras...) {
			if key := fmt.Sprintf("%s %s %s", p.name, p.version, x); !w.done[key] {
				w.done[key] = true
				if err := w.expand(p, x); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// unlocked reports whether Poetry took a package for part of the environment
// once, and left it out of locks.
func unlocked(name string) bool {
	return slices.Contains([]string{"setuptools", "pip", "wheel", "distribute"}, name)
}

// expand queues the dependencies that a package has with an extra, or, for "",
// without any.
func (w *poetryWalk) expand(p *poetryPackage, extra string) error {
	var set []string
	if extra != "" {
		set = []string{extra}
	}
	for _, d := range p.dependencies {
		holds, err := d.marker.EvalLock(w.env, set, nil)
		if err != nil {
			return w.lock.at(d.line, err)
		}
		holds = holds && (d.pythons == nil || constraintTakes(d.pythons, w.target))
		named := strings.Contains(d.marker.String(), "extras")
		if d.optional && !named {
			holds = holds && slices.Contains(p.extras[extra], d.name)
		}
		if holds {
			w.queue = append(w.queue, d)
		}
	}
	return nil
}

// find returns the package that an edge leads to: one that fits the constraint
// and the Python, the newest of several.
func (w *poetryWalk) find(e poetryEdge) *poetryPackage {
	var best *poetryPackage
	for _, p := range w.lock.byName[e.name] {
		fits := p.source.kind != "" && p.source.kind != "legacy" && p.source.kind != "pypi" || e.constraint.Contains(p.version)
		if fits && constraintTakes(p.pythons, w.target) && (best == nil || p.version.Compare(best.version) > 0) {
			best = p
		}
	}
	return best
}

// take adds one package.
func (l *poetryLock) take(c *chooser, p *poetryPackage) error {
	about := python.Locked{Name: p.name, Version: p.version}
	local := localOf(about, p.line)
	local.Subdirectory = p.source.subdirectory
	switch s := p.source; s.kind {
	case "git":
		if s.commit == "" {
			return fmt.Errorf("the source of %s has no resolved_reference", p.name)
		}
		local.Kind, local.VCS, local.URL, local.Commit, local.Revision = Repository, "git", withoutUser(s.url), s.commit, s.reference
	case "directory":
		local.Kind, local.Path, local.Editable = Directory, slashed(s.url), p.develop
	case "file", "url":
		return l.direct(c, p, about)
	default:
		return l.pin(c, p)
	}
	c.out.Local = append(c.out.Local, local)
	return nil
}

// direct takes a package from a URL or a path: the one file that is listed.
func (l *poetryLock) direct(c *chooser, p *poetryPackage, about python.Locked) error {
	a := Artifact{Subdirectory: p.source.subdirectory}
	if p.source.kind == "url" {
		a.URL = withoutUser(p.source.url)
	} else {
		a.Path = slashed(p.source.url)
	}
	a.Filename = lastOf(p.source.url)
	for _, f := range p.files {
		if len(p.files) == 1 || f.Filename == a.Filename {
			a.Hashes = f.Hashes
		}
	}
	if isWheel(a.Filename) {
		return c.take(about, []Artifact{a}, nil, p.line)
	}
	if name, v, err := python.ParseSdistName(a.Filename); err == nil && name == p.name && v.Equal(p.version) && a.Subdirectory == "" && len(a.Hashes) > 0 {
		return c.take(about, nil, &a, p.line)
	}
	local := localOf(about, p.line)
	local.Kind, local.URL, local.Path, local.Subdirectory, local.Hashes = Archive, a.URL, a.Path, a.Subdirectory, hashList(a.Hashes)
	c.out.Local = append(c.out.Local, local)
	return nil
}

// pin names a package for an index to be asked, when one of its files fits.
func (l *poetryLock) pin(c *chooser, p *poetryPackage) error {
	req, err := pinned(p.name, p.version)
	if err != nil {
		return err
	}
	r := python.FileRequirement{Requirement: req, File: l.name, Line: p.line}
	var wheels []Artifact
	sdist, named := "", true
	for _, f := range p.files {
		switch {
		case f.Filename == "":
			named = false
		case isWheel(f.Filename):
			wheels = append(wheels, Artifact{File: f})
		default:
			sdist = f.Filename
		}
		r.Hashes = append(r.Hashes, hashList(f.Hashes)...)
	}
	slices.Sort(r.Hashes)
	if len(r.Hashes) == 0 {
		return &NoFileError{Package: p.name, Version: p.version, Target: c.target, Reason: "the lock has no sha256, sha384 or sha512 hash of its files"}
	}
	if _, ok := c.best(wheels); named && (!ok || !c.wheels(p.name)) && (sdist == "" || !c.sdists(p.name)) {
		e := &NoFileError{Package: p.name, Version: p.version, Target: c.target, Sdist: sdist}
		for _, w := range wheels {
			e.Wheels = append(e.Wheels, w.Filename)
		}
		return e
	}
	c.out.Pins = append(c.out.Pins, r)
	if p.source.kind == "legacy" {
		index := withoutUser(p.source.url)
		c.out.IndexOf[p.name] = index
		c.out.Indexes = append(c.out.Indexes, index)
	}
	return nil
}
