package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// family is the task definitions of one name.
type family struct {
	// Last is the highest revision ever given; numbers are not used twice.
	Last      int                     `json:"last"`
	Revisions map[int]*taskDefinition `json:"revisions"`
}

// taskDefinition is a registered revision. Its members are kept as they were sent,
// with the defaults that ECS fills in, so that a newer client gets back what it
// sent.
type taskDefinition struct {
	Arn          string                     `json:"arn"`
	Family       string                     `json:"family"`
	Revision     int                        `json:"revision"`
	Status       string                     `json:"status"`
	Registered   *epoch                     `json:"registeredAt"`
	Deregistered *epoch                     `json:"deregisteredAt,omitempty"`
	Tags         []tag                      `json:"tags,omitempty"`
	Members      map[string]json.RawMessage `json:"members"`
}

// definition is what the scheduler and the validation read of a task definition.
type definition struct {
	Family          string                `json:"family"`
	Containers      []containerDefinition `json:"containerDefinitions"`
	NetworkMode     string                `json:"networkMode"`
	Compatibilities []string              `json:"requiresCompatibilities"`
	CPU             string                `json:"cpu"`
	Memory          string                `json:"memory"`
	ExecutionRole   string                `json:"executionRoleArn"`
	Platform        struct {
		CPU string `json:"cpuArchitecture"`
		OS  string `json:"operatingSystemFamily"`
	} `json:"runtimePlatform"`
	Ephemeral *struct {
		GiB int `json:"sizeInGiB"`
	} `json:"ephemeralStorage"`
}

type containerDefinition struct {
	Name             string        `json:"name"`
	Image            string        `json:"image"`
	Essential        *bool         `json:"essential"`
	EntryPoint       []string      `json:"entryPoint"`
	Command          []string      `json:"command"`
	Environment      []nameValue   `json:"environment"`
	User             string        `json:"user"`
	WorkingDirectory string        `json:"workingDirectory"`
	PortMappings     []portMapping `json:"portMappings"`
	CPU              int           `json:"cpu"`
	Memory           *int          `json:"memory"`
	Privileged       bool          `json:"privileged"`
	StopTimeout      *int          `json:"stopTimeout"`
	DependsOn        []dependency  `json:"dependsOn"`
	HealthCheck      *healthCheck  `json:"healthCheck"`
	Secrets          []nameValue   `json:"secrets"`
	Logging          *struct {
		Driver  string            `json:"logDriver"`
		Options map[string]string `json:"options"`
		Secrets []nameValue       `json:"secretOptions"`
	} `json:"logConfiguration"`
	// What a task of this cloud cannot have.
	EnvironmentFiles []json.RawMessage `json:"environmentFiles"`
	MountPoints      []json.RawMessage `json:"mountPoints"`
	VolumesFrom      []json.RawMessage `json:"volumesFrom"`
	// What Fargate does not take.
	Links      []string          `json:"links"`
	Hostname   string            `json:"hostname"`
	DNSServers []string          `json:"dnsServers"`
	DNSSearch  []string          `json:"dnsSearchDomains"`
	ExtraHosts []json.RawMessage `json:"extraHosts"`
}

type nameValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type portMapping struct {
	Container int    `json:"containerPort"`
	Host      *int   `json:"hostPort"`
	Protocol  string `json:"protocol"`
}

// host is the port of this machine: a task shares its network.
func (p portMapping) host() int { return p.Container }

type dependency struct {
	Container string `json:"containerName"`
	Condition string `json:"condition"`
}

type healthCheck struct {
	Command     []string `json:"command"`
	StartPeriod int      `json:"startPeriod"`
}

func (d *containerDefinition) essential() bool { return d.Essential == nil || *d.Essential }

func (d *containerDefinition) environment() []string {
	var env []string
	for _, e := range d.Environment {
		env = append(env, e.Name+"="+e.Value)
	}
	return env
}

