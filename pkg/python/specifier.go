package python

import (
	"slices"
	"strconv"
	"strings"
)

// Specifier is one clause of a set: an operator and what follows it (PEP 440,
// "Version specifiers"). It comes from ParseSpecifiers; one that is put
// together by hand contains nothing.
type Specifier struct {
	Op      string // ==, !=, <=, >=, <, >, ~= or ===
	Version string // as written, with ".*" where it matches a prefix

	parsed Version // zero for === with something that is no version
	prefix bool    // Version ends in ".*"

	// The versions with lo <= key < hi are meant, or (negate) all the others.
	// hi "" is no upper end. Not for ===.
	lo, hi string
	negate bool
}

// Specifiers is a conjunction of clauses in the order in which they were
// written. The empty one contains every version.
type Specifiers []Specifier

// Prereleases says whether pre-releases are wanted, as the argument of that
// name does in the reference implementation.
type Prereleases uint8

// The policies for pre-releases.
const (
	PrereleasesDefault Prereleases = iota // where nothing else fits, or the set names one (PEP 440, "Handling of pre-releases")
	PrereleasesAllow                      // like any other version
	PrereleasesDeny                       // never
)

// ParseSpecifiers reads a set of clauses separated by commas; empty clauses
// are dropped. The error is a *SyntaxError.
func ParseSpecifiers(s string) (Specifiers, error) {
	if len(s) > maxSpecifiersLen {
		return nil, &SyntaxError{"specifier", s, -1, "longer than " + strconv.Itoa(maxSpecifiersLen) + " bytes"}
	}
	var set Specifiers
	for clause := range strings.SplitSeq(s, ",") {
		clause = trimSpace(clause)
		if clause == "" {
			continue
		}
		spec, err := parseSpecifier(clause)
		if err != nil {
			return nil, err
		}
		set = append(set, spec)
	}
	return set, nil
}

// parseSpecifier reads one clause without white space around it.
func parseSpecifier(s string) (Specifier, error) {
	n := scanSpecifier(s)
	if n == 0 || n < len(s) {
		return Specifier{}, &SyntaxError{"specifier", s, n, specifierReason(s, n)}
	}
	op := operator(s)
	spec := Specifier{Op: op, Version: trimSpace(s[len(op):])}
	if op == "===" {
		// PEP 440, "Arbitrary equality": anything may follow.
		if v, err := ParseVersion(spec.Version); err == nil {
			spec.parsed = v // zero when it is no version
		}
		return spec, nil
	}
	text, prefix := strings.CutSuffix(spec.Version, ".*")
	v, err := ParseVersion(text)
	if err != nil { // too long: scanSpecifier has seen a version
		return Specifier{}, &SyntaxError{"specifier", s, -1, "the version is too long"}
	}
	spec.parsed, spec.prefix = v, prefix
	spec.setBounds()
	return spec, nil
}

// operator returns the operator that s begins with, or "".
func operator(s string) string {
	for _, op := range [...]string{"===", "==", "~=", "!=", "<=", ">=", "<", ">"} {
		if strings.HasPrefix(s, op) {
			return op
		}
	}
	return ""
}

// scanSpecifier returns the length of the clause that s begins with, 0 for
// none. It is what PEP 508 calls version_one.
func scanSpecifier(s string) int {
	op := operator(s)
	if op == "" {
		return 0
	}
	i := len(s) - len(strings.TrimLeftFunc(s[len(op):], isSpace))
	if op == "===" {
		// Anything but white space and what may follow in a requirement.
		if n := strings.IndexFunc(s[i:], func(r rune) bool { return isSpace(r) || r == ';' || r == ')' }); n >= 0 {
			return i + n
		}
		return len(s)
	}
	equality := op == "==" || op == "!="
	p, n := scanVersion(s[i:], equality)
	if n == 0 || op == "~=" && p.count < 2 {
		return 0
	}
	if end := i + p.releaseStart + len(p.release); equality && strings.HasPrefix(s[end:], ".*") {
		return end + 2 // PEP 440, "Prefix matching": a release segment only
	}
	return i + n
}

