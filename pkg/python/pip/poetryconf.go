package pip

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// poetryKind says what a setting's value looks like.
type poetryKind uint8

const (
	poetryText poetryKind = iota
	poetryBool
	poetryInt
	poetryNames // packages, :all: or :none:, or true and false for these
)

// poetryKnown returns the settings of Poetry 2.5 that have one name.
func poetryKnown() map[string]poetryKind {
	return map[string]poetryKind{
		"cache-dir":                                poetryText,
		"data-dir":                                 poetryText,
		"virtualenvs.create":                       poetryBool,
		"virtualenvs.in-project":                   poetryBool,
		"virtualenvs.options.always-copy":          poetryBool,
		"virtualenvs.options.system-site-packages": poetryBool,
		"virtualenvs.options.no-pip":               poetryBool,
		"virtualenvs.options.no-setuptools":        poetryBool, // of Poetry 1
		"virtualenvs.path":                         poetryText,
		"virtualenvs.use-poetry-python":            poetryBool,
		"virtualenvs.prefer-active-python":         poetryBool, // of Poetry 1
		"virtualenvs.prompt":                       poetryText,
		"system-git-client":                        poetryBool,
		"requests.max-retries":                     poetryInt,
		"installer.re-resolve":                     poetryBool,
		"installer.parallel":                       poetryBool,
		"installer.modern-installation":            poetryBool, // of Poetry 1
		"installer.builtin-uninstall":              poetryBool,
		"installer.max-workers":                    poetryInt,
		"installer.no-binary":                      poetryNames,
		"installer.only-binary":                    poetryNames,
		"solver.lazy-wheel":                        poetryBool,
		"solver.min-release-age":                   poetryInt,
		"solver.min-release-age-exclude":           poetryNames,
		"solver.min-release-age-exclude-source":    poetryNames,
		"keyring.enabled":                          poetryBool,
		"python.installation-dir":                  poetryText,
		"experimental.system-git-client":           poetryBool, // of Poetry 1
		"warnings.export":                          poetryBool, // of Poetry 1
	}
}

// poetryValue reads the value of `poetry config`; nil removes the setting.
func poetryValue(key string, words []string) (any, error) {
	keys := strings.Split(key, ".")
	kind, known := poetryKnown()[key]
	switch {
	case keys[0] == "http-basic" && len(keys) == 2:
		if len(words) == 2 {
			return map[string]any{"username": words[0], "password": words[1]}, nil
		}
	case keys[0] == "repositories" && len(keys) == 2: // for publishing
		if len(words) == 1 {
			return map[string]any{"url": words[0]}, nil
		}
	case keys[0] == "certificates" && len(keys) == 3 && (keys[2] == "cert" || keys[2] == "client-cert"):
		if len(words) == 1 {
			if on, ok := parseBool(words[0]); ok && keys[2] == "cert" {
				return on, nil
			}
			return words[0], nil
		}
	case !known:
		return nil, errors.New("is a setting that is not known")
	}
	switch {
	case len(words) == 0:
		return nil, nil
	case len(words) != 1:
		return nil, errors.New("has another number of values than one")
	}
	word := words[0]
	switch kind {
	case poetryBool:
		if !slices.Contains([]string{"true", "false", "1", "0"}, word) {
			return nil, fmt.Errorf("is true or false, not %q", word)
		}
		return word == "true" || word == "1", nil
	case poetryInt:
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("is a number, not %q", word)
		}
		return n, nil
	case poetryNames:
		return poetryList(word), nil
	}
	return word, nil
}

func poetryList(word string) []any {
	switch word {
	case "true", "1":
		return []any{allPackages}
	case "false", "0":
		return []any{noPackages}
	}
	var names []any
	for name := range splitComma(word) {
		if !strings.HasPrefix(name, ":") {
			name = python.NormalizeName(name)
		}
		names = append(names, name)
	}
	return names
}

// poetryHome is where Poetry's own configuration lies.
func (p *shell) poetryHome(env map[string]string) string {
	if dir := env["POETRY_CONFIG_DIR"]; dir != "" {
		return absolute(p.dir, dir)
	}
	return path.Join(p.locations(env).configHome(env), "pypoetry")
}

// poetryConf is Poetry's configuration: variables count more than the project's
// poetry.toml, that more than auth.toml and config.toml.
type poetryConf struct {
	env   map[string]string
	files []poetryFile // the ones that count more first
	home  string
}

type poetryFile struct {
	name  string
	table map[string]any
}

// poetrySettings reads the files. What they say must be of the right form.
func (p *shell) poetrySettings(env map[string]string, project string) (poetryConf, error) {
	conf := poetryConf{env: env, home: env["HOME"]}
	home := p.poetryHome(env)
	for _, name := range []string{path.Join(project, "poetry.toml"), path.Join(home, "auth.toml"), path.Join(home, "config.toml")} {
		b, ok, err := readConfig(p.read(), name)
		if err != nil {
			return conf, err
		}
		if !ok {
			continue
		}
		f := poetryFile{name: name, table: map[string]any{}}
		if err := toml.Unmarshal(b, &f.table); err != nil {
			return conf, tomlError(name, err)
		}
		conf.files = append(conf.files, f)
	}
	for _, key := range slices.Sorted(maps.Keys(poetryKnown())) {
		v, source := conf.get(key)
		if source == "" {
			continue
		}
		ok := true
		switch poetryKnown()[key] {
		case poetryBool:
			_, ok = v.(bool)
		case poetryInt:
			_, ok = v.(int64)
		case poetryText:
			_, ok = v.(string)
		}
		if !ok {
			return conf, &ConfigError{File: source, Reason: fmt.Sprintf("%s has a value of another kind than it should", key)}
		}
	}
	return conf, nil
}

