package source

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIgnore(t *testing.T) {
	for _, test := range []struct {
		lines   string
		yes, no string // paths with spaces between them
	}{
		{"*.py[cod]", "a.pyc a/b.pyo", "a.py a.pyx"},
		{"/dist", "dist dist/a", "a/dist x"},
		{"build/", "build/a a/build/b/c", "build a/build"},
		{"a/b", "a/b a/b/c", "x/a/b"},
		{"**/foo", "foo a/foo a/b/foo/c", "foobar"},
		{"foo/**", "foo/a foo/b/c", "foo a/foo/b"},
		{"a/**/b", "a/b a/x/b a/x/y/b", "ab a/xb"},
		{"*.log\n!keep.log", "x.log", "keep.log a/keep.log"},
		{"secret/\n!secret/open.txt", "secret/a", "secret/open.txt"},
		{"# c\n\n\\#x\n\\!y", "#x !y", "c x y"},
		{"[a-c]?.t", "ab.t cd.t", "db.t a.t"},
		{"[!a]b", "cb", "ab"},
		{"x ", "x", "x\u00a0"},
		{"[a", "", "a [a"},
		{"*", "a a/b .c", ""},
		{"*/", "a/b", "a"},
	} {
		list, ok := parseIgnore(strings.Split(test.lines, "\n"))
		if !ok {
			t.Errorf("%q is not followed", test.lines)
		}
		for _, p := range strings.Fields(test.yes) {
			if !list.match(p) {
				t.Errorf("%q does not match %q", test.lines, p)
			}
		}
		for _, p := range strings.Split(test.no, " ") {
			if p != "" && list.match(p) {
				t.Errorf("%q matches %q", test.lines, p)
			}
		}
	}
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern string
		hidden  bool
		yes, no string
	}{
		{"*.py", false, "a.py", ".a.py a/b.py"},
		{"*.py", true, "a.py .a.py", "a/b.py"},
		{"**/*.html", false, "a.html x/y/a.html", ".x/a.html x/.a.html"},
		{"data/**", false, "data/a data/b/c", "data a/data/b"},
		{"?.t", false, "a.t", "..t ab.t"},
		{"LICEN[CS]E*", false, "LICENSE LICENCE.md", "LICENSX"},
		{"*x*", false, "x axb", ".x"},
		{"*", false, "a", ".a a/b"},
	} {
		re, ok := globExpression(test.pattern, test.hidden)
		if !ok {
			t.Errorf("%q is not followed", test.pattern)
			continue
		}
		for _, p := range strings.Fields(test.yes) {
			if !re.MatchString(p) {
				t.Errorf("%q does not match %q", test.pattern, p)
			}
		}
		for _, p := range strings.Fields(test.no) {
			if re.MatchString(p) {
				t.Errorf("%q matches %q", test.pattern, p)
			}
		}
	}
}

func TestStatements(t *testing.T) {
	type found struct {
		Value string
		Plain bool
	}
	for text, want := range map[string]found{
		"v = '1.0'":                            {"1.0", true},
		"v: str = \"1\" '.2'  # c":             {"1.2", true},
		"a = v = b = '3'":                      {"3", true},
		"v = ('4')":                            {"4", true},
		"import x; v = '5'; y = 2":             {"5", true},
		"x = (1,\n v == '0',\n)\nv = \\\n '6'": {"6", true},
		"'''doc\nv = \"no\"\n'''\nv = '7'":     {"7", true},
		"if x:\n    v = '0'\nv = '8'":          {"8", true},
		"def f(v='0'):\n\n  v = '1'\n\nv='9'":  {"9", true},
		"v = f'1.{x}'":                         {"1.{x}", false},
		"v = '1' + '2'":                        {"", false},
		"v = b'1'":                             {"1", false},
		"v, w = '1', '2'":                      {"", false},
		"v = '1' if x else '2'":                {"", false},
		"v = '\\x31'":                          {"\\x31", false},
		"v = r'\\d'":                           {"\\d", true},
		"v = get()":                            {"", false},
		"v == '1'":                             {},
	} {
		list, ok := pyStatements(text)
		if !ok {
			t.Errorf("%q is not read", text)
		}
		var got found
		for _, st := range list {
			if slices.Contains(st.targets, "v") {
				got = found{st.text, st.literal}
				break
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", text, d)
		}
	}
	for _, text := range []string{"v = '1", "v = (", "v = )", "'''", "\x00"} {
		if _, ok := pyStatements(text); ok {
			t.Errorf("%q is read", text)
		}
	}
}

func TestINI(t *testing.T) {
	f, _, ok := parseINI("# c\n[a]\nx = 1\ny =\n  one\n\n  # c\n  two\nz: 3 = 4\n\n[b c]\nq=\n")
	if !ok {
		t.Fatal("not read")
	}
	got := map[string]string{}
	for _, s := range f.sections {
		for _, k := range s.keys {
			got[s.name+"."+k.name] = k.value
		}
	}
	want := map[string]string{"a.x": "1", "a.y": "\none\n\ntwo", "a.z": "3 = 4", "b c.q": ""}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"x = 1\n", "[a\n", "[a]\nnothing\n", "[a]\n[a]\n", "[a]\nx=1\nx=2\n"} {
		if _, _, ok := parseINI(bad); ok {
			t.Errorf("%q is read", bad)
		}
	}
}

func FuzzIgnore(f *testing.F) {
	f.Add("*.py[cod]\n!a\n/b/**/c/\n", "a/b.pyc")
	f.Fuzz(func(t *testing.T, lines, p string) {
		if list, ok := parseIgnore(strings.Split(lines, "\n")); ok {
			list.match(p)
		}
		for _, hidden := range []bool{false, true} {
			if re, ok := globExpression(lines, hidden); ok {
				re.MatchString(p)
			}
		}
		portableGlob(lines)
	})
}

func FuzzModule(f *testing.F) {
	f.Add("'''doc'''\nimport x\n__version__: str = ('1' \"2\") # c\nif x:\n\ty = f'{1}'\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, ok := pyStatements(text)
		if !ok && list != nil {
			t.Error("statements of what is not read")
		}
		isBareSetup(text)
	})
}
