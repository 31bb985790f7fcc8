package pip

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// ReadFunc returns the content of the file at an absolute path, or an error
// that is fs.ErrNotExist where there is none.
type ReadFunc func(name string) ([]byte, error)

func noFiles(name string) ([]byte, error) { return nil, fs.ErrNotExist }

// maxConfig bounds a configuration file; real ones have a few lines.
const maxConfig = 1 << 20

// readConfig reads a configuration file; ok is false where there is none.
func readConfig(read ReadFunc, name string) (b []byte, ok bool, err error) {
	b, err = read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, &ConfigError{File: name, Reason: "cannot be read", Err: err}
	}
	if len(b) > maxConfig {
		return nil, false, &ConfigError{File: name, Reason: "is too large for a configuration file"}
	}
	return b, true, nil
}

// Locations are the directories that configuration files are looked for in.
// The rest (XDG_CONFIG_HOME, VIRTUAL_ENV, …) is in the environment.
type Locations struct {
	Home string // the user's directory; "" skips the user's files
	// PythonPrefix is sys.prefix of the Python that pip belongs to; "" for
	// VIRTUAL_ENV's, or none.
	PythonPrefix string
	// Project is the directory that uv.toml and pyproject.toml are looked for
	// in and above; "" skips them.
	Project string
}

func (l Locations) configHome(env map[string]string) string {
	if dir := env["XDG_CONFIG_HOME"]; path.IsAbs(dir) {
		return dir
	}
	if l.Home == "" {
		return ""
	}
	return path.Join(l.Home, ".config")
}

func configDirs(env map[string]string) []string {
	var dirs []string
	for dir := range strings.SplitSeq(env["XDG_CONFIG_DIRS"], ":") {
		if path.IsAbs(dir) {
			dirs = append(dirs, dir)
		}
	}
	if dirs == nil {
		dirs = []string{"/etc/xdg"}
	}
	return dirs
}

// PipFiles returns the paths of pip's configuration files, the ones that count
// least first: the system's, the user's, the environment's, PIP_CONFIG_FILE.
// With PIP_CONFIG_FILE=/dev/null there are none. Whether they exist is not
// looked at, but for the one of PIP_CONFIG_FILE, which replaces the user's.
func PipFiles(env map[string]string, l Locations, read ReadFunc) []string {
	return pipFiles(env, l, read, false)
}

func pipFiles(env map[string]string, l Locations, read ReadFunc, isolated bool) []string {
	own := env["PIP_CONFIG_FILE"]
	if own == "/dev/null" {
		return nil
	}
	var files []string
	for _, dir := range configDirs(env) {
		files = append(files, path.Join(dir, "pip", "pip.conf"))
	}
	files = append(files, "/etc/pip.conf")
	replaced := false
	if own != "" {
		_, err := read(own)
		replaced = err == nil
	}
	if !replaced && !isolated {
		if l.Home != "" {
			files = append(files, path.Join(l.Home, ".pip", "pip.conf"))
		}
		if dir := l.configHome(env); dir != "" {
			files = append(files, path.Join(dir, "pip", "pip.conf"))
		}
	}
	prefix := l.PythonPrefix
	if prefix == "" {
		prefix = env["VIRTUAL_ENV"]
	}
	if prefix != "" {
		files = append(files, path.Join(prefix, "pip.conf"))
	}
	if own != "" {
		files = append(files, own)
	}
	return files
}

// PipConfig returns the index settings that pip would find: those of its
// configuration files and of the PIP_* variables of env. What counts more:
//
//  1. PIP_* variables
//  2. [install] of the files, then [global]; in each of them a later file of
//     [PipFiles] before an earlier one
//
// A list (extra-index-url, find-links, trusted-host) is replaced as a whole by
// the one that counts more; names of no-binary and only-binary add up.
func PipConfig(env map[string]string, l Locations, read ReadFunc) (Config, error) {
	values, err := pipValues(env, l, read, false)
	if err != nil {
		return Config{}, err
	}
	var in Install
	if err := pipOptions().configure(&in, indexSettings(values), true); err != nil {
		return Config{}, err
	}
	for _, v := range values {
		if v.key == "constraint" {
			in.Config.Constraints = nil // the last counts
			for name := range strings.FieldsSeq(v.value) {
				in.Config.Constraints = append(in.Config.Constraints, Setting[string]{name, v.source()})
			}
		}
	}
	return in.Config, nil
}

// indexSettings leaves only what says where packages come from: a wrong
// PIP_USER of this machine is none of our business.
func indexSettings(values []configured) []configured {
	set := optionSet[*Install]{options: append(pipIndex(), pipGeneral()...)}
	return slices.DeleteFunc(slices.Clone(values), func(v configured) bool {
		if v.key == "require-hashes" {
			return false
		}
		o := set.exact(v.key)
		return o == nil || o.general && !slices.Contains([]string{"proxy", "retries", "timeout", "trusted-host", "cert", "client-cert", "keyring-provider"}, o.long[0])
	})
}

