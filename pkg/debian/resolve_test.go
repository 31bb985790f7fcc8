package debian

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// indexOf makes an index of short paragraphs: "name version; Field: value; …".
func indexOf(t *testing.T, lines ...string) *index {
	t.Helper()
	x, err := newIndex(t.TempDir(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.close(); err != nil {
			t.Error(err)
		}
	})
	for _, line := range lines {
		head, fields, _ := strings.Cut(line, "; ")
		name, v, _ := strings.Cut(head, " ")
		text := "Package: " + name + "\nVersion: " + v + "\nArchitecture: amd64\nSize: 1\nSHA256: " + strings.Repeat("0", 64) +
			"\nFilename: pool/" + name + ".deb\n" + strings.ReplaceAll(fields, "; ", "\n") + "\n"
		if err := x.addPackages(t.Context(), strings.NewReader(text), "trixie", ""); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	if err := x.ready(); err != nil {
		t.Fatal(err)
	}
	return x
}

func TestClosure(t *testing.T) {
	for name, c := range map[string]struct {
		index    []string
		requests string
		want     string // names and versions, or the error
	}{
		"follows Pre-Depends and Depends": {
			[]string{"a 1; Pre-Depends: b; Depends: c", "b 1", "c 1; Recommends: d; Suggests: e", "d 1", "e 1"}, "a",
			"a 1, b 1, c 1",
		},
		"takes the highest version": {[]string{"a 1", "a 3", "a 2"}, "a", "a 3"},
		"takes a lower one for a bound": {
			[]string{"a 1", "a 3", "a 2", "b 1; Depends: a (<< 3)"}, "b", "a 2, b 1",
		},
		"takes the version asked for": {[]string{"a 1", "a 2"}, "a=1", "a 1"},
		"takes the first alternative": {[]string{"a 1; Depends: b | c", "b 1", "c 1"}, "a", "a 1, b 1"},
		"prefers what is chosen already": {
			[]string{"a 1; Depends: b | c, d", "b 1", "c 1", "d 1; Depends: c"}, "a", "a 1, c 1, d 1",
		},
		"takes an alternative back that cannot be had": {
			[]string{"a 1; Depends: b | c", "b 1; Depends: x, gone", "x 1", "c 1"}, "a", "a 1, c 1",
		},
		"goes in circles once": {[]string{"a 1; Depends: b", "b 1; Depends: a"}, "a", "a 1, b 1"},
		"finds providers, the more important first": {
			[]string{"a 1; Depends: mail", "z 1; Provides: mail; Priority: important", "b 1; Provides: mail; Priority: optional"}, "a", "a 1, z 1",
		},
		"needs a version of a versioned relation's provider": {
			[]string{"a 1; Depends: v (>= 2)", "b 1; Provides: v", "c 1; Provides: v (= 1)", "d 1; Provides: v (= 2)"}, "a", "a 1, d 1",
		},
		"takes no provider that a newer version replaced": {
			[]string{"a 1; Depends: v", "b 1; Provides: v", "b 2", "c 1; Provides: v"}, "a", "a 1, c 1",
		},
		"asks for Multi-Arch": {
			[]string{"a 1; Depends: b:any | c:any", "b 1", "c 1; Multi-Arch: allowed"}, "a", "a 1, c 1",
		},
		"drops, and takes what drops for met": {
			[]string{"a 1; Depends: dpkg (>= 1), awk, debconf (>= 0.5) | debconf-2.0", "dpkg 1; Depends: tar", "tar 1", "mawk 1; Provides: awk", "debconf 1"}, "a", "a 1",
		},
		"keeps what was asked for by name": {[]string{"a 1; Depends: openssl", "openssl 1"}, "a openssl", "a 1, openssl 1"},
		"avoids a conflict": {
			[]string{"a 1; Depends: b | c", "b 1; Conflicts: a", "c 1"}, "a", "a 1, c 1",
		},
		"heeds Breaks with a bound": {
			[]string{"a 1; Depends: b", "b 2; Breaks: a (<< 1)"}, "a", "a 1, b 2",
		},
		"names the chain": {
			[]string{"a 1; Depends: b", "b 2; Depends: c (>= 3)", "c 1"}, "a",
			"resolve packages: a 1, which needs b 2 needs c (>= 3): the suite has c 1",
		},
		"names what is not there": {nil, "a", "resolve packages: a: no such package in the suite"},
		"names a conflict": {
			[]string{"a 1; Depends: b", "b 1; Conflicts: a"}, "a",
			"resolve packages: a 1 needs b 1: it conflicts with a 1",
		},
		"does not conflict with itself": {[]string{"a 1; Provides: v; Conflicts: v"}, "a", "a 1"},
	} {
		t.Run(name, func(t *testing.T) {
			requests, err := Spec{Packages: strings.Fields(c.requests)}.requests()
			if err != nil {
				t.Fatal(err)
			}
			list, err := indexOf(t, c.index...).closure(requests, isDropped)
			var names []string
			for _, p := range list {
				names = append(names, p.String())
			}
			slices.Sort(names)
			got := strings.Join(names, ", ")
			if err != nil {
				got = err.Error()
				if bad := new(UnsatisfiableError); !errors.As(err, &bad) {
					t.Errorf("%T is not the error's type", err)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParsePackagesRefusesHostileEntries(t *testing.T) {
	good := "Package: a\nVersion: 1\nArchitecture: all\nSize: 1\nSHA256: " + strings.Repeat("0", 64) + "\nFilename: pool/a.deb\n"
	packages := func(text string) (int, error) {
		x := indexOf(t)
		err := x.addPackages(t.Context(), strings.NewReader(text), "trixie", "")
		return len(x.byName), err
	}
	if n, err := packages(good); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	for from, to := range map[string]string{
		"pool/a.deb": "../../etc/passwd", "Filename: pool": "Filename: /pool", "a.deb": "a.deb?x=http://h", "Package: a": "Package: ../a",
		"Version: 1": "Version: ", "Size: 1": "Size: -1", "SHA256: 0": "SHA256: ", "Architecture: all": "Architecture: a/b", "pool/": "pool//../",
		good: "Maintainer: someone\n",
	} {
		if _, err := packages(strings.Replace(good, from, to, 1)); err == nil {
			t.Errorf("an entry with %q is taken", to)
		}
	}
	if n, err := packages(strings.Replace(good, "all", "arm64", 1)); n != 0 || err != nil {
		t.Errorf("an entry for another architecture: %d, %v", n, err)
	}
}

// What the index gives back is what was put in, also where a field goes on over
// several lines.
func TestIndexKeepsPackages(t *testing.T) {
	x := indexOf(t, "a 1:2-3; Depends: b,\n c (>= 1); Multi-Arch: foreign; Essential: yes; Priority: required; Provides: v (= 2), w", "a 1", "b 1; Provides: v", "d 1")
	list := x.named("a")
	if len(list) != 2 || len(x.named("v")) != 0 || x.err != nil {
		t.Fatalf("%v, %v", list, x.err)
	}
	p := list[0]
	if depends, err := ParseDependencies(p.depends); err != nil || len(depends) != 2 {
		t.Errorf("depends %q: %v", p.depends, err)
	}
	if p.version.String() != "1:2-3" || !p.essential || p.multiArch != "foreign" || p.priority != "required" || p.suite != "trixie" ||
		p.filename != "pool/a.deb" || p.size != 1 || len(p.provides) != 2 {
		t.Errorf("%+v", p)
	}
	if got := x.providing("v"); len(got) != 2 || got[0] != p || got[1] != x.named("b")[0] {
		t.Errorf("providers: %v", got)
	}
	whole := x.file
	defer func() { x.file = whole }()
	var err error
	if x.file, err = os.Open(os.DevNull); err != nil {
		t.Fatal(err)
	}
	defer x.file.Close()
	list, err = x.closure([]Relation{{Name: "b"}, {Name: "d"}}, nil)
	if err == nil || errors.As(err, new(*UnsatisfiableError)) {
		t.Errorf("an index that cannot be read: %v, %v", list, err)
	}
}
