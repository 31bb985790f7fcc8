package dockerignore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func everyOpener() openers {
	of := func(open func(string) (*root, error)) func(string) (*Opener, error) {
		return func(name string) (*Opener, error) {
			r, err := open(name)
			return &Opener{r, name}, err
		}
	}
	all := openers{"os.Root": of(openByRoot)}
	if r, err := openByOpenat2("/"); err == nil {
		r.close()
		all["openat2"] = of(openByOpenat2)
	}
	return all
}

// special makes what package os cannot.
func special(t *testing.T, root string) {
	t.Helper()
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestWalkSame holds that both ways to open a folder list the same, and that what
// is said of an entry is what package os says.
func TestWalkSame(t *testing.T) {
	root := t.TempDir()
	tree(t, root, "a/b/c", "a-b/x", "a/é", "a.txt", "link -> a/b", "empty/", "keep/no/yes", "long -> "+strings.Repeat("x", 300),
		strings.Repeat("d/", 50)+"deep", "many/")
	for i := range 800 { // more than one getdents
		tree(t, root, "many/"+strings.Repeat("n", i%60)+string(rune('a'+i%26))+strings.Repeat("m", 20+i/60))
	}
	special(t, root)
	for name, mode := range map[string]fs.FileMode{"a.txt": 0o640 | fs.ModeSetuid, "a-b": 0o700 | fs.ModeSticky | fs.ModeSetgid} {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	m, err := New("keep", "!keep/*/yes", "many/*aa*")
	if err != nil {
		t.Fatal(err)
	}
	var first Listing
	for name, open := range everyOpener() {
		o, err := open(root)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		l, err := o.Walk(t.Context(), m)
		if err != nil {
			t.Fatal(name, err)
		}
		if first.Files == nil {
			first = l
		}
		if diff := cmp.Diff(paths(first), paths(l)); diff != "" {
			t.Error(name, diff)
		}
		if len(l.Skipped) != 1 || l.Skipped[0].String() != "fifo (named pipe)" {
			t.Error(name, l.Skipped)
		}
		for _, f := range l.Files {
			want, err := os.Lstat(filepath.Join(root, f.Path))
			if err != nil {
				t.Fatal(err)
			}
			got := f.Info
			if got.Name() != want.Name() || got.Mode() != want.Mode() || got.Size() != want.Size() || got.IsDir() != want.IsDir() || !got.ModTime().Equal(want.ModTime()) {
				t.Errorf("%s: %v, want %v", f.Path, got, want)
			}
			// Looking at them may change the time of access.
			a, b := *got.Sys().(*syscall.Stat_t), *want.Sys().(*syscall.Stat_t)
			a.Atim, b.Atim = syscall.Timespec{}, syscall.Timespec{}
			if a != b {
				t.Errorf("%s: %+v, want %+v", f.Path, a, b)
			}
		}
	}
}

// TestUnknownKind holds what is done on file systems that list names only.
func TestUnknownKind(t *testing.T) {
	root := t.TempDir()
	tree(t, root, "a", "keep/no", "keep/yes", "ignored/x", "gone")
	m, err := New("keep", "!keep/yes", "ignored", "a")
	if err != nil {
		t.Fatal(err)
	}
	r, err := openFolder(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	w := walk{ctx: t.Context(), root: r, name: root, matcher: m}
	f := &folder{keep: true, state: m.top()}
	var wanted []found
	for _, name := range []string{"a", "gone", "ignored", "keep"} {
		if e := (found{path: name}); w.wants(f, &e) {
			wanted = append(wanted, e)
		}
	}
	if err := os.Remove(filepath.Join(root, "gone")); err != nil {
		t.Fatal(err)
	}
	err = r.withFolder(".", func(fd int) error { return w.stat(f, fd, wanted) })
	if err != nil || len(f.entries) != 1 || f.entries[0].file.Path != "keep" || f.entries[0].folder == nil {
		t.Errorf("%+v, %v", f.entries, err)
	}
}

// TestFolderReplaced holds that a folder that became a link is not followed.
func TestFolderReplaced(t *testing.T) {
	root := t.TempDir()
	tree(t, root, "context/", "outside/secret", "context/a -> ../outside", "context/b")
	for name, open := range everyOpener() {
		o, err := open(filepath.Join(root, "context"))
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		for _, path := range []string{"a", "b"} {
			if err := o.root.withFolder(path, func(int) error { return nil }); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s is a folder: %v", name, path, err)
			}
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	tree := bigTree(b)
	l, err := Walk(b.Context(), tree.root, tree.matcher)
	if err != nil {
		b.Fatal(err)
	}
	var files []string
	for _, f := range l.Files {
		if f.Info.Mode().IsRegular() {
			files = append(files, f.Path)
		}
	}
	root, err := os.OpenRoot(tree.root)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	ways := map[string]func(string) (*os.File, error){
		"os.Open":   func(path string) (*os.File, error) { return os.Open(tree.root + "/" + path) },
		"Root.Open": root.Open,
	}
	for name, open := range everyOpener() {
		o, err := open(tree.root)
		if err != nil {
			b.Fatal(err)
		}
		defer o.Close()
		ways["Opener/"+name] = o.Open
	}
	for name, open := range ways {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for _, path := range files {
					f, err := open(path)
					if err != nil {
						b.Fatal(err)
					}
					f.Close()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(files)), "ns/file")
		})
	}
}
