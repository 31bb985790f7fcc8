package python

import (
	"fmt"
	"slices"
	"strings"
)

// Marker is an environment marker: a condition on Python, platform and extras
// under which a requirement holds (PEP 508, "Environment Markers"). The zero
// value always holds. It is immutable.
type Marker struct{ root *markerExpr }

// markerExpr is a list of operands joined by and/or, where and binds more
// tightly. Parentheses are kept as they were written.
type markerExpr struct {
	operands []markerOperand
	or       []bool // or[i] stands between operands i and i+1
}

// markerOperand is an expression in parentheses or a comparison.
type markerOperand struct {
	group *markerExpr
	comparison
}

type comparison struct {
	left, right markerValue
	op          string // ==, …, "in", "not in"
}

// markerValue is a variable or a literal.
type markerValue struct {
	text     string // name of the variable, or the literal's value
	variable bool
}

// UndefinedError is the answer of a comparison that PEP 508 gives no meaning:
// "os_name ~= 'posix'", two literals, or a variable that is not known where
// the marker is evaluated.
type UndefinedError struct {
	Comparison string // `os_name ~= "posix"`
	Reason     string
}

func (e *UndefinedError) Error() string {
	return fmt.Sprintf("marker comparison %s: %s", clip(e.Comparison, 200), e.Reason)
}

// ParseMarker reads a marker expression. The error is a *SyntaxError.
func ParseMarker(s string) (Marker, error) {
	if len(s) > maxRequirementLen {
		return Marker{}, &SyntaxError{"marker", s, -1, "too long"}
	}
	sc := &scanner{kind: "marker", src: s}
	m, err := sc.marker()
	if err != nil {
		return Marker{}, err
	}
	if !sc.done() {
		return Marker{}, sc.errorf("expected and, or, or the end")
	}
	return m, nil
}

func (s *scanner) marker() (Marker, error) {
	e, err := s.markerExpr()
	return Marker{e}, err
}

func (s *scanner) markerExpr() (*markerExpr, error) {
	if s.depth++; s.depth > maxMarkerDepth {
		return nil, s.errorf(fmt.Sprintf("more than %d parentheses within one another", maxMarkerDepth))
	}
	defer func() { s.depth-- }()
	e := &markerExpr{}
	for {
		operand, err := s.markerOperand()
		if err != nil {
			return nil, err
		}
		e.operands = append(e.operands, operand)
		switch {
		case s.keyword("and"):
			e.or = append(e.or, false)
		case s.keyword("or"):
			e.or = append(e.or, true)
		default:
			return e, nil
		}
	}
}

func (s *scanner) markerOperand() (markerOperand, error) {
	s.space()
	defer s.space()
	if open := s.pos; s.literal("(") {
		group, err := s.markerExpr()
		if err != nil {
			return markerOperand{}, err
		}
		if !s.literal(")") {
			return markerOperand{}, s.errorAt(open, "the parenthesis is not closed")
		}
		return markerOperand{group: group}, nil
	}
	var c comparison
	var err error
	if c.left, err = s.markerValue(); err != nil {
		return markerOperand{}, err
	}
	s.space()
	if c.op, err = s.markerOperator(); err != nil {
		return markerOperand{}, err
	}
	s.space()
	if c.right, err = s.markerValue(); err != nil {
		return markerOperand{}, err
	}
	c.normalizeExtras()
	return markerOperand{comparison: c}, nil
}

// markerVariables are the names in PEP 508 and PEP 751 with the older
// spellings that are still met. A name comes before its own beginnings.
var markerVariables = [...]struct{ written, name string }{
	{"python_version", "python_version"},
	{"python_full_version", "python_full_version"},
	{"os_name", "os_name"},
	{"os.name", "os_name"},
	{"sys_platform", "sys_platform"},
	{"sys.platform", "sys_platform"},
	{"platform_release", "platform_release"},
	{"platform_system", "platform_system"},
	{"platform_version", "platform_version"},
	{"platform.version", "platform_version"},
	{"platform_machine", "platform_machine"},
	{"platform.machine", "platform_machine"},
	{"platform_python_implementation", "platform_python_implementation"},
	{"platform.python_implementation", "platform_python_implementation"},
	{"python_implementation", "platform_python_implementation"},
	{"implementation_name", "implementation_name"},
	{"implementation_version", "implementation_version"},
	{"extras", "extras"},
	{"extra", "extra"},
	{"dependency_groups", "dependency_groups"},
}

