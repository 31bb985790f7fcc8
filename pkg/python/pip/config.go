package pip

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// Setting is one value and where it was set: "PIP_INDEX_URL", "/etc/pip.conf:3",
// "--index-url". An empty Source means that it was not set.
type Setting[T any] struct {
	Value  T
	Source string
}

// IsSet says whether the value was set at all.
func (s Setting[T]) IsSet() bool { return s.Source != "" }

// or returns s where it is set, else o.
func (s Setting[T]) or(o Setting[T]) Setting[T] {
	if s.IsSet() {
		return s
	}
	return o
}

// Index is a package index. URL is that of its Simple API as it was written; it
// may hold a user name and a password and must not be shown as it is.
type Index struct {
	Name string // uv's name for it; "" for none
	URL  string
	// Explicit says that only packages pinned to it are looked up in it.
	Explicit bool
	Source   string // as in Setting
}

// Pin ties a project to the index of a name ([tool.uv.sources]).
type Pin struct {
	Project string // normalised
	Index   string
	Marker  string // the environments it holds in, PEP 508; "" for all
	Source  string
}

// Config is where packages come from and which may be taken: the settings that
// pip's and uv's configurations have in common.
type Config struct {
	// Default is the index that stands in for the public one; without a URL it
	// is not set.
	Default Index
	// Extra are the others, in the order in which they were named.
	Extra   []Index
	Pins    []Pin
	NoIndex Setting[bool]
	// FindLinks are directories, pages and files with links to distributions.
	FindLinks []Setting[string]
	// TrustedHosts are hosts, with a port or without, whose certificates are
	// not checked.
	TrustedHosts []Setting[string]
	Constraints  []Setting[string] // files

	Pre           Setting[bool] // pre-releases are candidates like others
	PreferBinary  Setting[bool]
	RequireHashes Setting[bool]
	// NoBinary and OnlyBinary are normalised names, or ":all:": what must be
	// built from source, and what must not.
	NoBinary, OnlyBinary []string
	// ExcludeNewer leaves out what was uploaded at that time or later.
	ExcludeNewer Setting[time.Time]
	// Strategy is uv's --index-strategy; unset, the first index that knows a
	// name wins.
	Strategy Setting[string]

	// KeyringProvider says how passwords are had: "subprocess" (the keyring
	// command), "import" and "auto" of pip, "disabled". Only this machine's
	// configuration has a say.
	KeyringProvider Setting[string]
	// Credentials are for indexes by name. They must not be shown.
	Credentials []Credential

	// How the indexes are reached from this machine.
	Cert, ClientCert, Proxy Setting[string]
	Timeout                 Setting[time.Duration]
	Retries                 Setting[int]
}

// Credential is the user name and password for the index of a name
// (UV_INDEX_NAME_USERNAME, POETRY_HTTP_BASIC_NAME_PASSWORD and the like).
type Credential struct {
	// Index is the name as variables have it: upper case, with an underscore for
	// all but letters and digits.
	Index              string
	Username, Password string
	Source             string // the first variable or file that it was read from
}

// credentialName makes an index's name what variables have.
func credentialName(index string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, strings.ToUpper(index))
}

// credentials reads PREFIX_NAME_USERNAME and PREFIX_NAME_PASSWORD.
func credentials(env map[string]string, prefix string) []Credential {
	var out []Credential
	for _, key := range slices.Sorted(maps.Keys(env)) {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		name, isPassword := strings.CutSuffix(rest, "_PASSWORD")
		if !isPassword {
			if name, ok = strings.CutSuffix(rest, "_USERNAME"); !ok {
				continue
			}
		}
		i := slices.IndexFunc(out, func(c Credential) bool { return c.Index == name })
		if i < 0 {
			i = len(out)
			out = append(out, Credential{Index: name, Source: key})
		}
		if isPassword {
			out[i].Password = env[key]
		} else {
			out[i].Username = env[key]
		}
	}
	return out
}

// Credential returns the user name and password for the index of a name. One of
// them may be empty.
func (c Config) Credential(index string) (Credential, bool) {
	name := credentialName(index)
	for _, x := range c.Credentials {
		if index != "" && x.Index == name {
			return x, true
		}
	}
	return Credential{}, false
}

// Indexes returns the indexes in the order in which a name is looked up: the
// extra ones as they were named, then the default one, as uv does it; an
// extra index is there for what the default one must not answer for. fallback
// is the default index where none is set; without a URL there is none. Explicit
// indexes are left out, and there are none at all with NoIndex.
func (c Config) Indexes(fallback Index) []Index {
	if c.NoIndex.Value {
		return nil
	}
	var out []Index
	for _, x := range c.Extra {
		if !x.Explicit {
			out = append(out, x)
		}
	}
	last := c.Default
	if last.URL == "" {
		last = fallback
	}
	if last.URL != "" && !last.Explicit && !slices.ContainsFunc(out, func(x Index) bool { return x.URL == last.URL }) {
		out = append(out, last)
	}
	return out
}

