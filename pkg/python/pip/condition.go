package pip

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// outcome is what a condition comes to.
type outcome uint8

const (
	succeeds outcome = iota
	fails
	undecided // the image's files say, and they are not known yet
)

// negate is `!`.
func (o outcome) negate() outcome {
	switch o {
	case succeeds:
		return fails
	case fails:
		return succeeds
	}
	return o
}

// isCondition says whether a statement only asks: `[ -f x ] && ! test -n "$Y"`.
func isCondition(s *syntax.Stmt) bool {
	if s.Background || s.Coprocess || len(s.Redirs) > 0 {
		return false
	}
	switch c := s.Cmd.(type) {
	case *syntax.CallExpr:
		return len(c.Assigns) == 0 && len(c.Args) > 0 && slices.Contains([]string{"[", "test", "true", "false", ":"}, c.Args[0].Lit())
	case *syntax.BinaryCmd:
		return (c.Op == syntax.AndStmt || c.Op == syntax.OrStmt) && isCondition(c.X) && isCondition(c.Y)
	}
	return false
}

// decide finds out what a condition comes to.
func (p *shell) decide(s *syntax.Stmt) (outcome, error) {
	o, err := p.outcome(s)
	if s.Negated {
		o = o.negate()
	}
	return o, err
}

func (p *shell) outcome(s *syntax.Stmt) (outcome, error) {
	if c, ok := s.Cmd.(*syntax.BinaryCmd); ok {
		x, err := p.decide(c.X)
		if err != nil || x == fails && c.Op == syntax.AndStmt || x == succeeds && c.Op == syntax.OrStmt {
			return x, err
		}
		y, err := p.decide(c.Y)
		if x == undecided && err == nil && (y == succeeds) == (c.Op == syntax.AndStmt) {
			y = undecided
		}
		return y, err
	}
	c := s.Cmd.(*syntax.CallExpr)
	args, err := p.fields(c.Args)
	if err != nil {
		return fails, err
	}
	wrong := &WordError{Command: args[0], Word: source(c), Line: int(c.Pos().Line()), Reason: "is a test that is not understood"}
	switch args[0] {
	case "true", ":":
		return succeeds, nil
	case "false":
		return fails, nil
	case "[":
		if args[len(args)-1] != "]" {
			return fails, wrong
		}
		args = args[:len(args)-1]
	}
	o, ok, err := p.test(args[1:])
	if err == nil && !ok {
		err = wrong
	}
	return o, err
}

// test evaluates what stands between the brackets (POSIX, "test"); ok is false
// where it is not understood.
func (p *shell) test(args []string) (o outcome, ok bool, err error) {
	is := func(b bool) (outcome, bool, error) {
		if b {
			return succeeds, true, nil
		}
		return fails, true, nil
	}
	switch n := len(args); {
	case n == 0:
		return fails, true, nil
	case n == 1:
		return is(args[0] != "")
	case n == 3 && args[1] != "-a" && args[1] != "-o":
		if holds, ok := compare(args[0], args[1], args[2]); ok {
			return is(holds)
		}
	case n == 2 && args[0] != "!":
		switch args[0] {
		case "-n":
			return is(args[1] != "")
		case "-z":
			return is(args[1] == "")
		case "-e", "-f", "-d":
			o, err := p.exists(args[0], absolute(p.dir, args[1]))
			return o, args[1] != "", err
		}
		return fails, false, nil
	}
	if args[0] == "!" && len(args) > 1 {
		o, ok, err = p.test(args[1:])
		return o.negate(), ok, err
	}
	return fails, false, nil
}

// compare evaluates a test of two words.
func compare(x, operator, y string) (holds, ok bool) {
	switch operator {
	case "=", "==":
		return x == y, true
	case "!=":
		return x != y, true
	}
	a, errA := strconv.Atoi(x)
	b, errB := strconv.Atoi(y)
	if errA != nil || errB != nil {
		return false, false
	}
	switch operator {
	case "-eq":
		return a == b, true
	case "-ne":
		return a != b, true
	case "-lt":
		return a < b, true
	case "-le":
		return a <= b, true
	case "-gt":
		return a > b, true
	case "-ge":
		return a >= b, true
	}
	return false, false
}

// exists evaluates -e, -f and -d. What an install makes is not known here.
func (p *shell) exists(kind, name string) (outcome, error) {
	is := func(b bool) (outcome, error) {
		if b {
			return succeeds, nil
		}
		return fails, nil
	}
	if p.isMade(name) {
		return is(kind != "-f")
	}
	if p.o.ReadDir == nil {
		return undecided, nil
	}
	if _, err := p.o.ReadDir(name); err == nil {
		return is(kind != "-f")
	} else if !errors.Is(err, fs.ErrNotExist) && !isNoDirectory(err) {
		return fails, err
	}
	if kind == "-d" || name == "/" {
		return fails, nil
	}
	entries, err := p.o.ReadDir(path.Dir(name))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || isNoDirectory(err) {
			return fails, nil
		}
		return fails, err
	}
	return is(slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == path.Base(name) }))
}

// isNoDirectory reports the error of listing what is a file.
func isNoDirectory(err error) bool {
	var at *fs.PathError
	return errors.As(err, &at)
}

// conditional reads `if`. Where the files that a condition asks for are not known
// yet all branches are read.
func (p *shell) conditional(c *syntax.IfClause) error {
	if !c.ThenPos.IsValid() { // else
		return p.statements(c.Then)
	}
	if len(c.Cond) != 1 || !isCondition(c.Cond[0]) {
		return notPip(source(c.Cond[0]), int(c.Cond[0].Pos().Line()))
	}
	o, err := p.decide(c.Cond[0])
	if err != nil {
		return err
	}
	if o != fails {
		if err := p.statements(c.Then); err != nil || o == succeeds {
			return err
		}
	}
	if c.Else == nil {
		return nil
	}
	return p.conditional(c.Else)
}

// binary reads `X && Y` and, where X only asks, `X || Y`.
func (p *shell) binary(c *syntax.BinaryCmd) error {
	left := succeeds
	switch {
	case isCondition(c.X):
		var err error
		if left, err = p.decide(c.X); err != nil {
			return err
		}
	case c.Op == syntax.OrStmt && guarded(c.X):
		// [ -f x ] && pip install -r x || true: what comes last counts only where
		// there is nothing to install; an install that fails is an error here.
		inner := c.X.Cmd.(*syntax.BinaryCmd)
		o, err := p.decide(inner.X)
		if err != nil {
			return err
		}
		if o != fails {
			return notPip(c.Op.String(), int(c.OpPos.Line()))
		}
		left = fails
	case c.Op != syntax.AndStmt:
		return notPip(c.Op.String(), int(c.OpPos.Line()))
	default:
		if err := p.statement(c.X); err != nil {
			return err
		}
		if p.failed != nil {
			return nil
		}
	}
	if left == undecided || (left == succeeds) == (c.Op == syntax.AndStmt) {
		return p.statement(c.Y)
	}
	if c.Op == syntax.AndStmt {
		p.failed = &WordError{Command: "RUN", Word: strings.TrimSpace(source(c.X)), Line: int(c.X.Pos().Line()), Reason: "is not so, and the line fails by that",
			hint: "write if …; then …; fi where nothing is to be done otherwise"}
	}
	return nil
}

// guarded says whether a statement is `CONDITION && COMMAND`.
func guarded(s *syntax.Stmt) bool {
	c, ok := s.Cmd.(*syntax.BinaryCmd)
	return ok && c.Op == syntax.AndStmt && isCondition(c.X)
}
