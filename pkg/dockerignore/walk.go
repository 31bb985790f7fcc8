package dockerignore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// File is one entry of a build context.
type File struct {
	// Path is relative to the context, slash-separated: "app/__init__.py".
	// Its bytes are the file system's; they need not be UTF-8.
	Path string
	// Info is from one lstat: a regular file, a directory or a symbolic link.
	// Its Sys is a *syscall.Stat_t, where package os has that; os.SameFile
	// doesn't know it.
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
	o, err := NewOpener(root)
	if err != nil {
		return Listing{}, err
	}
	defer o.Close()
	return o.Walk(ctx, m)
}

// Walk is the function Walk for the Opener's folder.
func (o *Opener) Walk(ctx context.Context, m *Matcher) (Listing, error) {
	if m == nil {
		m = &Matcher{}
	}
	g, ctx := errgroup.WithContext(ctx)
	// Reading directories is system calls that rarely wait for a disk.
	g.SetLimit(runtime.GOMAXPROCS(0))
	w := walk{ctx: ctx, group: g, root: o.root, name: o.name, matcher: m}
	top := &folder{keep: true, state: m.top()}
	g.Go(func() error { return w.read(top, "") })
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
	root    *root
	name    string
	matcher *Matcher
}

// folder is a directory. Only the goroutine that reads it writes to it.
type folder struct {
	keep    bool // not ignored itself
	state   state
	entries []entry
}

// entry is what a folder holds.
type entry struct {
	file   File
	folder *folder // of a directory
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
		switch mode := e.file.Info.Mode(); {
		case mode.IsRegular(), mode&fs.ModeSymlink != 0:
			l.Files = append(l.Files, e.file)
		case e.folder == nil:
			l.Skipped = append(l.Skipped, Skipped{Path: e.file.Path, Mode: mode})
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

// read fills f with what the directory dir ("" = the root) holds, and what lies
// below.
func (w *walk) read(f *folder, dir string) error {
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	err := w.list(f, dir)
	var we *WalkError
	switch {
	case err == nil:
	case errors.As(err, &we): // about an entry
		return err
	case errors.Is(err, fs.ErrNotExist) && dir != "",
		errors.Is(err, fs.ErrPermission) && !f.keep:
		return nil
	default:
		return w.fail(dir, err)
	}
	for _, e := range f.entries {
		if e.folder == nil {
			continue
		}
		// In another goroutine if one is free, else here.
		if !w.group.TryGo(func() error { return w.read(e.folder, e.file.Path) }) {
			if err := w.read(e.folder, e.file.Path); err != nil {
				return err
			}
		}
	}
	return nil
}

// found is an entry as its folder lists it.
type found struct {
	path  string
	isDir bool // if known
	known bool

	ignored bool
	hits    []bool
}

// wants reports whether the stat data of an entry in f is needed: of what isn't
// ignored, and of ignored folders that something in them keeps alive.
func (w *walk) wants(f *folder, e *found) bool {
	e.ignored, e.hits = w.matcher.match(e.path, f.state)
	return !e.ignored || (e.isDir || !e.known) && !w.matcher.prunes(e.path)
}

// add adds an entry to f. link is the target of a symbolic link.
func (w *walk) add(f *folder, e *found, info fs.FileInfo, link string) {
	if !info.IsDir() {
		if !e.ignored { // or its folder said that it is one
			f.entries = append(f.entries, entry{file: File{Path: e.path, Info: info, Link: link}})
		}
		return
	}
	f.entries = append(f.entries, entry{
		file:   File{Path: e.path, Info: info},
		folder: &folder{keep: !e.ignored, state: w.matcher.below(e.path, e.hits, f.state)},
	})
}

func (w *walk) fail(name string, err error) error {
	if name == "" {
		name = "."
	}
	return &WalkError{Context: w.name, Path: name, Cause: bare(err)}
}
