package build_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/boyabuild/boyabuild/pkg/store"
)

// What a build comes to depends on its inputs and on nothing that was built
// before: Dockerfiles, contexts, bases and options are edited at random, and after
// each edit a build that has everything before it on record, one that believes no
// record, and one on an empty machine that sees the image before give one digest.
// FuzzIncremental goes on with it.
func TestIncremental(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			editAtRandom(t, seed, 12)
		})
	}
}

func FuzzIncremental(f *testing.F) {
	f.Add(uint64(154))
	f.Fuzz(func(t *testing.T, seed uint64) { editAtRandom(t, seed, 30) })
}

// edited is a project under edit.
type edited struct {
	*world
	r      *rand.Rand
	lines  []string // of the Dockerfile
	base   int      // which of the bases
	before string
}

func editAtRandom(t *testing.T, seed uint64, edits int) {
	e := &edited{world: newWorld(t).shop(), r: rand.New(rand.NewPCG(seed, 0))}
	for _, s := range []indextest.Spec{
		{Name: "big", Version: "1.0", Requires: []string{"six"}, Files: map[string]string{"big/__init__.py": "", "big/data.bin": noise(600_000)}},
		{Name: "ns-one", Version: "1.0", Files: map[string]string{"ns/one.py": ""}},
		{Name: "ns-two", Version: "1.0", Files: map[string]string{"ns/two.py": ""}, Data: map[string]string{"scripts/two": "#!python\n", "data/share/two/x": "x"}},
	} {
		e.index.AddSpec(s)
	}
	e.start()
	var last v1.Image
	done := 0
	for i := range edits {
		undo := e.edit()
		warm, warmErr := e.buildIn(e.store, nil, false)
		cold, coldErr := e.buildIn(nil, nil, true)
		if (warmErr == nil) != (coldErr == nil) {
			t.Fatalf("after edit %d: with records %v, without %v\n%s", i, warmErr, coldErr, e.show())
		}
		if warmErr != nil {
			undo()
			continue
		}
		done++
		e.same(i, "built with records", warm, "built without", cold)
		if last != nil {
			elsewhere, err := e.buildIn(nil, last, false)
			if err != nil {
				t.Fatalf("after edit %d: on an empty machine: %v\n%s", i, err, e.show())
			}
			e.same(i, "built without records", cold, "built on an empty machine from the image before", elsewhere)
		}
		last, e.before = warm, e.show()
	}
	if done == 0 {
		t.Error("no edit gave what can be built")
	}
}

func noise(n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(b)
	return string(b)
}

// start writes the context.
func (e *edited) start() {
	e.write(map[string]string{
		"app/main.py": "print(1)\n", "app/lib/x.py": "x=1\n", "app/lib/y.pyc": "y", "r.txt": "web\n", "c.txt": "dep<2\n",
		"pip.conf": "[global]\nno-deps = true\n", "pkg/pyproject.toml": projectFile, "pkg/mine.py": "", "tree/sub/file": "1", ".dockerignore": "*.log\n",
	})
	e.lines = []string{"FROM python:3.13 AS made", "RUN pip install --target /opt/lib web", "FROM python:3.13", "COPY app /app", "RUN pip install web", `CMD ["web"]`}
}

const projectFile = `[build-system]
requires = ["flit_core>=3"]
build-backend = "flit_core.buildapi"
[project]
name = "mine"
version = "1.0"
description = "mine"
dependencies = ["dep"]
`

