package build_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/boyabuild/boyabuild/pkg/sandbox"
	"github.com/boyabuild/boyabuild/pkg/store"
)

var (
	amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = v1.Platform{OS: "linux", Architecture: "arm64"}
)

// site is where pip of the test's base installs to.
const site = "usr/local/lib/python3.13/site-packages/"

// world is a machine to build on: a store, a build context, a package index,
// and an OCI layout with a base that Dockerfiles call python:3.13.
type world struct {
	testing.TB
	context string
	store   *store.Store
	index   *indextest.Server
	builder *build.Builder
	options build.Options
	layout  string
	log     bytes.Buffer
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, context: t.TempDir(), index: indextest.NewServer(t), layout: t.TempDir()}
	w.index.Metadata = true
	w.store = newStore(t)
	w.builder = &build.Builder{Store: w.store, Log: slog.New(slog.NewTextHandler(&w.log, nil))}
	w.options = build.Options{
		NoCompile: true, // the bases' Pythons are empty files
		Context:   w.context, Platforms: []v1.Platform{amd64},
		Bases: map[string]string{"python:3.13": "oci-layout://" + w.layout},
	}
	w.base(v1.Config{}, w.pipSource())
	return w
}

func newStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// base writes the base anew: Python's tree with some more files, for both
// platforms.
func (w *world) base(config v1.Config, extra ...layers.Entry) {
	w.Helper()
	if err := os.RemoveAll(w.layout); err != nil {
		w.Fatal(err)
	}
	l, err := layout.Write(w.layout, empty.Index)
	if err != nil {
		w.Fatal(err)
	}
	for _, p := range []v1.Platform{amd64, arm64} {
		if err := l.AppendImage(pythonImage(w, p, config, extra...), layout.WithPlatform(p)); err != nil {
			w.Fatal(err)
		}
	}
}

// pipSource is pip's own source in the base: it names the test's index.
func (w *world) pipSource() layers.Entry {
	return file(site+"pip/_internal/models/index.py", fmt.Sprintf("PyPI = PackageIndex(%q, file_storage_domain=\"files.example.org\")\n", w.index.Origin()+"/"))
}

func file(path, body string) layers.Entry {
	return layers.Entry{Path: path, Kind: layers.File, Mode: 0o644, Size: int64(len(body)), Content: layers.Bytes([]byte(body))}
}

func link(path, target string) layers.Entry {
	return layers.Entry{Path: path, Kind: layers.Symlink, Mode: 0o777, Link: target}
}

func dir(path string, mode uint32, owner int) layers.Entry {
	return layers.Entry{Path: path, Kind: layers.Dir, Mode: mode, UID: owner, GID: owner}
}

