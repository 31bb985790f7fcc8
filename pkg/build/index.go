package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"

	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/source"
)

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
func (p *installation) client(ctx context.Context, w *wanted) (*index.Client, error) {
	c, err := w.config.For(p.python.target.Environment())
	if err != nil {
		return nil, err
	}
	fallback, err := p.fallback(c)(ctx)
	if err != nil {
		return nil, err
	}
	own := *w
	own.config = c
	return p.run.shared.client(c, fallback, p.builder(&own))
}

// fallback gives the default index for settings: none where they have one, or
// want none.
func (s *stage) fallback(c pip.Config) func(context.Context) (pip.Index, error) {
	return func(ctx context.Context) (pip.Index, error) {
		if c.Default.URL != "" || c.NoIndex.Value {
			return pip.Index{}, nil
		}
		u, err := s.defaultIndex(ctx)
		return pip.Index{URL: u}, err
	}
}

// wheelBuilder builds wheels of sdists for one Python.
type wheelBuilder interface {
	// Key stands for the Python that it builds for.
	Key() string
	Build(ctx context.Context, f python.File, path string) (index.Blob, string, error)
}

// client returns the client for settings, one for each set, so that a page is
// read once however many lines ask for it. fallback is the default index where
// the settings have none. With a builder sdists can be used, too.
func (cs *shared) client(c pip.Config, fallback pip.Index, w wheelBuilder) (*index.Client, error) {
	o := index.Options{
		Cache: cs.b.Store, HTTP: trusting(cs.b.HTTP, c.TrustedHosts), Netrc: cs.b.Index.Netrc, Credentials: cs.b.Index.Credentials,
		Log: cs.b.log(), Progress: cs.b.Progress, Pinned: map[string]index.Index{},
		Sdist: source.SdistMetadata, Refresh: cs.refresh,
	}
	for _, x := range c.Indexes(fallback) {
		o.Indexes = append(o.Indexes, index.Index{URL: address(c, x), Name: x.Name})
	}
	for _, l := range c.FindLinks {
		o.FindLinks = append(o.FindLinks, index.Index{URL: l.Value})
	}
	for _, pin := range c.Pins {
		x, _ := c.Named(pin.Index)
		o.Pinned[pin.Project] = index.Index{URL: address(c, x), Name: pin.Index}
	}
	if c.Strategy.Value == "unsafe-best-match" {
		o.Strategy = index.UnsafeBestMatch
	}
	o.Sums = cs.sums(c.FindLinks)
	key := fmt.Sprint(o.Strategy, o.Indexes, o.FindLinks, o.Pinned, c.TrustedHosts)
	if w != nil {
		o.Build, o.BuildKey = w.Build, w.Key()
		key += o.BuildKey
	}
	if made, ok := cs.clients[key]; ok {
		return made, nil
	}
	made, err := index.New(o)
	if err == nil {
		cs.clients[key] = made
	}
	return made, err
}

// trusting returns a client that does not check the certificates of pip's
// trusted hosts ("host" or "host:port"), and c itself where there are none or c
// does its transport in a way of its own.
func trusting(c *http.Client, hosts []pip.Setting[string]) *http.Client {
	if len(hosts) == 0 {
		return c
	}
	var names []string
	for _, h := range hosts {
		names = append(names, h.Value)
	}
	var again http.Client
	if c != nil {
		again = *c
	}
	switch t := again.Transport.(type) {
	case nil:
		own, err := index.NewTransport(index.TransportOptions{TrustedHosts: names})
		if err != nil {
			return c
		}
		again.Transport = own
	case *index.Transport:
		again.Transport = t.Trusting(names...)
	default:
		return c
	}
	return &again
}

// address is an index's URL, with the login that was set for its name.
func address(c pip.Config, x pip.Index) string {
	login, ok := c.Credential(x.Name)
	u, err := url.Parse(x.URL)
	if !ok || err != nil || u.User != nil {
		return x.URL
	}
	u.User = url.UserPassword(login.Username, login.Password)
	return u.String()
}

// pipSource is where Debian's package of pip keeps the name of its default
// index.
const pipSource = "usr/lib/python3/dist-packages/pip/_internal/models/index.py"

// maxPipSource bounds that file.
const maxPipSource = 1 << 20

// defaultIndex is the index of the pip that belongs to the base: the one in the
// image or, for a base assembled of Debian's packages, that of the suite's own
// pip package; then that of this machine's pip.
func (s *stage) defaultIndex(ctx context.Context) (string, error) {
	py, err := s.python(ctx)
	if err != nil {
		return "", err
	}
	prefix := py.installation.Prefix
	if s.base.Image == nil { // scratch, with a Python copied into it
		all, err := s.view.whole(ctx)
		if err != nil {
			return "", err
		}
		u, _, err := pip.FindSource(treeFS{all}, prefix)
		if err != nil {
			return s.run.shared.hostIndex(ctx, err)
		}
		return u, nil
	}
	key := "default-index/1 " + s.base.Digest.String()
	var known string
	if ok, err := s.run.Store.Record(key, &known); err != nil || ok {
		return known, err
	}
	// A virtual environment's pip, where it has one, is the base's.
	if f, err := s.base.Facts(); err == nil && f.Python != nil {
		prefix = f.Python.Prefix
	}
	tree, err := s.base.Tree()
	if err != nil {
		return "", err
	}
	u, _, err := pip.FindSource(treeFS{tree}, prefix)
	if errors.Is(err, fs.ErrNotExist) && s.base.Debian != nil {
		u, err = s.suiteIndex(ctx)
	}
	if err == nil {
		return u, s.run.Store.SetRecord(key, u)
	}
	return s.run.shared.hostIndex(ctx, err)
}

// hostIndex is the default index of this machine's pip; without one, the error
// tells why the base's was not found.
func (s *shared) hostIndex(ctx context.Context, err error) (string, error) {
	if s.b.Index.HostDefault != nil {
		if u, hostErr := s.b.Index.HostDefault(ctx); hostErr == nil {
			return u, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return "", &NoIndexError{err}
}

func (s *stage) suiteIndex(ctx context.Context) (string, error) {
	spec, err := debian.ParseSpec(baseSource(s.run.plan.Options.Bases, s.base.Name))
	if err != nil {
		return "", err
	}
	if spec.Arch == "" {
		spec.Arch = debian.Architecture(s.base.Platform.Architecture, s.base.Platform.Variant)
	}
	o := s.run.Base.Debian
	o.Cache, o.Log, o.Progress = s.run.Store, s.run.log(), s.run.Progress
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
