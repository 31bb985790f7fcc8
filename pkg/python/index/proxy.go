package index

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// EnvironmentProxy chooses the proxy of a request by environment variables, as
// curl, pip and uv do: http_proxy or https_proxy, all_proxy where that of the
// scheme is not set, and no_proxy, which lists the hosts that are reached
// directly. Each may be written in capitals; lower-case counts more. This
// machine itself is never reached through a proxy.
func EnvironmentProxy(environment map[string]string) func(*http.Request) (*url.URL, error) {
	get := func(name string) string {
		if v := environment[name]; v != "" {
			return v
		}
		if name == "http_proxy" && environment["REQUEST_METHOD"] != "" {
			return "" // a CGI script's HTTP_PROXY is the client's "Proxy" header
		}
		return environment[strings.ToUpper(name)]
	}
	direct := get("no_proxy")
	return func(r *http.Request) (*url.URL, error) {
		text := get(r.URL.Scheme + "_proxy")
		if text == "" {
			text = get("all_proxy")
		}
		if text == "" || reachedDirectly(r.URL, direct) {
			return nil, nil
		}
		return parseProxy(text)
	}
}

// parseProxy reads the URL of a proxy; errors do not quote it, for it may hold
// a password.
func parseProxy(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the proxy's address is not a URL")
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return nil, errors.New("the proxy's address is neither a http, https nor socks5 URL")
	}
	if u.Hostname() == "" {
		return nil, errors.New("the proxy's address names no host")
	}
	return u, nil
}

// reachedDirectly reports whether no_proxy lists the host of a URL: as itself,
// as a domain above it, as an address or a range of addresses, with a port or
// for all. "*" lists every host.
func reachedDirectly(u *url.URL, list string) bool {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	address, err := netip.ParseAddr(host)
	isAddress := err == nil
	if host == "localhost" || isAddress && address.IsLoopback() {
		return true
	}
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "*" {
			return true
		}
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			if isAddress && prefix.Contains(address.Unmap()) {
				return true
			}
			continue
		}
		if h, port, err := net.SplitHostPort(entry); err == nil {
			if port != portOf(u) {
				continue
			}
			entry = h
		}
		entry = strings.TrimPrefix(strings.Trim(entry, "[]"), "*")
		if other, err := netip.ParseAddr(entry); err == nil {
			if isAddress && other.Unmap() == address.Unmap() {
				return true
			}
			continue
		}
		if domain := strings.Trim(entry, "."); domain != "" && (host == domain || strings.HasSuffix(host, "."+domain)) {
			return true
		}
	}
	return false
}
