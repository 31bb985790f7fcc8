package resolve

// term says that the state of a package is in a set.
type term struct {
	pkg *pkg
	set set
}

// incompatibility are terms that cannot all hold together, and why. PubGrub
// knows nothing else: a dependency of a on b>=2 is "a, and not b>=2".
type incompatibility struct {
	terms []term
	cause cause
	// contradicted is the decision level at which a term became impossible, so
	// that the incompatibility need not be looked at; -1 = none.
	contradicted int
}

// cause is why an incompatibility holds: a fact, or two others.
type cause struct {
	kind causeKind
	// of a derived one
	left, right *incompatibility
	// of a fact
	from        *pkg   // who depends
	to          *pkg   // on what
	requirement string // as written: "b>=2"
	source      string // "requirements.txt:3"
	reason      reason // of an unusable version
}

type causeKind uint8

const (
	derived     causeKind = iota
	required              // a requirement of the user's
	constrained           // a constraint of the user's
	depends               // a dependency of a version
	unusable              // versions that cannot be used
	sameVersion           // a[x] is a, at the same version
)

// newIncompatibility joins the terms of the same package and drops those that
// always hold. ok is false when the terms can never hold together, so that the
// incompatibility says nothing.
func newIncompatibility(c cause, terms ...term) (i *incompatibility, ok bool) {
	i = &incompatibility{cause: c, contradicted: -1}
	for _, t := range terms {
		joined := false
		for k, have := range i.terms {
			if have.pkg == t.pkg {
				i.terms[k].set, joined = have.set.and(t.set), true
			}
		}
		if !joined {
			i.terms = append(i.terms, t)
		}
	}
	kept := i.terms[:0]
	for _, t := range i.terms {
		if t.set.isEmpty() {
			return nil, false
		}
		if !t.set.equal(t.pkg.full) {
			kept = append(kept, t)
		}
	}
	i.terms = kept
	return i, true
}

// resolveOn is the rule of resolution: from {p in A, rest} and {p in B, other}
// follows {p in A or B, rest, other}.
func resolveOn(p *pkg, left, right *incompatibility) *incompatibility {
	var union set
	var terms []term
	for _, i := range []*incompatibility{left, right} {
		for _, t := range i.terms {
			switch {
			case t.pkg != p:
				terms = append(terms, t)
			case union == nil:
				union = t.set
			default:
				union = union.or(t.set)
			}
		}
	}
	terms = append(terms, term{p, union})
	// Both sides hold at this point of the search, so they can hold together.
	i, _ := newIncompatibility(cause{kind: derived, left: left, right: right}, terms...)
	return i
}

// term is the term about p; ok = false when there is none.
func (i *incompatibility) term(p *pkg) (term, bool) {
	for _, t := range i.terms {
		if t.pkg == p {
			return t, true
		}
	}
	return term{}, false
}
