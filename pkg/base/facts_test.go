package base_test

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

func TestReadFacts(t *testing.T) {
	glibc := file("usr/lib/x86_64-linux-gnu/libc.so.6", strings.Repeat("\x00", 1<<20-20)+"GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\nCopyright")
	debian12 := file("etc/os-release", "PRETTY_NAME=\"x\"\nID=debian\nVERSION_ID=\"12\"\n")
	dir := func(path string) layers.Entry { return layers.Entry{Path: path, Kind: layers.Dir, Mode: 0o755} }
	for name, c := range map[string]struct {
		entries []layers.Entry
		env     []string
		want    base.Facts
	}{
		"empty": {},
		"Docker's python": {
			[]layers.Entry{debian12, glibc, file("usr/local/bin/python3.12", "x"), link("usr/local/bin/python3", "python3.12"), link("usr/local/bin/python", "python3"),
				file("usr/local/bin/pip", "#!/usr/local/bin/python3.12\nimport sys\n")},
			[]string{"PATH=/usr/local/bin:/usr/bin", "PYTHON_VERSION=3.12.11"},
			base.Facts{OS: "debian", OSVersion: "12", Libc: base.Libc{"glibc", 2, 36}, Python: &base.Python{Version: "3.12.11",
				Interpreter: "/usr/local/bin/python3.12", Prefix: "/usr/local", Pip: "/usr/local/bin/pip"}},
		},
		"Docker's python on Alpine, without its variable": {
			[]layers.Entry{file("etc/os-release", "ID=alpine\nVERSION_ID=3.22.1\n"), file("lib/ld-musl-aarch64.so.1", "x"),
				file("lib/apk/db/installed", "C:Q1\nP:musl-utils\nV:9.9.9-r0\n\nC:Q2\nP:musl\nV:1.2.5-r10\nA:aarch64\n"),
				file("usr/local/bin/python3.13", "x"), link("usr/local/bin/python3", "/usr/local/bin/python3.13"),
				file("usr/local/include/python3.13/patchlevel.h", "/* x */\n#define PY_MAJOR_VERSION 3\n#define PY_VERSION      \t\"3.13.7\"\n")},
			[]string{"PATH=/usr/local/bin:/bin"},
			base.Facts{OS: "alpine", OSVersion: "3.22.1", Libc: base.Libc{"musl", 1, 2}, Python: &base.Python{Version: "3.13.7",
				Interpreter: "/usr/local/bin/python3.13", Prefix: "/usr/local"}},
		},
		"Debian's python with dpkg": {
			[]layers.Entry{debian12, glibc, file("usr/bin/python3.11", "x"), link("usr/bin/python3", "python3.11"), dir("usr/lib/python3/dist-packages"),
				file("var/lib/dpkg/status", "Package: python3.11\nStatus: deinstall ok config-files\nVersion: 3.11.1-1\n\nPackage: python3.11-minimal\nStatus: install ok installed\nVersion: 3.11.2-6+deb12u6\n")},
			nil,
			base.Facts{OS: "debian", OSVersion: "12", Libc: base.Libc{"glibc", 2, 36}, Python: &base.Python{Version: "3.11.2",
				Interpreter: "/usr/bin/python3", Prefix: "/usr", Debian: true}},
		},
		"a pre-release without dpkg": {
			[]layers.Entry{debian12, link("lib", "usr/lib"), glibc, file("usr/bin/python3.15", "x"), link("usr/bin/python3", "/usr/bin/python3.15"),
				file("var/lib/dpkg/status.d/python3.15", "Package: python3.15\nVersion: 3.15.0~rc2-1\n")},
			[]string{"PATH=/usr/bin"},
			base.Facts{OS: "debian", OSVersion: "12", Libc: base.Libc{"glibc", 2, 36}, Python: &base.Python{Version: "3.15.0rc2",
				Interpreter: "/usr/bin/python3", Prefix: "/usr", Debian: true}},
		},
		"Wolfi": {
			[]layers.Entry{file("etc/os-release", "ID=wolfi\n"), file("usr/lib/libc.so.6", "GNU C Library (GNU libc) stable release version 2.42.\n"), link("lib", "usr/lib"), link("usr/lib64", "lib"), file("usr/lib/python3.13/os.py", "x"),
				file("usr/bin/python3.13", "x"), link("usr/bin/python3", "python3.13"), file("usr/lib/apk/db/installed", "P:python-3.13-base\nV:3.13.6-r2\n")},
			[]string{"PATH=/usr/bin"},
			base.Facts{OS: "wolfi", Libc: base.Libc{"glibc", 2, 42}, Python: &base.Python{Version: "3.13.6",
				Interpreter: "/usr/bin/python3", Prefix: "/usr"}},
		},
		"Fedora keeps /usr": {
			[]layers.Entry{file("etc/os-release", "ID=fedora\nVERSION_ID=43\n"), file("usr/lib64/libc.so.6", "GNU C Library (GNU libc) stable release version 2.42.\n"),
				file("usr/bin/python3.14", "\x7fELF\x00...\x003.14.2\x00"), link("usr/bin/python3", "python3.14"),
				file("usr/lib64/python3.14/os.py", "x"), dir("usr/lib/python3.14/site-packages")},
			nil,
			base.Facts{OS: "fedora", OSVersion: "43", Libc: base.Libc{"glibc", 2, 42}, Python: &base.Python{Version: "3.14.2", Interpreter: "/usr/bin/python3", Prefix: "/usr",
				Lib: "lib64", LocalPrefix: true}},
		},
		"a virtual environment of Fedora's python": {
			[]layers.Entry{file("etc/os-release", "ID=fedora\n"), file("usr/bin/python3.14", "\x003.14.2\x00"), file("usr/lib64/python3.14/os.py", "x"),
				link("opt/venv/bin/python3", "/usr/bin/python3.14"), file("opt/venv/pyvenv.cfg", "home = /usr/bin\n")},
			[]string{"PATH=/opt/venv/bin:/usr/bin"},
			base.Facts{OS: "fedora", Python: &base.Python{Version: "3.14.2", Interpreter: "/opt/venv/bin/python3", Prefix: "/opt/venv", Venv: true, Lib: "lib64"}},
		},
		"SUSE": {
			[]layers.Entry{file("etc/os-release", "ID=\"opensuse-tumbleweed\"\n"), file("usr/bin/python3.13", "\x003.13.9\x00"), link("usr/bin/python3", "python3.13"),
				file("usr/lib64/python3.13/os.py", "x"), dir("usr/lib/python3.13/site-packages")},
			nil,
			base.Facts{OS: "opensuse-tumbleweed", Python: &base.Python{Version: "3.13.9", Interpreter: "/usr/bin/python3", Prefix: "/usr", Lib: "lib64"}},
		},
		"a virtual environment first on the PATH": {
			[]layers.Entry{debian12, file("usr/local/bin/python3.12", "x"), link("opt/venv/bin/python3", "/usr/local/bin/python3.12"), link("opt/venv/bin/python3.12", "python3"),
				file("opt/venv/pyvenv.cfg", "home = /usr/local/bin\n"), file("opt/venv/bin/pip", "#!/opt/venv/bin/python3\n"), file("usr/local/lib/libpython3.12.so.1.0", "..\x003.12.9\x00..")},
			[]string{"PATH=/opt/venv/bin:/usr/local/bin"},
			base.Facts{OS: "debian", OSVersion: "12", Python: &base.Python{Version: "3.12.9", Interpreter: "/opt/venv/bin/python3", Prefix: "/opt/venv", Venv: true, Pip: "/opt/venv/bin/pip"}},
		},
		"free-threaded, without a python3": {
			[]layers.Entry{file("usr/local/bin/python3.14t", "x"), file("usr/local/include/python3.14t/patchlevel.h", "#define PY_VERSION \"3.14.0\"\n")},
			[]string{"PATH=relative:/usr/local/bin"},
			base.Facts{Python: &base.Python{Version: "3.14.0", FreeThreaded: true, Interpreter: "/usr/local/bin/python3.14t", Prefix: "/usr/local"}},
		},
		"a version that nothing tells": {
			[]layers.Entry{file("usr/local/bin/python3.12", "x")}, []string{"PATH=/usr/local/bin", "PYTHON_VERSION=3.11.1"},
			base.Facts{Python: &base.Python{Version: "3.12", Interpreter: "/usr/local/bin/python3.12", Prefix: "/usr/local"}},
		},
		"musl without a database": {
			[]layers.Entry{file("lib/ld-musl-x86_64.so.1", "x\x001.2.5\x00musl libc\x00")}, nil,
			base.Facts{Libc: base.Libc{"musl", 1, 2}},
		},
		"a link in circles": {
			[]layers.Entry{link("usr/bin/python3", "python"), link("usr/bin/python", "python3"), link("etc/os-release", "../gone")}, nil,
			base.Facts{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := layers.NewTree(c.entries)
			if err != nil {
				t.Fatal(err)
			}
			got, err := base.ReadFacts(tree, v1.Config{Env: c.env})
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(base.Python{}, "Commands")); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	tree, err := layers.NewTree([]layers.Entry{
		file("usr/bin/python3.11", ""), link("usr/bin/python3", "python3.11"), link("opt/bin/python", "/usr/bin/python3"),
		file("usr/local/bin/python", "another"), link("usr/local/bin/python3.12", "python"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := base.ReadFacts(tree, v1.Config{Env: []string{"PATH=/opt/bin:/usr/local/bin:/usr/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/opt/bin/python", "/usr/bin/python3", "/usr/bin/python3.11"}, got.Python.Commands); diff != "" {
		t.Error(diff)
	}
}

func FuzzReadFacts(f *testing.F) {
	f.Add("ID=debian\n", "Package: python3.12\nVersion: 3.12.1-1\n", "P:musl\nV:1.2.5\n", "#!/usr/bin/python3\n", "python3.12")
	f.Fuzz(func(t *testing.T, release, status, apk, pip, target string) {
		entries := []layers.Entry{file("etc/os-release", release), file("var/lib/dpkg/status", status), file("lib/apk/db/installed", apk),
			file("usr/bin/pip", pip), file("usr/bin/python3.12", status), file("lib/ld-musl-x86_64.so.1", apk)}
		if target != "" {
			entries = append(entries, link("usr/bin/python3", target))
		}
		tree, err := layers.NewTree(entries)
		if err != nil {
			return
		}
		got, err := base.ReadFacts(tree, v1.Config{Env: []string{"PATH=/usr/bin"}})
		if err == nil && got.Python != nil && !strings.HasPrefix(got.Python.Version, "3.") {
			t.Errorf("version %q", got.Python.Version)
		}
	})
}
