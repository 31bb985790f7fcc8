package build

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotations that say what an image was built on (OCI image specification,
// "Pre-Defined Annotation Keys").
const (
	annotationBaseName   = "org.opencontainers.image.base.name"
	annotationBaseDigest = "org.opencontainers.image.base.digest"
)

// image is what goes into a manifest.
type image struct {
	config      *v1.ConfigFile
	layers      []v1.Layer
	annotations map[string]string
	carried     *carried
}

// assemble makes an OCI image. Layers keep their bytes; those of a Docker base
// take the OCI media type that says the same.
func (i *image) assemble() (v1.Image, error) {
	manifest := &v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Annotations: i.annotations}
	config := i.config.DeepCopy()
	config.RootFS = v1.RootFS{Type: "layers"}
	byDigest := map[v1.Hash]v1.Layer{}
	for _, l := range i.layers {
		diffID, err := l.DiffID()
		if err != nil {
			return nil, err
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
		d, err := partial.Descriptor(l)
		if err != nil {
			return nil, err
		}
		mt, err := ociLayer(d.MediaType)
		if err != nil {
			return nil, err
		}
		manifest.Layers = append(manifest.Layers, v1.Descriptor{MediaType: mt, Size: d.Size, Digest: d.Digest, Annotations: d.Annotations})
		byDigest[d.Digest] = l
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("write image config: %w", err)
	}
	if i.carried != nil && len(i.carried.Base)+len(i.carried.Steps) > 0 {
		if raw, err = withField(raw, carriedField, i.carried); err != nil {
			return nil, err
		}
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	manifest.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Size: size, Digest: digest}
	rawManifest, err := json.Marshal(manifest)
	if err != nil {
		return nil, fmt.Errorf("write image manifest: %w", err)
	}
	return partial.CompressedToImage(&assembled{config: raw, manifest: rawManifest, layers: byDigest})
}

// withField adds a field to a JSON object.
func withField(object []byte, name string, v any) ([]byte, error) {
	value, err := json.Marshal(map[string]any{name: v})
	if err != nil {
		return nil, fmt.Errorf("write image config: %w", err)
	}
	return append(append(bytes.TrimSuffix(object, []byte("}")), ','), value[1:]...), nil
}

// ociLayer returns the OCI media type for a layer's, which may be Docker's.
func ociLayer(mt types.MediaType) (types.MediaType, error) {
	switch mt {
	case types.DockerLayer:
		return types.OCILayer, nil
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer, nil
	case types.DockerForeignLayer:
		return types.OCIRestrictedLayer, nil
	case types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.OCIRestrictedLayer, types.OCIUncompressedRestrictedLayer:
		return mt, nil
	}
	return "", fmt.Errorf("media type %q is not a layer's", mt)
}

// assembled is a finished image (partial.CompressedImageCore).
type assembled struct {
	config, manifest []byte
	layers           map[v1.Hash]v1.Layer
}

func (a *assembled) RawConfigFile() ([]byte, error)      { return a.config, nil }
func (a *assembled) RawManifest() ([]byte, error)        { return a.manifest, nil }
func (a *assembled) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func (a *assembled) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if l, ok := a.layers[h]; ok {
		return l, nil
	}
	return nil, fmt.Errorf("image has no layer %s", h)
}

// assembleIndex makes an OCI index of one image a platform, in the order given.
func assembleIndex(images []v1.Image, platforms []v1.Platform, annotations map[string]string) (v1.ImageIndex, error) {
	idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, img := range images {
		d, err := partial.Descriptor(img)
		if err != nil {
			return nil, err
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{
			Add:        img,
			Descriptor: v1.Descriptor{MediaType: d.MediaType, Size: d.Size, Digest: d.Digest, Platform: &platforms[i]},
		})
	}
	if len(annotations) > 0 {
		idx = mutate.Annotations(idx, annotations).(v1.ImageIndex)
	}
	return idx, nil
}

// epoch is the time of everything made where none is given.
func epoch(t time.Time) v1.Time {
	if t.IsZero() {
		return v1.Time{Time: time.Unix(0, 0).UTC()}
	}
	return v1.Time{Time: time.Unix(t.Unix(), 0).UTC()}
}
