package build_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

func platforms() []v1.Platform { return []v1.Platform{amd64, arm64} }

// app is a whole Dockerfile, of the course's shape.
const app = `# A board for grumbles.
FROM python:3.13
LABEL org.example.team=board
WORKDIR /app
COPY . /app
RUN pip install web==1.0
RUN pip install six==2.0
ENV MODE=prod
USER app
EXPOSE 8080
ENTRYPOINT ["python3"]
CMD ["-m", "app"]
`

// appFiles are the app's own.
var appFiles = map[string]string{
	"app/__main__.py": "print('hello')\n", "app/static/a.css": "a{}\n", "run.sh": "#!/bin/sh\n", "README.md": "no\n", ".dockerignore": "README.md\n",
}

func TestImage(t *testing.T) {
	w := newWorld(t).shop()
	w.write(appFiles)
	w.options.Labels = map[string]string{"version": "1"}
	w.options.Annotations = map[string]string{"org.opencontainers.image.source": "https://example.org/board"}
	r := w.build(app)
	if err := validate.Image(r.Images[0]); err != nil {
		t.Error(err)
	}
	c := w.config(r)
	want := v1.Config{
		Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin", "PYTHON_VERSION=3.13.5", "MODE=prod"},
		Labels:     map[string]string{"org.example.team": "board", "version": "1"},
		WorkingDir: "/app", User: "app", ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Entrypoint: []string{"python3"}, Cmd: []string{"-m", "app"},
	}
	if diff := cmp.Diff(want, c.Config); diff != "" {
		t.Errorf("config: -want +got:\n%s", diff)
	}
	if c.OS != "linux" || c.Architecture != "amd64" || !c.Created.Time.Equal(time.Unix(0, 0)) {
		t.Errorf("config is for %s/%s, of %s", c.OS, c.Architecture, c.Created)
	}
	var history []string
	full := 0
	for _, h := range c.History {
		line := h.CreatedBy
		if h.EmptyLayer {
			line += " (empty)"
		} else {
			full++
		}
		history = append(history, line)
	}
	wantHistory := []string{"base layer 0", "base layer 1", "LABEL org.example.team=board (empty)", "WORKDIR /app", "COPY . /app # boyabuild",
		"RUN /bin/sh -c pip install web==1.0 # boyabuild", "RUN /bin/sh -c pip install six==2.0 # boyabuild", "RUN /bin/sh -c pip install six==2.0 # boyabuild", "ENV MODE=prod (empty)",
		"USER app (empty)", "EXPOSE [8080/tcp] (empty)", `ENTRYPOINT ["python3"] (empty)`, `CMD ["-m" "app"] (empty)`}
	if diff := cmp.Diff(wantHistory, history); diff != "" {
		t.Errorf("history: -want +got:\n%s", diff)
	}
	m := w.manifest(r)
	if full != len(m.Layers) || full != len(c.RootFS.DiffIDs) {
		t.Errorf("history has %d layers, the manifest %d, the config %d", full, len(m.Layers), len(c.RootFS.DiffIDs))
	}
	if m.MediaType != types.OCIManifestSchema1 || r.Descriptor.Digest != digestOf(t, r.Images[0]) || !w.store.Has(r.Descriptor.Digest) {
		t.Errorf("manifest %s of type %s", r.Descriptor.Digest, m.MediaType)
	}
	b, err := base.Resolve(t.Context(), w.options.Bases["python:3.13"], amd64, base.Options{Store: w.store})
	if err != nil {
		t.Fatal(err)
	}
	// The layout's path means nothing elsewhere, and is not the same in two folders.
	wantNotes := map[string]string{"org.opencontainers.image.base.digest": b.Digest.String(), "org.opencontainers.image.source": "https://example.org/board"}
	if diff := cmp.Diff(wantNotes, m.Annotations); diff != "" {
		t.Errorf("annotations: -want +got:\n%s", diff)
	}
	if got := paths(w.steps(r)[1]); !slices.Equal(got, []string{"app/.dockerignore", "app/Dockerfile", "app/app/__main__.py", "app/app/static/a.css", "app/run.sh"}) {
		t.Errorf("copied %v", got)
	}
	stored, err := w.store.Image(r.Descriptor.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(stored); err != nil {
		t.Errorf("as stored: %v", err)
	}
}

func TestWhatChangesTheDigest(t *testing.T) {
	w := newWorld(t).shop()
	w.write(appFiles)
	first := w.build(app).Descriptor.Digest
	original := w.options
	at := time.Unix(1_700_000_000, 987)
	seen := map[v1.Hash]string{first: "nothing"}
	for _, tt := range []struct {
		name   string
		change func()
	}{
		{"time", func() { w.options.Time = at }},
		{"compression", func() { w.options.Compression = layers.Zstd }},
		{"label", func() { w.options.Labels = map[string]string{"a": "b"} }},
		{"annotation", func() { w.options.Annotations = map[string]string{"a": "b"} }},
		{"platform", func() { w.options.Platforms = []v1.Platform{arm64} }},
		{"file", func() { w.write(map[string]string{"app/__main__.py": "print('bye')\n"}) }},
	} {
		w.options = original
		tt.change()
		r := w.build(app)
		if other, ok := seen[r.Descriptor.Digest]; ok {
			t.Errorf("a change of %s gives the digest of %s", tt.name, other)
		}
		seen[r.Descriptor.Digest] = tt.name
		if tt.name == "time" {
			if c := w.config(r); c.Created.Unix() != at.Unix() || c.History[len(c.History)-1].Created.Unix() != at.Unix() {
				t.Errorf("created %s, last step %s", c.Created, c.History[len(c.History)-1].Created)
			}
		}
	}
}

// A second build asks neither index nor registry, and makes no layer; NoCache
// asks again.
func TestRecords(t *testing.T) {
	w := newWorld(t).shop()
	w.write(appFiles)
	first := w.build(app)
	if len(w.asked()) == 0 {
		t.Fatal("the first build asked for nothing")
	}
	w.log.Reset()
	if again := w.build(app); again.Descriptor.Digest != first.Descriptor.Digest {
		t.Error("the second build has another digest")
	}
	if asked := w.asked(); len(asked) > 0 {
		t.Errorf("the second build asked for %v", asked)
	}
	if n := strings.Count(w.log.String(), "unchanged"); n != 4 {
		t.Errorf("%d layers are unchanged:\n%s", n, &w.log)
	}
	w.index.AddWheel("dep", "2.5", nil, "") // which web takes, if asked anew
	if again := w.build(app); again.Descriptor.Digest != first.Descriptor.Digest {
		t.Error("the third build looked at the index")
	}
	w.options.NoCache = true
	fresh := w.build(app)
	if fresh.Descriptor.Digest == first.Descriptor.Digest || len(w.asked()) == 0 {
		t.Error("NoCache did not ask again")
	}
}

// Any file of the store may be deleted at any time: the cost is time.
func TestAnyFileOfTheStoreMayGo(t *testing.T) {
	w := newWorld(t).shop()
	name, wheel := localWheel()
	w.write(appFiles)
	w.write(map[string]string{"wheels/" + name: wheel})
	text := app + "RUN pip install --find-links wheels local\n"
	first := w.build(text)
	var files []string
	err := filepath.WalkDir(w.store.Dir(), func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files in the store", len(files))
	}
	for _, p := range files {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
		r, err := w.try("")
		if err != nil {
			t.Errorf("without %s: %v", p, err)
			continue
		}
		if r.Descriptor.Digest != first.Descriptor.Digest {
			t.Errorf("without %s there is another digest", p)
		}
		if img, err := w.store.Image(r.Descriptor.Digest); err != nil || validate.Image(img) != nil {
			t.Errorf("without %s the image is not whole: %v", p, err)
		}
	}
}

func TestPlatforms(t *testing.T) {
	w := newWorld(t).shop()
	w.index.AddSpec(wheelFor("native", "manylinux_2_17_x86_64", "for amd64"))
	w.index.AddSpec(wheelFor("native", "manylinux_2_17_aarch64", "for arm64"))
	w.options.Platforms = platforms()
	w.options.Annotations = map[string]string{"a": "b"}
	r := w.build("FROM python:3.13\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nRUN pip install native\n")
	if err := validate.Index(r.Index); err != nil {
		t.Error(err)
	}
	m, err := r.Index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.MediaType != types.OCIImageIndex || len(m.Manifests) != 2 || m.Annotations["a"] != "b" || r.Descriptor.Digest != digestOf(t, r.Index) || !w.store.Has(r.Descriptor.Digest) {
		t.Errorf("index %s: %+v", r.Descriptor.Digest, m)
	}
	for i, p := range platforms() {
		if got := m.Manifests[i]; !got.Platform.Equals(p) || got.Digest != digestOf(t, r.Images[i]) {
			t.Errorf("manifest %d is of %s", i, got.Platform)
		}
		c, err := r.Images[i].ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if c.Architecture != p.Architecture || !slices.Contains(c.Config.Env, "ARCH="+p.Architecture) {
			t.Errorf("image %d: %s, %v", i, c.Architecture, c.Config.Env)
		}
	}
	if body := w.text(r, site+"native.py"); body != "for arm64" {
		t.Errorf("the last image has the file %q", body)
	}
	if _, err := w.store.Index(r.Descriptor.Digest); err != nil {
		t.Error(err)
	}
}

func TestStages(t *testing.T) {
	w := newWorld(t).shop()
	w.write(map[string]string{"a": "A"})
	text := `FROM python:3.13 AS deps
ENV FROM_DEPS=1
RUN pip install --target /deps dep
FROM nothere AS unused
RUN make
FROM deps AS more
COPY a /more
FROM python:3.13 AS final
COPY --from=deps /deps /app
COPY --from=more /more /app/
CMD ["x"]
FROM deps AS other
`
	w.options.Target = "final"
	r := w.build(text)
	steps := w.steps(r)
	if len(steps) != 2 || w.text(r, "app/dep.py") != "v=2\n" || w.text(r, "app/more") != "A" {
		t.Errorf("%d layers on the base", len(steps))
	}
	if c := w.config(r); slices.Contains(c.Config.Env, "FROM_DEPS=1") || len(c.Config.Cmd) != 1 {
		t.Errorf("config %+v", c.Config)
	}
	w.options.Target = "more"
	r = w.build(text)
	if c := w.config(r); !slices.Contains(c.Config.Env, "FROM_DEPS=1") {
		t.Errorf("a stage on a stage has the environment %v", c.Config.Env)
	}
	if n := len(w.steps(r)); n != 2 {
		t.Errorf("a stage on a stage has %d layers", n)
	}
	if m := w.manifest(r); m.Annotations["org.opencontainers.image.base.digest"] == "" {
		t.Error("a stage on a stage does not name its base")
	}
}

func TestScratch(t *testing.T) {
	w := newWorld(t)
	w.write(map[string]string{"a": "A"})
	r := w.build("FROM scratch\nCOPY a /\n")
	all, err := r.Images[0].Layers()
	if err != nil || len(all) != 1 {
		t.Fatalf("%d layers, %v", len(all), err)
	}
	if m := w.manifest(r); len(m.Annotations) != 0 {
		t.Errorf("annotations %v", m.Annotations)
	}
	if c := w.config(r); c.OS != "linux" || c.Architecture != "amd64" {
		t.Errorf("for %s/%s", c.OS, c.Architecture)
	}
	if err := validate.Image(w.build("FROM scratch\nENV A=b\n").Images[0]); err != nil {
		t.Errorf("without layers: %v", err)
	}
}

func TestOnbuild(t *testing.T) {
	w := newWorld(t).shop()
	w.write(map[string]string{"requirements.txt": "dep==1.0\n"})
	w.base(v1.Config{OnBuild: []string{"COPY requirements.txt /app/", "RUN pip install -r /app/requirements.txt"}}, w.pipSource())
	r := w.build("FROM python:3.13\nCMD [\"x\"]\n")
	if got := w.installed(r); !slices.Equal(got, []string{"dep-1.0"}) {
		t.Errorf("installed %v", got)
	}
	if c := w.config(r); len(c.Config.OnBuild) != 0 {
		t.Errorf("triggers are still there: %v", c.Config.OnBuild)
	}
	w.base(v1.Config{OnBuild: []string{"RUN make"}}, w.pipSource())
	_, err := w.try("FROM python:3.13\n")
	checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 1, "make", "")
}

