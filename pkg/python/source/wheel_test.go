package source

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// treeOf makes a tree of an archive's files. What lies in bin is executable.
func treeOf(t testing.TB, a *txtar.Archive) layers.Tree {
	t.Helper()
	var entries []layers.Entry
	for _, f := range a.Files {
		entries = append(entries, layers.Entry{Path: f.Name, Kind: layers.File, Mode: modeOf(f.Name), Size: int64(len(f.Data)), Content: layers.Bytes(f.Data)})
	}
	tree, err := layers.NewTree(entries)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func modeOf(name string) uint32 {
	if path.Base(path.Dir(name)) == "bin" {
		return 0o755
	}
	return 0o644
}

// parse makes a tree of a txtar text.
func parse(t testing.TB, text string) layers.Tree { return treeOf(t, txtar.Parse([]byte(text))) }

func projects(t *testing.T) map[string]*txtar.Archive {
	files, err := filepath.Glob("testdata/projects/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no projects", err)
	}
	all := map[string]*txtar.Archive{}
	for _, f := range files {
		a, err := txtar.ParseFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".txtar")] = a
	}
	return all
}

// built is a wheel that was read again.
type built struct {
	filename string
	files    map[string]string // name → content
	modes    map[string]os.FileMode
	bytes    []byte
}

func read(t testing.TB, filename string, b []byte) built {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	w := built{filename: filename, files: map[string]string{}, modes: map[string]os.FileMode{}, bytes: b}
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, again := w.files[f.Name]; again {
			t.Errorf("%s is in the wheel twice", f.Name)
		}
		w.files[f.Name], w.modes[f.Name] = string(data), f.Mode()
	}
	return w
}

func build(t testing.TB, tree layers.Tree, editable bool) (built, error) {
	t.Helper()
	var b bytes.Buffer
	var name string
	var err error
	if editable {
		name, err = Editable(context.Background(), tree, "/app", &b, Options{})
	} else {
		name, err = Wheel(context.Background(), tree, &b, Options{})
	}
	if err != nil {
		return built{}, err
	}
	return read(t, name, b.Bytes()), nil
}

// describe writes what a wheel has, with the content of its metadata.
func (w built) describe() string {
	var b strings.Builder
	fmt.Fprintln(&b, w.filename)
	var names []string
	for name := range w.files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%v %s\n", w.modes[name], name)
	}
	for _, name := range names {
		if base := path.Base(name); base == "METADATA" || base == "WHEEL" || base == "entry_points.txt" || base == "top_level.txt" || strings.HasSuffix(base, ".pth") {
			fmt.Fprintf(&b, "\n== %s\n%s", name, w.files[name])
		}
	}
	return b.String()
}

// The wheels of the projects in testdata, which interop/backends.sh compares
// with those of the back-ends themselves.
func TestProjects(t *testing.T) {
	for name, a := range projects(t) {
		t.Run(name, func(t *testing.T) {
			w, err := build(t, treeOf(t, a), false)
			if err != nil {
				t.Fatal(err)
			}
			got := w.describe() + "\n\n# editable\n"
			e, err := build(t, treeOf(t, a), true)
			if err != nil {
				got += err.Error() + "\n"
				e = w
			} else {
				got += e.describe()
			}
			golden := "testdata/projects/" + name + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
			for _, x := range []built{w, e} {
				installable(t, x)
			}
		})
	}
}

// installable checks that the installer takes the wheel, with its RECORD.
func installable(t *testing.T, w built) {
	t.Helper()
	in, err := wheel.New(bytes.NewReader(w.bytes), int64(len(w.bytes)), w.filename)
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := wheel.SchemeFor(wheel.Installation{Python: "3.13", Prefix: "/usr/local", Interpreter: "/usr/local/bin/python3.13"}, wheel.Place{})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := in.Tree(scheme, wheel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := layers.Write(context.Background(), io.Discard, tree, layers.Options{}); err != nil {
		t.Error(err)
	}
}

func TestSameBytes(t *testing.T) {
	a := projects(t)["hatch-full"]
	one, err := build(t, treeOf(t, a), false)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(a.Files)
	two, err := build(t, treeOf(t, a), false)
	if err != nil || !bytes.Equal(one.bytes, two.bytes) {
		t.Error("two wheels of one tree differ", err)
	}
	var b bytes.Buffer
	at := time.Date(2024, 2, 29, 12, 30, 40, 0, time.UTC)
	if _, err := Wheel(context.Background(), treeOf(t, a), &b, Options{Time: at}); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		if !f.Modified.Equal(at) {
			t.Errorf("%s: %v, not %v", f.Name, f.Modified, at)
		}
	}
}

func TestMetadata(t *testing.T) {
	m, err := Metadata(treeOf(t, projects(t)["setuptools-module"]))
	if err != nil {
		t.Fatal(err)
	}
	var requires []string
	for _, r := range m.RequiresDist {
		requires = append(requires, r.String())
	}
	want := []string{"flask>=1", `requests; python_version > "3"`, `pytest; extra == "dev"`}
	if d := cmp.Diff(want, requires); d != "" {
		t.Error(d)
	}
	if m.Version.String() != "1.5" {
		t.Error(m.Version)
	}
}

func TestNotAProject(t *testing.T) {
	_, err := build(t, parse(t, "-- app.py --\n"), false)
	var none *NotAProjectError
	if !errors.As(err, &none) {
		t.Error(err)
	}
	if _, err := BuildRequires(parse(t, "-- app.py --\n")); !errors.As(err, &none) {
		t.Error(err)
	}
	bs, err := BuildRequires(parse(t, "-- setup.py --\n"))
	if err != nil || bs.Backend != "setuptools.build_meta:__legacy__" || len(bs.Requires) == 0 {
		t.Error(bs, err)
	}
	_, err = build(t, parse(t, "-- pyproject.toml --\n[project\n"), false)
	var file *python.FileError
	if !errors.As(err, &file) {
		t.Error(err)
	}
}
