package dockerfile

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"
)

// defaultPath is the PATH of images that have none (BuildKit's and Docker's).
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Scope is the state of one stage while its steps are applied one by one. It is
// not safe for concurrent use.
type Scope struct {
	Stage ResolvedStage
	// Steps are what is to be applied, in order: the ONBUILD triggers of the
	// base, then the stage's own steps.
	Steps []Step
	// Config is the image's configuration as left by the steps so far.
	Config v1.Config
	// Author is the image's author, from the base or MAINTAINER.
	Author string
	// Warnings are those of the steps so far.
	Warnings []Warning

	resolved *Resolved
	lex      *shell.Lex
	env      *environ // what words and RUN see: Config.Env and ARGs
	args     []string // names of ARGs declared so far, for the history
	argValue map[string]string
	cmdSet   bool // by this stage, not its base
	workdir  bool // WORKDIR was used, here or in a stage below
}

// Applied is a step whose effects on the Scope are done.
type Applied struct {
	// Step is the step with its words expanded.
	Step Step
	// CreatedBy is its line of the image's history, as BuildKit writes them,
	// with "# boyabuild" where it has "# buildkit". It is "" for an ONBUILD,
	// of which images keep no history.
	CreatedBy string
	// Layer says that the step is one of those that make a layer: ADD, COPY,
	// RUN, and WORKDIR unless it is "/".
	Layer bool
}

// Begin starts a stage on an image's configuration and author; zero values for
// scratch. The base's ONBUILD triggers become the first of the Scope's steps.
func (r *Resolved) Begin(st ResolvedStage, base v1.Config, author string) (*Scope, error) {
	triggers, err := r.File.triggers(st.Stage, base.OnBuild)
	if err != nil {
		return nil, err
	}
	for _, step := range triggers {
		for _, ref := range refs(step) {
			if ref.IsStage && !slices.ContainsFunc(r.Stages, func(s ResolvedStage) bool { return s.Index == ref.Stage }) {
				return nil, &Error{File: r.File.Name, Line: st.Line,
					Cause: fmt.Errorf("%s, a trigger of the base, needs stage %s, which nothing else does", step.At().Text, ref.Name),
					hint:  fmt.Sprintf("copy something from %s in this stage too", ref.Name)}
			}
		}
	}
	s := r.scope(st, base, triggers)
	s.Author = author
	if _, ok := s.env.Get("PATH"); !ok && st.Platform.OS != "windows" {
		s.setEnv("PATH", defaultPath)
	}
	s.Config.WorkingDir = path.Join("/", s.Config.WorkingDir)
	return s, nil
}

// BeginOn starts a stage on an earlier one, all of whose steps are applied. It
// inherits the configuration, and the ARGs that were declared there.
func (r *Resolved) BeginOn(st ResolvedStage, base *Scope) (*Scope, error) {
	triggers, err := r.File.triggers(st.Stage, base.Config.OnBuild)
	if err != nil {
		return nil, err
	}
	s := r.scope(st, base.Config, triggers)
	s.Author = base.Author
	s.env = base.env.clone()
	s.args = slices.Clone(base.args)
	s.argValue = maps.Clone(base.argValue)
	s.workdir = base.workdir
	return s, nil
}

func (r *Resolved) scope(st ResolvedStage, base v1.Config, triggers []Step) *Scope {
	s := &Scope{
		Stage: st, Config: *base.DeepCopy(), resolved: r,
		lex: shell.NewLex(r.File.Escape), env: &environ{}, argValue: map[string]string{},
	}
	if st.Context == "" {
		s.Steps = append(triggers, st.Steps...)
	}
	s.Config.OnBuild = nil // triggers go no further than one stage
	for _, kv := range s.Config.Env {
		name, value, _ := strings.Cut(kv, "=")
		s.env.set(name, value)
	}
	return s
}

// Env returns the variables that a RUN at this point gets, as "NAME=value": the
// image's, the ARGs', and the proxies given as build arguments.
func (s *Scope) Env() []string {
	var out []string
	for _, name := range s.env.Keys() {
		out = append(out, name+"="+s.env.values[name])
	}
	given := s.resolved.options.BuildArgs
	for _, upper := range proxyArgs {
		lower := strings.ToLower(upper)
		value, ok := given[upper]
		if !ok {
			value, ok = given[lower]
		}
		for _, name := range []string{upper, lower} {
			if _, declared := s.env.Get(name); ok && !declared {
				out = append(out, name+"="+value)
			}
		}
	}
	return out
}

// Shell returns the command that runs a shell form at this point.
func (s *Scope) Shell() []string {
	if len(s.Config.Shell) > 0 {
		return s.Config.Shell
	}
	if s.Stage.Platform.OS == "windows" {
		return []string{"cmd", "/S", "/C"}
	}
	return []string{"/bin/sh", "-c"}
}

