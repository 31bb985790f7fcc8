package build

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestGroup(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var wheels []sized
		for i := range 1 + random.IntN(150) {
			wheels = append(wheels, sized{fmt.Sprintf("p%d-%d", round, i), int64(random.ExpFloat64() * 1e6)})
		}
		budget := 1 + random.IntN(60)
		before := members(t, wheels, budget)
		if len(before) > budget {
			t.Fatalf("%d layers of a budget of %d", len(before), budget)
		}
		shuffled := slices.Clone(wheels)
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if !slices.Equal(members(t, shuffled, budget), before) {
			t.Fatal("the order of the wheels counts")
		}
		// One package more touches its own layer, and at most one other large one
		// that has to make room.
		after := members(t, append(wheels, sized{fmt.Sprintf("new-%d", round), int64(random.ExpFloat64() * 1e6)}), budget)
		touched := 0
		for _, m := range before {
			if !slices.Contains(after, m) {
				touched++
			}
		}
		if touched > 2 {
			t.Fatalf("one package more changes %d of %d layers", touched, len(before))
		}
	}
}

// members are the layers, by what is in them.
func members(t *testing.T, wheels []sized, budget int) []string {
	t.Helper()
	var out []string
	seen := 0
	for _, g := range group(wheels, budget) {
		text := ""
		for _, i := range g {
			text += wheels[i].name + " "
			seen++
		}
		out = append(out, text)
	}
	if seen != len(wheels) {
		t.Fatalf("%d of %d wheels are in layers", seen, len(wheels))
	}
	slices.Sort(out)
	return out
}
