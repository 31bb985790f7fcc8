package build_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/dockerfile"
)

// plan plans a Dockerfile. Nothing may be fetched for that, so the builder has
// neither a store nor an index, and the base is nowhere.
func plan(t *testing.T, text string, o build.Options) (*build.Plan, string, error) {
	t.Helper()
	o.Context = t.TempDir()
	name := filepath.Join(o.Context, "Dockerfile")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := (&build.Builder{}).Plan(t.Context(), o)
	return p, name, err
}

func TestPlanRefuses(t *testing.T) {
	for _, tt := range []struct {
		text string // after "FROM python:3.13\n"
		line int
		want string
		hint string
	}{
		{"RUN apt-get install -y libpq5", 2, `"apt-get" is not a pip install`, "debian://SUITE?packages="},
		{"\n\nRUN pip install flask && make", 4, `"make" is not a pip install`, "debian://"},
		{"RUN [\"make\"]", 2, `"make" is not a pip install`, "debian://"},
		{"RUN pip install \\\n  --frobnicate flask", 2, "--frobnicate", ""},
		{"ADD https://example.com/x.tgz /x", 2, "ADD of a URL (https://example.com/x.tgz)", "COPY"},
		{"ADD git@example.com:x/y.git /x", 2, "ADD of a URL", "COPY"},
		{"ADD data.tar.gz /x", 2, "ADD of an archive (data.tar.gz)", "--unpack=false"},
		{"ADD --unpack=true data.zip.TAR /x", 2, "ADD of an archive", "--unpack=false"},
		{"RUN --mount=type=bind,source=/x pip install flask", 2, "target", ""},
		{"RUN --mount=type=secret,id=x,required pip install flask", 2, "--mount=type=secret", "netrc"},
		{"RUN <<EOF\npip install flask\nmake\nEOF", 2, "make", ""},
		{"RUN <<EOF\n#!/usr/bin/env python3\nprint()\nEOF", 2, "here-document", "one a line"},
		{"FETCH a b", 2, "unknown instruction FETCH", ""},
		{"COPPY a b", 2, "unknown instruction COPPY", "COPY"},
		{"COPY a", 2, "", ""},
		{"COPY --from=9 a /b", 2, "--from=9", ""},
		{"COPY --from=$STAGE a /b", 2, "variables are not expanded", "FROM $VARIABLE AS name"},
		{"EXPOSE eighty", 2, "eighty", ""},
		{"ENV", 2, "", ""},
		{"LABEL a", 2, "", ""},
		{"HEALTHCHECK --interval=x CMD true", 2, "", ""},
		{"FROM debian AS x\nRUN apt-get update", 3, `"apt-get" is not a pip install`, ""},
		{"ONBUILD FROM x", 2, "", ""},
	} {
		t.Run(strings.ReplaceAll(tt.text, "/", "|"), func(t *testing.T) {
			_, name, err := plan(t, "FROM python:3.13\n"+tt.text+"\n", build.Options{})
			if err == nil {
				t.Fatal("it was planned")
			}
			checkFault(t, err, name, tt.line, tt.want, tt.hint)
		})
	}
}

func TestPlanRefusesWholeFiles(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		o          build.Options
		line       int
		want, hint string
	}{
		{"empty", "", build.Options{}, 0, "is empty", "FROM"},
		{"no FROM", "COPY a b\n", build.Options{}, 1, "before the first FROM", ""},
		{"unknown target", "FROM a AS web\n", build.Options{Target: "wbe"}, 0, `there is no stage "wbe"`, "web"},
		{"empty base", "FROM $BASE\n", build.Options{}, 1, "is empty once its variables are expanded", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, name, err := plan(t, tt.text, tt.o)
			if err == nil {
				t.Fatal("it was planned")
			}
			checkFault(t, err, name, tt.line, tt.want, tt.hint)
		})
	}
	_, err := (&build.Builder{}).Plan(t.Context(), build.Options{Context: "/nowhere/to/be/found"})
	checkFault(t, err, "/nowhere/to/be/found", 0, "is not a folder", "")
	dir := t.TempDir()
	_, err = (&build.Builder{}).Plan(t.Context(), build.Options{Context: dir, Dockerfile: filepath.Join(dir, "Other")})
	checkFault(t, err, filepath.Join(dir, "Other"), 0, "no such file", "")
}

