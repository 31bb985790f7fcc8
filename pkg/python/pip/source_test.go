package pip

import (
	"archive/zip"
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

const indexPy = `import urllib.parse


class PackageIndex:
    """Stands for pip's own class. PyPI = PackageIndex("https://no.example/")"""

    def __init__(self, url: str, file_storage_domain: str) -> None:
        self.url = url


PyPI = PackageIndex("https://index.example/", file_storage_domain="files.example")
TestPyPI = PackageIndex(
    "https://test.example/", file_storage_domain="test-files.example"
)
`

func TestDefaultIndex(t *testing.T) {
	for _, tt := range []struct{ source, want, says string }{
		{indexPy, "https://index.example/simple/", ""},
		{"PyPI = PackageIndex(\n    'http://mirror.example:8080/pypi/',  # ours\n    file_storage_domain='x',\n)\n", "http://mirror.example:8080/pypi/simple/", ""},
		{"PyPI = PackageIndex(url=\"https://index.example\")\n", "https://index.example/simple/", ""},
		{"PyPI = PackageIndex(\"https://index.example/a\", \"b\")\n", "https://index.example/simple/", ""}, // as urljoin has it
		{"TestPyPI = PackageIndex(\"https://index.example/\")\n", "", "no statement"},
		{"  PyPI = PackageIndex(\"https://index.example/\")\n", "", "no statement"},
		{indexPy + "PyPI = PackageIndex(\"https://other.example/\")\n", "", "two statements"},
		{"PyPI = PackageIndex(URL)\n", "", "no plain string"},
		{"PyPI = PackageIndex(f\"https://{host}/\")\n", "", "no plain string"},
		{"PyPI = PackageIndex(\"https://index\" \".example/\")\n", "", "no plain string"},
		{"PyPI = PackageIndex(\"https://index.example/\" + x)\n", "", "no plain string"},
		{"PyPI = PackageIndex(\"https://index.example/\\n\")\n", "", "no plain string"},
		{"PyPI = PackageIndex(\"ftp://index.example/\")\n", "", "not the URL"},
		{"PyPI = PackageIndex(\"https://user:pass@index.example/\")\n", "", "not the URL"},
		{"PyPI = PackageIndex(\"https:///simple\")\n", "", "not the URL"},
		{"", "", "no statement"},
	} {
		got, err := DefaultIndex([]byte(tt.source))
		if got != tt.want || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("DefaultIndex(%q) = %q, %v; want %q, %q", tt.source, got, err, tt.want, tt.says)
		}
		var e *SourceError
		if err != nil && !errors.As(err, &e) {
			t.Errorf("DefaultIndex(%q) gives a %T", tt.source, err)
		}
	}
}

// pipWheel is pip's wheel as far as it matters here.
func pipWheel(t *testing.T, source string) *fstest.MapFile {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(indexSource)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(source))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: b.Bytes()}
}

func TestFindSource(t *testing.T) {
	text := func(host string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(strings.ReplaceAll(indexPy, "index.example", host))}
	}
	for _, tt := range []struct {
		name             string
		files            fstest.MapFS
		prefixes         []string
		want, at, wanted string
	}{
		{"python image", fstest.MapFS{
			"usr/local/lib/python3.9/site-packages/" + indexSource:  text("nine.example"),
			"usr/local/lib/python3.13/site-packages/" + indexSource: text("thirteen.example"),
		}, nil, "https://thirteen.example/simple/", "usr/local/lib/python3.13/site-packages/" + indexSource, ""},
		{"Debian", fstest.MapFS{"usr/lib/python3/dist-packages/" + indexSource: text("d.example")}, nil,
			"https://d.example/simple/", "usr/lib/python3/dist-packages/" + indexSource, ""},
		{"ensurepip", fstest.MapFS{
			"usr/local/lib/python3.13/ensurepip/_bundled/pip-24.3.1-py3-none-any.whl": pipWheel(t, strings.ReplaceAll(indexPy, "index.example", "e.example")),
			"usr/local/lib/python3.13/site-packages/flask/app.py":                     {},
		}, nil, "https://e.example/simple/", "usr/local/lib/python3.13/ensurepip/_bundled/pip-24.3.1-py3-none-any.whl", ""},
		{"Debian's wheels", fstest.MapFS{"usr/share/python-wheels/pip-25.1.1-py3-none-any.whl": pipWheel(t, indexPy)}, nil,
			"https://index.example/simple/", "usr/share/python-wheels/pip-25.1.1-py3-none-any.whl", ""},
		{"the wheel itself", fstest.MapFS{indexSource: text("w.example")}, nil, "https://w.example/simple/", indexSource, ""},
		{"another prefix", fstest.MapFS{"opt/py/lib/python3.11/site-packages/" + indexSource: text("o.example")}, []string{"opt/py"},
			"https://o.example/simple/", "opt/py/lib/python3.11/site-packages/" + indexSource, ""},
		{"none", fstest.MapFS{"usr/bin/python3": {}}, nil, "", "", "file does not exist"},
		{"not understood", fstest.MapFS{"usr/lib/python3/dist-packages/" + indexSource: {Data: []byte("PyPI = None\n")}}, nil, "", "usr/lib/python3/dist-packages/" + indexSource, "dist-packages/" + indexSource + ": there is no statement"},
		{"no wheel", fstest.MapFS{"usr/share/python-wheels/pip-1.whl": {Data: []byte("x")}}, nil, "", "usr/share/python-wheels/pip-1.whl", "is no wheel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, at, err := FindSource(Over(tt.files), tt.prefixes...)
			if got != tt.want || at != tt.at {
				t.Errorf("it is %q in %q, want %q in %q", got, at, tt.want, tt.at)
			}
			if tt.wanted == "" && err != nil || tt.wanted != "" && (err == nil || !strings.Contains(err.Error(), tt.wanted)) {
				t.Errorf("the error is %v, want %q", err, tt.wanted)
			}
			if tt.name == "none" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the error %v is not fs.ErrNotExist", err)
			}
		})
	}
}

func FuzzDefaultIndex(f *testing.F) {
	f.Add(indexPy)
	f.Add("PyPI = PackageIndex(\n  # x\n'https://a.example/', )")
	f.Fuzz(func(t *testing.T, source string) {
		got, err := DefaultIndex([]byte(source))
		if err == nil && (!strings.HasPrefix(got, "http") || !strings.HasSuffix(got, "/simple/")) {
			t.Errorf("DefaultIndex(%q) = %q", source, got)
		}
	})
}