// ports are the ports of this machine that the containers listen on.
func (d *definition) ports() []int {
	var ports []int
	for _, c := range d.Containers {
		for _, p := range c.PortMappings {
			ports = append(ports, p.host())
		}
	}
	return ports
}

func (d *definition) container(name string) *containerDefinition {
	for i := range d.Containers {
		if d.Containers[i].Name == name {
			return &d.Containers[i]
		}
	}
	return nil
}

// parsed reads the members that matter here.
func (t *taskDefinition) parsed() *definition {
	var d definition
	b, err := json.Marshal(t.Members)
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil { // it was read when it was registered
		return &definition{Family: t.Family}
	}
	return &d
}

var familyName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// describeOnly are members that DescribeTaskDefinition adds and RegisterTaskDefinition
// does not know.
var describeOnly = []string{"taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities",
	"registeredAt", "registeredBy", "deregisteredAt", "deleteRequestedAt"}

func registerTaskDefinition(c *call, in *map[string]json.RawMessage) (any, error) {
	members := *in
	var tags []tag
	if given(members["tags"]) {
		if err := json.Unmarshal(members["tags"], &tags); err != nil {
			return nil, refuse("SerializationException", "tags: %v", err)
		}
	}
	delete(members, "tags")
	for _, m := range describeOnly {
		delete(members, m)
	}
	for k, v := range members {
		if !given(v) {
			delete(members, k)
		}
	}
	var d definition
	b, err := json.Marshal(members)
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil {
		return nil, refuse("SerializationException", "%v", err)
	}
	if err := d.validate(); err != nil {
		return nil, err
	}
	if err := fillDefaults(members, &d); err != nil {
		return nil, refuse("SerializationException", "%v", err)
	}
	f := c.cloud.state.Families[d.Family]
	if f == nil {
		f = &family{Revisions: map[int]*taskDefinition{}}
		c.cloud.state.Families[d.Family] = f
	}
	f.Last++
	t := &taskDefinition{
		Arn:    fmt.Sprintf("arn:aws:ecs:%s:%s:task-definition/%s:%d", c.region, account, d.Family, f.Last),
		Family: d.Family, Revision: f.Last, Status: "ACTIVE", Registered: at(c.cloud.clock.Now()), Tags: tags, Members: members,
	}
	f.Revisions[f.Last] = t
	c.cloud.log.Info(fmt.Sprintf("registered task definition %s:%d", t.Family, t.Revision))
	out := map[string]any{"taskDefinition": t.describe()}
	if len(tags) > 0 {
		out["tags"] = tags
	}
	return out, nil
}

