package index_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/statcache"
	"github.com/boyabuild/boyabuild/pkg/store"
)

// A file of this machine is neither copied nor, whatever is wrong with it, removed;
// and that it was changed since it was hashed is noticed.
func TestLocalFilesStayWhereTheyAre(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a-1.0-py3-none-any.whl")
	if err := os.WriteFile(file, []byte("no wheel"), 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	sums := statcache.Open(filepath.Join(t.TempDir(), "sums"))
	c, err := index.New(index.Options{Cache: openStore(t), Sums: sums, FindLinks: []index.Index{{URL: filepath.Dir(file)}}})
	if err != nil {
		t.Fatal(err)
	}
	f := python.File{Filename: filepath.Base(file), URL: (&url.URL{Scheme: "file", Path: file}).String()}
	b, err := c.Fetch(context.Background(), f)
	if err != nil || b.Path != file || !b.InPlace() || b.Size != 8 || b.Unchanged() != nil {
		t.Fatalf("%+v, %v", b, err)
	}
	list, err := c.Project(context.Background(), "a")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	var invalid *index.InvalidWheelError
	if _, err := c.Metadata(context.Background(), list[0]); !errors.As(err, &invalid) {
		t.Errorf("metadata of no wheel: %v", err)
	}
	if err := os.WriteFile(file, []byte("changed!"), 0o644); err != nil {
		t.Fatalf("the file is gone: %v", err)
	}
	if err := b.Unchanged(); !errors.Is(err, statcache.ErrChanged) {
		t.Errorf("a changed file: %v", err)
	}
	f.Hashes = map[string]string{"sha256": b.Hash.Hex}
	var wrong *index.HashError
	if _, err := c.Fetch(context.Background(), f); !errors.As(err, &wrong) {
		t.Errorf("another hash than promised: %v", err)
	}
	f.Hashes = map[string]string{"md5": "00000000000000000000000000000000"}
	if _, err := c.Fetch(context.Background(), f); !errors.As(err, &wrong) {
		t.Errorf("another MD5 than promised: %v", err)
	}
}

func openStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
