package python

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// decodeText returns the text of a requirements file: by its byte order mark,
// by a comment in the first two lines (PEP 263), else UTF-8.
func decodeText(data []byte) (string, error) {
	for _, bom := range [...]struct {
		mark   string
		decode func([]byte) (string, error)
	}{
		// UTF-32's little-endian mark begins with UTF-16's.
		{"\xef\xbb\xbf", decodeUTF8},
		{"\x00\x00\xfe\xff", decodeUTF32(binary.BigEndian)},
		{"\xff\xfe\x00\x00", decodeUTF32(binary.LittleEndian)},
		{"\xfe\xff", decodeUTF16(binary.BigEndian)},
		{"\xff\xfe", decodeUTF16(binary.LittleEndian)},
	} {
		if rest, ok := bytes.CutPrefix(data, []byte(bom.mark)); ok {
			return bom.decode(rest)
		}
	}
	switch name := declaredEncoding(data); name {
	case "", "utf8", "utf8sig", "ascii", "usascii":
		return decodeUTF8(data)
	case "latin1", "latin", "iso88591", "l1":
		var b strings.Builder
		for _, c := range data {
			b.WriteRune(rune(c))
		}
		return b.String(), nil
	default:
		return "", fmt.Errorf("the encoding %s is neither UTF-8, UTF-16, UTF-32 nor Latin-1", name)
	}
}

var codingComment = regexp.MustCompile(`^#.*?coding[:=][ \t]*([-\w.]+)`)

// declaredEncoding finds "# -*- coding: NAME -*-".
func declaredEncoding(data []byte) string {
	for range 2 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		if m := codingComment.FindSubmatch(line); m != nil {
			return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(string(m[1])))
		}
		data = rest
	}
	return ""
}

func decodeUTF8(data []byte) (string, error) {
	if utf8.Valid(data) {
		return string(data), nil
	}
	bad := 0
	for bad < len(data) {
		r, n := utf8.DecodeRune(data[bad:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		bad += n
	}
	return "", fmt.Errorf("line %d is not UTF-8", 1+bytes.Count(data[:bad], []byte("\n")))
}

func decodeUTF16(order binary.ByteOrder) func([]byte) (string, error) {
	return func(data []byte) (string, error) {
		if len(data)%2 != 0 {
			return "", fmt.Errorf("the UTF-16 text is cut off")
		}
		units := make([]uint16, len(data)/2)
		for i := range units {
			units[i] = order.Uint16(data[2*i:])
		}
		return string(utf16.Decode(units)), nil
	}
}

func decodeUTF32(order binary.ByteOrder) func([]byte) (string, error) {
	return func(data []byte) (string, error) {
		if len(data)%4 != 0 {
			return "", fmt.Errorf("the UTF-32 text is cut off")
		}
		runes := make([]rune, len(data)/4)
		for i := range runes {
			runes[i] = rune(order.Uint32(data[4*i:]))
		}
		return string(runes), nil
	}
}

// logicalLine is a line with its continuations, without comment and white
// space around it; never empty.
type logicalLine struct {
	number int // of its first physical line, from 1
	text   string
}

// logicalLines joins lines that end in "\" with the next (which happens before
// comments go, so that a comment does not continue a line), and removes
// comments: "#" at the beginning or after white space, to the end.
func logicalLines(text string) []logicalLine {
	var lines []logicalLine
	var joined strings.Builder
	first := 0
	end := func() {
		if t := trimSpace(withoutComment(joined.String())); t != "" {
			lines = append(lines, logicalLine{first, t})
		}
		joined.Reset()
		first = 0
	}
	for i, line := range splitLines(text) {
		if first == 0 {
			first = i + 1
		}
		comment := strings.HasPrefix(strings.TrimLeftFunc(line, isSpace), "#")
		if strings.HasSuffix(line, `\`) && !comment {
			joined.WriteString(strings.Trim(line, `\`))
			continue
		}
		if comment {
			line = " " + line // a comment also where it continues a line
		}
		joined.WriteString(line)
		end()
	}
	end()
	return lines
}

// splitLines splits at everything that Python takes for the end of a line.
func splitLines(text string) []string {
	var lines []string
	start := 0
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for i, r := range text {
		switch r {
		case '\n', '\r', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
			lines = append(lines, text[start:i])
			start = i + utf8.RuneLen(r)
		}
	}
	return append(lines, text[start:])
}

// withoutComment cuts a comment off.
func withoutComment(line string) string {
	for i := 0; i < len(line); i++ {
		if line[i] != '#' {
			continue
		}
		if before, _ := utf8.DecodeLastRuneInString(line[:i]); i == 0 || isSpace(before) {
			return line[:i]
		}
	}
	return line
}

// expandVariables replaces ${NAME} where the variable is set and not empty.
// Names are of capital letters, digits and underscores only, so that nothing
// else with a dollar is touched.
func expandVariables(line string, env func(string) (string, bool)) string {
	if env == nil || !strings.Contains(line, "${") {
		return line
	}
	var b strings.Builder
	for {
		i := strings.Index(line, "${")
		if i < 0 {
			break
		}
		b.WriteString(line[:i])
		line = line[i:]
		n := 2
		for n < len(line) && (line[n] == '_' || isDigit(line[n]) || line[n] >= 'A' && line[n] <= 'Z') {
			n++
		}
		if n > 2 && n < len(line) && line[n] == '}' {
			if value, ok := env(line[2:n]); ok && value != "" {
				b.WriteString(value)
				line = line[n+1:]
				continue
			}
		}
		b.WriteString(line[:2])
		line = line[2:]
	}
	b.WriteString(line)
	return b.String()
}
