package python

import (
	"math"
	"strconv"
	"strings"
)

// Version is a version as PEP 440 defines it. It is immutable; the zero value
// is no version and sorts before all others. Numbers in it may have any size.
//
// Two versions are compared with Compare or Equal, not with ==: 1.0 and 1.0.0
// are equal and written differently.
type Version struct {
	text string // canonical form
	key  string // see versionKey

	// Ends of the parts within text. A part that is absent is empty.
	epoch, release, pre, post, public uint16
	// Ends within key of the parts that versions are grouped by.
	keyPre, keyPublic uint16
}

// ParseVersion reads a version in any of the spellings that PEP 440 normalizes
// ("Normalization": v1.0, 1.0-alpha_1, 1.0-1, 1.0+ubuntu-1, with white space
// around it). The error is a *SyntaxError.
func ParseVersion(s string) (Version, error) {
	if len(s) > maxVersionLen {
		return Version{}, &SyntaxError{"version", s, -1, "longer than " + strconv.Itoa(maxVersionLen) + " bytes"}
	}
	trimmed := trimSpace(s)
	p, n := scanVersion(trimmed, true)
	switch {
	case n == 0:
		return Version{}, &SyntaxError{"version", s, -1, "does not begin with a number (PEP 440)"}
	case n < len(trimmed):
		return Version{}, &SyntaxError{"version", s, strings.Index(s, trimmed) + n, "not a version (PEP 440)"}
	}
	return p.version(), nil
}

// versionParts are the pieces of a version as written. Numbers are digits,
// possibly none (an implicit 0) and with leading zeros.
type versionParts struct {
	epoch, release      string
	pre                 string // a, b, rc or ""
	preNum, post, dev   string
	hasPost, hasDev     bool
	local               string
	releaseStart, count int // where release begins; how many numbers it has
}

// scanVersion reads the longest beginning of s that is a version (PEP 440,
// appendix B), and returns how many bytes that are; 0 if it does not begin
// with one. The local version label is read only where local is true.
func scanVersion(s string, local bool) (p versionParts, n int) {
	i := 0
	if i < len(s) && s[i]|0x20 == 'v' {
		i++
	}
	if j := skipDigits(s, i); j > i && j+1 < len(s) && s[j] == '!' && isDigit(s[j+1]) {
		p.epoch = s[i:j]
		i = j + 1
	}
	j := skipDigits(s, i)
	if j == i {
		return p, 0
	}
	p.releaseStart, p.count = i, 1
	for j+1 < len(s) && s[j] == '.' && isDigit(s[j+1]) {
		j = skipDigits(s, j+1)
		p.count++
	}
	p.release = s[i:j]
	i = j
	if word, num, end, ok := scanLabel(s, i, "alpha", "beta", "preview", "pre", "a", "b", "c", "rc"); ok {
		p.pre, p.preNum, i = preLabel(word), num, end
	}
	if i+1 < len(s) && s[i] == '-' && isDigit(s[i+1]) {
		// PEP 440, "Implicit post releases": 1.0-1 is 1.0.post1.
		end := skipDigits(s, i+1)
		p.hasPost, p.post, i = true, s[i+1:end], end
	} else if _, num, end, ok := scanLabel(s, i, "post", "rev", "r"); ok {
		p.hasPost, p.post, i = true, num, end
	}
	if _, num, end, ok := scanLabel(s, i, "dev"); ok {
		p.hasDev, p.dev, i = true, num, end
	}
	if local && i+1 < len(s) && s[i] == '+' && isAlnum(s[i+1]) {
		end := i + 2
		for end < len(s) && (isAlnum(s[end]) || isSeparator(s[end]) && end+1 < len(s) && isAlnum(s[end+1])) {
			end++
		}
		p.local, i = s[i+1:end], end
	}
	return p, i
}

// scanLabel reads a separator, one of the words in any case, a separator and a
// number, of which only the word must be there.
func scanLabel(s string, i int, words ...string) (word, num string, end int, ok bool) {
	if i < len(s) && isSeparator(s[i]) {
		i++
	}
	for _, w := range words {
		if len(s)-i < len(w) || !strings.EqualFold(s[i:i+len(w)], w) {
			continue
		}
		i += len(w)
		if i < len(s) && isSeparator(s[i]) {
			i++
		}
		end = skipDigits(s, i)
		return w, s[i:end], end, true
	}
	return "", "", 0, false
}

func isSeparator(c byte) bool { return c == '.' || c == '-' || c == '_' }

func skipDigits(s string, i int) int {
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}

