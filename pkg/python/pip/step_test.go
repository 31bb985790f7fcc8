package pip

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// inImage gives options that read the files of an image, by absolute path. A
// path that ends in a slash is an empty directory.
func inImage(dir string, env map[string]string, files map[string]string) ParseOptions {
	image := fstest.MapFS{}
	for name, text := range files {
		file := &fstest.MapFile{Data: []byte(text)}
		if strings.HasSuffix(name, "/") {
			file.Mode = fs.ModeDir | 0o755
		}
		image[strings.Trim(name, "/")] = file
	}
	rel := func(name string) string { return path.Join(".", strings.TrimPrefix(path.Clean(name), "/")) }
	return ParseOptions{
		Dir: dir, Env: env, PythonPrefix: "/usr/local", PythonVersion: "3.12",
		ReadFile: func(name string) ([]byte, error) { return image.ReadFile(rel(name)) },
		ReadDir:  func(name string) ([]fs.DirEntry, error) { return image.ReadDir(rel(name)) },
	}
}

// brief words a step in a line.
func brief(s Step) string {
	switch {
	case s.Install != nil:
		in := s.Install
		words := slices.Concat(in.Requirements, in.Paths, in.URLs, in.Editable, in.Files)
		return strings.TrimRight(in.Tool.String()+" "+strings.Join(words, ",")+" > "+in.Interpreter, "> ") + " @" + s.Dir
	case s.Sync != nil:
		return s.Sync.Tool.String() + " sync " + s.Sync.Project + " > " + s.Sync.Environment
	case s.Venv != nil:
		return s.Venv.Tool.String() + " " + s.Venv.Dir
	}
	return "write " + s.Write.Path
}

