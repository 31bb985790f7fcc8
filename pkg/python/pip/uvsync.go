package pip

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/boyabuild/boyabuild/pkg/python"
)

const refuseScript = "installs for a script, which is not understood"

// uvSyncOptions returns the options of `uv sync`, as of uv 0.13.
func uvSyncOptions(place *uvPlace, active *bool) *optionSet[*Sync] {
	options := uvSyncWhat()
	options = append(options, uvSyncWhere(active)...)
	options = append(options, uvResolver[*Sync]()...)
	options = append(options, uvBuild[*Sync]()...)
	options = append(options, uvIndex[*Sync]()...)
	options = append(options, uvGeneral[*Sync](place)...)
	return &optionSet[*Sync]{options: options, assigned: true}
}

// uvSyncWhat: what is installed.
func uvSyncWhat() []option[*Sync] {
	const refuseOnly = "installs a part of the lock in a way that is not understood"
	return []option[*Sync]{
		{long: []string{"frozen"}, flag: setFlag(func(s *Sync) *bool { return &s.Frozen }, true)},
		{long: []string{"locked"}, flag: setFlag(func(s *Sync) *bool { return &s.Locked }, true)},
		{long: []string{"extra"}, arg: true, list: true, value: addText(func(s *Sync) *[]string { return &s.Extras })},
		{long: []string{"all-extras"}, flag: setFlag(func(s *Sync) *bool { return &s.AllExtras }, true)},
		{long: []string{"no-all-extras"}, flag: setFlag(func(s *Sync) *bool { return &s.AllExtras }, false)},
		{long: []string{"no-extra"}, arg: true, list: true, value: addText(func(s *Sync) *[]string { return &s.NoExtras })},
		{long: []string{"dev"}, flag: addName(func(s *Sync) *[]string { return &s.Groups }, "dev")},
		{long: []string{"no-dev"}, flag: addName(func(s *Sync) *[]string { return &s.NoGroups }, "dev")},
		{long: []string{"only-dev"}, flag: addName(func(s *Sync) *[]string { return &s.OnlyGroups }, "dev")},
		{long: []string{"group"}, arg: true, list: true, value: addText(func(s *Sync) *[]string { return &s.Groups })},
		{long: []string{"no-group"}, arg: true, list: true, value: addText(func(s *Sync) *[]string { return &s.NoGroups })},
		{long: []string{"only-group"}, arg: true, list: true, value: addText(func(s *Sync) *[]string { return &s.OnlyGroups })},
		{long: []string{"no-default-groups"}, flag: setFlag(func(s *Sync) *bool { return &s.NoDefaultGroups }, true)},
		{long: []string{"all-groups"}, flag: setFlag(func(s *Sync) *bool { return &s.AllGroups }, true)},
		{long: []string{"no-install-project"}, flag: setFlag(func(s *Sync) *bool { return &s.NoProject }, true)},
		{long: []string{"no-install-workspace"}, flag: setFlag(func(s *Sync) *bool { return &s.NoWorkspace }, true)},
		{long: []string{"no-install-local"}, flag: setFlag(func(s *Sync) *bool { return &s.NoLocal }, true)},
		{long: []string{"no-install-package"}, arg: true, list: true, value: addProject(func(s *Sync) *[]string { return &s.NoInstall })},
		{long: []string{"only-install-project"}, refuse: refuseOnly},
		{long: []string{"only-install-workspace"}, refuse: refuseOnly},
		{long: []string{"only-install-local"}, refuse: refuseOnly},
		{long: []string{"only-install-package"}, arg: true, refuse: refuseOnly},
		{long: []string{"no-editable"}, flag: setFlag(func(s *Sync) *bool { return &s.NoEditable }, true)},
		{long: []string{"editable"}, flag: setFlag(func(s *Sync) *bool { return &s.NoEditable }, false)},
		{long: []string{"no-editable-package"}, arg: true, list: true, value: addProject(func(s *Sync) *[]string { return &s.NoEditablePackages })},
		{long: []string{"package"}, arg: true, value: addProject(func(s *Sync) *[]string { return &s.Packages })},
		{long: []string{"all-packages"}, flag: setFlag(func(s *Sync) *bool { return &s.AllPackages }, true)},
		{long: []string{"script"}, arg: true, refuse: refuseScript},
		{long: []string{"dry-run"}, refuse: refuseNothing},
		{long: []string{"check"}, refuse: refuseNothing},
		{long: []string{"output-format"}, arg: true},
		{long: []string{"upgrade-group"}, arg: true, refuse: "upgrades a dependency group, which is not understood"},
	}
}

