// Command wheels turns wheels into image layers and measures it: one layer a
// wheel, as a build has them, or all in one. It is the benchmark's own side; see
// bench/wheels.sh.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

func main() {
	var o options
	flag.StringVar(&o.out, "out", "", "write each layer to a file in this `directory`; without it layers are made and thrown away")
	flag.StringVar(&o.compression, "compression", "gzip", "of the layers: gzip, zstd or none")
	flag.BoolVar(&o.one, "one", false, "make one layer of all wheels")
	flag.IntVar(&o.parallel, "parallel", 1, "layers to make at a time")
	flag.BoolVar(&o.plain, "recompress", false, "take the wheels' contents as if they were not deflated")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile to this `file`")
	flag.Parse()
	if err := run(context.Background(), o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "wheels:", err)
		os.Exit(1)
	}
}

type options struct {
	out, compression, profile string
	one, plain                bool
	parallel                  int
}

func run(ctx context.Context, o options, files []string) error {
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	started := time.Now()
	made, err := makeLayers(ctx, o, files)
	if err != nil {
		return err
	}
	taken := time.Since(started)
	var stored, unpacked int64
	sum := sha256.New()
	for _, m := range made {
		stored += m.d.Size
		unpacked += m.unpacked
		fmt.Fprintln(sum, m.d.Digest, m.d.DiffID)
	}
	fmt.Printf("%.3f s, %d layers, %.1f MB in layers, %.1f MB in files, digest of digests %x\n",
		taken.Seconds(), len(made), float64(stored)/1e6, float64(unpacked)/1e6, sum.Sum(nil)[:6])
	return nil
}

type made struct {
	d        layers.Descriptor
	unpacked int64
}

func makeLayers(ctx context.Context, o options, files []string) ([]made, error) {
	c, err := layers.ParseCompression(o.compression)
	if err != nil {
		return nil, err
	}
	s, err := wheel.SchemeFor(wheel.Installation{Python: "3.11", Prefix: "/usr/local", Interpreter: "/usr/local/bin/python3.11"}, wheel.Place{})
	if err != nil {
		return nil, err
	}
	trees := make([]layers.Tree, len(files))
	var open errgroup.Group
	open.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range slices.Sorted(slices.Values(files)) {
		open.Go(func() (err error) {
			trees[i], err = lay(f, s, o.plain)
			return err
		})
	}
	if err := open.Wait(); err != nil {
		return nil, err
	}
	if o.one {
		t, err := layers.Merge(trees...)
		if err != nil {
			return nil, err
		}
		trees = []layers.Tree{t}
	}
	all := make([]made, len(trees))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.parallel)
	for i, t := range trees {
		g.Go(func() (err error) {
			for _, e := range t.Entries() {
				all[i].unpacked += e.Size
			}
			all[i].d, err = write(ctx, o.out, i, t, layers.Options{Compression: c})
			return err
		})
	}
	return all, g.Wait()
}

// lay opens one wheel and lays it out.
func lay(file string, s wheel.Scheme, recompress bool) (layers.Tree, error) {
	w, err := wheel.Open(file, "")
	if err != nil {
		return layers.Tree{}, err
	}
	t, err := w.Tree(s, wheel.Options{})
	if err != nil || !recompress {
		return t, err
	}
	return plain(t)
}

// write writes one layer, to a file if there is a directory for it.
func write(ctx context.Context, dir string, i int, t layers.Tree, o layers.Options) (layers.Descriptor, error) {
	if dir == "" {
		return layers.Write(ctx, io.Discard, t, o)
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%04d", i)))
	if err != nil {
		return layers.Descriptor{}, err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 256<<10)
	d, err := layers.Write(ctx, w, t, o)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Close()
	}
	return d, err
}

// plain hides that contents are deflated.
func plain(t layers.Tree) (layers.Tree, error) {
	entries := slices.Clone(t.Entries())
	for i := range entries {
		if c := entries[i].Content; c != nil {
			entries[i].Content = opener{c}
		}
	}
	return layers.NewTree(entries)
}

type opener struct{ layers.Content }
