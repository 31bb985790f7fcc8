package base

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// maxManifest bounds a manifest and a config. Registries refuse manifests of
// more than 4 MiB; configs with long histories get as much again.
const maxManifest = 8 << 20

// fetch opens a layer as it is kept where the image comes from.
type fetch func(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)

// image is a v1.Image of which manifest and config are known, and layers are
// put into the store when they are first read.
type image struct {
	manifest  *v1.Manifest
	config    *v1.ConfigFile
	raw       []byte // the manifest
	rawConfig []byte
	own       []*layer
	layers    []v1.Layer // own, with where they can be mounted from

	once   sync.Once
	listed atomic.Bool
	trees  []layers.Tree // of own, once they have been listed
	err    error
}

// newImage makes an image of its manifest and config. With from, its layers say
// where they can be mounted from by a push to the same registry.
func (r *resolver) newImage(raw, rawConfig []byte, get fetch, from name.Reference) (*image, error) {
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	c, err := v1.ParseConfigFile(bytes.NewReader(rawConfig))
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("the manifest has %d layers, the config %d", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	img := &image{manifest: m, config: c, raw: raw, rawConfig: rawConfig}
	for i, d := range m.Layers {
		own := &layer{d: d, diffID: c.RootFS.DiffIDs[i], r: r, get: get}
		if own.files, err = listing(r.ctx, r.Store, own); err != nil {
			return nil, err
		}
		var l v1.Layer = own
		if from != nil {
			l = &remote.MountableLayer{Layer: l, Reference: from}
		}
		img.own, img.layers = append(img.own, own), append(img.layers, l)
	}
	return img, nil
}

func (i *image) Layers() ([]v1.Layer, error)         { return slices.Clone(i.layers), nil }
func (i *image) MediaType() (types.MediaType, error) { return i.manifest.MediaType, nil }
func (i *image) Size() (int64, error)                { return int64(len(i.raw)), nil }
func (i *image) ConfigName() (v1.Hash, error)        { return i.manifest.Config.Digest, nil }
func (i *image) ConfigFile() (*v1.ConfigFile, error) { return i.config.DeepCopy(), nil }
func (i *image) RawConfigFile() ([]byte, error)      { return slices.Clone(i.rawConfig), nil }
func (i *image) Digest() (v1.Hash, error)            { return partial.Digest(i) }
func (i *image) Manifest() (*v1.Manifest, error)     { return i.manifest.DeepCopy(), nil }
func (i *image) RawManifest() ([]byte, error)        { return slices.Clone(i.raw), nil }

func (i *image) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if h == i.manifest.Config.Digest {
		return partial.ConfigLayer(i)
	}
	for k, d := range i.manifest.Layers {
		if d.Digest == h {
			return i.layers[k], nil
		}
	}
	return nil, fmt.Errorf("image has no layer %s", h)
}

func (i *image) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	for k, diffID := range i.config.RootFS.DiffIDs {
		if diffID == h {
			return i.layers[k], nil
		}
	}
	return nil, fmt.Errorf("image has no layer with the diffID %s", h)
}

// layer is a layer of an image that comes into the store when it is read.
type layer struct {
	d      v1.Descriptor
	diffID v1.Hash
	r      *resolver
	get    fetch
	files  *files
}

func (l *layer) Digest() (v1.Hash, error)            { return l.d.Digest, nil }
func (l *layer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *layer) Size() (int64, error)                { return l.d.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.d.MediaType, nil }

// Descriptor keeps what the manifest says of the layer, annotations included.
func (l *layer) Descriptor() (*v1.Descriptor, error) { return l.d.DeepCopy(), nil }

// Compressed opens the layer as it is stored and sent.
func (l *layer) Compressed() (io.ReadCloser, error) {
	if err := l.pull(l.r.ctx, nil); err != nil {
		return nil, err
	}
	r, _, err := l.r.Store.Blob(l.d.Digest)
	return r, err
}