// preLabel gives the one spelling of a pre-release's label (PEP 440,
// "Pre-release spelling").
func preLabel(word string) string {
	switch word {
	case "alpha", "a":
		return "a"
	case "beta", "b":
		return "b"
	}
	return "rc" // c, pre, preview
}

// number removes leading zeros: PEP 440, "Integer Normalization".
func number(digits string) string {
	if d := strings.TrimLeft(digits, "0"); d != "" {
		return d
	}
	return "0"
}

// version builds the canonical text and the key of the parts.
func (p versionParts) version() Version {
	var v Version
	var b strings.Builder
	b.Grow(len(p.release) + len(p.local) + 8)
	if e := number(p.epoch); e != "0" {
		b.WriteString(e)
		v.epoch = uint16(b.Len())
		b.WriteByte('!')
	}
	rest := p.release
	for more := true; more; {
		var n string
		n, rest, more = strings.Cut(rest, ".")
		b.WriteString(number(n))
		if more {
			b.WriteByte('.')
		}
	}
	v.release = uint16(b.Len())
	if p.pre != "" {
		b.WriteString(p.pre)
		b.WriteString(number(p.preNum))
	}
	v.pre = uint16(b.Len())
	if p.hasPost {
		b.WriteString(".post")
		b.WriteString(number(p.post))
	}
	v.post = uint16(b.Len())
	if p.hasDev {
		b.WriteString(".dev")
		b.WriteString(number(p.dev))
	}
	v.public = uint16(b.Len())
	if p.local != "" {
		b.WriteByte('+')
		b.WriteString(normalLocal(p.local))
	}
	v.text = b.String()
	v.setKey(p)
	return v
}

// normalLocal writes a local version label in its canonical form: lower-case,
// separated by dots, numbers without leading zeros (PEP 440, "Local version
// segments").
func normalLocal(s string) string {
	segments := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return isSeparator(byte(r)) })
	for i, seg := range segments {
		if skipDigits(seg, 0) == len(seg) {
			segments[i] = number(seg)
		}
	}
	return strings.Join(segments, ".")
}

// setKey computes the key: a string of bytes that sorts, compared as bytes,
// as PEP 440 sorts versions ("Summary of permitted suffixes and relative
// ordering"), and is the same for equal versions. Each part delimits itself:
//
//	epoch    number
//	release  its numbers without trailing zeros, then 0
//	pre      0 for a development release of the final one, 1 a, 2 b, 3 rc (and number), 4 none
//	post     0 none, 1 (and number)
//	dev      0 (and number), 1 none
//	local    for each segment 1, the text, 0; or 2 and the number
//
// A specifier is therefore an interval of keys: every version of one public
// version has that one's key as its beginning.
func (v *Version) setKey(p versionParts) {
	k := make([]byte, 0, len(p.release)+16)
	k = appendNumber(k, p.epoch)
	rest := v.text[v.releaseStart():v.release]
	for rest != "" && rest[len(rest)-1] == '0' { // trailing ".0"s
		if len(rest) == 1 {
			rest = ""
		} else if rest[len(rest)-2] == '.' {
			rest = rest[:len(rest)-2]
		} else {
			break
		}
	}
	for rest != "" {
		var n string
		n, rest, _ = strings.Cut(rest, ".")
		k = appendNumber(k, n)
	}
	k = append(k, 0)
	switch {
	case p.pre == "a":
		k = appendNumber(append(k, 1), p.preNum)
	case p.pre == "b":
		k = appendNumber(append(k, 2), p.preNum)
	case p.pre == "rc":
		k = appendNumber(append(k, 3), p.preNum)
	case p.hasDev && !p.hasPost:
		k = append(k, 0)
	default:
		k = append(k, 4)
	}
	v.keyPre = uint16(len(k))
	if p.hasPost {
		k = appendNumber(append(k, 1), p.post)
	} else {
		k = append(k, 0)
	}
	if p.hasDev {
		k = appendNumber(append(k, 0), p.dev)
	} else {
		k = append(k, 1)
	}
	v.keyPublic = uint16(len(k))
	for local := v.Local(); local != ""; {
		var seg string
		seg, local, _ = strings.Cut(local, ".")
		if skipDigits(seg, 0) == len(seg) {
			k = appendNumber(append(k, 2), seg)
		} else {
			k = append(append(append(k, 1), seg...), 0)
		}
	}
	v.key = string(k)
}

// appendNumber appends a number so that larger ones sort later: how many
// digits it has (plus one, so that it is never 0), and the digits.
func appendNumber(k []byte, digits string) []byte {
	const long = 0xfc // the count follows in two bytes
	d := strings.TrimLeft(digits, "0")
	if n := len(d) + 1; n < long {
		k = append(k, byte(n))
	} else {
		k = append(k, long, byte(n>>8), byte(n))
	}
	return append(k, d...)
}

