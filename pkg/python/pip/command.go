package pip

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// invocation is a command with what it runs in.
type invocation struct {
	program string   // as written: "pip3", "python3 -m pip"
	path    string   // of the program, or the Python of -m; "" for the image's
	version string   // that the program's name asks for
	args    []string // the words after it
	env     map[string]string
	line    int
}

// not reports the command as one that is not known here.
func (c invocation) not(args []string) error { return notPip(subcommand(c.program, args), c.line) }

// command takes a command's words: one of the tools', or one that changes
// nothing.
func (p *shell) command(args []string, env map[string]string, line int) error {
	if ok, err := p.builtin(args, line); ok {
		return err
	}
	base := path.Base(args[0])
	c := invocation{program: args[0], path: p.find(args[0], env), args: args[1:], env: env, line: line}
	switch {
	case pythonName().MatchString(base):
		c.version = strings.TrimPrefix(base, "python")
		return p.module(c)
	case pipName().MatchString(base):
		c.version = strings.TrimPrefix(base, "pip")
		return p.pip(c)
	case base == "uv":
		return p.uv(c)
	case base == "poetry":
		return p.poetry(c)
	case base == "pipenv":
		return p.pipenv(c)
	case base == "virtualenv":
		return p.virtualenv(c)
	}
	return notPip(args[0], line)
}

func pipName() *regexp.Regexp    { return regexp.MustCompile(`^pip(\d+(\.\d+)?)?$`) }
func pythonName() *regexp.Regexp { return regexp.MustCompile(`^python(\d+(\.\d+)?)?$`) }

// module reads `python -m MODULE`. Of Python's own options those are taken that
// do not change what a module does here.
func (p *shell) module(c invocation) error {
	words := append([]string{c.program}, c.args...)
	not := notPip(strings.Join(words[:min(len(words), 3)], " "), c.line)
	if isVersion(c.args) {
		return nil
	}
	rest := c.args
	for len(rest) > 0 && regexp.MustCompile(`^-[BEIOqsuv]+$`).MatchString(rest[0]) {
		rest = rest[1:]
	}
	if len(rest) < 2 || rest[0] != "-m" {
		return not
	}
	name := rest[1]
	c.args = rest[2:]
	c.program = strings.Join(words[:len(words)-len(c.args)], " ")
	switch {
	case name == "pip":
		return p.pip(c)
	case name == "uv":
		return p.uv(c)
	case name == "venv":
		return p.venv(c)
	case name == "virtualenv":
		return p.virtualenv(c)
	case name == "ensurepip":
		return p.ensurepip(c)
	case name == "poetry":
		return p.poetry(c)
	case name == "pipenv":
		return p.pipenv(c)
	}
	return not
}

// isVersion reports a lone --version, which only prints.
func isVersion(args []string) bool {
	return len(args) == 1 && (args[0] == "--version" || args[0] == "-V")
}

// pip reads the words after the program's name.
func (p *shell) pip(c invocation) error {
	set := pipOptions()
	if isVersion(c.args) {
		return nil
	}
	// General options may stand before the command; pip reads them again after it.
	before := arguments[*Install]{set: set, in: &Install{}, command: true}
	rest, err := before.parse(c.args)
	if err != nil || len(rest) == 0 {
		return c.not(c.args)
	}
	switch {
	case rest[0] == "cache" && len(rest) == 2 && rest[1] == "purge":
		return nil
	case len(rest) == 1 && slices.Contains([]string{"list", "freeze", "debug"}, rest[0]):
		return nil // prints
	case rest[0] == "uninstall":
		general := c.args[: len(c.args)-len(rest) : len(c.args)-len(rest)]
		return p.uninstall(c, append(general, rest[1:]...))
	case rest[0] == "wheel":
		set = pipWheelOptions()
	case rest[0] != "install":
		return c.not(rest)
	}
	options := append(c.args[:len(c.args)-len(rest):len(c.args)-len(rest)], rest[1:]...)
	in := Install{Tool: Pip, Program: c.program, Python: c.version, Line: c.line, Compile: true}
	for _, w := range options {
		in.Isolated = in.Isolated || w == "--isolated" // pip looks for the word, too
	}
	values, err := pipValues(c.env, p.locations(c.env), p.read(), in.Isolated)
	if err != nil {
		return err
	}
	if rest[0] == "wheel" {
		in.WheelDir, in.Compile = ".", false
	}
	if err := set.configure(&in, values, false); err != nil {
		return err
	}
	a := arguments[*Install]{set: set, in: &in, operand: in.add}
	if _, err := a.parse(options); err != nil {
		return atLine(err, "pip "+rest[0], c.line)
	}
	if in.WheelDir != "" {
		in.WheelDir = absolute(p.dir, in.WheelDir)
	}
	if in.Interpreter == "" {
		in.Interpreter = interpreterOf(c.path)
	} else {
		in.Interpreter = pythonAt(p.dir, in.Interpreter)
	}
	return p.finish(in, c)
}

