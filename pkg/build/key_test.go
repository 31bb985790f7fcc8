package build_test

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// A key stands for everything that shapes a layer's bytes: whatever is changed,
// layers of one key have one digest, and the layers that it concerns get
// another key.
func TestKeys(t *testing.T) {
	const text = "FROM python:3.13\nCOPY app /app\nRUN pip install web\n"
	digests := map[string]v1.Hash{} // by key, over all builds
	seen := func(t *testing.T, w *world, text string) []string {
		t.Helper()
		r := w.build(text)
		var keys []string
		for _, d := range w.manifest(r).Layers[2:] {
			key := d.Annotations[build.AnnotationKey]
			if key == "" {
				t.Fatal("a layer tells no key")
			}
			if was, ok := digests[key]; ok && was != d.Digest {
				t.Errorf("the key %s stands for two layers", key)
			}
			digests[key] = d.Digest
			keys = append(keys, key)
		}
		return keys
	}
	fresh := func(t *testing.T) *world {
		w := newWorld(t).shop()
		w.write(map[string]string{"app/main.py": "print(1)\n"})
		return w
	}
	base := seen(t, fresh(t), text)
	const app, web, dep = 1, 2, 4 // the layers: of files, and of the two wheels, each in its bucket
	for _, tt := range []struct {
		name    string
		text    string
		change  func(w *world)
		changes int // which layers get another key
	}{
		{name: "nothing"},
		{name: "a file's content", change: func(w *world) { w.write(map[string]string{"app/main.py": "print(2)\n"}) }, changes: app},
		{name: "a file more", change: func(w *world) { w.write(map[string]string{"app/more.py": ""}) }, changes: app},
		{name: "a file's name", change: func(w *world) { w.remove("app/main.py"); w.write(map[string]string{"app/other.py": "print(1)\n"}) }, changes: app},
		{name: "a file's mode", change: func(w *world) { w.chmod("app/main.py", 0o755) }, changes: app},
		{name: "a mode that no image has", change: func(w *world) { w.chmod("app/main.py", 0o600) }},
		{name: "a destination", text: strings.Replace(text, " /app", " /srv/app", 1), changes: app},
		{name: "an owner", text: strings.Replace(text, "COPY", "COPY --chown=7", 1), changes: app},
		{name: "a --chmod", text: strings.Replace(text, "COPY", "COPY --chmod=750", 1), changes: app},
		{name: "the time", change: func(w *world) { w.options.Time = time.Unix(1700000000, 0) }, changes: app | dep | web},
		{name: "the compression", change: func(w *world) { w.options.Compression = layers.Zstd }, changes: app | dep | web},
		{name: "a version", text: strings.Replace(text, "web", "web dep==1.0", 1), changes: dep},
		{name: "what was asked for", text: strings.Replace(text, "web", "web dep", 1), changes: dep},
		{name: "the tool", text: strings.Replace(text, "pip install", "uv pip install --system", 1), changes: dep | web},
		{name: "the place", text: strings.Replace(text, "pip install", "pip install --target /opt/x", 1), changes: dep | web},
		{name: "the mode of a directory of the base", change: func(w *world) { w.base(v1.Config{}, w.pipSource(), dir("usr/local/bin", 0o775, 3)) }, changes: dep | web},
		{name: "a link in the base", change: func(w *world) { w.base(v1.Config{}, w.pipSource(), link("usr/local/etc", "../../etc")) }, changes: dep | web},
		{name: "a file of the base that is in no way", change: func(w *world) { w.base(v1.Config{}, w.pipSource(), file("opt/other", "x")) }},
		{name: "another app below the install", text: strings.Replace(text, "COPY app /app\n", "", 1) + "COPY app /app\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := fresh(t)
			if tt.change != nil {
				tt.change(w)
			}
			if tt.text == "" {
				tt.text = text
			}
			got := map[string]bool{}
			keys := seen(t, w, tt.text)
			for _, k := range keys {
				got[k] = true
			}
			if len(keys) != len(base) {
				t.Fatalf("there are %d layers, not %d", len(keys), len(base))
			}
			for i, key := range base {
				if changed := tt.changes>>i&1 == 1; changed == got[key] {
					t.Errorf("layer %d (%s): changed is %t", i, key, !got[key])
				}
			}
		})
	}
}
