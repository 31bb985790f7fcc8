package build_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/debian/debiantest"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
)

// shop fills the index: web needs dep; six is newer than the base's.
func (w *world) shop() *world {
	for _, s := range []indextest.Spec{
		{Name: "web", Version: "1.0", Requires: []string{"dep>=1"}, Files: map[string]string{"web/__init__.py": "import dep\n"},
			ConsoleScripts: map[string]string{"web": "web:main"}, Data: map[string]string{"data/etc/web.cfg": "port=8080\n"}},
		{Name: "dep", Version: "1.0", Files: map[string]string{"dep.py": "v=1\n"}},
		{Name: "dep", Version: "2.0", Files: map[string]string{"dep.py": "v=2\n"}},
		{Name: "dep", Version: "3.0rc1", Files: map[string]string{"dep.py": "v=3\n"}},
		{Name: "six", Version: "2.0", Files: map[string]string{"six.py": "new six"}},
	} {
		w.index.AddSpec(s)
	}
	return w
}

// installed lists what the last layer has by dist-info directories and
// whiteouts.
func (w *world) installed(r *build.Result) []string {
	w.Helper()
	steps := w.steps(r)
	if len(steps) == 0 {
		return nil
	}
	var out []string
	for _, e := range steps[len(steps)-1].Entries() {
		if name, ok := strings.CutSuffix(e.Path, ".dist-info"); ok {
			name = filepath.Base(name)
			if e.Kind.String() == "whiteout" {
				name = "-" + name
			}
			out = append(out, name)
		}
	}
	return out
}

func TestInstallLaysOutAsPip(t *testing.T) {
	w := newWorld(t).shop()
	r := w.build("FROM python:3.13\nRUN pip install web\n")
	steps := w.steps(r)
	if len(steps) != 1 {
		t.Fatalf("%d layers for one RUN", len(steps))
	}
	want := []string{
		"usr/local/bin/web", "usr/local/etc/web.cfg",
		site + "dep-2.0.dist-info/INSTALLER", site + "dep-2.0.dist-info/METADATA", site + "dep-2.0.dist-info/RECORD", site + "dep-2.0.dist-info/WHEEL",
		site + "dep.py",
		site + "web/__init__.py",
		site + "web-1.0.dist-info/INSTALLER", site + "web-1.0.dist-info/METADATA", site + "web-1.0.dist-info/RECORD", site + "web-1.0.dist-info/REQUESTED",
		site + "web-1.0.dist-info/WHEEL", site + "web-1.0.dist-info/entry_points.txt",
	}
	got := paths(steps[0])
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if script := w.text(r, "usr/local/bin/web"); !strings.HasPrefix(script, "#!/usr/local/bin/python3.13\n") || !strings.Contains(script, "from web import main") {
		t.Errorf("script:\n%s", script)
	}
	if e, ok := steps[0].Lookup("usr/local/bin/web"); !ok || e.Mode != 0o755 || e.UID != 0 {
		t.Errorf("script is %o of %d", e.Mode, e.UID)
	}
}

