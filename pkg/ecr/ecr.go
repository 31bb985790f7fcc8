// Package ecr is the part of Amazon ECR that a push needs besides the registry
// itself: credentials, and repositories.
//
// An aws.Config goes in. Out come an authn.Keychain, which turns the account's
// AWS credentials into a login for the registry hosts that are ECR's, and
// repositories: a bare ECR name completed to the host that holds it, and a
// repository made with tags that cannot move.
//
// The package never pushes, never deletes, writes nothing to disk, and hides
// no error of AWS behind an anonymous attempt.
package ecr

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"
)

// Client speaks to ECR in whichever region a registry lies.
type Client struct {
	cfg      aws.Config
	endpoint string // host of the endpoint override, "" = AWS's own
	now      func() time.Time

	mu     sync.Mutex
	apis   map[place]*ecr.Client
	logins map[string]*login // by registry host
}

// New makes a client of the account, region and endpoint of cfg. Where cfg
// overrides the endpoint (a local cloud), the host of that endpoint counts as
// an ECR registry too.
func New(cfg aws.Config) *Client {
	c := &Client{cfg: cfg, now: time.Now, apis: map[place]*ecr.Client{}, logins: map[string]*login{}}
	if base := c.api(place{region: cfg.Region}).Options().BaseEndpoint; base != nil {
		if u, err := url.Parse(*base); err == nil {
			c.endpoint = u.Host
		}
	}
	return c
}

// place is where an ECR API is asked.
type place struct {
	region string
	fips   bool
}

func (c *Client) api(p place) *ecr.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	api, ok := c.apis[p]
	if !ok {
		api = ecr.NewFromConfig(c.cfg, func(o *ecr.Options) {
			if p.region != "" {
				o.Region = p.region
			}
			if p.fips {
				o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
			}
		})
		c.apis[p] = api
	}
	return api
}

// Registry is an ECR registry as its host name tells it.
type Registry struct {
	Host    string // as given, with the port of a local one
	Account string // twelve digits; "" for the endpoint of a local cloud
	Region  string
	FIPS    bool
}

// registryHost is how ECR names its private registries: the classic
// ACCOUNT.dkr.ecr.REGION.amazonaws.com, with -fips, in the partitions'
// domains, and the dual-stack ACCOUNT.dkr-ecr.REGION.on.aws.
var registryHost = regexp.MustCompile(`^(\d{12})\.dkr[.-]ecr(-fips)?\.([a-z][a-z0-9-]*)\.` +
	`(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn|` +
	`sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$`)

// ParseRegistry reads the host of a private ECR registry. public.ecr.aws is
// none: it gives everything away without a login, and pushing to it takes a
// docker login.
func ParseRegistry(host string) (Registry, bool) {
	m := registryHost.FindStringSubmatch(host)
	if m == nil {
		return Registry{}, false
	}
	return Registry{Host: host, Account: m[1], Region: m[3], FIPS: m[2] != ""}, true
}

// registry is ParseRegistry, and the host of the endpoint override.
func (c *Client) registry(host string) (Registry, bool) {
	if r, ok := ParseRegistry(host); ok {
		return r, true
	}
	if host != "" && host == c.endpoint {
		return Registry{Host: host, Region: c.cfg.Region}, true
	}
	return Registry{}, false
}

// Mutability is a repository's own rule about its tags.
type Mutability = types.ImageTagMutability

// Repository is a place to push to.
type Repository struct {
	URI        string     // "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop/web"
	Mutability Mutability // "" where the registry is not ECR
}

