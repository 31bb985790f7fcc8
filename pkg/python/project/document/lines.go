package document

import (
	"bytes"
	"sort"
)

// lines knows where each line of a text ends.
type lines []uint32

func newLines(data []byte) lines {
	ends := make(lines, 0, bytes.Count(data, []byte("\n")))
	for i, c := range data {
		if c == '\n' {
			ends = append(ends, uint32(i))
		}
	}
	return ends
}

// at returns the number of the line of an offset; the first is 1.
func (l lines) at(offset uint32) int {
	return 1 + sort.Search(len(l), func(i int) bool { return l[i] >= offset })
}
