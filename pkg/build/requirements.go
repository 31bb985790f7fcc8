package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/project"
	"github.com/boyabuild/boyabuild/pkg/python/source"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// wanted is what an install asks for, with the files that it names read.
type wanted struct {
	requirements, constraints []python.FileRequirement
	config                    pip.Config
	allReleases, onlyFinal    []string // of the requirements files: whose pre-releases are welcome, or never taken
	// settings are --config-settings and buildConstraints --build-constraint, as
	// sourceBuilder has them.
	settings         map[string][]string
	buildConstraints []python.FileRequirement
	// direct says where the distributions come from that are named by URL or
	// path, by normalised name (PEP 610).
	direct map[string]*wheel.DirectURL
}

// wanted reads the requirements of the command line and of the files it names.
func (p *installation) wanted() (*wanted, error) {
	w := &wanted{direct: map[string]*wheel.DirectURL{}}
	for _, text := range p.in.Requirements {
		r, err := python.ParseRequirement(text)
		if err != nil {
			return nil, &refusedError{what: err.Error()}
		}
		w.requirements = append(w.requirements, python.FileRequirement{Requirement: r})
	}
	for _, u := range p.in.URLs {
		r, err := python.ParseReference(u)
		if err != nil {
			return nil, &refusedError{what: err.Error()}
		}
		w.requirements = append(w.requirements, r)
	}
	for _, file := range p.in.Paths {
		r, err := python.ParseReference(localReference(file))
		if err != nil {
			return nil, &refusedError{what: err.Error()}
		}
		w.requirements = append(w.requirements, r)
	}
	for _, dir := range p.in.Editable {
		r, err := python.ParseEditable(dir)
		if err != nil {
			return nil, &refusedError{what: err.Error()}
		}
		w.requirements = append(w.requirements, r)
	}
	if p.in.Tool == pip.Pip { // for what the command line names; lines of files have their own
		for i := range w.requirements {
			w.requirements[i].ConfigSettings = p.in.ConfigSettings
		}
	}
	configs := []pip.Config{p.run.Index.Flags}
	for _, file := range p.in.Files {
		if path.Base(file) == "pyproject.toml" {
			if err := p.projectRequirements(w, file, project.Selection{Extras: p.in.Extras, AllExtras: p.in.AllExtras}); err != nil {
				return nil, err
			}
			continue
		}
		f, err := p.read(file, python.ReadRequirements)
		if err != nil {
			return nil, err
		}
		w.requirements = append(w.requirements, f.Requirements...)
		w.constraints = append(w.constraints, f.Constraints...)
		w.allReleases = append(w.allReleases, f.AllReleases...)
		w.onlyFinal = append(w.onlyFinal, f.OnlyFinal...)
		configs = append(configs, fileConfig(file, f))
	}
	for _, g := range p.in.Groups {
		file := g.File
		if file == "" {
			file = "pyproject.toml"
		}
		if err := p.projectRequirements(w, file, project.Selection{Groups: []string{g.Name}, NoProjectDependencies: true}); err != nil {
			return nil, err
		}
	}
	configs = append(configs, p.in.Config)
	for i := range configs[1:] { // what the image's files say lies in the image
		p.placeLinks(&configs[1+i])
	}
	w.config = pip.Merge(append(configs, p.run.Index.Host)...)
	w.settings = p.settings(w.requirements)
	var err error
	if w.buildConstraints, err = p.buildConstraints(); err != nil {
		return nil, err
	}
	files := slices.Clone(p.in.Constraints)
	for _, c := range p.in.Config.Constraints { // of PIP_CONSTRAINT in the image
		files = append(files, c.Value)
	}
	for _, file := range files {
		f, err := p.read(file, python.ReadConstraints)
		if err != nil {
			return nil, err
		}
		w.constraints = append(append(w.constraints, f.Requirements...), f.Constraints...)
	}
	for _, c := range p.run.Index.Host.Constraints { // and on this machine
		f, err := python.ReadConstraints(c.Value, os.ReadFile, func(string) (string, bool) { return "", false })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Source, err)
		}
		w.constraints = append(append(w.constraints, f.Requirements...), f.Constraints...)
	}
	return w, nil
}

