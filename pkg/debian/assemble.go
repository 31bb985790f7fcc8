package debian

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// member is an unpacked package that is to become part of a root.
type member struct {
	unpacked
	os       bool // part of what every root has
	name     string
	origin   string     // the .deb's name, for messages
	replaces []Relation // the packages whose files it may take over
}

func newMember(l Locked, u unpacked) (member, error) {
	m := member{unpacked: u, os: l.OS, name: l.Name, origin: path.Base(l.Path)}
	p, err := NewControlReader(bytes.NewReader(u.control)).Next()
	if err != nil {
		return m, fmt.Errorf("read control of %s: %w", m.origin, err)
	}
	if p.Get("Package") != l.Name || p.Get("Version") != l.Version {
		return m, fmt.Errorf("read control of %s: it is of %s %s, not of %s", m.origin, p.Get("Package"), p.Get("Version"), l)
	}
	groups, err := ParseDependencies(p.Get("Replaces"))
	if err != nil {
		return m, fmt.Errorf("read control of %s: Replaces: %w", m.origin, err)
	}
	for _, g := range groups {
		m.replaces = append(m.replaces, g...)
	}
	return m, nil
}

// ConflictError reports two packages that have different files of one name,
// though neither says that it replaces the other.
type ConflictError struct {
	Path          string
	First, Second string // the names of the .deb files
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("assemble packages: %s and %s both have /%s", e.First, e.Second, e.Path)
}

// placed is an entry of a root with the package that it is from.
type placed struct {
	layers.Entry
	from *member
}

// assembly is a root that is being put together.
type assembly struct {
	at    map[string]*placed
	links map[string]string // the symbolic links among them, by path
}

// assemble puts unpacked packages together as the two parts of a root. It
// depends on nothing but the packages, which come in order of their names.
func assemble(members []member) (system, packages layers.Tree, err error) {
	a := &assembly{at: map[string]*placed{}, links: map[string]string{}}
	var entries []placed
	for i := range members {
		m := &members[i]
		for _, e := range m.tree.Entries() {
			if !e.Implied {
				e.Origin = m.origin
				entries = append(entries, placed{e, m})
			}
		}
	}
	merged := mergedDirectories(entries)
	for i := range entries {
		mergeUsr(&entries[i].Entry, merged)
	}
	entries = prune(entries)
	for _, e := range entries {
		if e.Kind == layers.Symlink {
			a.links[e.Path] = e.Link
		}
	}
	for i := range entries {
		if err := a.place(&entries[i]); err != nil {
			return system, packages, err
		}
	}
	if err := a.finish(members, merged); err != nil {
		return system, packages, err
	}
	return a.split()
}

// mergedDirectories returns the top-level directories that are links into /usr
// on a system with the merged /usr: "bin", "lib64", ….
func mergedDirectories(entries []placed) map[string]bool {
	merged := map[string]bool{"bin": true, "sbin": true, "lib": true}
	for _, e := range entries {
		switch top, _, _ := strings.Cut(e.Path, "/"); top {
		case "lib64", "lib32", "libx32", "libo32":
			merged[top] = true
		}
	}
	return merged
}

// intoUsr returns where a path lies when /usr is merged.
func intoUsr(p string, merged map[string]bool) string {
	if top, _, _ := strings.Cut(p, "/"); merged[top] {
		return "usr/" + p
	}
	return p
}

// mergeUsr moves an entry from where packages of older suites have it to where
// it lies when /usr is merged. Newer suites ship the top-level links, which
// stay. A relative link that was written for the old place goes on leading to
// the same file.
func mergeUsr(e *layers.Entry, merged map[string]bool) {
	if e.Kind == layers.Hardlink {
		e.Link = intoUsr(e.Link, merged)
	}
	if merged[e.Path] && e.Kind == layers.Symlink {
		return
	}
	old := e.Path
	e.Path = intoUsr(old, merged)
	if e.Path == old || e.Kind != layers.Symlink || path.IsAbs(e.Link) {
		return
	}
	target := strings.TrimPrefix(path.Join("/", path.Dir(old), e.Link), "/")
	if target != "" {
		e.Link = relative(path.Dir(e.Path), intoUsr(target, merged))
	}
}

// relative returns the way from a directory to a path, both clean and relative
// to the root.
func relative(dir, p string) string {
	from, to := strings.Split(dir, "/"), strings.Split(p, "/")
	for len(from) > 0 && len(to) > 1 && from[0] == to[0] {
		from, to = from[1:], to[1:]
	}
	return strings.Repeat("../", len(from)) + strings.Join(to, "/")
}

