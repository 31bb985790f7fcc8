package project

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// sourced returns a requirement as the sources of its tool have it: with the
// URL or the path that stands in place of an index. Where sources have markers
// there is one requirement for each, and one for what is left. An index does
// not change a requirement: it is in Sources only.
func (p *Project) sourced(r python.FileRequirement, extra, group string) ([]python.FileRequirement, error) {
	rest, conditional := r, false
	var list []python.FileRequirement
	for _, s := range p.Sources {
		if s.Name != r.Requirement.Key() || s.Extra != "" && s.Extra != extra || s.Group != "" && s.Group != group {
			continue
		}
		if s.own && (s.Line != r.Line || !s.Marker.Equal(r.Requirement.Marker)) {
			continue // of another requirement of the same name
		}
		with, err := p.at(s, r)
		if err != nil || s.own || s.Marker.IsZero() {
			return append(list, with), err
		}
		if with.Requirement.Marker, err = And(r.Requirement.Marker, s.Marker); err != nil {
			return nil, err
		}
		list, conditional = append(list, with), true
		not, err := Not(s.Marker)
		if err != nil {
			return nil, err
		}
		if rest.Requirement.Marker, err = And(rest.Requirement.Marker, not); err != nil {
			return nil, err
		}
	}
	if !conditional {
		return []python.FileRequirement{r}, nil
	}
	return append(list, rest), nil
}

// at puts a requirement where a source is.
func (p *Project) at(s Source, r python.FileRequirement) (python.FileRequirement, error) {
	switch {
	case s.Workspace:
		return r, &hinted{fmt.Sprintf("%s is a member of the workspace, of which only this file is read", r.Requirement.Name),
			"install from uv.lock (uv sync), which knows the members, or name it by its path"}
	case s.Path != "":
		r.Path, r.Editable = s.Path, s.Editable
		if !path.IsAbs(s.Path) {
			r.Path = path.Join(path.Dir(filepath.ToSlash(p.File)), s.Path)
		}
	case s.URL != "" || s.Git != "":
		r.Requirement.URL = s.Direct()
	default:
		return r, nil
	}
	r.Requirement.Specifiers = nil
	return r, nil
}

// Not returns the marker that holds where m does not. The error is a
// *python.SyntaxError: a comparison has no opposite ("~=").
func Not(m python.Marker) (python.Marker, error) {
	n := &negation{tokens: markerTokens.FindAllString(m.String(), -1)}
	text := n.or()
	if n.failed || len(n.tokens) > 0 || m.IsZero() {
		return python.Marker{}, &python.SyntaxError{Kind: "marker", Text: m.String(), Offset: -1, Reason: "has no opposite"}
	}
	return python.ParseMarker(text)
}

// markerTokens are those of a marker as python.Marker writes it.
var markerTokens = regexp.MustCompile(`"[^"]*"|'[^']*'|not in|[()]|[a-z_]+|[<>=!~]+`)

// negation rewrites a marker to its opposite: and becomes or, each comparison
// that of the opposite operator.
type negation struct {
	tokens []string
	failed bool
}

func (n *negation) next() string {
	if len(n.tokens) == 0 {
		n.failed = true
		return ""
	}
	t := n.tokens[0]
	n.tokens = n.tokens[1:]
	return t
}

func (n *negation) accept(word string) bool {
	if len(n.tokens) == 0 || n.tokens[0] != word {
		return false
	}
	n.tokens = n.tokens[1:]
	return true
}

func (n *negation) or() string {
	parts := []string{n.and()}
	for n.accept("or") {
		parts = append(parts, n.and())
	}
	return strings.Join(parts, " and ")
}

func (n *negation) and() string {
	parts := []string{n.operand()}
	for n.accept("and") {
		parts = append(parts, n.operand())
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "(" + strings.Join(parts, " or ") + ")"
}

func (n *negation) operand() string {
	if n.accept("(") {
		inner := n.or()
		n.failed = n.failed || !n.accept(")")
		return "(" + inner + ")"
	}
	left, op, right := n.next(), n.next(), n.next()
	opposite := map[string]string{"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in"}[op]
	versions := strings.Contains(left+right, "version") || strings.Contains(left+right, "platform_release")
	if opposite == "" || strings.ContainsAny(op, "<>") && !versions {
		n.failed = true // texts have no order, so neither holds
	}
	return left + " " + opposite + " " + right
}
