package index

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// maxMetadata bounds METADATA; the largest known, with its description, have
// about 1 MB.
const maxMetadata = 16 << 20

// Metadata reads the core metadata of a wheel or an sdist.
//
// Of a wheel by the cheapest way that there is: what the cache or this machine
// has, the file that the index advertises (PEP 658), the end of the wheel by
// HTTP ranges, the whole wheel, which is then kept. What cannot be used is tried
// the next way, so that a version is given up only for what its wheel says. A
// ".metadata" that is not advertised is never asked for: servers answer 404 for
// it, or worse. Metadata that came by ranges is as trustworthy as the
// connection: the hash of the wheel is verified when Fetch gets all of it.
//
// Of an sdist it is what its PKG-INFO says, if that is static (PEP 643): as the
// index advertises it, or read from the sdist by Options.Sdist; else that of
// the wheel that Options.Build makes of it.
//
// The error is an *InvalidWheelError when the metadata is there but wrong, an
// *UnbuiltError when only building would tell it and there is no Options.Build:
// another version may be tried then. It is anything else when the metadata
// could not be had.
func (c *Client) Metadata(ctx context.Context, f File) (python.Metadata, error) {
	key := f.URL
	if h, ok := sha256Of(f.Hashes); ok {
		key = h.String()
	}
	m, err := c.metadata.do(ctx, key, func(ctx context.Context) (python.Metadata, error) {
		text, err := c.metadataText(ctx, f)
		if err != nil {
			return python.Metadata{}, err
		}
		return parseMetadata(f, text)
	})
	if err != nil {
		return python.Metadata{}, fmt.Errorf("read metadata of %s: %w", f.Filename, err)
	}
	return m, nil
}

// metadataRecord is what is kept of a METADATA: its header fields.
type metadataRecord struct {
	Headers string `json:"headers"`
}

func (c *Client) metadataText(ctx context.Context, f File) ([]byte, error) {
	if f.Kind == Sdist {
		return c.sdistText(ctx, f)
	}
	key := recordKey("wheel-metadata", f)
	if text := c.recorded(key); text != nil {
		return text, nil
	}
	text, err := c.readMetadata(ctx, f)
	if err != nil {
		return nil, err
	}
	return c.record(key, headers(text)), nil
}

// recordKey is the key of what is known of a file; "" for a file without a
// hash, of which nothing is kept.
func recordKey(kind string, f File) string {
	h, ok := sha256Of(f.Hashes)
	if !ok {
		return ""
	}
	return kind + "/" + h.String()
}

func (c *Client) recorded(key string) []byte {
	var known metadataRecord
	if key == "" {
		return nil
	}
	if ok, err := c.cache.Record(key, &known); err != nil || !ok || known.Headers == "" {
		return nil
	}
	return []byte(known.Headers)
}

func (c *Client) record(key string, text []byte) []byte {
	if key == "" {
		return text
	}
	if err := c.cache.SetRecord(key, metadataRecord{string(text)}); err != nil {
		c.log.Debug(fmt.Sprintf("keep %s: %v", key, err))
	}
	return text
}

// readMetadata is the ladder.
func (c *Client) readMetadata(ctx context.Context, f File) ([]byte, error) {
	h, hashed := sha256Of(f.Hashes)
	u, err := url.Parse(f.URL)
	if err != nil {
		return nil, redactURLError(err)
	}
	switch {
	case u.Scheme == "file" && !hashed: // it is hashed if it is chosen
		path, err := localPath(u)
		if err != nil {
			return nil, err
		}
		return readWheel(path, f)
	case f.Local() || hashed && c.cache.Has(h):
		return c.wholeWheel(ctx, f)
	}
	if f.CoreMetadata {
		text, err := c.advertised(ctx, f, u)
		if err == nil {
			_, err = parseMetadata(f, text) // servers have answered with a page that says "not found"
		}
		var missing *NotFoundError
		var invalid *InvalidWheelError
		if !errors.As(err, &missing) && !errors.As(err, &invalid) {
			return text, err
		}
		c.log.Debug(fmt.Sprintf("%s advertises metadata of %s, which cannot be used: %v", f.Index, f.Filename, err))
	}
	if f.Size > 0 && f.Size <= tailSize {
		return c.wholeWheel(ctx, f) // one request either way, and the wheel is kept
	}
	text, err := c.ranged(ctx, f, u)
	var unusable *rangeError
	if !errors.As(err, &unusable) {
		return text, err
	}
	c.log.Debug(fmt.Sprintf("%s: %v; the whole wheel is fetched", f.Filename, err))
	return c.wholeWheel(ctx, f)
}

