package dockerignore

import (
	"context"
	"errors"
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
