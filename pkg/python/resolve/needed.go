package resolve

import (
	"fmt"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// NeededError is what went wrong with a package that is needed: its metadata
// could not be had, for example because it could not be built.
type NeededError struct {
	Project string // normalized, with its extra
	Version python.Version
	// Chain is who needs it, the nearest first: "jinja2 2.11.3", "flask 1.1.2".
	// The last one was asked for by the user; it is empty when Project was.
	Chain []string
	Err   error
}

func (e *NeededError) Error() string {
	text := fmt.Sprintf("resolve %s %s", e.Project, e.Version)
	for i, by := range e.Chain {
		text += map[bool]string{true: ", needed by ", false: " <- "}[i == 0] + by
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *NeededError) Unwrap() error { return e.Err }

func (p *provider) needed(q *pkg, c *candidate, err error) error {
	return &NeededError{q.String(), c.version, p.chain(q), err}
}

// chain is who needs a package, as far as it is decided.
func (p *provider) chain(q *pkg) []string {
	var out []string
	seen := map[*pkg]bool{}
	for q != nil && !seen[q.owner()] {
		seen[q.owner()] = true
		q = p.neededBy(q.owner())
		if q != nil {
			i, _ := p.decided(q)
			out = append(out, fmt.Sprintf("%s %s", q, q.versions[i].version))
		}
	}
	return out
}

// neededBy is the first package that was decided and needs a project or one of
// its extras; nil when the user asks for it.
func (p *provider) neededBy(base *pkg) *pkg {
	if d := p.demands[base.name]; d != nil && d.required {
		return nil
	}
	for _, q := range append([]*pkg{base}, base.with...) {
		for _, in := range q.incompatibility {
			from := in.cause.from
			if in.cause.kind != depends || in.cause.to != q || from.owner() == base {
				continue
			}
			if i, ok := p.decided(from); ok {
				if t, _ := in.term(from); t.set.has(i) {
					return from
				}
			}
		}
	}
	return nil
}
