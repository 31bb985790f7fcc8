package pip

import (
	"path"
	"slices"
	"strings"
)

// Venv makes a virtual environment (PEP 405).
type Venv struct {
	Tool Tool
	// Program is the program as written: "python3 -m venv".
	Program string
	// Line is the line in the text that the command begins at, from 1.
	Line int
	// Dir is the directory, absolute.
	Dir string

	SystemSitePackages bool
	// WithoutPip leaves out pip, and what else the tool would seed. uv's
	// environments are without it unless told otherwise (--seed).
	WithoutPip bool
	// Clear empties the directory before. Without it what is there stays; uv
	// refuses to use a directory that has anything in it, unless AllowExisting.
	Clear, AllowExisting bool
	// Copies and Symlinks say how Python gets in; with neither symlinks do.
	Copies, Symlinks bool
	// UpgradeDeps installs the newest pip (and, before Python 3.12, setuptools)
	// from the index.
	UpgradeDeps bool
	Relocatable bool // uv's: scripts that find Python beside them
	// Prompt is the name that an activated shell shows, and that pyvenv.cfg
	// holds; "" is that of the directory, which pyvenv.cfg does not hold.
	Prompt string
	// Interpreter is the Python that it is made with, as an absolute path; ""
	// is the one that PATH leads to. That of a virtual environment stands for
	// the Python the environment was made with. Python is the version asked for.
	Interpreter string
	Python      string

	// Config holds index settings, for what is installed from an index.
	Config   Config
	Harmless []string
}

func (v *Venv) config() *Config { return &v.Config }

func (v *Venv) understood(option string) {
	if !slices.Contains(v.Harmless, option) {
		v.Harmless = append(v.Harmless, option)
	}
}

// venvOptions returns the options of `python -m venv`, as of Python 3.14.
func venvOptions() *optionSet[*Venv] {
	return &optionSet[*Venv]{abbreviated: true, options: []option[*Venv]{
		{long: []string{"help"}, short: 'h', refuse: refuseNothing},
		{long: []string{"system-site-packages"}, flag: setFlag(func(v *Venv) *bool { return &v.SystemSitePackages }, true)},
		{long: []string{"symlinks"}, flag: setFlag(func(v *Venv) *bool { return &v.Symlinks }, true)},
		{long: []string{"copies"}, flag: setFlag(func(v *Venv) *bool { return &v.Copies }, true)},
		{long: []string{"clear"}, flag: setFlag(func(v *Venv) *bool { return &v.Clear }, true)},
		{long: []string{"upgrade"}, refuse: "changes an environment for another Python, which is not understood"},
		{long: []string{"without-pip"}, flag: setFlag(func(v *Venv) *bool { return &v.WithoutPip }, true)},
		{long: []string{"prompt"}, arg: true, value: setText(func(v *Venv) *string { return &v.Prompt })},
		{long: []string{"upgrade-deps"}, flag: setFlag(func(v *Venv) *bool { return &v.UpgradeDeps }, true)},
		{long: []string{"without-scm-ignore-files"}},
	}}
}

// venv reads the words after `python -m venv`.
func (p *shell) venv(c invocation) error {
	v := Venv{Tool: VenvModule, Program: c.program, Line: c.line, Interpreter: c.path, Python: c.version}
	dirs, err := p.makeVenv(c, venvOptions(), &v, nil)
	if err != nil {
		return err
	}
	if len(dirs) == 0 {
		return &WordError{Command: c.program, Word: c.program, Line: c.line, Reason: "names no directory"}
	}
	if v.UpgradeDeps { // by pip, which is told as always
		if v.Config, err = p.pipSettings(c.env); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		each := v
		each.Dir = absolute(p.dir, dir)
		p.step(Step{Venv: &each}, c.line, c.env)
	}
	return nil
}

// makeVenv reads the words of a command that makes an environment, after the
// values of a configuration.
func (p *shell) makeVenv(c invocation, set *optionSet[*Venv], v *Venv, values []configured) (dirs []string, err error) {
	if err := set.configure(v, values, false); err != nil {
		return nil, err
	}
	a := arguments[*Venv]{set: set, in: v, operand: func(word string) error {
		dirs = append(dirs, word)
		return nil
	}}
	if _, err := a.parse(c.args); err != nil {
		return nil, atLine(err, c.program, c.line)
	}
	wrong := func(word, reason string) error {
		return &WordError{Command: c.program, Word: word, Line: c.line, Reason: reason}
	}
	switch {
	case a.seen["copies"] && a.seen["symlinks"] && v.Tool == VenvModule:
		return nil, wrong("--copies", "cannot be had with --symlinks")
	case v.UpgradeDeps && v.WithoutPip:
		return nil, wrong("--upgrade-deps", "cannot be had without pip")
	case slices.Contains(dirs, ""):
		return nil, wrong("", "is no directory")
	}
	if v.Prompt == "." {
		v.Prompt = path.Base(p.dir)
	}
	return dirs, nil
}

// pipSettings are the index settings that a pip in the image finds.
func (p *shell) pipSettings(env map[string]string) (Config, error) {
	values, err := pipValues(env, p.locations(env), p.read(), false)
	if err != nil {
		return Config{}, err
	}
	var in Install
	err = pipOptions().configure(&in, indexSettings(values), false)
	return in.Config, err
}