// steps are lines of a Dockerfile; not all go with all.
var steps = []string{
	"COPY app /app", "COPY . /srv/app", "COPY app/main.py r.txt c.txt /tmp/", "COPY --chown=app app /app", "COPY --chown=7:8 app /usr/local/share/app",
	"COPY --chmod=750 app /opt/app", "COPY --chmod=700 tree /opt", "COPY --chmod=711 tree /usr/local/bin/", "COPY app/main.py /usr/local/bin/tool", "COPY pip.conf /etc/pip.conf", "COPY pkg /src/pkg", "COPY tree /usr/local/lib",
	"COPY app/* /x/", "COPY --exclude=*.pyc app /nopyc", "COPY --parents app/lib/x.py /p/", "COPY <<EOF /etc/greeting\nhello\nEOF", "COPY link /srv/link", "COPY link /opt/link",
	"COPY tree /srv/at", "COPY tree /opt/link/", "COPY --chown=3 tree /srv/sub", "ADD app/lib /added/",
	"COPY --from=made /opt/lib /opt/lib", "COPY --from=made /opt /usr/local/opt", "COPY --from=made --chown=app /opt/lib/bin /usr/local/bin", "COPY --from=made /usr/local /copy", "COPY --from=made /opt /srv", "COPY --from=python:3.13 /srv /base", "COPY --from=made /opt/lib /opt/link/lib",
	"RUN pip install web", "RUN pip install dep==1.0", "RUN pip install 'dep<3' web", "RUN pip install -r /tmp/r.txt", "RUN pip install -r /tmp/r.txt -c /tmp/c.txt", "RUN pip install --pre dep", "RUN pip install --no-deps web",
	"RUN pip install -U six", "RUN pip install six big", "RUN pip install ns-one ns-two", "RUN pip install ns-two", "RUN pip install --target /opt/lib web", "RUN pip install --prefix /opt/p web", "RUN pip install --user web", "RUN uv pip install --system web",
	"RUN pip install --force-reinstall web", "RUN pip install --no-cache-dir web && pip install six", "RUN pip install /src/pkg", "RUN pip install --no-deps -e /src/pkg", "RUN pip install dep==$V", "RUN pip install --root-user-action=ignore web",
	"RUN python3 -m venv --without-pip /opt/venv", "ENV PATH=/opt/venv/bin:$PATH", "ENV PATH=/usr/local/bin:/bin", "ENV PATH=/opt/p/bin:$PATH", "ENV VIRTUAL_ENV=/opt/venv", "RUN /opt/venv/bin/pip install web",
	"RUN --mount=type=bind,source=r.txt,target=/tmp/q.txt pip install -r /tmp/q.txt", "RUN --mount=type=bind,from=made,source=/opt/lib,target=/m pip install six", "RUN --mount=type=bind,source=pkg,target=/src/pkg pip install /src/pkg",
	"RUN --mount=type=cache,target=/root/.cache pip install web", "RUN pip uninstall -y six", "RUN uv venv /opt/venv", "RUN uv pip install --python /opt/venv web",
	"ENV PIP_PRE=1", "ENV PIP_NO_DEPS=1", "ENV PIP_CONSTRAINT=/tmp/c.txt", "ENV PIP_TARGET=/opt/t", "ENV HOME=/home/app", "ENV MODE=$V", "ENV PYTHON_VERSION=3.13.2", "ENV PIP_USER=1", "ENV UV_PRERELEASE=allow",
	"ARG V=1.0", "ARG V=2.0", "ARG PIP_PRE=1", "ARG V",
	"USER app", "USER 5:6", "WORKDIR /w", "WORKDIR /srv/app/deep", "WORKDIR tmp", "WORKDIR /opt", "LABEL a=b", "LABEL a=$V", "EXPOSE 80", `SHELL ["/bin/bash", "-c"]`, "STOPSIGNAL SIGINT", "VOLUME /data", `ENTRYPOINT ["web"]`, "HEALTHCHECK NONE", "ONBUILD RUN pip install six", "MAINTAINER me",
	"FROM python:3.13", "FROM made", "FROM python:3.13 AS other", "FROM scratch", "RUN pip install --no-compile --ignore-installed six",
}

