package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/spf13/cobra"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/ecr"
	"github.com/boyabuild/boyabuild/pkg/push"
)

// pushFlags are the flags of everything that pushes.
type pushFlags struct {
	tag        string
	repository string
	create     bool
	local      localFlags
}

func (f *pushFlags) register(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringVar(&f.tag, "tag", "", "`TAG` to push under; tags never move, and latest is refused")
	s.StringVar(&f.repository, "repository", "", "`REPOSITORY`: a full one, or the name of an ECR repository")
	s.BoolVar(&f.create, "create-repository", false, "make the ECR repository if it is missing: immutable tags, scan on push")
	f.local.register(s)
}

func pushCommand(e *env, g *globals) *cobra.Command {
	var b buildFlags
	var p pushFlags
	var image string
	cmd := &cobra.Command{
		Use:   "push [CONTEXT] --tag TAG",
		Short: "Build, then push under an immutable tag",
		Long: `Build an image and push it, or with --image push one from the local store.
Prints REPOSITORY@sha256:… on stdout.

The tag is looked at first. If it names this very image, nothing is uploaded and
the push succeeds; if it names another, the push is refused.`,
		Example: `  boyabuild push --tag 1.0 .
  boyabuild push --tag 1.0 --repository ghcr.io/me/app .
  boyabuild push --image boyacky/web-app --tag 1.0`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := newSession(cmd, e, g, args)
			if err != nil {
				return err
			}
			defer s.close()
			if image != "" && len(args) > 0 {
				return usagef("--image pushes from the local store and builds no context; leave out %s", args[0])
			}
			if err := s.checkDestination(&p); err != nil {
				return err
			}
			cloud, err := s.cloud(cmd.Context(), &p.local, storing)
			if err != nil {
				return err
			}
			defer cloud.close()
			digest, err := s.push(cmd.Context(), cloud, &b, &p, image)
			if err != nil {
				return err
			}
			fmt.Fprintln(e.stdout, digest)
			return nil
		},
	}
	b.register(cmd)
	p.register(cmd)
	cmd.Flags().StringVar(&image, "image", "", "push this `NAME[:TAG]` of the local store instead of building")
	return cmd
}

// push builds, or takes an image from the store, and pushes it. What would make
// the push fail for sure is found out before anything is built.
func (s *session) push(ctx context.Context, c *cloud, b *buildFlags, p *pushFlags, image string) (name.Digest, error) {
	tag, err := s.destination(ctx, c, p)
	if err != nil {
		return name.Digest{}, err
	}
	keychain, err := c.keychain(ctx)
	if err != nil {
		return name.Digest{}, err
	}
	o := registries(keychain)
	o.Log, o.Progress, o.Vouched = s.ui.log, s.ui.progress, s.vouched(tag.Context())
	if image != "" {
		img, err := s.stored(image)
		if err != nil {
			return name.Digest{}, err
		}
		r, err := push.Push(ctx, img, tag, o)
		if err != nil {
			return name.Digest{}, err
		}
		s.vouch(r.Digest)
		return r.Digest, nil
	}
	sending, err := push.Begin(ctx, tag, o)
	if err != nil {
		return name.Digest{}, err
	}
	defer sending.Close()
	sending.Start()
	r, err := s.build(ctx, b, func(builder *build.Builder) error {
		builder.Deferred, builder.Ready = true, sending.Send
		return (&earlier{s: s, options: c.nameOptions(), reach: o, to: &tag, c: c, vouch: sending.Vouch}).use(builder, b)
	})
	if err != nil {
		return name.Digest{}, err
	}
	defer r.Close()
	if r.Kept {
		if err := s.store.SetName(tag.RepositoryStr()+":"+tag.TagStr(), r.Descriptor); err != nil {
			s.ui.log.Warn(fmt.Sprintf("the image has no name on this machine: %v", err)) // as in a cache that is not to be written to
		}
	}
	sent, err := sending.Finish(ctx, r.Manifest())
	if err != nil {
		return name.Digest{}, err
	}
	s.vouch(sent.Digest)
	return sent.Digest, nil
}

// pushedKey is where it is on record what was pushed last to a repository.
func pushedKey(r name.Repository) string { return "pushed/1 " + r.Name() }

