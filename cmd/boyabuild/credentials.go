package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/boyabuild/boyabuild/pkg/codeartifact"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
)

// credentials are asked for the password of a package index when its server
// wants one and neither the URL, a variable nor netrc has it: CodeArtifact's
// tokens for its own hosts, then, if provider is "subprocess", the keyring
// command (pip's --keyring-provider, UV_KEYRING_PROVIDER).
func (e *env) credentials(tokens *codeartifact.Tokens, provider string, log *slog.Logger) func(ctx context.Context, place string) (user, password string, ok bool, err error) {
	return func(ctx context.Context, place string) (user, password string, ok bool, err error) {
		if user, password, ok, err = tokens.Credentials(ctx, place); ok || err != nil {
			return user, password, ok, err
		}
		if provider != "subprocess" {
			return "", "", false, nil
		}
		return e.keyring(ctx, place, log)
	}
}

// codeArtifact logs in to CodeArtifact with AWS's own configuration, which is
// read when it is first needed.
func (s *session) codeArtifact() *codeartifact.Tokens { return codeartifact.New(s.awsConfig) }

// codeArtifactIndexes replaces the indexes that are named as
// "codeartifact://DOMAIN/REPOSITORY" by their addresses.
func codeArtifactIndexes(ctx context.Context, tokens *codeartifact.Tokens, c pip.Config) (pip.Config, error) {
	find := func(x pip.Index) (pip.Index, error) {
		if !strings.HasPrefix(x.URL, codeartifact.Scheme+"://") {
			return x, nil
		}
		r, err := codeartifact.ParseSetting(x.URL)
		if err != nil {
			return x, usagef("%s: %v", x.Source, err)
		}
		x.URL, err = tokens.IndexURL(ctx, r)
		return x, err
	}
	var err error
	if c.Default, err = find(c.Default); err != nil {
		return pip.Config{}, err
	}
	extra := make([]pip.Index, len(c.Extra))
	for i, x := range c.Extra {
		if extra[i], err = find(x); err != nil {
			return pip.Config{}, err
		}
	}
	c.Extra = extra
	return c, nil
}

// keyring asks the keyring command as pip does: for the URL of the index, then
// for its host; and as uv does where the URL has no user name, for both name and
// password.
func (e *env) keyring(ctx context.Context, place string, log *slog.Logger) (user, password string, ok bool, err error) {
	u, err := url.Parse(place)
	if err != nil {
		return "", "", false, nil // place is ours
	}
	user = u.User.Username()
	if strings.HasPrefix(user, "-") {
		return "", "", false, nil // it would be an option
	}
	u.User = nil
	if (u.Scheme == "https" && u.Port() == "443") || (u.Scheme == "http" && u.Port() == "80") {
		u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
	}
	for _, service := range []string{u.String(), u.Host} {
		args := []string{"get", service, user}
		if user == "" {
			args = []string{"get", "--mode", "creds", service}
		}
		out, found, err := runKeyring(ctx, args, log)
		if err != nil {
			return "", "", false, err
		}
		if !found {
			continue
		}
		if user != "" {
			return user, out, true, nil
		}
		if name, secret, ok := strings.Cut(out, "\n"); ok {
			return strings.TrimSuffix(name, "\r"), secret, true, nil
		}
	}
	return "", "", false, nil
}

// keyringError is a keyring command that is wanted and cannot be run.
type keyringError struct{ err error }

func (e *keyringError) Error() string { return "ask the keyring command: " + e.err.Error() }
func (e *keyringError) Unwrap() error { return e.err }
func (e *keyringError) Hint() string {
	return "install it (pipx install keyring, with the back-end of your index), or set the keyring provider to disabled"
}

// maxSecret bounds what a keyring can answer; tokens have some kilobytes.
const maxSecret = 64 << 10

