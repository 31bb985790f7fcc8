package pip

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sync parses a line whose last step must be a sync.
func syncOf(t *testing.T, line string, o ParseOptions) Sync {
	t.Helper()
	steps, err := ParseSteps(line, o)
	if err != nil {
		t.Fatalf("ParseSteps(%q): %v", line, err)
	}
	s := steps[len(steps)-1].Sync
	if s == nil {
		t.Fatalf("ParseSteps(%q) ends with %s", line, brief(steps[len(steps)-1]))
	}
	return *s
}

func TestUVSync(t *testing.T) {
	files := map[string]string{"/app/pyproject.toml": "[project]\nname = \"my-app\"\n"}
	for _, tt := range []struct {
		line string
		want func(*Sync)
	}{
		{"uv sync", func(s *Sync) {}},
		{"uv sync --frozen --no-dev --no-cache", func(s *Sync) {
			s.Frozen, s.NoGroups, s.Harmless = true, []string{"dev"}, []string{"--no-cache"}
		}},
		{"UV_LOCKED=1 UV_NO_DEV=1 UV_COMPILE_BYTECODE=1 uv sync", func(s *Sync) { s.Locked, s.NoGroups, s.Compile = true, []string{"dev"}, true }},
		{"UV_FROZEN=1 uv sync --locked", func(s *Sync) { s.Locked = true }},
		{"UV_FROZEN=0 UV_OFFLINE=false uv sync", func(s *Sync) {}},
		{"uv sync --group a --group b --no-group c --no-default-groups", func(s *Sync) {
			s.Groups, s.NoGroups, s.NoDefaultGroups = []string{"a", "b"}, []string{"c"}, true
		}},
		{"uv sync --only-group a --only-dev", func(s *Sync) { s.OnlyGroups = []string{"a", "dev"} }},
		{"uv sync --only-dev", func(s *Sync) { s.OnlyGroups = []string{"dev"} }},
		{"uv sync --all-extras --no-extra x", func(s *Sync) { s.AllExtras, s.NoExtras = true, []string{"x"} }},
		{"uv sync --extra x --extra=y", func(s *Sync) { s.Extras = []string{"x", "y"} }},
		{"uv sync --no-install-project --no-install-workspace --no-install-local --no-install-package Foo_Bar --no-editable", func(s *Sync) {
			s.NoProject, s.NoWorkspace, s.NoLocal, s.NoInstall, s.NoEditable = true, true, true, []string{"foo-bar"}, true
		}},
		{"uv sync --package A.b --inexact --compile-bytecode --link-mode copy -qq --no-progress", func(s *Sync) {
			s.Packages, s.Inexact, s.Compile, s.Harmless = []string{"a-b"}, true, true, []string{"--link-mode copy", "-qq", "--no-progress"}
		}},
		{"uv sync --all-packages --no-build --no-binary-package x", func(s *Sync) {
			s.AllPackages, s.Config.OnlyBinary, s.Config.NoBinary = true, []string{":all:"}, []string{"x"}
		}},
		{"uv sync -p 3.12 --index a=https://a.example/simple --exclude-newer 2024-01-01", func(s *Sync) {
			s.PythonVersion, s.Venv.Python = "3.12", "3.12"
			s.Config.Extra = []Index{{Name: "a", URL: "https://a.example/simple", Source: "--index"}}
			s.Config.ExcludeNewer = Setting[time.Time]{time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC), "--exclude-newer"}
		}},
		{"uv sync --python /usr/bin/python3.11", func(s *Sync) {
			s.Interpreter, s.Venv.Interpreter = "/usr/bin/python3.11", "/usr/bin/python3.11"
		}},
		{"uv sync -U -P x --reinstall-package y", func(s *Sync) {
			s.Upgrade, s.UpgradePackages, s.ReinstallPackages = true, []string{"x"}, []string{"y"}
		}},
		{"UV_PROJECT_ENVIRONMENT=/opt/venv uv sync", func(s *Sync) { s.Environment, s.Venv.Dir = "/opt/venv", "/opt/venv" }},
		{"UV_PROJECT_ENVIRONMENT=env uv sync", func(s *Sync) { s.Environment, s.Venv.Dir = "/app/env", "/app/env" }},
		{"UV_PROJECT_ENVIRONMENT=/usr/local uv sync", func(s *Sync) { s.Environment, s.Venv, s.System = "/usr/local", nil, true }},
		{"VIRTUAL_ENV=/opt/venv uv sync", func(s *Sync) {}}, // is not --active
		{"VIRTUAL_ENV=/opt/venv uv sync --active", func(s *Sync) { s.Environment, s.Venv.Dir = "/opt/venv", "/opt/venv" }},
		{"cd / && uv sync --directory app", func(s *Sync) {}},
		{"cd / && uv --project app sync", func(s *Sync) {}},
		{"cd / && UV_PROJECT=/app uv sync", func(s *Sync) {}},
		{"UV_INDEX_PRIV_USERNAME=me UV_INDEX_PRIV_PASSWORD=secret uv sync", func(s *Sync) {
			s.Config.Credentials = []Credential{{Index: "PRIV", Username: "me", Password: "secret", Source: "UV_INDEX_PRIV_PASSWORD"}}
		}},
	} {
		t.Run(tt.line, func(t *testing.T) {
			want := Sync{Tool: UV, Program: "uv", Line: 1, Project: "/app", LockFile: "/app/uv.lock", Environment: "/app/.venv",
				Venv: &Venv{Tool: UV, Program: "uv", Line: 1, Dir: "/app/.venv", WithoutPip: true, Prompt: "my-app"}}
			tt.want(&want)
			if diff := cmp.Diff(want, syncOf(t, tt.line, inImage("/app", nil, files))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUVWorkspace(t *testing.T) {
	files := map[string]string{
		"/src/pyproject.toml":              "[project]\nname='root'\n[tool.uv.workspace]\nmembers = ['packages/*', 'deep/**']\nexclude = ['packages/not']\n",
		"/src/packages/a/pyproject.toml":   "[project]\nname='a'\n",
		"/src/packages/not/pyproject.toml": "[project]\nname='not'\n",
		"/src/deep/x/y/pyproject.toml":     "[project]\nname='y'\n",
		"/src/other/pyproject.toml":        "[project]\nname='other'\n",
		"/src/packages/a/src/":             "",
	}
	for _, tt := range []struct{ dir, project, root string }{
		{"/src", "/src", "/src"},
		{"/src/packages/a", "/src/packages/a", "/src"},
		{"/src/packages/a/src", "/src/packages/a", "/src"},
		{"/src/packages/not", "/src/packages/not", "/src/packages/not"},
		{"/src/deep/x/y", "/src/deep/x/y", "/src"},
		{"/src/other", "/src/other", "/src/other"},
		{"/none", "/none", "/none"},
	} {
		s := syncOf(t, "uv sync", inImage(tt.dir, nil, files))
		if s.Project != tt.project || s.LockFile != tt.root+"/uv.lock" || s.Environment != tt.root+"/.venv" {
			t.Errorf("in %s the project is %s, the lock %s, the environment %s", tt.dir, s.Project, s.LockFile, s.Environment)
		}
	}
}

// What uv's files say beside indexes.
func TestUVSettings(t *testing.T) {
	pyproject := func(text string) map[string]string { return map[string]string{"/app/pyproject.toml": text} }
	o := inImage("/app", nil, pyproject("[tool.uv]\ncompile-bytecode = true\npackage = false\ndefault-groups = ['a']\nlink-mode = 'copy'\nno-sources = false\n[tool.uv.config-settings]\nx = 'y'\n"))
	if s := syncOf(t, "uv sync", o); !s.Compile || len(s.ConfigSettings) != 1 || s.ConfigSettings[0] != "x=y" || s.Packages != nil {
		t.Errorf("the sync has compile %v, settings %q, packages %q", s.Compile, s.ConfigSettings, s.Packages)
	}
	if s := syncOf(t, "UV_COMPILE_BYTECODE=0 uv sync", o); s.Compile {
		t.Error("the file counts more than the variable")
	}
	if s := syncOf(t, "uv sync --no-compile-bytecode", o); s.Compile {
		t.Error("the file counts more than the option")
	}
	o = inImage("/app", nil, pyproject("[tool.uv.pip]\nsystem = true\nextra = ['a', 'b']\nindex-url = 'https://p.example/simple'\n"))
	steps, err := ParseSteps("uv pip install -r pyproject.toml", o)
	if err != nil {
		t.Fatal(err)
	}
	if in := steps[0].Install; !in.System || len(in.Extras) != 2 || in.Config.Default.URL == "" {
		t.Errorf("the install is %+v", in)
	}
	if s := syncOf(t, "uv sync", o); s.System || s.Config.Default.URL != "" {
		t.Error("[tool.uv.pip] counts for uv sync")
	}
	for _, text := range []string{
		"[tool.uv]\noverride-dependencies = ['x==1']\n", "[tool.uv.pip]\npython-platform = 'linux'\n", "[tool.uv]\nno-sources = true\n",
		"[tool.uv]\nresolution = 'lowest'\n", "[tool.uv]\ncompile-bytecode = 'perhaps'\n",
	} {
		var e *ConfigError
		if _, err := ParseSteps("uv pip install x", inImage("/app", nil, pyproject(text))); !errors.As(err, &e) || e.File != "/app/pyproject.toml" {
			t.Errorf("%q gives %v", text, err)
		}
	}
}

func TestPoetryInstall(t *testing.T) {
	files := map[string]string{"/app/pyproject.toml": "[tool.poetry]\nname = \"My_Proj.x\"\n", "/app/sub/": "", "/in/pyproject.toml": "", "/in/.venv/pyvenv.cfg": ""}
	env := poetryEnvironmentName("my-proj-x", "/app") + "-py3.12"
	for _, tt := range []struct {
		line string
		want func(*Sync)
	}{
		{"poetry install", func(s *Sync) {}},
		{"cd sub && poetry install", func(s *Sync) {}},
		{"cd / && poetry install -C app", func(s *Sync) {}},
		{"cd / && poetry -P app install", func(s *Sync) {}},
		{"poetry install --only main --no-root --no-interaction --no-ansi", func(s *Sync) {
			s.OnlyGroups, s.NoProject, s.Harmless = []string{"main"}, true, []string{"--no-interaction", "--no-ansi"}
		}},
		{"poetry install --without dev,docs --with a --with b", func(s *Sync) { s.NoGroups, s.Groups = []string{"dev", "docs"}, []string{"a", "b"} }},
		{"poetry install --only a --without b", func(s *Sync) { s.OnlyGroups = []string{"a"} }},
		{"poetry install --no-dev -nq", func(s *Sync) { s.OnlyGroups, s.Harmless = []string{"main"}, []string{"-nq"} }},
		{"poetry install --sync", func(s *Sync) { s.Inexact = false }},
		{"poetry sync --all-groups --all-extras", func(s *Sync) { s.Inexact, s.AllGroups, s.AllExtras = false, true, true }},
		{"poetry install -E a -E 'b c' --extras=d --compile", func(s *Sync) { s.Extras, s.Compile = []string{"a", "b", "c", "d"}, true }},
		{"poetry install --no-directory", func(s *Sync) { s.NoDirectories = true }},
		{"poetry install --only-root", func(s *Sync) { s.OnlyProject = true }},
		{"POETRY_VIRTUALENVS_CREATE=false poetry install", func(s *Sync) { s.System, s.Environment, s.Venv = true, "", nil }},
		{"poetry config virtualenvs.create false && poetry install", func(s *Sync) { s.System, s.Environment, s.Venv = true, "", nil }},
		{"poetry config virtualenvs.create false --local && cd sub && poetry install", func(s *Sync) { s.System, s.Environment, s.Venv = true, "", nil }},
		{"poetry config virtualenvs.create false; poetry config virtualenvs.create --unset && poetry install", func(s *Sync) {}},
		{"poetry config virtualenvs.in-project true && poetry install", func(s *Sync) { s.Environment, s.Venv.Dir = "/app/.venv", "/app/.venv" }},
		{"POETRY_VIRTUALENVS_IN_PROJECT=1 poetry install", func(s *Sync) { s.Environment, s.Venv.Dir = "/app/.venv", "/app/.venv" }},
		{"python -m venv .venv && poetry install", func(s *Sync) { s.Environment, s.Venv = "/app/.venv", nil }},
		{"VIRTUAL_ENV=/opt/venv poetry install", func(s *Sync) { s.Environment, s.Venv = "/opt/venv", nil }},
		{"POETRY_VIRTUALENVS_PATH=/envs poetry install", func(s *Sync) {
			s.Environment = "/envs/" + env
			s.Venv.Dir = s.Environment
		}},
		{"POETRY_CACHE_DIR=/c POETRY_VIRTUALENVS_OPTIONS_NO_PIP=true POETRY_VIRTUALENVS_PROMPT=p poetry install", func(s *Sync) {
			s.Environment, s.Venv.WithoutPip, s.Venv.Prompt = "/c/virtualenvs/"+env, true, "p"
			s.Venv.Dir = s.Environment
		}},
		{"poetry config http-basic.my-repo me secret; POETRY_INSTALLER_NO_BINARY=a,b poetry install", func(s *Sync) {
			s.Config.NoBinary = []string{"a", "b"}
			s.Config.Credentials = []Credential{{Index: "MY_REPO", Username: "me", Password: "secret", Source: "/root/.config/pypoetry/auth.toml"}}
		}},
	} {
		t.Run(tt.line, func(t *testing.T) {
			want := Sync{Tool: Poetry, Program: "poetry", Line: 1, Project: "/app", LockFile: "/app/poetry.lock", Locked: true, Inexact: true,
				Environment: "/root/.cache/pypoetry/virtualenvs/" + env,
				Venv:        &Venv{Tool: Virtualenv, Program: "poetry", Line: 1, Prompt: "my-proj-x-py3.12"}}
			want.Venv.Dir = want.Environment
			tt.want(&want)
			if diff := cmp.Diff(want, syncOf(t, tt.line, inImage("/app", nil, files))); diff != "" {
				t.Error(diff)
			}
		})
	}
	if s := syncOf(t, "poetry install", inImage("/in", nil, files)); s.Environment != "/in/.venv" {
		t.Errorf("with a .venv in the project the environment is %s", s.Environment)
	}
	if s := syncOf(t, "POETRY_VIRTUALENVS_IN_PROJECT=false poetry install", inImage("/in", nil, files)); s.Environment == "/in/.venv" {
		t.Error("the .venv is taken all the same")
	}
	if s := syncOf(t, "poetry install", ParseOptions{Dir: "/app"}); s.Environment != "" || s.System {
		t.Errorf("where the image is not known the environment is %q", s.Environment)
	}
}

// Names as Poetry 2.5 makes them.
func TestPoetryEnvironmentName(t *testing.T) {
	for _, tt := range []struct{ name, dir, want string }{
		{"my proj x", "/srv/my App", "my_proj_x-OT619den"},
		{"my-app", "/app", "my-app-9TtSrW0h"},
	} {
		if got := poetryEnvironmentName(tt.name, tt.dir); got != tt.want {
			t.Errorf("the environment of %s in %s is %s, want %s", tt.name, tt.dir, got, tt.want)
		}
	}
}

func TestPoetryConfig(t *testing.T) {
	o := inImage("/app", nil, map[string]string{"/root/.config/pypoetry/config.toml": "cache-dir = '/c'\n[virtualenvs]\ncreate = true\n"})
	steps, err := ParseSteps("poetry config virtualenvs.create false && poetry config installer.max-workers 4 && poetry config repositories.x https://x.example/", o)
	if err != nil {
		t.Fatal(err)
	}
	w := steps[2].Write
	want := FileWrite{Path: "/root/.config/pypoetry/config.toml", Mode: 0o600, Content: []byte(
		"cache-dir = '/c'\n\n[installer]\nmax-workers = 4\n\n[repositories]\n[repositories.x]\nurl = 'https://x.example/'\n\n[virtualenvs]\ncreate = false\n")}
	if diff := cmp.Diff(want, *w); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"[virtualenvs]\ncreate = 'no'\n", "[certificates.x]\ncert = '/x'\n", "[solver]\nmin-release-age = 3\n",
		"[installer.build-config-settings.x]\na='b'\n", "[x\n"} {
		o := inImage("/app", nil, map[string]string{"/app/poetry.toml": text})
		var e *ConfigError
		if _, err := ParseSteps("poetry install", o); !errors.As(err, &e) || e.File != "/app/poetry.toml" {
			t.Errorf("%q gives %v", text, err)
		}
	}
}

func TestPipenv(t *testing.T) {
	files := map[string]string{"/app/Pipfile": "[packages]\n", "/app/sub/": "", "/own/Pipfile": "[pipenv]\nvenv_in_project = true\n", "/there/Pipfile": "", "/there/.venv/pyvenv.cfg": ""}
	for _, tt := range []struct {
		line string
		want func(*Sync)
	}{
		{"pipenv install --system --deploy", func(s *Sync) { s.System, s.Locked = true, true }},
		{"cd sub && pipenv install --system --deploy", func(s *Sync) { s.System, s.Locked = true, true }},
		{"pipenv install --system", func(s *Sync) { s.System, s.Frozen = true, true }},
		{"pipenv install --system --deploy --ignore-pipfile", func(s *Sync) { s.System, s.Frozen = true, true }},
		{"pipenv install --system --skip-lock --dev", func(s *Sync) { s.System, s.SkipLock, s.Groups = true, true, []string{"develop"} }},
		{"pipenv sync --system --categories 'packages,tests dev-packages'", func(s *Sync) {
			s.System, s.Frozen, s.OnlyGroups = true, true, []string{"default", "tests", "develop"}
		}},
		{"pipenv --verbose sync --system --all", func(s *Sync) { s.System, s.Frozen, s.AllGroups, s.Harmless = true, true, true, []string{"--verbose"} }},
		{"PIPENV_PYPI_MIRROR=https://m.example/simple pipenv sync --system", func(s *Sync) {
			s.System, s.Frozen = true, true
			s.Config.Default = Index{URL: "https://m.example/simple", Source: "PIPENV_PYPI_MIRROR"}
		}},
		{"VIRTUAL_ENV=/opt/venv pipenv install --deploy", func(s *Sync) { s.Locked, s.Environment = true, "/opt/venv" }},
		{"PIPENV_VENV_IN_PROJECT=1 pipenv install --deploy --site-packages", func(s *Sync) {
			s.Locked, s.Environment = true, "/app/.venv"
			s.Venv = &Venv{Tool: Virtualenv, Program: "pipenv", Line: 1, Dir: "/app/.venv", Prompt: "app", SystemSitePackages: true}
		}},
		{"WORKON_HOME=/w PIPENV_CUSTOM_VENV_NAME=mine pipenv sync --clean --python 3.12", func(s *Sync) {
			s.Frozen, s.Inexact, s.Environment, s.PythonVersion = true, false, "/w/mine", "3.12"
			s.Venv = &Venv{Tool: Virtualenv, Program: "pipenv", Line: 1, Dir: "/w/mine", Prompt: "app", Python: "3.12"}
		}},
	} {
		t.Run(tt.line, func(t *testing.T) {
			want := Sync{Tool: Pipenv, Program: "pipenv", Line: 1, Project: "/app", LockFile: "/app/Pipfile.lock", Compile: true, Inexact: true}
			tt.want(&want)
			if diff := cmp.Diff(want, syncOf(t, tt.line, inImage("/app", nil, files))); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, dir := range []string{"/own", "/there"} {
		if s := syncOf(t, "pipenv sync", inImage(dir, nil, files)); s.Environment != dir+"/.venv" {
			t.Errorf("in %s the environment is %s", dir, s.Environment)
		}
	}
	// As pipenv 2026 names it.
	p := newShell(ParseOptions{})
	if got := p.pipenvName("/srv/my App/Pipfile", &Sync{}, nil); got != "my_App-2_Uk-qKW" {
		t.Errorf("the environment's name is %s", got)
	}
}

func TestVenv(t *testing.T) {
	for _, tt := range []struct {
		line string
		want Venv
	}{
		{"python3.12 -m venv /opt/venv", Venv{Tool: VenvModule, Program: "python3.12 -m venv", Python: "3.12", Dir: "/opt/venv"}},
		{"/usr/bin/python3 -m venv --system-site-packages --without-pip --clear --copies --prompt . v", Venv{Tool: VenvModule, Program: "/usr/bin/python3 -m venv",
			Interpreter: "/usr/bin/python3", Python: "3", Dir: "/app/v", SystemSitePackages: true, WithoutPip: true, Clear: true, Copies: true, Prompt: "app"}},
		{"PIP_INDEX_URL=https://i.example/ python -m venv --upgrade-d --symlinks v", Venv{Tool: VenvModule, Program: "python -m venv", Dir: "/app/v", UpgradeDeps: true, Symlinks: true,
			Config: Config{Default: Index{URL: "https://i.example/", Source: "PIP_INDEX_URL"}}}},
		{"virtualenv -q --no-download --python=/usr/bin/python3.11 --always-copy v", Venv{Tool: Virtualenv, Program: "virtualenv", Interpreter: "/usr/bin/python3.11",
			Dir: "/app/v", Copies: true, Harmless: []string{"-q"}}},
		{"python3 -m virtualenv -p python3.12 v", Venv{Tool: Virtualenv, Program: "python3 -m virtualenv", Python: "3.12", Dir: "/app/v"}},
		{"VIRTUALENV_SYSTEM_SITE_PACKAGES=true virtualenv --no-pip v", Venv{Tool: Virtualenv, Program: "virtualenv", Dir: "/app/v", SystemSitePackages: true, WithoutPip: true}},
		{"uv venv", Venv{Tool: UV, Program: "uv", Dir: "/app/.venv", WithoutPip: true, Prompt: "app"}},
		{"uv venv --seed --clear --system-site-packages --python 3.12 /opt/venv", Venv{Tool: UV, Program: "uv", Dir: "/opt/venv", Clear: true, SystemSitePackages: true, Python: "3.12"}},
		{"UV_PROJECT_ENVIRONMENT=/opt/e uv venv --relocatable --allow-existing", Venv{Tool: UV, Program: "uv", Dir: "/opt/e", WithoutPip: true, Relocatable: true, AllowExisting: true, Prompt: "app"}},
	} {
		t.Run(tt.line, func(t *testing.T) {
			steps, err := ParseSteps(tt.line, ParseOptions{Dir: "/app"})
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Line = 1
			if diff := cmp.Diff(tt.want, *steps[0].Venv); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// uv takes the Python that the project's .python-version names.
func TestUVPythonPinned(t *testing.T) {
	files := map[string]string{
		"/app/pyproject.toml": "[project]\nname = \"app\"\n[tool.uv.workspace]\nmembers = [\"a\", \"b\"]\n", "/app/.python-version": "\n# ours\ncpython@3.12\n3.13\n",
		"/app/a/pyproject.toml": "[project]\nname = \"a\"\n", "/app/b/pyproject.toml": "[project]\nname = \"b\"\n", "/app/b/.python-version": "3.11.4\n",
		"/.python-version": "3.8\n", "/other/pyproject.toml": "[project]\nname = \"o\"\n", "/odd/pyproject.toml": "[project]\nname = \"x\"\n", "/odd/.python-version": "pypy3.10\n",
	}
	for _, tt := range []struct{ dir, line, want string }{
		{"/app", "uv sync", "3.12"},
		{"/app/a", "uv sync", "3.12"},
		{"/app/b", "uv sync", "3.11.4"},
		{"/app/b", "uv sync --python 3.10", "3.10"},
		{"/app/b", "UV_PYTHON=3.10 uv sync", "3.10"},
		{"/app/b", "uv sync --no-config", ""},
		{"/app/b", "uv venv x", "3.11.4"},
		{"/app/b", "uv venv --no-project x", ""},
		{"/other", "uv sync", ""}, // that above is not the project's
	} {
		steps, err := ParseSteps(tt.line, inImage(tt.dir, nil, files))
		if err != nil || len(steps) != 1 {
			t.Errorf("%s in %s: %v, %+v", tt.line, tt.dir, err, steps)
			continue
		}
		got := ""
		if s := steps[0]; s.Sync != nil {
			got = s.Sync.PythonVersion
		} else {
			got = s.Venv.Python
		}
		if got != tt.want {
			t.Errorf("%s in %s is for Python %q, not %q", tt.line, tt.dir, got, tt.want)
		}
	}
	if _, err := ParseSteps("uv sync", inImage("/odd", nil, files)); err == nil || !strings.Contains(err.Error(), `asks for "pypy3.10"`) {
		t.Errorf("error %v", err)
	}
}
