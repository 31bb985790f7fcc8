package resolve

import (
	"fmt"
	"slices"
	"strings"

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
	file      index.File // the best of its files; only when usable
	unproven  bool       // the file is to be compared with the user's hashes when it is here
	installed *Installed // the version that is installed already
	reason    reason     // why it cannot be used; zero = it can
	tags      []python.Tag
}

func (c *candidate) usable() bool { return c.reason.kind == 0 }

// reason is why a version cannot be used. Versions with equal reasons are told
// together.
type reason struct {
	kind   reasonKind
	detail string
}

type reasonKind uint8

// The kinds are in the order of the checks: of the files of a version, the one
// that got furthest tells what is wrong.
const (
	tooNew reasonKind = iota + 1
	undated
	wrongPython // Requires-Python
	onlySdist
	wrongInterpreter // no wheel for this Python
	wrongPlatform    // no wheel for this platform
	yanked
	otherHash
	preRelease
	badMetadata
	foreignURL
	sourceOnly // --no-binary
	notHashed  // not listed, where every file must be listed with a hash
)

// rules say which files of a project can be used. They are the same for the
// whole search.
type rules struct {
	target    python.Target
	tags      *python.TagSet
	pythons   map[string]bool // Python tags of the target
	abis      map[string]bool // and what else its tags are made of
	platforms map[string]bool
	options   *Options
	flags     python.RequirementsFile // those of the options that have lists of projects
	direct    map[string]*demand      // what the user says of a project
}

// demand is what requirements and constraints of the user say of one project.
type demand struct {
	pins     []python.Specifiers // those that pin a version
	hashes   []string            // allowed ones; nil = any
	file     *index.File         // a URL or a path instead of what the indexes have
	url      string              // as written
	required bool                // by a requirement, not only by a constraint
	named    bool                // some specifier names a pre-release
}

func newRules(o *Options, demands map[string]*demand) *rules {
	tags := o.Target.Tags()
	r := &rules{
		target: o.Target, tags: python.NewTagSet(tags), options: o, direct: demands,
		flags: python.RequirementsFile{
			NoBinary: normalized(o.NoBinary), OnlyBinary: normalized(o.OnlyBinary),
			AllReleases: normalized(o.AllReleases), OnlyFinal: normalized(o.OnlyFinal),
		},
		pythons: map[string]bool{}, abis: map[string]bool{}, platforms: map[string]bool{},
	}
	for _, t := range tags {
		r.pythons[t.Python], r.abis[t.ABI], r.platforms[t.Platform] = true, true, true
	}
	return r
}

// normalized are names as they are compared; ":all:" stays what it is.
func normalized(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = python.NormalizeName(n)
	}
	return out
}

