package lockfile

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/boyabuild/boyabuild/pkg/python"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// options compare what has unexported fields by its text.
var options = cmp.Options{
	cmp.Comparer(func(a, b python.Version) bool { return a.String() == b.String() }),
	cmp.Comparer(func(a, b python.Marker) bool { return a.Equal(b) }),
	cmp.Comparer(func(a, b python.Specifiers) bool { return a.String() == b.String() }),
	cmpopts.IgnoreUnexported(File{}, Package{}),
}

func ver(t testing.TB, s string) python.Version {
	t.Helper()
	v, err := python.ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// target reads "3.12 amd64 musl".
func target(t testing.TB, s string) python.Target {
	t.Helper()
	f := append(strings.Fields(s), "glibc")
	v, free := strings.CutSuffix(f[0], "t")
	out := python.Target{Python: ver(t, v), FreeThreaded: free, OS: "linux", Arch: f[1], Libc: python.Libc{Name: "glibc", Major: 2, Minor: 36}}
	if f[2] == "musl" {
		out.Libc = python.Libc{Name: "musl", Major: 1, Minor: 2}
	}
	return out
}

// open reads a lock of testdata with what is beside it.
func open(t testing.TB, name string) Locker {
	t.Helper()
	l, err := read(t, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// read is open with texts replaced in the files: old, new, old, new.
func read(t testing.TB, name string, replace []string) (Locker, error) {
	t.Helper()
	load := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil
		}
		return []byte(strings.NewReplacer(replace...).Replace(string(data)))
	}
	beside := map[string][]byte{}
	for _, base := range []string{"pyproject.toml", "Pipfile"} {
		if data := load(filepath.Join("testdata", filepath.Dir(name), base)); data != nil {
			beside[base] = data
		}
	}
	data := load(filepath.Join("testdata", name))
	if data == nil {
		t.Fatalf("testdata/%s is not there", name)
	}
	return Read(name, data, beside)
}

// rows writes what was selected, one line each.
func rows(s Selected) []string {
	var out []string
	flags := func(requested bool, by, extras []string) string {
		text := ""
		if requested {
			text += " requested"
		}
		if len(by) > 0 {
			text += " by " + strings.Join(by, ",")
		}
		if len(extras) > 0 {
			text += " [" + strings.Join(extras, ",") + "]"
		}
		return text
	}
	for _, p := range s.Lock.Packages {
		out = append(out, fmt.Sprintf("%s %s %s%s%s", p.Name, p.Version, p.Wheel.URL, p.Sdist.URL, flags(p.Requested, p.RequiredBy, p.Extras)))
	}
	for _, p := range s.Pins {
		row := fmt.Sprintf("pin %s %d hashes line %d", p.Requirement, len(p.Hashes), p.Line)
		if u := s.IndexOf[p.Requirement.Key()]; u != "" {
			row += " from " + u
		}
		out = append(out, row)
	}
	for _, l := range s.Local {
		row := fmt.Sprintf("local %s %s %s%s", l.Name, []string{"directory", "archive", "repository"}[l.Kind], l.Path, l.URL)
		for _, x := range []string{l.VCS, l.Revision, l.Commit, l.Subdirectory} {
			if x != "" {
				row += " " + x
			}
		}
		if l.Editable {
			row += " editable"
		}
		if l.Root {
			row += " root"
		}
		if len(l.Hashes) > 0 {
			row += " hashed"
		}
		out = append(out, row+flags(l.Requested, l.RequiredBy, l.Extras))
	}
	for _, x := range s.Indexes {
		out = append(out, "index "+x)
	}
	return out
}

const commit = "0123456789012345678901234567890123456789"

func TestSelect(t *testing.T) {
	const files = "https://example.com/files/"
	for _, tt := range []struct {
		name, lock, target string
		sel                Selection
		want               []string
		err                string // with its hint
	}{
		{"default", "pylock.toml", "3.12 amd64", Selection{}, []string{
			"alpha 1.0 " + files + "alpha-1.0-cp312-cp312-manylinux_2_17_x86_64.whl requested",
			"local beta archive wheels/beta-2.0-py3-none-any.whl hashed by alpha",
			"local gamma directory ../gamma python editable by alpha",
			"index https://example.com/simple"}, ""},
		{"name key, other machine", "pylock.toml", "3.12 arm64", Selection{}, []string{
			"alpha 1.0 https://example.com/download?id=3 requested",
			"local beta archive wheels/beta-2.0-py3-none-any.whl hashed by alpha",
			"local gamma directory ../gamma python editable by alpha",
			"index https://example.com/simple"}, ""},
		{"extra and group", "pylock.toml", "3.13 amd64", Selection{Extras: []string{"Web"}, Groups: []string{"dev"}}, []string{
			"alpha 1.0 " + files + "alpha-1.0.tar.gz requested",
			"beta 3.0 " + files + "beta-3.0.tar.gz requested",
			"zeta 1.5 https://example.com/zeta-1.5-py3-none-any.whl requested",
			"local delta repository https://example.com/delta.git git main 0000000000000000000000000000000000000006 d requested",
			"local epsilon archive https://example.com/epsilon/main.zip e hashed requested",
			"local gamma directory ../gamma python editable by alpha",
			"index https://example.com/simple"}, ""},
		{"only a group", "pylock.toml", "3.12 amd64", Selection{OnlyGroups: []string{"dev"}, NoSdists: []string{":all:"}}, []string{
			"zeta 1.5 https://example.com/zeta-1.5-py3-none-any.whl requested",
			"local beta archive wheels/beta-2.0-py3-none-any.whl hashed requested",
			"local epsilon archive https://example.com/epsilon/main.zip e hashed requested",
			"local gamma directory ../gamma python editable requested"}, ""},
		{"no wheels", "pylock.toml", "3.12 amd64", Selection{NoWheels: []string{"alpha"}}, []string{
			"alpha 1.0 " + files + "alpha-1.0.tar.gz requested",
			"local beta archive wheels/beta-2.0-py3-none-any.whl hashed by alpha",
			"local gamma directory ../gamma python editable by alpha",
			"index https://example.com/simple"}, ""},
		{"no sdists", "pylock.toml", "3.13 amd64", Selection{NoSdists: []string{":all:"}}, nil,
			"pylock.toml:10: alpha 1.0 has no file for CPython 3.13 on linux/amd64 (glibc 2.36): the lock has alpha-1.0-cp312-cp312-manylinux_2_17_aarch64.whl, alpha-1.0-cp312-cp312-manylinux_2_17_x86_64.whl and no sdist|allow alpha to be built from its source, or take a version that has a wheel"},
		{"wrong Python", "pylock.toml", "3.10 amd64", Selection{}, nil, "pylock.toml: the lock is not for CPython 3.10 on linux/amd64 (glibc 2.36): it needs Python >=3.11|lock again for this target too, or use another base"},
		{"wrong environment", "pylock.toml", "3.12 s390x", Selection{}, nil, "pylock.toml: the lock is not for CPython 3.12 on linux/s390x (glibc 2.36): it is none of its environments|"},
		{"unknown extra", "pylock.toml", "3.12 amd64", Selection{Extras: []string{"wbe"}}, nil, `pylock.toml: the lock has no extra "wbe"|there is: web`},
		{"unknown group", "pylock.toml", "3.12 amd64", Selection{Groups: []string{"x"}}, nil, `pylock.toml: the lock has no dependency group "x"|there is: dev, main`},

		{"default", "uv/uv.lock", "3.12 amd64", Selection{}, []string{
			"alpha 1.2 " + files + "alpha-1.2-cp312-cp312-manylinux_2_28_x86_64.whl requested",
			"numeric 2.1 " + files + "numeric-2.1-cp312-cp312-manylinux_2_17_x86_64.whl requested by member",
			"omega 8.0 " + files + "omega-8.0.tar.gz by alpha",
			"tester 8.0 " + files + "tester-8.0-py3-none-any.whl requested",
			"local app directory . editable root requested",
			"local beta archive wheels/beta-2.0-py3-none-any.whl hashed requested [fast]",
			"local gamma archive https://example.com/archive/main.tar.gz g hashed by beta",
			"local member directory member editable requested",
			"local repo repository https://example.com/repo.git git v1 " + commit + " py requested",
			"index https://example.com/simple"}, ""},
		{"extras in markers", "uv/uv.lock", "3.11 arm64", Selection{Extras: []string{"cpu"}, NoDefaultGroups: true, NoProject: true}, []string{
			"alpha 1.2 " + files + "alpha-1.2.tar.gz requested",
			"conf 1 " + files + "conf-1-py3-none-any.whl requested",
			"numeric 1.9 " + files + "numeric-1.9-py3-none-any.whl requested by member",
			"local beta archive wheels/beta-2.0-py3-none-any.whl hashed requested [fast]",
			"local gamma archive https://example.com/archive/main.tar.gz g hashed by beta",
			"local member directory member editable requested",
			"local repo repository https://example.com/repo.git git v1 " + commit + " py requested",
			"index https://example.com/simple"}, ""},
		{"only a group", "uv/uv.lock", "3.12 amd64", Selection{OnlyGroups: []string{"docs"}}, []string{
			"tester 8.0 " + files + "tester-8.0-py3-none-any.whl requested",
			"local writer directory ../writer requested",
			"index https://example.com/simple"}, ""},
		{"a member", "uv/uv.lock", "3.12 amd64 musl", Selection{Member: "Member", NoDefaultGroups: true}, []string{
			"numeric 2.1 " + files + "numeric-2.1-cp312-cp312-musllinux_1_2_x86_64.whl requested",
			"local member directory member editable root requested",
			"index https://example.com/simple"}, ""},
		{"no such member", "uv/uv.lock", "3.12 amd64", Selection{Member: "x"}, nil, `uv/uv.lock: the workspace has no member "x"|there is: app, member`},
		{"conflict", "uv/uv.lock", "3.12 amd64", Selection{Extras: []string{"cpu", "gpu"}}, nil,
			"uv/uv.lock: the extra cpu of app and the extra gpu of app exclude one another|choose one of them; a default group can be left out"},
		{"no wheel for Python", "uv/uv.lock", "3.13 amd64", Selection{}, nil,
			"uv/uv.lock:151: numeric 2.1 has no file for CPython 3.13 on linux/amd64 (glibc 2.36): the lock has numeric-2.1-cp312-cp312-manylinux_2_17_x86_64.whl, numeric-2.1-cp312-cp312-musllinux_1_2_x86_64.whl and no sdist|there are wheels for other versions of Python: use a base with one of them, or a version of the package that has a wheel for this one"},
		{"unknown extra", "uv/uv.lock", "3.12 amd64", Selection{Extras: []string{"x"}}, nil, `uv/uv.lock: the lock has no extra "x"|there is: all, cpu, gpu`},

		{"default", "poetry/poetry.lock", "3.12 amd64", Selection{}, []string{
			"pin alpha==1.2 2 hashes line 3 from https://example.com/simple", "pin numeric==2.1 1 hashes line 35", "pin omega==8.0 1 hashes line 47", "pin tester==8.3 1 hashes line 92",
			"local app directory . editable root requested", "index https://example.com/simple"}, ""},
		{"only main, extra", "poetry/poetry.lock", "3.11 amd64", Selection{OnlyGroups: []string{"main"}, Extras: []string{"web"}, NoProject: true}, []string{
			"pin alpha==1.2 2 hashes line 3 from https://example.com/simple", "pin numeric==1.9 1 hashes line 23", "pin omega==8.0 1 hashes line 47", "pin server==0.5 1 hashes line 59",
			"local speedup archive https://example.com/speedup.zip", "index https://example.com/simple"}, ""},
		{"without main", "poetry/poetry.lock", "3.12 amd64", Selection{NoGroups: []string{"main"}, Groups: []string{"docs"}, NoProject: true}, []string{
			"pin omega==8.0 1 hashes line 47", "pin tester==8.3 1 hashes line 92", "local writer directory ../writer editable"}, ""},
		{"no wheel for the machine", "poetry/poetry.lock", "3.12 arm64", Selection{}, nil,
			"poetry/poetry.lock:35: numeric 2.1 has no file for CPython 3.12 on linux/arm64 (glibc 2.36): the lock has numeric-2.1-cp312-cp312-manylinux_2_17_x86_64.whl and no sdist|lock again for this target too, or take a version that has a wheel for it"},
		{"musl", "poetry/poetry.lock", "3.12 amd64 musl", Selection{}, nil,
			"poetry/poetry.lock:35: numeric 2.1 has no file for CPython 3.12 on linux/amd64 (musl 1.2): the lock has numeric-2.1-cp312-cp312-manylinux_2_17_x86_64.whl and no sdist|there are wheels for glibc: use a base with glibc, such as a Debian one, or a version that has a musllinux wheel"},
		{"Python", "poetry/poetry.lock", "3.10 amd64", Selection{}, nil, "poetry/poetry.lock: the lock is not for CPython 3.10 on linux/amd64 (glibc 2.36): it needs another Python|"},
		{"walk", "poetry1/poetry.lock", "3.12 amd64", Selection{Extras: []string{"web"}, Groups: []string{"docs"}}, []string{
			"pin alpha==1.2 2 hashes line 3 from https://example.com/simple", "pin numeric==2.1 1 hashes line 34", "pin omega==8.0 1 hashes line 45", "pin server==0.5 1 hashes line 56", "pin tester==8.3 1 hashes line 87",
			"local app directory . editable root requested", "local speedup archive https://example.com/speedup.zip", "local writer directory ../writer editable",
			"index https://example.com/simple"}, ""},
		{"walk of main", "poetry1/poetry.lock", "3.11 amd64", Selection{OnlyGroups: []string{"main"}, NoProject: true}, []string{
			"pin alpha==1.2 2 hashes line 3 from https://example.com/simple", "pin numeric==1.9 1 hashes line 23", "pin omega==8.0 1 hashes line 45", "index https://example.com/simple"}, ""},

		{"default", "pipenv/Pipfile.lock", "3.12 amd64", Selection{}, []string{
			"pin alpha==1.2 2 hashes line 16", "pin server-x==0.5 1 hashes line 32 from https://example.com/corp",
			"local mine directory . editable requested", "local repo repository https://example.com/repo.git git " + commit + " requested",
			"index https://example.com/corp", "index https://example.com/simple"}, ""},
		{"categories", "pipenv/Pipfile.lock", "3.12 amd64", Selection{OnlyGroups: []string{"dev-packages", "docs"}}, []string{
			"writer 1.0 https://example.com/writer-1.0-py3-none-any.whl requested",
			"pin alpha==1.2 2 hashes line 48", "pin tester==8.3 1 hashes line 52 from https://example.com/simple",
			"index https://example.com/corp", "index https://example.com/simple"}, ""},
		{"Python", "pipenv/Pipfile.lock", "3.13 amd64", Selection{}, nil, "pipenv/Pipfile.lock: the lock is not for CPython 3.13 on linux/amd64 (glibc 2.36): it needs Python ==3.12.*|"},
	} {
		t.Run(tt.lock+" "+tt.name, func(t *testing.T) {
			got, err := open(t, tt.lock).Select(target(t, tt.target), tt.sel)
			if tt.err != "" {
				text, hint, _ := strings.Cut(tt.err, "|")
				var at *python.FileError
				if !errors.As(err, &at) || err.Error() != text || hint != "" && at.Hint() != hint {
					t.Errorf("error %v\nhint %s\nwant %s", err, at.Hint(), tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, rows(got)); diff != "" {
				t.Error(diff)
			}
			if err := got.Lock.Validate(); err != nil {
				t.Error(err)
			}
			if text := fmt.Sprintf("%+v", got); strings.Contains(text, "secret") {
				t.Error("a password is in what was selected")
			}
		})
	}
}

func TestSelectWithoutProject(t *testing.T) {
	for name, want := range map[string]string{
		"poetry1/poetry.lock": "does not say what the project depends on",
		"poetry/poetry.lock":  "which dependency groups are optional",
	} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		l, err := Read(name, data, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Select(target(t, "3.12 amd64"), Selection{})
		var needs *NeedsProjectError
		if !errors.As(err, &needs) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := l.Outdated(); !errors.As(err, &needs) {
			t.Errorf("%s: outdated: %v", name, err)
		}
	}
}

func TestOutdated(t *testing.T) {
	for _, tt := range []struct {
		lock    string
		replace []string
		want    string // reasons; "" = up to date
	}{
		{"uv/uv.lock", nil, ""},
		{"uv/uv.lock", []string{"platform_system == 'Linux'", "platform_system=='Linux' and python_version>'3.5'"}, ""},
		{"uv/uv.lock", []string{"platform_system == 'Linux'", "platform_system == 'Darwin'"}, `the dependencies have alpha>=1; platform_system == "Darwin", which the lock was not made with; the lock was made with alpha>=1; sys_platform == "linux", which the dependencies do not have`},
		{"uv/uv.lock", []string{`"beta[fast]"`, `"beta[slow]"`}, "the dependencies have beta[slow], which the lock was not made with; the lock was made with beta[fast], which the dependencies do not have"},
		{"uv/uv.lock", []string{`"member",` + "\n", `"member", "more",`}, "the dependencies have more, which the lock was not made with"},
		{"uv/uv.lock", []string{`["tester"]`, `["tester>1"]`}, "the group dev have tester>1, which the lock was not made with; the lock was made with tester, which the group dev do not have; the group docs have tester>1, which the lock was not made with; the lock was made with tester, which the group docs do not have"},
		{"uv/uv.lock", []string{`tag = "v1"`, `tag = "v2"`}, "the dependencies have repo (git https://example.com/repo.git?subdirectory=py&tag=v2), which the lock was not made with; the lock was made with repo (git https://example.com/repo.git?subdirectory=py&tag=v1), which the dependencies do not have"},
		{"uv/uv.lock", []string{`path = "../writer"`, `path = "../other"`}, "the group docs have writer (path ../other), which the lock was not made with; the lock was made with writer (directory ../writer), which the group docs do not have"},
		{"uv/uv.lock", []string{"omega<9", "omega<10"}, "the constraints have omega<10, which the lock was not made with; the lock was made with omega<9, which the constraints do not have"},
		{"uv/uv.lock", []string{"name = \"app\"\nversion = \"0.1.0\"\nrequires", "name = \"app\"\nversion = \"0.2\"\nrequires"}, "the version of app is 0.2, and 0.1.0 in the lock"},
		{"uv/uv.lock", []string{"name = \"app\"\nversion = \"0.1.0\"\nrequires", "name = \"apple\"\nversion = \"0.1.0\"\nrequires"}, "the project apple is not in it"},
		{"poetry/poetry.lock", nil, ""},
		{"poetry/poetry.lock", []string{"alpha>=1", "alpha>=2"}, "what it depends on has changed"},
		{"poetry/poetry.lock", []string{`packages = [{ include = "app" }]`, "packages = []"}, ""},
		{"poetry1/poetry.lock", nil, ""},
		{"poetry1/poetry.lock", []string{`alpha = "^1.0"`, `alpha = "^1.1"`}, "what it depends on has changed"},
		{"pipenv/Pipfile.lock", nil, ""},
		// As Pipenv hashes since it normalizes names.
		{"pipenv/Pipfile.lock", []string{"0ff9ddb30db8ae2f04f72dec765e218a4ad7bba77466907d90afb1f9a688288b", "d09e90fa199b384a5cd62562fc63a9ad88858e182c728614db67eac1bc2030b5"}, ""},
		{"pipenv/Pipfile.lock", []string{`alpha = ">=1"`, `alpha = ">=2"`}, "the Pipfile has changed"},
	} {
		l, err := read(t, tt.lock, tt.replace)
		if err != nil {
			t.Errorf("%s %q: %v", tt.lock, tt.replace, err)
			continue
		}
		err = l.Outdated()
		var outdated *OutdatedError
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s %q: %v", tt.lock, tt.replace, err)
		case tt.want != "" && (!errors.As(err, &outdated) || strings.Join(outdated.Reasons, "; ") != tt.want):
			t.Errorf("%s %q: %v\nwant %s", tt.lock, tt.replace, err, tt.want)
		case err != nil && !strings.HasPrefix(outdated.Hint(), "run "):
			t.Errorf("hint %q", outdated.Hint())
		}
	}
}

func TestReadErrors(t *testing.T) {
	hash := "hashes = {sha256 = '" + strings.Repeat("0", 64) + "'}"
	const head = "lock-version='1.0'\ncreated-by='x'\n"
	pkg := head + "[[packages]]\nname='a'\n"
	for _, tt := range []struct{ name, text, want string }{
		{"lock.toml", "", "lock.toml: this is no lock file by its name|lock files are pylock.toml, pylock.NAME.toml, uv.lock, poetry.lock and Pipfile.lock"},
		{"pylock.a.b.toml", "", "pylock.a.b.toml: this is no lock file by its name"},
		{"pylock.toml", "created-by='x'", "pylock.toml:1: lock-version is missing"},
		{"pylock.dev.toml", "lock-version='2.0'", "pylock.dev.toml:1: PEP 751 version 2.0 is not supported; supported is 1.0"},
		{"pylock.toml", "lock-version='1.0'\npackages=[]", "pylock.toml:1: created-by is missing"},
		{"pylock.toml", head, "pylock.toml:1: packages is missing"},
		{"pylock.toml", pkg, "pylock.toml:3: packages[0] has no source"},
		{"pylock.toml", pkg + "wheels=[{url='https://example.com/a-1-py3-none-any.whl'}]", "pylock.toml:5: packages[0].wheels[0].hashes: a sha256, sha384 or sha512 hash is needed"},
		{"pylock.toml", pkg + "wheels=[\n{url='https://example.com/a-1-py3-none-any.whl', hashes={sha256='xyz'}}]", "pylock.toml:6: packages[0].wheels[0].hashes.sha256 is not hexadecimal"},
		{"pylock.toml", pkg + "wheels=[{url='https://example.com/b-1-py3-none-any.whl', " + hash + "}]", "pylock.toml:5: b-1-py3-none-any.whl is a file of b 1, and not of a "},
		{"pylock.toml", pkg + "wheels=[{name='../a-1-py3-none-any.whl', url='https://example.com/x', " + hash + "}]", `pylock.toml:5: packages[0].wheels[0]: "../a-1-py3-none-any.whl" is not the name of a file`},
		{"pylock.toml", pkg + "wheels=[{name='a-1-py3-none-any.whl', " + hash + "}]", "pylock.toml:5: packages[0].wheels[0] has neither url nor path"},
		{"pylock.toml", pkg + "vcs={type='git',url='u',commit-id='c'}\ndirectory={path='.'}", "pylock.toml:3: packages[0] has vcs and directory, which exclude one another"},
		{"pylock.toml", pkg + "directory={path='.'}\nsdist={url='https://example.com/a-1.tar.gz', " + hash + "}", "pylock.toml:3: packages[0] has directory beside wheels or an sdist"},
		{"pylock.toml", pkg + "vcs={type='git',url='u'}", "pylock.toml:5: packages[0].vcs.commit-id is missing"},
		{"pylock.toml", pkg + "directory={path='.', subdirectory='../x'}", `pylock.toml:5: packages[0].directory.subdirectory: "../x" leads out`},
		{"pylock.toml", head + "[[packages]]\nname='A_b'\ndirectory={path='.'}", `pylock.toml:4: the name "A_b" is not normalized`},
		{"pylock.toml", pkg + "marker='x'\ndirectory={path='.'}", "pylock.toml:5: "},
		{"pylock.toml", pkg + "version='one'\ndirectory={path='.'}", "pylock.toml:5: "},
		{"pylock.toml", pkg + "name='b'", "pylock.toml:5: not TOML"},
		{"uv.lock", "version = 2\n", "uv.lock:1: uv.lock version 2 is not supported; supported is 1"},
		{"uv.lock", "version = 1\n[[package]]\nname='a'\nversion='1'\n", "uv.lock:2: package[0] has no source"},
		{"uv.lock", "version = 1\n[[package]]\nname='a'\nsource={hg='x'}\n", "uv.lock:4: package[0].source is none of registry"},
		{"uv.lock", "version = 1\n[[package]]\nname='a'\nsource={registry='x'}\nwheels=[{url='x', hash='sha256:1'}]\n", "uv.lock:5: "},
		{"poetry.lock", "[metadata]\nlock-version='3.0'\n", `poetry.lock:2: poetry.lock version "3.0" is not supported; supported is 1 and 2`},
		{"poetry.lock", "[metadata]\ncontent-hash='x'\n[metadata.hashes]\na=['zz']\n[[package]]\nname='a'\nversion='1'\n", "poetry.lock:4: "},
		{"poetry.lock", "", `poetry.lock:1: poetry.lock version "" is not supported`},
		{"poetry.lock", "[[package]]\nname='a'\nversion='1'\n[package.source]\ntype='svn'\n[metadata]\nlock-version='2.0'\n", `poetry.lock:4: a: the source "svn" is not supported`},
		{"Pipfile.lock", "{}", "Pipfile.lock:1: Pipfile.lock version"},
		{"Pipfile.lock", "{\"_meta\": {\"pipfile-spec\": 6},\n\"default\": {\"a\": {\"hashes\": [\n\"sha256:1\"]}}}", "Pipfile.lock:3: "},
		{"Pipfile.lock", "[]", "Pipfile.lock:1: the document is not an object"},
	} {
		_, err := Read(tt.name, []byte(tt.text), nil)
		want, hint, _ := strings.Cut(tt.want, "|")
		var at *python.FileError
		if !errors.As(err, &at) || !strings.HasPrefix(err.Error(), want) || hint != "" && at.Hint() != hint {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestSelectErrors(t *testing.T) {
	for _, tt := range []struct {
		lock    string
		replace []string
		want    string
	}{
		{"pylock.toml", []string{"python_version < '3.13'", "python_version < '3.14'", "python_version >= '3.13'", "python_version >= '3.11'"}, "several entries of beta apply"},
		{"pylock.toml", []string{"'default' in dependency_groups", "extra == 'x'"}, "extra is not defined in lock files"},
		{"uv/uv.lock", []string{`{ name = "tester" }`, `{ name = "nobody" }`}, "the lock has no package nobody"},
		{"uv/uv.lock", []string{`{ name = "tester" }`, `{ name = "conf" }`}, "the lock has several packages conf"},
		{"uv/uv.lock", []string{`tag=v1#` + commit, `tag=v1`}, "the source of repo is not the URL of a commit"},
		{"uv/uv.lock", []string{`subdirectory=py`, `subdirectory=../../x`}, `the subdirectory "../../x" of repo leads out`},
		{"poetry/poetry.lock", []string{`markers = 'python_version == "3.11"'`, ""}, "several entries of numeric apply"},
		{"pipenv/Pipfile.lock", []string{"sys_platform = \"== 'win32'\"", "index = 'main'"}, "winonly: it is not locked to a version with hashes"},
		{"pipenv/Pipfile.lock", []string{commit, ""}, "the commit of repo is not locked"},
	} {
		l, err := read(t, tt.lock, tt.replace)
		if err != nil {
			t.Errorf("%s: %v", tt.lock, err)
			continue
		}
		_, err = l.Select(target(t, "3.12 amd64"), Selection{})
		var at *python.FileError
		if !errors.As(err, &at) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %q: %v, want %s", tt.lock, tt.replace, err, tt.want)
		}
	}
}

// TestRoundTrip writes a file with every key and reads it again.
func TestRoundTrip(t *testing.T) {
	data, err := os.ReadFile("testdata/pylock.toml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ReadPylock("pylock.toml", data)
	if err != nil {
		t.Fatal(err)
	}
	f.sort()
	var first, second bytes.Buffer
	if err := f.Write(&first); err != nil {
		t.Fatal(err)
	}
	golden(t, "pylock.golden.toml", first.Bytes())
	again, err := ReadPylock("pylock.toml", first.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f, again, options); diff != "" {
		t.Error(diff)
	}
	if err := again.Write(&second); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("written again it differs: %v", err)
	}
}

func TestNewerMinor(t *testing.T) {
	f, err := ReadPylock("pylock.toml", []byte("lock-version='1.1'\ncreated-by='x'\npackages=[]\nenvironment=[]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"lock-version is 1.1; what is newer than 1.0 is set aside", "line 4: environment is not known and set aside; did you mean environments?"}
	if !slices.Equal(f.Warnings, want) {
		t.Errorf("%q", f.Warnings)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func FuzzRead(f *testing.F) {
	names := []string{"pylock.toml", "uv/uv.lock", "poetry/poetry.lock", "poetry1/poetry.lock", "pipenv/Pipfile.lock"}
	for i, name := range names {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), string(data), "[dependency-groups]\ndev=['x']\n[tool.poetry.group.docs]\noptional=true\n")
	}
	at := target(f, "3.12 amd64")
	f.Fuzz(func(t *testing.T, format uint8, text, beside string) {
		name := filepath.Base(names[int(format)%len(names)])
		l, err := Read(name, []byte(text), map[string][]byte{"pyproject.toml": []byte(beside), "Pipfile": []byte(beside)})
		var position *python.FileError
		if err != nil {
			if !errors.As(err, &position) {
				t.Errorf("%v has no position", err)
			}
			return
		}
		_ = l.Outdated()
		if s, err := l.Select(at, Selection{AllExtras: true, AllGroups: true}); err == nil {
			if err := s.Lock.Validate(); err != nil {
				t.Errorf("what was selected is not valid: %v", err)
			}
			for _, l := range s.Local {
				if leadsOut(l.Subdirectory) {
					t.Errorf("subdirectory %q", l.Subdirectory)
				}
			}
		}
		p, ok := l.(*File)
		if !ok {
			return
		}
		var b bytes.Buffer
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPylock("pylock.toml", b.Bytes()); err != nil {
			t.Errorf("what was written cannot be read: %v\n%s", err, b.String())
		}
	})
}
