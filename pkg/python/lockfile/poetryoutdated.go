package lockfile

import (
	"path"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// Outdated compares the hash of what pyproject.toml says.
func (l *poetryLock) Outdated() error {
	p, err := l.beside.project("pyproject.toml")
	if err != nil {
		return err
	}
	if p == nil {
		return l.at(0, &NeedsProjectError{"whether the lock is up to date cannot be known: there is no pyproject.toml beside it"})
	}
	if l.contentHash == poetryHash(p, true) {
		return nil
	}
	// Poetry did not count [dependency-groups] before 2.3.
	if v, err := python.ParseVersion(l.written); err == nil && (v.Number(0) < 2 || v.Number(0) == 2 && v.Number(1) < 3) && l.contentHash == poetryHash(p, false) {
		return nil
	}
	return &OutdatedError{Lock: l.name, Project: path.Join(l.beside.dir, "pyproject.toml"), Reasons: []string{"what it depends on has changed"}, Command: "poetry lock"}
}

// poetryHash is the content-hash of a lock: of those parts of pyproject.toml
// that matter to it. Where [project] has none of them, those of [tool.poetry]
// are hashed as Poetry 1 did, with null for the ones that are not there.
func poetryHash(p *project.Project, groups bool) string {
	relevant := map[string]any{}
	if t, ok := p.Table("project"); ok {
		for _, key := range [...]string{"requires-python", "dependencies", "optional-dependencies"} {
			if v, ok := t[key]; ok {
				relevant[key] = v
			}
		}
	}
	all := map[string]any{}
	if len(relevant) > 0 {
		all["project"] = relevant
	}
	if t, ok := p.Table("dependency-groups"); ok && groups && len(t) > 0 {
		all["dependency-groups"] = t
	}
	t, _ := p.Table("tool", "poetry")
	own := map[string]any{}
	for _, key := range [...]string{"dependencies", "source", "extras", "dev-dependencies", "group"} {
		v, ok := t[key]
		if ok || key != "group" && len(all) == 0 {
			own[key] = v
		}
	}
	if len(all) == 0 {
		return pythonHash(own, ", ", ": ")
	}
	all["tool"] = map[string]any{"poetry": own}
	return pythonHash(all, ", ", ": ")
}
