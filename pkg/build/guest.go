package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/sandbox"
)

// guests are the Pythons of bases, run on this machine in a sandbox: for what
// only a Python can do, which is to compile bytecode and to run a package's own
// build. One build shares them; they are unpacked when first needed.
type guests struct {
	b    *Builder
	mu   sync.Mutex
	made map[string]*guest
	dir  string
	// mode is how commands are run here, once it is known; refused is why they
	// cannot be.
	mode    sandbox.Mode
	probed  bool
	refused error
}

// guest is one of them.
type guest struct {
	of *guests
	// target is what it runs as, interpreter its path.
	target      python.Target
	interpreter string
	prefix      string
	rootfs      string
	calls       atomic.Int64
}

// guestError says that no Python can be run for a base.
type guestError struct {
	reason string
	err    error
}

func (e *guestError) Error() string {
	if e.err == nil {
		return e.reason
	}
	return e.reason + ": " + e.err.Error()
}

func (e *guestError) Unwrap() error { return e.err }

// Hint passes on what would help.
func (e *guestError) Hint() string {
	var h interface{ Hint() string }
	if errors.As(e.err, &h) {
		return h.Hint()
	}
	return ""
}

// runCommandError says that a command in a sandbox ended badly.
type runCommandError struct {
	status sandbox.ExitStatus
	tail   string
}

func (e *runCommandError) Error() string {
	how := fmt.Sprintf("ended with status %d", e.status.Code)
	if e.status.Signal != "" {
		how = "was ended by " + e.status.Signal
	}
	if e.tail != "" {
		how += ": " + e.tail
	}
	return how
}

// ExitCode is the command's exit status.
func (e *runCommandError) ExitCode() int { return e.status.Code }

// guest returns the Python of the stage, or one of the same minor version for
// this machine where the stage is for another architecture: bytecode does not
// depend on the processor. The error is a *guestError where there is none.
func (s *stage) guest(ctx context.Context, py *pythonInImage) (*guest, error) {
	return s.run.shared.guests.get(ctx, s, py)
}

func (g *guests) get(ctx context.Context, s *stage, py *pythonInImage) (*guest, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.probe(ctx); err != nil {
		return nil, err
	}
	found, err := g.source(ctx, s, py)
	if err != nil {
		return nil, err
	}
	if made, ok := g.made[found.key]; ok {
		return made, nil
	}
	dir := filepath.Join(g.dir, fmt.Sprint("rootfs", len(g.made)))
	if err := unpack(ctx, found.layers, dir); err != nil {
		return nil, fmt.Errorf("unpack the base: %w", err)
	}
	made := &guest{of: g, target: found.python.target, interpreter: found.python.installation.Interpreter, prefix: found.python.installation.Prefix, rootfs: dir}
	g.made[found.key] = made
	return made, nil
}

// guestSource is what a guest is unpacked from.
type guestSource struct {
	key    string
	layers []v1.Layer
	python *pythonInImage
}

func (g *guests) source(ctx context.Context, s *stage, py *pythonInImage) (*guestSource, error) {
	platform := s.scope.Stage.Platform
	if platform.Architecture == runtime.GOARCH {
		if s.base.Image != nil {
			if f, err := s.base.Facts(); err == nil && f.Python != nil {
				own, err := pythonOf(f, platform)
				if err == nil && f.Python.Prefix == py.installation.Prefix {
					own = py
				}
				if err == nil && (own == py || own.behind(py)) {
					list, err := s.base.Image.Layers()
					return &guestSource{key: s.base.Digest.String(), layers: list, python: own}, err
				}
			}
		}
		// A virtual environment may be made by the very step that needs a Python.
		if own, err := s.python(ctx); err == nil && own.behind(py) {
			py = own
		}
		key := py.installation.Interpreter
		for _, l := range s.layers {
			d, err := l.Digest()
			if err != nil {
				return nil, err
			}
			key += " " + d.String()
		}
		return &guestSource{key: key, layers: s.layers, python: py}, nil
	}
	if s.base.Image == nil {
		return nil, &guestError{reason: fmt.Sprintf("the Python is for %s, and this machine is %s", platform.Architecture, runtime.GOARCH)}
	}
	own := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	b, err := s.run.resolve(ctx, s.base.Name, own)
	if err != nil {
		return nil, &guestError{reason: fmt.Sprintf("the base has no Python for this machine (%s)", runtime.GOARCH), err: err}
	}
	f, err := b.Facts()
	if err != nil {
		return nil, err
	}
	if f.Python == nil {
		return nil, &guestError{reason: "the base for this machine has no Python"}
	}
	there, err := pythonOf(f, own)
	if err != nil {
		return nil, err
	}
	if there.installation.Python != py.installation.Python || there.installation.FreeThreaded != py.installation.FreeThreaded {
		return nil, &guestError{reason: fmt.Sprintf("the base for this machine has Python %s, and that for %s Python %s", there.target.Python, platform.Architecture, py.target.Python)}
	}
	list, err := b.Image.Layers()
	return &guestSource{key: b.Digest.String(), layers: list, python: there}, err
}

