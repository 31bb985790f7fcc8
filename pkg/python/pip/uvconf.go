package pip

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/pelletier/go-toml/v2"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// UVConfig returns the index settings that uv would find. What counts more:
//
//  1. UV_* variables
//  2. the project's uv.toml, or [tool.uv] of its pyproject.toml where there is
//     none: of the project's directory or the nearest above that has one
//  3. the user's uv.toml
//  4. the system's uv.toml
//
// UV_CONFIG_FILE takes the place of all files, UV_NO_CONFIG leaves them out.
// Indexes and other lists of all of them are joined in that order.
func UVConfig(env map[string]string, l Locations, read ReadFunc) (Config, error) {
	var in Install
	files, err := uvDefaults(uvOptions(new(uvPlace), false), &in, map[string]bool{}, env, l, read, true)
	if err != nil {
		return Config{}, err
	}
	for _, name := range in.Constraints {
		in.Config.Constraints = append(in.Config.Constraints, Setting[string]{name, "UV_CONSTRAINT"})
	}
	return Merge(in.Config, files), nil
}

// uvDefaults applies the variables and what the files say beside indexes to in,
// where the command line does not say it, and returns the files' indexes.
func uvDefaults[T subject](set *optionSet[T], in T, seen map[string]bool, env map[string]string, l Locations, read ReadFunc, host bool) (Config, error) {
	if host { // of this machine's settings only those for indexes matter
		env = maps.Clone(env)
		for _, name := range []string{"UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_COMPILE_BYTECODE", "UV_RESOLUTION", "UV_NO_BUILD_ISOLATION", "UV_PYTHON_PREFERENCE"} {
			delete(env, name)
		}
	}
	if err := applyVariables(set, in, seen, env, host); err != nil {
		return Config{}, err
	}
	in.config().Credentials = uvCredentials(env)
	if off, _ := parseBool(env["UV_NO_CONFIG"]); off || seen["no-config"] {
		return Config{}, nil
	}
	files, err := uvRead(env, l, read)
	if err != nil {
		return Config{}, err
	}
	_, forPip := any(in).(*Install)
	var found []Config
	for _, f := range files {
		tables := []*uvSettings{&f.table.uvSettings}
		if forPip && f.table.Pip != nil {
			tables = []*uvSettings{f.table.Pip, &f.table.uvSettings}
		}
		c, err := f.table.config(f.name, tables)
		if err != nil {
			return Config{}, err
		}
		found = append(found, c)
		if host {
			continue
		}
		if err := uvSettle(set, in, seen, f, forPip); err != nil {
			return Config{}, err
		}
	}
	return Merge(found...), nil
}

// uvFile is a configuration file: as far as it is about indexes, and whole.
type uvFile struct {
	name  string
	table uvTable
	all   map[string]any
}

// uvRead reads the configuration files, the ones that count more first.
func uvRead(env map[string]string, l Locations, read ReadFunc) ([]uvFile, error) {
	if name := env["UV_CONFIG_FILE"]; name != "" {
		b, ok, err := readConfig(read, name)
		if err == nil && !ok {
			err = &ConfigError{File: name, Reason: "is named by UV_CONFIG_FILE or --config-file and is not there"}
		}
		if err != nil {
			return nil, err
		}
		f, err := parseUV(name, b)
		return []uvFile{f}, err
	}
	found, err := uvProject(l.Project, read)
	if err != nil {
		return nil, err
	}
	for _, name := range uvFiles(env, l) {
		b, ok, err := readConfig(read, name)
		if err != nil {
			return nil, err
		}
		if ok {
			f, err := parseUV(name, b)
			if err != nil {
				return nil, err
			}
			found = append(found, f)
		}
	}
	return found, nil
}

