package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// pause waits, and says whether the time has passed without ctx having ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// passing says whether what was sent may be taken the next time: there was no
// answer, or one that speaks of the registry's state and not of the request.
func passing(err error) bool {
	var answer *transport.Error
	if errors.As(err, &answer) {
		return answer.Temporary() || passingStatus(answer.StatusCode)
	}
	var stray *strayError
	var content *contentError
	var unanswered *url.Error
	return errors.As(err, &unanswered) && !errors.As(err, &stray) && !errors.As(err, &content)
}

func passingStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		499, // nginx: the client has gone, which it has not
		522: // Cloudflare: the registry did not answer in time
		return true
	}
	return false
}

// broken says whether a connection broke, so that nothing is known of what became
// of a request; one that could not be made at all is not tried again.
func broken(err error) bool {
	for _, reset := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET, net.ErrClosed} {
		if errors.Is(err, reset) {
			return true
		}
	}
	return false
}

// answerLimit bounds manifests and lists of tags. The specification has registries
// take manifests of 4 MiB, and some take twice that.
const answerLimit = 8 << 20

// carrier is what carries each request. Those that send nothing are tried again
// here; those that do are begun again by who sends, whose registry may have
// forgotten where it was.
type carrier struct {
	inner   http.RoundTripper
	backoff remote.Backoff
}

func (t *carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return t.send(r)
	}
	b := t.backoff
	for {
		resp, err := t.inner.RoundTrip(r)
		again := err == nil && passingStatus(resp.StatusCode) || err != nil && broken(err)
		if !again || b.Steps <= 1 {
			return bounded(r, resp), err
		}
		if resp != nil {
			finish(resp)
		}
		if !pause(r.Context(), b.Step()) {
			return nil, r.Context().Err()
		}
	}
}

// send sends a body anew: a token that ended while a blob was sent is renewed
// above, and the request comes by once more with its body used up.
func (t *carrier) send(r *http.Request) (*http.Response, error) {
	if r.GetBody == nil {
		return t.inner.RoundTrip(r)
	}
	body, err := r.GetBody()
	if r.Body != nil {
		_ = r.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = body
	return t.inner.RoundTrip(r)
}

// unopened stands for a body until carrier opens it.
type unopened struct{}

func (unopened) Read([]byte) (int, error) { return 0, errors.New("the body was not opened") }
func (unopened) Close() error             { return nil }

func finish(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // the connection is of further use
	_ = resp.Body.Close()
}

// bounded has a manifest or a list of tags end at answerLimit. Blobs have sizes
// that are known before, and tokens a bound in go-containerregistry.
func bounded(r *http.Request, resp *http.Response) *http.Response {
	if resp == nil || r.Method != http.MethodGet {
		return resp
	}
	if dir := path.Base(path.Dir(r.URL.Path)); dir == "manifests" || dir == "tags" {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: answerLimit}
	}
	return resp
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the answer is larger than %d MiB", answerLimit>>20)
	}
	return n, err
}

// strayError is that a registry sends us to an address of the inner network.
type strayError struct{ host string }

func (e *strayError) Error() string {
	return fmt.Sprintf("the registry refers to %s, an address that only this network knows", e.host)
}

// checkPlace refuses a way from a registry to another host that is a private
// address. A registry in the public network has no reason to name one, and a
// hostile one would have us send blobs to, or read from, what only we can reach.
func checkPlace(from, to *url.URL) error {
	if from.Hostname() == to.Hostname() {
		return nil
	}
	addr, err := netip.ParseAddr(to.Hostname())
	if err != nil {
		return nil // a name; what it stands for is not ours to judge
	}
	if addr = addr.WithZone("").Unmap(); addr.IsLoopback() || addr.IsPrivate() || addr.IsUnspecified() || addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast() {
		return &strayError{host: to.Hostname()}
	}
	return nil
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	const most = 10 // as net/http
	if len(via) >= most {
		return fmt.Errorf("stopped after %d redirects", most)
	}
	return checkPlace(via[0].URL, req.URL)
}
