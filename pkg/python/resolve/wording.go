package resolve

import (
	"fmt"
	"strings"
)

// conclusion is what a sentence comes to.
func conclusion(r *reporter, d *derivation) string {
	return "we can conclude that " + claim(r, d)
}

// claim words the terms of an incompatibility.
func claim(r *reporter, d *derivation) string {
	var must, mustNot []string // "must not" hold together: versions; "must": at least one of them
	plural := false
	for _, t := range d.terms {
		if t.set.has(t.pkg.absent()) {
			must = append(must, r.need(t.pkg, t.pkg.complement(t.set)))
			continue
		}
		text, many := r.versions(t.pkg, t.set)
		mustNot, plural = append(mustNot, text), many
	}
	switch {
	case len(d.terms) == 0:
		return "your requirements cannot be met"
	case len(must) == 0 && len(mustNot) == 1:
		return mustNot[0] + " cannot be used"
	case len(must) == 0:
		return enumerate(mustNot, "and") + " cannot be used together"
	case len(mustNot) == 0:
		return "you require " + enumerate(must, "or")
	case len(mustNot) == 1:
		return mustNot[0] + verb(plural, " depends on ", " depend on ") + enumerate(must, "or")
	}
	return enumerate(mustNot, "and") + " together depend on " + enumerate(must, "or")
}

func verb(plural bool, one, many string) string {
	if plural {
		return many
	}
	return one
}

// both joins two facts, which read the same when they are about a project and
// about one of its extras.
func both(a, b string) string {
	if a == b {
		return a
	}
	return a + " and " + b
}

func enumerate(list []string, word string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " " + word + " " + list[len(list)-1]
}

// fact words a premise, and notes it.
func (r *reporter) fact(d *derivation) string {
	c := d.cause
	switch c.kind {
	case required:
		text := "you require " + c.requirement + at(c.source) + r.unmet(d.incompatibility)
		r.note(d, c.to, nil, text)
		return text
	case constrained:
		text := "you constrain " + c.requirement + at(c.source)
		r.note(d, c.to, nil, text)
		return text
	case depends:
		t, _ := d.term(c.from)
		name, plural := r.versions(c.from, t.set)
		text := name + verb(plural, " depends on ", " depend on ") + c.requirement + at(c.source) + r.unmet(d.incompatibility)
		r.note(d, c.from, t.set, text)
		return text
	case unusable:
		return r.exclusion(d, c.to.full)
	}
	return fmt.Sprintf("%s is %s at the same version", c.from, c.to)
}

// note keeps a premise for the error and its hint.
func (r *reporter) note(d *derivation, q *pkg, versions set, text string) {
	if !r.told[d.incompatibility] {
		r.told[d.incompatibility] = true
		r.premises = append(r.premises, premise{d.cause, versions, Fact{q.name, text, d.cause.to.name}})
	}
}

func at(source string) string {
	if source == "" {
		return ""
	}
	return " (" + source + ")"
}

// unmet says why a need cannot be met by any version: the project is not known,
// or has other versions only.
func (r *reporter) unmet(i *incompatibility) string {
	to := i.cause.to
	if _, ok := i.term(to); ok {
		return "" // there is a version that would do
	}
	switch {
	case to.missing != nil && len(to.missing.Indexes) > 0:
		return ", which was not found on " + enumerate(to.missing.Indexes, "or")
	case to.missing != nil:
		return ", and there is no index to look in"
	case len(to.versions) == 0:
		return ", of which the index has no files"
	case to.demand(r.demands).pinnedTo() != "":
		return fmt.Sprintf(", and %s is taken from %s at version %s", to.name, to.demand(r.demands).pinnedTo(), to.versions[0].version)
	}
	first, last := to.versions[0].version, to.versions[len(to.versions)-1].version
	if first.Equal(last) {
		return fmt.Sprintf(", which no version meets (only %s is known)", first)
	}
	return fmt.Sprintf(", which no version meets (%s to %s are known)", first, last)
}

func (p *pkg) demand(all map[string]*demand) *demand { return all[p.name] }

func (d *demand) pinnedTo() string {
	if d == nil || d.file == nil {
		return ""
	}
	return d.file.Index
}

// need names what is needed: a package, or a part of its versions.
func (r *reporter) need(q *pkg, s set) string {
	if s.count() == len(q.versions) {
		return q.String()
	}
	text, _ := r.versions(q, s)
	return text
}

// versions names a set of versions of a package, which may take in versions
// that cannot be used anyway.
func (r *reporter) versions(q *pkg, s set) (text string, plural bool) {
	usable, all := newSet(len(q.versions)+1), newSet(len(q.versions)+1)
	for i, c := range q.versions {
		all.add(i)
		if c.usable() {
			usable.add(i)
		}
	}
	switch {
	case len(q.versions) == 1:
		return r.runs(q, s, s)
	case all.subsetOf(s):
		return fmt.Sprintf("all versions of %s", q), true
	case usable.subsetOf(s) && !usable.isEmpty() && usable.count() > 1:
		return fmt.Sprintf("all usable versions of %s", q), true
	}
	if label := q.owner().labels[s.key()]; label != "" {
		return q.String() + label, false
	}
	if usable.isEmpty() {
		return r.runs(q, s, s)
	}
	return r.runs(q, s, s.or(all.without(usable)))
}

// exactly names a set of versions without taking in others.
func (r *reporter) exactly(q *pkg, s set) (text string, plural bool) {
	if s.count() == len(q.versions) && len(q.versions) > 1 {
		return fmt.Sprintf("all versions of %s", q), true
	}
	if label := q.owner().labels[s.key()]; label != "" && s.count() > 1 {
		return q.String() + label, false
	}
	return r.runs(q, s, s)
}

// maxRuns is how many ranges are still readable.
const maxRuns = 3

// runs names a set by ranges of versions, each of which begins and ends in s
// and stays within bounds.
func (r *reporter) runs(q *pkg, s, bounds set) (text string, plural bool) {
	var runs []string
	last := len(q.versions) - 1
	total, first, final := 0, -1, -1
	for i := 0; i <= last; i++ {
		if !s.has(i) {
			continue
		}
		end := i
		for k := i; k <= last && bounds.has(k); k++ {
			if s.has(k) {
				end = k
				total++
			}
		}
		if first < 0 {
			first = i
		}
		final = end
		from, to := q.versions[i].version.String(), q.versions[end].version.String()
		switch {
		case i == end:
			runs = append(runs, "=="+from)
		case i == 0:
			runs = append(runs, "<="+to)
		case end == last:
			runs = append(runs, ">="+from)
		default:
			runs = append(runs, ">="+from+",<="+to)
		}
		i = end
	}
	if len(runs) > maxRuns {
		return fmt.Sprintf("%d versions of %s between %s and %s", total, q, q.versions[first].version, q.versions[final].version), true
	}
	for i := range runs {
		runs[i] = q.String() + runs[i]
	}
	return enumerate(runs, "or"), false
}