// keyEnd is a byte that is larger than any which follows a complete part of a
// key, so that part+keyEnd sorts after everything that begins with part.
const keyEnd = "\xff"

// String returns the canonical form, "1!2.0rc1.post2.dev3+local.4".
func (v Version) String() string { return v.text }

// Key returns a string that is the same for equal versions and, compared byte
// by byte, sorts as Compare does. It is for maps and sorting, not for people.
func (v Version) Key() string { return v.key }

// Compare returns -1, 0 or +1 as v sorts before, with or after o in the total
// order of PEP 440, local version labels included.
func (v Version) Compare(o Version) int { return strings.Compare(v.key, o.key) }

// Equal reports whether the two are one version, in any spelling.
func (v Version) Equal(o Version) bool { return v.key == o.key }

// IsZero reports whether v is no version.
func (v Version) IsZero() bool { return v.text == "" }

// IsPrerelease reports whether v is an alpha, beta, candidate or development
// release.
func (v Version) IsPrerelease() bool { return v.pre > v.release || v.public > v.post }

// IsPostrelease reports whether v has a post-release segment.
func (v Version) IsPostrelease() bool { return v.post > v.pre }

// IsDevrelease reports whether v has a development release segment.
func (v Version) IsDevrelease() bool { return v.public > v.post }

// Epoch returns the epoch in decimal; "0" when none is written.
func (v Version) Epoch() string {
	if v.epoch == 0 {
		return "0"
	}
	return v.text[:v.epoch]
}

// Release returns the numbers of the release segment as written, in decimal
// without leading zeros; trailing zeros are kept. They may be too large for
// any integer type.
func (v Version) Release() []string {
	if v.IsZero() {
		return nil
	}
	return strings.Split(v.text[v.releaseStart():v.release], ".")
}

func (v Version) releaseStart() uint16 {
	if v.epoch == 0 {
		return 0
	}
	return v.epoch + 1 // "!"
}

// Number returns the i-th number of the release segment, 0 when it has fewer,
// and math.MaxInt when it is larger than that.
func (v Version) Number(i int) int {
	r := v.Release()
	if i < 0 || i >= len(r) {
		return 0
	}
	n, err := strconv.Atoi(r[i])
	if err != nil {
		return math.MaxInt
	}
	return n
}

// Pre returns the pre-release segment: a, b or rc and its number in decimal;
// empty when there is none.
func (v Version) Pre() (label, num string) {
	s := v.text[v.release:v.pre]
	i := strings.IndexAny(s, "0123456789")
	if i < 0 {
		return "", ""
	}
	return s[:i], s[i:]
}

// Post returns the number of the post-release segment in decimal; "" when
// there is none.
func (v Version) Post() string { return strings.TrimPrefix(v.text[v.pre:v.post], ".post") }

// Dev returns the number of the development release segment in decimal; ""
// when there is none.
func (v Version) Dev() string { return strings.TrimPrefix(v.text[v.post:v.public], ".dev") }

// Local returns the local version label without its "+"; "" when there is
// none.
func (v Version) Local() string { return strings.TrimPrefix(v.text[v.public:], "+") }

// Public returns v without its local version label.
func (v Version) Public() Version {
	v.text, v.key = v.text[:v.public], v.key[:v.keyPublic]
	return v
}

// Base returns epoch and release segment only.
func (v Version) Base() Version { return mustVersion(v.text[:v.release]) }

// Trimmed returns the equal version without trailing zeros in its release
// segment: 1.2 for 1.2.0. Equal versions have one trimmed form.
func (v Version) Trimmed() Version {
	if v.IsZero() {
		return v
	}
	r := v.Release()
	n := len(r)
	for n > 1 && r[n-1] == "0" {
		n--
	}
	if n == len(r) {
		return v
	}
	return mustVersion(v.text[:v.releaseStart()] + strings.Join(r[:n], ".") + v.text[v.release:])
}

// mustVersion parses a text that was put together from canonical parts; no
// parts, no version.
func mustVersion(text string) Version {
	if text == "" {
		return Version{}
	}
	p, _ := scanVersion(text, true)
	return p.version()
}

// MarshalText writes the canonical form (encoding.TextMarshaler).
func (v Version) MarshalText() ([]byte, error) { return []byte(v.text), nil }

// UnmarshalText reads what ParseVersion reads; nothing is the zero Version
// (encoding.TextUnmarshaler).
func (v *Version) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*v = Version{}
		return nil
	}
	p, err := ParseVersion(string(b))
	if err != nil {
		return err
	}
	*v = p
	return nil
}
