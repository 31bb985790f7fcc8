package resolve

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// universe are all versions of a project that are known, oldest first, also
// those that cannot be used: an explanation needs them. It is not changed once
// it is made.
type universe struct {
	project  string
	versions []*candidate
	missing  *index.NotFoundError // no index knows the project
	unasked  error                // why the indexes could not be asked about an installed project
}

// candidate is one version of a project.
type candidate struct {
	version   python.Version
	of        *listing   // where its files are; nil when it is installed
	place     int        // in the listing
	best      int        // of its files, an sdist where no wheel fits; -1 = none
	kind      index.Kind // of the best file
	yanked    bool       // the best file was, and is taken all the same
	unproven  bool       // the file is to be compared with the user's hashes when it is here
	installed *Installed // the version that is installed already
	reason    reason     // why it cannot be used; zero = it can
	made      atomic.Pointer[index.File]
}

func (c *candidate) usable() bool { return c.reason.kind == 0 }

// readable reports whether its metadata can be read without building anything.
func (c *candidate) readable() bool {
	return c.usable() && c.installed == nil && c.kind == index.Wheel
}

func (c *candidate) isSdist() bool { return c.installed == nil && c.kind == index.Sdist }

// file is the best file of a candidate that has one. Do not modify.
func (c *candidate) file() *index.File {
	if f := c.made.Load(); f != nil {
		return f
	}
	f := c.of.file(c.place, c.best)
	c.made.Store(&f)
	return &f
}

// rules say which files can be used. They are the same for the whole search.
type rules struct {
	target      python.Target
	environment python.Environment
	tags        *python.TagSet
	interpreted map[python.Tag]bool // its tags without their platforms
	platforms   map[string]bool     // and these
	options     *Options
	flags       python.RequirementsFile // those of the options that have lists of projects
	direct      map[string]*demand      // what the user says of a project
	preferred   map[string]python.Version
	upgrade     map[string]bool // UpgradePackages

	// What was found out about the sets of entries, by their numbers.
	mu            sync.Mutex
	tagVerdict    []verdict
	pythonVerdict []verdict
}

// verdict is why something cannot be used, or how well it fits.
type verdict struct {
	known bool
	why   reason
	rank  int
}

// remember returns what was found out about the set of a number before, or
// finds it out.
func remember(all *[]verdict, number int, judge func() verdict) verdict {
	if number <= 0 {
		return judge()
	}
	for len(*all) <= number {
		*all = append(*all, verdict{})
	}
	if v := &(*all)[number]; !v.known {
		*v = judge()
		v.known = true
	}
	return (*all)[number]
}

// demand is what requirements and constraints of the user say of one project.
type demand struct {
	pins     []python.Specifiers // those that pin a version
	admitted []python.Specifiers // pins of dependencies, where these admit a yanked version
	hashes   []string            // allowed ones; nil = any
	file     *index.File         // a URL or a path instead of what the indexes have
	url      string              // as written
	required bool                // by a requirement, not only by a constraint
	named    bool                // some specifier names a pre-release
}

func newRules(o *Options, demands map[string]*demand) *rules {
	tags := o.Target.Tags()
	r := &rules{
		target: o.Target, environment: o.Target.Environment(), tags: python.NewTagSet(tags), options: o, direct: demands,
		flags: python.RequirementsFile{
			NoBinary: normalized(o.NoBinary), OnlyBinary: normalized(o.OnlyBinary),
			AllReleases: normalized(o.AllReleases), OnlyFinal: normalized(o.OnlyFinal),
		},
		interpreted: map[python.Tag]bool{}, platforms: map[string]bool{},
		preferred: o.preferences(), upgrade: map[string]bool{},
	}
	for _, name := range o.UpgradePackages {
		r.upgrade[name] = true
	}
	for _, t := range tags {
		r.interpreted[python.Tag{Python: t.Python, ABI: t.ABI}], r.platforms[t.Platform] = true, true
	}
	return r
}

// preferences are the preferred versions for the target.
func (o *Options) preferences() map[string]python.Version {
	out := map[string]python.Version{}
	for name, v := range o.Preferred {
		out[python.NormalizeName(name)] = v
	}
	for _, l := range o.Earlier {
		if l.Target.String() != o.Target.String() {
			continue
		}
		for _, p := range l.Packages {
			out[p.Name] = p.Version
		}
	}
	return out
}

// mayStay reports whether a version of a project that was there before may be
// kept.
func (r *rules) mayStay(name string) bool {
	if r.upgrade[name] || r.options.Upgrade == UpgradeAll {
		return false
	}
	d := r.direct[name]
	return r.options.Upgrade != UpgradeRequested || d == nil || !d.required
}

// normalized are names as they are compared; ":all:" stays what it is.
func normalized(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = python.NormalizeName(n)
	}
	return out
}

// universe judges each version of a project.
func (r *rules) universe(project string, listed *listing, missing *index.NotFoundError) *universe {
	u := &universe{project: project, missing: missing, versions: make([]*candidate, len(listed.versions))}
	d := r.direct[project]
	block := make([]candidate, len(listed.versions))
	j := r.judge(project, listed, d)
	r.mu.Lock()
	for i, v := range listed.versions {
		c := &block[i]
		c.version, c.of, c.place, c.best = v, listed, i, -1
		j.version(c)
		u.versions[i] = c
	}
	r.mu.Unlock()
	if installed, ok := r.options.Installed[project]; ok && (d == nil || d.file == nil) {
		u.install(installed)
	}
	return u
}

// install adds the installed version, or marks it where an index has it too.
func (u *universe) install(installed Installed) {
	u.missing = nil
	i, found := slices.BinarySearchFunc(u.versions, installed.Version, func(c *candidate, v python.Version) int { return c.version.Compare(v) })
	if !found {
		u.versions = slices.Insert(u.versions, i, &candidate{})
	}
	// Whatever is wrong with the files: this one works here.
	u.versions[i] = &candidate{version: installed.Version, installed: &installed}
}

// pre is the rule for pre-releases of a project.
func (r *rules) pre(project string) Pre {
	switch r.flags.PrereleasesOf(project) {
	case python.PrereleasesAllow:
		return PreAllow
	case python.PrereleasesDeny:
		return PreDeny
	}
	if d := r.direct[project]; r.options.Pre == PreIfNamed && d != nil && d.named {
		return PreAllow
	}
	return r.options.Pre
}

// pinsVersion reports whether the user, or a dependency that counts as much,
// pins just this version, which is what allows a yanked file (PEP 592: "if the
// only version that matches").
func (d *demand) pinsVersion(v python.Version) bool {
	if d == nil {
		return false
	}
	if d.file != nil {
		return true
	}
	pinned := func(s python.Specifiers) bool { return s.Contains(v) }
	return slices.ContainsFunc(d.pins, pinned) || slices.ContainsFunc(d.admitted, pinned)
}

// isPin reports whether specifiers leave one version.
func isPin(s python.Specifiers) bool {
	return slices.ContainsFunc(s, func(c python.Specifier) bool {
		return c.Op == "===" || c.Op == "==" && !c.Prefix()
	})
}
