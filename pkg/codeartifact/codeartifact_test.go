package codeartifact

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
)

// fakeCodeArtifact speaks the service's wire protocol (REST with JSON).
type fakeCodeArtifact struct {
	mu       sync.Mutex
	endpoint string // of the repository
	tokens   int
	asked    []url.Values
	regions  []string // of the signatures
	expires  time.Time
	deny     string
}

func start(t *testing.T) (*fakeCodeArtifact, *Tokens) {
	t.Helper()
	f := &fakeCodeArtifact{expires: time.Now().Add(12 * time.Hour)}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return f, New(func(_ context.Context, region string) (aws.Config, error) {
		if region == "" {
			region = "eu-west-1"
		}
		return aws.Config{
			Region: region, BaseEndpoint: &srv.URL,
			Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
			Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		}, nil
	})
}

func (f *fakeCodeArtifact) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if parts := strings.Split(r.Header.Get("Authorization"), "/"); len(parts) > 2 {
		f.regions = append(f.regions, parts[2])
	}
	f.asked = append(f.asked, r.URL.Query())
	w.Header().Set("Content-Type", "application/json")
	fail := func(status int, code string) {
		w.Header().Set("X-Amzn-ErrorType", code)
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]any{"message": "said by the fake"})
	}
	switch {
	case f.deny != "":
		fail(http.StatusForbidden, f.deny)
	case r.Method == http.MethodPost && r.URL.Path == "/v1/authorization-token":
		f.tokens++
		json.NewEncoder(w).Encode(map[string]any{"authorizationToken": strings.Repeat("t", f.tokens), "expiration": f.expires.Unix()})
	case r.Method == http.MethodGet && r.URL.Path == "/v1/repository/endpoint" && r.URL.Query().Get("repository") == "python":
		json.NewEncoder(w).Encode(map[string]any{"repositoryEndpoint": f.endpoint})
	default:
		fail(http.StatusNotFound, "ResourceNotFoundException")
	}
}

func TestParseHost(t *testing.T) {
	for host, want := range map[string]Domain{
		"shop-123456789012.d.codeartifact.eu-west-1.amazonaws.com":                       {"shop", "123456789012", "eu-west-1"},
		"My-Shop-2-123456789012.D.codeartifact.us-east-1.amazonaws.com.":                 {"my-shop-2", "123456789012", "us-east-1"},
		"shop-123456789012.d.codeartifact.eu-west-1.on.aws":                              {"shop", "123456789012", "eu-west-1"},
		"shop-123456789012.d.codeartifact.cn-north-1.amazonaws.com.cn":                   {"shop", "123456789012", "cn-north-1"},
		"shop-123456789012.d.codeartifact.cn-north-1.on.amazonwebservices.com.cn":        {"shop", "123456789012", "cn-north-1"},
		"-123456789012.d.codeartifact.eu-west-1.amazonaws.com":                           {},
		"shop-12345678901.d.codeartifact.eu-west-1.amazonaws.com":                        {},
		"shop-123456789012.d.codeartifact.eu-west-1.amazonaws.com.example.org":           {},
		"example.org.shop-123456789012.d.codeartifact.eu-west-1.amazonaws.com":           {},
		"shop-123456789012.d.codeartifact.eu-west-1.example.org":                         {},
		"shop-123456789012.codeartifact.eu-west-1.amazonaws.com":                         {},
		"shop-123456789012.d.codeartifact.eu-west-1.amazonaws.com:8443":                  {},
		"shop-123456789012.d.codeartifact.eu-west-1.evil.amazonaws.com":                  {},
		strings.Repeat("a", 60) + "-123456789012.d.codeartifact.eu-west-1.amazonaws.com": {},
	} {
		got, ok := ParseHost(host)
		if got != want || ok != (want.Owner != "") {
			t.Errorf("%s: %+v, %t", host, got, ok)
		}
	}
}

func FuzzParseSetting(f *testing.F) {
	f.Add("codeartifact://shop/python?owner=123456789012&region=eu-west-1&endpoint=dualstack")
	f.Add("codeartifact://shop/a/b?x")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseSetting(text)
		if err == nil && (r.Name == "" || strings.ContainsAny(r.Name+r.Domain.Name+r.Owner+r.Region, "/?&=@: ")) {
			t.Errorf("%q: %+v", text, r)
		}
	})
}

