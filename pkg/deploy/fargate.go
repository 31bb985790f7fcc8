package deploy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// fargateSize is one CPU size that Fargate has, and the memory that goes with it.
type fargateSize struct {
	cpu    int   // CPU units, 1024 a vCPU
	memory []int // MiB, ascending
	// latestOnly is that the size needs platform version 1.4.0.
	latestOnly bool
}

// fargateSizes is the table "Task size" of the Amazon ECS Developer Guide,
// "Amazon ECS task definition parameters for Fargate". 32 vCPU came in 2026;
// whether a region has it yet is for ECS to say.
var fargateSizes = []fargateSize{
	{256, []int{512, 1024, 2048}, false},
	{512, steps(1024, 4096, 1024), false},
	{1024, steps(2048, 8192, 1024), false},
	{2048, steps(4096, 16384, 1024), false},
	{4096, steps(8192, 30720, 1024), false},
	{8192, steps(16384, 61440, 4096), true},
	{16384, steps(32768, 122880, 8192), true},
	{32768, []int{61440, 122880, 249856}, true},
}

func steps(from, to, by int) []int {
	var s []int
	for v := from; v <= to; v += by {
		s = append(s, v)
	}
	return s
}

// cpuUnits reads a task's cpu: units ("256") or vCPUs ("0.25 vCPU", any case).
func cpuUnits(s string) (int, bool) {
	number := strings.TrimSpace(s)
	if cut, ok := cutSuffixFold(number, "vcpu"); ok {
		f, err := strconv.ParseFloat(strings.TrimSpace(cut), 64)
		if err != nil || f <= 0 || f > 1024 {
			return 0, false
		}
		return int(math.Round(f * 1024)), true
	}
	n, err := strconv.Atoi(number)
	return n, err == nil && n > 0
}

// memoryMiB reads a task's memory: MiB ("512") or GiB ("0.5GB", "0.5 gb").
func memoryMiB(s string) (int, bool) {
	number := strings.TrimSpace(s)
	if cut, ok := cutSuffixFold(number, "gb"); ok {
		f, err := strconv.ParseFloat(strings.TrimSpace(cut), 64)
		if err != nil || f <= 0 || f > 1<<20 {
			return 0, false
		}
		return int(math.Round(f * 1024)), true
	}
	n, err := strconv.Atoi(number)
	return n, err == nil && n > 0
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if len(s) < len(suffix) || !strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return s, false
	}
	return s[:len(s)-len(suffix)], true
}

// fargateCPU finds the size that has this many CPU units.
func fargateCPU(cpu int) (fargateSize, bool) {
	for _, s := range fargateSizes {
		if s.cpu == cpu {
			return s, true
		}
	}
	return fargateSize{}, false
}

func cpuChoices() string {
	var all []string
	for _, s := range fargateSizes {
		all = append(all, strconv.Itoa(s.cpu))
	}
	return strings.Join(all, ", ")
}

// memoryChoices says which memory goes with a CPU size: all of a few, or the
// ends and the step of many.
func (s fargateSize) memoryChoices() string {
	if len(s.memory) <= 4 {
		var all []string
		for _, m := range s.memory {
			all = append(all, strconv.Itoa(m))
		}
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%d to %d in steps of %d", s.memory[0], s.memory[len(s.memory)-1], s.memory[1]-s.memory[0])
}

// nextMemory is the next larger memory that a CPU size takes, 0 if it is the
// largest or not one of them.
func nextMemory(cpu, memory int) int {
	s, ok := fargateCPU(cpu)
	if !ok {
		return 0
	}
	i := slices.Index(s.memory, memory)
	if i < 0 || i+1 == len(s.memory) {
		return 0
	}
	return s.memory[i+1]
}
