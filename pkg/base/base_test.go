package base_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/debian/debiantest"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/store"
)

var (
	amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = v1.Platform{OS: "linux", Architecture: "arm64"}
)

func newStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func file(path, body string) layers.Entry {
	return layers.Entry{Path: path, Kind: layers.File, Mode: 0o755, Size: int64(len(body)), Content: layers.Bytes([]byte(body))}
}

func link(path, target string) layers.Entry {
	return layers.Entry{Path: path, Kind: layers.Symlink, Mode: 0o777, Link: target}
}

// newImage makes an image of one layer for each list of entries.
func newImage(t *testing.T, p v1.Platform, config v1.Config, parts ...[]layers.Entry) v1.Image {
	t.Helper()
	s := newStore(t)
	img, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, Config: config, RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, entries := range parts {
		tree, err := layers.NewTree(entries)
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.AddLayer(t.Context(), tree, layers.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, s.Layer(d)); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// python makes an image like Docker's python.
func python(t *testing.T, p v1.Platform) v1.Image {
	t.Helper()
	return newImage(t, p, v1.Config{Env: []string{"PATH=/usr/local/bin:/usr/bin", "PYTHON_VERSION=3.13.5"}},
		[]layers.Entry{file("etc/os-release", "ID=debian\nVERSION_ID=\"13\"\n"), file("usr/lib/x86_64-linux-gnu/libc.so.6", "GNU C Library (Debian GLIBC 2.41-12) stable release version 2.41.\n")},
		[]layers.Entry{file("usr/local/bin/python3.13", "interpreter for "+p.Architecture), link("usr/local/bin/python3", "python3.13")})
}

func index(t *testing.T, images ...v1.Image) v1.ImageIndex {
	t.Helper()
	idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, img := range images {
		c, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: c.Platform()}})
	}
	return idx
}

func digestOf(t *testing.T, d interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	h, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// server is a registry that counts what is asked of it.
type server struct {
	host string
	mu   sync.Mutex
	log  []string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			s.mu.Lock()
			s.log = append(s.log, r.URL.Path)
			s.mu.Unlock()
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.host = strings.TrimPrefix(srv.URL, "http://")
	return s
}

// asked returns how many requests had a part in their path since the last call.
func (s *server) asked(part string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range s.log {
		if strings.Contains(path, part) {
			n++
		}
	}
	s.log = nil
	return n
}

func resolve(t *testing.T, ref string, p v1.Platform, o base.Options) *base.Base {
	t.Helper()
	b, err := base.Resolve(t.Context(), ref, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRegistry(t *testing.T) {
	s := newServer(t)
	images := []v1.Image{python(t, amd64), python(t, arm64)}
	ref, err := name.ParseReference(s.host + "/python:3.13")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index(t, images...)); err != nil {
		t.Fatal(err)
	}
	o := base.Options{Store: newStore(t)}
	s.asked("")
	b := resolve(t, ref.String(), arm64, o)
	if want := digestOf(t, images[1]); b.Digest != want || b.Reference != s.host+"/python@"+want.String() || b.Index.Hex == "" {
		t.Errorf("resolved to %s (%s of %s)", b.Reference, b.Digest, b.Index)
	}
	if err := validate.Image(b.Image); err != nil {
		t.Error(err)
	}
	if n := s.asked("/blobs/"); n != 3 { // the config and two layers
		t.Errorf("%d blobs were fetched", n)
	}
	f, err := b.Facts()
	if err != nil || f.Python == nil || f.Python.Version != "3.13.5" || f.Libc.String() != "glibc 2.41" {
		t.Errorf("facts: %+v, %v", f, err)
	}
	again := resolve(t, ref.String(), arm64, o)
	if _, err := again.Facts(); err != nil || again.Digest != b.Digest || again.Reference != b.Reference || again.Index != b.Index {
		t.Errorf("resolved again to %s, %v", again.Reference, err)
	}
	if n := s.asked(""); n != 0 {
		t.Errorf("%d requests for what is known", n)
	}

	moved := newImage(t, arm64, v1.Config{}, []layers.Entry{file("new", "new")})
	if err := remote.WriteIndex(ref, index(t, moved)); err != nil {
		t.Fatal(err)
	}
	if still := resolve(t, ref.String(), arm64, o); still.Digest != b.Digest {
		t.Error("a tag moved without being pulled")
	}
	o.Pull = true
	if now := resolve(t, "docker-image://"+ref.String(), arm64, o); now.Digest != digestOf(t, moved) {
		t.Error("a pull gives the old image")
	}
	s.asked("")
	if pinned := resolve(t, b.Reference, arm64, o); pinned.Digest != b.Digest {
		t.Error("a digest stands for another image")
	}
}

func TestLayersAreFetchedWhenRead(t *testing.T) {
	s := newServer(t)
	ref, _ := name.ParseReference(s.host + "/python:3.13")
	if err := remote.Write(ref, python(t, amd64)); err != nil {
		t.Fatal(err)
	}
	s.asked("")
	b := resolve(t, ref.String(), amd64, base.Options{Store: newStore(t)})
	if n := s.asked("/blobs/"); n != 1 { // the config
		t.Errorf("%d blobs were fetched", n)
	}
	// A push to the same registry mounts the layers, which are not fetched for it.
	to, _ := name.ParseReference(s.host + "/app:1.0")
	if err := remote.Write(to, b.Image); err != nil {
		t.Fatal(err)
	}
	if n := s.asked("/python/blobs/"); n != 0 {
		t.Errorf("%d layers were fetched to push them where they are", n)
	}
	tree, err := b.Tree()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tree.ReadFile("usr/local/bin/python3", 100); err != nil || string(got) != "interpreter for amd64" {
		t.Errorf("%q, %v", got, err)
	}
	if n := s.asked("/blobs/"); n != 2 {
		t.Errorf("%d layers were fetched", n)
	}
}

func TestRegistryErrors(t *testing.T) {
	s := newServer(t)
	ref, _ := name.ParseReference(s.host + "/python:3.13")
	if err := remote.WriteIndex(ref, index(t, python(t, amd64), python(t, arm64))); err != nil {
		t.Fatal(err)
	}
	single, _ := name.ParseReference(s.host + "/single:1")
	if err := remote.Write(single, python(t, arm64)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ref      string
		platform v1.Platform
		target   any
		want     string
	}{
		"no such tag":       {s.host + "/python:4", amd64, new(*base.RegistryError), "the registry has no image " + s.host + "/python:4"},
		"no such platform":  {ref.String(), v1.Platform{OS: "linux", Architecture: "s390x"}, new(*base.PlatformError), "no image for linux/s390x, only for linux/amd64, linux/arm64"},
		"another platform":  {single.String(), amd64, new(*base.PlatformError), "no image for linux/amd64, only for linux/arm64"},
		"no registry there": {"127.0.0.1:1/python:3", amd64, new(*base.RegistryError), "refused"},
		"no reference":      {"Python:3:4", amd64, new(*base.RegistryError), "could not parse"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := base.Resolve(t.Context(), c.ref, c.platform, base.Options{Store: newStore(t)})
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, c.target) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			var hinted interface{ Hint() string }
			if !errors.As(err, &hinted) || hinted.Hint() == "" {
				t.Error("there is no hint")
			}
		})
	}
}

