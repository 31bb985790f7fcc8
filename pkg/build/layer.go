package build

import (
	"context"
	"fmt"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/store"
)

// builtLayer is a layer that this build has made, or has found on record. In
// the second case its bytes are had only when somebody asks for them: from the
// store, else from an image that has it, else by making them.
type builtLayer struct {
	run  *platformBuild
	ctx  context.Context
	rec  layerRecord
	make func(context.Context) (layers.Descriptor, error)
	mu   sync.Mutex
}

func (l *builtLayer) Digest() (v1.Hash, error)            { return l.rec.Digest, nil }
func (l *builtLayer) DiffID() (v1.Hash, error)            { return l.rec.DiffID, nil }
func (l *builtLayer) Size() (int64, error)                { return l.rec.Size, nil }
func (l *builtLayer) MediaType() (types.MediaType, error) { return l.rec.MediaType, nil }

// Descriptor says with the layer what it was made from.
func (l *builtLayer) Descriptor() (*v1.Descriptor, error) {
	return &v1.Descriptor{MediaType: l.rec.MediaType, Size: l.rec.Size, Digest: l.rec.Digest,
		Annotations: map[string]string{AnnotationKey: l.rec.Key}}, nil
}

// Compressed opens the layer as it is sent.
func (l *builtLayer) Compressed() (io.ReadCloser, error) {
	if err := l.bring(); err != nil {
		return nil, err
	}
	r, _, err := l.run.Store.Blob(l.rec.Digest)
	return r, err
}

// Uncompressed opens the layer's tar.
func (l *builtLayer) Uncompressed() (io.ReadCloser, error) {
	r, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	u, err := store.Decompress(r, l.rec.MediaType)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("read layer %s: %w", l.rec.Digest, err)
	}
	return u, nil
}

// bring puts the layer's bytes into the store.
func (l *builtLayer) bring() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.run.Store
	if st.Has(l.rec.Digest) {
		return nil
	}
	if from, ok := l.run.records.source(l.ctx, l.rec.Digest); ok {
		err := st.PutLayer(l.ctx, from)
		if err == nil && st.Has(l.rec.Digest) || l.ctx.Err() != nil {
			return err
		}
		l.run.log().Debug(fmt.Sprintf("layer %s is made, for it was not to be had from the image that has it: %v", l.rec.Digest, err))
	}
	got, err := l.make(l.ctx)
	if err != nil {
		return err
	}
	if got != l.rec.Descriptor {
		return &RecordError{Key: l.rec.Key, Recorded: l.rec.Digest, Made: got.Digest}
	}
	return nil
}

// RecordError reports a record that is not true: what it says was made of some
// inputs is not what is made of them.
type RecordError struct {
	Key            string
	Recorded, Made v1.Hash
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("the layer of %q is on record as %s, but comes out as %s", e.Key, e.Recorded, e.Made)
}

// Hint says how to do without the record.
func (e *RecordError) Hint() string { return "build with --no-cache, which believes no record" }

// part makes a layer of the image of a record. known is what is known of its
// files; nil for the record's outline.
func (s *stage) part(ctx context.Context, rec layerRecord, known *layers.Tree, make func(context.Context) (layers.Descriptor, error)) (*part, error) {
	built := &builtLayer{run: s.run, ctx: ctx, rec: rec, make: make}
	p := &part{layer: built, built: built, digest: rec.Digest}
	if known != nil {
		p.known = *known
	} else {
		var err error
		if p.known, err = layers.ParseOutline(rec.Outline); err != nil {
			return nil, fmt.Errorf("read the record of layer %s: %w", rec.Digest, err)
		}
		p.whole = func(ctx context.Context) (layers.Tree, error) {
			return base.LayerTree(ctx, s.run.Store, built)
		}
	}
	if !s.run.Store.Has(rec.Digest) {
		if from, ok := s.run.records.source(ctx, rec.Digest); ok {
			if m, ok := from.(*remote.MountableLayer); ok {
				p.layer = &remote.MountableLayer{Layer: built, Reference: m.Reference}
			}
		}
	}
	return p, nil
}

// gathered has the files of a layer that is on record be what its step gathers, as
// in the build that made it: a file of a wheel is then deflated as the wheel has
// it, which what is made of it, such as a COPY from this stage, takes over. Read
// from the layer it would not be, and another digest come of it. That is done only
// if the step cannot be done again, for want of an index.
func (p *part) gathered(run *platformBuild, gather func(context.Context) (layers.Tree, error)) {
	listed := p.whole
	p.whole = func(ctx context.Context) (layers.Tree, error) {
		t, err := gather(ctx)
		if err == nil || ctx.Err() != nil {
			return t, err
		}
		run.log().Debug(fmt.Sprintf("the files of layer %s are read from it, for they cannot be gathered again: %v", p.digest, err))
		return listed(ctx)
	}
}

// lay puts a layer on the image.
func (s *stage) lay(p *part) {
	s.layers = append(s.layers, p.layer)
	s.view = s.view.with(p)
}

// written is called with each layer whose bytes are at hand now. Those that the
// image will have are handed on.
func (s *stage) written(l v1.Layer) {
	if s.final && s.run.Ready != nil {
		s.run.Ready(l)
	}
}
