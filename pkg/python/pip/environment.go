package pip

import (
	"path"
	"strings"
)

// isVenv says whether a directory is a virtual environment: one that the line
// has made, or one of the image. Where the image is not known yet it is.
func (p *shell) isVenv(dir string) bool {
	for _, s := range p.steps {
		if s.Venv != nil && s.Venv.Dir == dir || s.Sync != nil && s.Sync.Environment == dir {
			return true
		}
	}
	if p.o.ReadFile == nil {
		return true
	}
	_, err := p.o.ReadFile(path.Join(dir, "pyvenv.cfg")) // PEP 405
	return err == nil
}

// madeVenv is isVenv for one that must be known to be there.
func (p *shell) madeVenv(dir string) bool {
	known := *p
	known.o.ReadFile = p.read()
	return known.isVenv(dir)
}

// find returns the path of a program that is named by its path, or lies in a
// virtual environment that was made or made active in the line; "" for one that
// PATH leads to in the image itself.
func (p *shell) find(program string, env map[string]string) string {
	if strings.Contains(program, "/") {
		return absolute(p.dir, program)
	}
	for dir := range strings.SplitSeq(env["PATH"], ":") {
		dir = absolute(p.dir, dir)
		if venv := path.Dir(dir); path.Base(dir) == "bin" && p.has(venv, program, env) {
			return path.Join(dir, program)
		}
		if p.lists(dir, program) {
			return ""
		}
	}
	return ""
}

// has says whether a virtual environment of the line has a program.
func (p *shell) has(venv, program string, env map[string]string) bool {
	for _, s := range p.steps {
		if s.Venv != nil && s.Venv.Dir == venv {
			return !s.Venv.WithoutPip || !pipName().MatchString(program)
		}
	}
	// One that is active and was not when the line began.
	if env["VIRTUAL_ENV"] != venv || p.o.Env["VIRTUAL_ENV"] == venv {
		return false
	}
	return p.o.ReadDir == nil || p.lists(path.Join(venv, "bin"), program)
}

func (p *shell) lists(dir, name string) bool {
	if p.o.ReadDir == nil {
		return false
	}
	entries, err := p.o.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.Name() == name {
			return true
		}
	}
	return false
}

// interpreterOf returns the Python of a program found by find: itself, or the
// one beside it.
func interpreterOf(program string) string {
	if program == "" {
		return ""
	}
	name := path.Base(program)
	if pythonName().MatchString(name) {
		return program
	}
	version := strings.TrimPrefix(name, "pip")
	if !strings.Contains(version, ".") {
		version = "3"
	}
	return path.Join(path.Dir(program), "python"+version)
}

// inEnvironment returns the Python of a virtual environment.
func inEnvironment(dir string) string { return path.Join(dir, "bin", "python3") }

// pythonAt returns the Python that a path names: it, or that of an environment.
func pythonAt(dir, name string) string {
	at := absolute(dir, name)
	if !pythonName().MatchString(path.Base(at)) {
		at = inEnvironment(at)
	}
	return at
}
