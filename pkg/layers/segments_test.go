package layers

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// summed is a content with a known digest that counts how often it is opened.
type summed struct {
	text   []byte
	opened atomic.Int32
	sum    *[sha256.Size]byte
}

func newSummed(text []byte) *summed {
	h := sha256.Sum256(text)
	return &summed{text: text, sum: &h}
}

func (s *summed) Sum() (sum [sha256.Size]byte, ok bool) {
	if s.sum == nil {
		return sum, false
	}
	return *s.sum, true
}

func (s *summed) Open() (io.ReadCloser, error) {
	s.opened.Add(1)
	return Bytes(s.text).Open()
}

func summedFile(path, text string) Entry {
	return Entry{Path: path, Kind: File, Mode: 0o644, Size: int64(len(text)), Content: newSummed([]byte(text)), Origin: "test"}
}

// sources are many small files of one kind.
func sources(n int) []Entry {
	r := rand.New(rand.NewPCG(7, 7))
	text := samples()["text"]
	var all []Entry
	for i := range n {
		size := min(int(r.ExpFloat64()*2048), 30_000)
		at := r.IntN(len(text) - size)
		all = append(all, summedFile(fmt.Sprintf("app/%s/part%d/file%d.py", []string{"api", "core", "web"}[i%3], i/40, i), string(text[at:at+size])))
	}
	return all
}

// written is a layer with all that Write tells of it.
type written struct {
	layer  []byte
	desc   Descriptor
	index  SegmentIndex
	blocks []seenBlock
}

// seenBlock is a Block with its window's digest.
type seenBlock struct {
	bit, offset int64
	window      [sha256.Size]byte
}

