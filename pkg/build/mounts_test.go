package build_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a bind mount shows is read, and is no part of the image.
func TestBindMounts(t *testing.T) {
	const reads = "RUN --mount=type=bind,source=r.txt,target=r.txt --mount=type=cache,target=/root/.cache/pip pip install -r r.txt\n"
	for _, tt := range []struct{ name, text string }{
		{"a file of the context", "FROM python:3.13\nWORKDIR /app\n" + reads},
		{"the context", "FROM python:3.13\nWORKDIR /app\nRUN --mount=type=bind,target=/src pip install -r /src/r.txt\n"},
		{"bind is the default", "FROM python:3.13\nWORKDIR /app\nRUN --mount=target=. pip install -r r.txt\n"},
		{"another stage", "FROM scratch AS files\nCOPY r.txt /in/r.txt\nFROM python:3.13\nWORKDIR /app\nRUN --mount=type=bind,from=files,source=/in,target=/mnt pip install -r /mnt/r.txt\n"},
		{"over a file of the image", "FROM python:3.13\nWORKDIR /app\nCOPY other.txt r.txt\n" + reads},
		{"a folder hides the image's", "FROM python:3.13\nWORKDIR /app\nCOPY other.txt /app/other.txt\nRUN --mount=source=in,target=/app pip install -r r.txt\n"},
		{"a secret that nobody hands in", "FROM python:3.13\nWORKDIR /app\nCOPY r.txt .\nRUN --mount=type=secret,id=netrc,target=/root/.netrc pip install -r r.txt\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).shop()
			w.write(map[string]string{"r.txt": "dep==1.0\n", "other.txt": "nothere\n", "in/r.txt": "dep==1.0\n"})
			r := w.build(tt.text)
			if got := w.text(r, site+"dep-1.0.dist-info/INSTALLER"); got != "pip\n" {
				t.Errorf("dep is not installed: %q", got)
			}
			steps := w.steps(r)
			if got := paths(steps[len(steps)-1]); slices.ContainsFunc(got, func(p string) bool { return !strings.HasPrefix(p, site) }) {
				t.Errorf("in the layer: %v", got)
			}
		})
	}
	t.Run("what it shows is in the step's key", func(t *testing.T) {
		w := newWorld(t).shop()
		text := "FROM python:3.13\nWORKDIR /app\n" + reads
		w.write(map[string]string{"r.txt": "dep==1.0\n"})
		w.build(text)
		w.write(map[string]string{"r.txt": "dep==2.0\n"})
		if got := w.text(w.build(text), site+"dep-2.0.dist-info/INSTALLER"); got != "pip\n" {
			t.Errorf("the changed file is not installed: %q", got)
		}
	})
	for _, tt := range []struct{ name, run, want, hint string }{
		{"no such file", "--mount=type=bind,source=nothere.txt,target=r.txt pip install -r r.txt", `"nothere.txt" is not in the build context`, ".dockerignore"},
		{"into a bind mount", "--mount=type=bind,target=/opt/src pip install --target /opt/src dep", "the bind mount at /opt/src", "COPY"},
		{"into a cache", "--mount=type=cache,target=/opt pip install --target /opt/packages dep", "the cache mount at /opt", "elsewhere"},
		{"a secret that must be there", "--mount=type=secret,id=x,required pip install dep", "--mount=type=secret", "netrc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).shop()
			w.write(map[string]string{"r.txt": "dep\n"})
			_, err := w.try("FROM python:3.13\nRUN " + tt.run + "\n")
			checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 2, tt.want, tt.hint)
		})
	}
}
