package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// noCache is a cache that keeps nothing.
type noCache struct{}

func (noCache) Has(v1.Hash) bool                 { return false }
func (noCache) File(v1.Hash) string              { return "" }
func (noCache) Record(string, any) (bool, error) { return false, nil }
func (noCache) SetRecord(string, any) error      { return nil }
func (noCache) Put(context.Context, io.Reader, *v1.Hash) (v1.Hash, int64, error) {
	return v1.Hash{}, 0, errors.New("nothing is kept")
}

// testPage is a page of many files, as a large index has it.
func testPage(files int) []byte {
	var b strings.Builder
	b.WriteString(`{"meta":{"_last-serial":7,"api-version":"1.1"},"name":"some-project","versions":["1.0"],"files":[`)
	tags := []string{"py3-none-any", "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp312-cp312-musllinux_1_2_aarch64", "cp39-abi3-win_amd64"}
	for i := range files {
		if i > 0 {
			b.WriteString(", ")
		}
		version := fmt.Sprintf("%d.%d.%d", i/400, i/20%20, i/5%4)
		name, dir := "some_project-"+version+"-"+tags[i%4]+".whl", fmt.Sprintf("%02x/%02x/%060x", i%256, i/256%256, i)
		if i%5 == 4 {
			name = "some-project-" + version + ".tar.gz"
		}
		fmt.Fprintf(&b, `{"filename": %q, "hashes": {"sha256": "%064x"}, "requires-python": ">=3.%d", "size": %d, "upload-time": "2024-03-%02dT10:11:12.%06dZ", "url": "https://files.example.org/packages/%s/%s", "yanked": false}`,
			name, i, 6+i/200, 1000+i, 1+i%28, i, dir, name)
	}
	b.WriteString("]}")
	return []byte(b.String())
}

// TestCompactPage reads pages in both ways: file by file, and by the form that
// is kept.
func TestCompactPage(t *testing.T) {
	const sum = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	pages := []struct{ contentType, body string }{
		{simpleJSON, string(testPage(1000))},
		{simpleJSON, `{"files":[
			{"filename":"some_project-1.0-py3-none-any.whl","url":"a%2fb/x.whl?y#z","yanked":"broken <b>","hashes":{"md5":"AB","sha256":"` + sum + `","nope":"00"}},
			{"filename":"some_project-1.0.0-2abc-py2.py3-none-any.whl","url":"some_project-1.0.0-2abc-py2.py3-none-any.whl","core-metadata":{"sha256":"` + sum + `"}},
			{"filename":"some.project-2.0rc1-cp312-cp312-linux_x86_64.whl","url":"https://files.example.org:8443/x","requires-python":"nonsense","size":-4,"upload-time":"yesterday"},
			{"filename":"some-project-0.9.tar.bz2","url":"HTTPS://Files.example.org/../x","core-metadata":true,"yanked":true},
			{"filename":"Some_Project-1-1.zip","url":"//files.example.org/x"},
			{"filename":"other-1.zip","url":"x"},{"filename":"some_project-1.0-py3-none-any.exe","url":"x"},{"filename":"","url":""},null,
			{"filename":"some_project-1.0+local.7-py3-none-any.whl","url":"https://files.example.org/some_project-1.0%2Blocal.7-py3-none-any.whl","upload-time":"1970-01-01T00:00:00Z"}
		]}`},
		{"text/html", `<a href="some_project-1.0-py3-none-any.whl#sha256=` + sum + `" data-yanked="why" data-core-metadata="sha256=00">x</a>
			<a href="https://files.example.org/some-project-2.tar.gz" data-requires-python="&gt;=3.7">x</a>`},
		{simpleJSON, `{"files":[]}`},
	}
	base, _ := url.Parse("https://index.example.org/simple/some-project/")
	for _, p := range pages {
		c, err := New(Options{Cache: noCache{}})
		if err != nil {
			t.Fatal(err)
		}
		doc := document{base: base, contentType: p.contentType, body: []byte(p.body)}
		links, err := parsePage(doc)
		if err != nil {
			t.Fatal(err)
		}
		want := c.files(links, "some-project", "an index")
		data, _, err := c.compact(doc, "some-project")
		if err != nil {
			t.Fatal(err)
		}
		open, err := openPage(data)
		if err != nil {
			t.Fatal(err)
		}
		l := c.listing("some-project", []place{{open, "an index"}})
		equal := cmp.Comparer(func(a, b python.Version) bool { return a.String() == b.String() && a.Key() == b.Key() })
		if diff := cmp.Diff(want, l.Files(), equal, cmp.AllowUnexported(python.Specifier{})); diff != "" && len(want) > 0 {
			t.Errorf("%.100s: %s", p.body, diff)
		}
		checkListing(t, l)
	}
}

