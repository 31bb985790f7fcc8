package resolve

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// hint says what would help against the premises of a derivation. Of the
// packages that something can be said about the first counts, and of its
// versions the newest: nobody wants to be told about those of ten years ago.
func (r *reporter) hint() string {
	var best *premise
	var newest *candidate
	for i := range r.premises {
		f := &r.premises[i]
		if f.kind == required || f.kind == depends {
			if f.to.missing != nil {
				return f.to.missing.Hint()
			}
			continue
		}
		if f.kind != unusable || best != nil && best.to != f.to {
			continue
		}
		c := f.to.newestIn(f.versions)
		// That there is something newer than the user wants is no surprise.
		minor := f.reason.kind == tooNew
		if best == nil || best.reason.kind == tooNew || !minor && c.version.Compare(newest.version) > 0 {
			best, newest = f, c
		}
	}
	if best == nil {
		return ""
	}
	return r.advice(best, newest)
}

// advice is what can be done about versions that cannot be used.
func (r *reporter) advice(f *premise, c *candidate) string {
	name := fmt.Sprintf("%s %s", f.to.name, c.version)
	switch f.reason.kind {
	case onlySdist, hiddenMetadata:
		return fmt.Sprintf("nothing is built from source here: build a wheel once (pip wheel --no-deps %s==%s) and give its folder with --find-links%s",
			f.to.name, c.version, r.otherVersion(f, c))
	case sdistForbidden:
		return fmt.Sprintf("%s, so that %s is built from its sdist%s", r.allowSdist(f.to.name), name, r.otherVersion(f, c))
	case sdistFormat:
		return fmt.Sprintf("build a wheel of it once (pip wheel --no-deps %s==%s) and give its folder with --find-links%s", f.to.name, c.version, r.otherVersion(f, c))
	case wrongInterpreter, wrongPlatform:
		return fmt.Sprintf("%s has wheels %s%s", name, r.wheelsElsewhere(f.to.name, c), r.otherVersion(f, c))
	case wrongPython:
		return fmt.Sprintf("choose a base with Python %s%s", f.reason.detail, r.otherVersion(f, c))
	case yanked:
		return fmt.Sprintf("a yanked version is taken only where a requirement of your own pins it: %s==%s", f.to.name, c.version)
	case undated:
		return "this index does not say when files were uploaded, so newer ones cannot be excluded; leave out --exclude-newer, or use an index that does"
	case tooNew:
		return r.admit(name, c)
	case otherHash:
		return fmt.Sprintf("add the --hash of a wheel of %s that fits %s", name, r.target())
	case preRelease:
		return "allow pre-releases with --pre"
	case notHashed:
		return fmt.Sprintf("add %s==%s with its --hash to the requirements", f.to.name, c.version)
	case foreignURL:
		return fmt.Sprintf("if you trust it, add it to the requirements: %s", f.reason.detail)
	case sourceOnly:
		return fmt.Sprintf("leave %s out of --no-binary", f.to.name)
	}
	return ""
}

// admit says which --exclude-newer would let a version in.
func (r *reporter) admit(name string, c *candidate) string {
	var first time.Time
	for i := range c.of.length(c.place) {
		if at := c.of.facts(c.place, i).uploaded; first.IsZero() || !at.IsZero() && at.Before(first) {
			first = at
		}
	}
	return fmt.Sprintf("%s was uploaded at %s: a later --exclude-newer would admit it", name, first.UTC().Format("2006-01-02T15:04:05Z"))
}

// wheelsElsewhere says what the wheels of a version are for and what can be done
// about it: choose such a target, or build its sdist where it has one.
func (r *reporter) wheelsElsewhere(name string, c *candidate) string {
	where, choose := elsewhere{r.rules, name, c}.change()
	var ways []string
	if choose != "" {
		ways = append(ways, choose)
	}
	for i := range c.of.length(c.place) {
		if c.of.facts(c.place, i).kind != index.Sdist {
			continue
		}
		if !r.options.Build {
			ways = append(ways, "build one from its sdist once and give its folder with --find-links")
		} else if !r.rules.flags.AllowsSdists(name) {
			ways = append(ways, r.allowSdist(name)+", so that one is built from its sdist")
		}
		break
	}
	if len(ways) == 0 {
		return where
	}
	return where + ": " + strings.Join(ways, ", or ")
}

// allowSdist says how --only-binary would no longer hold for a project.
func (r *reporter) allowSdist(name string) string {
	if slices.Contains(r.rules.flags.OnlyBinary, name) {
		return fmt.Sprintf("leave %s out of --only-binary", name)
	}
	return "leave out --only-binary"
}

func (r *reporter) target() python.Target { return r.options.Target }

// newestIn is the newest candidate of a set, a final release if there is one.
func (p *pkg) newestIn(s set) *candidate {
	var best *candidate
	for i, c := range p.versions {
		if s.has(i) && (best == nil || !c.version.IsPrerelease() || best.version.IsPrerelease()) {
			best = c
		}
	}
	return best
}

// otherVersion names the nearest newer version that could be used, or else the
// newest older one.
func (r *reporter) otherVersion(f *premise, c *candidate) string {
	q := f.to
	may := func(i int) bool { return !f.versions.has(i) && q.versions[i].usable() }
	best := -1
	for i, x := range q.versions {
		if x.version.Compare(c.version) > 0 && may(i) && !x.version.IsPrerelease() {
			best = i
			break
		}
	}
	if best < 0 {
		best = newest(r.rules, q.universe, may)
	}
	if best < 0 {
		return ""
	}
	return fmt.Sprintf("; %s %s could be used as it is", q.name, q.versions[best].version)
}
