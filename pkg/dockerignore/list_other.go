//go:build !linux

package dockerignore

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// root is an open folder.
type root struct{ *os.Root }

func openFolder(name string) (*root, error) {
	r, err := os.OpenRoot(name)
	return &root{r}, err
}

func (r *root) close() error { return r.Close() }

func (r *root) open(path string) (*os.File, error) { return openRegular(r.Root, path) }

// list fills f with the entries of the directory dir ("" = the root) that are
// wanted, in order. An error about an entry is a *WalkError.
func (w *walk) list(f *folder, dir string) error {
	name := dir
	if dir == "" {
		name = "."
	}
	file, err := w.root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	// Of a file opened through a Root, ReadDir's entries hold the result of an
	// fstatat each: the only system call per entry of the walk.
	list, err := file.ReadDir(-1)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	f.entries = make([]entry, 0, len(list))
	for _, d := range list {
		e := found{path: path.Join(dir, d.Name()), isDir: d.IsDir(), known: true}
		if !w.wants(f, &e) {
			continue
		}
		link := ""
		info, err := d.Info()
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			link, err = w.root.Readlink(e.path)
		}
		switch {
		case err == nil:
			w.add(f, &e, info, link)
		case !errors.Is(err, fs.ErrNotExist):
			return w.fail(e.path, err)
		}
	}
	return nil
}