// uvFiles returns the user's and the system's files, the ones that count more
// first.
func uvFiles(env map[string]string, l Locations) []string {
	var files []string
	if dir := l.configHome(env); dir != "" {
		files = append(files, path.Join(dir, "uv", "uv.toml"))
	}
	for _, dir := range configDirs(env) {
		files = append(files, path.Join(dir, "uv", "uv.toml"))
	}
	return append(files, "/etc/uv/uv.toml")
}

// uvProject reads the nearest project configuration from dir upwards. A uv.toml
// hides the pyproject.toml beside it, and one without [tool.uv] is passed over.
func uvProject(dir string, read ReadFunc) ([]uvFile, error) {
	if dir == "" {
		return nil, nil
	}
	for dir = path.Clean(dir); ; dir = path.Dir(dir) {
		name := path.Join(dir, "uv.toml")
		b, ok, err := readConfig(read, name)
		if err != nil {
			return nil, err
		}
		if ok {
			f, err := parseUV(name, b)
			return []uvFile{f}, err
		}
		name = path.Join(dir, "pyproject.toml")
		if b, ok, err = readConfig(read, name); err != nil {
			return nil, err
		}
		if ok {
			f, has, err := parsePyproject(name, b)
			if err != nil || has {
				return []uvFile{f}, err
			}
		}
		if path.Dir(dir) == dir {
			return nil, nil
		}
	}
}

// uvTable is uv.toml, or [tool.uv]: the part of it that matters here.
type uvTable struct {
	Index []struct {
		Name     string `toml:"name"`
		URL      string `toml:"url"`
		Default  bool   `toml:"default"`
		Explicit bool   `toml:"explicit"`
	} `toml:"index"`
	uvSettings
	Pip     *uvSettings    `toml:"pip"`
	Sources map[string]any `toml:"sources"`
}

// uvSettings can stand at the top and in [pip], where they count more.
type uvSettings struct {
	IndexURL        *string  `toml:"index-url"`
	ExtraIndexURL   []string `toml:"extra-index-url"`
	FindLinks       []string `toml:"find-links"`
	NoIndex         *bool    `toml:"no-index"`
	IndexStrategy   *string  `toml:"index-strategy"`
	InsecureHosts   []string `toml:"allow-insecure-host"`
	Keyring         *string  `toml:"keyring-provider"`
	Prerelease      *string  `toml:"prerelease"`
	ExcludeNewer    *string  `toml:"exclude-newer"`
	RequireHashes   *bool    `toml:"require-hashes"`
	NoBuild         *bool    `toml:"no-build"`
	NoBuildPackage  []string `toml:"no-build-package"`
	NoBinary        any      `toml:"no-binary"`   // a boolean; in [pip] a list of names
	OnlyBinary      []string `toml:"only-binary"` // in [pip] only
	NoBinaryPackage []string `toml:"no-binary-package"`
}

// parseUV reads a uv.toml.
func parseUV(name string, b []byte) (uvFile, error) {
	f := uvFile{name: name}
	err := toml.Unmarshal(b, &f.table)
	if err == nil {
		err = toml.Unmarshal(b, &f.all)
	}
	if err != nil {
		return uvFile{}, tomlError(name, err)
	}
	return f, nil
}

// parsePyproject reads [tool.uv]; has is false where there is none.
func parsePyproject(name string, b []byte) (f uvFile, has bool, err error) {
	var p struct {
		Tool struct {
			UV *uvTable `toml:"uv"`
		} `toml:"tool"`
	}
	var all struct {
		Tool struct {
			UV map[string]any `toml:"uv"`
		} `toml:"tool"`
	}
	if err = toml.Unmarshal(b, &p); err == nil {
		err = toml.Unmarshal(b, &all)
	}
	if err != nil {
		return uvFile{}, false, tomlError(name, err)
	}
	if p.Tool.UV == nil {
		return uvFile{}, false, nil
	}
	return uvFile{name: name, table: *p.Tool.UV, all: all.Tool.UV}, true, nil
}

