// Package build makes images: it is the only place where Dockerfiles, build
// contexts, bases, Python dependencies and layers meet.
//
// In goes an [Options]; [Builder.Plan] reads the Dockerfile (or decides on one
// for a plain Python project) and says what would be done, before a byte is
// fetched; [Builder.Build] carries a plan out and returns a [Result], an OCI
// image or, for several platforms, an index, kept in the store. `RUN pip
// install` is done in process: resolved for the target platform, fetched,
// laid out as pip would. The same input gives the same digest.
//
// The package pushes nothing and deploys nothing, and never reads the
// environment.
package build

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/dockerfile"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/store"
)

// Options say what to build. Context is needed.
type Options struct {
	// Context is the folder that COPY copies from.
	Context string
	// Dockerfile is the Dockerfile's path; "" is Context/Dockerfile, and the
	// Python project itself where there is none.
	Dockerfile string
	// Base is what a project without a Dockerfile is built on; "" is
	// [DefaultBase].
	Base string
	// Target is the stage to build; "" is the last.
	Target    string
	BuildArgs map[string]string
	// Platforms to build for; none is linux on this machine's architecture.
	Platforms []v1.Platform
	// Bases maps names that a FROM or COPY --from uses to where they are taken
	// from instead.
	Bases       map[string]string
	Labels      map[string]string
	Annotations map[string]string
	// NoCache makes everything anew and resolves dependencies again; Pull asks
	// again for newer bases.
	NoCache, Pull bool
	// ExcludeNewer, where not zero, hides package files uploaded at that time or
	// later.
	ExcludeNewer time.Time
	// NoCompile leaves out bytecode, as pip's --no-compile does for one install.
	NoCompile bool
	// MaxLayers is how many layers an image has at most; 0 is [DefaultMaxLayers].
	// A base with as many has them all the same.
	MaxLayers   int
	Compression layers.Compression
	// Time is the time of everything in the image; zero is the Unix epoch.
	Time time.Time
}

// Builder holds what builds share. Store is needed.
type Builder struct {
	Store *store.Store
	// Base says how bases are found: the registries' credentials, the Debian
	// mirror. What a build decides in it (Store, Pull, Layer, Log, Progress) is set
	// by the build.
	Base base.Options
	// Index says where packages come from.
	Index IndexSettings
	// HTTP brings proxies and certificate authorities; nil is a plain client.
	HTTP *http.Client
	// Previous finds images whose layers may be used again where this machine has
	// no record of them; nil: there are none. It is called when something is not on
	// record, at most once for each platform. They are believed: what they say
	// their layers were made from is not checked.
	Previous func(ctx context.Context, platform v1.Platform) ([]v1.Image, error)
	// Ready, if set, is called with each layer whose bytes have been made, as soon
	// as they are in the store; by several goroutines.
	Ready func(v1.Layer)
	// Deferred leaves the bytes of layers that are on record where they are: the
	// result then is not kept in the store unless all of its layers are, and its
	// layers are fetched or made when they are opened, up to its Close.
	Deferred bool
	Log      *slog.Logger
	Progress func(what string, total int64) io.WriteCloser

	noSandbox error // set by tests
}

// Result is a finished image, which is in the store.
type Result struct {
	// Descriptor is the image's manifest or, for several platforms, the index.
	Descriptor v1.Descriptor
	// Images are the platforms' images, in the order of Platforms.
	Images    []v1.Image
	Platforms []v1.Platform
	// Index is nil for a single platform.
	Index v1.ImageIndex
	// Kept says that the image is whole in the store.
	Kept bool

	close []func()
}

// Close ends the use of the build context and of what else layers may still be
// made from.
func (r *Result) Close() {
	for _, f := range r.close {
		f()
	}
	r.close = nil
}

// Manifest returns the image or the index: what is pushed and named.
func (r *Result) Manifest() store.Manifest {
	if r.Index != nil {
		return r.Index
	}
	return r.Images[0]
}

// Build carries out a plan. The result is to be closed. If it fails, and something
// in the store turns out to be damaged, that is removed, and all is done once more.
func (b *Builder) Build(ctx context.Context, p *Plan) (*Result, error) {
	r, err := b.build(ctx, p)
	if err == nil || ctx.Err() != nil {
		return r, err
	}
	damaged := b.Store.Mend(ctx)
	if len(damaged) == 0 || ctx.Err() != nil {
		return r, err
	}
	b.log().Warn(fmt.Sprintf("%d files in the cache were damaged, and are fetched or made again: %v", len(damaged), err))
	return b.build(ctx, p)
}

