package index

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxWheel bounds a wheel of unknown size; the largest in use have some 3 GB.
const maxWheel = 16 << 30

// Blob is a wheel or an sdist on this machine.
type Blob struct {
	Hash v1.Hash
	Path string // where the cache has it, or its owner: see [Blob.Unchanged]
	Size int64

	info fs.FileInfo // of one that is not in the cache
}

// Fetch brings a wheel or an sdist into the cache, unless it is there or on this
// machine, and verifies it against its size and every hash that is known. A broken
// download goes on where it stopped. The error is a *HashError when the bytes are
// others.
func (c *Client) Fetch(ctx context.Context, w python.File) (Blob, error) {
	if h, ok := sha256Of(w.Hashes); ok && c.cache.Has(h) {
		return c.blob(h)
	}
	blob, err := c.wheels.do(ctx, wheelKey(w), func(ctx context.Context) (Blob, error) { return c.download(ctx, w) })
	if err != nil {
		return Blob{}, fmt.Errorf("fetch %s: %w", w.Filename, err)
	}
	return blob, nil
}

// download brings a file into the cache whatever is there; one on this machine
// stays where it is.
func (c *Client) download(ctx context.Context, w python.File) (Blob, error) {
	u, err := url.Parse(w.URL)
	if err != nil {
		return Blob{}, redactURLError(err)
	}
	if u.Scheme == "file" {
		return c.local(ctx, w, u)
	}
	body, err := c.open(ctx, u)
	if err != nil {
		return Blob{}, err
	}
	return c.keep(ctx, w, body)
}

// wheelKey names a wheel among those that were fetched. The hashes are a part
// of it: the same URL with other hashes must fail, not succeed because the file
// is here already.
func wheelKey(w python.File) string {
	key := w.URL
	for _, algorithm := range sortedAlgorithms(w.Hashes) {
		key += " " + algorithm + ":" + w.Hashes[algorithm]
	}
	return key
}

func (c *Client) blob(h v1.Hash) (Blob, error) {
	path := c.cache.File(h)
	info, err := os.Stat(path)
	if err != nil {
		return Blob{}, err
	}
	return Blob{Hash: h, Path: path, Size: info.Size()}, nil
}

// isIntact reports whether a blob has the content that its hash says.
func isIntact(b Blob) bool {
	f, err := os.Open(b.Path)
	if err != nil {
		return false
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == b.Hash.Hex
}

// open starts to read a file of a server.
func (c *Client) open(ctx context.Context, u *url.URL) (io.ReadCloser, error) {
	// A compressed transfer could not go on where it stopped.
	resp, err := c.http.get(ctx, u, http.Header{"Accept-Encoding": {"identity"}})
	if err != nil {
		return nil, err
	}
	return c.resuming(ctx, resp), nil
}

func openLocal(u *url.URL) (*os.File, error) {
	path, err := localPath(u)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s is not a file", path))
	}
	return f, nil
}

// keep reads a wheel into the cache and verifies it on the way.
func (c *Client) keep(ctx context.Context, w python.File, body io.ReadCloser) (Blob, error) {
	defer body.Close()
	total := w.Size
	if total == 0 {
		total = -1
	}
	progress := c.progress(w.Filename, total)
	defer progress.Close()
	var want *v1.Hash
	if h, ok := sha256Of(w.Hashes); ok {
		want = &h
	}
	h, _, err := c.cache.Put(ctx, newVerifier(io.TeeReader(body, progress), w), want)
	if err != nil {
		return Blob{}, err
	}
	return c.blob(h)
}

// verifier reads a file and answers with an error instead of io.EOF when it is
// not the one that was promised, so that the cache keeps nothing of it.
type verifier struct {
	r      io.Reader
	file   python.File
	read   int64
	hashes map[string]hash.Hash
}

