package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// StoppedTask is a task of the deployment that stopped, and why.
type StoppedTask struct {
	ARN             string
	Container       string // that the stop is put down to; "" = none in particular
	ExitCode        *int32 // of that container; nil = it never ran
	StopCode        string // ECS's TaskStopCode
	StoppedReason   string // ECS's, of the task
	ContainerReason string // ECS's, of the container
	Class           string // "image", "network", "app", …; "unknown"
	Remedy          string // one line; "" = there is nothing to do
	StoppedAt       time.Time
}

// ID is the last part of the ARN.
func (t StoppedTask) ID() string { return t.ARN[strings.LastIndexByte(t.ARN, '/')+1:] }

// summary is why the task stopped, without what makes it this one task.
func (t StoppedTask) summary() string {
	var b strings.Builder
	switch {
	case t.ExitCode != nil && t.Container != "" && (t.ended() || t.StoppedReason == ""):
		fmt.Fprintf(&b, "container %s exited with status %d", t.Container, *t.ExitCode)
		if t.StopCode != string(types.TaskStopCodeEssentialContainerExited) && t.StoppedReason != "" {
			b.WriteString(": " + t.StoppedReason)
		}
	case t.StoppedReason != "":
		b.WriteString(t.StoppedReason)
	default:
		b.WriteString("a task stopped, ECS does not say why")
	}
	if t.ContainerReason != "" && !strings.Contains(b.String(), t.ContainerReason) {
		b.WriteString(": " + t.ContainerReason)
	}
	const most = 300 // some reasons quote whole answers of AWS APIs
	s := oneLine(b.String())
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.TrimRight(s, ". ")
}

// ended is that the container's exit status is a cause. Where ECS stopped the
// task for a reason of its own, SIGTERM and SIGKILL are only how it did so.
func (t StoppedTask) ended() bool {
	return t.StopCode == string(types.TaskStopCodeEssentialContainerExited) || *t.ExitCode != 143 && *t.ExitCode != 137
}

func newStoppedTask(t types.Task) StoppedTask {
	s := StoppedTask{
		ARN: aws.ToString(t.TaskArn), StopCode: string(t.StopCode),
		StoppedReason: aws.ToString(t.StoppedReason), StoppedAt: aws.ToTime(t.StoppedAt),
	}
	best := -1
	for i, c := range t.Containers {
		if best < 0 || blame(c) > blame(t.Containers[best]) {
			best = i
		}
	}
	if best >= 0 && blame(t.Containers[best]) > 0 {
		c := t.Containers[best]
		s.Container, s.ExitCode, s.ContainerReason = aws.ToString(c.Name), c.ExitCode, aws.ToString(c.Reason)
	}
	cl, remedy := diagnose(s)
	s.Class, s.Remedy = string(cl), remedy
	return s
}

// blame ranks the containers of a stopped task: one that says why it stopped,
// then one that failed, then one that ended. Those that were only stopped with
// it (SIGTERM, SIGKILL) come last of all that ran.
func blame(c types.Container) int {
	code := aws.ToInt32(c.ExitCode)
	switch {
	case aws.ToString(c.Reason) != "":
		return 4
	case c.ExitCode != nil && code != 0 && code != 143 && code != 137:
		return 3
	case c.ExitCode != nil && code != 143 && code != 137:
		return 2
	case c.ExitCode != nil:
		return 1
	}
	return 0
}

// Bounds on what is asked about stopped tasks at one look. ECS forgets them
// after about an hour, so there are seldom more.
const (
	maxTaskPages   = 3
	maxStoppedKept = 50
)

// stoppedTasks tells of the tasks of this deployment that have stopped since
// the last look. ListTasks takes `startedBy` only as its sole filter, so the
// service's stopped tasks are listed and the deployment's picked out.
func (r *rollout) stoppedTasks(ctx context.Context) error {
	var fresh []string
	in := &ecs.ListTasksInput{Cluster: &r.cluster, ServiceName: &r.service, DesiredStatus: types.DesiredStatusStopped}
	for range maxTaskPages {
		out, err := r.api.ListTasks(ctx, in)
		if err != nil {
			return err
		}
		for _, arn := range out.TaskArns {
			if !r.seenTasks[arn] {
				fresh = append(fresh, arn)
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	for batch := range slices.Chunk(fresh, 100) { // DescribeTasks takes 100
		out, err := r.api.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &r.cluster, Tasks: batch})
		if err != nil {
			return err
		}
		for _, t := range out.Tasks {
			if aws.ToString(t.LastStatus) != "STOPPED" {
				continue // its exit codes are not there yet
			}
			r.seenTasks[aws.ToString(t.TaskArn)] = true
			if r.isOurs(t) {
				r.stopped(newStoppedTask(t))
			}
		}
	}
	return nil
}

// isOurs is that our deployment started the task. As long as the deployment's
// id is not known, its task definition and its age must do.
func (r *rollout) isOurs(t types.Task) bool {
	if r.id != "" && t.StartedBy != nil {
		return *t.StartedBy == r.id
	}
	return sameRevision(aws.ToString(t.TaskDefinitionArn), r.taskDefinition) &&
		(t.CreatedAt == nil || !t.CreatedAt.Before(r.since.Add(-clockSkew)))
}

func (r *rollout) stopped(t StoppedTask) {
	if t.Class == string(classNormal) {
		r.log.Debug(fmt.Sprintf("task %s stopped: %s", t.ID(), t.summary()))
		return
	}
	r.log.Warn(fmt.Sprintf("task %s stopped: %s", t.ID(), t.summary()))
	if t.Class == string(classMemory) && r.nextMemory > 0 {
		t.Remedy = fmt.Sprintf("the container used more memory than it has: set the task's memory to %d, or start fewer workers", r.nextMemory)
	}
	r.tasks = append(r.tasks, t)
	if len(r.tasks) > maxStoppedKept {
		r.tasks = r.tasks[1:]
	}
}
