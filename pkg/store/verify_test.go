package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestDamagedBlobIsNoticedAndRemoved(t *testing.T) {
	for name, read := range map[string]func(io.Reader) error{
		"to the end":       func(r io.Reader) error { _, err := io.ReadAll(r); return err },
		"by a known size":  func(r io.Reader) error { _, err := io.ReadFull(r, make([]byte, 5)); return err },
		"byte by byte":     func(r io.Reader) error { _, err := io.CopyN(io.Discard, oneByte{r}, 5); return err },
		"with a large buf": func(r io.Reader) error { _, err := io.ReadAtLeast(r, make([]byte, 100), 5); return err },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			h := put(t, s, "hello")
			if err := os.WriteFile(s.File(h), []byte("jello"), 0o644); err != nil {
				t.Fatal(err)
			}
			r, _, err := s.Blob(h)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var corrupt *CorruptError
			if err := read(r); !errors.As(err, &corrupt) {
				t.Errorf("damaged blob: %v", err)
			}
			if s.Has(h) {
				t.Error("the damaged blob is still there")
			}
		})
	}
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

// A blob that was made anew meanwhile is not removed for what was in its place.
func TestOnlyTheDamagedFileIsRemoved(t *testing.T) {
	s := open(t)
	h := put(t, s, "hello")
	if err := os.WriteFile(s.File(h), []byte("jello"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Blob(h)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	put(t, s, "hello")
	var corrupt *CorruptError
	if _, err := io.ReadAll(r); !errors.As(err, &corrupt) {
		t.Error(err)
	}
	if b, err := s.read(h); err != nil || string(b) != "hello" {
		t.Errorf("the new one: %q, %v", b, err)
	}
}

// What a power failure leaves of files that were not on the disk yet.
func torn(content []byte) map[string][]byte {
	half := len(content) / 2
	return map[string][]byte{
		"empty":     {},
		"zeros":     make([]byte, len(content)),
		"short":     content[:half],
		"half zero": append(bytes.Clone(content[:half]), make([]byte, len(content)-half)...),
		"longer":    append(bytes.Clone(content), make([]byte, 4096)...),
	}
}

func TestBlobsAfterPowerFailure(t *testing.T) {
	for name, left := range torn([]byte("some content of a blob")) {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			damage := func() v1.Hash {
				h := put(t, s, "some content of a blob")
				if err := os.WriteFile(s.File(h), left, 0o644); err != nil {
					t.Fatal(err)
				}
				age(t, s.File(h), 2*time.Minute)
				return h
			}
			s.started = time.Now().Add(-time.Minute)
			h := damage()
			if s.Has(h) {
				t.Error("a damaged blob counts as there")
			}
			if _, err := os.Stat(s.File(h)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it was not removed: %v", err)
			}
			damage()
			if _, _, err := s.Blob(h); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("opened: %v", err)
			}
			put(t, s, "some content of a blob")
			if b, err := s.read(h); err != nil || !s.Has(h) || string(b) != "some content of a blob" {
				t.Errorf("made again: %q, %v", b, err)
			}
		})
	}
}