// checkListing holds what Listing says of itself.
func checkListing(t *testing.T, l *Listing) {
	t.Helper()
	n := 0
	for i, v := range l.Versions() {
		if i > 0 && l.Versions()[i-1].Compare(v) >= 0 {
			t.Errorf("version %s follows %s", v, l.Versions()[i-1])
		}
		if len(l.Entries(i)) == 0 {
			t.Errorf("version %s has no files", v)
		}
		for _, e := range l.Entries(i) {
			f := l.File(e)
			if !f.Version.Equal(v) || f.Kind != e.Kind || f.Yanked != e.Yanked || f.Local() != e.Local || !f.UploadTime.Equal(e.Uploaded()) {
				t.Errorf("entry %+v is file %+v", e, f)
			}
			n++
		}
	}
	if n != l.Len() || n != len(l.Files()) {
		t.Errorf("%d entries, Len is %d, %d files", n, l.Len(), len(l.Files()))
	}
}

// TestMergedListing puts files of several places together.
func TestMergedListing(t *testing.T) {
	c, err := New(Options{Cache: noCache{}})
	if err != nil {
		t.Fatal(err)
	}
	var places []place
	for _, files := range [][]string{{"a-2.0-py3-none-any.whl", "a-1.0.tar.gz"}, {"a-3-py3-none-any.whl", "a-2-py3-none-any.whl", "a-0.1.zip"}, {}} {
		b := newPageBuilder("a", 0)
		for _, name := range files {
			b.add(&listed{filename: name, url: "file:///x/" + name, uploaded: unknownTime})
		}
		p, err := openPage(b.bytes())
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, place{p, fmt.Sprint(len(places))})
	}
	l := c.listing("a", places)
	checkListing(t, l)
	var got []string
	for i, v := range l.Versions() {
		for _, e := range l.Entries(i) {
			got = append(got, v.String()+": "+l.File(e).Filename+" of "+l.File(e).Index)
		}
	}
	want := []string{"0.1: a-0.1.zip of 1", "1.0: a-1.0.tar.gz of 0", "2.0: a-2.0-py3-none-any.whl of 0", "2.0: a-2-py3-none-any.whl of 1", "3: a-3-py3-none-any.whl of 1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFreshness(t *testing.T) {
	tests := []struct {
		header string
		want   time.Duration
	}{
		{"", silent},
		{"Cache-Control: max-age=600, public", 600 * time.Second},
		{"Cache-Control: public; Age: 3", 0},
		{"Cache-Control: MAX-AGE=\"600\"; Age: 100", 500 * time.Second},
		{"Cache-Control: max-age=600; Age: 700", 0},
		{"Cache-Control: max-age=999999999999999999", maxFreshness},
		{"Cache-Control: max-age=9999999999999999999", 0},
		{"Cache-Control: max-age=600, no-cache", 0},
		{"Cache-Control: max-age=600; Cache-Control: no-store", noStore},
		{"Pragma: no-cache", 0},
		{"Expires: Thu, 01 Jan 2026 00:10:00 GMT; Date: Thu, 01 Jan 2026 00:00:00 GMT", 10 * time.Minute},
		{"Expires: Thu, 01 Jan 2026 00:10:00 GMT; Date: Thu, 01 Jan 2026 00:20:00 GMT", 0},
		{"Expires: 0", 0},
	}
	for _, tt := range tests {
		header := map[string][]string{}
		for _, line := range strings.Split(tt.header, "; ") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				header[name] = append(header[name], value)
			}
		}
		if got := freshness(header); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.header, got, tt.want)
		}
	}
}

