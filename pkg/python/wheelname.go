package python

import (
	"fmt"
	"strings"
)

// WheelName is what the name of a wheel's file says (PEP 427, "File name
// convention").
type WheelName struct {
	Name     string // normalized
	Version  Version
	Build    string // build tag, "1abc"; "" when there is none
	Tags     []Tag  // in the order of the file name
	Filename string
}

// ParseWheelName reads the name of a wheel's file, without a directory. The
// error is a *SyntaxError.
func ParseWheelName(filename string) (WheelName, error) {
	bad := func(reason string) (WheelName, error) {
		return WheelName{}, &SyntaxError{"wheel name", filename, -1, reason}
	}
	if len(filename) > maxFilenameLen {
		return bad("too long")
	}
	stem, ok := strings.CutSuffix(filename, ".whl")
	if !ok {
		return bad("does not end in .whl")
	}
	parts := strings.Split(stem, "-")
	if len(parts) != 5 && len(parts) != 6 {
		return bad(fmt.Sprintf("expected NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl (PEP 427), found %d parts", len(parts)))
	}
	// PEP 427, "Escaping and Unicode".
	if parts[0] == "" || strings.Contains(parts[0], "__") ||
		strings.IndexFunc(parts[0], func(r rune) bool { return r != '.' && !isWord(r) }) >= 0 {
		return bad(fmt.Sprintf("%q is not the escaped name of a project", clip(parts[0], 80)))
	}
	w := WheelName{Name: NormalizeName(parts[0]), Filename: filename}
	var err error
	if w.Version, err = ParseVersion(parts[1]); err != nil {
		return bad(fmt.Sprintf("%q is not a version (PEP 440)", clip(parts[1], 80)))
	}
	if len(parts) == 6 {
		w.Build = parts[2]
		if w.Build == "" || !isDigit(w.Build[0]) {
			return bad(fmt.Sprintf("the build tag %q does not begin with a digit", clip(w.Build, 80)))
		}
	}
	if w.Tags, err = ParseTags(strings.Join(parts[len(parts)-3:], "-")); err != nil {
		return bad(err.(*SyntaxError).Reason)
	}
	return w, nil
}

// Rank returns how welcome the wheel is to an interpreter: the lowest rank of
// its tags, 0 for the best. ok is false when it does not run there.
func (w WheelName) Rank(supported *TagSet) (rank int, ok bool) { return supported.Best(w.Tags) }

// BuildTag returns the two parts that build tags are sorted by: a number of
// any size in decimal without leading zeros, and the rest. Both are empty
// when there is no build tag.
func (w WheelName) BuildTag() (num, rest string) {
	if w.Build == "" {
		return "", ""
	}
	n := skipDigits(w.Build, 0)
	rest, _, _ = strings.Cut(w.Build[n:], "\n") // as the reference implementation has it
	return number(w.Build[:n]), rest
}

// CompareBuild returns -1, 0 or +1 as w is an older, the same or a newer build
// than o; it decides between wheels of one version and rank (PEP 427, "build
// tag"). A wheel without a build tag is the oldest.
func (w WheelName) CompareBuild(o WheelName) int {
	wn, wr := w.BuildTag()
	on, or := o.BuildTag()
	if wn == "" || on == "" {
		return strings.Compare(wn, on)
	}
	if c := strings.Compare(string(appendNumber(nil, wn)), string(appendNumber(nil, on))); c != 0 {
		return c
	}
	return strings.Compare(wr, or)
}

// ParseSdistName reads the name of a source distribution's file, .tar.gz or
// .zip (PEP 625), and returns the normalized name of the project. The error is
// a *SyntaxError.
func ParseSdistName(filename string) (name string, v Version, err error) {
	bad := func(reason string) (string, Version, error) {
		return "", Version{}, &SyntaxError{"sdist name", filename, -1, reason}
	}
	if len(filename) > maxFilenameLen {
		return bad("too long")
	}
	stem, ok := strings.CutSuffix(filename, ".tar.gz")
	if !ok {
		if stem, ok = strings.CutSuffix(filename, ".zip"); !ok {
			return bad("ends neither in .tar.gz nor in .zip")
		}
	}
	// A version has no dash, so the last one is in front of it.
	i := strings.LastIndexByte(stem, '-')
	if i <= 0 {
		return bad("expected NAME-VERSION.tar.gz (PEP 625)")
	}
	if v, err = ParseVersion(stem[i+1:]); err != nil {
		return bad(fmt.Sprintf("%q is not a version (PEP 440)", clip(stem[i+1:], 80)))
	}
	return NormalizeName(stem[:i]), v, nil
}
