package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs/schemas"
	"github.com/aws/smithy-go"
	"github.com/moby/buildkit/util/suggest"
)

// Files names the two input files: JSON as the AWS CLI takes it with
// --cli-input-json, or the same in YAML if the name ends in .yaml or .yml. What
// the describe commands print is taken too: the wrapper around it and the
// fields that only ECS sets are left out.
type Files struct {
	TaskDefinition string // path, "deploy/taskdef.json"
	Service        string // path, "deploy/service.json"
}

// document is an input file, checked against the shape that ECS takes.
type document struct {
	file string
	root *node
}

func (d *document) fail(path string, line int, format string, args ...any) *FileError {
	return &FileError{File: d.file, Line: line, Path: path, Cause: fmt.Sprintf(format, args...)}
}

func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, &FileError{File: file, Cause: systemError(err)}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, &FileError{File: file, Cause: systemError(err)}
	}
	if len(data) > maxFileSize {
		return nil, &FileError{File: file, Cause: fmt.Sprintf("is larger than %d bytes", maxFileSize)}
	}
	return data, nil
}

// systemError is an error of the file system without the path, which stands
// before it already.
func systemError(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return oneLine(err.Error())
}

// readTaskDefinition reads the file of a task definition.
func readTaskDefinition(file string, lookup Lookup) (*document, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return parseTaskDefinition(file, data, lookup)
}

func parseTaskDefinition(file string, data []byte, lookup Lookup) (*document, error) {
	root, err := parseObject(file, data, lookup)
	if err != nil {
		return nil, err
	}
	// describe-task-definition: the tags stand beside the definition, not in it.
	if inner := root.get("taskDefinition"); inner != nil && inner.kind == object {
		if tags := root.get("tags"); tags != nil && inner.get("tags") == nil {
			inner.set("tags", tags)
		}
		root = inner
	}
	stripReadOnly(root, schemas.TaskDefinition, schemas.RegisterTaskDefinitionRequest)
	return checked(file, root, schemas.RegisterTaskDefinitionRequest)
}

// readService reads the file of a service.
func readService(file string, lookup Lookup) (*document, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return parseService(file, data, lookup)
}

func parseService(file string, data []byte, lookup Lookup) (*document, error) {
	root, err := parseObject(file, data, lookup)
	if err != nil {
		return nil, err
	}
	switch services := root.get("services"); {
	case services != nil && services.kind == list: // describe-services
		if len(services.list) != 1 || services.list[0].kind != object {
			return nil, &FileError{File: file, Line: services.line, Path: "services", Cause: fmt.Sprintf("has %d entries: a file holds one service", len(services.list))}
		}
		root = services.list[0]
	case root.get("service") != nil && root.get("service").kind == object: // create-service, update-service
		root = root.get("service")
	}
	// What ECS tells of a service under other names than it takes it.
	if arn := root.get("clusterArn"); arn != nil && root.get("cluster") == nil {
		root.set("cluster", arn)
	}
	if deployments := root.get("deployments"); deployments != nil && len(deployments.list) > 0 {
		for _, name := range []string{"serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations"} {
			if v := deployments.list[0].get(name); v != nil && root.get(name) == nil {
				root.set(name, v)
			}
		}
	}
	stripReadOnly(root, schemas.Service, schemas.CreateServiceRequest)
	return checked(file, root, schemas.CreateServiceRequest)
}

func parseObject(file string, data []byte, lookup Lookup) (*node, error) {
	root, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	if root.kind != object {
		return nil, &FileError{File: file, Line: root.line, Cause: "the file is not an object but " + root.kind.String()}
	}
	return root, fill(file, root, lookup)
}

// stripReadOnly drops the members that ECS tells (described) but does not take.
func stripReadOnly(root *node, described, taken *smithy.Schema) {
	for name := range described.Members() {
		if taken.Member(name) == nil {
			root.remove(name)
		}
	}
}

func checked(file string, root *node, shape *smithy.Schema) (*document, error) {
	d := &document{file: file, root: root}
	if err := d.check(root, shape, ""); err != nil {
		return nil, err
	}
	return d, nil
}

