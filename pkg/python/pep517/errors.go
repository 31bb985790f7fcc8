package pep517

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
)

// BuildError says that a build back-end did not do what was asked of it.
type BuildError struct {
	// Backend is its name: "setuptools.build_meta".
	Backend string
	// Stage is where it ended: "import" (of the back-end), the name of the hook
	// ("build_wheel", "metadata", …), or "run" where the Python itself ended badly.
	Stage string
	// Reason is the cause in a line, as the Python says it: "ValueError: no name".
	Reason string
	// Module is the module that could not be imported, where that is the cause.
	Module string
	// Tail are the last lines that the back-end and what it ran wrote.
	Tail string
	// Err is the cause, where there is one beside the reason.
	Err error
}

func (e *BuildError) Error() string {
	what := map[string]string{
		"import": "import it", "run": "run it", "metadata": "prepare metadata",
		"build_wheel": "build a wheel", "build_editable": "build an editable wheel",
	}[e.Stage]
	if what == "" {
		what = e.Stage
	}
	return fmt.Sprintf("build back-end %s: %s: %s", e.Backend, what, e.Reason)
}

// Unwrap returns the cause.
func (e *BuildError) Unwrap() error { return e.Err }

// missing are what builds lack, by what they say then, the surest first; "%s" is
// what the first group found.
var missing = []struct {
	said *regexp.Regexp
	hint string
}{
	{regexp.MustCompile(`(?i)(?:temporary failure in name resolution|name or service not known|network is unreachable|failed to establish a new connection)`),
		"the build wants to fetch something, and runs without a network: take a version that has a wheel"},
	{regexp.MustCompile("(?i)(?:can't find rust compiler|cargo, the rust package manager, is not installed|linker `cc` not found|rustc(?:: | is )not (?:found|installed))"),
		"there is no wheel for this platform, and building one needs a Rust compiler: take a version or a Python that has a wheel"},
	{regexp.MustCompile(`fatal error: (Python\.h): No such file`), pythonHint},
	{regexp.MustCompile(`fatal error: (\S+\.h(?:pp)?): No such file`),
		"there is no wheel for this platform, and building one needs the headers with %s: take a version or a Python that has a wheel, or a base that has them"},
	{regexp.MustCompile(`(?:command '[^'\n]*?([\w+.-]+)' failed: No such file|unable to execute '([^'\n]+)'|No such file or directory: '([\w./+-]*(?:cc|[gc]\+\+|clang(?:\+\+)?))'|\b(g?cc|[gc]\+\+|clang): (?:command )?not found|(?:Unknown|find a|No usable) (compiler)|No (CMAKE_C(?:XX)?_COMPILER))`),
		"there is no wheel for this platform, and building one needs a compiler: take a version or a Python that has a wheel, or a base that has gcc and the Python's headers"},
	{regexp.MustCompile(`(pg_config|mysql_config|pkg-config|cmake|ninja|swig|make|nasm|xml2-config|xslt-config)(?: executable|:|' | is) ?(?:not|could not|no such)`),
		"there is no wheel for this platform, and building one needs %s: take a version or a Python that has a wheel, or a base that has it"},
}

const pythonHint = "there is no wheel for this platform, and building one needs a compiler and the Python's headers: take a version or a Python that has a wheel, or a base that has them"

// Hint says what the user can do, where what the build lacked is known.
func (e *BuildError) Hint() string {
	text := e.Tail + "\n" + e.Reason
	for _, m := range missing {
		found := m.said.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		if strings.Contains(m.hint, "%s") {
			return fmt.Sprintf(m.hint, found[1])
		}
		return m.hint
	}
	switch {
	case e.Module != "" && e.Stage == "import":
		return fmt.Sprintf("name what has %s in build-system.requires of its pyproject.toml", e.Module)
	case e.Module != "":
		return fmt.Sprintf("the build needs %s, which is not in its build-system.requires: take a version that has a wheel", e.Module)
	case e.Stage == "build_editable":
		return "install it without -e: in an image it cannot be edited"
	}
	return ""
}

// failure is an error in what the back-end answered.
func (in Input) failure(stage, reason string, err error) error {
	return &BuildError{Backend: in.backend(), Stage: stage, Reason: reason + ": " + err.Error(), Err: err}
}

// transcript passes what a build says on to a log and keeps the end of it.
type transcript struct {
	log  *slog.Logger
	mu   sync.Mutex
	kept []byte
	line []byte
}

const (
	maxTail = 16 << 10 // a traceback and what the compiler said before it
	maxLine = 4 << 10  // of the log
)

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if n := len(t.kept) - maxTail; n > 0 {
		t.kept = append(t.kept[:0], t.kept[n:]...)
	}
	if t.log == nil {
		return len(p), nil
	}
	rest := p
	for {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		if room := maxLine - len(t.line); len(line) > room {
			line = line[:room]
		}
		t.line = append(t.line, line...)
		if !found {
			return len(p), nil
		}
		t.flush()
		rest = after
	}
}

func (t *transcript) flush() {
	if line := bytes.TrimRight(t.line, "\r "); len(line) > 0 {
		t.log.Debug(printable(line))
	}
	t.line = t.line[:0]
}

// end logs a last line without an end.
func (t *transcript) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log != nil {
		t.flush()
	}
}

func (t *transcript) tail() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.kept
	if len(b) == maxTail { // begin with a whole line
		if _, after, ok := bytes.Cut(b, []byte("\n")); ok {
			b = after
		}
	}
	return strings.TrimSpace(printable(b))
}

// oneLine is what an error says of a text that the build chose.
func oneLine(s string) string {
	const limit = 500 // bytes
	s, _, _ = strings.Cut(strings.TrimSpace(printable([]byte(s))), "\n")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// printable drops what would do something to a terminal.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if (r < ' ' && r != '\n' && r != '\t') || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return -1
		}
		return r
	}, string(bytes.ToValidUTF8(b, []byte("?"))))
}