func TestParseSetting(t *testing.T) {
	for text, want := range map[string]Repository{
		"codeartifact://shop/python": {Domain: Domain{Name: "shop"}, Name: "python"},
		"codeartifact://shop/Python.x/?owner=123456789012&region=eu-west-1&endpoint=dualstack": {
			Domain: Domain{Name: "shop", Owner: "123456789012", Region: "eu-west-1"}, Name: "Python.x", DualStack: true},
		"codeartifact://shop":                      {},
		"codeartifact://shop/a/b":                  {},
		"codeartifact://shop/python?owner=me":      {},
		"codeartifact://shop/python?region=a.b":    {},
		"codeartifact://shop/python?endpoint=ipv6": {},
		"codeartifact://shop/python?onwer=1":       {},
		"codeartifact://user:s3cret@shop/python":   {},
		"https://shop/python":                      {},
		"codeartifact://shop:1/python":             {},
	} {
		got, err := ParseSetting(text)
		if got != want || (err == nil) != (want.Name != "") {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	f, tokens := start(t)
	const place = "https://shop-123456789012.d.codeartifact.us-east-2.amazonaws.com/pypi/python/simple/"
	ctx := context.Background()
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			user, password, ok, err := tokens.Credentials(ctx, place)
			if user != "aws" || password != "t" || !ok || err != nil {
				t.Errorf("%s %s %t %v", user, password, ok, err)
			}
		})
	}
	all.Wait()
	if f.tokens != 1 || f.asked[0].Get("domain") != "shop" || f.asked[0].Get("domain-owner") != "123456789012" || f.regions[0] != "us-east-2" {
		t.Errorf("%d tokens, asked %v in %v", f.tokens, f.asked, f.regions)
	}
	tokens.now = func() time.Time { return f.expires.Add(-4 * time.Minute) }
	if _, password, _, err := tokens.Credentials(ctx, place); password != "tt" || err != nil {
		t.Errorf("shortly before the end: %s, %v", password, err)
	}
	for _, other := range []string{
		"https://example.org/simple/", "http://shop-123456789012.d.codeartifact.us-east-2.amazonaws.com/", "%",
		"https://shop-123456789012.d.codeartifact.us-east-2.amazonaws.com:8443/",
	} {
		if _, _, ok, err := tokens.Credentials(ctx, other); ok || err != nil {
			t.Errorf("%s: %t, %v", other, ok, err)
		}
	}
	if f.tokens != 2 {
		t.Errorf("%d tokens", f.tokens)
	}
}

func TestErrors(t *testing.T) {
	f, tokens := start(t)
	ctx := context.Background()
	var api *APIError
	_, err := tokens.IndexURL(ctx, Repository{Domain: Domain{Name: "shop"}, Name: "typo"})
	if !errors.As(err, &api) || !strings.Contains(api.Hint(), "names") || !strings.Contains(err.Error(), "shop/typo: ResourceNotFoundException") {
		t.Errorf("no such repository: %v", err)
	}
	f.deny = "AccessDeniedException"
	_, _, ok, err := tokens.Credentials(ctx, "https://shop-123456789012.d.codeartifact.us-east-2.amazonaws.com")
	if ok || !errors.As(err, &api) || !strings.Contains(api.Hint(), "sts:GetServiceBearerToken") {
		t.Errorf("denied: %v", err)
	}
	tokens = New(func(context.Context, string) (aws.Config, error) { return aws.Config{}, errors.New("no region") })
	if _, err := tokens.IndexURL(ctx, Repository{}); err == nil || !strings.Contains(err.Error(), "no region") {
		t.Errorf("no configuration: %v", err)
	}
}

// TestIndex reads a project from a repository whose address and password come
// from the service.
func TestIndex(t *testing.T) {
	f, tokens := start(t)
	ctx := context.Background()
	s := indextest.NewServer(t)
	s.User, s.Password = "aws", "t"
	s.AddWheel("a", "1.0", nil, "")
	f.endpoint = s.Origin() + "/"
	r, err := ParseSetting("codeartifact://shop/python?owner=123456789012&endpoint=dualstack")
	if err != nil {
		t.Fatal(err)
	}
	root, err := tokens.IndexURL(ctx, r)
	if err != nil || root != s.URL {
		t.Fatalf("%s, %v", root, err)
	}
	if q := f.asked[0]; q.Get("format") != "pypi" || q.Get("endpointType") != "dualstack" || q.Get("domain-owner") != "123456789012" || f.regions[0] != "eu-west-1" {
		t.Errorf("asked %v in %v", f.asked, f.regions)
	}
	c, err := index.New(index.Options{Indexes: []index.Index{{URL: root}}, Cache: indextest.NewCache(t), Credentials: tokens.Credentials})
	if err != nil {
		t.Fatal(err)
	}
	if files, err := c.Project(ctx, "a"); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}
