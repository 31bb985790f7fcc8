package build

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// placeRecord is what an install has to know of the place that it installs to.
type placeRecord struct {
	Installed []installedRecord `json:"installed,omitempty"`
	// Frame is the outline of the directories that wheels are laid out in:
	// those and the links that exist, with their modes and owners.
	Frame []byte `json:"frame,omitempty"`
	// Names and Links are what is in the directory of pip's --target, and which of
	// it are links.
	Names []string `json:"names,omitempty"`
	Links []string `json:"links,omitempty"`
}

type installedRecord struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Site     string   `json:"site"`
	Requires []string `json:"requires,omitempty"`
}

// place is a placeRecord, read.
type place struct {
	there []wheel.Distribution // without what is needed to take them away
	frame layers.Tree
	names []string // see placeRecord
	links []string
}

// place finds out what is where the install goes to: from record, as long as
// nothing there has changed, or by looking.
func (p *installation) place(ctx context.Context, scheme wheel.Scheme) (*place, error) {
	sites := p.sites(scheme)
	key, err := keyOf("place/2", []any{p.aside(), p.at.identity(schemeRoots(scheme, sites)), scheme, sites})
	if err != nil {
		return nil, err
	}
	rec, known, err := p.run.records.place(ctx, key)
	if err != nil {
		return nil, err
	}
	if known {
		if got, err := rec.read(); err == nil {
			p.step.places[key] = rec
			return got, nil
		}
	}
	all, err := p.at.whole(ctx)
	if err != nil {
		return nil, err
	}
	there, err := wheel.Installed(all, sites)
	if err != nil {
		return nil, err
	}
	rec = placeRecord{}
	for _, d := range there {
		row := installedRecord{Name: d.Name, Version: d.Version.String(), Site: d.Site}
		for _, r := range d.Metadata.RequiresDist {
			row.Requires = append(row.Requires, r.String())
		}
		rec.Installed = append(rec.Installed, row)
	}
	frame, err := frameOf(all, scheme)
	if err != nil {
		return nil, err
	}
	if rec.Frame, err = layers.MarshalOutline(frame); err != nil {
		return nil, err
	}
	if p.aside() {
		dir, err := all.Resolve(scheme.Purelib)
		if err != nil {
			return nil, err
		}
		for _, e := range all.Children(dir) {
			rec.Names = append(rec.Names, path.Base(e.Path))
			if e.Kind == layers.Symlink {
				rec.Links = append(rec.Links, path.Base(e.Path))
			}
		}
	}
	p.step.places[key] = rec
	return rec.read()
}

func (r placeRecord) read() (*place, error) {
	out := &place{names: r.Names, links: r.Links}
	for _, row := range r.Installed {
		v, err := python.ParseVersion(row.Version)
		if err != nil {
			return nil, err
		}
		d := wheel.Distribution{Name: row.Name, Version: v, Site: row.Site}
		for _, text := range row.Requires {
			req, err := python.ParseRequirement(text)
			if err != nil {
				return nil, err
			}
			d.Metadata.RequiresDist = append(d.Metadata.RequiresDist, req)
		}
		out.there = append(out.there, d)
	}
	var err error
	out.frame, err = layers.ParseOutline(r.Frame)
	return out, err
}

// schemeRoots are all places that an install by the scheme looks at.
func schemeRoots(s wheel.Scheme, sites []string) []string {
	return append([]string{s.Purelib, s.Platlib, s.Scripts, s.Data, path.Dir(s.Headers)}, sites...)
}

// maxFrame is how deep below a scheme's data directory its frame goes: as far as
// "share/man/man1" and "etc/jupyter/nbconfig".
const maxFrame = 3

