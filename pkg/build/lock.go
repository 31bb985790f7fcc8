package build

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// lock resolves, or takes what an earlier build of the same inputs resolved.
func (p *installation) lock(ctx context.Context, client *index.Client, w *wanted, there []wheel.Distribution) (python.Lock, error) {
	o := resolve.Options{
		Target:          p.python.target,
		Source:          client,
		Requirements:    w.requirements,
		Constraints:     w.constraints,
		Installed:       map[string]resolve.Installed{},
		UpgradePackages: p.in.UpgradePackages,
		Upgrade:         upgrade(p.in),
		Pre:             resolve.PreIfNamed,
		// pip takes Requires-Python as a whole; uv only its lower bound.
		StrictRequiresPython: p.in.Tool == pip.Pip,
		IgnoreRequiresPython: p.in.IgnoreRequiresPython,
		YankedIfPinned:       p.in.Tool == pip.Pip,
		ExcludeNewer:         p.run.plan.Options.ExcludeNewer,
		RequireHashes:        w.config.RequireHashes.Value,
		NoBinary:             w.config.NoBinary,
		OnlyBinary:           w.config.OnlyBinary,
		AllReleases:          w.allReleases,
		OnlyFinal:            w.onlyFinal,
		NoDependencies:       p.in.NoDeps || p.in.Sync,
		PreferBinary:         w.config.PreferBinary.Value,
		Build:                true,
		Log:                  p.run.log(),
	}
	if o.ExcludeNewer.IsZero() {
		o.ExcludeNewer = w.config.ExcludeNewer.Value
	}
	switch {
	case w.config.Pre.Value:
		o.Pre = resolve.PreAllow
	case p.in.Tool == pip.UV:
		o.Pre = resolve.PreIfNecessary
	}
	if !p.in.ForceReinstall && !p.in.IgnoreInstalled && !p.in.Sync && !p.aside() {
		for _, d := range slices.Backward(there) { // the first on sys.path counts
			o.Installed[d.Key()] = resolve.Installed{Version: d.Version, Requires: d.Metadata.RequiresDist}
		}
		for _, name := range p.in.Reinstall {
			delete(o.Installed, python.NormalizeName(name))
		}
	}
	key, err := p.lockKey(ctx, o, w)
	if err != nil {
		return python.Lock{}, err
	}
	lock, known, err := p.onRecord(key)
	if err != nil || known && are(p.step.pinned, lock) {
		return lock, err
	}
	if len(p.step.pinned) > 0 {
		o.Constraints = slices.Concat(o.Constraints, p.step.pinned)
		if key, err = p.lockKey(ctx, o, w); err != nil {
			return python.Lock{}, err
		}
		if lock, known, err = p.onRecord(key); err != nil || known {
			return lock, err
		}
	}
	r, err := resolve.Resolve(ctx, o)
	if err != nil {
		return python.Lock{}, err
	}
	p.run.log().Info(fmt.Sprintf("resolved %s for %s: %s", packages(len(r.Lock.Packages)), p.python.target, versions(r.Lock)))
	kept := r.Lock
	kept.Packages = slices.Clone(kept.Packages)
	moveURLs(&kept, p.workURL(), imageWheels)
	return r.Lock, p.run.Store.SetRecord(key, kept)
}

// onRecord is the lock that is kept under a key.
func (p *installation) onRecord(key string) (lock python.Lock, known bool, err error) {
	if !p.reuse() {
		return lock, false, nil
	}
	if known, err = p.run.Store.Record(key, &lock); known && err == nil {
		p.run.log().Debug("dependencies are on record")
		moveURLs(&lock, imageWheels, p.workURL())
	}
	return lock, known, err
}

// imageWheels stands in records for the folder that wheels of the image are
// taken out to, which is another one in each build.
const imageWheels = "image:"

func (p *installation) workURL() string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(p.work)}).String()
}

// moveURLs replaces the beginning of the wheels' URLs.
func moveURLs(l *python.Lock, from, to string) {
	for i := range l.Packages {
		pkg := &l.Packages[i]
		for _, f := range []*python.File{&pkg.Wheel, &pkg.Sdist} {
			if rest, ok := strings.CutPrefix(f.URL, from); ok {
				f.URL = to + rest
			}
		}
	}
}

// reuse says whether what is on record may be used.
func (p *installation) reuse() bool {
	return !p.run.plan.Options.NoCache && !p.run.plan.Options.Pull
}

// lockKey stands for everything that a resolution depends on but the index's
// content: as with any builder's cache, that is asked again with --no-cache.
func (p *installation) lockKey(ctx context.Context, o resolve.Options, w *wanted) (string, error) {
	fallback, err := p.fallback(w.config)(ctx)
	if err != nil {
		return "", err
	}

	row := func(r python.FileRequirement) string {
		return fmt.Sprintf("%s %s %q", r.Requirement, strings.TrimPrefix(r.Path, p.work), r.Hashes)
	}
	var requirements, constraints, places []string
	for _, r := range o.Requirements {
		requirements = append(requirements, row(r))
	}
	for _, r := range o.Constraints {
		constraints = append(constraints, row(r))
	}
	for _, x := range w.config.Indexes(fallback) {
		places = append(places, x.URL) // only its digest is kept
	}
	for _, l := range w.config.FindLinks {
		places = append(places, strings.TrimPrefix(l.Value, p.work))
	}
	return keyOf("lock/5", []any{p.python.target.String(), requirements, constraints, places, p.taken, w.config.Pins, w.config.NoIndex.Value, w.config.Strategy.Value, o.Installed,
		o.Upgrade, o.UpgradePackages, o.Pre, o.StrictRequiresPython, o.IgnoreRequiresPython, o.YankedIfPinned, o.ExcludeNewer.Unix(), o.RequireHashes, o.NoBinary, o.OnlyBinary, o.AllReleases, o.OnlyFinal, o.NoDependencies, o.PreferBinary})
}

func upgrade(in *pip.Install) resolve.Upgrade {
	switch {
	case in.Upgrade && in.UpgradeStrategy == "eager":
		return resolve.UpgradeAll
	case in.Upgrade:
		return resolve.UpgradeRequested
	}
	return resolve.UpgradeNeeded
}

// versions lists what was resolved, the first few of a long list.
func versions(l python.Lock) string {
	const most = 12
	var names []string
	for i, pkg := range l.Packages {
		if i == most {
			return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), len(l.Packages)-most)
		}
		names = append(names, pkg.Name+" "+pkg.Version.String())
	}
	return strings.Join(names, ", ")
}

func packages(n int) string {
	if n == 1 {
		return "1 package"
	}
	return fmt.Sprintf("%d packages", n)
}
