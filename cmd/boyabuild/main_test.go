package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/deploy"
	"github.com/boyabuild/boyabuild/pkg/push"
)

// machine is a bare one: no settings, no apt.
func machine(t *testing.T, vars map[string]string) (e *env, stdout, stderr *bytes.Buffer) {
	t.Helper()
	all := map[string]string{"HOME": t.TempDir(), "PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", "AWS_EC2_METADATA_DISABLED": "true"}
	maps.Copy(all, vars)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	return &env{
		stdout: stdout, stderr: stderr, host: fstest.MapFS{},
		getenv: func(name string) string { return all[name] },
		environ: func() (list []string) {
			for k, v := range all {
				list = append(list, k+"="+v)
			}
			return list
		},
	}, stdout, stderr
}

// A machine without apt is told which setting names the Debian mirror.
func TestNoMirror(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "Dockerfile")
	if err := os.WriteFile(file, []byte("FROM debian://trixie?packages=python3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e, stdout, stderr := machine(t, nil)
	if status := run([]string{"build", "-t", "a", dir}, e); status != exitFailed {
		t.Errorf("exit status %d", status)
	}
	want := "boyabuild: " + file + ":1: FROM debian://trixie?packages=python3: resolve base debian://trixie?packages=python3: " +
		"find mirror for Debian trixie: this machine's apt sources name none, and none is set\n" +
		"hint: set BOYABUILD_DEBIAN_MIRROR, or mirror: under debian: in boyabuild.yaml, to the address of a Debian archive\n"
	if diff := cmp.Diff(want, stderr.String()); diff != "" || stdout.Len() > 0 {
		t.Errorf("%s%s", diff, stdout)
	}
}

func TestNoHome(t *testing.T) {
	e, _, stderr := machine(t, map[string]string{"HOME": ""})
	if status := run([]string{"build", t.TempDir()}, e); status != exitUsage {
		t.Errorf("exit status %d", status)
	}
	if want := "boyabuild: neither XDG_CACHE_HOME nor HOME is set, so there is no folder to keep files in; set BOYABUILD_CACHE\n"; stderr.String() != want {
		t.Errorf("%s", stderr)
	}
}

func TestExitStatus(t *testing.T) {
	tests := []struct {
		err  error
		want int
	}{
		{errors.New("the disk is full"), exitFailed},
		{&push.TagExistsError{}, exitFailed},
		{&build.StepError{Err: errors.New("x")}, exitFailed},
		{usagef("--tag is missing"), exitUsage},
		{&configError{file: "a", line: 1}, exitUsage},
		{&build.InputError{Err: errors.New("x")}, exitUsage},
		{&build.ProjectError{}, exitUsage},
		{&deploy.FileError{File: "a"}, exitUsage},
		{fmt.Errorf("read: %w", &deploy.FileError{}), exitUsage},
		{errors.Join(errors.New("a"), usagef("b")), exitUsage},
		{&deploy.RolledBackError{}, exitUnhealthy},
		{&deploy.RollbackFailedError{}, exitUnhealthy},
		{&deploy.FailedError{}, exitUnhealthy},
		{&deploy.TimedOutError{}, exitUnhealthy},
		{fmt.Errorf("up: %w", &deploy.StoppedError{}), exitUnhealthy},
		{&deploy.APIError{Cause: errors.New("x")}, exitFailed},
		{&deploy.LostError{Cause: errors.New("x")}, exitFailed},
		{context.DeadlineExceeded, exitFailed},
	}
	for _, test := range tests {
		if got := exitStatus(test.err); got != test.want {
			t.Errorf("%T %v: %d, want %d", test.err, test.err, got, test.want)
		}
	}
}

func TestPrintError(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("a\nb"), "boyabuild: a b\n"},
		{&usageError{text: "no tag"}, "boyabuild: no tag\n"},
		{fmt.Errorf("push: %w", &usageError{text: "no tag", hint: "give\none"}), "boyabuild: push: no tag\nhint: give one\n"},
	} {
		var b bytes.Buffer
		printError(&b, test.err)
		if b.String() != test.want {
			t.Errorf("%q, want %q", b.String(), test.want)
		}
	}
}

func TestPairs(t *testing.T) {
	lookup := func(name string) string { return map[string]string{"SET": "from the environment"}[name] }
	tests := []struct {
		values []string
		lookup func(string) string
		want   map[string]string // nil: an error
	}{
		{nil, nil, map[string]string{}},
		{[]string{"A=1", "B=", "C=x=y", "A=2"}, nil, map[string]string{"A": "2", "B": "", "C": "x=y"}},
		{[]string{"A"}, nil, nil},
		{[]string{"=1"}, nil, nil},
		{[]string{"=1"}, lookup, nil},
		{[]string{"SET", "UNSET"}, lookup, map[string]string{"SET": "from the environment"}},
	}
	for _, test := range tests {
		got := map[string]string{}
		err := pairs("--build-arg", test.values, got, test.lookup)
		if test.want == nil {
			if err == nil || exitStatus(err) != exitUsage {
				t.Errorf("%q: %v, %v", test.values, got, err)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%q: %v %s", test.values, err, diff)
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"":                          {},
		"2024-05-01":                time.Date(2024, 5, 2, 0, 0, 0, 0, time.UTC), // the whole day
		"2024-05-01T10:20:30Z":      time.Date(2024, 5, 1, 10, 20, 30, 0, time.UTC),
		"2024-05-01T10:20:30+09:00": time.Date(2024, 5, 1, 1, 20, 30, 0, time.UTC),
	} {
		if got, err := parseTime(text); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"yesterday", "2024-13-01", "2024-05-01 10:00", "1700000000"} {
		if got, err := parseTime(text); err == nil || exitStatus(err) != exitUsage {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestSourceDate(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1700000000": 1700000000} {
		e, _, _ := machine(t, map[string]string{"SOURCE_DATE_EPOCH": text})
		if got, err := e.sourceDate(); err != nil || got.Unix() != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"-1", "1.5", "today", "99999999999999999999"} {
		e, _, _ := machine(t, map[string]string{"SOURCE_DATE_EPOCH": text})
		if got, err := e.sourceDate(); err == nil || exitStatus(err) != exitUsage {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestParseOutputs(t *testing.T) {
	for text, want := range map[string]build.Output{
		"out":                          {Type: "local", Dest: "out"},
		"type=local,dest=d":            {Type: "local", Dest: "d"},
		"type=tar,dest=a=b.tar":        {Type: "tar", Dest: "a=b.tar"},
		"type=docker,dest=i.tar":       {Type: "docker", Dest: "i.tar"},
		"dest=i,type=oci":              {Type: "oci", Dest: "i"},
		"type=oci,dest=i,tar=false":    {Type: "oci", Dest: "i", Directory: true},
		"type=oci,dest=i.tar,tar=true": {Type: "oci", Dest: "i.tar"},
	} {
		got, err := parseOutputs([]string{text})
		if diff := cmp.Diff([]build.Output{want}, got); diff != "" || err != nil {
			t.Errorf("%q: %v %s", text, err, diff)
		}
	}
	for _, text := range []string{"", "type=oci", "dest=a", "type=rpm,dest=a", "type=oci,dest=-", "type=tar,dest=a,tar=false",
		"type=oci,dest=a,tar=maybe", "type=oci,dest=a,name=b", "type=oci,a"} {
		if got, err := parseOutputs([]string{text}); err == nil || exitStatus(err) != exitUsage {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
