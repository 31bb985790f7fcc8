package statcache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// folder is a folder with files, and a cache beside it. Its clock runs ahead of
// the real one by ahead, so that files need not be old.
type folder struct {
	t     testing.TB
	dir   string
	cache string
	ahead time.Duration
	reads []string // paths opened by the last run
}

func newFolder(t testing.TB) *folder {
	dir := t.TempDir()
	f := &folder{t: t, dir: dir, cache: filepath.Join(t.TempDir(), "of", "context"), ahead: time.Hour}
	f.write("probe", "")
	file, err := os.Open(filepath.Join(dir, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if info := f.stat("probe"); !keepsCtime(file) {
		t.Skip("no ctime to trust in the folder for temporary files")
	} else if _, ok := stampOf(info); !ok {
		t.Skip("no ctime on this system")
	}
	if err := os.Remove(file.Name()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

func (f *folder) write(name, content string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(f.path(name), []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) stat(name string) fs.FileInfo {
	f.t.Helper()
	info, err := os.Lstat(f.path(name))
	if err != nil {
		f.t.Fatal(err)
	}
	return info
}

func (f *folder) clock() time.Time { return time.Now().Add(f.ahead) }

// run opens the cache, sums the files, verifies each against its content, and
// saves.
func (f *folder) run(names ...string) {
	f.t.Helper()
	c := open(f.cache, f.clock)
	f.sum(c, names...)
	if err := c.Save(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) sum(c *Cache, names ...string) {
	f.t.Helper()
	f.reads = nil
	for _, name := range names {
		sum, err := c.Hash(f.t.Context(), name, f.stat(name), func() (*os.File, error) {
			f.reads = append(f.reads, name)
			return os.Open(f.path(name))
		})
		if err != nil {
			f.t.Fatal(err)
		}
		content, err := os.ReadFile(f.path(name))
		if err != nil {
			f.t.Fatal(err)
		}
		if sum != sha256.Sum256(content) {
			f.t.Errorf("%s: a wrong digest", name)
		}
	}
}

// read fails the test unless the last run read just these files.
func (f *folder) read(names ...string) {
	f.t.Helper()
	if got, want := strings.Join(f.reads, " "), strings.Join(names, " "); got != want {
		f.t.Errorf("read %q, want %q", got, want)
	}
}

// TestChange holds what makes a file to be read again.
func TestChange(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		change func(t *testing.T, f *folder)
		again  bool
	}{
		{"nothing", func(*testing.T, *folder) {}, false},
		{"read", func(t *testing.T, f *folder) {
			_, err := os.ReadFile(f.path("a"))
			must(t, err)
		}, false},
		{"a file beside it", func(_ *testing.T, f *folder) { f.write("b", "new") }, false},
		{"size", func(_ *testing.T, f *folder) { f.write("a", "two and more") }, true},
		{"content of the same size", func(_ *testing.T, f *folder) { f.write("a", "two") }, true},
		{"content of the same size, mtime restored", func(t *testing.T, f *folder) {
			before := f.stat("a")
			f.write("a", "two")
			must(t, os.Chtimes(f.path("a"), before.ModTime(), before.ModTime()))
			if after := f.stat("a"); !after.ModTime().Equal(before.ModTime()) || after.Size() != before.Size() {
				t.Fatal("it has another mtime or size")
			}
		}, true},
		{"touched", func(t *testing.T, f *folder) {
			must(t, os.Chtimes(f.path("a"), time.Unix(1, 0), time.Unix(1, 0)))
		}, true},
		{"mode", func(t *testing.T, f *folder) { must(t, os.Chmod(f.path("a"), 0o755)) }, true},
		{"replaced, mtime restored", func(t *testing.T, f *folder) {
			before := f.stat("a")
			f.write("new", "two")
			must(t, os.Chtimes(f.path("new"), before.ModTime(), before.ModTime()))
			must(t, os.Rename(f.path("new"), f.path("a")))
		}, true},
		{"replaced by a hard link to a file as old", func(t *testing.T, f *folder) {
			must(t, os.Remove(f.path("a")))
			must(t, os.Link(f.path("other"), f.path("a")))
		}, true},
		{"removed and written again", func(t *testing.T, f *folder) {
			must(t, os.Remove(f.path("a")))
			f.write("a", "two")
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFolder(t)
			f.write("a", "one")
			f.write("other", "two")
			f.run("a")
			f.read("a")
			tt.change(t, f)
			f.run("a")
			if tt.again {
				f.read("a")
			} else {
				f.read()
			}
			f.run("a")
			f.read()
		})
	}
}

// TestRacilyClean holds that a file is not trusted which may have changed after
// it was read without its stat data showing it.
func TestRacilyClean(t *testing.T) {
	f := newFolder(t)
	f.ahead = 0
	f.write("a", "one")
	f.run("a")
	f.read("a")
	// Whatever the clock's tick is, it is as if this fell into the same one:
	// the file's stat data with the digest of "one" must not be on record.
	f.run("a")
	f.read("a")
	if _, err := os.Stat(f.cache); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a cache of nothing was written: %v", err)
	}

	for _, tt := range []struct {
		age  time.Duration // of the file when it is read
		kept bool
	}{
		{margin - 100*time.Millisecond, false}, {margin + time.Second, true},
		{-time.Hour, false}, // its ctime is in the future
	} {
		f := newFolder(t)
		f.write("a", "one")
		f.ahead = tt.age
		f.run("a")
		f.run("a")
		if got := len(f.reads) == 0; got != tt.kept {
			t.Errorf("a file %v old: kept %v", tt.age, got)
		}
	}
}

// TestManyTicks changes a file of one size again and again, as fast as it goes
// or just about when it begins to be trusted, and sees each content.
func TestManyTicks(t *testing.T) {
	f := newFolder(t)
	const tick = 20 * time.Millisecond // above that of any kernel
	f.ahead = margin - tick
	for i := range 100 {
		f.write("a", fmt.Sprintf("%03d", i))
		if i%5 == 0 {
			time.Sleep(tick - 5*time.Millisecond + time.Duration(i/5)*time.Millisecond/2)
		}
		f.run("a") // compares the digest with the content
	}
}

func TestFutureMtime(t *testing.T) {
	f := newFolder(t)
	f.write("a", "one")
	future := time.Now().Add(24 * time.Hour)
	if err := os.Chtimes(f.path("a"), future, future); err != nil {
		t.Fatal(err)
	}
	f.run("a")
	f.run("a")
	f.read("a")
}

func TestClockWentBack(t *testing.T) {
	f := newFolder(t)
	f.write("a", "one")
	f.run("a")
	f.run("a")
	f.read()

	f.ahead = 30 * time.Minute // before the cache was saved, after the file was written
	f.run("a")
	f.read("a")
	f.run("a")
	f.read()

	f.ahead = -time.Hour // before the file was written
	f.run("a")
	f.read("a")
	f.run("a")
	f.read("a")

	// In the middle of a run.
	f.ahead = 2 * time.Hour
	f.run("a")
	c := open(f.cache, f.clock)
	f.ahead = -time.Hour
	if _, ok := c.Lookup("a", f.stat("a")); ok {
		t.Error("stat data of the future is trusted")
	}
}

func TestSave(t *testing.T) {
	f := newFolder(t)
	f.write("a", "one")
	f.write("b", "two")
	f.run("a", "b")
	written := func() fs.FileInfo {
		t.Helper()
		info, err := os.Stat(f.cache)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := written()
	f.run("b", "a")
	if !os.SameFile(first, written()) {
		t.Error("written though nothing changed")
	}
	f.run("b") // a is forgotten
	if os.SameFile(first, written()) {
		t.Error("not written though less was looked up")
	}
	f.run("a", "b")
	f.read("a")

	// Lookup counts as well, and the run's own digests can be looked up.
	c := open(f.cache, f.clock)
	if _, ok := c.Lookup("a", f.stat("a")); !ok {
		t.Fatal("a is unknown")
	}
	f.write("c", "three")
	f.sum(c, "c")
	if _, ok := c.Lookup("c", f.stat("c")); !ok {
		t.Error("c is unknown to the run that read it")
	}
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	f.run("a", "b", "c")
	f.read("b")

	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(f.cache), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := Open("").Save(); err != nil {
		t.Errorf("a cache without a file: %v", err)
	}
}

func TestSaveError(t *testing.T) {
	f := newFolder(t)
	f.write("a", "one")
	f.cache = f.path("a/cache") // below a file
	c := open(f.cache, f.clock)
	f.sum(c, "a")
	if err := c.Save(); err == nil || !strings.HasPrefix(err.Error(), "save digests of files "+f.cache+": ") {
		t.Errorf("got %v", err)
	}
}

// TestDamaged holds that a damaged cache is an empty one, wherever the damage is.
func TestDamaged(t *testing.T) {
	f := newFolder(t)
	f.write("a", "one")
	f.write("ab/c", "two")
	f.run("a", "ab/c")
	whole, err := os.ReadFile(f.cache)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(f.cache, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if c := open(f.cache, f.clock); len(c.old) > 0 {
			t.Errorf("%s: %d files", what, len(c.old))
		}
	}
	for i := range whole {
		check(fmt.Sprintf("cut at %d", i), whole[:i])
		bad := append([]byte(nil), whole...)
		bad[i] ^= 0x40
		check(fmt.Sprintf("byte %d", i), bad)
	}
	check("more at the end", append(whole[:len(whole):len(whole)], 0))
	f.run("a", "ab/c")
	f.read("a", "ab/c")
	f.run("a", "ab/c")
	f.read()

	if err := os.Remove(f.cache); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.cache, 0o755); err != nil {
		t.Fatal(err)
	}
	if c := Open(f.cache); len(c.old) > 0 {
		t.Error("a folder holds files")
	}
}

// TestChanged holds that a file which is not the one seen by the walk, or not
// any more when it has been read, is an error.
func TestChanged(t *testing.T) {
	later := time.Now().Add(time.Minute)
	tests := []struct {
		name, content string
		before        func(f *folder)
	}{
		{name: "grown before", content: "one", before: func(f *folder) { f.write("a", "longer") }},
		{name: "shrunk before", content: "one", before: func(f *folder) { f.write("a", "") }},
		{name: "touched before", content: "one", before: func(f *folder) { _ = os.Chtimes(f.path("a"), later, later) }},
		{name: "replaced before", content: "one", before: func(f *folder) {
			info := f.stat("a")
			f.write("b", "two")
			_ = os.Chtimes(f.path("b"), info.ModTime(), info.ModTime())
			_ = os.Rename(f.path("b"), f.path("a"))
		}},
		{name: "a folder now", before: func(f *folder) {
			_ = os.Remove(f.path("a"))
			_ = os.Mkdir(f.path("a"), 0o755)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFolder(t)
			f.write("a", tt.content)
			info := f.stat("a")
			c := open(f.cache, f.clock)
			tt.before(f)
			_, err := c.Hash(t.Context(), "a", info, func() (*os.File, error) { return os.Open(f.path("a")) })
			if !errors.Is(err, ErrChanged) || err.Error() != "read a: changed while it was read" {
				t.Errorf("got %v", err)
			}
			if len(c.fresh) > 0 {
				t.Error("it was kept")
			}
		})
	}
	t.Run("while it is read", func(t *testing.T) {
		f := newFolder(t)
		f.write("a", strings.Repeat("x", 3*maxBuffer))
		for _, change := range []func(w *os.File){
			func(w *os.File) { _ = w.Truncate(maxBuffer + 1) },
			func(w *os.File) { _, _ = w.WriteAt([]byte("y"), 0) },
		} {
			ctx := &onCheck{Context: t.Context(), n: 3, do: func() {
				w, err := os.OpenFile(f.path("a"), os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				time.Sleep(20 * time.Millisecond) // a tick
				change(w)
			}}
			c := open(f.cache, f.clock)
			_, err := c.Hash(ctx, "a", f.stat("a"), func() (*os.File, error) { return os.Open(f.path("a")) })
			if !errors.Is(err, ErrChanged) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// onCheck is a context that does something when it is asked the n-th time.
type onCheck struct {
	context.Context
	n  int
	do func()
}

func (c *onCheck) Err() error {
	if c.n--; c.n == 0 {
		c.do()
	}
	return c.Context.Err()
}

func TestHashErrors(t *testing.T) {
	f := newFolder(t)
	f.write("a", "one")
	f.write("d/x", "")
	c := Open("")
	gone := func() (*os.File, error) { return os.Open(f.path("gone")) }
	if _, err := c.Hash(t.Context(), "a", f.stat("a"), gone); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "read a: no such file") {
		t.Errorf("vanished: %v", err)
	}
	if _, err := c.Hash(t.Context(), "d", f.stat("d"), func() (*os.File, error) { return os.Open(f.path("d")) }); err == nil {
		t.Error("a folder has a digest")
	}
	if _, ok := c.Lookup("d", f.stat("d")); ok {
		t.Error("a folder has a digest")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := c.Hash(ctx, "a", f.stat("a"), gone); err != enough {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := c.HashAll(ctx, []File{{"a", f.stat("a")}}, nil); err != enough {
		t.Errorf("cancelled: %v", err)
	}
}

func TestHashAll(t *testing.T) {
	f := newFolder(t)
	var files []File
	var want [][32]byte
	for i := range 500 {
		content := strings.Repeat(fmt.Sprint(i), i*i%997)
		if i%100 == 7 {
			content = strings.Repeat(content, 6000) // longer than a buffer
		}
		name := fmt.Sprintf("d%d/%d", i%7, i)
		f.write(name, content)
		files = append(files, File{name, f.stat(name)})
		want = append(want, sha256.Sum256([]byte(content)))
	}
	run := func(wantReads int) {
		t.Helper()
		var mu sync.Mutex
		reads := 0
		c := open(f.cache, f.clock)
		got, err := c.HashAll(t.Context(), files, func(path string) (*os.File, error) {
			mu.Lock()
			defer mu.Unlock()
			reads++
			return os.Open(f.path(path))
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: a wrong digest", files[i].Path)
			}
		}
		if reads != wantReads {
			t.Errorf("read %d, want %d", reads, wantReads)
		}
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
	}
	run(len(files))
	run(0)
	f.write(files[3].Path, "new")
	files[3].Info, want[3] = f.stat(files[3].Path), sha256.Sum256([]byte("new"))
	run(1)
	run(0)

	f.write(files[4].Path, "changed after it was listed")
	_, err := open(f.cache, f.clock).HashAll(t.Context(), append(files, File{"gone", files[4].Info}), func(path string) (*os.File, error) {
		return os.Open(f.path(path))
	})
	if err == nil {
		t.Error("a file that is gone has a digest")
	}
	if out, err := Open("").HashAll(t.Context(), nil, nil); len(out) != 0 || err != nil {
		t.Errorf("no files: %v, %v", out, err)
	}
}

// TestConcurrent uses a cache from many goroutines, and one file from many
// caches; whatever wins is whole.
func TestConcurrent(t *testing.T) {
	f := newFolder(t)
	var files []File
	for i := range 64 {
		name := fmt.Sprint(i)
		f.write(name, name)
		files = append(files, File{name, f.stat(name)})
	}
	opener := func(path string) (*os.File, error) { return os.Open(f.path(path)) }
	var wg sync.WaitGroup
	for range 4 {
		c := open(f.cache, f.clock)
		for j := range 4 {
			wg.Go(func() {
				part := files[16*j : 16*(j+1)]
				sums, err := c.HashAll(t.Context(), part, opener)
				if err != nil {
					t.Error(err)
					return
				}
				for i, s := range sums {
					if s != sha256.Sum256([]byte(part[i].Path)) {
						t.Errorf("%s: a wrong digest", part[i].Path)
					}
				}
				for range 10 {
					if err := c.Save(); err != nil {
						t.Error(err)
					}
					if _, _, err := load(f.cache); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
}
