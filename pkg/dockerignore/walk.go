package dockerignore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// File is one entry of a build context.
type File struct {
	// Path is relative to the context, slash-separated: "app/__init__.py".
	// Its bytes are the file system's; they need not be UTF-8.
	Path string
	// Info is from one lstat: a regular file, a directory or a symbolic link.
	Info fs.FileInfo
	// Link is a symbolic link's target as written; "" for others.
	Link string
}

// Skipped is an entry that no image layer can come from: a socket, a named pipe
// or a device.
type Skipped struct {
	Path string
	Mode fs.FileMode
}

// String says what was left out: "run/app.sock (socket)".
func (s Skipped) String() string {
	kind := "irregular file"
	switch {
	case s.Mode&fs.ModeSocket != 0:
		kind = "socket"
	case s.Mode&fs.ModeNamedPipe != 0:
		kind = "named pipe"
	case s.Mode&fs.ModeDevice != 0:
		kind = "device"
	}
	return s.Path + " (" + kind + ")"
}

// Listing is what a build context holds.
type Listing struct {
	// Files are the entries, each folder directly before what lies in it,
	// and what lies in one folder in the order of its names' bytes.
	Files []File
	// Skipped are the entries left out though no pattern says so, in the
	// same order: something to warn of.
	Skipped []Skipped
}

// WalkError is an entry of the context that cannot be read.
type WalkError struct {
	Context string // the context's path
	Path    string // the entry's path in it; "." for the context itself
	Cause   error
}

// Error reads "read context ./app: secret: permission denied".
func (e *WalkError) Error() string {
	if e.Path == "." {
		return fmt.Sprintf("read context %s: %v", e.Context, e.Cause)
	}
	return fmt.Sprintf("read context %s: %s: %v", e.Context, e.Path, e.Cause)
}

// Unwrap returns the cause.
func (e *WalkError) Unwrap() error { return e.Cause }

// Hint says what can be done about it.
func (e *WalkError) Hint() string {
	if errors.Is(e.Cause, fs.ErrPermission) && e.Path != "." {
		return "make it readable, or name it in .dockerignore if the image can do without"
	}
	return ""
}

// Walk lists the directory root without what m ignores; m may be nil.
//
// As BuildKit does, it keeps an ignored folder if something in it is not
// ignored, and reads no ignored folder in which nothing can be. A folder that is
// ignored and cannot be read counts as empty; for others that is an error, of
// type *WalkError. Entries that vanish while Walk runs are left out. Folders are
// read in parallel; the result does not depend on it.
func Walk(ctx context.Context, root string, m *Matcher) (Listing, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return Listing{}, &WalkError{Context: root, Path: ".", Cause: bare(err)}
	}
	defer dir.Close()
	if m == nil {
		m = &Matcher{}
	}
	g, ctx := errgroup.WithContext(ctx)
	// Reading directories is system calls that rarely wait for a disk.
	g.SetLimit(runtime.GOMAXPROCS(0))
	w := walk{ctx: ctx, group: g, root: dir, name: root, matcher: m}
	top := &folder{keep: true}
	g.Go(func() error { return w.read(top, "", nil) })
	if err := g.Wait(); err != nil {
		return Listing{}, err
	}
	l := Listing{Files: make([]File, 0, top.count())}
	top.flatten(&l)
	return l, nil
}

// walk is one run of Walk.
type walk struct {
	ctx     context.Context
	group   *errgroup.Group
	root    *os.Root
	name    string
	matcher *Matcher
}

// folder is a directory that was read. Only the goroutine that reads it writes
// to it.
type folder struct {
	keep    bool // not ignored itself
	entries []entry
}

// entry is one name in a folder.
type entry struct {
	file    File
	folder  *folder // of a directory
	skipped bool
}

// count returns the number of entries in the folder, at any depth.
func (f *folder) count() int {
	n := len(f.entries)
	for _, e := range f.entries {
		if e.folder != nil {
			n += e.folder.count()
		}
	}
	return n
}

// flatten appends the folder's entries in order, without ignored folders that
// came to hold nothing.
func (f *folder) flatten(l *Listing) {
	for _, e := range f.entries {
		switch {
		case e.skipped:
			l.Skipped = append(l.Skipped, Skipped{Path: e.file.Path, Mode: e.file.Info.Mode()})
		case e.folder == nil:
			l.Files = append(l.Files, e.file)
		default:
			before := len(l.Files)
			l.Files = append(l.Files, e.file)
			e.folder.flatten(l)
			if !e.folder.keep && len(l.Files) == before+1 {
				l.Files = l.Files[:before]
			}
		}
	}
}

// read fills f with what the directory dir ("" = the root) holds; st is the
// matcher's state for dir.
func (w *walk) read(f *folder, dir string, st state) error {
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	list, err := w.readDir(dir)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && dir != "",
		errors.Is(err, fs.ErrPermission) && !f.keep:
		return nil
	default:
		return w.fail(dir, err)
	}
	f.entries = make([]entry, 0, len(list))
	for _, d := range list {
		if err := w.entry(f, path.Join(dir, d.Name()), d, st); err != nil {
			return err
		}
	}
	return nil
}

// readDir lists a directory, sorted by name.
func (w *walk) readDir(dir string) ([]fs.DirEntry, error) {
	name := dir
	if name == "" {
		name = "."
	}
	f, err := w.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Of a file opened through a Root, ReadDir's entries hold the result of an
	// fstatat each: the only system call per entry of the walk.
	list, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// entry adds one directory entry to f, if it belongs there, and goes into it.
func (w *walk) entry(f *folder, name string, d fs.DirEntry, st state) error {
	ignored, own := w.matcher.match(name, st)
	if ignored && (!d.IsDir() || w.matcher.prunes(name)) {
		return nil
	}
	info, err := d.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return w.fail(name, err)
	}
	e := entry{file: File{Path: name, Info: info}}
	switch mode := info.Mode(); {
	case mode.IsRegular():
	case mode&fs.ModeSymlink != 0:
		if e.file.Link, err = w.root.Readlink(name); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return w.fail(name, err)
		}
	case mode.IsDir():
		sub := &folder{keep: !ignored}
		e.folder = sub
		// In another goroutine if one is free, else here.
		if !w.group.TryGo(func() error { return w.read(sub, name, own) }) {
			if err := w.read(sub, name, own); err != nil {
				return err
			}
		}
	default:
		e.skipped = true
	}
	f.entries = append(f.entries, e)
	return nil
}

func (w *walk) fail(name string, err error) error {
	if name == "" {
		name = "."
	}
	return &WalkError{Context: w.name, Path: name, Cause: bare(err)}
}
