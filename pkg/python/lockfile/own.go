package lockfile

import (
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// What PEP 751 has no key for is in [packages.tool.boyabuild]:
//
//	requested = true            the user asked for the package; or a marker that
//	                            says on which targets
//	extras = ["name"]           those of its extras that are installed too
//
// and in [tool.boyabuild]:
//
//	targets = ["CPython 3.13 on linux/amd64 (glibc 2.41)"]
const ownTable = "boyabuild"

// own returns the table of this program, which may be nil.
func own(tool map[string]any) map[string]any {
	t, _ := tool[ownTable].(map[string]any)
	return t
}

// ours fills in what only locks of this program say. In others everything that
// nothing else depends on is taken for what was asked for.
func (f *File) ours(c *chooser, p *Package, chosen []*Package, l *python.Locked) {
	if own(f.Tool) == nil {
		l.Requested = len(l.RequiredBy) == 0
		return
	}
	t := own(p.Tool)
	switch r := t["requested"].(type) {
	case bool:
		l.Requested = r
	case string:
		if m, err := python.ParseMarker(r); err == nil {
			holds, err := m.EvalLock(c.env, nil, nil)
			l.Requested = holds && err == nil
		}
	}
	list, _ := t["extras"].([]any)
	for _, e := range list {
		if s, ok := e.(string); ok && python.ValidName(s) {
			l.Extras = append(l.Extras, python.NormalizeExtra(s))
		}
	}
}

// Targets returns the targets that a lock of this program was made for, as
// python.Target.String writes them; nil for locks of others.
func (f *File) Targets() []string {
	var list []string
	targets, _ := own(f.Tool)["targets"].([]any)
	for _, t := range targets {
		if s, ok := t.(string); ok {
			list = append(list, s)
		}
	}
	return slices.Clip(list)
}
