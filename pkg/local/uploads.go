package local

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/store"
)

// uploads are blobs on their way in: a file each.
type uploads struct {
	dir string

	mu   sync.Mutex
	open map[string]*upload
}

// upload is one session; its lock is held while a request writes to it.
type upload struct {
	mu   sync.Mutex
	id   string
	repo string
	path string
	size int64
	used time.Time
}

// Bounds on uploads that were begun and never ended.
const (
	maxUploads  = 1000
	uploadsIdle = time.Hour
)

func (u *uploads) begin(repo string, now time.Time) (*upload, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, up := range u.open {
		if now.Sub(up.used) > uploadsIdle {
			os.Remove(up.path)
			delete(u.open, id)
		}
	}
	if len(u.open) >= maxUploads {
		return nil, &registryError{http.StatusTooManyRequests, "TOOMANYREQUESTS", "too many uploads are open"}
	}
	id := randomHex(32)
	up := &upload{id: id, repo: repo, path: filepath.Join(u.dir, id), used: now}
	if err := os.WriteFile(up.path, nil, 0o600); err != nil {
		return nil, err
	}
	if u.open == nil {
		u.open = map[string]*upload{}
	}
	u.open[id] = up
	return up, nil
}

func (u *uploads) find(repo, id string, now time.Time) (*upload, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	up, ok := u.open[id]
	if !ok || up.repo != repo {
		return nil, &registryError{http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"}
	}
	up.used = now
	return up, nil
}

func (u *uploads) end(up *upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, up.id)
	os.Remove(up.path)
}

// append adds the body to the upload.
func (up *upload) append(body io.Reader) error {
	f, err := os.OpenFile(up.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(body, maxLayer-up.size+1))
	up.size += n
	if err != nil {
		return err
	}
	if up.size > maxLayer {
		return &registryError{http.StatusRequestEntityTooLarge, "SIZE_INVALID", "a layer may have 52,000 MiB"}
	}
	return f.Close()
}

// serveUpload answers all of …/blobs/uploads/; id is "" to begin one.
func (c *Cloud) serveUpload(w http.ResponseWriter, r *http.Request, name, id string) error {
	c.mu.Lock()
	_, err := c.repo(name)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if id == "" {
		if r.Method != http.MethodPost {
			return notAllowed(r)
		}
		return c.beginUpload(w, r, name)
	}
	up, err := c.uploads.find(name, id, c.clock.Now())
	if err != nil {
		return err
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	switch r.Method {
	case http.MethodPatch:
		if err := inOrder(r, up.size); err != nil {
			return err
		}
		if err := up.append(r.Body); err != nil {
			return err
		}
		up.answer(w, http.StatusCreated) // not 202: ECR
	case http.MethodPut:
		return c.endUpload(w, r, up)
	case http.MethodGet:
		up.answer(w, http.StatusNoContent)
	case http.MethodDelete:
		c.uploads.end(up)
		w.WriteHeader(http.StatusNoContent)
	default:
		return notAllowed(r)
	}
	return nil
}

// answer tells where the upload goes on.
func (up *upload) answer(w http.ResponseWriter, status int) {
	w.Header().Set("Location", "/v2/"+up.repo+"/blobs/uploads/"+up.id)
	w.Header().Set("Docker-Upload-Uuid", up.id)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(up.size-1, 0)))
	w.WriteHeader(status)
}

// inOrder refuses a chunk that does not begin where the one before ended.
func inOrder(r *http.Request, size int64) error {
	span := r.Header.Get("Content-Range")
	if span == "" {
		return nil
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(span, "bytes "), "-")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil || n != size {
		return &registryError{http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID",
			fmt.Sprintf("First byte of the layer part is %s instead of %d", first, size)}
	}
	return nil
}

// beginUpload opens an upload, or does without one: a mount of a blob that another
// repository has, or the whole blob in one request.
func (c *Cloud) beginUpload(w http.ResponseWriter, r *http.Request, name string) error {
	q := r.URL.Query()
	if h, err := v1.NewHash(q.Get("mount")); err == nil && c.mount(name, q.Get("from"), h) {
		if err := c.save(); err != nil {
			return err
		}
		blobCreated(w, name, h)
		return nil
	}
	up, err := c.uploads.begin(name, c.clock.Now())
	if err != nil {
		return err
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	if q.Get("digest") == "" {
		up.answer(w, http.StatusAccepted)
		return nil
	}
	return c.endUpload(w, r, up)
}

// mount makes a blob of repository from one of repository name as well, if it is
// there. Without from, any repository's will do.
func (c *Cloud) mount(name, from string, h v1.Hash) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	to, ok := c.state.Repositories[name]
	if !ok || !c.store.Has(h) {
		return false
	}
	for _, repo := range c.state.Repositories {
		size, has := repo.Blobs[h.String()]
		if has && (from == "" || from == repo.Name) {
			to.Blobs[h.String()] = size
			return true
		}
	}
	return false
}

// endUpload takes the last bytes, checks the digest and keeps the blob.
func (c *Cloud) endUpload(w http.ResponseWriter, r *http.Request, up *upload) error {
	want, err := v1.NewHash(r.URL.Query().Get("digest"))
	if err != nil || want.Algorithm != "sha256" {
		return &registryError{http.StatusBadRequest, "DIGEST_INVALID", "the digest of the blob is missing or not a sha256"}
	}
	if err := inOrder(r, up.size); err != nil {
		return err
	}
	if err := up.append(r.Body); err != nil {
		return err
	}
	f, err := os.Open(up.path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, size, err := c.store.Put(r.Context(), f, &want)
	c.uploads.end(up)
	if mismatch := (*store.MismatchError)(nil); errors.As(err, &mismatch) {
		return &registryError{http.StatusBadRequest, "BLOB_UPLOAD_INVALID",
			"None of the provided layer digests match the calculated layer digest"}
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	repo, err := c.repo(up.repo)
	if err == nil {
		repo.Blobs[want.String()] = size
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := c.save(); err != nil {
		return err
	}
	blobCreated(w, up.repo, want)
	return nil
}

func blobCreated(w http.ResponseWriter, name string, h v1.Hash) {
	w.Header().Set("Location", "/v2/"+name+"/blobs/"+h.String())
	w.Header().Set("Docker-Content-Digest", h.String())
	w.WriteHeader(http.StatusCreated)
}