// For returns the settings with those pins that hold in an environment, of each
// project the first.
func (c Config) For(env python.Environment) (Config, error) {
	all := c.Pins
	c.Pins = nil
	for _, p := range all {
		if slices.ContainsFunc(c.Pins, func(o Pin) bool { return o.Project == p.Project }) {
			continue
		}
		if p.Marker != "" {
			m, err := python.ParseMarker(p.Marker)
			if err != nil {
				return Config{}, &ConfigError{File: p.Source, Reason: "sources." + p.Project, Err: err}
			}
			if !m.Evaluate(env) {
				continue
			}
		}
		c.Pins = append(c.Pins, p)
	}
	return c, nil
}

// Named returns the index that a pin names.
func (c Config) Named(name string) (Index, bool) {
	for _, x := range append([]Index{c.Default}, c.Extra...) {
		if name != "" && x.Name == name && x.URL != "" {
			return x, true
		}
	}
	return Index{}, false
}

// Merge joins configurations, the one that counts most first. Of single values
// the first that is set holds; lists are joined in that order, without
// repetitions. So a setting in pip.conf stands until the environment says
// another, while an extra index of either is asked.
func Merge(configs ...Config) Config {
	var out Config
	for _, c := range configs {
		if out.Default.URL == "" {
			out.Default = c.Default
		}
		for _, x := range c.Extra {
			if !slices.ContainsFunc(out.Extra, func(o Index) bool { return o.URL == x.URL || o.Name != "" && o.Name == x.Name }) {
				out.Extra = append(out.Extra, x)
			}
		}
		for _, p := range c.Pins {
			if !slices.ContainsFunc(out.Pins, func(o Pin) bool { return o.Project == p.Project && o.Source != p.Source }) {
				out.Pins = append(out.Pins, p)
			}
		}
		out.NoIndex = out.NoIndex.or(c.NoIndex)
		out.FindLinks = union(out.FindLinks, c.FindLinks)
		out.TrustedHosts = union(out.TrustedHosts, c.TrustedHosts)
		out.Constraints = union(out.Constraints, c.Constraints)
		out.Pre = out.Pre.or(c.Pre)
		out.PreferBinary = out.PreferBinary.or(c.PreferBinary)
		out.RequireHashes = out.RequireHashes.or(c.RequireHashes)
		out.mergeFormats(c)
		out.ExcludeNewer = out.ExcludeNewer.or(c.ExcludeNewer)
		out.Strategy = out.Strategy.or(c.Strategy)
		out.KeyringProvider = out.KeyringProvider.or(c.KeyringProvider)
		for _, x := range c.Credentials {
			if !slices.ContainsFunc(out.Credentials, func(o Credential) bool { return o.Index == x.Index }) {
				out.Credentials = append(out.Credentials, x)
			}
		}
		out.Cert = out.Cert.or(c.Cert)
		out.ClientCert = out.ClientCert.or(c.ClientCert)
		out.Proxy = out.Proxy.or(c.Proxy)
		out.Timeout = out.Timeout.or(c.Timeout)
		out.Retries = out.Retries.or(c.Retries)
	}
	return out
}

// mergeFormats adds the names that are not decided yet.
func (c *Config) mergeFormats(lower Config) {
	if slices.Contains(c.NoBinary, allPackages) || slices.Contains(c.OnlyBinary, allPackages) {
		return
	}
	no, only := c.NoBinary, c.OnlyBinary
	for _, name := range lower.NoBinary {
		if !slices.Contains(only, name) && !slices.Contains(no, name) {
			c.NoBinary = append(c.NoBinary, name)
		}
	}
	for _, name := range lower.OnlyBinary {
		if !slices.Contains(no, name) && !slices.Contains(only, name) {
			c.OnlyBinary = append(c.OnlyBinary, name)
		}
	}
}

func union(a, b []Setting[string]) []Setting[string] {
	for _, s := range b {
		if !slices.ContainsFunc(a, func(o Setting[string]) bool { return o.Value == s.Value }) {
			a = append(a, s)
		}
	}
	return a
}

// allPackages and noPackages are pip's words for a format option's whole and
// empty list.
const (
	allPackages = ":all:"
	noPackages  = ":none:"
)

// restrict applies one --no-binary or --only-binary (target; other is the
// opposite one) as pip does: a name in the one leaves the other, ":all:" drops
// what stood before.
func restrict(value string, target, other *[]string) {
	for name := range splitComma(value) {
		switch name {
		case allPackages:
			*target, *other = []string{allPackages}, nil
		case noPackages:
			*target = nil
		default:
			name = python.NormalizeName(name)
			*other = slices.DeleteFunc(*other, func(s string) bool { return s == name })
			if !slices.Contains(*target, name) {
				*target = append(*target, name)
			}
		}
	}
}

// ConfigError reports a wrong value or a malformed file.
type ConfigError struct {
	// File is the configuration file, or the environment variable.
	File   string
	Line   int // 0: unknown, or an environment variable
	Reason string
	Err    error
}

func (e *ConfigError) Error() string {
	s := e.File
	if e.Line > 0 {
		s = fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	s += ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// Position returns the file and line that are wrong.
func (e *ConfigError) Position() (file string, line int) { return e.File, e.Line }
