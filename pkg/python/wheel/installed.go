package wheel

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
)

// Distribution is an installed distribution, as its metadata in a file system
// says.
type Distribution struct {
	Name     string // as METADATA spells it
	Version  python.Version
	Metadata python.Metadata
	// Installer is what INSTALLER says: "pip", "uv", "debian"; "" where it is
	// not said.
	Installer string
	// Requested says that the user asked for it.
	Requested bool
	// Site is the directory it was found in, Info its .dist-info or .egg-info
	// directory or file. Both are paths of a tree: without the first slash.
	Site, Info string
	// Files are the paths in the tree of all that RECORD lists. nil: there is
	// no RECORD, as for Debian's packages, and it cannot be uninstalled.
	Files []string
}

// Key returns the normalised name.
func (d Distribution) Key() string { return python.NormalizeName(d.Name) }

// Installed returns the distributions in the given directories of a view, in
// the order of the directories (as on sys.path: the first of a name is the one
// that Python finds) and by name in each. A directory that is not there has
// none.
func Installed(view layers.Tree, sitePackages []string) ([]Distribution, error) {
	var all []Distribution
	seen := map[string]bool{}
	for _, dir := range sitePackages {
		site, err := view.Resolve(dir)
		if err != nil {
			return nil, fmt.Errorf("list what is installed in %s: %w", dir, err)
		}
		if seen[site] {
			continue // two names of one directory, as on a merged /usr
		}
		seen[site] = true
		first := len(all)
		for _, e := range view.Children(site) {
			d, ok, err := distribution(view, site, e)
			if err != nil {
				return nil, fmt.Errorf("read what is installed in /%s: %w", e.Path, err)
			}
			if ok {
				all = append(all, d)
			}
		}
		slices.SortStableFunc(all[first:], func(a, b Distribution) int { return strings.Compare(a.Key(), b.Key()) })
	}
	return all, nil
}

// distribution reads one entry of a site directory; ok is false where it is no
// distribution's metadata.
func distribution(view layers.Tree, site string, e layers.Entry) (d Distribution, ok bool, err error) {
	d = Distribution{Site: site, Info: e.Path}
	var metadata string
	switch path.Ext(e.Path) {
	case ".dist-info":
		metadata = e.Path + "/METADATA"
	case ".egg-info": // setuptools' older form: a directory, or the one file
		metadata = e.Path
		if at, err := view.Stat(e.Path); err == nil && at.Kind == layers.Dir {
			metadata += "/PKG-INFO"
		}
	default:
		return d, false, nil
	}
	b, err := view.ReadFile(metadata, maxText)
	if errors.Is(err, fs.ErrNotExist) {
		return d, false, nil // what is left of an interrupted install; pip skips it too
	}
	if err != nil {
		return d, false, err
	}
	if d.Metadata, err = python.ParseMetadata(b); err != nil {
		return d, false, err
	}
	d.Name, d.Version = d.Metadata.Name, d.Metadata.Version
	if installer, err := view.ReadFile(e.Path+"/INSTALLER", maxText); err == nil {
		d.Installer = strings.TrimSpace(string(installer))
	}
	_, err = view.Stat(e.Path + "/REQUESTED")
	d.Requested = err == nil
	d.Files, err = recordedFiles(view, d)
	return d, err == nil, err
}

// eggFiles are the files of what setup.py install left behind: those that
// installed-files.txt names, and all in the .egg-info directory, as pip has it; nil
// where there is no such list.
func eggFiles(view layers.Tree, d Distribution) []string {
	b, err := view.ReadFile(d.Info+"/installed-files.txt", maxText)
	if err != nil {
		return nil
	}
	var files []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if !path.IsAbs(line) {
			line = path.Join("/", d.Info, line)
		}
		files = append(files, strings.TrimPrefix(path.Clean(line), "/"))
	}
	for _, e := range view.Under(d.Info) {
		if e.Kind != layers.Dir && !slices.Contains(files, e.Path) {
			files = append(files, e.Path)
		}
	}
	return files
}

// recordedFiles reads RECORD; nil without one.
func recordedFiles(view layers.Tree, d Distribution) ([]string, error) {
	if at, err := view.Stat(d.Info); err == nil && at.Kind == layers.Dir && path.Ext(d.Info) == ".egg-info" {
		return eggFiles(view, d), nil
	}
	b, err := view.ReadFile(d.Info+"/RECORD", maxText)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || path.Ext(d.Info) != ".dist-info" {
			return nil, nil
		}
		return nil, err
	}
	rows, err := parseRecord(b)
	if err != nil {
		return nil, fmt.Errorf("RECORD: %w", err)
	}
	files := make([]string, 0, len(rows))
	for _, r := range rows {
		p := r.path
		if !path.IsAbs(p) {
			p = "/" + d.Site + "/" + p
		}
		if p = strings.TrimPrefix(path.Clean(p), "/"); p != "" {
			files = append(files, p)
		}
	}
	return files, nil
}

// UninstallError reports a distribution whose files are not known. pip refuses
// to replace it, too.
type UninstallError struct{ Distribution Distribution }

