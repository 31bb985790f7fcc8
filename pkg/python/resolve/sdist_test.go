package resolve_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ask resolves requirements separated by spaces ("-c" before a constraint, "-o"
// before an override) in a world, and returns the answer with the file names of
// sdists, or the error.
func ask(t *testing.T, world []string, requires string, o resolve.Options) (resolve.Resolution, error) {
	t.Helper()
	s := indextest.NewServer(t)
	makeWorld(t, s, world...)
	o.Source = client(t, s)
	if o.Target.OS == "" {
		o.Target = target(t, "3.13", "amd64", "glibc", 28)
	}
	list := &o.Requirements
	for _, word := range strings.Fields(requires) {
		switch word {
		case "-c":
			list = &o.Constraints
			continue
		case "-o":
			list = &o.Overrides
			continue
		}
		*list = append(*list, requirement(t, strings.ReplaceAll(word, "~", " ")))
		list = &o.Requirements
	}
	return resolve.Resolve(context.Background(), o)
}

func told(r resolve.Resolution, err error) string {
	var unsatisfiable *resolve.UnsatisfiableError
	if errors.As(err, &unsatisfiable) {
		return err.Error() + "\nhint: " + unsatisfiable.Hint()
	}
	if err != nil {
		return err.Error()
	}
	return answer(r)
}

func TestSdists(t *testing.T) {
	type options = resolve.Options
	const macOnly = "tag=cp313-cp313-macosx_11_0_arm64"
	tests := []struct {
		name     string
		world    []string
		requires string
		options  options
		want     string // the answer, with "*" behind what is built; or a part of the error
	}{
		{"newest, though an sdist", []string{"a 1.0", "a 2.0 sdist: b", "b 1"}, "a", options{Build: true}, "a==2.0* b==1"},
		{"the wheel of a version before its sdist", []string{"a 2.0 sdist", "a 2.0"}, "a", options{Build: true}, "a==2.0"},
		{"a wheel for another platform", []string{"a 2.0 " + macOnly, "a 2.0 sdist"}, "a", options{Build: true}, "a==2.0*"},
		{"no builder", []string{"a 1.0", "a 2.0 sdist"}, "a", options{}, "a==1.0"},
		{"prefer binary", []string{"a 1.0", "a 2.0 sdist"}, "a", options{Build: true, PreferBinary: true}, "a==1.0"},
		{"prefer binary, and none fits", []string{"a 1.0", "a 2.0 sdist"}, "a>1", options{Build: true, PreferBinary: true}, "a==2.0*"},
		{"prefer binary, but not a pre-release", []string{"a 1.0 sdist", "a 2.0b1"}, "a", options{Build: true, PreferBinary: true}, "a==1.0*"},
		{"no binary", []string{"a 1.0", "a 1.0 sdist", "a 2.0"}, "a", options{Build: true, NoBinary: []string{"a"}}, "a==1.0*"},
		{"no binary, and no sdist", []string{"a 2.0"}, "a", options{Build: true, NoBinary: []string{"a"}}, "a==2.0 has no sdist, and --no-binary forbids its wheels"},
		{"only binary", []string{"a 1.0", "a 2.0 sdist"}, "a", options{Build: true, OnlyBinary: []string{"a"}}, "a==1.0"},
		{"only binary, and no wheel", []string{"a 2.0 sdist"}, "a", options{Build: true, OnlyBinary: []string{":all:"}}, "a==2.0 has only an sdist and no wheel (--only-binary)"},
		{"Requires-Python of an sdist", []string{"a 1.0 sdist", "a 2.0 sdist python=>=3.14"}, "a", options{Build: true}, "a==1.0*"},
		{"yanked", []string{"a 1.0 sdist", "a 2.0 sdist yanked"}, "a", options{Build: true}, "a==1.0*"},
		{"upload time", []string{"a 1.0 sdist day=1", "a 2.0 sdist day=3"}, "a", options{Build: true, ExcludeNewer: day(2)}, "a==1.0*"},
		{"dynamic metadata", []string{"a 1.0", "a 2.0 sdist dynamic"}, "a", options{Build: true}, "a==1.0"},
		{"dynamic metadata only", []string{"a 2.0 sdist dynamic"}, "a", options{Build: true}, "a==2.0 has only an sdist that does not say what it needs until it is built"},
		{"extras of an sdist", []string{"a 2.0 sdist extra=x: b; extra == 'x'", "b 1"}, "a[x]", options{Build: true}, "a==2.0* b==1"},
		{"a format that no lock can name", []string{"a 1.0", "a 2.0 sdist=.tar.bz2"}, "a", options{Build: true}, "a==1.0"},
		{"tar.gz before zip", []string{"a 2.0 sdist=.zip", "a 2.0 sdist"}, "a", options{Build: true}, "a==2.0*"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ask(t, tt.world, tt.requires, tt.options)
			if err != nil {
				if got := told(r, err); !strings.Contains(got, tt.want) {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				return
			}
			var out []string
			for _, l := range r.Lock.Packages {
				text := l.Name + "==" + l.Version.String()
				if l.Sdist.Filename != "" {
					text += "*"
					if l.Wheel.Filename != "" || l.Sdist.Hashes["sha256"] == "" || !strings.HasSuffix(l.Sdist.Filename, ".tar.gz") {
						t.Errorf("locked: %+v", l)
					}
				}
				out = append(out, text)
			}
			if got := strings.Join(out, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if err := r.Lock.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSdistsAreNotReadAhead resolves where many sdists could be looked at and
// one must be.
func TestSdistsAreNotReadAhead(t *testing.T) {
	s := indextest.NewServer(t)
	makeWorld(t, s, "a 1.0: b<3", "a 2.0 sdist: b<3", "b 1.0 sdist", "b 2.0 sdist", "b 3.0 sdist", "c 1.0: a, b")
	r, err := resolve.Resolve(context.Background(), resolve.Options{
		Target: target(t, "3.13", "amd64", "glibc", 28), Source: client(t, s), Build: true, Requirements: []python.FileRequirement{requirement(t, "c")},
	})
	if err != nil || answer(r) != "a==2.0 b==2.0 c==1.0" {
		t.Fatalf("%s, %v", answer(r), err)
	}
	var fetched []string
	for _, p := range s.Paths() {
		if name, ok := strings.CutPrefix(p, "/files/"); ok && strings.HasSuffix(name, ".tar.gz") {
			fetched = append(fetched, name)
		}
	}
	if got := strings.Join(fetched, " "); got != "a-2.0.tar.gz b-2.0.tar.gz" {
		t.Errorf("fetched %s", got)
	}
}

func TestBuildThatFails(t *testing.T) {
	s := indextest.NewServer(t)
	makeWorld(t, s, "flask 1.1.2: jinja2", "jinja2 2.11.3 extra=x: markupsafe; extra == 'x'", "markupsafe 2.0.1 sdist dynamic", "app 1: flask, jinja2[x]")
	broken := errors.New("no compiler")
	c, err := index.New(index.Options{
		Indexes: []index.Index{{URL: s.URL}}, Cache: indextest.NewCache(t), HTTP: s.Client(),
		Build: func(context.Context, python.File, string) (index.Blob, string, error) {
			return index.Blob{}, "", broken
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = resolve.Resolve(context.Background(), resolve.Options{
		Target: target(t, "3.13", "amd64", "glibc", 28), Source: c, Build: true, Requirements: []python.FileRequirement{requirement(t, "app")},
	})
	var needed *resolve.NeededError
	const want = "resolve markupsafe 2.0.1, needed by jinja2[x] 2.11.3 <- app 1: read metadata of markupsafe-2.0.1.tar.gz: build markupsafe-2.0.1.tar.gz: no compiler"
	if !errors.As(err, &needed) || !errors.Is(err, broken) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestBuiltMetadata(t *testing.T) {
	s := indextest.NewServer(t)
	makeWorld(t, s, "a 1.0 sdist dynamic", "b 2.0")
	filename, wheel := indextest.Wheel(indextest.Spec{Name: "a", Version: "1.0", Requires: []string{"b"}})
	path := t.TempDir() + "/" + filename
	if err := os.WriteFile(path, wheel, 0o644); err != nil {
		t.Fatal(err)
	}
	builds := 0
	options := index.Options{
		Indexes: []index.Index{{URL: s.URL}}, Cache: indextest.NewCache(t), HTTP: s.Client(), BuildKey: "3.13",
		Build: func(context.Context, python.File, string) (index.Blob, string, error) {
			builds++
			return index.Blob{Hash: v1.Hash{Algorithm: "sha256", Hex: "1"}, Path: path, Size: int64(len(wheel))}, filename, nil
		},
	}
	for range 2 {
		c, err := index.New(options)
		if err != nil {
			t.Fatal(err)
		}
		r, err := resolve.Resolve(context.Background(), resolve.Options{
			Target: target(t, "3.13", "amd64", "glibc", 28), Source: c, Build: true, Requirements: []python.FileRequirement{requirement(t, "a")},
		})
		if err != nil || answer(r) != "a==1.0 b==2.0" {
			t.Fatalf("%s, %v", answer(r), err)
		}
	}
	if builds != 1 {
		t.Errorf("%d builds for two resolutions", builds)
	}
}

func TestOverrides(t *testing.T) {
	type options = resolve.Options
	base := []string{"a 1.0: b==1.0, c; sys_platform == 'win32'", "b 1.0", "b 2.0 extra=x: d; extra == 'x'", "c 1.0", "d 1.0",
		"e 1.0 extra=x: b==1.0; extra == 'x'"}
	tests := []struct{ name, requires, want string }{
		{"of a dependency", "a -o b==2.0", "a==1.0 b==2.0"},
		{"of a requirement", "b<2 -o b==2.0", "b==2.0"},
		{"of what nobody wants", "a -o d==1.0", "a==1.0 b==1.0"},
		{"with an extra", "a -o b[x]>1", "a==1.0 b==2.0 d==1.0"},
		{"instead of a marker too", "a -o c", "a==1.0 b==1.0 c==1.0"},
		{"by nothing", "a -o b;sys_platform~==~'win32'", "a==1.0"},
		{"of two", "a -o b>1 -o b<2.0", "no versions go together"},
		{"a constraint holds for it", "a -c b<2 -o b>1", "a==1.0 depends on b>1 (override), which no version meets"},
		{"of an extra's dependency", "e[x] -o b==2.0", "b==2.0 e==1.0"},
		{"of an extra's dependency, not wanted", "e -o b==2.0", "e==1.0"},
		{"without a version", "a -o b>3", "depends on b>3 (override), which no version meets (1.0 to 2.0 are known)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ask(t, base, tt.requires, options{})
			got := told(r, err)
			if tt.name == "a constraint holds for it" {
				if err == nil || !strings.Contains(got, "b>1 (override)") || !strings.Contains(got, "you constrain b<2") {
					t.Errorf("got %s", got)
				}
				return
			}
			if err == nil && got != tt.want || err != nil && !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestUpgrade(t *testing.T) {
	type options = resolve.Options
	preferred := func(pairs ...string) map[string]python.Version {
		out := map[string]python.Version{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = version(t, pairs[i+1])
		}
		return out
	}
	base := []string{"a 1.0: b", "a 1.1: b", "a 2.0b1: b", "b 1.0 yanked", "b 1.1", "b 2.0"}
	locked := preferred("a", "1.0", "b", "1.1")
	tests := []struct {
		name, requires string
		options        options
		want           string
	}{
		{"nothing changes", "a", options{Preferred: locked}, "a==1.0 b==1.1"},
		{"only what must", "a>1.0", options{Preferred: locked}, "a==1.1 b==1.1"},
		{"all", "a", options{Preferred: locked, Upgrade: resolve.UpgradeAll}, "a==1.1 b==2.0"},
		{"one", "a", options{Preferred: locked, UpgradePackages: []string{"B"}}, "a==1.0 b==2.0"},
		{"one to a version", "a", options{Preferred: locked, UpgradePackages: []string{"a==1.1"}}, "a==1.1 b==1.1"},
		{"one to a version that is not there", "a", options{Preferred: locked, UpgradePackages: []string{"b==9"}}, "you constrain b==9 (--upgrade-package)"},
		{"a pre-release that is locked", "a", options{Preferred: preferred("a", "2.0b1")}, "a==2.0b1 b==2.0"},
		{"a pre-release that is locked, and denied", "a", options{Preferred: preferred("a", "2.0b1"), Pre: resolve.PreDeny}, "a==1.1 b==2.0"},
		{"a yanked one that is locked", "a", options{Preferred: preferred("b", "1.0")}, "a==1.1 b==1.0"},
		{"a yanked one that is locked, upgraded", "a", options{Preferred: preferred("b", "1.0"), UpgradePackages: []string{"b"}}, "a==1.1 b==2.0"},
		{"a yanked one that is locked, and something else fits", "a b>1.0", options{Preferred: preferred("b", "1.0")}, "a==1.1 b==2.0"},
		{"an earlier lock of the target", "a", options{Earlier: []python.Lock{{Target: target(t, "3.12", "amd64", "glibc", 28), Packages: []python.Locked{{Name: "a", Version: version(t, "1.1")}}},
			{Target: target(t, "3.13", "amd64", "glibc", 28), Packages: []python.Locked{{Name: "a", Version: version(t, "1.0")}}}}}, "a==1.0 b==2.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ask(t, base, tt.requires, tt.options)
			if got := told(r, err); err == nil && got != tt.want || err != nil && !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	if _, err := ask(t, base, "a", options{UpgradePackages: []string{"a[x]"}}); err == nil {
		t.Error("an upgrade with an extra is taken")
	}
}

func TestSdistsInsteadOfTheIndex(t *testing.T) {
	s := indextest.NewServer(t)
	makeWorld(t, s, "a 2.0 sdist: c", "b 1.0: a", "c 1.0")
	info := []byte("Metadata-Version: 2.2\nName: a\nVersion: 3.0\nRequires-Dist: c\n")
	path := filepath.Join(t.TempDir(), "a-3.0.tar.gz")
	if err := os.WriteFile(path, info, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		require python.FileRequirement
		want    string
	}{
		{"url", requirement(t, "a @ "+s.FileURL("a-2.0.tar.gz")), "a==2.0 b==1.0 c==1.0"},
		{"path", python.FileRequirement{Path: path}, "a==3.0 b==1.0 c==1.0"},
		{"another project", requirement(t, "b @ "+s.FileURL("a-2.0.tar.gz")), "the sdist is one of a"},
		{"folder", python.FileRequirement{Path: t.TempDir()}, "not a file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := resolve.Resolve(context.Background(), resolve.Options{
				Target: target(t, "3.13", "amd64", "glibc", 28), Source: client(t, s), Build: true,
				Requirements: []python.FileRequirement{tt.require, requirement(t, "b")},
			})
			if got := told(r, err); err == nil && got != tt.want || err != nil && !strings.Contains(got, tt.want) {
				t.Fatalf("got %s, want %s", got, tt.want)
			}
			if err == nil && r.Lock.Packages[0].Sdist.Hashes["sha256"] == "" {
				t.Errorf("locked without a hash: %+v", r.Lock.Packages[0])
			}
		})
	}
}

// TestAReleaseSinceThePageWasRead needs a version that a page which was held
// for fresh does not list.
func TestAReleaseSinceThePageWasRead(t *testing.T) {
	s := indextest.NewServer(t)
	cache := indextest.NewCache(t)
	ask := func(text string) string {
		c, err := index.New(index.Options{Indexes: []index.Index{{URL: s.URL}}, Cache: cache, HTTP: s.Client()})
		if err != nil {
			t.Fatal(err)
		}
		return told(resolve.Resolve(context.Background(), resolve.Options{
			Target: target(t, "3.13", "amd64", "glibc", 28), Source: c, Requirements: []python.FileRequirement{requirement(t, text)},
		}))
	}
	makeWorld(t, s, "a 1.0: b", "b 1.0")
	if got := ask("a"); got != "a==1.0 b==1.0" {
		t.Fatal(got)
	}
	makeWorld(t, s, "a 1.1: b>=2", "b 2.0")
	if got := ask("a>1.0"); got != "a==1.1 b==2.0" {
		t.Error(got)
	}
}