func (s *scanner) markerValue() (markerValue, error) {
	for _, v := range markerVariables {
		if s.keyword(v.written) {
			return markerValue{v.name, true}, nil
		}
	}
	text, ok, err := s.quoted()
	if err == nil && !ok {
		err = s.errorf("expected a variable of PEP 508 or a quoted string")
	}
	return markerValue{text: text}, err
}

func (s *scanner) markerOperator() (string, error) {
	if s.keyword("in") {
		return "in", nil
	}
	if s.keyword("not") {
		if !s.space() || !s.keyword("in") {
			return "", s.errorf("expected in after not")
		}
		return "not in", nil
	}
	if op := operator(s.rest()); op != "" {
		s.pos += len(op)
		return op, nil
	}
	return "", s.errorf("expected <=, <, !=, ==, >=, >, ~=, ===, in or not in")
}

// normalizeExtras brings the names of extras, and of dependency groups where a
// set of them is asked, into their normal form (PEP 685, PEP 735).
func (c *comparison) normalizeExtras() {
	switch {
	case c.left == (markerValue{"extra", true}) && !c.right.variable:
		c.right.text = NormalizeExtra(c.right.text)
	case c.right.variable && !c.left.variable && (c.right.text == "extra" || isSetVariable(c.right.text)):
		c.left.text = NormalizeExtra(c.left.text)
	}
}

func isSetVariable(name string) bool { return name == "extras" || name == "dependency_groups" }

// IsZero reports whether m is no condition at all.
func (m Marker) IsZero() bool { return m.root == nil }

// String returns the marker in one spelling: double quotes, single spaces, and
// only the parentheses that were written and matter.
func (m Marker) String() string {
	if m.root == nil {
		return ""
	}
	return m.root.format(true)
}

// Equal reports whether two markers are written alike but for spelling.
func (m Marker) Equal(o Marker) bool { return m.String() == o.String() }

func (e *markerExpr) format(outermost bool) string {
	if len(e.operands) == 1 {
		return e.operands[0].format(outermost)
	}
	var b strings.Builder
	for i, operand := range e.operands {
		if i > 0 {
			b.WriteString(map[bool]string{true: " or ", false: " and "}[e.or[i-1]])
		}
		b.WriteString(operand.format(false))
	}
	if outermost {
		return b.String()
	}
	return "(" + b.String() + ")"
}

func (o markerOperand) format(outermost bool) string {
	if o.group != nil {
		return o.group.format(outermost)
	}
	return o.comparison.String()
}

func (c comparison) String() string { return c.left.String() + " " + c.op + " " + c.right.String() }

func (v markerValue) String() string {
	if v.variable {
		return v.text
	}
	return quote(v.text)
}

// Evaluate reports whether the marker holds in env for one of the extras, or,
// without any, for none. A comparison that has no meaning does not hold; use
// Eval where that must be told apart.
func (m Marker) Evaluate(env Environment, extras ...string) bool {
	holds, err := m.Eval(env, extras...)
	return holds && err == nil
}

// Eval is Evaluate that says why there is no answer: the error is an
// *UndefinedError.
func (m Marker) Eval(env Environment, extras ...string) (bool, error) {
	if m.root == nil {
		return true, nil
	}
	if len(extras) == 0 {
		extras = []string{""}
	}
	for _, extra := range extras {
		extra = NormalizeExtra(extra)
		holds, err := m.root.eval(&evaluation{env: env, extra: &extra})
		if holds || err != nil {
			return holds, err
		}
	}
	return false, nil
}

