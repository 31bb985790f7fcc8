package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// rollout follows one deployment. ECS shows it in two places: as a service
// deployment, with an ARN, a status of its own and a history (found in
// service_deployment.go), and as an entry of the service's deployments, which
// comes and goes (service_state.go). The first is authoritative; the second is
// all there is under old IAM policies and in stand-ins for ECS.
type rollout struct {
	api              API
	options          Options
	log              *slog.Logger
	cluster, service string
	taskDefinition   string         // ARN of what is to run
	before           *types.Service // the service as it was, nil if there was none
	since            time.Time      // when it began, by this machine's clock
	joined           bool           // it had begun before we came
	unsure           bool           // ECS may see no reason for a deployment
	nextMemory       int            // MiB, the next larger size of the task; 0 = not known

	arn      string          // of the service deployment; "" = not found yet
	id       string          // "ecs-svc/…"; "" = not seen yet
	known    map[string]bool // ARNs of service deployments from before
	detailed bool            // ECS shows service deployments
	looks    int             // so far
	misses   int             // failed tries to find the service deployment
	doubts   int             // looks at which success was claimed but did not show
	broken   int             // looks in a row at which it was given up, and still in progress
	state    serviceSigns

	seenEvents map[string]bool
	seenTasks  map[string]bool
	noTasks    bool          // stopped tasks cannot be listed
	tasks      []StoppedTask // the latest last
	event      string        // the last that tells of trouble
	remedy     string        // for it
	progress   string        // last line told
}

const (
	// lagLooks is for how many looks ECS may not show yet what it has accepted.
	// Its reads lag by one or two.
	lagLooks = 6
	// maxBlind is how many looks in a row may fail.
	maxBlind = 10
	// lookTimeout bounds one look with the client's retries.
	lookTimeout = time.Minute
	// clockSkew is how far this machine's clock may be off from ECS's: times
	// only narrow down what is listed, they never decide.
	clockSkew = 15 * time.Minute
)

func (p *Plan) newRollout() *rollout {
	r := &rollout{
		api: p.api, options: p.options, log: p.options.Log,
		cluster: p.Cluster, service: p.Service,
		taskDefinition: p.TaskDefinition, before: p.current, since: p.options.Clock.Now(), joined: p.Action == ActionFollow,
		unsure: p.Action == ActionUpdate && !p.newTasks && !p.Force,
		known:  map[string]bool{}, detailed: true,
		seenEvents: map[string]bool{}, seenTasks: map[string]bool{},
	}
	if p.register != nil {
		cpu, _ := cpuUnits(aws.ToString(p.register.Cpu))
		memory, _ := memoryMiB(aws.ToString(p.register.Memory))
		r.nextMemory = nextMemory(cpu, memory)
	}
	if p.Action == ActionCreate {
		r.before = nil // a service that was deleted is another one
	}
	if d := primary(r.before); r.joined && d != nil {
		r.id = aws.ToString(d.Id)
		r.since = aws.ToTime(d.CreatedAt)
	}
	if r.before != nil {
		for _, e := range r.before.Events {
			if !r.joined || aws.ToTime(e.CreatedAt).Before(r.since) {
				r.seenEvents[aws.ToString(e.Id)] = true
			}
		}
	}
	return r
}

// deployment is what there is to call the deployment by.
func (r *rollout) deployment() string {
	if r.arn != "" {
		return r.arn
	}
	return r.id
}

// follow looks at the deployment until it has ended: nil if it has come to run.
func (r *rollout) follow(ctx context.Context) error {
	start := r.options.Clock.Now()
	blind := 0
	for n := 0; ; n++ {
		look, cancel := context.WithTimeout(ctx, lookTimeout)
		done, verdict, err := r.look(look)
		cancel()
		if ctx.Err() != nil {
			return r.interrupted(ctx.Err())
		}
		if done {
			if verdict != nil {
				r.showTails(ctx)
			}
			return verdict
		}
		if err == nil {
			blind = 0
		} else if blind++; blind >= maxBlind {
			return &LostError{Cluster: r.cluster, Service: r.service, TaskDefinition: revisionName(r.taskDefinition),
				DeploymentARN: r.deployment(), Tries: blind, Cause: err}
		} else {
			r.log.Debug("could not look at the deployment, trying again: " + oneLine(err.Error()))
		}
		passed := r.options.Clock.Now().Sub(start)
		if passed >= r.options.Timeout {
			r.showTails(ctx)
			return &TimedOutError{Evidence: r.evidence(), After: passed}
		}
		if err := r.options.Clock.Sleep(ctx, min(r.options.pause(n), r.options.Timeout-passed)); err != nil {
			return r.interrupted(err)
		}
	}
}

func (r *rollout) interrupted(err error) error {
	return &InterruptedError{Cluster: r.cluster, Service: r.service, TaskDefinition: revisionName(r.taskDefinition),
		DeploymentARN: r.deployment(), Cause: err}
}

