package source

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// plan is a wheel before it is written.
type plan struct {
	core   coreMetadata
	name   string // as file names have it; "" = the normalized name
	python string // the Python part of the tag: "py3", "py2.py3"
	files  []planFile
	// extra are files that an editable wheel has as well: data, scripts.
	extra  []planFile
	points []project.EntryPointGroup
	info   []planFile // in the dist-info directory, beside what all have

	// roots are the directories that an editable installation puts on
	// sys.path, relative to the project, and pth is the name of the file that
	// says so.
	roots []string
	pth   string
	// notEditable says why there is no editable wheel.
	notEditable error
}

// planFile is a file of a wheel.
type planFile struct {
	path    string // in the wheel
	from    string // in the project; "" = made here
	content layers.Content
	size    int64
	exec    bool
}

// Limits on a wheel: entries that a zip can count without extensions, and the
// size up to which everything else reads it.
const (
	maxWheelFiles = 65000
	maxWheelSize  = 4 << 30
)

// add takes a file of the tree into the wheel.
func (p *plan) add(s *sourceTree, from, to string) error {
	f, err := s.file(from, to)
	if err == nil {
		p.files = append(p.files, f)
	}
	return err
}

// addExtra takes a file into the wheel, and the editable one, too.
func (p *plan) addExtra(s *sourceTree, from, to string) error {
	f, err := s.file(from, to)
	if err == nil {
		p.extra = append(p.extra, f)
	}
	return err
}

// file makes an entry of a wheel of a file of the tree.
func (s *sourceTree) file(from, to string) (planFile, error) {
	e, err := s.entry(from)
	if err != nil {
		return planFile{}, err
	}
	f := planFile{path: to, from: from, content: e.Content, size: e.Size, exec: e.Mode&0o100 != 0}
	if e.Kind == layers.Hardlink && e.Content == nil {
		target, _ := s.tree.Lookup(e.Link)
		f.content, f.size = target.Content, target.Size
	}
	return f, nil
}

// memory makes an entry of a wheel of text.
func memory(name, text string) planFile {
	return planFile{path: name, content: layers.Bytes([]byte(text)), size: int64(len(text))}
}

// escaped returns the name as file names have it (PEP 427, "Escaping and
// Unicode").
func (p *plan) escaped() string {
	if p.name != "" {
		return p.name
	}
	return strings.ReplaceAll(python.NormalizeName(p.core.name), "-", "_")
}

func (p *plan) stem() string     { return p.escaped() + "-" + p.core.version.String() }
func (p *plan) distInfo() string { return p.stem() + ".dist-info/" }
func (p *plan) data(scheme string) string {
	return p.stem() + ".data/" + scheme + "/"
}

// check looks for what would make a wheel that is not valid, or not what the
// back-end would have made.
func (p *plan) check(s *sourceTree, editable bool) error {
	if p.core.version.IsZero() {
		return &NeedsBuildError{File: "pyproject.toml", Key: "project.version", Reason: "the version is found by running code"}
	}
	for _, f := range p.core.licenseFiles {
		file, err := s.file(f, "licenses/"+f)
		if err != nil {
			return err
		}
		p.info = append(p.info, file)
	}
	if editable {
		if p.notEditable != nil {
			return p.notEditable
		}
		p.files = nil
	}
	if len(p.files) > maxWheelFiles {
		return fmt.Errorf("make the wheel of %s: it has more than %d files", p.core.name, maxWheelFiles)
	}
	seen := map[string]bool{}
	var size int64
	info := slices.Clone(p.info)
	for i := range info {
		info[i].path = p.distInfo() + info[i].path
	}
	for _, f := range slices.Concat(p.files, p.extra, info) {
		if c, ok := clean(f.path); !ok || c != f.path || c == "" {
			return &NeedsBuildError{File: f.path, Reason: "the file would lie outside of the wheel"}
		}
		if !utf8.ValidString(f.path) || strings.ContainsFunc(f.path, func(r rune) bool { return unicode.IsControl(r) || r == '\\' }) {
			return &NeedsBuildError{File: f.path, Reason: "no installer takes a file of this name"}
		}
		if seen[f.path] {
			return &NeedsBuildError{File: f.path, Reason: "two files would lie at this place of the wheel"}
		}
		seen[f.path] = true
		// What a compiler made is of one platform, and the wheel is of all.
		switch path.Ext(f.path) {
		case ".so", ".pyd", ".dylib", ".dll":
			return &NeedsBuildError{File: f.path, Reason: "the project has compiled files"}
		}
		if size += f.size; size > maxWheelSize {
			return fmt.Errorf("make the wheel of %s: it is larger than %d bytes", p.core.name, int64(maxWheelSize))
		}
	}
	return nil
}

