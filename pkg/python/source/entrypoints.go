package source

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// entryPoints returns the project's entry points by group.
func (s *sourceTree) entryPoints(p *project.Project) []project.EntryPointGroup {
	var groups []project.EntryPointGroup
	add := func(g project.EntryPointGroup, keys ...[]string) {
		if len(g.EntryPoints) == 0 {
			return
		}
		groups = append(groups, g)
		key := keys[max(0, slices.IndexFunc(keys, func(k []string) bool { return tableOf(p, k...) }))]
		name, reason := unclearPoint(g)
		if isScripts(g.Name) && key[len(key)-1] == g.Name {
			name, reason = "", "scripts are given elsewhere"
		}
		if name != "" {
			key = append(key, name)
		}
		if reason != "" {
			s.refuse(needsBuild(p, key, "%s", reason))
		}
	}
	add(project.EntryPointGroup{Name: consoleScripts, EntryPoints: p.Scripts}, []string{"project", "scripts"}, []string{"tool", "poetry", "scripts"})
	add(project.EntryPointGroup{Name: guiScripts, EntryPoints: p.GUIScripts}, []string{"project", "gui-scripts"})
	for _, g := range p.EntryPoints {
		add(g, []string{"project", "entry-points", g.Name}, []string{"tool", "poetry", "plugins", g.Name})
	}
	return groups
}

// The groups of which an installer makes commands.
const (
	consoleScripts = "console_scripts"
	guiScripts     = "gui_scripts"
)

func isScripts(group string) bool { return group == consoleScripts || group == guiScripts }

// What a group, the name of a script, that of another entry point, and an object
// look like where all back-ends write them in the same way and what they write
// can be read again ("Entry points specification").
var (
	groupName  = regexp.MustCompile(`^[\pL\p{Nd}_]+(\.[\pL\p{Nd}_]+)*$`)
	scriptName = regexp.MustCompile(`^[\pL\p{Nd}_][\pL\p{Nd}._+-]*$`)
	pointName  = regexp.MustCompile(`^[^\s\pC=\[#;][^\s\pC=]*$`)
	object     = regexp.MustCompile(`^[\pL_][\pL\p{Nd}_]*(\.[\pL_][\pL\p{Nd}_]*)*( *: *[\pL_][\pL\p{Nd}_]*(\.[\pL_][\pL\p{Nd}_]*)*)?( *\[[\pL\p{Nd}_., -]*\])?$`)
)

// unclearPoint returns the first entry point of a group of which the back-ends
// make different things, or one that no installer takes, and says why: flit,
// hatchling and poetry-core write whatever they are given, setuptools refuses
// some, and poetry-core leaves out spaces. The reason is "" where all is well.
func unclearPoint(g project.EntryPointGroup) (name, reason string) {
	if !groupName.MatchString(g.Name) {
		return "", fmt.Sprintf("%q is an unusual name of a group of entry points", g.Name)
	}
	for _, e := range g.EntryPoints {
		o := strings.TrimSpace(e.Object)
		switch {
		case isScripts(g.Name) && !scriptName.MatchString(e.Name), !pointName.MatchString(e.Name):
			return e.Name, fmt.Sprintf("%q is an unusual name of an entry point", e.Name)
		case !object.MatchString(o), isScripts(g.Name) && !strings.Contains(o, ":"):
			return e.Name, fmt.Sprintf("%q is not of the form module:function", e.Object)
		}
	}
	return "", ""
}

// entryPointsText writes entry_points.txt ("Entry points specification"), sorted.
func entryPointsText(groups []project.EntryPointGroup) string {
	var b strings.Builder
	groups = slices.Clone(groups)
	slices.SortStableFunc(groups, func(a, b project.EntryPointGroup) int { return strings.Compare(a.Name, b.Name) })
	for _, g := range groups {
		b.WriteString("[" + g.Name + "]\n")
		points := slices.Clone(g.EntryPoints)
		slices.SortStableFunc(points, func(a, b project.EntryPoint) int { return strings.Compare(a.Name, b.Name) })
		for _, e := range points {
			b.WriteString(e.Name + " = " + strings.TrimSpace(e.Object) + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}
