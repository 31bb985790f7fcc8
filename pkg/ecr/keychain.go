package ecr

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/authn"
)

// The keychain is written here and not taken from AWS's credential helper for
// three reasons. Used as a library, the helper turns every error of AWS into
// "no credentials", so that an expired session shows as a bare 401 of the
// registry; it takes no context, and panics where no configuration can be
// loaded; and it writes tokens to a file in the user's home.

// Keychain logs in to ECR registries with the account's AWS credentials, each
// in the registry's own region. To any other host it has nothing to say
// (authn.Anonymous), so that it can stand before authn.DefaultKeychain in an
// authn.NewMultiKeychain. ctx is used where a caller of Resolve has none.
//
// Tokens are kept in memory until five minutes before they expire.
func (c *Client) Keychain(ctx context.Context) authn.Keychain {
	return &keychain{client: c, ctx: ctx}
}

type keychain struct {
	client *Client
	ctx    context.Context
}

var _ authn.ContextKeychain = (*keychain)(nil)

// Resolve implements authn.Keychain.
func (k *keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(k.ctx, target)
}

// ResolveContext implements authn.ContextKeychain. The error is an *APIError.
func (k *keychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	r, ok := k.client.registry(target.RegistryStr())
	if !ok {
		return authn.Anonymous, nil
	}
	return k.client.login(ctx, r)
}

// early is how long before its end a token is no longer handed out: an upload
// that begins with it should not outlive it.
const early = 5 * time.Minute

// login is a registry's token, fetched by one goroutine at a time.
type login struct {
	mu    sync.Mutex
	auth  authn.AuthConfig
	until time.Time
}

func (c *Client) login(ctx context.Context, r Registry) (authn.Authenticator, error) {
	c.mu.Lock()
	l, ok := c.logins[r.Host]
	if !ok {
		l = &login{}
		c.logins[r.Host] = l
	}
	c.mu.Unlock()

	l.mu.Lock()
	defer l.mu.Unlock()
	if c.now().Before(l.until) {
		return authn.FromConfig(l.auth), nil
	}
	doing := "log in to " + r.Host
	out, err := c.api(place{region: r.Region, fips: r.FIPS}).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return nil, apiError(doing, "ecr:GetAuthorizationToken", err)
	}
	if len(out.AuthorizationData) == 0 {
		return nil, fmt.Errorf("%s: ECR answers without a token", doing)
	}
	data := out.AuthorizationData[0]
	// The registry of a local cloud has no name that says whose it is. Its
	// token goes only to the host that the token says it is for.
	if r.Account == "" && proxyHost(aws.ToString(data.ProxyEndpoint)) != r.Host {
		return authn.Anonymous, nil
	}
	user, password, err := parseToken(aws.ToString(data.AuthorizationToken))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	l.auth = authn.AuthConfig{Username: user, Password: password}
	// An end in the past (some stand-ins for AWS send one) means: use it once.
	l.until = aws.ToTime(data.ExpiresAt).Add(-early)
	return authn.FromConfig(l.auth), nil
}

func proxyHost(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}

// parseToken reads base64("AWS:password"). Its errors never show any of it.
func parseToken(token string) (user, password string, err error) {
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return "", "", fmt.Errorf("the authorization token is not base64")
	}
	user, password, ok := strings.Cut(string(raw), ":")
	if !ok || user == "" || password == "" {
		return "", "", fmt.Errorf("the authorization token is not user:password")
	}
	return user, password, nil
}
