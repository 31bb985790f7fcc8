package pip

import (
	"errors"
	"fmt"
	"strings"
)

const (
	refuseBroken  = "leaves packages out of what their metadata asks for, which is not understood"
	refuseChange  = "changes how versions are chosen in a way that is not understood"
	refuseSources = "changes where the project's packages come from, which is not understood"
	refuseNothing = "would install nothing"
)

// uvOptions returns the options of `uv pip install`, or of `uv pip sync`, as of
// uv 0.13.
func uvOptions(place *uvPlace, sync bool) *optionSet[*Install] {
	options := uvWhat(sync)
	options = append(options, uvWhere(sync)...)
	options = append(options, uvResolver[*Install]()...)
	options = append(options, uvBuild[*Install]()...)
	options = append(options, uvIndex[*Install]()...)
	options = append(options, uvGeneral[*Install](place)...)
	return &optionSet[*Install]{options: options, assigned: true}
}

// uvWhat: what is installed.
func uvWhat(sync bool) []option[*Install] {
	options := []option[*Install]{
		{long: []string{"constraints", "constraint"}, short: 'c', arg: true, list: true, value: addText(func(in *Install) *[]string { return &in.Constraints })},
		{long: []string{"build-constraints", "build-constraint"}, short: 'b', arg: true, list: true, value: addText(func(in *Install) *[]string { return &in.BuildConstraints })},
		{long: []string{"extra"}, arg: true, value: addText(func(in *Install) *[]string { return &in.Extras })},
		{long: []string{"all-extras"}, flag: setFlag(func(in *Install) *bool { return &in.AllExtras }, true)},
		{long: []string{"group"}, arg: true, value: addGroup},
		{long: []string{"require-hashes"}, flag: setSwitch[*Install](func(c *Config) *Setting[bool] { return &c.RequireHashes })},
		{long: []string{"no-require-hashes"}, flag: func(in *Install, _ Setting[bool]) {
			in.Config.RequireHashes = Setting[bool]{false, "--no-require-hashes"}
		}},
		{long: []string{"verify-hashes"}},
		{long: []string{"no-verify-hashes"}, refuse: "switches hash checks off, which is not done here"},
		{long: []string{"strict"}},
		{long: []string{"no-strict"}},
		{long: []string{"dry-run"}, refuse: refuseNothing},
		{long: []string{"check"}, refuse: refuseNothing},
		{long: []string{"output-format"}, arg: true},
	}
	if sync {
		return append(options, []option[*Install]{
			{long: []string{"allow-empty-requirements"}, refuse: "takes a file that names nothing, which would remove every package"},
			{long: []string{"no-allow-empty-requirements"}},
		}...)
	}
	return append(options, []option[*Install]{
		{long: []string{"requirements", "requirement"}, short: 'r', arg: true, value: addText(func(in *Install) *[]string { return &in.Files })},
		{long: []string{"editable"}, short: 'e', arg: true, value: addText(func(in *Install) *[]string { return &in.Editable })},
		{long: []string{"overrides", "override"}, arg: true, refuse: refuseChange},
		{long: []string{"excludes", "exclude"}, arg: true, refuse: refuseBroken},
		{long: []string{"no-editable"}, refuse: "changes how the project is installed, which is not understood"},
		{long: []string{"no-editable-package"}, arg: true, refuse: "changes how the project is installed, which is not understood"},
		{long: []string{"no-deps"}, flag: setFlag(func(in *Install) *bool { return &in.NoDeps }, true)},
		{long: []string{"upgrade-group"}, arg: true, refuse: "names a dependency group, which is not understood here"},
		{long: []string{"exact"}, refuse: "removes other packages, which is not done here"},
	}...)
}

// addGroup reads [FILE:]NAME.
func addGroup(in *Install, v Setting[string]) error {
	g := Group{Name: v.Value}
	if i := strings.LastIndexByte(v.Value, ':'); i >= 0 {
		g.File, g.Name = v.Value[:i], v.Value[i+1:]
	}
	if g.Name == "" {
		return fmt.Errorf("%q names no group", v.Value)
	}
	in.Groups = append(in.Groups, g)
	return nil
}

// choices is where the options go that all of uv's installing commands have.
type choices struct {
	upgrade, reinstall, compile, noBuildIsolation *bool
	upgradePackages, reinstallPackages            *[]string
	configSettings                                *[]string
}

