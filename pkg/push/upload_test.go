package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// firstBlob has something other happen to the first blob that is sent; the requests
// from then on are recorded.
func firstBlob(happens func(w http.ResponseWriter, r *http.Request, next http.Handler)) (*counting, func(http.Handler) http.Handler) {
	var once atomic.Bool
	calls := &counting{}
	return calls, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isBlobPut(r) && once.CompareAndSwap(false, true) {
				happens(w, r, next)
				return
			}
			if once.Load() {
				calls.mu.Lock()
				calls.calls = append(calls.calls, r.Method+" "+r.URL.Path)
				calls.mu.Unlock()
			}
			next.ServeHTTP(w, r)
		})
	}
}

func hangUp(t *testing.T, w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	conn.Close()
}

func TestBrokenUploadsBeginAgain(t *testing.T) {
	for _, tc := range []struct {
		what    string
		happens func(w http.ResponseWriter, r *http.Request, next http.Handler)
		blobs   int // sent after that
	}{
		{"an error in the middle", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
			http.Error(w, "out of order", http.StatusBadGateway)
		}, 2},
		{"a reset in the middle", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
			hangUp(t, w)
		}, 2},
		{"an upload that is not known any more", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			_, _ = io.Copy(io.Discard, r.Body)
			refuse(w, http.StatusBadRequest, string(transport.BlobUploadInvalidErrorCode))
		}, 2},
		{"an answer that is lost", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			hangUp(t, w)
		}, 1},
	} {
		t.Run(tc.what, func(t *testing.T) {
			calls, wrap := firstBlob(tc.happens)
			tag := newTag(t, serve(t, wrap)+"/shop/web:1.0")
			img := large(t, 5<<20)
			var meters meterLog
			r, err := Push(t.Context(), img, tag, Options{Retry: quick, Jobs: 1, Progress: meters.open})
			if err != nil {
				t.Fatal(err)
			}
			if n := count(calls.take(), "PUT", "/blobs/"); n != tc.blobs {
				t.Errorf("%d blobs were sent afterwards, not %d", n, tc.blobs)
			}
			if r.Uploaded != totalSize(t, img) {
				t.Errorf("%d bytes uploaded of %d", r.Uploaded, totalSize(t, img))
			}
			for _, m := range meters.all {
				if m.n != m.total || !m.closed {
					t.Errorf("meter %+v", m)
				}
			}
		})
	}
}

// A token may end while a blob is being sent: the bytes that were sent are sent
// again, all of them.
func TestTokenEndsDuringAnUpload(t *testing.T) {
	reg := newStrict(true)
	calls, wrap := firstBlob(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, r.Host))
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
	})
	tag := newTag(t, serve(t, func(next http.Handler) http.Handler { return wrap(reg.over(next)) })+"/shop/web:1.0")
	mustPush(t, large(t, 5<<20), tag, Options{Jobs: 1, Retry: quick})
	got := calls.take()
	got = got[slices.Index(got, "GET /token")+1:]
	if count(got, "POST", "") != 1 || !strings.HasPrefix(got[0], "PUT /v2/shop/web/blobs/uploads/") {
		t.Errorf("afterwards: %q", got)
	}
}

func TestAnInterruptionEndsThePauseBetweenAttempts(t *testing.T) {
	for _, method := range []string{http.MethodHead, http.MethodPut} {
		ctx, cancel := context.WithCancel(t.Context())
		host := serve(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == method {
					http.Error(w, "later", http.StatusServiceUnavailable)
					time.AfterFunc(20*time.Millisecond, cancel)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		slow := quick
		slow.Duration = time.Hour
		if _, err := Push(ctx, randomImage(t, 1), newTag(t, host+"/shop/web:1.0"), Options{Retry: slow}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", method, err)
		}
		cancel()
	}
}

func TestUploadsStayWhereTheRegistryIs(t *testing.T) {
	const elsewhere = "http://169.254.169.254/take?key=secret"
	var asked atomic.Int32
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				asked.Add(1)
				w.Header().Set("Location", elsewhere)
				w.WriteHeader(http.StatusAccepted)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	_, err := Push(t.Context(), randomImage(t, 1), newTag(t, host+"/shop/web:1.0"), Options{Retry: quick, Jobs: 1})
	var stray *strayError
	if !errors.As(err, &stray) || strings.Contains(err.Error(), "secret") || asked.Load() > 2 {
		t.Errorf("err = %v after %d", err, asked.Load())
	}
}

func TestErrorsTellNoUploadURL(t *testing.T) {
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPost:
				w.Header().Set("Location", r.URL.Path+"abc?state=secret") // relative, with a query
				w.WriteHeader(http.StatusAccepted)
			case isBlobPut(r):
				if q := r.URL.Query(); q.Get("state") != "secret" || !strings.HasPrefix(q.Get("digest"), "sha256:") {
					t.Errorf("%s", r.URL)
				}
				hangUp(t, w)
			default:
				next.ServeHTTP(w, r)
			}
		})
	})
	_, err := Push(t.Context(), randomImage(t, 1), newTag(t, host+"/shop/web:1.0"), Options{Retry: quick})
	var e *RegistryError
	if !errors.As(err, &e) || strings.Contains(err.Error(), "secret") {
		t.Errorf("err = %v", err)
	}
}

