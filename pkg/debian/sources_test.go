package debian

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const deb822Sources = `Types: deb deb-src
# a comment
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.org/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.example.org/debian
Suites: trixie
Components: main
Enabled: no
`

func TestReadSources(t *testing.T) {
	for name, c := range map[string]struct {
		files   map[string]string
		release string
		want    []string
	}{
		"deb822": {
			map[string]string{"sources.list.d/debian.sources": deb822Sources}, "trixie",
			[]string{"http://mirror.example.org/debian trixie", "http://mirror.example.org/debian trixie-updates ?", "http://mirror.example.org/debian-security trixie-security ?"},
		},
		"the host's own suite must be whole": {
			map[string]string{"sources.list.d/debian.sources": deb822Sources}, "bookworm",
			[]string{"http://mirror.example.org/debian bookworm", "http://mirror.example.org/debian bookworm-updates", "http://mirror.example.org/debian-security bookworm-security"},
		},
		"sid has no pockets": {
			map[string]string{"sources.list.d/debian.sources": deb822Sources}, "sid",
			[]string{"http://mirror.example.org/debian sid"},
		},
		"one line": {
			map[string]string{"sources.list": `
# deb http://old.example.org/debian stretch main
deb-src http://src.example.org/debian trixie main
deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]	https://mirror.example.org/debian/ trixie main # the mirror
deb https://mirror.example.org/debian-security/ stable/updates main
`}, "trixie",
			[]string{"https://mirror.example.org/debian trixie", "https://mirror.example.org/debian-security trixie-security ?"},
		},
		"third parties": {
			map[string]string{
				"sources.list.d/a-vendor.list":   "deb [signed-by=/etc/apt/keyrings/vendor.gpg] http://vendor.example.com/debian bookworm main\n",
				"sources.list.d/b-docker.list":   "deb http://docker.example.com/linux/debian bookworm stable\n",
				"sources.list.d/c-unsigned.list": "deb http://tools.example.com bookworm main\n",
				"sources.list.d/d-node.list":     "deb http://node.example.com/20.x nodistro main\n",
				"sources.list.d/e-pg.list":       "deb http://pg.example.com/apt bookworm-pgdg main\n",
				"sources.list.d/f.list":          "deb http://mirror.example.org/debian bookworm main\n",
				"sources.list.d/g.list.disabled": "deb http://zzz.example.org/debian trixie main\n",
				"sources.list.d/h.list":          "deb cdrom:[Debian]/ bookworm main\ndeb file:/srv/debian bookworm main\n",
			}, "trixie",
			[]string{"http://mirror.example.org/debian trixie"},
		},
		"a list of mirrors": {
			map[string]string{
				"sources.list.d/debian.sources": "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: trixie\nComponents: main\n",
				"mirrors/debian.list":           "# first\nhttps://cdn.example.org/debian\tpriority:1\nhttps://other.example.org/debian\n",
			}, "trixie",
			[]string{"https://cdn.example.org/debian trixie"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			host := fstest.MapFS{}
			for file, text := range c.files {
				host["etc/apt/"+file] = &fstest.MapFile{Data: []byte(text)}
			}
			h, err := ReadSources(host)
			if err != nil {
				t.Fatal(err)
			}
			if len(h.Problems) > 0 {
				t.Error(h.Problems)
			}
			sources, err := h.of(c.release)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range sources {
				text := s.URI + " " + s.Suite
				if s.Optional {
					text += " ?"
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadSourcesProblems(t *testing.T) {
	h, err := ReadSources(fstest.MapFS{
		"etc/apt/sources.list":             {Data: []byte("deb [a=b http://mirror.example.org/debian trixie main\nrpm x\ndeb http://mirror.example.org/debian\n")},
		"etc/apt/sources.list.d/x.sources": {Data: []byte("Types: deb\nSuites: trixie\n\nTypes deb\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range h.Problems {
		var positioned interface{ Position() (string, int) }
		if !errors.As(p, &positioned) {
			t.Errorf("%v has no position", p)
		}
		at, _, _ := strings.Cut(p.Error(), ": ")
		got = append(got, at)
	}
	want := []string{"/etc/apt/sources.list:1", "/etc/apt/sources.list:2", "/etc/apt/sources.list:3",
		"/etc/apt/sources.list.d/x.sources:1", "/etc/apt/sources.list.d/x.sources:4"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = h.of("trixie")
	var none *NoMirrorError
	if !errors.As(err, &none) || !strings.Contains(none.Hint(), "BOYABUILD_DEBIAN_MIRROR") || !strings.Contains(err.Error(), "sources.list:1") {
		t.Errorf("without a mirror: %v", err)
	}
}

func TestReadSourcesWithoutApt(t *testing.T) {
	h, err := ReadSources(fstest.MapFS{})
	if err != nil || len(h.entries) != 0 {
		t.Errorf("%v, %v", h, err)
	}
}

func TestSourceKeys(t *testing.T) {
	host := fstest.MapFS{
		hostKeyring:                        {Data: []byte("host's")},
		"etc/apt/sources.list.d/x.sources": {Data: []byte("Types: deb\nURIs: http://m.example.org/debian\nSuites: trixie\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n")},
	}
	h, err := ReadSources(host)
	if err != nil {
		t.Fatal(err)
	}
	sources, err := h.of("trixie")
	if err != nil {
		t.Fatal(err)
	}
	want := Keyring{archiveKeys, []byte("host's"), []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n")}
	if diff := cmp.Diff(want, sources[0].Keyring); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if keys, err := ArchiveKeyring().entities(); err != nil || len(keys) < 9 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func FuzzSources(f *testing.F) {
	f.Add("deb [signed-by=/x] http://mirror.example.org/debian trixie main", deb822Sources)
	f.Add("deb [", "Types: deb\nURIs: http://a\nSuites: /\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----")
	f.Fuzz(func(t *testing.T, list, sources string) {
		h, err := ReadSources(fstest.MapFS{
			"etc/apt/sources.list":             {Data: []byte(list)},
			"etc/apt/sources.list.d/x.sources": {Data: []byte(sources)},
		})
		if err != nil {
			t.Fatal(err)
		}
		found, _ := h.of("trixie")
		for _, s := range found {
			if !strings.HasPrefix(s.URI, "http") || strings.HasSuffix(s.URI, "/") {
				t.Errorf("address %q", s.URI)
			}
		}
	})
}
