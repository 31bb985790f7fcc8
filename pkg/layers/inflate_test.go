package layers

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// inflateWhole inflates raw into a buffer for exactly size bytes. It returns the
// number of bits that the stream has, and raw with BFINAL cleared.
func inflateWhole(z *inflater, raw []byte, size int) (out, joinable []byte, bits int, err error) {
	z.begin()
	z.in, z.more = bytes.Clone(raw), false
	z.out = make([]byte, size+1+outSlack)
	z.base, z.op, z.limit = 0, 0, size+1
	s, err := z.run()
	if err == nil && (s != finished || z.op > size) {
		err = fmt.Errorf("stopped with %d behind %d bytes", s, z.op)
	}
	return z.out[:min(z.op, size)], z.in, z.used(), err
}

// inflatePieces inflates raw with small buffers, as a long stream is.
func inflatePieces(z *inflater, raw []byte, limit, feed int) (out []byte, bits int, err error) {
	z.begin()
	z.out = make([]byte, maxWindow+limit+outSlack)
	z.base, z.op, z.limit = 0, 0, limit
	given := min(feed, len(raw))
	z.in, z.more = bytes.Clone(raw[:given]), given < len(raw)
	before, from := 0, 0
	for {
		s, err := z.run()
		out = append(out, z.out[from:z.op]...)
		from = z.op
		if err != nil {
			return out, 0, err
		}
		switch s {
		case finished:
			return out, before*8 + z.used(), nil
		case needInput:
			if !z.more || len(z.in)-z.ip > maxKept {
				return out, 0, errors.New("asks for input it does not need")
			}
			keep := max(z.ip-1, 0)
			before += keep
			next := min(given+feed, len(raw))
			z.in, z.ip = append(bytes.Clone(z.in[keep:]), raw[given:next]...), z.ip-keep
			given, z.more = next, next < len(raw)
		case needOutput:
			n := min(z.op-z.base, maxWindow)
			copy(z.out, z.out[z.op-n:z.op])
			z.base, z.op, z.limit, from = 0, n, n+limit, n
		}
	}
}

// standard inflates raw with the standard library.
func standard(raw []byte, limit int64) ([]byte, int, error) {
	in := bytes.NewReader(raw)
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(in), limit))
	return out, len(raw) - in.Len(), err
}

// samples are texts of different kinds.
func samples() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	skewed := make([]byte, 300_000)
	for i := range skewed {
		skewed[i] = byte(min(r.ExpFloat64()*3, 255))
	}
	var words strings.Builder
	for words.Len() < 500_000 {
		fmt.Fprintf(&words, "def f%d(self, x%d):\n    return self.%c + %d\n", r.IntN(1000), r.IntN(10), 'a'+rune(r.IntN(26)), r.IntN(1<<16))
	}
	return map[string][]byte{
		"empty": nil, "one": []byte("x"), "zeros": make([]byte, 100_000), "noise": noise, "skewed": skewed,
		"text": []byte(words.String()), "pairs": bytes.Repeat([]byte("ab"), 5000), "sevens": bytes.Repeat([]byte("abcdefg"), 3000),
	}
}

func deflated(t testing.TB, b []byte, level int, flushEvery int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 {
		n := len(b)
		if flushEvery > 0 {
			n = min(n, flushEvery)
		}
		if _, err := w.Write(b[:n]); err != nil {
			t.Fatal(err)
		}
		if b = b[n:]; flushEvery > 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestInflate holds the inflater against the standard library over all kinds of
// blocks, whole and in pieces.
func TestInflate(t *testing.T) {
	var z inflater
	for name, text := range samples() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
			for _, every := range []int{0, 7000} {
				checkInflate(t, &z, fmt.Sprintf("%s at level %d flushed every %d", name, level, every), deflated(t, text, level, every))
			}
		}
	}
}

