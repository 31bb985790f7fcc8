package source

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// FuzzProject makes wheels of projects, as txtar archives. What comes out is a
// wheel that can be installed, or an error of a known kind.
func FuzzProject(f *testing.F) {
	files, err := filepath.Glob("testdata/projects/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("-- --")) {
			return // what reads txtar panics
		}
		var entries []layers.Entry
		for _, x := range txtar.Parse(b).Files {
			entries = append(entries, layers.Entry{Path: x.Name, Kind: layers.File, Mode: 0o644, Size: int64(len(x.Data)), Content: layers.Bytes(x.Data)})
		}
		tree, err := layers.NewTree(entries)
		if err != nil {
			return
		}
		var out bytes.Buffer
		name, err := Wheel(t.Context(), tree, &out, Options{})
		if err != nil {
			var needs *NeedsBuildError
			var file *python.FileError
			var none *NotAProjectError
			if !errors.As(err, &needs) && !errors.As(err, &file) && !errors.As(err, &none) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		if _, err := wheel.New(bytes.NewReader(out.Bytes()), int64(out.Len()), name); err != nil {
			t.Errorf("the wheel is not valid: %v", err)
		}
		out.Reset()
		_, _ = Editable(t.Context(), tree, "/app", &out, Options{})
		_, _ = BuildRequires(tree)
	})
}
