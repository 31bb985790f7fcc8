package index_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
)

const (
	staticInfo  = "Metadata-Version: 2.2\nName: a\nVersion: 1.0\nRequires-Python: >=3.8\nRequires-Dist: b>=1; extra == \"x\"\nProvides-Extra: x\n"
	dynamicInfo = "Metadata-Version: 2.2\nName: a\nVersion: 1.0\nDynamic: Requires-Dist\n"
)

// readInfo reads an sdist of this test, which is nothing but its PKG-INFO.
func readInfo(path, _ string) (python.Metadata, bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return python.Metadata{}, false, err
	}
	m, err := python.ParseMetadata(text)
	return m, err == nil && m.IsStatic("Requires-Dist"), err
}

// sdistServer lists a 1.0 as an sdist with a PKG-INFO; advertised is what the
// index serves as its metadata, "" = nothing.
func sdistServer(t *testing.T, info, advertised string) *indextest.Server {
	s := indextest.NewServer(t)
	s.Add(indextest.File{Project: "a", Filename: "a-1.0.tar.gz", Content: []byte(info)})
	if advertised != "" {
		s.Intercept = advertise(s, info, advertised)
	}
	return s
}

// advertise answers the page of a with one that advertises the metadata of its
// sdist (PEP 714), and with that metadata.
func advertise(s *indextest.Server, info, metadata string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/simple/a/":
			w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
			fmt.Fprintf(w, `{"meta":{"api-version":"1.1"},"name":"a","files":[{"filename":"a-1.0.tar.gz","url":%q,"hashes":{"sha256":"%x"},"core-metadata":{"sha256":"%x"}}]}`,
				s.FileURL("a-1.0.tar.gz"), sha256.Sum256([]byte(info)), sha256.Sum256([]byte(metadata)))
		case "/files/a-1.0.tar.gz.metadata":
			fmt.Fprint(w, metadata)
		default:
			return false
		}
		return true
	}
}

func onlyFile(t *testing.T, c *index.Client) index.File {
	t.Helper()
	files, err := c.Project(context.Background(), "a")
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	return files[0]
}

func TestMetadataOfSdists(t *testing.T) {
	filename, wheel := indextest.Wheel(indextest.Spec{Name: "a", Version: "1.0", Requires: []string{"c"}})
	path := filepath.Join(t.TempDir(), filename)
	if err := os.WriteFile(path, wheel, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, info, advertised string
		sdist, build           bool   // what the client has
		want                   string // of Requires-Dist, or in the error
		fetched                bool   // the sdist
		builds                 int
	}{
		{"static", staticInfo, "", true, false, `b>=1; extra == "x"`, true, 0},
		{"advertised", staticInfo, staticInfo, false, false, `b>=1; extra == "x"`, false, 0},
		{"advertised, but dynamic", dynamicInfo, dynamicInfo, true, true, "c", true, 1},
		{"dynamic", dynamicInfo, "", true, true, "c", true, 1},
		{"dynamic, and no builder", dynamicInfo, "", true, false, "its metadata is dynamic and only building it would tell", true, 0},
		{"nobody reads it", staticInfo, "", false, true, "c", true, 1},
		{"broken", "nonsense", "", true, false, "a-1.0.tar.gz: ", true, 0},
		{"broken, and built", "nonsense", "", true, true, "c", true, 1},
		{"of another project", strings.Replace(staticInfo, "Name: a", "Name: z", 1), "", true, false, "its METADATA is that of z", true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := sdistServer(t, tt.info, tt.advertised)
			builds := 0
			o := index.Options{Indexes: []index.Index{{URL: s.URL}}, Cache: indextest.NewCache(t), HTTP: s.Client(), BuildKey: "cp313"}
			if tt.sdist {
				o.Sdist = readInfo
			}
			if tt.build {
				o.Build = func(_ context.Context, f python.File, sdist string) (index.Blob, string, error) {
					builds++
					if got, err := os.ReadFile(sdist); err != nil || string(got) != tt.info || f.Hashes["sha256"] == "" {
						t.Errorf("built from %q, %v, %+v", got, err, f)
					}
					return index.Blob{Path: path, Size: int64(len(wheel))}, filename, nil
				}
			}
			for round := range 2 { // the second time out of the cache
				s.ResetRequests()
				c, err := index.New(o)
				if err != nil {
					t.Fatal(err)
				}
				m, err := c.Metadata(context.Background(), onlyFile(t, c))
				got := ""
				if err != nil {
					got = err.Error()
				} else if len(m.RequiresDist) == 1 {
					got = m.RequiresDist[0].String()
				}
				if !strings.Contains(got, tt.want) || got == "" {
					t.Fatalf("got %q, want %q", got, tt.want)
				}
				fetched := strings.Contains(strings.Join(s.Paths(), " ")+" ", "/files/a-1.0.tar.gz ")
				if want := tt.fetched && round == 0; fetched != want {
					t.Errorf("round %d: asked for %q", round, s.Paths())
				}
				var invalid *index.InvalidWheelError
				var unbuilt *index.UnbuiltError
				if err != nil && !errors.As(err, &invalid) && !(errors.As(err, &unbuilt) && unbuilt.Metadata) {
					t.Errorf("error %v", err)
				}
			}
			if builds != tt.builds {
				t.Errorf("%d builds", builds)
			}
		})
	}
}