func TestInstall(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		files      map[string]string
		want       []string // in the last layer
	}{
		{name: "requirements file of the image", text: "WORKDIR /app\nCOPY requirements.txt .\nRUN pip install -r requirements.txt",
			files: map[string]string{"requirements.txt": "-r more.txt\n", ".dockerignore": "more.txt"}, want: nil},
		{name: "requirements files that name others", text: "COPY . /app/\nRUN pip install -r /app/requirements.txt",
			files: map[string]string{"requirements.txt": "-r sub/more.txt\n-c limits.txt\n", "sub/more.txt": "web\n", "limits.txt": "dep<2\n"}, want: []string{"dep-1.0", "web-1.0"}},
		{name: "constraints of the line", text: "COPY c.txt /\nRUN pip install -c c.txt web",
			files: map[string]string{"c.txt": "dep==1.0\nsix==9\n"}, want: []string{"dep-1.0", "web-1.0"}},
		{name: "constraints of the environment", text: "COPY c.txt /\nENV PIP_CONSTRAINT=/c.txt\nRUN pip install web",
			files: map[string]string{"c.txt": "dep==1.0\n"}, want: []string{"dep-1.0", "web-1.0"}},
		{name: "what is there stays", text: "RUN pip install six && pip install dep==1.0", want: []string{"dep-1.0"}},
		{name: "an upgrade replaces what the base has", text: "RUN pip install --upgrade six", want: []string{"-six-1.0", "six-2.0"}},
		{name: "a version that asks for it", text: "RUN pip install 'six>1'", want: []string{"-six-1.0", "six-2.0"}},
		{name: "the same again", text: "RUN pip install dep==1.0\nRUN pip install dep==2.0", want: []string{"-dep-1.0", "dep-2.0"}},
		{name: "twice in one line", text: "RUN pip install dep==1.0 && pip install dep==2.0", want: []string{"-dep-1.0", "dep-2.0"}},
		{name: "without what it depends on", text: "RUN pip install --no-deps web", want: []string{"web-1.0"}},
		{name: "pre-releases", text: "RUN pip install --pre dep", want: []string{"dep-3.0rc1"}},
		{name: "pre-releases of one, by the requirements file", text: "COPY r.txt /\nRUN pip install -r r.txt",
			files: map[string]string{"r.txt": "--all-releases dep\nweb\n"}, want: []string{"dep-3.0rc1", "web-1.0"}},
		{name: "into a folder", text: "RUN pip install --target /opt/lib dep", want: []string{"dep-2.0"}},
		{name: "variables of ARG and ENV", text: "ARG V=1.0\nENV P=dep\nRUN pip install $P==${V}", want: []string{"dep-1.0"}},
		{name: "exec form", text: "RUN [\"python3\", \"-m\", \"pip\", \"install\", \"dep\"]", want: []string{"dep-2.0"}},
		{name: "uv", text: "RUN uv pip install --system dep", want: []string{"dep-2.0"}},
		{name: "uv reinstalls one", text: "RUN pip install dep==1.0\nRUN uv pip install --system --reinstall-package dep 'dep<2'", want: []string{"dep-1.0"}},
		{name: "a wheel of the image", text: "COPY wheels /wheels\nRUN pip install --no-deps /wheels/*.whl", want: []string{"local-1.0"}},
		{name: "wheels of the image alone", text: "WORKDIR /app\nCOPY wheels ./wheels\nRUN pip install --no-index --find-links ./wheels local", want: []string{"local-1.0"}},
		{name: "wheels of the image beside the index", text: "COPY . /app\nRUN pip install -r /app/r.txt",
			files: map[string]string{"r.txt": "--find-links wheels\nlocal\nweb\n"}, want: []string{"dep-2.0", "local-1.0", "web-1.0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).shop()
			name, wheel := localWheel()
			w.write(map[string]string{"wheels/" + name: wheel})
			w.write(tt.files)
			text := "FROM python:3.13\n" + tt.text + "\n"
			if tt.want == nil {
				_, err := w.try(text)
				checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 4, "/more.txt is not in the image", "COPY it before")
				return
			}
			r := w.build(text)
			if diff := cmp.Diff(tt.want, w.installed(r)); diff != "" {
				t.Errorf("-want +got:\n%s\n%s", diff, &w.log)
			}
			r.Close()
			if left := w.leftovers(); len(left) > 0 {
				t.Errorf("left in the store: %v", left)
			}
			w.asked()
			again := w.build(text)
			if again.Descriptor.Digest != r.Descriptor.Digest {
				t.Error("the second build has another digest")
			}
			if asked := w.asked(); len(asked) > 0 {
				t.Errorf("the second build asked the index for %v", asked)
			}
			// The same on another machine, with everything asked again.
			w.store = newStore(t)
			w.builder.Store = w.store
			if afresh := w.build(text); afresh.Descriptor.Digest != r.Descriptor.Digest {
				t.Error("with an empty store it has another digest")
			}
		})
	}
}

func TestUpgradeWhitesOutTheOld(t *testing.T) {
	w := newWorld(t).shop()
	r := w.build("FROM python:3.13\nRUN pip install -U six\n")
	got := paths(w.steps(r)[0])
	want := []string{site + "six.py", "-" + site + "six-1.0.dist-info", site + "six-2.0.dist-info/INSTALLER", site + "six-2.0.dist-info/METADATA", site + "six-2.0.dist-info/RECORD",
		site + "six-2.0.dist-info/REQUESTED", site + "six-2.0.dist-info/WHEEL", "-" + site + "six_old.py"}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if body := w.text(r, site+"six.py"); body != "new six" {
		t.Errorf("six.py is %q", body)
	}
}

