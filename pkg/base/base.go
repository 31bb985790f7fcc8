// Package base finds the image that a build starts from, and what is known of
// it.
//
// A base's name goes in: a reference to a registry, an OCI layout, an archive
// of docker save, "debian://…" for a root assembled of Debian packages, or
// "scratch". Out comes a [Base]: a v1.Image for one platform, whose layers are
// fetched when they are read and then kept in the store, and the [Facts] that a
// build needs: which Python there is, where its packages go, which C library.
// Facts are read from the image's files once and kept under its digest.
//
// The package never runs anything of the image, and asks a registry or a mirror
// only for what the store does not have.
package base

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// Store keeps images' parts on this machine. A store of this project is one.
type Store interface {
	debian.Cache
	// Record reads what SetRecord kept under a key; false if there is nothing.
	Record(key string, v any) (bool, error)
	SetRecord(key string, v any) error
	// AddLayer keeps a tree as a layer.
	AddLayer(ctx context.Context, t layers.Tree, o layers.Options) (layers.Descriptor, error)
	// PutLayer keeps a layer.
	PutLayer(ctx context.Context, l v1.Layer) error
	// TempDir makes a directory for work in progress.
	TempDir(pattern string) (string, error)
}

// Options are what [Resolve] works with.
type Options struct {
	// Store is required.
	Store Store
	// Keychain has the credentials for registries; nil is none.
	Keychain authn.Keychain
	// Transport carries requests to registries; nil is
	// go-containerregistry's own.
	Transport http.RoundTripper
	// NameOptions are for reading references.
	NameOptions []name.Option
	// Debian is how Debian's packages are got. Its Cache, Scratch, Log and
	// Progress are set from here.
	Debian debian.Options
	// Pull asks registries and mirrors again for what a name stands for now.
	Pull bool
	// Layer shapes the layers of an assembled base; its Time is also when the
	// image says it was created.
	Layer layers.Options
	// Source, if set, finds layers by their digests in images other than the base
	// itself; it is asked before the base's own registry or mirror is.
	Source func(digest v1.Hash) (v1.Layer, bool)
	// Log takes a line for each step; nil discards them.
	Log *slog.Logger
	// Progress opens a bar for the download of total bytes (-1: unknown).
	Progress func(what string, total int64) io.WriteCloser
}

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

func (o Options) progress(what string, total int64) io.WriteCloser {
	return debian.OpenBar(o.Progress, what, total)
}

// Base is an image that a build starts from.
type Base struct {
	// Name is what it was asked for by.
	Name string
	// Reference names the same image for good: "example.com/python@sha256:…"
	// for one from a registry, else Name.
	Reference string
	// Digest is that of the platform's manifest; Index that of the index it was
	// chosen from, zero if there was none.
	Digest, Index v1.Hash
	Platform      v1.Platform
	// Image fetches its layers when they are read.
	Image v1.Image
	// Debian names the packages that the base was assembled of; nil for others.
	Debian *debian.Lock

	o    Options
	ctx  context.Context // ends reads of layers
	tree func() (layers.Tree, error)
	// used are the records that say what the name stands for, by their keys.
	used map[string]any
}

// Records are the records by which the base was resolved, by their keys: with
// them in its Store another machine resolves the same name to the same image,
// and asks for no more than the image's manifest and config. A base that lies on
// this machine has none.
func (b *Base) Records() map[string]any { return maps.Clone(b.used) }

// Schemes of bases' names. A name without one is a reference to a registry, or
// a directory if it begins with "/", "./" or "../".
const (
	schemeImage   = "docker-image://"
	schemeLayout  = "oci-layout://"
	schemeArchive = "docker-archive://"
	// Scratch is the name of the base with nothing in it.
	Scratch = "scratch"
)

// Resolve finds the base that name stands for, for one platform; an empty OS is
// linux.
//
// Without Options.Pull a name that was resolved before stands for the same image
// again, and nothing is asked of a registry or mirror. The context ends later
// reads of the image's layers, too.
//
// Errors: [*PlatformError], [*RegistryError], [*LayoutError],
// [*debian.SpecError] and the others of package debian.
func Resolve(ctx context.Context, ref string, platform v1.Platform, o Options) (*Base, error) {
	if platform.OS == "" {
		platform.OS = "linux"
	}
	b := &Base{Name: ref, Reference: ref, Platform: platform, o: o, ctx: ctx, used: map[string]any{}}
	o.Debian.Cache, o.Debian.Log, o.Debian.Progress = o.Store, o.Log, o.Progress
	r := &resolver{Options: o, ctx: ctx, base: b}
	err := r.resolve(ref)
	var spec *debian.SpecError
	switch {
	case errors.As(err, &spec):
		return nil, err // names the base itself
	case err != nil:
		return nil, fmt.Errorf("resolve base %s: %w", ref, err)
	}
	return b, nil
}

// resolver resolves one base.
type resolver struct {
	Options
	ctx  context.Context
	base *Base
}

func (r *resolver) resolve(ref string) error {
	if rest, ok := strings.CutPrefix(ref, schemeLayout); ok {
		dir, selector := cutSelector(rest)
		return r.layout(dir, selector)
	}
	if file, ok := strings.CutPrefix(ref, schemeArchive); ok {
		return r.archive(file)
	}
	switch {
	case ref == Scratch:
		return r.scratch()
	case strings.HasPrefix(ref, debian.Scheme):
		return r.assembled(ref)
	case filepath.IsAbs(ref) || strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../") || ref == ".":
		return r.layout(ref, "")
	}
	return r.registry(strings.TrimPrefix(ref, schemeImage))
}

// scratch makes the image without layers.
func (r *resolver) scratch() error {
	return r.compose(v1.Config{}, nil, nil, nil)
}

// created is the time of creation of an image made here.
func (o Options) created() time.Time {
	if o.Layer.Time.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return time.Unix(o.Layer.Time.Unix(), 0).UTC()
}
