package build_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
)

// remoteImage is an image elsewhere: its layers are counted when they are read.
type remoteImage struct {
	v1.Image
	t      *testing.T
	opened map[v1.Hash]int
}

func (r *remoteImage) Layers() ([]v1.Layer, error) {
	list, err := r.Image.Layers()
	for i, l := range list {
		list[i] = &remoteLayer{l, r}
	}
	return list, err
}

type remoteLayer struct {
	v1.Layer
	of *remoteImage
}

func (l *remoteLayer) Compressed() (io.ReadCloser, error) {
	l.of.opened[digestOf(l.of.t, l)]++
	return l.Layer.Compressed()
}

// elsewhere moves to a machine with an empty store, which can see the image r.
func (w *world) elsewhere(t *testing.T, r *build.Result) *remoteImage {
	img := &remoteImage{r.Images[0], t, map[v1.Hash]int{}}
	w.store = newStore(t)
	w.builder.Store = w.store
	w.builder.Deferred = true
	w.builder.Previous = func(context.Context, v1.Platform) ([]v1.Image, error) { return []v1.Image{img}, nil }
	w.asked()
	return img
}

// hideBase takes the base's layers away.
func (w *world) hideBase(r *build.Result) {
	w.Helper()
	for _, d := range w.manifest(r).Layers[:2] {
		if err := os.Remove(filepath.Join(w.layout, "blobs", "sha256", d.Digest.Hex)); err != nil {
			w.Fatal(err)
		}
	}
}

func TestColdMachineWithAnEarlierImage(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"requirements first", "FROM python:3.13\nWORKDIR /app\nCOPY r.txt .\nRUN pip install -r r.txt\nCOPY --chown=app . .\nCMD [\"python3\"]\n"},
		{"app first", "FROM python:3.13\nWORKDIR /boyacky\nCOPY . /boyacky\nRUN pip install dep==1.0\nRUN pip install web\n"},
		{"an upgrade", "FROM python:3.13\nRUN pip install -U six && pip install web\nCOPY . /app\n"},
		{"stages", "FROM python:3.13 AS made\nCOPY r.txt /\nRUN pip install --target /opt/lib -r /r.txt\nFROM python:3.13\nCOPY --from=made /opt/lib /opt/lib\nCOPY . /app\n"},
		{"a virtual environment", "FROM python:3.13 AS made\nRUN python3 -m venv --without-pip /opt/venv\nENV PATH=/opt/venv/bin:$PATH\nRUN pip install web\nFROM python:3.13\nCOPY --from=made /opt/venv /opt/venv\nENV PATH=/opt/venv/bin:$PATH\nCOPY . /app\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).shop()
			w.write(map[string]string{"r.txt": "web==1.0\n", "app.py": "print(1)\n"})
			first := w.build(tt.text)
			warm := *w
			w.hideBase(first)
			img := w.elsewhere(t, first)
			same := w.build(tt.text)
			if same.Descriptor.Digest != first.Descriptor.Digest {
				t.Errorf("the same build has another digest on another machine")
			}
			w.write(map[string]string{"app.py": "print(2)\n"})
			next := w.build(tt.text)
			if len(img.opened) > 0 {
				t.Errorf("layers of the earlier image were fetched: %v", img.opened)
			}
			if asked := w.asked(); len(asked) > 0 {
				t.Errorf("the index was asked for %v", asked)
			}
			if next.Kept {
				t.Error("an image without its layers is said to be in the store")
			}
			// Here, where everything is at hand, the same comes out.
			warm.builder.Previous, warm.builder.Deferred = nil, false
			warm.builder.Store = warm.store
			if here := warm.build(tt.text); here.Descriptor.Digest != next.Descriptor.Digest {
				t.Errorf("with everything at hand another digest comes out")
			}
		})
	}
}

func TestBytesThatNobodyHasAreMadeAgain(t *testing.T) {
	const text = "FROM python:3.13 AS made\nRUN pip install --target /opt/lib web\nFROM python:3.13\nCOPY . /app\nRUN pip install -U six web\n" +
		"WORKDIR /one\nCOPY --from=made /opt/lib lib/\nWORKDIR /two\nCOPY --from=made /opt/lib/dep.py lib/\n"
	w := newWorld(t).shop()
	w.write(map[string]string{"app.py": "print(1)\n"})
	first := w.build(text)
	m := w.manifest(first)
	first.Close()
	for _, d := range m.Layers[2:] {
		if err := os.Remove(w.store.File(d.Digest)); err != nil {
			t.Fatal(err)
		}
	}
	again := w.build(text)
	if again.Descriptor.Digest != first.Descriptor.Digest {
		t.Error("another digest")
	}
	for _, d := range m.Layers {
		if !w.store.Has(d.Digest) {
			t.Errorf("layer %s is not in the store", d.Digest)
		}
	}
}

