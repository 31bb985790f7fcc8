package base

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// maxUnpacked bounds the tar of one layer, which is written to the disk for as
// long as its files are read; the largest images in use (GPU libraries) unpack
// to about 20 GB.
const maxUnpacked = 64 << 30

// entry is a layers.Entry on record. Its content is opened by its path, but for
// the files that each build asks for.
type entry struct {
	Path    string            `json:"p"`
	Kind    layers.Kind       `json:"k"`
	Mode    uint32            `json:"m"`
	UID     int               `json:"u,omitempty"`
	GID     int               `json:"g,omitempty"`
	Size    int64             `json:"s,omitempty"`
	Link    string            `json:"l,omitempty"`
	Major   int64             `json:"major,omitempty"`
	Minor   int64             `json:"minor,omitempty"`
	Xattrs  map[string][]byte `json:"x,omitempty"`
	Opaque  bool              `json:"o,omitempty"`
	Implied bool              `json:"i,omitempty"`
	Body    []byte            `json:"b,omitempty"`
}

// maxStash bounds what is kept aside of one layer, in bytes.
const maxStash = 256 << 20

// looked says whether a file may be one that tells a [Facts], so that a new base
// need not be unpacked for them. If it is wrong, that costs time.
func looked(file string) bool {
	name := path.Base(file)
	switch {
	case name == "os-release", name == "pyvenv.cfg", name == "patchlevel.h", name == "EXTERNALLY-MANAGED",
		strings.HasPrefix(name, "libc.so"), strings.HasPrefix(name, "ld-musl-"), strings.HasPrefix(name, "libc.musl-"):
		return true
	case path.Base(path.Dir(file)) == "bin" && (strings.HasPrefix(name, "python3") || strings.HasPrefix(name, "pip")),
		strings.HasPrefix(name, "libpython3") && strings.HasSuffix(name, ".so.1.0"):
		return true
	}
	return file == "var/lib/dpkg/status" || strings.HasPrefix(file, "var/lib/dpkg/status.d/") || strings.HasSuffix(file, "lib/apk/db/installed")
}

// maxBody bounds the files that are kept on record with their entries, in bytes.
const maxBody = 128 << 10

// asked says whether a file is one of those that every build asks for, so that
// a layer need not be unpacked for them: what tells the installed distributions,
// and the users.
func asked(file string) bool {
	switch path.Base(file) {
	case "METADATA", "RECORD", "INSTALLER":
		return path.Ext(path.Dir(file)) == ".dist-info"
	case "PKG-INFO":
		return path.Ext(path.Dir(file)) == ".egg-info"
	}
	return file == "etc/passwd" || file == "etc/group"
}

// LayerTree returns the files of a layer. Where its entries are on record it is
// not read before the content of a file is, but for those few that every build
// asks for; else it is read now, and its entries are put on record. The context
// ends later reads, too.
func LayerTree(ctx context.Context, st Store, l v1.Layer) (layers.Tree, error) {
	f, err := listing(ctx, st, l)
	if err != nil {
		return layers.Tree{}, err
	}
	t, known, err := f.recorded()
	if err != nil || known {
		return t, err
	}
	r, err := l.Uncompressed()
	if err != nil {
		return layers.Tree{}, err
	}
	defer r.Close()
	if t, err = f.list(ctx, r); err != nil {
		return t, fmt.Errorf("layer %s: %w", f.digest, err)
	}
	return t, f.record(t)
}

// files are those of one layer.
type files struct {
	st     Store
	digest v1.Hash
	// unpacked returns the layer's tree, with contents that are opened at once.
	unpacked func() (layers.Tree, error)
}

func listing(ctx context.Context, st Store, l v1.Layer) (*files, error) {
	digest, err := l.Digest()
	if err != nil {
		return nil, err
	}
	return &files{st: st, digest: digest, unpacked: unpacker(ctx, st, l)}, nil
}

// key is where the entries are on record.
func (l *files) key() string { return "base/entries/1 " + l.digest.String() }

// list reads the tree of the layer from its tar, to the end. Contents that are
// looked at in every new base are kept aside; any other is had by unpacking the
// layer.
func (l *files) list(ctx context.Context, r io.Reader) (layers.Tree, error) {
	aside := &stash{st: l.st}
	bounded := &io.LimitedReader{R: &reader{ctx, r}, N: maxUnpacked + 1}
	buffered := bufio.NewReaderSize(bounded, 64<<10)
	t, err := layers.ListTar(buffered, func(e layers.Entry, r io.Reader) (layers.Content, error) {
		switch {
		case e.Size <= maxBody && asked(e.Path):
			b, err := io.ReadAll(r)
			return layers.Bytes(b), err
		case looked(e.Path) && aside.size+e.Size <= maxStash:
			return aside.keep(r)
		}
		return &content{l, e.Path}, nil
	})
	if err == nil {
		_, err = io.Copy(io.Discard, buffered) // what ends the tar, and the sums behind it
	}
	if bounded.N == 0 {
		err = errUnpacked
	}
	if err != nil {
		return layers.Tree{}, errors.Join(err, aside.close())
	}
	return t, nil
}

