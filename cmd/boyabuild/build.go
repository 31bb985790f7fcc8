package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
)

// buildFlags are the flags of everything that builds.
type buildFlags struct {
	dockerfile    string
	platforms     []string
	target        string
	buildArgs     []string
	buildContexts []string
	labels        []string
	annotations   []string
	noCache, pull bool
	noCompile     bool
	excludeNewer  string
	compression   string
	maxLayers     int
	cacheFrom     []string
	index         indexFlags
	iidfile       string
	metadataFile  string
}

// maxLayers is what overlay file systems take everywhere.
const maxLayers = 127

func (f *buildFlags) register(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringVarP(&f.dockerfile, "file", "f", "", "the `DOCKERFILE` (default: Dockerfile in the context; without one, the Python project)")
	s.StringSliceVar(&f.platforms, "platform", nil, "`PLATFORM`s to build for, such as linux/amd64,linux/arm64")
	s.StringVar(&f.target, "target", "", "`STAGE` of the Dockerfile to build")
	s.StringArrayVar(&f.buildArgs, "build-arg", nil, "`NAME=VALUE` of an ARG; without a value, that of the environment")
	s.StringArrayVar(&f.buildContexts, "build-context", nil, "`NAME=SOURCE`: take a base or COPY --from from a directory, oci-layout://, docker-archive://, docker-image:// or debian://")
	s.StringArrayVar(&f.labels, "label", nil, "`NAME=VALUE` label of the image")
	s.StringArrayVar(&f.annotations, "annotation", nil, "`NAME=VALUE` annotation of the manifest")
	s.BoolVar(&f.noCache, "no-cache", false, "resolve dependencies again and make every layer anew")
	s.BoolVar(&f.pull, "pull", false, "ask again for newer bases")
	s.BoolVar(&f.noCompile, "no-compile", false, "leave out bytecode: the image is smaller, and the app starts more slowly")
	s.StringVar(&f.excludeNewer, "exclude-newer", "", "ignore package files uploaded after `TIME` (2024-05-01, RFC 3339, or a span such as 7 days)")
	s.StringVar(&f.compression, "compression", "gzip", "compression of layers: gzip or zstd")
	s.IntVar(&f.maxLayers, "max-layers", 0, "make at most `N` layers (default 64): large wheels have layers of their own, small ones share some")
	s.StringArrayVar(&f.cacheFrom, "cache-from", nil, "`IMAGE` whose layers are used again where this machine has no record of them: a reference, or :TAG or @DIGEST in the repository that is pushed to")
	s.StringVar(&f.iidfile, "iidfile", "", "write the image's digest to `FILE`")
	s.StringVar(&f.metadataFile, "metadata-file", "", "write what was built as JSON to `FILE`")
	f.index.register(s)
}

