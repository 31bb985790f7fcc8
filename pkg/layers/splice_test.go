package layers

import (
	"bytes"
	"compress/flate"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Kinds of deflate blocks (RFC 1951, 3.2.3).
const (
	stored = iota
	fixed
	dynamic
)

// blockKinds are the kinds of a stream's blocks, in order.
func blockKinds(t testing.TB, raw []byte, size int) []int {
	t.Helper()
	var kinds []int
	var z inflater
	z.in, z.out, z.limit = bytes.Clone(raw), make([]byte, size+1+outSlack), size+1
	z.blocks = func(bit, _ int) {
		three := uint(raw[bit>>3]) >> (bit & 7)
		if bit>>3+1 < len(raw) {
			three |= uint(raw[bit>>3+1]) << (8 - bit&7)
		}
		kinds = append(kinds, int(three>>1&3))
	}
	if s, err := z.run(); err != nil || s != finished || z.op != size {
		t.Fatalf("%d bytes, %d, %v", z.op, s, err)
	}
	return kinds
}

// fixedBlocks writes text as n blocks of fixed codes, of which the last ends in
// the middle of a byte for most texts.
func fixedBlocks(text []byte, n int) []byte {
	var w bitWriter
	for i := range n {
		w.fixed(text[i*len(text)/n:(i+1)*len(text)/n], i == n-1)
	}
	w.align()
	return w.buf
}

// TestSpliceBlocks puts streams of each kind of block between files of each other
// kind: all lie at any bit and end at any bit, and what reads them is the standard
// library.
func TestSpliceBlocks(t *testing.T) {
	words := samples()["text"][:30_000]
	streams := map[string]struct {
		raw, text []byte
		kinds     []int // some that are to be there
	}{
		"stored":                     {deflated(t, words, 0, 0), words, []int{stored}},
		"stored, many":               {deflated(t, words, 0, 100), words, []int{stored, stored, stored}},
		"fixed":                      {fixedBlocks(words, 1), words, []int{fixed}},
		"fixed, many":                {fixedBlocks(words, 7), words, []int{fixed, fixed, fixed, fixed, fixed, fixed, fixed}},
		"dynamic":                    {deflated(t, words, 9, 0), words, []int{dynamic}},
		"dynamic, many":              {deflated(t, words, 6, 9000), words, []int{dynamic, stored, dynamic, stored}},
		"nothing, stored":            {[]byte{1, 0, 0, 0xff, 0xff}, nil, []int{stored}},
		"nothing, fixed":             {[]byte{3, 0}, nil, []int{fixed}},
		"fixed, last block is empty": {append(fixedOpen(words[:4000]), 0x03, 0x00), words[:4000], []int{fixed, stored, fixed}},
	}
	for n := range 9 { // ends at each bit
		text := bytes.Repeat([]byte{0x90}, n+1) // nine bits each
		streams[fmt.Sprintf("fixed, %d bits over", n)] = struct {
			raw, text []byte
			kinds     []int
		}{fixedBlocks(text, 1), text, []int{fixed}}
	}
	var entries []Entry
	for name, s := range streams {
		kinds := blockKinds(t, s.raw, len(s.text))
		if !slices.Equal(kinds[:min(len(kinds), len(s.kinds))], s.kinds) {
			t.Errorf("%s has blocks of the kinds %v", name, kinds)
		}
		entries = append(entries, packedEntry(name, s.raw, s.text))
		checkLayer(t, tree(t, entries[len(entries)-1]))
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	var mixed []Entry
	for i, a := range entries {
		for j, b := range entries {
			at := fmt.Sprintf("%02d-%02d", i, j)
			a.Path, b.Path = at+"/1", at+"/3"
			mixed = append(mixed, a, file(at+"/2", strings.Repeat("between ", (i+j)%3*200)), b, Entry{Path: at + "/4", Kind: File})
		}
	}
	checkLayer(t, tree(t, mixed...))
}

// fixedOpen is fixedBlocks without a last block, up to a byte's end.
func fixedOpen(text []byte) []byte {
	var w bitWriter
	w.fixed(text, false)
	w.boundary()
	return w.buf
}

// FuzzLayer writes files of any contents and forms beside each other.
func FuzzLayer(f *testing.F) {
	f.Add([]byte("some text, some more text, and even more text"), []byte{0, 1, 2, 3, 4, 5, 6, 7}, true)
	f.Add(samples()["noise"][:5000], []byte{0x17, 0x26, 0x35, 0x44, 0x53, 0x62, 0x71}, false)
	f.Add(samples()["text"][:6000], []byte{9, 9, 0x8a, 0xff, 0x81, 0x13}, true)
	f.Fuzz(func(t *testing.T, data, cuts []byte, reuse bool) {
		if len(data) > 20_000 || len(cuts) > 8 {
			return
		}
		var entries []Entry
		for i, c := range cuts {
			n := min(len(data), 1+int(c)*len(data)/256)
			text, path := data[:n], fmt.Sprintf("%d/%02d", c%3, i)
			data = data[n/2:]
			switch how := c % 8; {
			case n == 0, how == 0:
				entries = append(entries, summedFile(path, string(text)))
			case how == 1:
				entries = append(entries, packedEntry(path, fixedBlocks(text, 1+n%3), text))
			default:
				level := []int{flate.HuffmanOnly, 0, 0, 1, 6, 9}[how-2]
				entries = append(entries, packedEntry(path, deflated(t, text, level, int(c)*50), text))
			}
		}
		tr := tree(t, entries...)
		w := write(t, tr, nil)
		checkBytes(t, w.layer, w.desc, withTime(t, tr))
		if reuse {
			sameLayer(t, write(t, tr, w.segments()), w)
		}
	})
}
