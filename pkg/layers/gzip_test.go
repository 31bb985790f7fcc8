package layers

import (
	"archive/tar"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// packed is a deflated content as an archive has it: with a length and a CRC
// that may be wrong.
type packed struct {
	raw  []byte
	size int64 // of raw, as announced
	crc  uint32
	read func(io.Reader) io.Reader // how the stream comes, nil: at once
}

var errCRC = errors.New("has another CRC")

func (p *packed) Open() (io.ReadCloser, error) {
	return flate.NewReader(bytes.NewReader(p.raw)), nil
}

func (p *packed) DeflatedSize() (int64, bool) { return p.size, true }

func (p *packed) OpenDeflated() (DeflatedReader, error) {
	r := io.Reader(bytes.NewReader(p.raw))
	if p.read != nil {
		r = p.read(r)
	}
	return &packedReader{Reader: r, want: p.crc}, nil
}

type packedReader struct {
	io.Reader
	crc, want uint32
}

func (p *packedReader) Close() error      { return nil }
func (p *packedReader) Inflated(b []byte) { p.crc = crc32.Update(p.crc, crc32.IEEETable, b) }
func (p *packedReader) Finish(err error) error {
	if err == nil && p.crc != p.want {
		return errCRC
	}
	return err
}

// packedEntry is a file that is kept deflated.
func packedEntry(path string, raw, text []byte) Entry {
	return Entry{Path: path, Kind: File, Mode: 0o644, Size: int64(len(text)), Origin: "test",
		Content: &packed{raw: raw, size: int64(len(raw)), crc: crc32.ChecksumIEEE(text)}}
}

// plainTar is t's tar as archive/tar writes it, with contents read by Open.
func plainTar(t testing.TB, tr Tree) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, tr, Options{Compression: None}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// checkLayer writes t, and holds what comes out against the ordinary way and
// the standard library.
func checkLayer(t testing.TB, tr Tree) []byte {
	t.Helper()
	var b bytes.Buffer
	d, err := Write(t.Context(), &b, tr, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := plainTar(t, tr)
	checkBytes(t, b.Bytes(), d, want)
	return b.Bytes()
}

func checkBytes(t testing.TB, layer []byte, d Descriptor, want []byte) {
	t.Helper()
	in := bytes.NewReader(layer)
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	got, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if in.Len() != 0 {
		t.Errorf("%d bytes behind the only member", in.Len())
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes of tar differ from the %d that there should be", len(got), len(want))
	}
	if sum := sha256.Sum256(layer); d.Digest.Hex != hex.EncodeToString(sum[:]) || d.Size != int64(len(layer)) {
		t.Errorf("digest %s of %d bytes is not right", d.Digest, d.Size)
	}
	if sum := sha256.Sum256(want); d.DiffID.Hex != hex.EncodeToString(sum[:]) {
		t.Errorf("diffID %s is not right", d.DiffID)
	}
}

// allSorts is a tree of every kind of entry and source, with files below and
// above each bound.
func allSorts(t testing.TB) Tree {
	t.Helper()
	entries := []Entry{
		link("l", "deep/text-6"), {Path: "h", Kind: Hardlink, Link: "plain/text"}, {Path: "gone", Kind: Whiteout},
		{Path: "opaque", Kind: Dir, Mode: 0o700, Opaque: true}, {Path: "empty", Kind: File, Mode: 0o600},
		{Path: "pax", Kind: File, Mode: 0o4755, UID: 3_000_000, Xattrs: map[string]string{"user.a": strings.Repeat("x", 3000)}},
		file(strings.Repeat("long/", 60)+"name", "text"),
		{Path: "none", Kind: File, Mode: 0o644, Content: &packed{raw: []byte{3, 0}, size: 2}},
	}
	for name, text := range samples() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 9} {
			entries = append(entries, packedEntry(fmt.Sprintf("deep/%s-%d", name, level), deflated(t, text, level, 0), text))
		}
		entries = append(entries, packedEntry("flushed/"+name, deflated(t, text, 6, 5000), text), file("plain/"+name, string(text)))
	}
	for i, n := range []int{1, 2, 511, 512, 513, pieceSize - 2*tarBlock, pieceSize - 2*tarBlock + 1, pieceSize, 2*pieceSize + 77} {
		text := bytes.Repeat(samples()["text"], n/400_000+1)[:n]
		entries = append(entries, packedEntry(fmt.Sprintf("size/deflated-%d", i), deflated(t, text, 6, 0), text),
			packedEntry(fmt.Sprintf("size/stored-%d", i), deflated(t, text, 0, 0), text), file(fmt.Sprintf("size/plain-%d", i), string(text)))
	}
	return tree(t, entries...)
}