func TestPlanTakes(t *testing.T) {
	p, _, err := plan(t, `ARG TAG=3.13
FROM python:$TAG AS build
RUN pip install ./wheels/*.whl
RUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt && python3 -m pip install flask
RUN $INSTALLER install flask
FROM unused AS unused
RUN apt-get update
FROM scratch
WORKDIR /app
COPY --from=build /usr /usr
ADD --unpack=false x.tar /x
ENV A=b
`, build.Options{Bases: map[string]string{"python:3.13": "oci-layout:///base"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []build.StagePlan{
		{Name: "build", Base: "python:3.13", Source: "oci-layout:///base", Steps: []build.StepPlan{
			{Line: 3, Kind: build.InstallPackages, Text: "RUN pip install ./wheels/*.whl"},
			{Line: 4, Kind: build.InstallPackages, Text: "RUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt && python3 -m pip install flask"},
			{Line: 5, Kind: build.InstallPackages, Text: "RUN $INSTALLER install flask"},
		}},
		{Name: "stage-2", Base: "scratch", Source: "scratch", Steps: []build.StepPlan{
			{Line: 9, Kind: build.MakeDirectory, Text: "WORKDIR /app"},
			{Line: 10, Kind: build.CopyFiles, Text: "COPY --from=build /usr /usr"},
			{Line: 11, Kind: build.CopyFiles, Text: "ADD --unpack=false x.tar /x"},
		}},
	}
	if diff := cmp.Diff(want, p.Platforms[0].Stages); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(p.Platforms) != 1 || p.Platforms[0].Platform.OS != "linux" {
		t.Errorf("platforms %+v", p.Platforms)
	}
}

func TestPlanWarnsOnce(t *testing.T) {
	p, _, err := plan(t, "FROM python AS Web\nMAINTAINER me\nCMD python app.py\n",
		build.Options{Platforms: platforms(), BuildArgs: map[string]string{"UNUSED": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, w := range p.Warnings {
		if seen[w.String()] {
			t.Errorf("twice: %s", w)
		}
		seen[w.String()] = true
	}
	if len(seen) < 2 {
		t.Errorf("warnings: %v", p.Warnings)
	}
}

func TestDetect(t *testing.T) {
	for _, tt := range []struct {
		files     []string
		command   string
		found     string
		reqs      string
		bad, hint string
	}{
		{files: []string{"app/__main__.py", "app.py", "requirements.txt"}, command: "python3 -m app", found: "app/__main__.py", reqs: "requirements.txt"},
		{files: []string{"app.py", "main.py"}, command: "python3 app.py", found: "app.py"},
		{files: []string{"main.py", "requirements.txt", "pyproject.toml"}, command: "python3 main.py", found: "main.py", reqs: "requirements.txt"},
		{files: []string{"manage.py"}, command: "python3 manage.py runserver --noreload 0.0.0.0:8080", found: "manage.py"},
		{files: []string{"app.py/x"}, bad: "nothing that starts an app", hint: "Dockerfile"},
		{files: []string{"README.md"}, bad: "no Dockerfile, no requirements.txt", hint: "name the folder"},
		{files: []string{"requirements.txt"}, bad: "does not tell how the app starts: it has none of app/__main__.py, app.py", hint: "CMD"},
		{files: []string{"pyproject.toml", "app.py"}, command: "python3 app.py", found: "app.py"}, // without a [project]
		{files: []string{"uv.lock", "app.py"}, bad: "has a uv.lock and no pyproject.toml"},
		{files: []string{"pylock.toml", "requirements.txt", "app.py"}, command: "python3 app.py", found: "app.py", reqs: "pylock.toml"},
		{files: []string{"Pipfile", "Pipfile.lock", "app.py"}, command: "python3 app.py", found: "app.py", reqs: "Pipfile.lock"},
	} {
		t.Run(strings.ReplaceAll(strings.Join(tt.files, " "), "/", "|"), func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range tt.files {
				p := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(p, nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p, err := build.Detect(dir, "")
			if tt.bad != "" {
				checkFault(t, err, dir, 0, tt.bad, tt.hint)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(p.Command, " "); got != tt.command || p.Found != tt.found || p.Dependencies != tt.reqs || p.Base != build.DefaultBase {
				t.Errorf("%+v", p)
			}
			if s := p.String(); strings.Contains(s, "\n") || !strings.Contains(s, tt.found) {
				t.Errorf("says %q", s)
			}
			f, err := dockerfile.Parse("x", strings.NewReader(p.Dockerfile()))
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Warnings) > 0 {
				t.Errorf("its Dockerfile warns: %v", f.Warnings)
			}
			planned, err := (&build.Builder{}).Plan(t.Context(), build.Options{Context: dir, Base: "debian://bookworm?packages=python3"})
			if err != nil {
				t.Fatal(err)
			}
			if planned.Project == nil || planned.Platforms[0].Stages[0].Base != "debian://bookworm?packages=python3" {
				t.Errorf("planned %+v", planned)
			}
		})
	}
	var project *build.ProjectError
	if _, err := build.Detect("/nowhere/to/be/found", ""); !errors.As(err, &project) {
		t.Errorf("error %v", err)
	}
}

// A step that makes no layer has nothing to do.
func TestPreviewOfADirectoryThatIsThere(t *testing.T) {
	w := newWorld(t).shop()
	w.write(map[string]string{"Dockerfile": "FROM python:3.13\nWORKDIR /usr\nWORKDIR /new\n"})
	p, err := w.builder.Plan(t.Context(), w.options)
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.builder.Preview(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	steps := v.Platforms[0].Stages[0].Steps
	if len(steps) != 2 || !steps[0].OnRecord || steps[0].Totals() != "nothing to do" || steps[1].OnRecord || steps[1].Totals() != "1 entry, layer to be made" {
		t.Errorf("%+v", steps)
	}
}
