package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// DefaultBase is what a project without a Dockerfile is built on: it is
// assembled from Debian packages and needs no registry.
const DefaultBase = "debian://trixie?packages=python3"

// Project is what was found in a folder that has no Dockerfile, and what was
// decided.
type Project struct {
	// Dependencies is the file that they are taken from: a lock, a requirements
	// file or pyproject.toml; "" where there is none.
	Dependencies string
	// Package says that the project itself is installed, too.
	Package bool
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

// dependencyFiles say what a project depends on: a lock before what it was made
// from, the first that is there.
var dependencyFiles = []struct {
	file   string
	beside []string // that it needs
	run    string
}{
	{"pylock.toml", nil, "RUN pip install -r pylock.toml"},
	{"uv.lock", []string{"pyproject.toml"}, "ENV UV_PROJECT_ENVIRONMENT=/usr/local\nRUN uv sync --frozen --no-dev --no-install-project --compile-bytecode"},
	{"poetry.lock", []string{"pyproject.toml"}, "ENV POETRY_VIRTUALENVS_CREATE=false\nRUN poetry install --only main --no-root --compile"},
	{"Pipfile.lock", []string{"Pipfile"}, "RUN pipenv install --system --deploy"},
	{"requirements.txt", nil, "RUN pip install -r requirements.txt"},
	{"pyproject.toml", nil, "RUN uv pip install --system --compile-bytecode -r pyproject.toml"},
}

// Detect looks at a Python project that has no Dockerfile.
func Detect(dir, base string) (*Project, error) {
	p := &Project{Base: base}
	if p.Base == "" {
		p.Base = DefaultBase
	}
	var own *project.Project
	if has(dir, "pyproject.toml") {
		text, err := os.ReadFile(filepath.Join(dir, "pyproject.toml"))
		if err != nil {
			return nil, err
		}
		if own, err = project.Read(filepath.Join(dir, "pyproject.toml"), text); err != nil {
			return nil, err
		}
	}
	for _, d := range dependencyFiles {
		if !has(dir, d.file) || d.file == "pyproject.toml" && own.Name == "" {
			continue
		}
		if missing := slices.IndexFunc(d.beside, func(f string) bool { return !has(dir, f) }); missing >= 0 {
			return nil, &ProjectError{Dir: dir, Reason: fmt.Sprintf("has a %s and no %s, which it belongs to", d.file, d.beside[missing])}
		}
		p.Dependencies = d.file
		break
	}
	p.Package = own != nil && own.Name != "" && own.IsPackage()
	if p.Package && len(own.Scripts) == 1 {
		p.Command, p.Found = []string{own.Scripts[0].Name}, "pyproject.toml"
	}
	for _, s := range starts {
		if p.Command == nil && has(dir, s.file) {
			p.Command, p.Found = s.command, s.file
		}
	}
	switch {
	case p.Dependencies == "" && p.Command == nil:
		return nil, &ProjectError{Dir: dir, Reason: "has no Dockerfile, no requirements.txt, no pyproject.toml with a [project] and nothing that starts an app",
			Advice: "name the folder of the app, or add a Dockerfile to it"}
	case p.Command == nil:
		return nil, &ProjectError{Dir: dir, Reason: "does not tell how the app starts: it has none of " + startFiles() + ", and no single script in [project.scripts]",
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
	for _, d := range dependencyFiles {
		if d.file == p.Dependencies {
			fmt.Fprintf(&b, "COPY %s ./\n%s\n", strings.Join(append([]string{d.file}, d.beside...), " "), d.run)
		}
	}
	b.WriteString("COPY . .\n")
	if p.Package {
		b.WriteString("RUN pip install --no-deps .\n")
	}
	b.WriteString("ENV PYTHONUNBUFFERED=1\nUSER 65532:65532\nEXPOSE 8080\n")
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
	if p.Dependencies != "" {
		deps = "dependencies from " + p.Dependencies
	}
	if p.Package {
		deps += " and the project itself"
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
