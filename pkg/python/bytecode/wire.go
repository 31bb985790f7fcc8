package bytecode

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

const (
	// maxSource is the largest source compiled: the largest that anybody wrote or
	// generated for the public index are a few mebibytes.
	maxSource = 16 << 20
	// maxPyc is the largest file taken for one source. Bytecode is about as large
	// as its source; the compiler can fold a line into constants of some kilobytes.
	maxPyc = 4 * maxSource
	// batchSize is how much source one process compiles, about a third of a second's
	// work: little enough to share a wheel among the processors, and enough not to
	// notice the forks. It is part of Format.
	batchSize = 512 << 10
	// end is the index after the last batch.
	end = 0xffffffff
)

// batch is a run of a unit's sources.
type batch struct {
	unit    int
	sources []layers.Entry
}

// plan shares the units' sources out: by order and size alone, since a .pyc file
// may depend on what was compiled before it in its process.
func plan(units []Unit, log *slog.Logger) ([]batch, error) {
	var batches []batch
	for i, u := range units {
		b, size := batch{unit: i}, int64(0)
		for _, e := range u.Tree.Entries() {
			// ".py" would share its .pyc file with "py.py".
			if e.Kind != layers.File || !strings.HasSuffix(e.Path, ".py") || path.Base(e.Path) == ".py" {
				continue
			}
			if e.Size > maxSource {
				if log != nil {
					log.Debug(fmt.Sprintf("%s is not compiled: it is larger than %d bytes", e.Path, maxSource))
				}
				continue
			}
			if size > 0 && size+e.Size > batchSize {
				batches, b, size = append(batches, b), batch{unit: i}, 0
			}
			b.sources = append(b.sources, e)
			size += e.Size
		}
		if len(b.sources) > 0 {
			batches = append(batches, b)
		}
	}
	if len(batches) >= end {
		return nil, errors.New("compile bytecode: there are too many sources")
	}
	return batches, nil
}

