package sandbox

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	passwdFile = "root:x:0:0:root:/root:/bin/sh\n#gone:x:7:7\nbroken:x:y:z\nweb:x:33:34:Web:/srv:/bin/false\n" +
		"1000:x:5:5::/digits:\nlast:x:1001:1001"
	groupFile = "root:x:0:\nweb:x:34:web\nlog:x:4:web,last\nlog:x:4:web\nbroken\nmedia:x:44:last\n+:::\n"
)

func TestLookupUser(t *testing.T) {
	for _, test := range []struct {
		spec    string
		want    identity
		wantErr string
	}{
		{spec: "", want: identity{Home: "/root"}},
		{spec: "root", want: identity{Home: "/root"}},
		{spec: "0", want: identity{Home: "/root"}},
		{spec: "web", want: identity{UID: 33, GID: 34, Groups: []int{4}, Home: "/srv"}},
		{spec: "33", want: identity{UID: 33, GID: 34, Groups: []int{4}, Home: "/srv"}},
		{spec: "web:", want: identity{UID: 33, GID: 34, Groups: []int{4}, Home: "/srv"}},
		{spec: "web:media", want: identity{UID: 33, GID: 44, Home: "/srv"}},
		{spec: "web:44", want: identity{UID: 33, GID: 44, Home: "/srv"}},
		{spec: "web:4711", want: identity{UID: 33, GID: 4711, Home: "/srv"}},
		{spec: ":media", want: identity{UID: 0, GID: 44, Home: "/root"}},
		{spec: "65532", want: identity{UID: 65532, Home: "/"}},
		{spec: "65532:65532", want: identity{UID: 65532, GID: 65532, Home: "/"}},
		{spec: "1000", want: identity{UID: 5, GID: 5, Home: "/digits"}}, // a name before a number
		{spec: "last", want: identity{UID: 1001, GID: 1001, Groups: []int{4, 44}, Home: "/"}},
		{spec: "nobody", wantErr: `user "nobody" is not in the image's /etc/passwd`},
		{spec: "broken", wantErr: `user "broken" is not in the image's /etc/passwd`},
		{spec: "gone", wantErr: `user "gone" is not in the image's /etc/passwd`},
		{spec: "-1", wantErr: `user "-1" is not in the image's /etc/passwd`},
		{spec: "4294967295", wantErr: `user "4294967295" is not in the image's /etc/passwd`},
		{spec: "web:staff", wantErr: `group "staff" is not in the image's /etc/group`},
	} {
		got, err := lookupUser(test.spec, []byte(passwdFile), []byte(groupFile))
		if test.wantErr != "" {
			if err == nil || err.Error() != test.wantErr {
				t.Errorf("%q: got error %v, want %s", test.spec, err, test.wantErr)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%q: %v %s", test.spec, err, diff)
		}
	}
}

func FuzzLookupUser(f *testing.F) {
	f.Add("web:media", []byte(passwdFile), []byte(groupFile))
	f.Add("0", []byte("::"), []byte(":::,"))
	f.Fuzz(func(t *testing.T, spec string, passwd, group []byte) {
		id, err := lookupUser(spec, passwd, group)
		if err == nil && (id.UID < 0 || id.GID < 0 || uint32(id.UID) == math.MaxUint32 || id.Home == "") {
			t.Errorf("%q: %+v", spec, id)
		}
	})
}

func TestReportText(t *testing.T) {
	r := Report{
		Mode: RootUserNamespace,
		Tried: []Attempt{
			{Mode: RootUserNamespace, LowestPort: 1024, Notes: []string{"a note"}},
			{Mode: Namespaces, Err: errors.New("forbidden")},
			{Mode: ChrootLandlock},
		},
	}
	want := "sandbox: root-user-namespace\n  yes  root-user-namespace\n         a note\n" +
		"  no   namespaces             forbidden\n  yes  chroot+landlock\n"
	if diff := cmp.Diff(want, r.String()); diff != "" {
		t.Error(diff)
	}
	if r.For(8080) != RootUserNamespace || r.For(80) != ChrootLandlock {
		t.Error(r.For(8080), r.For(80))
	}
	r.Tried = r.Tried[:2]
	if r.For(80) != RootUserNamespace {
		t.Error(r.For(80))
	}
	none := UnavailableError{Report: Report{Notes: []string{"no luck", "no wits"}, Tried: r.Tried[1:]}}
	none.Report.Tried = append(none.Report.Tried, Attempt{Mode: ChrootLandlock, Err: errors.New("neither")})
	const text = "no sandbox can be made on this machine (no luck; no wits): namespaces: forbidden; chroot+landlock: neither"
	if diff := cmp.Diff(text, none.Error()); diff != "" {
		t.Error(diff)
	}
}
