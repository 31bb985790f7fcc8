package pip

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// shell runs a line's commands in order, as far as they are understood.
type shell struct {
	o       ParseOptions
	dir     string            // the working directory, absolute
	env     map[string]string // exported variables
	vars    map[string]string // the others
	noUnset bool              // set -u
	errExit bool              // set -e
	failed  error             // the last command failed, as a condition does
	steps   []Step
	// inactive is the environment without the virtual environment that is active.
	inactive map[string]string
}

func newShell(o ParseOptions) *shell {
	env := maps.Clone(o.Env)
	if env == nil {
		env = map[string]string{}
	}
	if _, ok := env["HOME"]; !ok {
		env["HOME"] = "/root"
	}
	return &shell{o: o, env: env, vars: map[string]string{}, dir: path.Join("/", o.Dir)}
}

func notPip(word string, line int) error { return &NotPipError{Word: word, Line: line} }

// script reads a text as a shell does.
func (p *shell) script(text string) error {
	f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), "")
	if err != nil {
		return &WordError{Word: firstLine(text), Line: 1, Reason: "is no shell line", Err: err}
	}
	if err := p.statements(f.Stmts); err != nil {
		return err
	}
	failed := p.failed
	p.failed = nil
	return failed
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return s
}

func (p *shell) statements(list []*syntax.Stmt) error {
	for _, s := range list {
		if err := p.statement(s); err != nil {
			return err
		}
		if _, simple := s.Cmd.(*syntax.CallExpr); simple && p.errExit && p.failed != nil {
			return p.failed
		}
	}
	return nil
}

// statement reads one statement. Of compound ones those are known that run each
// command once and in order.
func (p *shell) statement(s *syntax.Stmt) error {
	line := int(s.Pos().Line())
	p.failed = nil
	if isCondition(s) {
		o, err := p.decide(s)
		if o == fails && err == nil {
			p.failed = &WordError{Command: "RUN", Word: source(s), Line: line, Reason: "is not so, and the line fails by that"}
		}
		return err
	}
	for _, r := range s.Redirs {
		if !isQuiet(r) {
			return redirected(r)
		}
	}
	switch {
	case s.Negated:
		return notPip("!", line)
	case s.Background, s.Coprocess:
		return notPip("&", line)
	}
	switch c := s.Cmd.(type) {
	case *syntax.BinaryCmd:
		return p.binary(c)
	case *syntax.IfClause:
		return p.conditional(c)
	case *syntax.CallExpr:
		return p.call(c)
	case *syntax.Block:
		return p.statements(c.Stmts)
	case *syntax.Subshell:
		return p.subshell(c)
	}
	return notPip(source(s), line)
}

// subshell reads what stands in parentheses: variables, options and the working
// directory are as before after it.
func (p *shell) subshell(c *syntax.Subshell) error {
	before := *p
	p.env, p.vars = maps.Clone(p.env), maps.Clone(p.vars)
	err := p.statements(c.Stmts)
	before.steps, before.failed = p.steps, p.failed
	*p = before
	return err
}

// source returns the text of a node, shortened, for messages.
func source(n syntax.Node) string {
	var b strings.Builder
	if err := syntax.NewPrinter(syntax.Minify(true)).Print(&b, n); err != nil {
		return "the line"
	}
	return firstLine(b.String())
}

// isQuiet reports redirections that only silence a command: >/dev/null, 2>&1.
func isQuiet(r *syntax.Redirect) bool {
	if r.Word == nil || r.Hdoc != nil {
		return false
	}
	switch r.Op {
	case syntax.RdrOut, syntax.AppOut, syntax.RdrClob:
		return r.Word.Lit() == "/dev/null" && (r.N == nil || r.N.Value == "1" || r.N.Value == "2")
	case syntax.DplOut:
		return r.Word.Lit() == "1" || r.Word.Lit() == "2"
	}
	return false
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

// step keeps what a command does.
func (p *shell) step(s Step, line int, env map[string]string) {
	s.Line, s.Env = line, maps.Clone(env)
	if s.Dir == "" {
		s.Dir = p.dir
	}
	p.steps = append(p.steps, s)
}

// builtin runs the commands of the shell itself; ok is false for others.
func (p *shell) builtin(args []string, line int) (ok bool, err error) {
	switch args[0] {
	case "export":
		return true, p.export(args, line)
	case "set":
		return true, p.set(args, line)
	case "rm":
		return true, p.remove(args, line)
	case "true", ":", "echo":
		return true, nil // prints at most
	case "cd":
		return true, p.changeDir(args, line)
	case ".", "source":
		return true, p.activate(args, line)
	case "deactivate":
		if p.inactive == nil || len(args) > 1 {
			return true, notPip("deactivate", line)
		}
		p.env, p.inactive = p.inactive, nil
		return true, nil
	case "unset":
		for _, name := range args[1:] {
			if !syntax.ValidName(name) {
				return true, notPip("unset "+name, line)
			}
			delete(p.env, name)
			delete(p.vars, name)
		}
		return true, nil
	}
	if len(args) == 3 && isShell(args[0]) && isCommandFlag(args[1]) {
		return true, p.inner(args[2], line)
	}
	return false, nil
}

// inner runs the text of sh -c, which sees exported variables only.
func (p *shell) inner(text string, line int) error {
	before := *p
	p.env, p.vars = maps.Clone(p.env), map[string]string{}
	p.inactive, p.noUnset = nil, false
	err := p.script(text)
	first := len(before.steps)
	before.steps = p.steps
	for i := range before.steps[first:] {
		before.steps[first+i].move(line - 1)
	}
	*p = before
	var word *WordError
	var other *NotPipError
	switch {
	case errors.As(err, &word):
		word.Line += line - 1
	case errors.As(err, &other):
		other.Line += line - 1
	}
	return err
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
			p.errExit = p.errExit || a == "errexit"
			named = false
			continue
		}
		flags, ok := strings.CutPrefix(a, "-")
		if !ok || flags == "" || strings.Trim(flags, "euxvo") != "" {
			return notPip("set "+a, line)
		}
		p.noUnset = p.noUnset || strings.Contains(flags, "u")
		p.errExit = p.errExit || strings.Contains(flags, "e")
		named = strings.Contains(flags, "o")
	}
	return nil
}

