// Package statcache knows the digests of files that did not change, by their
// stat data, so that an unchanged build context costs a walk and no reading.
//
// In go a file's path and the fs.FileInfo of one lstat; out comes the SHA-256 of
// its content, from the cache if path, size, mtime, ctime, inode and device are
// what they were when it was read, else from the file. A cache is one file on
// this machine and belongs to one folder.
//
// It never answers from stat data that another content could have as well. What
// carries that is the ctime, which the kernel sets at every change of a file and
// which nothing but the clock can set back:
//
//   - An entry is kept only if mtime and ctime lie [margin] or more before the
//     moment at which reading began. A change at or after that moment then has a
//     later ctime, even where clocks tick in seconds. (Git calls other entries
//     "racily clean".) So a file just written is read again by the next run.
//   - The cache holds when it was last added to. If the clock shows less, it
//     went back, and nothing of the cache is used; nor is stat data of the future.
//   - Only file systems are trusted whose ctime is known to be kept, and set by
//     the clock of this machine: not those of a network, of FUSE, or FAT. Files
//     elsewhere, and all files of systems that don't tell ctime and inode
//     (Windows), are read every time.
//
// One thing no stat data can show, to Git and make neither: a program that goes
// on writing to a page of a shared memory mapping that it had changed before, the
// kernel having had no reason to write it back meanwhile.
package statcache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// margin is how much older than its reading a file must be for its entry to be
// kept. It covers the coarsest time stamps of the trusted file systems (one
// second: ext3, HFS+) and the tick by which a kernel's time stamps lag behind
// the clock that programs see (10 ms), with as much again to spare.
const margin = 2 * time.Second

// ErrChanged is wrapped by the error about a file that is not, or was not while
// it was read, the one that its fs.FileInfo describes.
var ErrChanged = errors.New("changed while it was read")

// File is one to be hashed.
type File struct {
	Path string      // relative to the folder, slash-separated
	Info fs.FileInfo // from one lstat
}

// stamp is the stat data of a file. Times are in nanoseconds since 1970.
type stamp struct {
	size, mtime, ctime int64
	ino, dev           uint64
}

// record is what the cache holds of a file.
type record struct {
	path string
	stamp
	sum [32]byte
}

// Cache holds digests of the files of one folder. It is safe for concurrent
// use.
type Cache struct {
	file string
	now  func() time.Time

	old  []record      // as read, sorted by path; not modified
	used []atomic.Bool // of old: was looked up with success
	next atomic.Int64  // where in old the next path is looked for first

	mu    sync.Mutex
	fresh map[string]record // read by this run, and to be kept
	saved int64             // when the last of old and fresh was added, in nanoseconds
	disks map[uint64]bool   // device -> its ctime is to be trusted
}

// Open reads the cache in file. One that is missing, damaged or of another
// version is empty. With file "" nothing is read or saved.
func Open(file string) *Cache { return open(file, time.Now) }

func open(file string, now func() time.Time) *Cache {
	c := &Cache{file: file, now: now, fresh: map[string]record{}, disks: map[uint64]bool{}}
	if file == "" {
		return c
	}
	saved, old, err := load(file)
	if err != nil || saved > now().UnixNano() {
		return c
	}
	c.saved, c.old, c.used = saved, old, make([]atomic.Bool, len(old))
	return c
}

// Lookup returns the digest of the file at path if the cache knows it for the
// stat data in info, which is to be from one lstat (or fstat) by package os, or
// anything else whose Sys is a *syscall.Stat_t.
func (c *Cache) Lookup(path string, info fs.FileInfo) (sum [32]byte, ok bool) {
	s, ok := stampOf(info)
	if !ok || !info.Mode().IsRegular() {
		return sum, false
	}
	return c.lookup(path, s, c.now())
}