// uvSyncWhere: where it goes.
func uvSyncWhere(active *bool) []option[*Sync] {
	return []option[*Sync]{
		{long: []string{"inexact", "no-exact"}, flag: setFlag(func(s *Sync) *bool { return &s.Inexact }, true)},
		{long: []string{"exact"}, flag: setFlag(func(s *Sync) *bool { return &s.Inexact }, false)},
		{long: []string{"active"}, flag: func(_ *Sync, on Setting[bool]) { *active = on.Value }},
		{long: []string{"no-active"}, flag: func(_ *Sync, on Setting[bool]) { *active = !on.Value }},
		{long: []string{"python"}, short: 'p', arg: true, value: setUVPython(func(s *Sync) *string { return &s.PythonVersion })},
		{long: []string{"python-platform"}, arg: true, refuse: refuseOther},
		{long: []string{"no-build"}, flag: noBuild[*Sync]},
		{long: []string{"build"}},
		{long: []string{"no-build-package"}, arg: true, list: true, value: setFormats[*Sync](false)},
		{long: []string{"no-binary"}, flag: func(s *Sync, on Setting[bool]) {
			if on.Value {
				restrict(allPackages, &s.Config.NoBinary, &s.Config.OnlyBinary)
			}
		}},
		{long: []string{"binary"}},
		{long: []string{"no-binary-package"}, arg: true, list: true, value: setFormats[*Sync](true)},
	}
}

// addName adds a name where a flag is on.
func addName(at func(*Sync) *[]string, name string) func(*Sync, Setting[bool]) {
	return func(s *Sync, on Setting[bool]) {
		if on.Value {
			*at(s) = append(*at(s), name)
		}
	}
}

// addProject adds the name of a project, normalised.
func addProject[T subject](at func(T) *[]string) func(T, Setting[string]) error {
	return func(in T, v Setting[string]) error {
		*at(in) = append(*at(in), python.NormalizeName(v.Value))
		return nil
	}
}

// uvSync reads `uv sync`; words are all but that.
func (p *shell) uvSync(c invocation, words []string) error {
	const command = "uv sync"
	var place uvPlace
	var active bool
	set := uvSyncOptions(&place, &active)
	s := Sync{Tool: UV, Program: c.program, Line: c.line}
	a := arguments[*Sync]{set: set, in: &s}
	if _, err := a.parse(words); err != nil {
		return atLine(err, command, c.line)
	}
	if a.seen["locked"] || a.seen["frozen"] { // the other's variable does not count
		a.seen["locked"], a.seen["frozen"] = true, true
	}
	dir, project, env := p.uvPlace(place, c.env)
	l := p.locations(env)
	l.Project = project
	files, err := uvDefaults(set, &s, a.seen, env, l, p.read(), false)
	if err != nil {
		return err
	}
	s.Config = Merge(s.Config, files)
	if err := s.check(command, c.line); err != nil {
		return err
	}
	root, prompt, err := p.uvWorkspace(&s, project)
	if err != nil {
		return err
	}
	if s.PythonVersion == "" {
		if s.PythonVersion, err = p.pythonPinned(command, s.Project, root, env, a.seen["no-config"]); err != nil {
			return atLine(err, command, c.line)
		}
	}
	if strings.Contains(s.PythonVersion, "/") {
		s.Interpreter, s.PythonVersion = pythonAt(dir, s.PythonVersion), ""
	}
	s.Environment = path.Join(root, ".venv")
	named := false
	if at := env["UV_PROJECT_ENVIRONMENT"]; at != "" {
		s.Environment, named = absolute(root, at), true
	}
	if at := env["VIRTUAL_ENV"]; at != "" && active {
		s.Environment, named = absolute(dir, at), true
	}
	s.System = named && p.isPrefix(s.Environment) && !p.madeVenv(s.Environment)
	if !s.System {
		s.Venv = &Venv{Tool: UV, Program: c.program, Line: c.line, Dir: s.Environment, WithoutPip: true, Prompt: prompt,
			Interpreter: s.Interpreter, Python: s.PythonVersion}
	}
	p.step(Step{Sync: &s, Dir: dir}, c.line, c.env)
	return nil
}

// isPrefix says whether a directory is the prefix of the image's Python.
func (p *shell) isPrefix(dir string) bool {
	if p.o.PythonPrefix != "" {
		return dir == path.Clean(p.o.PythonPrefix)
	}
	return dir == "/usr/local" || dir == "/usr"
}

// check refuses combinations that uv refuses.
func (s *Sync) check(command string, line int) error {
	wrong := func(word, reason string) error {
		return &WordError{Command: command, Word: word, Line: line, Reason: reason}
	}
	switch {
	case s.Frozen && s.Locked:
		return wrong("--frozen", "cannot be had with --locked")
	case s.AllExtras && len(s.Extras) > 0:
		return wrong("--all-extras", "cannot be had with --extra")
	case len(s.OnlyGroups) > 0 && (s.AllGroups || slices.ContainsFunc(s.Groups, func(g string) bool { return !slices.Contains(s.OnlyGroups, g) })):
		return wrong("--only-group", "cannot be had with --group, --dev or --all-groups")
	case s.AllPackages && len(s.Packages) > 0:
		return wrong("--all-packages", "cannot be had with --package")
	case (s.Upgrade || len(s.UpgradePackages) > 0) && (s.Frozen || s.Locked):
		return wrong("--upgrade", "cannot be had with a lock that stays as it is")
	}
	return nil
}

