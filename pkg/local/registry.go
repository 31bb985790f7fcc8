package local

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The registry follows the OCI distribution specification 1.1 where ECR does, and
// ECR where that differs: a Basic challenge, 201 for PATCH, uploads that only go
// forward, tags that are immutable also for the same digest, 405 for a manifest
// that it does not take.

// repository is an ECR repository with its images.
type repository struct {
	Name       string            `json:"name"`
	Arn        string            `json:"arn"`
	CreatedAt  *epoch            `json:"createdAt"`
	Mutability string            `json:"mutability"`
	Exclusions []exclusionFilter `json:"exclusions,omitempty"`
	ScanOnPush bool              `json:"scanOnPush,omitempty"`
	Tags       []tag             `json:"tags,omitempty"`
	// Blobs are the sizes of the blobs that were pushed to this repository.
	Blobs     map[string]int64     `json:"blobs"`
	Manifests map[string]*manifest `json:"manifests"`
	// Names maps image tags to digests.
	Names map[string]string `json:"names"`
}

// exclusionFilter names tags that are exempt from a repository's mutability setting.
type exclusionFilter struct {
	FilterType string `json:"filterType"`
	Filter     string `json:"filter"`
}

// manifest is what is known of a stored manifest; its bytes are in the store.
type manifest struct {
	MediaType       string            `json:"mediaType"`
	Size            int64             `json:"size"`
	PushedAt        *epoch            `json:"pushedAt"`
	ArtifactType    string            `json:"artifactType,omitempty"`
	ConfigMediaType string            `json:"configMediaType,omitempty"`
	Subject         string            `json:"subject,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	ImageSize       int64             `json:"imageSize"` // of the layers
}

// immutable says whether tag, once given, stays with its digest.
func (r *repository) immutable(tag string) bool {
	excluded := slices.ContainsFunc(r.Exclusions, func(f exclusionFilter) bool {
		ok, err := path.Match(f.Filter, tag)
		return err == nil && ok
	})
	switch r.Mutability {
	case "IMMUTABLE":
		return true
	case "IMMUTABLE_WITH_EXCLUSION":
		return !excluded
	case "MUTABLE_WITH_EXCLUSION":
		return excluded
	}
	return false
}

// Limits of the registry.
const (
	maxManifest = 4 << 20        // ECR's own
	maxLayer    = 52_000 << 20   // ECR's own, "Layer size"
	tokenLife   = 12 * time.Hour // GetAuthorizationToken
)

var (
	repositoryName = regexp.MustCompile(`^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$`)
	tagName        = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
)

// registryError is an error of the distribution specification, "Error Codes".
type registryError struct {
	status  int
	code    string
	message string
}

func (e *registryError) Error() string { return e.code + ": " + e.message }

func writeRegistryError(w http.ResponseWriter, err error) {
	var e *registryError
	if !errors.As(err, &e) {
		e = &registryError{http.StatusInternalServerError, "UNKNOWN", err.Error()}
	}
	type detail struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(e.status)
	json.NewEncoder(w).Encode(map[string][]detail{"errors": {{e.code, e.message}}})
}

// serveRegistry answers everything under /v2/.
func (c *Cloud) serveRegistry(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if err := c.authenticate(r); err != nil {
		if err == errNoCredentials {
			w.Header().Set("Www-Authenticate", fmt.Sprintf(`Basic realm="%s/",service="ecr.amazonaws.com"`, c.URL()))
			http.Error(w, "Not Authorized", http.StatusUnauthorized)
			return
		}
		writeRegistryError(w, err)
		return
	}
	if r.URL.Path == "/v2/" {
		w.WriteHeader(http.StatusOK)
		return
	}
	if err := c.routeRegistry(w, r); err != nil {
		writeRegistryError(w, err)
	}
}

// routeRegistry finds the operation from the end of the path, as repository names
// have slashes themselves.
func (c *Cloud) routeRegistry(w http.ResponseWriter, r *http.Request) error {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
	n := len(parts)
	name := func(k int) string { return strings.Join(parts[:max(n-k, 0)], "/") }
	switch {
	case n >= 3 && parts[n-2] == "tags" && parts[n-1] == "list":
		return c.serveTags(w, r, name(2))
	case n >= 4 && parts[n-3] == "blobs" && parts[n-2] == "uploads":
		return c.serveUpload(w, r, name(3), parts[n-1])
	case n >= 3 && parts[n-2] == "blobs" && parts[n-1] == "uploads":
		return c.serveUpload(w, r, name(2), "")
	case n >= 3 && parts[n-2] == "blobs":
		return c.serveBlob(w, r, name(2), parts[n-1])
	case n >= 3 && parts[n-2] == "manifests":
		return c.serveManifest(w, r, name(2), parts[n-1])
	case n >= 3 && parts[n-2] == "referrers":
		return c.serveReferrers(w, r, name(2), parts[n-1])
	}
	return &registryError{http.StatusNotFound, "UNSUPPORTED", "the local cloud's registry has no such path"}
}

func notAllowed(r *http.Request) error {
	return &registryError{http.StatusMethodNotAllowed, "UNSUPPORTED", r.Method + " is not supported here"}
}

// repo returns a repository; the cloud is locked.
func (c *Cloud) repo(name string) (*repository, error) {
	if r, ok := c.state.Repositories[name]; ok {
		return r, nil
	}
	return nil, &registryError{http.StatusNotFound, "NAME_UNKNOWN",
		fmt.Sprintf("The repository with name '%s' does not exist in the registry with id '%s'", name, account)}
}

// serveBlob answers HEAD and GET, the latter with ranges.
func (c *Cloud) serveBlob(w http.ResponseWriter, r *http.Request, name, digest string) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return notAllowed(r)
	}
	h, err := v1.NewHash(digest)
	if err != nil {
		return &registryError{http.StatusBadRequest, "DIGEST_INVALID", err.Error()}
	}
	c.mu.Lock()
	repo, err := c.repo(name)
	linked := false
	if err == nil {
		_, linked = repo.Blobs[h.String()]
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	f, err := os.Open(c.store.File(h))
	if !linked || err != nil {
		return &registryError{http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry: " + digest}
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", h.String())
	w.Header().Set("Etag", `"`+h.String()+`"`)
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

// resolve finds the digest that a reference of a repository stands for; the cloud is
// locked.
func (r *repository) resolve(reference string) (string, bool) {
	digest := reference
	if !strings.Contains(reference, ":") {
		digest = r.Names[reference]
	}
	_, ok := r.Manifests[digest]
	return digest, ok
}

func (c *Cloud) serveManifest(w http.ResponseWriter, r *http.Request, name, reference string) error {
	switch r.Method {
	case http.MethodPut:
		return c.putManifest(w, r, name, reference)
	case http.MethodGet, http.MethodHead:
	default:
		return notAllowed(r)
	}
	c.mu.Lock()
	repo, err := c.repo(name)
	if err != nil {
		c.mu.Unlock()
		return err
	}
	digest, ok := repo.resolve(reference)
	mediaType := ""
	if ok {
		mediaType = repo.Manifests[digest].MediaType
	}
	c.mu.Unlock()
	b, err := c.manifestBytes(digest)
	if !ok || err != nil {
		return &registryError{http.StatusNotFound, "MANIFEST_UNKNOWN", "Requested image not found"}
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		w.Write(b)
	}
	return nil
}

// manifestBytes reads a manifest or config from the store, verified.
func (c *Cloud) manifestBytes(digest string) ([]byte, error) {
	return readBlob(c.store, digest)
}

// imageManifest is what the registry reads of manifests and indexes (OCI image
// specification; Docker's schema 2 has the same fields).
type imageManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *v1.Descriptor    `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Manifests     []v1.Descriptor   `json:"manifests"`
	Subject       *v1.Descriptor    `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// parseManifest reads a manifest as ECR validates one.
func parseManifest(contentType string, body []byte) (*imageManifest, error) {
	bad := func(constraint string) error {
		return &registryError{http.StatusMethodNotAllowed, "UNSUPPORTED",
			"Invalid parameter at 'ImageManifest' failed to satisfy constraint: '" + constraint + "'"}
	}
	var m imageManifest
	if json.Unmarshal(body, &m) != nil {
		return nil, bad("Invalid JSON syntax")
	}
	if m.MediaType == "" {
		m.MediaType = contentType
	}
	mt := types.MediaType(m.MediaType)
	switch {
	case m.SchemaVersion != 2 || (contentType != "" && contentType != m.MediaType):
		return nil, bad("Invalid JSON syntax")
	case mt.IsImage() && mt != types.DockerManifestSchema1 && mt != types.DockerManifestSchema1Signed:
		if m.Config == nil {
			return nil, bad("Invalid JSON syntax")
		}
	case mt.IsIndex():
	default:
		return nil, bad("Unsupported media type")
	}
	return &m, nil
}

func (c *Cloud) putManifest(w http.ResponseWriter, r *http.Request, name, reference string) error {
	body, err := readBody(w, r, maxManifest)
	if err != nil {
		return &registryError{http.StatusRequestEntityTooLarge, "SIZE_INVALID", "a manifest may have 4 MiB"}
	}
	m, err := parseManifest(r.Header.Get("Content-Type"), body)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	byDigest := strings.Contains(reference, ":")
	if byDigest && reference != digest.String() {
		return &registryError{http.StatusBadRequest, "DIGEST_INVALID",
			fmt.Sprintf("The provided digest %s does not match the manifest's, %s", reference, digest)}
	}
	if !byDigest && !tagName.MatchString(reference) {
		return &registryError{http.StatusBadRequest, "TAG_INVALID", fmt.Sprintf("'%s' is not a valid image tag", reference)}
	}
	if _, _, err := c.store.Put(r.Context(), bytes.NewReader(body), &digest); err != nil {
		return err
	}
	c.mu.Lock()
	err = c.recordManifest(name, reference, digest.String(), m, int64(len(body)))
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := c.save(); err != nil {
		return err
	}
	c.log.Info(fmt.Sprintf("received %s:%s", name, reference))
	w.Header().Set("Location", "/v2/"+name+"/manifests/"+digest.String())
	w.Header().Set("Docker-Content-Digest", digest.String())
	if m.Subject != nil {
		w.Header().Set("OCI-Subject", m.Subject.Digest.String())
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// recordManifest adds a manifest to a repository when all that it refers to is
// there and its tag may be given; the cloud is locked.
func (c *Cloud) recordManifest(name, reference, digest string, m *imageManifest, size int64) error {
	repo, err := c.repo(name)
	if err != nil {
		return err
	}
	kept := &manifest{MediaType: m.MediaType, Size: size, PushedAt: at(c.clock.Now()),
		ArtifactType: m.ArtifactType, Annotations: m.Annotations}
	if m.Config != nil {
		kept.ConfigMediaType = string(m.Config.MediaType)
		if err := c.wantBlob(repo, *m.Config); err != nil {
			return err
		}
	}
	for _, l := range m.Layers {
		kept.ImageSize += l.Size
		if err := c.wantBlob(repo, l); err != nil {
			return err
		}
	}
	for _, d := range m.Manifests {
		child, ok := repo.Manifests[d.Digest.String()]
		if !ok {
			return &registryError{http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN",
				fmt.Sprintf("Images with digests '[%s]' required for pushing image into repository with name '%s' in the registry with id '%s' do not exist",
					d.Digest, name, account)}
		}
		kept.ImageSize += child.ImageSize
	}
	if m.Subject != nil {
		kept.Subject = m.Subject.Digest.String()
	}
	if !strings.Contains(reference, ":") {
		// The same digest too: "an image with the same digest and tag exists" is an
		// error on AWS, so clients must look before they push.
		if _, taken := repo.Names[reference]; taken && repo.immutable(reference) {
			return &registryError{http.StatusBadRequest, "TAG_INVALID",
				fmt.Sprintf("The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.", reference, name)}
		}
		repo.Names[reference] = digest
	}
	if old, ok := repo.Manifests[digest]; ok {
		kept.PushedAt = old.PushedAt
	}
	repo.Manifests[digest] = kept
	return nil
}

// wantBlob checks that a manifest's blob is in the repository.
func (c *Cloud) wantBlob(repo *repository, d v1.Descriptor) error {
	if !d.MediaType.IsDistributable() {
		return nil
	}
	if _, ok := repo.Blobs[d.Digest.String()]; ok && c.store.Has(d.Digest) {
		return nil
	}
	return &registryError{http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN",
		fmt.Sprintf("Layers with digests '[%s]' required for pushing image into repository with name '%s' in the registry with id '%s' do not exist",
			d.Digest, repo.Name, account)}
}

// serveTags lists tags in order, with n and last.
func (c *Cloud) serveTags(w http.ResponseWriter, r *http.Request, name string) error {
	if r.Method != http.MethodGet {
		return notAllowed(r)
	}
	c.mu.Lock()
	repo, err := c.repo(name)
	var tags []string
	if err == nil {
		tags = sortedKeys(repo.Names)
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if last := r.URL.Query().Get("last"); last != "" {
		i, found := slices.BinarySearch(tags, last)
		if found {
			i++
		}
		tags = tags[i:]
	}
	n := 1000 // as ECR
	if v, err := strconv.Atoi(r.URL.Query().Get("n")); err == nil && v > 0 {
		n = min(v, n)
	}
	if len(tags) > n {
		tags = tags[:n]
		w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?n=%d&last=%s>; rel="next"`, name, n, tags[n-1]))
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(map[string]any{"name": name, "tags": tags})
}

