package build

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// partsRecord is kept of the layer that a step made last of a context: where its
// parts are, so that those whose files did not change are taken from there.
type partsRecord struct {
	Layer v1.Hash             `json:"layer"`
	Parts layers.SegmentIndex `json:"parts"`
}

// addOwn makes the layer of a step's files, of which those that did not change
// since it was made last are neither read nor compressed.
func (p *platformBuild) addOwn(ctx context.Context, step string, t layers.Tree, o layers.Options) (layers.Descriptor, error) {
	abs, err := filepath.Abs(p.plan.Options.Context)
	if err != nil || o.Compression != layers.Gzip {
		return p.Store.AddLayer(ctx, t, o)
	}
	key, err := keyOf("parts/1", []any{abs, p.platform.Platform, step})
	if err != nil {
		return layers.Descriptor{}, err
	}
	var last, next partsRecord
	known, err := p.Store.Record(key, &last)
	if err != nil {
		return layers.Descriptor{}, err
	}
	if known && !p.plan.Options.NoCache && p.whole(last.Layer) {
		if f, err := os.Open(p.Store.File(last.Layer)); err == nil {
			defer f.Close()
			if info, err := f.Stat(); err == nil {
				o.Reuse = layers.OpenSegments(f, info.Size(), last.Parts)
			}
		}
	}
	o.Made = next.Parts.Add
	d, err := p.Store.AddLayer(ctx, t, o)
	if err != nil {
		return d, err
	}
	if next.Layer = d.Digest; next.Parts.Len() > 0 {
		if err := p.Store.SetRecord(key, next); err != nil {
			p.log().Debug(fmt.Sprintf("the parts of layer %s are not kept: %v", d.Digest, err))
		}
	}
	return d, nil
}

// whole says whether a blob is in the store, and undamaged. What is taken over
// of it is checked for what it inflates to, which two forms can have in common.
func (p *platformBuild) whole(digest v1.Hash) bool {
	r, _, err := p.Store.Blob(digest)
	if err != nil {
		return false
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err == nil
}
