package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/deploy"
	"github.com/boyabuild/boyabuild/pkg/push"
)

// earlier finds the images whose layers a build may use again.
type earlier struct {
	s       *session
	named   []name.Reference // --cache-from, or cache_from
	options []name.Option
	reach   push.Options // how registries are reached

	// Of a push, else nil: where it goes to, the cloud, and who is to know of the
	// images that are found.
	to    *name.Tag
	c     *cloud
	vouch func(push.Image)
}

// read reads the names of images.
func (e *earlier) read(named []string) error {
	for _, text := range named {
		full := text
		if strings.HasPrefix(text, ":") || strings.HasPrefix(text, "@") {
			if e.to == nil {
				return usagef("--cache-from %s: names no repository, and nothing is pushed to one", text)
			}
			full = e.to.Context().Name() + text
		}
		ref, err := name.ParseReference(full, e.options...)
		if err != nil {
			return usagef("--cache-from %s: is no image's name: REPOSITORY:TAG, REPOSITORY@sha256:…, :TAG or @sha256:…", text)
		}
		e.named = append(e.named, ref)
	}
	return nil
}

// newest is the image that the service runs, if it is of the repository, else
// the one with the highest tag.
func (e *earlier) newest(ctx context.Context) ([]name.Reference, error) {
	if ref := e.running(ctx); ref != nil {
		return []name.Reference{ref}, nil
	}
	tag, err := push.Newest(ctx, e.to.Context(), e.to.TagStr(), e.reach)
	if err != nil || tag == "" {
		return nil, err
	}
	return []name.Reference{e.to.Context().Tag(tag)}, nil
}

// running is the image of the repository that the configured service runs; nil
// if there is none, or if it cannot be asked for.
func (e *earlier) running(ctx context.Context) name.Reference {
	if d := e.s.config.Deploy; d.Service == "" || d.TaskDefinition == "" {
		return nil
	}
	in, err := e.s.deployInput(e.c, &deployFlags{}, name.Digest{})
	if err != nil {
		return nil
	}
	cfg, err := e.c.aws(ctx)
	if err != nil {
		return nil
	}
	images, err := deploy.Current(ctx, ecs.NewFromConfig(cfg), in)
	if err != nil {
		e.s.ui.log.Debug(fmt.Sprintf("what the service runs is not known: %v", err))
		return nil
	}
	for _, text := range images {
		ref, err := name.ParseReference(text, e.options...)
		if err == nil && ref.Context().Name() == e.to.Context().Name() {
			return ref
		}
	}
	return nil
}

// images reads the images for a platform. Those that are not there are told of.
func (e *earlier) images(ctx context.Context, platform v1.Platform) ([]v1.Image, error) {
	refs := e.named
	if len(refs) == 0 {
		var err error
		if refs, err = e.newest(ctx); err != nil {
			return nil, err
		}
	}
	var out []v1.Image
	for _, ref := range refs {
		img, err := push.Fetch(ctx, ref, platform, e.reach)
		if err != nil {
			if len(e.named) > 0 {
				e.s.ui.log.Warn(fmt.Sprintf("%s is not used again: %v", ref, err))
			} else {
				e.s.ui.log.Debug(fmt.Sprintf("%s is not used again: %v", ref, err))
			}
			continue
		}
		e.s.ui.log.Info(fmt.Sprintf("going on from %s", ref))
		out = append(out, img)
		if e.vouch != nil {
			e.vouch(img)
		}
	}
	return out, nil
}

// registries is how registries are reached, with one login for each repository.
func registries(keychain authn.Keychain) push.Options {
	return push.Options{Keychain: keychain, UserAgent: "boyabuild/" + version(), Logins: &push.Logins{}}
}

// use has a builder go on from the images that f names or, for a push, from those
// in the repository.
func (e *earlier) use(b *build.Builder, f *buildFlags) error {
	named := f.cacheFrom
	if len(named) == 0 {
		named = e.s.config.CacheFrom
	}
	if err := e.read(named); err != nil {
		return err
	}
	if len(e.named) > 0 || e.to != nil {
		b.Previous = e.images
	}
	return nil
}
