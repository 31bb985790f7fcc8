package layers

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/flate"
)

// What is compressed here is, at level 6. The bytes depend on the version of the
// compressor: Format changes with them, as a test sees to.
const (
	flateLevel = 6
	// maxPlain is the length of what stands between two spliced streams up to
	// which a block of fixed codes does: headers and padding, of which most
	// is zeros, and at most maxText bytes of files.
	maxPlain = 8 << 10
	maxText  = 512
)

// tarBlock is the unit of a tar: headers are one or more, files are padded to it.
const tarBlock = 512

var zeros [2 * tarBlock]byte

// padding returns how many zeros follow a file of n bytes.
func padding(n int64) int { return int(-n & (tarBlock - 1)) }

func roundUp(n int64) int64 { return n + int64(padding(n)) }

// appendHeaders appends what a tar has of an entry before its content.
func appendHeaders(p []byte, e *Entry, at time.Time) ([]byte, error) {
	if short, ok := appendShort(p, e, at); ok {
		return short, nil
	}
	b := appender{p}
	err := writeHeaders(tar.NewWriter(&b), e, at)
	return b.p, err
}

// appendShort writes the header that archive/tar would write for most files and
// directories, at a tenth of the cost; false for all others.
func appendShort(p []byte, e *Entry, at time.Time) ([]byte, bool) {
	const maxName, maxID, maxNumber = 100, 1<<21 - 1, 1<<33 - 1 // what the fields hold (POSIX, ustar)
	name, kind, size := len(e.Path), byte(tar.TypeReg), e.Size
	switch {
	case e.Kind == Dir && !e.Opaque:
		name, kind, size = name+1, tar.TypeDir, 0
	case e.Kind != File:
		return p, false
	}
	seconds := at.Unix()
	if name > maxName || len(e.Xattrs) > 0 || size > maxNumber || seconds < 0 || seconds > maxNumber ||
		e.UID < 0 || e.UID > maxID || e.GID < 0 || e.GID > maxID {
		return p, false
	}
	for i := range len(e.Path) {
		if e.Path[i] >= 0x80 {
			return p, false
		}
	}
	n := len(p)
	p = append(p, zeros[:tarBlock]...)
	h := p[n:]
	copy(h, e.Path)
	if kind == tar.TypeDir {
		h[name-1] = '/'
	}
	octal(h[100:107], int64(e.Mode))
	octal(h[108:115], int64(e.UID))
	octal(h[116:123], int64(e.GID))
	octal(h[124:135], size)
	octal(h[136:147], seconds)
	copy(h[148:156], "        ") // while the sum is made
	h[156] = kind
	copy(h[257:265], "ustar\x0000")
	octal(h[329:336], 0)
	octal(h[337:344], 0)
	sum := int64(0)
	for _, c := range h {
		sum += int64(c)
	}
	octal(h[148:154], sum)
	h[154] = 0
	return p, true
}

// octal fills p with v's digits.
func octal(p []byte, v int64) {
	for i := len(p) - 1; i >= 0; i-- {
		p[i] = '0' + byte(v&7)
		v >>= 3
	}
}

type appender struct{ p []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.p = append(a.p, p...)
	return len(p), nil
}

// worker does jobs. It keeps what is dear to make.
type worker struct {
	p    *pipeline
	z    inflater
	c    *flate.Writer
	last io.Closer // the stream opened last

	// Of the current job:
	out    chan<- segment
	tar    []byte    // what was made of the tar
	w      bitWriter // what was made of the gzip, for all of tar up to run
	run    int       // where in tar begins what is not in w yet
	text   int       // how many bytes of that are of files
	starts []start
	known  known // of a group that may be on record
}

// on prepares the worker for a job.
func (k *worker) on(j *job) *worker {
	k.out = j.out
	k.tar, k.w, k.run, k.text, k.starts = nil, bitWriter{}, 0, 0, nil
	return k
}

// send gives a segment to the sink.
func (k *worker) send(s segment) error {
	select {
	case k.out <- s:
		return nil
	case <-k.p.ctx.Done():
		return k.p.ctx.Err()
	}
}

// begins notes that a block begins at the next bit, which makes the tar from at
// on.
func (k *worker) begins(at int) {
	if k.p.starts {
		k.starts = append(k.starts, start{bit: int64(len(k.w.buf))*8 + int64(k.w.n), at: int64(at)})
	}
}

// group makes one segment of entries that come to at most size bytes.
func (k *worker) group(entries []*Entry, size int64) error {
	room := bufferSize // of one length, so that the next group can have it
	if size < minGroup {
		room = int(size) + bufferSize - pieceSize
	}
	k.tar, k.w.buf = k.p.buffers.get(room), k.p.buffers.get(room)
	s := segment{}
	if k.p.keyed {
		known, err := k.know(entries)
		if err != nil {
			return err
		}
		if known {
			key := k.known.key
			s.key = &key
			if k.p.reuse != nil && k.reuse() {
				return k.finish(s)
			}
		}
	}
	for _, e := range entries {
		if err := k.entry(e); err != nil {
			return e.failed(err)
		}
	}
	if err := k.flush(); err != nil {
		return err
	}
	if k.w.n > 0 {
		k.w.boundary()
	}
	return k.finish(s)
}