func TestParseSteps(t *testing.T) {
	venv := map[string]string{"/opt/venv/pyvenv.cfg": "", "/opt/venv/bin/activate": "", "/opt/venv/bin/pip": "", "/opt/venv/bin/python3": "",
		"/app/": "", "/app/sub/": "", "/usr/local/bin/pip": "", "/usr/local/bin/python3": ""}
	env := map[string]string{"PATH": "/usr/local/bin:/usr/bin"}
	for _, tt := range []struct {
		line string
		want []string
	}{
		{"pip install x", []string{"pip x @/"}},
		{"cd /app && pip install .", []string{"pip . @/app"}},
		{"cd /app/sub; cd ..; pip install -e .", []string{"pip . @/app"}},
		{"cd app && pip install ./sub", []string{"pip ./sub @/app"}},
		{"(cd /app && pip install .) && pip install y", []string{"pip . @/app", "pip y @/"}},
		{"{ cd /app; pip install .; }", []string{"pip . @/app"}},
		{"cd /app && pip install $PWD/sub", []string{"pip /app/sub @/app"}},
		{"set -eux; export X=1; unset X; pip install x${X:-y}", []string{"pip xy @/"}},
		{"pip install x >/dev/null 2>&1", []string{"pip x @/"}},
		{"pip install x 2>/dev/null", []string{"pip x @/"}},
		{"sh -c 'cd /app && pip install .' && pip install y", []string{"pip . @/app", "pip y @/"}},
		{"pip --version && python3 -V && pip install x && pip list && echo done", []string{"pip x @/"}},
		{"pip install --upgrade pip", []string{"pip pip @/"}},
		{"pip install x && rm -rf /root/.cache/uv ~/.cache/pypoetry", []string{"pip x @/"}},

		{"python3 -m venv /opt/v && /opt/v/bin/pip install x", []string{"venv /opt/v", "pip x > /opt/v/bin/python3 @/"}},
		{"python3 -m venv v && ./v/bin/python -m pip install x", []string{"venv /v", "pip x > /v/bin/python @/"}},
		{"python3 -m venv /opt/v && . /opt/v/bin/activate && pip install x", []string{"venv /opt/v", "pip x > /opt/v/bin/python3 @/"}},
		{"python3 -m venv /opt/v && PATH=/opt/v/bin:$PATH pip install x", []string{"venv /opt/v", "pip x > /opt/v/bin/python3 @/"}},
		{"virtualenv -p python3.12 /opt/v && source /opt/v/bin/activate && python -m pip install x && deactivate && pip install y",
			[]string{"virtualenv /opt/v", "pip x > /opt/v/bin/python @/", "pip y @/"}},
		{". /opt/venv/bin/activate && pip install x", []string{"pip x > /opt/venv/bin/python3 @/"}},
		{"(. /opt/venv/bin/activate && pip install x) && pip install y", []string{"pip x > /opt/venv/bin/python3 @/", "pip y @/"}},
		{"uv venv /opt/v && . /opt/v/bin/activate && uv pip install x", []string{"uv /opt/v", "uv x > /opt/v/bin/python3 @/"}},
		{"uv venv /opt/v && . /opt/v/bin/activate && pip install x", []string{"uv /opt/v", "pip x @/"}}, // it has no pip
		{"uv venv --seed /opt/v && . /opt/v/bin/activate && pip install x", []string{"uv /opt/v", "pip x > /opt/v/bin/python3 @/"}},
		{"uv venv && uv pip install x", []string{"uv /.venv", "uv x > /.venv/bin/python3 @/"}},
		{"cd app; uv venv && cd sub && uv pip install x", []string{"uv /app/.venv", "uv x > /app/.venv/bin/python3 @/app/sub"}},
		{"VIRTUAL_ENV=/opt/venv uv pip install x", []string{"uv x > /opt/venv/bin/python3 @/"}},
		{"VIRTUAL_ENV=/opt/venv uv pip install --system x", []string{"uv x @/"}},
		{"pip --python /opt/venv install x", []string{"pip x > /opt/venv/bin/python3 @/"}},
		{"uv pip install --python /opt/venv x", []string{"uv x > /opt/venv/bin/python3 @/"}},
		{"uv pip install -p=/opt/venv/bin/python3.12 x", []string{"uv x > /opt/venv/bin/python3.12 @/"}},
		{"uv --directory app pip install .", []string{"uv . @/app"}},
		{"python -m uv pip sync --system a.txt b.txt", []string{"uv a.txt,b.txt @/"}},
		{"python -m venv a b", []string{"venv /a", "venv /b"}},
		{"poetry config virtualenvs.create false && cd app && poetry install", []string{"write /root/.config/pypoetry/config.toml", "poetry sync /app >"}},
	} {
		t.Run(tt.line, func(t *testing.T) {
			steps, err := ParseSteps(tt.line, inImage("", env, venv))
			var got []string
			for _, s := range steps {
				got = append(got, strings.TrimSpace(brief(s)))
				if s.Line == 0 || s.Env["PATH"] == "" || !path.IsAbs(s.Dir) {
					t.Errorf("step %s is on line %d in %q, with PATH=%s", brief(s), s.Line, s.Dir, s.Env["PATH"])
				}
			}
			if (err != nil) != (tt.want == nil) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseStepsRefused(t *testing.T) {
	files := map[string]string{"/app/": "", "/usr/bin/activate": "", "/cache/x": "", "/root/.cache/pypoetry/virtualenvs/app/": "",
		"/root/.config/virtualenv/virtualenv.ini": "[virtualenv]\n"}
	for _, tt := range []struct{ line, word string }{
		{"pip install x || true", "||"},
		{"pip install x | tee log", "|"},
		{"pip install x > log", ">log"},
		{"pip freeze > requirements.txt", ">requirements.txt"},
		{"pipenv requirements > requirements.txt", ">requirements.txt"},
		{"pip install x <in", "<in"},
		{"cd /nowhere && pip install x", "/nowhere"},
		{"cd - && pip install x", "cd -"},
		{"pushd /app", "pushd"},
		{"if grep x y; then pip install x; fi", "grep x y"},
		{". ./env.sh && pip install x", ". ./env.sh"},
		{". /usr/bin/activate", "/usr/bin/activate"}, // no virtual environment
		{". /opt/none/bin/activate", "/opt/none/bin/activate"},
		{"deactivate", "deactivate"},
		{"rm -rf /root/.cache", "rm /root/.cache"}, // an environment of Poetry's is in it
		{"rm -rf /cache", "rm /cache"},
		{"rm -rf .cache", "rm .cache"},
		{"apt-get update && pip install x", "apt-get"},
		{"python app.py", "python app.py"},
		{"python -c 'x'", "python -c x"},
		{"python -m http.server", "python -m http.server"},
		{"pip download x", "pip download"},
		{"pip install --dry-run x", "--dry-run"},
		{"pip install --report r x", "--report"},
		{"uv lock", "uv lock"},
		{"uv run app", "uv run"},
		{"uv pip compile x", "uv pip compile"},
		{"uv pip install --extra y x", "--extra"},
		{"uv sync extra", "extra"},
		{"uv sync --script x.py", "--script"},
		{"uv sync --froze", "--froze"},
		{"uv sync --frozen --locked", "--frozen"},
		{"uv sync --python-platform linux", "--python-platform"},
		{"poetry update", "poetry update"},
		{"poetry install flask", "flask"},
		{"poetry install --onl main", "--onl"},
		{"poetry install --only-root --no-root", "--only-root"},
		{"poetry config virtualenvs.make false", "virtualenvs.make"},
		{"poetry config virtualenvs.create no", "virtualenvs.create"},
		{"poetry config virtualenvs.create", "virtualenvs.create"},
		{"poetry config --list", "--list"},
		{"poetry install", "poetry"}, // the environment's place depends on the project
		{"pipenv install flask", "flask"},
		{"pipenv install -r x.txt", "-r"},
		{"pipenv install --skip-lock --deploy", "--skip-lock"},
		{"pipenv lock", "pipenv lock"},
		{"python -m venv", "python -m venv"},
		{"python -m venv --upgrade v", "--upgrade"},
		{"python -m venv --copies --symlinks v", "--copies"},
		{"python -m ensurepip", "ensurepip"},
		{"python -m ensurepip --root x", "--root"},
		{"uv venv a b", "b"},
		{"uv venv -p pypy", "--python"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			o := inImage("/app", map[string]string{"UV_CACHE_DIR": "/cache"}, files)
			if strings.HasPrefix(tt.line, "poetry install") {
				o.PythonVersion = ""
			}
			_, err := ParseSteps(tt.line, o)
			var notPip *NotPipError
			var word *WordError
			got := ""
			if errors.As(err, &notPip) {
				got = notPip.Word
			} else if errors.As(err, &word) {
				got = word.Word
			}
			if got != tt.word {
				t.Errorf("the error is %v, of %q; want one of %q", err, got, tt.word)
			}
		})
	}
	var e *ConfigError
	if _, err := ParseSteps("virtualenv v", inImage("", nil, files)); !errors.As(err, &e) {
		t.Errorf("virtualenv.ini gives %v", err)
	}
}

// Errors in and steps of an inner shell are on the lines of the outer text.
func TestParseStepsLines(t *testing.T) {
	steps, err := ParseSteps("set -e\n\npip install a\nsh -c '\npip install b'\n# note\npip install \\\n c\n", ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, s := range steps {
		got = append(got, s.Line)
		if s.Line != s.Install.Line {
			t.Errorf("the step is on line %d, its install on line %d", s.Line, s.Install.Line)
		}
	}
	if diff := cmp.Diff([]int{3, 5, 7}, got); diff != "" {
		t.Error(diff)
	}
	_, err = ParseSteps("pip install a\nsh -c 'pip install b\napt-get x'", ParseOptions{})
	var e *NotPipError
	if !errors.As(err, &e) || e.Line != 3 {
		t.Errorf("the error is %v on line %d, want line 3", err, e.Line)
	}
}

func TestParseStepsInstall(t *testing.T) {
	for _, tt := range []struct {
		line string
		want func(*Install)
	}{
		{"pip install --group dev --group sub/pyproject.toml:test --build-constraint b.txt", func(in *Install) {
			in.Groups = []Group{{Name: "dev"}, {Name: "test", File: "sub/pyproject.toml"}}
			in.BuildConstraints = []string{"b.txt"}
		}},
		{"pip install -r pylock.toml", func(in *Install) { in.Files = []string{"pylock.toml"} }},
		{`pip install ".[dev,test]" './pkg[extra]' -e '.[all]' --config-settings a=b`, func(in *Install) {
			in.Paths, in.Editable, in.ConfigSettings = []string{".[dev,test]", "./pkg[extra]"}, []string{".[all]"}, []string{"a=b"}
		}},
		{"pip install git+https://example.com/x.git@v1 'y @ git+https://example.com/y.git'", func(in *Install) {
			in.URLs, in.Requirements = []string{"git+https://example.com/x.git@v1"}, []string{"y @ git+https://example.com/y.git"}
		}},
		{"uv pip install -r pyproject.toml --extra a --extra b --group dev -b c.txt", func(in *Install) {
			in.Tool, in.Program, in.Compile = UV, "uv pip", false
			in.Files, in.Extras, in.Groups, in.BuildConstraints = []string{"pyproject.toml"}, []string{"a", "b"}, []Group{{Name: "dev"}}, []string{"c.txt"}
		}},
		{"uv pip sync --system pylock.toml --all-extras --compile", func(in *Install) {
			in.Tool, in.Program, in.System, in.Sync, in.AllExtras = UV, "uv pip", true, true, true
			in.Files = []string{"pylock.toml"}
		}},
		{"UV_COMPILE_BYTECODE=1 uv pip install --system -r r.txt", func(in *Install) {
			in.Tool, in.Program, in.System, in.Files = UV, "uv pip", true, []string{"r.txt"}
		}},
	} {
		t.Run(tt.line, func(t *testing.T) {
			steps, err := ParseSteps(tt.line, ParseOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := Install{Tool: Pip, Program: "pip", Line: 1, Compile: true}
			tt.want(&want)
			if diff := cmp.Diff(want, *steps[0].Install); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEnsurepip(t *testing.T) {
	dir := "/usr/local/lib/python3.12/ensurepip/_bundled"
	o := inImage("", map[string]string{"PIP_INDEX_URL": "https://not.example/"}, map[string]string{dir + "/pip-24.0-py3-none-any.whl": ""})
	steps, err := ParseSteps("python3 -m ensurepip --upgrade", o)
	if err != nil {
		t.Fatal(err)
	}
	want := Install{Tool: Pip, Program: "python3 -m ensurepip", Python: "3", Line: 1, Compile: true, Isolated: true, Upgrade: true,
		Requirements: []string{"pip"}, WithoutScripts: []string{"pip"},
		Config: Config{NoIndex: Setting[bool]{true, "ensurepip"}, FindLinks: []Setting[string]{{dir, "ensurepip"}}}}
	if diff := cmp.Diff(want, *steps[0].Install); diff != "" {
		t.Error(diff)
	}
}

func TestParseStepsArgs(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"python3", "-m", "venv", "/opt/my venv"}, "venv /opt/my venv"},
		{[]string{"sh", "-ec", "cd /app && uv sync"}, "uv sync /app > /app/.venv"},
		{[]string{"cd", "/app"}, ""},
		{[]string{"deactivate"}, ""},
	} {
		steps, err := ParseStepsArgs(tt.args, ParseOptions{})
		if tt.want == "" {
			if err == nil {
				t.Errorf("%q gives no error", tt.args)
			}
			continue
		}
		if err != nil || len(steps) != 1 || brief(steps[0]) != tt.want {
			t.Errorf("%q gives %v, %v; want %q", tt.args, steps, err, tt.want)
		}
	}
}

func FuzzParseSteps(f *testing.F) {
	for _, s := range []string{
		"cd /app && pip install .", "(. /opt/venv/bin/activate; pip install x) >/dev/null", "uv sync --frozen --no-dev --group a",
		"poetry config virtualenvs.create false\npoetry install --only main -n -C sub", "poetry config --local installer.no-binary a,b",
		"pipenv install --system --deploy --categories 'a b'", "python -m venv --prompt . v && v/bin/pip install x",
		"uv venv -p=3.12 && uv pip sync r.txt", "sh -c 'sh -c \"pip install x\"'", "virtualenv --pip none x; rm -rf ~/.cache/uv",
		"python3 -m ensurepip && { pip install --group a:b; }", "poetry config http-basic.a b c; poetry config cache-dir.x y",
	} {
		f.Add(s)
	}
	files := map[string]string{"/app/pyproject.toml": "[project]\nname='x'\n[tool.uv.workspace]\nmembers=['*']\n", "/app/Pipfile": "[packages]\n",
		"/opt/venv/pyvenv.cfg": "", "/app/sub/pyproject.toml": "[tool.poetry]\nname='y'\n"}
	f.Fuzz(func(t *testing.T, line string) {
		o := inImage("/app", map[string]string{"A": "b c", "PATH": "/usr/local/bin"}, files)
		before := maps.Clone(o.Env)
		steps, err := ParseSteps(line, o)
		if !maps.Equal(before, o.Env) {
			t.Errorf("%q changes the environment it was given", line)
		}
		if err != nil {
			var notPip *NotPipError
			var word *WordError
			var config *ConfigError
			if steps != nil || !errors.As(err, &notPip) && !errors.As(err, &word) && !errors.As(err, &config) {
				t.Errorf("%q gives %d steps and %T", line, len(steps), err)
			}
			return
		}
		for _, s := range steps {
			if set := countSet(s.Install != nil, s.Sync != nil, s.Venv != nil, s.Write != nil); set != 1 {
				t.Errorf("%q gives a step with %d kinds", line, set)
			}
			if s.Install != nil && s.Install.IsEmpty() {
				t.Errorf("%q gives an install of nothing", line)
			}
			for _, name := range absolutePaths(s) {
				if name != "" && (!path.IsAbs(name) || path.Clean(name) != name) {
					t.Errorf("%q gives the path %q", line, name)
				}
			}
		}
	})
}

func countSet(flags ...bool) (n int) {
	for _, f := range flags {
		if f {
			n++
		}
	}
	return n
}

// absolutePaths are the paths of a step that must be absolute and clean.
func absolutePaths(s Step) []string {
	paths := []string{s.Dir}
	switch {
	case s.Install != nil:
		paths = append(paths, s.Install.Interpreter)
	case s.Sync != nil:
		paths = append(paths, s.Sync.Project, s.Sync.LockFile, s.Sync.Environment, s.Sync.Interpreter)
		if v := s.Sync.Venv; v != nil {
			paths = append(paths, v.Dir, v.Interpreter)
		}
	case s.Venv != nil:
		paths = append(paths, s.Venv.Dir, s.Venv.Interpreter)
	default:
		paths = append(paths, s.Write.Path)
	}
	return paths
}

// Conditions over variables and files of the image are decided as the shell
// does.
func TestConditions(t *testing.T) {
	files := fstest.MapFS{"app/dev.txt": {}, "app/sub/x": {}}
	read := func(name string) ([]byte, error) { return fs.ReadFile(files, strings.TrimPrefix(name, "/")) }
	list := func(name string) ([]fs.DirEntry, error) {
		return fs.ReadDir(files, path.Join(".", strings.TrimPrefix(name, "/")))
	}
	for _, tt := range []struct{ line, want string }{
		{`if [ "$MODE" = "dev" ]; then pip install a; fi`, "a"},
		{`if [ "$MODE" = "prod" ]; then pip install a; fi`, ""},
		{`if [ $MODE != dev ]; then pip install a; else pip install b; fi`, "b"},
		{`if [ "$MODE" = prod ]; then pip install a; elif test -n "$MODE"; then pip install b; else pip install c; fi`, "b"},
		{`if [ -z "$UNSET" ] && [ "$N" -gt 2 ]; then pip install a; fi && pip install d`, "a d"},
		{`if ! [ -f dev.txt ] || [ -d nothere ]; then pip install a; fi; pip install d`, "d"},
		{`if [ -f dev.txt ]; then pip install a; fi`, "a"},
		{`if [ -f sub ]; then pip install a; fi`, ""},
		{`if [ -d /app/sub ] && [ -e sub/x ] && [ ! -e sub/y ]; then pip install a; fi`, "a"},
		{`[ -f dev.txt ] && pip install a`, "a"},
		{`[ -f nothere ] && pip install a; pip install d`, "d"},
		{`[ -f nothere ] && pip install a || true`, ""},
		{`[ -f nothere ] || pip install a`, "a"},
		{`test -f dev.txt || pip install a`, ""},
		{`python3 -m venv v && if [ -d v ]; then pip install a; fi`, "venv a"},
		{`if false; then apt-get update; fi`, ""}, // it is never run
	} {
		steps, err := ParseSteps(tt.line, ParseOptions{Dir: "/app", Env: map[string]string{"MODE": "dev", "N": "3"}, ReadFile: read, ReadDir: list})
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		var got []string
		for _, s := range steps {
			if s.Venv != nil {
				got = append(got, "venv")
			} else {
				got = append(got, s.Install.Requirements...)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: installs %q, not %q", tt.line, got, tt.want)
		}
	}
	for _, tt := range []struct{ line, want string }{
		{`[ -f nothere ] && pip install a`, "is not so"},
		{`[ -f dev.txt ] && pip install a || true`, "||"},
		{`if pip install a; then pip install b; fi`, "pip install a"},
		{`if [ "$MODE" -lt x ]; then pip install a; fi`, "not understood"},
		{`if [ $UNSET = x ]; then pip install a; fi`, "not understood"},
		{`if [ a -o b ]; then pip install a; fi`, "not understood"},
		{`if [ -f dev.txt ]; then make; fi`, "make"},
		{`if [[ a == a ]]; then pip install a; fi`, "[["},
	} {
		if _, err := ParseSteps(tt.line, ParseOptions{Dir: "/app", Env: map[string]string{"MODE": "dev"}, ReadFile: read, ReadDir: list}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, not %s", tt.line, err, tt.want)
		}
	}
	// Before the image is known both branches must be understood.
	if _, err := ParseSteps("if [ -f x ]; then pip install a; else make; fi", ParseOptions{}); err == nil {
		t.Error("a branch that may be taken was not read")
	}
}
