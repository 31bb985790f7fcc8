package layers

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// A gzip layer is one gzip member (RFC 1952), whose deflate blocks come from
// three sources: contents that are deflated already are taken as they are;
// the headers and padding around them become blocks of fixed codes; all else is
// compressed. The tree is cut into jobs, which several workers do at a time.
// What a job gives begins and ends at a byte and refers back to nothing that it
// did not make itself (a block of a long file: to the block before), so the
// layer is the jobs' results in order, however many workers there were.

// How a layer is cut, which shapes its bytes, and how much of it is held.
const (
	// pieceSize is how many bytes of the tar a job makes, or takes at a time:
	// enough that a block compressed for itself is hardly larger for it.
	pieceSize = 512 << 10
	// A group of entries that are compressed here ends behind one whose path
	// says so, once it has come to minGroup, and in any case before it comes
	// to pieceSize: at 250 KB on average. So one file that comes, goes or grows
	// changes 1.2 groups on average, in 99 of 100 cases at most 3, and the
	// layer is 0.4 % larger than with cuts by size alone. (With half of
	// each bound: 1.1 groups, 1.1 % larger.)
	minGroup = 128 << 10
	meanCut  = 192 << 10
	// bufferSize leaves room for what comes around a piece: the window of a
	// stream, and padding.
	bufferSize = pieceSize + 64<<10
	// A job on many entries needs a buffer for each form; a stream could use
	// any number, and gets enough to run ahead by 3 MB.
	pieceBuffers  = 2
	streamBuffers = 12
	// maxWorkers: one sink hashes what the workers make, and cannot keep up
	// with more.
	maxWorkers = 8
)

// maxBuffers bounds the pieces that are held, in one form or the other: 14 MB for
// two workers, 28 MB for eight. It does not shape the bytes.
func maxBuffers(workers int) int { return 16 + 4*workers }

// gzipHeader says deflate, no name, no time, an unknown system (RFC 1952, 2.3).
var gzipHeader = [...]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// job is a part of a layer that one worker makes.
type job struct {
	do      func(*worker) error
	buffers int64
	// out gives the job's segments, and is closed behind the last; err is
	// read after that.
	out chan segment
	err error
}

// segment is some of what a job makes, in both forms: the next bytes of its
// tar and the next of its gzip, which need not correspond.
type segment struct {
	tar, gz []byte
	// starts are the blocks that begin in this tar. Set only if asked for.
	starts []start
	// key names the segment, if it has one.
	key *SegmentKey
	// done are buffers that nobody uses behind this segment.
	done [2][]byte
}

// start is where a block begins, counted from the job's own begin.
type start struct {
	bit int64 // of the gzip
	at  int64 // of the tar
}

// pipeline is one run of writeGzip.
type pipeline struct {
	ctx     context.Context
	time    time.Time
	starts  bool // note where blocks begin
	keyed   bool // give groups their keys
	reuse   Segments
	buffers buffers
	room    *semaphore.Weighted
	order   chan *job // all jobs, in order
	work    chan *job // the same, for the workers
}

func writeGzip(ctx context.Context, out *sink, t Tree, o Options) error {
	return run(ctx, out, o, func(p *pipeline) error { return p.plan(t) })
}

// run writes the layer whose jobs plan submits.
func run(ctx context.Context, out *sink, o Options, plan func(*pipeline) error) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	held := maxBuffers(workers)
	p := &pipeline{
		ctx: inner, time: o.unix(), starts: o.Blocks != nil, keyed: o.keyed(), reuse: o.Reuse,
		room:  semaphore.NewWeighted(int64(held)),
		order: make(chan *job, held),
		work:  make(chan *job, held),
	}
	p.buffers.most = held
	wait.Go(func() {
		defer close(p.order)
		defer close(p.work)
		if err := plan(p); err != nil {
			p.submit(&job{do: func(*worker) error { return err }})
		}
	})
	for range workers {
		wait.Go(func() {
			k := &worker{p: p}
			defer k.close()
			for j := range p.work {
				if j.err = inner.Err(); j.err == nil {
					j.err = j.do(k.on(j))
				}
				close(j.out)
			}
		})
	}
	g := &gzipSink{sink: out, blocks: o.Blocks, made: o.Made}
	if _, err := g.Write(gzipHeader[:]); err != nil {
		return err
	}
	if err := p.drain(g); err != nil {
		return err
	}
	return g.end()
}

