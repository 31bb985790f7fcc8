package local

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func readAll(t *testing.T, r *logReader) (lines []string) {
	t.Helper()
	r.scan()
	for l := r.read(); l != nil; l = r.read() {
		lines = append(lines, l.Container+" "+l.Text)
	}
	return lines
}

func TestLogLines(t *testing.T) {
	dir := t.TempDir()
	a, err := openLog(filepath.Join(dir, "t1", "a.log"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := openLog(filepath.Join(dir, "t2", "b.log"))
	if err != nil {
		t.Fatal(err)
	}
	r := &logReader{dir: dir}
	defer r.Close()
	out, errs, other := a.stream(), a.stream(), b.stream()
	fmt.Fprint(out, "one\ntw")
	fmt.Fprint(errs, "error\r\n")
	fmt.Fprint(other, "other\n")
	fmt.Fprint(out, "o\n\nend")
	if got, want := strings.Join(readAll(t, r), "|"), "a one|a error|b other|a two|a "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	a.Close()
	if got, want := strings.Join(readAll(t, r), "|"), "a end"; got != want {
		t.Errorf("after the end: %q, want %q", got, want)
	}
	only := &logReader{dir: dir, task: "t2"}
	defer only.Close()
	if got := strings.Join(readAll(t, only), "|"); got != "b other" {
		t.Errorf("one task's lines: %q", got)
	}
}

func TestLogRotation(t *testing.T) {
	dir := t.TempDir()
	l, err := openLog(filepath.Join(dir, "t", "c.log"))
	if err != nil {
		t.Fatal(err)
	}
	w := l.stream()
	r := &logReader{dir: dir}
	defer r.Close()
	n, read := 0, 0
	check := func() {
		t.Helper()
		for _, line := range readAll(t, r) {
			if want := fmt.Sprintf("c %d ", read); !strings.HasPrefix(line, want) {
				t.Fatalf("line %.20q, want %q", line, want)
			}
			read++
		}
	}
	long := strings.Repeat("x", 8000)
	for range 3 * maxLogFile / 8000 / 100 { // two changes of the file, followed
		for range 100 {
			fmt.Fprintf(w, "%d %s\n", n, long)
			n++
		}
		check()
	}
	if read != n {
		t.Errorf("read %d of %d lines", read, n)
	}
	size := int64(0)
	files, _ := filepath.Glob(filepath.Join(dir, "t", "*"))
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if len(files) != 2 || size > 2*maxLogFile {
		t.Errorf("%d files of %d bytes", len(files), size)
	}
	fmt.Fprint(w, strings.Repeat("y", 3*maxLogLine)) // no newline at all
	if lines := readAll(t, r); len(lines) != 2 {
		t.Errorf("a long line gave %d", len(lines))
	}
}

const socketTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:13BA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:D431 0100007F:13BA 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 100 0 0 10 0
   2: 0100007F:D432 0100007F:13BA 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0 100 0 0 10 0
   3: 0000000000000000FFFF00000100007F:D433 0000000000000000FFFF00000100007F:13BA 01 00000000:00000000 00:00000000 00000000  1001 0 3
`

func TestSocketOwner(t *testing.T) {
	server := netip.MustParseAddrPort("127.0.0.1:5050")
	for port, want := range map[uint16]int{0xD431: 1000, 0xD432: -1, 0xD433: 1001, 0xD434: -1} {
		client := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
		uid, found := socketOwner(strings.NewReader(socketTable), client, server)
		if !found {
			uid = -1
		}
		if uid != want {
			t.Errorf("port %d: owner %d, want %d", port, uid, want)
		}
	}
}

func FuzzSocketOwner(f *testing.F) {
	f.Add(socketTable)
	f.Fuzz(func(t *testing.T, table string) {
		a := netip.MustParseAddrPort("127.0.0.1:5050")
		if uid, found := socketOwner(strings.NewReader(table), a, a); !found && uid != 0 {
			t.Errorf("owner %d of a connection that is not there", uid)
		}
	})
}
