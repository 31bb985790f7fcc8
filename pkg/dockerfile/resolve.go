package dockerfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"
)

// Options is what is asked of a build.
type Options struct {
	BuildArgs map[string]string
	// Target is the stage to build, by name or index; "" = the last.
	Target string
	// Platform is what is built for, BuildPlatform where it is built. Zero:
	// Linux on this machine's architecture; for Platform, BuildPlatform.
	Platform, BuildPlatform v1.Platform
	// Contexts are the names of additional build contexts. A stage of that
	// name is replaced by the context.
	Contexts []string
}

// Resolved is a File as a build with certain options sees it.
type Resolved struct {
	File *File
	// Stages are those that the target needs, the target last; each comes
	// after all that it needs itself.
	Stages   []ResolvedStage
	Warnings []Warning

	options Options
	globals *environ // ARGs before the first FROM and predefined ones
}

// ResolvedStage is a Stage and what it stands on.
type ResolvedStage struct {
	*Stage
	// Base is an image, a named context, "scratch", or an earlier stage.
	Base Ref
	// Platform is what the stage's image is for.
	Platform v1.Platform
	// Context is the name of the build context that takes the stage's place,
	// whose steps then play no part; "" for none.
	Context string
	// Needs are the indices, in File.Stages, of the stages that Base, COPY
	// and RUN --mount refer to, in ascending order.
	Needs []int
}

