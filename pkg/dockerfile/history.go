package dockerfile

import (
	"fmt"
	"strings"
)

// layerMark ends the history line of a step that made a layer.
const layerMark = " # boyabuild"

// makesLayer reports whether the step makes a layer.
func makesLayer(step Step) bool {
	switch st := step.(type) {
	case Add, Copy, Run:
		return true
	case Workdir:
		return st.Path != "/"
	}
	return false
}

// createdBy is a step's line of the image's history.
func (s *Scope) createdBy(step Step) string {
	switch st := step.(type) {
	case Env:
		return "ENV" + pairs(st.Vars)
	case Label:
		return "LABEL" + pairs(st.Labels)
	case Arg:
		var words []string
		for _, a := range st.Args {
			if a.Set {
				words = append(words, a.Name+"="+a.Value)
			} else {
				words = append(words, a.Name)
			}
		}
		return "ARG " + strings.Join(words, " ")
	case Workdir:
		return "WORKDIR " + st.Path
	case User:
		return "USER " + st.User
	case Expose:
		return fmt.Sprintf("EXPOSE %v", st.Ports)
	case Entrypoint:
		return fmt.Sprintf("ENTRYPOINT %q", s.Config.Entrypoint)
	case Cmd:
		return fmt.Sprintf("CMD %q", s.Config.Cmd)
	case Volume:
		return fmt.Sprintf("VOLUME %v", st.Paths)
	case StopSignal:
		return "STOPSIGNAL " + st.Signal
	case Shell:
		return fmt.Sprintf("SHELL %v", st.Shell)
	case Healthcheck:
		return fmt.Sprintf("HEALTHCHECK %+v", st.Check)
	case Maintainer:
		return "MAINTAINER " + st.Name
	case Copy:
		words := []string{"COPY"}
		if st.Parents {
			words = append(words, "--parents")
		}
		return copied(words, st.Chown, st.Chmod, st.Sources, st.Inline, st.Dest)
	case Add:
		return copied([]string{"ADD"}, st.Chown, st.Chmod, st.Sources, st.Inline, st.Dest)
	case Run:
		return "RUN " + strings.Join(append(s.declared(), st.Process(s.Shell()).Args...), " ") + layerMark
	}
	return ""
}

func pairs(vars []Var) string {
	var b strings.Builder
	for _, v := range vars {
		b.WriteString(" " + v.Name + "=" + v.Value)
	}
	return b.String()
}

func copied(words []string, chown, chmod string, sources []string, inline []Inline, dest string) string {
	if chown != "" {
		words = append(words, "--chown="+chown)
	}
	if chmod != "" {
		words = append(words, "--chmod="+chmod)
	}
	words = append(words, sources...)
	for _, in := range inline {
		words = append(words, "<<"+in.Name)
	}
	return strings.Join(append(words, dest), " ") + layerMark
}

// declared are the ARGs a RUN depended on: "|2 A=1 B=2", nothing for none.
func (s *Scope) declared() []string {
	if len(s.args) == 0 {
		return nil
	}
	out := []string{fmt.Sprintf("|%d", len(s.args))}
	for _, name := range s.args {
		value, ok := s.env.Get(name)
		if !ok {
			value = s.argValue[name]
		}
		out = append(out, name+"="+value)
	}
	return out
}