// changeDir reads cd. Where the image is known the directory must be there.
func (p *shell) changeDir(args []string, line int) error {
	rest := args[1:]
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	if len(rest) == 0 {
		rest = []string{p.env["HOME"]}
	}
	if _, ok := p.lookup("CDPATH"); ok || len(rest) > 1 || rest[0] == "" || strings.HasPrefix(rest[0], "-") {
		return notPip(strings.Join(args, " "), line)
	}
	dir := absolute(p.dir, rest[0])
	if p.o.ReadDir != nil && !p.isMade(dir) {
		if _, err := p.o.ReadDir(dir); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				return &WordError{Command: "cd", Word: rest[0], Line: line, Reason: "cannot be read", Err: err}
			}
			return &WordError{Command: "cd", Word: rest[0], Line: line, Reason: "is not in the image at this step",
				hint: "COPY it before this RUN; .dockerignore may leave it out"}
		}
	}
	p.dir = dir
	if _, ok := p.env["PWD"]; ok {
		p.env["PWD"] = dir
	}
	return nil
}

// isMade says whether the line makes a directory: a virtual environment, or what
// it or a file written lies in.
func (p *shell) isMade(dir string) bool {
	for _, s := range p.steps {
		switch {
		case s.Venv != nil && (contains(dir, s.Venv.Dir) || contains(s.Venv.Dir, dir)),
			s.Sync != nil && s.Sync.Environment != "" && (contains(dir, s.Sync.Environment) || contains(s.Sync.Environment, dir)),
			s.Write != nil && contains(dir, s.Write.Path):
			return true
		}
	}
	return false
}

// contains says whether name is dir or lies in it.
func contains(dir, name string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// activate reads `. DIR/bin/activate`, which changes two variables.
func (p *shell) activate(args []string, line int) error {
	if len(args) != 2 || !strings.HasSuffix(args[1], "/activate") {
		return notPip(strings.Join(args[:min(len(args), 2)], " "), line)
	}
	bin := path.Dir(absolute(p.dir, args[1]))
	dir := path.Dir(bin)
	if path.Base(bin) != "bin" || !p.isVenv(dir) {
		return &WordError{Command: args[0], Word: args[1], Line: line, Reason: "is not the activation of a virtual environment that is there"}
	}
	if p.inactive == nil {
		p.inactive = p.env
	}
	p.env = maps.Clone(p.inactive)
	p.env["VIRTUAL_ENV"] = dir
	p.env["PATH"] = bin + ":" + p.env["PATH"]
	delete(p.env, "PYTHONHOME")
	return nil
}

// remove takes `rm -rf` of the tools' caches, which are never in the image.
func (p *shell) remove(args []string, line int) error {
	recursive := false
	for _, a := range args[1:] {
		if flags, ok := strings.CutPrefix(a, "-"); ok && flags != "" && strings.Trim(flags, "rRf") == "" {
			recursive = true
			continue
		}
		dir := path.Clean(a)
		if !path.IsAbs(dir) || !p.isCache(dir) || p.holdsEnvironment(dir) {
			return notPip("rm "+a, line)
		}
	}
	if !recursive || len(args) < 3 {
		return notPip("rm", line)
	}
	return nil
}

// isCache says whether a directory is a cache of one of the tools: in the usual
// place, or where a variable has it and the image has nothing there.
func (p *shell) isCache(dir string) bool {
	home := path.Join(p.env["HOME"], ".cache")
	for _, name := range []string{"", "pip", "uv", "pypoetry", "pipenv", "virtualenv"} {
		if dir == path.Join(home, name) || dir == path.Join("/root/.cache", name) {
			return true
		}
	}
	for _, name := range []string{"PIP_CACHE_DIR", "UV_CACHE_DIR", "POETRY_CACHE_DIR", "PIPENV_CACHE_DIR", "XDG_CACHE_HOME"} {
		if v := p.env[name]; v == "" || path.Clean(v) != dir {
			continue
		}
		if p.o.ReadDir == nil {
			return true
		}
		entries, err := p.o.ReadDir(dir)
		return errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0
	}
	return false
}

// holdsEnvironment says whether virtual environments lie in a cache: Poetry
// makes them there unless told otherwise.
func (p *shell) holdsEnvironment(dir string) bool {
	if p.isMade(dir) {
		return true
	}
	if p.o.ReadDir == nil {
		return false
	}
	for _, name := range []string{"virtualenvs", "pypoetry/virtualenvs"} {
		if entries, err := p.o.ReadDir(path.Join(dir, name)); err == nil && len(entries) > 0 {
			return true
		}
	}
	return false
}

// atLine gives an error the command and the line that it stands on.
func atLine(err error, command string, line int) error {
	var e *WordError
	if errors.As(err, &e) && e.Line == 0 {
		e.Line, e.Command = line, command
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
