package layers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sort"
	"strings"
)

// maxPath is the longest path an entry may have, in bytes: Linux's PATH_MAX,
// beyond which no reader could create it.
const maxPath = 4096

// maxLinks is the number of symbolic links followed for one path, as in the
// Linux kernel.
const maxLinks = 40

// Tree is a sorted, checked list of entries: what one layer holds, or what is
// seen when several layers lie on one another. Every entry's parent directories
// are in it. The zero value is the empty tree. A Tree is never changed.
//
// A tree may know less than there is: where a directory is Closed, what is not
// listed in it may exist all the same. An answer that depends on that is an
// [*UnlistedError].
type Tree struct {
	entries []Entry
	closed  bool // one of the directories is Closed
}

// Written returns the tree as a layer of it tells it: a layer has all directories,
// with their modes and owners, and does not say which of them were Implied.
func (t Tree) Written() Tree {
	if !slices.ContainsFunc(t.entries, func(e Entry) bool { return e.Implied }) {
		return t
	}
	t.entries = slices.Clone(t.entries)
	for i := range t.entries {
		t.entries[i].Implied = false
	}
	return t
}

// NewTree checks and sorts entries and adds the directories that they lie in
// (Implied, 0755, owner 0:0) where they are missing. It takes the slice over.
// The error is a [*PathError], or a [*ConflictError] where one path comes twice.
func NewTree(entries []Entry) (Tree, error) {
	for i := range entries {
		e := &entries[i]
		if err := check(e); err != nil {
			return Tree{}, err
		}
		if e.Kind == File && e.Content == nil && e.Size != 0 {
			return Tree{}, &PathError{Path: e.Path, Origin: e.Origin, Reason: "has a size but no content"}
		}
	}
	sortEntries(entries)
	for i := 1; i < len(entries); i++ {
		if a, b := &entries[i-1], &entries[i]; a.Path == b.Path {
			return Tree{}, &ConflictError{Path: a.Path, First: a.Origin, Second: b.Origin, Field: "entry"}
		}
	}
	return withParents(entries)
}

// Latest sorts entries by path, and of those with one path keeps the last: what is
// there when each is put in the place of the one before. It takes the slice over.
func Latest(entries []Entry) []Entry {
	sortEntries(entries)
	out := entries[:0]
	for i := range entries {
		if i+1 == len(entries) || entries[i].Path != entries[i+1].Path {
			out = append(out, entries[i])
		}
	}
	return out
}

// sortEntries sorts by path. Those of one path stay in their order. Most lists are
// sorted already, having come from a walk or from another tree.
func sortEntries(entries []Entry) {
	byPath := func(a, b Entry) int { return comparePaths(a.Path, b.Path) }
	for i := 1; i < len(entries); i++ {
		if comparePaths(entries[i-1].Path, entries[i].Path) > 0 {
			slices.SortStableFunc(entries, byPath)
			return
		}
	}
}

// check refuses an entry that no layer may hold.
func check(e *Entry) error {
	bad := func(reason string) error { return &PathError{Path: e.Path, Origin: e.Origin, Reason: reason} }
	switch {
	case e.Path == "" || e.Path == ".":
		return bad("is empty")
	case len(e.Path) > maxPath:
		return bad(fmt.Sprintf("is longer than %d bytes", maxPath))
	case strings.ContainsRune(e.Path, 0):
		return bad("has a NUL byte")
	case path.IsAbs(e.Path):
		return bad("is absolute")
	case e.Path != path.Clean(e.Path) || e.Path == ".." || strings.HasPrefix(e.Path, "../"):
		return bad("leads outside or is not clean")
	case strings.HasPrefix(path.Base(e.Path), whiteoutPrefix):
		return bad("has the name of a whiteout")
	case e.Mode&^0o7777 != 0:
		return bad(fmt.Sprintf("has the mode %#o, with bits that are not permissions", e.Mode))
	case e.Size < 0 || (e.Kind != File && e.Kind != Hardlink && e.Size != 0):
		return bad("has a size that its kind cannot have")
	case e.Kind == Symlink && (e.Link == "" || len(e.Link) > maxPath || strings.ContainsRune(e.Link, 0)):
		return bad("is a symbolic link without a usable target")
	case e.Kind == Hardlink && e.Link == "":
		return bad("is a hard link without a target")
	case e.Closed && e.Kind != Dir:
		return bad("is closed, which only a directory can be")
	case e.Kind < File || e.Kind > Whiteout:
		return bad("has no kind")
	}
	return nil
}