func newVerifier(r io.Reader, w python.File) *verifier {
	v := &verifier{r: r, file: w, hashes: map[string]hash.Hash{}}
	for algorithm := range w.Hashes {
		if h := newHash(algorithm); h != nil {
			v.hashes[algorithm] = h
		}
	}
	return v
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	for _, h := range v.hashes {
		h.Write(p[:n])
	}
	v.read += int64(n)
	limit := v.file.Size
	if limit == 0 {
		limit = maxWheel
	}
	if v.read > limit {
		return n, fmt.Errorf("more than %d bytes", limit)
	}
	if err != io.EOF {
		return n, err
	}
	for _, algorithm := range sortedAlgorithms(v.file.Hashes) {
		h, ok := v.hashes[algorithm]
		if !ok {
			continue
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != v.file.Hashes[algorithm] {
			return n, &HashError{Subject: v.file.Filename, Algorithm: algorithm, Want: v.file.Hashes[algorithm], Got: got}
		}
	}
	if v.file.Size != 0 && v.read != v.file.Size {
		return n, fmt.Errorf("%d bytes, but the index says %d", v.read, v.file.Size)
	}
	return n, io.EOF
}

// newHash is the hash of an algorithm as indexes and requirements name it
// (hashlib's names); nil for one that is not known. MD5 and SHA-1 stand in old
// indexes and are checked where they do; they prove nothing against an attacker.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha256":
		return sha256.New()
	case "sha224":
		return sha256.New224()
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	case "sha3_256":
		return sha3.New256()
	case "sha3_384":
		return sha3.New384()
	case "sha3_512":
		return sha3.New512()
	case "sha1":
		return sha1.New()
	case "md5":
		return md5.New()
	}
	return nil
}

func sha256Of(hashes map[string]string) (v1.Hash, bool) {
	sum, ok := hashes["sha256"]
	return v1.Hash{Algorithm: "sha256", Hex: sum}, ok && len(sum) == 64
}

func sortedAlgorithms(hashes map[string]string) []string {
	out := make([]string, 0, len(hashes))
	for algorithm := range hashes {
		out = append(out, algorithm)
	}
	slices.Sort(out)
	return out
}

// resumingBody reads a response, and when the connection breaks asks for the
// rest.
type resumingBody struct {
	ctx   context.Context
	c     *Client
	url   *url.URL
	body  io.ReadCloser
	etag  string
	total int64 // -1 = unknown
	read  int64
	tries int
}

func (c *Client) resuming(ctx context.Context, resp *http.Response) *resumingBody {
	b := &resumingBody{ctx: ctx, c: c, url: resp.Request.URL, body: resp.Body, total: resp.ContentLength}
	// If-Range needs a strong validator (RFC 9110, 13.1.5).
	if etag := resp.Header.Get("ETag"); len(etag) > 1 && etag[0] == '"' {
		b.etag = etag
	}
	return b
}

func (b *resumingBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.read += int64(n)
	if err == nil || err == io.EOF && (b.total < 0 || b.read == b.total) {
		return n, err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if b.ctx.Err() != nil {
		return n, context.Cause(b.ctx)
	}
	if b.tries++; b.tries >= tries || !temporary(err) {
		return n, b.broken(err)
	}
	if again := b.resume(); again != nil {
		return n, fmt.Errorf("%w; asked for the rest: %w", b.broken(err), again)
	}
	return n, nil
}

// broken says how far a download came.
func (b *resumingBody) broken(err error) error {
	if b.total < 0 {
		return fmt.Errorf("%s: broke off after %d bytes: %w", redact(b.url), b.read, err)
	}
	return fmt.Errorf("%s: broke off after %d of %d bytes: %w", redact(b.url), b.read, b.total, err)
}

// resume asks for what is missing. A server that sends the whole file again is
// read up to where we were; that it is the same file, the hash will tell.
func (b *resumingBody) resume() error {
	b.body.Close()
	if err := sleep(b.ctx, b.c.http.wait(b.tries, nil)); err != nil {
		return err
	}
	header := http.Header{"Accept-Encoding": {"identity"}, "Range": {fmt.Sprintf("bytes=%d-", b.read)}}
	if b.etag != "" {
		header.Set("If-Range", b.etag)
	}
	resp, err := b.c.http.get(b.ctx, b.url, header)
	if err != nil {
		return err
	}
	b.body = resp.Body
	if resp.StatusCode == http.StatusPartialContent {
		if from, _, err := partOf(resp); err != nil || from != b.read {
			return fmt.Errorf("%s sent another part than it was asked for", redact(b.url))
		}
		return nil
	}
	_, err = io.CopyN(io.Discard, b.body, b.read)
	return err
}

func (b *resumingBody) Close() error { return b.body.Close() }
