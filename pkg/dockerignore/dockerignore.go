// Package dockerignore says which files of a folder belong to a build context.
//
// In goes a .dockerignore file and a directory; out come a [Matcher] and the
// directory's remaining entries, sorted ([Walk]). The rules are those of
// Docker: patterns are read by moby/patternmatcher/ignorefile and mean what
// moby/patternmatcher makes of them, evaluated in the order in which BuildKit
// does it when it sends a context to its daemon.
//
// It never reads a file's content (an [Opener] opens one for others, as safely as
// the walk found it), never follows a symbolic link out of the directory, and
// never looks at the Dockerfile: a Dockerfile and a .dockerignore inside the context
// are files like any other, left out only where a pattern says so. (The builder
// reads both before and apart from the context, so ignoring them is allowed.)
package dockerignore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// Limits on what is read as a .dockerignore: far above any written by hand, far
// below what would make matching a context a denial of service.
const (
	maxFileSize = 1 << 20
	maxPatterns = 10_000
)

// Matcher tells ignored paths from others. The zero value and nil ignore
// nothing. A Matcher is safe for concurrent use.
type Matcher struct {
	name     string
	patterns []pattern
	negates  bool // some pattern starts with "!"
}

// Error is what is wrong with a .dockerignore.
type Error struct {
	File  string // as given to Read
	Line  int    // 1-based; 0 = the file as a whole
	Cause error
}

// Error reads "FILE:LINE: cause".
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Cause)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Cause)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Position returns the file, and the line in it (0 = unknown).
func (e *Error) Position() (string, int) { return e.File, e.Line }

// Read parses a .dockerignore; name is used in errors only, all of which are of
// type *Error.
func Read(name string, r io.Reader) (*Matcher, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return nil, &Error{File: name, Cause: bare(err)}
	}
	if len(data) > maxFileSize {
		return nil, &Error{File: name, Cause: fmt.Errorf("larger than %d bytes", maxFileSize)}
	}
	m := &Matcher{name: name}
	// One line at a time, so that an error has its line; nothing in the
	// format spans lines. The byte-order mark belongs to the first only.
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for i, line := range bytes.Split(data, []byte("\n")) {
		if err := m.add(line); err != nil {
			return nil, &Error{File: name, Line: i + 1, Cause: err}
		}
	}
	return m, nil
}

// New makes a Matcher of patterns written as in a .dockerignore, one a line,
// for patterns that come from elsewhere (COPY --exclude, a configuration file).
func New(patterns ...string) (*Matcher, error) {
	return Read("patterns", strings.NewReader(strings.Join(patterns, "\n")))
}

// add reads one line.
func (m *Matcher) add(line []byte) error {
	// text/scanner, used in patternmatcher, prints to stderr on these.
	if !utf8.Valid(line) {
		return errors.New("not UTF-8")
	}
	if bytes.IndexByte(line, 0) >= 0 {
		return errors.New("contains a NUL byte")
	}
	if len(bytes.TrimSpace(line)) == 0 || line[0] == '#' {
		return nil
	}
	// ignorefile takes a byte-order mark off its first line; only that of the
	// file is one.
	texts, err := ignorefile.ReadAll(io.MultiReader(strings.NewReader("#\n"), bytes.NewReader(line)))
	if err != nil {
		return err
	}
	for _, text := range texts {
		if len(m.patterns) == maxPatterns {
			return fmt.Errorf("more than %d patterns", maxPatterns)
		}
		p, err := compile(text)
		if err != nil {
			return err
		}
		m.patterns = append(m.patterns, p)
		m.negates = m.negates || p.negated
	}
	return nil
}

// Name returns the name given to Read; "" for a Matcher that ignores nothing.
func (m *Matcher) Name() string {
	if m == nil {
		return ""
	}
	return m.name
}

// Patterns returns the patterns in order, cleaned, negated ones with "!".
func (m *Matcher) Patterns() []string {
	if m == nil {
		return nil
	}
	out := make([]string, len(m.patterns))
	for i, p := range m.patterns {
		out[i] = p.String()
	}
	return out
}

