package main

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// said is what a user sees of three messages and one transfer.
func said(t *testing.T, progress string, verbose bool, vars map[string]string) string {
	t.Helper()
	var out bytes.Buffer
	e := &env{stderr: &out, getenv: func(name string) string { return vars[name] }}
	u, err := newUI(e, progress, verbose)
	if err != nil {
		t.Fatal(err)
	}
	u.log.Debug("layer", "bytes", 87)
	u.log.Info("resolved 14 packages", "count", 14)
	u.log.Warn("no security archive is known", "suite", "trixie")
	u.behind().Info("task started")
	u.behind().Warn("task failed")
	w := u.progress("greet-1.0-py3-none-any.whl", 100)
	if _, err := io.WriteString(w, "0123456789"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	u.close()
	return out.String()
}

func TestPlain(t *testing.T) {
	want := "resolved 14 packages\nwarning: no security archive is known\nwarning: task failed\n"
	for _, mode := range []string{"plain", "auto"} { // a buffer is no terminal
		if diff := cmp.Diff(want, said(t, mode, false, nil)); diff != "" {
			t.Error(mode, diff)
		}
	}
	want = "layer bytes=87\nresolved 14 packages\nwarning: no security archive is known\n" +
		"task started\nwarning: task failed\ngreet-1.0-py3-none-any.whl bytes=100\n"
	if diff := cmp.Diff(want, said(t, "plain", true, nil)); diff != "" {
		t.Error(diff)
	}
}

func TestNone(t *testing.T) {
	if got := said(t, "none", true, nil); got != "" {
		t.Errorf("%q", got)
	}
}

func TestJSON(t *testing.T) {
	var got []string
	for line := range strings.Lines(said(t, "json", true, nil)) {
		var m struct {
			Time, Level, Msg string
			Bytes            int
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.Time == "" {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, m.Level+" "+m.Msg)
	}
	want := []string{"DEBUG layer", "INFO resolved 14 packages", "WARN no security archive is known",
		"DEBUG task started", "WARN task failed", "DEBUG greet-1.0-py3-none-any.whl"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What a terminal shows has colours unless NO_COLOR is set.
func TestTerminal(t *testing.T) {
	colour := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for _, vars := range []map[string]string{nil, {"NO_COLOR": "1"}} {
		got := said(t, "tty", false, vars)
		if colour.MatchString(got) != (vars == nil) {
			t.Errorf("%v: %q", vars, got)
		}
		got = colour.ReplaceAllString(got, "")
		for _, want := range []string{"resolved 14 packages\n", "warning: no security archive is known\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("%v: %q lacks %q", vars, got, want)
			}
		}
	}
}

func TestUnknownProgress(t *testing.T) {
	_, err := newUI(&env{stderr: io.Discard, getenv: func(string) string { return "" }}, "fancy", false)
	if err == nil || exitStatus(err) != exitUsage {
		t.Error(err)
	}
}

func TestClip(t *testing.T) {
	for _, test := range []struct {
		text string
		n    int
		want string
	}{{"short", 5, "short"}, {"longer", 5, "long…"}, {"größer", 5, "größ…"}} {
		if got := clip(test.text, test.n); got != test.want {
			t.Errorf("clip(%q, %d) = %q, want %q", test.text, test.n, got, test.want)
		}
	}
}
