package pep517

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

const (
	// maxAnswer is the largest JSON object taken: a few requirements, or an error.
	maxAnswer = 1 << 20
	// maxWheel is the largest wheel taken. The largest on the public index have
	// about a gibibyte, and none of these was made without a compiler farm.
	maxWheel = 2 << 30
)

// errStopped is what a pipe's other end learns when this one is no more.
var errStopped = errors.New("the other side has ended")

// call runs a hook and returns what it answers, with its file in w.
func (in Input) call(parent context.Context, runner Runner, hook string, w io.Writer) (answer, error) {
	head, err := in.request(hook)
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	stdin, inWriter := io.Pipe()
	stdout, outWriter := io.Pipe()
	said := &transcript{log: in.Log}

	sent := make(chan error, 1)
	go func() {
		err := in.send(inWriter, head)
		_ = inWriter.CloseWithError(err) // nil is EOF
		sent <- err
	}()
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		args := []string{in.Interpreter, "-I", "-S", "-B", "-c", unpackScript}
		err := runner.Run(ctx, args, []string{"LC_ALL=C.UTF-8"}, stdin, outWriter, said)
		_ = outWriter.CloseWithError(err) // nil is EOF
		_ = stdin.CloseWithError(errStopped)
	}()

	a, err := readAnswer(stdout, w) // the Runner's error, where it had one
	cancel(err)
	_ = stdout.CloseWithError(errStopped)
	<-ran
	unsent := <-sent
	said.end()
	switch out, is := errors.AsType[*writeError](err); {
	case is:
		return answer{}, out.err
	case parent.Err() != nil:
		return answer{}, context.Cause(parent)
	case unsent != nil && !errors.Is(unsent, errStopped):
		return answer{}, unsent
	case err != nil:
		return answer{}, &BuildError{Backend: in.backend(), Stage: "run", Reason: err.Error(), Tail: said.tail(), Err: err}
	case a.Error != "":
		return answer{}, &BuildError{Backend: in.backend(), Stage: a.stage(hook), Reason: oneLine(a.Error), Module: oneLine(a.Module), Tail: said.tail()}
	}
	return a, nil
}

// send writes what unpack.py reads.
func (in Input) send(w io.Writer, head []byte) error {
	out := bufio.NewWriterSize(w, 64<<10)
	_ = binary.Write(out, binary.LittleEndian, uint32(len(head))) // errors stay until Flush
	_, _ = out.Write(head)
	at := in.at()
	for _, e := range in.Source.Entries() {
		if err := sendEntry(out, in.Source, e, at+"/"+e.Path); err != nil {
			return err
		}
	}
	env := in.top() + "/env/"
	for _, e := range in.Environment.Entries() {
		at := "/" + e.Path
		if e.Kind == layers.Dir && strings.HasPrefix(env, at+"/") {
			continue
		}
		if !strings.HasPrefix(at, env) {
			return fmt.Errorf("build a wheel: %s of the build requirements is not below %s", at, env)
		}
		if err := sendEntry(out, in.Environment, e, at); err != nil {
			return err
		}
	}
	_ = binary.Write(out, binary.LittleEndian, entryHead{Kind: 'e'})
	return out.Flush()
}

// entryHead is ENTRY of unpack.py.
type entryHead struct {
	Kind             byte
	Mode, Path, Link uint32
	Size             uint64
}

