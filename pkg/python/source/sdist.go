package source

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/mikelolasagasti/xz"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
)

// Limits on an sdist. The largest on record have tens of thousands of files and
// some hundreds of megabytes.
const (
	maxSdistFiles = 200_000
	maxSdistSize  = 4 << 30
	// maxSdistRatio bounds how much larger than the archive its content is, where
	// that is more than a moderate size: gzip reaches 1032 with nothing in it,
	// and sources three to ten.
	maxSdistRatio  = 200
	moderateSize   = 64 << 20
	maxSdistMemory = 256 << 20 // of content that is kept in memory
	maxSdistPath   = 4096      // as Linux has it
)

// Sdist is a source distribution (PEP 517, PEP 625), unpacked and checked. Its
// contents are read when they are opened.
type Sdist struct {
	Filename string
	// Name is normalized, and Version is zero, where the file's name does not say
	// them: an archive of a repository.
	Name    string
	Version python.Version

	tree layers.Tree
}

// SdistError says why an sdist is refused.
type SdistError struct {
	Sdist  string // its file name
	Entry  string // the file in it that is wrong; "" = the whole
	Reason string
	Err    error // the cause, where there is one beside the reason
}

func (e *SdistError) Error() string {
	s := e.Sdist + ": "
	if e.Entry != "" {
		s += fmt.Sprintf("%.200s ", e.Entry)
	}
	if e.Reason == "" {
		return s + e.Err.Error()
	}
	if e.Err != nil {
		return s + e.Reason + ": " + e.Err.Error()
	}
	return s + e.Reason
}

// Unwrap returns the cause.
func (e *SdistError) Unwrap() error { return e.Err }

// OpenSdist unpacks the sdist in the file at path: a .tar.gz or .zip, or one of
// the older .tar.bz2, .tar.xz, .tgz and .tar. filename is its name where the file
// has another, "" takes the last element of path. The contents are unpacked into
// one file in dir, which must stay as long as they are read; with "" they are
// kept in memory, up to a limit. The error is an *SdistError, or one of reading
// and writing files.
func OpenSdist(path, filename, dir string) (*Sdist, error) {
	a, err := openArchive(path, filename)
	if err != nil {
		return nil, err
	}
	defer a.close()
	s := &Sdist{Filename: a.name}
	s.Name, s.Version = sdistName(a.name)
	sp := &spool{}
	if dir != "" {
		if sp.file, err = os.CreateTemp(dir, "sdist-*"); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", a.name, err)
		}
		sp.out = bufio.NewWriterSize(sp.file, 1<<20)
	}
	u := &unpacked{archive: a, spool: sp, index: map[string]int{}}
	err = a.each(u.add)
	if closing := sp.close(); err == nil {
		err = closing
	}
	if err == nil {
		s.tree, err = u.tree()
	}
	if err != nil {
		return nil, a.wrap(err)
	}
	return s, nil
}

// Tree returns the files of the project, without the directory that all of them
// lie in. They are 0644 or 0755 and belong to 0:0; links stay within.
func (s *Sdist) Tree() layers.Tree { return s.tree }

// sdistName reads the name of an sdist's file; what has none is no error.
func sdistName(filename string) (string, python.Version) {
	for _, ext := range []string{".tgz", ".tar", ".tar.bz2", ".tar.xz"} {
		if stem, ok := strings.CutSuffix(filename, ext); ok {
			filename = stem + ".tar.gz"
		}
	}
	name, v, err := python.ParseSdistName(filename)
	if err != nil {
		return "", python.Version{}
	}
	return name, v
}

// archived is an archive that is being read.
type archived struct {
	name  string
	size  int64
	file  *os.File
	kind  string // "zip", "tar"
	r     io.Reader
	read  int64 // bytes of content so far
	files int
}

// openArchive opens an archive by the kind that its name says.
func openArchive(file, filename string) (*archived, error) {
	if filename == "" {
		filename = filepath.Base(file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", filename, err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open %s: %w", filename, err)
	}
	a := &archived{name: filename, size: info.Size(), file: f, kind: "tar"}
	in := bufio.NewReaderSize(f, 1<<18)
	switch lower := strings.ToLower(filename); {
	case strings.HasSuffix(lower, ".zip"):
		a.kind = "zip"
	case strings.HasSuffix(lower, ".tar.gz"), strings.HasSuffix(lower, ".tgz"):
		a.r, err = gzip.NewReader(in)
	case strings.HasSuffix(lower, ".tar.bz2"):
		a.r = bzip2.NewReader(in)
	case strings.HasSuffix(lower, ".tar.xz"):
		a.r, err = xz.NewReader(in, xz.DefaultDictMax)
	case strings.HasSuffix(lower, ".tar"):
		a.r = in
	default:
		err = &SdistError{Sdist: filename, Reason: "it is neither a .tar.gz nor a .zip (PEP 625)"}
	}
	if err != nil {
		f.Close()
		return nil, a.wrap(err)
	}
	return a, nil
}

