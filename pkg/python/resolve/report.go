package resolve

import (
	"fmt"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// UnsatisfiableError says that no versions go together. Its text is the whole
// derivation in sentences.
type UnsatisfiableError struct {
	Target python.Target // the one of several; zero when there is only one
	Report string        // the derivation, a line or more
	Facts  []Fact        // what the indexes and the user contributed, in the order of the report
	hint   string
}

// Fact is one premise of the derivation.
type Fact struct {
	Project string // normalized
	Text    string // "numpy==1.19.5 has no wheel for CPython 3.13"

	about string // the project that is depended on
}

func (e *UnsatisfiableError) Error() string {
	if e.Target.Python.IsZero() {
		return "no versions go together:\n" + e.Report
	}
	return fmt.Sprintf("no versions go together for %s:\n%s", e.Target, e.Report)
}

// projects are those whose versions the derivation is about.
func (e *UnsatisfiableError) projects() []string {
	var out []string
	for _, f := range e.Facts {
		out = append(out, f.Project)
		if f.about != "" {
			out = append(out, f.about)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Hint says what would help; "" when nothing certain can be said.
func (e *UnsatisfiableError) Hint() string { return e.hint }

// unsatisfiable explains why the search failed.
func (p *provider) unsatisfiable() error {
	r := &reporter{provider: p, refs: map[*derivation]int{}, told: map[*incompatibility]bool{}}
	root := r.simplify(p.failure, map[*incompatibility]*derivation{})
	if root.isFact() {
		r.say("Because %s, %s.", r.fact(root), conclusion(r, root))
	} else {
		r.explain(root)
	}
	if left := len(r.lines) - maxLines; left > 0 {
		r.lines = append([]string{fmt.Sprintf("(%d lines before these are left out)", left)}, r.lines[left:]...)
	}
	e := &UnsatisfiableError{Report: strings.Join(r.lines, "\n"), hint: r.hint()}
	for _, f := range r.premises {
		e.Facts = append(e.Facts, f.Fact)
	}
	return e
}

// maxLines bounds a report: after a long search it would be a book, of which
// nobody reads more than the end.
const maxLines = 50

// derivation is an incompatibility with its causes, as it is told.
type derivation struct {
	*incompatibility
	left, right *derivation // nil for a fact
	shared      bool        // needed in more than one place
}

// reporter tells a derivation in the way of PubGrub's "Error reporting": each
// sentence joins two things that are known into a third.
type reporter struct {
	*provider
	lines    []string
	refs     map[*derivation]int
	count    int
	told     map[*incompatibility]bool
	premises []premise
}

// premise is a fact as it was told, with the versions that it was told about.
type premise struct {
	cause
	versions set
	Fact
}

// simplify builds the tree without the steps that say only that a[x] is a.
func (r *reporter) simplify(i *incompatibility, done map[*incompatibility]*derivation) *derivation {
	if d := done[i]; d != nil {
		d.shared = d.left != nil
		return d
	}
	d := &derivation{incompatibility: i}
	if i.cause.kind == derived {
		left, right := i.cause.left, i.cause.right
		switch {
		case left.cause.kind == sameVersion:
			d = r.simplify(right, done)
		case right.cause.kind == sameVersion:
			d = r.simplify(left, done)
		default:
			d.left, d.right = r.simplify(left, done), r.simplify(right, done)
			if d.left.cause.kind == sameVersion {
				d = d.right
			} else if d.right.cause.kind == sameVersion {
				d = d.left
			}
		}
	}
	done[i] = d
	return d
}

func (r *reporter) say(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// reference numbers the last line, so that others can refer to it.
func (r *reporter) reference(d *derivation) int {
	if n := r.refs[d]; n != 0 {
		return n
	}
	r.count++
	r.refs[d] = r.count
	r.lines[len(r.lines)-1] += fmt.Sprintf(" (%d)", r.count)
	return r.count
}

func (r *reporter) explain(d *derivation) {
	r.step(d)
	if d.shared {
		r.reference(d)
	}
}

func (r *reporter) step(d *derivation) {
	base, facts := exclusions(d)
	if len(facts) > 0 {
		r.stepFromExclusions(base, facts, d)
		return
	}
	left, right := d.left, d.right
	if left.isFact() {
		left, right = right, left // a derived one first, if there is one
	}
	switch {
	case left.isFact():
		r.say("Because %s, %s.", both(r.fact(d.left), r.fact(d.right)), conclusion(r, d))
	case right.isFact():
		r.stepFromOne(left, right, d)
	default:
		r.stepFromTwo(d.left, d.right, d)
	}
}

func (d *derivation) isFact() bool { return d.left == nil }

// exclusions takes from the end of a derivation the steps that only rule out
// versions of one package: they are told in one sentence.
func exclusions(d *derivation) (base *derivation, facts []*derivation) {
	base = d
	for !base.isFact() && (base == d || !base.shared) {
		next, fact := base.left, base.right
		if fact.cause.kind != unusable || len(facts) > 0 && fact.cause.to != facts[0].cause.to {
			next, fact = fact, next
		}
		if fact.cause.kind != unusable || len(facts) > 0 && fact.cause.to != facts[0].cause.to {
			break
		}
		base, facts = next, append(facts, fact)
	}
	return base, facts
}

// stepFromExclusions tells what remains when versions cannot be used.
func (r *reporter) stepFromExclusions(base *derivation, facts []*derivation, d *derivation) {
	q := facts[0].cause.to
	var told []string
	if base.isFact() {
		told = append(told, r.fact(base))
	}
	if base.cause.kind == unusable && base.cause.to == q {
		told, facts, base = nil, append(facts, base), nil
	}
	// Only those that what is known leaves over matter here.
	matters := q.full
	if base != nil {
		if t, ok := base.term(q); ok {
			matters = q.complement(t.set)
		}
	}
	slices.SortFunc(facts, func(a, b *derivation) int { return r.firstOf(q, a) - r.firstOf(q, b) })
	for _, f := range facts {
		told = append(told, r.exclusion(f, matters))
	}
	opening := "Because"
	if base != nil && !base.isFact() {
		if n := r.refs[base]; n != 0 {
			told = append([]string{fmt.Sprintf("%s (%d)", claim(r, base), n)}, told...)
		} else {
			r.explain(base)
			opening = "And because"
		}
	}
	r.say("%s %s, %s.", opening, enumerate(told, "and"), conclusion(r, d))
}

func (r *reporter) firstOf(q *pkg, fact *derivation) int {
	t, _ := fact.term(q)
	for i := range q.versions {
		if t.set.has(i) {
			return i
		}
	}
	return 0
}

// exclusion words why the versions of a fact that matter cannot be used.
func (r *reporter) exclusion(fact *derivation, matters set) string {
	q := fact.cause.to
	t, _ := fact.term(q)
	set := t.set.and(matters)
	if set.isEmpty() {
		set = t.set
	}
	name, plural := r.exactly(q, set)
	text := name + " " + r.rules.text(fact.cause.reason, plural)
	r.note(fact, q, set, text)
	return text
}

// stepFromOne joins what was derived with a fact.
func (r *reporter) stepFromOne(known, fact, d *derivation) {
	if n := r.refs[known]; n != 0 {
		r.say("Because %s (%d) and %s, %s.", claim(r, known), n, r.fact(fact), conclusion(r, d))
		return
	}
	// Two facts in a row make one sentence.
	if _, excluded := exclusions(known); !known.shared && len(excluded) == 0 {
		before, other := known.left, known.right
		if before.isFact() {
			before, other = other, before
		}
		if !before.isFact() && other.isFact() && r.refs[before] == 0 {
			r.explain(before)
			r.say("And because %s, %s.", both(r.fact(other), r.fact(fact)), conclusion(r, d))
			return
		}
	}
	r.explain(known)
	r.say("And because %s, %s.", r.fact(fact), conclusion(r, d))
}

// stepFromTwo joins two that were derived.
func (r *reporter) stepFromTwo(left, right, d *derivation) {
	a, b := r.refs[left], r.refs[right]
	switch {
	case a != 0 && b != 0:
		r.say("Because %s (%d) and %s (%d), %s.", claim(r, left), a, claim(r, right), b, conclusion(r, d))
	case a != 0:
		r.explain(right)
		r.say("And because %s (%d), %s.", claim(r, left), a, conclusion(r, d))
	case b != 0:
		r.explain(left)
		r.say("And because %s (%d), %s.", claim(r, right), b, conclusion(r, d))
	default:
		r.explain(left)
		n := r.reference(left)
		if r.refs[right] == 0 { // it may have been needed on the way
			r.lines = append(r.lines, "")
			r.explain(right)
			r.say("And because %s (%d), %s.", claim(r, left), n, conclusion(r, d))
			return
		}
		r.say("And because %s (%d), %s.", claim(r, right), r.refs[right], conclusion(r, d))
	}
}