// vouched are the images that were pushed to a repository before from here: as
// long as it has them, it has their layers.
func (s *session) vouched(r name.Repository) []push.Image {
	var digests []v1.Hash
	if ok, err := s.store.Record(pushedKey(r), &digests); err != nil || !ok {
		return nil
	}
	var out []push.Image
	for _, d := range digests {
		for _, kind := range []types.MediaType{types.OCIManifestSchema1, types.OCIImageIndex} {
			if img, err := s.storedAt(v1.Descriptor{Digest: d, MediaType: kind}); err == nil {
				out = append(out, img)
				break
			}
		}
	}
	return out
}

// vouch puts on record what was pushed. It spares the next push some questions, so
// a cache that cannot be written to is no reason for this one to fail.
func (s *session) vouch(d name.Digest) {
	h, err := v1.NewHash(d.DigestStr())
	if err == nil {
		err = s.store.SetRecord(pushedKey(d.Context()), []v1.Hash{h})
	}
	if err != nil {
		s.ui.log.Debug(fmt.Sprintf("what was pushed is not put on record: %v", err))
	}
}

// checkDestination finds out, before anything is started or built, whether the
// command line and the configuration name a place to push to.
func (s *session) checkDestination(p *pushFlags) error {
	if p.repository == "" {
		p.repository = s.config.Repository
	}
	switch {
	case p.tag == "":
		return &usageError{text: "--tag is missing", hint: "give the version to push: --tag 1.0"}
	case p.tag == "latest":
		return &usageError{text: "--tag latest is refused: tags never move, and latest is meant to", hint: "give the image a tag of its own, such as a version or the commit: --tag 1.0"}
	case p.repository == "":
		return &usageError{text: "no repository to push to", hint: "give --repository, or repository: in boyabuild.yaml"}
	case strings.Contains(p.repository[strings.LastIndexByte(p.repository, '/')+1:], ":"):
		return usagef("repository %s has a tag of its own; give it as --tag", p.repository)
	}
	if _, err := name.NewTag("image:" + p.tag); err != nil {
		return usagef("--tag %s: a tag is up to 128 letters, digits, underscores, dots and dashes, and begins with none of the last two", p.tag)
	}
	if _, err := name.NewRepository(p.repository); err != nil {
		wrong := &usageError{text: fmt.Sprintf("repository %s is not a name such as shop/web or ghcr.io/shop/web", p.repository)}
		if lower := strings.ToLower(p.repository); lower != p.repository {
			wrong.hint = "names of repositories are in lower case: " + lower
		}
		return wrong
	}
	return nil
}

// destination completes the repository and joins the tag to it.
func (s *session) destination(ctx context.Context, c *cloud, p *pushFlags) (name.Tag, error) {
	full, err := c.repository(ctx, p.repository, p.create || c.local())
	if err != nil {
		return name.Tag{}, err
	}
	r, err := name.NewRepository(full, c.nameOptions()...)
	if err != nil {
		return name.Tag{}, fmt.Errorf("repository %s: %w", full, err)
	}
	return r.Tag(p.tag), nil
}

// repository completes a bare ECR name; one with a registry's host is full.
func (c *cloud) repository(ctx context.Context, repository string, create bool) (string, error) {
	if host, _, ok := strings.Cut(repository, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		if _, isECR := ecr.ParseRegistry(host); !isECR {
			return repository, nil
		}
	}
	client, err := c.ecr(ctx)
	if err != nil {
		return "", err
	}
	find := client.Repository
	if create {
		find = client.CreateRepository
	}
	r, err := find(ctx, repository)
	return r.URI, err
}

// keychain has the logins: AWS's for ECR, Docker's configuration for the rest.
func (c *cloud) keychain(ctx context.Context) (authn.Keychain, error) {
	if !c.local() {
		return authn.NewMultiKeychain(&lazyECR{s: c.s, region: c.region}, authn.DefaultKeychain), nil
	}
	client, err := c.ecr(ctx)
	if err != nil {
		return nil, err
	}
	return client.Keychain(ctx), nil
}

// stored finds an image of the local store by its name.
func (s *session) stored(image string) (push.Image, error) {
	full := image
	if !strings.Contains(image[strings.LastIndexByte(image, '/')+1:], ":") {
		full += ":latest"
	}
	d, err := s.store.Named(full)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &usageError{text: fmt.Sprintf("no image %s in the local store", image), hint: "build it first: boyabuild build -t " + image}
	}
	if err != nil {
		return nil, err
	}
	return s.storedAt(d)
}

func (s *session) storedAt(d v1.Descriptor) (push.Image, error) {
	if d.MediaType.IsIndex() {
		return s.store.Index(d.Digest)
	}
	return s.store.Image(d.Digest)
}
