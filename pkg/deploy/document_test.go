package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/schemas"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

// maximal is a document that has every member of a shape. variant picks the
// member of a union.
func maximal(s *smithy.Schema, variant int) any {
	switch s.Type() {
	case smithy.ShapeTypeBoolean:
		return true
	case smithy.ShapeTypeString, smithy.ShapeTypeEnum:
		return "text"
	case smithy.ShapeTypeInteger, smithy.ShapeTypeLong:
		return json.Number("7")
	case smithy.ShapeTypeFloat, smithy.ShapeTypeDouble:
		return json.Number("2.5")
	case smithy.ShapeTypeDocument:
		return map[string]any{"any": []any{json.Number("1"), "thing", true}}
	case smithy.ShapeTypeList:
		return []any{maximal(s.ListMember(), variant), maximal(s.ListMember(), variant)}
	case smithy.ShapeTypeMap:
		return map[string]any{"key": maximal(s.MapValue(), variant)}
	}
	m := map[string]any{}
	for i, name := range memberNames(s) {
		if s.Type() != smithy.ShapeTypeUnion || i == variant%len(s.Members()) {
			m[name] = maximal(s.Member(name), variant)
		}
	}
	return m
}

// Everything that ECS's model has goes from a file into the SDK's types and out
// again to the wire, unchanged.
func TestMaximalInputGoesThrough(t *testing.T) {
	for _, tc := range []struct {
		shape *smithy.Schema
		in    smithy.Serializable
		parse func(string, []byte, Lookup) (*document, error)
	}{
		{schemas.RegisterTaskDefinitionRequest, &ecs.RegisterTaskDefinitionInput{}, parseTaskDefinition},
		{schemas.CreateServiceRequest, &ecs.CreateServiceInput{}, parseService},
		{schemas.UpdateServiceRequest, &ecs.UpdateServiceInput{}, nil},
	} {
		for variant := range 2 {
			want := maximal(tc.shape, variant).(map[string]any)
			doc := want
			if tc.parse != nil {
				data, err := json.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				d, err := tc.parse("max.json", data, nil)
				if err != nil {
					t.Fatal(err)
				}
				doc = asObject(d.root.value())
			}
			in := reflect.New(reflect.TypeOf(tc.in).Elem()).Interface()
			if err := decode(doc, tc.shape, in); err != nil {
				t.Fatal(err)
			}
			got, err := encode(in.(smithy.Serializable), tc.shape)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s, variant %d (-file +wire):\n%s", tc.shape.ID().Name, variant, d)
			}
			for name := range tc.shape.Members() { // read() finds a field for each
				if f := reflect.ValueOf(in).Elem().FieldByName(strings.ToUpper(name[:1]) + name[1:]); !f.IsValid() || f.IsZero() {
					t.Errorf("%s: %s was not read", tc.shape.ID().Name, name)
				}
			}
		}
	}
}

func TestEmptyListsClear(t *testing.T) {
	var in ecs.UpdateServiceInput
	if err := decode(map[string]any{"loadBalancers": []any{}}, schemas.UpdateServiceRequest, &in); err != nil || in.LoadBalancers == nil || in.ServiceRegistries != nil {
		t.Errorf("%+v, %v", in, err)
	}
}

