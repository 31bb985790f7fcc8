package pip

import (
	"fmt"
	"strings"
)

const (
	refuseBroken = "leaves packages out of what their metadata asks for, which is not understood"
	refuseChange = "changes how versions are chosen in a way that is not understood"
)

// uvOptions returns the options of `uv pip install`, as of uv 0.13.
func uvOptions() *optionSet {
	options := uvWhat()
	options = append(options, uvHow()...)
	options = append(options, uvIndex()...)
	options = append(options, uvGeneral()...)
	return &optionSet{options: options}
}

// uvWhat: what is installed, and how it is chosen.
func uvWhat() []option {
	return []option{
		{long: []string{"requirements", "requirement"}, short: 'r', arg: true, value: addText(func(in *Install) *[]string { return &in.Files })},
		{long: []string{"constraints", "constraint"}, short: 'c', arg: true, list: true, value: addText(func(in *Install) *[]string { return &in.Constraints })},
		{long: []string{"editable"}, short: 'e', arg: true, value: addText(func(in *Install) *[]string { return &in.Editable })},
		{long: []string{"overrides", "override"}, arg: true, refuse: refuseChange},
		{long: []string{"excludes", "exclude"}, arg: true, refuse: refuseBroken},
		{long: []string{"build-constraints", "build-constraint"}, short: 'b', arg: true, refuse: refuseBuild},
		{long: []string{"extra"}, arg: true, refuse: "names extras of a file, which is not understood"},
		{long: []string{"all-extras"}, refuse: "names extras of a file, which is not understood"},
		{long: []string{"group"}, arg: true, refuse: "names a dependency group, which is not understood here"},
		{long: []string{"no-editable"}, refuse: "changes how the project is installed, which is not understood"},
		{long: []string{"no-editable-package"}, arg: true, refuse: "changes how the project is installed, which is not understood"},
		{long: []string{"no-deps"}, flag: setFlag(func(in *Install) *bool { return &in.NoDeps }, true)},
		{long: []string{"upgrade"}, short: 'U', flag: setFlag(func(in *Install) *bool { return &in.Upgrade }, true)},
		{long: []string{"upgrade-package"}, short: 'P', arg: true, value: addText(func(in *Install) *[]string { return &in.UpgradePackages })},
		{long: []string{"upgrade-group"}, arg: true, refuse: "names a dependency group, which is not understood here"},
		{long: []string{"reinstall", "force-reinstall"}, flag: setFlag(func(in *Install) *bool { return &in.ForceReinstall }, true)},
		{long: []string{"reinstall-package"}, arg: true, value: addText(func(in *Install) *[]string { return &in.Reinstall })},
		{long: []string{"require-hashes"}, flag: setSwitch(func(c *Config) *Setting[bool] { return &c.RequireHashes })},
		{long: []string{"require-build-hashes"}, refuse: refuseBuild},
		{long: []string{"verify-hashes"}},
		{long: []string{"no-verify-hashes"}, refuse: "switches hash checks off, which is not done here"},
		{long: []string{"resolution"}, arg: true, value: oneOf("highest")},
		{long: []string{"prerelease"}, arg: true, value: setPrerelease},
		{long: []string{"pre"}, flag: setSwitch(func(c *Config) *Setting[bool] { return &c.Pre })},
		{long: []string{"prerelease-package"}, arg: true, refuse: refuseChange},
		{long: []string{"fork-strategy"}, arg: true}, // of no meaning for one environment
		{long: []string{"exclude-newer"}, arg: true, value: setExcludeNewer(true)},
		{long: []string{"exclude-newer-package"}, arg: true, refuse: refuseChange},
		{long: []string{"exact"}, refuse: "removes other packages, which is not done here"},
		{long: []string{"strict"}},
		{long: []string{"dry-run"}, refuse: "would install nothing"},
		{long: []string{"check"}, refuse: "would install nothing"},
	}
}