func TestVariants(t *testing.T) {
	arm := func(variant string) v1.Platform {
		return v1.Platform{OS: "linux", Architecture: "arm", Variant: variant}
	}
	s := newServer(t)
	ref, _ := name.ParseReference(s.host + "/x:1")
	v6, v7, v8 := newImage(t, arm("v6"), v1.Config{}), newImage(t, arm("v7"), v1.Config{}, []layers.Entry{file("7", "")}), newImage(t, v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, v1.Config{})
	if err := remote.WriteIndex(ref, index(t, v6, v7, v8)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		platform v1.Platform
		want     v1.Image
	}{{arm(""), v7}, {arm("v7"), v7}, {arm("v6"), v6}, {arm64, v8}} {
		if b := resolve(t, ref.String(), c.platform, base.Options{Store: newStore(t)}); b.Digest != digestOf(t, c.want) {
			t.Errorf("%v: another image", c.platform)
		}
	}
	if _, err := base.Resolve(t.Context(), ref.String(), arm("v5"), base.Options{Store: newStore(t)}); err == nil {
		t.Error("an image for v6 is taken for v5")
	}
}

func TestLayout(t *testing.T) {
	dir := t.TempDir()
	l, err := layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		t.Fatal(err)
	}
	one, multi := python(t, amd64), index(t, python(t, amd64), python(t, arm64))
	if err := l.AppendImage(one, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "one"})); err != nil {
		t.Fatal(err)
	}
	if err := l.AppendIndex(multi, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "latest"})); err != nil {
		t.Fatal(err)
	}
	arm := digestOf(t, python(t, arm64))
	for ref, want := range map[string]v1.Hash{
		"oci-layout://" + dir + ":one":             digestOf(t, one),
		"oci-layout://" + dir:                      arm,
		"oci-layout://" + dir + "@" + arm.String(): arm,
		dir: arm,
	} {
		platform := arm64
		if want != arm {
			platform = amd64
		}
		b := resolve(t, ref, platform, base.Options{Store: newStore(t)})
		if b.Digest != want {
			t.Errorf("%s: %s, want %s", ref, b.Digest, want)
		}
		if err := validate.Image(b.Image); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"oci-layout://" + dir + ":two":                               `no image named "two" (it has one, latest)`,
		"oci-layout://" + dir + "@sha256:" + strings.Repeat("0", 64): "no image sha256:000",
		"oci-layout://" + t.TempDir():                                "no OCI layout",
		"oci-layout://" + file:                                       "not a directory",
		"/nonexistent/layout":                                        "no such file",
	} {
		_, err := base.Resolve(t.Context(), ref, amd64, base.Options{Store: newStore(t)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", ref, err, want)
		}
	}
}

