package layers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/flate"
)

func dir(path string) Entry { return Entry{Path: path, Kind: Dir, Mode: 0o755} }

// lines shows all that there is of a tree's entries, a line for each.
func lines(tr Tree) []string {
	var out []string
	for _, e := range tr.Entries() {
		content := "-"
		switch c := e.Content.(type) {
		case memory:
			content = fmt.Sprintf("%q", []byte(c))
		case unlisted:
			content = fmt.Sprintf("unlisted %q", string(c))
		}
		out = append(out, fmt.Sprintf("%q %s %o %d:%d size=%d link=%q device=%d:%d xattrs=%q opaque=%t implied=%t closed=%t origin=%q content=%s",
			e.Path, e.Kind, e.Mode, e.UID, e.GID, e.Size, e.Link, e.Major, e.Minor, e.Xattrs, e.Opaque, e.Implied, e.Closed, e.Origin, content))
	}
	return out
}

// short shows what is listed, and which directories are closed.
func short(tr Tree) string {
	var b strings.Builder
	for _, e := range tr.Entries() {
		b.WriteString(e.Path)
		if e.Closed {
			b.WriteString(" closed")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestOutlineLists(t *testing.T) {
	crowd := func(dir string, n int) []Entry {
		var out []Entry
		for i := range n {
			out = append(out, file(fmt.Sprintf("%s/%d", dir, i), "x"))
		}
		return out
	}
	for name, c := range map[string]struct {
		entries []Entry
		want    string // without the crowd
	}{
		"nothing": {nil, ""},
		"all of six levels": {
			[]Entry{file("1/2/3/4/5/6", "x"), file("a/2/3/4/5/6/7", "x")},
			"1\n1/2\n1/2/3\n1/2/3/4\n1/2/3/4/5\n1/2/3/4/5/6\na\na/2\na/2/3\na/2/3/4\na/2/3/4/5\na/2/3/4/5/6 closed\n",
		},
		"as deep as few enough": {
			append(crowd("n/n/n", 1493), file("1/2/3/4", "x"), dir("a/b/c")),
			"1\n1/2\n1/2/3 closed\na\na/b\na/b/c\nn\nn/n\nn/n/n closed\n",
		},
		"two levels, however many": {
			append(crowd("n", 1600), file("1/2/3", "x"), dir("a/b")),
			"1\n1/2 closed\na\na/b\nn\n",
		},
		"the way to packages only": {
			[]Entry{file("usr/local/lib/python3.13/site-packages/flask/app.py", "x"), file("usr/local/lib/python3.13/os.py", "x"),
				file("usr/local/lib/python3.13/json/tool.py", "x"), file("usr/local/bin/flask", "x"),
				file("usr/local/lib/python3.13/site-packages/x/site-packages/y", "x"), dir("venv/site-packages"), dir("python3/a")},
			"python3\npython3/a\nusr\nusr/local\nusr/local/bin\nusr/local/bin/flask\nusr/local/lib\nusr/local/lib/python3.13 closed\n" +
				"usr/local/lib/python3.13/site-packages closed\nvenv\nvenv/site-packages\n",
		},
		"a wheel": {
			[]Entry{file("usr/local/lib/python3.13/site-packages/six.py", "x")},
			"usr\nusr/local\nusr/local/lib\nusr/local/lib/python3.13\nusr/local/lib/python3.13/site-packages closed\n",
		},
		"the way to packages at any depth": {
			append(crowd("n", 1600), dir("1/2/3/lib/python3.9/x/dist-packages/p"), dir("1/2/other")),
			"1\n1/2 closed\n1/2/3\n1/2/3/lib\n1/2/3/lib/python3.9\n1/2/3/lib/python3.9/x\n1/2/3/lib/python3.9/x/dist-packages closed\nn\n",
		},
		"a link is no directory": {
			[]Entry{link("lib/python3/site-packages", "x"), link("site-packages", "lib"), dir("lib/python2/a")},
			"lib\nlib/python2\nlib/python2/a\nlib/python3 closed\nsite-packages\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Outline(tree(t, c.entries...))
			var kept []string
			for _, line := range strings.SplitAfter(short(got), "\n") {
				if base := path.Base(strings.TrimSpace(line)); !strings.HasPrefix(line, "n/") || base == "n" || strings.HasSuffix(line, "closed\n") {
					kept = append(kept, line)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(kept, "")); diff != "" {
				t.Error(diff)
			}
			if got.Complete() != !strings.Contains(c.want, "closed") {
				t.Errorf("Complete() = %t", got.Complete())
			}
		})
	}
}

func TestOutlineKeepsOfAnEntry(t *testing.T) {
	attrs := map[string]string{"user.a": "1"}
	tr := tree(t,
		Entry{Path: "b", Kind: File, Mode: 0o4755, UID: 1, GID: -2, Size: 3, Content: Bytes([]byte("abc")), Xattrs: attrs, Origin: "o"},
		Entry{Path: "empty", Kind: File, Mode: 0o644, Content: Bytes(nil)},
		Entry{Path: "h", Kind: Hardlink, Link: "b"}, Entry{Path: "l", Kind: Symlink, Mode: 0o777, Link: "/x"},
		Entry{Path: "dev/null", Kind: CharDevice, Mode: 0o666, Major: 1, Minor: 3}, Entry{Path: "gone", Kind: Whiteout},
		Entry{Path: "cut", Kind: Dir, Mode: 0o700, Opaque: true, Xattrs: attrs, Origin: "o"},
		file("etc/passwd", "root:x:0:0::/:/bin/sh\n"), file("etc/group", strings.Repeat("x", 16<<10+1)), file("etc/shadow", "x"))
	want := []string{
		`"b" file 4755 1:-2 size=3 link="" device=0:0 xattrs=map[] opaque=false implied=false closed=false origin="" content=unlisted "b"`,
		`"cut" directory 700 0:0 size=0 link="" device=0:0 xattrs=map["user.a":"1"] opaque=true implied=false closed=false origin="" content=-`,
		`"dev" directory 755 0:0 size=0 link="" device=0:0 xattrs=map[] opaque=false implied=true closed=false origin="" content=-`,
		`"dev/null" character device 666 0:0 size=0 link="" device=1:3 xattrs=map[] opaque=false implied=false closed=false origin="" content=-`,
		`"empty" file 644 0:0 size=0 link="" device=0:0 xattrs=map[] opaque=false implied=false closed=false origin="" content=-`,
		`"etc" directory 755 0:0 size=0 link="" device=0:0 xattrs=map[] opaque=false implied=true closed=false origin="" content=-`,
		`"etc/group" file 644 0:0 size=16385 link="" device=0:0 xattrs=map[] opaque=false implied=false closed=false origin="" content=unlisted "etc/group"`,
		`"etc/passwd" file 644 0:0 size=22 link="" device=0:0 xattrs=map[] opaque=false implied=false closed=false origin="" content="root:x:0:0::/:/bin/sh\n"`,
		`"etc/shadow" file 644 0:0 size=1 link="" device=0:0 xattrs=map[] opaque=false implied=false closed=false origin="" content=unlisted "etc/shadow"`,
		`"gone" whiteout 0 0:0 size=0 link="" device=0:0 xattrs=map[] opaque=false implied=false closed=false origin="" content=-`,
		`"h" hard link 0 0:0 size=0 link="b" device=0:0 xattrs=map[] opaque=false implied=false closed=false origin="" content=unlisted "h"`,
		`"l" symbolic link 777 0:0 size=0 link="/x" device=0:0 xattrs=map[] opaque=false implied=false closed=false origin="" content=-`,
	}
	if diff := cmp.Diff(want, lines(Outline(tr))); diff != "" {
		t.Error(diff)
	}
}

func TestUnlisted(t *testing.T) {
	full := tree(t, file("etc/passwd", "root"), file("usr/share/doc/x", "x"), file("usr/bin/sh", "x"), link("doc", "usr/share/doc/y"),
		link("sh", "/usr/bin/sh"), dir("usr/share/man"))
	view := cut(full, func(p string) bool { return p == "usr/share/doc" })
	if view.Complete() || !full.Complete() {
		t.Fatal("Complete is wrong")
	}
	for p, want := range map[string]string{ // "" = an answer, "none" = it does not exist
		"/": "", "usr": "", "usr/share": "", "usr/share/man": "", "sh": "", "usr/none": "none", "usr/share/man/none": "none", "none/at/all": "none",
		"usr/bin/sh/below": "none", "usr/share/doc": "usr/share/doc", "usr/share/doc/x": "usr/share/doc", "usr/share/none": "usr/share/none",
		"doc": "usr/share/doc", "usr/share/../none": "none", "usr/share/x/../../none": "usr/share/x",
	} {
		_, err := view.Stat(p)
		var unlisted *UnlistedError
		got := ""
		switch {
		case errors.As(err, &unlisted):
			got = unlisted.Path
		case errors.Is(err, fs.ErrNotExist):
			got = "none"
		case err != nil:
			got = err.Error()
		}
		if got != want {
			t.Errorf("Stat(%q): %q, want %q", p, got, want)
		}
	}
	for p, want := range map[string]bool{"": true, "usr": true, "usr/x/y": true, "usr/share": true, "usr/share/man/x": true, "usr/bin/sh/x": true,
		"usr/share/doc": false, "usr/share/doc/x": false, "usr/share/x": false} {
		if view.Listed(p) != want || !full.Listed(p) {
			t.Errorf("Listed(%q) = %t", p, !want)
		}
	}
	view = Outline(full)
	var unlisted *UnlistedError
	if _, err := view.ReadFile("sh", 100); !errors.As(err, &unlisted) || unlisted.Path != "usr/bin/sh" {
		t.Errorf("ReadFile of an outline: %v", err)
	}
	if _, err := view.ReadFile("sh", 0); err == nil || errors.As(err, &unlisted) {
		t.Errorf("ReadFile of what is too long: %v", err)
	}
	if b, err := view.ReadFile("/etc/passwd", 100); err != nil || string(b) != "root" {
		t.Errorf("ReadFile(passwd) = %q, %v", b, err)
	}
	for name, err := range map[string]error{
		"Merge": func() error { _, err := Merge(cut(full, func(p string) bool { return p == "usr/bin" })); return err }(),
		"Settle": func() error {
			_, err := cut(full, func(p string) bool { return p == "usr/bin" }).Settle(full)
			return err
		}(),
	} {
		if !errors.As(err, &unlisted) || unlisted.Path != "usr" {
			t.Errorf("%s of an incomplete tree: %v", name, err)
		}
	}
	if _, err := NewTree([]Entry{{Path: "a", Kind: File, Closed: true}}); err == nil {
		t.Error("a closed file was accepted")
	}
}

// cut leaves out what gone says, with all that lies in it, as an outline would.
func cut(t Tree, gone func(p string) bool) Tree {
	var out []Entry
	for _, e := range t.Entries() {
		at := slices.IndexFunc(out, func(d Entry) bool { return d.Path == parent(e.Path) })
		if in := parent(e.Path); in != "" && at < 0 {
			continue // left out before
		}
		if gone(e.Path) && at >= 0 {
			out[at].Closed = true
			continue
		}
		out = append(out, e)
	}
	cut, err := NewTree(out)
	if err != nil {
		panic(err)
	}
	return cut
}

// randomTree makes a tree of few names, so that two of them meet.
func randomTree(r *rand.Rand, marks bool) Tree {
	var entries []Entry
	var fill func(dir string, depth int)
	fill = func(dir string, depth int) {
		for _, name := range []string{"a", "b", "lib", "python3", "site-packages"} {
			if r.IntN(5) < 2 && dir != "" {
				continue
			}
			e := Entry{Path: join(dir, name), Mode: []uint32{0o755, 0o700, 0o1777}[r.IntN(3)], UID: r.IntN(2)}
			switch k := r.IntN(12); {
			case k < 7 && depth < 5:
				e.Kind = Dir
				if r.IntN(4) == 0 {
					e.Xattrs = map[string]string{"user.x": fmt.Sprint(r.IntN(2))}
				}
				e.Opaque = marks && r.IntN(4) == 0
				before := len(entries)
				fill(e.Path, depth+1)
				if len(entries) > before && !e.Opaque && r.IntN(2) == 0 {
					continue // implied
				}
			case k < 8:
				e.Kind, e.Link = Symlink, randomPath(r)
				if r.IntN(2) == 0 {
					e.Link = "/" + e.Link
				} else if r.IntN(2) == 0 {
					e.Link = "../" + e.Link
				}
			case k < 9 && marks:
				e = Entry{Path: e.Path, Kind: Whiteout}
			case k < 10:
				e.Kind, e.Link = Hardlink, randomPath(r)
			case k < 11:
				e.Kind, e.Major, e.Minor = BlockDevice, int64(r.IntN(3)), 1
			default:
				e = file(e.Path, strings.Repeat("x", r.IntN(3)))
				e.Origin = "" // outlines have none to name in errors
			}
			entries = append(entries, e)
		}
	}
	fill("", 0)
	t, err := NewTree(entries)
	if err != nil {
		panic(err)
	}
	return t
}

func randomPath(r *rand.Rand) string {
	names := []string{"a", "b", "lib", "python3", "site-packages", "z"}
	p := names[r.IntN(5)]
	for range r.IntN(5) {
		p += "/" + names[r.IntN(6)]
	}
	return p
}

// partial is a view of t that some of it is left out of: an outline, or
// something that is rougher still.
func partial(r *rand.Rand, t Tree) Tree {
	switch r.IntN(4) {
	case 0:
		return Outline(t)
	case 1:
		return t
	}
	return Outline(cut(t, func(string) bool { return r.IntN(6) == 0 }))
}

const rounds = 1500

// agrees says what a view knows wrongly at p.
func agrees(t *testing.T, full, view Tree, p string) (listed bool) {
	t.Helper()
	if !view.Listed(p) {
		return false
	}
	a, inFull := full.Lookup(p)
	b, inView := view.Lookup(p)
	if inFull != inView {
		t.Fatalf("%q: there %t, seen %t\nfull:\n%s\nview:\n%s", p, inFull, inView, list(full), short(view))
	}
	if a.Kind != b.Kind || a.Mode != b.Mode || a.UID != b.UID || a.GID != b.GID || a.Size != b.Size || a.Link != b.Link ||
		a.Major != b.Major || a.Opaque != b.Opaque || (a.Kind == Dir && !maps.Equal(a.Xattrs, b.Xattrs)) {
		t.Fatalf("%q: is %+v, seen %+v", p, a, b)
	}
	return true
}

func TestOverlayOfOutlinesKnowsNothingWrongly(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	listed, unlisted := 0, 0
	for range rounds {
		n := 2 + r.IntN(2)
		var full, view Tree
		for i := range n {
			l := randomTree(r, i > 0 || r.IntN(4) == 0)
			if i == 0 {
				full, view = l, partial(r, l)
				continue
			}
			if r.IntN(4) == 0 {
				full, view = Compose(full, l), Compose(view, partial(r, l))
			} else {
				full, view = Overlay(full, l), Overlay(view, partial(r, l))
			}
		}
		if _, err := NewTree(slices.Clone(view.Entries())); err != nil {
			t.Fatal(err)
		}
		if view.Complete() != !slices.ContainsFunc(view.Entries(), func(e Entry) bool { return e.Closed }) {
			t.Fatal("Complete is wrong")
		}
		for _, tr := range []Tree{full, view} {
			for _, e := range tr.Entries() {
				if agrees(t, full, view, e.Path) {
					listed++
				} else {
					unlisted++
				}
			}
		}
		for range 50 {
			agrees(t, full, view, randomPath(r))
		}
	}
	t.Logf("%d paths listed, %d not", listed, unlisted)
	if listed < 10*rounds || unlisted < 10*rounds {
		t.Error("too few of a kind to prove anything")
	}
}

// An overlay that claimed nothing would be right as well; so what it must know.
func TestOverlayOfOutlinesKnows(t *testing.T) {
	closed := func(p string) Entry { return Entry{Path: p, Kind: Dir, Mode: 0o755, Closed: true} }
	gone := func(p string) Entry { return Entry{Path: p, Kind: Whiteout} }
	opaque := func(p string, shut bool) Entry {
		return Entry{Path: p, Kind: Dir, Mode: 0o755, Opaque: true, Closed: shut}
	}
	for name, c := range map[string]struct {
		lower, upper []Entry
		want         string
	}{
		"the upper may hide":           {[]Entry{file("d/x", "1"), file("d/y", "1")}, []Entry{closed("d"), file("d/y", "2")}, "d closed\nd/y\n"},
		"the upper lists the way":      {[]Entry{file("d/e/x", "1"), file("d/f", "1")}, []Entry{closed("d"), dir("d/e")}, "d closed\nd/e\nd/e/x\n"},
		"the lower has more":           {[]Entry{closed("d"), file("d/x", "1")}, []Entry{dir("d"), file("d/y", "1")}, "d closed\nd/x\nd/y\n"},
		"the lower's is hidden":        {[]Entry{closed("d"), file("d/x", "1")}, []Entry{opaque("d", false), file("d/y", "1")}, "d\nd/y\n"},
		"the upper's is closed":        {[]Entry{file("d/x", "1")}, []Entry{opaque("d", true)}, "d closed\n"},
		"the lower's is gone":          {[]Entry{closed("d"), file("e", "1")}, []Entry{gone("d")}, "e\n"},
		"the lower may have it":        {[]Entry{closed("d")}, []Entry{dir("d"), dir("d/e"), file("d/e/x", "1")}, "d closed\nd/e closed\nd/e/x\n"},
		"the lower may have its mode":  {[]Entry{closed("d")}, []Entry{file("d/e/x", "1"), file("d/y", "1")}, "d closed\nd/y\n"},
		"nothing of the lower is seen": {[]Entry{closed("d")}, []Entry{opaque("d", false), file("d/e/x", "1")}, "d\nd/e\nd/e/x\n"},
		"a file is in the way":         {[]Entry{closed("d"), file("d/e", "1")}, []Entry{file("d/e/f/x", "1")}, "d closed\nd/e\nd/e/f\nd/e/f/x\n"},
		"elsewhere":                    {[]Entry{closed("d"), file("e/x", "1")}, []Entry{closed("f"), file("e/y", "1")}, "d closed\ne\ne/x\ne/y\nf closed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, short(Overlay(tree(t, c.lower...), tree(t, c.upper...)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSettleOnAnOutline(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	same, refused, unsure := 0, 0, 0
	for range rounds {
		full := randomTree(r, false)
		view := partial(r, full)
		s := cut(randomTree(r, false), func(string) bool { return r.IntN(3) == 0 })
		s = tree(t, slices.DeleteFunc(slices.Clone(s.Entries()), func(e Entry) bool {
			return e.Implied || (e.Closed && r.IntN(2) == 0)
		})...)
		for i := range s.entries {
			s.entries[i].Closed = false
		}
		s.closed = false
		want, wantErr := s.Settle(full)
		got, err := s.Settle(view)
		var unlisted *UnlistedError
		switch {
		case errors.As(err, &unlisted):
			unsure++
			if view.Complete() {
				t.Fatal("unlisted, on a complete view")
			}
			continue
		case err != nil || wantErr != nil:
			refused++
			if err == nil || wantErr == nil || err.Error() != wantErr.Error() {
				t.Fatalf("%v, want %v", err, wantErr)
			}
			continue
		}
		same++
		if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
			t.Fatalf("on\n%s\n%s", short(view), diff)
		}
	}
	t.Logf("%d the same, %d refused by both, %d not known", same, refused, unsure)
	if same < rounds/10 || unsure < rounds/10 {
		t.Error("too few of a kind to prove anything")
	}
}

func TestResolveInAnOutline(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	same, unsure := 0, 0
	for range rounds {
		full := randomTree(r, false)
		view := partial(r, full)
		for range 20 {
			p := randomPath(r)
			if r.IntN(3) == 0 {
				p += "/../" + randomPath(r)
			}
			want, wantErr := full.Stat(p)
			got, err := view.Stat(p)
			if unlisted := (*UnlistedError)(nil); errors.As(err, &unlisted) {
				unsure++
				if view.Listed(unlisted.Path) {
					t.Fatalf("Stat(%q): %v, and it is", p, err)
				}
				continue
			}
			same++
			if fmt.Sprint(err) != fmt.Sprint(wantErr) || got.Path != want.Path || got.Kind != want.Kind || got.Mode != want.Mode {
				t.Fatalf("Stat(%q) = %v, %v; want %v, %v", p, got, err, want, wantErr)
			}
		}
	}
	t.Logf("%d the same, %d not known", same, unsure)
	if same < rounds || unsure < rounds {
		t.Error("too few of a kind to prove anything")
	}
}

func TestOutlineOfAnOutlineAndBack(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range rounds / 10 {
		full := randomTree(r, true)
		if r.IntN(10) == 0 {
			var many []Entry
			for i := range 1400 + r.IntN(200) {
				many = append(many, file(fmt.Sprintf("n/%d", i), "x"))
			}
			full = Overlay(full, tree(t, many...))
		}
		o := Outline(full)
		if diff := cmp.Diff(lines(o), lines(Outline(o))); diff != "" {
			t.Fatal(diff)
		}
		for _, e := range full.Entries() {
			agrees(t, full, o, e.Path)
		}
		for _, tr := range []Tree{o, partial(r, full)} {
			b, err := MarshalOutline(tr)
			if err != nil {
				t.Fatal(err)
			}
			back, err := ParseOutline(b)
			if err != nil {
				t.Fatal(err)
			}
			for i := range tr.entries {
				tr.entries[i] = brief(tr.entries[i])
			}
			if diff := cmp.Diff(lines(tr), lines(back)); diff != "" {
				t.Fatal(diff)
			}
			if back.Complete() != tr.Complete() {
				t.Fatal("Complete is wrong")
			}
		}
	}
}

// goldenTree has some of everything.
func goldenTree(t testing.TB) Tree {
	entries := []Entry{
		file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), file("etc/group", ""), link("bin", "usr/bin"),
		{Path: "a", Kind: Hardlink, Link: "usr/bin/0", Size: 5, Content: Bytes([]byte("01234"))}, {Path: "gone", Kind: Whiteout},
		{Path: "dev/null", Kind: CharDevice, Mode: 0o666, Major: 1, Minor: 3}, {Path: "fifo", Kind: FIFO, Mode: 0o600, UID: 70000, GID: -1},
		{Path: "cut", Kind: Dir, Mode: 0o700, Opaque: true}, {Path: "var/log/journal", Kind: Dir, Mode: 0o2755, GID: 101, Xattrs: map[string]string{"system.posix_acl_default": "\x02\x00"}},
		file("usr/local/lib/python3.13/site-packages/six.py", "x"),
	}
	for i := range 300 {
		entries = append(entries, file(fmt.Sprintf("usr/bin/%d", i), strings.Repeat("x", i*i%9973)))
	}
	return Outline(tree(t, entries...))
}

// Outlines are in manifests, so their bytes are in digests of images. When this
// fails they have changed: by a new version of the compressor, or by a change of
// the form, which needs a new outlineVersion.
func TestMarshalOutlineIsTheSameForEver(t *testing.T) {
	wheel := Outline(tree(t, file("usr/local/lib/python3.13/site-packages/six.py", "x"), file("usr/local/bin/six", "x")))
	for name, c := range map[string]struct {
		tree Tree
		want string // the bytes, or their digest if they are many
	}{
		"nothing": {Tree{}, goldenNothing},
		"wheel":   {wheel, goldenWheel},
		"all":     {goldenTree(t), goldenAll},
	} {
		b, err := MarshalOutline(c.tree)
		if err != nil {
			t.Fatal(err)
		}
		got := hex.EncodeToString(b)
		if len(b) > 120 {
			got = fmt.Sprintf("%d bytes, %x", len(b), sha256.Sum256(b))
		}
		if got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

const (
	goldenNothing = "016260000c00"
	goldenWheel   = "01626766627acbccc0c0c8b084998181890dc466007119981818c004aa338a332bf01bc8081800"
	goldenAll     = "1480 bytes, fdec781658e6850c507055b63eab6d67892b9de13066854dfc980137c49c00d3"
)

// marshalled makes an outline of a payload that may be anything.
func marshalled(t testing.TB, payload []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteByte(outlineVersion)
	w, err := flate.NewWriterDict(&b, flate.BestSpeed, []byte(outlineWords))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(payload); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestParseOutlineRefuses(t *testing.T) {
	good, err := MarshalOutline(goldenTree(t))
	if err != nil {
		t.Fatal(err)
	}
	const d, f, l, h, c = byte(Dir), byte(File), byte(Symlink), byte(Hardlink), byte(CharDevice)
	for name, b := range map[string][]byte{
		"nothing":         nil,
		"version":         append([]byte{2}, good[1:]...),
		"cut off":         good[:len(good)-5],
		"goes on":         append(slices.Clone(good), 0),
		"long":            append(slices.Clone(good), make([]byte, maxMarshalled)...),
		"bomb":            marshalled(t, make([]byte, maxOutlineInflated+1)),
		"no deflate":      {1, 0xff, 0xff, 0xff},
		"empty payload":   marshalled(t, nil),
		"payload goes on": marshalled(t, []byte{0, 0, 0}),
		"many entries":    marshalled(t, append([]byte{0xff, 0xff, 0x7f, 0}, make([]byte, 8<<20)...)),
		"entries of none": marshalled(t, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0}),
		"overflow":        marshalled(t, bytes.Repeat([]byte{0xff}, 20)),
		"class":           marshalled(t, []byte{1, 0, 0, 0, 'a', 0}),
		"kind":            marshalled(t, []byte{1, 1, 99, 0, 0, 0, 0, 0, 0, 'a', 0}),
		"no kind":         marshalled(t, []byte{1, 1, 0, 0, 0, 0, 0, 0, 0, 'a', 0}),
		"marks":           marshalled(t, []byte{1, 1, d, 0x80, 0, 0, 0, 0, 0, 'a', 0}),
		"closed file":     marshalled(t, []byte{1, 1, f, markClosed, 0, 0, 0, 0, 0, 'a', 0, 0}),
		"mode":            marshalled(t, []byte{1, 1, d, 0, 0x80, 0x80, 2, 0, 0, 0, 0, 'a', 0}),
		"long mode":       marshalled(t, []byte{1, 1, d, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 2, 0, 0, 0, 0, 'a', 0}),
		"level":           marshalled(t, []byte{1, 1, d, 0, 0, 0, 0, 0, 1, 'a', 0}),
		"no name":         marshalled(t, []byte{1, 1, d, 0, 0, 0, 0, 0, 0, 0}),
		"dots":            marshalled(t, []byte{1, 1, d, 0, 0, 0, 0, 0, 0, '.', '.', 0}),
		"dot":             marshalled(t, []byte{1, 1, d, 0, 0, 0, 0, 0, 0, '.', 0}),
		"absolute":        marshalled(t, []byte{1, 1, d, 0, 0, 0, 0, 0, 0, '/', 'a', 0}),
		"whiteout's name": marshalled(t, []byte("\x01\x01\x02\x00\x00\x00\x00\x00\x00.wh.a\x00")),
		"long name":       marshalled(t, append([]byte{1, 1, d, 0, 0, 0, 0, 0, 0}, append(bytes.Repeat([]byte("a"), maxPath+1), 0)...)),
		"no end of name":  marshalled(t, []byte{1, 1, d, 0, 0, 0, 0, 0, 0, 'a'}),
		"twice":           marshalled(t, []byte{2, 1, d, 0, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 'a', 0}),
		"disorder":        marshalled(t, []byte{2, 1, d, 0, 0, 0, 0, 0, 0, 0, 1, 'b', 0, 'a', 0}),
		"file as parent":  marshalled(t, []byte{2, 1, f, 0, 0, 0, 0, 0, 0, 0, 0, 'a', 0, 'b', 0, 0, 0}),
		"no target":       marshalled(t, []byte{1, 1, l, 0, 0, 0, 0, 0, 0, 'a', 0, 0}),
		"target":          marshalled(t, []byte{1, 1, h, 0, 0, 0, 0, 0, 0, 'a', 0, 'b'}),
		"size":            marshalled(t, []byte{1, 1, f, 0, 0, 0, 0, 0, 0, 'a', 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}),
		"device":          marshalled(t, []byte{1, 1, c, 0, 0, 0, 0, 0, 0, 'a', 0, 1}),
		"content":         marshalled(t, []byte{1, 1, f, markContent, 0, 0, 0, 0, 0, 'a', 0, 1, 'x'}),
		"no content":      marshalled(t, []byte("\x02\x02\x02\x00\x00\x00\x00\x01\x08\x00\x00\x00\x00\x01\x00\x00etc\x00passwd\x00\x05abcd")),
		"no attributes":   marshalled(t, []byte{1, 1, d, markXattrs, 0, 0, 0, 0, 0, 'a', 0, 0}),
		"attribute":       marshalled(t, []byte{1, 1, d, markXattrs, 0, 0, 0, 0, 0, 'a', 0, 1, 9, 'a', 0}),
	} {
		t.Run(name, func(t *testing.T) {
			if tr, err := ParseOutline(b); err == nil {
				t.Errorf("accepted as\n%s", short(tr))
			} else if !strings.HasPrefix(err.Error(), "parse outline: ") {
				t.Error(err)
			}
		})
	}
	if _, err := ParseOutline(marshalled(t, []byte("\x02\x02\x02\x00\x00\x00\x00\x01\x08\x00\x00\x00\x00\x01\x00\x00etc\x00passwd\x00\x05abcde"))); err != nil {
		t.Errorf("what is right: %v", err)
	}
	deep := make([]byte, 0, 1<<20) // paths grow with each entry, the names do not
	deep = append(deep, 0xa0, 0x9c, 1, 1, d, 0, 0, 0, 0)
	deep = append(deep, make([]byte, 2*20_000)...)
	deep = append(deep, bytes.Repeat([]byte{'a', 0}, 20_000)...)
	if _, err := ParseOutline(marshalled(t, deep)); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("deep: %v", err)
	}
}

func TestMarshalOutlineRefuses(t *testing.T) {
	many := make([]Entry, maxOutlineEntries+1)
	for i := range many {
		many[i] = dir(fmt.Sprint(i))
	}
	for name, tr := range map[string]Tree{
		"many":      tree(t, many...),
		"NUL":       {entries: []Entry{{Path: "a", Kind: Hardlink, Link: "b\x00c"}}},
		"no parent": {entries: []Entry{dir("a/b")}},
	} {
		if _, err := MarshalOutline(tr); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseOutline(f *testing.F) {
	for _, tr := range []Tree{{}, goldenTree(f)} {
		b, err := MarshalOutline(tr)
		if err != nil {
			f.Fatal(err)
		}
		inflated := flate.NewReaderDict(bytes.NewReader(b[1:]), []byte(outlineWords))
		var payload bytes.Buffer
		if _, err := payload.ReadFrom(inflated); err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
		f.Add(payload.Bytes(), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, deflate bool) {
		if deflate {
			data = marshalled(t, data)
		}
		tr, err := ParseOutline(data)
		if err != nil {
			return
		}
		for _, e := range tr.Entries() {
			if err := check(&e); err != nil {
				t.Fatal(err)
			}
		}
		b, err := MarshalOutline(tr)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseOutline(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(lines(tr), lines(back)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestListsAll(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	some, none := 0, 0
	for range 3000 {
		lower, upper := Outline(randomTree(r, true)), randomTree(r, false)
		want := !slices.ContainsFunc(upper.entries, func(e Entry) bool { return !lower.Listed(e.Path) })
		if got := lower.ListsAll(upper); got != want {
			t.Fatalf("ListsAll is %t, Listed of each %t", got, want)
		}
		if want {
			some++
		} else {
			none++
		}
	}
	if some < 100 || none < 100 {
		t.Errorf("%d times all are listed, %d times not: the trees show nothing", some, none)
	}
}

func TestLatest(t *testing.T) {
	got := Latest([]Entry{{Path: "b", Mode: 1}, {Path: "a", Mode: 2}, {Path: "b", Mode: 3}, {Path: "a/c", Mode: 4}, {Path: "b", Mode: 5}})
	if len(got) != 3 || got[0].Path != "a" || got[1].Path != "a/c" || got[2].Path != "b" || got[2].Mode != 5 {
		t.Errorf("%+v", got)
	}
}
