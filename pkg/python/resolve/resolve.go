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
// It builds nothing: a version that has only an sdist cannot be used, and the
// explanation says so.
package resolve

import (
	"context"
	"log/slog"
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

// Options are the question. Target, Source and Requirements are needed.
type Options struct {
	Target       python.Target
	Source       Source
	Requirements []python.FileRequirement
	// Constraints limit the versions of packages without requiring them.
	Constraints []python.FileRequirement

	// Installed are the distributions of the base, by normalized name. One that
	// fits is kept, as pip does, and is then in Resolution.Kept.
	Installed map[string]Installed
	// Preferred are versions to take when they fit, by normalized name: those
	// of an earlier lock.
	Preferred map[string]python.Version
	// Upgrade and UpgradePackages say for which packages Installed and
	// Preferred count for nothing.
	Upgrade         Upgrade
	UpgradePackages []string

	Pre Pre

	ExcludeNewer time.Time // only files uploaded before; zero = all
	// StrictRequiresPython takes Requires-Python as a whole, as pip does. By
	// default only its lower bound counts, as in uv: "<3.13" is a guess.
	StrictRequiresPython bool
	// AllReleases and OnlyFinal are projects (or ":all:") for which another
	// rule than Pre holds: PreAllow, PreDeny.
	AllReleases, OnlyFinal []string
	// RequireHashes wants a version and a hash for everything in the
	// requirements, also for what these depend on. The hashes of a requirement
	// are held without it.
	RequireHashes bool
	// NoBinary are projects (or ":all:") whose wheels must not be used, except
	// those in OnlyBinary. Nothing is built here, so such a project cannot be
	// used at all.
	NoBinary, OnlyBinary []string
	// NoDependencies leaves out what the requirements depend on.
	NoDependencies bool

	Concurrency int // requests at a time; 0 = 24
	Log         *slog.Logger
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
	// Lock are the packages to install, each with its wheel.
	Lock python.Lock
	// Kept are the installed distributions that fit and stay, without a wheel.
	Kept []python.Locked
}

// defaultConcurrency is enough to hide the latency of an index without being
// rude to it.
const defaultConcurrency = 24

// Resolve answers. The error is an *UnsatisfiableError when no versions go
// together, a *RequirementError when a requirement cannot be used at all, and
// otherwise what kept the index from answering.
func Resolve(ctx context.Context, o Options) (Resolution, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	roots, demands, err := readDemands(&o)
	if err != nil {
		return Resolution{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := newProvider(ctx, &o, roots, demands)
	// The look-ahead must not outlive the call.
	defer p.loader.wait()
	defer cancel()
	if err := p.solve(ctx); err != nil {
		return Resolution{}, err
	}
	return p.resolution(ctx)
}
