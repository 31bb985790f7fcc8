package pip

import (
	"path"
	"strings"
)

// uvPlace are uv's options that say where it runs and what configures it.
type uvPlace struct {
	directory, project string
	configFile         string
}

// uv reads the words after uv.
func (p *shell) uv(c invocation) error {
	if isVersion(c.args) {
		return nil
	}
	rest, err := uvCommand(c.args)
	if err != nil || len(rest) == 0 {
		return c.not(c.args)
	}
	// Options before the command are read again after it.
	before := c.args[: len(c.args)-len(rest) : len(c.args)-len(rest)]
	words := append(before, rest[1:]...)
	switch {
	case rest[0] == "pip":
		return p.uvPip(c, words, rest[1:])
	case rest[0] == "sync":
		return p.uvSync(c, words)
	case rest[0] == "venv":
		return p.uvVenv(c, words)
	case rest[0] == "cache" && len(rest) >= 2 && (rest[1] == "clean" || rest[1] == "prune"):
		return nil
	}
	return c.not(rest)
}

// uvCommand returns the words from the command on.
func uvCommand(args []string) ([]string, error) {
	before := arguments[*Install]{set: uvOptions(new(uvPlace), false), in: &Install{}, command: true}
	return before.parse(args)
}

// uvPip reads `uv pip install` and `uv pip sync`. words are all but "pip", after
// those that follow it.
func (p *shell) uvPip(c invocation, words, after []string) error {
	program := c.program + " pip"
	rest, err := uvCommand(after)
	if err != nil || len(rest) == 0 {
		return notPip(subcommand(program, after), c.line)
	}
	name := rest[0]
	switch {
	case name == "install", name == "sync":
	case len(rest) == 1 && (name == "list" || name == "freeze"):
		return nil // prints
	default:
		return notPip(program+" "+name, c.line)
	}
	at := len(words) - len(rest)
	words = append(words[:at:at], words[at+1:]...)

	var place uvPlace
	set := uvOptions(&place, name == "sync")
	in := Install{Tool: UV, Program: program, Line: c.line, Sync: name == "sync"}
	a := arguments[*Install]{set: set, in: &in, operand: in.add}
	if in.Sync {
		a.operand = func(word string) error {
			in.Files = append(in.Files, word)
			return nil
		}
	}
	if _, err := a.parse(words); err != nil {
		return atLine(err, uvName(name), c.line)
	}
	dir, project, env := p.uvPlace(place, c.env)
	l := p.locations(env)
	l.Project = project
	files, err := uvDefaults(set, &in, a.seen, env, l, p.read(), false)
	if err != nil {
		return err
	}
	in.Config = Merge(in.Config, files)
	if err := p.uvInterpreter(&in, dir, env); err != nil {
		return atLine(err, uvName(name), c.line)
	}
	here := *p
	here.dir = dir
	err = here.finish(in, invocation{env: env, line: c.line})
	p.steps = here.steps
	return err
}

func uvName(command string) string { return "uv pip " + command }

// uvPlace returns the directory that uv runs in, that of its project, and its
// environment.
func (p *shell) uvPlace(place uvPlace, env map[string]string) (dir, project string, _ map[string]string) {
	dir = p.dir
	for _, d := range []string{place.directory, env["UV_WORKING_DIR"], env["UV_WORKING_DIRECTORY"]} {
		if d != "" {
			dir = absolute(dir, d)
			break
		}
	}
	project = dir
	if d := place.project; d != "" {
		project = absolute(dir, d)
	} else if d := env["UV_PROJECT"]; d != "" {
		project = absolute(dir, d)
	}
	if place.configFile != "" {
		with := make(map[string]string, len(env)+1)
		for k, v := range env {
			with[k] = v
		}
		with["UV_CONFIG_FILE"] = absolute(dir, place.configFile)
		env = with
	}
	return dir, project, env
}

// uvInterpreter finds the environment that `uv pip` installs into: that of
// --python, with --system the one that PATH leads to, the active one, or the
// .venv in or above the directory.
func (p *shell) uvInterpreter(in *Install, dir string, env map[string]string) error {
	if strings.Contains(in.Python, "/") {
		in.Interpreter, in.Python = pythonAt(dir, in.Python), ""
		return nil
	}
	if in.System {
		in.Interpreter = p.find("python3", env)
		return nil
	}
	if in.Target != "" || in.Prefix != "" {
		return nil
	}
	if venv := env["VIRTUAL_ENV"]; venv != "" {
		in.Interpreter = inEnvironment(absolute(dir, venv))
		return nil
	}
	if env["CONDA_PREFIX"] != "" {
		return &WordError{Word: "CONDA_PREFIX", Reason: "is set: conda's environments are not understood"}
	}
	for at := dir; ; at = path.Dir(at) {
		if venv := path.Join(at, ".venv"); p.madeVenv(venv) {
			in.Interpreter = inEnvironment(venv)
			return nil
		}
		if at == "/" {
			return nil
		}
	}
}
