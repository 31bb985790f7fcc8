package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/schemas"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Apply does what the plan says and follows the deployment to its end. The
// Release is filled in as far as it got, also beside an error.
func (p *Plan) Apply(ctx context.Context) (Release, error) {
	rel := p.release()
	log := p.options.Log
	for _, w := range p.Warnings {
		log.Warn(w)
	}
	if p.Action == ActionNone {
		log.Info(fmt.Sprintf("%s in %s already runs %s with this image: nothing to do", p.Service, p.Cluster, revisionName(p.TaskDefinition)))
		if p.options.NoWait {
			return rel, nil
		}
		return rel, p.newRollout().settle(ctx)
	}
	if err := p.prepareECS(ctx, &rel); err != nil {
		return rel, err
	}
	r := p.newRollout()
	service, err := p.changeService(ctx, r, &rel)
	if err != nil {
		return rel, err
	}
	if service != nil {
		rel.Changed = true
		rel.ServiceARN = aws.ToString(service.ServiceArn)
	}
	if !p.Deploys && p.Action != ActionFollow {
		log.Info(fmt.Sprintf("changed settings of %s in %s, without a deployment", p.Service, p.Cluster))
		return rel, nil
	}
	r.adopt(service)
	rel.DeploymentARN = r.deployment()
	if p.options.NoWait {
		log.Info(fmt.Sprintf("%s is rolling out %s: not waiting for it", p.Service, revisionName(p.TaskDefinition)))
		return rel, nil
	}
	err = r.follow(ctx)
	rel.DeploymentARN = r.deployment()
	return rel, err
}

// prepareECS makes what the service refers to: the cluster and the revision.
func (p *Plan) prepareECS(ctx context.Context, rel *Release) error {
	if p.CreateCluster {
		if _, err := p.api.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: &p.Cluster}); err != nil {
			return &APIError{Doing: "create cluster " + p.Cluster, Action: "ecs:CreateCluster", Cause: err}
		}
		rel.Changed = true
		p.options.Log.Info("created cluster " + p.Cluster)
	}
	if p.Register {
		out, err := p.api.RegisterTaskDefinition(ctx, p.register)
		if err != nil {
			return &APIError{Doing: "register task definition " + p.Family, Action: "ecs:RegisterTaskDefinition", Cause: err}
		}
		if out.TaskDefinition == nil || aws.ToString(out.TaskDefinition.TaskDefinitionArn) == "" {
			return fmt.Errorf("register task definition %s: ECS answers without its ARN", p.Family)
		}
		p.TaskDefinition = *out.TaskDefinition.TaskDefinitionArn
		rel.TaskDefinitionARN, rel.Registered, rel.Changed = p.TaskDefinition, true, true
		p.options.Log.Info("registered " + revisionName(p.TaskDefinition))
	} else {
		p.options.Log.Info(revisionName(p.TaskDefinition) + " is already what the files want: no new revision")
	}
	return nil
}

// changeService makes the one call that starts the deployment and returns what
// ECS answers, nil if there was nothing to call.
func (p *Plan) changeService(ctx context.Context, r *rollout, rel *Release) (*types.Service, error) {
	if len(p.tags) > 0 {
		if _, err := p.api.TagResource(ctx, &ecs.TagResourceInput{ResourceArn: p.current.ServiceArn, Tags: p.tags}); err != nil {
			return nil, &APIError{Doing: "tag service " + p.Service, Action: "ecs:TagResource", Cause: err}
		}
		rel.Changed = true
	}
	switch {
	case p.Action == ActionCreate:
		return p.createService(ctx)
	case p.update != nil:
		// What is there before is known not to be ours.
		if err := r.remember(ctx); err != nil {
			return nil, err
		}
		return p.updateService(ctx)
	case p.Action == ActionFollow:
		p.options.Log.Info(fmt.Sprintf("%s is already rolling out %s: following that deployment", p.Service, revisionName(p.TaskDefinition)))
	}
	return nil, nil
}