// editable replaces the project's own files by one that leads to them.
func (p *plan) editable(projectDir string) error {
	var lines []string
	for _, root := range p.roots {
		dir := path.Join(projectDir, root)
		if !slices.Contains(lines, dir) {
			lines = append(lines, dir)
		}
	}
	slices.Sort(lines)
	p.files = []planFile{memory(p.pth, strings.Join(lines, "\n")+"\n")}
	return nil
}

// write writes the wheel (PEP 427) and returns its name.
func (p *plan) write(ctx context.Context, w io.Writer, o Options) (string, error) {
	tags, err := python.ParseTags(p.python + "-none-any")
	if err != nil {
		return "", err
	}
	filename := p.stem() + "-" + p.python + "-none-any.whl"
	if _, err := python.ParseWheelName(filename); err != nil {
		return "", fmt.Errorf("make the wheel of %s: %w", p.core.name, err)
	}
	var about strings.Builder
	about.WriteString("Wheel-Version: 1.0\nGenerator: boyabuild\nRoot-Is-Purelib: true\n")
	for _, t := range tags {
		about.WriteString("Tag: " + t.String() + "\n")
	}
	info := append(slices.Clone(p.info), memory("METADATA", string(p.core.bytes())), memory("WHEEL", about.String()))
	if len(p.points) > 0 {
		info = append(info, memory("entry_points.txt", entryPointsText(p.points)))
	}
	for i := range info {
		info[i].path = p.distInfo() + info[i].path
	}
	body := slices.Concat(p.files, p.extra)
	for _, list := range [][]planFile{body, info} {
		slices.SortFunc(list, func(a, b planFile) int { return strings.Compare(a.path, b.path) })
	}
	a := &archive{zip: zip.NewWriter(w), time: o.Time}
	// PEP 427, "Recommended archiver features": the metadata comes last.
	for _, f := range slices.Concat(body, info) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if err := a.add(f); err != nil {
			return "", fmt.Errorf("write %s: %s: %w", filename, f.path, err)
		}
	}
	if err := a.close(p.distInfo() + "RECORD"); err != nil {
		return "", fmt.Errorf("write %s: %w", filename, err)
	}
	return filename, nil
}

// archive is a zip that keeps a RECORD of what is added.
type archive struct {
	zip     *zip.Writer
	time    time.Time
	records [][]string
}

func (a *archive) header(name string, exec bool) *zip.FileHeader {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate}
	h.SetMode(0o644)
	if exec {
		h.SetMode(0o755)
	}
	first := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	t := a.time.UTC()
	if t.Before(first) {
		t = first
	}
	// The time goes into the fields that every zip has. Modified would add an
	// extension in which the same moment has another form.
	//lint:ignore SA1019 see above
	h.ModifiedDate = uint16(t.Day() + int(t.Month())<<5 + (min(t.Year(), 2107)-1980)<<9)
	//lint:ignore SA1019 see above
	h.ModifiedTime = uint16(t.Second()/2 + t.Minute()<<5 + t.Hour()<<11)
	return h
}

func (a *archive) add(f planFile) error {
	out, err := a.zip.CreateHeader(a.header(f.path, f.exec))
	if err != nil {
		return err
	}
	hash := sha256.New()
	var n int64
	if f.content != nil {
		in, err := f.content.Open()
		if err != nil {
			return err
		}
		defer in.Close()
		if n, err = io.Copy(io.MultiWriter(out, hash), io.LimitReader(in, f.size+1)); err != nil {
			return err
		}
	}
	if n != f.size {
		return fmt.Errorf("has %d bytes or more, not %d: it changed while it was read", n, f.size)
	}
	sum := "sha256=" + base64.RawURLEncoding.EncodeToString(hash.Sum(nil))
	a.records = append(a.records, []string{f.path, sum, strconv.FormatInt(n, 10)})
	return nil
}

// close writes RECORD (PEP 376, PEP 627) and ends the archive.
func (a *archive) close(record string) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll(append(a.records, []string{record, "", ""})); err != nil {
		return err
	}
	out, err := a.zip.CreateHeader(a.header(record, false))
	if err != nil {
		return err
	}
	if _, err := out.Write(b.Bytes()); err != nil {
		return err
	}
	return a.zip.Close()
}