// checkInflate compares everything that is known of a stream. Streams with
// bytes behind their end are compared without them.
func checkInflate(t *testing.T, z *inflater, name string, raw []byte) {
	t.Helper()
	const limit = 600_000
	want, used, wantErr := standard(raw, limit)
	if len(want) == limit {
		return
	}
	got, joinable, bits, err := inflateWhole(z, raw, len(want))
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%s: %v; the standard library says %v", name, err, wantErr)
	}
	for _, size := range []struct{ limit, feed int }{{1, 1}, {1000, 700}, {70_000, 65_536}} {
		if size.limit == 1 && len(raw)+len(want) > 600 {
			continue
		}
		pieces, n, err := inflatePieces(z, raw, size.limit, size.feed)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%s in pieces of %v: %v; the standard library says %v", name, size, err, wantErr)
		}
		if err == nil && (n != bits || !bytes.Equal(pieces, want)) {
			t.Fatalf("%s in pieces of %v: %d bits and %d bytes; whole %d and %d", name, size, n, len(pieces), bits, len(want))
		}
	}
	if wantErr != nil {
		return
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: other bytes", name)
	}
	if (bits+7)/8 != used {
		t.Fatalf("%s: %d bits; the standard library used %d bytes", name, bits, used)
	}
	if len(want) > 0 {
		if _, _, _, err := inflateWhole(z, raw, len(want)-1); err == nil {
			t.Fatalf("%s: fits into one byte less", name)
		}
	}
	// The bit offsets are right if the stream, its last block made one of many,
	// can be followed at its end by an empty last block.
	b := bitWriter{buf: joinable[:bits/8]}
	if bits%8 != 0 {
		b.put(uint64(joinable[bits/8])&(1<<(bits%8)-1), uint(bits%8))
	}
	b.put(0b011, 3+7) // the last block, fixed codes, the end
	b.align()
	if again, used, err := standard(b.buf, limit); err != nil || used != len(b.buf) || !bytes.Equal(again, want) {
		t.Fatalf("%s: followed by an empty block: %d bytes, %d of %d used, %v", name, len(again), used, len(b.buf), err)
	}
}

// hostile are streams at the edge of what is allowed, written bit by bit.
func hostile() map[string][]byte {
	made := func(f func(*bitWriter)) []byte {
		var b bitWriter
		f(&b)
		b.align()
		return b.buf
	}
	// dynamic begins a last dynamic block whose code lengths are written with
	// two codes of one bit: 0 is the length a, 1 the length b.
	dynamic := func(w *bitWriter, lits, dists, a, b int) {
		w.put(0b101, 3)
		w.put(uint64(lits-257), 5)
		w.put(uint64(dists-1), 5)
		w.put(19-4, 4)
		for _, i := range lengthOrder {
			n := uint64(0)
			if int(i) == a || int(i) == b {
				n = 1
			}
			w.put(n, 3)
		}
	}
	m := map[string][]byte{
		"nothing":          {},
		"reserved block":   made(func(w *bitWriter) { w.put(0b111, 3) }),
		"stored, cut":      {1, 5, 0, 0xfa, 0xff, 'a'},
		"stored, mismatch": {1, 5, 0, 0xfa, 0xfe, 'a', 'b', 'c', 'd', 'e'},
		"stored, empty":    {1, 0, 0, 0xff, 0xff},
		"stored, odd bits": {0xf9, 0, 0, 0xff, 0xff},
		"far match":        made(func(w *bitWriter) { w.put(0b011, 3); w.put(0b1000000, 7); w.put(0, 5); w.put(0, 7) }),
		"length 286":       made(func(w *bitWriter) { w.put(0b011, 3); w.put(0b01100011, 8); w.put(0, 5); w.put(0, 7) }),
		"distance 30": made(func(w *bitWriter) {
			w.put(0b011, 3)
			w.put(0b00001100, 8)
			w.put(0b1000000, 7)
			w.put(0b01111, 5)
			w.put(0, 7)
		}),
		"no end":            made(func(w *bitWriter) { w.put(0b011, 3); w.put(0b00001100, 8) }),
		"fixed, no codes":   made(func(w *bitWriter) { w.put(0b011, 3) }),
		"287 literals":      made(func(w *bitWriter) { dynamic(w, 287, 1, 1, 0) }),
		"31 distances":      made(func(w *bitWriter) { dynamic(w, 257, 31, 1, 0) }),
		"only an end":       made(func(w *bitWriter) { dynamic(w, 257, 1, 0, 1); zeroBits(w, 256); w.put(1, 1); w.put(0, 1); w.put(0, 1) }),
		"only an end, as 1": made(func(w *bitWriter) { dynamic(w, 257, 1, 0, 1); zeroBits(w, 256); w.put(1, 1); w.put(0, 1); w.put(1, 1) }),
		"no codes at all":   made(func(w *bitWriter) { dynamic(w, 257, 1, 0, 1); zeroBits(w, 300) }),
		"all of one bit":    made(func(w *bitWriter) { dynamic(w, 257, 1, 0, 1); oneBits(w, 300) }),
		"repeat first":      made(func(w *bitWriter) { dynamic(w, 257, 1, 15, 16); w.put(1, 1); zeroBits(w, 60) }),
		"repeat too often":  made(func(w *bitWriter) { dynamic(w, 257, 1, 0, 18); oneBits(w, 60) }),
		"no length codes":   made(func(w *bitWriter) { dynamic(w, 257, 1, 99, 99); zeroBits(w, 60) }),
		"one length code":   made(func(w *bitWriter) { dynamic(w, 257, 1, 8, 8); zeroBits(w, 300) }),
	}
	// 15-bit codes: the lengths 1, 2, … 15, 15 for the first literals and the end.
	m["long codes"] = made(longCodes)
	return m
}

