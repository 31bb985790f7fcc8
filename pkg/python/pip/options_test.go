package pip

import (
	"errors"
	"strings"
	"testing"
)

// documented lists the options of each command as its own help has them:
// short/long, with an equals sign where a value follows.
func documented() []struct{ command, options string } {
	return []struct{ command, options string }{
		{"pip install", `
			abi= all-releases= break-system-packages build-constraint= cache-dir= cert= check-build-dependencies
			client-cert= compile C/config-settings= c/constraint= debug disable-pip-version-check dry-run e/editable=
			exists-action= extra-index-url= f/find-links= force-reinstall global-option= group= h/help I/ignore-installed
			ignore-requires-python implementation= i/index-url= isolated keyring-provider= log= no-binary=
			no-build-isolation no-cache-dir no-clean no-color no-compile no-deps no-index no-input no-proxy-env
			no-python-version-warning no-require-hashes no-warn-conflicts no-warn-script-location only-binary= only-deps
			only-final= platform= pre prefer-binary prefix= progress-bar= proxy= python-version= python= q/quiet
			refresh-package= report= require-hashes require-virtualenv r/requirement= requirements-from-script=
			resume-retries= retries= root-user-action= root= src= t/target= timeout= trusted-host= U/upgrade
			upgrade-strategy= uploaded-prior-to= use-deprecated= use-feature= use-pep517 user v/verbose V/version
		`}, // pip 23 to 26
		{"pip wheel", `
			all-releases= build-constraint= cache-dir= cert= check-build-dependencies client-cert= C/config-settings=
			c/constraint= debug disable-pip-version-check e/editable= exists-action= extra-index-url= f/find-links= group=
			h/help ignore-requires-python i/index-url= isolated keyring-provider= log= no-binary= no-build-isolation
			no-cache-dir no-clean no-color no-deps no-index no-input no-require-hashes no-verify only-binary= only-final= pre
			prefer-binary progress-bar= proxy= python= q/quiet refresh-package= require-hashes require-virtualenv
			r/requirement= requirements-from-script= retries= src= timeout= trusted-host= uploaded-prior-to=
			use-deprecated= use-feature= use-pep517 v/verbose V/version w/wheel-dir=
		`}, // pip 23 to 26
		{"uv pip install", `
			all-extras allow-insecure-host= break-system-packages b/build-constraints= cache-dir= cert= check color=
			compile-bytecode config-file= C/config-setting= config-settings-package= c/constraints= default-index=
			directory= dry-run e/editable= exact exclude-newer-package= exclude-newer= excludes= extra-index-url= extra=
			f/find-links= fork-strategy= group= h/help index-strategy= i/index-url= index= keyring-provider= link-mode=
			managed-python no-binary= no-break-system-packages no-build no-build-isolation no-build-isolation-package=
			n/no-cache no-config no-deps no-editable no-editable-package= no-index no-managed-python no-progress
			no-python-downloads no-sources no-sources-package= no-verify-hashes offline only-binary= output-format=
			overrides= prefix= prerelease-package= prerelease= project= python-platform= python-version= p/python= q/quiet
			refresh refresh-package= reinstall reinstall-package= require-build-hashes require-hashes r/requirements=
			resolution= strict system system-certs t/target= torch-backend= U/upgrade upgrade-group= P/upgrade-package=
			user v/verbose
		`}, // uv 0.13
		{"uv pip sync", `
			all-extras allow-empty-requirements allow-insecure-host= break-system-packages b/build-constraints= cache-dir=
			cert= check color= compile-bytecode config-file= C/config-setting= config-settings-package= c/constraints=
			default-index= directory= dry-run exclude-newer-package= exclude-newer= extra-index-url= extra= f/find-links=
			group= h/help index-strategy= i/index-url= index= keyring-provider= link-mode= managed-python
			no-allow-empty-requirements no-binary= no-break-system-packages no-build no-build-isolation n/no-cache
			no-index no-managed-python no-progress no-python-downloads no-sources no-sources-package= no-verify-hashes
			offline only-binary= output-format= prefix= project= python-platform= python-version= p/python= q/quiet
			refresh refresh-package= reinstall reinstall-package= require-build-hashes require-hashes strict system
			system-certs t/target= torch-backend= v/verbose
		`}, // uv 0.13
		{"uv sync", `
			active all-extras all-groups all-packages allow-insecure-host= cache-dir= check color= compile-bytecode
			config-file= C/config-setting= config-settings-package= default-index= directory= dry-run
			exclude-newer-package= exclude-newer= extra-index-url= extra= f/find-links= fork-strategy= frozen group=
			h/help index-strategy= i/index-url= index= inexact keyring-provider= link-mode= locked managed-python
			no-binary no-binary-package= no-build no-build-isolation no-build-isolation-package= no-build-package=
			n/no-cache no-config no-default-groups no-dev no-editable no-editable-package= no-extra= no-group= no-index
			no-install-local no-install-package= no-install-project no-install-workspace no-managed-python no-progress
			no-python-downloads no-require-build-hashes no-sources no-sources-package= offline only-dev only-group=
			output-format= package= prerelease-package= prerelease= project= python-platform= p/python= q/quiet refresh
			refresh-package= reinstall reinstall-package= require-build-hashes resolution= script= system-certs U/upgrade
			upgrade-group= P/upgrade-package= v/verbose
		`}, // uv 0.13
		{"uv venv", `
			allow-existing allow-insecure-host= cache-dir= c/clear color= config-file= default-index= directory=
			exclude-newer-package= exclude-newer= extra-index-url= f/find-links= force h/help index-strategy= i/index-url=
			index= keyring-provider= link-mode= managed-python n/no-cache no-config no-index no-managed-python no-progress
			no-project no-python-downloads offline project= prompt= p/python= q/quiet refresh refresh-package= relocatable
			seed system-certs system-site-packages v/verbose
		`}, // uv 0.13
		{"poetry install", `
			all-extras all-groups ansi compile C/directory= dry-run E/extras= h/help no-ansi no-cache no-directory
			n/no-interaction no-plugins no-root only-root only= P/project= q/quiet sync v/verbose V/version with= without=
		`}, // Poetry 2.5
		{"poetry sync", `
			all-extras all-groups ansi compile C/directory= dry-run E/extras= h/help no-ansi no-cache no-directory
			n/no-interaction no-plugins no-root only-root only= P/project= q/quiet v/verbose V/version with= without=
		`}, // Poetry 2.5
		{"pipenv install", `
			all categories= clear config-settings= deploy d/dev e/editable= extra-pip-args= extras= h/help ignore-pipfile
			i/index= no-site-packages pre pypi-mirror= python= q/quiet r/requirements= resolver= site-packages skip-lock
			system v/verbose
		`}, // pipenv 2026
		{"pipenv sync", `
			all bare categories= clean clear d/dev extra-pip-args= extras= h/help no-site-packages pre pypi-mirror=
			python= q/quiet resolver= site-packages system v/verbose
		`}, // pipenv 2026
		{"virtualenv", `
			activators= always-copy app-data= clear copies creator= discovery= download extra-search-dir= h/help
			never-download no-download no-periodic-update no-pip no-seed no-setuptools no-vcs-ignore no-venv-redirect pip=
			prompt= p/python= q/quiet read-only-app-data reset-app-data seeder= setuptools= symlink-app-data symlinks
			system-site-packages try-first-with= upgrade-embed-wheels venv-redirect v/verbose version with-traceback
			without-pip
		`}, // virtualenv 21
		{"python3 -m venv", `
			clear copies h/help prompt= symlinks system-site-packages upgrade upgrade-deps without-pip
		`}, // Python 3.11
	}
}

