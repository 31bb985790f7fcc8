package pip

import (
	"fmt"
	"strings"
)

// uvVariable is an environment variable of uv and the option it stands for.
type uvVariable struct {
	name, option string
	// other is the option's name where a command does not have the first.
	other string
	// all is what a flag stands for where the option takes a value: ":all:".
	all string
}

// uvVariables are the UV_* variables that matter for an install. Those of lists
// are separated by white space, UV_FIND_LINKS by commas.
func uvVariables() []uvVariable {
	return []uvVariable{
		{name: "UV_DEFAULT_INDEX", option: "default-index"},
		{name: "UV_INDEX_URL", option: "default-index"}, // the older name
		{name: "UV_INDEX", option: "index"},
		{name: "UV_EXTRA_INDEX_URL", option: "extra-index-url"},
		{name: "UV_FIND_LINKS", option: "find-links"},
		{name: "UV_NO_INDEX", option: "no-index"},
		{name: "UV_INDEX_STRATEGY", option: "index-strategy"},
		{name: "UV_KEYRING_PROVIDER", option: "keyring-provider"},
		{name: "UV_INSECURE_HOST", option: "allow-insecure-host"},
		{name: "UV_HTTP_TIMEOUT", option: "timeout"},
		{name: "UV_HTTP_RETRIES", option: "retries"},
		{name: "UV_PRERELEASE", option: "prerelease"},
		{name: "UV_RESOLUTION", option: "resolution"},
		{name: "UV_EXCLUDE_NEWER", option: "exclude-newer"},
		{name: "UV_CONSTRAINT", option: "constraints"},
		{name: "UV_OVERRIDE", option: "overrides"},
		{name: "UV_REQUIRE_HASHES", option: "require-hashes"},
		{name: "UV_NO_BUILD", option: "no-build"},
		{name: "UV_NO_BUILD_PACKAGE", option: "only-binary", other: "no-build-package"},
		{name: "UV_NO_BINARY", option: "no-binary", all: allPackages},
		{name: "UV_NO_BINARY_PACKAGE", option: "no-binary-package", other: "no-binary"},
		{name: "UV_SYSTEM_PYTHON", option: "system"},
		{name: "UV_PYTHON", option: "python"},
		{name: "UV_COMPILE_BYTECODE", option: "compile-bytecode"},
		{name: "UV_NO_BUILD_ISOLATION", option: "no-build-isolation"},
		{name: "UV_TORCH_BACKEND", option: "torch-backend"},
		{name: "UV_BUILD_CONSTRAINT", option: "build-constraints"},
		{name: "UV_EXCLUDE", option: "excludes"},
		{name: "UV_NO_SOURCES", option: "no-sources"},
		{name: "UV_NO_SOURCES_PACKAGE", option: "no-sources-package"},
		{name: "UV_NO_VERIFY_HASHES", option: "no-verify-hashes"},
		{name: "UV_OFFLINE", option: "offline"},
		{name: "UV_MANAGED_PYTHON", option: "managed-python"},
		{name: "UV_PYTHON_PREFERENCE", option: "python-preference"},
		{name: "SSL_CLIENT_CERT", option: "client-cert"},
		// of uv sync
		{name: "UV_FROZEN", option: "frozen"},
		{name: "UV_LOCKED", option: "locked"},
		{name: "UV_DEV", option: "dev"},
		{name: "UV_NO_DEV", option: "no-dev"},
		{name: "UV_NO_GROUP", option: "no-group"},
		{name: "UV_NO_DEFAULT_GROUPS", option: "no-default-groups"},
		{name: "UV_NO_EDITABLE", option: "no-editable"},
		{name: "UV_NO_INSTALL_PROJECT", option: "no-install-project"},
		{name: "UV_NO_INSTALL_WORKSPACE", option: "no-install-workspace"},
		{name: "UV_NO_INSTALL_LOCAL", option: "no-install-local"},
		// of uv venv
		{name: "UV_VENV_CLEAR", option: "clear"},
		{name: "UV_VENV_SEED", option: "seed"},
		{name: "UV_VENV_RELOCATABLE", option: "relocatable"},
	}
}

// applyVariables sets what UV_* variables say for the options that the command
// line does not have, and notes them as seen.
func applyVariables[T subject](set *optionSet[T], in T, seen map[string]bool, env map[string]string, host bool) error {
	of := map[string]bool{}
	for _, uv := range uvVariables() {
		value := strings.TrimSpace(env[uv.name])
		o := set.exact(uv.option)
		if o == nil && uv.other != "" {
			o = set.exact(uv.other)
		}
		if value == "" || o == nil || seen[o.long[0]] || uv.name == "UV_INDEX_URL" && env["UV_DEFAULT_INDEX"] != "" {
			continue
		}
		of[o.long[0]] = true
		v := configured{key: uv.name, value: value, file: uv.name}
		if uv.all != "" && o.arg {
			on, ok := parseBool(value)
			if !ok {
				return &ConfigError{File: uv.name, Reason: fmt.Sprintf("is %q, which is neither yes nor no", value)}
			}
			if !on {
				continue
			}
			v.value = uv.all
		}
		if on, ok := parseBool(value); o.refuse != "" && !host && (o.arg || !ok || on) {
			return &ConfigError{File: uv.name, Reason: o.refuse}
		}
		if o.refuse != "" {
			continue
		}
		if err := o.configure(in, v, host); err != nil {
			return err
		}
	}
	for name := range of {
		seen[name] = true
	}
	return nil
}

// uvCredentials reads UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD.
func uvCredentials(env map[string]string) []Credential {
	return credentials(env, "UV_INDEX_")
}
