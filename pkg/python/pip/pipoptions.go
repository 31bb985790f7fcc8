package pip

import (
	"fmt"
	"slices"
)

const (
	refuseOutside = "writes to a place that is not asked for in an image"
	refuseOther   = "asks for packages of another Python than the image's"
	refuseBuild   = "is about building from source, which it would change"
)

// pipOptions returns the options of `pip install`, as of pip 26. All are here,
// those that cannot be had too: an abbreviation is told by all the names there
// are.
func pipOptions() *optionSet[*Install] {
	options := pipWhat()
	options = append(options, pipHow()...)
	options = append(options, pipIndex()...)
	options = append(options, pipGeneral()...)
	return &optionSet[*Install]{options: options, abbreviated: true}
}

// pipWheelOptions returns the options of `pip wheel`, as of pip 26: those of
// install that are not about a place.
func pipWheelOptions() *optionSet[*Install] {
	set := pipOptions()
	set.options = slices.DeleteFunc(set.options, func(o option[*Install]) bool {
		return slices.Contains([]string{"abi", "break-system-packages", "compile", "dry-run", "force-reinstall", "ignore-installed", "implementation",
			"no-compile", "no-warn-conflicts", "no-warn-script-location", "platform", "prefix", "python-version", "report", "root",
			"root-user-action", "target", "upgrade", "upgrade-strategy", "user", "only-deps"}, o.long[0])
	})
	set.options = append(set.options,
		option[*Install]{long: []string{"wheel-dir"}, short: 'w', arg: true, value: setText(func(in *Install) *string { return &in.WheelDir })},
		option[*Install]{long: []string{"no-verify"}})
	return set
}

// pipWhat: what is installed.
func pipWhat() []option[*Install] {
	return []option[*Install]{
		{long: []string{"requirement"}, short: 'r', arg: true, list: true, value: addText(func(in *Install) *[]string { return &in.Files })},
		{long: []string{"constraint"}, short: 'c', arg: true, list: true, value: addText(func(in *Install) *[]string { return &in.Constraints })},
		{long: []string{"editable"}, short: 'e', arg: true, list: true, value: addText(func(in *Install) *[]string { return &in.Editable })},
		{long: []string{"build-constraint"}, arg: true, list: true, value: addText(func(in *Install) *[]string { return &in.BuildConstraints })},
		{long: []string{"requirements-from-script"}, arg: true, refuse: "reads requirements out of a script, which is not understood"},
		{long: []string{"group"}, arg: true, list: true, value: addGroup},
		{long: []string{"only-deps"}, refuse: "installs dependencies only, which is not understood"},
		{long: []string{"no-deps", "no-dependencies"}, flag: setFlag(func(in *Install) *bool { return &in.NoDeps }, true)},
		{long: []string{"upgrade"}, short: 'U', flag: setFlag(func(in *Install) *bool { return &in.Upgrade }, true)},
		{long: []string{"upgrade-strategy"}, arg: true, value: func(in *Install, v Setting[string]) error {
			if v.Value != "eager" && v.Value != "only-if-needed" {
				return fmt.Errorf("%q is neither eager nor only-if-needed", v.Value)
			}
			in.UpgradeStrategy = v.Value
			return nil
		}},
		{long: []string{"force-reinstall"}, flag: setFlag(func(in *Install) *bool { return &in.ForceReinstall }, true)},
		{long: []string{"ignore-installed"}, short: 'I', flag: setFlag(func(in *Install) *bool { return &in.IgnoreInstalled }, true)},
		{long: []string{"ignore-requires-python"}, flag: setFlag(func(in *Install) *bool { return &in.IgnoreRequiresPython }, true)},
		{long: []string{"require-hashes"}, flag: setSwitch[*Install](func(c *Config) *Setting[bool] { return &c.RequireHashes })},
		{long: []string{"no-require-hashes"}, refuse: "switches hash checks off, which is not done here"},
		{long: []string{"dry-run"}, refuse: "would install nothing"},
		{long: []string{"report"}, arg: true, refuse: refuseOutside},
	}
}

// pipHow: where it goes and how it is built.
func pipHow() []option[*Install] {
	return []option[*Install]{
		{long: []string{"target"}, short: 't', arg: true, value: setText(func(in *Install) *string { return &in.Target })},
		{long: []string{"prefix"}, arg: true, value: setText(func(in *Install) *string { return &in.Prefix })},
		{long: []string{"user"}, flag: setFlag(func(in *Install) *bool { return &in.User }, true)},
		{long: []string{"root"}, arg: true, refuse: refuseOutside},
		{long: []string{"src", "source", "source-dir", "source-directory"}, arg: true, refuse: refuseOutside},
		{long: []string{"platform"}, arg: true, refuse: refuseOther},
		{long: []string{"python-version"}, arg: true, refuse: refuseOther},
		{long: []string{"implementation"}, arg: true, refuse: refuseOther},
		{long: []string{"abi"}, arg: true, refuse: refuseOther},
		{long: []string{"compile"}, flag: setFlag(func(in *Install) *bool { return &in.Compile }, true)},
		{long: []string{"no-compile"}, inverted: true, flag: setFlag(func(in *Install) *bool { return &in.Compile }, false)},
		{long: []string{"config-settings", "config-setting"}, short: 'C', arg: true, value: addText(func(in *Install) *[]string { return &in.ConfigSettings })},
		{long: []string{"global-option"}, arg: true, refuse: refuseBuild},
		{long: []string{"no-build-isolation"}, inverted: true, flag: setFlag(func(in *Install) *bool { return &in.NoBuildIsolation }, true)},
		{long: []string{"check-build-dependencies"}},
		{long: []string{"use-pep517"}},
		{long: []string{"no-use-pep517"}, refuse: refuseBuild},
		{long: []string{"break-system-packages"}},
		{long: []string{"no-warn-script-location"}},
		{long: []string{"no-warn-conflicts"}},
		{long: []string{"progress-bar"}, arg: true},
		{long: []string{"root-user-action"}, arg: true},
		{long: []string{"no-clean"}},
	}
}

