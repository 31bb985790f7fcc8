//go:build linux

// Command layering measures how wheels are best shared out among layers, and how
// layers are best compressed: the figures that docs/layering.md argues with.
//
//	go run ./bench/layering FOLDER-OF-WHEELS
//
// It prints what has to be sent when one package gets another version; how long a
// pull takes, from a registry on loopback whose answers come late, as containerd
// does one: three layers fetched at a time, unpacked one after another into a
// directory each; and what the compressions cost and give, whole layers and each
// file in a zstd frame of its own.
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
	"github.com/boyabuild/boyabuild/pkg/store"
)

func main() {
	runs := flag.Int("runs", 3, "how often each pull is done; the median is printed")
	only := flag.String("only", "bumps,pull,compression", "the tables to print")
	flag.Parse()
	if err := run(context.Background(), flag.Arg(0), *runs, *only); err != nil {
		fmt.Fprintln(os.Stderr, "layering:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, folder string, runs int, only string) error {
	wheels, err := read(folder)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "layering-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := &measuring{wheels: wheels, dir: dir, runs: runs}
	for _, table := range []struct {
		name  string
		print func(context.Context) error
	}{{"bumps", m.bumps}, {"pull", m.pulls}, {"compression", m.compressions}} {
		if !strings.Contains(only, table.name) {
			continue
		}
		if err := table.print(ctx); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}

// one is a wheel.
type one struct {
	name string
	size int64
	tree layers.Tree
}

func read(folder string) ([]one, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.whl"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("a folder of wheels is needed")
	}
	at, err := wheel.SchemeFor(wheel.Installation{Python: "3.11", Prefix: "/usr/local", Interpreter: "/usr/local/bin/python3.11"}, wheel.Place{})
	if err != nil {
		return nil, err
	}
	byName := map[string]one{}
	for _, file := range files {
		parsed, err := python.ParseWheelName(filepath.Base(file))
		if err != nil {
			return nil, err
		}
		w, err := wheel.Open(file, filepath.Base(file))
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		tree, err := w.Tree(at, wheel.Options{})
		if err != nil {
			return nil, err
		}
		byName[parsed.Name] = one{parsed.Name, info.Size(), tree} // the last of several versions
	}
	var out []one
	for _, w := range byName {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b one) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

// cpuSeconds is the time that all processors have spent on this process.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

type measuring struct {
	wheels []one
	dir    string
	runs   int
}

// share shares wheels out as pkg/build does: alone from a size on, the others in
// buckets by name.
func (m *measuring) share(alone int64, buckets int) [][]one {
	var out [][]one
	shared := make([][]one, buckets)
	for _, w := range m.wheels {
		if w.size >= alone {
			out = append(out, []one{w})
			continue
		}
		h := fnv.New64a()
		_, _ = io.WriteString(h, w.name)
		b := h.Sum64() % uint64(buckets)
		shared[b] = append(shared[b], w)
	}
	return append(out, slices.DeleteFunc(shared, func(b []one) bool { return len(b) == 0 })...)
}

const never = 1 << 60

// ways to share wheels out.
var ways = []struct {
	alone   int64
	buckets int
}{{never, 1}, {128 << 10, 8}, {256 << 10, 8}, {512 << 10, 1}, {512 << 10, 4}, {512 << 10, 8}, {512 << 10, 16}, {1 << 20, 8}, {2 << 20, 8}, {0, 1}}

func text(alone int64) string {
	switch {
	case alone == never:
		return "never"
	case alone == 0:
		return "always"
	}
	return fmt.Sprintf("%d KiB", alone>>10)
}

func (m *measuring) bumps(context.Context) error {
	total := int64(0)
	for _, w := range m.wheels {
		total += w.size
	}
	fmt.Printf("%d wheels, %.0f MB; what is sent when one has another version, in MB:\n\n", len(m.wheels), float64(total)/1e6)
	fmt.Println("| alone from | buckets | layers | mean of those in buckets | worst of them | mean of all |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, way := range ways {
		var small, worst, all float64
		n := 0
		shares := m.share(way.alone, way.buckets)
		for _, of := range shares {
			sent := 0.0
			for _, w := range of {
				sent += float64(w.size) / 1e6
			}
			all += sent * float64(len(of))
			if len(of) > 1 || of[0].size < way.alone {
				small, worst, n = small+sent*float64(len(of)), max(worst, sent), n+len(of)
			}
		}
		fmt.Printf("| %s | %d | %d | %.2f | %.2f | %.2f |\n", text(way.alone), way.buckets, len(shares), small/float64(max(n, 1)), worst, all/float64(len(m.wheels)))
	}
	return nil
}

// layersOf makes a layer of each share.
func (m *measuring) layersOf(ctx context.Context, shares [][]one, c layers.Compression, st *store.Store) ([]v1.Layer, int64, error) {
	out := make([]v1.Layer, len(shares))
	var size int64
	for i, of := range shares {
		var trees []layers.Tree
		for _, w := range of {
			trees = append(trees, w.tree)
		}
		whole, err := layers.Merge(trees...)
		if err != nil {
			return nil, 0, err
		}
		d, err := st.AddLayer(ctx, whole, layers.Options{Compression: c})
		if err != nil {
			return nil, 0, err
		}
		out[i], size = st.Layer(d), size+d.Size
	}
	return out, size, nil
}

// late has each answer come late.
type late struct {
	after time.Duration
	next  http.Handler
}

func (l *late) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(l.after)
	l.next.ServeHTTP(w, r)
}

func (m *measuring) pulls(ctx context.Context) error {
	slow := &late{next: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(slow)
	defer server.Close()
	delays := []time.Duration{0, 100 * time.Millisecond}
	fmt.Println("Seconds to pull, with answers that come late by 0 and by 100 ms:")
	fmt.Println("\n| alone from | buckets | compression | layers | MB | 0 ms | 100 ms | CPU |\n|---|---|---|---|---|---|---|---|")
	for _, way := range []int{0, 3, 5, 1, 9} {
		for _, c := range []layers.Compression{layers.Gzip, layers.Zstd} {
			if c == layers.Zstd && way != 5 {
				continue
			}
			st, err := store.Open(filepath.Join(m.dir, "store"))
			if err != nil {
				return err
			}
			made, size, err := m.layersOf(ctx, m.share(ways[way].alone, ways[way].buckets), c, st)
			if err != nil {
				return err
			}
			slow.after = 0
			repo, err := name.NewRepository(fmt.Sprintf("%s/way%d-%s", strings.TrimPrefix(server.URL, "http://"), way, c))
			if err != nil {
				return err
			}
			for _, l := range made {
				if err := remote.WriteLayer(repo, l); err != nil {
					return err
				}
			}
			fmt.Printf("| %s | %d | %s | %d | %.1f", text(ways[way].alone), ways[way].buckets, c, len(made), float64(size)/1e6)
			var cpu float64
			for _, slow.after = range delays {
				before := cpuSeconds()
				took, err := m.median(func() error { return m.pull(ctx, repo, made) })
				if err != nil {
					return err
				}
				cpu += (cpuSeconds() - before) / float64(m.runs*len(delays))
				fmt.Printf(" | %.2f", took.Seconds())
			}
			fmt.Printf(" | %.2f |\n", cpu)
		}
	}
	return nil
}

func (m *measuring) median(do func() error) (time.Duration, error) {
	var took []time.Duration
	for range m.runs {
		runtime.GC()
		started := time.Now()
		if err := do(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(started))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// pull fetches layers three at a time, and unpacks them one after another.
func (m *measuring) pull(ctx context.Context, repo name.Repository, list []v1.Layer) error {
	to, err := os.MkdirTemp(m.dir, "pulled-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(to)
	ready := make([]chan string, len(list))
	for i := range ready {
		ready[i] = make(chan string, 1)
	}
	group, ctx := errgroup.WithContext(ctx)
	fetch, ctx2 := errgroup.WithContext(ctx)
	fetch.SetLimit(3)
	group.Go(func() error {
		for i, l := range list {
			fetch.Go(func() error {
				file := filepath.Join(to, fmt.Sprint("blob", i))
				if err := download(ctx2, repo, l, file); err != nil {
					return err
				}
				ready[i] <- file
				return nil
			})
		}
		return fetch.Wait()
	})
	group.Go(func() error {
		for i, l := range list {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case file := <-ready[i]:
				if err := unpack(ctx, l, file, filepath.Join(to, fmt.Sprint("layer", i))); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return group.Wait()
}

func download(ctx context.Context, repo name.Repository, l v1.Layer, file string) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	from, err := remote.Layer(repo.Digest(digest.String()), remote.WithContext(ctx))
	if err != nil {
		return err
	}
	r, err := from.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func unpack(ctx context.Context, l v1.Layer, file, dir string) error {
	mt, err := l.MediaType()
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	r, err := store.Decompress(f, mt)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer r.Close()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return layers.Apply(ctx, r, root, layers.ApplyOptions{})
}

func (m *measuring) compressions(ctx context.Context) error {
	fmt.Println("All wheels in layers as they are shared out by default; seconds, and MB:")
	fmt.Println("\n| | make | CPU | size | read | CPU |\n|---|---|---|---|---|---|")
	shares := m.share(512<<10, 8)
	for _, c := range []layers.Compression{layers.Gzip, layers.Zstd} {
		st, err := store.Open(filepath.Join(m.dir, "store-"+c.String()))
		if err != nil {
			return err
		}
		var made []v1.Layer
		var size int64
		began := cpuSeconds()
		took, err := m.median(func() (err error) { made, size, err = m.layersOf(ctx, shares, c, st); return err })
		if err != nil {
			return err
		}
		reading := cpuSeconds()
		read, err := m.median(func() error { return readAll(made) })
		if err != nil {
			return err
		}
		n := float64(m.runs)
		fmt.Printf("| %s | %.2f | %.2f | %.1f | %.2f | %.2f |\n", c, took.Seconds(), (reading-began)/n, float64(size)/1e6, read.Seconds(), (cpuSeconds()-reading)/n)
	}
	return m.frames(shares)
}

func readAll(list []v1.Layer) error {
	for _, l := range list {
		r, err := l.Uncompressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}

// frames puts each file into a zstd frame of its own, and then makes the layers of
// frames that are at hand: what is left to do is to sum up both forms.
func (m *measuring) frames(shares [][]one) error {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		return err
	}
	var kept [][]byte
	var size int64
	started, began := time.Now(), cpuSeconds()
	for _, of := range shares {
		for _, w := range of {
			for _, e := range w.tree.Entries() {
				text := make([]byte, 512) // a header, which compresses like one
				copy(text, e.Path)
				if e.Content != nil {
					r, err := e.Content.Open()
					if err != nil {
						return err
					}
					var b bytes.Buffer
					_, err = b.ReadFrom(r)
					if err = errors.Join(err, r.Close()); err != nil {
						return err
					}
					text = append(text, b.Bytes()...)
				}
				frame := enc.EncodeAll(append(text, make([]byte, -len(text)&511)...), nil)
				kept, size = append(kept, frame), size+int64(len(frame))
			}
		}
	}
	took, compressing := time.Since(started), cpuSeconds()
	reused, err := m.median(func() error {
		sum, diffID := sha256.New(), sha256.New()
		var text []byte
		for _, frame := range kept {
			sum.Write(frame)
			var err error
			if text, err = dec.DecodeAll(frame, text[:0]); err != nil {
				return err
			}
			diffID.Write(text)
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("| zstd, a frame a file | %.2f | %.2f | %.1f | | |\n", took.Seconds(), compressing-began, float64(size)/1e6)
	fmt.Printf("| of frames at hand | %.2f | %.2f | %.1f | | |\n", reused.Seconds(), (cpuSeconds()-compressing)/float64(m.runs), float64(size)/1e6)
	return nil
}
