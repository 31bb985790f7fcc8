package python

import (
	"slices"
	"strings"
	"testing"
)

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		python, arch string
		threads      bool
		libc         Libc
		first        string
		has, hasNot  []string
	}{
		{"3.13.5", "amd64", false, Libc{"glibc", 2, 41}, "cp313-cp313-linux_x86_64",
			[]string{"cp313-cp313-manylinux_2_41_x86_64", "cp39-abi3-manylinux1_x86_64", "cp32-abi3-manylinux2010_x86_64", "py3-none-any", "cp313-none-any"},
			[]string{"cp313-cp313-manylinux_2_42_x86_64", "cp314-abi3-linux_x86_64", "cp313-cp313t-linux_x86_64", "cp313-cp313-musllinux_1_2_x86_64"}},
		{"3.13", "arm64", true, Libc{"glibc", 2, 36}, "cp313-cp313t-linux_aarch64",
			[]string{"cp313-cp313t-manylinux2014_aarch64", "cp312-abi3t-linux_aarch64", "py3-none-any"},
			[]string{"cp313-abi3-linux_aarch64", "cp313-cp313-linux_aarch64", "cp313-cp313t-manylinux2010_aarch64", "cp313-cp313t-manylinux_2_16_aarch64"}},
		{"3.9", "arm/v7", false, Libc{"musl", 1, 2}, "cp39-cp39-linux_armv7l",
			[]string{"cp39-cp39-musllinux_1_0_armv7l"}, []string{"cp39-cp39-musllinux_1_3_armv7l", "cp39-cp39-manylinux_2_17_armv7l"}},
		{"3.15", "riscv64", false, Libc{"glibc", 2, 39}, "cp315-cp315-linux_riscv64", []string{"cp315-cp315-manylinux_2_39_riscv64"}, nil},
		{"3.12", "s390x", false, Libc{}, "cp312-cp312-linux_s390x", []string{"py3-none-any"}, []string{"cp312-cp312-manylinux_2_17_s390x"}},
		{"3.12", "ppc64le", false, Libc{"glibc", 2, 28}, "cp312-cp312-linux_ppc64le", []string{"cp312-cp312-manylinux2014_ppc64le"}, nil},
	} {
		target := Target{Python: mustParse(t, c.python), FreeThreaded: c.threads, OS: "linux", Arch: c.arch, Libc: c.libc}
		var tags []string
		for _, tag := range target.Tags() {
			tags = append(tags, tag.String())
		}
		if len(tags) == 0 || tags[0] != c.first {
			t.Fatalf("%s: %v", target, tags)
		}
		for _, tag := range c.has {
			if !slices.Contains(tags, tag) {
				t.Errorf("%s does not take %s", target, tag)
			}
		}
		for _, tag := range c.hasNot {
			if slices.Contains(tags, tag) {
				t.Errorf("%s takes %s", target, tag)
			}
		}
	}
}

func TestTargetText(t *testing.T) {
	target := linuxTarget(t)
	if got := target.String(); got != "CPython 3.13 on linux/amd64 (glibc 2.41)" {
		t.Error(got)
	}
	for python, full := range map[string]string{"3.13": "3.13.0", "3.13.5": "3.13.5", "3.14.0rc2": "3.14.0rc2", "3.14rc2": "3.14.0rc2"} {
		target.Python = mustParse(t, python)
		env := target.Environment()
		if env.PythonFullVersion != full || env.ImplementationVersion != full || env.PythonVersion != python[:4] {
			t.Errorf("%s: %+v", python, env)
		}
	}
	for _, bad := range []Target{
		{}, {Python: mustParse(t, "3"), OS: "linux", Arch: "amd64"}, {Python: mustParse(t, "2.7"), OS: "linux", Arch: "amd64"},
		{Python: mustParse(t, "3.12"), OS: "windows", Arch: "amd64"}, {Python: mustParse(t, "3.12"), OS: "linux", Arch: "z80"},
		{Python: mustParse(t, "3.12"), OS: "linux", Arch: "amd64", FreeThreaded: true}, {Python: mustParse(t, "3.12"), OS: "linux", Arch: "amd64", Libc: Libc{Name: "bionic"}},
		{Python: mustParse(t, "3.99999999999999999999"), OS: "linux", Arch: "amd64"},
	} {
		if bad.Validate() == nil || bad.Tags() != nil {
			t.Errorf("%s is a target", bad)
		}
	}
}

