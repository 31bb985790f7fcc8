package layers

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// ApplyOptions say how layers are unpacked.
type ApplyOptions struct {
	// Owners gives files the owners that the layer names, which needs root (or
	// a user namespace's root). Without it everything belongs to the caller,
	// and devices are left out.
	Owners bool
	// MaxBytes bounds the bytes of file content written; 0 is [DefaultMaxBytes].
	MaxBytes int64
}

// DefaultMaxBytes is the largest layer unpacked unless said otherwise: ECR's
// own limit of 52,000 MiB a layer.
const DefaultMaxBytes = 52_000 << 20

// Apply unpacks one uncompressed layer tar onto root, where the layers below it
// have been unpacked before: whiteouts remove, opaque directories are emptied,
// everything else is made or replaced. Symbolic links that are met on the way
// are followed inside root only. Modification times are not kept.
//
// An error leaves root half-written; callers unpack beside the final place and
// rename.
func Apply(ctx context.Context, r io.Reader, root *os.Root, o ApplyOptions) error {
	a := &applier{root: root, o: o, made: map[string]bool{}, left: o.MaxBytes}
	if a.left == 0 {
		a.left = DefaultMaxBytes
	}
	tr := tar.NewReader(bufio.NewReaderSize(r, 256<<10))
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return a.finish()
		}
		if err != nil {
			return fmt.Errorf("unpack layer: %w", err)
		}
		if n >= maxEntries {
			return fmt.Errorf("unpack layer: has more than %d entries", maxEntries)
		}
		e, ok, err := fromHeader(hdr)
		if err != nil {
			return fmt.Errorf("unpack layer: %w", err)
		}
		if !ok {
			continue
		}
		if err := a.apply(ctx, &e, tr); err != nil {
			return fmt.Errorf("unpack layer: %s %q: %w", e.Kind, e.Path, err)
		}
	}
}

type applier struct {
	root *os.Root
	o    ApplyOptions
	left int64
	// made holds what this layer brought, which its own whiteouts spare.
	made map[string]bool
	// dirs are given their modes last, for one may forbid writing into it.
	dirs []Entry
	// from and to remember the directory resolved last.
	from, to string
}

func (a *applier) apply(ctx context.Context, e *Entry, content io.Reader) error {
	dir, err := a.directory(parent(e.Path))
	if err != nil {
		return err
	}
	at := join(dir, path.Base(e.Path))
	switch {
	case e.Kind == Whiteout:
		if a.made[at] {
			return nil
		}
		a.forget()
		return a.root.RemoveAll(at)
	case e.Opaque:
		return a.empty(at)
	}
	a.made[at] = true
	if e.Kind == Dir {
		return a.mkdir(e, at)
	}
	if err := a.clear(at); err != nil {
		return err
	}
	switch e.Kind {
	case File:
		return a.file(ctx, e, at, content)
	case Symlink:
		a.forget()
		if err := a.root.Symlink(e.Link, at); err != nil {
			return err
		}
		return a.chown(e, at)
	case Hardlink:
		target, err := a.resolve(e.Link, false)
		if err != nil {
			return err
		}
		return a.root.Link(target, at)
	}
	if !a.o.Owners {
		return nil // the sandbox has its own /dev; nobody but root can make one
	}
	return a.device(e, at)
}

// forget drops the remembered directory, when a link may have changed it.
func (a *applier) forget() { a.from, a.to = "", "" }

// directory returns where dir is in root with symbolic links followed, and
// makes what is missing of it.
func (a *applier) directory(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	if dir == a.from {
		return a.to, nil
	}
	at, err := a.resolve(dir, true)
	if err != nil {
		return "", err
	}
	if err := a.root.MkdirAll(orDot(at), 0o755); err != nil {
		return "", err
	}
	a.from, a.to = dir, at
	return at, nil
}

func orDot(p string) string {
	if p == "" {
		return "."
	}
	return p
}

// resolve follows the symbolic links of p's elements as seen from inside root,
// of the last one too if last says so.
func (a *applier) resolve(p string, last bool) (string, error) {
	links, done, rest := 0, "", p
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch part {
		case "", ".":
			continue
		case "..":
			done = parent(done)
			continue
		}
		next := join(done, part)
		if !last && strings.Trim(rest, "/") == "" {
			return next, nil
		}
		target, err := a.root.Readlink(next)
		if err != nil {
			done = next // not a link, or not there yet
			continue
		}
		if links++; links > maxLinks {
			return "", &PathError{Path: p, Reason: "has too many symbolic links on its way"}
		}
		if path.IsAbs(target) {
			done = ""
		}
		rest = target + "/" + rest
	}
	return done, nil
}

// clear removes what stands where something other than a directory is to be.
func (a *applier) clear(at string) error {
	info, err := a.root.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	a.forget()
	if info.IsDir() {
		return a.root.RemoveAll(at)
	}
	return a.root.Remove(at)
}

func (a *applier) mkdir(e *Entry, at string) error {
	info, err := a.root.Lstat(at)
	if err == nil && !info.IsDir() {
		if err := a.clear(at); err != nil {
			return err
		}
	}
	if err != nil || !info.IsDir() {
		if err := a.root.Mkdir(at, 0o755); err != nil {
			return err
		}
	}
	made := *e
	made.Path = at
	a.dirs = append(a.dirs, made)
	return nil
}

// empty removes from a directory what the layers below brought.
func (a *applier) empty(at string) error {
	dir, err := a.root.Open(orDot(at))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	dir.Close()
	if err != nil {
		return err
	}
	a.forget()
	for _, name := range names {
		p := join(at, name)
		if a.made[p] {
			if info, err := a.root.Lstat(p); err == nil && info.IsDir() {
				if err := a.empty(p); err != nil {
					return err
				}
			}
			continue
		}
		if err := a.root.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) file(ctx context.Context, e *Entry, at string, content io.Reader) error {
	if a.left -= e.Size; a.left < 0 {
		return errors.New("the layer is larger than the limit for unpacking")
	}
	f, err := a.root.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, &interruptible{ctx, content}); err != nil {
		return err
	}
	if a.o.Owners {
		if err := f.Chown(e.UID, e.GID); err != nil {
			return err
		}
	}
	if err := f.Chmod(fileMode(e.Mode)); err != nil {
		return err
	}
	if err := setXattrs(f, e.Xattrs, a.o.Owners); err != nil {
		return err
	}
	return f.Close()
}

// interruptible ends a long read with its context.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

func (a *applier) chown(e *Entry, at string) error {
	if !a.o.Owners {
		return nil
	}
	return a.root.Lchown(at, e.UID, e.GID)
}

// finish gives the directories their owners and modes, innermost first.
func (a *applier) finish() error {
	for i := len(a.dirs) - 1; i >= 0; i-- {
		e := &a.dirs[i]
		info, err := a.root.Lstat(e.Path)
		if err != nil || !info.IsDir() {
			continue // a later entry of the same layer took its place
		}
		if err := a.chown(e, e.Path); err != nil {
			return fmt.Errorf("unpack layer: directory %q: %w", e.Path, err)
		}
		mode := e.Mode
		if !a.o.Owners {
			mode |= 0o700 // the caller must be able to remove it again
		}
		if err := a.root.Chmod(e.Path, fileMode(mode)); err != nil {
			return fmt.Errorf("unpack layer: directory %q: %w", e.Path, err)
		}
	}
	return nil
}

// fileMode turns a tar's mode bits into Go's.
func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	if m&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if m&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if m&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}
