package python

import (
	"strings"
	"unicode/utf8"
)

// scanner walks over the text of a requirement or a marker (PEP 508,
// "Grammar"). Its methods read one token if it comes next, and otherwise leave
// the position where it is.
type scanner struct {
	kind  string // of SyntaxErrors
	src   string
	pos   int
	depth int // of parentheses in a marker
}

func (s *scanner) errorf(reason string) error { return s.errorAt(s.pos, reason) }

func (s *scanner) errorAt(pos int, reason string) error {
	return &SyntaxError{s.kind, s.src, pos, reason}
}

func (s *scanner) rest() string { return s.src[s.pos:] }

func (s *scanner) done() bool { return s.pos == len(s.src) }

// space skips blanks and tabs, which is all the white space that PEP 508 has,
// and reports whether there were any.
func (s *scanner) space() bool {
	start := s.pos
	for s.pos < len(s.src) && (s.src[s.pos] == ' ' || s.src[s.pos] == '\t') {
		s.pos++
	}
	return s.pos > start
}

// literal reads the text given.
func (s *scanner) literal(text string) bool {
	if !strings.HasPrefix(s.rest(), text) {
		return false
	}
	s.pos += len(text)
	return true
}

// keyword reads a word that neither continues one nor is continued.
func (s *scanner) keyword(word string) bool {
	if !strings.HasPrefix(s.rest(), word) || !s.boundary(s.pos) || !s.boundary(s.pos+len(word)) {
		return false
	}
	s.pos += len(word)
	return true
}

// boundary reports whether a word begins or ends at i.
func (s *scanner) boundary(i int) bool {
	before, _ := utf8.DecodeLastRuneInString(s.src[:i])
	after, _ := utf8.DecodeRuneInString(s.src[i:])
	return (i > 0 && isWord(before)) != (i < len(s.src) && isWord(after))
}

// identifier reads the name of a project or an extra. As in the reference
// implementation it ends where a word does: "_" may be last, "-" and "."
// cannot.
func (s *scanner) identifier() (string, bool) {
	end := s.pos
	for end < len(s.src) && (isAlnum(s.src[end]) || strings.IndexByte("._-", s.src[end]) >= 0) {
		end++
	}
	if end == s.pos || !isAlnum(s.src[s.pos]) || !s.boundary(s.pos) {
		return "", false
	}
	for end > s.pos && !s.boundary(end) {
		end--
	}
	if end == s.pos {
		return "", false
	}
	name := s.src[s.pos:end]
	s.pos = end
	return name, true
}

// quoted reads a string in single or double quotes, with the escapes of a
// Python literal.
func (s *scanner) quoted() (value string, ok bool, err error) {
	if s.done() || s.src[s.pos] != '"' && s.src[s.pos] != '\'' {
		return "", false, nil
	}
	n := strings.IndexByte(s.src[s.pos+1:], s.src[s.pos])
	if n < 0 {
		return "", false, s.errorf("the string has no end")
	}
	value, ok = unescape(s.src[s.pos+1 : s.pos+1+n])
	if !ok {
		return "", false, s.errorf("invalid string")
	}
	s.pos += n + 2
	return value, true, nil
}

// unescape evaluates the inside of a Python string literal. Unknown escapes
// stand for themselves.
func unescape(s string) (string, bool) {
	if strings.ContainsAny(s, "\n\r\x00") {
		return "", false
	}
	if !strings.Contains(s, `\`) {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", false // the closing quote was escaped
		}
		const simple, means = `\'"abfnrtv`, "\\'\"\a\b\f\n\r\t\v"
		c := s[i]
		switch hex := hexDigits(c); {
		case strings.IndexByte(simple, c) >= 0:
			b.WriteByte(means[strings.IndexByte(simple, c)])
		case c >= '0' && c <= '7':
			end := i + 1
			for end < len(s) && end < i+3 && s[end] >= '0' && s[end] <= '7' {
				end++
			}
			b.WriteRune(parseRune(s[i:end], 3))
			i = end - 1
		case hex > 0:
			if i+hex >= len(s) || strings.Trim(s[i+1:i+1+hex], "0123456789abcdefABCDEF") != "" {
				return "", false
			}
			r := parseRune(s[i+1:i+1+hex], 4)
			if !utf8.ValidRune(r) {
				return "", false
			}
			b.WriteRune(r)
			i += hex
		case c == 'N':
			return "", false // a character by its Unicode name: of no use in a marker
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), true
}

// hexDigits returns how many digits follow an escape; 0 when it takes none.
func hexDigits(escape byte) int {
	switch escape {
	case 'x':
		return 2
	case 'u':
		return 4
	case 'U':
		return 8
	}
	return 0
}

// parseRune reads digits of which each has so many bits; -1 when the number is
// larger than any character.
func parseRune(digits string, bits uint) rune {
	var n uint64
	for _, c := range []byte(digits) {
		d := uint64(c - '0')
		if c > '9' {
			d = uint64(c|0x20-'a') + 10
		}
		n = n<<bits | d
	}
	if n > utf8.MaxRune {
		return -1
	}
	return rune(n)
}

// quote writes a value so that quoted reads it again, without escapes
// wherever that is possible.
func quote(value string) string {
	q := `"`
	if strings.Contains(value, q) && !strings.Contains(value, "'") {
		q = "'"
	}
	if v, ok := unescape(value); ok && v == value && !strings.Contains(value, q) {
		return q + value + q
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\x22`, "\n", `\n`, "\r", `\r`, "\x00", `\x00`)
	return `"` + escape.Replace(value) + `"`
}
