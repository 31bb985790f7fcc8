package base

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// factsFormat numbers what Facts means; a record of another is read anew.
const factsFormat = 3

// Facts are what a build needs to know of a base.
type Facts struct {
	// OS is the distribution's ID in os-release ("debian", "alpine", "wolfi"),
	// with its VERSION_ID; both are empty for an image without the file.
	OS        string `json:"os,omitempty"`
	OSVersion string `json:"osVersion,omitempty"`
	Libc      Libc   `json:"libc,omitzero"`
	// Python is the first Python on the image's PATH; nil if there is none.
	Python *Python `json:"python,omitempty"`
}

// Libc is a C library. The zero value says that the image has none.
type Libc struct {
	Name string `json:"name"` // "glibc" or "musl"
	// Major and Minor are the version's; 0.0 if it could not be told.
	Major int `json:"major"`
	Minor int `json:"minor"`
}

// String returns name and version: "glibc 2.41".
func (l Libc) String() string {
	if l.Name == "" {
		return "no C library"
	}
	if l.Major == 0 {
		return l.Name
	}
	return fmt.Sprintf("%s %d.%d", l.Name, l.Major, l.Minor)
}

// Python is an interpreter, and what decides where pip puts packages for it.
type Python struct {
	// Version is "3.13.5", or "3.13" where the rest could not be told.
	Version string `json:"version"`
	// FreeThreaded says that it was built without the global interpreter lock.
	FreeThreaded bool `json:"freeThreaded,omitempty"`
	// Interpreter is what the image's pip calls sys.executable, and writes into
	// the first line of scripts: "/usr/local/bin/python3.13".
	Interpreter string `json:"interpreter"`
	// Commands are the names that PATH leads to it by, in the order of PATH:
	// "/usr/local/bin/python3". Started by one, it is that one's sys.executable.
	Commands []string `json:"commands,omitempty"`
	// Prefix is that of the installation, or the virtual environment's directory.
	Prefix string `json:"prefix"`
	// Lib is sysconfig's platlibdir where it is not "lib": "lib64" on Fedora
	// and SUSE.
	Lib string `json:"lib,omitempty"`
	// Debian says that pip installs by Debian's scheme posix_local: beneath
	// Prefix/local, into dist-packages.
	Debian bool `json:"debian,omitempty"`
	// LocalPrefix says that pip installs beneath Prefix/local in place of
	// Prefix, and into site-packages: Fedora and its kin.
	LocalPrefix bool `json:"localPrefix,omitempty"`
	// Venv says that the interpreter is that of a virtual environment.
	Venv bool `json:"venv,omitempty"`
	// Pip is the path of the image's pip script, "" if it has none.
	Pip string `json:"pip,omitempty"`
}

// factsRecord is what is kept under an image's digest.
type factsRecord struct {
	Facts Facts `json:"facts"`
}

// Facts reads what is known of the base. Where it is not on record, the layers
// are fetched and looked at; it is then kept under the image's digest.
func (b *Base) Facts() (Facts, error) {
	key := fmt.Sprintf("base/facts/%d %s", factsFormat, b.Digest)
	var known factsRecord
	if ok, err := b.o.Store.Record(key, &known); err != nil || ok {
		b.used[key] = known
		return known.Facts, err
	}
	tree, err := b.Tree()
	if err != nil {
		return Facts{}, err
	}
	config, err := b.Image.ConfigFile()
	if err != nil {
		return Facts{}, err
	}
	f, err := ReadFacts(tree, config.Config)
	if err != nil {
		return Facts{}, fmt.Errorf("read base %s: %w", b.Name, err)
	}
	b.used[key] = factsRecord{f}
	return f, b.o.Store.SetRecord(key, factsRecord{f})
}

// ReadFacts reads the facts of an unpacked image and its config.
func ReadFacts(tree layers.Tree, config v1.Config) (Facts, error) {
	p := probe{tree: tree, env: map[string]string{}}
	for _, pair := range config.Env {
		name, value, _ := strings.Cut(pair, "=")
		p.env[name] = value
	}
	var f Facts
	var err error
	if f.OS, f.OSVersion, err = p.osRelease(); err != nil {
		return f, err
	}
	if f.Libc, err = p.libc(); err != nil {
		return f, err
	}
	f.Python, err = p.python(f.OS)
	return f, err
}

// probe looks at an unpacked image.
type probe struct {
	tree layers.Tree
	env  map[string]string
}

// Bounds on files that are read whole. The longest dpkg status files have
// about 10 MB, an interpreter linked statically about 100.
const (
	maxText    = 1 << 20
	maxStatus  = 64 << 20
	maxProgram = 256 << 20
)