// uvWorkspace finds the project in or above a directory, its lock and the root
// of its workspace.
func (p *shell) uvWorkspace(s *Sync, dir string) (root, prompt string, err error) {
	s.Project, root = dir, dir
	first, ok, err := p.pyprojectAbove(dir)
	if err != nil {
		return "", "", err
	}
	if ok {
		s.Project, root = first.dir, first.dir
		for at := first; ok && root == s.Project; {
			if at.isRootOf(s.Project) {
				root, first = at.dir, at
				break
			}
			if at.dir == "/" {
				break
			}
			if at, ok, err = p.pyprojectAbove(path.Dir(at.dir)); err != nil {
				return "", "", err
			}
		}
	}
	s.LockFile = path.Join(root, "uv.lock")
	if prompt = first.Project.Name; prompt == "" {
		prompt = path.Base(root)
	}
	return root, prompt, nil
}

// pythonPinned is the Python that a project asks for in its .python-version: that
// of its directory, or of the nearest above in the workspace.
func (p *shell) pythonPinned(command, dir, root string, env map[string]string, noConfig bool) (string, error) {
	if off, _ := parseBool(env["UV_NO_CONFIG"]); off || noConfig {
		return "", nil
	}
	for {
		name := path.Join(dir, ".python-version")
		text, ok, err := readConfig(p.read(), name)
		if err != nil {
			return "", err
		}
		if ok {
			for line := range strings.Lines(string(text)) {
				line = strings.TrimSpace(line)
				if line == "" || line[0] == '#' {
					continue
				}
				m := pinnedPython().FindStringSubmatch(line)
				if m == nil {
					return "", &WordError{Command: command, Word: name, Reason: fmt.Sprintf("asks for %q, which is not understood", line), hint: "write a version, such as 3.12, or say --python"}
				}
				return m[1], nil
			}
		}
		if dir == root || dir == "/" {
			return "", nil
		}
		dir = path.Dir(dir)
	}
}

func pinnedPython() *regexp.Regexp {
	return regexp.MustCompile(`^(?:(?:cpython|python)[@-]?)?(\d+(?:\.\d+){0,2})$`)
}

// pyproject is the part of a pyproject.toml that says where its lock and its
// environment are.
type pyproject struct {
	dir     string
	Project struct {
		Name string `toml:"name"`
	} `toml:"project"`
	Tool struct {
		UV struct {
			Workspace *struct {
				Members []string `toml:"members"`
				Exclude []string `toml:"exclude"`
			} `toml:"workspace"`
		} `toml:"uv"`
		Poetry struct {
			Name string `toml:"name"`
		} `toml:"poetry"`
	} `toml:"tool"`
}

// pyprojectAbove reads the pyproject.toml in a directory, or the nearest above.
func (p *shell) pyprojectAbove(dir string) (pyproject, bool, error) {
	for {
		name := path.Join(dir, "pyproject.toml")
		b, ok, err := readConfig(p.read(), name)
		if err != nil {
			return pyproject{}, false, err
		}
		if ok {
			at := pyproject{dir: dir}
			if err := toml.Unmarshal(b, &at); err != nil {
				return pyproject{}, false, tomlError(name, err)
			}
			return at, true, nil
		}
		if dir == "/" {
			return pyproject{}, false, nil
		}
		dir = path.Dir(dir)
	}
}

// isRootOf says whether a project is a member of the workspace.
func (at pyproject) isRootOf(dir string) bool {
	w := at.Tool.UV.Workspace
	if w == nil || !contains(at.dir, dir) {
		return false
	}
	rel := strings.TrimPrefix(strings.TrimPrefix(dir, strings.TrimSuffix(at.dir, "/")), "/")
	matches := func(pattern string) bool { return matchPath(path.Clean(pattern), rel) }
	return rel == "" || slices.ContainsFunc(w.Members, matches) && !slices.ContainsFunc(w.Exclude, matches)
}

// matchPath matches a path with a pattern in which ** stands for any number of
// directories.
func matchPath(pattern, name string) bool {
	first, more, ok := strings.Cut(pattern, "/")
	if first == "**" {
		if more == "" {
			return true
		}
		for {
			if matchPath(more, name) {
				return true
			}
			var found bool
			if _, name, found = strings.Cut(name, "/"); !found {
				return false
			}
		}
	}
	head, tail, deeper := strings.Cut(name, "/")
	if matched, err := path.Match(first, head); err != nil || !matched || ok != deeper {
		return false
	}
	return !ok || matchPath(more, tail)
}
