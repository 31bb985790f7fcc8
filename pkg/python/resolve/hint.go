package resolve

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
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
	case onlySdist:
		return fmt.Sprintf("nothing is built from source here: build a wheel once (pip wheel --no-deps %s==%s) and give its folder with --find-links%s",
			f.to.name, c.version, r.otherVersion(f))
	case wrongInterpreter:
		return fmt.Sprintf("%s has wheels for %s: choose a base with such a Python%s", name, pythonTags(c.tags), r.otherVersion(f))
	case wrongPlatform:
		return fmt.Sprintf("%s has wheels for %s: %s%s", name, platformTags(c.tags), r.otherPlatform(c.tags), r.otherVersion(f))
	case wrongPython:
		return fmt.Sprintf("choose a base with Python %s%s", f.reason.detail, r.otherVersion(f))
	case yanked:
		return fmt.Sprintf("a yanked version is taken only where a requirement of your own pins it: %s==%s", f.to.name, c.version)
	case undated:
		return "this index does not say when files were uploaded, so newer ones cannot be excluded; leave out --exclude-newer, or use an index that does"
	case tooNew:
		return "a later --exclude-newer would admit it"
	case otherHash:
		return fmt.Sprintf("add the --hash of a wheel of %s that fits %s", name, r.target())
	case preRelease:
		return "allow pre-releases with --pre"
	case notHashed:
		return fmt.Sprintf("add %s==%s with its --hash to the requirements", f.to.name, c.version)
	case foreignURL:
		return fmt.Sprintf("if you trust it, add it to the requirements: %s", f.reason.detail)
	}
	return ""
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

// otherVersion names a version that could be used, if there is one.
func (r *reporter) otherVersion(f *premise) string {
	q := f.to
	i := newest(r.rules, q.universe, func(i int) bool { return !f.versions.has(i) && q.versions[i].usable() })
	if i < 0 {
		return ""
	}
	return fmt.Sprintf("; %s %s could be used as it is", q.name, q.versions[i].version)
}

// otherPlatform says what kind of base the wheels are for.
func (r *reporter) otherPlatform(tags []python.Tag) string {
	libc := r.target().Libc.Name
	for _, t := range tags {
		if libc == "musl" && strings.HasPrefix(t.Platform, "manylinux") {
			return "choose a base with glibc (Debian, not Alpine)"
		}
		if libc == "glibc" && strings.HasPrefix(t.Platform, "musllinux") {
			return "choose a base with musl (Alpine)"
		}
	}
	return "choose such a base or platform"
}

// maxTags is how many tags are named before the rest is counted.
const maxTags = 8

// pythonTags names the interpreters of tags: "CPython 3.8, 3.9 and 3.10".
func pythonTags(tags []python.Tag) string {
	var minors []int
	var others []string
	for _, t := range tags {
		minor, ok := strings.CutPrefix(t.Python, "cp3")
		if n, err := strconv.Atoi(minor); ok && err == nil {
			minors = append(minors, n)
		} else {
			others = append(others, t.Python)
		}
	}
	slices.Sort(minors)
	var names []string
	for _, n := range slices.Compact(minors) {
		names = append(names, fmt.Sprintf("3.%d", n))
	}
	if len(names) == 0 {
		return tagList(others)
	}
	return "CPython " + enumerate(names, "and")
}

// platformTags names the platforms of tags, those of Linux if there are any.
func platformTags(tags []python.Tag) string {
	var linux, others []string
	for _, t := range tags {
		if strings.Contains(t.Platform, "linux") {
			linux = append(linux, t.Platform)
		} else {
			others = append(others, t.Platform)
		}
	}
	if len(linux) > 0 {
		return tagList(linux)
	}
	return tagList(others)
}

func tagList(tags []string) string {
	slices.Sort(tags)
	tags = slices.Compact(tags)
	if more := len(tags) - maxTags; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(tags[:maxTags], ", "), more)
	}
	return enumerate(tags, "and")
}
