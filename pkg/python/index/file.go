package index

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// Kind tells wheels and sdists apart. Other files (eggs, installers,
// signatures) are not listed at all.
type Kind uint8

// The kinds of files.
const (
	Wheel Kind = iota
	Sdist
)

// File is one file of a project as an index lists it.
type File struct {
	Kind     Kind
	Project  string // normalized
	Filename string
	Version  python.Version
	Wheel    python.WheelName // of a wheel: the parts of its file name

	URL    string            // absolute, without credentials and fragment; file:// for one on this machine
	Hashes map[string]string // algorithm -> lower-case hexadecimal; nil = none known
	Size   int64             // bytes; 0 = unknown

	RequiresPython string            // as listed
	Python         python.Specifiers // RequiresPython parsed; nil = any, also when it cannot be parsed
	Yanked         bool              // PEP 592
	YankedReason   string
	UploadTime     time.Time // PEP 700; zero = the index does not say

	// CoreMetadata tells that the index serves the METADATA of this wheel, or
	// the PKG-INFO of this sdist, at URL+".metadata" (PEP 658, PEP 714),
	// MetadataHashes the hashes it advertises for it.
	CoreMetadata   bool
	MetadataHashes map[string]string

	Index string // where it is listed, for messages
}

// Local reports whether the file lies on this machine.
func (f File) Local() bool { return strings.HasPrefix(f.URL, "file:") }

// Locked is the file as a lock has it.
func (f File) Locked() python.File {
	return python.File{
		Filename: f.Filename, URL: f.URL, Hashes: f.Hashes, Size: f.Size,
		RequiresPython: f.RequiresPython, Yanked: f.YankedReason, IsYanked: f.Yanked, UploadTime: f.UploadTime,
	}
}

// Direct describes the wheel or sdist that a URL points to, as "name @ URL"
// gives it: name and version from the file name, hashes from the fragment
// ("#sha256=..."). Credentials in it are remembered for its origin. Nothing is
// fetched.
func (c *Client) Direct(rawURL string) (File, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return File{}, fmt.Errorf("read URL of a file: %w", redactURLError(err))
	}
	if !isURL(rawURL) {
		return File{}, fmt.Errorf("read URL %s: only http, https and file URLs can be read", redact(u))
	}
	f, err := newLink(u).file("")
	if err != nil {
		return File{}, fmt.Errorf("read URL %s: %w", redact(u), err)
	}
	c.http.remember(u)
	f.Index = redact(u)
	return f, nil
}

// Archive brings the file that a URL points to into the cache, whatever its name
// says: the archive of a commit. Hashes in the fragment are verified, credentials
// are remembered for the origin.
func (c *Client) Archive(ctx context.Context, rawURL string) (Blob, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return Blob{}, fmt.Errorf("read URL of a file: %w", redactURLError(err))
	}
	c.http.remember(u)
	f := python.File{Filename: path.Base(u.Path), Hashes: fragmentHashes(u.Fragment)}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	f.URL = u.String()
	return c.Fetch(ctx, f)
}

// LocalFile describes the wheel or sdist at a path of this machine.
func LocalFile(name string) (File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return File{}, fmt.Errorf("read file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("read file %s: not a file", name)
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return File{}, fmt.Errorf("read file: %w", err)
	}
	f, err := localLink(abs, info.Size()).file("")
	if err != nil {
		return File{}, fmt.Errorf("read file %s: %w", name, err)
	}
	f.Index = name
	return f, nil
}

// link is an entry of a page before it is known to be a file of the project.
type link struct {
	File
	login *url.URL // with the credentials that the reference had; nil = none
}

// resolve makes a reference of a page absolute. A page from the network cannot
// name files of this machine.
func resolve(base *url.URL, ref string) (*url.URL, bool) {
	ref = strings.TrimSpace(ref)
	if strings.HasPrefix(ref, "//") {
		ref = base.Scheme + ":" + ref // without a scheme net/url takes "//host::/"
	}
	u, err := base.Parse(ref)
	if err != nil {
		return nil, false
	}
	switch u.Scheme {
	case "http", "https":
		return u, true
	case "file":
		return u, base.Scheme == "file"
	}
	return nil, false
}

func newLink(u *url.URL) link {
	l := link{}
	l.Filename = path.Base(u.Path)
	l.Hashes = fragmentHashes(u.Fragment)
	if u.User != nil {
		l.login = u
	}
	v := *u
	v.User, v.Fragment, v.RawFragment = nil, "", ""
	l.URL = v.String()
	return l
}

func localLink(abs string, size int64) link {
	l := newLink(fileURL(abs))
	l.Size = size
	return l
}

func fileURL(abs string) *url.URL { return &url.URL{Scheme: "file", Path: filepath.ToSlash(abs)} }

var errOtherKind = errors.New("neither a wheel nor an sdist")

// file completes a link to the file of a project; with project "" any will do.
func (l link) file(project string) (File, error) {
	f := l.File
	if strings.ContainsAny(f.Filename, "/\\\x00") {
		return File{}, errOtherKind
	}
	if strings.HasSuffix(f.Filename, ".whl") {
		wheel, err := python.ParseWheelName(f.Filename)
		if err != nil {
			return File{}, err
		}
		if project != "" && python.NormalizeName(wheel.Name) != project {
			return File{}, fmt.Errorf("%s is a wheel of another project", f.Filename)
		}
		f.Kind, f.Wheel, f.Version, f.Project = Wheel, wheel, wheel.Version, python.NormalizeName(wheel.Name)
		return f, nil
	}
	name, version, err := sdistName(f.Filename, project)
	if err != nil {
		return File{}, err
	}
	f.Kind, f.Version, f.Project = Sdist, version, name
	return f, nil
}

