package pip

import (
	"strings"
)

// pip reads the words after the program's name.
func (p *shell) pip(program, python string, args []string, env map[string]string, line int) error {
	set := pipOptions()
	// General options may stand before the command; pip reads them again after it.
	before := arguments{set: set, in: &Install{}, command: true}
	rest, err := before.parse(args)
	if err != nil || len(rest) == 0 {
		return notPip(subcommand(program, args), line)
	}
	switch {
	case rest[0] == "cache" && len(rest) == 2 && rest[1] == "purge":
		return nil
	case rest[0] != "install":
		return notPip(program+" "+rest[0], line)
	}
	options := append(args[:len(args)-len(rest):len(args)-len(rest)], rest[1:]...)
	in := Install{Tool: Pip, Program: program, Python: python, Line: line, Compile: true}
	for _, w := range options {
		in.Isolated = in.Isolated || w == "--isolated" // pip looks for the word, too
	}
	values, err := pipValues(env, p.locations(env), p.read(), in.Isolated)
	if err != nil {
		return err
	}
	if err := set.configure(&in, values, false); err != nil {
		return err
	}
	a := arguments{set: set, in: &in}
	if _, err := a.parse(options); err != nil {
		return atLine(err, line)
	}
	return p.finish(in)
}

// uv reads the words after uv. Only `uv pip install` is a pip install.
func (p *shell) uv(args []string, env map[string]string, line int) error {
	program := args[0]
	set := uvOptions()
	var options []string
	rest := args[1:]
	for _, word := range []string{"pip", "install"} {
		before := arguments{set: set, in: &Install{}, command: true}
		at := rest
		var err error
		rest, err = before.parse(at)
		if err != nil || len(rest) == 0 {
			return notPip(subcommand(program, at), line)
		}
		if rest[0] != word {
			return notPip(strings.TrimSpace(program+" "+rest[0]), line)
		}
		options = append(options, at[:len(at)-len(rest)]...)
		rest = rest[1:]
		program += " " + word
	}
	options = append(options, rest...)
	in := Install{Tool: UV, Program: args[0] + " pip", Line: line}
	a := arguments{set: set, in: &in}
	if _, err := a.parse(options); err != nil {
		return atLine(err, line)
	}
	files, err := uvDefaults(set, &in, a.seen, env, p.locations(env), p.read(), false)
	if err != nil {
		return err
	}
	in.Config = Merge(in.Config, files)
	return p.finish(in)
}

// finish refuses combinations that pip refuses, and keeps the install.
func (p *shell) finish(in Install) error {
	wrong := func(word, reason string) error { return &WordError{Word: word, Line: in.Line, Reason: reason} }
	switch {
	case in.IsEmpty():
		return wrong(in.Program+" install", "names nothing to install")
	case in.User && in.Prefix != "":
		return wrong("--user", "cannot be had with --prefix")
	case in.User && in.Target != "":
		return wrong("--user", "cannot be had with --target")
	case in.Target != "" && in.Prefix != "":
		return wrong("--target", "cannot be had with --prefix")
	}
	p.installs = append(p.installs, in)
	return nil
}

// locations returns where the image's own configuration lies.
func (p *shell) locations(env map[string]string) Locations {
	return Locations{Home: env["HOME"], PythonPrefix: p.o.PythonPrefix, Project: p.o.Dir}
}

func (p *shell) read() ReadFunc {
	if p.o.ReadFile == nil {
		return noFiles
	}
	return p.o.ReadFile
}
