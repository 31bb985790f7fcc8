package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/dockerfile"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/lockfile"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/project"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
)

// LockOptions say what to lock and for which Pythons.
type LockOptions struct {
	// Options name the context and the bases, as for a build.
	Options
	// File is the requirements file or pyproject.toml; "" looks for one in the
	// context, in the order of [lockInputs].
	File string
	// Stdin is what the file "-" is.
	Stdin io.Reader
	// Env are the variables that a requirements file may name.
	Env func(string) (string, bool)
	// Pythons ("3.13") and Libc ("glibc2.28", "musl1.2") are those of the base
	// where they are not given. Options.Platforms are the platforms.
	Pythons []string
	Libc    string
	// Extras and Groups are those of the project (PEP 621, PEP 735).
	Extras, Groups []string
	// OnlyBinary leaves out what has no wheel.
	OnlyBinary bool
	Pre        bool
	// Earlier is the file of an earlier lock, "" for none: its versions stay where
	// they fit. Upgrade and UpgradePackages say which need not.
	Earlier         string
	Upgrade         bool
	UpgradePackages []string
}

// Locked is what was locked.
type Locked struct {
	// Input is the file that was read.
	Input string
	// Locks are one for each target.
	Locks []python.Lock
	// RequiresPython is what the project says of itself.
	RequiresPython string
	Extras, Groups []string
	// URLs are where those packages come from that were asked for by a URL or a
	// path, by normalized name.
	URLs map[string]string
	// Unknown are those of UpgradePackages that are in none of the locks.
	Unknown []string
}

// lockInputs are the files that say what a project depends on, the first that
// is there is locked.
var lockInputs = []string{"requirements.in", "requirements.txt", "pyproject.toml", "Pipfile"}

// Lock resolves a project's dependencies, once for each platform and Python,
// with the same versions for all wherever there are such.
func (b *Builder) Lock(ctx context.Context, o LockOptions) (*Locked, error) {
	l := &locking{Builder: b, o: o, platforms: o.Platforms}
	if len(l.platforms) == 0 {
		l.platforms = []v1.Platform{hostPlatform()}
	}
	if o.Env == nil {
		l.o.Env = func(string) (string, bool) { return "", false }
	}
	l.shared = newShared(b, o.NoCache, o.NoCache || o.Upgrade || len(o.UpgradePackages) > 0)
	defer l.shared.close()
	return l.lock(ctx)
}

// locking is a lock in the making.
type locking struct {
	*Builder
	o         LockOptions
	shared    *shared
	platforms []v1.Platform
	input     string
	config    pip.Config
	want      resolve.Options
	project   *project.Project
	// stages are those whose Python is asked, by platform; none where the command
	// line says all of a target.
	stages map[string]*stage
}

