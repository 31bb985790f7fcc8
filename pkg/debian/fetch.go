package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Retries: what a mirror refuses for a moment it serves within seconds; what
// it refuses for longer is better told.
const (
	tries     = 4
	firstWait = 250 * time.Millisecond
	// stall is how long a mirror may send nothing before a try is given up.
	stall = 60 * time.Second
)

// StatusError reports an answer that is not the file asked for.
type StatusError struct {
	URL    string // without a password
	Status int    // of HTTP
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("get %s: the mirror answers %d %s", e.URL, e.Status, http.StatusText(e.Status))
}

// ContentError reports a file that is not the one that the signed index names.
type ContentError struct {
	URL        string
	WantSHA256 string
	WantSize   int64
	GotSHA256  string // "" where the size was wrong
}

func (e *ContentError) Error() string {
	if e.GotSHA256 != "" {
		return fmt.Sprintf("get %s: its SHA-256 is %s, not %s", e.URL, e.GotSHA256, e.WantSHA256)
	}
	return fmt.Sprintf("get %s: its size is not %d bytes", e.URL, e.WantSize)
}

// wanted is a file whose content is known.
type wanted struct {
	url string
	indexFile
}

func (w wanted) hash() v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: w.sha256} }

// open opens a wanted file from the cache, and fetches it first if it is not
// there.
func (o Options) open(ctx context.Context, w wanted, bar io.Writer) (io.ReadCloser, error) {
	if err := o.fetch(ctx, w, bar); err != nil {
		return nil, err
	}
	r, _, err := o.Cache.Blob(w.hash())
	return r, err
}

// fetch puts a wanted file into the cache. The bar, which may be nil, is moved
// on by its size.
func (o Options) fetch(ctx context.Context, w wanted, bar io.Writer) error {
	if bar == nil {
		bar = io.Discard
	}
	h := w.hash()
	if o.Cache.Has(h) {
		return advance(bar, w.size)
	}
	return o.retry(ctx, w.url, func(body io.Reader) error {
		checked := &checkedReader{r: io.TeeReader(body, bar), sum: sha256.New(), want: w}
		_, _, err := o.Cache.Put(ctx, checked, &h)
		if checked.err != nil {
			err = checked.err // the cache may say it in its own words
		}
		return err
	})
}

// advance moves a bar on by n bytes that need no download.
func advance(bar io.Writer, n int64) error {
	if bar == io.Discard {
		return nil
	}
	_, err := io.CopyN(bar, zeros{}, n)
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// read gets a small file whose content is not known beforehand.
func (o Options) read(ctx context.Context, address string, limit int64) ([]byte, error) {
	var b bytes.Buffer
	err := o.retry(ctx, address, func(body io.Reader) error {
		b.Reset()
		n, err := io.Copy(&b, io.LimitReader(body, limit+1))
		if err == nil && n > limit {
			err = fmt.Errorf("get %s: it is larger than %d bytes", redact(address), limit)
		}
		return err
	})
	return b.Bytes(), err
}

// retry gets an address and hands its body to use, again after a while where
// the mirror or the network failed in a way that may pass.
func (o Options) retry(ctx context.Context, address string, use func(io.Reader) error) error {
	wait := firstWait
	for try := 1; ; try++ {
		err := o.get(ctx, address, use)
		if err == nil || try == tries || ctx.Err() != nil || !mayPass(err) {
			return err
		}
		o.log().Debug("retrying", "cause", err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		wait *= 3
	}
}

// mayPass says whether another try may go well.
func mayPass(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Status == http.StatusTooManyRequests || status.Status == http.StatusRequestTimeout || status.Status >= 500
	}
	var network *networkError
	return errors.As(err, &network)
}

// networkError is a request or a body that broke off.
type networkError struct{ err error }

func (e *networkError) Error() string { return e.err.Error() }
func (e *networkError) Unwrap() error { return e.err }

var errStalled = fmt.Errorf("the mirror has sent nothing for %s", stall)

func (o Options) get(ctx context.Context, address string, use func(io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("get %s: %w", redact(address), err)
	}
	req.Header.Set("User-Agent", "boyabuild")
	// A proxy or a mirror that compresses on the way would change the bytes.
	req.Header.Set("Accept-Encoding", "identity")
	idle := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer idle.Stop()
	resp, err := o.client().Do(req)
	if err != nil {
		return brokenOff(ctx, address, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &StatusError{redact(address), resp.StatusCode}
	}
	body := &bodyReader{r: resp.Body, idle: idle}
	err = use(body)
	if body.err != nil {
		return brokenOff(ctx, address, body.err)
	}
	return err
}

func brokenOff(ctx context.Context, address string, err error) error {
	cause := context.Cause(ctx)
	if cause != nil && !errors.Is(cause, errStalled) {
		return cause // interrupted: no try more
	}
	if cause != nil {
		err = cause
	}
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err // it repeats method and address
	}
	return &networkError{fmt.Errorf("get %s: %w", redact(address), err)}
}

// bodyReader remembers what broke a body off, and puts off the idle timer.
type bodyReader struct {
	r    io.Reader
	idle *time.Timer
	err  error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if n > 0 {
		b.idle.Reset(stall)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// checkedReader gives the bytes of a wanted file, and an error in place of the
// end if they were others.
type checkedReader struct {
	r    io.Reader
	sum  hash.Hash
	n    int64
	want wanted
	err  error
}

func (c *checkedReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	switch {
	case c.n > c.want.size:
		c.err = &ContentError{URL: redact(c.want.url), WantSHA256: c.want.sha256, WantSize: c.want.size}
		return 0, c.err
	case !errors.Is(err, io.EOF):
		return n, err
	case c.n != c.want.size:
		c.err = &ContentError{URL: redact(c.want.url), WantSHA256: c.want.sha256, WantSize: c.want.size}
	case hex.EncodeToString(c.sum.Sum(nil)) != c.want.sha256:
		c.err = &ContentError{URL: redact(c.want.url), WantSHA256: c.want.sha256, WantSize: c.want.size,
			GotSHA256: hex.EncodeToString(c.sum.Sum(nil))}
	default:
		return n, io.EOF
	}
	return n, c.err
}
