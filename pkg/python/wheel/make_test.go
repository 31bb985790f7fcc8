package wheel

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// part is one entry of a wheel that a test makes. The zero fields are those of
// an ordinary deflated file.
type part struct {
	name, text string
	mode       uint32 // Unix mode with its file type; 0: 0o100644
	method     uint16 // 0: deflated, unless stored is set
	stored     bool
	flags      uint16
	size       uint64 // declared; 0: the true one
	unlisted   bool   // not in RECORD
	row        string // its RECORD line, where that is not the true one
}

// maker makes the wheel "demo-1.0-py3-none-any.whl", right but for what a test
// changes.
type maker struct {
	filename string
	distInfo string
	wheel    string
	metadata string
	points   string
	parts    []part
	record   string // instead of the true one
	extra    string // more lines of RECORD
	omit     string // a file of .dist-info to leave out
}

func demo(parts ...part) maker {
	return maker{
		filename: "demo-1.0-py3-none-any.whl",
		distInfo: "demo-1.0.dist-info",
		wheel:    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		metadata: "Metadata-Version: 2.1\nName: Demo\nVersion: 1.0\n\nA description.\n",
		parts:    parts,
	}
}

func (m maker) bytes(t testing.TB) []byte {
	t.Helper()
	parts := append([]part{}, m.parts...)
	for _, p := range []part{
		{name: "METADATA", text: m.metadata}, {name: "WHEEL", text: m.wheel}, {name: "entry_points.txt", text: m.points},
	} {
		if p.name != m.omit && p.text != "" {
			p.name = m.distInfo + "/" + p.name
			parts = append(parts, p)
		}
	}
	record := m.record
	if record == "" {
		for _, p := range parts {
			switch {
			case p.unlisted || strings.HasSuffix(p.name, "/"):
			case p.row != "":
				record += p.row + "\n"
			default:
				sum := sha256.Sum256([]byte(p.text))
				record += fmt.Sprintf("%s,sha256=%s,%d\n", p.name, base64.RawURLEncoding.EncodeToString(sum[:]), len(p.text))
			}
		}
		record += m.extra + m.distInfo + "/RECORD,,\n"
	}
	if m.omit != "RECORD" {
		parts = append(parts, part{name: m.distInfo + "/RECORD", text: record})
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, p := range parts {
		if err := p.write(z); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (p part) write(z *zip.Writer) error {
	mode := p.mode
	if mode == 0 {
		mode = 0o100644
	}
	method := p.method
	if method == 0 && !p.stored {
		method = zip.Deflate
	}
	data := []byte(p.text)
	if method == zip.Deflate {
		var c bytes.Buffer
		w, err := flate.NewWriter(&c, flate.DefaultCompression)
		if err != nil {
			return err
		}
		w.Write(data) // to memory: never fails
		w.Close()
		data = c.Bytes()
	}
	size := p.size
	if size == 0 {
		size = uint64(len(p.text))
	}
	h := &zip.FileHeader{
		Name: p.name, Method: method, Flags: p.flags, CreatorVersion: 3 << 8, ExternalAttrs: mode << 16,
		CRC32: crc32.ChecksumIEEE([]byte(p.text)), CompressedSize64: uint64(len(data)), UncompressedSize64: size,
	}
	w, err := z.CreateRaw(h)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// open makes the wheel and reads it.
func (m maker) open(t testing.TB) (*Wheel, error) {
	t.Helper()
	b := m.bytes(t)
	return New(bytes.NewReader(b), int64(len(b)), m.filename)
}

// tree makes the wheel and lays it out for a python image.
func (m maker) tree(t testing.TB, o Options) layers.Tree {
	t.Helper()
	w, err := m.open(t)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := w.Tree(imageScheme(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func image() Installation {
	return Installation{Python: "3.13", Prefix: "/usr/local", Interpreter: "/usr/local/bin/python3.13"}
}

func imageScheme(t testing.TB) Scheme {
	t.Helper()
	s, err := SchemeFor(image(), Place{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// text returns a file's content in a tree.
func text(t testing.TB, tree layers.Tree, path string) string {
	t.Helper()
	b, err := tree.ReadFile(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// listing is a tree's files with their modes, one a line.
func listing(tree layers.Tree) string {
	var b strings.Builder
	for _, e := range tree.Entries() {
		switch e.Kind {
		case layers.File:
			fmt.Fprintf(&b, "%o %s\n", e.Mode, e.Path)
		case layers.Whiteout:
			fmt.Fprintf(&b, "gone %s\n", e.Path)
		}
	}
	return b.String()
}

// readAll reads every file of a tree and returns the first error.
func readAll(tree layers.Tree) error {
	for _, e := range tree.Entries() {
		if e.Content == nil {
			continue
		}
		r, err := e.Content.Open()
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r)
		r.Close()
		if err != nil {
			return err
		}
		if n != e.Size {
			return fmt.Errorf("%s has %d bytes, not %d", e.Path, n, e.Size)
		}
	}
	return nil
}
