package build_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
)

// uvProject writes a project with its uv.lock: app needs web, its extras are
// "one" (one) and "two" (two), and beside it lies lib, a member.
func (w *world) uvProject() *world {
	w.Helper()
	var lock strings.Builder
	fmt.Fprintf(&lock, `version = 1
revision = 3
requires-python = ">=3.9"

[manifest]
members = ["app", "lib"]

[[package]]
name = "app"
version = "0.1"
source = { editable = "." }
dependencies = [{ name = "lib" }, { name = "web" }]

[package.optional-dependencies]
one = [{ name = "one" }]
two = [{ name = "two" }]

[package.metadata]
requires-dist = [{ name = "lib", editable = "lib" }, { name = "one", marker = "extra == 'one'" }, { name = "two", marker = "extra == 'two'" }, { name = "web" }]
provides-extras = ["one", "two"]

[[package]]
name = "lib"
version = "0.1"
source = { editable = "lib" }
`)
	for _, name := range []string{"one", "two", "web"} {
		f := w.index.AddSpec(indextest.Spec{Name: name, Version: "1.0", Files: map[string]string{name + ".py": "v=1\n"}})
		fmt.Fprintf(&lock, "\n[[package]]\nname = %q\nversion = \"1.0\"\nsource = { registry = %q }\nwheels = [{ url = %q, hash = \"sha256:%s\" }]\n",
			name, w.index.Origin()+"/simple", w.index.FileURL(f.Filename), f.SHA256())
	}
	const flit = "\n[build-system]\nrequires = [\"flit_core>=3.2,<4\"]\nbuild-backend = \"flit_core.buildapi\"\n"
	w.write(map[string]string{
		"uv.lock":            lock.String(),
		"pyproject.toml":     "[project]\nname = \"app\"\nversion = \"0.1\"\ndescription = \"\"\ndependencies = [\"lib\", \"web\"]\n\n[project.optional-dependencies]\none = [\"one\"]\ntwo = [\"two\"]\n\n[tool.uv.sources]\nlib = { workspace = true }\n\n[tool.uv.workspace]\nmembers = [\"lib\"]\n" + flit,
		"app.py":             "\"\"\"App.\"\"\"\n",
		"lib/pyproject.toml": "[project]\nname = \"lib\"\nversion = \"0.1\"\ndescription = \"\"\n" + flit,
		"lib/lib.py":         "v = 1\n",
	})
	return w
}

