package resolve

import "math/bits"

// set is a set of the candidates of one package, a bit each in the order of
// their versions, with one bit more, the last: that the package is not
// installed at all. With that bit, "not a<2" (another version, or none) is a
// set like any other, and the two kinds of terms that PubGrub has are one.
//
// Sets of the same package have the same length. They are never changed once
// they are in use.
type set []uint64

func newSet(bits int) set { return make(set, (bits+63)/64) }

func fullSet(n int) set {
	s := newSet(n)
	for i := range s {
		s[i] = ^uint64(0)
	}
	if tail := n % 64; tail != 0 {
		s[len(s)-1] = 1<<tail - 1
	}
	return s
}

func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

func (s set) isEmpty() bool {
	for _, w := range s {
		if w != 0 {
			return false
		}
	}
	return true
}

func (s set) equal(o set) bool {
	for i, w := range s {
		if w != o[i] {
			return false
		}
	}
	return true
}

func (s set) subsetOf(o set) bool {
	for i, w := range s {
		if w&^o[i] != 0 {
			return false
		}
	}
	return true
}

func (s set) disjoint(o set) bool {
	for i, w := range s {
		if w&o[i] != 0 {
			return false
		}
	}
	return true
}

func (s set) and(o set) set {
	out := make(set, len(s))
	for i, w := range s {
		out[i] = w & o[i]
	}
	return out
}

func (s set) or(o set) set {
	out := make(set, len(s))
	for i, w := range s {
		out[i] = w | o[i]
	}
	return out
}

func (s set) without(o set) set {
	out := make(set, len(s))
	for i, w := range s {
		out[i] = w &^ o[i]
	}
	return out
}

func (s set) count() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// key is the set as a map key.
func (s set) key() string {
	b := make([]byte, 0, 8*len(s))
	for _, w := range s {
		for range 8 {
			b = append(b, byte(w))
			w >>= 8
		}
	}
	return string(b)
}
