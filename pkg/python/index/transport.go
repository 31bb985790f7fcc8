package index

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// TransportOptions say how servers are reached. The zero value is a direct
// connection with the certificates that this machine trusts.
type TransportOptions struct {
	// CABundle is a PEM file, or a folder of them, with the authorities that are
	// trusted instead of this machine's (pip's --cert, REQUESTS_CA_BUNDLE).
	CABundle string
	// ClientCert is a PEM file with the certificate that servers are shown, and
	// with its key if ClientKey is empty (pip's --client-cert, uv's
	// SSL_CLIENT_CERT).
	ClientCert, ClientKey string
	// Proxy is the URL of the proxy that all requests go through
	// ("http://user:password@proxy:3128", https, socks5; http if there is no
	// scheme).
	Proxy string
	// ProxyFor chooses the proxy of each request where Proxy is empty; nil is
	// none. See [EnvironmentProxy].
	ProxyFor func(*http.Request) (*url.URL, error)
	// TrustedHosts are the hosts, "host" or "host:port", whose certificates are
	// not checked (pip's --trusted-host, uv's --allow-insecure-host).
	TrustedHosts []string
	// Timeout bounds the wait for a connection, and for the beginning of an
	// answer; 0 = 30 and 60 seconds.
	Timeout time.Duration
}

// Transport is a http.RoundTripper for package indexes: HTTP/2, compressed
// pages, connections that are kept for the many requests of a resolution.
type Transport struct {
	base     *http.Transport
	insecure func() *http.Transport // base without checking certificates
	trusted  map[string]bool        // "host" or "host:port", lower-case
}

// TransportError is a setting of TransportOptions that cannot be used.
type TransportError struct {
	Setting string // the name of the field: "CABundle"
	Err     error
}

func (e *TransportError) Error() string { return "reach package indexes: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// maxIdle is how many connections to a server are kept; to one that does not
// speak HTTP/2 every request at a time takes its own.
const maxIdle = 64

// NewTransport makes a transport. The error is a *TransportError.
func NewTransport(o TransportOptions) (*Transport, error) {
	config, err := o.tls()
	if err != nil {
		return nil, err
	}
	connect, answer := 30*time.Second, 60*time.Second
	if o.Timeout > 0 {
		connect, answer = o.Timeout, o.Timeout
	}
	dialer := &net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}
	base := &http.Transport{
		Proxy: o.ProxyFor, DialContext: dialer.DialContext, TLSClientConfig: config, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: connect, ResponseHeaderTimeout: answer, ExpectContinueTimeout: time.Second,
		MaxIdleConns: 2 * maxIdle, MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: 1 << 20, ReadBufferSize: 32 << 10,
	}
	if o.Proxy != "" {
		u, err := parseProxy(o.Proxy)
		if err != nil {
			return nil, &TransportError{"Proxy", err}
		}
		base.Proxy = http.ProxyURL(u)
	}
	t := &Transport{base: base, trusted: map[string]bool{}}
	t.insecure = sync.OnceValue(func() *http.Transport {
		c := base.Clone()
		c.TLSClientConfig.InsecureSkipVerify = true
		return c
	})
	return t.Trusting(o.TrustedHosts...), nil
}

// Trusting is a transport that does not check the certificates of further hosts.
// It shares the connections of t.
func (t *Transport) Trusting(hosts ...string) *Transport {
	out := &Transport{base: t.base, insecure: t.insecure, trusted: map[string]bool{}}
	for h := range t.trusted {
		out.trusted[h] = true
	}
	for _, h := range hosts {
		if _, rest, ok := strings.Cut(h, "://"); ok { // uv takes URLs too
			h, _, _ = strings.Cut(rest, "/")
		}
		out.trusted[strings.ToLower(h)] = true
	}
	return out
}

// RoundTrip makes one request (http.RoundTripper). Redirects come here one by
// one, so that trust ends with the host that has it.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	host := strings.ToLower(r.URL.Hostname())
	if r.URL.Scheme == "https" && (t.trusted[host] || t.trusted[net.JoinHostPort(host, portOf(r.URL))]) {
		return t.insecure().RoundTrip(r)
	}
	return t.base.RoundTrip(r)
}

// CloseIdleConnections closes the connections that nothing uses now.
func (t *Transport) CloseIdleConnections() {
	t.base.CloseIdleConnections()
	t.insecure().CloseIdleConnections()
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

func (o TransportOptions) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CABundle != "" {
		pool, err := readAuthorities(o.CABundle)
		if err != nil {
			return nil, &TransportError{"CABundle", err}
		}
		config.RootCAs = pool
	}
	if o.ClientCert != "" {
		key := o.ClientKey
		if key == "" {
			key = o.ClientCert
		}
		pair, err := tls.LoadX509KeyPair(o.ClientCert, key)
		if err != nil {
			return nil, &TransportError{"ClientCert", fmt.Errorf("read client certificate %s: %w", o.ClientCert, err)}
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// maxBundle bounds a file of authorities; that of Debian has 200 kB.
const maxBundle = 16 << 20

// readAuthorities reads a PEM file, or all files of a folder that have
// certificates in them.
func readAuthorities(name string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	files := []string{name}
	if info.IsDir() {
		entries, err := os.ReadDir(name)
		if err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		files = files[:0]
		for _, e := range entries {
			file := filepath.Join(name, e.Name())
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
				files = append(files, file)
			}
		}
	}
	some := false
	for _, file := range files {
		pem, err := readFileLimit(file, maxBundle)
		if err != nil {
			return nil, fmt.Errorf("read certificates %s: %w", file, err)
		}
		some = pool.AppendCertsFromPEM(pem) || some
	}
	if !some {
		return nil, fmt.Errorf("read certificates %s: there is no certificate in it", name)
	}
	return pool, nil
}
