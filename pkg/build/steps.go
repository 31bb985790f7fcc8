package build

import (
	"context"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/dockerfile"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/lockfile"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
)

// stepFormat numbers what becomes of an install step beside what its key holds.
const stepFormat = "install/3"

// installKey stands for everything that a RUN of installs depends on: what is
// asked for, with the files that are named; where packages come from; and all
// that the image has where Python looks and installs to. What an index holds is
// no part of it: that is asked again with --pull. It is made without looking at
// anything but what is known of the image without the bytes of its layers; ""
// where that is not enough, and then the step is never on record.
func (s *stage) installKey(ctx context.Context, found []pip.Step, mounts []dockerfile.Mount) string {
	o := s.run.plan.Options
	places := slices.Clone(systemPlaces)
	var rows []any
	who, err := s.process(s.view.known)
	if err != nil {
		return ""
	}
	if !who.isRoot() {
		rows = append(rows, []any{"user", who.uid, who.gid, who.home})
		places = append(places, path.Join(who.home, ".local"))
	}
	for _, m := range mounts { // nothing may be put there
		rows = append(rows, []any{m.Type, m.Target})
	}
	for i := range found {
		c := &found[i]
		row, more, err := s.commandKey(ctx, c)
		if err != nil {
			return ""
		}
		rows = append(rows, row)
		places = append(append(places, more...), pathPlaces(c.Env["PATH"])...)
	}
	excludeNewer := int64(0)
	if !o.ExcludeNewer.IsZero() {
		excludeNewer = o.ExcludeNewer.Unix()
	}
	key, err := keyOf(stepFormat, []any{s.layerOptions().Key(), wheelFormat, s.scope.Stage.Platform, o.NoCompile, excludeNewer, s.run.layerBudget(s),
		environ(s.scope.Config.Env)["PYTHON_VERSION"], rows, s.view.identity(places)})
	if err != nil {
		return ""
	}
	return key
}

// systemPlaces are where a system keeps programs, libraries and settings.
var systemPlaces = []string{"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc"}

// pathPlaces are the prefixes that a PATH leads to.
func pathPlaces(value string) []string {
	var out []string
	for _, dir := range strings.Split(value, ":") {
		if !path.IsAbs(dir) {
			continue
		}
		if up := path.Dir(path.Clean(dir)); up != "/" {
			dir = up
		}
		out = append(out, dir)
	}
	return out
}

// commandKey is the part of one command in its step's key, and the places that
// it installs to.
func (s *stage) commandKey(ctx context.Context, c *pip.Step) (row any, places []string, err error) {
	switch {
	case c.Install != nil:
		return s.installRow(ctx, c)
	case c.Sync != nil:
		return s.syncRow(ctx, c)
	case c.Venv != nil:
		v := *c.Venv
		v.Line, v.Config = 0, pip.Config{}
		return []any{"venv", v}, []string{v.Dir, prefixPlace(v.Interpreter)}, nil
	case c.Uninstall != nil:
		u := *c.Uninstall
		u.Line = 0
		rows := []any{"uninstall", u, c.Dir}
		p := &installation{stage: s, in: &pip.Install{}, view: s.view.known, env: c.Env, dir: c.Dir}
		for _, file := range u.Files {
			f, err := p.read(file, python.ReadRequirements)
			if err != nil {
				return nil, nil, err
			}
			for _, r := range f.Requirements {
				rows = append(rows, r.Requirement.Key())
			}
		}
		return rows, []string{prefixPlace(u.Interpreter)}, nil
	}
	return c.Write, nil, nil
}

// prefixPlace is the prefix of an interpreter: "/opt/venv" of
// "/opt/venv/bin/python3".
func prefixPlace(interpreter string) string {
	if interpreter == "" {
		return "/usr"
	}
	return path.Dir(path.Dir(interpreter))
}

func (s *stage) installRow(ctx context.Context, c *pip.Step) (any, []string, error) {
	p := &installation{stage: s, in: c.Install, view: s.view.known, env: c.Env, dir: c.Dir}
	in := *c.Install
	in.Line, in.Config = 0, pip.Config{}
	places := []string{in.Target, in.Prefix, in.WheelDir, p.userBase(), prefixPlace(in.Interpreter)}
	if i := slices.IndexFunc(in.Files, lockfile.IsLockFile); i >= 0 { // nothing else is installed with it
		files, err := p.lockRow(ctx, in.Files[i])
		if err != nil {
			return nil, nil, err
		}
		return []any{"install", in, c.Dir, files, configRow(pip.Merge(p.run.Index.Flags, in.Config, p.run.Index.Host))}, places, nil
	}
	w, err := p.wanted()
	if err != nil {
		return nil, nil, err
	}
	var rows []any
	for _, list := range [][]python.FileRequirement{w.requirements, w.constraints, w.buildConstraints} {
		for _, r := range list {
			content := ""
			if r.Path != "" {
				if content, err = p.pathSum(ctx, r.Path); err != nil {
					return nil, nil, err
				}
			}
			rows = append(rows, []any{r.Requirement.String(), r.Path, r.Editable, r.Hashes, r.ConfigSettings, content})
		}
		rows = append(rows, "then")
	}
	for _, l := range w.config.FindLinks {
		if at, ok := inImage(l.Value); ok {
			sum, err := p.pathSum(ctx, at)
			if err != nil {
				return nil, nil, err
			}
			rows = append(rows, sum)
		}
	}
	return []any{"install", in, c.Dir, homeOf(c.Env), rows, configRow(w.config), w.allReleases, w.onlyFinal}, places, nil
}

