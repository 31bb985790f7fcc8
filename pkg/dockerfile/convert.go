package dockerfile

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// parseCommand types a node again, without checks. (Without a linter at all,
// BuildKit's function fails on a node that has a "# check=" comment.)
func parseCommand(node *parser.Node) (instructions.Command, error) {
	parsed, err := instructions.ParseInstructionWithLinter(node, linter.New(&linter.Config{}))
	if err != nil {
		return nil, err
	}
	cmd, ok := parsed.(instructions.Command)
	if !ok {
		return nil, fmt.Errorf("%s is not a step of a stage", strings.ToUpper(node.Value))
	}
	return cmd, nil
}

// convert makes a Step of BuildKit's command, found in the stage with the given
// index. expanded says that cmd's words have been expanded.
func (f *File) convert(cmd instructions.Command, o Origin, stage int, expanded bool) (Step, error) {
	switch c := cmd.(type) {
	case *instructions.EnvCommand:
		return Env{o, vars(c.Env)}, nil
	case *instructions.LabelCommand:
		return Label{o, vars(c.Labels)}, nil
	case *instructions.WorkdirCommand:
		return Workdir{o, c.Path}, nil
	case *instructions.UserCommand:
		return User{o, c.User}, nil
	case *instructions.ExposeCommand:
		return Expose{o, c.Ports}, nil
	case *instructions.VolumeCommand:
		return Volume{o, c.Volumes}, nil
	case *instructions.StopSignalCommand:
		return StopSignal{o, c.Signal}, nil
	case *instructions.ShellCommand:
		return Shell{o, c.Shell}, nil
	case *instructions.OnbuildCommand:
		return Onbuild{o, c.Expression}, nil
	case *instructions.MaintainerCommand:
		return Maintainer{o, c.Maintainer}, nil
	case *instructions.ArgCommand:
		a := Arg{Origin: o}
		for _, kv := range c.Args {
			a.Args = append(a.Args, ArgVar{Name: kv.Key, Value: kv.ValueString(), Set: kv.Value != nil})
		}
		return a, nil
	case *instructions.EntrypointCommand:
		args, err := commandOf("ENTRYPOINT", c.ShellDependantCmdLine)
		return Entrypoint{o, args}, err
	case *instructions.CmdCommand:
		args, err := commandOf("CMD", c.ShellDependantCmdLine)
		return Cmd{o, args}, err
	case *instructions.HealthCheckCommand:
		h := c.Health
		return Healthcheck{o, Health{h.Test, h.Interval, h.Timeout, h.StartPeriod, h.StartInterval, h.Retries}}, nil
	case *instructions.CopyCommand:
		return f.convertCopy(c, o, stage, expanded)
	case *instructions.AddCommand:
		return Add{
			Origin: o, Sources: c.SourcePaths, Inline: inline(c.SourceContents, expanded), Dest: c.DestPath,
			Chown: c.Chown, Chmod: c.Chmod, Link: c.Link, Exclude: c.ExcludePatterns,
			Checksum: c.Checksum, KeepGitDir: c.KeepGitDir, Unpack: c.Unpack,
		}, nil
	case *instructions.RunCommand:
		return f.convertRun(c, o, stage, expanded)
	}
	return nil, fmt.Errorf("instruction %s is not supported", strings.ToUpper(cmd.Name()))
}

func vars(kvs instructions.KeyValuePairs) []Var {
	out := make([]Var, len(kvs))
	for i, kv := range kvs {
		out[i] = Var{kv.Key, kv.Value}
	}
	return out
}

// commandOf takes what follows CMD, ENTRYPOINT or RUN. Nothing at all would be an
// empty line for the shell, which nobody means.
func commandOf(name string, c instructions.ShellDependantCmdLine) (Command, error) {
	if c.PrependShell && strings.TrimSpace(strings.Join(c.CmdLine, "")) == "" {
		return Command{}, fmt.Errorf("%s without a command", name)
	}
	return Command{Args: c.CmdLine, Shell: c.PrependShell}, nil
}

func inline(contents []instructions.SourceContent, expanded bool) []Inline {
	var out []Inline
	for _, c := range contents {
		out = append(out, Inline{Name: c.Path, Data: c.Data, Expand: c.Expand && !expanded})
	}
	return out
}

func (f *File) convertCopy(c *instructions.CopyCommand, o Origin, stage int, expanded bool) (Step, error) {
	s := Copy{
		Origin: o, Sources: c.SourcePaths, Inline: inline(c.SourceContents, expanded), Dest: c.DestPath,
		Chown: c.Chown, Chmod: c.Chmod, Link: c.Link, Parents: c.Parents, Exclude: c.ExcludePatterns,
	}
	if c.From == "" {
		return s, nil
	}
	if strings.Contains(c.From, "$") {
		return nil, &Error{File: o.File, Line: o.Line,
			Cause: fmt.Errorf("--from=%s: variables are not expanded here", c.From),
			hint:  "name a stage with FROM $VARIABLE AS name, and copy from that",
		}
	}
	var err error
	s.From, err = f.ref(c.From, stage, true)
	return s, err
}