// A blob that cannot be read is not the registry's fault, and nothing to try again.
func TestLayerThatCannotBeRead(t *testing.T) {
	var sent atomic.Int32
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isBlobPut(r) && r.ContentLength > 1<<20 {
				sent.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	})
	bad := errors.New("the blob is damaged")
	layer := newZeros(t, 5<<20)
	layer.breaks = bad
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Push(t.Context(), img, newTag(t, host+"/shop/web:1.0"), Options{Retry: quick})
	var e *RegistryError
	if !errors.Is(err, bad) || errors.As(err, &e) || sent.Load() > 1 {
		t.Errorf("err = %v, sent %d times", err, sent.Load())
	}
}

func TestNonDistributableLayersStay(t *testing.T) {
	host := serve(t, nil)
	foreign := newZeros(t, 1<<20)
	foreign.mediaType = types.DockerForeignLayer
	img, err := mutate.AppendLayers(empty.Image, foreign)
	if err != nil {
		t.Fatal(err)
	}
	tr := &counting{}
	mustPush(t, img, newTag(t, host+"/shop/web:1.0"), Options{Transport: tr})
	if n := count(tr.take(), "PUT", "/blobs/"); n != 1 {
		t.Errorf("%d blobs sent", n)
	}
}

// zeros is a layer of nothing, which has no bytes until they are read.
type zeros struct {
	size      int64
	digest    v1.Hash // of size zeros
	mediaType types.MediaType
	breaks    error // in the middle
}

func newZeros(t testing.TB, size int64) *zeros {
	t.Helper()
	h, _, err := v1.SHA256(io.LimitReader(zeroReader{}, size))
	if err != nil {
		t.Fatal(err)
	}
	return &zeros{size: size, digest: h}
}

func (z *zeros) Digest() (v1.Hash, error) { return z.digest, nil }
func (z *zeros) DiffID() (v1.Hash, error) { return z.digest, nil }
func (z *zeros) Size() (int64, error)     { return z.size, nil }

func (z *zeros) MediaType() (types.MediaType, error) {
	if z.mediaType == "" {
		return types.OCILayer, nil
	}
	return z.mediaType, nil
}

func (z *zeros) Uncompressed() (io.ReadCloser, error) { return z.Compressed() }

func (z *zeros) Compressed() (io.ReadCloser, error) {
	if z.breaks != nil {
		return io.NopCloser(io.MultiReader(io.LimitReader(zeroReader{}, z.size/2), brokenReader{z.breaks})), nil
	}
	return io.NopCloser(io.LimitReader(zeroReader{}, z.size)), nil
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

func large(t testing.TB, size int64) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, newZeros(t, size))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// sink takes blobs and forgets them.
func sink(t testing.TB) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodPost:
			w.Header().Set("Location", r.URL.Path+"1")
			w.WriteHeader(http.StatusAccepted)
		case r.Method == http.MethodPut:
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		}
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// peak watches the heap while something is done.
func peak(do func()) uint64 {
	heap := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	runtime.GC()
	before := heap()
	var most uint64
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			most = max(most, heap())
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	do()
	close(done)
	wait.Wait()
	return most - min(most, before)
}

func TestMemoryIsFlat(t *testing.T) {
	host := sink(t)
	img := large(t, 64<<20)
	if n := peak(func() { mustPush(t, img, newTag(t, host+"/shop/web:1.0"), Options{}) }); n > 8<<20 {
		t.Errorf("the heap grew by %d bytes for a layer of 64 MiB", n)
	}
}

func BenchmarkPushLargeLayer(b *testing.B) {
	host := sink(b)
	for _, mib := range []int64{16, 256} {
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) {
			img := large(b, mib<<20)
			tag := newTag(b, host+"/shop/web:1.0")
			b.SetBytes(mib << 20)
			b.ReportAllocs()
			var most uint64
			for b.Loop() {
				most = max(most, peak(func() {
					if _, err := Push(b.Context(), img, tag, Options{}); err != nil {
						b.Fatal(err)
					}
				}))
			}
			b.ReportMetric(float64(most)/(1<<20), "peak-heap-MiB")
		})
	}
}

func TestQuestionsAreAskedAtOnce(t *testing.T) {
	var now, most atomic.Int32
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/blobs/") {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				time.Sleep(5 * time.Millisecond)
				defer now.Add(-1)
			}
			next.ServeHTTP(w, r)
		})
	})
	mustPush(t, randomImage(t, 30), newTag(t, host+"/shop/web:1.0"), Options{Jobs: 2})
	if n := most.Load(); n <= 2 || n > 2*askFactor {
		t.Errorf("%d at once", n)
	}
	if d := cmp.Diff(int32(0), now.Load()); d != "" {
		t.Error(d)
	}
}
