package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/spf13/cobra"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/push"
	"github.com/boyabuild/boyabuild/pkg/store"
)

// mismatchError says that an image is not what the sources build.
type mismatchError struct {
	image string
	what  *build.Mismatch
}

func (e *mismatchError) Error() string {
	return fmt.Sprintf("verify %s: it is not what is built here: %s", e.image, e.what)
}

func (e *mismatchError) Hint() string {
	return "build with the flags, the commit and the SOURCE_DATE_EPOCH that the image was built with"
}

func verifyCommand(e *env, g *globals) *cobra.Command {
	var f buildFlags
	var l localFlags
	cmd := &cobra.Command{
		Use:   "verify IMAGE [CONTEXT]",
		Short: "Build again, and compare with an image byte by byte",
		Long: `Build CONTEXT (default: the current folder) again and compare the result byte by
byte with IMAGE: one of a registry, or a name in the local store. Nothing that
was made before is used: packages and bases are fetched, in the versions that
the image tells it was made with, and every layer is made anew, in a store of
its own, which is removed in the end.

Prints the image's digest on stdout if it is what is built. Else the command
fails, and says which layer, file and field are the first to differ.`,
		Example: `  boyabuild verify 123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/boyacky/web-app:1.0
  boyabuild verify boyacky/web-app:1.0 testdata/boyacky`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := newSession(cmd, e, g, args[1:])
			if err != nil {
				return err
			}
			defer s.close()
			c, err := s.cloud(cmd.Context(), &l, storing)
			if err != nil {
				return err
			}
			defer c.close()
			return s.verify(c, &f, args[0])
		},
	}
	f.register(cmd)
	l.register(cmd.Flags())
	for _, unused := range []string{"no-cache", "pull", "cache-from", "iidfile", "metadata-file"} {
		_ = cmd.Flags().MarkHidden(unused)
	}
	return cmd
}

func (s *session) verify(c *cloud, f *buildFlags, image string) error {
	ctx := s.cmd.Context()
	for _, flag := range []string{"no-cache", "pull", "cache-from", "iidfile", "metadata-file"} {
		if s.cmd.Flags().Changed(flag) {
			return usagef("--%s has no meaning here: everything is made again", flag)
		}
	}
	o, err := s.buildOptions(f)
	if err != nil {
		return err
	}
	b, err := s.builder(&f.index)
	if err != nil {
		return err
	}
	plan, err := b.Plan(ctx, *o)
	if err != nil {
		return err
	}
	s.tellPlan(plan)
	if len(plan.Platforms) != 1 {
		return usagef("one platform is compared at a time: give --platform")
	}
	img, shown, err := s.imageOf(c, image, plan.Platforms[0].Platform)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "boyabuild-verify-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	own, err := store.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }() // all of it is removed
	b.Store = own
	m, err := b.Verify(ctx, plan, img)
	if err != nil {
		return err
	}
	if m != nil {
		return &mismatchError{image: shown, what: m}
	}
	s.ui.log.Info(fmt.Sprintf("%s is what is built here", shown))
	fmt.Fprintln(s.env.stdout, shown)
	return nil
}

// imageOf finds an image by its name in the local store, or in a registry, and
// tells its digest with it.
func (s *session) imageOf(c *cloud, text string, platform v1.Platform) (v1.Image, string, error) {
	ctx := s.cmd.Context()
	parsed, err := name.ParseReference(text, c.nameOptions()...)
	if err != nil {
		return nil, "", usagef("%s is no image's name: NAME:TAG or NAME@sha256:…", text)
	}
	selector := ":" + parsed.Identifier()
	if _, ok := parsed.(name.Digest); ok {
		selector = "@" + parsed.Identifier()
	}
	repository := strings.TrimSuffix(text, selector)
	if img, err := s.storedFor(text, platform); err == nil {
		return shownAs(img, repository)
	}
	full, err := c.repository(ctx, repository, false)
	if err != nil {
		return nil, "", err
	}
	ref, err := name.ParseReference(full+selector, c.nameOptions()...)
	if err != nil {
		return nil, "", usagef("%s is no image's name: %v", full+selector, err)
	}
	keychain, err := c.keychain(ctx)
	if err != nil {
		return nil, "", err
	}
	img, err := push.Fetch(ctx, ref, platform, registries(keychain))
	if err != nil {
		return nil, "", err
	}
	return shownAs(img, full)
}

// storedFor is an image of the local store, for a platform.
func (s *session) storedFor(text string, platform v1.Platform) (v1.Image, error) {
	stored, err := s.stored(text)
	if err != nil {
		return nil, err
	}
	switch m := stored.(type) {
	case v1.Image:
		return m, nil
	case v1.ImageIndex:
		list, err := partial.FindImages(m, match.Platforms(platform))
		if err != nil || len(list) == 0 {
			return nil, fmt.Errorf("%s has no image for %s", text, platform)
		}
		return list[0], nil
	}
	return nil, fmt.Errorf("%s is neither an image nor an index", text)
}

func shownAs(img v1.Image, repository string) (v1.Image, string, error) {
	d, err := img.Digest()
	return img, repository + "@" + d.String(), err
}
