package build

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"path"

	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
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
		Cache: p.run.Store, HTTP: trusting(p.run.HTTP, c.TrustedHosts), Netrc: p.run.Index.Netrc, Credentials: p.run.Index.Credentials,
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

// trusting returns a client that does not check the certificates of pip's
// trusted hosts ("host" or "host:port"), and c itself where there are none or c
// does its transport in a way of its own. Behind a proxy certificates are checked
// all the same.
func trusting(c *http.Client, hosts []pip.Setting[string]) *http.Client {
	if len(hosts) == 0 {
		return c
	}
	t, ok := http.DefaultTransport.(*http.Transport), true
	if c != nil && c.Transport != nil {
		t, ok = c.Transport.(*http.Transport)
	}
	if !ok {
		return c
	}
	t = t.Clone()
	trusted := map[string]bool{}
	for _, h := range hosts {
		trusted[h.Value] = true
	}
	settings := t.TLSClientConfig
	t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		own := &tls.Config{MinVersion: tls.VersionTLS12}
		if settings != nil {
			own = settings.Clone()
		}
		own.NextProtos = nil // this connection speaks HTTP/1.1
		own.InsecureSkipVerify = trusted[host] || trusted[address]
		return (&tls.Dialer{Config: own}).DialContext(ctx, network, address)
	}
	again := http.Client{Transport: t}
	if c != nil {
		again.CheckRedirect, again.Jar, again.Timeout = c.CheckRedirect, c.Jar, c.Timeout
	}
	return &again
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
