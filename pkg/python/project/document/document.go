// Package document reads TOML and JSON files into values that know the line
// they stand on, so that an error in them can name it.
//
// In goes the content of a file, out comes its outermost Table. What a key
// should hold is asked with a method of that type (String, Strings, Table, …);
// a key that is missing is the zero value, and one of another type is
// remembered as the document's error, so that a reader can take all that it
// needs and look at Err once. The package knows nothing of what the keys mean.
package document

import (
	"fmt"
	"slices"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// maxSize bounds a document: the largest lock files that are met have a few
// megabytes.
const maxSize = 64 << 20

// document is what all values of a file share.
type document struct {
	name string
	err  error
}

// fail remembers the first error.
func (d *document) fail(line int, err error) {
	if d.err == nil {
		d.err = &python.FileError{File: d.name, Line: line, Err: err}
	}
}

// Value is a value at a place of a document.
type Value struct {
	doc  *document
	Line int    // 1 is the first
	Path string // "project.dependencies[3]", for messages
	v    any    // string, bool, int64, float64, time.Time, other (a date or a time), null, []Value, *Table
}

// other is a date or time without a zone, as written.
type other string

// null is JSON's.
type null struct{}

// kind names the type of v for a message.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case int64:
		return "an integer"
	case float64:
		return "a number"
	case time.Time, other:
		return "a date or time"
	case null:
		return "null"
	case []Value:
		return "an array"
	case *Table:
		return "a table"
	}
	return "nothing"
}

// Fail makes err the document's error, at the line of the value, unless there
// is one already.
func (v Value) Fail(err error) {
	if v.doc != nil {
		v.doc.fail(v.Line, err)
	}
}

// Failf is Fail with a text.
func (v Value) Failf(format string, args ...any) { v.Fail(fmt.Errorf(format, args...)) }

func (v Value) wrong(want string) { v.Failf("%s is %s and should be %s", v.Path, kind(v.v), want) }

// Exists reports whether there is a value.
func (v Value) Exists() bool { return v.v != nil }

// IsString, IsTable and IsArray report the type of a value that may have
// several.
func (v Value) IsString() bool { _, ok := v.v.(string); return ok }

// IsTable: see IsString.
func (v Value) IsTable() bool { _, ok := v.v.(*Table); return ok }

// IsArray: see IsString.
func (v Value) IsArray() bool { _, ok := v.v.([]Value); return ok }

// String returns a string; "" when there is no value or it is of another type,
// which is an error.
func (v Value) String() string {
	s, ok := v.v.(string)
	if !ok && v.v != nil {
		v.wrong("a string")
	}
	return s
}

// Bool returns a boolean, like String.
func (v Value) Bool() bool {
	b, ok := v.v.(bool)
	if !ok && v.v != nil {
		v.wrong("a boolean")
	}
	return b
}

// Int returns an integer, like String.
func (v Value) Int() int64 {
	n, ok := v.v.(int64)
	if !ok && v.v != nil {
		v.wrong("an integer")
	}
	return n
}

// Time returns a date and time with a zone, like String. A string in the
// format of RFC 3339 is one too.
func (v Value) Time() time.Time {
	switch t := v.v.(type) {
	case nil:
	case time.Time:
		return t
	case string:
		if t, err := time.Parse(time.RFC3339Nano, t); err == nil {
			return t.UTC()
		}
		v.Failf("%s is %q, which is not a time in the format of RFC 3339", v.Path, t)
	default:
		v.wrong("a date and time with a zone")
	}
	return time.Time{}
}

// Array returns the elements of an array, like String.
func (v Value) Array() []Value {
	a, ok := v.v.([]Value)
	if !ok && v.v != nil {
		v.wrong("an array")
	}
	return a
}

// Elements returns the elements of an array; a value that is none is its only
// element. For what may be one or several.
func (v Value) Elements() []Value {
	switch {
	case v.IsArray():
		return v.Array()
	case v.Exists():
		return []Value{v}
	}
	return nil
}

// Strings returns an array of strings, like String.
func (v Value) Strings() []string {
	var list []string
	for _, e := range v.Array() {
		list = append(list, e.String())
	}
	return list
}

// Tables returns an array of tables, like String.
func (v Value) Tables() []*Table {
	var list []*Table
	for _, e := range v.Array() {
		list = append(list, e.Table())
	}
	return list
}