func (b *Builder) build(ctx context.Context, p *Plan) (_ *Result, err error) {
	files, err := openContext(ctx, p.Options.Context, p.Options.Dockerfile, b.sumCache(p.Options.Context, p.Options))
	if err != nil {
		return nil, err
	}
	r := &Result{Kept: true, close: []func(){func() { files.Close() }}}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	for _, s := range files.skipped {
		b.log().Warn(fmt.Sprintf("left out of the context: %s", s))
	}
	sh := newShared(b, p.Options.NoCache, p.Options.NoCache || p.Options.Pull)
	r.close = append(r.close, sh.close)
	for i := range p.Platforms {
		run := b.platform(p, &p.Platforms[i], files, sh)
		r.close = append(r.close, run.close)
		last, err := run.stages(ctx)
		if err != nil {
			return nil, err
		}
		img, err := last.image(p.Options)
		if err != nil {
			return nil, err
		}
		if r.Descriptor, err = b.keep(ctx, img, r); err != nil {
			return nil, err
		}
		r.Images = append(r.Images, img)
		r.Platforms = append(r.Platforms, p.Platforms[i].Platform)
	}
	if len(r.Images) == 1 {
		return r, nil
	}
	if r.Index, err = assembleIndex(r.Images, r.Platforms, p.Options.Annotations); err != nil {
		return nil, err
	}
	if r.Kept {
		r.Descriptor, err = b.Store.PutIndex(ctx, r.Index)
		return r, err
	}
	d, err := partial.Descriptor(r.Index)
	if err != nil {
		return nil, err
	}
	r.Descriptor = *d
	return r, nil
}

// keep puts an image into the store, unless its layers are to stay where they
// are.
func (b *Builder) keep(ctx context.Context, img v1.Image, r *Result) (v1.Descriptor, error) {
	if b.Deferred {
		list, err := img.Layers()
		if err != nil {
			return v1.Descriptor{}, err
		}
		for _, l := range list {
			digest, err := l.Digest()
			if err != nil {
				return v1.Descriptor{}, err
			}
			if !b.Store.Has(digest) {
				r.Kept = false
				d, err := partial.Descriptor(img)
				if err != nil {
					return v1.Descriptor{}, err
				}
				return *d, nil
			}
		}
	}
	return b.Store.PutImage(ctx, img)
}

// platform prepares the build for one platform.
func (b *Builder) platform(p *Plan, pp *PlatformPlan, files *contextDir, sh *shared) *platformBuild {
	run := &platformBuild{Builder: b, shared: sh, plan: p, platform: pp, files: files, done: map[int]*stage{},
		steps: map[string]stepRecord{}, outlines: map[string][]byte{}}
	run.records = &records{store: b.Store, off: p.Options.NoCache, fresh: p.Options.Pull}
	if b.Previous != nil && !p.Options.NoCache {
		run.records.load = run.previous
	}
	return run
}

// previous reads the records of images that may be used again. Those that
// cannot be had are told of, and done without.
func (p *platformBuild) previous(ctx context.Context) []*carried {
	images, err := p.Previous(ctx, p.platform.Platform)
	if err != nil {
		p.log().Warn(fmt.Sprintf("no earlier image is used again: %v", err))
		return nil
	}
	var out []*carried
	for _, img := range images {
		c, err := readCarried(img)
		if err != nil {
			p.log().Warn(fmt.Sprintf("an earlier image is not used again: %v", err))
			continue
		}
		out = append(out, c)
	}
	return out
}

// stages builds all stages, and returns the last.
func (p *platformBuild) stages(ctx context.Context) (*stage, error) {
	stages := p.platform.resolved.Stages
	p.final = map[int]bool{}
	for i := len(stages) - 1; i >= 0; {
		st := stages[i]
		p.final[st.Index] = true
		i = -1
		if st.Base.IsStage {
			i = slices.IndexFunc(stages, func(o dockerfile.ResolvedStage) bool { return o.Index == st.Base.Stage })
		}
	}
	var last *stage
	for _, st := range stages {
		if st.Context != "" {
			continue // a build context of that name takes its place
		}
		s, err := p.stage(ctx, st)
		if err != nil {
			return nil, err
		}
		p.done[st.Index], last = s, s
	}
	return last, nil
}

// close ends the use of other contexts' files; what was copied is in the store.
func (p *platformBuild) close() {
	for _, c := range p.opened {
		c.Close()
	}
	for _, dir := range p.scratch {
		os.RemoveAll(dir)
	}
}

func (b *Builder) log() *slog.Logger {
	if b.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return b.Log
}

// IndexSettings say where Python packages come from, as found on this machine.
// What a Dockerfile or a requirements file says is added by the build.
type IndexSettings struct {
	// Flags are boyabuild's own flags and configuration: they beat everything
	// else, also what a Dockerfile or a requirements file says.
	Flags pip.Config
	// Host is what pip's and uv's settings on this machine say.
	Host pip.Config
	// HostDefault asks for the index that this machine's own pip would use by
	// default; nil: there is no pip.
	HostDefault func(ctx context.Context) (string, error)
	// Netrc has the machine's logins, Credentials asks a keyring.
	Netrc       index.Netrc
	Credentials func(ctx context.Context, origin string) (user, password string, ok bool, err error)
}
