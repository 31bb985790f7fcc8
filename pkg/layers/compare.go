package layers

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Difference is the first place at which two layers' tars differ.
type Difference struct {
	// Path is that of the entry, clean and relative to the image's root; ""
	// is the root, or the end of the tars.
	Path string
	// Field says what differs:
	//
	//	missing   the second tar has no such entry
	//	extra     only the second tar has this entry
	//	order     both have it, but not in the same place
	//	kind      file, directory, … ; and then what a header says:
	//	mode, owner, size, link, device, time, xattrs
	//	content   of a file
	//	encoding  all that a tar says is the same, but not how: a name as it is
	//	          written, the header's format, padding, the end
	Field string
	// A and B are the values in the first and in the second tar as text.
	A, B string
	// Offset is that of the first differing byte in the file, for content.
	Offset int64
}

// String says it in one line.
func (d Difference) String() string {
	at := d.Path
	if at == "" {
		at = "the root or the end"
	}
	switch d.Field {
	case "missing":
		return fmt.Sprintf("%s: is missing from the second", at)
	case "extra":
		return fmt.Sprintf("%s: is in the second only", at)
	case "order":
		return fmt.Sprintf("%s: the second has %s in its place, and this elsewhere", at, d.B)
	case "content":
		return fmt.Sprintf("%s: content differs from byte %d on: %s in the first, %s in the second", at, d.Offset, d.A, d.B)
	}
	return fmt.Sprintf("%s: %s is %s in the first, %s in the second", at, d.Field, d.A, d.B)
}

// Compare reads the uncompressed tars of two layers side by side to their first
// difference; nil says that they are the same to the byte. It holds no more than
// a header and a piece of a file of each. Where an entry of the one is not at its
// place in the other the rest of both is read, to tell what is missing from what
// is elsewhere.
//
// The error names the tar that cannot be read, is cut off, or holds what no layer
// may. Nothing is said of sparse files, which are an error, too.
func Compare(ctx context.Context, a, b io.Reader) (*Difference, error) {
	sides := [2]*side{newSide("first", a), newSide("second", b)}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, s := range sides {
			if err := s.next(); err != nil {
				return nil, err
			}
		}
		x, y := sides[0], sides[1]
		switch {
		case x.hdr == nil && y.hdr == nil:
			return sameEnd(ctx, x, y)
		case x.hdr == nil || y.hdr == nil || x.path != y.path:
			return misplaced(ctx, x, y)
		}
		d := sameHeader(x.hdr, y.hdr)
		if d == nil {
			var err error
			if d, err = sameFile(ctx, x, y); err != nil {
				return nil, err
			}
		}
		if d == nil {
			d = sameEncoding(x, y)
		}
		if d != nil {
			d.Path = x.path
			return d, nil
		}
	}
}

// side is one of two tars that are compared.
type side struct {
	name string
	raw  *rawReader
	tar  *tar.Reader
	hdr  *tar.Header // of the entry it is at; nil at the end
	path string      // the entry's, clean
	buf  []byte
}

func newSide(name string, r io.Reader) *side {
	raw := &rawReader{r: bufio.NewReaderSize(r, 64<<10), hash: sha256.New()}
	return &side{name: name, raw: raw, tar: tar.NewReader(raw), buf: make([]byte, 64<<10)}
}

func (s *side) failed(err error) error {
	return fmt.Errorf("compare layers: read the %s tar: %w", s.name, err)
}

// next goes to the next entry.
func (s *side) next() error {
	s.raw.begin()
	hdr, err := s.tar.Next()
	s.raw.on = false
	s.hdr, s.path = hdr, ""
	if errors.Is(err, io.EOF) {
		s.hdr = nil
		if s.raw.zeros < 512 { // POSIX, pax: the archive ends with two blocks of zeros
			return s.failed(io.ErrUnexpectedEOF)
		}
		return nil
	}
	if err != nil {
		return s.failed(err)
	}
	if sparse(hdr) {
		return s.failed(&PathError{Path: hdr.Name, Reason: "is a sparse file"})
	}
	if s.path, err = cleanName(hdr.Name); err != nil {
		return s.failed(err)
	}
	return nil
}

