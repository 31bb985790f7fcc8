package pip

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// one parses a line that must be one install.
func one(t *testing.T, line string, o ParseOptions) Install {
	t.Helper()
	steps, err := ParseSteps(line, o)
	if err != nil {
		t.Fatalf("ParseSteps(%q): %v", line, err)
	}
	if len(steps) != 1 || steps[0].Install == nil {
		t.Fatalf("ParseSteps(%q) gives %d steps, want 1 install", line, len(steps))
	}
	return *steps[0].Install
}

func TestParseRequirements(t *testing.T) {
	env := map[string]string{"VERSION": "3.1.3", "EXTRA": "async", "LIST": "flask boto3", "EMPTY": ""}
	for _, tt := range []struct {
		line string
		want []string
	}{
		{"pip install flask", []string{"flask"}},
		{"pip3 install flask==3.1.3 'boto3>=1.30,<2'", []string{"flask==3.1.3", "boto3>=1.30,<2"}},
		{"pip3.12 install flask", []string{"flask"}},
		{"/opt/venv/bin/pip install flask", []string{"flask"}},
		{"python -m pip install flask", []string{"flask"}},
		{"python3 -m pip install flask", []string{"flask"}},
		{"/usr/local/bin/python3.13 -m pip install flask", []string{"flask"}},
		{"uv pip install --system flask", []string{"flask"}},
		{"pip --no-cache-dir -q install flask", []string{"flask"}},
		{"pip install flask[async]", []string{"flask[async]"}},
		{`pip install "uvicorn[standard]>=0.30"`, []string{"uvicorn[standard]>=0.30"}},
		{"pip install 'tomli; python_version < \"3.11\"'", []string{`tomli; python_version < "3.11"`}},
		{"pip install -U pip setuptools wheel", []string{"pip", "setuptools", "wheel"}},
		{"pip install \\\n    flask \\\n    boto3\n", []string{"flask", "boto3"}},
		{"pip install flask==$VERSION", []string{"flask==3.1.3"}},
		{"pip install flask==${VERSION}", []string{"flask==3.1.3"}},
		{"pip install \"flask[${EXTRA}]==${MISSING:-3.0}\"", []string{"flask[async]==3.0"}},
		{"pip install $LIST", []string{"flask", "boto3"}},
		{"pip install flask $EMPTY", []string{"flask"}},
		{"V=2.0; pip install flask==$V", []string{"flask==2.0"}},
		{"export V=2.0 && pip install flask==$V", []string{"flask==2.0"}},
		{"PIP_NO_CACHE_DIR=1 pip install flask", []string{"flask"}},
		{"set -ex; pip install flask", []string{"flask"}},
		{"set -euxo pipefail\npip install flask", []string{"flask"}},
		{"pip install flask && pip cache purge", []string{"flask"}},
		{"pip install flask && rm -rf ~/.cache/pip", []string{"flask"}},
		{"pip install flask && rm -rf /root/.cache", []string{"flask"}},
		{"pip install 'pkg @ https://example.com/pkg-1.0-py3-none-any.whl'", []string{"pkg @ https://example.com/pkg-1.0-py3-none-any.whl"}},
		{"pip install pkg@https://example.com/pkg-1.0-py3-none-any.whl", []string{"pkg@https://example.com/pkg-1.0-py3-none-any.whl"}},
		{"pip install -- flask", []string{"flask"}},
		{"pip install flask # the framework", []string{"flask"}},
	} {
		t.Run(tt.line, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, one(t, tt.line, ParseOptions{Env: env}).Requirements); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseOptions(t *testing.T) {
	for _, tt := range []struct {
		line string
		want func(*Install)
	}{
		{"pip install -r requirements.txt", func(in *Install) { in.Files = []string{"requirements.txt"} }},
		{"pip install -r a.txt -rb.txt --requirement=c.txt -qr d.txt", func(in *Install) {
			in.Files = []string{"a.txt", "b.txt", "c.txt", "d.txt"}
			in.Harmless = []string{"-qr"}
		}},
		{"pip install --no-cache -r a.txt", func(in *Install) { in.Files = []string{"a.txt"}; in.Harmless = []string{"--no-cache"} }},
		{"pip install -c c.txt x", func(in *Install) { in.Requirements = []string{"x"}; in.Constraints = []string{"c.txt"} }},
		{"pip install --upgrade --upgrade-strategy eager x", func(in *Install) {
			in.Requirements, in.Upgrade, in.UpgradeStrategy = []string{"x"}, true, "eager"
		}},
		{"pip install --target /opt/lib --no-deps x", func(in *Install) {
			in.Requirements, in.Target, in.NoDeps = []string{"x"}, "/opt/lib", true
		}},
		{"pip install --prefix=/install x", func(in *Install) { in.Requirements, in.Prefix = []string{"x"}, "/install" }},
		{"pip install --user --no-compile x", func(in *Install) { in.Requirements, in.User, in.Compile = []string{"x"}, true, false }},
		{"pip install -I --force-reinstall --ignore-requires-python x", func(in *Install) {
			in.Requirements, in.IgnoreInstalled, in.ForceReinstall, in.IgnoreRequiresPython = []string{"x"}, true, true, true
		}},
		{"pip install -e . -e ./lib", func(in *Install) { in.Editable = []string{".", "./lib"} }},
		{"pip install . ./dist/x-1.0-py3-none-any.whl y.tar.gz .[dev] /wheels/z.whl[a]", func(in *Install) {
			in.Paths = []string{".", "./dist/x-1.0-py3-none-any.whl", "y.tar.gz", ".[dev]", "/wheels/z.whl[a]"}
		}},
		{"pip install git+https://example.com/x.git@v1#egg=x https://example.com/y.whl", func(in *Install) {
			in.URLs = []string{"git+https://example.com/x.git@v1#egg=x", "https://example.com/y.whl"}
		}},
		{"pip install -C a=b --no-build-isolation x", func(in *Install) {
			in.Requirements, in.ConfigSettings, in.NoBuildIsolation = []string{"x"}, []string{"a=b"}, true
		}},
		{"pip install -i https://one.example/simple --extra-index-url https://two.example/simple --trusted-host one.example -f /wheels x", func(in *Install) {
			in.Requirements = []string{"x"}
			in.Config.Default = Index{URL: "https://one.example/simple", Source: "--index-url"}
			in.Config.Extra = []Index{{URL: "https://two.example/simple", Source: "--extra-index-url"}}
			in.Config.TrustedHosts = []Setting[string]{{"one.example", "--trusted-host"}}
			in.Config.FindLinks = []Setting[string]{{"/wheels", "--find-links"}}
		}},
		{"pip install --no-index --pre --prefer-binary --require-hashes x", func(in *Install) {
			in.Requirements = []string{"x"}
			in.Config.NoIndex = Setting[bool]{true, "--no-index"}
			in.Config.Pre = Setting[bool]{true, "--pre"}
			in.Config.PreferBinary = Setting[bool]{true, "--prefer-binary"}
			in.Config.RequireHashes = Setting[bool]{true, "--require-hashes"}
		}},
		{"pip install --only-binary :all: --no-binary A_b,c x", func(in *Install) {
			in.Requirements = []string{"x"}
			in.Config.OnlyBinary, in.Config.NoBinary = []string{":all:"}, []string{"a-b", "c"}
		}},
		{"pip install --timeout 30 --retries=2 --uploaded-prior-to 2022-02-17 x", func(in *Install) {
			in.Requirements = []string{"x"}
			in.Config.Timeout = Setting[time.Duration]{30 * time.Second, "--timeout"}
			in.Config.Retries = Setting[int]{2, "--retries"}
			in.Config.ExcludeNewer = Setting[time.Time]{time.Date(2022, 2, 17, 0, 0, 0, 0, time.UTC), "--uploaded-prior-to"}
		}},
		{"pip install -qqq --disable-pip-version-check --root-user-action=ignore --break-system-packages --progress-bar off --no-input --exists-action w --no-warn-script-location --cert /c.pem x", func(in *Install) {
			in.Requirements = []string{"x"}
			in.Harmless = []string{"-qqq", "--disable-pip-version-check", "--root-user-action=ignore", "--break-system-packages",
				"--progress-bar off", "--no-input", "--exists-action w", "--no-warn-script-location", "--cert"}
		}},
	} {
		t.Run(tt.line, func(t *testing.T) {
			want := Install{Tool: Pip, Program: "pip", Line: 1, Compile: true}
			tt.want(&want)
			if diff := cmp.Diff(want, one(t, tt.line, ParseOptions{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseUV(t *testing.T) {
	env := map[string]string{"UV_SYSTEM_PYTHON": "1", "UV_INDEX_URL": "https://env.example/simple", "UV_FIND_LINKS": "/a,/b", "UV_NO_BINARY": "false"}
	in := one(t, "uv -q pip install --no-cache -p 3.12 -P x --index priv=https://priv.example/simple --exclude-newer 2022-02-17 --prerelease allow --no-build -r r.txt", ParseOptions{Env: env})
	want := Install{
		Tool: UV, Program: "uv pip", Python: "3.12", Line: 1, System: true,
		Files: []string{"r.txt"}, UpgradePackages: []string{"x"}, Harmless: []string{"-q", "--no-cache"},
		Config: Config{
			Default:      Index{URL: "https://env.example/simple", Source: "UV_INDEX_URL"},
			Extra:        []Index{{Name: "priv", URL: "https://priv.example/simple", Source: "--index"}},
			FindLinks:    []Setting[string]{{"/a", "UV_FIND_LINKS"}, {"/b", "UV_FIND_LINKS"}},
			OnlyBinary:   []string{":all:"},
			Pre:          Setting[bool]{true, "--prerelease"},
			ExcludeNewer: Setting[time.Time]{time.Date(2022, 2, 18, 0, 0, 0, 0, time.UTC), "--exclude-newer"},
		},
	}
	if diff := cmp.Diff(want, in); diff != "" {
		t.Error(diff)
	}
}

// A command line's option leaves the variable of the same option out.
func TestParseUVVariableReplaced(t *testing.T) {
	in := one(t, "uv pip install --default-index https://line.example/simple x", ParseOptions{Env: map[string]string{"UV_DEFAULT_INDEX": "https://env.example/simple"}})
	if got := in.Config.Default.URL; got != "https://line.example/simple" {
		t.Errorf("the index is %s, want the command line's", got)
	}
}

func TestParseChain(t *testing.T) {
	steps, err := ParseSteps("pip install -U pip && pip install -r a.txt; python3 -m pip install \\\n flask \\\n && pip3 install boto3", ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range steps {
		in := s.Install
		got = append(got, in.Program+"/"+in.Python+"/"+strings.Join(append(in.Requirements, in.Files...), ","))
	}
	want := []string{"pip//pip", "pip//a.txt", "python3 -m pip/3/flask", "pip3/3/boto3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if steps[3].Install.Line != 3 {
		t.Errorf("the last install is on line %d, want 3", steps[3].Install.Line)
	}
}

func TestParseNotPip(t *testing.T) {
	for _, tt := range []struct {
		line, word string
		at         int
	}{
		{"apt-get update && pip install x", "apt-get", 1},
		{"pip install x && \\\napt-get clean", "apt-get", 2},
		{"pip install x || true", "||", 1},
		{"pip install x | tee log", "|", 1},
		{"pip install x &", "&", 1},
		{"! pip install x", "!", 1},
		{"if grep x y; then pip install x; fi", "grep x y", 1},
		{"pip download x", "pip download", 1},
		{"pip", "pip", 1},
		{"python app.py", "python app.py", 1},
		{"uv pip compile x", "uv pip compile", 1},
		{"rm -rf /root/.cache/pip /etc", "rm /etc", 1},
		{"rm -rf /root/.cache/pip/../..", "rm /root/.cache/pip/../..", 1},
		{"rm /root/.cache", "rm", 1},
		{"set -f; pip install x", "set -f", 1},
		{"set -o posix", "set -o posix", 1},
		{"pip cache list", "pip cache", 1},
		{"$EMPTY", "$EMPTY", 1},
		{"readonly X=1; pip install x", "readonly", 1},
	} {
		t.Run(tt.line, func(t *testing.T) {
			_, err := ParseSteps(tt.line, ParseOptions{})
			var e *NotPipError
			if !errors.As(err, &e) {
				t.Fatalf("the error is %v (%T), want a *NotPipError", err, err)
			}
			if e.Word != tt.word || e.Line != tt.at {
				t.Errorf("it names %q on line %d, want %q on line %d", e.Word, e.Line, tt.word, tt.at)
			}
		})
	}
}

func TestParseWordErrors(t *testing.T) {
	for _, tt := range []struct{ line, word, says string }{
		{"pip install --frobnicate x", "--frobnicate", "is an option that is not known"},
		{"pip install -Z x", "-Z", "is an option that is not known"},
		{"pip install --no-b x", "--no-b", "could be --no-build-isolation or --no-binary"},
		{"pip install --root / x", "--root", "writes to a place"},
		{"pip install --dry-run x", "--dry-run", "would install nothing"},
		{"pip install --upgrade=yes x", "--upgrade=yes", "takes none"},
		{"pip install x -r", "-r", "has no value"},
		{"pip install", "pip install", "names nothing"},
		{"pip install --user --target /x y", "--user", "--target"},
		{"pip install flask==", "flask==", "is no requirement"},
		{"pip install flask>=3", ">=3", "redirects"},
		{"pip install $(cat list)", "$(cat list)", "runs a command"},
		{"pip install x==$((1+1))", "x==$((1+1))", "computes"},
		{"pip install /wheels/*.whl", "/wheels/*.whl", "is a pattern"},
		{"pip install {flask,boto3}", "{flask,boto3}", "has braces"},
		{"pip install x==$RANDOM", "x==$RANDOM", "depends on the shell's state"},
		{"pip install x==$1", "x==$1", "depends on the shell's state"},
		{"pip install ~bob/x.whl", "~bob/x.whl", "names a user's directory"},
		{"pip install ${X:=flask}", "${X:=flask}", "assigns"},
		{"pip install ${X:?must be set}", "${X:?must be set}", "must be set"},
		{"set -u; pip install x==$X", "x==$X", "X"},
		{"pip install 'x", "pip install 'x", "is no shell line"},
		{"pip install --timeout soon x", "--timeout", "no number of seconds"},
		{"pip install -i ftp://example.com x", "--index-url", "none of http, https and file"},
		{"uv pip install --overrides o.txt x", "--overrides", "not understood"},
		{"uv pip install --no-bin :all: x", "--no-bin", "not known"}, // clap has no abbreviations
		{"uv pip install --python python3.12 x", "--python", "is no Python version"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			_, err := ParseSteps(tt.line, ParseOptions{})
			var e *WordError
			if !errors.As(err, &e) {
				t.Fatalf("the error is %v (%T), want a *WordError", err, err)
			}
			if e.Word != tt.word || !strings.Contains(err.Error(), tt.says) || e.Line == 0 {
				t.Errorf("it is %q, of %q on line %d; want %q and %q", err, e.Word, e.Line, tt.word, tt.says)
			}
		})
	}
}

func TestParseHint(t *testing.T) {
	_, err := ParseSteps("pip install flask>=3", ParseOptions{})
	var e *WordError
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "quotes") {
		t.Errorf("the hint of %v says nothing of quotes", err)
	}
}

func TestParseExecForm(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"pip", "install", "flask>=3", "$X"}, nil}, // nothing expands $X
		{[]string{"pip", "install", "flask>=3", "tomli; python_version<'3.11'"}, []string{"flask>=3", "tomli; python_version<'3.11'"}},
		{[]string{"/bin/sh", "-c", "pip install flask $X"}, []string{"flask", "boto3"}},
		{[]string{"export", "X=y"}, nil}, // no program
		{nil, nil},
		{[]string{"bash", "-exc", "pip install flask"}, []string{"flask"}},
	} {
		steps, err := ParseStepsArgs(tt.args, ParseOptions{Env: map[string]string{"X": "boto3"}})
		if tt.want == nil {
			if err == nil {
				t.Errorf("ParseStepsArgs(%q) gives no error", tt.args)
			}
			continue
		}
		if err != nil {
			t.Errorf("ParseStepsArgs(%q): %v", tt.args, err)
			continue
		}
		if diff := cmp.Diff(tt.want, steps[0].Install.Requirements); diff != "" {
			t.Errorf("ParseStepsArgs(%q): %s", tt.args, diff)
		}
	}
}

// What the image's environment and pip.conf say are the options' defaults.
func TestParseConfigured(t *testing.T) {
	files := fstest.MapFS{
		"etc/pip.conf":         {Data: []byte("[global]\nindex-url = https://conf.example/simple\nno-compile = false\ntarget = /conf\n[install]\nno-deps = yes\n")},
		"usr/local/pip.conf":   {Data: []byte("[global]\nextra-index-url =\n    https://a.example/simple\n    https://b.example/simple\n")},
		"app/wheels/b-1.0.whl": {}, "app/wheels/a-1.0.whl": {}, "app/wheels/readme": {},
	}
	o := ParseOptions{
		Env: map[string]string{"PIP_TARGET": "/env", "PIP_NO_CACHE_DIR": "off", "PIP_CONSTRAINT": "c1.txt c2.txt", "PIP_UNKNOWN": "x"},
		Dir: "/app", PythonPrefix: "/usr/local",
		ReadFile: func(name string) ([]byte, error) { return files.ReadFile(strings.TrimPrefix(name, "/")) },
		ReadDir: func(name string) ([]fs.DirEntry, error) {
			return files.ReadDir(strings.TrimPrefix(path.Clean(name), "/"))
		},
	}
	in := one(t, "PIP_NO_DEPS=0 pip install --extra-index-url https://c.example/simple ./wheels/*.whl flask[async]", o)
	want := Install{
		Tool: Pip, Program: "pip", Line: 1, Target: "/env", Constraints: []string{"c1.txt", "c2.txt"},
		Paths: []string{"./wheels/a-1.0.whl", "./wheels/b-1.0.whl"}, Requirements: []string{"flask[async]"},
		Config: Config{
			Default: Index{URL: "https://conf.example/simple", Source: "/etc/pip.conf:2"},
			Extra: []Index{
				{URL: "https://a.example/simple", Source: "/usr/local/pip.conf:2"},
				{URL: "https://b.example/simple", Source: "/usr/local/pip.conf:2"},
				{URL: "https://c.example/simple", Source: "--extra-index-url"},
			},
		},
	}
	if diff := cmp.Diff(want, in); diff != "" {
		t.Error(diff)
	}

	in = one(t, "pip --isolated install flask", o)
	if in.Target != "/conf" || !in.Isolated || !in.NoDeps {
		t.Errorf("--isolated gives target %q, no-deps %v; want those of the files", in.Target, in.NoDeps)
	}

	o.Env = map[string]string{"PIP_ROOT": "/x"}
	var e *ConfigError
	if _, err := ParseSteps("pip install flask", o); !errors.As(err, &e) || e.File != "PIP_ROOT" {
		t.Errorf("PIP_ROOT gives %v, want an error that names it", err)
	}
}
