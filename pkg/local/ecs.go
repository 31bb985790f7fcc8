package local

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

// ecsOperations are the operations of ECS that are served.
func ecsOperations() map[string]operation {
	return map[string]operation{
		"RegisterTaskDefinition":     change(registerTaskDefinition),
		"DescribeTaskDefinition":     read(describeTaskDefinition),
		"DeregisterTaskDefinition":   change(deregisterTaskDefinition),
		"ListTaskDefinitions":        read(listTaskDefinitions),
		"ListTaskDefinitionFamilies": read(listTaskDefinitionFamilies),
		"CreateCluster":              change(createCluster),
		"DeleteCluster":              change(deleteCluster),
		"DescribeClusters":           read(describeClusters),
		"ListClusters":               read(listClusters),
		"CreateService":              change(createService),
		"UpdateService":              change(updateService),
		"DeleteService":              change(deleteService),
		"DescribeServices":           read(describeServices),
		"ListServices":               read(listServices),
		"ListServiceDeployments":     read(listServiceDeployments),
		"DescribeServiceDeployments": read(describeServiceDeployments),
		"DescribeServiceRevisions":   read(describeServiceRevisions),
		"StopServiceDeployment":      change(stopServiceDeployment),
		"RunTask":                    change(runTask),
		"ListTasks":                  read(listTasks),
		"DescribeTasks":              read(describeTasks),
		"StopTask":                   change(stopTask),
		"TagResource":                change(tagResource),
		"UntagResource":              change(untagResource),
		"ListTagsForResource":        read(listTagsForResource),
	}
}

// cluster is an ECS cluster with its services and tasks.
type cluster struct {
	Name     string              `json:"name"`
	Arn      string              `json:"arn"`
	Status   string              `json:"status"` // ACTIVE or INACTIVE
	Settings json.RawMessage     `json:"settings,omitempty"`
	Tags     []tag               `json:"tags,omitempty"`
	Services map[string]*service `json:"services"` // by name
	Tasks    map[string]*task    `json:"tasks"`    // by id
}

var resourceName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// cluster finds an active cluster by name or ARN, "" being the one named default.
func (c *Cloud) cluster(ref string) (*cluster, error) {
	cl, ok := c.state.Clusters[first(lastPart(ref), "default")]
	if !ok || cl.Status != "ACTIVE" {
		return nil, refuse("ClusterNotFoundException", "Cluster not found.")
	}
	return cl, nil
}

func createCluster(c *call, in *struct {
	Name     string          `json:"clusterName"`
	Settings json.RawMessage `json:"settings"`
	Tags     []tag           `json:"tags"`
}) (any, error) {
	name := first(in.Name, "default")
	if !resourceName.MatchString(name) {
		return nil, invalid("Identifier length and characters: cluster name %q is not valid.", name)
	}
	cl, ok := c.cloud.state.Clusters[name]
	if !ok || cl.Status != "ACTIVE" { // creating it again is no error
		cl = &cluster{Name: name, Arn: fmt.Sprintf("arn:aws:ecs:%s:%s:cluster/%s", c.region, account, name), Status: "ACTIVE",
			Settings: in.Settings, Tags: in.Tags, Services: map[string]*service{}, Tasks: map[string]*task{}}
		c.cloud.state.Clusters[name] = cl
		c.cloud.log.Info("created cluster " + name)
	}
	return map[string]any{"cluster": cl.describe(true)}, nil
}

