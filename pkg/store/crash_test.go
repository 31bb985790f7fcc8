package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// workerArgument makes the test program a process that works with a store until
// it is killed.
const workerArgument = "work-until-killed"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == workerArgument {
		if err := workUntilKilled(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// jobs is how many different jobs there are: few, so that processes meet.
const jobs = 10

// result is what a job comes to. It depends on the job's number alone.
type result struct {
	Text  v1.Hash
	Layer layers.Descriptor
	Image v1.Descriptor
}

// do does a job as a build does: what is on record and in the store is not made
// again, and what was found or made is relied on.
func do(ctx context.Context, s *Store, n int) (r result, err error) {
	text := strings.Repeat(fmt.Sprintln("job", n), 1000)
	if r.Text, err = on(s, fmt.Sprintf("text/%d", n), v1.Hash.String, func() (v1.Hash, error) {
		h, _, err := s.Put(ctx, strings.NewReader(text), nil)
		return h, err
	}); err != nil {
		return r, err
	}
	if b, err := s.read(r.Text); err != nil || string(b) != text {
		return r, fmt.Errorf("text: %d bytes: %w", len(b), err)
	}
	tree, err := layers.NewTree([]layers.Entry{{Path: "text", Kind: layers.File, Mode: 0o644, Size: int64(len(text)), Content: layers.Bytes([]byte(text))}})
	if err != nil {
		return r, err
	}
	if r.Layer, err = on(s, fmt.Sprintf("layer/%d", n), func(d layers.Descriptor) string { return d.Digest.String() }, func() (layers.Descriptor, error) {
		return s.AddLayer(ctx, tree, layers.Options{})
	}); err != nil {
		return r, err
	}
	if err := validate.Layer(s.Layer(r.Layer)); err != nil {
		return r, err
	}
	img, err := random.Image(200, 2, random.WithSource(mathrand.NewSource(int64(n))))
	if err != nil {
		return r, err
	}
	if r.Image, err = s.PutImage(ctx, img); err != nil {
		return r, err
	}
	if err := s.SetRecord(fmt.Sprintf("image/%d", n), r.Image); err != nil {
		return r, err
	}
	time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
	back, err := s.Image(r.Image.Digest)
	if err != nil {
		return r, err
	}
	if err := validate.Image(back); err != nil {
		return r, err
	}
	return r, s.SetName(fmt.Sprintf("app:%d", n%4), r.Image)
}

// on returns what is on record under a key where the store has its blob, and
// makes it otherwise.
func on[T any](s *Store, key string, digest func(T) string, make func() (T, error)) (T, error) {
	var v T
	ok, err := s.Record(key, &v)
	if err != nil {
		return v, err
	}
	if h, err := v1.NewHash(digest(v)); ok && err == nil && s.Has(h) {
		return v, nil
	}
	if v, err = make(); err != nil {
		return v, err
	}
	return v, s.SetRecord(key, v)
}

// workUntilKilled does jobs and prunes, and prints a line for each.
func workUntilKilled(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	s.touchEvery = 20 * time.Millisecond
	work, err := s.TempDir("work-")
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(work, "file"), make([]byte, 1000), 0o644); err != nil {
			return err
		}
		if _, err := do(context.Background(), s, rand.IntN(jobs)); err != nil {
			return fmt.Errorf("job %d: %w", i, err)
		}
		fmt.Println("did", i)
		if i%4 == 3 {
			if _, err := s.Prune(context.Background(), PruneOptions{All: i%8 == 7, MaxBytes: rand.Int64N(20000)}); err != nil {
				return err
			}
		}
	}
}

// worker is a process that works with a store.
type worker struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	lines  *bufio.Reader
}

func startWorker(t *testing.T, dir string) *worker {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{cmd: exec.Command(program, workerArgument, dir)}
	w.cmd.Stderr = &w.stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.lines = bufio.NewReader(out)
	return w
}