// check holds a value against the shape that ECS's model gives it. Values of
// enums are left to ECS, which learns new ones before the SDK does.
func (d *document) check(n *node, s *smithy.Schema, path string) error {
	if n.kind == null {
		return nil // the AWS CLI takes null for absent
	}
	want, ok := kindOf(s.Type())
	if !ok {
		return nil // a document: anything
	}
	if n.kind != want && !n.convert(want) {
		e := d.fail(path, n.line, "is %s, not %s", n.describe(), want)
		switch {
		case want == text && (n.kind == number || n.kind == boolean):
			e.hint = fmt.Sprintf("put it in quotes: %q", n.text)
		case n.kind == text:
			e.hint = "write it without quotes"
		}
		return e
	}
	switch want {
	case number:
		return d.checkNumber(n, s, path)
	case list:
		for i, item := range n.list {
			at := fmt.Sprintf("%s[%d]", path, i)
			if item.kind == null {
				return d.fail(at, item.line, "is null: leave it out")
			}
			if err := d.check(item, s.ListMember(), at); err != nil {
				return err
			}
		}
	case object:
		return d.checkFields(n, s, path)
	}
	return nil
}

func (d *document) checkFields(n *node, s *smithy.Schema, path string) error {
	present := 0
	for _, f := range n.fields {
		member := s.MapValue()
		if s.Type() != smithy.ShapeTypeMap {
			if member = s.Member(f.name); member == nil {
				e := d.fail(join(path, f.name), f.line, "ECS knows no such key here")
				if near := nearest(f.name, s); near != "" {
					e.hint = fmt.Sprintf("the nearest key is %s", near)
					e.Cause += ", nearest is " + near
				}
				return e
			}
		}
		if f.value.kind != null {
			present++
		}
		if err := d.check(f.value, member, join(path, f.name)); err != nil {
			return err
		}
	}
	if s.Type() == smithy.ShapeTypeUnion && present != 1 {
		return d.fail(path, n.line, "has %d keys: it takes exactly one of %s", present, strings.Join(memberNames(s), ", "))
	}
	return nil
}

func (d *document) checkNumber(n *node, s *smithy.Schema, path string) error {
	if s.Type() == smithy.ShapeTypeFloat || s.Type() == smithy.ShapeTypeDouble {
		return nil
	}
	// A float that is whole is taken: YAML and some printers write 1e3.
	f, err := json.Number(n.text).Float64()
	if err != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 && s.Type() != smithy.ShapeTypeLong {
		return d.fail(path, n.line, "%s is not a whole number in range", n.text)
	}
	if strings.ContainsAny(n.text, ".eE") {
		n.text = strconv.FormatInt(int64(f), 10)
	}
	return nil
}

// kindOf is the kind of value that a shape is written as.
func kindOf(t smithy.ShapeType) (kind, bool) {
	switch t {
	case smithy.ShapeTypeBoolean:
		return boolean, true
	case smithy.ShapeTypeString, smithy.ShapeTypeEnum, smithy.ShapeTypeBlob:
		return text, true
	case smithy.ShapeTypeByte, smithy.ShapeTypeShort, smithy.ShapeTypeInteger, smithy.ShapeTypeLong,
		smithy.ShapeTypeFloat, smithy.ShapeTypeDouble, smithy.ShapeTypeIntEnum, smithy.ShapeTypeTimestamp:
		return number, true
	case smithy.ShapeTypeList, smithy.ShapeTypeSet:
		return list, true
	case smithy.ShapeTypeMap, smithy.ShapeTypeStructure, smithy.ShapeTypeUnion:
		return object, true
	}
	return null, false
}

// convert makes a text that came out of a variable the number or boolean that
// is wanted in its place: a file cannot write ${COUNT} without quotes.
func (n *node) convert(want kind) bool {
	if n.kind != text || !n.filled {
		return false
	}
	switch want {
	case number:
		if _, err := strconv.ParseInt(n.text, 10, 64); err != nil {
			return false
		}
	case boolean:
		if n.text != "true" && n.text != "false" {
			return false
		}
	default:
		return false
	}
	n.kind = want
	return true
}

func (n *node) describe() string {
	switch n.kind {
	case boolean, number:
		return n.text
	case text:
		if n.filled {
			return "text from a variable" // which may be a secret
		}
		return strconv.Quote(n.text)
	}
	return n.kind.String()
}

func memberNames(s *smithy.Schema) []string {
	names := make([]string, 0, len(s.Members()))
	for name := range s.Members() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// nearest is the member that a misspelt key most likely means: the same but for
// case, or two letters away; "" if there is none.
func nearest(key string, s *smithy.Schema) string {
	names := memberNames(s)
	if i := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, key) }); i >= 0 {
		return names[i]
	}
	if len(key) > 64 { // longer than any member; the search takes its length times theirs
		return ""
	}
	near, _ := suggest.Search(key, names, true)
	return near
}
