package dockerignore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes files: a name ending in "/" is a folder, "a -> b" a link, any
// other a file that holds its own name.
func tree(t testing.TB, root string, names ...string) {
	t.Helper()
	for _, name := range names {
		link, target, isLink := strings.Cut(name, " -> ")
		p := filepath.Join(root, link)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(target, p)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		default:
			err = os.WriteFile(p, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func paths(l Listing) []string {
	var out []string
	for _, f := range l.Files {
		switch {
		case f.Link != "":
			out = append(out, f.Path+" -> "+f.Link)
		case f.Info.IsDir():
			out = append(out, f.Path+"/")
		default:
			out = append(out, f.Path)
		}
	}
	return out
}

func TestWalk(t *testing.T) {
	root := t.TempDir()
	tree(t, root,
		"app/__init__.py", "app/__pycache__/x.pyc", "app/static/logo.svg", "app/empty/",
		"app-data/x", "docs/a.md", "docs/deep/b.md", "docs/deep/keep.txt",
		".git/config", ".git/objects/aa/bb", "Dockerfile", ".dockerignore",
		"out -> /etc", "loop -> .", "dangling -> nowhere", "zz")
	tests := []struct {
		name, file string
		want       []string
	}{
		{
			name: "all", file: "",
			want: []string{
				".dockerignore", ".git/", ".git/config", ".git/objects/", ".git/objects/aa/", ".git/objects/aa/bb",
				"Dockerfile", "app/", "app/__init__.py", "app/__pycache__/", "app/__pycache__/x.pyc", "app/empty/",
				"app/static/", "app/static/logo.svg", "app-data/", "app-data/x", "dangling -> nowhere",
				"docs/", "docs/a.md", "docs/deep/", "docs/deep/b.md", "docs/deep/keep.txt",
				"loop -> .", "out -> /etc", "zz",
			},
		},
		{
			name: "names and depths", file: ".git\n**/__pycache__\ndocs\nout\nloop\ndangling\n",
			want: []string{
				".dockerignore", "Dockerfile", "app/", "app/__init__.py", "app/empty/",
				"app/static/", "app/static/logo.svg", "app-data/", "app-data/x", "zz",
			},
		},
		{
			name: "the folders of an exception come with it", file: "*\n!docs/deep/keep.txt\n",
			want: []string{"docs/", "docs/deep/", "docs/deep/keep.txt"},
		},
		{
			name: "an exception at any depth", file: "**\n!**/*.md\n",
			want: []string{"docs/", "docs/a.md", "docs/deep/", "docs/deep/b.md"},
		},
		{name: "nothing", file: "**\n!nowhere/x\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Read(".dockerignore", strings.NewReader(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			l, err := Walk(t.Context(), root, m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, paths(l)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestBoyacky holds what the sample project's context is.
func TestBoyacky(t *testing.T) {
	const root = "../../testdata/boyacky"
	m, err := Load(root, root+"/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".git", ".vscode", "__pycache__", "README.md", "requirements.txt"}, m.Patterns()); diff != "" {
		t.Error(diff)
	}
	l, err := Walk(t.Context(), root, m)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(paths(l), " ")
	for _, name := range []string{"Dockerfile", "app/__main__.py", "app/templates/index.html", "app/static/teacup.svg", "deploy/taskdef.json"} {
		if !strings.Contains(got, name) {
			t.Errorf("%s is not in the context: %s", name, got)
		}
	}
	for _, name := range []string{"README.md", "requirements.txt"} {
		if strings.Contains(got, name) {
			t.Errorf("%s is in the context", name)
		}
	}
}

func TestWalkSkips(t *testing.T) {
	root := t.TempDir()
	tree(t, root, "a/file")
	listener, err := net.Listen("unix", filepath.Join(root, "a", "app.sock"))
	if err != nil {
		t.Skip(err)
	}
	defer listener.Close()
	l, err := Walk(t.Context(), root, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a/", "a/file"}, paths(l)); diff != "" {
		t.Error(diff)
	}
	if len(l.Skipped) != 1 || l.Skipped[0].String() != "a/app.sock (socket)" {
		t.Errorf("skipped %v", l.Skipped)
	}
}

func TestWalkUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	root := t.TempDir()
	tree(t, root, "a/secret/key", "b")
	if err := os.Chmod(filepath.Join(root, "a/secret"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Join(root, "a/secret"), 0o755)
	_, err := Walk(t.Context(), root, nil)
	var we *WalkError
	if !errors.As(err, &we) || we.Path != "a/secret" || !errors.Is(err, fs.ErrPermission) || we.Hint() == "" {
		t.Errorf("got %v", err)
	}
	for _, file := range []string{"a/secret", "a\n!a/secret/other"} {
		m, err := New(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Walk(t.Context(), root, m); err != nil {
			t.Errorf("with %q: %v", file, err)
		}
	}
}

func TestWalkRoot(t *testing.T) {
	root := t.TempDir()
	tree(t, root, "real/file", "alias -> real", "plain")
	if l, err := Walk(t.Context(), filepath.Join(root, "alias"), nil); err != nil || len(l.Files) != 1 {
		t.Errorf("a context given by a link: %v, %v", l.Files, err)
	}
	var we *WalkError
	for _, name := range []string{"absent", "plain"} {
		if _, err := Walk(t.Context(), filepath.Join(root, name), nil); !errors.As(err, &we) || we.Path != "." {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := Walk(ctx, root, nil); err == nil || err.Error() != "enough" {
		t.Errorf("cancelled: %v", err)
	}
}

// thirty patterns as projects have them: literals, suffixes, any depth, and an
// exception.
const thirty = `.git
.github
.vscode
.idea
.venv
venv
node_modules
**/node_modules
**/__pycache__
**/*.pyc
**/*.pyo
**/*.so.tmp
**/.DS_Store
**/.pytest_cache
**/.mypy_cache
**/.ruff_cache
*.md
!README.md
*.log
**/*.log
docs
tests
build
dist
*.egg-info
coverage.xml
.coverage*
**/*.sw?
tmp/**
Dockerfile*
`

// bigTree makes 20,000 files in 400 folders, three deep.
func bigTree(b *testing.B) string {
	b.Helper()
	root := b.TempDir()
	for i := range 400 {
		dir := filepath.Join(root, fmt.Sprintf("pkg%d", i%20), fmt.Sprintf("mod%d", i/20), "src")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 50 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("module_%d.py", j)), nil, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	return root
}

func BenchmarkWalk(b *testing.B) {
	root := bigTree(b)
	m, err := Read(".dockerignore", strings.NewReader(thirty))
	if err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name string
		m    *Matcher
	}{{"all", nil}, {"30patterns", m}} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				l, err := Walk(b.Context(), root, bb.m)
				if err != nil || len(l.Files) != 20_000+20+400+400 {
					b.Fatal(len(l.Files), err)
				}
			}
		})
	}
	// What the standard library takes to see the same, one lstat an entry.
	b.Run("filepath.WalkDir", func(b *testing.B) {
		for b.Loop() {
			n := 0
			err := filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
				if err == nil {
					_, err = d.Info()
				}
				n++
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	m, err := Read(".dockerignore", strings.NewReader(thirty))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ignored, _ := m.match("pkg1/mod2/src/module_17.py", nil); ignored {
			b.Fatal("ignored")
		}
	}
}
