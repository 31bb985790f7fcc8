package resolve

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// provider tells the solver about Python: which projects there are, which of
// their versions can be used and are liked best, and what these depend on.
type provider struct {
	*solver
	options    *Options
	rules      *rules
	loader     *loader
	roots      []root
	overrides  overrides
	demands    map[string]*demand
	admitting  map[string]*demand // for the next search, after errYankedPin
	byName     map[string]*pkg
	discovered int
	warnings   []string
}

func (p *provider) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

func newProvider(ctx context.Context, o *Options, w wishes, l *library) *provider {
	r := newRules(o, w.demands)
	return &provider{
		solver: newSolver(), options: o, rules: r, loader: newLoader(ctx, l, r),
		roots: w.roots, overrides: w.overrides, demands: w.demands, byName: map[string]*pkg{},
	}
}

// solve runs the search; nil means that every package has its version.
func (p *provider) solve(ctx context.Context) error {
	if err := p.require(); err != nil {
		return err
	}
	for {
		if err := context.Cause(ctx); ctx.Err() != nil {
			return err
		}
		if !p.propagate() {
			return p.unsatisfiable()
		}
		p.countConflicts()
		next := p.next()
		if next == nil {
			return nil
		}
		if p.link(next) {
			continue
		}
		if err := p.choose(next); err != nil {
			return err
		}
	}
}

// require turns the requirements and constraints into incompatibilities.
func (p *provider) require() error {
	var names []string
	for _, r := range p.roots {
		if !r.constraint {
			names = append(names, r.name)
			p.loader.guess(python.Requirement{Name: r.name, Extras: r.Requirement.Extras, Specifiers: r.Requirement.Specifiers})
		}
	}
	p.loader.needAll(names)
	for _, r := range p.roots {
		if r.constraint {
			continue
		}
		q := r.Requirement
		q.Name = r.name
		needs, err := p.needs(q)
		if err != nil {
			return err
		}
		p.prioritize(needs[0].pkg, q.Specifiers, p.demands[r.name].file != nil)
		for _, n := range needs {
			c := cause{kind: required, to: n.pkg, requirement: r.text(), source: r.source()}
			if i, ok := newIncompatibility(c, term{n.pkg, n.pkg.complement(n.set)}); ok {
				p.add(i)
			}
		}
	}
	return nil
}

// need is a package in one of a set of versions.
type need struct {
	pkg *pkg
	set set
}

// needs are the packages that a requirement needs: the project, and one more
// for each extra.
func (p *provider) needs(q python.Requirement) ([]need, error) {
	base, err := p.project(q.Key())
	if err != nil {
		return nil, err
	}
	versions := p.members(base, q.Specifiers)
	out := []need{{base, versions}}
	for _, e := range q.ExtraKeys() {
		out = append(out, need{p.extra(base, e), versions})
	}
	return out, nil
}

// members are the versions that specifiers admit.
func (p *provider) members(base *pkg, specifiers python.Specifiers) set {
	key := specifiers.String()
	if s, ok := base.members[key]; ok {
		return s
	}
	s := newSet(len(base.versions) + 1)
	for i, c := range base.versions {
		if specifiers.Contains(c.version) {
			s.add(i)
		}
	}
	base.members[key] = s
	if id := s.key(); base.labels[id] == "" {
		base.labels[id] = specifierText(specifiers)
	}
	return s
}

// project is the package of a name; the first time it is asked for, the
// indexes are, and its versions that cannot be used become known.
func (p *provider) project(name string) (*pkg, error) {
	if have := p.byName[name]; have != nil {
		return have, nil
	}
	u, err := p.loader.universe(name).get()
	if err != nil {
		return nil, err
	}
	if u.unasked != nil {
		p.warn("only the installed version of %s is considered: %v", name, u.unasked)
	}
	base := &pkg{
		name: name, universe: u, full: fullSet(len(u.versions) + 1),
		members: map[string]set{}, labels: map[string]string{},
		priority: priority{order: p.discovered},
	}
	p.discovered++
	p.byName[name] = base
	p.pkgs = append(p.pkgs, base)
	p.exclude(base)
	p.constrain(base)
	return base, nil
}