// look is one look at the deployment. done with a nil verdict is success; err
// is that the look failed, which says nothing about the deployment.
func (r *rollout) look(ctx context.Context) (done bool, verdict, err error) {
	r.looks++
	service, err := r.describe(ctx)
	if err != nil {
		return false, nil, err
	}
	r.adopt(service)
	r.tellEvents(service)
	if !r.noTasks {
		if err := r.stoppedTasks(ctx); err != nil {
			r.noTasks = isDenied(err)
			r.log.Debug("stopped tasks cannot be listed: " + oneLine(err.Error()))
		}
	}
	if r.detailed {
		done, verdict, err = r.lookAtDeployment(ctx, service)
		if r.detailed {
			return done, verdict, err
		}
	}
	done, verdict = r.judgeService(service)
	return done, verdict, nil
}

// describe is the service as it stands; nil if ECS does not show it (yet).
func (r *rollout) describe(ctx context.Context) (*types.Service, error) {
	out, err := r.api.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &r.cluster, Services: []string{r.service}})
	if err != nil {
		return nil, err
	}
	if len(out.Services) == 0 {
		return nil, nil
	}
	return &out.Services[0], nil
}

// adopt learns our deployment's id from a description of the service: it is
// the primary one, runs our task definition, and was not there before.
func (r *rollout) adopt(s *types.Service) {
	d := primary(s)
	if r.id != "" || d == nil || !sameRevision(aws.ToString(d.TaskDefinition), r.taskDefinition) || r.wasThere(aws.ToString(d.Id)) {
		return
	}
	r.id = aws.ToString(d.Id)
	r.log.Debug(fmt.Sprintf("the deployment's id is %s", r.id))
}

// wasThere is that the service had the deployment before we began.
func (r *rollout) wasThere(id string) bool {
	return r.before != nil && slices.ContainsFunc(r.before.Deployments, func(d types.Deployment) bool { return aws.ToString(d.Id) == id })
}

// tellEvents logs the service's events that are new, the oldest first. ECS
// gives the last hundred, the newest first.
func (r *rollout) tellEvents(s *types.Service) {
	if s == nil {
		return
	}
	for _, e := range slices.Backward(s.Events) {
		id := aws.ToString(e.Id)
		if r.seenEvents[id] {
			continue
		}
		r.seenEvents[id] = true
		message := oneLine(aws.ToString(e.Message))
		if trouble, remedy := noticed(message); trouble {
			r.event, r.remedy = message, cmp.Or(remedy, r.remedy)
			r.log.Warn(message)
		} else {
			r.log.Info(message)
		}
	}
}

// tell logs how far the deployment is, whenever that has changed.
func (r *rollout) tell(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); line != r.progress {
		r.progress = line
		r.log.Info(line)
	}
}

func (r *rollout) evidence() Evidence {
	tasks := slices.Clone(r.tasks)
	slices.Reverse(tasks)
	return Evidence{
		Cluster: r.cluster, Service: r.service, TaskDefinition: revisionName(r.taskDefinition),
		DeploymentARN: r.deployment(), Tasks: tasks, Event: r.event, remedy: r.remedy,
	}
}

// showTails logs the last lines of two tasks that stopped for different reasons.
func (r *rollout) showTails(ctx context.Context) {
	if r.options.Tail == nil {
		return
	}
	shown := map[string]bool{}
	for _, t := range slices.Backward(r.tasks) {
		s := t.summary()
		if shown[s] || len(shown) == 2 {
			continue
		}
		shown[s] = true
		lines, err := r.options.Tail(ctx, t)
		if err != nil {
			r.log.Debug(fmt.Sprintf("the log of task %s cannot be read: %s", t.ID(), oneLine(err.Error())))
			continue
		}
		if len(lines) > 0 {
			r.log.Warn(fmt.Sprintf("task %s logged last:", t.ID()))
		}
		for _, line := range lines {
			r.log.Warn("  " + line)
		}
	}
}

// succeeded ends a deployment well.
func (r *rollout) succeeded(tasks int32) (bool, error) {
	what := "1 task"
	if tasks != 1 {
		what = fmt.Sprintf("%d tasks", tasks)
	}
	r.log.Info(fmt.Sprintf("%s in %s runs %s with %s", r.service, r.cluster, revisionName(r.taskDefinition), what))
	return true, nil
}

// isUnsupported is that ECS, or what stands in for it, has no such operation.
func isUnsupported(err error) bool {
	var unsupported *types.UnsupportedFeatureException
	if errors.As(err, &unsupported) {
		return true
	}
	var coded interface{ ErrorCode() string }
	if errors.As(err, &coded) {
		switch coded.ErrorCode() {
		case "UnknownOperationException", "UnknownOperation", "InvalidAction", "NotImplemented", "NotImplementedException":
			return true
		}
	}
	var status interface{ HTTPStatusCode() int }
	return errors.As(err, &status) && (status.HTTPStatusCode() == 404 || status.HTTPStatusCode() == 501)
}
