package python

import (
	"slices"
	"strings"
)

// Requirement is a dependency on a project (PEP 508).
type Requirement struct {
	Name       string     // as written
	Extras     []string   // as written
	Specifiers Specifiers // none with a URL
	URL        string     // of "name @ URL"; "" = from an index
	Marker     Marker     // where it holds
}

// ParseRequirement reads a requirement, "name[extra]>=1; marker" or
// "name[extra] @ URL ; marker". The error is a *SyntaxError.
func ParseRequirement(s string) (Requirement, error) {
	if len(s) > maxRequirementLen {
		return Requirement{}, &SyntaxError{"requirement", s, -1, "too long"}
	}
	sc := &scanner{kind: "requirement", src: s}
	r, err := sc.requirement()
	if err == nil && !sc.done() {
		err = sc.errorf("expected the end")
	}
	if err != nil {
		return Requirement{}, err
	}
	return r, nil
}

func (s *scanner) requirement() (r Requirement, err error) {
	s.space()
	var ok bool
	if r.Name, ok = s.identifier(); !ok {
		return r, s.errorf("expected the name of a project")
	}
	s.space()
	if r.Extras, err = s.extras(); err != nil {
		return r, err
	}
	s.space()
	if s.literal("@") {
		if err = s.url(&r); err != nil || s.done() {
			return r, err
		}
	} else if r.Specifiers, err = s.specifiers(); err != nil {
		return r, err
	}
	s.space()
	if s.done() {
		return r, nil
	}
	if !s.literal(";") {
		return r, s.errorf(expectedAfter(r, s.rest()))
	}
	r.Marker, err = s.marker()
	return r, err
}

// expectedAfter explains what could have come instead of rest.
func expectedAfter(r Requirement, rest string) string {
	switch {
	case r.URL != "":
		return "expected a semicolon or the end after the URL"
	case len(r.Specifiers) > 0:
		return "expected a comma, a semicolon or the end"
	case operator(rest) == "" && rest[0] != '=' && rest[0] != '~':
		return "expected a version specifier, a semicolon or the end"
	}
	return specifierReason(rest, 0)
}

// url reads what follows "@". The URL ends at white space only, so that a
// semicolon without any belongs to it.
func (s *scanner) url(r *Requirement) error {
	s.space()
	n := strings.IndexAny(s.rest(), " \t")
	if n < 0 {
		n = len(s.rest())
	}
	if n == 0 {
		return s.errorf("expected a URL after @")
	}
	r.URL = s.src[s.pos : s.pos+n]
	s.pos += n
	s.space()
	return nil
}

// extras reads a list in brackets, if one comes next.
func (s *scanner) extras() (extras []string, err error) {
	open := s.pos
	if !s.literal("[") {
		return nil, nil
	}
	s.space()
	for {
		name, ok := s.identifier()
		if !ok && len(extras) > 0 {
			return nil, s.errorf("expected the name of an extra after the comma")
		}
		if ok {
			extras = append(extras, name)
		}
		s.space()
		if !ok || !s.literal(",") {
			break
		}
		s.space()
	}
	if !s.literal("]") {
		return nil, s.errorAt(open, "expected a list of extras and a closing bracket")
	}
	return extras, nil
}

// specifiers reads clauses separated by commas, in parentheses or not.
func (s *scanner) specifiers() (Specifiers, error) {
	open := s.pos
	parenthesis := s.literal("(")
	s.space()
	start, end := s.pos, s.pos
	for {
		n := scanSpecifier(s.rest())
		if n == 0 {
			break
		}
		clause := s.rest()
		s.pos += n
		end = s.pos
		if next := s.rest(); strings.HasPrefix(next, ".*") || strings.HasPrefix(next, "+") {
			return nil, s.errorf(specifierReason(clause, n))
		}
		s.space()
		if !s.literal(",") {
			break
		}
		end = s.pos
		s.space()
	}
	if parenthesis && !s.literal(")") {
		return nil, s.errorAt(open, "expected version specifiers and a closing parenthesis")
	}
	set, err := ParseSpecifiers(s.src[start:end])
	if err != nil {
		return nil, s.errorAt(start, err.(*SyntaxError).Reason)
	}
	return set, nil
}

// Key returns the normalized name, by which projects are the same.
func (r Requirement) Key() string { return NormalizeName(r.Name) }

// ExtraKeys returns the normalized names of the extras, sorted, each once.
func (r Requirement) ExtraKeys() []string {
	keys := make([]string, len(r.Extras))
	for i, e := range r.Extras {
		keys[i] = NormalizeExtra(e)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// String writes the requirement in one spelling; names stay as written,
// extras and specifiers are sorted. URLs may hold passwords: what is shown to
// people goes through Redacted.
func (r Requirement) String() string {
	var b strings.Builder
	b.WriteString(r.Name)
	if len(r.Extras) > 0 {
		extras := slices.Clone(r.Extras)
		slices.Sort(extras)
		b.WriteString("[" + strings.Join(slices.Compact(extras), ",") + "]")
	}
	b.WriteString(r.Specifiers.String())
	if r.URL != "" {
		b.WriteString(" @ " + r.URL)
		if !r.Marker.IsZero() {
			b.WriteString(" ")
		}
	}
	if !r.Marker.IsZero() {
		b.WriteString("; " + r.Marker.String())
	}
	return b.String()
}

// Redacted is String without the user information of its URL.
func (r Requirement) Redacted() string { return redact(r.String()) }
