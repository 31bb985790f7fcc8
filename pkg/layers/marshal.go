package layers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"
)

// Bounds of a marshalled outline. An outline has a few thousand entries and
// some ten kilobytes; a view of many layers has some times that.
const (
	maxMarshalled      = 4 << 20
	maxOutlineEntries  = 100_000
	maxOutlineInflated = 32 << 20 // of what is inflated, and of all paths together
)

// The form of a marshalled outline: a byte that names the version, then, deflated
// with a dictionary, numbers as varints in columns, so that like lies beside like:
//
//	number of entries
//	number of classes; each one's kind, marks, mode, owner and group
//	class of each entry
//	how many levels each entry is above its predecessor's children
//	name of each entry, ended by NUL
//	target of each link, ended by NUL
//	size of each file and hard link
//	numbers of each device
//	contents, where a mark says that there is one
//	extended attributes, where a mark says so: their number, names and values
//
// Any change to it needs a new version, for images carry outlines in their
// manifests, and with them the bytes are part of the image's digest.
const outlineVersion = 1

// outlineWords are the names of which nearly every layer has some; deflate
// refers to them for a byte or two.
const outlineWords = "opt\x00app\x00etc\x00share\x00man\x00man1\x00include\x00usr\x00local\x00bin\x00lib\x00python3.12\x00python3.11\x00python3\x00dist-packages\x00" +
	"usr\x00local\x00lib\x00python3.13\x00site-packages\x00"

// Marks of a class.
const (
	markOpaque = 1 << iota
	markImplied
	markClosed
	markContent
	markXattrs
	allMarks = 1<<iota - 1
)

// class is what many entries have in common.
type class struct {
	kind     Kind
	marks    byte
	mode     uint32
	uid, gid int
}

func classOf(e *Entry) class {
	c := class{kind: e.Kind, mode: e.Mode, uid: e.UID, gid: e.GID}
	for _, m := range []struct {
		mark byte
		set  bool
	}{{markOpaque, e.Opaque}, {markImplied, e.Implied}, {markClosed, e.Closed}, {markXattrs, len(e.Xattrs) > 0}} {
		if m.set {
			c.marks |= m.mark
		}
	}
	if _, ok := e.Content.(memory); ok {
		c.marks |= markContent
	}
	return c
}

// MarshalOutline returns t's form for [ParseOutline]: the same tree has the same
// bytes. Of entries it keeps what [Outline] keeps. A tree with more entries or
// longer names than ParseOutline takes is an error.
func MarshalOutline(t Tree) ([]byte, error) {
	if len(t.entries) > maxOutlineEntries {
		return nil, fmt.Errorf("marshal outline: has %d entries, more than the %d allowed", len(t.entries), maxOutlineEntries)
	}
	var w outlineWriter
	for i := range t.entries {
		e := brief(t.entries[i])
		if err := w.add(&e); err != nil {
			return nil, fmt.Errorf("marshal outline: %w", err)
		}
	}
	payload := w.payload()
	if len(payload) > maxOutlineInflated || w.pathBytes > maxOutlineInflated || w.attrs > maxOutlineEntries {
		return nil, errors.New("marshal outline: is too long")
	}
	var out bytes.Buffer
	out.WriteByte(outlineVersion)
	deflated, err := flate.NewWriterDict(&out, flate.BestCompression, []byte(outlineWords))
	if err != nil {
		return nil, err
	}
	if _, err := deflated.Write(payload); err != nil {
		return nil, err
	}
	if err := deflated.Close(); err != nil {
		return nil, err
	}
	if out.Len() > maxMarshalled {
		return nil, errors.New("marshal outline: is too long")
	}
	return out.Bytes(), nil
}

// outlineWriter gathers the columns.
type outlineWriter struct {
	n, depth, pathBytes int
	attrs               int
	seen                map[class]uint64
	classes             []byte

	class, level, name, link, size, device, content, xattr []byte
}

func (w *outlineWriter) add(e *Entry) error {
	depth := 1 + strings.Count(e.Path, "/")
	if depth > w.depth+1 {
		return &PathError{Path: e.Path, Reason: "lies in a directory that is no entry"}
	}
	if strings.ContainsRune(e.Link, 0) {
		return &PathError{Path: e.Path, Reason: "has a NUL byte in its target"}
	}
	w.level = binary.AppendUvarint(w.level, uint64(w.depth+1-depth))
	w.n, w.depth, w.pathBytes = w.n+1, depth, w.pathBytes+len(e.Path)
	w.addClass(classOf(e))
	w.name = append(append(w.name, path.Base(e.Path)...), 0)
	switch e.Kind {
	case Symlink:
		w.link = append(append(w.link, e.Link...), 0)
	case Hardlink:
		w.link = append(append(w.link, e.Link...), 0)
		w.size = binary.AppendUvarint(w.size, uint64(e.Size))
	case File:
		w.size = binary.AppendUvarint(w.size, uint64(e.Size))
		if b, ok := e.Content.(memory); ok {
			w.content = append(w.content, b...)
		}
	case CharDevice, BlockDevice:
		w.device = binary.AppendVarint(w.device, e.Major)
		w.device = binary.AppendVarint(w.device, e.Minor)
	case Dir:
		if len(e.Xattrs) > 0 {
			w.addXattrs(e.Xattrs)
		}
	}
	return nil
}

