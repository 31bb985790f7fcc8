package pip

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// files is a ReadFunc over a map.
func files(m map[string]string) ReadFunc {
	return func(name string) ([]byte, error) {
		if s, ok := m[name]; ok {
			return []byte(s), nil
		}
		return nil, fs.ErrNotExist
	}
}

func TestPipFiles(t *testing.T) {
	l := Locations{Home: "/home/u", PythonPrefix: "/usr/local"}
	for _, tt := range []struct {
		name string
		env  map[string]string
		l    Locations
		have map[string]string
		want []string
	}{
		{"usual", nil, l, nil, []string{"/etc/xdg/pip/pip.conf", "/etc/pip.conf", "/home/u/.pip/pip.conf", "/home/u/.config/pip/pip.conf", "/usr/local/pip.conf"}},
		{"XDG", map[string]string{"XDG_CONFIG_HOME": "/c", "XDG_CONFIG_DIRS": "/x:/y"}, l, nil,
			[]string{"/x/pip/pip.conf", "/y/pip/pip.conf", "/etc/pip.conf", "/home/u/.pip/pip.conf", "/c/pip/pip.conf", "/usr/local/pip.conf"}},
		{"virtual environment", map[string]string{"VIRTUAL_ENV": "/v"}, Locations{}, nil, []string{"/etc/xdg/pip/pip.conf", "/etc/pip.conf", "/v/pip.conf"}},
		{"own file", map[string]string{"PIP_CONFIG_FILE": "/own"}, l, map[string]string{"/own": ""},
			[]string{"/etc/xdg/pip/pip.conf", "/etc/pip.conf", "/usr/local/pip.conf", "/own"}},
		{"own file missing", map[string]string{"PIP_CONFIG_FILE": "/own"}, l, nil,
			[]string{"/etc/xdg/pip/pip.conf", "/etc/pip.conf", "/home/u/.pip/pip.conf", "/home/u/.config/pip/pip.conf", "/usr/local/pip.conf", "/own"}},
		{"none", map[string]string{"PIP_CONFIG_FILE": "/dev/null"}, l, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, PipFiles(tt.env, tt.l, files(tt.have))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPipConfig(t *testing.T) {
	have := map[string]string{
		"/etc/pip.conf": "[global]\nindex-url = https://etc.example/simple\nretries=1\nno-binary = a\n" +
			"[install]\nfind-links = /etc-install\nextra_index_url: https://etc-extra.example/simple\n",
		"/h/.config/pip/pip.conf": "; mine\n[global]\nindex-url = https://user.example/simple\nfind-links = /user-global\n" +
			"trusted-host =\n    a.example\n    # not b\n    c.example\n\n[download]\nno-index = yes\n[install]\nno-binary = b\n",
	}
	env := map[string]string{
		"PIP_DEFAULT_TIMEOUT": "12.5", "PIP_PRE": "true", "PIP_CERT": "/ca.pem", "PIP_NO_BINARY": "C", "PIP_EXTRA_INDEX_URL": "",
		"PIP_USER": "perhaps", "PIP_ROOT": "/x", "PIP_CONSTRAINT": "/c.txt",
	}
	got, err := PipConfig(env, Locations{Home: "/h"}, files(have))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Default:      Index{URL: "https://user.example/simple", Source: "/h/.config/pip/pip.conf:3"},
		Extra:        []Index{{URL: "https://etc-extra.example/simple", Source: "/etc/pip.conf:7"}},
		FindLinks:    []Setting[string]{{"/etc-install", "/etc/pip.conf:6"}},
		TrustedHosts: []Setting[string]{{"a.example", "/h/.config/pip/pip.conf:5"}, {"c.example", "/h/.config/pip/pip.conf:5"}},
		Constraints:  []Setting[string]{{"/c.txt", "PIP_CONSTRAINT"}},
		Pre:          Setting[bool]{true, "PIP_PRE"},
		NoBinary:     []string{"a", "b", "c"},
		Cert:         Setting[string]{"/ca.pem", "PIP_CERT"},
		Timeout:      Setting[time.Duration]{12500 * time.Millisecond, "PIP_DEFAULT_TIMEOUT"},
		Retries:      Setting[int]{1, "/etc/pip.conf:3"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPipConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		env        map[string]string
		file       string
		line       int
		says       string
	}{
		{name: "no section", text: "index-url = x\n", line: 1, says: "before any section"},
		{name: "no value", text: "[global]\nindex-url\n", line: 2, says: "key = value"},
		{name: "twice", text: "[global]\npre = 1\nPRE = 0\n", line: 3, says: "second time"},
		{name: "section twice", text: "[global]\n[install]\n[global]\n", line: 3, says: "second time"},
		{name: "no bracket", text: "[global\n", line: 1, says: "no section"},
		{name: "no key", text: "[global]\n= x\n", line: 2, says: "no key"},
		{name: "bad value", text: "[global]\n\ntimeout = soon\n", line: 3, says: "no number of seconds"},
		{name: "bad bool", text: "[global]\nno-index = maybe\n", line: 2, says: "neither yes nor no"},
		{name: "bad URL", text: "[global]\nindex-url = https://user:secret@:x y/\n", line: 2, says: "not valid"},
		{name: "variable", env: map[string]string{"PIP_RETRIES": "many"}, file: "PIP_RETRIES", says: "no number of tries"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := PipConfig(tt.env, Locations{}, files(map[string]string{"/etc/pip.conf": tt.text}))
			var e *ConfigError
			if !errors.As(err, &e) {
				t.Fatalf("the error is %v, want a *ConfigError", err)
			}
			if tt.file == "" {
				tt.file = "/etc/pip.conf"
			}
			if file, line := e.Position(); file != tt.file || line != tt.line {
				t.Errorf("it is at %s:%d, want %s:%d", file, line, tt.file, tt.line)
			}
			if !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("it says %q, want %q and no secret", err, tt.says)
			}
		})
	}
}

func TestINI(t *testing.T) {
	got, err := parseINI("f", "\ufeff[DEFAULT]\nd = 1\n\n[a]\nkey : one\n  two\n\n  three\n# c\nd = 2\nempty =\n[b]\r\nx = y ; not a comment\r\n")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, it := range got {
		lines = append(lines, it.section+"."+it.key+"="+strings.ReplaceAll(it.value, "\n", "|"))
	}
	want := []string{"b.d=1", "DEFAULT.d=1", "a.key=one|two||three", "a.d=2", "a.empty=", "b.x=y ; not a comment"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestUVConfig(t *testing.T) {
	have := map[string]string{
		"/src/app/pyproject.toml": "[project]\nname = 'x'\n", // without [tool.uv]: passed over
		"/src/pyproject.toml": `
[tool.uv]
find-links = ["./wheels"]
exclude-newer = "2024-01-02T03:04:05Z"
no-binary-package = ["Foo_Bar"]

[[tool.uv.index]]
name = "torch"
url = "https://torch.example/whl/cpu"
explicit = true

[[tool.uv.index]]
name = "main"
url = "https://main.example/simple"
default = true

[tool.uv.pip]
no-index = false

[tool.uv.sources]
Torch_Vision = { index = "torch", marker = "sys_platform == 'linux'" }
local = { path = "../local" }
multi = [{ index = "torch" }, { git = "https://example.com/x" }]
`,
		"/h/.config/uv/uv.toml": "index-url = \"https://user.example/simple\"\nextra-index-url = [\"https://user-extra.example/simple\"]\nno-index = true\n",
		"/etc/uv/uv.toml":       "allow-insecure-host = [\"old.example\"]\nprerelease = \"allow\"\n",
	}
	env := map[string]string{"UV_INDEX": "https://env.example/simple named=https://named.example/simple", "UV_HTTP_TIMEOUT": "90", "UV_PYTHON": "/odd"}
	got, err := UVConfig(env, Locations{Home: "/h", Project: "/src/app"}, files(have))
	if err != nil {
		t.Fatal(err)
	}
	const p = "/src/pyproject.toml"
	want := Config{
		Default: Index{Name: "main", URL: "https://main.example/simple", Source: p},
		Extra: []Index{
			{URL: "https://env.example/simple", Source: "UV_INDEX"},
			{Name: "named", URL: "https://named.example/simple", Source: "UV_INDEX"},
			{Name: "torch", URL: "https://torch.example/whl/cpu", Explicit: true, Source: p},
			{URL: "https://user-extra.example/simple", Source: "/h/.config/uv/uv.toml"},
		},
		Pins: []Pin{
			{Project: "torch-vision", Index: "torch", Marker: "sys_platform == 'linux'", Source: p},
			{Project: "multi", Index: "torch", Source: p},
		},
		NoIndex:      Setting[bool]{false, p},
		FindLinks:    []Setting[string]{{"./wheels", p}},
		NoBinary:     []string{"foo-bar"},
		ExcludeNewer: Setting[time.Time]{time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), p},
		TrustedHosts: []Setting[string]{{"old.example", "/etc/uv/uv.toml"}},
		Pre:          Setting[bool]{true, "/etc/uv/uv.toml"},
		Timeout:      Setting[time.Duration]{90 * time.Second, "UV_HTTP_TIMEOUT"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var urls []string
	for _, x := range got.Indexes(Index{URL: "https://fallback.example/simple/"}) {
		urls = append(urls, x.URL)
	}
	if diff := cmp.Diff([]string{"https://env.example/simple", "https://named.example/simple", "https://user-extra.example/simple", "https://main.example/simple"}, urls); diff != "" {
		t.Error("order of look-up:", diff)
	}
	if x, ok := got.Named("torch"); !ok || !x.Explicit {
		t.Errorf("Named(torch) = %v, %v", x, ok)
	}
}

func TestUVConfigFiles(t *testing.T) {
	have := map[string]string{
		"/app/uv.toml":        "index-url = \"https://toml.example/simple\"\n",
		"/app/pyproject.toml": "[tool.uv]\nindex-url = \"https://pyproject.example/simple\"\n",
		"/own.toml":           "index-url = \"https://own.example/simple\"\n",
	}
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{nil, "https://toml.example/simple"},
		{map[string]string{"UV_NO_CONFIG": "1"}, ""},
		{map[string]string{"UV_CONFIG_FILE": "/own.toml"}, "https://own.example/simple"},
		{map[string]string{"UV_DEFAULT_INDEX": "https://env.example/simple"}, "https://env.example/simple"},
	} {
		got, err := UVConfig(tt.env, Locations{Project: "/app"}, files(have))
		if err != nil || got.Default.URL != tt.want {
			t.Errorf("with %v the index is %q (%v), want %q", tt.env, got.Default.URL, err, tt.want)
		}
	}
}

func TestUVConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		text, says string
		line       int
	}{
		{"index-url = 3\n", "TOML", 1},
		{"a = 1\n[[index]\n", "TOML", 2},
		{"[[index]]\nname = 'x'\n", "index[0]: url: the URL is empty", 0},
		{"exclude-newer = '7 moons'\n", "neither a date, a time", 0},
		{"no-binary = 3\n", "neither true", 0},
		{"[sources]\nx = 1\n", "sources.x is no table", 0},
	} {
		_, err := UVConfig(nil, Locations{}, files(map[string]string{"/etc/uv/uv.toml": tt.text}))
		var e *ConfigError
		if !errors.As(err, &e) || e.Line != tt.line || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q gives %v, want %q on line %d", tt.text, err, tt.says, tt.line)
		}
	}
}

