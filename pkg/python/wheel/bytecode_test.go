package wheel

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// compilable is a wheel with sources wherever a wheel can have them.
func compilable() maker {
	m := demo(
		part{name: "demo/__init__.py", text: "x = 1\n"}, part{name: "demo/template.py", text: "{{ x }}"},
		part{name: "demo/ship.py", text: "y = 1\n"}, part{name: "demo/__pycache__/ship.cpython-313.pyc", text: "old"},
		part{name: "demo/__pycache__/ship.cpython-39.pyc", text: "old"}, part{name: "demo/a.b.py", text: ""},
		part{name: "demo-1.0.data/scripts/tool.py", text: "#!python\nprint(1)\n"}, part{name: "demo-1.0.data/scripts/sh", text: "#!/bin/sh\n"},
		part{name: "demo-1.0.data/data/share/d.py", text: "d = 1\n"}, part{name: "demo-1.0.data/headers/h.py", text: "h = 1\n"},
		part{name: "demo-1.0.data/platlib/plat.py", text: "h = 2\n"},
	)
	m.points = "[console_scripts]\nserve = demo:main\nwith.py = demo:x\n"
	return m
}

// pycs stands for the compiler: it has a file for every source that compiles.
func pycs(t testing.TB, w *Wheel, s Scheme) layers.Tree {
	t.Helper()
	sources, err := w.Sources(s)
	if err != nil {
		t.Fatal(err)
	}
	var out []layers.Entry
	for _, e := range sources.Entries() {
		if e.Kind != layers.File || strings.Contains(text(t, sources, e.Path), "{{") {
			continue
		}
		dir, name := e.Path[:strings.LastIndexByte(e.Path, '/')+1], e.Path[strings.LastIndexByte(e.Path, '/')+1:]
		out = append(out, layers.Entry{
			Path: dir + "__pycache__/" + strings.TrimSuffix(name, "py") + "cpython-313.pyc", Kind: layers.File, Mode: 0o644,
			Size: 3, Content: layers.Bytes([]byte("pyc")), Origin: "demo",
		})
	}
	tree, err := layers.NewTree(out)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// The lines are those of pip 23.2 and 26.3, in their order, hashes left out.
func TestBytecode(t *testing.T) {
	for _, tt := range []struct {
		name, record string
		at           Place
		want         string
	}{
		{"image", site + "demo-1.0.dist-info/RECORD", Place{}, `../../../bin/__pycache__/tool.cpython-313.pyc,,
../../../bin/serve,H
../../../bin/sh,H
../../../bin/tool.py,H
../../../bin/with.py,H
../../../include/python3.13/Demo/__pycache__/h.cpython-313.pyc,,
../../../include/python3.13/Demo/h.py,H
../../../share/__pycache__/d.cpython-313.pyc,,
../../../share/d.py,H
__pycache__/plat.cpython-313.pyc,,
demo-1.0.dist-info/INSTALLER,H
demo-1.0.dist-info/METADATA,H
demo-1.0.dist-info/RECORD,,
demo-1.0.dist-info/WHEEL,H
demo-1.0.dist-info/entry_points.txt,H
demo/__init__.py,H
demo/__pycache__/__init__.cpython-313.pyc,,
demo/__pycache__/a.b.cpython-313.pyc,,
demo/__pycache__/ship.cpython-313.pyc,,
demo/__pycache__/ship.cpython-313.pyc,H
demo/__pycache__/ship.cpython-39.pyc,H
demo/a.b.py,H
demo/ship.py,H
demo/template.py,H
plat.py,H
`},
		{"target", "opt/lib/demo-1.0.dist-info/RECORD", Place{Target: "/opt/lib"}, `../../bin/__pycache__/tool.cpython-313.pyc,,
../../bin/serve,H
../../bin/sh,H
../../bin/tool.py,H
../../bin/with.py,H
../../include/python/Demo/__pycache__/h.cpython-313.pyc,,
../../include/python/Demo/h.py,H
../../share/__pycache__/d.cpython-313.pyc,,
../../share/d.py,H
__pycache__/plat.cpython-313.pyc,,
demo-1.0.dist-info/INSTALLER,H
demo-1.0.dist-info/METADATA,H
demo-1.0.dist-info/RECORD,,
demo-1.0.dist-info/WHEEL,H
demo-1.0.dist-info/entry_points.txt,H
demo/__init__.py,H
demo/__pycache__/__init__.cpython-313.pyc,,
demo/__pycache__/a.b.cpython-313.pyc,,
demo/__pycache__/ship.cpython-313.pyc,,
demo/__pycache__/ship.cpython-313.pyc,H
demo/__pycache__/ship.cpython-39.pyc,H
demo/a.b.py,H
demo/ship.py,H
demo/template.py,H
plat.py,H
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := compilable().open(t)
			if err != nil {
				t.Fatal(err)
			}
			s, err := SchemeFor(image(), tt.at)
			if err != nil {
				t.Fatal(err)
			}
			compiled := pycs(t, w, s)
			tree, err := w.Tree(s, Options{Bytecode: compiled})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for line := range strings.Lines(text(t, tree, tt.record)) {
				p, rest, _ := strings.Cut(strings.TrimSuffix(line, "\r\n"), ",")
				if rest != "," {
					rest = "H"
				}
				got.WriteString(p + "," + rest + "\n")
			}
			if diff := cmp.Diff(tt.want, got.String()); diff != "" {
				t.Error(diff)
			}
			for _, e := range compiled.Entries() {
				if e.Kind == layers.File && text(t, tree, e.Path) != "pyc" {
					t.Errorf("%s is not the new one", e.Path)
				}
			}
		})
	}
}

func TestBytecodeOfOthers(t *testing.T) {
	w, err := compilable().open(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{
		site + "other/__pycache__/m.cpython-313.pyc", site + "demo/ship.pyc", site + "demo/__pycache__/.pyc", "usr/local/bin/__pycache__/with.cpython-313.pyc",
		site + "demo/__pycache__/ship.cpython-313.so",
	} {
		tree, err := layers.NewTree([]layers.Entry{{Path: p, Kind: layers.File, Mode: 0o644}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Tree(imageScheme(t), Options{Bytecode: tree}); err == nil || !strings.Contains(err.Error(), "/"+p+" is no bytecode of it") {
			t.Error(p, err)
		}
	}
}

// What was compiled goes with its distribution, wherever it lies.
func TestUninstallBytecode(t *testing.T) {
	w, err := compilable().open(t)
	if err != nil {
		t.Fatal(err)
	}
	s := imageScheme(t)
	view, err := w.Tree(s, Options{Bytecode: pycs(t, w, s)})
	if err != nil {
		t.Fatal(err)
	}
	installed, err := Installed(view, []string{s.Purelib})
	if err != nil || len(installed) != 1 {
		t.Fatal(installed, err)
	}
	gone, err := Uninstall(view, installed[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range layers.Overlay(view, gone).Entries() {
		if e.Kind == layers.File {
			t.Errorf("%s is left", e.Path)
		}
	}
	// A version without that bytecode takes the old one's away, too.
	next, err := w.Tree(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	replaced, err := Replace(view, installed, next)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listing(next), listing(layers.Overlay(view, replaced))); diff != "" {
		t.Error(diff)
	}
}
