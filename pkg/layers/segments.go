package layers

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// Summed is a Content whose digest is known without reading it, as from a cache
// of what files' stat data stand for. Layers and their parts go on record by that
// digest, so what Open gives must have it, or reading must end in an error.
type Summed interface {
	Content
	// Sum returns the SHA-256 of the content's bytes; false says that it is
	// not known.
	Sum() (sum [sha256.Size]byte, ok bool)
}

// SegmentKey names a segment: a part of a gzip layer that some entries, one
// behind the other, become. It is a digest of all that shapes the segment's
// bytes. Segments of one key are alike, in whatever layer they are.
type SegmentKey [sha256.Size]byte

// Segments are parts of layers that were written before. What they inflate to is
// checked, so the layer's files are right whatever comes from them; that their
// bytes are those that were written is for who gives them to see to, for the same
// files have many deflated forms, and another gives another digest.
type Segments interface {
	// Segment appends the stored form of a segment to buf; false says that it
	// is not known. Several workers call it at once.
	Segment(buf []byte, key SegmentKey) ([]byte, bool)
}

// keyed says whether parts of the layer are looked up, or are to be told of.
func (o Options) keyed() bool { return o.Reuse != nil || o.Made != nil }

// known is a group of entries, none of which has to be read to know what comes
// of it.
type known struct {
	key   SegmentKey
	heads []byte // the headers of all entries
	parts []knownPart
	size  int // of the tar
}

// knownPart is one entry of a group.
type knownPart struct {
	head int // bytes of its headers
	size int // bytes of its content
	sum  [sha256.Size]byte
}

// know sets k.known to the group of entries, if each content has a known sum.
// The key is of each entry's headers, which hold the time too, and sums.
// Contents that are deflated already have to be read in any case.
func (k *worker) know(entries []*Entry) (bool, error) {
	g := &k.known
	g.heads, g.parts, g.size = g.heads[:0], g.parts[:0], 0
	key := sha256.New()
	key.Write([]byte(Format))
	for _, e := range entries {
		part := knownPart{}
		if e.Kind == File && e.Content != nil {
			sum, ok := e.sum()
			if _, packed := e.deflated(); packed || !ok {
				return false, nil
			}
			part.size, part.sum = int(e.Size), sum
		}
		from := len(g.heads)
		var err error
		if g.heads, err = appendHeaders(g.heads, e, k.p.time); err != nil {
			return false, e.failed(err)
		}
		part.head = len(g.heads) - from
		g.size += part.head + part.size + padding(int64(part.size))
		g.parts = append(g.parts, part)
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(part.head))
		key.Write(n[:])
		key.Write(g.heads[from:])
		key.Write(part.sum[:]) // zero without a content, and then the header has the size 0
	}
	key.Sum(g.key[:0])
	return true, nil
}

// sum is the digest of the entry's content, if it is known.
func (e *Entry) sum() (sum [sha256.Size]byte, ok bool) {
	s, ok := e.Content.(Summed)
	if !ok {
		return sum, false
	}
	return s.Sum()
}

// emptyBlock is a last block of fixed codes that holds nothing.
var emptyBlock = [...]byte{0b011, 0}

// reuse makes tar and w of a segment that was made before, if there is one and
// it is right.
func (k *worker) reuse() bool {
	gz, ok := k.p.reuse.Segment(k.w.buf[:0], k.known.key)
	if !ok {
		return false
	}
	// A segment has no last block. One behind it must begin where it ends.
	n := len(gz)
	gz = append(gz, emptyBlock[:]...)
	size := k.known.size
	k.tar = slices.Grow(k.tar, size+1+outSlack)
	z := &k.z
	z.begin()
	z.in, z.more = gz, false
	z.out, z.base, z.op, z.limit = k.tar[:cap(k.tar)], 0, 0, size+1
	last := 0
	z.blocks = func(bit, _ int) { last = bit }
	status, err := z.run()
	if err != nil || status != finished || last != n*8 || z.op != size || !k.known.is(z.out[:size]) {
		return false
	}
	k.begins(0)
	k.tar, k.w.buf = k.tar[:size], gz[:n]
	return true
}

// is says whether tar is the group's.
func (g *known) is(tar []byte) bool {
	heads := g.heads
	for _, p := range g.parts {
		end := p.head + p.size
		if !bytes.Equal(tar[:p.head], heads[:p.head]) {
			return false
		}
		if p.size > 0 && sha256.Sum256(tar[p.head:end]) != p.sum {
			return false
		}
		pad := padding(int64(p.size))
		if !bytes.Equal(tar[end:end+pad], zeros[:pad]) {
			return false
		}
		tar, heads = tar[end+pad:], heads[p.head:]
	}
	return true
}
