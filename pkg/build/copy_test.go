package build_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// copyContext is what the tests of COPY copy from.
var copyContext = map[string]string{
	"a.txt": "A", "b.txt": "B", "c.md": "C",
	"dir/one": "1", "dir/sub/two": "2", "dir/sub/three.md": "3",
	"again/one": "once more", ".dockerignore": "ignored\n", "ignored": "no",
}

func TestCopy(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string // of the last layer, less the directories "" and those in lower
	}{
		{"file to file", "COPY a.txt /x/y.txt", []string{"x/ 755 0:0", "x/y.txt 644 0:0 A"}},
		{"file into a folder that a slash asks for", "COPY a.txt /x/", []string{"x/ 755 0:0", "x/a.txt 644 0:0 A"}},
		{"file into a folder that is there keeps its mode and owner", "COPY a.txt /srv", []string{"srv/ 700 5:5", "srv/a.txt 644 0:0 A"}},
		{"file onto a file", "COPY a.txt /srv/kept", []string{"srv/ 700 5:5", "srv/kept 644 0:0 A"}},
		{"a folder's contents", "COPY dir /x", []string{"x/ 755 0:0", "x/one 644 0:0 1", "x/sub/ 755 0:0", "x/sub/three.md 644 0:0 3", "x/sub/two 644 0:0 2"}},
		{"a folder's contents into one that is there", "COPY dir/sub /srv/", []string{"srv/ 700 5:5", "srv/three.md 644 0:0 3", "srv/two 644 0:0 2"}},
		{"wildcard", "COPY *.txt /x/", []string{"x/ 755 0:0", "x/a.txt 644 0:0 A", "x/b.txt 644 0:0 B"}},
		{"wildcard for one needs no slash", "COPY a.* /x", []string{"x 644 0:0 A"}},
		{"wildcard in a folder", "COPY d?r/sub/*.md /x/", []string{"x/ 755 0:0", "x/three.md 644 0:0 3"}},
		{"several sources", "COPY a.txt dir/one /x/", []string{"x/ 755 0:0", "x/a.txt 644 0:0 A", "x/one 644 0:0 1"}},
		{"a later source replaces an earlier", "COPY dir/one again/one /x/", []string{"x/ 755 0:0", "x/one 644 0:0 once more"}},
		{"relative to the working directory", "WORKDIR /w\nCOPY a.txt sub/", []string{"w/ 755 0:0", "w/sub/ 755 0:0", "w/sub/a.txt 644 0:0 A"}},
		{"the working directory itself", "WORKDIR /w\nCOPY a.txt .", []string{"w/ 755 0:0", "w/a.txt 644 0:0 A"}},
		{"through a link of the base", "COPY a.txt /lib/x/", []string{"usr/ 755 0:0", "usr/lib/ 755 0:0", "usr/lib/x/ 755 0:0", "usr/lib/x/a.txt 644 0:0 A"}},
		{"a folder's folder onto a link of the base", "COPY --from=other /tree /", []string{"usr/ 755 0:0", "usr/lib/ 755 0:0", "usr/lib/mod 640 7:8 mod"}},
		{"owner by name", "COPY --chown=app a.txt /x/", []string{"x/ 755 1000:2000", "x/a.txt 644 1000:2000 A"}},
		{"owner and group by name", "COPY --chown=app:web a.txt /x", []string{"x 644 1000:33 A"}},
		{"owner by number takes its number for the group", "COPY --chown=123 a.txt /x", []string{"x 644 123:123 A"}},
		{"owner and group by number", "COPY --chown=1:2 dir/sub /x", []string{"x/ 755 1:2", "x/three.md 644 1:2 3", "x/two 644 1:2 2"}},
		{"owner of another stage's folder changes, its mode stays", "COPY --from=other --chown=1:2 /private /x", []string{"x/ 750 1:2", "x/key 600 1:2 key"}},
		{"owner leaves folders that are there alone", "COPY --chown=app a.txt /srv/n/", []string{"srv/ 700 5:5", "srv/n/ 755 1000:2000", "srv/n/a.txt 644 1000:2000 A"}},
		{"octal mode", "COPY --chmod=0750 dir/sub /x", []string{"x/ 750 0:0", "x/three.md 750 0:0 3", "x/two 750 0:0 2"}},
		{"symbolic mode", "COPY --chmod=u=rwX,go=rX dir/sub /x", []string{"x/ 755 0:0", "x/three.md 644 0:0 3", "x/two 644 0:0 2"}},
		{"symbolic mode adds", "COPY --chmod=+x a.txt /x", []string{"x 755 0:0 A"}},
		{"exclude", "COPY --exclude=**/*.md --exclude=dir/one dir /x", []string{"x/ 755 0:0", "x/sub/ 755 0:0", "x/sub/two 644 0:0 2"}},
		{"exclude one of a wildcard", "COPY --exclude=b.* *.txt /x/", []string{"x/ 755 0:0", "x/a.txt 644 0:0 A"}},
		{"parents", "COPY --parents dir/sub/two a.txt /x/", []string{"x/ 755 0:0", "x/a.txt 644 0:0 A", "x/dir/ 755 0:0", "x/dir/sub/ 755 0:0", "x/dir/sub/two 644 0:0 2"}},
		{"parents of a folder", "COPY --parents dir/sub /x/", []string{"x/ 755 0:0", "x/dir/ 755 0:0", "x/dir/sub/ 755 0:0", "x/dir/sub/three.md 644 0:0 3", "x/dir/sub/two 644 0:0 2"}},
		{"parents from a pivot on", "COPY --parents dir/./sub/two /x/", []string{"x/ 755 0:0", "x/sub/ 755 0:0", "x/sub/two 644 0:0 2"}},
		{"parents at any depth", "COPY --parents **/*.md /x/", []string{"x/ 755 0:0", "x/c.md 644 0:0 C", "x/dir/ 755 0:0", "x/dir/sub/ 755 0:0", "x/dir/sub/three.md 644 0:0 3"}},
		{"another stage keeps owners and modes", "COPY --from=other /private /x", []string{"x/ 750 7:8", "x/key 600 7:8 key"}},
		{"another stage by number", "COPY --from=0 /private/key /x", []string{"x 600 7:8 key"}},
		{"another stage's link is followed", "COPY --from=other /alias /x", []string{"x 600 7:8 key"}},
		{"another image", "COPY --from=python:3.13 /srv/kept /x", []string{"x 644 0:0 kept"}},
		{"another context", "COPY --from=files /note /x", []string{"x 644 0:0 note"}},
		{"heredoc", "COPY <<note.txt /x/\nhello $HOME_PAGE\nnote.txt", []string{"x/ 755 0:0", "x/note.txt 644 0:0 hello example.org\n"}},
		{"quoted heredoc to a name, with a mode", "COPY --chmod=755 <<\"EOF\" /x/run\n$HOME_PAGE\nEOF", []string{"x/ 755 0:0", "x/run 755 0:0 $HOME_PAGE\n"}},
		{"a name with a space", "COPY [\"a.txt\", \"/x/a file\"]", []string{"x/ 755 0:0", "x/a file 644 0:0 A"}},
		{"ADD of a file", "ADD a.txt /x", []string{"x 644 0:0 A"}},
		{"ADD of an archive as it is", "ADD --unpack=false --chmod=600 data.tar /x", []string{"x 600 0:0 tar"}},
		{"working directory that is missing", "WORKDIR /w/x", []string{"w/ 755 0:0", "w/x/ 755 0:0"}},
		{"working directory of a user", "USER app:web\nWORKDIR /w", []string{"w/ 755 1000:33"}},
		{"working directory of a numbered user", "USER 9\nWORKDIR /w", []string{"w/ 755 9:9"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := copyWorld(t)
			steps := w.steps(w.build(copyStages + tt.text + "\n"))
			if len(steps) == 0 {
				t.Fatal("no layer was made")
			}
			if diff := cmp.Diff(tt.want, w.list(steps[len(steps)-1])); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// copyStages come before the line under test, which is the last of them.
const copyStages = `FROM other-image AS other
FROM python:3.13
ENV HOME_PAGE=example.org
`

func copyWorld(t *testing.T) *world {
	w := newWorld(t)
	w.write(copyContext)
	w.write(map[string]string{"data.tar": "tar"})
	more := t.TempDir()
	if err := os.WriteFile(filepath.Join(more, "note"), []byte("note"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.options.Bases["files"] = more
	owned := func(e layers.Entry, mode uint32) layers.Entry {
		e.Mode, e.UID, e.GID = mode, 7, 8
		return e
	}
	other := newWorld(t)
	other.base(v1.Config{}, owned(dir("private", 0, 0), 0o750), owned(file("private/key", "key"), 0o600), link("alias", "/private/key"),
		owned(file("one", "other one"), 0o644), owned(file("tree/lib/mod", "mod"), 0o640))
	w.options.Bases["other-image"] = "oci-layout://" + other.layout
	return w
}

func TestCopyErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want, hint string }{
		{"missing file", "COPY nothere /x", `"nothere" is not in the build context`, ".dockerignore"},
		{"ignored file", "COPY ignored /x", `"ignored" is not in the build context`, ".dockerignore"},
		{"pattern without a match", "COPY *.py /x/", `nothing in the build context matches "*.py"`, ".dockerignore"},
		{"outside of the context", "COPY ../secret /x", `"../secret" is not in the build context`, ".dockerignore"},
		{"missing in a stage", "COPY --from=other /nothere /x", `"/nothere" is not where it is copied from`, ""},
		{"bad pattern", "COPY a[ /x/", "syntax error in pattern", ""},
		{"patterns without a match", "COPY *.py *.pyc /x/", `nothing in the build context matches "*.py"`, ".dockerignore"},
		{"a pattern without a match and no slash", "COPY a.txt *.py /x", `must end with a slash`, ""},
		{"several without a slash", "COPY a.txt b.txt /x", `must end with a slash`, ""},
		{"folder onto a file", "COPY dir /srv/kept", `cannot take the place of "/srv/kept"`, ""},
		{"folder's folder onto a file", "COPY --from=other /clash /", `a directory cannot take the place of "/srv/kept", a file`, ""},
		{"folder's file onto a folder", "COPY --from=other /clash2 /", `a file cannot take the place of "/srv", a directory`, ""},
		{"into a file", "COPY a.txt /srv/kept/", `is a file in the image, not a directory`, ""},
		{"unknown user", "COPY --chown=nobody a.txt /x", `/etc/passwd does not have "nobody"`, ""},
		{"unknown group", "COPY --chown=app:nogroup a.txt /x", `/etc/group does not have "nogroup"`, ""},
		{"bad mode", "COPY --chmod=9 a.txt /x", "--chmod=9", ""},
		{"working directory on a file", "WORKDIR /srv/kept", "is a file in the image", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := copyWorld(t)
			other := newWorld(t)
			other.base(v1.Config{}, dir("clash/srv/kept", 0o755, 0), file("clash2/srv", "x"))
			w.options.Bases["other-image"] = "oci-layout://" + other.layout
			_, err := w.try(copyStages + tt.text + "\n")
			checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 4, tt.want, tt.hint)
		})
	}
}

// checkFault checks that an error is one line about a line of a file.
func checkFault(t *testing.T, err error, name string, line int, want, hint string) {
	t.Helper()
	var placed interface {
		error
		Position() (string, int)
	}
	if !errors.As(err, &placed) {
		t.Fatalf("error %v (%T) has no position", err, err)
	}
	if file, n := placed.Position(); file != name || n != line {
		t.Errorf("position %s:%d, want %s:%d", file, n, name, line)
	}
	text := err.Error()
	prefix := name + ": "
	if line > 0 {
		prefix = fmt.Sprintf("%s:%d: ", name, line)
	}
	if !strings.HasPrefix(text, prefix) || !strings.Contains(text, want) || strings.Contains(text, "\n") {
		t.Errorf("error %q, want %q … %q on one line", text, prefix, want)
	}
	var hinted interface{ Hint() string }
	got := ""
	if errors.As(err, &hinted) {
		got = hinted.Hint()
	}
	if !strings.Contains(got, hint) || strings.Contains(got, "\n") {
		t.Errorf("hint %q, want %q in it", got, hint)
	}
}

// What a registry does not have is not the Dockerfile's fault: such an error has
// a line in its text, but no position, by which the command line tells it apart.
// What is not on this machine is.
func TestCopyFromABaseThatIsNotThere(t *testing.T) {
	w := copyWorld(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	w.options.Bases["gone"] = "docker-image://" + strings.TrimPrefix(server.URL, "http://") + "/gone:1"
	_, err := w.try(copyStages + "COPY --from=gone /x /x\n")
	var step *build.StepError
	var input *build.InputError
	if !errors.As(err, &step) || errors.As(err, &input) || step.Origin.Line != 4 {
		t.Errorf("error %v (%T)", err, err)
	}
	w.options.Bases["gone"] = "oci-layout://" + filepath.Join(t.TempDir(), "nothing")
	_, err = w.try("")
	checkFault(t, err, filepath.Join(w.context, "Dockerfile"), 4, "nothing", "")
}

// A file that may not be there is copied by a pattern, beside one that is.
func TestCopyWhatMayNotBeThere(t *testing.T) {
	w := newWorld(t)
	w.write(map[string]string{"pyproject.toml": "x"})
	steps := w.steps(w.build("FROM python:3.13\nCOPY pyproject.toml poetry.lock* /app/\n"))
	if got := paths(steps[0]); !slices.Equal(got, []string{"app/pyproject.toml"}) {
		t.Errorf("copied %v", got)
	}
}
