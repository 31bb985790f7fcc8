package build

import (
	"context"
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// layBase lays the layers of a base on the image.
func (s *stage) layBase(ctx context.Context, b *base.Base) error {
	v, err := s.run.baseView(ctx, b)
	if err != nil {
		return err
	}
	s.view, s.layers = v, nil
	for _, p := range v.parts {
		s.layers = append(s.layers, p.layer)
		if digest, err := p.layer.Digest(); err == nil && s.run.preview == nil && s.run.Store.Has(digest) {
			s.written(p.layer)
		}
	}
	return nil
}

// baseView is the view of an image that is not built here: outlines, which are on
// record or else made of its layers.
func (p *platformBuild) baseView(ctx context.Context, b *base.Base) (*view, error) {
	p.resolved = append(p.resolved, b)
	list, err := b.Image.Layers()
	if err != nil {
		return nil, err
	}
	v := &view{}
	for i, l := range list {
		digest, err := l.Digest()
		if err != nil {
			return nil, err
		}
		whole := func(context.Context) (layers.Tree, error) { return b.LayerTree(i) }
		known, err := p.outline(ctx, digest, whole)
		if err != nil {
			return nil, err
		}
		v = v.with(&part{layer: l, digest: digest, known: known, whole: whole})
	}
	return v, nil
}

// outline is the outline of a base's layer.
func (p *platformBuild) outline(ctx context.Context, digest v1.Hash, whole func(context.Context) (layers.Tree, error)) (layers.Tree, error) {
	key := "outline/1 " + digest.String()
	var kept []byte
	ok, err := p.records.base(ctx).Record(key, &kept)
	if err != nil {
		return layers.Tree{}, err
	}
	if ok {
		if t, err := layers.ParseOutline(kept); err == nil {
			p.outlines[key] = kept
			return t, nil
		}
	}
	all, err := whole(ctx)
	if err != nil {
		return layers.Tree{}, err
	}
	t := layers.Outline(all)
	if kept, err = layers.MarshalOutline(t); err != nil {
		return layers.Tree{}, err
	}
	p.outlines[key] = kept
	return t, p.Store.SetRecord(key, kept)
}

// carry is what the image tells of its own making.
func (p *platformBuild) carry() (*carried, error) {
	c := &carried{Format: carriedFormat, Base: map[string]json.RawMessage{}, Steps: p.steps, Facts: p.facts}
	put := func(key string, v any) error {
		raw, err := json.Marshal(v)
		c.Base[key] = raw
		return err
	}
	for key, outline := range p.outlines {
		if err := put(key, outline); err != nil {
			return nil, err
		}
	}
	for _, b := range p.resolved {
		for key, rec := range b.Records() {
			if err := put(key, rec); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}
