package index

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// tries is how often a request that may succeed the next time is made.
	tries = 4
	// maxDelay bounds what a Retry-After header can make us wait.
	maxDelay = 20 * time.Second
	// maxRedirects is what browsers and net/http allow.
	maxRedirects = 10
)

// transport makes requests: credentials of their origin, retries, redirects.
type transport struct {
	client    *http.Client
	userAgent string
	netrc     Netrc
	ask       func(ctx context.Context, origin string) (string, string, bool, error)
	log       *slog.Logger
	delay     time.Duration // before the second try; doubled each time

	mu     sync.Mutex
	logins []login
	asked  map[string]bool // origins that ask was called for
}

// login are credentials of an origin, from the URL of an index there.
type login struct{ origin, path, user, password string }

func newTransport(o Options, log *slog.Logger) *transport {
	t := &transport{
		userAgent: o.UserAgent, netrc: o.Netrc, ask: o.Credentials, log: log,
		delay: 300 * time.Millisecond, asked: map[string]bool{},
	}
	if t.userAgent == "" {
		t.userAgent = "boyabuild"
	}
	client := http.Client{}
	if o.HTTP != nil {
		client = *o.HTTP
	}
	// net/http keeps the Authorization header for another port or a subdomain
	// of the same host. Here each hop gets what belongs to its own origin.
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		t.authorize(r)
		return nil
	}
	t.client = &client
	return t
}

// adopt takes the credentials out of the URL of an index and remembers them.
func (t *transport) adopt(i Index) (Index, error) {
	u, err := url.Parse(i.URL)
	if err != nil {
		return Index{}, fmt.Errorf("index URL: %w", redactURLError(err))
	}
	if !isURL(i.URL) {
		return Index{}, fmt.Errorf("index URL %s: only http, https and file URLs can be read", redact(u))
	}
	t.remember(u)
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	i.URL = u.String()
	if i.Name == "" {
		i.Name = redact(u)
	}
	return i, nil
}

func (t *transport) remember(u *url.URL) {
	if u.User == nil {
		return
	}
	password, _ := u.User.Password()
	l := login{origin: origin(u), path: path.Dir(u.Path), user: u.User.Username(), password: password}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.logins, l) { // a page repeats the same login for every file
		t.logins = append(t.logins, l)
	}
}

// origin is scheme, host and port: what credentials are bound to.
func origin(u *url.URL) string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port)
}

// credentials finds the login for a URL: that of the index of the same origin
// whose path has most in common with it, else the netrc entry of the host.
func (t *transport) credentials(u *url.URL) (user, password string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	want, best := origin(u), -1
	for _, l := range t.logins {
		if n := commonPrefix(l.path, u.Path); l.origin == want && n > best {
			user, password, best = l.user, l.password, n
		}
	}
	if best >= 0 {
		return user, password, true
	}
	entry, ok := t.netrc.lookup(u.Hostname())
	return entry.Login, entry.Password, ok
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// authorize sets or removes the Authorization header of a request.
func (t *transport) authorize(r *http.Request) (sent bool) {
	r.Header.Del("Authorization")
	user, password, ok := t.credentials(r.URL)
	if ok {
		r.SetBasicAuth(user, password)
	}
	return ok
}

// get asks for a URL, again if that may help, and returns an answer with
// status 200, 206 or 304. The other errors are *NotFoundError without a
// project, *AuthError and *StatusError.
func (t *transport) get(ctx context.Context, u *url.URL, header http.Header) (*http.Response, error) {
	var last error
	for try := range tries {
		if try > 0 {
			if err := sleep(ctx, t.wait(try, last)); err != nil {
				return nil, err
			}
			t.log.Debug(fmt.Sprintf("asking %s again: %v", redact(u), last))
		}
		resp, err := t.once(ctx, u, header)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !temporary(err) {
			return nil, err
		}
		last = err
	}
	return nil, last
}

// read is get with the whole body; a connection that breaks in the middle of it
// is one more reason to ask again.
func (t *transport) read(ctx context.Context, u *url.URL, header http.Header, limit int64) (*http.Response, []byte, error) {
	var last error
	for try := range tries {
		if try > 0 {
			if err := sleep(ctx, t.wait(try, last)); err != nil {
				return nil, nil, err
			}
		}
		resp, err := t.get(ctx, u, header)
		if err != nil {
			return nil, nil, err
		}
		body, err := readLimit(resp.Body, limit)
		resp.Body.Close()
		if err == nil {
			return resp, body, nil
		}
		last = fmt.Errorf("%s: %w", redact(u), err)
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if !temporary(err) {
			break
		}
	}
	return nil, nil, last
}

// once makes one request, and a second one if the caller's Credentials know the
// password that the server wants.
func (t *transport) once(ctx context.Context, u *url.URL, header http.Header) (*http.Response, error) {
	resp, sent, err := t.request(ctx, u, header)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized && !sent && t.ask != nil {
		found, err := t.askFor(ctx, resp.Request.URL)
		if err != nil {
			drain(resp)
			return nil, fmt.Errorf("look up credentials for %s: %w", redact(resp.Request.URL), err)
		}
		if found {
			drain(resp)
			if resp, sent, err = t.request(ctx, u, header); err != nil {
				return nil, err
			}
		}
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified:
		return resp, nil
	}
	drain(resp)
	at := redact(resp.Request.URL)
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		return nil, &NotFoundError{Project: at}
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, &AuthError{URL: at, Status: resp.StatusCode, Sent: sent}
	}
	return nil, &answerError{StatusError{URL: at, Status: resp.StatusCode}, retryAfter(resp)}
}

