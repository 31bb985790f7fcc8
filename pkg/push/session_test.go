package push

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func TestSessionSendsBeforeTheImageIsFinished(t *testing.T) {
	host := serve(t, nil)
	tag := newTag(t, host+"/shop/web:1.0")
	img := randomImage(t, 5)
	list, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	tr := &counting{}
	s, err := Begin(t.Context(), tag, Options{Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	if asked := tr.take(); len(asked) > 0 {
		t.Errorf("Begin asks for %v", asked)
	}
	for _, l := range list[:3] {
		s.Send(l)
		s.Send(l)
	}
	s.wait.Wait()
	if n := count(tr.take(), "PUT", "/blobs/"); n != 3 {
		t.Errorf("%d blobs were sent before the end, not 3", n)
	}
	r, err := s.Finish(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(tr.take(), "PUT", "/blobs/"); n != 3 { // two layers and the configuration
		t.Errorf("%d blobs were sent in the end, not 3", n)
	}
	if want := totalSize(t, img); r.Uploaded != want {
		t.Errorf("%d bytes are said to be sent, not %d", r.Uploaded, want)
	}
}

func TestSessionTagTaken(t *testing.T) {
	host := serve(t, nil)
	tag := newTag(t, host+"/shop/web:1.0")
	img, other := randomImage(t, 1), randomImage(t, 2)
	if _, err := Push(t.Context(), img, tag, Options{}); err != nil {
		t.Fatal(err)
	}
	tr := &counting{}
	for _, i := range []struct {
		img  Image
		fail bool
	}{{img, false}, {other, true}} {
		s, err := Begin(t.Context(), tag, Options{Transport: tr})
		if err != nil {
			t.Fatal(err)
		}
		l, err := random.Layer(100, types.OCILayer)
		if err != nil {
			t.Fatal(err)
		}
		s.Send(l)
		_, err = s.Finish(t.Context(), i.img)
		var exists *TagExistsError
		if i.fail != errors.As(err, &exists) {
			t.Errorf("got %v", err)
		}
	}
	if calls := tr.take(); count(calls, "POST", "") > 0 {
		t.Errorf("something was sent: %v", calls)
	}
}

func TestSessionTellsOfALayerThatCannotBeSent(t *testing.T) {
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				http.Error(w, `{"errors":[{"code":"DENIED"}]}`, http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	img := randomImage(t, 3)
	s := begin(t, newTag(t, host+"/shop/web:1.0"), Options{Retry: quick})
	for _, l := range layersOf(t, img) {
		s.Send(l)
	}
	s.wait.Wait()
	_, err := s.Finish(t.Context(), img)
	var refused *RegistryError
	if !errors.As(err, &refused) || refused.Hint() == "" || !strings.Contains(err.Error(), "DENIED") {
		t.Errorf("err = %v", err)
	}
}

func TestSessionEnds(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isBlobPut(r) {
				once.Do(func() { close(started) })
				select {
				case <-release:
				case <-r.Context().Done():
				}
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	defer close(release)
	img := randomImage(t, 2)
	tag := newTag(t, host+"/shop/web:1.0")

	s := begin(t, tag, Options{})
	s.Send(layersOf(t, img)[0])
	<-started
	if err := s.Close(); err != nil { // hangs unless it stops what is being sent
		t.Fatal(err)
	}
	s.Send(layersOf(t, img)[1])
	if _, err := s.Finish(t.Context(), img); !errors.Is(err, context.Canceled) {
		t.Errorf("Finish after Close: %v", err)
	}

	s = begin(t, tag, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Finish(ctx, img); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Finish in no time: %v", err)
	}
}

func TestSessionIsBounded(t *testing.T) {
	var now, most atomic.Int32
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isBlobPut(r) {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				time.Sleep(2 * time.Millisecond)
				defer now.Add(-1)
			}
			next.ServeHTTP(w, r)
		})
	})
	img := randomImage(t, 20)
	s := begin(t, newTag(t, host+"/shop/web:1.0"), Options{Jobs: 3})
	for _, l := range layersOf(t, img) {
		s.Send(l)
	}
	if _, err := s.Finish(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	if n := most.Load(); n < 2 || n > 3 {
		t.Errorf("%d blobs were sent at once, of at most 3", n)
	}
}

func begin(t *testing.T, tag name.Tag, o Options) *Session {
	t.Helper()
	s, err := Begin(t.Context(), tag, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func layersOf(t *testing.T, img v1.Image) []v1.Layer {
	t.Helper()
	list, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return list
}
