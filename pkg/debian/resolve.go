package debian

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// dropped are packages that no root gets unless they are asked for by name:
// they configure other packages (dpkg, debconf and what only their maintainer
// scripts need), are worked on by a person (readline's key bindings, mailcap,
// install-info, the openssl program), or stand for what the assembly itself
// does (the merged /usr). A dependency that one of them meets is met, so what
// they would have brought along (tar, perl-base) does not come either.
//
// libc-bin is not among them: it has the locale C.UTF-8 and ldconfig.
const dropped = " dpkg debconf cdebconf mawk install-info readline-common mailcap openssl" +
	" usrmerge usr-is-merged init-system-helpers base-passwd adduser ucf sensible-utils "

// isDropped says whether a package is on the list.
func isDropped(name string) bool { return strings.Contains(dropped, " "+name+" ") }

// UnsatisfiableError reports that the packages wanted cannot all be had.
type UnsatisfiableError struct {
	// Chain leads from a package asked for to the one whose dependency cannot
	// be met.
	Chain []string
	// Dependency is the one that cannot be met, and Reason says why.
	Dependency, Reason string
}

func (e *UnsatisfiableError) Error() string {
	if len(e.Chain) == 0 {
		return fmt.Sprintf("resolve packages: %s: %s", e.Dependency, e.Reason)
	}
	return fmt.Sprintf("resolve packages: %s needs %s: %s", strings.Join(e.Chain, ", which needs "), e.Dependency, e.Reason)
}

// solver finds a set of packages in which every dependency is met. It goes
// depth first and takes a choice back where what it led to cannot be had, but
// only within the alternatives of one dependency, as apt does.
type solver struct {
	index *index
	// drop says which packages are left out; nil leaves out none.
	drop   func(name string) bool
	chosen map[string]*packageInfo
	order  []*packageInfo
}

// closure returns the requested packages and all they depend on, in the order
// in which they were chosen. Recommendations are not followed.
func (x *index) closure(requests []Relation, drop func(string) bool) ([]*packageInfo, error) {
	asked := map[string]bool{}
	for _, r := range requests {
		asked[r.Name] = true
	}
	s := &solver{index: x, chosen: map[string]*packageInfo{}}
	s.drop = func(name string) bool { return drop != nil && drop(name) && !asked[name] }
	for _, r := range requests {
		if err := s.need(Alternatives{r}, nil); err != nil || x.err != nil {
			return nil, cmp.Or(x.err, err)
		}
	}
	return s.order, nil
}

// need makes sure that one of the alternatives is met.
func (s *solver) need(group Alternatives, chain []string) error {
	candidates, met := s.candidates(group)
	if met {
		return nil
	}
	var first error
	for _, p := range candidates {
		mark := len(s.order)
		err := s.choose(p, chain)
		if err == nil {
			return nil
		}
		for _, undone := range s.order[mark:] {
			delete(s.chosen, undone.name)
		}
		s.order = s.order[:mark]
		if first == nil {
			first = err
		}
	}
	if first != nil {
		return first
	}
	return &UnsatisfiableError{Chain: chain, Dependency: group.String(), Reason: s.whyNone(group)}
}

// choose takes a package and what it depends on.
func (s *solver) choose(p *packageInfo, chain []string) error {
	if other := s.conflict(p); other != "" {
		return &UnsatisfiableError{Chain: chain, Dependency: p.String(), Reason: other}
	}
	s.chosen[p.name] = p
	s.order = append(s.order, p)
	var groups []Alternatives
	for _, field := range []string{p.preDepends, p.depends} {
		g, err := ParseDependencies(field)
		if err != nil {
			return fmt.Errorf("read dependencies of %s: %w", p, err)
		}
		groups = append(groups, g...)
	}
	// What leaves no choice goes first: it may decide what does.
	slices.SortStableFunc(groups, func(a, b Alternatives) int { return min(len(a), 2) - min(len(b), 2) })
	chain = append(slices.Clip(chain), p.String())
	for _, g := range groups {
		if err := s.need(g, chain); err != nil {
			return err
		}
	}
	return nil
}