func (f *File) convertRun(c *instructions.RunCommand, o Origin, stage int, expanded bool) (Step, error) {
	args, err := commandOf("RUN", c.ShellDependantCmdLine)
	if err != nil {
		return nil, err
	}
	if len(args.Args) == 0 {
		return nil, errors.New("RUN without a command")
	}
	s := Run{Origin: o, Command: args, Network: instructions.GetNetwork(c), Security: instructions.GetSecurity(c)}
	for _, d := range instructions.GetDevices(c) {
		s.Devices = append(s.Devices, Device{d.Name, d.Required})
	}
	for _, h := range c.Files {
		s.Heredocs = append(s.Heredocs, Heredoc{h.Name, h.Data, h.Chomp})
	}
	// What does not hang on variables is known, and checked, at once.
	static := !slices.ContainsFunc(o.node.Flags, func(flag string) bool { return strings.Contains(flag, "$") })
	if static && !expanded {
		lex := shell.NewLex(f.Escape)
		err := c.Expand(func(word string) (string, error) {
			out, _, err := lex.ProcessWord(word, &environ{})
			return out, err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, m := range instructions.GetMounts(c) {
		from, err := f.ref(m.From, stage, false)
		if err != nil {
			return nil, err
		}
		if m.From != "" {
			s.sources = append(s.sources, from)
		}
		if static || expanded {
			s.Mounts = append(s.Mounts, mount(m, from))
		}
	}
	return s, nil
}

func mount(m *instructions.Mount, from Ref) Mount {
	out := Mount{
		Type: string(m.Type), From: from, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly,
		Size: m.SizeLimit, ID: m.CacheID, Sharing: string(m.CacheSharing), Required: m.Required, Env: m.Env,
		UID: number[int](m.UID), GID: number[int](m.GID), Mode: number[uint32](m.Mode),
	}
	if out.Type == "cache" {
		if out.ID == "" {
			out.ID = path.Clean(m.Target)
		}
		if out.Sharing == "" {
			out.Sharing = "shared"
		}
	}
	return out
}

func number[T int | uint32](p *uint64) *T {
	if p == nil {
		return nil
	}
	n := T(*p) // parsed with 32 bits
	return &n
}

// Process is what a RUN executes.
type Process struct {
	Args []string
	// Script, if not nil, must be there, executable, while Args runs.
	Script *Script
}

// Script is a file that exists for one RUN only.
type Script struct {
	Path string // absolute, in the image
	Data string
}

// Process returns what r executes under the given shell. As in BuildKit, a RUN
// that is nothing but a heredoc runs the document's lines in the shell or, if
// they begin with "#!", as a program; any other heredoc is left to the shell.
func (r Run) Process(shell []string) Process {
	if len(r.Heredocs) == 0 || !r.Shell || len(r.Args) != 1 {
		return Process{Args: r.Argv(shell)}
	}
	line := r.Args[0]
	first := r.Heredocs[0]
	if parser.MustParseHeredoc(line) == nil {
		var b strings.Builder
		b.WriteString(line)
		for _, h := range r.Heredocs {
			fmt.Fprintf(&b, "\n%s%s", h.Data, h.Name)
		}
		return Process{Args: Command{[]string{b.String()}, true}.Argv(shell)}
	}
	data := first.Data
	if first.Chop {
		data = parser.ChompHeredocContent(data)
	}
	if !strings.HasPrefix(data, "#!") {
		return Process{Args: Command{[]string{data}, true}.Argv(shell)}
	}
	script := &Script{Path: "/dev/pipes/" + path.Base(first.Name), Data: data}
	return Process{Args: Command{[]string{script.Path}, true}.Argv(shell), Script: script}
}

func sorted(names []string) []string {
	return slices.Sorted(slices.Values(names))
}

// environ is an ordered set of variables; the zero value is empty. It is a
// shell.EnvGetter.
type environ struct {
	names  []string
	values map[string]string
}

func (e *environ) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	if e.values == nil {
		e.values = map[string]string{}
	}
	e.values[name] = value
}

// Get returns a variable's value.
func (e *environ) Get(name string) (string, bool) {
	v, ok := e.values[name]
	return v, ok
}

// Keys returns the names in the order in which they were first set.
func (e *environ) Keys() []string { return e.names }

func (e *environ) clone() *environ {
	return &environ{names: slices.Clone(e.names), values: maps.Clone(e.values)}
}
