//go:build unix

package build_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The same input gives the same digest: in another folder and store, under
// another umask, with other modes, times and orders of the files.
func TestSameInputSameDigest(t *testing.T) {
	for _, platforms := range [][]v1.Platform{{amd64}, platforms()} {
		shop := newWorld(t).shop()
		build := func(umask int, file, folder os.FileMode, reverse bool, at time.Time) v1.Hash {
			old := syscall.Umask(umask)
			defer syscall.Umask(old)
			w := newWorld(t)
			w.options.Bases = shop.options.Bases
			w.options.Platforms = platforms
			names := []string{}
			for n := range appFiles {
				names = append(names, n)
			}
			slices.Sort(names)
			if reverse {
				slices.Reverse(names)
			}
			for _, n := range names {
				w.write(map[string]string{n: appFiles[n]})
			}
			w.write(map[string]string{"Dockerfile": app})
			if err := os.Symlink("app/static", filepath.Join(w.context, "static")); err != nil {
				t.Fatal(err)
			}
			err := filepath.WalkDir(w.context, func(p string, d os.DirEntry, err error) error {
				switch {
				case err != nil || p == w.context || d.Type()&os.ModeSymlink != 0:
					return err
				case d.IsDir():
					err = os.Chmod(p, folder)
				case d.Name() == "run.sh":
					err = os.Chmod(p, file|0o100)
				default:
					err = os.Chmod(p, file)
				}
				return errors.Join(err, os.Chtimes(p, at, at))
			})
			if err != nil {
				t.Fatal(err)
			}
			return w.build("").Descriptor.Digest
		}
		first := build(0o022, 0o644, 0o755, false, time.Unix(1e9, 0))
		if second := build(0o077, 0o600, 0o700, true, time.Unix(15e8, 0)); second != first {
			t.Errorf("%d platforms: %s and %s", len(platforms), first, second)
		}
		if third := build(0, 0o666, 0o777, true, time.Unix(1, 5)); third != first {
			t.Errorf("%d platforms: %s and %s", len(platforms), first, third)
		}
	}
}
