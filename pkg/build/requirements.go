package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/project"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// wanted is what an install asks for, with the files that it names read.
type wanted struct {
	requirements, constraints []python.FileRequirement
	config                    pip.Config
	allReleases, onlyFinal    []string // of the requirements files: whose pre-releases are welcome, or never taken
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
	b := p.builder(w.config)
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
				file, name, err := p.local(ctx, b, at, r.Editable, r.ConfigSettings)
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
			}
			w.direct[r.Requirement.Key()] = direct
		case r.Requirement.URL != "":
			w.direct[r.Requirement.Key()] = &wheel.DirectURL{URL: r.Requirement.URL}
		}
	}
	return nil
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
	return f, err
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

// export takes a wheel, or a folder's wheels, out of the image so that the
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
			if c.Kind != layers.Dir && strings.HasSuffix(c.Path, ".whl") {
				if err := p.copyOut(c, filepath.Join(out, path.Base(c.Path))); err != nil {
					return "", err
				}
			}
		}
		return out, nil
	}
	return out, p.copyOut(e, out)
}