// pull puts the layer into the store, if it is not there. The bar, which may be
// nil, is moved on by what is fetched.
func (l *layer) pull(ctx context.Context, bar io.Writer) error {
	if l.r.Store.Has(l.d.Digest) {
		return nil
	}
	if l.r.Source != nil {
		if from, ok := l.r.Source(l.d.Digest); ok {
			err := l.r.Store.PutLayer(ctx, from)
			if err == nil || ctx.Err() != nil || l.get == nil {
				return err
			}
			l.r.log().Debug(fmt.Sprintf("layer %s is not to be had from the image that has it: %v", l.d.Digest, err))
		}
	}
	if l.get == nil {
		return &layers.PathError{Path: l.d.Digest.String(), Reason: "is a layer that the store no longer has"}
	}
	if bar == nil {
		own := l.r.progress("layer of "+l.r.base.Name, l.d.Size)
		defer own.Close()
		bar = own
	}
	return l.fetch(ctx, bar)
}

// fetch puts the layer into the store. What is fetched goes to w, too, before it
// is known to be the layer.
func (l *layer) fetch(ctx context.Context, w io.Writer) error {
	r, err := l.get(ctx, l.d)
	if err != nil {
		return fmt.Errorf("fetch layer %s of %s: %w", l.d.Digest, l.r.base.Name, err)
	}
	defer r.Close()
	bounded := io.LimitReader(r, l.d.Size+1) // one more byte gives another digest
	if _, _, err := l.r.Store.Put(ctx, io.TeeReader(bounded, w), &l.d.Digest); err != nil {
		return fmt.Errorf("fetch layer %s of %s: %w", l.d.Digest, l.r.base.Name, err)
	}
	return nil
}

// list returns the layer's tree, which is not on record, and puts it there. A
// layer that has to be fetched is listed while it comes.
func (l *layer) list(ctx context.Context, bar io.Writer) (layers.Tree, error) {
	t, err := l.read(ctx, bar)
	if err != nil {
		return t, err
	}
	return t, l.files.record(t)
}

func (l *layer) read(ctx context.Context, bar io.Writer) (layers.Tree, error) {
	if l.get == nil || l.r.Store.Has(l.d.Digest) || l.elsewhere() {
		if err := l.pull(ctx, bar); err != nil {
			return layers.Tree{}, err
		}
		r, err := l.Uncompressed()
		if err != nil {
			return layers.Tree{}, err
		}
		defer r.Close()
		return l.files.list(ctx, r)
	}
	in, out := io.Pipe()
	var t layers.Tree
	var wrong error
	var listed sync.WaitGroup
	listed.Go(func() {
		t, wrong = l.listed(ctx, in)
		in.CloseWithError(wrong) // nobody waits for a reader that has gone
	})
	err := l.fetch(ctx, io.MultiWriter(bar, out))
	out.CloseWithError(err)
	listed.Wait()
	if err != nil && (wrong == nil || errors.Is(wrong, err)) { // the one that came first
		return layers.Tree{}, err
	}
	return t, wrong
}

// elsewhere says whether another image has the layer.
func (l *layer) elsewhere() bool {
	if l.r.Source == nil {
		return false
	}
	_, ok := l.r.Source(l.d.Digest)
	return ok
}

// listed lists the layer from its stored form, and reads that to its end.
func (l *layer) listed(ctx context.Context, in io.ReadCloser) (layers.Tree, error) {
	r, err := decompress(in)
	if err != nil {
		return layers.Tree{}, err
	}
	defer r.Close()
	t, err := l.files.list(ctx, r)
	if err != nil {
		return t, err
	}
	_, err = io.Copy(io.Discard, in)
	return t, err
}

// Uncompressed opens the layer's tar.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	r, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	plain, err := decompress(r)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read layer %s: %w", l.d.Digest, err), r.Close())
	}
	return plain, nil
}