func (a *archived) close() { a.file.Close() }

// wrap makes an SdistError of what readers of archives say; errors of the file
// system stay what they are.
func (a *archived) wrap(err error) error {
	var known *SdistError
	var sys *fs.PathError
	if errors.As(err, &known) || errors.As(err, &sys) {
		return err
	}
	return &SdistError{Sdist: a.name, Reason: "the archive cannot be read", Err: err}
}

func (a *archived) refuse(entry, format string, args ...any) error {
	return &SdistError{Sdist: a.name, Entry: entry, Reason: fmt.Sprintf(format, args...)}
}

// item is an entry of an archive.
type item struct {
	path string // clean, with the directory that all lie in
	kind layers.Kind
	exec bool
	size int64
	link string // of a Symlink as written, of a Hardlink the clean path
	r    io.Reader
}

// errStop ends each without an error.
var errStop = errors.New("enough was read")

// each calls yield for each entry, whose content must be read before it returns.
func (a *archived) each(yield func(item) error) error {
	walk := a.eachTar
	if a.kind == "zip" {
		walk = a.eachZip
	}
	if err := walk(yield); err != nil && err != errStop {
		return err
	}
	return nil
}

func (a *archived) eachTar(yield func(item) error) error {
	tr := tar.NewReader(&bounded{a: a, r: a.r})
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		it := item{exec: h.Mode&0o100 != 0, size: h.Size, link: h.Linkname, r: tr}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeGNUSparse:
			it.kind = layers.File
		case tar.TypeDir:
			it.kind = layers.Dir
		case tar.TypeSymlink:
			it.kind = layers.Symlink
		case tar.TypeLink:
			it.kind = layers.Hardlink
			if it.link, err = a.clean(h.Linkname); err != nil {
				return err
			}
		case tar.TypeXGlobalHeader:
			continue
		default:
			// PEP 721: neither devices nor pipes are unpacked.
			return a.refuse(h.Name, "is neither a file, a directory nor a link")
		}
		if err := a.one(h.Name, it, yield); err != nil {
			return err
		}
	}
}

func (a *archived) eachZip(yield func(item) error) error {
	z, err := zip.NewReader(a.file, a.size)
	if err != nil {
		return err
	}
	for _, f := range z.File {
		it := item{kind: layers.File, exec: f.Mode()&0o100 != 0, size: int64(f.UncompressedSize64)}
		switch {
		case f.Flags&1 != 0:
			return a.refuse(f.Name, "is encrypted")
		case strings.HasSuffix(f.Name, "/"):
			it.kind = layers.Dir
		case f.Mode()&fs.ModeType != 0:
			// Installers make no links of what a zip says is one.
			return a.refuse(f.Name, "is neither a file nor a directory")
		}
		if it.kind == layers.File {
			r, err := f.Open()
			if err != nil {
				return &SdistError{Sdist: a.name, Entry: f.Name, Reason: "cannot be read", Err: err}
			}
			it.r = &bounded{a: a, r: r}
		}
		if err := a.one(f.Name, it, yield); err != nil {
			return err
		}
	}
	return nil
}

// one checks an entry's name and passes it on.
func (a *archived) one(name string, it item, yield func(item) error) (err error) {
	if a.files++; a.files > maxSdistFiles {
		return a.refuse("", "it has more than %d files", maxSdistFiles)
	}
	if it.path, err = a.clean(name); err != nil {
		return err
	}
	if it.path == "." && it.kind == layers.Dir {
		return nil
	}
	return yield(it)
}

// clean checks a name (PEP 721, "data filter").
func (a *archived) clean(name string) (string, error) {
	switch {
	case name == "" || len(name) > maxSdistPath || !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		return "", a.refuse(name, "is no valid path")
	case path.IsAbs(name):
		return "", a.refuse(name, "has an absolute path")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", a.refuse(name, "leads out of the archive")
		}
	}
	return path.Clean(name), nil
}

// bounded counts what is unpacked, and ends where it is too much.
type bounded struct {
	a *archived
	r io.Reader
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.a.read += int64(n)
	switch {
	case b.a.read > maxSdistSize:
		return n, b.a.refuse("", "it is larger than %d bytes when unpacked", int64(maxSdistSize))
	case b.a.read > moderateSize && b.a.read/maxSdistRatio > b.a.size:
		return n, b.a.refuse("", "it is more than %d times larger when unpacked", maxSdistRatio)
	}
	return n, err
}

// unpacked gathers the entries of an archive.
type unpacked struct {
	archive *archived
	spool   *spool
	items   []item
	entries []layers.Entry
	index   map[string]int // path → place in both
}

