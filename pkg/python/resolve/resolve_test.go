package resolve_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
	"github.com/google/go-cmp/cmp"
)

// makeWorld fills an index from lines "name version [flags]: requirement, ...".
// Flags: "yanked", "python=>=3.9", "tag=cp313-...", "sdist", "day=N" (uploaded on
// the Nth of January 2024), "extra=x", "broken" (METADATA of another version), "dynamic" (an sdist that
// must be built).
func makeWorld(t testing.TB, s *indextest.Server, lines ...string) {
	t.Helper()
	for _, line := range lines {
		head, requires, _ := strings.Cut(line, ": ")
		words := strings.Fields(strings.TrimSuffix(head, ":"))
		spec := indextest.Spec{Name: words[0], Version: words[1]}
		for _, q := range strings.Split(requires, ", ") {
			if q != "" {
				spec.Requires = append(spec.Requires, q)
			}
		}
		sdist, dynamic := "", false
		for _, flag := range words[2:] {
			key, value, _ := strings.Cut(flag, "=")
			switch key {
			case "yanked":
				spec.Yanked, spec.YankedReason = true, "broken"
			case "python":
				spec.RequiresPython = value
			case "tag":
				spec.Tag = value
			case "build":
				spec.Build = value
			case "extra":
				spec.Extras = append(spec.Extras, value)
			case "sdist":
				if sdist = ".tar.gz"; value != "" {
					sdist = value
				}
			case "dynamic":
				dynamic = true
			case "broken":
				spec.Metadata = "Metadata-Version: 2.1\nName: " + words[0] + "\nVersion: 77\n"
			case "day":
				n := 0
				fmt.Sscan(value, &n)
				spec.UploadTime = day(n)
			default:
				t.Fatalf("flag %q", flag)
			}
		}
		if sdist != "" {
			// See client: an sdist is its PKG-INFO.
			text := "Metadata-Version: 2.2\nName: " + words[0] + "\nVersion: " + words[1] + "\n"
			for _, q := range spec.Requires {
				text += "Requires-Dist: " + q + "\n"
			}
			for _, e := range spec.Extras {
				text += "Provides-Extra: " + e + "\n"
			}
			if dynamic {
				text += "Dynamic: Requires-Dist\n"
			}
			s.Add(indextest.File{
				Project: words[0], Filename: words[0] + "-" + words[1] + sdist, Content: []byte(text),
				RequiresPython: spec.RequiresPython, UploadTime: spec.UploadTime, Yanked: spec.Yanked, YankedReason: spec.YankedReason,
			})
			continue
		}
		s.AddSpec(spec)
	}
}

// day is a day of January 2024.
func day(n int) time.Time { return time.Date(2024, 1, n, 0, 0, 0, 0, time.UTC) }

