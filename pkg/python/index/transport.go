package index

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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
	base     func() *http.Transport // made when it is first needed
	insecure func() *http.Transport // base without checking certificates
	used     *atomic.Bool           // whether there is a base
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
	config, authorities, err := o.tls()
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
	t := &Transport{used: new(atomic.Bool), trusted: map[string]bool{}}
	t.base = sync.OnceValue(func() *http.Transport {
		t.used.Store(true)
		base.TLSClientConfig.RootCAs = authorities.pool()
		return base
	})
	t.insecure = sync.OnceValue(func() *http.Transport {
		c := t.base().Clone()
		c.TLSClientConfig.InsecureSkipVerify = true
		return c
	})
	return t.Trusting(o.TrustedHosts...), nil
}

// Trusting is a transport that does not check the certificates of further hosts.
// It shares the connections of t.
func (t *Transport) Trusting(hosts ...string) *Transport {
	out := &Transport{base: t.base, insecure: t.insecure, used: t.used, trusted: map[string]bool{}}
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
	return t.base().RoundTrip(r)
}

// CloseIdleConnections closes the connections that nothing uses now.
func (t *Transport) CloseIdleConnections() {
	if t.used.Load() {
		t.base().CloseIdleConnections()
		t.insecure().CloseIdleConnections()
	}
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

func (o TransportOptions) tls() (*tls.Config, authorities, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	var roots authorities
	if o.CABundle != "" {
		var err error
		if roots, err = readAuthorities(o.CABundle); err != nil {
			return nil, nil, &TransportError{"CABundle", err}
		}
	}
	if o.ClientCert != "" {
		key := o.ClientKey
		if key == "" {
			key = o.ClientCert
		}
		pair, err := tls.LoadX509KeyPair(o.ClientCert, key)
		if err != nil {
			return nil, nil, &TransportError{"ClientCert", fmt.Errorf("read client certificate %s: %w", o.ClientCert, err)}
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, roots, nil
}

// maxBundle bounds a file of authorities; that of Debian has 200 kB.
const maxBundle = 16 << 20

// authorities are PEM files. To parse the hundred and more that a machine trusts
// takes longer than to resolve a small set whose pages are here, so that is left
// to the first connection.
type authorities [][]byte

// pool is nil, this machine's authorities, where there are none.
func (a authorities) pool() *x509.CertPool {
	if len(a) == 0 {
		return nil
	}
	pool := x509.NewCertPool()
	for _, file := range a {
		pool.AppendCertsFromPEM(file)
	}
	return pool
}

// readAuthorities reads a PEM file, or all files of a folder that have
// certificates in them.
func readAuthorities(name string) (authorities, error) {
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
	var found authorities
	for _, file := range files {
		text, err := readFileLimit(file, maxBundle)
		if err != nil {
			return nil, fmt.Errorf("read certificates %s: %w", file, err)
		}
		if hasCertificate(text) {
			found = append(found, text)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("read certificates %s: there is no certificate in it", name)
	}
	return found, nil
}

// hasCertificate reports whether there is a certificate in a PEM file.
func hasCertificate(text []byte) bool {
	for len(text) > 0 {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return false
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err == nil {
			return true
		}
	}
	return false
}
