package python

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	sha256Hex = strings.Repeat("0123456789abcdef", 4)
	sha512Hex = strings.Repeat("fedcba9876543210", 8)
)

// files are what a ReadFunc reads.
type files map[string]string

func (f files) read(name string) ([]byte, error) {
	text, ok := f[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

// summary writes a requirement with where it is from.
func summary(rs []FileRequirement) (out []string) {
	for _, r := range rs {
		s := fmt.Sprintf("%s:%d %s", r.File, r.Line, r.Requirement)
		if r.Path != "" {
			s += " path " + r.Path
		}
		for _, h := range r.Hashes {
			s += " " + h[:10]
		}
		out = append(out, s)
	}
	return out
}

func TestRequirementsFile(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"USER_1": "me", "TOKEN": "s3cret", "EMPTY": ""}[name]
		return v, ok
	}
	got, err := ReadRequirements("app/requirements.txt", files{
		"app/requirements.txt": "\ufeff# a comment \\\n" +
			"--index-url=https://${USER_1}:${TOKEN}@example.org/${EMPTY}/${unset}/simple\n" +
			"--extra-index-url https://example.com/a --extra-index-url 'https://example.com/b'\r\n" +
			"-f wheels\n" +
			"--no-bin numpy,Foo_Bar --only-binary :all: --no-binary lxml\n" + // an abbreviation; :all: undoes what is before
			"--pre --prefer-binary --trusted-host example.org --use-feature fast-deps\n" +
			"-r base.txt\n" +
			"-cconstraints.txt # joined\n" +
			"--find-links https://example.org/links.html\n" +
			"Flask[async] >= 3 , \\\n" +
			"   < 4 ; python_version >= '3.9' \\\n" +
			"   --hash=sha256:" + strings.ToUpper(sha256Hex) + " \\\n" +
			"   --hash sha512:" + sha512Hex + "\n" +
			"requests # the end\n" +
			"a @ https://example.org/a-1.0-py3-none-any.whl#sha256=" + sha256Hex + "&x=y\n" +
			"https://example.org/b_c-1.0%2Blocal-py3-none-any.whl ; os_name == 'posix'\n" +
			"./wheels/d-1-py3-none-any.whl[x,y] ; sys_platform == 'linux'\n" +
			"file:///srv/e-1-py3-none-any.whl\n" +
			"f @ ./f-1-py3-none-any.whl\n" +
			"psycopg2 --no-binary psycopg2\n" +
			"https://example.org/archive/main.zip#egg=g&subdirectory=x",
		"app/base.txt":        "Django==5.0\n-r sub/more.txt\n",
		"app/sub/more.txt":    "six\f\n-r ../leaf.txt",
		"app/leaf.txt":        "# -*- coding: latin-1 -*-\nleaf # \xe9",
		"app/constraints.txt": "urllib3<2\n--no-index\n",
	}.read, env)
	if err != nil {
		t.Fatal(err)
	}
	want := RequirementsFile{
		FindLinks: []string{"app/wheels", "https://example.org/links.html"}, LinksAsWritten: map[string]string{"app/wheels": "wheels"},
		NoIndex:      true,
		TrustedHosts: []string{"example.org"},
		NoBinary:     []string{"lxml", "psycopg2"}, OnlyBinary: []string{":all:"},
		Pre: true, PreferBinary: true, RequireHashes: true,
		UseFeatures: []string{"fast-deps"},
	}
	wantRequirements := []string{
		"app/base.txt:1 Django==5.0",
		"app/sub/more.txt:1 six",
		"app/leaf.txt:2 leaf",
		`app/requirements.txt:10 Flask[async]<4,>=3; python_version >= "3.9" sha256:012 sha512:fed`,
		"app/requirements.txt:14 requests",
		"app/requirements.txt:15 a @ https://example.org/a-1.0-py3-none-any.whl#sha256=" + sha256Hex + "&x=y sha256:012",
		`app/requirements.txt:16 b-c @ https://example.org/b_c-1.0%2Blocal-py3-none-any.whl ; os_name == "posix"`,
		`app/requirements.txt:17 d[x,y]; sys_platform == "linux" path ./wheels/d-1-py3-none-any.whl`,
		"app/requirements.txt:18 e @ file:///srv/e-1-py3-none-any.whl path /srv/e-1-py3-none-any.whl",
		"app/requirements.txt:19 f path ./f-1-py3-none-any.whl",
		"app/requirements.txt:20 psycopg2",
		"app/requirements.txt:21 g @ https://example.org/archive/main.zip#egg=g&subdirectory=x",
	}
	if d := cmp.Diff(wantRequirements, summary(got.Requirements)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"app/constraints.txt:1 urllib3<2"}, summary(got.Constraints)); d != "" {
		t.Error(d)
	}
	got.Requirements, got.Constraints = nil, nil
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRequirementsIndexes(t *testing.T) {
	env := func(name string) (string, bool) { return "v-" + name, name != "UNSET" }
	f, err := ReadRequirements("r.txt", files{"r.txt": "-i https://${A}@example.org/${UNSET}/$B/${lower}\n--extra-index-url https://example.com\n-i https://example.net/${C}"}.read, env)
	if err != nil || f.IndexURL != "https://example.net/v-C" || len(f.ExtraIndexURLs) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
	f, err = ReadRequirements("r.txt", files{"r.txt": "--pypi-url=${A}${UNSET}${"}.read, env)
	if err != nil || f.IndexURL != "v-A${UNSET}${" {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestRequirementsURLs(t *testing.T) {
	f, err := ReadRequirements("https://example.org/x/r.txt", files{
		"https://example.org/x/r.txt": "-r y/s.txt\n", "https://example.org/x/y/s.txt": "-c /c.txt\na\n", "https://example.org/c.txt": "b==1",
	}.read, nil)
	if err != nil || len(f.Requirements) != 1 || len(f.Constraints) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestRequirementsEncodings(t *testing.T) {
	for name, text := range map[string]string{
		"UTF-8":         "\xef\xbb\xbfa\nb",
		"UTF-16 LE":     "\xff\xfea\x00\n\x00b\x00",
		"UTF-16 BE":     "\xfe\xff\x00a\x00\n\x00b",
		"UTF-32 LE":     "\xff\xfe\x00\x00a\x00\x00\x00\n\x00\x00\x00b\x00\x00\x00",
		"UTF-32 BE":     "\x00\x00\xfe\xff\x00\x00\x00a\x00\x00\x00\n\x00\x00\x00b",
		"Latin-1":       "# vim: set fileencoding=iso-8859-1 :\na # \xe9\nb",
		"carriages":     "a\rb",
		"continued end": "a\nb\\",
	} {
		f, err := ReadRequirements("r.txt", files{"r.txt": text}.read, nil)
		if err != nil || len(f.Requirements) != 2 || f.Requirements[0].Requirement.Name != "a" || f.Requirements[1].Requirement.Name != "b" {
			t.Errorf("%s: %+v, %v", name, f.Requirements, err)
		}
	}
	for _, text := range []string{"a\n\xff", "# coding: koi8-r\na", "\xff\xfea", "\xff\xfe\x00\x00a"} {
		if _, err := ReadRequirements("r.txt", files{"r.txt": text}.read, nil); err == nil {
			t.Errorf("%q is a text", text)
		}
	}
}

func TestRequirementsErrors(t *testing.T) {
	all := files{
		"nested.txt": "a\n-r bad.txt\n", "bad.txt": "\nx y\n", "leaf.txt": "a\n", "loop.txt": "a\n-r ./loop2.txt\n", "loop2.txt": "-c loop.txt\n",
		"missing.txt": "a\n\n-r sub/gone.txt\n",
	}
	for _, c := range []struct {
		text, file string
		line       int
		message    string
		hint       string
	}{
		{"a\n\nflask=1\n", "r.txt", 3, "did you mean ==", ""},
		{"-r nested.txt", "bad.txt", 2, "expected a version specifier", ""},
		{"\n-r loop.txt", "loop2.txt", 1, "loop.txt includes itself", ""},
		{"-r missing.txt", "missing.txt", 3, "missing.txt:3: sub/gone.txt: open", ""},
		{"--frobnicate", "r.txt", 1, `unknown option "--frobnicate"`, ""},
		{"--require x", "r.txt", 1, "ambiguous option", ""},
		{"-r leaf.txt -r loop.txt", "r.txt", 1, "stands there twice", ""},
		{"https://example.org/main.zip#egg=a[b]", "r.txt", 1, "NAME[EXTRA] @ URL", ""},
		{"--pre=1", "r.txt", 1, "--pre takes no value", ""},
		{"--index-url", "r.txt", 1, "--index-url needs a value", ""},
		{"--no-binary --pre", "r.txt", 1, "--no-binary needs a value", ""},
		{"--pre x", "r.txt", 1, `unexpected "x"`, ""},
		{"-f 'x", "r.txt", 1, "quote is not closed", ""},
		{"a -r b.txt", "r.txt", 1, "--requirement cannot stand behind", ""},
		{"--hash=sha256:" + sha256Hex, "r.txt", 1, "--hash without a requirement", ""},
		{"a --hash=md5:00", "r.txt", 1, "none of sha256", ""},
		{"a --hash=sha256:00", "r.txt", 1, "has 2 digits, not 64", ""},
		{"a --hash=sha256:" + strings.Repeat("g", 64), "r.txt", 1, "not hexadecimal", ""},
		{"--require-hashes --no-require-hashes", "r.txt", 1, "exclude each other", ""},
		{"a --config-settings x", "r.txt", 1, "not KEY=VALUE", ""},
		{"a --global-option x", "r.txt", 1, "not called", "--config-settings"},
		{"--editable=git+https://example.org/x#egg=x", "r.txt", 1, "a version control reference", "pip wheel"},
		{"-e https://example.org/x-1.tar.gz", "r.txt", 1, "not a directory", ""},
		{"git+https://u:secret@example.org/x@v1#egg=x", "r.txt", 1, "****@example.org", "build a wheel once"},
		{"x @ git+ssh://git@example.org/x", "r.txt", 1, "a version control reference", "x @ https://"},
		{"git@example.org:x/y.git", "r.txt", 1, "a version control reference", "pip wheel"},
		{"https://example.org/a", "r.txt", 1, "ends neither as a wheel nor as an sdist", ""},
		{"ftp://example.org/a-1-py3-none-any.whl", "r.txt", 1, "scheme ftp", ""},
		{"s3://example/a-1-py3-none-any.whl", "r.txt", 1, "scheme s3", ""},
		{"file://example.org/a-1-py3-none-any.whl", "r.txt", 1, "another machine", ""},
		{"?://0", "r.txt", 1, "names no file", ""},
		{"b @ file:", "r.txt", 1, "names no file", ""},
		{"file://localhost", "r.txt", 1, "names no file", ""},
		{"b @ https://example.org/a-1-py3-none-any.whl", "r.txt", 1, "a file of a, not of b", ""},
		{"./a.whl", "r.txt", 1, "wheel name", ""},
		{"a; os_name", "r.txt", 1, "expected <=", ""},
	} {
		all["r.txt"] = c.text
		_, err := ReadRequirements("r.txt", all.read, nil)
		var at *FileError
		if !errors.As(err, &at) {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		file, line := at.Position()
		if file != c.file || line != c.line || !strings.Contains(err.Error(), c.message) || !strings.HasPrefix(err.Error(), fmt.Sprintf("%s:%d: ", file, line)) {
			t.Errorf("%q: %s:%d: %v", c.text, file, line, err)
		}
		if (c.hint == "") != (at.Hint() == "") || !strings.Contains(at.Hint(), c.hint) {
			t.Errorf("%q: hint %q", c.text, at.Hint())
		}
		if strings.Contains(err.Error()+at.Hint(), "secret") {
			t.Errorf("%q: a secret is shown: %v", c.text, err)
		}
	}
	_, err := ReadRequirements("none.txt", all.read, nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none.txt: %v", err)
	}
	if _, err := ReadConstraints("c.txt", files{"c.txt": "a[x]>1"}.read, nil); err == nil || !strings.Contains(err.Error(), "extras") {
		t.Errorf("constraint with extras: %v", err)
	}
}

func TestRequirementsAreBounded(t *testing.T) {
	n := 0
	_, err := ReadRequirements("0", func(string) ([]byte, error) {
		n++
		return []byte(fmt.Sprintf("-r %d\n", n)), nil
	}, nil)
	if err == nil || n > maxRequirementsDepth+1 {
		t.Errorf("%d files within one another, %v", n, err)
	}
	n = 0
	_, err = ReadRequirements("0", func(name string) ([]byte, error) {
		n++
		if len(name) > 3 {
			return nil, nil
		}
		return []byte(strings.Repeat("-r "+name+"a\n-r "+name+"b\n", 20)), nil
	}, nil)
	if err == nil || n > maxRequirementsFiles {
		t.Errorf("%d files, %v", n, err)
	}
	if _, err = ReadRequirements("0", func(string) ([]byte, error) { return make([]byte, maxRequirementsBytes+1), nil }, nil); err == nil {
		t.Error("a file has no bound")
	}
}

func TestFormatControl(t *testing.T) {
	var f RequirementsFile
	f.AddNoBinary("A_b,c")
	f.AddOnlyBinary("c")
	f.AddOnlyBinary("x,:all:,:none:,D")
	f.AddNoBinary("e")
	if d := cmp.Diff([][]string{{"e"}, {"d"}}, [][]string{f.NoBinary, f.OnlyBinary}); d != "" {
		t.Error(d)
	}
	f.AddOnlyBinary(":all:")
	f.AddNoBinary("e")
	for name, want := range map[string][2]bool{"e": {false, true}, "z": {true, false}} {
		if got := [2]bool{f.AllowsWheels(name), f.AllowsSdists(name)}; got != want {
			t.Errorf("%s: wheels, sdists %v", name, got)
		}
	}
	if !(RequirementsFile{}).AllowsWheels("a") || !(RequirementsFile{}).AllowsSdists("a") {
		t.Error("everything is allowed that is not forbidden")
	}
	f.Pre = true
	f.AddOnlyFinal("Calm")
	if f.PrereleasesOf("calm") != PrereleasesDeny || f.PrereleasesOf("x") != PrereleasesAllow || (RequirementsFile{}).PrereleasesOf("x") != PrereleasesDefault {
		t.Error("pre-releases")
	}
}

func TestMerge(t *testing.T) {
	a, err := ReadRequirements("a", files{"a": "-i https://example.org\n--no-binary x\n--only-binary y\na"}.read, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := ReadConstraints("b", files{"b": "-i https://example.com --extra-index-url https://example.net\n--only-binary :all:\n--no-binary z\nb==1 --hash=sha256:" + sha256Hex}.read, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.Merge(b)
	want := []any{1, 1, "https://example.com", []string{"https://example.net"}, []string{"z"}, []string{":all:"}, true}
	got := []any{len(a.Requirements), len(a.Constraints), a.IndexURL, a.ExtraIndexURLs, a.NoBinary, a.OnlyBinary, a.RequireHashes}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestCheckHashes(t *testing.T) {
	hash := " --hash=sha256:" + sha256Hex + "\n"
	env := linuxTarget(t).Environment()
	for text, want := range map[string]string{
		"a==1" + hash + "b; os_name == 'nt'\n":           "",
		"a==1" + hash + "-c c.txt\nb":                    "",
		"a==1" + hash + "b==2":                           "r.txt:2: b==2 has no hash",
		"a>1" + hash:                                     "r.txt:1: a>1 is not pinned",
		"a==1.*" + hash:                                  "is not pinned",
		"--require-hashes\na==1":                         "has no hash",
		"--no-require-hashes\na==1\nb==1" + hash:         "",
		"./a-1-py3-none-any.whl\nb==1" + hash:            "has no hash",
		"./a-1-py3-none-any.whl" + hash + "b===1" + hash: "",
		"a @ https://example.org/a-1-py3-none-any.whl#sha256=" + sha256Hex + "\n--require-hashes": "",
	} {
		f, err := ReadRequirements("r.txt", files{"r.txt": text, "c.txt": "b==1" + hash}.read, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = f.CheckHashes(env)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzRequirements(f *testing.F) {
	for _, s := range []string{
		"a==1 --hash=sha256:00\\\n -r b\n", "-r b\n-c c", "-i https://${A}\n", "\xff\xfea\x00", "# coding: latin-1\n\xe9", "./x-1-py3-none-any.whl[a] ; os_name=='x'", "--no-b a,:all: # x",
		"git+https://example.org/x", "a @ file:b-1-py3-none-any.whl", "-e '\\", "--find-links=\"a b\"", "./dir", "git+dir/[a]", "?://0",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(name string) ([]byte, error) {
			if name == "r.txt" {
				return b, nil
			}
			return nil, fs.ErrNotExist
		}
		r, err := ReadRequirements("r.txt", read, func(s string) (string, bool) { return s, true })
		if err != nil {
			var at *FileError
			if !errors.As(err, &at) {
				t.Fatalf("%v", err)
			}
			_, _ = err.Error(), at.Hint()
			return
		}
		for _, q := range r.Requirements {
			name := q.Requirement.Key() // "" where only the directory tells it
			if !ValidName(name) && !strings.HasSuffix(name, "-") && (name != "" || q.Path == "") || q.Line == 0 {
				t.Fatalf("%+v", q)
			}
		}
		_ = r.CheckHashes(Environment{})
	})
}