func (u *unpacked) add(it item) error {
	e := layers.Entry{Path: it.path, Kind: it.kind, Mode: 0o644, Origin: u.archive.name}
	switch it.kind {
	case layers.Dir:
		e.Mode = 0o755
	case layers.Symlink:
		e.Link, e.Mode = it.link, 0o777
		if path.IsAbs(it.link) || it.link == "" {
			return u.archive.refuse(it.path, "is a link that leads out of the archive: %.200q", it.link)
		}
	case layers.Hardlink:
		i, ok := u.index[it.link]
		if !ok || u.entries[i].Kind != layers.File {
			return u.archive.refuse(it.path, "is a second name of %.200q, which is no file before it", it.link)
		}
		p := e.Path
		e = u.entries[i]
		e.Path = p
	case layers.File:
		if it.exec {
			e.Mode = 0o755
		}
		content, err := u.spool.add(it.r, it.size)
		if err != nil {
			var known *SdistError
			var sys *fs.PathError
			if errors.As(err, &known) || errors.As(err, &sys) {
				return err
			}
			return &SdistError{Sdist: u.archive.name, Entry: it.path, Reason: "cannot be read", Err: err}
		}
		e.Content, e.Size = content, it.size
	}
	if i, again := u.index[e.Path]; again {
		if u.entries[i].Kind != e.Kind {
			return u.archive.refuse(it.path, "is there twice, as a %s and a %s", u.entries[i].Kind, e.Kind)
		}
		u.entries[i] = e // the last counts, as for every unpacker of tars
		return nil
	}
	u.index[e.Path] = len(u.entries)
	u.entries = append(u.entries, e)
	return nil
}

// tree strips the directory that all entries lie in, and checks the links.
func (u *unpacked) tree() (layers.Tree, error) {
	var entries []layers.Entry
	top := ""
	for _, e := range u.entries {
		first, rest, below := strings.Cut(e.Path, "/")
		switch {
		case top == "":
			top = first
		case top != first:
			return layers.Tree{}, u.archive.refuse(e.Path, "does not lie in the directory %s, as the other files do (PEP 517)", top)
		}
		if below {
			e.Path = rest
			entries = append(entries, e)
		} else if e.Kind != layers.Dir {
			return layers.Tree{}, u.archive.refuse(e.Path, "lies in no directory (PEP 517)")
		}
	}
	for _, e := range entries {
		if e.Kind == layers.Symlink {
			if to := path.Join(path.Dir(e.Path), e.Link); to == ".." || strings.HasPrefix(to, "../") {
				return layers.Tree{}, u.archive.refuse(e.Path, "is a link that leads out of the archive: %.200q", e.Link)
			}
		}
		for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
			if i, ok := u.index[top+"/"+dir]; ok && u.entries[i].Kind != layers.Dir {
				return layers.Tree{}, u.archive.refuse(e.Path, "lies in %.200s, which is a %s", dir, u.entries[i].Kind)
			}
		}
	}
	tree, err := layers.NewTree(entries)
	if err != nil {
		return layers.Tree{}, &SdistError{Sdist: u.archive.name, Err: err}
	}
	return tree, u.insideLinks(tree)
}

// insideLinks refuses links that lead out by way of other links.
func (u *unpacked) insideLinks(tree layers.Tree) error {
	for _, e := range tree.Entries() {
		if e.Kind != layers.Symlink {
			continue
		}
		dir := path.Dir(e.Path)
		for part := range strings.SplitSeq(e.Link, "/") {
			if part == ".." && dir == "." {
				return u.archive.refuse(e.Path, "is a link that leads out of the archive: %.200q", e.Link)
			}
			dir = path.Join(dir, part)
			if via, ok := tree.Lookup(dir); ok && via.Kind == layers.Symlink && dir != path.Join(path.Dir(e.Path), e.Link) {
				return u.archive.refuse(e.Path, "is a link that leads through another link: %.200q", e.Link)
			}
		}
	}
	return nil
}

// spool keeps the contents of files, one after the other.
type spool struct {
	file   *os.File // nil: in memory
	out    *bufio.Writer
	at     int64
	memory int64
}

// add takes in the content of a file of the given size.
func (s *spool) add(r io.Reader, size int64) (layers.Content, error) {
	if size == 0 {
		return nil, nil
	}
	if s.file == nil {
		if s.memory += size; s.memory > maxSdistMemory {
			return nil, fmt.Errorf("has more than %d bytes, for which a directory is needed", maxSdistMemory)
		}
		var b bytes.Buffer
		if _, err := io.CopyN(&b, r, size); err != nil {
			return nil, short(err)
		}
		return layers.Bytes(b.Bytes()), nil
	}
	if _, err := io.CopyN(s.out, r, size); err != nil {
		return nil, short(err)
	}
	c := section{s.file.Name(), s.at, size}
	s.at += size
	return c, nil
}

func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.out.Flush(), s.file.Close())
}

// section is a part of a file.
type section struct {
	file     string
	at, size int64
}

// Open opens the file at the part.
func (s section) Open() (io.ReadCloser, error) {
	f, err := os.Open(s.file)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, s.at, s.size), f}, nil
}
