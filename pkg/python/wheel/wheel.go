// Package wheel lays wheels out as pip would: a wheel and a [Scheme] go in, a
// [layers.Tree] comes out, with RECORD, INSTALLER, console scripts and all that
// `pip install` leaves behind; bytecode is what is given to it. It follows PEP 427/491 (the binary
// distribution format), PEP 376/627 (RECORD), PEP 610 (direct_url.json) and the
// entry points specification.
//
// Nothing is unpacked: the tree's contents read the wheel when they are
// written, and are checked then against the archive's CRC and against the hash
// in the wheel's own RECORD, which pip and uv do not look at. A wheel that could
// write outside its place, or that is not what its RECORD says, is an [*Error].
//
// The package also reads what is installed already ([Installed]) and takes it
// away again ([Uninstall], [Replace]).
//
// It never runs code of a wheel, never compiles bytecode, and never decides
// which wheel to take.
package wheel

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// What is held in memory at once is bounded; contents are streamed.
const (
	// maxFile and maxTotal bound the unpacked sizes of one file and of a wheel,
	// as the archive's directory declares them. The largest wheels in use (GPU
	// libraries) unpack to a little over 3 GB, their largest file to 1.5 GB.
	maxFile  = 2 << 30
	maxTotal = 8 << 30
	// A wheel that unpacks to more than bombSize, and to more than bombRatio times
	// its own size, is taken for a bomb. Deflate comes to 1032 at most, and single
	// files of real wheels to some hundreds; whole wheels to ten.
	bombSize  = 100 << 20
	bombRatio = 200
	// maxEntries is about twenty times what the largest wheels hold.
	maxEntries = 500_000
	// maxText bounds a file of .dist-info that is read whole; RECORD is the
	// largest, with about 100 bytes for each entry.
	maxText = 64 << 20
	// maxScript bounds a script whose first line has to be replaced.
	maxScript = 16 << 20
)

