package dockerfile

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
)

// configure takes an expanded step into the image's configuration, by Docker's
// rules, and returns it with what only the configuration could tell.
func (s *Scope) configure(step Step, lint *linter.Linter) (Step, error) {
	c := &s.Config
	switch st := step.(type) {
	case Env:
		for _, v := range st.Vars {
			s.setEnv(v.Name, v.Value)
		}
	case Label:
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		for _, v := range st.Labels {
			c.Labels[v.Name] = v.Value
		}
	case Workdir:
		return s.chdir(st, lint)
	case User:
		c.User = st.User
	case Expose:
		return s.expose(st, lint)
	case Entrypoint:
		c.Entrypoint = st.Argv(s.Shell())
		if !s.cmdSet {
			c.Cmd = nil // the base's CMD was for the base's ENTRYPOINT
		}
	case Cmd:
		c.Cmd = st.Argv(s.Shell())
		s.cmdSet = true
	case Volume:
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		for _, v := range st.Paths {
			if v == "" {
				return nil, errors.New("VOLUME is empty once its variables are expanded")
			}
			c.Volumes[v] = struct{}{}
		}
	case StopSignal:
		if !validSignal(st.Signal) {
			return nil, fmt.Errorf("%q is not a signal", st.Signal)
		}
		c.StopSignal = st.Signal
	case Shell:
		c.Shell = st.Shell
	case Healthcheck:
		s.healthcheck(st)
	case Onbuild:
		c.OnBuild = append(c.OnBuild, st.Trigger)
	case Maintainer:
		s.Author = st.Name
	case Copy:
		return st, checkCopy(st.Link, st.Chown, st.Chmod)
	case Add:
		return st, checkCopy(st.Link, st.Chown, st.Chmod)
	case Run:
		return st, checkMounts(st.Mounts)
	case Arg:
	}
	return step, nil
}

// setEnv sets a variable for what follows and in the image, where it keeps its
// place.
func (s *Scope) setEnv(name, value string) {
	s.env.set(name, value)
	for i, kv := range s.Config.Env {
		if k, _, _ := strings.Cut(kv, "="); k == name {
			s.Config.Env[i] = name + "=" + value
			return
		}
	}
	s.Config.Env = append(s.Config.Env, name+"="+value)
}

func (s *Scope) chdir(st Workdir, lint *linter.Linter) (Step, error) {
	if st.Path == "" {
		return nil, errors.New("WORKDIR is empty once its variables are expanded")
	}
	if !path.IsAbs(st.Path) {
		if !s.workdir {
			lint.Run(&linter.RuleWorkdirRelativePath, st.node.Location(), linter.RuleWorkdirRelativePath.Format(st.Path))
		}
		st.Path = path.Join(s.Config.WorkingDir, st.Path)
	}
	st.Path = path.Join("/", st.Path)
	s.Config.WorkingDir = st.Path
	s.workdir = true
	return st, nil
}

func (s *Scope) expose(st Expose, lint *linter.Linter) (Step, error) {
	ports, err := exposed(st, lint)
	if err != nil {
		return nil, err
	}
	if s.Config.ExposedPorts == nil {
		s.Config.ExposedPorts = map[string]struct{}{}
	}
	for _, p := range ports {
		s.Config.ExposedPorts[p] = struct{}{}
	}
	st.Ports = ports
	return st, nil
}

func (s *Scope) healthcheck(st Healthcheck) {
	h := st.Check
	s.Config.Healthcheck = &v1.HealthConfig{
		Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries,
	}
	if h.StartInterval != 0 {
		// go-containerregistry's configuration has no field for it.
		s.Warnings = append(s.Warnings, Warning{File: st.File, Line: st.Line,
			Text: "--start-interval is left out: image configurations are written without it"})
	}
}

func checkCopy(link bool, chown, chmod string) error {
	if chmod != "" {
		if _, err := ParseChmod(chmod); err != nil {
			return err
		}
	}
	if link && strings.Trim(chown, "0123456789:") != "" {
		// A --link layer does not know the /etc/passwd below it.
		return fmt.Errorf("--chown=%s needs numbers, not names, together with --link", chown)
	}
	return nil
}

func checkMounts(mounts []Mount) error {
	for _, m := range mounts {
		if m.Type == "secret" || m.Type == "ssh" {
			continue
		}
		if m.Target == "" || path.Clean(m.Target) == "/" {
			return fmt.Errorf("--mount=type=%s: %q cannot be a mount's target", m.Type, m.Target)
		}
	}
	return nil
}