func TestNothingToInstallMakesNoLayer(t *testing.T) {
	w := newWorld(t).shop()
	r := w.build("FROM python:3.13\nRUN pip install six\n")
	if n := len(w.steps(r)); n != 0 {
		t.Errorf("%d layers", n)
	}
	history := w.config(r).History
	if last := history[len(history)-1]; !last.EmptyLayer || !strings.Contains(last.CreatedBy, "pip install six") {
		t.Errorf("history %+v", last)
	}
}

// Where packages come from: flags, then requirements files, the line, the
// image's environment and this machine's settings. Each of several servers
// has one version.
func TestIndexPrecedence(t *testing.T) {
	names := []string{"flags", "file", "line", "env", "host", "base"}
	for first := range names {
		t.Run(names[first], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			urls := map[string]string{}
			for i, name := range names[:5] {
				s := indextest.NewServer(t)
				s.AddWheel("p", fmt.Sprintf("%d.0", i), nil, "")
				urls[name] = s.URL
			}
			w.index.AddWheel("p", "5.0", nil, "") // the one that the base's pip has for its default
			active := func(name string) bool { return slices.Index(names, name) >= first }
			if active("flags") {
				w.builder.Index.Flags.Default = pip.Index{URL: urls["flags"], Source: "--index-url"}
			}
			if active("host") {
				w.builder.Index.Host.Default = pip.Index{URL: urls["host"], Source: "PIP_INDEX_URL"}
			}
			requirements, line, env := "p\n", "", ""
			if active("file") {
				requirements = "--index-url " + urls["file"] + "\np\n"
			}
			if active("line") {
				line = " --index-url " + urls["line"]
			}
			if active("env") {
				env = "ENV PIP_INDEX_URL=" + urls["env"] + "\n"
			}
			w.write(map[string]string{"r.txt": requirements})
			r := w.build("FROM python:3.13\n" + env + "COPY r.txt /\nRUN pip install" + line + " -r r.txt\n")
			if got, want := w.installed(r), []string{fmt.Sprintf("p-%d.0", first)}; !slices.Equal(got, want) {
				t.Errorf("installed %v, want %v", got, want)
			}
		})
	}
}

func TestNoIndex(t *testing.T) {
	w := newWorld(t).shop()
	w.base(v1.Config{}) // without pip
	_, err := w.try("FROM python:3.13\nRUN pip install dep\n")
	var none *build.NoIndexError
	var step *build.StepError
	if !errors.As(err, &none) || !errors.As(err, &step) || !strings.Contains(none.Hint(), "--index-url") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("error %v (%T)", err, err)
	}
	if !strings.HasPrefix(err.Error(), filepath.Join(w.context, "Dockerfile")+":2: ") {
		t.Errorf("error %q has no line", err)
	}
	w.builder.Index.HostDefault = func(context.Context) (string, error) { return w.index.URL, nil }
	if got := w.installed(w.build("")); !slices.Equal(got, []string{"dep-2.0"}) {
		t.Errorf("from the index of this machine's pip: %v", got)
	}
}

// A scratch image may get its Python by COPY.
func TestInstallOntoACopiedPython(t *testing.T) {
	w := newWorld(t).shop()
	r := w.build("FROM python:3.13 AS python\nFROM scratch\nCOPY --from=python / /\nRUN pip install dep\n")
	if body := w.text(r, site+"dep.py"); body != "v=2\n" {
		t.Errorf("dep.py is %q", body)
	}
	_, err := w.try("FROM scratch\nRUN pip install dep\n")
	checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 2, "has no Python", "")
}

