package statcache

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boyabuild/boyabuild/pkg/dockerignore"
)

// many writes 20,000 files of about 2 KB into some 1,500 folders.
func many(b *testing.B) (dir string, files []File) {
	b.Helper()
	dir = b.TempDir()
	for i := range 20_000 {
		folder := fmt.Sprintf("src/package_%02d/module_%02d/part_%d", i/500, i/40%13, i/13%3)
		name := fmt.Sprintf("%s/file_%05d.py", folder, i)
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 1000+i%50), 0o644); err != nil {
			b.Fatal(err)
		}
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		files = append(files, File{name, info})
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return dir, files
}

func BenchmarkCache(b *testing.B) {
	dir, files := many(b)
	file := filepath.Join(b.TempDir(), "cache")
	now := func() time.Time { return time.Now().Add(time.Hour) }
	opener := func(path string) (*os.File, error) { return os.Open(dir + "/" + path) }
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	context, err := dockerignore.NewOpener(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer context.Close()

	full := open(file, now)
	if _, err := full.HashAll(b.Context(), files, opener); err != nil {
		b.Fatal(err)
	}
	if err := full.Save(); err != nil {
		b.Fatal(err)
	}

	for _, bb := range []struct {
		name string
		open func(string) (*os.File, error)
	}{{"miss/os.Open", opener}, {"miss/Root.Open", root.Open}, {"miss/Opener", context.Open}} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := open("", now).HashAll(b.Context(), files, bb.open); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			if c := open(file, now); len(c.old) != len(files) {
				b.Fatal(len(c.old))
			}
		}
		info, err := os.Stat(file)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size()), "bytes/file")
	})
	hit := open(file, now)
	b.Run("hit", func(b *testing.B) {
		for b.Loop() {
			if _, err := hit.HashAll(b.Context(), files, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("save", func(b *testing.B) {
		for b.Loop() {
			if err := full.Save(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("save/unchanged", func(b *testing.B) {
		for b.Loop() {
			if err := hit.Save(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
