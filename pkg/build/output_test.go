package build_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

var names = []string{"localhost:5000/board/web:1.0", "board:latest", "web:2"}

// exported builds an image that replaces, links and removes files of its base.
func exported(t *testing.T, ps ...v1.Platform) (*world, *build.Result) {
	t.Helper()
	w := newWorld(t).shop()
	w.base(v1.Config{}, w.pipSource(), layers.Entry{Path: "opt/again", Kind: layers.Hardlink, Link: "opt/once"}, file("opt/once", "linked"))
	w.write(map[string]string{"a": "A"})
	if len(ps) > 0 {
		w.options.Platforms = ps
	}
	return w, w.build("FROM python:3.13\nRUN pip install -U six\nCOPY --chmod=4755 a /opt/once\n")
}

func export(t *testing.T, r *build.Result, names []string, o build.Output) string {
	t.Helper()
	o.Dest = filepath.Join(t.TempDir(), "out")
	if err := build.Export(t.Context(), r, names, o); err != nil {
		t.Fatal(err)
	}
	// Nothing but the output may lie beside it.
	if entries, err := os.ReadDir(filepath.Dir(o.Dest)); err != nil || len(entries) != 1 {
		t.Errorf("beside the output: %v, %v", entries, err)
	}
	return o.Dest
}

// readLayout checks an OCI layout and returns its descriptors.
func readLayout(t *testing.T, dir string, want v1.Hash) []v1.Descriptor {
	t.Helper()
	idx, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(idx); err != nil {
		t.Error(err)
	}
	m, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		if d.Digest != want {
			t.Errorf("layout has %s, want %s", d.Digest, want)
		}
	}
	return m.Manifests
}

func TestExportLayout(t *testing.T) {
	for _, ps := range [][]v1.Platform{{amd64}, platforms()} {
		_, r := exported(t, ps...)
		for _, names := range [][]string{names, nil} {
			list := readLayout(t, export(t, r, names, build.Output{Type: "oci", Directory: true}), r.Descriptor.Digest)
			var tags []string
			for _, d := range list {
				tags = append(tags, d.Annotations["org.opencontainers.image.ref.name"])
			}
			want := []string{"1.0", "latest", "2"}
			if names == nil {
				want = []string{""}
			}
			if !slices.Equal(tags, want) {
				t.Errorf("tags %q, want %q", tags, want)
			}
		}
	}
}

func TestExportLayoutTar(t *testing.T) {
	_, r := exported(t, platforms()...)
	out := export(t, r, names, build.Output{Type: "oci"})
	dir := t.TempDir()
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if list := readLayout(t, dir, r.Descriptor.Digest); len(list) != len(names) {
		t.Errorf("%d names", len(list))
	}
}

func TestExportIsDeterministic(t *testing.T) {
	_, r := exported(t)
	for _, kind := range []string{"oci", "docker", "tar"} {
		first, err := os.ReadFile(export(t, r, names, build.Output{Type: kind}))
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			again, err := os.ReadFile(export(t, r, names, build.Output{Type: kind}))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first, again) {
				t.Errorf("type=%s differs from time to time", kind)
				break
			}
		}
	}
}

func TestExportDocker(t *testing.T) {
	_, r := exported(t)
	out := export(t, r, names, build.Output{Type: "docker"})
	m, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(out) })
	if err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, d := range m {
		tags = append(tags, d.RepoTags...)
	}
	for _, n := range names {
		if !slices.ContainsFunc(tags, func(tag string) bool { return strings.HasSuffix(tag, n) }) {
			t.Errorf("name %s is not in %v", n, tags)
		}
	}
	for _, names := range [][]string{{"board:latest"}, nil} {
		img, err := tarball.ImageFromPath(export(t, r, names, build.Output{Type: "docker"}), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(img); err != nil {
			t.Error(err)
		}
		want, err := partial.ConfigLayer(r.Images[0])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := img.ConfigName(); err != nil || got != digestOf(t, want) {
			t.Errorf("image %s, %v", got, err)
		}
	}
}

