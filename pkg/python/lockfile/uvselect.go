package lockfile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// Select walks the graph from the project.
func (l *uvLock) Select(t python.Target, s Selection) (Selected, error) {
	c, err := newChooser(t, s)
	if err != nil {
		return Selected{}, err
	}
	if err := l.suits(c); err != nil {
		return Selected{}, l.at(0, err)
	}
	roots, err := l.roots(s)
	if err != nil {
		return Selected{}, l.at(0, err)
	}
	w := &uvWalk{lock: l, chooser: c, roots: roots, active: want{}}
	if err := w.start(s); err != nil {
		return Selected{}, err
	}
	// Extras that are reached may, by markers of their names, open and close
	// edges: the walk is repeated until they are the ones it began with.
	const most = 50
	for i := 0; ; i++ {
		before := len(w.active)
		if err := w.walk(); err != nil {
			return Selected{}, err
		}
		if len(w.active) == before {
			break
		}
		if i == most {
			return Selected{}, l.at(0, fmt.Errorf("the extras that exclude one another do not settle"))
		}
	}
	if err := w.conflicting(); err != nil {
		return Selected{}, err
	}
	return w.finish()
}

func (l *uvLock) at(line int, err error) error {
	return &python.FileError{File: l.name, Line: line, Err: err}
}

// suits checks the target against requires-python and supported-markers.
func (l *uvLock) suits(c *chooser) error {
	if err := requiresPython(c.target, l.requiresPython); err != nil || len(l.supported) == 0 {
		return err
	}
	for _, m := range l.supported {
		if m.Evaluate(c.env) {
			return nil
		}
	}
	return &TargetError{c.target, "it is none of the environments of [tool.uv]"}
}

// roots are the projects whose dependencies are wanted: the member that is
// named, or the one at the root, or, where there is none, all members.
func (l *uvLock) roots(s Selection) ([]*uvPackage, error) {
	var members []*uvPackage
	var names []string
	for _, p := range l.packages {
		switch p.source.kind {
		case "editable", "virtual", "directory":
		default:
			continue
		}
		isMember := slices.Contains(l.members, p.name)
		if !isMember && (len(l.members) > 0 || p.source.place != ".") {
			continue
		}
		if s.Member == "" && p.source.place == "." {
			return []*uvPackage{p}, nil
		}
		if s.Member != "" && p.name == python.NormalizeName(s.Member) {
			return []*uvPackage{p}, nil
		}
		members = append(members, p)
		names = append(names, p.name)
	}
	if s.Member != "" {
		return nil, &project.UnknownNameError{Kind: "member", Name: s.Member, Owner: "the workspace", Known: names}
	}
	return members, nil
}

// uvWalk is a walk over the graph.
type uvWalk struct {
	lock *uvLock
	*chooser
	roots  []*uvPackage
	extras want     // of the roots
	groups want     // likewise
	first  []uvStep // where the walk begins
	active want     // extras and groups in uv's spelling, for markers

	reached map[*uvPackage]*uvReached
	order   []*uvPackage
	queue   []uvStep
	done    map[uvVisit]bool
}

// uvStep is an edge to be followed.
type uvStep struct {
	from *uvPackage // nil = the user
	edge uvEdge
}

type uvVisit struct {
	pkg   *uvPackage
	extra string
}

// uvReached is what is known of a package that is needed.
type uvReached struct {
	by     []string
	extras []string
	asked  bool
}

// conflicting returns an error where extras or groups are active that exclude
// one another.
func (w *uvWalk) conflicting() error {
	for _, set := range w.lock.conflicts {
		var found []string
		for _, c := range set {
			kind, name := "project", ""
			switch {
			case c.extra != "":
				kind, name = "extra", c.extra
			case c.group != "":
				kind, name = "group", c.group
			}
			if w.active[activeKey(kind, c.pkg, name)] {
				found = append(found, c.String())
			}
		}
		if len(found) > 1 {
			return w.lock.at(0, &ConflictError{found})
		}
	}
	return nil
}

// start finds what the user asks for.
func (w *uvWalk) start(s Selection) error {
	l := w.lock
	known := want{}
	groups := want{"dev": true} // may be asked for where it is not (--dev, --no-dev)
	for _, r := range w.roots {
		for x := range r.extras {
			known[x] = true
		}
		for _, x := range r.providesExtra {
			known[python.NormalizeExtra(x)] = true
		}
		for g := range r.groups {
			groups[g] = true
		}
		for g := range r.metadata.groups {
			groups[g] = true
		}
	}
	for g := range l.manifest.groups {
		groups[g] = true
	}
	var err error
	if w.extras, err = s.extras(known); err != nil {
		return l.at(0, err)
	}
	defaults := []string{"dev"} // uv's own
	if p, err := l.beside.project("pyproject.toml"); err != nil {
		return err
	} else if p != nil {
		defaults = p.DefaultGroups
	}
	if w.groups, err = s.groups(groups, defaults); err != nil {
		return l.at(0, err)
	}
	for _, r := range w.roots {
		w.activate("project", r.name, "")
		for x := range w.extras {
			w.activate("extra", r.name, x)
		}
		for g := range w.groups {
			w.activate("group", r.name, g)
		}
	}
	return w.beginnings(s)
}

