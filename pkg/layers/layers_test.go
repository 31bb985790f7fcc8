package layers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func file(path, content string) Entry {
	return Entry{Path: path, Kind: File, Mode: 0o644, Size: int64(len(content)), Content: Bytes([]byte(content)), Origin: "test"}
}

func link(path, target string) Entry {
	return Entry{Path: path, Kind: Symlink, Mode: 0o777, Link: target, Origin: "test"}
}

func tree(t testing.TB, entries ...Entry) Tree {
	t.Helper()
	tr, err := NewTree(entries)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// list shows a tree one line an entry.
func list(tr Tree) string {
	var b strings.Builder
	for _, e := range tr.Entries() {
		fmt.Fprintf(&b, "%s %s", map[Kind]string{File: "f", Dir: "d", Symlink: "l", Hardlink: "h", Whiteout: "w"}[e.Kind], e.Path)
		if e.Link != "" {
			fmt.Fprintf(&b, " -> %s", e.Link)
		}
		if e.Opaque {
			b.WriteString(" opaque")
		}
		if e.Kind == Dir && e.Mode != 0o755 {
			fmt.Fprintf(&b, " %o", e.Mode)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestNewTreeSortsByComponentAndAddsParents(t *testing.T) {
	tr := tree(t, file("a-b", "1"), file("a/z/y", "2"), file("a.txt", "3"))
	want := "d a\nd a/z\nf a/z/y\nf a-b\nf a.txt\n"
	if diff := cmp.Diff(want, list(tr)); diff != "" {
		t.Error(diff)
	}
}

func TestNewTreeRefuses(t *testing.T) {
	for name, entries := range map[string][]Entry{
		"empty":          {file("", "")},
		"dot":            {file(".", "")},
		"absolute":       {file("/etc/passwd", "")},
		"parent":         {file("../x", "")},
		"parent inside":  {file("a/../../x", "")},
		"unclean":        {file("a//b", "")},
		"trailing slash": {file("a/", "")},
		"NUL":            {file("a\x00b", "")},
		"long":           {file(strings.Repeat("a/", 3000)+"b", "")},
		"whiteout name":  {file("a/.wh.b", "")},
		"mode":           {{Path: "a", Kind: File, Mode: 0o100644}},
		"no kind":        {{Path: "a"}},
		"twice":          {file("a", "1"), file("a", "2")},
		"file as parent": {file("a", "1"), file("a/b", "2")},
		"no content":     {{Path: "a", Kind: File, Size: 3}},
		"no target":      {{Path: "a", Kind: Symlink}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewTree(entries); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestResolve(t *testing.T) {
	tr := tree(t,
		link("lib", "usr/lib"), file("usr/lib/x", "1"), link("var/run", "/run"), file("run/pid", "2"),
		link("loop", "loop2"), link("loop2", "loop"), link("usr/up", "../../../usr/lib/x"))
	for p, want := range map[string]string{
		"lib/x":        "usr/lib/x",
		"/lib/x":       "usr/lib/x",
		"var/run/pid":  "run/pid",
		"usr/up":       "usr/lib/x",
		"nothing/here": "nothing/here",
		"lib/../lib/x": "usr/lib/x",
		"../../lib/x":  "usr/lib/x",
		"/":            "",
	} {
		got, err := tr.Resolve(p)
		if err != nil || got != want {
			t.Errorf("Resolve(%q) = %q, %v; want %q", p, got, err, want)
		}
	}
	if _, err := tr.Resolve("loop/x"); err == nil {
		t.Error("a loop of links was followed")
	}
	if b, err := tr.ReadFile("/var/run/pid", 10); err != nil || string(b) != "2" {
		t.Errorf("ReadFile = %q, %v", b, err)
	}
	if _, err := tr.ReadFile("/var/run/none", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile of nothing = %v", err)
	}
	if _, err := tr.ReadFile("lib/x", 0); err == nil {
		t.Error("the limit was not held")
	}
}

func TestOverlay(t *testing.T) {
	lower := tree(t, file("a/1", "1"), file("a/2", "2"), file("b/1", "1"), file("c", "old"), file("d/deep/x", "1"), file("d-e", "1"),
		Entry{Path: "tmp", Kind: Dir, Mode: 0o1777})
	upper := tree(t, Entry{Path: "a/1", Kind: Whiteout}, Entry{Path: "b", Kind: Dir, Mode: 0o700, Opaque: true}, file("b/new", "n"),
		file("c", "new"), link("d", "a"), file("tmp/x", "x"))
	view := Overlay(lower, upper)
	want := "d a\nf a/2\nd b 700\nf b/new\nf c\nl d -> a\nf d-e\nd tmp 1777\nf tmp/x\n"
	if diff := cmp.Diff(want, list(view)); diff != "" {
		t.Error(diff)
	}
	if b, _ := view.ReadFile("c", 10); string(b) != "new" {
		t.Errorf("c = %q", b)
	}
}

func TestCompose(t *testing.T) {
	first := tree(t, Entry{Path: "site/old", Kind: Whiteout}, file("site/new/a", "1"), file("site/new/b", "1"), Entry{Path: "pkg", Kind: Whiteout})
	second := tree(t, Entry{Path: "site/new/a", Kind: Whiteout}, file("site/old", "again"), file("pkg/x", "1"))
	want := "d pkg opaque\nf pkg/x\nd site\nd site/new\nw site/new/a\nf site/new/b\nf site/old\n"
	if diff := cmp.Diff(want, list(Compose(first, second))); diff != "" {
		t.Error(diff)
	}
	lower := tree(t, file("site/old", "0"), file("pkg/gone", "0"), file("site/new/a", "0"))
	one := Overlay(lower, Compose(first, second))
	two := Overlay(Overlay(lower, first), second)
	if diff := cmp.Diff(list(two), list(one)); diff != "" {
		t.Error(diff)
	}
}

func TestSettle(t *testing.T) {
	lower := tree(t, link("lib", "usr/lib"), Entry{Path: "usr/lib", Kind: Dir, Mode: 0o755}, Entry{Path: "tmp", Kind: Dir, Mode: 0o1777})
	upper := tree(t, file("lib/p/x", "1"), file("usr/lib/p/y", "2"), file("tmp/f", "3"))
	got, err := upper.Settle(lower)
	if err != nil {
		t.Fatal(err)
	}
	want := "d tmp 1777\nf tmp/f\nd usr\nd usr/lib\nd usr/lib/p\nf usr/lib/p/x\nf usr/lib/p/y\n"
	if diff := cmp.Diff(want, list(got)); diff != "" {
		t.Error(diff)
	}
}

func TestMerge(t *testing.T) {
	a := tree(t, file("s/ns/__init__.py", ""), file("s/a.py", "1"))
	b := tree(t, file("s/ns/__init__.py", ""), file("s/b.py", "1"))
	got, err := Merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("d s\nf s/a.py\nf s/b.py\nd s/ns\nf s/ns/__init__.py\n", list(got)); diff != "" {
		t.Error(diff)
	}
	one, two := file("s/a.py", "2"), file("s/a.py", "1")
	one.Origin, two.Origin = "one.whl", "two.whl"
	_, err = Merge(tree(t, one), tree(t, two))
	var conflict *ConflictError
	if !errors.As(err, &conflict) || conflict.First != "one.whl" || conflict.Second != "two.whl" || conflict.Field != "content" {
		t.Errorf("Merge of two contents: %v", err)
	}
}

func TestWriteIsDeterministicAndReadBack(t *testing.T) {
	tr := tree(t, file("bin/app", strings.Repeat("hello ", 300_000)), link("app", "bin/app"),
		Entry{Path: "a-link", Kind: Hardlink, Link: "bin/app"}, Entry{Path: "gone", Kind: Whiteout},
		Entry{Path: "cut", Kind: Dir, Mode: 0o700, Opaque: true}, file("cut/x", "x"),
		Entry{Path: "cap", Kind: File, Mode: 0o4755, UID: 7, GID: 8, Xattrs: map[string]string{"user.b": "2", "user.a": "1"}})
	for _, c := range []Compression{Gzip, Zstd, None} {
		t.Run(c.String(), func(t *testing.T) {
			var first, second bytes.Buffer
			o := Options{Compression: c, Time: time.Unix(1_700_000_000, 5)}
			d1, err := Write(t.Context(), &first, tr, o)
			if err != nil {
				t.Fatal(err)
			}
			d2, err := Write(t.Context(), &second, tr, o)
			if err != nil {
				t.Fatal(err)
			}
			if d1 != d2 || !bytes.Equal(first.Bytes(), second.Bytes()) {
				t.Errorf("two writes differ: %v, %v", d1, d2)
			}
			if d1.Size != int64(first.Len()) {
				t.Errorf("size %d, %d bytes", d1.Size, first.Len())
			}
		})
	}
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, tr, Options{}); err != nil {
		t.Fatal(err)
	}
	open := func() (io.ReadCloser, error) { return gzip.NewReader(bytes.NewReader(b.Bytes())) }
	back, err := ReadTar(open)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list(tr), list(back)); diff != "" {
		t.Error(diff)
	}
	if got, err := back.ReadFile("app", 3<<20); err != nil || string(got) != strings.Repeat("hello ", 300_000) {
		t.Errorf("read back %d bytes, %v", len(got), err)
	}
	if e, _ := back.Lookup("cap"); e.Mode != 0o4755 || e.UID != 7 || e.Xattrs["user.a"] != "1" {
		t.Errorf("cap = %+v", e)
	}
	s1, err1 := Sum(t.Context(), tr)
	s2, err2 := Sum(t.Context(), tr)
	if err1 != nil || err2 != nil || s1 != s2 {
		t.Errorf("sums %v %v", s1, s2)
	}
}

func TestWriteNoticesAFileThatChanges(t *testing.T) {
	for name, size := range map[string]int64{"shrunk": 10, "grown": 3} {
		e := file("x", "12345")
		e.Size = size
		if _, err := Write(t.Context(), io.Discard, tree(t, e), Options{}); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWriteEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ctx, io.Discard, tree(t, file("x", "1")), Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// apply unpacks layers one after the other and returns the directory.
func apply(t *testing.T, trees ...Tree) string {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, tr := range trees {
		var b bytes.Buffer
		if _, err := Write(t.Context(), &b, tr, Options{Compression: None}); err != nil {
			t.Fatal(err)
		}
		if err := Apply(t.Context(), &b, root, ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func onDisk(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		switch {
		case d.IsDir():
			fmt.Fprintf(&b, "d %s\n", rel)
		case d.Type() == fs.ModeSymlink:
			to, _ := os.Readlink(p)
			fmt.Fprintf(&b, "l %s -> %s\n", rel, to)
		default:
			c, _ := os.ReadFile(p)
			fmt.Fprintf(&b, "f %s %s\n", rel, c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestApply(t *testing.T) {
	lower := tree(t, link("var/run", "/run"), Entry{Path: "run", Kind: Dir, Mode: 0o555}, file("a/1", "1"), file("a/2", "2"),
		file("b/1", "1"), file("c", "old"), Entry{Path: "h", Kind: Hardlink, Link: "c"}, link("lib", "usr/lib"), file("usr/lib/x", "x"))
	upper := tree(t, Entry{Path: "a/1", Kind: Whiteout}, Entry{Path: "b", Kind: Dir, Mode: 0o755, Opaque: true}, file("b/new", "n"), file("c", "new"))
	// A tar whose names pass through links, as other builders write them.
	var through bytes.Buffer
	tw := tar.NewWriter(&through)
	for _, name := range []string{"var/run/pid", "./lib/y"} {
		if err := tw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte("p")); err != nil {
			t.Fatal(err)
		}
	}
	tw.Close()
	dir := apply(t, lower, upper)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Apply(t.Context(), &through, root, ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	want := `d a
f a/2 2
d b
f b/new n
f c new
f h old
l lib -> usr/lib
d run
f run/pid p
d usr
d usr/lib
f usr/lib/x x
f usr/lib/y p
d var
l var/run -> /run
`
	if diff := cmp.Diff(want, onDisk(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestApplyStaysInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	for name, headers := range map[string][]*tar.Header{
		"dots":          {{Name: "../../outside/x", Typeflag: tar.TypeReg}},
		"link out":      {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "l/x", Typeflag: tar.TypeReg}},
		"hard link out": {{Name: "h", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}},
		"link up":       {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../../../.." + outside}, {Name: "l/x", Typeflag: tar.TypeReg}},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			tw := tar.NewWriter(&b)
			for _, h := range headers {
				h.Mode = 0o644
				if err := tw.WriteHeader(h); err != nil {
					t.Fatal(err)
				}
			}
			tw.Close()
			root, err := os.OpenRoot(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			_ = Apply(t.Context(), &b, root, ApplyOptions{}) // an error or a file inside, both are right
			if _, err := os.Lstat(outside); err == nil {
				t.Fatal("a file was written outside")
			}
		})
	}
}

func TestApplyHoldsItsLimit(t *testing.T) {
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, tree(t, file("x", strings.Repeat("x", 100))), Options{Compression: None}); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Apply(t.Context(), &b, root, ApplyOptions{MaxBytes: 99}); err == nil {
		t.Error("the limit was not held")
	}
}

func FuzzReadTar(f *testing.F) {
	var b bytes.Buffer
	tr, err := NewTree([]Entry{file("a/b", "c"), link("l", "a"), {Path: "a/w", Kind: Whiteout}})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := Write(f.Context(), &b, tr, Options{Compression: None}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := ReadTar(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		if err != nil {
			return
		}
		for _, e := range read.Entries() {
			if err := check(&e); err != nil {
				t.Fatal(err)
			}
		}
		Overlay(tr, read)
	})
}

func BenchmarkWrite(b *testing.B) {
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = byte(i * i >> 3)
	}
	var entries []Entry
	for i := range 500 {
		entries = append(entries, Entry{Path: fmt.Sprintf("f/%d", i), Kind: File, Mode: 0o644, Size: int64(len(block)), Content: Bytes(block)})
	}
	tr, err := NewTree(entries)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []Compression{Gzip, Zstd, None} {
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(int64(500 * len(block)))
			for b.Loop() {
				if _, err := Write(b.Context(), io.Discard, tr, Options{Compression: c}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
