package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Session is a push that begins before its image is finished: layers are sent as
// they become ready, and the manifest in the end.
//
// Before anything is sent, the tag is looked at. If it names an image, nothing is
// sent at all: whether that is the image to be pushed, or the push is refused,
// [Session.Finish] will know.
type Session struct {
	c        *connection
	tag      name.Tag
	log      *slog.Logger
	progress func(string, int64) io.WriteCloser

	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
	asking chan struct{} // slots for questions about blobs, and
	moving chan struct{} // for blobs on their way

	look      func() (v1.Hash, error) // what the tag names, asked once
	lookedAt  atomic.Int64            // when that was, in Unix nanoseconds
	uploaded  atomic.Int64            // bytes
	sent      atomic.Bool             // a blob was sent or mounted
	assumed   atomic.Bool             // something was not asked for
	distrust  atomic.Bool             // everything is asked for
	proven    atomic.Bool             // an image that was vouched for is there
	manifests sync.Map                // by digest, a func() bool: whether it is there
	lacking   chan struct{}           // closed when a layer is not there
	lacks     func()                  // closes it

	mu      sync.Mutex
	vouched []*vouched
	begun   map[v1.Hash]*sending
	failure error // the first one
	over    bool
}

// sending is one blob on its way.
type sending struct{ done chan struct{} }

const (
	defaultJobs = 4
	// askFactor is how many blobs are asked for for each that is sent at a time: a
	// question takes a round trip and no bandwidth.
	askFactor = 4
	// fresh is how long it is known what a tag names: about as long as it takes to
	// ask and to write it.
	fresh = time.Second
)

// Begin prepares a push to tag. Nothing is asked of the registry yet. The error is
// a *LatestError. The session ends with Finish, with Close, or with ctx.
func Begin(ctx context.Context, tag name.Tag, o Options) (*Session, error) {
	if tag.TagStr() == "latest" {
		return nil, &LatestError{Tag: tag}
	}
	s := &Session{
		c: o.connection(tag.Context(), transport.PushScope), tag: tag, log: o.Log, progress: o.Progress,
		begun: map[v1.Hash]*sending{}, lacking: make(chan struct{}),
	}
	s.lacks = sync.OnceFunc(func() { close(s.lacking) })
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = defaultJobs
	}
	s.asking, s.moving = make(chan struct{}, askFactor*jobs), make(chan struct{}, jobs)
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.look = sync.OnceValues(s.names)
	for _, img := range o.Vouched {
		s.Vouch(img)
	}
	return s, nil
}

// names asks what the tag names; the zero hash where it is free.
func (s *Session) names() (v1.Hash, error) {
	have, err := s.c.head(s.ctx, s.tag)
	s.lookedAt.Store(time.Now().UnixNano())
	return have, s.c.failed("look at tag "+s.tag.TagStr(), err)
}

// Start asks in the background what will have to be known at the first Send or at
// Finish: what the tag names and, if it is free, whether the repository has the
// images that are vouched for. What is made meanwhile need not wait for that.
func (s *Session) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.wait.Go(func() {
		if have, err := s.look(); err != nil || have != (v1.Hash{}) {
			return // Finish says so
		}
		for _, v := range s.candidates() {
			s.has(v)
		}
	})
}

// Send begins to send a layer that the image will have, unless the repository has
// it already or the layer was sent before. It does not wait. What goes wrong ends
// the session and is told by Finish. It may be called by several goroutines; after
// Finish or Close it does nothing.
func (s *Session) Send(l v1.Layer) {
	if _, err := s.begin(l, true); err != nil {
		s.fail(err)
	}
}

