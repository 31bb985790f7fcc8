package push

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
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

func TestVouchedLayersAreNotAskedFor(t *testing.T) {
	var lacks atomic.Bool // a blob is gone though a manifest refers to it
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && lacks.CompareAndSwap(true, false) {
				http.Error(w, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}`, http.StatusBadRequest)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	first := randomImage(t, 30)
	if _, err := Push(t.Context(), first, newTag(t, host+"/shop/web:1.0"), Options{}); err != nil {
		t.Fatal(err)
	}
	l, err := random.Layer(1000, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	next, err := mutate.AppendLayers(first, l)
	if err != nil {
		t.Fatal(err)
	}
	tr := &counting{}
	if _, err := Push(t.Context(), next, newTag(t, host+"/shop/web:1.1"), Options{Transport: tr, Vouched: []Image{first}}); err != nil {
		t.Fatal(err)
	}
	calls := tr.take()
	if n := count(calls, "HEAD", "/blobs/"); n != 2 { // the new layer and the configuration
		t.Errorf("%d blobs were asked for: %v", n, calls)
	}
	t.Logf("%d requests for one new layer of 31", len(calls))

	lacks.Store(true)
	if _, err := Push(t.Context(), mustAnnotate(t, next), newTag(t, host+"/shop/web:1.2"), Options{Transport: tr, Vouched: []Image{first}}); err != nil {
		t.Fatal(err)
	}
	if n := count(tr.take(), "HEAD", "/blobs/"); n < 32 {
		t.Errorf("when the registry lacks a blob only %d are asked for", n)
	}
}

func mustAnnotate(t *testing.T, img v1.Image) Image {
	t.Helper()
	return mutate.Annotations(img, map[string]string{"x": "y"}).(v1.Image)
}

func TestNewest(t *testing.T) {
	host := serve(t, nil)
	img := randomImage(t, 1)
	repo := newTag(t, host+"/shop/web:x").Context()
	if got, err := Newest(t.Context(), repo, "", Options{}); err != nil || got != "" {
		t.Fatalf("of no repository: %q, %v", got, err)
	}
	for _, tag := range []string{"1.9", "1.10", "main", "deadbeef", "1.10rc1", "zzz"} {
		if _, err := Push(t.Context(), img, repo.Tag(tag), Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for except, want := range map[string]string{"": "1.10", "1.10": "1.10rc1"} {
		if got, err := Newest(t.Context(), repo, except, Options{}); err != nil || got != want {
			t.Errorf("but %q: %q, %v, want %q", except, got, err, want)
		}
	}
}

func TestCompareTags(t *testing.T) {
	order := []string{"latest", "main", "1.0a1", "1.0b2", "1.0rc1", "1.0", "1.0-1", "1.0.1", "v1.9", "1.10", "2024.1", "20240501", "20240502-3"}
	for i, a := range order {
		for k, b := range order {
			got := compareTags(a, b)
			if i < k && got >= 0 || i > k && got <= 0 || i == k && got != 0 {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
	commits := []string{"deadbeefcafe", "1234567a"}
	if slices.ContainsFunc(commits, isVersion) {
		t.Errorf("a commit is taken for a version")
	}
}