func (w *outlineWriter) addClass(c class) {
	k, ok := w.seen[c]
	if !ok {
		if w.seen == nil {
			w.seen = map[class]uint64{}
		}
		k = uint64(len(w.seen))
		w.seen[c] = k
		w.classes = append(w.classes, byte(c.kind), c.marks)
		w.classes = binary.AppendUvarint(w.classes, uint64(c.mode))
		w.classes = binary.AppendVarint(w.classes, int64(c.uid))
		w.classes = binary.AppendVarint(w.classes, int64(c.gid))
	}
	w.class = binary.AppendUvarint(w.class, k)
}

func (w *outlineWriter) addXattrs(attrs map[string]string) {
	w.attrs += len(attrs)
	w.xattr = binary.AppendUvarint(w.xattr, uint64(len(attrs)))
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		for _, s := range []string{k, attrs[k]} {
			w.xattr = binary.AppendUvarint(w.xattr, uint64(len(s)))
			w.xattr = append(w.xattr, s...)
		}
	}
}

func (w *outlineWriter) payload() []byte {
	head := binary.AppendUvarint(nil, uint64(w.n))
	head = binary.AppendUvarint(head, uint64(len(w.seen)))
	return slices.Concat(head, w.classes, w.class, w.level, w.name, w.link, w.size, w.device, w.content, w.xattr)
}

// ParseOutline reads what [MarshalOutline] made. It takes nothing on trust: what
// it returns has passed [NewTree], and what it holds is bounded.
func ParseOutline(b []byte) (Tree, error) {
	t, err := parseOutline(b)
	if err != nil {
		return Tree{}, fmt.Errorf("parse outline: %w", err)
	}
	return t, nil
}

func parseOutline(b []byte) (Tree, error) {
	switch {
	case len(b) == 0:
		return Tree{}, io.ErrUnexpectedEOF
	case len(b) > maxMarshalled:
		return Tree{}, fmt.Errorf("has %d bytes, more than the %d allowed", len(b), maxMarshalled)
	case b[0] != outlineVersion:
		return Tree{}, fmt.Errorf("has the version %d, which is not known here", b[0])
	}
	in := bytes.NewReader(b[1:])
	inflated := flate.NewReaderDict(in, []byte(outlineWords))
	defer inflated.Close()
	payload, err := io.ReadAll(io.LimitReader(inflated, maxOutlineInflated+1))
	switch {
	case err != nil:
		return Tree{}, err
	case len(payload) > maxOutlineInflated:
		return Tree{}, fmt.Errorf("has more than %d bytes inflated", maxOutlineInflated)
	case in.Len() > 0:
		return Tree{}, errors.New("goes on after its end")
	}
	r := &outlineReader{b: payload}
	entries := r.entries()
	if r.err == nil && len(r.b) > 0 {
		r.err = errors.New("goes on after its end")
	}
	if r.err != nil {
		return Tree{}, r.err
	}
	return NewTree(entries)
}

// outlineReader reads the columns. After an error it gives zeros.
type outlineReader struct {
	b     []byte
	err   error
	attrs int
}

func (r *outlineReader) fail(err error) {
	if r.err == nil {
		r.err, r.b = err, nil
	}
}

