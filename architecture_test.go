// Package boyabuild_test reads the module's own source and holds the rules of
// docs/architecture.md: who may import whom, and what only the program itself
// may do. It reads every file of every platform, and needs neither the network
// nor the go command.
package boyabuild_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/boyabuild/boyabuild/"
	cmd    = "cmd/boyabuild" // the only place that reads flags and the environment, prints, and exits
)

// allowed says which packages of ours each package may import. Data goes one
// way, from the source of an app to its release; a new package is entered here
// and in the table of docs/architecture.md.
var allowed = map[string][]string{
	"pkg/layers":       nil,
	"pkg/dockerignore": nil,
	"pkg/dockerfile":   nil,
	"pkg/store":        {"pkg/layers"},

	"pkg/python":                  nil,
	"pkg/python/pip":              {"pkg/python"},
	"pkg/python/index":            {"pkg/python", "pkg/statcache"},
	"pkg/python/index/indextest":  nil,
	"pkg/python/resolve":          {"pkg/python", "pkg/python/index"},
	"pkg/python/wheel":            {"pkg/python", "pkg/layers"},
	"pkg/python/project/document": {"pkg/python"},
	"pkg/python/project":          {"pkg/python", "pkg/python/project/document"},
	"pkg/python/lockfile":         {"pkg/python", "pkg/python/project", "pkg/python/project/document"},
	"pkg/python/source":           {"pkg/python", "pkg/python/project", "pkg/layers"},
	"pkg/python/pep517":           {"pkg/python", "pkg/layers"},
	"pkg/python/bytecode":         {"pkg/python", "pkg/layers"},

	"pkg/debian":            {"pkg/layers"},
	"pkg/debian/debiantest": nil,
	"pkg/base":              {"pkg/layers", "pkg/debian"},
	"pkg/sandbox":           {"pkg/layers"},
	"pkg/statcache":         {},

	"pkg/build": {
		"pkg/base", "pkg/debian", "pkg/dockerfile", "pkg/dockerignore", "pkg/layers", "pkg/python",
		"pkg/python/index", "pkg/python/pip", "pkg/python/resolve", "pkg/python/wheel", "pkg/sandbox", "pkg/statcache", "pkg/store",
		"pkg/python/project", "pkg/python/lockfile", "pkg/python/source", "pkg/python/pep517", "pkg/python/bytecode",
	},

	"pkg/push":         nil,
	"pkg/ecr":          nil,
	"pkg/codeartifact": nil,
	"pkg/deploy":       nil,
	"pkg/infra":        nil,
	"pkg/local":        {"pkg/layers", "pkg/sandbox", "pkg/store"},
}

// What one of these makes, only cmd hands to the next: an image, then a digest.
var apart = []string{"pkg/build", "pkg/push", "pkg/deploy"}

// The AWS SDK is reached by these only.
var aws = []string{"pkg/ecr", "pkg/codeartifact", "pkg/deploy", "pkg/infra", "pkg/local", cmd}

// Names that say nothing about what is inside.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "misc"}