// frameOf returns the directories and links of a view that the layout of wheels
// by a scheme can meet, but for those inside of packages. A wheel's layer is
// fitted to the frame, so it depends on nothing else of what it lies on.
func frameOf(all layers.Tree, s wheel.Scheme) (layers.Tree, error) {
	keep := map[string]bool{}
	add := func(p string) {
		for p = strings.Trim(p, "/"); p != "" && p != "."; p = path.Dir(p) {
			keep[p] = true
		}
	}
	for _, dir := range []string{s.Purelib, s.Platlib, s.Scripts, s.Data, path.Dir(s.Headers)} {
		add(dir)
		if real, err := all.Resolve(dir); err == nil {
			add(real)
		}
	}
	data, err := all.Resolve(s.Data)
	if err != nil {
		return layers.Tree{}, err
	}
	for _, e := range all.Under(data) {
		rel := strings.TrimPrefix(strings.TrimPrefix(e.Path, data), "/")
		if e.Kind != layers.Dir && e.Kind != layers.Symlink || strings.Count(rel, "/") >= maxFrame {
			continue
		}
		if strings.HasPrefix(rel, "lib/python") || strings.HasPrefix(rel, "lib64/python") { // only the way to the packages
			continue
		}
		keep[e.Path] = true
	}
	var entries []layers.Entry
	for p := range keep {
		e, ok := all.Lookup(p)
		if !ok || e.Kind != layers.Dir && e.Kind != layers.Symlink {
			continue
		}
		entries = append(entries, layers.Entry{Path: e.Path, Kind: e.Kind, Mode: e.Mode, UID: e.UID, GID: e.GID, Link: e.Link})
	}
	slices.SortFunc(entries, func(a, b layers.Entry) int { return strings.Compare(a.Path, b.Path) })
	return layers.NewTree(entries)
}

// scheme is where the command installs to.
func (p *installation) scheme(ctx context.Context) (wheel.Scheme, error) {
	to := wheel.Place{Target: p.in.Target, Prefix: p.in.Prefix, User: p.userBase(), InPlace: p.in.Tool == pip.UV}
	if p.in.Prefix != "" && p.in.Tool == pip.Pip && p.python.installation.Debian {
		var err error
		if to.DebianPrefix, err = p.oldPip(ctx); err != nil {
			return wheel.Scheme{}, err
		}
	}
	scheme, err := wheel.SchemeFor(p.python.installation, to)
	if err != nil {
		return scheme, &refusedError{what: err.Error()}
	}
	return scheme, nil
}

// oldPip says whether the image's pip, or that of its distribution, is older than
// 26.3.
func (p *installation) oldPip(ctx context.Context) (bool, error) {
	scheme, err := wheel.SchemeFor(p.python.installation, wheel.Place{})
	if err != nil {
		return false, err
	}
	at, err := p.place(ctx, scheme)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(at.there, func(d wheel.Distribution) bool { return d.Key() == "pip" })
	if i < 0 {
		return true, nil
	}
	v := at.there[i].Version
	return v.Number(0) < 26 || v.Number(0) == 26 && v.Number(1) < 3, nil
}

// debianSite is where Debian's own packages lie.
const debianSite = "/usr/lib/python3/dist-packages"

// sites are the places whose distributions count as installed. uv looks into the
// place that it installs to; pip into all that its Python finds, wherever it
// installs to.
func (p *installation) sites(scheme wheel.Scheme) []string {
	var sites []string
	add := func(s wheel.Scheme) {
		for _, dir := range []string{s.Purelib, s.Platlib} {
			if !slices.Contains(sites, dir) {
				sites = append(sites, dir)
			}
		}
	}
	if p.in.Prefix == "" || p.in.Tool == pip.UV {
		add(scheme)
	}
	if p.in.Tool == pip.UV || p.aside() {
		return sites
	}
	if p.in.Prefix != "" || p.in.User {
		if standard, err := wheel.SchemeFor(p.python.installation, wheel.Place{}); err == nil {
			add(standard)
		}
	}
	if p.python.installation.Debian && !p.python.installation.Venv {
		sites = append(sites, debianSite)
	}
	return sites
}

// aside says whether the command installs without a look at what is installed:
// pip's --target.
func (p *installation) aside() bool { return p.in.Target != "" && p.in.Tool == pip.Pip }

// replaces says whether a distribution is taken away when another version is
// installed. What is outside of the environment is not, as with Debian's pip, nor
// what is not the user's own with --user; the new one comes before it on sys.path.
func (p *installation) replaces(d wheel.Distribution, scheme wheel.Scheme) bool {
	switch {
	case "/"+d.Site == debianSite && p.python.installation.Debian:
		return false
	case p.in.User && p.in.Tool == pip.Pip:
		return "/"+d.Site == scheme.Purelib
	}
	return true
}
