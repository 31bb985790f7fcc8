package python

import (
	"errors"
	"strings"
	"testing"
)

func linuxTarget(t testing.TB) Target {
	return Target{Python: mustParse(t, "3.13"), OS: "linux", Arch: "amd64", Libc: Libc{"glibc", 2, 41}}
}

func TestRequirementText(t *testing.T) {
	for in, want := range map[string]string{
		"Flask":      "Flask",
		"a[z,b] >=1": "a[b,z]>=1",
		"a [ ] ( >= 1 , <2 ) ; python_version>'3'":      `a<2,>=1; python_version > "3"`,
		"a @ https://example.org/a.whl ; os_name=='nt'": `a @ https://example.org/a.whl ; os_name == "nt"`,
	} {
		r, err := ParseRequirement(in)
		if err != nil {
			t.Error(err)
			continue
		}
		if r.String() != want {
			t.Errorf("%q is written %q, want %q", in, r, want)
		}
	}
	r, err := ParseRequirement("a @ https://user:secret@example.org/a.whl")
	if err != nil || strings.Contains(r.Redacted(), "secret") {
		t.Errorf("%s, %v", r.Redacted(), err)
	}
}

func TestRequirementErrors(t *testing.T) {
	for in, reason := range map[string]string{
		"":                                     "expected the name",
		"-x":                                   "expected the name",
		"na me":                                "expected a version specifier",
		"a=1":                                  "did you mean ==",
		"a>=1 <2":                              "expected a comma",
		"a[b":                                  "closing bracket",
		"a[b,]":                                "after the comma",
		"a(>=1":                                "closing parenthesis",
		"a @ ":                                 "expected a URL",
		"a @ x y":                              "semicolon or the end after the URL",
		"a; x == 'y'":                          "expected a variable",
		"a; os_name == 'y":                     "has no end",
		"a; os_name 'y'":                       "expected <=",
		"a; os_name not 'y'":                   "expected in",
		"a; (os_name == 'y'":                   "not closed",
		"a; os_name == 'y' xx":                 "expected the end",
		"a>=1.*":                               "only be used with",
		"a @ https://u:secret@example.org/x y": "****@example.org",
	} {
		_, err := ParseRequirement(in)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestMarkerExtras(t *testing.T) {
	env := linuxTarget(t).Environment()
	for _, c := range []struct {
		marker string
		extras []string
		want   bool
	}{
		{"", nil, true},
		{"extra == 'Foo_Bar'", []string{"foo-bar"}, true},
		{"extra == 'foo.bar'", []string{"x", "FOO--bar"}, true}, // PEP 685
		{"extra == 'a'", nil, false},
		{"extra != 'a'", []string{"a"}, false},
		{"extra != 'a'", []string{"a", "b"}, true}, // any of them
		{"python_version >= '3.10'", nil, true},
		{"python_version < '3.2' or sys_platform == 'linux' and platform_machine == 'x86_64'", nil, true},
		{"(python_version < '3.2' or sys_platform == 'linux') and os_name == 'nt'", nil, false},
		{"python_full_version >= '3.13.0' and implementation_name == 'cpython'", nil, true},
		{"platform_release >= '5'", nil, false},
		{"os_name ~= 'posix'", nil, false}, // no meaning
	} {
		var m Marker
		if c.marker != "" {
			var err error
			if m, err = ParseMarker(c.marker); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.Evaluate(env, c.extras...); got != c.want {
			t.Errorf("%q with %q is %v", c.marker, c.extras, got)
		}
	}
}

func TestMarkerUndefined(t *testing.T) {
	env := linuxTarget(t).Environment()
	for _, s := range []string{"os_name ~= 'posix'", "'a' == 'a'", "python_version ~= '3'", "'x' in extras", "os_name == 'nt' and os_name ~= 'x'"} {
		m, err := ParseMarker(s)
		if err != nil {
			t.Fatal(err)
		}
		var undefined *UndefinedError
		if _, err := m.Eval(env); !errors.As(err, &undefined) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestMarkerOfLock(t *testing.T) {
	env := linuxTarget(t).Environment()
	for s, want := range map[string]bool{
		"'Foo_Bar' in extras": true,
		"'x' in extras":       false,
		"'x' not in extras":   true,
		"'dev' in dependency_groups and 'foo-bar' in extras":         true,
		"'dev' not in dependency_groups or python_version >= '3.13'": true,
		"'foo-bar' == extras": false,
	} {
		m, err := ParseMarker(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.EvalLock(env, []string{"foo.bar"}, []string{"Dev"}); err != nil || got != want {
			t.Errorf("%s = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"extra == 'x'", "extras == 'x'", "'x' ~= extras"} {
		m, err := ParseMarker(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.EvalLock(env, nil, nil); err == nil {
			t.Errorf("%s has a meaning", s)
		}
	}
}

func TestMarkerText(t *testing.T) {
	for in, want := range map[string]string{
		`os_name == 'a"b'`:                 `os_name == 'a"b'`,
		`os_name == "a\x22'"`:              `os_name == "a\x22'"`,
		`os_name == "a\\b"`:                `os_name == "a\\b"`,
		`os_name == "a\d"`:                 `os_name == "a\d"`,
		`os_name == "\x41\101\u0041"`:      `os_name == "AAA"`,
		`((os.name=="a"))or(os.name=="b")`: `os_name == "a" or os_name == "b"`,
	} {
		m, err := ParseMarker(in)
		if err != nil {
			t.Error(err)
			continue
		}
		if m.String() != want {
			t.Errorf("%s is written %s, want %s", in, m, want)
		}
	}
}

func TestMarkerIsBounded(t *testing.T) {
	deep := func(n int) string {
		return strings.Repeat("(", n) + "os_name == 'a'" + strings.Repeat(")", n)
	}
	if _, err := ParseMarker(deep(100)); err != nil {
		t.Error(err)
	}
	for _, s := range []string{deep(maxMarkerDepth + 1), deep(1 << 16), strings.Repeat("(", 1<<17), strings.Repeat("x", maxRequirementLen+1)} {
		if _, err := ParseMarker(s); err == nil {
			t.Errorf("%.20s… has no bound", s)
		}
	}
}

func FuzzMarker(f *testing.F) {
	for _, s := range []string{
		`python_version >= "3.8" and (os_name == 'nt' or extra == "A_b")`, `"x" in extras`, `os_name == "\x41\'"`, `os_name=="a\`, `((((`, `"3.8" <= python_full_version`,
	} {
		f.Add(s)
	}
	env := linuxTarget(f).Environment()
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMarker(s)
		if err != nil {
			_ = err.Error()
			return
		}
		again, err := ParseMarker(m.String())
		if err != nil || again.String() != m.String() {
			t.Fatalf("%q is written %q, which reads %q, %v", s, m, again, err)
		}
		a, err1 := m.Eval(env, "a", "b")
		b, err2 := again.Eval(env, "a", "b")
		if a != b || (err1 == nil) != (err2 == nil) {
			t.Fatalf("%q and %q differ: %v %v, %v %v", s, m, a, err1, b, err2)
		}
		_, _ = m.EvalLock(env, []string{"a"}, nil)
	})
}

func FuzzRequirement(f *testing.F) {
	for _, s := range []string{
		`requests[security,socks]>=2.8.1,==2.8.*; python_version < "2.7"`, `a @ https://example.org/a.whl ; os_name=="nt"`, `a(>=1)`, `a===x y`, `a[`, `a_`, `é`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRequirement(s)
		if err != nil {
			_ = err.Error()
			return
		}
		again, err := ParseRequirement(r.String())
		if err != nil || again.String() != r.String() {
			t.Fatalf("%q is written %q, which reads %q, %v", s, r, again, err)
		}
	})
}
