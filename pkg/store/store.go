// Package store keeps images and layers on this machine.
//
// Under one directory lie blobs/sha256/… (content-addressed: layers, configs,
// manifests, wheels, Debian packages), records/… (small files that map an input
// key to what was made from it) and images/ (which manifests have names). Files
// are written to a temporary name and renamed, so a reader never sees half of
// one, and a process may be killed at any instant. Blobs are verified against
// their digest when they are read, and records carry a digest of their own. Any
// file may be deleted at any time: the cost is time, never a wrong result.
// Several processes may share a store.
//
// Blobs and records are not synced: each would wait for the disk, 30,000 records
// for 20 s rather than 5 s where a disk is fast. A power failure may leave files
// of the last moments empty or partly written under their right names. So a blob
// that was used last before the machine was started counts as there only once its
// digest has been checked, at its first use (180 MB take 0.15 s); a damaged one is
// removed and is absent, and so is a damaged record. The names of images are
// synced: builds cannot make them again.
//
// The store grows until [Store.Prune] bounds it. A file's time of modification
// tells when it was used last. Each process has a lease while it has the store
// open, which ends with the process however that ends; what a process with a
// lease has used since it began is not pruned.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Store is a directory of blobs, records and image names. It is safe for
// concurrent use, by several processes too.
type Store struct {
	dir   string
	lease atomic.Pointer[lease]
	// touchEvery is how often the last use of a file is noted, at most: to note
	// each would cost every warm build a write for each of its blobs.
	touchEvery time.Duration
	// started is when the machine was: no blob used since can be what a power
	// failure left. Zero where that is not known.
	started time.Time
	checked sync.Map // paths of blobs of before that were found whole
	used    sync.Map // digests of blobs that were used, and whether they were found whole since
	// written has the fs.FileInfo of the blobs that this process has written, by
	// their digests: they were summed then, and are not once more when they are read.
	written sync.Map
}

// Open opens the store at dir, which is made where it is missing. Where files
// cannot be locked or dir is not to be written to, the store is used without a
// lease.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{dir: abs, touchEvery: time.Hour, started: machineStarted()}
	for _, d := range []string{s.blobs(), s.records(), s.images(), s.tmp()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	if l, err := s.takeLease(); err == nil {
		s.lease.Store(l)
	}
	return s, nil
}

// Close ends the use of the store and removes the work in progress. Before it
// nothing that was used is pruned; after it the store can still be used, but
// what is used may be pruned at any time. The end of the process does the same.
func (s *Store) Close() error {
	if l := s.lease.Swap(nil); l != nil {
		return l.end()
	}
	return nil
}

// Dir returns the store's directory.
func (s *Store) Dir() string     { return s.dir }
func (s *Store) blobs() string   { return filepath.Join(s.dir, "blobs", "sha256") }
func (s *Store) records() string { return filepath.Join(s.dir, "records") }
func (s *Store) images() string  { return filepath.Join(s.dir, "images") }
func (s *Store) tmp() string     { return filepath.Join(s.dir, "tmp") }

// scratch is where this process works.
func (s *Store) scratch() string {
	if l := s.lease.Load(); l != nil {
		return l.dir
	}
	return s.tmp()
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// File returns the path at which the blob lies or would lie; "" for a digest
// that is not sha256.
func (s *Store) File(h v1.Hash) string {
	if h.Algorithm != "sha256" || !sha256Hex.MatchString(h.Hex) {
		return ""
	}
	return filepath.Join(s.blobs(), h.Hex)
}

// Has says whether the blob is in the store. If it is, that counts as its use.
// The first time after a start of the machine its content is verified, and a
// damaged one removed; after that its path, [Store.File], can be read as it is.
func (s *Store) Has(h v1.Hash) bool {
	p := s.File(h)
	if p == "" {
		return false
	}
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular() && s.use(h, info) == nil
}

// Size returns the size of a blob in bytes; [fs.ErrNotExist] when it is absent.
func (s *Store) Size(h v1.Hash) (int64, error) {
	info, err := os.Stat(s.File(h))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// MismatchError reports bytes that came with another digest than was asked for.
type MismatchError struct {
	Want, Got v1.Hash
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("digest is %s where %s was expected", e.Got, e.Want)
}

// Put stores what r gives and returns its digest and size. With want set, other
// bytes are refused with a [*MismatchError] and nothing is kept.
func (s *Store) Put(ctx context.Context, r io.Reader, want *v1.Hash) (v1.Hash, int64, error) {
	return s.create(want, func(w io.Writer) error {
		_, err := io.Copy(w, &reader{ctx, r})
		return err
	})
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

// Create stores what write writes and returns its digest and size. Nothing is
// kept when write returns an error.
func (s *Store) Create(write func(w io.Writer) error) (v1.Hash, int64, error) {
	return s.create(nil, write)
}

func (s *Store) create(want *v1.Hash, write func(w io.Writer) error) (v1.Hash, int64, error) {
	sum := &counter{h: sha256.New()}
	h, err := s.place(func(w io.Writer) (v1.Hash, error) {
		if err := write(io.MultiWriter(w, sum)); err != nil {
			return v1.Hash{}, err
		}
		h := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.h.Sum(nil))}
		if want != nil && h != *want {
			return v1.Hash{}, &MismatchError{Want: *want, Got: h}
		}
		return h, nil
	})
	return h, sum.n, err
}

// place stores what write writes under the digest that it returns.
func (s *Store) place(write func(w io.Writer) (v1.Hash, error)) (h v1.Hash, err error) {
	f, err := os.CreateTemp(s.scratch(), "blob-*")
	if err != nil {
		return v1.Hash{}, fmt.Errorf("store blob: %w", err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if h, err = write(f); err != nil {
		return v1.Hash{}, err
	}
	if err := f.Chmod(0o644); err != nil {
		return v1.Hash{}, fmt.Errorf("store blob: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("store blob: %w", err)
	}
	if err := f.Close(); err != nil {
		return v1.Hash{}, fmt.Errorf("store blob: %w", err)
	}
	// Whoever prunes must not take this blob for one that was there before.
	err = s.together(func() error { return os.Rename(f.Name(), s.File(h)) })
	if err != nil {
		return v1.Hash{}, fmt.Errorf("store blob: %w", err)
	}
	s.written.Store(h, info)
	return h, nil
}

type counter struct {
	h hash.Hash
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.h.Write(p)
}

// TempDir makes a directory in the store's own file system for work in
// progress. The caller removes it.
func (s *Store) TempDir(pattern string) (string, error) {
	return os.MkdirTemp(s.scratch(), pattern)
}
