package dockerfile

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const staged = `ARG PY=3.13
ARG NOVALUE
FROM python:${PY}-slim AS base
ONBUILD COPY --from=assets /o /o
FROM scratch AS assets
COPY . /
FROM --platform=$BUILDPLATFORM node AS js
FROM base AS test
RUN --mount=type=bind,from=js,target=/js --mount=from=nginx,target=/n test
FROM base AS final
COPY --from=0 /a /a
COPY --from=busybox /b /b
`

func TestResolve(t *testing.T) {
	arm := v1.Platform{OS: "linux", Architecture: "arm64"}
	amd := v1.Platform{OS: "linux", Architecture: "amd64"}
	tests := []struct {
		name string
		o    Options
		want []string
	}{
		{"last", Options{}, []string{
			"base <- python:3.13-slim linux/arm64 []",
			"assets <- scratch linux/arm64 []",
			"final <- stage 0 linux/arm64 [0 1]",
		}},
		{"target", Options{Target: "Test"}, []string{
			"base <- python:3.13-slim linux/arm64 []",
			"assets <- scratch linux/arm64 []",
			"js <- node linux/amd64 []",
			"test <- stage 0 linux/arm64 [0 1 2]",
		}},
		{"by index", Options{Target: "1"}, []string{"assets <- scratch linux/arm64 []"}},
		{"argument", Options{Target: "base", BuildArgs: map[string]string{"PY": "3.14"}}, []string{"base <- python:3.14-slim linux/arm64 []"}},
		{"a context for a stage", Options{Contexts: []string{"base", "assets"}}, []string{
			"base <- base linux/arm64 [] context",
			"final <- stage 0 linux/arm64 [0]",
		}},
	}
	f := parseText(t, staged)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Platform, tt.o.BuildPlatform = arm, amd
			r, err := f.Resolve(tt.o)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, st := range r.Stages {
				base := st.Base.Name
				if st.Base.IsStage {
					base = fmt.Sprintf("stage %d", st.Base.Stage)
				}
				line := fmt.Sprintf("%s <- %s %s %v", st.Label(), base, st.Platform, st.Needs)
				if st.Context != "" {
					line += " context"
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if len(r.Warnings) != 0 {
				t.Error(r.Warnings)
			}
		})
	}
}

func TestResolveErrors(t *testing.T) {
	tests := []struct {
		text       string
		o          Options
		want, hint string
	}{
		{staged, Options{Target: "tset"}, `Dockerfile: there is no stage "tset": the stages are base, assets, js, test, final`, "did you mean test?"},
		{"FROM a\n", Options{Target: "x"}, `Dockerfile: there is no stage "x": no stage has a name`, ""},
		{"FROM a\n", Options{Target: "1"}, `Dockerfile: there is no stage "1": no stage has a name`, ""},
		{"\nFROM $X\n", Options{}, "Dockerfile:2: FROM $X is empty once its variables are expanded", ""},
		{"FROM ${X\n", Options{}, `Dockerfile:1: cannot process "${X": unsupported modifier (end of word) in substitution`, ""},
		{"ARG A=${X\nFROM a\n", Options{}, `Dockerfile:1: cannot process "${X": unsupported modifier (end of word) in substitution`, ""},
		{"FROM --platform=$X a\n", Options{}, "Dockerfile:1: --platform=$X is empty once its variables are expanded", ""},
		{"FROM --platform=a/b/c/d a\n", Options{}, `Dockerfile:1: "a/b/c/d" is not a platform (os/architecture)`, ""},
		{"FROM a AS b\nONBUILD BOGUS x\nFROM b\n", Options{}, "Dockerfile:3: ONBUILD BOGUS x: unknown instruction: BOGUS", ""},
		{"# check=error=true\nFROM a:$X\n", Options{}, "Dockerfile:2: FROM argument 'X' is not declared (UndefinedArgInFrom)", `the directive "# check=error=true" makes this an error`},
	}
	for _, tt := range tests {
		_, err := parseText(t, tt.text).Resolve(tt.o)
		var e *Error
		if !errors.As(err, &e) || err.Error() != tt.want || e.Hint() != tt.hint {
			t.Errorf("%q:\n got %v\nwant %s (%s)", tt.text, err, tt.want, tt.hint)
		}
	}
}

