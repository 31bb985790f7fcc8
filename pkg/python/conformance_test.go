package python

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Vectors made by running the reference implementation. A small copy lies in
// testdata/conformance of the project; more are read from
// CONFORMANCE_DIR/python, by default ../shared/data/python from the project's
// root.

// projectRoot returns the folder with go.mod.
func projectRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}

// conformance runs one kind of vectors, the small copy and the large folder.
func conformance[T any](t *testing.T, kind string, run func(t *testing.T, file T)) {
	t.Helper()
	root := projectRoot(t)
	dir := os.Getenv("CONFORMANCE_DIR")
	if dir == "" {
		dir = filepath.Join("..", "shared", "data")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(root, dir)
	}
	for name, dir := range map[string]string{
		"small": filepath.Join(root, "testdata", "conformance", "python"),
		"full":  filepath.Join(dir, "python"),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, kind+".json")
			data, err := os.ReadFile(path)
			if os.IsNotExist(err) && name == "full" {
				t.Skipf("no vectors at %s; CONFORMANCE_DIR names another folder", path)
			}
			if err != nil {
				t.Fatal(err)
			}
			var file T
			if err := json.Unmarshal(data, &file); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			run(t, file)
		})
	}
}

func TestConformanceVersions(t *testing.T) {
	type vector struct {
		Kind, V, A, B      string
		Valid              bool
		Norm, Base, Public string
		CanonStrip         string `json:"canon_strip"`
		CanonNoStrip       string `json:"canon_nostrip"`
		Dev, Post, Local   *string
		Pre, Release       []string
		Epoch              json.Number
		RawDev             bool `json:"is_dev"`
		RawPost            bool `json:"is_post"`
		RawPre             bool `json:"is_pre"`
		Cmp                int
		Input              []string
		Groups             json.RawMessage
	}
	conformance(t, "versions", func(t *testing.T, file struct{ Cases []vector }) {
		for _, c := range file.Cases {
			switch c.Kind {
			case "parse":
				v, err := ParseVersion(c.V)
				if (err == nil) != c.Valid {
					t.Errorf("ParseVersion(%q) = %v, %v; valid is %v", c.V, v, err, c.Valid)
				}
				if err != nil || !c.Valid {
					continue
				}
				var pre []string
				if label, num := v.Pre(); label != "" {
					pre = []string{label, num}
				}
				got := []any{v.String(), v.String(), v.Trimmed().String(), v.Base().String(), v.Public().String(), v.Local(), v.Epoch(), v.Release(),
					pre, v.Post(), v.Dev(), v.IsPrerelease(), v.IsPostrelease(), v.IsDevrelease()}
				want := []any{c.Norm, c.CanonNoStrip, c.CanonStrip, c.Base, c.Public, deref(c.Local), c.Epoch.String(), c.Release,
					c.Pre, deref(c.Post), deref(c.Dev), c.RawPre, c.RawPost, c.RawDev}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%q (-want +got):\n%s", c.V, d)
				}
			case "cmp":
				if got := mustParse(t, c.A).Compare(mustParse(t, c.B)); got != c.Cmp {
					t.Errorf("%q <=> %q = %d, want %d", c.A, c.B, got, c.Cmp)
				}
			case "sorted":
				checkSorted(t, c.Input, c.Groups)
			default:
				t.Errorf("unknown kind %q", c.Kind)
			}
		}
	})
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func mustParse(t testing.TB, s string) Version {
	t.Helper()
	v, err := ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// checkSorted compares with groups of equal versions in ascending order.
func checkSorted(t *testing.T, input []string, raw json.RawMessage) {
	var groups [][]string
	if err := json.Unmarshal(raw, &groups); err != nil {
		t.Fatalf("groups: %v", err)
	}
	sorted := slices.Clone(input)
	slices.SortStableFunc(sorted, func(a, b string) int { return mustParse(t, a).Compare(mustParse(t, b)) })
	var got [][]string
	for i, s := range sorted {
		if i == 0 || !mustParse(t, s).Equal(mustParse(t, sorted[i-1])) {
			got = append(got, nil)
		}
		got[len(got)-1] = append(got[len(got)-1], s)
	}
	for _, g := range append(got, groups...) {
		slices.Sort(g)
	}
	if d := cmp.Diff(groups, got); d != "" {
		t.Errorf("sorted (-want +got):\n%s", d)
	}
}

func policy(p *bool) Prereleases {
	switch {
	case p == nil:
		return PrereleasesDefault
	case *p:
		return PrereleasesAllow
	}
	return PrereleasesDeny
}

func TestConformanceSpecifiers(t *testing.T) {
	type vector struct {
		Kind, Spec, V      string
		Valid, Contains    bool
		Prereleases        *bool
		Versions, Filtered []string
	}
	conformance(t, "specifiers", func(t *testing.T, file struct{ Cases []vector }) {
		for _, c := range file.Cases {
			set, err := ParseSpecifiers(c.Spec)
			if c.Kind == "contains" && (err == nil) != c.Valid || c.Kind == "filter" && err != nil {
				t.Errorf("ParseSpecifiers(%q): %v; valid is %v", c.Spec, err, c.Valid)
			}
			switch {
			case err != nil || c.Kind == "contains" && !c.Valid:
			case c.Kind == "contains":
				if got := set.Matches(c.V, policy(c.Prereleases)); got != c.Contains {
					t.Errorf("%q contains %q (pre-releases %v) = %v, want %v", c.Spec, c.V, policy(c.Prereleases), got, c.Contains)
				}
			case c.Kind == "filter":
				got := set.Filter(c.Versions, policy(c.Prereleases))
				if !slices.Equal(got, c.Filtered) {
					t.Errorf("%q filters %q (pre-releases %v)\n to %q\nnot %q", c.Spec, c.Versions, policy(c.Prereleases), got, c.Filtered)
				}
			default:
				t.Errorf("unknown kind %q", c.Kind)
			}
		}
	})
}

func TestConformanceMarkers(t *testing.T) {
	type vector struct {
		Marker, Env, Extra, Error string
		Str                       *string
		Valid                     bool
		Result                    *bool
	}
	type file struct {
		Cases        []vector
		Environments map[string]map[string]string
	}
	conformance(t, "markers", func(t *testing.T, f file) {
		for _, c := range f.Cases {
			m, err := ParseMarker(c.Marker)
			if (err == nil) != c.Valid {
				t.Errorf("ParseMarker(%q): %v; valid is %v", c.Marker, err, c.Valid)
			}
			if err != nil || !c.Valid {
				continue
			}
			if c.Str != nil && m.String() != *c.Str {
				t.Errorf("ParseMarker(%q).String() = %q, want %q", c.Marker, m, *c.Str)
			}
			if c.Env == "" {
				continue
			}
			got, err := m.Eval(environment(t, f.Environments[c.Env]), c.Extra)
			if (err != nil) != (c.Error != "") || c.Result != nil && got != *c.Result {
				want := c.Error
				if c.Result != nil {
					want = fmt.Sprint(*c.Result)
				}
				t.Errorf("%q in %s with extra %q = %v, %v; want %v", c.Marker, c.Env, c.Extra, got, err, want)
			}
		}
	})
}

func environment(t *testing.T, vars map[string]string) Environment {
	t.Helper()
	if len(vars) != 11 {
		t.Fatalf("%d variables in an environment", len(vars))
	}
	return Environment{
		ImplementationName:           vars["implementation_name"],
		ImplementationVersion:        vars["implementation_version"],
		OSName:                       vars["os_name"],
		PlatformMachine:              vars["platform_machine"],
		PlatformPythonImplementation: vars["platform_python_implementation"],
		PlatformRelease:              vars["platform_release"],
		PlatformSystem:               vars["platform_system"],
		PlatformVersion:              vars["platform_version"],
		PythonFullVersion:            vars["python_full_version"],
		PythonVersion:                vars["python_version"],
		SysPlatform:                  vars["sys_platform"],
	}
}

func TestConformanceRequirements(t *testing.T) {
	type vector struct {
		Req, Name, Canon, Specifier string
		Valid                       bool
		Extras                      []string
		CanonExtras                 []string `json:"canon_extras"`
		URL, Marker                 *string
	}
	conformance(t, "requirements", func(t *testing.T, file struct{ Cases []vector }) {
		for _, c := range file.Cases {
			r, err := ParseRequirement(c.Req)
			if (err == nil) != c.Valid {
				t.Errorf("ParseRequirement(%q): %v; valid is %v", c.Req, err, c.Valid)
			}
			if err != nil || !c.Valid {
				continue
			}
			extras := append([]string{}, r.Extras...)
			slices.Sort(extras)
			want := []any{c.Name, c.Canon, slices.Compact(extras), c.CanonExtras, c.Specifier, deref(c.URL), deref(c.Marker)}
			got := []any{r.Name, r.Key(), append([]string{}, c.Extras...), r.ExtraKeys(), r.Specifiers.String(), r.URL, r.Marker.String()}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%q (-want +got):\n%s", c.Req, d)
			}
		}
	})
}

