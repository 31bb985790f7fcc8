package lockfile

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// lock makes a lock of "name version", "name version cp312" for a wheel of one
// platform, or "name version sdist"; with "!" what was asked for, and "<a,b"
// what requires it.
func lock(t testing.TB, on string, packages ...string) python.Lock {
	t.Helper()
	l := python.Lock{Target: target(t, on)}
	for i, text := range packages {
		f := strings.Fields(text)
		p := python.Locked{Name: f[0], Version: ver(t, f[1])}
		file := func(name string) python.File {
			return python.File{Filename: name, URL: "https://user:secret@example.com/" + name, Size: int64(100 + i), RequiresPython: ">=3.8",
				Hashes: map[string]string{"sha256": fmt.Sprintf("%064x", len(name))}, UploadTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		}
		p.Wheel = file(f[0] + "-" + f[1] + "-py3-none-any.whl")
		for _, x := range f[2:] {
			switch {
			case x == "!":
				p.Requested = true
			case x == "sdist":
				p.Wheel, p.Sdist = python.File{}, file(f[0]+"-"+f[1]+".tar.gz")
			case x == "native":
				tag := l.Target.Tags()[slices.IndexFunc(l.Target.Tags(), func(t python.Tag) bool {
					return strings.Contains(t.Platform, "linux_2") || strings.HasPrefix(t.Platform, "musl")
				})]
				p.Wheel = file(f[0] + "-" + f[1] + "-" + tag.String() + ".whl")
			case x[0] == '<':
				p.RequiredBy = strings.Split(x[1:], ",")
			case x[0] == '[':
				p.Extras = strings.Split(x[1:len(x)-1], ",")
			}
		}
		l.Packages = append(l.Packages, p)
	}
	l.Sort()
	return l
}

func merged(t *testing.T) []python.Lock {
	return []python.Lock{
		lock(t, "3.11 amd64", "app 1.0 ! [web]", "compiled 2.0 native <app", "old 1.9 <app", "backport 1.0 <app"),
		lock(t, "3.12 amd64", "app 1.0 ! [web]", "compiled 2.0 native <app", "old 2.1 <app"),
		lock(t, "3.12 arm64", "app 1.0 !", "compiled 2.0 sdist <app", "old 2.1 <app !", "arm 3 <compiled"),
		lock(t, "3.12 arm64 musl", "app 1.0 !", "compiled 2.0 native <app", "old 2.1 <app !", "arm 3 <compiled"),
	}
}

func TestMerge(t *testing.T) {
	locks := merged(t)
	f, err := Merge(locks, MergeOptions{Extras: []string{"Web"}, IndexOf: map[string]string{"app": "https://user:secret@example.com/simple"}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "merged.golden.toml", b.Bytes())
	if strings.Contains(b.String(), "secret") {
		t.Error("a password is written")
	}
	again, err := ReadPylock("pylock.toml", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f, again, options); diff != "" {
		t.Error(diff)
	}
	// Each target gets its own lock back, but for what indexes say.
	for _, l := range locks {
		s, err := again.Select(l.Target, Selection{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range l.Packages {
			p := &l.Packages[i]
			for _, file := range []*python.File{&p.Wheel, &p.Sdist} {
				file.RequiresPython = ""
				file.URL = strings.Replace(file.URL, "user:secret@", "", 1)
			}
			if p.Name == "app" {
				p.Extras = []string{"web"} // of any target
			}
		}
		if diff := cmp.Diff(l, s.Lock, options); diff != "" {
			t.Errorf("%s (-want +got):\n%s", l.Target, diff)
		}
	}
	if got := again.Targets(); len(got) != 4 || got[3] != "CPython 3.12 on linux/arm64 (musl 1.2)" {
		t.Errorf("targets %q", got)
	}
	if _, err := Merge(nil, MergeOptions{}); err == nil {
		t.Error("nothing was merged")
	}
}

func TestMergeDir(t *testing.T) {
	l := lock(t, "3.12 amd64", "app 1.0")
	l.Packages[0].Wheel.URL = "file:///src/wheels/app-1.0-py3-none-any.whl"
	f, err := Merge([]python.Lock{l}, MergeOptions{Dir: "/src/lock"})
	if err != nil {
		t.Fatal(err)
	}
	if a := f.Packages[0].Wheels[0]; a.Path != "../wheels/app-1.0-py3-none-any.whl" || a.URL != "" {
		t.Errorf("%+v", a)
	}
}

func TestMergeApart(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"3.12 amd64", "3.12 amd64 musl", "CPython 3.12 on linux/amd64 (glibc 2.36) and CPython 3.12 on linux/amd64 (musl 1.2) cannot share a lock: they need p 1 and 2, and no marker tells them apart"},
		{"3.13 amd64", "3.13t amd64", "CPython 3.13 on linux/amd64 (glibc 2.36) and CPython 3.13t on linux/amd64 (glibc 2.36) cannot share a lock: they need p 1 and 2, and no marker tells them apart"},
	} {
		_, err := Merge([]python.Lock{lock(t, tt.a, "p 1"), lock(t, tt.b, "p 2")}, MergeOptions{})
		var apart *ApartError
		if !errors.As(err, &apart) || err.Error() != tt.want || !strings.Contains(apart.Hint(), "pylock.NAME.toml") {
			t.Errorf("%v", err)
		}
	}
	_, err := Merge([]python.Lock{lock(t, "3.12 amd64", "p 1"), lock(t, "3.12 amd64 musl")}, MergeOptions{})
	if err == nil || !strings.Contains(err.Error(), "they need p 1 and none") {
		t.Errorf("%v", err)
	}
}

func TestMarkers(t *testing.T) {
	for _, tt := range []struct{ targets, in, want string }{
		{"3.11 amd64|3.12 amd64", "10", `python_version < "3.12"`},
		{"3.11 amd64|3.12 amd64", "01", `python_version >= "3.12"`},
		{"3.11 amd64|3.12 amd64|3.13 amd64", "010", `python_version == "3.12"`},
		{"3.11 amd64|3.12 amd64|3.13 amd64", "101", `python_version != "3.12"`},
		{"3.9 amd64|3.10 amd64|3.11 amd64|3.12 amd64", "0110", `python_version >= "3.10" and python_version < "3.12"`},
		{"3.12 amd64|3.12 arm64", "01", `platform_machine == "aarch64"`},
		{"3.12 amd64|3.12 arm64|3.12 s390x", "101", `platform_machine != "aarch64"`},
		{"3.12 amd64|3.12 arm64|3.13 arm64", "010", `platform_machine == "aarch64" and python_version < "3.13"`},
		{"3.12 amd64|3.12 arm64|3.13 amd64|3.13 arm64", "1110", `python_version < "3.13" or platform_machine == "x86_64"`},
		{"3.12 amd64|3.12 amd64 musl|3.12 arm64", "110", `platform_machine == "x86_64"`},
		{"3.12.1 amd64|3.12.4 amd64", "01", `python_full_version >= "3.12.4"`},
		{"3.12 amd64", "1", ""},
	} {
		var targets []python.Target
		for _, s := range strings.Split(tt.targets, "|") {
			targets = append(targets, target(t, s))
		}
		in := make([]bool, len(targets))
		for i := range in {
			in[i] = tt.in[i] == '1'
		}
		if got := newPartition(targets).marker(in); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.targets, tt.in, got, tt.want)
		}
	}
}

