package layers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// inflater decodes one deflate stream (RFC 1951) from one buffer into another,
// in as many steps as the buffers make necessary, and knows at which bit of the
// input it is. It accepts what compress/flate accepts.
//
// When it comes to the header of the last block it clears that block's BFINAL
// bit in the input buffer: the stream can then be followed by more blocks.
type inflater struct {
	// in is the input. in[:ip] has been taken into bits, whose nb lowest are
	// not used yet; the ones above are undefined.
	in   []byte
	ip   int
	bits uint64
	nb   uint
	more bool // the input goes on behind in

	// out[base:op] is what has been decoded, as far as matches may reach. Once
	// op has come to limit the next step does not begin; the last may have gone
	// beyond it, so the slice must be outSlack longer.
	out             []byte
	base, op, limit int

	state  inflateState
	final  bool // the current block is the last
	stored int  // bytes to come of the current stored block
	lit    *litTable
	dist   *distTable
	// blocks, if it is set, is told the bit of in and the byte of out at which
	// each block begins.
	blocks func(bit, out int)

	dynLit  litTable
	dynDist distTable
	lengths [maxLits + maxDists]uint8
}

type inflateState uint8

const (
	atBlock   inflateState = iota // before the header of a block, or behind the last
	inStored                      // in a stored block
	inSymbols                     // in a compressed one
)

// status says why run has stopped.
type status uint8

const (
	needInput  status = iota + 1 // in is nearly used up, and more is to come
	needOutput                   // out is written up to limit
	finished                     // the stream is over
)

const (
	maxMatch  = 258           // bytes that one match gives (RFC 1951, 3.2.5)
	maxWindow = 32 << 10      // how far back it may reach
	maxHeader = 320           // bytes of a block's header: 17 + 19×3 + 316×(7+7) bits, rounded up
	maxStep   = 16            // bytes that one step of the fast loop looks at
	maxKept   = maxHeader + 8 // bytes of input that needInput may leave unused
	// outSlack is what one step may write behind the limit: literals, a match,
	// and the rest of its last word.
	outSlack = 3 + maxMatch + 16
)

// What can be wrong with a deflate stream.
var (
	errBlockType  = errors.New("deflate: block of an unknown type")
	errStoredSize = errors.New("deflate: stored block whose lengths disagree")
	errCodes      = errors.New("deflate: set of codes that is not one")
	errSymbol     = errors.New("deflate: code without a meaning")
	errDistance   = errors.New("deflate: match that begins before the data")
	errTruncated  = fmt.Errorf("deflate: %w", io.ErrUnexpectedEOF)
)

// begin forgets the stream before. The caller sets the buffers.
func (z *inflater) begin() {
	z.ip, z.bits, z.nb = 0, 0, 0
	z.state, z.final, z.stored = atBlock, false, 0
}

// used returns the number of bits of in that have been decoded.
func (z *inflater) used() int { return z.ip*8 - int(z.nb) }

// run decodes until it cannot go on. After it less than a byte is held outside
// of in: in[:ip] is decoded but for the last nb bits of it.
func (z *inflater) run() (status, error) {
	for {
		var s status
		var err error
		switch z.state {
		case atBlock:
			if z.final {
				s = finished
				break
			}
			s, err = z.header()
		case inStored:
			s, err = z.copyStored()
		case inSymbols:
			s, err = z.symbols()
		}
		if s != 0 || err != nil {
			z.giveBack()
			return s, err
		}
	}
}

// giveBack returns whole bytes to the input.
func (z *inflater) giveBack() {
	z.ip -= int(z.nb >> 3)
	z.nb &= 7
	z.bits &= 1<<z.nb - 1
}

// fill takes what input there is, byte by byte, until at least n bits are held;
// it says whether they are. The bits above are zero.
func (z *inflater) fill(n uint) bool {
	z.bits &= 1<<z.nb - 1
	for z.nb < n && z.ip < len(z.in) {
		z.bits |= uint64(z.in[z.ip]) << z.nb
		z.ip++
		z.nb += 8
	}
	return z.nb >= n
}

func (z *inflater) take(n uint) int {
	v := int(z.bits & (1<<n - 1))
	z.bits >>= n
	z.nb -= n
	return v
}

// header reads the header of a block (RFC 1951, 3.2.3).
func (z *inflater) header() (status, error) {
	if z.more && len(z.in)-z.ip < maxHeader {
		return needInput, nil
	}
	if !z.fill(3) {
		return 0, errTruncated
	}
	at := z.used()
	if z.blocks != nil {
		z.blocks(at, z.op)
	}
	if z.final = z.take(1) == 1; z.final {
		z.in[at>>3] &^= 1 << (at & 7)
	}
	switch z.take(2) {
	case 0:
		return 0, z.storedHeader()
	case 1:
		z.lit, z.dist, z.state = &fixedLits, &fixedDists, inSymbols
		return 0, nil
	case 2:
		return 0, z.dynamicHeader()
	}
	return 0, errBlockType
}

