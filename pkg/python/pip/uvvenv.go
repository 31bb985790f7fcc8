package pip

import (
	"path"
	"strings"
)

// uvVenvOptions returns the options of `uv venv`, as of uv 0.13.
func uvVenvOptions(place *uvPlace, noProject *bool) *optionSet[*Venv] {
	options := []option[*Venv]{
		{long: []string{"no-project", "no-workspace"}, flag: func(_ *Venv, on Setting[bool]) { *noProject = on.Value }},
		{long: []string{"seed"}, flag: setFlag(func(v *Venv) *bool { return &v.WithoutPip }, false)},
		{long: []string{"clear"}, short: 'c', flag: setFlag(func(v *Venv) *bool { return &v.Clear }, true)},
		{long: []string{"no-clear"}, flag: setFlag(func(v *Venv) *bool { return &v.Clear }, false)},
		{long: []string{"force"}},
		{long: []string{"allow-existing"}, flag: setFlag(func(v *Venv) *bool { return &v.AllowExisting }, true)},
		{long: []string{"prompt"}, arg: true, value: setText(func(v *Venv) *string { return &v.Prompt })},
		{long: []string{"system-site-packages"}, flag: setFlag(func(v *Venv) *bool { return &v.SystemSitePackages }, true)},
		{long: []string{"relocatable"}, flag: setFlag(func(v *Venv) *bool { return &v.Relocatable }, true)},
		{long: []string{"no-relocatable"}, flag: setFlag(func(v *Venv) *bool { return &v.Relocatable }, false)},
		{long: []string{"system"}}, // of older ones; it is how they always look
		{long: []string{"link-mode"}, arg: true},
		{long: []string{"python"}, short: 'p', arg: true, value: setUVPython(func(v *Venv) *string { return &v.Python })},
		{long: []string{"exclude-newer"}, arg: true, value: setExcludeNewer[*Venv](true)},
		{long: []string{"exclude-newer-package"}, arg: true, refuse: refuseChange},
	}
	options = append(options, uvIndex[*Venv]()...)
	options = append(options, uvGeneral[*Venv](place)...)
	return &optionSet[*Venv]{options: options, assigned: true}
}

// uvVenv reads `uv venv`; words are all but that.
func (p *shell) uvVenv(c invocation, words []string) error {
	const command = "uv venv"
	var place uvPlace
	var noProject bool
	set := uvVenvOptions(&place, &noProject)
	v := Venv{Tool: UV, Program: c.program, Line: c.line, WithoutPip: true}
	var dirs []string
	a := arguments[*Venv]{set: set, in: &v, operand: func(word string) error {
		dirs = append(dirs, word)
		return nil
	}}
	if _, err := a.parse(words); err != nil {
		return atLine(err, command, c.line)
	}
	if len(dirs) > 1 {
		return &WordError{Command: command, Word: dirs[1], Line: c.line, Reason: "is a word that is not understood here"}
	}
	dir, project, env := p.uvPlace(place, c.env)
	l := p.locations(env)
	l.Project = project
	files, err := uvDefaults(set, &v, a.seen, env, l, p.read(), false)
	if err != nil {
		return err
	}
	v.Config = Merge(v.Config, files)
	v.Dir = path.Join(dir, ".venv")
	if len(dirs) == 1 {
		v.Dir = absolute(dir, dirs[0])
	}
	if off, _ := parseBool(env["UV_NO_PROJECT"]); !noProject && !off {
		root, _, err := p.uvWorkspace(&Sync{}, project)
		if err != nil {
			return err
		}
		if v.Python == "" {
			if v.Python, err = p.pythonPinned(command, project, root, env, a.seen["no-config"]); err != nil {
				return atLine(err, command, c.line)
			}
		}
		if at := env["UV_PROJECT_ENVIRONMENT"]; at != "" && root == dir && len(dirs) == 0 {
			v.Dir = absolute(root, at)
		}
	}
	if v.Prompt == "." || v.Prompt == "" && len(dirs) == 0 {
		v.Prompt = path.Base(dir)
	}
	if strings.Contains(v.Python, "/") {
		v.Interpreter, v.Python = pythonAt(dir, v.Python), ""
	}
	p.step(Step{Venv: &v, Dir: dir}, c.line, c.env)
	return nil
}
