package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/build"
	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/ecr"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/store"
)

// session is what the commands share: where they work, by which configuration,
// with which store, and how they talk.
type session struct {
	env     *env
	cmd     *cobra.Command
	context string
	config  *config
	store   *store.Store
	ui      *ui
	started time.Time
}

// newSession opens a session; the first argument, if there is one, is the build
// context.
func newSession(cmd *cobra.Command, e *env, g *globals, args []string) (*session, error) {
	at := "."
	if len(args) > 0 {
		at = args[0]
	}
	c, err := loadConfig(g.config, at)
	if err != nil {
		return nil, err
	}
	s, err := bareSession(cmd, e, g)
	if err != nil {
		return nil, err
	}
	s.context, s.config = at, c
	return s, nil
}

// bareSession is for commands that have to do with no app: no configuration is
// read.
func bareSession(cmd *cobra.Command, e *env, g *globals) (*session, error) {
	s := &session{env: e, cmd: cmd, config: &config{}, started: time.Now()}
	var err error
	if s.ui, err = g.ui(e); err != nil {
		return nil, err
	}
	dir, err := e.cacheDir()
	if err != nil {
		return nil, err
	}
	s.store, err = store.Open(dir)
	return s, err
}

// lookup returns a variable of the environment; an empty one is not set.
func (e *env) lookup(name string) (string, bool) {
	v := e.getenv(name)
	return v, v != ""
}

func (s *session) close() {
	s.ui.close()
	_ = s.store.Close() // what cannot be removed now, the next command removes
}

// cacheDir is where images, layers and packages are kept.
func (e *env) cacheDir() (string, error) {
	if dir := e.getenv("BOYABUILD_CACHE"); dir != "" {
		return dir, nil
	}
	return e.xdg("XDG_CACHE_HOME", ".cache")
}

// stateDir is where the local cloud keeps what it must not forget.
func (e *env) stateDir() (string, error) { return e.xdg("XDG_STATE_HOME", ".local/state") }

func (e *env) xdg(variable, fallback string) (string, error) {
	if dir := e.getenv(variable); filepath.IsAbs(dir) { // others are to be ignored (XDG Base Directory Specification)
		return filepath.Join(dir, "boyabuild"), nil
	}
	home := e.getenv("HOME")
	if home == "" {
		return "", usagef("neither %s nor HOME is set, so there is no folder to keep files in; set BOYABUILD_CACHE", variable)
	}
	return filepath.Join(home, filepath.FromSlash(fallback), "boyabuild"), nil
}

// sourceDate is SOURCE_DATE_EPOCH: the time of all that is made.
func (e *env) sourceDate() (time.Time, error) {
	text := e.getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, usagef("SOURCE_DATE_EPOCH is %q, not a number of seconds since 1970", text)
	}
	return time.Unix(n, 0), nil
}

// indexFlags are pip's flags for where packages come from.
type indexFlags struct {
	indexURL  string
	extra     []string
	findLinks []string
	noIndex   bool
}

func (f *indexFlags) register(s *pflag.FlagSet) {
	s.StringVar(&f.indexURL, "index-url", "", "`URL` of the package index")
	s.StringArrayVar(&f.extra, "extra-index-url", nil, "`URL` of a package index to ask first")
	s.StringArrayVar(&f.findLinks, "find-links", nil, "folder or `URL` of a page with wheels")
	s.BoolVar(&f.noIndex, "no-index", false, "use no package index, only --find-links")
}

// forced are the settings of boyabuild's own flags and configuration, which
// nothing else beats.
func (s *session) forced(f *indexFlags) pip.Config {
	var c pip.Config
	for _, u := range f.extra {
		c.Extra = append(c.Extra, pip.Index{URL: u, Source: "--extra-index-url"})
	}
	for i, u := range s.config.Index {
		x := pip.Index{URL: u, Source: s.config.path}
		if i == len(s.config.Index)-1 && f.indexURL == "" {
			c.Default = x
		} else if i < len(s.config.Index)-1 {
			c.Extra = append(c.Extra, x)
		}
	}
	if f.indexURL != "" {
		c.Default = pip.Index{URL: f.indexURL, Source: "--index-url"}
	}
	for _, u := range f.findLinks {
		c.FindLinks = append(c.FindLinks, pip.Setting[string]{Value: u, Source: "--find-links"})
	}
	if f.noIndex {
		c.NoIndex = pip.Setting[bool]{Value: true, Source: "--no-index"}
	}
	return c
}

