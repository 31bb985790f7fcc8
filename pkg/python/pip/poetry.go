package pip

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"path"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// poetryPlace are Poetry's options that say where it runs.
type poetryPlace struct{ directory, project string }

// poetryGeneral: what all of Poetry's commands have.
func poetryGeneral(place *poetryPlace) []option[*Sync] {
	set := func(at *string) func(*Sync, Setting[string]) error { return setPlace[*Sync](at) }
	general := []option[*Sync]{
		{long: []string{"help"}, short: 'h', refuse: refuseNothing},
		{long: []string{"version"}, short: 'V', refuse: refuseNothing},
		{long: []string{"quiet"}, short: 'q'},
		{long: []string{"verbose"}, short: 'v'},
		{long: []string{"ansi"}},
		{long: []string{"no-ansi"}},
		{long: []string{"no-interaction"}, short: 'n'},
		{long: []string{"no-plugins"}},
		{long: []string{"no-cache"}},
		{long: []string{"project"}, short: 'P', arg: true, value: set(&place.project)},
		{long: []string{"directory"}, short: 'C', arg: true, value: set(&place.directory)},
	}
	for i := range general {
		general[i].general = true
	}
	return general
}

// poetryGroups are Poetry's lists of groups, which only together mean something.
type poetryGroups struct {
	with, without, only []string
	sync                bool
}

// poetryOptions returns the options of `poetry install`, as of Poetry 2.5, with
// those that Poetry 1 had.
func poetryOptions(place *poetryPlace, g *poetryGroups) *optionSet[*Sync] {
	names := func(at *[]string) func(*Sync, Setting[string]) error {
		return func(_ *Sync, v Setting[string]) error {
			for name := range splitComma(v.Value) {
				*at = append(*at, python.NormalizeName(name))
			}
			return nil
		}
	}
	options := []option[*Sync]{
		{long: []string{"without"}, arg: true, value: names(&g.without)},
		{long: []string{"with"}, arg: true, value: names(&g.with)},
		{long: []string{"only"}, arg: true, value: names(&g.only)},
		{long: []string{"sync", "remove-untracked"}, flag: func(_ *Sync, on Setting[bool]) { g.sync = on.Value }},
		{long: []string{"no-root"}, flag: setFlag(func(s *Sync) *bool { return &s.NoProject }, true)},
		{long: []string{"no-directory"}, flag: setFlag(func(s *Sync) *bool { return &s.NoDirectories }, true)},
		{long: []string{"no-dev"}, flag: func(*Sync, Setting[bool]) { g.only = append(g.only, "main") }},
		{long: []string{"dev-only"}, refuse: "is an option that Poetry has no more"},
		{long: []string{"dry-run"}, refuse: refuseNothing},
		{long: []string{"extras"}, short: 'E', arg: true, value: func(s *Sync, v Setting[string]) error {
			s.Extras = append(s.Extras, strings.Fields(v.Value)...)
			return nil
		}},
		{long: []string{"all-extras"}, flag: setFlag(func(s *Sync) *bool { return &s.AllExtras }, true)},
		{long: []string{"all-groups"}, flag: setFlag(func(s *Sync) *bool { return &s.AllGroups }, true)},
		{long: []string{"only-root"}, flag: setFlag(func(s *Sync) *bool { return &s.OnlyProject }, true)},
		{long: []string{"compile"}, flag: setFlag(func(s *Sync) *bool { return &s.Compile }, true)},
	}
	return &optionSet[*Sync]{options: append(options, poetryGeneral(place)...), assigned: true}
}

// poetry reads the words after poetry.
func (p *shell) poetry(c invocation) error {
	if isVersion(c.args) {
		return nil
	}
	before := arguments[*Sync]{set: poetryOptions(new(poetryPlace), new(poetryGroups)), in: &Sync{}, command: true}
	rest, err := before.parse(c.args)
	if err != nil || len(rest) == 0 {
		return c.not(c.args)
	}
	general := c.args[: len(c.args)-len(rest) : len(c.args)-len(rest)]
	words := append(general, rest[1:]...)
	switch rest[0] {
	case "install", "sync":
		return p.poetryInstall(c, rest[0], words)
	case "config":
		return p.poetryConfig(c, words)
	case "cache":
		if len(rest) > 1 && rest[1] == "clear" {
			return nil
		}
	}
	return c.not(rest)
}