// virtualenvOptions returns the options of `virtualenv`, as of 21.
func virtualenvOptions() *optionSet[*Venv] {
	noPip := setFlag(func(v *Venv) *bool { return &v.WithoutPip }, true)
	return &optionSet[*Venv]{abbreviated: true, options: []option[*Venv]{
		{long: []string{"help"}, short: 'h', refuse: refuseNothing},
		{long: []string{"version"}, refuse: refuseNothing},
		{long: []string{"with-traceback"}},
		{long: []string{"verbose"}, short: 'v'},
		{long: []string{"quiet"}, short: 'q'},
		{long: []string{"read-only-app-data"}},
		{long: []string{"app-data"}, arg: true},
		{long: []string{"reset-app-data"}},
		{long: []string{"upgrade-embed-wheels"}, refuse: refuseNothing},
		{long: []string{"discovery"}, arg: true, value: oneOf[*Venv]("builtin")},
		{long: []string{"python"}, short: 'p', arg: true, value: setVirtualenvPython},
		{long: []string{"try-first-with"}, arg: true, refuse: "looks for a Python in a way that is not understood"},
		{long: []string{"creator"}, arg: true, value: oneOf[*Venv]("builtin", "cpython3-posix", "venv")},
		{long: []string{"seeder"}, arg: true, value: oneOf[*Venv]("app-data", "pip")},
		{long: []string{"no-seed", "without-pip"}, flag: noPip},
		{long: []string{"no-pip"}, flag: noPip},
		{long: []string{"no-setuptools"}},
		{long: []string{"no-wheel"}},
		{long: []string{"pip"}, arg: true, value: func(v *Venv, s Setting[string]) error {
			if s.Value == "none" {
				v.WithoutPip = true
				return nil
			}
			return oneOf[*Venv]("bundle", "embed")(v, s)
		}},
		{long: []string{"setuptools"}, arg: true, value: oneOf[*Venv]("bundle", "embed", "none")},
		{long: []string{"wheel"}, arg: true, value: oneOf[*Venv]("bundle", "embed", "none")},
		{long: []string{"activators"}, arg: true},
		{long: []string{"clear"}, flag: setFlag(func(v *Venv) *bool { return &v.Clear }, true)},
		{long: []string{"no-vcs-ignore"}},
		{long: []string{"venv-redirect"}, refuse: "writes a file beside the environment, which is not understood"},
		{long: []string{"no-venv-redirect"}},
		{long: []string{"system-site-packages"}, flag: setFlag(func(v *Venv) *bool { return &v.SystemSitePackages }, true)},
		{long: []string{"symlinks"}, flag: setFlag(func(v *Venv) *bool { return &v.Symlinks }, true)},
		{long: []string{"copies", "always-copy"}, flag: setFlag(func(v *Venv) *bool { return &v.Copies }, true)},
		{long: []string{"download"}, flag: setFlag(func(v *Venv) *bool { return &v.UpgradeDeps }, true)},
		{long: []string{"no-download", "never-download"}, flag: setFlag(func(v *Venv) *bool { return &v.UpgradeDeps }, false)},
		{long: []string{"extra-search-dir"}, arg: true, refuse: "names wheels for pip, which is not understood"},
		{long: []string{"no-periodic-update"}},
		{long: []string{"symlink-app-data"}, refuse: "links to a cache that is not in the image"},
		{long: []string{"prompt"}, arg: true, value: setText(func(v *Venv) *string { return &v.Prompt })},
	}}
}

// setVirtualenvPython reads a path, a version or a name such as python3.12.
func setVirtualenvPython(v *Venv, s Setting[string]) error {
	if strings.Contains(s.Value, "/") {
		v.Interpreter, v.Python = s.Value, ""
		return nil
	}
	version := strings.TrimPrefix(strings.TrimPrefix(s.Value, "cpython"), "python")
	v.Interpreter = ""
	return setUVPython(func(v *Venv) *string { return &v.Python })(v, Setting[string]{version, s.Source})
}

// virtualenv reads the words after `virtualenv`.
func (p *shell) virtualenv(c invocation) error {
	if isVersion(c.args) {
		return nil
	}
	v := Venv{Tool: Virtualenv, Program: c.program, Line: c.line, Interpreter: interpreterOf(c.path), Python: c.version}
	set := virtualenvOptions()
	values, err := p.virtualenvValues(set, c.env)
	if err != nil {
		return err
	}
	dirs, err := p.makeVenv(c, set, &v, values)
	if err != nil {
		return err
	}
	if len(dirs) != 1 {
		return &WordError{Command: c.program, Word: strings.Join(dirs, " "), Line: c.line, Reason: "is not one directory"}
	}
	v.Dir = absolute(p.dir, dirs[0])
	if v.Interpreter != "" {
		v.Interpreter = absolute(p.dir, v.Interpreter)
	}
	if v.UpgradeDeps {
		if v.Config, err = p.pipSettings(c.env); err != nil {
			return err
		}
	}
	p.step(Step{Venv: &v}, c.line, c.env)
	return nil
}

// virtualenvValues reads virtualenv's variables. Its configuration file is not
// understood.
func (p *shell) virtualenvValues(set *optionSet[*Venv], env map[string]string) ([]configured, error) {
	file := env["VIRTUALENV_CONFIG_FILE"]
	if file == "" {
		file = path.Join(p.locations(env).configHome(env), "virtualenv", "virtualenv.ini")
	}
	if _, ok, err := readConfig(p.read(), file); err != nil || ok {
		if err == nil {
			err = &ConfigError{File: file, Reason: "virtualenv's configuration file is not understood"}
		}
		return nil, err
	}
	var values []configured
	for i := range set.options {
		for _, long := range set.options[i].long {
			name := "VIRTUALENV_" + strings.ToUpper(strings.ReplaceAll(long, "-", "_"))
			if v := env[name]; v != "" {
				values = append(values, configured{key: long, value: v, file: name})
			}
		}
	}
	return values, nil
}
