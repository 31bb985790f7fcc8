package build_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// pureProject are the files of a project that is made into a wheel without
// running its code.
func pureProject(name, version string) map[string]string {
	return map[string]string{
		"pyproject.toml": "[project]\nname = \"" + name + "\"\nversion = \"" + version + "\"\ndescription = \"\"\n\n[build-system]\nrequires = [\"flit_core>=3.2,<4\"]\nbuild-backend = \"flit_core.buildapi\"\n",
		name + ".py":     "v = '" + version + "'\n",
		"PKG-INFO":       "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n",
	}
}

// sdist packs a project as .tar.gz, below a folder.
func sdist(t *testing.T, folder string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range sortedNames(files) {
		if err := w.WriteHeader(&tar.Header{Name: folder + "/" + name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	z.Close()
	return b.Bytes()
}

// zipped packs a project as a host of repositories does.
func zipped(t *testing.T, folder string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range sortedNames(files) {
		f, err := w.Create(folder + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return b.Bytes()
}

func sortedNames(files map[string]string) []string {
	var list []string
	for name := range files {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// Packages come from wherever pip takes them.
func TestInstallFrom(t *testing.T) {
	for _, tt := range []struct {
		name, run string
		want      string // a file of the image
	}{
		{"an sdist in a folder of links", "pip install --no-index --find-links dist src", site + "src.py"},
		{"links beside the requirements file", "pip install -r reqs/beside.txt", site + "src.py"},
		{"links in the working directory", "pip install -r reqs/cwd.txt", site + "src.py"},
		{"an sdist", "pip install ./dist/src-1.0.tar.gz", site + "src.py"},
		{"the archive of a commit", "pip install 'src @ ORIGIN/archive/0a1b2c.zip'", site + "src.py"},
		{"the same by egg", "pip install 'ORIGIN/archive/0a1b2c.zip#egg=src'", site + "src.py"},
		{"a project in an archive", "pip install 'src @ ORIGIN/archive/deep.zip#subdirectory=py/src'", site + "src.py"},
		{"an archive in the image", "pip install ./dist/main.zip", site + "src.py"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).shop()
			w.index.Intercept = func(rw http.ResponseWriter, r *http.Request) bool {
				switch r.URL.Path {
				case "/archive/0a1b2c.zip":
					rw.Write(zipped(t, "src-0a1b2c", pureProject("src", "1.0")))
				case "/archive/deep.zip":
					rw.Write(zipped(t, "src-0a1b2c/py/src", pureProject("src", "1.0")))
				default:
					return false
				}
				return true
			}
			w.write(map[string]string{
				"dist/src-1.0.tar.gz":       string(sdist(t, "src-1.0", pureProject("src", "1.0"))),
				"dist/main.zip":             string(zipped(t, "src-main", pureProject("src", "1.0"))),
				"reqs/beside.txt":           "--no-index\n-f links\nsrc\n",
				"reqs/cwd.txt":              "--no-index\n-f dist\nsrc\n",
				"reqs/links/src-1.0.tar.gz": string(sdist(t, "src-1.0", pureProject("src", "1.0"))),
			})
			r := w.build("FROM python:3.13\nWORKDIR /app\nCOPY . .\nRUN " + strings.ReplaceAll(tt.run, "ORIGIN", w.index.Origin()) + "\n")
			if got := w.text(r, tt.want); got != "v = '1.0'\n" {
				t.Errorf("it holds %q", got)
			}
		})
	}
}

// `pip wheel` gathers wheels, which another stage installs from.
func TestWheelhouse(t *testing.T) {
	w := newWorld(t).shop()
	w.write(map[string]string{
		"requirements.txt": "web==1.0\n", "src/pyproject.toml": pureProject("src", "1.0")["pyproject.toml"], "src/src.py": "\"\"\"Src.\"\"\"\nv = 1\n",
	})
	const gather = "FROM python:3.13 AS wheels\nWORKDIR /app\nCOPY . .\nRUN pip wheel --no-cache-dir -w /wheels -r requirements.txt -e ./src six\n"
	r := w.build(gather)
	steps := w.steps(r)
	want := []string{"wheels/dep-2.0-py3-none-any.whl", "wheels/six-2.0-py3-none-any.whl", "wheels/src-1.0-py2.py3-none-any.whl", "wheels/web-1.0-py3-none-any.whl"}
	if got := paths(steps[len(steps)-1]); !slices.Equal(got, want) {
		t.Errorf("gathered %v", got)
	}
	r = w.build(gather + "FROM python:3.13\nCOPY --from=wheels /wheels /wheels\nCOPY requirements.txt .\nRUN pip install --no-index --find-links=/wheels -r requirements.txt src\nRUN pip install /wheels/*.whl\n")
	for _, name := range []string{"web/__init__.py", "dep.py", "src.py"} {
		if w.text(r, site+name) == "" {
			t.Errorf("%s is empty", name)
		}
	}
	r = w.build("FROM python:3.13\nWORKDIR /app\nCOPY . .\nRUN pip wheel --no-deps -r requirements.txt\n")
	steps = w.steps(r)
	if got := paths(steps[len(steps)-1]); !slices.Equal(got, []string{"app/web-1.0-py3-none-any.whl"}) {
		t.Errorf("gathered %v", got)
	}
	for _, tt := range []struct{ run, want string }{
		{"pip wheel --target /x web", "--target"}, {"pip wheel -U web", "-U"}, {"pip wheel", "names nothing"},
	} {
		if _, err := w.try("FROM python:3.13\nRUN " + tt.run + "\n"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.run, err)
		}
	}
}
