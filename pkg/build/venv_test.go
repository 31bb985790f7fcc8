package build_test

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
)

// bundled are the wheels that a Python brings for ensurepip.
func bundled(dir string) []layers.Entry {
	var list []layers.Entry
	for _, name := range []string{"pip", "setuptools"} {
		at, text := indextest.Wheel(indextest.Spec{Name: name, Version: "1.0", Files: map[string]string{name + ".py": name}, ConsoleScripts: map[string]string{name: name + ":main"}})
		list = append(list, file(dir+at, string(text)))
	}
	return list
}

// What venv makes with an older Python: its setuptools, the name of the Python that
// made it in its scripts and links, and quoted words in what activates it.
func TestVenvModule(t *testing.T) {
	w := newWorld(t)
	old := file("usr/bin/python3.11", "interpreter")
	old.Mode = 0o755
	const lib = "usr/lib/python3.11/"
	extra := append(bundled("usr/local/lib/python3.13/ensurepip/_bundled/"), bundled(lib+"ensurepip/_bundled/")...)
	extra = append(extra, old, link("usr/bin/python3", "python3.11"), w.pipSource(), file(lib+"os.py", ""),
		file(lib+"venv/__init__.py", "import shlex\nshlex.quote\ncontext.prompt = '(%s) ' % prompt\n"),
		file(lib+"venv/scripts/common/activate", "VIRTUAL_ENV=__VENV_DIR__\nVIRTUAL_ENV_PROMPT=__VENV_PROMPT__\n"))
	w.base(v1.Config{}, extra...)
	r := w.build("FROM python:3.13\nRUN /usr/bin/python3 -m venv --prompt \"it's\" /opt/old\nRUN python3 -m venv /opt/new\n")
	for name, want := range map[string]string{
		"opt/old/lib/python3.11/site-packages/setuptools.py": "setuptools",
		"opt/old/lib/python3.11/site-packages/pip.py":        "pip",
		"opt/new/lib/python3.13/site-packages/pip.py":        "pip",
		"opt/old/bin/activate":                               "VIRTUAL_ENV=/opt/old\nVIRTUAL_ENV_PROMPT='(it'\"'\"'s) '\n",
	} {
		if got := w.text(r, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := w.text(r, "opt/old/pyvenv.cfg"); !strings.Contains(got, `prompt = 'it\'s'`) || !strings.Contains(got, `command = /usr/bin/python3 -m venv --prompt="it's" /opt/old`) {
		t.Error(got)
	}
	for name, want := range map[string]string{"opt/old/bin/pip": "#!/opt/old/bin/python3\n", "opt/new/bin/pip": "#!/opt/new/bin/python3\n"} {
		if got := w.text(r, name); !strings.HasPrefix(got, want) {
			t.Errorf("%s begins with %q", name, got)
		}
	}
	if _, ok := w.tree(r).Lookup("opt/new/lib/python3.13/site-packages/setuptools.py"); ok {
		t.Error("a new venv has setuptools")
	}
	if _, ok := w.tree(r).Lookup("opt/new/include/python3.13"); !ok {
		t.Error("a venv has no folder for headers")
	}
}
