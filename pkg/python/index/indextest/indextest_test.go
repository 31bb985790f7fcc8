package indextest_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
)

func TestWheelIsAZipWithARecordOfEverything(t *testing.T) {
	name, content := indextest.Wheel(indextest.Spec{
		Name: "Foo.Bar", Version: "1.0", Build: "2", Tag: "py2.py3-none-any", Requires: []string{"dep>=1"},
		Files: map[string]string{"foo_bar/__init__.py": "x = 1\n"}, Data: map[string]string{"scripts/tool": "#!python\n"},
		ConsoleScripts: map[string]string{"foo": "foo_bar:main"}, Executable: []string{"scripts/tool"},
	})
	if want := "foo_bar-1.0-2-py2.py3-none-any.whl"; name != want {
		t.Fatalf("file name %q, want %q", name, want)
	}
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		texts[f.Name] = string(b)
	}
	record := texts["foo_bar-1.0.dist-info/RECORD"]
	for path := range texts {
		if !strings.Contains(record, path+",") {
			t.Errorf("RECORD lacks %s", path)
		}
	}
	if !strings.Contains(texts["foo_bar-1.0.dist-info/WHEEL"], "Tag: py2-none-any\nTag: py3-none-any\n") {
		t.Errorf("WHEEL: %s", texts["foo_bar-1.0.dist-info/WHEEL"])
	}
	_, again := indextest.Wheel(indextest.Spec{Name: "a", Version: "1"})
	_, once := indextest.Wheel(indextest.Spec{Name: "a", Version: "1"})
	if !bytes.Equal(again, once) {
		t.Error("the same spec gave two different wheels")
	}
}

func TestServerAnswersAsItIsSet(t *testing.T) {
	s := indextest.NewServer(t)
	f := s.AddWheel("a", "1", nil, "Metadata-Version: 2.1\nName: a\nVersion: 1\n")
	get := func(path, accept, ranges string) (*http.Response, string) {
		t.Helper()
		r, _ := http.NewRequest("GET", s.Origin()+path, nil)
		r.Header.Set("Accept", accept)
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp, string(b)
	}
	const json = "application/vnd.pypi.simple.v1+json"
	if _, body := get("/simple/a/", json, ""); !strings.Contains(body, f.SHA256()) || !strings.HasPrefix(body, "{") {
		t.Errorf("json page: %s", body)
	}
	s.HTML = true
	if _, body := get("/simple/a/", json, ""); !strings.Contains(body, "<a href") {
		t.Errorf("html page: %s", body)
	}
	if resp, _ := get("/files/"+f.Filename+".metadata", "", ""); resp.StatusCode != 404 {
		t.Errorf("metadata that is not advertised: %s", resp.Status)
	}
	s.Metadata = true
	if resp, _ := get("/files/"+f.Filename+".metadata", "", ""); resp.StatusCode != 200 {
		t.Errorf("advertised metadata: %s", resp.Status)
	}
	if resp, body := get("/files/"+f.Filename, "", "bytes=-10"); resp.StatusCode != 206 || len(body) != 10 {
		t.Errorf("range: %s, %d bytes", resp.Status, len(body))
	}
	s.NoRanges = true
	if resp, body := get("/files/"+f.Filename, "", "bytes=-10"); resp.StatusCode != 200 || len(body) != len(f.Content) {
		t.Errorf("no ranges: %s, %d bytes", resp.Status, len(body))
	}
	if resp, _ := get("/simple/b/", json, ""); resp.StatusCode != 404 {
		t.Errorf("unknown project: %s", resp.Status)
	}
	if n := len(s.Requests()); n != 7 {
		t.Errorf("%d requests in the log, want 7", n)
	}
}