// possible is a *guestError if no command can be run here.
func (g *guests) possible(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.probe(ctx)
}

// behind says whether a Python does for what a virtual environment's is to do here:
// it is one of the same minor version, and no environment itself.
func (p *pythonInImage) behind(venv *pythonInImage) bool {
	return venv.installation.Venv && !p.installation.Venv && p.installation.Python == venv.installation.Python && p.installation.FreeThreaded == venv.installation.FreeThreaded
}

// probe finds out, once a build, how a command can be run here.
func (g *guests) probe(ctx context.Context) error {
	if g.probed {
		return g.refused
	}
	if g.dir == "" {
		dir, err := g.b.Store.TempDir("guests-*")
		if err != nil {
			return err
		}
		g.dir = dir
	}
	report, err := sandbox.Probe(ctx, filepath.Join(g.dir, "probe"))
	var none *sandbox.UnavailableError
	switch {
	case errors.As(err, &none):
		g.refused = &guestError{reason: "no command can be run apart from this machine", err: err}
	case err != nil:
		return err
	}
	g.probed, g.mode = true, report.Mode
	return g.refused
}

// close removes what was unpacked.
func (g *guests) close() error {
	if g.dir == "" {
		return nil
	}
	return sandbox.RemoveAll(context.Background(), g.dir)
}

// unpack lays layers out in a new folder.
func unpack(ctx context.Context, list []v1.Layer, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, l := range list {
		if err := unpackLayer(ctx, l, root); err != nil {
			return err
		}
	}
	return nil
}

func unpackLayer(ctx context.Context, l v1.Layer, root *os.Root) error {
	r, err := l.Uncompressed()
	if err != nil {
		return err
	}
	defer r.Close()
	return layers.Apply(ctx, r, root, layers.ApplyOptions{Owners: os.Geteuid() == 0})
}

// stderrTail is how much of what a command says is kept for its error, in
// bytes.
const stderrTail = 4 << 10

// Run runs a command without a network and waits for its end. It may be called
// several times at once.
func (g *guest) Run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) error {
	scratch := filepath.Join(g.of.dir, fmt.Sprint("scratch", g.calls.Add(1), "-", filepath.Base(g.rootfs)))
	tail := &tailWriter{}
	if stderr == nil {
		stderr = io.Discard
	}
	p, err := sandbox.Start(ctx, sandbox.Command{
		Rootfs: g.rootfs, Scratch: scratch, Args: args, Env: env, Mode: g.of.mode,
		Stdin: stdin, Stdout: stdout, Stderr: io.MultiWriter(stderr, tail), NoNetwork: true,
	})
	if err != nil {
		return err
	}
	status, err := p.Wait()
	if err != nil {
		return err
	}
	if status.Code != 0 {
		return &runCommandError{status: status, tail: tail.last()}
	}
	return nil
}

// tailWriter keeps the end of what is written to it.
type tailWriter struct {
	mu  sync.Mutex
	end []byte
}

func (t *tailWriter) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	if n := len(t.end) - stderrTail; n > 0 {
		t.end = append(t.end[:0], t.end[n:]...)
	}
	return len(p), nil
}

// last is the last line that says something.
func (t *tailWriter) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.end), []byte("\n"))
	return strings.TrimSpace(string(lines[len(lines)-1]))
}