// writeRequest writes what compile.py reads. Contents are read as they are sent.
func writeRequest(w io.Writer, workers int, batches []batch) error {
	out := bufio.NewWriterSize(w, 64<<10)
	number := func(n int) { _ = binary.Write(out, binary.LittleEndian, uint32(n)) } // an error stays until Flush
	number(workers)
	for _, b := range batches {
		number(len(b.sources))
		for _, e := range b.sources {
			number(len(e.Path) + 1)
			number(int(e.Size))
		}
		for _, e := range b.sources {
			_, _ = out.WriteString("/" + e.Path)
			if err := copyContent(out, e); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// copyContent writes exactly e.Size bytes.
func copyContent(w io.Writer, e layers.Entry) error {
	if e.Content == nil {
		return nil // only an empty file has none
	}
	r, err := e.Content.Open()
	if err != nil {
		return fmt.Errorf("read %s: %w", e.Path, err)
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(r, e.Size))
	if err == nil {
		// Up to the end: that is where a wheel's hash is checked.
		var more int64
		more, err = io.Copy(io.Discard, io.LimitReader(r, 1))
		if n += more; err == nil && n != e.Size {
			err = fmt.Errorf("it has not the %d bytes that it should", e.Size)
		}
	}
	if errors.Is(err, errStopped) {
		return err
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", e.Path, err)
	}
	return nil
}

// doneError is an error of the caller's function.
type doneError struct{ err error }

func (e *doneError) Error() string { return e.err.Error() }

// collector makes trees of what the interpreter answers.
type collector struct {
	units   []Unit
	batches []batch
	log     *slog.Logger
	done    func(int, layers.Tree) error

	left []int            // of each unit, how many batches are missing
	pycs [][]layers.Entry // of each unit, what is there

	tag   string
	magic [4]byte
	seen  []bool
}

// cacheTag is what sys.implementation.cache_tag may be (PEP 3147): "cpython-313".
var cacheTag = regexp.MustCompile(`^[a-z]{2,16}-?[0-9]{2,5}[a-z]?$`)

// read reads the whole answer.
func (c *collector) read(from io.Reader) error {
	r := bufio.NewReaderSize(from, 64<<10)
	if err := c.readHead(r); err != nil {
		return err
	}
	c.seen = make([]bool, len(c.batches))
	for {
		i, err := readNumber(r)
		if err != nil {
			return err
		}
		if i == end {
			break
		}
		if int64(i) >= int64(len(c.batches)) || c.seen[i] {
			return fmt.Errorf("the answer has a batch %d that is not expected", i)
		}
		c.seen[i] = true
		if err := c.readBatch(r, &c.batches[i]); err != nil {
			return err
		}
	}
	if i := slices.Index(c.seen, false); i >= 0 {
		return fmt.Errorf("the answer lacks batch %d", i)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("the answer goes on after its end")
		}
		return err
	}
	return nil
}

func (c *collector) readHead(r io.Reader) error {
	n, err := readNumber(r)
	if err != nil {
		return err
	}
	if n > 32 {
		return errors.New("the answer has no cache tag")
	}
	tag := make([]byte, n)
	if _, err := io.ReadFull(r, tag); err != nil {
		return cut(err)
	}
	if !cacheTag.Match(tag) {
		return fmt.Errorf("the answer has the cache tag %q", tag)
	}
	c.tag = string(tag)
	if _, err := io.ReadFull(r, c.magic[:]); err != nil {
		return cut(err)
	}
	// Every magic number ends so, to be broken by whoever takes a .pyc file for text.
	if c.magic[2] != '\r' || c.magic[3] != '\n' {
		return fmt.Errorf("the answer has the magic number %x", c.magic)
	}
	return nil
}

// readBatch reads a batch's files, and hands the unit over when it is complete.
func (c *collector) readBatch(r io.Reader, b *batch) error {
	sizes := make([]uint32, len(b.sources))
	if err := binary.Read(r, binary.LittleEndian, sizes); err != nil {
		return cut(err)
	}
	for i, size := range sizes {
		source := b.sources[i]
		if size == 0 {
			if c.log != nil {
				c.log.Debug(fmt.Sprintf("%s does not compile and has no bytecode", source.Path))
			}
			continue
		}
		pyc, err := c.readPyc(r, source.Path, size)
		if err != nil {
			return err
		}
		c.pycs[b.unit] = append(c.pycs[b.unit], layers.Entry{
			Path: cachePath(source.Path, c.tag), Kind: layers.File, Mode: 0o644,
			Size: int64(len(pyc)), Content: layers.Bytes(pyc), Origin: source.Origin,
		})
	}
	if c.left[b.unit]--; c.left[b.unit] > 0 {
		return nil
	}
	entries := c.pycs[b.unit]
	c.pycs[b.unit] = nil
	t, err := layers.NewTree(entries)
	if err != nil {
		return &doneError{fmt.Errorf("compile bytecode of %s: %w", c.units[b.unit].Name, err)}
	}
	if err := c.done(b.unit, t); err != nil {
		return &doneError{err}
	}
	return nil
}

// pycHead is the length of a .pyc file's head: the magic number, the flags and the
// source's hash (PEP 552).
const pycHead = 16

func (c *collector) readPyc(r io.Reader, source string, size uint32) ([]byte, error) {
	if size > maxPyc {
		return nil, fmt.Errorf("the bytecode of %s has %d bytes, more than %d", source, size, maxPyc)
	}
	var b bytes.Buffer // which grows as bytes come, not as they are promised
	if _, err := io.CopyN(&b, r, int64(size)); err != nil {
		return nil, cut(err)
	}
	pyc := b.Bytes()
	if len(pyc) <= pycHead || [4]byte(pyc[:4]) != c.magic || binary.LittleEndian.Uint32(pyc[4:]) != 1 {
		return nil, fmt.Errorf("the bytecode of %s has a wrong head", source)
	}
	return pyc, nil
}

// cachePath is importlib.util.cache_from_source (PEP 3147).
func cachePath(source, tag string) string {
	dir, name := path.Split(source)
	return dir + "__pycache__/" + strings.TrimSuffix(name, "py") + tag + ".pyc"
}

func readNumber(r io.Reader) (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, cut(err)
	}
	return binary.LittleEndian.Uint32(b[:]), nil
}

// cut says it of an answer that ends in the middle.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the answer ends early")
	}
	return err
}
