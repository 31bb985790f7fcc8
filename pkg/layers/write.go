package layers

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// Format names the rules by which a Tree becomes bytes. It is part of every
// record's key, and changes whenever the bytes of a layer would.
const Format = "layer/3"

// Compression says how a layer's tar is compressed.
type Compression uint8

// The compressions that image specifications know.
const (
	Gzip Compression = iota // read by every registry and runtime
	Zstd
	None
)

// String returns the name used on the command line.
func (c Compression) String() string {
	switch c {
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	case None:
		return "none"
	}
	return fmt.Sprintf("compression %d", uint8(c))
}

// ParseCompression is the reverse of String.
func ParseCompression(s string) (Compression, error) {
	for _, c := range []Compression{Gzip, Zstd, None} {
		if c.String() == s {
			return c, nil
		}
	}
	return 0, fmt.Errorf("compression %q is none of gzip, zstd, none", s)
}

// MediaType returns the OCI media type of a layer so compressed.
func (c Compression) MediaType() types.MediaType {
	switch c {
	case Zstd:
		return types.OCILayerZStd
	case None:
		return types.OCIUncompressedLayer
	default:
		return types.OCILayer
	}
}

// Options shape a layer's bytes beside its Tree.
type Options struct {
	// Time is the modification time of every entry; zero is the Unix epoch.
	Time        time.Time
	Compression Compression
	// Blocks, if it is set, is told of every place of a gzip layer at which
	// inflating can begin, in order, while the layer is written: what an
	// index for random access is made of. It shapes no byte.
	Blocks func(Block)
	// Reuse, if it is set, knows parts of gzip layers that were written
	// before. A part whose contents are all [Summed] is then taken from there
	// and none of them is opened. It shapes no byte.
	Reuse Segments
	// Made, if it is set, is told of each part that Reuse could know, made or
	// reused, in order, with its place in the stored form: what a
	// [SegmentIndex] for the next layer is made of. It shapes no byte.
	Made func(key SegmentKey, offset, size int64)
}

// Block is the begin of a deflate block in a gzip layer.
type Block struct {
	// Bit is where it begins in the stored form, in bits from the begin.
	Bit int64
	// Offset is where its first byte is in the tar.
	Offset int64
	// Window holds the bytes of the tar before Offset, up to 32 KiB, that
	// the block may refer to. It is valid during the call.
	Window []byte
}

// Key returns the part of a record's key that says how the bytes were shaped.
func (o Options) Key() string {
	return fmt.Sprintf("%s %s %d", Format, o.Compression, o.unix().Unix())
}

func (o Options) unix() time.Time {
	if o.Time.IsZero() {
		return time.Unix(0, 0)
	}
	return time.Unix(o.Time.Unix(), 0)
}

// Write writes t as a layer to w, compressed, and describes it. Contents are
// streamed; a content whose length is not its entry's Size, as of a file that
// changed while it was read, is an error. What was written before an error is
// of no use. The context ends a long write.
func Write(ctx context.Context, w io.Writer, t Tree, o Options) (Descriptor, error) {
	out := newSink(w)
	var err error
	switch o.Compression {
	case Gzip:
		err = writeGzip(ctx, out, t, o)
	case Zstd, None:
		err = writeStream(ctx, out, t, o)
	default:
		err = fmt.Errorf("write layer: unknown %s", o.Compression)
	}
	if err != nil {
		return Descriptor{}, err
	}
	return Descriptor{
		Digest:    digestOf(out.digest),
		DiffID:    digestOf(out.diffID),
		Size:      out.size,
		MediaType: o.Compression.MediaType(),
	}, nil
}

// sink takes a layer in both its forms, the tar and what is stored, and sums
// them up.
type sink struct {
	w              io.Writer
	digest, diffID hash.Hash
	size           int64
}

func newSink(w io.Writer) *sink {
	return &sink{w: w, digest: sha256.New(), diffID: sha256.New()}
}

// Write takes the next bytes of the stored form.
func (s *sink) Write(p []byte) (int, error) {
	s.digest.Write(p)
	s.size += int64(len(p))
	return s.w.Write(p)
}