// setPrerelease reads uv's --prerelease. What is uv's default is taken; pip's
// rules, which hold here, are the same where a requirement names a pre-release
// or there is nothing else.
func setPrerelease(in *Install, v Setting[string]) error {
	if v.Value == "allow" {
		in.Config.Pre = Setting[bool]{true, v.Source}
		return nil
	}
	return oneOf("if-necessary-or-explicit", "if-necessary")(in, v)
}

// uvHow: where it goes and how it is built.
func uvHow() []option {
	return []option{
		{long: []string{"system"}, flag: setFlag(func(in *Install) *bool { return &in.System }, true)},
		{long: []string{"target"}, short: 't', arg: true, value: setText(func(in *Install) *string { return &in.Target })},
		{long: []string{"prefix"}, arg: true, value: setText(func(in *Install) *string { return &in.Prefix })},
		{long: []string{"user"}, refuse: "is not an option that uv has a meaning for"},
		{long: []string{"python"}, short: 'p', arg: true, value: func(in *Install, v Setting[string]) error {
			if !pythonName().MatchString("python" + v.Value) {
				return fmt.Errorf("%q is no Python version", v.Value)
			}
			in.Python = v.Value
			return nil
		}},
		{long: []string{"python-version"}, arg: true, refuse: refuseOther},
		{long: []string{"python-platform"}, arg: true, refuse: refuseOther},
		{long: []string{"compile-bytecode", "compile"}, flag: setFlag(func(in *Install) *bool { return &in.Compile }, true)},
		{long: []string{"no-compile-bytecode", "no-compile"}, flag: setFlag(func(in *Install) *bool { return &in.Compile }, false)},
		{long: []string{"config-setting", "config-settings"}, short: 'C', arg: true, value: addText(func(in *Install) *[]string { return &in.ConfigSettings })},
		{long: []string{"config-settings-package"}, arg: true, refuse: refuseBuild},
		{long: []string{"no-build-isolation"}, flag: setFlag(func(in *Install) *bool { return &in.NoBuildIsolation }, true)},
		{long: []string{"no-build-isolation-package"}, arg: true, refuse: refuseBuild},
		{long: []string{"no-sources"}, refuse: "changes where the project's packages come from, which is not understood"},
		{long: []string{"no-sources-package"}, arg: true, refuse: "changes where the project's packages come from, which is not understood"},
		{long: []string{"break-system-packages"}},
		{long: []string{"no-break-system-packages"}},
		{long: []string{"link-mode"}, arg: true},
		{long: []string{"output-format"}, arg: true},
		{long: []string{"refresh"}},
		{long: []string{"refresh-package"}, arg: true},
	}
}

// uvIndex: where it comes from.
func uvIndex() []option {
	return []option{
		{long: []string{"default-index", "index-url"}, short: 'i', arg: true, value: setDefaultIndex},
		{long: []string{"index"}, arg: true, list: true, value: addIndex},
		{long: []string{"extra-index-url"}, arg: true, list: true, value: addIndex},
		{long: []string{"find-links"}, short: 'f', arg: true, value: func(in *Install, v Setting[string]) error {
			for link := range splitComma(v.Value) {
				in.Config.FindLinks = append(in.Config.FindLinks, Setting[string]{link, v.Source})
			}
			return nil
		}},
		{long: []string{"no-index"}, flag: setSwitch(func(c *Config) *Setting[bool] { return &c.NoIndex })},
		{long: []string{"index-strategy"}, arg: true, value: func(in *Install, v Setting[string]) error {
			if err := oneOf("first-index", "unsafe-first-match", "unsafe-best-match")(&Install{}, v); err != nil {
				return err
			}
			in.Config.Strategy = v
			return nil
		}},
		{long: []string{"keyring-provider"}, arg: true, value: oneOf("disabled")},
		{long: []string{"allow-insecure-host", "trusted-host"}, arg: true, list: true, value: addSetting(func(c *Config) *[]Setting[string] { return &c.TrustedHosts })},
		{long: []string{"no-build"}, flag: func(in *Install, on Setting[bool]) {
			if on.Value {
				restrict(allPackages, &in.Config.OnlyBinary, &in.Config.NoBinary)
			}
		}},
		{long: []string{"no-binary"}, arg: true, list: true, value: setFormats(true)},
		{long: []string{"only-binary"}, arg: true, list: true, value: setFormats(false)},
		{long: []string{"torch-backend"}, arg: true, refuse: "chooses an index by the machine's hardware, which is not understood"},
		{long: []string{"timeout"}, arg: true, value: setTimeout}, // UV_HTTP_TIMEOUT; no option of uv
		{long: []string{"retries"}, arg: true, value: setRetries}, // UV_HTTP_RETRIES; no option of uv
	}
}