func TestWheelChoice(t *testing.T) {
	supported := NewTagSet(linuxTarget(t).Tags())
	names := []string{ // the best last
		"a-1-py2.py3-none-any.whl", "a-1-cp310-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "a-1-cp313-cp313-manylinux_2_28_x86_64.whl",
		"a-1-cp313-cp313-manylinux_2_41_x86_64.whl",
	}
	last := 1 << 30
	for _, name := range names {
		w, err := ParseWheelName(name)
		if err != nil {
			t.Fatal(err)
		}
		rank, ok := w.Rank(supported)
		if !ok || rank >= last {
			t.Errorf("%s ranks %d, %v", name, rank, ok)
		}
		last = rank
	}
	for _, name := range []string{"a-1-cp312-cp312-linux_x86_64.whl", "a-1-cp313-cp313-manylinux_2_42_x86_64.whl", "a-1-py2-none-any.whl", "a-1-cp313-cp313-win_amd64.whl"} {
		w, err := ParseWheelName(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := w.Rank(supported); ok {
			t.Errorf("%s runs", name)
		}
	}
	builds := []string{"", "1", "1a", "2", "10", "18446744073709551616"}
	for i, a := range builds {
		for j, b := range builds {
			want := strings.Compare(string(rune(i)), string(rune(j)))
			if got := (WheelName{Build: a}).CompareBuild(WheelName{Build: b}); got != want {
				t.Errorf("build %q <=> %q = %d", a, b, got)
			}
		}
	}
}

func TestSdistNames(t *testing.T) {
	name, v, err := ParseSdistName("zope.interface-5.0.0rc1.tar.gz")
	if err != nil || name != "zope-interface" || v.String() != "5.0.0rc1" {
		t.Errorf("%s %s %v", name, v, err)
	}
	for _, bad := range []string{"a-1.tar.bz2", "a.zip", "-1.zip", "a-b.zip", "a-.tar.gz"} {
		if _, _, err := ParseSdistName(bad); err == nil {
			t.Errorf("%s is an sdist", bad)
		}
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "A.b-c_d1": true, "": false, "a-": false, "_a": false, "a b": false, "é": false, "a/b": false} {
		if ValidName(name) != want {
			t.Errorf("%q is valid: %v", name, !want)
		}
	}
}

func TestTagSetsAreBounded(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("a.", 200), ".")
	if _, err := ParseTags(many + "-" + many + "-" + many); err == nil {
		t.Error("there is no bound")
	}
}

func FuzzWheelName(f *testing.F) {
	for _, s := range []string{"pip-24.0-py3-none-any.whl", "a-1.0+x-1abc-py2.py3-none-any.whl", "a-1-cp312-abi3-a.b.c.whl", "-1-py3-none-any.whl", "a-1-1-1-1-1-1.whl", "a-1.tar.gz", "a-1.zip"} {
		f.Add(s)
	}
	supported := NewTagSet(linuxTarget(f).Tags())
	f.Fuzz(func(t *testing.T, s string) {
		if w, err := ParseWheelName(s); err == nil {
			w.Rank(supported)
			if w.CompareBuild(w) != 0 || len(w.Tags) == 0 || w.Version.IsZero() || w.Filename != s {
				t.Fatalf("%q: %+v", s, w)
			}
		}
		if name, v, err := ParseSdistName(s); err == nil && (name == "" || v.IsZero()) {
			t.Fatalf("%q: %q %q", s, name, v)
		}
	})
}
