package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/boyabuild/boyabuild/pkg/debian"
)

// configFile is the name looked for beside the build context.
const configFile = "boyabuild.yaml"

// maxConfig bounds a configuration file.
const maxConfig = 1 << 20

// config is boyabuild.yaml. The doc tags become the JSON schema's descriptions.
type config struct {
	Repository string            `yaml:"repository" doc:"Where images are pushed to: a full repository, or the name of an ECR repository, which the account and region in use complete."`
	Platforms  []string          `yaml:"platforms" doc:"Platforms to build for, such as linux/amd64."`
	Dockerfile string            `yaml:"dockerfile" doc:"The Dockerfile, relative to the build context."`
	Base       string            `yaml:"base" doc:"What a project without a Dockerfile is built on."`
	Bases      map[string]string `yaml:"bases" doc:"Base names in the Dockerfile, and where to take them from instead: oci-layout://DIR, docker-archive://FILE, docker-image://REF, debian://SUITE?packages=a,b, or a directory with an OCI layout."`
	MaxLayers  int               `yaml:"max_layers" doc:"How many layers an image has at most; 64 unless given."`
	CacheFrom  stringList        `yaml:"cache_from" doc:"Images whose layers are used again where this machine has no record of them: full references, or :TAG or @DIGEST in the repository."`
	Index      stringList        `yaml:"index" doc:"Package indexes in order: the first that knows a name wins."`
	Debian     debianConfig      `yaml:"debian" doc:"Where Debian packages come from."`
	Deploy     deployConfig      `yaml:"deploy" doc:"The ECS service."`
	Local      localConfig       `yaml:"local" doc:"The local cloud."`

	path string // where it was read from, "" for none
}

type debianConfig struct {
	Mirror   string `yaml:"mirror" doc:"The URL of a mirror of the Debian archive; by default the host's own apt source."`
	Security string `yaml:"security" doc:"The URL of a mirror of Debian's security archive."`
}

type deployConfig struct {
	Region         string            `yaml:"region" doc:"The AWS region; by default that of the AWS configuration in use."`
	Cluster        string            `yaml:"cluster" doc:"The ECS cluster; by default that of the service file."`
	TaskDefinition string            `yaml:"task_definition" doc:"The task definition file, relative to this file."`
	Service        string            `yaml:"service" doc:"The service file, relative to this file."`
	Container      string            `yaml:"container" doc:"The container that gets the image, where the task definition has several."`
	Vars           map[string]string `yaml:"vars" doc:"Values for ${VAR} in the task definition and service files."`
}

type localConfig struct {
	Vars map[string]string `yaml:"vars" doc:"Values for ${VAR} when deploying to the local cloud."`
}

// stringList is a list in which one string may stand for itself.
type stringList []string

func (l *stringList) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*l = stringList{n.Value}
		return nil
	}
	return n.Decode((*[]string)(l))
}

// configError is a mistake in a configuration file.
type configError struct {
	file   string
	line   int
	reason string
	advice string
}

func (e *configError) Error() string {
	if e.line == 0 {
		return fmt.Sprintf("%s: %s", e.file, e.reason)
	}
	return fmt.Sprintf("%s:%d: %s", e.file, e.line, e.reason)
}

func (e *configError) Position() (string, int) { return e.file, e.line }
func (e *configError) Hint() string            { return e.advice }

// loadConfig reads the configuration named by --config, or the one beside the
// build context where there is one.
func loadConfig(named, context string) (*config, error) {
	p := named
	if p == "" {
		p = filepath.Join(context, configFile)
	}
	b, err := readBounded(p, maxConfig)
	if errors.Is(err, fs.ErrNotExist) && named == "" {
		return &config{}, nil
	}
	if err != nil {
		return nil, &configError{file: p, reason: reasonOf(err)}
	}
	c, err := parseConfig(p, b)
	if err != nil {
		return nil, err
	}
	c.path = p
	dir, err := filepath.Abs(filepath.Dir(p))
	if err != nil {
		return nil, err
	}
	c.Base = absoluteSource(c.Base, dir)
	for name, source := range c.Bases {
		c.Bases[name] = absoluteSource(source, dir)
	}
	return c, nil
}

