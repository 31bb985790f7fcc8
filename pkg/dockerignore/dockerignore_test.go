package dockerignore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// TestIgnored holds the rules that Docker documents for .dockerignore.
func TestIgnored(t *testing.T) {
	tests := []struct {
		name, file    string
		ignored, kept []string
	}{
		{
			name:    "names are relative to the root",
			file:    ".git\n.vscode\n__pycache__\nREADME.md\nrequirements.txt\n",
			ignored: []string{".git", ".git/config", ".vscode/a/b", "__pycache__", "README.md", "requirements.txt"},
			kept:    []string{"app/__pycache__", "app/README.md", ".gitignore", "README.md.txt", "."},
		},
		{
			name:    "comments, blank lines, spaces, CRLF, byte-order mark",
			file:    "\ufeff# note\r\n\r\n  a  \r\n#b\n\\#c\n",
			ignored: []string{"a", "#c"},
			kept:    []string{"#b", "b", "# note"},
		},
		{
			name:    "a # is a comment only in the first column",
			file:    " #a\n",
			ignored: []string{"#a"},
		},
		{
			name:    "leading and trailing slashes mean nothing",
			file:    "/a\nb/\n/c/d/\n./e\nf/../g\n",
			ignored: []string{"a", "b", "b/x", "c/d", "e", "g"},
			kept:    []string{"x/a", "c", "f"},
		},
		{
			name:    "a star stays in one folder",
			file:    "*/temp*\n*.md\n",
			ignored: []string{"some/temporary.txt", "some/temp", "some/temp/x", "x.md", ".md"},
			kept:    []string{"temp", "a/b/temp", "a/x.md"},
		},
		{
			name:    "a question mark is one character",
			file:    "temp?\n",
			ignored: []string{"tempa", "temp1", "tempé"},
			kept:    []string{"temp", "tempab", "temp/"},
		},
		{
			name:    "two stars cross folders, and match none",
			file:    "**/*.go\na/**/z\nd/**\n**/tmp\n",
			ignored: []string{"x.go", "a/b/x.go", "a/z", "a/b/z", "a/b/c/z", "d/x", "d/x/y", "tmp", "p/q/tmp", "tmp/x"},
			kept:    []string{"d", "a/b", "xtmp", "a/xz"},
		},
		{
			name:    "a class",
			file:    "[a-c].txt\n",
			ignored: []string{"a.txt", "c.txt"},
			kept:    []string{"d.txt", "ab.txt"},
		},
		{
			name:    "an exception after",
			file:    "*.md\n!README.md\n",
			ignored: []string{"a.md"},
			kept:    []string{"README.md"},
		},
		{
			name:    "the last line that matches wins",
			file:    "*.md\n!README*.md\nREADME-secret.md\n",
			ignored: []string{"a.md", "README-secret.md"},
			kept:    []string{"README.md", "README-x.md"},
		},
		{
			name:    "an exception before is undone",
			file:    "*.md\nREADME-secret.md\n!README*.md\n",
			ignored: []string{"a.md"},
			kept:    []string{"README.md", "README-secret.md"},
		},
		{
			name:    "everything but",
			file:    "*\n!app\n!pyproject.toml\napp/**/*.pyc\n",
			ignored: []string{"x", "tests", "tests/app", "app/x.pyc", "app/y/x.pyc"},
			kept:    []string{"app", "app/x.py", "app/y", "pyproject.toml"},
		},
		{
			name:    "an exception inside an ignored folder",
			file:    "docs\n!docs/keep.md\n",
			ignored: []string{"docs", "docs/x.md", "docs/keep"},
			kept:    []string{"docs/keep.md"},
		},
		{
			name: "a dot is the context, which cannot be ignored",
			file: ".\n/\n",
			kept: []string{".", "a", "a/b"},
		},
		{
			name:    "all of it",
			file:    "**\n",
			ignored: []string{"a", "a/b"},
			kept:    []string{"."},
		},
		{
			name:    "an exclamation mark in a name",
			file:    "*\n!!x\n",
			ignored: []string{"x"},
			kept:    []string{"!x"},
		},
		{
			name:    "the Dockerfile and .dockerignore are like others",
			file:    "Dockerfile*\n.dockerignore\n",
			ignored: []string{"Dockerfile", "Dockerfile.dev", ".dockerignore"},
		},
		{name: "empty", file: "", kept: []string{"a", "."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Read(".dockerignore", strings.NewReader(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range tt.ignored {
				if !m.Ignored(p) {
					t.Errorf("%q is not ignored by %q", p, m.Patterns())
				}
			}
			for _, p := range tt.kept {
				if m.Ignored(p) {
					t.Errorf("%q is ignored by %q", p, m.Patterns())
				}
			}
		})
	}
}

func TestNil(t *testing.T) {
	var m *Matcher
	if m.Ignored("a") || m.Name() != "" || m.Patterns() != nil {
		t.Error("a nil Matcher ignores something")
	}
}

func TestReadErrors(t *testing.T) {
	tests := []struct{ file, want string }{
		{"a\n[\n", `.dockerignore:2: bad pattern "["`},
		{"a\n\n!\n", `.dockerignore:3: "!" un-ignores nothing`},
		{"!/\n", `.dockerignore:1: "!/" un-ignores nothing`},
		{"a\x00b\n", `.dockerignore:1: contains a NUL byte`},
		{"ok\n\xff\n", `.dockerignore:2: not UTF-8`},
		{strings.Repeat("a", 1<<17), `.dockerignore:1: bufio.Scanner: token too long`},
		{strings.Repeat("a\n", maxPatterns+1), `.dockerignore:10001: more than 10000 patterns`},
		{strings.Repeat("a\n", maxFileSize), `.dockerignore: larger than 1048576 bytes`},
	}
	for _, tt := range tests {
		_, err := Read(".dockerignore", strings.NewReader(tt.file))
		var e *Error
		if !errors.As(err, &e) || err.Error() != tt.want {
			t.Errorf("Read(%.20q) = %v, want %s", tt.file, err, tt.want)
		}
		if file, _ := e.Position(); file != ".dockerignore" {
			t.Errorf("position in %q", file)
		}
	}
}

// TestLoad holds BuildKit's precedence of ignore files.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	dockerfile := write("docker/api.Dockerfile", "FROM scratch\n")
	load := func() []string {
		t.Helper()
		m, err := Load(dir, dockerfile)
		if err != nil {
			t.Fatal(err)
		}
		return m.Patterns()
	}
	if got := load(); len(got) != 0 {
		t.Errorf("without any file: %q", got)
	}
	write("docker/.dockerignore", "wrong\n") // only the context's counts
	write(".dockerignore", "general\n")
	if diff := cmp.Diff([]string{"general"}, load()); diff != "" {
		t.Error(diff)
	}
	write("docker/api.Dockerfile.dockerignore", "own\n!own/x\n")
	if diff := cmp.Diff([]string{"own", "!own/x"}, load()); diff != "" {
		t.Error(diff)
	}
	write("docker/api.Dockerfile.dockerignore", "")
	if got := load(); len(got) != 0 {
		t.Errorf("an empty file of its own does not win: %q", got)
	}
	bad := write("docker/api.Dockerfile.dockerignore", "[")
	if _, err := Load(dir, dockerfile); err == nil || err.Error() != bad+`:1: bad pattern "["` {
		t.Error(err)
	}
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(bad, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, dockerfile); err == nil || err.Error() != bad+": is a directory" {
		t.Error(err)
	}
}

// reference answers as the original does along the way that BuildKit walks.
func reference(t testing.TB, file string, paths []string) (map[string]bool, error) {
	texts, err := ignorefile.ReadAll(strings.NewReader(file))
	if err != nil {
		return nil, err
	}
	pm, err := patternmatcher.New(texts)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, p := range paths {
		var info patternmatcher.MatchInfo
		var hit bool
		for i := range len(p) + 1 {
			if i < len(p) && p[i] != '/' {
				continue
			}
			if hit, info, err = pm.MatchesUsingParentResults(p[:i], info); err != nil {
				return nil, err
			}
		}
		out[p] = hit
	}
	return out, nil
}

func same(t *testing.T, file string, paths []string) {
	m, err := Read(".dockerignore", strings.NewReader(file))
	if err != nil {
		return
	}
	want, err := reference(t, file, paths)
	if err != nil {
		t.Fatalf("%q is accepted, the original says %v", file, err)
	}
	for _, p := range paths {
		if got := m.Ignored(p); got != want[p] {
			t.Errorf("%q with %q: ignored %v, the original says %v", p, file, got, want[p])
		}
		// As Walk does it, from folder to folder.
		ignored, state := false, m.top()
		for i := range len(p) + 1 {
			if i == len(p) || p[i] == '/' {
				var hits []bool
				ignored, hits = m.match(p[:i], state)
				state = m.below(p[:i], hits, state)
			}
		}
		if ignored != want[p] {
			t.Errorf("%q with %q: ignored %v in a walk, the original says %v", p, file, ignored, want[p])
		}
		// A pruned folder must hold nothing that is kept.
		for i := range p {
			if p[i] == '/' && m.Ignored(p[:i]) && m.prunes(p[:i]) && !want[p] {
				t.Errorf("%q is pruned with %q, but %q is kept", p[:i], file, p)
			}
		}
	}
}

func TestSameAsPatternMatcher(t *testing.T) {
	words := []string{"a", "b", "ab", "*", "**", "a*", "*b", "?", "**/b", "a/**", "a/*", "a/b", "**a", "***/b", "[^x]", "a|b*", ".", "/", "a**b", "{a}*"}
	paths := []string{"a", "b", "ab", "a/b", "a/a", "b/a", "a/b/a", "a/b/b", "ab/ab", "x", "a/x/b", "b/b/b/b", "a|b"}
	for _, w := range words {
		for _, v := range words {
			for _, u := range words[2:5] {
				for _, file := range []string{w + "\n" + v, w + "\n!" + v, w + "\n!" + v + "\n" + u, "!" + w + "\n" + v + "\n!" + u} {
					same(t, file, paths)
				}
			}
		}
	}
}

func FuzzSameAsPatternMatcher(f *testing.F) {
	f.Add("*.md\n!README.md", "README.md")
	f.Add("**/a\n!b/**/c*\n", "a/b/c")
	f.Add("a|b*\n[^a]?\n!\\*\n", "b/c")
	f.Add("\ufeffx*\n\ufeffy*", "y1/x")
	f.Add("*\n!!x\n!a/./../b", "!x/y")
	f.Fuzz(func(t *testing.T, file, name string) {
		name = strings.Trim(filepath.Clean(name), "/.")
		if name == "" || strings.Contains(name, "..") || strings.IndexByte(name, 0) >= 0 {
			return
		}
		same(t, file, []string{name})
	})
}