// serveReferrers lists the manifests whose subject is digest, as an index.
func (c *Cloud) serveReferrers(w http.ResponseWriter, r *http.Request, name, digest string) error {
	if r.Method != http.MethodGet {
		return notAllowed(r)
	}
	if _, err := v1.NewHash(digest); err != nil {
		return &registryError{http.StatusBadRequest, "DIGEST_INVALID", err.Error()}
	}
	wanted := r.URL.Query().Get("artifactType")
	c.mu.Lock()
	repo, err := c.repo(name)
	list := []v1.Descriptor{}
	if err == nil {
		for _, d := range sortedKeys(repo.Manifests) {
			m := repo.Manifests[d]
			kind := m.ArtifactType
			if kind == "" {
				kind = m.ConfigMediaType
			}
			if m.Subject != digest || (wanted != "" && wanted != kind) {
				continue
			}
			h, _ := v1.NewHash(d)
			list = append(list, v1.Descriptor{MediaType: types.MediaType(m.MediaType), Size: m.Size, Digest: h,
				ArtifactType: kind, Annotations: m.Annotations})
		}
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Content-Type", string(types.OCIImageIndex))
	return json.NewEncoder(w).Encode(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: list})
}

var errNoCredentials = errors.New("no credentials")

// password makes the password of user AWS: its end, and a proof that it is ours.
func (c *Cloud) password(expires time.Time) string {
	end := strconv.FormatInt(expires.Unix(), 10)
	return end + "." + c.sign(end)
}

func (c *Cloud) sign(text string) string {
	mac := hmac.New(sha256.New, []byte(c.token))
	mac.Write([]byte("registry:" + text))
	return hex.EncodeToString(mac.Sum(nil))
}

// authenticate checks a registry request's Basic credentials.
func (c *Cloud) authenticate(r *http.Request) error {
	user, password, ok := r.BasicAuth()
	if !ok {
		return errNoCredentials
	}
	end, proof, _ := strings.Cut(password, ".")
	if user != "AWS" || !hmac.Equal([]byte(proof), []byte(c.sign(end))) {
		return errNoCredentials
	}
	seconds, err := strconv.ParseInt(end, 10, 64)
	if err != nil || c.clock.Now().After(time.Unix(seconds, 0)) {
		return &registryError{http.StatusForbidden, "DENIED", "Your authorization token has expired. Reauthenticate and try again."}
	}
	return nil
}
