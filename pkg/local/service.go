package local

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// service is an ECS service.
type service struct {
	Name       string               `json:"name"`
	Arn        string               `json:"arn"`
	ClusterArn string               `json:"clusterArn"`
	Status     string               `json:"status"` // ACTIVE, DRAINING, INACTIVE
	CreatedAt  *epoch               `json:"createdAt"`
	LaunchType string               `json:"launchType,omitempty"`
	Token      string               `json:"clientToken,omitempty"`
	Created    string               `json:"created,omitempty"` // the request, to know it again
	Tags       []tag                `json:"tags,omitempty"`
	Settings   settings             `json:"settings"`
	Events     []event              `json:"events"` // newest first
	Rollouts   []*deployment        `json:"deployments"`
	History    []*serviceDeployment `json:"serviceDeployments"` // oldest first
	Revisions  []*serviceRevision   `json:"revisions"`
	// Steady says that an event has told of the steady state.
	Steady bool `json:"steady,omitempty"`

	cluster *cluster
	told    map[string]bool // advice that is given once in the life of a deployment
}

type event struct {
	ID      string `json:"id"`
	Created *epoch `json:"createdAt"`
	Message string `json:"message"`
}

// serviceRequest is the input of CreateService, UpdateService and DeleteService.
type serviceRequest struct {
	settings
	Cluster    string `json:"cluster"`
	Name       string `json:"serviceName"` // CreateService
	Service    string `json:"service"`     // the others
	Token      string `json:"clientToken"`
	LaunchType string `json:"launchType"`
	Scheduling string `json:"schedulingStrategy"`
	Controller *struct {
		Type string `json:"type"`
	} `json:"deploymentController"`
	Tags []tag `json:"tags"`
	// forceNewDeployment of UpdateService, force of DeleteService
	ForceDeployment bool `json:"forceNewDeployment"`
	ForceDelete     bool `json:"force"`
	// Passed on to nothing here, but a change of them begins a deployment.
	ServiceConnect json.RawMessage `json:"serviceConnectConfiguration"`
	Volumes        json.RawMessage `json:"volumeConfigurations"`
	Lattice        json.RawMessage `json:"vpcLatticeConfigurations"`
}

// service finds a service by name or ARN.
func (cl *cluster) service(ref string) (*service, bool) {
	s, ok := cl.Services[lastPart(ref)]
	return s, ok
}

func createService(c *call, in *serviceRequest) (any, error) {
	cl, err := c.cloud.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if !resourceName.MatchString(in.Name) {
		return nil, invalid("Service name %q must have up to 255 letters, digits, underscores and hyphens.", in.Name)
	}
	if len(in.Token) > 36 {
		return nil, invalid("idempotency token longer than 36.")
	}
	request, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	if old, ok := cl.Services[in.Name]; ok && old.Status != "INACTIVE" {
		switch {
		case old.Status == "DRAINING":
			return nil, invalid("Unable to Start a service that is still Draining.")
		case in.Token != "" && old.Token == in.Token && old.Created == string(request):
			return map[string]any{"service": c.cloud.describeService(old, true)}, nil
		}
		return nil, invalid("Creation of service was not idempotent.")
	}
	s := &service{Name: in.Name, ClusterArn: cl.Arn, Status: "ACTIVE", CreatedAt: at(c.cloud.clock.Now()),
		Arn:        fmt.Sprintf("arn:aws:ecs:%s:%s:service/%s/%s", c.region, account, cl.Name, in.Name),
		LaunchType: in.LaunchType, Token: in.Token, Created: string(request), Tags: in.Tags, Settings: in.settings, cluster: cl}
	if s.LaunchType == "" && !given(in.CapacityProviders) {
		s.LaunchType = "EC2"
	}
	t, err := c.cloud.checkService(in, &s.Settings, s.LaunchType)
	if err != nil {
		return nil, err
	}
	if in.DesiredCount == nil {
		return nil, invalid("Desired count cannot be null")
	}
	s.Settings.fill(t)
	cl.Services[s.Name] = s
	c.cloud.log.Info("created service " + s.Name)
	c.cloud.deploy(s)
	c.cloud.schedule(s)
	return map[string]any{"service": c.cloud.describeService(s, true)}, nil
}

