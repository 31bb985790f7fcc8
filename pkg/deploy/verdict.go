package deploy

import (
	"fmt"
	"strings"
	"time"
)

// Evidence is what is known of a deployment that ECS took and that did not come
// to run. The errors below have it in common; each is one way to end badly.
type Evidence struct {
	Cluster, Service string
	TaskDefinition   string        // that was to run: "family:revision"
	DeploymentARN    string        // or the deployment's id; "" = none was found
	Serving          string        // what runs instead: "family:revision"; "" = not known
	Reason           string        // ECS's own
	Alarms           []string      // CloudWatch alarms that went off
	Failures         int           // tasks that the circuit breaker counted, of
	Threshold        int           // as many as make it break
	Tasks            []StoppedTask // of this deployment, the latest first
	Event            string        // the last service event that tells of trouble
	remedy           string        // for Event, or for all
}

// Unhealthy is that something was deployed, and does not run as it should.
func (Evidence) Unhealthy() bool { return true }

// Hint is what to do about the most telling reason.
func (e *Evidence) Hint() string {
	for _, t := range e.Tasks {
		if t.Remedy != "" {
			return t.Remedy
		}
	}
	if e.remedy != "" {
		return e.remedy
	}
	return "the service's events and the tasks' logs show more: aws ecs describe-services, aws logs tail"
}

// maxReasons is how many different reasons of stopped tasks an error shows: it
// is one line.
const maxReasons = 3

func (e *Evidence) text(what string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "deploy %s in %s: the deployment of %s %s", e.Service, e.Cluster, e.TaskDefinition, what)
	if e.Reason != "" {
		b.WriteString(": " + strings.TrimRight(oneLine(e.Reason), ". "))
	}
	if e.Failures > 0 && e.Threshold > 0 {
		fmt.Fprintf(&b, "; the circuit breaker counted %d failed tasks of %d", e.Failures, e.Threshold)
	}
	if len(e.Alarms) > 0 {
		b.WriteString("; alarms went off: " + strings.Join(e.Alarms, ", "))
	}
	reasons, more := distinct(e.Tasks)
	for _, r := range reasons {
		b.WriteString("; " + r)
	}
	if more > 0 {
		fmt.Fprintf(&b, "; and %d other reasons", more)
	}
	if len(reasons) == 0 && e.Event != "" {
		b.WriteString("; last event: " + strings.TrimRight(oneLine(e.Event), ". "))
	}
	return b.String()
}

// distinct is the different reasons, most recent first, with how many tasks
// had each; and how many more reasons there are than are shown.
func distinct(tasks []StoppedTask) (reasons []string, more int) {
	count := map[string]int{}
	var order []string
	for _, t := range tasks {
		s := t.summary()
		if count[s] == 0 {
			order = append(order, s)
		}
		count[s]++
	}
	for _, s := range order {
		if len(reasons) == maxReasons {
			return reasons, len(order) - maxReasons
		}
		if n := count[s]; n > 1 {
			s = fmt.Sprintf("%s (%d tasks)", s, n)
		}
		reasons = append(reasons, s)
	}
	return reasons, 0
}

// RolledBackError is that ECS gave the deployment up and went back to what ran
// before, which Serving names.
type RolledBackError struct{ Evidence }

func (e *RolledBackError) Error() string {
	if e.Serving == "" {
		return e.text("was rolled back")
	}
	return e.text("was rolled back, " + e.Serving + " is serving")
}

// RollbackFailedError is that ECS gave the deployment up and could not go back
// either.
type RollbackFailedError struct{ Evidence }

func (e *RollbackFailedError) Error() string { return e.text("failed, and so did the rollback") }

// FailedError is that the deployment failed and was not rolled back, or that
// ECS claims a success that the service does not show.
type FailedError struct{ Evidence }

func (e *FailedError) Error() string { return e.text("failed") }

// SupersededError is that a newer deployment took this one's place.
type SupersededError struct {
	Evidence
	By string // ARN or id of the newer deployment
}

func (e *SupersededError) Error() string {
	what := "was superseded by another"
	if e.Serving != "" {
		what += ", of " + e.Serving
	}
	return e.text(what)
}

// Hint says where the newer deployment shows.
func (e *SupersededError) Hint() string {
	return "somebody else deploys this service: aws ecs describe-services shows what it runs"
}

// StoppedError is that somebody stopped the deployment, without a rollback: the
// service is left half-way.
type StoppedError struct{ Evidence }

func (e *StoppedError) Error() string { return e.text("was stopped half-way") }

// TimedOutError is that the deployment had not ended when the time was up. It
// goes on.
type TimedOutError struct {
	Evidence
	After time.Duration
}

func (e *TimedOutError) Error() string {
	return e.text(fmt.Sprintf("is not through after %s and goes on", e.After.Round(time.Second)))
}

// InterruptedError is that the waiting was interrupted. The deployment goes on.
type InterruptedError struct {
	Cluster, Service, TaskDefinition, DeploymentARN string
	Cause                                           error
}

func (e *InterruptedError) Error() string {
	return fmt.Sprintf("deploy %s in %s: interrupted; the deployment of %s goes on in ECS", e.Service, e.Cluster, e.TaskDefinition)
}

// Unwrap gives the context's error.
func (e *InterruptedError) Unwrap() error { return e.Cause }

// Hint says how to look at the deployment, and how to undo it.
func (e *InterruptedError) Hint() string {
	return "aws ecs describe-services shows how it goes, aws ecs stop-service-deployment undoes it"
}

// LostError is that ECS could not be asked any more how the deployment goes.
type LostError struct {
	Cluster, Service, TaskDefinition, DeploymentARN string
	Tries                                           int
	Cause                                           error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("deploy %s in %s: the deployment of %s goes on in ECS, but %d times in a row it could not be looked at: %s",
		e.Service, e.Cluster, e.TaskDefinition, e.Tries, oneLine(e.Cause.Error()))
}

// Unwrap gives the last error.
func (e *LostError) Unwrap() error { return e.Cause }

// Hint says how to look at the deployment later.
func (e *LostError) Hint() string { return "aws ecs describe-services shows how it went" }
