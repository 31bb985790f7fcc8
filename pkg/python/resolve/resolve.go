// Package resolve finds versions that go together.
//
// In go the requirements and constraints of the user, a target (a Python on a
// platform), and an index; out comes a [python.Lock] that names for each
// package one version and one wheel with its hash, so that installing needs no
// index; or an [*UnsatisfiableError] that tells in sentences why there is none,
// and what would help.
//
// The search is PubGrub over the finite sets of versions that the indexes list,
// and version specifiers are evaluated on each of them, so that "==1.*", "===",
// "!=" and local versions mean exactly what PEP 440 says. Extras are packages of
// their own that need their project at the same version. The newest version
// that fits is preferred, final releases before pre-releases. The result does
// not depend on the order in which servers answer.
//
// An sdist stands for a version that has no wheel for the target, where the
// caller can build ([Options.Build]); it is asked for its metadata only when
// the search is about to choose it, since that may mean to build it. Elsewhere
// such a version cannot be used, and the explanation says so.
package resolve

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// Source is where files come from; *index.Client is one. Project answers with
// *index.NotFoundError for a name that is not known.
type Source interface {
	Direct(rawURL string) (index.File, error)
	Project(ctx context.Context, name string) ([]index.File, error)
	Metadata(ctx context.Context, f index.File) (python.Metadata, error)
	Fetch(ctx context.Context, w python.File) (index.Blob, error)
}

// Lister is what a Source can be beside, as *index.Client is: its projects are
// then judged by their entries, which is much faster, and pages that it held
// for fresh are asked for again before it is said that there is no answer.
type Lister interface {
	Listing(ctx context.Context, name string) (*index.Listing, error)
	Refresh(ctx context.Context, name string) (asked bool, err error)
}

// Options are the question. Target, Source and Requirements are needed.
type Options struct {
	Target       python.Target
	Source       Source
	Requirements []python.FileRequirement
	// Constraints limit the versions of packages without requiring them.
	Constraints []python.FileRequirement
	// Overrides replace whatever anybody requires of the packages that they
	// name, extras and markers included: what is wanted of a package is then all
	// of its overrides whose markers hold, and nothing where none does. They
	// require nothing by themselves. (uv, "override-dependencies")
	Overrides []python.FileRequirement

	// Installed are the distributions of the base, by normalized name. One that
	// fits is kept, as pip does, and is then in Resolution.Kept.
	Installed map[string]Installed
	// Preferred are versions to take when they fit, by normalized name: those
	// of an earlier lock. One that was yanked since stays, and so does a
	// pre-release, unless PreDeny holds for it.
	Preferred map[string]python.Version
	// Earlier are the locks of an earlier resolution. The versions of the one for
	// the same target are preferred to those of Preferred.
	Earlier []python.Lock
	// Upgrade and UpgradePackages say for which packages Installed, Preferred
	// and Earlier count for nothing. UpgradePackages are names, with a version
	// specifier ("a", "a==2.0") that then constrains the package.
	Upgrade         Upgrade
	UpgradePackages []string

	Pre Pre

	ExcludeNewer time.Time // only files uploaded before; zero = all
	// StrictRequiresPython takes Requires-Python as a whole, as pip does. By
	// default only its lower bound counts, as in uv: "<3.13" is a guess.
	StrictRequiresPython bool
	// IgnoreRequiresPython takes no notice of Requires-Python (pip's
	// --ignore-requires-python).
	IgnoreRequiresPython bool
	// YankedIfPinned takes a yanked version wherever something pins it (==), as
	// pip does. By default only a requirement of the user's does so, as in uv.
	YankedIfPinned bool
	// AllReleases and OnlyFinal are projects (or ":all:") for which another
	// rule than Pre holds: PreAllow, PreDeny.
	AllReleases, OnlyFinal []string
	// RequireHashes wants a version and a hash for everything in the
	// requirements, also for what these depend on. The hashes of a requirement
	// are held without it.
	RequireHashes bool
	// Build says that a wheel can be built from an sdist, so that an sdist may
	// stand for a version without a wheel that fits.
	Build bool
	// NoBinary are projects (or ":all:") whose wheels must not be used, so that
	// they can be had only with Build; OnlyBinary those whose sdists must not be.
	// What is said of a project wins over ":all:".
	NoBinary, OnlyBinary []string
	// PreferBinary takes an older version that has a wheel before a newer one
	// that has only an sdist (pip install --prefer-binary).
	PreferBinary bool
	// NoDependencies leaves out what the requirements depend on.
	NoDependencies bool

	Concurrency int // requests at a time; 0 = 24
	Log         *slog.Logger

	// align are versions to take when nothing else is preferred: those of the
	// other targets, the most wanted first.
	align map[string][]python.Version
}

