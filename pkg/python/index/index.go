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
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/statcache"
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
	// find-links, an HTML page (http, https, file, or a path ending in .html),
	// the path of a folder, or a wheel or sdist itself. It may hold credentials.
	URL string
	// Name is what messages call it; empty = the URL without credentials.
	Name string
	// User and Password are used in place of those in the URL, each where it is
	// set.
	User, Password string
}

// Strategy is what several indexes that know a name mean.
type Strategy uint8

const (
	// FirstIndex takes all versions of a project from the first index that
	// knows it (uv's "first-index").
	FirstIndex Strategy = iota
	// UnsafeBestMatch takes the versions of all indexes together, as pip does
	// (uv's "unsafe-best-match"): whoever can publish under a name on any of
	// them can take the place of a private project.
	UnsafeBestMatch
)

// Options say where files come from. Cache is needed; of Indexes and FindLinks
// at least one should be given, or no project is ever found.
type Options struct {
	Indexes   []Index // in order: the first that knows a name wins
	FindLinks []Index // searched beside the indexes, whatever these know
	// Pinned are the projects that may come from one index only. It need not be
	// among Indexes, and then nothing else is looked up there. An Index without
	// a URL is one that is named and not configured: whoever asks for the project
	// gets a *MissingIndexError.
	Pinned   map[string]Index
	Strategy Strategy
	// Refresh asks for every page, however fresh the kept one is. By default a
	// page is used again as long as its server says (Cache-Control, Expires),
	// and for five minutes where the server neither says that nor sends an ETag
	// or Last-Modified to ask with.
	Refresh bool
	Now     func() time.Time // nil = time.Now; only the age of kept pages depends on it

	Cache Cache
	// Sums knows files of find-links that were read before; nil = each is read
	// once more.
	Sums  Sums
	HTTP  *http.Client // nil = a client of its own with the default transport; brings proxies, own CAs, client certificates
	Netrc Netrc
	// Credentials is asked, once for each place, when a server answers 401 or 403
	// and nothing above has a password: a keyring command, or a token service. The
	// place is the URL of the index that the request belongs to, with the user
	// name if it is configured with one ("https://aws@host/simple/"), or else an
	// origin ("https://host:443"). ok = false means that there is none.
	Credentials func(ctx context.Context, place string) (user, password string, ok bool, err error)
	UserAgent   string // empty = "boyabuild"

	// Sdist reads the metadata out of an sdist at a path without running any of
	// it: static tells that every wheel built from it will say the same (PEP
	// 643). nil = the metadata of an sdist is known only by building it.
	Sdist func(path, filename string) (m python.Metadata, static bool, err error)
	// Build makes a wheel of the sdist f, which lies at sdistPath, and puts it
	// where it keeps its blobs: a second call costs nothing. It is called only
	// for what is needed. nil = nothing is built.
	Build func(ctx context.Context, f python.File, sdistPath string) (wheel Blob, filename string, err error)
	// BuildKey stands for everything else that a built wheel depends on (the
	// target, the tools): metadata that was learned by building is kept under it.
	BuildKey string

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
	sums      Sums
	log       *slog.Logger
	progress  func(string, int64) io.WriteCloser
	http      *transport
	sdist     func(path, filename string) (python.Metadata, bool, error)
	build     func(ctx context.Context, f python.File, sdistPath string) (Blob, string, error)
	buildKey  string

	now      func() time.Time
	refresh  bool
	strategy Strategy

	listings  memo[*Listing]
	refreshed memo[*Listing]
	links     memo[[]link]
	projects  memo[map[string]bool] // by index
	metadata  memo[python.Metadata]
	wheels    memo[Blob]
	builds    memo[builtWheel]
	sets      sharedSets
}

// New checks the options; it asks nothing of any index.
func New(o Options) (*Client, error) {
	if o.Cache == nil {
		return nil, errors.New("open package indexes: no cache given")
	}
	c := &Client{cache: o.Cache, log: o.Log, progress: o.Progress, pinned: map[string]Index{}, sdist: o.Sdist, build: o.Build, buildKey: o.BuildKey}
	c.now, c.refresh, c.strategy = o.Now, o.Refresh, o.Strategy
	if c.now == nil {
		c.now = time.Now
	}
	if c.sums = o.Sums; c.sums == nil {
		c.sums = statcache.Open("")
	}
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
		if i.URL != "" {
			var err error
			if i, err = c.http.adopt(i); err != nil {
				return nil, err
			}
		}
		c.pinned[python.NormalizeName(name)] = i
	}
	return c, nil
}

