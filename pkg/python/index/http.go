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

	mu      sync.Mutex
	logins  []login
	indexes []*url.URL      // roots of the indexes, without passwords
	asked   map[string]bool // places that ask was called for
}

// login are credentials of an origin, from the URL of an index there or from
// Options.Credentials.
type login struct {
	origin, path, user, password string
	answered                     bool // by Options.Credentials
}

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
		if r.URL.Scheme == "http" && via[0].URL.Scheme == "https" {
			r.Header.Del("Authorization") // a netrc entry holds for any scheme
		}
		return nil
	}
	t.client = &client
	return t
}

// adopt takes the credentials out of the URL of an index and remembers them.
func (t *transport) adopt(i Index) (Index, error) {
	u, err := url.Parse(i.URL)
	if err != nil {
		return Index{}, &AddressError{"index URL: " + redactURLError(err).Error()}
	}
	if !isURL(i.URL) {
		return Index{}, &AddressError{fmt.Sprintf("index URL %s: only http, https and file URLs can be read", redact(u))}
	}
	if i.User != "" || i.Password != "" {
		user, password := u.User.Username(), i.Password
		if i.User != "" {
			user = i.User
		}
		if password == "" {
			password, _ = u.User.Password()
		}
		u.User = url.UserPassword(user, password)
		i.User, i.Password = "", ""
	}
	t.remember(u)
	root := *u
	if u.User != nil {
		root.User = url.User(u.User.Username())
	}
	t.indexes = append(t.indexes, &root)
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
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), portOf(u))
}

// credentials finds the login for a URL: that of the index of the same origin
// whose path has most in common with it, else the netrc entry of the host.
func (t *transport) credentials(u *url.URL) (user, password string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	want, best := origin(u), -1
	for _, l := range t.logins {
		// What was answered when the others did not do counts more than these.
		if n := commonPrefix(l.path, u.Path); l.origin == want && (n > best || n == best && l.answered) {
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
// status 200, 206 or 304. The other errors are *NotFoundError with the URL,
// *AuthError and *StatusError.
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
	refused := resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden
	if refused && t.ask != nil && (!sent || isPasswordless(resp.Request)) {
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
		return nil, &NotFoundError{URL: at}
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

// isPasswordless reports whether a request had only a user name: a token, which
// is enough for some servers, or the name that a keyring has the password of.
func isPasswordless(r *http.Request) bool {
	_, password, ok := r.BasicAuth()
	return ok && password == ""
}

// askFor asks the caller for the credentials of a place, once.
func (t *transport) askFor(ctx context.Context, u *url.URL) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock() // all who need this password wait for the one question
	place, in := t.place(u)
	l := login{origin: origin(u), path: in, answered: true}
	for _, known := range t.logins {
		if known.answered && known.origin == l.origin && known.path == l.path {
			return true, nil
		}
	}
	if t.asked[place] {
		return false, nil
	}
	user, password, ok, err := t.ask(ctx, place)
	if err != nil {
		return false, err
	}
	t.asked[place] = true
	if ok {
		l.user, l.password = user, password
		t.logins = append(t.logins, l)
	}
	return ok, nil
}

// place is the index that a URL belongs to, as it is asked for: its root, with
// the user name where the configuration has one; else the origin.
func (t *transport) place(u *url.URL) (place, in string) {
	best := 0
	place = origin(u)
	for _, root := range t.indexes {
		n := commonPrefix(strings.TrimSuffix(root.Path, "/")+"/", u.Path)
		if origin(root) == origin(u) && n > best {
			place, in, best = root.String(), path.Dir(root.Path), n
		}
	}
	return place, in
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
	var alert tls.AlertError // the server wants a certificate of ours, or another one
	if errors.As(err, &certificate) || errors.As(err, &alert) {
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

// retryAfter reads both forms of the header (RFC 9110, 10.2.3). A date is
// compared with the server's own clock.
func retryAfter(resp *http.Response) time.Duration {
	text := resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(n, 0), 3600)) * time.Second
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0
	}
	return max(until.Sub(now), 0)
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
