package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs/schemas"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Input files hold what the AWS CLI takes: the JSON of ECS's wire protocol. So
// they are turned into the SDK's types, and these back into comparable JSON, by
// the SDK's own codec for that protocol. encoding/json on the SDK's types would
// lose unions and documents, which have no exported form that it could fill.

// operation gives the codec an input shape, which it reads as if it came in an
// answer, or writes as if it went out in a request.
func operation(shape *smithy.Schema) *smithy.OperationSchema {
	return smithy.NewOperationSchema(smithy.NewSchema(shape.ID(), smithy.ShapeTypeOperation, 0), shape, shape)
}

func protocol() *awsjson.Protocol { return awsjson.New11(schemas.AmazonEC2ContainerServiceV20141113) }

// decode fills in, a pointer to an operation's input, from a checked document.
func decode(doc map[string]any, shape *smithy.Schema, in any) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	resp := &smithyhttp.Response{Response: &http.Response{
		StatusCode: http.StatusOK,
		Body:       io.NopCloser(bytes.NewReader(data)),
	}}
	return protocol().DeserializeResponse(context.Background(), operation(shape), nil, resp,
		&inputReader{shape: shape, in: reflect.ValueOf(in).Elem()})
}

// encode is v as a document: what ECS would have sent, or been sent.
func encode(v smithy.Serializable, shape *smithy.Schema) (map[string]any, error) {
	req := smithyhttp.NewStackRequest().(*smithyhttp.Request)
	if err := protocol().SerializeRequest(context.Background(), operation(shape), v, req); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(req.GetStream())
	dec.UseNumber()
	var doc map[string]any
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	return doc, nil
}

// inputReader reads the shape of an operation's input. The SDK generates
// readers for every structure but these, since a client only writes them; their
// fields are the shape's members with the first letter in upper case.
type inputReader struct {
	shape *smithy.Schema
	in    reflect.Value
}

// Deserialize implements smithy.Deserializable.
func (r *inputReader) Deserialize(d smithy.ShapeDeserializer) error {
	return smithy.ReadStruct(d, r.shape, func(member *smithy.Schema) error {
		name := member.MemberName()
		f := r.in.FieldByName(strings.ToUpper(name[:1]) + name[1:])
		if !f.IsValid() {
			return fmt.Errorf("%s has no field for %s", r.in.Type(), name)
		}
		return read(d, member, f)
	})
}

func read(d smithy.ShapeDeserializer, s *smithy.Schema, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if out, ok := v.Addr().Interface().(smithy.Deserializable); ok {
		return out.Deserialize(d)
	}
	switch v.Kind() {
	case reflect.String: // also every enum
		var text string
		if err := d.ReadString(s, &text); err != nil {
			return err
		}
		v.SetString(text)
		return nil
	case reflect.Bool:
		return d.ReadBool(s, v.Addr().Interface().(*bool))
	case reflect.Int32:
		return d.ReadInt32(s, v.Addr().Interface().(*int32))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0)) // [] clears, where nil leaves as it is
		return smithy.ReadList(d, s, func() error {
			item := reflect.New(v.Type().Elem()).Elem()
			if err := read(d, s.ListMember(), item); err != nil {
				return err
			}
			v.Set(reflect.Append(v, item))
			return nil
		})
	}
	return fmt.Errorf("%s: a %s cannot be read", s.ID(), v.Type())
}
