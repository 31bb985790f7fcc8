package ecr

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// fakeECR speaks the control plane's wire protocol (AWS JSON 1.1).
type fakeECR struct {
	mu      sync.Mutex
	url     string
	repos   map[string]map[string]any
	tokens  int
	regions []string // of the signatures, in order
	expires time.Time
	proxy   string
	deny    string // operation to deny
	inputs  []map[string]any
}

func start(t *testing.T) (*fakeECR, *Client) {
	t.Helper()
	f := &fakeECR{repos: map[string]map[string]any{}, expires: time.Now().Add(12 * time.Hour)}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	f.url = srv.URL
	f.proxy = srv.URL
	return f, New(aws.Config{
		Region:       "eu-west-1",
		BaseEndpoint: &srv.URL,
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		Retryer:      func() aws.Retryer { return aws.NopRetryer{} },
	})
}

func (f *fakeECR) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if parts := strings.Split(r.Header.Get("Authorization"), "/"); len(parts) > 2 {
		f.regions = append(f.regions, parts[2])
	}
	var in map[string]any
	json.NewDecoder(r.Body).Decode(&in)
	f.inputs = append(f.inputs, in)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	fail := func(code string) {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]any{"__type": code, "message": "said by the fake"})
	}
	if op == f.deny {
		fail("AccessDeniedException")
		return
	}
	switch op {
	case "GetAuthorizationToken":
		f.tokens++
		json.NewEncoder(w).Encode(map[string]any{"authorizationData": []any{map[string]any{
			"authorizationToken": base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "AWS:password-%d", f.tokens)),
			"expiresAt":          float64(f.expires.Unix()),
			"proxyEndpoint":      f.proxy,
		}}})
	case "DescribeRepositories":
		name := in["repositoryNames"].([]any)[0].(string)
		repo, ok := f.repos[name]
		if !ok {
			fail("RepositoryNotFoundException")
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"repositories": []any{repo}})
	case "CreateRepository":
		name := in["repositoryName"].(string)
		if _, ok := f.repos[name]; ok {
			fail("RepositoryAlreadyExistsException")
			return
		}
		f.repos[name] = map[string]any{"repositoryName": name, "imageTagMutability": in["imageTagMutability"],
			"repositoryUri": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/" + name}
		json.NewEncoder(w).Encode(map[string]any{"repository": f.repos[name]})
	default:
		fail("UnknownOperationException")
	}
}

func TestParseRegistry(t *testing.T) {
	for host, want := range map[string]Registry{
		"123456789012.dkr.ecr.ap-northeast-1.amazonaws.com":           {Account: "123456789012", Region: "ap-northeast-1"},
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com":       {Account: "123456789012", Region: "us-gov-west-1", FIPS: true},
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":            {Account: "123456789012", Region: "cn-north-1"},
		"123456789012.dkr-ecr.us-east-1.on.aws":                       {Account: "123456789012", Region: "us-east-1"},
		"123456789012.dkr-ecr-fips.us-east-1.on.aws":                  {Account: "123456789012", Region: "us-east-1", FIPS: true},
		"123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn": {Account: "123456789012", Region: "cn-north-1"},
		"123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu":            {Account: "123456789012", Region: "eusc-de-east-1"},
		"public.ecr.aws":                                            {},
		"registry.example.com":                                      {},
		"12345678901.dkr.ecr.eu-west-1.amazonaws.com":               {},
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example": {},
		"evil.123456789012.dkr.ecr.eu-west-1.amazonaws.com":         {},
		"123456789012.dkr.ecr.eu-west-1.evil.amazonaws.com":         {},
	} {
		got, ok := ParseRegistry(host)
		if ok {
			want.Host = host
		}
		if got != want || ok != (want.Account != "") {
			t.Errorf("%s: %+v, %v", host, got, ok)
		}
	}
}

func FuzzParseRegistry(f *testing.F) {
	f.Add("123456789012.dkr.ecr.eu-west-1.amazonaws.com")
	f.Add("123456789012.dkr-ecr-fips.eu-west-1.on.aws:443")
	f.Fuzz(func(t *testing.T, host string) {
		r, ok := ParseRegistry(host)
		if ok && (len(r.Account) != 12 || r.Region == "" || strings.ContainsAny(r.Region, "./:@")) {
			t.Errorf("%q: %+v", host, r)
		}
	})
}

func resource(t *testing.T, host string) authn.Resource {
	t.Helper()
	r, err := name.NewRegistry(host)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func password(t *testing.T, k authn.Keychain, host string) string {
	t.Helper()
	auth, err := k.Resolve(resource(t, host))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := auth.Authorization()
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Password
}

func TestKeychain(t *testing.T) {
	f, c := start(t)
	now := time.Now()
	c.now = func() time.Time { return now }
	k := c.Keychain(t.Context())
	const tokyo = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com"

	if p := password(t, k, tokyo); p != "password-1" {
		t.Errorf("first: %s", p)
	}
	if f.regions[0] != "ap-northeast-1" {
		t.Errorf("asked in region %s, not in the registry's own", f.regions[0])
	}
	if p := password(t, k, tokyo); p != "password-1" {
		t.Errorf("not from memory: %s", p)
	}
	now = now.Add(12*time.Hour - 4*time.Minute)
	if p := password(t, k, tokyo); p != "password-2" {
		t.Errorf("four minutes before its end: %s", p)
	}
	for _, other := range []string{"registry.example.com", "public.ecr.aws"} {
		auth, err := k.Resolve(resource(t, other))
		if err != nil || auth != authn.Anonymous {
			t.Errorf("%s: %v, %v", other, auth, err)
		}
	}
}

func TestKeychainUsesAnExpiredTokenOnce(t *testing.T) {
	f, c := start(t)
	f.expires = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)
	k := c.Keychain(t.Context())
	const host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	if a, b := password(t, k, host), password(t, k, host); a != "password-1" || b != "password-2" {
		t.Errorf("%s, %s", a, b)
	}
}

