package source

import (
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxPatterns bounds the patterns of one list: each is matched with each file.
const maxPatterns = 5000

// ignoreList decides as git does by the lines of a .gitignore, with the
// exceptions that back-ends have of it.
type ignoreList []ignorePattern

// ignorePattern is a compiled line. Its expression has one group: the slash
// behind a directory that is matched, by which all in it is.
type ignorePattern struct {
	re     *regexp.Regexp
	negate bool
}

// parseIgnore compiles the lines of a .gitignore. ok is false where a line has
// no meaning or there are too many.
func parseIgnore(lines []string) (list ignoreList, ok bool) {
	if len(lines) > maxPatterns {
		return nil, false
	}
	for _, line := range lines {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if !strings.HasSuffix(line, `\ `) {
			line = strings.TrimRight(line, " \t\v\f\r\n")
		}
		if line == "" || line == "/" || line[0] == '#' {
			continue
		}
		rest, negate := strings.CutPrefix(line, "!")
		expr, valid, usable := ignoreExpression(rest)
		if !usable {
			return nil, false
		}
		if !valid { // git passes over a line with a range that is not closed
			continue
		}
		re, err := regexp.Compile(expr)
		if err != nil {
			return nil, false
		}
		list = append(list, ignorePattern{re, negate})
	}
	return list, true
}

// ignoreExpression translates a line without its "!" (gitignore, "Pattern
// format").
func ignoreExpression(line string) (expr string, valid, usable bool) {
	dirOnly := strings.HasSuffix(line, "/")
	segments := strings.Split(strings.TrimSuffix(line, "/"), "/")
	switch {
	case segments[0] == "":
		segments = segments[1:]
	case len(segments) == 1 && segments[0] != "**":
		segments = append([]string{"**"}, segments...)
	}
	if len(segments) == 0 {
		return "", false, false
	}
	var b strings.Builder
	b.WriteString("^")
	slash := false // what comes next needs one in front
	for i, segment := range segments {
		last := i == len(segments)-1
		if segment == "**" {
			if i > 0 && segments[i-1] == "**" {
				continue
			}
			switch {
			case last && i == 0 && dirOnly:
				b.WriteString("(?:.+/)?[^/]+(/)")
			case last && i == 0:
				b.WriteString(".")
			case last && dirOnly:
				b.WriteString("/[^/]+(/)")
			case last:
				b.WriteString("/")
			case i == 0:
				b.WriteString("(?:.+/)?")
			default:
				b.WriteString("(?:/.+)?")
				slash = true
			}
			if last {
				return b.String(), true, true
			}
			continue
		}
		if slash {
			b.WriteString("/")
		}
		slash = true
		part, ok := segmentExpression(segment)
		if !ok {
			return "", false, !strings.HasSuffix(segment, `\`)
		}
		if segment == "*" {
			part = "[^/]+"
		}
		b.WriteString(part)
	}
	if dirOnly {
		b.WriteString("(/)")
	} else {
		b.WriteString("(?:(/)|$)")
	}
	return b.String(), true, true
}

// segmentExpression translates one element of a path with wildcards and
// backslashes.
func segmentExpression(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		switch r {
		case '\\':
			if i == len(s) {
				return "", false
			}
			r, n = utf8.DecodeRuneInString(s[i:])
			i += n
			b.WriteString(regexp.QuoteMeta(string(r)))
		case '*':
			b.WriteString("[^/]*")
		case '?':
			b.WriteString("[^/]")
		case '[':
			class, end, ok := classExpression(s, i, true)
			if !ok {
				return "", false
			}
			b.WriteString(class)
			i = end
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return b.String(), true
}

// classExpression translates a bracket expression whose content begins at i,
// and returns where it ends.
func classExpression(s string, i int, caret bool) (string, int, bool) {
	j := i
	negate := j < len(s) && (s[j] == '!' || caret && s[j] == '^')
	if negate {
		j++
	}
	start := j
	if j < len(s) && s[j] == ']' {
		j++
	}
	for j < len(s) && s[j] != ']' {
		j++
	}
	if j >= len(s) {
		return "", 0, false
	}
	var b strings.Builder
	b.WriteString("[")
	if negate {
		b.WriteString("^/")
	}
	for k, r := range s[start:j] {
		switch {
		case r == '-' && k > 0 && start+k < j-1:
			b.WriteString("-")
		case r == '-':
			b.WriteString(`\-`)
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	b.WriteString("]")
	return b.String(), j + 1, true
}

// match reports whether a path is ignored. A pattern for the file itself counts
// for more than one for a directory that it lies in; among equals, the last.
func (l ignoreList) match(p string) bool {
	byDirectory := false
	found := false
	for i := len(l) - 1; i >= 0; i-- {
		m := l[i].re.FindStringSubmatchIndex(p)
		if m == nil {
			continue
		}
		if len(m) < 4 || m[2] < 0 {
			return !l[i].negate
		}
		if !found {
			found, byDirectory = true, !l[i].negate
		}
	}
	return byDirectory
}

// globExpression translates a pattern of Python's glob: "*" and "?" stay within
// one element of a path and leave out names that begin with a dot, "**" is any
// number of directories that do not. With hidden, dots are like anything else.
func globExpression(pattern string, hidden bool) (*regexp.Regexp, bool) {
	var b strings.Builder
	b.WriteString("^")
	segments := strings.Split(path.Clean(pattern), "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		visible := ""
		if !hidden {
			visible = "[^/.]"
		} else {
			visible = "[^/]"
		}
		switch {
		case segment == "**" && last:
			b.WriteString("(?:" + visible + "[^/]*/)*" + visible + "[^/]*")
		case segment == "**":
			b.WriteString("(?:" + visible + "[^/]*/)*")
			continue
		default:
			part, ok := globSegment(segment, hidden)
			if !ok {
				return nil, false
			}
			b.WriteString(part)
		}
		if !last {
			b.WriteString("/")
		}
	}
	re, err := regexp.Compile(b.String() + "$")
	return re, err == nil
}

// globSegment translates one element, without backslashes as escapes.
func globSegment(s string, hidden bool) (string, bool) {
	if !hidden && (strings.HasPrefix(s, "*") || strings.HasPrefix(s, "?") || strings.HasPrefix(s, "[")) {
		// A leading wildcard does not match a dot. Go's expressions cannot look
		// ahead, so the first character is written out.
		rest, ok := fnmatchExpression(strings.TrimLeft(s, "*"), "[^/]")
		if !ok {
			return "", false
		}
		switch {
		case s[0] == '*' && strings.TrimLeft(s, "*") == "":
			return "[^/.][^/]*", true
		case s[0] == '*':
			after := strings.TrimLeft(s, "*")
			if after[0] == '.' || after[0] == '?' || after[0] == '[' {
				return "[^/.][^/]*" + rest, true
			}
			return "(?:[^/.][^/]*)?" + rest, true
		case s[0] == '?':
			rest, ok = fnmatchExpression(s[1:], "[^/]")
			return "[^/.]" + rest, ok
		}
		return "", false // "[…]" at the beginning: rare, and not worth the doubt
	}
	return fnmatchExpression(s, "[^/]")
}

// fnmatchExpression translates a pattern of Python's fnmatch, where any is what
// "?" stands for and "*" repeats.
func fnmatchExpression(s, any string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		switch r {
		case '*':
			b.WriteString(any + "*")
		case '?':
			b.WriteString(any)
		case '[':
			class, end, ok := classExpression(s, i, false)
			if !ok {
				b.WriteString(`\[`)
				continue
			}
			b.WriteString(class)
			i = end
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return b.String(), true
}

// fnmatch compiles a pattern of Python's fnmatch, in which "*" also matches
// slashes.
func fnmatch(pattern string) (*regexp.Regexp, bool) {
	expr, ok := fnmatchExpression(pattern, "(?s:.)")
	if !ok {
		return nil, false
	}
	re, err := regexp.Compile("^" + expr + "$")
	return re, err == nil
}

// glob returns the files and directories that match a pattern of Python's glob,
// in order. ok is false where the pattern cannot be followed.
func (s *sourceTree) glob(pattern string, hidden bool) (matches []string, ok bool) {
	if c, inside := clean(pattern); !inside || c == "" || strings.Contains(pattern, "..") {
		return nil, false
	}
	re, ok := globExpression(pattern, hidden)
	if !ok {
		return nil, false
	}
	if strings.Contains(pattern, "/") {
		s.noLinksBelow("")
	}
	for _, e := range s.tree.Entries() {
		if s.kind(e) != 0 && re.MatchString(e.Path) {
			matches = append(matches, e.Path)
		}
	}
	return matches, true
}

// globFiles is glob for files only.
func (s *sourceTree) globFiles(pattern string, hidden bool) ([]string, bool) {
	all, ok := s.glob(pattern, hidden)
	var files []string
	for _, p := range all {
		if s.isFile(p) {
			files = append(files, p)
		}
	}
	return files, ok
}