// finish sends what has been made as the only segment of a job.
func (k *worker) finish(s segment) error {
	s.tar, s.gz, s.starts, s.done = k.tar, k.w.buf, k.starts, [2][]byte{k.tar, k.w.buf}
	return k.send(s)
}

func (k *worker) entry(e *Entry) (err error) {
	if k.tar, err = appendHeaders(k.tar, e, k.p.time); err != nil {
		return err
	}
	if e.Kind != File || e.Content == nil {
		return nil
	}
	if packed, ok := e.deflated(); ok {
		err = k.splice(e, int(packed))
	} else {
		err = k.read(e)
	}
	k.tar = append(k.tar, zeros[:padding(e.Size)]...)
	return err
}

// read adds a content that is not deflated.
func (k *worker) read(e *Entry) error {
	r, err := e.Content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	k.text += int(e.Size)
	k.tar, err = readWhole(k.tar, r, int(e.Size))
	return err
}

// flush brings w up to tar.
func (k *worker) flush() error {
	run, text := k.tar[k.run:], k.text
	if len(run) == 0 {
		return nil
	}
	if len(run) <= maxPlain && text <= maxText {
		k.begins(k.run)
		k.w.fixed(run, false)
	} else if err := k.compress(run, nil); err != nil {
		return err
	}
	k.run, k.text = len(k.tar), 0
	return nil
}

// compress adds text as compressed blocks that begin and end at a byte.
func (k *worker) compress(text, dict []byte) error {
	if k.w.n > 0 {
		k.w.boundary()
	}
	k.begins(k.run)
	to := appender{k.w.buf}
	if k.c == nil {
		var err error
		if k.c, err = flate.NewWriter(nil, flateLevel); err != nil {
			return err
		}
	}
	k.c.ResetDict(&to, dict)
	if _, err := k.c.Write(text); err != nil {
		return err
	}
	err := k.c.Flush() // ends with an empty stored block, at a byte
	k.w.buf = to.p
	return err
}

// block makes the segment of a piece of a long file.
func (k *worker) block(text, dict []byte) error {
	k.tar, k.w.buf = text, k.p.buffers.get(bufferSize)
	if err := k.compress(text, dict); err != nil {
		return err
	}
	return k.finish(segment{})
}

var (
	errMoreInflated  = errors.New("inflates to more bytes than announced")
	errFewerInflated = errors.New("inflates to fewer bytes than announced")
	errBehind        = errors.New("has bytes behind the end of its deflate stream")
	errPacked        = errors.New("has a deflate stream of another length than announced")
)

// splice adds a deflate stream as it is, and what it inflates to.
func (k *worker) splice(e *Entry, packed int) error {
	if err := k.flush(); err != nil {
		return err
	}
	k.w.boundary()
	r, err := k.open(e.Content.(Deflated))
	if err != nil {
		return err
	}
	at, from := len(k.w.buf), len(k.tar)
	gz := slices.Grow(k.w.buf, packed)[:at+packed]
	if _, err := io.ReadFull(r, gz[at:]); err != nil {
		return r.Finish(unexpected(err))
	}
	k.tar = slices.Grow(k.tar, int(e.Size)+1+outSlack)
	z := &k.z
	z.begin()
	z.in, z.more = gz[at:], false
	z.out, z.base, z.op, z.limit = k.tar[:cap(k.tar)], from, from, from+int(e.Size)+1
	z.blocks = nil
	if k.p.starts {
		z.blocks = func(bit, out int) {
			k.starts = append(k.starts, start{bit: int64(at)*8 + int64(bit), at: int64(out)})
		}
	}
	status, err := z.run()
	if size := int64(z.op - from); err == nil {
		err = k.judge(r, status, size, e.Size)
	}
	if err == nil {
		r.Inflated(z.out[from:z.op])
	}
	if err := r.Finish(err); err != nil {
		return err
	}
	k.tar = k.tar[:z.op]
	k.run = len(k.tar)
	k.w.resume(gz, at*8+z.used())
	return nil
}

// open opens a stream, and then closes the one before: between them an archive
// that both come from need not be closed and opened.
func (k *worker) open(d Deflated) (DeflatedReader, error) {
	r, err := d.OpenDeflated()
	k.close()
	if err == nil {
		k.last = r
	}
	return r, err
}

func (k *worker) close() {
	if k.last != nil {
		k.last.Close() // was read to its end, or has failed already
		k.last = nil
	}
}

// judge says whether a stream came to its end where it should.
func (k *worker) judge(r io.Reader, s status, size, want int64) error {
	var one [1]byte
	switch n, err := r.Read(one[:]); {
	case size > want || s == needOutput:
		return errMoreInflated
	case size < want:
		return errFewerInflated
	case k.z.ip < len(k.z.in) || n > 0:
		return errBehind
	case err != nil && err != io.EOF:
		return err
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errPacked
	}
	return fmt.Errorf("read: %w", err)
}