// What only the base's environment tells is looked at when it is known.
func TestVariableOfTheBase(t *testing.T) {
	w := newWorld(t).shop()
	w.base(v1.Config{Env: []string{"WHAT=dep==1.0"}}, w.pipSource())
	if got := w.installed(w.build("FROM python:3.13\nRUN pip install $WHAT\n")); !slices.Equal(got, []string{"dep-1.0"}) {
		t.Errorf("installed %v", got)
	}
	_, err := w.try("FROM python:3.13\nRUN $UNKNOWN install x\n")
	checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 2, "not a pip install", "")
}

func TestProject(t *testing.T) {
	w := newWorld(t).shop()
	w.write(map[string]string{"requirements.txt": "web\n", "app.py": "import web\n"})
	w.options.Base = "python:3.13"
	r, err := w.try("")
	if err != nil {
		t.Fatal(err)
	}
	c := w.config(r)
	if c.Config.User != "65532:65532" || !slices.Equal(c.Config.Cmd, []string{"python3", "app.py"}) || c.Config.WorkingDir != "/app" {
		t.Errorf("config %+v", c.Config)
	}
	if w.text(r, "app/app.py") != "import web\n" || w.text(r, site+"dep.py") == "" {
		t.Error("the app is not there")
	}
	w.write(map[string]string{"requirements.txt": "web\n-r nothere.txt\n"})
	if _, err := w.try(""); err == nil || !strings.Contains(err.Error(), "nothere.txt") {
		t.Errorf("error %v", err)
	}
}

