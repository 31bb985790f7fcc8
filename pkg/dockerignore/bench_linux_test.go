package dockerignore

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// rawWalk is bareWalk with the system calls alone: openat, getdents, fstatat.
func rawWalk(root string, prune []string) (int, error) {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	top, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(top)
	var count atomic.Int64
	var walk func(dir string) error
	walk = func(dir string) error {
		fd, err := unix.Openat(top, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		var subs []string
		buf := make([]byte, 16<<10)
		for {
			n, err := unix.Getdents(fd, buf)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			for b := buf[:n]; len(b) > 0; {
				size := binary.NativeEndian.Uint16(b[16:])
				name, isDir := b[19:size], b[18] == unix.DT_DIR
				name = name[:bytes.IndexByte(name, 0)]
				b = b[size:]
				if isDir && (string(name) == "." || string(name) == ".." || slices.Contains(prune, string(name))) {
					continue
				}
				count.Add(1)
				var st unix.Stat_t
				if err := unix.Fstatat(fd, string(name), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
					return err
				}
				if isDir {
					subs = append(subs, dir+"/"+string(name))
				}
			}
		}
		unix.Close(fd)
		for _, sub := range subs {
			if !g.TryGo(func() error { return walk(sub) }) {
				if err := walk(sub); err != nil {
					return err
				}
			}
		}
		return nil
	}
	g.Go(func() error { return walk(".") })
	err = g.Wait()
	return int(count.Load()), err
}

func BenchmarkRawWalk(b *testing.B) {
	tree := bigTree(b)
	for _, bb := range []struct {
		name  string
		prune []string
		want  int
	}{{"pruned", pruned, tree.kept + 500}, {"all", nil, tree.all}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n, err := rawWalk(tree.root, bb.prune); err != nil || n != bb.want {
					b.Fatal(n, bb.want, err)
				}
			}
		})
	}
}

// BenchmarkBeside runs Walk and the bare walks in turns, so that what else the
// machine does falls on all of them, and reports the best time of each, the CPU
// time of that, and ratios.
func BenchmarkBeside(b *testing.B) {
	tree := bigTree(b)
	for _, bb := range []struct {
		name  string
		m     *Matcher
		prune []string
	}{{"30patterns", tree.matcher, pruned}, {"all", nil, nil}} {
		b.Run(bb.name, func(b *testing.B) {
			runs := []func() error{
				func() error { _, err := Walk(b.Context(), tree.root, bb.m); return err },
				func() error { _, err := bareWalk(tree.root, bb.prune); return err },
				func() error { _, err := rawWalk(tree.root, bb.prune); return err },
			}
			var best, cpu [3]time.Duration
			for b.Loop() {
				for i, run := range runs {
					runtime.GC() // each pays for its own
					start, used := time.Now(), cpuTime(b)
					if err := run(); err != nil {
						b.Fatal(err)
					}
					took, used := time.Since(start), cpuTime(b)-used
					if best[i] == 0 || took < best[i] {
						best[i] = took
					}
					if cpu[i] == 0 || used < cpu[i] {
						cpu[i] = used
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, name := range []string{"walk", "bare", "raw"} {
				b.ReportMetric(best[i].Seconds()*1000, name+"-ms")
				b.ReportMetric(cpu[i].Seconds()*1000, name+"-cpu-ms")
			}
			b.ReportMetric(float64(best[0])/float64(best[1]), "x-bare")
			b.ReportMetric(float64(best[0])/float64(best[2]), "x-raw")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