func buildCommand(e *env, g *globals) *cobra.Command {
	var f buildFlags
	var tags, outputs []string
	cmd := &cobra.Command{
		Use:   "build [CONTEXT]",
		Short: "Build an image into the local store",
		Long: `Build an image from the Dockerfile in CONTEXT (default: the current folder), or
from the Python project itself where there is none, and keep it in the local
store. Prints NAME@sha256:… on stdout.`,
		Example: `  boyabuild build -t boyacky/web-app:1.0 .
  boyabuild build --build-context python:alpine=debian://trixie?packages=python3 .
  boyabuild build -o type=oci,dest=image.tar .`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := newSession(cmd, e, g, args)
			if err != nil {
				return err
			}
			defer s.close()
			parsed, err := parseOutputs(outputs)
			if err != nil {
				return err
			}
			names, err := s.names(tags)
			if err != nil {
				return err
			}
			r, err := s.build(cmd.Context(), &f, func(b *build.Builder) error {
				return (&earlier{s: s, reach: registries(b.Base.Keychain)}).use(b, &f)
			})
			if err != nil {
				return err
			}
			defer r.Close()
			for _, n := range names {
				if err := s.store.SetName(n, r.Descriptor); err != nil {
					return err
				}
			}
			for _, o := range parsed {
				if err := build.Export(cmd.Context(), r, names, o); err != nil {
					return err
				}
				s.ui.log.Info(fmt.Sprintf("wrote %s to %s", o.Type, o.Dest))
			}
			repository := names[0][:strings.LastIndexByte(names[0], ':')] // its tag; a registry may have a port
			fmt.Fprintf(e.stdout, "%s@%s\n", repository, r.Descriptor.Digest)
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().StringArrayVarP(&tags, "tag", "t", nil, "`NAME[:TAG]` of the image in the local store")
	cmd.Flags().StringArrayVarP(&outputs, "output", "o", nil, "also write it: `type=oci|docker|tar,dest=FILE` or type=local,dest=DIR")
	return cmd
}

// names are what the image is called in the local store: the -t flags, or the
// configured repository, or the folder's name.
func (s *session) names(tags []string) ([]string, error) {
	if len(tags) == 0 {
		n := s.config.Repository
		if n == "" {
			abs, err := filepath.Abs(s.context)
			if err != nil {
				return nil, err
			}
			n = strings.ToLower(filepath.Base(abs))
		}
		tags = []string{n}
	}
	var out []string
	for _, t := range tags {
		if _, err := name.NewTag(t); err != nil {
			return nil, usagef("-t %s: is not an image name: NAME[:TAG], in lower case", t)
		}
		base := t[strings.LastIndexByte(t, '/')+1:]
		if !strings.Contains(base, ":") {
			t += ":latest" // a name on this machine only; it is never pushed
		}
		out = append(out, t)
	}
	return out, nil
}

// build plans and builds; how adds to the builder what the command needs of it.
// The result is to be closed.
func (s *session) build(ctx context.Context, f *buildFlags, how func(*build.Builder) error) (*build.Result, error) {
	o, err := s.buildOptions(f)
	if err != nil {
		return nil, err
	}
	b, err := s.builder(&f.index)
	if err != nil {
		return nil, err
	}
	if err := how(b); err != nil {
		return nil, err
	}
	started := time.Now()
	plan, err := b.Plan(ctx, *o)
	if err != nil {
		return nil, err
	}
	s.tellPlan(plan)
	r, err := b.Build(ctx, plan)
	if err != nil {
		return nil, err
	}
	s.ui.log.Info(fmt.Sprintf("built %s in %.1f s", r.Descriptor.Digest, time.Since(started).Seconds()))
	return r, s.writeFiles(f, r)
}

// tellPlan says what was decided and what is doubtful.
func (s *session) tellPlan(plan *build.Plan) {
	if plan.Project != nil {
		s.ui.log.Info(plan.Project.String())
	}
	for _, w := range plan.Warnings {
		s.ui.log.Warn(w.String())
	}
}

// writeFiles writes --iidfile and --metadata-file.
func (s *session) writeFiles(f *buildFlags, r *build.Result) error {
	if f.iidfile != "" {
		if err := os.WriteFile(f.iidfile, []byte(r.Descriptor.Digest.String()), 0o644); err != nil {
			return fmt.Errorf("write --iidfile: %w", err)
		}
	}
	if f.metadataFile == "" {
		return nil
	}
	b, err := json.MarshalIndent(map[string]any{ // the keys of docker buildx build --metadata-file
		"containerimage.digest":     r.Descriptor.Digest,
		"containerimage.descriptor": r.Descriptor,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.metadataFile, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write --metadata-file: %w", err)
	}
	return nil
}

// buildOptions joins flags and configuration.
func (s *session) buildOptions(f *buildFlags) (*build.Options, error) {
	o := &build.Options{
		Context: s.context, Dockerfile: f.dockerfile, Base: s.config.Base, Target: f.target,
		NoCache: f.noCache, Pull: f.pull, NoCompile: f.noCompile, Bases: map[string]string{},
	}
	if o.Dockerfile == "" && s.config.Dockerfile != "" {
		o.Dockerfile = filepath.Join(s.context, s.config.Dockerfile)
	}
	maps.Copy(o.Bases, s.config.Bases)
	var err error
	if err := pairs("--build-context", f.buildContexts, o.Bases, nil); err != nil {
		return nil, err
	}
	o.BuildArgs, o.Labels, o.Annotations = map[string]string{}, map[string]string{}, map[string]string{}
	if err := pairs("--build-arg", f.buildArgs, o.BuildArgs, s.env.getenv); err != nil {
		return nil, err
	}
	if err := pairs("--label", f.labels, o.Labels, nil); err != nil {
		return nil, err
	}
	if err := pairs("--annotation", f.annotations, o.Annotations, nil); err != nil {
		return nil, err
	}
	if o.Platforms, err = s.platforms(f.platforms); err != nil {
		return nil, err
	}
	if o.Compression, err = layers.ParseCompression(f.compression); err != nil || o.Compression == layers.None {
		return nil, usagef("--compression is %q, none of gzip, zstd", f.compression)
	}
	if o.MaxLayers = f.maxLayers; o.MaxLayers == 0 {
		o.MaxLayers = s.config.MaxLayers
	}
	if o.MaxLayers < 0 || o.MaxLayers > maxLayers {
		return nil, usagef("--max-layers %d: is not between 1 and %d, which overlay file systems take", o.MaxLayers, maxLayers)
	}
	if o.ExcludeNewer, err = parseTime(f.excludeNewer); err != nil {
		return nil, err
	}
	o.Time, err = s.env.sourceDate()
	return o, err
}

// pairs reads NAME=VALUE flags into m. lookup gives the value of a name that
// stands alone.
func pairs(flag string, values []string, m map[string]string, lookup func(string) string) error {
	for _, kv := range values {
		k, v, ok := strings.Cut(kv, "=")
		if !ok && lookup != nil {
			if v = lookup(k); v == "" {
				continue // as in docker build: an unset variable sets no argument
			}
			ok = true
		}
		if !ok || k == "" {
			return usagef("%s %s: is not NAME=VALUE", flag, kv)
		}
		m[k] = v
	}
	return nil
}

func (s *session) platforms(flag []string) ([]v1.Platform, error) {
	texts, wrong := flag, usagef
	if len(texts) == 0 {
		texts = s.config.Platforms
		wrong = func(format string, args ...any) error {
			return &configError{file: s.config.path, reason: fmt.Sprintf(format, args...)}
		}
	}
	var out []v1.Platform
	for _, text := range texts {
		p, err := v1.ParsePlatform(text)
		if err != nil || p.OS == "" || p.Architecture == "" {
			return nil, wrong("platform %q is not OS/ARCH[/VARIANT], such as linux/arm64", text)
		}
		if p.OS != "linux" {
			return nil, wrong("platform %q: only linux images can be built", text)
		}
		out = append(out, *p)
	}
	return out, nil
}

// parseTime reads what --exclude-newer says, as uv has it: the whole day still
// counts. "" is no time.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := pip.ParseNewer(s, true, time.Now())
	if err != nil {
		return time.Time{}, usagef("--exclude-newer %v", err)
	}
	return t, nil
}
