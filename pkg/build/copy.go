package build

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/dockerfile"
	"github.com/boyabuild/boyabuild/pkg/dockerignore"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// copyStep is a COPY, or an ADD of plain files, with all names expanded.
type copyStep struct {
	// sources are patterns below from's root.
	sources []string
	// inline are files whose content stands in the Dockerfile.
	inline []inlineFile
	dest   string
	// workdir is what a relative dest starts from.
	workdir string
	from    layers.Tree
	// context says that from is the build context, for messages.
	context bool
	// owner, where given, is everything's owner; else from's owners stay.
	owner *owner
	// mode changes every file's and directory's mode; zero leaves them.
	mode dockerfile.Chmod
	// exclude leaves out what it ignores, relative to from's root.
	exclude *dockerignore.Matcher
	// parents keeps the sources' own directories below dest.
	parents bool
	// chmod and excludes are mode and exclude as written.
	chmod    string
	excludes []string
	origin   string
}

type inlineFile struct {
	name    string
	content []byte
}

type owner struct{ uid, gid int }

// copied is what a copyStep has gathered: a later source replaces an earlier
// one's files, as in Docker.
type copied struct {
	step    *copyStep
	lower   layers.Tree
	entries []layers.Entry // in the order in which they came
}

// tree returns what the step lays over lower.
func (c *copyStep) tree(lower layers.Tree) (layers.Tree, error) {
	dest := c.dest
	if !path.IsAbs(dest) {
		dest = path.Join("/", c.workdir) + "/" + dest
	}
	wantsDir := strings.HasSuffix(dest, "/") || strings.HasSuffix(dest, "/.") || c.parents
	dest, err := lower.Resolve(path.Clean(dest))
	if err != nil {
		return layers.Tree{}, err
	}
	sources, err := c.expand()
	if err != nil {
		return layers.Tree{}, err
	}
	if n := max(len(sources), len(c.sources)) + len(c.inline); !wantsDir && n > 1 {
		return layers.Tree{}, fmt.Errorf("destination %q must end with a slash, for there are %d sources", c.dest, n)
	}
	if at, err := lower.Stat(dest); err == nil {
		switch {
		case at.Kind == layers.Dir:
			wantsDir = true
		case wantsDir:
			return layers.Tree{}, fmt.Errorf("destination %q is a %s in the image, not a directory", c.dest, at.Kind)
		}
	}
	out := &copied{step: c, lower: lower}
	for _, src := range sources {
		if err := out.add(src.path, c.below(dest, src), wantsDir); err != nil {
			return layers.Tree{}, err
		}
	}
	for _, f := range c.inline {
		to := dest
		if wantsDir {
			to = join(dest, f.name)
		}
		out.put(to, layers.Entry{Kind: layers.File, Mode: 0o644, Size: int64(len(f.content)), Content: layers.Bytes(f.content)})
	}
	return out.tree()
}

// sourcePath is a path of from that a source stands for.
type sourcePath struct {
	path string
	// pivot is the number of leading directories that --parents does not keep:
	// those before a "/./" in the source.
	pivot int
}

// below returns where a source goes: with --parents below the directories that
// it keeps, else to dest itself.
func (c *copyStep) below(dest string, src sourcePath) string {
	if !c.parents {
		return dest
	}
	dirs := strings.Split(src.path, "/")
	dirs = dirs[:len(dirs)-1]
	return join(dest, strings.Join(dirs[min(src.pivot, len(dirs)):], "/"))
}

