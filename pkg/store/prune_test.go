package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func put(t *testing.T, s *Store, content string) v1.Hash {
	t.Helper()
	h, _, err := s.Put(t.Context(), strings.NewReader(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// age lets the last use of a file lie in the past.
func age(t *testing.T, path string, by time.Duration) {
	t.Helper()
	at := time.Now().Add(-by)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func named(t *testing.T, s *Store, name string, layers int64) v1.Image {
	t.Helper()
	img, err := random.Image(1000, layers)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.PutImage(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetName(name, d); err != nil {
		t.Fatal(err)
	}
	return img
}

func ageAll(t *testing.T, s *Store, by time.Duration) {
	t.Helper()
	for _, dir := range []string{s.blobs(), s.records()} {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			age(t, f, by)
		}
	}
}

func prune(t *testing.T, s *Store, o PruneOptions) PruneResult {
	t.Helper()
	r, err := s.Prune(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// valid checks that an image is whole.
func valid(t *testing.T, s *Store, name string) {
	t.Helper()
	d, err := s.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	img, err := s.Image(d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

func TestPruneKeepsNamedImages(t *testing.T) {
	s := open(t)
	named(t, s, "app:1", 2)
	loose := put(t, s, "loose")
	if err := s.SetRecord("k", "v"); err != nil {
		t.Fatal(err)
	}
	u, err := s.Usage(t.Context())
	if err != nil || u.Images.Files != 4 || u.Blobs != (Count{1, 5}) || u.Records.Files != 1 || u.Names != 1 || u.Stale.Files != 0 || u.Unfinished.Files != 0 ||
		u.Total.Bytes != u.Images.Bytes+u.Blobs.Bytes+u.Records.Bytes || time.Since(u.OldestUse) > time.Minute {
		t.Errorf("usage: %+v, %v", u, err)
	}
	would := prune(t, s, PruneOptions{DryRun: true})
	if !s.Has(loose) {
		t.Error("a dry run has removed something")
	}
	did := prune(t, s, PruneOptions{})
	if diff := cmp.Diff(would, did); diff != "" || did.Blobs != (Count{1, 5}) || did.Records.Files != 1 || did.Left != u.Images.Bytes || did.Freed != did.Blobs.Bytes+did.Records.Bytes {
		t.Errorf("%+v (-dry run +run):\n%s", did, diff)
	}
	if ok, err := s.Record("k", new(string)); s.Has(loose) || ok || err != nil {
		t.Error("something is still there")
	}
	valid(t, s, "app:1")
	all := prune(t, s, PruneOptions{All: true})
	if names, err := s.Names(); err != nil || len(names) > 0 || all.Left != 0 || cmp.Diff([]string{"app:1"}, all.Names) != "" {
		t.Errorf("all: %+v, %v, %v", all, names, err)
	}
}

func TestPruneRemovesTheLeastRecentlyUsed(t *testing.T) {
	s := open(t)
	var blobs []v1.Hash
	for i := range 5 {
		blobs = append(blobs, put(t, s, fmt.Sprintf("%010d", i)))
		age(t, s.File(blobs[i]), time.Duration(10-i)*24*time.Hour)
	}
	there := func() string {
		var b strings.Builder
		for i, h := range blobs {
			if _, err := os.Stat(s.File(h)); err == nil {
				fmt.Fprint(&b, i)
			}
		}
		return b.String()
	}
	prune(t, s, PruneOptions{MaxBytes: 50})
	if got := there(); got != "01234" {
		t.Errorf("within the bound: %s is left", got)
	}
	if !s.Has(blobs[0]) { // used now
		t.Fatal("a blob is gone")
	}
	if r := prune(t, s, PruneOptions{MaxBytes: 39}); r.Left != 30 || there() != "034" {
		t.Errorf("%+v: %s is left", r, there())
	}
	r, _, err := s.Blob(blobs[3]) // used now
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if r := prune(t, s, PruneOptions{OlderThan: 24 * time.Hour, MaxBytes: 1000}); r.Left != 20 || there() != "03" {
		t.Errorf("%+v: %s is left", r, there())
	}
}

// An image's layers were used when it was.
func TestPruneTakesImagesAsAWhole(t *testing.T) {
	s := open(t)
	old, used := named(t, s, "old:1", 2), named(t, s, "used:1", 2)
	shared, err := mutate.AppendLayers(used, must(old.Layers())(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.PutImage(t.Context(), shared)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetName("used:2", d); err != nil {
		t.Fatal(err)
	}
	ageAll(t, s, 48*time.Hour)
	valid(t, s, "used:2")
	ageAll(t, s, 48*time.Hour)
	if _, err := s.Image(d.Digest); err != nil { // its manifest alone is read
		t.Fatal(err)
	}
	r := prune(t, s, PruneOptions{All: true, OlderThan: 24 * time.Hour})
	if diff := cmp.Diff([]string{"old:1", "used:1"}, r.Names); diff != "" {
		t.Errorf("names that went (-want +got):\n%s", diff)
	}
	valid(t, s, "used:2")
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestPruneKeepsWhatOthersUse(t *testing.T) {
	s := open(t)
	used, unused := put(t, s, "used"), put(t, s, "unused")
	if err := s.SetRecord("k", "v"); err != nil {
		t.Fatal(err)
	}
	named(t, s, "app:1", 1)
	ageAll(t, s, 48*time.Hour)
	other := must(Open(s.Dir()))(t)
	if ok, err := other.Record("k", new(string)); !ok || err != nil || !other.Has(used) {
		t.Fatal(ok, err)
	}
	d, err := other.Named("app:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Image(d.Digest); err != nil {
		t.Fatal(err)
	}
	r := prune(t, s, PruneOptions{All: true})
	if r.Blobs != (Count{1, 6}) || r.Records.Files != 0 || r.InUse != r.Left || s.Has(unused) {
		t.Errorf("in use: %+v", r)
	}
	valid(t, s, "app:1")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if r := prune(t, s, PruneOptions{All: true}); r.Left != 0 || r.InUse != 0 {
		t.Errorf("after its end: %+v", r)
	}
	// A store that was closed can still be used.
	if h := put(t, other, "later"); !s.Has(h) {
		t.Error("a closed store keeps nothing")
	}
}

// A prune waits for nobody but other prunes, and can be interrupted.
func TestPruneIsInterrupted(t *testing.T) {
	s := open(t)
	put(t, s, "x")
	unlock, err := s.alone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := s.Prune(ctx, PruneOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if r, err := s.Prune(ctx, PruneOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWhatIsLeftBehindGoes(t *testing.T) {
	s := open(t)
	fresh, old := filepath.Join(s.tmp(), "blob-1"), filepath.Join(s.tmp(), "blob-2")
	dead := filepath.Join(s.tmp(), leasePrefix+"1", "install-1")
	if err := os.MkdirAll(dead, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{fresh, old, filepath.Join(dead, "file"), filepath.Join(filepath.Dir(dead), lockName)} {
		if err := os.WriteFile(f, []byte("1234"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	age(t, old, 2*abandonedAfter)
	if u, err := s.Usage(t.Context()); err != nil || u.Stale != (Count{3, 12}) || u.Unfinished != (Count{1, 4}) {
		t.Errorf("%+v, %v", u, err)
	}
	if r := prune(t, s, PruneOptions{DryRun: true}); r.Stale != (Count{3, 12}) {
		t.Errorf("%+v", r)
	}
	other := must(Open(s.Dir()))(t)
	defer other.Close()
	entries, err := os.ReadDir(s.tmp())
	if err != nil || len(entries) != 3 { // two leases and a young file
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestPruneBesideBuilds(t *testing.T) {
	dir := t.TempDir()
	openShort := func() *Store {
		s := must(Open(dir))(t)
		s.touchEvery = 20 * time.Millisecond
		return s
	}
	// Until enough was pruned, which a busy machine takes its time for.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var builders, pruners sync.WaitGroup
	built, removed := make([]int, 4), 0
	for n := range built {
		builders.Go(func() {
			for ctx.Err() == nil {
				s := openShort()
				for range 3 {
					if _, err := do(t.Context(), s, rand.IntN(jobs)); err != nil {
						t.Errorf("build %d after %d: %v", n, built[n], err)
						return
					}
					built[n]++
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	pruners.Go(func() {
		s := openShort()
		defer s.Close()
		for i := 0; ctx.Err() == nil; i++ {
			r, err := s.Prune(t.Context(), PruneOptions{All: i%3 == 0, MaxBytes: int64(i%2) * 2000})
			if err != nil {
				t.Error(err)
			}
			if removed += r.Blobs.Files; removed > 60 {
				cancel()
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	builders.Wait()
	pruners.Wait()
	t.Logf("%v builds, %d blobs pruned", built, removed)
	if removed == 0 {
		t.Error("nothing was pruned")
	}
}
