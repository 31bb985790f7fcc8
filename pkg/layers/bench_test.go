//go:build linux

package layers

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	kflate "github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"golang.org/x/sys/unix"
)

// cpuTime is what the process has used of all processors: unlike the wall's time
// it says something on a machine that does other things beside.
func cpuTime(b *testing.B) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// measure runs f as a benchmark that makes n bytes, and reports the bytes for a
// second of processor time too.
func measure(b *testing.B, name string, n int64, f func()) {
	b.Run(name, func(b *testing.B) {
		b.SetBytes(n)
		began := cpuTime(b)
		for b.Loop() {
			f()
		}
		b.ReportMetric(float64(n)*float64(b.N)/1e6/(cpuTime(b)-began).Seconds(), "MB/cpu-s")
	})
}

// BenchmarkInflate compares inflaters on text or, where WHEELS names a
// directory, on the first GB of the wheels in it.
func BenchmarkInflate(b *testing.B) {
	var files []packedFile
	total, longest := int64(0), int64(0)
	for _, wheel := range benchWheels(b) {
		for _, f := range wheel {
			if f.raw != nil && total < 1<<30 {
				files = append(files, f)
				total += f.size
				longest = max(longest, f.size)
			}
		}
	}
	out := make([]byte, longest+1+outSlack)
	for _, other := range []struct {
		name string
		r    io.Reader
	}{{"klauspost", kflate.NewReader(nil)}, {"standard", flate.NewReader(bytes.NewReader(nil))}} {
		measure(b, other.name, total, func() {
			for _, f := range files {
				if err := other.r.(flate.Resetter).Reset(bytes.NewReader(f.raw), nil); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(other.r, out[:f.size]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	var z inflater
	measure(b, "ours", total, func() {
		for _, f := range files {
			z.begin()
			z.in, z.out, z.base, z.op, z.limit, z.more = f.raw, out, 0, 0, int(f.size)+1, false
			// Only the first time there is a last block: then it is made one of many.
			if s, err := z.run(); s != finished && !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatal(s, err)
			}
		}
	})
}

// BenchmarkSplice makes one layer a wheel, and sums it, in the ways that there
// are: bytes are of the tars. The floor is what no way can do without, as fast
// as two processors can do it: inflating, and hashing both forms.
func BenchmarkSplice(b *testing.B) {
	var trees []Tree
	total, raw := int64(0), int64(0)
	wheels := benchWheels(b)
	for _, wheel := range wheels {
		var entries []Entry
		for i, f := range wheel {
			e := Entry{Path: fmt.Sprintf("%d/%s", i, f.name), Kind: File, Mode: 0o644, Size: f.size, Content: Bytes(f.text)}
			if f.raw != nil {
				e.Content = unchecked(f.raw)
			}
			entries = append(entries, e)
			total += f.size + 1024
			raw += int64(len(f.raw) + len(f.text))
		}
		tr, err := NewTree(entries)
		if err != nil {
			b.Fatal(err)
		}
		trees = append(trees, tr)
	}
	ways := []struct {
		name string
		make func(w io.Writer) io.WriteCloser
	}{
		{"splice", nil},
		{"pgzip-1", pgzipAt(b, 1)},
		{"pgzip-6", pgzipAt(b, 6)},
		{"zstd-fastest", zstdAt(b, zstd.SpeedFastest)},
		{"zstd-default", zstdAt(b, zstd.SpeedDefault)}, // as Write does it
	}
	for _, way := range ways {
		size := int64(0)
		measure(b, way.name, total, func() {
			size = 0
			for _, tr := range trees {
				if way.make == nil {
					d, err := Write(b.Context(), io.Discard, tr, Options{})
					if err != nil {
						b.Fatal(err)
					}
					size += d.Size
					continue
				}
				out := newSink(io.Discard)
				z := way.make(out)
				err := writeTar(b.Context(), bufio.NewWriterSize(io.MultiWriter(z, out.diffID), 1<<20), tr, time.Unix(0, 0))
				if err = errors.Join(err, z.Close()); err != nil {
					b.Fatal(err)
				}
				size += out.size
			}
		})
		b.Logf("%s: %.1f MB, %.1f %% of what is in the wheels", way.name, float64(size)/1e6, 100*float64(size)/float64(raw))
	}
	// Last, for it makes the last block of each stream one of many.
	measure(b, "floor", total, func() {
		for _, wheel := range wheels {
			floor(b, wheel)
		}
	})
}

func pgzipAt(b *testing.B, level int) func(io.Writer) io.WriteCloser {
	return func(w io.Writer) io.WriteCloser {
		z, err := pgzip.NewWriterLevel(w, level)
		if err == nil {
			err = z.SetConcurrency(1<<20, 2)
		}
		if err != nil {
			b.Fatal(err)
		}
		return z
	}
}

func zstdAt(b *testing.B, level zstd.EncoderLevel) func(io.Writer) io.WriteCloser {
	return func(w io.Writer) io.WriteCloser {
		z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(2))
		if err != nil {
			b.Fatal(err)
		}
		return z
	}
}

// floor inflates on two goroutines and hashes on a third.
func floor(b *testing.B, files []packedFile) {
	type piece struct {
		f    packedFile
		text chan []byte
	}
	work, order := make(chan piece, 8), make(chan piece, 8)
	go func() {
		for _, f := range files {
			p := piece{f, make(chan []byte, 1)}
			order <- p
			work <- p
		}
		close(work)
		close(order)
	}()
	free := buffers{most: 16}
	for range 2 {
		go func() {
			var z inflater
			for p := range work {
				if p.f.raw == nil {
					p.text <- p.f.text
					continue
				}
				z.begin()
				z.in, z.out = p.f.raw, free.get(int(p.f.size) + 1 + outSlack)[:p.f.size+1+outSlack]
				z.base, z.op, z.limit, z.more = 0, 0, int(p.f.size)+1, false
				if s, err := z.run(); s != finished && !errors.Is(err, io.ErrUnexpectedEOF) {
					b.Error(s, err)
				}
				p.text <- z.out[:p.f.size]
			}
		}()
	}
	out := newSink(io.Discard)
	for p := range order {
		text := <-p.text
		out.diffID.Write(zeros[:tarBlock])
		out.diffID.Write(text)
		out.diffID.Write(zeros[:padding(p.f.size)])
		out.digest.Write(p.f.raw)
		free.put(text)
	}
}

// unchecked is a deflated content without a sum.
type unchecked []byte

func (u unchecked) Open() (io.ReadCloser, error) { return kflate.NewReader(bytes.NewReader(u)), nil }
func (u unchecked) DeflatedSize() (int64, bool)  { return int64(len(u)), true }
func (u unchecked) OpenDeflated() (DeflatedReader, error) {
	return uncheckedReader{bytes.NewReader(u)}, nil
}

type uncheckedReader struct{ *bytes.Reader }

func (uncheckedReader) Close() error           { return nil }
func (uncheckedReader) Inflated([]byte)        {}
func (uncheckedReader) Finish(err error) error { return err }

// BenchmarkLongFile makes a layer of one file of 1 GB and reports the most that
// the heap grew to.
func BenchmarkLongFile(b *testing.B) {
	const n = 5000
	l := newLong(b, n)
	for _, c := range []struct {
		name    string
		content Content
	}{{"spliced", l}, {"compressed", opened{l}}} {
		tr, err := NewTree([]Entry{{Path: "long", Kind: File, Mode: 0o644, Size: int64(n * len(l.text)), Content: c.content}})
		if err != nil {
			b.Fatal(err)
		}
		peak := uint64(0)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(n * len(l.text)))
			for b.Loop() {
				peak = max(peak, peakHeap(func() {
					if _, err := Write(b.Context(), io.Discard, tr, Options{}); err != nil {
						b.Fatal(err)
					}
				}))
			}
			b.ReportMetric(float64(peak)/1e6, "MB-heap")
		})
	}
}

