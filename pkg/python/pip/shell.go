package pip

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// Parse reads a shell line (or several) that is made only of pip installs, and
// returns them in order. Beside them it takes what such lines are written with
// and what changes nothing: assignments and export, `set -e`, `pip cache purge`
// and the removal of pip's cache. Anything else is a [*NotPipError] or a
// [*WordError].
func Parse(line string, o ParseOptions) ([]Install, error) {
	f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(line), "")
	if err != nil {
		return nil, &WordError{Word: firstLine(line), Line: 1, Reason: "is no shell line", Err: err}
	}
	p := newShell(o)
	for _, s := range f.Stmts {
		if err := p.statement(s); err != nil {
			return nil, err
		}
	}
	return p.installs, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return s
}

// shell runs a line's commands in order, as far as they are understood.
type shell struct {
	o        ParseOptions
	env      map[string]string // exported variables
	vars     map[string]string // the others
	noUnset  bool              // set -u
	installs []Install
}

func newShell(o ParseOptions) *shell {
	env := maps.Clone(o.Env)
	if env == nil {
		env = map[string]string{}
	}
	if _, ok := env["HOME"]; !ok {
		env["HOME"] = "/root"
	}
	return &shell{o: o, env: env, vars: map[string]string{}}
}

func notPip(word string, line int) error { return &NotPipError{Word: word, Line: line} }

// statement reads one statement. Of compound ones only && is known; a sequence
// is several statements.
func (p *shell) statement(s *syntax.Stmt) error {
	line := int(s.Pos().Line())
	switch {
	case len(s.Redirs) > 0:
		return redirected(s.Redirs[0])
	case s.Negated:
		return notPip("!", line)
	case s.Background, s.Coprocess:
		return notPip("&", line)
	}
	switch c := s.Cmd.(type) {
	case *syntax.BinaryCmd:
		if c.Op != syntax.AndStmt {
			return notPip(c.Op.String(), int(c.OpPos.Line()))
		}
		if err := p.statement(c.X); err != nil {
			return err
		}
		return p.statement(c.Y)
	case *syntax.CallExpr:
		return p.call(c)
	}
	return notPip(source(s), line)
}

// source returns the text of a node, shortened, for messages.
func source(n syntax.Node) string {
	var b strings.Builder
	if err := syntax.NewPrinter(syntax.Minify(true)).Print(&b, n); err != nil {
		return "the line"
	}
	return firstLine(b.String())
}

// redirected reports a redirection; an unquoted "flask>=3" is one.
func redirected(r *syntax.Redirect) error {
	e := &WordError{Word: r.Op.String(), Line: int(r.OpPos.Line()), Reason: "redirects, which is not understood"}
	if r.Word != nil {
		e.Word += source(r.Word)
	}
	if strings.HasPrefix(e.Word, ">=") || strings.HasPrefix(e.Word, "<=") || regexp.MustCompile(`^[<>]\d`).MatchString(e.Word) {
		e.hint = "put the requirement in quotes: the shell takes < and > for redirections"
	}
	return e
}

// export reads `export NAME=VALUE …`, whose words are expanded already.
func (p *shell) export(args []string, line int) error {
	for _, a := range args[1:] {
		name, value, assigned := strings.Cut(a, "=")
		if !syntax.ValidName(name) {
			return notPip("export "+a, line)
		}
		if !assigned {
			v, ok := p.vars[name]
			if !ok {
				continue
			}
			value = v
		}
		delete(p.vars, name)
		p.env[name] = value
	}
	return nil
}

// call reads a simple command, or assignments alone.
func (p *shell) call(c *syntax.CallExpr) error {
	line := int(c.Pos().Line())
	args, err := p.fields(c.Args)
	if err != nil {
		return err
	}
	env := p.env
	if len(args) > 0 {
		env = maps.Clone(p.env)
	}
	for _, a := range c.Assigns {
		if a.Array != nil || a.Index != nil || a.Append || a.Naked {
			return notPip(source(a), line)
		}
		v, err := p.value(a.Value)
		if err != nil {
			return err
		}
		if _, exported := p.env[a.Name.Value]; len(args) > 0 || exported {
			env[a.Name.Value] = v
		} else {
			p.vars[a.Name.Value] = v
		}
	}
	if len(args) == 0 {
		if len(c.Args) > 0 { // a command that expanded to nothing
			return notPip(source(c.Args[0]), line)
		}
		return nil
	}
	return p.command(args, env, line)
}

// command takes a command's words: a pip install, or one that changes nothing.
func (p *shell) command(args []string, env map[string]string, line int) error {
	switch base := path.Base(args[0]); {
	case args[0] == "export":
		return p.export(args, line)
	case args[0] == "set":
		return p.set(args, line)
	case args[0] == "rm":
		return p.remove(args, line)
	case base == "uv":
		return p.uv(args, env, line)
	case pythonName().MatchString(base):
		if len(args) < 3 || args[1] != "-m" || args[2] != "pip" {
			return notPip(strings.Join(args[:min(len(args), 3)], " "), line)
		}
		return p.pip(strings.Join(args[:3], " "), strings.TrimPrefix(base, "python"), args[3:], env, line)
	case pipName().MatchString(base):
		return p.pip(args[0], strings.TrimPrefix(base, "pip"), args[1:], env, line)
	}
	return notPip(args[0], line)
}

func pipName() *regexp.Regexp    { return regexp.MustCompile(`^pip(\d+(\.\d+)?)?$`) }
func pythonName() *regexp.Regexp { return regexp.MustCompile(`^python(\d+(\.\d+)?)?$`) }

// set reads the shell's options that do not change what an install does; every
// command must succeed here in any case.
func (p *shell) set(args []string, line int) error {
	named := false
	for _, a := range args[1:] {
		if named {
			if !slices.Contains([]string{"errexit", "nounset", "xtrace", "verbose", "pipefail"}, a) {
				return notPip("set -o "+a, line)
			}
			p.noUnset = p.noUnset || a == "nounset"
			named = false
			continue
		}
		flags, ok := strings.CutPrefix(a, "-")
		if !ok || flags == "" || strings.Trim(flags, "euxvo") != "" {
			return notPip("set "+a, line)
		}
		p.noUnset = p.noUnset || strings.Contains(flags, "u")
		named = strings.Contains(flags, "o")
	}
	return nil
}

// remove takes `rm -rf` of pip's cache, which is never in the image.
func (p *shell) remove(args []string, line int) error {
	recursive := false
	for _, a := range args[1:] {
		if flags, ok := strings.CutPrefix(a, "-"); ok && flags != "" && strings.Trim(flags, "rRf") == "" {
			recursive = true
			continue
		}
		caches := []string{"/root/.cache", "/root/.cache/pip", path.Join(p.env["HOME"], ".cache/pip")}
		if !slices.Contains(caches, path.Clean(a)) {
			return notPip("rm "+a, line)
		}
	}
	if !recursive || len(args) < 3 {
		return notPip("rm", line)
	}
	return nil
}

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
		if p.o.ReadDir == nil && strings.ContainsAny(plain, "*?") {
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
		return path.Join("/", p.o.Dir), true
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

// atLine gives an error the line that its command stands on.
func atLine(err error, line int) error {
	if e, ok := err.(*WordError); ok && e.Line == 0 {
		e.Line = line
	}
	return err
}

// subcommand words a program and its command for messages.
func subcommand(program string, args []string) string {
	if len(args) == 0 {
		return program
	}
	return fmt.Sprintf("%s %s", program, args[0])
}
