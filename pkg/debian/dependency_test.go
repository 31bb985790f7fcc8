package debian

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDependencies(t *testing.T) {
	for in, want := range map[string][]string{
		"": nil,
		"libc6 (>= 2.38), debconf (>= 0.5) | debconf-2.0,": {"libc6 (>= 2.38)", "debconf (>= 0.5) | debconf-2.0"},
		"python3:any, perl:amd64 (= 1:5.40-1)":             {"python3:any", "perl:amd64 (= 1:5.40-1)"},
		"a(<<2),\n b ( >>1 ) , c (< 1) | d (> 2)":          {"a (<< 2)", "b (>> 1)", "c (<= 1) | d (>= 2)"},
		"libstdc++6, g++-14 (= 14.2.0-19)":                 {"libstdc++6", "g++-14 (= 14.2.0-19)"},
	} {
		groups, err := ParseDependencies(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		var got []string
		for _, g := range groups {
			got = append(got, g.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
	for _, bad := range []string{"a | ", "a (1)", "a (== 1)", "a (>= 1", "a (>= )", "a b", "a (>= 1) b", "a [amd64]", "a <!nocheck>", "a:", "../a"} {
		if got, err := ParseDependencies(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

func FuzzDependencies(f *testing.F) {
	f.Add("libc6 (>= 2.38), debconf (>= 0.5) | debconf-2.0")
	f.Add("python3:any,")
	f.Fuzz(func(t *testing.T, s string) {
		groups, err := ParseDependencies(s)
		if err != nil {
			return
		}
		var parts []string
		for _, g := range groups {
			parts = append(parts, g.String())
		}
		again, err := ParseDependencies(strings.Join(parts, ", "))
		if err != nil || len(again) != len(groups) {
			t.Errorf("%q is written as %q, which reads as %v, %v", s, parts, again, err)
		}
	})
}
