package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/lockfile"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// lockedInstall is a project installed from its lock file: uv sync, poetry install,
// pipenv install --deploy.
type lockedInstall struct {
	*installation
	in *pip.Sync
}

// sync does one of them. The environment that it installs to is made where it
// is missing.
func (t *installStep) sync(ctx context.Context, c *pip.Step, lower layers.Tree) error {
	in := c.Sync
	if err := refuseSync(in); err != nil {
		return err
	}
	interpreter := in.Interpreter
	if in.Environment != "" {
		interpreter = path.Join(in.Environment, "bin/python3")
		if _, err := lower.Stat(interpreter); err != nil && !in.System && in.Venv != nil {
			made, err := t.venv(ctx, in.Venv, lower)
			if err != nil {
				return err
			}
			if made, err = t.settled(ctx, made, in.Venv.Dir); err != nil {
				return err
			}
			if err := t.tree(ctx, made); err != nil {
				return err
			}
			lower = layers.Overlay(lower, made)
		} else if err != nil && in.System {
			interpreter = "" // a prefix beside the Python that PATH leads to, such as Debian's /usr/local
		}
	}
	py, err := t.pythonAt(lower, c.Env["PATH"], interpreter)
	if err != nil {
		return err
	}
	p := &installation{
		stage: t.stage, step: t, at: t.at, python: py, view: lower, work: t.work, env: c.Env, dir: c.Dir, installer: installerName(in.Tool),
		in: &pip.Install{Tool: in.Tool, Line: in.Line, Compile: in.Compile, Config: in.Config, ConfigSettings: in.ConfigSettings, NoBuildIsolation: in.NoBuildIsolation},
	}
	if v := in.PythonVersion; v != "" && !py.answersTo(v) {
		return &refusedError{what: fmt.Sprintf("%s is for Python %s, and the environment has %s", in.Tool, v, py.target.Python), advice: anotherPython(in.Tool)}
	}
	y := &lockedInstall{installation: p, in: in}
	return y.run1(ctx)
}

// anotherPython says where a tool is told of a Python that the image does not have.
func anotherPython(t pip.Tool) string {
	if t == pip.UV {
		return "take another base, or another version in --python, UV_PYTHON or .python-version: no Python is downloaded here"
	}
	return "leave the version out, or take another base"
}

// refuseSync returns an error for what is understood and cannot be done.
func refuseSync(in *pip.Sync) error {
	refused := func(what, advice string) error {
		return &refusedError{what: in.Tool.String() + ": " + what, advice: advice}
	}
	switch {
	case in.SkipLock, in.Upgrade, len(in.UpgradePackages) > 0:
		return refused("a lock is not made anew while an image is built", "make it beforehand, and COPY it")
	case len(in.Packages) > 1, in.AllPackages:
		return refused("several members of a workspace at once are not supported", "install them one by one (--package)")
	case in.Venv != nil && in.Venv.UpgradeDeps:
		return refused("--upgrade-deps is not supported", "")
	}
	return nil
}

func (y *lockedInstall) run1(ctx context.Context) error {
	scheme, err := wheel.SchemeFor(y.python.installation, wheel.Place{})
	if err != nil {
		return &refusedError{what: err.Error()}
	}
	if ok, err := y.step.process.mayWrite(y.view, scheme.Purelib); err != nil {
		return err
	} else if !ok {
		return y.step.process.notWritable(scheme.Purelib)
	}
	at, err := y.place(ctx, scheme)
	if err != nil {
		return err
	}
	locker, err := y.locker(y.in.LockFile)
	if err != nil {
		return err
	}
	if !y.in.Frozen || y.in.Locked {
		var outdated *lockfile.OutdatedError
		if err := locker.Outdated(); errors.As(err, &outdated) {
			return err
		}
	}
	sel := lockfile.Selection{
		Extras: y.in.Extras, AllExtras: y.in.AllExtras, NoExtras: y.in.NoExtras, Groups: y.groups(y.in.Groups), NoGroups: y.groups(y.in.NoGroups), OnlyGroups: y.groups(y.in.OnlyGroups),
		NoDefaultGroups: y.in.NoDefaultGroups, AllGroups: y.in.AllGroups, NoProject: y.in.NoProject,
		NoWheels: y.in.Config.NoBinary, NoSdists: y.in.Config.OnlyBinary,
	}
	if len(y.in.Packages) == 1 {
		sel.Member = y.in.Packages[0]
	}
	selected, err := locker.Select(y.python.target, sel)
	if err != nil {
		return err
	}
	y.leaveOut(&selected)
	for i := range selected.Local {
		l := &selected.Local[i]
		l.Editable = l.Editable && !y.in.NoEditable && !slices.Contains(y.in.NoEditablePackages, l.Name)
	}
	if !y.in.Inexact {
		if err := y.prune(ctx, selectedNames(selected), at, scheme); err != nil {
			return err
		}
	}
	if y.in.Reinstall { // what is there is no reason to leave anything as it is
		at.there = nil
	}
	at.there = slices.DeleteFunc(at.there, func(d wheel.Distribution) bool { return slices.Contains(y.in.ReinstallPackages, d.Key()) })
	return y.installSelected(ctx, selected, scheme, at, path.Dir(y.in.LockFile))
}

