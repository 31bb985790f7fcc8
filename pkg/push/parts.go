package push

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pusher is one push into one repository.
type pusher struct {
	repo     name.Repository
	puller   *remote.Puller
	remote   *remote.Pusher
	jobs     int
	log      *slog.Logger
	progress func(string, int64) io.WriteCloser
	uploaded atomic.Int64
	vouched  []Image
	there    atomic.Pointer[map[v1.Hash]bool] // blobs that are not asked for
}

func newPusher(ctx context.Context, repo name.Repository, o Options) (*pusher, error) {
	p := &pusher{repo: repo, jobs: o.Jobs, log: o.Log, progress: o.Progress, vouched: o.Vouched}
	if p.jobs <= 0 {
		p.jobs = defaultJobs
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	opts := []remote.Option{remote.WithContext(ctx), remote.WithJobs(p.jobs)}
	if o.Keychain != nil {
		opts = append(opts, remote.WithAuthFromKeychain(o.Keychain))
	}
	if o.Transport != nil {
		opts = append(opts, remote.WithTransport(o.Transport))
	}
	if o.Retry.Steps > 0 {
		opts = append(opts, remote.WithRetryBackoff(o.Retry))
	}
	if o.UserAgent != "" {
		opts = append(opts, remote.WithUserAgent(o.UserAgent))
	}
	var err error
	if p.puller, err = remote.NewPuller(opts...); err != nil {
		return nil, p.registryError("prepare", err)
	}
	if p.remote, err = remote.NewPusher(opts...); err != nil {
		return nil, p.registryError("prepare", err)
	}
	return p, nil
}

// putChild writes the manifest of an index's child by its digest.
func (p *pusher) putChild(ctx context.Context, child Image) error {
	digest, err := child.Digest()
	if err != nil {
		return err
	}
	if err := p.remote.Put(ctx, p.repo.Digest(digest.String()), child); err != nil {
		return p.registryError("write manifest "+digest.String(), err)
	}
	size, err := child.Size()
	p.uploaded.Add(size)
	return err
}

// gather adds all blobs of an image or index.
func gather(img Image, ps *parts) error {
	switch img := img.(type) {
	case v1.Image:
		return collectImage(img, ps)
	case v1.ImageIndex:
		children, err := partial.Manifests(img)
		if err != nil {
			return err
		}
		for _, c := range children {
			if child, ok := c.(Image); ok {
				if err := gather(child, ps); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// parts are what has to be in the repository before the manifest under the tag.
type parts struct {
	blobs    []v1.Layer // layers and configurations, each digest once
	children []Image    // in the order to write them
	seen     map[v1.Hash]bool
}

func (ps *parts) new(h v1.Hash) bool {
	if ps.seen == nil {
		ps.seen = map[v1.Hash]bool{}
	}
	if ps.seen[h] {
		return false
	}
	ps.seen[h] = true
	return true
}

func (ps *parts) addBlob(l v1.Layer) error {
	h, err := l.Digest()
	if err != nil {
		return err
	}
	if ps.new(h) {
		ps.blobs = append(ps.blobs, l)
	}
	return nil
}

// collect gathers the parts of img and says whether the repository has its
// manifest. What it has under a digest is whole (a registry takes no manifest
// before its parts), so nothing below that is looked at: the same image under
// a second tag costs one request.
func (p *pusher) collect(ctx context.Context, img Image, ps *parts) (there bool, err error) {
	digest, err := img.Digest()
	if err != nil {
		return false, err
	}
	_, err = p.puller.Head(ctx, p.repo.Digest(digest.String()))
	if err == nil {
		p.log.Debug(fmt.Sprintf("manifest %s is already there", digest))
		return true, nil
	}
	if !isNotFound(err) {
		return false, p.registryError("look for manifest "+digest.String(), err)
	}
	switch img := img.(type) {
	case v1.Image:
		return false, collectImage(img, ps)
	case v1.ImageIndex:
		children, err := partial.Manifests(img)
		if err != nil {
			return false, fmt.Errorf("push to %s: read index %s: %w", p.repo, digest, err)
		}
		for _, child := range children {
			if err := p.collectChild(ctx, child, ps); err != nil {
				return false, err
			}
		}
		return false, nil
	}
	return false, fmt.Errorf("push to %s: %s is neither an image nor an index", p.repo, digest)
}

func (p *pusher) collectChild(ctx context.Context, child partial.Describable, ps *parts) error {
	digest, err := child.Digest()
	if err != nil {
		return err
	}
	switch child := child.(type) {
	case v1.Image, v1.ImageIndex:
		if !ps.new(digest) {
			return nil
		}
		img := child.(Image)
		there, err := p.collect(ctx, img, ps)
		if err == nil && !there {
			ps.children = append(ps.children, img)
		}
		return err
	case v1.Layer:
		return ps.addBlob(child)
	}
	return fmt.Errorf("push to %s: the index refers to %s, which is not at hand", p.repo, digest)
}

func collectImage(img v1.Image, ps *parts) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := ps.addBlob(l); err != nil {
			return err
		}
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return err
	}
	return ps.addBlob(config)
}

// sendBlob has go-containerregistry ask for the blob, mount it from the
// repository that the layer came from if the layer knows one, or else send it.
func (p *pusher) sendBlob(ctx context.Context, l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	size, err := l.Size()
	if err != nil {
		return err
	}
	m := &metered{Layer: l, open: func() io.WriteCloser {
		if p.progress == nil {
			return nopMeter{io.Discard}
		}
		return p.progress("push "+shortDigest(digest), size)
	}}
	send := v1.Layer(m)
	if from, ok := l.(*remote.MountableLayer); ok {
		m.Layer = from.Layer
		send = &remote.MountableLayer{Layer: m, Reference: from.Reference}
	}
	err = p.remote.Upload(ctx, p.repo, send)
	sent := m.close()
	if err != nil {
		return p.registryError("send blob "+digest.String(), err)
	}
	p.uploaded.Add(sent)
	if sent == 0 {
		p.log.Debug(fmt.Sprintf("blob %s (%s) is already there", digest, bytesText(size)))
	} else {
		p.log.Debug(fmt.Sprintf("sent blob %s (%s)", digest, bytesText(size)))
	}
	return nil
}

func shortDigest(h v1.Hash) string {
	if len(h.Hex) > 12 {
		return h.Hex[:12]
	}
	return h.Hex
}

// metered is a layer that counts its bytes as they are sent. A retry sends
// them again from the start; only bytes past the furthest point reached
// advance the meter, so that it ends at the blob's size.
type metered struct {
	v1.Layer
	open func() io.WriteCloser

	mu    sync.Mutex
	meter io.WriteCloser
	most  int64
}

// Compressed opens the blob for one attempt at sending it.
func (m *metered) Compressed() (io.ReadCloser, error) {
	rc, err := m.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	return &meteredReader{ReadCloser: rc, m: m}, nil
}

func (m *metered) reached(at int64, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fresh := at - m.most
	if fresh <= 0 {
		return
	}
	if m.meter == nil {
		m.meter = m.open()
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
	return n, err
}

type nopMeter struct{ io.Writer }

func (nopMeter) Close() error { return nil }
