package dockerignore

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// openers are the ways in which a folder is opened on this system.
type openers map[string]func(root string) (*Opener, error)

func TestOpener(t *testing.T) {
	for name, open := range everyOpener() {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			root := filepath.Join(base, "context")
			tree(t, base, "secret", "context/", "context-not/file")
			tree(t, root, "a/b/c/file", "top", "a/up -> ../../secret", "abs -> "+base+"/secret", "out -> ..", "gone -> nowhere", "loop -> loop")
			if listener, err := net.Listen("unix", filepath.Join(root, "socket")); err == nil {
				defer listener.Close()
			}
			special(t, root)
			o, err := open(root)
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()

			for _, path := range []string{"top", "a/b/c/file"} {
				f, err := o.Open(path)
				if err != nil {
					t.Errorf("%s: %v", path, err)
					continue
				}
				if data, err := io.ReadAll(f); string(data) != path || err != nil {
					t.Errorf("%s: %q, %v", path, data, err)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			for _, path := range []string{
				"", ".", "..", "../secret", "../context-not/file", "a/../../secret", base + "/secret", "a\x00b",
				"a", "a/b", "top/x", "absent", "absent/x", "a/up", "abs", "out", "out/secret", "gone", "loop", "loop/x",
				"socket", "fifo",
			} {
				f, err := o.Open(path)
				if err == nil {
					t.Errorf("%q was opened", path)
					f.Close()
					continue
				}
				var pe *fs.PathError
				if !errors.As(err, &pe) || pe.Path != path || strings.Count(err.Error(), base) > strings.Count(path, base) {
					t.Errorf("%q: %v", path, err)
				}
				if strings.HasPrefix(path, "absent") && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%q: %v", path, err)
				}
			}

			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 100 {
						if f, err := o.Open("a/b/c/file"); err == nil {
							f.Close()
						} else if !errors.Is(err, os.ErrClosed) {
							t.Error(err)
						}
					}
				})
			}
			if err := o.Close(); err != nil {
				t.Error(err)
			}
			wg.Wait()
			if _, err := o.Open("top"); err == nil {
				t.Error("opened after Close")
			}
		})
	}
}

func TestOpenerOf(t *testing.T) {
	root := t.TempDir()
	tree(t, root, "real/file", "alias -> real", "plain")
	for name, open := range everyOpener() {
		o, err := open(filepath.Join(root, "alias"))
		if err != nil {
			t.Fatal(name, err)
		}
		// The folder is meant, not its name.
		if err := os.Rename(filepath.Join(root, "real"), filepath.Join(root, "moved")); err != nil {
			t.Fatal(err)
		}
		if f, err := o.Open("file"); err != nil {
			t.Error(name, err)
		} else {
			f.Close()
		}
		if l, err := o.Walk(t.Context(), nil); err != nil || len(l.Files) != 1 {
			t.Error(name, l, err)
		}
		o.Close()
		if err := os.Rename(filepath.Join(root, "moved"), filepath.Join(root, "real")); err != nil {
			t.Fatal(err)
		}
		var we *WalkError
		for _, bad := range []string{"absent", "plain"} {
			if _, err := open(filepath.Join(root, bad)); err == nil {
				t.Errorf("%s: %s was opened", name, bad)
			}
			if _, err := NewOpener(filepath.Join(root, bad)); !errors.As(err, &we) || we.Path != "." {
				t.Errorf("%s: %v", bad, err)
			}
		}
	}
}