func (e *UninstallError) Error() string {
	return fmt.Sprintf("uninstall %s %s: there is no RECORD in /%s", e.Distribution.Name, e.Distribution.Version, e.Distribution.Info)
}

// Hint says what the user can do.
func (e *UninstallError) Hint() string {
	if e.Distribution.Installer == "debian" || strings.Contains(e.Distribution.Info, "/dist-packages/") {
		return "it belongs to the system's package manager; leave the system's package out of the base, or install with --ignore-installed"
	}
	return "install with --ignore-installed to lay the new version over it"
}

// Uninstall returns the whiteouts that take d away from view: the files of its
// RECORD with their bytecode, and directories in the site directory that hold
// nothing else. What RECORD lists outside of the Python's prefix stays, as with
// pip. Lay nothing into the same layer with [layers.Merge] where the new files
// overlap: [Replace] is for that.
func Uninstall(view layers.Tree, d Distribution) (layers.Tree, error) {
	return Replace(view, []Distribution{d}, layers.Tree{})
}

// Replace returns the layer that takes the old distributions away from view and
// puts next in: next with a whiteout for all that was theirs and that it does
// not have itself. Paths are compared as they are: settle next on view first
// ([layers.Tree.Settle]) where the view has links on the way.
func Replace(view layers.Tree, old []Distribution, next layers.Tree) (layers.Tree, error) {
	r := removal{view: view, next: next, gone: map[string]bool{}}
	for _, d := range old {
		if d.Files == nil {
			return layers.Tree{}, &UninstallError{d}
		}
		if err := r.remove(d); err != nil {
			return layers.Tree{}, fmt.Errorf("uninstall %s %s: %w", d.Name, d.Version, err)
		}
	}
	for _, d := range old {
		r.collapse(d.Site)
	}
	return layers.NewTree(append(r.whiteouts(), next.Entries()...))
}

// removal collects the paths of view that go.
type removal struct {
	view, next layers.Tree
	gone       map[string]bool
}

// remove marks the files of d that are there, each .py file's bytecode too.
func (r *removal) remove(d Distribution) error {
	prefix := prefixOf(d.Site)
	for _, f := range d.Files {
		dir, err := r.view.Resolve(path.Dir(f)) // the last element may be a link: that goes, not its target
		if err != nil {
			return err
		}
		p := path.Join(dir, path.Base(f))
		if !inside(p, prefix) {
			continue
		}
		r.mark(p)
		stem, isSource := strings.CutSuffix(path.Base(p), ".py")
		if !isSource {
			continue
		}
		r.mark(path.Join(dir, stem+".pyc"))
		for _, c := range r.view.Children(path.Join(dir, "__pycache__")) {
			if name := path.Base(c.Path); strings.HasPrefix(name, stem+".") && strings.HasSuffix(name, ".pyc") {
				r.mark(c.Path)
			}
		}
	}
	return nil
}

func (r *removal) mark(p string) {
	if e, ok := r.view.Lookup(p); ok && e.Kind != layers.Dir {
		r.gone[p] = true
	}
}

// prefixOf returns the prefix of the Python that a site directory belongs to:
// "usr/local" of "usr/local/lib/python3.13/site-packages"; the directory itself
// where it has no such form, as after --target.
func prefixOf(site string) string {
	for _, lib := range []string{"/lib/python", "/lib64/python"} {
		if i := strings.LastIndex("/"+site, lib); i >= 0 {
			return strings.TrimPrefix(("/" + site)[:i], "/")
		}
	}
	return site
}

func inside(p, dir string) bool {
	return dir == "" || strings.HasPrefix(p, dir+"/")
}

// collapse marks the directories below site that are left with nothing. A
// directory that next puts something in stays.
func (r *removal) collapse(site string) {
	under := r.view.Under(site)
	kept := map[string]bool{} // directories with something in them
	for i := len(under) - 1; i >= 0; i-- {
		e := under[i]
		if e.Kind == layers.Dir && !kept[e.Path] && r.hadGone(e.Path) {
			if _, ok := r.next.Lookup(e.Path); !ok {
				r.gone[e.Path] = true
			}
		}
		if !r.gone[e.Path] {
			kept[path.Dir(e.Path)] = true
		}
	}
}

// hadGone says whether a file of dir itself goes: pip looks at no other directories,
// and leaves empty what held only directories. One that was empty before is not ours to remove.
func (r *removal) hadGone(dir string) bool {
	for _, c := range r.view.Children(dir) {
		if c.Kind != layers.Dir && r.gone[c.Path] {
			return true
		}
	}
	return false
}

// whiteouts returns one entry for each path that goes and is in no directory
// that goes, and that next does not replace.
func (r *removal) whiteouts() []layers.Entry {
	var out []layers.Entry
	for p := range r.gone {
		if r.gone[path.Dir(p)] {
			continue
		}
		if _, ok := r.next.Lookup(p); !ok {
			out = append(out, layers.Entry{Path: p, Kind: layers.Whiteout})
		}
	}
	return out
}
