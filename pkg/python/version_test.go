package python

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVersionOrder(t *testing.T) {
	// PEP 440, "Summary of permitted suffixes and relative ordering", with
	// numbers that fit no integer type and every way to be local.
	ascending := []string{
		"0.dev0", "0", "1.dev0", "1.0.dev456", "1.0a1", "1.0a2.dev456", "1.0a12.dev456", "1.0a12", "1.0b1.dev456", "1.0b2",
		"1.0b2.post345.dev456", "1.0b2.post345", "1.0rc1.dev456", "1.0rc1", "1.0",
		"1.0+abc", "1.0+abc.5", "1.0+abc.7", "1.0+5", "1.0+5.a", "1.0+10", "1.0+18446744073709551616",
		"1.0.post456.dev34", "1.0.post456", "1.0.1", "1.1.dev1", "1.10", "9223372036854775808", "18446744073709551615",
		"18446744073709551616", "1" + strings.Repeat("0", 300), "2" + strings.Repeat("0", 300), "1!0.1", "18446744073709551616!0",
	}
	for i, a := range ascending {
		for j, b := range ascending {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := mustParse(t, a).Compare(mustParse(t, b)); got != want {
				t.Errorf("%.40s <=> %.40s = %d, want %d", a, b, got, want)
			}
		}
	}
	if (Version{}).Compare(mustParse(t, "0.dev0")) != -1 {
		t.Error("no version sorts before all others")
	}
}