// sdistName finds project and version in an sdist's name. Old names are not
// normalized, and "a-b-1.0.tar.gz" can be read in two ways: the project decides.
func sdistName(filename, project string) (string, python.Version, error) {
	stem := filename
	for _, suffix := range sdistSuffixes {
		stem = strings.TrimSuffix(stem, suffix)
	}
	if stem == filename {
		return "", python.Version{}, errOtherKind
	}
	for i := 1; i < len(stem); i++ {
		if stem[i] != '-' || project != "" && python.NormalizeName(stem[:i]) != project {
			continue
		}
		if v, err := python.ParseVersion(stem[i+1:]); err == nil {
			return python.NormalizeName(stem[:i]), v, nil
		}
	}
	return "", python.Version{}, fmt.Errorf("%s does not name a version", filename)
}

// files are the links of a page that are files of the project.
func (c *Client) files(links []link, project, index string) []File {
	out := make([]File, 0, len(links))
	for _, l := range links {
		f, err := l.file(project)
		if err != nil {
			continue // legacy uploads; pip skips them too
		}
		if l.login != nil {
			c.http.remember(l.login)
		}
		f.Python, f.Index = c.sets.specifiers(f.RequiresPython), index
		out = append(out, f)
	}
	return out
}

// linked are the files of a project in the find-links places.
func (c *Client) linked(ctx context.Context, name string) ([]File, error) {
	var out []File
	for _, place := range c.findLinks {
		links, err := c.links.do(ctx, place.URL, func(ctx context.Context) ([]link, error) { return c.readLinks(ctx, place) })
		if err != nil {
			return nil, fmt.Errorf("read find-links %s: %w", place.Name, err)
		}
		out = append(out, c.files(links, name, place.Name)...)
	}
	return out, nil
}

func (c *Client) readLinks(ctx context.Context, place Index) ([]link, error) {
	name := place.URL
	if isURL(name) {
		u, err := url.Parse(name)
		if err != nil {
			return nil, redactURLError(err)
		}
		if u.Scheme != "file" {
			if l := newLink(u); isArchive(l.Filename) {
				return []link{l}, nil
			}
			doc, err := c.document(ctx, u)
			if err != nil {
				return nil, err
			}
			return parsePage(doc)
		}
		if name, err = localPath(u); err != nil {
			return nil, err
		}
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(abs); isArchive(abs) && err == nil && info.Mode().IsRegular() {
		return []link{localLink(abs, info.Size())}, nil
	}
	return localLinks(abs)
}

// isArchive tells a wheel or an sdist from a page of links by its name.
func isArchive(name string) bool {
	return strings.HasSuffix(name, ".whl") || slices.ContainsFunc(sdistSuffixes, func(suffix string) bool { return strings.HasSuffix(name, suffix) })
}

// localProject reads the page of a project below a file:// index: its
// index.json or index.html, or else the files of the folder.
func (c *Client) localProject(root *url.URL, index, project string) ([]File, error) {
	dir, err := localPath(root)
	if err != nil {
		return nil, err
	}
	links, err := localLinks(filepath.Join(dir, project))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{Project: project, Indexes: []string{index}}
	}
	if err != nil {
		return nil, err
	}
	return c.files(links, project, index), nil
}

// localLinks reads a page or a folder of this machine. A folder is not
// searched deeper than its own files, as in pip.
func localLinks(name string) ([]link, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return localPage(name)
	}
	for _, page := range []string{"index.json", "index.html"} {
		links, err := localPage(filepath.Join(name, page))
		if !errors.Is(err, fs.ErrNotExist) {
			return links, err
		}
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	var out []link
	for _, e := range entries {
		// A link to a file counts, a folder called x.whl does not.
		info, err := os.Stat(filepath.Join(name, e.Name()))
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		out = append(out, localLink(filepath.Join(name, e.Name()), info.Size()))
	}
	return slices.Clip(out), nil
}

func localPage(name string) ([]link, error) {
	body, err := readFileLimit(name, maxPage)
	if err != nil {
		return nil, err
	}
	contentType := "text/html"
	if strings.HasSuffix(name, ".json") {
		contentType = simpleJSON
	}
	return parsePage(document{base: fileURL(name), contentType: contentType, body: body})
}

// localPath is the path of a file URL (RFC 8089); one that names another host
// is refused.
func localPath(u *url.URL) (string, error) {
	if u.Host != "" && u.Host != "localhost" {
		return "", fmt.Errorf("%s: a file URL of another host", redact(u))
	}
	return filepath.FromSlash(u.Path), nil
}

// fragmentHashes reads "sha256=..." (PEP 503); other fragments ("egg=...",
// "subdirectory=...") say nothing about hashes.
func fragmentHashes(fragment string) map[string]string {
	var out map[string]string
	for _, part := range strings.Split(fragment, "&") {
		algorithm, value, ok := strings.Cut(part, "=")
		if !ok || newHash(algorithm) == nil || !isHex(value) {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[algorithm] = strings.ToLower(value)
	}
	return out
}

func isHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && s != ""
}
