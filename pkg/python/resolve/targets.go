package resolve

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// maxRounds bounds the search for versions that all targets can share. Two
// rounds settle what usually differs; each further one pays only where the
// change of one package makes others change.
const maxRounds = 4

// ResolveAll answers for several targets at once: a complete lock for each, in
// their order, with o.Target left out of account. Pages and metadata are read
// once for all of them.
//
// Versions are the same wherever that is possible by taking for each package a
// version that one of the targets chose: of those the oldest that a target can
// use with what else it has, as it is the newest that the most restricted
// target can have. So a package has two versions only where no chosen version
// fits all targets that need it (or where it would take a further round of
// changes in others than are tried), and never a version that no target would
// have by itself or in consequence of such a choice. A target does not build an
// sdist only to be like the others, and what an earlier lock says comes first.
// The answer depends on the order of the targets, and on nothing else but what
// the indexes have.
//
// The error is that of the first target that has no answer, and names it
// (UnsatisfiableError.Target).
func ResolveAll(ctx context.Context, o Options, targets []python.Target) ([]Resolution, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	l := newLibrary(ctx, &o)
	defer l.wait()
	defer cancel()
	best, err := resolveEach(ctx, o, targets, l, map[string][]python.Version{})
	if err != nil {
		return nil, err
	}
	now := best
	for range maxRounds {
		chosen := versionsOf(now)
		if len(chosen) == countVersions(chosen) {
			break // each package has one version
		}
		next, err := resolveEach(ctx, o, targets, l, chosen)
		if err != nil {
			return nil, err
		}
		if sameVersions(now, next) {
			break
		}
		now = next
		if countVersions(versionsOf(now)) < countVersions(versionsOf(best)) {
			best = now
		}
	}
	o.report(best...)
	return best, nil
}

// resolveEach resolves one target after the other. What is preferred, the most
// wanted first, grows by what each chooses.
func resolveEach(ctx context.Context, o Options, targets []python.Target, l *library, prefer map[string][]python.Version) ([]Resolution, error) {
	o.align = map[string][]python.Version{}
	for name, versions := range prefer {
		o.align[name] = slices.Clone(versions)
	}
	var out []Resolution
	for _, t := range targets {
		o.Target = t
		r, err := resolve(ctx, o, l)
		if err != nil {
			return nil, forTarget(err, t, len(targets))
		}
		out = append(out, r)
		for _, p := range r.Lock.Packages {
			if !slices.ContainsFunc(o.align[p.Name], p.Version.Equal) {
				o.align[p.Name] = append(o.align[p.Name], p.Version)
			}
		}
	}
	return out, nil
}

// forTarget says which of several targets an error is about.
func forTarget(err error, t python.Target, targets int) error {
	var unsatisfiable *UnsatisfiableError
	switch {
	case targets == 1:
		return err
	case errors.As(err, &unsatisfiable):
		unsatisfiable.Target = t
		return err
	}
	return fmt.Errorf("for %s: %w", t, err)
}

// versionsOf are the versions that were chosen of each package, oldest first.
func versionsOf(all []Resolution) map[string][]python.Version {
	out := map[string][]python.Version{}
	for _, r := range all {
		for _, p := range r.Lock.Packages {
			i, found := slices.BinarySearchFunc(out[p.Name], p.Version, python.Version.Compare)
			if !found {
				out[p.Name] = slices.Insert(out[p.Name], i, p.Version)
			}
		}
	}
	return out
}

func countVersions(chosen map[string][]python.Version) int {
	n := 0
	for _, versions := range chosen {
		n += len(versions)
	}
	return n
}

func sameVersions(a, b []Resolution) bool {
	for i := range a {
		if !slices.EqualFunc(a[i].Lock.Packages, b[i].Lock.Packages, func(x, y python.Locked) bool {
			return x.Name == y.Name && x.Version.Equal(y.Version)
		}) {
			return false
		}
	}
	return true
}