// submit hands a job to the workers once there is room for what it makes. Room
// is given in order, so the job that the sink waits for always has it.
func (p *pipeline) submit(j *job) error {
	if err := p.room.Acquire(p.ctx, j.buffers); err != nil {
		return err
	}
	p.start(j)
	return nil
}

// start is submit where there is room. It never blocks, for there are never as
// many jobs as buffers.
func (p *pipeline) start(j *job) {
	j.out = make(chan segment, max(j.buffers-3, 1)) // the worker has two buffers in hand, the sink one
	p.order <- j
	p.work <- j
}

// drain takes the jobs' results in order.
func (p *pipeline) drain(g *gzipSink) error {
	for {
		select {
		case <-p.ctx.Done():
			return p.ctx.Err()
		case j, ok := <-p.order:
			if !ok {
				return p.ctx.Err()
			}
			if err := p.drainJob(g, j); err != nil {
				return err
			}
			p.room.Release(j.buffers)
		}
	}
}

func (p *pipeline) drainJob(g *gzipSink, j *job) error {
	g.beginJob()
	for {
		select {
		case <-p.ctx.Done():
			return p.ctx.Err()
		case s, ok := <-j.out:
			if !ok {
				return j.err
			}
			if err := g.take(s); err != nil {
				return err
			}
			for _, b := range s.done {
				p.buffers.put(b)
			}
		}
	}
}

// plan cuts the tree into jobs. The cuts depend on the tree alone, and between
// entries that are compressed here on paths and sizes near the cut: where files
// come, go or grow, groups further on stay what they are, and can be reused.
// Contents that are deflated already have to be read anyway.
func (p *pipeline) plan(t Tree) error {
	var group []*Entry
	size := int64(0)
	flush := func() error {
		if len(group) == 0 {
			return nil
		}
		entries, n := group, size
		group, size = nil, 0
		return p.submit(&job{do: func(k *worker) error { return k.group(entries, n) }, buffers: pieceBuffers})
	}
	err := t.inOrder(p.ctx, func(e *Entry) error {
		packed, deflated := e.deflated()
		n := e.Size
		if e.Kind != File || e.Content == nil {
			n = 0
		}
		if deflated {
			n = max(n, packed)
		}
		n = roundUp(min(n, 2*pieceSize)) + 2*tarBlock // header, and what a block costs
		if size+n > pieceSize {
			if err := flush(); err != nil {
				return err
			}
		}
		switch {
		case n <= pieceSize:
			group, size = append(group, e), size+n
			if !deflated && size >= minGroup && cutBehind(e.Path, n) {
				return flush()
			}
			return nil
		case deflated:
			return p.submit(&job{do: func(k *worker) error { return k.stream(e, packed) }, buffers: streamBuffers})
		default:
			return p.long(e)
		}
	})
	if err != nil {
		return err
	}
	return flush()
}