// expand returns the paths that the sources' patterns match, in order. A pattern
// need not match anything beside other sources: "COPY pyproject.toml poetry.lock*
// ./" is how a file is copied that may not be there.
func (c *copyStep) expand() ([]sourcePath, error) {
	var out []sourcePath
	var unmatched error
	for _, src := range c.sources {
		clean := strings.TrimPrefix(path.Clean("/"+src), "/")
		pivot := 0
		if before, _, ok := strings.Cut(src, "/./"); ok {
			if before = strings.Trim(path.Clean("/"+before), "/"); before != "" {
				pivot = 1 + strings.Count(before, "/")
			}
		}
		if !strings.ContainsAny(clean, "*?[\\") {
			resolved, err := c.from.Resolve(clean)
			if err != nil {
				return nil, err
			}
			if resolved != "" {
				if _, ok := c.from.Lookup(resolved); !ok {
					return nil, &missingError{source: src, context: c.context}
				}
			}
			out = append(out, sourcePath{clean, pivot})
			continue
		}
		matched, err := c.match(clean)
		if err != nil {
			return nil, err
		}
		if len(matched) == 0 && unmatched == nil {
			unmatched = &missingError{source: src, pattern: true, context: c.context}
		}
		for _, m := range matched {
			out = append(out, sourcePath{m, pivot})
		}
	}
	if len(out)+len(c.inline) == 0 {
		return nil, unmatched
	}
	return out, nil
}

// match returns the entries whose whole path a pattern matches, in order. With
// --parents "**" stands for any number of directories, as in BuildKit.
func (c *copyStep) match(pattern string) ([]string, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	var out []string
	parts := strings.Split(pattern, "/")
	for _, e := range c.from.Entries() {
		if matchParts(parts, strings.Split(e.Path, "/"), c.parents) {
			out = append(out, e.Path)
		}
	}
	return out, nil
}

// matchParts matches a path with a well-formed pattern, part by part.
func matchParts(pattern, names []string, deep bool) bool {
	if len(pattern) == 0 {
		return len(names) == 0
	}
	if deep && pattern[0] == "**" {
		return matchParts(pattern[1:], names, deep) || (len(names) > 0 && matchParts(pattern, names[1:], deep))
	}
	if len(names) == 0 {
		return false
	}
	ok, err := path.Match(pattern[0], names[0])
	return err == nil && ok && matchParts(pattern[1:], names[1:], deep)
}

// missingError reports a source that is not there.
type missingError struct {
	source           string
	pattern, context bool
}

func (e *missingError) Error() string {
	where := "where it is copied from"
	if e.context {
		where = "in the build context"
	}
	if e.pattern {
		return fmt.Sprintf("nothing %s matches %q", where, e.source)
	}
	return fmt.Sprintf("%q is not %s", e.source, where)
}

// Hint says where else to look.
func (e *missingError) Hint() string {
	if !e.context {
		return ""
	}
	return "sources are relative to the build context's folder, and .dockerignore may leave them out"
}

// add lays the source src, a path of from, at dest.
func (o *copied) add(src, dest string, wantsDir bool) error {
	c := o.step
	at, err := c.from.Resolve(src)
	if err != nil {
		return err
	}
	if at == "" {
		return o.addDir("", dest)
	}
	e, ok := c.from.Lookup(at)
	if !ok {
		return &missingError{source: src, context: c.context}
	}
	if e.Kind == layers.Dir {
		if below, err := o.lower.Stat(dest); err == nil && below.Kind != layers.Dir {
			return fmt.Errorf("directory %q cannot take the place of %q, a %s in the image", src, "/"+dest, below.Kind)
		}
		if c.parents {
			dest = join(dest, path.Base(src))
		}
		return o.addDir(at, dest)
	}
	if c.ignored(at) {
		return nil
	}
	if wantsDir {
		dest = join(dest, path.Base(src))
	}
	if dest == "" {
		return errors.New("a file cannot take the place of the image's root")
	}
	o.put(dest, e)
	return nil
}

func (c *copyStep) ignored(p string) bool {
	return c.exclude != nil && c.exclude.Ignored(p)
}

// addDir lays what lies in the directory dir at dest. A dest that exists keeps
// its own mode and owner; directories below it get those of the source.
func (o *copied) addDir(dir, dest string) error {
	if dest != "" {
		if _, err := o.lower.Stat(dest); err != nil {
			top := layers.Entry{Kind: layers.Dir, Mode: 0o755}
			if e, ok := o.step.from.Lookup(dir); ok {
				top.Mode, top.UID, top.GID = e.Mode, e.UID, e.GID
			}
			o.put(dest, top)
		}
	}
	below := o.step.from.Under(dir)
	o.entries = slices.Grow(o.entries, len(below))
	for _, e := range below {
		if o.step.ignored(e.Path) {
			continue
		}
		rel := e.Path
		if dir != "" {
			rel = e.Path[len(dir)+1:]
		}
		if e.Kind == layers.Hardlink {
			e.Kind, e.Link = layers.File, "" // the first name may not be copied
		}
		o.put(join(dest, rel), e)
	}
	return nil
}