func TestBuiltMetadataIsKeptByKey(t *testing.T) {
	s := sdistServer(t, dynamicInfo, "")
	cache := indextest.NewCache(t)
	for i, key := range []string{"cp312", "cp313", "cp312"} {
		filename, wheel := indextest.Wheel(indextest.Spec{Name: "a", Version: "1.0", Requires: []string{key}})
		path := filepath.Join(t.TempDir(), filename)
		if err := os.WriteFile(path, wheel, 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := index.New(index.Options{
			Indexes: []index.Index{{URL: s.URL}}, Cache: cache, HTTP: s.Client(), BuildKey: key,
			Build: func(context.Context, python.File, string) (index.Blob, string, error) {
				if i == 2 {
					t.Error("built again")
				}
				return index.Blob{Path: path}, filename, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Metadata(context.Background(), onlyFile(t, c))
		if err != nil || len(m.RequiresDist) != 1 || m.RequiresDist[0].Name != key {
			t.Errorf("%s: %v, %v", key, m.RequiresDist, err)
		}
	}
}

func TestWheelOfALock(t *testing.T) {
	s := sdistServer(t, dynamicInfo, "")
	s.AddWheel("w", "2.0", nil, "")
	o := index.Options{Indexes: []index.Index{{URL: s.URL}}, Cache: indextest.NewCache(t), HTTP: s.Client()}
	c, err := index.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	wheels, err := c.Project(ctx, "w")
	if err != nil {
		t.Fatal(err)
	}
	if _, name, err := c.Wheel(ctx, python.Locked{Name: "w", Wheel: wheels[0].Locked()}); err != nil || name != "w-2.0-py3-none-any.whl" {
		t.Errorf("%s, %v", name, err)
	}
	locked := python.Locked{Name: "a", Sdist: onlyFile(t, c).Locked()}
	var unbuilt *index.UnbuiltError
	if _, _, err := c.Wheel(ctx, locked); !errors.As(err, &unbuilt) || unbuilt.Metadata || unbuilt.Hint() == "" {
		t.Errorf("error %v", err)
	}
	o.Build = func(context.Context, python.File, string) (index.Blob, string, error) {
		return index.Blob{Path: "built"}, "a-1.0-py3-none-any.whl", nil
	}
	if c, err = index.New(o); err != nil {
		t.Fatal(err)
	}
	if blob, name, err := c.Wheel(ctx, locked); err != nil || name != "a-1.0-py3-none-any.whl" || blob.Path != "built" {
		t.Errorf("%s, %v, %v", name, blob, err)
	}
}
