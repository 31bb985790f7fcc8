package python

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Lock is a resolution for one target: every package with the wheel that was
// chosen, or the sdist to build one from. It is complete: no index is needed to
// install from it.
type Lock struct {
	Target   Target
	Packages []Locked // sorted by name, each name once
}

// Locked is a package of a lock.
type Locked struct {
	Name    string // normalized
	Version Version
	// Wheel is what is installed. It is zero where no wheel fits: then Sdist is
	// what one is built from.
	Wheel, Sdist File
	RequiredBy   []string // normalized names of packages, sorted; empty when only asked for
	Requested    bool     // asked for by the user (PEP 376, REQUESTED)
	Extras       []string // normalized, sorted: those of its extras that are installed too
}

// File is where a wheel or an sdist is, and what must be true of it.
type File struct {
	Filename       string
	URL            string            // without user information
	Hashes         map[string]string // algorithm → lower-case hex; at least one that is safe
	Size           int64             // bytes; 0 = not known
	RequiresPython string            // as the index says it (PEP 503); "" = any
	Yanked         string            // the reason (PEP 592), which may be empty
	IsYanked       bool
	UploadTime     time.Time // PEP 700; zero = not known
}

// Lookup returns the package of a name, normalized or not.
func (l Lock) Lookup(name string) (Locked, bool) {
	name = NormalizeName(name)
	i, ok := slices.BinarySearchFunc(l.Packages, name, func(p Locked, name string) int { return strings.Compare(p.Name, name) })
	if !ok {
		return Locked{}, false
	}
	return l.Packages[i], true
}

// Sort brings packages and the lists in them into their order.
func (l *Lock) Sort() {
	slices.SortFunc(l.Packages, func(a, b Locked) int { return strings.Compare(a.Name, b.Name) })
	for i := range l.Packages {
		p := &l.Packages[i]
		slices.Sort(p.RequiredBy)
		p.RequiredBy = slices.Compact(p.RequiredBy)
		slices.Sort(p.Extras)
		p.Extras = slices.Compact(p.Extras)
	}
}

// Validate returns an error for a lock that cannot be installed safely: names
// out of order or twice, a wheel of another package or for another target, or
// one that is not known by a safe hash.
func (l Lock) Validate() error {
	if err := l.Target.Validate(); err != nil {
		return err
	}
	supported := NewTagSet(l.Target.Tags())
	for i, p := range l.Packages {
		if i > 0 && l.Packages[i-1].Name >= p.Name {
			return fmt.Errorf("lock: %s is not in order", p.Name)
		}
		if err := p.validate(supported); err != nil {
			return fmt.Errorf("lock: %s %s: %w", p.Name, p.Version, err)
		}
	}
	return nil
}

func (p Locked) validate(supported *TagSet) error {
	if !ValidName(p.Name) || p.Name != NormalizeName(p.Name) {
		return fmt.Errorf("the name is not normalized")
	}
	if p.Wheel.Filename == "" {
		return p.validateSdist()
	}
	w, err := ParseWheelName(p.Wheel.Filename)
	if err != nil {
		return err
	}
	if w.Name != p.Name || !w.Version.Equal(p.Version) {
		return fmt.Errorf("%s is a wheel of %s %s", p.Wheel.Filename, w.Name, w.Version)
	}
	if _, ok := w.Rank(supported); !ok {
		return fmt.Errorf("%s does not run on the target", p.Wheel.Filename)
	}
	return p.Wheel.validateHashes()
}

// validateSdist checks a package that is to be built.
func (p Locked) validateSdist() error {
	if p.Sdist.Filename == "" {
		return fmt.Errorf("neither a wheel nor an sdist is named")
	}
	name, version, err := ParseSdistName(p.Sdist.Filename)
	if err != nil {
		return err
	}
	if NormalizeName(name) != p.Name || !version.Equal(p.Version) {
		return fmt.Errorf("%s is an sdist of %s %s", p.Sdist.Filename, name, version)
	}
	return p.Sdist.validateHashes()
}

// validateHashes wants a hash that nobody can forge.
func (f File) validateHashes() error {
	safe := false
	for algorithm, digest := range f.Hashes {
		if hashSize(algorithm) == 0 {
			continue
		}
		if _, err := ParseHash(algorithm + ":" + digest); err != nil {
			return err
		}
		safe = true
	}
	if !safe {
		return fmt.Errorf("%s has no sha256, sha384 or sha512 hash", f.Filename)
	}
	return nil
}