// universe sorts the files of a project into versions and judges each.
func (r *rules) universe(project string, files []index.File, missing *index.NotFoundError) *universe {
	u := &universe{project: project, missing: missing}
	d := r.direct[project]
	if d != nil && d.file != nil {
		files, u.missing = []index.File{*d.file}, nil
	}
	byVersion := map[string][]index.File{}
	for _, f := range files {
		key := f.Version.Key()
		if byVersion[key] == nil {
			u.versions = append(u.versions, &candidate{version: f.Version})
		}
		byVersion[key] = append(byVersion[key], f)
	}
	slices.SortStableFunc(u.versions, func(a, b *candidate) int { return a.version.Compare(b.version) })
	for _, c := range u.versions {
		r.judge(project, c, byVersion[c.version.Key()], d)
	}
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

// judge picks the best file of a version: the most specific tag, then the
// highest build number, then the first place that lists it.
func (r *rules) judge(project string, c *candidate, files []index.File, d *demand) {
	best := -1
	for _, f := range files {
		why, rank := r.check(f, d)
		if f.Kind == index.Wheel {
			c.tags = append(c.tags, f.Wheel.Tags...)
		}
		if why.kind != 0 {
			if c.file.Filename == "" && why.kind > c.reason.kind {
				c.reason = why
			}
			continue
		}
		if c.file.Filename == "" || rank < best || rank == best && compareBuild(f.Wheel.Build, c.file.Wheel.Build) > 0 {
			c.file, best, c.reason = f, rank, reason{}
			c.unproven = d != nil && d.hashes != nil && !hashKnown(f, d.hashes)
		}
	}
	if c.file.Filename != "" && r.pre(project) == PreDeny && c.version.IsPrerelease() {
		c.reason = reason{kind: preRelease}
	}
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

// check says why a file cannot be used, or how well its tags fit.
func (r *rules) check(f index.File, d *demand) (why reason, rank int) {
	limit := r.options.ExcludeNewer
	pinned := d != nil && d.file != nil
	if !limit.IsZero() && !f.Local() && !pinned {
		if f.UploadTime.IsZero() {
			return reason{kind: undated}, 0
		}
		if !f.UploadTime.Before(limit) {
			return reason{tooNew, limit.UTC().Format("2006-01-02T15:04:05Z")}, 0
		}
	}
	if !r.python(f.Python) {
		return reason{wrongPython, f.Python.String()}, 0
	}
	if f.Kind != index.Wheel {
		return reason{kind: onlySdist}, 0
	}
	if !r.flags.AllowsWheels(f.Wheel.Name) {
		return reason{kind: sourceOnly}, 0
	}
	rank, ok := f.Wheel.Rank(r.tags)
	if !ok {
		return reason{kind: r.mismatch(f.Wheel.Tags)}, 0
	}
	if f.Yanked && !d.pinsVersion(f.Version) {
		return reason{yanked, f.YankedReason}, 0
	}
	if d != nil && d.hashes != nil && !hashAllowed(f, d.hashes) {
		return reason{kind: otherHash}, 0
	}
	return reason{}, rank
}

// mismatch names the part of the tags that does not fit: the platform, if that
// is all.
func (r *rules) mismatch(tags []python.Tag) reasonKind {
	for _, t := range tags {
		if r.pythons[t.Python] && r.abis[t.ABI] && !r.platforms[t.Platform] {
			return wrongPlatform
		}
	}
	return wrongInterpreter
}

// python reports whether a Requires-Python admits the target. Only its lower
// bound counts unless strict: upper bounds are guesses about Pythons that were
// not out yet, and would make the resolver fall back to older versions that
// merely had no such guess.
func (r *rules) python(s python.Specifiers) bool {
	if r.options.StrictRequiresPython {
		return s.Contains(r.target.Python)
	}
	for _, clause := range s {
		v := clause.Parsed()
		c := r.target.Python.Compare(v)
		switch clause.Op {
		case ">=", "~=", "==", "===":
			if !v.IsZero() && c < 0 {
				return false
			}
		case ">":
			if c <= 0 {
				return false
			}
		}
	}
	return true
}

// pinsVersion reports whether the user pins just this version, which is what
// allows a yanked file (PEP 592: "if the only version that matches").
func (d *demand) pinsVersion(v python.Version) bool {
	if d == nil {
		return false
	}
	if d.file != nil {
		return true
	}
	return slices.ContainsFunc(d.pins, func(s python.Specifiers) bool { return s.Contains(v) })
}

// isPin reports whether specifiers leave one version.
func isPin(s python.Specifiers) bool {
	return slices.ContainsFunc(s, func(c python.Specifier) bool {
		return c.Op == "===" || c.Op == "==" && !c.Prefix()
	})
}

// hashAllowed reports whether a file can be one of those with the given hashes:
// it is, or the index gives no hash to compare.
func hashAllowed(f index.File, allowed []string) bool {
	comparable := len(allowed) == 0 // two requirements without a hash in common
	for _, a := range allowed {
		algorithm, value, _ := strings.Cut(a, ":")
		if have, ok := f.Hashes[algorithm]; ok {
			comparable = true
			if have == value {
				return true
			}
		}
	}
	return !comparable
}

// hashKnown reports whether the index says that a file has one of the hashes.
func hashKnown(f index.File, allowed []string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool {
		algorithm, value, _ := strings.Cut(a, ":")
		return f.Hashes[algorithm] == value
	})
}

// compareBuild orders build tags: the digits as a number, then the rest (the
// binary distribution format, "File name convention"); none comes first.
func compareBuild(a, b string) int {
	na, ra := splitBuild(a)
	nb, rb := splitBuild(b)
	if len(na) != len(nb) {
		return len(na) - len(nb)
	}
	if c := strings.Compare(na, nb); c != 0 {
		return c
	}
	return strings.Compare(ra, rb)
}

func splitBuild(s string) (digits, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	digits = strings.TrimLeft(s[:i], "0")
	if digits == "" && i > 0 {
		digits = "0"
	}
	return digits, s[i:]
}

// text tells the reason of versions as the end of a sentence about them.
func (r *rules) text(why reason, plural bool) string {
	has, needs, was, is := "has", "needs", "was", "is"
	if plural {
		has, needs, was, is = "have", "need", "were", "are"
	}
	switch why.kind {
	case tooNew:
		return fmt.Sprintf("%s not uploaded before %s", was, why.detail)
	case undated:
		return fmt.Sprintf("%s no upload time on the index, without which newer files cannot be excluded", has)
	case wrongPython:
		return fmt.Sprintf("%s Python %s (this is %s)", needs, why.detail, r.target.Python)
	case onlySdist:
		return has + " only an sdist and no wheel"
	case wrongInterpreter:
		return fmt.Sprintf("%s no wheel for %s", has, interpreter(r.target))
	case wrongPlatform:
		return fmt.Sprintf("%s no wheel for %s", has, platform(r.target))
	case yanked:
		if why.detail != "" {
			return fmt.Sprintf("%s yanked (%s)", was, strings.TrimSpace(why.detail))
		}
		return was + " yanked"
	case otherHash:
		return has + " no wheel with one of the hashes that are required"
	case preRelease:
		return map[bool]string{false: "is a pre-release", true: "are pre-releases"}[plural]
	case badMetadata:
		return fmt.Sprintf("%s metadata that cannot be used (%s)", has, why.detail)
	case foreignURL:
		return fmt.Sprintf("%s %s, and only your own requirements may name a URL", map[bool]string{false: "depends on", true: "depend on"}[plural], why.detail)
	case sourceOnly:
		return fmt.Sprintf("%s to be built from source (--no-binary), which is not done here", is)
	case notHashed:
		return is + " not among the requirements, which must list all packages with their hashes"
	}
	return is + " not usable"
}

func interpreter(t python.Target) string {
	text, _, _ := strings.Cut(t.String(), " on ")
	return text
}

func platform(t python.Target) string {
	_, text, _ := strings.Cut(t.String(), " on ")
	return text
}
