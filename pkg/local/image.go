package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/sandbox"
	"github.com/boyabuild/boyabuild/pkg/store"
)

// readBlob reads a manifest or a config, verified and bounded.
func readBlob(s *store.Store, digest string) ([]byte, error) {
	h, err := v1.NewHash(digest)
	if err != nil {
		return nil, err
	}
	r, _, err := s.Blob(h)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err == nil && len(b) > maxManifest {
		err = fmt.Errorf("blob %s is larger than 4 MiB", digest)
	}
	return b, err
}

// resolveImage returns the digest that a container definition's image stands for
// (an image's or an index's).
func (c *Cloud) resolveImage(image string) (string, error) {
	ref, err := parseImage(image)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	repo, ok := c.state.Repositories[ref.repository]
	if !ok {
		return "", fmt.Errorf("failed to resolve ref %s: the repository %s does not exist: not found", image, ref.repository)
	}
	digest, ok := repo.resolve(ref.reference)
	if !ok {
		return "", fmt.Errorf("failed to resolve ref %s: not found", image)
	}
	return digest, nil
}

// forThisMachine returns the manifest of the image for this machine: digest's own,
// or one of the index that digest is of.
func forThisMachine(s *store.Store, digest string) (string, *imageManifest, error) {
	platform := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	for depth := 0; depth < 3; depth++ {
		b, err := readBlob(s, digest)
		if err != nil {
			return "", nil, err
		}
		var m imageManifest
		if err := json.Unmarshal(b, &m); err != nil {
			return "", nil, fmt.Errorf("read manifest %s: %w", digest, err)
		}
		if m.Config != nil {
			return digest, &m, nil
		}
		next := ""
		for _, d := range m.Manifests {
			if d.Platform != nil && d.Platform.Satisfies(platform) {
				next = d.Digest.String()
				break
			}
		}
		if next == "" {
			return "", nil, &platformError{}
		}
		digest = next
	}
	return "", nil, fmt.Errorf("read manifest %s: indexes are nested too deeply", digest)
}

// platformError reports an image that is not for this machine.
type platformError struct{ has string }

func (e *platformError) Error() string {
	text := "image Manifest does not contain descriptor matching platform 'linux/" + runtime.GOARCH + "'"
	if e.has != "" {
		text += " (the image is for " + e.has + ")"
	}
	return text
}

// imageCache holds unpacked images, one directory each, named for the digest of
// the image's manifest: DIR/<hex>/fs and DIR/<hex>/image.json. They are never written
// to, so any number of tasks can run from one.
type imageCache struct {
	store *store.Store
	dir   string

	mu     sync.Mutex
	images map[string]*unpacked // by digest
}

// unpacked is an unpacked image.
type unpacked struct {
	dir    string
	config v1.ConfigFile
	owners []sandbox.Owner // of files that could not be given away

	cache *imageCache
	users int           // tasks, guarded by cache.mu
	ready chan struct{} // closed when it is unpacked, or err is set
	err   error
}

// partly is how the names of directories begin that are not (or no longer) whole.
const partly = "tmp-"

func newImageCache(s *store.Store, dir string) *imageCache {
	return &imageCache{store: s, dir: dir, images: map[string]*unpacked{}}
}

// acquire returns the image for this machine of digest, unpacked. The directory
// stays until release.
func (i *imageCache) acquire(ctx context.Context, digest string) (*unpacked, error) {
	digest, m, err := forThisMachine(i.store, digest)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	u, ok := i.images[digest]
	if !ok {
		u = &unpacked{cache: i, dir: filepath.Join(i.dir, strings.TrimPrefix(digest, "sha256:")), ready: make(chan struct{})}
		i.images[digest] = u
	}
	u.users++
	i.mu.Unlock()
	if !ok {
		// The first one unpacks, also for those who come while it does; that its own
		// task is stopped meanwhile is no reason to begin again.
		go func() {
			u.err = u.unpack(context.WithoutCancel(ctx), m)
			if u.err != nil {
				i.mu.Lock()
				delete(i.images, digest) // the next one tries again
				i.mu.Unlock()
			}
			close(u.ready)
		}()
	}
	select {
	case <-u.ready:
	case <-ctx.Done():
		u.release()
		return nil, ctx.Err()
	}
	if u.err != nil {
		u.release()
		return nil, u.err
	}
	return u, nil
}

func (u *unpacked) release() {
	u.cache.mu.Lock()
	defer u.cache.mu.Unlock()
	u.users--
}

// rootfs is the image's root directory.
func (u *unpacked) rootfs() string { return filepath.Join(u.dir, "fs") }