func TestMerge(t *testing.T) {
	first := Config{
		Default: Index{URL: "https://1.example", Source: "a"}, Extra: []Index{{URL: "https://x.example", Source: "a"}},
		NoIndex: Setting[bool]{false, "a"}, OnlyBinary: []string{"numpy"},
	}
	second := Config{
		Default: Index{URL: "https://2.example", Source: "b"}, Extra: []Index{{URL: "https://x.example", Source: "b"}, {URL: "https://y.example", Source: "b"}},
		NoIndex: Setting[bool]{true, "b"}, Pre: Setting[bool]{true, "b"}, NoBinary: []string{"numpy", "lxml"},
	}
	want := Config{
		Default: Index{URL: "https://1.example", Source: "a"}, Extra: []Index{{URL: "https://x.example", Source: "a"}, {URL: "https://y.example", Source: "b"}},
		NoIndex: Setting[bool]{false, "a"}, Pre: Setting[bool]{true, "b"}, OnlyBinary: []string{"numpy"}, NoBinary: []string{"lxml"},
	}
	if diff := cmp.Diff(want, Merge(first, second)); diff != "" {
		t.Error(diff)
	}
	if got := (Config{NoIndex: Setting[bool]{true, "a"}, Default: first.Default}).Indexes(Index{}); got != nil {
		t.Errorf("with no-index there are %v", got)
	}
	if got := (Config{}).Indexes(Index{URL: "https://f.example"}); len(got) != 1 {
		t.Errorf("without settings there are %v, want the fallback", got)
	}
}

func FuzzPipConf(f *testing.F) {
	for _, s := range []string{
		"[global]\nindex-url = https://a.example/simple\n", "[DEFAULT]\na=b\n[install]\nextra-index-url=\n  x\n  y\n",
		"; c\n[global]\nno-index: yes\n\n\n", "[g\n", "x\n", "[]\n", "[global]\ntimeout = 1e400\nno-binary=:all:,:none:,a\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := PipConfig(nil, Locations{}, files(map[string]string{"/etc/pip.conf": text}))
		var e *ConfigError
		if err != nil && !errors.As(err, &e) {
			t.Errorf("the error is a %T", err)
		}
	})
}

func FuzzUVConf(f *testing.F) {
	f.Add("[[index]]\nurl = 'https://a.example'\n[sources]\nx = [{index = 'y'}]\n[pip]\nno-binary = ['a']\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := UVConfig(nil, Locations{}, files(map[string]string{"/etc/uv/uv.toml": text}))
		var e *ConfigError
		if err != nil && !errors.As(err, &e) {
			t.Errorf("the error is a %T", err)
		}
	})
}