// withParents adds the missing parents of sorted entries. A parent that is not
// a directory is an error, but for a symbolic link, which [Tree.Settle] moves
// its children out of. The slice is taken over.
func withParents(entries []Entry) (Tree, error) {
	out := entries[:0:0] // entries[:i], as long as none is missing
	added := false
	closed := false
	var stack []string // the directories that the last entry lies in
	for i := range entries {
		e := &entries[i]
		closed = closed || e.Closed
		dir := parent(e.Path)
		for len(stack) > 0 && !within(dir, stack[len(stack)-1]) {
			stack = stack[:len(stack)-1]
		}
		have := ""
		if len(stack) > 0 {
			have = stack[len(stack)-1]
		}
		for have != dir {
			if !added {
				out, added = append(make([]Entry, 0, len(entries)+len(entries)/4+1), entries[:i]...), true
			}
			next := nextComponent(dir, have)
			if n := len(out); n > 0 && out[n-1].Path == next {
				return Tree{}, &PathError{Path: e.Path, Origin: e.Origin,
					Reason: fmt.Sprintf("lies in %q, which is a %s", next, out[n-1].Kind)}
			}
			out = append(out, Entry{Path: next, Kind: Dir, Mode: 0o755, Implied: true, Origin: e.Origin})
			stack = append(stack, next)
			have = next
		}
		if added {
			out = append(out, *e)
		}
		if e.Kind == Dir {
			stack = append(stack, e.Path)
		}
	}
	if !added {
		out = entries
	}
	return Tree{entries: out, closed: closed}, nil
}

// parent returns the directory that p lies in, "" for the root.
func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

// within says whether p is dir or lies in it.
func within(p, dir string) bool {
	return dir == "" || p == dir || (strings.HasPrefix(p, dir) && p[len(dir)] == '/')
}

// nextComponent returns the path one component longer than have on the way to p.
func nextComponent(p, have string) string {
	start := 0
	if have != "" {
		start = len(have) + 1
	}
	if i := strings.IndexByte(p[start:], '/'); i >= 0 {
		return p[:start+i]
	}
	return p
}

// comparePaths orders paths by their components, so that a directory comes
// right before all that lies in it.
func comparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// Entries returns the entries in order. They must not be changed.
func (t Tree) Entries() []Entry { return t.entries }

// Len returns the number of entries.
func (t Tree) Len() int { return len(t.entries) }

// search returns the index at which path is or would be.
func (t Tree) search(p string) (int, bool) {
	i := sort.Search(len(t.entries), func(i int) bool { return comparePaths(t.entries[i].Path, p) >= 0 })
	return i, i < len(t.entries) && t.entries[i].Path == p
}

// Lookup returns the entry at exactly path, following nothing.
func (t Tree) Lookup(p string) (Entry, bool) {
	i, ok := t.search(p)
	if !ok {
		return Entry{}, false
	}
	return t.entries[i], true
}

// Children returns the entries directly in dir; "" is the root. Of a Closed
// directory these are the listed ones only.
func (t Tree) Children(dir string) []Entry {
	var out []Entry
	for i := t.firstIn(dir); i < len(t.entries) && within(t.entries[i].Path, dir); {
		out = append(out, t.entries[i])
		i = t.after(i)
	}
	return out
}

// Under returns the entries that lie in dir at any depth, in order, without
// dir itself; "" is the root. They must not be changed. Of Closed directories
// these are the listed ones only.
func (t Tree) Under(dir string) []Entry {
	first := t.firstIn(dir)
	end := first + sort.Search(len(t.entries)-first, func(i int) bool { return !within(t.entries[first+i].Path, dir) })
	return t.entries[first:end]
}

