package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/boyabuild/boyabuild/pkg/debian"
)

func TestConfigPathsAreRelativeToIt(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "deploy", "b.yaml")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	text := `base: ../root
bases:
  folder: ./base
  layout: oci-layout://images/base:1.0
  absolute: oci-layout:///images/base
  archive: docker-archive://base.tar
  registry: example.com/team/base:1.0
  scratch: scratch
  plain: debian://trixie?packages=python3
  signed: debian://trixie?packages=libstdc++6&signed-by=keys/a+b%26c.gpg&arch=amd64
  elsewhere: debian://trixie?signed-by=/etc/k.gpg
`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(file, "elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"folder":    dir + "/deploy/base",
		"layout":    "oci-layout://" + dir + "/deploy/images/base:1.0",
		"absolute":  "oci-layout:///images/base",
		"archive":   "docker-archive://" + dir + "/deploy/base.tar",
		"registry":  "example.com/team/base:1.0",
		"scratch":   "scratch",
		"plain":     "debian://trixie?packages=python3",
		"elsewhere": "debian://trixie?signed-by=/etc/k.gpg",
	}
	spec, err := debian.ParseSpec(c.Bases["signed"])
	if err != nil || spec.SignedBy != dir+"/deploy/keys/a+b&c.gpg" || spec.Arch != "amd64" {
		t.Errorf("%+v, %v", spec, err)
	}
	want["signed"] = c.Bases["signed"]
	if diff := cmp.Diff(want, c.Bases); diff != "" || c.Base != dir+"/root" {
		t.Errorf("base %s (-want +got):\n%s", c.Base, diff)
	}
}

