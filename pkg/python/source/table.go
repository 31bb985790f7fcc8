package source

import (
	"maps"
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// table is a table of pyproject.toml that belongs to a back-end. A value of
// another type than is asked for is remembered as the first error, which all
// tables of a project share.
type table struct {
	p   *project.Project
	key []string
	m   map[string]any
	err *error
}

// tool returns [tool.…]; a table that is not there is empty.
func tool(p *project.Project, keys ...string) table {
	key := append([]string{"tool"}, keys...)
	m, _ := p.Table(key...)
	return table{p: p, key: key, m: m, err: new(error)}
}

// refuse remembers why the project must be built.
func (t table) refuse(key, format string, args ...any) {
	if *t.err == nil {
		at := t.key
		if key != "" {
			at = append(slices.Clone(t.key), key)
		}
		*t.err = needsBuild(t.p, at, format, args...)
	}
}

func (t table) has(key string) bool {
	_, ok := t.m[key]
	return ok
}

func (t table) wrong(key, want string) { t.refuse(key, "is not %s", want) }

func (t table) string(key string) string {
	s, ok := t.m[key].(string)
	if !ok && t.has(key) {
		t.wrong(key, "a string")
	}
	return s
}

func (t table) bool(key string, missing bool) bool {
	if !t.has(key) {
		return missing
	}
	b, ok := t.m[key].(bool)
	if !ok {
		t.wrong(key, "a boolean")
	}
	return b
}

// strings is an array of strings, none of them empty.
func (t table) strings(key string) []string {
	if !t.has(key) {
		return nil
	}
	array, ok := t.m[key].([]any)
	list := make([]string, 0, len(array))
	for _, v := range array {
		s, isString := v.(string)
		ok = ok && isString && s != ""
		list = append(list, s)
	}
	if !ok {
		t.wrong(key, "an array of strings")
	}
	return list
}

// words is a string or an array of strings.
func (t table) words(key string) []string {
	if s, ok := t.m[key].(string); ok {
		return []string{s}
	}
	return t.strings(key)
}

// table is a table within; one that is not there is empty.
func (t table) table(key string) table {
	m, ok := t.m[key].(map[string]any)
	if !ok && t.has(key) {
		t.wrong(key, "a table")
	}
	return table{p: t.p, key: append(slices.Clone(t.key), key), m: m, err: t.err}
}

// tables is an array of which strings and tables are elements; a string stands
// for a table with that value for key.
func (t table) tables(name, key string) []table {
	array, ok := t.m[name].([]any)
	if !ok && t.has(name) {
		t.wrong(name, "an array")
	}
	var list []table
	for _, v := range array {
		m, isTable := v.(map[string]any)
		if s, isString := v.(string); isString {
			m = map[string]any{key: s}
		} else if !isTable {
			t.wrong(name, "an array of tables")
		}
		list = append(list, table{p: t.p, key: append(slices.Clone(t.key), name), m: m, err: t.err})
	}
	return list
}

// keys returns the keys of the table, sorted.
func (t table) keys() []string { return slices.Sorted(maps.Keys(t.m)) }

// only refuses keys that are not known.
func (t table) only(known ...string) {
	for _, k := range t.keys() {
		if !slices.Contains(known, k) {
			t.refuse(k, "the meaning of this key is not known here")
		}
	}
}