// longCodes writes a block whose codes have each length from 1 to 15, and a few
// symbols of each.
func longCodes(w *bitWriter) {
	w.put(0b101, 3)
	w.put(0, 5)
	w.put(0, 5)
	w.put(15, 4)
	// 16 codes of 4 bits for the lengths 0 to 15.
	for _, i := range lengthOrder {
		if i < 16 {
			w.put(4, 3)
		} else {
			w.put(0, 3)
		}
	}
	length := func(n int) { // the code of the length n is n, its first bit first
		for bit := 3; bit >= 0; bit-- {
			w.put(uint64(n>>bit&1), 1)
		}
	}
	for i := range 257 {
		switch {
		case i < 15:
			length(i + 1)
		case i == 256:
			length(15)
		default:
			length(0)
		}
	}
	length(0) // no distances
	for i := range 15 {
		for range i {
			w.put(1, 1)
		}
		w.put(0, 1)
	}
	w.put(1<<15-1, 15)
}

func zeroBits(w *bitWriter, n int) {
	for range n {
		w.put(0, 1)
	}
}

func oneBits(w *bitWriter, n int) {
	for range n {
		w.put(1, 1)
	}
}

func TestInflateHostile(t *testing.T) {
	var z inflater
	for name, raw := range hostile() {
		checkInflate(t, &z, name, raw)
		for n := range raw {
			checkInflate(t, &z, fmt.Sprintf("%s, cut at %d", name, n), raw[:n])
		}
	}
	if out, _, _, err := inflateWhole(&z, hostile()["long codes"], 15); err != nil || len(out) != 15 {
		t.Errorf("long codes: %q, %v", out, err)
	}
}

func FuzzInflate(f *testing.F) {
	for _, raw := range hostile() {
		f.Add(raw)
	}
	for _, text := range samples() {
		f.Add(deflated(f, text[:min(len(text), 3000)], 6, 1000))
		f.Add(deflated(f, text[:min(len(text), 300)], 0, 100))
		f.Add(deflated(f, text[:min(len(text), 30)], 1, 0))
	}
	var z inflater
	f.Fuzz(func(t *testing.T, raw []byte) { checkInflate(t, &z, "fuzz", raw) })
}