func (p *Plan) updateService(ctx context.Context) (*types.Service, error) {
	in := *p.update
	in.Cluster, in.Service = &p.Cluster, &p.Service
	if p.newTasks {
		in.TaskDefinition = &p.TaskDefinition
	}
	p.options.Log.Info(fmt.Sprintf("updating %s in %s", p.Service, p.Cluster))
	out, err := p.api.UpdateService(ctx, &in)
	if err != nil {
		return nil, &APIError{Doing: "update service " + p.Service + " in cluster " + p.Cluster, Action: "ecs:UpdateService", Cause: err}
	}
	return out.Service, nil
}

// creationPatience is how long a new service is tried again in a cluster that
// was made a moment ago, if there is that much time: the cluster may not be
// known everywhere yet, and in a new account ECS is still making its
// service-linked role.
const creationPatience = 20 * time.Second

func (p *Plan) createService(ctx context.Context) (*types.Service, error) {
	if err := p.waitUntilGone(ctx); err != nil {
		return nil, err
	}
	in := *p.create
	in.Cluster, in.ServiceName, in.TaskDefinition = &p.Cluster, &p.Service, &p.TaskDefinition
	if in.ClientToken == nil {
		token, err := p.clientToken(&in)
		if err != nil {
			return nil, err
		}
		in.ClientToken = &token
	}
	p.options.Log.Info(fmt.Sprintf("creating %s in %s", p.Service, p.Cluster))
	start := p.options.Clock.Now()
	for n := 0; ; n++ {
		out, err := p.api.CreateService(ctx, &in)
		if err == nil {
			return out.Service, nil
		}
		refused := &APIError{Doing: "create service " + p.Service + " in cluster " + p.Cluster, Action: "ecs:CreateService", Cause: err}
		left := min(creationPatience, p.options.Timeout) - p.options.Clock.Now().Sub(start)
		if !p.CreateCluster || !notYet(err) || left <= 0 {
			return nil, refused
		}
		p.options.Log.Info(fmt.Sprintf("not accepted yet in the new cluster, trying again: %s", refused))
		if err := p.options.Clock.Sleep(ctx, min(left, p.options.pause(n))); err != nil {
			return nil, refused
		}
	}
}

// notYet says whether a new cluster may still come to accept what it refuses
// now. A wrong subnet and the missing role have one error code; only the words
// tell them apart. Where ECS rewords them the error is returned at once.
func notYet(err error) bool {
	var noCluster *types.ClusterNotFoundException
	var invalid *types.InvalidParameterException
	return errors.As(err, &noCluster) || errors.As(err, &invalid) && serviceRole.MatchString(invalid.ErrorMessage())
}

// clientToken makes a repeated CreateService the same request to ECS, not a
// second one. It depends on all that is asked for and on the deleted service
// of that name, if there is one: without that, creating the same service again
// after deleting it could be answered with the one that is gone. ECS takes up
// to 36 ASCII characters.
func (p *Plan) clientToken(in *ecs.CreateServiceInput) (string, error) {
	doc, err := encode(in, schemas.CreateServiceRequest)
	if err != nil {
		return "", err
	}
	if p.current != nil {
		doc["after"] = aws.ToTime(p.current.CreatedAt).UTC().Format(time.RFC3339Nano)
	}
	data, err := json.Marshal(doc) // keys in order
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16]), nil
}

// waitUntilGone waits for a service that is being deleted: until its last task
// has stopped (status INACTIVE), its name is taken.
func (p *Plan) waitUntilGone(ctx context.Context) error {
	start := p.options.Clock.Now()
	for n := 0; p.current != nil && aws.ToString(p.current.Status) == serviceDraining; n++ {
		if n == 0 {
			p.options.Log.Info(fmt.Sprintf("waiting for the deletion of the old %s in %s", p.Service, p.Cluster))
		}
		if p.options.Clock.Now().Sub(start) >= p.options.Timeout {
			return fmt.Errorf("create service %s in cluster %s: the service of that name is still being deleted after %s", p.Service, p.Cluster, p.options.Timeout)
		}
		if err := p.options.Clock.Sleep(ctx, p.options.pause(n)); err != nil {
			return fmt.Errorf("create service %s in cluster %s: interrupted while the old one is being deleted: %w", p.Service, p.Cluster, err)
		}
		s, _, err := p.describeService(ctx)
		if err != nil {
			return err
		}
		p.current = s
	}
	return nil
}
