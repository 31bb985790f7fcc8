package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// fakeECS speaks ECS's wire protocol (AWS JSON 1.1) to the real SDK. Its
// services take a step whenever they are described; what the tasks of an image
// do is scripted by the image's digest.
type fakeECS struct {
	mu       sync.Mutex
	t        *testing.T
	now      time.Time
	clusters map[string]bool
	families map[string][]map[string]any
	tags     map[string]any // of revisions, by ARN
	services map[string]*fakeService
	tasks    []map[string]any
	outcome  map[string]string // first letter of the digest → "crash", "never"; else it runs
	calls    []string
	inputs   map[string][]map[string]any

	deny     map[string]string // operation → error code
	refuse   func(op string) *refusal
	throttle map[string]int // operation → how often
	lag      int            // reads of a service that are stale after a change
	lying    bool           // updates are accepted and never carried out
	noState  bool           // no rollout state, as behind a Classic Load Balancer
	onTick   func(*fakeService)
	serial   int
}

type fakeService struct {
	f           *fakeECS
	cluster     string
	name        string
	status      string
	settings    map[string]any
	created     float64
	deployments []*fakeDeployment // the newest first
	history     []*fakeDeployment
	events      []map[string]any
	stale       []map[string]any // answers still to be given
	draining    int
	token       string
	lastTD      string // as UpdateService was given it
}

type fakeDeployment struct {
	id, arn, revision, td, image string
	status                       string // of the service deployment
	rollout, reason, statusWord  string
	created                      float64
	running, ticks, failed       int
	rollback                     *fakeDeployment
	completed                    bool
}

func startECS(t *testing.T) (*fakeECS, *ecs.Client) {
	t.Helper()
	f := &fakeECS{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), clusters: map[string]bool{}, families: map[string][]map[string]any{},
		tags: map[string]any{}, services: map[string]*fakeService{}, outcome: map[string]string{}, inputs: map[string][]map[string]any{},
		deny: map[string]string{}, throttle: map[string]int{}}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return f, ecs.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: &srv.URL,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts = 8
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			})
		},
	})
}

// Now and Sleep make the fake the clock: time passes when somebody waits.
func (f *fakeECS) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fakeECS) Sleep(ctx context.Context, d time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
	return ctx.Err()
}

func (f *fakeECS) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if c == op {
			n++
		}
	}
	return n
}

func (f *fakeECS) last(op string) map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.inputs[op]
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

type refusal struct{ code, message string }

func (f *fakeECS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, _ := io.ReadAll(r.Body)
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		f.t.Errorf("%s: %v", op, err)
	}
	f.calls = append(f.calls, op)
	f.inputs[op] = append(f.inputs[op], in)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	out, no := f.answer(op, in)
	if no != nil {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]any{"__type": no.code, "message": no.message}
	}
	json.NewEncoder(w).Encode(out)
}

func (f *fakeECS) answer(op string, in map[string]any) (map[string]any, *refusal) {
	if f.throttle[op] > 0 {
		f.throttle[op]--
		return nil, &refusal{"ThrottlingException", "Rate exceeded"}
	}
	if code := f.deny[op]; code != "" {
		return nil, &refusal{code, "said by the fake"}
	}
	if f.refuse != nil {
		if no := f.refuse(op); no != nil {
			return nil, no
		}
	}
	switch op {
	case "CreateCluster":
		f.clusters[in["clusterName"].(string)] = true
		return map[string]any{}, nil
	case "RegisterTaskDefinition":
		return f.register(in), nil
	case "DescribeTaskDefinition":
		return f.describeTask(in["taskDefinition"].(string))
	case "CreateService", "UpdateService", "DescribeServices":
		cluster := in["cluster"].(string)
		if !f.clusters[cluster] {
			return nil, &refusal{"ClusterNotFoundException", "Cluster not found."}
		}
		return map[string]func(map[string]any) (map[string]any, *refusal){
			"CreateService": f.createService, "UpdateService": f.updateService, "DescribeServices": f.describeServices}[op](in)
	case "ListServiceDeployments":
		return f.listDeployments(in), nil
	case "DescribeServiceDeployments":
		return f.describeDeployments(in), nil
	case "DescribeServiceRevisions":
		return f.describeRevisions(in), nil
	case "ListTasks":
		var arns []any
		for _, t := range f.tasks {
			arns = append(arns, t["taskArn"])
		}
		return map[string]any{"taskArns": arns}, nil
	case "DescribeTasks":
		var all []any
		for _, t := range f.tasks {
			if slices.Contains(in["tasks"].([]any), t["taskArn"]) {
				all = append(all, t)
			}
		}
		return map[string]any{"tasks": all}, nil
	case "TagResource":
		return map[string]any{}, nil
	}
	return nil, &refusal{"UnknownOperationException", op}
}

