package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestSubordinateIDs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	check(t, os.WriteFile(file, []byte("ann:100000:65536\n1001:300000:10\nann:500000:20\nbob:x:1\n:1:1\nann:7:0\n"), 0o644))
	for _, test := range []struct {
		name string
		uid  int
		want []string
	}{
		{"ann", 1000, []string{"1", "100000", "65536", "65537", "500000", "20"}},
		{"", 1001, []string{"1", "300000", "10"}},
		{"ann", 1001, []string{"1", "100000", "65536", "65537", "300000", "10", "65547", "500000", "20"}},
	} {
		got, err := subordinateIDs(file, test.name, test.uid)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s %d: %v %s", test.name, test.uid, err, diff)
		}
	}
	if got, err := subordinateIDs(file, "bob", 1002); err == nil {
		t.Errorf("bob has %v", got)
	}
}

// A copy has everything that the original has.
func TestCopyTree(t *testing.T) {
	from := filepath.Join(t.TempDir(), "from")
	check(t, os.MkdirAll(from+"/dir", 0o755))
	check(t, os.WriteFile(from+"/dir/file", []byte("text"), 0o640))
	check(t, os.Link(from+"/dir/file", from+"/hard"))
	check(t, os.Symlink("/nowhere", from+"/soft"))
	check(t, unix.Mkfifo(from+"/pipe", 0o600))
	check(t, os.Chmod(from+"/dir/file", 0o750|os.ModeSetgid))
	attribute := unix.Lsetxattr(from+"/dir/file", "user.test", []byte("value"), 0)
	check(t, os.Chmod(from+"/dir", 0o555))
	t.Cleanup(func() { os.Chmod(from+"/dir", 0o755) })
	old := []unix.Timespec{{Sec: 1e9}, {Sec: 1e9, Nsec: 5}}
	for _, path := range []string{"dir/file", "soft", "dir", ""} {
		check(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(from, path), old, unix.AT_SYMLINK_NOFOLLOW))
	}
	to := filepath.Join(filepath.Dir(from), "to")
	check(t, copyTree(from, to))
	t.Cleanup(func() { os.Chmod(to+"/dir", 0o755) })

	relative := func(root string) (all []string) {
		for _, line := range listing(t, root) {
			all = append(all, line[len(root):])
		}
		return all
	}
	// Which of the two names was copied first makes no difference.
	if diff := cmp.Diff(relative(from), relative(to)); diff != "" {
		t.Error(diff)
	}
	a, err := os.Stat(to + "/hard")
	check(t, err)
	b, err := os.Stat(to + "/dir/file")
	check(t, err)
	if !os.SameFile(a, b) {
		t.Error("the hard link is a copy")
	}
	if target, err := os.Readlink(to + "/soft"); err != nil || target != "/nowhere" {
		t.Error(target, err)
	}
	value := make([]byte, 10)
	if n, err := unix.Lgetxattr(to+"/hard", "user.test", value); attribute == nil && (err != nil || string(value[:n]) != "value") {
		t.Error(value, err)
	}
}