// cutBehind says whether a group may end behind an entry that takes n bytes: with
// a chance of n in meanCut, by the path's FNV-1a hash, whose bits are then mixed
// as by MurmurHash3.
func cutBehind(path string, n int64) bool {
	h := uint64(0xcbf29ce484222325)
	for i := range len(path) {
		h = (h ^ uint64(path[i])) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h < math.MaxUint64/meanCut*uint64(min(n, meanCut))
}

// deflated says whether the entry's content is a deflate stream, and how long.
func (e *Entry) deflated() (int64, bool) {
	d, ok := e.Content.(Deflated)
	if !ok || e.Kind != File || e.Size == 0 {
		return 0, false
	}
	n, ok := d.DeflatedSize()
	return n, ok && n >= 0
}

// long reads a file that has to be compressed, and makes a job of each piece.
// Each may refer to the one before.
func (p *pipeline) long(e *Entry) error {
	head, err := appendHeaders(nil, e, p.time)
	if err != nil {
		return e.failed(err)
	}
	r, err := e.Content.Open()
	if err != nil {
		return e.failed(err)
	}
	defer r.Close()
	var before []byte
	for left := e.Size; left > 0; {
		if err := p.room.Acquire(p.ctx, pieceBuffers); err != nil {
			return err
		}
		piece := append(p.buffers.get(bufferSize), head...)
		n := int(min(left, pieceSize))
		if piece, err = readContent(piece, r, n); err != nil {
			return e.failed(err)
		}
		if left -= int64(n); left == 0 {
			if err := atEnd(r); err != nil {
				return e.failed(err)
			}
			piece = append(piece, zeros[:padding(e.Size)]...)
		}
		dict, text := before, piece
		before = slices.Clone(piece[max(0, len(piece)-maxWindow):])
		head = nil
		p.start(&job{do: func(k *worker) error { return k.block(text, dict) }, buffers: pieceBuffers})
	}
	return nil
}

// gzipSink completes a sink for a gzip layer.
type gzipSink struct {
	*sink
	crc    uint32
	length int64 // of the tar
	// blocks is told of each block, of which begun and size say where the
	// current job's are counted from; tail is the tar's end so far.
	blocks      func(Block)
	begun, from int64
	tail        []byte
	made        func(key SegmentKey, offset, size int64)
}

func (g *gzipSink) beginJob() { g.begun, g.from = g.length, g.size }

// take takes the next segment of a job.
func (g *gzipSink) take(s segment) error {
	if g.blocks != nil {
		g.index(s)
	}
	if g.made != nil && s.key != nil {
		g.made(*s.key, g.size, int64(len(s.gz)))
	}
	g.diffID.Write(s.tar)
	g.crc = crc32.Update(g.crc, crc32.IEEETable, s.tar)
	g.length += int64(len(s.tar))
	if len(s.gz) == 0 {
		return nil
	}
	_, err := g.Write(s.gz)
	return err
}

// index tells of the blocks that begin in a segment.
func (g *gzipSink) index(s segment) {
	seen := append(g.tail, s.tar...)
	for _, b := range s.starts {
		n := int64(len(g.tail)) + g.begun + b.at - g.length
		g.blocks(Block{Bit: g.from*8 + b.bit, Offset: g.begun + b.at, Window: seen[max(0, n-maxWindow):n]})
	}
	g.tail = append(g.tail[:0], seen[max(0, len(seen)-maxWindow):]...)
}

// end writes the tar's and the gzip's ends.
func (g *gzipSink) end() error {
	var w bitWriter
	w.fixed(zeros[:2*tarBlock], true)
	w.align()
	g.diffID.Write(zeros[:2*tarBlock])
	g.crc = crc32.Update(g.crc, crc32.IEEETable, zeros[:2*tarBlock])
	w.buf = binary.LittleEndian.AppendUint32(w.buf, g.crc)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(g.length+2*tarBlock)) // modulo 2³², RFC 1952
	_, err := g.Write(w.buf)
	return err
}

// buffers keeps buffers for their next use.
type buffers struct {
	most int // that are kept
	mu   sync.Mutex
	free [][]byte
}

// get returns an empty buffer for n bytes.
func (b *buffers) get(n int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.free) - 1; i >= 0; i-- {
		if cap(b.free[i]) >= n {
			found := b.free[i]
			b.free = slices.Delete(b.free, i, i+1)
			return found
		}
	}
	return make([]byte, 0, n)
}

// put takes a buffer back. Larger ones than usual are not kept.
func (b *buffers) put(p []byte) {
	if cap(p) == 0 || cap(p) > bufferSize {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.free) < b.most {
		b.free = append(b.free, p[:0])
	}
}