// choicesOf returns them; a Venv has none, and what is set is thrown away.
func choicesOf[T subject](in T) choices {
	switch in := any(in).(type) {
	case *Install:
		return choices{&in.Upgrade, &in.ForceReinstall, &in.Compile, &in.NoBuildIsolation, &in.UpgradePackages, &in.Reinstall, &in.ConfigSettings}
	case *Sync:
		return choices{&in.Upgrade, &in.Reinstall, &in.Compile, &in.NoBuildIsolation, &in.UpgradePackages, &in.ReinstallPackages, &in.ConfigSettings}
	}
	return choices{new(bool), new(bool), new(bool), new(bool), new([]string), new([]string), new([]string)}
}

// uvResolver: how versions are chosen.
func uvResolver[T subject]() []option[T] {
	return []option[T]{
		{long: []string{"upgrade"}, short: 'U', flag: setFlag(func(in T) *bool { return choicesOf(in).upgrade }, true)},
		{long: []string{"no-upgrade"}, flag: setFlag(func(in T) *bool { return choicesOf(in).upgrade }, false)},
		{long: []string{"upgrade-package"}, short: 'P', arg: true, value: addText(func(in T) *[]string { return choicesOf(in).upgradePackages })},
		{long: []string{"reinstall", "force-reinstall"}, flag: setFlag(func(in T) *bool { return choicesOf(in).reinstall }, true)},
		{long: []string{"no-reinstall"}, flag: setFlag(func(in T) *bool { return choicesOf(in).reinstall }, false)},
		{long: []string{"reinstall-package"}, arg: true, value: addText(func(in T) *[]string { return choicesOf(in).reinstallPackages })},
		{long: []string{"resolution"}, arg: true, value: oneOf[T]("highest")},
		{long: []string{"prerelease"}, arg: true, value: setPrerelease[T]},
		{long: []string{"pre"}, flag: setSwitch[T](func(c *Config) *Setting[bool] { return &c.Pre })},
		{long: []string{"prerelease-package"}, arg: true, refuse: refuseChange},
		{long: []string{"fork-strategy"}, arg: true}, // of no meaning for one environment
		{long: []string{"exclude-newer"}, arg: true, value: setExcludeNewer[T](true)},
		{long: []string{"exclude-newer-package"}, arg: true, refuse: refuseChange},
		{long: []string{"no-sources"}, refuse: refuseSources},
		{long: []string{"no-sources-package"}, arg: true, refuse: refuseSources},
	}
}

// setPrerelease reads uv's --prerelease. What is uv's default is taken; pip's
// rules, which hold here, are the same where a requirement names a pre-release
// or there is nothing else.
func setPrerelease[T subject](in T, v Setting[string]) error {
	if v.Value == "allow" {
		in.config().Pre = Setting[bool]{true, v.Source}
		return nil
	}
	return oneOf[T]("if-necessary-or-explicit", "if-necessary")(in, v)
}

// uvWhere: where it goes.
func uvWhere(sync bool) []option[*Install] {
	options := []option[*Install]{
		{long: []string{"system"}, flag: setFlag(func(in *Install) *bool { return &in.System }, true)},
		{long: []string{"no-system"}, flag: setFlag(func(in *Install) *bool { return &in.System }, false)},
		{long: []string{"target"}, short: 't', arg: true, value: setText(func(in *Install) *string { return &in.Target })},
		{long: []string{"prefix"}, arg: true, value: setText(func(in *Install) *string { return &in.Prefix })},
		{long: []string{"python"}, short: 'p', arg: true, value: setUVPython(func(in *Install) *string { return &in.Python })},
		{long: []string{"python-version"}, arg: true, refuse: refuseOther},
		{long: []string{"python-platform"}, arg: true, refuse: refuseOther},
		{long: []string{"break-system-packages"}},
		{long: []string{"no-break-system-packages"}},
		{long: []string{"torch-backend"}, arg: true, refuse: "chooses an index by the machine's hardware, which is not understood"},
		{long: []string{"no-build"}, flag: noBuild[*Install]},
		{long: []string{"build"}},
		{long: []string{"no-binary"}, arg: true, list: true, value: setFormats[*Install](true)},
		{long: []string{"only-binary"}, arg: true, list: true, value: setFormats[*Install](false)},
	}
	if !sync {
		options = append(options, option[*Install]{long: []string{"user"}, refuse: "is not an option that uv has a meaning for"})
	}
	return options
}

func noBuild[T subject](in T, on Setting[bool]) {
	if c := in.config(); on.Value {
		restrict(allPackages, &c.OnlyBinary, &c.NoBinary)
	}
}

// setUVPython reads a version, or a path of a Python or of its environment.
func setUVPython[T subject](at func(T) *string) func(T, Setting[string]) error {
	return func(in T, v Setting[string]) error {
		if !strings.Contains(v.Value, "/") && (v.Value == "" || !pythonName().MatchString("python"+v.Value)) {
			return fmt.Errorf("%q is no Python version", v.Value)
		}
		*at(in) = v.Value
		return nil
	}
}

