package index

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/statcache"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Unchanged says that the file at Path is still the one that has the hash. One
// of --find-links stays where it is, where others may change it: what was made of
// it counts only if this is true afterwards. The error wraps statcache.ErrChanged.
func (b Blob) Unchanged() error {
	if b.info == nil {
		return nil
	}
	now, err := os.Stat(b.Path)
	if err == nil && !statcache.Same(b.info, now) {
		err = statcache.ErrChanged
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", b.Path, err)
	}
	return nil
}

// InPlace says that the file lies where its owner has it, and not in the cache.
func (b Blob) InPlace() bool { return b.info != nil }

// local finds out the hash of a file on this machine, which stays where it is,
// and verifies it against its size and every hash that is known. It is not read
// again where its stat data shows that it has not changed.
func (c *Client) local(ctx context.Context, w python.File, u *url.URL) (Blob, error) {
	f, err := openLocal(u)
	if err != nil {
		return Blob{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Blob{}, err
	}
	b := Blob{Path: f.Name(), Size: info.Size(), info: info}
	want, hashed := sha256Of(w.Hashes)
	if len(w.Hashes) > 1 || len(w.Hashes) == 1 && !hashed {
		progress := c.progress(w.Filename, b.Size)
		defer progress.Close()
		if _, err := io.Copy(progress, newVerifier(&reader{ctx, f}, w)); err != nil {
			return Blob{}, err
		}
	}
	sum, err := c.sums.Hash(ctx, b.Path, info, func() (*os.File, error) { return openLocal(u) })
	if err != nil {
		return Blob{}, err
	}
	b.Hash = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	switch {
	case hashed && b.Hash != want:
		return Blob{}, &HashError{Subject: w.Filename, Algorithm: "sha256", Want: want.Hex, Got: b.Hash.Hex}
	case w.Size != 0 && w.Size != b.Size:
		return Blob{}, fmt.Errorf("%d bytes, but the index says %d", b.Size, w.Size)
	}
	return b, nil
}

// Sums know the digests of files on this machine by their stat data; a
// *statcache.Cache is one.
type Sums interface {
	Hash(ctx context.Context, path string, info fs.FileInfo, open func() (*os.File, error)) ([32]byte, error)
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