// Table returns a table, like String; it is never nil.
func (v Value) Table() *Table {
	t, ok := v.v.(*Table)
	if ok {
		return t
	}
	if v.v != nil {
		v.wrong("a table")
	}
	return &Table{doc: v.doc, Line: v.Line, Path: v.Path}
}

// Plain returns the value as Go's own types: string, bool, int64, float64,
// time.Time, nil, []any, map[string]any. Dates and times without a zone are
// strings.
func (v Value) Plain() any {
	switch x := v.v.(type) {
	case []Value:
		list := make([]any, len(x))
		for i, e := range x {
			list[i] = e.Plain()
		}
		return list
	case *Table:
		return x.Plain()
	case other:
		return string(x)
	case null:
		return nil
	}
	return v.v
}

// Table is a table of a document: keys in the order in which they are written,
// each once.
type Table struct {
	doc    *document
	Line   int
	Path   string // "project"; "" for the document as a whole
	keys   []string
	values map[string]Value
	asked  []string
}

// Err returns the first error of the whole document, a *python.FileError, or
// nil.
func (t *Table) Err() error {
	if t.doc == nil {
		return nil
	}
	return t.doc.err
}

// Fail makes err the document's error, at the line of the table, unless there
// is one already.
func (t *Table) Fail(err error) {
	if t.doc != nil {
		t.doc.fail(t.Line, err)
	}
}

// Failf is Fail with a text.
func (t *Table) Failf(format string, args ...any) { t.Fail(fmt.Errorf(format, args...)) }

// Keys returns the keys in their order.
func (t *Table) Keys() []string { return t.keys }

// Has reports whether a key is there. It does not count as asked for.
func (t *Table) Has(key string) bool { _, ok := t.values[key]; return ok }

// Get returns the value of a key, which need not exist.
func (t *Table) Get(key string) Value {
	if !slices.Contains(t.asked, key) {
		t.asked = append(t.asked, key)
	}
	v, ok := t.values[key]
	if !ok {
		return Value{doc: t.doc, Line: t.Line, Path: join(t.Path, key)}
	}
	return v
}

// String is Get(key).String().
func (t *Table) String(key string) string { return t.Get(key).String() }

// Strings is Get(key).Strings().
func (t *Table) Strings(key string) []string { return t.Get(key).Strings() }

// Bool is Get(key).Bool().
func (t *Table) Bool(key string) bool { return t.Get(key).Bool() }

// Table is Get(key).Table().
func (t *Table) Table(key string) *Table { return t.Get(key).Table() }

// Plain returns the table as Go's own types; see Value.Plain.
func (t *Table) Plain() map[string]any {
	m := make(map[string]any, len(t.keys))
	for _, k := range t.keys {
		m[k] = t.values[k].Plain()
	}
	return m
}

// Unknown calls report for each key that Get was not asked for, with the
// nearest of those that it was; "" when none is near.
func (t *Table) Unknown(report func(key string, v Value, nearest string)) {
	for _, k := range t.keys {
		if !slices.Contains(t.asked, k) {
			report(k, t.values[k], Nearest(k, t.asked))
		}
	}
}

// RefuseUnknown makes a key that Get was not asked for the document's error.
func (t *Table) RefuseUnknown() {
	t.Unknown(func(key string, v Value, nearest string) {
		v.Fail(&UnknownKeyError{Key: join(t.Path, key), Nearest: nearest})
	})
}

// UnknownKeyError is a key that has no meaning where it stands.
type UnknownKeyError struct {
	Key     string // with the tables that it is in
	Nearest string // a key that may be meant; "" when there is none
}

func (e *UnknownKeyError) Error() string { return fmt.Sprintf("there is no key %s", e.Key) }

// Hint names the key that may be meant.
func (e *UnknownKeyError) Hint() string {
	if e.Nearest == "" {
		return ""
	}
	return "did you mean " + e.Nearest + "?"
}

// Nearest returns the name that is most like word, if one is like it at all.
func Nearest(word string, names []string) string {
	best, least := "", len(word)/2+1
	for _, n := range names {
		if d := distance(word, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of letters to insert, remove or replace.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 { // no key is; spares the time
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// join makes the path of a key in a table.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
