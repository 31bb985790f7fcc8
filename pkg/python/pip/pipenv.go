package pip

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// pipenvOptions returns the options of `pipenv install`, or of `pipenv sync`, as
// of pipenv 2026.
func pipenvOptions(at *pipenvWords, sync bool) *optionSet[*Sync] {
	categories := func(to func(*Sync) *[]string) func(*Sync, Setting[string]) error {
		return func(s *Sync, v Setting[string]) error {
			*to(s) = append(*to(s), pipenvCategories(v.Value)...)
			return nil
		}
	}
	const refuseArgs = "hands words to pip, which is not understood"
	options := []option[*Sync]{
		{long: []string{"help"}, short: 'h', refuse: refuseNothing},
		{long: []string{"system"}, flag: setFlag(func(s *Sync) *bool { return &s.System }, true)},
		{long: []string{"site-packages"}, flag: func(*Sync, Setting[bool]) { at.sitePackages = true }},
		{long: []string{"no-site-packages"}, flag: func(*Sync, Setting[bool]) { at.sitePackages = false }},
		{long: []string{"pypi-mirror"}, arg: true, value: setDefaultIndex[*Sync]},
		{long: []string{"verbose"}, short: 'v'},
		{long: []string{"quiet"}, short: 'q'},
		{long: []string{"clear"}},
		{long: []string{"python"}, arg: true, value: setUVPython(func(s *Sync) *string { return &s.PythonVersion })},
		{long: []string{"pre"}, flag: setSwitch[*Sync](func(c *Config) *Setting[bool] { return &c.Pre })},
		{long: []string{"extra-pip-args"}, arg: true, refuse: refuseArgs},
		{long: []string{"resolver"}, arg: true, value: oneOf[*Sync]("pip")},
		{long: []string{"backend"}, arg: true, refuse: "chooses an installer that is not known here"},
		{long: []string{"dev"}, short: 'd', flag: addName(func(s *Sync) *[]string { return &s.Groups }, "develop")},
		{long: []string{"categories"}, arg: true, value: categories(func(s *Sync) *[]string { return &s.OnlyGroups })},
		{long: []string{"extras"}, arg: true, value: categories(func(s *Sync) *[]string { return &s.Groups })},
		{long: []string{"all"}, flag: setFlag(func(s *Sync) *bool { return &s.AllGroups }, true)},
	}
	if sync {
		options = append(options, []option[*Sync]{
			{long: []string{"bare"}},
			{long: []string{"clean"}, flag: setFlag(func(s *Sync) *bool { return &s.Inexact }, false)},
		}...)
	} else {
		const refuseAdd = "adds packages to the Pipfile, which is not understood"
		options = append(options, []option[*Sync]{
			{long: []string{"deploy"}, flag: setFlag(func(s *Sync) *bool { return &s.Locked }, true)},
			{long: []string{"ignore-pipfile"}, flag: setFlag(func(s *Sync) *bool { return &s.Frozen }, true)},
			{long: []string{"skip-lock"}, flag: setFlag(func(s *Sync) *bool { return &s.SkipLock }, true)},
			{long: []string{"config-settings"}, arg: true, value: addText(func(s *Sync) *[]string { return &s.ConfigSettings })},
			{long: []string{"index"}, short: 'i', arg: true, refuse: refuseAdd},
			{long: []string{"requirements"}, short: 'r', arg: true, refuse: refuseAdd},
			{long: []string{"editable"}, short: 'e', arg: true, refuse: refuseAdd},
			{long: []string{"keep-outdated"}},     // of older ones
			{long: []string{"selective-upgrade"}}, // of older ones
			{long: []string{"sequential"}},        // of older ones
			{long: []string{"dev-only"}, flag: addName(func(s *Sync) *[]string { return &s.OnlyGroups }, "develop")},
			{long: []string{"lock-only"}, refuse: refuseNothing},
		}...)
	}
	for i := range options {
		options[i].general = true // Pipenv takes any before the command
	}
	return &optionSet[*Sync]{options: options, abbreviated: true}
}

// pipenvWords is what Pipenv is told beside what a Sync has.
type pipenvWords struct {
	sitePackages bool
}

// pipenvCategories reads a list of a Pipfile's categories and gives them the
// names that they have in the lock.
func pipenvCategories(list string) []string {
	var out []string
	for name := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ' ' || r == ',' }) {
		switch name {
		case "packages":
			name = "default"
		case "dev-packages":
			name = "develop"
		}
		out = append(out, name)
	}
	return out
}