// settings are the --config-settings by the project that they are for. pip passes
// those of the command line to what the command line names; uv and the others to
// all that is built.
func (p *installation) settings(requirements []python.FileRequirement) map[string][]string {
	m := map[string][]string{}
	if p.in.Tool != pip.Pip && len(p.in.ConfigSettings) > 0 {
		m[""] = p.in.ConfigSettings
	}
	for _, r := range requirements {
		key := r.Requirement.Key()
		if r.Path == "" && r.Requirement.URL == "" && len(r.ConfigSettings) > 0 && m[key] == nil {
			m[key] = r.ConfigSettings
		}
	}
	return m
}

// buildConstraints are what limits the tools that packages are built with.
func (p *installation) buildConstraints() ([]python.FileRequirement, error) {
	var all []python.FileRequirement
	for _, file := range p.in.BuildConstraints {
		f, err := p.read(file, python.ReadConstraints)
		if err != nil {
			return nil, err
		}
		all = append(append(all, f.Requirements...), f.Constraints...)
	}
	return all, nil
}

// groupNames are the names of dependency groups.
func groupNames(groups []pip.Group) []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.Name)
	}
	return names
}

// projectRequirements adds what a pyproject.toml asks for.
func (p *installation) projectRequirements(w *wanted, file string, sel project.Selection) error {
	text, err := p.view.ReadFile(p.absolute(file), maxImageFile)
	if errors.Is(err, fs.ErrNotExist) {
		return absent(file)
	}
	if err != nil {
		return err
	}
	pr, err := project.Read(file, text)
	if err != nil {
		return err
	}
	list, err := pr.Requirements(sel)
	if err != nil {
		return err
	}
	w.requirements = append(w.requirements, list...)
	return nil
}

// localReference marks a path as one, which "app.whl" alone does not show.
func localReference(file string) string {
	if path.IsAbs(file) || strings.HasPrefix(file, ".") {
		return file
	}
	return "./" + file
}

// linksInImage marks folders of --find-links that lie in the image.
const linksInImage = "image:"

// inImage returns the path in the image that a place of --find-links is.
func inImage(link string) (string, bool) { return strings.CutPrefix(link, linksInImage) }

// placeLinks marks the folders of --find-links that are the image's.
func (p *installation) placeLinks(c *pip.Config) {
	c.FindLinks = slices.Clone(c.FindLinks)
	for i, l := range c.FindLinks {
		if !strings.Contains(l.Value, "://") {
			c.FindLinks[i].Value = linksInImage + p.absolute(l.Value)
		}
	}
}

// takeOut takes what is named by path out of the image, makes wheels of
// projects, and notes where what is named by path or URL comes from.
func (p *installation) takeOut(ctx context.Context, w *wanted) error {
	w.config.FindLinks = slices.Clone(w.config.FindLinks)
	for i, l := range w.config.FindLinks {
		at, ok := inImage(l.Value)
		if !ok {
			continue
		}
		out, err := p.export(at)
		if err != nil {
			return err
		}
		w.config.FindLinks[i].Value = out
	}
	b := p.builder(w)
	for i := range w.requirements {
		r := &w.requirements[i]
		switch {
		case r.Path != "":
			at := p.absolute(r.Path)
			e, err := p.view.Stat(at)
			if err != nil {
				return absentOr(r.Path, err)
			}
			direct := &wheel.DirectURL{URL: "file://" + at}
			switch {
			case e.Kind == layers.Dir:
				file, name, err := p.local(ctx, b, at, r.Editable && p.in.WheelDir == "", r.ConfigSettings)
				if err != nil {
					return err
				}
				parsed, err := python.ParseWheelName(name)
				if err != nil {
					return err
				}
				direct.Dir, direct.Editable = true, r.Editable
				r.Path, r.Requirement.Name, r.Editable = file, parsed.Name, false
			default:
				if r.Path, err = p.export(at); err != nil {
					return err
				}
				if !strings.HasSuffix(r.Path, ".whl") {
					if err := p.unpack(ctx, b, r, direct, r.Path); err != nil {
						return err
					}
				}
			}
			w.direct[r.Requirement.Key()] = direct
		case r.Requirement.URL != "":
			direct := &wheel.DirectURL{URL: r.Requirement.URL}
			if !isWheelURL(r.Requirement.URL) && r.Requirement.Marker.Evaluate(p.python.target.Environment()) {
				client, err := p.client(ctx, w)
				if err != nil {
					return err
				}
				if err := p.download(ctx, client, b, r, direct); err != nil {
					return err
				}
			}
			w.direct[r.Requirement.Key()] = direct
		}
	}
	return nil
}