func TestKeychainOfALocalCloud(t *testing.T) {
	f, c := start(t)
	host := strings.TrimPrefix(f.url, "http://")
	if p := password(t, c.Keychain(t.Context()), host); p != "password-1" {
		t.Errorf("endpoint's own host: %s", p)
	}
	if auth, err := c.Keychain(t.Context()).Resolve(resource(t, "127.0.0.1:1")); err != nil || auth != authn.Anonymous {
		t.Errorf("another loopback registry: %v, %v", auth, err)
	}
	// A token that is for another host is not handed to this one.
	f, c = start(t)
	f.proxy = "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	host = strings.TrimPrefix(f.url, "http://")
	if auth, err := c.Keychain(t.Context()).Resolve(resource(t, host)); err != nil || auth != authn.Anonymous {
		t.Errorf("token for another host: %v, %v", auth, err)
	}
}

func TestKeychainReturnsTheErrorOfAWS(t *testing.T) {
	f, c := start(t)
	f.deny = "GetAuthorizationToken"
	multi := authn.NewMultiKeychain(c.Keychain(t.Context()), authn.DefaultKeychain)
	_, err := multi.Resolve(resource(t, "123456789012.dkr.ecr.eu-west-1.amazonaws.com"))
	var api *APIError
	if !errors.As(err, &api) || !strings.Contains(api.Hint(), "ecr:GetAuthorizationToken") ||
		err.Error() != "log in to 123456789012.dkr.ecr.eu-west-1.amazonaws.com: AccessDeniedException: said by the fake" {
		t.Errorf("err = %v", err)
	}

	cfg := c.cfg
	cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New("no profile named shop")
	})
	_, err = New(cfg).Keychain(t.Context()).Resolve(resource(t, "123456789012.dkr.ecr.eu-west-1.amazonaws.com"))
	if !errors.As(err, &api) || !strings.Contains(err.Error(), "no profile named shop") || !strings.Contains(api.Hint(), "credentials") {
		t.Errorf("err = %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = authn.Resolve(ctx, c.Keychain(t.Context()), resource(t, "123456789012.dkr.ecr.eu-west-1.amazonaws.com"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func TestParseTokenTellsNothing(t *testing.T) {
	for _, token := range []string{"", "c2VjcmV0", "!secret!", base64.StdEncoding.EncodeToString([]byte("AWS:"))} {
		if _, _, err := parseToken(token); err == nil || strings.Contains(err.Error(), "c2VjcmV0") || strings.Contains(err.Error(), "!secret!") {
			t.Errorf("%q: %v", token, err)
		}
	}
}

func TestRepository(t *testing.T) {
	f, c := start(t)
	_, err := c.Repository(t.Context(), "shop/web")
	var missing *RepositoryNotFoundError
	if !errors.As(err, &missing) || !strings.Contains(missing.Hint(), "--create-repository") {
		t.Fatalf("err = %v", err)
	}

	made, err := c.CreateRepository(t.Context(), "shop/web")
	if err != nil {
		t.Fatal(err)
	}
	want := Repository{URI: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop/web", Mutability: "IMMUTABLE"}
	if made != want {
		t.Errorf("made %+v", made)
	}
	in := f.inputs[len(f.inputs)-1]
	if scan := in["imageScanningConfiguration"]; fmt.Sprint(scan) != "map[scanOnPush:true]" {
		t.Errorf("scan = %v", scan)
	}
	for _, name := range []string{"shop/web", want.URI} {
		if got, err := c.Repository(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if again, err := c.CreateRepository(t.Context(), name); err != nil || again != want {
			t.Errorf("made again: %+v, %v", again, err)
		}
	}

	// The registry's own account and region are asked.
	_, err = c.Repository(t.Context(), "210987654321.dkr.ecr.us-east-2.amazonaws.com/other")
	if !errors.As(err, &missing) || missing.Region != "us-east-2" || f.regions[len(f.regions)-1] != "us-east-2" ||
		f.inputs[len(f.inputs)-1]["registryId"] != "210987654321" {
		t.Errorf("err = %v, asked %v", err, f.inputs[len(f.inputs)-1])
	}

	asked := len(f.inputs)
	elsewhere, err := c.Repository(t.Context(), "registry.example.com/shop/web")
	if err != nil || elsewhere != (Repository{URI: "registry.example.com/shop/web"}) || len(f.inputs) != asked {
		t.Errorf("elsewhere: %+v, %v", elsewhere, err)
	}
	if _, err := c.CreateRepository(t.Context(), "registry.example.com/shop/web"); err == nil {
		t.Error("created a repository in a registry that is not ECR's")
	}
}
