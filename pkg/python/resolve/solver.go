package resolve

import (
	"cmp"
	"slices"
)

// solver is PubGrub (Natalie Weizenbaum, "PubGrub: Next-Generation Version
// Solving", 2018) over finite sets of candidates: it keeps what is known of
// each package, follows what follows from it, and when that contradicts itself
// learns why, so that it never walks into the same conflict twice.
//
// It knows nothing of indexes, files and markers; provider gives it those.
type solver struct {
	pkgs  []*pkg // in order of discovery
	trail []assignment
	level int // number of decisions on the trail

	pending []*incompatibility // added and not looked at yet
	changed []*pkg             // whose incompatibilities are to be looked at
	skipped []*incompatibility // contradicted ones, in order of level
	merged  map[mergeKey]*incompatibility

	everBacktracked bool
	failure         *incompatibility
	conflicts       []conflict
}

// pkg is a package of the search: a project, or a project with an extra.
type pkg struct {
	name  string // normalized
	extra string // normalized; "" for the project itself
	base  *pkg   // of an extra
	with  []*pkg // the extras of a project, in order of discovery
	*universe

	full            set // everything, "not installed" too
	members         map[string]set
	labels          map[string]string // key of a set -> the specifiers that first meant it
	incompatibility []*incompatibility
	trail           []int // positions on the solver's trail

	priority          priority
	affected, culprit int // conflicts it was part of
	attempts          int // versions tried
}

// absent is the bit that says that a package is not installed.
func (p *pkg) absent() int { return len(p.versions) }

func (p *pkg) String() string {
	if p.extra != "" {
		return p.name + "[" + p.extra + "]"
	}
	return p.name
}

func (p *pkg) complement(s set) set { return p.full.without(s) }

func (p *pkg) only(i int) set {
	s := newSet(len(p.versions) + 1)
	s.add(i)
	return s
}

// assignment is one entry of the trail: a decision, or what follows from a
// cause.
type assignment struct {
	pkg   *pkg
	set   set // what it says
	known set // with all that was said before it
	level int
	cause *incompatibility // nil = a decision
}

type conflict struct {
	pkg  *pkg
	with *incompatibility
}

type mergeKey struct {
	from, to *pkg
	set      string
	text     string
}

func newSolver() *solver { return &solver{merged: map[mergeKey]*incompatibility{}} }

// known is what is known of a package now.
func (s *solver) known(p *pkg) set {
	if n := len(p.trail); n > 0 {
		return s.trail[p.trail[n-1]].known
	}
	return p.full
}

// decided returns the candidate that was chosen for p.
func (s *solver) decided(p *pkg) (int, bool) {
	if n := len(p.trail); n > 0 && s.trail[p.trail[n-1]].cause == nil {
		known := s.trail[p.trail[n-1]].known
		for i := range p.versions {
			if known.has(i) {
				return i, true
			}
		}
	}
	return 0, false
}

// wanted reports whether p must be installed in some version.
func (s *solver) wanted(p *pkg) bool { return !s.known(p).has(p.absent()) }

// add makes an incompatibility known.
func (s *solver) add(i *incompatibility) {
	for _, t := range i.terms {
		t.pkg.incompatibility = append(t.pkg.incompatibility, i)
	}
	s.pending = append(s.pending, i)
}

// addDependency makes known that the versions in set of p need to to be in
// need. Versions of p with the same need share one incompatibility: that is
// what keeps a search over hundreds of alike versions short, and its report
// readable. It returns nil for a need that is always met.
func (s *solver) addDependency(c cause, versions, need set) *incompatibility {
	key := mergeKey{from: c.from, to: c.to, set: need.key()}
	if need.isEmpty() {
		key.text = c.requirement
	}
	old := s.merged[key]
	if old != nil {
		have, _ := old.term(c.from)
		if versions.subsetOf(have.set) {
			s.pending = append(s.pending, old)
			return old
		}
		versions = versions.or(have.set)
	}
	i, ok := newIncompatibility(c, term{c.from, versions}, term{c.to, c.to.complement(need)})
	if !ok {
		return nil
	}
	if old != nil {
		s.remove(old)
	}
	s.merged[key] = i
	s.add(i)
	return i
}