const arnPrefix = "arn:aws:ecs:eu-west-1:123456789012:"

func (f *fakeECS) register(in map[string]any) map[string]any {
	family := in["family"].(string)
	td := maps.Clone(in)
	tags := td["tags"]
	delete(td, "tags")
	n := len(f.families[family]) + 1
	arn := fmt.Sprintf("%stask-definition/%s:%d", arnPrefix, family, n)
	maps.Copy(td, map[string]any{"taskDefinitionArn": arn, "revision": n, "status": "ACTIVE", "volumes": []any{}, "placementConstraints": []any{},
		"compatibilities": []any{"EC2", "FARGATE"}, "registeredAt": f.stamp(), "registeredBy": "somebody"})
	// What ECS fills in.
	var containers []any
	for _, c := range td["containerDefinitions"].([]any) {
		cd := map[string]any{"cpu": 0, "essential": true, "environment": []any{}, "mountPoints": []any{}, "volumesFrom": []any{}, "systemControls": []any{}, "portMappings": []any{}}
		maps.Copy(cd, c.(map[string]any))
		for i, pm := range cd["portMappings"].([]any) {
			full := map[string]any{"protocol": "tcp", "hostPort": pm.(map[string]any)["containerPort"]}
			maps.Copy(full, pm.(map[string]any))
			cd["portMappings"].([]any)[i] = full
		}
		if env := cd["environment"].([]any); len(env) > 1 { // in any order
			slices.Reverse(env)
		}
		containers = append(containers, cd)
	}
	td["containerDefinitions"] = containers
	f.families[family] = append(f.families[family], td)
	f.tags[arn] = tags
	return map[string]any{"taskDefinition": td, "tags": tags}
}

func (f *fakeECS) revision(name string) map[string]any {
	family, _, numbered := strings.Cut(revisionName(name), ":")
	all := f.families[family]
	if len(all) == 0 {
		return nil
	}
	if !numbered {
		return all[len(all)-1]
	}
	for _, td := range all {
		if revisionName(td["taskDefinitionArn"].(string)) == revisionName(name) {
			return td
		}
	}
	return nil
}

func (f *fakeECS) describeTask(name string) (map[string]any, *refusal) {
	td := f.revision(name)
	if td == nil {
		return nil, &refusal{"ClientException", "Unable to describe task definition."}
	}
	return map[string]any{"taskDefinition": td, "tags": f.tags[td["taskDefinitionArn"].(string)]}, nil
}

func (f *fakeECS) stamp() float64 { return float64(f.now.UnixNano()) / 1e9 }

func (f *fakeECS) next() int { f.serial++; return f.serial }

func (f *fakeECS) service(in map[string]any, key string) *fakeService {
	name, _ := in[key].(string)
	return f.services[in["cluster"].(string)+"/"+name]
}