// text reads a file whole; nil where there is none.
func (p *probe) text(name string, limit int64) ([]byte, error) {
	b, err := p.tree.ReadFile(name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("/%s: %w", strings.TrimPrefix(name, "/"), err)
	}
	return b, nil
}

// is says whether a path leads to a file or directory of a kind.
func (p *probe) is(name string, kind layers.Kind) bool {
	e, err := p.tree.Stat(name)
	return err == nil && (e.Kind == kind || kind == layers.File && e.Kind == layers.Hardlink)
}

// osRelease returns ID and VERSION_ID (os-release(5)).
func (p *probe) osRelease() (id, version string, err error) {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		text, err := p.text(name, maxText)
		if err != nil {
			return "", "", err
		}
		if text == nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			value = strings.Trim(value, `"'`)
			switch key {
			case "ID":
				id = value
			case "VERSION_ID":
				version = value
			}
		}
		return id, version, nil
	}
	return "", "", nil
}

// libraryDirs are where C libraries lie, but for the directories named after
// a machine in lib and usr/lib.
var libraryDirs = []string{"lib", "usr/lib", "lib64", "usr/lib64"}

var (
	muslLoader   = regexp.MustCompile(`^ld-musl-[a-z0-9_]+\.so\.1$`)
	glibcBanner  = regexp.MustCompile(`GNU C Library[^\n\x00]{0,200}?version (\d+)\.(\d+)`)
	muslVersion  = regexp.MustCompile(`\x00(1)\.(\d{1,2})\.\d{1,3}(?:-[a-z0-9-]+)?\x00`)
	leadingMajor = regexp.MustCompile(`^(?:\d+:)?(\d+)\.(\d+)`)
)

// libc tells the C library by the loader that programs name.
func (p *probe) libc() (Libc, error) {
	for _, dir := range libraryDirs[:2] {
		for _, e := range p.children(dir) {
			if !muslLoader.MatchString(path.Base(e.Path)) {
				continue
			}
			if v, err := p.apkVersion("musl"); err != nil || v != "" {
				return libcOf("musl", leadingMajor.FindStringSubmatch(v)), err
			}
			m, err := p.search(e.Path, muslVersion)
			return libcOf("musl", m), err
		}
	}
	var found Libc
	for _, file := range p.glibcFiles() {
		m, err := p.search(file, glibcBanner)
		if err != nil {
			return Libc{}, err
		}
		if found = libcOf("glibc", m); m != nil {
			break // the first that tells its version
		}
	}
	return found, nil
}

func libcOf(name string, match []string) Libc {
	l := Libc{Name: name}
	if match != nil {
		l.Major, _ = strconv.Atoi(match[1]) // digits, by the expression
		l.Minor, _ = strconv.Atoi(match[2])
	}
	return l
}

// glibcFiles returns the places where there is a libc.so.6.
func (p *probe) glibcFiles() []string {
	var found []string
	for _, dir := range libraryDirs {
		candidates := []string{dir + "/libc.so.6"}
		for _, e := range p.children(dir) {
			if strings.HasSuffix(e.Path, "-linux-gnu") || strings.Contains(e.Path, "-linux-gnu") {
				candidates = append(candidates, e.Path+"/libc.so.6")
			}
		}
		for _, c := range candidates {
			if p.is(c, layers.File) {
				found = append(found, c)
			}
		}
	}
	return found
}

// children returns what lies in a directory, which links may lead to.
func (p *probe) children(dir string) []layers.Entry {
	real, err := p.tree.Resolve(dir)
	if err != nil {
		return nil
	}
	return p.tree.Children(real)
}

// search looks for the first match of an expression in a file of any kind, in
// pieces; a match is found if it is no longer than half a piece.
func (p *probe) search(name string, expression *regexp.Regexp) ([]string, error) {
	e, err := p.tree.Stat(name)
	if err != nil || e.Content == nil || e.Size > maxProgram {
		return nil, nil // what is not there has no match
	}
	r, err := e.Content.Open()
	if err != nil {
		return nil, fmt.Errorf("/%s: %w", name, err)
	}
	defer r.Close()
	const piece = 1 << 20
	buf := make([]byte, 0, 2*piece)
	for {
		n, err := io.ReadFull(r, buf[len(buf):len(buf)+piece])
		buf = buf[:len(buf)+n]
		if m := expression.FindSubmatch(buf); m != nil {
			var match []string
			for _, group := range m {
				match = append(match, string(bytes.Clone(group)))
			}
			return match, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", name, err)
		}
		if len(buf) > piece {
			buf = append(buf[:0], buf[len(buf)-piece:]...)
		}
	}
}
