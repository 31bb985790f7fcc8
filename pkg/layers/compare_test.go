package layers

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// entryOf is a header and what follows it.
type entryOf struct {
	tar.Header
	content string
}

func tarOf(t testing.TB, entries ...entryOf) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		if e.Typeflag == 0 {
			e.Typeflag = tar.TypeReg
		}
		if e.Mode == 0 {
			e.Mode = 0o644
		}
		e.Size = int64(len(e.content))
		if err := tw.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCompare(t *testing.T) {
	one := func(change func(e *entryOf)) []byte {
		e := entryOf{Header: tar.Header{Name: "usr/x", ModTime: time.Unix(7, 0)}, content: strings.Repeat("0123456789", 20_000)}
		change(&e)
		return tarOf(t, entryOf{Header: tar.Header{Name: "usr/", Typeflag: tar.TypeDir, Mode: 0o755}}, e, entryOf{Header: tar.Header{Name: "z"}, content: "z"})
	}
	names := func(names ...string) []byte {
		var entries []entryOf
		for _, name := range names {
			entries = append(entries, entryOf{Header: tar.Header{Name: name}, content: name})
		}
		return tarOf(t, entries...)
	}
	long := strings.Repeat("n", 101)
	dev := func(minor int64) func(e *entryOf) {
		return func(e *entryOf) { e.Typeflag, e.Devmajor, e.Devminor, e.content = tar.TypeChar, 1, minor, "" }
	}
	same := func(*entryOf) {}
	for name, c := range map[string]struct {
		a, b []byte
		want *Difference
		text string
	}{
		"nothing":  {one(same), one(same), nil, ""},
		"empty":    {tarOf(t), tarOf(t), nil, ""},
		"missing":  {names("a", "b", "c"), names("a", "c"), &Difference{Path: "b", Field: "missing", A: `"b"`, B: `"c"`}, "b: is missing from the second"},
		"the last": {names("a", "b"), names("a"), &Difference{Path: "b", Field: "missing", A: `"b"`, B: "the end"}, "b: is missing from the second"},
		"extra":    {names("a", "c"), names("a", "b", "c"), &Difference{Path: "b", Field: "extra", A: `"c"`, B: `"b"`}, "b: is in the second only"},
		"one more": {names("a"), names("a", "b"), &Difference{Path: "b", Field: "extra", A: "the end", B: `"b"`}, "b: is in the second only"},
		"order":    {names("a", "b", "c"), names("a", "c", "b"), &Difference{Path: "b", Field: "order", A: `"b"`, B: `"c"`}, `b: the second has "c" in its place, and this elsewhere`},
		"another":  {names("a", "b"), names("a", "c"), &Difference{Path: "b", Field: "missing", A: `"b"`, B: `"c"`}, "b: is missing from the second"},
		"kind": {one(same), one(func(e *entryOf) { e.Typeflag, e.Linkname, e.content = tar.TypeSymlink, "y", "" }),
			&Difference{Path: "usr/x", Field: "kind", A: "file", B: "symbolic link"}, "usr/x: kind is file in the first, symbolic link in the second"},
		"mode": {one(same), one(func(e *entryOf) { e.Mode = 0o4755 }),
			&Difference{Path: "usr/x", Field: "mode", A: "0644", B: "4755"}, "usr/x: mode is 0644 in the first, 4755 in the second"},
		"owner": {one(same), one(func(e *entryOf) { e.Uid = 5 }), &Difference{Path: "usr/x", Field: "owner", A: "0:0", B: "5:0"}, ""},
		"owner's name": {one(same), one(func(e *entryOf) { e.Uname = "root" }),
			&Difference{Path: "usr/x", Field: "owner", A: "0:0", B: `0:0 ("root":"")`}, ""},
		"size": {one(same), one(func(e *entryOf) { e.content = "x" }), &Difference{Path: "usr/x", Field: "size", A: "200000", B: "1"}, ""},
		"link": {one(func(e *entryOf) { e.Typeflag, e.Linkname, e.content = tar.TypeSymlink, "y", "" }),
			one(func(e *entryOf) { e.Typeflag, e.Linkname, e.content = tar.TypeSymlink, "y z", "" }),
			&Difference{Path: "usr/x", Field: "link", A: `"y"`, B: `"y z"`}, ""},
		"device": {one(dev(3)), one(dev(5)), &Difference{Path: "usr/x", Field: "device", A: "1:3", B: "1:5"}, ""},
		"time": {one(same), one(func(e *entryOf) { e.ModTime = time.Unix(8, 0) }),
			&Difference{Path: "usr/x", Field: "time", A: "1970-01-01T00:00:07Z", B: "1970-01-01T00:00:08Z"}, ""},
		"nanoseconds": {one(same), one(func(e *entryOf) { e.ModTime, e.Format = time.Unix(7, 5), tar.FormatPAX }),
			&Difference{Path: "usr/x", Field: "time", A: "1970-01-01T00:00:07Z", B: "1970-01-01T00:00:07.000000005Z"}, ""},
		"xattrs": {one(func(e *entryOf) {
			e.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "1", "SCHILY.xattr.user.b": "1"}
		}),
			one(func(e *entryOf) {
				e.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "1", "SCHILY.xattr.user.b": "\x00"}
			}),
			&Difference{Path: "usr/x", Field: "xattrs", A: `user.b="1"`, B: `user.b="\x00"`}, ""},
		"no xattrs": {one(same), one(func(e *entryOf) { e.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "1"} }),
			&Difference{Path: "usr/x", Field: "xattrs", A: "without user.a", B: `user.a="1"`}, ""},
		"content": {one(same), one(func(e *entryOf) { e.content = e.content[:150_001] + "x" + e.content[150_002:] }),
			&Difference{Path: "usr/x", Field: "content", A: `"12345678901234567890123456789012"…`, B: `"x2345678901234567890123456789012"…`, Offset: 150_001},
			`usr/x: content differs from byte 150001 on: "12345678901234567890123456789012"… in the first, "x2345678901234567890123456789012"… in the second`},
		"format": {one(same), one(func(e *entryOf) { e.Format = tar.FormatGNU }),
			&Difference{Path: "usr/x", Field: "encoding", A: "USTAR", B: "GNU"}, "usr/x: encoding is USTAR in the first, GNU in the second"},
		"long name": {names("a", long), tarOf(t, entryOf{Header: tar.Header{Name: "a"}, content: "a"}, entryOf{Header: tar.Header{Name: long, Format: tar.FormatGNU}, content: long}),
			&Difference{Path: long, Field: "encoding", A: fmt.Sprintf("PAX path=%q…", long[:32]), B: "without PAX records"}, ""},
		"name": {tarOf(t, entryOf{Header: tar.Header{Name: "./a"}}), tarOf(t, entryOf{Header: tar.Header{Name: "a"}}), &Difference{Path: "a", Field: "encoding", A: `"./a"`, B: `"a"`}, ""},
		"comment": {one(func(e *entryOf) { e.PAXRecords = map[string]string{"BOYA.x": "1"} }), one(func(e *entryOf) { e.PAXRecords = map[string]string{"BOYA.x": "2"} }),
			&Difference{Path: "usr/x", Field: "encoding", A: `PAX BOYA.x="1"`, B: `PAX BOYA.x="2"`}, ""},
		"padding": {names("a", "b"), patched(names("a", "b"), 512+511), &Difference{Path: "b", Field: "encoding", A: "one header", B: "another of the same meaning"}, ""},
		"the last padding": {names("a"), patched(names("a"), 512+511), &Difference{Field: "encoding", A: "one padding", B: "another"},
			"the root or the end: encoding is one padding in the first, another in the second"},
		"the end": {names("a"), append(names("a"), make([]byte, 512)...),
			&Difference{Field: "encoding", A: "0 bytes behind the last entry", B: "512 bytes"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Compare(t.Context(), bytes.NewReader(c.a), bytes.NewReader(c.b))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Fatal(diff)
			}
			if got != nil && c.text != "" && got.String() != c.text {
				t.Errorf("%s, want %s", got, c.text)
			}
		})
	}
}