func TestInstallErrors(t *testing.T) {
	sum := strings.Repeat("0", 64)
	t.Run("hash mismatch", func(t *testing.T) {
		w := newWorld(t).shop()
		w.write(map[string]string{"r.txt": "dep==2.0 --hash=sha256:" + sum + "\n"})
		_, err := w.try("FROM python:3.13\nCOPY r.txt /\nRUN pip install -r r.txt\n")
		if err == nil || !strings.Contains(err.Error(), "hash") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("the index lies", func(t *testing.T) {
		w := newWorld(t).shop()
		w.index.Intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, ".whl") {
				return false
			}
			_, other := indextest.Wheel(indextest.Spec{Name: "dep", Version: "2.0", Files: map[string]string{"evil.py": ""}})
			rw.Write(other)
			return true
		}
		_, err := w.try("FROM python:3.13\nRUN pip install dep\n")
		if err == nil {
			t.Fatal("it was installed")
		}
		if left := w.leftovers(); len(left) > 0 {
			t.Errorf("left in the store: %v", left)
		}
	})
	for _, tt := range []struct {
		name, run string
		want      []string
		as        any
	}{
		{"versions that do not go together", "pip install web 'dep<1'", []string{"dep"}, new(*resolve.UnsatisfiableError)},
		{"unknown project", "pip install nothere", []string{"nothere"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).shop()
			_, err := w.try("FROM python:3.13\nRUN " + tt.run + "\n")
			var step *build.StepError
			if !errors.As(err, &step) || step.Origin.Line != 2 {
				t.Fatalf("error %v (%T)", err, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not speak of %s", err, want)
				}
			}
			if tt.as != nil && !errors.As(err, tt.as) {
				t.Errorf("error %T is no %T", err, tt.as)
			}
		})
	}
	for _, tt := range []struct{ run, want, hint string }{
		{"pip install -e .", "no Python project", ""},
		{"pip install .", "no Python project", ""},
		{"pip install ./x.tar.gz", "not in the image", "COPY"},
		{"pip install ./x-1.0-py3-none-any.whl", "is not in the image", "COPY"},
		{"pip install --no-index --find-links ./nothere dep", "is not in the image", "COPY"},
		{"pip install -r nothere.txt", "is not in the image", "COPY"},
		{"pip3.9 install dep", "3.13.5", "without a version"},
		{"pip install ==", "==", ""},
		{"uv pip install dep", "virtual environment", "--system"},
	} {
		t.Run(strings.ReplaceAll(tt.run, "/", "|"), func(t *testing.T) {
			w := newWorld(t).shop()
			_, err := w.try("FROM python:3.13\nRUN " + tt.run + "\n")
			checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 2, tt.want, tt.hint)
		})
	}
	t.Run("a wrong line of a requirements file", func(t *testing.T) {
		w := newWorld(t).shop()
		w.write(map[string]string{"r.txt": "dep\n\ndep==\n"})
		_, err := w.try("FROM python:3.13\nCOPY r.txt /app/\nRUN pip install -r /app/r.txt\n")
		var placed interface{ Position() (string, int) }
		if !errors.As(err, &placed) {
			t.Fatalf("error %v has no position", err)
		}
		if file, line := placed.Position(); !strings.HasSuffix(file, "/app/r.txt") || line != 3 {
			t.Errorf("position %s:%d of %v", file, line, err)
		}
	})
}