func (z *inflater) storedHeader() error {
	z.take(z.nb & 7)
	if !z.fill(32) {
		return errTruncated
	}
	n, inverse := z.take(16), z.take(16)
	if n != inverse^0xffff {
		return errStoredSize
	}
	z.giveBack()
	z.stored, z.state = n, inStored
	return nil
}

func (z *inflater) copyStored() (status, error) {
	n := min(z.stored, len(z.in)-z.ip, max(z.limit-z.op, 0))
	copy(z.out[z.op:], z.in[z.ip:z.ip+n])
	z.ip, z.op, z.stored = z.ip+n, z.op+n, z.stored-n
	switch {
	case z.stored == 0:
		z.state = atBlock
		return 0, nil
	case z.op >= z.limit:
		return needOutput, nil
	case z.more:
		return needInput, nil
	}
	return 0, errTruncated
}

// lengthOrder is the order in which the lengths of the code length codes are
// written (RFC 1951, 3.2.7).
var lengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicHeader reads the codes of a block (RFC 1951, 3.2.7).
func (z *inflater) dynamicHeader() error {
	if !z.fill(14) {
		return errTruncated
	}
	lits, dists, n := z.take(5)+257, z.take(5)+1, z.take(4)+4
	if lits > maxLits || dists > maxDists {
		return errCodes
	}
	var lengths [len(lengthOrder)]uint8
	for _, i := range lengthOrder[:n] {
		if !z.fill(3) {
			return errTruncated
		}
		lengths[i] = uint8(z.take(3))
	}
	var table [1 << maxLengthLen]code
	if !buildCodes(table[:], lengths[:], lengthValues[:], maxLengthLen) {
		return errCodes
	}
	if err := z.readLengths(&table, lits+dists); err != nil {
		return err
	}
	if !buildCodes(z.dynLit[:], z.lengths[:lits], litValues[:], litRoot) ||
		!buildCodes(z.dynDist[:], z.lengths[lits:lits+dists], distValues[:], distRoot) {
		return errCodes
	}
	z.lit, z.dist, z.state = &z.dynLit, &z.dynDist, inSymbols
	return nil
}

// readLengths reads the lengths of n codes, themselves coded by table.
func (z *inflater) readLengths(table *[1 << maxLengthLen]code, n int) error {
	for i := 0; i < n; {
		z.fill(maxLengthLen + 7)
		c := table[z.bits&(1<<maxLengthLen-1)]
		if c&codeOther != 0 {
			return errSymbol
		}
		if uint(c.drop()+c.extra()) > z.nb {
			return errTruncated
		}
		z.take(c.drop())
		value := uint8(c >> codeValue & 0xff)
		if value < 16 {
			z.lengths[i] = value
			i++
			continue
		}
		repeat, of := 3, uint8(0)
		switch value {
		case 16:
			if i == 0 {
				return errCodes
			}
			of = z.lengths[i-1]
		case 18:
			repeat = 11
		}
		repeat += z.take(c.extra())
		if repeat > n-i {
			return errCodes
		}
		for range repeat {
			z.lengths[i] = of
			i++
		}
	}
	return nil
}

// symbols decodes the symbols of a compressed block.
func (z *inflater) symbols() (status, error) {
	if err := z.fast(); err != nil {
		return 0, err
	}
	for z.state == inSymbols {
		if z.op >= z.limit {
			return needOutput, nil
		}
		if z.more && len(z.in)-z.ip < maxStep {
			return needInput, nil
		}
		if err := z.symbol(); err != nil {
			return 0, err
		}
		if len(z.in)-z.ip >= maxStep {
			return 0, nil // the fast loop can go on
		}
	}
	return 0, nil
}

// symbol decodes one literal or match where the input may end at any bit.
func (z *inflater) symbol() error {
	c, err := z.code(z.lit[:], litRoot)
	if err != nil {
		return err
	}
	if c&codeLiteral != 0 {
		z.out[z.op] = byte(c >> codeValue)
		z.op++
		return nil
	}
	if c&codeEnd != 0 {
		z.state = atBlock
		return nil
	}
	length := int(c>>codeValue) + z.take(c.extra())
	if c, err = z.code(z.dist[:], distRoot); err != nil {
		return err
	}
	from := z.op - int(c>>codeValue) - z.take(c.extra())
	if from < z.base {
		return errDistance
	}
	for range length {
		z.out[z.op] = z.out[from]
		z.op++
		from++
	}
	return nil
}