// finish refuses combinations that pip refuses, and keeps the install.
func (p *shell) finish(in Install, c invocation) error {
	command := "" // pip install
	if in.WheelDir != "" {
		command = "pip wheel"
	}
	if in.Tool == UV {
		command = uvName(map[bool]string{false: "install", true: "sync"}[in.Sync])
	}
	wrong := func(word, reason string) error {
		return &WordError{Command: command, Word: word, Line: in.Line, Reason: reason}
	}
	projects := slices.ContainsFunc(in.Files, isProjectFile)
	switch {
	case in.IsEmpty():
		verb := " install"
		if in.WheelDir != "" {
			verb = " wheel"
		}
		return wrong(in.Program+verb, "names nothing to install")
	case in.User && in.Prefix != "":
		return wrong("--user", "cannot be had with --prefix")
	case in.User && in.Target != "":
		return wrong("--user", "cannot be had with --target")
	case in.Target != "" && in.Prefix != "":
		return wrong("--target", "cannot be had with --prefix")
	case (len(in.Extras) > 0 || in.AllExtras) && !projects && len(in.Editable)+len(in.Paths) == 0:
		return wrong(map[bool]string{false: "--extra", true: "--all-extras"}[in.AllExtras], "wants a pyproject.toml or pylock.toml to be named")
	case len(in.Extras) > 0 && in.AllExtras:
		return wrong("--all-extras", "cannot be had with --extra")
	}
	p.step(Step{Install: &in}, c.line, c.env)
	return nil
}

// isProjectFile reports the names of files that uv and pip take for a project or
// a lock (PEP 751), not for requirements.
func isProjectFile(name string) bool {
	name = path.Base(name)
	return name == "pyproject.toml" || name == "setup.py" || name == "setup.cfg" || regexp.MustCompile(`^pylock\.([^.]+\.)?toml$`).MatchString(name)
}

// ensurepip reads `python -m ensurepip`, which installs pip out of Python's own
// library, without an index and without pip's configuration.
func (p *shell) ensurepip(c invocation) error {
	in := Install{Tool: Pip, Program: c.program, Interpreter: interpreterOf(c.path), Python: c.version, Line: c.line,
		Compile: true, Isolated: true, Requirements: []string{"pip"}, WithoutScripts: []string{"pip"}}
	in.Config.NoIndex = Setting[bool]{true, "ensurepip"}
	for _, w := range c.args {
		switch w {
		case "--upgrade", "-U":
			in.Upgrade = true
		case "--default-pip":
			in.WithoutScripts = nil
		case "--user":
			in.User = true
		case "-v", "-vv", "-vvv", "--verbose":
			in.understood(w)
		default:
			return &WordError{Command: c.program, Word: w, Line: c.line, Reason: "is an option that is not known"}
		}
	}
	if p.o.ReadDir != nil {
		dir, setuptools := p.bundledPip()
		if dir == "" {
			return &WordError{Command: c.program, Word: "ensurepip", Line: c.line, Reason: "has no pip beside it in the image"}
		}
		if setuptools {
			in.Requirements = []string{"setuptools", "pip"}
		}
		in.Config.FindLinks = []Setting[string]{{dir, "ensurepip"}}
	}
	p.step(Step{Install: &in}, c.line, c.env)
	return nil
}

// bundledPip finds the wheels that ensurepip installs.
func (p *shell) bundledPip() (dir string, setuptools bool) {
	prefix := p.o.PythonPrefix
	if prefix == "" {
		prefix = "/usr/local"
	}
	versions, _ := p.o.ReadDir(path.Join(prefix, "lib"))
	for _, v := range versions {
		if !pythonName().MatchString(v.Name()) || p.o.PythonVersion != "" && v.Name() != "python"+p.o.PythonVersion {
			continue
		}
		at := path.Join(prefix, "lib", v.Name(), "ensurepip", "_bundled")
		wheels, _ := p.o.ReadDir(at)
		for _, w := range wheels {
			if strings.HasPrefix(w.Name(), "pip-") {
				dir = at
			}
			setuptools = setuptools || strings.HasPrefix(w.Name(), "setuptools-")
		}
	}
	return dir, dir != "" && setuptools
}

// locations returns where the image's own configuration lies.
func (p *shell) locations(env map[string]string) Locations {
	return Locations{Home: env["HOME"], PythonPrefix: p.o.PythonPrefix, Project: p.dir}
}

// read returns the reader of the image's files, and of those that the line has
// written before.
func (p *shell) read() ReadFunc {
	read := p.o.ReadFile
	if read == nil {
		read = noFiles
	}
	return func(name string) ([]byte, error) {
		for _, s := range slices.Backward(p.steps) {
			if s.Write != nil && s.Write.Path == name {
				return s.Write.Content, nil
			}
		}
		return read(name)
	}
}
