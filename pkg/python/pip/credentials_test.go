package pip

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// How this machine's configuration says that indexes are reached.
func TestCredentials(t *testing.T) {
	env := map[string]string{
		"UV_INDEX_MY_REPO_USERNAME": "me", "UV_INDEX_MY_REPO_PASSWORD": "secret", "UV_INDEX_ALONE_PASSWORD": "only", "UV_INDEX_STRATEGY": "first-index",
		"UV_KEYRING_PROVIDER": "subprocess", "SSL_CLIENT_CERT": "/client.pem", "UV_OFFLINE": "1",
	}
	got, err := UVConfig(env, Locations{}, noFiles)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Credentials: []Credential{
			{Index: "ALONE", Password: "only", Source: "UV_INDEX_ALONE_PASSWORD"},
			{Index: "MY_REPO", Username: "me", Password: "secret", Source: "UV_INDEX_MY_REPO_PASSWORD"},
		},
		KeyringProvider: Setting[string]{"subprocess", "UV_KEYRING_PROVIDER"},
		ClientCert:      Setting[string]{"/client.pem", "SSL_CLIENT_CERT"},
		Strategy:        Setting[string]{"first-index", "UV_INDEX_STRATEGY"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"my-repo", "My.Repo", "my_repo"} {
		if c, ok := got.Credential(name); !ok || c.Password != "secret" {
			t.Errorf("Credential(%s) = %v, %v", name, c, ok)
		}
	}
	if _, ok := got.Credential(""); ok {
		t.Error("an index without a name has credentials")
	}

	got, err = PipConfig(map[string]string{"PIP_CLIENT_CERT": "/c.pem", "PIP_KEYRING_PROVIDER": "import"}, Locations{},
		files(map[string]string{"/etc/pip.conf": "[global]\nclient-cert = /other.pem\nkeyring-provider = disabled\ncert = /ca.pem\n"}))
	if err != nil {
		t.Fatal(err)
	}
	want = Config{Cert: Setting[string]{"/ca.pem", "/etc/pip.conf:4"}, ClientCert: Setting[string]{"/c.pem", "PIP_CLIENT_CERT"},
		KeyringProvider: Setting[string]{"import", "PIP_KEYRING_PROVIDER"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	both := Merge(Config{Credentials: []Credential{{Index: "A", Username: "first"}}}, Config{Credentials: []Credential{{Index: "A", Username: "second"}, {Index: "B"}}})
	if len(both.Credentials) != 2 || both.Credentials[0].Username != "first" {
		t.Errorf("merged, the credentials are %v", both.Credentials)
	}
}

// A command line in an image has no say in how this machine gets passwords.
func TestKeyringOfTheImage(t *testing.T) {
	for _, line := range []string{"pip install --keyring-provider subprocess x", "PIP_KEYRING_PROVIDER=subprocess pip install x",
		"uv pip install --keyring-provider subprocess x", "UV_KEYRING_PROVIDER=subprocess uv pip install x"} {
		if in := one(t, line, ParseOptions{}); in.Config.KeyringProvider.IsSet() {
			t.Errorf("%s has a say", line)
		}
	}
}
