package deploy

import (
	"fmt"
	"strings"
)

// Lookup finds a variable's value; false = it is not set.
type Lookup func(name string) (value string, ok bool)

// fill replaces variables in every text of a file, by the POSIX shell's rules
// ("Parameter Expansion") for the three forms that files of this kind use:
//
//	${NAME}            the value; an unset name is an error
//	${NAME:-default}   the default if the name is unset or empty
//	${NAME:?message}   an error with the message if the name is unset or empty
//
// $${ stands for a literal ${, for what the container's own shell is to expand.
// Variables are put in after the file has been parsed: a value can be any text
// and never changes the file's structure. Keys are left alone.
func fill(file string, n *node, lookup Lookup) error {
	return fillNode(file, n, "", lookup)
}

func fillNode(file string, n *node, path string, lookup Lookup) error {
	switch n.kind {
	case list:
		for i, item := range n.list {
			if err := fillNode(file, item, fmt.Sprintf("%s[%d]", path, i), lookup); err != nil {
				return err
			}
		}
	case object:
		for _, f := range n.fields {
			if f.name == "image" && isContainer(path) && isUnsetVariable(f.value, lookup) {
				continue // the place for the image that is being deployed: see image.go
			}
			if err := fillNode(file, f.value, join(path, f.name), lookup); err != nil {
				return err
			}
		}
	case text:
		filled, err := expand(n.text, lookup)
		if err != nil {
			return &FileError{File: file, Line: n.line, Path: path, Cause: err.Error(),
				hint: "set it with --var or in the environment; write $${ where a literal ${ is meant"}
		}
		n.filled = filled != n.text
		n.text = filled
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func expand(s string, lookup Lookup) (string, error) {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		body, rest, ok := strings.Cut(s[i+2:], "}")
		if !ok {
			return "", fmt.Errorf("${ without its }")
		}
		value, err := variable(body, lookup)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		s = rest
	}
}

func variable(body string, lookup Lookup) (string, error) {
	name, word, op := body, "", ""
	if i := strings.IndexByte(body, ':'); i >= 0 && i+1 < len(body) {
		name, op, word = body[:i], body[i:i+2], body[i+2:]
	}
	if !isVariableName(name) || op != "" && op != ":-" && op != ":?" {
		return "", fmt.Errorf("${%s} is not a variable: ${NAME}, ${NAME:-default} and ${NAME:?message} are", body)
	}
	value, ok := "", false
	if lookup != nil {
		value, ok = lookup(name)
	}
	switch {
	case op == ":-" && value == "":
		return word, nil
	case op == ":?" && value == "":
		if word == "" {
			word = "it is not set"
		}
		return "", fmt.Errorf("variable %s: %s", name, word)
	case op == "" && !ok:
		return "", fmt.Errorf("variable %s is not set", name)
	}
	return value, nil
}

func isVariableName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// isUnsetVariable is that the text is one plain ${NAME} and nothing has that name.
func isUnsetVariable(n *node, lookup Lookup) bool {
	name, ok := strings.CutPrefix(n.text, "${")
	if !ok || n.kind != text {
		return false
	}
	name, ok = strings.CutSuffix(name, "}")
	if !ok || !isVariableName(name) {
		return false
	}
	if lookup == nil {
		return true
	}
	_, set := lookup(name)
	return !set
}

// isContainer is that path is an entry of a task definition's containers, also
// of one that stands in the output of describe-task-definition.
func isContainer(path string) bool {
	path = strings.TrimPrefix(path, "taskDefinition.")
	return strings.HasPrefix(path, "containerDefinitions[") && strings.Count(path, ".") == 0
}