// pipIndex: where it comes from.
func pipIndex() []option[*Install] {
	return []option[*Install]{
		{long: []string{"index-url", "pypi-url"}, short: 'i', arg: true, value: setDefaultIndex[*Install]},
		{long: []string{"extra-index-url"}, arg: true, list: true, value: addIndex[*Install]},
		{long: []string{"no-index"}, flag: setSwitch[*Install](func(c *Config) *Setting[bool] { return &c.NoIndex })},
		{long: []string{"find-links"}, short: 'f', arg: true, list: true, value: addSetting[*Install](func(c *Config) *[]Setting[string] { return &c.FindLinks })},
		{long: []string{"pre"}, flag: setSwitch[*Install](func(c *Config) *Setting[bool] { return &c.Pre })},
		{long: []string{"all-releases"}, arg: true, value: func(in *Install, v Setting[string]) error {
			if v.Value != allPackages {
				return fmt.Errorf("only %s is understood", allPackages)
			}
			in.Config.Pre = Setting[bool]{true, v.Source}
			return nil
		}},
		{long: []string{"only-final"}, arg: true, refuse: "chooses releases by package, which is not understood"},
		{long: []string{"no-binary"}, arg: true, adds: true, value: setFormats[*Install](true)},
		{long: []string{"only-binary"}, arg: true, adds: true, value: setFormats[*Install](false)},
		{long: []string{"prefer-binary"}, flag: setSwitch[*Install](func(c *Config) *Setting[bool] { return &c.PreferBinary })},
		{long: []string{"uploaded-prior-to"}, arg: true, value: setExcludeNewer[*Install](false)},
		{long: []string{"refresh-package"}, arg: true},
	}
}

// pipGeneral: what all of pip's commands have.
func pipGeneral() []option[*Install] {
	general := []option[*Install]{
		{long: []string{"help"}, short: 'h', refuse: "would install nothing"},
		{long: []string{"version"}, short: 'V', refuse: "would install nothing"},
		{long: []string{"debug"}},
		{long: []string{"isolated"}}, // looked for before the options are read
		{long: []string{"require-virtualenv", "require-venv"}, refuse: "asks for a virtual environment, which is not checked here"},
		{long: []string{"python"}, arg: true, value: setText(func(in *Install) *string { return &in.Interpreter })},
		{long: []string{"verbose"}, short: 'v'},
		{long: []string{"quiet"}, short: 'q'},
		{long: []string{"log", "log-file", "local-log"}, arg: true, refuse: refuseOutside},
		{long: []string{"no-input"}},
		{long: []string{"keyring-provider"}, arg: true, network: true, value: setKeyring[*Install]("auto", "disabled", "import", "subprocess")},
		{long: []string{"proxy"}, arg: true, network: true, value: setSetting[*Install](func(c *Config) *Setting[string] { return &c.Proxy })},
		{long: []string{"no-proxy-env"}},
		{long: []string{"retries"}, arg: true, value: setRetries[*Install]},
		{long: []string{"resume-retries"}, arg: true},
		{long: []string{"timeout", "default-timeout"}, arg: true, value: setTimeout[*Install]},
		{long: []string{"exists-action"}, arg: true},
		{long: []string{"trusted-host"}, arg: true, list: true, value: addSetting[*Install](func(c *Config) *[]Setting[string] { return &c.TrustedHosts })},
		{long: []string{"cert"}, arg: true, network: true, value: setSetting[*Install](func(c *Config) *Setting[string] { return &c.Cert })},
		{long: []string{"client-cert"}, arg: true, network: true, value: setSetting[*Install](func(c *Config) *Setting[string] { return &c.ClientCert })},
		{long: []string{"cache-dir"}, arg: true},
		{long: []string{"no-cache-dir"}},
		{long: []string{"disable-pip-version-check"}},
		{long: []string{"no-color"}},
		{long: []string{"no-python-version-warning"}},
		{long: []string{"use-feature"}, arg: true, list: true, value: oneOf[*Install]("2020-resolver", "fast-deps", "in-tree-build", "no-binary-enable-wheel-cache", "truststore")},
		{long: []string{"use-deprecated"}, arg: true, refuse: "asks for old behaviour that is not known here"},
	}
	for i := range general {
		general[i].general = true
	}
	return general
}