// decompress undoes gzip or zstd, which it knows by their first bytes: there
// are images whose media types name another compression than the layer has.
// Closing the result closes r.
func decompress(r io.ReadCloser) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	start, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		z, err := layers.NewGzipReader(buffered)
		if err != nil {
			return nil, err
		}
		return &plainReader{z, r.Close}, nil
	case bytes.Equal(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return &plainReader{z, func() error { z.Close(); return r.Close() }}, nil
	}
	return &plainReader{buffered, r.Close}, nil
}

type plainReader struct {
	io.Reader
	close func() error
}

func (p *plainReader) Close() error { return p.close() }

// keep puts a small content into the store, unless it is there; want, if not
// zero, is its digest.
func (r *resolver) keep(b []byte, want v1.Hash) error {
	got, _, err := v1.SHA256(bytes.NewReader(b))
	if err != nil || (got == want && r.Store.Has(want)) {
		return err
	}
	var expect *v1.Hash
	if want != (v1.Hash{}) {
		expect = &want
	}
	_, _, err = r.Store.Put(r.ctx, bytes.NewReader(b), expect)
	return err
}

// kept reads a small content out of the store.
func (r *resolver) kept(h v1.Hash) ([]byte, error) {
	blob, size, err := r.Store.Blob(h)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	if size > maxManifest {
		return nil, fmt.Errorf("read %s: it has %d bytes", h, size)
	}
	return io.ReadAll(blob)
}

// adopt makes the base an image from elsewhere: its manifest and config are
// checked and kept, its layers come when they are read.
func (r *resolver) adopt(img v1.Image, digest v1.Hash, get fetch, from name.Reference) error {
	raw, err := img.RawManifest()
	if err != nil {
		return err
	}
	if err := r.keep(raw, digest); err != nil {
		return err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	if err := r.keep(config, m.Config.Digest); err != nil {
		return err
	}
	return r.use(raw, config, digest, get, from)
}

// use makes the base an image of known manifest and config.
func (r *resolver) use(raw, config []byte, digest v1.Hash, get fetch, from name.Reference) error {
	img, err := r.newImage(raw, config, get, from)
	if err != nil {
		return err
	}
	have := *img.config.Platform()
	if !serves(have, r.base.Platform) {
		return &PlatformError{Want: r.base.Platform, Have: []v1.Platform{have}}
	}
	r.base.Image, r.base.Digest = img, digest
	r.base.tree = sync.OnceValues(func() (layers.Tree, error) { return r.readTree(img) })
	return nil
}

// recall makes the base an image whose manifest and config are in the store;
// false if they no longer are.
func (r *resolver) recall(digest v1.Hash, get fetch, from name.Reference) (bool, error) {
	if !r.Store.Has(digest) {
		return false, nil
	}
	raw, err := r.kept(digest)
	if err != nil {
		return false, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil || !r.Store.Has(m.Config.Digest) {
		return false, err
	}
	config, err := r.kept(m.Config.Digest)
	if err != nil {
		return false, err
	}
	return true, r.use(raw, config, digest, get, from)
}

// compose makes the base an image of layers in the store. The same config,
// layers and history give the same digest.
func (r *resolver) compose(config v1.Config, parts []layers.Descriptor, history []v1.History, get fetch) error {
	file := v1.ConfigFile{
		Architecture: r.base.Platform.Architecture, OS: r.base.Platform.OS, Variant: r.base.Platform.Variant,
		Created: v1.Time{Time: r.created()}, Config: config, History: history,
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
	}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{}}
	for _, d := range parts {
		file.RootFS.DiffIDs = append(file.RootFS.DiffIDs, d.DiffID)
		manifest.Layers = append(manifest.Layers, v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	}
	rawConfig, err := json.Marshal(file)
	if err != nil {
		return err
	}
	manifest.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(rawConfig))}
	if manifest.Config.Digest, _, err = v1.SHA256(bytes.NewReader(rawConfig)); err != nil {
		return err
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	if err := errors.Join(r.keep(rawConfig, manifest.Config.Digest), r.keep(raw, digest)); err != nil {
		return err
	}
	return r.use(raw, rawConfig, digest, get, nil)
}
