package wheel

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// TestLayerTakesDeflatedFiles: a layer of a wheel's own deflate streams unpacks
// to what the wheel's contents are, and its size is about theirs.
func TestLayerTakesDeflatedFiles(t *testing.T) {
	long := strings.Repeat("def f(self):\n    return self.x\n", 60_000)
	m := demo(
		part{name: "demo/__init__.py", text: "x = 1\n"},
		part{name: "demo/empty.py"},
		part{name: "demo/long.py", text: long},
		part{name: "demo/stored.txt", text: strings.Repeat("stored ", 100), stored: true},
		part{name: "demo-1.0.data/scripts/run", text: "#!python\nprint()\n", mode: 0o100755},
	)
	w, err := m.open(t)
	if err != nil {
		t.Fatal(err)
	}
	source, open := w.source, 0
	w.source = func() (io.ReaderAt, io.Closer, error) {
		open++
		r, c, err := source()
		return r, closerFunc(func() error { open--; return c.Close() }), err
	}
	tree, err := w.Tree(imageScheme(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var packed, plain bytes.Buffer
	d, err := layers.Write(t.Context(), &packed, tree, layers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := layers.Write(t.Context(), &plain, tree, layers.Options{Compression: layers.None})
	if err != nil {
		t.Fatal(err)
	}
	if d.DiffID != want.DiffID {
		t.Errorf("diffID %s; of the files %s", d.DiffID, want.DiffID)
	}
	z, err := gzip.NewReader(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, plain.Bytes()) {
		t.Errorf("the layer unpacks to %d other bytes, %v", len(got), err)
	}
	f := w.byName["demo/long.py"]
	if n, ok := f.DeflatedSize(); !ok || n != f.packed {
		t.Errorf("DeflatedSize = %d, %t", n, ok)
	}
	if _, ok := w.byName["demo/stored.txt"].DeflatedSize(); ok {
		t.Error("a stored file is called deflated")
	}
	if open != 0 {
		t.Errorf("the wheel is open %d times", open)
	}
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

// TestLayerChecksDeflatedFiles: what is spliced is checked like what is read.
func TestLayerChecksDeflatedFiles(t *testing.T) {
	long := strings.Repeat("def f(self):\n    return self.x\n", 60_000)
	for _, text := range []string{"x = 1\n", long} {
		for name, c := range map[string]struct {
			change func(*file)
			want   string
		}{
			"CRC":            {func(f *file) { f.crc++ }, "does not have the CRC"},
			"hash":           {func(f *file) { f.row.digest[3]++ }, "does not have the hash that RECORD says"},
			"size":           {func(f *file) { f.size-- }, "is damaged"},
			"end of stream":  {func(f *file) { f.packed-- }, "is damaged"},
			"start of file":  {func(f *file) { f.offset-- }, "is damaged"},
			"beyond archive": {func(f *file) { f.offset = 1 << 40 }, "is damaged"},
		} {
			w, err := demo(part{name: "demo/x.py", text: text}).open(t)
			if err != nil {
				t.Fatal(err)
			}
			c.change(w.byName["demo/x.py"])
			tree, err := w.Tree(imageScheme(t), Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = layers.Write(t.Context(), io.Discard, tree, layers.Options{})
			var refused *Error
			if !errors.As(err, &refused) || refused.Entry != "demo/x.py" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s of %d bytes: %v", name, len(text), err)
			}
		}
	}
}

// TestLocalHeaders: what stands before an entry's data says the same of it as the
// archive's directory.
func TestLocalHeaders(t *testing.T) {
	const name, method, size, crc = 30, 8, 22, 14
	for _, tt := range []struct {
		at    int
		value string
		says  string
	}{
		{name, "z", "another name"},
		{method, "\x00", "packed another way"},
		{size, "\x63", "another size"},
		{crc, "\x00\x00\x00\x00", "another CRC"},
		{0, "XX", "has no header"},
	} {
		m := demo(part{name: "demo/x.py", text: "x = 1\n"})
		b := m.bytes(t)
		if b[6]&8 != 0 && tt.at != name && tt.at != method && tt.at != 0 {
			t.Fatal("the test's wheels have data descriptors")
		}
		copy(b[tt.at:], tt.value)
		_, err := New(bytes.NewReader(b), int64(len(b)), m.filename)
		var refused *Error
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.says) && tt.at != 0 {
			t.Errorf("%q at %d: %v, want %q", tt.value, tt.at, err, tt.says)
		}
	}
}

func TestBomb(t *testing.T) {
	_, err := demo(part{name: "demo/zeros.bin", text: "x", size: bombSize + 1}).open(t)
	var refused *Error
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "zip bomb") {
		t.Errorf("a hundred megabytes of zeros: %v", err)
	}
}
