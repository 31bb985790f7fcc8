package wheel

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// view makes a tree of files: a path, and its text after a space; a path with
// " -> " is a symbolic link.
func view(t *testing.T, lines ...string) layers.Tree {
	t.Helper()
	var entries []layers.Entry
	for _, line := range lines {
		if path, target, ok := strings.Cut(line, " -> "); ok {
			entries = append(entries, layers.Entry{Path: path, Kind: layers.Symlink, Mode: 0o777, Link: target})
			continue
		}
		path, text, _ := strings.Cut(line, " ")
		entries = append(entries, layers.Entry{Path: path, Kind: layers.File, Mode: 0o644, Size: int64(len(text)), Content: layers.Bytes([]byte(text))})
	}
	tree, err := layers.NewTree(entries)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func metadata(name, version string) string {
	return fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\nRequires-Dist: click\n", name, version)
}

func overlay(t *testing.T, trees ...layers.Tree) layers.Tree {
	t.Helper()
	var out layers.Tree
	for _, tree := range trees {
		out = layers.Overlay(out, tree)
	}
	return out
}

func TestInstalled(t *testing.T) {
	m := demo(part{name: "demo/__init__.py", text: "x"})
	m.points = "[console_scripts]\nserve = demo:main\n"
	v := overlay(t,
		view(t,
			"lib -> usr/lib",
			"usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO "+metadata("six", "1.16.0"),
			"usr/lib/python3/dist-packages/flat-2.0.egg-info "+metadata("flat", "2.0"),
			"usr/lib/python3/dist-packages/blinker-1.5.dist-info/METADATA "+metadata("Blinker", "1.5"),
			"usr/lib/python3/dist-packages/blinker-1.5.dist-info/INSTALLER debian\n",
			"usr/lib/python3/dist-packages/broken-1.dist-info/RECORD broken.py,,",
			"usr/lib/python3/dist-packages/other.py x"),
		m.tree(t, Options{Requested: true}))
	got, err := Installed(v, []string{"/" + site, "/lib/python3/dist-packages", "usr/lib/python3/dist-packages", "/none"})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range got {
		lines = append(lines, fmt.Sprintf("%s %s by %q, requested %v, %d requirements, %d files in %s", d.Name, d.Version, d.Installer, d.Requested, len(d.Metadata.RequiresDist), len(d.Files), d.Site))
	}
	want := []string{
		`Demo 1.0 by "pip", requested true, 0 requirements, 8 files in usr/local/lib/python3.13/site-packages`,
		`Blinker 1.5 by "debian", requested false, 1 requirements, 0 files in usr/lib/python3/dist-packages`,
		`flat 2.0 by "", requested false, 1 requirements, 0 files in usr/lib/python3/dist-packages`,
		`six 1.16.0 by "", requested false, 1 requirements, 0 files in usr/lib/python3/dist-packages`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	var e *UninstallError
	if _, err := Uninstall(v, got[1]); !errors.As(err, &e) || !strings.Contains(e.Hint(), "package manager") {
		t.Errorf("a distribution without RECORD is uninstalled: %v", err)
	}
	if _, err := Installed(view(t, site+"x-1.dist-info/METADATA nonsense"), []string{site}); err == nil {
		t.Error("wrong METADATA gives no error")
	}
}

// installed returns the one distribution of a name in the python image's site
// directory.
func installed(t *testing.T, v layers.Tree, name string) Distribution {
	t.Helper()
	all, err := Installed(v, []string{site})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Key() == name {
			return d
		}
	}
	t.Fatalf("%s is not installed", name)
	return Distribution{}
}

// What setup.py install left goes by its list, with its bytecode and the whole
// .egg-info directory; without a list nothing is taken away.
func TestUninstallEgg(t *testing.T) {
	egg := site + "old-1.0-py3.13.egg-info/"
	v := view(t,
		egg+"PKG-INFO "+metadata("old", "1.0"), egg+"extra x", egg+"installed-files.txt ../old.py\n../pkg/__init__.py\nPKG-INFO\n",
		site+"old.py x", site+"__pycache__/old.cpython-313.pyc x", site+"pkg/__init__.py x", site+"other.py x")
	gone, err := Uninstall(v, installed(t, v, "old"))
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range layers.Overlay(v, gone).Entries() {
		if e.Kind == layers.File {
			left = append(left, e.Path)
		}
	}
	if diff := cmp.Diff([]string{site + "other.py"}, left); diff != "" {
		t.Error(diff)
	}
}

func TestUninstall(t *testing.T) {
	m := demo(
		part{name: "demo/__init__.py", text: "x"},
		part{name: "demo/inner/a.py", text: "x"},
		part{name: "shared/demo.py", text: "x"},
		part{name: "single.py", text: "x"},
		part{name: "demo-1.0.data/data/share/demo/x", text: "x"},
	)
	m.points = "[console_scripts]\nserve = demo:main\n"
	// RECORD of an image may name anything.
	v := overlay(t, m.tree(t, Options{}), view(t,
		"etc/passwd root", "usr/local/bin/other x",
		site+"demo/__pycache__/__init__.cpython-313.pyc x",
		site+"demo/inner/__pycache__/a.cpython-313.opt-1.pyc x",
		site+"__pycache__/single.cpython-313.pyc x",
		site+"__pycache__/single_more.cpython-313.pyc x",
		site+"shared/other.py x"))
	d := installed(t, v, "demo")
	d.Files = append(d.Files, "etc/passwd", "usr/local/gone")
	gone, err := Uninstall(v, d)
	if err != nil {
		t.Fatal(err)
	}
	want := `gone usr/local/bin/serve
gone usr/local/lib/python3.13/site-packages/__pycache__/single.cpython-313.pyc
gone usr/local/lib/python3.13/site-packages/demo
gone usr/local/lib/python3.13/site-packages/demo-1.0.dist-info
gone usr/local/lib/python3.13/site-packages/shared/demo.py
gone usr/local/lib/python3.13/site-packages/single.py
gone usr/local/share/demo/x
`
	if diff := cmp.Diff(want, listing(gone)); diff != "" {
		t.Error(diff)
	}
	left := listing(layers.Overlay(v, gone))
	want = `644 etc/passwd
644 usr/local/bin/other
644 usr/local/lib/python3.13/site-packages/__pycache__/single_more.cpython-313.pyc
644 usr/local/lib/python3.13/site-packages/shared/other.py
`
	if diff := cmp.Diff(want, left); diff != "" {
		t.Error("what is left:", diff)
	}
}

func TestReplace(t *testing.T) {
	old := demo(part{name: "demo/__init__.py", text: "old"}, part{name: "demo/old/x.py", text: "x"}, part{name: "demo/changed", text: "x"})
	next := demo(part{name: "demo/__init__.py", text: "new"}, part{name: "demo/new.py", text: "y"}, part{name: "demo/changed/x.py", text: "y"})
	next.filename, next.distInfo, next.metadata = "demo-2.0-py3-none-any.whl", "demo-2.0.dist-info", strings.Replace(next.metadata, "1.0", "2.0", 1)
	v := old.tree(t, Options{})
	added := next.tree(t, Options{})
	layer, err := Replace(v, []Distribution{installed(t, v, "demo")}, added)
	if err != nil {
		t.Fatal(err)
	}
	var gone []string
	for _, e := range layer.Entries() {
		if e.Kind == layers.Whiteout {
			gone = append(gone, strings.TrimPrefix(e.Path, site))
		}
	}
	if diff := cmp.Diff([]string{"demo/old", "demo-1.0.dist-info"}, gone); diff != "" {
		t.Error(diff)
	}
	// What is seen then is what a fresh install leaves.
	after := layers.Overlay(v, layer)
	if diff := cmp.Diff(listing(added), listing(after)); diff != "" {
		t.Error(diff)
	}
	if got := text(t, after, site+"demo/__init__.py"); got != "new" {
		t.Errorf("the file is %q", got)
	}
}

// A base's site directory is often reached through links.
func TestUninstallThroughLinks(t *testing.T) {
	v := view(t, "lib -> usr/lib", "usr/lib/python3.13/site-packages/a.py x", "usr/lib/python3.13/site-packages/b.py -> a.py",
		"usr/lib/python3.13/site-packages/a-1.dist-info/METADATA "+metadata("a", "1"),
		"usr/lib/python3.13/site-packages/a-1.dist-info/RECORD /lib/python3.13/site-packages/b.py,,\na-1.dist-info/METADATA,,\na-1.dist-info/RECORD,,")
	all, err := Installed(v, []string{"/lib/python3.13/site-packages"})
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	gone, err := Uninstall(v, all[0])
	if err != nil {
		t.Fatal(err)
	}
	want := "gone usr/lib/python3.13/site-packages/a-1.dist-info\ngone usr/lib/python3.13/site-packages/b.py\n"
	if diff := cmp.Diff(want, listing(gone)); diff != "" {
		t.Error(diff)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("a.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\r\n\"b,\"\"c\"\"\",,\n")
	f.Fuzz(func(t *testing.T, s string) {
		rows, err := parseRecord([]byte(s))
		if err != nil {
			return
		}
		for i := range rows {
			rows[i].check()
		}
		again, err := parseRecord(formatRecord(rows))
		if err != nil || len(again) != len(rows) {
			t.Errorf("%d rows are %d after writing (%v)", len(rows), len(again), err)
		}
	})
}
