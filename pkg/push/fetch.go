package push

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// configLimit bounds configurations. They hold an image's history; the largest in
// use are some 100 kB.
const configLimit = 8 << 20

// fetched is an image whose manifest was read from a repository.
type fetched struct {
	v1.Image
	repo name.Repository
}

// Fetch reads the image that ref names: its manifest and its configuration now,
// each at most 8 MiB, and each of its layers when that is opened, until ctx is
// done. Of an index it is the image for platform; an image that is for another
// platform is not found. Parts of platform that are not given match any.
//
// A push of its layers to the same repository sends nothing, and one to another
// repository of the registry mounts them; see also Vouched in [Options].
//
// Errors: *ImageNotFoundError if the registry has no such image; else a
// *RegistryError.
func Fetch(ctx context.Context, ref name.Reference, platform v1.Platform, o Options) (v1.Image, error) {
	c := o.connection(ref.Context(), transport.PullScope)
	img, err := c.fetch(ctx, ref, platform)
	var none *ImageNotFoundError
	switch {
	case err == nil:
		return &fetched{Image: img, repo: c.repo}, nil
	case errors.As(err, &none):
		return nil, none
	case isNotFound(err):
		return nil, &ImageNotFoundError{Reference: ref, Cause: err}
	}
	return nil, &RegistryError{Repository: c.repo, Reading: true, Doing: "image " + ref.Identifier(), Cause: err}
}

func (c *connection) fetch(ctx context.Context, ref name.Reference, platform v1.Platform) (v1.Image, error) {
	l, err := c.login(ctx)
	if err != nil {
		return nil, err
	}
	d, err := l.reads.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	var img v1.Image
	if d.MediaType.IsIndex() {
		img, err = pick(ref, d, platform)
	} else {
		img, err = d.Image()
	}
	if err != nil {
		return nil, err
	}
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	if m.Config.Size < 0 || m.Config.Size > configLimit {
		return nil, fmt.Errorf("its configuration is said to have %d bytes; at most %d are read", m.Config.Size, configLimit)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	if have := config.Platform(); have != nil && !have.Satisfies(v1.Platform{OS: platform.OS, Architecture: platform.Architecture}) {
		return nil, &ImageNotFoundError{Reference: ref, Platform: &platform}
	}
	return img, nil
}

// pick reads the image of an index that is for a platform.
func pick(ref name.Reference, d *remote.Descriptor, platform v1.Platform) (v1.Image, error) {
	idx, err := d.ImageIndex()
	if err != nil {
		return nil, err
	}
	m, err := idx.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, child := range m.Manifests {
		p := v1.Platform{OS: "linux", Architecture: "amd64"} // what an index means that says nothing
		if child.Platform != nil {
			p = *child.Platform
		}
		if child.MediaType.IsImage() && !isArtifact(child) && p.Satisfies(platform) {
			return idx.Image(child.Digest)
		}
	}
	return nil, &ImageNotFoundError{Reference: ref, Platform: &platform}
}

// isArtifact is that a manifest is about an image and none itself, such as a SOCI
// index, which is marked with the image's platform.
func isArtifact(d v1.Descriptor) bool {
	switch types.MediaType(d.ArtifactType) {
	case "", types.OCIConfigJSON, types.DockerConfigJSON:
		return false
	}
	return true
}
