package debian

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// arMagic begins an archive, and arHeader is the length of a member's header
// (deb(5), ar(5)).
const (
	arMagic  = "!<arch>\n"
	arHeader = 60
)

// arReader reads the members of an ar archive, one after the other, in the
// plain form that .deb files have: names of up to 16 characters.
type arReader struct {
	r       io.Reader
	left    int64 // of the member
	padding int64
	begun   bool
}

// next goes to the next member; [io.EOF] is the end. Read then gives the
// member's bytes.
func (a *arReader) next() (name string, size int64, err error) {
	if !a.begun {
		magic := make([]byte, len(arMagic))
		if _, err := io.ReadFull(a.r, magic); err != nil || string(magic) != arMagic {
			return "", 0, errors.New("it is no ar archive")
		}
		a.begun = true
	}
	if _, err := io.CopyN(io.Discard, a.r, a.left+a.padding); err != nil && !(errors.Is(err, io.EOF) && a.left == 0) {
		return "", 0, broken(err)
	}
	a.left, a.padding = 0, 0
	header := make([]byte, arHeader)
	n, err := io.ReadFull(a.r, header)
	if n == 0 && errors.Is(err, io.EOF) {
		return "", 0, io.EOF
	}
	if err != nil {
		return "", 0, broken(err)
	}
	if string(header[58:]) != "`\n" {
		return "", 0, errors.New("a member's header is not well-formed")
	}
	size, err = strconv.ParseInt(strings.TrimRight(string(header[48:58]), " "), 10, 64)
	if err != nil || size < 0 {
		return "", 0, errors.New("a member's size is not a number")
	}
	name = strings.TrimSuffix(strings.TrimRight(string(header[:16]), " "), "/")
	if name == "" || !only(name, "-+._") {
		return "", 0, fmt.Errorf("a member has the name %q", header[:16])
	}
	a.left, a.padding = size, size&1
	return name, size, nil
}

// Read reads the current member.
func (a *arReader) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	n, err := a.r.Read(p[:min(int64(len(p)), a.left)])
	a.left -= int64(n)
	if a.left > 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// broken names the end of an archive where more had to come.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