// Project lists the files of a project, those of find-links first and then
// those of the first index that knows it, each in the order of its page. Do not
// modify them. The error is that of Listing.
func (c *Client) Project(ctx context.Context, name string) ([]File, error) {
	l, err := c.Listing(ctx, name)
	if err != nil {
		return nil, err
	}
	return l.Files(), nil
}

// Listing is what Project lists, by version. The error is a *NotFoundError when
// nobody knows the name, an *AuthError when an index wants other credentials: a
// later index is not asked then, since the name may be a private one.
func (c *Client) Listing(ctx context.Context, name string) (*Listing, error) {
	name = python.NormalizeName(name)
	if !python.ValidName(name) {
		return nil, fmt.Errorf("look up project %q: not a valid project name", name)
	}
	if l, ok := c.refreshed.value(name); ok {
		return l, nil
	}
	return c.listings.do(ctx, name, func(ctx context.Context) (*Listing, error) {
		return c.lookUp(ctx, name, c.refresh)
	})
}

// Refresh asks again for the pages of a project that were used without asking,
// and reports whether it did: Listing and Project then answer with what is
// there now. A version that is wanted by name and is not listed may have been
// released since.
func (c *Client) Refresh(ctx context.Context, name string) (asked bool, err error) {
	name = python.NormalizeName(name)
	if l, ok := c.listings.value(name); !ok || !l.reused {
		return false, nil
	}
	if _, again := c.refreshed.value(name); again {
		return false, nil
	}
	_, err = c.refreshed.do(ctx, name, func(ctx context.Context) (*Listing, error) {
		return c.lookUp(ctx, name, true)
	})
	return true, err
}

func (c *Client) lookUp(ctx context.Context, name string, refresh bool) (*Listing, error) {
	var places []place
	indexes := c.indexes
	pinned, isPinned := c.pinned[name]
	if isPinned && pinned.URL == "" {
		return nil, &MissingIndexError{Project: name, Index: pinned.Name}
	}
	if isPinned {
		indexes = []Index{pinned}
	} else {
		linked, err := c.linked(ctx, name)
		if err != nil {
			return nil, err
		}
		if places, err = c.placesOf(linked, name); err != nil {
			return nil, err
		}
	}
	listed, reused, err := c.listed(ctx, indexes, name, refresh)
	if err != nil {
		return nil, err
	}
	if places = append(places, listed...); len(places) > 0 {
		l := c.listing(name, places)
		l.reused = reused
		return l, nil
	}
	asked := slices.Clone(indexes)
	if !isPinned {
		asked = append(asked, c.findLinks...)
	}
	missing := &NotFoundError{Project: name}
	for _, i := range asked {
		missing.Indexes = append(missing.Indexes, i.Name)
	}
	return nil, missing
}

// listed are the pages of the index that counts, or of all.
func (c *Client) listed(ctx context.Context, indexes []Index, name string, refresh bool) (places []place, reused bool, err error) {
	for _, i := range indexes {
		found, kept, err := c.page(ctx, i, name, refresh)
		var missing *NotFoundError
		if errors.As(err, &missing) || c.isUnlisted(ctx, i, name, err) {
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("look up project %s on %s: %w", name, i.Name, err)
		}
		c.log.Debug(fmt.Sprintf("%s lists %d files of %s", i.Name, found.counts[fileTable], name))
		places, reused = append(places, place{found, i.Name}), reused || kept
		if c.strategy == FirstIndex {
			break
		}
	}
	return places, reused, nil
}

// placesOf are the files of find-links, by place.
func (c *Client) placesOf(files []File, project string) ([]place, error) {
	var out []place
	for len(files) > 0 {
		n := 1
		for n < len(files) && files[n].Index == files[0].Index {
			n++
		}
		p, err := openPage(compactFiles(files[:n], project))
		if err != nil {
			return nil, err
		}
		out = append(out, place{p, files[0].Index})
		files = files[n:]
	}
	return out, nil
}

// page reads the project page of one index; *NotFoundError when it has none.
func (c *Client) page(ctx context.Context, i Index, name string, refresh bool) (p *page, reused bool, err error) {
	root, err := url.Parse(i.URL)
	if err != nil {
		return nil, false, fmt.Errorf("index URL: %w", redactURLError(err))
	}
	if root.Scheme == "file" {
		files, err := c.localProject(root, i.Name, name)
		if err != nil {
			return nil, false, err
		}
		p, err := openPage(compactFiles(files, name))
		return p, false, err
	}
	// PEP 503: "All URLs which respond with an HTML5 page MUST end with a /".
	return c.projectPage(ctx, root.JoinPath(name, "/"), name, refresh)
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
