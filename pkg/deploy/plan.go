package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/schemas"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Action is what a plan does to the service.
type Action string

const (
	ActionNone   Action = "none"   // the service is as the files want it
	ActionCreate Action = "create" // the service does not exist
	ActionUpdate Action = "update" // one UpdateService call
	ActionFollow Action = "follow" // what the files want is being rolled out already
)

// Plan is what a deployment would do. It is inert: making one touches nothing.
type Plan struct {
	Cluster       string   `json:"cluster"`
	CreateCluster bool     `json:"createCluster"`
	Service       string   `json:"service"`
	Family        string   `json:"family"`
	Image         string   `json:"image"`
	Containers    []string `json:"containers"` // that get the image
	// TaskDefinition is the ARN of the revision to run; "" if it is to be
	// registered first.
	TaskDefinition string `json:"taskDefinition,omitempty"`
	Register       bool   `json:"register"`
	// TaskChanges is what the new revision changes of the newest one; empty
	// for the first of its family.
	TaskChanges []Change `json:"taskChanges,omitempty"`
	Action      Action   `json:"action"`
	// ServiceChanges are the settings of the service that are to change.
	ServiceChanges []Change `json:"serviceChanges,omitempty"`
	// Deploys is that ECS will replace the running tasks.
	Deploys bool `json:"deploys"`
	// Force is that they are replaced although nothing about them changes.
	Force bool `json:"force"`
	// Warnings are what may go wrong and what does not take effect at once.
	Warnings []string `json:"warnings,omitempty"`

	api      API
	options  Options
	register *ecs.RegisterTaskDefinitionInput
	create   *ecs.CreateServiceInput
	update   *ecs.UpdateServiceInput // without the task definition; nil = no call
	tags     []types.Tag             // to set on the service
	current  *types.Service          // as it was; nil = not there
	ports    []Port
	newTasks bool // the service is to run another revision than it does
}

// String is the plan as a person reads it, a line a step, changes indented.
func (p *Plan) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if p.CreateCluster {
		line("create cluster %s", p.Cluster)
	}
	if p.Register {
		line("register a new revision of %s with %s in %s", p.Family, p.Image, strings.Join(p.Containers, ", "))
		for _, c := range p.TaskChanges {
			line("  %s", c)
		}
	} else {
		line("use %s, which is what the files want", revisionName(p.TaskDefinition))
	}
	switch p.Action {
	case ActionCreate:
		line("create service %s in %s", p.Service, p.Cluster)
	case ActionUpdate:
		what := "without replacing tasks"
		if p.Deploys {
			what = "and replace its tasks"
		}
		line("update service %s in %s %s", p.Service, p.Cluster, what)
	case ActionFollow:
		line("follow the deployment of %s in %s that is under way", p.Service, p.Cluster)
	default:
		line("leave service %s in %s as it is", p.Service, p.Cluster)
	}
	for _, c := range p.ServiceChanges {
		line("  %s", c)
	}
	for _, w := range p.Warnings {
		line("warning: %s", w)
	}
	return b.String()
}

// files are the two input files, with the image in its place.
type files struct {
	task, service *document
	td            *ecs.RegisterTaskDefinitionInput
	svc           *ecs.CreateServiceInput
	containers    []string
}

func readFiles(in Input) (*files, error) {
	f := &files{td: &ecs.RegisterTaskDefinitionInput{}, svc: &ecs.CreateServiceInput{}}
	var err error
	if f.task, err = readTaskDefinition(in.Files.TaskDefinition, in.Lookup); err != nil {
		return nil, err
	}
	if f.service, err = readService(in.Files.Service, in.Lookup); err != nil {
		return nil, err
	}
	if in.Cluster != "" {
		f.service.root.set("cluster", &node{kind: text, text: in.Cluster})
	}
	if in.Service != "" {
		f.service.root.set("serviceName", &node{kind: text, text: in.Service})
	}
	if f.containers, err = f.task.putImage(in.Image, in.Containers); err != nil {
		return nil, err
	}
	if err = decode(asObject(f.task.root.value()), schemas.RegisterTaskDefinitionRequest, f.td); err != nil {
		return nil, f.task.fail("", 0, "%s", oneLine(err.Error()))
	}
	if err = decode(asObject(f.service.root.value()), schemas.CreateServiceRequest, f.svc); err != nil {
		return nil, f.service.fail("", 0, "%s", oneLine(err.Error()))
	}
	return f, nil
}

