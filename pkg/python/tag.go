package python

import (
	"fmt"
	"strings"
	"unicode"
)

// Tag is what a wheel needs of an interpreter: PEP 425. All three parts are
// lower-case.
type Tag struct {
	Python   string // cp313, py3
	ABI      string // cp313, abi3, none
	Platform string // manylinux_2_28_x86_64, any
}

// String returns the tag as file names have it, "cp313-abi3-linux_x86_64".
func (t Tag) String() string { return t.Python + "-" + t.ABI + "-" + t.Platform }

// ParseTags reads a tag or a compressed set of them, "py2.py3-none-any" (PEP
// 425, "Compressed Tag Sets"), and returns every combination, in the order in
// which they are written. The error is a *SyntaxError.
func ParseTags(s string) ([]Tag, error) {
	if len(s) > maxFilenameLen {
		return nil, &SyntaxError{"tag", s, -1, "too long"}
	}
	parts := strings.Split(strings.ToLower(s), "-")
	if len(parts) != 3 {
		return nil, &SyntaxError{"tag", s, -1, fmt.Sprintf("expected three parts (PEP 425), found %d", len(parts))}
	}
	var sets [3][]string
	n := 1
	for i, part := range parts {
		sets[i] = strings.Split(part, ".")
		for _, member := range sets[i] {
			if member == "" {
				return nil, &SyntaxError{"tag", s, -1, "a part is empty"}
			}
			if i == 0 && !isIdentifier(member) {
				return nil, &SyntaxError{"tag", s, -1, fmt.Sprintf("%q is no interpreter", clip(member, 40))}
			}
		}
		if n *= len(sets[i]); n > maxTags {
			return nil, &SyntaxError{"tag", s, -1, fmt.Sprintf("stands for more than %d tags", maxTags)}
		}
	}
	tags := make([]Tag, 0, n)
	for _, python := range sets[0] {
		for _, abi := range sets[1] {
			for _, platform := range sets[2] {
				tags = append(tags, Tag{python, abi, platform})
			}
		}
	}
	return tags, nil
}

// isIdentifier reports whether s is a Python identifier.
func isIdentifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && !unicode.Is(unicode.Nl, r) &&
			(i == 0 || !unicode.IsDigit(r) && !unicode.IsMark(r) && !unicode.Is(unicode.Pc, r)) {
			return false
		}
	}
	return s != ""
}

// TagSet answers how welcome tags are to an interpreter.
type TagSet struct{ rank map[Tag]int }

// NewTagSet makes a set of tags of which the most preferred comes first, as
// Target.Tags gives them.
func NewTagSet(tags []Tag) *TagSet {
	s := &TagSet{rank: make(map[Tag]int, len(tags))}
	for i, t := range tags {
		if _, seen := s.rank[t]; !seen {
			s.rank[t] = i
		}
	}
	return s
}

// Rank returns the place of t in the order of preference, 0 for the best; ok
// is false when it is not supported.
func (s *TagSet) Rank(t Tag) (rank int, ok bool) {
	rank, ok = s.rank[t]
	return rank, ok
}

// Best returns the lowest rank of the tags; ok is false when none is
// supported.
func (s *TagSet) Best(tags []Tag) (rank int, ok bool) {
	for _, t := range tags {
		if r, has := s.rank[t]; has && (!ok || r < rank) {
			rank, ok = r, true
		}
	}
	return rank, ok
}
