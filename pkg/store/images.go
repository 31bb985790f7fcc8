package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/lockedfile"
)

// refName is the annotation by which an OCI layout names a manifest (OCI image
// specification, "Image Layout").
const refName = "org.opencontainers.image.ref.name"

// maxManifest bounds manifests and configs read into memory: registries refuse
// larger ones (4 MiB), configs with long histories get as much again.
const maxManifest = 8 << 20

// Manifest is what an image and an image index have in common: something with
// a manifest, which can be stored, named and pushed.
type Manifest interface {
	MediaType() (types.MediaType, error)
	Digest() (v1.Hash, error)
	Size() (int64, error)
	RawManifest() ([]byte, error)
}

// PutImage stores an image's layers, config and manifest, the manifest last, so
// that what a stored manifest names is there too. Layers that are in the store
// are not read.
func (s *Store) PutImage(ctx context.Context, img v1.Image) (v1.Descriptor, error) {
	blobs, err := img.Layers()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, l := range blobs {
		if err := s.PutLayer(ctx, l); err != nil {
			return v1.Descriptor{}, err
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return v1.Descriptor{}, err
	}
	if _, _, err := s.putBytes(ctx, config); err != nil {
		return v1.Descriptor{}, err
	}
	return s.putManifest(ctx, img)
}

// PutLayer stores a layer as it is sent, unless it is in the store.
func (s *Store) PutLayer(ctx context.Context, l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	if s.Has(digest) {
		return nil
	}
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	if _, _, err := s.Put(ctx, r, &digest); err != nil {
		return fmt.Errorf("store layer %s: %w", digest, err)
	}
	return nil
}

// PutIndex stores an index with all images in it.
func (s *Store) PutIndex(ctx context.Context, idx v1.ImageIndex) (v1.Descriptor, error) {
	m, err := idx.IndexManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, d := range m.Manifests {
		switch {
		case d.MediaType.IsIndex():
			child, err := idx.ImageIndex(d.Digest)
			if err != nil {
				return v1.Descriptor{}, err
			}
			if _, err := s.PutIndex(ctx, child); err != nil {
				return v1.Descriptor{}, err
			}
		case d.MediaType.IsImage():
			child, err := idx.Image(d.Digest)
			if err != nil {
				return v1.Descriptor{}, err
			}
			if _, err := s.PutImage(ctx, child); err != nil {
				return v1.Descriptor{}, err
			}
		}
	}
	return s.putManifest(ctx, idx)
}

func (s *Store) putManifest(ctx context.Context, m Manifest) (v1.Descriptor, error) {
	raw, err := m.RawManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	mt, err := m.MediaType()
	if err != nil {
		return v1.Descriptor{}, err
	}
	h, n, err := s.putBytes(ctx, raw)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: mt, Digest: h, Size: n}, nil
}

// putBytes stores b unless it is in the store.
func (s *Store) putBytes(ctx context.Context, b []byte) (v1.Hash, int64, error) {
	h, n, err := v1.SHA256(bytes.NewReader(b))
	if err != nil || s.Has(h) {
		return h, n, err
	}
	return s.Put(ctx, bytes.NewReader(b), &h)
}

// Image returns the stored image with the manifest digest h; [fs.ErrNotExist]
// when the manifest is absent.
func (s *Store) Image(h v1.Hash) (v1.Image, error) {
	raw, err := s.read(h)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read image %s: %w", h, err)
	}
	return partial.CompressedToImage(&image{s: s, raw: raw, m: m})
}

// Index returns the stored image index with the digest h.
func (s *Store) Index(h v1.Hash) (v1.ImageIndex, error) {
	raw, err := s.read(h)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read image index %s: %w", h, err)
	}
	return &index{s: s, raw: raw, m: m}, nil
}

func (s *Store) read(h v1.Hash) ([]byte, error) {
	r, n, err := s.Blob(h)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if n > maxManifest {
		return nil, fmt.Errorf("read %s: has %d bytes, too many for a manifest or config", h, n)
	}
	return io.ReadAll(r)
}

// image is a stored image as go-containerregistry wants it (partial.CompressedImageCore).
type image struct {
	s   *Store
	raw []byte
	m   *v1.Manifest
}

func (i *image) RawConfigFile() ([]byte, error)      { return i.s.read(i.m.Config.Digest) }
func (i *image) RawManifest() ([]byte, error)        { return i.raw, nil }
func (i *image) MediaType() (types.MediaType, error) { return i.m.MediaType, nil }

func (i *image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range append([]v1.Descriptor{i.m.Config}, i.m.Layers...) {
		if d.Digest == h {
			return &blob{s: i.s, d: d}, nil
		}
	}
	return nil, fmt.Errorf("image has no layer %s", h)
}

type blob struct {
	s *Store
	d v1.Descriptor
}