// pipValues returns all values of pip's configuration in the order in which pip
// applies them: [global], [install], variables. Empty ones do not count.
func pipValues(env map[string]string, l Locations, read ReadFunc, isolated bool) ([]configured, error) {
	sections := map[string][]configured{}
	for _, name := range pipFiles(env, l, read, isolated) {
		b, ok, err := readConfig(read, name)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		items, err := parseINI(name, string(b))
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			it.key = strings.TrimPrefix(strings.ReplaceAll(strings.ToLower(it.key), "_", "-"), "--")
			sections[it.section] = replaceKey(sections[it.section], it.configured)
		}
	}
	values := append(sections["global"], sections["install"]...)
	if isolated {
		return values, nil
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		key, ok := strings.CutPrefix(name, "PIP_")
		if ok && key != "VERSION" && key != "HELP" {
			key = strings.ReplaceAll(strings.ToLower(key), "_", "-")
			values = append(values, configured{key: key, value: env[name], file: name})
		}
	}
	return slices.DeleteFunc(values, func(v configured) bool { return v.value == "" }), nil
}

// replaceKey appends c; an earlier value of its key goes.
func replaceKey(values []configured, c configured) []configured {
	values = slices.DeleteFunc(values, func(v configured) bool { return v.key == c.key })
	return append(values, c)
}

// item is one value of an INI file.
type item struct {
	section string
	configured
}

// parseINI reads a file by the rules of Python's RawConfigParser: sections,
// "key = value" or "key: value", comment lines with # or ;, deeper indented
// lines as more of the value, [DEFAULT] for all sections, and neither a section
// nor a key of it twice.
func parseINI(name, text string) ([]item, error) {
	p := iniParser{file: name, sections: map[string]bool{}}
	for i, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		if err := p.line(strings.TrimSuffix(line, "\r"), i+1); err != nil {
			return nil, err
		}
	}
	p.end()
	return p.withDefaults(), nil
}

// iniParser is the state between the lines of an INI file.
type iniParser struct {
	file     string
	items    []item
	section  string
	sections map[string]bool
	// value collects the lines of the last item; nil between items.
	value  []string
	indent int // of the last item's key
}

func (p *iniParser) wrong(line int, reason string) error {
	return &ConfigError{File: p.file, Line: line, Reason: reason}
}

func (p *iniParser) line(line string, n int) error {
	text := strings.TrimSpace(line)
	if strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";") {
		return nil // comments do not end a value, nor belong to it
	}
	if text == "" {
		if p.value != nil {
			p.value = append(p.value, "")
		}
		return nil
	}
	indent := len(line) - len(strings.TrimLeft(line, " \t\f\v"))
	if p.value != nil && indent > p.indent {
		p.value = append(p.value, text)
		return nil
	}
	p.end()
	p.indent = indent
	if text[0] == '[' {
		return p.startSection(text, n)
	}
	if p.section == "" {
		return p.wrong(n, "stands before any section")
	}
	i := strings.IndexAny(text, "=:")
	if i < 0 {
		return p.wrong(n, "is neither a section nor of the form key = value")
	}
	key := strings.ToLower(strings.TrimSpace(text[:i]))
	if key == "" {
		return p.wrong(n, "has no key")
	}
	for _, it := range p.items {
		if it.section == p.section && it.key == key {
			return p.wrong(n, "has "+key+" a second time")
		}
	}
	p.items = append(p.items, item{p.section, configured{key: key, file: p.file, line: n}})
	p.value = []string{strings.TrimSpace(text[i+1:])}
	return nil
}

func (p *iniParser) startSection(text string, n int) error {
	end := strings.LastIndexByte(text, ']')
	if end < 2 {
		return p.wrong(n, "is no section")
	}
	p.section = text[1:end]
	if p.sections[p.section] && p.section != "DEFAULT" {
		return p.wrong(n, "begins the section "+p.section+" a second time")
	}
	p.sections[p.section] = true
	return nil
}

// end completes the last item.
func (p *iniParser) end() {
	if p.value != nil {
		p.items[len(p.items)-1].value = strings.TrimRight(strings.Join(p.value, "\n"), "\n")
		p.value = nil
	}
}

// withDefaults gives every section the values of [DEFAULT] that it does not
// have itself.
func (p *iniParser) withDefaults() []item {
	var out []item
	own := map[[2]string]bool{}
	for _, it := range p.items {
		own[[2]string{it.section, it.key}] = true
	}
	for _, section := range slices.Sorted(maps.Keys(p.sections)) {
		for _, it := range p.items {
			if it.section == "DEFAULT" && section != "DEFAULT" && !own[[2]string{section, it.key}] {
				it.section = section
				out = append(out, it)
			}
		}
	}
	return append(out, p.items...)
}