func (l *locking) lock(ctx context.Context) (*Locked, error) {
	if err := l.read(); err != nil {
		return nil, err
	}
	targets, err := l.targets(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.pins(targets); err != nil {
		return nil, err
	}
	client, err := l.client(ctx)
	if err != nil {
		return nil, err
	}
	o := l.want
	o.Source, o.Log = client, l.log()
	o.UpgradePackages = l.o.UpgradePackages
	if err := l.earlier(&o, targets); err != nil {
		return nil, err
	}
	if l.o.Upgrade {
		o.Upgrade = resolve.UpgradeAll
	}
	o.ExcludeNewer = l.excludeNewer()
	o.Build = true // or OnlyBinary says why not, and the explanation with it
	if l.o.OnlyBinary {
		o.OnlyBinary = []string{":all:"}
	}
	started := time.Now()
	found, err := resolve.ResolveAll(ctx, o, targets)
	if err != nil {
		return nil, err
	}
	out := &Locked{Input: l.input, Extras: l.o.Extras, Groups: l.o.Groups}
	if l.project != nil {
		out.RequiresPython = l.project.RequiresPython.String()
	}
	for i, r := range found {
		l.log().Info(fmt.Sprintf("resolved %s for %s in %.1f s", packages(len(r.Lock.Packages)), targets[i], time.Since(started).Seconds()))
		out.Locks = append(out.Locks, r.Lock)
	}
	out.URLs = l.direct(out.Locks)
	for _, text := range l.o.UpgradePackages {
		r, err := python.ParseRequirement(text)
		if err == nil && !slices.ContainsFunc(out.Locks, func(lock python.Lock) bool { _, ok := lock.Lookup(r.Name); return ok }) {
			out.Unknown = append(out.Unknown, r.Name)
		}
	}
	return out, nil
}

// direct are the URLs of packages that no index is asked for.
func (l *locking) direct(locks []python.Lock) map[string]string {
	urls := map[string]string{}
	for _, r := range l.want.Requirements {
		if r.Requirement.URL == "" && r.Path == "" {
			continue
		}
		for _, lock := range locks {
			if p, ok := lock.Lookup(r.Requirement.Name); ok && p.Requested {
				urls[p.Name] = cmp.Or(p.Wheel.URL, p.Sdist.URL)
			}
		}
	}
	return urls
}

// read reads what is to be locked.
func (l *locking) read() error {
	file := l.o.File
	if file == "" {
		for _, name := range lockInputs {
			if has(l.o.Context, name) && (name != "pyproject.toml" || l.isProject(name)) {
				file = filepath.Join(l.o.Context, name)
				break
			}
		}
		if file == "" {
			return &ProjectError{Dir: l.o.Context, Reason: "says nowhere what it depends on: it has none of " + strings.Join(lockInputs, ", "),
				Advice: "name the requirements file: boyabuild lock FILE"}
		}
		l.log().Info(fmt.Sprintf("locking %s", file))
	}
	l.input = file
	configs := []pip.Config{l.Index.Flags}
	switch filepath.Base(file) {
	case "pyproject.toml", "Pipfile":
		if err := l.readProject(file); err != nil {
			return err
		}
		configs = append(configs, projectConfig(l.project, l.o.Env))
	default:
		f, err := python.ReadRequirements(file, l.open, l.o.Env)
		if err != nil {
			return err
		}
		if err := placeWritten(&f, func(link string) error { _, err := os.Stat(filepath.FromSlash(link)); return err }); err != nil {
			return err
		}
		if err := l.refuseSources(f.Requirements); err != nil {
			return err
		}
		l.want.Requirements, l.want.Constraints = f.Requirements, f.Constraints
		l.want.AllReleases, l.want.OnlyFinal = f.AllReleases, f.OnlyFinal
		configs = append(configs, fileConfig(file, f))
	}
	l.config = pip.Merge(append(configs, l.Index.Host)...)
	l.want.NoBinary, l.want.OnlyBinary = l.config.NoBinary, l.config.OnlyBinary
	if l.o.Pre || l.config.Pre.Value {
		l.want.Pre = resolve.PreAllow
	}
	return nil
}

// refuseSources refuses folders, which a lock of files cannot name.
func (l *locking) refuseSources(requirements []python.FileRequirement) error {
	for _, r := range requirements {
		info, err := os.Stat(r.Path)
		if r.Path == "" || !r.Editable && (err != nil || !info.IsDir()) {
			continue
		}
		return &python.FileError{File: r.File, Line: r.Line, Err: &refusedError{
			what:   fmt.Sprintf("%s is a folder of source code, and a lock names files", r.Path),
			advice: fmt.Sprintf("lock what it depends on (boyabuild lock %s), or build a wheel of it once and name that", filepath.Join(r.Path, "pyproject.toml")),
		}}
	}
	return nil
}

// open reads an input file.
func (l *locking) open(name string) ([]byte, error) {
	if name == "-" && l.o.Stdin != nil {
		return io.ReadAll(io.LimitReader(l.o.Stdin, maxImageFile))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxImageFile))
}

// isProject says whether a pyproject.toml says what the project depends on;
// many only configure tools.
func (l *locking) isProject(name string) bool {
	data, err := l.open(filepath.Join(l.o.Context, name))
	if err != nil {
		return false
	}
	p, err := project.Read(name, data)
	return err != nil || p.Name != "" // an error is told when it is read
}

// readProject reads a pyproject.toml or a Pipfile.
func (l *locking) readProject(file string) error {
	data, err := l.open(file)
	if err != nil {
		return err
	}
	if l.project, err = project.Read(file, data); err != nil {
		return err
	}
	l.want.Requirements, err = l.project.Requirements(project.Selection{Extras: l.o.Extras, Groups: l.o.Groups})
	if err != nil {
		return err
	}
	l.want.Constraints, l.want.Overrides = l.project.Constraints, l.project.Overrides
	return nil
}

