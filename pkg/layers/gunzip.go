package layers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// What can be wrong with a gzip file beside its deflate streams.
var (
	errGzipHeader   = errors.New("gzip: no header where one should be")
	errGzipChecksum = errors.New("gzip: the checksum or the length is not that of the content")
)

const (
	gunzipInput  = 128 << 10
	gunzipOutput = 256 << 10
)

// NewGzipReader reads what a gzip file (RFC 1952) of one or more members
// contains. It accepts what compress/gzip accepts, is about twice as fast, and
// holds some 400 KB. The first header is read at once.
func NewGzipReader(r io.Reader) (io.Reader, error) {
	g := &gzipReader{r: r}
	g.z.in = make([]byte, 0, gunzipInput)
	g.z.out = make([]byte, maxWindow+gunzipOutput+outSlack)
	g.z.limit = maxWindow + gunzipOutput
	if err := g.member(); err != nil {
		return nil, err
	}
	return g, nil
}

// gzipReader is an io.Reader and an io.WriterTo.
type gzipReader struct {
	r    io.Reader
	z    inflater
	over bool // r is at its end
	// out[from:op] of the inflater has not been given yet.
	from  int
	crc   uint32
	size  uint32 // modulo 2³²
	err   error  // behind what has been inflated
	fault error  // of r, but io.EOF
}

// Read gives what comes next.
func (g *gzipReader) Read(p []byte) (int, error) {
	for g.from == g.z.op {
		if g.err != nil {
			return 0, g.err
		}
		g.step()
	}
	n := copy(p, g.z.out[g.from:g.z.op])
	g.from += n
	return n, nil
}

// WriteTo gives all that comes.
func (g *gzipReader) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	for {
		if g.from < g.z.op {
			n, err := w.Write(g.z.out[g.from:g.z.op])
			g.from += n
			total += int64(n)
			if err != nil {
				return total, err
			}
		}
		switch {
		case errors.Is(g.err, io.EOF):
			return total, nil
		case g.err != nil:
			return total, g.err
		}
		g.step()
	}
}

// step inflates more. All that was inflated before has been given.
func (g *gzipReader) step() {
	z := &g.z
	if z.op >= z.limit { // only the window is still needed
		copy(z.out, z.out[z.op-maxWindow:z.op])
		z.base = max(z.base-(z.op-maxWindow), 0)
		z.op = maxWindow
	}
	g.from = z.op
	status, err := z.run()
	g.crc = crc32.Update(g.crc, crc32.IEEETable, z.out[g.from:z.op])
	g.size += uint32(z.op - g.from)
	switch {
	case err != nil:
		g.err = g.cause(err)
	case status == needInput:
		if g.more() != nil {
			g.err = g.cause(errTruncated)
		}
	case status == finished:
		g.err = g.end()
	}
}

// cause is the error of reading, where an error of the stream came of that.
func (g *gzipReader) cause(err error) error {
	if g.fault != nil {
		return g.fault
	}
	return err
}

// more reads more input. The last byte that the inflater has begun stays before
// it: the next block's BFINAL bit may be in it. An error is that there is none.
func (g *gzipReader) more() error {
	z := &g.z
	if g.over {
		return io.EOF
	}
	keep := max(z.ip-1, 0)
	n := copy(z.in[:cap(z.in)], z.in[keep:])
	z.in, z.ip = z.in[:n], z.ip-keep
	for {
		n, err := g.r.Read(z.in[len(z.in):cap(z.in)])
		z.in = z.in[:len(z.in)+n]
		if err != nil {
			g.over, z.more = true, false
			if !errors.Is(err, io.EOF) {
				g.fault = err
			}
		}
		if n > 0 || err != nil {
			return nil
		}
	}
}

// take returns the next n bytes that are no part of a deflate stream.
func (g *gzipReader) take(n int) ([]byte, error) {
	for len(g.z.in)-g.z.ip < n {
		if g.more() != nil {
			return nil, g.cause(errTruncated)
		}
	}
	g.z.ip += n
	return g.z.in[g.z.ip-n : g.z.ip], nil
}

// end reads what comes behind a member's stream, and the header of the next.
// At the end of the file it is io.EOF.
func (g *gzipReader) end() error {
	trailer, err := g.take(8)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(trailer) != g.crc || binary.LittleEndian.Uint32(trailer[4:]) != g.size {
		return errGzipChecksum
	}
	for g.z.ip == len(g.z.in) {
		if g.more() != nil {
			return g.cause(io.EOF)
		}
	}
	return g.member()
}

// Flags of a member (RFC 1952, 2.3.1).
const (
	gzipHeaderCRC = 1 << 1
	gzipExtra     = 1 << 2
	gzipName      = 1 << 3
	gzipComment   = 1 << 4
)

// member reads a member's header.
func (g *gzipReader) member() error {
	sum := uint32(0)
	take := func(n int) ([]byte, error) {
		b, err := g.take(n)
		sum = crc32.Update(sum, crc32.IEEETable, b)
		return b, err
	}
	h, err := take(10)
	if err != nil {
		return fmt.Errorf("gzip: header: %w", err)
	}
	if h[0] != 0x1f || h[1] != 0x8b || h[2] != 8 {
		return errGzipHeader
	}
	flags := h[3]
	if flags&gzipExtra != 0 {
		n, err := take(2)
		if err != nil {
			return err
		}
		for left := int(binary.LittleEndian.Uint16(n)); left > 0; {
			piece := min(left, gunzipInput/2)
			if _, err := take(piece); err != nil {
				return err
			}
			left -= piece
		}
	}
	for _, text := range []byte{gzipName, gzipComment} {
		for n := 0; flags&text != 0; n++ {
			b, err := take(1)
			if err != nil {
				return err
			}
			if b[0] == 0 {
				break
			}
			if n == 511 { // as compress/gzip has it
				return errGzipHeader
			}
		}
	}
	if flags&gzipHeaderCRC != 0 {
		want := uint16(sum)
		b, err := g.take(2)
		if err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(b) != want {
			return errGzipHeader
		}
	}
	z := &g.z
	at := z.ip
	z.begin()
	z.ip, z.base, z.more = at, z.op, !g.over
	g.crc, g.size = 0, 0
	return nil
}