// EvalLock evaluates a marker of a lock file (PEP 751): it asks for the sets
// of all extras and dependency groups that are wanted, with "extras" and
// "dependency_groups", and not for one "extra". The error is an
// *UndefinedError.
func (m Marker) EvalLock(env Environment, extras, groups []string) (bool, error) {
	if m.root == nil {
		return true, nil
	}
	return m.root.eval(&evaluation{env: env, sets: map[string][]string{"extras": extras, "dependency_groups": groups}})
}

// evaluation is what the variables of a marker mean.
type evaluation struct {
	env   Environment
	extra *string             // nil: the variable is not defined
	sets  map[string][]string // nil: neither are these
}

// eval evaluates all operands, also those that no longer matter, so that a
// comparison without meaning is found in every environment.
func (e *markerExpr) eval(ev *evaluation) (bool, error) {
	any, all := false, true
	for i, operand := range e.operands {
		if i > 0 && e.or[i-1] {
			any, all = any || all, true
		}
		var holds bool
		var err error
		if operand.group != nil {
			holds, err = operand.group.eval(ev)
		} else {
			holds, err = operand.eval(ev)
		}
		if err != nil {
			return false, err
		}
		all = all && holds
	}
	return any || all, nil
}

func (c comparison) eval(ev *evaluation) (bool, error) {
	undefined := func(reason string) (bool, error) { return false, &UndefinedError{c.String(), reason} }
	// One side is a variable. Of two, the right one is taken for a text, as
	// the reference implementation does.
	name, lhs, rhs := c.left.text, c.left.text, c.right.text
	if !c.left.variable {
		name = c.right.text
		if !c.right.variable {
			return undefined("it compares two texts")
		}
	}
	if isSetVariable(name) {
		set, defined := ev.sets[name]
		switch {
		case !defined:
			return undefined(name + " is defined in lock files only (PEP 751)")
		case c.left.variable:
			return undefined("a set can only be on the right side of in and not in")
		}
		return compareSet(c, set)
	}
	value, ok := ev.env.lookup(name)
	if name == "extra" {
		if ev.extra == nil {
			return undefined("extra is not defined in lock files (PEP 751)")
		}
		value, ok = *ev.extra, true
	}
	if !ok {
		return undefined(name + " is not known")
	}
	if c.left.variable {
		lhs = value
	} else {
		rhs = value
	}
	return c.compare(name, lhs, rhs)
}

// compareSet answers whether the literal on the left is in a set of names.
func compareSet(c comparison, set []string) (bool, error) {
	in := slices.ContainsFunc(set, func(s string) bool { return NormalizeExtra(s) == c.left.text })
	switch c.op {
	case "in":
		return in, nil
	case "not in", "!=": // a text is never a set
		return !in || c.op == "!=", nil
	case "~=", "===":
		return false, &UndefinedError{c.String(), "texts cannot be compared with " + c.op}
	}
	return false, nil
}

// compare compares as versions where the variable is one and the operator
// takes what is on the right side; otherwise it compares texts (PEP 508).
func (c comparison) compare(name, lhs, rhs string) (bool, error) {
	switch name {
	case "python_version", "python_full_version", "implementation_version", "platform_release":
		if c.op != "in" && c.op != "not in" && len(rhs) < maxVersionLen {
			// Not more than one clause: a comma makes it no version.
			if spec, err := parseSpecifier(trimSpace(c.op + rhs)); err == nil {
				return Specifiers{spec}.ContainsString(lhs), nil
			}
		}
	}
	switch c.op {
	case "in":
		return strings.Contains(rhs, lhs), nil
	case "not in":
		return !strings.Contains(rhs, lhs), nil
	case "==", "<=", ">=":
		// Texts have no order: only equality counts.
		return lhs == rhs, nil
	case "!=":
		return lhs != rhs, nil
	case "<", ">":
		return false, nil
	}
	return false, &UndefinedError{c.String(), "texts cannot be compared with " + c.op}
}
