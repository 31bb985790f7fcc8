package source

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxModule bounds a module that is read for its version.
const maxModule = 4 << 20

// pyStatement is a statement at the top level of a module, as far as an
// assignment of one string can be told from all else.
type pyStatement struct {
	targets []string // names that are assigned to; nil = no such assignment
	text    string   // the value of a plain string
	literal bool     // the value is a plain string, and nothing else
	bare    bool     // the statement is only that string: a docstring
}

// pyStatements reads the statements at the top level of a module. It does not
// run them, and sees through no expression: what is not one plain string is not
// literal. ok is false for a text that is no Python as far as that can be seen.
func pyStatements(src string) (list []pyStatement, ok bool) {
	t := &pyTokens{s: strings.TrimPrefix(src, "\ufeff")}
	for {
		line, more, ok := t.logicalLine()
		if !ok {
			return nil, false
		}
		if !more {
			return list, true
		}
		if line.indented {
			continue
		}
		for _, part := range line.split(";") {
			if len(part) > 0 {
				list = append(list, statementOf(part))
			}
		}
	}
}

// statementOf recognises "NAME = 'x'", "A = B = 'x'", "NAME: type = 'x'" and 'x'.
func statementOf(tokens []pyToken) pyStatement {
	if len(tokens) > 0 && allStrings(tokens) {
		text, plain := joinStrings(tokens)
		return pyStatement{text: text, literal: plain, bare: plain}
	}
	// The value is what follows the last "=" that is not in brackets.
	depth, last := 0, -1
	for i, t := range tokens {
		switch {
		case t.kind == '(':
			depth++
		case t.kind == ')':
			depth--
		case t.kind == '=' && depth == 0:
			last = i
		}
	}
	if last < 1 {
		return pyStatement{}
	}
	var st pyStatement
	left := tokens[:last]
	if len(left) >= 3 && left[0].kind == 'n' && left[1].text == ":" {
		for _, t := range left {
			if t.kind == '=' {
				return pyStatement{}
			}
		}
		st.targets = []string{left[0].text}
	} else {
		for i, t := range left {
			if i%2 == 0 && t.kind == 'n' && !pyKeyword(t.text) {
				st.targets = append(st.targets, t.text)
			} else if i%2 == 1 && t.kind != '=' || i%2 == 0 {
				return pyStatement{targets: namesIn(left)}
			}
		}
		if len(left)%2 == 0 {
			return pyStatement{targets: namesIn(left)}
		}
	}
	value := tokens[last+1:]
	for len(value) > 2 && value[0].text == "(" && value[len(value)-1].text == ")" && allStrings(value[1:len(value)-1]) {
		value = value[1 : len(value)-1]
	}
	if len(value) > 0 && allStrings(value) {
		st.text, st.literal = joinStrings(value)
	}
	return st
}

// namesIn returns all names on the left of an assignment that is not simple:
// any of them may be what is assigned to.
func namesIn(tokens []pyToken) []string {
	var names []string
	for _, t := range tokens {
		if t.kind == 'n' {
			names = append(names, t.text)
		}
	}
	return names
}

func allStrings(tokens []pyToken) bool {
	for _, t := range tokens {
		if t.kind != 's' {
			return false
		}
	}
	return true
}

func joinStrings(tokens []pyToken) (string, bool) {
	var b strings.Builder
	plain := true
	for _, t := range tokens {
		b.WriteString(t.text)
		plain = plain && t.plain
	}
	return b.String(), plain
}

// pyKeyword reports whether a name cannot be assigned to.
func pyKeyword(s string) bool {
	switch s {
	case "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
		"except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
		"return", "try", "while", "with", "yield":
		return true
	}
	return false
}

// pyToken is a token: a name (n), a string (s), an opening or closing bracket,
// "=", or anything else (o).
type pyToken struct {
	kind  byte
	text  string // of a string, its value
	plain bool   // a string that is neither of bytes nor formatted
}

// pyLine is a logical line ("Lexical analysis", "Logical lines").
type pyLine struct {
	indented bool
	tokens   []pyToken
}

// split cuts a line at an operator outside of brackets.
func (l pyLine) split(op string) [][]pyToken {
	var parts [][]pyToken
	depth, start := 0, 0
	for i, t := range l.tokens {
		switch {
		case t.kind == '(':
			depth++
		case t.kind == ')':
			depth--
		case depth == 0 && t.kind == 'o' && t.text == op:
			parts = append(parts, l.tokens[start:i])
			start = i + 1
		}
	}
	return append(parts, l.tokens[start:])
}

// pyTokens reads tokens from s.
type pyTokens struct {
	s string
	i int
}

