package build_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// A step's user owns what it installs, and installs where it may.
func TestInstallAsUser(t *testing.T) {
	const local = "home/app/.local/lib/python3.13/site-packages/"
	for _, tt := range []struct {
		name, text string
		want       []string // entries of the last layer
	}{
		{"--user", "USER app\nRUN pip install --user dep==1.0\n", []string{local + "dep.py 644 1000:2000 v=1\n"}},
		{"where Python's own place is not writable", "USER app\nRUN pip install dep==1.0\n", []string{local + "dep.py 644 1000:2000 v=1\n"}},
		{"by number", "USER 1000\nRUN pip install dep==1.0\n", []string{local + "dep.py 644 1000:2000 v=1\n"}},
		{"another group", "USER app:web\nRUN pip install dep==1.0\n", []string{local + "dep.py 644 1000:33 v=1\n"}},
		{"a user that nobody knows", "USER 777\nENV HOME=/tmp\nRUN pip install dep==1.0\n", []string{"tmp/.local/lib/python3.13/site-packages/dep.py 644 777:0 v=1\n"}},
		{"HOME is set", "ENV HOME=/home/app/x\nUSER app\nRUN pip install dep==1.0\n", []string{"home/app/x/.local/lib/python3.13/site-packages/dep.py 644 1000:2000 v=1\n"}},
		{"a virtual environment", "USER app\nRUN python3 -m venv --without-pip ~/v && ~/v/bin/python -m pip install dep==1.0\n",
			[]string{"home/app/v/pyvenv.cfg 644 1000:2000", "home/app/v/lib/python3.13/site-packages/dep.py 644 1000:2000 v=1\n"}},
		{"a folder of the user's", "USER app\nRUN pip install --target /home/app/lib dep==1.0\n", []string{"home/app/lib/dep.py 644 1000:2000 v=1\n"}},
		{"root", "USER root\nRUN pip install dep==1.0\n", []string{site + "dep.py 644 0:0 v=1\n"}},
		{"root by number", "USER 0:0\nRUN pip install --user dep==1.0\n", []string{"root/.local/lib/python3.13/site-packages/dep.py 644 0:0 v=1\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).shop()
			home := dir("home/app", 0o700, 0)
			home.UID, home.GID = 1000, 2000
			w.base(v1.Config{}, w.pipSource(), home)
			steps := w.steps(w.build("FROM python:3.13\n" + tt.text))
			got := w.list(steps[len(steps)-1])
			for _, want := range tt.want {
				if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, want) }) {
					t.Errorf("there is no %q in\n%s", want, strings.Join(got, "\n"))
				}
			}
			for _, e := range steps[len(steps)-1].Entries() {
				if e.Path == "home/app" && (e.Kind != layers.Dir || e.Mode != 0o700 || e.UID != 1000) {
					t.Errorf("the home is another: %+v", e)
				}
			}
		})
	}
	for _, tt := range []struct{ run, want, hint string }{
		{"pip install --target /opt/x dep", "/opt/x cannot be written by USER app", "before the USER"},
		{"python3 -m venv /opt/v", "/opt/v cannot be written by USER app", "before the USER"},
		{"uv pip install --system dep", "cannot be written by USER app", "before the USER"},
	} {
		w := newWorld(t).shop()
		_, err := w.try("FROM python:3.13\nUSER app\nRUN " + tt.run + "\n")
		checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 3, tt.want, tt.hint)
	}
	w := newWorld(t).shop()
	_, err := w.try("FROM python:3.13\nUSER nobody2\nRUN pip install dep\n")
	checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 3, `does not have "nobody2"`, "")
}