func TestDamagedLayout(t *testing.T) {
	img := python(t, amd64)
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]v1.Hash{"manifest": digestOf(t, img), "config": m.Config.Digest, "layer": m.Layers[0].Digest} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := layout.Write(dir, empty.Index)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.AppendImage(img); err != nil {
				t.Fatal(err)
			}
			blob := filepath.Join(dir, "blobs", "sha256", h.Hex)
			b, err := os.ReadFile(blob)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(blob, append(bytes.TrimSuffix(b, []byte("}")), " }"...), 0o600); err != nil {
				t.Fatal(err)
			}
			damaged, err := base.Resolve(t.Context(), "oci-layout://"+dir, amd64, base.Options{Store: newStore(t)})
			if err == nil {
				_, err = damaged.Tree()
			}
			if err == nil {
				t.Error("it is taken")
			}
		})
	}
}

func TestArchive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "python.tar")
	tag, _ := name.NewTag("example.com/python:3.13")
	if err := tarball.WriteToFile(path, tag, python(t, amd64)); err != nil {
		t.Fatal(err)
	}
	o := base.Options{Store: newStore(t)}
	b := resolve(t, "docker-archive://"+path, amd64, o)
	if err := validate.Image(b.Image); err != nil {
		t.Error(err)
	}
	if f, err := b.Facts(); err != nil || f.Python == nil {
		t.Errorf("facts: %+v, %v", f, err)
	}
	if again := resolve(t, "docker-archive://"+path, amd64, o); again.Digest != b.Digest {
		t.Error("the same file gives another image")
	}
	if _, err := base.Resolve(t.Context(), "docker-archive://"+os.DevNull, amd64, o); err == nil {
		t.Error("an empty file is an image")
	}
}

