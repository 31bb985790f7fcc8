package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// upload is one blob on its way into the repository.
//
// It is sent by POST and one PUT with all of its bytes (OCI distribution
// specification, "POST then PUT"), as containerd and BuildKit do, rather than in
// go-containerregistry's three steps: one request less a blob. The variant of one
// POST is left alone: many registries take the bytes and forget them.
type upload struct {
	c      *connection
	digest v1.Hash
	size   int64
	body   *metered
	from   []name.Repository // repositories of the registry that have the blob
}

// run sends the blob, again from its beginning if that fails for a passing reason.
func (u *upload) run(ctx context.Context) error {
	err := u.c.again(ctx, func(attempt int) error {
		if attempt > 0 { // the one before may have succeeded, and its answer been lost
			if there, err := u.there(ctx); err != nil || there {
				return err
			}
		}
		return u.once(ctx)
	})
	if content := u.body.failure(); err != nil && content != nil && ctx.Err() == nil {
		return content // what came of it is not worth telling
	}
	return err
}

func (u *upload) there(ctx context.Context) (bool, error) {
	resp, err := u.c.do(ctx, http.MethodHead, u.c.url("/blobs/"+u.digest.String(), nil), nil, 0, http.StatusOK, http.StatusNotFound)
	return err == nil && resp.StatusCode == http.StatusOK, err
}

// once has the blob mounted, or else sends it.
func (u *upload) once(ctx context.Context) error {
	at, err := u.start(ctx)
	if err != nil || at == nil {
		return err
	}
	q := at.Query()
	q.Set("digest", u.digest.String())
	at.RawQuery = q.Encode()
	_, err = u.c.do(ctx, http.MethodPut, at.String(), u.body.open, u.size, http.StatusCreated, http.StatusOK, http.StatusNoContent)
	return err
}

// start returns where to send the blob; nil if the registry has mounted it from
// another repository.
func (u *upload) start(ctx context.Context) (*url.URL, error) {
	for _, from := range u.from {
		if !u.c.mayRead(ctx, from) {
			continue
		}
		// What a registry has against mounting is no reason not to send.
		if at, err := u.post(ctx, url.Values{"mount": {u.digest.String()}, "from": {from.RepositoryStr()}}); err == nil || passing(err) || ctx.Err() != nil {
			return at, err
		}
	}
	return u.post(ctx, nil)
}

func (u *upload) post(ctx context.Context, query url.Values) (*url.URL, error) {
	resp, err := u.c.do(ctx, http.MethodPost, u.c.url("/blobs/uploads/", query), nil, 0, http.StatusAccepted, http.StatusCreated)
	if err != nil || resp.StatusCode == http.StatusCreated {
		return nil, err
	}
	at, err := resp.Location() // absolute, or relative to the request
	if err != nil {
		return nil, fmt.Errorf("the registry does not say where to send it: %w", err)
	}
	return at, checkPlace(resp.Request.URL, at)
}

// source is the repository of the same registry that a layer was read from.
func (c *connection) source(l v1.Layer) (name.Repository, bool) {
	from, ok := l.(*remote.MountableLayer)
	if !ok || from.Reference.Context().RegistryStr() != c.repo.RegistryStr() {
		return name.Repository{}, false
	}
	return from.Reference.Context(), true
}

// contentError is that a blob could not be read where it is kept.
type contentError struct {
	digest v1.Hash
	err    error
}

func (e *contentError) Error() string { return fmt.Sprintf("read blob %s: %v", e.digest, e.err) }
func (e *contentError) Unwrap() error { return e.err }

// metered is a blob's content, which counts its bytes as they are sent. A retry
// sends them again from the start; only bytes past the furthest point reached
// advance the meter, so that it ends at the blob's size.
type metered struct {
	layer  v1.Layer
	digest v1.Hash
	show   func() io.WriteCloser

	mu    sync.Mutex
	meter io.WriteCloser
	most  int64
	err   *contentError
}

// open opens the blob for one attempt at sending it.
func (m *metered) open() (io.ReadCloser, error) {
	rc, err := m.layer.Compressed()
	if err != nil {
		return nil, m.fail(err)
	}
	return &meteredReader{ReadCloser: rc, m: m}, nil
}

func (m *metered) fail(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = &contentError{m.digest, err}
	return m.err
}

// failure is what was wrong with the content itself; nil if nothing was.
func (m *metered) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		return nil
	}
	return m.err
}

func (m *metered) reached(at int64, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fresh := at - m.most
	if fresh <= 0 {
		return
	}
	if m.meter == nil {
		m.meter = m.show()
	}
	m.most = at
	_, _ = m.meter.Write(p[int64(len(p))-fresh:]) // a meter has no failures that matter to a push
}

// close ends the meter and says how many bytes of the blob were sent.
func (m *metered) close() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.meter != nil {
		_ = m.meter.Close()
		m.meter = nil
	}
	return m.most
}

type meteredReader struct {
	io.ReadCloser
	m  *metered
	at int64
}

func (r *meteredReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.at += int64(n)
	r.m.reached(r.at, p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.m.fail(err)
	}
	return n, err
}

type nopMeter struct{ io.Writer }

func (nopMeter) Close() error { return nil }