// selectedNames are the projects that a selection has.
func selectedNames(s lockfile.Selected) map[string]bool {
	names := map[string]bool{}
	for _, l := range s.Lock.Packages {
		names[l.Name] = true
	}
	for _, r := range s.Pins {
		names[r.Requirement.Key()] = true
	}
	for _, l := range s.Local {
		names[l.Name] = true
	}
	return names
}

// groups are the names as lock files have them: Pipenv calls the project's own
// dependencies "default".
func (y *lockedInstall) groups(names []string) []string {
	out := slices.Clone(names)
	for i, n := range out {
		if y.in.Tool == pip.Pipenv && n == "default" {
			out[i] = "main"
		}
	}
	return out
}

// leaveOut drops what the command line leaves out of a selection.
func (y *lockedInstall) leaveOut(s *lockfile.Selected) {
	in := y.in
	out := func(name string) bool { return in.OnlyProject || slices.Contains(in.NoInstall, name) }
	s.Lock.Packages = slices.DeleteFunc(s.Lock.Packages, func(l python.Locked) bool { return out(l.Name) })
	s.Pins = slices.DeleteFunc(s.Pins, func(r python.FileRequirement) bool { return out(r.Requirement.Key()) })
	s.Local = slices.DeleteFunc(s.Local, func(l lockfile.Local) bool {
		directory := l.Kind == lockfile.Directory
		switch {
		case l.Root:
			return in.NoProject || in.NoWorkspace || in.NoLocal
		case directory && (in.NoWorkspace || in.NoDirectories), l.URL == "" && in.NoLocal:
			return true
		}
		return out(l.Name)
	})
}

// besideLocks are files that are read with a lock that lies beside them.
var besideLocks = []string{"pyproject.toml", "Pipfile"}

// locker reads a lock file of the image, with the project's own file, which
// some need.
func (p *installation) locker(name string) (lockfile.Locker, error) {
	data, err := p.view.ReadFile(p.absolute(name), maxImageFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent(name)
	}
	if err != nil {
		return nil, err
	}
	beside := map[string][]byte{}
	for _, other := range besideLocks {
		if text, err := p.view.ReadFile(p.absolute(path.Join(path.Dir(name), other)), maxImageFile); err == nil {
			beside[other] = text
		}
	}
	return lockfile.Read(name, data, beside)
}

// installSelected installs what a lock file names for the target. project is
// the folder that local paths are relative to.
func (p *installation) installSelected(ctx context.Context, sel lockfile.Selected, scheme wheel.Scheme, at *place, project string) error {
	w := &wanted{direct: map[string]*wheel.DirectURL{}, config: pip.Merge(p.run.Index.Flags, p.in.Config, p.run.Index.Host), settings: p.settings(nil)}
	var err error
	if w.buildConstraints, err = p.buildConstraints(); err != nil {
		return err
	}
	for _, text := range sel.Warnings {
		p.run.log().Warn(text)
	}
	client, err := p.lockClient(ctx, w, sel)
	if err != nil {
		return err
	}
	lock := sel.Lock
	lock.Target = p.python.target
	if len(sel.Pins) > 0 {
		r, err := resolve.Resolve(ctx, resolve.Options{
			Target: p.python.target, Source: client, Requirements: sel.Pins, NoDependencies: true, Build: true,
			Pre: resolve.PreAllow, Log: p.run.log(),
		})
		if err != nil {
			return err
		}
		lock.Packages = append(lock.Packages, r.Lock.Packages...)
	}
	b := p.builder(w)
	for _, local := range sel.Local {
		pkg, direct, err := p.localPackage(ctx, client, b, local, project)
		if err != nil {
			return err
		}
		w.direct[pkg.Name] = direct
		lock.Packages = append(lock.Packages, pkg)
	}
	lock.Sort()
	// What is there in the same version stays.
	lock.Packages = slices.DeleteFunc(lock.Packages, func(l python.Locked) bool {
		return w.direct[l.Name] == nil && slices.ContainsFunc(at.there, func(d wheel.Distribution) bool { return d.Key() == l.Name && d.Version.Equal(l.Version) })
	})
	if len(lock.Packages) == 0 {
		return nil
	}
	return p.layOut(ctx, client, lock, w, scheme, at)
}

