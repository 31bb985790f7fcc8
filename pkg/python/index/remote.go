package index

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	// tailSize is what is read of a wheel first: its end, which for most has
	// the zip's directory and the .dist-info folder, so that one request is
	// enough.
	tailSize = 64 << 10
	// maxRanged bounds all that is read of a wheel by ranges: a directory of
	// more than a hundred thousand entries fits.
	maxRanged = 64 << 20
)

// rangeError says that a server's parts of a wheel cannot be used, for it gives
// none or gives others than it says: the wheel has to be had whole.
type rangeError struct{ err error }

func (e *rangeError) Error() string { return "no use of HTTP ranges: " + e.err.Error() }
func (e *rangeError) Unwrap() error { return e.err }

// ranged reads the metadata of a wheel by HTTP ranges, or, if the server sends
// the whole wheel instead, keeps that. The error is a *rangeError where the
// whole wheel may do better.
func (c *Client) ranged(ctx context.Context, f File, u *url.URL) ([]byte, error) {
	header := http.Header{"Accept-Encoding": {"identity"}, "Range": {fmt.Sprintf("bytes=-%d", tailSize)}}
	resp, err := c.http.get(ctx, u, header)
	var answer *StatusError
	if errors.As(err, &answer) { // 416, 400, 501, and whatever else to what is no usual request
		return nil, &rangeError{err}
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusPartialContent {
		// The answer is the wheel: take it as the download that it is.
		body := c.resuming(ctx, resp)
		defer body.Close()
		blob, err := c.wheels.do(ctx, wheelKey(f.Locked()), func(ctx context.Context) (Blob, error) {
			return c.keep(ctx, f.Locked(), body)
		})
		if err != nil {
			return nil, err
		}
		return readWheel(blob.Path, f)
	}
	remote, err := newRemoteFile(ctx, c.http, resp)
	if err != nil {
		return nil, &rangeError{err}
	}
	z, err := zip.NewReader(remote, remote.size)
	if err != nil {
		return nil, remote.why(err)
	}
	text, err := zipMetadata(z, f)
	if err != nil {
		return nil, remote.why(err)
	}
	return text, nil
}

// why tells a network that does not answer, which it will not do for the whole
// wheel either, from everything else that comes of parts: bytes that are no zip
// may be from another place of the wheel than the server said.
func (r *remoteFile) why(err error) error {
	if r.failed != nil {
		return r.failed
	}
	return &rangeError{err}
}

// remoteFile is a file on a server, of which the parts that are asked for are
// fetched.
type remoteFile struct {
	ctx   context.Context
	http  *transport
	url   *url.URL
	etag  string
	size  int64
	parts []part // apart from each other, in order
	read  int64
	next  int64 // size of the next request; doubled each time

	failed error // the network does not answer
}

type part struct {
	off  int64
	data []byte
}

func (p part) end() int64 { return p.off + int64(len(p.data)) }

func newRemoteFile(ctx context.Context, t *transport, resp *http.Response) (*remoteFile, error) {
	defer resp.Body.Close()
	from, to, total, err := contentRange(resp)
	if err != nil {
		return nil, err
	}
	if to != total-1 || to-from >= tailSize {
		return nil, fmt.Errorf("bytes %d to %d of %d are not the end of the file", from, to, total)
	}
	r := &remoteFile{ctx: ctx, http: t, url: resp.Request.URL, size: total, next: tailSize}
	if etag := resp.Header.Get("ETag"); strings.HasPrefix(etag, `"`) {
		r.etag = etag
	}
	// If the connection breaks here, ReadAt asks for this part again.
	if data, err := readLimit(resp.Body, tailSize); err == nil && int64(len(data)) == to-from+1 {
		r.take(from, data)
	}
	return r, nil
}

// ReadAt serves zip.Reader: from what is here, and else with one request for
// what is asked and some of what follows.
func (r *remoteFile) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		if off >= r.size {
			return n, io.EOF
		}
		have, err := r.at(off, int64(len(p)-n))
		if err != nil {
			return n, err
		}
		k := copy(p[n:], have)
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

// at returns bytes from off on, fetching if needed.
func (r *remoteFile) at(off, want int64) ([]byte, error) {
	i, _ := slices.BinarySearchFunc(r.parts, off, func(p part, off int64) int {
		if p.end() <= off {
			return -1
		}
		return 1
	})
	if i < len(r.parts) && r.parts[i].off <= off {
		return r.parts[i].data[off-r.parts[i].off:], nil
	}
	to := min(off+max(want, r.next), r.size)
	if i < len(r.parts) {
		to = min(to, r.parts[i].off)
	}
	r.next = min(2*r.next, maxRanged)
	if r.read+to-off > maxRanged {
		return nil, fmt.Errorf("more than %d bytes of %s read for its metadata", maxRanged, redact(r.url))
	}
	header := http.Header{"Accept-Encoding": {"identity"}, "Range": {fmt.Sprintf("bytes=%d-%d", off, to-1)}}
	if r.etag != "" {
		header.Set("If-Match", r.etag)
	}
	resp, data, err := r.http.read(r.ctx, r.url, header, to-off)
	if err != nil {
		var answer *StatusError // 412: it is another file by now
		if r.ctx.Err() != nil || temporary(err) && !errors.As(err, &answer) {
			r.failed = err
		}
		return nil, err
	}
	gotFrom, _, total, err := contentRange(resp)
	if err != nil {
		return nil, err
	}
	if gotFrom != off || total != r.size || int64(len(data)) != to-off {
		return nil, fmt.Errorf("%s sent another part than it was asked for", redact(r.url))
	}
	r.take(off, data)
	return data, nil
}

func (r *remoteFile) take(off int64, data []byte) {
	r.read += int64(len(data))
	r.parts = append(r.parts, part{off, data})
	slices.SortFunc(r.parts, func(a, b part) int { return int(a.off - b.off) })
}

// contentRange reads "bytes FROM-TO/TOTAL" (RFC 9110, 14.4).
func contentRange(resp *http.Response) (from, to, total int64, err error) {
	from, to, err = partOf(resp)
	if err != nil {
		return 0, 0, 0, err
	}
	_, size, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
	total, err = strconv.ParseInt(size, 10, 64)
	if err != nil || total <= to {
		return 0, 0, 0, badRange(resp)
	}
	return from, to, total, nil
}

// partOf is contentRange for those who need not know the total, which may be
// "*".
func partOf(resp *http.Response) (from, to int64, err error) {
	if resp.StatusCode != http.StatusPartialContent {
		return 0, 0, fmt.Errorf("%s: a part was asked for, and %s came", redact(resp.Request.URL), resp.Status)
	}
	rest, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes ")
	span, _, ok2 := strings.Cut(rest, "/")
	first, last, ok3 := strings.Cut(span, "-")
	from, err1 := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	if !ok || !ok2 || !ok3 || err1 != nil || err2 != nil || from < 0 || to < from {
		return 0, 0, badRange(resp)
	}
	return from, to, nil
}

func badRange(resp *http.Response) error {
	return fmt.Errorf("%s: no usable Content-Range: %q", redact(resp.Request.URL), resp.Header.Get("Content-Range"))
}
