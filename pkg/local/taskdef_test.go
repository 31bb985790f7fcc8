package local

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"
)

func TestValidation(t *testing.T) {
	r := newRig(t, Options{})
	for _, tt := range []struct {
		name   string
		change func(*ecs.RegisterTaskDefinitionInput, *types.ContainerDefinition)
		want   string // "" is no error
	}{
		{"good", func(*ecs.RegisterTaskDefinitionInput, *types.ContainerDefinition) {}, ""},
		{"family", func(in *ecs.RegisterTaskDefinitionInput, _ *types.ContainerDefinition) { in.Family = aws.String("a b") }, "Family contains invalid characters."},
		{"cpu", func(in *ecs.RegisterTaskDefinitionInput, _ *types.ContainerDefinition) { in.Cpu = aws.String("300") }, "Invalid 'cpu' setting for task."},
		{"memory", func(in *ecs.RegisterTaskDefinitionInput, _ *types.ContainerDefinition) {
			in.Memory = aws.String("8192")
		}, "No Fargate configuration exists for given values."},
		{"no memory", func(in *ecs.RegisterTaskDefinitionInput, _ *types.ContainerDefinition) { in.Memory = nil }, "Fargate requires that 'memory' be defined at the task level."},
		{"largest", func(in *ecs.RegisterTaskDefinitionInput, _ *types.ContainerDefinition) {
			in.Cpu, in.Memory = aws.String("32 vCPU"), aws.String("244 GB")
		}, ""},
		{"network", func(in *ecs.RegisterTaskDefinitionInput, _ *types.ContainerDefinition) { in.NetworkMode = "bridge" }, "Fargate only supports network mode ‘awsvpc’."},
		{"storage", func(in *ecs.RegisterTaskDefinitionInput, _ *types.ContainerDefinition) {
			in.EphemeralStorage = &types.EphemeralStorage{SizeInGiB: 300}
		}, "ephemeralStorage"},
		{"host port", func(_ *ecs.RegisterTaskDefinitionInput, c *types.ContainerDefinition) {
			c.PortMappings[0].HostPort = aws.Int32(81)
		},
			"When networkMode=awsvpc, the host ports and container ports in port mappings must match."},
		{"essential", func(_ *ecs.RegisterTaskDefinitionInput, c *types.ContainerDefinition) { c.Essential = aws.Bool(false) }, "must be essential"},
		{"image", func(_ *ecs.RegisterTaskDefinitionInput, c *types.ContainerDefinition) { c.Image = nil }, "Container.image should not be null or empty."},
		{"privileged", func(_ *ecs.RegisterTaskDefinitionInput, c *types.ContainerDefinition) { c.Privileged = aws.Bool(true) }, "Privileged"},
		{"stop timeout", func(_ *ecs.RegisterTaskDefinitionInput, c *types.ContainerDefinition) { c.StopTimeout = aws.Int32(121) }, "stopTimeout"},
		{"logs", func(_ *ecs.RegisterTaskDefinitionInput, c *types.ContainerDefinition) {
			c.LogConfiguration = &types.LogConfiguration{LogDriver: types.LogDriverAwslogs}
		}, "Fargate requires task definition to have execution role ARN to support log driver awslogs."},
		{"dependency", func(_ *ecs.RegisterTaskDefinitionInput, c *types.ContainerDefinition) {
			c.DependsOn = []types.ContainerDependency{{ContainerName: aws.String("nobody"), Condition: types.ContainerConditionStart}}
		}, "which is not in the task definition"},
		{"dependency on itself", func(_ *ecs.RegisterTaskDefinitionInput, c *types.ContainerDefinition) {
			c.DependsOn = []types.ContainerDependency{{ContainerName: aws.String("web"), Condition: types.ContainerConditionStart}}
		}, "depends on itself"},
		{"links", func(_ *ecs.RegisterTaskDefinitionInput, c *types.ContainerDefinition) { c.Hostname = aws.String("x") }, "not supported on container web when networkMode=awsvpc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := &ecs.RegisterTaskDefinitionInput{Family: aws.String("app"), NetworkMode: types.NetworkModeAwsvpc, Cpu: aws.String("256"), Memory: aws.String("512"),
				RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}}
			c := types.ContainerDefinition{Name: aws.String("web"), Image: aws.String("x"), PortMappings: []types.PortMapping{{ContainerPort: aws.Int32(80)}}}
			tt.change(in, &c)
			in.ContainerDefinitions = []types.ContainerDefinition{c}
			_, err := r.ecs.RegisterTaskDefinition(t.Context(), in)
			if tt.want == "" && err == nil {
				return
			}
			if tt.want == "" || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			wantCode(t, err, "ClientException")
		})
	}
	_, err := r.ecs.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{Family: aws.String("app"), ContainerDefinitions: []types.ContainerDefinition{}})
	wantCode(t, err, "ClientException")
}