// patched is b with another byte at i.
func patched(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 0x55
	return b
}

// oneByteReader gives pieces as small as can be.
type oneByteReader struct{ r io.Reader }

func (o oneByteReader) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

// Whatever is done to a tar is found, or is an error that names its side.
func TestCompareFindsEveryByte(t *testing.T) {
	tr := tree(t, file("bin/app", strings.Repeat("hello ", 100)), link("app", "bin/app"), Entry{Path: "h", Kind: Hardlink, Link: "bin/app"},
		Entry{Path: "gone", Kind: Whiteout}, Entry{Path: "cut", Kind: Dir, Mode: 0o700, Opaque: true},
		Entry{Path: "cap", Kind: File, Mode: 0o4755, UID: 7, GID: 8, Xattrs: map[string]string{"user.b": "2"}}, file(strings.Repeat("long", 40), "x"))
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, tr, Options{Compression: None}); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	if d, err := Compare(t.Context(), bytes.NewReader(good), oneByteReader{bytes.NewReader(good)}); d != nil || err != nil {
		t.Fatal(d, err)
	}
	r := rand.New(rand.NewPCG(9, 10))
	compare := func(what string, bad []byte) (*Difference, error) {
		d, err := Compare(t.Context(), bytes.NewReader(good), bytes.NewReader(bad))
		if d == nil && err == nil {
			t.Fatalf("%s was not found", what)
		}
		if err != nil && !strings.Contains(err.Error(), "read the second tar: ") {
			t.Fatalf("%s: %v", what, err)
		}
		back, errBack := Compare(t.Context(), bytes.NewReader(bad), bytes.NewReader(good))
		if (d == nil) != (back == nil) || (err == nil) != (errBack == nil) {
			t.Fatalf("%s: %v, %v; and back %v, %v", what, d, err, back, errBack)
		}
		if errBack != nil && !strings.Contains(errBack.Error(), "read the first tar: ") {
			t.Fatalf("%s: %v", what, errBack)
		}
		return d, err
	}
	fields := map[string]int{}
	for i := 0; i < len(good); i += 1 + r.IntN(4) {
		bad := slices.Clone(good)
		bad[i] ^= byte(1 + r.IntN(255))
		if d, err := compare(fmt.Sprintf("byte %d", i), bad); err != nil {
			fields["error"]++
		} else {
			fields[d.Field]++
		}
	}
	t.Log(fields)
	for n := 0; n < len(good); n += 1 + r.IntN(40) {
		_, err := compare(fmt.Sprintf("the end at %d", n), good[:n])
		if n < len(good)-1024 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut off at %d of %d: %v", n, len(good), err)
		}
	}
}