func (b *blob) Digest() (v1.Hash, error)            { return b.d.Digest, nil }
func (b *blob) Size() (int64, error)                { return b.d.Size, nil }
func (b *blob) MediaType() (types.MediaType, error) { return b.d.MediaType, nil }
func (b *blob) Compressed() (io.ReadCloser, error)  { r, _, err := b.s.Blob(b.d.Digest); return r, err }

type index struct {
	s   *Store
	raw []byte
	m   *v1.IndexManifest
}

func (i *index) MediaType() (types.MediaType, error)         { return i.m.MediaType, nil }
func (i *index) Digest() (v1.Hash, error)                    { return partial.Digest(i) }
func (i *index) Size() (int64, error)                        { return int64(len(i.raw)), nil }
func (i *index) RawManifest() ([]byte, error)                { return i.raw, nil }
func (i *index) IndexManifest() (*v1.IndexManifest, error)   { return i.m, nil }
func (i *index) Image(h v1.Hash) (v1.Image, error)           { return i.s.Image(h) }
func (i *index) ImageIndex(h v1.Hash) (v1.ImageIndex, error) { return i.s.Index(h) }

// Named is a name and what it stands for.
type Named struct {
	Name       string
	Descriptor v1.Descriptor
}

// SetName lets name ("boyacky/web-app:1.0") stand for a stored manifest. It
// replaces what the name stood for before.
func (s *Store) SetName(name string, d v1.Descriptor) error {
	if name == "" || strings.ContainsAny(name, "\x00\n") {
		return fmt.Errorf("name image: %q is not a name", name)
	}
	unlock, err := s.lockNames()
	if err != nil {
		return fmt.Errorf("name image: %w", err)
	}
	defer unlock()
	m, err := s.names()
	if err != nil {
		return err
	}
	named := func(d v1.Descriptor) bool { return d.Annotations[refName] == name }
	d.Annotations = map[string]string{refName: name}
	if i := slices.IndexFunc(m.Manifests, named); i >= 0 && reflect.DeepEqual(m.Manifests[i], d) {
		return nil
	}
	m.Manifests = append(slices.DeleteFunc(m.Manifests, named), d)
	slices.SortFunc(m.Manifests, func(a, b v1.Descriptor) int {
		return strings.Compare(a.Annotations[refName], b.Annotations[refName])
	})
	return s.writeNames(m)
}

// Named returns what name stands for; [fs.ErrNotExist] when nothing has it.
func (s *Store) Named(name string) (v1.Descriptor, error) {
	m, err := s.names()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, d := range m.Manifests {
		if d.Annotations[refName] == name {
			d.Annotations = nil
			return d, nil
		}
	}
	return v1.Descriptor{}, &fs.PathError{Op: "find image", Path: name, Err: fs.ErrNotExist}
}

// Names returns every name in the store, sorted.
func (s *Store) Names() ([]Named, error) {
	m, err := s.names()
	if err != nil {
		return nil, err
	}
	var out []Named
	for _, d := range m.Manifests {
		name := d.Annotations[refName]
		d.Annotations = nil
		out = append(out, Named{Name: name, Descriptor: d})
	}
	return out, nil
}

// lockNames keeps others from changing the names until it is undone.
func (s *Store) lockNames() (unlock func(), err error) {
	return lockedfile.MutexAt(filepath.Join(s.images(), lockName)).Lock()
}

// names reads images/index.json. The folder is an OCI image layout of its own,
// whose blobs are a link to the store's, so that other tools can read it.
func (s *Store) names() (*v1.IndexManifest, error) {
	b, err := os.ReadFile(filepath.Join(s.images(), "index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return noNames(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read image names: %w", err)
	}
	m, err := v1.ParseIndexManifest(bytes.NewReader(b))
	if err != nil {
		return noNames(), nil // damaged: images have to be built again, which names them
	}
	return m, nil
}

func noNames() *v1.IndexManifest {
	return &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
}

func (s *Store) writeNames(m *v1.IndexManifest) error {
	link := filepath.Join(s.images(), "blobs")
	if _, err := os.Lstat(link); errors.Is(err, fs.ErrNotExist) {
		if err := os.Symlink(filepath.Join("..", "blobs"), link); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("name image: %w", err)
		}
	}
	const version = `{"imageLayoutVersion":"1.0.0"}`
	file := filepath.Join(s.images(), "oci-layout")
	if b, err := os.ReadFile(file); err != nil || string(b) != version {
		if err := s.replace(file, []byte(version), true); err != nil {
			return fmt.Errorf("name image: %w", err)
		}
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("name image: %w", err)
	}
	if err := s.replace(filepath.Join(s.images(), "index.json"), b, true); err != nil {
		return fmt.Errorf("name image: %w", err)
	}
	return nil
}