// fillDefaults writes what ECS fills in into the members.
func fillDefaults(members map[string]json.RawMessage, d *definition) error {
	set := func(name string, v any) error {
		b, err := json.Marshal(v)
		members[name] = b
		return err
	}
	var containers []map[string]any
	dec := json.NewDecoder(bytes.NewReader(members["containerDefinitions"]))
	dec.UseNumber()
	if err := dec.Decode(&containers); err != nil {
		return err
	}
	for i, c := range containers {
		for name, v := range map[string]any{"essential": true, "cpu": 0, "environment": []any{}, "mountPoints": []any{},
			"volumesFrom": []any{}, "portMappings": []any{}, "systemControls": []any{}} {
			if c[name] == nil {
				c[name] = v
			}
		}
		ports, _ := c["portMappings"].([]any)
		for n, p := range ports {
			if p, ok := p.(map[string]any); ok {
				if d.NetworkMode == "awsvpc" || d.NetworkMode == "host" {
					p["hostPort"] = d.Containers[i].PortMappings[n].host()
				} else if p["hostPort"] == nil {
					p["hostPort"] = 0
				}
				if p["protocol"] == nil {
					p["protocol"] = "tcp"
				}
			}
		}
	}
	if err := set("containerDefinitions", containers); err != nil {
		return err
	}
	for name, v := range map[string]any{"volumes": []any{}, "placementConstraints": []any{}, "networkMode": "bridge"} {
		if _, ok := members[name]; !ok {
			if err := set(name, v); err != nil {
				return err
			}
		}
	}
	for name, v := range map[string]string{"cpu": d.CPU, "memory": d.Memory} {
		if v != "" {
			if err := set(name, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *taskDefinition) describe() map[string]any {
	out := map[string]any{
		"taskDefinitionArn": t.Arn, "revision": t.Revision, "status": t.Status, "registeredAt": t.Registered,
		"registeredBy": "arn:aws:iam::" + account + ":user/local", "requiresAttributes": []any{},
		"compatibilities": []string{"EC2", "FARGATE"},
	}
	if t.Deregistered != nil {
		out["deregisteredAt"] = t.Deregistered
	}
	for k, v := range t.Members {
		out[k] = v
	}
	return out
}

// taskDef finds a revision by "family", "family:revision" or ARN; the family alone
// is its newest active one.
func (c *Cloud) taskDef(ref string) (*taskDefinition, bool) {
	name, number, numbered := strings.Cut(lastPart(ref), ":")
	f, ok := c.state.Families[name]
	if !ok {
		return nil, false
	}
	if !numbered {
		for n := f.Last; n > 0; n-- {
			if t, ok := f.Revisions[n]; ok && t.Status == "ACTIVE" {
				return t, true
			}
		}
		return nil, false
	}
	n, err := strconv.Atoi(number)
	t, ok := f.Revisions[n]
	return t, err == nil && ok
}

// taskDefRequest is the input of the operations on one task definition.
type taskDefRequest struct {
	Ref     string   `json:"taskDefinition"`
	Include []string `json:"include"`
}

func describeTaskDefinition(c *call, in *taskDefRequest) (any, error) {
	t, ok := c.cloud.taskDef(in.Ref)
	if !ok {
		return nil, clientError("Unable to describe task definition.")
	}
	out := map[string]any{"taskDefinition": t.describe()}
	if slices.Contains(in.Include, "TAGS") {
		out["tags"] = append([]tag{}, t.Tags...)
	}
	return out, nil
}

func deregisterTaskDefinition(c *call, in *taskDefRequest) (any, error) {
	if !strings.Contains(lastPart(in.Ref), ":") {
		return nil, invalid("Task definition identifier must have a revision: family:revision or the ARN")
	}
	t, ok := c.cloud.taskDef(in.Ref)
	if !ok {
		return nil, clientError("The specified task definition does not exist.")
	}
	if t.Status == "ACTIVE" {
		t.Status, t.Deregistered = "INACTIVE", at(c.cloud.clock.Now())
	}
	return map[string]any{"taskDefinition": t.describe()}, nil
}

func listTaskDefinitions(c *call, in *struct {
	Family string `json:"familyPrefix"`
	Status string `json:"status"`
	Sort   string `json:"sort"`
	paging
}) (any, error) {
	status := first(in.Status, "ACTIVE")
	arns := []string{}
	for _, name := range sortedKeys(c.cloud.state.Families) {
		if in.Family != "" && in.Family != name { // a whole name, for all it is called
			continue
		}
		f := c.cloud.state.Families[name]
		for n := 1; n <= f.Last; n++ {
			if t, ok := f.Revisions[n]; ok && t.Status == status {
				arns = append(arns, t.Arn)
			}
		}
	}
	if in.Sort == "DESC" {
		slices.Reverse(arns)
	}
	return page("taskDefinitionArns", arns, in.paging, 100, 100)
}

func listTaskDefinitionFamilies(c *call, in *struct {
	Prefix string `json:"familyPrefix"`
	Status string `json:"status"`
	paging
}) (any, error) {
	names := []string{}
	for _, name := range sortedKeys(c.cloud.state.Families) {
		_, active := c.cloud.taskDef(name)
		if strings.HasPrefix(name, in.Prefix) && (in.Status == "" || in.Status == "ALL" || active == (in.Status == "ACTIVE")) {
			names = append(names, name)
		}
	}
	return page("families", names, in.paging, 100, 100)
}
