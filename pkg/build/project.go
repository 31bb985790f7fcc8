package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// DefaultBase is what a project without a Dockerfile is built on: it is
// assembled from Debian packages and needs no registry.
const DefaultBase = "debian://trixie?packages=python3"

// Project is what was found in a folder that has no Dockerfile, and what was
// decided.
type Project struct {
	// Requirements is the requirements file, "" where there is none.
	Requirements string
	// Command starts the app.
	Command []string
	// Found names the file that decided the command.
	Found string
	// Base is what the image is built on.
	Base string
}

// ProjectError says why a folder cannot be built.
type ProjectError struct {
	Dir    string
	Reason string
	Advice string
}

func (e *ProjectError) Error() string { return fmt.Sprintf("%s: %s", e.Dir, e.Reason) }

// Position names the folder.
func (e *ProjectError) Position() (string, int) { return e.Dir, 0 }

// Hint says what to do.
func (e *ProjectError) Hint() string { return e.Advice }

// starts are the files that tell how a Python web app starts, the first found
// wins. The commands are the ones that the file's own convention documents.
var starts = []struct {
	file    string
	command []string
}{
	{"app/__main__.py", []string{"python3", "-m", "app"}},
	{"app.py", []string{"python3", "app.py"}},
	{"main.py", []string{"python3", "main.py"}},
	{"manage.py", []string{"python3", "manage.py", "runserver", "--noreload", "0.0.0.0:8080"}},
}

// Detect looks at a Python project that has no Dockerfile.
func Detect(dir, base string) (*Project, error) {
	p := &Project{Base: base}
	if p.Base == "" {
		p.Base = DefaultBase
	}
	if has(dir, "requirements.txt") {
		p.Requirements = "requirements.txt"
	}
	for _, s := range starts {
		if has(dir, s.file) {
			p.Command, p.Found = s.command, s.file
			break
		}
	}
	switch {
	case p.Requirements == "" && has(dir, "pyproject.toml"):
		return nil, &ProjectError{Dir: dir, Reason: "has a pyproject.toml but neither a Dockerfile nor a requirements.txt",
			Advice: "write its dependencies to requirements.txt (uv export --no-emit-project -o requirements.txt), or add a Dockerfile; pyproject.toml is not read yet"}
	case p.Requirements == "" && p.Command == nil:
		return nil, &ProjectError{Dir: dir, Reason: "has no Dockerfile, no requirements.txt and nothing that starts an app",
			Advice: "name the folder of the app, or add a Dockerfile to it"}
	case p.Command == nil:
		return nil, &ProjectError{Dir: dir, Reason: "does not tell how the app starts: it has none of " + startFiles(),
			Advice: "add one of these, or a Dockerfile with a CMD"}
	}
	return p, nil
}

func startFiles() string {
	var names []string
	for _, s := range starts {
		names = append(names, s.file)
	}
	return strings.Join(names, ", ")
}

func has(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
	return err == nil && info.Mode().IsRegular()
}

// Dockerfile returns the Dockerfile that stands for the decision: the one path
// goes on from there. Dependencies come before the app, so that a change of the
// app leaves their layer alone.
func (p *Project) Dockerfile() string {
	var b strings.Builder
	fmt.Fprintf(&b, "FROM %s\nWORKDIR /app\n", p.Base)
	if p.Requirements != "" {
		fmt.Fprintf(&b, "COPY %s ./\nRUN pip install -r %s\n", p.Requirements, p.Requirements)
	}
	b.WriteString("COPY . .\nENV PYTHONUNBUFFERED=1\nUSER 65532:65532\nEXPOSE 8080\n")
	fmt.Fprintf(&b, "CMD [%s]\n", quoted(p.Command))
	return b.String()
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(q, ", ")
}

// String says what was decided, for a person.
func (p *Project) String() string {
	deps := "no dependencies"
	if p.Requirements != "" {
		deps = "dependencies from " + p.Requirements
	}
	return fmt.Sprintf("no Dockerfile: %s on %s, started by %q (%s)", deps, p.Base, strings.Join(p.Command, " "), p.Found)
}

// findDockerfile returns the path of the Dockerfile to read, "" where there is
// none and none was named.
func findDockerfile(context, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	p := filepath.Join(context, "Dockerfile")
	info, err := os.Stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && info.IsDir() {
		return "", nil
	}
	return p, err
}