// programOnly is what only the program does: read flags and the environment,
// print, exit. An empty list of names is the whole package.
var programOnly = map[string][]string{
	"os": {
		"Args", "Exit", "Stdin", "Stdout", "Stderr",
		"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv", "Clearenv",
		"UserHomeDir", "UserCacheDir", "UserConfigDir",
	},
	"fmt": {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
	"log/slog": {
		"Default", "SetDefault", "Log", "LogAttrs", "Debug", "DebugContext", "Info", "InfoContext",
		"Warn", "WarnContext", "Error", "ErrorContext",
	},
	"net/http":                            {"Get", "Head", "Post", "PostForm", "ProxyFromEnvironment"},
	"syscall":                             {"Exit", "Getenv", "Environ"},
	"golang.org/x/sys/unix":               {"Exit", "Getenv", "Environ"},
	"log":                                 {},
	"flag":                                {},
	"github.com/spf13/cobra":              {},
	"github.com/spf13/pflag":              {},
	"github.com/aws/aws-sdk-go-v2/config": {},
	"github.com/vbauerster/mpb/v8":        {},
	"github.com/google/go-containerregistry/pkg/authn": {"DefaultKeychain"},
}

// exceptions are the files which may do some of that, and why.
var exceptions = map[string][]string{
	// A sandbox is set up by this program executed again: those processes are
	// never the caller's, have no caller to return an error to, know what they
	// are by their name in os.Args, and must end without running anything that
	// was deferred in, or is registered by, the program around them.
	"pkg/sandbox/init_linux.go": {"os.Args", "os.Stderr", "unix.Exit"},
}

// source is one parsed file.
type source struct {
	path string // from the root of the module, with slashes
	test bool   // named _test.go
	file *ast.File
}

func (s source) dir() string { return path.Dir(s.path) }

// imports are the paths of the file's imports.
func (s source) imports() []string {
	var paths []string
	for _, i := range s.file.Imports {
		p, _ := strconv.Unquote(i.Path.Value) // the parser has checked it
		paths = append(paths, p)
	}
	return paths
}

// read parses the module's sources.
func read(t *testing.T) ([]source, *token.FileSet) {
	t.Helper()
	fset := token.NewFileSet()
	var sources []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata") {
				return fs.SkipDir // as the go command does
			}
			return nil
		}
		if filepath.Ext(base) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		sources = append(sources, source{filepath.ToSlash(name), strings.HasSuffix(base, "_test.go"), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("go.mod"); err != nil || len(sources) < 50 {
		t.Fatalf("read %d files: this is not the root of the module", len(sources))
	}
	return sources, fset
}

// isBench says whether a package is a program of bench/.
func isBench(dir string) bool { return strings.HasPrefix(dir, "bench/") }

func TestImports(t *testing.T) {
	sources, _ := read(t)
	for _, s := range sources {
		dir := s.dir()
		if isBench(dir) {
			continue // a program that measures, which is nobody's dependency
		}
		if _, known := allowed[dir]; !known && dir != cmd && dir != "." {
			t.Errorf("%s: package %s is not in the table of this test and of docs/architecture.md", s.path, dir)
		}
		for _, p := range s.imports() {
			ours, isOurs := strings.CutPrefix(p, module)
			switch {
			case strings.HasPrefix(p, "github.com/aws/") && !slices.Contains(aws, dir):
				t.Errorf("%s imports %s: the AWS SDK is for %s", s.path, p, strings.Join(aws, ", "))
			case !isOurs || ours == dir: // an external test imports its own package
			case ours == cmd:
				t.Errorf("%s imports the program", s.path)
			case dir == cmd:
				if isHelper(ours) && !s.test {
					t.Errorf("%s imports %s, which is for tests", s.path, ours)
				}
			case slices.Contains(apart, dir) && slices.Contains(apart, ours):
				t.Errorf("%s imports %s: they meet only in %s", s.path, ours, cmd)
			case s.test: // a test may set the scene with anything else
			case isHelper(ours):
				t.Errorf("%s imports %s, which is for tests", s.path, ours)
			case !slices.Contains(allowed[dir], ours):
				t.Errorf("%s imports %s; %s may import %s", s.path, ours, dir, orNothing(allowed[dir]))
			}
		}
	}
}

// TestApart finds two of build, push and deploy meeting through a third
// package, or in one test.
func TestApart(t *testing.T) {
	sources, _ := read(t)
	direct := map[string]map[string]bool{}
	for _, s := range sources {
		if s.dir() == cmd {
			continue
		}
		node := s.dir()
		if s.test {
			node = s.path
			direct[node] = map[string]bool{s.dir(): true}
		} else if direct[node] == nil {
			direct[node] = map[string]bool{}
		}
		for _, p := range s.imports() {
			if ours, ok := strings.CutPrefix(p, module); ok {
				direct[node][ours] = true
			}
		}
	}
	var reach func(node string, seen map[string]bool)
	reach = func(node string, seen map[string]bool) {
		if seen[node] {
			return
		}
		seen[node] = true
		for next := range direct[node] {
			reach(next, seen)
		}
	}
	for _, node := range slices.Sorted(maps.Keys(direct)) {
		seen := map[string]bool{}
		reach(node, seen)
		var met []string
		for _, p := range apart {
			if seen[p] {
				met = append(met, p)
			}
		}
		if len(met) > 1 {
			t.Errorf("%s reaches %s: they meet only in %s", node, strings.Join(met, " and "), cmd)
		}
	}
}

func TestNames(t *testing.T) {
	sources, _ := read(t)
	for _, s := range sources {
		stem, _, _ := strings.Cut(strings.TrimSuffix(path.Base(s.path), ".go"), "_")
		for _, name := range []string{path.Base(s.dir()), s.file.Name.Name, stem} {
			if slices.Contains(emptyNames, name) {
				t.Errorf("%s: the name %q does not say what is inside", s.path, name)
			}
		}
	}
}

// TestProgramOnly holds that the library is quiet: what it is to do comes in by
// parameters, and what it has to say goes out by results, errors and the loggers
// it was given.
func TestProgramOnly(t *testing.T) {
	sources, fset := read(t)
	used := map[string]bool{}
	for _, s := range sources {
		if s.test || s.dir() == cmd || isBench(s.dir()) {
			continue
		}
		names := map[string]string{} // the name of an import in this file → its path
		for _, i := range s.file.Imports {
			p, _ := strconv.Unquote(i.Path.Value)
			list, watched := programOnly[p]
			switch {
			case !watched:
			case len(list) == 0:
				t.Errorf("%s imports %s: that is for %s", s.path, p, cmd)
			case i.Name == nil:
				names[path.Base(p)] = p
			case i.Name.Name == ".":
				t.Errorf("%s imports %s with a dot", s.path, p)
			default:
				names[i.Name.Name] = p
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if !ok || x.Obj != nil || !slices.Contains(programOnly[names[x.Name]], n.Sel.Name) {
					break
				}
				what := path.Base(names[x.Name]) + "." + n.Sel.Name
				if slices.Contains(exceptions[s.path], what) {
					used[s.path] = true
					break
				}
				t.Errorf("%s: %s is for %s", fset.Position(n.Pos()), what, cmd)
			case *ast.CallExpr:
				if x, ok := n.Fun.(*ast.Ident); ok && x.Obj == nil && (x.Name == "print" || x.Name == "println") {
					t.Errorf("%s: %s is for %s", fset.Position(n.Pos()), x.Name, cmd)
				}
			}
			return true
		})
	}
	for file := range exceptions {
		if !used[file] {
			t.Errorf("%s is an exception without need", file)
		}
	}
}

