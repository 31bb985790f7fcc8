package build

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
)

func TestTrustedHosts(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer s.Close()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		host string
		ok   bool
	}{
		"by name": {u.Hostname(), true}, "with its port": {u.Host, true}, "another": {"example.com", false}, "another port": {u.Hostname() + ":1", false},
	} {
		t.Run(name, func(t *testing.T) {
			own, err := index.NewTransport(index.TransportOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, plain := range []*http.Client{nil, {}, {Transport: own}} {
				client := trusting(plain, []pip.Setting[string]{{Value: c.host, Source: "--trusted-host"}})
				resp, err := client.Get(s.URL)
				if (err == nil) != c.ok {
					t.Errorf("get: %v", err)
				}
				if err == nil {
					resp.Body.Close()
				}
			}
		})
	}
}
