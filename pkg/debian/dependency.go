package debian

import (
	"fmt"
	"strings"
)

// maxRelations bounds the entries of one relationship field; the longest in the
// archive have a few thousand.
const maxRelations = 1 << 16

// Relation names a package, perhaps with bounds on its version: one
// alternative of a dependency (Debian Policy, 7.1).
type Relation struct {
	Name string
	// Arch is what stands after a colon ("any", "native", "amd64"), or "".
	Arch string
	// Op is one of "<<", "<=", "=", ">=", ">>", or "" for any version.
	Op      string
	Version Version
}

// String writes the relation as it stands in a control file.
func (r Relation) String() string {
	s := r.Name
	if r.Arch != "" {
		s += ":" + r.Arch
	}
	if r.Op != "" {
		s += " (" + r.Op + " " + r.Version.String() + ")"
	}
	return s
}

// Alternatives are the relations of which one must hold: "a (>= 1) | b".
type Alternatives []Relation

// String writes the alternatives as they stand in a control file.
func (a Alternatives) String() string {
	parts := make([]string, len(a))
	for i, r := range a {
		parts[i] = r.String()
	}
	return strings.Join(parts, " | ")
}

// ParseDependencies reads the value of a relationship field of a binary package
// (Depends, Pre-Depends, Provides, Conflicts, Breaks): groups separated by
// commas, alternatives by vertical bars. Architecture lists and build profiles
// belong to source packages and are errors.
func ParseDependencies(s string) ([]Alternatives, error) {
	var all []Alternatives
	for group := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(group) == "" {
			continue // dpkg takes a trailing comma
		}
		if len(all) == maxRelations {
			return nil, fmt.Errorf("has more than %d entries", maxRelations)
		}
		var alternatives Alternatives
		for one := range strings.SplitSeq(group, "|") {
			r, err := parseRelation(strings.TrimSpace(one))
			if err != nil {
				return nil, err
			}
			alternatives = append(alternatives, r)
		}
		all = append(all, alternatives)
	}
	return all, nil
}

func parseRelation(s string) (Relation, error) {
	name, bound, bounded := strings.Cut(s, "(")
	name = strings.TrimSpace(name)
	name, arch, qualified := strings.Cut(name, ":")
	r := Relation{Name: name, Arch: arch}
	if !validName(name) || (qualified && !validName(arch)) {
		return Relation{}, fmt.Errorf("%.80q does not name a package", s)
	}
	if !bounded {
		return r, nil
	}
	bound, rest, closed := strings.Cut(bound, ")")
	if !closed || strings.TrimSpace(rest) != "" {
		return Relation{}, fmt.Errorf("%.80q has no well-formed bound in its parentheses", s)
	}
	bound = strings.TrimSpace(bound)
	version := strings.TrimLeft(bound, "<>=")
	switch r.Op = bound[:len(bound)-len(version)]; r.Op {
	case "<<", "<=", "=", ">=", ">>":
	case "<", ">": // deprecated spellings that dpkg takes as "or equal"
		r.Op += "="
	default:
		return Relation{}, fmt.Errorf("%.80q has an unknown operator", s)
	}
	var err error
	r.Version, err = ParseVersion(strings.TrimSpace(version))
	if err != nil {
		return Relation{}, fmt.Errorf("%.80q: %w", s, err)
	}
	return r, nil
}

// validName says whether s can name a package or an architecture (Debian
// Policy, 5.6.1, but for names of one character, which virtual packages have).
func validName(s string) bool {
	return s != "" && len(s) <= 255 && only(s, "+-._") && (isDigit(s[0]) || isLetter(s[0]))
}

// allows says whether version v lies within the relation's bound.
func (r Relation) allows(v Version) bool {
	if r.Op == "" {
		return true
	}
	c := v.Compare(r.Version)
	switch r.Op {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	}
	return c > 0
}
