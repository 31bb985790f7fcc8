package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// pythonInImage is the Python that an install is for.
type pythonInImage struct {
	installation wheel.Installation
	target       python.Target
}

// answersTo says whether the Python is the one that a program's name asks for:
// "3" and "3.13" are both 3.13.5.
func (p *pythonInImage) answersTo(version string) bool {
	full := p.target.Python.String()
	return full == version || strings.HasPrefix(full+".", version+".")
}

// python tells which Python the image as built so far has.
func (s *stage) python() (*pythonInImage, error) {
	f, err := s.facts()
	if err != nil {
		return nil, err
	}
	if f.Python == nil {
		return nil, errors.New("the base has no Python that its PATH leads to")
	}
	v, err := python.ParseVersion(f.Python.Version)
	if err != nil {
		return nil, err
	}
	platform := s.scope.Stage.Platform
	arch := platform.Architecture
	if arch == "arm" {
		arch += "/" + platform.Variant
	}
	t := python.Target{
		Python: v, FreeThreaded: f.Python.FreeThreaded, OS: platform.OS, Arch: arch,
		Libc: python.Libc{Name: f.Libc.Name, Major: f.Libc.Major, Minor: f.Libc.Minor},
	}
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return &pythonInImage{target: t, installation: wheel.Installation{
		Python:       fmt.Sprintf("%d.%d", v.Number(0), v.Number(1)),
		FreeThreaded: f.Python.FreeThreaded,
		Prefix:       f.Python.Prefix,
		Interpreter:  f.Python.Interpreter,
		Debian:       (f.OS == "debian" || f.OS == "ubuntu") && f.Python.Prefix == "/usr",
		Venv:         f.Python.Venv,
	}}, nil
}

// facts are those of the base, as long as the stage looks for Python where the
// base does; after that the image as built so far is looked at.
func (s *stage) facts() (base.Facts, error) {
	if s.base.Image != nil && environ(s.scope.Config.Env)["PATH"] == environ(s.config.Config.Env)["PATH"] {
		if f, err := s.base.Facts(); err != nil || f.Python != nil {
			return f, err
		}
	}
	return base.ReadFacts(s.view, s.scope.Config)
}

// installed are the distributions that pip would find: those in the place that
// it installs to, and those of the distribution's own packages.
func (p *installation) installed(scheme wheel.Scheme) ([]wheel.Distribution, error) {
	sites := []string{scheme.Purelib}
	if scheme.Platlib != scheme.Purelib {
		sites = append(sites, scheme.Platlib)
	}
	if p.python.installation.Debian {
		sites = append(sites, "/usr/lib/python3/dist-packages")
	}
	return wheel.Installed(p.view, sites)
}

// NoIndexError says that nothing tells where packages come from.
type NoIndexError struct{ cause error }

func (e *NoIndexError) Error() string {
	text := "no package index is configured, and no pip tells its default"
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the last cause.
func (e *NoIndexError) Unwrap() error { return e.cause }

// Hint says how to set one.
func (e *NoIndexError) Hint() string {
	return "set --index-url, PIP_INDEX_URL, or index: in boyabuild.yaml to the URL of a package index"
}

// client makes the client for the indexes that hold for this install.
func (p *installation) client(ctx context.Context, c pip.Config) (*index.Client, error) {
	var fallback pip.Index
	if c.Default.URL == "" && !c.NoIndex.Value {
		u, err := p.defaultIndex(ctx)
		if err != nil {
			return nil, err
		}
		fallback.URL = u
	}
	o := index.Options{
		Cache: p.run.Store, HTTP: p.run.HTTP, Netrc: p.run.Index.Netrc, Credentials: p.run.Index.Credentials,
		Log: p.run.log(), Progress: p.run.Progress, Pinned: map[string]index.Index{},
	}
	for _, x := range c.Indexes(fallback) {
		o.Indexes = append(o.Indexes, index.Index{URL: x.URL, Name: x.Name})
	}
	for _, l := range c.FindLinks {
		o.FindLinks = append(o.FindLinks, index.Index{URL: l.Value})
	}
	for _, pin := range c.Pins {
		if x, ok := c.Named(pin.Index); ok {
			o.Pinned[pin.Project] = index.Index{URL: x.URL, Name: x.Name}
		}
	}
	return index.New(o)
}

// pipSource is where Debian's package of pip keeps the name of its default
// index.
const pipSource = "usr/lib/python3/dist-packages/pip/_internal/models/index.py"

// maxPipSource bounds that file.
const maxPipSource = 1 << 20

// defaultIndex is the index of the pip that belongs to the base: the one in the
// image or, for a base assembled of Debian's packages, that of the suite's own
// pip package; then that of this machine's pip.
func (p *installation) defaultIndex(ctx context.Context) (string, error) {
	if p.base.Image == nil { // scratch, with a Python copied into it
		u, _, err := pip.FindSource(treeFS{p.view}, p.python.installation.Prefix)
		if err != nil {
			return p.hostIndex(ctx, err)
		}
		return u, nil
	}
	key := "default-index/1 " + p.base.Digest.String()
	var known string
	if ok, err := p.run.Store.Record(key, &known); err != nil || ok {
		return known, err
	}
	tree, err := p.base.Tree()
	if err != nil {
		return "", err
	}
	u, _, err := pip.FindSource(treeFS{tree}, p.python.installation.Prefix)
	if errors.Is(err, fs.ErrNotExist) && p.base.Debian != nil {
		u, err = p.suiteIndex(ctx)
	}
	if err == nil {
		return u, p.run.Store.SetRecord(key, u)
	}
	return p.hostIndex(ctx, err)
}

// hostIndex is the default index of this machine's pip; without one, the error
// tells why the base's was not found.
func (p *installation) hostIndex(ctx context.Context, err error) (string, error) {
	if p.run.Index.HostDefault != nil {
		if u, hostErr := p.run.Index.HostDefault(ctx); hostErr == nil {
			return u, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return "", &NoIndexError{err}
}

func (p *installation) suiteIndex(ctx context.Context) (string, error) {
	spec, err := debian.ParseSpec(source(p.run.plan.Options.Bases, p.base.Name))
	if err != nil {
		return "", err
	}
	if spec.Arch == "" {
		spec.Arch = debian.Architecture(p.base.Platform.Architecture, p.base.Platform.Variant)
	}
	o := p.run.Base.Debian
	o.Cache, o.Log, o.Progress = p.run.Store, p.run.log(), p.run.Progress
	text, err := debian.File(ctx, spec, "python3-pip", pipSource, maxPipSource, o)
	if err != nil {
		return "", err
	}
	return pip.DefaultIndex(text)
}

// treeFS shows an image's files to what looks for pip in them.
type treeFS struct{ t layers.Tree }

func (f treeFS) ReadFile(name string, limit int64) ([]byte, error) { return f.t.ReadFile(name, limit) }

func (f treeFS) List(dir string) ([]string, error) {
	real, err := f.t.Resolve(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range f.t.Children(real) {
		names = append(names, path.Base(e.Path))
	}
	return names, nil
}

// copyOut writes a file of the image to this machine, and notes what it is.
func (p *installation) copyOut(e layers.Entry, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	if e.Content != nil {
		r, err := e.Content.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		sum := sha256.New()
		if _, err := io.Copy(io.MultiWriter(f, sum), r); err != nil {
			return err
		}
		p.taken = append(p.taken, fmt.Sprintf("%s %x", strings.TrimPrefix(to, p.work), sum.Sum(nil)))
	}
	return f.Close()
}
