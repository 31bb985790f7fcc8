// Package bytecode compiles Python sources to .pyc files, by a Python that
// somebody else runs: a tree of sources goes in, a tree of their __pycache__
// files comes out.
//
// The files are unchecked-hash pycs (PEP 552), which do not depend on the time of
// their source, so that layers of them are the same whenever they are made; and
// they are the same bytes whatever else was compiled before or beside them. They
// depend on the sources, on their paths in the image (which tracebacks show), and
// on the Python's feature release, but not on the processor.
//
// Before Python 3.11 a source with a set of constants that has None or Ellipsis in
// it (x in {1, None}) has no bytecode: its bytes would be others every time.
//
// The Python and what it answers are not trusted: it is given sources and says
// bytes for each, and can name no path. The package runs nothing by itself and
// writes no file.
package bytecode

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// Format names the rules by which sources become a tree. It is part of the key
// under which a result is kept, and changes whenever the bytes would.
const Format = "bytecode/1"

//go:embed compile.py
var script string

// Runner runs a command where the interpreter is, best without a network, and
// waits for its end. Input and output are passed on while it runs. A command that
// does not end with status 0 is an error.
type Runner interface {
	Run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) error
}

// Options say how sources are compiled.
type Options struct {
	// Interpreter is the Python's absolute path where the Runner runs it.
	Interpreter string
	// Workers is how many processes compile at once; 0: one for each processor.
	// The result does not depend on it.
	Workers int
	// Log takes, at the debug level, the sources that do not compile; nil discards
	// them.
	Log *slog.Logger
}

// Unit is what is compiled together and kept together: a wheel, or the standard
// library.
type Unit struct {
	// Name is for messages.
	Name string
	// Tree has the sources, at their paths in the image. What is no .py
	// file are passed over.
	Tree layers.Tree
}

// Error says that bytecode could not be compiled.
type Error struct {
	Interpreter string
	Err         error
	// Tail is the end of what the Python wrote to its standard error.
	Tail string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("compile bytecode with %s: %v", e.Interpreter, e.Err)
	if line := lastLine(e.Tail); line != "" && !strings.Contains(text, line) {
		text += ": " + line
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// Compile compiles the sources of one tree and writes their .pyc files to w as an
// uncompressed layer tar: mode 0644, owner 0:0, time 0.
func Compile(ctx context.Context, run Runner, interpreter string, sources layers.Tree, w io.Writer) error {
	return CompileAll(ctx, run, []Unit{{Tree: sources}}, Options{Interpreter: interpreter},
		func(_ int, pycs layers.Tree) error {
			_, err := layers.Write(ctx, w, pycs, layers.Options{Compression: layers.None})
			return err
		})
}

// CompileAll compiles units, all by one start of the interpreter, and calls done
// with the index of each and its .pyc files: mode 0644, owner 0:0, held in memory.
// Units come as they are ready, in any order, and one call at a time. A source
// that does not compile, such as a template, has no .pyc file, as with pip. An
// error of done, of a source's content and an *Error of the Python's end it all.
func CompileAll(ctx context.Context, run Runner, units []Unit, o Options, done func(i int, pycs layers.Tree) error) error {
	batches, err := plan(units, o.Log)
	if err != nil {
		return err
	}
	c := &collector{units: units, batches: batches, log: o.Log, done: done, left: make([]int, len(units)), pycs: make([][]layers.Entry, len(units))}
	for _, b := range batches {
		c.left[b.unit]++
	}
	for i := range units {
		if c.left[i] == 0 {
			if err := done(i, layers.Tree{}); err != nil {
				return err
			}
		}
	}
	if len(batches) == 0 {
		return nil
	}
	return c.run(ctx, run, o)
}

// run runs the script, writes the batches to it and collects what it answers.
func (c *collector) run(parent context.Context, runner Runner, o Options) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	in, inWriter := io.Pipe()
	out, outWriter := io.Pipe()
	said := &tail{}

	fed := make(chan error, 1)
	go func() {
		err := writeRequest(inWriter, o.Workers, c.batches)
		_ = inWriter.CloseWithError(err) // nil is EOF
		fed <- err
	}()
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		// PYTHONHASHSEED would not count under -I, which has -E in it.
		args := []string{o.Interpreter, "-s", "-S", "-B", "-W", "ignore", "-c", script}
		err := runner.Run(ctx, args, []string{"PYTHONHASHSEED=0", "PYTHONUTF8=1", "LC_ALL=C"}, in, outWriter, said)
		_ = outWriter.CloseWithError(err) // nil is EOF
		_ = in.CloseWithError(errStopped)
	}()

	err := c.read(out) // the Runner's error, where it had one
	cancel(err)
	_ = out.CloseWithError(errStopped)
	<-ran
	source := <-fed
	switch d, is := errors.AsType[*doneError](err); {
	case is:
		return d.err
	case parent.Err() != nil:
		return context.Cause(parent)
	case source != nil && !errors.Is(source, errStopped):
		return source
	case err != nil:
		return &Error{Interpreter: o.Interpreter, Err: err, Tail: said.String()}
	}
	return nil
}

// errStopped is what a pipe's other end learns when this one is no more.
var errStopped = errors.New("the other side has ended")

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	const limit = 4 << 10 // a traceback's end
	t.b = append(t.b, p...)
	if n := len(t.b) - limit; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.ToValidUTF8(t.b, []byte("?"))) }

// StandardLibrary returns the sources of a Python's own library, the directory
// "usr/lib/python3.13" of a view, that have no bytecode for it yet. Installed
// distributions and tests, which no program imports, are left out. Links to
// sources become sources: bytecode lies beside the link.
func StandardLibrary(view layers.Tree, dir string) (layers.Tree, error) {
	dir = strings.Trim(path.Clean(dir), "/")
	var sources []layers.Entry
	for _, e := range view.Under(dir) {
		rel := strings.TrimPrefix(e.Path, dir+"/")
		if (e.Kind != layers.File && e.Kind != layers.Symlink && e.Kind != layers.Hardlink) || !strings.HasSuffix(rel, ".py") || isTest(rel) {
			continue
		}
		if hasBytecode(view, e.Path) {
			continue
		}
		to, err := view.Stat(e.Path)
		if err != nil || (to.Kind != layers.File && to.Kind != layers.Hardlink) {
			continue // a link that leads nowhere
		}
		sources = append(sources, layers.Entry{Path: e.Path, Kind: layers.File, Mode: 0o644, Size: to.Size, Content: to.Content, Origin: e.Origin})
	}
	return layers.NewTree(sources)
}

// isTest says whether a path of the library is not the library's. The official
// images leave the same directories out, and Debian packages them apart.
func isTest(rel string) bool {
	for part := range strings.SplitSeq(path.Dir(rel), "/") {
		switch part {
		case "test", "tests", "idle_test", "site-packages", "dist-packages":
			return true
		}
	}
	return false
}

func hasBytecode(view layers.Tree, source string) bool {
	dir, name := path.Split(source)
	base := strings.TrimSuffix(name, "py")
	for _, e := range view.Children(dir + "__pycache__") {
		rest, ok := strings.CutPrefix(path.Base(e.Path), base)
		if tag, pyc := strings.CutSuffix(rest, ".pyc"); ok && pyc && !strings.Contains(tag, ".") {
			return true
		}
	}
	return false
}
