package source

import (
	"archive/tar"
	"archive/zip"
	"bufio"
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
)

// archived is an archive that is being read.
type archived struct {
	name  string
	size  int64
	file  *os.File
	kind  string // "zip", "tar"
	r     io.Reader
	read  int64 // bytes so far, unpacked
	said  int64 // bytes of all files so far, as their entries say
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
	if it.kind == layers.File {
		// A sparse file has more bytes than are read.
		if it.size < 0 || it.size > maxSdistSize {
			return a.refuse(name, "is larger than %d bytes", int64(maxSdistSize))
		}
		a.said += it.size
		if err := a.bound(a.said); err != nil {
			return err
		}
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
	if too := b.a.bound(b.a.read); too != nil {
		return n, too
	}
	return n, err
}

// bound refuses an archive with so many bytes when it is unpacked.
func (a *archived) bound(n int64) error {
	switch {
	case n > maxSdistSize:
		return a.refuse("", "it is larger than %d bytes when unpacked", int64(maxSdistSize))
	case n > moderateSize && n/maxSdistRatio > a.size:
		return a.refuse("", "it is more than %d times larger when unpacked", maxSdistRatio)
	}
	return nil
}
