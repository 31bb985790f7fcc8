package debian

import (
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"golang.org/x/sync/errgroup"
)

// Bounds on what is unpacked, so that a small file cannot fill the disk.
const (
	maxIndex = 1 << 30 // an index of packages; main of sid has 55 MB
	maxData  = 8 << 30 // the files of one package; the largest in Debian have about 2 GB
	// maxDictionary is what "xz -9" needs, the most that dpkg-deb makes.
	maxDictionary = 64 << 20
)

// packageInfo is what an index says of one package, of those fields that are
// needed to choose it. Relationship fields are parsed when they are looked at.
type packageInfo struct {
	name                                   string
	version                                Version
	arch                                   string
	multiArch                              string
	essential                              bool
	priority                               string
	preDepends, depends, conflicts, breaks string
	provides                               []Relation
	filename                               string
	sha256                                 string
	size                                   int64
	suite                                  string // of the source that has it
	at                                     int64  // where it is in the index
}

func (p *packageInfo) String() string { return p.name + " " + p.version.String() }

// load fetches, checks and reads the sources' indexes: all that is in them, or
// the packages of one name only. The caller closes the index.
func (o Options) load(ctx context.Context, spec Spec, sources []Source, only string) (*index, error) {
	dates := make([]string, len(sources))
	files := make([][]packagesFile, len(sources))
	group, fetching := errgroup.WithContext(ctx)
	for i, s := range sources {
		group.Go(func() error {
			r, err := o.release(fetching, spec, s)
			if missing(err) && s.Optional {
				o.log().Warn(fmt.Sprintf("the mirror has no suite %s; going on without it", s.Suite))
				return nil
			}
			if err != nil {
				return err
			}
			dates[i] = r.date.Format("2006-01-02T15:04:05Z")
			for _, component := range s.Components {
				found, err := o.packages(fetching, s, r, component, spec.Arch)
				if err != nil {
					return err
				}
				files[i] = append(files[i], found...)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	x, err := newIndex(o.Scratch, spec.Arch)
	if err != nil {
		return nil, err
	}
	// One at a time: each takes the memory of its decoder.
	for i, s := range sources {
		if dates[i] != "" {
			x.dates[s.Suite] = dates[i]
		}
		for _, f := range files[i] {
			if err := o.readPackages(ctx, x, f, s.Suite, only); err != nil {
				return nil, errors.Join(err, x.close())
			}
		}
	}
	if err := x.ready(); err != nil {
		return nil, errors.Join(err, x.close())
	}
	return x, nil
}

func missing(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusGone)
}

// release fetches and checks a source's InRelease.
func (o Options) release(ctx context.Context, spec Spec, s Source) (release, error) {
	text, err := o.read(ctx, s.URI+"/dists/"+s.Suite+"/InRelease", maxRelease)
	if missing(err) {
		return release{}, &SuiteError{Suite: s.Suite, Err: err}
	}
	if err != nil {
		return release{}, err
	}
	now := o.now()
	if spec.Snapshot != "" {
		// What a snapshot serves was valid then; so were the keys that signed it.
		if now, err = snapshotMoment(spec.Snapshot); err != nil {
			return release{}, err
		}
	}
	text, err = s.Keyring.open(text, now)
	if err != nil {
		return release{}, &SignatureError{s.inRelease(), err}
	}
	r, err := parseRelease(text)
	if err != nil {
		return release{}, fmt.Errorf("read %s: %w", s.inRelease(), err)
	}
	return r, r.check(s, now, spec.IgnoreExpiry)
}

// packagesFile is a Packages file in the cache.
type packagesFile struct {
	wanted
	ext string // of its compression
}

// packages fetches the indexes of one component of a source: the architecture's,
// and that of the packages for all where the archive keeps them apart.
func (o Options) packages(ctx context.Context, s Source, r release, component, arch string) ([]packagesFile, error) {
	// A security archive calls its components updates/main and so on, and files them under main.
	if !slices.ContainsFunc(r.components, func(c string) bool { return path.Base(c) == component }) {
		return nil, fmt.Errorf("read %s: it has no component %q, but %s", s.inRelease(), component, strings.Join(r.components, ", "))
	}
	if !slices.Contains(r.architectures, arch) {
		return nil, fmt.Errorf("read %s: it has no architecture %q, but %s", s.inRelease(), arch, strings.Join(r.architectures, ", "))
	}
	own, err := o.packagesIn(ctx, s, r, component+"/binary-"+arch)
	if err != nil || r.allInArch || !slices.Contains(r.architectures, "all") {
		return []packagesFile{own}, err
	}
	if _, _, ok := r.indexIn(component + "/binary-all"); !ok {
		return []packagesFile{own}, nil
	}
	all, err := o.packagesIn(ctx, s, r, component+"/binary-all")
	return []packagesFile{own, all}, err
}

// indexIn chooses the form of a Packages file that takes the fewest bytes.
func (r release) indexIn(dir string) (name string, f indexFile, ok bool) {
	for _, ext := range []string{".xz", ".zst", ".gz", ".bz2", ""} {
		name = dir + "/Packages" + ext
		if f, ok = r.files[name]; ok {
			return name, f, true
		}
	}
	return "", indexFile{}, false
}

// packagesIn fetches the Packages file of a directory.
func (o Options) packagesIn(ctx context.Context, s Source, r release, dir string) (packagesFile, error) {
	name, file, ok := r.indexIn(dir)
	if !ok {
		return packagesFile{}, fmt.Errorf("read %s: it lists no %s/Packages", s.inRelease(), dir)
	}
	root := s.URI + "/dists/" + s.Suite + "/"
	f := packagesFile{wanted{root + name, file}, path.Ext(name)}
	bar := o.progress(fmt.Sprintf("index of %s", s.Suite), file.size)
	defer bar.Close()
	if r.byHash {
		// By its hash a file is there while the archive is changed, too.
		byHash := f
		byHash.url = root + path.Dir(name) + "/by-hash/SHA256/" + file.sha256
		if err := o.fetch(ctx, byHash.wanted, bar); !missing(err) {
			return byHash, err
		}
	}
	return f, o.fetch(ctx, f.wanted, bar)
}

// readPackages adds what a Packages file has to an index.
func (o Options) readPackages(ctx context.Context, x *index, f packagesFile, suite, only string) error {
	body, err := o.open(ctx, f.wanted, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	plain, done, err := decompress(body, f.ext, maxIndex)
	if err != nil {
		return fmt.Errorf("read %s: %w", redact(f.url), err)
	}
	defer done()
	if err := x.addPackages(ctx, plain, suite, only); err != nil {
		return fmt.Errorf("read %s: %w", redact(f.url), err)
	}
	return nil
}

// suiteField is the field in which an index keeps the source's suite.
const suiteField = "X-Suite"

// addPackages reads a Packages file. A package that no one could fetch or that
// is for another architecture is passed over, and if only is not empty those of
// other names.
func (x *index) addPackages(ctx context.Context, r io.Reader, suite, only string) error {
	control := NewControlReader(r)
	control.Only = []string{"Package", "Version", "Architecture", "Multi-Arch", "Essential", "Priority",
		"Pre-Depends", "Depends", "Conflicts", "Breaks", "Provides", "Filename", "SHA256", "Size"}
	for {
		p, err := control.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if only != "" && p.Get("Package") != only {
			continue
		}
		info, err := newPackageInfo(p)
		if err != nil {
			line := control.line
			if len(p) > 0 {
				line = p[0].Line
			}
			return fmt.Errorf("line %d: package %.80q: %w", line, p.Get("Package"), err)
		}
		if info.arch != "all" && info.arch != x.arch {
			continue
		}
		if err := x.add(info, append(p, Field{Name: suiteField, Value: suite})); err != nil {
			return err
		}
	}
}

func newPackageInfo(p Paragraph) (*packageInfo, error) {
	v, err := ParseVersion(p.Get("Version"))
	if err != nil {
		return nil, err
	}
	info := &packageInfo{
		name: p.Get("Package"), version: v, arch: p.Get("Architecture"), multiArch: p.Get("Multi-Arch"),
		essential: p.Get("Essential") == "yes", priority: p.Get("Priority"),
		preDepends: p.Get("Pre-Depends"), depends: p.Get("Depends"),
		conflicts: p.Get("Conflicts"), breaks: p.Get("Breaks"),
		filename: p.Get("Filename"), sha256: p.Get("SHA256"), suite: p.Get(suiteField),
	}
	if !validName(info.name) || !validName(info.arch) {
		return nil, errors.New("its name or architecture is not valid")
	}
	if info.size, err = strconv.ParseInt(p.Get("Size"), 10, 64); err != nil || info.size < 0 {
		return nil, errors.New("its Size is not a number")
	}
	if !validSHA256(info.sha256) {
		return nil, errors.New("its SHA256 is not one")
	}
	if !validPoolPath(info.filename) {
		return nil, fmt.Errorf("its Filename %.80q leads outside the archive", info.filename)
	}
	provides, err := ParseDependencies(p.Get("Provides"))
	if err != nil {
		return nil, fmt.Errorf("Provides: %w", err)
	}
	for _, group := range provides {
		info.provides = append(info.provides, group...)
	}
	return info, nil
}

// validPoolPath says whether a Filename leads to a file beneath the archive's
// root by an address that needs no escapes.
func validPoolPath(s string) bool {
	return s != "" && s == path.Clean(s) && !path.IsAbs(s) && s != "." && s != ".." &&
		!strings.HasPrefix(s, "../") && only(s, "+-._~/:@,=%")
}

// decompress returns what r holds, by the ending of its name, up to limit
// bytes, beyond which reading is an error. The function given back ends the
// decoder.
func decompress(r io.Reader, ext string, limit int64) (io.Reader, func(), error) {
	var plain io.Reader
	done := func() {}
	switch ext {
	case ".xz":
		x, err := xz.NewReader(r, maxDictionary)
		if err != nil {
			return nil, nil, err
		}
		plain = x
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		plain, done = z, z.Close
	case ".gz":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		plain = z
	case ".bz2":
		plain = bzip2.NewReader(r)
	case "", ".tar":
		plain = r
	default:
		return nil, nil, fmt.Errorf("its compression %q is not known", ext)
	}
	return &boundedReader{r: plain, left: limit}, done, nil
}

// boundedReader gives an error where there is more than was bargained for.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errors.New("it unpacks to more than is allowed")
	}
	return n, err
}