// pythonImage makes an image like Docker's python, with six 1.0 in it.
func pythonImage(t testing.TB, p v1.Platform, config v1.Config, extra ...layers.Entry) v1.Image {
	t.Helper()
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[p.Architecture]
	interpreter := file("usr/local/bin/python3.13", "interpreter for "+machine)
	interpreter.Mode = 0o755
	lower := []layers.Entry{
		file("etc/os-release", "ID=debian\nVERSION_ID=\"13\"\n"), link("lib", "usr/lib"),
		file("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:2000::/home/app:/bin/sh\n"),
		file("etc/group", "root:x:0:\nweb:x:33:\n"), dir("tmp", 0o1777, 0), dir("srv", 0o700, 5), file("srv/kept", "kept"),
		file("usr/lib/"+machine+"-linux-gnu/libc.so.6", "GNU C Library (Debian GLIBC 2.41-12) stable release version 2.41.\n"),
	}
	upper := append([]layers.Entry{
		interpreter, link("usr/local/bin/python3", "python3.13"), dir(strings.TrimSuffix(site, "/"), 0o755, 0),
		file(site+"six.py", "old six"), file(site+"six_old.py", "gone in the next"),
		file(site+"six-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: six\nVersion: 1.0\n"),
		file(site+"six-1.0.dist-info/INSTALLER", "pip\n"),
		file(site+"six-1.0.dist-info/RECORD", "six.py,,\nsix_old.py,,\nsix-1.0.dist-info/METADATA,,\nsix-1.0.dist-info/INSTALLER,,\nsix-1.0.dist-info/RECORD,,\n"),
	}, extra...)
	config.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "PYTHON_VERSION=3.13.5"}, config.Env...)
	img, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Config: config, RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	for i, entries := range [][]layers.Entry{lower, upper} {
		d, err := s.AddLayer(t.Context(), newTree(t, entries...), layers.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.Append(img, mutate.Addendum{Layer: s.Layer(d), History: v1.History{CreatedBy: fmt.Sprintf("base layer %d", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

func newTree(t testing.TB, entries ...layers.Entry) layers.Tree {
	t.Helper()
	tree, err := layers.NewTree(entries)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// write writes files of the context, given by name and content.
func (w *world) write(files map[string]string) {
	w.Helper()
	for name, body := range files {
		p := filepath.Join(w.context, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			w.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(body), 0o644); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) remove(name string) {
	w.Helper()
	if err := os.Remove(filepath.Join(w.context, filepath.FromSlash(name))); err != nil {
		w.Fatal(err)
	}
}

func (w *world) chmod(name string, mode os.FileMode) {
	w.Helper()
	if err := os.Chmod(filepath.Join(w.context, filepath.FromSlash(name)), mode); err != nil {
		w.Fatal(err)
	}
}

// try builds the Dockerfile with the options given.
func (w *world) try(dockerfile string) (*build.Result, error) {
	w.Helper()
	return w.tryWith(w.Context(), dockerfile)
}

func (w *world) tryWith(ctx context.Context, dockerfile string) (*build.Result, error) {
	w.Helper()
	if dockerfile != "" {
		w.write(map[string]string{"Dockerfile": dockerfile})
	}
	p, err := w.builder.Plan(ctx, w.options)
	if err != nil {
		return nil, err
	}
	r, err := w.builder.Build(ctx, p)
	if err == nil {
		w.Cleanup(r.Close)
	}
	return r, err
}

// build is try for what must succeed.
func (w *world) build(dockerfile string) *build.Result {
	w.Helper()
	r, err := w.try(dockerfile)
	if err != nil {
		w.Fatalf("build: %v\n%s", err, &w.log)
	}
	return r
}

func (w *world) config(r *build.Result) *v1.ConfigFile {
	w.Helper()
	c, err := r.Images[0].ConfigFile()
	if err != nil {
		w.Fatal(err)
	}
	return c
}

func (w *world) manifest(r *build.Result) *v1.Manifest {
	w.Helper()
	m, err := r.Images[0].Manifest()
	if err != nil {
		w.Fatal(err)
	}
	return m
}

// steps returns what each step laid on the base's two layers; those of one step
// are composed.
func (w *world) steps(r *build.Result) []layers.Tree {
	w.Helper()
	all, err := r.Images[0].Layers()
	if err != nil {
		w.Fatal(err)
	}
	var says []string
	for _, h := range w.config(r).History {
		if !h.EmptyLayer {
			says = append(says, h.CreatedBy)
		}
	}
	if len(says) != len(all) {
		w.Fatalf("the history tells of %d layers, the manifest of %d", len(says), len(all))
	}
	var out []layers.Tree
	for i, l := range all {
		if i < 2 {
			continue
		}
		t, err := layers.ReadTar(l.Uncompressed)
		if err != nil {
			w.Fatal(err)
		}
		if n := len(out); n > 0 && says[i] == says[i-1] {
			out[n-1] = layers.Compose(out[n-1], t)
			continue
		}
		out = append(out, t)
	}
	return out
}

// list shows a tree, without the directories that were only passed through.
func (w *world) list(t layers.Tree) []string {
	w.Helper()
	var out []string
	for _, e := range t.Entries() {
		line := fmt.Sprintf("%s %o %d:%d", e.Path, e.Mode, e.UID, e.GID)
		switch e.Kind {
		case layers.Dir:
			line = fmt.Sprintf("%s/ %o %d:%d", e.Path, e.Mode, e.UID, e.GID)
		case layers.Symlink:
			line = e.Path + " -> " + e.Link
		case layers.Whiteout:
			line = e.Path + " whiteout"
		case layers.File:
			body, err := t.ReadFile(e.Path, 1<<20)
			if err != nil {
				w.Fatal(err)
			}
			line += " " + string(body)
		}
		out = append(out, line)
	}
	return out
}

// paths lists a tree's files and whiteouts.
func paths(t layers.Tree) []string {
	var out []string
	for _, e := range t.Entries() {
		switch e.Kind {
		case layers.Dir:
		case layers.Whiteout:
			out = append(out, "-"+e.Path)
		default:
			out = append(out, e.Path)
		}
	}
	return out
}

// text reads a file of the image as it is seen in the end.
func (w *world) text(r *build.Result, name string) string {
	w.Helper()
	body, err := w.tree(r).ReadFile(name, 1<<20)
	if err != nil {
		w.Fatal(err)
	}
	return string(body)
}

// tree is the image as it is seen in the end.
func (w *world) tree(r *build.Result) layers.Tree {
	w.Helper()
	all, err := r.Images[len(r.Images)-1].Layers()
	if err != nil {
		w.Fatal(err)
	}
	var view layers.Tree
	for _, l := range all {
		t, err := layers.ReadTar(l.Uncompressed)
		if err != nil {
			w.Fatal(err)
		}
		view = layers.Overlay(view, t)
	}
	return view
}

// asked returns the paths asked of the index since the last call, sorted.
func (w *world) asked() []string {
	got := w.index.Paths()
	w.index.ResetRequests()
	slices.Sort(got)
	return got
}

// leftovers returns what lies in the store's folder for work in progress, beside
// the folder and the lock that an open store keeps there.
func (w *world) leftovers() []string {
	w.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Join(w.store.Dir(), "tmp"), func(p string, d fs.DirEntry, err error) error {
		own := strings.HasPrefix(d.Name(), "use-") || strings.HasPrefix(filepath.Base(filepath.Dir(p)), "use-") && d.Name() == "lock"
		if !own && d.Name() != "tmp" {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// localWheel makes a wheel that no index has.
func localWheel() (name, content string) {
	name, wheel := indextest.Wheel(indextest.Spec{Name: "local", Version: "1.0", Files: map[string]string{"local.py": ""}})
	return name, string(wheel)
}

// wheelFor describes a wheel for one platform.
func wheelFor(name, platform, body string) indextest.Spec {
	return indextest.Spec{Name: name, Version: "1.0", Tag: "py3-none-" + platform, Files: map[string]string{name + ".py": body}}
}

func digestOf(t testing.TB, d interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	h, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestMain(m *testing.M) {
	sandbox.Main() // never returns in a stage of a sandbox
	os.Exit(m.Run())
}
