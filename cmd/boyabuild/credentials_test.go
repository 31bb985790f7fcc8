package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/boyabuild/boyabuild/pkg/codeartifact"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/store"
)

func TestKeyring(t *testing.T) {
	dir := t.TempDir()
	asked := filepath.Join(dir, "asked")
	script := `#!/bin/sh
echo "$*" >>` + asked + `
case "$*" in
"get https://example.org/simple/ reader") echo right ;;
"get other.example.org reader") printf 'of the host\r\n' ;;
"get --mode creds https://example.org/simple/") printf 'me\nmine\n' ;;
*) echo "no such password" >&2; exit 1 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "keyring"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	tokens := codeartifact.New(func(context.Context, string) (aws.Config, error) { return aws.Config{}, errors.New("no AWS here") })
	e := &env{}
	log := slog.New(slog.DiscardHandler)
	tests := []struct {
		provider, place string
		want            string // "user password", or the beginning of an error
		asked           []string
	}{
		{"subprocess", "https://reader@example.org/simple/", "reader right", []string{"get https://example.org/simple/ reader"}},
		{"subprocess", "https://reader@other.example.org/simple/", "reader of the host", []string{"get https://other.example.org/simple/ reader", "get other.example.org reader"}},
		{"subprocess", "https://example.org/simple/", "me mine", []string{"get --mode creds https://example.org/simple/"}},
		{"subprocess", "https://third.example.org:443", "none", []string{"get --mode creds https://third.example.org", "get --mode creds third.example.org"}},
		{"subprocess", "https://-x@example.org/simple/", "none", nil},
		{"disabled", "https://reader@example.org/simple/", "none", nil},
		{"", "https://reader@example.org/simple/", "none", nil},
		{"subprocess", "https://shop-123456789012.d.codeartifact.eu-west-1.amazonaws.com/pypi/python/simple/", "log in to CodeArtifact", nil},
	}
	for _, tt := range tests {
		os.Remove(asked)
		user, password, ok, err := e.credentials(tokens, tt.provider, log)(context.Background(), tt.place)
		got := "none"
		switch {
		case err != nil:
			got, _, _ = strings.Cut(err.Error(), " domain")
		case ok:
			got = user + " " + password
		}
		if got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.provider, tt.place, got, tt.want)
		}
		var calls []string
		if b, err := os.ReadFile(asked); err == nil {
			calls = strings.Split(strings.TrimSpace(string(b)), "\n")
		}
		if diff := cmp.Diff(tt.asked, calls); diff != "" {
			t.Errorf("%s %s: %s", tt.provider, tt.place, diff)
		}
	}
	t.Setenv("PATH", t.TempDir())
	_, _, _, err := e.credentials(tokens, "subprocess", log)(context.Background(), "https://reader@example.org/simple/")
	var missing *keyringError
	if !errors.As(err, &missing) || missing.Hint() == "" {
		t.Errorf("no keyring command: %v", err)
	}
}

func TestCodeArtifactIndexes(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"repositoryEndpoint":"https://shop-123456789012.d.codeartifact.eu-west-1.amazonaws.com/pypi/`+r.URL.Query().Get("repository")+`/"}`)
	}))
	defer server.Close()
	tokens := codeartifact.New(func(context.Context, string) (aws.Config, error) {
		return aws.Config{Region: "eu-west-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")}, nil
	})
	in := pip.Config{
		Default: pip.Index{URL: "codeartifact://shop/python", Source: "boyabuild.yaml"},
		Extra:   []pip.Index{{URL: "https://example.org/simple/"}, {URL: "codeartifact://shop/more", Name: "more"}},
	}
	got, err := codeArtifactIndexes(context.Background(), tokens, in)
	if err != nil {
		t.Fatal(err)
	}
	const root = "https://shop-123456789012.d.codeartifact.eu-west-1.amazonaws.com/pypi/"
	if got.Default.URL != root+"python/simple/" || got.Extra[0].URL != in.Extra[0].URL || got.Extra[1].URL != root+"more/simple/" || in.Extra[1].URL != "codeartifact://shop/more" {
		t.Errorf("%+v, of %+v", got, in)
	}
	in.Default.URL = "codeartifact://shop"
	var usage *usageError
	if _, err := codeArtifactIndexes(context.Background(), tokens, in); !errors.As(err, &usage) || !strings.HasPrefix(err.Error(), "boyabuild.yaml: ") {
		t.Errorf("half an address: %v", err)
	}
}

func TestTransportSettings(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for want, e := range map[string]*env{
		"REQUESTS_CA_BUNDLE: ": {environ: func() []string { return []string{"REQUESTS_CA_BUNDLE=" + missing, "CURL_CA_BUNDLE=x"} }},
		"SSL_CLIENT_CERT: ":    {environ: func() []string { return []string{"SSL_CLIENT_CERT=" + missing} }},
		"":                     {environ: func() []string { return []string{"https_proxy=http://proxy.example.org:3128"} }},
	} {
		_, err := e.transport(pip.Config{})
		var usage *usageError
		if (err == nil) != (want == "") || err != nil && (!errors.As(err, &usage) || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s%v", want, err)
		}
	}
}

// TestHostDefault counts how often Python is started.
func TestHostDefault(t *testing.T) {
	dir := t.TempDir()
	source, started := filepath.Join(dir, "index.py"), filepath.Join(dir, "started")
	write := func(name, content string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "python3"), "#!/bin/sh\necho x >>"+started+"\necho "+source+"\n", 0o755)
	write(source, "PyPI = PackageIndex(\"https://example.org/\", file_storage_domain=\"example.org\")\n", 0o644)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &session{env: &env{getenv: func(string) string { return "" }}, store: st, ui: &ui{log: slog.New(slog.DiscardHandler)}}
	for i, want := range []int{1, 1, 2} {
		if i == 2 {
			write(source, "PyPI = PackageIndex(\"https://other.example.org/\", file_storage_domain=\"example.org\")\n", 0o644)
		}
		u, err := s.hostDefault(context.Background())
		b, _ := os.ReadFile(started)
		if n := strings.Count(string(b), "x"); err != nil || n != want || strings.Contains(u, "other") != (i == 2) {
			t.Errorf("call %d: %s, %v, started %d times", i, u, err, n)
		}
	}
}
