package base

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// refName is the annotation that names a manifest in a layout (OCI image
// specification, "Pre-Defined Annotation Keys").
const refName = "org.opencontainers.image.ref.name"

// LayoutError reports a directory or an archive that does not give an image.
type LayoutError struct {
	// Path is the directory or file.
	Path   string
	Reason string
	// Names are those of the images that are there.
	Names []string
}

func (e *LayoutError) Error() string {
	s := fmt.Sprintf("%s: %s", e.Path, e.Reason)
	if len(e.Names) > 0 {
		s += " (it has " + strings.Join(e.Names, ", ") + ")"
	}
	return s
}

// Hint says how to name one of several.
func (e *LayoutError) Hint() string {
	if len(e.Names) == 0 {
		return ""
	}
	return "name one: " + schemeLayout + e.Path + ":" + strings.TrimPrefix(e.Names[0], "sha256:")
}

// cutSelector parts DIR@sha256:… and DIR:TAG.
func cutSelector(s string) (dir, selector string) {
	if i := strings.LastIndex(s, "@"); i >= 0 && strings.HasPrefix(s[i+1:], "sha256:") {
		return s[:i], s[i+1:]
	}
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// unreadable reports a path that cannot be looked at.
func unreadable(path string, err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return &LayoutError{Path: path, Reason: err.Error()}
}

// layout resolves an image in an OCI layout, by its name or digest; with
// neither it must be the only one, or be called "latest".
func (r *resolver) layout(dir, selector string) error {
	if info, err := os.Stat(dir); err != nil {
		return unreadable(dir, err)
	} else if !info.IsDir() {
		return &LayoutError{Path: dir, Reason: "it is not a directory with an OCI layout"}
	}
	l, err := layout.FromPath(dir)
	if errors.Is(err, os.ErrNotExist) {
		return &LayoutError{Path: dir, Reason: "it has no OCI layout (no index.json)"}
	}
	if err != nil {
		return &LayoutError{Path: dir, Reason: err.Error()}
	}
	top, err := readIndex(l, v1.Hash{})
	if err != nil {
		return &LayoutError{Path: dir, Reason: err.Error()}
	}
	d, err := r.find(l, dir, top, selector)
	if err != nil {
		return err
	}
	for depth := 0; d.MediaType.IsIndex(); depth++ {
		if depth == 3 {
			return &LayoutError{Path: dir, Reason: "its indexes are nested too deeply"}
		}
		m, err := readIndex(l, d.Digest)
		if err != nil {
			return &LayoutError{Path: dir, Reason: err.Error()}
		}
		r.base.Index = d.Digest
		if d, err = chooseIn(m, r.base.Platform); err != nil {
			return err
		}
	}
	raw, err := l.Bytes(d.Digest)
	if err != nil {
		return &LayoutError{Path: dir, Reason: err.Error()}
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return &LayoutError{Path: dir, Reason: fmt.Sprintf("manifest %s: %v", d.Digest, err)}
	}
	config, err := l.Bytes(m.Config.Digest)
	if err != nil {
		return &LayoutError{Path: dir, Reason: err.Error()}
	}
	if err := errors.Join(r.keep(raw, d.Digest), r.keep(config, m.Config.Digest)); err != nil {
		return &LayoutError{Path: dir, Reason: err.Error()}
	}
	return r.use(raw, config, d.Digest, func(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
		return l.Blob(d.Digest)
	}, nil)
}

// chooseIn chooses from an index: the platform's image, or the only thing there
// is.
func chooseIn(m *v1.IndexManifest, want v1.Platform) (v1.Descriptor, error) {
	if len(m.Manifests) == 1 && m.Manifests[0].Platform == nil {
		return m.Manifests[0], nil
	}
	return choose(m.Manifests, want)
}

// readIndex reads an index out of a layout, and checks that it is the one with
// the digest; a zero digest stands for the layout's own.
func readIndex(l layout.Path, h v1.Hash) (*v1.IndexManifest, error) {
	if h == (v1.Hash{}) {
		top, err := l.ImageIndex()
		if err != nil {
			return nil, err
		}
		return top.IndexManifest()
	}
	raw, err := l.Bytes(h)
	if err != nil {
		return nil, err
	}
	if got, _, err := v1.SHA256(bytes.NewReader(raw)); err != nil || got != h {
		return nil, fmt.Errorf("the index %s has the digest %s", h, got)
	}
	return v1.ParseIndexManifest(bytes.NewReader(raw))
}

// find returns the manifest or index in a layout that a selector names.
func (r *resolver) find(l layout.Path, dir string, top *v1.IndexManifest, selector string) (v1.Descriptor, error) {
	var names []string
	perPlatform := len(top.Manifests) > 0
	for _, d := range top.Manifests {
		tag := d.Annotations[refName]
		if tag == "" {
			tag = d.Digest.String()
		}
		if selector == tag || selector == d.Digest.String() {
			return d, nil
		}
		names = append(names, tag)
		perPlatform = perPlatform && d.Platform != nil && d.MediaType.IsImage()
	}
	switch {
	case strings.HasPrefix(selector, "sha256:"):
		return inNested(l, dir, top, selector)
	case selector != "":
		return v1.Descriptor{}, &LayoutError{Path: dir, Reason: fmt.Sprintf("it has no image named %q", selector), Names: names}
	case len(top.Manifests) == 0:
		return v1.Descriptor{}, &LayoutError{Path: dir, Reason: "it has no images"}
	case len(top.Manifests) == 1:
		return top.Manifests[0], nil
	}
	for _, d := range top.Manifests {
		if d.Annotations[refName] == "latest" {
			return d, nil
		}
	}
	if perPlatform { // one image, for several platforms
		return choose(top.Manifests, r.base.Platform)
	}
	return v1.Descriptor{}, &LayoutError{Path: dir, Reason: "it has several images and none is named", Names: names}
}

// inNested looks for a digest in the indexes that a layout's index names.
func inNested(l layout.Path, dir string, top *v1.IndexManifest, digest string) (v1.Descriptor, error) {
	for _, d := range top.Manifests {
		if !d.MediaType.IsIndex() {
			continue
		}
		m, err := readIndex(l, d.Digest)
		if err != nil {
			return v1.Descriptor{}, &LayoutError{Path: dir, Reason: err.Error()}
		}
		for _, child := range m.Manifests {
			if child.Digest.String() == digest {
				return child, nil
			}
		}
	}
	return v1.Descriptor{}, &LayoutError{Path: dir, Reason: "it has no image " + digest}
}

// archiveRecord is what is kept of an archive: the image in it.
type archiveRecord struct {
	Digest v1.Hash `json:"digest"`
}

// archive resolves the image in a file that docker save wrote. All of it goes
// into the store at once: in the file layers lie uncompressed, and to know
// their digests is to compress them.
func (r *resolver) archive(file string) error {
	abs, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return unreadable(file, err)
	}
	key := fmt.Sprintf("base/archive/1 %s %d %d", abs, info.Size(), info.ModTime().UnixNano())
	var known archiveRecord
	if ok, err := r.Store.Record(key, &known); err != nil {
		return err
	} else if ok {
		if ok, err := r.recall(known.Digest, nil, nil); err != nil || ok && r.complete() {
			return err
		}
	}
	img, err := tarball.ImageFromPath(abs, nil)
	if err != nil {
		return &LayoutError{Path: file, Reason: err.Error()}
	}
	parts, err := img.Layers()
	if err != nil {
		return &LayoutError{Path: file, Reason: err.Error()}
	}
	for _, l := range parts {
		if err := r.Store.PutLayer(r.ctx, l); err != nil {
			return err
		}
	}
	if known.Digest, err = img.Digest(); err != nil {
		return &LayoutError{Path: file, Reason: err.Error()}
	}
	if err := r.adopt(img, known.Digest, nil, nil); err != nil {
		return err
	}
	r.log().Info(fmt.Sprintf("read %s (%d layers)", file, len(parts)))
	return r.Store.SetRecord(key, known)
}

// complete says whether all layers of the base are in the store.
func (r *resolver) complete() bool {
	for _, d := range r.base.Image.(*image).manifest.Layers {
		if !r.Store.Has(d.Digest) {
			return false
		}
	}
	return true
}
