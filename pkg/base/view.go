package base

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// pulls is the number of layers fetched at a time, as docker pull has it.
const pulls = 3

// Tree returns what is seen when all layers of the base lie on one another. Its
// entries come from the store's records; layers that are not on record are
// fetched and listed. The files' contents are read when they are opened. It is
// worked out once.
func (b *Base) Tree() (layers.Tree, error) { return b.tree() }

// Pull fetches all layers into the store.
func (b *Base) Pull(ctx context.Context) error {
	img := b.Image.(*image)
	return img.pull(ctx, b)
}

// pull fetches an image's layers, several at a time.
func (i *image) pull(ctx context.Context, b *Base) error {
	var absent []*layer
	var total int64
	for _, l := range i.own {
		if !b.o.Store.Has(l.d.Digest) {
			absent = append(absent, l)
			total += l.d.Size
		}
	}
	if len(absent) == 0 {
		return nil
	}
	b.o.log().Info(fmt.Sprintf("fetching %d layers of %s (%.1f MB)", len(absent), b.Name, float64(total)/1e6))
	bar := b.o.progress("layers of "+b.Name, total)
	defer bar.Close()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(pulls)
	for _, l := range absent {
		group.Go(func() error { return l.pull(ctx, bar) })
	}
	return group.Wait()
}

// readTree merges the trees of an image's layers.
func (r *resolver) readTree(i *image) (layers.Tree, error) {
	var all layers.Tree
	pulled := false
	for _, l := range i.own {
		t, known, err := l.files.recorded()
		if err != nil {
			return all, err
		}
		if !known {
			if !pulled { // all at once, so that they come side by side
				if err := i.pull(r.ctx, r.base); err != nil {
					return all, err
				}
				pulled = true
			}
			if t, err = l.files.list(); err != nil {
				return all, fmt.Errorf("read base %s: layer %s: %w", r.base.Name, l.d.Digest, err)
			}
		}
		all = layers.Overlay(all, t)
	}
	return all, nil
}

// LayerTree returns the files of one layer of the base, by its place in
// Image.Layers. All layers are fetched when one has to be.
func (b *Base) LayerTree(ctx context.Context, n int) (layers.Tree, error) {
	img := b.Image.(*image)
	l := img.own[n]
	t, known, err := l.files.recorded()
	if err != nil || known {
		return t, err
	}
	if err := img.pull(ctx, b); err != nil {
		return layers.Tree{}, err
	}
	if t, err = l.files.list(); err != nil {
		return t, fmt.Errorf("read base %s: layer %s: %w", b.Name, l.d.Digest, err)
	}
	return t, nil
}