// Prepare reads the files, checks them, and compares them with what is in ECS.
func Prepare(ctx context.Context, api API, in Input) (*Plan, error) {
	f, err := readFiles(in)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Cluster: cmp.Or(clusterName(aws.ToString(f.svc.Cluster)), "default"),
		Service: aws.ToString(f.svc.ServiceName), Family: aws.ToString(f.td.Family),
		Image: in.Image.String(), Containers: f.containers,
		api: api, options: in.Options.withDefaults(), register: f.td,
		ports: ports(f.td, f.svc),
	}
	check := &checker{task: f.task, service: f.service, td: f.td, svc: f.svc, architectures: in.Architectures}
	if err := p.report(check.run()); err != nil {
		return nil, err
	}

	if p.current, p.CreateCluster, err = p.describeService(ctx); err != nil {
		return nil, err
	}
	if p.CreateCluster && strings.Contains(aws.ToString(f.svc.Cluster), ":") {
		return nil, f.service.fail("cluster", f.service.root.at("cluster"), "cluster %s does not exist, and by its ARN it cannot be created", *f.svc.Cluster)
	}
	if err := p.chooseRevision(ctx); err != nil {
		return nil, err
	}
	if p.current == nil {
		return p, p.planCreation(f, check)
	}
	return p, p.planUpdate(ctx, f, check, in.Force)
}

// clusterName is a cluster's name, also of its ARN.
func clusterName(nameOrARN string) string {
	return nameOrARN[strings.LastIndexByte(nameOrARN, '/')+1:]
}

// report gives the first problem as the error and logs the others, so that one
// run shows them all.
func (p *Plan) report(problems []*FileError) error {
	if len(problems) == 0 {
		return nil
	}
	for _, more := range problems[1:] {
		p.options.Log.Warn(more.Error())
	}
	return problems[0]
}

// describeService is the service as it is; nil if there is none, or only one
// that was deleted. What is being deleted (DRAINING) is returned.
func (p *Plan) describeService(ctx context.Context) (s *types.Service, noCluster bool, err error) {
	out, err := p.api.DescribeServices(ctx, &ecs.DescribeServicesInput{
		Cluster: &p.Cluster, Services: []string{p.Service}, Include: []types.ServiceField{types.ServiceFieldTags},
	})
	var missing *types.ClusterNotFoundException
	if errors.As(err, &missing) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, &APIError{Doing: "look up service " + p.Service + " in cluster " + p.Cluster, Action: "ecs:DescribeServices", Cause: err}
	}
	if len(out.Services) == 0 {
		return nil, false, nil
	}
	return &out.Services[0], false, nil
}

// The three states of a service.
const (
	serviceActive   = "ACTIVE"
	serviceDraining = "DRAINING"
)

// primary is the deployment that the service is on its way to, or at.
func primary(s *types.Service) *types.Deployment {
	if s == nil {
		return nil
	}
	for i := range s.Deployments {
		if aws.ToString(s.Deployments[i].Status) == "PRIMARY" {
			return &s.Deployments[i]
		}
	}
	return nil
}

// running is the task definition that the service is on its way to, or at. The
// service's own field is what was asked for last; the primary deployment's is
// what ECS made of it.
func running(s *types.Service) string {
	if d := primary(s); d != nil {
		return aws.ToString(d.TaskDefinition)
	}
	if s == nil {
		return ""
	}
	return aws.ToString(s.TaskDefinition)
}