// writeStream writes a layer that is compressed as one stream, or not at all.
func writeStream(ctx context.Context, out *sink, t Tree, o Options) error {
	compressed := io.WriteCloser(nopCloser{out})
	if o.Compression == Zstd {
		var err error
		compressed, err = zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2))
		if err != nil {
			return err
		}
	}
	buffered := bufio.NewWriterSize(io.MultiWriter(compressed, out.diffID), 256<<10)
	err := writeTar(ctx, buffered, t, o.unix())
	if err == nil {
		err = buffered.Flush()
	}
	if closeErr := compressed.Close(); err == nil {
		err = closeErr
	}
	return err
}

func digestOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// inOrder calls f for the entries in the order of a layer: theirs, but with hard
// links last, for their targets must be there when a reader makes them.
func (t Tree) inOrder(ctx context.Context, f func(e *Entry) error) error {
	for _, links := range []bool{false, true} {
		for i := range t.entries {
			e := &t.entries[i]
			if (e.Kind == Hardlink) != links {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// failed says which entry an error of writing is about.
func (e *Entry) failed(err error) error {
	return fmt.Errorf("write %q of %s: %w", e.Path, orUnknown(e.Origin), err)
}

func writeTar(ctx context.Context, w io.Writer, t Tree, at time.Time) error {
	tw := tar.NewWriter(w)
	err := t.inOrder(ctx, func(e *Entry) error {
		err := writeHeaders(tw, e, at)
		if err == nil && e.Kind == File && e.Content != nil {
			err = copyContent(tw, e)
		}
		if err != nil {
			return e.failed(err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

// writeHeaders writes what a tar has of an entry before its content.
func writeHeaders(tw *tar.Writer, e *Entry, at time.Time) error {
	if err := tw.WriteHeader(header(e, at)); err != nil {
		return err
	}
	if e.Kind == Dir && e.Opaque {
		return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: e.Path + "/" + whiteoutOpaque, Mode: 0o644, ModTime: at})
	}
	return nil
}

// copyContent copies exactly Size bytes.
func copyContent(w io.Writer, e *Entry) error {
	r, err := e.Content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(r, e.Size))
	if err != nil {
		return err
	}
	if n < e.Size {
		return errShrunk
	}
	return atEnd(r)
}

// readContent appends the next n bytes of a content to p.
func readContent(p []byte, r io.Reader, n int) ([]byte, error) {
	at := len(p)
	p = slices.Grow(p, n)[:at+n]
	_, err := io.ReadFull(r, p[at:])
	if err == io.EOF || err == io.ErrUnexpectedEOF { // as io.ReadFull says it: not from within r
		err = errShrunk
	}
	return p, err
}

// readWhole appends a content of n bytes to p. It asks for one more from the
// first: a file that tells of its end with its last byte needs no second read.
func readWhole(p []byte, r io.Reader, n int) ([]byte, error) {
	at := len(p)
	p = slices.Grow(p, n+1)
	for len(p) <= at+n {
		k, err := r.Read(p[len(p) : at+n+1])
		p = p[:len(p)+k]
		if err == io.EOF {
			break
		}
		if err != nil {
			return p, err // a content may check its sum at its end
		}
	}
	switch {
	case len(p) < at+n:
		return p, errShrunk
	case len(p) > at+n:
		return p, errGrown
	}
	return p, nil
}

// atEnd is an error if there is more of a content than its size.
func atEnd(r io.Reader) error {
	var one [1]byte
	if k, err := r.Read(one[:]); k > 0 {
		return errGrown
	} else if err != nil && err != io.EOF {
		return err // a content may check its sum at its end
	}
	return nil
}

// A content that does not have the size of its entry.
var (
	errShrunk = errors.New("has fewer bytes than announced; it changed while it was read")
	errGrown  = errors.New("has more bytes than announced; it changed while it was read")
)

func header(e *Entry, at time.Time) *tar.Header {
	h := &tar.Header{Name: e.Path, Mode: int64(e.Mode), Uid: e.UID, Gid: e.GID, ModTime: at}
	switch e.Kind {
	case File:
		h.Typeflag, h.Size = tar.TypeReg, e.Size
	case Dir:
		h.Typeflag, h.Name = tar.TypeDir, e.Path+"/"
	case Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
	case Hardlink:
		h.Typeflag, h.Linkname = tar.TypeLink, e.Link
	case CharDevice:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, e.Major, e.Minor
	case BlockDevice:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, e.Major, e.Minor
	case FIFO:
		h.Typeflag = tar.TypeFifo
	case Whiteout:
		h.Typeflag, h.Name, h.Mode = tar.TypeReg, join(parent(e.Path), whiteoutPrefix+path.Base(e.Path)), 0o644
	}
	if len(e.Xattrs) > 0 {
		h.PAXRecords = map[string]string{}
		for k, v := range e.Xattrs {
			h.PAXRecords[xattrRecord+k] = v
		}
	}
	return h
}

// Sum returns a digest of everything in t that shapes a layer: paths, kinds,
// modes, owners, links, attributes and contents. Two trees with one Sum give,
// with the same Options, the same layer. So a content that is kept deflated
// counts as it is kept, for that is what a layer takes over; it is not inflated,
// and not checked before it is written. Any other counts by its SHA-256, and is
// not read where that is known ([Summed]).
func Sum(ctx context.Context, t Tree) (v1.Hash, error) {
	h := sha256.New()
	var line []byte
	for i := range t.entries {
		e := &t.entries[i]
		if err := ctx.Err(); err != nil {
			return v1.Hash{}, err
		}
		line = appendMeta(line, e)
		if _, packed := e.deflated(); e.Kind == File && !packed {
			sum, err := e.readSum()
			if err != nil {
				return v1.Hash{}, e.unread(err)
			}
			line = append(line, sum[:]...)
		}
		if _, packed := e.deflated(); !packed && len(line) < summedLines {
			continue
		}
		h.Write(line)
		line = line[:0]
		if err := sumDeflated(h, e); err != nil {
			return v1.Hash{}, e.unread(err)
		}
	}
	h.Write(line)
	return digestOf(h), nil
}

// summedLines is how many bytes are gathered for the hash.
const summedLines = 16 << 10

// unread says which entry an error of reading is about.
func (e *Entry) unread(err error) error {
	return fmt.Errorf("read %q of %s: %w", e.Path, orUnknown(e.Origin), err)
}

// appendMeta appends all of an entry but its content. Each part ends where the
// next begins, whatever is in it.
func appendMeta(p []byte, e *Entry) []byte {
	p = appendText(p, e.Path)
	for _, n := range []int64{int64(e.Kind), int64(e.Mode), int64(e.UID), int64(e.GID), e.Size, e.Major, e.Minor, int64(len(e.Xattrs))} {
		p = binary.AppendVarint(p, n)
	}
	p = appendText(p, e.Link)
	p = strconv.AppendBool(p, e.Opaque)
	for _, k := range slices.Sorted(maps.Keys(e.Xattrs)) {
		p = appendText(appendText(p, k), e.Xattrs[k])
	}
	return append(p, '\n')
}

// appendText appends a text behind its length.
func appendText(p []byte, s string) []byte {
	return append(binary.AppendUvarint(p, uint64(len(s))), s...)
}

// readSum returns the digest of a file's content, which it reads if it has to.
func (e *Entry) readSum() ([sha256.Size]byte, error) {
	if e.Content == nil {
		return sha256.Sum256(nil), nil
	}
	sum, ok := e.sum()
	if ok {
		return sum, nil
	}
	h := sha256.New()
	err := copyContent(h, e)
	h.Sum(sum[:0])
	return sum, err
}

// sumDeflated adds a content that is kept deflated, if it is one.
func sumDeflated(h hash.Hash, e *Entry) error {
	packed, ok := e.deflated()
	if !ok {
		return nil
	}
	r, err := e.Content.(Deflated).OpenDeflated()
	if err != nil {
		return err
	}
	defer r.Close()
	fmt.Fprintf(h, "deflated %d\n", packed)
	n, err := io.Copy(h, r)
	if err == nil && n != packed {
		err = errPacked
	}
	return err
}