// pipenv reads the words after pipenv.
func (p *shell) pipenv(c invocation) error {
	if isVersion(c.args) {
		return nil
	}
	before := arguments[*Sync]{set: pipenvOptions(new(pipenvWords), false), in: &Sync{}, command: true}
	rest, err := before.parse(c.args)
	if err != nil || len(rest) == 0 || rest[0] != "install" && rest[0] != "sync" {
		if err == nil && len(rest) > 0 {
			return c.not(rest)
		}
		return c.not(c.args)
	}
	command := "pipenv " + rest[0]
	var at pipenvWords
	s := Sync{Tool: Pipenv, Program: c.program, Line: c.line, Inexact: true, Compile: true, Frozen: rest[0] == "sync"}
	a := arguments[*Sync]{set: pipenvOptions(&at, rest[0] == "sync"), in: &s, operand: func(word string) error {
		return &WordError{Word: word, Reason: "is added to the Pipfile, which is not understood"}
	}}
	words := c.args[: len(c.args)-len(rest) : len(c.args)-len(rest)]
	if _, err := a.parse(append(words, rest[1:]...)); err != nil {
		return atLine(err, command, c.line)
	}
	if err := s.settlePipenv(a.seen, c.env, command); err != nil {
		return err
	}
	conf, err := p.pipSettings(c.env)
	if err != nil {
		return err
	}
	s.Config = Merge(s.Config, conf)
	if err := p.pipfile(&s, &at, c.env); err != nil {
		return atLine(err, command, c.line)
	}
	p.step(Step{Sync: &s}, c.line, c.env)
	return nil
}

// settlePipenv applies Pipenv's variables and refuses what does not go together.
func (s *Sync) settlePipenv(seen map[string]bool, env map[string]string, command string) error {
	wrong := func(word, reason string) error {
		return &WordError{Command: command, Word: word, Line: s.Line, Reason: reason}
	}
	if v := env["PIPENV_PYPI_MIRROR"]; v != "" && !seen["pypi-mirror"] {
		if err := setDefaultIndex(s, Setting[string]{v, "PIPENV_PYPI_MIRROR"}); err != nil {
			return &ConfigError{File: "PIPENV_PYPI_MIRROR", Reason: "is wrong", Err: err}
		}
	}
	if pipenvFlag(env, "PIPENV_SKIP_LOCK") && !s.Frozen {
		s.SkipLock = true
	}
	if !seen["categories"] && !seen["dev"] {
		s.OnlyGroups = append(s.OnlyGroups, pipenvCategories(env["PIPENV_DEFAULT_CATEGORIES"])...)
	}
	switch {
	case s.SkipLock && (s.Locked || s.Frozen):
		return wrong("--skip-lock", "cannot be had with --deploy or --ignore-pipfile")
	case len(s.OnlyGroups) > 0 && (len(s.Groups) > 0 || s.AllGroups):
		return wrong("--categories", "cannot be had with --dev or --all")
	case !s.Inexact && s.System:
		return wrong("--clean", "cannot be had with --system")
	}
	if s.Locked && s.Frozen { // --deploy compares nothing then
		s.Locked = false
	}
	if s.System && !s.Locked && !s.SkipLock {
		s.Frozen = true // Pipenv locks in a virtual environment only, and goes on without
	}
	if v := env["PIPENV_PYTHON"]; v != "" && s.PythonVersion == "" {
		s.PythonVersion = v
	} else if v := env["PIPENV_DEFAULT_PYTHON_VERSION"]; v != "" && s.PythonVersion == "" {
		s.PythonVersion = v
	}
	return nil
}

// pipenvFlag reads a variable of Pipenv's that switches something on.
func pipenvFlag(env map[string]string, name string) bool {
	on, ok := pipenvSwitch(env, name)
	return ok && on
}

// pipenvSwitch reads a variable, or the one of the opposite name.
func pipenvSwitch(env map[string]string, name string) (on, ok bool) {
	if v, set := env[name]; set {
		on, known := parseBool(v)
		return on || !known && v != "", true
	}
	if v, set := env["PIPENV_NO_"+strings.TrimPrefix(name, "PIPENV_")]; set {
		on, known := parseBool(v)
		return known && !on, true
	}
	return false, false
}