func TestConformanceTags(t *testing.T) {
	type vector struct {
		Arch, Libc, Python string
		Tags               []string
	}
	arches := map[string]string{"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "i686": "386", "armv6l": "arm/v6", "loongarch64": "loong64"}
	conformance(t, "tags", func(t *testing.T, file struct{ Cases []vector }) {
		for _, c := range file.Cases {
			version, threads := strings.CutSuffix(c.Python, "t")
			target := Target{Python: mustParse(t, version), FreeThreaded: threads, OS: "linux", Arch: c.Arch, Libc: vectorLibc(t, c.Libc)}
			if arch, ok := arches[c.Arch]; ok {
				target.Arch = arch
			}
			var got []string
			for _, tag := range target.Tags() {
				got = append(got, tag.String())
			}
			if d := cmp.Diff(c.Tags, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", target, d)
			}
		}
	})
}

// vectorLibc reads "manylinux_2_36".
func vectorLibc(t *testing.T, s string) Libc {
	t.Helper()
	parts := strings.Split(s, "_")
	if len(parts) != 3 {
		t.Fatalf("libc %q", s)
	}
	libc := Libc{Name: map[string]string{"manylinux": "glibc", "musllinux": "musl"}[parts[0]]}
	var err1, err2 error
	libc.Major, err1 = strconv.Atoi(parts[1])
	libc.Minor, err2 = strconv.Atoi(parts[2])
	if libc.Name == "" || err1 != nil || err2 != nil {
		t.Fatalf("libc %q", s)
	}
	return libc
}

func TestConformanceWheelNames(t *testing.T) {
	type vector struct {
		Filename, Name, Version string
		Canonicalize, Result    *string
		Valid                   bool
		Tags                    []string
		Build                   []json.RawMessage
	}
	conformance(t, "wheelnames", func(t *testing.T, file struct{ Cases []vector }) {
		for _, c := range file.Cases {
			if c.Canonicalize != nil {
				if got := NormalizeName(*c.Canonicalize); got != *c.Result {
					t.Errorf("NormalizeName(%q) = %q, want %q", *c.Canonicalize, got, *c.Result)
				}
				continue
			}
			w, err := ParseWheelName(c.Filename)
			if (err == nil) != c.Valid {
				t.Errorf("ParseWheelName(%q): %v; valid is %v", c.Filename, err, c.Valid)
			}
			if err != nil || !c.Valid {
				continue
			}
			tags := map[string]bool{}
			for _, tag := range w.Tags {
				tags[tag.String()] = true
			}
			wantTags := map[string]bool{}
			for _, tag := range c.Tags {
				wantTags[tag] = true
			}
			num, rest := w.BuildTag()
			var wantNum json.Number
			var wantRest string
			if len(c.Build) == 2 {
				err1, err2 := json.Unmarshal(c.Build[0], &wantNum), json.Unmarshal(c.Build[1], &wantRest)
				if err1 != nil || err2 != nil {
					t.Fatalf("build %s", c.Build)
				}
			}
			got := []any{w.Name, w.Version.String(), tags, num, rest}
			if d := cmp.Diff([]any{c.Name, c.Version, wantTags, wantNum.String(), wantRest}, got); d != "" {
				t.Errorf("%q (-want +got):\n%s", c.Filename, d)
			}
		}
	})
}
