package layers

import (
	"io"
)

// stream makes segments of a long file that is deflated. Its stream goes through
// the inflater piece by piece.
func (k *worker) stream(e *Entry, packed int64) error {
	s := &stream{k: k, left: packed, want: e.Size}
	if err := s.entry(e); err != nil {
		return e.failed(err)
	}
	return nil
}

// stream is one such file on its way.
type stream struct {
	k          *worker
	r          DeflatedReader
	left       int64 // bytes of it to be read
	want, size int64 // bytes that it should inflate to, and that have been sent
	from       int   // where in the inflater's output begins what has not
	// head and gone are how many bytes of the job's tar are before the
	// content, and of its gzip before the inflater's input.
	head, gone int64
}

func (s *stream) entry(e *Entry) (err error) {
	k := s.k
	if k.tar, err = appendHeaders(nil, e, k.p.time); err != nil {
		return err
	}
	if err := k.flush(); err != nil {
		return err
	}
	k.w.boundary()
	s.head, s.gone = int64(len(k.tar)), int64(len(k.w.buf))
	if err := s.send(segment{tar: k.tar, gz: k.w.buf}); err != nil {
		return err
	}
	if s.r, err = k.open(e.Content.(Deflated)); err != nil {
		return err
	}
	err = s.inflate()
	if stopped := k.p.ctx.Err(); stopped != nil {
		return stopped
	}
	if err := s.r.Finish(err); err != nil {
		return err
	}
	return s.end()
}

// send sends a segment with the blocks that have begun since the last.
func (s *stream) send(g segment) error {
	if g.tar != nil {
		g.starts, s.k.starts = s.k.starts, nil
	}
	return s.k.send(g)
}

func (s *stream) inflate() error {
	z := &s.k.z
	z.begin()
	z.in, z.out, z.base, z.op, s.from = nil, nil, 0, 0, 0
	z.blocks = nil
	if s.k.p.starts {
		z.blocks = func(bit, out int) {
			s.k.starts = append(s.k.starts, start{bit: s.gone*8 + int64(bit), at: s.head + s.size + int64(out-s.from)})
		}
	}
	s.renew()
	if err := s.feed(); err != nil {
		return err
	}
	for {
		status, err := z.run()
		if err != nil {
			return err
		}
		made := z.out[s.from:z.op]
		if s.size+int64(len(made)) > s.want {
			return errMoreInflated
		}
		switch status {
		case needInput:
			err = s.feed()
		case needOutput:
			s.r.Inflated(made)
			old := z.out
			s.size += int64(len(made))
			s.renew()
			err = s.send(segment{tar: made, done: [2][]byte{old}})
		case finished:
			if s.left > 0 {
				return errBehind
			}
			if err := s.k.judge(s.r, status, s.size+int64(len(made)), s.want); err != nil {
				return err
			}
			s.r.Inflated(made)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// renew gives the inflater a new buffer for its output, and the window of the
// old one.
func (s *stream) renew() {
	z := &s.k.z
	old := z.out[:z.op]
	next := s.k.p.buffers.get(bufferSize)
	next = append(next, old[max(0, len(old)-maxWindow):]...)
	s.from = len(next)
	z.base, z.op, z.out, z.limit = 0, len(next), next[:bufferSize], bufferSize-outSlack
}

// feed sends the input that is done with and reads more. The last byte that the
// inflater has begun stays: the next block's BFINAL bit may be in it.
func (s *stream) feed() error {
	z := &s.k.z
	keep := max(z.ip-1, 0)
	next := append(s.k.p.buffers.get(bufferSize), z.in[keep:]...)
	at, n := len(next), int(min(s.left, pieceSize))
	next = next[:at+n]
	if _, err := io.ReadFull(s.r, next[at:]); err != nil {
		return unexpected(err)
	}
	s.left -= int64(n)
	old := z.in
	z.in, z.ip, z.more = next, z.ip-keep, s.left > 0
	s.gone += int64(keep)
	if len(old) == 0 {
		return nil
	}
	return s.send(segment{gz: old[:keep], done: [2][]byte{old}})
}

// end sends what is left, and the padding.
func (s *stream) end() error {
	k, z := s.k, &s.k.z
	if err := s.send(segment{tar: z.out[s.from:z.op], done: [2][]byte{z.out}}); err != nil {
		return err
	}
	k.tar, k.run = zeros[:padding(s.want)], 0
	k.w.resume(z.in, z.used())
	if len(k.tar) > 0 {
		if k.p.starts {
			bit := (s.gone+int64(len(k.w.buf)))*8 + int64(k.w.n)
			k.starts = append(k.starts, start{bit: bit, at: s.head + s.want})
		}
		k.w.fixed(k.tar, false)
	}
	if k.w.n > 0 {
		k.w.boundary()
	}
	return s.send(segment{tar: k.tar, gz: k.w.buf, done: [2][]byte{k.w.buf}})
}