// What describe-task-definition and describe-services print, as it comes.
func TestDescribeOutputIsTaken(t *testing.T) {
	td, err := encode(&ecs.DescribeTaskDefinitionOutput{
		TaskDefinition: &types.TaskDefinition{Family: aws.String("web"), Revision: 7, Status: "ACTIVE", TaskDefinitionArn: aws.String("arn"),
			RequiresAttributes: []types.Attribute{{Name: aws.String("x")}}, Cpu: aws.String("256"), RegisteredBy: aws.String("me"),
			ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("web"), Image: aws.String("web:1")}}},
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("board")}},
	}, schemas.DescribeTaskDefinitionResponse)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := json.Marshal(td)
	d, err := parseTaskDefinition("td.json", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	var in ecs.RegisterTaskDefinitionInput
	if err := decode(asObject(d.root.value()), schemas.RegisterTaskDefinitionRequest, &in); err != nil {
		t.Fatal(err)
	}
	if *in.Family != "web" || *in.Cpu != "256" || len(in.Tags) != 1 || len(in.ContainerDefinitions) != 1 {
		t.Errorf("%+v", in)
	}

	sd, err := encode(&ecs.DescribeServicesOutput{Services: []types.Service{{ServiceName: aws.String("web"), ClusterArn: aws.String("arn:aws:ecs:eu-west-1:1:cluster/shop"),
		Status: aws.String("ACTIVE"), RunningCount: 2, DesiredCount: 2, Events: []types.ServiceEvent{{Message: aws.String("m")}}, RoleArn: aws.String("arn"),
		Deployments: []types.Deployment{{Status: aws.String("PRIMARY"), ServiceConnectConfiguration: &types.ServiceConnectConfiguration{Enabled: true}}}}}},
		schemas.DescribeServicesResponse)
	if err != nil {
		t.Fatal(err)
	}
	data, _ = json.Marshal(sd)
	if d, err = parseService("s.json", data, nil); err != nil {
		t.Fatal(err)
	}
	var svc ecs.CreateServiceInput
	if err := decode(asObject(d.root.value()), schemas.CreateServiceRequest, &svc); err != nil {
		t.Fatal(err)
	}
	if *svc.ServiceName != "web" || clusterName(*svc.Cluster) != "shop" || *svc.DesiredCount != 2 || svc.ServiceConnectConfiguration == nil {
		t.Errorf("%+v", svc)
	}
}

func TestWrongFilesAreNamedWithTheirLine(t *testing.T) {
	for _, tc := range []struct{ what, file, content, want, hint string }{
		{"unknown key", "t.json", "{\n \"family\": \"a\",\n \"containerDefinition\": []\n}", "t.json:3: containerDefinition: ECS knows no such key here, nearest is containerDefinitions", "containerDefinitions"},
		{"unknown key inside", "t.json", "{\n \"containerDefinitions\": [{\n  \"Name\": \"a\"}]}", "t.json:3: containerDefinitions[0].Name: ECS knows no such key here, nearest is name", "name"},
		{"nothing near", "t.json", "{\"zzzzzzzzzz\": 1}", "t.json:1: zzzzzzzzzz: ECS knows no such key here", ""},
		{"number for text", "t.json", "{\n\"cpu\": 256}", "t.json:2: cpu: is 256, not text", `put it in quotes: "256"`},
		{"text for number", "t.json", "{\"containerDefinitions\": [{\n\n\"cpu\": \"10\"}]}", `t.json:3: containerDefinitions[0].cpu: is "10", not a number`, "without quotes"},
		{"object for list", "t.json", "{\"volumes\": {}}", "t.json:1: volumes: is an object, not a list", ""},
		{"fraction", "t.json", "{\"containerDefinitions\": [{\"cpu\": 1.5}]}", "t.json:1: containerDefinitions[0].cpu: 1.5 is not a whole number in range", ""},
		{"too large", "t.json", "{\"containerDefinitions\": [{\"cpu\": 99999999999}]}", "not a whole number in range", ""},
		{"null in a list", "t.json", "{\"volumes\": [null]}", "t.json:1: volumes[0]: is null: leave it out", ""},
		{"two union members", "t.json", `{"containerDefinitions": [{"resourceRequirements": [{"sharingStrategy": {}}]}]}`, "sharingStrategy: has 0 keys: it takes exactly one of", ""},
		{"syntax", "t.json", "{\n \"family\": \"a\"\n \"cpu\": 1}", "t.json:3: not JSON: ", ""},
		{"cut off", "t.json", "{\n \"family\": \"a\",\n", "t.json:3: not JSON: the file ends in the middle of a value", ""},
		{"twice", "t.json", "{\"family\": \"a\",\n\"family\": \"b\"}", "t.json:2: family stands here twice", ""},
		{"more after", "t.json", "{}\n{}", "t.json:2: something follows the end of the JSON value", ""},
		{"not an object", "t.json", "[]", "t.json:1: the file is not an object but a list", ""},
		{"empty", "t.json", "", "t.json: the file is empty", ""},
		{"deep", "t.json", strings.Repeat("[", 100), "nested more than", ""},
		{"many keys", "t.json", "{" + manyKeys() + "\"z\": 1}", "more than 1000 keys", ""},
		{"yaml many keys", "t.yaml", "{" + manyKeys() + "\"z\": 1}", "more than 1000 keys", ""},
		{"yaml number", "t.yaml", "family: a\ncpu: 256\n", "t.yaml:2: cpu: is 256, not text", `"256"`},
		{"yaml unknown", "t.yml", "family: a\ncontainerDefinitions:\n- nam: web\n", "t.yml:3: containerDefinitions[0].nam: ECS knows no such key here, nearest is name", ""},
		{"yaml syntax", "t.yaml", "family: a\n  b: [\n", "t.yaml:", ""},
		{"yaml twice", "t.yaml", "family: a\nfamily: b\n", "t.yaml:2: family stands here twice", ""},
		{"yaml bomb", "t.yaml", yamlBomb(), "more values than any", ""},
		{"yaml empty", "t.yaml", "", "the file is empty", ""},
		{"jsonnet", "t.jsonnet", "{}", "Jsonnet is not read", ""},
		{"unset", "t.json", "{\n\"family\": \"${FAMILY}\"}", "t.json:2: family: variable FAMILY is not set", "--var"},
		{"demanded", "t.json", "{\"family\": \"${FAMILY:?name the family}\"}", "variable FAMILY: name the family", ""},
		{"bad variable", "t.json", "{\"family\": \"${FAMILY%x}\"}", "${FAMILY%x} is not a variable", ""},
		{"open variable", "t.json", "{\"family\": \"${FAMILY\"}", "${ without its }", ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			_, err := parseTaskDefinition(tc.file, []byte(tc.content), nil)
			var wrong *FileError
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("err = %v\nwant %s", err, tc.want)
			}
			if !strings.Contains(wrong.Hint(), tc.hint) {
				t.Errorf("hint = %q", wrong.Hint())
			}
			if file, _ := wrong.Position(); file != tc.file {
				t.Errorf("file = %s", file)
			}
		})
	}
	if _, err := readTaskDefinition("/does/not/exist.json", nil); err == nil || err.Error() != "/does/not/exist.json: no such file or directory" {
		t.Errorf("err = %v", err)
	}
}

