package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// part is a layer of an image in the making.
type part struct {
	layer v1.Layer // what the image gets; its bytes may still have to be made
	// digest is that of the layer's bytes, by which alone they are believed: what
	// is kept of a layer is kept under it.
	digest v1.Hash
	built  *builtLayer // layer, where it is of this build
	// known is what can be said of the layer's files without its bytes: all of
	// them where they come from the build context or the Dockerfile itself, else
	// their outline. It never depends on whether the bytes are at hand, for what
	// is decided by it is part of the image.
	known layers.Tree
	// whole gives all files; nil where known has them.
	whole func(context.Context) (layers.Tree, error)
}

// view is the files of an image as built so far, without more of them being
// read than somebody asks for. It is never changed.
type view struct {
	parts []*part
	known layers.Tree // what lies on one another of what the parts know

	once sync.Once
	all  layers.Tree
	err  error
}

// with is the view with a layer more.
func (v *view) with(p *part) *view {
	return &view{parts: append(slices.Clip(v.parts), p), known: layers.Overlay(v.known, p.known)}
}

// whole gives all files. Those of layers that only their outline is known of are
// listed from their bytes, which are fetched or made if need be.
func (v *view) whole(ctx context.Context) (layers.Tree, error) {
	v.once.Do(func() {
		if v.known.Complete() && !slices.ContainsFunc(v.parts, func(p *part) bool { return p.whole != nil }) {
			v.all = v.known
			return
		}
		for _, p := range v.parts {
			t := p.known
			if p.whole != nil {
				if t, v.err = p.whole(ctx); v.err != nil {
					return
				}
			}
			v.all = layers.Overlay(v.all, t)
		}
	})
	return v.all, v.err
}

// on works out what is laid over the view: by what is known of it, and where
// that does not tell, by all of its files.
func (v *view) on(ctx context.Context, work func(lower layers.Tree) (layers.Tree, error)) (layers.Tree, error) {
	upper, err := work(v.known)
	if !unlisted(err) && (err != nil || v.known.ListsAll(upper)) {
		return upper, err
	}
	all, err := v.whole(ctx)
	if err != nil {
		return layers.Tree{}, err
	}
	return work(all)
}

// unlisted says that an error came of what is not known of a view.
func unlisted(err error) bool {
	var e *layers.UnlistedError
	return errors.As(err, &e)
}

// digests name the layers.
func (v *view) digests() []string {
	ids := make([]string, len(v.parts))
	for i, p := range v.parts {
		ids[i] = p.digest.String()
	}
	return ids
}

// identity stands for everything that there is of the view at the given places
// ("" is none) and below them, and on the way to them: the layers that have, or may have,
// something there. Layers with nothing there, such as those of the app's own
// files, have no part in it.
func (v *view) identity(places []string) string {
	var roots []string
	for _, p := range places {
		if p == "" {
			continue
		}
		p = strings.TrimPrefix(path.Clean("/"+p), "/")
		roots = append(roots, p)
		real, err := v.known.Resolve(p)
		if err != nil {
			real = "" // it may be anywhere: every layer counts
		}
		roots = append(roots, real)
	}
	slices.Sort(roots)
	roots = slices.Compact(roots)
	h := sha256.New()
	for _, r := range roots {
		fmt.Fprintf(h, "at %q\n", r)
		for dir := r; dir != "" && dir != "."; dir = path.Dir(dir) {
			if e, ok := v.known.Lookup(dir); ok {
				fmt.Fprintf(h, "%q %d %o %d %d %q\n", e.Path, e.Kind, e.Mode, e.UID, e.GID, e.Link)
			}
		}
	}
	for _, p := range v.parts {
		if touches(p.known, roots) {
			fmt.Fprintln(h, p.digest)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// touches says whether a layer has, or may have, something in the directories
// roots, or takes away one that they lie in.
func touches(t layers.Tree, roots []string) bool {
	return slices.ContainsFunc(t.Entries(), func(e layers.Entry) bool {
		return slices.ContainsFunc(roots, func(r string) bool {
			switch {
			case r == "" || strings.HasPrefix(e.Path, r+"/"):
				return true
			case e.Path == r || strings.HasPrefix(r, e.Path+"/"):
				return e.Kind != layers.Dir || e.Opaque || e.Closed
			}
			return false
		})
	})
}
