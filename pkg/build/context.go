package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/boyabuild/boyabuild/pkg/dockerignore"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// contextDir is a build context: a directory less what its ignore file leaves
// out. Closing it ends the use of its files' contents.
type contextDir struct {
	root *os.Root
	tree layers.Tree
	// skipped are entries that no layer can hold: sockets and the like.
	skipped []dockerignore.Skipped
}

// openContext lists the build context at dir.
//
// What the host added is left out: every file belongs to 0:0 and has mode 0644,
// or 0755 if its owner may execute it; directories have 0755. So a checkout
// under another umask, or another user's, gives the same layer.
func openContext(ctx context.Context, dir, dockerfile string) (*contextDir, error) {
	m, err := dockerignore.Load(dir, dockerfile)
	if err != nil {
		return nil, err
	}
	listing, err := dockerignore.Walk(ctx, dir, m)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("read context: %w", err)
	}
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
			e.Content = &contextFile{root: root, path: f.Path}
		}
		entries = append(entries, e)
	}
	tree, err := layers.NewTree(entries)
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("read context %s: %w", dir, err)
	}
	return &contextDir{root: root, tree: tree, skipped: listing.Skipped}, nil
}

func (c *contextDir) Close() error { return c.root.Close() }

// contextFile is a file below the context's root, from which no link leads it
// away.
type contextFile struct {
	root *os.Root
	path string
}

func (f *contextFile) Open() (io.ReadCloser, error) {
	r, err := f.root.Open(f.path)
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