func (p *provider) extra(base *pkg, extra string) *pkg {
	for _, x := range base.with {
		if x.extra == extra {
			return x
		}
	}
	x := &pkg{name: base.name, extra: extra, base: base, universe: base.universe, full: base.full}
	base.with = append(base.with, x)
	p.pkgs = append(p.pkgs, x)
	return x
}

// exclude makes the unusable versions of a project known, those with the same
// reason together.
func (p *provider) exclude(base *pkg) {
	var order []reason
	groups := map[reason]set{}
	for i, c := range base.versions {
		why := c.reason
		if p.options.RequireHashes && c.installed == nil && c.usable() {
			if d := p.demands[base.name]; d == nil || d.hashes == nil && (d.file == nil || d.file.Hashes == nil) {
				why = reason{kind: notHashed}
			}
		}
		if why.kind == 0 {
			continue
		}
		if groups[why] == nil {
			groups[why] = newSet(len(base.versions) + 1)
			order = append(order, why)
		}
		groups[why].add(i)
	}
	for _, why := range order {
		p.rule(base, groups[why], why)
	}
}

// rule makes known that versions cannot be used.
func (p *provider) rule(q *pkg, versions set, why reason) {
	if i, ok := newIncompatibility(cause{kind: unusable, to: q, reason: why}, term{q, versions}); ok {
		p.add(i)
	}
}

// constrain makes the constraints on a project known.
func (p *provider) constrain(base *pkg) {
	for _, r := range p.roots {
		if !r.constraint || r.name != base.name {
			continue
		}
		allowed := p.members(base, r.Requirement.Specifiers)
		forbidden := base.complement(allowed).without(base.only(base.absent()))
		c := cause{kind: constrained, to: base, requirement: r.text(), source: r.source()}
		if i, ok := newIncompatibility(c, term{base, forbidden}); ok {
			p.add(i)
		}
	}
}

func (p *provider) prioritize(q *pkg, specifiers python.Specifiers, url bool) {
	class := byDiscovery
	switch {
	case url:
		class = direct
	case isPin(specifiers):
		class = pinned
	}
	q.priority.class = max(q.priority.class, class)
}

// link brings a project and its extras to agree on what is possible: a[x] is a
// at the same version. It reports whether that was news.
func (p *provider) link(q *pkg) bool {
	base := q.owner()
	for _, x := range base.with {
		if !p.wanted(x) {
			continue
		}
		possible := p.known(x)
		if i, ok := p.decided(base); ok && possible.has(i) && possible.count() > 1 {
			others := possible.without(base.only(i))
			p.same(term{x, others}, term{base, base.only(i)})
			return true
		}
		if !p.known(base).subsetOf(possible) {
			p.same(term{x, possible}, term{base, base.complement(possible)})
			return true
		}
	}
	return false
}

func (p *provider) same(x, base term) {
	if i, ok := newIncompatibility(cause{kind: sameVersion, from: x.pkg, to: base.pkg}, x, base); ok {
		p.add(i)
	}
}

// choose decides on the version of a package that is liked best, or learns why
// it cannot be.
func (p *provider) choose(q *pkg) error {
	i := p.favourite(q)
	c := q.versions[i]
	p.aheadOf(q, i)
	dependencies, err := p.dependencies(c, q.extra)
	var invalid *index.InvalidWheelError
	var unbuilt *index.UnbuiltError
	var foreign *foreignURLError
	switch {
	case errors.As(err, &unbuilt):
		p.rule(q.owner(), q.only(i), reason{kind: hiddenMetadata})
		return nil
	case errors.As(err, &invalid):
		p.rule(q.owner(), q.only(i), reason{badMetadata, whatIsBad(invalid)})
		return nil
	case errors.As(err, &foreign):
		p.rule(q, q.only(i), reason{foreignURL, foreign.requirement})
		return nil
	case err != nil:
		return p.needed(q, c, err)
	}
	if m := dependencies.pythons; m != nil && !p.rules.python(m) {
		// The index did not say so, but the wheel does.
		p.rule(q.owner(), q.only(i), reason{wrongPython, m.String()})
		return nil
	}
	var names []string
	for _, d := range dependencies.list {
		names = append(names, d.Key())
		p.loader.guess(d.Requirement)
	}
	p.loader.needAll(names)
	var added []*incompatibility
	for _, d := range dependencies.list {
		needs, err := p.needs(d.Requirement)
		if err != nil {
			return p.needed(q, c, err)
		}
		if p.options.YankedIfPinned && p.admitYanked(needs[0], d.Specifiers) {
			return errYankedPin
		}
		p.prioritize(needs[0].pkg, d.Specifiers, false)
		for _, n := range needs {
			why := cause{kind: depends, from: q, to: n.pkg, requirement: requirementText(d.Requirement, n.pkg.name), source: d.source}
			if in := p.addDependency(why, q.only(i), n.set); in != nil {
				added = append(added, in)
			}
		}
	}
	// A version whose dependencies are impossible already is not chosen at all.
	if p.everBacktracked {
		for _, in := range added {
			if p.wouldConflict(in, q, i) {
				p.conflicts = append(p.conflicts, conflict{q, in})
				p.countConflicts()
				return nil
			}
		}
	}
	p.decide(q, i)
	return nil
}

