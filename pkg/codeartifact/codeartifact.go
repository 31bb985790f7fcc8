// Package codeartifact is the part of AWS CodeArtifact that an index of Python
// packages needs besides the index itself: the password, and the address.
//
// AWS's own configuration goes in. Out come the login for the hosts that are
// CodeArtifact's, made of the account's AWS credentials, and the URL of a
// repository's Simple API from its domain, owner and name.
//
// The package writes nothing to disk, keeps tokens in memory until shortly
// before they expire, and hides no error of AWS behind an anonymous attempt.
package codeartifact

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codeartifact"
	"github.com/aws/aws-sdk-go-v2/service/codeartifact/types"
	"github.com/aws/smithy-go"
)

// Domain is a domain of CodeArtifact: what a token is for.
type Domain struct {
	Name   string
	Owner  string // the account's twelve digits; "" = that of the credentials
	Region string // "" = the configured one
}

// Repository is a repository of a domain.
type Repository struct {
	Domain
	Name string
	// DualStack asks for the address that can be reached by IPv6 too.
	DualStack bool
}

// domainHost is how CodeArtifact names the host of a domain:
// DOMAIN-ACCOUNT.d.codeartifact.REGION.amazonaws.com, in the partitions'
// domains, and the dual-stack ….on.aws.
var domainHost = regexp.MustCompile(`^([a-z][a-z0-9_-]{0,48}[a-z0-9])-(\d{12})\.d\.codeartifact\.([a-z][a-z0-9-]*)\.` +
	`(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn)$`)

// ParseHost reads the host of an index. ok is false for one that is not
// CodeArtifact's.
func ParseHost(host string) (domain Domain, ok bool) {
	m := domainHost.FindStringSubmatch(strings.ToLower(strings.TrimSuffix(host, ".")))
	if m == nil {
		return Domain{}, false
	}
	return Domain{Name: m[1], Owner: m[2], Region: m[3]}, true
}

// Scheme is that of a setting for [ParseSetting].
const Scheme = "codeartifact"

var (
	domainName     = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,48}[a-z0-9]$`)
	repositoryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,99}$`)
	accountNumber  = regexp.MustCompile(`^\d{12}$`)
	regionName     = regexp.MustCompile(`^[a-z][a-z0-9-]{1,40}$`)
)

// ParseSetting reads a repository as a setting names it:
// "codeartifact://DOMAIN/REPOSITORY?owner=ACCOUNT&region=REGION&endpoint=dualstack",
// of which all behind "?" may be left out.
func ParseSetting(text string) (Repository, error) {
	bad := func(reason string) (Repository, error) {
		return Repository{}, fmt.Errorf("read %q: %s; the form is codeartifact://DOMAIN/REPOSITORY?owner=ACCOUNT&region=REGION", text, reason)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != Scheme || u.User != nil || u.Fragment != "" {
		return Repository{}, errors.New("read the address of a CodeArtifact repository: the form is codeartifact://DOMAIN/REPOSITORY?owner=ACCOUNT&region=REGION")
	}
	r := Repository{Domain: Domain{Name: u.Host}, Name: strings.Trim(u.Path, "/")}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("the part behind ? cannot be read")
	}
	for key, values := range query {
		value := values[len(values)-1]
		switch key {
		case "owner":
			if !accountNumber.MatchString(value) {
				return bad("owner is not an account of twelve digits")
			}
			r.Owner = value
		case "region":
			if !regionName.MatchString(value) {
				return bad("region is not the name of a region")
			}
			r.Region = value
		case "endpoint":
			if value != "ipv4" && value != "dualstack" {
				return bad("endpoint is neither ipv4 nor dualstack")
			}
			r.DualStack = value == "dualstack"
		default:
			return bad(key + " is not known")
		}
	}
	if !domainName.MatchString(r.Domain.Name) {
		return bad("the domain is not the name of one")
	}
	if !repositoryName.MatchString(r.Name) {
		return bad("the repository is not the name of one")
	}
	return r, nil
}

// Tokens logs in to CodeArtifact. It is safe for concurrent use.
type Tokens struct {
	config func(ctx context.Context, region string) (aws.Config, error)
	now    func() time.Time

	mu      sync.Mutex
	apis    map[string]*codeartifact.Client // by region
	domains map[string]Domain               // by host and port, of addresses that IndexURL gave
	tokens  map[Domain]*token
}

// New makes Tokens that load AWS's configuration when they first need it, for a
// region or, with "", for the configured one.
func New(config func(ctx context.Context, region string) (aws.Config, error)) *Tokens {
	return &Tokens{
		config: config, now: time.Now,
		apis: map[string]*codeartifact.Client{}, domains: map[string]Domain{}, tokens: map[Domain]*token{},
	}
}

// token is that of a domain, asked for by one goroutine at a time.
type token struct {
	mu    sync.Mutex
	text  string
	until time.Time
}

// early is how long before its end a token is no longer handed out: a download
// that begins with it should not outlive it.
const early = 5 * time.Minute

// User is the name that goes with every token.
const User = "aws"

