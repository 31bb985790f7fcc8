package local

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The states of a task that occur here (Amazon ECS Developer Guide, "Task
// lifecycle"). There is no network interface to attach or detach in between.
const (
	statusProvisioning = "PROVISIONING"
	statusPending      = "PENDING"
	statusRunning      = "RUNNING"
	statusStopping     = "STOPPING"
	statusStopped      = "STOPPED"
)

// task is an ECS task.
type task struct {
	Arn            string `json:"arn"`
	ClusterArn     string `json:"clusterArn"`
	TaskDefinition string `json:"taskDefinition"`
	Group          string `json:"group"` // service:NAME or family:NAME
	StartedBy      string `json:"startedBy,omitempty"`
	LaunchType     string `json:"launchType,omitempty"`
	Token          string `json:"clientToken,omitempty"`
	CPU            string `json:"cpu,omitempty"`
	Memory         string `json:"memory,omitempty"`
	LastStatus     string `json:"lastStatus"`
	DesiredStatus  string `json:"desiredStatus"`
	StopCode       string `json:"stopCode,omitempty"`
	StoppedReason  string `json:"stoppedReason,omitempty"`
	CreatedAt      *epoch `json:"createdAt"`
	PullStarted    *epoch `json:"pullStartedAt,omitempty"`
	PullStopped    *epoch `json:"pullStoppedAt,omitempty"`
	StartedAt      *epoch `json:"startedAt,omitempty"`
	StoppingAt     *epoch `json:"stoppingAt,omitempty"`
	StoppedAt      *epoch `json:"stoppedAt,omitempty"`

	Containers []*containerState `json:"containers"`
	Overrides  overrides         `json:"overrides"`
	Tags       []tag             `json:"tags,omitempty"`

	healthy, everHealthy bool
	orders               chan stopOrder // one, from whoever is first
}

// containerState is a container of a task.
type containerState struct {
	Arn        string `json:"containerArn"`
	TaskArn    string `json:"taskArn"`
	Name       string `json:"name"`
	Image      string `json:"image"`
	Digest     string `json:"imageDigest,omitempty"`
	LastStatus string `json:"lastStatus"`
	ExitCode   *int   `json:"exitCode,omitempty"`
	Reason     string `json:"reason,omitempty"`
	Health     string `json:"healthStatus"`
	Interfaces []any  `json:"networkInterfaces"`
}

// overrides are what RunTask changes in a task definition.
type overrides struct {
	Containers []containerOverride `json:"containerOverrides"`
}

type containerOverride struct {
	Name        string      `json:"name"`
	Command     []string    `json:"command,omitempty"`
	Environment []nameValue `json:"environment,omitempty"`
}

// stopOrder says why a task stops, and whether that is a failure of the task.
type stopOrder struct {
	code   string
	reason string
	failed bool
}

// id is the last part of the task's ARN, 32 hexadecimal digits.
func (t *task) id() string { return lastPart(t.Arn) }

func (t *task) stopping() bool { return t.DesiredStatus == statusStopped }

// order tells the task to stop, unless it was told before; the cloud is locked.
func (t *task) order(o stopOrder) {
	if t.stopping() {
		return
	}
	t.DesiredStatus = statusStopped
	t.healthy = false
	t.orders <- o
}

// finish writes the end of a task.
func (t *task) finish(now time.Time, o stopOrder) {
	t.LastStatus, t.DesiredStatus, t.StoppedAt = statusStopped, statusStopped, at(now)
	t.StopCode, t.StoppedReason, t.healthy = o.code, o.reason, false
	if t.StoppingAt == nil {
		t.StoppingAt = at(now)
	}
	for _, c := range t.Containers {
		c.LastStatus, c.Health = statusStopped, "UNKNOWN"
	}
}

// newTask makes a task of a task definition; the cloud is locked.
func (c *Cloud) newTask(cl *cluster, td *taskDefinition, def *definition) *task {
	prefix := fmt.Sprintf("arn:aws:ecs:%s:%s", regionOfArn(cl.Arn), account)
	id := randomHex(32)
	t := &task{
		Arn: prefix + ":task/" + cl.Name + "/" + id, ClusterArn: cl.Arn, TaskDefinition: td.Arn,
		CPU: def.CPU, Memory: def.Memory, LastStatus: statusProvisioning, DesiredStatus: statusRunning,
		CreatedAt: at(c.clock.Now()), orders: make(chan stopOrder, 1),
	}
	for _, d := range def.Containers {
		t.Containers = append(t.Containers, &containerState{
			Arn: prefix + ":container/" + cl.Name + "/" + id + "/" + randomHex(32), TaskArn: t.Arn, Name: d.Name, Image: d.Image,
			LastStatus: statusPending, Health: "UNKNOWN",
			Interfaces: []any{map[string]string{"privateIpv4Address": "127.0.0.1"}},
		})
	}
	cl.Tasks[id] = t
	return t
}

// startTask starts a task of a service's deployment; the cloud is locked.
func (c *Cloud) startTask(s *service, d *deployment) *task {
	td, _ := c.taskDef(d.TaskDefinition)
	def := td.parsed()
	t := c.newTask(s.cluster, td, def)
	t.Group, t.StartedBy, t.LaunchType = "service:"+s.Name, d.ID, s.LaunchType
	c.execute(&execution{c: c, t: t, s: s, revision: s.revision(d.Revision), def: def})
	return t
}

// stopTask lets the scheduler stop a task; the cloud is locked.
func (c *Cloud) stopTask(s *service, t *task, d *deployment) {
	wasHealthy := t.healthy
	t.order(stopOrder{code: "ServiceSchedulerInitiated", reason: fmt.Sprintf("Scaling activity initiated by (deployment %s)", d.ID)})
	if wasHealthy {
		for _, lb := range s.Settings.balancers() {
			c.say(s, "deregistered 1 targets in (target-group %s)", first(lb.TargetGroup, lb.Name))
		}
	}
}

// liveTasks are all tasks that have not stopped; the cloud is locked.
func (c *Cloud) liveTasks() []*task {
	var list []*task
	for _, cl := range c.state.Clusters {
		for _, t := range cl.Tasks {
			if t.LastStatus != statusStopped {
				list = append(list, t)
			}
		}
	}
	return list
}

// Retention of stopped tasks and their logs. ECS shows them for about an hour; here
// the newest of each service or family stay, so that there is something to look
// at the next morning.
const (
	keepTasks    = 20
	maxTasks     = 200
	stoppedShown = time.Hour
)

// forget drops old stopped tasks of a cluster with their logs; the cloud is locked.
func (c *Cloud) forget(cl *cluster) {
	groups := map[string][]*task{}
	for _, t := range cl.Tasks {
		if t.LastStatus == statusStopped {
			groups[t.Group] = append(groups[t.Group], t)
		}
	}
	for _, list := range groups {
		if len(list) <= keepTasks {
			continue
		}
		slices.SortFunc(list, func(a, b *task) int { return b.StoppedAt.time().Compare(a.StoppedAt.time()) })
		for n, t := range list[keepTasks:] {
			if n+keepTasks >= maxTasks || c.clock.Now().Sub(t.StoppedAt.time()) > stoppedShown {
				delete(cl.Tasks, t.id())
				os.RemoveAll(c.logDir(cl.Name, t))
			}
		}
	}
}

// logDir is where the logs of a task's containers are.
func (c *Cloud) logDir(cluster string, t *task) string {
	_, group, _ := strings.Cut(t.Group, ":")
	return filepath.Join(c.dir, "logs", cluster, group, t.id())
}

// find returns a task of the cluster by id or ARN.
func (cl *cluster) task(ref string) (*task, bool) {
	t, ok := cl.Tasks[lastPart(ref)]
	return t, ok
}

func listTasks(c *call, in *struct {
	Cluster    string `json:"cluster"`
	Family     string `json:"family"`
	Service    string `json:"serviceName"`
	StartedBy  string `json:"startedBy"`
	Desired    string `json:"desiredStatus"`
	LaunchType string `json:"launchType"`
	paging
}) (any, error) {
	cl, err := c.cloud.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if in.Service != "" {
		if _, ok := cl.service(in.Service); !ok {
			return nil, refuse("ServiceNotFoundException", "Service not found.")
		}
	}
	var found []*task
	for _, t := range cl.Tasks {
		family, _, _ := strings.Cut(lastPart(t.TaskDefinition), ":")
		if t.DesiredStatus != first(in.Desired, statusRunning) ||
			in.Family != "" && in.Family != family ||
			in.Service != "" && t.Group != "service:"+lastPart(in.Service) ||
			in.StartedBy != "" && in.StartedBy != t.StartedBy ||
			in.LaunchType != "" && in.LaunchType != t.LaunchType {
			continue
		}
		found = append(found, t)
	}
	slices.SortFunc(found, func(a, b *task) int { // newest first
		if n := b.CreatedAt.time().Compare(a.CreatedAt.time()); n != 0 {
			return n
		}
		return strings.Compare(a.Arn, b.Arn)
	})
	arns := []string{}
	for _, t := range found {
		arns = append(arns, t.Arn)
	}
	return page("taskArns", arns, in.paging, 100, 100)
}

func describeTasks(c *call, in *struct {
	Cluster string   `json:"cluster"`
	Refs    []string `json:"tasks"`
	Include []string `json:"include"`
}) (any, error) {
	cl, err := c.cloud.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if len(in.Refs) == 0 {
		return nil, invalid("Tasks cannot be empty.")
	}
	return describe("tasks", "Tasks", in.Refs, 100, func(ref string) (map[string]any, string) {
		t, ok := cl.task(ref)
		if !ok {
			return nil, fmt.Sprintf("arn:aws:ecs:%s:%s:task/%s/%s", c.region, account, cl.Name, lastPart(ref))
		}
		return t.describe(slices.Contains(in.Include, "TAGS")), ""
	})
}

func (t *task) describe(tags bool) map[string]any {
	containers := []containerState{} // copies: the answer is written without the lock
	for _, c := range t.Containers {
		containers = append(containers, *c)
	}
	health := "UNKNOWN"
	if t.healthy {
		health = "HEALTHY"
	}
	out := map[string]any{
		"taskArn": t.Arn, "clusterArn": t.ClusterArn, "taskDefinitionArn": t.TaskDefinition, "group": t.Group,
		"lastStatus": t.LastStatus, "desiredStatus": t.DesiredStatus, "createdAt": t.CreatedAt, "containers": containers,
		"overrides": t.Overrides, "healthStatus": health, "connectivity": "CONNECTED", "attachments": []any{}, "tags": []tag{},
	}
	for name, v := range map[string]string{"startedBy": t.StartedBy, "launchType": t.LaunchType, "cpu": t.CPU, "memory": t.Memory,
		"stopCode": t.StopCode, "stoppedReason": t.StoppedReason} {
		if v != "" {
			out[name] = v
		}
	}
	for name, v := range map[string]*epoch{"pullStartedAt": t.PullStarted, "pullStoppedAt": t.PullStopped, "startedAt": t.StartedAt,
		"stoppingAt": t.StoppingAt, "stoppedAt": t.StoppedAt, "executionStoppedAt": t.StoppedAt} {
		if v != nil {
			out[name] = v
		}
	}
	if t.LaunchType != "EC2" {
		out["platformFamily"], out["platformVersion"] = "Linux", "1.4.0"
	}
	if tags {
		showTags(out, t.Tags)
	}
	return out
}

func stopTask(c *call, in *struct {
	Cluster string `json:"cluster"`
	Ref     string `json:"task"`
	Reason  string `json:"reason"`
}) (any, error) {
	cl, err := c.cloud.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	t, ok := cl.task(in.Ref)
	if !ok {
		return nil, invalid("The referenced task was not found.")
	}
	t.order(stopOrder{code: "UserInitiated", reason: first(in.Reason, "Task stopped by user")})
	return map[string]any{"task": t.describe(true)}, nil
}

func runTask(c *call, in *struct {
	Cluster        string    `json:"cluster"`
	TaskDefinition string    `json:"taskDefinition"`
	Count          *int      `json:"count"`
	LaunchType     string    `json:"launchType"`
	StartedBy      string    `json:"startedBy"`
	Group          string    `json:"group"`
	Token          string    `json:"clientToken"`
	Overrides      overrides `json:"overrides"`
	Tags           []tag     `json:"tags"`
}) (any, error) {
	cl, err := c.cloud.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	td, ok := c.cloud.taskDef(in.TaskDefinition)
	if !ok {
		return nil, clientError("TaskDefinition not found.")
	}
	count := 1
	if in.Count != nil {
		count = *in.Count
	}
	def := td.parsed()
	switch {
	case td.Status != "ACTIVE":
		return nil, clientError("TaskDefinition is inactive")
	case count < 1 || count > 10:
		return nil, invalid("Count must be from 1 to 10.")
	case len(in.StartedBy) > 128 || len(in.Token) > 64:
		return nil, invalid("startedBy may have 128 characters and clientToken 64.")
	case c.cloud.closing:
		return nil, refuse("ServerException", "the local cloud is stopping")
	}
	for _, o := range in.Overrides.Containers {
		d := def.container(o.Name)
		if d == nil {
			return nil, invalid("Override for container named %s is not a container in the TaskDefinition.", o.Name)
		}
		if len(o.Command) > 0 {
			// Another program than the one whose ports these are, such as a
			// migration beside the service. If it listens on them all the same it
			// finds them taken itself.
			d.Command, d.PortMappings = o.Command, nil
		}
		d.Environment = append(d.Environment, o.Environment...)
	}
	tasks := []any{}
	if in.Token != "" {
		for _, t := range cl.Tasks {
			if t.Token == in.Token {
				tasks = append(tasks, t.describe(true))
			}
		}
	}
	if len(tasks) == 0 {
		for range count {
			t := c.cloud.newTask(cl, td, def)
			t.Group, t.StartedBy, t.LaunchType = first(in.Group, "family:"+td.Family), in.StartedBy, first(in.LaunchType, "FARGATE")
			t.Token, t.Overrides, t.Tags = in.Token, in.Overrides, in.Tags
			c.cloud.execute(&execution{c: c.cloud, t: t, def: def})
			tasks = append(tasks, t.describe(true))
		}
	}
	return map[string]any{"tasks": tasks, "failures": []failure{}}, nil
}

// regionOfArn is the region of an ARN.
func regionOfArn(arn string) string {
	if parts := strings.SplitN(arn, ":", 5); len(parts) == 5 {
		return parts[3]
	}
	return "us-east-1"
}