// isWheelURL says whether a URL names a wheel.
func isWheelURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && strings.HasSuffix(u.Path, ".whl")
}

// download fetches the source archive that a requirement names by URL, and makes
// its wheel.
func (p *installation) download(ctx context.Context, client *index.Client, b *sourceBuilder, r *python.FileRequirement, direct *wheel.DirectURL) error {
	u, err := url.Parse(r.Requirement.URL)
	if err != nil {
		return &refusedError{what: fmt.Sprintf("the URL of %s is not valid", r.Requirement.Name)}
	}
	blob, err := client.Archive(ctx, r.Requirement.URL)
	if err != nil {
		return err
	}
	at := filepath.Join(p.work, "archives", blob.Hash.Hex[:16])
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	file := filepath.Join(at, path.Base(u.Path))
	if err := os.Symlink(blob.Path, file); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if fragment, err := url.ParseQuery(u.Fragment); err == nil && fragment.Has("subdirectory") {
		direct.Subdirectory = strings.Trim(path.Clean("/"+fragment.Get("subdirectory")), "/")
	}
	return p.unpack(ctx, b, r, direct, file)
}

// unpack makes the wheel of a source archive on this machine, which the
// requirement then names.
func (p *installation) unpack(ctx context.Context, b *sourceBuilder, r *python.FileRequirement, direct *wheel.DirectURL, file string) error {
	sum, err := fileSum(file)
	if err != nil {
		return err
	}
	if err := checkHashes(file, r.Hashes); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	direct.SHA256 = sum
	dir, err := p.run.Store.TempDir("archive-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sdist, err := source.OpenSdist(file, filepath.Base(file), dir)
	if err != nil {
		return err
	}
	tree := sdist.Tree()
	if direct.Subdirectory != "" {
		if tree, err = below(tree, direct.Subdirectory); err != nil {
			return &refusedError{what: fmt.Sprintf("%s has no folder %s", filepath.Base(file), direct.Subdirectory)}
		}
	}
	at, name, err := p.project(ctx, b, tree, filepath.Base(file), "", r.ConfigSettings)
	if err != nil {
		return err
	}
	parsed, err := python.ParseWheelName(name)
	if err != nil {
		return err
	}
	if r.Requirement.Name != "" && r.Requirement.Key() != parsed.Name {
		return &refusedError{what: fmt.Sprintf("%s holds the project %s, not %s", filepath.Base(file), parsed.Name, r.Requirement.Name)}
	}
	r.Path, r.Requirement.Name, r.Requirement.URL = at, parsed.Name, ""
	if len(r.Hashes) > 0 { // they were the archive's
		if sum, err = fileSum(at); err != nil {
			return err
		}
		r.Hashes = []string{"sha256:" + sum}
	}
	return nil
}

// below is a folder of a tree as a tree of its own.
func below(t layers.Tree, dir string) (layers.Tree, error) {
	e, err := t.Stat(dir)
	if err != nil || e.Kind != layers.Dir {
		return layers.Tree{}, errors.Join(err, fs.ErrNotExist)
	}
	var entries []layers.Entry
	for _, c := range t.Under(e.Path) {
		c.Path = strings.TrimPrefix(c.Path, e.Path+"/")
		entries = append(entries, c)
	}
	return layers.NewTree(entries)
}

// readFunc reads requirements or constraints with all files that they name.
type readFunc func(name string, read python.ReadFunc, env func(string) (string, bool)) (python.RequirementsFile, error)

// read reads a requirements or constraints file of the image.
func (p *installation) read(name string, as readFunc) (python.RequirementsFile, error) {
	read := func(file string) ([]byte, error) { return p.view.ReadFile(p.absolute(file), maxImageFile) }
	f, err := as(name, read, func(v string) (string, bool) { value, ok := p.env[v]; return value, ok })
	var missing *fs.PathError
	if errors.As(err, &missing) && errors.Is(err, fs.ErrNotExist) {
		return f, absent(missing.Path)
	}
	if err != nil {
		return f, err
	}
	return f, placeWritten(&f, func(link string) error {
		_, err := p.view.Stat(p.absolute(link))
		return err
	})
}

// placeWritten takes the folders of --find-links that are not beside the file
// that names them for those of the working directory, as pip does.
func placeWritten(f *python.RequirementsFile, stat func(string) error) error {
	for i, link := range f.FindLinks {
		written, ok := f.LinksAsWritten[link]
		if !ok || written == link {
			continue
		}
		err := stat(link)
		if unlisted(err) {
			return err
		}
		if err != nil && stat(written) == nil {
			f.FindLinks[i] = written
		}
	}
	return nil
}

// absent reports a file that a line names and the image does not have yet.
func absent(name string) error {
	return &refusedError{what: fmt.Sprintf("%s is not in the image at this step", name),
		advice: "COPY it before this RUN; .dockerignore may leave it out"}
}

// absentOr is the error for a path that is not there, or not known of.
func absentOr(name string, err error) error {
	if unlisted(err) {
		return err
	}
	return absent(name)
}

// allListed is an error where not all that lies in a directory is known.
func allListed(view layers.Tree, e layers.Entry) error {
	if e.Closed || slices.ContainsFunc(view.Under(e.Path), func(c layers.Entry) bool { return e.Kind == layers.Dir && c.Closed }) {
		return &layers.UnlistedError{Path: e.Path}
	}
	return nil
}

// fileConfig turns a requirements file's own options into settings.
func fileConfig(name string, f python.RequirementsFile) pip.Config {
	c := pip.Config{NoBinary: f.NoBinary, OnlyBinary: f.OnlyBinary}
	if f.IndexURL != "" {
		c.Default = pip.Index{URL: f.IndexURL, Source: name}
	}
	for _, u := range f.ExtraIndexURLs {
		c.Extra = append(c.Extra, pip.Index{URL: u, Source: name})
	}
	for _, u := range f.FindLinks {
		c.FindLinks = append(c.FindLinks, pip.Setting[string]{Value: u, Source: name})
	}
	for _, h := range f.TrustedHosts {
		c.TrustedHosts = append(c.TrustedHosts, pip.Setting[string]{Value: h, Source: name})
	}
	on := func(b bool) pip.Setting[bool] {
		if !b {
			return pip.Setting[bool]{}
		}
		return pip.Setting[bool]{Value: true, Source: name}
	}
	c.NoIndex, c.Pre, c.RequireHashes, c.PreferBinary = on(f.NoIndex), on(f.Pre), on(f.RequireHashes), on(f.PreferBinary)
	return c
}

// isDistribution says whether a file may be a wheel or an sdist, by its name.
func isDistribution(name string) bool {
	for _, ext := range []string{".whl", ".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz"} {
		if strings.HasSuffix(name, ext) {
			return true
		}
	}
	return false
}

// export takes a wheel, or a folder's wheels and sdists, out of the image so that the
// index client can read it from this machine.
func (p *installation) export(name string) (string, error) {
	e, err := p.view.Stat(name)
	if err == nil {
		err = allListed(p.view, e)
	}
	if err != nil {
		return "", absentOr(name, err)
	}
	out := filepath.Join(p.work, filepath.FromSlash(path.Clean("/"+name)))
	if e.Kind == layers.Dir {
		if err := os.MkdirAll(out, 0o755); err != nil {
			return "", err
		}
		for _, c := range p.view.Children(e.Path) {
			if !isDistribution(c.Path) {
				continue
			}
			file, err := p.view.Stat(c.Path) // it may be a link
			if unlisted(err) {
				return "", err
			}
			if err != nil || file.Kind != layers.File && file.Kind != layers.Hardlink {
				continue
			}
			if err := p.copyOut(file, filepath.Join(out, path.Base(c.Path))); err != nil {
				return "", err
			}
		}
		return out, nil
	}
	return out, p.copyOut(e, out)
}
