package lockfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// partition writes the markers that tell targets apart. All of them are CPython
// on Linux, so Python and machine are what is left; glibc and musl, and the
// build without the global interpreter lock, have no marker.
type partition struct {
	variable string // python_version, or python_full_version where two differ in it alone
	pythons  []string
	machines []string
	cells    []cell // of each target
}

// cell is what markers see of a target.
type cell struct{ python, machine string }

// newPartition looks at all targets of a lock.
func newPartition(targets []python.Target) *partition {
	p := &partition{variable: "python_version"}
	full := map[string]string{}
	for _, t := range targets {
		e := t.Environment()
		if f, ok := full[e.PythonVersion]; ok && f != e.PythonFullVersion {
			p.variable = "python_full_version"
		}
		full[e.PythonVersion] = e.PythonFullVersion
	}
	versions := map[string]python.Version{}
	for _, t := range targets {
		e := t.Environment()
		c := cell{e.PythonVersion, e.PlatformMachine}
		if p.variable == "python_full_version" {
			c.python = e.PythonFullVersion
		}
		p.cells = append(p.cells, c)
		p.machines = append(p.machines, c.machine)
		if v, err := python.ParseVersion(c.python); err == nil { // it is the text of one
			versions[c.python] = v
		}
	}
	p.machines = sortedSet(p.machines)
	for text := range versions {
		p.pythons = append(p.pythons, text)
	}
	slices.SortFunc(p.pythons, func(a, b string) int { return versions[a].Compare(versions[b]) })
	return p
}

// environment is the marker of one target among all there could be.
func (p *partition) environment(i int) string {
	return fmt.Sprintf(`implementation_name == "cpython" and platform_machine == %q and %s == %q and sys_platform == "linux"`,
		p.cells[i].machine, p.variable, p.cells[i].python)
}

// torn returns two targets that no marker tells apart of which one is in the
// set and the other is not.
func (p *partition) torn(in []bool) (a, b int, ok bool) {
	for i := range p.cells {
		for j := range p.cells[:i] {
			if p.cells[i] == p.cells[j] && in[i] != in[j] {
				return j, i, true
			}
		}
	}
	return 0, 0, false
}

// marker returns the simplest marker that holds on the targets of the set and
// on no other target of the lock; "" when they are all in it. No two targets
// may be torn.
func (p *partition) marker(in []bool) string {
	if !slices.Contains(in, false) {
		return ""
	}
	set := map[cell]bool{}
	for i, c := range p.cells {
		set[c] = in[i]
	}
	byMachine := p.dimension(set, true)
	byPython := p.dimension(set, false)
	if len(byPython) < len(byMachine) {
		return byPython
	}
	return byMachine
}

// dimension writes the set as alternatives of one dimension's values, each with
// what must hold in the other. Values with the same condition are one
// alternative.
func (p *partition) dimension(set map[cell]bool, machineFirst bool) string {
	values, others := p.pythons, p.machines
	if machineFirst {
		values, others = p.machines, p.pythons
	}
	at := func(value, other string) cell {
		if machineFirst {
			return cell{other, value}
		}
		return cell{value, other}
	}
	conditions := map[string][]string{} // condition in the other dimension → values
	var order []string
	for _, v := range values {
		var there, wanted []string
		for _, o := range others {
			if in, ok := set[at(v, o)]; ok {
				there = append(there, o)
				if in {
					wanted = append(wanted, o)
				}
			}
		}
		if len(wanted) == 0 {
			continue
		}
		condition := p.among(wanted, there, !machineFirst)
		if conditions[condition] == nil {
			order = append(order, condition)
		}
		conditions[condition] = append(conditions[condition], v)
	}
	var alternatives []string
	for _, condition := range order {
		of := p.among(conditions[condition], values, machineFirst)
		switch {
		case condition == "" || of != "" && p.within(of, set):
			alternatives = append(alternatives, of)
		case of == "" || p.within(condition, set):
			alternatives = append(alternatives, condition)
		default:
			alternatives = append(alternatives, grouped(of)+" and "+grouped(condition))
		}
	}
	return strings.Join(alternatives, " or ")
}

// within reports whether a marker holds on no target but those of the set.
func (p *partition) within(text string, set map[cell]bool) bool {
	m, err := python.ParseMarker(text)
	if err != nil {
		return false
	}
	for c, in := range set {
		env := python.Environment{PythonVersion: c.python, PythonFullVersion: c.python, PlatformMachine: c.machine}
		if !in && m.Evaluate(env) {
			return false
		}
	}
	return true
}

// grouped puts alternatives into parentheses.
func grouped(m string) string {
	if strings.Contains(m, " or ") {
		return "(" + m + ")"
	}
	return m
}

// among writes that a machine or a Python is one of some values, of all that it
// can be; "" when it can be nothing else.
func (p *partition) among(some, all []string, machine bool) string {
	if len(some) == len(all) {
		return ""
	}
	variable := p.variable
	if machine {
		variable = "platform_machine"
	}
	if len(some) == len(all)-1 && len(some) > 1 {
		for _, v := range all {
			if !slices.Contains(some, v) && (machine || v != all[0] && v != all[len(all)-1]) {
				return fmt.Sprintf("%s != %q", variable, v)
			}
		}
	}
	var alternatives []string
	for i := 0; i < len(all); i++ {
		if !slices.Contains(some, all[i]) {
			continue
		}
		end := i // of the run that begins here
		for !machine && end+1 < len(all) && slices.Contains(some, all[end+1]) {
			end++
		}
		first, last := i == 0, end == len(all)-1
		switch {
		case machine || i == end && !first && !last:
			alternatives = append(alternatives, fmt.Sprintf("%s == %q", variable, all[i]))
		case first:
			alternatives = append(alternatives, fmt.Sprintf("%s < %q", variable, all[end+1]))
		case last:
			alternatives = append(alternatives, fmt.Sprintf("%s >= %q", variable, all[i]))
		default:
			alternatives = append(alternatives, fmt.Sprintf("%s >= %q and %s < %q", variable, all[i], variable, all[end+1]))
		}
		i = end
	}
	return strings.Join(alternatives, " or ")
}