// TestNoState holds that importing a package does nothing, and that no package
// remembers anything between two calls.
func TestNoState(t *testing.T) {
	sources, fset := read(t)
	variables := map[string]map[string]bool{} // directory → package-level variables
	specs := map[any]bool{}
	for _, s := range sources {
		if variables[s.dir()] == nil {
			variables[s.dir()] = map[string]bool{}
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: no init functions", fset.Position(f.Pos()))
			}
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR || s.test {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				specs[v] = true
				for _, name := range v.Names {
					variables[s.dir()][name.Name] = true
				}
				if what := stateful(v); what != "" && !(s.path == "pkg/sandbox/init_linux.go" && v.Names[0].Name == "ready") { // whether main has called sandbox.Main is a fact of the process
					t.Errorf("%s: a package-level %s is state", fset.Position(v.Pos()), what)
				}
			}
		}
	}
	for _, s := range sources {
		if s.test {
			continue
		}
		check := func(e ast.Expr) {
			x := root(e)
			if x == nil || x.Name == "_" {
				return
			}
			if (x.Obj != nil && specs[x.Obj.Decl]) || (x.Obj == nil && variables[s.dir()][x.Name]) {
				t.Errorf("%s: assigns to %s, a package-level variable", fset.Position(e.Pos()), x.Name)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						check(e)
					}
				}
			case *ast.IncDecStmt:
				check(n.X)
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					check(n.Key)
					check(n.Value)
				}
			}
			return true
		})
	}
}

// stateful names the type of a variable that is there to be changed.
func stateful(v *ast.ValueSpec) string {
	types := []ast.Expr{v.Type}
	for _, value := range v.Values {
		if c, ok := value.(*ast.CompositeLit); ok {
			types = append(types, c.Type)
		}
	}
	for _, e := range types {
		sel, ok := e.(*ast.SelectorExpr)
		if !ok {
			continue
		}
		if x, ok := sel.X.(*ast.Ident); ok {
			name := x.Name + "." + sel.Sel.Name
			if x.Name == "atomic" || slices.Contains([]string{"sync.Mutex", "sync.RWMutex", "sync.Map", "sync.Once", "sync.WaitGroup"}, name) {
				return name
			}
		}
	}
	return ""
}

// root is the variable that an expression is a part of.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// isHelper says whether a package is there for tests: such are named like
// net/http/httptest.
func isHelper(dir string) bool { return strings.HasSuffix(dir, "test") }

func orNothing(list []string) string {
	if len(list) == 0 {
		return "none of ours"
	}
	return strings.Join(list, ", ")
}