// BenchmarkSmallFiles makes a layer of 20,000 small files, or of those in the
// directory that SOURCES names: from memory and from files, with all of the
// layer before at hand, and with all but one file's part of it. Bytes are of the
// tar.
func BenchmarkSmallFiles(b *testing.B) {
	dir := os.Getenv("SOURCES")
	if dir == "" {
		dir = b.TempDir()
		for _, e := range sources(20_000) {
			name := filepath.Join(dir, filepath.FromSlash(e.Path))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(name, e.Content.(*summed).text, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	held := sourceFiles(b, dir)
	files, changed := slices.Clone(held), slices.Clone(held)
	for i, e := range files {
		files[i].Content = HostFile(filepath.Join(dir, filepath.FromSlash(e.Path)))
	}
	changed[len(changed)/2] = summedFile(changed[len(changed)/2].Path, "changed")
	before := write(b, tree(b, slices.Clone(held)...), nil)
	total := int64(0)
	if _, err := Write(b.Context(), writerFunc(func(p []byte) (int, error) { total += int64(len(p)); return len(p), nil }),
		tree(b, slices.Clone(held)...), Options{Compression: None}); err != nil {
		b.Fatal(err)
	}
	at := time.Unix(1_700_000_000, 0)
	for _, way := range []struct {
		name    string
		entries []Entry
		reuse   Segments
	}{
		{"memory", held, nil}, {"files", files, nil}, {"reused", held, before.segments()}, {"one-changed", changed, before.segments()},
	} {
		tr := tree(b, way.entries...)
		var d Descriptor
		measure(b, way.name, total, func() {
			var index SegmentIndex
			var err error
			if d, err = Write(b.Context(), io.Discard, tr, Options{Time: at, Reuse: way.reuse, Made: index.Add}); err != nil {
				b.Fatal(err)
			}
		})
		peak := peakHeap(func() {
			if _, err := Write(b.Context(), io.Discard, tr, Options{Time: at, Reuse: way.reuse}); err != nil {
				b.Fatal(err)
			}
		})
		b.Logf("%s: %d files, %.1f MB, %.1f MB of heap", way.name, len(way.entries), float64(d.Size)/1e6, float64(peak)/1e6)
	}
	tr := tree(b, held...)
	measure(b, "sum", total, func() {
		if _, err := Sum(b.Context(), tr); err != nil {
			b.Fatal(err)
		}
	})
}

// sourceFiles are the files of a directory, held in memory, with their sums.
func sourceFiles(b *testing.B, dir string) []Entry {
	var all []Entry
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		all = append(all, Entry{Path: filepath.ToSlash(rel), Kind: File, Mode: 0o644, Size: int64(len(text)), Content: newSummed(text)})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return all
}

// BenchmarkHash hashes 1 MB as a sink hashes a layer's two forms: what a layer
// costs however it is made.
func BenchmarkHash(b *testing.B) {
	text := make([]byte, 1<<20)
	out := &gzipSink{sink: newSink(io.Discard)}
	measure(b, "tar", int64(len(text)), func() {
		if err := out.take(segment{tar: text}); err != nil {
			b.Fatal(err)
		}
	})
	measure(b, "stored", int64(len(text)), func() {
		if err := out.take(segment{gz: text}); err != nil {
			b.Fatal(err)
		}
	})
}

// packedFile is a file of a wheel: deflated in raw, or stored where that is nil.
type packedFile struct {
	name string
	raw  []byte
	text []byte
	size int64
}

// benchWheels reads the wheels of the directory that WHEELS names, or makes some.
func benchWheels(b *testing.B) [][]packedFile {
	b.Helper()
	dir := os.Getenv("WHEELS")
	if dir == "" {
		return madeWheels(b)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(names) == 0 {
		b.Fatalf("no wheels in %s: %v", dir, err)
	}
	var wheels [][]packedFile
	for _, name := range names {
		z, err := zip.OpenReader(name)
		if err != nil {
			b.Fatal(err)
		}
		var files []packedFile
		for _, e := range z.File {
			if e.FileInfo().IsDir() {
				continue
			}
			r, err := e.OpenRaw()
			if err != nil {
				b.Fatal(err)
			}
			p, err := io.ReadAll(r)
			if err != nil {
				b.Fatal(err)
			}
			f := packedFile{name: e.Name, size: int64(e.UncompressedSize64)}
			if e.Method == zip.Deflate {
				f.raw = p
			} else {
				f.text = p
			}
			files = append(files, f)
		}
		z.Close()
		wheels = append(wheels, files)
	}
	return wheels
}

// madeWheels stand in for wheels.
func madeWheels(b *testing.B) [][]packedFile {
	var files []packedFile
	for name, text := range samples() {
		for range 20 {
			files = append(files, packedFile{name: name, raw: deflated(b, text, 6, 0), size: int64(len(text))})
		}
	}
	return [][]packedFile{files}
}