func (c *Cache) lookup(path string, s stamp, now time.Time) (sum [32]byte, ok bool) {
	if s.ctime > now.UnixNano() {
		return sum, false
	}
	if i, ok := c.find(path); ok && c.old[i].stamp == s {
		if !c.used[i].Load() { // written once: the cores share the cache line
			c.used[i].Store(true)
		}
		return c.old[i].sum, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.fresh[path]
	if !ok || r.stamp != s {
		return sum, false
	}
	return r.sum, true
}

// find returns where in old path is. Whoever walks a folder asks for nearly all
// paths in their order, so that each is where the last one was, and one.
func (c *Cache) find(path string) (int, bool) {
	i := int(c.next.Load())
	found := i < len(c.old) && c.old[i].path == path
	if !found {
		i, found = slices.BinarySearchFunc(c.old, path, func(r record, path string) int { return strings.Compare(r.path, path) })
	}
	if found {
		c.next.Store(int64(i) + 1)
	}
	return i, found
}

// Hash returns the digest of the file at path, from the cache or by reading what
// open returns, which it closes. A file whose stat data is not that of info,
// before it is read or after, is an error that wraps ErrChanged.
func (c *Cache) Hash(ctx context.Context, path string, info fs.FileInfo, open func() (*os.File, error)) ([32]byte, error) {
	if sum, ok := c.Lookup(path, info); ok {
		return sum, nil
	}
	return c.read(ctx, File{path, info}, open, make([]byte, min(max(info.Size(), 0), maxBuffer)))
}

// HashAll returns the digests of files, in their order: out[i] is of files[i].
// Those that the cache doesn't know are opened with open and read several at a
// time. Its errors are those of Hash.
func (c *Cache) HashAll(ctx context.Context, files []File, open func(path string) (*os.File, error)) ([][32]byte, error) {
	out := make([][32]byte, len(files))
	var misses []int
	now := c.now()
	for i, f := range files {
		s, ok := stampOf(f.Info)
		if ok && f.Info.Mode().IsRegular() {
			out[i], ok = c.lookup(f.Path, s, now)
		}
		if !ok {
			misses = append(misses, i)
		}
	}
	// The long ones first, lest one core be left with the longest; the others
	// as they come, which is how they lie on a disk.
	const long = 4 << 20
	slices.SortStableFunc(misses, func(a, b int) int {
		return -cmp.Compare(max(files[a].Info.Size(), long), max(files[b].Info.Size(), long))
	})

	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	// Two more than there are cores, since some may wait for a disk.
	for range min(runtime.GOMAXPROCS(0)+2, len(misses)) {
		g.Go(func() error {
			buf := make([]byte, maxBuffer)
			for {
				n := int(next.Add(1)) - 1
				if n >= len(misses) {
					return nil
				}
				f := files[misses[n]]
				sum, err := c.read(ctx, f, func() (*os.File, error) { return open(f.Path) }, buf)
				if err != nil {
					return err
				}
				out[misses[n]] = sum
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// read returns the digest of one file's content, and keeps it if it may.
func (c *Cache) read(ctx context.Context, file File, open func() (*os.File, error), buf []byte) ([32]byte, error) {
	if ctx.Err() != nil {
		return [32]byte{}, context.Cause(ctx)
	}
	sum, err := c.readOpened(ctx, file, open, buf)
	if err != nil {
		return sum, fmt.Errorf("read %s: %w", file.Path, bare(err))
	}
	return sum, nil
}

func (c *Cache) readOpened(ctx context.Context, file File, open func() (*os.File, error), buf []byte) (sum [32]byte, err error) {
	began := c.now()
	f, err := open()
	if err != nil {
		return sum, err
	}
	defer f.Close()
	want, known := stampOf(file.Info)
	if err := verify(f, want, known); err != nil {
		return sum, err
	}
	if sum, err = digest(ctx, f, want.size, buf); err != nil {
		return sum, err
	}
	if err := verify(f, want, known); err != nil {
		return sum, err
	}
	if known {
		c.keep(record{path: file.Path, stamp: want, sum: sum}, f, began)
	}
	return sum, nil
}

// keep adds what was read of f, if no other content can ever have the same stat
// data: see the package's comment.
func (c *Cache) keep(r record, f *os.File, began time.Time) {
	if max(r.mtime, r.ctime) > began.Add(-margin).UnixNano() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	trusted, known := c.disks[r.dev]
	if !known {
		trusted = keepsCtime(f)
		c.disks[r.dev] = trusted
	}
	if trusted {
		c.fresh[r.path] = r
		c.saved = max(c.saved, began.UnixNano())
	}
}

// verify returns ErrChanged unless f is a regular file with the stat data want,
// of which all is known or only size and mtime.
func verify(f *os.File, want stamp, known bool) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	got, _ := stampOf(info)
	if !known {
		got = stamp{size: got.size, mtime: got.mtime}
	}
	if got != want || !info.Mode().IsRegular() {
		return ErrChanged
	}
	return nil
}

// Same says whether a file with the stat data a is not known to have changed when
// it has b. Both are to be of the kind that [Cache.Lookup] takes.
func Same(a, b fs.FileInfo) bool {
	x, _ := stampOf(a)
	y, _ := stampOf(b)
	return x == y
}

// digest sums the first size bytes of r.
func digest(ctx context.Context, r io.Reader, size int64, buf []byte) (sum [32]byte, err error) {
	if size <= int64(len(buf)) {
		if _, err := io.ReadFull(r, buf[:size]); err != nil {
			return sum, short(err)
		}
		return sha256.Sum256(buf[:size]), nil
	}
	h := sha256.New()
	for size > 0 {
		if ctx.Err() != nil {
			return sum, context.Cause(ctx)
		}
		part := buf[:min(size, int64(len(buf)))]
		if _, err := io.ReadFull(r, part); err != nil {
			return sum, short(err)
		}
		h.Write(part)
		size -= int64(len(part))
	}
	h.Sum(sum[:0])
	return sum, nil
}

// short makes a file that ends early one that changed.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrChanged
	}
	return err
}

// maxBuffer is large enough that the cost of a read is that of its bytes, and
// small enough to stay in a core's own cache.
const maxBuffer = 128 << 10

// Save writes the cache, atomically, with what was looked up or hashed since it
// was opened and nothing else. If that is what the file holds, it is not
// written. Of several processes that save one cache, the last wins. The folder
// of the file is made if need be.
func (c *Cache) Save() error {
	if c.file == "" {
		return nil
	}
	saved, records, changed := c.current()
	if !changed {
		return nil
	}
	if err := write(c.file, encode(saved, records)); err != nil {
		return fmt.Errorf("save digests of files %s: %w", c.file, bare(err))
	}
	return nil
}

// current returns when the cache was last added to, what it is to hold, sorted by
// path, and whether that is not what was read.
func (c *Cache) current() (saved int64, records []record, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	records = make([]record, 0, len(c.old)+len(c.fresh))
	for i := range c.old {
		if _, newer := c.fresh[c.old[i].path]; !newer && c.used[i].Load() {
			records = append(records, c.old[i])
		}
	}
	changed = len(c.fresh) > 0 || len(records) < len(c.old)
	for _, r := range c.fresh {
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b record) int { return strings.Compare(a.path, b.path) })
	return c.saved, records, changed
}

// write replaces the file name by data. It doesn't wait for the disk: a file
// that a loss of power spoils has a wrong checksum, and costs a reading.
func write(name string, data []byte) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// bare drops operation and path from an error whose subject is already named.
func bare(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
