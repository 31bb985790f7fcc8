package index_test

import (
	"context"
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/google/go-cmp/cmp"
)

func TestFetchVerifies(t *testing.T) {
	s := indextest.NewServer(t)
	f := s.AddWheel("a", "1.0", nil, "")
	strong, weak := sha512.Sum512(f.Content), md5.Sum(f.Content)
	wrong := strings.Repeat("ab", 32)
	tests := []struct {
		name   string
		hashes map[string]string
		size   int64
		err    string
	}{
		{"sha256", map[string]string{"sha256": f.SHA256()}, int64(len(f.Content)), ""},
		{"sha512 and md5", map[string]string{"sha512": hex.EncodeToString(strong[:]), "md5": hex.EncodeToString(weak[:])}, 0, ""},
		{"none", nil, 0, ""},
		{"wrong sha256", map[string]string{"sha256": wrong}, 0, "sha256 of a-1.0-py3-none-any.whl is " + f.SHA256()},
		{"one of two wrong", map[string]string{"sha256": f.SHA256(), "sha384": wrong}, 0, "sha384"},
		{"too long", nil, int64(len(f.Content)) - 1, "more than"},
		{"too short", nil, int64(len(f.Content)) + 1, "but the index says"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cache := indextest.NewCache(t)
			c := newClient(t, s, index.Options{Cache: cache})
			blob, err := c.Fetch(ctx, python.File{Filename: f.Filename, URL: s.FileURL(f.Filename), Hashes: tt.hashes, Size: tt.size})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				if cache.Blobs() != 0 {
					t.Error("the cache kept it")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(blob.Path); err != nil || string(got) != string(f.Content) {
				t.Errorf("content differs, %v", err)
			}
		})
	}
}

func TestFetchFromThisMachine(t *testing.T) {
	name, content := indextest.Wheel(indextest.Spec{Name: "a", Version: "1.0+local"})
	path := filepath.Join(t.TempDir(), "with space", name)
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, path, string(content))
	f, err := index.LocalFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, nil, index.Options{})
	if blob, err := c.Fetch(ctx, f.Locked()); err != nil || blob.Size != int64(len(content)) {
		t.Errorf("%+v, %v", blob, err)
	}
}

// TestBrokenDownloadsGoOn cuts the connection in the middle of a wheel.
func TestBrokenDownloadsGoOn(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		t.Run(fmt.Sprintf("ranges=%t", ranges), func(t *testing.T) {
			s := indextest.NewServer(t)
			s.NoRanges = !ranges
			f := s.AddSpec(bigWheel(1))
			var cut atomic.Bool
			s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if cut.Swap(true) {
					return false
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(f.Content)))
				w.Write(f.Content[:100<<10])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			w := python.File{Filename: f.Filename, URL: s.FileURL(f.Filename), Hashes: map[string]string{"sha256": f.SHA256()}}
			if _, err := newClient(t, s, index.Options{}).Fetch(ctx, w); err != nil {
				t.Fatal(err)
			}
			r := s.Requests()
			if len(r) != 2 || !strings.HasPrefix(r[1].Range, "bytes=") || r[1].Range == "bytes=0-" {
				t.Errorf("requests %+v", r)
			}
		})
	}
}

