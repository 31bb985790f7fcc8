package wheel

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSchemeFor(t *testing.T) {
	debian := Installation{Python: "3.11", Prefix: "/usr", Interpreter: "/usr/bin/python3", Debian: true}
	venv := Installation{Python: "3.12", Prefix: "/app/.venv", Interpreter: "/app/.venv/bin/python3", Venv: true, Debian: true}
	free := image()
	free.FreeThreaded = true
	fedora := Installation{Python: "3.13", Prefix: "/usr/local", Interpreter: "/usr/bin/python3", Lib: "lib64"}
	local := Installation{Python: "3.14", Prefix: "/usr", Interpreter: "/usr/bin/python3", Lib: "lib64", LocalPrefix: true}
	for _, tt := range []struct {
		name string
		in   Installation
		at   Place
		want []string // purelib, platlib, scripts, data, headers
	}{
		{"python image", image(), Place{}, []string{"/usr/local/lib/python3.13/site-packages", "", "/usr/local/bin", "/usr/local", "/usr/local/include/python3.13/{name}"}},
		{"free-threaded", free, Place{}, []string{"/usr/local/lib/python3.13t/site-packages", "", "/usr/local/bin", "/usr/local", "/usr/local/include/python3.13t/{name}"}},
		{"Debian", debian, Place{}, []string{"/usr/local/lib/python3.11/dist-packages", "", "/usr/local/bin", "/usr/local", "/usr/include/python3.11/{name}"}},
		{"Debian --prefix", debian, Place{Prefix: "/opt/x"}, []string{"/opt/x/lib/python3.11/site-packages", "", "/opt/x/bin", "/opt/x", "/opt/x/include/python3.11/{name}"}},
		{"Debian --prefix, older pip", debian, Place{Prefix: "/opt/x", DebianPrefix: true}, []string{"/opt/x/local/lib/python3.11/dist-packages", "", "/opt/x/local/bin", "/opt/x/local", "/opt/x/include/python3.11/{name}"}},
		{"uv --target", image(), Place{Target: "/opt/lib", InPlace: true}, []string{"/opt/lib", "", "/opt/lib/bin", "/opt/lib", "/opt/lib/include/{name}"}},
		{"Debian --user", debian, Place{User: "/root/.local"}, []string{"/root/.local/lib/python3.11/site-packages", "", "/root/.local/bin", "/root/.local", "/root/.local/include/python3.11/{name}"}},
		{"virtual environment", venv, Place{}, []string{"/app/.venv/lib/python3.12/site-packages", "", "/app/.venv/bin", "/app/.venv", "/app/.venv/include/site/python3.12/{name}"}},
		{"--prefix", image(), Place{Prefix: "/install"}, []string{"/install/lib/python3.13/site-packages", "", "/install/bin", "/install", "/install/include/python3.13/{name}"}},
		{"--target", image(), Place{Target: "/opt/lib"}, []string{"/opt/lib", "", "/opt/lib/bin", "/opt/lib", "/opt/lib/include/python/{name}"}},
		{"Fedora", local, Place{}, []string{"/usr/local/lib/python3.14/site-packages", "/usr/local/lib64/python3.14/site-packages", "/usr/local/bin", "/usr/local", "/usr/local/include/python3.14/{name}"}},
		{"Fedora --prefix", local, Place{Prefix: "/opt/x"}, []string{"/opt/x/lib/python3.14/site-packages", "/opt/x/lib64/python3.14/site-packages", "/opt/x/bin", "/opt/x", "/opt/x/include/python3.14/{name}"}},
		{"Fedora --user", local, Place{User: "/root/.local"}, []string{"/root/.local/lib/python3.14/site-packages", "", "/root/.local/bin", "/root/.local", "/root/.local/include/python3.14/{name}"}},
		{"--prefix from a virtual environment", venv, Place{Prefix: "/opt/x"}, []string{"/opt/x/lib/python3.12/site-packages", "", "/opt/x/bin", "/opt/x", "/opt/x/include/site/python3.12/{name}"}},
		{"--target from a virtual environment", venv, Place{Target: "/opt/x"}, []string{"/opt/x", "", "/opt/x/bin", "/opt/x", "/opt/x/include/site/python3.12/{name}"}},
		{"lib64", fedora, Place{}, []string{"/usr/local/lib/python3.13/site-packages", "/usr/local/lib64/python3.13/site-packages", "/usr/local/bin", "/usr/local", "/usr/local/include/python3.13/{name}"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := SchemeFor(tt.in, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want[1] == "" {
				tt.want[1] = tt.want[0]
			}
			if diff := cmp.Diff(tt.want, []string{s.Purelib, s.Platlib, s.Scripts, s.Data, s.Headers}); diff != "" {
				t.Error(diff)
			}
			if s.Interpreter != tt.in.Interpreter || s.Python != tt.in.Python {
				t.Errorf("scripts are for %s, %s", s.Interpreter, s.Python)
			}
		})
	}
}

func TestSchemeErrors(t *testing.T) {
	relative := image()
	relative.Interpreter = "python3"
	for _, tt := range []struct {
		in   Installation
		at   Place
		says string
	}{
		{image(), Place{Target: "/a", Prefix: "/b"}, "--target cannot"},
		{image(), Place{User: "/a", Prefix: "/b"}, "--prefix cannot"},
		{Installation{Venv: true}, Place{User: "/a"}, "virtual environment"},
		{image(), Place{Target: "lib"}, `"lib" is not an absolute path`},
		{image(), Place{Prefix: "/a/../b"}, ""}, // cleaned
		{relative, Place{}, `"python3" is not an absolute path`},
		{Installation{Prefix: "/usr", Interpreter: "/usr/bin/python3"}, Place{}, "version is not known"},
	} {
		_, err := SchemeFor(tt.in, tt.at)
		if tt.says == "" && err == nil {
			continue
		}
		var e *PlaceError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v at %+v gives %v, want %q", tt.in, tt.at, err, tt.says)
		}
	}
}

