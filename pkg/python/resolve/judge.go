package resolve

import (
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// judge looks at the files of one project.
type judge struct {
	*rules
	project        string
	listed         *listing
	demand         *demand // nil = nobody says anything of the project
	wheels, sdists bool    // whether --no-binary and --only-binary allow them
	pre            Pre
	locked         python.Version // the one that stays though it was yanked since
}

func (r *rules) judge(project string, listed *listing, d *demand) *judge {
	j := &judge{
		rules: r, project: project, listed: listed, demand: d,
		wheels: r.flags.AllowsWheels(project), sdists: r.flags.AllowsSdists(project), pre: r.pre(project),
	}
	if r.mayStay(project) {
		j.locked = r.preferred[project]
	}
	return j
}

// version picks the best file of a version: the wheel with the most specific
// tag, then the highest build number, then the first place that lists it; an
// sdist where no wheel can be used.
func (j *judge) version(c *candidate) {
	for _, kind := range []index.Kind{index.Wheel, index.Sdist} {
		rank := 0
		for i := range j.listed.length(c.place) {
			f := j.listed.facts(c.place, i)
			if f.kind != kind {
				continue
			}
			why, at := j.check(&f, c, i)
			if why.kind != 0 {
				if c.best < 0 && why.kind > c.reason.kind {
					c.reason = why
				}
				continue
			}
			if c.best < 0 || at < rank || at == rank && kind == index.Wheel && j.newerBuild(c, i) {
				c.best, c.kind, c.reason, rank = i, kind, reason{}, at
			}
		}
		if c.best >= 0 {
			break
		}
	}
	if c.best < 0 {
		return
	}
	c.yanked = j.listed.facts(c.place, c.best).yanked
	if d := j.demand; d != nil && d.hashes != nil {
		c.unproven = !hashKnown(c.file(), d.hashes)
	}
	if c.version.IsPrerelease() && j.pre == PreDeny {
		c.reason = reason{kind: preRelease}
	}
}

// newerBuild reports whether a wheel is a newer build than the best so far.
func (j *judge) newerBuild(c *candidate, i int) bool {
	a, b := j.listed.file(c.place, i), j.listed.file(c.place, c.best)
	return a.Wheel.CompareBuild(b.Wheel) > 0
}

// check says why a file cannot be used, or how well it fits: the lower the
// rank the better.
func (j *judge) check(f *facts, c *candidate, i int) (why reason, rank int) {
	limit := j.options.ExcludeNewer
	given := j.demand != nil && j.demand.file != nil
	if !limit.IsZero() && !f.local && !given {
		if f.uploaded.IsZero() {
			return reason{kind: undated}, 0
		}
		if !f.uploaded.Before(limit) {
			return reason{tooNew, limit.UTC().Format("2006-01-02T15:04:05Z")}, 0
		}
	}
	v := remember(&j.pythonVerdict, f.pythonSet, func() verdict { return j.judgePython(f.python) })
	if v.why.kind != 0 {
		return v.why, 0
	}
	if f.kind == index.Sdist {
		v = j.judgeSdist(c, i)
	} else if !j.wheels {
		v = verdict{why: reason{kind: sourceOnly}}
	} else {
		v = remember(&j.tagVerdict, f.tagSet, func() verdict { return j.judgeTags(f.tags) })
	}
	if v.why.kind != 0 {
		return v.why, 0
	}
	if f.yanked && !j.demand.pinsVersion(c.version) && !j.locked.Equal(c.version) {
		file := j.listed.file(c.place, i)
		return reason{yanked, file.YankedReason}, 0
	}
	if d := j.demand; d != nil && d.hashes != nil {
		if file := j.listed.file(c.place, i); !hashAllowed(&file, d.hashes) {
			return reason{kind: otherHash}, 0
		}
	}
	return reason{}, v.rank
}

func (r *rules) judgePython(s python.Specifiers) verdict {
	if !r.python(s) {
		return verdict{why: reason{wrongPython, s.String()}}
	}
	return verdict{}
}

func (r *rules) judgeTags(tags []python.Tag) verdict {
	rank, ok := r.tags.Best(tags)
	if !ok {
		return verdict{why: reason{kind: r.mismatch(tags)}}
	}
	return verdict{rank: rank}
}

// judgeSdist prefers .tar.gz (PEP 625) to .zip; what a lock cannot name cannot
// be used.
func (j *judge) judgeSdist(c *candidate, i int) verdict {
	switch {
	case !j.options.Build:
		return verdict{why: reason{kind: onlySdist}}
	case !j.sdists:
		return verdict{why: reason{kind: sdistForbidden}}
	}
	f := j.listed.file(c.place, i)
	if name, v, err := python.ParseSdistName(f.Filename); err != nil || name != j.project || !v.Equal(c.version) {
		return verdict{why: reason{sdistFormat, f.Filename}}
	}
	if strings.HasSuffix(f.Filename, ".tar.gz") {
		return verdict{}
	}
	return verdict{rank: 1}
}

// mismatch names the part of the tags that does not fit: the platform, if that
// is all.
func (r *rules) mismatch(tags []python.Tag) reasonKind {
	for _, t := range tags {
		if r.interpreted[python.Tag{Python: t.Python, ABI: t.ABI}] && !r.platforms[t.Platform] {
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
	if r.options.IgnoreRequiresPython {
		return true
	}
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

// hashAllowed reports whether a file can be one of those with the given hashes:
// it is, or the index gives no hash to compare.
func hashAllowed(f *index.File, allowed []string) bool {
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
func hashKnown(f *index.File, allowed []string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool {
		algorithm, value, _ := strings.Cut(a, ":")
		return f.Hashes[algorithm] == value
	})
}