// Resolve evaluates what comes before any stage and finds the stages that the
// target needs. Errors are of type *Error.
func (f *File) Resolve(o Options) (*Resolved, error) {
	if o.BuildPlatform.OS == "" {
		o.BuildPlatform = hostPlatform()
	}
	if o.Platform.OS == "" {
		o.Platform = o.BuildPlatform
	}
	o.Platform, o.BuildPlatform = normal(o.Platform), normal(o.BuildPlatform)

	target, err := f.target(o.Target)
	if err != nil {
		return nil, err
	}
	r := &Resolved{File: f, options: o}
	if err := r.setGlobals(f.Stages[target].Name); err != nil {
		return nil, err
	}
	w := &warnings{file: f.Name}
	all := make([]ResolvedStage, 0, target+1)
	for i := range f.Stages[:target+1] {
		st, err := r.stage(&f.Stages[i], all, w)
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	r.Stages = needed(all, target)
	w.list = append(w.list, f.unusedArgs(o.BuildArgs)...)
	r.Warnings = w.list
	return r, w.err(f.checks)
}

// target finds the stage to build.
func (f *File) target(name string) (int, error) {
	if name == "" {
		return len(f.Stages) - 1, nil
	}
	if i, ok := f.find(name, len(f.Stages)); ok {
		return i, nil
	}
	var names []string
	for i := range f.Stages {
		if fmt.Sprint(i) == name {
			return i, nil
		}
		if f.Stages[i].Name != "" {
			names = append(names, f.Stages[i].Name)
		}
	}
	e := &Error{File: f.Name, hint: didYouMean(name, names)}
	if len(names) == 0 {
		e.Cause = fmt.Errorf("there is no stage %q: no stage has a name", name)
	} else {
		e.Cause = fmt.Errorf("there is no stage %q: the stages are %s", name, strings.Join(names, ", "))
	}
	return 0, e
}

// platformArgs are the ARGs that exist without being given.
func (r *Resolved) platformArgs(target string) []Var {
	if target == "" {
		target = "default"
	}
	b, t := r.options.BuildPlatform, r.options.Platform
	return []Var{
		{"BUILDPLATFORM", v1.Platform{OS: b.OS, Architecture: b.Architecture, Variant: b.Variant}.String()},
		{"BUILDOS", b.OS},
		{"BUILDOSVERSION", b.OSVersion},
		{"BUILDARCH", b.Architecture},
		{"BUILDVARIANT", b.Variant},
		{"TARGETPLATFORM", v1.Platform{OS: t.OS, Architecture: t.Architecture, Variant: t.Variant}.String()},
		{"TARGETOS", t.OS},
		{"TARGETOSVERSION", t.OSVersion},
		{"TARGETARCH", t.Architecture},
		{"TARGETVARIANT", t.Variant},
		{"TARGETSTAGE", target},
	}
}

// setGlobals evaluates the ARGs before the first FROM: they see predefined ones
// and each other, and are seen by FROM and by an ARG without a default.
func (r *Resolved) setGlobals(target string) error {
	r.globals = &environ{}
	for _, v := range r.platformArgs(target) {
		if given, ok := r.options.BuildArgs[v.Name]; ok {
			v.Value = given
		}
		r.globals.set(v.Name, v.Value)
	}
	for _, arg := range r.File.MetaArgs {
		for _, a := range arg.Args {
			if given, ok := r.options.BuildArgs[a.Name]; ok {
				r.globals.set(a.Name, given)
				continue
			}
			if !a.Set {
				continue
			}
			value, _, err := shell.NewLex(r.File.Escape).ProcessWord(a.Value, r.globals)
			if err != nil {
				return r.File.fail(err, arg.Line)
			}
			r.globals.set(a.Name, value)
		}
	}
	return nil
}

// stage resolves one stage, given those before it.
func (r *Resolved) stage(st *Stage, before []ResolvedStage, w *warnings) (ResolvedStage, error) {
	out := ResolvedStage{Stage: st, Platform: r.options.Platform}
	fail := func(err error) (ResolvedStage, error) { return out, r.File.fail(err, st.Line) }
	if st.Name != "" && slices.ContainsFunc(r.options.Contexts, func(name string) bool { return strings.EqualFold(name, st.Name) }) {
		out.Context = st.Name
		out.Base = Ref{Name: st.Name}
		return out, nil
	}
	base, err := r.expandFrom(st, st.From, w)
	if err != nil {
		return fail(err)
	}
	if base == "" {
		return fail(fmt.Errorf("FROM %s is empty once its variables are expanded", st.From))
	}
	if out.Base, err = r.File.ref(base, st.Index, false); err != nil {
		return fail(err)
	}
	if st.Platform != "" {
		text, err := r.expandFrom(st, st.Platform, w)
		if err != nil {
			return fail(err)
		}
		if text == "" {
			return fail(fmt.Errorf("--platform=%s is empty once its variables are expanded", st.Platform))
		}
		if out.Platform, err = ParsePlatform(text); err != nil {
			return fail(err)
		}
	}
	steps := st.Steps
	if out.Base.IsStage {
		// A stage on a stage is for the same platform, and runs its triggers.
		parent := before[out.Base.Stage]
		out.Platform = parent.Platform
		triggers, err := r.File.triggers(st, onbuilds(parent))
		if err != nil {
			return out, err
		}
		steps = append(triggers, steps...)
		out.Needs = append(out.Needs, out.Base.Stage)
	}
	for _, step := range steps {
		for _, ref := range refs(step) {
			if ref.IsStage {
				out.Needs = append(out.Needs, ref.Stage)
			}
		}
	}
	slices.Sort(out.Needs)
	out.Needs = slices.Compact(out.Needs)
	return out, nil
}

// expandFrom expands a word of a FROM, where only global ARGs are known.
func (r *Resolved) expandFrom(st *Stage, word string, w *warnings) (string, error) {
	value, unmatched, err := shell.NewLex(r.File.Escape).ProcessWord(word, r.globals)
	if err != nil {
		return "", err
	}
	// An ARG without a default is known, though it has no value.
	for _, arg := range r.File.MetaArgs {
		for _, a := range arg.Args {
			delete(unmatched, a.Name)
		}
	}
	lint := w.linter(r.File.checks).WithMergedConfigFromComments(st.node.PrevComment)
	for _, name := range slices.Sorted(maps.Keys(unmatched)) {
		near, _ := suggest.Search(name, r.globals.Keys(), true)
		lint.Run(&linter.RuleUndefinedArgInFrom, st.node.Location(), linter.RuleUndefinedArgInFrom.Format(name, near))
	}
	return value, nil
}

// refs are what a step refers to by --from.
func refs(step Step) []Ref {
	switch s := step.(type) {
	case Copy:
		if s.From.Name != "" {
			return []Ref{s.From}
		}
	case Run:
		return s.sources
	}
	return nil
}

// onbuilds are the triggers that a stage leaves to those that stand on it.
func onbuilds(st ResolvedStage) []string {
	var out []string
	if st.Context == "" {
		for _, step := range st.Steps {
			if o, ok := step.(Onbuild); ok {
				out = append(out, o.Trigger)
			}
		}
	}
	return out
}

// triggers parses ONBUILD triggers to be run at the start of st.
func (f *File) triggers(st *Stage, texts []string) ([]Step, error) {
	var out []Step
	for _, text := range texts {
		fail := func(err error) error {
			return &Error{File: f.Name, Line: st.Line, Cause: fmt.Errorf("ONBUILD %s: %w", oneLine(text), err)}
		}
		if err := check(f.Name, []byte(text)); err != nil {
			return nil, fail(errors.Unwrap(err))
		}
		result, err := parser.Parse(strings.NewReader(text))
		if err != nil {
			return nil, fail(err)
		}
		if len(result.AST.Children) != 1 {
			return nil, fail(errors.New("not one instruction"))
		}
		node := result.AST.Children[0]
		node.StartLine, node.EndLine = st.Line, st.EndLine
		cmd, err := parseCommand(node)
		if err != nil {
			return nil, fail(err)
		}
		step, err := f.convert(cmd, Origin{
			File: f.Name, Line: st.Line, EndLine: st.EndLine, Text: strings.TrimSpace(node.Original), Trigger: true, node: node,
		}, st.Index, false)
		if err != nil {
			return nil, fail(err)
		}
		out = append(out, step)
	}
	return out, nil
}

// needed are the stages that the target stands on, in order.
func needed(all []ResolvedStage, target int) []ResolvedStage {
	wanted := map[int]bool{target: true}
	for i := target; i >= 0; i-- {
		if wanted[i] {
			for _, n := range all[i].Needs {
				wanted[n] = true
			}
		}
	}
	var out []ResolvedStage
	for i, st := range all {
		if wanted[i] {
			out = append(out, st)
		}
	}
	return out
}

// proxyArgs are arguments that a RUN gets as variables without an ARG.
var proxyArgs = [...]string{"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"}

func isProxyArg(name string) bool {
	return slices.Contains(proxyArgs[:], strings.ToUpper(name))
}

// unusedArgs warns of build arguments that no ARG asks for.
func (f *File) unusedArgs(given map[string]string) []Warning {
	var declared []string
	collect := func(a Arg) {
		for _, v := range a.Args {
			declared = append(declared, v.Name)
		}
	}
	for _, a := range f.MetaArgs {
		collect(a)
	}
	for i := range f.Stages {
		for _, step := range f.Stages[i].Steps {
			switch s := step.(type) {
			case Arg:
				collect(s)
			case Onbuild:
				if steps, err := f.triggers(&f.Stages[i], []string{s.Trigger}); err == nil {
					if a, ok := steps[0].(Arg); ok {
						collect(a)
					}
				}
			}
		}
	}
	known := slices.Clone(declared)
	for _, v := range (&Resolved{}).platformArgs("") {
		known = append(known, v.Name)
	}
	var out []Warning
	for _, name := range slices.Sorted(maps.Keys(given)) {
		// BUILDKIT_… and SOURCE_DATE_EPOCH speak to the builder.
		if slices.Contains(known, name) || isProxyArg(name) || strings.HasPrefix(name, "BUILDKIT_") || name == "SOURCE_DATE_EPOCH" {
			continue
		}
		text := fmt.Sprintf("build argument %s is not used: no ARG declares it", name)
		if near, ok := suggest.Search(name, sorted(declared), true); ok {
			text += fmt.Sprintf(" (did you mean %s?)", near)
		}
		out = append(out, Warning{File: f.Name, Text: text})
	}
	return out
}