// Credentials is the login for a URL of a repository, or of its host. ok is
// false for a URL that is not CodeArtifact's. The error is an *APIError.
func (t *Tokens) Credentials(ctx context.Context, place string) (user, password string, ok bool, err error) {
	u, err := url.Parse(place)
	if err != nil {
		return "", "", false, nil // whoever asks has told that already
	}
	d, ok := t.domain(u)
	if !ok {
		return "", "", false, nil
	}
	password, err = t.token(ctx, d)
	return User, password, err == nil, err
}

// domain is that of a URL. A token is sent over TLS only, except to where AWS
// itself, as it is configured, says that the repository is.
func (t *Tokens) domain(u *url.URL) (Domain, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d, ok := t.domains[hostPort(u)]; ok {
		return d, true
	}
	if u.Scheme != "https" || u.Port() != "" && u.Port() != "443" {
		return Domain{}, false
	}
	return ParseHost(u.Hostname())
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func (t *Tokens) token(ctx context.Context, d Domain) (string, error) {
	t.mu.Lock()
	held := t.tokens[d]
	if held == nil {
		held = &token{}
		t.tokens[d] = held
	}
	t.mu.Unlock()

	held.mu.Lock()
	defer held.mu.Unlock()
	if t.now().Before(held.until) {
		return held.text, nil
	}
	doing := "log in to CodeArtifact domain " + d.Name
	api, err := t.api(ctx, d.Region)
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	out, err := api.GetAuthorizationToken(ctx, &codeartifact.GetAuthorizationTokenInput{Domain: &d.Name, DomainOwner: optional(d.Owner)})
	if err != nil {
		return "", &APIError{Doing: doing, Action: "codeartifact:GetAuthorizationToken and sts:GetServiceBearerToken", Cause: err}
	}
	if aws.ToString(out.AuthorizationToken) == "" {
		return "", fmt.Errorf("%s: CodeArtifact answers without a token", doing)
	}
	held.text = *out.AuthorizationToken
	// An end in the past, or none, means: use it once.
	held.until = aws.ToTime(out.Expiration).Add(-early)
	return held.text, nil
}

// IndexURL is the root of the repository's Simple API, without credentials;
// Credentials has these. The error is an *APIError.
func (t *Tokens) IndexURL(ctx context.Context, r Repository) (string, error) {
	doing := fmt.Sprintf("look up CodeArtifact repository %s/%s", r.Domain.Name, r.Name)
	api, err := t.api(ctx, r.Region)
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	in := &codeartifact.GetRepositoryEndpointInput{
		Domain: &r.Domain.Name, DomainOwner: optional(r.Owner), Repository: &r.Name, Format: types.PackageFormatPypi,
	}
	if r.DualStack {
		in.EndpointType = types.EndpointTypeDualstack
	}
	out, err := api.GetRepositoryEndpoint(ctx, in)
	if err != nil {
		return "", &APIError{Doing: doing, Action: "codeartifact:GetRepositoryEndpoint", Cause: err}
	}
	u, err := url.Parse(aws.ToString(out.RepositoryEndpoint))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", fmt.Errorf("%s: CodeArtifact answers with an address that is none", doing)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.domains[hostPort(u)] = r.Domain
	return u.JoinPath("simple", "/").String(), nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (t *Tokens) api(ctx context.Context, region string) (*codeartifact.Client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if api := t.apis[region]; api != nil {
		return api, nil
	}
	cfg, err := t.config(ctx, region)
	if err != nil {
		return nil, err
	}
	api := codeartifact.NewFromConfig(cfg, func(o *codeartifact.Options) {
		if region != "" {
			o.Region = region
		}
	})
	t.apis[region] = api
	return api, nil
}

// APIError is an answer of AWS that is an error, or none.
type APIError struct {
	Doing  string // "log in to CodeArtifact domain shop"
	Action string // the IAM actions it takes
	Cause  error
}

func (e *APIError) Error() string {
	var api smithy.APIError
	switch {
	case errors.Is(e.Cause, context.Canceled):
		return e.Doing + ": interrupted"
	case errors.As(e.Cause, &api):
		return fmt.Sprintf("%s: %s: %s", e.Doing, api.ErrorCode(), strings.Join(strings.Fields(api.ErrorMessage()), " "))
	}
	return e.Doing + ": " + strings.Join(strings.Fields(e.Cause.Error()), " ")
}

// Unwrap gives the cause.
func (e *APIError) Unwrap() error { return e.Cause }

// Hint says what the call takes.
func (e *APIError) Hint() string {
	var api smithy.APIError
	var missing *types.ResourceNotFoundException
	switch {
	case errors.Is(e.Cause, context.Canceled):
		return ""
	case errors.As(e.Cause, &missing):
		return "check the names of domain and repository, the owner's account and the region"
	case errors.As(e.Cause, &api):
		return "the AWS credentials in use must allow " + e.Action
	}
	return "this takes AWS credentials and a region, from the environment, a profile or the machine's role: aws sts get-caller-identity shows which are in use"
}