// exposed writes out what an EXPOSE means: "8000-8002/UDP" is three ports.
func exposed(st Expose, lint *linter.Linter) ([]string, error) {
	var out []string
	for _, spec := range st.Ports {
		from, to, protocol, err := parsePorts(spec)
		if err != nil {
			return nil, fmt.Errorf("EXPOSE %s: %w", spec, err)
		}
		if strings.Contains(spec, ":") {
			lint.Run(&linter.RuleExposeInvalidFormat, st.node.Location(), linter.RuleExposeInvalidFormat.Format(spec))
		}
		if protocol != strings.ToLower(protocol) {
			lint.Run(&linter.RuleExposeProtoCasing, st.node.Location(), linter.RuleExposeProtoCasing.Format(spec))
		}
		for p := from; p <= to; p++ {
			out = append(out, fmt.Sprintf("%d/%s", p, strings.ToLower(protocol)))
		}
	}
	return out, nil
}

// parsePorts reads "PORT[-PORT][/PROTOCOL]". What stands before the last colon
// ("[ip:]host:", of `docker run -p`) is accepted as Docker does, and has no
// effect.
func parsePorts(spec string) (from, to int, protocol string, err error) {
	spec = spec[strings.LastIndexByte(spec, ':')+1:]
	ports, protocol, _ := strings.Cut(spec, "/")
	switch strings.ToLower(protocol) {
	case "":
		protocol = "tcp"
	case "tcp", "udp", "sctp":
	default:
		return 0, 0, "", fmt.Errorf("protocol %q is none of tcp, udp, sctp", protocol)
	}
	first, last, isRange := strings.Cut(ports, "-")
	if from, err = parsePort(first); err != nil {
		return 0, 0, "", err
	}
	if to = from; isRange {
		if to, err = parsePort(last); err != nil {
			return 0, 0, "", err
		}
	}
	if to < from {
		return 0, 0, "", fmt.Errorf("range %s runs backwards", ports)
	}
	return from, to, protocol, nil
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a port from 0 to 65535", s)
	}
	return int(n), nil
}

// validSignal reports whether s is a signal of Linux: a number, or a name with or
// without "SIG", in any case; real-time ones are relative to RTMIN or RTMAX.
func validSignal(s string) bool {
	if n, err := strconv.Atoi(s); err == nil {
		return n > 0 && n <= 64
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	for prefix, sign := range map[string]string{"RTMIN": "+", "RTMAX": "-"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if rest == "" {
				return true
			}
			n, err := strconv.Atoi(strings.TrimPrefix(rest, sign))
			return err == nil && strings.HasPrefix(rest, sign) && n >= 0 && n <= 15
		}
	}
	// signal(7), "Standard signals"
	const names = " ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT " +
		"SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ "
	return name != "" && !strings.Contains(name, " ") && strings.Contains(names, " "+name+" ")
}

// lintForm runs the checks on how a command is written.
func (s *Scope) lintForm(cmd instructions.Command, lint *linter.Linter) {
	name, place := strings.ToUpper(cmd.Name()), cmd.Location()
	legacy := func(kvs instructions.KeyValuePairs) {
		for _, kv := range kvs {
			if kv.NoDelim {
				lint.Run(&linter.RuleLegacyKeyValueFormat, place, linter.RuleLegacyKeyValueFormat.Format(name))
			}
		}
	}
	form := func(c instructions.ShellDependantCmdLine) {
		if c.PrependShell && len(s.Config.Shell) == 0 {
			lint.Run(&linter.RuleJSONArgsRecommended, place, linter.RuleJSONArgsRecommended.Format(name))
		}
	}
	secret := func(key string) {
		if looksSecret(key) {
			lint.Run(&linter.RuleSecretsUsedInArgOrEnv, place, linter.RuleSecretsUsedInArgOrEnv.Format(name, key))
		}
	}
	switch c := cmd.(type) {
	case *instructions.EnvCommand:
		legacy(c.Env)
		for _, kv := range c.Env {
			secret(kv.Key)
		}
	case *instructions.ArgCommand:
		for _, a := range c.Args {
			secret(a.Key)
		}
	case *instructions.LabelCommand:
		legacy(c.Labels)
	case *instructions.CmdCommand:
		form(c.ShellDependantCmdLine)
	case *instructions.EntrypointCommand:
		form(c.ShellDependantCmdLine)
	}
}

// looksSecret reports whether a variable's name speaks of a secret: one of its
// words does, and none says that it is a public or indirect one.
func looksSecret(name string) bool {
	found := false
	for word := range strings.SplitSeq(strings.ToLower(name), "_") {
		switch word {
		case "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token":
			found = true
		case "public", "file", "version":
			return false
		}
	}
	return found
}
