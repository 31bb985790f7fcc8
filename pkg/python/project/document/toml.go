package document

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// TOML reads a TOML document (TOML 1.0). name is for messages. The error is a
// *python.FileError.
func TOML(name string, data []byte) (*Table, error) {
	doc := &document{name: name}
	if len(data) > maxSize {
		return nil, &python.FileError{File: name, Err: fmt.Errorf("the file has %d bytes; at most %d are read", len(data), maxSize)}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	// The decoder holds the rules of the language, such as that no key is
	// given twice. The tree that knows the lines is read after it.
	var valid map[string]any
	if err := toml.Unmarshal(data, &valid); err != nil {
		line := 0
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			line, _ = syntax.Position()
			err = errors.New(strings.TrimPrefix(syntax.Error(), "toml: "))
		}
		return nil, &python.FileError{File: name, Line: line, Err: fmt.Errorf("not TOML: %w", err)}
	}
	r := &tomlReader{doc: doc, lines: newLines(data)}
	root := r.table(1, "")
	current := root
	r.parser.Reset(data)
	for r.parser.NextExpression() {
		e := r.parser.Expression()
		switch e.Kind {
		case unstable.KeyValue:
			r.keyValue(current, e)
		case unstable.Table, unstable.ArrayTable:
			current = r.header(root, e)
		}
	}
	if err := r.parser.Error(); err != nil {
		return nil, &python.FileError{File: name, Err: fmt.Errorf("not TOML: %w", err)}
	}
	return root, doc.err
}

type tomlReader struct {
	doc    *document
	lines  lines
	parser unstable.Parser
}

func (r *tomlReader) table(line int, path string) *Table {
	return &Table{doc: r.doc, Line: line, Path: path, values: map[string]Value{}}
}

func (t *Table) set(key string, v Value) {
	if _, ok := t.values[key]; !ok {
		t.keys = append(t.keys, key)
	}
	t.values[key] = v
}

// child returns the table that is, or will be, under a key; of an array of
// tables the last one.
func (r *tomlReader) child(t *Table, key string, line int) *Table {
	switch v := t.values[key].v.(type) {
	case *Table:
		return v
	case []Value:
		if n := len(v); n > 0 {
			if last, ok := v[n-1].v.(*Table); ok {
				return last
			}
		}
	}
	c := r.table(line, join(t.Path, key))
	t.set(key, Value{doc: r.doc, Line: line, Path: c.Path, v: c})
	return c
}

// header reads "[a.b]" and "[[a.b]]" and returns the table that they open.
func (r *tomlReader) header(root *Table, e *unstable.Node) *Table {
	t := root
	for it := e.Key(); it.Next(); {
		key, line := string(it.Node().Data), r.lines.at(it.Node().Raw.Offset)
		if !it.IsLast() || e.Kind == unstable.Table {
			t = r.child(t, key, line)
			if it.IsLast() {
				t.Line = line
			}
			continue
		}
		list := t.values[key]
		elements, _ := list.v.([]Value)
		path := join(t.Path, key)
		c := r.table(line, fmt.Sprintf("%s[%d]", path, len(elements)))
		elements = append(elements, Value{doc: r.doc, Line: line, Path: c.Path, v: c})
		if !list.Exists() {
			list = Value{doc: r.doc, Line: line, Path: path}
		}
		list.v = elements
		t.set(key, list)
		t = c
	}
	return t
}

func (r *tomlReader) keyValue(t *Table, e *unstable.Node) {
	for it := e.Key(); it.Next(); {
		key, line := string(it.Node().Data), r.lines.at(it.Node().Raw.Offset)
		if it.IsLast() {
			t.set(key, r.value(e.Value(), line, join(t.Path, key)))
			return
		}
		t = r.child(t, key, line)
	}
}

func (r *tomlReader) value(n *unstable.Node, line int, path string) Value {
	if n.Raw.Length > 0 {
		line = r.lines.at(n.Raw.Offset)
	}
	v := Value{doc: r.doc, Line: line, Path: path}
	switch n.Kind {
	case unstable.String:
		v.v = string(n.Data)
	case unstable.Array:
		list := []Value{}
		for it := n.Children(); it.Next(); {
			e := r.value(it.Node(), line, fmt.Sprintf("%s[%d]", path, len(list)))
			list, line = append(list, e), e.Line
		}
		v.v = list
	case unstable.InlineTable:
		t := r.table(line, path)
		for it := n.Children(); it.Next(); {
			r.keyValue(t, it.Node())
		}
		v.v = t
	default:
		v.v = scalar(n.Kind, string(n.Data))
	}
	return v
}

// scalar reads what has been found to be valid.
func scalar(kind unstable.Kind, text string) any {
	switch kind {
	case unstable.Bool:
		return text == "true"
	case unstable.Integer:
		if n, err := strconv.ParseInt(text, 0, 64); err == nil {
			return n
		}
	case unstable.Float:
		if f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64); err == nil {
			return f
		}
	case unstable.DateTime:
		if len(text) > 10 {
			text = strings.ToUpper(text[:10] + "T" + text[11:])
		}
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return t.UTC()
		}
	}
	return other(text)
}
