package statcache

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var compareRecords = cmp.AllowUnexported(record{}, stamp{})

func sealed(body string) []byte {
	data := magic + body
	sum := sha256.Sum256([]byte(data))
	return append([]byte(data), sum[:]...)
}

func TestFormat(t *testing.T) {
	records := []record{
		{path: "a", stamp: stamp{size: 1, mtime: 2, ctime: 3, ino: 4, dev: 5}, sum: sha256.Sum256([]byte("a"))},
		{path: "a/b", stamp: stamp{size: math.MaxInt64, mtime: math.MinInt64, ctime: math.MaxInt64, ino: math.MaxUint64, dev: math.MaxUint64}},
		{path: "a\xff\x00b", stamp: stamp{size: 0, mtime: math.MaxInt64, ctime: math.MinInt64, ino: 0, dev: 5}},
		{path: strings.Repeat("deep/", 900), stamp: stamp{mtime: -1, ctime: -1}},
	}
	saved, got, err := parse(encode(-7, records))
	if err != nil || saved != -7 {
		t.Fatal(saved, err)
	}
	if diff := cmp.Diff(records, got, compareRecords); diff != "" {
		t.Error(diff)
	}
	if _, got, err := parse(encode(1, nil)); err != nil || len(got) != 0 {
		t.Errorf("no records: %v, %v", got, err)
	}
}

// TestFormatBounded holds that little data does not become much memory.
func TestFormatBounded(t *testing.T) {
	n := binary.AppendUvarint(nil, math.MaxUint64)
	rec := func(shared, rest uint64, name string) string {
		b := binary.AppendUvarint(binary.AppendUvarint(nil, shared), rest)
		return string(b) + name + "\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 32)
	}
	// Each path is the one before and a letter: a square of the file's size.
	var bomb strings.Builder
	const many = 12_000
	bomb.Write(binary.AppendUvarint([]byte("\x00\x01\x00"), many+1))
	bomb.WriteString(rec(0, 5000, strings.Repeat("a", 5000)))
	for i := range uint64(many) {
		bomb.WriteString(rec(5000+i, 1, "a"))
	}
	for name, body := range map[string]string{
		"many devices":                           "\x00" + string(n),
		"many records":                           "\x00\x00" + string(n),
		"a long path":                            "\x00\x01\x00\x01\x00" + string(n) + strings.Repeat("a", 60),
		"much in common":                         "\x00\x01\x00\x01" + string(n) + "\x01a" + strings.Repeat("\x00", 60),
		"an unknown device":                      "\x00\x00\x01" + rec(0, 1, "a"),
		"an empty path":                          "\x00\x01\x00\x01" + rec(0, 0, "") + "\x00",
		"one path twice":                         "\x00\x01\x00\x02" + rec(0, 1, "a") + rec(1, 0, ""),
		"not in order":                           "\x00\x01\x00\x02" + rec(0, 1, "b") + rec(0, 1, "a"),
		"bytes after":                            "\x00\x01\x00\x01" + rec(0, 1, "a") + "\x00",
		"no end":                                 "\x80",
		"nothing":                                "",
		"paths that are prefixes of one another": bomb.String(),
	} {
		if _, got, err := parse(sealed(body)); err == nil {
			t.Errorf("%s: %d records", name, len(got))
		}
	}
	if _, got, err := parse(sealed("\x00\x01\x00\x02" + rec(0, 1, "a") + rec(1, 1, "b"))); err != nil || len(got) != 2 || got[1].path != "ab" {
		t.Errorf("%v, %v", got, err) // so the others are wrong in what they say
	}

	// What is too much is not written.
	long := strings.Repeat("a", maxPaths/2)
	_, got, err := parse(encode(0, []record{{path: long}, {path: long + "b"}}))
	if err != nil || len(got) != 1 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

func TestLoadHuge(t *testing.T) {
	name := filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, maxFile+1); err != nil {
		t.Skip(err)
	}
	if _, _, err := load(name); err != errDamaged {
		t.Errorf("got %v", err)
	}
}

// FuzzParse reads any body with a right checksum: it is refused, or holds what
// is written and read again as the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("\x00\x00\x00"))
	f.Add([]byte("\x02\x01\x07\x01\x00\x01a\x01\x02\x02\x02\x00" + strings.Repeat("s", 32)))
	whole := encode(9, []record{{path: "a/b", stamp: stamp{size: 300, ctime: 1e18, mtime: 1e17, ino: 99, dev: 1}}, {path: "a/c", stamp: stamp{dev: 2}}})
	f.Add(whole[len(magic) : len(whole)-sha256.Size])
	f.Fuzz(func(t *testing.T, body []byte) {
		saved, records, err := parse(sealed(string(body)))
		if err != nil {
			return
		}
		for i := range records {
			if records[i].path == "" || i > 0 && records[i].path <= records[i-1].path {
				t.Fatalf("path %d: %q", i, records[i].path)
			}
		}
		savedAgain, again, err := parse(encode(saved, records))
		if err != nil || saved != savedAgain {
			t.Fatal(saved, savedAgain, err)
		}
		if diff := cmp.Diff(records, again, compareRecords); diff != "" {
			t.Fatal(diff)
		}
	})
}