func (p *shell) poetryInstall(c invocation, name string, words []string) error {
	command := "poetry " + name
	var place poetryPlace
	var g poetryGroups
	s := Sync{Tool: Poetry, Program: c.program, Line: c.line, Locked: true}
	a := arguments[*Sync]{set: poetryOptions(&place, &g), in: &s}
	if _, err := a.parse(words); err != nil {
		return atLine(err, command, c.line)
	}
	wrong := func(word, reason string) error {
		return &WordError{Command: command, Word: word, Line: c.line, Reason: reason}
	}
	grouped := len(g.only)+len(g.with)+len(g.without) > 0
	switch {
	case s.AllExtras && len(s.Extras) > 0:
		return wrong("--all-extras", "cannot be had with --extras")
	case s.OnlyProject && (grouped || s.AllGroups):
		return wrong("--only-root", "cannot be had with groups")
	case s.OnlyProject && s.NoProject:
		return wrong("--only-root", "cannot be had with --no-root")
	case s.AllGroups && grouped:
		return wrong("--all-groups", "cannot be had with other groups")
	}
	s.Inexact = name == "install" && !g.sync
	if s.OnlyGroups = g.only; len(g.only) == 0 { // beside --only they do not count
		s.Groups, s.NoGroups = g.with, g.without
	}
	dir := p.dir
	if place.directory != "" {
		dir = absolute(dir, place.directory)
	}
	project, err := p.poetryProject(&s, dir, place, c)
	if err != nil {
		return err
	}
	conf, err := p.poetrySettings(c.env, s.Project)
	if err != nil {
		return err
	}
	if err := conf.apply(&s, c.env); err != nil {
		return err
	}
	if err := p.poetryEnvironment(&s, conf, project, c.env); err != nil {
		return atLine(err, command, c.line)
	}
	p.step(Step{Sync: &s, Dir: dir}, c.line, c.env)
	return nil
}

// poetryProject finds the pyproject.toml in or above the directory.
func (p *shell) poetryProject(s *Sync, dir string, place poetryPlace, c invocation) (pyproject, error) {
	at := dir
	if place.project != "" {
		at = absolute(p.dir, place.project) // not to --directory
	} else if d := c.env["POETRY_PROJECT"]; d != "" {
		at = absolute(p.dir, d)
	}
	s.Project = at
	project, ok, err := p.pyprojectAbove(at)
	if err != nil {
		return pyproject{}, err
	}
	if ok {
		s.Project = project.dir
	}
	s.LockFile = path.Join(s.Project, "poetry.lock")
	return project, nil
}

// poetryEnvironment finds the environment as Poetry does: the active one, the
// project's .venv, the system's where none may be made, or one of its own.
func (p *shell) poetryEnvironment(s *Sync, conf poetryConf, project pyproject, env map[string]string) error {
	inProject := path.Join(s.Project, ".venv")
	wanted, said := conf.bool("virtualenvs.in-project")
	venvs := conf.path("virtualenvs.path", path.Join(conf.path("cache-dir", p.poetryCache(env)), "virtualenvs"))
	if _, ok, err := readConfig(p.read(), path.Join(venvs, "envs.toml")); err != nil || ok {
		return errors.Join(err, &WordError{Word: "poetry env use", Reason: "has chosen an environment, which is not understood"})
	}
	active := env["VIRTUAL_ENV"]
	switch {
	case env["CONDA_PREFIX"] != "" && env["VIRTUAL_ENV"] == "" && env["CONDA_DEFAULT_ENV"] != "base":
		return &WordError{Word: "CONDA_PREFIX", Reason: "is set: conda's environments are not understood"}
	case active != "" && env["CONDA_DEFAULT_ENV"] != "base":
		s.Environment = path.Clean(active)
		return nil
	case (wanted || !said) && p.madeVenv(inProject):
		s.Environment = inProject
		return nil
	}
	if create, said := conf.bool("virtualenvs.create"); said && !create {
		s.System = true
		return nil
	}
	if own, _ := conf.bool("virtualenvs.use-poetry-python"); own {
		return &WordError{Word: "virtualenvs.use-poetry-python", Reason: "is set: the Python that Poetry runs on is not known"}
	}
	v := &Venv{Tool: Virtualenv, Program: s.Program, Line: s.Line}
	v.Copies, _ = conf.bool("virtualenvs.options.always-copy")
	v.SystemSitePackages, _ = conf.bool("virtualenvs.options.system-site-packages")
	v.WithoutPip, _ = conf.bool("virtualenvs.options.no-pip")
	name := python.NormalizeName(project.Project.Name)
	if name == "" {
		name = python.NormalizeName(project.Tool.Poetry.Name)
	}
	known := p.o.PythonVersion != "" && (name != "" || project.dir != "")
	if name == "" {
		name = "non-package-mode" // what Poetry calls a project without a name
	}
	s.Venv = v
	if wanted {
		s.Environment = inProject
	} else if known {
		s.Environment = path.Join(venvs, poetryEnvironmentName(name, s.Project)+"-py"+p.o.PythonVersion)
	} else if p.o.ReadFile != nil {
		return &WordError{Word: s.Program, Reason: "makes an environment in a place that is not known before",
			hint: "set POETRY_VIRTUALENVS_IN_PROJECT=true, or POETRY_VIRTUALENVS_CREATE=false"}
	}
	prompt, said := conf.text("virtualenvs.prompt")
	if !said {
		prompt = "{project_name}-py{python_version}"
	}
	if known {
		v.Prompt = strings.NewReplacer("{project_name}", name, "{python_version}", p.o.PythonVersion).Replace(prompt)
	}
	v.Dir = s.Environment
	return nil
}

