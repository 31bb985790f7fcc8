package push

import (
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
)

// sendParts sends all that the manifest of img refers to: every blob first, each
// once, several at a time, then the manifests of an index's children by their
// digests, those of inner indexes after their own children.
func (s *Session) sendParts(img Image) error {
	var parts parts
	if _, err := s.collect(img, &parts, false); err != nil {
		return err
	}
	layers, err := s.beginAll(parts.layers, true)
	if err != nil {
		return err
	}
	// A configuration is an image's own: if one of the layers is new, so is it, and
	// need not be asked for. It is not waited for all of them to know that.
	known := make(chan struct{})
	go func() {
		defer close(known)
		wait(layers)
	}()
	select {
	case <-known:
	case <-s.lacking:
	}
	configs, err := s.beginAll(parts.configs, !s.isNew())
	if err != nil {
		return err
	}
	wait(configs)
	<-known
	if err := s.ctx.Err(); err != nil {
		return err // Finish says what ended the session
	}
	for _, child := range parts.children {
		if err := s.putChild(child); err != nil {
			return err
		}
	}
	return nil
}

// beginAll has blobs sent that are not on their way yet.
func (s *Session) beginAll(blobs []v1.Layer, ask bool) ([]*sending, error) {
	var begun []*sending
	for _, l := range blobs {
		b, err := s.begin(l, ask)
		if err != nil {
			return nil, err
		}
		if b != nil {
			begun = append(begun, b)
		}
	}
	return begun, nil
}

func wait(all []*sending) {
	for _, b := range all {
		<-b.done
	}
}

// isNew says whether the image has a layer that the repository did not have.
func (s *Session) isNew() bool {
	select {
	case <-s.lacking:
		return !s.distrust.Load()
	default:
		return false
	}
}

// putChild writes the manifest of an index's child by its digest.
func (s *Session) putChild(child Image) error {
	digest, err := child.Digest()
	if err != nil {
		return err
	}
	if err := s.c.put(s.ctx, s.c.repo.Digest(digest.String()), child); err != nil {
		return s.c.failed("write manifest "+digest.String(), err)
	}
	size, err := child.Size()
	s.uploaded.Add(size)
	return err
}

// parts are what has to be in the repository before the manifest under the tag.
type parts struct {
	layers, configs []v1.Layer
	children        []Image // in the order to write them
	seen            map[v1.Hash]bool
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

// collect gathers the parts of img, and says whether the repository has its
// manifest, and so all of it.
func (s *Session) collect(img Image, ps *parts, child bool) (there bool, err error) {
	digest, err := img.Digest()
	if err != nil {
		return false, err
	}
	if s.trusts(digest) {
		return true, nil
	}
	switch img := img.(type) {
	case v1.Image:
		layers, err := img.Layers()
		if err != nil {
			return false, fmt.Errorf("push to %s: read image %s: %w", s.c.repo, digest, err)
		}
		config, err := partial.ConfigLayer(img)
		if err != nil {
			return false, fmt.Errorf("push to %s: read image %s: %w", s.c.repo, digest, err)
		}
		return s.collectImage(digest, layers, config, ps, child)
	case v1.ImageIndex:
		return s.collectIndex(digest, img, ps)
	}
	return false, fmt.Errorf("push to %s: %s is neither an image nor an index", s.c.repo, digest)
}

// collectImage adds an image's blobs, unless the repository has the image. That is
// asked if it may spare more questions than one: not of an image whose layers are
// mostly on their way or known to be there.
func (s *Session) collectImage(digest v1.Hash, layers []v1.Layer, config v1.Layer, ps *parts, child bool) (there bool, err error) {
	digests := make([]v1.Hash, 0, len(layers)+1)
	open := 0
	for _, b := range append(slices.Clone(layers), config) {
		h, err := b.Digest()
		if err != nil {
			return false, fmt.Errorf("push to %s: digest of a part of %s: %w", s.c.repo, digest, err)
		}
		digests = append(digests, h)
		if !s.hasBegun(h) && !s.trusts(h) {
			open++
		}
	}
	if (open > 2 || child) && !s.proven.Load() && s.already(digest) {
		return true, nil
	}
	for i, l := range layers {
		if ps.new(digests[i]) {
			ps.layers = append(ps.layers, l)
		}
	}
	if ps.new(digests[len(layers)]) {
		ps.configs = append(ps.configs, config)
	}
	return false, nil
}

func (s *Session) collectIndex(digest v1.Hash, idx v1.ImageIndex, ps *parts) (there bool, err error) {
	if len(s.candidates()) == 0 && s.already(digest) {
		return true, nil
	}
	children, err := partial.Manifests(idx)
	if err != nil {
		return false, fmt.Errorf("push to %s: read index %s: %w", s.c.repo, digest, err)
	}
	for _, child := range children {
		if err := s.collectChild(child, ps); err != nil {
			return false, err
		}
	}
	return false, nil
}

func (s *Session) collectChild(child partial.Describable, ps *parts) error {
	digest, err := child.Digest()
	if err != nil {
		return err
	}
	if !ps.new(digest) {
		return nil
	}
	switch child := child.(type) {
	case v1.Image, v1.ImageIndex:
		img := child.(Image)
		there, err := s.collect(img, ps, true)
		if err == nil && !there {
			ps.children = append(ps.children, img)
		}
		return err
	case v1.Layer:
		ps.layers = append(ps.layers, child)
		return nil
	}
	return fmt.Errorf("push to %s: the index refers to %s, which is not at hand", s.c.repo, digest)
}

func (s *Session) hasBegun(h v1.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun[h] != nil
}

// already asks whether the repository has a manifest of the image to be pushed.
func (s *Session) already(digest v1.Hash) bool {
	if s.distrust.Load() || !s.hasManifest(digest) {
		return false
	}
	s.assumed.Store(true)
	s.log.Debug(fmt.Sprintf("manifest %s is already there", digest))
	return true
}

func shortDigest(h v1.Hash) string {
	if len(h.Hex) > 12 {
		return h.Hex[:12]
	}
	return h.Hex
}
