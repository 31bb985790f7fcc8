package index_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/boyabuild/boyabuild/pkg/store"
	"github.com/google/go-cmp/cmp"
)

// TestKeptPages reads a page, and again when some time has passed.
func TestKeptPages(t *testing.T) {
	headers := func(lines ...string) func(http.Header) {
		return func(h http.Header) {
			for _, line := range lines {
				name, value, _ := strings.Cut(line, ": ")
				h.Add(name, value)
			}
		}
	}
	tests := []struct {
		name    string
		header  func(http.Header)
		passed  time.Duration
		refresh bool
		asked   bool
	}{
		{"silent, soon", nil, 4 * time.Minute, false, false},
		{"silent, later", nil, 6 * time.Minute, false, true},
		{"silent, soon, but refresh", nil, time.Second, true, true},
		{"silent, the clock went back", nil, -time.Hour, false, true},
		{"max-age, before", headers("Cache-Control: max-age=600"), 9 * time.Minute, false, false},
		{"max-age, after", headers("Cache-Control: max-age=600"), 11 * time.Minute, false, true},
		{"no-cache", headers("Cache-Control: no-cache"), time.Second, false, true},
		{"no-store", headers("Cache-Control: no-store, max-age=600"), time.Second, false, true},
		{"validators only", headers("Last-Modified: Mon, 02 Jan 2023 00:00:00 GMT"), time.Second, false, true},
		{"max-age and validators", headers("Cache-Control: max-age=60", `ETag: "x"`), 30 * time.Second, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := indextest.NewServer(t)
			f := s.AddWheel("a", "1.0", nil, "")
			s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if tt.header != nil {
					tt.header(w.Header())
				}
				return false
			}
			now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			o := index.Options{Cache: indextest.NewCache(t), Now: func() time.Time { return now }}
			for _, refresh := range []bool{false, tt.refresh} {
				o.Refresh = refresh
				l, err := newClient(t, s, o).Listing(ctx, "a")
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{f.Filename}, filenames(l.Files())); diff != "" {
					t.Error(diff)
				}
				now = now.Add(tt.passed)
			}
			if asked := len(s.Requests()) == 2; asked != tt.asked {
				t.Errorf("asked again: %t, want %t", asked, tt.asked)
			}
		})
	}
}

// TestRevalidation asks with what the server gave to ask with.
func TestRevalidation(t *testing.T) {
	s := indextest.NewServer(t)
	s.AddWheel("a", "1.0", nil, "")
	var asked []string
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		asked = append(asked, r.Header.Get("If-Modified-Since")+r.Header.Get("If-None-Match"))
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2023 00:00:00 GMT")
		if r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return true
		}
		return false
	}
	cache := indextest.NewCache(t)
	for range 3 {
		l, err := newClient(t, s, index.Options{Cache: cache}).Listing(ctx, "a")
		if err != nil || l.Len() != 1 {
			t.Fatalf("%v, %v", l, err)
		}
	}
	if diff := cmp.Diff([]string{"", "Mon, 02 Jan 2023 00:00:00 GMT", "Mon, 02 Jan 2023 00:00:00 GMT"}, asked); diff != "" {
		t.Error(diff)
	}
}