// activate notes that an extra or a group of a package is wanted.
func (w *uvWalk) activate(kind, pkg, name string) { w.active[activeKey(kind, pkg, name)] = true }

// activeKey is the name that markers have for an extra or a group of a package:
// 'extra-4-name-extra', where 4 is the length of the package's name.
func activeKey(kind, pkg, name string) string {
	key := fmt.Sprintf("%s-%d-%s", kind, len(pkg), pkg)
	if name != "" {
		key += "-" + name
	}
	return python.NormalizeExtra(key)
}

// beginnings collects the edges that the user asks for.
func (w *uvWalk) beginnings(s Selection) error {
	add := func(edges []uvEdge) {
		for _, e := range edges {
			w.first = append(w.first, uvStep{edge: e})
		}
	}
	for _, r := range w.roots {
		if s.main() {
			add(r.dependencies)
			for _, x := range w.extras.names() {
				add(r.extras[x])
			}
		}
		for _, g := range w.groups.names() {
			add(r.groups[g])
		}
	}
	edges := func(list []uvRequirement) error {
		for _, r := range list {
			e := uvEdge{name: r.name, extras: r.extras, marker: r.marker, line: r.line}
			if len(w.lock.byName[r.name]) > 1 {
				p, err := w.matching(r)
				if err != nil {
					return err
				}
				e.version, e.source = p.version.String(), p.source
			}
			w.first = append(w.first, uvStep{edge: e})
		}
		return nil
	}
	if s.main() {
		if err := edges(w.lock.manifest.requirements); err != nil {
			return err
		}
	}
	asked := wantNames(slices.Concat(s.Groups, s.OnlyGroups))
	for _, g := range w.lock.manifest.groupOrder {
		// Those of a root that is no project are none of a member's default ones.
		if w.groups[g] && (s.Member == "" || s.AllGroups || asked[g]) {
			if err := edges(w.lock.manifest.groups[g]); err != nil {
				return err
			}
		}
	}
	return nil
}