func version(t testing.TB, s string) python.Version {
	t.Helper()
	v, err := python.ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// answer is a resolution on one line: "a==1.0 b==2.0", kept ones with "kept:".
func answer(r resolve.Resolution) string {
	var out []string
	for _, l := range r.Lock.Packages {
		out = append(out, l.Name+"=="+l.Version.String())
	}
	for _, l := range r.Kept {
		out = append(out, "kept:"+l.Name+"=="+l.Version.String())
	}
	return strings.Join(out, " ")
}

func TestResolve(t *testing.T) {
	type options = resolve.Options
	installed := func(pairs ...string) map[string]resolve.Installed {
		out := map[string]resolve.Installed{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = resolve.Installed{Version: version(t, pairs[i+1])}
		}
		return out
	}
	tests := []struct {
		name     string
		world    []string
		requires string // separated by spaces; "-c" before a constraint
		options  options
		want     string // the answer, or a part of the error
		hint     string // a part of it
	}{
		{"newest", []string{"a 1.0", "a 1.10", "a 1.9"}, "a", options{}, "a==1.10", ""},
		{"final before pre-release", []string{"a 1.0", "a 2.0b1"}, "a", options{}, "a==1.0", ""},
		{"pre-release named by a specifier", []string{"a 1.0", "a 2.0b1"}, "a>=1.0b1", options{}, "a==1.0", ""},
		{"pip: pre-release named by a specifier", []string{"a 1.0", "a 2.0b1"}, "a>=1.0b1", options{Pre: resolve.PreIfNamed}, "a==2.0b1", ""},
		{"pip: pre-release named for another", []string{"a 1.0: b", "b 1.0", "b 2.0b1"}, "a>=0.1b1", options{Pre: resolve.PreIfNamed}, "a==1.0 b==1.0", ""},
		{"pre-releases allowed", []string{"a 1.0", "a 2.0b1"}, "a", options{Pre: resolve.PreAllow}, "a==2.0b1", ""},
		{"pre-releases of one project", []string{"a 1.0: b", "a 2.0b1: b", "b 1.0", "b 2.0b1"}, "a", options{AllReleases: []string{"a"}}, "a==2.0b1 b==1.0", ""},
		{"pre-releases denied", []string{"a 2.0b1"}, "a", options{Pre: resolve.PreDeny}, "a==2.0b1 is a pre-release", "--pre"},
		{"local version", []string{"a 1.0", "a 1.0+cpu"}, "a==1.0", options{}, "a==1.0+cpu", ""},
		{"arbitrary equality", []string{"a 1.0", "a 1.0+cpu"}, "a===1.0", options{}, "a==1.0", ""},
		{"prefix and exclusion", []string{"a 1.0", "a 1.1", "a 1.2", "a 2.0"}, "a==1.*,!=1.2", options{}, "a==1.1", ""},

		{"constraint", []string{"a 1.0: b", "b 1.0", "b 2.0"}, "a -c b<2 -c unused==1", options{}, "a==1.0 b==1.0", ""},
		{"constraint that nothing meets", []string{"a 1.0: b>=2", "b 1.0", "b 2.0"}, "a -c b<2", options{}, "you constrain b<2", ""},
		{"marker", []string{"a 1.0: b; sys_platform == 'win32', c; python_version >= '3.13'", "b 1", "c 1"}, "a", options{}, "a==1.0 c==1", ""},

		{"extra", []string{"a 1.0 extra=x: b; extra == 'x'", "b 1"}, "A[X]", options{}, "a==1.0 b==1", ""},
		{"extra asked for late", []string{"a 1.0 extra=x: c; extra == 'x'", "b 1: a[x]", "c 1"}, "a b", options{}, "a==1.0 b==1 c==1", ""},
		{"two extras, self-referential", []string{"a 1.0 extra=x extra=y extra=all: b; extra == 'x', c; extra == 'y', a[x]; extra == 'all', a[y]; extra == 'all'", "b 1", "c 1"}, "a[all]", options{}, "a==1.0 b==1 c==1", ""},
		{"extra holds its project at its version", []string{"a 1.0 extra=x: b; extra == 'x'", "a 2.0 extra=x: b>=2; extra == 'x'", "b 1"}, "a a[x]", options{}, "a==1.0 b==1", ""},
		{"two requirements on one project", []string{"a 1.0: d<2, d>=1", "d 0.5", "d 1.5", "d 2.0"}, "a", options{}, "a==1.0 d==1.5", ""},

		{"yanked", []string{"a 1.0", "a 2.0 yanked"}, "a", options{}, "a==1.0", ""},
		{"yanked and pinned", []string{"a 1.0", "a 2.0 yanked"}, "a==2.0", options{}, "a==2.0", ""},
		{"yanked and pinned by a constraint", []string{"a 1.0", "a 2.0 yanked"}, "a -c a==2.0", options{}, "a==2.0", ""},
		{"yanked and pinned by a dependency", []string{"a 1.0: b==2.0", "b 2.0 yanked"}, "a", options{}, "b==2.0 was yanked (broken)", "pins it: b==2.0"},

		{"yanked and pinned by a dependency, as pip", []string{"a 1.0: b", "a 2.0: b==2.0", "b 1.0", "b 2.0 yanked"}, "a", options{YankedIfPinned: true}, "a==2.0 b==2.0", ""},
		{"yanked and pinned by a dependency, as uv", []string{"a 1.0: b", "a 2.0: b==2.0", "b 1.0", "b 2.0 yanked"}, "a", options{}, "a==1.0 b==1.0", ""},
		{"a pin by a version that is not taken", []string{"a 1.0", "a 2.0: b==2.0,c", "b 1.0", "b 2.0 yanked"}, "a b", options{YankedIfPinned: true}, "a==1.0 b==1.0", ""},
		{"a prefix is no pin of a yanked version", []string{"a 1.0: b", "a 2.0: b==2.*", "b 1.0", "b 2.0 yanked"}, "a", options{YankedIfPinned: true}, "a==1.0 b==1.0", ""},
		{"pinned in a chain", []string{"a 1.0: b==1.0", "b 1.0 yanked: c===1.0", "c 1.0 yanked", "c 0.9"}, "a", options{YankedIfPinned: true}, "a==1.0 b==1.0 c==1.0", ""},

		{"Requires-Python of the index", []string{"a 1.0", "a 2.0 python=>=3.14"}, "a", options{}, "a==1.0", ""},
		{"upper bound of Requires-Python", []string{"a 1.0", "a 2.0 python=>=3.8,<3.13"}, "a", options{}, "a==2.0", ""},
		{"upper bound of Requires-Python, strictly", []string{"a 1.0", "a 2.0 python=>=3.8,<3.13"}, "a", options{StrictRequiresPython: true}, "a==1.0", ""},
		{"Requires-Python, not looked at", []string{"a 1.0", "a 2.0 python=>=3.99: b", "b 1.0 python=<3"}, "a", options{StrictRequiresPython: true, IgnoreRequiresPython: true}, "a==2.0 b==1.0", ""},
		{"needs another Python", []string{"a 1.0 python=>=3.14"}, "a", options{}, "a==1.0 needs Python >=3.14 (this is 3.13)", "choose a base with Python >=3.14"},
		{"only an sdist", []string{"a 1.0: b", "b 1.0 sdist", "b 0.9"}, "a -c b>=1", options{}, "b==1.0 has only an sdist and no wheel", "; b 0.9 could be used as it is"},
		{"no wheel for this Python", []string{"a 1.0 tag=cp311-cp311-manylinux_2_17_x86_64", "a 1.0 tag=cp312-cp312-manylinux_2_17_x86_64"}, "a", options{}, "a==1.0 has no wheel for CPython 3.13", "CPython 3.11 and 3.12"},
		{"no wheel for this platform", []string{"a 1.0 tag=cp313-cp313-musllinux_1_2_x86_64", "a 1.0 tag=cp313-cp313-win_amd64"}, "a", options{}, "a==1.0 has no wheel for linux/amd64 (glibc 2.28)", "a 1.0 has wheels for musl 1.2 and newer: choose a base with musl (Alpine)"},
		{"no wheel for this glibc", []string{"a 1.0 tag=cp313-cp313-manylinux_2_31_x86_64", "a 1.0 tag=cp313-cp313-manylinux_2_34_x86_64", "a 0.9", "a 1.1", "a 1.2"}, "a==1.0", options{}, "a==1.0 has no wheel for linux/amd64 (glibc 2.28)", "a 1.0 has wheels for glibc 2.31 and newer: choose a newer base; a 1.1 could be used as it is"},
		{"no wheel for this machine", []string{"a 1.0 tag=cp313-cp313-manylinux_2_17_aarch64", "a 1.0 sdist"}, "a", options{}, "a==1.0 has no wheel for linux/amd64 (glibc 2.28)", "a 1.0 has wheels for linux/arm64: choose such a platform, or build one from its sdist once and give its folder with --find-links"},
		{"no wheel for Linux", []string{"a 1.0 tag=cp313-cp313-win_amd64"}, "a", options{}, "a==1.0 has no wheel", "a 1.0 has wheels only for Windows"},
		{"no wheel for Linux, and an sdist", []string{"a 1.0 tag=cp313-cp313-win_amd64", "a 1.0 tag=cp313-cp313-macosx_11_0_arm64", "a 1.0 sdist"}, "a", options{}, "a==1.0 has no wheel", "a 1.0 has wheels only for Windows and macOS: build one from its sdist once"},
		{"no wheel for Linux, and an sdist that is forbidden", []string{"a 1.0 tag=cp313-cp313-win_amd64", "a 1.0 sdist"}, "a", options{Build: true, OnlyBinary: []string{":all:"}}, "a==1.0 has no wheel", "only for Windows: leave out --only-binary, so that one is built from its sdist"},
		{"a wheel of an older Python for another system", []string{"a 1.0 tag=cp311-none-macosx_11_0_arm64", "a 1.0 tag=cp311-cp311-manylinux_2_17_x86_64"}, "a", options{}, "a==1.0 has no wheel for CPython 3.13", "CPython 3.11"},
		{"only an sdist, forbidden for all", []string{"a 1.0 sdist"}, "a", options{Build: true, OnlyBinary: []string{":all:"}}, "only an sdist and no wheel (--only-binary)", "leave out --only-binary, so that a 1.0 is built from its sdist"},
		{"only an sdist, forbidden for it", []string{"a 1.0 sdist"}, "a", options{Build: true, OnlyBinary: []string{"A"}}, "only an sdist and no wheel (--only-binary)", "leave a out of --only-binary, so that"},
		{"a wheel for another Python that Requires-Python forbids", []string{"a 1.0 tag=cp310-cp310-win_amd64", "a 1.0 tag=cp310-cp310-linux_x86_64", "a 1.0 tag=cp311-cp311-linux_x86_64 python=>=3.11"}, "a", options{}, "a==1.0 has no wheel", "CPython 3.10 and 3.11"},
		{"unusable metadata", []string{"a 1.0", "a 2.0 broken"}, "a", options{}, "a==1.0", ""},
		{"unusable metadata, and nothing else", []string{"a 2.0 broken"}, "a", options{}, "a==2.0 has metadata that cannot be used", ""},
		{"a URL from an index", []string{"a 1.0", "a 2.0: b @ https://example.org/b-1-py3-none-any.whl"}, "a", options{}, "a==1.0", ""},

		{"exclude newer", []string{"a 1.0 day=1", "a 1.1 day=2", "a 1.2"}, "a", options{ExcludeNewer: time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC)}, "a==1.0", ""},
		{"exclude newer, and nothing older", []string{"a 1.0 day=3"}, "a", options{ExcludeNewer: day(2)}, "a==1.0 was not uploaded before 2024-01-02T00:00:00Z", "a 1.0 was uploaded at 2024-01-03T00:00:00Z: a later --exclude-newer"},
		{"exclude newer, no times", []string{"a 1.0"}, "a", options{ExcludeNewer: time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC)}, "a==1.0 has no upload time on the index", "--exclude-newer"},
		{"no binary", []string{"a 1.0"}, "a", options{NoBinary: []string{"A"}}, "--no-binary", "leave a out of --no-binary"},
		{"no binary but one", []string{"a 1.0"}, "a", options{NoBinary: []string{":all:"}, OnlyBinary: []string{"a"}}, "a==1.0", ""},
		{"no dependencies", []string{"a 1.0: b"}, "a", options{NoDependencies: true}, "a==1.0", ""},
		{"preferred", []string{"a 1.0", "a 2.0"}, "a", options{Preferred: map[string]python.Version{"a": version(t, "1.0")}}, "a==1.0", ""},
		{"preferred, upgraded", []string{"a 1.0", "a 2.0"}, "a", options{Preferred: map[string]python.Version{"a": version(t, "1.0")}, UpgradePackages: []string{"A"}}, "a==2.0", ""},

		{"installed and fits", []string{"a 1.0", "a 2.0"}, "a", options{Installed: installed("a", "1.0")}, "kept:a==1.0", ""},
		{"installed and not on the index", []string{"b 1.0: a"}, "b", options{Installed: installed("a", "0.1")}, "b==1.0 kept:a==0.1", ""},
		{"installed and does not fit", []string{"a 1.0", "a 2.0"}, "a>1", options{Installed: installed("a", "1.0")}, "a==2.0", ""},
		{"installed and to be upgraded", []string{"a 2.0: b", "b 1.0", "b 2.0"}, "a", options{Installed: installed("a", "1.0", "b", "1.0"), Upgrade: resolve.UpgradeRequested}, "a==2.0 kept:b==1.0", ""},
		{"installed and all to be upgraded", []string{"a 2.0: b", "b 1.0", "b 2.0"}, "a", options{Installed: installed("a", "1.0", "b", "1.0"), Upgrade: resolve.UpgradeAll}, "a==2.0 b==2.0", ""},
		{"installed, newest and to be upgraded", []string{"a 1.0"}, "a", options{Installed: installed("a", "1.0"), Upgrade: resolve.UpgradeRequested}, "kept:a==1.0", ""},
		{"what is installed has dependencies", []string{"b 1.0"}, "a", options{Installed: map[string]resolve.Installed{"a": {Version: version(t, "1"), Requires: []python.Requirement{requirement(t, "b").Requirement}}}}, "b==1.0 kept:a==1", ""},

		{"unknown project", []string{"a 1.0: bb"}, "a", options{}, "a==1.0 depends on bb, which was not found on http", `check the spelling of "bb"`},
		{"no such version", []string{"a 1.0", "a 1.1"}, "a>2", options{}, "you require a>2, which no version meets (1.0 to 1.1 are known)", ""},
		{"no matching project page", []string{"a 1.0 sdist"}, "a>2", options{}, "only 1.0 is known", ""},
		{"go back", []string{"a 1.0", "a 2.0: c==1", "b 1.0: c==2", "c 1", "c 2"}, "a b", options{}, "a==1.0 b==1.0 c==2", ""},
		{"cycle", []string{"a 1.0: b", "b 1.0: a"}, "a", options{}, "a==1.0 b==1.0", ""},
		{"depends on an older self", []string{"a 1.0", "a 2.0: a<2"}, "a", options{}, "a==1.0", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := indextest.NewServer(t)
			makeWorld(t, s, tt.world...)
			o := tt.options
			o.Target, o.Source = target(t, "3.13", "amd64", "glibc", 28), client(t, s)
			constraint := false
			for _, word := range strings.Fields(tt.requires) {
				switch {
				case word == "-c":
					constraint = true
					continue
				case constraint:
					o.Constraints = append(o.Constraints, requirement(t, word))
				default:
					o.Requirements = append(o.Requirements, requirement(t, word))
				}
				constraint = false
			}
			r, err := resolve.Resolve(context.Background(), o)
			if err == nil {
				if got := answer(r); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if err := r.Lock.Validate(); err != nil {
					t.Error(err)
				}
				return
			}
			var unsatisfiable *resolve.UnsatisfiableError
			if !errors.As(err, &unsatisfiable) || !strings.Contains(err.Error(), tt.want) || strings.Contains(tt.want, "==") && !strings.Contains(tt.want, " ") {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if hint := unsatisfiable.Hint(); !strings.Contains(hint, tt.hint) || tt.hint == "" && hint != "" {
				t.Errorf("hint %q, want %q", hint, tt.hint)
			}
			if len(unsatisfiable.Facts) == 0 {
				t.Error("no facts")
			}
		})
	}
}