// TestRefresh wants a version that came out after the page was kept.
func TestRefresh(t *testing.T) {
	s := indextest.NewServer(t)
	s.AddWheel("a", "1.0", nil, "")
	cache := indextest.NewCache(t)
	if _, err := newClient(t, s, index.Options{Cache: cache}).Project(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	s.AddWheel("a", "2.0", nil, "")
	c := newClient(t, s, index.Options{Cache: cache})
	if asked, err := c.Refresh(ctx, "a"); asked || err != nil {
		t.Errorf("what nobody looked up is asked for again: %t, %v", asked, err)
	}
	if l, err := c.Listing(ctx, "A"); err != nil || len(l.Versions()) != 1 || !l.Reused() {
		t.Fatalf("%+v, %v", l, err)
	}
	for i, want := range []bool{true, false} {
		if asked, err := c.Refresh(ctx, "A"); asked != want || err != nil {
			t.Errorf("refresh %d: asked %t, %v", i, asked, err)
		}
		if files, err := c.Project(ctx, "a"); err != nil || len(files) != 2 {
			t.Errorf("after refresh %d: %v, %v", i, filenames(files), err)
		}
	}
	if n := len(s.Requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
	fresh := newClient(t, s, index.Options{Cache: indextest.NewCache(t)})
	if _, err := fresh.Listing(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if asked, err := fresh.Refresh(ctx, "a"); asked || err != nil {
		t.Errorf("what was asked for just now is asked for again: %t, %v", asked, err)
	}
}

// TestDamagedPage finds rubbish where a page was kept.
func TestDamagedPage(t *testing.T) {
	s := indextest.NewServer(t)
	s.ETags = true
	s.AddWheel("a", "1.0", nil, "")
	dir := t.TempDir()
	cache, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l, err := newClient(t, s, index.Options{Cache: cache}).Listing(ctx, "a")
		if err != nil || l.Len() != 1 {
			t.Fatalf("%v, %v", l, err)
		}
		blobs, err := os.ReadDir(dir + "/blobs/sha256")
		if err != nil || len(blobs) != 1 {
			t.Fatalf("%v, %v", blobs, err)
		}
		if err := os.WriteFile(dir+"/blobs/sha256/"+blobs[0].Name(), []byte("boyabuild page 1 rubbish"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoPasswordIsKept looks for passwords in the cache.
func TestNoPasswordIsKept(t *testing.T) {
	s := serve(t, "text/html", `<a href="https://user:s3cret@example.org/a-1-py3-none-any.whl">a</a>`)
	dir := t.TempDir()
	cache, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	u := strings.Replace(s.URL, "://", "://me:s3cret@", 1)
	if _, err := newClient(t, nil, index.Options{Cache: cache, Indexes: []index.Index{{URL: u}}}).Project(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"/blobs/sha256/", "/records/"} {
		entries, _ := os.ReadDir(dir + folder)
		for _, e := range entries {
			content, err := os.ReadFile(dir + folder + e.Name())
			if err != nil || strings.Contains(string(content), "s3cret") {
				t.Errorf("%s: %q, %v", e.Name(), content, err)
			}
		}
	}
}

func TestUnsafeBestMatch(t *testing.T) {
	private, public, third := indextest.NewServer(t), indextest.NewServer(t), indextest.NewServer(t)
	private.AddWheel("a", "1.0", nil, "")
	public.AddWheel("a", "9.0", nil, "")
	public.AddWheel("a", "1.0", nil, "")
	indexes := []index.Index{{URL: private.URL, Name: "private"}, {URL: third.URL}, {URL: public.URL, Name: "public"}}
	c := newClient(t, nil, index.Options{Indexes: indexes, Strategy: index.UnsafeBestMatch})
	l, err := c.Listing(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, v := range l.Versions() {
		for _, e := range l.Entries(i) {
			got = append(got, v.String()+" of "+l.File(e).Index)
		}
	}
	if diff := cmp.Diff([]string{"1.0 of private", "1.0 of public", "9.0 of public"}, got); diff != "" {
		t.Error(diff)
	}
	var missing *index.NotFoundError
	if _, err := c.Listing(ctx, "b"); !errors.As(err, &missing) || len(missing.Indexes) != 3 {
		t.Errorf("unknown: %v", err)
	}
}

// TestPins holds that a pinned project comes from its index or not at all, and
// that an index which only pins name is asked for nothing else.
func TestPins(t *testing.T) {
	public, explicit := indextest.NewServer(t), indextest.NewServer(t)
	public.AddWheel("private", "9.0", nil, "")
	public.AddWheel("other", "1.0", nil, "")
	explicit.AddWheel("other", "9.0", nil, "")
	o := index.Options{Indexes: []index.Index{{URL: public.URL}}, Pinned: map[string]index.Index{"Private": {URL: explicit.URL}}}
	c := newClient(t, nil, o)
	var missing *index.NotFoundError
	if files, err := c.Project(ctx, "private"); !errors.As(err, &missing) || len(missing.Indexes) != 1 {
		t.Errorf("a pinned project of another index: %v, %v", filenames(files), err)
	}
	if files, err := c.Project(ctx, "other"); err != nil || files[0].Version.String() != "1.0" {
		t.Errorf("not pinned: %v, %v", filenames(files), err)
	}
	for _, r := range explicit.Requests() {
		if r.Path != "/simple/private/" {
			t.Errorf("the explicit index was asked for %s", r.Path)
		}
	}
	o.Cache, o.Pinned = indextest.NewCache(t), map[string]index.Index{"private": {Name: "typo"}}
	c = newClient(t, nil, o)
	if files, err := c.Project(ctx, "other"); err != nil || len(files) != 1 {
		t.Errorf("not pinned, beside one that is: %v, %v", filenames(files), err)
	}
	_, err := c.Project(ctx, "private")
	var unknown *index.MissingIndexError
	if !errors.As(err, &unknown) || unknown.Index != "typo" || !strings.Contains(unknown.Hint(), "typo") {
		t.Errorf("pinned to a name that no index has: %v", err)
	}
}

// TestPlaceOfCredentials looks at what a keyring is asked.
func TestPlaceOfCredentials(t *testing.T) {
	s := indextest.NewServer(t)
	s.User, s.Password = "reader", "right"
	s.AddWheel("a", "1.0", nil, "")
	s.AddWheel("b", "1.0", nil, "")
	u, _ := url.Parse(s.URL)
	for _, user := range []string{"", "reader"} {
		root := *u
		if user != "" {
			root.User = url.User(user)
		}
		var asked []string
		c := newClient(t, nil, index.Options{
			Indexes: []index.Index{{URL: root.String()}},
			Credentials: func(_ context.Context, place string) (string, string, bool, error) {
				asked = append(asked, place)
				return "reader", "right", true, nil
			},
		})
		for _, name := range []string{"a", "b"} {
			files, err := c.Project(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Fetch(ctx, files[0].Locked()); err != nil { // outside the root, on the same server
				t.Error(err)
			}
		}
		if diff := cmp.Diff([]string{root.String()}, asked); diff != "" {
			t.Errorf("user %q: %s", user, diff)
		}
	}
}

// TestPatience meets a server that has a bad moment, as CodeArtifact has when
// it first fetches from upstream, and says by its own clock when to come back.
func TestPatience(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := indextest.NewServer(t)
	s.AddWheel("a", "1.0", nil, "")
	failed := false
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if failed {
			return false
		}
		failed = true
		w.Header().Set("Date", now.Format(http.TimeFormat))
		w.Header().Set("Retry-After", now.Add(time.Second).Format(http.TimeFormat))
		http.Error(w, "not yet", http.StatusInternalServerError)
		return true
	}
	start := time.Now()
	if _, err := newClient(t, s, index.Options{}).Project(ctx, "a"); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d < time.Second {
		t.Errorf("came back after %s", d)
	}
}

// TestNoCredentialsDowngraded is redirected from TLS to a server without, whose
// name netrc has.
func TestNoCredentialsDowngraded(t *testing.T) {
	a := newAuthority(t)
	secure, root := tlsIndex(t, a, false)
	plain := indextest.NewServer(t)
	plain.AddWheel("a", "1.0", nil, "")
	secure.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if _, _, ok := r.BasicAuth(); !ok {
			t.Error("no credentials over TLS")
		}
		http.Redirect(w, r, plain.URL+"a/", http.StatusFound)
		return true
	}
	transport, err := index.NewTransport(index.TransportOptions{TrustedHosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	c := newClient(t, nil, index.Options{
		Indexes: []index.Index{{URL: root}}, HTTP: &http.Client{Transport: transport},
		Netrc: index.Netrc{{Machine: "127.0.0.1", Login: "user", Password: "s3cret"}},
	})
	if _, err := c.Project(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	for _, r := range plain.Requests() {
		if r.Authorization != "" {
			t.Error(fmt.Sprint("credentials without TLS: ", r))
		}
	}
}

// TestIndexLogin has the login of an index beside its URL.
func TestIndexLogin(t *testing.T) {
	s := indextest.NewServer(t)
	s.User, s.Password = "reader", "right"
	s.AddWheel("a", "1.0", nil, "")
	for _, tt := range []struct{ url, user, password string }{
		{s.URL, "reader", "right"},
		{strings.Replace(s.URL, "://", "://other:wrong@", 1), "reader", "right"},
		{strings.Replace(s.URL, "://", "://reader@", 1), "", "right"},
		{strings.Replace(s.URL, "://", "://other:right@", 1), "reader", ""},
	} {
		c := newClient(t, nil, index.Options{Indexes: []index.Index{{URL: tt.url, User: tt.user, Password: tt.password}}})
		if _, err := c.Project(ctx, "a"); err != nil {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