// matching finds the one package of several that a requirement without a
// version means.
func (w *uvWalk) matching(r uvRequirement) (*uvPackage, error) {
	var found []*uvPackage
	for _, p := range w.lock.byName[r.name] {
		if r.specifier.Contains(p.version) {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		return nil, w.lock.at(r.line, fmt.Errorf("%d packages are %s%s, and the lock does not say which is meant", len(found), r.name, r.specifier))
	}
	return found[0], nil
}

// walk follows every edge whose marker holds.
func (w *uvWalk) walk() error {
	w.reached, w.order, w.done = map[*uvPackage]*uvReached{}, nil, map[uvVisit]bool{}
	w.queue = slices.Clone(w.first)
	active := w.active.names()
	for len(w.queue) > 0 {
		step := w.queue[0]
		w.queue = w.queue[1:]
		holds, err := step.edge.marker.EvalLock(w.env, active, nil)
		if err != nil {
			return w.lock.at(step.edge.line, err)
		}
		if !holds {
			continue
		}
		p, err := w.find(step.edge)
		if err != nil {
			return err
		}
		w.reach(p, step)
	}
	return nil
}

// reach notes that a package is needed, and follows its edges when that is new.
func (w *uvWalk) reach(p *uvPackage, step uvStep) {
	r := w.reached[p]
	if r == nil {
		r = &uvReached{}
		w.reached[p] = r
		w.order = append(w.order, p)
	}
	if step.from == nil || slices.Contains(w.roots, step.from) {
		r.asked = true
	} else {
		r.by = append(r.by, step.from.name)
	}
	w.follow(p, "", p.dependencies)
	for _, x := range step.edge.extras {
		r.extras = append(r.extras, x)
		w.activate("extra", p.name, x)
		w.follow(p, x, p.extras[x])
	}
}

func (w *uvWalk) follow(p *uvPackage, extra string, edges []uvEdge) {
	if visit := (uvVisit{p, extra}); !w.done[visit] {
		w.done[visit] = true
		for _, e := range edges {
			w.queue = append(w.queue, uvStep{p, e})
		}
	}
}

// find returns the package at the end of an edge.
func (w *uvWalk) find(e uvEdge) (*uvPackage, error) {
	var found []*uvPackage
	for _, p := range w.lock.byName[e.name] {
		if (e.version == "" || e.version == p.version.String() || sameVersion(e.version, p.version)) && (e.source.kind == "" || e.source == p.source) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, w.lock.at(e.line, fmt.Errorf("the lock has no package %s %s", e.name, e.version))
	}
	return nil, w.lock.at(e.line, fmt.Errorf("the lock has several packages %s %s", e.name, e.version))
}

func sameVersion(text string, v python.Version) bool {
	o, err := python.ParseVersion(text)
	return err == nil && o.Equal(v)
}

// finish chooses the files of what was reached.
func (w *uvWalk) finish() (Selected, error) {
	versions := map[string][]string{}
	for _, p := range w.order {
		versions[p.name] = append(versions[p.name], p.version.String())
	}
	for _, p := range w.order {
		if len(versions[p.name]) > 1 {
			return Selected{}, w.lock.at(p.line, &AmbiguousError{Package: p.name, Versions: versions[p.name], Target: w.target})
		}
		if slices.Contains(w.roots, p) {
			continue
		}
		if err := w.take(p, w.reached[p]); err != nil {
			return Selected{}, w.lock.at(p.line, err)
		}
	}
	if !w.sel.NoProject && w.sel.main() {
		for _, r := range w.roots {
			if err := w.local(r, &uvReached{asked: true}, true); err != nil {
				return Selected{}, w.lock.at(r.line, err)
			}
		}
	}
	return w.chooser.finish(), nil
}

// take adds one package.
func (w *uvWalk) take(p *uvPackage, r *uvReached) error {
	switch p.source.kind {
	case "directory", "editable", "virtual", "git":
		return w.local(p, r, false)
	case "registry":
		if strings.Contains(p.source.place, "://") {
			w.out.Indexes = append(w.out.Indexes, withoutUser(p.source.place))
		}
	}
	about := python.Locked{Name: p.name, Version: p.version, RequiredBy: sortedSet(r.by), Extras: sortedSet(r.extras), Requested: r.asked}
	if p.sdist != nil && (p.source.kind == "url" || p.source.kind == "path") {
		if name, v, err := python.ParseSdistName(p.sdist.Filename); err != nil || name != p.name || !v.Equal(p.version) || p.source.subdirectory != "" {
			return w.archive(p, about)
		}
	}
	return w.chooser.take(about, p.wheels, p.sdist, p.line)
}

// archive adds a file that is no sdist by its name, such as a branch's.
func (w *uvWalk) archive(p *uvPackage, about python.Locked) error {
	l := localOf(about, p.line)
	l.Kind, l.URL, l.Path, l.Hashes = Archive, p.sdist.URL, p.sdist.Path, hashList(p.sdist.Hashes)
	if l.Subdirectory = p.source.subdirectory; l.Subdirectory == "" && p.source.kind == "url" {
		if u, err := url.Parse(p.source.place); err == nil {
			l.Subdirectory = subdirectoryOf(u)
		}
	}
	return w.addLocal(l)
}

// addLocal adds what is not a file of an index.
func (w *uvWalk) addLocal(l Local) error {
	if leadsOut(l.Subdirectory) {
		return fmt.Errorf("the subdirectory %q of %s leads out", l.Subdirectory, l.Name)
	}
	w.out.Local = append(w.out.Local, l)
	return nil
}

// local adds a directory or a repository; virtual ones have nothing to build.
func (w *uvWalk) local(p *uvPackage, r *uvReached, root bool) error {
	l := Local{Name: p.name, Version: p.version, RequiredBy: sortedSet(r.by), Extras: sortedSet(r.extras), Requested: r.asked, Line: p.line, Root: root}
	switch p.source.kind {
	case "virtual":
		return nil
	case "directory", "editable":
		l.Path, l.Editable = slashed(p.source.place), p.source.kind == "editable"
	case "git":
		// https://host/repository?rev=main&subdirectory=x#commit
		u, err := url.Parse(p.source.place)
		if err != nil || u.Fragment == "" {
			return fmt.Errorf("the source of %s is not the URL of a commit", p.name)
		}
		q := u.Query()
		l.Kind, l.VCS, l.Commit, l.Subdirectory = Repository, "git", u.Fragment, subdirectoryOf(u)
		l.Revision = q.Get("rev") + q.Get("tag") + q.Get("branch")
		u.Fragment, u.RawQuery = "", ""
		l.URL = withoutUser(u.String())
	}
	return w.addLocal(l)
}

// subdirectoryOf finds the folder of a project in a query or a fragment.
func subdirectoryOf(u *url.URL) string {
	if s := u.Query().Get("subdirectory"); s != "" {
		return s
	}
	if q, err := url.ParseQuery(u.Fragment); err == nil {
		return q.Get("subdirectory")
	}
	return ""
}