// answerError is a StatusError that knows when to come back.
type answerError struct {
	StatusError
	after time.Duration
}

func (e *answerError) Unwrap() error { return &e.StatusError }

func (t *transport) request(ctx context.Context, u *url.URL, header http.Header) (*http.Response, bool, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, false, redactURLError(err)
	}
	for key, values := range header {
		r.Header[key] = values
	}
	r.Header.Set("User-Agent", t.userAgent)
	t.authorize(r)
	resp, err := t.client.Do(r)
	if err != nil {
		return nil, false, &connectError{redact(u), redactURLError(err)}
	}
	_, _, sent := resp.Request.BasicAuth()
	return resp, sent, nil
}

// connectError is a request that got no answer.
type connectError struct {
	url string
	err error
}

func (e *connectError) Error() string { return e.url + ": " + e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// askFor asks the caller for the credentials of an origin, once.
func (t *transport) askFor(ctx context.Context, u *url.URL) (bool, error) {
	where := origin(u)
	t.mu.Lock()
	defer t.mu.Unlock() // all who need this password wait for the one question
	for _, l := range t.logins {
		if l.origin == where {
			return true, nil
		}
	}
	if t.asked[where] {
		return false, nil
	}
	user, password, ok, err := t.ask(ctx, where)
	if err != nil {
		return false, err
	}
	t.asked[where] = true
	if ok {
		t.logins = append(t.logins, login{origin: where, user: user, password: password})
	}
	return ok, nil
}

// temporary reports whether a request that failed so may succeed later.
func temporary(err error) bool {
	var answer *answerError
	if errors.As(err, &answer) {
		switch answer.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsTemporary || dns.IsTimeout
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return false
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed)
}

func (t *transport) wait(try int, last error) time.Duration {
	var answer *answerError
	if errors.As(last, &answer) && answer.after > 0 {
		return min(answer.after, maxDelay)
	}
	return min(t.delay<<(try-1), maxDelay)
}

// retryAfter reads the header's form in seconds; the form with a date would
// need a clock that agrees with the server's.
func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, 3600)) * time.Second
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drain ends a response so that its connection can be used again.
func drain(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
}

// pageRecord is what is kept of a page that came with an ETag.
type pageRecord struct {
	ETag        string  `json:"etag"`
	ContentType string  `json:"contentType"`
	Base        string  `json:"base"`
	Body        v1.Hash `json:"body"`
}

// document reads a page. One that came with an ETag is kept, and asked for
// with If-None-Match the next time; others are always asked for.
func (c *Client) document(ctx context.Context, u *url.URL) (document, error) {
	key := "simple-page/" + redact(u) // the query is not part of an index's URL
	var known pageRecord
	kept, ok := document{}, false
	if found, err := c.cache.Record(key, &known); err == nil && found && u.RawQuery == "" {
		kept, ok = c.keptDocument(known)
	}
	header := http.Header{"Accept": {accept}}
	if ok {
		header.Set("If-None-Match", known.ETag)
	}
	resp, body, err := c.http.read(ctx, u, header, maxPage)
	if err != nil {
		return document{}, err
	}
	if resp.StatusCode == http.StatusNotModified && ok {
		return kept, nil
	}
	doc := document{base: resp.Request.URL, contentType: resp.Header.Get("Content-Type"), body: body}
	doc.base.User = nil
	if etag := resp.Header.Get("ETag"); etag != "" && u.RawQuery == "" {
		c.keepDocument(ctx, key, etag, doc)
	}
	return doc, nil
}

func (c *Client) keptDocument(r pageRecord) (document, bool) {
	if r.ETag == "" || !c.cache.Has(r.Body) {
		return document{}, false
	}
	base, err := url.Parse(r.Base)
	if err != nil {
		return document{}, false
	}
	body, err := readFileLimit(c.cache.File(r.Body), maxPage)
	if err != nil {
		return document{}, false
	}
	return document{base: base, contentType: r.ContentType, body: body}, true
}