func TestRecordThatIsNotTrue(t *testing.T) {
	const text = "FROM python:3.13\nRUN pip install web\n"
	w := newWorld(t).shop()
	first := w.build(text)
	other := w.build("FROM python:3.13\nRUN pip install dep==1.0\n")
	forged := &forgedImage{Image: first.Images[0], from: w.manifest(first).Layers[2].Digest.String(), to: w.manifest(other).Layers[2].Digest.String()}
	w.elsewhere(t, first)
	w.builder.Deferred = false
	w.builder.Previous = func(context.Context, v1.Platform) ([]v1.Image, error) { return []v1.Image{forged}, nil }
	_, err := w.try(text)
	var record *build.RecordError
	if !errors.As(err, &record) || !strings.Contains(record.Hint(), "--no-cache") {
		t.Errorf("got %v, want an error that tells of the record", err)
	}
	w.options.NoCache = true
	if r := w.build(text); r.Descriptor.Digest != first.Descriptor.Digest {
		t.Error("--no-cache does not give the true image")
	}
	w.options.NoCache = false
	config, err := forged.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	w.elsewhere(t, first)
	w.builder.Previous = func(context.Context, v1.Platform) ([]v1.Image, error) {
		return []v1.Image{&garbledImage{first.Images[0], config}}, nil
	}
	if r := w.build(text); r.Descriptor.Digest != first.Descriptor.Digest || !strings.Contains(w.log.String(), "than its manifest") {
		t.Errorf("records that contradict the image's own manifest are used:\n%s", &w.log)
	}
}

// forgedImage says of a layer that it is another.
type forgedImage struct {
	v1.Image
	from, to string
}

func (f *forgedImage) RawConfigFile() ([]byte, error) {
	raw, err := f.Image.RawConfigFile()
	return []byte(strings.ReplaceAll(string(raw), f.from, f.to)), err
}

func (f *forgedImage) Manifest() (*v1.Manifest, error) {
	m, err := f.Image.Manifest()
	if err != nil {
		return nil, err
	}
	m = m.DeepCopy()
	for i := range m.Layers {
		if m.Layers[i].Digest.String() == f.from {
			m.Layers[i].Digest, err = v1.NewHash(f.to)
		}
	}
	return m, err
}

// What an image says of its making counts for the build that looks at it, and not
// for others.
func TestWhatAnImageTellsIsNotPutOnRecord(t *testing.T) {
	const text = "FROM python:3.13\nRUN pip install web\n"
	w := newWorld(t).shop()
	first := w.build(text)
	other := w.build("FROM python:3.13\nRUN pip install dep==1.0\n")
	forged := &forgedImage{Image: first.Images[0], from: w.manifest(first).Layers[2].Digest.String(), to: w.manifest(other).Layers[2].Digest.String()}
	w.elsewhere(t, first)
	w.builder.Previous = func(context.Context, v1.Platform) ([]v1.Image, error) { return []v1.Image{forged}, nil }
	for _, step := range []string{"RUN pip install web\n", "RUN pip install web==1.0\n"} { // the step is told, and its layers
		if r := w.build("FROM python:3.13\n" + step); w.manifest(r).Layers[2].Digest.String() != forged.to {
			t.Fatal("the forged record was not used, so nothing is tested")
		}
	}
	w.builder.Previous, w.builder.Deferred = nil, false
	if r := w.build(text); r.Descriptor.Digest != first.Descriptor.Digest {
		t.Error("a later build believes what an image told an earlier one")
	}
}