func write(t testing.TB, tr Tree, reuse Segments) written {
	t.Helper()
	var w written
	var b bytes.Buffer
	var err error
	w.desc, err = Write(t.Context(), &b, tr, Options{
		Time: time.Unix(1_700_000_000, 0), Reuse: reuse, Made: w.index.Add,
		Blocks: func(b Block) { w.blocks = append(w.blocks, seenBlock{b.Bit, b.Offset, sha256.Sum256(b.Window)}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.layer = b.Bytes()
	return w
}

func (w written) segments() Segments {
	return OpenSegments(bytes.NewReader(w.layer), int64(len(w.layer)), w.index)
}

// opened returns how many contents were opened since the last call.
func openedSince(tr Tree) (n int) {
	for _, e := range tr.Entries() {
		if s, ok := e.Content.(*summed); ok {
			n += int(s.opened.Swap(0))
		}
	}
	return n
}

func sameLayer(t testing.TB, got, want written) {
	t.Helper()
	if !bytes.Equal(got.layer, want.layer) || got.desc != want.desc {
		t.Fatalf("another layer, of %d bytes instead of %d", len(got.layer), len(want.layer))
	}
	if !slices.Equal(got.index.segments, want.index.segments) {
		t.Errorf("%d other segments; want %d", got.index.Len(), want.index.Len())
	}
	if !slices.Equal(got.blocks, want.blocks) {
		t.Errorf("%d other blocks; want %d", len(got.blocks), len(want.blocks))
	}
}

func TestReuse(t *testing.T) {
	entries := append(sources(800), allSorts(t).Entries()...)
	entries = append(entries, summedFile("app/long", strings.Repeat("long text ", 200_000)), summedFile("app/nothing", ""),
		summedFile("app/"+strings.Repeat("x", 150), "PAX"), link("app/link", "long"),
		Entry{Path: "app/mode", Kind: File, Mode: 0o755, Xattrs: map[string]string{"user.a": strings.Repeat("b", 2000)}, Size: 1, Content: newSummed([]byte("x"))})
	tr := tree(t, slices.DeleteFunc(entries, func(e Entry) bool { return e.Implied })...)
	first := write(t, tr, nil)
	checkBytes(t, first.layer, first.desc, withTime(t, tr))
	if plain, err := Write(t.Context(), io.Discard, tr, Options{Time: time.Unix(1_700_000_000, 0)}); err != nil || plain != first.desc {
		t.Fatalf("telling of segments changes the layer: %v", err)
	}
	if n := first.index.Len(); n < 8 {
		t.Fatalf("%d segments", n)
	}
	t.Run("all", func(t *testing.T) {
		openedSince(tr)
		sameLayer(t, write(t, tr, first.segments()), first)
		if n := openedSince(tr); n > 60 { // those beside contents that are deflated or not summed, and the long one
			t.Errorf("%d contents were opened", n)
		}
	})
	t.Run("another time", func(t *testing.T) {
		openedSince(tr)
		d, err := Write(t.Context(), io.Discard, tr, Options{Reuse: first.segments()})
		want, _ := Write(t.Context(), io.Discard, tr, Options{})
		if err != nil || d != want {
			t.Errorf("%v, %v; want %v", d, err, want)
		}
	})
	t.Run("by the index as it is kept", func(t *testing.T) {
		var back SegmentIndex
		text, err := json.Marshal(first.index)
		if err == nil {
			err = json.Unmarshal(text, &back)
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first.index, back, cmp.AllowUnexported(SegmentIndex{}, placed{})); diff != "" {
			t.Error(diff)
		}
	})
}

// withTime is plainTar at the time that write uses.
func withTime(t testing.TB, tr Tree) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, tr, Options{Compression: None, Time: time.Unix(1_700_000_000, 0)}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestReuseAfterAChange: whatever happens to a file, few others are opened, and
// the layer is the one that it would be without the one before.
func TestReuseAfterAChange(t *testing.T) {
	base := sources(2000)
	before := write(t, tree(t, slices.Clone(base)...), nil)
	r := rand.New(rand.NewPCG(3, 3))
	total, most := 0, 0
	const rounds = 30
	for n := range rounds {
		entries, i := slices.Clone(base), r.IntN(len(base))
		switch n % 5 {
		case 0:
			entries[i] = summedFile(base[i].Path, "changed")
		case 1:
			entries = slices.Delete(entries, i, i+1)
		case 2:
			entries = append(entries, summedFile(base[i].Path+"c", "added"))
		case 3:
			entries[i].Mode = 0o755
		case 4:
			entries[i] = summedFile(base[i].Path, strings.Repeat("grown ", 5000))
		}
		tr := tree(t, entries...)
		openedSince(tr)
		after := write(t, tr, before.segments())
		opened := openedSince(tr)
		if n < 5 {
			sameLayer(t, after, write(t, tr, nil))
		}
		changed := 0
		for _, s := range after.index.segments {
			if !slices.ContainsFunc(before.index.segments, func(o placed) bool { return o.key == s.key }) {
				changed++
			}
		}
		if total, most = total+changed, max(most, changed); opened > changed*250 {
			t.Errorf("%d contents were opened for %d segments", opened, changed)
		}
	}
	if groups := before.index.Len(); groups < 15 || total > rounds*3/2 || most > 4 {
		t.Errorf("%d changes changed %d segments, at most %d at once, of %d", rounds, total, most, groups)
	}
}

// segmentsFunc is Segments that a test makes.
type segmentsFunc func(buf []byte, key SegmentKey) ([]byte, bool)

func (f segmentsFunc) Segment(buf []byte, key SegmentKey) ([]byte, bool) { return f(buf, key) }

// TestReuseRefuses: what is wrong with a segment costs time only.
func TestReuseRefuses(t *testing.T) {
	tr := tree(t, sources(300)...)
	want := write(t, tr, nil)
	good := want.segments()
	other := write(t, tree(t, summedFile("app/x", "x")), nil)
	for name, wrong := range map[string]func(gz []byte) []byte{
		"nothing":        func([]byte) []byte { return nil },
		"cut":            func(gz []byte) []byte { return gz[:len(gz)-1] },
		"cut in half":    func(gz []byte) []byte { return gz[:len(gz)/2] },
		"bytes behind":   func(gz []byte) []byte { return append(gz, 0) },
		"block behind":   func(gz []byte) []byte { return append(gz, 0, 0, 0, 0xff, 0xff, 0x03, 0x00) },
		"text behind":    func(gz []byte) []byte { return append(gz, 0, 1, 0, 0xfe, 0xff, 'x') },
		"a last block":   func(gz []byte) []byte { return append(gz, 0x03, 0x00) },
		"its first last": func(gz []byte) []byte { gz[0] |= 1; return gz },
		"ends at a bit":  func(gz []byte) []byte { return append(gz, 0b010, 0b100, 0) },
		"another":        func([]byte) []byte { gz, _ := other.segments().Segment(nil, other.index.segments[0].key); return gz },
		"noise":          func([]byte) []byte { return samples()["noise"] },
		"zeros":          func([]byte) []byte { return samples()["zeros"] },
		"a bomb":         func([]byte) []byte { return deflated(t, make([]byte, 5<<20), 9, 0) },
		"a flipped bit":  func(gz []byte) []byte { gz[len(gz)*2/3] ^= 4; return gz },
		"another text":   func([]byte) []byte { return flushed(t, bytes.Repeat([]byte("x"), 250_000)) },
	} {
		t.Run(name, func(t *testing.T) {
			openedSince(tr)
			sameLayer(t, write(t, tr, segmentsFunc(func(buf []byte, key SegmentKey) ([]byte, bool) {
				gz, ok := good.Segment(buf, key)
				return wrong(gz), ok
			})), want)
			if n := openedSince(tr); n != 300 {
				t.Errorf("%d contents were opened", n)
			}
		})
	}
	t.Run("each byte of what it stands for", func(t *testing.T) {
		// Right streams of a tar that is wrong in one byte, header, content or padding.
		small := tree(t, summedFile("app/x", "text"))
		want := write(t, small, nil)
		text := withTime(t, small)
		text = text[:len(text)-2*tarBlock]
		for i := range text {
			for _, flip := range []byte{0, 1} {
				if flip == 0 && i > 0 {
					continue
				}
				wrong := bytes.Clone(text)
				wrong[i] ^= flip
				openedSince(small)
				got := write(t, small, segmentsFunc(func(buf []byte, key SegmentKey) ([]byte, bool) { return append(buf, flushed(t, wrong)...), true }))
				if reused := openedSince(small) == 0; reused == (flip == 1) {
					t.Fatalf("byte %d, flipped by %d: reused is %t", i, flip, reused)
				}
				if flip == 1 {
					sameLayer(t, got, want)
				}
			}
		}
	})
	t.Run("a layer that is shorter", func(t *testing.T) {
		n := len(want.layer) / 2
		sameLayer(t, write(t, tr, OpenSegments(bytes.NewReader(want.layer[:n]), int64(n), want.index)), want)
		sameLayer(t, write(t, tr, OpenSegments(bytes.NewReader(want.layer[:n]), int64(len(want.layer)), want.index)), want)
	})
}

// flushed deflates b without a last block.
func flushed(t testing.TB, b []byte) []byte {
	raw := deflated(t, b, 1, len(b))
	return raw[:len(raw)-5] // compress/flate ends with an empty stored block
}

// TestReuseKeys: what shapes a segment is in its key.
func TestReuseKeys(t *testing.T) {
	base := func() []Entry { return []Entry{summedFile("a", "one"), summedFile("b", "two"), link("c", "a")} }
	seen := map[SegmentKey]string{}
	for name, change := range map[string]func(e []Entry) []Entry{
		"same":     func(e []Entry) []Entry { return e },
		"path":     func(e []Entry) []Entry { e[1].Path = "bb"; return e },
		"long":     func(e []Entry) []Entry { e[1].Path = strings.Repeat("b", 200); return e },
		"mode":     func(e []Entry) []Entry { e[1].Mode = 0o600; return e },
		"owner":    func(e []Entry) []Entry { e[1].UID = 7; return e },
		"group":    func(e []Entry) []Entry { e[1].GID = 7; return e },
		"size":     func(e []Entry) []Entry { e[1] = summedFile("b", "three"); return e },
		"content":  func(e []Entry) []Entry { e[1] = summedFile("b", "owt"); return e },
		"link":     func(e []Entry) []Entry { e[2].Link = "b"; return e },
		"xattr":    func(e []Entry) []Entry { e[1].Xattrs = map[string]string{"user.a": "b"}; return e },
		"swapped":  func(e []Entry) []Entry { e[0].Content, e[1].Content = e[1].Content, e[0].Content; return e },
		"fewer":    func(e []Entry) []Entry { return e[1:] },
		"more":     func(e []Entry) []Entry { return append(e, summedFile("d", "")) },
		"opaque":   func(e []Entry) []Entry { return append(e, Entry{Path: "d", Kind: Dir, Mode: 0o755, Opaque: true}) },
		"whiteout": func(e []Entry) []Entry { return append(e, Entry{Path: "d", Kind: Whiteout}) },
	} {
		w := write(t, tree(t, change(base())...), nil)
		if w.index.Len() != 1 {
			t.Fatalf("%s: %d segments", name, w.index.Len())
		}
		key := w.index.segments[0].key
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s have one key", name, other)
		}
		seen[key] = name
	}
	var index SegmentIndex
	if _, err := Write(t.Context(), io.Discard, tree(t, base()...), Options{Made: index.Add}); err != nil {
		t.Fatal(err)
	}
	if other, ok := seen[index.segments[0].key]; ok {
		t.Errorf("another time and %s have one key", other)
	}
	for name, e := range map[string]Entry{
		"not summed": file("b", "two"), "sum not known": {Path: "b", Kind: File, Size: 3, Content: &summed{text: []byte("two")}},
		"deflated": packedEntry("b", deflated(t, []byte("two"), 6, 0), []byte("two")),
	} {
		if w := write(t, tree(t, summedFile("a", "one"), e), nil); w.index.Len() != 0 {
			t.Errorf("%s: has a key", name)
		}
	}
}

// failing is a summed content that ends in an error.
type failing struct{ *summed }

var errFailing = errors.New("changed while it was read")

func (f failing) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(f.text), errReader{})), nil
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errFailing }