// lockClient is the client that fetches what a lock names. Where pins need an
// index, those that the lock was made with come first.
func (p *installation) lockClient(ctx context.Context, w *wanted, sel lockfile.Selected) (*index.Client, error) {
	c := w.config
	if len(sel.Pins) == 0 { // the lock names every file
		own := c
		own.NoIndex = pip.Setting[bool]{Value: true, Source: "the lock"}
		return p.run.shared.client(own, pip.Index{}, p.builder(w))
	}
	own := p.run.Index.Flags
	if own.Default.URL == "" && len(sel.Indexes) > 0 {
		c.Default = pip.Index{URL: sel.Indexes[0], Source: "the lock"}
		for _, u := range sel.Indexes[1:] {
			c.Extra = append(c.Extra, pip.Index{URL: u, Source: "the lock"})
		}
		for _, name := range slices.Sorted(maps.Keys(sel.IndexOf)) {
			u := sel.IndexOf[name]
			c.Extra = append(c.Extra, pip.Index{Name: u, URL: u, Explicit: true, Source: "the lock"})
			c.Pins = append(c.Pins, pip.Pin{Project: name, Index: u, Source: "the lock"})
		}
	}
	with := *w
	with.config = c
	return p.client(ctx, &with)
}

// localPackage makes a package of a folder or file that a lock names.
func (p *installation) localPackage(ctx context.Context, client *index.Client, b *sourceBuilder, l lockfile.Local, project string) (python.Locked, *wheel.DirectURL, error) {
	if l.Kind == lockfile.Archive && l.URL != "" {
		r := python.FileRequirement{Requirement: python.Requirement{Name: l.Name, URL: l.URL}, Hashes: l.Hashes}
		direct := &wheel.DirectURL{URL: l.URL, Subdirectory: l.Subdirectory}
		if err := p.download(ctx, client, b, &r, direct); err != nil {
			return python.Locked{}, nil, err
		}
		pkg, err := lockedWheel(r.Path, filepath.Base(r.Path))
		pkg.Requested, pkg.RequiredBy = l.Requested, l.RequiredBy
		return pkg, direct, err
	}
	if l.Kind == lockfile.Repository {
		return python.Locked{}, nil, &refusedError{what: fmt.Sprintf("%s comes from %s, which is not fetched", l.Name, l.URL),
			advice: "build a wheel of it once (pip wheel), COPY it and name the wheel"}
	}
	at := p.absolute(beside(project, l.Path))
	if l.Kind == lockfile.Archive {
		return p.filePackage(ctx, b, at, l)
	}
	file, name, err := p.local(ctx, b, path.Join(at, l.Subdirectory), l.Editable, nil)
	if err != nil {
		return python.Locked{}, nil, err
	}
	pkg, err := lockedWheel(file, name)
	pkg.Requested, pkg.RequiredBy = l.Requested || l.Root, l.RequiredBy
	return pkg, &wheel.DirectURL{URL: "file://" + at, Dir: true, Editable: l.Editable}, err
}

// beside is a path that a lock in the folder dir names.
func beside(dir, name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join(dir, name)
}

// filePackage is a wheel or an sdist that lies in the image.
func (p *installation) filePackage(ctx context.Context, b *sourceBuilder, at string, l lockfile.Local) (python.Locked, *wheel.DirectURL, error) {
	file, err := p.export(at)
	if err != nil {
		return python.Locked{}, nil, err
	}
	r := python.FileRequirement{Requirement: python.Requirement{Name: l.Name}, Path: file, Hashes: l.Hashes}
	direct := &wheel.DirectURL{URL: "file://" + at, Subdirectory: l.Subdirectory}
	if !strings.HasSuffix(file, ".whl") {
		err = p.unpack(ctx, b, &r, direct, file)
	} else {
		err = checkHashes(file, l.Hashes)
	}
	if err != nil {
		return python.Locked{}, nil, fmt.Errorf("%s: %w", l.Path, err)
	}
	pkg, err := lockedWheel(r.Path, filepath.Base(r.Path))
	pkg.Requested, pkg.RequiredBy = l.Requested, l.RequiredBy
	return pkg, direct, err
}

// fileSum is the SHA-256 of a file in hexadecimal.
func fileSum(name string) (string, error) {
	r, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// lockedWheel is a wheel of this machine as a package of a lock. The file may
// have another name than the wheel.
func lockedWheel(file, name string) (python.Locked, error) {
	parsed, err := python.ParseWheelName(name)
	if err != nil {
		return python.Locked{}, err
	}
	sum, err := fileSum(file)
	if err != nil {
		return python.Locked{}, err
	}
	u := (&url.URL{Scheme: "file", Path: filepath.ToSlash(file)}).String()
	return python.Locked{Name: parsed.Name, Version: parsed.Version,
		Wheel: python.File{Filename: name, URL: u, Hashes: map[string]string{"sha256": sum}}}, nil
}

// checkHashes checks a file against "sha256:hex" and the like, any of which
// will do.
func checkHashes(file string, hashes []string) error {
	if len(hashes) == 0 {
		return nil
	}
	sum, err := fileSum(file)
	if err != nil {
		return err
	}
	known := false
	for _, h := range hashes {
		want, ok := strings.CutPrefix(h, "sha256:")
		if ok && want == sum {
			return nil
		}
		known = known || ok
	}
	if !known {
		return errors.New("no sha256 of it is given")
	}
	return fmt.Errorf("its sha256 is %s, and another was asked for", sum)
}