func TestParseConfig(t *testing.T) {
	tests := map[string]struct {
		text string
		want config
	}{
		"nothing":      {"", config{}},
		"comment":      {"# later\n", config{}},
		"null":         {"deploy:\nplatforms: ~\n", config{}},
		"one index":    {"index: http://a.example/simple", config{Index: stringList{"http://a.example/simple"}}},
		"many indexes": {"index: [http://a.example, http://b.example]", config{Index: stringList{"http://a.example", "http://b.example"}}},
		"flow":         {`{"platforms": ["linux/arm64"]}`, config{Platforms: []string{"linux/arm64"}}},
		"alias": {
			"bases: &b\n  web: ./base\nlocal:\n  vars: *b\n",
			config{Bases: map[string]string{"web": "./base"}, Local: localConfig{Vars: map[string]string{"web": "./base"}}},
		},
		"text that looks like another type": {
			"deploy:\n  vars: {COUNT: 2, ON: true, VERSION: 1.10}\n",
			config{Deploy: deployConfig{Vars: map[string]string{"COUNT": "2", "ON": "true", "VERSION": "1.10"}}},
		},
		"all": {`
repository: boyacky/web-app
platforms: [linux/amd64, linux/arm64]
dockerfile: deploy/Dockerfile
base: debian://trixie?packages=python3
bases:
  python:alpine: debian://trixie?packages=python3
index: [http://a.example]
debian: {mirror: http://d.example/debian, security: http://s.example/debian-security}
deploy:
  region: ap-northeast-1
  cluster: handon-cluster
  task_definition: deploy/taskdef.json
  service: deploy/service.json
  container: web
  vars: {STAGE: test}
local:
  vars: {STORE: memory}
`, config{
			Repository: "boyacky/web-app", Platforms: []string{"linux/amd64", "linux/arm64"}, Dockerfile: "deploy/Dockerfile",
			Base: "debian://trixie?packages=python3", Bases: map[string]string{"python:alpine": "debian://trixie?packages=python3"},
			Index: stringList{"http://a.example"}, Debian: debianConfig{"http://d.example/debian", "http://s.example/debian-security"},
			Deploy: deployConfig{Region: "ap-northeast-1", Cluster: "handon-cluster", TaskDefinition: "deploy/taskdef.json",
				Service: "deploy/service.json", Container: "web", Vars: map[string]string{"STAGE": "test"}},
			Local: localConfig{Vars: map[string]string{"STORE": "memory"}},
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseConfig("b.yaml", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&test.want, got, cmp.AllowUnexported(config{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseConfigErrors(t *testing.T) {
	tests := []struct{ text, err, hint string }{
		{"repositry: a", `b.yaml:1: unknown key "repositry"`, `did you mean "repository"?`},
		{"index: a\nplatform: [linux/amd64]", `b.yaml:2: unknown key "platform"`, `did you mean "platforms"?`},
		{"deploy:\n  task-definition: a", `b.yaml:2: unknown key "deploy.task-definition"`, `did you mean "task_definition"?`},
		{"debian:\n\n  qqqqqqqqqq: a", `b.yaml:3: unknown key "debian.qqqqqqqqqq"`, "known keys: mirror, security"},
		{"bases: &a {web: b}\ndeploy: *a", `b.yaml:1: unknown key "deploy.web"`, "known keys: cluster, container, region, service, task_definition, vars"},
		{"1: a", `b.yaml:1: unknown key "1"`, "known keys: base, bases, cache_from, debian, deploy, dockerfile, index, local, max_layers, platforms, repository"},
		{"index: a\nindex: b", `b.yaml:2: key "index" comes twice`, ""},
		{"bases:\n  web: a\n  web: b", `b.yaml:3: mapping key "web" already defined at line 2`, ""},
		{"repository: [a]", "b.yaml:1: repository is not a string", ""},
		{"platforms: linux/amd64", "b.yaml:1: platforms is not a list", ""},
		{"platforms:\n- linux/amd64\n- {a: b}", "b.yaml:3: platforms[1] is not a string", ""},
		{"index:\n- [a]", "b.yaml:2: index[0] is not a string", ""},
		{"index: {a: b}", "b.yaml:1: index is not a list", ""},
		{"bases: [a]", "b.yaml:1: bases is not a mapping of keys to values", ""},
		{"bases:\n  web: [a]", "b.yaml:2: bases.web is not a string", ""},
		{"deploy: yes", "b.yaml:1: deploy is not a mapping of keys to values", ""},
		{"[a]", "b.yaml:1: is not a mapping of keys to values", ""},
		{"index: a\n---\nrepository: b", "b.yaml:2: a second document begins, and only the first would be read", ""},
		{"text", "b.yaml:1: is not a mapping of keys to values", ""},
	}
	for _, test := range tests {
		_, err := parseConfig("b.yaml", []byte(test.text))
		var e *configError
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if e.Error() != test.err || e.Hint() != test.hint {
			t.Errorf("%q:\n%s\nhint: %s\nwant:\n%s\nhint: %s", test.text, e, e.Hint(), test.err, test.hint)
		}
		if exitStatus(err) != exitUsage {
			t.Errorf("%q: exit status %d", test.text, exitStatus(err))
		}
	}
}

// What is no YAML at all is told with its line, whatever the parser's words.
func TestParseConfigSyntax(t *testing.T) {
	for text, line := range map[string]int{
		"a: b\n\tc: d":        2,
		"deploy:\n  vars: {a": 0, // the parser says where the file ends
		"a: *none":            1,
		"repository: \"a":     0,
		"a: b: c":             1,
		"\x00":                0,
		"a: !!binary x":       1,
	} {
		_, err := parseConfig("b.yaml", []byte(text))
		var e *configError
		if !errors.As(err, &e) || e.reason == "" || strings.Contains(e.reason, "yaml:") || strings.Contains(e.reason, "\n") {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if line > 0 && e.line != line {
			t.Errorf("%q: line %d, want %d: %v", text, e.line, line, err)
		}
	}
}

func TestLoadConfig(t *testing.T) {
	dir := t.TempDir()
	if c, err := loadConfig("", dir); err != nil || c.path != "" {
		t.Errorf("no file: %v, %v", c, err)
	}
	if _, err := loadConfig(filepath.Join(dir, "none.yaml"), dir); err == nil || exitStatus(err) != exitUsage || errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "none.yaml: no such file") {
		t.Errorf("a file that was named: %v", err)
	}
	p := filepath.Join(dir, configFile)
	if err := os.WriteFile(p, []byte("repository: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := loadConfig("", dir); err != nil || c.path != p || c.Repository != "a" {
		t.Errorf("beside the context: %v, %v", c, err)
	}
	if err := os.WriteFile(p, []byte("#"+strings.Repeat(" ", maxConfig)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadConfig("", dir); err == nil || !strings.Contains(err.Error(), "has more than 1048576 bytes") {
		t.Errorf("a large file: %v", err)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("repository: a\nbases: {a: b}\nindex: c\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("deploy: &a\n  vars: {<<: *a}\n"))
	f.Add([]byte("bases: &a\n  b: *a\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConfig("b.yaml", b)
		var e *configError
		if err != nil && !errors.As(err, &e) || err == nil && c == nil {
			t.Fatalf("%v, %T %v", c, err, err)
		}
	})
}