// TestContentEnds: an error at the very end of a content is one, and so is any
// other number of bytes.
func TestContentEnds(t *testing.T) {
	for _, n := range []int{0, 1, 5000, pieceSize, 2 * pieceSize} {
		text := bytes.Repeat([]byte("x"), n)
		for name, c := range map[string]struct {
			content Content
			want    error
		}{
			"error at the end": {failing{newSummed(text)}, errFailing},
			"cut":              {unexpectedEnd{Bytes(text)}, io.ErrUnexpectedEOF},
			"grown":            {Bytes(append(bytes.Clone(text), 'x')), errGrown},
			"shrunk":           {Bytes(text[:max(n-1, 0)]), errShrunk},
			"right":            {Bytes(text), nil},
		} {
			if name == "shrunk" && n == 0 {
				continue
			}
			tr := tree(t, Entry{Path: "x", Kind: File, Size: int64(n), Content: c.content})
			for _, form := range []Compression{Gzip, None} {
				if _, err := Write(t.Context(), io.Discard, tr, Options{Compression: form}); !errors.Is(err, c.want) {
					t.Errorf("%s, %d bytes, %s: %v", name, n, form, err)
				}
			}
		}
	}
}

// unexpectedEnd is a content that ends in io.ErrUnexpectedEOF of its own.
type unexpectedEnd struct{ Content }