func (r *outlineReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(io.ErrUnexpectedEOF)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *outlineReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(io.ErrUnexpectedEOF)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes returns the next n bytes, which are part of what is read.
func (r *outlineReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail(io.ErrUnexpectedEOF)
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// text returns the text up to the next NUL.
func (r *outlineReader) text() string {
	i := bytes.IndexByte(r.b, 0)
	if i < 0 {
		r.fail(io.ErrUnexpectedEOF)
		return ""
	}
	s := string(r.b[:i])
	r.b = r.b[i+1:]
	return s
}

// count returns a number of things of which each has at least size bytes.
func (r *outlineReader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail(io.ErrUnexpectedEOF)
		return 0
	}
	return int(n)
}

func (r *outlineReader) entries() []Entry {
	n := r.count(3) // class, level and the name's NUL
	if n > maxOutlineEntries {
		r.fail(fmt.Errorf("has %d entries, more than the %d allowed", n, maxOutlineEntries))
		return nil
	}
	classes := r.classes()
	entries := make([]Entry, n)
	marks := make([]byte, n)
	for i := range entries {
		k := r.uvarint()
		if k >= uint64(len(classes)) {
			r.fail(fmt.Errorf("has an entry of the class %d, which is none", k))
			return nil
		}
		c := classes[k]
		marks[i] = c.marks
		entries[i] = Entry{Kind: c.kind, Mode: c.mode, UID: c.uid, GID: c.gid,
			Opaque: c.marks&markOpaque != 0, Implied: c.marks&markImplied != 0, Closed: c.marks&markClosed != 0}
	}
	r.paths(entries)
	r.details(entries, marks)
	return entries
}

func (r *outlineReader) classes() []class {
	classes := make([]class, r.count(5))
	for i := range classes {
		c := &classes[i]
		if b := r.bytes(2); b != nil {
			c.kind, c.marks = Kind(b[0]), b[1]
		}
		mode, uid, gid := r.uvarint(), r.varint(), r.varint()
		c.mode, c.uid, c.gid = uint32(mode), int(uid), int(gid)
		switch {
		case r.err != nil:
			return nil
		case uint64(c.mode) != mode || int64(c.uid) != uid || int64(c.gid) != gid:
			r.fail(errors.New("has a mode or an owner out of range"))
		case c.marks&^allMarks != 0, c.kind != Dir && c.marks&^markContent != 0, c.kind != File && c.marks&markContent != 0:
			r.fail(fmt.Errorf("has a %s with the marks %#x", c.kind, c.marks))
		}
	}
	return classes
}

// paths reads levels and names. The entries must be in order.
func (r *outlineReader) paths(entries []Entry) {
	levels := make([]uint64, len(entries))
	for i := range levels {
		levels[i] = r.uvarint()
	}
	var way []string // the last entry's path, and those of what it lies in
	total := 0
	for i := range entries {
		name := r.text()
		if r.err != nil {
			return
		}
		if levels[i] > uint64(len(way)) || name == "" || strings.Contains(name, "/") {
			r.fail(fmt.Errorf("has an entry %q out of its place", name))
			return
		}
		way = way[:len(way)-int(levels[i])]
		dir := ""
		if len(way) > 0 {
			dir = way[len(way)-1]
		}
		p := join(dir, name)
		if total += len(p); len(p) > maxPath || total > maxOutlineInflated {
			r.fail(errors.New("has paths that are too long"))
			return
		}
		if i > 0 && comparePaths(entries[i-1].Path, p) >= 0 {
			r.fail(fmt.Errorf("has %q out of order", p))
			return
		}
		entries[i].Path = p
		way = append(way, p)
	}
}

// details reads what only some kinds of entries have, column by column.
func (r *outlineReader) details(entries []Entry, marks []byte) {
	each := func(read func(e *Entry), kinds ...Kind) {
		for i := range entries {
			if r.err == nil && slices.Contains(kinds, entries[i].Kind) {
				read(&entries[i])
			}
		}
	}
	each(func(e *Entry) { e.Link = r.text() }, Symlink, Hardlink)
	each(func(e *Entry) {
		e.Size = int64(r.uvarint()) // NewTree refuses negative ones
		if e.Kind == Hardlink || e.Size > 0 {
			e.Content = unlisted(e.Path)
		}
	}, File, Hardlink)
	each(func(e *Entry) { e.Major, e.Minor = r.varint(), r.varint() }, CharDevice, BlockDevice)
	for i := range entries {
		if e := &entries[i]; r.err == nil && marks[i]&markContent != 0 {
			if !isAccount(e) {
				r.fail(fmt.Errorf("has a content of %q", e.Path))
				return
			}
			e.Content = Bytes(slices.Clone(r.bytes(uint64(e.Size))))
		}
	}
	for i := range entries {
		if r.err == nil && marks[i]&markXattrs != 0 {
			entries[i].Xattrs = r.xattrs()
		}
	}
}

func (r *outlineReader) xattrs() map[string]string {
	n := r.count(2)
	if r.attrs += n; n == 0 || r.attrs > maxOutlineEntries {
		r.fail(fmt.Errorf("has a directory with %d extended attributes", n))
		return nil
	}
	attrs := make(map[string]string, n)
	for range n {
		k := string(r.bytes(r.uvarint()))
		attrs[k] = string(r.bytes(r.uvarint()))
	}
	return attrs
}
