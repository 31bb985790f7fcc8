package source

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

const pkgInfo = "Metadata-Version: 2.4\nName: app\nVersion: 1.0\nRequires-Python: >=3.9\nRequires-Dist: flask>=2\nProvides-Extra: x\nRequires-Dist: y; extra == 'x'\n\nDescription\n"

// tarball makes a .tar.gz of headers; Linkname of a regular file is its content.
func tarball(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range headers {
		content := ""
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			content, h.Linkname, h.Typeflag = h.Linkname, "", tar.TypeReg
			h.Size = int64(len(content))
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o640
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func save(t testing.TB, name string, b []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return p
}

func file(name, content string) tar.Header { return tar.Header{Name: name, Linkname: content} }

func TestOpenSdist(t *testing.T) {
	good := tarball(t,
		tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}},
		tar.Header{Name: "app-1.0/", Typeflag: tar.TypeDir},
		file("app-1.0/PKG-INFO", pkgInfo),
		file("./app-1.0/app/__init__.py", "x = 1\n"),
		tar.Header{Name: "app-1.0/run", Linkname: "#!/bin/sh\n", Mode: 0o4711},
		tar.Header{Name: "app-1.0/app/link.py", Typeflag: tar.TypeSymlink, Linkname: "__init__.py"},
		tar.Header{Name: "app-1.0/app/up", Typeflag: tar.TypeSymlink, Linkname: "../run"},
		tar.Header{Name: "app-1.0/hard", Typeflag: tar.TypeLink, Linkname: "app-1.0/run"},
		file("app-1.0/empty", ""),
	)
	for _, dir := range []string{"", t.TempDir()} {
		s, err := OpenSdist(save(t, "blob", good), "App-1.0.tar.gz", dir)
		if err != nil {
			t.Fatal(err)
		}
		if s.Name != "app" || s.Version.String() != "1.0" {
			t.Error(s.Name, s.Version)
		}
		got := map[string]string{}
		for _, e := range s.Tree().Entries() {
			text := e.Kind.String()
			if e.Kind == layers.File {
				b, err := s.Tree().ReadFile(e.Path, 1000)
				if err != nil {
					t.Fatal(err)
				}
				text = string(b)
			}
			if e.Mode&0o7000 != 0 || e.UID != 0 {
				t.Errorf("%s has mode %o of %d", e.Path, e.Mode, e.UID)
			}
			if e.Kind == layers.File && e.Mode != 0o644 {
				text += "executable"
			}
			got[e.Path] = text + e.Link
		}
		want := map[string]string{
			"PKG-INFO": pkgInfo, "app": "directory", "app/__init__.py": "x = 1\n", "run": "#!/bin/sh\nexecutable", "hard": "#!/bin/sh\nexecutable",
			"app/link.py": "symbolic link__init__.py", "app/up": "symbolic link../run", "empty": "",
		}
		for k, v := range got {
			if strings.Contains(v, "link") {
				got[k] = "symbolic link" + v[strings.LastIndex(v, "link")+4:]
			}
		}
		want["app/link.py"], want["app/up"] = got["app/link.py"], got["app/up"]
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		m, static, err := s.Metadata()
		if err != nil || !static || len(m.RequiresDist) != 2 {
			t.Error(m, static, err)
		}
	}
}