// sparse files have holes without end for a few bytes of tar, and no place in a
// layer (OCI image specification, "File Types").
func sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// fill returns the next piece of r, empty at its end: as much of r as there is room for. Unlike [io.ReadFull] it tells
// the end of r from an unexpected one.
func (s *side) fill(r io.Reader) ([]byte, error) {
	n := 0
	for n < len(s.buf) {
		k, err := r.Read(s.buf[n:])
		n += k
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, s.failed(err)
		}
	}
	return s.buf[:n], nil
}

// rawReader sums up the bytes that a tar reader takes for a header: the padding
// before it, and all blocks of it.
type rawReader struct {
	r     io.Reader
	hash  hash.Hash
	on    bool
	zeros int // how many zeros the bytes end with
}

func (r *rawReader) begin() {
	r.hash.Reset()
	r.on, r.zeros = true, 0
}

func (r *rawReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.on {
		r.hash.Write(p[:n])
		last := len(bytes.TrimRight(p[:n], "\x00"))
		if last > 0 {
			r.zeros = 0
		}
		r.zeros += n - last
	}
	return n, err
}

// misplaced tells apart why the tars are at different entries.
func misplaced(ctx context.Context, x, y *side) (*Difference, error) {
	d := &Difference{Path: x.path, Field: "order", A: x.at(), B: y.at()}
	if x.hdr == nil {
		d.Path, d.Field = y.path, "extra"
		return d, nil
	}
	if y.hdr == nil {
		d.Field = "missing"
		return d, nil
	}
	first, second := x.path, y.path
	inSecond, err := y.has(ctx, first)
	if err != nil {
		return nil, err
	}
	inFirst, err := x.has(ctx, second)
	if err != nil {
		return nil, err
	}
	switch {
	case !inSecond:
		d.Field = "missing"
	case !inFirst:
		d.Path, d.Field = second, "extra"
	}
	return d, nil
}

// at says where s is.
func (s *side) at() string {
	if s.hdr == nil {
		return "the end"
	}
	return fmt.Sprintf("%q", s.path)
}

// has reads on to the end and says whether an entry of the path came.
func (s *side) has(ctx context.Context, path string) (bool, error) {
	found := false
	for s.hdr != nil {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		found = found || s.path == path
		if _, err := io.Copy(io.Discard, s.tar); err != nil {
			return false, s.failed(err)
		}
		if err := s.next(); err != nil {
			return false, err
		}
	}
	return found, nil
}

// sameHeader compares what the headers say.
func sameHeader(a, b *tar.Header) *Difference {
	for _, f := range []struct {
		name string
		text func(*tar.Header) string
	}{
		{"kind", kindText},
		{"mode", func(h *tar.Header) string { return fmt.Sprintf("%04o", h.Mode) }},
		{"owner", ownerText},
		{"size", func(h *tar.Header) string { return fmt.Sprint(h.Size) }},
		{"link", func(h *tar.Header) string { return fmt.Sprintf("%q", h.Linkname) }},
		{"device", func(h *tar.Header) string { return fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor) }},
		{"time", timeText},
	} {
		if x, y := f.text(a), f.text(b); x != y {
			return &Difference{Field: f.name, A: x, B: y}
		}
	}
	return sameXattrs(a, b)
}

func kindText(h *tar.Header) string {
	switch h.Typeflag {
	case tar.TypeReg:
		return File.String()
	case tar.TypeDir:
		return Dir.String()
	case tar.TypeSymlink:
		return Symlink.String()
	case tar.TypeLink:
		return Hardlink.String()
	case tar.TypeChar:
		return CharDevice.String()
	case tar.TypeBlock:
		return BlockDevice.String()
	case tar.TypeFifo:
		return FIFO.String()
	case tar.TypeXGlobalHeader:
		return "global header"
	}
	return fmt.Sprintf("type %q", h.Typeflag)
}

func ownerText(h *tar.Header) string {
	if h.Uname == "" && h.Gname == "" {
		return fmt.Sprintf("%d:%d", h.Uid, h.Gid)
	}
	return fmt.Sprintf("%d:%d (%q:%q)", h.Uid, h.Gid, h.Uname, h.Gname)
}

func timeText(h *tar.Header) string {
	s := h.ModTime.UTC().Format(time.RFC3339Nano)
	if !h.AccessTime.IsZero() {
		s += ", accessed " + h.AccessTime.UTC().Format(time.RFC3339Nano)
	}
	if !h.ChangeTime.IsZero() {
		s += ", changed " + h.ChangeTime.UTC().Format(time.RFC3339Nano)
	}
	return s
}