// firstIn returns the index of the first entry that lies in dir.
func (t Tree) firstIn(dir string) int {
	if dir == "" {
		return 0
	}
	i, ok := t.search(dir)
	if ok {
		i++
	}
	return i
}

// after returns the index of the first entry after entry i that does not lie in it.
func (t Tree) after(i int) int {
	p := t.entries[i].Path
	return i + 1 + sort.Search(len(t.entries)-i-1, func(k int) bool { return !within(t.entries[i+1+k].Path, p) })
}

// Resolve returns the path that p leads to when the symbolic links in the tree
// are followed, the last element's too. An absolute target starts at the root,
// and ".." at the root stays there, as for a process in the image. What does
// not exist is kept as it is. p may begin with "/". Where it leads through, or
// to, a place that is not listed the error is an [*UnlistedError].
func (t Tree) Resolve(p string) (string, error) {
	return t.resolve(p, true)
}

// resolve follows the links of p's elements, of the last one too if last says
// so; else the last one need not be listed either.
func (t Tree) resolve(p string, last bool) (string, error) {
	links := 0
	done := ""
	rest := p
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch part {
		case "", ".":
			continue
		case "..":
			done = parent(done)
			continue
		}
		next := join(done, part)
		e, ok := t.Lookup(next)
		asIs := !last && strings.Trim(rest, "/") == ""
		if !ok && !asIs && !t.Listed(next) {
			return "", &UnlistedError{Path: next}
		}
		if !ok || asIs || e.Kind != Symlink {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", &PathError{Path: p, Origin: e.Origin, Reason: "has too many symbolic links on its way"}
		}
		if path.IsAbs(e.Link) {
			done = ""
		}
		rest = e.Link + "/" + rest
	}
	return done, nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// Stat returns the entry that p leads to, with symbolic links followed; the
// error is [fs.ErrNotExist] where there is none, and an [*UnlistedError] where
// that is not known.
func (t Tree) Stat(p string) (Entry, error) {
	r, err := t.Resolve(p)
	if err != nil {
		return Entry{}, err
	}
	if r == "" {
		return Entry{Path: "", Kind: Dir, Mode: 0o755, Implied: true}, nil
	}
	e, ok := t.Lookup(r)
	if !ok {
		return Entry{}, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	}
	return e, nil
}

// ReadFile returns the content of the file that p leads to. More than limit
// bytes are an error, [fs.ErrNotExist] says that there is no such file, and an
// [*UnlistedError] that the tree does not know.
func (t Tree) ReadFile(p string, limit int64) ([]byte, error) {
	e, err := t.Stat(p)
	if err != nil {
		return nil, err
	}
	if e.Kind != File && e.Kind != Hardlink {
		return nil, &fs.PathError{Op: "read", Path: p, Err: fmt.Errorf("is a %s", e.Kind)}
	}
	if e.Size > limit {
		return nil, &fs.PathError{Op: "read", Path: p, Err: fmt.Errorf("has %d bytes, more than the %d allowed", e.Size, limit)}
	}
	if e.Content == nil {
		return nil, nil
	}
	r, err := e.Content.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = &fs.PathError{Op: "read", Path: p, Err: fmt.Errorf("has more than the %d bytes allowed", limit)}
	}
	return b, err
}

// Merge makes one tree of several that are to lie in one layer. A path may come
// from more than one of them where the entries are alike to the byte; anything
// else is a [*ConflictError] that names both origins. What lies in one layer has
// to be known: a Closed directory is an [*UnlistedError].
func Merge(trees ...Tree) (Tree, error) {
	n := 0
	for _, t := range trees {
		if err := t.complete(); err != nil {
			return Tree{}, err
		}
		n += len(t.entries)
	}
	all := make([]Entry, 0, n)
	for _, t := range trees {
		all = append(all, t.entries...)
	}
	sortEntries(all)
	out := all[:0]
	for _, e := range all {
		if len(out) == 0 || out[len(out)-1].Path != e.Path {
			out = append(out, e)
			continue
		}
		kept := &out[len(out)-1]
		switch {
		case e.Implied && kept.Kind == Dir:
		case kept.Implied && e.Kind == Dir:
			*kept = e
		default:
			if err := same(kept, &e); err != nil {
				return Tree{}, err
			}
		}
	}
	return withParents(slices.Clip(out))
}

