package debian

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// maxControlFile bounds one file of a package's control.tar; the longest lists
// of checksums have a few megabytes.
const maxControlFile = 32 << 20

// unpacked is a package taken out of its .deb.
type unpacked struct {
	control []byte // the file control, a paragraph
	md5sums []byte // the file md5sums; nil if the package has none
	// tree is what the package installs. Its contents lie in the spool file.
	tree layers.Tree
}

// unpack reads a .deb (deb(5)) and writes its data.tar, decompressed, to the
// file spool, in which the tree's contents then are. It reads deb to its end.
func unpack(deb io.Reader, spool, origin string) (unpacked, error) {
	u, err := unpackMembers(deb, spool)
	if err != nil {
		return unpacked{}, fmt.Errorf("unpack %s: %w", origin, err)
	}
	u.tree, err = layers.ReadTar(func() (io.ReadCloser, error) { return os.Open(spool) })
	if err != nil {
		return unpacked{}, fmt.Errorf("unpack %s: %w", origin, err)
	}
	return u, nil
}

func unpackMembers(deb io.Reader, spool string) (unpacked, error) {
	var u unpacked
	ar := &arReader{r: bufio.NewReaderSize(deb, 64<<10)}
	for position := 0; ; position++ {
		name, _, err := ar.next()
		if errors.Is(err, io.EOF) {
			return u, errors.New("it has no data.tar")
		}
		if err != nil {
			return u, err
		}
		switch {
		case position == 0:
			version := make([]byte, 4)
			if _, err := io.ReadFull(ar, version); err != nil || name != "debian-binary" || string(version) != "2.0\n" {
				return u, errors.New("it is no Debian package of format 2.0")
			}
		case strings.HasPrefix(name, "_"): // reserved for what readers may pass over
		case position > 0 && u.control == nil:
			if err := u.readControl(ar, name); err != nil {
				return u, fmt.Errorf("%s: %w", name, err)
			}
		default:
			if !strings.HasPrefix(name, "data.tar") {
				return u, fmt.Errorf("its member %q is not data.tar", name)
			}
			if err := spoolTar(ar, path.Ext(name), spool); err != nil {
				return u, fmt.Errorf("%s: %w", name, err)
			}
			// The cache tells at the end whether the content was the right one.
			_, err := io.Copy(io.Discard, ar.r)
			return u, err
		}
	}
}

// readControl takes the two files that are needed out of control.tar.
func (u *unpacked) readControl(r io.Reader, name string) error {
	if !strings.HasPrefix(name, "control.tar") {
		return errors.New("it is not control.tar")
	}
	plain, done, err := decompress(r, path.Ext(name), maxData)
	if err != nil {
		return err
	}
	defer done()
	tr := tar.NewReader(plain)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		into := map[string]*[]byte{"control": &u.control, "md5sums": &u.md5sums}[path.Clean(h.Name)]
		if into == nil || h.Typeflag != tar.TypeReg {
			continue
		}
		if h.Size > maxControlFile {
			return fmt.Errorf("%s has %d bytes", h.Name, h.Size)
		}
		if *into, err = io.ReadAll(tr); err != nil {
			return err
		}
	}
	if len(u.control) == 0 {
		return errors.New("it has no file control")
	}
	return nil
}

// spoolTar writes a member, decompressed, to a file.
func spoolTar(r io.Reader, ext, spool string) (err error) {
	plain, done, err := decompress(r, ext, maxData)
	if err != nil {
		return err
	}
	defer done()
	f, err := os.OpenFile(spool, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, plain, make([]byte, 256<<10))
	return err
}
