package python

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sampleMetadata = `Metadata-Version: 2.4
Name: Flask_Example
Version: 3.0-1
Summary: An example
 of two lines
license-expression: MIT
Requires-Python: >=3.9, !=3.9.1
Requires-Dist: werkzeug>=3.0
Requires-Dist: colorama (>0.4) ; sys_platform
 == "win32"
Requires-Dist: python-dotenv; extra == 'Dot_Env'
Provides-Extra: dot-env
Dynamic: License
Keywords: a,b

Requires-Dist: not-this-one
`

func TestMetadata(t *testing.T) {
	for _, text := range []string{sampleMetadata, strings.ReplaceAll(sampleMetadata, "\n", "\r\n"), "\ufeff" + sampleMetadata} {
		m, err := ParseMetadata([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var requires []string
		for _, r := range m.RequiresDist {
			requires = append(requires, r.String())
		}
		want := []any{"2.4", "Flask_Example", "3.0.post1", "An example of two lines", "MIT", "!=3.9.1,>=3.9",
			[]string{"werkzeug>=3.0", `colorama>0.4; sys_platform == "win32"`, `python-dotenv; extra == "dot-env"`}, []string{"dot-env"}, []string{"license"}, []string(nil)}
		got := []any{m.MetadataVersion, m.Name, m.Version.String(), m.Summary, m.LicenseExpression, m.RequiresPython.String(),
			requires, m.ProvidesExtra, m.Dynamic, m.Problems}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if m.IsStatic("License") || !m.IsStatic("requires-dist") {
			t.Error("what is dynamic is not static")
		}
	}
}

func TestMetadataSetAside(t *testing.T) {
	m, err := ParseMetadata([]byte("Metadata-Version: 1.2\nName: a\nLicense: one\ntwo\nthree\nVersion: 1\nRequires-Python: >=3.6.*\nRequires-Dist: b\n"))
	if err != nil || len(m.Problems) != 2 || len(m.RequiresDist) != 1 || len(m.RequiresPython) != 0 || m.IsStatic("Requires-Dist") {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestMetadataErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "Name: is missing",
		"Name: a\n":             "metadata of a: Version: is missing",
		"Name: a\nVersion: x\n": "metadata of a x: Version: version",
		"Name: a\nVersion: 1\nRequires-Dist: b c\n":    `metadata of a 1: Requires-Dist: requirement "b c"`,
		"Name: a\nVersion: 1\nName: b\n":               "both",
		"Name: ../a\nVersion: 1\n":                     "not a name",
		"Metadata-Version: 3.0\nName: a\nVersion: 1\n": "cannot be read",
		strings.Repeat("A: b\n", maxMetadataFields+1):  "more than",
	} {
		_, err := ParseMetadata([]byte(text))
		var m *MetadataError
		if want == "cannot be read" {
			want = "not a version that can be read"
		}
		if !errors.As(err, &m) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(sampleMetadata))
	f.Add([]byte("Name: a\nVersion: 1\n x\n\ty\nfoo\n: b\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMetadata(b)
		if err != nil {
			_ = err.Error()
		} else if !ValidName(m.Name) || m.Version.IsZero() {
			t.Fatalf("%q: %+v", b, m)
		}
	})
}

func TestLock(t *testing.T) {
	good := func(name, file string) Locked {
		return Locked{Name: name, Version: mustParse(t, "1.0"), Wheel: File{Filename: file, Hashes: map[string]string{"sha256": strings.Repeat("0a", 32)}}}
	}
	l := Lock{Target: linuxTarget(t), Packages: []Locked{good("b", "b-1-py3-none-any.whl"), good("a", "a-1.0-cp313-cp313-linux_x86_64.whl")}}
	if l.Validate() == nil {
		t.Error("it is not in order")
	}
	l.Packages[0].RequiredBy = []string{"z", "a", "a"}
	l.Sort()
	if err := l.Validate(); err != nil {
		t.Error(err)
	}
	if p, ok := l.Lookup("B"); !ok || len(p.RequiredBy) != 2 {
		t.Errorf("%+v, %v", p, ok)
	}
	if _, ok := l.Lookup("c"); ok {
		t.Error("c is not there")
	}
	for _, bad := range []Locked{
		good("A", "a-1-py3-none-any.whl"), good("b", "a-1-py3-none-any.whl"), good("a", "a-2-py3-none-any.whl"), good("a", "a-1-py2-none-any.whl"), good("a", "a-1.tar.gz"),
		{Name: "a", Version: mustParse(t, "1"), Wheel: File{Filename: "a-1-py3-none-any.whl", Hashes: map[string]string{"md5": "00"}}},
		{Name: "a", Version: mustParse(t, "1"), Wheel: File{Filename: "a-1-py3-none-any.whl", Hashes: map[string]string{"sha256": "00"}}},
	} {
		if (Lock{Target: linuxTarget(t), Packages: []Locked{bad}}).Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}
