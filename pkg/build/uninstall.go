package build

import (
	"context"
	"fmt"
	"slices"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// uninstall takes distributions away from where pip installs to. What is not
// there is told, as pip does.
func (t *installStep) uninstall(ctx context.Context, c *pip.Step, all layers.Tree) error {
	u := c.Uninstall
	py, err := t.pythonOf(ctx, c, u.Interpreter)
	if err != nil {
		return err
	}
	if u.Python != "" && !py.answersTo(u.Python) {
		return &refusedError{what: fmt.Sprintf("%s is for Python %s, and the image has %s", u.Program, u.Python, py.target.Python), advice: "write pip without a version, or take another base"}
	}
	p := &installation{stage: t.stage, step: t, at: t.at, python: py, in: &pip.Install{Tool: pip.Pip}, view: all, work: t.work, env: c.Env, dir: c.Dir}
	names := slices.Clone(u.Names)
	for _, file := range u.Files {
		f, err := p.read(file, python.ReadRequirements)
		if err != nil {
			return err
		}
		for _, r := range f.Requirements {
			if r.Requirement.Name == "" {
				return &refusedError{what: fmt.Sprintf("%s:%d names no package", r.File, r.Line)}
			}
			names = append(names, r.Requirement.Key())
		}
	}
	scheme, err := wheel.SchemeFor(py.installation, wheel.Place{})
	if err != nil {
		return &refusedError{what: err.Error()}
	}
	if ok, err := t.process.mayWrite(all, scheme.Purelib); err != nil {
		return err
	} else if !ok {
		return t.process.notWritable(scheme.Purelib)
	}
	there, err := wheel.Installed(all, []string{scheme.Purelib, scheme.Platlib})
	if err != nil {
		return err
	}
	for _, name := range names {
		if t.run.preview == nil && !slices.ContainsFunc(there, func(d wheel.Distribution) bool { return d.Key() == name }) {
			t.run.log().Warn(fmt.Sprintf("%s is not installed, and so not taken away", name))
		}
	}
	there = slices.DeleteFunc(there, func(d wheel.Distribution) bool { return !slices.Contains(names, d.Key()) })
	gone, err := wheel.Replace(all, there, layers.Tree{})
	if err != nil {
		return err
	}
	return t.tree(ctx, gone)
}
