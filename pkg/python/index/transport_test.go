package index_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/index/indextest"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{}
	a.key, a.cert, _ = sign(t, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func sign(t *testing.T, by *authority, c *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, parentKey := c, key
	if by != nil {
		parent, parentKey = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return key, parsed, append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...)
}

// tlsIndex serves an index over TLS with a certificate of the authority, which
// clients must have too if wantClient is set.
func tlsIndex(t *testing.T, a *authority, wantClient bool) (s *indextest.Server, root string) {
	s = indextest.NewServer(t)
	_, _, text := sign(t, a, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(s)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what is tested
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	if wantClient {
		server.TLS.ClientCAs, server.TLS.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		server.TLS.ClientCAs.AddCert(a.cert)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return s, server.URL + "/simple/"
}

func TestTransportTrust(t *testing.T) {
	own, other := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	writeCA := func(name string, a *authority) string {
		file := filepath.Join(dir, name)
		write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})))
		return file
	}
	bundle, foreign := writeCA("own.pem", own), writeCA("other.pem", other)
	_, _, text := sign(t, own, &x509.Certificate{Subject: pkix.Name{CommonName: "a client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	client := filepath.Join(t.TempDir(), "client.pem")
	write(t, client, string(text))
	tests := []struct {
		name       string
		options    index.TransportOptions
		wantClient bool
		ok         bool
	}{
		{"not known", index.TransportOptions{}, false, false},
		{"own authority", index.TransportOptions{CABundle: bundle}, false, true},
		{"folder of authorities", index.TransportOptions{CABundle: dir}, false, true},
		{"another authority only", index.TransportOptions{CABundle: foreign}, false, false},
		{"trusted host", index.TransportOptions{TrustedHosts: []string{"127.0.0.1"}}, false, true},
		{"trusted host and port", index.TransportOptions{TrustedHosts: []string{"PORT"}}, false, true},
		{"trusted URL", index.TransportOptions{TrustedHosts: []string{"https://127.0.0.1/"}}, false, true},
		{"another port is trusted", index.TransportOptions{TrustedHosts: []string{"127.0.0.1:1"}}, false, false},
		{"without the client's certificate", index.TransportOptions{CABundle: bundle}, true, false},
		{"with the client's certificate", index.TransportOptions{CABundle: bundle, ClientCert: client}, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, root := tlsIndex(t, own, tt.wantClient)
			s.AddWheel("a", "1.0", nil, "")
			if tt.options.TrustedHosts != nil && tt.options.TrustedHosts[0] == "PORT" {
				u, _ := url.Parse(root)
				tt.options.TrustedHosts = []string{u.Host}
			}
			transport, err := index.NewTransport(tt.options)
			if err != nil {
				t.Fatal(err)
			}
			defer transport.CloseIdleConnections()
			c := newClient(t, nil, index.Options{Indexes: []index.Index{{URL: root}}, HTTP: &http.Client{Transport: transport}})
			if _, err := c.Project(ctx, "a"); (err == nil) != tt.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestTransportSpeaksHTTP2 also sees that pages may be compressed.
func TestTransportSpeaksHTTP2(t *testing.T) {
	a := newAuthority(t)
	s, root := tlsIndex(t, a, false)
	s.AddWheel("a", "1.0", nil, "")
	s.Intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if r.ProtoMajor != 2 || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Errorf("%s, Accept-Encoding %q", r.Proto, r.Header.Get("Accept-Encoding"))
		}
		return false
	}
	for _, o := range []index.TransportOptions{{TrustedHosts: []string{"127.0.0.1"}}} {
		transport, err := index.NewTransport(o)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, nil, index.Options{Indexes: []index.Index{{URL: root}}, HTTP: &http.Client{Transport: transport}})
		if _, err := c.Project(ctx, "a"); err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
	}
}

func TestTransportErrors(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	write(t, empty, "nothing")
	for setting, o := range map[string]index.TransportOptions{
		"CABundle":   {CABundle: empty},
		"ClientCert": {ClientCert: empty},
		"Proxy":      {Proxy: "ftp://user:s3cret@example.org"},
	} {
		_, err := index.NewTransport(o)
		var bad *index.TransportError
		if !errors.As(err, &bad) || bad.Setting != setting || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", setting, err)
		}
	}
	if _, err := index.NewTransport(index.TransportOptions{CABundle: filepath.Join(t.TempDir(), "missing")}); err == nil {
		t.Error("a missing bundle is no error")
	}
}

// proxy is an HTTP proxy that tunnels (CONNECT) and forwards.
func proxy(t *testing.T) (address string, seen func() []string) {
	var mu sync.Mutex
	var requests []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
		mu.Unlock()
		if r.Method != http.MethodConnect {
			r.RequestURI = ""
			r.Header.Del("Proxy-Authorization")
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
			w.WriteHeader(resp.StatusCode)
			io.Copy(w, resp.Body)
			return
		}
		up, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer up.Close()
		down, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer down.Close()
		io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(up, bufio.NewReader(buffered))
			up.Close()
		}()
		io.Copy(down, up)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(requests)
	}
}