func TestShebang(t *testing.T) {
	long := "/" + strings.Repeat("x", 200) + "/python"
	for _, tt := range []struct{ interpreter, want string }{
		{"/usr/local/bin/python3.13", "#!/usr/local/bin/python3.13\n"},
		{"/opt/my python/bin/python", "#!/bin/sh\n'''exec' \"/opt/my python/bin/python\" \"$0\" \"$@\"\n' '''\n"},
		{long, "#!/bin/sh\n'''exec' " + long + " \"$0\" \"$@\"\n' '''\n"},
		{"/" + strings.Repeat("x", 123), "#!/" + strings.Repeat("x", 123) + "\n"}, // 127 bytes
		{"/" + strings.Repeat("x", 124), "#!/bin/sh\n'''exec' /" + strings.Repeat("x", 124) + " \"$0\" \"$@\"\n' '''\n"},
		{"/a b/$(reboot)", ""},
		{"/a b/'", ""},
		{long + ";reboot", ""},
	} {
		got, err := shebang(tt.interpreter)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("shebang(%q) = %q, %v; want %q", tt.interpreter, got, err, tt.want)
		}
	}
}

func TestEntryPoints(t *testing.T) {
	got, err := parseEntryPoints("# comment\n; too\n[console_scripts]\n a = m:f \nb.c-d_e+1=m.n : C.f [x,y]\na = later:f\n\n[ gui_scripts ]\r\né = mö:fü\r\n[x]\nq\n")
	if err != nil {
		t.Fatal(err)
	}
	want := entryPoints{{"b.c-d_e+1", "m.n", "C.f"}, {"a", "later", "f"}, {"é", "mö", "fü"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entryPoint{})); diff != "" {
		t.Error(diff)
	}
	for _, s := range []string{"x", "= m:f", "a b = m:f", "a = m", "a = m:", "a = :f", "a = m:f()", "a = 1m:f", "a = m..n:f", "a/b = m:f"} {
		if _, err := parseEntryPoints("[console_scripts]\n" + s + "\n"); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	if _, err := parseEntryPoints("[console_scripts\na = m:f\n"); err == nil {
		t.Error("an open section is taken")
	}
}

func TestDirectURL(t *testing.T) {
	for _, tt := range []struct {
		d    DirectURL
		want string
	}{
		{DirectURL{URL: "https://user:secret@example.com/a.whl#sha256=00", SHA256: "ab"},
			`{"archive_info": {"hash": "sha256=ab", "hashes": {"sha256": "ab"}}, "url": "https://example.com/a.whl"}`},
		{DirectURL{URL: "file:///w/a%20b.whl"}, `{"archive_info": {}, "url": "file:///w/a%20b.whl"}`},
		{DirectURL{URL: "file:///app", Dir: true, Editable: true}, `{"dir_info": {"editable": true}, "url": "file:///app"}`},
		{DirectURL{URL: "file:///app", Dir: true, Subdirectory: "ü\"\n😀"}, `{"dir_info": {}, "subdirectory": "\u00fc\"\n\ud83d\ude00", "url": "file:///app"}`},
		{DirectURL{URL: "ssh://git@example.com/x.git", VCS: "git", RequestedRevision: "v1", CommitID: "00ff"},
			`{"url": "ssh://git@example.com/x.git", "vcs_info": {"commit_id": "00ff", "requested_revision": "v1", "vcs": "git"}}`},
		{DirectURL{URL: "https://me:secret@example.com/x.git", VCS: "git", CommitID: "00ff"},
			`{"url": "https://example.com/x.git", "vcs_info": {"commit_id": "00ff", "vcs": "git"}}`},
		{DirectURL{URL: "not a url"}, ""},
		{DirectURL{URL: "file:///app", Dir: true, VCS: "git"}, ""},
	} {
		got, err := tt.d.encode()
		if string(got) != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%+v gives %s, %v; want %s", tt.d, got, err, tt.want)
		}
		if strings.Contains(string(got), "secret") || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s holds the password", got)
		}
	}
}
