package source

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// finder finds packages as one of those of setuptools does ("Package
// discovery").
type finder struct {
	include, exclude []*regexp.Regexp
	excluded         []string // the patterns themselves
	isPackage        func(dir, name string) bool
}

func matchers(patterns []string) ([]*regexp.Regexp, bool) {
	var list []*regexp.Regexp
	for _, p := range patterns {
		re, ok := fnmatch(p)
		if !ok {
			return nil, false
		}
		list = append(list, re)
	}
	return list, true
}

func matchesAny(list []*regexp.Regexp, s string) bool {
	return slices.ContainsFunc(list, func(re *regexp.Regexp) bool { return re.MatchString(s) })
}

// packages returns the packages below a directory.
func (s *sourceTree) packages(where string, f finder) []string {
	var found []string
	var within func(dir, prefix string)
	within = func(dir, prefix string) {
		_, dirs := s.names(dir)
		for _, name := range dirs {
			pkg, d := prefix+name, path.Join(dir, name)
			if strings.Contains(name, ".") || !f.isPackage(d, pkg) {
				continue
			}
			if s.throughLink(d) {
				continue
			}
			wanted := matchesAny(f.include, pkg) && !matchesAny(f.exclude, pkg)
			if wanted {
				found = append(found, pkg)
			}
			if slices.Contains(f.excluded, pkg+"*") || slices.Contains(f.excluded, pkg+".*") {
				continue
			}
			within(d, pkg+".")
		}
	}
	if !s.throughLink(where) {
		within(where, "")
	}
	return found
}

// newFinder makes a finder of patterns; what is always left out is added.
func newFinder(include, exclude []string, isPackage func(dir, name string) bool) (finder, bool) {
	if len(include) == 0 {
		include = []string{"*"}
	}
	exclude = append([]string{"ez_setup", "*__pycache__"}, exclude...)
	f := finder{excluded: exclude, isPackage: isPackage}
	var okInclude, okExclude bool
	f.include, okInclude = matchers(include)
	f.exclude, okExclude = matchers(exclude)
	return f, okInclude && okExclude
}

func anyDirectory(string, string) bool { return true }

// find finds packages by the find directive, and notes where they are.
func (b *setuptools) find(where, include, exclude []string, namespaces bool) {
	isPackage := anyDirectory
	if !namespaces {
		isPackage = func(dir, _ string) bool { return b.s.isFile(dir + "/__init__.py") }
	}
	f, ok := newFinder(include, exclude, isPackage)
	if !ok {
		b.s.refuse(&NeedsBuildError{File: b.where, Key: "packages.find", Reason: "the patterns are not followed here"})
	}
	if len(where) == 0 {
		where = []string{"."}
	}
	given := keySet(b.packageDir)
	b.packages = []string{}
	for _, w := range where {
		dir, ok := clean(w)
		if !ok {
			b.s.refuse(&NeedsBuildError{File: b.where, Key: "packages.find.where", Reason: w + " is outside of the project"})
			return
		}
		if len(where) == 1 && dir != "" && !given[""] {
			b.packageDir[""] = dir
		}
		found := b.s.packages(dir, f)
		b.packages = append(b.packages, found...)
		if root, ok := b.packageDir[""]; len(found) > 0 && !(ok && root == w) && dir != "" {
			for _, pkg := range withoutNested(found) {
				b.packageDir[pkg] = path.Join(dir, strings.ReplaceAll(pkg, ".", "/"))
			}
		}
	}
}

func keySet(m map[string]string) map[string]bool {
	set := map[string]bool{}
	for k := range m {
		set[k] = true
	}
	return set
}

// withoutNested leaves packages that lie in no other of them.
func withoutNested(packages []string) []string {
	var top []string
	for _, p := range packages {
		if !slices.ContainsFunc(packages, func(o string) bool { return strings.HasPrefix(p, o+".") }) {
			top = append(top, p)
		}
	}
	return top
}

// discover finds packages and modules where none are named ("Automatic
// discovery").
func (b *setuptools) discover() error {
	if b.packages != nil || b.modules != nil {
		return nil
	}
	everything, _ := newFinder(nil, nil, anyDirectory)
	var explicit []string
	for pkg := range b.packageDir {
		if pkg != "" {
			explicit = append(explicit, pkg)
		}
	}
	slices.Sort(explicit)
	if len(explicit) > 0 {
		b.packages = []string{}
		for _, pkg := range explicit {
			b.packages = append(b.packages, pkg)
			for _, nested := range b.s.packages(b.packageDir[pkg], everything) {
				b.packages = append(b.packages, pkg+"."+nested)
			}
		}
		return nil
	}
	src, given := b.packageDir[""]
	if !given {
		src = "src"
	}
	if dir, ok := clean(src); ok && b.s.isDir(dir) {
		b.packageDir[""] = dir
		b.packages = b.s.packages(dir, everything)
		b.modules = b.s.modules(dir, nil)
		return nil
	}
	return b.flat()
}

// modules returns the modules directly in a directory.
func (s *sourceTree) modules(dir string, exclude []string) []string {
	leave, _ := matchers(exclude)
	files, _ := s.names(dir)
	var found []string
	for _, f := range files {
		if m, ok := strings.CutSuffix(f, ".py"); ok && identifier.MatchString(m) && !matchesAny(leave, m) {
			found = append(found, m)
		}
	}
	return found
}

// flat finds the one package or module of a project whose directory has other
// things in it as well.
func (b *setuptools) flat() error {
	var exclude []string
	for _, name := range flatDirectories() {
		exclude = append(exclude, name, name+".*")
	}
	f, _ := newFinder(nil, exclude, func(_, pkg string) bool {
		names := strings.Split(pkg, ".")
		if !identifier.MatchString(names[0]) && !strings.HasSuffix(names[0], "-stubs") {
			return false
		}
		return !slices.ContainsFunc(names[1:], func(n string) bool { return !identifier.MatchString(n) })
	})
	b.packages = b.s.packages("", f)
	top := slices.DeleteFunc(withoutNested(b.packages), func(pkg string) bool {
		name, _, _ := strings.Cut(pkg, ".")
		return strings.HasSuffix(name, "-stubs")
	})
	if len(top) == 0 {
		b.modules = b.s.modules("", flatModules())
		top = b.modules
	}
	if len(top) > 1 {
		return &NeedsBuildError{File: "pyproject.toml", Key: "tool.setuptools.packages",
			Reason: fmt.Sprintf("none is named, and there are several that could be meant: %s", strings.Join(top, ", "))}
	}
	return nil
}

// flatDirectories are names of directories that setuptools takes for no package
// of a project without a directory src ("flat-layout", reserved names).
func flatDirectories() []string {
	return []string{"ci", "bin", "debian", "doc", "docs", "documentation", "manpages", "news", "newsfragments", "changelog", "test", "tests",
		"unit_test", "unit_tests", "example", "examples", "scripts", "tools", "util", "utils", "python", "build", "dist", "venv", "env",
		"requirements", "tasks", "fabfile", "site_scons", "benchmark", "benchmarks", "exercise", "exercises", "htmlcov", "[._]*"}
}

// flatModules likewise are names of modules.
func flatModules() []string {
	return []string{"setup", "conftest", "test", "tests", "example", "examples", "build", "toxfile", "noxfile", "pavement", "dodo", "tasks",
		"fabfile", "[Ss][Cc]onstruct", "conanfile", "manage", "benchmark", "benchmarks", "exercise", "exercises", "[._]*"}
}
