package push

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"
)

// Session is a push that begins before its image is finished: layers are sent as
// they become ready, and the manifest in the end.
type Session struct {
	p      *pusher
	tag    name.Tag
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	wait   sync.WaitGroup

	// look asks once what the tag names: while it names something, nothing is
	// sent, for the push will either be refused or has nothing to send.
	look func() (v1.Hash, error)
	// believe finds out once what need not be asked for.
	believe func()

	mu    sync.Mutex
	begun map[v1.Hash]*sending
}

// sending is one blob on its way.
type sending struct {
	done chan struct{}
	err  error
}

// Begin prepares a push to tag. Nothing is asked of the registry yet. The
// error is a *LatestError, or about Options.
func Begin(ctx context.Context, tag name.Tag, o Options) (*Session, error) {
	if tag.TagStr() == "latest" {
		return nil, &LatestError{Tag: tag}
	}
	ctx, cancel := context.WithCancel(ctx)
	p, err := newPusher(ctx, tag.Context(), o)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &Session{p: p, tag: tag, ctx: ctx, cancel: cancel, slots: make(chan struct{}, p.jobs), begun: map[v1.Hash]*sending{}}
	s.believe = sync.OnceFunc(func() { p.believe(ctx) })
	s.look = sync.OnceValues(func() (v1.Hash, error) { return p.names(ctx, tag) })
	return s, nil
}

// Send begins to send a layer that the image will have, unless the repository
// has it already or the layer was sent before. It does not wait; what goes wrong
// is told by Finish. It may be called by several goroutines.
func (s *Session) Send(l v1.Layer) {
	digest, err := l.Digest()
	if err != nil {
		return // Finish will meet it again
	}
	b, mine := s.claim(digest)
	if !mine {
		return
	}
	s.wait.Go(func() {
		defer close(b.done)
		if now, err := s.look(); err != nil || now != (v1.Hash{}) {
			s.disclaim(digest)
			return
		}
		if s.believe(); s.p.vouchedFor(l) {
			return // its turn comes again if that turns out to be wrong
		}
		b.err = s.send(s.ctx, l)
	})
}

// claim says whether the caller is the one to send a blob.
func (s *Session) claim(digest v1.Hash) (*sending, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.begun[digest]; ok {
		return b, false
	}
	b := &sending{done: make(chan struct{})}
	s.begun[digest] = b
	return b, true
}

// disclaim forgets a blob that was not sent after all.
func (s *Session) disclaim(digest v1.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.begun, digest)
}

// send sends a blob when one of the slots is free.
func (s *Session) send(ctx context.Context, l v1.Layer) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return s.p.registryError("send blobs", ctx.Err())
	}
	defer func() { <-s.slots }()
	return s.p.sendBlob(ctx, l)
}

// ensure sends a blob, or waits for it if it is on its way.
func (s *Session) ensure(ctx context.Context, l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	b, mine := s.claim(digest)
	if mine {
		defer close(b.done)
		b.err = s.send(ctx, l)
		return b.err
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return s.p.registryError("send blobs", ctx.Err())
	}
}

// Finish sends what the repository does not have of img, and makes the tag name
// it. The rules and the errors are those of [Push].
func (s *Session) Finish(ctx context.Context, img Image) (Result, error) {
	defer s.Close()
	want, err := img.Digest()
	if err != nil {
		return Result{}, fmt.Errorf("push %s: digest of the image: %w", s.tag, err)
	}
	result := Result{Digest: s.tag.Context().Digest(want.String())}
	have, err := s.look()
	if err != nil {
		return Result{}, err
	}
	if have == want {
		s.p.log.Info(fmt.Sprintf("%s is already there with the same digest: nothing to upload", s.tag))
		result.Already = true
		return result, nil
	}
	if have != (v1.Hash{}) {
		return Result{}, &TagExistsError{Tag: s.tag, Have: have, Want: want}
	}
	if err := s.finish(ctx, img, want); err != nil {
		return Result{}, err
	}
	result.Uploaded = s.p.uploaded.Load()
	s.p.log.Info(fmt.Sprintf("pushed %s as %s, %s uploaded", s.tag, want, bytesText(result.Uploaded)))
	return result, nil
}

func (s *Session) finish(ctx context.Context, img Image, want v1.Hash) error {
	s.believe()
	err := s.parts(ctx, img, want)
	if err == nil || !s.p.doubt(err) {
		return err
	}
	// The registry does not have a blob that a manifest it has refers to.
	s.p.log.Warn(fmt.Sprintf("%s lacks a layer of an image that it has: every layer is looked at", s.p.repo))
	s.mu.Lock()
	clear(s.begun)
	s.mu.Unlock()
	return s.parts(ctx, img, want)
}

// parts sends what is missing of an image, and the manifest under the tag.
func (s *Session) parts(ctx context.Context, img Image, want v1.Hash) error {
	if err := s.sendParts(ctx, img); err != nil {
		return err
	}
	// Another push may have taken the tag while the blobs were under way. A
	// registry whose tags are mutable would let us overwrite it.
	same, err := s.p.tagNames(ctx, s.tag, want)
	if err != nil || same {
		return err
	}
	return s.p.putTag(ctx, s.tag, img, want)
}

// sendParts sends all that the manifest of img refers to: every blob first,
// each once, several at a time, then the manifests of an index's children by
// their digests, those of inner indexes after their own children.
func (s *Session) sendParts(ctx context.Context, img Image) error {
	var parts parts
	if _, err := s.p.collect(ctx, img, &parts); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, blob := range parts.blobs {
		if s.p.vouchedFor(blob) {
			continue
		}
		g.Go(func() error { return s.ensure(gctx, blob) })
	}
	if err := g.Wait(); err != nil {
		// Report an interruption as such, whichever request it happened to hit.
		if ctx.Err() != nil {
			return s.p.registryError("send blobs", ctx.Err())
		}
		return err
	}
	for _, child := range parts.children {
		if err := s.p.putChild(ctx, child); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the push: what is being sent stops. After Finish it does nothing.
func (s *Session) Close() error {
	s.cancel()
	s.wait.Wait()
	return nil
}

// believe finds out which of the images that are vouched for the repository has:
// it has their blobs, too, for it takes no manifest before its parts.
func (p *pusher) believe(ctx context.Context) {
	there := map[v1.Hash]bool{}
	defer func() { p.there.Store(&there) }()
	for _, img := range p.vouched {
		digest, err := img.Digest()
		if err != nil {
			continue
		}
		if _, err := p.puller.Head(ctx, p.repo.Digest(digest.String())); err != nil {
			continue // each blob is looked at
		}
		var all parts
		if err := gather(img, &all); err != nil {
			continue
		}
		for _, b := range all.blobs {
			if h, err := b.Digest(); err == nil {
				there[h] = true
			}
		}
	}
}

// vouchedFor says whether the repository is known to have a blob.
func (p *pusher) vouchedFor(l v1.Layer) bool {
	h, err := l.Digest()
	there := p.there.Load()
	return err == nil && there != nil && (*there)[h]
}

// doubt ends the belief in what was vouched for, if the registry has refused a
// manifest for it.
func (p *pusher) doubt(err error) bool {
	var answer *transport.Error
	if there := p.there.Load(); there == nil || len(*there) == 0 || !errors.As(err, &answer) || answer.StatusCode < 400 || answer.StatusCode >= 500 {
		return false
	}
	var exists *TagExistsError
	if errors.As(err, &exists) {
		return false
	}
	p.there.Store(nil)
	return true
}
