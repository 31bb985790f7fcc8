package debian_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/debian/debiantest"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// cache keeps blobs in a directory, as a store does.
type cache string

func (c cache) file(h v1.Hash) string { return filepath.Join(string(c), h.Hex) }

func (c cache) Has(h v1.Hash) bool {
	_, err := os.Stat(c.file(h))
	return err == nil
}

func (c cache) Put(_ context.Context, r io.Reader, want *v1.Hash) (v1.Hash, int64, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return v1.Hash{}, 0, err
	}
	h, n, err := v1.SHA256(bytes.NewReader(b))
	if err == nil && want != nil && h != *want {
		err = errors.New("another digest")
	}
	if err == nil {
		err = os.WriteFile(c.file(h), b, 0o600)
	}
	return h, n, err
}

func (c cache) Blob(h v1.Hash) (io.ReadCloser, int64, error) {
	b, err := os.ReadFile(c.file(h))
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), err
}

// archive is a server with everything that a root needs, and a Spec that asks
// for its python3.
func archive(t *testing.T) (*debiantest.Server, debian.Spec, debian.Options) {
	t.Helper()
	s := debiantest.New(t)
	s.AddBase("trixie")
	s.AddPython("trixie", "3.13.5", "an interpreter", "https://index.example.org/")
	spec := debian.Spec{Suite: "trixie", Packages: []string{"python3"}, Arch: "amd64", Mirror: s.URL, SignedBy: s.KeyringFile()}
	return s, spec, debian.Options{Cache: cache(t.TempDir()), Scratch: t.TempDir(), Now: debiantest.Date.Add(time.Hour)}
}

func resolve(t *testing.T, spec debian.Spec, o debian.Options) debian.Lock {
	t.Helper()
	lock, err := debian.Resolve(t.Context(), spec, o)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func assemble(t *testing.T, spec debian.Spec, lock debian.Lock, o debian.Options) *debian.Root {
	t.Helper()
	root, err := debian.Assemble(t.Context(), spec, lock, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	})
	return root
}