// TestMarkersHold tries every set of targets.
func TestMarkersHold(t *testing.T) {
	for _, list := range []string{
		"3.9 amd64|3.10 amd64|3.11 amd64|3.12 amd64|3.13 amd64",
		"3.11 amd64|3.12 amd64|3.13 amd64|3.11 arm64|3.12 arm64|3.13 arm64|3.13 s390x",
		"3.11 amd64|3.12.3 arm64|3.12.5 arm64|3.13 s390x|3.12.5 arm/v7|3.13 amd64",
	} {
		var targets []python.Target
		for _, s := range strings.Split(list, "|") {
			targets = append(targets, target(t, s))
		}
		p := newPartition(targets)
		for set := 1; set < 1<<len(targets); set++ {
			in := make([]bool, len(targets))
			for i := range in {
				in[i] = set>>i&1 == 1
			}
			text := p.marker(in)
			m := python.Marker{}
			if text != "" {
				var err error
				if m, err = python.ParseMarker(text); err != nil {
					t.Fatalf("%v: %v", in, err)
				}
			}
			for i, target := range targets {
				if m.Evaluate(target.Environment()) != in[i] {
					t.Errorf("%s %v: %s does not hold as it should for %s", list, in, text, target)
				}
			}
		}
	}
}

func TestRequirements(t *testing.T) {
	var b bytes.Buffer
	write := func(o RequirementsOptions) {
		t.Helper()
		if err := Requirements(&b, merged(t), o); err != nil {
			t.Fatal(err)
		}
		b.WriteString("--------\n")
	}
	write(RequirementsOptions{})
	write(RequirementsOptions{Header: []string{"made by a test", ""}, Hashes: true, Via: true, Source: "-r requirements.in", IndexURL: "https://example.com/simple", ExtraIndexURLs: []string{"https://example.org/simple"}})
	write(RequirementsOptions{Extras: true, URLs: map[string]string{"app": "https://user:secret@example.com/app-1.0-py3-none-any.whl"}})
	golden(t, "requirements.golden.txt", b.Bytes())
	err := Requirements(&b, []python.Lock{lock(t, "3.12 amd64", "p 1"), lock(t, "3.12 amd64 musl", "p 2")}, RequirementsOptions{})
	var apart *ApartError
	if !errors.As(err, &apart) {
		t.Errorf("%v", err)
	}
}

