package layers

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// What an outline lists.
const (
	minDepth   = 2    // "usr/bin" is always listed
	maxDepth   = 6    // deeper nothing is decided by what is there
	maxListed  = 1500 // entries: some ten kilobytes
	maxAccount = 16 << 10
)

// UnlistedError reports a question whose answer lies in what a tree with Closed
// directories does not list: the path may or may not exist, and its content may
// not be read. Somebody who has the layers' bytes can tell.
type UnlistedError struct{ Path string }

func (e *UnlistedError) Error() string { return fmt.Sprintf("path %q: is not listed", e.Path) }

// unlisted is the content of the file at a path of an outline.
type unlisted string

func (u unlisted) Open() (io.ReadCloser, error) { return nil, &UnlistedError{Path: string(u)} }

// Complete says whether t lists all that there is: no directory is Closed.
func (t Tree) Complete() bool { return !t.closed }

// complete is an error that names the first Closed directory, if there is one.
func (t Tree) complete() error {
	if t.closed {
		for i := range t.entries {
			if t.entries[i].Closed {
				return &UnlistedError{Path: t.entries[i].Path}
			}
		}
	}
	return nil
}

// Listed says whether t knows what is at p, or that nothing is: whether p is an
// entry, or the nearest directory on the way to it that is one is not Closed. No
// symbolic link is followed on the way, so p is what [Tree.Resolve] returned; ""
// is the root, which is always listed.
func (t Tree) Listed(p string) bool { return !t.closed || t.listed(p) }

func (t Tree) listed(p string) bool {
	for dir := p; dir != ""; dir = parent(dir) {
		if i, ok := t.search(dir); ok {
			return dir == p || !t.entries[i].Closed
		}
	}
	return true
}

// ListsAll says whether t.Listed is true of all paths in u.
func (t Tree) ListsAll(u Tree) bool {
	if !t.closed {
		return true
	}
	var way trail
	l := t.entries
	for i := range u.entries {
		p := u.entries[i].Path
		for len(l) > 0 && comparePaths(l[0].Path, p) <= 0 {
			way.add(&l[0])
			l = l[1:]
		}
		if !way.listed(p) {
			return false
		}
	}
	return true
}

// knowledge follows the entries of two trees that are laid on one another, in
// order, and knows what cannot be said of the result.
type knowledge struct {
	marks        bool
	lower, upper trail
}

// seen says whether the upper tree is known not to hide an entry that only the
// lower one lists.
func (k *knowledge) seen(e *Entry) bool {
	k.lower.add(e)
	return k.upper.listed(e.Path)
}

// laid says whether an entry of the upper tree is Closed in the result. It is
// false if e must be left out, with all that lies in it, for what becomes of it
// is up to a directory that the lower tree may have without listing it.
func (k *knowledge) laid(e, below *Entry) (closed, ok bool) {
	k.upper.add(e)
	if below != nil {
		k.lower.add(below)
	}
	switch {
	case e.Kind != Dir:
		return false, true
	case e.Opaque || k.upper.inOpaque(): // nothing of the lower tree is seen
		return e.Closed, true
	case below != nil:
		return e.Closed || below.Closed, true
	case k.lower.listed(e.Path):
		return e.Closed, true
	}
	return true, !e.Implied && !k.marks
}

// trail is the way to a place in a tree that is gone through in order: the last
// entry met, and what it lies in.
type trail []*Entry

// leave takes off what p does not lie in.
func (t *trail) leave(p string) {
	for n := len(*t); n > 0 && !within(p, (*t)[n-1].Path); n-- {
		*t = (*t)[:n-1]
	}
}

func (t *trail) add(e *Entry) {
	t.leave(e.Path)
	*t = append(*t, e)
}

// listed is what [Tree.Listed] says of the tree.
func (t *trail) listed(p string) bool {
	t.leave(p)
	n := len(*t)
	return n == 0 || (*t)[n-1].Path == p || !(*t)[n-1].Closed
}

// inOpaque says whether the last entry met lies in an opaque directory.
func (t trail) inOpaque() bool {
	return slices.ContainsFunc(t[:len(t)-1], func(e *Entry) bool { return e.Opaque })
}