// code reads one code and sees that its extra bits are there.
func (z *inflater) code(table []code, root uint) (code, error) {
	z.fill(maxCodeLen + 13)
	c := table[z.bits&(1<<root-1)]
	sub := uint(0)
	if c&codeSub != 0 {
		sub = c.drop()
		c = table[uint64(c>>codeValue)+z.bits>>sub&(1<<c.extra()-1)]
	}
	switch {
	case c&codeOther != 0 && c&codeEnd == 0:
		if z.nb < maxCodeLen && !z.more {
			return 0, errTruncated // which it is, or what is there is wrong already
		}
		return 0, errSymbol
	case sub+c.drop()+c.extra() > z.nb:
		return 0, errTruncated
	}
	z.take(sub + c.drop())
	return c, nil
}

// fast decodes while there is enough of input and room that neither has to be
// looked after. It holds at least 56 bits after each refill: as many as two
// literals and a length with its extra bits can have, and then a distance.
func (z *inflater) fast() error {
	in, out, lit, dist := z.in, z.out, z.lit, z.dist
	ip, op, bits, nb := z.ip, z.op, z.bits, z.nb
	base, limit, enough := z.base, z.limit, len(in)-maxStep
	var err error
loop:
	for ip <= enough && op < limit {
		bits |= binary.LittleEndian.Uint64(in[ip:]) << (nb & 63)
		ip += int((63 - nb) >> 3)
		nb |= 56
		c := lit[bits&(1<<litRoot-1)]
		if c&codeLiteral != 0 {
			bits >>= c & 63
			nb -= uint(c & 63)
			out[op] = byte(c >> codeValue)
			op++
			c = lit[bits&(1<<litRoot-1)]
			if c&codeLiteral != 0 {
				bits >>= c & 63
				nb -= uint(c & 63)
				out[op] = byte(c >> codeValue)
				op++
				c = lit[bits&(1<<litRoot-1)]
			}
		}
		bits >>= c & 63
		nb -= uint(c & 63)
		if c&(codeLiteral|codeOther) != 0 {
			if c&codeSub != 0 {
				c = lit[(uint64(c>>codeValue)+bits&(1<<(c>>codeExtra&15)-1))%litSize]
				bits >>= c & 63
				nb -= uint(c & 63)
			}
			if c&codeLiteral != 0 {
				out[op] = byte(c >> codeValue)
				op++
				continue
			}
			if c&codeOther != 0 {
				if c&codeEnd == 0 {
					err = errSymbol
				}
				z.state = atBlock
				break loop
			}
		}
		extra := c >> codeExtra & 15
		length := int(c>>codeValue) + int(bits&(1<<extra-1))
		bits >>= extra
		nb -= uint(extra)

		bits |= binary.LittleEndian.Uint64(in[ip:]) << (nb & 63)
		ip += int((63 - nb) >> 3)
		nb |= 56
		c = dist[bits&(1<<distRoot-1)]
		if c&codeOther != 0 {
			if c&codeSub != 0 {
				bits >>= c & 63
				nb -= uint(c & 63)
				c = dist[(uint64(c>>codeValue)+bits&(1<<(c>>codeExtra&15)-1))%distSize]
			}
			if c&codeOther != 0 {
				err = errSymbol
				break loop
			}
		}
		bits >>= c & 63
		nb -= uint(c & 63)
		extra = c >> codeExtra & 15
		distance := int(c>>codeValue) + int(bits&(1<<extra-1))
		bits >>= extra
		nb -= uint(extra)

		from, end := op-distance, op+length
		if from < base {
			err = errDistance
			break loop
		}
		if distance >= 8 {
			to, of := out[op:op+16], out[from:from+16]
			binary.LittleEndian.PutUint64(to, binary.LittleEndian.Uint64(of))
			binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(of[8:]))
			for op, from = op+16, from+16; op < end; op, from = op+8, from+8 {
				binary.LittleEndian.PutUint64(out[op:op+8], binary.LittleEndian.Uint64(out[from:from+8]))
			}
		} else if distance == 1 {
			run := uint64(out[from]) * 0x0101010101010101
			for ; op < end; op += 8 {
				binary.LittleEndian.PutUint64(out[op:op+8], run)
			}
		} else {
			for ; op < end; op, from = op+1, from+1 {
				out[op] = out[from]
			}
		}
		op = end
	}
	z.ip, z.op, z.bits, z.nb = ip, op, bits, nb
	return err
}
