package resolve

import (
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// favourite is the candidate to try: what is locked or installed, if it may
// stay; then what other targets have; then the newest.
func (p *provider) favourite(q *pkg) int {
	known := p.known(q)
	if p.rules.mayStay(q.name) {
		if v, ok := p.rules.preferred[q.name]; ok {
			if i := q.find(v); i >= 0 && known.has(i) {
				return i
			}
		}
		for i, c := range q.versions {
			if known.has(i) && c.installed != nil {
				return i
			}
		}
	}
	best := newest(p.rules, q.universe, known.has)
	for _, v := range p.options.align[q.name] {
		// Nothing is built only to be like the others.
		if i := q.find(v); i >= 0 && known.has(i) && (!q.versions[i].isSdist() || q.versions[best].isSdist()) {
			return i
		}
	}
	return best
}

// newest is the newest version among those for which may is true, final
// releases first unless the rule for pre-releases is another, then those with
// a wheel if that is wanted, and yanked ones last; -1 = none.
func newest(r *rules, u *universe, may func(int) bool) int {
	alike := r.pre(u.project) == PreAllow
	best, bestClass := -1, 8
	for i := len(u.versions) - 1; i >= 0 && bestClass > 0; i-- {
		if !may(i) {
			continue
		}
		c, class := u.versions[i], 0
		if !alike && c.version.IsPrerelease() {
			class += 2
		}
		if r.options.PreferBinary && c.isSdist() {
			class++
		}
		if c.yanked {
			class += 4
		}
		if class < bestClass {
			best, bestClass = i, class
		}
	}
	return best
}

// find is the place of a version; -1 = it is not known.
func (u *universe) find(v python.Version) int {
	i, found := slices.BinarySearchFunc(u.versions, v, func(c *candidate, v python.Version) int { return c.version.Compare(v) })
	if !found {
		return -1
	}
	return i
}

// probable is the candidate that would be chosen if there were no other
// requirement.
func (u *universe) probable(r *rules, s python.Specifiers) *candidate {
	d := r.direct[u.project]
	i := newest(r, u, func(i int) bool {
		c := u.versions[i]
		if !c.usable() || !s.Contains(c.version) {
			return false
		}
		return d == nil || !slices.ContainsFunc(d.pins, func(pin python.Specifiers) bool { return !pin.Contains(c.version) })
	})
	if i < 0 {
		return nil
	}
	return u.versions[i]
}

// aheadOf reads the metadata of older versions once a package has been tried
// several times: it will probably be tried more.
func (p *provider) aheadOf(q *pkg, from int) {
	if q.attempts++; q.attempts < 4 || q.attempts&(q.attempts-1) != 0 {
		return
	}
	var older []*candidate
	known := p.known(q)
	for i := from - 1; i >= 0 && len(older) < q.attempts; i-- {
		if c := q.versions[i]; known.has(i) && c.readable() {
			older = append(older, c)
		}
	}
	p.loader.readAhead(older)
}
