// Package push sends an image to a registry under a tag that then never moves.
//
// In goes an image or an index of images (go-containerregistry's v1.Image or
// v1.ImageIndex) and a tag; out comes the digest by which everything after
// this refers to it. The tag is looked at first: if it already names this
// digest nothing is sent and the push has succeeded, if it names another the
// push is refused, whatever the registry itself would have allowed. Tags are
// for people and do not move; `latest`, which is meant to move, is refused.
//
// A push may begin before its image is finished: a [Session] sends layers as they
// become ready. What is sent is sent in the order that keeps a registry whole at
// every moment: blobs, then the manifests of an index's children by their digests,
// then the one manifest under the tag. An interrupted push leaves no tag.
//
// Requests are what a small change costs, so few are made: one login for all, one
// question for all parts of an image that was pushed before, two requests for a
// blob. [Newest] and [Fetch] find that image in the registry when it is not at hand.
//
// The package never deletes, never overwrites a tag, holds no layer in memory, and
// knows nothing of any one registry's API beyond the OCI distribution
// specification.
package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is what v1.Image and v1.ImageIndex have in common. Push takes either;
// anything else that has these methods is an error.
type Image interface {
	Digest() (v1.Hash, error)
	Size() (int64, error)
	MediaType() (types.MediaType, error)
	RawManifest() ([]byte, error)
}

// Options says how to reach the registry. The zero value pushes anonymously
// over go-containerregistry's default transport.
type Options struct {
	// Keychain finds the credentials for a registry; nil is anonymous.
	Keychain authn.Keychain
	// Transport carries the requests; nil is remote.DefaultTransport.
	Transport http.RoundTripper
	// Retry is how often and how long apart what failed for a passing reason
	// (429, 5xx, a broken connection) is tried; a blob is sent again from its
	// beginning. The zero value is three times, one and three seconds apart.
	Retry remote.Backoff
	// Vouched are images that the repository may have: those that were pushed to it
	// before, or that Fetch has read from it. While it has the manifest of one, it
	// is not asked for that image's parts one by one; an image that Fetch has read
	// from the repository itself is not even asked for. What Fetch has read from
	// another repository of the registry is mounted from there. Of these images
	// only manifests are read, which are to be at hand. If the registry refuses a
	// manifest after all, every part is asked for and sent.
	Vouched []Image
	// Logins are shared with other calls; nil is none.
	Logins *Logins
	// Jobs is how many blobs are sent at once; 0 is 4.
	Jobs int
	// UserAgent is put before go-containerregistry's own.
	UserAgent string
	// Log gets one line a step; nil is none.
	Log *slog.Logger
	// Progress opens one meter for each blob that is really sent, with its
	// size in bytes: Write advances it by len(p), Close ends it. It is called
	// from several goroutines. nil is none.
	Progress func(what string, total int64) io.WriteCloser
}

// Result is what a push did.
type Result struct {
	// Digest is the repository and the digest of the manifest or index:
	// "repo@sha256:…".
	Digest name.Digest
	// Uploaded is the bytes of blobs and manifests sent; what the registry
	// had, or mounted from another repository, does not count.
	Uploaded int64
	// Already is that the tag named this digest before, and nothing was sent.
	Already bool
}

// Push makes tag name the image in the registry, sending what the registry
// does not have. Pushing the same image to the same tag again costs one HEAD
// (and the registry's authentication) and succeeds.
//
// Errors: *LatestError; *TagExistsError when the tag names another digest;
// *RepositoryNotFoundError; *RegistryError for everything else that a registry
// or the way to it answers. All but the first wrap their cause, so an
// interruption is found with errors.Is(err, context.Canceled). What is wrong with
// the image itself, such as a layer that cannot be read, is none of these, and
// wrapped.
func Push(ctx context.Context, img Image, tag name.Tag, o Options) (Result, error) {
	s, err := Begin(ctx, tag, o)
	if err != nil {
		return Result{}, err
	}
	return s.Finish(ctx, img)
}

// tagNames asks whether the tag names the wanted digest. That it names another one
// is a *TagExistsError.
func (s *Session) tagNames(want v1.Hash) (bool, error) {
	have, err := s.names()
	if err != nil || have == (v1.Hash{}) {
		return false, err
	}
	if have != want {
		return false, &TagExistsError{Tag: s.tag, Have: have, Want: want}
	}
	return true, nil
}

// putTag writes the manifest under the tag. A refusal by the registry is looked
// into by reading the tag again: ECR, for one, answers TAG_INVALID to a manifest
// that an immutable tag already names, the same digest included.
func (s *Session) putTag(img Image, want v1.Hash) error {
	err := s.c.put(s.ctx, s.tag, img)
	if err == nil {
		size, err := img.Size()
		s.uploaded.Add(size)
		return err
	}
	if tagRefused(err) {
		same, readErr := s.tagNames(want)
		var exists *TagExistsError
		if errors.As(readErr, &exists) {
			exists.Cause = err
			return exists
		}
		if same {
			return nil
		}
	}
	return s.c.failed("write tag "+s.tag.TagStr(), err)
}

// tagRefused is that the registry refused the manifest for what it is or for
// the tag it is to go under, and not for who asks or for a passing reason.
// TAG_INVALID is ECR's answer to a second manifest under an immutable tag;
// other registries with immutable tags answer 409 or 412.
func tagRefused(err error) bool {
	var e *transport.Error
	if !errors.As(err, &e) {
		return false
	}
	return hasCode(err, transport.TagInvalidErrorCode) || e.StatusCode == http.StatusConflict || e.StatusCode == http.StatusPreconditionFailed
}

func bytesText(n int64) string {
	switch {
	case n >= 10_000_000:
		return fmt.Sprintf("%d MB", (n+500_000)/1_000_000)
	case n >= 1_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1_000:
		return fmt.Sprintf("%d kB", (n+500)/1_000)
	}
	return fmt.Sprintf("%d bytes", n)
}