func FuzzCompactPage(f *testing.F) {
	b := newPageBuilder("a", 0)
	b.add(&listed{filename: "a-1-py3-none-any.whl", url: "https://example.org/a-1-py3-none-any.whl", requires: ">=3", reason: "x", yanked: true})
	f.Add(b.bytes()[countsAt:])
	f.Fuzz(func(t *testing.T, body []byte) {
		data := append([]byte(pageMagic+"\x00\x00\x00\x00"), body...)
		sum := checksum(data[countsAt:])
		data[len(pageMagic)], data[len(pageMagic)+1], data[len(pageMagic)+2], data[len(pageMagic)+3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		p, err := openPage(data)
		if err != nil {
			return
		}
		c, err := New(Options{Cache: noCache{}})
		if err != nil {
			t.Fatal(err)
		}
		l := c.listing("a", []place{{p, "x"}, {p, "y"}})
		l.Files()
	})
}

// FuzzJSONSyntax compares what is JSON with package json.
func FuzzJSONSyntax(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-0.5e+3,{"b":null}],"files":[{"x":"\u00e9\"}"}]} `, `[]`, `{"files":[],}`, `{"a":01}`, "{\"\xff\":\"\t\"}", `{"meta":null,"files":[null]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := jsonScanner{text: body}
		err := s.skip()
		if err == nil {
			err = s.end()
		}
		if valid := json.Valid([]byte(body)); valid != (err == nil) && s.depth < maxJSONDepth {
			t.Errorf("%q: %v, but validity is %t", body, err, valid)
		}
	})
}

func BenchmarkPage(b *testing.B) {
	base, _ := url.Parse("https://index.example.org/simple/some-project/")
	body := testPage(1000)
	c, err := New(Options{Cache: noCache{}})
	if err != nil {
		b.Fatal(err)
	}
	doc := document{base: base, contentType: simpleJSON, body: body}
	data, _, err := c.compact(doc, "some-project")
	if err != nil {
		b.Fatal(err)
	}
	open := func(b *testing.B) *Listing {
		p, err := openPage(data)
		if err != nil {
			b.Fatal(err)
		}
		return c.listing("some-project", []place{{p, "an index"}})
	}
	b.Run("package-json", func(b *testing.B) { // what any JSON page costs by reflection, without a File
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			var page struct {
				Files []struct {
					Filename, URL, RequiresPython string
					Hashes                        map[string]string
					Size                          int64
					UploadTime                    string `json:"upload-time"`
				}
			}
			if err := json.Unmarshal(body, &page); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json-to-compact", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			if _, _, err := c.compact(doc, "some-project"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("compact-to-listing", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			open(b)
		}
	})
	b.Run("compact-to-files", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			open(b).Files()
		}
	})
}

func TestHeadersKept(t *testing.T) {
	text := "Metadata-Version: 2.1\r\nName: a\r\nVersion: 1\r\nClassifier: x\r\nLicense: MIT\r\n        and more\r\nDescription: long\r\n        text\r\n\tRequires-Dist: not\r\nRequires-Dist: b\r\nno field\r\nAUTHOR: x\r\nX-New: y\r\n\r\nRequires-Dist: c\r\n"
	want := "Metadata-Version: 2.1\nName: a\nVersion: 1\nLicense: MIT\n        and more\nRequires-Dist: b\nno field\nX-New: y\n"
	if diff := cmp.Diff(want, string(headers([]byte(text)))); diff != "" {
		t.Error(diff)
	}
}