// record puts the entries of the layer's tree on record.
func (l *files) record(t layers.Tree) error {
	list := make([]entry, 0, t.Len())
	for _, e := range t.Entries() {
		if !utf8.ValidString(e.Path) || !utf8.ValidString(e.Link) {
			return nil // JSON cannot hold its name
		}
		kept := entry{Path: e.Path, Kind: e.Kind, Mode: e.Mode, UID: e.UID, GID: e.GID, Size: e.Size, Link: e.Link,
			Major: e.Major, Minor: e.Minor, Opaque: e.Opaque, Implied: e.Implied}
		for name, value := range e.Xattrs {
			if kept.Xattrs == nil {
				kept.Xattrs = map[string][]byte{}
			}
			kept.Xattrs[name] = []byte(value)
		}
		if e.Kind == layers.File && e.Size <= maxBody && asked(e.Path) {
			var err error
			if kept.Body, err = t.ReadFile(e.Path, maxBody); err != nil {
				return err
			}
		}
		list = append(list, kept)
	}
	return l.st.SetRecord(l.key(), list)
}

// recorded returns the tree of a layer whose entries are on record. The layer
// itself is read when the first content is.
func (l *files) recorded() (layers.Tree, bool, error) {
	var list []entry
	if ok, err := l.st.Record(l.key(), &list); err != nil || !ok {
		return layers.Tree{}, false, err
	}
	entries := make([]layers.Entry, 0, len(list))
	for _, e := range list {
		made := layers.Entry{Path: e.Path, Kind: e.Kind, Mode: e.Mode, UID: e.UID, GID: e.GID, Size: e.Size, Link: e.Link,
			Major: e.Major, Minor: e.Minor, Opaque: e.Opaque, Implied: e.Implied}
		for name, value := range e.Xattrs {
			if made.Xattrs == nil {
				made.Xattrs = map[string]string{}
			}
			made.Xattrs[name] = string(value)
		}
		switch {
		case e.Size > 0 && int64(len(e.Body)) == e.Size:
			made.Content = layers.Bytes(e.Body)
		case e.Size > 0:
			made.Content = &content{l, e.Path}
		}
		entries = append(entries, made)
	}
	t, err := layers.NewTree(entries)
	return t, err == nil, nil // a record that was tampered with is none
}

// content is a file of a layer.
type content struct {
	l    *files
	path string
}

func (c *content) Open() (io.ReadCloser, error) {
	t, err := c.l.unpacked()
	if err != nil {
		return nil, err
	}
	e, ok := t.Lookup(c.path)
	if !ok || e.Content == nil {
		return nil, &layers.PathError{Path: c.path, Origin: "layer " + c.l.digest.String(), Reason: "is on record but not in the layer"}
	}
	return e.Content.Open()
}

// unpacker makes a function that unpacks a layer once: its tar goes into a file
// that no longer has a name, so that any file in it is opened at once and
// nothing is left behind, whatever happens.
func unpacker(ctx context.Context, st Store, l v1.Layer) func() (layers.Tree, error) {
	return sync.OnceValues(func() (layers.Tree, error) {
		f, err := spool(ctx, st, l)
		if err != nil {
			return layers.Tree{}, err
		}
		info, err := f.Stat()
		if err != nil {
			return layers.Tree{}, err
		}
		return layers.ReadTar(func() (io.ReadCloser, error) {
			return spooled{io.NewSectionReader(f, 0, info.Size())}, nil
		})
	})
}

// errUnpacked is that a layer is larger than may be.
var errUnpacked = fmt.Errorf("it unpacks to more than %d bytes", int64(maxUnpacked))

// nameless makes a file that no longer has a name.
func nameless(st Store) (*os.File, error) {
	dir, err := st.TempDir("layer-")
	if err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "content"))
	return f, errors.Join(err, os.RemoveAll(dir))
}

// stash is a file without a name that some of a layer's files are kept in.
type stash struct {
	st   Store
	f    *os.File
	size int64
}

// keep adds a file.
func (s *stash) keep(r io.Reader) (layers.Content, error) {
	if s.f == nil {
		f, err := nameless(s.st)
		if err != nil {
			return nil, err
		}
		s.f = f
	}
	n, err := io.Copy(s.f, r)
	at := s.size
	s.size += n
	return &stashed{s.f, at, n}, err
}

func (s *stash) close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}

// stashed is a file in a stash.
type stashed struct {
	f        *os.File
	at, size int64
}

func (s *stashed) Open() (io.ReadCloser, error) {
	return spooled{io.NewSectionReader(s.f, s.at, s.size)}, nil
}

// spool writes the layer's tar to a file without a name.
func spool(ctx context.Context, st Store, l v1.Layer) (_ *os.File, err error) {
	r, err := l.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := nameless(st)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(f, io.LimitReader(&reader{ctx, r}, maxUnpacked+1))
	if err == nil && n > maxUnpacked {
		err = errUnpacked
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// spooled reads a part of the file without a name, which lives as long as it is
// read from.
type spooled struct{ *io.SectionReader }

func (spooled) Close() error { return nil }

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