func TestLock(t *testing.T) {
	s := indextest.NewServer(t)
	makeWorld(t, s, "a 1.0 extra=x: b, c; extra == 'x'", "b 1.0: c", "c 1.0",
		"d 1.0 tag=py3-none-any", "d 1.0 tag=cp313-cp313-manylinux_2_17_x86_64", "d 1.0 tag=cp313-cp313-manylinux_2_28_x86_64",
		"d 1.0 build=2 tag=cp313-cp313-manylinux_2_28_x86_64", "d 1.0 build=10a tag=cp313-cp313-manylinux_2_28_x86_64",
		"d 1.0 tag=cp313-cp313-manylinux_2_35_x86_64")
	var log bytes.Buffer
	r, err := resolve.Resolve(context.Background(), resolve.Options{
		Target: target(t, "3.13", "amd64", "glibc", 28), Source: client(t, s),
		Requirements: []python.FileRequirement{requirement(t, "a[x,nonsense]"), requirement(t, "d")},
		Log:          slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Name, Wheel, By, Extras string
		Requested               bool
	}
	var got []row
	for _, l := range r.Lock.Packages {
		got = append(got, row{l.Name, l.Wheel.Filename, strings.Join(l.RequiredBy, " "), strings.Join(l.Extras, " "), l.Requested})
	}
	want := []row{
		{"a", "a-1.0-py3-none-any.whl", "", "nonsense x", true},
		{"b", "b-1.0-py3-none-any.whl", "a", "", false},
		{"c", "c-1.0-py3-none-any.whl", "a b", "", false},
		{"d", "d-1.0-10a-cp313-cp313-manylinux_2_28_x86_64.whl", "", "", true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(log.String(), `a 1.0 has no extra \"nonsense\"`) {
		t.Errorf("log: %s", log.String())
	}
}

func TestHashes(t *testing.T) {
	s := indextest.NewServer(t)
	a := s.AddWheel("a", "1.0", nil, "Metadata-Version: 2.1\nName: a\nVersion: 1.0\nRequires-Dist: b\n")
	b := s.AddWheel("b", "1.0", nil, "")
	good, wrong := "sha256:"+a.SHA256(), "sha256:"+strings.Repeat("ab", 32)
	hashed := func(text string, hashes ...string) python.FileRequirement {
		q := requirement(t, text)
		q.Hashes, q.File, q.Line = hashes, "requirements.txt", 3
		return q
	}
	tests := []struct {
		name     string
		noHashes bool // on the index
		require  bool
		list     []python.FileRequirement
		want     string // in the error; "" = none
	}{
		{"good", false, true, []python.FileRequirement{hashed("a==1.0", wrong, good), hashed("b==1.0", "sha256:"+b.SHA256())}, ""},
		{"good, and the index has none", true, true, []python.FileRequirement{hashed("a==1.0", wrong, good), hashed("b==1.0", "sha256:"+b.SHA256())}, ""},
		{"wrong", false, true, []python.FileRequirement{hashed("a==1.0", wrong)}, "a==1.0 has no wheel with one of the hashes"},
		{"wrong, and the index has none", true, true, []python.FileRequirement{hashed("a==1.0", wrong), hashed("b==1.0", "sha256:"+b.SHA256())}, "sha256 of a-1.0-py3-none-any.whl"},
		{"not pinned", false, true, []python.FileRequirement{hashed("a", good)}, "requirements.txt:3: requirement a: it does not pin"},
		{"without a hash", false, true, []python.FileRequirement{hashed("a==1.0", good), hashed("b==1.0")}, "it has no hash"},
		{"dependency without a hash", false, true, []python.FileRequirement{hashed("a==1.0", good)}, "b==1.0 is not among the requirements"},
		{"not required of all", false, false, []python.FileRequirement{hashed("a==1.0", good)}, ""},
		{"no other algorithm", false, true, []python.FileRequirement{hashed("a==1.0", "md5:00")}, "only sha256"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.NoHashes = tt.noHashes
			r, err := resolve.Resolve(context.Background(), resolve.Options{
				Target: target(t, "3.13", "amd64", "glibc", 28), Source: client(t, s), Requirements: tt.list, RequireHashes: tt.require,
			})
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if answer(r) != "a==1.0 b==1.0" || r.Lock.Packages[0].Wheel.Hashes["sha256"] != a.SHA256() {
				t.Errorf("%+v", r.Lock.Packages)
			}
		})
	}
}

func TestFilesInsteadOfTheIndex(t *testing.T) {
	s := indextest.NewServer(t)
	makeWorld(t, s, "a 9.0", "b 1.0: a", "c 1.0")
	name, content := indextest.Wheel(indextest.Spec{Name: "a", Version: "2.0", Requires: []string{"c"}, Extras: []string{"x"}})
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	s.Add(indextest.File{Project: "elsewhere", Filename: name, Content: content})
	tests := []struct {
		name string
		list []python.FileRequirement
		want string
	}{
		{"url", []python.FileRequirement{requirement(t, "a @ "+s.FileURL(name)), requirement(t, "b")}, "a==2.0 b==1.0 c==1.0"},
		{"path", []python.FileRequirement{{Path: path}, requirement(t, "b")}, "a==2.0 b==1.0 c==1.0"},
		{"path that a requirement excludes", []python.FileRequirement{{Path: path}, requirement(t, "a>3")}, "and a is taken from " + path + " at version 2.0"},
		{"two urls", []python.FileRequirement{requirement(t, "a @ "+s.FileURL(name)), {Path: path}}, "a is also required from"},
		{"another project", []python.FileRequirement{requirement(t, "b @ "+s.FileURL(name))}, "the wheel is one of a"},
		{"sdist", []python.FileRequirement{requirement(t, "a @ https://example.org/a-1.tar.gz")}, "an sdist would have to be built"},
		{"repository", []python.FileRequirement{requirement(t, "a @ git+https://user:s3cret@example.org/a")}, "a checkout of a git repository"},
		{"folder", []python.FileRequirement{{Path: "./a", File: "r.txt", Line: 2}}, "r.txt:2: requirement ./a: it is not a wheel"},
		{"editable", []python.FileRequirement{{Path: ".", Editable: true}}, "would have to be built"},
		{"extras in a constraint", nil, "a constraint cannot have extras"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := resolve.Options{Target: target(t, "3.13", "amd64", "glibc", 28), Source: client(t, s), Requirements: tt.list}
			if tt.list == nil {
				o.Constraints = []python.FileRequirement{requirement(t, "a[x]<3")}
			}
			r, err := resolve.Resolve(context.Background(), o)
			if err == nil {
				if got := answer(r); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if r.Lock.Packages[0].Wheel.Hashes["sha256"] == "" || r.Lock.Packages[0].Wheel.Size != int64(len(content)) {
					t.Errorf("not locked by hash and size: %+v", r.Lock.Packages[0].Wheel)
				}
				return
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			var bad *resolve.RequirementError
			if errors.As(err, &bad) {
				if file, line := bad.Position(); tt.name == "folder" && (file != "r.txt" || line != 2) {
					t.Errorf("position %s:%d", file, line)
				}
			}
		})
	}
}

func TestReport(t *testing.T) {
	tests := []struct {
		name     string
		world    []string
		requires []string
		want     string
	}{
		{"direct conflict", []string{"a 1.0: b>=2", "b 1.0", "b 2.0"}, []string{"a", "b<2"}, `
Because a==1.0 depends on b>=2 and you require a (requirements.txt:1), we can conclude that you require b>=2.
And because you require b<2 (requirements.txt:2), we can conclude that your requirements cannot be met.`},
		{"through an extra", []string{"a 1.0 extra=x: b==1; extra == 'x'", "a 1.1 extra=x: b==1; extra == 'x'", "b 1", "b 2"}, []string{"a[x]", "b==2"}, `
Because all versions of a[x] depend on b==1 and you require a[x] (requirements.txt:1), we can conclude that you require b==1.
And because you require b==2 (requirements.txt:2), we can conclude that your requirements cannot be met.`},
		{"versions that cannot be used", []string{"a 1.0 sdist", "a 1.1 sdist", "a 1.2 python=>=3.14", "a 1.3 yanked", "a 2.0"}, []string{"a<2"}, `
Because a<=1.1 has only an sdist and no wheel, a==1.2 needs Python >=3.14 (this is 3.13) and a==1.3 was yanked (broken), we can conclude that a<2 cannot be used.
And because you require a<2 (requirements.txt:1), we can conclude that your requirements cannot be met.`},
		{"two branches", []string{"foo 1.0: a, b", "foo 1.1: x, y", "a 1.0: b>=2", "b 1.0", "b 2.0", "x 1.0: y>=2", "y 1.0", "y 2.0"}, []string{"foo", "y<2", "b<2"}, `
Because foo==1.0 depends on a and a==1.0 depends on b>=2, we can conclude that foo==1.0 depends on b>=2.
And because foo==1.1 depends on x, we can conclude that all versions of foo depend on b>=2 or x.
And because x==1.0 depends on y>=2 and you require foo (requirements.txt:1), we can conclude that you require b>=2 or y>=2.
And because you require y<2 (requirements.txt:2) and you require b<2 (requirements.txt:3), we can conclude that your requirements cannot be met.`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := indextest.NewServer(t)
			makeWorld(t, s, tt.world...)
			o := resolve.Options{Target: target(t, "3.13", "amd64", "glibc", 28), Source: client(t, s)}
			for i, text := range tt.requires {
				q := requirement(t, text)
				q.File, q.Line = "requirements.txt", i+1
				o.Requirements = append(o.Requirements, q)
			}
			_, err := resolve.Resolve(context.Background(), o)
			var unsatisfiable *resolve.UnsatisfiableError
			if !errors.As(err, &unsatisfiable) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(strings.TrimSpace(tt.want), unsatisfiable.Report); diff != "" {
				t.Errorf("%s\n%s", diff, unsatisfiable.Report)
			}
		})
	}
}

// TestSameAnswerWhateverTheTiming resolves with servers that answer in a
// random order.
func TestSameAnswerWhateverTheTiming(t *testing.T) {
	var first resolve.Resolution
	for run := range 6 {
		s := indextest.NewServer(t)
		makeWorld(t, s, diamond(4, 6)...)
		s.Intercept = func(http.ResponseWriter, *http.Request) bool {
			time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
			return false
		}
		r, err := resolve.Resolve(context.Background(), resolve.Options{
			Target: target(t, "3.13", "amd64", "glibc", 28), Source: client(t, s), Requirements: []python.FileRequirement{requirement(t, "p0"), requirement(t, "p1")},
		})
		if err != nil {
			t.Fatal(err)
		}
		if run == 0 {
			first = r
		} else if got := answer(r); got != answer(first) {
			t.Errorf("run %d: %s, before: %s", run, got, answer(first))
		}
	}
}

// diamond is a world in which each version of a package needs two others at
// the same version, except that the newest do not go together.
func diamond(packages, versions int) []string {
	var out []string
	for p := range packages {
		for v := 1; v <= versions; v++ {
			line := fmt.Sprintf("p%d %d.0: ", p, v)
			if p+1 < packages {
				line += fmt.Sprintf("p%d<=%d.0, leaf%s%d.0", p+1, v, []string{"==", ">="}[p%2], max(1, v-p))
			}
			out = append(out, strings.TrimSuffix(line, ": "))
		}
	}
	for v := 1; v <= versions; v++ {
		out = append(out, fmt.Sprintf("leaf %d.0", v))
	}
	return out
}

// TestNoExponentialSearch is a world that has no solution and that a search
// without learning would walk through by the million.
func TestNoExponentialSearch(t *testing.T) {
	s := &memory{}
	const packages, versions = 12, 40
	var requires []python.FileRequirement
	for p := range packages {
		requires = append(requires, requirement(t, fmt.Sprintf("p%d", p)))
		for v := range versions {
			// Every version of the last needs what no version of the first allows.
			need := fmt.Sprintf("q>=%d", v)
			if p == packages-1 {
				need = "q<0"
			}
			s.add(t, fmt.Sprintf("p%d", p), fmt.Sprint(v), need)
		}
	}
	for v := range versions {
		s.add(t, "q", fmt.Sprint(v))
	}
	start := time.Now()
	_, err := resolve.Resolve(context.Background(), resolve.Options{Target: target(t, "3.13", "amd64", "glibc", 28), Source: s, Requirements: requires})
	var unsatisfiable *resolve.UnsatisfiableError
	if !errors.As(err, &unsatisfiable) {
		t.Fatalf("error %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
}

// memory is a source without a network, for worlds too large for a server.
type memory struct {
	files    map[string][]index.File
	metadata map[string]python.Metadata
}

func (m *memory) add(t testing.TB, name, v string, requires ...string) {
	t.Helper()
	if m.files == nil {
		m.files, m.metadata = map[string][]index.File{}, map[string]python.Metadata{}
	}
	filename := fmt.Sprintf("%s-%s-py3-none-any.whl", name, v)
	wheel, err := python.ParseWheelName(filename)
	if err != nil {
		t.Fatal(err)
	}
	m.files[name] = append(m.files[name], index.File{
		Project: name, Filename: filename, URL: "https://example.org/" + filename, Wheel: wheel, Version: wheel.Version,
		Hashes: map[string]string{"sha256": strings.Repeat("0", 64)},
	})
	d := python.Metadata{Name: name, Version: wheel.Version}
	for _, text := range requires {
		d.RequiresDist = append(d.RequiresDist, requirement(t, text).Requirement)
	}
	m.metadata[filename] = d
}

func (m *memory) Direct(string) (index.File, error) { return index.File{}, errors.New("none") }
func (m *memory) Project(_ context.Context, name string) ([]index.File, error) {
	if files, ok := m.files[name]; ok {
		return slices.Clone(files), nil
	}
	return nil, &index.NotFoundError{Project: name, Indexes: []string{"memory"}}
}
func (m *memory) Metadata(_ context.Context, f index.File) (python.Metadata, error) {
	return m.metadata[f.Filename], nil
}
func (m *memory) Fetch(context.Context, python.File) (index.Blob, error) {
	return index.Blob{}, errors.New("not needed")
}

func TestAnIndexThatFailsIsAnError(t *testing.T) {
	s := indextest.NewServer(t)
	s.User = "someone"
	makeWorld(t, s, "a 1.0")
	_, err := resolve.Resolve(context.Background(), resolve.Options{
		Target: target(t, "3.13", "amd64", "glibc", 28), Source: client(t, s), Requirements: []python.FileRequirement{requirement(t, "a")},
	})
	var auth *index.AuthError
	if !errors.As(err, &auth) {
		t.Errorf("error %v", err)
	}
	stop, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := resolve.Resolve(stop, resolve.Options{Target: target(t, "3.13", "amd64", "glibc", 28), Source: client(t, s), Requirements: []python.FileRequirement{requirement(t, "a")}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// pip asks nobody about what is installed and fits.
	r, err := resolve.Resolve(context.Background(), resolve.Options{
		Target: target(t, "3.13", "amd64", "glibc", 28), Source: client(t, s), Requirements: []python.FileRequirement{requirement(t, "a")},
		Installed: map[string]resolve.Installed{"a": {Version: version(t, "1.0")}},
	})
	if err != nil || answer(r) != "kept:a==1.0" {
		t.Errorf("installed: %s, %v", answer(r), err)
	}
}
