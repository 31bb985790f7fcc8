package base

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// PlatformError reports an image that there is not for the platform wanted.
type PlatformError struct {
	Want v1.Platform
	Have []v1.Platform
}

func (e *PlatformError) Error() string {
	return fmt.Sprintf("there is no image for %s, only for %s", platformName(e.Want), strings.Join(e.names(), ", "))
}

func (e *PlatformError) names() []string {
	var names []string
	for _, p := range e.Have {
		if n := platformName(p); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return []string{"no platform at all"}
	}
	return names
}

// Hint says what can be asked for.
func (e *PlatformError) Hint() string {
	if len(e.Have) == 0 {
		return ""
	}
	return "build with --platform " + e.names()[0] + ", or take another base"
}

func platformName(p v1.Platform) string {
	if p.OS == "" && p.Architecture == "" {
		return "an unnamed platform"
	}
	n := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		n += "/" + p.Variant
	}
	return n
}

// variantOf returns a platform's variant, with the one that its architecture
// has by default if none is named.
func variantOf(p v1.Platform) string {
	switch {
	case p.Variant != "":
		return p.Variant
	case p.Architecture == "arm64":
		return "v8"
	case p.Architecture == "arm":
		return "v7"
	case p.Architecture == "amd64":
		return "v1"
	}
	return ""
}

// serves says whether an image for one platform runs on another: operating
// system and architecture are alike, and it needs no higher variant. An image
// that names no architecture runs on all.
func serves(have, want v1.Platform) bool {
	if have.OS == "" && have.Architecture == "" {
		return true
	}
	return have.OS == want.OS && have.Architecture == want.Architecture && variantOf(have) <= variantOf(want)
}

// choose returns the manifest of an index that serves a platform best, that
// with the highest variant. Attestations, which BuildKit puts beside images for
// an unknown platform, are none.
func choose(manifests []v1.Descriptor, want v1.Platform) (v1.Descriptor, error) {
	var best *v1.Descriptor
	var have []v1.Platform
	for i := range manifests {
		d := &manifests[i]
		if d.Platform == nil || d.Platform.OS == "unknown" || !(d.MediaType.IsImage() || d.MediaType == types.MediaType("")) {
			continue
		}
		have = append(have, *d.Platform)
		if serves(*d.Platform, want) && (best == nil || variantOf(*d.Platform) > variantOf(*best.Platform)) {
			best = d
		}
	}
	if best == nil {
		return v1.Descriptor{}, &PlatformError{Want: want, Have: have}
	}
	return *best, nil
}
