package lockfile

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// Write writes the lock file: packages and files sorted, one file a line, and
// nothing that depends on when or where it is written. ReadPylock reads the
// same File again, sorted and without Warnings.
func (f *File) Write(w io.Writer) error {
	sorted := *f
	sorted.Packages = slices.Clone(f.Packages)
	sorted.sort()
	p := &printer{}
	sorted.print(p)
	if p.err != nil {
		return fmt.Errorf("write lock: %w", p.err)
	}
	if _, err := w.Write(p.Bytes()); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	return nil
}

// sort brings packages and the lists in them into their order.
func (f *File) sort() {
	slices.SortStableFunc(f.Packages, func(a, b Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.Version.Compare(b.Version), strings.Compare(a.Marker.String(), b.Marker.String()))
	})
	for i := range f.Packages {
		p := &f.Packages[i]
		p.Wheels = slices.Clone(p.Wheels)
		slices.SortStableFunc(p.Wheels, func(a, b Artifact) int { return strings.Compare(a.Filename, b.Filename) })
		p.Dependencies = slices.Clone(p.Dependencies)
		slices.SortStableFunc(p.Dependencies, func(a, b Dependency) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), a.Version.Compare(b.Version))
		})
	}
}

func (f *File) print(p *printer) {
	p.pair("lock-version", f.LockVersion)
	if f.Environments != nil {
		var list []any
		for _, m := range f.Environments {
			list = append(list, m.String())
		}
		p.list("environments", list)
	}
	if len(f.RequiresPython) > 0 {
		p.pair("requires-python", f.RequiresPython.String())
	}
	for _, l := range []struct {
		key  string
		list []string
	}{{"extras", f.Extras}, {"dependency-groups", f.DependencyGroups}, {"default-groups", f.DefaultGroups}} {
		if l.list != nil {
			p.pair(l.key, anys(l.list))
		}
	}
	p.pair("created-by", f.CreatedBy)
	if len(f.Packages) == 0 {
		p.pair("packages", []any{})
	}
	for i := range f.Packages {
		f.Packages[i].print(p)
	}
	p.tables([]string{"tool"}, f.Tool)
}

func (pkg *Package) print(p *printer) {
	p.WriteString("\n[[packages]]\n")
	p.pair("name", pkg.Name)
	if !pkg.Version.IsZero() {
		p.pair("version", pkg.Version.String())
	}
	if !pkg.Marker.IsZero() {
		p.pair("marker", pkg.Marker.String())
	}
	if len(pkg.RequiresPython) > 0 {
		p.pair("requires-python", pkg.RequiresPython.String())
	}
	var dependencies []any
	for _, d := range pkg.Dependencies {
		t := table{{"name", d.Name}}
		if d.Name == "" {
			t = nil
		}
		if !d.Version.IsZero() {
			t = append(t, pair{"version", d.Version.String()})
		}
		for _, k := range slices.Sorted(maps.Keys(d.Other)) {
			t = append(t, pair{k, d.Other[k]})
		}
		dependencies = append(dependencies, t)
	}
	p.list("dependencies", dependencies)
	if v := pkg.VCS; v != nil {
		p.pair("vcs", table{{"type", v.Type}}.text("url", v.URL).text("path", v.Path).text("requested-revision", v.RequestedRevision).
			text("commit-id", v.CommitID).text("subdirectory", v.Subdirectory))
	}
	if d := pkg.Directory; d != nil {
		t := table{{"path", d.Path}}
		if d.Editable {
			t = append(t, pair{"editable", true})
		}
		p.pair("directory", t.text("subdirectory", d.Subdirectory))
	}
	if pkg.Archive != nil {
		p.pair("archive", pkg.Archive.table())
	}
	if pkg.Index != "" {
		p.pair("index", pkg.Index)
	}
	if pkg.Sdist != nil {
		p.pair("sdist", pkg.Sdist.table())
	}
	var wheels []any
	for i := range pkg.Wheels {
		wheels = append(wheels, pkg.Wheels[i].table())
	}
	p.list("wheels", wheels)
	var identities []any
	for _, a := range pkg.AttestationIdentities {
		identities = append(identities, a)
	}
	p.list("attestation-identities", identities)
	p.tables([]string{"packages", "tool"}, pkg.Tool)
}