func (s *solver) remove(i *incompatibility) {
	for _, t := range i.terms {
		t.pkg.incompatibility = slices.DeleteFunc(t.pkg.incompatibility, func(have *incompatibility) bool { return have == i })
	}
}

// decide chooses a candidate.
func (s *solver) decide(p *pkg, candidate int) {
	s.level++
	s.assign(p, p.only(candidate), nil)
}

func (s *solver) assign(p *pkg, said set, because *incompatibility) {
	a := assignment{pkg: p, set: said, known: s.known(p).and(said), level: s.level, cause: because}
	p.trail = append(p.trail, len(s.trail))
	s.trail = append(s.trail, a)
	if !slices.Contains(s.changed, p) {
		s.changed = append(s.changed, p)
	}
}

// relation says how an incompatibility stands to what is known.
type relation uint8

const (
	open         relation = iota // two terms or more are not settled
	contradicted                 // a term is impossible
	almost                       // all terms but one hold, so that one must not
	conflicting                  // all terms hold
)

func (s *solver) relation(i *incompatibility) (relation, term) {
	r, last := conflicting, term{}
	for _, t := range i.terms {
		known := s.known(t.pkg)
		if known.subsetOf(t.set) {
			continue
		}
		if known.disjoint(t.set) {
			return contradicted, t
		}
		if r == almost {
			r = open
			continue
		}
		if r == conflicting {
			r, last = almost, t
		}
	}
	return r, last
}

// propagate follows all that follows. It reports false when the requirements
// cannot be met; failure is why.
func (s *solver) propagate() bool {
	for {
		var conflict *incompatibility
		switch {
		case len(s.pending) > 0:
			i := s.pending[len(s.pending)-1]
			s.pending = s.pending[:len(s.pending)-1]
			if s.look(i) {
				conflict = i
			}
		case len(s.changed) > 0:
			p := s.changed[len(s.changed)-1]
			s.changed = s.changed[:len(s.changed)-1]
			// The newest first: what was learned last says most.
			for k := len(p.incompatibility) - 1; k >= 0 && conflict == nil; k-- {
				if i := p.incompatibility[k]; i.contradicted < 0 && s.look(i) {
					conflict = i
				}
			}
		default:
			return true
		}
		if conflict != nil && !s.learn(conflict) {
			return false
		}
	}
}

// look draws the conclusion of one incompatibility, and reports a conflict.
func (s *solver) look(i *incompatibility) bool {
	switch r, t := s.relation(i); r {
	case conflicting:
		return true
	case almost:
		s.assign(t.pkg, t.pkg.complement(t.set), i)
		s.skip(i)
	case contradicted:
		s.skip(i)
	}
	return false
}

func (s *solver) skip(i *incompatibility) {
	if i.contradicted < 0 {
		i.contradicted = s.level
		s.skipped = append(s.skipped, i)
	}
}

// learn finds the root of a conflict, goes back to where it could have been
// avoided, and avoids it. It reports false when it could not.
func (s *solver) learn(i *incompatibility) bool {
	new := false
	for {
		if len(i.terms) == 0 {
			s.failure = i
			return false
		}
		t, at, previous := s.satisfier(i)
		a := s.trail[at]
		if a.cause == nil || previous < a.level {
			s.backtrack(previous)
			if new {
				for _, t := range i.terms {
					t.pkg.incompatibility = append(t.pkg.incompatibility, i)
				}
			}
			s.conflicts = append(s.conflicts, conflict{t.pkg, i})
			s.assign(t.pkg, t.pkg.complement(t.set), i)
			s.skip(i)
			return true
		}
		i, new = resolveOn(t.pkg, i, a.cause), true
	}
}

