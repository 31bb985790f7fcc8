package layers

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Bounds of an index. A layer of 10 GB of small files has 40,000 segments; what
// is beyond is made again.
const (
	maxSegments     = 1 << 18
	maxSegmentsText = 16 << 20
	// maxSegment is how long one may be: what does not compress becomes a
	// little longer.
	maxSegment = bufferSize
	maxOffset  = 1 << 62
)

// SegmentIndex lists the segments of one gzip layer by their keys and places: what
// is to be kept beside the layer so that the next one can be made of it. The zero
// value is empty. It is not safe for concurrent use; [Write] calls Made, for
// which Add is meant, from one goroutine.
//
// Its text, base64 in a record or any other JSON, is bound to its [Format].
type SegmentIndex struct {
	segments []placed
}

// placed is a segment and its place in the layer's stored form.
type placed struct {
	key          SegmentKey
	offset, size int64
}

// Add adds a segment behind those before it. What no layer can have, or an index
// has no room for, is left out.
func (x *SegmentIndex) Add(key SegmentKey, offset, size int64) {
	if len(x.segments) < maxSegments && offset >= x.end() && offset <= maxOffset && size > 0 && size <= maxSegment {
		x.segments = append(x.segments, placed{key, offset, size})
	}
}

// end is where the last segment ends.
func (x *SegmentIndex) end() int64 {
	if len(x.segments) == 0 {
		return 0
	}
	last := x.segments[len(x.segments)-1]
	return last.offset + last.size
}

// Len returns the number of segments.
func (x *SegmentIndex) Len() int { return len(x.segments) }

var errSegments = errors.New("parse segments of a layer")

// MarshalText returns the index's form for UnmarshalText: for each segment its
// key, the length of what is between it and the one before, and its own.
func (x SegmentIndex) MarshalText() ([]byte, error) {
	p := append([]byte(Format), '\n')
	end := int64(0)
	for _, s := range x.segments {
		p = append(p, s.key[:]...)
		p = binary.AppendUvarint(p, uint64(s.offset-end))
		p = binary.AppendUvarint(p, uint64(s.size))
		end = s.offset + s.size
	}
	return base64.StdEncoding.AppendEncode(nil, p), nil
}

// UnmarshalText parses what MarshalText made. The index of another Format is an
// empty one, for nothing that it lists could be used.
func (x *SegmentIndex) UnmarshalText(text []byte) error {
	x.segments = nil
	if len(text) > maxSegmentsText {
		return fmt.Errorf("%w: has %d bytes, more than the %d allowed", errSegments, len(text), maxSegmentsText)
	}
	p, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("%w: %w", errSegments, err)
	}
	format, p, ok := bytes.Cut(p, []byte("\n"))
	if !ok {
		return fmt.Errorf("%w: has no format", errSegments)
	}
	if string(format) != Format {
		return nil
	}
	parsed := SegmentIndex{}
	for len(p) > 0 {
		var key SegmentKey
		n := copy(key[:], p)
		p = p[n:]
		gap, n := binary.Uvarint(p)
		size, m := binary.Uvarint(p[max(n, 0):])
		if n <= 0 || m <= 0 || gap > maxOffset || size > maxSegment {
			return fmt.Errorf("%w: segment %d is cut or has no possible place", errSegments, parsed.Len())
		}
		p = p[n+m:]
		before := parsed.Len()
		if parsed.Add(key, parsed.end()+int64(gap), int64(size)); parsed.Len() == before {
			return fmt.Errorf("%w: segment %d has no possible place", errSegments, before)
		}
	}
	*x = parsed
	return nil
}

// OpenSegments returns the segments that x lists of the layer in r, of size
// bytes. Nothing is read, or checked, before a segment is asked for; r is used by
// several goroutines at once.
func OpenSegments(r io.ReaderAt, size int64, x SegmentIndex) Segments {
	s := &storedSegments{r: r, size: size, places: make(map[SegmentKey]placed, x.Len())}
	for _, p := range x.segments {
		s.places[p.key] = p
	}
	return s
}

type storedSegments struct {
	r      io.ReaderAt
	size   int64
	places map[SegmentKey]placed
}

// Segment reads the segment. One that cannot be read is not known.
func (s *storedSegments) Segment(buf []byte, key SegmentKey) ([]byte, bool) {
	p, ok := s.places[key]
	if !ok || p.offset > s.size-p.size {
		return buf, false
	}
	at := len(buf)
	buf = slices.Grow(buf, int(p.size))[:at+int(p.size)]
	if n, _ := s.r.ReadAt(buf[at:], p.offset); int64(n) < p.size { // a full read may come with io.EOF
		return buf[:at], false
	}
	return buf, true
}
