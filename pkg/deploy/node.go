package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A node is a value in an input file, with the line it stands on. JSON and
// YAML are read into the same nodes; what they mean is schema.go's affair.
type node struct {
	kind   kind
	line   int
	text   string // kind text: the text; number: a JSON number literal; boolean: "true" or "false"
	list   []*node
	fields []field // in the order of the file
	filled bool    // text had a variable in it, so that it may stand for a number or a boolean
}

type field struct {
	name  string
	line  int
	value *node
}

type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	list
	object
)

func (k kind) String() string {
	return [...]string{"null", "true or false", "a number", "text", "a list", "an object"}[k]
}

// get is the value of a field, nil if there is none.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	for _, f := range n.fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// set puts a value into a field. A value that stands nowhere gets the line of
// the field, or else of the object.
func (n *node) set(name string, value *node) {
	for i, f := range n.fields {
		if f.name == name {
			if value.line == 0 {
				value.line = f.line
			}
			n.fields[i].value = value
			return
		}
	}
	if value.line == 0 {
		value.line = n.line
	}
	n.fields = append(n.fields, field{name: name, line: value.line, value: value})
}

func (n *node) remove(name string) {
	for i, f := range n.fields {
		if f.name == name {
			n.fields = append(n.fields[:i:i], n.fields[i+1:]...)
			return
		}
	}
}

// at follows a path of field names and list indexes as far as it exists and
// gives the line where it ends: the line to name for what is missing there.
func (n *node) at(path ...any) int {
	line := 0
	for n != nil {
		line = n.line
		if len(path) == 0 {
			break
		}
		switch step := path[0].(type) {
		case string:
			n = n.get(step)
		case int:
			if step >= len(n.list) {
				return line
			}
			n = n.list[step]
		}
		path = path[1:]
	}
	return line
}

// value is the node as encoding/json would have decoded it with UseNumber.
// Nulls in objects are left out: the AWS CLI takes them for absent.
func (n *node) value() any {
	switch n.kind {
	case boolean:
		return n.text == "true"
	case number:
		return json.Number(n.text)
	case text:
		return n.text
	case list:
		l := make([]any, len(n.list))
		for i, item := range n.list {
			l[i] = item.value()
		}
		return l
	case object:
		m := make(map[string]any, len(n.fields))
		for _, f := range n.fields {
			if f.value.kind != null {
				m[f.name] = f.value.value()
			}
		}
		return m
	}
	return nil
}

// Limits on input files, far above any that ECS takes (a task definition has at
// most 64 KiB), so that a wrong file cannot take the machine's memory.
const (
	maxFileSize  = 1 << 20
	maxFileDepth = 64
	maxFileNodes = 100_000 // YAML aliases can make a small file large
	maxFields    = 1000    // of one object: its keys are searched one by one
)

// parse reads a file's content as JSON, or as YAML if it is named .yaml or .yml.
func parse(file string, data []byte) (*node, error) {
	lower := strings.ToLower(file)
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return nil, &FileError{File: file, Cause: "the file is empty"}
	case strings.HasSuffix(lower, ".yaml"), strings.HasSuffix(lower, ".yml"):
		return parseYAML(file, data)
	case strings.HasSuffix(lower, ".jsonnet"), strings.HasSuffix(lower, ".libsonnet"):
		return nil, &FileError{File: file, Cause: "Jsonnet is not read: evaluate it to JSON first"}
	}
	return parseJSON(file, data)
}

// jsonParser keeps the tokens' lines, which encoding/json's values do not have.
type jsonParser struct {
	file string
	data []byte
	dec  *json.Decoder
	line int   // of the token read last
	seen int64 // how far lines were counted
}

func parseJSON(file string, data []byte) (*node, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	p := &jsonParser{file: file, data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1}
	p.dec.UseNumber()
	n, err := p.parse(0)
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		p.advance(p.dec.InputOffset())
		return nil, p.fail("something follows the end of the JSON value")
	}
	return n, nil
}

func (p *jsonParser) fail(format string, args ...any) error {
	return &FileError{File: p.file, Line: p.line, Cause: fmt.Sprintf(format, args...)}
}

// advance counts lines up to an offset. No JSON token spans two lines, so the
// line where a token ends is its line.
func (p *jsonParser) advance(offset int64) {
	if offset > int64(len(p.data)) {
		offset = int64(len(p.data))
	}
	if offset > p.seen {
		p.line += bytes.Count(p.data[p.seen:offset], []byte{'\n'})
		p.seen = offset
	}
}

func (p *jsonParser) token() (json.Token, error) {
	t, err := p.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		p.advance(p.dec.InputOffset())
		return t, nil
	case errors.As(err, &syntax):
		p.advance(syntax.Offset)
		return nil, p.fail("not JSON: %s", syntax.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		p.advance(int64(len(p.data)))
		return nil, p.fail("not JSON: the file ends in the middle of a value")
	}
	return nil, p.fail("not JSON: %s", err)
}

