package dockerfile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// plain compares steps without where they come from.
var plain = cmp.Options{
	cmpopts.IgnoreTypes(Origin{}),
	cmpopts.IgnoreUnexported(Run{}),
	cmpopts.EquateEmpty(),
}

func parseText(t testing.TB, text string) *File {
	t.Helper()
	f, err := Parse("Dockerfile", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParse(t *testing.T) {
	f := parseText(t, `# syntax=docker/dockerfile:1
# the course's app
ARG TAG=alpine
FROM python:${TAG} AS Base
WORKDIR /boyacky

COPY . /boyacky
RUN pip install \
    # a comment in between
    flask==3.1.3
FROM --platform=$BUILDPLATFORM base
COPY --from=base /a /b
CMD ["-m", "app"]
`)
	if f.Syntax != "docker/dockerfile:1" || f.Escape != '\\' || f.Name != "Dockerfile" {
		t.Errorf("syntax %q, escape %q, name %q", f.Syntax, f.Escape, f.Name)
	}
	var got []string
	for _, st := range f.Stages {
		got = append(got, fmt.Sprintf("%d-%d %s|%s|%s", st.Line, st.EndLine, st.Name, st.From, st.Platform))
		for _, step := range st.Steps {
			o := step.At()
			got = append(got, fmt.Sprintf("%d-%d %T %s", o.Line, o.EndLine, step, o.Text))
		}
	}
	want := []string{
		"4-4 base|python:${TAG}|",
		"5-5 dockerfile.Workdir WORKDIR /boyacky",
		"7-7 dockerfile.Copy COPY . /boyacky",
		"8-10 dockerfile.Run RUN pip install     flask==3.1.3",
		"11-11 |base|$BUILDPLATFORM",
		"12-12 dockerfile.Copy COPY --from=base /a /b",
		`13-13 dockerfile.Cmd CMD ["-m", "app"]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Arg{{Args: []ArgVar{{"TAG", "alpine", true}}}}, f.MetaArgs, plain); diff != "" {
		t.Error(diff)
	}
	if f.Stages[0].Label() != "base" || f.Stages[1].Label() != "stage-1" {
		t.Error("labels", f.Stages[0].Label(), f.Stages[1].Label())
	}
}

// TestSteps reads every instruction in every form.
func TestSteps(t *testing.T) {
	yes, mode, id := true, uint32(0o600), 7
	empty := ""
	tests := []struct {
		text string
		want Step
	}{
		{`ENV A=1 B="x y" C=z\ w`, Env{Vars: []Var{{"A", "1"}, {"B", `"x y"`}, {"C", `z\ w`}}}},
		{`ENV A b c`, Env{Vars: []Var{{"A", "b c"}}}},
		{`LABEL a.b=c "d e"=f`, Label{Labels: []Var{{"a.b", "c"}, {`"d e"`, "f"}}}},
		{`WORKDIR a b`, Workdir{Path: "a b"}},
		{`USER 65532:0`, User{User: "65532:0"}},
		{`EXPOSE 8080 53/udp`, Expose{Ports: []string{"53/udp", "8080"}}},
		{`ENTRYPOINT ["python3"]`, Entrypoint{Command: Command{Args: []string{"python3"}}}},
		{`ENTRYPOINT []`, Entrypoint{}},
		{`CMD python3  -m app`, Cmd{Command: Command{Args: []string{"python3  -m app"}, Shell: true}}},
		{`CMD ['not', 'json']`, Cmd{Command: Command{Args: []string{"['not', 'json']"}, Shell: true}}},
		{`ARG A B= C=d`, Arg{Args: []ArgVar{{"A", "", false}, {"B", "", true}, {"C", "d", true}}}},
		{`VOLUME /a /b`, Volume{Paths: []string{"/a", "/b"}}},
		{`VOLUME ["/a b"]`, Volume{Paths: []string{"/a b"}}},
		{`STOPSIGNAL SIGINT`, StopSignal{Signal: "SIGINT"}},
		{`HEALTHCHECK NONE`, Healthcheck{Check: Health{Test: []string{"NONE"}}}},
		{`HEALTHCHECK --interval=5s --timeout=1m --start-period=2s --retries=4 CMD ["a", "b"]`, Healthcheck{Check: Health{
			Test: []string{"CMD", "a", "b"}, Interval: 5 * time.Second, Timeout: time.Minute, StartPeriod: 2 * time.Second, Retries: 4,
		}}},
		{`HEALTHCHECK CMD a || b`, Healthcheck{Check: Health{Test: []string{"CMD-SHELL", "a || b"}}}},
		{`SHELL ["/bin/bash", "-o", "pipefail", "-c"]`, Shell{Shell: []string{"/bin/bash", "-o", "pipefail", "-c"}}},
		{`ONBUILD COPY . /app`, Onbuild{Trigger: "COPY . /app"}},
		{`MAINTAINER A B <a@example.com>`, Maintainer{Name: "A B <a@example.com>"}},
		{`COPY --chown=a:b --chmod=u=rwX --link --parents --exclude=*.md --exclude=x a b/ c/`, Copy{
			Sources: []string{"a", "b/"}, Dest: "c/", Chown: "a:b", Chmod: "u=rwX", Link: true, Parents: true, Exclude: []string{"*.md", "x"},
		}},
		{`COPY ["a b", "c"]`, Copy{Sources: []string{"a b"}, Dest: "c"}},
		{"COPY <<A <<'B' x /d/\n1$V\nA\n2$V\nB", Copy{
			Sources: []string{"x"}, Dest: "/d/", Inline: []Inline{{"A", "1$V\n", true}, {"B", "2$V\n", false}},
		}},
		{`COPY --from=builder /a /b`, Copy{Sources: []string{"/a"}, Dest: "/b", From: Ref{Name: "builder", IsStage: true}}},
		{`COPY --from=0 /a /b`, Copy{Sources: []string{"/a"}, Dest: "/b", From: Ref{Name: "0", IsStage: true}}},
		{`COPY --from=Builder /a /b`, Copy{Sources: []string{"/a"}, Dest: "/b", From: Ref{Name: "Builder", IsStage: true}}},
		{`COPY --from=nginx:1 /a /b`, Copy{Sources: []string{"/a"}, Dest: "/b", From: Ref{Name: "nginx:1"}}},
		{`ADD --checksum=sha256:00 --keep-git-dir --unpack=true https://example.com/a.tgz /b`, Add{
			Sources: []string{"https://example.com/a.tgz"}, Dest: "/b", Checksum: "sha256:00", KeepGitDir: &yes, Unpack: &yes,
		}},
		{`RUN a && b`, Run{Command: Command{Args: []string{"a && b"}, Shell: true}, Network: "default", Security: "sandbox"}},
		{`RUN --network=none --security=insecure --device=example.com/gpu,required ["a", "b"]`, Run{
			Command: Command{Args: []string{"a", "b"}}, Network: "none", Security: "insecure", Devices: []Device{{"example.com/gpu", true}},
		}},
		{`RUN --mount=type=cache,target=/root/.cache/pip,uid=7,gid=7,mode=0600 --mount=type=secret,id=k,env= --mount=from=builder,source=/w,target=/w,rw a`, Run{
			Command: Command{Args: []string{"a"}, Shell: true}, Network: "default", Security: "sandbox",
			Mounts: []Mount{
				{Type: "cache", Target: "/root/.cache/pip", ID: "/root/.cache/pip", Sharing: "shared", UID: &id, GID: &id, Mode: &mode},
				{Type: "secret", ID: "k", Env: &empty, ReadOnly: true},
				{Type: "bind", From: Ref{Name: "builder", IsStage: true}, Source: "/w", Target: "/w"},
			},
		}},
		{`RUN --mount=type=tmpfs,target=/t,size=1m --mount=type=ssh,required a`, Run{
			Command: Command{Args: []string{"a"}, Shell: true}, Network: "default", Security: "sandbox",
			Mounts: []Mount{{Type: "tmpfs", Target: "/t", Size: 1 << 20}, {Type: "ssh", ReadOnly: true, Required: true}},
		}},
		{`RUN --mount=type=cache,target=$X a`, Run{Command: Command{Args: []string{"a"}, Shell: true}, Network: "default", Security: "sandbox"}},
		{"RUN <<-E\n\tx\n\tE", Run{
			Command: Command{Args: []string{"<<-E"}, Shell: true}, Network: "default", Security: "sandbox",
			Heredocs: []Heredoc{{"E", "\tx\n", true}},
		}},
	}
	for _, tt := range tests {
		f, err := Parse("Dockerfile", strings.NewReader("FROM x AS builder\nFROM y\n"+tt.text+"\n"))
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if diff := cmp.Diff(tt.want, f.Stages[1].Steps[0], plain); diff != "" {
			t.Errorf("%s: %s", tt.text, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ text, want, hint string }{
		{"", "Dockerfile: is empty", "a Dockerfile begins with FROM"},
		{" \n\t\n", "Dockerfile: is empty", "a Dockerfile begins with FROM"},
		{"# nothing\n", "Dockerfile:1: file with no instructions", ""},
		{"ARG A=1\n", "Dockerfile: no FROM, so there is nothing to build", ""},
		{"RUN true\n", "Dockerfile:1: RUN before the first FROM", ""},
		{"FROM a\nRUM true\n", "Dockerfile:2: unknown instruction RUM", "did you mean RUN?"},
		{"FROM a\n\ncoppy a b\n", "Dockerfile:3: unknown instruction COPPY", "did you mean COPY?"},
		{"FROM a\nXYZZY\n", "Dockerfile:2: unknown instruction XYZZY", ""},
		{"FROM a b\n", "Dockerfile:1: FROM requires either one or three arguments", ""},
		{"FROM a AS 1\n", `Dockerfile:1: invalid name for build stage: "1", name can't start with a number or contain symbols`, ""},
		{"FROM a\nCOPY x\n", "Dockerfile:2: COPY requires at least two arguments, but only one was provided. Destination could not be determined", ""},
		{"FROM a\nENV X\n", "Dockerfile:2: ENV must have two arguments", ""},
		{"FROM a\nENV A=1 B\n", `Dockerfile:2: syntax error - can't find = in "B". Must be of the form: name=value`, ""},
		{"FROM a\nRUN\n", "Dockerfile:2: RUN without a command", ""},
		{"FROM a\nRUN []\n", "Dockerfile:2: RUN without a command", ""},
		{"FROM a\nCMD\n", "Dockerfile:2: CMD without a command", ""},
		{"FROM a\nRUN <<E\nx\n", "Dockerfile:2: unterminated heredoc", ""},
		{"FROM a\nRUN --mout=x true\n", "Dockerfile:2: unknown flag: --mout (did you mean mount?)", ""},
		{"FROM a\nRUN --mount=type=bin,target=/x true\n", `Dockerfile:2: unsupported mount type "bin" (did you mean bind?)`, ""},
		{"FROM a\nRUN --mount=type=cache,target=/x,uid=q true\n", "Dockerfile:2: invalid value q for uid", ""},
		{"FROM a\nCOPY --from=1 x y\n", "Dockerfile:2: --from=1: there is no such stage before this one", ""},
		{"FROM a\nCOPY --from=0 x y\n", "Dockerfile:2: --from=0: there is no such stage before this one", ""},
		{"FROM a\nCOPY --from=$X x y\n", "Dockerfile:2: --from=$X: variables are not expanded here", "name a stage with FROM $VARIABLE AS name, and copy from that"},
		{"FROM a\nSHELL bash -c\n", "Dockerfile:2: SHELL requires the arguments to be in JSON form", ""},
		{"FROM a\nHEALTHCHECK CMD\n", "Dockerfile:2: missing command after HEALTHCHECK CMD", ""},
		{"FROM a\nHEALTHCHECK --interval=5 CMD x\n", `Dockerfile:2: time: missing unit in duration "5"`, ""},
		{"FROM a\nONBUILD FROM b\n", "Dockerfile:2: FROM isn't allowed as an ONBUILD trigger", ""},
		{"# escape=x\nFROM a\n", "Dockerfile:1: escape directive \"x\" is neither \\ nor `", ""},
		{"# escape=`\n# escape=`\nFROM a\n", "Dockerfile:2: only one escape parser directive can be used", ""},
		{"# check=foo=1\nFROM a\n", `Dockerfile:1: invalid check option "foo"`, ""},
		{"FROM a\nRUN \xff\n", "Dockerfile:2: not UTF-8", ""},
		{"FROM a\nRUN \x00\n", "Dockerfile:2: contains a NUL byte", ""},
		{"FROM a\nRUN " + strings.Repeat("x", 1<<16), "Dockerfile:2: line is longer than 65535 bytes", ""},
		{strings.Repeat("#\n", maxFileSize), "Dockerfile: larger than 16777216 bytes", ""},
		{"# check=error=true\nFROM a\nMAINTAINER x\n", "Dockerfile:3: maintainer instruction is deprecated in favor of using label (MaintainerDeprecated)",
			`the directive "# check=error=true" makes this an error`},
	}
	for _, tt := range tests {
		_, err := Parse("Dockerfile", strings.NewReader(tt.text))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.40q: error %v", tt.text, err)
			continue
		}
		if err.Error() != tt.want || e.Hint() != tt.hint {
			t.Errorf("%.40q:\n got %s (%s)\nwant %s (%s)", tt.text, err, e.Hint(), tt.want, tt.hint)
		}
		if file, line := e.Position(); file != "Dockerfile" || (line > 0) != strings.HasPrefix(tt.want, "Dockerfile:"+fmt.Sprint(line)) {
			t.Errorf("%.40q: position %s:%d", tt.text, file, line)
		}
	}
}

func TestWarnings(t *testing.T) {
	f := parseText(t, `FROM a AS Base
RUN a \

  b
CMD x
CMD y
MAINTAINER z
FROM b AS base
# check=skip=MaintainerDeprecated
MAINTAINER z
`)
	var got []string
	for _, w := range f.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		"Dockerfile:4: empty continuation line (NoEmptyContinuation)",
		"Dockerfile:1: stage name 'Base' should be lowercase (StageNameCasing)",
		"Dockerfile:7: maintainer instruction is deprecated in favor of using label (MaintainerDeprecated)",
		"Dockerfile:5: multiple CMD instructions should not be used in the same stage because only the last one will be used (MultipleInstructionsDisallowed)",
		`Dockerfile:8: duplicate stage name "base", stage names should be unique (DuplicateStageName)`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEscapeDirective(t *testing.T) {
	f := parseText(t, "# escape=`\nFROM a\nCOPY a `\n  C:\\x\nENV A=`$B\n")
	if f.Escape != '`' || f.Stages[0].Steps[0].(Copy).Dest != `C:\x` {
		t.Errorf("%+v", f.Stages[0].Steps)
	}
	s := begin(t, f, Options{}, "")
	applyAll(t, s)
	if got := s.Config.Env[len(s.Config.Env)-1]; got != "A=$B" {
		t.Error(got)
	}
}

func TestProcess(t *testing.T) {
	sh := []string{"/bin/sh", "-c"}
	tests := []struct {
		text string
		want Process
	}{
		{`RUN a b`, Process{Args: []string{"/bin/sh", "-c", "a b"}}},
		{`RUN ["a", "b"]`, Process{Args: []string{"a", "b"}}},
		{"RUN <<E\na\nb\nE", Process{Args: []string{"/bin/sh", "-c", "a\nb\n"}}},
		{"RUN <<-E\n\ta\n\tE", Process{Args: []string{"/bin/sh", "-c", "a\n"}}},
		{"RUN python3 <<E && x\nprint(1)\nE", Process{Args: []string{"/bin/sh", "-c", "python3 <<E && x\nprint(1)\nE"}}},
		{"RUN <<E\n#!/usr/bin/env python3\nprint(1)\nE", Process{
			Args:   []string{"/bin/sh", "-c", "/dev/pipes/E"},
			Script: &Script{Path: "/dev/pipes/E", Data: "#!/usr/bin/env python3\nprint(1)\n"},
		}},
	}
	for _, tt := range tests {
		run := parseText(t, "FROM a\n"+tt.text).Stages[0].Steps[0].(Run)
		if diff := cmp.Diff(tt.want, run.Process(sh)); diff != "" {
			t.Errorf("%s: %s", tt.text, diff)
		}
	}
	if len(sh) != 2 {
		t.Error("the shell was changed")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("FROM python:alpine\nWORKDIR /boyacky\nCOPY . /boyacky\nRUN pip install flask==3.1.3\nEXPOSE 8080\nENTRYPOINT [\"python3\"]\nCMD [\"-m\", \"app\"]\n")
	f.Add("ARG A=1\nFROM a:${A:-x} AS b\nONBUILD RUN <<E\nx\nE\nFROM b\nCOPY --from=b --chmod=+x a b\nRUN --mount=type=cache,target=$X x\n")
	f.Add("# escape=`\n# check=error=true\nFROM a\nHEALTHCHECK --interval=1s CMD x\nENV A=\"b $c\" D='e'\nSHELL [\"a\"]\nVOLUME [\"/x\"]\nSTOPSIGNAL 9\n")
	f.Add("FROM a\nEXPOSE 1-65535 80:90/UDP\nLABEL a=b\nUSER x\nADD --checksum=sha256:0 http://example.com/x /\nCOPY <<-\"E\" /a\n\tx\n\tE\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("Dockerfile", strings.NewReader(text))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T is not an *Error: %v", err, err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("more than one line: %q", err)
			}
			return
		}
		evaluateAll(file)
	})
}

// evaluateAll applies every step of every stage; errors are for others to test.
func evaluateAll(file *File) {
	r, err := file.Resolve(Options{BuildArgs: map[string]string{"A": "b c", "X": "/x"}})
	if err != nil {
		return
	}
	done := map[int]*Scope{}
	for _, st := range r.Stages {
		s, err := r.Begin(st, configWithEnv("PATH=/bin", "V=w"), "")
		if base := done[st.Base.Stage]; st.Base.IsStage && base != nil {
			s, err = r.BeginOn(st, base)
		}
		if err != nil {
			return
		}
		for _, step := range s.Steps {
			if _, err := s.Apply(step); err != nil {
				return
			}
		}
		s.Env()
		done[st.Index] = s
	}
}
