package index_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/google/go-cmp/cmp"
)

var ctx = context.Background()

func newClient(t testing.TB, s *indextest.Server, o index.Options) *index.Client {
	t.Helper()
	if o.Cache == nil {
		o.Cache = indextest.NewCache(t)
	}
	if o.Indexes == nil && s != nil {
		o.Indexes = []index.Index{{URL: s.URL}}
	}
	c, err := index.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func filenames(files []index.File) []string {
	var out []string
	for _, f := range files {
		out = append(out, f.Filename)
	}
	return out
}

// TestPages reads the same project as JSON and as HTML.
func TestPages(t *testing.T) {
	uploaded := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, html := range []bool{false, true} {
		t.Run(fmt.Sprintf("html=%t", html), func(t *testing.T) {
			s := indextest.NewServer(t)
			s.HTML, s.Metadata = html, true
			wheel := s.AddSpec(indextest.Spec{Name: "Foo.Bar", Version: "1.0", RequiresPython: ">=3.8,<4", Yanked: true, YankedReason: "a <bad> one", UploadTime: uploaded})
			s.Add(indextest.File{Project: "foo-bar", Filename: "foo-bar-0.9.tar.gz", Content: []byte("x")})
			s.Add(indextest.File{Project: "foo-bar", Filename: "foo_bar-0.9-py3.egg", Content: []byte("x")})
			s.Add(indextest.File{Project: "foo-bar", Filename: "other-0.9-py3-none-any.whl", Content: []byte("x")})
			files, err := newClient(t, s, index.Options{}).Project(ctx, "foo_Bar")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"foo_bar-1.0-py3-none-any.whl", "foo-bar-0.9.tar.gz"}, filenames(files)); diff != "" {
				t.Fatal(diff)
			}
			f := files[0]
			if f.URL != s.FileURL(f.Filename) || f.Hashes["sha256"] != wheel.SHA256() || f.RequiresPython != ">=3.8,<4" || len(f.Python) != 2 ||
				!f.Yanked || f.YankedReason != "a <bad> one" || !f.CoreMetadata || f.MetadataHashes["sha256"] == "" || f.Version.String() != "1.0" {
				t.Errorf("wheel: %+v", f)
			}
			if files[1].Kind != index.Sdist || files[1].Version.String() != "0.9" || files[1].Yanked {
				t.Errorf("sdist: %+v", files[1])
			}
			if !html && (f.Size != int64(len(wheel.Content)) || !f.UploadTime.Equal(uploaded)) {
				t.Errorf("size %d, uploaded %s", f.Size, f.UploadTime)
			}
			accept := s.Requests()[0].Accept
			if want := "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"; accept != want {
				t.Errorf("Accept: %s", accept)
			}
		})
	}
}

// serve answers every request with one page.
func serve(t *testing.T, contentType, page string) *indextest.Server {
	s := indextest.NewServer(t)
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", contentType)
		fmt.Fprint(w, page)
		return true
	}
	return s
}

