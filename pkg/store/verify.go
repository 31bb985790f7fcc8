package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// CorruptError reports a blob whose bytes are not those of its name. The blob
// has been removed: doing the same again makes it anew.
type CorruptError struct {
	Digest v1.Hash
	Got    string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("stored blob %s has the digest sha256:%s", e.Digest, e.Got)
}

// Hint says what to do.
func (e *CorruptError) Hint() string {
	return "the damaged file has been removed; run the command again"
}

// Blob opens a blob and returns its size. It is verified while it is read: the
// last Read of a damaged blob returns a [*CorruptError] and no bytes. One that
// this process has written itself, and nobody since, was summed up then.
// [fs.ErrNotExist] says that it is absent; so is one that was found damaged at
// its first use after a start of the machine.
func (s *Store) Blob(h v1.Hash) (io.ReadCloser, int64, error) {
	r, err := s.open(h)
	if err != nil {
		return nil, 0, err
	}
	if err := s.use(h, r.info); err != nil {
		r.Close()
		return nil, 0, err
	}
	if own, ok := s.written.Load(h); ok && unchanged(own.(fs.FileInfo), r.info) {
		return r.f, r.info.Size(), nil
	}
	return r, r.info.Size(), nil
}

// unchanged says whether a file is the one that was written, and as it was left.
func unchanged(written, now fs.FileInfo) bool {
	return os.SameFile(written, now) && written.Size() == now.Size() && written.ModTime().Equal(now.ModTime())
}

func (s *Store) open(h v1.Hash) (*verified, error) {
	p := s.File(h)
	if p == "" {
		return nil, &fs.PathError{Op: "open", Path: h.String(), Err: fs.ErrNotExist}
	}
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &verified{s: s, f: f, info: info, left: info.Size(), sum: sha256.New(), want: h}, nil
}

// verified is a blob that is verified when all of it has been read.
type verified struct {
	s    *Store
	f    *os.File
	info fs.FileInfo
	left int64
	sum  hash.Hash
	want v1.Hash
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.f.Read(p)
	v.sum.Write(p[:n])
	v.left -= int64(n)
	// Not only at the end of the file, which a reader that knows the size may
	// never come to.
	if err == io.EOF || v.left == 0 && n > 0 {
		if got := hex.EncodeToString(v.sum.Sum(nil)); got != v.want.Hex {
			v.s.discard(v)
			return 0, &CorruptError{Digest: v.want, Got: got}
		}
		v.s.used.Store(v.want, true)
	}
	return n, err
}

func (v *verified) Close() error { return v.f.Close() }

// discard removes a damaged blob, unless another one is in its place by now.
func (s *Store) discard(v *verified) {
	if unlock, err := s.alone(context.Background()); err == nil {
		defer unlock()
	}
	if now, err := os.Stat(v.f.Name()); err == nil && os.SameFile(now, v.info) {
		// One that stays is found again.
		_ = os.Remove(v.f.Name())
	}
}

// use notes that a blob is used now. What was used last before the machine was
// started may be what a power failure left, and is verified first. The error is
// [fs.ErrNotExist] when it is damaged or gone.
func (s *Store) use(h v1.Hash, info fs.FileInfo) error {
	p := s.File(h)
	s.used.LoadOrStore(h, false)
	if info.ModTime().Before(s.started) {
		if _, ok := s.checked.Load(p); !ok {
			if err := s.verify(h); err != nil {
				return err
			}
			s.checked.Store(p, nil) // for a store in which no use can be noted
		}
	}
	if !s.touch(p, info) {
		return &fs.PathError{Op: "use", Path: p, Err: fs.ErrNotExist}
	}
	return nil
}

// verify reads all of a blob.
func (s *Store) verify(h v1.Hash) error {
	r, err := s.open(h)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		return &fs.PathError{Op: "verify", Path: r.f.Name(), Err: fs.ErrNotExist}
	}
	return err
}

// Mend looks for a cause of what went wrong: it verifies the blobs that were used
// through this Store and not read to their end, removes those that are damaged and
// returns their digests. Whoever reads a blob by its path, or gives up in the
// middle of it because it makes no sense, cannot know that it is damaged.
func (s *Store) Mend(ctx context.Context) []v1.Hash {
	var damaged []v1.Hash
	s.used.Range(func(key, whole any) bool {
		h := key.(v1.Hash)
		if whole.(bool) {
			return ctx.Err() == nil
		}
		if err := s.verify(h); errors.Is(err, fs.ErrNotExist) {
			if _, statErr := os.Stat(s.File(h)); statErr != nil {
				damaged = append(damaged, h)
			}
			s.used.Delete(h)
		}
		return ctx.Err() == nil
	})
	slices.SortFunc(damaged, func(a, b v1.Hash) int { return strings.Compare(a.Hex, b.Hex) })
	return damaged
}