// distributions lists those in a tree's site-packages, and "-" for what is
// taken away.
func distributions(t layers.Tree) []string {
	var out []string
	for _, e := range t.Entries() {
		if name, ok := strings.CutSuffix(filepath.Base(e.Path), ".dist-info"); ok {
			if e.Kind == layers.Whiteout {
				name = "-" + name
			}
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func TestSync(t *testing.T) {
	const begin = "FROM python:3.13\nWORKDIR /app\nCOPY . .\n"
	for _, tt := range []struct {
		run  string
		want []string
	}{
		{"uv sync --frozen", []string{"app-0.1", "lib-0.1", "web-1.0"}},
		{"uv sync --locked --no-install-project", []string{"lib-0.1", "web-1.0"}},
		{"uv sync --frozen --no-install-workspace --extra one", []string{"one-1.0", "web-1.0"}},
		{"uv sync --frozen --no-install-local --all-extras --no-extra two", []string{"one-1.0", "web-1.0"}},
		{"uv sync --frozen --no-install-local && uv sync --frozen --no-install-local --extra two", []string{"two-1.0", "web-1.0"}},
		// What is not asked for goes, unless it is told to stay.
		{"uv sync --frozen --no-install-local --all-extras && uv sync --frozen --no-install-local --extra one", []string{"-two-1.0", "one-1.0", "two-1.0", "web-1.0"}},
		{"uv sync --frozen --no-install-local --all-extras && uv sync --frozen --no-install-local --inexact", []string{"one-1.0", "two-1.0", "web-1.0"}},
		{"UV_PROJECT_ENVIRONMENT=/usr/local uv sync --frozen --no-install-local", []string{"-six-1.0", "web-1.0"}},
		{"UV_PROJECT_ENVIRONMENT=/usr/local uv sync --frozen --no-install-local --inexact", []string{"web-1.0"}},
	} {
		t.Run(strings.ReplaceAll(tt.run, "/", "|"), func(t *testing.T) {
			w := newWorld(t).uvProject()
			r := w.build(begin + "RUN " + tt.run + "\n")
			all, err := r.Images[0].Layers()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range all[3:] { // the base's, and COPY's
				tree, err := layers.ReadTar(l.Uncompressed)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, distributions(tree)...)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// How a project is installed: editable, or as from its wheel.
func TestSyncEditable(t *testing.T) {
	for _, tt := range []struct {
		flags    string
		app, lib bool // editable
	}{{"", true, true}, {"--no-editable", false, false}, {"--no-editable-package lib", true, false}} {
		w := newWorld(t).uvProject()
		r := w.build("FROM python:3.13\nWORKDIR /app\nCOPY . .\nRUN uv sync --frozen " + tt.flags + "\n")
		for name, editable := range map[string]bool{"app": tt.app, "lib": tt.lib} {
			text := w.text(r, "app/.venv/lib/python3.13/site-packages/"+name+"-0.1.dist-info/direct_url.json")
			if got := strings.Contains(text, `"editable":true`) || strings.Contains(text, `"editable": true`); got != editable {
				t.Errorf("%s: %s is editable: %t (%s)", tt.flags, name, got, text)
			}
		}
	}
}

// All that a step reads is in its key: what lies beside the lock, too.
func TestSyncSeesWhatItReads(t *testing.T) {
	for _, run := range []string{
		"uv sync --frozen --no-install-project --no-editable",
		"uv sync --frozen --no-editable --package app",
		"uv pip install --system -r pyproject.toml ./lib",
	} {
		w := newWorld(t).uvProject()
		if strings.Contains(run, "-r pyproject.toml") {
			w.write(map[string]string{"pyproject.toml": "[project]\nname = \"app\"\nversion = \"0.1\"\ndependencies = [\"web\"]\n"})
		}
		text := "FROM python:3.13\nWORKDIR /app\nCOPY . .\nRUN " + run + "\n"
		w.build(text)
		w.write(map[string]string{"lib/lib.py": "v = 2\n"})
		if got := w.text(w.build(text), libAt(run)); got != "v = 2\n" {
			t.Errorf("%s: the changed lib is not installed: %q", run, got)
		}
	}
}

func libAt(run string) string {
	if strings.Contains(run, "--system") {
		return site + "lib.py"
	}
	return "app/.venv/lib/python3.13/site-packages/lib.py"
}

func TestVenvOptions(t *testing.T) {
	w := newWorld(t).shop()
	r := w.build("FROM python:3.13\nRUN python3 -m venv --copies /opt/v\n")
	for _, name := range []string{"python", "python3", "python3.13"} {
		if got := w.text(r, "opt/v/bin/"+name); !strings.HasPrefix(got, "interpreter") {
			t.Errorf("%s is %q", name, got)
		}
	}
	r = w.build("FROM python:3.13\nRUN python3 -m venv /opt/v && /opt/v/bin/python -m pip install dep\nRUN python3 -m venv --clear /opt/v\n")
	top, ok := w.steps(r)[1].Lookup("opt/v")
	if !ok || !top.Opaque {
		t.Errorf("--clear leaves what was there: %+v", top)
	}
	for _, tt := range []struct{ run, want, hint string }{
		{"uv venv /opt/v && uv venv /opt/v", "is at /opt/v already", "--clear"},
		{"cd pinned && uv sync", "for Python 3.9", ".python-version"},
		{"pip install --config-settings a=b -e .", "/ is not its own", "without -e"},
		{"uv venv --relocatable /opt/v", "--relocatable", "same in all stages"},
		{"uv venv /opt/v && UV_PROJECT_ENVIRONMENT=/opt/v uv sync --frozen --python 3.9", "for Python 3.9", ""},
	} {
		w := newWorld(t).uvProject()
		w.write(map[string]string{"pinned/pyproject.toml": "[project]\nname = \"p\"\nversion = \"1\"\n", "pinned/.python-version": "# ours\n3.9\n"})
		_, err := w.try("FROM python:3.13\nCOPY . .\nRUN " + tt.run + "\n")
		checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 3, tt.want, tt.hint)
	}
}