func TestTransportProxy(t *testing.T) {
	a := newAuthority(t)
	secure, secureRoot := tlsIndex(t, a, false)
	secure.AddWheel("a", "1.0", nil, "")
	plain := indextest.NewServer(t)
	plain.AddWheel("a", "1.0", nil, "")
	for root, method := range map[string]string{secureRoot: "CONNECT", plain.URL: "GET"} {
		address, seen := proxy(t)
		u, _ := url.Parse(root)
		transport, err := index.NewTransport(index.TransportOptions{
			Proxy: strings.Replace(address, "://", "://user:s3cret@", 1), TrustedHosts: []string{"127.0.0.1"},
		})
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, nil, index.Options{Indexes: []index.Index{{URL: root}}, HTTP: &http.Client{Transport: transport}})
		if _, err := c.Project(ctx, "a"); err != nil {
			t.Error(err)
		}
		if want := method + " " + u.Host + " Basic dXNlcjpzM2NyZXQ="; !slices.Contains(seen(), want) {
			t.Errorf("the proxy saw %q, want %q", seen(), want)
		}
		transport.CloseIdleConnections()
	}
}

func TestEnvironmentProxy(t *testing.T) {
	both := map[string]string{"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1", "ALL_PROXY": "socks5://c:1", "no_proxy": "x.example.org, .y.example.org,*.z.example.org,10.0.0.0/8,192.0.2.1,[2001:db8::1]:443,w.example.org:8443"}
	tests := []struct {
		env  map[string]string
		url  string
		want string
	}{
		{nil, "https://example.org/", ""},
		{both, "https://example.org/", "http://a:1"},
		{both, "http://example.org/", "socks5://c:1"},
		{map[string]string{"HTTPS_PROXY": "proxy:3128"}, "https://example.org/", "http://proxy:3128"},
		{map[string]string{"HTTP_PROXY": "http://a:1", "REQUEST_METHOD": "GET"}, "http://example.org/", ""},
		{map[string]string{"ALL_PROXY": "http://a:1", "NO_PROXY": "*"}, "http://example.org/", ""},
		{both, "https://x.example.org/", ""},
		{both, "https://sub.X.example.org./", ""},
		{both, "https://notx.example.org/", "http://a:1"},
		{both, "https://sub.y.example.org/", ""},
		{both, "https://sub.z.example.org/", ""},
		{both, "https://10.1.2.3/", ""},
		{both, "https://11.1.2.3/", "http://a:1"},
		{both, "https://192.0.2.1/", ""},
		{both, "https://[2001:db8::1]/", ""},
		{both, "https://[2001:db8::1]:444/", "http://a:1"},
		{both, "https://w.example.org:8443/", ""},
		{both, "https://w.example.org/", "http://a:1"},
		{both, "https://localhost:1/", ""},
		{both, "https://127.0.0.9/", ""},
		{map[string]string{"ALL_PROXY": "ftp://x"}, "http://example.org/", "error"},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(http.MethodGet, tt.url, nil)
		u, err := index.EnvironmentProxy(tt.env)(r)
		got := ""
		switch {
		case err != nil:
			got = "error"
		case u != nil:
			got = u.String()
		}
		if got != tt.want {
			t.Errorf("%v %s: %q, want %q", tt.env, tt.url, got, tt.want)
		}
	}
}