// builder makes the builder with all that it takes from this machine.
func (s *session) builder(f *indexFlags) (*build.Builder, error) {
	host, err := s.env.hostPackages(s.context)
	if err != nil {
		return nil, err
	}
	transport, err := s.env.transport(host)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: transport}
	tokens := s.codeArtifact()
	forced := s.forced(f)
	for _, c := range []*pip.Config{&host, &forced} {
		if *c, err = codeArtifactIndexes(s.cmd.Context(), tokens, *c); err != nil {
			return nil, err
		}
	}
	netrc, err := s.env.netrc()
	if err != nil {
		return nil, err
	}
	sources, err := debian.ReadSources(s.env.host)
	if err != nil {
		return nil, err
	}
	return &build.Builder{
		Store: s.store,
		Base: base.Options{
			Keychain: authn.NewMultiKeychain(&lazyECR{s: s, region: s.config.Deploy.Region}, authn.DefaultKeychain),
			Debian:   debian.Options{Client: client, Host: sources, Mirror: s.debianMirror()},
		},
		Index: build.IndexSettings{Flags: forced, Host: host, HostDefault: s.hostDefault, Netrc: netrc,
			Credentials: s.env.credentials(tokens, host.KeyringProvider.Value, s.ui.log)},
		HTTP:     client,
		Log:      s.ui.log,
		Progress: s.ui.progress,
	}, nil
}

// debianMirror is the setting for the Debian mirror, "" to take the host's.
func (s *session) debianMirror() string {
	if m := s.env.getenv("BOYABUILD_DEBIAN_MIRROR"); m != "" {
		return m
	}
	m := s.config.Debian.Mirror
	if s.config.Debian.Security != "" {
		m += "," + s.config.Debian.Security
	}
	return m
}

// lazyECR logs in to ECR only when an ECR registry is asked for.
type lazyECR struct {
	s      *session
	region string
	client *ecr.Client
}

func (l *lazyECR) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return l.ResolveContext(context.Background(), r)
}

func (l *lazyECR) ResolveContext(ctx context.Context, r authn.Resource) (authn.Authenticator, error) {
	if _, ok := ecr.ParseRegistry(r.RegistryStr()); !ok && r.RegistryStr() != l.s.env.awsEndpoint() {
		return authn.Anonymous, nil
	}
	if l.client == nil {
		cfg, err := l.s.awsConfig(ctx, l.region)
		if err != nil {
			return nil, err
		}
		l.client = ecr.New(cfg)
	}
	return authn.Resolve(ctx, l.client.Keychain(ctx), r)
}

// awsEndpoint is the host of another endpoint than AWS's own for ECR, such as a
// local cloud's, by the SDK's variables; "" where none is set.
func (e *env) awsEndpoint() string {
	text := e.getenv("AWS_ENDPOINT_URL_ECR")
	if text == "" {
		text = e.getenv("AWS_ENDPOINT_URL")
	}
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}

// netrc reads the machine's logins.
func (e *env) netrc() (index.Netrc, error) {
	p := e.getenv("NETRC")
	if p == "" {
		p = filepath.Join(e.getenv("HOME"), ".netrc")
	}
	b, err := readBounded(p, 1<<20)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read netrc: %w", err)
	}
	n, err := index.ParseNetrc(b)
	if err != nil {
		return nil, &configError{file: p, reason: err.Error()}
	}
	return n, nil
}

// hostPackages are the settings of pip and uv on this machine; pip's count more.
func (e *env) hostPackages(project string) (pip.Config, error) {
	vars := map[string]string{}
	for _, kv := range e.environ() {
		name, value, _ := strings.Cut(kv, "=")
		vars[name] = value
	}
	abs, err := filepath.Abs(project)
	if err != nil {
		return pip.Config{}, err
	}
	at := pip.Locations{Home: vars["HOME"], Project: filepath.ToSlash(abs)}
	read := func(name string) ([]byte, error) { return readBounded(name, 1<<20) }
	ofPip, err := pip.PipConfig(vars, at, read)
	if err != nil {
		return pip.Config{}, err
	}
	ofUV, err := pip.UVConfig(vars, at, read)
	if err != nil {
		return pip.Config{}, err
	}
	return pip.Merge(ofPip, ofUV), nil
}
