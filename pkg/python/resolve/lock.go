package resolve

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// resolution writes down what was decided.
func (p *provider) resolution(ctx context.Context) (Resolution, error) {
	out := Resolution{Lock: python.Lock{Target: p.options.Target}}
	required, err := p.requiredBy()
	if err != nil {
		return Resolution{}, err
	}
	var chosen []*candidate
	for _, q := range p.pkgs {
		i, ok := p.decided(q)
		if !ok || q.base != nil {
			continue
		}
		c := q.versions[i]
		l := python.Locked{Name: q.name, Version: c.version, RequiredBy: required[q.name], Extras: p.extras(q, c)}
		if d := p.demands[q.name]; d != nil {
			l.Requested = d.required
		}
		if c.installed != nil {
			out.Kept = append(out.Kept, l)
			continue
		}
		f := c.file().Locked()
		if m, err := p.loader.file(c.file()).get(); err == nil && f.RequiresPython == "" {
			f.RequiresPython = m.RequiresPython.String()
		}
		if c.isSdist() {
			l.Sdist = f
		} else {
			l.Wheel = f
		}
		if c.file().Yanked {
			p.warn("%s %s was yanked: %s", q.name, c.version, yankedBecause(c.file()))
		}
		out.Lock.Packages = append(out.Lock.Packages, l)
		chosen = append(chosen, c)
	}
	if err := p.complete(ctx, out.Lock.Packages, chosen); err != nil {
		return Resolution{}, err
	}
	byName := func(a, b python.Locked) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(out.Lock.Packages, byName)
	slices.SortFunc(out.Kept, byName)
	out.warnings = p.warnings
	return out, nil
}

func yankedBecause(f *index.File) string {
	if f.YankedReason == "" {
		return "no reason is given"
	}
	return strings.TrimSpace(f.YankedReason)
}

// extras are the extras of a project that were asked for. One that the version
// does not have is no error (pip and uv agree), but hardly meant.
func (p *provider) extras(q *pkg, c *candidate) []string {
	var out []string
	for _, x := range q.with {
		if _, ok := p.decided(x); !ok {
			continue
		}
		out = append(out, x.extra)
		if c.installed != nil {
			continue
		}
		m, err := p.loader.file(c.file()).get()
		if err == nil && !slices.ContainsFunc(m.ProvidesExtra, func(e string) bool { return python.NormalizeExtra(e) == x.extra }) {
			p.warn("%s %s has no extra %q", q.name, c.version, x.extra)
		}
	}
	slices.Sort(out)
	return out
}

// requiredBy maps each project to those that depend on it.
func (p *provider) requiredBy() (map[string][]string, error) {
	seen := map[string]map[string]bool{}
	for _, q := range p.pkgs {
		i, ok := p.decided(q)
		if !ok {
			continue
		}
		d, err := p.dependencies(q.versions[i], q.extra)
		if err != nil {
			return nil, err
		}
		for _, need := range d.list {
			name := need.Key()
			if seen[name] == nil {
				seen[name] = map[string]bool{}
			}
			if name != q.name {
				seen[name][q.name] = true
			}
		}
	}
	out := map[string][]string{}
	for name, by := range seen {
		out[name] = slices.Sorted(maps.Keys(by))
	}
	return out, nil
}

// complete gets the files of which the index gave no sha256, so that the lock
// has one for each, and those that must be compared with the user's hashes.
func (p *provider) complete(ctx context.Context, locked []python.Locked, chosen []*candidate) error {
	var all sync.WaitGroup
	errs := make([]error, len(locked))
	slots := make(chan struct{}, p.options.Concurrency)
	for i := range locked {
		w := &locked[i].Wheel
		if chosen[i].isSdist() {
			w = &locked[i].Sdist
		}
		if w.Hashes["sha256"] != "" && !chosen[i].unproven {
			continue
		}
		var allowed []string
		if d := p.demands[locked[i].Name]; d != nil && chosen[i].unproven {
			allowed = d.hashes
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = p.prove(ctx, w, allowed)
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("lock %s %s: %w", locked[i].Name, locked[i].Version, err)
		}
	}
	return nil
}

// prove fetches a file, compares it with the hashes that are allowed, if any,
// and notes its sha256 and size.
func (p *provider) prove(ctx context.Context, w *python.File, allowed []string) error {
	blob, err := p.loader.source.Fetch(ctx, *w)
	if err != nil {
		return err
	}
	if allowed != nil {
		if err := proveHash(blob.Path, w.Filename, allowed); err != nil {
			return err
		}
	}
	hashes := maps.Clone(w.Hashes)
	if hashes == nil {
		hashes = map[string]string{}
	}
	hashes["sha256"] = blob.Hash.Hex
	w.Hashes, w.Size = hashes, blob.Size
	return nil
}

func proveHash(path, filename string, allowed []string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sums := map[string]hash.Hash{"sha256": sha256.New(), "sha384": sha512.New384(), "sha512": sha512.New()}
	if _, err := io.Copy(io.MultiWriter(sums["sha256"], sums["sha384"], sums["sha512"]), f); err != nil {
		return err
	}
	for _, a := range allowed {
		algorithm, value, _ := strings.Cut(a, ":")
		if h := sums[algorithm]; h != nil && hex.EncodeToString(h.Sum(nil)) == strings.ToLower(value) {
			return nil
		}
	}
	return &index.HashError{
		Subject: filename, Algorithm: "sha256", Got: hex.EncodeToString(sums["sha256"].Sum(nil)),
		Want: "one of " + strings.Join(allowed, ", "),
	}
}
