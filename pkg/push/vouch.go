package push

import (
	"fmt"
	"slices"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// vouched is an image that the repository may have. If it has its manifest it has
// all that the manifest refers to, for it takes no manifest before its parts: one
// question instead of one a blob. It is asked when it first matters.
type vouched struct {
	img  Image
	from name.Repository // whose manifest was just read, by Fetch

	parts func() map[v1.Hash]bool // digests of its manifests and blobs
}

func newVouched(img Image) *vouched {
	v := &vouched{img: img}
	if f, ok := img.(*fetched); ok {
		v.from = f.repo
	}
	v.parts = sync.OnceValue(func() map[v1.Hash]bool {
		parts := map[v1.Hash]bool{}
		addParts(img, parts)
		return parts
	})
	return v
}

// addParts adds the digests of what an image or index consists of, as far as that
// is at hand: what is not is asked for like anything that nobody vouches for.
func addParts(img Image, parts map[v1.Hash]bool) {
	digest, err := img.Digest()
	if err != nil || parts[digest] {
		return
	}
	switch img := img.(type) {
	case v1.Image:
		if m, err := img.Manifest(); err == nil {
			parts[digest], parts[m.Config.Digest] = true, true
			for _, l := range m.Layers {
				parts[l.Digest] = true
			}
		}
	case v1.ImageIndex:
		m, err := img.IndexManifest()
		if err != nil {
			return
		}
		parts[digest] = true
		for _, d := range m.Manifests {
			if child := indexChild(img, d); child != nil {
				addParts(child, parts)
			}
			parts[d.Digest] = true
		}
	}
}

func indexChild(idx v1.ImageIndex, d v1.Descriptor) Image {
	switch {
	case d.MediaType.IsImage():
		if img, err := idx.Image(d.Digest); err == nil {
			return img
		}
	case d.MediaType.IsIndex():
		if inner, err := idx.ImageIndex(d.Digest); err == nil {
			return inner
		}
	}
	return nil
}

// Vouch adds an image to those of [Options].Vouched, for one that is found while
// the session is under way, such as the previous image on a machine that has none.
// It matters to what is sent after it.
func (s *Session) Vouch(img Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vouched = append(s.vouched, newVouched(img))
}

func (s *Session) candidates() []*vouched {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vouched
}

// trusts says whether a manifest or blob is known to be in the repository without
// being asked for.
func (s *Session) trusts(digest v1.Hash) bool {
	if s.distrust.Load() {
		return false
	}
	for _, v := range s.candidates() {
		if v.parts()[digest] && s.has(v) {
			s.assumed.Store(true)
			return true
		}
	}
	return false
}

// has says whether the repository has an image that is vouched for. If it is known
// to be in another repository, its parts are mounted from there.
func (s *Session) has(v *vouched) bool {
	there := false
	if v.from.RepositoryStr() != "" {
		there = v.from.Name() == s.c.repo.Name()
	} else if digest, err := v.img.Digest(); err == nil {
		there = s.hasManifest(digest)
	}
	if there {
		s.proven.Store(true)
	}
	return there
}

// hasManifest asks the repository for a manifest, once. That it cannot be asked is
// no error: what would be spared by the answer is done instead.
func (s *Session) hasManifest(digest v1.Hash) bool {
	ask, _ := s.manifests.LoadOrStore(digest, sync.OnceValue(func() bool {
		have, err := s.c.head(s.ctx, s.c.repo.Digest(digest.String()))
		if err != nil {
			s.log.Debug(fmt.Sprintf("whether manifest %s is there is not known: %s", digest, causeText(err)))
		}
		return err == nil && have == digest
	}))
	return ask.(func() bool)()
}

// sources are the other repositories of the registry that are known to have a blob:
// it can be mounted from there.
func (s *Session) sources(l v1.Layer, digest v1.Hash) []name.Repository {
	var from []name.Repository
	if r, ok := s.c.source(l); ok {
		from = append(from, r)
	}
	for _, v := range s.candidates() {
		if v.from.RepositoryStr() != "" && v.from.RegistryStr() == s.c.repo.RegistryStr() && v.parts()[digest] {
			from = append(from, v.from)
		}
	}
	return slices.DeleteFunc(from, func(r name.Repository) bool { return r.Name() == s.c.repo.Name() })
}
