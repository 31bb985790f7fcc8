package layers

// code is an entry of a decoding table, found by the next bits of the stream:
//
//	bits 0–5    how many bits the code has, to be dropped
//	bits 8–11   how many extra bits follow; of a link, how many index its table
//	bits 12–15  what it is; none of them for a length or a distance
//	bits 16–31  the literal, the base of the length or distance, or, of a link,
//	            where in the same table the codes that begin so are
type code uint32

const (
	codeExtra = 8
	codeValue = 16

	codeEnd     code = 1 << 12 // the end of the block; with codeOther
	codeSub     code = 1 << 13 // a link; with codeOther
	codeOther   code = 1 << 14 // not a length or distance; alone: no code begins so
	codeLiteral code = 1 << 15
)

func (c code) drop() uint  { return uint(c & 63) }
func (c code) extra() uint { return uint(c >> codeExtra & 15) }

// Shapes of the tables: the first bits of a code select an entry of the root,
// which for longer codes links to a table behind it. A table behind a root of 11
// bits has at most 16 entries and at least 5 codes, so 57 of them cover the 288
// codes; one behind a root of 9 bits at most 64 and at least 7.
const (
	maxLits      = 286 // RFC 1951, 3.2.5; 286 and 287 have codes, but no meaning
	maxDists     = 30
	maxCodeLen   = 15
	maxLengthLen = 7 // of the codes for code lengths

	litRoot, litSize   = 11, 4096
	distRoot, distSize = 9, 1024
)

type (
	litTable  [litSize]code
	distTable [distSize]code
)

// What the symbols mean (RFC 1951, 3.2.5 and 3.2.7).
var (
	litValues    = makeLits()
	distValues   = makeDists()
	lengthValues = makeLengths()
)

func makeLits() (v [288]code) {
	for i := range 256 {
		v[i] = codeLiteral | code(i)<<codeValue
	}
	v[256] = codeOther | codeEnd
	base := code(3)
	for i := 257; i < 285; i++ {
		extra := code(max(i-261, 0) / 4)
		v[i] = base<<codeValue | extra<<codeExtra
		base += 1 << extra
	}
	v[285] = maxMatch << codeValue
	v[286], v[287] = codeOther, codeOther
	return v
}

func makeDists() (v [32]code) {
	base := code(1)
	for i := range maxDists {
		extra := code(max(i-2, 0) / 2)
		v[i] = base<<codeValue | extra<<codeExtra
		base += 1 << extra
	}
	v[30], v[31] = codeOther, codeOther
	return v
}

func makeLengths() (v [19]code) {
	for i := range v {
		v[i] = code(i) << codeValue
	}
	v[16] |= 2 << codeExtra
	v[17] |= 3 << codeExtra
	v[18] |= 7 << codeExtra
	return v
}

// The codes of blocks that bring none of their own (RFC 1951, 3.2.6).
var (
	fixedLits  = makeFixedLits()
	fixedDists = makeFixedDists()
)

func makeFixedLits() (t litTable) {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	buildCodes(t[:], lengths[:], litValues[:], litRoot)
	return t
}

func makeFixedDists() (t distTable) {
	var lengths [32]uint8
	for i := range lengths {
		lengths[i] = 5
	}
	buildCodes(t[:], lengths[:], distValues[:], distRoot)
	return t
}

// buildCodes makes the table of the codes that have the given lengths (RFC 1951,
// 3.2.2), and says whether these are a set of codes: one that is complete, or
// empty, or a single code of one bit, which is what compress/flate takes too.
func buildCodes(table []code, lengths []uint8, values []code, root uint) bool {
	var count, next [maxCodeLen + 1]int
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	longest, total, symbols := uint(0), 0, 0
	for n := 1; n <= maxCodeLen; n++ {
		next[n] = symbols
		symbols += count[n]
		total = total<<1 + count[n]
		if count[n] > 0 {
			longest = uint(n)
		}
	}
	full := total>>(maxCodeLen-longest) == 1<<longest
	if !full && symbols > 0 && (longest != 1 || symbols != 1) {
		return false
	}
	var sorted [288]uint16 // the symbols in the order of their codes
	for i, n := range lengths {
		if n > 0 {
			sorted[next[n]] = uint16(i)
			next[n]++
		}
	}
	table[0] = codeOther
	b := builder{table: table, root: root, longest: longest, count: &count}
	s := sorted[:symbols]
	for n := uint(1); n <= root; n++ {
		copy(table[1<<(n-1):1<<n], table[:1<<(n-1)]) // one more bit, which no code so far looks at
		for range count[n] {
			table[b.word] = values[s[0]] | code(n)
			s = s[1:]
			b.step(n)
		}
	}
	for n := root + 1; n <= longest; n++ {
		for count[n] > 0 {
			b.long(values[s[0]], n)
			s = s[1:]
			b.step(n)
			count[n]--
		}
	}
	return true
}

// builder goes through the codes of a set in order.
type builder struct {
	table         []code
	root, longest uint
	count         *[maxCodeLen + 1]int
	word          uint // the code that is next, its first bit lowest
	link          uint // the root entry that the table being filled belongs to, plus one
	sub, subBits  uint // that table
	end           uint // the end of all tables
}

// step goes to the next code of n bits: a count that carries downwards.
func (b *builder) step(n uint) {
	bit := uint(1) << (n - 1)
	for b.word&bit != 0 {
		b.word ^= bit
		bit >>= 1
	}
	b.word |= bit
}

// long enters a code that is longer than the root's bits.
func (b *builder) long(value code, n uint) {
	first := b.word & (1<<b.root - 1)
	if b.link != first+1 {
		b.open(first, n)
	}
	for i := b.word >> b.root; i < 1<<b.subBits; i += 1 << (n - b.root) {
		b.table[b.sub+i] = value | code(n-b.root)
	}
}

// open begins the table of the codes that share their first bits, of which the
// first has n bits. It is as large as the longest of them needs.
func (b *builder) open(first, n uint) {
	if b.end == 0 {
		b.end = 1 << b.root
	}
	bits := n - b.root
	for room := 1<<bits - b.count[n]; room > 0 && b.root+bits < b.longest; {
		bits++
		room = room<<1 - b.count[b.root+bits]
	}
	b.link, b.sub, b.subBits = first+1, b.end, bits
	b.end += 1 << bits
	b.table[first] = codeOther | codeSub | code(b.sub)<<codeValue | code(bits)<<codeExtra | code(b.root)
}