func (p *jsonParser) parse(depth int) (*node, error) {
	if depth > maxFileDepth {
		return nil, p.fail("nested more than %d deep", maxFileDepth)
	}
	t, err := p.token()
	if err != nil {
		return nil, err
	}
	n := &node{line: p.line}
	switch t := t.(type) {
	case nil:
		n.kind = null
	case bool:
		n.kind, n.text = boolean, strconv.FormatBool(t)
	case json.Number:
		n.kind, n.text = number, t.String()
	case string:
		n.kind, n.text = text, t
	case json.Delim:
		if t == '[' {
			n.kind = list
			return n, p.parseList(n, depth)
		}
		n.kind = object
		return n, p.parseObject(n, depth)
	}
	return n, nil
}

func (p *jsonParser) parseList(n *node, depth int) error {
	for p.dec.More() {
		item, err := p.parse(depth + 1)
		if err != nil {
			return err
		}
		n.list = append(n.list, item)
	}
	_, err := p.token()
	return err
}

func (p *jsonParser) parseObject(n *node, depth int) error {
	for p.dec.More() {
		t, err := p.token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return p.fail("not JSON: a key is not text")
		}
		if n.get(key) != nil {
			return p.fail("%s stands here twice", key)
		}
		if len(n.fields) >= maxFields {
			return p.fail("the object has more than %d keys", maxFields)
		}
		line := p.line
		value, err := p.parse(depth + 1)
		if err != nil {
			return err
		}
		n.fields = append(n.fields, field{name: key, line: line, value: value})
	}
	_, err := p.token()
	return err
}

func parseYAML(file string, data []byte) (*node, error) {
	var doc yaml.Node
	if err := yaml.Load(data, &doc); err != nil {
		var load *yaml.LoadError
		if errors.As(err, &load) {
			return nil, &FileError{File: file, Line: load.Mark.Line, Cause: "not YAML: " + load.Message}
		}
		return nil, &FileError{File: file, Cause: "not YAML: " + oneLine(strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	p := &yamlParser{file: file}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		return p.parse(doc.Content[0], 0)
	}
	return nil, &FileError{File: file, Cause: "the file is empty"}
}

type yamlParser struct {
	file  string
	nodes int
}

func (p *yamlParser) fail(y *yaml.Node, format string, args ...any) error {
	return &FileError{File: p.file, Line: y.Line, Cause: fmt.Sprintf(format, args...)}
}

func (p *yamlParser) parse(y *yaml.Node, depth int) (*node, error) {
	p.nodes++
	if depth > maxFileDepth || p.nodes > maxFileNodes {
		return nil, p.fail(y, "more values than any task definition has (%d, or nested %d deep)", maxFileNodes, maxFileDepth)
	}
	n := &node{line: y.Line}
	switch y.Kind {
	case yaml.AliasNode:
		return p.parse(y.Alias, depth+1)
	case yaml.SequenceNode:
		n.kind = list
		for _, item := range y.Content {
			v, err := p.parse(item, depth+1)
			if err != nil {
				return nil, err
			}
			n.list = append(n.list, v)
		}
		return n, nil
	case yaml.MappingNode:
		n.kind = object
		return n, p.parseMapping(n, y, depth)
	}
	return n, p.parseScalar(n, y)
}

func (p *yamlParser) parseMapping(n *node, y *yaml.Node, depth int) error {
	if len(y.Content)/2 > maxFields {
		return p.fail(y, "the object has more than %d keys", maxFields)
	}
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		v, err := p.parse(value, depth+1)
		if err != nil {
			return err
		}
		if key.ShortTag() == "!!merge" {
			if merged = append(merged, v); v.kind == list {
				merged = append(merged[:len(merged)-1], v.list...)
			}
			continue
		}
		if key.Kind != yaml.ScalarNode {
			return p.fail(key, "a key is not text")
		}
		if n.get(key.Value) != nil {
			return p.fail(key, "%s stands here twice", key.Value)
		}
		n.fields = append(n.fields, field{name: key.Value, line: key.Line, value: v})
	}
	// YAML 1.1 merge key "<<": what stands in the mapping itself wins, then the
	// mapping named first.
	for _, m := range merged {
		for _, f := range m.fields {
			if n.get(f.name) == nil {
				n.fields = append(n.fields, f)
			}
		}
	}
	return nil
}

func (p *yamlParser) parseScalar(n *node, y *yaml.Node) error {
	switch y.ShortTag() {
	case "!!null":
		n.kind = null
	case "!!bool":
		var b bool
		if err := y.Decode(&b); err != nil {
			return p.fail(y, "%s is neither true nor false", y.Value)
		}
		n.kind, n.text = boolean, strconv.FormatBool(b)
	case "!!int":
		var i int64
		if err := y.Decode(&i); err != nil {
			return p.fail(y, "%s is out of range", y.Value)
		}
		n.kind, n.text = number, strconv.FormatInt(i, 10)
	case "!!float":
		var f float64
		if err := y.Decode(&f); err != nil || f != f || f-f != 0 {
			return p.fail(y, "%s is not a number", y.Value)
		}
		n.kind, n.text = number, strconv.FormatFloat(f, 'g', -1, 64)
	default:
		n.kind, n.text = text, y.Value
	}
	return nil
}