// unpack makes the directory, or finds it made by an earlier cloud.
func (u *unpacked) unpack(ctx context.Context, m *imageManifest) error {
	found, err := u.load()
	if found || err != nil {
		return err
	}
	b, err := readBlob(u.cache.store, m.Config.Digest.String())
	if err != nil {
		return fmt.Errorf("read image config: %w", err)
	}
	if err := json.Unmarshal(b, &u.config); err != nil {
		return fmt.Errorf("read image config: %w", err)
	}
	if p := u.config.Platform(); p != nil && (p.OS != "linux" || p.Architecture != runtime.GOARCH) {
		return &platformError{has: p.String()}
	}
	if len(u.config.RootFS.DiffIDs) != len(m.Layers) {
		return fmt.Errorf("the image has %d layers and its config %d", len(m.Layers), len(u.config.RootFS.DiffIDs))
	}
	tmp, err := os.MkdirTemp(u.cache.dir, partly)
	if err != nil {
		return err
	}
	defer removeTree(tmp)
	if err := u.applyLayers(ctx, m, filepath.Join(tmp, "fs")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "image.json"), b, 0o600); err != nil {
		return err
	}
	if b, err = json.Marshal(u.owners); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "owners.json"), b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, u.dir)
}

// load reads what an earlier cloud has unpacked.
func (u *unpacked) load() (found bool, err error) {
	for name, v := range map[string]any{"image.json": &u.config, "owners.json": &u.owners} {
		b, err := os.ReadFile(filepath.Join(u.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err == nil {
			err = json.Unmarshal(b, v)
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

func (u *unpacked) applyLayers(ctx context.Context, m *imageManifest, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	owners := map[string]sandbox.Owner{}
	for n, l := range m.Layers {
		if err := u.cache.applyLayer(ctx, root, l.Digest, l.MediaType, u.config.RootFS.DiffIDs[n], owners); err != nil {
			return fmt.Errorf("layer %s: %w", l.Digest, err)
		}
	}
	for _, p := range sortedKeys(owners) {
		u.owners = append(u.owners, owners[p])
	}
	return nil
}

// applyLayer unpacks one layer and checks that its content is what the config says.
func (i *imageCache) applyLayer(ctx context.Context, root *os.Root, digest v1.Hash, mt types.MediaType, diffID v1.Hash, owners map[string]sandbox.Owner) error {
	blob, _, err := i.store.Blob(digest)
	if err != nil {
		return err
	}
	defer blob.Close()
	content, err := store.Decompress(io.NopCloser(blob), mt)
	if err != nil {
		return err
	}
	defer content.Close()
	sum := sha256.New()
	if os.Geteuid() == 0 {
		err = applyTar(ctx, io.TeeReader(content, sum), root, true)
	} else {
		err = applyNoting(ctx, io.TeeReader(content, sum), root, owners)
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, blob); err != nil { // to the end, where it is verified
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != diffID.Hex {
		return fmt.Errorf("its content is sha256:%s, the image's config says %s", got, diffID)
	}
	return nil
}

// applyTar unpacks a layer's tar and reads the padding that may follow it.
func applyTar(ctx context.Context, content io.Reader, root *os.Root, owners bool) error {
	if err := layers.Apply(ctx, content, root, layers.ApplyOptions{Owners: owners}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, content)
	return err
}

// applyNoting unpacks a layer's tar as an ordinary user and notes the owners that
// its files should have.
func applyNoting(ctx context.Context, content io.Reader, root *os.Root, owners map[string]sandbox.Owner) error {
	r, w := io.Pipe()
	noted := make(chan error, 1)
	go func() {
		err := noteOwners(r, owners)
		io.Copy(io.Discard, r)
		noted <- err
	}()
	err := applyTar(ctx, io.TeeReader(content, w), root, false)
	w.Close()
	return errors.Join(err, <-noted)
}

// sweep removes unpacked images that no task uses and keep does not name.
func (i *imageCache) sweep(keep map[string]bool) error {
	wanted := map[string]bool{}
	for digest := range keep {
		if d, _, err := forThisMachine(i.store, digest); err == nil {
			wanted[strings.TrimPrefix(d, "sha256:")] = true
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for digest, u := range i.images {
		if u.users > 0 {
			wanted[strings.TrimPrefix(digest, "sha256:")] = true
		}
	}
	entries, err := os.ReadDir(i.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if wanted[e.Name()] || strings.HasPrefix(e.Name(), partly) {
			continue
		}
		delete(i.images, "sha256:"+e.Name())
		// First out of sight, so that what is found under a digest is complete.
		gone := filepath.Join(i.dir, partly+randomHex(16))
		if err := os.Rename(filepath.Join(i.dir, e.Name()), gone); err != nil {
			return err
		}
		if err := removeTree(gone); err != nil {
			return err
		}
	}
	return nil
}