// absoluteSource takes a relative path in a base's source from dir: paths in
// the configuration are relative to it, wherever the command is run.
func absoluteSource(source, dir string) string {
	if source == "." || strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../") {
		return filepath.Join(dir, source)
	}
	for _, scheme := range []string{"oci-layout://", "docker-archive://"} {
		if p, ok := strings.CutPrefix(source, scheme); ok && p != "" && !filepath.IsAbs(p) {
			return scheme + filepath.Join(dir, p)
		}
	}
	suite, query, ok := strings.Cut(source, "?")
	if !ok || !strings.HasPrefix(suite, debian.Scheme) {
		return source
	}
	parameters := strings.Split(query, "&")
	for i, parameter := range parameters {
		value, ok := strings.CutPrefix(parameter, "signed-by=")
		if p, err := url.PathUnescape(value); ok && err == nil && p != "" && !filepath.IsAbs(p) {
			// A space is not written as "+", which stands for itself here.
			parameters[i] = "signed-by=" + strings.ReplaceAll(url.QueryEscape(filepath.Join(dir, p)), "+", "%20")
		}
	}
	return suite + "?" + strings.Join(parameters, "&")
}

// reasonOf says what went wrong with a file without naming it again.
func reasonOf(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

func readBounded(p string, limit int64) ([]byte, error) {
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("has more than %d bytes", limit)
	}
	return b, err
}

func parseConfig(file string, b []byte) (*config, error) {
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return &config{}, nil
	} else if err != nil {
		return nil, yamlError(file, err)
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		return nil, &configError{file: file, line: second.Line, reason: "a second document begins, and only the first would be read"}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlError(file, err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, &configError{file: file, line: doc.Line, reason: "is not a mapping of keys to values"}
	}
	if err := checkNode(file, doc.Content[0], reflect.TypeFor[config](), ""); err != nil {
		return nil, err
	}
	c := &config{}
	if err := doc.Content[0].Decode(c); err != nil {
		return nil, yamlError(file, err)
	}
	return c, nil
}

// yamlError places what the YAML parser says.
func yamlError(file string, err error) error {
	var at *yaml.LoadError
	if errors.As(err, &at) {
		return &configError{file: file, line: at.Mark.Line, reason: oneLine(at.Message)}
	}
	return &configError{file: file, reason: oneLine(err.Error())}
}

// checkNode refuses keys that t does not have, and values of another shape.
func checkNode(file string, n *yaml.Node, t reflect.Type, at string) error {
	wrong := func(want string) error {
		return &configError{file: file, line: n.Line, reason: fmt.Sprintf("%s is not %s", at, want)}
	}
	switch {
	case n.Kind == yaml.AliasNode:
		return checkNode(file, n.Alias, t, at)
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return nil
	case t == reflect.TypeFor[stringList]() && n.Kind == yaml.ScalarNode:
		return nil
	case t.Kind() == reflect.String:
		if n.Kind != yaml.ScalarNode {
			return wrong("a string")
		}
	case t.Kind() == reflect.Int:
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" {
			return wrong("a whole number")
		}
	case t.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			return wrong("a list")
		}
		for i, item := range n.Content {
			if err := checkNode(file, item, t.Elem(), fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case n.Kind != yaml.MappingNode:
		return wrong("a mapping of keys to values")
	case t.Kind() == reflect.Map:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := checkNode(file, n.Content[i+1], t.Elem(), join(at, n.Content[i].Value)); err != nil {
				return err
			}
		}
	default:
		return checkKeys(file, n, t, at)
	}
	return nil
}

func checkKeys(file string, n *yaml.Node, t reflect.Type, at string) error {
	var known []string
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "" {
			known = append(known, key)
			fields[key] = t.Field(i).Type
		}
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		fieldType, ok := fields[key.Value]
		if !ok {
			return &configError{file: file, line: key.Line, reason: fmt.Sprintf("unknown key %q", join(at, key.Value)), advice: didYouMean(key.Value, known, "known keys: ")}
		}
		if seen[key.Value] {
			return &configError{file: file, line: key.Line, reason: fmt.Sprintf("key %q comes twice", join(at, key.Value))}
		}
		seen[key.Value] = true
		if err := checkNode(file, n.Content[i+1], fieldType, join(at, key.Value)); err != nil {
			return err
		}
	}
	return nil
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}
