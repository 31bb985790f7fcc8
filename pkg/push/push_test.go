package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// counting is a transport that remembers what was asked, as "METHOD path".
type counting struct {
	mu    sync.Mutex
	calls []string
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil { // the attempt over TLS that comes before plain HTTP on loopback fails
		c.mu.Lock()
		c.calls = append(c.calls, r.Method+" "+r.URL.Path)
		c.mu.Unlock()
	}
	return resp, err
}

func (c *counting) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

func count(calls []string, method, part string) int {
	n := 0
	for _, c := range calls {
		if strings.HasPrefix(c, method+" ") && strings.Contains(c, part) {
			n++
		}
	}
	return n
}

// serve starts a registry on loopback; wrap stands between it and the network.
func serve(t *testing.T, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	var h http.Handler = registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		h = wrap(h)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func newTag(t testing.TB, s string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(s)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

func randomImage(t *testing.T, layers int64) v1.Image {
	t.Helper()
	img, err := random.Image(2000, layers)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func isBlobPut(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/uploads/")
}

var quick = remote.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 3}

func TestPushTwiceSendsNothingTheSecondTime(t *testing.T) {
	host := serve(t, nil)
	tag := newTag(t, host+"/shop/web:1.0")
	img := randomImage(t, 3)
	tr := &counting{}

	first, err := Push(t.Context(), img, tag, Options{Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	want, _ := img.Digest()
	if first.Digest.String() != tag.Context().String()+"@"+want.String() || first.Already {
		t.Errorf("first push: %+v", first)
	}
	if size := totalSize(t, img); first.Uploaded != size {
		t.Errorf("uploaded %d bytes, the image has %d", first.Uploaded, size)
	}
	calls := tr.take()
	if n := count(calls, "PUT", "/manifests/"); n != 1 || !strings.HasSuffix(calls[len(calls)-1], "/manifests/1.0") {
		t.Errorf("%d manifests put, last call %s", n, calls[len(calls)-1])
	}

	second, err := Push(t.Context(), img, tag, Options{Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	if !second.Already || second.Uploaded != 0 || second.Digest != first.Digest {
		t.Errorf("second push: %+v", second)
	}
	if d := cmp.Diff([]string{"GET /v2/", "HEAD /v2/shop/web/manifests/1.0"}, tr.take()); d != "" {
		t.Errorf("requests of the second push (-want +got):\n%s", d)
	}

	// Under another tag only the manifest goes over.
	if _, err := Push(t.Context(), img, newTag(t, host+"/shop/web:1.1"), Options{Transport: tr}); err != nil {
		t.Fatal(err)
	}
	calls = tr.take()
	if count(calls, "POST", "") != 0 || count(calls, "HEAD", "/blobs/") != 0 || count(calls, "PUT", "/manifests/1.1") != 1 {
		t.Errorf("requests under a second tag: %q", calls)
	}
}

func totalSize(t *testing.T, img v1.Image) int64 {
	t.Helper()
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	size, _ := img.Size()
	size += m.Config.Size
	for _, l := range m.Layers {
		size += l.Size
	}
	return size
}

func TestPushRefusesToMoveATag(t *testing.T) {
	tag := newTag(t, serve(t, nil)+"/shop/web:1.0")
	one, two := randomImage(t, 1), randomImage(t, 1)
	if _, err := Push(t.Context(), one, tag, Options{}); err != nil {
		t.Fatal(err)
	}
	tr := &counting{}
	_, err := Push(t.Context(), two, tag, Options{Transport: tr})
	var exists *TagExistsError
	if !errors.As(err, &exists) {
		t.Fatalf("err = %v", err)
	}
	have, _ := one.Digest()
	want, _ := two.Digest()
	if exists.Have != have || exists.Want != want || !strings.Contains(err.Error(), have.String()) ||
		!strings.Contains(err.Error(), want.String()) || exists.Hint() == "" {
		t.Errorf("err = %v", err)
	}
	if calls := tr.take(); len(calls) != 2 {
		t.Errorf("requests: %q", calls)
	}
}

func TestPushRefusesLatest(t *testing.T) {
	for _, ref := range []string{"registry.example.com/web:latest", "registry.example.com/web"} {
		tr := &counting{}
		_, err := Push(t.Context(), randomImage(t, 1), newTag(t, ref), Options{Transport: tr})
		var latest *LatestError
		if !errors.As(err, &latest) || len(tr.take()) != 0 {
			t.Errorf("%s: err = %v", ref, err)
		}
	}
}

// immutable refuses every manifest under a tag that exists, the way ECR does:
// also the very manifest that it names, and by a code, not a particular status.
func immutable(t *testing.T, race func()) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && !strings.Contains(r.URL.Path, "sha256:") {
				if race != nil && r.Header.Get("X-Test") == "" {
					race()
				}
				probe := httptest.NewRecorder()
				h.ServeHTTP(probe, httptest.NewRequestWithContext(t.Context(), http.MethodHead, r.URL.Path, nil))
				if probe.Code == http.StatusOK {
					w.WriteHeader(http.StatusBadRequest)
					fmt.Fprint(w, `{"errors":[{"code":"TAG_INVALID","message":"any wording"}]}`)
					return
				}
			}
			h.ServeHTTP(w, r)
		})
	}
}

// setHeader marks the requests of the push that wins the race.
type setHeader struct{}

func (setHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Test", "winner")
	return http.DefaultTransport.RoundTrip(r)
}

func TestPushLosesARaceOnAnImmutableTag(t *testing.T) {
	ours := randomImage(t, 1)
	for _, tc := range []struct {
		what   string
		winner v1.Image
		fails  bool
	}{
		{"the same image", ours, false},
		{"another image", randomImage(t, 1), true},
	} {
		t.Run(tc.what, func(t *testing.T) {
			var tag name.Tag
			var once sync.Once
			host := serve(t, immutable(t, func() {
				once.Do(func() {
					if _, err := Push(t.Context(), tc.winner, tag, Options{Transport: setHeader{}}); err != nil {
						t.Error(err)
					}
				})
			}))
			tag = newTag(t, host+"/shop/web:1.0")
			_, err := Push(t.Context(), ours, tag, Options{})
			var exists *TagExistsError
			if errors.As(err, &exists) != tc.fails || (err != nil) != tc.fails {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// A registry with mutable tags would let the second of two pushes win.
func TestPushLooksAtTheTagAgainBeforeWritingIt(t *testing.T) {
	var tag name.Tag
	var once sync.Once
	other := randomImage(t, 1)
	host := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.Header.Get("X-Test") == "" {
				once.Do(func() {
					if _, err := Push(t.Context(), other, tag, Options{Transport: setHeader{}}); err != nil {
						t.Error(err)
					}
				})
			}
			h.ServeHTTP(w, r)
		})
	})
	tag = newTag(t, host+"/shop/web:1.0")
	_, err := Push(t.Context(), randomImage(t, 1), tag, Options{})
	var exists *TagExistsError
	if !errors.As(err, &exists) {
		t.Errorf("err = %v", err)
	}
}

func TestPushIndex(t *testing.T) {
	host := serve(t, immutable(t, nil))
	tag := newTag(t, host+"/shop/web:1.0")
	shared := randomImage(t, 1)
	var idx v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := mutate.ConfigFile(shared, &v1.ConfigFile{Architecture: arch, OS: "linux",
			RootFS: v1.RootFS{Type: "layers", DiffIDs: diffIDs(t, shared)}})
		if err != nil {
			t.Fatal(err)
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	tr := &counting{}
	res, err := Push(t.Context(), idx, tag, Options{Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	calls := tr.take()
	if n := count(calls, "PUT", "/manifests/sha256:"); n != 2 {
		t.Errorf("%d children put by digest", n)
	}
	if n := count(calls, "PUT", "/manifests/1.0"); n != 1 || !strings.HasSuffix(calls[len(calls)-1], "/manifests/1.0") {
		t.Errorf("index put %d times, last call %s", n, calls[len(calls)-1])
	}
	if n := count(calls, "PUT", "/blobs/uploads/"); n != 3 { // the shared layer once, two configurations
		t.Errorf("%d blobs sent", n)
	}
	got, err := remote.Index(res.Digest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := got.IndexManifest()
	if err != nil || len(m.Manifests) != 2 {
		t.Errorf("index = %+v, %v", m, err)
	}
	// One child is there already: only the rest goes over.
	idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: randomImage(t, 1)})
	if _, err := Push(t.Context(), idx, newTag(t, host+"/shop/web:1.1"), Options{Transport: tr}); err != nil {
		t.Fatal(err)
	}
	if calls := tr.take(); count(calls, "PUT", "/manifests/sha256:") != 1 {
		t.Errorf("requests: %q", calls)
	}
}

func diffIDs(t *testing.T, img v1.Image) []v1.Hash {
	t.Helper()
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return cf.RootFS.DiffIDs
}

func TestPushMountsLayersOfABase(t *testing.T) {
	host := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// The registry in process has one blob store for all repositories.
			if r.Method == http.MethodHead && strings.HasPrefix(r.URL.Path, "/v2/shop/web/blobs/") {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	base := randomImage(t, 2)
	baseTag := newTag(t, host+"/base/python:3.13")
	if _, err := Push(t.Context(), base, baseTag, Options{}); err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(baseTag) // its layers know where they came from
	if err != nil {
		t.Fatal(err)
	}
	layer, err := random.Layer(500, "application/vnd.oci.image.layer.v1.tar+gzip")
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(pulled, layer)
	if err != nil {
		t.Fatal(err)
	}
	tr := &mounts{}
	if _, err := Push(t.Context(), img, newTag(t, host+"/shop/web:1.0"), Options{Transport: tr}); err != nil {
		t.Fatal(err)
	}
	if tr.asked != 2 {
		t.Errorf("%d mounts asked for", tr.asked)
	}
}

type mounts struct {
	mu    sync.Mutex
	asked int
}

func (m *mounts) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && r.URL.Query().Get("from") == "base/python" {
		m.mu.Lock()
		m.asked++
		m.mu.Unlock()
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestPushInterruptedLeavesNoTag(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var calls counting
	host := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isBlobPut(r) {
				io.Copy(io.Discard, r.Body)
				cancel()
				<-r.Context().Done() // the client gave up in the middle of a blob
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	tag := newTag(t, host+"/shop/web:1.0")
	_, err := Push(ctx, randomImage(t, 3), tag, Options{Transport: &calls, Retry: quick})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("err = %v", err)
	}
	if !strings.HasSuffix(err.Error(), "interrupted") {
		t.Errorf("err = %v", err)
	}
	if n := count(calls.take(), "PUT", "/manifests/"); n != 0 {
		t.Errorf("%d manifests were put", n)
	}
	if _, err := remote.Head(tag); !isNotFound(err) {
		t.Errorf("tag after an interrupted push: %v", err)
	}
}

func TestPushRetriesAndTellsProgressOnce(t *testing.T) {
	var mu sync.Mutex
	failed := map[string]bool{}
	host := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			key := r.Method + r.URL.Path
			if isBlobPut(r) {
				key = "blob" // one blob's upload breaks once, after its bytes were read
			}
			mu.Lock()
			first := !failed[key]
			failed[key] = true
			mu.Unlock()
			if first && r.Method == http.MethodPut {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusTooManyRequests)
				fmt.Fprint(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	img := randomImage(t, 2)
	var meters meterLog
	res, err := Push(t.Context(), img, newTag(t, host+"/shop/web:1.0"), Options{Retry: quick, Progress: meters.open})
	if err != nil {
		t.Fatal(err)
	}
	if size := totalSize(t, img); res.Uploaded != size {
		t.Errorf("uploaded %d, want %d", res.Uploaded, size)
	}
	if len(meters.all) != 3 {
		t.Fatalf("%d meters", len(meters.all))
	}
	for _, m := range meters.all {
		if m.n != m.total || !m.closed {
			t.Errorf("meter %+v", m)
		}
	}
}

type meterLog struct {
	mu  sync.Mutex
	all []*meter
}

type meter struct {
	what     string
	total, n int64
	closed   bool
}

func (l *meterLog) open(what string, total int64) io.WriteCloser {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := &meter{what: what, total: total}
	l.all = append(l.all, m)
	return m
}

func (m *meter) Write(p []byte) (int, error) { m.n += int64(len(p)); return len(p), nil }
func (m *meter) Close() error                { m.closed = true; return nil }

func TestPushErrorsNameTheRepositoryAndTheWayOut(t *testing.T) {
	for _, tc := range []struct {
		what, method string
		status       int
		body         string
		text, hint   string
		as           any
	}{
		{"no credentials", "HEAD", 401, "", "look at tag 1.0", "docker login", new(*RegistryError)},
		{"not allowed", "POST", 403, `{"errors":[{"code":"DENIED","message":"User is not authorized"}]}`,
			"DENIED: User is not authorized", "PutImage", new(*RegistryError)},
		{"no repository", "POST", 404, `{"errors":[{"code":"NAME_UNKNOWN","message":"whatever"}]}`,
			"repository shop/web does not exist", "--create-repository", new(*RepositoryNotFoundError)},
		{"bad manifest", "PUT", 405, `{"errors":[{"code":"UNSUPPORTED","message":"Invalid parameter"}]}`,
			"write tag 1.0: UNSUPPORTED: Invalid parameter", "", new(*RegistryError)},
	} {
		t.Run(tc.what, func(t *testing.T) {
			host := serve(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == tc.method && (r.Method != "PUT" || strings.Contains(r.URL.Path, "/manifests/")) {
						w.WriteHeader(tc.status)
						fmt.Fprint(w, tc.body)
						return
					}
					h.ServeHTTP(w, r)
				})
			})
			_, err := Push(t.Context(), randomImage(t, 1), newTag(t, host+"/shop/web:1.0"),
				Options{Retry: quick, Keychain: authn.NewMultiKeychain()})
			if err == nil || !errors.As(err, tc.as) {
				t.Fatalf("err = %v", err)
			}
			if !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), host) || strings.Contains(err.Error(), "\n") {
				t.Errorf("err = %v", err)
			}
			var hint interface{ Hint() string }
			if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), tc.hint) || (tc.hint == "") != (hint.Hint() == "") {
				t.Errorf("hint = %q", hint.Hint())
			}
		})
	}
}

func TestPushWhatIsNoImage(t *testing.T) {
	_, err := Push(t.Context(), notAnImage{randomImage(t, 1)}, newTag(t, serve(t, nil)+"/shop/web:1.0"), Options{})
	if err == nil || !strings.Contains(err.Error(), "neither an image nor an index") {
		t.Errorf("err = %v", err)
	}
}

type notAnImage struct{ Image }

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 999: "999 bytes", 1500: "2 kB", 2_500_000: "2.5 MB", 50_000_000: "50 MB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
