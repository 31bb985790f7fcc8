package build

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// pip passes --config-settings to what the command line names and those of a line
// to the project of that line; uv passes them to all that is built.
func TestSettings(t *testing.T) {
	line := func(text string, settings ...string) python.FileRequirement {
		r, err := python.ParseRequirement(text)
		if err != nil {
			t.Fatal(err)
		}
		return python.FileRequirement{Requirement: r, ConfigSettings: settings}
	}
	list := []python.FileRequirement{line("One", "a=1"), line("two>1"), line("one<9", "a=2")}
	for _, c := range []struct {
		tool pip.Tool
		want map[string][]string
	}{
		{pip.Pip, map[string][]string{"one": {"a=1"}}},
		{pip.UV, map[string][]string{"": {"b=1"}, "one": {"a=1"}}},
	} {
		p := &installation{in: &pip.Install{Tool: c.tool, ConfigSettings: []string{"b=1"}}}
		if diff := cmp.Diff(c.want, p.settings(list)); diff != "" {
			t.Errorf("%s: %s", c.tool, diff)
		}
	}
}

// What is kept of a source is kept by all that decides what comes of it.
func TestBuilderKey(t *testing.T) {
	constraint, err := python.ParseRequirement("setuptools<70")
	if err != nil {
		t.Fatal(err)
	}
	constraints := []python.FileRequirement{{Requirement: constraint}}
	seen := map[string]int{}
	for i, b := range []*sourceBuilder{
		{},
		{settings: map[string][]string{"": {"a=1"}}},
		{settings: map[string][]string{"one": {"a=1"}}},
		{constraints: constraints},
		{constraints: constraints, settings: map[string][]string{"one": {"a=1"}}},
	} {
		if j, ok := seen[b.Key()]; ok {
			t.Errorf("%d and %d have one key, %s", j, i, b.Key())
		}
		seen[b.Key()] = i
	}
}

// An editable project lies at its own path while it is built, if the build can do
// without what else is there.
func TestMayLieApart(t *testing.T) {
	py := wheel.Installation{Interpreter: "/usr/local/bin/python3", Prefix: "/usr/local"}
	for dir, ok := range map[string]bool{"/app": true, "/usr/src/app": true, "/tmp/app": true, "/": false, "/usr": false, "/usr/local": false, "/tmp": false, "/etc": false} {
		if err := mayLieApart(dir, py); (err == nil) != ok {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// A virtual environment that the same step makes is nowhere to be run: the Python
// that it is made of stands for it.
func TestBehind(t *testing.T) {
	py := func(version string, venv bool) *pythonInImage {
		return &pythonInImage{installation: wheel.Installation{Python: version, Venv: venv}}
	}
	for _, c := range []struct {
		own, venv *pythonInImage
		want      bool
	}{
		{py("3.13", false), py("3.13", true), true},
		{py("3.12", false), py("3.13", true), false},
		{py("3.13", true), py("3.13", true), false},
		{py("3.13", false), py("3.13", false), false},
	} {
		if got := c.own.behind(c.venv); got != c.want {
			t.Errorf("%v behind %v: %t", c.own.installation, c.venv.installation, got)
		}
	}
}