var contents = map[string][]string{
	"app/main.py": {"print(1)\n", "print(2)\n", ""}, "app/lib/x.py": {"x=1\n", "x=2\n"}, "app/new.py": {"", "new"}, "app/x.log": {"log"},
	"r.txt": {"web\n", "dep\n", "web\ndep==1.0\n", "--pre\ndep\n", "-c c.txt\nweb\n", "six==2.0\n", "--no-binary six\nweb\n"}, "c.txt": {"dep<2\n", "dep<3\n", "", "six<2\n"},
	"pip.conf":           {"[global]\nno-deps = true\n", "[install]\npre = true\n", "[install]\ntarget = /opt/conf\n", "", "[install]\nuser = yes\n"},
	"pkg/pyproject.toml": {projectFile, strings.Replace(projectFile, `["dep"]`, `["dep<2"]`, 1), strings.Replace(projectFile, `"1.0"`, `"1.1"`, 1)},
	"pkg/mine.py":        {"", "mine=1\n"}, "tree/sub/file": {"1", "2"}, "tree/sub/deep/file": {"d"}, "tree/bin/x": {"x"}, "link/sub": {"was a file"},
	".dockerignore": {"*.log\n", "", "app/lib\n", "**/*.pyc\n!app/lib/y.pyc\n", "Dockerfile\n"},
}

// edit changes one thing, or some.
func (e *edited) edit() (undo func()) {
	lines, options, bases := slices.Clone(e.lines), e.options, e.base
	var undoFile func()
	for range 1 + e.r.IntN(3) {
		switch n := e.r.IntN(20); {
		case n < 7:
			e.insert(e.r.IntN(len(e.lines)))
		case n < 9 && len(e.lines) > 2:
			i := 1 + e.r.IntN(len(e.lines)-1)
			e.lines = slices.Delete(e.lines, i, i+1)
		case n < 11:
			i, j := 1+e.r.IntN(len(e.lines)-1), 1+e.r.IntN(len(e.lines)-1)
			e.lines[i], e.lines[j] = e.lines[j], e.lines[i]
		case n < 15:
			undoFile = e.editFile()
		case n < 18:
			e.editOptions()
		default:
			e.editBase(e.r.IntN(7))
		}
	}
	return func() {
		e.lines, e.options = lines, options
		if undoFile != nil {
			undoFile()
		}
		if e.base != bases {
			e.editBase(bases)
		}
	}
}

func (e *edited) insert(i int) {
	e.lines = slices.Insert(e.lines, i+1, steps[e.r.IntN(len(steps))])
}

func (e *edited) editFile() (undo func()) {
	names := slices.Sorted(maps.Keys(contents))
	name := names[e.r.IntN(len(names))]
	at := filepath.Join(e.context, filepath.FromSlash(name))
	old, err := os.ReadFile(at)
	undo = func() {
		os.RemoveAll(at)
		if err == nil {
			e.write(map[string]string{name: string(old)})
		}
	}
	switch n := e.r.IntN(8); {
	case n == 0:
		_ = os.Remove(at)
	case n == 1 && err == nil:
		e.chmod(name, []os.FileMode{0o600, 0o755, 0o644}[e.r.IntN(3)])
	case n == 2:
		dir := filepath.Join(e.context, "link")
		_ = os.MkdirAll(dir, 0o755)
		_ = os.Remove(filepath.Join(dir, "sub"))
		if err := os.Symlink([]string{"/srv/at", "../srv", "/opt/app", "/usr/local", "nowhere"}[e.r.IntN(5)], filepath.Join(dir, "sub")); err != nil {
			e.Fatal(err)
		}
	default:
		if name == "link/sub" {
			_ = os.Remove(at)
		}
		e.write(map[string]string{name: contents[name][e.r.IntN(len(contents[name]))]})
	}
	return undo
}

func (e *edited) editOptions() {
	o := &e.options
	switch e.r.IntN(7) {
	case 0:
		o.BuildArgs = []map[string]string{nil, {"V": "1.0"}, {"V": "2.0"}, {"PIP_PRE": "1"}}[e.r.IntN(4)]
	case 1:
		o.Labels = []map[string]string{nil, {"l": "1"}}[e.r.IntN(2)]
	case 2:
		o.Time = []time.Time{{}, time.Unix(1_700_000_000, 0), time.Unix(1_600_000_000, 0)}[e.r.IntN(3)]
	case 3:
		o.Compression = []layers.Compression{layers.Gzip, layers.Zstd, layers.None}[e.r.IntN(3)]
	case 4:
		o.MaxLayers = []int{0, 8, 12, 30}[e.r.IntN(4)]
	case 5:
		o.Platforms = [][]v1.Platform{{amd64}, {arm64}}[e.r.IntN(2)]
	case 6:
		o.Annotations = []map[string]string{nil, {"a": "1"}}[e.r.IntN(2)]
	}
}