// Outline returns what a machine without the bytes of t, as a layer, has to know
// of it: where a path leads, whether a directory exists, which mode and owner it
// has, who is in etc/passwd. It is a function of t alone.
//
// All entries down to a depth d are listed, where d is the largest of 2 to 6 with
// which at most 1500 are; "usr/bin" has depth 2. In directories called
// lib/python3*, site-packages and dist-packages nothing is listed but the way to
// the first site-packages or dist-packages, and that at any depth. A directory is
// Closed if something directly in it was left out, or if it was Closed in t.
//
// Of an entry all is kept but its Origin, the extended attributes of what is not
// a directory (a directory's may become those of an implied one, see
// [Tree.Settle]), and the contents, which are an [*UnlistedError] when they are
// opened. etc/passwd and etc/group keep theirs, up to 16 KiB, if they can be read.
func Outline(t Tree) Tree {
	keep := outlined(t)
	var out []Entry
	var open []int // the listed directories that the entry lies in, as indices of out
	for i, e := range t.entries {
		for len(open) > 0 && !within(e.Path, out[open[len(open)-1]].Path) {
			open = open[:len(open)-1]
		}
		if !keep[i] {
			// Only if it lies directly in the last of them: else something
			// on the way was left out before, and the mark is there.
			if len(open) > 0 {
				out[open[len(open)-1]].Closed = true
			}
			continue
		}
		out = append(out, brief(e))
		if e.Kind == Dir {
			open = append(open, len(out)-1)
		}
	}
	closed := slices.ContainsFunc(out, func(e Entry) bool { return e.Closed })
	return Tree{entries: out, closed: closed}
}

// outlined says for each entry of t whether its outline lists it. What lists an
// entry lists all directories that it lies in.
func outlined(t Tree) []bool {
	const always, never = 0, maxDepth + 1
	depths := make([]int, len(t.entries)) // with which an entry is listed
	var way []int                         // the directories that the entry lies in
	python, site := "", ""                // the outermost such directory that the last entry lay in
	for i, e := range t.entries {
		for len(way) > 0 && !within(e.Path, t.entries[way[len(way)-1]].Path) {
			way = way[:len(way)-1]
		}
		inSite := site != "" && within(e.Path, site)
		inPython := python != "" && within(e.Path, python)
		switch base := path.Base(e.Path); {
		case inSite:
			depths[i] = never
		case e.Kind == Dir && (base == "site-packages" || base == "dist-packages"):
			site = e.Path
			for _, k := range way {
				depths[k] = always
			}
		case inPython:
			depths[i] = never
		default:
			depths[i] = min(1+strings.Count(e.Path, "/"), never)
			if e.Kind == Dir && strings.HasPrefix(base, "python3") && path.Base(parent(e.Path)) == "lib" {
				python = e.Path
			}
		}
		if e.Kind == Dir {
			way = append(way, i)
		}
	}
	var count [never + 1]int
	for _, d := range depths {
		count[d]++
	}
	depth, listed := minDepth, count[always]+count[1]+count[2]
	for depth < maxDepth && listed+count[depth+1] <= maxListed {
		depth++
		listed += count[depth]
	}
	keep := make([]bool, len(depths))
	for i, d := range depths {
		keep[i] = d <= depth
	}
	return keep
}

// brief is what an outline has of an entry.
func brief(e Entry) Entry {
	users := account(&e)
	e.Origin, e.Content = "", nil
	switch {
	case users != nil:
		e.Content = Bytes(users)
	case e.Kind == Hardlink || e.Size > 0:
		e.Content = unlisted(e.Path)
	}
	if e.Kind != Dir {
		e.Opaque, e.Implied = false, false
	}
	if e.Kind != Dir || len(e.Xattrs) == 0 {
		e.Xattrs = nil
	}
	return e
}

// account returns the content of a file that says who users and groups are; nil
// if it is another one, too long, or cannot be read.
func account(e *Entry) []byte {
	if !isAccount(e) || e.Content == nil {
		return nil
	}
	r, err := e.Content.Open()
	if err != nil {
		return nil
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, e.Size+1))
	if err != nil || int64(len(b)) != e.Size {
		return nil
	}
	return b
}

func isAccount(e *Entry) bool {
	return e.Kind == File && e.Size > 0 && e.Size <= maxAccount && (e.Path == "etc/passwd" || e.Path == "etc/group")
}
