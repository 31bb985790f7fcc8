package base

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// RegistryError reports a registry that does not give an image.
type RegistryError struct {
	Reference string
	Err       error
}

func (e *RegistryError) Error() string {
	switch e.status() {
	case http.StatusNotFound:
		return fmt.Sprintf("the registry has no image %s", e.Reference)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("the registry refuses %s: %v", e.Reference, e.Err)
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *RegistryError) Unwrap() error { return e.Err }

func (e *RegistryError) status() int {
	var answer *transport.Error
	if errors.As(e.Err, &answer) {
		return answer.StatusCode
	}
	return 0
}

// Hint says what can be done.
func (e *RegistryError) Hint() string {
	switch e.status() {
	case http.StatusNotFound:
		return "is the name right, and its tag?"
	case http.StatusUnauthorized, http.StatusForbidden:
		return "log in to the registry, or check the name: registries answer so for images that are not there, too"
	}
	return "where no registry can be reached, map the base to another: --build-context NAME=debian://trixie?packages=python3"
}

// registryRecord is what is kept of a reference: what it stood for.
type registryRecord struct {
	Digest v1.Hash `json:"digest"`
	Index  v1.Hash `json:"index,omitzero"`
}

// registry resolves a reference to an image in a registry.
func (r *resolver) registry(text string) error {
	ref, err := name.ParseReference(text, r.NameOptions...)
	if err != nil {
		return &RegistryError{text, err}
	}
	_, pinned := ref.(name.Digest)
	key := "base/registry/1 " + ref.Name() + " " + platformName(r.base.Platform)
	var known registryRecord
	if ok, err := r.Store.Record(key, &known); err != nil {
		return err
	} else if ok && (pinned || !r.Pull) {
		r.base.Index = known.Index
		pin := ref.Context().Digest(known.Digest.String())
		r.base.used[key] = known
		if ok, err := r.recall(known.Digest, r.fromRegistry(ref.Context()), pin); ok || err != nil {
			r.base.Reference = pin.Name()
			return err
		}
		// What the name stands for is on record, and the image is not.
		again, err := r.ask(pin)
		var gone *RegistryError
		switch {
		case err == nil:
			r.base.Index, again.Index = known.Index, known.Index
			return r.Store.SetRecord(key, again)
		case !errors.As(err, &gone) || gone.status() != http.StatusNotFound:
			return err
		}
		r.base.Index = v1.Hash{}
	}
	if known, err = r.ask(ref); err != nil {
		return err
	}
	r.base.used[key] = known
	return r.Store.SetRecord(key, known)
}

// ask asks the registry for a reference's image.
func (r *resolver) ask(ref name.Reference) (registryRecord, error) {
	got, err := remote.Get(ref, r.remote(r.ctx)...)
	if err != nil {
		return registryRecord{}, &RegistryError{ref.Name(), err}
	}
	record := registryRecord{Digest: got.Digest}
	var img v1.Image
	if got.MediaType.IsIndex() {
		record.Index = got.Digest
		img, record.Digest, err = r.fromIndex(got)
	} else {
		img, err = got.Image()
	}
	if err != nil {
		return record, err
	}
	pin := ref.Context().Digest(record.Digest.String())
	r.base.Index, r.base.Reference = record.Index, pin.Name()
	if err := r.adopt(img, record.Digest, r.fromRegistry(ref.Context()), pin); err != nil {
		if answer := new(transport.Error); errors.As(err, &answer) {
			return record, &RegistryError{pin.Name(), err}
		}
		return record, err
	}
	r.log().Info(fmt.Sprintf("resolved %s to %s", r.base.Name, record.Digest))
	return record, nil
}

// fromIndex chooses the platform's image.
func (r *resolver) fromIndex(got *remote.Descriptor) (v1.Image, v1.Hash, error) {
	index, err := got.ImageIndex()
	if err != nil {
		return nil, v1.Hash{}, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, v1.Hash{}, err
	}
	d, err := choose(m.Manifests, r.base.Platform)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	img, err := index.Image(d.Digest)
	return img, d.Digest, err
}

// remote returns the options for a registry.
func (r *resolver) remote(ctx context.Context) []remote.Option {
	options := []remote.Option{remote.WithContext(ctx), remote.WithUserAgent("boyabuild")}
	if r.Keychain != nil {
		options = append(options, remote.WithAuthFromKeychain(r.Keychain))
	}
	if r.Transport != nil {
		options = append(options, remote.WithTransport(r.Transport))
	}
	return options
}

// fromRegistry fetches layers of a repository.
func (r *resolver) fromRegistry(repository name.Repository) fetch {
	return func(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
		l, err := remote.Layer(repository.Digest(d.Digest.String()), r.remote(ctx)...)
		if err != nil {
			return nil, err
		}
		rc, err := l.Compressed()
		if err != nil {
			return nil, &RegistryError{repository.Name() + "@" + d.Digest.String(), err}
		}
		return rc, nil
	}
}
