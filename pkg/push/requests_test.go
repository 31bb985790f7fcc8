package push

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// changed is an image with another first layer, and another configuration.
func changed(t *testing.T, img v1.Image, size int64) v1.Image {
	t.Helper()
	l, err := random.Layer(size, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	next, err := mutate.AppendLayers(empty.Image, append([]v1.Layer{l}, layersOf(t, img)[1:]...)...)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func digest(t *testing.T, of interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	h, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// sorted forgets the order of requests: some are made at once.
func sorted(list string) string {
	each := strings.Split(list, ", ")
	slices.Sort(each)
	return strings.Join(each, ", ")
}

// kinds shortens requests to what they are for.
func kinds(calls []string) string {
	var out []string
	for _, c := range calls {
		method, path, _ := strings.Cut(c, " ")
		what := "blob"
		switch {
		case path == "/v2/":
			what = "ping"
		case path == "/token":
			what = "token"
		case strings.Contains(path, "/manifests/sha256:"):
			what = "manifest"
		case strings.Contains(path, "/manifests/"):
			what = "tag"
		case strings.HasSuffix(path, "/tags/list"):
			what = "tags"
		}
		out = append(out, method+" "+what)
	}
	return strings.Join(out, ", ")
}

func mustPush(t *testing.T, img Image, tag name.Tag, o Options) Result {
	t.Helper()
	r, err := Push(t.Context(), img, tag, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What a push costs in requests. A registry in one's own account is a round trip
// of some 20 ms away, one abroad ten times that.
func TestRequests(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		reg := newStrict(tokens)
		host := serve(t, reg.over)
		first := randomImage(t, 30)
		mustPush(t, first, newTag(t, host+"/shop/web:1.0"), Options{})
		reg.take()
		login := "GET ping, "
		if tokens {
			login += "GET token, "
		}
		want := func(what, list string) {
			t.Helper()
			got := reg.take()
			if d := cmp.Diff(sorted(login+list), sorted(kinds(got))); d != "" {
				t.Errorf("%s, tokens %v (-want +got):\n%s", what, tokens, d)
			}
			t.Logf("%s, tokens %v: %d requests", what, tokens, len(got))
		}

		// Nothing has changed, and layers were sent meanwhile.
		s := begin(t, newTag(t, host+"/shop/web:1.0"), Options{})
		for _, l := range layersOf(t, first) {
			s.Send(l)
		}
		r, err := s.Finish(t.Context(), first)
		if err != nil || !r.Already || r.Uploaded != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		want("nothing changed", "HEAD tag")

		// The same image under a new tag.
		mustPush(t, first, newTag(t, host+"/shop/web:1.0-again"), Options{Vouched: []Image{first}})
		want("another tag", "HEAD tag, HEAD manifest, PUT tag")

		// One layer of 30 has changed.
		next := changed(t, first, 100)
		mustPush(t, next, newTag(t, host+"/shop/web:1.1"), Options{Vouched: []Image{first}, Jobs: 1})
		want("one layer changed", "HEAD tag, HEAD manifest, HEAD blob, POST blob, PUT blob, POST blob, PUT blob, HEAD tag, PUT tag")

		// The same image from another machine.
		mustPush(t, next, newTag(t, host+"/shop/web:1.1-again"), Options{Vouched: []Image{first}})
		want("another tag, of what another machine pushed", "HEAD tag, HEAD manifest, HEAD blob, HEAD blob, PUT tag")

		// One layer of 30 has changed, and is sent while the image is built.
		next = changed(t, first, 1000)
		s = begin(t, newTag(t, host+"/shop/web:1.2"), Options{Vouched: []Image{first}})
		for _, l := range layersOf(t, next) {
			s.Send(l)
		}
		s.wait.Wait()
		want("one layer changed, before the end", "HEAD tag, HEAD blob, HEAD manifest, POST blob, PUT blob")
		if _, err := s.Finish(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff("POST blob, PUT blob, HEAD tag, PUT tag", kinds(reg.take())); d != "" {
			t.Errorf("in the end (-want +got):\n%s", d)
		}

		// What is asked at the start is not asked again.
		next = changed(t, first, 1001)
		s = begin(t, newTag(t, host+"/shop/web:1.3"), Options{Vouched: []Image{first}})
		s.Start()
		s.wait.Wait()
		want("at the start", "HEAD tag, HEAD manifest")
		if _, err := s.Finish(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(sorted("HEAD blob, POST blob, PUT blob, POST blob, PUT blob, HEAD tag, PUT tag"), sorted(kinds(reg.take()))); d != "" {
			t.Errorf("after the start (-want +got):\n%s", d)
		}
		s.Start() // over: nothing
	}
}

func TestRequestsOfAColdMachine(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		reg := newStrict(tokens)
		host := serve(t, reg.over)
		first := randomImage(t, 30)
		tag := newTag(t, host+"/shop/web:1.1")
		mustPush(t, first, newTag(t, host+"/shop/web:1.0"), Options{})
		reg.take()

		o := Options{Logins: &Logins{}, Jobs: 1}
		s := begin(t, tag, o)
		newest, err := Newest(t.Context(), tag.Context(), tag.TagStr(), o)
		if err != nil || newest != "1.0" {
			t.Fatalf("%q, %v", newest, err)
		}
		previous, err := Fetch(t.Context(), tag.Context().Tag(newest), v1.Platform{}, o)
		if err != nil {
			t.Fatal(err)
		}
		s.Vouch(previous)
		next := changed(t, previous, 100)
		for _, l := range layersOf(t, next) {
			s.Send(l)
		}
		s.wait.Wait()
		if _, err := s.Finish(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		calls := reg.take()
		want := "GET tags, GET tag, GET blob, HEAD tag, HEAD blob, POST blob, PUT blob, POST blob, PUT blob, HEAD tag, PUT tag"
		if tokens {
			want = "GET token, " + want
		}
		if d := cmp.Diff("GET ping, "+want, kinds(calls)); d != "" {
			t.Errorf("tokens %v (-want +got):\n%s", tokens, d)
		}
		t.Logf("a cold machine, tokens %v: %d requests", tokens, len(calls))
	}
}

func TestRequestsOfAnIndex(t *testing.T) {
	reg := newStrict(false)
	host := serve(t, reg.over)
	index := func(images ...v1.Image) v1.ImageIndex {
		var idx v1.ImageIndex = empty.Index
		for _, img := range images {
			idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img})
		}
		return idx
	}
	one, two := randomImage(t, 10), randomImage(t, 10)
	first := index(one, two)
	mustPush(t, first, newTag(t, host+"/shop/web:1.0"), Options{})
	reg.take()
	mustPush(t, index(one, changed(t, two, 100)), newTag(t, host+"/shop/web:1.1"), Options{Vouched: []Image{first}, Jobs: 1})
	if d := cmp.Diff("GET ping, HEAD tag, HEAD manifest, HEAD blob, POST blob, PUT blob, POST blob, PUT blob, PUT manifest, HEAD tag, PUT tag", kinds(reg.take())); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	mustPush(t, first, newTag(t, host+"/shop/web:1.2"), Options{})
	if d := cmp.Diff("GET ping, HEAD tag, HEAD manifest, PUT tag", kinds(reg.take())); d != "" {
		t.Errorf("again (-want +got):\n%s", d)
	}
}

// The repository may have lost what it is believed to have.
func TestVouchedInVain(t *testing.T) {
	reg := newStrict(false)
	host := serve(t, reg.over)
	first := randomImage(t, 10)
	other := randomImage(t, 10) // never pushed
	mustPush(t, first, newTag(t, host+"/shop/web:1.0"), Options{})
	lost := layersOf(t, first)[4]
	size, _ := lost.Size()

	// Only the manifest is still there.
	reg.lose("shop/web", digest(t, lost))
	reg.take()
	next := changed(t, first, 100)
	r := mustPush(t, next, newTag(t, host+"/shop/web:1.1"), Options{Vouched: []Image{first}})
	calls := reg.take()
	if n := count(calls, "PUT", "/blobs/"); n != 3 { // the new layer, the configuration, the one that is lost
		t.Errorf("%d blobs sent: %s", n, kinds(calls))
	}
	if n := count(calls, "PUT", "/manifests/"); n != 2 || r.Uploaded < size {
		t.Errorf("%d manifests written, %d bytes", n, r.Uploaded)
	}

	// The layers of an image from this repository are taken to be there, too.
	previous, err := Fetch(t.Context(), newTag(t, host+"/shop/web:1.0"), v1.Platform{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	reg.lose("shop/web", digest(t, lost))
	_, err = Push(t.Context(), changed(t, previous, 100), newTag(t, host+"/shop/web:1.2"), Options{Retry: quick})
	if err == nil || !strings.Contains(err.Error(), "read blob "+digest(t, lost).String()) {
		t.Errorf("a layer that is nowhere: %v", err)
	}

	// What was never there is asked for once.
	reg = newStrict(false)
	host = serve(t, reg.over)
	mustPush(t, other, newTag(t, host+"/shop/web:2.0"), Options{Vouched: []Image{other}})
	if calls := reg.take(); count(calls, "PUT", "/blobs/") != 11 || count(calls, "HEAD", "/blobs/") != 10 || count(calls, "HEAD", "/manifests/sha256:") != 1 {
		t.Errorf("%s", kinds(calls))
	}
}

func TestMountFromAnotherRepository(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		reg := newStrict(tokens)
		host := serve(t, reg.over)
		base := randomImage(t, 3)
		mustPush(t, base, newTag(t, host+"/base/python:3.13"), Options{})
		fetched, err := Fetch(t.Context(), newTag(t, host+"/base/python:3.13"), v1.Platform{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for what, o := range map[string]struct {
			img  v1.Image
			tag  string
			more Options
		}{
			"its layers":         {img: changed(t, fetched, 100), tag: "/shop/a:1"},
			"others, vouched by": {img: changed(t, base, 100), tag: "/shop/b:1", more: Options{Vouched: []Image{fetched}}},
		} {
			reg.take()
			mustPush(t, o.img, newTag(t, host+o.tag), o.more)
			calls := reg.take()
			if n := count(calls, "PUT", "/blobs/"); n != 2 { // the layer of its own and the configuration
				t.Errorf("%s, tokens %v: %d blobs sent: %s", what, tokens, n, kinds(calls))
			}
		}
		if tokens && !slices.Contains(reg.scopes, "repository:base/python:pull") {
			t.Errorf("no token for the base: %q", reg.scopes)
		}
	}
}
