package pip

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// indexSource is where pip's source says which index it uses by itself, in its
// package and in its wheel.
const indexSource = "pip/_internal/models/index.py"

// maxSource and maxPipWheel bound what is read; the real ones have 1 kB and 2 MB.
const (
	maxSource   = 1 << 20
	maxPipWheel = 64 << 20
)

// SourceError reports a pip whose source does not say its index in the way it
// is looked for.
type SourceError struct {
	File   string
	Line   int
	Reason string
}

func (e *SourceError) Error() string {
	s := "read pip's default index: "
	if e.File != "" {
		s += e.File
		if e.Line > 0 {
			s += fmt.Sprintf(":%d", e.Line)
		}
		s += ": "
	} else if e.Line > 0 {
		s += fmt.Sprintf("line %d: ", e.Line)
	}
	return s + e.Reason
}

// DefaultIndex returns the URL of the Simple API of pip's default index, out of
// the text of pip/_internal/models/index.py:
//
//	PyPI = PackageIndex("https://index.example/", file_storage_domain="…")
//
// gives "https://index.example/simple/". The statement must stand at the
// beginning of a line, once, with one plain string as its first argument.
func DefaultIndex(source []byte) (simpleURL string, err error) {
	if len(source) > maxSource {
		return "", &SourceError{Reason: "the file is too large"}
	}
	start := regexp.MustCompile(`(?m)^PyPI[ \t]*=[ \t]*PackageIndex[ \t]*\(`)
	at := start.FindAllIndex(source, 2)
	switch len(at) {
	case 0:
		return "", &SourceError{Reason: "there is no statement PyPI = PackageIndex(…)"}
	case 2:
		return "", &SourceError{Line: lineOf(source, at[1][0]), Reason: "there are two statements PyPI = PackageIndex(…)"}
	}
	line := lineOf(source, at[0][0])
	// White space and comments, the argument's name, and a plain string that
	// nothing but the next argument or the end follows.
	argument := regexp.MustCompile(`^(?:\s|#[^\n]*\n)*(?:url\s*=\s*)?(?:"([^"\\\n]*)"|'([^'\\\n]*)')(?:\s|#[^\n]*\n)*[,)]`)
	m := argument.FindSubmatch(source[at[0][1]:])
	if m == nil {
		return "", &SourceError{Line: line, Reason: "the first argument of PackageIndex is no plain string"}
	}
	text := string(m[1]) + string(m[2])
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", &SourceError{Line: line, Reason: fmt.Sprintf("%q is not the URL of an index", text)}
	}
	// As urljoin(url, "simple") does it, but with the slash that the Simple API's
	// address ends with (PEP 503).
	return u.ResolveReference(&url.URL{Path: "simple/"}).String(), nil
}

func lineOf(source []byte, offset int) int { return 1 + bytes.Count(source[:offset], []byte("\n")) }

// FS is what [FindSource] needs of a file system: an image's tree, a root
// directory, an archive. Names are slash-separated and relative to its root.
type FS interface {
	// ReadFile returns a file's content, of at most limit bytes; fs.ErrNotExist
	// says that there is no such file.
	ReadFile(name string, limit int64) ([]byte, error)
	// List returns the names in a directory; fs.ErrNotExist or an empty list
	// where there is none.
	List(dir string) ([]string, error)
}

// Over makes an FS of an fs.FS: os.Root's FS, a zip.Reader, fstest's.
func Over(f fs.FS) FS { return over{f} }

type over struct{ fs.FS }

func (o over) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := o.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("has more than %d bytes", limit)}
	}
	return b, err
}

func (o over) List(dir string) ([]string, error) {
	entries, err := fs.ReadDir(o, dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Sources returns patterns of paths where pip's source may lie, the likeliest
// first: pip's package in the site directories of Pythons with the given
// prefixes (relative to the file system's root), then wheels of it that Python
// and Debian keep. Without prefixes it is "usr/local" and "usr", and the root of
// the file system itself, which is where it is in pip's own wheel.
func Sources(prefixes ...string) []string {
	if len(prefixes) == 0 {
		prefixes = []string{"usr/local", "usr"}
	}
	patterns := []string{indexSource}
	for _, p := range prefixes {
		for _, site := range []string{"lib/python3*/site-packages", "lib64/python3*/site-packages", "lib/python3*/dist-packages"} {
			patterns = append(patterns, path.Join(p, site, indexSource))
		}
	}
	for _, p := range prefixes {
		for _, wheel := range []string{"lib/python3*/ensurepip/_bundled/pip-*.whl", "lib64/python3*/ensurepip/_bundled/pip-*.whl", "share/python-wheels/pip-*.whl"} {
			patterns = append(patterns, path.Join(p, wheel))
		}
	}
	return patterns
}

// FindSource looks for pip in a file system by the patterns of [Sources], and
// returns its default index and the path that it was found in. fs.ErrNotExist
// says that there is no pip.
func FindSource(f FS, prefixes ...string) (simpleURL, found string, err error) {
	for _, pattern := range Sources(prefixes...) {
		names, err := glob(f, pattern)
		if err != nil {
			return "", "", err
		}
		for _, name := range names {
			simple, err := readSource(f, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return simple, name, err
		}
	}
	return "", "", fmt.Errorf("look for pip: %w", fs.ErrNotExist)
}

// readSource reads the index out of a file, or out of a wheel.
func readSource(f FS, name string) (string, error) {
	var source []byte
	var err error
	if strings.HasSuffix(name, ".whl") {
		source, err = fromWheel(f, name)
	} else {
		source, err = f.ReadFile(name, maxSource)
	}
	if err != nil {
		return "", err
	}
	simple, err := DefaultIndex(source)
	var e *SourceError
	if errors.As(err, &e) {
		e.File = name
	}
	return simple, err
}

func fromWheel(f FS, name string) ([]byte, error) {
	b, err := f.ReadFile(name, maxPipWheel)
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, &SourceError{File: name, Reason: "is no wheel: " + err.Error()}
	}
	return over{z}.ReadFile(indexSource, maxSource)
}

// glob returns the paths that match a pattern, newer versions first: of two
// Pythons or wheels the newer is the likelier to be used.
func glob(f FS, pattern string) ([]string, error) {
	paths := []string{""}
	for part := range strings.SplitSeq(pattern, "/") {
		var next []string
		for _, dir := range paths {
			if !strings.Contains(part, "*") {
				next = append(next, path.Join(dir, part))
				continue
			}
			names, err := f.List(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			names = slices.DeleteFunc(names, func(n string) bool {
				ok, err := path.Match(part, n)
				return err != nil || !ok
			})
			slices.SortFunc(names, func(a, b string) int { return compareNatural(b, a) })
			for _, n := range names {
				next = append(next, path.Join(dir, n))
			}
		}
		paths = next
	}
	return paths, nil
}

// compareNatural orders names with numbers by their value: python3.9 comes
// before python3.13.
func compareNatural(a, b string) int {
	digits := regexp.MustCompile(`\d+|\D+`)
	x, y := digits.FindAllString(a, -1), digits.FindAllString(b, -1)
	for i := range min(len(x), len(y)) {
		p, q := strings.TrimLeft(x[i], "0"), strings.TrimLeft(y[i], "0")
		if isNumber(x[i]) && isNumber(y[i]) && len(p) != len(q) {
			return len(p) - len(q)
		}
		if c := strings.Compare(p, q); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}

func isNumber(s string) bool { return s[0] >= '0' && s[0] <= '9' }