// specifierReason explains a clause of which only the first n bytes are one.
func specifierReason(s string, n int) string {
	op := operator(s)
	switch rest := s[n:]; {
	case op == "" && strings.HasPrefix(s, "="):
		return "= is no operator; did you mean == ?"
	case op == "" && strings.HasPrefix(s, "~"):
		return "~ is no operator; did you mean ~= ?"
	case op == "":
		return "expected one of ==, !=, <=, >=, <, >, ~=, ==="
	case n == 0 && op == "~=":
		return "~= needs a version with at least two numbers (PEP 440, compatible release)"
	case n == 0:
		return "expected a version after " + op
	case strings.HasPrefix(rest, ".*") && (op == "==" || op == "!="):
		return ".* can only follow the numbers of a release (PEP 440, prefix matching)"
	case strings.HasPrefix(rest, ".*"):
		return ".* can only be used with == and != (PEP 440, prefix matching)"
	case strings.HasPrefix(rest, "+"):
		return "a local version can only be used with == and != (PEP 440)"
	}
	return "expected a comma or the end"
}

// setBounds computes the interval of versions that the clause means.
func (s *Specifier) setBounds() {
	v := s.parsed
	public := v.key[:v.keyPublic]
	switch s.Op {
	case "==", "!=":
		s.negate = s.Op == "!="
		switch {
		case s.prefix:
			s.lo, s.hi = prefixBounds(v.text[:v.releaseStart()], v.Release())
		case v.Local() != "":
			s.lo, s.hi = v.key, v.key+"\x00" // that one; the next key there could be
		default:
			// "Version matching": without a local label, any is ignored.
			s.lo, s.hi = public, public+keyEnd
		}
	case "~=":
		// "Compatible release": >= V, == V without its last number .*
		r := v.Release()
		_, s.hi = prefixBounds(v.text[:v.releaseStart()], r[:len(r)-1])
		s.lo = v.key
	case ">=":
		s.lo = v.key
	case "<=":
		// "Inclusive ordered comparison": local labels are ignored.
		s.hi = public + keyEnd
	case ">":
		// "Exclusive ordered comparison": no local version of V, and no
		// post-release of V unless V is one.
		s.lo = public + keyEnd
		if !v.IsPostrelease() && !v.IsDevrelease() {
			s.lo = v.key[:v.keyPre] + keyEnd
		}
	case "<":
		// "Exclusive ordered comparison": no pre-release of V unless V is one.
		s.hi = v.key
		if !v.IsPrerelease() {
			s.hi = mustVersion(v.text + ".dev0").key
		}
	}
}

// prefixBounds returns the keys of the first version with these numbers in
// front and of the first after all such.
func prefixBounds(epoch string, release []string) (lo, hi string) {
	next := slices.Clone(release)
	next[len(next)-1] = successor(next[len(next)-1])
	lo = mustVersion(epoch + strings.Join(release, ".") + ".dev0").key
	return lo, mustVersion(epoch + strings.Join(next, ".") + ".dev0").key
}

// successor adds one to a decimal number of any size.
func successor(n string) string {
	b := []byte(n)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != '9' {
			b[i]++
			return string(b)
		}
		b[i] = '0'
	}
	return "1" + string(b)
}

// String returns operator and version as written, without white space.
func (s Specifier) String() string { return s.Op + s.Version }

// Parsed returns the version that is named, without ".*"; the zero Version
// for === with something that is no version.
func (s Specifier) Parsed() Version { return s.parsed }

// Prefix reports whether the clause matches a prefix: "== 1.2.*".
func (s Specifier) Prefix() bool { return s.prefix }

// Contains reports whether v fits the clause. Pre-releases are versions like
// any other here.
func (s Specifier) Contains(v Version) bool {
	if s.Op == "===" {
		return s.containsText(v.text)
	}
	if s.lo == "" && s.hi == "" {
		return false
	}
	in := v.key >= s.lo && (s.hi == "" || v.key < s.hi)
	return in != s.negate
}

// containsText compares texts and nothing else (PEP 440, "Arbitrary
// equality"), but for case.
func (s Specifier) containsText(raw string) bool {
	//lint:ignore SA6005 the reference lowers the case; folding it equals more letters
	return strings.ToLower(raw) == strings.ToLower(s.Version)
}

