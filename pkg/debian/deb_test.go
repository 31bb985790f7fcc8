package debian

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/debian/debiantest"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

func TestUnpack(t *testing.T) {
	for _, compression := range []string{"xz", "zst", "gz", "none"} {
		t.Run(compression, func(t *testing.T) {
			body := strings.Repeat("a long body ", 20_000) // several LZMA2 chunks
			deb, err := debiantest.Package{Name: "a", Compression: compression, Files: []debiantest.File{
				{Path: "usr/bin/a", Body: body, Mode: 0o4755, UID: 1, GID: 2}, {Path: "usr/bin/b", Symlink: "a"}, {Path: "usr/bin/c", Hardlink: "usr/bin/a"},
			}}.Deb()
			if err != nil {
				t.Fatal(err)
			}
			u, err := unpack(bytes.NewReader(deb), filepath.Join(t.TempDir(), "data.tar"), "a.deb")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := u.tree.ReadFile("usr/bin/b", 1<<20); err != nil || string(got) != body {
				t.Errorf("content of %d bytes, %v", len(got), err)
			}
			var got []string
			for _, e := range u.tree.Entries() {
				got = append(got, e.Path+" "+e.Kind.String())
			}
			want := []string{"usr directory", "usr/bin directory", "usr/bin/a file", "usr/bin/b symbolic link", "usr/bin/c hard link"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if e, _ := u.tree.Lookup("usr/bin/a"); e.Mode != 0o4755 || e.UID != 1 || e.GID != 2 {
				t.Errorf("mode %o, owner %d:%d", e.Mode, e.UID, e.GID)
			}
			if !bytes.Contains(u.control, []byte("Package: a\n")) || !bytes.Contains(u.md5sums, []byte("  usr/bin/a\n")) {
				t.Errorf("control %q, md5sums %q", u.control, u.md5sums)
			}
		})
	}
}

func TestUnpackRefusesHostilePackages(t *testing.T) {
	tarOf := func(files ...debiantest.File) []byte {
		b, err := debiantest.Tar(files...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	version := debiantest.Member{Name: "debian-binary", Body: []byte("2.0\n")}
	control := debiantest.Member{Name: "control.tar", Body: tarOf(debiantest.File{Path: "control", Body: "Package: a\n"})}
	data := func(files ...debiantest.File) debiantest.Member {
		return debiantest.Member{Name: "data.tar", Body: tarOf(files...)}
	}
	whole := debiantest.Ar(version, control, data(debiantest.File{Path: "a", Body: "a"}))
	for name, c := range map[string]struct {
		deb  []byte
		want string
	}{
		"no archive":           {[]byte("PK\x03\x04 and so on"), "no ar archive"},
		"cut in a header":      {whole[:75], "unexpected EOF"},
		"cut in a member":      {whole[:len(whole)-700], "EOF"},
		"no data":              {debiantest.Ar(version, control), "no data.tar"},
		"another format":       {debiantest.Ar(debiantest.Member{Name: "debian-binary", Body: []byte("3.0\n")}), "format 2.0"},
		"data before control":  {debiantest.Ar(version, data()), "not control.tar"},
		"no control":           {debiantest.Ar(version, debiantest.Member{Name: "control.tar", Body: tarOf()}, data()), "no file control"},
		"another member":       {debiantest.Ar(version, control, debiantest.Member{Name: "evil", Body: nil}), "is not data.tar"},
		"unknown compression":  {debiantest.Ar(version, control, debiantest.Member{Name: "data.tar.lzo", Body: []byte("x")}), "not known"},
		"damaged compression":  {debiantest.Ar(version, control, debiantest.Member{Name: "data.tar.xz", Body: []byte("not xz at all, is it")}), "xz"},
		"a bad size":           {bytes.Replace(whole, []byte("4         `"), []byte("-4        `"), 1), "size"},
		"a member with a path": {bytes.Replace(whole, []byte("control.tar     "), []byte("../control.tar  "), 1), "has the name"},
		"a way out":            {debiantest.Ar(version, control, data(debiantest.File{Path: "../../etc/passwd", Body: "x"})), "outside"},
		"a link's way out":     {debiantest.Ar(version, control, data(debiantest.File{Path: "a", Hardlink: "../../etc/passwd"})), "outside"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := unpack(bytes.NewReader(c.deb), filepath.Join(t.TempDir(), "data.tar"), "a.deb")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "unpack a.deb: ") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestDecompressIsBounded(t *testing.T) {
	r, done, err := decompress(strings.NewReader(strings.Repeat("x", 100)), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if b, err := io.ReadAll(r); err == nil {
		t.Errorf("%d bytes were read", len(b))
	}
}

func FuzzUnpack(f *testing.F) {
	for _, compression := range []string{"xz", "none"} {
		deb, err := debiantest.Package{Name: "a", Compression: compression, Files: []debiantest.File{{Path: "usr/bin/a", Body: "x"}}}.Deb()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(deb)
	}
	f.Fuzz(func(t *testing.T, deb []byte) {
		u, err := unpack(bytes.NewReader(deb), filepath.Join(t.TempDir(), "data.tar"), "a.deb")
		if err != nil {
			return
		}
		for _, e := range u.tree.Entries() {
			if strings.HasPrefix(e.Path, "/") || strings.Contains("/"+e.Path+"/", "/../") {
				t.Errorf("path %q", e.Path)
			}
		}
	})
}

func FuzzAr(f *testing.F) {
	f.Add(debiantest.Ar(debiantest.Member{Name: "a", Body: []byte("x")}, debiantest.Member{Name: "b/", Body: []byte("yz")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := &arReader{r: bytes.NewReader(b)}
		for {
			_, size, err := a.next()
			if err != nil {
				return
			}
			n, err := io.Copy(io.Discard, a)
			if (err == nil && n != size) || n > size {
				t.Fatalf("%d bytes of %d, %v", n, size, err)
			}
		}
	})
}

// member makes an unpacked package of files for the assembly.
func memberOf(t *testing.T, l Locked, control string, files ...debiantest.File) member {
	t.Helper()
	b, err := debiantest.Tar(files...)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := layers.ReadTar(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
	if err != nil {
		t.Fatal(err)
	}
	if l.Version == "" {
		l.Version = "1"
	}
	l.Path = "pool/" + l.Name + ".deb"
	m, err := newMember(l, unpacked{control: []byte("Package: " + l.Name + "\nVersion: " + l.Version + "\n" + control), tree: tree})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMergedUsr(t *testing.T) {
	f := func(path string) debiantest.File { return debiantest.File{Path: path, Body: path} }
	link := func(path, target string) debiantest.File { return debiantest.File{Path: path, Symlink: target} }
	old := memberOf(t, Locked{Name: "old", OS: true}, "", // as in bookworm
		f("bin/sh"), f("lib64/ld.so"), f("lib/x/liba.so.1"), link("lib/x/liba.so", "liba.so.1"), link("lib/x/libb.so", "../../usr/lib/y/libb.so.1"),
		link("usr/lib/x/abs.so", "/lib/x/liba.so.1"), link("usr/bin/old", "../../bin/sh"), debiantest.File{Path: "bin/hard", Hardlink: "bin/sh"})
	newer := memberOf(t, Locked{Name: "newer"}, "", // as in trixie
		link("bin", "usr/bin"), link("lib", "usr/lib"), f("usr/bin/env"), f("usr/share/bin/x"))
	system, packages, err := assemble([]member{newer, old})
	if err != nil {
		t.Fatal(err)
	}
	all := layers.Overlay(system, packages)
	for path, want := range map[string]string{
		"bin": "→ usr/bin", "sbin": "→ usr/sbin", "lib": "→ usr/lib", "lib64": "→ usr/lib64",
		"usr/bin/sh": "file", "usr/bin/hard": "= usr/bin/sh", "usr/lib64/ld.so": "file", "usr/lib/x/liba.so.1": "file", "usr/sbin": "directory",
		"usr/lib/x/liba.so": "→ liba.so.1", "usr/lib/x/libb.so": "→ ../y/libb.so.1", "usr/lib/x/abs.so": "→ /lib/x/liba.so.1",
		"usr/bin/old": "→ ../../bin/sh", "usr/bin/env": "file", "usr/share/bin/x": "file",
	} {
		e, ok := all.Lookup(path)
		got := e.Kind.String()
		switch {
		case !ok:
			got = "nothing"
		case e.Kind == layers.Symlink:
			got = "→ " + e.Link
		case e.Kind == layers.Hardlink:
			got = "= " + e.Link
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if b, err := all.ReadFile("usr/bin/old", 100); err != nil || string(b) != "bin/sh" {
		t.Errorf("through a link: %q, %v", b, err)
	}
}

func TestAssembleSettlesWhatTwoPackagesHave(t *testing.T) {
	f := func(path, body string) debiantest.File { return debiantest.File{Path: path, Body: body} }
	a := memberOf(t, Locked{Name: "a"}, "", f("usr/share/x", "a"), f("usr/share/doc/a/copyright", "c"), f("usr/share/doc/a/examples/e", "e"),
		f("usr/share/man/man1/a.1", "m"), debiantest.File{Path: "usr/share/kept", Hardlink: "usr/share/man/man1/a.1"})
	replacing := memberOf(t, Locked{Name: "b"}, "Replaces: a (<< 2)\n", f("usr/share/x", "b"))
	linking := memberOf(t, Locked{Name: "c"}, "", debiantest.File{Path: "usr/share/doc/c", Symlink: "a"}, f("var/run/c", ""))
	_, tree, err := assemble([]member{a, replacing, linking})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"usr/share/x": "b", "usr/share/doc/c/copyright": "c", "usr/share/kept": "m",
		"usr/share/doc/a/examples/e": "-", "usr/share/man/man1/a.1": "-", "var/lib/dpkg/status.d/b": "Package: b\nVersion: 1\nReplaces: a (<< 2)\n"} {
		b, err := tree.ReadFile(path, 1000)
		if got := string(b); (want == "-") != (err != nil) || (err == nil && got != want) {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
	other := memberOf(t, Locked{Name: "d"}, "", f("usr/share/x", "d"))
	_, _, err = assemble([]member{a, other})
	var conflict *ConflictError
	if !errors.As(err, &conflict) || conflict.Path != "usr/share/x" || conflict.First != "a.deb" || conflict.Second != "d.deb" {
		t.Errorf("two packages with one file: %v", err)
	}
}

func TestAssembleRefusesAnotherPackage(t *testing.T) {
	_, err := newMember(Locked{Name: "a", Version: "1"}, unpacked{control: []byte("Package: a\nVersion: 2\n")})
	if err == nil {
		t.Error("a package with another version is taken")
	}
}