// Installed is a distribution that is there already.
type Installed struct {
	Version  python.Version
	Requires []python.Requirement // its Requires-Dist
}

// Upgrade says which installed or preferred versions may stay.
type Upgrade uint8

// The ways to upgrade.
const (
	UpgradeNeeded    Upgrade = iota // only what does not fit: pip install
	UpgradeRequested                // what the requirements name: pip install --upgrade
	UpgradeAll                      // everything: --upgrade-strategy eager
)

// Pre is the rule for pre-releases.
type Pre uint8

// The rules for pre-releases.
const (
	// PreIfNecessary takes one only where no final release fits (uv).
	PreIfNecessary Pre = iota
	// PreIfNamed takes the newest version, pre-release or not, of projects
	// for which a requirement of the user's names a pre-release
	// ("a>=1.0b1"), and is PreIfNecessary for the others (pip).
	PreIfNamed
	// PreAllow makes no difference between the two (pip install --pre).
	PreAllow
	// PreDeny uses none.
	PreDeny
)

// Resolution is the answer.
type Resolution struct {
	// Lock are the packages to install, each with its wheel or its sdist.
	Lock python.Lock
	// Kept are the installed distributions that fit and stay, without a wheel.
	Kept []python.Locked

	warnings []string
}

// defaultConcurrency is enough to hide the latency of an index without being
// rude to it.
const defaultConcurrency = 24

// Resolve answers. The error is an *UnsatisfiableError when no versions go
// together, a *RequirementError when a requirement cannot be used at all, and
// otherwise what kept the index from answering: a *NeededError when that was
// asked about a package on the way.
func Resolve(ctx context.Context, o Options) (Resolution, error) {
	if err := o.complete(); err != nil {
		return Resolution{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	l := newLibrary(ctx, &o)
	// The look-ahead must not outlive the call.
	defer l.wait()
	defer cancel()
	r, err := resolve(ctx, o, l)
	o.report(r)
	return r, err
}

// report warns of what was found on the way to the answers, each thing once.
func (o *Options) report(answers ...Resolution) {
	told := map[string]bool{}
	for _, r := range answers {
		for _, text := range r.warnings {
			if !told[text] {
				told[text] = true
				o.Log.Warn(text)
			}
		}
	}
}

// complete fills in what is left out, and takes the upgrades apart.
func (o *Options) complete() error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	o.Constraints = slices.Clip(o.Constraints)
	names := make([]string, 0, len(o.UpgradePackages))
	for _, text := range o.UpgradePackages {
		q, err := python.ParseRequirement(text)
		if err != nil || len(q.Extras) > 0 || q.URL != "" || !q.Marker.IsZero() {
			return &RequirementError{Requirement: text, Problem: "only a name and versions say what to upgrade"}
		}
		names = append(names, q.Key())
		if len(q.Specifiers) > 0 {
			o.Constraints = append(o.Constraints, python.FileRequirement{Requirement: q, File: "--upgrade-package"})
		}
	}
	o.UpgradePackages = names
	return nil
}

// resolve answers for one target out of a library that may serve several.
func resolve(ctx context.Context, o Options, l *library) (Resolution, error) {
	w, err := readWishes(&o)
	if err != nil {
		return Resolution{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for try := 1; ; try++ {
		p := newProvider(ctx, &o, w, l)
		err := p.solve(ctx)
		if err == nil {
			return p.resolution(ctx)
		}
		if errors.Is(err, errYankedPin) {
			w.demands = p.admitting
			try--
			continue
		}
		var unsatisfiable *UnsatisfiableError
		if !errors.As(err, &unsatisfiable) || try == maxTries || !l.refresh(unsatisfiable.projects()) {
			return Resolution{}, err
		}
	}
}

// maxTries bounds how often it is tried to find what was released since the
// pages were read that are the reason for there being no answer.
const maxTries = 3