// anySet is an optionSet of any subject.
type anySet interface {
	lookUp(long string) (short byte, arg, ok bool)
}

func (s *optionSet[T]) lookUp(long string) (short byte, arg, ok bool) {
	o := s.exact(long)
	if o == nil {
		return 0, false, false
	}
	return o.short, o.arg, true
}

func setOf(command string) anySet {
	switch command {
	case "pip install":
		return pipOptions()
	case "pip wheel":
		return pipWheelOptions()
	case "uv pip install":
		return uvOptions(new(uvPlace), false)
	case "uv pip sync":
		return uvOptions(new(uvPlace), true)
	case "uv sync":
		return uvSyncOptions(new(uvPlace), new(bool))
	case "uv venv":
		return uvVenvOptions(new(uvPlace), new(bool))
	case "poetry install", "poetry sync":
		return poetryOptions(new(poetryPlace), new(poetryGroups))
	case "pipenv install", "pipenv sync":
		return pipenvOptions(new(pipenvWords), command == "pipenv sync")
	case "virtualenv":
		return virtualenvOptions()
	}
	return venvOptions()
}

// Every documented option is known with its short form and whether a value
// follows, and on a line it is understood or an error that names it.
func TestDocumentedOptions(t *testing.T) {
	operand := map[string]string{"pip install": "x", "pip wheel": "x", "uv pip install": "--system -r pyproject.toml", "uv pip sync": "--system pylock.toml", "virtualenv": "v", "python3 -m venv": "v"}
	values := map[string]string{"timeout": "3", "retries": "3", "exclude-newer": "2024-01-01", "uploaded-prior-to": "2024-01-01", "python": "3.12",
		"index-strategy": "first-index", "keyring-provider": "disabled", "resolution": "highest", "prerelease": "allow", "upgrade-strategy": "eager",
		"use-feature": "truststore", "creator": "venv", "seeder": "pip", "discovery": "builtin", "pip": "bundle", "setuptools": "bundle",
		"all-releases": ":all:", "resolver": "pip", "index": "https://i.example/simple", "index-url": "https://i.example/simple",
		"default-index": "https://i.example/simple", "extra-index-url": "https://i.example/simple", "pypi-mirror": "https://i.example/simple",
		"config-file": "/uv.toml"}
	for _, c := range documented() {
		set := setOf(c.command)
		for word := range strings.FieldsSeq(c.options) {
			name, wantArg := strings.CutSuffix(word, "=")
			wantShort, long, ok := strings.Cut(name, "/")
			if !ok {
				wantShort, long = "", name
			}
			short, arg, ok := set.lookUp(long)
			if !ok || arg != wantArg || wantShort != "" && string(short) != wantShort {
				t.Errorf("%s --%s: known %v, short %q, value %v; want %s", c.command, long, ok, short, arg, word)
				continue
			}
			line := c.command + " --" + long
			if arg {
				value := values[long]
				if value == "" {
					value = "y"
				}
				line += "=" + value
			}
			line += " " + operand[c.command]
			o := inImage("/app", nil, map[string]string{"/uv.toml": "", "/app/Pipfile": "", "/app/pyproject.toml": "[project]\nname='x'\n", "/app/y/": ""})
			_, err := ParseSteps(line, o)
			var e *WordError
			if err != nil && (!errors.As(err, &e) || !strings.Contains(e.Word, long) || e.Line != 1 ||
				strings.Contains(e.Reason, "option that is not known") || strings.Contains(e.Reason, "wrong value")) {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
}
