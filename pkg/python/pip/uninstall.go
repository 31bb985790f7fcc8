package pip

import (
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// Uninstall takes distributions away: `pip uninstall -y`.
type Uninstall struct {
	Program string // as written
	// Interpreter is the Python that they are taken from, as in [Install].
	Interpreter string
	Python      string
	Line        int

	Names []string // normalised
	Files []string // -r: requirements files that name more
}

// uninstall reads the words after `pip uninstall`.
func (p *shell) uninstall(c invocation, words []string) error {
	const command = "pip uninstall"
	set := pipOptions()
	set.options = slices.DeleteFunc(set.options, func(o option[*Install]) bool {
		return !o.general && !slices.Contains([]string{"requirement", "break-system-packages", "root-user-action"}, o.long[0])
	})
	yes := false
	set.options = append(set.options, option[*Install]{long: []string{"yes"}, short: 'y', flag: func(_ *Install, on Setting[bool]) { yes = on.Value }})
	var in Install
	u := Uninstall{Program: c.program, Python: c.version, Line: c.line}
	a := arguments[*Install]{set: set, in: &in, operand: func(word string) error {
		r, err := python.ParseRequirement(word)
		if err != nil || r.URL != "" {
			return &WordError{Word: word, Reason: "is no name of a package", Err: err}
		}
		u.Names = append(u.Names, r.Key())
		return nil
	}}
	if _, err := a.parse(words); err != nil {
		return atLine(err, command, c.line)
	}
	u.Files = in.Files
	switch {
	case len(u.Names)+len(u.Files) == 0:
		return &WordError{Command: command, Word: c.program + " uninstall", Line: c.line, Reason: "names nothing to take away"}
	case !yes:
		return &WordError{Command: command, Word: c.program + " uninstall", Line: c.line, Reason: "asks before it takes anything away", hint: "say -y"}
	}
	if u.Interpreter = interpreterOf(c.path); in.Interpreter != "" {
		u.Interpreter = pythonAt(p.dir, in.Interpreter)
	}
	p.step(Step{Uninstall: &u}, c.line, c.env)
	return nil
}