// revisionName is "family:revision" of a task definition's ARN or of itself.
func revisionName(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

func sameRevision(a, b string) bool { return a != "" && revisionName(a) == revisionName(b) }

// chooseRevision finds a revision that is what the file wants: the newest, or
// the one that the service runs (which after a rollback is an older one).
func (p *Plan) chooseRevision(ctx context.Context) error {
	doc, err := encode(p.register, schemas.RegisterTaskDefinitionRequest)
	if err != nil {
		return err
	}
	want := normalTask(doc)
	newest, have, err := p.describeRevision(ctx, p.Family)
	if err != nil {
		return err
	}
	if newest == "" {
		p.Register = true
		return nil
	}
	p.TaskChanges = diff(have, want, "")
	if len(p.TaskChanges) == 0 {
		p.TaskDefinition = newest
		return nil
	}
	if now := running(p.current); now != "" && !sameRevision(now, newest) && strings.HasPrefix(revisionName(now), p.Family+":") {
		arn, have, err := p.describeRevision(ctx, now)
		if err != nil {
			return err
		}
		if arn != "" && len(diff(have, want, "")) == 0 {
			p.TaskDefinition, p.TaskChanges = arn, nil
			return nil
		}
	}
	p.Register = true
	return nil
}

// describeRevision is the ARN and the normal form of a revision, or of the
// newest active one of a family; "" if there is none.
func (p *Plan) describeRevision(ctx context.Context, nameOrARN string) (string, map[string]any, error) {
	out, err := p.api.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{
		TaskDefinition: &nameOrARN, Include: []types.TaskDefinitionField{types.TaskDefinitionFieldTags},
	})
	// ECS has no error of its own for a family that it does not know. If the
	// client is at fault in another way, registering will say so.
	var client *types.ClientException
	if errors.As(err, &client) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, &APIError{Doing: "look up task definition " + revisionName(nameOrARN), Action: "ecs:DescribeTaskDefinition", Cause: err}
	}
	if out.TaskDefinition == nil || out.TaskDefinition.Status == types.TaskDefinitionStatusInactive {
		return "", nil, nil
	}
	doc, err := encode(out.TaskDefinition, schemas.TaskDefinition)
	if err != nil {
		return "", nil, err
	}
	tags, err := encode(&ecs.RegisterTaskDefinitionInput{Tags: out.Tags}, schemas.RegisterTaskDefinitionRequest)
	if err != nil {
		return "", nil, err
	}
	doc["tags"] = tags["tags"]
	for name := range schemas.TaskDefinition.Members() {
		if schemas.RegisterTaskDefinitionRequest.Member(name) == nil {
			delete(doc, name)
		}
	}
	return aws.ToString(out.TaskDefinition.TaskDefinitionArn), normalTask(doc), nil
}

func (p *Plan) planCreation(f *files, check *checker) error {
	p.Action, p.Deploys, p.create = ActionCreate, true, f.svc
	if breaker := f.svc.DeploymentConfiguration; breaker == nil || breaker.DeploymentCircuitBreaker == nil || !breaker.DeploymentCircuitBreaker.Enable {
		p.Warnings = append(p.Warnings, fmt.Sprintf("service %s has no deployment circuit breaker: a deployment that cannot come up ends only with the timeout of %s", p.Service, p.options.Timeout))
	}
	return p.report(check.forCreation())
}

func (p *Plan) planUpdate(ctx context.Context, f *files, check *checker, force bool) error {
	if aws.ToString(p.current.Status) != serviceActive { // being deleted, or deleted: created anew
		return p.planCreation(f, check)
	}
	want := asObject(f.service.root.value())
	if e := f.service.checkFixed(want, *p.current); e != nil {
		return e
	}
	if err := p.report(check.forUpdate(*p.current)); err != nil {
		return err
	}
	state, err := p.state(ctx, want)
	if err != nil {
		return err
	}
	changes, settings := state.changes(want)
	p.ServiceChanges = changes
	p.tags = missingTags(p.current.Tags, f.svc.Tags)
	for _, t := range p.tags {
		p.ServiceChanges = append(p.ServiceChanges, Change{Path: "tags." + aws.ToString(t.Key), Want: jsonText(aws.ToString(t.Value))})
	}

	p.newTasks = p.Register || !sameRevision(running(p.current), p.TaskDefinition)
	p.Force = force
	if !p.newTasks && len(settings) == 0 && !force {
		p.atRest()
		if !p.Force {
			return nil
		}
	}
	p.Action = ActionUpdate
	p.Deploys = p.newTasks || p.Force || slices.ContainsFunc(settings, startsDeployment)
	if !p.Deploys && slices.ContainsFunc(settings, onTasks) {
		p.Warnings = append(p.Warnings, fmt.Sprintf("running tasks of %s keep the old settings until the next deployment: --force replaces them now", p.Service))
	}
	p.update = &ecs.UpdateServiceInput{}
	doc := map[string]any{}
	for _, name := range settings {
		doc[name] = want[name]
	}
	if err := decode(doc, schemas.UpdateServiceRequest, p.update); err != nil {
		return f.service.fail("", 0, "%s", oneLine(err.Error()))
	}
	p.update.ForceNewDeployment = p.Force && !p.newTasks
	return nil
}