func TestDamagedWheelIsFetchedAgain(t *testing.T) {
	w := newWorld(t).shop()
	first := w.build("FROM python:3.13\nRUN pip install web\n")
	var damaged int
	for _, name := range []string{"web-1.0", "dep-2.0"} {
		b, err := os.ReadFile(w.store.File(w.wheelOf(name)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range b[:len(b)/2] {
			b[i] ^= 0x55
		}
		if err := os.WriteFile(w.store.File(w.wheelOf(name)), b, 0o644); err != nil {
			t.Fatal(err)
		}
		damaged++
	}
	for _, d := range w.manifest(first).Layers[2:] {
		if err := os.Remove(w.store.File(d.Digest)); err != nil {
			t.Fatal(err)
		}
	}
	if again := w.build("FROM python:3.13\nRUN pip install web\n"); again.Descriptor.Digest != first.Descriptor.Digest {
		t.Error("another digest")
	}
	if n := strings.Count(w.log.String(), "is damaged in the cache"); n != damaged {
		t.Errorf("%d wheels are told of, not %d", n, damaged)
	}
}

// wheelOf is the digest of a wheel that the index has.
func (w *world) wheelOf(name string) v1.Hash {
	w.Helper()
	resp, err := http.Get(w.index.Origin() + "/files/" + name + "-py3-none-any.whl")
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	h, _, err := v1.SHA256(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return h
}

// Layers whose bytes nobody has any more are made of the versions on record, though
// there are newer ones.
func TestBytesAreMadeOfTheVersionsOnRecord(t *testing.T) {
	const text = "FROM python:3.13\nRUN pip install dep==1.0 && pip install -U dep web\n"
	w := newWorld(t).shop()
	first := w.build(text)
	w.index.AddSpec(indextest.Spec{Name: "dep", Version: "2.1", Files: map[string]string{"dep.py": "v=2.1\n"}})
	w.elsewhere(t, first)
	for _, d := range w.manifest(first).Layers[2:] {
		w.builder.Previous = func(context.Context, v1.Platform) ([]v1.Image, error) {
			return []v1.Image{&withoutLayers{first.Images[0]}}, nil
		}
		w.store = newStore(t)
		w.builder.Store = w.store
		again := w.build(text)
		l, err := again.Images[0].LayerByDigest(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		r, err := l.Compressed()
		if err != nil {
			t.Fatalf("%v\n%s", err, &w.log)
		}
		if got, _, err := v1.SHA256(r); err != nil || got != d.Digest {
			t.Errorf("layer %s comes out as %s: %v", d.Digest, got, err)
		}
	}
}

// withoutLayers is an image whose layers are gone.
type withoutLayers struct{ v1.Image }

func (w *withoutLayers) Layers() ([]v1.Layer, error) {
	list, err := w.Image.Layers()
	for i, l := range list {
		list[i] = &goneLayer{l}
	}
	return list, err
}

type goneLayer struct{ v1.Layer }

func (l *goneLayer) Compressed() (io.ReadCloser, error) { return nil, errors.New("is gone") }

// What is damaged in the store is fetched or made again, whoever finds out by what.
func TestDamagedStoreIsMended(t *testing.T) {
	const text = "FROM python:3.13 AS made\nRUN pip install --target /opt/lib web\nFROM python:3.13\nRUN pip install -U six\nCOPY --from=made /opt/lib /opt/lib\n"
	for name, damage := range map[string]func([]byte) []byte{
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"empty":     func([]byte) []byte { return nil },
		"zeros":     func(b []byte) []byte { return make([]byte, len(b)) },
		"a bit":     func(b []byte) []byte { b[len(b)*2/3] ^= 4; return b },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).shop()
			first := w.build(text)
			first.Close()
			files, err := filepath.Glob(filepath.Join(w.store.Dir(), "blobs", "sha256", "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(f, damage(b), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			w.options.NoCache = true
			if again := w.build(text); again.Descriptor.Digest != first.Descriptor.Digest {
				t.Error("another digest")
			}
		})
	}
}

// An earlier image that is garbled is told of, or does no harm: what is built is
// right, or an error.
func TestGarbledEarlierImage(t *testing.T) {
	const text = "FROM python:3.13 AS made\nRUN pip install --target /opt/lib web\nFROM python:3.13\nCOPY --from=made /opt/lib /opt/lib\nRUN pip install web\n"
	w := newWorld(t).shop()
	first := w.build(text)
	raw, err := first.Images[0].RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(raw, []byte(`"boyabuild":`))
	r := rand.New(rand.NewPCG(3, 4))
	used := 0
	for i := range 60 {
		garbled := bytes.Clone(raw)
		for range 1 + r.IntN(3) {
			n := at + r.IntN(len(raw)-at)
			switch r.IntN(3) {
			case 0:
				garbled[n] ^= 1 << r.IntN(7)
			case 1: // another digit, letter or bracket of the same text
				garbled[n] = raw[at+r.IntN(len(raw)-at)]
			case 2:
				copy(garbled[n:], raw[at+r.IntN(len(raw)-at):])
			}
		}
		w.elsewhere(t, first)
		w.builder.Deferred = false
		w.builder.Previous = func(context.Context, v1.Platform) ([]v1.Image, error) {
			return []v1.Image{&garbledImage{first.Images[0], garbled}}, nil
		}
		got, err := w.try(text)
		if err != nil {
			continue
		}
		if used++; got.Descriptor.Digest == first.Descriptor.Digest {
			continue
		}
		var have, want []v1.Hash
		for i, l := range w.manifest(got).Layers {
			of := w.manifest(first).Layers[i]
			have, want = append(have, l.Digest), append(want, of.Digest)
			if l.Digest == of.Digest && l.Size != of.Size {
				t.Errorf("garbled %d: layer %d has the size %d, not %d", i, i, l.Size, of.Size)
			}
		}
		if !slices.Equal(have, want) || !slices.Equal(w.config(got).RootFS.DiffIDs, w.config(first).RootFS.DiffIDs) {
			t.Errorf("garbled %d: other layers: %s", i, garbled[at:])
		}
	}
	if used < 20 {
		t.Errorf("only %d of 60 could be built", used)
	}
}

// garbledImage has another configuration.
type garbledImage struct {
	v1.Image
	config []byte
}

func (g *garbledImage) RawConfigFile() ([]byte, error) { return g.config, nil }
