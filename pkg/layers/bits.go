package layers

import "math/bits"

// bitWriter appends bits to buf, the first one lowest, as deflate has them.
type bitWriter struct {
	buf []byte
	acc uint64
	n   uint // bits in acc, fewer than 8 between calls
}

// put appends the k lowest bits of v, which has no others; k is at most 56.
func (w *bitWriter) put(v uint64, k uint) {
	w.acc |= v << w.n
	for w.n += k; w.n >= 8; w.n -= 8 {
		w.buf = append(w.buf, byte(w.acc))
		w.acc >>= 8
	}
}

// align fills the byte up with zeros. Deflate allows that behind its last block
// only; see boundary.
func (w *bitWriter) align() {
	if w.n > 0 {
		w.buf = append(w.buf, byte(w.acc))
		w.acc, w.n = 0, 0
	}
}

// resume goes on behind the first n bits of buf.
func (w *bitWriter) resume(buf []byte, n int) {
	w.buf, w.acc, w.n = buf[:n>>3], 0, uint(n&7)
	if w.n > 0 {
		w.acc = uint64(buf[n>>3]) & (1<<w.n - 1)
	}
}

// boundary goes on at the begin of a byte, by an empty stored block (RFC 1951,
// 3.2.4).
func (w *bitWriter) boundary() {
	w.put(0b000, 3)
	w.align()
	w.buf = append(w.buf, 0, 0, 0xff, 0xff)
}

// fixed writes p as one block of fixed codes (RFC 1951, 3.2.6), in which only
// runs of one byte are shortened: of a tar header they are most.
func (w *bitWriter) fixed(p []byte, last bool) {
	head := uint64(0b010)
	if last {
		head = 0b011
	}
	w.put(head, 3)
	for i := 0; i < len(p); {
		w.put(fixedWords[p[i]].bits, fixedWords[p[i]].n)
		run := i + 1
		for run < len(p) && p[run] == p[i] {
			run++
		}
		for i++; run-i >= 3; {
			n := min(run-i, maxMatch)
			w.put(runWords[n].bits, runWords[n].n)
			i += n
		}
	}
	w.put(fixedWords[endOfBlock].bits, fixedWords[endOfBlock].n)
}

const endOfBlock = 256

// word is a code as it is written.
type word struct {
	bits uint64
	n    uint
}

var (
	fixedWords = makeFixedWords()
	runWords   = makeRunWords() // by length: repeat the last byte so often
)

// makeFixedWords makes the fixed codes (RFC 1951, 3.2.6), first bit lowest.
func makeFixedWords() (words [288]word) {
	for i := range words {
		var v uint16
		var n uint
		switch {
		case i < 144:
			v, n = 0b00110000+uint16(i), 8
		case i < 256:
			v, n = 0b110010000+uint16(i-144), 9
		case i < 280:
			v, n = uint16(i-256), 7
		default:
			v, n = 0b11000000+uint16(i-280), 8
		}
		words[i] = word{uint64(bits.Reverse16(v) >> (16 - n)), n}
	}
	return words
}

// makeRunWords makes the matches of distance one.
func makeRunWords() (words [maxMatch + 1]word) {
	for i, v := range litValues[endOfBlock+1 : maxLits] {
		w := fixedWords[endOfBlock+1+i]
		base := int(v >> codeValue)
		for extra := range 1 << v.extra() {
			if base+extra < maxMatch || v.extra() == 0 { // 258 has a symbol of its own
				words[base+extra] = word{w.bits | uint64(extra)<<w.n, w.n + v.extra() + 5}
			}
		}
	}
	return words
}