// checkService validates the settings that a service would have and returns its task
// definition.
func (c *Cloud) checkService(in *serviceRequest, s *settings, launchType string) (*taskDefinition, error) {
	if s.TaskDefinition == "" {
		return nil, invalid("TaskDefinition can not be blank.")
	}
	t, ok := c.taskDef(s.TaskDefinition)
	if !ok {
		return nil, clientError("TaskDefinition not found.")
	}
	if t.Status != "ACTIVE" {
		return nil, clientError("TaskDefinition is inactive")
	}
	d := t.parsed()
	switch {
	case s.DesiredCount != nil && *s.DesiredCount < 0:
		return nil, invalid("Desired count cannot be negative")
	case launchType == "FARGATE" && !slices.Contains(d.Compatibilities, "FARGATE"):
		return nil, invalid("Task definition does not support launch_type FARGATE.")
	case d.NetworkMode == "awsvpc" && !given(s.Network):
		return nil, invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	case d.NetworkMode != "awsvpc" && given(s.Network):
		return nil, invalid("Network Configuration is not valid for the given networkMode of this task definition.")
	case in.Scheduling != "" && in.Scheduling != "REPLICA":
		return nil, unsupported("has the scheduling strategy REPLICA only")
	case in.Controller != nil && in.Controller.Type != "" && in.Controller.Type != "ECS":
		return nil, unsupported("has the deployment controller ECS only")
	case len(in.Name) > 0 && s.GracePeriod != nil && *s.GracePeriod > 0 && s.balancers() == nil:
		return nil, invalid("Health check grace period is only valid for services configured to use load balancers")
	}
	if r := s.Deployment; r != nil {
		if err := r.validate(); err != nil {
			return nil, err
		}
	}
	for _, lb := range s.balancers() {
		container := d.container(lb.ContainerName)
		if container == nil {
			return nil, invalid("The container %s does not exist in the task definition.", lb.ContainerName)
		}
		if !slices.ContainsFunc(container.PortMappings, func(p portMapping) bool { return p.Container == lb.ContainerPort }) {
			return nil, invalid("The container %s did not have a container port %d defined.", lb.ContainerName, lb.ContainerPort)
		}
	}
	return t, nil
}

func updateService(c *call, in *serviceRequest) (any, error) {
	cl, err := c.cloud.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	s, ok := cl.service(in.Service)
	if !ok {
		return nil, refuse("ServiceNotFoundException", "Service not found.")
	}
	if s.Status != "ACTIVE" {
		return nil, refuse("ServiceNotActiveException", "Service was not ACTIVE.")
	}
	next := s.Settings.merge(&in.settings)
	t, err := c.cloud.checkService(in, &next, s.LaunchType)
	if err != nil {
		return nil, err
	}
	next.TaskDefinition = t.Arn
	// "UpdateService": these begin a deployment, the other settings do not.
	deploys := in.ForceDeployment || next.TaskDefinition != s.Settings.TaskDefinition ||
		next.PlatformVersion != s.Settings.PlatformVersion ||
		changed(next.Network, s.Settings.Network) || changed(next.Registries, s.Settings.Registries) ||
		!sameBalancers(next.balancers(), s.Settings.balancers()) ||
		given(in.ServiceConnect) || given(in.Volumes) || given(in.Lattice)
	s.Settings = next
	if deploys {
		c.cloud.deploy(s)
	} else {
		s.Steady = false
	}
	c.cloud.wake(s)
	return map[string]any{"service": c.cloud.describeService(s, true)}, nil
}

func deleteService(c *call, in *serviceRequest) (any, error) {
	cl, err := c.cloud.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	s, ok := cl.service(in.Service)
	if !ok || s.Status == "INACTIVE" {
		return nil, refuse("ServiceNotFoundException", "Service not found.")
	}
	if s.desired() > 0 && !in.ForceDelete {
		return nil, invalid("The service cannot be stopped while it is scaled above 0.")
	}
	s.Status = "DRAINING"
	c.cloud.wake(s)
	return map[string]any{"service": c.cloud.describeService(s, true)}, nil
}

func (s *service) desired() int {
	if s.Settings.DesiredCount == nil {
		return 0
	}
	return *s.Settings.DesiredCount
}