// table is the file in the order of PEP 751. Its name is left out where it is
// that of the place it is at.
func (a *Artifact) table() table {
	place := a.Path
	if place == "" {
		place = a.URL
	}
	var t table
	if a.Filename != lastOf(place) {
		t = t.text("name", a.Filename)
	}
	if !a.UploadTime.IsZero() {
		t = append(t, pair{"upload-time", a.UploadTime})
	}
	t = t.text("url", a.URL).text("path", a.Path)
	if a.Size != 0 {
		t = append(t, pair{"size", a.Size})
	}
	return append(t, pair{"hashes", a.hashTable()}).text("subdirectory", a.Subdirectory)
}

func (a *Artifact) hashTable() table {
	t := table{}
	for _, k := range slices.Sorted(maps.Keys(a.Hashes)) {
		t = append(t, pair{k, a.Hashes[k]})
	}
	return t
}

// pair is a key with its value, table an inline table in its order.
type pair struct {
	key   string
	value any
}

type table []pair

// text adds a string, if there is one.
func (t table) text(key, value string) table {
	if value == "" {
		return t
	}
	return append(t, pair{key, value})
}

// printer writes TOML.
type printer struct {
	bytes.Buffer
	err error
}

func (p *printer) pair(key string, value any) {
	p.WriteString(tomlKey(key) + " = ")
	p.value(value)
	p.WriteString("\n")
}

// list writes an array with one element a line; nothing without elements.
func (p *printer) list(key string, list []any) {
	if len(list) == 0 {
		return
	}
	p.WriteString(key + " = [\n")
	for _, e := range list {
		p.WriteString("    ")
		p.value(e)
		p.WriteString(",\n")
	}
	p.WriteString("]\n")
}

// tables writes the tables of a map, each under a header of its own, and what
// is no table before them.
func (p *printer) tables(path []string, m map[string]any) {
	if m == nil {
		return
	}
	var plain, nested []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if _, ok := m[k].(map[string]any); ok {
			nested = append(nested, k)
		} else {
			plain = append(plain, k)
		}
	}
	if len(plain) > 0 || len(nested) == 0 {
		keys := make([]string, len(path))
		for i, k := range path {
			keys[i] = tomlKey(k)
		}
		p.WriteString("\n[" + strings.Join(keys, ".") + "]\n")
	}
	for _, k := range plain {
		p.pair(k, m[k])
	}
	for _, k := range nested {
		p.tables(append(slices.Clip(path), k), m[k].(map[string]any))
	}
}

func (p *printer) value(v any) {
	switch v := v.(type) {
	case string:
		p.WriteString(tomlString(v))
	case bool:
		p.WriteString(strconv.FormatBool(v))
	case int:
		p.WriteString(strconv.Itoa(v))
	case int64:
		p.WriteString(strconv.FormatInt(v, 10))
	case float64:
		p.WriteString(tomlFloat(v))
	case time.Time:
		p.WriteString(v.UTC().Format(time.RFC3339Nano))
	case python.Version:
		p.WriteString(tomlString(v.String()))
	case []string:
		p.value(anys(v))
	case []any:
		p.WriteString("[")
		for i, e := range v {
			if i > 0 {
				p.WriteString(", ")
			}
			p.value(e)
		}
		p.WriteString("]")
	case table:
		p.inline(v)
	case map[string]any:
		var t table
		for _, k := range slices.Sorted(maps.Keys(v)) {
			t = append(t, pair{k, v[k]})
		}
		p.inline(t)
	default:
		if p.err == nil {
			p.err = fmt.Errorf("a %T cannot be written as TOML", v)
		}
	}
}

func (p *printer) inline(t table) {
	if len(t) == 0 {
		p.WriteString("{}")
		return
	}
	p.WriteString("{ ")
	for i, e := range t {
		if i > 0 {
			p.WriteString(", ")
		}
		p.WriteString(tomlKey(e.key) + " = ")
		p.value(e.value)
	}
	p.WriteString(" }")
}

// tomlKey quotes a key where it must be.
func tomlKey(k string) string {
	if k != "" && strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == "" {
		return k
	}
	return tomlString(k)
}

// tomlString writes a literal string where that spares escapes, else a basic one.
func tomlString(s string) string {
	if strings.ContainsAny(s, `"\\`) && !strings.ContainsFunc(s, func(r rune) bool { return r == '\'' || r < 0x20 || r == 0x7f || r == utf8.RuneError }) {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < 0x20 || r == 0x7f || r == utf8.RuneError:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// tomlFloat writes a number that is read as a float again.
func tomlFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	switch {
	case f != f:
		return "nan"
	case strings.HasSuffix(s, "Inf"):
		return strings.ToLower(s)
	case !strings.ContainsAny(s, ".e"):
		return s + ".0"
	}
	return s
}
