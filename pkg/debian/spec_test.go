package debian

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSpec(t *testing.T) {
	for in, want := range map[string]Spec{
		"debian://trixie":                       {Suite: "trixie"},
		"debian://sid?packages=python3,libpq5":  {Suite: "sid", Packages: []string{"python3", "libpq5"}},
		"debian://trixie?packages=a&packages=b": {Suite: "trixie", Packages: []string{"a", "b"}},
		"debian://trixie?packages=libstdc++6=14.2.0-19&arch=arm64&components=main,contrib": {
			Suite: "trixie", Packages: []string{"libstdc++6=14.2.0-19"}, Arch: "arm64", Components: []string{"main", "contrib"}},
		"debian://bookworm?mirror=http://m.example.org/debian,http://m.example.org/debian-security&signed-by=/k.gpg&check-valid-until=no&snapshot=20261121T000000Z": {
			Suite: "bookworm", Mirror: "http://m.example.org/debian,http://m.example.org/debian-security", SignedBy: "/k.gpg", IgnoreExpiry: true, Snapshot: "20261121T000000Z"},
	} {
		got, err := ParseSpec(in)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", in, err, diff)
		}
	}
	for in, want := range map[string]string{
		"python:3":                                  "does not begin with",
		"debian://":                                 "no name of a Debian release",
		"debian://trixie-updates":                   "no name of a Debian release",
		"debian://../x":                             "no name of a Debian release",
		"debian://trixie?package=a":                 `unknown parameter "package"`,
		"debian://trixie?packages=../a":             "no name of a package",
		"debian://trixie?packages=a=":               "is empty",
		"debian://trixie?arch=amd64&arch=arm64":     "more than once",
		"debian://trixie?arch=/":                    "no architecture",
		"debian://trixie?snapshot=2026-01-01":       "not a time",
		"debian://trixie?snapshot=20261399T000000Z": "not a time",
		"debian://trixie?mirror=ftp://x/debian":     "no address",
		"debian://trixie?mirror=":                   "not one address",
		"debian://trixie?check-valid-until=maybe":   "neither yes nor no",
		"debian://trixie?signed-by=":                "names no file",
		"debian://trixie?packages=%zz":              "cannot be read",
	} {
		_, err := ParseSpec(in)
		var bad *SpecError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) || bad.Hint() == "" {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}

func TestSpecSources(t *testing.T) {
	for name, c := range map[string]struct {
		spec   Spec
		mirror string
		want   []string
		err    string
	}{
		"a mirror": {Spec{Suite: "trixie", Mirror: "http://m.example.org/debian"}, "http://unused.example.org",
			[]string{"http://m.example.org/debian trixie", "http://m.example.org/debian trixie-updates"}, ""},
		"the setting, with security": {Spec{Suite: "trixie"}, "http://m.example.org/debian/, http://s.example.org/",
			[]string{"http://m.example.org/debian trixie", "http://m.example.org/debian trixie-updates", "http://s.example.org trixie-security"}, ""},
		"a snapshot": {Spec{Suite: "sid", Mirror: "http://s.example.org/archive/debian", Snapshot: "20261121T000000Z"}, "",
			[]string{"http://s.example.org/archive/debian/20261121T000000Z sid"}, ""},
		"another snapshot": {Spec{Suite: "sid", Mirror: "http://s.example.org/archive/debian/20200101T000000Z", Snapshot: "20261121T000000Z"}, "",
			[]string{"http://s.example.org/archive/debian/20261121T000000Z sid"}, ""},
		"no snapshot service": {Spec{Suite: "sid", Snapshot: "20261121T000000Z"}, "http://m.example.org/debian", nil, "not that of a snapshot service"},
		"nothing":             {Spec{Suite: "sid"}, "", nil, "none is set"},
		"a bad setting":       {Spec{Suite: "sid"}, "mirror.example.org", nil, "no address"},
		"no keyring":          {Spec{Suite: "sid", SignedBy: "/nonexistent"}, "http://m.example.org/debian", nil, "read keyring"},
	} {
		t.Run(name, func(t *testing.T) {
			sources, err := Options{Mirror: c.mirror}.sources(c.spec)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%v, want %q", err, c.err)
				}
				return
			}
			var got []string
			for _, s := range sources {
				got = append(got, s.URI+" "+s.Suite)
			}
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestRedact(t *testing.T) {
	s := Source{URI: "http://user:secret@m.example.org/debian", Suite: "sid"}
	if strings.Contains(s.inRelease(), "secret") {
		t.Error(s.inRelease())
	}
}
