package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
)

// TestAgreesWithExhaustiveSearch compares with trying everything, in small
// random worlds: whether there is an answer, and that the answer is one.
func TestAgreesWithExhaustiveSearch(t *testing.T) {
	const worlds, packages, versions = 1500, 5, 3
	solved := 0
	for seed := range worlds {
		random := rand.New(rand.NewPCG(uint64(seed), 1))
		w := randomWorld(t, random, packages, versions)
		r, err := resolve.Resolve(context.Background(), resolve.Options{Target: target(t, "3.13", "amd64", "glibc", 28), Source: w.source, Requirements: w.requires})
		var unsatisfiable *resolve.UnsatisfiableError
		if err != nil && !errors.As(err, &unsatisfiable) {
			t.Fatalf("world %d: %v", seed, err)
		}
		want := w.solvable(map[string]string{}, w.requires)
		if want != (err == nil) {
			t.Fatalf("world %d: solvable %t, but %v\n%s", seed, want, err, w)
		}
		if err == nil {
			solved++
			if problem := w.check(pins(r)); problem != "" {
				t.Fatalf("world %d: %s is no answer: %s\n%s", seed, answer(r), problem, w)
			}
		}
	}
	if solved < worlds/10 || solved > worlds*9/10 {
		t.Errorf("%d of %d worlds have an answer: too one-sided a test", solved, worlds)
	}
}

// smallWorld is a world of projects without extras.
type smallWorld struct {
	source   *memory
	requires []python.FileRequirement
	versions int
}

func randomWorld(t *testing.T, random *rand.Rand, packages, versions int) *smallWorld {
	w := &smallWorld{source: &memory{}, versions: versions}
	need := func() string {
		return fmt.Sprintf("p%d%s%d", random.IntN(packages), []string{"==", "!=", "<", ">=", "<="}[random.IntN(5)], random.IntN(versions))
	}
	for p := range packages {
		for v := range versions {
			var requires []string
			for range random.IntN(3) {
				requires = append(requires, need())
			}
			w.source.add(t, fmt.Sprintf("p%d", p), fmt.Sprint(v), requires...)
		}
	}
	for range 1 + random.IntN(3) {
		w.requires = append(w.requires, requirement(t, need()))
	}
	return w
}

func (w *smallWorld) requirements(name, version string) []python.FileRequirement {
	var out []python.FileRequirement
	for _, q := range w.source.metadata[name+"-"+version+"-py3-none-any.whl"].RequiresDist {
		out = append(out, python.FileRequirement{Requirement: q})
	}
	return out
}

func meets(q python.FileRequirement, version string) bool {
	return q.Requirement.Specifiers.Matches(version, python.PrereleasesAllow)
}

// solvable tries every version of every package that is required.
func (w *smallWorld) solvable(chosen map[string]string, open []python.FileRequirement) bool {
	if len(open) == 0 {
		return true
	}
	name := open[0].Requirement.Key()
	if v, ok := chosen[name]; ok {
		return meets(open[0], v) && w.solvable(chosen, open[1:])
	}
	for v := range w.versions {
		v := fmt.Sprint(v)
		if !meets(open[0], v) {
			continue
		}
		chosen[name] = v
		if w.solvable(chosen, append(w.requirements(name, v), open[1:]...)) {
			return true
		}
		delete(chosen, name)
	}
	return false
}

// check says what is wrong with an answer: something unmet, or not needed.
func (w *smallWorld) check(pins map[string]string) string {
	needed := map[string]bool{}
	var visit func(q python.FileRequirement) string
	visit = func(q python.FileRequirement) string {
		name := q.Requirement.Key()
		v, ok := pins[name]
		if !ok || !meets(q, v) {
			return q.Requirement.String() + " is not met"
		}
		if needed[name] {
			return ""
		}
		needed[name] = true
		for _, next := range w.requirements(name, v) {
			if problem := visit(next); problem != "" {
				return problem
			}
		}
		return ""
	}
	for _, q := range w.requires {
		if problem := visit(q); problem != "" {
			return problem
		}
	}
	if len(needed) != len(pins) {
		return "more than is needed"
	}
	return ""
}

func (w *smallWorld) String() string {
	var b strings.Builder
	for _, q := range w.requires {
		fmt.Fprintf(&b, "required: %s\n", q.Requirement)
	}
	for name, m := range w.source.metadata {
		fmt.Fprintf(&b, "%s: %v\n", name, m.RequiresDist)
	}
	return b.String()
}
