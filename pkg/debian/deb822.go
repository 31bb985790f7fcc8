package debian

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds on control data, each far above what the archive has.
const (
	maxLine      = 4 << 20  // one line: the longest, in Provides, have about 100 kB
	maxParagraph = 16 << 20 // one paragraph: InRelease's hash lists have about 200 kB
	maxFields    = 1000
)

// Field is one field of a paragraph. Value keeps the line breaks of a field
// that goes on over several lines; the space that each of those begins with is
// not part of it.
type Field struct {
	Name, Value string
	// Line is where the field begins, counted from 1.
	Line int
}

// Paragraph is one block of fields, in order.
type Paragraph []Field

// Get returns the value of a field, "" where there is none. Names have no case
// (Debian Policy, 5.1).
func (p Paragraph) Get(name string) string {
	for i := range p {
		if strings.EqualFold(p[i].Name, name) {
			return p[i].Value
		}
	}
	return ""
}

// ControlReader reads control data (deb822(5)) paragraph by paragraph, and
// holds one at a time.
type ControlReader struct {
	// Only names the fields to keep, as they are written in the file; nil keeps all.
	Only []string

	lines *bufio.Scanner
	line  int
	value []byte // of the last field, while it may go on
}

// NewControlReader returns a reader of the paragraphs in r.
func NewControlReader(r io.Reader) *ControlReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	return &ControlReader{lines: lines}
}

// ControlError reports control data that is not well-formed.
type ControlError struct {
	Line   int // counted from 1
	Reason string
}

func (e *ControlError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Next returns the next paragraph, or [io.EOF] after the last. Bad syntax is a
// [*ControlError].
func (c *ControlReader) Next() (Paragraph, error) {
	var p Paragraph
	size, fields, keep := 0, 0, false
	for c.lines.Scan() {
		c.line++
		line := bytes.TrimSuffix(c.lines.Bytes(), []byte{'\r'})
		switch {
		case len(bytes.TrimLeft(line, " \t")) == 0:
			if fields > 0 {
				return c.ended(p), nil
			}
			continue
		case line[0] == '#':
			continue
		}
		if size += len(line); size > maxParagraph {
			return nil, &ControlError{c.line, fmt.Sprintf("the paragraph is longer than %d bytes", maxParagraph)}
		}
		if line[0] == ' ' || line[0] == '\t' {
			if fields == 0 {
				return nil, &ControlError{c.line, "a continuation line belongs to no field"}
			}
			if keep {
				c.value = append(append(c.value, '\n'), bytes.TrimRight(line[1:], " \t")...)
			}
			continue
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok || !validField(name) {
			return nil, &ControlError{c.line, fmt.Sprintf("%.60q is not a field", line)}
		}
		if fields++; fields > maxFields {
			return nil, &ControlError{c.line, fmt.Sprintf("the paragraph has more than %d fields", maxFields)}
		}
		if keep = c.keeps(name); keep {
			p = append(c.ended(p), Field{Name: string(name), Line: c.line})
			c.value = append(c.value[:0], bytes.Trim(value, " \t")...)
		}
	}
	if err := c.lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, &ControlError{c.line + 1, fmt.Sprintf("the line is longer than %d bytes", maxLine)}
		}
		return nil, err
	}
	if fields == 0 {
		return nil, io.EOF
	}
	return c.ended(p), nil
}

// ended gives the last field of p the value that was gathered for it.
func (c *ControlReader) ended(p Paragraph) Paragraph {
	if n := len(p); n > 0 && p[n-1].Value == "" {
		p[n-1].Value = string(c.value)
	}
	return p
}

func (c *ControlReader) keeps(name []byte) bool {
	if c.Only == nil {
		return true
	}
	for _, n := range c.Only {
		if n == string(name) {
			return true
		}
	}
	return false
}

// validField says whether name can name a field: printable ASCII without
// spaces and colons, and not beginning like a comment (Debian Policy, 5.1).
func validField(name []byte) bool {
	if len(name) == 0 || name[0] == '-' {
		return false
	}
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
