package base_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// describe lists a tree with its contents.
func describe(t *testing.T, tree layers.Tree) string {
	t.Helper()
	var b strings.Builder
	for _, e := range tree.Entries() {
		fmt.Fprintf(&b, "%q %s %o %d:%d %d %q %d:%d %q %t", e.Path, e.Kind, e.Mode, e.UID, e.GID, e.Size, e.Link, e.Major, e.Minor, e.Xattrs, e.Implied)
		if e.Kind == layers.File || e.Kind == layers.Hardlink {
			body, err := tree.ReadFile(e.Path, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %q", body)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestTreeOnRecord(t *testing.T) {
	capability := file("usr/bin/ping", "ping")
	capability.Xattrs = map[string]string{"security.capability": "\x01\x00\x00\x02\xff\x20"}
	upper := []layers.Entry{
		{Path: "etc/hidden", Kind: layers.Whiteout}, {Path: "opt", Kind: layers.Dir, Mode: 0o1777, UID: 3, GID: 4},
		{Path: "usr/bin/pong", Kind: layers.Hardlink, Link: "usr/bin/ping"}, capability, file("empty", ""),
		{Path: "dev/null", Kind: layers.CharDevice, Mode: 0o666, Major: 1, Minor: 3},
	}
	for name, extra := range map[string][]layers.Entry{
		"plain names":              {link("here", "/usr/bin")},
		"a name that is not UTF-8": {file("caf\xe9", "latin")},
		"a link that is not UTF-8": {link("there", "caf\xe9")},
	} {
		t.Run(name, func(t *testing.T) {
			ref := pushed(t, newImage(t, amd64, v1.Config{}, []layers.Entry{file("etc/hidden", "x"), file("etc/shown", "y"), file("a-1.dist-info/METADATA", "Name: a\n")}, append(upper, extra...)))
			o := base.Options{Store: newStore(t)}
			tree := func() layers.Tree {
				b := resolve(t, ref, amd64, o)
				tree, err := b.Tree()
				if err != nil {
					t.Fatal(err)
				}
				return tree
			}
			first := describe(t, tree())
			if second := describe(t, tree()); second != first {
				t.Errorf("on record:\n%s\nbefore:\n%s", second, first)
			}
			if !strings.Contains(first, "\\xff") || strings.Contains(first, "hidden") {
				t.Errorf("read wrongly:\n%s", first)
			}
		})
	}
}

// Any file of the store may be deleted: what is then read is fetched again.
func TestContentOfALayerThatIsGone(t *testing.T) {
	ref := pushed(t, newImage(t, amd64, v1.Config{}, []layers.Entry{file("etc/a", "A"), file("etc/b", "B"), file("etc/passwd", "root:x:0:0")}))
	s := newStore(t)
	o := base.Options{Store: s}
	b := resolve(t, ref, amd64, o)
	if _, err := b.Tree(); err != nil {
		t.Fatal(err)
	}
	all, err := b.Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	gone := digestOf(t, all[0])
	if err := os.Remove(s.File(gone)); err != nil {
		t.Fatal(err)
	}
	tree, err := resolve(t, ref, amd64, o).Tree()
	if err != nil {
		t.Fatal(err)
	}
	if body, err := tree.ReadFile("etc/passwd", 100); err != nil || string(body) != "root:x:0:0" {
		t.Errorf("etc/passwd: %q, %v", body, err)
	}
	if s.Has(gone) {
		t.Error("the layer was fetched for what is on record")
	}
	if body, err := tree.ReadFile("etc/b", 10); err != nil || string(body) != "B" {
		t.Errorf("etc/b: %q, %v", body, err)
	}
	nothingUnfinished(t, s)
}

// pushed puts an image into a registry and returns its name there.
func pushed(t *testing.T, img v1.Image) string {
	t.Helper()
	ref, err := name.ParseReference(newServer(t).host + "/base:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

// What tells a base's facts is kept aside while its layers are listed: they are
// not inflated a second time for it.
func TestFactsUnpackNothing(t *testing.T) {
	for _, files := range [][]layers.Entry{
		{file("usr/bin/python3.13", "ELF"), link("usr/bin/python3", "python3.13"), file("etc/os-release", "ID=debian\n"),
			file("usr/lib/x86_64-linux-gnu/libc.so.6", "GNU C Library (Debian GLIBC 2.41-1) stable release version 2.41.\n"),
			file("var/lib/dpkg/status.d/python3.13-minimal", "Package: python3.13-minimal\nVersion: 3.13.5-2\n")},
		{file("usr/local/bin/python3.12", "\x003.12.4\x00"), link("usr/local/bin/python3", "python3.12"), file("lib/ld-musl-x86_64.so.1", "ELF"),
			file("usr/lib/os-release", "ID=alpine\n"), file("lib/apk/db/installed", "P:musl\nV:1.2.5-r0\n"), file("usr/local/bin/pip", "#!/usr/local/bin/python3.12\n")},
	} {
		ref := pushed(t, newImage(t, amd64, v1.Config{Env: []string{"PATH=/usr/local/bin:/usr/bin"}}, files, []layers.Entry{file("srv/app", "x")}))
		st := newStore(t)
		b := resolve(t, ref, amd64, base.Options{Store: st})
		if _, err := b.LayerTree(0); err != nil {
			t.Fatal(err)
		}
		list, err := b.Image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range list {
			digest, err := l.Digest()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(st.File(digest), []byte("no layer"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		facts, err := b.Facts()
		if err != nil {
			t.Fatal(err)
		}
		if facts.Python == nil || facts.Libc.Major == 0 || facts.OS == "" || strings.Count(facts.Python.Version, ".") != 2 {
			t.Errorf("facts are %+v, of the Python %+v", facts, facts.Python)
		}
	}
}