// begin has a blob sent in the background, each once. It is asked for first, or
// else sent even if it is there.
func (s *Session) begin(l v1.Layer, ask bool) (*sending, error) {
	digest, err := l.Digest()
	if err != nil {
		return nil, fmt.Errorf("push to %s: digest of a layer: %w", s.c.repo, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.begun[digest]
	if b != nil || s.over {
		return b, nil
	}
	b = &sending{done: make(chan struct{})}
	s.begun[digest] = b
	s.wait.Go(func() {
		defer close(b.done)
		if err := s.settle(l, digest, ask); err != nil {
			s.fail(err)
		}
	})
	return b, nil
}

// fail ends the session. What fails because it has ended is of no interest.
func (s *Session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil && s.ctx.Err() == nil {
		s.failure = err
		s.cancel()
	}
}

// settle sees to it that the repository has a blob.
func (s *Session) settle(l v1.Layer, digest v1.Hash, ask bool) error {
	if have, err := s.look(); err != nil || have != (v1.Hash{}) {
		return err
	}
	if s.trusts(digest) {
		return nil
	}
	if from, ok := s.c.source(l); ok && from.Name() == s.c.repo.Name() && !s.distrust.Load() {
		s.assumed.Store(true) // it was read from a manifest of this very repository
		return nil
	}
	mediaType, err := l.MediaType()
	if err != nil {
		return s.c.failed("", &contentError{digest, err})
	}
	if !mediaType.IsDistributable() {
		return nil // OCI image specification, "Non-Distributable Layers": not to be uploaded
	}
	return s.c.failed("send blob "+digest.String(), s.send(l, digest, ask))
}

// send sends a blob, unless it is there.
func (s *Session) send(l v1.Layer, digest v1.Hash, ask bool) error {
	size, err := l.Size()
	if err != nil {
		return &contentError{digest, err}
	}
	u := &upload{c: s.c, digest: digest, size: size, from: s.sources(l, digest)}
	u.body = &metered{layer: l, digest: digest, show: func() io.WriteCloser {
		if s.progress == nil {
			return nopMeter{io.Discard}
		}
		return s.progress("push "+shortDigest(digest), size)
	}}
	if ask {
		there, err := within(s.ctx, s.asking, func() (bool, error) { return u.there(s.ctx) })
		if err != nil {
			return err
		}
		if there {
			s.log.Debug(fmt.Sprintf("blob %s (%s) is already there", digest, bytesText(size)))
			return nil
		}
		s.lacks()
	}
	_, err = within(s.ctx, s.moving, func() (bool, error) { return true, u.run(s.ctx) })
	bytes := u.body.close()
	if err != nil {
		return err
	}
	s.sent.Store(true)
	s.uploaded.Add(bytes)
	if bytes > 0 {
		s.log.Debug(fmt.Sprintf("sent blob %s (%s)", digest, bytesText(bytes)))
	} else {
		s.log.Debug(fmt.Sprintf("blob %s (%s) comes from another repository", digest, bytesText(size)))
	}
	return nil
}

// within does something while it holds one of the slots.
func within(ctx context.Context, slots chan struct{}, do func() (bool, error)) (bool, error) {
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
		return do()
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// Finish sends what the repository does not have of img, waits for what is being
// sent, and makes the tag name the image. The rules and the errors are those of
// [Push]; an error with any layer given to Send is one of them. The session ends.
func (s *Session) Finish(ctx context.Context, img Image) (Result, error) {
	defer s.Close()
	defer context.AfterFunc(ctx, s.cancel)()
	want, err := img.Digest()
	if err != nil {
		return Result{}, fmt.Errorf("push %s: digest of the image: %w", s.tag, err)
	}
	already, err := s.finish(img, want)
	if s.ctx.Err() != nil && err != nil {
		err = s.stopped(ctx)
	}
	if err != nil {
		return Result{}, err
	}
	result := Result{Digest: s.c.repo.Digest(want.String()), Already: already, Uploaded: s.uploaded.Load()}
	if already {
		s.log.Info(fmt.Sprintf("%s is already there with the same digest: nothing to upload", s.tag))
	} else {
		s.log.Info(fmt.Sprintf("pushed %s as %s, %s uploaded", s.tag, want, bytesText(result.Uploaded)))
	}
	return result, nil
}

// stopped is why the session ended before its time.
func (s *Session) stopped(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failure != nil:
		return s.failure
	case ctx.Err() != nil:
		return s.c.failed("send blobs", ctx.Err())
	}
	return s.c.failed("send blobs", s.ctx.Err())
}

func (s *Session) finish(img Image, want v1.Hash) (already bool, err error) {
	// That the tag named an image once since Begin is as good as that it names it
	// now: a push takes place at one moment between its beginning and its end.
	have, err := s.look()
	if err != nil || have == want {
		return err == nil, err
	}
	if have != (v1.Hash{}) {
		return false, &TagExistsError{Tag: s.tag, Have: have, Want: want}
	}
	err = s.parts(img, want)
	if s.assumed.Load() && lacksParts(err) {
		s.log.Warn(fmt.Sprintf("%s lacks a part of an image that it has: every part is looked at", s.c.repo))
		s.distrust.Store(true)
		s.mu.Lock()
		clear(s.begun)
		s.mu.Unlock()
		err = s.parts(img, want)
	}
	return false, err
}

// lacksParts is that a registry refused a manifest for what it is, and not for
// the tag or for who asks. There is a code for parts that it does not have,
// MANIFEST_BLOB_UNKNOWN, but not all use it.
func lacksParts(err error) bool {
	var answer *transport.Error
	var exists *TagExistsError
	var nowhere *RepositoryNotFoundError
	if !errors.As(err, &answer) || errors.As(err, &exists) || errors.As(err, &nowhere) || tagRefused(err) {
		return false
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return false
	}
	return answer.StatusCode/100 == 4 && !passing(err)
}

// parts sends what is missing of an image, and the manifest under the tag.
func (s *Session) parts(img Image, want v1.Hash) error {
	if err := s.sendParts(img); err != nil {
		return err
	}
	// Another push may have taken the tag while the blobs were under way. A
	// registry whose tags are mutable would let us overwrite it.
	if s.sent.Load() || time.Since(time.Unix(0, s.lookedAt.Load())) > fresh {
		if same, err := s.tagNames(want); err != nil || same {
			return err
		}
	}
	return s.putTag(img, want)
}

// Close ends the push: what is being sent stops. After Finish it does nothing.
func (s *Session) Close() error {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.cancel()
	s.wait.Wait()
	return nil
}
