package debian

import "testing"

// The order is that of "dpkg --compare-versions", asked for each pair.
func TestVersionOrder(t *testing.T) {
	ascending := []string{
		"0~~", "0~~a", "0~", "0", "0a", "0+", "1.0~beta1~svn1245", "1.0~beta1", "1.0~rc1-1", "1.0", "1.0-0.1", "1.0-1", "1.0-1b", "1.0-1+b1",
		"1.0-1+deb12u1", "1.0-1.1", "1.0-2", "1.0-10", "1.0a", "1.0a7-2", "1.0b3-2", "1.0+dfsg-1", "1.0.1-1", "1.2.3", "1.2.10",
		"1.18.36", "2.7.4+reloaded2-13", "3.13.5-2", "20250419~deb12u2", "20250419+deb13u1",
		"99999999999999999999998", "99999999999999999999999", "1:0.1", "1:1.2.13.dfsg-1", "2:0-0",
	}
	for i, a := range ascending {
		for k, b := range ascending {
			va, vb := version(t, a), version(t, b)
			if got, want := va.Compare(vb), sign(i-k); got != want {
				t.Errorf("%s compared with %s: %d, want %d", a, b, got, want)
			}
		}
	}
	for _, equal := range [][2]string{{"1.0", "0:1.0"}, {"1.0", "1.00"}, {"1.0-0", "1.0"}, {"1.0-1", "1.00-01"}, {"a", "a0"}} {
		if got := version(t, equal[0]).Compare(version(t, equal[1])); got != 0 {
			t.Errorf("%s compared with %s: %d, want 0", equal[0], equal[1], got)
		}
	}
}

func version(t *testing.T, s string) Version {
	t.Helper()
	v, err := ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVersionParts(t *testing.T) {
	v := version(t, "1:2:3-4-5")
	if v.epoch != 1 || v.upstream != "2:3-4" || v.revision != "5" || v.String() != "1:2:3-4-5" {
		t.Errorf("parts are %d, %q, %q", v.epoch, v.upstream, v.revision)
	}
	for _, bad := range []string{"", ":1", "a:1", "1:", "1-", "-1", "1 2", "1_2", "9999999999:1", "1.0é"} {
		if v, err := ParseVersion(bad); err == nil {
			t.Errorf("%q is read as %q", bad, v)
		}
	}
}

func FuzzVersion(f *testing.F) {
	for _, s := range []string{"1.0-1", "1:0~rc1+b2-3", "", "~", "a:b-c"} {
		f.Add(s, "1.0")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		va, err := ParseVersion(a)
		if err != nil {
			return
		}
		vb, err := ParseVersion(b)
		if err != nil {
			return
		}
		if va.Compare(vb) != -vb.Compare(va) || va.Compare(va) != 0 {
			t.Errorf("%q and %q have no order", a, b)
		}
	})
}