// Error says why a wheel is refused.
type Error struct {
	// Wheel is the wheel's file name.
	Wheel string
	// Entry is the file in the wheel that is wrong, "" where it is the whole.
	Entry string
	// Reason completes the sentence "flask-3.1.3-py3-none-any.whl: flask/app.py …".
	Reason string
	// Err is the cause, where there is one beside the reason.
	Err error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("wheel " + e.Wheel + ": ")
	if e.Entry != "" {
		fmt.Fprintf(&b, "%q ", e.Entry)
	}
	b.WriteString(e.Reason)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Wheel is a wheel whose archive and metadata have been checked. It holds no
// file open: contents open the wheel's file again when they are read. It is
// never changed and may be used by several goroutines.
type Wheel struct {
	// Name is what the file name says: distribution, version, build, tags.
	Name python.WheelName
	// Project is the distribution's name as METADATA spells it.
	Project string
	// Purelib is Root-Is-Purelib: the archive's root goes to purelib, else to
	// platlib.
	Purelib bool
	// Generator is what made the wheel, as it says itself.
	Generator string
	// Tags are the compatibility tags of the WHEEL file. The ones that count
	// are the file name's.
	Tags []python.Tag

	source   source
	distInfo string // "flask-3.1.3.dist-info"
	files    []*file
	byName   map[string]*file
	rows     []row // of RECORD, in order
	metadata []byte
	points   entryPoints
	pool     *inflaters
}

// source opens the wheel's bytes for reading at any offset.
type source func() (io.ReaderAt, io.Closer, error)

// Open checks the wheel in the file at path. filename is the wheel's name where
// the file has another, as in a store that names files by their hash; "" takes
// the last element of path.
func Open(path, filename string) (*Wheel, error) {
	if filename == "" {
		filename = filepath.Base(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read wheel %s: %w", filename, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read wheel %s: %w", filename, err)
	}
	return open(f, st.Size(), filename, func() (io.ReaderAt, io.Closer, error) {
		f, err := os.Open(path)
		return f, f, err
	})
}

// New checks the wheel of the given size and file name that r holds. r must
// stay readable for as long as contents of the wheel's trees are read.
func New(r io.ReaderAt, size int64, filename string) (*Wheel, error) {
	return open(r, size, filename, func() (io.ReaderAt, io.Closer, error) {
		return r, io.NopCloser(nil), nil
	})
}

func open(r io.ReaderAt, size int64, filename string, again source) (*Wheel, error) {
	name, err := python.ParseWheelName(filename)
	if err != nil {
		return nil, &Error{Wheel: filename, Reason: "has no valid name", Err: err}
	}
	at := &lastRead{ReaderAt: r}
	z, err := zip.NewReader(at, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // paths are checked below
		return nil, &Error{Wheel: filename, Reason: "is no zip archive", Err: err}
	}
	w := &Wheel{Name: name, source: again, pool: &inflaters{}}
	if err := w.readDirectory(z, at, size); err != nil {
		return nil, err
	}
	if err := w.readDistInfo(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Wheel) refuse(entry, format string, args ...any) error {
	return &Error{Wheel: w.Name.Filename, Entry: entry, Reason: fmt.Sprintf(format, args...)}
}

// readDistInfo finds the .dist-info directory and reads what it holds.
func (w *Wheel) readDistInfo() error {
	if err := w.findDistInfo(); err != nil {
		return err
	}
	if err := w.readRecord(); err != nil { // first, so that the others are checked against it
		return err
	}
	if err := w.readWheelFile(); err != nil {
		return err
	}
	if err := w.readMetadata(); err != nil {
		return err
	}
	points, err := w.readText("entry_points.txt", true)
	if err != nil {
		return err
	}
	w.points, err = parseEntryPoints(string(points))
	if err != nil {
		return &Error{Wheel: w.Name.Filename, Entry: w.distInfo + "/entry_points.txt", Reason: "is wrong", Err: err}
	}
	return nil
}

// findDistInfo finds the one top-level .dist-info directory and holds it
// against the file name.
func (w *Wheel) findDistInfo() error {
	for _, f := range w.files {
		dir, _, ok := strings.Cut(f.name, "/")
		switch {
		case !ok || !strings.HasSuffix(dir, ".dist-info") || dir == w.distInfo:
		case w.distInfo != "":
			return w.refuse("", "has two .dist-info directories, %s and %s", w.distInfo, dir)
		default:
			w.distInfo = dir
		}
	}
	if w.distInfo == "" {
		return w.refuse("", "has no .dist-info directory")
	}
	name, version, _ := strings.Cut(strings.TrimSuffix(w.distInfo, ".dist-info"), "-")
	if !w.isNamed(name, version) {
		return w.refuse(w.distInfo, "does not belong to the file name")
	}
	return nil
}

// isNamed says whether name and version are those of the file name, however
// they are spelled.
func (w *Wheel) isNamed(name, version string) bool {
	if python.NormalizeName(name) != python.NormalizeName(w.Name.Name) {
		return false
	}
	v, err := python.ParseVersion(version)
	return err == nil && v.Compare(w.Name.Version) == 0
}

// readText reads a file of .dist-info whole.
func (w *Wheel) readText(name string, optional bool) ([]byte, error) {
	p := path.Join(w.distInfo, name)
	f, ok := w.byName[p]
	if !ok {
		if optional {
			return nil, nil
		}
		return nil, w.refuse(p, "is missing")
	}
	return f.read(maxText)
}

// readWheelFile reads WHEEL (PEP 427, "The .dist-info directory").
func (w *Wheel) readWheelFile() error {
	b, err := w.readText("WHEEL", false)
	if err != nil {
		return err
	}
	head := headers(b)
	version := head.first("Wheel-Version")
	if major, _, _ := strings.Cut(version, "."); major != "1" {
		// PEP 427: an installer must not install a wheel of a newer major version.
		return w.refuse(w.distInfo+"/WHEEL", "has the version %q, which is not 1.x", version)
	}
	w.Purelib = strings.EqualFold(head.first("Root-Is-Purelib"), "true")
	w.Generator = head.first("Generator")
	for _, t := range head["tag"] {
		tags, err := python.ParseTags(t)
		if err != nil {
			return &Error{Wheel: w.Name.Filename, Entry: w.distInfo + "/WHEEL", Reason: "has a wrong tag", Err: err}
		}
		w.Tags = append(w.Tags, tags...)
	}
	return nil
}

// readMetadata reads METADATA, of which only name and version matter here: an
// installer that is given a wheel does not look at its requirements.
func (w *Wheel) readMetadata() error {
	b, err := w.readText("METADATA", false)
	if err != nil {
		return err
	}
	head := headers(b)
	w.Project = head.first("Name")
	if version := head.first("Version"); !w.isNamed(w.Project, version) {
		return w.refuse(w.distInfo+"/METADATA", "is of %s %s, which is not what the file name says", w.Project, version)
	}
	if !python.ValidName(w.Project) { // it becomes part of the headers' path
		return w.refuse(w.distInfo+"/METADATA", "has the name %q, which is not valid", w.Project)
	}
	w.metadata = b
	return nil
}

// Metadata returns the wheel's core metadata.
func (w *Wheel) Metadata() (python.Metadata, error) {
	m, err := python.ParseMetadata(w.metadata)
	if err != nil {
		return m, &Error{Wheel: w.Name.Filename, Entry: w.distInfo + "/METADATA", Reason: "is wrong", Err: err}
	}
	return m, nil
}

// header holds the fields of a file in the form of mail headers by their
// lower-case name.
type header map[string][]string

func (h header) first(name string) string {
	if v := h[strings.ToLower(name)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// headers reads the fields up to the first empty line. Continued lines are
// dropped: no field that is asked for here has any.
func headers(b []byte) header {
	h := header{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if ok && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			name = strings.ToLower(strings.TrimSpace(name))
			h[name] = append(h[name], strings.TrimSpace(value))
		}
	}
	return h
}
