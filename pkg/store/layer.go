package store

import (
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// AddLayer writes t as a layer into the store and describes it.
func (s *Store) AddLayer(ctx context.Context, t layers.Tree, o layers.Options) (layers.Descriptor, error) {
	var d layers.Descriptor
	_, err := s.place(func(w io.Writer) (v1.Hash, error) {
		var err error
		d, err = layers.Write(ctx, w, t, o)
		return d.Digest, err
	})
	return d, err
}

// Layer returns the stored layer that d describes. The bytes are opened when
// they are asked for.
func (s *Store) Layer(d layers.Descriptor) v1.Layer { return &layer{s: s, d: d} }

type layer struct {
	s *Store
	d layers.Descriptor
}

func (l *layer) Digest() (v1.Hash, error)            { return l.d.Digest, nil }
func (l *layer) DiffID() (v1.Hash, error)            { return l.d.DiffID, nil }
func (l *layer) Size() (int64, error)                { return l.d.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.d.MediaType, nil }
func (l *layer) Compressed() (io.ReadCloser, error)  { r, _, err := l.s.Blob(l.d.Digest); return r, err }
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	r, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	u, err := Decompress(r, l.d.MediaType)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("read layer %s: %w", l.d.Digest, err)
	}
	return u, nil
}

// Decompress undoes the compression that a layer's media type names. Closing
// the result closes r.
func Decompress(r io.ReadCloser, mt types.MediaType) (io.ReadCloser, error) {
	switch mt {
	case types.OCILayer, types.DockerLayer, types.OCIRestrictedLayer, types.DockerForeignLayer:
		z, err := layers.NewGzipReader(r)
		if err != nil {
			return nil, err
		}
		return &stacked{Reader: z, close: r.Close}, nil
	case types.OCILayerZStd:
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return &stacked{Reader: z, close: func() error { z.Close(); return r.Close() }}, nil
	case types.OCIUncompressedLayer, types.DockerUncompressedLayer, types.OCIUncompressedRestrictedLayer:
		return r, nil
	}
	return nil, fmt.Errorf("media type %q is not a layer's", mt)
}

type stacked struct {
	io.Reader
	close func() error
}

func (s *stacked) Close() error { return s.close() }