// Bounds returns the clause as an interval of Version.Key: from lo up to but
// not including hi, where hi "" is no upper end. negate means all versions
// outside of it. ok is false for ===, which is no interval.
func (s Specifier) Bounds() (lo, hi string, negate, ok bool) {
	return s.lo, s.hi, s.negate, s.Op != "==="
}

// Equal reports whether two clauses are the same but for spelling; == 1.0 and
// == 1.0.0 are, ~= 1.0 and ~= 1.0.0 are not.
func (s Specifier) Equal(o Specifier) bool { return s.canonical() == o.canonical() }

func (s Specifier) canonical() string {
	switch {
	case s.Op == "===" || s.prefix:
		return s.Op + s.Version
	case s.Op == "~=":
		return s.Op + s.parsed.String()
	}
	return s.Op + s.parsed.Trimmed().String()
}

// allowsPrereleases reports whether the clause itself names a pre-release,
// and not only to exclude it.
func (s Specifier) allowsPrereleases() bool {
	return s.Op != "!=" && !s.prefix && s.parsed.IsPrerelease()
}

// String returns the clauses sorted and without duplicates, as the reference
// implementation writes them: "!=1.3,<2,>=1".
func (s Specifiers) String() string {
	texts := make([]string, 0, len(s))
	sorted := slices.Clone(s)
	slices.SortStableFunc(sorted, func(a, b Specifier) int { return strings.Compare(a.String(), b.String()) })
	seen := make(map[string]bool, len(s))
	for _, spec := range sorted {
		if c := spec.canonical(); !seen[c] {
			seen[c] = true
			texts = append(texts, spec.String())
		}
	}
	return strings.Join(texts, ",")
}

// Contains reports whether v fits every clause. Pre-releases are versions like
// any other here: whether one is wanted is the caller's to decide, with
// AllowsPrereleases.
func (s Specifiers) Contains(v Version) bool {
	for _, spec := range s {
		if !spec.Contains(v) {
			return false
		}
	}
	return true
}

// ContainsString is Contains for a version as someone wrote it, which === is
// compared with. A text that is no version fits only sets of nothing but ===.
func (s Specifiers) ContainsString(raw string) bool {
	v, err := ParseVersion(raw)
	return s.contains(raw, v, err == nil)
}

func (s Specifiers) contains(raw string, v Version, valid bool) bool {
	for _, spec := range s {
		switch {
		case spec.Op == "===":
			if !spec.containsText(raw) {
				return false
			}
		case !valid || !spec.Contains(v):
			return false
		}
	}
	return true
}

// AllowsPrereleases reports whether some clause names a pre-release, which
// makes pre-releases welcome (PEP 440, "Handling of pre-releases"). Neither !=
// nor a prefix does so.
func (s Specifiers) AllowsPrereleases() bool {
	return slices.ContainsFunc(s, Specifier.allowsPrereleases)
}

// Matches is ContainsString under a policy for pre-releases. By default one
// pre-release alone matches, as there is nothing else to choose.
func (s Specifiers) Matches(raw string, p Prereleases) bool {
	v, err := ParseVersion(raw)
	if err == nil && p == PrereleasesDeny && v.IsPrerelease() {
		return false
	}
	return s.contains(raw, v, err == nil)
}

// Filter returns those of the versions that fit, in their order. By default
// pre-releases are among them only where the set names one or nothing else
// fits. Texts that are no versions cannot be pre-releases.
func (s Specifiers) Filter(raws []string, p Prereleases) []string {
	if p == PrereleasesDefault && s.AllowsPrereleases() {
		p = PrereleasesAllow
	}
	var all, final []string
	finals := false
	for _, raw := range raws {
		v, err := ParseVersion(raw)
		if !s.contains(raw, v, err == nil) {
			continue
		}
		all = append(all, raw)
		if err != nil || !v.IsPrerelease() {
			final = append(final, raw)
			finals = finals || err == nil
		}
	}
	if p == PrereleasesAllow || p == PrereleasesDefault && !finals {
		return all
	}
	return final
}