func TestResolve(t *testing.T) {
	_, spec, o := archive(t)
	lock := resolve(t, spec, o)
	var system, packages []string
	for _, p := range lock.Packages {
		if p.OS {
			system = append(system, p.String())
		} else {
			packages = append(packages, p.String())
		}
	}
	if diff := cmp.Diff([]string{"base-files 13.8+deb13u1", "ca-certificates 20260601", "libc-bin 2.41-12", "libc6 2.41-12", "libstdc++6 14.2.0-19",
		"media-types 13.0.0", "netbase 6.5", "tzdata 2026b-0+deb13u1", "zlib1g 1:1.3.dfsg-1"}, system); diff != "" {
		t.Errorf("what every root has (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"libpython3.13-stdlib 3.13.5-2", "python3 3.13.5-1", "python3.13 3.13.5-2"}, packages); diff != "" {
		t.Errorf("what was asked for (-want +got):\n%s", diff)
	}
	if p, ok := lock.Package("python3"); !ok || p.Path != "pool/main/p/python3/python3_3.13.5-1_all.deb" || p.Suite != "trixie" || p.Arch != "all" {
		t.Errorf("python3 is locked as %+v", p)
	}
	if diff := cmp.Diff(map[string]string{"trixie": "2026-11-01T12:00:00Z"}, lock.Dates); diff != "" {
		t.Errorf("dates (-want +got):\n%s", diff)
	}
}

func TestHighestVersionOfAllSuitesWins(t *testing.T) {
	s, spec, o := archive(t)
	s.Add("trixie-updates", debiantest.Package{Name: "tzdata", Version: "2026c-0+deb13u1"})
	s.Add("trixie-security", debiantest.Package{Name: "libc6", Version: "2.41-12+deb13u1"})
	s.Add("trixie-security", debiantest.Package{Name: "netbase", Version: "6.4"})
	security := s.Suite("trixie-security")
	security.Name, security.Components = "stable-security", []string{"main"}
	security.Codename = "trixie-security"
	spec.Mirror += "," + s.URL
	lock := resolve(t, spec, o)
	for name, want := range map[string]string{"tzdata": "2026c-0+deb13u1 trixie-updates", "libc6": "2.41-12+deb13u1 trixie-security", "netbase": "6.5 trixie"} {
		if p, _ := lock.Package(name); p.Version+" "+p.Suite != want {
			t.Errorf("%s: %s %s, want %s", name, p.Version, p.Suite, want)
		}
	}
}

func TestHostSourcesServeAnySuite(t *testing.T) {
	s, spec, o := archive(t)
	spec.Mirror, spec.SignedBy = "", ""
	o.Keyring = debian.Keyring{s.Keyring()}
	host, err := debian.ReadSources(fstest.MapFS{"etc/apt/sources.list": {Data: []byte("deb " + s.URL + " bookworm main\ndeb " + s.URL + " bookworm-security main\n")}})
	if err != nil {
		t.Fatal(err)
	}
	o.Host = host
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	resolve(t, spec, o) // there is no trixie-security; it was guessed
	if !strings.Contains(log.String(), "no suite trixie-security") {
		t.Errorf("no warning in the log:\n%s", &log)
	}
	spec.Suite = "bookworm" // which the host says is there
	if _, err := debian.Resolve(t.Context(), spec, o); err == nil {
		t.Error("a suite that is not there is passed over")
	}
}

func TestAssembledRoot(t *testing.T) {
	_, spec, o := archive(t)
	root := assemble(t, spec, resolve(t, spec, o), o)
	all := layers.Overlay(root.OS, root.Packages)
	for path, want := range map[string]string{
		"etc/ssl/certs/ca-certificates.crt":  debiantest.Certificate,
		"usr/lib/ssl/cert.pem":               debiantest.Certificate,
		"etc/localtime":                      "TZif2",
		"etc/timezone":                       "Etc/UTC\n",
		"bin/python":                         "an interpreter",
		"etc/services":                       "http 80/tcp\n",
		"usr/share/doc/base-files/copyright": "GPL\n",
	} {
		if b, err := all.ReadFile(path, 1<<20); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	for path, want := range map[string]uint32{"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700, "home/nonroot": 0o700, "run": 0o755, "usr/bin/python3.13": 0o755} {
		if e, ok := all.Lookup(path); !ok || e.Mode != want {
			t.Errorf("%s: mode %o, %v", path, e.Mode, ok)
		}
	}
	if e, _ := all.Lookup("home/nonroot"); e.UID != debian.NonrootID || e.GID != debian.NonrootID {
		t.Errorf("home of nonroot belongs to %d:%d", e.UID, e.GID)
	}
	for _, gone := range []string{"usr/bin/mawk", "usr/bin/openssl", "usr/bin/debconf", "usr/share/doc/base-files/README"} {
		if _, ok := all.Lookup(gone); ok {
			t.Errorf("%s is there", gone)
		}
	}
	b, err := root.Packages.ReadFile("var/lib/dpkg/status.d/python3", 1<<20)
	if err != nil || !strings.HasPrefix(string(b), "Package: python3\nVersion: 3.13.5-1\n") {
		t.Errorf("status of python3: %q, %v", b, err)
	}
	if _, ok := root.OS.Lookup("var/lib/dpkg/status.d/tzdata.md5sums"); !ok {
		t.Error("there are no checksums of tzdata")
	}
	if b, err := all.ReadFile("etc/passwd", 1<<20); err != nil || !strings.Contains(string(b), "\nnonroot:x:65532:65532:") {
		t.Errorf("passwd: %q, %v", b, err)
	}
}

func TestAssemblyIsDeterministic(t *testing.T) {
	s, spec, o := archive(t)
	digest := func() (d [2]layers.Descriptor) {
		root := assemble(t, spec, resolve(t, spec, o), o)
		for i, tree := range []layers.Tree{root.OS, root.Packages} {
			var err error
			if d[i], err = layers.Write(t.Context(), io.Discard, tree, layers.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		return d
	}
	first := digest()
	o.Cache, o.Scratch = cache(t.TempDir()), t.TempDir()
	s.Suite("trixie").Date = debiantest.Date.Add(time.Minute)
	if second := digest(); second != first {
		t.Errorf("%v, then %v", first, second)
	}
}

func TestLockNeedsNoIndexAndCacheNoMirror(t *testing.T) {
	s, spec, o := archive(t)
	lock := resolve(t, spec, o)
	s.Requests()
	assemble(t, spec, lock, o)
	for _, path := range s.Requests() {
		if strings.HasPrefix(path, "dists/") {
			t.Errorf("%s was asked for", path)
		}
	}
	spec.Mirror = "http://127.0.0.1:1/debian"
	assemble(t, spec, lock, o)
	spec.Mirror, spec.SignedBy = "", ""
	assemble(t, spec, lock, o) // no mirror is known at all

	o.Cache = cache(t.TempDir())
	_, err := debian.Assemble(t.Context(), spec, lock, o)
	if none := new(debian.NoMirrorError); !errors.As(err, &none) {
		t.Errorf("without cache and mirror: %v", err)
	}
	lock.Rules++
	if _, err := debian.Assemble(t.Context(), spec, lock, o); err == nil {
		t.Error("a lock for other rules is taken")
	}
}

func TestIndexesAreFetchedOnce(t *testing.T) {
	s, spec, o := archive(t)
	resolve(t, spec, o)
	s.Requests()
	resolve(t, spec, o)
	want := map[string]bool{"dists/trixie/InRelease": true, "dists/trixie-updates/InRelease": true}
	for _, path := range s.Requests() {
		if !want[path] {
			t.Errorf("%s was asked for again", path)
		}
	}
}

func TestFile(t *testing.T) {
	_, spec, o := archive(t)
	const path = "usr/lib/python3/dist-packages/pip/_internal/models/index.py"
	b, err := debian.File(t.Context(), spec, "python3-pip", path, 1<<20, o)
	if err != nil || !strings.Contains(string(b), `PackageIndex("https://index.example.org/"`) {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := debian.File(t.Context(), spec, "python3-pip", "nothing", 1<<20, o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	_, err = debian.File(t.Context(), spec, "python4", path, 1<<20, o)
	if none := new(debian.UnsatisfiableError); !errors.As(err, &none) {
		t.Errorf("a package that is not there: %v", err)
	}
	if left, err := os.ReadDir(o.Scratch); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

func TestOtherLayoutsOfAnArchive(t *testing.T) {
	for name, change := range map[string]func(*debiantest.Suite){
		"without by-hash":            func(u *debiantest.Suite) { u.NoByHash = true },
		"under an alias":             func(u *debiantest.Suite) { u.Name, u.Codename = "stable", "trixie" },
		"all in an index of its own": func(u *debiantest.Suite) { u.SplitAll = true },
	} {
		t.Run(name, func(t *testing.T) {
			s := debiantest.New(t)
			change(s.Suite("trixie"))
			s.AddBase("trixie")
			resolve(t, debian.Spec{Suite: "trixie", Arch: "arm64", Mirror: s.URL, SignedBy: s.KeyringFile()},
				debian.Options{Cache: cache(t.TempDir()), Now: debiantest.Date})
		})
	}
}

func TestTamperedArchive(t *testing.T) {
	replace := func(suffix, from, to string) func(string, []byte) []byte {
		return func(path string, body []byte) []byte {
			if !strings.HasSuffix(path, suffix) {
				return body
			}
			return bytes.Replace(body, []byte(from), []byte(to), 1)
		}
	}
	flip := func(part string) func(string, []byte) []byte {
		return func(path string, body []byte) []byte {
			if !strings.Contains(path, part) {
				return body
			}
			body = bytes.Clone(body)
			body[len(body)/2] ^= 1
			return body
		}
	}
	for name, c := range map[string]struct {
		edit   func(string, []byte) []byte
		suite  func(*debiantest.Suite)
		spec   func(*debian.Spec)
		target any
		want   string
	}{
		"InRelease changed":         {edit: replace("InRelease", "Origin: Debian", "Origin: Debiaan"), target: new(*debian.SignatureError), want: "signature"},
		"text before the signature": {edit: func(p string, b []byte) []byte { return append([]byte("Suite: trixie\n"), b...) }, target: new(*debian.SignatureError), want: "nothing else"},
		"text after the signature":  {edit: func(p string, b []byte) []byte { return append(bytes.Clone(b), "Suite: trixie\n"...) }, target: new(*debian.SignatureError), want: "nothing else"},
		"no signature":              {edit: replace("InRelease", "-----BEGIN PGP SIGNED MESSAGE-----", ""), target: new(*debian.SignatureError), want: "clear-signed"},
		"another key":               {spec: func(s *debian.Spec) { s.SignedBy = "" }, target: new(*debian.SignatureError), want: "unknown entity"},
		"Packages changed":          {edit: flip("by-hash"), target: new(*debian.ContentError), want: "SHA-256"},
		"Packages longer": {edit: func(p string, b []byte) []byte {
			if strings.Contains(p, "by-hash") {
				b = append(bytes.Clone(b), 0)
			}
			return b
		}, target: new(*debian.ContentError), want: "size"},
		"a .deb changed": {edit: flip("python3.13_"), target: new(*debian.ContentError), want: "python3.13_3.13.5-2_all.deb: its SHA-256"},
		"a .deb cut": {edit: func(p string, b []byte) []byte {
			if strings.Contains(p, "python3.13_") {
				b = b[:99]
			}
			return b
		}, target: new(*debian.ContentError), want: "size"},
		"a .deb gone": {edit: func(p string, b []byte) []byte {
			if strings.Contains(p, "python3.13_") {
				b = nil
			}
			return b
		}, target: new(*debian.GoneError), want: "python3.13 3.13.5-2"},
		"another suite":        {suite: func(u *debiantest.Suite) { u.Name, u.Codename = "bookworm", "bookworm" }, want: `of suite "bookworm"`},
		"expired":              {suite: func(u *debiantest.Suite) { u.ValidUntil = debiantest.Date.Add(time.Minute) }, target: new(*debian.ValidityError), want: "valid until"},
		"from the future":      {suite: func(u *debiantest.Suite) { u.Date = debiantest.Date.Add(48 * time.Hour) }, target: new(*debian.ValidityError), want: "in the future"},
		"no such architecture": {spec: func(s *debian.Spec) { s.Arch = "s390x" }, want: "amd64, arm64"},
		"no such component":    {spec: func(s *debian.Spec) { s.Components = []string{"contrib"} }, want: `no component "contrib"`},
		"no such package":      {spec: func(s *debian.Spec) { s.Packages = []string{"python4"} }, target: new(*debian.UnsatisfiableError), want: "python4"},
	} {
		t.Run(name, func(t *testing.T) {
			s, spec, o := archive(t)
			if c.suite != nil {
				c.suite(s.Suite("trixie"))
			}
			if c.spec != nil {
				c.spec(&spec)
			}
			s.Edit = c.edit
			lock, err := debian.Resolve(t.Context(), spec, o)
			if err == nil {
				_, err = debian.Assemble(t.Context(), spec, lock, o)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || (c.target != nil && !errors.As(err, c.target)) {
				t.Errorf("%v (%T), want %q", err, err, c.want)
			}
			if left, err := os.ReadDir(o.Scratch); err != nil || len(left) > 0 {
				t.Errorf("%v are left, %v", left, err)
			}
		})
	}
}

func TestExpiryCanBeIgnored(t *testing.T) {
	s, spec, o := archive(t)
	s.Suite("trixie").ValidUntil = debiantest.Date.Add(time.Minute)
	spec.IgnoreExpiry = true
	resolve(t, spec, o)
}

func TestSnapshotIsValidInItsTime(t *testing.T) {
	s, spec, o := archive(t)
	s.Suite("trixie").ValidUntil = debiantest.Date.Add(time.Minute)
	server := http.NewServeMux()
	server.Handle("/archive/debian/20261101T120000Z/", http.StripPrefix("/archive/debian/20261101T120000Z", prefixed{s}))
	spec.Mirror = serve(t, server) + "/archive/debian"
	spec.Snapshot = "20261101T120000Z"
	o.Now = debiantest.Date.AddDate(5, 0, 0)
	resolve(t, spec, o)
}

// serve serves a handler on loopback and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// prefixed serves an archive at the root.
type prefixed struct{ s *debiantest.Server }

func (p prefixed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.URL.Path = "/debian" + r.URL.Path
	p.s.ServeHTTP(w, r)
}

func TestMirrorThatFailsForAMoment(t *testing.T) {
	s, spec, o := archive(t)
	var n atomic.Int64
	spec.Mirror = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 4: // breaks off in the middle
			w.Header().Set("Content-Length", "1000000")
			w.Write([]byte("x"))
		default:
			s.ServeHTTP(w, r)
		}
	})) + "/debian"
	assemble(t, spec, resolve(t, spec, o), o)
}

func TestInterruptedAssembly(t *testing.T) {
	s, spec, o := archive(t)
	lock := resolve(t, spec, o)
	ctx, cancel := context.WithCancel(t.Context())
	s.Edit = func(path string, body []byte) []byte { cancel(); return body }
	if _, err := debian.Assemble(ctx, spec, lock, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(o.Scratch); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

func TestProgress(t *testing.T) {
	_, spec, o := archive(t)
	lock := resolve(t, spec, o)
	var total, moved, closed atomic.Int64
	o.Progress = func(_ string, n int64) io.WriteCloser {
		total.Store(n)
		return &bar{&moved, &closed}
	}
	for range 2 { // from the mirror, then from the cache
		moved.Store(0)
		assemble(t, spec, lock, o)
		if moved.Load() != total.Load() || total.Load() == 0 {
			t.Errorf("the bar moved by %d of %d", moved.Load(), total.Load())
		}
	}
	if closed.Load() != 2 {
		t.Errorf("bars were closed %d times", closed.Load())
	}
}

type bar struct{ moved, closed *atomic.Int64 }

func (b *bar) Write(p []byte) (int, error) { b.moved.Add(int64(len(p))); return len(p), nil }
func (b *bar) Close() error                { b.closed.Add(1); return nil }
