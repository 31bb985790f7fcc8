package project

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// Constraint is a set of versions as Poetry writes it: alternatives, of which
// each is a conjunction of PEP 440. A version need only fit one of them. The
// empty one contains none; one of an empty conjunction contains all.
type Constraint []python.Specifiers

// maxConstraint bounds the text of a constraint, in bytes.
const maxConstraint = 4096

// ParseConstraint reads a constraint of Poetry or Pipenv: "^1.2", "~1.2",
// "1.2.*", "*", "1.2" (exactly), everything of PEP 440, clauses separated by
// commas or blanks, and alternatives by "||". The error is a
// *python.SyntaxError.
func ParseConstraint(s string) (Constraint, error) {
	if len(s) > maxConstraint {
		return nil, &python.SyntaxError{Kind: "version constraint", Text: s, Offset: -1, Reason: "too long"}
	}
	var c Constraint
	if trimmed := strings.TrimSpace(s); strings.HasPrefix(trimmed, "(") && strings.HasSuffix(trimmed, ")") {
		s = trimmed[1 : len(trimmed)-1]
	}
	for alternative := range strings.SplitSeq(strings.ReplaceAll(s, "||", "|"), "|") {
		var clauses []string
		for _, word := range clauseWords(alternative) {
			clause, err := clause(word)
			if err != nil {
				return nil, &python.SyntaxError{Kind: "version constraint", Text: s, Offset: -1, Reason: err.Error()}
			}
			if clause != "" {
				clauses = append(clauses, clause)
			}
		}
		set, err := python.ParseSpecifiers(strings.Join(clauses, ","))
		if err != nil {
			return nil, &python.SyntaxError{Kind: "version constraint", Text: s, Offset: -1, Reason: "not a version after an operator"}
		}
		c = append(c, set)
	}
	return c, nil
}

// clauseWords splits at commas and blanks; an operator that stands alone
// belongs to what follows.
func clauseWords(s string) []string {
	var words []string
	operator := ""
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }) {
		operator += w
		if strings.Trim(w, "<>=!~^") == "" {
			continue
		}
		words, operator = append(words, operator), ""
	}
	if operator != "" {
		words = append(words, operator)
	}
	return words
}

// anything is "*", "x" and "*.*".
var anything = regexp.MustCompile(`^v?[xX*](\.[xX*])*$`)

// clause turns one clause of Poetry's into clauses of PEP 440; "" is none.
func clause(w string) (string, error) {
	bare := strings.TrimLeft(w, "<>=!~^")
	op := w[:len(w)-len(bare)]
	if anything.MatchString(bare) && (op == "" || op == "==" || op == "=") {
		return "", nil
	}
	switch op {
	case "^", "~":
		v, err := python.ParseVersion(bare)
		if err != nil {
			return "", fmt.Errorf("%q is not a version", bare)
		}
		return ">=" + v.String() + ",<" + ceiling(v, op == "^"), nil
	case "", "=":
		op = "=="
	case "<>":
		op = "!="
	case "~=":
		if v, err := python.ParseVersion(bare); err == nil && len(v.Release()) < 2 {
			return ">=" + v.String() + ",<" + ceiling(v, false), nil
		}
	}
	for strings.HasSuffix(bare, ".*.*") {
		bare = strings.TrimSuffix(bare, ".*")
	}
	return op + bare, nil
}

// ceiling is the first version that "^v" (caret) or "~v" does not contain.
func ceiling(v python.Version, caret bool) string {
	release := v.Release()
	n := 0 // the number that must not change
	if caret {
		// The leftmost that is not zero.
		for n < len(release)-1 && n < 2 && strings.Trim(release[n], "0") == "" {
			n++
		}
	} else {
		n = min(1, len(release)-1)
	}
	up := slices.Clone(release[:n+1])
	up[n] = increment(up[n])
	text := strings.Join(up, ".")
	if e := v.Epoch(); e != "0" {
		text = e + "!" + text
	}
	return text
}

// increment adds one to a decimal number of any size.
func increment(n string) string {
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

// Contains reports whether a version fits one of the alternatives.
func (c Constraint) Contains(v python.Version) bool {
	return slices.ContainsFunc(c, func(s python.Specifiers) bool { return s.Contains(v) })
}

// Specifiers returns the constraint as one conjunction, as PEP 508 wants it; ok
// is false when there is none.
func (c Constraint) Specifiers() (s python.Specifiers, ok bool) {
	if len(c) == 1 {
		return c[0], true
	}
	if slices.ContainsFunc(c, func(s python.Specifiers) bool { return len(s) == 0 }) {
		return nil, true
	}
	return nil, false
}

// pythons returns a conjunction that means the same for every minor version of
// Python, "~2.7 || ^3.6" as ">=2.7,<4,!=3.0.*,…,!=3.5.*": the hull of the
// alternatives without what is in none. Python is known not to have had more
// than eight minor versions in its second series.
func (c Constraint) pythons() python.Specifiers {
	if s, ok := c.Specifiers(); ok {
		return s
	}
	var all []string
	first := -1
	for i, v := range pythonMinors() {
		if !c.Contains(v) && !c.Contains(patched(v)) {
			all = append(all, "!="+v.String()+".*")
			continue
		}
		if first < 0 {
			first, all = i, []string{">=" + v.String()}
		}
	}
	if four, err := python.ParseVersion("4"); err == nil && !c.Contains(four) {
		all = append(all, "<4")
	}
	s, err := python.ParseSpecifiers(strings.Join(all, ","))
	if err != nil {
		return nil
	}
	return s
}

// pythonMinors are the minor versions that a requirement of Python may be
// about.
func pythonMinors() []python.Version {
	var list []python.Version
	add := func(major, minor int) {
		if v, err := python.ParseVersion(strconv.Itoa(major) + "." + strconv.Itoa(minor)); err == nil {
			list = append(list, v)
		}
	}
	add(2, 6)
	add(2, 7)
	for minor := range 31 {
		add(3, minor)
	}
	return list
}

// patched is a late patch of a minor version: a lower bound may name any.
func patched(v python.Version) python.Version {
	p, err := python.ParseVersion(v.String() + ".99")
	if err != nil {
		return v
	}
	return p
}

// marker writes the constraint as a marker of a variable of Python's version;
// "" for one that always holds.
func (c Constraint) marker() string {
	var alternatives []string
	for _, s := range c {
		var clauses []string
		for _, one := range s {
			variable := "python_version"
			if len(one.Parsed().Release()) > 2 {
				variable = "python_full_version"
			}
			clauses = append(clauses, fmt.Sprintf("%s %s %q", variable, one.Op, one.Version))
		}
		if len(clauses) == 0 {
			return ""
		}
		alternatives = append(alternatives, strings.Join(clauses, " and "))
	}
	return strings.Join(alternatives, " or ")
}
