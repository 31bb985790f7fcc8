package resolve_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
)

func TestResolveAll(t *testing.T) {
	amd, arm, old := target(t, "3.13", "amd64", "glibc", 28), target(t, "3.13", "arm64", "glibc", 28), target(t, "3.9", "amd64", "glibc", 28)
	const x86, aarch = "tag=cp313-cp313-manylinux_2_28_x86_64", "tag=cp313-cp313-manylinux_2_28_aarch64"
	tests := []struct {
		name     string
		world    []string
		requires string
		options  resolve.Options
		targets  []python.Target
		want     []string // an answer for each target
	}{
		{"the same", []string{"a 1.0: b", "b 1.0"}, "a", resolve.Options{}, []python.Target{amd, arm}, []string{"a==1.0 b==1.0", "a==1.0 b==1.0"}},
		{"the second can have less", []string{"a 1.0", "a 2.0 " + x86}, "a", resolve.Options{}, []python.Target{amd, arm}, []string{"a==1.0", "a==1.0"}},
		{"the first can have less", []string{"a 1.0", "a 2.0 " + aarch}, "a", resolve.Options{}, []python.Target{amd, arm}, []string{"a==1.0", "a==1.0"}},
		{"nothing that both can have", []string{"a 1.0 " + aarch, "a 2.0 " + x86}, "a", resolve.Options{}, []python.Target{amd, arm}, []string{"a==2.0", "a==1.0"}},
		{"Pythons", []string{"a 1.0", "a 2.0 python=>=3.10"}, "a", resolve.Options{}, []python.Target{amd, old, arm}, []string{"a==1.0", "a==1.0", "a==1.0"}},
		{"what depends on it follows", []string{"a 1.0: b==1.0", "a 2.0: b==2.0", "b 1.0", "b 2.0 " + x86}, "a", resolve.Options{}, []python.Target{amd, arm}, []string{"a==1.0 b==1.0", "a==1.0 b==1.0"}},
		{"three, and two agree", []string{"a 1.0 " + aarch, "a 2.0", "a 3.0 " + x86, "a 2.0 python=>=3.10", "a 3.0 python=>=3.10", "a 0.1"}, "a>=0", resolve.Options{}, []python.Target{amd, arm, old}, []string{"a==0.1", "a==0.1", "a==0.1"}},
		{"markers", []string{"a 1.0: b; platform_machine == 'aarch64'", "b 1.0"}, "a", resolve.Options{}, []python.Target{amd, arm}, []string{"a==1.0", "a==1.0 b==1.0"}},
		{"nothing is built only to be like others", []string{"a 1.0 " + aarch, "a 1.0 sdist", "a 2.0 " + x86}, "a", resolve.Options{Build: true}, []python.Target{amd, arm}, []string{"a==2.0", "a==1.0"}},
		{"preferred", []string{"a 1.0", "a 2.0"}, "a", resolve.Options{Preferred: map[string]python.Version{"a": version(t, "1.0")}}, []python.Target{amd, arm}, []string{"a==1.0", "a==1.0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := indextest.NewServer(t)
			makeWorld(t, s, tt.world...)
			o := tt.options
			o.Source = client(t, s)
			for _, text := range strings.Fields(tt.requires) {
				o.Requirements = append(o.Requirements, requirement(t, text))
			}
			all, err := resolve.ResolveAll(context.Background(), o, tt.targets)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, r := range all {
				got = append(got, answer(r))
				if r.Lock.Target.String() != tt.targets[i].String() {
					t.Errorf("lock %d is for %s", i, r.Lock.Target)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			paths := s.Paths()
			slices.Sort(paths)
			if n := len(paths); n != len(slices.Compact(paths)) {
				t.Errorf("something was asked for twice: %q", paths)
			}
		})
	}
}

func TestResolveAllNamesTheTarget(t *testing.T) {
	s := indextest.NewServer(t)
	makeWorld(t, s, "a 1.0 tag=cp313-cp313-manylinux_2_28_x86_64")
	targets := []python.Target{target(t, "3.13", "amd64", "glibc", 28), target(t, "3.13", "arm64", "glibc", 28)}
	_, err := resolve.ResolveAll(context.Background(), resolve.Options{Source: client(t, s), Requirements: []python.FileRequirement{requirement(t, "a")}}, targets)
	var unsatisfiable *resolve.UnsatisfiableError
	if !errors.As(err, &unsatisfiable) || unsatisfiable.Target.Arch != "arm64" || !strings.HasPrefix(err.Error(), "no versions go together for CPython 3.13 on linux/arm64 (glibc 2.28):\n") {
		t.Errorf("error %v", err)
	}
}

// TestResolveAllInRandomWorlds checks that every lock is an answer for its
// target, whatever is done to make them alike.
func TestResolveAllInRandomWorlds(t *testing.T) {
	targets := []python.Target{target(t, "3.13", "amd64", "glibc", 28), target(t, "3.13", "arm64", "glibc", 28)}
	alike, answered := 0, 0
	for seed := range 200 {
		w := randomWorld(t, rand.New(rand.NewPCG(uint64(seed), 2)), 5, 3)
		// A third of the files are for one machine only.
		for _, files := range w.source.files {
			for i := range files {
				if machine := (seed + i) % 6; machine < 2 {
					tag := []string{"x86_64", "aarch64"}[machine]
					files[i].Wheel.Tags = []python.Tag{{Python: "cp313", ABI: "cp313", Platform: "manylinux_2_17_" + tag}}
				}
			}
		}
		o := resolve.Options{Source: w.source, Requirements: w.requires}
		all, err := resolve.ResolveAll(context.Background(), o, targets)
		single := 0
		for _, target := range targets {
			o.Target = target
			if _, err := resolve.Resolve(context.Background(), o); err == nil {
				single++
			}
		}
		if (single == len(targets)) != (err == nil) {
			t.Fatalf("world %d: %d targets have an answer, but %v", seed, single, err)
		}
		if err != nil {
			continue
		}
		answered++
		for i, r := range all {
			if problem := w.check(pins(r)); problem != "" {
				t.Fatalf("world %d, target %d: %s is no answer: %s\n%s", seed, i, answer(r), problem, w)
			}
		}
		if answer(all[0]) == answer(all[1]) {
			alike++
		}
	}
	if answered < 30 || alike < answered*3/4 {
		t.Errorf("%d of %d answers are alike", alike, answered)
	}
	t.Logf("%d of %d answers are alike", alike, answered)
}