// satisfier finds the assignment that made the last term of an incompatibility
// hold, and the level at which all would hold but for it.
func (s *solver) satisfier(i *incompatibility) (last term, at, previous int) {
	at = -1
	for _, t := range i.terms {
		pos := s.holdsSince(t.pkg, t.set)
		if pos > at {
			if at >= 0 {
				previous = max(previous, s.trail[at].level)
			}
			last, at = t, pos
		} else {
			previous = max(previous, s.trail[pos].level)
		}
	}
	// The satisfier may need earlier ones of its own package.
	if a := s.trail[at]; !a.set.subsetOf(last.set) {
		need := last.set.or(last.pkg.complement(a.set))
		previous = max(previous, s.trail[s.holdsSince(last.pkg, need)].level)
	}
	return last, at, previous
}

// holdsSince is the position on the trail since when p is known to be in set.
func (s *solver) holdsSince(p *pkg, want set) int {
	k, _ := slices.BinarySearchFunc(p.trail, true, func(pos int, _ bool) int {
		if s.trail[pos].known.subsetOf(want) {
			return 1
		}
		return -1
	})
	return p.trail[k]
}

// backtrack forgets all above a decision level.
func (s *solver) backtrack(level int) {
	s.everBacktracked = true
	for len(s.trail) > 0 && s.trail[len(s.trail)-1].level > level {
		p := s.trail[len(s.trail)-1].pkg
		p.trail = p.trail[:len(p.trail)-1]
		s.trail = s.trail[:len(s.trail)-1]
	}
	for len(s.skipped) > 0 && s.skipped[len(s.skipped)-1].contradicted > level {
		s.skipped[len(s.skipped)-1].contradicted = -1
		s.skipped = s.skipped[:len(s.skipped)-1]
	}
	s.level = level
	s.changed = s.changed[:0]
}

// priority orders the packages for which a version is chosen next. The classes
// and the counting of conflicts are uv's: they decide which of several valid
// answers is found, and its users know those answers.
type priority struct {
	class priorityClass
	order int // of discovery of the project
}

type priorityClass uint8

const (
	byDiscovery   priorityClass = iota
	conflictLate                // others kept failing because of it
	conflictEarly               // it kept failing because of others
	pinned                      // some requirement leaves one version only
	direct                      // a URL or a file
)

// conflictThreshold is the number of conflicts after which the order of two
// packages is changed.
const conflictThreshold = 5

// before compares: the higher class first, then the earlier discovered, then
// the project before its extras.
func before(a, b *pkg) int {
	return cmp.Or(
		-cmp.Compare(a.owner().priority.class, b.owner().priority.class),
		cmp.Compare(a.owner().priority.order, b.owner().priority.order),
		cmp.Compare(min(len(a.extra), 1), min(len(b.extra), 1)),
	)
}

// owner is the project of a package.
func (p *pkg) owner() *pkg {
	if p.base != nil {
		return p.base
	}
	return p
}

// next is the package to choose a version for; nil when all is decided.
func (s *solver) next() *pkg {
	var best *pkg
	for _, p := range s.pkgs {
		if !s.wanted(p) {
			continue
		}
		if _, ok := s.decided(p); ok {
			continue
		}
		if best == nil || before(p, best) < 0 {
			best = p
		}
	}
	return best
}

// countConflicts gives packages that keep failing because of others their turn
// before those, and undoes the choice of the others.
func (s *solver) countConflicts() {
	var early, late []*pkg
	for _, c := range s.conflicts {
		real := false
		for _, t := range c.with.terms {
			if t.pkg == c.pkg || t.pkg.name == c.pkg.name {
				continue
			}
			real = true
			if t.pkg.culprit++; t.pkg.culprit == conflictThreshold {
				late = append(late, t.pkg)
			}
		}
		if !real {
			continue
		}
		if c.pkg.affected++; c.pkg.affected == conflictThreshold {
			early = append(early, c.pkg)
		}
	}
	s.conflicts = s.conflicts[:0]
	for _, p := range early {
		if o := p.owner(); o.priority.class != direct {
			o.priority.class = conflictEarly
		}
	}
	for _, p := range late {
		if o := p.owner(); o.priority.class != direct && o.priority.class != conflictLate {
			o.priority.class = conflictLate
			if _, ok := s.decided(p); ok {
				s.backtrack(s.trail[p.trail[len(p.trail)-1]].level - 1)
			}
		}
	}
}