func manyKeys() string {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "\"a%d\": 1, ", i)
	}
	return b.String()
}

func yamlBomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 8; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10))
	}
	return b.String()
}

func TestYAMLAndVariables(t *testing.T) {
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"COUNT": "3", "EXEC": "true", "EMPTY": "", "NAME": `we"b`}[name]
		return v, ok
	}
	d, err := parseService("s.yaml", []byte(`
x: &net
  subnets: [subnet-1]
`), lookup)
	if err == nil || !strings.Contains(err.Error(), "s.yaml:2: x: ECS knows no such key") {
		t.Errorf("%v, %v", d, err)
	}
	d, err = parseService("s.yaml", []byte(`
serviceName: ${NAME}
desiredCount: ${COUNT}
enableExecuteCommand: "${EXEC}"
platformVersion: ${EMPTY:-LATEST}
role: $${NOT_OURS} ${EMPTY}
networkConfiguration:
  awsvpcConfiguration: &net
    subnets: [subnet-1]
    assignPublicIp: DISABLED
volumeConfigurations:
deploymentConfiguration: {maximumPercent: 0xC8}
`), lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"serviceName": `we"b`, "desiredCount": json.Number("3"), "enableExecuteCommand": true, "platformVersion": "LATEST", "role": "${NOT_OURS} ",
		"networkConfiguration":    map[string]any{"awsvpcConfiguration": map[string]any{"subnets": []any{"subnet-1"}, "assignPublicIp": "DISABLED"}},
		"deploymentConfiguration": map[string]any{"maximumPercent": json.Number("200")}}
	if diff := cmp.Diff(want, d.root.value()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Merge keys.
	d, err = parseTaskDefinition("t.yaml", []byte("containerDefinitions:\n- &web {name: web, cpu: 10}\n- <<: *web\n  name: worker\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{map[string]any{"name": "web", "cpu": json.Number("10")}, map[string]any{"name": "worker", "cpu": json.Number("10")}},
		asObject(d.root.value())["containerDefinitions"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPutImage(t *testing.T) {
	one := func(image string) string { return fmt.Sprintf(`{"name": "web", "image": %q}`, image) }
	const sidecar = `{"name": "proxy", "image": "registry.example.com/proxy:1"}`
	const inECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/boyacky/web-app:0.9"
	for _, tc := range []struct {
		what, containers string
		names            []string
		want, wrong      string
	}{
		{"no image", `{"name": "web"}, ` + sidecar, nil, "web", ""},
		{"unset variable", one("${IMAGE}") + ", " + sidecar, nil, "web", ""},
		{"angle brackets", one("<IMAGE1_NAME>") + ", " + sidecar, nil, "web", ""},
		{"same repository", one("127.0.0.1:5050/boyacky/web-app:0.9") + ", " + sidecar, nil, "web", ""},
		{"same repository elsewhere", sidecar + ", " + one(inECR), nil, "web", ""},
		{"only container", one("registry.example.com/other:1"), nil, "web", ""},
		{"by name", one("registry.example.com/other:1") + ", " + sidecar, []string{"web"}, "web", ""},
		{"both by name", one("") + `, {"name": "worker"}`, []string{"web", "worker"}, "web,worker", ""},
		{"nothing fits", one("registry.example.com/other:1") + ", " + sidecar, nil, "", "none of the containers web, proxy has an image of repository 127.0.0.1:5050/boyacky/web-app"},
		{"two fit", one("") + `, {"name": "worker"}`, nil, "", "containers web, worker have no image: it is not clear which one gets the image"},
		{"two of the repository", one(inECR) + ", " + strings.Replace(one(inECR), "web", "worker", 1), nil, "", "containers web, worker are of repository boyacky/web-app"},
		{"no such name", one(""), []string{"app"}, "", "there is no container app, but web"},
		{"another without an image", one(inECR) + `, {"name": "worker"}`, []string{"web"}, "", "container worker has no image"},
		{"no container", "", nil, "", "no container to put the image in"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			d, err := parseTaskDefinition("t.json", []byte(`{"containerDefinitions": [`+tc.containers+`]}`), nil)
			if err != nil {
				t.Fatal(err)
			}
			put, err := d.putImage(digest("a"), tc.names)
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) || !strings.HasPrefix(err.Error(), "t.json:1: ") {
					t.Errorf("err = %v", err)
				}
				return
			}
			if err != nil || strings.Join(put, ",") != tc.want {
				t.Errorf("%v, %v", put, err)
			}
			for _, c := range d.root.get("containerDefinitions").list {
				if got := c.get("image").text; (got == digest("a").String()) != strings.Contains(tc.want, containerName(c)) {
					t.Errorf("%s has image %s", containerName(c), got)
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("t.json", taskFile)
	f.Add("s.json", serviceFile)
	f.Add("t.yaml", "containerDefinitions:\n- &web {name: web, cpu: 10}\n- <<: *web\n  name: ${X:-worker}\n")
	f.Add("t.json", `{"taskDefinition": {"tags": []}, "tags": [{"key": "a"}]}`)
	f.Fuzz(func(t *testing.T, file, content string) {
		for _, parse := range []func(string, []byte, Lookup) (*document, error){parseTaskDefinition, parseService} {
			d, err := parse(file, []byte(content), nil)
			var wrong *FileError
			if err != nil {
				if !errors.As(err, &wrong) {
					t.Errorf("err = %v", err)
				}
				continue
			}
			d.putImage(digest("a"), nil)
			if _, err := json.Marshal(d.root.value()); err != nil {
				t.Error(err)
			}
			var td ecs.RegisterTaskDefinitionInput
			if decode(asObject(d.root.value()), schemas.RegisterTaskDefinitionRequest, &td) == nil {
				if doc, err := encode(&td, schemas.RegisterTaskDefinitionRequest); err == nil {
					normalTask(doc)
				}
			}
		}
	})
}