// same returns a *ConflictError where two entries of one path differ.
func same(a, b *Entry) error {
	differ := func(field string) error {
		return &ConflictError{Path: a.Path, First: a.Origin, Second: b.Origin, Field: field}
	}
	switch {
	case a.Kind != b.Kind:
		return differ("kind")
	case a.Mode != b.Mode:
		return differ("mode")
	case a.UID != b.UID || a.GID != b.GID:
		return differ("owner")
	case a.Link != b.Link:
		return differ("target")
	case a.Major != b.Major || a.Minor != b.Minor:
		return differ("device number")
	case !maps.Equal(a.Xattrs, b.Xattrs):
		return differ("set of extended attributes")
	case a.Opaque != b.Opaque:
		return differ("opacity")
	case a.Size != b.Size:
		return differ("content")
	}
	if a.Kind != File || a.Size == 0 {
		return nil
	}
	equal, err := sameContent(a, b)
	if err != nil {
		return err
	}
	if !equal {
		return differ("content")
	}
	return nil
}

func sameContent(a, b *Entry) (bool, error) {
	ra, err := a.Content.Open()
	if err != nil {
		return false, fmt.Errorf("read %q of %s: %w", a.Path, orUnknown(a.Origin), err)
	}
	defer ra.Close()
	rb, err := b.Content.Open()
	if err != nil {
		return false, fmt.Errorf("read %q of %s: %w", b.Path, orUnknown(b.Origin), err)
	}
	defer rb.Close()
	bufA, bufB := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		na, errA := readFull(ra, bufA)
		nb, errB := readFull(rb, bufB)
		if !bytes.Equal(bufA[:na], bufB[:nb]) {
			return false, nil
		}
		endA, endB := errA == io.EOF, errB == io.EOF
		switch {
		case errA != nil && !endA:
			return false, a.unread(errA)
		case errB != nil && !endB:
			return false, b.unread(errB)
		case endA || endB:
			return endA == endB, nil
		}
	}
}

// readFull fills p as far as r goes; io.EOF says that r has ended, in p or at its
// end. Any other error is r's own: with io.ReadFull, an io.ErrUnexpectedEOF of r
// could not be told from the end.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
	}
	return n, err
}

// Overlay returns what is seen when upper is laid over lower: upper's entries,
// and those of lower that upper neither replaces, whites out nor hides in an
// opaque directory. There are no whiteouts in the result.
//
// Of what is not listed in the one or the other the result claims nothing: where
// upper has a Closed directory, entries of lower that upper may hide are left
// out; a directory is Closed if it is so in upper, or in lower and not opaque in
// upper; and a directory that upper only implies, where lower may have it, is
// left out with all that lies in it, for its mode and owner are lower's.
func Overlay(lower, upper Tree) Tree {
	if len(lower.entries) == 0 && !upper.hasMarks() {
		return upper
	}
	return stack(lower, upper, false)
}

// Compose returns the one layer that does what first and then second would do:
// unlike in [Overlay], what they take away from the layers below stays marked.
func Compose(first, second Tree) Tree {
	if len(first.entries) == 0 {
		return second
	}
	return stack(first, second, true)
}