func TestHostileSdists(t *testing.T) {
	top := tar.Header{Name: "a-1/", Typeflag: tar.TypeDir}
	for _, test := range []struct {
		name    string
		headers []tar.Header
		want    string
	}{
		{"up", []tar.Header{top, file("a-1/../../x", "")}, "leads out"},
		{"absolute", []tar.Header{top, file("/etc/passwd", "")}, "absolute"},
		{"absolute link", []tar.Header{top, {Name: "a-1/l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}}, "leads out"},
		{"link up", []tar.Header{top, {Name: "a-1/d/l", Typeflag: tar.TypeSymlink, Linkname: "../../x"}}, "leads out"},
		{"link through link", []tar.Header{top, file("a-1/d/e/f", ""), {Name: "a-1/m", Typeflag: tar.TypeSymlink, Linkname: "d/e"}, {Name: "a-1/l", Typeflag: tar.TypeSymlink, Linkname: "m/../../../x"}}, "link"},
		{"in a link", []tar.Header{top, {Name: "a-1/l", Typeflag: tar.TypeSymlink, Linkname: "d"}, file("a-1/l/x", "")}, "lies in l"},
		{"hard link out", []tar.Header{top, {Name: "a-1/l", Typeflag: tar.TypeLink, Linkname: "../x"}}, "leads out"},
		{"hard link to nothing", []tar.Header{top, {Name: "a-1/l", Typeflag: tar.TypeLink, Linkname: "a-1/x"}}, "no file"},
		{"device", []tar.Header{top, {Name: "a-1/d", Typeflag: tar.TypeChar}}, "neither"},
		{"pipe", []tar.Header{top, {Name: "a-1/p", Typeflag: tar.TypeFifo}}, "neither"},
		{"two tops", []tar.Header{top, file("a-1/x", ""), file("b/x", "")}, "does not lie in"},
		{"no top", []tar.Header{file("setup.py", "")}, "no directory"},
		{"twice", []tar.Header{top, file("a-1/x", ""), {Name: "a-1/x", Typeflag: tar.TypeSymlink, Linkname: "y"}}, "twice"},
		{"bomb", []tar.Header{top, file("a-1/x", strings.Repeat("\x00", moderateSize+moderateSize/2))}, "times larger"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := OpenSdist(save(t, "a-1.tar.gz", tarball(t, test.headers...)), "", t.TempDir())
			var refused *SdistError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "a-1.tar.gz: ") {
				t.Errorf("%v, which is not an SdistError with %q", err, test.want)
			}
		})
	}
	for name, b := range map[string][]byte{"a-1.tar.gz": []byte("nothing"), "a-1.zip": []byte("nothing"), "a-1.rar": nil, "a-1.tar.xz": []byte("x")} {
		var refused *SdistError
		if _, err := OpenSdist(save(t, name, b), "", ""); !errors.As(err, &refused) {
			t.Error(name, err)
		}
	}
	if _, err := OpenSdist("nowhere/a-1.tar.gz", "", ""); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func zipped(t testing.TB, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		w, err := z.Create(f[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestZip(t *testing.T) {
	p := save(t, "main.zip", zipped(t, [2]string{"app-main/", ""}, [2]string{"app-main/pyproject.toml", "[project]\nname='app'\nversion='2'\ndependencies=['x']\n"}, [2]string{"app-main/app.py", "y"}))
	s, err := OpenSdist(p, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := s.Tree().ReadFile("app.py", 10); err != nil || string(b) != "y" || s.Name != "" {
		t.Error(string(b), err, s.Name)
	}
	m, static, err := s.Metadata()
	if err != nil || !static || m.Version.String() != "2" || len(m.RequiresDist) != 1 {
		t.Error(m, static, err)
	}
	if _, err := OpenSdist(save(t, "a-1.zip", zipped(t, [2]string{"a/../../b", ""})), "", ""); err == nil {
		t.Error("a path that leads out is taken")
	}
}

// PEP 643, and [project] where PKG-INFO is older than that.
func TestSdistMetadata(t *testing.T) {
	old := "Metadata-Version: 2.1\nName: app\nVersion: 1.0\n"
	table := "[project]\nname='app'\ndynamic=['version']\nrequires-python='>=3.8'\ndependencies=['flask']\n"
	for _, test := range []struct {
		name, info, pyproject string
		static                bool
		requires              int
		wrong                 string
	}{
		{"static", pkgInfo, "", true, 2, ""},
		{"dynamic", strings.Replace(pkgInfo, "\n\n", "\nDynamic: Requires-Dist\n\n", 1), "", false, 2, ""},
		{"dynamic license", strings.Replace(pkgInfo, "\n\n", "\nDynamic: License-File\n\n", 1), "", true, 2, ""},
		{"old", old, "", false, 0, ""},
		{"old with project", old, table, true, 1, ""},
		{"old with dynamic", old, strings.Replace(table, "dynamic=['version']", "dynamic=['version','optional-dependencies']", 1), false, 0, ""},
		{"old with poetry", old, "[tool.poetry]\nname='app'\nversion='1.0'\n[tool.poetry.dependencies]\nx='*'\n", false, 0, ""},
		{"no PKG-INFO", "", table, false, 0, ""},
		{"not read", "Name app\n", "", false, 0, ""},
		{"wrong name", strings.Replace(pkgInfo, "app", "other", 1), "", false, 0, "not of app"},
		{"wrong version", strings.Replace(pkgInfo, "1.0", "1.1", 1), "", false, 0, "not of 1.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			headers := []tar.Header{file("app-1.0/z/PKG-INFO", "Name: not this\n")}
			if test.pyproject != "" {
				headers = append(headers, file("app-1.0/pyproject.toml", test.pyproject))
			}
			if test.info != "" {
				headers = append(headers, file("app-1.0/PKG-INFO", test.info))
			}
			p := save(t, "app-1.0.tar.gz", tarball(t, headers...))
			s, err := OpenSdist(p, "", "")
			if err != nil {
				t.Fatal(err)
			}
			m, static, err := s.Metadata()
			quick, quickStatic, quickErr := SdistMetadata(p, "")
			if (err == nil) != (quickErr == nil) || static != quickStatic || len(m.RequiresDist) != len(quick.RequiresDist) {
				t.Errorf("in one way %v %v, in the other %v %v", static, err, quickStatic, quickErr)
			}
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) {
					t.Error(err)
				}
				return
			}
			if err != nil || static != test.static || len(m.RequiresDist) != test.requires {
				t.Error(static, m.RequiresDist, err)
			}
		})
	}
}

func FuzzSdist(f *testing.F) {
	f.Add("a-1.tar.gz", tarball(f, file("a-1/PKG-INFO", pkgInfo), tar.Header{Name: "a-1/l", Typeflag: tar.TypeSymlink, Linkname: "PKG-INFO"}))
	f.Add("a-1.zip", zipped(f, [2]string{"a-1/setup.py", ""}))
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	h := tar.Header{Name: "a-1/x", Size: 1, Mode: 0o755}
	if err := errors.Join(w.WriteHeader(&h), func() error { _, err := w.Write([]byte("x")); return err }(), w.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add("a-1.tar", plain.Bytes())
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		if strings.ContainsAny(name, "/\x00") || len(name) > 100 {
			return
		}
		p := save(t, "archive", b)
		_, _, _ = SdistMetadata(p, name)
		s, err := OpenSdist(p, name, "")
		if err != nil {
			return
		}
		for _, e := range s.Tree().Entries() {
			if _, ok := clean(e.Path); !ok || e.Kind != layers.File && e.Kind != layers.Dir && e.Kind != layers.Symlink {
				t.Errorf("%q is a %s", e.Path, e.Kind)
			}
		}
	})
}
