// Package store keeps images and layers on this machine.
//
// Under one directory lie blobs/sha256/… (content-addressed: layers, configs,
// manifests, wheels, Debian packages), records/… (small files that map an input
// key to what was made from it) and images/ (which manifests have names). Blobs
// are written to a temporary name, synced and renamed, so a reader never sees
// half of one, and verified against their digest when they are read. Any file
// may be deleted at any time: the cost is time, never a wrong result. Several
// processes may share a store.
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
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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
}

// Open opens the store at dir, which is made where it is missing. Where files
// cannot be locked or dir is not to be written to, the store is used without a
// lease.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{dir: abs, touchEvery: time.Hour}
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
func (s *Store) Has(h v1.Hash) bool {
	p := s.File(h)
	if p == "" {
		return false
	}
	info, err := os.Stat(p)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	return s.touch(p, info)
}

// Size returns the size of a blob in bytes; [fs.ErrNotExist] when it is absent.
func (s *Store) Size(h v1.Hash) (int64, error) {
	info, err := os.Stat(s.File(h))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

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
// last Read of a damaged blob returns a [*CorruptError] instead of [io.EOF].
// [fs.ErrNotExist] says that it is absent.
func (s *Store) Blob(h v1.Hash) (io.ReadCloser, int64, error) {
	p := s.File(h)
	if p == "" {
		return nil, 0, &fs.PathError{Op: "open", Path: h.String(), Err: fs.ErrNotExist}
	}
	f, err := os.Open(p)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	s.touch(p, info)
	return &verified{f: f, sum: sha256.New(), want: h}, info.Size(), nil
}

// verified checks the digest of what was read when the end is reached.
type verified struct {
	f    *os.File
	sum  hash.Hash
	want v1.Hash
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.f.Read(p)
	v.sum.Write(p[:n])
	if err == io.EOF {
		if got := hex.EncodeToString(v.sum.Sum(nil)); got != v.want.Hex {
			os.Remove(v.f.Name())
			return n, &CorruptError{Digest: v.want, Got: got}
		}
	}
	return n, err
}

func (v *verified) Close() error { return v.f.Close() }

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

func (s *Store) create(want *v1.Hash, write func(w io.Writer) error) (h v1.Hash, n int64, err error) {
	f, err := os.CreateTemp(s.scratch(), "blob-*")
	if err != nil {
		return v1.Hash{}, 0, fmt.Errorf("store blob: %w", err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	sum := &counter{h: sha256.New()}
	if err := write(io.MultiWriter(f, sum)); err != nil {
		return v1.Hash{}, 0, err
	}
	h = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.h.Sum(nil))}
	if want != nil && h != *want {
		return v1.Hash{}, 0, &MismatchError{Want: *want, Got: h}
	}
	if err := f.Chmod(0o644); err != nil {
		return v1.Hash{}, 0, fmt.Errorf("store blob: %w", err)
	}
	if err := f.Sync(); err != nil {
		return v1.Hash{}, 0, fmt.Errorf("store blob: %w", err)
	}
	if err := f.Close(); err != nil {
		return v1.Hash{}, 0, fmt.Errorf("store blob: %w", err)
	}
	// Whoever prunes must not take this blob for one that was there before.
	err = s.together(func() error { return os.Rename(f.Name(), s.File(h)) })
	if err != nil {
		return v1.Hash{}, 0, fmt.Errorf("store blob: %w", err)
	}
	return h, sum.n, nil
}

type counter struct {
	h hash.Hash
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.h.Write(p)
}

// recordFile returns where the record of a key lies. Keys are free text; the
// file's name is their digest.
func (s *Store) recordFile(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.records(), hex.EncodeToString(sum[:])+".json")
}

// record is a record's file: the key is kept beside the value, so that the
// folder can be read by a person and a collision of names would be seen.
type record struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// Record reads the record of key into v and says whether there is one. A
// damaged record counts as absent.
func (s *Store) Record(key string, v any) (bool, error) {
	path := s.recordFile(key)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read record: %w", err)
	}
	var r record
	if json.Unmarshal(b, &r) != nil || r.Key != key || json.Unmarshal(r.Value, v) != nil {
		return false, nil
	}
	if info, err := os.Stat(path); err == nil {
		s.touch(path, info)
	}
	return true, nil
}

// SetRecord keeps v under key.
func (s *Store) SetRecord(key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	b, err := json.Marshal(record{Key: key, Value: value})
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return s.replace(s.recordFile(key), b)
}

// replace writes a whole file by renaming.
func (s *Store) replace(path string, b []byte) error {
	f, err := os.CreateTemp(s.scratch(), "file-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// TempDir makes a directory in the store's own file system for work in
// progress. The caller removes it.
func (s *Store) TempDir(pattern string) (string, error) {
	return os.MkdirTemp(s.scratch(), pattern)
}