// projectConfig are the indexes that Pipenv or Poetry take packages from; those
// of uv are among the settings of uv.
func projectConfig(p *project.Project, env func(string) (string, bool)) pip.Config {
	var c pip.Config
	if p.Tool != project.Pipenv && p.Tool != project.Poetry {
		return c
	}
	var all []pip.Index // in the order in which a name is looked up
	for i, x := range p.Indexes {
		u := os.Expand(x.URL, func(name string) string {
			v, _ := env(name)
			return v
		})
		// Pipenv looks up in its first source what does not name another.
		index := pip.Index{Name: x.Name, URL: u, Explicit: x.Explicit || p.Tool == project.Pipenv && i > 0, Source: p.File}
		switch {
		case index.Explicit:
			c.Extra = append(c.Extra, index)
		case x.Default:
			all = slices.Insert(all, 0, index)
		default:
			all = append(all, index)
		}
	}
	for i, x := range all {
		if i == len(all)-1 && x.URL != "" {
			c.Default = x
		} else if x.URL != "" {
			c.Extra = append(c.Extra, x)
		}
	}
	for _, s := range p.Sources {
		// The default index by its name is the one that holds here.
		if s.Index != "" && !slices.ContainsFunc(p.Indexes, func(x project.Index) bool { return x.Name == s.Index && x.URL == "" }) {
			c.Pins = append(c.Pins, pip.Pin{Project: s.Name, Index: s.Index, Marker: s.Marker.String(), Source: p.File})
		}
	}
	return c
}

// targets are the Pythons to lock for.
func (l *locking) targets(ctx context.Context) ([]python.Target, error) {
	libc, err := parseLibc(l.o.Libc)
	if err != nil {
		return nil, err
	}
	var out []python.Target
	for _, platform := range l.platforms {
		of := func() (python.Target, error) {
			s, err := l.stage(ctx, platform)
			if err != nil {
				return python.Target{}, err
			}
			py, err := s.python(ctx)
			if err != nil {
				return python.Target{}, err
			}
			return py.target, nil
		}
		t := python.Target{OS: platform.OS, Arch: architecture(platform), Libc: libc}
		if len(l.o.Pythons) == 0 || libc.Name == "" {
			if t, err = of(); err != nil {
				return nil, err
			}
			if libc.Name != "" {
				t.Libc = libc
			}
		}
		pythons := l.o.Pythons
		if len(pythons) == 0 {
			out = append(out, t)
		}
		for _, text := range pythons {
			number, free := strings.CutSuffix(text, "t")
			if t.Python, err = python.ParseVersion(number); err != nil {
				return nil, &LockError{fmt.Sprintf("--python %s: %v", text, err)}
			}
			t.FreeThreaded = free
			out = append(out, t)
		}
	}
	for _, t := range out {
		if err := t.Validate(); err != nil {
			return nil, &LockError{err.Error()}
		}
		if p := l.project; p != nil && !mayBe(t.Python, p.RequiresPython) {
			return nil, &python.FileError{File: p.File, Line: p.Line("project", "requires-python"),
				Err: fmt.Errorf("%s requires Python %s, and %s is not that", cmp.Or(p.Name, "the project"), p.RequiresPython, t)}
		}
	}
	return out, nil
}

// mayBe reports whether a Python fits. Of one that is given as 3.13 any release of
// it may be the one that runs.
func mayBe(v python.Version, requires python.Specifiers) bool {
	if requires.Contains(v) {
		return true
	}
	for patch := range 50 {
		if full, err := python.ParseVersion(fmt.Sprintf("%s.%d", v, patch)); len(v.Release()) == 2 && err == nil && requires.Contains(full) {
			return true
		}
	}
	return false
}

// LockError says that what was asked for cannot be locked.
type LockError struct{ reason string }

func (e *LockError) Error() string { return e.reason }

// Position makes it an error of what the user gave.
func (e *LockError) Position() (string, int) { return "", 0 }

// parseLibc reads "glibc2.28" or "musl1.2"; "" is none.
func parseLibc(text string) (python.Libc, error) {
	if text == "" {
		return python.Libc{}, nil
	}
	var l python.Libc
	name := strings.TrimRight(text, "0123456789._")
	version := strings.ReplaceAll(strings.TrimLeft(text[len(name):], "_"), "_", ".")
	l.Name = strings.TrimRight(name, "-")
	if n, err := fmt.Sscanf(version, "%d.%d", &l.Major, &l.Minor); n != 2 || err != nil || l.Name != "glibc" && l.Name != "musl" {
		return l, &LockError{fmt.Sprintf("--libc %s: is neither glibc2.MINOR nor musl1.MINOR", text)}
	}
	return l, nil
}