// Ignored reports whether path (relative to the context, slash-separated,
// clean) is left out of the context, by a pattern for itself or for a folder it
// lies in. The context itself (".") is never ignored.
func (m *Matcher) Ignored(path string) bool {
	if m == nil || path == "." || path == "" {
		return false
	}
	s := m.top()
	ignored := false
	for i := 0; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			ignored, s.hits = m.match(path[:i], s)
		}
	}
	return ignored
}

// Load returns the Matcher for a build: DOCKERFILE.dockerignore beside the
// Dockerfile if that exists, even if empty, else .dockerignore in the context,
// else one that ignores nothing. This is BuildKit's precedence. Both are paths
// of this machine; dockerfile is "" where there is none.
func Load(context, dockerfile string) (*Matcher, error) {
	if dockerfile != "" {
		m, err := load(dockerfile + ".dockerignore")
		if !errors.Is(err, fs.ErrNotExist) {
			return m, err
		}
	}
	m, err := load(filepath.Join(context, ".dockerignore"))
	if errors.Is(err, fs.ErrNotExist) {
		return &Matcher{}, nil
	}
	return m, err
}

func load(name string) (*Matcher, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, &Error{File: name, Cause: bare(err)}
	}
	defer f.Close()
	return Read(name, f)
}

// bare drops operation and path from an error whose subject is already named.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// state is what matching below a folder needs to know of it.
type state struct {
	// hits says of each pattern whether it matched the folder; nil = none did.
	hits []bool
	// live are the patterns, in order, that matched the folder or may match
	// something below it.
	live []int
}

// top is the state of the context itself.
func (m *Matcher) top() state {
	live := make([]int, len(m.patterns))
	for i := range live {
		live[i] = i
	}
	return state{live: live}
}

// below returns the state of the folder dir, which lies in one of state parent;
// hits are what match returned for dir.
func (m *Matcher) below(dir string, hits []bool, parent state) state {
	out := func(i int) bool { return (hits == nil || !hits[i]) && !m.patterns[i].reaches(dir) }
	live := parent.live
	if slices.ContainsFunc(live, out) {
		live = slices.DeleteFunc(slices.Clone(live), out)
	}
	return state{hits, live}
}

// match reports whether name is ignored, given the state of the folder it lies
// in, and which patterns matched it; nil = none did.
//
// This is PatternMatcher.MatchesUsingParentResults, which BuildKit's context
// transfer uses, with two differences in form: each pattern is a matcher of its
// own here, so that its compilation is done once, up front (it is lazy and not
// safe for concurrent use there), and so that most are told apart by a literal
// before any regular expression runs; and what cannot match in a folder is not
// tried there. TestSameAsPatternMatcher and FuzzSameAsPatternMatcher compare the
// two.
func (m *Matcher) match(name string, parent state) (ignored bool, hits []bool) {
	for _, i := range parent.live {
		p := &m.patterns[i]
		hit := parent.hits != nil && parent.hits[i]
		// A pattern that could not change the verdict is not tried.
		if !hit && p.negated == ignored {
			hit = p.match(name)
		}
		if hit {
			if hits == nil { // nearly all names match nothing
				hits = make([]bool, len(m.patterns))
			}
			hits[i] = true
			ignored = !p.negated
		}
	}
	return ignored, hits
}

// pattern is one line of a .dockerignore.
type pattern struct {
	text    string // cleaned, without "!"
	negated bool
	prefix  string // what every path that matches begins with
	suffix  string // what every path that matches ends with
	inner   string // what every path that matches contains
	matcher *patternmatcher.PatternMatcher
	none    patternmatcher.MatchInfo // "the folder did not match", for matcher
}

func (p pattern) String() string {
	if p.negated {
		return "!" + p.text
	}
	return p.text
}