// poetryCache is where Poetry keeps its cache unless told otherwise.
func (p *shell) poetryCache(env map[string]string) string {
	dir := env["XDG_CACHE_HOME"]
	if strings.TrimSpace(dir) == "" {
		dir = path.Join(env["HOME"], ".cache")
	}
	return path.Join(dir, "pypoetry")
}

// poetryEnvironmentName is how Poetry names an environment outside its project:
// the name, and a hash of the project's directory. Links in the directory's path
// are not followed here.
func poetryEnvironmentName(name, dir string) string {
	clean := regexp.MustCompile("[ $`!*@\"\\\\\r\n\t]").ReplaceAllString(name, "_")
	if runes := []rune(clean); len(runes) > 42 {
		clean = string(runes[:42])
	}
	sum := sha256.Sum256([]byte(dir))
	return clean + "-" + base64.URLEncoding.EncodeToString(sum[:])[:8]
}

// poetryConfig reads `poetry config KEY VALUE`, which writes a file.
func (p *shell) poetryConfig(c invocation, words []string) error {
	const command = "poetry config"
	var place poetryPlace
	var local, unset bool
	options := append(poetryGeneral(&place),
		option[*Sync]{long: []string{"local"}, flag: func(*Sync, Setting[bool]) { local = true }},
		option[*Sync]{long: []string{"unset"}, flag: func(*Sync, Setting[bool]) { unset = true }},
		option[*Sync]{long: []string{"list"}, refuse: "prints, and sets nothing"},
		option[*Sync]{long: []string{"migrate"}, refuse: "rewrites the configuration, which is not understood"},
	)
	var operands []string
	a := arguments[*Sync]{set: &optionSet[*Sync]{options: options}, in: &Sync{}, operand: func(word string) error {
		operands = append(operands, word)
		return nil
	}}
	if _, err := a.parse(words); err != nil {
		return atLine(err, command, c.line)
	}
	wrong := func(word, reason string) error {
		return &WordError{Command: command, Word: word, Line: c.line, Reason: reason}
	}
	if len(operands) == 0 || unset != (len(operands) == 1) {
		return wrong(strings.Join(operands, " "), "is not a setting with its value")
	}
	dir := p.dir
	if place.directory != "" {
		dir = absolute(dir, place.directory)
	}
	file := path.Join(p.poetryHome(c.env), "config.toml")
	keys := strings.Split(operands[0], ".")
	if credentials := keys[0] == "http-basic"; credentials && len(keys) == 2 {
		file = path.Join(path.Dir(file), "auth.toml")
		if local || !unset && len(operands) != 3 {
			return wrong(operands[0], "wants a user name and a password")
		}
	} else if local {
		var at Sync
		if _, err := p.poetryProject(&at, dir, place, c); err != nil {
			return err
		}
		file = path.Join(at.Project, "poetry.toml")
	}
	value, err := poetryValue(operands[0], operands[1:])
	if err != nil {
		return wrong(operands[0], err.Error())
	}
	b, _, err := readConfig(p.read(), file)
	if err != nil {
		return err
	}
	all := map[string]any{}
	if err := toml.Unmarshal(b, &all); err != nil {
		return tomlError(file, err)
	}
	if err := setKey(all, keys, value); err != nil {
		return wrong(operands[0], err.Error())
	}
	if b, err = toml.Marshal(all); err != nil {
		return wrong(operands[0], err.Error())
	}
	write := FileWrite{Path: file, Content: b, Mode: 0o600}
	if local {
		write.Mode = 0o644
	}
	p.step(Step{Write: &write, Dir: dir}, c.line, c.env)
	return nil
}

// setKey sets a value in nested tables, or removes it where it is nil.
func setKey(table map[string]any, keys []string, value any) error {
	for _, key := range keys[:len(keys)-1] {
		next, ok := table[key].(map[string]any)
		if !ok {
			if table[key] != nil {
				return errors.New("is set to something else")
			}
			next = map[string]any{}
			table[key] = next
		}
		table = next
	}
	last := keys[len(keys)-1]
	if table[last] = value; value == nil {
		delete(table, last)
	}
	return nil
}