func (f *fakeECS) createService(in map[string]any) (map[string]any, *refusal) {
	name := in["serviceName"].(string)
	token, _ := in["clientToken"].(string)
	if token == "" || len(token) > 36 {
		return nil, &refusal{"InvalidParameterException", "idempotency token longer than 36."}
	}
	if s := f.service(in, "serviceName"); s != nil && s.status != "INACTIVE" {
		if s.token == token {
			return map[string]any{"service": s.doc()}, nil
		}
		return nil, &refusal{"InvalidParameterException", "Creation of service was not idempotent."}
	}
	s := &fakeService{f: f, cluster: in["cluster"].(string), name: name, status: "ACTIVE", settings: map[string]any{}, created: f.stamp(), token: token}
	for k, v := range in {
		switch k {
		case "cluster", "serviceName", "clientToken", "taskDefinition":
		default:
			s.settings[k] = v
		}
	}
	f.services[s.cluster+"/"+name] = s
	s.deploy(in["taskDefinition"].(string))
	return map[string]any{"service": s.doc()}, nil
}

func (f *fakeECS) updateService(in map[string]any) (map[string]any, *refusal) {
	s := f.service(in, "service")
	if s == nil {
		return nil, &refusal{"ServiceNotFoundException", "Service not found."}
	}
	for range f.lag {
		s.stale = append(s.stale, s.doc())
	}
	td, _ := in["taskDefinition"].(string)
	force, _ := in["forceNewDeployment"].(bool)
	triggers := td != "" || force
	for k, v := range in {
		switch k {
		case "cluster", "service", "taskDefinition", "forceNewDeployment":
		default:
			s.settings[k] = v
			triggers = triggers || startsDeployment(k)
		}
	}
	if f.lying {
		s.lastTD = td
		return map[string]any{"service": s.doc()}, nil
	}
	if triggers {
		if td == "" {
			td = s.deployments[0].td
		}
		s.deploy(td)
	}
	return map[string]any{"service": s.doc()}, nil
}

func (s *fakeService) desired() int {
	switch n := s.settings["desiredCount"].(type) {
	case float64:
		return int(n)
	case int:
		return n
	}
	return 1
}

// deploy begins a deployment; what was under way is stopped by it.
func (s *fakeService) deploy(td string) *fakeDeployment {
	f := s.f
	for _, d := range s.deployments {
		d.statusWord = "ACTIVE"
		if d.status == "IN_PROGRESS" || d.status == "PENDING" {
			d.status, d.reason = "STOPPED", "superseded"
		}
	}
	n := f.next()
	doc := f.revision(td)
	if doc == nil {
		f.t.Errorf("deployment of unknown task definition %s", td)
		return nil
	}
	td = doc["taskDefinitionArn"].(string)
	d := &fakeDeployment{id: fmt.Sprintf("ecs-svc/%d", n), arn: fmt.Sprintf("%sservice-deployment/%s/%s/%d", arnPrefix, s.cluster, s.name, n),
		revision: fmt.Sprintf("%sservice-revision/%s/%s/%d", arnPrefix, s.cluster, s.name, n), td: td, status: "IN_PROGRESS", rollout: "IN_PROGRESS",
		statusWord: "PRIMARY", created: f.stamp(), image: doc["containerDefinitions"].([]any)[0].(map[string]any)["image"].(string)}
	s.lastTD = td
	s.deployments = append([]*fakeDeployment{d}, s.deployments...)
	s.history = append(s.history, d)
	return d
}

func (s *fakeService) breaker() (enable, rollback bool) {
	dc := asObject(s.settings["deploymentConfiguration"])
	cb := asObject(dc["deploymentCircuitBreaker"])
	enable, _ = cb["enable"].(bool)
	rollback, _ = cb["rollback"].(bool)
	return enable, rollback
}

