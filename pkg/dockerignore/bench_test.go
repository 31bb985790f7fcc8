package dockerignore

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

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

// monorepo is a folder as large ones are.
type monorepo struct {
	root    string
	matcher *Matcher // of thirty
	kept    int      // entries that matcher leaves, folders and all
	all     int      // entries on disk
}

// pruned are the names of folders that thirty leaves out.
var pruned = []string{".git", ".venv", "node_modules", "__pycache__", "docs"}

// bigTree makes 29,000 files, of which thirty leaves 20,000, of some 2 KB, in
// 1,546 folders.
func bigTree(b *testing.B) monorepo {
	b.Helper()
	m := monorepo{root: b.TempDir()}
	var err error
	if m.matcher, err = Read(".dockerignore", strings.NewReader(thirty)); err != nil {
		b.Fatal(err)
	}
	seen := map[string]bool{".": true}
	content := bytes.Repeat([]byte("print()\n"), 320)
	add := func(kept bool, size int, format string, a ...any) {
		name := fmt.Sprintf(format, a...)
		for dir := filepath.Dir(name); !seen[dir]; dir = filepath.Dir(dir) {
			seen[dir] = true
			m.all++
			if kept {
				m.kept++
			}
		}
		m.all++
		if kept {
			m.kept++
		}
		p := filepath.Join(m.root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(p, content[:size], 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 20_000 {
		dir := i % 1500
		add(true, 1500+i%1000, "services/service_%02d/package_%d/module_%d/file_%05d.py", dir/50, dir/10%5, dir%10, i)
	}
	for i := range 4000 {
		add(false, 100, "node_modules/module-%d/lib/%d.js", i/10, i)
	}
	for i := range 2000 {
		add(false, 100, ".venv/lib/python3.13/site-packages/package_%d/%d.py", i/20, i)
	}
	for i := range 1500 {
		add(false, 100, ".git/objects/%02x/%038x", i%256, i)
	}
	for i := range 1000 {
		dir := i % 300
		add(false, 100, "services/service_%02d/package_%d/module_0/__pycache__/file_%05d.cpython-313.pyc", dir/10, dir%5, i)
	}
	for i := range 500 {
		dir := i % 100
		add(false, 100, "services/service_%02d/package_%d/module_%d/%d.log", dir/10, dir%5, dir%10, i)
	}
	return m
}

// bareWalk is what no walk can do without: it opens each folder but those that
// are pruned, lists it, and stats what is in it, in parallel, and keeps nothing.
func bareWalk(root string, prune []string) (int, error) {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	var walk func(dir string) error
	counts := make(chan int, 1<<16)
	walk = func(dir string) error {
		list, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		n := 0
		for _, d := range list {
			if d.IsDir() && slices.Contains(prune, d.Name()) {
				continue
			}
			n++
			if _, err := d.Info(); err != nil {
				return err
			}
			if d.IsDir() {
				sub := dir + "/" + d.Name()
				if !g.TryGo(func() error { return walk(sub) }) {
					if err := walk(sub); err != nil {
						return err
					}
				}
			}
		}
		counts <- n
		return nil
	}
	g.Go(func() error { return walk(root) })
	err := g.Wait()
	close(counts)
	n := 0
	for c := range counts {
		n += c
	}
	return n, err
}

func BenchmarkWalk(b *testing.B) {
	tree := bigTree(b)
	for _, bb := range []struct {
		name string
		m    *Matcher
		want int
	}{{"30patterns", tree.matcher, tree.kept}, {"all", nil, tree.all}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l, err := Walk(b.Context(), tree.root, bb.m)
				if err != nil || len(l.Files) != bb.want {
					b.Fatal(len(l.Files), bb.want, err)
				}
			}
		})
	}
	for _, bb := range []struct {
		name  string
		prune []string
		want  int
	}{{"bare/pruned", pruned, tree.kept + 500}, {"bare/all", nil, tree.all}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n, err := bareWalk(tree.root, bb.prune); err != nil || n != bb.want {
					b.Fatal(n, bb.want, err)
				}
			}
		})
	}
	// One lstat after the other.
	b.Run("filepath.WalkDir", func(b *testing.B) {
		for b.Loop() {
			err := filepath.WalkDir(tree.root, func(_ string, d fs.DirEntry, err error) error {
				if err == nil {
					_, err = d.Info()
				}
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
	s := m.below("pkg1/mod2/src", nil, m.below("pkg1/mod2", nil, m.below("pkg1", nil, m.top())))
	for b.Loop() {
		if ignored, _ := m.match("pkg1/mod2/src/module_17.py", s); ignored {
			b.Fatal("ignored")
		}
	}
}
