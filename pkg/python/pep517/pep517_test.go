package pep517

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// host runs commands on this machine.
type host struct{}

func (host) Run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, stdin, stdout, stderr
	return cmd.Run()
}

// answers is a Runner that answers with the same bytes whatever it is asked.
type answers struct {
	b   []byte
	err error
}

func (a answers) Run(_ context.Context, _, _ []string, stdin io.Reader, stdout, stderr io.Writer) error {
	fmt.Fprintln(stderr, "on its\x1b[31m standard error")
	if _, err := stdout.Write(a.b); err != nil {
		return err
	}
	if a.err != nil {
		return a.err
	}
	_, err := io.Copy(io.Discard, stdin)
	return err
}

// hostPython is this machine's Python, behind whatever stands for it, and its
// version; or why there is none.
var hostPython = sync.OnceValues(func() ([]string, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("the script needs Linux")
	}
	p, err := exec.LookPath("python3")
	if err != nil {
		return nil, err
	}
	out, err := exec.Command(p, "-c", "import sys; print(sys.executable, '%d.%d' % sys.version_info[:2] + getattr(sys, 'abiflags', ''))").Output()
	return strings.Fields(string(out)), err
})

func interpreter(t testing.TB) (path, version string) {
	t.Helper()
	p, err := hostPython()
	if err != nil {
		t.Skip("there is no Python here:", err)
	}
	return p[0], p[1]
}

func file(p, text string) layers.Entry {
	return layers.Entry{Path: p, Kind: layers.File, Mode: 0o644, Size: int64(len(text)), Content: layers.Bytes([]byte(text)), Origin: "test"}
}