func TestRegistryBase(t *testing.T) {
	w := newWorld(t).shop()
	var asked atomic.Int64
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handler.ServeHTTP(rw, r)
	}))
	defer server.Close()
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/python:3.13")
	if err != nil {
		t.Fatal(err)
	}
	img := pythonImage(t, amd64, v1.Config{}, w.pipSource())
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	w.options.Bases = nil
	text := "FROM " + ref.String() + "\nRUN pip install dep\n"
	r := w.build(text)
	want := map[string]string{"org.opencontainers.image.base.name": ref.String(), "org.opencontainers.image.base.digest": digestOf(t, img).String()}
	if diff := cmp.Diff(want, w.manifest(r).Annotations); diff != "" {
		t.Errorf("annotations: -want +got:\n%s", diff)
	}
	asked.Store(0)
	if again := w.build(text); again.Descriptor.Digest != r.Descriptor.Digest || asked.Load() > 0 {
		t.Errorf("the second build asked the registry %d times", asked.Load())
	}
	_, err = w.try("FROM " + strings.TrimPrefix(server.URL, "http://") + "/nothere:1\n")
	if err == nil || !strings.Contains(err.Error(), "Dockerfile:1: ") {
		t.Errorf("error %v", err)
	}
}

// A build that is cancelled, at whatever request, leaves nothing behind, and the
// next one succeeds.
func TestCancel(t *testing.T) {
	for at := range 4 {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			w := newWorld(t).shop()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var seen atomic.Int64
			w.index.Intercept = func(http.ResponseWriter, *http.Request) bool {
				if seen.Add(1) > int64(at) {
					cancel()
				}
				return false
			}
			_, err := w.tryWith(ctx, "FROM python:3.13\nRUN pip install --no-deps web\nRUN pip install dep\n")
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v", err)
			}
			if left := w.leftovers(); len(left) > 0 {
				t.Errorf("left in the store: %v", left)
			}
			w.index.Intercept = nil
			w.build("")
		})
	}
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.tryWith(ctx, "FROM python:3.13\nWORKDIR /x\n"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func BenchmarkBuildWarm(b *testing.B) {
	w := newWorld(b).shop()
	var extra []layers.Entry
	for i := range 3000 { // a base as large as python:3.13-slim
		extra = append(extra, file(fmt.Sprintf("usr/lib/python3/%d/%d.py", i/100, i), strings.Repeat(fmt.Sprintf("%d\n", i*i), 1000)))
	}
	w.base(v1.Config{}, append(extra, w.pipSource())...)
	w.write(appFiles)
	w.build(app)
	for b.Loop() {
		w.build("")
	}
	if asked := w.asked(); len(asked) > 10 {
		b.Errorf("asked for %v", asked)
	}
}
