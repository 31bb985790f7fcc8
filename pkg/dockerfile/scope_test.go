package dockerfile

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func configWithEnv(env ...string) v1.Config { return v1.Config{Env: env} }

// begin starts the last stage of f that stands on an image.
func begin(t testing.TB, f *File, o Options, base string, env ...string) *Scope {
	t.Helper()
	r, err := f.Resolve(o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Begin(r.Stages[len(r.Stages)-1], configWithEnv(env...), base)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func applyAll(t testing.TB, s *Scope) []Applied {
	t.Helper()
	var out []Applied
	for _, step := range s.Steps {
		a, err := s.Apply(step)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// TestExpand holds how words are expanded, by the value that an ENV gets.
func TestExpand(t *testing.T) {
	arm := v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	tests := []struct {
		name, before, text string
		args               map[string]string
		want               string
	}{
		{name: "base", text: `${BASE}-$BASE`, want: "b-b"},
		{name: "default", text: `${X:-y}`, want: "y"},
		{name: "default of empty", text: `${EMPTY:-y}|${EMPTY-y}`, want: "y|"},
		{name: "alternative", text: `${BASE:+y}|${X:+y}|`, want: "y||"},
		{name: "nested", text: `${X:-${Y:-$BASE}}`, want: "b"},
		{name: "prefix and suffix", text: `${BASE:-}${P#a/}${P%/c}`, want: "bb/ca/b"},
		{name: "replace", text: `${P//\//-}`, want: "a-b-c"},
		{name: "unset is empty", text: `<$NOPE>`, want: "<>"},
		{name: "double quotes", text: `"x $BASE"`, want: "x b"},
		{name: "single quotes", text: `'x $BASE'`, want: "x $BASE"},
		{name: "escapes", text: `\$BASE\ "\""`, want: `$BASE "`},
		{name: "arg default", before: "ARG A=1", text: `$A`, want: "1"},
		{name: "arg given", before: "ARG A=1", args: map[string]string{"A": "2"}, text: `$A`, want: "2"},
		{name: "given value is not expanded", before: "ARG A", args: map[string]string{"A": "$BASE"}, text: `$A`, want: "$BASE"},
		{name: "default is", before: "ARG A=$BASE", text: `$A`, want: "b"},
		{name: "arg of arg", before: "ARG A=1 B=${A}2", text: `$B`, want: "12"},
		{name: "not declared", args: map[string]string{"A": "2"}, text: `<$A>`, want: "<>"},
		{name: "global needs an ARG", text: `<$GLOBAL>`, want: "<>"},
		{name: "global", before: "ARG GLOBAL", text: `$GLOBAL`, want: "g1"},
		{name: "global overridden here", before: "ARG GLOBAL=l", text: `$GLOBAL`, want: "l"},
		{name: "global given", before: "ARG GLOBAL", args: map[string]string{"GLOBAL": "x"}, text: `$GLOBAL`, want: "x"},
		{name: "global of global", before: "ARG GLOBAL2", text: `$GLOBAL2`, want: "g1.2"},
		{name: "env after arg wins", before: "ARG A=1\nENV A=2", text: `$A`, want: "2"},
		{name: "arg after env wins, as in BuildKit", before: "ENV A=2\nARG A=1", text: `$A`, want: "1"},
		{name: "arg over base env", before: "ARG BASE=1", text: `$BASE`, want: "1"},
		{name: "arg without value leaves env", before: "ARG BASE", text: `$BASE`, want: "b"},
		{name: "platforms", before: "ARG TARGETPLATFORM\nARG TARGETARCH TARGETVARIANT TARGETOS\nARG BUILDPLATFORM",
			text: `"$TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETVARIANT $BUILDPLATFORM"`, want: "linux/arm/v7 linux arm v7 linux/amd64"},
		{name: "platform needs an ARG", text: `<$TARGETARCH>`, want: "<>"},
		{name: "platform given", before: "ARG TARGETARCH", args: map[string]string{"TARGETARCH": "z"}, text: `$TARGETARCH`, want: "z"},
		{name: "stage", before: "ARG TARGETSTAGE", text: `$TARGETSTAGE`, want: "final"},
		{name: "proxies are for RUN only", args: map[string]string{"HTTP_PROXY": "p"}, text: `<$HTTP_PROXY>`, want: "<>"},
		{name: "one ENV sees what was before it", before: "ENV A=1", text: `$A A=2 C=$A`, want: "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := parseText(t, fmt.Sprintf("ARG GLOBAL=g1\nARG GLOBAL2=${GLOBAL}.2\nFROM x AS final\n%s\nENV RESULT=%s\n", tt.before, tt.text))
			s := begin(t, f, Options{BuildArgs: tt.args, Platform: arm, BuildPlatform: v1.Platform{OS: "linux", Architecture: "amd64"}}, "", "BASE=b", "EMPTY=", "P=a/b/c")
			applyAll(t, s)
			if got, _ := s.env.Get("RESULT"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestExpandedSteps holds which words of which instruction are expanded, and
// what becomes of paths.
func TestExpandedSteps(t *testing.T) {
	tests := []struct {
		text string
		want Step
	}{
		{`ENV $V=$V`, Env{Vars: []Var{{"val", "val"}}}},
		{`LABEL "$V"='$V'`, Label{Labels: []Var{{"val", "$V"}}}},
		{`WORKDIR $V/x`, Workdir{Path: "/work/val/x"}},
		{`WORKDIR /$V/../y/`, Workdir{Path: "/y"}},
		{`USER $V`, User{User: "val"}},
		{`EXPOSE $PORTS 53/udp 8000-8002/TCP`, Expose{Ports: []string{"80/tcp", "443/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"}}},
		{`EXPOSE 127.0.0.1:80:8080 [::1]:1:2/sctp`, Expose{Ports: []string{"8080/tcp", "2/sctp"}}},
		{`VOLUME $V`, Volume{Paths: []string{"val"}}},
		{`STOPSIGNAL $SIG`, StopSignal{Signal: "sigterm"}},
		{`CMD echo $V`, Cmd{Command: Command{[]string{"echo $V"}, true}}},
		{`ENTRYPOINT ["$V"]`, Entrypoint{Command: Command{[]string{"$V"}, false}}},
		{`HEALTHCHECK CMD $V`, Healthcheck{Check: Health{Test: []string{"CMD-SHELL", "$V"}}}},
		{`ONBUILD RUN $V`, Onbuild{Trigger: "RUN $V"}},
		{`ARG X=$V Y Z=`, Arg{Args: []ArgVar{{"X", "val", true}, {"Y", "", false}, {"Z", "", true}}}},
		{`COPY --chown=$V --chmod=$M $V $V.txt $V/`, Copy{Sources: []string{"val", "val.txt"}, Dest: "/work/val/", Chown: "val", Chmod: "0755"}},
		{`COPY a .`, Copy{Sources: []string{"a"}, Dest: "/work/"}},
		{`COPY a ./b`, Copy{Sources: []string{"a"}, Dest: "/work/b"}},
		{`COPY a b/.`, Copy{Sources: []string{"a"}, Dest: "/work/b/"}},
		{`COPY a ../../../b`, Copy{Sources: []string{"a"}, Dest: "/b"}},
		{`COPY a /`, Copy{Sources: []string{"a"}, Dest: "/"}},
		{"COPY <<A <<\"B\" /d/\n\"$V\" '\\$V'\nA\n$V\nB", Copy{
			Dest: "/d/", Inline: []Inline{{Name: "A", Data: "\"val\" '$V'\n"}, {Name: "B", Data: "$V\n"}},
		}},
		{`ADD --checksum=$V https://example.com/$V /x`, Add{Sources: []string{"https://example.com/val"}, Dest: "/x", Checksum: "val"}},
		{`RUN --mount=type=$T,target=$V,id=$V echo $V`, Run{
			Command: Command{[]string{"echo $V"}, true}, Network: "default", Security: "sandbox",
			Mounts: []Mount{{Type: "cache", Target: "/work/val", ID: "val", Sharing: "shared"}},
		}},
	}
	for _, tt := range tests {
		f := parseText(t, "FROM x\nWORKDIR /work\n"+tt.text+"\n")
		s := begin(t, f, Options{}, "", "V=val", "PORTS=80 443", "SIG=sigterm", "M=0755", "T=cache")
		before := parseText(t, "FROM x\nWORKDIR /work\n"+tt.text+"\n")
		got := applyAll(t, s)
		if diff := cmp.Diff(tt.want, got[1].Step, plain); diff != "" {
			t.Errorf("%s: %s", tt.text, diff)
		}
		if diff := cmp.Diff(before.Stages[0].Steps, f.Stages[0].Steps, plain); diff != "" {
			t.Errorf("%s: applying it changed the file: %s", tt.text, diff)
		}
	}
}

// TestConfig holds what instructions do to the configuration.
func TestConfig(t *testing.T) {
	base := func() v1.Config {
		return v1.Config{
			Env: []string{"PATH=/bin", "A=base"}, Cmd: []string{"basecmd"}, Entrypoint: []string{"baseentry"},
			Labels: map[string]string{"a": "1", "b": "2"}, WorkingDir: "/base", User: "u",
			ExposedPorts: map[string]struct{}{"1/tcp": {}}, StopSignal: "SIGQUIT",
		}
	}
	tests := []struct {
		text string
		edit func(*v1.Config)
	}{
		{"ENV A=x B=y", func(c *v1.Config) { c.Env = []string{"PATH=/bin", "A=x", "B=y"} }},
		{"ARG A=x", func(c *v1.Config) {}},
		{"LABEL b=3 c=4", func(c *v1.Config) { c.Labels = map[string]string{"a": "1", "b": "3", "c": "4"} }},
		{"EXPOSE 8080", func(c *v1.Config) { c.ExposedPorts = map[string]struct{}{"1/tcp": {}, "8080/tcp": {}} }},
		{"WORKDIR x\nWORKDIR y", func(c *v1.Config) { c.WorkingDir = "/base/x/y" }},
		{"USER 65532:65532", func(c *v1.Config) { c.User = "65532:65532" }},
		{`ENTRYPOINT ["e"]`, func(c *v1.Config) { c.Entrypoint = []string{"e"}; c.Cmd = nil }},
		{"ENTRYPOINT e f", func(c *v1.Config) { c.Entrypoint = []string{"/bin/sh", "-c", "e f"}; c.Cmd = nil }},
		{`CMD ["c"]`, func(c *v1.Config) { c.Cmd = []string{"c"} }},
		{"CMD [\"c\"]\nENTRYPOINT [\"e\"]", func(c *v1.Config) { c.Entrypoint = []string{"e"}; c.Cmd = []string{"c"} }},
		{`CMD []`, func(c *v1.Config) { c.Cmd = nil }},
		{"SHELL [\"bash\", \"-ec\"]\nCMD c $D", func(c *v1.Config) {
			c.Shell = []string{"bash", "-ec"}
			c.Cmd = []string{"bash", "-ec", "c $D"}
		}},
		{"HEALTHCHECK --interval=3s CMD x", func(c *v1.Config) {
			c.Healthcheck = &v1.HealthConfig{Test: []string{"CMD-SHELL", "x"}, Interval: 3 * time.Second}
		}},
		{"HEALTHCHECK CMD x\nHEALTHCHECK NONE", func(c *v1.Config) { c.Healthcheck = &v1.HealthConfig{Test: []string{"NONE"}} }},
		{"VOLUME /a /b", func(c *v1.Config) { c.Volumes = map[string]struct{}{"/a": {}, "/b": {}} }},
		{"STOPSIGNAL 15", func(c *v1.Config) { c.StopSignal = "15" }},
		{"ONBUILD RUN x\nONBUILD COPY a b", func(c *v1.Config) { c.OnBuild = []string{"RUN x", "COPY a b"} }},
		{"RUN x\nCOPY a b\nADD a b", func(c *v1.Config) {}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			r, err := parseText(t, "FROM x\n"+tt.text+"\n").Resolve(Options{})
			if err != nil {
				t.Fatal(err)
			}
			given := base()
			s, err := r.Begin(r.Stages[0], given, "someone")
			if err != nil {
				t.Fatal(err)
			}
			applyAll(t, s)
			want := base()
			tt.edit(&want)
			if diff := cmp.Diff(want, s.Config, plain); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(base(), given); diff != "" {
				t.Errorf("the base's configuration was changed: %s", diff)
			}
			if s.Author != "someone" {
				t.Error(s.Author)
			}
		})
	}
}

func TestScratchConfig(t *testing.T) {
	s := begin(t, parseText(t, "FROM scratch\nMAINTAINER me\n"), Options{}, "")
	applyAll(t, s)
	want := v1.Config{Env: []string{"PATH=" + defaultPath}, WorkingDir: "/"}
	if diff := cmp.Diff(want, s.Config); diff != "" || s.Author != "me" {
		t.Error(diff, s.Author)
	}
}

func TestEnv(t *testing.T) {
	f := parseText(t, "FROM x\nENV A=1\nARG B=2\nARG NO_PROXY=mine\nENV C=3\nRUN x\n")
	s := begin(t, f, Options{BuildArgs: map[string]string{"https_proxy": "http://example.com:3128"}}, "", "PATH=/bin")
	applyAll(t, s)
	want := []string{"PATH=/bin", "A=1", "B=2", "NO_PROXY=mine", "C=3", "HTTPS_PROXY=http://example.com:3128", "https_proxy=http://example.com:3128"}
	if diff := cmp.Diff(want, s.Env()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"PATH=/bin", "A=1", "C=3"}, s.Config.Env); diff != "" {
		t.Error(diff)
	}
}

func TestHistory(t *testing.T) {
	f := parseText(t, `FROM x
ENV A=1 B="x y"
LABEL l=m
ARG V=9
ARG W
WORKDIR w
WORKDIR /
COPY --chown=1:2 --chmod=644 a $V d
ADD <<E /e
x
E
RUN pip install x==$V
RUN ["a", "b"]
EXPOSE 80 90-91
USER u
VOLUME /v
SHELL ["bash", "-c"]
HEALTHCHECK --interval=1s CMD x
STOPSIGNAL INT
ENTRYPOINT ["python3"]
CMD -m app
MAINTAINER me
ONBUILD RUN x
`)
	var got []string
	for _, a := range applyAll(t, begin(t, f, Options{}, "", "PATH=/bin")) {
		got = append(got, fmt.Sprintf("%t %s", a.Layer, a.CreatedBy))
	}
	want := []string{
		"false ENV A=1 B=x y",
		"false LABEL l=m",
		"false ARG V=9",
		"false ARG W",
		"true WORKDIR /w",
		"false WORKDIR /",
		"true COPY --chown=1:2 --chmod=644 a 9 d # boyabuild",
		"true ADD <<E /e # boyabuild",
		"true RUN |2 V=9 W= /bin/sh -c pip install x==$V # boyabuild",
		"true RUN |2 V=9 W= a b # boyabuild",
		"false EXPOSE [80/tcp 90/tcp 91/tcp]",
		"false USER u",
		"false VOLUME [/v]",
		"false SHELL [bash -c]",
		"false HEALTHCHECK {Test:[CMD-SHELL x] Interval:1s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
		"false STOPSIGNAL INT",
		`false ENTRYPOINT ["python3"]`,
		`false CMD ["bash" "-c" "-m app"]`,
		"false MAINTAINER me",
		"false ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestApplyErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"ENV A=${B", `Dockerfile:3: cannot process "${B": unsupported modifier (end of word) in substitution`},
		{"ENV A='b", `Dockerfile:3: cannot process "'b": unexpected end of statement while looking for matching single-quote`},
		{"USER ${X:?tell me}", `Dockerfile:3: cannot process "${X:?tell me}": X: tell me`},
		{"EXPOSE x", `Dockerfile:3: EXPOSE x: "x" is not a port from 0 to 65535`},
		{"EXPOSE 65536", `Dockerfile:3: EXPOSE 65536: "65536" is not a port from 0 to 65535`},
		{"EXPOSE 90-80", "Dockerfile:3: EXPOSE 90-80: range 90-80 runs backwards"},
		{"EXPOSE 80/icmp", `Dockerfile:3: EXPOSE 80/icmp: protocol "icmp" is none of tcp, udp, sctp`},
		{"STOPSIGNAL SIGFOO", `Dockerfile:3: "SIGFOO" is not a signal`},
		{"WORKDIR $NOPE", "Dockerfile:3: WORKDIR is empty once its variables are expanded"},
		{"VOLUME $NOPE", "Dockerfile:3: VOLUME is empty once its variables are expanded"},
		{"COPY --chmod=999 a b", "Dockerfile:3: --chmod=999 is not an octal number up to 7777"},
		{"COPY --chmod=rw a b", `Dockerfile:3: --chmod=rw is neither an octal number nor like "u=rwX,go=rX"`},
		{"ADD --link --chown=me a b", "Dockerfile:3: --chown=me needs numbers, not names, together with --link"},
		{"RUN --mount=type=$NOPE,target=/x x", `Dockerfile:3: unsupported mount type ""`},
		{"RUN --mount=type=bind x", `Dockerfile:3: --mount=type=bind: "" cannot be a mount's target`},
		{"RUN --mount=type=tmpfs,target=/ x", `Dockerfile:3: --mount=type=tmpfs: "/" cannot be a mount's target`},
	}
	for _, tt := range tests {
		s := begin(t, parseText(t, "FROM x\n\n"+tt.text+"\n"), Options{}, "")
		_, err := s.Apply(s.Steps[0])
		var e *Error
		if !errors.As(err, &e) || err.Error() != tt.want {
			t.Errorf("%s:\n got %v\nwant %s", tt.text, err, tt.want)
		}
	}
	s := begin(t, parseText(t, "FROM x\n"), Options{}, "")
	if _, err := s.Apply(User{User: "x"}); err == nil {
		t.Error("a step made by hand was applied")
	}
}

func TestApplyWarnings(t *testing.T) {
	f := parseText(t, `FROM x
ARG SET
WORKDIR rel
WORKDIR rel2
ENV DB_PASSWORD x
ARG PASSWORD_FILE
ENV A=$UNKNWN B=$SET
EXPOSE 80:90/TCP
CMD x
HEALTHCHECK --start-interval=1s CMD x
# check=skip=UndefinedVar
USER $NOPE
`)
	s := begin(t, f, Options{}, "", "UNKNOWN=1")
	applyAll(t, s)
	var got []string
	for _, w := range s.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		`Dockerfile:3: relative workdir "rel" can have unexpected results if the base image changes (WorkdirRelativePath)`,
		`Dockerfile:5: "ENV key=value" should be used instead of legacy "ENV key value" format (LegacyKeyValueFormat)`,
		`Dockerfile:5: do not use ARG or ENV instructions for sensitive data (ENV "DB_PASSWORD") (SecretsUsedInArgOrEnv)`,
		`Dockerfile:7: usage of undefined variable '$UNKNWN' (did you mean $UNKNOWN?) (UndefinedVar)`,
		`Dockerfile:8: EXPOSE instruction should not define an IP address or host-port mapping, found '80:90/TCP' (ExposeInvalidFormat)`,
		`Dockerfile:8: defined protocol '80:90/TCP' in EXPOSE instruction should be lowercase (ExposeProtoCasing)`,
		`Dockerfile:9: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (JSONArgsRecommended)`,
		`Dockerfile:10: --start-interval is left out: image configurations are written without it`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSignals(t *testing.T) {
	for _, s := range []string{"SIGTERM", "term", "9", "64", "RTMIN", "SIGRTMIN+3", "RTMAX-15", "SIGCLD"} {
		if !validSignal(s) {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{"", "0", "-1", "65", "SIG", "TERMINATE", "RTMIN-1", "RTMIN+16", "RTMIN+x", "INT IO", "RTMIN3"} {
		if validSignal(s) {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestChmod(t *testing.T) {
	tests := []struct {
		mode         string
		from         uint32
		file, folder uint32
	}{
		{"755", 0o644, 0o755, 0o755},
		{"0644", 0o777, 0o644, 0o644},
		{"4755", 0, 0o4755, 0o4755},
		{"+x", 0o644, 0o755, 0o755},
		{"u+x,go-r", 0o644, 0o700, 0o700},
		{"u=rwX,go=rX", 0o640, 0o644, 0o755},
		{"a+X", 0o744, 0o755, 0o755},
		{"g=u", 0o640, 0o660, 0o660},
		{"o=g-w", 0o674, 0o675, 0o675},
		{"u+s,+t", 0o755, 0o5755, 0o5755},
		{"=", 0o755, 0, 0},
		{"u=", 0o4755, 0o055, 0o055},
	}
	for _, tt := range tests {
		c, err := ParseChmod(tt.mode)
		if err != nil {
			t.Errorf("%s: %v", tt.mode, err)
			continue
		}
		if file, folder := c.Apply(tt.from, false), c.Apply(tt.from, true); file != tt.file || folder != tt.folder {
			t.Errorf("%s on %o: file %o, folder %o, want %o, %o", tt.mode, tt.from, file, folder, tt.file, tt.folder)
		}
	}
	if (Chmod{}).Apply(0o640, false) != 0o640 {
		t.Error("the zero value changes the mode")
	}
	for _, bad := range []string{"", "888", "10000", "u", "x+r", "u+q", "u+x,", ",", "+xu"} {
		if _, err := ParseChmod(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestBoyacky evaluates the sample project's Dockerfile as a build of it does.
func TestBoyacky(t *testing.T) {
	name := "../../testdata/boyacky/Dockerfile"
	r, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := Parse(name, r)
	if err != nil {
		t.Fatal(err)
	}
	s := begin(t, f, Options{}, "", "PATH=/usr/bin")
	var runs []string
	for _, a := range applyAll(t, s) {
		if run, ok := a.Step.(Run); ok {
			runs = append(runs, run.Args[0])
		}
	}
	want := v1.Config{
		Env: []string{"PATH=/usr/bin"}, WorkingDir: "/boyacky", ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Entrypoint: []string{"python3"}, Cmd: []string{"-m", "app"},
	}
	if diff := cmp.Diff(want, s.Config); diff != "" {
		t.Error(diff)
	}
	if len(runs) != 3 || s.Stage.Base.Name != "python:alpine" || len(f.Warnings)+len(s.Warnings) != 0 {
		t.Errorf("runs %q, base %q, warnings %v %v", runs, s.Stage.Base.Name, f.Warnings, s.Warnings)
	}
}

// TestConcurrent evaluates one File for two platforms at once; the race detector
// is the judge.
func TestConcurrent(t *testing.T) {
	f := parseText(t, "FROM x\nARG TARGETARCH\n# check=skip=all\nEXPOSE 2 1\nRUN --mount=type=cache,target=/$TARGETARCH x\nCOPY <<E /x\n$TARGETARCH\nE\n")
	var wg sync.WaitGroup
	for _, arch := range []string{"amd64", "arm64"} {
		wg.Go(func() {
			r, err := f.Resolve(Options{Platform: v1.Platform{OS: "linux", Architecture: arch}})
			if err != nil {
				t.Error(err)
				return
			}
			s, err := r.Begin(r.Stages[0], v1.Config{}, "")
			if err != nil {
				t.Error(err)
				return
			}
			for _, step := range s.Steps {
				a, err := s.Apply(step)
				if err != nil {
					t.Error(err)
				} else if run, ok := a.Step.(Run); ok && run.Mounts[0].Target != "/"+arch {
					t.Error(run.Mounts[0].Target)
				}
			}
		})
	}
	wg.Wait()
}
