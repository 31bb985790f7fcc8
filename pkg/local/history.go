package local

import (
	"cmp"
	"slices"
)

// serviceDeployment finds a service deployment and its service.
func (c *Cloud) serviceDeployment(arn string) (*service, *serviceDeployment) {
	for _, cl := range c.state.Clusters {
		for _, s := range cl.Services {
			for _, sd := range s.History {
				if sd.Arn == arn {
					return s, sd
				}
			}
		}
	}
	return nil, nil
}

func listServiceDeployments(c *call, in *struct {
	Cluster  string   `json:"cluster"`
	Service  string   `json:"service"`
	Statuses []string `json:"status"`
	Created  struct {
		After  *epoch `json:"after"`
		Before *epoch `json:"before"`
	} `json:"createdAt"`
	paging
}) (any, error) {
	cl, err := c.cloud.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	s, ok := cl.service(in.Service)
	if !ok {
		return nil, refuse("ServiceNotFoundException", "Service not found.")
	}
	list := []any{}
	for _, sd := range slices.Backward(s.History) { // newest first
		created := sd.Created.time()
		if len(in.Statuses) > 0 && !slices.Contains(in.Statuses, sd.Status) ||
			in.Created.After != nil && created.Before(in.Created.After.time()) ||
			in.Created.Before != nil && created.After(in.Created.Before.time()) {
			continue
		}
		brief := sd.common(s)
		brief["targetServiceRevisionArn"] = sd.Target
		list = append(list, brief)
	}
	return page("serviceDeployments", list, in.paging, 20, 100)
}

// common are the members that the list and the description have.
func (d *serviceDeployment) common(s *service) map[string]any {
	out := map[string]any{"serviceDeploymentArn": d.Arn, "serviceArn": s.Arn, "clusterArn": s.ClusterArn,
		"createdAt": d.Created, "startedAt": d.Started, "status": d.Status}
	if d.Finished != nil {
		out["finishedAt"] = d.Finished
	}
	if d.Reason != "" {
		out["statusReason"] = d.Reason
	}
	return out
}

func describeServiceDeployments(c *call, in *struct {
	Arns []string `json:"serviceDeploymentArns"`
}) (any, error) {
	return describe("serviceDeployments", "Service deployments", in.Arns, 20, func(arn string) (map[string]any, string) {
		s, sd := c.cloud.serviceDeployment(arn)
		if sd == nil {
			return nil, arn
		}
		return sd.describe(s), ""
	})
}

func (d *serviceDeployment) describe(s *service) map[string]any {
	out := d.common(s)
	out["updatedAt"], out["deploymentConfiguration"] = d.Updated, d.Rules
	if d.Stopped != nil {
		out["stoppedAt"] = d.Stopped
	}
	if d.Rollback != nil {
		out["rollback"] = d.Rollback
	}
	state, failures := "MONITORING", d.Failures
	switch {
	case d.Tripped:
		state = "TRIGGERED"
	case d.over():
		state = "MONITORING_COMPLETE"
	}
	if own := s.deploymentOf(d.Target); own != nil && !d.Tripped {
		failures = own.Failed
	}
	out["deploymentCircuitBreaker"] = map[string]any{"status": state, "failureCount": failures, "threshold": d.Limit}
	out["targetServiceRevision"] = s.summary(d.Target, d.Requested)
	sources := []any{}
	for _, r := range d.Sources {
		sources = append(sources, s.summary(r, 0))
	}
	out["sourceServiceRevisions"] = sources
	return out
}

func (s *service) deploymentOf(revision string) *deployment {
	for _, d := range s.Rollouts {
		if d.Revision == revision {
			return d
		}
	}
	return nil
}

// summary counts the tasks of a revision.
func (s *service) summary(revision string, requested int) map[string]any {
	running, pending := 0, 0
	if d := s.deploymentOf(revision); d != nil {
		running, pending = s.counts(d)
		requested = d.Desired
	}
	return map[string]any{"arn": revision, "requestedTaskCount": requested, "runningTaskCount": running, "pendingTaskCount": pending}
}

func describeServiceRevisions(c *call, in *struct {
	Arns []string `json:"serviceRevisionArns"`
}) (any, error) {
	all := map[string]map[string]any{}
	for _, cl := range c.cloud.state.Clusters {
		for _, s := range cl.Services {
			for _, r := range s.Revisions {
				if slices.Contains(in.Arns, r.Arn) {
					all[r.Arn] = c.cloud.describeRevision(s, r)
				}
			}
		}
	}
	return describe("serviceRevisions", "Service revisions", in.Arns, 20, func(arn string) (map[string]any, string) {
		return all[arn], arn
	})
}

func (c *Cloud) describeRevision(s *service, r *serviceRevision) map[string]any {
	images := []any{}
	if t, ok := c.taskDef(r.TaskDefinition); ok {
		for _, d := range t.parsed().Containers {
			image := map[string]any{"containerName": d.Name, "image": d.Image}
			if digest := r.Images[d.Name]; digest != "" {
				image["imageDigest"] = digest
			}
			images = append(images, image)
		}
	}
	out := map[string]any{"serviceRevisionArn": r.Arn, "serviceArn": s.Arn, "clusterArn": s.ClusterArn, "taskDefinition": r.TaskDefinition,
		"createdAt": r.Created, "containerImages": images, "loadBalancers": append([]loadBalancer{}, r.Settings.balancers()...)}
	if s.LaunchType != "" {
		out["launchType"] = s.LaunchType
	}
	if s.LaunchType != "EC2" {
		out["platformFamily"], out["platformVersion"] = "Linux", "1.4.0"
	}
	if given(r.Settings.Network) {
		out["networkConfiguration"] = r.Settings.Network
	}
	return out
}

func stopServiceDeployment(c *call, in *struct {
	Arn  string `json:"serviceDeploymentArn"`
	Type string `json:"stopType"`
}) (any, error) {
	s, sd := c.cloud.serviceDeployment(in.Arn)
	if sd == nil {
		return nil, refuse("ServiceDeploymentNotFoundException", "Service deployment not found.")
	}
	d := s.primary()
	if sd.Status != "IN_PROGRESS" || s.Status != "ACTIVE" || d == nil {
		return nil, refuse("ConflictException", "The service deployment is %s and can not be stopped.", sd.Status)
	}
	switch cmp.Or(in.Type, "ROLLBACK") {
	case "ABORT":
		c.cloud.abandon(s, d, "ECS deployment was stopped by the user.")
		sd.finish("STOPPED", "Service deployment was stopped by the user.", c.cloud.clock.Now())
	case "ROLLBACK":
		back := s.lastDone(d)
		if back == nil {
			return nil, invalid("The service has no completed deployment to roll back to.")
		}
		c.cloud.rollBack(s, d, back, "Service deployment rollback was requested by the user.", "ECS deployment was stopped by the user.")
	default:
		return nil, invalid("stopType must be ABORT or ROLLBACK")
	}
	c.cloud.wake(s)
	return map[string]any{"serviceDeploymentArn": sd.Arn}, nil
}