// logicalLine returns the next line that has tokens.
func (t *pyTokens) logicalLine() (line pyLine, more, ok bool) {
	depth := 0
	begin := true // of a physical line, and so of an indentation
	for t.i < len(t.s) {
		c := t.s[t.i]
		switch {
		case c == '\n' || c == '\r':
			t.i++
			if depth == 0 && len(line.tokens) > 0 {
				return line, true, true
			}
			begin = true
			continue
		case c == ' ' || c == '\t' || c == '\f':
			if begin && len(line.tokens) == 0 {
				line.indented = t.indentation()
				begin = false
				continue
			}
			t.i++
			continue
		case c == '#':
			for t.i < len(t.s) && t.s[t.i] != '\n' && t.s[t.i] != '\r' {
				t.i++
			}
			continue
		case c == '\\':
			t.i++
			if t.i < len(t.s) && t.s[t.i] == '\r' {
				t.i++
			}
			if t.i < len(t.s) && t.s[t.i] == '\n' {
				t.i++
			}
			continue
		}
		if begin && len(line.tokens) == 0 {
			line.indented = false
		}
		begin = false
		token, valid := t.token()
		if !valid {
			return line, false, false
		}
		switch token.kind {
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return line, false, false
			}
		}
		line.tokens = append(line.tokens, token)
	}
	return line, len(line.tokens) > 0, depth == 0
}

// indentation passes over white space at the beginning of a line.
func (t *pyTokens) indentation() bool {
	n := 0
	for t.i < len(t.s) && (t.s[t.i] == ' ' || t.s[t.i] == '\t' || t.s[t.i] == '\f') {
		if n++; t.s[t.i] == '\f' { // a form feed starts the count again
			n = 0
		}
		t.i++
	}
	return n > 0
}

// token reads one token that is not white space.
func (t *pyTokens) token() (pyToken, bool) {
	r, n := utf8.DecodeRuneInString(t.s[t.i:])
	switch {
	case r == utf8.RuneError && n <= 1 || r == 0:
		return pyToken{}, false
	case r == '"' || r == '\'':
		return t.str("")
	case r == '_' || unicode.IsLetter(r):
		start := t.i
		for t.i < len(t.s) {
			r, n := utf8.DecodeRuneInString(t.s[t.i:])
			if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r) && !unicode.Is(unicode.Mc, r) {
				break
			}
			t.i += n
		}
		word := t.s[start:t.i]
		if t.i < len(t.s) && (t.s[t.i] == '"' || t.s[t.i] == '\'') && len(word) <= 2 && strings.Trim(strings.ToLower(word), "rbuft") == "" {
			return t.str(strings.ToLower(word))
		}
		return pyToken{kind: 'n', text: word}, true
	}
	t.i += n
	switch r {
	case '(', '[', '{':
		return pyToken{kind: '(', text: string(r)}, true
	case ')', ']', '}':
		return pyToken{kind: ')', text: string(r)}, true
	case '=':
		if t.i < len(t.s) && t.s[t.i] == '=' {
			t.i++
			return pyToken{kind: 'o', text: "=="}, true
		}
		return pyToken{kind: '=', text: "="}, true
	case '!', '<', '>', ':', '+', '-', '*', '/', '%', '&', '|', '^', '@':
		// "x += 1", "x := 1" and the comparisons are no assignments of one name;
		// "x: t = 1" has a space or not between ":" and a name.
		for t.i < len(t.s) && strings.IndexByte("<>*/", t.s[t.i]) >= 0 && t.s[t.i] == byte(r) {
			t.i++
		}
		if t.i < len(t.s) && t.s[t.i] == '=' {
			t.i++
			return pyToken{kind: 'o', text: string(r) + "="}, true
		}
	}
	return pyToken{kind: 'o', text: string(r)}, true
}

// str reads a string whose prefix has been read, up to its end.
func (t *pyTokens) str(prefix string) (pyToken, bool) {
	quote := t.s[t.i : t.i+1]
	if strings.HasPrefix(t.s[t.i:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	t.i += len(quote)
	raw := strings.Contains(prefix, "r")
	token := pyToken{kind: 's', plain: !strings.ContainsAny(prefix, "bft")}
	var b strings.Builder
	for t.i < len(t.s) {
		switch {
		case strings.HasPrefix(t.s[t.i:], quote):
			t.i += len(quote)
			token.text = b.String()
			return token, true
		case t.s[t.i] == '\\' && t.i+1 < len(t.s):
			if c := t.s[t.i+1]; !raw && (c == '\\' || c == '\'' || c == '"') {
				b.WriteByte(c)
			} else {
				// Other escapes are not undone: a string with them is no version.
				token.plain = token.plain && raw
				b.WriteString(t.s[t.i : t.i+2])
			}
			t.i += 2
		case t.s[t.i] == '\n' && len(quote) == 1:
			return token, false
		default:
			b.WriteByte(t.s[t.i])
			t.i++
		}
	}
	return token, false
}

// module reads the statements of a module.
func (s *sourceTree) module(p string) ([]pyStatement, error) {
	text, err := s.text(p)
	if err != nil {
		return nil, err
	}
	list, ok := pyStatements(text)
	if !ok || len(text) > maxModule {
		return nil, &NeedsBuildError{File: p, Reason: "the module cannot be read without running it"}
	}
	return list, nil
}