// editBase writes another base under the same name.
func (e *edited) editBase(n int) {
	e.base = n
	e.world.base(v1.Config{}, append([]layers.Entry{e.pipSource()}, [][]layers.Entry{
		nil,
		{dir("usr/local/bin", 0o775, 3)},
		{link("usr/local/etc", "../../etc")},
		{file("opt/other", "x"), dir("opt", 0o711, 9)},
		{file(site+"dep.py", "there"), file(site+"dep-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: dep\nVersion: 1.0\n"), file(site+"dep-1.0.dist-info/RECORD", "dep.py,,\n")},
		{link("opt/link", "/srv"), link("app", "opt/app")},
		{link("srv/sub", "/usr/local/share"), dir("usr/local/share", 0o700, 4)},
	}[n]...)...)
}

// buildIn builds in a store, or in one of its own, which may see the image before.
func (e *edited) buildIn(s *store.Store, previous v1.Image, noCache bool) (v1.Image, error) {
	b := *e.builder
	b.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	if b.Store = s; s == nil {
		b.Store = newStore(e.TB)
	}
	o := e.options
	o.NoCache = noCache
	if previous != nil {
		b.Deferred = true
		b.Previous = func(context.Context, v1.Platform) ([]v1.Image, error) { return []v1.Image{previous}, nil }
	}
	e.write(map[string]string{"Dockerfile": strings.Join(e.lines, "\n") + "\n"})
	p, err := b.Plan(e.Context(), o)
	if err != nil {
		return nil, err
	}
	r, err := b.Build(e.Context(), p)
	if err != nil {
		return nil, err
	}
	r.Close()
	return r.Images[0], nil
}

// same fails with the first thing that two images differ in.
func (e *edited) same(edit int, what string, a v1.Image, than string, b v1.Image) {
	e.Helper()
	if digestOf(e, a) == digestOf(e, b) {
		return
	}
	e.Errorf("after edit %d, what is %s is not what is %s:\n%s\nbefore it was:\n%s", edit, what, than, e.show(), e.before)
	ours, theirs := e.layersOf(a), e.layersOf(b)
	for i := range min(len(ours), len(theirs)) {
		x, y := e.tar(ours[i]), e.tar(theirs[i])
		d, err := layers.Compare(e.Context(), x, y)
		if err != nil || d != nil {
			e.Errorf("layer %d: %v %v", i, d, err)
		}
	}
	for i, img := range []v1.Image{a, b} {
		raw, err := img.RawConfigFile()
		if err != nil {
			e.Fatal(err)
		}
		e.Logf("%d: %s", i, raw)
	}
	e.FailNow()
}

func (e *edited) layersOf(img v1.Image) []v1.Layer {
	e.Helper()
	list, err := img.Layers()
	if err != nil {
		e.Fatal(err)
	}
	return list
}

func (e *edited) tar(l v1.Layer) io.Reader {
	e.Helper()
	r, err := l.Uncompressed()
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { r.Close() })
	return r
}

// show is the project as it is.
func (e *edited) show() string {
	var s strings.Builder
	o := e.options
	fmt.Fprintf(&s, "base %d, args %v, labels %v, time %d, compression %s, %d layers, %v\n--- Dockerfile\n%s\n", e.base, o.BuildArgs, o.Labels, o.Time.Unix(), o.Compression, o.MaxLayers, o.Platforms, strings.Join(e.lines, "\n"))
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		at := filepath.Join(e.context, filepath.FromSlash(name))
		if to, err := os.Readlink(at); err == nil {
			fmt.Fprintf(&s, "--- %s -> %s\n", name, to)
		} else if b, err := os.ReadFile(at); err == nil {
			fmt.Fprintf(&s, "--- %s\n%s\n", name, b)
		}
	}
	return s.String()
}