func (s *stage) syncRow(ctx context.Context, c *pip.Step) (any, []string, error) {
	in := *c.Sync
	p := &installation{stage: s, in: &pip.Install{}, view: s.view.known, env: c.Env, dir: c.Dir}
	files, err := p.lockRow(ctx, in.LockFile)
	if err != nil {
		return nil, nil, err
	}
	content := ""
	if !in.NoProject && !in.NoWorkspace && !in.NoLocal { // it may be built
		if content, err = p.pathSum(ctx, in.Project); err != nil {
			return nil, nil, err
		}
	}
	places := []string{in.Environment, prefixPlace(in.Interpreter)}
	config := configRow(pip.Merge(p.run.Index.Flags, in.Config, p.run.Index.Host))
	in.Line, in.Config = 0, pip.Config{}
	var venv any
	if in.Venv != nil {
		v := *in.Venv
		v.Line, v.Config = 0, pip.Config{}
		venv, in.Venv = v, nil
		places = append(places, v.Dir, prefixPlace(v.Interpreter))
	}
	return []any{"sync", in, venv, files, content, config}, places, nil
}

// lockRow is the content of a lock, of the files that are read beside it, and of
// the projects and files that it takes packages from.
func (p *installation) lockRow(ctx context.Context, name string) (any, error) {
	data, err := p.view.ReadFile(p.absolute(name), maxImageFile)
	if err != nil {
		return nil, err
	}
	rows := []any{name, data}
	for _, other := range besideLocks {
		text, err := p.view.ReadFile(p.absolute(path.Join(path.Dir(name), other)), maxImageFile)
		if unlisted(err) {
			return nil, err
		}
		rows = append(rows, text)
	}
	locker, err := p.locker(name)
	if err != nil {
		return nil, err
	}
	for _, place := range lockfile.Beside(locker) {
		sum, err := p.pathSum(ctx, beside(path.Dir(p.absolute(name)), place))
		if unlisted(err) {
			return nil, err
		}
		rows = append(rows, sum) // "" for what is not there, which need not be wanted
	}
	return rows, nil
}

// pathSum is the digest of what lies at a path of the image.
func (p *installation) pathSum(ctx context.Context, name string) (string, error) {
	at := p.absolute(name)
	e, err := p.view.Stat(at)
	if err != nil {
		return "", err
	}
	tree := layers.Tree{}
	if e.Kind == layers.Dir {
		if tree, err = p.subtree(at); err != nil {
			return "", err
		}
	} else {
		e.Path, e.Origin = path.Base(at), ""
		if tree, err = layers.NewTree([]layers.Entry{e}); err != nil {
			return "", err
		}
	}
	sum, err := sumOf(ctx, tree)
	return sum.String(), err
}

// configRow is what decides, of settings, about what is installed. Logins have
// no part in it: tokens change from day to day.
func configRow(c pip.Config) any {
	bare := func(i pip.Index) []any { return []any{i.Name, bareURL(i.URL), i.Explicit} }
	rows := []any{bare(c.Default)}
	for _, i := range c.Extra {
		rows = append(rows, bare(i))
	}
	for _, pin := range c.Pins {
		rows = append(rows, []any{pin.Project, pin.Index, pin.Marker})
	}
	for _, l := range c.FindLinks {
		rows = append(rows, bareURL(l.Value))
	}
	newer := int64(0)
	if !c.ExcludeNewer.Value.IsZero() {
		newer = c.ExcludeNewer.Value.Unix()
	}
	return []any{rows, c.NoIndex.Value, c.Pre.Value, c.PreferBinary.Value, c.RequireHashes.Value, c.NoBinary, c.OnlyBinary, newer, c.Strategy.Value}
}

// bareURL is a URL without its login.
func bareURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	u.User = nil
	return u.String()
}

// copyKey stands for everything that a COPY from another stage or image depends
// on.
func (s *stage) copyKey(from *view, c *copyStep) (string, error) {
	o := owner{-1, -1}
	if c.owner != nil {
		o = *c.owner
	}
	dest := c.dest
	if !path.IsAbs(dest) {
		dest = path.Join("/", c.workdir) + "/" + dest
	}
	return keyOf("copy/2", []any{s.layerOptions().Key(), from.digests(), c.sources, dest, strings.HasSuffix(c.dest, "/"), c.parents,
		o.uid, o.gid, c.chmod, c.excludes, s.view.identity([]string{dest})})
}

// noteStep notes a step that the image is to tell of.
func (p *platformBuild) noteStep(key string, rec stepRecord) {
	p.steps[key] = rec
}

// noteFacts notes facts that the image is to tell of.
func (p *platformBuild) noteFacts(key string, f base.Facts) {
	if p.facts == nil {
		p.facts = map[string]base.Facts{}
	}
	p.facts[key] = f
}

// layerOptions shape the layers of this build.
func (s *stage) layerOptions() layers.Options {
	return layers.Options{Time: s.run.plan.Options.Time, Compression: s.run.plan.Options.Compression}
}
