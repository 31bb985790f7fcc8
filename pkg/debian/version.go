package debian

import (
	"fmt"
	"strings"
)

// maxVersion bounds a version's length in bytes; the longest in the archive
// have about 80.
const maxVersion = 512

// Version is the version of a Debian package: [epoch:]upstream[-revision]
// (Debian Policy, 5.6.12). The zero value sorts before every other.
type Version struct {
	text               string
	epoch              int
	upstream, revision string
}

// ParseVersion reads a version as dpkg does: the epoch ends at the first colon,
// the revision begins after the last hyphen.
func ParseVersion(s string) (Version, error) {
	bad := func(why string) (Version, error) {
		return Version{}, fmt.Errorf("version %.80q %s", s, why)
	}
	v := Version{text: s, upstream: s}
	switch {
	case s == "":
		return bad("is empty")
	case len(s) > maxVersion:
		return bad(fmt.Sprintf("is longer than %d bytes", maxVersion))
	}
	if epoch, rest, ok := strings.Cut(s, ":"); ok {
		if epoch == "" || len(epoch) > 9 || strings.Trim(epoch, "0123456789") != "" {
			return bad("has an epoch that is not a small number")
		}
		for _, c := range []byte(epoch) {
			v.epoch = v.epoch*10 + int(c-'0')
		}
		v.upstream = rest
	}
	if i := strings.LastIndexByte(v.upstream, '-'); i >= 0 {
		v.upstream, v.revision = v.upstream[:i], v.upstream[i+1:]
		if v.revision == "" {
			return bad("has an empty revision")
		}
	}
	if v.upstream == "" {
		return bad("has no upstream part")
	}
	if !only(v.upstream, "-+.~:") || !only(v.revision, "+.~") {
		return bad("has a character that no version may have")
	}
	return v, nil
}

// only says whether s is made of ASCII letters, digits and the others.
func only(s, others string) bool {
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && !isLetter(c) && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// String returns the version as it was written.
func (v Version) String() string { return v.text }

// Compare orders versions as dpkg does (Debian Policy, 5.6.12): -1, 0 or 1.
func (v Version) Compare(o Version) int {
	switch {
	case v.epoch < o.epoch:
		return -1
	case v.epoch > o.epoch:
		return 1
	}
	if c := compareParts(v.upstream, o.upstream); c != 0 {
		return c
	}
	return compareParts(v.revision, o.revision)
}

// compareParts compares two upstream parts, or two revisions: by turns a run of
// non-digits, in which "~" sorts before the end and letters before all else,
// and a run of digits, as a number of any length.
func compareParts(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !isDigit(a[0]) || b != "" && !isDigit(b[0]) {
			if x, y := weight(a), weight(b); x != y {
				return sign(x - y)
			}
			a, b = a[1:], b[1:]
		}
		var x, y string
		x, a = number(a)
		y, b = number(b)
		if len(x) != len(y) {
			return sign(len(x) - len(y))
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// weight is the rank of a part's first character among non-digits.
func weight(s string) int {
	switch {
	case s == "" || isDigit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case isLetter(s[0]):
		return int(s[0])
	}
	return int(s[0]) + 256
}

// number cuts the leading digits off s, without their leading zeros.
func number(s string) (digits, rest string) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return strings.TrimLeft(s[:n], "0"), s[n:]
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