// pipfile finds the Pipfile and the environment that belongs to it.
func (p *shell) pipfile(s *Sync, at *pipenvWords, env map[string]string) error {
	file, err := p.findPipfile(env)
	if err != nil {
		return err
	}
	s.Project = path.Dir(file)
	s.LockFile = path.Join(s.Project, path.Base(file)+".lock")
	if strings.Contains(s.PythonVersion, "/") {
		s.Interpreter, s.PythonVersion = absolute(p.dir, s.PythonVersion), ""
	}
	if s.System {
		return nil
	}
	inProject := path.Join(s.Project, ".venv")
	if active := env["VIRTUAL_ENV"]; active != "" && !pipenvFlag(env, "PIPENV_IGNORE_VIRTUALENVS") {
		if _, ok := env["PIPENV_ACTIVE"]; !ok {
			s.Environment = path.Clean(active)
			return nil
		}
	}
	b, _, err := readConfig(p.read(), file)
	if err != nil {
		return err
	}
	var parsed struct {
		Pipenv map[string]any `toml:"pipenv"`
	}
	if err := toml.Unmarshal(b, &parsed); err != nil {
		return tomlError(file, err)
	}
	if _, ok, err := readConfig(p.read(), inProject); err == nil && ok {
		return &WordError{Word: inProject, Reason: "is a file that names an environment, which is not understood"}
	}
	wanted, said := pipenvSwitch(env, "PIPENV_VENV_IN_PROJECT")
	if v, ok := parsed.Pipenv["venv_in_project"].(bool); ok && !said {
		wanted, said = v, true
	}
	own := path.Join(workonHome(env), p.pipenvName(file, s, env))
	s.Environment = own
	switch {
	case said && wanted, !said && p.madeVenv(inProject) && !p.madeVenv(own):
		s.Environment = inProject
	}
	s.Venv = &Venv{Tool: Virtualenv, Program: s.Program, Line: s.Line, Dir: s.Environment, SystemSitePackages: at.sitePackages,
		Prompt: path.Base(s.Project), Python: s.PythonVersion, Interpreter: s.Interpreter, Copies: pipenvFlag(env, "PIPENV_VIRTUALENV_COPIES")}
	return nil
}

// findPipfile looks for the Pipfile in the directory and above, not further than
// Pipenv does.
func (p *shell) findPipfile(env map[string]string) (string, error) {
	if v := env["PIPENV_PIPFILE"]; v != "" {
		return absolute(p.dir, v), nil
	}
	depth := 10
	if v := env["PIPENV_MAX_DEPTH"]; v != "" {
		var err error
		if depth, err = strconv.Atoi(v); err != nil {
			return "", &ConfigError{File: "PIPENV_MAX_DEPTH", Reason: fmt.Sprintf("is %q, which is no number", v)}
		}
	}
	if pipenvFlag(env, "PIPENV_NO_INHERIT") {
		depth = 1
	}
	for dir := p.dir; depth > 0; depth-- {
		file := path.Join(dir, "Pipfile")
		if _, ok, err := readConfig(p.read(), file); err != nil || ok {
			return file, err
		}
		if dir == "/" {
			break
		}
		dir = path.Dir(dir)
	}
	return path.Join(p.dir, "Pipfile"), nil
}

// workonHome is where Pipenv keeps its environments.
func workonHome(env map[string]string) string {
	dir := env["WORKON_HOME"]
	if dir == "" {
		data := env["XDG_DATA_HOME"]
		if data == "" {
			data = "~/.local/share"
		}
		dir = path.Join(data, "virtualenvs")
	}
	if rest, ok := strings.CutPrefix(dir, "~"); ok && (rest == "" || rest[0] == '/') {
		dir = path.Join(env["HOME"], rest)
	}
	return absolute("/", dir)
}

// pipenvName is how Pipenv names an environment: the directory's name and a hash
// of the Pipfile's path.
func (p *shell) pipenvName(file string, s *Sync, env map[string]string) string {
	if v := env["PIPENV_CUSTOM_VENV_NAME"]; v != "" {
		return v
	}
	name := regexp.MustCompile("[ &$`!*@\"()\\[\\]\\\\\r\n\t]").ReplaceAllString(path.Base(path.Dir(file)), "_")
	if runes := []rune(name); len(runes) > 42 {
		name = string(runes[:42])
	}
	sum := sha256.Sum256([]byte(file))
	name += "-" + base64.URLEncoding.EncodeToString(sum[:6])
	if v := env["PIPENV_PYTHON"]; v != "" {
		name += "-" + path.Base(v)
	}
	return name
}