func TestRetries(t *testing.T) {
	tests := []struct {
		status, times, want int
		ok                  bool
	}{
		{503, 2, 3, true},
		{429, 1, 2, true},
		{503, 9, 4, false},
		{404, 1, 1, false},
		{400, 1, 1, false},
		{403, 9, 2, false}, // the second for the list of projects
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d, %d times", tt.status, tt.times), func(t *testing.T) {
			t.Parallel()
			s := indextest.NewServer(t)
			s.AddWheel("a", "1.0", nil, "")
			var n atomic.Int64
			s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if n.Add(1) > int64(tt.times) {
					return false
				}
				w.WriteHeader(tt.status)
				return true
			}
			_, err := newClient(t, s, index.Options{}).Project(ctx, "a")
			if (err == nil) != tt.ok || int(n.Load()) != tt.want {
				t.Errorf("%d requests, want %d; error %v", n.Load(), tt.want, err)
			}
			var status *index.StatusError
			if tt.status == 400 && (!errors.As(err, &status) || status.Status != 400) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	s := indextest.NewServer(t)
	stop, cancel := context.WithCancel(ctx)
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		cancel()
		w.WriteHeader(503)
		return true
	}
	if _, err := newClient(t, s, index.Options{}).Project(stop, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if n := len(s.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestCredentialsStayWithTheirOrigin follows redirects between two servers that
// differ only in the port.
func TestCredentialsStayWithTheirOrigin(t *testing.T) {
	private, other := indextest.NewServer(t), indextest.NewServer(t)
	private.User, private.Password = "user", "s3cret"
	f := other.AddWheel("a", "1.0", nil, "")
	private.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if _, _, ok := r.BasicAuth(); !ok {
			return false
		}
		http.Redirect(w, r, other.Origin()+r.URL.Path, http.StatusFound)
		return true
	}
	u, err := url.Parse(private.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("user", "s3cret")
	c := newClient(t, nil, index.Options{Indexes: []index.Index{{URL: u.String()}}})
	files, err := c.Project(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Fetch(ctx, files[0].Locked()); err != nil {
		t.Fatal(err)
	}
	if files[0].URL != other.FileURL(f.Filename) {
		t.Errorf("the base of relative URLs is not where the page came from: %s", files[0].URL)
	}
	for _, r := range private.Requests() {
		if r.Authorization == "" {
			t.Errorf("no credentials for their own origin: %+v", r)
		}
	}
	for _, r := range other.Requests() {
		if r.Authorization != "" {
			t.Errorf("credentials for another origin: %+v", r)
		}
	}
}

func TestCredentialsFromElsewhere(t *testing.T) {
	var asked []string
	ask := func(password string) func(context.Context, string) (string, string, bool, error) {
		return func(_ context.Context, origin string) (string, string, bool, error) {
			asked = append(asked, origin)
			return "user", password, true, nil
		}
	}
	tests := []struct {
		name    string
		options index.Options
		asked   int
		ok      bool
	}{
		{"netrc", index.Options{Netrc: index.Netrc{{Machine: "example.org"}, {Machine: "127.0.0.1", Login: "user", Password: "right"}}}, 0, true},
		{"asked for", index.Options{Credentials: ask("right")}, 1, true},
		{"asked for, wrong", index.Options{Credentials: ask("wrong")}, 1, false},
		{"none", index.Options{}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := indextest.NewServer(t)
			s.User, s.Password = "user", "right"
			s.AddWheel("a", "1.0", nil, "")
			s.AddWheel("b", "1.0", nil, "")
			asked = nil
			c := newClient(t, s, tt.options)
			for _, name := range []string{"a", "b"} {
				_, err := c.Project(ctx, name)
				var auth *index.AuthError
				if tt.ok != (err == nil) || !tt.ok && !errors.As(err, &auth) {
					t.Errorf("error %v", err)
				}
			}
			if len(asked) != tt.asked {
				t.Errorf("asked %v", asked)
			}
		})
	}
}

func TestParseNetrc(t *testing.T) {
	const file = `# comment
machine Example.org
	login me
	password "a \"b\" c"
machine two.example.org login x account y password #1
macdef init
	machine evil login e password e

default login anonymous password guest
machine three.example.org password only`
	want := index.Netrc{
		{Machine: "example.org", Login: "me", Password: `a "b" c`},
		{Machine: "two.example.org", Login: "x", Password: "#1"},
		{Machine: "three.example.org", Password: "only"},
	}
	got, err := index.ParseNetrc([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"machine", "login x", "machine a\nlogin", "machine a s3cret"} {
		if _, err := index.ParseNetrc([]byte(bad)); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}