func sendEntry(w io.Writer, t layers.Tree, e layers.Entry, at string) error {
	h := entryHead{Path: uint32(len(at))}
	link := ""
	if e.Kind == layers.Hardlink {
		to, ok := t.Lookup(e.Link)
		if !ok || to.Kind != layers.File {
			return fmt.Errorf("build a wheel: %s is a link to %s, which is not there", e.Path, e.Link)
		}
		e.Kind, e.Mode, e.Size, e.Content = to.Kind, to.Mode, to.Size, to.Content
	}
	switch e.Kind {
	case layers.File:
		h.Kind, h.Mode, h.Size = 'f', e.Mode&0o777|0o600, uint64(e.Size)
	case layers.Dir:
		h.Kind, h.Mode = 'd', e.Mode&0o777|0o700
	case layers.Symlink:
		h.Kind, link = 'l', e.Link
		h.Link = uint32(len(link))
	default:
		return fmt.Errorf("build a wheel: the source tree has a %s, %s", e.Kind, e.Path)
	}
	if err := binary.Write(w, binary.LittleEndian, h); err != nil {
		return err
	}
	if _, err := io.WriteString(w, at+link); err != nil {
		return err
	}
	if h.Kind != 'f' || e.Content == nil { // only an empty file has none
		return nil
	}
	return copyContent(w, e)
}

// copyContent writes exactly e.Size bytes.
func copyContent(w io.Writer, e layers.Entry) error {
	r, err := e.Content.Open()
	if err != nil {
		return fmt.Errorf("read %s: %w", e.Path, err)
	}
	defer r.Close()
	// One more: at the end of a wheel's file its hash is checked.
	n, err := io.Copy(&exactly{w: w, left: e.Size}, io.LimitReader(r, e.Size+1))
	switch {
	case errors.Is(err, errStopped):
		return err
	case err != nil:
		return fmt.Errorf("read %s: %w", e.Path, err)
	case n != e.Size:
		return fmt.Errorf("read %s: it has not the %d bytes that it should", e.Path, e.Size)
	}
	return nil
}

// exactly drops what goes beyond a number of bytes.
type exactly struct {
	w    io.Writer
	left int64
}

func (x *exactly) Write(p []byte) (int, error) {
	keep := p[:min(int64(len(p)), x.left)]
	x.left -= int64(len(keep))
	if n, err := x.w.Write(keep); err != nil {
		return n, err
	}
	return len(p), nil
}

// answer is what came of a hook.
type answer struct {
	Stage    string   `json:"stage"`
	Error    string   `json:"error"`
	Module   string   `json:"module"` // that could not be imported
	Requires []string `json:"requires"`
	Filename string   `json:"filename"`
	Size     int64    `json:"size"` // of the file that follows
}

// stage is Stage, if it is one.
func (a answer) stage(hook string) string {
	switch a.Stage {
	case "import", "run":
		return a.Stage
	}
	return hook
}

// writeError is an error of the caller's writer.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

// readAnswer reads the answer and copies the file that follows, if any, to w.
func readAnswer(from io.Reader, w io.Writer) (answer, error) {
	r := bufio.NewReader(from)
	var n uint32
	if err := binary.Read(r, binary.LittleEndian, &n); err != nil {
		return answer{}, cut(err)
	}
	if n > maxAnswer {
		return answer{}, fmt.Errorf("the answer has %d bytes, more than %d", n, maxAnswer)
	}
	var b bytes.Buffer // which grows as bytes come, not as they are promised
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return answer{}, cut(err)
	}
	var a answer
	if err := json.Unmarshal(b.Bytes(), &a); err != nil {
		return answer{}, fmt.Errorf("the answer is not JSON: %w", err)
	}
	switch {
	case a.Size < 0 || a.Size > maxWheel:
		return answer{}, fmt.Errorf("the wheel has %d bytes, more than %d", a.Size, int64(maxWheel))
	case a.Error == "" && (a.Size > 0) != (w != nil):
		return answer{}, errors.New("the answer is another than the question")
	case a.Error == "" && w != nil:
		if _, err := io.CopyN(&writer{w}, r, a.Size); err != nil {
			return answer{}, cut(err)
		}
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("the answer goes on after its end")
		}
		return answer{}, err
	}
	return a, nil
}

// writer tells errors of writing from those of reading.
type writer struct{ w io.Writer }

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// cut says it of an answer that ends in the middle.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the answer ends early")
	}
	return err
}