// A whole blob is verified once after a start, not each time, and by the first of
// the processes that use it.
func TestBlobsAreVerifiedOnceAfterAStart(t *testing.T) {
	s := open(t)
	h := put(t, s, "hello")
	age(t, s.File(h), 2*time.Minute)
	s.started = time.Now().Add(-time.Minute)
	if !s.Has(h) {
		t.Fatal("a whole blob counts as absent")
	}
	if info, err := os.Stat(s.File(h)); err != nil || info.ModTime().Before(s.started) {
		t.Errorf("the use was not noted: %v", err)
	}
	other := must(Open(s.Dir()))(t)
	defer other.Close()
	other.started = s.started
	f, err := os.OpenFile(s.File(h), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	info := must(f.Stat())(t)
	if _, err := f.WriteString("j"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.Chtimes(s.File(h), time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if !s.Has(h) || !other.Has(h) {
		t.Error("it was verified again")
	}
}

func TestMachineStarted(t *testing.T) {
	at := machineStarted()
	if runtime.GOOS == "linux" && at.IsZero() || at.After(time.Now()) {
		t.Errorf("the machine was started at %v", at)
	}
}

func TestRecordsAfterPowerFailure(t *testing.T) {
	s := open(t)
	const key, value = "key <of> a record", "wert \u2028 & <value> 12"
	if err := s.SetRecord(key, value); err != nil {
		t.Fatal(err)
	}
	content := must(os.ReadFile(s.recordFile(key)))(t)
	cases := torn(content)
	delete(cases, "longer")
	cases["changed"] = bytes.Replace(content, []byte("12"), []byte("13"), 1)
	cases["of before"] = []byte(`{"key":"key","value":"v"}`)
	for name, left := range cases {
		if err := os.WriteFile(s.recordFile(key), left, 0o644); err != nil {
			t.Fatal(err)
		}
		var got string
		if ok, err := s.Record(key, &got); ok || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err := s.SetRecord(key, value); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.Record(key, &got); !ok || err != nil || got != value {
			t.Errorf("%s: written again: %v, %q, %v", name, ok, got, err)
		}
	}
}

func TestNamesAfterPowerFailure(t *testing.T) {
	s := open(t)
	named(t, s, "app:1", 1)
	file := filepath.Join(s.images(), "index.json")
	for name, left := range torn(must(os.ReadFile(file))(t)) {
		if name == "longer" {
			continue
		}
		for _, f := range []string{file, filepath.Join(s.images(), "oci-layout")} {
			if err := os.WriteFile(f, left, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if names, err := s.Names(); err != nil || len(names) > 0 {
			t.Errorf("%s: %v, %v", name, names, err)
		}
		named(t, s, "app:1", 1)
		valid(t, s, "app:1")
	}
}

// Several processes make the same blob at once, and others read it.
func TestTheSameBlobAtOnce(t *testing.T) {
	dir := t.TempDir()
	content := strings.Repeat("the same content\n", 50_000)
	want, _, err := v1.SHA256(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 3 {
		s := must(Open(dir))(t)
		defer s.Close()
		for range 3 {
			all.Go(func() {
				for range 5 {
					if h, n, err := s.Put(t.Context(), strings.NewReader(content), &want); err != nil || h != want || n != int64(len(content)) {
						t.Error(h, n, err)
					}
					if b, err := s.read(want); err != nil || string(b) != content {
						t.Errorf("%d bytes, %v", len(b), err)
					}
				}
			})
		}
	}
	all.Wait()
	if left, err := filepath.Glob(filepath.Join(dir, "tmp", "*", "blob-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What a process reads stays while another prunes; without a lease, what is
// open can be read to its end.
func TestPruneBesideReaders(t *testing.T) {
	pruner := open(t)
	content := strings.Repeat("some content\n", 10_000)
	for _, leased := range []bool{true, false} {
		if !leased && runtime.GOOS == "windows" {
			continue // files that are open cannot be removed
		}
		s := must(Open(pruner.Dir()))(t)
		h := put(t, s, content)
		if !leased {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		r, _, err := s.Blob(h)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := io.CopyN(&got, r, 1000); err != nil {
			t.Fatal(err)
		}
		prune(t, pruner, PruneOptions{All: true})
		if _, err := io.Copy(&got, r); err != nil || got.String() != content {
			t.Errorf("leased %v: %d bytes, %v", leased, got.Len(), err)
		}
		r.Close()
		if s.Has(h) != leased {
			t.Errorf("leased %v: there %v", leased, !leased)
		}
		s.Close()
	}
}

// A reader that finds a blob damaged waits for those who put others in place, and
// nobody waits for it.
func TestDamageBesideWriters(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				h := put(t, s, "hello")
				if i == 0 { // not the file of others, who may be reading it
					damaged := filepath.Join(s.scratch(), "damaged")
					if err := os.WriteFile(damaged, []byte("jello"), 0o644); err != nil {
						t.Error(err)
					}
					if err := os.Rename(damaged, s.File(h)); err != nil {
						t.Error(err)
					}
				}
				b, err := s.read(h)
				var corrupt *CorruptError
				if !errors.As(err, &corrupt) && !errors.Is(err, fs.ErrNotExist) && (err != nil || string(b) != "hello") {
					t.Errorf("%q, %v", b, err)
				}
			}
		})
	}
	all.Wait()
}

func TestMend(t *testing.T) {
	s := open(t)
	var hashes []v1.Hash
	for _, text := range []string{"whole", "damaged, and read by its path", "damaged, and read in part", "damaged, and not used"} {
		h, _, err := s.Put(t.Context(), strings.NewReader(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, h)
		if text != "whole" {
			if err := os.WriteFile(s.File(h), []byte("something else, that is longer"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, h := range hashes[:2] {
		if !s.Has(h) {
			t.Fatal("is not there")
		}
	}
	r, _, err := s.Blob(hashes[2])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	got := s.Mend(t.Context())
	if len(got) != 2 || !slices.Contains(got, hashes[1]) || !slices.Contains(got, hashes[2]) {
		t.Errorf("mended %v of %v", got, hashes)
	}
	if s.Has(hashes[1]) || s.Has(hashes[2]) || !s.Has(hashes[0]) {
		t.Error("what is damaged stays, or what is whole goes")
	}
	if got := s.Mend(t.Context()); len(got) > 0 {
		t.Errorf("mended again: %v", got)
	}
}