func (u unexpectedEnd) Open() (io.ReadCloser, error) {
	r, err := u.Content.Open()
	return io.NopCloser(io.MultiReader(r, endReader{})), err
}

type endReader struct{}

func (endReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestSumOfSummed(t *testing.T) {
	entries := sources(50)
	plain := slices.Clone(entries)
	for i, e := range plain {
		plain[i].Content = Bytes(e.Content.(*summed).text)
	}
	tr := tree(t, entries...)
	a, err := Sum(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	if n := openedSince(tr); n > 0 {
		t.Errorf("%d contents were opened", n)
	}
	b, err := Sum(t.Context(), tree(t, plain...))
	if err != nil || a != b {
		t.Errorf("%s and %s, %v", a, b, err)
	}
	empty, err1 := Sum(t.Context(), tree(t, Entry{Path: "x", Kind: File, Mode: 0o644}))
	same, err2 := Sum(t.Context(), tree(t, file("x", "")))
	if empty != same || errors.Join(err1, err2) != nil {
		t.Error("an empty file has two sums")
	}
}

func TestSegmentIndexRefuses(t *testing.T) {
	var x SegmentIndex
	for _, p := range []placed{{size: 0}, {size: -1}, {size: maxSegment + 1}, {offset: -1, size: 1}, {offset: maxOffset + 1, size: 1}} {
		x.Add(p.key, p.offset, p.size)
	}
	x.Add(SegmentKey{1}, 10, 20)
	x.Add(SegmentKey{2}, 29, 1) // within the one before
	if x.Len() != 1 {
		t.Errorf("%d segments", x.Len())
	}
	good, err := x.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"not base64": "?", "no format": "AAAA", "cut": string(good[:len(good)-4]), "more": strings.TrimRight(string(good), "=") + "AAAA",
		"too long": strings.Repeat("A", maxSegmentsText+4),
	} {
		back := x
		if err := back.UnmarshalText([]byte(text)); !errors.Is(err, errSegments) || back.Len() != 0 {
			t.Errorf("%s: %v, %d segments", name, err, back.Len())
		}
	}
	if err := x.UnmarshalText([]byte("bGF5ZXIvMgqq")); err != nil || x.Len() != 0 { // "layer/2\n…"
		t.Errorf("another format: %v, %d segments", err, x.Len())
	}
}

// FuzzSegmentIndex: an index is refused, or has one form, and leads nowhere
// outside the layer.
func FuzzSegmentIndex(f *testing.F) {
	var x SegmentIndex
	x.Add(SegmentKey{1}, 10, 20)
	x.Add(SegmentKey{2}, 30, maxSegment)
	text, err := x.MarshalText()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)-8])
	f.Add([]byte("bGF5ZXIvMwo="))
	layer := make([]byte, 1000)
	f.Fuzz(func(t *testing.T, text []byte) {
		var x SegmentIndex
		if x.UnmarshalText(text) != nil {
			return
		}
		s := OpenSegments(bytes.NewReader(layer), int64(len(layer)), x)
		for _, p := range x.segments {
			if gz, ok := s.Segment(nil, p.key); ok && len(gz) > len(layer) {
				t.Fatalf("%d bytes of a layer of %d", len(gz), len(layer))
			}
		}
		again, err := x.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back SegmentIndex
		if err := back.UnmarshalText(again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(x, back, cmp.AllowUnexported(SegmentIndex{}, placed{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzReuse: whatever a cache gives, the layer holds the right tar.
func FuzzReuse(f *testing.F) {
	tr := tree(f, summedFile("app/x", "some text, some text"), summedFile("app/y", strings.Repeat("y", 600)), link("l", "app/x"))
	w := write(f, tr, nil)
	want := withTime(f, tr)
	gz, _ := w.segments().Segment(nil, w.index.segments[0].key)
	f.Add(gz)
	f.Add(flushed(f, want[:len(want)-2*tarBlock]))
	f.Add(append(bytes.Clone(gz), 0, 0, 0, 0xff, 0xff))
	for _, raw := range hostile() {
		f.Add(raw)
		f.Add(append(bytes.Clone(gz), raw...))
	}
	f.Fuzz(func(t *testing.T, gz []byte) {
		got := write(t, tr, segmentsFunc(func(buf []byte, _ SegmentKey) ([]byte, bool) { return append(buf, gz...), true }))
		checkBytes(t, got.layer, got.desc, want)
		if z, err := gzip.NewReader(bytes.NewReader(got.layer)); err != nil || z.Header.Name != "" {
			t.Fatal(err)
		}
	})
}