// tick moves the service on by one step.
func (s *fakeService) tick() {
	if s.f.onTick != nil {
		s.f.onTick(s)
	}
	if s.status == "DRAINING" {
		if s.draining--; s.draining <= 0 {
			s.status = "INACTIVE"
		}
		return
	}
	d := s.deployments[0]
	if d.completed || d.status == "STOPPED" {
		return
	}
	d.ticks++
	_, digest, _ := strings.Cut(d.image, "sha256:")
	switch s.f.outcome[digest[:1]] {
	case "crash":
		s.stopTask(d)
		if enable, rollback := s.breaker(); enable && d.failed >= 3 {
			s.giveUp(d, rollback)
		}
	case "never":
	default:
		if d.ticks >= 2 {
			d.running = s.desired()
			d.status, d.rollout, d.reason, d.completed = "SUCCESSFUL", "COMPLETED", "ECS deployment "+d.id+" completed.", true
			s.deployments = s.deployments[:1]
			s.event(fmt.Sprintf("(service %s) has reached a steady state.", s.name))
		}
	}
}

func (s *fakeService) stopTask(d *fakeDeployment) {
	d.failed++
	n := s.f.next()
	arn := fmt.Sprintf("%stask/%s/%032d", arnPrefix, s.cluster, n)
	s.event(fmt.Sprintf("(service %s) has started 1 tasks: (task %032d).", s.name, n))
	s.f.tasks = append(s.f.tasks, map[string]any{"taskArn": arn, "lastStatus": "STOPPED", "startedBy": d.id, "taskDefinitionArn": d.td,
		"createdAt": s.f.stamp(), "stoppedAt": s.f.stamp(), "stopCode": "EssentialContainerExited", "stoppedReason": "Essential container in task exited",
		"containers": []any{map[string]any{"name": "boyacky-container", "exitCode": 1, "lastStatus": "STOPPED"}}})
}

// giveUp is the circuit breaker. It goes back to the last deployment that
// completed, under that one's id; without one the service stalls.
func (s *fakeService) giveUp(d *fakeDeployment, rollback bool) {
	d.rollout, d.reason = "FAILED", "ECS deployment circuit breaker: tasks failed to start."
	if !rollback {
		d.status = "STOPPED"
		return
	}
	var old *fakeDeployment
	for _, h := range s.history {
		if h.completed {
			old = h
		}
	}
	if old == nil {
		return // nothing to go back to
	}
	if d.status == "IN_PROGRESS" {
		d.status, d.rollback = "ROLLBACK_IN_PROGRESS", old
		d.reason = "Service deployment rolled back because the circuit breaker threshold was exceeded."
		return
	}
	d.status = "ROLLBACK_SUCCESSFUL"
	d.statusWord, old.statusWord = "ACTIVE", "PRIMARY"
	s.deployments = []*fakeDeployment{old, d}
	s.event(fmt.Sprintf("(service %s) rolling back to deploymentId %s.", s.name, old.id))
}

func (s *fakeService) event(message string) {
	s.events = append([]map[string]any{{"id": fmt.Sprint(s.f.next()), "createdAt": s.f.stamp(), "message": message}}, s.events...)
}

func (f *fakeECS) describeServices(in map[string]any) (map[string]any, *refusal) {
	name := in["services"].([]any)[0].(string)
	s := f.services[in["cluster"].(string)+"/"+name]
	if s == nil {
		return map[string]any{"services": []any{}, "failures": []any{map[string]any{"reason": "MISSING", "arn": name}}}, nil
	}
	if len(s.stale) > 0 {
		doc := s.stale[0]
		s.stale = s.stale[1:]
		return map[string]any{"services": []any{doc}}, nil
	}
	s.tick()
	return map[string]any{"services": []any{s.doc()}}, nil
}

