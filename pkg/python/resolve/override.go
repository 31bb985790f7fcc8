package resolve

import (
	"regexp"
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// overrides are, by normalized name, what is wanted of a project whatever
// anybody else requires of it. A project whose overrides do not hold for the
// target is there with none.
type overrides map[string][]root

func (w *wishes) readOverrides(o *Options) error {
	for _, q := range o.Overrides {
		r := root{FileRequirement: q, name: q.Requirement.Key(), override: true}
		if r.name == "" {
			return r.problem("an override needs the name of a package", "")
		}
		held := w.overrides[r.name]
		if q.Requirement.Marker.Evaluate(o.Target.Environment()) {
			if err := r.enter(o, w.demands); err != nil {
				return err
			}
			held = append(held, r)
		}
		w.overrides[r.name] = held
	}
	return nil
}

// apply are those requirements of a distribution, or of one of its extras, that
// hold in an environment, with the overrides in their place. As in uv, what is
// overridden is overridden with its marker: the override decides where it
// holds. Only that a requirement is one of an extra stays true of it.
func (o overrides) apply(all []python.Requirement, environment python.Environment, extra string) []dependency {
	var out []dependency
	var replaced []string
	for _, q := range all {
		instead, overridden := o[q.Key()]
		if !overridden {
			holds := q.Marker.Evaluate(environment)
			if extra != "" {
				holds = !holds && q.Marker.Evaluate(environment, extra)
			}
			if holds {
				out = append(out, dependency{Requirement: q})
			}
			continue
		}
		if !slices.Contains(extraOf(q.Marker), extra) || slices.Contains(replaced, q.Key()) {
			continue
		}
		replaced = append(replaced, q.Key())
		for _, r := range instead {
			out = append(out, dependency{r.Requirement, r.source()})
		}
	}
	return out
}

// extraClause is a comparison with an extra in a marker as Marker.String writes
// it, either way round.
var extraClause = regexp.MustCompile(`extra == "([^"]*)"|"([^"]*)" == extra`)

// extraOf are the extras that a marker asks for; "" alone when it asks for none.
func extraOf(m python.Marker) []string {
	if m.IsZero() {
		return []string{""}
	}
	var out []string
	for _, found := range extraClause.FindAllStringSubmatch(m.String(), -1) {
		out = append(out, python.NormalizeExtra(found[1]+found[2]))
	}
	if out == nil {
		return []string{""}
	}
	return out
}
