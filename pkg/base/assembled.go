package base

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// searchPath is where programs are looked for in an assembled base, as in every
// Debian image.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// part is a layer of an assembled base, and what the image's history says of it.
type part struct {
	Layer layers.Descriptor `json:"layer"`
	Says  string            `json:"says"`
}

// assembled makes the base of Debian packages: of those that the name was
// resolved to before, unless Pull is set, and with the layers that were made of
// those before, if they are still there.
func (r *resolver) assembled(text string) error {
	spec, err := debian.ParseSpec(text)
	if err != nil {
		return err
	}
	if r.base.Platform.OS != "linux" {
		return &PlatformError{Want: r.base.Platform, Have: []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}}
	}
	arch := debian.Architecture(r.base.Platform.Architecture, r.base.Platform.Variant)
	switch {
	case arch == "":
		return &debian.SpecError{Text: text, Reason: "Debian has no architecture for " + platformName(r.base.Platform)}
	case spec.Arch == "":
		spec.Arch = arch
	case spec.Arch != arch:
		return &debian.SpecError{Text: text, Reason: fmt.Sprintf("its arch is %s, but the image is for %s", spec.Arch, platformName(r.base.Platform))}
	}
	lock, fresh, err := r.lock(spec)
	if err != nil {
		return err
	}
	parts, err := r.parts(spec, lock)
	if gone := new(debian.GoneError); errors.As(err, &gone) && !fresh {
		// The packages were in the store once; newer ones have replaced them on the mirror.
		r.log().Warn(fmt.Sprintf("the mirror no longer has %s; resolving anew", gone.Package))
		r.Pull = true
		if lock, _, err = r.lock(spec); err == nil {
			parts, err = r.parts(spec, lock)
		}
	}
	if err != nil {
		return err
	}
	r.base.Debian = &lock
	return r.composeParts(spec, lock, parts)
}

// lock returns the packages that a spec stands for, and whether the mirror was
// asked for them now.
func (r *resolver) lock(spec debian.Spec) (lock debian.Lock, fresh bool, err error) {
	// What is in a keyring counts, and not where it lies.
	keyring := r.Debian.Keyring
	if spec.SignedBy != "" {
		if keyring, err = spec.ReadKeyring(); err != nil {
			return lock, false, err
		}
	}
	// Which mirror it was, and whose keyring, is this machine's business: what a
	// name stands for is the same for all.
	input, signers := spec, ""
	if input.SignedBy = ""; spec.SignedBy != "" {
		signers = keyring.Digest()
	}
	key, err := keyOf("base/debian/3", input, signers)
	if err != nil {
		return lock, false, err
	}
	defer func() {
		if err == nil {
			told := lock
			told.Dates = nil // they change where no package does
			r.base.used[key] = told
		}
	}()
	if ok, err := r.Store.Record(key, &lock); err != nil || (ok && !r.Pull && lock.Rules == debian.Rules) {
		return lock, false, err
	}
	err = r.withScratch(func(o debian.Options) error {
		lock, err = debian.Resolve(r.ctx, spec, o)
		return err
	})
	if err != nil {
		return lock, false, err
	}
	return lock, true, r.Store.SetRecord(key, lock)
}

// parts returns the layers that a lock gives, and makes those that are not in
// the store.
func (r *resolver) parts(spec debian.Spec, lock debian.Lock) (parts []part, err error) {
	key, err := keyOf("base/assembled/1", lock.Rules, lock.Packages, r.Layer.Key())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			r.base.used[key] = parts
		}
	}()
	if ok, err := r.Store.Record(key, &parts); err != nil {
		return nil, err
	} else if ok && !slices.ContainsFunc(parts, func(p part) bool { return !r.hasLayer(p.Layer.Digest) }) {
		return parts, nil
	}
	err = r.withScratch(func(o debian.Options) error {
		parts, err = r.assemble(spec, lock, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return parts, r.Store.SetRecord(key, parts)
}

// hasLayer says whether a layer is at hand, or is in an image that has it.
func (r *resolver) hasLayer(digest v1.Hash) bool {
	if r.Store.Has(digest) {
		return true
	}
	if r.Source == nil {
		return false
	}
	_, ok := r.Source(digest)
	return ok
}

// assemble makes the layers of a lock.
func (r *resolver) assemble(spec debian.Spec, lock debian.Lock, o debian.Options) (parts []part, err error) {
	root, err := debian.Assemble(r.ctx, spec, lock, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, tree := range []struct {
		tree layers.Tree
		os   bool
	}{{root.OS, true}, {root.Packages, false}} {
		if tree.tree.Len() == 0 {
			continue
		}
		d, err := r.Store.AddLayer(r.ctx, tree.tree, r.Layer)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{d, says(lock, tree.os)})
	}
	return parts, nil
}

// withScratch calls work with a directory of the store for what is in progress.
func (r *resolver) withScratch(work func(debian.Options) error) (err error) {
	o := r.Debian
	if o.Scratch, err = r.Store.TempDir("base-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Scratch)) }()
	return work(o)
}

// says names the packages of a layer.
func says(lock debian.Lock, system bool) string {
	var names []string
	for _, p := range lock.Packages {
		if p.OS == system {
			names = append(names, p.Name+"="+p.Version)
		}
	}
	return fmt.Sprintf("Debian %s (%s): %s", lock.Suite, lock.Arch, strings.Join(names, " "))
}

func (r *resolver) composeParts(spec debian.Spec, lock debian.Lock, parts []part) error {
	config := v1.Config{Env: []string{"PATH=" + searchPath, "LANG=C.UTF-8"}}
	if _, ok := lock.Package("python3"); ok {
		config.Cmd = []string{"python3"}
	}
	var made []layers.Descriptor
	var history []v1.History
	for _, p := range parts {
		made = append(made, p.Layer)
		history = append(history, v1.History{Created: v1.Time{Time: r.created()}, CreatedBy: p.Says})
	}
	// A layer that was only seen in another image is assembled if need be.
	return r.compose(config, made, history, func(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
		err := r.withScratch(func(o debian.Options) error {
			_, err := r.assemble(spec, lock, o)
			return err
		})
		if err != nil {
			return nil, err
		}
		blob, _, err := r.Store.Blob(d.Digest)
		return blob, err
	})
}

// keyOf makes a record's key of all that shapes the record.
func keyOf(kind string, inputs ...any) (string, error) {
	b, err := json.Marshal(inputs)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return kind + " " + hex.EncodeToString(sum[:]), nil
}