// Apply expands a step and takes it into Config, Env and Warnings. Steps are to
// be applied in the order of Steps. Errors are of type *Error.
func (s *Scope) Apply(step Step) (Applied, error) {
	o := step.At()
	if o.node == nil {
		return Applied{}, &Error{File: o.File, Line: o.Line, Cause: fmt.Errorf("%T does not come from a Dockerfile", step)}
	}
	w := &warnings{file: s.resolved.File.Name}
	done, err := s.apply(o, w.linter(s.resolved.File.checks).WithMergedConfigFromComments(o.node.PrevComment))
	s.Warnings = append(s.Warnings, w.list...)
	if err == nil {
		err = w.err(s.resolved.File.checks)
	}
	if err != nil {
		return Applied{}, s.resolved.File.fail(err, o.Line)
	}
	return done, nil
}

func (s *Scope) apply(o Origin, lint *linter.Linter) (Applied, error) {
	// BuildKit's commands are expanded in place, so each time a fresh one.
	cmd, err := parseCommand(o.node)
	if err != nil {
		return Applied{}, err
	}
	if arg, ok := cmd.(*instructions.ArgCommand); ok {
		if err := s.declare(arg, lint); err != nil {
			return Applied{}, err
		}
	} else if err := s.expand(cmd, lint); err != nil {
		return Applied{}, err
	}
	step, err := s.resolved.File.convert(cmd, o, s.Stage.Index, true)
	if err != nil {
		return Applied{}, err
	}
	if step, err = s.configure(step, lint); err != nil {
		return Applied{}, err
	}
	s.lintForm(cmd, lint)
	return Applied{Step: s.absolute(step), CreatedBy: s.createdBy(step), Layer: makesLayer(step)}, nil
}

// expand replaces the variables in a command's words.
func (s *Scope) expand(cmd instructions.Command, lint *linter.Linter) error {
	place := cmd.Location()
	if c, ok := cmd.(instructions.SupportsSingleWordExpansion); ok {
		if err := c.Expand(func(word string) (string, error) { return s.word(s.lex, word, place, lint) }); err != nil {
			return err
		}
	}
	if c, ok := cmd.(instructions.SupportsSingleWordExpansionRaw); ok {
		// Heredocs: variables only, quotes are text; always with a backslash.
		lex := shell.NewLex('\\')
		lex.SkipProcessQuotes = true
		if err := c.ExpandRaw(func(word string) (string, error) { return s.word(lex, word, place, lint) }); err != nil {
			return err
		}
	}
	if c, ok := cmd.(*instructions.ExposeCommand); ok {
		// A variable may hold several ports.
		var ports []string
		for _, p := range c.Ports {
			words, err := s.lex.ProcessWords(p, s.env)
			if err != nil {
				return err
			}
			ports = append(ports, words...)
		}
		c.Ports = ports
	}
	return nil
}

// word expands one word and warns of variables that are not defined.
func (s *Scope) word(lex *shell.Lex, word string, place []parser.Range, lint *linter.Linter) (string, error) {
	value, unmatched, err := lex.ProcessWord(word, s.env)
	for _, name := range slices.Sorted(maps.Keys(unmatched)) {
		if slices.Contains(s.args, name) {
			continue // an ARG without a value is no mistake
		}
		near, _ := suggest.Search(name, s.env.Keys(), true)
		lint.Run(&linter.RuleUndefinedVar, place, linter.RuleUndefinedVar.Format(name, near))
	}
	return value, err
}

// declare takes an ARG into the scope, and its values into the command: that of
// the build argument; else the default, expanded; else that of the ARG of the
// same name before the first FROM, or of a predefined one.
func (s *Scope) declare(c *instructions.ArgCommand, lint *linter.Linter) error {
	for i := range c.Args {
		a := &c.Args[i]
		if given, ok := s.resolved.options.BuildArgs[a.Key]; ok {
			a.Value = &given
		} else if a.Value != nil {
			value, err := s.word(s.lex, *a.Value, c.Location(), lint)
			if err != nil {
				return err
			}
			a.Value = &value
		} else if global, ok := s.resolved.globals.Get(a.Key); ok {
			a.Value = &global
		}
		if !slices.Contains(s.args, a.Key) {
			s.args = append(s.args, a.Key)
		}
		s.argValue[a.Key] = a.ValueString()
		if a.Value != nil {
			// As in BuildKit, the later of ENV and ARG wins within the build;
			// the image has the ENV in any case.
			s.env.set(a.Key, *a.Value)
		}
	}
	return nil
}

// absolute gives paths their meaning under the working directory.
func (s *Scope) absolute(step Step) Step {
	switch st := step.(type) {
	case Copy:
		st.Dest = s.dest(st.Dest)
		return st
	case Add:
		st.Dest = s.dest(st.Dest)
		return st
	case Run:
		for i := range st.Mounts {
			m := &st.Mounts[i]
			if m.Target != "" && !path.IsAbs(m.Target) {
				m.Target = path.Join(s.Config.WorkingDir, m.Target)
			}
		}
		return st
	}
	return step
}

// dest makes a destination absolute; one that names a folder, by a slash or a
// dot at its end, keeps a slash there.
func (s *Scope) dest(p string) string {
	folder := p == "" || p == "." || p == ".." || strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")
	if !path.IsAbs(p) {
		p = path.Join(s.Config.WorkingDir, p)
	}
	p = path.Join("/", p)
	if folder && p != "/" {
		p += "/"
	}
	return p
}
