package layers

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path"
	"runtime"
	"sort"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// Format names the rules by which a Tree becomes bytes. It is part of every
// record's key, and changes whenever the bytes of a layer would.
const Format = "layer/1"

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

// gzipLevel and gzipBlock shape the bytes of a gzip layer: pgzip's output
// depends on the size of a block, not on how many are compressed at a time.
const (
	gzipLevel = 6
	gzipBlock = 1 << 20
)

// Options shape a layer's bytes beside its Tree.
type Options struct {
	// Time is the modification time of every entry; zero is the Unix epoch.
	Time        time.Time
	Compression Compression
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
	digest := &countingHash{h: sha256.New()}
	compressed, err := compressor(io.MultiWriter(w, digest), o.Compression)
	if err != nil {
		return Descriptor{}, err
	}
	diffID := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(compressed, diffID), 256<<10)
	if err := writeTar(ctx, buffered, t, o.unix()); err != nil {
		compressed.Close()
		return Descriptor{}, err
	}
	if err := buffered.Flush(); err != nil {
		compressed.Close()
		return Descriptor{}, err
	}
	if err := compressed.Close(); err != nil {
		return Descriptor{}, err
	}
	return Descriptor{
		Digest:    digestOf(digest.h),
		DiffID:    digestOf(diffID),
		Size:      digest.n,
		MediaType: o.Compression.MediaType(),
	}, nil
}

func digestOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

type countingHash struct {
	h hash.Hash
	n int64
}

func (c *countingHash) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.h.Write(p)
}

func compressor(w io.Writer, c Compression) (io.WriteCloser, error) {
	switch c {
	case Gzip:
		z, err := pgzip.NewWriterLevel(w, gzipLevel)
		if err != nil {
			return nil, err
		}
		return z, z.SetConcurrency(gzipBlock, runtime.GOMAXPROCS(0))
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2))
	case None:
		return nopCloser{w}, nil
	}
	return nil, fmt.Errorf("write layer: unknown %s", c)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// writeTar writes the entries in order, hard links last, for their targets
// must be there when a reader makes them.
func writeTar(ctx context.Context, w io.Writer, t Tree, at time.Time) error {
	tw := tar.NewWriter(w)
	for _, links := range []bool{false, true} {
		for i := range t.entries {
			e := &t.entries[i]
			if (e.Kind == Hardlink) != links {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := writeEntry(tw, e, at); err != nil {
				return fmt.Errorf("write %q of %s: %w", e.Path, orUnknown(e.Origin), err)
			}
		}
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, e *Entry, at time.Time) error {
	if err := tw.WriteHeader(header(e, at)); err != nil {
		return err
	}
	if e.Kind == Dir && e.Opaque {
		return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: e.Path + "/" + whiteoutOpaque, Mode: 0o644, ModTime: at})
	}
	if e.Kind != File || e.Content == nil {
		return nil
	}
	return copyContent(tw, e)
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
		return fmt.Errorf("has %d bytes where %d were announced; it changed while it was read", n, e.Size)
	}
	var one [1]byte
	if k, err := r.Read(one[:]); k > 0 {
		return fmt.Errorf("has more bytes than the %d announced; it changed while it was read", e.Size)
	} else if err != nil && err != io.EOF {
		return err // a content may check its sum at its end
	}
	return nil
}

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
// with the same Options, the same layer.
func Sum(ctx context.Context, t Tree) (v1.Hash, error) {
	h := sha256.New()
	for i := range t.entries {
		e := &t.entries[i]
		if err := ctx.Err(); err != nil {
			return v1.Hash{}, err
		}
		fmt.Fprintf(h, "%q %d %o %d %d %d %q %d %d %t\n", e.Path, e.Kind, e.Mode, e.UID, e.GID, e.Size, e.Link, e.Major, e.Minor, e.Opaque)
		names := make([]string, 0, len(e.Xattrs))
		for k := range e.Xattrs {
			names = append(names, k)
		}
		sort.Strings(names)
		for _, k := range names {
			fmt.Fprintf(h, "%q %q\n", k, e.Xattrs[k])
		}
		if e.Kind == File && e.Content != nil {
			if err := copyContent(h, e); err != nil {
				return v1.Hash{}, fmt.Errorf("read %q of %s: %w", e.Path, orUnknown(e.Origin), err)
			}
		}
	}
	return digestOf(h), nil
}