// uvGeneral: what all of uv's commands have.
func uvGeneral() []option {
	general := []option{
		{long: []string{"help"}, short: 'h', refuse: "would install nothing"},
		{long: []string{"quiet"}, short: 'q'},
		{long: []string{"verbose"}, short: 'v'},
		{long: []string{"no-cache", "no-cache-dir"}, short: 'n'},
		{long: []string{"cache-dir"}, arg: true},
		{long: []string{"no-progress"}},
		{long: []string{"color"}, arg: true},
		{long: []string{"no-color"}},
		{long: []string{"native-tls", "system-certs"}},
		{long: []string{"managed-python"}, refuse: refuseOther},
		{long: []string{"no-managed-python"}},
		{long: []string{"no-python-downloads"}},
		{long: []string{"python-preference"}, arg: true, value: oneOf("system", "only-system")},
		{long: []string{"cert"}, arg: true, network: true, value: setSetting(func(c *Config) *Setting[string] { return &c.Cert })},
		{long: []string{"offline"}, refuse: "would use uv's own cache only"},
		{long: []string{"no-config"}, flag: func(*Install, Setting[bool]) {}}, // looked for where files are read
		{long: []string{"config-file"}, arg: true, refuse: "names a configuration file, which is not understood here"},
		{long: []string{"directory"}, arg: true, refuse: "changes the working directory, which is not understood"},
		{long: []string{"project"}, arg: true, refuse: "changes the project, which is not understood"},
	}
	for i := range general {
		general[i].general = true
	}
	return general
}

// uvVariable is an environment variable of uv and the option it stands for.
type uvVariable struct {
	name, option string
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
		{name: "UV_NO_BUILD_PACKAGE", option: "only-binary"},
		{name: "UV_NO_BINARY", option: "no-binary", all: allPackages},
		{name: "UV_NO_BINARY_PACKAGE", option: "no-binary"},
		{name: "UV_SYSTEM_PYTHON", option: "system"},
		{name: "UV_PYTHON", option: "python"},
		{name: "UV_COMPILE_BYTECODE", option: "compile-bytecode"},
		{name: "UV_NO_BUILD_ISOLATION", option: "no-build-isolation"},
		{name: "UV_TORCH_BACKEND", option: "torch-backend"},
	}
}

// applyVariables sets what UV_* variables say for the options that the command
// line does not have.
func applyVariables(set *optionSet, in *Install, seen map[string]bool, env map[string]string, host bool) error {
	for _, uv := range uvVariables() {
		value := strings.TrimSpace(env[uv.name])
		o := set.exact(uv.option)
		if value == "" || seen[o.long[0]] || uv.name == "UV_INDEX_URL" && env["UV_DEFAULT_INDEX"] != "" {
			continue
		}
		v := configured{key: uv.name, value: value, file: uv.name}
		if uv.all != "" {
			on, ok := parseBool(value)
			if !ok {
				return &ConfigError{File: uv.name, Reason: fmt.Sprintf("is %q, which is neither yes nor no", value)}
			}
			if !on {
				continue
			}
			v.value = uv.all
		}
		if o.refuse != "" && !host {
			return &ConfigError{File: uv.name, Reason: o.refuse}
		}
		if err := o.configure(in, v, host); err != nil {
			return err
		}
	}
	return nil
}
