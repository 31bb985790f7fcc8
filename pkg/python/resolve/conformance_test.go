package resolve_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
	"github.com/google/go-cmp/cmp"
)

// projectRoot is the project's root, from the folder of this package.
var projectRoot = filepath.Join("..", "..", "..")

// conformanceDir is the folder of the test vectors.
func conformanceDir() string {
	dir := os.Getenv("CONFORMANCE_DIR")
	if dir == "" {
		dir = filepath.Join("..", "shared", "data")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(projectRoot, dir)
	}
	return dir
}

// scenario is one of packse's, with what uv answered.
type scenario struct {
	ID          string
	Environment struct{ Python string }
	Options     struct {
		Python      string
		Platform    string   `json:"python_platform"`
		Prereleases bool     `json:"prereleases"`
		NoBinary    []string `json:"no_binary"`
		NoBuild     []string `json:"no_build"`
	} `json:"resolver_options"`
	Root     struct{ Requires []string }
	Packages map[string]map[string]struct {
		Files          []string
		Metadata       string
		RequiresPython string `json:"requires_python"`
		Yanked         bool
	}
	UV map[string]struct {
		OK     bool
		Pins   map[string]string
		Stderr string
	}
}

// modes are what may be done with sdists, and which answer of uv's it is
// compared with.
var modes = []struct {
	name, reference string
	options         func(*resolve.Options)
}{
	{"with sdists", "default", func(o *resolve.Options) { o.Build = true }},
	{"only binary", "only-binary", func(o *resolve.Options) { o.Build, o.OnlyBinary = true, []string{":all:"} }},
	{"without a builder", "only-binary", func(*resolve.Options) {}},
}

// unbuildable are the packages of a scenario that can be had only by building:
// uv locks the sdist of a package that is --no-binary even with --only-binary
// :all:. Where nothing can be built such a package cannot be had at all, so an
// answer without it, or none, is the right one.
func unbuildable(s scenario, o resolve.Options, pins map[string]string) bool {
	return !o.Build && slices.ContainsFunc(s.Options.NoBinary, func(name string) bool { return name == ":all:" || pins[name] != "" })
}

// TestConformancePackse runs resolution scenarios against an index over HTTP,
// with and without sdists. The reference is what uv answers for one environment.
//
// packse's own verdict is another than uv's in eight scenarios. In all of them
// uv is followed, which is what its users see:
//   - fork/*: the verdict is that of one resolution for all environments at
//     once. Here each target is resolved for itself, and a conflict behind a
//     marker that does not hold is none.
//   - prereleases/package-prerelease-specified-mixed-available and
//     .../package-prereleases-specifier-boundary: a specifier that names a
//     pre-release makes pre-releases possible, not preferred; that is
//     PreIfNamed, pip's rule.
//   - prereleases/transitive-*: where nothing but a pre-release fits, it is
//     taken also for a package that only another package asks for (PEP 440,
//     "Handling of pre-releases"), as pip does.
func TestConformancePackse(t *testing.T) {
	for name, dir := range map[string]string{
		"small": filepath.Join(projectRoot, "testdata", "conformance", "packse"),
		"full":  filepath.Join(conformanceDir(), "packse"),
	} {
		t.Run(name, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(dir, "*.json"))
			if err != nil {
				t.Fatal(err)
			}
			if len(files) == 0 && name == "full" {
				t.Skipf("no scenarios in %s; CONFORMANCE_DIR names another folder", dir)
			}
			if len(files) == 0 {
				t.Fatalf("no scenarios in %s", dir)
			}
			for _, file := range files {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				var s scenario
				if err := json.Unmarshal(data, &s); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				t.Run(s.ID, func(t *testing.T) { runScenario(t, s) })
			}
		})
	}
}