// stack lays upper over lower and keeps the marks for layers below, or not.
func stack(lower, upper Tree, marks bool) Tree {
	out := make([]Entry, 0, len(lower.entries)+len(upper.entries))
	l, u := lower.entries, upper.entries
	var known *knowledge
	if lower.closed || upper.closed {
		known = &knowledge{marks: marks}
	}
	for len(l) > 0 || len(u) > 0 {
		if len(u) == 0 || (len(l) > 0 && comparePaths(l[0].Path, u[0].Path) < 0) {
			if known == nil || known.seen(&l[0]) {
				out = append(out, l[0])
			}
			l = l[1:]
			continue
		}
		e := &u[0]
		u = u[1:]
		var below *Entry
		if len(l) > 0 && l[0].Path == e.Path {
			below, l = &l[0], l[1:]
		}
		if e.Kind != Dir || e.Opaque {
			hidden := Tree{entries: l}
			l = l[len(hidden.Under(e.Path)):]
		}
		closed := false
		if known != nil {
			var ok bool
			if closed, ok = known.laid(e, below); !ok {
				rest := Tree{entries: u}
				u = u[len(rest.Under(e.Path)):]
				continue
			}
		}
		if e.Kind != Whiteout || marks {
			out = append(out, cover(*e, below, marks))
			out[len(out)-1].Closed = closed
		}
	}
	closed := known != nil && slices.ContainsFunc(out, func(e Entry) bool { return e.Closed })
	return Tree{entries: out, closed: closed}
}

// cover is what comes of an entry that is laid over below, which may be nil.
func cover(e Entry, below *Entry, marks bool) Entry {
	switch {
	case e.Kind != Dir || e.Opaque || below == nil:
	case below.Kind == Whiteout:
		e.Opaque, e.Implied = true, false // what lay below it stays away
	case below.Kind == Dir && e.Implied:
		e = *below
	case below.Kind == Dir:
		e.Opaque = below.Opaque
	}
	e.Opaque = e.Opaque && marks
	return e
}

// hasMarks says whether there are entries that mean something only above
// another layer.
func (t Tree) hasMarks() bool {
	return slices.ContainsFunc(t.entries, func(e Entry) bool { return e.Kind == Whiteout || e.Opaque })
}

// Settle fits a tree that is to become a layer to the image that it will lie
// on: entries whose directory is reached there through a symbolic link move to
// where it leads ("lib/x" on a merged /usr becomes "usr/lib/x"), and implied
// directories take mode and owner of the ones that are there. Where that depends
// on what is not listed in lower, or in t, the error is an [*UnlistedError].
func (t Tree) Settle(lower Tree) (Tree, error) {
	if err := t.complete(); err != nil {
		return Tree{}, err
	}
	out := make([]Entry, 0, len(t.entries))
	moved := false
	dir, real := "", "" // the last directory that was resolved
	for _, e := range t.entries {
		was := e.Path
		if d := parent(e.Path); d != dir {
			r, err := lower.resolve(d, true)
			if err != nil {
				return Tree{}, err
			}
			dir, real = d, r
		}
		if real != dir {
			e.Path = join(real, path.Base(e.Path))
			moved = moved || e.Path != was
		}
		if e.Kind == Dir && !e.Opaque {
			at, err := lower.Stat(e.Path)
			if unlisted := (*UnlistedError)(nil); errors.As(err, &unlisted) {
				return Tree{}, err
			}
			if err == nil && at.Kind == Dir && at.Path != e.Path {
				moved = true
				continue // the link stays; what lies in the directory moves to its target
			}
		}
		if e.Kind == Hardlink {
			r, err := lower.resolve(e.Link, false)
			if err != nil {
				return Tree{}, err
			}
			e.Link = r
		}
		out = append(out, e)
	}
	if !moved {
		return Tree{entries: out}.settleImplied(lower)
	}
	settled, err := Merge(Tree{entries: out}) // two ways to one directory are one directory now
	if err != nil {
		return Tree{}, err
	}
	return settled.settleImplied(lower)
}

// settleImplied gives implied directories mode and owner of lower's.
func (t Tree) settleImplied(lower Tree) (Tree, error) {
	for i := range t.entries {
		e := &t.entries[i]
		if !e.Implied {
			continue
		}
		at, ok := lower.Lookup(e.Path)
		switch {
		case ok && at.Kind == Dir:
			e.Mode, e.UID, e.GID, e.Xattrs = at.Mode, at.UID, at.GID, at.Xattrs
		case !ok && !lower.Listed(e.Path):
			return Tree{}, &UnlistedError{Path: e.Path}
		}
	}
	return t, nil
}
