package index_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// bigWheel is one whose metadata is not in one piece with the end: the
// directory alone is larger than what is read first.
func bigWheel(entries int) indextest.Spec {
	files := map[string]string{"big/blob": strings.Repeat("0123456789abcdef", 40<<10)}
	for i := range entries {
		files[fmt.Sprintf("big/a_rather_long_name_so_that_the_directory_gets_large_%06d.py", i)] = fmt.Sprint(i)
	}
	return indextest.Spec{Name: "big", Version: "1.0", Requires: []string{"dep>=2; extra == 'x'"}, Files: files, Stored: true}
}

// TestMetadataLadder reads the metadata of one wheel by each way there is.
func TestMetadataLadder(t *testing.T) {
	const file = "/files/big-1.0-py3-none-any.whl"
	tests := []struct {
		name   string
		spec   indextest.Spec
		server func(s *indextest.Server)
		want   []string // requests for the wheel, the ranges cut at "="
		kept   bool     // the whole wheel is in the cache afterwards
	}{
		{"advertised", bigWheel(1), func(s *indextest.Server) { s.Metadata = true }, []string{file + ".metadata"}, false},
		{"one range", bigWheel(1), func(s *indextest.Server) {}, []string{file + " bytes=-65536"}, false},
		{"several ranges", bigWheel(2500), func(s *indextest.Server) {}, []string{file + " bytes=-65536", file + " bytes"}, false},
		{"no ranges", bigWheel(1), func(s *indextest.Server) { s.NoRanges = true }, []string{file + " bytes=-65536"}, true},
		{"ranges refused", bigWheel(1), func(s *indextest.Server) {
			s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" {
					return false
				}
				http.Error(w, "no", http.StatusRequestedRangeNotSatisfiable)
				return true
			}
		}, []string{file + " bytes=-65536", file}, true},
		{"another part than asked for", bigWheel(1), func(s *indextest.Server) {
			s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" {
					return false
				}
				w.Header().Set("Content-Range", "bytes 0-3/1000")
				w.WriteHeader(http.StatusPartialContent)
				fmt.Fprint(w, "abcd")
				return true
			}
		}, []string{file + " bytes=-65536", file}, true},
		{"not the part that it says", bigWheel(1), intercept(isRange, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 591002-656537/656538")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(make([]byte, 65536))
		}), []string{file + " bytes=-65536", file + " bytes", file}, true},
		{"broken by ranges", bigWheel(1), intercept(isRange, func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no", http.StatusHTTPVersionNotSupported)
		}), []string{file + " bytes=-65536", file}, true},
		{"ranges for the first time only", bigWheel(2500), intercept(func(r *http.Request) bool {
			return isRange(r) && r.Header.Get("Range") != "bytes=-65536"
		}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprint(w, "0123456789")
		}), []string{file + " bytes=-65536", file + " bytes", file}, true},
		{"ignored from the second time on", bigWheel(2500), intercept(func(r *http.Request) bool {
			return isRange(r) && r.Header.Get("Range") != "bytes=-65536"
		}, func(w http.ResponseWriter, r *http.Request) {
			w.Write(make([]byte, 1<<20))
		}), []string{file + " bytes=-65536", file + " bytes", file}, true},
		{"another file by now", bigWheel(2500), intercept(func(r *http.Request) bool {
			return isRange(r) && r.Header.Get("Range") != "bytes=-65536"
		}, func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no", http.StatusPreconditionFailed)
		}), []string{file + " bytes=-65536", file + " bytes", file}, true},
		{"advertised, but a page", bigWheel(1), func(s *indextest.Server) {
			s.HTML = true
			s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, "/simple/") {
					w.Header().Set("Content-Type", "text/html")
					fmt.Fprintf(w, `<a href="../../files/big-1.0-py3-none-any.whl#sha256=%s" data-core-metadata="true">x</a>`, sumOf(s, "big-1.0-py3-none-any.whl"))
					return true
				}
				if strings.HasSuffix(r.URL.Path, ".metadata") {
					fmt.Fprint(w, "<html>not found</html>")
					return true
				}
				return false
			}
		}, []string{file + ".metadata", file + " bytes=-65536"}, false},
		{"advertised, but not there", bigWheel(1), func(s *indextest.Server) {
			s.Metadata = true
			s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, ".metadata") {
					http.NotFound(w, r)
					return true
				}
				return false
			}
		}, []string{file + ".metadata", file + " bytes=-65536"}, false},
		{"small wheel", indextest.Spec{Name: "big", Version: "1.0", Requires: []string{"dep>=2; extra == 'x'"}}, func(s *indextest.Server) {}, []string{file}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := indextest.NewServer(t)
			tt.server(s)
			f := s.AddSpec(tt.spec)
			cache := indextest.NewCache(t)
			for _, again := range []bool{false, true} {
				c := newClient(t, s, index.Options{Cache: cache})
				files, err := c.Project(ctx, "big")
				if err != nil {
					t.Fatal(err)
				}
				s.ResetRequests()
				m, err := c.Metadata(ctx, files[0])
				if err != nil {
					t.Fatal(err)
				}
				if m.Name != "big" || len(m.RequiresDist) != 1 || m.RequiresDist[0].Name != "dep" {
					t.Errorf("metadata %+v", m)
				}
				if again {
					if n := len(s.Requests()); n != 0 {
						t.Errorf("%d requests for what is in the cache", n)
					}
					continue
				}
				if diff := cmp.Diff(tt.want, shorten(s.Paths(), tt.want)); diff != "" {
					t.Error(diff)
				}
				kept := cache.Has(v1.Hash{Algorithm: "sha256", Hex: f.SHA256()})
				blob, err := c.Fetch(ctx, files[0].Locked())
				if err != nil || blob.Hash.Hex != f.SHA256() || blob.Size != int64(len(f.Content)) {
					t.Errorf("fetch: %+v, %v", blob, err)
				}
				if kept != tt.kept {
					t.Errorf("wheel kept: %t, want %t", kept, tt.kept)
				}
			}
		})
	}
}

