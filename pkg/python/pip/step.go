package pip

import (
	"path"
	"slices"
	"strings"
)

// Step is one command of a line: exactly one of the pointers is set.
type Step struct {
	// Line is the line in the text that the command begins at, from 1.
	Line int
	// Dir is the directory it runs in, absolute: what it names is relative to it.
	Dir string
	// Env is its environment: the image's, and what the line has exported or
	// set before it. Do not modify it.
	Env map[string]string

	Install *Install
	Sync    *Sync
	Venv    *Venv
	Write   *FileWrite
	// Uninstall takes away what is installed.
	Uninstall *Uninstall
}

// FileWrite is a file that a command writes: `poetry config` does.
type FileWrite struct {
	Path    string // absolute
	Content []byte
	Mode    uint32 // permission bits
}

// move adds to the line that a step is on.
func (s *Step) move(lines int) {
	s.Line += lines
	switch {
	case s.Install != nil:
		s.Install.Line += lines
	case s.Sync != nil:
		s.Sync.Line += lines
	case s.Venv != nil:
		s.Venv.Line += lines
	case s.Uninstall != nil:
		s.Uninstall.Line += lines
	}
}

// ParseSteps reads a shell line (or several, such as a here-document's) that is
// made only of commands that are known, and returns what they do, in order.
// Beside those of [Step] it takes what such lines are written with and what
// changes nothing in an image: assignments and export, `set -e`, cd, a virtual
// environment's activation, subshells, `pip cache purge`, the removal of caches.
// Every command must succeed, as under set -e. Anything else is a [*NotPipError]
// or a [*WordError]; a wrong configuration is a [*ConfigError].
func ParseSteps(line string, o ParseOptions) ([]Step, error) {
	p := newShell(o)
	if err := p.script(line); err != nil {
		return nil, err
	}
	return p.steps, nil
}

// ParseStepsArgs reads a command in exec form, which no shell expands:
// ["pip", "install", "flask"]. A shell called with -c is read by [ParseSteps].
func ParseStepsArgs(args []string, o ParseOptions) ([]Step, error) {
	p := newShell(o)
	if err := p.exec(args); err != nil {
		return nil, err
	}
	return p.steps, nil
}

// exec reads a command that no shell has expanded.
func (p *shell) exec(args []string) error {
	if len(args) == 3 && isShell(args[0]) && isCommandFlag(args[1]) {
		return p.script(args[2])
	}
	if len(args) == 0 || isBuiltin(args[0]) {
		return notPip(strings.Join(args[:min(len(args), 1)], ""), 1)
	}
	return p.command(args, p.env, 1)
}

// isBuiltin reports commands that only a shell knows.
func isBuiltin(word string) bool {
	return slices.Contains([]string{"export", "set", "cd", ".", "source", ":", "unset"}, word)
}

func isShell(word string) bool {
	return slices.Contains([]string{"sh", "bash", "ash", "dash"}, path.Base(word))
}

// isCommandFlag reports -c, -ec, -exc and the like.
func isCommandFlag(word string) bool {
	flags, ok := strings.CutPrefix(word, "-")
	return ok && strings.HasSuffix(flags, "c") && strings.Trim(flags, "eux") == "c"
}