// errYankedPin says that a dependency was found to pin a yanked version, so that
// the search begins anew with that version among those that can be used.
var errYankedPin = errors.New("a dependency pins a yanked version")

// admitYanked reports whether a dependency pins versions of which all are yanked.
// With the demands in admitting they can be used.
func (p *provider) admitYanked(n need, specifiers python.Specifiers) bool {
	if !isPin(specifiers) {
		return false
	}
	any := false
	for i, c := range n.pkg.versions {
		if !n.set.has(i) {
			continue
		}
		if c.reason.kind != yanked {
			return false
		}
		any = true
	}
	if !any {
		return false
	}
	// What is read ahead looks at the demands meanwhile: the next search has others.
	var wider demand
	if d := p.demands[n.pkg.name]; d != nil {
		wider = *d
	}
	wider.admitted = append(slices.Clone(wider.admitted), specifiers)
	p.admitting = maps.Clone(p.demands)
	p.admitting[n.pkg.name] = &wider
	return true
}

// wouldConflict reports whether choosing a candidate makes all terms hold.
func (p *provider) wouldConflict(in *incompatibility, q *pkg, candidate int) bool {
	for _, t := range in.terms {
		if t.pkg == q {
			if !t.set.has(candidate) {
				return false
			}
		} else if !p.known(t.pkg).subsetOf(t.set) {
			return false
		}
	}
	return true
}

// whatIsBad says what is wrong with a candidate's metadata, in the same words
// for all versions with which the same is wrong.
func whatIsBad(e *index.InvalidWheelError) string {
	var field *python.MetadataError
	if errors.As(e, &field) {
		return field.Field + ": " + field.Err.Error()
	}
	return e.Err.Error()
}

// dependencies are what a candidate needs.
type dependencies struct {
	list    []dependency
	pythons python.Specifiers
}

type dependency struct {
	python.Requirement
	source string // of an override: where it stands
}

// foreignURLError is a dependency on a URL that the user did not give: an index
// must not be able to send us anywhere.
type foreignURLError struct{ requirement string }

func (e *foreignURLError) Error() string { return "depends on " + e.requirement }

// dependencies are the requirements of a candidate, or those that an extra
// adds, whose markers hold for the target.
func (p *provider) dependencies(c *candidate, extra string) (dependencies, error) {
	var out dependencies
	var all []python.Requirement
	if c.installed != nil {
		all = c.installed.Requires
	} else {
		m, err := p.loader.file(c.file()).get()
		if err != nil {
			return out, err
		}
		all, out.pythons = m.RequiresDist, m.RequiresPython
	}
	if p.options.NoDependencies {
		return out, nil
	}
	for _, d := range p.overrides.apply(all, p.rules.environment, extra) {
		q := d.Requirement
		if q.URL != "" {
			if d := p.demands[q.Key()]; d == nil || d.file == nil || d.url != q.URL {
				return out, &foreignURLError{requirementText(q, q.Name)}
			}
		}
		out.list = append(out.list, d)
	}
	return out, nil
}
