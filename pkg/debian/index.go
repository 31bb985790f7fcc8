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
}

func (p *packageInfo) String() string { return p.name + " " + p.version.String() }

// index is all packages of some sources for one architecture.
type index struct {
	arch     string
	byName   map[string][]*packageInfo // highest version first; of one version, the first source's
	provided map[string][]*packageInfo // by the names they provide
	// dates are the Dates of the suites' indexes, by suite.
	dates map[string]string
}

// load fetches, checks and reads the sources' indexes.
func (o Options) load(ctx context.Context, spec Spec, sources []Source) (*index, error) {
	type part struct {
		date     string
		packages []*packageInfo
	}
	parts := make([]part, len(sources))
	group, ctx := errgroup.WithContext(ctx)
	for i, s := range sources {
		group.Go(func() error {
			r, err := o.release(ctx, spec, s)
			if missing(err) && s.Optional {
				o.log().Warn(fmt.Sprintf("the mirror has no suite %s; going on without it", s.Suite))
				return nil
			}
			if err != nil {
				return err
			}
			parts[i].date = r.date.Format("2006-01-02T15:04:05Z")
			for _, component := range s.Components {
				list, err := o.packages(ctx, s, r, component, spec.Arch)
				if err != nil {
					return err
				}
				parts[i].packages = append(parts[i].packages, list...)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	x := &index{arch: spec.Arch, byName: map[string][]*packageInfo{}, provided: map[string][]*packageInfo{}, dates: map[string]string{}}
	for i, p := range parts {
		if p.date != "" {
			x.dates[sources[i].Suite] = p.date
		}
		for _, pkg := range p.packages {
			x.add(pkg)
		}
	}
	for _, list := range x.byName {
		slices.SortStableFunc(list, func(a, b *packageInfo) int { return b.version.Compare(a.version) })
	}
	return x, nil
}

func (x *index) add(p *packageInfo) {
	x.byName[p.name] = append(x.byName[p.name], p)
	for _, r := range p.provides {
		x.provided[r.Name] = append(x.provided[r.Name], p)
	}
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

// packages reads the indexes of one component of a source: the architecture's,
// and that of the packages for all where the archive keeps them apart.
func (o Options) packages(ctx context.Context, s Source, r release, component, arch string) ([]*packageInfo, error) {
	// A security archive calls its components updates/main and so on, and files them under main.
	if !slices.ContainsFunc(r.components, func(c string) bool { return path.Base(c) == component }) {
		return nil, fmt.Errorf("read %s: it has no component %q, but %s", s.inRelease(), component, strings.Join(r.components, ", "))
	}
	if !slices.Contains(r.architectures, arch) {
		return nil, fmt.Errorf("read %s: it has no architecture %q, but %s", s.inRelease(), arch, strings.Join(r.architectures, ", "))
	}
	list, err := o.packagesIn(ctx, s, r, component+"/binary-"+arch, arch)
	if err != nil || r.allInArch || !slices.Contains(r.architectures, "all") {
		return list, err
	}
	if _, _, ok := r.indexIn(component + "/binary-all"); !ok {
		return list, nil
	}
	all, err := o.packagesIn(ctx, s, r, component+"/binary-all", arch)
	return append(list, all...), err
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

func (o Options) packagesIn(ctx context.Context, s Source, r release, dir, arch string) ([]*packageInfo, error) {
	name, file, ok := r.indexIn(dir)
	if !ok {
		return nil, fmt.Errorf("read %s: it lists no %s/Packages", s.inRelease(), dir)
	}
	root := s.URI + "/dists/" + s.Suite + "/"
	w := wanted{root + name, file}
	bar := o.progress(fmt.Sprintf("index of %s", s.Suite), file.size)
	defer bar.Close()
	var body io.ReadCloser
	err := error(nil)
	if r.byHash {
		// By its hash a file is there while the archive is changed, too.
		body, err = o.open(ctx, wanted{root + path.Dir(name) + "/by-hash/SHA256/" + file.sha256, file}, bar)
	}
	if !r.byHash || missing(err) {
		body, err = o.open(ctx, w, bar)
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	plain, done, err := decompress(body, path.Ext(name), maxIndex)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", redact(w.url), err)
	}
	defer done()
	list, err := parsePackages(plain, s.Suite, arch)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", redact(w.url), err)
	}
	return list, nil
}

// parsePackages reads a Packages file. A package that no one could fetch or
// that is for another architecture is passed over.
func parsePackages(r io.Reader, suite, arch string) ([]*packageInfo, error) {
	control := NewControlReader(r)
	control.Only = []string{"Package", "Version", "Architecture", "Multi-Arch", "Essential", "Priority",
		"Pre-Depends", "Depends", "Conflicts", "Breaks", "Provides", "Filename", "SHA256", "Size"}
	var list []*packageInfo
	for {
		p, err := control.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		info, err := newPackageInfo(p)
		if err != nil {
			return nil, fmt.Errorf("line %d: package %.80q: %w", p[0].Line, p.Get("Package"), err)
		}
		if info.arch != "all" && info.arch != arch {
			continue
		}
		info.suite = suite
		list = append(list, info)
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
		filename: p.Get("Filename"), sha256: p.Get("SHA256"),
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