// Repository completes a bare ECR name ("shop/web") with the account and the
// region in use, and looks up a full name whose registry is ECR's. The full
// name of a repository elsewhere is returned as it is, without asking anyone.
//
// Errors: *RepositoryNotFoundError; *APIError for what else AWS answers.
func (c *Client) Repository(ctx context.Context, nameOrURI string) (Repository, error) {
	host, repo := split(nameOrURI)
	in := &ecr.DescribeRepositoriesInput{RepositoryNames: []string{repo}}
	at := place{region: c.cfg.Region}
	if host != "" {
		r, ok := c.registry(host)
		if !ok {
			return Repository{URI: nameOrURI}, nil
		}
		at = place{region: r.Region, fips: r.FIPS}
		if r.Account != "" {
			in.RegistryId = &r.Account
		}
	}
	out, err := c.api(at).DescribeRepositories(ctx, in)
	var missing *types.RepositoryNotFoundException
	if errors.As(err, &missing) {
		return Repository{}, &RepositoryNotFoundError{Name: repo, Region: at.region, Cause: err}
	}
	if err != nil {
		return Repository{}, apiError("look up repository "+nameOrURI, "ecr:DescribeRepositories", err)
	}
	if len(out.Repositories) != 1 {
		return Repository{}, fmt.Errorf("look up repository %s: ECR answers with %d repositories", nameOrURI, len(out.Repositories))
	}
	found := out.Repositories[0]
	if host != "" { // keep the host that was asked for: FIPS, dual-stack
		return Repository{URI: nameOrURI, Mutability: found.ImageTagMutability}, nil
	}
	return Repository{URI: aws.ToString(found.RepositoryUri), Mutability: found.ImageTagMutability}, nil
}

// CreateRepository makes a repository whose tags cannot move and whose images
// are scanned when they are pushed. One that exists is left as it is. The name
// is a bare ECR name, or a full one in an ECR registry.
func (c *Client) CreateRepository(ctx context.Context, nameOrURI string) (Repository, error) {
	host, repo := split(nameOrURI)
	in := &ecr.CreateRepositoryInput{
		RepositoryName:             &repo,
		ImageTagMutability:         types.ImageTagMutabilityImmutable,
		ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: true},
	}
	at := place{region: c.cfg.Region}
	if host != "" {
		r, ok := c.registry(host)
		if !ok {
			return Repository{}, fmt.Errorf("create repository %s: %s is not a registry of ECR", nameOrURI, host)
		}
		at = place{region: r.Region, fips: r.FIPS}
		if r.Account != "" {
			in.RegistryId = &r.Account
		}
	}
	out, err := c.api(at).CreateRepository(ctx, in)
	var exists *types.RepositoryAlreadyExistsException
	if errors.As(err, &exists) {
		return c.Repository(ctx, nameOrURI)
	}
	if err != nil {
		return Repository{}, apiError("create repository "+nameOrURI, "ecr:CreateRepository", err)
	}
	uri := nameOrURI
	if host == "" {
		uri = aws.ToString(out.Repository.RepositoryUri)
	}
	return Repository{URI: uri, Mutability: out.Repository.ImageTagMutability}, nil
}

// split parts a name into registry and repository by the rule that every
// registry client follows: the first part is a host if it could not be
// anything else (it has a dot or a port, or is localhost).
func split(nameOrURI string) (host, repo string) {
	first, rest, ok := strings.Cut(nameOrURI, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return first, rest
	}
	return "", nameOrURI
}

// RepositoryNotFoundError is that the registry has no such repository.
type RepositoryNotFoundError struct {
	Name   string // "shop/web"
	Region string
	Cause  error
}

func (e *RepositoryNotFoundError) Error() string {
	return fmt.Sprintf("look up repository %s: it does not exist in ECR in %s", e.Name, e.Region)
}

// Unwrap gives AWS's answer.
func (e *RepositoryNotFoundError) Unwrap() error { return e.Cause }

// Hint says how to have it made.
func (e *RepositoryNotFoundError) Hint() string {
	return "let boyabuild push --create-repository make it, or choose another region or profile"
}

// APIError is an answer of AWS that is not about repositories, or none.
type APIError struct {
	Doing  string // "log in to 123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	Action string // the IAM action it takes: "ecr:GetAuthorizationToken"
	Cause  error
}

func apiError(doing, action string, err error) error {
	return &APIError{Doing: doing, Action: action, Cause: err}
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
	switch {
	case errors.Is(e.Cause, context.Canceled):
		return ""
	case errors.As(e.Cause, &api):
		return "the AWS credentials in use must allow " + e.Action
	}
	return "this takes AWS credentials and a region, from the environment, a profile or the machine's role: aws sts get-caller-identity shows which are in use"
}