func TestPageDetails(t *testing.T) {
	const sum = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	tests := []struct {
		name, contentType, page string
		want                    []string // URL, and what else is set
		err                     string
	}{
		{"base href", "text/html", `<base href="https://files.example.org/x/"><base href="/no/"><a href="a-1-py3-none-any.whl">a</a>`,
			[]string{"https://files.example.org/x/a-1-py3-none-any.whl"}, ""},
		{"fragment with hash", "text/html", `<a href="https://example.org/a-1.zip#sha256=` + strings.ToUpper(sum) + `">a</a>`,
			[]string{"https://example.org/a-1.zip sha256=" + sum}, ""},
		{"escaped name, credentials", "text/html", `<a href="https://u:p@example.org/a-1%2Blocal-py3-none-any.whl">a</a>`,
			[]string{"https://example.org/a-1%2Blocal-py3-none-any.whl"}, ""},
		{"host without a scheme", "text/html", `<a href="//files.example.org/a-1.zip">a</a><a href="//files.example.org::/a-2.zip">a</a><a href="https://files.example.org::/a-3.zip">`,
			[]string{"http://files.example.org/a-1.zip"}, ""},
		{"old name of core metadata", "text/html", `<a href="https://example.org/a-1-py3-none-any.whl" data-dist-info-metadata="true">a</a>`,
			[]string{"https://example.org/a-1-py3-none-any.whl metadata"}, ""},
		{"no file of this machine", "text/html", `<a href="file:///tmp/a-1-py3-none-any.whl">a</a><a href="javascript:a-1.zip">`, nil, ""},
		{"json: the new key wins", "application/json", `{"files":[{"filename":"a-1-py3-none-any.whl","url":"https://example.org/f","core-metadata":false,"dist-info-metadata":true,"yanked":null,"requires-python":null}]}`,
			[]string{"https://example.org/f"}, ""},
		{"json: yanked without a reason", "application/json", `{"meta":{"api-version":"1.9"},"files":[{"filename":"a-1.tar.gz","url":"https://example.org/f","yanked":true,"hashes":{"sha256":"xyz","blake9":"00"}}]}`,
			[]string{"https://example.org/f yanked"}, ""},
		{"json: name with a path", "application/json", `{"files":[{"filename":"../a-1.tar.gz","url":"https://example.org/f"}]}`, nil, ""},
		{"json: version 2", "application/json", `{"meta":{"api-version":"2.0"}}`, nil, `speaks version "2.0"`},
		{"html: version 2", "text/html", `<meta name="pypi:repository-version" content="2.0">`, nil, `speaks version "2.0"`},
		{"not json", "application/vnd.pypi.simple.v1+json", `<html>`, nil, "read page"},
		{"another type", "image/png", `x`, nil, `of type "image/png"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files, err := newClient(t, serve(t, tt.contentType, tt.page), index.Options{}).Project(ctx, "a")
			if tt.err != "" || err != nil {
				if err == nil || tt.err == "" || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			var got []string
			for _, f := range files {
				text := f.URL
				if f.Hashes != nil {
					text += " sha256=" + f.Hashes["sha256"]
				}
				if f.CoreMetadata {
					text += " metadata"
				}
				if f.Yanked {
					text += " yanked"
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFirstIndexThatKnowsTheNameWins(t *testing.T) {
	private, public := indextest.NewServer(t), indextest.NewServer(t)
	private.AddWheel("a", "1.0", nil, "")
	public.AddWheel("a", "9.0", nil, "")
	public.AddWheel("b", "1.0", nil, "")
	indexes := []index.Index{{URL: private.URL}, {URL: public.URL}}
	c := newClient(t, nil, index.Options{Indexes: indexes})
	for name, want := range map[string]string{"a": "a-1.0-py3-none-any.whl", "b": "b-1.0-py3-none-any.whl"} {
		files, err := c.Project(ctx, name)
		if err != nil || len(files) != 1 || files[0].Filename != want {
			t.Errorf("%s: %v, %v", name, filenames(files), err)
		}
	}
	for _, r := range public.Requests() {
		if r.Path == "/simple/a/" {
			t.Error("the second index was asked for a name that the first has")
		}
	}
	var missing *index.NotFoundError
	if _, err := c.Project(ctx, "c"); !errors.As(err, &missing) || len(missing.Indexes) != 2 || missing.Hint() == "" {
		t.Errorf("unknown project: %v", err)
	}
	pinned := newClient(t, nil, index.Options{Indexes: indexes, Pinned: map[string]index.Index{"A": {URL: public.URL}}})
	if files, err := pinned.Project(ctx, "a"); err != nil || filenames(files)[0] != "a-9.0-py3-none-any.whl" {
		t.Errorf("pinned: %v, %v", filenames(files), err)
	}
}

func TestARefusingIndexIsNotPassedOver(t *testing.T) {
	private, public := indextest.NewServer(t), indextest.NewServer(t)
	private.User, private.Password = "user", "right"
	public.AddWheel("a", "9.0", nil, "")
	c := newClient(t, nil, index.Options{Indexes: []index.Index{
		{URL: strings.Replace(private.URL, "://", "://user:s3cret@", 1)}, {URL: public.URL},
	}})
	_, err := c.Project(ctx, "a")
	var auth *index.AuthError
	if !errors.As(err, &auth) || auth.Status != 401 || !auth.Sent {
		t.Fatalf("error %v", err)
	}
	if !strings.Contains(auth.Hint(), "password") || !strings.Contains(err.Error(), private.Origin()) {
		t.Errorf("%v; hint: %s", err, auth.Hint())
	}
	if strings.Contains(err.Error()+auth.Hint(), "s3cret") {
		t.Errorf("the error tells the password: %v", err)
	}
}

// TestForbiddenForWhatIsNotThere is an index in an object store: it answers 403
// to names that it does not have, and only its list of projects tells.
func TestForbiddenForWhatIsNotThere(t *testing.T) {
	public := indextest.NewServer(t)
	public.AddSpec(indextest.Spec{Name: "a", Version: "2.0"})
	public.AddSpec(indextest.Spec{Name: "secret", Version: "9.0"})
	public.AddSpec(indextest.Spec{Name: "b", Version: "1.0"})
	roots := map[string]struct {
		status            int
		contentType, body string
		passed            bool // b is looked for on the next index
	}{
		"html":      {200, "text/html", `<a href="a/">a</a> <a href="/simple/Secret/">Secret</a>`, true},
		"json":      {200, "application/vnd.pypi.simple.v1+json", `{"meta":{"api-version":"1.0"},"projects":[{"name":"a"},{"name":"Secret"}]}`, true},
		"empty":     {200, "text/html", `nothing to see`, false},
		"forbidden": {403, "text/html", `<a href="a/">a</a>`, false},
		"no page":   {200, "image/png", `<a href="a/">a</a>`, false},
	}
	for name, root := range roots {
		t.Run(name, func(t *testing.T) {
			store := indextest.NewServer(t)
			store.AddSpec(indextest.Spec{Name: "a", Version: "1.0"})
			store.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
				switch r.URL.Path {
				case "/simple/":
					w.Header().Set("Content-Type", root.contentType)
					w.WriteHeader(root.status)
					fmt.Fprint(w, root.body)
				case "/simple/a/":
					return false
				default:
					http.Error(w, "AccessDenied", http.StatusForbidden)
				}
				return true
			}
			c := newClient(t, nil, index.Options{Indexes: []index.Index{{URL: store.URL}, {URL: public.URL}}})
			if files, err := c.Project(ctx, "a"); err != nil || files[0].Version.String() != "1.0" {
				t.Errorf("a: %v, %v", files, err)
			}
			var refused *index.AuthError
			if _, err := c.Project(ctx, "secret"); !errors.As(err, &refused) {
				t.Errorf("secret: %v", err)
			}
			_, err := c.Project(ctx, "b")
			if passed := err == nil; passed != root.passed || !passed && !errors.As(err, &refused) {
				t.Errorf("b: %v", err)
			}
		})
	}
}

func TestFindLinks(t *testing.T) {
	s := indextest.NewServer(t)
	s.AddWheel("a", "1.0", nil, "")
	listed := indextest.NewServer(t)
	listed.AddWheel("a", "3.0", nil, "")
	listed.AddWheel("b", "3.0", nil, "")
	dir := t.TempDir()
	name, content := indextest.Wheel(indextest.Spec{Name: "a", Version: "2.0", Requires: []string{"b"}})
	write(t, filepath.Join(dir, name), string(content))
	write(t, filepath.Join(dir, "notes.txt"), "x")
	if err := os.Mkdir(filepath.Join(dir, "a-4.0-py3-none-any.whl"), 0o755); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "page.html")
	write(t, page, `<a href="a-5.0-py3-none-any.whl">a</a>`)
	sdist := filepath.Join(t.TempDir(), "a-0.1.tar.gz")
	write(t, sdist, "x")
	c := newClient(t, s, index.Options{FindLinks: []index.Index{
		{URL: dir}, {URL: listed.Origin() + "/links.html"}, {URL: "file://" + page},
		{URL: sdist}, {URL: listed.FileURL("a-3.0-py3-none-any.whl")},
	}})
	files, err := c.Project(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a-2.0-py3-none-any.whl", "a-3.0-py3-none-any.whl", "a-5.0-py3-none-any.whl", "a-0.1.tar.gz", "a-3.0-py3-none-any.whl", "a-1.0-py3-none-any.whl"}
	if diff := cmp.Diff(want, filenames(files)); diff != "" {
		t.Error(diff)
	}
	if m, err := c.Metadata(ctx, files[0]); err != nil || len(m.RequiresDist) != 1 {
		t.Errorf("metadata of a local wheel: %+v, %v", m, err)
	}
	if files, err := c.Project(ctx, "b"); err != nil || len(files) != 1 {
		t.Errorf("only in find-links: %v, %v", filenames(files), err)
	}
	if _, err := newClient(t, s, index.Options{FindLinks: []index.Index{{URL: dir + "/missing"}}}).Project(ctx, "a"); err == nil {
		t.Error("a missing folder is no error")
	}
}

func TestFileIndex(t *testing.T) {
	root := t.TempDir()
	name, content := indextest.Wheel(indextest.Spec{Name: "a", Version: "1.0"})
	for _, project := range []string{"a", "b", "c"} {
		if err := os.Mkdir(filepath.Join(root, project), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "a", name), string(content)) // a plain folder
	write(t, filepath.Join(root, "b", "index.html"), `<a href="../files/b-1.0-py3-none-any.whl">b</a>`)
	write(t, filepath.Join(root, "c", "index.json"), `{"files":[{"filename":"c-1.0.tar.gz","url":"https://example.org/c"}]}`)
	c := newClient(t, nil, index.Options{Indexes: []index.Index{{URL: "file://" + root}}})
	for project, want := range map[string]string{
		"a": "file://" + root + "/a/" + name, "b": "file://" + root + "/files/b-1.0-py3-none-any.whl", "c": "https://example.org/c",
	} {
		files, err := c.Project(ctx, project)
		if err != nil || len(files) != 1 || files[0].URL != want {
			t.Errorf("%s: %+v, %v", project, files, err)
		}
	}
	var missing *index.NotFoundError
	if _, err := c.Project(ctx, "d"); !errors.As(err, &missing) {
		t.Errorf("unknown: %v", err)
	}
	elsewhere := newClient(t, nil, index.Options{Indexes: []index.Index{{URL: "file://host/x"}}})
	if _, err := elsewhere.Project(ctx, "a"); err == nil || !strings.Contains(err.Error(), "another host") {
		t.Errorf("file URL of another host: %v", err)
	}
}

func TestETag(t *testing.T) {
	s := indextest.NewServer(t)
	s.ETags = true
	s.AddWheel("a", "1.0", nil, "")
	cache := indextest.NewCache(t)
	read := func() []string {
		t.Helper()
		files, err := newClient(t, s, index.Options{Cache: cache}).Project(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		return filenames(files)
	}
	first := read()
	if diff := cmp.Diff(first, read()); diff != "" {
		t.Errorf("page from the cache: %s", diff)
	}
	if r := s.Requests(); r[0].IfNoneMatch != "" || r[1].IfNoneMatch == "" {
		t.Errorf("requests: %+v", r)
	}
	s.AddWheel("a", "2.0", nil, "")
	if got := read(); len(got) != 2 {
		t.Errorf("after a change: %v", got)
	}
}

func TestAProjectIsAskedForOnce(t *testing.T) {
	s := indextest.NewServer(t)
	s.AddWheel("a", "1.0", nil, "")
	c := newClient(t, s, index.Options{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := c.Project(ctx, "a"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(s.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestDirect(t *testing.T) {
	c := newClient(t, nil, index.Options{})
	f, err := c.Direct("https://user:secret@example.org/x/Foo_Bar-1.0-py3-none-any.whl?token=1#sha256=" + strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	if f.Filename != "Foo_Bar-1.0-py3-none-any.whl" || strings.Contains(f.URL, "secret") || f.Hashes["sha256"] == "" || strings.Contains(f.Index, "token") {
		t.Errorf("%+v", f)
	}
	for _, bad := range []string{"ftp://example.org/a-1-py3-none-any.whl", "https://example.org/a.exe", "https://u:secret@example.org/%zz", "a-1-py3-none-any.whl"} {
		if _, err := c.Direct(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
	if _, err := index.LocalFile(filepath.Join(t.TempDir(), "a-1-py3-none-any.whl")); err == nil {
		t.Error("a missing file is no error")
	}
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
