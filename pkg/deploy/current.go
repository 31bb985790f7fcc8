package deploy

import (
	"cmp"
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/schemas"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Current returns the images that the service of in's files runs now, in the
// order of its containers; none if there is no such service. It asks two
// questions of ECS, and changes nothing.
func Current(ctx context.Context, api API, in Input) ([]string, error) {
	service, err := readService(in.Files.Service, in.Lookup)
	if err != nil {
		return nil, err
	}
	svc := &ecs.CreateServiceInput{}
	if err := decode(asObject(service.root.value()), schemas.CreateServiceRequest, svc); err != nil {
		return nil, service.fail("", 0, "%s", oneLine(err.Error()))
	}
	p := &Plan{api: api,
		Cluster: cmp.Or(in.Cluster, clusterName(aws.ToString(svc.Cluster)), "default"),
		Service: cmp.Or(in.Service, aws.ToString(svc.ServiceName)),
	}
	now, _, err := p.describeService(ctx)
	if err != nil || running(now) == "" {
		return nil, err
	}
	revision := running(now)
	out, err := api.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: &revision})
	var client *types.ClientException
	if errors.As(err, &client) {
		return nil, nil
	}
	if err != nil {
		return nil, &APIError{Doing: "look up task definition " + revisionName(revision), Action: "ecs:DescribeTaskDefinition", Cause: err}
	}
	var images []string
	if out.TaskDefinition != nil {
		for _, c := range out.TaskDefinition.ContainerDefinitions {
			images = append(images, aws.ToString(c.Image))
		}
	}
	return images, nil
}
