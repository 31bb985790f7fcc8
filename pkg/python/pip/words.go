package pip

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// fields expands words as the shell does.
func (p *shell) fields(words []*syntax.Word) ([]string, error) {
	for _, w := range words {
		if err := p.check(w); err != nil {
			return nil, err
		}
	}
	var out []string
	for _, w := range words {
		f, err := expand.Fields(p.expansion(), w)
		if err != nil {
			return nil, &WordError{Word: source(w), Line: int(w.Pos().Line()), Reason: "cannot be expanded", Err: err}
		}
		out = append(out, f...)
	}
	return out, nil
}

// value expands the right side of an assignment.
func (p *shell) value(w *syntax.Word) (string, error) {
	if w == nil {
		return "", nil
	}
	if err := p.check(w); err != nil {
		return "", err
	}
	v, err := expand.Literal(p.expansion(), w)
	if err != nil {
		return "", &WordError{Word: source(w), Line: int(w.Pos().Line()), Reason: "cannot be expanded", Err: err}
	}
	return v, nil
}

func (p *shell) expansion() *expand.Config {
	return &expand.Config{Env: variables{p}, ReadDir2: p.o.ReadDir, NoUnset: p.noUnset}
}

// check refuses words whose value depends on more than the environment.
func (p *shell) check(w *syntax.Word) error {
	var reason string
	syntax.Walk(w, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CmdSubst, *syntax.ProcSubst:
			reason = "runs a command"
		case *syntax.ArithmExp:
			reason = "computes"
		case *syntax.ExtGlob:
			reason = "is a pattern"
		case *syntax.ParamExp:
			if _, ok := p.lookup(n.Param.Value); !ok && isSpecial(n.Param.Value) {
				reason = "depends on the shell's state"
			}
			if n.Exp != nil && (n.Exp.Op == syntax.AssignUnset || n.Exp.Op == syntax.AssignUnsetOrNull) {
				reason = "assigns a variable"
			}
		}
		return reason == ""
	})
	if reason == "" {
		reason = p.checkLiterals(w)
	}
	if reason != "" {
		return &WordError{Word: source(w), Line: int(w.Pos().Line()), Reason: reason + ", which is not understood"}
	}
	return nil
}

// checkLiterals refuses unquoted text that shells do not read alike, or that
// needs to know the file system.
func (p *shell) checkLiterals(w *syntax.Word) string {
	for i, part := range w.Parts {
		lit, ok := part.(*syntax.Lit)
		if !ok {
			continue
		}
		if user, ok := strings.CutPrefix(lit.Value, "~"); i == 0 && ok && user != "" && user[0] != '/' {
			return "names a user's directory"
		}
		plain := regexp.MustCompile(`(?s)\\.`).ReplaceAllString(lit.Value, "")
		// Going up again below a pattern multiplies what it matches without end.
		if strings.ContainsAny(plain, "*?") && (p.o.ReadDir == nil || strings.Contains(source(w), "..")) {
			return "is a pattern"
		}
	}
	braces := *w
	braces.Parts = slices.Clone(w.Parts)
	if syntax.SplitBraces(&braces) { // bash expands them, sh does not
		return "has braces"
	}
	return ""
}

// isSpecial reports parameters and variables that a shell sets itself.
func isSpecial(name string) bool {
	if len(name) == 1 && !strings.Contains("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", name) {
		return true
	}
	return strings.Trim(name, "0123456789") == "" || slices.Contains([]string{
		"OLDPWD", "RANDOM", "SECONDS", "LINENO", "HOSTNAME", "UID", "EUID", "PPID", "IFS", "OPTIND", "_",
	}, name)
}

func (p *shell) lookup(name string) (string, bool) {
	if v, ok := p.env[name]; ok {
		return v, true
	}
	if v, ok := p.vars[name]; ok {
		return v, true
	}
	if name == "PWD" {
		return p.dir, true
	}
	return "", false
}

// variables shows a shell's variables to the expander.
type variables struct{ *shell }

func (v variables) Get(name string) expand.Variable {
	value, ok := v.lookup(name)
	if !ok {
		return expand.Variable{}
	}
	_, exported := v.env[name]
	return expand.Variable{Set: true, Exported: exported, Kind: expand.String, Str: value}
}

func (v variables) Each(f func(name string, vr expand.Variable) bool) {
	for _, m := range []map[string]string{v.vars, v.env} {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !f(name, v.Get(name)) {
				return
			}
		}
	}
}
