package debian

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

// index is all packages of some sources for one architecture. A release has
// some seventy thousand, of which a root takes a few dozen: their paragraphs lie
// in a file, and in memory is only where. What was looked at stays, so that one
// package is one *packageInfo.
type index struct {
	arch string
	// dates are the Dates of the suites' indexes, by suite.
	dates map[string]string
	// err is what reading the file back ended with; lookups find nothing more
	// after it.
	err error

	file     *os.File
	unlinked bool // the file has no name any more
	out      *bufio.Writer
	size     int64
	seed     maphash.Seed
	// byName and provided are in order of names' hashes; those of one name in
	// the order in which they were added.
	byName, provided []place
	known            map[string][]*packageInfo
}

// place is where in the file a paragraph is that has to do with a name.
type place struct {
	name uint64 // its hash; the paragraph tells whether it is the one
	at   int64
}

// newIndex makes an empty index, whose file is in dir.
func newIndex(dir, arch string) (*index, error) {
	f, err := os.CreateTemp(dir, "debian-index-")
	if err != nil {
		return nil, err
	}
	return &index{
		arch: arch, dates: map[string]string{}, known: map[string][]*packageInfo{}, seed: maphash.MakeSeed(), file: f,
		unlinked: os.Remove(f.Name()) == nil, // where that can be done to an open file nothing is left behind
		out:      bufio.NewWriterSize(f, 64<<10),
	}, nil
}

// close ends the index and removes its file.
func (x *index) close() error {
	err := x.file.Close()
	if !x.unlinked {
		err = errors.Join(err, os.Remove(x.file.Name()))
	}
	return err
}

// add puts a package into the index.
func (x *index) add(p *packageInfo, paragraph Paragraph) error {
	x.byName = append(x.byName, place{x.hash(p.name), x.size})
	for _, r := range p.provides {
		x.provided = append(x.provided, place{x.hash(r.Name), x.size})
	}
	n, err := paragraph.writeTo(x.out)
	x.size += n
	return err
}

func (x *index) hash(name string) uint64 { return maphash.String(x.seed, name) }

// ready ends the adding and lets lookups begin.
func (x *index) ready() error {
	for _, list := range [][]place{x.byName, x.provided} {
		slices.SortFunc(list, func(a, b place) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.at, b.at)) })
	}
	return x.out.Flush()
}

// named returns the packages of a name: the highest version first; of one
// version, that of the source that was added first.
func (x *index) named(name string) []*packageInfo {
	list, ok := x.known[name]
	if ok || x.err != nil {
		return list
	}
	for _, p := range x.read(x.byName, name) {
		if p.name == name {
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b *packageInfo) int { return b.version.Compare(a.version) })
	x.known[name] = list
	return list
}

// providing returns the packages that provide a name, in the order of adding.
func (x *index) providing(name string) []*packageInfo {
	var list []*packageInfo
	for _, p := range x.read(x.provided, name) {
		if !slices.ContainsFunc(p.provides, func(r Relation) bool { return r.Name == name }) {
			continue
		}
		same := x.named(p.name)
		if i := slices.IndexFunc(same, func(q *packageInfo) bool { return q.at == p.at }); i >= 0 && !slices.Contains(list, same[i]) {
			list = append(list, same[i])
		}
	}
	return list
}

// read reads the paragraphs that a name's hash stands for.
func (x *index) read(places []place, name string) []*packageInfo {
	hash := x.hash(name)
	i, _ := slices.BinarySearchFunc(places, hash, func(p place, hash uint64) int { return cmp.Compare(p.name, hash) })
	var list []*packageInfo
	for ; i < len(places) && places[i].name == hash && x.err == nil; i++ {
		at := places[i].at
		paragraph, err := NewControlReader(io.NewSectionReader(x.file, at, math.MaxInt64-at)).Next()
		if err == nil {
			var p *packageInfo
			if p, err = newPackageInfo(paragraph); err == nil {
				p.at = at
				list = append(list, p)
			}
		}
		if err != nil {
			x.err = fmt.Errorf("read index of packages again: %w", err)
		}
	}
	return list
}

// writeTo writes the paragraph as it can be read again, with an empty line
// after it.
func (p Paragraph) writeTo(w io.StringWriter) (int64, error) {
	var b strings.Builder
	for _, f := range p {
		b.WriteString(f.Name + ": " + strings.ReplaceAll(f.Value, "\n", "\n ") + "\n")
	}
	n, err := w.WriteString(b.String() + "\n")
	return int64(n), err
}
