package bytecode

import (
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
	"runtime"
	"strings"
	"sync"
	"testing"

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
	fmt.Fprintln(stderr, "Traceback:\nValueError: no")
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

func tree(t testing.TB, files map[string]string) layers.Tree {
	t.Helper()
	var entries []layers.Entry
	for p, text := range files {
		entries = append(entries, layers.Entry{Path: p, Kind: layers.File, Mode: 0o644, Size: int64(len(text)), Content: layers.Bytes([]byte(text)), Origin: "test"})
	}
	tr, err := layers.NewTree(entries)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// contents are the files of a tree.
func contents(t testing.TB, tr layers.Tree) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, e := range tr.Entries() {
		if e.Kind != layers.File {
			continue
		}
		b, err := tr.ReadFile(e.Path, maxPyc)
		if err != nil {
			t.Fatal(err)
		}
		files[e.Path] = string(b)
		if e.Mode != 0o644 || e.UID != 0 || e.GID != 0 {
			t.Errorf("%s is %o %d:%d", e.Path, e.Mode, e.UID, e.GID)
		}
	}
	return files
}

func compileAll(t testing.TB, python string, o Options, units ...Unit) []map[string]string {
	t.Helper()
	o.Interpreter = python
	all := make([]map[string]string, len(units))
	err := CompileAll(t.Context(), host{}, units, o, func(i int, pycs layers.Tree) error {
		if all[i] != nil {
			t.Errorf("unit %d came twice", i)
		}
		all[i] = contents(t, pycs)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What Python itself makes of a file, and that it runs.
func TestAsPyCompile(t *testing.T) {
	python, _ := interpreter(t)
	dir := t.TempDir()
	sources := map[string]string{
		"plain.py":         "import os\nx = {'a', 'b', 1, (2, 'c')}\ndef f(a, *, b=os.sep):\n    'doc'\n    return a in {1, 'x', 2.5, b'y'}\n",
		"empty.py":         "",
		"latin.py":         "# -*- coding: latin-1 -*-\ns = '\xe9'\n",
		"dotted.name.py":   "pass\n",
		"py2.py":           "print 'hello'\n",
		"template.py":      "import {{ name }}\n",
		"zero.py":          "x = 1\x00\n",
		"deep.py":          strings.Repeat("(", 5000) + strings.Repeat(")", 5000),
		"warns.py":         "x = '\\d'\nassert (1, 'x')\n",
		"data.txt":         "no source",
		"ünï/sub/there.py": "here = __file__\n",
	}
	var log bytes.Buffer
	handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
	got := compileAll(t, python, Options{Log: slog.New(handler)}, Unit{Tree: tree(t, prefixed(dir, sources))})[0]
	for name, text := range sources {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// A process for each file, as this depends on what was compiled before.
	want := map[string]string{}
	for name := range sources {
		cmd := exec.Command(python, "-W", "ignore", "-c", "import sys, py_compile; py_compile.compile(sys.argv[1], invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, quiet=2)", filepath.Join(dir, name))
		cmd.Env = []string{"PYTHONHASHSEED=0"}
		if !strings.HasSuffix(name, ".py") {
			continue
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatal(name, err, string(out))
		}
	}
	pycs, err := filepath.Glob(dir + "/__pycache__/*.pyc")
	if err != nil {
		t.Fatal(err)
	}
	deeper, _ := filepath.Glob(dir + "/*/*/__pycache__/*.pyc")
	for _, p := range append(pycs, deeper...) {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		want[strings.TrimPrefix(p, "/")] = string(b)
	}
	if len(want) != 6 {
		t.Errorf("Python compiled %d files", len(want))
	}
	for p := range want {
		if _, ok := got[p]; !ok {
			t.Errorf("%s is missing", p)
		}
		// The code: marshal's references differ with what a process holds.
		if got, want := load(t, python, got[p]), load(t, python, want[p]); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d files, want %d", len(got), len(want))
	}
	if n := strings.Count(log.String(), "does not compile"); n != 4 {
		t.Errorf("%d lines in the log: %s", n, &log)
	}
}

// load returns the head of a .pyc file and what is in its code.
func load(t *testing.T, python, pyc string) string {
	t.Helper()
	if len(pyc) < pycHead {
		return "nothing"
	}
	cmd := exec.Command(python, "-c", `
import marshal, sys
def show(c):
    yield (c.co_filename, c.co_name, c.co_code, c.co_names, c.co_varnames, c.co_flags, c.co_firstlineno)
    for x in c.co_consts:
        if isinstance(x, type(c)):
            yield from show(x)
        else:
            yield sorted(map(repr, x)) if isinstance(x, frozenset) else repr(x)
print(*show(marshal.loads(sys.stdin.buffer.read())))`)
	cmd.Stdin = strings.NewReader(pyc[pycHead:])
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err, string(out))
	}
	return fmt.Sprintf("%x %s", pyc[:pycHead], out)
}

func prefixed(dir string, files map[string]string) map[string]string {
	all := map[string]string{}
	for name, text := range files {
		all[strings.TrimPrefix(filepath.Join(dir, name), "/")] = text
	}
	return all
}

// module is a source whose names, numbers and strings nothing else has, unless it
// has the same n.
func module(n int) string {
	var b strings.Builder
	for i := range 30 {
		fmt.Fprintf(&b, "class Name%d_%d:\n    'text %d'\n    attribute_%d = %d.5, %d\n    def method_%d(self, argument_%d):\n"+
			"        return self.attribute_%d in {'x%d', 'y%d', %d} or os.path.join(argument_%d, 'z %d')\n", n, i, i, i, 1000+i, 7000+i, i, i, i, i, i, i, i, n)
	}
	return b.String()
}

// A unit's bytes are its own, whatever else is compiled, by how many at once.
func TestSameBytes(t *testing.T) {
	python, _ := interpreter(t)
	unit := func(n int) Unit {
		files := map[string]string{}
		for i := range 40 {
			files[fmt.Sprintf("app/unit%d/m%02d.py", n, i)] = module(n + i)
		}
		files[fmt.Sprintf("app/unit%d/large.py", n)] = strings.Repeat(module(n), 60)
		return Unit{Name: fmt.Sprint(n), Tree: tree(t, files)}
	}
	a, b, c := unit(0), unit(1), unit(20)
	alone := compileAll(t, python, Options{}, a)[0]
	if len(alone) != 41 {
		t.Fatalf("there are %d files", len(alone))
	}
	for name, got := range map[string]map[string]string{
		"again":       compileAll(t, python, Options{}, a)[0],
		"before":      compileAll(t, python, Options{}, a, b, c)[0],
		"after":       compileAll(t, python, Options{}, c, b, a)[2],
		"one by one":  compileAll(t, python, Options{Workers: 1}, b, a)[1],
		"many others": compileAll(t, python, Options{Workers: 7}, b, c, b, c, a)[4],
	} {
		if diff := cmp.Diff(alone, got); diff != "" {
			t.Error(name, "differs")
		}
	}
}

// Before 3.11 some constants are written in the order of addresses, and nothing is
// kept that would be another every time.
func TestUnsteady(t *testing.T) {
	python, version := interpreter(t)
	sources := tree(t, map[string]string{
		"in.py": "def f(x):\n    return x in {1, None}\n", "nested.py": "x = lambda y: y in {'a', (1, (2, ...))}\n", "steady.py": "x = y in {1, 'a', (2, b'')}\n",
	})
	want := 3
	if version == "3.9" || version == "3.10" {
		want = 1
	}
	if got := compileAll(t, python, Options{}, Unit{Tree: sources})[0]; len(got) != want {
		t.Errorf("%d files, want %d", len(got), want)
	}
}

func TestCompile(t *testing.T) {
	python, _ := interpreter(t)
	var b bytes.Buffer
	if err := Compile(t.Context(), host{}, python, tree(t, map[string]string{"app/m.py": "x = 1\n"}), &b); err != nil {
		t.Fatal(err)
	}
	tr, err := layers.ReadTar(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	if got := contents(t, tr); len(got) != 1 {
		t.Error(got)
	}
}

func TestNothingToCompile(t *testing.T) {
	var got []int
	err := CompileAll(t.Context(), nil, []Unit{{}, {Tree: tree(t, map[string]string{"a.txt": "", ".py": ""})}}, Options{}, func(i int, pycs layers.Tree) error {
		if pycs.Len() != 0 {
			t.Error(i, pycs.Len())
		}
		got = append(got, i)
		return nil
	})
	if diff := cmp.Diff([]int{0, 1}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// answer is one for the sources a.py and b.py.
func answer(parts ...any) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			_ = binary.Write(&b, binary.LittleEndian, uint32(p))
		case string:
			b.WriteString(p)
		}
	}
	return b.Bytes()
}

const (
	goodHead = "\x0b\x00\x00\x00cpython-311\xa7\x0d\x0d\x0a"
	goodPyc  = "\xa7\x0d\x0d\x0a\x01\x00\x00\x00hashhashN"
)

func twoSources(t testing.TB) []Unit {
	return []Unit{{Name: "two", Tree: tree(t, map[string]string{"a.py": "", "b.py": ""})}}
}

func TestAnswers(t *testing.T) {
	exit := errors.New("ended with status 1")
	for _, test := range []struct {
		name string
		answers
		want string // of the error
	}{
		{"good", answers{b: answer(goodHead, 0, 17, 0, goodPyc, end)}, ""},
		{"nothing", answers{}, "the answer ends early"},
		{"failed at once", answers{err: exit}, "ended with status 1"},
		{"failed at the end", answers{b: answer(goodHead, 0, 17, 0, goodPyc, end), err: exit}, "ended with status 1"},
		{"long tag", answers{b: answer(1 << 30)}, "the answer has no cache tag"},
		{"path in the tag", answers{b: answer(8, "../../x1")}, `the answer has the cache tag "../../x1"`},
		{"no magic number", answers{b: answer(11, "cpython-311", "abcd")}, "the answer has the magic number 61626364"},
		{"unknown batch", answers{b: answer(goodHead, 1)}, "the answer has a batch 1 that is not expected"},
		{"batch twice", answers{b: answer(goodHead, 0, 0, 0, 0)}, "the answer has a batch 0 that is not expected"},
		{"no batch", answers{b: answer(goodHead, end)}, "the answer lacks batch 0"},
		{"cut", answers{b: answer(goodHead, 0, 17, 0, goodPyc[:9])}, "the answer ends early"},
		{"too large", answers{b: answer(goodHead, 0, maxPyc+1, 0)}, "the bytecode of a.py has 67108865 bytes, more than 67108864"},
		{"other magic number", answers{b: answer(goodHead, 0, 17, 0, "b"+goodPyc[1:])}, "the bytecode of a.py has a wrong head"},
		{"by time", answers{b: answer(goodHead, 0, 17, 0, goodPyc[:4]+"\x00"+goodPyc[5:])}, "the bytecode of a.py has a wrong head"},
		{"short", answers{b: answer(goodHead, 0, 16, 0, goodPyc[:16])}, "the bytecode of a.py has a wrong head"},
		{"more", answers{b: answer(goodHead, 0, 0, 0, end, "x")}, "the answer goes on after its end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := CompileAll(t.Context(), test.answers, twoSources(t), Options{Interpreter: "/usr/bin/python3"}, func(_ int, pycs layers.Tree) error {
				if diff := cmp.Diff(map[string]string{"__pycache__/a.cpython-311.pyc": goodPyc}, contents(t, pycs)); diff != "" && test.want == "" {
					t.Error(diff)
				}
				return nil
			})
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Error() != "compile bytecode with /usr/bin/python3: "+test.want+": ValueError: no" || !strings.HasPrefix(e.Tail, "Traceback") {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// failing is a content that cannot be read.
type failing struct{ err error }

func (f failing) Open() (io.ReadCloser, error) { return nil, f.err }

func TestFailures(t *testing.T) {
	python, _ := interpreter(t)
	cause := errors.New("cause")
	never := func(int, layers.Tree) error { return nil }
	unread, err := layers.NewTree([]layers.Entry{{Path: "a.py", Kind: layers.File, Mode: 0o644, Size: 3, Content: failing{cause}}})
	if err != nil {
		t.Fatal(err)
	}
	short, err := layers.NewTree([]layers.Entry{{Path: "a.py", Kind: layers.File, Mode: 0o644, Size: 3, Content: layers.Bytes([]byte("x"))}})
	if err != nil {
		t.Fatal(err)
	}
	if err := CompileAll(t.Context(), host{}, []Unit{{Tree: unread}}, Options{Interpreter: python}, never); !errors.Is(err, cause) {
		t.Error(err)
	}
	if err := CompileAll(t.Context(), host{}, []Unit{{Tree: short}}, Options{Interpreter: python}, never); err == nil || err.Error() != "read a.py: it has not the 3 bytes that it should" {
		t.Error(err)
	}
	err = CompileAll(t.Context(), host{}, twoSources(t), Options{Interpreter: python}, func(int, layers.Tree) error { return cause })
	if err != cause {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := CompileAll(ctx, host{}, twoSources(t), Options{Interpreter: python}, never); err != cause {
		t.Error(err)
	}
	err = CompileAll(t.Context(), host{}, twoSources(t), Options{Interpreter: "/bin/false"}, never)
	if e, ok := errors.AsType[*Error](err); !ok {
		t.Error(e)
	}
}

func TestStandardLibrary(t *testing.T) {
	view := tree(t, map[string]string{
		"usr/lib/python3.13/os.py": "x", "usr/lib/python3.13/json/decoder.py": "", "usr/lib/python3.13/readme.txt": "",
		"usr/lib/python3.13/test/test_os.py": "", "usr/lib/python3.13/idlelib/idle_test/a.py": "", "usr/lib/python3.13/site-packages/a.py": "",
		"usr/lib/python3.13/done.py": "", "usr/lib/python3.13/__pycache__/done.cpython-313.pyc": "",
		"usr/lib/python3.13/half.py": "", "usr/lib/python3.13/__pycache__/half.cpython-313.opt-1.pyc": "",
		"usr/lib/python3.13/__pycache__/os.other.cpython-313.pyc": "",
		"etc/python3.13/sitecustomize.py":                         "site", "usr/lib/python3.12/os.py": "",
	})
	links, err := layers.NewTree([]layers.Entry{
		{Path: "usr/lib/python3.13/sitecustomize.py", Kind: layers.Symlink, Link: "/etc/python3.13/sitecustomize.py"},
		{Path: "usr/lib/python3.13/nowhere.py", Kind: layers.Symlink, Link: "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := StandardLibrary(layers.Overlay(view, links), "/usr/lib/python3.13")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"usr/lib/python3.13/os.py": "x", "usr/lib/python3.13/json/decoder.py": "", "usr/lib/python3.13/half.py": "", "usr/lib/python3.13/sitecustomize.py": "site"}
	if diff := cmp.Diff(want, contents(t, got)); diff != "" {
		t.Error(diff)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(answer(goodHead, 0, 17, 0, goodPyc, end))
	f.Add(answer(goodHead, 0, 17, 17, goodPyc, goodPyc, end))
	f.Add(answer(goodHead, 0, maxPyc, 0, goodPyc))
	f.Add([]byte{})
	units := twoSources(f)
	batches, err := plan(units, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &collector{units: units, batches: batches, left: []int{1}, pycs: make([][]layers.Entry, 1), done: func(_ int, pycs layers.Tree) error {
			for p, text := range contents(t, pycs) {
				name := strings.TrimPrefix(p, "__pycache__/")
				if strings.Contains(name, "/") || (!strings.HasPrefix(name, "a.") && !strings.HasPrefix(name, "b.")) || len(text) > len(b) {
					t.Error(p)
				}
			}
			return nil
		}}
		_ = c.read(bytes.NewReader(b))
	})
}
