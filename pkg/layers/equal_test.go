package layers

import (
	"errors"
	"io"
	"testing"
)

func TestCutContentsAreNotEqual(t *testing.T) {
	for _, n := range []int{0, 5, 32 << 10, 40 << 10} {
		text := make([]byte, n)
		e := func(c Content) *Entry { return &Entry{Path: "x", Kind: File, Size: int64(n), Content: c} }
		cut := unexpectedEnd{Bytes(text)}
		for _, p := range [][2]Content{{cut, cut}, {cut, Bytes(text)}, {Bytes(text), cut}} {
			if same, err := sameContent(e(p[0]), e(p[1])); same || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d: %t, %v", n, same, err)
			}
		}
		if same, err := sameContent(e(Bytes(text)), e(Bytes(text))); !same || err != nil {
			t.Errorf("%d: %t, %v", n, same, err)
		}
		if same, err := sameContent(e(Bytes(text)), e(Bytes(append(text, 1)))); same || err != nil {
			t.Errorf("%d longer: %t, %v", n, same, err)
		}
	}
}
