package build_test

import (
	"runtime"
	"slices"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/build"
)

// Layers that lack bytecode for want of a sandbox have a key of their own, and the
// step that made them counts only as long as there is no sandbox.
func TestWithoutASandbox(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the images of these tests are for amd64")
	}
	const text = "FROM python:3.13\nRUN pip install web==1.0\n"
	w := newWorld(t).shop()
	w.options.NoCompile = false
	keys := func(r *build.Result) (all []string) {
		for _, d := range w.manifest(r).Layers {
			if key := d.Annotations[build.AnnotationKey]; key != "" {
				all = append(all, key)
			}
		}
		return all
	}
	w.builder.RefuseSandbox(true)
	bare := w.build(text)
	if len(keys(bare)) == 0 {
		t.Fatal("no layer tells its key")
	}
	w.asked()
	if again := w.build(text); !slices.Equal(keys(again), keys(bare)) || len(w.asked()) > 0 {
		t.Error("without a sandbox the step is not taken from record")
	}
	// This base's Python compiles nothing, which is another matter.
	w.builder.RefuseSandbox(false)
	tried := w.build(text)
	if slices.ContainsFunc(keys(tried), func(key string) bool { return slices.Contains(keys(bare), key) }) {
		t.Error("a machine with a sandbox takes over layers that lack bytecode for want of one")
	}
	// Nor does it from an image.
	img := w.elsewhere(t, bare)
	if from := w.build(text); !slices.Equal(keys(from), keys(tried)) {
		t.Error("a cold machine with a sandbox takes over layers that lack bytecode")
	}
	w.builder.RefuseSandbox(true)
	for _, l := range w.manifest(w.build(text)).Layers {
		if l.Annotations[build.AnnotationKey] != "" && img.opened[l.Digest] > 0 {
			t.Error("a cold machine without a sandbox fetches a layer")
		}
	}
}
