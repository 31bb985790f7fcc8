// Package index reads package indexes: the files of a project, the metadata of
// a wheel, and the wheel itself.
//
// In go the roots of Simple APIs (PEP 503 HTML, PEP 691 JSON) in order of
// trust and --find-links folders or pages; out come [File] values, core
// metadata, and wheels in a content-addressed cache, verified against their
// hashes. The first index that knows a name wins, so that a public project can
// never take the place of a private one of the same name.
//
// It never decides which file fits: yanked files, other platforms and sdists
// are all listed, and package resolve chooses. It reads no environment, keeps
// no state outside the cache it is given, and names no index of its own.
// Passwords are sent only to the origin they were given for and are never part
// of a File, an error or a log line.
package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Cache keeps wheels under their hash and small JSON records under a key; a
// store of package store is one. Whatever it forgets is asked for again.
type Cache interface {
	Has(h v1.Hash) bool
	Put(ctx context.Context, r io.Reader, want *v1.Hash) (v1.Hash, int64, error)
	File(h v1.Hash) string
	Record(key string, v any) (bool, error)
	SetRecord(key string, v any) error
}

// Index is one place that lists files.
type Index struct {
	// URL is the root of a Simple API (http, https or file), or, for
	// find-links, an HTML page (http, https, file, or a path ending in .html)
	// or the path of a folder. It may hold credentials.
	URL string
	// Name is what messages call it; empty = the URL without credentials.
	Name string
}

// Options say where files come from. Cache is needed; of Indexes and FindLinks
// at least one should be given, or no project is ever found.
type Options struct {
	Indexes   []Index          // in order: the first that knows a name wins
	FindLinks []Index          // searched beside the indexes, whatever these know
	Pinned    map[string]Index // project name -> the only index it may come from

	Cache Cache
	HTTP  *http.Client // nil = a client of its own with the default transport; brings proxies, own CAs, client certificates
	Netrc Netrc
	// Credentials is asked, once for each origin ("https://host"), when a
	// server answers 401 and nothing above has a password: a keyring command,
	// or a token service. ok = false means that there is none.
	Credentials func(ctx context.Context, origin string) (user, password string, ok bool, err error)
	UserAgent   string // empty = "boyabuild"

	Log      *slog.Logger
	Progress func(what string, total int64) io.WriteCloser
}

// Client reads the indexes of its Options. It remembers every project page and
// every metadata that it read, so one serves one command, not a long-lived
// process. It is safe for concurrent use.
type Client struct {
	indexes   []Index
	findLinks []Index
	pinned    map[string]Index
	cache     Cache
	log       *slog.Logger
	progress  func(string, int64) io.WriteCloser
	http      *transport

	projects memo[[]File]
	links    memo[[]link]
	metadata memo[python.Metadata]
	wheels   memo[Blob]
	pythons  specifierCache
}

// New checks the options; it asks nothing of any index.
func New(o Options) (*Client, error) {
	if o.Cache == nil {
		return nil, errors.New("open package indexes: no cache given")
	}
	c := &Client{cache: o.Cache, log: o.Log, progress: o.Progress, pinned: map[string]Index{}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.progress == nil {
		c.progress = func(string, int64) io.WriteCloser { return nopProgress{} }
	}
	c.http = newTransport(o, c.log)
	for _, i := range o.Indexes {
		i, err := c.http.adopt(i)
		if err != nil {
			return nil, err
		}
		c.indexes = append(c.indexes, i)
	}
	for _, i := range o.FindLinks {
		if isURL(i.URL) {
			var err error
			if i, err = c.http.adopt(i); err != nil {
				return nil, err
			}
		}
		if i.Name == "" {
			i.Name = i.URL
		}
		c.findLinks = append(c.findLinks, i)
	}
	for name, i := range o.Pinned {
		i, err := c.http.adopt(i)
		if err != nil {
			return nil, err
		}
		c.pinned[python.NormalizeName(name)] = i
	}
	return c, nil
}

// Project lists the files of a project, those of find-links first and then
// those of the first index that knows it, each in the order of its page. The
// error is a *NotFoundError when nobody knows the name, an *AuthError when an
// index wants other credentials: a later index is not asked then, since the
// name may be a private one.
func (c *Client) Project(ctx context.Context, name string) ([]File, error) {
	name = python.NormalizeName(name)
	if !python.ValidName(name) {
		return nil, fmt.Errorf("look up project %q: not a valid project name", name)
	}
	return c.projects.do(ctx, name, func(ctx context.Context) ([]File, error) { return c.project(ctx, name) })
}

func (c *Client) project(ctx context.Context, name string) ([]File, error) {
	files, err := c.linked(ctx, name)
	if err != nil {
		return nil, err
	}
	indexes := c.indexes
	if pinned, ok := c.pinned[name]; ok {
		indexes, files = []Index{pinned}, nil
	}
	for _, i := range indexes {
		listed, err := c.page(ctx, i, name)
		var missing *NotFoundError
		if errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look up project %s on %s: %w", name, i.Name, err)
		}
		c.log.Debug(fmt.Sprintf("%s lists %d files of %s", i.Name, len(listed), name))
		return append(files, listed...), nil
	}
	if len(files) > 0 {
		return files, nil
	}
	asked := slices.Clone(indexes)
	if _, ok := c.pinned[name]; !ok {
		asked = append(asked, c.findLinks...)
	}
	missing := &NotFoundError{Project: name}
	for _, i := range asked {
		missing.Indexes = append(missing.Indexes, i.Name)
	}
	return nil, missing
}

// page reads the project page of one index; *NotFoundError when it has none.
func (c *Client) page(ctx context.Context, i Index, name string) ([]File, error) {
	root, err := url.Parse(i.URL)
	if err != nil {
		return nil, fmt.Errorf("index URL: %w", redactURLError(err))
	}
	if root.Scheme == "file" {
		return c.localProject(root, i.Name, name)
	}
	// PEP 503: "All URLs which respond with an HTML5 page MUST end with a /".
	doc, err := c.document(ctx, root.JoinPath(name, "/"))
	if err != nil {
		return nil, err
	}
	links, err := parsePage(doc)
	if err != nil {
		return nil, err
	}
	return c.files(links, name, i.Name), nil
}

// nopProgress is the progress of a client that reports none.
type nopProgress struct{}

func (nopProgress) Write(p []byte) (int, error) { return len(p), nil }
func (nopProgress) Close() error                { return nil }

// isURL reports whether s has one of the schemes that are read.
func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "file")
}
