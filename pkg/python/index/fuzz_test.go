package index

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/python"
)

var fuzzBase = &url.URL{Scheme: "https", Host: "example.org", Path: "/simple/a/"}

// checkLinks holds what all else relies on: nothing of this machine, no
// credentials, no paths.
func checkLinks(t *testing.T, links []link) {
	for _, l := range links {
		u, err := url.Parse(l.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "" {
			t.Errorf("URL %q: %v", l.URL, err)
		}
		f, err := l.file("")
		if err == nil && strings.ContainsAny(f.Filename, "/\\\x00") {
			t.Errorf("file name %q", f.Filename)
		}
		for algorithm, value := range l.Hashes {
			if newHash(algorithm) == nil || !isHex(value) {
				t.Errorf("hash %s=%s", algorithm, value)
			}
		}
	}
}

func FuzzHTMLPage(f *testing.F) {
	for _, seed := range []string{
		`<base href="../x/"><a href="a-1-py3-none-any.whl#sha256=00" data-requires-python="&gt;=3" data-yanked>a</a>`,
		`<a href='file:///etc/passwd'><a href="//u:p@h/a-1.zip"><a href="%zz"><a href="a%2fb-1.zip"><a href="//u::/a-1.zip">`,
		`<meta name="pypi:repository-version" content="2"><!-- <a href="x"> --><a`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		links, err := parseHTML(body, fuzzBase)
		if err == nil {
			checkLinks(t, links)
		}
	})
}

func FuzzJSONPage(f *testing.F) {
	for _, seed := range []string{
		`{"meta":{"api-version":"1.1"},"files":[{"filename":"a-1-py3-none-any.whl","url":"x","hashes":{"sha256":"00"},"yanked":"y","core-metadata":{"sha256":"00"},"size":1,"upload-time":"2024-01-02T03:04:05Z"}]}`,
		`{"files":[{"url":"file:///x","filename":"../a-1.zip"},{"yanked":true,"dist-info-metadata":true}]}`,
		`{"files":null}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		links, err := parseJSON(body, fuzzBase)
		if err == nil {
			checkLinks(t, links)
		}
	})
}

func FuzzNetrc(f *testing.F) {
	f.Add([]byte("machine a login b password c\nmacdef x\ny\n\ndefault login q"))
	f.Add([]byte(`machine "a b" password "\"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := ParseNetrc(data)
		if err != nil && entries != nil {
			t.Error("entries and an error")
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-9/10", "bytes 5-4/10", "bytes */10", "bytes 0-9/9", "items 0-9/10", "bytes 0-9223372036854775807/9223372036854775807"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		resp := &http.Response{StatusCode: http.StatusPartialContent, Header: http.Header{"Content-Range": {text}}, Request: &http.Request{URL: fuzzBase}}
		from, to, total, err := contentRange(resp)
		if err == nil && (from < 0 || to < from || total <= to) {
			t.Errorf("%q: %d-%d/%d", text, from, to, total)
		}
	})
}

func FuzzRepairMetadata(f *testing.F) {
	f.Add([]byte("Metadata-Version: 2.1\nName: a\nVersion: 1\nRequires-Dist: b (>=1.*,)\nRequires-Python: =>3.*'\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		// What can be parsed as it is must not become something else.
		before, err := python.ParseMetadata(text)
		if err != nil || len(before.Problems) > 0 {
			return
		}
		after, err := python.ParseMetadata(repairMetadata(text))
		if err != nil || len(after.RequiresDist) != len(before.RequiresDist) {
			t.Errorf("repair broke %q: %v", text, err)
		}
	})
}
