// Package dockerfile reads a Dockerfile and evaluates its instructions.
//
// In goes the text of a Dockerfile; out comes a [File]: stages of typed steps,
// each with its place in the file. [File.Resolve] adds what is known before
// anything is built (build arguments, target, platforms) and says which stages
// are needed and what they stand on. A [Scope] then goes through one stage, step
// by step, driven by the builder: it expands variables, keeps the image's
// configuration as Docker would, and gives each step back ready to be carried
// out.
//
// Text is parsed and words are expanded by BuildKit's own packages, so that a
// Dockerfile means here what it means there; what BuildKit does around them
// (scopes of ARG, effects on the configuration, lines of the history) follows
// its Dockerfile frontend.
//
// The package reads no files but the one it is handed, runs nothing, fetches
// nothing, and knows neither build contexts nor layers.
package dockerfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// maxFileSize bounds what is read as a Dockerfile: BuildKit's own limit, that of
// one message to its daemon.
const maxFileSize = 16 << 20

// File is a parsed Dockerfile. It is not changed by evaluating it, and may be
// evaluated several times at once (for several platforms).
type File struct {
	Name string // as given to Parse
	// Syntax is the value of the directive "# syntax=", "" without one. It
	// names a frontend image, which is not run: the built-in one is used.
	Syntax   string
	Escape   rune      // '\\' or '`', by the directive "# escape="
	MetaArgs []Arg     // the ARGs before the first FROM
	Stages   []Stage   // at least one
	Warnings []Warning // from the text alone; Resolved and Scope have more

	checks *linter.Config // by the directive "# check="
}

// Stage is one FROM and what follows it.
type Stage struct {
	Origin
	Index    int    // in File.Stages
	Name     string // after AS, in lower case; "" without
	From     string // the base as written, variables not expanded
	Platform string // --platform as written
	Steps    []Step
}

// Label names a stage for people: its name, or "stage-N" by its index.
func (s *Stage) Label() string {
	if s.Name != "" {
		return s.Name
	}
	return fmt.Sprintf("stage-%d", s.Index)
}

// Parse reads a Dockerfile; name is used in positions and errors, all of which
// are of type *Error.
func Parse(name string, r io.Reader) (*File, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return nil, &Error{File: name, Cause: err}
	}
	if len(data) > maxFileSize {
		return nil, &Error{File: name, Cause: fmt.Errorf("larger than %d bytes", maxFileSize)}
	}
	if err := check(name, data); err != nil {
		return nil, err
	}
	return parse(name, data)
}

// check finds what BuildKit's parser would report without a usable line, or let
// its scanner print to stderr.
func check(name string, data []byte) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return &Error{File: name, Cause: errors.New("is empty"), hint: "a Dockerfile begins with FROM"}
	}
	var directives parser.DirectiveParser
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		fail := func(format string, args ...any) error {
			return &Error{File: name, Line: i + 1, Cause: fmt.Errorf(format, args...)}
		}
		if i == 0 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		switch {
		case len(line) >= bufio.MaxScanTokenSize:
			return fail("line is longer than %d bytes", bufio.MaxScanTokenSize-1)
		case !utf8.Valid(line):
			return fail("not UTF-8")
		case bytes.IndexByte(line, 0) >= 0:
			return fail("contains a NUL byte")
		}
		d, err := directives.ParseLine(bytes.TrimSpace(line))
		if err != nil {
			return fail("%w", err)
		}
		if d != nil && d.Name == "escape" && d.Value != `\` && d.Value != "`" {
			return fail("escape directive %q is neither \\ nor `", d.Value)
		}
	}
	return nil
}

// parse builds the File of checked text.
func parse(name string, data []byte) (*File, error) {
	f := &File{Name: name}
	f.Syntax, _, _, _ = parser.DetectSyntax(data)
	options, _, place, _ := parser.ParseDirective("check", data)
	var err error
	if f.checks, err = linter.ParseLintOptions(options); err != nil {
		return nil, f.fail(err, firstLine(place))
	}
	result, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, f.fail(err, 0)
	}
	f.Escape = result.EscapeToken

	warnings := &warnings{file: name}
	lint := warnings.linter(f.checks)
	for _, w := range result.Warnings {
		lint.Run(&linter.RuleNoEmptyContinuation, []parser.Range{*w.Location}, linter.RuleNoEmptyContinuation.Format())
	}
	for _, node := range result.AST.Children {
		if err := f.add(node, lint); err != nil {
			return nil, err
		}
	}
	if len(f.Stages) == 0 {
		return nil, f.fail(errors.New("no FROM, so there is nothing to build"), 0)
	}
	f.lintStages(lint)
	f.Warnings = warnings.list
	if err := warnings.err(f.checks); err != nil {
		return nil, err
	}
	return f, nil
}

