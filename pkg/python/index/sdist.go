package index

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// UnbuiltError says that an sdist would have to be built, and that the client
// cannot do that.
type UnbuiltError struct {
	Filename string
	Metadata bool // to know its metadata; false = to install it
}

func (e *UnbuiltError) Error() string {
	if e.Metadata {
		return e.Filename + ": its metadata is dynamic and only building it would tell"
	}
	return e.Filename + ": it would have to be built, and nothing is built here"
}

// Hint says what can be done.
func (e *UnbuiltError) Hint() string {
	return "build a wheel of it once (pip wheel --no-deps) and give its folder with --find-links"
}

// sdistText is the metadata of an sdist. Static metadata is that of the sdist
// whoever builds it and is kept as such; what a build gave holds for that build.
func (c *Client) sdistText(ctx context.Context, f File) ([]byte, error) {
	key := recordKey("sdist-metadata", f)
	if text := c.recorded(key); text != nil {
		return text, nil
	}
	built := key
	if built != "" {
		built += "/" + c.buildKey
	}
	if c.build != nil {
		if text := c.recorded(built); text != nil {
			return text, nil
		}
	}
	text, err := c.advertisedSdist(ctx, f)
	if err != nil {
		return nil, err
	}
	if text != nil {
		return c.record(key, text), nil
	}
	text, err = c.staticSdist(ctx, f)
	if err != nil {
		return nil, err
	}
	if text != nil {
		return c.record(key, text), nil
	}
	if c.build == nil {
		return nil, &UnbuiltError{f.Filename, true}
	}
	w, err := c.buildSdist(ctx, f.Locked())
	if err != nil {
		return nil, err
	}
	wheel := f
	wheel.Filename = w.filename
	if text, err = readWheel(w.Path, wheel); err != nil {
		return nil, err
	}
	return c.record(built, headers(text)), nil
}

// advertisedSdist is the PKG-INFO that the index serves; nil where it serves
// none, or one that a build may change.
func (c *Client) advertisedSdist(ctx context.Context, f File) ([]byte, error) {
	if !f.CoreMetadata || f.Local() {
		return nil, nil
	}
	u, err := url.Parse(f.URL)
	if err != nil {
		return nil, redactURLError(err)
	}
	text, err := c.advertised(ctx, f, u)
	var missing *NotFoundError
	if errors.As(err, &missing) {
		c.log.Debug(fmt.Sprintf("%s advertises metadata of %s but does not have it", f.Index, f.Filename))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text = headers(text)
	m, err := python.ParseMetadata(text)
	if err != nil || !m.IsStatic("Requires-Dist") || !m.IsStatic("Requires-Python") || !m.IsStatic("Provides-Extra") {
		return nil, nil
	}
	return text, nil
}

// staticSdist is the metadata that can be read out of the sdist itself; nil
// where a build may change it.
func (c *Client) staticSdist(ctx context.Context, f File) ([]byte, error) {
	if c.sdist == nil {
		return nil, nil
	}
	blob, err := c.Fetch(ctx, f.Locked())
	if err != nil {
		return nil, err
	}
	m, static, err := c.sdist(blob.Path, f.Filename)
	switch {
	case err != nil && c.build != nil:
		// Old sdists have no PKG-INFO, or none that can be read; what is built
		// from them has METADATA.
		c.log.Debug(fmt.Sprintf("read metadata of %s: %v", f.Filename, err))
		return nil, nil
	case err != nil:
		return nil, &InvalidWheelError{f.Filename, err}
	case !static:
		return nil, nil
	}
	return metadataHeaders(m), nil
}

// metadataHeaders writes the fields that a resolver needs as they stand in a
// PKG-INFO.
func metadataHeaders(m python.Metadata) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Metadata-Version: 2.2\nName: %s\nVersion: %s\n", m.Name, m.Version)
	if len(m.RequiresPython) > 0 {
		fmt.Fprintf(&b, "Requires-Python: %s\n", m.RequiresPython)
	}
	for _, q := range m.RequiresDist {
		fmt.Fprintf(&b, "Requires-Dist: %s\n", q)
	}
	for _, e := range m.ProvidesExtra {
		fmt.Fprintf(&b, "Provides-Extra: %s\n", e)
	}
	return []byte(b.String())
}

// builtWheel is a wheel that was made of an sdist.
type builtWheel struct {
	Blob
	filename string
}

// buildSdist makes a wheel of an sdist, once.
func (c *Client) buildSdist(ctx context.Context, sdist python.File) (builtWheel, error) {
	return c.builds.do(ctx, wheelKey(sdist), func(ctx context.Context) (builtWheel, error) {
		blob, err := c.Fetch(ctx, sdist)
		if err != nil {
			return builtWheel{}, err
		}
		if sdist.Hashes["sha256"] == "" {
			hashes := map[string]string{"sha256": blob.Hash.Hex}
			maps.Copy(hashes, sdist.Hashes)
			sdist.Hashes = hashes
		}
		wheel, filename, err := c.build(ctx, sdist, blob.Path)
		if err != nil {
			return builtWheel{}, fmt.Errorf("build %s: %w", sdist.Filename, err)
		}
		return builtWheel{wheel, filename}, nil
	})
}

// Wheel brings the wheel of a locked package into the cache and returns it with
// its file name: the one that the lock names, or one built from the sdist that
// it names. The error is an *UnbuiltError where that is needed and there is no
// Options.Build.
func (c *Client) Wheel(ctx context.Context, l python.Locked) (Blob, string, error) {
	if l.Wheel.Filename != "" || l.Sdist.Filename == "" {
		blob, err := c.Fetch(ctx, l.Wheel)
		return blob, l.Wheel.Filename, err
	}
	if c.build == nil {
		return Blob{}, "", &UnbuiltError{l.Sdist.Filename, false}
	}
	w, err := c.buildSdist(ctx, l.Sdist)
	return w.Blob, w.filename, err
}
