package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// pythonAt is the Python that a path in the image leads to, or, with "", the
// one that a shell with that PATH finds.
func (s *stage) pythonAt(view layers.Tree, search, interpreter string) (*pythonInImage, error) {
	config := s.scope.Config
	config.Env = append(slices.Clone(config.Env), "PATH="+search)
	if interpreter != "" {
		config.Env = []string{"PATH=" + path.Dir(interpreter)}
	}
	f, err := base.ReadFacts(view, config)
	if err != nil {
		return nil, err
	}
	if f.Python == nil && interpreter == "" {
		return nil, errNoPython
	}
	if f.Python == nil {
		return nil, &refusedError{what: fmt.Sprintf("%s is not a Python of the image", interpreter), advice: "make the virtual environment in an earlier line: python3 -m venv " + path.Dir(path.Dir(interpreter))}
	}
	return pythonOf(f, s.scope.Stage.Platform)
}

// venv makes a virtual environment: links to the Python, pyvenv.cfg, the
// scripts that activate it, and pip where the tool puts it in.
func (s *stage) venv(ctx context.Context, v *pip.Venv, view layers.Tree) (layers.Tree, error) {
	py, err := s.pythonAt(view, environ(s.scope.Config.Env)["PATH"], v.Interpreter)
	if err != nil {
		return layers.Tree{}, err
	}
	if v.Relocatable {
		return layers.Tree{}, &refusedError{what: "an environment that can be moved (--relocatable) is not supported", advice: "make it where it stays: its place is the same in all stages"}
	}
	if v.Python != "" && !py.answersTo(v.Python) {
		return layers.Tree{}, &refusedError{what: fmt.Sprintf("the virtual environment is for Python %s, and the image has %s", v.Python, py.target.Python), advice: anotherPython(v.Tool)}
	}
	if _, err := view.Stat(path.Join(v.Dir, "pyvenv.cfg")); err == nil && !v.Clear {
		if v.Tool == pip.UV && !v.AllowExisting {
			return layers.Tree{}, &refusedError{what: fmt.Sprintf("uv venv: a virtual environment is at %s already", v.Dir), advice: "say --clear to replace it, or --allow-existing to keep what is in it"}
		}
		return layers.Tree{}, nil // it is there, and stays as it is
	}
	if v.Tool == pip.VenvModule {
		py = py.startedBy(v.Program)
	}
	e := &environment{dir: strings.TrimPrefix(path.Clean(v.Dir), "/"), python: py, options: v, view: view}
	tree, err := e.tree()
	if err != nil || v.WithoutPip {
		return tree, err
	}
	pipTree, err := s.bundledPip(ctx, e, layers.Overlay(view, tree))
	if err != nil {
		return layers.Tree{}, err
	}
	return layers.Compose(tree, pipTree), nil
}

// environment is a virtual environment in the making (PEP 405).
type environment struct {
	dir     string // without the first slash
	python  *pythonInImage
	options *pip.Venv
	view    layers.Tree
	entries []layers.Entry
}

func (e *environment) file(name, content string, mode uint32) {
	e.entries = append(e.entries, layers.Entry{Path: path.Join(e.dir, name), Kind: layers.File, Mode: mode, Size: int64(len(content)), Content: layers.Bytes([]byte(content)), Origin: "virtual environment"})
}

func (e *environment) link(name, target string) {
	e.entries = append(e.entries, layers.Entry{Path: path.Join(e.dir, name), Kind: layers.Symlink, Mode: 0o777, Link: target, Origin: "virtual environment"})
}