// goesOn waits until the process has done a job, and all that it has told of.
func (w *worker) goesOn(t *testing.T) {
	t.Helper()
	for first := true; first || w.lines.Buffered() > 0; first = false {
		if _, err := w.lines.ReadString('\n'); err != nil {
			t.Fatalf("%v: %s", err, w.kill())
		}
	}
}

// kill ends the process at once and returns what it has complained of.
func (w *worker) kill() string {
	_ = w.cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, w.lines)
	_ = w.cmd.Wait()
	return w.stderr.String()
}

func TestKilledAtAnyTime(t *testing.T) {
	want := make([]result, jobs)
	for n := range want {
		want[n] = must(do(t.Context(), open(t), n))(t)
	}
	dir := t.TempDir()
	delay := func() { time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond) }
	for range 24 {
		w := startWorker(t, dir)
		delay() // it may be opening the store
		if complaint := w.kill(); complaint != "" {
			t.Fatal(complaint)
		}
		intact(t, dir, want, 0)
	}
	// Two at a time. What one of them holds when it dies does not stop the other.
	for range 10 {
		one, other := startWorker(t, dir), startWorker(t, dir)
		other.goesOn(t)
		delay()
		complaint := one.kill()
		other.goesOn(t)
		other.goesOn(t)
		intact(t, dir, want, 1)
		delay()
		if complaint += other.kill(); complaint != "" {
			t.Fatal(complaint)
		}
		intact(t, dir, want, 0)
	}
}

// intact checks a store over which processes were killed, with others still at
// work in it: what is there is right, nothing is left of the dead, and the same
// work comes to the same.
func intact(t *testing.T, dir string, want []result, others int) {
	t.Helper()
	s := must(Open(dir))(t)
	defer s.Close()
	s.touchEvery = 20 * time.Millisecond // as the others have it
	if left, err := os.ReadDir(s.tmp()); err != nil || len(left) != 1+others {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for _, e := range must(os.ReadDir(s.blobs()))(t) {
		r, err := s.open(v1.Hash{Algorithm: "sha256", Hex: e.Name()})
		if errors.Is(err, fs.ErrNotExist) && others > 0 {
			continue // pruned meanwhile
		}
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
	trueRecords(t, s, want)
	for n := range 4 {
		err := whole(s, fmt.Sprintf("app:%d", n))
		for i := 0; err != nil && i < 3*others; i++ { // it may have been pruned between the name and the image
			err = whole(s, fmt.Sprintf("app:%d", n))
		}
		if err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		n := rand.IntN(jobs)
		if diff := cmp.Diff(want[n], must(do(t.Context(), s, n))(t)); diff != "" {
			t.Errorf("the same work again (-want +got):\n%s", diff)
		}
	}
}

// whole checks an image, if there is one of the name.
func whole(s *Store, name string) error {
	d, err := s.Named(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	img, err := s.Image(d.Digest)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return validate.Image(img)
}

// trueRecords checks that each record says what its job comes to.
func trueRecords(t *testing.T, s *Store, want []result) {
	t.Helper()
	for _, e := range must(os.ReadDir(s.records()))(t) {
		var r record
		b, err := os.ReadFile(filepath.Join(s.records(), e.Name()))
		if os.IsNotExist(err) {
			continue // another process has pruned it
		}
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil {
			t.Errorf("%s: %v", e.Name(), err)
			continue
		}
		var kind string
		var n int
		if _, err := fmt.Sscanf(strings.Replace(r.Key, "/", " ", 1), "%s %d", &kind, &n); err != nil {
			t.Errorf("key %q: %v", r.Key, err)
			continue
		}
		value := must(json.Marshal(map[string]any{"text": want[n].Text, "layer": want[n].Layer, "image": want[n].Image}[kind]))(t)
		if diff := cmp.Diff(string(value), string(r.Value)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r.Key, diff)
		}
	}
}