func TestScratch(t *testing.T) {
	b := resolve(t, "scratch", arm64, base.Options{Store: newStore(t)})
	if err := validate.Image(b.Image); err != nil {
		t.Error(err)
	}
	c, err := b.Image.ConfigFile()
	if err != nil || c.Architecture != "arm64" || c.OS != "linux" || len(c.RootFS.DiffIDs) != 0 {
		t.Errorf("config %+v, %v", c, err)
	}
	f, err := b.Facts()
	if diff := cmp.Diff(base.Facts{}, f); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// mirror is a Debian archive, and the options that use it.
func mirror(t *testing.T) (*debiantest.Server, base.Options) {
	t.Helper()
	s := debiantest.New(t)
	s.AddBase("trixie")
	s.AddPython("trixie", "3.13.5", "interpreter", "https://index.example.org/")
	return s, base.Options{Store: newStore(t), Debian: debian.Options{Mirror: s.URL, Keyring: debian.Keyring{s.Keyring()}, Now: debiantest.Date}}
}

const trixie = "debian://trixie?packages=python3"

func TestDebianKeyringCountsByItsContent(t *testing.T) {
	s, o := mirror(t)
	o.Debian.Keyring = nil
	file, other := s.KeyringFile(), s.KeyringFile()
	resolve(t, trixie+"&signed-by="+file, amd64, o)
	s.Requests()
	resolve(t, trixie+"&signed-by="+other, amd64, o)
	if asked := s.Requests(); len(asked) > 0 {
		t.Errorf("the same keys in another place: the mirror was asked for %v", asked)
	}
	if err := os.WriteFile(file, debian.ArchiveKeyring()[0], 0o600); err != nil {
		t.Fatal(err)
	}
	var unsigned *debian.SignatureError
	if _, err := base.Resolve(t.Context(), trixie+"&signed-by="+file, amd64, o); !errors.As(err, &unsigned) {
		t.Errorf("other keys in the same place: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := base.Resolve(t.Context(), trixie+"&signed-by="+file, amd64, o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no keys: %v", err)
	}
}

func TestDebian(t *testing.T) {
	s, o := mirror(t)
	b := resolve(t, trixie, amd64, o)
	if err := validate.Image(b.Image); err != nil {
		t.Error(err)
	}
	f, err := b.Facts()
	want := base.Facts{OS: "debian", OSVersion: "13", Libc: base.Libc{Name: "glibc", Major: 2, Minor: 41}, Python: &base.Python{
		Version: "3.13.5", Interpreter: "/usr/bin/python3", Prefix: "/usr", Debian: true,
		Commands: []string{"/usr/bin/python", "/usr/bin/python3", "/usr/bin/python3.13", "/bin/python", "/bin/python3", "/bin/python3.13"}}}
	if diff := cmp.Diff(want, f); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	c, err := b.Image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(c.Config.Env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") || c.Config.User != "" ||
		!slices.Equal(c.Config.Cmd, []string{"python3"}) || len(c.RootFS.DiffIDs) != 2 || len(c.History) != 2 || !c.Created.Equal(time.Unix(0, 0)) {
		t.Errorf("config %+v", c)
	}
	if p, ok := b.Debian.Package("python3"); !ok || p.Version != "3.13.5-1" {
		t.Errorf("lock %+v", b.Debian)
	}

	s.Requests()
	if again := resolve(t, trixie, amd64, o); again.Digest != b.Digest {
		t.Error("the same base has another digest")
	}
	if asked := s.Requests(); len(asked) > 0 {
		t.Errorf("the mirror was asked for %v", asked)
	}
	if other := resolve(t, trixie, arm64, o); other.Digest == b.Digest {
		t.Error("two platforms have one digest")
	}
	o.Store = newStore(t)
	if elsewhere := resolve(t, trixie, amd64, o); elsewhere.Digest != b.Digest {
		t.Error("another machine gives another digest")
	}
	o.Layer.Time = debiantest.Date
	if later := resolve(t, trixie, amd64, o); later.Digest == b.Digest {
		t.Error("the time of creation is not part of the image")
	}
}

func TestDebianPull(t *testing.T) {
	s, o := mirror(t)
	first := resolve(t, trixie, amd64, o)
	s.Add("trixie", debiantest.Package{Name: "netbase", Version: "6.6"})
	if still := resolve(t, trixie, amd64, o); still.Digest != first.Digest {
		t.Error("the base changed without a pull")
	}
	o.Pull = true
	now := resolve(t, trixie, amd64, o)
	if p, _ := now.Debian.Package("netbase"); p.Version != "6.6" || now.Digest == first.Digest {
		t.Errorf("a pull gives netbase %s", p.Version)
	}
}

// What was removed from the store costs time and nothing else.
func TestDebianAfterPruning(t *testing.T) {
	s, o := mirror(t)
	st := o.Store.(*store.Store)
	first := resolve(t, trixie, amd64, o)
	prune := func() {
		t.Helper()
		blobs, err := filepath.Glob(filepath.Join(st.Dir(), "blobs", "sha256", "*"))
		if err != nil || len(blobs) == 0 {
			t.Fatal(blobs, err)
		}
		for _, b := range blobs {
			if err := os.Remove(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	prune()
	if again := resolve(t, trixie, amd64, o); again.Digest != first.Digest {
		t.Error("the base changed")
	}
	prune()
	s.Add("trixie", debiantest.Package{Name: "netbase", Version: "6.6"})
	s.Edit = func(path string, body []byte) []byte {
		if strings.HasSuffix(path, "netbase_6.5_all.deb") {
			return nil
		}
		return body
	}
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	now := resolve(t, trixie, amd64, o)
	if p, _ := now.Debian.Package("netbase"); p.Version != "6.6" || !strings.Contains(log.String(), "no longer has netbase 6.5") {
		t.Errorf("netbase %s; log:\n%s", p.Version, &log)
	}
}

func TestDebianErrors(t *testing.T) {
	_, o := mirror(t)
	for ref, want := range map[string]string{
		"debian://trixie?package=python3":  `unknown parameter "package"`,
		"debian://trixie?arch=arm64":       "its arch is arm64, but the image is for linux/amd64",
		"debian://trixie?packages=python4": "no such package",
	} {
		if _, err := base.Resolve(t.Context(), ref, amd64, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", ref, err, want)
		}
	}
	if _, err := base.Resolve(t.Context(), trixie, v1.Platform{OS: "windows", Architecture: "amd64"}, o); err == nil {
		t.Error("Debian for Windows")
	}
	o.Debian.Mirror = ""
	_, err := base.Resolve(t.Context(), "debian://forky", amd64, o)
	if none := new(debian.NoMirrorError); !errors.As(err, &none) {
		t.Errorf("without a mirror: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, o = mirror(t)
	if _, err := base.Resolve(ctx, trixie, amd64, o); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	nothingUnfinished(t, o.Store.(*store.Store))
}

// nothingUnfinished checks that a store has no work in progress.
func nothingUnfinished(t *testing.T, s *store.Store) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(s.Dir(), "tmp", "*", "*"))
	left = slices.DeleteFunc(left, func(p string) bool { return filepath.Base(p) == "lock" })
	if err != nil || len(left) > 0 {
		t.Errorf("left in the store: %v, %v", left, err)
	}
}
