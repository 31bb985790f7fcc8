package layers

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Names with a meaning in a layer (OCI image specification, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// maxEntries bounds the entries read from one tar, so that a hostile one cannot
// fill the memory; the largest image seen in the field has a tenth of it.
const maxEntries = 2 << 20

const xattrRecord = "SCHILY.xattr."

// ReadTar reads the entries of an uncompressed layer tar. Contents are not
// kept: opening one opens the tar again and reads up to it. Whiteouts become
// entries of that kind, and opaque markers a mark on their directory. Where a
// path comes more than once the last entry counts, as for every unpacker.
func ReadTar(open func() (io.ReadCloser, error)) (Tree, error) {
	r, err := open()
	if err != nil {
		return Tree{}, err
	}
	defer r.Close()
	counted := &countingReader{r: bufio.NewReaderSize(r, 256<<10)}
	return ListTar(counted, func(e Entry, _ io.Reader) (Content, error) {
		return &tarContent{open: open, offset: counted.n, size: e.Size}, nil
	})
}

// ListTar reads the entries of an uncompressed layer tar that comes but once.
// For each File that is not empty it asks keep where the content will be; keep
// may read it from r, and may not later. What lies behind the tar's end is not
// read.
func ListTar(r io.Reader, keep func(e Entry, r io.Reader) (Content, error)) (Tree, error) {
	tr := tar.NewReader(r)
	found := newCollector()
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return found.tree()
		}
		if err != nil {
			return Tree{}, fmt.Errorf("read layer: %w", err)
		}
		e, ok, err := fromHeader(hdr)
		if err != nil {
			return Tree{}, fmt.Errorf("read layer: %w", err)
		}
		if !ok {
			continue
		}
		if e.Kind == File && e.Size > 0 {
			if e.Content, err = keep(e, tr); err != nil {
				return Tree{}, fmt.Errorf("read layer: %q: %w", e.Path, err)
			}
		}
		if err := found.add(e); err != nil {
			return Tree{}, fmt.Errorf("read layer: %w", err)
		}
	}
}

// collector gathers entries of which a later one replaces an earlier.
type collector struct {
	entries []Entry
	at      map[string]int
	opaque  []string
}

func newCollector() *collector { return &collector{at: map[string]int{}} }

func (c *collector) add(e Entry) error {
	if e.Opaque {
		c.opaque = append(c.opaque, e.Path)
		return nil
	}
	if e.Kind == Hardlink {
		if i, ok := c.at[e.Link]; ok {
			e.Size, e.Content = c.entries[i].Size, c.entries[i].Content
			e.Mode, e.UID, e.GID = c.entries[i].Mode, c.entries[i].UID, c.entries[i].GID
		}
	}
	if i, ok := c.at[e.Path]; ok {
		c.entries[i] = e
		return nil
	}
	if len(c.entries) >= maxEntries {
		return fmt.Errorf("has more than %d entries", maxEntries)
	}
	c.at[e.Path] = len(c.entries)
	c.entries = append(c.entries, e)
	return nil
}

func (c *collector) tree() (Tree, error) {
	for _, dir := range c.opaque {
		if i, ok := c.at[dir]; ok && c.entries[i].Kind == Dir {
			c.entries[i].Opaque = true
			continue
		}
		c.entries = append(c.entries, Entry{Path: dir, Kind: Dir, Mode: 0o755, Opaque: true})
	}
	return NewTree(c.entries)
}

// fromHeader makes an entry of a tar header; false for what is not one (the
// root itself, global PAX headers). An opaque marker comes back as an entry of
// its directory with Opaque set.
func fromHeader(h *tar.Header) (Entry, bool, error) {
	name, err := cleanName(h.Name)
	if err != nil {
		return Entry{}, false, err
	}
	if name == "" || h.Typeflag == tar.TypeXGlobalHeader {
		return Entry{}, false, nil
	}
	dir, base := parent(name), path.Base(name)
	if base == whiteoutOpaque {
		if dir == "" {
			return Entry{}, false, &PathError{Path: h.Name, Reason: "hides the whole image"}
		}
		return Entry{Path: dir, Kind: Dir, Opaque: true}, true, nil
	}
	if gone, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		if gone == "" || gone == "." || gone == ".." {
			return Entry{}, false, &PathError{Path: h.Name, Reason: "is a whiteout of nothing"}
		}
		if strings.HasPrefix(gone, whiteoutPrefix) {
			return Entry{}, false, nil // AUFS bookkeeping (.wh..wh.plnk and the like)
		}
		return Entry{Path: join(dir, gone), Kind: Whiteout}, true, nil
	}
	e := Entry{Path: name, Mode: uint32(h.Mode) & 0o7777, UID: h.Uid, GID: h.Gid}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Kind, e.Size = File, h.Size
	case tar.TypeDir:
		e.Kind = Dir
	case tar.TypeSymlink:
		e.Kind, e.Link = Symlink, h.Linkname
	case tar.TypeLink:
		e.Kind = Hardlink
		if e.Link, err = cleanName(h.Linkname); err != nil {
			return Entry{}, false, err
		}
	case tar.TypeChar:
		e.Kind, e.Major, e.Minor = CharDevice, h.Devmajor, h.Devminor
	case tar.TypeBlock:
		e.Kind, e.Major, e.Minor = BlockDevice, h.Devmajor, h.Devminor
	case tar.TypeFifo:
		e.Kind = FIFO
	default:
		return Entry{}, false, &PathError{Path: h.Name, Reason: fmt.Sprintf("has the unknown type %q", h.Typeflag)}
	}
	for k, v := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(k, xattrRecord); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[attr] = v
		}
	}
	return e, true, check(&e)
}

// cleanName makes a tar's name relative and clean, "" for the root; a name that
// leads outside is an error.
func cleanName(name string) (string, error) {
	for _, part := range strings.Split(name, "/") {
		if part == ".." {
			return "", &PathError{Path: name, Reason: "leads outside"}
		}
	}
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if len(clean) > maxPath || strings.ContainsRune(clean, 0) {
		return "", &PathError{Path: name[:min(len(name), 64)], Reason: "is too long or has a NUL byte"}
	}
	return clean, nil
}

// countingReader counts the bytes that a tar reader has taken, and so knows
// where an entry's content begins.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// tarContent is a file inside a tar that can be opened again.
type tarContent struct {
	open         func() (io.ReadCloser, error)
	offset, size int64
}

func (t *tarContent) Open() (io.ReadCloser, error) {
	r, err := t.open()
	if err != nil {
		return nil, err
	}
	if s, ok := r.(io.Seeker); ok {
		_, err = s.Seek(t.offset, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, r, t.offset)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return &limitedFile{Reader: io.LimitReader(r, t.size), Closer: r}, nil
}

type limitedFile struct {
	io.Reader
	io.Closer
}
