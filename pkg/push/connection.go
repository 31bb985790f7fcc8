package push

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// connection is the way to one repository. It is made when first needed, by one
// ping and, where the registry wants tokens, one token for all that follows;
// go-containerregistry's own readers and writers would each make one.
type connection struct {
	repo     name.Repository
	keychain authn.Keychain
	carrier  http.RoundTripper
	backoff  remote.Backoff

	mu     sync.Mutex
	scopes []string        // what the token is for
	asked  map[string]bool // scopes asked for after the first, granted or not
	open   *login          // nil until connected
}

// login is a connection made: three ways to use the same one.
type login struct {
	client *http.Client
	reads  *remote.Puller
	writes *remote.Pusher
}

// connection returns the way to a repository: the one that Logins has, or a new one.
func (o Options) connection(repo name.Repository, scope string) *connection {
	if o.Logins == nil {
		return o.newConnection(repo, scope)
	}
	return o.Logins.connection(repo, scope, o)
}

func (o Options) newConnection(repo name.Repository, scope string) *connection {
	c := &connection{repo: repo, keychain: o.Keychain, backoff: o.Retry, scopes: []string{repo.Scope(scope)}, asked: map[string]bool{}}
	if c.backoff.Steps <= 0 {
		c.backoff = remote.Backoff{Duration: time.Second, Factor: 3, Jitter: 0.1, Steps: 3}
	}
	base := o.Transport
	if base == nil {
		base = remote.DefaultTransport
	}
	c.carrier = transport.NewUserAgent(&carrier{inner: base, backoff: c.backoff}, o.UserAgent)
	return c
}

// Logins keeps the ways to repositories from one call to the next, so that
// reading what a repository has and pushing to it cost one ping and one token
// together. The zero value is ready. All calls that share one must have the same
// Keychain, Transport, Retry and UserAgent: those of the first are used.
type Logins struct {
	mu    sync.Mutex
	known map[loginKey]*connection
}

type loginKey struct {
	repo  name.Repository
	scope string
}

func (ls *Logins) connection(repo name.Repository, scope string, o Options) *connection {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	// Who may push may read. Not the other way round, and who only reads does not
	// ask for more, which some registries refuse altogether.
	for _, wide := range []string{transport.PushScope, scope} {
		if c := ls.known[loginKey{repo, wide}]; c != nil {
			return c
		}
	}
	if ls.known == nil {
		ls.known = map[loginKey]*connection{}
	}
	c := o.newConnection(repo, scope)
	ls.known[loginKey{repo, scope}] = c
	return c
}

// login returns the connection, and makes it if there is none yet.
func (c *connection) login(ctx context.Context) (*login, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		open, err := c.connect(ctx, c.scopes)
		if err != nil {
			return nil, err
		}
		c.open = open
	}
	return c.open, nil
}

func (c *connection) connect(ctx context.Context, scopes []string) (*login, error) {
	auth := authn.Anonymous
	if c.keychain != nil {
		var err error
		if auth, err = authn.Resolve(ctx, c.keychain, c.repo); err != nil {
			return nil, err
		}
	}
	t, err := transport.NewWithContext(ctx, c.repo.Registry, auth, c.carrier, scopes)
	if err != nil {
		return nil, err
	}
	// go-containerregistry uses a transport that is logged in already as it is.
	// What is tried again, and when, is said in this package: its own pauses do
	// not end with ctx.
	o := []remote.Option{remote.WithTransport(t), remote.WithRetryBackoff(remote.Backoff{Steps: 1})}
	reads, err := remote.NewPuller(o...)
	if err != nil {
		return nil, err
	}
	writes, err := remote.NewPusher(o...)
	if err != nil {
		return nil, err
	}
	return &login{client: &http.Client{Transport: t, CheckRedirect: checkRedirect}, reads: reads, writes: writes}, nil
}

// mayRead has the token cover reading from another repository of the registry,
// and says whether it does as far as is known.
func (c *connection) mayRead(ctx context.Context, from name.Repository) bool {
	scope := from.Scope(transport.PullScope)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked[scope] {
		return slices.Contains(c.scopes, scope)
	}
	c.asked[scope] = true
	scopes := append(slices.Clone(c.scopes), scope) // a few registries look at the first only
	open, err := c.connect(ctx, scopes)
	if err != nil {
		return false
	}
	c.open, c.scopes = open, scopes
	return true
}

// head says what a reference names; the zero hash where it names nothing.
func (c *connection) head(ctx context.Context, ref name.Reference) (v1.Hash, error) {
	l, err := c.login(ctx)
	if err != nil {
		return v1.Hash{}, err
	}
	d, err := l.reads.Head(ctx, ref)
	if isNotFound(err) {
		return v1.Hash{}, nil
	}
	if err != nil {
		return v1.Hash{}, err
	}
	return d.Digest, nil
}

// put writes a manifest.
func (c *connection) put(ctx context.Context, ref name.Reference, img Image) error {
	l, err := c.login(ctx)
	if err != nil {
		return err
	}
	return c.again(ctx, func(int) error { return l.writes.Put(ctx, ref, img) })
}

// do sends one request and gives the answer, whose body has been done with. An
// answer with another status than those wanted is a *transport.Error. body, if
// there is one, is opened for each time that it is sent.
func (c *connection) do(ctx context.Context, method, to string, body func() (io.ReadCloser, error), size int64, want ...int) (*http.Response, error) {
	l, err := c.login(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, to, nil)
	if err != nil {
		return nil, err
	}
	if body != nil && size > 0 {
		req.Body, req.GetBody, req.ContentLength = unopened{}, body, size
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer finish(resp)
	return resp, transport.CheckError(resp, want...)
}

func (c *connection) url(path string, query url.Values) string {
	u := url.URL{Scheme: c.repo.Scheme(), Host: c.repo.RegistryStr(), Path: "/v2/" + c.repo.RepositoryStr() + path, RawQuery: query.Encode()}
	return u.String()
}

// again does something until it succeeds, at most as often as c.backoff says. What
// failed for good is not tried again, nor anything once ctx is done.
func (c *connection) again(ctx context.Context, try func(attempt int) error) error {
	b := c.backoff
	for attempt := 0; ; attempt++ {
		err := try(attempt)
		if err == nil || b.Steps <= 1 || !passing(err) || !pause(ctx, b.Step()) {
			return err
		}
	}
}
