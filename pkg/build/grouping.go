package build

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// How the wheels of an install are shared out among layers. The numbers are
// argued in docs/layering.md.
const (
	// DefaultMaxLayers is how many layers an image has at most unless told
	// otherwise. Overlay file systems take 127 (or 500), a registry's limits are
	// far above.
	DefaultMaxLayers = 64
	// aloneSize is the size of a wheel, in bytes, from which it is a layer of its
	// own while there are layers left.
	aloneSize = 512 << 10
	// mostBuckets is the number of layers that smaller wheels share.
	mostBuckets = 8
)

// sized is a wheel to be put in a layer.
type sized struct {
	name string // normalized
	size int64  // of the wheel, in bytes
}

// group shares wheels out among at most budget layers, and returns the indexes of
// each layer's: first the large ones, alone, by name; then the small ones, in
// buckets that their names alone decide. So a package more or less, or another
// version of one, leaves the others where they are; only where there are more
// large ones than layers does the smallest of them go to its bucket.
func group(wheels []sized, budget int) [][]int {
	buckets := max(1, min(mostBuckets, budget/4))
	alone := max(0, budget-buckets)
	order := make([]int, len(wheels))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(wheels[b].size, wheels[a].size), cmp.Compare(wheels[a].name, wheels[b].name))
	})
	var large []int
	shared := make([][]int, buckets)
	for _, i := range order {
		if wheels[i].size >= aloneSize && len(large) < alone {
			large = append(large, i)
			continue
		}
		b := bucket(wheels[i].name, buckets)
		shared[b] = append(shared[b], i)
	}
	byName := func(a, b int) int { return cmp.Compare(wheels[a].name, wheels[b].name) }
	slices.SortFunc(large, byName)
	var out [][]int
	for _, i := range large {
		out = append(out, []int{i})
	}
	for _, b := range shared {
		if len(b) > 0 {
			slices.SortFunc(b, byName)
			out = append(out, b)
		}
	}
	return out
}

// bucket is the same for a name whatever else there is.
func bucket(name string, of int) int {
	h := fnv.New64a()
	h.Write([]byte(name))
	return int(h.Sum64() % uint64(of))
}