func TestTaskDefinitionRoundTrip(t *testing.T) {
	r := newRig(t, Options{})
	in := &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("app"), NetworkMode: types.NetworkModeAwsvpc, Cpu: aws.String(".25 vCPU"), Memory: aws.String("0.5GB"),
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, ExecutionRoleArn: aws.String("arn:aws:iam::1:role/x"),
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}},
		ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("web"), Image: aws.String("x"), User: aws.String("1000"),
			PortMappings: []types.PortMapping{{ContainerPort: aws.Int32(80)}},
			Ulimits:      []types.Ulimit{{Name: types.UlimitNameNofile, SoftLimit: 1, HardLimit: 2}}}},
	}
	if _, err := r.ecs.RegisterTaskDefinition(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	out, err := r.ecs.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("app"), Include: []types.TaskDefinitionField{types.TaskDefinitionFieldTags}})
	if err != nil {
		t.Fatal(err)
	}
	td := out.TaskDefinition
	c := td.ContainerDefinitions[0]
	if *td.Cpu != "256" || *td.Memory != "512" || td.Revision != 1 || *td.TaskDefinitionArn != "arn:aws:ecs:eu-west-1:000000000000:task-definition/app:1" ||
		!*c.Essential || *c.PortMappings[0].HostPort != 80 || c.PortMappings[0].Protocol != "tcp" || *c.User != "1000" || c.Ulimits[0].HardLimit != 2 ||
		*td.ExecutionRoleArn != "arn:aws:iam::1:role/x" || len(out.Tags) != 1 || td.RegisteredAt.IsZero() {
		t.Errorf("%+v", td)
	}
	if out, err = r.ecs.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("app:1")}); err != nil || out.Tags != nil {
		t.Errorf("without include: %v, %v", out.Tags, err)
	}
	_, err = r.ecs.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("app:9")})
	wantCode(t, err, "ClientException")
}

func TestTaskDefinitionList(t *testing.T) {
	r := newRig(t, Options{})
	for range 5 {
		r.register("x", 0, nil)
	}
	if _, err := r.ecs.DeregisterTaskDefinition(t.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: aws.String("app:2")}); err != nil {
		t.Fatal(err)
	}
	var got []string
	pages := ecs.NewListTaskDefinitionsPaginator(r.ecs, &ecs.ListTaskDefinitionsInput{FamilyPrefix: aws.String("app"), Sort: types.SortOrderDesc, MaxResults: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, arn := range page.TaskDefinitionArns {
			got = append(got, lastPart(arn))
		}
	}
	if diff := cmp.Diff([]string{"app:5", "app:4", "app:3", "app:1"}, got); diff != "" {
		t.Error(diff)
	}
	for prefix, want := range map[string]int{"ap": 0, "app": 4} {
		out, err := r.ecs.ListTaskDefinitions(t.Context(), &ecs.ListTaskDefinitionsInput{FamilyPrefix: &prefix})
		if err != nil || len(out.TaskDefinitionArns) != want {
			t.Errorf("%s: %v, %v", prefix, out.TaskDefinitionArns, err)
		}
	}
	_, err := r.ecs.ListTaskDefinitions(t.Context(), &ecs.ListTaskDefinitionsInput{NextToken: aws.String("?")})
	wantCode(t, err, "InvalidParameterException")
}

