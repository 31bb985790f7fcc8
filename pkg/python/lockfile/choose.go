package lockfile

import (
	"cmp"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// chooser finds the files that a target takes.
type chooser struct {
	target    python.Target
	env       python.Environment
	supported *python.TagSet
	sel       Selection
	out       *Selected
}

func newChooser(t python.Target, s Selection) (*chooser, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return &chooser{target: t, env: t.Environment(), supported: python.NewTagSet(t.Tags()), sel: s,
		out: &Selected{Lock: python.Lock{Target: t}, IndexOf: map[string]string{}}}, nil
}

// allowed reports whether files of a kind may be used, by the names for which
// they may not and those for which the other kind may not: what is said of a
// project wins over ":all:".
func allowed(name string, not, other []string) bool {
	switch {
	case slices.Contains(not, name):
		return false
	case slices.Contains(other, name):
		return true
	}
	return !slices.Contains(not, ":all:")
}

func (c *chooser) wheels(name string) bool { return allowed(name, c.sel.NoWheels, c.sel.NoSdists) }
func (c *chooser) sdists(name string) bool { return allowed(name, c.sel.NoSdists, c.sel.NoWheels) }

// best returns the wheel that the target likes best (PEP 425), of several
// builds the newest (PEP 427, "build tag").
func (c *chooser) best(wheels []Artifact) (Artifact, bool) {
	var best Artifact
	var name python.WheelName
	least, found := 0, false
	for _, f := range wheels {
		n, err := python.ParseWheelName(f.Filename)
		if err != nil {
			continue // old names that no installer takes
		}
		rank, ok := n.Rank(c.supported)
		if !ok {
			continue
		}
		if found && cmp.Or(cmp.Compare(rank, least), name.CompareBuild(n), strings.Compare(f.Filename, best.Filename)) >= 0 {
			continue
		}
		best, name, least, found = f, n, rank, true
	}
	return best, found
}

// take adds a package with the file that fits it. One that is beside the lock
// is Local.
func (c *chooser) take(p python.Locked, wheels []Artifact, sdist *Artifact, line int) error {
	fail := &NoFileError{Package: p.Name, Version: p.Version, Target: c.target}
	if f, ok := c.best(wheels); ok && c.wheels(p.Name) {
		p.Wheel = f.File
		return c.add(p, f, fail, line)
	}
	if sdist != nil {
		if c.sdists(p.Name) {
			p.Sdist = sdist.File
			return c.add(p, *sdist, fail, line)
		}
		fail.Sdist = sdist.Filename
	}
	for _, f := range wheels {
		fail.Wheels = append(fail.Wheels, f.Filename)
	}
	slices.Sort(fail.Wheels)
	return fail
}

// add checks that the chosen file is what it should be, and adds it.
func (c *chooser) add(p python.Locked, f Artifact, fail *NoFileError, line int) error {
	name, version, err := fileVersion(f.Filename)
	switch {
	case err != nil:
		fail.Reason = f.Filename + " is not named as an sdist is today"
		return fail
	case p.Version.IsZero():
		p.Version = version
	case name != p.Name || !version.Equal(p.Version):
		fail.Reason = f.Filename + " is a file of " + name + " " + version.String()
		return fail
	case len(hashList(f.Hashes)) == 0:
		fail.Reason = f.Filename + " has no sha256, sha384 or sha512 hash"
		return fail
	}
	if f.Path != "" {
		l := localOf(p, line)
		l.Kind, l.Path, l.Hashes = Archive, f.Path, hashList(f.Hashes)
		c.out.Local = append(c.out.Local, l)
		return nil
	}
	c.out.Lock.Packages = append(c.out.Lock.Packages, p)
	return nil
}

// localOf is a Local with what is known of a package.
func localOf(p python.Locked, line int) Local {
	return Local{Name: p.Name, Version: p.Version, RequiredBy: p.RequiredBy, Requested: p.Requested, Extras: p.Extras, Line: line}
}

// fileVersion reads the name of a wheel or an sdist.
func fileVersion(filename string) (string, python.Version, error) {
	if strings.HasSuffix(filename, ".whl") {
		w, err := python.ParseWheelName(filename)
		return w.Name, w.Version, err
	}
	return python.ParseSdistName(filename)
}

// finish sorts what was selected.
func (c *chooser) finish() Selected {
	out := c.out
	out.Lock.Sort()
	slices.SortStableFunc(out.Pins, func(a, b python.FileRequirement) int {
		return strings.Compare(a.Requirement.Key(), b.Requirement.Key())
	})
	slices.SortStableFunc(out.Local, func(a, b Local) int { return strings.Compare(a.Name, b.Name) })
	out.Indexes = sortedSet(out.Indexes)
	return *out
}

// withoutUser is a URL without its user information. The user of ssh is part of
// the address.
func withoutUser(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		return raw
	}
	user := u.User.Username()
	if u.User = nil; strings.Contains(u.Scheme, "ssh") {
		u.User = url.User(user)
	}
	return u.String()
}

// lastOf is the name of the file that a URL or a path leads to.
func lastOf(place string) string {
	if u, err := url.Parse(place); err == nil && u.Scheme != "" {
		place = u.Path
		if u.Opaque != "" {
			place = u.Opaque
		}
	}
	return path.Base(slashed(place))
}

// slashed is a path with slashes, as it may be written on Windows.
func slashed(p string) string { return strings.ReplaceAll(p, `\`, "/") }

// want is a set of names of extras or groups, normalized.
type want map[string]bool

func wantNames(names []string) want {
	w := want{}
	for _, n := range names {
		w[python.NormalizeName(n)] = true
	}
	return w
}

// names lists the set, sorted.
func (w want) names() []string {
	list := make([]string, 0, len(w))
	for n := range w {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}
