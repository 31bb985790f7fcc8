package push

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func forPlatform(t *testing.T, arch string) v1.Image {
	t.Helper()
	img := randomImage(t, 2)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers", DiffIDs: diffIDs(t, img)}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestFetch(t *testing.T) {
	reg := newStrict(false)
	host := serve(t, reg.over)
	amd, arm := forPlatform(t, "amd64"), forPlatform(t, "arm64")
	about := mutate.ConfigMediaType(mutate.MediaType(randomImage(t, 1), types.OCIManifestSchema1), "application/vnd.example.about")
	platform := func(arch string) *v1.Platform { return &v1.Platform{OS: "linux", Architecture: arch} }
	idx := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: about, Descriptor: v1.Descriptor{ArtifactType: "application/vnd.example.about", Platform: platform("arm64")}},
		mutate.IndexAddendum{Add: amd, Descriptor: v1.Descriptor{Platform: platform("amd64")}},
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: platform("arm64")}})
	one, many := newTag(t, host+"/shop/web:one"), newTag(t, host+"/shop/web:many")
	mustPush(t, amd, one, Options{})
	mustPush(t, idx, many, Options{})
	for _, tc := range []struct {
		what string
		ref  name.Reference
		arch string
		want v1.Image // nil: not found
		n    int      // requests, the ping included
	}{
		{"an image", one, "amd64", amd, 3},
		{"for any platform", one, "", amd, 3},
		{"by digest", one.Context().Digest(digest(t, amd).String()), "amd64", amd, 3},
		{"of an index", many, "arm64", arm, 4},
		{"of another platform", one, "arm64", nil, 3},
		{"of an index without it", many, "riscv64", nil, 2},
		{"no such tag", newTag(t, host+"/shop/web:none"), "amd64", nil, 2},
		{"no such repository", newTag(t, host+"/shop/none:one"), "amd64", nil, 2},
	} {
		t.Run(tc.what, func(t *testing.T) {
			reg.take()
			p := v1.Platform{}
			if tc.arch != "" {
				p = *platform(tc.arch)
			}
			got, err := Fetch(t.Context(), tc.ref, p, Options{})
			if calls := reg.take(); len(calls) != tc.n {
				t.Errorf("requests: %q", calls)
			}
			var none *ImageNotFoundError
			if (tc.want == nil) != errors.As(err, &none) || tc.want != nil && err != nil {
				t.Fatalf("err = %v", err)
			}
			if tc.want == nil {
				if !strings.Contains(err.Error(), tc.ref.String()) {
					t.Errorf("err = %v", err)
				}
				return
			}
			if d := cmp.Diff(digest(t, tc.want), digest(t, got)); d != "" {
				t.Error(d)
			}
			if calls := reg.take(); len(calls) != 0 {
				t.Errorf("requests: %q", calls)
			}
			for i, l := range layersOf(t, got) {
				if !bytes.Equal(content(t, l), content(t, layersOf(t, tc.want)[i])) {
					t.Errorf("layer %d differs", i)
				}
			}
			if calls := reg.take(); len(calls) != 2 {
				t.Errorf("requests for two layers: %q", calls)
			}
		})
	}
}

func content(t *testing.T, l v1.Layer) []byte {
	t.Helper()
	rc, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFetchErrors(t *testing.T) {
	large := strings.Repeat(" ", answerLimit+1)
	config := func(size int64) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"size":%d,"digest":"sha256:%064d"},"layers":[]}`, types.OCIManifestSchema1, types.OCIConfigJSON, size, 0)
	}
	for _, tc := range []struct {
		what, body string
		status     int
		text, hint string
	}{
		{"large manifest", large, 200, "larger than 8 MiB", ""},
		{"large configuration", config(configLimit + 1), 200, "configuration is said to have 8388609 bytes", ""},
		{"negative configuration", config(-1), 200, "-1 bytes", ""},
		{"no manifest", "[", 200, "unexpected EOF", ""},
		{"forbidden", "", 403, "403", "GetDownloadUrlForLayer"},
		{"out of order", "", 503, "503", ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			n := 0
			host := serve(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.Contains(r.URL.Path, "/manifests/") {
						next.ServeHTTP(w, r)
						return
					}
					n++
					w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
					w.WriteHeader(tc.status)
					_, _ = io.WriteString(w, tc.body)
				})
			})
			_, err := Fetch(t.Context(), newTag(t, host+"/shop/web:1.0"), v1.Platform{}, Options{Retry: quick})
			var e *RegistryError
			if !errors.As(err, &e) || !e.Reading || !strings.HasPrefix(err.Error(), "read "+host+"/shop/web: image 1.0: ") || !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("err = %v", err)
			}
			if !strings.Contains(e.Hint(), tc.hint) || tc.hint == "" && e.Hint() != "" {
				t.Errorf("hint %q", e.Hint())
			}
			if want := map[int]int{503: quick.Steps}[tc.status]; want > 0 && n != want {
				t.Errorf("asked %d times, not %d", n, want)
			}
		})
	}
}

// A layer whose bytes are others than the manifest says does not come through.
func TestFetchedLayersAreVerified(t *testing.T) {
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") && r.Header.Get("X-Test") == "" {
				w = &flipped{ResponseWriter: w}
			}
			next.ServeHTTP(w, r)
		})
	})
	tag := newTag(t, host+"/shop/web:1.0")
	mustPush(t, randomImage(t, 1), tag, Options{})
	if _, err := Fetch(t.Context(), tag, v1.Platform{}, Options{}); err == nil {
		t.Error("another configuration comes through")
	}
	img, err := Fetch(t.Context(), tag, v1.Platform{}, Options{Transport: setHeader{}})
	if err != nil {
		t.Fatal(err)
	}
	img2 := *img.(*fetched)
	if _, err := io.ReadAll(mustOpen(t, layersOf(t, &img2)[0])); err != nil {
		t.Error(err)
	}
}

func mustOpen(t *testing.T, l v1.Layer) io.Reader {
	t.Helper()
	rc, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rc.Close() })
	return rc
}

// flipped changes what is written.
type flipped struct{ http.ResponseWriter }

func (f *flipped) Write(p []byte) (int, error) {
	q := bytes.Clone(p)
	if len(q) > 0 {
		q[0] ^= 1
	}
	return f.ResponseWriter.Write(q)
}