// uvBuild: how it is installed, and built.
func uvBuild[T subject]() []option[T] {
	return []option[T]{
		{long: []string{"compile-bytecode", "compile"}, flag: setFlag(func(in T) *bool { return choicesOf(in).compile }, true)},
		{long: []string{"no-compile-bytecode", "no-compile"}, flag: setFlag(func(in T) *bool { return choicesOf(in).compile }, false)},
		{long: []string{"config-setting", "config-settings"}, short: 'C', arg: true, value: addText(func(in T) *[]string { return choicesOf(in).configSettings })},
		{long: []string{"config-settings-package"}, arg: true, refuse: refuseBuild},
		{long: []string{"no-build-isolation"}, flag: setFlag(func(in T) *bool { return choicesOf(in).noBuildIsolation }, true)},
		{long: []string{"build-isolation"}, flag: setFlag(func(in T) *bool { return choicesOf(in).noBuildIsolation }, false)},
		{long: []string{"no-build-isolation-package"}, arg: true, refuse: refuseBuild},
		{long: []string{"require-build-hashes"}, refuse: refuseBuild},
		{long: []string{"no-require-build-hashes"}},
		{long: []string{"link-mode"}, arg: true},
	}
}

// uvIndex: where it comes from.
func uvIndex[T subject]() []option[T] {
	return []option[T]{
		{long: []string{"default-index", "index-url"}, short: 'i', arg: true, value: setDefaultIndex[T]},
		{long: []string{"index"}, arg: true, list: true, value: addIndex[T]},
		{long: []string{"extra-index-url"}, arg: true, list: true, value: addIndex[T]},
		{long: []string{"find-links"}, short: 'f', arg: true, value: func(in T, v Setting[string]) error {
			for link := range splitComma(v.Value) {
				in.config().FindLinks = append(in.config().FindLinks, Setting[string]{link, v.Source})
			}
			return nil
		}},
		{long: []string{"no-index"}, flag: setSwitch[T](func(c *Config) *Setting[bool] { return &c.NoIndex })},
		{long: []string{"index-strategy"}, arg: true, value: func(in T, v Setting[string]) error {
			if err := oneOf[*Install]("first-index", "unsafe-first-match", "unsafe-best-match")(&Install{}, v); err != nil {
				return err
			}
			in.config().Strategy = v
			return nil
		}},
		{long: []string{"keyring-provider"}, arg: true, network: true, value: setKeyring[T]("disabled", "subprocess")},
		{long: []string{"allow-insecure-host", "trusted-host"}, arg: true, list: true, value: addSetting[T](func(c *Config) *[]Setting[string] { return &c.TrustedHosts })},
		{long: []string{"timeout"}, arg: true, value: setTimeout[T]}, // UV_HTTP_TIMEOUT; no option of uv
		{long: []string{"retries"}, arg: true, value: setRetries[T]}, // UV_HTTP_RETRIES; no option of uv
	}
}

// uvGeneral: what all of uv's commands have.
func uvGeneral[T subject](place *uvPlace) []option[T] {
	general := []option[T]{
		{long: []string{"help"}, short: 'h', refuse: refuseNothing},
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
		{long: []string{"python-preference"}, arg: true, value: oneOf[T]("managed", "system", "only-system")},
		{long: []string{"cert"}, arg: true, network: true, value: setSetting[T](func(c *Config) *Setting[string] { return &c.Cert })},
		{long: []string{"client-cert"}, arg: true, network: true, value: setSetting[T](func(c *Config) *Setting[string] { return &c.ClientCert })}, // SSL_CLIENT_CERT; no option of uv
		{long: []string{"refresh"}},
		{long: []string{"no-refresh"}},
		{long: []string{"refresh-package"}, arg: true},
		{long: []string{"offline"}, refuse: "would use uv's own cache only"},
		{long: []string{"no-config"}, flag: func(T, Setting[bool]) {}}, // looked for where files are read
		{long: []string{"config-file"}, arg: true, value: setPlace[T](&place.configFile)},
		{long: []string{"directory"}, arg: true, value: setPlace[T](&place.directory)},
		{long: []string{"project"}, arg: true, value: setPlace[T](&place.project)},
	}
	for i := range general { // also those of the cache and of Pythons: they do no harm there
		general[i].general = true
	}
	return general
}

func setPlace[T subject](at *string) func(T, Setting[string]) error {
	return func(_ T, v Setting[string]) error {
		if v.Value == "" {
			return errors.New("it is empty")
		}
		*at = v.Value
		return nil
	}
}