func (o *copied) put(to string, e layers.Entry) {
	c := o.step
	e.Path, e.Origin, e.Implied = to, c.origin, false
	if e.Kind == layers.Hardlink {
		e.Kind, e.Link = layers.File, ""
	}
	if c.owner != nil {
		e.UID, e.GID = c.owner.uid, c.owner.gid
	}
	if e.Kind != layers.Symlink {
		e.Mode = c.mode.Apply(e.Mode, e.Kind == layers.Dir)
	}
	o.entries = append(o.entries, e)
}

func (o *copied) tree() (layers.Tree, error) {
	t, err := layers.NewTree(layers.Latest(o.entries))
	if err != nil {
		return layers.Tree{}, err
	}
	if o.step.owner != nil {
		entries := slices.Clone(t.Entries())
		for i := range entries {
			if e := &entries[i]; e.Implied { // directories made on the way belong to the same owner
				e.UID, e.GID = o.step.owner.uid, o.step.owner.gid
			}
		}
		if t, err = layers.NewTree(entries); err != nil {
			return layers.Tree{}, err
		}
	}
	if t, err = t.Settle(o.lower); err != nil {
		return layers.Tree{}, err
	}
	for _, e := range t.Entries() {
		if at, ok := o.lower.Lookup(e.Path); ok && (at.Kind == layers.Dir) != (e.Kind == layers.Dir) && (at.Kind == layers.Dir || !e.Implied) {
			return layers.Tree{}, fmt.Errorf("a %s cannot take the place of %q, a %s in the image", e.Kind, "/"+e.Path, at.Kind)
		}
	}
	return t, nil
}

func join(dir, name string) string {
	switch {
	case dir == "":
		return name
	case name == "":
		return dir
	}
	return dir + "/" + name
}

// maxPasswd bounds the user database read from an image.
const maxPasswd = 1 << 20

// parseOwner reads "user[:group]", by name or number, as --chown and USER write
// it; names are looked up in the image. A user without a group gets the group
// of the same number for a number, as BuildKit has it ("a UID without GID will
// use the same numeric UID as the GID"), and the user's own group for a name.
func parseOwner(view layers.Tree, s string) (owner, error) {
	user, group, hasGroup := strings.Cut(s, ":")
	var o owner
	if n, err := strconv.Atoi(user); err == nil && n >= 0 {
		o.uid, o.gid = n, n
	} else {
		row, err := lookup(view, "etc/passwd", user)
		if err != nil {
			return owner{}, err
		}
		o.uid, o.gid = atoi(row, 2), atoi(row, 3)
	}
	if !hasGroup {
		return o, nil
	}
	if n, err := strconv.Atoi(group); err == nil && n >= 0 {
		o.gid = n
		return o, nil
	}
	row, err := lookup(view, "etc/group", group)
	if err != nil {
		return owner{}, err
	}
	o.gid = atoi(row, 2)
	return o, nil
}

// lookup returns the fields of the row that begins with name.
func lookup(view layers.Tree, file, name string) ([]string, error) {
	b, err := view.ReadFile(file, maxPasswd)
	if err != nil {
		return nil, fmt.Errorf("look up %q: the image's /%s: %w", name, file, err)
	}
	for line := range strings.Lines(string(b)) {
		row := strings.Split(strings.TrimSpace(line), ":")
		if row[0] == name && name != "" {
			return row, nil
		}
	}
	return nil, fmt.Errorf("the image's /%s does not have %q", file, name)
}

func atoi(row []string, i int) int {
	if i >= len(row) {
		return 0
	}
	n, err := strconv.Atoi(row[i])
	if err != nil || n < 0 {
		return 0
	}
	return n
}