func TestGzip(t *testing.T) {
	tr := allSorts(t)
	layer := checkLayer(t, tr)
	checkLayer(t, Tree{})
	for _, e := range tr.Entries() {
		if e.Kind == File {
			checkLayer(t, tree(t, e))
		}
	}
	t.Run("read back", func(t *testing.T) {
		back, err := ReadTar(func() (io.ReadCloser, error) { return gzip.NewReader(bytes.NewReader(layer)) })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(list(tr), list(back)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("same bytes on any machine", func(t *testing.T) {
		for _, n := range []int{1, 2, 3, 16} {
			before := runtime.GOMAXPROCS(n)
			again := checkLayer(t, tr)
			runtime.GOMAXPROCS(before)
			if !bytes.Equal(again, layer) {
				t.Errorf("with %d processors the layer is another", n)
			}
		}
	})
	t.Run("same bytes however they are read", func(t *testing.T) {
		for _, slow := range []func(io.Reader) io.Reader{iotest.HalfReader, iotest.DataErrReader, iotest.OneByteReader} {
			var all []Entry
			for _, e := range tr.Entries() {
				if p, ok := e.Content.(*packed); ok {
					slower := *p
					slower.read = slow
					e.Content = &slower
				}
				all = append(all, e)
			}
			if again := checkLayer(t, tree(t, all...)); !bytes.Equal(again, layer) {
				t.Error("the layer is another")
			}
		}
	})
}

// TestGzipBytes holds the bytes of a layer. Where they change, whatever the
// cause (a newer compressor is one), change Format, so that nothing on record is
// taken for what it is not.
func TestGzipBytes(t *testing.T) {
	text := samples()["text"]
	raw := deflated(t, text, 0, 0) // stored blocks do not change with Go's version
	tr := tree(t, packedEntry("a/deflated", raw, text), file("b/text", string(text)), file("c/short", "short"), link("l", "c/short"))
	d, err := Write(t.Context(), io.Discard, tr, Options{Time: time.Unix(1_700_000_000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	const want = "layer/3 92a34a5b3c72f4256ae5864e8daa7011f2b99be15a20f96b7f8c2921116d04fe"
	if got := Format + " " + d.Digest.Hex; got != want {
		t.Errorf("%s, was %s", got, want)
	}
}

// TestGzipRefuses gives it contents that are not what they are said to be.
func TestGzipRefuses(t *testing.T) {
	for _, n := range []int{100, 3 * pieceSize} { // in a group, and as a stream
		text := bytes.Repeat(samples()["text"], 5)[:n]
		raw := deflated(t, text, 6, 0)
		damaged := bytes.Clone(raw)
		for i := len(damaged) / 2; i < len(damaged)/2+20; i++ {
			damaged[i] ^= 0x55
		}
		for name, c := range map[string]struct {
			raw  []byte
			size int64 // of the text
			crc  []byte
			want error
		}{
			"shorter":       {raw, int64(n) + 1, text, errFewerInflated},
			"longer":        {raw, int64(n) - 1, text, errMoreInflated},
			"much longer":   {raw, 1, text, errMoreInflated},
			"over 4 GiB":    {raw, 5 << 30, text, errFewerInflated},
			"of any size":   {raw, 1<<63 - 1, text, errFewerInflated},
			"another CRC":   {raw, int64(n), text[1:], errCRC},
			"cut":           {raw[:len(raw)-1], int64(n), text, errTruncated},
			"bytes behind":  {append(bytes.Clone(raw), 0), int64(n), text, errBehind},
			"much behind":   {append(bytes.Clone(raw), make([]byte, 3*pieceSize)...), int64(n), text, errBehind},
			"damaged":       {damaged, int64(n), text, nil},
			"nothing":       {nil, int64(n), text, errTruncated},
			"not deflate":   {[]byte("hello, world"), int64(n), text, nil},
			"another entry": {deflated(t, []byte("x"), 6, 0), int64(n), text, errFewerInflated},
		} {
			t.Run(fmt.Sprintf("%s, %d bytes", name, n), func(t *testing.T) {
				e := packedEntry("x", c.raw, c.crc)
				e.Size = c.size
				_, err := Write(t.Context(), io.Discard, tree(t, e), Options{})
				if err == nil || (c.want != nil && !errors.Is(err, c.want)) {
					t.Errorf("%v; want %v", err, c.want)
				}
				if err != nil && !strings.Contains(err.Error(), `write "x" of test`) {
					t.Errorf("%v does not say what it is about", err)
				}
			})
		}
		for name, delta := range map[string]int64{"stream longer than announced": -1, "stream shorter than announced": 1} {
			e := packedEntry("x", raw, text)
			e.Content.(*packed).size += delta
			if _, err := Write(t.Context(), io.Discard, tree(t, e), Options{}); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	}
}

// FuzzHeaders holds our own headers against archive/tar's.
func FuzzHeaders(f *testing.F) {
	f.Add("usr/lib/x", true, uint16(0o4755), 0, 0, int64(0), int64(0))
	f.Add(strings.Repeat("x", 99), false, uint16(0o755), 1<<21-1, 1, int64(8<<30-1), int64(8<<30-1))
	f.Add(strings.Repeat("x", 100), false, uint16(0o7777), 1<<21, 1, int64(8<<30), int64(8<<30))
	f.Add(strings.Repeat("x", 100), true, uint16(0), 1, 1<<21, int64(8<<30), int64(5))
	f.Add("é/x", true, uint16(0o644), -1, -1, int64(7), int64(-1))
	f.Fuzz(func(t *testing.T, path string, isFile bool, mode uint16, uid, gid int, size, seconds int64) {
		e := Entry{Path: path, Kind: Dir, Mode: uint32(mode) & 0o7777, UID: uid, GID: gid}
		if isFile {
			e.Kind, e.Size = File, max(size, 0)
		}
		if check(&e) != nil {
			return
		}
		at := time.Unix(seconds, 0)
		got, ok := appendShort(nil, &e, at)
		if !ok {
			return
		}
		var want bytes.Buffer
		if err := writeHeaders(tar.NewWriter(&want), &e, at); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("%q; archive/tar says %q, %v", got, want.Bytes(), err)
		}
	})
}

// TestSumTellsHowContentsAreKept: trees whose layers differ have different sums.
func TestSumTellsHowContentsAreKept(t *testing.T) {
	text := samples()["text"]
	seen := map[string]string{}
	for name, e := range map[string]Entry{
		"plain": file("x", string(text)), "level 1": packedEntry("x", deflated(t, text, 1, 0), text), "level 6": packedEntry("x", deflated(t, text, 6, 0), text),
	} {
		sum, err := Sum(t.Context(), tree(t, e))
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[sum.Hex]; ok {
			t.Errorf("%s and %s have one sum", name, other)
		}
		seen[sum.Hex] = name
	}
}

// TestGzipRefusesInOrder: of several errors it is the first entry's that comes
// back, whoever was faster.
func TestGzipRefusesInOrder(t *testing.T) {
	big := make([]byte, 3*pieceSize)
	for range 20 {
		a, b := packedEntry("a", deflated(t, big, 1, 0), big), packedEntry("b", []byte{7}, []byte("x"))
		a.Content.(*packed).crc++
		if _, err := Write(t.Context(), io.Discard, tree(t, a, b), Options{}); !errors.Is(err, errCRC) {
			t.Fatal(err)
		}
	}
}

func TestGzipStops(t *testing.T) {
	tr := allSorts(t)
	before := runtime.NumGoroutine()
	for n := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Write(ctx, writerFunc(func(p []byte) (int, error) {
			if n--; n < 0 {
				cancel()
			}
			return len(p), nil
		}), tr, Options{})
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	full := errors.New("disk full")
	if _, err := Write(t.Context(), writerFunc(func(p []byte) (int, error) { return 0, full }), tr, Options{}); !errors.Is(err, full) {
		t.Error(err)
	}
	// Write waits for its goroutines' last statement; they are gone a moment later.
	for until := time.Now().Add(2 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d goroutines are left", runtime.NumGoroutine()-before)
		}
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestGzipBlocks inflates a layer from each of its blocks on.
func TestGzipBlocks(t *testing.T) {
	tr := allSorts(t)
	var layer bytes.Buffer
	type at struct {
		bit, offset int64
		window      []byte
	}
	var blocks []at
	d, err := Write(t.Context(), &layer, tr, Options{Blocks: func(b Block) {
		blocks = append(blocks, at{b.Bit, b.Offset, bytes.Clone(b.Window)})
	}})
	if err != nil {
		t.Fatal(err)
	}
	if plain, _ := Write(t.Context(), io.Discard, tr, Options{}); plain.Digest != d.Digest {
		t.Error("telling of the blocks changes the layer")
	}
	want := plainTar(t, tr)
	if len(blocks) < 300 || blocks[0].bit != 80 || blocks[0].offset != 0 {
		t.Fatalf("%d blocks", len(blocks))
	}
	r := rand.New(rand.NewPCG(1, 1))
	for i, b := range blocks {
		if i > 0 && (b.bit <= blocks[i-1].bit || b.offset < blocks[i-1].offset) {
			t.Fatalf("block %d: %d %d is not behind %d %d", i, b.bit, b.offset, blocks[i-1].bit, blocks[i-1].offset)
		}
		if !bytes.Equal(b.window, want[max(0, b.offset-maxWindow):b.offset]) {
			t.Fatalf("block %d: another window", i)
		}
		if i > 5 && r.IntN(10) > 0 {
			continue
		}
		var z inflater
		z.in = bytes.Clone(layer.Bytes()[b.bit/8:])
		z.ip, z.bits, z.nb = 1, uint64(z.in[0]>>(b.bit%8)), 8-uint(b.bit%8)
		z.op = len(b.window)
		z.limit = z.op + 5000
		z.out = append(b.window, make([]byte, 5000+outSlack)...)
		if _, err := z.run(); err != nil {
			t.Fatalf("block %d: %v", i, err)
		}
		if got := z.out[len(b.window):z.op]; !bytes.HasPrefix(want[b.offset:], got) || len(got) == 0 {
			t.Fatalf("block %d: %d other bytes come from bit %d", i, len(got), b.bit)
		}
	}
}

// long is a deflated content of any length: one stored block and one compressed
// one, again and again.
type long struct {
	unit, text []byte
	n          int
	crc        uint32
}

func newLong(t testing.TB, n int) *long {
	l := &long{text: samples()["text"][:200_000], n: n}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(l.text); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	l.unit = b.Bytes()
	for range n {
		l.crc = crc32.Update(l.crc, crc32.IEEETable, l.text)
	}
	return l
}

func (l *long) entry() Entry {
	return Entry{Path: "long", Kind: File, Mode: 0o644, Size: int64(l.n * len(l.text)), Content: l}
}

func (l *long) DeflatedSize() (int64, bool) { return int64(l.n*len(l.unit) + 2), true }

func (l *long) OpenDeflated() (DeflatedReader, error) {
	return &packedReader{Reader: io.MultiReader(&repeated{l.unit, l.n * len(l.unit), 0}, strings.NewReader("\x03\x00")), want: l.crc}, nil
}

func (l *long) Open() (io.ReadCloser, error) {
	return io.NopCloser(&repeated{l.text, l.n * len(l.text), 0}), nil
}

// repeated reads unit again and again, left bytes in all.
type repeated struct {
	unit     []byte
	left, at int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.left)], r.unit[r.at:])
	r.left -= n
	r.at = (r.at + n) % len(r.unit)
	return n, nil
}

// peakHeap returns the most that the heap grew to while f ran.
func peakHeap(f func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, peak := m.HeapAlloc, m.HeapAlloc
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
			}
		}
	}()
	f()
	close(done)
	<-stopped
	return peak - before
}

// TestGzipMemory writes long files: the memory that takes does not grow with
// them.
func TestGzipMemory(t *testing.T) {
	for _, c := range []Content{newLong(t, 1000), opened{newLong(t, 200)}} {
		n := 1000
		if o, ok := c.(opened); ok {
			n = o.Content.(*long).n
		}
		tr := tree(t, Entry{Path: "long", Kind: File, Mode: 0o644, Size: int64(n * 200_000), Content: c})
		var err error
		peak := peakHeap(func() { _, err = Write(t.Context(), io.Discard, tr, Options{}) })
		if err != nil {
			t.Fatal(err)
		}
		if peak > 48<<20 {
			t.Errorf("%d MB at a file of %d MB", peak>>20, n/5)
		}
	}
}

// TestGzipOver4GiB writes a file whose size does not fit into gzip's trailer nor
// ustar's 32 bits, and reads it back. It takes a minute.
func TestGzipOver4GiB(t *testing.T) {
	if os.Getenv("LARGE") == "" {
		t.Skip("takes a minute; set LARGE=1")
	}
	l := newLong(t, 45_000) // 9 GB, over tar's 8 GiB too
	tr := tree(t, l.entry())
	r, w := io.Pipe()
	var d Descriptor
	go func() {
		var err error
		d, err = Write(t.Context(), w, tr, Options{})
		w.CloseWithError(err)
	}()
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, z); err != nil {
		t.Fatal(err)
	}
	want, err := Write(t.Context(), io.Discard, tr, Options{Compression: None})
	if err != nil {
		t.Fatal(err)
	}
	if got := digestOf(sum); got != want.DiffID || got != d.DiffID {
		t.Errorf("diffID %s and %s; archive/tar gives %s", got, d.DiffID, want.DiffID)
	}
}

