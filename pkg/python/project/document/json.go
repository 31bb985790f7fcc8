package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// maxDepth bounds how deeply JSON may be nested: the reader calls itself.
const maxDepth = 200

// JSON reads a JSON document of which the outermost value is an object. name
// is for messages. The error is a *python.FileError.
func JSON(name string, data []byte) (*Table, error) {
	doc := &document{name: name}
	if len(data) > maxSize {
		return nil, &python.FileError{File: name, Err: fmt.Errorf("the file has %d bytes; at most %d are read", len(data), maxSize)}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	r := &jsonReader{doc: doc, lines: newLines(data), dec: json.NewDecoder(bytes.NewReader(data))}
	r.dec.UseNumber()
	v, err := r.value("", 0)
	if err == nil {
		if _, err = r.dec.Token(); err == nil {
			err = errors.New("something follows the end of the document")
		} else if err == io.EOF {
			err = nil
		}
	}
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, &python.FileError{File: name, Line: r.line(), Err: fmt.Errorf("not JSON: %w", err)}
	}
	t, ok := v.v.(*Table)
	if !ok {
		return nil, &python.FileError{File: name, Line: v.Line, Err: errors.New("the document is not an object")}
	}
	return t, doc.err
}

type jsonReader struct {
	doc   *document
	lines lines
	dec   *json.Decoder
}

// line is that of what has been read last.
func (r *jsonReader) line() int { return r.lines.at(uint32(max(r.dec.InputOffset()-1, 0))) }

func (r *jsonReader) value(path string, depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, fmt.Errorf("more than %d levels", maxDepth)
	}
	token, err := r.dec.Token()
	v := Value{doc: r.doc, Line: r.line(), Path: path}
	if err != nil {
		return v, err
	}
	switch x := token.(type) {
	case json.Delim:
		if x == '[' {
			v.v, err = r.array(path, depth)
		} else {
			v.v, err = r.object(path, v.Line, depth)
		}
		return v, err
	case json.Number:
		if n, err := strconv.ParseInt(x.String(), 10, 64); err == nil {
			v.v = n
		} else if v.v, err = x.Float64(); err != nil {
			return v, fmt.Errorf("the number %s is too large", x)
		}
	case nil:
		v.v = null{}
	default: // string, bool
		v.v = x
	}
	return v, nil
}

func (r *jsonReader) array(path string, depth int) ([]Value, error) {
	list := []Value{}
	for r.dec.More() {
		e, err := r.value(fmt.Sprintf("%s[%d]", path, len(list)), depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	_, err := r.dec.Token()
	return list, err
}

func (r *jsonReader) object(path string, line, depth int) (*Table, error) {
	t := &Table{doc: r.doc, Line: line, Path: path, values: map[string]Value{}}
	for r.dec.More() {
		token, err := r.dec.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string) // the decoder takes nothing else
		if t.Has(key) {
			return nil, fmt.Errorf("the key %q is given twice", key)
		}
		v, err := r.value(join(path, key), depth+1)
		if err != nil {
			return nil, err
		}
		t.set(key, v)
	}
	_, err := r.dec.Token()
	return t, err
}