// wantRoot is what is seen of some files in the end; "" for those that are gone.
var wantRoot = map[string]string{
	site + "six.py": "new six", site + "six_old.py": "", site + "six-1.0.dist-info/RECORD": "",
	"opt/once": "A", "opt/again": "linked", "srv/kept": "kept", "etc/group": "root:x:0:\nweb:x:33:\n",
}

func TestExportTar(t *testing.T) {
	_, r := exported(t)
	out := export(t, r, nil, build.Output{Type: "tar"})
	tree, err := layers.ReadTar(func() (io.ReadCloser, error) { return os.Open(out) })
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range wantRoot {
		body, err := tree.ReadFile(name, 1<<20)
		if string(body) != want || (want == "") != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", name, body, err)
		}
	}
	for _, p := range paths(tree) {
		if strings.Contains(p, ".wh.") || strings.HasPrefix(p, "-") {
			t.Errorf("whiteout %s", p)
		}
	}
	if e, _ := tree.Lookup("opt/once"); e.Mode != 0o4755 {
		t.Errorf("opt/once has mode %o", e.Mode)
	}
	if e, _ := tree.Lookup("srv"); e.Mode != 0o700 || e.UID != 5 {
		t.Errorf("srv is %o of %d", e.Mode, e.UID)
	}
	if e, _ := tree.Lookup("lib"); e.Kind != layers.Symlink {
		t.Errorf("lib is a %s", e.Kind)
	}
}

func TestExportLocal(t *testing.T) {
	_, r := exported(t)
	out := export(t, r, nil, build.Output{Type: "local"})
	for name, want := range wantRoot {
		body, err := os.ReadFile(filepath.Join(out, filepath.FromSlash(name)))
		if string(body) != want || (want == "") != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", name, body, err)
		}
	}
	if target, err := os.Readlink(filepath.Join(out, "lib")); err != nil || target != "usr/lib" {
		t.Errorf("lib: %q, %v", target, err)
	}
}

func TestExportErrors(t *testing.T) {
	_, r := exported(t)
	_, both := exported(t, platforms()...)
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		r    *build.Result
		o    build.Output
		want string
	}{
		{both, build.Output{Type: "docker", Dest: "x"}, "one platform, and 2 were built"},
		{both, build.Output{Type: "local", Dest: "x"}, "one platform, and 2 were built"},
		{r, build.Output{Type: "zip", Dest: "x"}, `"zip" is none of`},
		{r, build.Output{Type: "local", Dest: full}, "not empty"},
		{r, build.Output{Type: "oci", Directory: true, Dest: full}, "not empty"},
		{r, build.Output{Type: "tar", Dest: filepath.Join(full, "no", "such", "folder.tar")}, "no such file"},
	} {
		err := build.Export(t.Context(), tt.r, names, tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.o, err, tt.want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(full, "mine")); err != nil || string(b) != "mine" {
		t.Errorf("a file that was there: %q, %v", b, err)
	}
	if entries, err := os.ReadDir(full); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// A cancelled export leaves what was there, and nothing else.
func TestExportCancelled(t *testing.T) {
	_, r := exported(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, o := range []build.Output{{Type: "oci"}, {Type: "oci", Directory: true}, {Type: "docker"}, {Type: "tar"}, {Type: "local"}} {
		t.Run(fmt.Sprint(o.Type, o.Directory), func(t *testing.T) {
			dir := t.TempDir()
			o.Dest = filepath.Join(dir, "out")
			if !o.Directory && o.Type != "local" {
				if err := os.WriteFile(o.Dest, []byte("old"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			before, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := build.Export(ctx, r, names, o); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			after, err := os.ReadDir(dir)
			if err != nil || len(after) != len(before) {
				t.Errorf("left: %v, %v", after, err)
			}
			if b, err := os.ReadFile(o.Dest); err == nil && string(b) != "old" {
				t.Error("the old output was overwritten")
			}
		})
	}
}
