package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/dockerignore"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/statcache"
)

// contextDir is a build context: a directory less what its ignore file leaves
// out. Closing it ends the use of its files' contents.
type contextDir struct {
	root *dockerignore.Opener
	tree layers.Tree
	// sums knows the digests of files that did not change since they were read.
	sums *statcache.Cache
	// skipped are entries that no layer can hold: sockets and the like.
	skipped []dockerignore.Skipped
}

// openContext lists the build context at dir.
//
// What the host added is left out: every file belongs to 0:0 and has mode 0644,
// or 0755 if its owner may execute it; directories have 0755. So a checkout
// under another umask, or another user's, gives the same layer.
//
// cache is the file that digests are kept in, "" for none.
func openContext(ctx context.Context, dir, dockerfile, cache string) (*contextDir, error) {
	m, err := dockerignore.Load(dir, dockerfile)
	if err != nil {
		return nil, err
	}
	root, err := dockerignore.NewOpener(dir)
	if err != nil {
		return nil, err
	}
	listing, err := root.Walk(ctx, m)
	if err != nil {
		root.Close()
		return nil, err
	}
	c := &contextDir{root: root, skipped: listing.Skipped, sums: statcache.Open(cache)}
	entries := make([]layers.Entry, 0, len(listing.Files))
	for _, f := range listing.Files {
		e := layers.Entry{Path: f.Path, Origin: "the build context"}
		switch mode := f.Info.Mode(); {
		case mode.IsDir():
			e.Kind, e.Mode = layers.Dir, 0o755
		case mode&fs.ModeSymlink != 0:
			e.Kind, e.Mode, e.Link = layers.Symlink, 0o777, f.Link
		default:
			e.Kind, e.Mode, e.Size = layers.File, 0o644, f.Info.Size()
			if mode&0o100 != 0 {
				e.Mode = 0o755
			}
			e.Content = &contextFile{dir: c, path: f.Path, info: f.Info}
		}
		entries = append(entries, e)
	}
	if c.tree, err = layers.NewTree(entries); err != nil {
		root.Close()
		return nil, fmt.Errorf("read context %s: %w", dir, err)
	}
	return c, nil
}

// Close ends the use of the files, and keeps their digests for the next build.
func (c *contextDir) Close() error { return errors.Join(c.sums.Save(), c.root.Close()) }

// sumCache is the file that the digests of a folder's files are kept in.
func (b *Builder) sumCache(dir string, o Options) string {
	abs, err := filepath.Abs(dir)
	if err != nil || o.NoCache {
		return ""
	}
	return b.Store.RecordFile("stat/1 " + abs)
}

// sumOf finds out the digests of all files of contexts in a tree: those that are
// not known are read, several at a time.
func sumOf(ctx context.Context, t layers.Tree) (v1.Hash, error) {
	unknown := map[*contextDir][]*contextFile{}
	for _, e := range t.Entries() {
		if f, ok := e.Content.(*contextFile); ok {
			if _, known := f.Sum(); !known {
				unknown[f.dir] = append(unknown[f.dir], f)
			}
		}
	}
	for c, files := range unknown {
		list := make([]statcache.File, len(files))
		for i, f := range files {
			list[i] = statcache.File{Path: f.path, Info: f.info}
		}
		sums, err := c.sums.HashAll(ctx, list, c.open)
		if err != nil {
			return v1.Hash{}, err
		}
		for i, f := range files {
			f.sum.Store(&sums[i])
		}
	}
	return layers.Sum(ctx, t)
}

// open opens a file below the root, from which no link leads it away.
func (c *contextDir) open(path string) (*os.File, error) {
	r, err := c.root.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := r.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is no longer a regular file")
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// contextFile is a file of a context.
type contextFile struct {
	dir  *contextDir
	path string
	info fs.FileInfo
	sum  atomic.Pointer[[sha256.Size]byte] // once it is known
}

// Sum returns the SHA-256 of the content, where it is known.
func (f *contextFile) Sum() (sum [sha256.Size]byte, ok bool) {
	s := f.sum.Load()
	if s == nil {
		return sum, false
	}
	return *s, true
}

// Open opens the file. What is read is checked against the digest, if that is
// known: layers are on record by it.
func (f *contextFile) Open() (io.ReadCloser, error) {
	r, err := f.dir.open(f.path)
	if err != nil {
		return nil, err
	}
	want := f.sum.Load()
	if want == nil {
		return r, nil
	}
	return &checkedFile{File: r, sum: sha256.New(), want: want}, nil
}

// checkedFile ends with an error where its content is not what it was.
type checkedFile struct {
	*os.File
	sum  hash.Hash
	want *[sha256.Size]byte
}

func (c *checkedFile) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.sum.Write(p[:n])
	if err == io.EOF && !bytes.Equal(c.sum.Sum(nil), c.want[:]) {
		return n, statcache.ErrChanged
	}
	return n, err
}

// WriteTo hides the file's own, which would bypass Read.
func (c *checkedFile) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}