func tree(t testing.TB, entries ...layers.Entry) layers.Tree {
	t.Helper()
	tr, err := layers.NewTree(entries)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// backend is a back-end in the source tree. Its wheel says what it was built with.
const backend = `
import json, os, stat, subprocess, sys, zipfile

def get_requires_for_build_wheel(settings=None):
    print("on standard output")
    return ["wheel", "tool>=2; python_version >= '3'"] if settings is None else ["x==" + settings["v"]]

def see(path):
    st = os.lstat(path)
    return "%o %d" % (stat.S_IMODE(st.st_mode), st.st_mtime)

def build_wheel(out, settings=None, metadata=None):
    print("building")
    report = {
        "cwd": os.getcwd(), "settings": settings, "files": sorted(os.listdir(".")),
        "run": see("run.sh"), "plain": see("pyproject.toml"), "link": os.readlink("link"), "hard": open("hard").read(),
        "env": {k: v for k, v in os.environ.items()}, "stdin": sys.stdin.read(), "executable": sys.executable, "prefix": sys.prefix,
        "path": [p for p in sys.path if "site-packages" in p or "dist-packages" in p], "first": sys.path[0],
        "tool": subprocess.run(["tool"], stdout=subprocess.PIPE, check=True).stdout.decode(),
        "imported": subprocess.run([sys.executable, "-c", "import dependency; print(dependency.NAME)"], stdout=subprocess.PIPE, check=True).stdout.decode(),
        "temp": os.path.isdir(os.environ["TMPDIR"]), "argv": sys.argv[1:],
    }
    name = "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(out, name), "w") as z:
        z.writestr("report.json", json.dumps(report, indent=1, sort_keys=True))
        z.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: flask\n")
    return name

class nested:
    class Backend:
        def build_wheel(self, out, settings=None, metadata=None):
            open(os.path.join(out, "nested-1-py3-none-any.whl"), "wb").write(b"n" * 3000000)
            return "nested-1-py3-none-any.whl"
        def build_editable(self, out, settings=None, metadata=None):
            open(os.path.join(out, "editable-1-py3-none-any.whl"), "wb").write(b"e")
            return "editable-1-py3-none-any.whl"
        def prepare_metadata_for_build_wheel(self, out, settings=None):
            os.mkdir(os.path.join(out, "nested-1.dist-info"))
            open(os.path.join(out, "nested-1.dist-info/METADATA"), "w").write("Metadata-Version: 2.1\nName: nested\nVersion: 1\n")
            return "nested-1.dist-info"
        build_nothing = None
backend = nested.Backend()

class wrong:
    class Outside:
        def build_wheel(self, out, settings=None, metadata=None):
            return "../run/request.json"
        def get_requires_for_build_wheel(self, settings=None):
            return ["not a requirement!"]
    class Missing:
        def build_wheel(self, out, settings=None, metadata=None):
            return "missing-1-py3-none-any.whl"
    class Named:
        def build_wheel(self, out, settings=None, metadata=None):
            open(os.path.join(out, "demo.zip"), "wb").write(b"x")
            return "demo.zip"
    class Raises:
        def build_wheel(self, out, settings=None, metadata=None):
            print("gcc: not found")
            raise ValueError("no\nwheel")
        def get_requires_for_build_wheel(self, settings=None):
            raise SystemExit("no")
    class Dies:
        def build_wheel(self, out, settings=None, metadata=None):
            os.kill(os.getpid(), 9)
    class Imports:
        def build_wheel(self, out, settings=None, metadata=None):
            import numpy_that_is_not_there
    class None_:
        pass
outside, missing, named, raises, dies, imports, none = (c() for c in (
    wrong.Outside, wrong.Missing, wrong.Named, wrong.Raises, wrong.Dies, wrong.Imports, wrong.None_))
`

// demo is a project with its back-end in the tree, and an environment for it.
func demo(t testing.TB) Input {
	t.Helper()
	python, version := interpreter(t)
	dir := filepath.Join(t.TempDir(), "build")
	env := strings.TrimPrefix(dir, "/") + "/env/"
	site := env + "lib/python" + version + "/site-packages/"
	tool := file(env+"bin/tool", "#!"+dir+"/env/bin/python\nimport dependency\nprint('tool of', dependency.NAME)\n")
	tool.Mode = 0o755
	run := file("run.sh", "#!/bin/sh\n")
	run.Mode = 0o555
	return Input{
		Interpreter: python, dir: dir, Backend: "backend", BackendPath: []string{"tools"}, Time: time.Unix(1_700_000_000, 0),
		Source: tree(t, file("pyproject.toml", "[build-system]\n"), file("tools/backend.py", backend), run,
			layers.Entry{Path: "link", Kind: layers.Symlink, Link: "run.sh"}, layers.Entry{Path: "hard", Kind: layers.Hardlink, Link: "pyproject.toml"}),
		Environment: tree(t, tool, file(site+"dependency.py", "NAME = 'dependency'\n"), file(site+"hello.pth", "import os; os.environ['FROM_PTH'] = '1'\n")),
	}
}

func TestBuildWheel(t *testing.T) {
	in := demo(t)
	in.ConfigSettings = map[string][]string{"one": {"1"}, "two": {"1", "2"}}
	in.Env = []string{"CFLAGS=-O1 -g=2", "TZ=Asia/Tokyo"}
	var log bytes.Buffer
	in.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var wheel bytes.Buffer
	name, err := BuildWheel(t.Context(), host{}, in, &wheel)
	if err != nil {
		t.Fatal(err)
	}
	if name != "demo-1.0-py3-none-any.whl" || !strings.Contains(log.String(), "msg=building") {
		t.Error(name, log.String())
	}
	z, err := zip.NewReader(bytes.NewReader(wheel.Bytes()), int64(wheel.Len()))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.Open("report.json")
	if err != nil {
		t.Fatal(err)
	}
	report, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`lib/python[0-9.t]+/`).ReplaceAllString(strings.ReplaceAll(string(report), in.dir, "DIR"), "lib/pythonX/")
	want := `{
 "argv": [
  "DIR/run"
 ],
 "cwd": "DIR/source",
 "env": {
  "CFLAGS": "-O1 -g=2",
  "FROM_PTH": "1",
  "HOME": "DIR/home",
  "LC_ALL": "C.UTF-8",
  "PATH": "DIR/env/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  "PYTHONDONTWRITEBYTECODE": "1",
  "PYTHONHASHSEED": "0",
  "PYTHONNOUSERSITE": "1",
  "PYTHONUTF8": "1",
  "SOURCE_DATE_EPOCH": "1700000000",
  "TMPDIR": "DIR/tmp",
  "TZ": "Asia/Tokyo",
  "VIRTUAL_ENV": "DIR/env"
 },
 "executable": "DIR/env/bin/python",
 "files": [
  "hard",
  "link",
  "pyproject.toml",
  "run.sh",
  "tools"
 ],
 "first": "DIR/source/tools",
 "hard": "[build-system]\n",
 "imported": "dependency\n",
 "link": "run.sh",
 "path": [
  "DIR/env/lib/pythonX/site-packages"
 ],
 "plain": "644 1700000000",
 "prefix": "DIR/env",
 "run": "755 1700000000",
 "settings": {
  "one": "1",
  "two": [
   "1",
   "2"
  ]
 },
 "stdin": "",
 "temp": true,
 "tool": "tool of dependency\n"
}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHooks(t *testing.T) {
	t.Run("requires", func(t *testing.T) {
		in := demo(t)
		got, err := Requires(t.Context(), host{}, in)
		if err != nil || len(got) != 2 || got[0].Name != "wheel" || got[1].Marker.String() == "" {
			t.Error(got, err)
		}
	})
	t.Run("requires with settings", func(t *testing.T) {
		in := demo(t)
		in.ConfigSettings = map[string][]string{"v": {"3"}}
		got, err := Requires(t.Context(), host{}, in)
		if err != nil || len(got) != 1 || got[0].Specifiers.String() != "==3" {
			t.Error(got, err)
		}
	})
	t.Run("requires nothing", func(t *testing.T) {
		in := demo(t)
		in.Backend = "backend:backend"
		if got, err := RequiresEditable(t.Context(), host{}, in); err != nil || len(got) != 0 {
			t.Error(got, err)
		}
	})
	t.Run("object", func(t *testing.T) {
		in := demo(t)
		in.Backend = "backend:nested.Backend"
		if _, err := BuildWheel(t.Context(), host{}, in, io.Discard); err == nil {
			t.Error("a class has no self")
		}
	})
	t.Run("large wheel", func(t *testing.T) {
		in := demo(t)
		in.Backend = "backend:backend"
		var b bytes.Buffer
		name, err := BuildWheel(t.Context(), host{}, in, &b)
		if err != nil || name != "nested-1-py3-none-any.whl" || b.Len() != 3_000_000 {
			t.Error(name, b.Len(), err)
		}
	})
	t.Run("editable", func(t *testing.T) {
		in := demo(t)
		in.Backend = "backend:backend"
		var b bytes.Buffer
		name, err := BuildEditable(t.Context(), host{}, in, &b)
		if err != nil || name != "editable-1-py3-none-any.whl" || b.String() != "e" {
			t.Error(name, b.Len(), err)
		}
	})
	t.Run("metadata", func(t *testing.T) {
		in := demo(t)
		in.Backend = "backend:backend"
		m, err := Metadata(t.Context(), host{}, in)
		if err != nil || m.Name != "nested" {
			t.Error(m, err)
		}
	})
	t.Run("metadata of a wheel", func(t *testing.T) {
		m, err := Metadata(t.Context(), host{}, demo(t))
		if err != nil || m.Name != "demo" || len(m.RequiresDist) != 1 {
			t.Error(m, err)
		}
	})
	t.Run("project in a directory", func(t *testing.T) {
		in := demo(t)
		in.Source = tree(t, file("sub/tools/backend.py", "def build_wheel(o, s, m=None):\n    open(o + '/sub-1-py3-none-any.whl', 'w').write('s')\n    return 'sub-1-py3-none-any.whl'\n"))
		in.Project = "sub"
		if name, err := BuildWheel(t.Context(), host{}, in, io.Discard); err != nil || name != "sub-1-py3-none-any.whl" {
			t.Error(name, err)
		}
	})
}

// An editable wheel leads to where the project lies in the end, and to nothing that
// only the build has.
func TestEditable(t *testing.T) {
	build := func(t *testing.T, script string) (string, error) {
		in := demo(t)
		in.At = filepath.Join(t.TempDir(), "srv", "app")
		if err := os.MkdirAll(filepath.Join(in.At, "src", "old"), 0o755); err != nil { // the base's own
			t.Fatal(err)
		}
		in.Source = tree(t, file("src/demo.py", ""), file("tools/backend.py", "import os\ndef build_editable(out, settings=None, metadata=None):\n"+script+`
    open(out + "/demo-1-py3-none-any.whl", "w").write(os.getcwd() + " " + " ".join(sorted(os.listdir("src"))))
    return "demo-1-py3-none-any.whl"
`))
		var b bytes.Buffer
		_, err := BuildEditable(t.Context(), host{}, in, &b)
		return strings.ReplaceAll(b.String(), in.At, "AT"), err
	}
	for _, c := range []struct{ name, script, want, err string }{
		{"in place", "    pass", "AT demo.py", ""},
		{"what is left over", `    for d in ("src/demo.egg-info", "build/lib", "src/__pycache__"):
        os.makedirs(d); open(d + "/x", "w").close()`, "AT __pycache__ demo.egg-info demo.py", ""},
		{"a file that it generates", "    open('src/_version.py', 'w').close()", "", "src/_version.py into the source tree"},
		{"a file that it changes", "    open('src/demo.py', 'w').write('x')", "", "src/demo.py into the source tree"},
		{"a tree of links", "    os.makedirs('build/__editable__.demo'); os.symlink('../../src/demo.py', 'build/__editable__.demo/demo.py')", "", "build/__editable__.demo/demo.py into the source tree"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := build(t, c.script)
			if c.err != "" {
				var failed *BuildError
				if !errors.As(err, &failed) || !strings.Contains(err.Error(), c.err) || !strings.Contains(failed.Hint(), "without -e") {
					t.Errorf("got error %v, want %s", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestBuildErrors(t *testing.T) {
	for _, test := range []struct {
		name          string
		change        func(*Input)
		stage, reason string // parts
		hint          string // part
	}{
		{"no back-end", func(in *Input) { in.BackendPath = nil }, "import", "ModuleNotFoundError: No module named 'backend'", "name what has backend in build-system.requires"},
		{"no object", func(in *Input) { in.Backend = "backend:none_such" }, "import", "AttributeError: module 'backend' has no attribute 'none_such'", ""},
		{"legacy", func(in *Input) { in.Backend, in.BackendPath = "", nil }, "import", "No module named 'setuptools'", "name what has setuptools"},
		{"path outside", func(in *Input) { in.BackendPath = []string{"../env"} }, "import", "backend-path '../env' leads out of the source tree", ""},
		{"back-end of elsewhere", func(in *Input) { in.Backend = "json" }, "import", "the back-end json is not in its backend-path", ""},
		{"no hook", func(in *Input) { in.Backend = "backend:none" }, "build_wheel", "the back-end has no hook build_wheel", ""},
		{"file outside", func(in *Input) { in.Backend = "backend:outside" }, "build_wheel", "build_wheel returned '../run/request.json', which is no file name", ""},
		{"no file", func(in *Input) { in.Backend = "backend:missing" }, "build_wheel", "it made no file missing-1-py3-none-any.whl: No such file or directory", ""},
		{"name", func(in *Input) { in.Backend = "backend:named" }, "build_wheel", "made a file with another name than a wheel's: ", ""},
		{"raises", func(in *Input) { in.Backend = "backend:raises" }, "build_wheel", "ValueError: no", "needs a compiler"},
		{"dies", func(in *Input) { in.Backend = "backend:dies" }, "run", "the build back-end was ended by signal 9", ""},
		{"imports", func(in *Input) { in.Backend = "backend:imports" }, "build_wheel", "No module named 'numpy_that_is_not_there'", "the build needs numpy_that_is_not_there"},
		{"interpreter", func(in *Input) { in.Interpreter = "/bin/false" }, "run", "exit status 1", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := demo(t)
			test.change(&in)
			_, err := BuildWheel(t.Context(), host{}, in, io.Discard)
			b, ok := errors.AsType[*BuildError](err)
			if !ok {
				t.Fatal(err)
			}
			if b.Stage != test.stage || !strings.Contains(b.Reason, test.reason) || strings.Contains(b.Error(), "\n") {
				t.Errorf("got %s: %s", b.Stage, b.Reason)
			}
			if !strings.Contains(b.Hint(), test.hint) || (test.hint == "") != (b.Hint() == "") {
				t.Errorf("hint %q", b.Hint())
			}
		})
	}
	for backend, want := range map[string]string{
		"backend:outside": "build back-end backend:outside: get_requires_for_build_wheel: asks for what is no requirement: ",
		"backend:raises":  "build back-end backend:raises: get_requires_for_build_wheel: SystemExit: no",
	} {
		in := demo(t)
		in.Backend = backend
		if _, err := Requires(t.Context(), host{}, in); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Error(err)
		}
	}
}

func TestHints(t *testing.T) {
	for tail, want := range map[string]string{
		"error: command 'gcc' failed: No such file or directory":                                                                "a compiler",
		"error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory":                                               "a compiler",
		"unable to execute 'cc': No such file or directory":                                                                     "a compiler",
		"FileNotFoundError: [Errno 2] No such file or directory: 'gcc'":                                                         "a compiler",
		"/bin/sh: 1: gcc: not found":                                                                                            "a compiler",
		"ERROR: Unknown compiler(s): [['cc'], ['gcc']]":                                                                         "a compiler",
		"CMake Error: No CMAKE_CXX_COMPILER could be found.":                                                                    "a compiler",
		"src/x.c:1:10: fatal error: Python.h: No such file or directory\nerror: command '/usr/bin/gcc' failed with exit code 1": "the Python's headers",
		"fatal error: libpq-fe.h: No such file or directory":                                                                    "headers with libpq-fe.h",
		"Error: pg_config executable not found.":                                                                                "needs pg_config",
		"error: can't find Rust compiler":                                                                                       "Rust",
		"Cargo, the Rust package manager, is not installed or is not on PATH.":                                                  "Rust",
		"<urlopen error [Errno -3] Temporary failure in name resolution>":                                                       "without a network",
		"ValueError: nothing known":                                                                                             "",
	} {
		e := &BuildError{Tail: tail}
		if got := e.Hint(); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %q", tail, got)
		}
	}
}

func TestRefusedTrees(t *testing.T) {
	for name, test := range map[string]struct {
		source, env layers.Tree
		want        string
	}{
		"device":    {source: tree(t, layers.Entry{Path: "null", Kind: layers.CharDevice}), want: "build a wheel: the source tree has a character device, null"},
		"link":      {source: tree(t, layers.Entry{Path: "l", Kind: layers.Hardlink, Link: "none"}), want: "build a wheel: l is a link to none, which is not there"},
		"elsewhere": {env: tree(t, file("usr/bin/tool", "")), want: "build a wheel: /usr of the build requirements is not below " + Dir + "/env/"},
		"short":     {source: tree(t, layers.Entry{Path: "s", Kind: layers.File, Size: 9, Content: layers.Bytes([]byte("x"))}), want: "read s: it has not the 9 bytes that it should"},
		"long":      {source: tree(t, layers.Entry{Path: "s", Kind: layers.File, Size: 1, Content: layers.Bytes([]byte("xy"))}), want: "read s: it has not the 1 bytes that it should"},
	} {
		_, err := Requires(t.Context(), answers{b: answerOf(`{"requires":[]}`, "")}, Input{Source: test.source, Environment: test.env})
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Requires(t.Context(), answers{}, Input{Env: []string{"x"}}); err == nil || err.Error() != `build a wheel: "x" is no environment variable` {
		t.Error(err)
	}
}

func answerOf(object, content string) []byte {
	return append(append(binary.LittleEndian.AppendUint32(nil, uint32(len(object))), object...), content...)
}

func TestAnswers(t *testing.T) {
	exit := errors.New("ended with status 1")
	for _, test := range []struct {
		name string
		answers
		want string // of the error
	}{
		{"good", answers{b: answerOf(`{"filename":"a-1-py3-none-any.whl","size":2}`, "ab")}, ""},
		{"nothing", answers{}, "run it: the answer ends early"},
		{"failed", answers{err: exit}, "run it: ended with status 1"},
		{"failed later", answers{b: answerOf(`{"filename":"a-1-py3-none-any.whl","size":2}`, "ab"), err: exit}, "run it: ended with status 1"},
		{"too large an object", answers{b: binary.LittleEndian.AppendUint32(nil, 1<<30)}, "run it: the answer has 1073741824 bytes, more than 1048576"},
		{"no object", answers{b: answerOf(`x`, "")}, "run it: the answer is not JSON: invalid character 'x' looking for beginning of value"},
		{"too large a wheel", answers{b: answerOf(`{"size":99999999999}`, "")}, "run it: the wheel has 99999999999 bytes, more than 2147483648"},
		{"negative", answers{b: answerOf(`{"size":-1}`, "")}, "run it: the wheel has -1 bytes, more than 2147483648"},
		{"no wheel", answers{b: answerOf(`{"requires":["x"]}`, "")}, "run it: the answer is another than the question"},
		{"cut", answers{b: answerOf(`{"filename":"a-1-py3-none-any.whl","size":3}`, "ab")}, "run it: the answer ends early"},
		{"more", answers{b: answerOf(`{"filename":"a-1-py3-none-any.whl","size":1}`, "ab")}, "run it: the answer goes on after its end"},
		{"path", answers{b: answerOf(`{"filename":"../a-1-py3-none-any.whl","size":2}`, "ab")}, "build a wheel: made a file with another name than a wheel's"},
		{"error", answers{b: answerOf(`{"error":"a\u001b[31mb\nc","stage":"x\u001b"}`, "")}, "build a wheel: a[31mb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			name, err := BuildWheel(t.Context(), test.answers, Input{Backend: "x"}, &b)
			if test.want == "" {
				if err != nil || name != "a-1-py3-none-any.whl" || b.String() != "ab" {
					t.Error(name, err, b.String())
				}
				return
			}
			e, ok := errors.AsType[*BuildError](err)
			if !ok || !strings.HasPrefix(e.Error(), "build back-end x: "+test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if e.Stage == "run" && e.Tail != "on its[31m standard error" {
				t.Errorf("tail %q", e.Tail)
			}
		})
	}
}

// broken is a writer that cannot write.
type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestFailures(t *testing.T) {
	cause := errors.New("cause")
	if _, err := BuildWheel(t.Context(), answers{b: answerOf(`{"filename":"a-1-py3-none-any.whl","size":2}`, "ab")}, Input{}, broken{cause}); err != cause {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := BuildWheel(ctx, host{}, demo(t), io.Discard); err != cause {
		t.Error(err)
	}
}

func TestTranscript(t *testing.T) {
	var log bytes.Buffer
	tr := &transcript{log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key != "msg" {
			return slog.Attr{}
		}
		return a
	}}))}
	for _, part := range []string{"one\ntw", "o\n\n", "\x1b[2Jthree"} {
		fmt.Fprint(tr, part)
	}
	tr.end()
	if diff := cmp.Diff("msg=one\nmsg=two\nmsg=[2Jthree\n", log.String()); diff != "" {
		t.Error(diff)
	}
	for range 2 * maxTail {
		fmt.Fprint(tr, "x")
	}
	fmt.Fprint(tr, "\nlast\n")
	tr.end()
	if got := tr.tail(); got != "last" {
		t.Errorf("%d bytes: %.20q", len(got), got)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(answerOf(`{"filename":"a-1-py3-none-any.whl","size":2}`, "ab"))
	f.Add(answerOf(`{"requires":["a>=1"],"stage":"x"}`, ""))
	f.Add(answerOf(`{"error":"no","module":"m","stage":"import"}`, ""))
	f.Add(binary.LittleEndian.AppendUint32(nil, maxAnswer))
	f.Fuzz(func(t *testing.T, b []byte) {
		var w bytes.Buffer
		if a, err := readAnswer(bytes.NewReader(b), &w); err == nil && a.Error == "" && (int64(w.Len()) != a.Size || a.Size == 0) {
			t.Errorf("%d bytes of %d", w.Len(), a.Size)
		}
		if a, err := readAnswer(bytes.NewReader(b), nil); err == nil && a.Size != 0 && a.Error == "" {
			t.Error(a.Size)
		}
	})
}
