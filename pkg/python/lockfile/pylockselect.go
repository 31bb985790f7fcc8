package lockfile

import (
	"fmt"
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// Select returns what a lock file of PEP 751 has for a target ("Installation").
func (f *File) Select(t python.Target, s Selection) (Selected, error) {
	c, err := newChooser(t, s)
	if err != nil {
		return Selected{}, err
	}
	if err := f.suits(c); err != nil {
		return Selected{}, f.at(0, err)
	}
	extras, groups, err := f.wanted(s)
	if err != nil {
		return Selected{}, f.at(0, err)
	}
	var chosen []*Package
	for i := range f.Packages {
		p := &f.Packages[i]
		holds, err := p.Marker.EvalLock(c.env, extras, groups)
		if err != nil {
			return Selected{}, f.at(p.line, err)
		}
		if holds {
			chosen = append(chosen, p)
		}
	}
	for _, p := range chosen {
		if err := f.one(c, p, chosen); err != nil {
			return Selected{}, f.at(p.line, err)
		}
		if err := f.take(c, p, chosen); err != nil {
			return Selected{}, f.at(p.line, err)
		}
	}
	c.out.Warnings = f.Warnings
	return c.finish(), nil
}

// Outdated always returns nil: a lock file of PEP 751 does not say what it was
// made from.
func (f *File) Outdated() error { return nil }

// at places an error in the file.
func (f *File) at(line int, err error) error {
	return &python.FileError{File: f.name, Line: line, Err: err}
}

// suits checks the target against requires-python and environments.
func (f *File) suits(c *chooser) error {
	if err := requiresPython(c.target, f.RequiresPython); err != nil {
		return err
	}
	if len(f.Environments) == 0 {
		return nil
	}
	for _, m := range f.Environments {
		if holds, err := m.EvalLock(c.env, nil, nil); err != nil {
			return err
		} else if holds {
			return nil
		}
	}
	return &TargetError{c.target, "it is none of its environments"}
}

// requiresPython checks the Python of a target. Where only the minor version of
// it is known, it is taken for a patch that fits.
func requiresPython(t python.Target, s python.Specifiers) error {
	v, err := python.ParseVersion(t.Environment().PythonFullVersion)
	if err != nil || s.Contains(v) {
		return err
	}
	if len(t.Python.Release()) < 3 {
		for patch := 1; patch < 40; patch++ {
			if v, err := python.ParseVersion(fmt.Sprintf("%s.%d", t.Python, patch)); err == nil && s.Contains(v) {
				return nil
			}
		}
	}
	return &TargetError{t, "it needs Python " + s.String()}
}

// wanted returns the extras and groups of a selection. What default-groups has
// and dependency-groups has not stands for the project's own dependencies,
// where these are a choice (PEP 751).
func (f *File) wanted(s Selection) (extras, groups []string, err error) {
	known := wantNames(f.DependencyGroups)
	w, err := s.groups(known, nil)
	if err != nil {
		return nil, nil, err
	}
	for _, g := range f.DefaultGroups {
		isGroup := known[python.NormalizeName(g)]
		if isGroup && len(s.OnlyGroups) == 0 && !s.NoDefaultGroups || !isGroup && s.main() {
			w[python.NormalizeName(g)] = true
		}
	}
	for _, g := range s.NoGroups {
		delete(w, python.NormalizeName(g))
	}
	x, err := s.extras(wantNames(f.Extras))
	if err != nil {
		return nil, nil, err
	}
	return x.names(), w.names(), nil
}

// one checks that no other entry of the same name applies.
func (f *File) one(c *chooser, p *Package, chosen []*Package) error {
	var versions []string
	for _, o := range chosen {
		if o.Name == p.Name {
			versions = append(versions, o.Version.String())
		}
	}
	if len(versions) > 1 {
		return &AmbiguousError{Package: p.Name, Versions: versions, Target: c.target}
	}
	return nil
}

// take adds what an entry leads to.
func (f *File) take(c *chooser, p *Package, chosen []*Package) error {
	if v, err := python.ParseVersion(c.env.PythonFullVersion); err != nil || !p.RequiresPython.Contains(v) {
		if err := requiresPython(c.target, p.RequiresPython); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	about := python.Locked{Name: p.Name, Version: p.Version, RequiredBy: requiredBy(p, chosen)}
	f.ours(c, p, chosen, &about)
	local := localOf(about, p.line)
	switch {
	case p.Directory != nil:
		local.Kind, local.Path, local.Editable, local.Subdirectory = Directory, p.Directory.Path, p.Directory.Editable, p.Directory.Subdirectory
	case p.VCS != nil:
		local.Kind, local.VCS, local.URL, local.Path = Repository, p.VCS.Type, p.VCS.URL, p.VCS.Path
		local.Commit, local.Revision, local.Subdirectory = p.VCS.CommitID, p.VCS.RequestedRevision, p.VCS.Subdirectory
	case p.Archive != nil:
		return f.archive(c, p, about, local)
	default:
		if p.Index != "" {
			c.out.Indexes = append(c.out.Indexes, p.Index)
		}
		return c.take(about, located(p.Wheels), locatedOne(p.Sdist), p.line)
	}
	c.out.Local = append(c.out.Local, local)
	return nil
}

// archive takes a file that is given by its place: a wheel, an sdist, or
// something that is built like one.
func (f *File) archive(c *chooser, p *Package, about python.Locked, local Local) error {
	a := locatedOne(p.Archive)
	if name, version, err := fileVersion(a.Filename); err == nil && name == p.Name && (p.Version.IsZero() || version.Equal(p.Version)) && a.Subdirectory == "" {
		if isWheel(a.Filename) {
			return c.take(about, []Artifact{*a}, nil, p.line)
		}
		return c.take(about, nil, a, p.line)
	}
	local.Kind, local.URL, local.Path, local.Subdirectory, local.Hashes = Archive, a.URL, a.Path, a.Subdirectory, hashList(a.Hashes)
	c.out.Local = append(c.out.Local, local)
	return nil
}

// located leaves out the URLs of files that are beside the lock: where there is
// a path it counts.
func located(list []Artifact) []Artifact {
	out := make([]Artifact, len(list))
	for i, a := range list {
		out[i] = *locatedOne(&a)
	}
	return out
}

func locatedOne(a *Artifact) *Artifact {
	if a == nil {
		return nil
	}
	out := *a
	if a.Path != "" {
		out.URL = ""
	}
	return &out
}

// requiredBy lists the packages, of those chosen, that name p as a dependency.
func requiredBy(p *Package, chosen []*Package) []string {
	var list []string
	for _, o := range chosen {
		if slices.ContainsFunc(o.Dependencies, func(d Dependency) bool {
			return d.Name == p.Name && (d.Version.IsZero() || p.Version.IsZero() || d.Version.Equal(p.Version))
		}) {
			list = append(list, o.Name)
		}
	}
	return sortedSet(list)
}

// isWheel reports whether a file is a wheel by its name.
func isWheel(filename string) bool { return len(filename) > 4 && filename[len(filename)-4:] == ".whl" }

// hashList writes hashes as "sha256:hex", the safe ones, sorted.
func hashList(m map[string]string) []string {
	var list []string
	for algorithm, digest := range m {
		if h, err := python.ParseHash(algorithm + ":" + digest); err == nil {
			list = append(list, h)
		}
	}
	slices.Sort(list)
	return list
}