// candidates returns the packages that could meet a dependency, best first;
// true says that one that was chosen or dropped meets it already.
func (s *solver) candidates(group Alternatives) (list []*packageInfo, met bool) {
	for _, r := range group {
		for _, p := range s.index.meeting(r) {
			if s.chosen[p.name] == p || s.drop(p.name) {
				return nil, true
			}
			if s.chosen[p.name] == nil && !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list, false
}

// meeting returns the packages that meet a relation: those of its name, highest
// version first, then those that provide it, the more important first.
func (x *index) meeting(r Relation) []*packageInfo {
	var list, providers []*packageInfo
	named := x.named(r.Name)
	for i, p := range named {
		// Lower versions are there for a bound that the highest does not meet.
		if r.allows(p.version) && x.archMeets(p, r.Arch) && !slices.ContainsFunc(named[:i], func(q *packageInfo) bool {
			return q.version.Compare(p.version) == 0
		}) {
			list = append(list, p)
		}
	}
	for _, p := range x.providing(r.Name) {
		if x.named(p.name)[0] != p || p.name == r.Name {
			continue // replaced by a higher version
		}
		for _, provided := range p.provides {
			if provided.Name == r.Name && provided.meets(r) && x.archMeets(p, r.Arch) {
				providers = append(providers, p)
				break
			}
		}
	}
	slices.SortStableFunc(providers, func(a, b *packageInfo) int {
		if c := a.rank() - b.rank(); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return append(list, providers...)
}

// meets says whether a provided name meets a relation: without a version it
// meets none that is bounded (Debian Policy, 7.5).
func (provided Relation) meets(r Relation) bool {
	return r.Op == "" || (provided.Op == "=" && r.allows(provided.Version))
}

// archMeets says whether a package meets a relation's architecture: "any" asks
// for a package that says it serves all (Multi-Arch: allowed).
func (x *index) archMeets(p *packageInfo, arch string) bool {
	switch arch {
	case "", "native", x.arch:
		return true
	case "any":
		return p.multiArch == "allowed" || p.multiArch == "foreign"
	case "all":
		return p.arch == "all"
	}
	return false
}

// rank orders providers of one name by how much of Debian relies on them.
func (p *packageInfo) rank() int {
	if p.essential {
		return 0
	}
	if i := slices.Index([]string{"required", "important", "standard", "optional"}, p.priority); i >= 0 {
		return i + 1
	}
	return 5
}

// conflict says with which of the chosen packages p cannot be together, or "".
func (s *solver) conflict(p *packageInfo) string {
	if q := s.chosen[p.name]; q != nil {
		return fmt.Sprintf("version %s of it was chosen", q.version)
	}
	for _, q := range s.order {
		if p.refuses(q) || q.refuses(p) {
			return fmt.Sprintf("it conflicts with %s", q)
		}
	}
	return ""
}

// refuses says whether p declares that it cannot be beside q. A package does
// not conflict with itself by a name that it provides.
func (p *packageInfo) refuses(q *packageInfo) bool {
	for _, field := range []string{p.conflicts, p.breaks} {
		if field == "" {
			continue
		}
		groups, err := ParseDependencies(field)
		if err != nil {
			continue // it says nothing that can be understood
		}
		for _, group := range groups {
			r := group[0]
			if r.Name == q.name && r.allows(q.version) {
				return true
			}
			for _, provided := range q.provides {
				if provided.Name == r.Name && provided.meets(r) {
					return true
				}
			}
		}
	}
	return false
}

// whyNone says why no package meets a dependency.
func (s *solver) whyNone(group Alternatives) string {
	var known []string
	for _, r := range group {
		for _, p := range s.index.named(r.Name) {
			known = append(known, p.String())
		}
	}
	if len(known) == 0 {
		return "no such package in the suite"
	}
	return "the suite has " + strings.Join(known, ", ")
}