// add appends one instruction.
func (f *File) add(node *parser.Node, lint *linter.Linter) error {
	parsed, err := instructions.ParseInstructionWithLinter(node, lint)
	if err != nil {
		return f.fail(err, node.StartLine)
	}
	origin := Origin{File: f.Name, Line: node.StartLine, EndLine: node.EndLine, Text: strings.TrimSpace(node.Original), node: node}
	if st, ok := parsed.(*instructions.Stage); ok {
		f.Stages = append(f.Stages, Stage{
			Origin: origin, Index: len(f.Stages),
			Name: st.Name, From: st.BaseName, Platform: st.Platform,
		})
		return nil
	}
	step, err := f.convert(parsed.(instructions.Command), origin, len(f.Stages)-1, false)
	if err != nil {
		return f.fail(err, node.StartLine)
	}
	if len(f.Stages) == 0 {
		arg, ok := step.(Arg)
		if !ok {
			return f.fail(fmt.Errorf("%s before the first FROM", strings.ToUpper(node.Value)), node.StartLine)
		}
		f.MetaArgs = append(f.MetaArgs, arg)
		return nil
	}
	st := &f.Stages[len(f.Stages)-1]
	st.Steps = append(st.Steps, step)
	return nil
}

// ref finds what a --from names, seen from the stage with the given index: an
// earlier stage by name or, where numbers counts, by index, else an image or a
// named context.
func (f *File) ref(name string, stage int, numbers bool) (Ref, error) {
	if numbers && isNumber(name) {
		for i := range f.Stages[:max(stage, 0)] {
			if fmt.Sprint(i) == name {
				return Ref{Name: name, Stage: i, IsStage: true}, nil
			}
		}
		return Ref{}, fmt.Errorf("--from=%s: there is no such stage before this one", name)
	}
	if i, ok := f.find(name, stage); ok {
		return Ref{Name: name, Stage: i, IsStage: true}, nil
	}
	return Ref{Name: name}, nil
}

// find returns the last stage of that name before the one with the index before.
func (f *File) find(name string, before int) (int, bool) {
	for i := before - 1; i >= 0; i-- {
		if f.Stages[i].Name != "" && strings.EqualFold(f.Stages[i].Name, name) {
			return i, true
		}
	}
	return 0, false
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// lintStages runs the checks for which all stages must be known.
func (f *File) lintStages(lint *linter.Linter) {
	seen := map[string]bool{}
	for i := range f.Stages {
		st := &f.Stages[i]
		own := lint.WithMergedConfigFromComments(st.node.PrevComment)
		if st.Name == "scratch" || st.Name == "context" {
			own.Run(&linter.RuleReservedStageName, st.node.Location(), linter.RuleReservedStageName.Format(st.Name))
		}
		if st.Name != "" && seen[st.Name] {
			own.Run(&linter.RuleDuplicateStageName, st.node.Location(), linter.RuleDuplicateStageName.Format(st.Name))
		}
		seen[st.Name] = true
		lintOnce(st.Steps, lint)
	}
}

// lintOnce warns of instructions that a later one of the same stage undoes.
func lintOnce(steps []Step, lint *linter.Linter) {
	last := map[string]Origin{}
	for _, step := range steps {
		switch step.(type) {
		case Cmd, Entrypoint, Healthcheck:
		default:
			continue
		}
		o := step.At()
		word := strings.ToUpper(o.node.Value)
		if before, ok := last[word]; ok {
			lint.WithMergedConfigFromComments(o.node.PrevComment).Run(&linter.RuleMultipleInstructionsDisallowed,
				before.node.Location(), linter.RuleMultipleInstructionsDisallowed.Format(word))
		}
		last[word] = o
	}
}