// opened hides that a content is deflated.
type opened struct{ Content }

// FuzzSplice: whatever a stream and its announced sizes are, a layer either is
// refused or right, and it is right where the standard library takes the stream.
func FuzzSplice(f *testing.F) {
	for _, raw := range hostile() {
		f.Add(raw, int32(0), false)
	}
	for _, text := range samples() {
		raw := deflated(f, text[:min(len(text), 2000)], 6, 700)
		f.Add(raw, int32(0), true)
		f.Add(raw, int32(1), true)
		f.Add(append(raw, 0), int32(0), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, lie int32, streamed bool) {
		text, used, err := standard(raw, 1<<20)
		if len(text) == 1<<20 {
			return
		}
		e := packedEntry("dir/file", raw, text)
		e.Size = max(e.Size+int64(lie), 1)
		right := err == nil && used == len(raw) && e.Size == int64(len(text))
		var layer bytes.Buffer
		var d Descriptor
		if streamed {
			d, err = writeStreamed(t.Context(), &layer, e)
		} else {
			d, err = Write(t.Context(), &layer, tree(t, e), Options{})
		}
		if (err == nil) != right {
			t.Fatalf("%v; it is right: %v", err, right)
		}
		if right {
			checkBytes(t, layer.Bytes(), d, plainTar(t, tree(t, file("dir/file", string(text)))))
		}
	})
}

// writeStreamed writes a layer of one file as if the file were a long one.
func writeStreamed(ctx context.Context, w io.Writer, e Entry) (Descriptor, error) {
	out := newSink(w)
	tr, err := NewTree([]Entry{e})
	if err == nil {
		err = run(ctx, out, Options{}, func(p *pipeline) error {
			for i := range tr.entries {
				e := &tr.entries[i]
				do := func(k *worker) error { return k.group([]*Entry{e}, 2*tarBlock) }
				if size, ok := e.deflated(); ok {
					do = func(k *worker) error { return k.stream(e, size) }
				}
				if err := p.submit(&job{do: do, buffers: streamBuffers}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return Descriptor{Digest: digestOf(out.digest), DiffID: digestOf(out.diffID), Size: out.size}, err
}