func TestVersionParts(t *testing.T) {
	v := mustParse(t, " V01!2.003.0-C4_rev5.dev+Ubuntu-01.X ")
	got := []any{v.String(), v.Epoch(), v.Release(), v.Local(), v.Public().String(), v.Base().String(), v.Trimmed().String(),
		v.Number(0), v.Number(1), v.Number(2), v.Number(3), v.Post(), v.Dev()}
	want := []any{"1!2.3.0rc4.post5.dev0+ubuntu.1.x", "1", []string{"2", "3", "0"}, "ubuntu.1.x", "1!2.3.0rc4.post5.dev0", "1!2.3.0", "1!2.3rc4.post5.dev0+ubuntu.1.x",
		2, 3, 0, 0, "5", "0"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if mustParse(t, "99999999999999999999").Number(0) != math.MaxInt {
		t.Error("a number that is too large is the largest")
	}
	if v.Public().Compare(v) != -1 || !v.Public().Equal(mustParse(t, "1!2.3rc4.post5.dev0")) {
		t.Error("the public version sorts before its local ones")
	}
	var none Version
	if !none.IsZero() || none.IsPrerelease() || none.Release() != nil || !none.Base().IsZero() || !none.Public().IsZero() || none.Epoch() != "0" {
		t.Error("no version has parts")
	}
}

func TestVersionText(t *testing.T) {
	type record struct{ V, None Version }
	b, err := json.Marshal(record{V: mustParse(t, "1.0-1")})
	if err != nil || string(b) != `{"V":"1.0.post1","None":""}` {
		t.Fatalf("%s, %v", b, err)
	}
	var back record
	if err := json.Unmarshal(b, &back); err != nil || back.V.String() != "1.0.post1" || !back.None.IsZero() {
		t.Errorf("%+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"V":"x"}`), &back); err == nil {
		t.Error("x is no version")
	}
}

func TestVersionIsBounded(t *testing.T) {
	long := strings.Repeat("1.", maxVersionLen/2)
	if _, err := ParseVersion(long + "1"); err == nil {
		t.Error("there is no bound")
	}
	v := mustParse(t, long[:len(long)-1])
	if len(v.Release()) != maxVersionLen/2 {
		t.Errorf("%d numbers", len(v.Release()))
	}
	if !(Specifiers{}).Contains(v) || !mustSpecifiers(t, "==1.*").Contains(v) {
		t.Error("a long version is a version")
	}
}

func mustSpecifiers(t testing.TB, s string) Specifiers {
	t.Helper()
	set, err := ParseSpecifiers(s)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestSpecifiers(t *testing.T) {
	for _, c := range []struct {
		spec    string
		in, out []string
	}{
		{"", []string{"1", "1a1", "foo"}, nil},
		{"==1.0", []string{"1", "1.0.0", "1.0+local"}, []string{"1.0.post1", "1.0a1"}},
		{"==1.0+local", []string{"1+LOCAL"}, []string{"1.0", "1.0+local.1", "1.0+local1"}},
		{"!=1.0", []string{"1.0.1"}, []string{"1.0+local"}},
		{"==1.0.*", []string{"1", "1.0.dev0", "1.0.5+x", "1.0a1"}, []string{"1.1.dev0", "0.9"}},
		{"==999999999999999999.*", []string{"999999999999999999.5"}, []string{"1000000000000000000.dev0"}},
		{"<2.0", []string{"1.9"}, []string{"2.0a1", "2.0.dev0", "2.0"}},
		{"<2.0rc1", []string{"2.0b1", "2.0.dev0"}, []string{"2.0rc1", "2.0rc1+x"}},
		{"<1.0.post1", []string{"1.0", "1.0+x"}, []string{"1.0.post1.dev1"}},
		{">1.0", []string{"1.0.1", "1.1.dev0"}, []string{"1.0+x", "1.0.post1", "1.0.post1.dev1"}},
		{">1.0.post1", []string{"1.0.post2.dev0"}, []string{"1.0.post1+x", "1.0.post1"}},
		{">1.0a1", []string{"1.0a2.dev0", "1.0"}, []string{"1.0a1.post1", "1.0a1+x"}},
		{"<=1.0", []string{"1.0+x"}, []string{"1.0.post0.dev0"}},
		{"~=2.2.0", []string{"2.2.0", "2.2.9"}, []string{"2.3.dev0", "2.2.0rc1"}},
		{"~=2.2.post3", []string{"2.2.post3", "2.9"}, []string{"2.2", "3.dev0"}},
		{"===1.0+X", []string{"1.0+x"}, []string{"1.0", "1.0.0+x"}},
		{"===Foo", []string{"foo"}, []string{"1"}},
		{">=1,<2", []string{"1.5"}, []string{"foo", "2"}},
	} {
		set := mustSpecifiers(t, c.spec)
		for _, v := range c.in {
			if !set.ContainsString(v) {
				t.Errorf("%q does not contain %s", c.spec, v)
			}
		}
		for _, v := range c.out {
			if set.ContainsString(v) {
				t.Errorf("%q contains %s", c.spec, v)
			}
		}
	}
}

func TestSpecifiersText(t *testing.T) {
	for in, want := range map[string]string{
		" >= 1.0 , !=2,, <3": "!=2,<3,>=1.0",
		"==1.0,==1.0.0":      "==1.0",
		"~=1.0,~=1.0.0":      "~=1.0,~=1.0.0",
		"=== foo":            "===foo",
		"== 1.0.*":           "==1.0.*",
	} {
		if got := mustSpecifiers(t, in).String(); got != want {
			t.Errorf("%q is written %q, want %q", in, got, want)
		}
	}
	for spec, want := range map[string]bool{
		">=1": false, ">=1a1": true, "!=1a1": false, "==1.*": false, "===1.dev1": true, "===x": false, "~=1.0rc1": true, "<2.dev0": true,
	} {
		if got := mustSpecifiers(t, spec).AllowsPrereleases(); got != want {
			t.Errorf("%s allows pre-releases: %v", spec, got)
		}
	}
	if (Specifier{Op: "==", Version: "1"}).Contains(mustParse(t, "1")) {
		t.Error("a specifier that was not parsed contains nothing")
	}
}

func TestSpecifierErrors(t *testing.T) {
	for spec, reason := range map[string]string{
		"=1.0":     "did you mean ==",
		"~1.0":     "did you mean ~=",
		"1.0":      "expected one of",
		"~=1":      "at least two numbers",
		">=":       "expected a version after >=",
		">=1.*":    "only be used with == and !=",
		"==1a1.*":  "only follow the numbers",
		">1+local": "local version",
		">=1 <2":   "expected a comma",
	} {
		_, err := ParseSpecifiers(spec)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

// PubGrub and the like work on intervals of keys: they must say what Contains
// says.
func TestSpecifierBounds(t *testing.T) {
	versions := []string{"0", "0.9", "1.dev0", "1a1", "1a1.post1", "1", "1+x", "1.post1.dev0", "1.post1", "1.post1+x", "1.0.1", "1.1.dev0", "1.1", "2"}
	for _, op := range []string{"==", "!=", "<=", ">=", "<", ">", "~="} {
		for _, of := range []string{"1.0", "1.0a1", "1.0.post1", "1.0.dev0"} {
			spec := mustSpecifiers(t, op+of)[0]
			lo, hi, negate, ok := spec.Bounds()
			for _, s := range versions {
				k := mustParse(t, s).Key()
				if in := k >= lo && (hi == "" || k < hi); !ok || in == negate == spec.Contains(mustParse(t, s)) {
					t.Errorf("the bounds of %s are wrong about %s", spec, s)
				}
			}
		}
	}
}

func FuzzVersion(f *testing.F) {
	for _, s := range []string{"1.0", "v1!2.3.0-c4_rev5.dev+Ubuntu-01", "1.0-1", " 1.0a ", "1..2", "1.0+", "٣", strings.Repeat("9", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVersion(s)
		if err != nil {
			return
		}
		again, err := ParseVersion(v.String())
		if err != nil || again != v {
			t.Fatalf("%q is written %q, which reads %q, %v", s, v, again, err)
		}
		if !v.Equal(v.Trimmed()) || v.Public().Compare(v) > 0 || v.Trimmed() != v.Trimmed().Trimmed() {
			t.Fatalf("%q: trimmed %q, public %q", s, v.Trimmed(), v.Public())
		}
		if !mustSpecifiers(t, "=="+v.String()).Contains(v) || !mustSpecifiers(t, "=="+v.Base().String()+".*").Contains(v) {
			t.Fatalf("%q is not in itself", v)
		}
	})
}

func FuzzCompare(f *testing.F) {
	f.Add("1.0", "1.0.0", "1.0+a")
	f.Add("1a1", "1.dev1", "1.post1.dev1")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		var vs []Version
		for _, s := range []string{a, b, c} {
			v, err := ParseVersion(s)
			if err != nil {
				return
			}
			vs = append(vs, v)
		}
		if vs[0].Compare(vs[1]) != -vs[1].Compare(vs[0]) {
			t.Fatalf("%q and %q", a, b)
		}
		slices.SortFunc(vs, Version.Compare)
		if vs[0].Compare(vs[2]) > 0 {
			t.Fatalf("not transitive: %q", vs)
		}
	})
}

func FuzzSpecifiers(f *testing.F) {
	for _, s := range []string{">=1.0,<2", "==1.*", "~=1.0a1", "===x;", "!= 1 , ,>1.post1", "<=1+x", ">=1.0 <2"} {
		f.Add(s, "1.0")
	}
	f.Fuzz(func(t *testing.T, s, raw string) {
		set, err := ParseSpecifiers(s)
		if err != nil {
			return
		}
		again, err := ParseSpecifiers(set.String())
		if err != nil || again.String() != set.String() {
			t.Fatalf("%q is written %q, which reads %q, %v", s, set, again, err)
		}
		if set.ContainsString(raw) != again.ContainsString(raw) {
			t.Fatalf("%q and %q differ on %q", s, again, raw)
		}
		set.Matches(raw, PrereleasesDeny)
		set.Filter([]string{raw, "1", "1a1"}, PrereleasesDefault)
	})
}

func BenchmarkParseVersion(b *testing.B) {
	for b.Loop() {
		_, _ = ParseVersion("2024.10.1rc2.post3")
	}
}

func BenchmarkContains(b *testing.B) {
	set, v := mustSpecifiers(b, ">=1.21.2,!=1.25.*,<2"), mustParse(b, "1.26.4")
	for b.Loop() {
		set.Contains(v)
	}
}
