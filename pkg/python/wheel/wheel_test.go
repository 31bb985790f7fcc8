package wheel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

const site = "usr/local/lib/python3.13/site-packages/"

func TestTree(t *testing.T) {
	m := demo(
		part{name: "demo/__init__.py", text: "x = 1\n"},
		part{name: "demo/tool", text: "#!/bin/sh\n", mode: 0o100755},
		part{name: "demo/only_user", text: "#!/bin/sh\n", mode: 0o100700, stored: true},
		part{name: "demo/no_type", text: "", mode: 0o755}, // pip wants a regular file's mode
		part{name: "demo/", mode: 0o040755, stored: true},
		part{name: "demo/a_b.txt", text: "text"},
		part{name: "demo-1.0.data/purelib/pure.py", text: "p"},
		part{name: "demo-1.0.data/platlib/plat.py", text: "q"},
		part{name: "demo-1.0.data/headers/demo.h", text: "h"},
		part{name: "demo-1.0.data/data/share/man/man1/demo.1", text: "m"},
		part{name: "demo-1.0.data/scripts/run", text: "#!python -u\nprint(1)\n"},
		part{name: "demo-1.0.data/scripts/runw", text: "#!pythonw\nprint(1)"},
		part{name: "demo-1.0.data/scripts/sh", text: "#!/bin/sh\necho\n"},
		part{name: "demo-1.0.data/scripts/serve-script.py", text: "old wrapper"},
		part{name: "demo-1.0.dist-info/licenses/LICENSE", text: "free"},
		part{name: "demo-1.0.dist-info/INSTALLER", text: "someone\n"},
		part{name: "demo-1.0.dist-info/RECORD.jws", text: "{}", unlisted: true},
	)
	m.points = "[console_scripts]\nserve = demo.cli:App.main [extra]\n\n[gui_scripts]\nshow=demo:show\n[other]\nx = not looked at\n"
	tree := m.tree(t, Options{Requested: true})
	want := `755 usr/local/bin/run
755 usr/local/bin/runw
755 usr/local/bin/serve
755 usr/local/bin/sh
755 usr/local/bin/show
644 usr/local/include/python3.13/Demo/demo.h
644 usr/local/lib/python3.13/site-packages/demo/__init__.py
644 usr/local/lib/python3.13/site-packages/demo/a_b.txt
644 usr/local/lib/python3.13/site-packages/demo/no_type
755 usr/local/lib/python3.13/site-packages/demo/only_user
755 usr/local/lib/python3.13/site-packages/demo/tool
644 usr/local/lib/python3.13/site-packages/demo-1.0.dist-info/INSTALLER
644 usr/local/lib/python3.13/site-packages/demo-1.0.dist-info/METADATA
644 usr/local/lib/python3.13/site-packages/demo-1.0.dist-info/RECORD
644 usr/local/lib/python3.13/site-packages/demo-1.0.dist-info/RECORD.jws
644 usr/local/lib/python3.13/site-packages/demo-1.0.dist-info/REQUESTED
644 usr/local/lib/python3.13/site-packages/demo-1.0.dist-info/WHEEL
644 usr/local/lib/python3.13/site-packages/demo-1.0.dist-info/entry_points.txt
644 usr/local/lib/python3.13/site-packages/demo-1.0.dist-info/licenses/LICENSE
644 usr/local/lib/python3.13/site-packages/plat.py
644 usr/local/lib/python3.13/site-packages/pure.py
644 usr/local/share/man/man1/demo.1
`
	if diff := cmp.Diff(want, listing(tree)); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]string{
		"usr/local/bin/run":                   "#!/usr/local/bin/python3.13\nprint(1)\n",
		"usr/local/bin/runw":                  "#!/usr/local/bin/python3.13\nprint(1)",
		"usr/local/bin/sh":                    "#!/bin/sh\necho\n",
		"usr/local/bin/serve":                 "#!/usr/local/bin/python3.13\nimport sys\nfrom demo.cli import App\nif __name__ == '__main__':\n    sys.argv[0] = sys.argv[0].removesuffix('.exe')\n    sys.exit(App.main())\n",
		site + "demo-1.0.dist-info/INSTALLER": "pip\n",
		site + "demo-1.0.dist-info/REQUESTED": "",
	} {
		if got := text(t, tree, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if err := readAll(tree); err != nil {
		t.Error(err)
	}
	for _, e := range tree.Entries() {
		if e.UID != 0 || e.GID != 0 || e.Origin != m.filename {
			t.Errorf("%s is of %d:%d and from %q", e.Path, e.UID, e.GID, e.Origin)
		}
	}
}

func TestRecord(t *testing.T) {
	m := demo(
		part{name: "demo/é,\"x\".py", text: "", row: `"demo/é,""x"".py",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0`},
		part{name: "demo/b.py", text: "b"},
		part{name: "demo-1.0.data/scripts/run", text: "#!python\n"},
		part{name: "demo-1.0.data/headers/x.h", text: "h"},
		part{name: "demo-1.0.dist-info/RECORD.p7s", text: "s", unlisted: true},
	)
	m.points = "[console_scripts]\nserve = demo:main\n"
	tree := m.tree(t, Options{Installer: "boyabuild", DirectURL: &DirectURL{URL: "file:///w/demo.whl"}})
	got := text(t, tree, site+"demo-1.0.dist-info/RECORD")
	if strings.Count(got, "\r\n") != strings.Count(got, "\n") {
		t.Error("the lines do not end in CR LF")
	}
	var paths []string
	for _, line := range strings.Split(strings.TrimSuffix(got, "\r\n"), "\r\n") {
		paths = append(paths, line[:strings.LastIndex(line[:strings.LastIndexByte(line, ',')], ",")])
	}
	want := []string{
		"../../../bin/run", "../../../bin/serve", "../../../include/python3.13/Demo/x.h",
		"demo-1.0.dist-info/INSTALLER", "demo-1.0.dist-info/METADATA", "demo-1.0.dist-info/RECORD", "demo-1.0.dist-info/RECORD.p7s",
		"demo-1.0.dist-info/WHEEL", "demo-1.0.dist-info/direct_url.json", "demo-1.0.dist-info/entry_points.txt",
		"demo/b.py", `"demo/é,""x"".py"`,
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
	// Every line is of a file that is there, with its hash and size.
	rows, err := parseRecord([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		content := text(t, tree, site+r.path)
		if r.hash == "" {
			if !strings.Contains(r.path, "/RECORD") {
				t.Errorf("%s has no hash", r.path)
			}
			continue
		}
		if is := rowOf(r.path, []byte(content)); is.hash != r.hash || is.size != r.size {
			t.Errorf("%s has %s,%s and should have %s,%s", r.path, r.hash, r.size, is.hash, is.size)
		}
	}
}

// With --target pip writes RECORD before it moves the files.
func TestRecordTarget(t *testing.T) {
	m := demo(part{name: "demo.py", text: "x"}, part{name: "demo-1.0.data/data/etc/demo", text: "y"}, part{name: "demo-1.0.data/headers/x.h", text: "y"})
	m.points = "[console_scripts]\nserve = demo:main\n"
	w, err := m.open(t)
	if err != nil {
		t.Fatal(err)
	}
	s, err := SchemeFor(image(), Place{Target: "/opt/lib"})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := w.Tree(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"opt/lib/demo.py", "opt/lib/bin/serve", "opt/lib/etc/demo", "opt/lib/include/python/Demo/x.h"} {
		if _, ok := tree.Lookup(p); !ok {
			t.Errorf("%s is missing", p)
		}
	}
	record := text(t, tree, "opt/lib/demo-1.0.dist-info/RECORD")
	for _, p := range []string{"../../bin/serve,", "../../etc/demo,", "../../include/python/Demo/x.h,", "\ndemo.py,"} {
		if !strings.Contains("\n"+record, p) {
			t.Errorf("RECORD has no %q:\n%s", p, record)
		}
	}
}

// pip's own wheel is for all versions of Python; its scripts are not.
func TestPipScripts(t *testing.T) {
	m := demo(part{name: "demo.py", text: "x"})
	m.points = "[console_scripts]\npip = demo:main\npip3 = demo:main\npip3.9 = demo:main\neasy_install = demo:easy\neasy_install-3.9 = demo:easy\npipx = demo:x\n"
	got := listing(m.tree(t, Options{}))
	for _, name := range []string{"pip", "pip3", "pip3.13", "pipx", "easy_install", "easy_install-3.13"} {
		if !strings.Contains(got, "755 usr/local/bin/"+name+"\n") {
			t.Errorf("there is no script %s", name)
		}
	}
	if strings.Contains(got, "3.9") {
		t.Errorf("there are scripts of another Python:\n%s", got)
	}
}

func TestRefused(t *testing.T) {
	hash := "sha256=" + strings.Repeat("A", 43)
	with := func(change func(*maker), parts ...part) maker {
		m := demo(append([]part{{name: "demo.py", text: "x"}}, parts...)...)
		if change != nil {
			change(&m)
		}
		return m
	}
	for _, tt := range []struct {
		name string
		m    maker
		says string
	}{
		{"parent", with(nil, part{name: "../slip.py"}), `"../slip.py" leaves the archive`},
		{"inner parent", with(nil, part{name: "demo/../../slip.py"}), "leaves the archive"},
		{"absolute", with(nil, part{name: "/etc/passwd"}), "is an absolute path"},
		{"backslash", with(nil, part{name: `demo\x.py`}), "has a backslash"},
		{"drive", with(nil, part{name: "C:x.py"}), "drive letter"},
		{"NUL", with(nil, part{name: "demo/x\x00.py"}), "NUL byte"},
		{"control", with(nil, part{name: "demo/x\n.py"}), "control character"},
		{"not UTF-8", with(nil, part{name: "demo/\xff.py"}), "not UTF-8"},
		{"dot", with(nil, part{name: "./", stored: true}), "has no name"},
		{"symlink", with(nil, part{name: "link", text: "/etc/passwd", mode: 0o120777}), `"link" is a symbolic link`},
		{"device", with(nil, part{name: "dev", mode: 0o020666}), "neither a file nor a directory"},
		{"duplicate", with(nil, part{name: "demo.py", text: "y"}), `"demo.py" is in the archive twice`},
		{"duplicate, other spelling", with(nil, part{name: "./demo.py", text: "y"}), "is in the archive twice"},
		{"in a file", with(nil, part{name: "demo.py/x", text: "y"}), `lies in "demo.py"`},
		{"encrypted", with(nil, part{name: "secret", text: "x", flags: 1}), `"secret" is encrypted`},
		{"method", with(nil, part{name: "b", text: "x", method: 12}), "compressed by method 12"},
		{"big file", with(nil, part{name: "b", text: "x", size: maxFile + 1}), "more than the 2147483648 allowed"},
		{"big total", with(nil, part{name: "a", size: maxFile}, part{name: "b", size: maxFile}, part{name: "c", size: maxFile}, part{name: "d", size: maxFile}), "unpacks to more than"},
		{"two stored sizes", with(nil, part{name: "b", text: "x", stored: true, size: 9}), "two different sizes"},
		{"not in RECORD", with(nil, part{name: "b", text: "x", unlisted: true}), `"b" is not in RECORD`},
		{"only in RECORD", with(func(m *maker) { m.extra = "gone.py," + hash + ",1\n" }), `"gone.py" is in RECORD, but not in the archive`},
		{"RECORD leaves", with(func(m *maker) { m.extra = "../gone.py," + hash + ",1\n" }), "leaves the archive"},
		{"no hash", with(nil, part{name: "b", text: "x", row: "b,,1"}), `"b" has no hash in RECORD`},
		{"md5", with(nil, part{name: "b", text: "x", row: "b,md5=AAAA,1"}), "sha256 or better"},
		{"short hash", with(nil, part{name: "b", text: "x", row: "b,sha256=AAAA,1"}), "has a wrong hash"},
		{"other size", with(nil, part{name: "b", text: "x", row: "b," + hash + ",2"}), `has 1 bytes, but "2" in RECORD`},
		{"two hashes", with(func(m *maker) { m.extra = "demo.py," + hash + ",1\n" }), "twice, with different hashes"},
		{"RECORD is no CSV", with(func(m *maker) { m.record = "a\"b,\n" }), "is no CSV file"},
		{"no RECORD", with(func(m *maker) { m.omit = "RECORD" }), `"demo-1.0.dist-info/RECORD" is missing`},
		{"no WHEEL", with(func(m *maker) { m.omit = "WHEEL" }), `"demo-1.0.dist-info/WHEEL" is missing`},
		{"no METADATA", with(func(m *maker) { m.omit = "METADATA" }), `"demo-1.0.dist-info/METADATA" is missing`},
		{"newer wheel", with(func(m *maker) { m.wheel = strings.Replace(m.wheel, "1.0", "2.0", 1) }), `has the version "2.0"`},
		{"bad tag", with(func(m *maker) { m.wheel += "Tag: nonsense\n" }), "has a wrong tag"},
		{"other project", with(func(m *maker) { m.metadata = strings.Replace(m.metadata, "Demo", "Other", 1) }), "is of Other 1.0"},
		{"other version", with(func(m *maker) { m.metadata = strings.Replace(m.metadata, "Version: 1.0", "Version: 1.1", 1) }), "is of Demo 1.1"},
		{"other dist-info", with(func(m *maker) { m.distInfo = "demo-1.1.dist-info" }), "does not belong to the file name"},
		{"two dist-infos", with(nil, part{name: "a-1.dist-info/METADATA", text: "x"}), "has two .dist-info directories"},
		{"no dist-info", with(func(m *maker) { m.distInfo = "demo" }), "has no .dist-info directory"},
		{"file name", with(func(m *maker) { m.filename = "demo.whl" }), "has no valid name"},
		{"script path", with(func(m *maker) { m.points = "[console_scripts]\n../../x = demo:main\n" }), "path separator"},
		{"script name", with(func(m *maker) { m.points = "[console_scripts]\n.. = demo:main\n" }), "is no script name"},
		{"script code", with(func(m *maker) { m.points = "[console_scripts]\nx = os;import:main\n" }), "module:function"},
		{"script without function", with(func(m *maker) { m.points = "[gui_scripts]\nx = demo\n" }), "line 2: script x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.m.open(t)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("the error is %v, want an *Error", err)
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.m.filename) {
				t.Errorf("it says %q, want %q", err, tt.says)
			}
		})
	}
	if _, err := New(strings.NewReader("no zip"), 6, "demo-1.0-py3-none-any.whl"); err == nil || !strings.Contains(err.Error(), "is no zip archive") {
		t.Errorf("text gives %v", err)
	}
}

// What is wrong inside of the .data directories shows when the tree is made.
func TestTreeRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    maker
		says string
	}{
		{"unknown scheme", demo(part{name: "demo-1.0.data/elsewhere/x", text: "x"}), `is for "elsewhere"`},
		{"no scheme", demo(part{name: "demo-1.0.data/x", text: "x"}), "lies in no directory"},
		{"one place", demo(part{name: "x.py", text: "x"}, part{name: "demo-1.0.data/purelib/x.py", text: "y"}), `goes to /usr/local/lib/python3.13/site-packages/x.py, and so does "x.py"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := tt.m.open(t)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Tree(imageScheme(t), Options{})
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("the error is %v, want %q", err, tt.says)
			}
		})
	}
}

// What is wrong with contents shows when they are read, and never all of their
// bytes are given out.
func TestDamaged(t *testing.T) {
	long := strings.Repeat("0123456789", 30_000)
	wrong := "b.txt,sha256=" + strings.Repeat("A", 43) + "," // hash of something else
	for _, tt := range []struct {
		name string
		p    part
		edit func([]byte) []byte
		says string
	}{
		{"hash", part{name: "b.txt", text: long, row: wrong}, nil, "does not have the hash that RECORD says"},
		{"hash of an empty file", part{name: "b.txt", row: wrong}, nil, "does not have the hash that RECORD says"},
		{"longer", part{name: "b.txt", text: long, size: 10, row: wrong}, nil, "is longer than the archive's directory says"},
		{"shorter", part{name: "b.txt", text: long, size: 10_000_000, row: wrong}, nil, "is shorter than the archive's directory says"},
		{"CRC", part{name: "b.txt", text: "text", stored: true}, func(b []byte) []byte { return bytes.Replace(b, []byte("text"), []byte("next"), 1) }, "does not have the CRC"},
		{"stream", part{name: "b.txt", text: long}, func(b []byte) []byte {
			i := bytes.Index(b, []byte("b.txt")) + len("b.txt")
			binary.LittleEndian.PutUint32(b[i:], 0xffffffff)
			return b
		}, "is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := demo(tt.p)
			b := m.bytes(t)
			if tt.edit != nil {
				b = tt.edit(b)
			}
			w, err := New(bytes.NewReader(b), int64(len(b)), m.filename)
			if err != nil {
				t.Fatal(err)
			}
			tree, err := w.Tree(imageScheme(t), Options{})
			if err != nil {
				t.Fatal(err)
			}
			e, ok := tree.Lookup(site + "b.txt")
			if !ok {
				t.Fatal("b.txt is missing")
			}
			r, err := e.Content.Open()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			var refused *Error
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.says) || refused.Entry != "b.txt" {
				t.Errorf("the error is %v, want %q", err, tt.says)
			}
			if e.Size > 0 && int64(len(got)) >= e.Size {
				t.Errorf("all %d bytes were given out", len(got))
			}
			if _, again := r.Read(make([]byte, 1)); again != err {
				t.Errorf("the next read gives %v", again)
			}
			r.Close()
			if _, err := layers.Write(context.Background(), io.Discard, tree, layers.Options{}); !errors.As(err, &refused) {
				t.Errorf("writing the layer gives %v", err)
			}
		})
	}
}

// Two entries of the directory with the same bytes: a small archive that
// unpacks to a large tree.
func TestOverlap(t *testing.T) {
	m := demo(part{name: "a.txt", text: "same text", stored: true}, part{name: "b.txt", text: "same text", stored: true})
	b := m.bytes(t)
	// The directory's entry of b.txt gets the local header of a.txt.
	dir := bytes.LastIndex(b, []byte("b.txt")) - 46
	binary.LittleEndian.PutUint32(b[dir+42:], 0)
	_, err := New(bytes.NewReader(b), int64(len(b)), m.filename)
	if err == nil || !strings.Contains(err.Error(), "shares bytes of the archive") {
		t.Errorf("the error is %v", err)
	}
}

func TestBeyondTheEnd(t *testing.T) {
	m := demo(part{name: "a.txt", text: "text"})
	b := m.bytes(t)
	dir := bytes.LastIndex(b, []byte("a.txt")) - 46
	binary.LittleEndian.PutUint32(b[dir+20:], 1<<30) // the compressed size
	_, err := New(bytes.NewReader(b), int64(len(b)), m.filename)
	if err == nil || !strings.Contains(err.Error(), "beyond the end") {
		t.Errorf("the error is %v", err)
	}
}

func TestCaseCollisionWarns(t *testing.T) {
	var log bytes.Buffer
	tree := demo(part{name: "Demo.py", text: "x"}, part{name: "demo.py", text: "y"}).tree(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if _, ok := tree.Lookup(site + "Demo.py"); !ok {
		t.Error("Demo.py is missing")
	}
	if !strings.Contains(log.String(), "differ only by case") {
		t.Errorf("the log is %q", log.String())
	}
}

// A wheel in a store has a name that is not its file's, and no file stays open.
func TestOpenFile(t *testing.T) {
	m := demo(part{name: "demo.py", text: "x"})
	path := filepath.Join(t.TempDir(), "0123abcd")
	if err := os.WriteFile(path, m.bytes(t), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := Open(path, m.filename)
	if err != nil {
		t.Fatal(err)
	}
	if md, err := w.Metadata(); err != nil || md.Name != "Demo" || w.Project != "Demo" || w.Generator != "test" || !w.Purelib {
		t.Errorf("it is %+v (%v) of %s by %s", md, err, w.Project, w.Generator)
	}
	tree, err := w.Tree(imageScheme(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := readAll(tree); err != nil {
		t.Error(err)
	}
	if _, err := Open(path, ""); err == nil {
		t.Error("a file name that is no wheel's is taken")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := readAll(tree); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file reading gives %v", err)
	}
}

// The same wheel gives the same layer, however often.
func TestDeterministic(t *testing.T) {
	m := demo(part{name: "b.py", text: "b"}, part{name: "a.py", text: "a"})
	m.points = "[console_scripts]\nz = a:b\ny = a:b\n"
	var digests []string
	for range 3 {
		d, err := layers.Write(context.Background(), io.Discard, m.tree(t, Options{Requested: true}), layers.Options{})
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d.Digest.String())
	}
	if digests[0] != digests[1] || digests[1] != digests[2] {
		t.Errorf("the digests are %v", digests)
	}
}

func FuzzWheel(f *testing.F) {
	m := demo(part{name: "demo.py", text: "x"}, part{name: "demo-1.0.data/scripts/run", text: "#!python\n"})
	m.points = "[console_scripts]\na = b:c\n"
	f.Add(m.bytes(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := New(bytes.NewReader(b), int64(len(b)), "demo-1.0-py3-none-any.whl")
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("the error is a %T: %v", err, err)
			}
			return
		}
		tree, err := w.Tree(imageScheme(t), Options{})
		if err != nil {
			return
		}
		for _, e := range tree.Entries() {
			if !strings.HasPrefix(e.Path+"/", "usr/") {
				t.Errorf("%s lies outside", e.Path)
			}
		}
		readAll(tree)
	})
}

func BenchmarkTree(b *testing.B) {
	// As in a real wheel: many small files of text, a few large ones of code.
	rng := rand.New(rand.NewPCG(1, 2))
	var parts []part
	var total int64
	for i := range 600 {
		var s strings.Builder
		for s.Len() < 8_000 {
			fmt.Fprintf(&s, "def function_%d(argument):\n    return argument + %d\n\n", rng.IntN(1000), rng.IntN(1e6))
		}
		parts = append(parts, part{name: fmt.Sprintf("demo/module_%d.py", i), text: s.String()})
		total += int64(s.Len())
	}
	for i := range 3 {
		code := make([]byte, 5_000_000)
		for j := range code {
			code[j] = byte(rng.IntN(256) & rng.IntN(256)) // half of the bits of random ones: it compresses a little
		}
		parts = append(parts, part{name: fmt.Sprintf("demo/lib_%d.so", i), text: string(code)})
		total += int64(len(code))
	}
	m := demo(parts...)
	data := m.bytes(b)
	for _, c := range []layers.Compression{layers.None, layers.Zstd, layers.Gzip} {
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				w, err := New(bytes.NewReader(data), int64(len(data)), m.filename)
				if err != nil {
					b.Fatal(err)
				}
				tree, err := w.Tree(imageScheme(b), Options{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := layers.Write(context.Background(), io.Discard, tree, layers.Options{Compression: c}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