// tree lays it out as venv does on Linux: with links, and lib64 leading to lib.
func (e *environment) tree() (layers.Tree, error) {
	in := e.python.installation
	real := in.Interpreter
	if in.Venv {
		return layers.Tree{}, &refusedError{what: "a virtual environment made by the Python of another is not supported", advice: "make it before PATH leads to the other one"}
	}
	version := e.python.target.Python.String()
	free := ""
	if in.FreeThreaded {
		free = "t"
	}
	exe := "python" + in.Python + free
	site := path.Join("lib", exe, "site-packages")
	if at, err := e.view.Stat(e.dir); err == nil && at.Kind == layers.Dir && e.options.Clear {
		at.Path, at.Opaque = e.dir, true
		e.entries = append(e.entries, at)
	}
	include := "include"
	if v := e.python.target.Python; v.Number(1) >= 11 && e.options.Tool == pip.VenvModule {
		include = path.Join(include, exe)
	}
	for _, dir := range []string{"bin", include, site} {
		e.entries = append(e.entries, layers.Entry{Path: path.Join(e.dir, dir), Kind: layers.Dir, Mode: 0o755, Origin: "virtual environment"})
	}
	e.link("lib64", "lib")
	first := e.first()
	if e.options.Copies {
		program, err := e.view.Stat(real)
		if err != nil {
			return layers.Tree{}, err
		}
		for _, name := range []string{"python", "python3", exe} {
			e.entries = append(e.entries, layers.Entry{Path: path.Join(e.dir, "bin", name), Kind: layers.File, Mode: 0o755, Size: program.Size, Content: program.Content, Origin: "virtual environment"})
		}
	} else {
		e.link("bin/"+first, real)
	}
	for _, name := range []string{"python", "python3", exe} {
		if name != first && !e.options.Copies {
			e.link("bin/"+name, first)
		}
	}
	system := "false"
	if e.options.SystemSitePackages {
		system = "true"
	}
	home := path.Dir(real)
	at := "/" + e.dir
	prompt := path.Base(e.dir)
	if e.options.Prompt != "" {
		prompt = e.options.Prompt
	}
	named := ""
	switch {
	case e.options.Prompt == "":
	case e.options.Tool == pip.VenvModule: // Python's repr
		named = fmt.Sprintf("prompt = '%s'\n", strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(prompt))
	default:
		named = fmt.Sprintf("prompt = %s\n", prompt)
	}
	cfg := ""
	switch {
	case e.options.Tool == pip.UV:
		cfg = fmt.Sprintf("home = %s\nimplementation = CPython\nversion_info = %s\ninclude-system-site-packages = %s\n", home, version, system) + named
	case e.options.Tool == pip.VenvModule:
		cfg = fmt.Sprintf("home = %s\ninclude-system-site-packages = %s\nversion = %s\n", home, system, version) + named
		if e.python.target.Python.Number(1) >= 11 {
			cfg += fmt.Sprintf("executable = %s\ncommand = %s -m venv %s%s\n", path.Join(home, exe), real, e.words(), at)
		}
	default:
		cfg = fmt.Sprintf("home = %s\ninclude-system-site-packages = %s\nversion = %s\nexecutable = %s\ncommand = %s -m venv %s\n", home, system, version, path.Join(home, exe), real, at) + named
	}
	e.file("pyvenv.cfg", cfg, 0o644)
	e.activation(at, prompt)
	return layers.NewTree(e.entries)
}

// first is the name of its Python that the others lead to: that of the Python
// which makes it.
func (e *environment) first() string {
	name := path.Base(e.python.installation.Interpreter)
	switch {
	case e.options.Tool == pip.UV:
		return "python"
	case e.options.Tool == pip.VenvModule && (name == "python" || name == "python"+e.python.installation.Python):
		return name
	}
	return "python3"
}

// words are the options that venv notes in pyvenv.cfg.
func (e *environment) words() string {
	var b strings.Builder
	for _, o := range []struct {
		set  bool
		word string
	}{
		{e.options.Copies, "--copies"}, {e.options.WithoutPip, "--without-pip"}, {e.options.SystemSitePackages, "--system-site-packages"}, {e.options.Clear, "--clear"},
		{e.options.Prompt != "", `--prompt="` + e.options.Prompt + `"`},
	} {
		if o.set {
			b.WriteString(o.word + " ")
		}
	}
	return b.String()
}

// activation adds the scripts that the image's own venv module has as
// templates.
func (e *environment) activation(at, prompt string) {
	lib := strings.TrimPrefix(path.Join(e.python.installation.Prefix, "lib", "python"+e.python.installation.Python, "venv/scripts"), "/")
	module, _ := e.view.ReadFile(path.Join(path.Dir(lib), "__init__.py"), maxImageFile)
	if bytes.Contains(module, []byte("'(%s) ' % prompt")) { // before Python 3.13
		prompt = "(" + prompt + ") "
	}
	quote := func(_, s string) string { return s }
	if bytes.Contains(module, []byte("shlex.quote")) { // CVE-2024-9287
		quote = quoteFor
	}
	for _, dir := range []string{"common", "posix"} {
		for _, c := range e.view.Children(path.Join(lib, dir)) {
			name := path.Base(c.Path)
			text, err := e.view.ReadFile(c.Path, maxImageFile)
			if err != nil || c.Kind != layers.File {
				continue
			}
			filled := strings.NewReplacer(
				"__VENV_DIR__", quote(name, at), "__VENV_NAME__", quote(name, path.Base(at)), "__VENV_PROMPT__", quote(name, prompt), "__VENV_BIN_NAME__", "bin",
				"__VENV_PYTHON__", quote(name, path.Join(at, "bin", e.first())),
			).Replace(string(text))
			e.file("bin/"+name, filled, 0o644)
		}
	}
}

