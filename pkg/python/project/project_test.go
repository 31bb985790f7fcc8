package project

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/boyabuild/boyabuild/pkg/python"
)

func read(t *testing.T, name, text string) *Project {
	t.Helper()
	p, err := Read(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lines writes requirements with the line each stands on.
func lines(list []python.FileRequirement) []string {
	var out []string
	for _, r := range list {
		out = append(out, fmt.Sprintf("%d %s", r.Line, r.Requirement))
	}
	return out
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Source{}), cmp.Comparer(func(a, b python.Version) bool { return a.String() == b.String() }),
		cmp.Comparer(func(a, b python.Marker) bool { return a.Equal(b) })); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

const full = `[build-system]
requires = ["hatchling>=1.20", "hatch-vcs"]
build-backend = "hatchling.build"

[project]
name = "My.App"
version = "1.0.0"
description = "An app"
readme = "README.md"
requires-python = ">=3.10,<4"
license = "MIT OR Apache-2.0"
license-files = ["LICENSE*"]
authors = [{name = "A B", email = "a@example.com"}, {name = "C"}]
maintainers = [{email = "m@example.com"}]
keywords = ["x", "y"]
classifiers = ["Framework :: Flask"]
dependencies = [
  "flask>=3",
  "tomli>=2; python_version < '3.11'",
]
import-names = []

[project.urls]
Homepage = "https://example.com"
Docs = "https://example.com/docs"

[project.scripts]
app = "my_app.cli:main"

[project.gui-scripts]
app-gui = "my_app.gui:App.run"

[project.entry-points."my.plugins"]
one = "my_app.plug"

[project.optional-dependencies]
AWS_x = ["boto3"]
all = ["my-app[aws-x]; sys_platform == 'linux'", "rich"]

[dependency-groups]
test = ["pytest>=8"]
Dev = [{include-group = "test"}, "ruff", "my_app[all]"]
`

func TestStandard(t *testing.T) {
	p := read(t, "pyproject.toml", full)
	equal(t, "name", p.Name, "My.App")
	equal(t, "version", p.Version.String(), "1.0.0")
	equal(t, "readme", p.Readme, Readme{File: "README.md", ContentType: "text/markdown"})
	equal(t, "license", p.License, License{Expression: "MIT OR Apache-2.0"})
	equal(t, "license files", p.LicenseFiles, []string{"LICENSE*"})
	equal(t, "authors", p.Authors, []Person{{"A B", "a@example.com"}, {"C", ""}})
	equal(t, "urls", p.URLs, []URL{{"Homepage", "https://example.com"}, {"Docs", "https://example.com/docs"}})
	equal(t, "scripts", p.Scripts, []EntryPoint{{"app", "my_app.cli:main"}})
	equal(t, "gui scripts", p.GUIScripts, []EntryPoint{{"app-gui", "my_app.gui:App.run"}})
	equal(t, "entry points", p.EntryPoints, []EntryPointGroup{{"my.plugins", []EntryPoint{{"one", "my_app.plug"}}}})
	equal(t, "import names", p.ImportNames, []string{})
	equal(t, "import namespaces", p.ImportNamespaces, []string(nil))
	equal(t, "backend", p.BuildSystem.Backend, "hatchling.build")
	equal(t, "default groups", p.DefaultGroups, []string{"dev"})
	equal(t, "is a package", p.IsPackage(), true)
	equal(t, "dependencies", lines(p.Dependencies), []string{"18 flask>=3", `19 tomli>=2; python_version < "3.11"`})
	dev, _ := p.Group("DEV")
	equal(t, "dev", lines(dev.Requirements), []string{"41 pytest>=8", "42 ruff", "42 my_app[all]"})

	for _, tt := range []struct {
		name string
		sel  Selection
		want []string
		err  string
	}{
		{"default", Selection{}, []string{"18 flask>=3", `19 tomli>=2; python_version < "3.11"`}, ""},
		{"extra of itself", Selection{Extras: []string{"ALL"}, NoProjectDependencies: true}, []string{`37 boto3; sys_platform == "linux"`, "38 rich"}, ""},
		{"all extras", Selection{AllExtras: true, NoProjectDependencies: true}, []string{"37 boto3", `37 boto3; sys_platform == "linux"`, "38 rich"}, ""},
		{"group", Selection{Groups: []string{"dev"}, NoProjectDependencies: true}, []string{"41 pytest>=8", "42 ruff", `37 boto3; sys_platform == "linux"`, "38 rich"}, ""},
		{"unknown extra", Selection{Extras: []string{"nope"}}, nil, `pyproject.toml:36: My.App has no extra "nope"|there is: aws-x, all`},
		{"unknown group", Selection{Groups: []string{"nope"}}, nil, `pyproject.toml:40: My.App has no dependency group "nope"|there is: test, dev`},
	} {
		got, err := p.Requirements(tt.sel)
		if tt.err != "" {
			var at *python.FileError
			if !errors.As(err, &at) || err.Error()+"|"+at.Hint() != tt.err {
				t.Errorf("%s: %v, want %s", tt.name, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		equal(t, tt.name, lines(got), tt.want)
	}
}

func TestDefaults(t *testing.T) {
	p := read(t, "pyproject.toml", "[project]\nname='x'\ndynamic=['version','dependencies']\n")
	equal(t, "backend", p.BuildSystem.Backend, DefaultBackend)
	equal(t, "requires", p.BuildSystem.Requires[0].String(), "setuptools>=40.8.0")
	equal(t, "is a package", p.IsPackage(), false)
	_, err := p.Requirements(Selection{})
	var dynamic *DynamicError
	if !errors.As(err, &dynamic) || err.Error() != "pyproject.toml:3: project.dependencies is dynamic: only the build back-end knows it" {
		t.Errorf("%v", err)
	}
	if _, err := p.Requirements(Selection{NoProjectDependencies: true}); err != nil {
		t.Error(err)
	}
	p = read(t, "pyproject.toml", "[build-system]\nrequires=['x']\nbackend-path=['.']\nbuild-backend='b'\n")
	equal(t, "declared", p.Declared, false)
	equal(t, "path", p.BuildSystem.BackendPath, []string{"."})
	if _, ok := read(t, "p", full).Table("project", "urls"); !ok {
		t.Error("no table project.urls")
	}
}

func TestErrors(t *testing.T) {
	const head = "[project]\nname = 'x'\nversion = '1'\n"
	for _, tt := range []struct{ text, want string }{
		{head + "dependancies = []\n", "4: there is no key project.dependancies|did you mean dependencies?"},
		{"[project]\nversion='1'\n", "1: project.name is missing"},
		{"[project]\nname='x'\n", "1: project.version is missing"},
		{"[project]\nname='-x'\nversion='1'", "2: project.name \"-x\" is not a valid name"},
		{"[project]\nname='x'\nversion='one'", "3: "},
		{"[project]\nname='x'\nversion='1'\ndynamic=['version']", "3: project.version is given and said to be dynamic"},
		{"[project]\nname='x'\nversion='1'\ndynamic=['name']", "4: project.name cannot be dynamic"},
		{"[project]\nname='x'\nversion='1'\ndynamic=['dependency']", "4: there is no key project.dependency"},
		{head + "dependencies = [\n 'a',\n 'b>>1',\n]\n", "6: "},
		{head + "dependencies = 'a'\n", "4: project.dependencies is a string and should be an array"},
		{head + "[project.optional-dependencies]\na_b=[]\n'a-b'=[]\n", "6: the extra a-b is given twice"},
		{head + "[project.scripts]\n'a'='b c'\n", `5: project.scripts.a is "b c"`},
		{head + "[project.entry-points.console_scripts]\na='b:c'\n", "4: entry points of console_scripts belong in project.scripts"},
		{head + "readme = {file='a', text='b', content-type='text/plain'}\n", "4: project.readme needs file or text"},
		{head + "readme = {file='a'}\n", "4: project.readme.content-type is missing"},
		{head + "readme = '../x.md'\n", "4: project.readme: \"../x.md\" leads out"},
		{head + "license = {file='a', text='b'}\n", "4: project.license needs file or text"},
		{head + "license = 'MIT'\nclassifiers = ['License :: OSI Approved']\n", "5: a classifier of the license"},
		{head + "authors = [{nam = 'x'}]\n", "4: project.authors[0] has neither"},
		{"[dependency-groups]\na = [{include-group='b'}]\nb = [{include-group='a'}]\n", "3: the dependency group a includes itself: a → b → a"},
		{"[dependency-groups]\na_b = []\nA-B = []\n", "3: the dependency group a-b is given twice"},
		{"[dependency-groups]\na = [{include-group='c'}]\n", `2: there is no dependency group "c"|there is: a`},
		{"[dependency-groups]\na = [{include='c'}]\n", "2: dependency-groups.a[0] is neither"},
		{"[build-system]\nbuild-backend='x'\n", "1: build-system has no requires"},
		{"[build-system]\nrequires=[]\nbackend-path=['../x']\nbuild-backend='x'\n", "3: backend-path \"../x\" leads out"},
		{"[build-system]\nrequires=[]\nbackend='x'\n", "3: there is no key build-system.backend"},
		{"[tool.uv.sources]\na = {git='x', path='y'}\n", "2: tool.uv.sources.a needs one of"},
		{"[tool.uv.sources]\na = {git='x', tag='y', rev='z'}\n", "2: tool.uv.sources.a has more than one of rev"},
		{"[tool.uv]\ndefault-groups=['x']\n", `2: there is no dependency group "x"`},
		{"[tool.poetry.dependencies]\npython='^3.9'\na='^x'\n", "3: "},
		{"[tool.poetry.dependencies]\na={version='1', marker='x'}\n", "2: there is no key tool.poetry.dependencies.a.marker|did you mean markers?"},
		{"[tool.poetry.dependencies]\na='1'\n[tool.poetry.extras]\nx=['b']\n", `4: tool.poetry.dependencies has no dependency "b"|there is: a`},
		{"x = \n", "1: not TOML"},
	} {
		_, err := Read("p.toml", []byte(tt.text))
		var at *python.FileError
		if !errors.As(err, &at) {
			t.Errorf("%s: %v, want %s", tt.text, err, tt.want)
			continue
		}
		want, hint := tt.want, ""
		if i := strings.LastIndex(want, "|"); i > 0 {
			want, hint = want[:i], want[i+1:]
		}
		if !strings.HasPrefix(err.Error(), "p.toml:"+want) || hint != "" && at.Hint() != hint {
			t.Errorf("%s: %v (%s), want %s", tt.text, err, at.Hint(), tt.want)
		}
	}
}

func TestUV(t *testing.T) {
	p := read(t, "pyproject.toml", `[project]
name = "x"
version = "1"
dependencies = ["torch", "lib", "gitty"]
[dependency-groups]
test = ["pytest"]
[tool.uv]
dev-dependencies = ["ruff"]
default-groups = ["test"]
package = true
constraint-dependencies = ["a<2"]
override-dependencies = ["b==1"]
environments = ["sys_platform == 'linux'"]
exclude-newer = 2026-01-01T00:00:00Z
[[tool.uv.index]]
name = "pt"
url = "https://example.com/pt"
explicit = true
[tool.uv.sources]
torch = [{ index = "pt", marker = "sys_platform == 'linux'" }, { index = "mac", extra = "m" }]
lib = { path = "../lib", editable = true }
gitty = { git = "https://example.com/g.git", tag = "v1", subdirectory = "sub" }
ws = { workspace = true }
[tool.uv.workspace]
members = ["packages/*"]
`)
	linux, _ := python.ParseMarker("sys_platform == 'linux'")
	equal(t, "sources", p.Sources, []Source{
		{Name: "torch", Index: "pt", Marker: linux, Line: 20},
		{Name: "torch", Index: "mac", Extra: "m", Line: 20},
		{Name: "lib", Path: "../lib", Editable: true, Line: 21},
		{Name: "gitty", Git: "https://example.com/g.git", Tag: "v1", Subdir: "sub", Line: 22},
		{Name: "ws", Workspace: true, Line: 23},
	})
	equal(t, "direct", p.SourcesOf("Gitty")[0].Direct(), "git+https://example.com/g.git@v1#subdirectory=sub")
	equal(t, "indexes", p.Indexes, []Index{{Name: "pt", URL: "https://example.com/pt", Explicit: true, Line: 15}})
	equal(t, "default groups", p.DefaultGroups, []string{"test"})
	equal(t, "groups", groupNames(p.Groups), []string{"test", "dev"})
	equal(t, "constraints", lines(p.Constraints), []string{"11 a<2"})
	equal(t, "overrides", lines(p.Overrides), []string{"12 b==1"})
	equal(t, "is a package", p.IsPackage(), true)
	equal(t, "members", p.UV.Members, []string{"packages/*"})
}

func TestSourced(t *testing.T) {
	p := read(t, "sub/pyproject.toml", `[project]
name = "x"
version = "1"
dependencies = ["torch>=2", "lib>1", "gitty[a]; python_version < '3.12'", "two"]
optional-dependencies.m = ["torch"]
[tool.uv.sources]
torch = [{ url = "https://example.com/t.whl", marker = "sys_platform == 'linux' and python_version < '3.13'" }, { index = "mac", extra = "m" }]
lib = { path = "../lib", editable = true }
gitty = { git = "https://example.com/g.git", tag = "v1" }
two = { workspace = true, group = "none" }
`)
	list, err := p.Requirements(Selection{Extras: []string{"m"}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "requirements", lines(list), []string{
		`4 torch @ https://example.com/t.whl ; sys_platform == "linux" and python_version < "3.13"`,
		`4 torch>=2; sys_platform != "linux" or python_version >= "3.13"`,
		"4 lib", `4 gitty[a] @ git+https://example.com/g.git@v1 ; python_version < "3.12"`, "4 two",
		`5 torch @ https://example.com/t.whl ; sys_platform == "linux" and python_version < "3.13"`, "5 torch",
	})
	equal(t, "path", []any{list[2].Path, list[2].Editable}, []any{"lib", true})

	p = read(t, "pyproject.toml", "[project]\nname='x'\nversion='1'\ndependencies=['w']\n[tool.uv.sources]\nw={workspace=true}\n")
	_, err = p.Requirements(Selection{})
	if err == nil || !strings.HasPrefix(err.Error(), "pyproject.toml:4: w is a member of the workspace") {
		t.Errorf("%v", err)
	}
	p = read(t, "pyproject.toml", "[tool.poetry.dependencies]\na=[{version='<2', python='<3.10'}, {path='a.whl', python='>=3.10'}]\n")
	if list, err = p.Requirements(Selection{}); err != nil {
		t.Fatal(err)
	}
	equal(t, "poetry", []string{list[0].Path, list[1].Path}, []string{"", "a.whl"})
}

func TestAlternatives(t *testing.T) {
	p := read(t, "p.toml", "[tool.poetry.dependencies]\na = '(^1 || ^3)'\n")
	_, err := p.Requirements(Selection{})
	var at *python.FileError
	if !errors.As(err, &at) || err.Error() != "p.toml:2: the alternatives for a cannot be written as one requirement (PEP 508)" || at.Hint() == "" {
		t.Errorf("%v", err)
	}
	list, err := p.Requirements(Selection{Alternatives: true})
	if err != nil {
		t.Fatal(err)
	}
	c, ok := p.Alternatives(list[0])
	equal(t, "alternatives", fmt.Sprint(c, ok), "[<2,>=1 <4,>=3] true")
}

func TestNot(t *testing.T) {
	for text, want := range map[string]string{
		"os_name == 'a'": `os_name != "a"`,
		"python_version < '3' or os_name == 'a' and 'x' not in platform_machine": `python_version >= "3" and (os_name != "a" or "x" in platform_machine)`,
		"(os_name == 'a' or os_name == 'b') and sys_platform == 'c'":             `(os_name != "a" and os_name != "b") or sys_platform != "c"`,
		"python_version ~= '3.1'": "", "os_name < 'a'": "",
	} {
		m, err := python.ParseMarker(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Not(m)
		if (err != nil) != (want == "") || got.String() != want {
			t.Errorf("not %s = %s, %v; want %s", text, got, err, want)
		}
	}
}

func TestPoetry(t *testing.T) {
	p := read(t, "pyproject.toml", `[tool.poetry]
name = "old"
version = "0.3"
description = "d"
authors = ["A B <a@example.com>"]
homepage = "https://example.com"
[tool.poetry.dependencies]
python = "^3.9"
flask = "^3.0"
tilde = "~1.2"
star = "1.*"
any = "*"
exact = "1.2.3"
many = [{version = "<2", python = "<3.10"}, {version = ">=2", python = ">=3.10"}]
opt = {version = "^0.2.3", optional = true, extras = ["x"]}
win = {version = ">=1 <2", platform = "win32"}
gitty = {git = "https://example.com/g.git", rev = "abc", subdirectory = "s"}
loc = {path = "../loc", develop = true}
priv = {version = "*", source = "corp", markers = "os_name == 'posix'"}
[tool.poetry.extras]
full = ["opt"]
[tool.poetry.dev-dependencies]
black = "^24"
[tool.poetry.group.docs]
optional = true
[tool.poetry.group.docs.dependencies]
sphinx = "*"
[tool.poetry.group.test]
include-groups = ["dev"]
[tool.poetry.group.test.dependencies]
pytest = "^8"
[[tool.poetry.source]]
name = "corp"
url = "https://example.com/simple"
priority = "explicit"
[tool.poetry.scripts]
old = "old.cli:main"
[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
`)
	equal(t, "requires-python", p.RequiresPython.String(), "<4,>=3.9")
	equal(t, "dependencies", lines(p.Dependencies), []string{
		"9 flask<4,>=3.0", "10 tilde<1.3,>=1.2", "11 star==1.*", "12 any", "13 exact==1.2.3",
		`14 many<2; python_version < "3.10"`, `14 many>=2; python_version >= "3.10"`,
		`16 win<2,>=1; sys_platform == "win32"`, "17 gitty", "18 loc", `19 priv; os_name == "posix"`,
	})
	x, _ := p.Extra("full")
	equal(t, "extra", lines(x.Requirements), []string{"15 opt[x]<0.3,>=0.2.3"})
	equal(t, "default groups", p.DefaultGroups, []string{"test", "dev"})
	test, _ := p.Group("test")
	equal(t, "test", lines(test.Requirements), []string{"31 pytest<9,>=8", "23 black<25,>=24"})
	posix, _ := python.ParseMarker("os_name == 'posix'")
	equal(t, "sources", p.Sources, []Source{
		{Name: "gitty", Git: "https://example.com/g.git", Rev: "abc", Subdir: "s", Line: 17},
		{Name: "loc", Path: "../loc", Editable: true, Line: 18},
		{Name: "priv", Index: "corp", Marker: posix, Line: 19},
	})
	equal(t, "authors", p.Authors, []Person{{"A B", "a@example.com"}})
	equal(t, "tool", p.Tool, Poetry)
	equal(t, "is a package", p.IsPackage(), true)

	// Poetry 2: [project] says what, [tool.poetry] from where.
	p = read(t, "pyproject.toml", `[project]
name = "new"
dynamic = ["version"]
requires-python = ">=3.11"
dependencies = ["flask>=3"]
[tool.poetry]
version = "2.0"
[tool.poetry.dependencies]
flask = {source = "corp"}
[tool.poetry.group.dev.dependencies]
x = "1"
`)
	equal(t, "version", p.Version.String(), "2.0")
	equal(t, "dynamic", p.Dynamic, []string{})
	equal(t, "dependencies", lines(p.Dependencies), []string{"5 flask>=3"})
	equal(t, "sources", p.Sources, []Source{{Name: "flask", Index: "corp", Line: 9}})
	equal(t, "default groups", p.DefaultGroups, []string{"dev"})
}

func TestPipfile(t *testing.T) {
	p := read(t, "app/Pipfile", `[[source]]
name = "main"
url = "https://example.com/simple"
verify_ssl = true
[packages]
flask = "~=3.0"
any = "*"
boto3 = {version = ">=1.34", extras = ["crt"], index = "main", os_name = "== 'posix'"}
mine = {path = ".", editable = true}
g = {git = "https://example.com/g.git", ref = "v1"}
[dev-packages]
pytest = "*"
[docs]
sphinx = "==7"
[requires]
python_version = "3.12"
`)
	equal(t, "dependencies", lines(p.Dependencies), []string{"6 flask~=3.0", "7 any", `8 boto3[crt]>=1.34; os_name == "posix"`, "9 mine", "10 g"})
	equal(t, "groups", groupNames(p.Groups), []string{"dev", "docs"})
	equal(t, "requires-python", p.RequiresPython.String(), "==3.12.*")
	equal(t, "default groups", p.DefaultGroups, []string(nil))
	equal(t, "path", p.SourcesOf("mine"), []Source{{Name: "mine", Path: ".", Editable: true, Line: 9}})
}

func TestConstraint(t *testing.T) {
	for text, want := range map[string]string{
		"^1.2.3": "<2,>=1.2.3", "^0.2.3": "<0.3,>=0.2.3", "^0.0.3": "<0.0.4,>=0.0.3", "^0.0": "<0.1,>=0.0", "^0": "<1,>=0", "^1!1.2": "<1!2,>=1!1.2",
		"~1.2.3": "<1.3,>=1.2.3", "~1.2": "<1.3,>=1.2", "~1": "<2,>=1", "~=1.4.2": "~=1.4.2", "~=1": "<2,>=1", "^ 2.0": "<3,>=2.0", "^9": "<10,>=9",
		"*": "", "x": "", "": "", "==*": "", "1.2.*": "==1.2.*", "==1.*.*": "==1.*", "!=1.2.*": "!=1.2.*", "1.0": "==1.0", "=1.0": "==1.0", "<>1.0": "!=1.0",
		">=1,<2": "<2,>=1", ">= 1 < 2": "<2,>=1", ">=1, !=1.5": "!=1.5,>=1", "^1.0a1": "<2,>=1.0a1",
	} {
		c, err := ParseConstraint(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if s, ok := c.Specifiers(); !ok || s.String() != want {
			t.Errorf("%q = %s %t, want %s", text, s, ok, want)
		}
	}
	for _, text := range []string{"^", ">=", "1.0 || x y", "^1.*", "abc", strings.Repeat("1", 5000)} {
		if c, err := ParseConstraint(text); err == nil {
			t.Errorf("%.20q = %v, want an error", text, c)
		}
	}
	c, _ := ParseConstraint("~2.7 || ^3.6")
	equal(t, "pythons", c.pythons().String(), "!=3.0.*,!=3.1.*,!=3.2.*,!=3.3.*,!=3.4.*,!=3.5.*,<4,>=2.7")
}

func FuzzRead(f *testing.F) {
	f.Add(false, full)
	f.Add(false, "[tool.poetry.dependencies]\npython='^3.9'\na=[{version='~1.2 || ^3', python='3.*'}]\n[tool.uv.sources]\na={git='x'}\n")
	f.Add(true, "[packages]\na={version='*', os_name=\"== 'x'\"}\n")
	f.Fuzz(func(t *testing.T, pipfile bool, text string) {
		p, err := Read(map[bool]string{false: "pyproject.toml", true: "Pipfile"}[pipfile], []byte(text))
		var at *python.FileError
		switch {
		case err != nil && !errors.As(err, &at):
			t.Errorf("%v has no position", err)
		case err == nil:
			_, _ = p.Requirements(Selection{AllExtras: true, Groups: groupNames(p.Groups)})
			p.IsPackage()
		}
	})
}

func FuzzConstraint(f *testing.F) {
	f.Add("^1.2 || ~3")
	f.Add(">= 1, < 2.0.* | 99999999999999999999")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseConstraint(s); err == nil {
			c.pythons()
			c.marker()
		}
	})
}