// get returns a setting's value and its source, "" where it is not set.
func (c poetryConf) get(key string) (any, string) {
	name := "POETRY_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(key))
	if v, ok := c.env[name]; ok {
		switch poetryKnown()[key] {
		case poetryBool:
			v = strings.ToLower(v)
			return v == "true" || v == "1", name // anything else is no, to Poetry
		case poetryInt:
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return nil, name
			}
			return n, name
		case poetryNames:
			return poetryList(v), name
		}
		return v, name
	}
	for _, f := range c.files {
		var v any = f.table
		for _, part := range strings.Split(key, ".") {
			table, ok := v.(map[string]any)
			if v = table[part]; !ok {
				v = nil
				break
			}
		}
		if v != nil {
			return v, f.name
		}
	}
	return nil, ""
}

func (c poetryConf) bool(key string) (on, ok bool) {
	v, _ := c.get(key)
	on, ok = v.(bool)
	return on, ok
}

func (c poetryConf) text(key string) (string, bool) {
	v, _ := c.get(key)
	s, ok := v.(string)
	return s, ok
}

// path returns a directory, in which {cache-dir} and a ~ stand for others.
func (c poetryConf) path(key, fallback string) string {
	s, ok := c.text(key)
	if !ok || s == "" {
		return fallback
	}
	if strings.Contains(s, "{cache-dir}") && key != "cache-dir" {
		s = strings.ReplaceAll(s, "{cache-dir}", c.path("cache-dir", path.Join(c.home, ".cache", "pypoetry")))
	}
	if rest, ok := strings.CutPrefix(s, "~"); ok && (rest == "" || rest[0] == '/') {
		s = path.Join(c.home, rest)
	}
	return absolute("/", s)
}

// apply sets what Poetry's configuration says of how packages are installed.
func (c poetryConf) apply(s *Sync, env map[string]string) error {
	for _, x := range []struct {
		key string
		no  bool
	}{{"installer.only-binary", false}, {"installer.no-binary", true}} {
		v, source := c.get(x.key)
		names, ok := v.([]any)
		if text, isText := v.(string); isText {
			names, ok = poetryList(text), true
		}
		if !ok && source != "" {
			return &ConfigError{File: source, Reason: x.key + " is no list of names"}
		}
		for _, name := range names {
			text, _ := name.(string)
			if err := setFormats[*Sync](x.no)(s, Setting[string]{text, source}); err != nil {
				return &ConfigError{File: source, Reason: x.key, Err: err}
			}
		}
	}
	if v, source := c.get("requests.max-retries"); source != "" {
		n, _ := v.(int64)
		s.Config.Retries = Setting[int]{int(n), source}
	}
	if v, source := c.get("solver.min-release-age"); source != "" && v != int64(0) {
		return &ConfigError{File: source, Reason: "solver.min-release-age " + refuseChange}
	}
	if on, source := c.get("keyring.enabled"); on == false {
		s.Config.KeyringProvider = Setting[string]{"disabled", source}
	}
	if err := c.buildSettings(); err != nil {
		return err
	}
	s.Config.Credentials = append(credentials(env, "POETRY_HTTP_BASIC_"), c.credentials()...)
	return c.certificates()
}

// credentials are those of the files' http-basic tables.
func (c poetryConf) credentials() []Credential {
	var out []Credential
	for _, f := range c.files {
		table, _ := f.table["http-basic"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(table)) {
			entry, _ := table[name].(map[string]any)
			user, _ := entry["username"].(string)
			password, _ := entry["password"].(string)
			out = append(out, Credential{Index: credentialName(name), Username: user, Password: password, Source: f.name})
		}
	}
	return out
}

// buildSettings refuses settings for building, which go to single packages.
func (c poetryConf) buildSettings() error {
	const key = "installer.build-config-settings"
	if v, source := c.get(key); source != "" && !isNothing(v) {
		return &ConfigError{File: source, Reason: key + " " + refuseBuild}
	}
	for _, name := range slices.Sorted(maps.Keys(c.env)) {
		if strings.HasPrefix(name, "POETRY_INSTALLER_BUILD_CONFIG_SETTINGS_") && json.Valid([]byte(c.env[name])) {
			return &ConfigError{File: name, Reason: refuseBuild}
		}
	}
	return nil
}

// certificates refuses certificates for single sources.
func (c poetryConf) certificates() error {
	for _, f := range c.files {
		if !isNothing(f.table["certificates"]) {
			return &ConfigError{File: f.name, Reason: "certificates for single sources are not understood"}
		}
	}
	return nil
}