func runScenario(t *testing.T, s scenario) {
	server := indextest.NewServer(t)
	server.Metadata = true
	for name, versions := range s.Packages {
		server.AddProject(name)
		for version, p := range versions {
			for _, filename := range p.Files {
				f := indextest.File{
					Project: name, Filename: filename, Metadata: p.Metadata, RequiresPython: p.RequiresPython,
					Yanked: p.Yanked,
				}
				if strings.HasSuffix(filename, ".whl") {
					_, f.Content = indextest.Wheel(indextest.Spec{Name: name, Version: version, Metadata: p.Metadata})
				} else {
					f.Content = []byte(p.Metadata)
				}
				server.Add(f)
			}
		}
	}
	source := client(t, server)
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			o := scenarioOptions(t, s)
			o.Source = source
			mode.options(&o)
			resolution, err := resolve.Resolve(context.Background(), o)
			var unsatisfiable *resolve.UnsatisfiableError
			if err != nil && !errors.As(err, &unsatisfiable) {
				t.Fatal(err)
			}
			want := s.UV[mode.reference]
			if err != nil {
				t.Logf("%v\nhint: %s\nuv: %s", err, unsatisfiable.Hint(), want.Stderr)
			} else if err := resolution.Lock.Validate(); err != nil {
				t.Error(err)
			}
			got := pins(resolution)
			agrees := want.OK == (err == nil) && (!want.OK || cmp.Equal(want.Pins, got))
			if unbuildable(s, o, want.Pins) {
				if unbuildable(s, o, got) {
					t.Errorf("%v cannot be had without building %v", got, s.Options.NoBinary)
				}
				return
			}
			if !agrees {
				t.Errorf("uv: ok %t, %v; we: %v, %v", want.OK, want.Pins, got, err)
			}
		})
	}
}

func scenarioOptions(t *testing.T, s scenario) resolve.Options {
	version := s.Environment.Python
	if s.Options.Python != "" {
		version = s.Options.Python
	}
	o := resolve.Options{
		Target:   target(t, version, "amd64", "glibc", 28),
		NoBinary: s.Options.NoBinary, OnlyBinary: s.Options.NoBuild,
	}
	switch platform := s.Options.Platform; platform {
	case "":
	case "x86_64-manylinux2014":
		o.Target.Libc.Minor = 17
	default:
		t.Fatalf("platform %s: not known to this test", platform)
	}
	if s.Options.Prereleases {
		o.Pre = resolve.PreAllow
	}
	for _, text := range s.Root.Requires {
		o.Requirements = append(o.Requirements, requirement(t, text))
	}
	return o
}

func target(t testing.TB, version, arch, libc string, minor int) python.Target {
	t.Helper()
	v, err := python.ParseVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	major := 2
	if libc == "musl" {
		major = 1
	}
	return python.Target{Python: v, OS: "linux", Arch: arch, Libc: python.Libc{Name: libc, Major: major, Minor: minor}}
}

func requirement(t testing.TB, text string) python.FileRequirement {
	t.Helper()
	r, err := python.ParseRequirement(text)
	if err != nil {
		t.Fatal(err)
	}
	return python.FileRequirement{Requirement: r}
}

// client reads an index whose sdists are nothing but their PKG-INFO.
func client(t testing.TB, server *indextest.Server) *index.Client {
	t.Helper()
	c, err := index.New(index.Options{
		Indexes: []index.Index{{URL: server.URL}}, Cache: indextest.NewCache(t), HTTP: server.Client(),
		Sdist: func(path, _ string) (python.Metadata, bool, error) {
			text, err := os.ReadFile(path)
			if err != nil {
				return python.Metadata{}, false, err
			}
			m, err := python.ParseMetadata(text)
			return m, err == nil && m.IsStatic("Requires-Dist"), err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pins(r resolve.Resolution) map[string]string {
	out := map[string]string{}
	for _, l := range slices.Concat(r.Lock.Packages, r.Kept) {
		out[l.Name] = l.Version.String()
	}
	return out
}