// compile makes a pattern of a line as ignorefile returns it.
func compile(text string) (pattern, error) {
	bad := fmt.Errorf("bad pattern %q", text)
	m, err := patternmatcher.New([]string{text})
	switch {
	case text == "!" || text == "!/":
		return pattern{}, fmt.Errorf("%q un-ignores nothing", text)
	case err != nil || len(m.Patterns()) != 1:
		return pattern{}, bad
	}
	p := pattern{matcher: m, text: m.Patterns()[0].String(), negated: m.Patterns()[0].Exclusion()}
	if p.negated {
		// The same pattern without its "!": it may begin with another, or with
		// a space, which New would take off.
		positive := p.text
		if rest, ok := strings.CutPrefix(positive, "!"); ok {
			positive = "[!]" + rest
		}
		if p.matcher, err = patternmatcher.New([]string{"./" + positive + "/."}); err != nil {
			return pattern{}, bad
		}
	}
	p.prefix, p.suffix, p.inner = literals(p.text)

	// Matching once compiles the regular expression, and yields "the folder
	// did not match", to pass in later; from a pattern that is sure not to
	// where this one matches anything.
	hit, none, err := p.matcher.MatchesUsingParentResults("\x01", patternmatcher.MatchInfo{})
	if hit {
		if m, err = patternmatcher.New([]string{"\x02"}); err == nil {
			_, none, err = m.MatchesUsingParentResults("\x01", patternmatcher.MatchInfo{})
		}
	}
	if err != nil {
		return pattern{}, bad
	}
	p.none = none
	return p, nil
}

// match reports whether the pattern matches name itself.
func (p *pattern) match(name string) bool {
	if !strings.HasPrefix(name, p.prefix) || !strings.HasSuffix(name, p.suffix) || !strings.Contains(name, p.inner) {
		return false
	}
	// Errors are those of the compilation, which is done.
	hit, _, _ := p.matcher.MatchesUsingParentResults(name, p.none)
	return hit
}

// unplain are the characters with which a pattern's meaning is not told by its
// "*" and "?" alone: those of path/filepath.Match, those that patternmatcher
// hands to the regular expression as they are, and the two that text/scanner
// and regexp treat in their own way (byte-order mark, replacement character).
const unplain = `[]\{|}^` + "\ufeff\ufffd"

// literals returns what every name that matches the pattern starts with, ends
// with and contains; all are empty for a pattern that isn't plain.
func literals(text string) (prefix, suffix, inner string) {
	if strings.ContainsAny(text, unplain) {
		return "", "", ""
	}
	prefix = text
	for rest := text; ; {
		i := strings.IndexAny(rest, "*?")
		if i < 0 {
			return prefix, rest, longer(inner, rest)
		}
		if len(rest) == len(text) {
			prefix = rest[:i]
		}
		inner = longer(inner, rest[:i])
		wild := rest[i:]
		rest = strings.TrimLeft(wild, "*?")
		// "**/" also stands for nothing: "**/foo" matches "foo", "a/**/b" "a/b".
		if strings.HasSuffix(wild[:len(wild)-len(rest)], "**") {
			rest = strings.TrimPrefix(rest, "/")
		}
	}
}

func longer(a, b string) string {
	if len(b) > len(a) {
		return b
	}
	return a
}

// reaches reports whether the pattern may match something below dir. It errs on
// the side of yes.
func (p *pattern) reaches(dir string) bool {
	if strings.ContainsAny(p.text, unplain) {
		return true // a class may match "/", a "|" goes round the anchors
	}
	pat := p.text
	for {
		name, dirRest, dirMore := strings.Cut(dir, "/")
		glob, patRest, patMore := strings.Cut(pat, "/")
		if strings.Contains(glob, "**") {
			return true
		}
		if ok, err := path.Match(glob, name); err != nil || !ok {
			return err != nil
		}
		if !patMore {
			return false // matches dir or a folder above, and is in their state
		}
		if !dirMore {
			return true
		}
		dir, pat = dirRest, patRest
	}
}

// prunes reports whether nothing below dir, which is ignored, can be un-ignored.
func (m *Matcher) prunes(dir string) bool {
	if !m.negates {
		return true
	}
	for i := range m.patterns {
		if p := &m.patterns[i]; p.negated && p.reaches(dir) {
			return false
		}
	}
	return true
}
