package document

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/python"
)

const sample = `# a comment
name = "x"
"quoted key".dotted = 0x1f

[a.b]
list = [
  "one",
  { k = 1 }, # comment
  [2024-01-02T03:04:05Z, 1_000, -2.5, true, 1979-05-27],
]
text = """
multi
line"""
[[t]]
k = 1
[t.sub]
deep = "d"
[[t]]
k = 2
inline = { x.y = 1, z = "w" }
`

func TestTOML(t *testing.T) {
	doc, err := TOML("x.toml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"name":       "x",
		"quoted key": map[string]any{"dotted": int64(31)},
		"a": map[string]any{"b": map[string]any{
			"list": []any{"one", map[string]any{"k": int64(1)},
				[]any{time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), int64(1000), -2.5, true, "1979-05-27"}},
			"text": "multi\nline",
		}},
		"t": []any{
			map[string]any{"k": int64(1), "sub": map[string]any{"deep": "d"}},
			map[string]any{"k": int64(2), "inline": map[string]any{"x": map[string]any{"y": int64(1)}, "z": "w"}},
		},
	}
	if diff := cmp.Diff(want, doc.Plain()); diff != "" {
		t.Error(diff)
	}
	list := doc.Table("a").Table("b").Get("list").Array()
	tables := doc.Get("t").Tables()
	for _, tt := range []struct {
		what      string
		got, want int
	}{
		{"name", doc.Get("name").Line, 2},
		{"quoted key", doc.Get("quoted key").Line, 3},
		{"[a.b]", doc.Table("a").Table("b").Line, 5},
		{"list", doc.Table("a").Table("b").Get("list").Line, 6},
		{"list[0]", list[0].Line, 7},
		{"list[1].k", list[1].Table().Get("k").Line, 8},
		{"list[2][4]", list[2].Array()[4].Line, 9},
		{"t[0]", tables[0].Line, 14},
		{"t[0].sub.deep", tables[0].Table("sub").Get("deep").Line, 17},
		{"t[1]", tables[1].Line, 18},
		{"inline.z", tables[1].Table("inline").Get("z").Line, 20},
	} {
		if tt.got != tt.want {
			t.Errorf("line of %s: %d, want %d", tt.what, tt.got, tt.want)
		}
	}
	if got := tables[1].Table("inline").Table("x").Get("y").Path; got != "t[1].inline.x.y" {
		t.Errorf("path: %s", got)
	}
}

func TestJSON(t *testing.T) {
	doc, err := JSON("x.json", []byte("{\n \"a\": {\"b\": [1,\n  2.5, null, true, \"s\"]},\n \"c\": {}\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"a": map[string]any{"b": []any{int64(1), 2.5, nil, true, "s"}}, "c": map[string]any{}}
	if diff := cmp.Diff(want, doc.Plain()); diff != "" {
		t.Error(diff)
	}
	if l := doc.Table("a").Get("b").Array()[1].Line; l != 3 {
		t.Errorf("line of b[1]: %d", l)
	}
	if l := doc.Get("c").Line; l != 4 {
		t.Errorf("line of c: %d", l)
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		line       int
		say        string
	}{
		{"x.toml", "a = 1\na = 2\n", 2, "a"},
		{"x.toml", "a = 1\nb = \n", 2, "not TOML"},
		{"x.toml", "a = " + strings.Repeat("[", 200000), 1, "nested"},
		{"x.json", "{\n\"a\": 1,\n\"a\": 2}", 3, "given twice"},
		{"x.json", "{\n\"a\": \n", 2, "unexpected EOF"},
		{"x.json", "[]", 1, "not an object"},
		{"x.json", "{} {}", 1, "follows the end"},
		{"x.json", `{"a":` + strings.Repeat("[", 100000), 1, "levels"},
	} {
		read := TOML
		if strings.HasSuffix(tt.name, "json") {
			read = JSON
		}
		_, err := read(tt.name, []byte(tt.text))
		var at *python.FileError
		if !errors.As(err, &at) || at.Line != tt.line || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%.40q: %v, want line %d and %q", tt.text, err, tt.line, tt.say)
		}
	}
}

func TestWrongTypes(t *testing.T) {
	for _, tt := range []struct {
		ask func(*Table)
		say string
	}{
		{func(d *Table) { _ = d.String("n") }, "x.toml:2: n is an integer and should be a string"},
		{func(d *Table) { d.Strings("l") }, "x.toml:3: l[1] is an integer and should be a string"},
		{func(d *Table) { d.Table("s") }, "x.toml:1: s is a string and should be a table"},
		{func(d *Table) { d.Get("s").Tables() }, "x.toml:1: s is a string and should be an array"},
		{func(d *Table) { d.Get("s").Time() }, `x.toml:1: s is "text", which is not a time in the format of RFC 3339`},
		{func(d *Table) { d.Get("s").Int(); d.Bool("n") }, "x.toml:1: s is a string and should be an integer"},
		{func(d *Table) { d.Get("s"); d.Get("n"); d.Get("list"); d.RefuseUnknown() }, "x.toml:3: there is no key l"},
		{func(d *Table) { _ = d.String("none"); d.Table("none").Table("deep").Strings("x") }, "<nil>"},
	} {
		d, err := TOML("x.toml", []byte("s = \"text\"\nn = 1\nl = [\"a\", 2]\n"))
		if err != nil {
			t.Fatal(err)
		}
		tt.ask(d)
		if got := fmt.Sprint(d.Err()); got != tt.say {
			t.Errorf("%s, want %s", got, tt.say)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"dependencies", "optional-dependencies", "name", "version"}
	for word, want := range map[string]string{"dependancies": "dependencies", "Name": "name", "ver": "", "nonsense": "", "versoin": "version"} {
		if got := Nearest(word, names); got != want {
			t.Errorf("Nearest(%s) = %q, want %q", word, got, want)
		}
	}
}

func FuzzTOML(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("a.b = 1\n[a]\nc = 2\n[[a.d]]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := TOML("x", data); err == nil {
			d.Plain()
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a": [1, {"b": null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := JSON("x", data); err == nil {
			d.Plain()
		}
	})
}