func sameXattrs(a, b *tar.Header) *Difference {
	x, y := xattrsOf(a), xattrsOf(b)
	names := slices.Sorted(maps.Keys(x))
	for k := range y {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, name := range names {
		v, inX := x[name]
		w, inY := y[name]
		if v != w || inX != inY {
			return &Difference{Field: "xattrs", A: xattrText(name, v, inX), B: xattrText(name, w, inY)}
		}
	}
	return nil
}

// xattrsOf returns the extended attributes as the writers of tars have them:
// Go's, GNU's and BuildKit's under the one name, libarchive's under the other.
func xattrsOf(h *tar.Header) map[string]string {
	attrs := map[string]string{}
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, xattrRecord) || strings.HasPrefix(k, "LIBARCHIVE.xattr.") {
			attrs[k] = v
		}
	}
	return attrs
}

func xattrText(name, value string, there bool) string {
	name = strings.TrimPrefix(name, xattrRecord)
	if !there {
		return "without " + name
	}
	return fmt.Sprintf("%s=%s", name, excerpt([]byte(value)))
}

// excerptSize is how much of two contents a person is shown.
const excerptSize = 32

func excerpt(b []byte) string {
	if len(b) > excerptSize {
		return fmt.Sprintf("%q…", b[:excerptSize])
	}
	return fmt.Sprintf("%q", b)
}

// sameFile compares contents of one size.
func sameFile(ctx context.Context, x, y *side) (*Difference, error) {
	for offset := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, err := x.fill(x.tar)
		if err != nil {
			return nil, err
		}
		q, err := y.fill(y.tar)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(p, q) {
			i := 0
			for i < min(len(p), len(q)) && p[i] == q[i] {
				i++
			}
			return &Difference{Field: "content", A: excerpt(p[i:]), B: excerpt(q[i:]), Offset: offset + int64(i)}, nil
		}
		if len(p) == 0 {
			return nil, nil
		}
		offset += int64(len(p))
	}
}

// sameEncoding compares the bytes that came before the contents.
func sameEncoding(x, y *side) *Difference {
	if bytes.Equal(x.raw.hash.Sum(nil), y.raw.hash.Sum(nil)) {
		return nil
	}
	d := &Difference{Field: "encoding", A: "one header", B: "another of the same meaning"}
	if a, b := x.hdr.Format.String(), y.hdr.Format.String(); a != b {
		d.A, d.B = a, b
	}
	if a, b := recordsText(x.hdr), recordsText(y.hdr); a != b {
		d.A, d.B = a, b
	}
	if a, b := x.hdr.Name, y.hdr.Name; a != b {
		d.A, d.B = fmt.Sprintf("%q", a), fmt.Sprintf("%q", b)
	}
	return d
}

// recordsText names the PAX records of a header.
func recordsText(h *tar.Header) string {
	if len(h.PAXRecords) == 0 {
		return "without PAX records"
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		fmt.Fprintf(&b, " %s=%s", k, excerpt([]byte(h.PAXRecords[k])))
	}
	return "PAX" + b.String()
}

// sameEnd compares what comes behind the last entry: the blocks of zeros, and
// whatever a writer filled its last record with.
func sameEnd(ctx context.Context, x, y *side) (*Difference, error) {
	same := bytes.Equal(x.raw.hash.Sum(nil), y.raw.hash.Sum(nil))
	var rest [2]int64
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var pieces [2][]byte
		for i, s := range []*side{x, y} {
			p, err := s.fill(s.raw)
			if err != nil {
				return nil, err
			}
			pieces[i], rest[i] = p, rest[i]+int64(len(p))
		}
		same = same && bytes.Equal(pieces[0], pieces[1])
		if len(pieces[0])+len(pieces[1]) == 0 {
			break
		}
	}
	switch {
	case same:
		return nil, nil
	case rest[0] != rest[1]:
		return &Difference{Field: "encoding", A: fmt.Sprintf("%d bytes behind the last entry", rest[0]), B: fmt.Sprintf("%d bytes", rest[1])}, nil
	}
	return &Difference{Field: "encoding", A: "one padding", B: "another"}, nil
}