// doc is the service as ECS describes it: a copy, with the defaults filled in.
func (s *fakeService) doc() map[string]any {
	doc := map[string]any{"schedulingStrategy": "REPLICA", "propagateTags": "NONE", "enableECSManagedTags": false, "enableExecuteCommand": false,
		"availabilityZoneRebalancing": "ENABLED", "desiredCount": s.desired(), "platformVersion": "LATEST", "placementConstraints": []any{}}
	maps.Copy(doc, s.settings)
	dc := map[string]any{"maximumPercent": 200, "minimumHealthyPercent": 100, "strategy": "ROLLING", "bakeTimeInMinutes": 0}
	maps.Copy(dc, asObject(s.settings["deploymentConfiguration"]))
	doc["deploymentConfiguration"] = dc
	if n := asObject(asObject(doc["networkConfiguration"])["awsvpcConfiguration"]); n != nil && n["assignPublicIp"] == nil {
		n["assignPublicIp"] = "DISABLED"
	}
	var deployments []any
	running := 0
	for _, d := range s.deployments {
		running += d.running
		entry := map[string]any{"id": d.id, "status": d.statusWord, "taskDefinition": d.td, "desiredCount": s.desired(), "runningCount": d.running,
			"failedTasks": d.failed, "createdAt": d.created, "rolloutState": d.rollout, "rolloutStateReason": d.reason}
		if s.f.noState {
			delete(entry, "rolloutState")
		}
		deployments = append(deployments, entry)
	}
	maps.Copy(doc, map[string]any{"serviceName": s.name, "serviceArn": arnPrefix + "service/" + s.cluster + "/" + s.name, "clusterArn": arnPrefix + "cluster/" + s.cluster,
		"status": s.status, "createdAt": s.created, "runningCount": running, "pendingCount": 0, "deployments": deployments,
		"events": slices.Clone(s.events), "taskDefinition": s.lastTD})
	return doc
}

func (f *fakeECS) find(in map[string]any) *fakeService {
	name := in["service"].(string)
	return f.services[in["cluster"].(string)+"/"+name]
}

func (f *fakeECS) listDeployments(in map[string]any) map[string]any {
	var all []any
	if s := f.find(in); s != nil {
		for _, d := range s.history {
			all = append(all, map[string]any{"serviceDeploymentArn": d.arn, "targetServiceRevisionArn": d.revision, "createdAt": d.created, "status": d.status})
		}
	}
	slices.Reverse(all)
	return map[string]any{"serviceDeployments": all}
}

func (f *fakeECS) every(yield func(*fakeDeployment)) {
	for _, s := range f.services {
		for _, d := range s.history {
			yield(d)
		}
	}
}

func (f *fakeECS) describeDeployments(in map[string]any) map[string]any {
	var all []any
	f.every(func(d *fakeDeployment) {
		if !slices.Contains(in["serviceDeploymentArns"].([]any), any(d.arn)) {
			return
		}
		doc := map[string]any{"serviceDeploymentArn": d.arn, "status": d.status, "createdAt": d.created,
			"targetServiceRevision": map[string]any{"arn": d.revision, "requestedTaskCount": 1, "runningTaskCount": d.running}}
		if d.status != "SUCCESSFUL" && d.status != "IN_PROGRESS" {
			doc["statusReason"] = d.reason
		}
		if d.failed > 0 {
			word := "MONITORING"
			if d.rollout == "FAILED" {
				word = "TRIGGERED"
			}
			doc["deploymentCircuitBreaker"] = map[string]any{"status": word, "failureCount": d.failed, "threshold": 3}
		}
		if d.rollback != nil {
			doc["rollback"] = map[string]any{"serviceRevisionArn": d.rollback.revision, "reason": d.reason}
		}
		all = append(all, doc)
	})
	return map[string]any{"serviceDeployments": all}
}

func (f *fakeECS) describeRevisions(in map[string]any) map[string]any {
	var all []any
	f.every(func(d *fakeDeployment) {
		if slices.Contains(in["serviceRevisionArns"].([]any), any(d.revision)) {
			all = append(all, map[string]any{"serviceRevisionArn": d.revision, "taskDefinition": d.td})
		}
	})
	return map[string]any{"serviceRevisions": all}
}