func describeServices(c *call, in *struct {
	Cluster string   `json:"cluster"`
	Refs    []string `json:"services"`
	Include []string `json:"include"`
}) (any, error) {
	cl, err := c.cloud.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if len(in.Refs) == 0 {
		return nil, invalid("Services cannot be empty.")
	}
	return describe("services", "Services", in.Refs, 10, func(ref string) (map[string]any, string) {
		s, ok := cl.service(ref)
		if !ok {
			return nil, fmt.Sprintf("arn:aws:ecs:%s:%s:service/%s/%s", c.region, account, cl.Name, lastPart(ref))
		}
		return c.cloud.describeService(s, slices.Contains(in.Include, "TAGS")), ""
	})
}

func listServices(c *call, in *struct {
	Cluster    string `json:"cluster"`
	LaunchType string `json:"launchType"`
	paging
}) (any, error) {
	cl, err := c.cloud.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	arns := []string{}
	for _, name := range sortedKeys(cl.Services) {
		s := cl.Services[name]
		if s.Status == "ACTIVE" && (in.LaunchType == "" || in.LaunchType == s.LaunchType) {
			arns = append(arns, s.Arn)
		}
	}
	return page("serviceArns", arns, in.paging, 10, 100)
}

// describeService is a service as DescribeServices shows it.
func (c *Cloud) describeService(s *service, tags bool) map[string]any {
	out := map[string]any{
		"serviceArn": s.Arn, "serviceName": s.Name, "clusterArn": s.ClusterArn, "status": s.Status, "createdAt": s.CreatedAt,
		"schedulingStrategy": "REPLICA", "deploymentController": map[string]string{"type": "ECS"},
		"createdBy": "arn:aws:iam::" + account + ":user/local", "events": append([]event{}, s.Events...),
		"loadBalancers": []any{}, "serviceRegistries": []any{}, "placementConstraints": []any{}, "placementStrategy": []any{},
		"enableExecuteCommand": false, "enableECSManagedTags": false, "desiredCount": 0,
	}
	b, err := json.Marshal(s.Settings)
	var members map[string]json.RawMessage
	if err == nil && json.Unmarshal(b, &members) == nil {
		for k, v := range members {
			out[k] = v
		}
	}
	if s.LaunchType != "" {
		out["launchType"] = s.LaunchType
	}
	if s.LaunchType != "EC2" {
		out["platformFamily"] = "Linux"
	} else {
		delete(out, "platformVersion")
	}
	running, pending := 0, 0
	deployments := []any{}
	for _, d := range s.Rollouts {
		r, p := s.counts(d)
		running, pending = running+r, pending+p
		deployments = append(deployments, s.describeDeployment(d))
	}
	out["runningCount"], out["pendingCount"], out["deployments"] = running, pending, deployments
	if n := len(s.History); n > 0 {
		out["currentServiceDeployment"] = s.History[n-1].Arn
	}
	revisions := []any{}
	for _, d := range s.Rollouts {
		r, p := s.counts(d)
		revisions = append(revisions, map[string]any{"arn": d.Revision, "requestedTaskCount": d.Desired,
			"runningTaskCount": r, "pendingTaskCount": p})
	}
	out["currentServiceRevisions"] = revisions
	if tags {
		showTags(out, s.Tags)
	}
	return out
}

// maxEvents is how many events of a service are kept, as on AWS.
const maxEvents = 100

// say adds an event; the cloud is locked. The message begins with "(service NAME)".
func (c *Cloud) say(s *service, format string, args ...any) {
	text := "(service " + s.Name + ") " + fmt.Sprintf(format, args...)
	id := randomHex(32)
	e := event{ID: strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-"),
		Created: at(c.clock.Now()), Message: text}
	s.Events = append([]event{e}, s.Events...)
	if len(s.Events) > maxEvents {
		s.Events = s.Events[:maxEvents]
	}
	c.log.Info(text)
	c.touch()
}

// sayOnce adds an event that one deployment needs to tell only once.
func (c *Cloud) sayOnce(s *service, key, format string, args ...any) {
	if s.told == nil {
		s.told = map[string]bool{}
	}
	if !s.told[key] {
		s.told[key] = true
		c.say(s, format, args...)
	}
}

// now is the cloud's time as a member of an answer.
func (c *Cloud) now() *epoch { return at(c.clock.Now().Round(time.Millisecond)) }
