package base

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// pulls is the number of layers fetched at a time, as docker pull has it.
const pulls = 3

// Tree returns what is seen when all layers of the base lie on one another. Its
// entries come from the store's records; layers that are not on record are
// fetched and listed. The files' contents are read when they are opened. It is
// worked out once.
func (b *Base) Tree() (layers.Tree, error) { return b.tree() }

// each does something that fetches layers, several at a time.
func (i *image) each(ctx context.Context, b *Base, list []*layer, do func(context.Context, *layer, io.Writer) error) error {
	absent := 0
	total := int64(0)
	for _, l := range list {
		if !b.o.Store.Has(l.d.Digest) {
			absent++
			total += l.d.Size
		}
	}
	bar := debian.OpenBar(nil, "", 0)
	if absent > 0 {
		b.o.log().Info(fmt.Sprintf("fetching %d layers of %s (%.1f MB)", absent, b.Name, float64(total)/1e6))
		bar = b.o.progress("layers of "+b.Name, total)
	}
	defer bar.Close()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(pulls)
	for _, l := range list {
		group.Go(func() error { return do(ctx, l, bar) })
	}
	return group.Wait()
}

// list returns the trees of the image's layers. Those that are not on record are
// fetched and listed, several at a time.
func (i *image) list(b *Base) ([]layers.Tree, error) {
	i.once.Do(func() {
		defer i.listed.Store(true)
		i.trees = make([]layers.Tree, len(i.own))
		at := map[*layer]int{}
		var unknown []*layer
		for n, l := range i.own {
			t, known, err := l.files.recorded()
			if err != nil {
				i.err = err
				return
			}
			if i.trees[n] = t; !known {
				at[l] = n
				unknown = append(unknown, l)
			}
		}
		i.err = i.each(b.ctx, b, unknown, func(ctx context.Context, l *layer, bar io.Writer) error {
			t, err := l.list(ctx, bar)
			if err != nil {
				return fmt.Errorf("read base %s: layer %s: %w", b.Name, l.d.Digest, err)
			}
			i.trees[at[l]] = t
			return nil
		})
	})
	return i.trees, i.err
}

// readTree merges the trees of an image's layers.
func (r *resolver) readTree(i *image) (layers.Tree, error) {
	list, err := i.list(r.base)
	if err != nil {
		return layers.Tree{}, err
	}
	var all layers.Tree
	for _, t := range list {
		all = layers.Overlay(all, t)
	}
	return all, nil
}

// LayerTree returns the files of one layer of the base, by its place in
// Image.Layers. All layers that are not on record are listed when one has to be.
func (b *Base) LayerTree(n int) (layers.Tree, error) {
	img := b.Image.(*image)
	if !img.listed.Load() { // trees that were listed here have some contents at hand
		if t, known, err := img.own[n].files.recorded(); err != nil || known {
			return t, err
		}
	}
	list, err := img.list(b)
	if err != nil {
		return layers.Tree{}, err
	}
	return list[n], nil
}