func TestCompareRefuses(t *testing.T) {
	good := tarOf(t, entryOf{Header: tar.Header{Name: "a"}, content: "a"})
	for name, b := range map[string][]byte{
		"nothing":        nil,
		"no tar":         bytes.Repeat([]byte("x"), 1024),
		"leads outside":  tarOf(t, entryOf{Header: tar.Header{Name: "a/../../b"}}),
		"cut off":        good[:600],
		"without an end": good[:1024],
		"sparse":         sparseTar(t),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compare(t.Context(), bytes.NewReader(b), bytes.NewReader(good))
			if err == nil || !strings.HasPrefix(err.Error(), "compare layers: read the first tar: ") {
				t.Error(err)
			}
		})
	}
	broken := io.MultiReader(bytes.NewReader(good[:700]), errorReader{io.ErrClosedPipe})
	if _, err := Compare(t.Context(), bytes.NewReader(good), broken); !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "the second tar") {
		t.Errorf("a reader that breaks: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Compare(ctx, bytes.NewReader(good), bytes.NewReader(good)); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is over: %v", err)
	}
}

type errorReader struct{ err error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.err }

// sparseTar says of one file, in a few bytes, that it has a hole of 8 EiB.
func sparseTar(t *testing.T) []byte {
	const size = "9223372036854775807"
	var records string
	for _, kv := range [][2]string{{"GNU.sparse.major", "0"}, {"GNU.sparse.minor", "1"}, {"GNU.sparse.name", "a"}, {"GNU.sparse.size", size},
		{"GNU.sparse.numblocks", "0"}, {"GNU.sparse.map", ""}} {
		line := " " + kv[0] + "=" + kv[1] + "\n"
		n := len(line) + 2
		if n > 99 {
			t.Fatal("long")
		}
		records += fmt.Sprint(n) + line
	}
	b := tarOf(t, entryOf{Header: tar.Header{Name: "x"}, content: records}, entryOf{Header: tar.Header{Name: "a"}})
	b[156] = tar.TypeXHeader
	sum := 0
	copy(b[148:156], "        ")
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	hdr, err := tar.NewReader(bytes.NewReader(b)).Next()
	if err != nil || fmt.Sprint(hdr.Size) != size {
		t.Fatalf("no sparse file: %v, %v", hdr, err)
	}
	return b
}

func FuzzCompare(f *testing.F) {
	good := tarOf(f, entryOf{Header: tar.Header{Name: "a"}, content: "a"}, entryOf{Header: tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a"}})
	f.Add(good, good)
	f.Add(good, patched(good, 513))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d, err := Compare(t.Context(), bytes.NewReader(a), bytes.NewReader(b))
		if err == nil && (d == nil) != bytes.Equal(a, b) {
			t.Fatalf("%v, and equal is %t", d, bytes.Equal(a, b))
		}
		if d != nil && (d.Field == "" || d.String() == "") {
			t.Fatalf("%+v", d)
		}
	})
}

// Comparing holds no more of long files than of short ones.
func TestCompareHoldsLittle(t *testing.T) {
	grow := func(size int64) float64 {
		read := func() io.Reader {
			var head bytes.Buffer
			if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: size}); err != nil {
				t.Fatal(err)
			}
			return io.MultiReader(&head, io.LimitReader(endless{}, size+1024))
		}
		return testing.AllocsPerRun(1, func() {
			if d, err := Compare(t.Context(), read(), read()); d != nil || err != nil {
				t.Fatal(d, err)
			}
		})
	}
	if small, large := grow(1<<10), grow(64<<20); large > small+20 {
		t.Errorf("%.0f allocations for a small file, %.0f for a large one", small, large)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