func TestResolveWarnings(t *testing.T) {
	f := parseText(t, "ARG VERSION\nFROM a:$VERSON\nARG ONE\nONBUILD ARG TWO\n")
	r, err := f.Resolve(Options{BuildArgs: map[string]string{
		"VERSION": "", "ONE": "", "TWO": "", "VERSIN": "", "TARGETARCH": "", "http_proxy": "", "BUILDKIT_INLINE_CACHE": "1", "OTHER": "",
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range r.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		"Dockerfile:2: FROM argument 'VERSON' is not declared (did you mean VERSION?) (UndefinedArgInFrom)",
		"Dockerfile: build argument OTHER is not used: no ARG declares it",
		"Dockerfile: build argument VERSIN is not used: no ARG declares it (did you mean VERSION?)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestBeginOn holds what a stage takes over from the one it stands on.
func TestBeginOn(t *testing.T) {
	f := parseText(t, `FROM x AS base
ARG A=1
ENV E=$A
CMD ["basecmd"]
ONBUILD ENV T=$A
FROM base
ENV F=$E$A
ENTRYPOINT ["e"]
RUN x
`)
	r, err := f.Resolve(Options{})
	if err != nil {
		t.Fatal(err)
	}
	base, err := r.Begin(r.Stages[0], configWithEnv("PATH=/bin"), "me")
	if err != nil {
		t.Fatal(err)
	}
	applyAll(t, base)
	s, err := r.BeginOn(r.Stages[1], base)
	if err != nil {
		t.Fatal(err)
	}
	applied := applyAll(t, s)
	want := v1.Config{Env: []string{"PATH=/bin", "E=1", "T=1", "F=11"}, Entrypoint: []string{"e"}, WorkingDir: "/"}
	if diff := cmp.Diff(want, s.Config); diff != "" {
		t.Error(diff)
	}
	if got := applied[len(applied)-1].CreatedBy; got != "RUN |1 A=1 /bin/sh -c x # boyabuild" {
		t.Error(got)
	}
	if o := s.Steps[0].At(); !o.Trigger || o.Line != 6 || o.Text != "ENV T=$A" {
		t.Errorf("the trigger is %+v", o)
	}
	if diff := cmp.Diff([]string{"ENV T=$A"}, base.Config.OnBuild); diff != "" || s.Author != "me" {
		t.Error(diff, s.Author)
	}
}

// TestTriggers holds that an image's ONBUILD instructions run first, once.
func TestTriggers(t *testing.T) {
	f := parseText(t, "FROM busybox AS tools\nFROM x\nENV B=$A\n")
	r, err := f.Resolve(Options{})
	if err != nil {
		t.Fatal(err)
	}
	last := r.Stages[len(r.Stages)-1]
	s, err := r.Begin(last, v1.Config{OnBuild: []string{"ENV A=1", "RUN <<E\nx\nE"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	applyAll(t, s)
	if diff := cmp.Diff([]string{"PATH=" + defaultPath, "A=1", "B=1"}, s.Config.Env); diff != "" || s.Config.OnBuild != nil {
		t.Error(diff, s.Config.OnBuild)
	}
	for trigger, want := range map[string]string{
		"":                        "Dockerfile:2: ONBUILD : is empty",
		"RUN a\nRUN b":            "Dockerfile:2: ONBUILD RUN a RUN b: not one instruction",
		"COPY --from=tools /a /b": "Dockerfile:2: COPY --from=tools /a /b, a trigger of the base, needs stage tools, which nothing else does",
		"HEALTHCHECK --x=1 CMD y": "Dockerfile:2: ONBUILD HEALTHCHECK --x=1 CMD y: unknown flag: --x",
		"RUN " + "\x00":           "Dockerfile:2: ONBUILD RUN \x00: contains a NUL byte",
		"ENV A=1 " + "B":          `Dockerfile:2: ONBUILD ENV A=1 B: Syntax error - can't find = in "B". Must be of the form: name=value`,
		strings.Repeat("#", 3):    "Dockerfile:2: ONBUILD ###: file with no instructions",
		"FROM y":                  "Dockerfile:2: ONBUILD FROM y: FROM is not a step of a stage",
	} {
		_, err := r.Begin(last, v1.Config{OnBuild: []string{trigger}}, "")
		var e *Error
		if !errors.As(err, &e) || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", trigger, err, want)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64": "linux/amd64", "linux/x86_64": "linux/amd64", "aarch64": "linux/arm64", "arm64/v8": "linux/arm64",
		"linux/arm": "linux/arm/v7", "linux/arm/v6": "linux/arm/v6", "armhf": "linux/arm/v7", "LINUX/AMD64/v3": "linux/amd64/v3", "windows/amd64": "windows/amd64",
	} {
		got, err := ParsePlatform(in)
		if err != nil || got.String() != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "linux/", "a/b/c/d", "linux/amd 64", "$X"} {
		if _, err := ParsePlatform(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
