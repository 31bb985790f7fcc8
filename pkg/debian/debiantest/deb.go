package debiantest

import (
	"archive/tar"
	"bytes"
	"crypto/md5" // the format of md5sums files
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func (p Package) withDefaults() Package {
	if p.Version == "" {
		p.Version = "1.0-1"
	}
	if p.Arch == "" {
		p.Arch = "all"
	}
	return p
}

// Control returns the package's control file.
func (p Package) Control() string {
	p = p.withDefaults()
	var b strings.Builder
	fmt.Fprintf(&b, "Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: A Test <test@example.org>\n", p.Name, p.Version, p.Arch)
	if p.Depends != "" {
		fmt.Fprintf(&b, "Depends: %s\n", p.Depends)
	}
	names := make([]string, 0, len(p.Fields))
	for name := range p.Fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, p.Fields[name])
	}
	b.WriteString("Description: a package made by a test\n It has two lines.\n")
	return b.String()
}

// Deb makes the package's .deb file.
func (p Package) Deb() ([]byte, error) {
	p = p.withDefaults()
	data, err := Tar(p.Files...)
	if err != nil {
		return nil, err
	}
	var sums strings.Builder
	for _, f := range p.Files {
		if f.Symlink == "" && f.Hardlink == "" && !strings.HasSuffix(f.Path, "/") {
			sum := md5.Sum([]byte(f.Body)) // see above
			fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), f.Path)
		}
	}
	control, err := Tar(File{Path: "control", Body: p.Control()}, File{Path: "md5sums", Body: sums.String()})
	if err != nil {
		return nil, err
	}
	compression, ext := p.Compression, "."+p.Compression
	switch p.Compression {
	case "":
		compression, ext = "xz", ".xz"
	case "none":
		ext = ""
	}
	if control, err = compress(compression, control); err != nil {
		return nil, err
	}
	if data, err = compress(compression, data); err != nil {
		return nil, err
	}
	return Ar(
		Member{"debian-binary", []byte("2.0\n")},
		Member{"control.tar" + ext, control},
		Member{"data.tar" + ext, data},
	), nil
}

// Member is a member of an ar archive.
type Member struct {
	Name string
	Body []byte
}

// Ar makes an ar archive.
func Ar(members ...Member) []byte {
	b := bytes.NewBufferString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", m.Name, 0, 0, 0, 0o100644, len(m.Body))
		b.Write(m.Body)
		if len(m.Body)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// Tar makes a tar of files, each with its directories before it, named as
// dpkg-deb names them: "./usr/bin/x".
func Tar(files ...File) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{}
	write := func(h *tar.Header, body string) error {
		h.Format = tar.FormatGNU
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := w.Write([]byte(body))
		return err
	}
	for _, f := range files {
		if strings.HasSuffix(f.Path, "/") {
			made[strings.TrimSuffix(f.Path, "/")] = true
		}
	}
	for _, f := range files {
		for _, dir := range parents(f.Path) {
			if made[dir] {
				continue
			}
			made[dir] = true
			if err := write(&tar.Header{Typeflag: tar.TypeDir, Name: "./" + dir + "/", Mode: 0o755}, ""); err != nil {
				return nil, err
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: "./" + f.Path, Mode: 0o644, Size: int64(len(f.Body)), Uid: f.UID, Gid: f.GID}
		switch {
		case f.Symlink != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Symlink, 0o777
		case f.Hardlink != "":
			h.Typeflag, h.Linkname = tar.TypeLink, "./"+f.Hardlink
		case strings.HasSuffix(f.Path, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if f.Mode != 0 {
			h.Mode = f.Mode
		}
		if err := write(h, f.Body); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// parents returns the directories that a path lies in, outermost first.
func parents(p string) []string {
	var dirs []string
	for dir := path.Dir(strings.TrimSuffix(p, "/")); dir != "." && dir != "/"; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}

func compress(how string, b []byte) ([]byte, error) {
	var out bytes.Buffer
	switch how {
	case "none":
		return b, nil
	case "xz":
		return storeXZ(b), nil
	case "zst":
		z, err := zstd.NewWriter(&out)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return z.EncodeAll(b, nil), nil
	case "gz":
		z := gzip.NewWriter(&out)
		if _, err := z.Write(b); err != nil {
			return nil, err
		}
		err := z.Close()
		return out.Bytes(), err
	}
	return nil, fmt.Errorf("unknown compression %q", how)
}

// storeXZ makes an .xz file (The .xz File Format, 1.2.1) that holds b as it is:
// one block of uncompressed LZMA2 chunks, checked by CRC32.
func storeXZ(b []byte) []byte {
	flags := []byte{0, 1} // check: CRC32
	out := []byte("\xfd7zXZ\x00")
	out = append(out, flags...)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(flags))
	// Block header: 12 bytes, one filter, LZMA2 with a dictionary of 64 KiB, no sizes.
	header := []byte{2, 0, 0x21, 1, 8, 0, 0, 0}
	block := binary.LittleEndian.AppendUint32(header, crc32.ChecksumIEEE(header))
	control := byte(1) // resets the dictionary
	for chunk := range slices.Chunk(b, 1<<16) {
		block = append(block, control)
		block = binary.BigEndian.AppendUint16(block, uint16(len(chunk)-1))
		block = append(block, chunk...)
		control = 2
	}
	block = append(block, 0)
	unpadded := len(block) + 4 // with the check
	for len(block)%4 != 0 {
		block = append(block, 0)
	}
	block = binary.LittleEndian.AppendUint32(block, crc32.ChecksumIEEE(b))
	out = append(out, block...)
	index := []byte{0, 1}
	index = binary.AppendUvarint(index, uint64(unpadded))
	index = binary.AppendUvarint(index, uint64(len(b)))
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	out = append(out, index...)
	footer := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	footer = append(footer, flags...)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(footer))
	out = append(out, footer...)
	return append(out, 'Y', 'Z')
}
