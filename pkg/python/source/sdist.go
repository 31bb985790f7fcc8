package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

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

// unpacked gathers the entries of an archive.
type unpacked struct {
	archive *archived
	spool   *spool
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