func TestSameMarker(t *testing.T) {
	python311, err := python.ParseSpecifiers(">=3.11")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"python_version < '3.12'", "python_full_version < '3.12'", true},
		{"python_version < '3.12'", "python_full_version < '3.12.1'", false},
		{"platform_system == 'Windows'", "sys_platform == 'win32'", true},
		{"os_name == 'nt'", "sys_platform == 'win32'", true},
		{"sys_platform == 'linux'", "sys_platform == 'darwin'", false},
		{"python_version >= '3.9' and os_name == 'nt'", "os_name == 'nt'", true}, // Python is 3.11 or later
		{"python_version >= '3.12' and os_name == 'nt'", "os_name == 'nt'", false},
		{"extra == 'a' and platform_machine == 'x'", "platform_machine == 'x' and extra == 'a'", true},
		{"extra == 'a'", "extra == 'b'", false},
		{"", "python_version > '3'", true},
		{"platform_python_implementation == 'CPython'", "implementation_name == 'cpython'", true},
		{"platform_python_implementation != 'PyPy'", "implementation_name == 'cpython'", false},
	} {
		parse := func(s string) python.Marker {
			if s == "" {
				return python.Marker{}
			}
			m, err := python.ParseMarker(s)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		if got := sameMarker(parse(tt.a), parse(tt.b), python311); got != tt.want {
			t.Errorf("%s and %s: %t", tt.a, tt.b, got)
		}
	}
}

func TestPythonHash(t *testing.T) {
	var b strings.Builder
	pythonJSON(&b, map[string]any{"b": []any{int64(1), 2.0, nil, true}, "a": "Grüße \"\\\n\x01 😀\x7f"}, ", ", ": ")
	if want := `{"a": "Gr\u00fc\u00dfe \"\\\n\u0001 \ud83d\ude00` + "\x7f" + `", "b": [1, 2.0, null, true]}`; b.String() != want {
		t.Errorf("%s, want %s", b.String(), want)
	}
}

func TestIsLockFile(t *testing.T) {
	for name, want := range map[string]bool{"pylock.toml": true, "a/pylock.x.toml": true, "pylock.a.b.toml": false, "uv.lock": true, "x/poetry.lock": true,
		"Pipfile.lock": true, "Pipfile": false, "requirements.txt": false, "mypylock.toml": false} {
		if IsLockFile(name) != want {
			t.Error(name)
		}
	}
	if got := withoutUser("ssh://git:pw@example.com/x"); got != "ssh://git@example.com/x" {
		t.Error(got)
	}
	if got := withoutUser("https://u:p@example.com/x?y#z"); got != "https://example.com/x?y#z" {
		t.Error(got)
	}
}
