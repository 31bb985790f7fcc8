package wheel

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// file is one file of the archive. It is the [layers.Content] of its bytes, and
// where they are deflated their [layers.Deflated].
type file struct {
	w          *Wheel
	name       string // as in the archive, cleaned
	executable bool
	deflated   bool
	offset     int64 // of the compressed bytes
	packed     int64
	size       int64
	crc        uint32
	row        *row // in RECORD; nil for RECORD itself and signatures of it
}

// readDirectory takes over the directory of an archive of the given size after
// checking every entry.
func (w *Wheel) readDirectory(z *zip.Reader, r *lastRead, archive int64) error {
	if len(z.File) > maxEntries {
		return w.refuse("", "has %d entries, more than the %d allowed", len(z.File), maxEntries)
	}
	w.byName = make(map[string]*file, len(z.File))
	headers := make(map[*zip.File]int64, len(z.File))
	seen := make(map[string]bool, len(z.File)) // path: is a directory
	var total uint64
	for _, entry := range z.File {
		name, isDir, err := w.checkEntry(entry)
		if err != nil {
			return err
		}
		if _, dup := seen[name]; dup {
			return w.refuse(entry.Name, "is in the archive twice")
		}
		seen[name] = isDir
		if isDir {
			continue
		}
		if total += entry.UncompressedSize64; total > maxTotal {
			return w.refuse("", "unpacks to more than the %d bytes allowed", int64(maxTotal))
		}
		offset, err := entry.DataOffset()
		if err != nil {
			return &Error{Wheel: w.Name.Filename, Entry: name, Reason: "is not where the archive's directory says", Err: err}
		}
		headers[entry] = r.offset
		if entry.CompressedSize64 > uint64(archive) || offset > archive-int64(entry.CompressedSize64) {
			return w.refuse(name, "reaches beyond the end of the archive")
		}
		f := &file{
			w: w, name: name, deflated: entry.Method == zip.Deflate,
			executable: isExecutable(entry),
			offset:     offset, packed: int64(entry.CompressedSize64),
			size: int64(entry.UncompressedSize64), crc: entry.CRC32,
		}
		w.files = append(w.files, f)
		w.byName[name] = f
	}
	if total > bombSize && total/bombRatio > uint64(archive) {
		return w.refuse("", "unpacks to %d bytes, %d times its own size: it is taken for a zip bomb", total, total/uint64(archive))
	}
	if err := w.checkArchive(seen); err != nil {
		return err
	}
	for _, entry := range z.File {
		if at, ok := headers[entry]; ok {
			if err := w.checkLocal(entry, r.ReaderAt, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// lastRead remembers where it was read last: for an entry whose data offset was
// just asked for, that is the entry's own header.
type lastRead struct {
	io.ReaderAt
	offset int64
}

func (r *lastRead) ReadAt(p []byte, offset int64) (int, error) {
	r.offset = offset
	return r.ReaderAt.ReadAt(p, offset)
}

// checkLocal holds an entry of the directory against the header before its data
// (APPNOTE 4.3.7). Where they differ, programs differ in what they unpack, so that
// one could be shown what another does not install.
func (w *Wheel) checkLocal(e *zip.File, r io.ReaderAt, at int64) error {
	const length, descriptor = 30, 1 << 3
	head := make([]byte, length+len(e.Name))
	if _, err := r.ReadAt(head, at); err != nil {
		return &Error{Wheel: w.Name.Filename, Entry: e.Name, Reason: "has no header", Err: err}
	}
	number := binary.LittleEndian
	flags := number.Uint16(head[6:])
	differs := ""
	switch {
	case string(head[:4]) != "PK\x03\x04":
		differs = "has no header"
	case int(number.Uint16(head[26:])) != len(e.Name) || string(head[length:]) != e.Name:
		differs = "has another name in its header than in the archive's directory"
	case flags&1 != e.Flags&1, number.Uint16(head[8:]) != e.Method:
		differs = "is packed another way by its header than by the archive's directory"
	case flags&descriptor == 0 && (otherSize(number.Uint32(head[18:]), e.CompressedSize64) || otherSize(number.Uint32(head[22:]), e.UncompressedSize64)):
		differs = "has another size in its header than in the archive's directory"
	case flags&descriptor == 0 && number.Uint32(head[14:]) != e.CRC32:
		differs = "has another CRC in its header than in the archive's directory"
	}
	if differs != "" {
		return w.refuse(e.Name, "%s", differs)
	}
	return nil
}

// otherSize compares a header's size, which is all ones where it is in an extra
// field (zip64).
func otherSize(local uint32, size uint64) bool {
	return local != 0xffffffff && uint64(local) != size
}

// checkEntry refuses what no wheel may hold, and returns the entry's path
// without a directory's final slash.
func (w *Wheel) checkEntry(e *zip.File) (name string, isDir bool, err error) {
	name, isDir = strings.CutSuffix(e.Name, "/")
	if reason := badPath(name); reason != "" {
		return "", false, w.refuse(e.Name, "%s", reason)
	}
	name = path.Clean(name)
	switch kind := fs.FileMode(e.ExternalAttrs >> 16 & 0o170000); kind {
	case 0, 0o100000: // not said, or a regular file
	case 0o040000:
		if !isDir {
			return "", false, w.refuse(e.Name, "is marked as a directory, but named as a file")
		}
	case 0o120000:
		return "", false, w.refuse(e.Name, "is a symbolic link, which wheels cannot hold")
	default:
		return "", false, w.refuse(e.Name, "is neither a file nor a directory")
	}
	const encrypted, strongly, masked = 1 << 0, 1 << 6, 1 << 13 // APPNOTE 4.4.4
	switch {
	case e.Flags&(encrypted|strongly|masked) != 0:
		return "", false, w.refuse(e.Name, "is encrypted")
	case e.Method != zip.Store && e.Method != zip.Deflate:
		return "", false, w.refuse(e.Name, "is compressed by method %d; wheels use 0 (stored) and 8 (deflated)", e.Method)
	case e.UncompressedSize64 > maxFile:
		return "", false, w.refuse(e.Name, "unpacks to %d bytes, more than the %d allowed", e.UncompressedSize64, int64(maxFile))
	case isDir && e.UncompressedSize64 != 0:
		return "", false, w.refuse(e.Name, "is a directory with content")
	case e.Method == zip.Store && e.CompressedSize64 != e.UncompressedSize64:
		return "", false, w.refuse(e.Name, "is stored with two different sizes")
	}
	return name, isDir, nil
}

// badPath says why a path must not be in a wheel, "" if it may.
func badPath(p string) string {
	switch {
	case p == "":
		return "has no name"
	case len(p) > 4096:
		return "is longer than a path can be"
	case strings.ContainsRune(p, 0):
		return "has a NUL byte in its path"
	case !utf8.ValidString(p):
		return "has a path that is not UTF-8" // PEP 427, "File contents"
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "has a control character in its path"
	case strings.Contains(p, `\`):
		return "has a backslash in its path"
	case strings.HasPrefix(p, "/"):
		return "is an absolute path"
	case len(p) >= 2 && p[1] == ':' && (p[0]|0x20) >= 'a' && (p[0]|0x20) <= 'z':
		return "begins with a drive letter"
	case slices.Contains(strings.Split(p, "/"), ".."):
		return "leaves the archive"
	case path.Clean(p) == ".":
		return "has no name"
	}
	return ""
}

// isExecutable follows pip: a regular file by its Unix mode, with any x bit.
func isExecutable(e *zip.File) bool {
	mode := e.ExternalAttrs >> 16
	return mode&0o170000 == 0o100000 && mode&0o111 != 0
}

// checkArchive refuses entries that lie in a file or on one another: the first
// cannot be unpacked, the second is how small archives unpack to vast ones.
func (w *Wheel) checkArchive(seen map[string]bool) error {
	for name := range seen {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if isDir, ok := seen[dir]; ok && !isDir {
				return w.refuse(name, "lies in %q, which is a file", dir)
			}
		}
	}
	byOffset := slices.Clone(w.files)
	slices.SortFunc(byOffset, func(a, b *file) int { return int(min(max(a.offset-b.offset, -1), 1)) })
	for i := 1; i < len(byOffset); i++ {
		a, b := byOffset[i-1], byOffset[i]
		if a.packed > 0 && b.packed > 0 && a.offset+a.packed > b.offset {
			return w.refuse(b.name, "shares bytes of the archive with %q", a.name)
		}
	}
	return nil
}

// Open returns the file's bytes, checked while they are read: their number,
// CRC and hash. The last bytes come only when all is right.
func (f *file) Open() (io.ReadCloser, error) {
	r, err := f.w.pool.open(f)
	if err != nil {
		return nil, err
	}
	in := f.w.pool.get(io.NewSectionReader(r, f.offset, f.packed), f.deflated)
	return &checked{f: f, in: in, left: f.size, sums: f.newSums()}, nil
}

// DeflatedSize is the length of the deflate stream, if the file is one.
func (f *file) DeflatedSize() (int64, bool) { return f.packed, f.deflated }

// OpenDeflated returns the file's deflate stream, and makes the same checks of
// what it inflates to as Open.
func (f *file) OpenDeflated() (layers.DeflatedReader, error) {
	r, err := f.w.pool.open(f)
	if err != nil {
		return nil, err
	}
	return &deflated{SectionReader: io.NewSectionReader(r, f.offset, f.packed), f: f, sums: f.newSums()}, nil
}

// deflated reads one file's deflate stream.
type deflated struct {
	*io.SectionReader
	f      *file
	closed bool
	sums
}

func (d *deflated) Close() error {
	if d.closed {
		return nil
	}
	d.closed = true
	return d.f.w.pool.close()
}

// Inflated takes the next bytes of the content.
func (d *deflated) Inflated(p []byte) { d.add(p) }

// Finish says what is wrong with the content; its length is for the caller to
// look at.
func (d *deflated) Finish(err error) error {
	reason := "is damaged"
	if err == nil {
		if reason = d.wrong(d.f); reason == "" {
			return nil
		}
	}
	return &Error{Wheel: d.f.w.Name.Filename, Entry: d.f.name, Reason: reason, Err: err}
}

// sums are of a content as far as it has been read.
type sums struct {
	crc    uint32
	digest hash.Hash // nil: RECORD has no hash for it
}

func (f *file) newSums() sums {
	if f.row == nil || f.row.algorithm == nil {
		return sums{}
	}
	return sums{digest: f.row.algorithm()}
}

func (s *sums) add(p []byte) {
	s.crc = crc32.Update(s.crc, crc32.IEEETable, p)
	if s.digest != nil {
		s.digest.Write(p)
	}
}

// wrong says in what they are not what the archive and RECORD say of f, "" if
// all is right.
func (s *sums) wrong(f *file) string {
	if s.crc != f.crc {
		return "does not have the CRC that the archive's directory says"
	}
	if s.digest == nil {
		return ""
	}
	if got := s.digest.Sum(nil); !bytes.Equal(got, f.row.digest) {
		return fmt.Sprintf("does not have the hash that RECORD says: it is %s, not %s",
			hex.EncodeToString(got), hex.EncodeToString(f.row.digest))
	}
	return ""
}

// read returns the whole content where it is not longer than limit.
func (f *file) read(limit int64) ([]byte, error) {
	if f.size > limit {
		return nil, f.w.refuse(f.name, "has %d bytes, more than the %d allowed", f.size, limit)
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	b.Grow(int(min(f.size, 1<<20)))
	_, err = b.ReadFrom(r)
	return b.Bytes(), err
}

// checked reads one file's content and holds it against what the archive and
// RECORD say.
type checked struct {
	f    *file
	in   *inflater
	left int64
	sums
	err error // io.EOF once all was checked
}

func (c *checked) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := 0
	if c.left > 0 {
		var err error
		n, err = c.in.Read(p[:min(int64(len(p)), c.left)])
		c.left -= int64(n)
		c.add(p[:n])
		if err != nil && err != io.EOF {
			return c.fail("is damaged", err)
		}
		if err == io.EOF && c.left > 0 {
			return c.fail("is shorter than the archive's directory says", nil)
		}
		if c.left > 0 {
			return n, nil
		}
	}
	if reason := c.end(); reason != "" {
		return c.fail(reason, nil)
	}
	c.err = io.EOF
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (c *checked) fail(reason string, cause error) (int, error) {
	c.err = &Error{Wheel: c.f.w.Name.Filename, Entry: c.f.name, Reason: reason, Err: cause}
	return 0, c.err
}

// end makes the checks that need the whole content; it returns what is wrong.
func (c *checked) end() string {
	var extra [1]byte
	for {
		n, err := c.in.Read(extra[:])
		if n > 0 {
			return "is longer than the archive's directory says"
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return "is damaged: " + err.Error()
		}
	}
	return c.wrong(c.f)
}

func (c *checked) Close() error {
	if c.in == nil {
		return nil
	}
	c.f.w.pool.put(c.in)
	c.in = nil
	if c.err == nil {
		c.err = fs.ErrClosed
	}
	return c.f.w.pool.close()
}

// inflaters keeps what the next file of one wheel can use, which has hundreds of
// small ones: decompressors, each 40 kB, and, while any file is being read, the
// wheel's own file.
type inflaters struct {
	pool sync.Pool

	mu      sync.Mutex
	readers int // of source
	source  io.ReaderAt
	closer  io.Closer
}

// open opens f's wheel, or takes part in what is open. Each call needs a close.
func (p *inflaters) open(f *file) (io.ReaderAt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readers == 0 {
		var err error
		if p.source, p.closer, err = f.w.source(); err != nil {
			return nil, &Error{Wheel: f.w.Name.Filename, Entry: f.name, Reason: "cannot be read", Err: err}
		}
	}
	p.readers++
	return p.source, nil
}

func (p *inflaters) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readers--; p.readers > 0 {
		return nil
	}
	err := p.closer.Close()
	p.source, p.closer = nil, nil
	return err
}

// inflater reads the bytes of one entry, deflated or stored.
type inflater struct {
	io.Reader
	raw   *bufio.Reader
	flate io.ReadCloser
}

func (p *inflaters) get(r io.Reader, deflated bool) *inflater {
	in, _ := p.pool.Get().(*inflater)
	if in == nil {
		in = &inflater{raw: bufio.NewReaderSize(nil, 64<<10)}
	}
	in.raw.Reset(r)
	switch {
	case !deflated:
		in.Reader = in.raw
		return in
	case in.flate == nil:
		in.flate = flate.NewReader(in.raw)
	default:
		in.flate.(flate.Resetter).Reset(in.raw, nil) // never fails without a dictionary
	}
	in.Reader = in.flate
	return in
}

func (p *inflaters) put(in *inflater) {
	in.raw.Reset(nil)
	p.pool.Put(in)
}