func isRange(r *http.Request) bool { return r.Header.Get("Range") != "" }

// intercept makes a server answer some requests in a way of its own.
func intercept(which func(r *http.Request) bool, answer http.HandlerFunc) func(s *indextest.Server) {
	return func(s *indextest.Server) {
		s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if !which(r) {
				return false
			}
			answer(w, r)
			return true
		}
	}
}

// sumOf is the hash of a file as the server has it.
func sumOf(s *indextest.Server, filename string) string {
	for _, f := range s.Files() {
		if f.Filename == filename {
			return f.SHA256()
		}
	}
	return ""
}

// shorten cuts the numbers of ranges and repetitions where the test does not
// say them.
func shorten(paths, want []string) []string {
	var out []string
	for _, p := range paths {
		short, _, _ := strings.Cut(p, "=")
		if len(out) < len(want) && want[len(out)] == short {
			p = short
		}
		if len(out) > 0 && out[len(out)-1] == short {
			continue
		}
		out = append(out, p)
	}
	return out
}

func TestMetadataThatCannotBeUsed(t *testing.T) {
	tests := []struct{ name, metadata, want string }{
		{"of another project", "Metadata-Version: 2.1\nName: b\nVersion: 1.0\n", "METADATA is that of b"},
		{"of another version", "Metadata-Version: 2.1\nName: a\nVersion: 1.1\n", "version 1.1"},
		{"requirement", "Metadata-Version: 2.1\nName: a\nVersion: 1.0\nRequires-Dist: ???\n", "Requires-Dist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := indextest.NewServer(t)
			s.AddWheel("a", "1.0", nil, tt.metadata)
			c := newClient(t, s, index.Options{})
			files, err := c.Project(ctx, "a")
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Metadata(ctx, files[0])
			var invalid *index.InvalidWheelError
			if !errors.As(err, &invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	s := indextest.NewServer(t)
	s.Add(indextest.File{Project: "a", Filename: "a-1.0-py3-none-any.whl", Content: []byte("no zip")})
	c := newClient(t, s, index.Options{})
	files, err := c.Project(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	var invalid *index.InvalidWheelError
	if _, err := c.Metadata(ctx, files[0]); !errors.As(err, &invalid) {
		t.Errorf("no zip: %v", err)
	}
}

// TestDamagedWheelIsFetchedAgain reads metadata of a wheel that is in the cache
// with other bytes than its hash says.
func TestDamagedWheelIsFetchedAgain(t *testing.T) {
	s := indextest.NewServer(t)
	f := s.AddSpec(indextest.Spec{Name: "a", Version: "1.0", Requires: []string{"dep"}})
	cache := indextest.NewCache(t)
	c := newClient(t, s, index.Options{Cache: cache})
	files, err := c.Project(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	blob, err := c.Fetch(ctx, files[0].Locked())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(blob.Path, blob.Size/2); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	c = newClient(t, s, index.Options{Cache: cache, Log: slog.New(slog.NewTextHandler(&log, nil))})
	m, err := c.Metadata(ctx, files[0])
	if err != nil || len(m.RequiresDist) != 1 {
		t.Errorf("metadata %+v, %v", m, err)
	}
	if got, err := os.ReadFile(blob.Path); err != nil || string(got) != string(f.Content) {
		t.Errorf("the cache has %d bytes, %v", len(got), err)
	}
	if !strings.Contains(log.String(), "damaged in the cache") {
		t.Errorf("log: %s", log.String())
	}
}

func TestAdvertisedMetadataIsVerified(t *testing.T) {
	s := indextest.NewServer(t)
	s.Metadata = true
	s.AddWheel("a", "1.0", nil, "")
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, ".metadata") {
			return false
		}
		fmt.Fprint(w, "Metadata-Version: 2.1\nName: a\nVersion: 1.0\nRequires-Dist: evil\n")
		return true
	}
	c := newClient(t, s, index.Options{})
	files, err := c.Project(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	var hash *index.HashError
	if _, err := c.Metadata(ctx, files[0]); !errors.As(err, &hash) || hash.Hint() == "" {
		t.Errorf("error %v", err)
	}
}

func TestOldMetadataIsRepaired(t *testing.T) {
	tests := map[string]string{ // as uploaded -> as it is meant
		"foo (>=1.0.*)":                         "foo>=1.0",
		"foo2 >=1.0 <2":                         "foo2<2,>=1.0",
		"foo (>=1.0,)":                          "foo>=1.0",
		"foo>=1.0'; python_version >= \"3\"":    "foo>=1.0",
		"foo=>1.0":                              "foo>=1.0",
		"foo (>dev)":                            "foo",
		"foo>dev,<2":                            "foo<2",
		"foo (>=7.2.0<8.0.0)":                   "foo<8.0.0,>=7.2.0",
		"foo >=1.0 <2.5 !=2.0":                  "foo!=2.0,<2.5,>=1.0",
		"foo>=1!1.0!=1!2.0":                     "foo!=1!2.0,>=1!1.0",
		"foo (!=~1.0)":                          "foo!=1.0.*",
		"foo (>= '2.0', <'3')":                  "foo<3,>=2.0",
		"foo[x] (>=1.0<2); extra == 'y'":        "foo<2,>=1.0",
		"foo>=1.0; python_version >= '3.*.bad'": "",
	}
	for given, want := range tests {
		s := indextest.NewServer(t)
		s.AddWheel("a", "1.0", nil, "Metadata-Version: 2.1\nName: a\nVersion: 1.0\nRequires-Python: >=3.6.*\nRequires-Dist: fine==1.*\nRequires-Dist: "+given+"\n")
		c := newClient(t, s, index.Options{})
		files, err := c.Project(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Metadata(ctx, files[0])
		if want == "" {
			continue // whatever the parser says of it, it must not be repaired into something else
		}
		if err != nil {
			t.Errorf("%s: %v", given, err)
			continue
		}
		q := m.RequiresDist[1]
		if got := q.Name + q.Specifiers.String(); got != want || m.RequiresDist[0].Specifiers.String() != "==1.*" || m.RequiresPython.String() != ">=3.6" {
			t.Errorf("%s: %s, want %s (%+v)", given, got, want, m)
		}
	}
}
