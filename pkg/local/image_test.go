package local

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/boyabuild/boyabuild/pkg/sandbox"
	"github.com/boyabuild/boyabuild/pkg/store"
)

// keep puts an image into a store, as a push does.
func keep(t *testing.T, s *store.Store, img v1.Image) string {
	t.Helper()
	for _, l := range must(img.Layers()) {
		if _, _, err := s.Put(t.Context(), must(l.Compressed()), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range [][]byte{must(img.RawConfigFile()), must(img.RawManifest())} {
		if _, _, err := s.Put(t.Context(), bytes.NewReader(b), nil); err != nil {
			t.Fatal(err)
		}
	}
	return must(img.Digest()).String()
}

func TestUnpackOnce(t *testing.T) {
	s := must(store.Open(t.TempDir()))
	dir := t.TempDir()
	cache := newImageCache(s, dir)
	digest := keep(t, s, image(t, map[string][]byte{"a": []byte("hello")}, "x"))
	first := must(cache.acquire(t.Context(), digest))
	second := must(cache.acquire(t.Context(), digest))
	if first != second {
		t.Error("unpacked twice")
	}
	if b := must(os.ReadFile(filepath.Join(first.rootfs(), "a"))); string(b) != "hello" {
		t.Errorf("a has %q", b)
	}
	first.release()
	if err := cache.sweep(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(second.rootfs()); err != nil {
		t.Errorf("an image in use was removed: %v", err)
	}
	second.release()
	if err := cache.sweep(map[string]bool{digest: true}); err != nil {
		t.Fatal(err)
	}
	if len(must(os.ReadDir(dir))) != 1 {
		t.Error("an image that a service needs was removed")
	}
	if err := os.WriteFile(filepath.Join(first.rootfs(), "mark"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := must(newImageCache(s, dir).acquire(t.Context(), digest)) // as an earlier cloud left it
	if _, err := os.Stat(filepath.Join(again.rootfs(), "mark")); err != nil {
		t.Errorf("unpacked again: %v", err)
	}
	if err := cache.sweep(nil); err != nil {
		t.Fatal(err)
	}
	if left := must(os.ReadDir(dir)); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestUnpackRefuses(t *testing.T) {
	good := image(t, map[string][]byte{"a": []byte("hello")}, "x")
	config := must(good.ConfigFile()).DeepCopy()
	config.Architecture = "s390x"
	foreign := must(mutate.ConfigFile(good, config))
	config = must(good.ConfigFile()).DeepCopy()
	config.RootFS.DiffIDs[0].Hex = "00" + config.RootFS.DiffIDs[0].Hex[2:]
	lying := must(mutate.ConfigFile(good, config))
	for name, img := range map[string]v1.Image{"platform": foreign, "content": lying} {
		t.Run(name, func(t *testing.T) {
			s := must(store.Open(t.TempDir()))
			dir := t.TempDir()
			_, err := newImageCache(s, dir).acquire(t.Context(), keep(t, s, img))
			if err == nil {
				t.Error("no error")
			}
			t.Log(err)
			if left := must(os.ReadDir(dir)); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestNoteOwners(t *testing.T) {
	layer := func(headers ...*tar.Header) *bytes.Buffer {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		return &b
	}
	owners := map[string]sandbox.Owner{}
	for _, l := range []*bytes.Buffer{
		layer(&tar.Header{Name: "./srv/", Typeflag: tar.TypeDir, Uid: 5, Gid: 6}, &tar.Header{Name: "srv/a", Uid: 5}, &tar.Header{Name: "srv/b", Gid: 6},
			&tar.Header{Name: "srv/d/", Typeflag: tar.TypeDir, Uid: 5}, &tar.Header{Name: "srv/d/x", Uid: 5}, &tar.Header{Name: "root"}),
		layer(&tar.Header{Name: "srv/.wh.a"}, &tar.Header{Name: "srv/b"}, &tar.Header{Name: "srv/d/.wh..wh..opq"}),
	} {
		if err := noteOwners(l, owners); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]sandbox.Owner{"/srv": {Path: "/srv", UID: 5, GID: 6}, "/srv/d": {Path: "/srv/d", UID: 5}}
	if diff := cmp.Diff(want, owners); diff != "" {
		t.Error(diff)
	}
}

func FuzzNoteOwners(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "../x/.wh.a", Uid: 3})
	w.WriteHeader(&tar.Header{Name: "/y", Uid: 3})
	w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, layer []byte) {
		owners := map[string]sandbox.Owner{}
		_ = noteOwners(bytes.NewReader(layer), owners)
		for p := range owners {
			if filepath.Clean(p) != p || p[0] != '/' {
				t.Errorf("path %q", p)
			}
		}
	})
}