// advertised reads the metadata file of PEP 658 and verifies it.
func (c *Client) advertised(ctx context.Context, f File, u *url.URL) ([]byte, error) {
	at := *u
	at.Path, at.RawPath = u.Path+".metadata", ""
	if u.RawPath != "" {
		at.RawPath = u.RawPath + ".metadata"
	}
	_, text, err := c.http.read(ctx, &at, http.Header{}, maxMetadata)
	if err != nil {
		return nil, err
	}
	for _, algorithm := range sortedAlgorithms(f.MetadataHashes) {
		if h := newHash(algorithm); h != nil {
			h.Write(text)
			if got := hex.EncodeToString(h.Sum(nil)); got != f.MetadataHashes[algorithm] {
				return nil, &HashError{Subject: f.Filename + ".metadata", Algorithm: algorithm, Want: f.MetadataHashes[algorithm], Got: got}
			}
		}
	}
	return text, nil
}

// wholeWheel reads the metadata out of the wheel in the cache. One that is
// damaged there is fetched again.
func (c *Client) wholeWheel(ctx context.Context, f File) ([]byte, error) {
	blob, err := c.Fetch(ctx, f.Locked())
	if err != nil {
		return nil, err
	}
	text, err := readWheel(blob.Path, f)
	var invalid *InvalidWheelError
	if !errors.As(err, &invalid) || blob.InPlace() || isIntact(blob) {
		return text, err
	}
	c.log.Warn(fmt.Sprintf("%s is damaged in the cache, and fetched again", f.Filename))
	if err := os.Remove(blob.Path); err != nil {
		return nil, err
	}
	if blob, err = c.download(ctx, f.Locked()); err != nil {
		return nil, err
	}
	return readWheel(blob.Path, f)
}

func readWheel(path string, f File) ([]byte, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, &InvalidWheelError{f.Filename, err}
	}
	defer z.Close()
	return zipMetadata(&z.Reader, f)
}

// zipMetadata finds and reads NAME-VERSION.dist-info/METADATA.
func zipMetadata(z *zip.Reader, f File) ([]byte, error) {
	var found *zip.File
	for _, entry := range z.File {
		dir, ok := strings.CutSuffix(entry.Name, ".dist-info/METADATA")
		if !ok || strings.Contains(dir, "/") {
			continue
		}
		// Old wheels escape the name in other ways than the file name does.
		name, _, _ := strings.Cut(dir, "-")
		if python.NormalizeName(name) != f.Project {
			continue
		}
		if found != nil {
			return nil, &InvalidWheelError{f.Filename, errors.New("more than one METADATA")}
		}
		found = entry
	}
	if found == nil {
		return nil, &InvalidWheelError{f.Filename, errors.New("no METADATA in it")}
	}
	r, err := found.Open()
	if err != nil {
		return nil, &InvalidWheelError{f.Filename, err}
	}
	defer r.Close()
	text, err := readLimit(r, maxMetadata)
	if err != nil {
		return nil, &InvalidWheelError{f.Filename, err}
	}
	return text, nil
}

// headers are the fields of a METADATA that are ever looked at, without the
// description below them: a third of the bytes, which are read at every
// resolution.
func headers(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	if i := bytes.Index(text, []byte("\n\n")); i >= 0 {
		text = text[:i+1]
	}
	out := make([]byte, 0, len(text))
	dropped := false
	for line := range bytes.Lines(text) {
		if line[0] != ' ' && line[0] != '\t' { // else it goes on
			name, _, _ := bytes.Cut(line, []byte(":"))
			dropped = isUnused(string(name))
		}
		if !dropped {
			out = append(out, line...)
		}
	}
	return out
}

// isUnused names the fields that tell a person something, and no resolver. What
// is not known is kept, and what is no field.
func isUnused(name string) bool {
	switch strings.ToLower(name) {
	case "author", "author-email", "maintainer", "maintainer-email", "classifier", "keywords", "platform",
		"home-page", "download-url", "project-url", "description", "description-content-type", "license-file":
		return true
	}
	return false
}

// parseMetadata parses and checks that it is about the file it came from.
func parseMetadata(f File, text []byte) (python.Metadata, error) {
	m, err := python.ParseMetadata(text)
	if err != nil || len(m.Problems) > 0 {
		m, err = python.ParseMetadata(repairMetadata(text))
	}
	if err != nil {
		return python.Metadata{}, &InvalidWheelError{f.Filename, err}
	}
	if python.NormalizeName(m.Name) != f.Project {
		return python.Metadata{}, &InvalidWheelError{f.Filename, fmt.Errorf("its METADATA is that of %s", m.Name)}
	}
	if m.Version.Compare(f.Version) != 0 {
		return python.Metadata{}, &InvalidWheelError{f.Filename, fmt.Errorf("its METADATA is that of version %s", m.Version)}
	}
	return m, nil
}
