package push

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestNewest(t *testing.T) {
	host := serve(t, nil)
	img := randomImage(t, 1)
	repo := newTag(t, host+"/shop/web:x").Context()
	if got, err := Newest(t.Context(), repo, "", Options{}); err != nil || got != "" {
		t.Fatalf("of no repository: %q, %v", got, err)
	}
	for _, tag := range []string{"1.9", "1.10", "main", "0adbeef", "1.10rc1", "zzz", "sha256-" + strings.Repeat("0", 64) + ".sig"} {
		mustPush(t, img, repo.Tag(tag), Options{})
	}
	for except, want := range map[string]string{"": "1.10", "1.10": "1.10rc1"} {
		if got, err := Newest(t.Context(), repo, except, Options{}); err != nil || got != want {
			t.Errorf("but %q: %q, %v, want %q", except, got, err, want)
		}
	}
}

func TestNewestOfManyPages(t *testing.T) {
	asked := 0
	var status int
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/tags/list") {
				next.ServeHTTP(w, r)
				return
			}
			if status != 0 {
				w.WriteHeader(status)
				return
			}
			asked++ // and so on, for ever
			w.Header().Set("Link", fmt.Sprintf(`<%s?last=%d>; rel="next"`, r.URL.Path, asked))
			fmt.Fprintf(w, `{"name":"shop/web","tags":["1.%d"]}`, asked)
		})
	})
	repo := newTag(t, host+"/shop/web:x").Context()
	if got, err := Newest(t.Context(), repo, "", Options{}); err != nil || got != fmt.Sprintf("1.%d", maxPages) || asked > maxPages+1 {
		t.Errorf("%q, %v after %d pages", got, err, asked)
	}
	status = http.StatusForbidden
	var e *RegistryError
	if _, err := Newest(t.Context(), repo, "", Options{}); !errors.As(err, &e) || e.Hint() == "" || !strings.HasPrefix(err.Error(), "read "+repo.Name()+": its tags: ") {
		t.Errorf("err = %v", err)
	}
}

func TestCompareTags(t *testing.T) {
	order := []string{
		"0badcafe", "860c190d3b7a5f1e860c190d3b7a5f1e860c190d", "deadbee1", "sha-860c190", // commits
		"latest", "main", "release-1.9", "release-1.10", "zzz", // names
		"0.9", "1.0.dev1", "1.0a1", "1.0-alpha.2", "1.0b2", "1.0-pre1", "1.0rc1", "v1.0-rc.2", "1.0", "1.0.post1", "1.0-slim", "1.0-1", "1.0.1",
		"1.1-SNAPSHOT", "1.1", "v1.9", "1.10", "1.10.0", "1.10-3-g0badcaf",
		"2024.1", "20240501", "20240502-abc1234", "20240502-3", "18446744073709551617", "100000000000000000000000000001",
	}
	for i, a := range order {
		for k, b := range order {
			got := compareTags(a, b)
			if i < k && got >= 0 || i > k && got <= 0 || i == k && got != 0 {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
}

// It is an order: whatever page a tag comes on, the same one is the newest.
func FuzzCompareTags(f *testing.F) {
	f.Add("1.0", "1.0rc1", "v1.0")
	f.Add("01", "1", "1.")
	f.Add("main", "deadbee1", "1-a-0")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if compareTags(a, b) != -compareTags(b, a) {
			t.Errorf("%q and %q: %d, and the other way round %d", a, b, compareTags(a, b), compareTags(b, a))
		}
		if (compareTags(a, b) == 0) != (a == b) {
			t.Errorf("%q and %q are equal", a, b)
		}
		if compareTags(a, b) < 0 && compareTags(b, c) < 0 && compareTags(a, c) >= 0 {
			t.Errorf("%q < %q < %q, but not the first and the last", a, b, c)
		}
	})
}
