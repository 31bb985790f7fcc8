package resolve_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
	"github.com/google/go-cmp/cmp"
)

// reqset is a real set of requirements with what uv answered.
type reqset struct {
	Name         string
	Requirements string
	ExcludeNewer time.Time `json:"exclude_newer"`
	Results      []struct {
		Python, Platform string
		OK               bool
		Pins             map[string]string
		Stderr           string
	}
}

// reqsets reads the sets below CONFORMANCE_DIR, for tests that need a real
// index: BOYABUILD_TEST_INDEX is the URL of one with all public packages.
func reqsets(t testing.TB) (sets []reqset, indexURL string) {
	t.Helper()
	indexURL = os.Getenv("BOYABUILD_TEST_INDEX")
	if indexURL == "" {
		t.Skip("BOYABUILD_TEST_INDEX names no index")
	}
	files, err := filepath.Glob(filepath.Join(conformanceDir(), "reqsets", "*.json"))
	if err != nil || len(files) == 0 {
		t.Skipf("no sets in %s: %v", conformanceDir(), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var s reqset
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		sets = append(sets, s)
	}
	return sets, indexURL
}

func (s reqset) options(t testing.TB, c *index.Client, version, platform string) resolve.Options {
	o := resolve.Options{Source: c, ExcludeNewer: s.ExcludeNewer}
	arch, libc, minor := "amd64", "glibc", 28
	if strings.HasPrefix(platform, "aarch64") {
		arch = "arm64"
	}
	if strings.HasSuffix(platform, "musl") {
		libc, minor = "musl", 2
	}
	o.Target = target(t, version, arch, libc, minor)
	f, err := python.ReadRequirements("in", func(string) ([]byte, error) { return []byte(s.Requirements), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Requirements, o.Constraints = f.Requirements, f.Constraints
	return o
}

// newReader is a client as a new process has it, on a cache that stays.
func newReader(t testing.TB, indexURL string, cache index.Cache) *index.Client {
	c, err := index.New(index.Options{Indexes: []index.Index{{URL: indexURL}}, Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestReqsets compares with what uv answered.
func TestReqsets(t *testing.T) {
	sets, indexURL := reqsets(t)
	cache := indextest.NewCache(t)
	for _, s := range sets {
		t.Run(s.Name, func(t *testing.T) {
			for _, want := range s.Results {
				t.Run(want.Python+" "+want.Platform, func(t *testing.T) {
					r, err := resolve.Resolve(context.Background(), s.options(t, newReader(t, indexURL, cache), want.Python, want.Platform))
					var unsatisfiable *resolve.UnsatisfiableError
					if err != nil && !errors.As(err, &unsatisfiable) {
						t.Fatal(err)
					}
					if err != nil {
						t.Logf("%v\nhint: %s\nuv: %s", err, unsatisfiable.Hint(), want.Stderr)
					}
					if want.OK != (err == nil) {
						t.Errorf("uv: ok %t; we: %v", want.OK, err)
					}
					if diff := cmp.Diff(want.Pins, pins(r)); want.OK && diff != "" {
						t.Error(diff)
					}
				})
			}
		})
	}
}

// BenchmarkReqsets resolves with all that is needed in the cache, each time as
// a new process would.
func BenchmarkReqsets(b *testing.B) {
	sets, indexURL := reqsets(b)
	for _, s := range sets {
		want := s.Results[0]
		cache := indextest.NewCache(b)
		b.Run(s.Name, func(b *testing.B) {
			// Fills the cache.
			_, err := resolve.Resolve(context.Background(), s.options(b, newReader(b, indexURL, cache), want.Python, want.Platform))
			if want.OK && err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				r, err := resolve.Resolve(context.Background(), s.options(b, newReader(b, indexURL, cache), want.Python, want.Platform))
				if want.OK && err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(r.Lock.Packages)), "packages")
			}
		})
	}
}
