package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPutAndBlob(t *testing.T) {
	s := open(t)
	h, n, err := s.Put(t.Context(), strings.NewReader("hello"), nil)
	if err != nil || n != 5 {
		t.Fatal(n, err)
	}
	r, size, err := s.Blob(h)
	if err != nil || size != 5 {
		t.Fatal(size, err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	other := h
	other.Hex = strings.Repeat("0", 64)
	var mismatch *MismatchError
	if _, _, err := s.Put(t.Context(), strings.NewReader("other"), &other); !errors.As(err, &mismatch) {
		t.Errorf("wrong bytes: %v", err)
	}
	if s.Has(other) {
		t.Error("wrong bytes were kept")
	}
	if _, _, err := s.Blob(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent blob: %v", err)
	}
	if s.File(v1.Hash{Algorithm: "sha256", Hex: "../../etc/passwd"}) != "" {
		t.Error("a digest that is a path was taken")
	}
}

func TestNothingIsLeftOfAnInterruptedPut(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := io.MultiReader(strings.NewReader("some"), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }), strings.NewReader("more"))
	if _, _, err := s.Put(ctx, r, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(s.Dir(), "tmp", "*", "blob-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestRecords(t *testing.T) {
	s := open(t)
	var got layers.Descriptor
	if ok, err := s.Record("key", &got); ok || err != nil {
		t.Fatal(ok, err)
	}
	h := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	want := layers.Descriptor{Digest: h, DiffID: h, Size: 7}
	if err := s.SetRecord("key", want); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.Record("key", &got); !ok || err != nil || got != want {
		t.Errorf("%v %v %v", got, ok, err)
	}
	if err := os.WriteFile(s.recordFile("key"), []byte(`{"key":"key","val`), 0o644); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.Record("key", &got); ok || err != nil {
		t.Errorf("a damaged record: %v %v", ok, err)
	}
}

func TestImages(t *testing.T) {
	s := open(t)
	img, err := random.Image(1000, 3)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.PutImage(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.Image(d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(back); err != nil {
		t.Error(err)
	}
	idx, err := random.Index(500, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	di, err := s.PutIndex(t.Context(), idx)
	if err != nil {
		t.Fatal(err)
	}
	backIdx, err := s.Index(di.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(backIdx); err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for _, name := range []string{"a:1", "b:1", "c:1", "d:1"} {
		wg.Go(func() {
			if err := s.SetName(name, d); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := s.SetName("a:1", di); err != nil {
		t.Fatal(err)
	}
	names, err := s.Names()
	if err != nil || len(names) != 4 {
		t.Errorf("%v, %v", names, err)
	}
	if got, err := s.Named("a:1"); err != nil || got.Digest != di.Digest {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := s.Named("z:1"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	// The folder is a layout that others can read.
	l, err := layout.FromPath(filepath.Join(s.Dir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Image(d.Digest); err != nil {
		t.Error(err)
	}
}

func TestAddLayer(t *testing.T) {
	s := open(t)
	tree, err := layers.NewTree([]layers.Entry{{Path: "x", Kind: layers.File, Mode: 0o644, Size: 3, Content: layers.Bytes([]byte("abc"))}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []layers.Compression{layers.Gzip, layers.Zstd, layers.None} {
		d, err := s.AddLayer(t.Context(), tree, layers.Options{Compression: c})
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Layer(s.Layer(d)); err != nil && c == layers.Gzip {
			t.Errorf("%s: %v", c, err)
		}
		back, err := layers.ReadTar(func() (io.ReadCloser, error) { return s.Layer(d).Uncompressed() })
		if err != nil {
			t.Fatal(err)
		}
		if b, err := back.ReadFile("x", 10); err != nil || !bytes.Equal(b, []byte("abc")) {
			t.Errorf("%s: %q, %v", c, b, err)
		}
	}
}