// quoteFor quotes a word for the shell of an activation script.
func quoteFor(script, word string) string {
	if path.Ext(script) == ".ps1" {
		return "'" + strings.ReplaceAll(word, "'", "''") + "'"
	}
	if word == "" || strings.ContainsFunc(word, func(r rune) bool {
		return r > 'z' || !strings.ContainsRune("@%+=:,./-_", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		word = "'" + strings.ReplaceAll(word, "'", `'"'"'`) + "'"
	}
	if path.Ext(script) == ".csh" {
		word = strings.ReplaceAll(word, "!", `\!`)
	}
	return word
}

// bundledPip installs the pip that the image's ensurepip brings, and before Python
// 3.12 its setuptools. Debian's python3 has none without python3-venv: the
// environment is then made without, which is told; nothing here needs it.
func (s *stage) bundledPip(_ context.Context, e *environment, view layers.Tree) (layers.Tree, error) {
	in := e.python.installation
	found := bundled(view, in, "pip")
	if found.Path == "" {
		s.run.shared.notice(s.run.log(), fmt.Sprintf("/%s has no pip in it: the base's Python brings none (Debian's is in python3-venv). Installing into it works all the same", e.dir))
		return layers.Tree{}, nil
	}
	wheels := []layers.Entry{found}
	if v := e.python.target.Python; v.Number(0) == 3 && v.Number(1) < 12 {
		if setuptools := bundled(view, in, "setuptools"); setuptools.Path != "" {
			wheels = append(wheels, setuptools)
		}
	}
	own, err := s.pythonAt(view, "", "/"+path.Join(e.dir, "bin/python3"))
	if err != nil {
		return layers.Tree{}, err
	}
	own.installation.Interpreter = "/" + path.Join(e.dir, "bin", e.first()) // it runs ensurepip
	scheme, err := wheel.SchemeFor(own.installation, wheel.Place{})
	if err != nil {
		return layers.Tree{}, err
	}
	dir, err := s.run.Store.TempDir("venv-*")
	if err != nil {
		return layers.Tree{}, err
	}
	s.run.scratch = append(s.run.scratch, dir) // the tree's contents are read from there
	work := &installation{stage: s, view: view, work: ""}
	trees := make([]layers.Tree, len(wheels))
	for i, f := range wheels {
		at := path.Join(dir, path.Base(f.Path))
		if err := work.copyOut(f, at); err != nil {
			return layers.Tree{}, err
		}
		w, err := wheel.Open(at, path.Base(f.Path))
		if err != nil {
			return layers.Tree{}, err
		}
		if trees[i], err = w.Tree(scheme, wheel.Options{Requested: true, Log: s.run.log()}); err != nil {
			return layers.Tree{}, err
		}
	}
	return layers.Merge(trees...)
}

// bundled is the wheel of a project that a Python brings for its ensurepip.
func bundled(view layers.Tree, in wheel.Installation, project string) layers.Entry {
	lib := strings.TrimPrefix(path.Join(in.Prefix, "lib", "python"+in.Python), "/")
	var found layers.Entry
	for _, dir := range []string{path.Join(lib, "ensurepip/_bundled"), "usr/share/python-wheels"} {
		for _, c := range view.Children(dir) {
			if name := path.Base(c.Path); strings.HasPrefix(name, project+"-") && strings.HasSuffix(name, ".whl") {
				found = c
			}
		}
	}
	return found
}

var errNoPython = errors.New("the base has no Python that its PATH leads to")

// installerName is what INSTALLER says of a tool.
func installerName(t pip.Tool) string {
	switch t {
	case pip.UV:
		return "uv"
	case pip.Poetry:
		return "poetry"
	}
	return "" // pip, which pipenv calls, too
}