// atRest decides about a service that is what the files want: nothing to do, or
// the deployment to wait for, or, if that one failed, to try again.
func (p *Plan) atRest() {
	p.Action = ActionNone
	if len(p.tags) > 0 {
		p.Action = ActionUpdate
	}
	d := primary(p.current)
	if d == nil {
		return
	}
	switch d.RolloutState {
	case types.DeploymentRolloutStateInProgress:
		p.Action = ActionFollow
	case types.DeploymentRolloutStateFailed:
		p.Force = true
		p.Warnings = append(p.Warnings, fmt.Sprintf("the last deployment of %s failed: its tasks are started anew", revisionName(p.TaskDefinition)))
	default:
		if p.current.RunningCount < p.current.DesiredCount {
			p.Warnings = append(p.Warnings, fmt.Sprintf("service %s runs %d of %d tasks, although nothing is being deployed", p.Service, p.current.RunningCount, p.current.DesiredCount))
		}
	}
}

// state is the current service as documents. The service revision is asked for
// only if the file has a setting that stands nowhere else.
func (p *Plan) state(ctx context.Context, want map[string]any) (serviceState, error) {
	var s serviceState
	var err error
	if s.service, err = encode(p.current, schemas.Service); err != nil {
		return s, err
	}
	if d := primary(p.current); d != nil {
		if s.deployment, err = encode(d, schemas.Deployment); err != nil {
			return s, err
		}
	}
	_, connectors := want["gatewayConnectors"]
	_, monitoring := want["monitoring"]
	if !connectors && !monitoring || len(p.current.CurrentServiceRevisions) == 0 {
		return s, nil
	}
	out, err := p.api.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{
		ServiceRevisionArns: []string{aws.ToString(p.current.CurrentServiceRevisions[0].Arn)},
	})
	if err != nil {
		return s, &APIError{Doing: "look up the revision of service " + p.Service, Action: "ecs:DescribeServiceRevisions", Cause: err}
	}
	if len(out.ServiceRevisions) > 0 {
		s.revision, err = encode(&out.ServiceRevisions[0], schemas.ServiceRevision)
	}
	return s, err
}

func ports(td *ecs.RegisterTaskDefinitionInput, svc *ecs.CreateServiceInput) []Port {
	var all []Port
	for _, cd := range td.ContainerDefinitions {
		for _, pm := range cd.PortMappings {
			if pm.ContainerPort == nil {
				continue
			}
			p := Port{Container: aws.ToString(cd.Name), Port: int(*pm.ContainerPort), Protocol: cmp.Or(string(pm.Protocol), "tcp")}
			for _, lb := range svc.LoadBalancers {
				if aws.ToString(lb.ContainerName) == p.Container && aws.ToInt32(lb.ContainerPort) == *pm.ContainerPort {
					p.TargetGroup = aws.ToString(lb.TargetGroupArn)
				}
			}
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b Port) int { return cmp.Compare(btoi(a.TargetGroup == ""), btoi(b.TargetGroup == "")) })
	return all
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// release is what is known before anything was done.
func (p *Plan) release() Release {
	r := Release{Cluster: p.Cluster, Service: p.Service, TaskDefinitionARN: p.TaskDefinition, Image: p.Image, Ports: p.ports, Plan: p}
	if p.current != nil {
		r.ServiceARN = aws.ToString(p.current.ServiceArn)
	}
	return r
}
