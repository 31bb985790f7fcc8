package push

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// strict has a registry do what the one of go-containerregistry leaves out: it
// keeps each repository's blobs apart, mounts, refuses manifests whose parts it
// does not have, and, with tokens, wants one with the right scope.
type strict struct {
	next   http.Handler
	tokens bool

	mu     sync.Mutex
	blobs  map[string]map[string]bool // repository, digest
	scopes []string                   // what tokens were asked for
	calls  []string
}

func newStrict(tokens bool) *strict {
	return &strict{tokens: tokens, blobs: map[string]map[string]bool{}}
}

func (s *strict) over(next http.Handler) http.Handler {
	s.next = next
	return s
}

// take gives the requests since the last time, as "METHOD path".
func (s *strict) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// lose removes a blob from a repository, whatever refers to it.
func (s *strict) lose(repo string, digest v1.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs[repo], digest.String())
}

func (s *strict) add(repo, digest string) {
	if s.blobs[repo] == nil {
		s.blobs[repo] = map[string]bool{}
	}
	s.blobs[repo][digest] = true
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q}]}`, code)
}

func (s *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	if r.URL.Path == "/token" {
		s.mu.Lock()
		s.scopes = append(s.scopes, r.URL.Query()["scope"]...)
		s.mu.Unlock()
		fmt.Fprintf(w, `{"token":%q}`, strings.Join(r.URL.Query()["scope"], " "))
		return
	}
	repo, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/")
	repo, _, _ = strings.Cut(repo, "/manifests/")
	repo = strings.TrimSuffix(repo, "/tags/list")
	if s.tokens {
		scope := "repository:" + repo + ":pull"
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			scope = "repository:" + repo + ":push,pull"
		}
		have := strings.Fields(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if r.URL.Path == "/v2/" && len(have) == 0 || r.URL.Path != "/v2/" && !slices.ContainsFunc(have, func(h string) bool { return h == scope || h == strings.Replace(scope, ":pull", ":push,pull", 1) }) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test",scope=%q`, r.Host, scope))
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	switch {
	case strings.HasPrefix(rest, "sha256:"):
		if !s.blobs[repo][rest] {
			refuse(w, http.StatusNotFound, "BLOB_UNKNOWN")
			return
		}
	case r.Method == http.MethodPost && q.Get("mount") != "":
		if s.blobs[q.Get("from")][q.Get("mount")] {
			s.add(repo, q.Get("mount"))
			w.WriteHeader(http.StatusCreated)
			return
		}
		r = r.Clone(r.Context())
		r.URL.RawQuery = ""
	case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/"):
		b, _ := io.ReadAll(r.Body)
		var m v1.Manifest
		_ = json.Unmarshal(b, &m)
		for _, d := range append(m.Layers, m.Config) {
			if m.MediaType.IsImage() && !s.blobs[repo][d.Digest.String()] {
				refuse(w, http.StatusNotFound, "BLOB_UNKNOWN")
				return
			}
		}
		r.Body = io.NopCloser(strings.NewReader(string(b)))
	}
	answer := httptest.NewRecorder()
	s.next.ServeHTTP(answer, r)
	if isBlobPut(r) && answer.Code == http.StatusCreated {
		s.add(repo, q.Get("digest"))
	}
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}
