package dockerfile

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/util/suggest"
)

// Error is what is wrong with a Dockerfile or with what was asked of it.
type Error struct {
	File  string // as given to Parse
	Line  int    // 1-based, where the instruction begins; 0 = the file as a whole
	Cause error
	hint  string
}

// Error reads "FILE:LINE: cause", on one line.
func (e *Error) Error() string {
	cause := oneLine(e.Cause.Error())
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, cause)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, cause)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Position returns the file, and the line in it (0 = unknown).
func (e *Error) Position() (string, int) { return e.File, e.Line }

// Hint says what can be done about it; "" where that is not known.
func (e *Error) Hint() string { return e.hint }

// fail makes an *Error of one from BuildKit's packages; line is used where the
// error has none.
func (f *File) fail(err error, line int) error {
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	var located *parser.LocationError
	if errors.As(err, &located) && len(located.Locations) > 0 {
		if n := firstLine(located.Locations[0]); n > 0 {
			line = n
		}
	}
	e := &Error{File: f.Name, Line: line, Cause: err}
	var unknown *instructions.UnknownInstructionError
	if errors.As(err, &unknown) {
		e.Cause = fmt.Errorf("unknown instruction %s", strings.ToUpper(unknown.Instruction))
		names := make([]string, 0, len(command.Commands))
		for name := range command.Commands {
			names = append(names, strings.ToUpper(name))
		}
		e.hint = didYouMean(strings.ToUpper(unknown.Instruction), names)
	}
	return e
}

// didYouMean is a hint at the nearest of the known names; "" if none is near.
func didYouMean(name string, known []string) string {
	if near, ok := suggest.Search(name, sorted(known), true); ok {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return ""
}

// oneLine puts BuildKit's messages into the form of ours: one line that begins
// in lower case unless with a name, and does not speak of failing.
func oneLine(s string) string {
	s = strings.NewReplacer(
		"failed to ", "cannot ",
		"(\ufffd)", "(end of word)", // shell.Lex prints its end-of-file mark
	).Replace(strings.Join(strings.Fields(s), " "))
	first, size := utf8.DecodeRuneInString(s)
	if next, _ := utf8.DecodeRuneInString(s[size:]); unicode.IsUpper(first) && unicode.IsLower(next) {
		return string(unicode.ToLower(first)) + s[size:]
	}
	return s
}

func firstLine(place []parser.Range) int {
	if len(place) == 0 {
		return 0
	}
	return place[0].Start.Line
}

// Warning is something that builds, but may not do what was meant.
type Warning struct {
	File string
	Line int    // 0 = the file as a whole
	Rule string // the name of BuildKit's build check, "" for one of ours
	Text string
}

// String reads "FILE:LINE: text (rule)".
func (w Warning) String() string {
	s := (&Error{File: w.File, Line: w.Line, Cause: errors.New(w.Text)}).Error()
	if w.Rule != "" {
		s += " (" + w.Rule + ")"
	}
	return s
}

// warnings collects Warnings of one file.
type warnings struct {
	file string
	list []Warning
}

// linter makes a linter that reports into w, as far as config wants.
func (w *warnings) linter(config *linter.Config) *linter.Linter {
	c := *config
	c.Warn = func(rule, _, _, text string, place []parser.Range) {
		w.list = append(w.list, Warning{File: w.file, Line: firstLine(place), Rule: rule, Text: text})
	}
	return linter.New(&c)
}

// err is the first warning if "# check=error=true" makes errors of them.
func (w *warnings) err(config *linter.Config) error {
	for _, x := range w.list {
		if config.ReturnAsError && x.Rule != "" {
			return &Error{File: x.File, Line: x.Line, Cause: fmt.Errorf("%s (%s)", x.Text, x.Rule),
				hint: `the directive "# check=error=true" makes this an error`}
		}
	}
	return nil
}