func deleteCluster(c *call, in *struct {
	Ref string `json:"cluster"`
}) (any, error) {
	cl, err := c.cloud.cluster(in.Ref)
	if err != nil {
		return nil, err
	}
	for _, s := range cl.Services {
		if s.Status == "ACTIVE" {
			return nil, refuse("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")
		}
	}
	for _, t := range cl.Tasks {
		if t.LastStatus != statusStopped {
			return nil, refuse("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
		}
	}
	cl.Status = "INACTIVE"
	return map[string]any{"cluster": cl.describe(true)}, nil
}

func (cl *cluster) describe(tags bool) map[string]any {
	running, pending, active := 0, 0, 0
	for _, t := range cl.Tasks {
		switch t.LastStatus {
		case statusRunning:
			running++
		case statusProvisioning, statusPending:
			pending++
		}
	}
	for _, s := range cl.Services {
		if s.Status == "ACTIVE" {
			active++
		}
	}
	out := map[string]any{"clusterArn": cl.Arn, "clusterName": cl.Name, "status": cl.Status,
		"registeredContainerInstancesCount": 0, "runningTasksCount": running, "pendingTasksCount": pending,
		"activeServicesCount": active, "statistics": []any{}, "capacityProviders": []any{}, "defaultCapacityProviderStrategy": []any{}}
	if given(cl.Settings) {
		out["settings"] = cl.Settings
	}
	if tags {
		showTags(out, cl.Tags)
	}
	return out
}

func describeClusters(c *call, in *struct {
	Refs    []string `json:"clusters"`
	Include []string `json:"include"`
}) (any, error) {
	refs := in.Refs
	if len(refs) == 0 {
		refs = []string{"default"}
	}
	return describe("clusters", "Clusters", refs, 100, func(ref string) (map[string]any, string) {
		cl, ok := c.cloud.state.Clusters[lastPart(ref)]
		if !ok {
			return nil, fmt.Sprintf("arn:aws:ecs:%s:%s:cluster/%s", c.region, account, lastPart(ref))
		}
		return cl.describe(slices.Contains(in.Include, "TAGS")), ""
	})
}

func listClusters(c *call, in *struct {
	paging
}) (any, error) {
	arns := []string{}
	for _, name := range sortedKeys(c.cloud.state.Clusters) {
		if cl := c.cloud.state.Clusters[name]; cl.Status == "ACTIVE" {
			arns = append(arns, cl.Arn)
		}
	}
	return page("clusterArns", arns, in.paging, 100, 100)
}

// taggable finds the tags of a cluster, service, task or task definition by ARN.
func (c *Cloud) taggable(arn string) (*[]tag, error) {
	for _, cl := range c.state.Clusters {
		if cl.Arn == arn {
			return &cl.Tags, nil
		}
		for _, s := range cl.Services {
			if s.Arn == arn {
				return &s.Tags, nil
			}
		}
		for _, t := range cl.Tasks {
			if t.Arn == arn {
				return &t.Tags, nil
			}
		}
	}
	for _, f := range c.state.Families {
		for _, t := range f.Revisions {
			if t.Arn == arn {
				return &t.Tags, nil
			}
		}
	}
	return nil, refuse("ResourceNotFoundException", "The specified resource could not be found.")
}

func tagResource(c *call, in *struct {
	Arn  string `json:"resourceArn"`
	Tags []tag  `json:"tags"`
}) (any, error) {
	tags, err := c.cloud.taggable(in.Arn)
	if err != nil {
		return nil, err
	}
	for _, t := range in.Tags {
		*tags = append(slices.DeleteFunc(*tags, func(old tag) bool { return old.Key == t.Key }), t)
	}
	return map[string]any{}, nil
}

func untagResource(c *call, in *struct {
	Arn  string   `json:"resourceArn"`
	Keys []string `json:"tagKeys"`
}) (any, error) {
	tags, err := c.cloud.taggable(in.Arn)
	if err != nil {
		return nil, err
	}
	*tags = slices.DeleteFunc(*tags, func(t tag) bool { return slices.Contains(in.Keys, t.Key) })
	return map[string]any{}, nil
}

func listTagsForResource(c *call, in *struct {
	Arn string `json:"resourceArn"`
}) (any, error) {
	tags, err := c.cloud.taggable(in.Arn)
	if err != nil {
		return nil, err
	}
	return map[string]any{"tags": append([]tag{}, *tags...)}, nil
}