// pruned are directories that no program in a container reads.
var pruned = []string{"usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian",
	"usr/share/bug", "usr/share/doc-base", "usr/share/applications", "usr/share/pixmaps"}

// isPruned says whether an entry is documentation or a translation. Copyright
// files stay, and the links that stand for a package's documentation
// directory: their licences ask for it.
func isPruned(e *layers.Entry) bool {
	for _, dir := range pruned {
		if e.Path == dir || strings.HasPrefix(e.Path, dir+"/") {
			return true
		}
	}
	rest, ok := strings.CutPrefix(e.Path, "usr/share/doc/")
	if !ok {
		return false
	}
	_, file, below := strings.Cut(rest, "/")
	return below && !strings.HasPrefix(file, "copyright")
}

// prune leaves out what isPruned names. A hard link to a file left out becomes
// the file.
func prune(entries []placed) []placed {
	out := entries[:0]
	gone := map[string]bool{}
	for _, e := range entries {
		if isPruned(&e.Entry) {
			gone[e.Path] = true
			continue
		}
		out = append(out, e)
	}
	for i := range out {
		if e := &out[i]; e.Kind == layers.Hardlink && gone[e.Link] {
			e.Kind, e.Link = layers.File, ""
		}
	}
	return out
}

// place puts an entry where it lies when the links in its way are followed, as
// dpkg would by writing it, and settles what two packages have alike.
func (a *assembly) place(e *placed) error {
	var err error
	if e.Path, err = a.follow(e.Path); err != nil {
		return fmt.Errorf("assemble packages: %s: %w", e.Origin, err)
	}
	if e.Kind == layers.Hardlink {
		if e.Link, err = a.follow(e.Link); err != nil {
			return fmt.Errorf("assemble packages: %s: %w", e.Origin, err)
		}
	}
	old := a.at[e.Path]
	switch {
	case old == nil:
		a.at[e.Path] = e
	case old.Kind == layers.Dir && e.Kind == layers.Dir:
		if e.from.os && !old.from.os {
			a.at[e.Path] = e // it belongs to the part below
		}
	case old.Kind == layers.Symlink && e.Kind == layers.Dir: // the link stands for the directory
	case old.Kind == layers.Dir && e.Kind == layers.Symlink:
		a.at[e.Path] = e
	case e.from.mayReplace(old.from):
		a.at[e.Path] = e
	case old.from.mayReplace(e.from):
	case old.Kind == layers.Symlink && e.Kind == layers.Symlink && old.Link == e.Link:
	default:
		return &ConflictError{e.Path, old.Origin, e.Origin}
	}
	return nil
}

// mayReplace says whether one package declares that it takes over files of the
// other. The version need not be looked at: that of the index is the one meant.
func (m *member) mayReplace(other *member) bool {
	return slices.ContainsFunc(m.replaces, func(r Relation) bool { return r.Name == other.name })
}

// follow returns where a path leads when the links to its directory are
// followed, the last element not.
func (a *assembly) follow(p string) (string, error) {
	done, rest := "", p
	for links := 0; rest != ""; {
		part, after, more := strings.Cut(rest, "/")
		rest = after
		switch part {
		case "", ".":
			continue
		case "..":
			done = strings.TrimPrefix(path.Dir("/"+done), "/")
			continue
		}
		next := strings.TrimPrefix(done+"/"+part, "/")
		target, linked := a.links[next]
		if !linked || !more {
			done = next
			continue
		}
		if links++; links > 40 {
			return "", &layers.PathError{Path: p, Reason: "has too many symbolic links on its way"}
		}
		if path.IsAbs(target) {
			done = ""
		}
		rest = target + "/" + rest
	}
	if done == "" {
		return "", &layers.PathError{Path: p, Reason: "leads to the root itself"}
	}
	return done, nil
}

// split parts the root into what every root has and the rest, which is made to
// lie on it.
func (a *assembly) split() (system, packages layers.Tree, err error) {
	var low, high []layers.Entry
	for _, p := range slices.Sorted(maps.Keys(a.at)) {
		if e := a.at[p]; e.from.os {
			low = append(low, e.Entry)
		} else {
			high = append(high, e.Entry)
		}
	}
	if system, err = layers.NewTree(low); err != nil {
		return system, packages, fmt.Errorf("assemble packages: %w", err)
	}
	if packages, err = layers.NewTree(high); err != nil {
		return system, packages, fmt.Errorf("assemble packages: %w", err)
	}
	packages, err = packages.Settle(system)
	return system, packages, err
}