func TestServiceErrors(t *testing.T) {
	r := newRig(t, Options{})
	td := r.register("x", 80, nil)
	ctx := t.Context()
	_, err := r.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: aws.String("c1"), Services: []string{"web"}})
	wantCode(t, err, "ClusterNotFoundException")
	if _, err := r.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: aws.String("c1")}); err != nil {
		t.Fatal(err)
	}
	out, err := r.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: aws.String("c1"), Services: []string{"web"}})
	if err != nil || len(out.Failures) != 1 || *out.Failures[0].Reason != "MISSING" {
		t.Errorf("describe a missing service: %+v, %v", out, err)
	}
	_, err = r.ecs.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: aws.String("c1"), Service: aws.String("web")})
	wantCode(t, err, "ServiceNotFoundException")
	good := func() *ecs.CreateServiceInput {
		return &ecs.CreateServiceInput{Cluster: aws.String("c1"), ServiceName: aws.String("web"), TaskDefinition: &td, DesiredCount: aws.Int32(0),
			LaunchType: types.LaunchTypeFargate, NetworkConfiguration: network, ClientToken: aws.String("t")}
	}
	for _, tt := range []struct {
		change     func(*ecs.CreateServiceInput)
		code, want string
	}{
		{func(in *ecs.CreateServiceInput) { in.NetworkConfiguration = nil }, "InvalidParameterException", "Network Configuration must be provided when networkMode 'awsvpc' is specified."},
		{func(in *ecs.CreateServiceInput) { in.TaskDefinition = aws.String("other:1") }, "ClientException", "TaskDefinition not found."},
		{func(in *ecs.CreateServiceInput) { in.ClientToken = aws.String(strings.Repeat("x", 37)) }, "InvalidParameterException", "idempotency token longer than 36."},
		{func(in *ecs.CreateServiceInput) {
			in.LoadBalancers = []types.LoadBalancer{{TargetGroupArn: aws.String("tg"), ContainerName: aws.String("web"), ContainerPort: aws.Int32(81)}}
		}, "InvalidParameterException", "The container web did not have a container port 81 defined."},
		{func(in *ecs.CreateServiceInput) {
			in.DeploymentConfiguration = &types.DeploymentConfiguration{Strategy: types.DeploymentStrategyCanary}
		}, "UnsupportedFeatureException", "ROLLING only"},
	} {
		in := good()
		tt.change(in)
		_, err := r.ecs.CreateService(ctx, in)
		wantCode(t, err, tt.code)
		if err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
	first, err := r.ecs.CreateService(ctx, good())
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.ecs.CreateService(ctx, good()) // the same token and input
	if err != nil || *again.Service.CreatedAt != *first.Service.CreatedAt {
		t.Errorf("the same request again: %v", err)
	}
	in := good()
	in.DesiredCount = aws.Int32(2)
	_, err = r.ecs.CreateService(ctx, in)
	wantCode(t, err, "InvalidParameterException")
	list, err := r.ecs.ListServices(ctx, &ecs.ListServicesInput{Cluster: aws.String("c1")})
	if err != nil || !slices.Equal(list.ServiceArns, []string{*first.Service.ServiceArn}) {
		t.Errorf("list: %v, %v", list, err)
	}
	tasks, err := r.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: aws.String("c1"), Tasks: []string{"0123"}})
	if err != nil || len(tasks.Failures) != 1 {
		t.Errorf("describe a missing task: %+v, %v", tasks, err)
	}
	if _, err := r.ecs.TagResource(ctx, &ecs.TagResourceInput{ResourceArn: first.Service.ServiceArn, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}); err != nil {
		t.Error(err)
	}
	tags, err := r.ecs.ListTagsForResource(ctx, &ecs.ListTagsForResourceInput{ResourceArn: first.Service.ServiceArn})
	if err != nil || len(tags.Tags) != 1 {
		t.Errorf("tags: %+v, %v", tags, err)
	}
	_, err = r.ecs.ExecuteCommand(ctx, &ecs.ExecuteCommandInput{Command: aws.String("sh"), Interactive: true, Task: aws.String("x")})
	wantCode(t, err, "UnknownOperationException")
}

func TestThreshold(t *testing.T) {
	threshold := func(kind string, value int) *breaker {
		b := &breaker{Enable: true}
		b.Threshold = &struct {
			Type  string `json:"type"`
			Value int    `json:"value"`
		}{kind, value}
		return b
	}
	for _, tt := range []struct {
		desired int
		breaker *breaker
		want    int
	}{
		{1, nil, 3}, {25, nil, 13}, {1000, nil, 200}, {1, &breaker{Enable: true}, 3},
		{10, threshold("COUNT", 2), 2}, {10, threshold("UNBOUNDED_PERCENT", 10), 1}, {10, threshold("BOUNDED_PERCENT", 10), 3},
	} {
		s := &service{Settings: settings{DesiredCount: &tt.desired, Deployment: &rolloutRules{Breaker: tt.breaker}}}
		if _, got := s.breaker(); got != tt.want {
			t.Errorf("%d tasks, %+v: threshold %d, want %d", tt.desired, tt.breaker, got, tt.want)
		}
	}
}

func TestParseImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for in, want := range map[string]string{
		"127.0.0.1:5050/a/b:1":                               "a/b 1",
		"localhost:1/a":                                      "a latest",
		"127.0.0.1:5050/a/b@" + digest:                       "a/b " + digest,
		"127.0.0.1:5050/a:1@" + digest:                       "a " + digest,
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com/a/b:1": "a/b 1",
		"python:3": "error", "registry.example.com/a:1": "error", "127.0.0.1/a@sha256:x": "error",
	} {
		ref, err := parseImage(in)
		got := ref.repository + " " + ref.reference
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzParseImage(f *testing.F) {
	f.Add("127.0.0.1:5050/a:1@sha256:00")
	f.Fuzz(func(t *testing.T, s string) {
		if ref, err := parseImage(s); err == nil && ref.reference == "" && !strings.HasSuffix(s, ":") {
			t.Errorf("%q has no reference: %+v", s, ref)
		}
	})
}

func FuzzDefinition(f *testing.F) {
	f.Add(`{"family":"a","containerDefinitions":[{"name":"a","image":"b","dependsOn":[{"containerName":"a","condition":"START"}]}]}`)
	f.Add(`{"family":"a","requiresCompatibilities":["FARGATE"],"networkMode":"awsvpc","cpu":".25 vcpu","memory":"1e9gb","containerDefinitions":[{"name":"a","image":"b","portMappings":[{"containerPort":1}]}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		c := &Cloud{clock: wallClock{}, log: discard(), state: state{Families: map[string]*family{}}}
		out, err := change(registerTaskDefinition).run(&call{region: "r", cloud: c}, []byte(s))
		if err == nil && len(out) == 0 {
			t.Error("neither an answer nor an error")
		}
		_ = fmt.Sprint(err)
	})
}