func tomlError(name string, err error) error {
	e := &ConfigError{File: name, Reason: "is no TOML file of the form expected", Err: err}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		e.Line, _ = at.Position()
	}
	return e
}

// config applies the table as uv's options, under the file's name.
func (t *uvTable) config(name string, tables []*uvSettings) (Config, error) {
	var c Config
	for i, x := range t.Index {
		index, err := newIndex(Setting[string]{x.URL, name})
		if err != nil {
			return Config{}, &ConfigError{File: name, Reason: fmt.Sprintf("index[%d]: url", i), Err: err}
		}
		index.Name, index.Explicit = x.Name, x.Explicit
		if x.Default {
			c.Default = index
		} else {
			c.Extra = append(c.Extra, index)
		}
	}
	configs := []Config{c}
	for _, s := range tables {
		c, err := s.config(name)
		if err != nil {
			return Config{}, err
		}
		configs = append(configs, c)
	}
	c = Merge(configs...)
	var err error
	c.Pins, err = uvPins(name, t.Sources)
	return c, err
}

func (s *uvSettings) config(name string) (Config, error) {
	var in Install
	set := uvOptions(new(uvPlace), false)
	apply := func(option string, values ...string) error {
		for _, v := range values {
			if err := set.exact(option).value(&in, Setting[string]{v, name}); err != nil {
				return &ConfigError{File: name, Reason: option, Err: err}
			}
		}
		return nil
	}
	single := func(option string, v *string) error {
		if v == nil {
			return nil
		}
		return apply(option, *v)
	}
	noBinary, err := nameList(s.NoBinary)
	if err != nil {
		return Config{}, &ConfigError{File: name, Reason: "no-binary", Err: err}
	}
	if s.NoBuild != nil && *s.NoBuild {
		s.NoBuildPackage = append([]string{allPackages}, s.NoBuildPackage...)
	}
	err = errors.Join(
		single("index-url", s.IndexURL),
		apply("extra-index-url", s.ExtraIndexURL...),
		apply("find-links", s.FindLinks...),
		apply("allow-insecure-host", s.InsecureHosts...),
		single("index-strategy", s.IndexStrategy),
		single("keyring-provider", s.Keyring),
		single("prerelease", s.Prerelease),
		single("exclude-newer", s.ExcludeNewer),
		apply("only-binary", append(s.NoBuildPackage, s.OnlyBinary...)...),
		apply("no-binary", append(noBinary, s.NoBinaryPackage...)...),
	)
	if err != nil {
		return Config{}, err
	}
	if s.NoIndex != nil {
		in.Config.NoIndex = Setting[bool]{*s.NoIndex, name}
	}
	if s.RequireHashes != nil {
		in.Config.RequireHashes = Setting[bool]{*s.RequireHashes, name}
	}
	return in.Config, nil
}

// nameList reads a list of names, or true for all of them.
func nameList(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case bool:
		if v {
			return []string{allPackages}, nil
		}
		return nil, nil
	case []any:
		var names []string
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return nil, errors.New("is a list with something that is no name")
			}
			names = append(names, s)
		}
		return names, nil
	}
	return nil, errors.New("is neither true, false nor a list")
}

// uvPins reads the sources that name an index. Sources of other kinds are not
// about indexes.
func uvPins(name string, sources map[string]any) ([]Pin, error) {
	var pins []Pin
	for _, project := range slices.Sorted(maps.Keys(sources)) {
		list, ok := sources[project].([]any)
		if !ok {
			list = []any{sources[project]}
		}
		for _, s := range list {
			table, ok := s.(map[string]any)
			if !ok {
				return nil, &ConfigError{File: name, Reason: fmt.Sprintf("sources.%s is no table", project)}
			}
			index, ok := table["index"].(string)
			if !ok {
				continue
			}
			marker, _ := table["marker"].(string)
			pins = append(pins, Pin{Project: python.NormalizeName(project), Index: index, Marker: marker, Source: name})
		}
	}
	return pins, nil
}