func TestPasswordsStayOut(t *testing.T) {
	w := newWorld(t).shop()
	w.index.User, w.index.Password = "me", "s3cret"
	w.builder.Index.Flags.Default = pip.Index{URL: strings.Replace(w.index.URL, "://", "://me:s3cret@", 1), Source: "--index-url"}
	w.build("FROM python:3.13\nRUN pip install web\n")
	w.index.Password = "changed"
	w.options.NoCache = true
	_, err := w.try("")
	var refused *index.AuthError
	if !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
	if strings.Contains(fmt.Sprint(err), "s3cret") || strings.Contains(w.log.String(), "s3cret") {
		t.Error("the password is in a message")
	}
	err = filepath.WalkDir(w.store.Dir(), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if strings.Contains(string(b), "s3cret") {
			t.Errorf("the password is in %s", p)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDebianBase(t *testing.T) {
	w := newWorld(t).shop()
	archive := debiantest.New(t)
	archive.AddBase("trixie")
	archive.AddPython("trixie", "3.13.5", "an interpreter", w.index.Origin()+"/")
	w.builder.Base = base.Options{Debian: debian.Options{Mirror: archive.URL, Keyring: debian.Keyring{archive.Keyring()}, Now: debiantest.Date}}
	w.options.Bases = map[string]string{"python:alpine": "debian://trixie?packages=python3"}
	text := "FROM python:alpine\nRUN pip install web\n"
	r := w.build(text)
	const local = "usr/local/lib/python3.13/dist-packages/"
	if body := w.text(r, local+"web/__init__.py"); body != "import dep\n" {
		t.Errorf("web is %q", body)
	}
	if script := w.text(r, "usr/local/bin/web"); !strings.HasPrefix(script, "#!/usr/bin/python3\n") {
		t.Errorf("script %q", script)
	}
	m := w.manifest(r)
	if got := m.Annotations["org.opencontainers.image.base.name"]; got != "debian://trixie?packages=python3" {
		t.Errorf("base %q", got)
	}
	archive.Requests()
	w.asked()
	if again := w.build(text); again.Descriptor.Digest != r.Descriptor.Digest {
		t.Error("the second build has another digest")
	}
	if asked := append(archive.Requests(), w.asked()...); len(asked) > 0 {
		t.Errorf("the second build asked for %v", asked)
	}
}

func TestTargetThatIsThere(t *testing.T) {
	const first = "FROM python:3.13\nRUN pip install --target /opt/lib dep==1.0\n"
	for _, tt := range []struct {
		name, line string
		content    string   // of /opt/lib/dep.py
		infos      []string // the .dist-info directories in it
		says       string
	}{
		{"pip leaves what is there", "pip install --target /opt/lib dep==2.0", "v=1\n", []string{"dep-1.0", "dep-2.0"}, "/opt/lib/dep.py is there already"},
		{"pip --upgrade replaces names", "pip install --target /opt/lib --upgrade dep==2.0", "v=2\n", []string{"dep-1.0", "dep-2.0"}, ""},
		{"uv replaces the distribution", "uv pip install --target /opt/lib --upgrade dep==2.0", "v=2\n", []string{"dep-2.0"}, ""},
		{"uv sees what is there", "uv pip install --target /opt/lib dep", "v=1\n", []string{"dep-1.0"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).shop()
			r := w.build(first + "RUN " + tt.line + "\n")
			if got := w.text(r, "opt/lib/dep.py"); got != tt.content {
				t.Errorf("dep.py is %q, want %q", got, tt.content)
			}
			var infos []string
			for _, e := range w.tree(r).Children("opt/lib") {
				if name, ok := strings.CutSuffix(filepath.Base(e.Path), ".dist-info"); ok {
					infos = append(infos, name)
				}
			}
			if diff := cmp.Diff(tt.infos, infos); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if !strings.Contains(w.log.String(), tt.says) || tt.says == "" && strings.Contains(w.log.String(), "is there already") {
				t.Errorf("it says\n%s", &w.log)
			}
		})
	}
}

func TestInstallIsForTheCommandThatRunsPip(t *testing.T) {
	for _, tt := range []struct{ program, want string }{
		{"pip", "/usr/local/bin/python3.13"},
		{"python3 -m pip", "/usr/local/bin/python3"},
		{"python3.13 -m pip", "/usr/local/bin/python3.13"},
	} {
		w := newWorld(t).shop()
		if got := w.text(w.build("FROM python:3.13\nRUN "+tt.program+" install web\n"), "usr/local/bin/web"); !strings.HasPrefix(got, "#!"+tt.want+"\n") {
			t.Errorf("%s: %q, want %s", tt.program, got, tt.want)
		}
	}
}

func TestUninstall(t *testing.T) {
	w := newWorld(t).shop()
	w.write(map[string]string{"gone.txt": "six>=1\n"})
	for _, tt := range []struct {
		run  string
		want []string
	}{
		{"pip uninstall -y six nothere", []string{"-" + site + "six-1.0.dist-info", "-" + site + "six.py", "-" + site + "six_old.py"}},
		{"pip uninstall --yes -r gone.txt", []string{"-" + site + "six-1.0.dist-info", "-" + site + "six.py", "-" + site + "six_old.py"}},
		{"python3 -m pip install dep==1.0 && pip -q uninstall -y dep six", []string{"-" + site + "six-1.0.dist-info", "-" + site + "six.py", "-" + site + "six_old.py"}},
	} {
		steps := w.steps(w.build("FROM python:3.13\nCOPY gone.txt .\nRUN " + tt.run + "\n"))
		got := slices.DeleteFunc(paths(steps[len(steps)-1]), func(p string) bool { return strings.Contains(p, "dep") })
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.run, diff)
		}
	}
	r := w.build("FROM python:3.13\nRUN pip install dep==1.0\nRUN pip uninstall -y dep\n")
	steps := w.steps(r)
	if got := paths(steps[1]); !slices.Contains(got, "-"+site+"dep.py") {
		t.Errorf("left: %v", got)
	}
	for _, tt := range []struct{ run, want, hint string }{
		{"pip uninstall six", "asks before", "-y"}, {"pip uninstall -y", "names nothing", ""}, {"pip uninstall -y --target /x six", "--target", ""}, {"pip uninstall -y ./six", "no name", ""},
	} {
		_, err := w.try("FROM python:3.13\nRUN " + tt.run + "\n")
		checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 2, tt.want, tt.hint)
	}
}