// stage begins the stage that the build's last one stands on, so that its
// base's Python can be asked.
func (l *locking) stage(ctx context.Context, platform v1.Platform) (*stage, error) {
	if s := l.stages[platform.String()]; s != nil {
		return s, nil
	}
	p := &Plan{Options: l.o.Options}
	file, err := p.dockerfile()
	var undecided *ProjectError
	if errors.As(err, &undecided) {
		base := l.o.Base
		if base == "" {
			base = DefaultBase
		}
		file, err = dockerfile.Parse("(base)", strings.NewReader("FROM "+base+"\n"))
	}
	if err != nil {
		return nil, err
	}
	r, err := file.Resolve(p.resolveOptions(platform))
	if err != nil {
		return nil, err
	}
	run := &platformBuild{Builder: l.Builder, shared: l.shared, plan: p, platform: &PlatformPlan{Platform: platform, resolved: r}, done: map[int]*stage{}, steps: map[string]stepRecord{}, outlines: map[string][]byte{}, records: &records{store: l.Store}}
	st := r.Stages[len(r.Stages)-1]
	for st.Base.IsStage {
		i := slices.IndexFunc(r.Stages, func(o dockerfile.ResolvedStage) bool { return o.Index == st.Base.Stage })
		st = r.Stages[i]
	}
	s, err := run.begin(ctx, st)
	if err == nil {
		if l.stages == nil {
			l.stages = map[string]*stage{}
		}
		l.stages[platform.String()] = s
	}
	return s, err
}

// pins leaves those pins to indexes that hold for the targets. All are resolved
// together, so they must be the same for all.
func (l *locking) pins(targets []python.Target) error {
	all := l.config
	for i, t := range targets {
		c, err := all.For(t.Environment())
		if err != nil {
			return err
		}
		if i > 0 && !slices.Equal(c.Pins, l.config.Pins) {
			return &LockError{fmt.Sprintf("some package comes from one index for %s and from another for %s (sources with markers in %s): lock them apart",
				targets[0], t, all.Pins[0].Source)}
		}
		l.config = c
	}
	return nil
}

// excludeNewer is the time that counts: that of the command line, or of the
// settings.
func (l *locking) excludeNewer() time.Time {
	if !l.o.ExcludeNewer.IsZero() {
		return l.o.ExcludeNewer
	}
	return l.config.ExcludeNewer.Value
}

// client makes the index client; what has no wheel is built with the base's
// Python.
func (l *locking) client(ctx context.Context) (*index.Client, error) {
	var fallback pip.Index
	if l.config.Default.URL == "" && !l.config.NoIndex.Value {
		var err error
		if len(l.stages) == 0 { // no base is needed for the target: this machine's pip will do
			fallback.URL, err = l.shared.hostIndex(ctx, nil)
		}
		if fallback.URL == "" {
			var s *stage
			if s, err = l.stage(ctx, l.platforms[0]); err != nil {
				return nil, err
			}
			fallback.URL, err = s.defaultIndex(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	var w wheelBuilder
	if !l.o.OnlyBinary {
		w = &sourceBuilder{config: l.config, fallback: func(context.Context) (pip.Index, error) { return fallback, nil }, excludeNewer: l.excludeNewer(), stage: func(ctx context.Context) (*stage, error) { return l.stage(ctx, l.platforms[0]) }}
	}
	return l.shared.client(l.config, fallback, w)
}

// earlier reads an earlier lock: a pylock.toml, or pins in a requirements file.
func (l *locking) earlier(o *resolve.Options, targets []python.Target) error {
	name := l.o.Earlier
	data, err := l.open(name)
	if name == "" || errors.Is(err, os.ErrNotExist) || len(data) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if !strings.HasSuffix(name, ".toml") {
		f, err := python.ReadRequirements(name, l.open, l.o.Env)
		if err != nil {
			return fmt.Errorf("read the earlier lock: %w", err)
		}
		o.Preferred = map[string]python.Version{}
		for _, r := range f.Requirements {
			if v, ok := pinned(r.Requirement); ok {
				o.Preferred[r.Requirement.Key()] = v
			}
		}
		return nil
	}
	f, err := lockfile.ReadPylock(name, data)
	if err != nil {
		return fmt.Errorf("read the earlier lock: %w", err)
	}
	for _, t := range targets {
		sel, err := f.Select(t, lockfile.Selection{Extras: l.o.Extras, Groups: l.o.Groups})
		if err != nil {
			l.log().Debug("the earlier lock is not for " + t.String() + ": " + err.Error())
			continue
		}
		o.Earlier = append(o.Earlier, sel.Lock)
	}
	return nil
}

// pinned is the version of a requirement for one version only.
func pinned(r python.Requirement) (python.Version, bool) {
	if len(r.Specifiers) != 1 {
		return python.Version{}, false
	}
	text, ok := strings.CutPrefix(r.Specifiers[0].String(), "==")
	if !ok || strings.HasSuffix(text, ".*") || strings.HasPrefix(text, "=") {
		return python.Version{}, false
	}
	v, err := python.ParseVersion(text)
	return v, err == nil
}