// runKeyring runs the command. Its status 1 means that it knows nothing; what it
// complains of is for the log, and what it answers is not.
func runKeyring(ctx context.Context, args []string, log *slog.Logger) (answer string, found bool, err error) {
	program, err := exec.LookPath("keyring")
	if err != nil {
		return "", false, &keyringError{err}
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(cmd.Environ(), "PYTHONIOENCODING=utf-8")
	err = cmd.Run()
	var status *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", false, context.Cause(ctx)
	case errors.As(err, &status):
		if text := strings.TrimSpace(stderr.String()); text != "" {
			log.Debug(fmt.Sprintf("keyring: %.300s", text[strings.LastIndexByte(text, '\n')+1:]))
		}
		return "", false, nil
	case err != nil:
		return "", false, &keyringError{err}
	}
	answer = strings.TrimRight(stdout.String(), "\r\n")
	if len(answer) > maxSecret {
		return "", false, &keyringError{fmt.Errorf("it answers more than %d bytes", maxSecret)}
	}
	return answer, answer != "", nil
}

// transport reaches package indexes as the settings of pip and uv and the
// variables of this machine say. SSL_CERT_FILE and SSL_CERT_DIR need nothing
// here: package x509 reads them where no bundle is given.
func (e *env) transport(c pip.Config) (*index.Transport, error) {
	vars := map[string]string{}
	for _, kv := range e.environ() {
		name, value, _ := strings.Cut(kv, "=")
		vars[name] = value
	}
	first := func(setting pip.Setting[string], names ...string) pip.Setting[string] {
		for _, name := range names {
			if !setting.IsSet() && vars[name] != "" {
				setting = pip.Setting[string]{Value: vars[name], Source: name}
			}
		}
		return setting
	}
	settings := map[string]pip.Setting[string]{
		"CABundle":   first(c.Cert, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), // as pip's HTTP library reads them
		"ClientCert": first(c.ClientCert, "SSL_CLIENT_CERT"),                // uv's
		"Proxy":      c.Proxy,
	}
	o := index.TransportOptions{
		CABundle: settings["CABundle"].Value, ClientCert: settings["ClientCert"].Value, Proxy: settings["Proxy"].Value,
		ProxyFor: index.EnvironmentProxy(vars), Timeout: c.Timeout.Value,
	}
	for _, h := range c.TrustedHosts {
		o.TrustedHosts = append(o.TrustedHosts, h.Value)
	}
	t, err := index.NewTransport(o)
	var bad *index.TransportError
	if errors.As(err, &bad) {
		return nil, usagef("%s: %v", settings[bad.Setting].Source, bad.Err)
	}
	return t, err
}

// knownDefault is the default index of this machine's pip as it was found out
// once: by which python3, and from which file of pip.
type knownDefault struct {
	URL     string    `json:"url"`
	Python  fileState `json:"python"`
	Pip     string    `json:"pip"`
	PipFile fileState `json:"pipFile"`
}

// fileState tells whether a file is the one that it was.
type fileState struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

func stateOf(name string) (fileState, bool) {
	info, err := os.Stat(name)
	if err != nil {
		return fileState{}, false
	}
	return fileState{info.Size(), info.ModTime().UTC()}, true
}

// hostDefault is the default index of this machine's pip. Starting a Python to
// ask where its pip is takes longer than a resolution whose metadata is here, so
// the answer is on record for as long as python3 and that file of pip stay what
// they were. (Which Python a version manager's python3 stands for can change
// with the folder. Two pips of one machine with different default indexes have
// not been met.)
func (s *session) hostDefault(ctx context.Context) (string, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", err
	}
	state, ok := stateOf(python)
	key := "host-pip-default/1 " + python + " " + s.env.getenv("PYENV_VERSION")
	var known knownDefault
	if found, err := s.store.Record(key, &known); ok && err == nil && found && known.Python == state {
		if now, ok := stateOf(known.Pip); ok && now == known.PipFile {
			return known.URL, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "-I", "-c", "import pip._internal.models.index as i; print(i.__file__)").Output()
	if err != nil {
		return "", err
	}
	known = knownDefault{Python: state, Pip: strings.TrimSpace(string(out))}
	source, err := readBounded(known.Pip, 1<<20)
	if err != nil {
		return "", err
	}
	if known.URL, err = pip.DefaultIndex(source); err != nil {
		return "", err
	}
	if known.PipFile, ok = stateOf(known.Pip); ok {
		if err := s.store.SetRecord(key, known); err != nil {
			s.ui.log.Debug(fmt.Sprintf("keep the default index of pip: %v", err))
		}
	}
	return known.URL, nil
}
