// Package python implements the standards of Python packaging, and nothing of
// what is done with them: the text that people, wheels and indexes write goes
// in, values that can be compared come out.
//
//	versions, specifiers      PEP 440
//	requirements, markers     PEP 508, PEP 685 (extras), PEP 751 (markers of lock files)
//	tags, targets             PEP 425, PEP 600 (manylinux), PEP 656 (musllinux)
//	names of files            PEP 427 (wheels), PEP 625 (source distributions)
//	core metadata             versions 1.0 to 2.5
//	requirements files        the grammar of pip
//	locks                     what a resolver answers and an installer needs
//
// Where a standard leaves room, the package does what the reference
// implementation ("packaging") and pip do. Everything is computed for a Target
// that is given: the package never asks which Python, machine, directory or
// environment it runs in, never opens a file or a connection, and runs nothing.
// All input may be hostile: it is bounded, and numbers are exact however large.
package python

import (
	"fmt"
	"strings"
	"unicode"
)

// Limits on what is parsed. All of it comes from strangers, and honest input
// stays below a hundredth of each.
const (
	maxVersionLen     = 16 << 10  // bytes of a version; offsets into one are uint16
	maxSpecifiersLen  = 64 << 10  // bytes of a set of specifiers
	maxRequirementLen = 256 << 10 // bytes of a requirement with its marker
	maxMarkerDepth    = 150       // parentheses within parentheses; the parser recurses
	maxFilenameLen    = 4 << 10   // bytes of a wheel's or sdist's file name
	maxTags           = 8 << 10   // tags that one compressed set stands for
)

// SyntaxError tells where and why a text is not what it should be.
type SyntaxError struct {
	Kind   string // "version", "specifier", "marker", "requirement", "wheel name", ...
	Text   string // the whole text
	Offset int    // in bytes, of the place where Reason holds; -1 = the text as a whole
	Reason string // "expected a comma or the end"
}

// Error shows the text without passwords and cut to a readable length.
func (e *SyntaxError) Error() string {
	where := ""
	if e.Offset > 0 && e.Offset < len(e.Text) {
		where = fmt.Sprintf(" at %q", clip(redact(e.Text[e.Offset:]), 40))
	}
	return fmt.Sprintf("%s %q: %s%s", e.Kind, clip(redact(e.Text), 200), e.Reason, where)
}

// clip cuts a text for a message.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// redact removes user information from the URLs in a text, so that messages
// can quote what was read.
func redact(s string) string {
	const sep = "://"
	if !strings.Contains(s, sep) {
		return s
	}
	var b strings.Builder
	for {
		i := strings.Index(s, sep)
		if i < 0 {
			break
		}
		i += len(sep)
		b.WriteString(s[:i])
		s = s[i:]
		end := strings.IndexAny(s, "/?# \t\"'")
		if end < 0 {
			end = len(s)
		}
		if at := strings.LastIndexByte(s[:end], '@'); at >= 0 {
			b.WriteString("****")
			s = s[at:]
		}
	}
	b.WriteString(s)
	return b.String()
}

// isSpace reports what Python's str.isspace does; the four separators are
// white space there and not in Unicode's property.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func trimSpace(s string) string { return strings.TrimFunc(s, isSpace) }

// isWord reports whether r is of the class \w of Python's regular expressions.
func isWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)
}
