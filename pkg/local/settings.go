package local

import (
	"bytes"
	"encoding/json"
	"slices"
)

// settings are what CreateService and UpdateService set. What matters to AWS only
// is kept as it was sent.
type settings struct {
	TaskDefinition string          `json:"taskDefinition,omitempty"`
	DesiredCount   *int            `json:"desiredCount,omitempty"`
	Deployment     *rolloutRules   `json:"deploymentConfiguration,omitempty"`
	LoadBalancers  *[]loadBalancer `json:"loadBalancers,omitempty"`
	GracePeriod    *int            `json:"healthCheckGracePeriodSeconds,omitempty"`

	PlatformVersion      string          `json:"platformVersion,omitempty"`
	Network              json.RawMessage `json:"networkConfiguration,omitempty"`
	CapacityProviders    json.RawMessage `json:"capacityProviderStrategy,omitempty"`
	PlacementConstraints json.RawMessage `json:"placementConstraints,omitempty"`
	PlacementStrategy    json.RawMessage `json:"placementStrategy,omitempty"`
	Registries           json.RawMessage `json:"serviceRegistries,omitempty"`
	ExecuteCommand       *bool           `json:"enableExecuteCommand,omitempty"`
	ManagedTags          *bool           `json:"enableECSManagedTags,omitempty"`
	PropagateTags        string          `json:"propagateTags,omitempty"`
	ZoneRebalancing      string          `json:"availabilityZoneRebalancing,omitempty"`
}

// rolloutRules are a deploymentConfiguration.
type rolloutRules struct {
	Strategy       string          `json:"strategy,omitempty"`
	MaximumPercent *int            `json:"maximumPercent,omitempty"`
	MinimumPercent *int            `json:"minimumHealthyPercent,omitempty"`
	Breaker        *breaker        `json:"deploymentCircuitBreaker,omitempty"`
	Alarms         json.RawMessage `json:"alarms,omitempty"`
	Hooks          json.RawMessage `json:"lifecycleHooks,omitempty"`
	BakeTime       json.RawMessage `json:"bakeTimeInMinutes,omitempty"`
}

// breaker is a deploymentCircuitBreaker.
type breaker struct {
	Enable    bool  `json:"enable"`
	Rollback  bool  `json:"rollback"`
	Reset     *bool `json:"resetOnHealthyTask,omitempty"`
	Threshold *struct {
		Type  string `json:"type"`
		Value int    `json:"value"`
	} `json:"thresholdConfiguration,omitempty"`
}

type loadBalancer struct {
	TargetGroup   string          `json:"targetGroupArn,omitempty"`
	Name          string          `json:"loadBalancerName,omitempty"`
	ContainerName string          `json:"containerName,omitempty"`
	ContainerPort int             `json:"containerPort,omitempty"`
	Advanced      json.RawMessage `json:"advancedConfiguration,omitempty"`
}

// fill writes the defaults of CreateService.
func (s *settings) fill(t *taskDefinition) {
	number := func(n int) *int { return &n }
	s.TaskDefinition = t.Arn
	if s.Deployment == nil {
		s.Deployment = &rolloutRules{}
	}
	d := s.Deployment
	d.Strategy = first(d.Strategy, "ROLLING")
	if d.MaximumPercent == nil {
		d.MaximumPercent = number(200)
	}
	if d.MinimumPercent == nil {
		d.MinimumPercent = number(100)
	}
	if d.Breaker == nil {
		d.Breaker = &breaker{}
	}
	s.PlatformVersion = first(s.PlatformVersion, "LATEST")
	s.ZoneRebalancing = first(s.ZoneRebalancing, "ENABLED")
	s.PropagateTags = first(s.PropagateTags, "NONE")
}

func (r *rolloutRules) validate() error {
	switch {
	case r.Strategy != "" && r.Strategy != "ROLLING":
		return unsupported("has the deployment strategy ROLLING only, not %s", r.Strategy)
	case given(r.Hooks) && string(r.Hooks) != "[]":
		return unsupported("has no deployment lifecycle hooks")
	case r.MaximumPercent != nil && *r.MaximumPercent < 1:
		return invalid("maximumPercent must be positive")
	case r.MinimumPercent != nil && (*r.MinimumPercent < 0 || *r.MinimumPercent > 100):
		return invalid("minimumHealthyPercent must be from 0 to 100")
	case r.MaximumPercent != nil && r.MinimumPercent != nil && *r.MaximumPercent <= *r.MinimumPercent && *r.MaximumPercent < 100:
		return invalid("Both maximumPercent and minimumHealthyPercent cannot be 100 or less")
	}
	return nil
}

func (s *settings) balancers() []loadBalancer {
	if s.LoadBalancers == nil {
		return nil
	}
	return *s.LoadBalancers
}

func changed(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return given(a) || given(b)
	}
	return !bytes.Equal(x.Bytes(), y.Bytes())
}

func sameBalancers(a, b []loadBalancer) bool {
	return slices.EqualFunc(a, b, func(x, y loadBalancer) bool {
		return x.TargetGroup == y.TargetGroup && x.Name == y.Name && x.ContainerName == y.ContainerName &&
			x.ContainerPort == y.ContainerPort && !changed(x.Advanced, y.Advanced)
	})
}

// merge lays what an update gives over the settings.
func (s settings) merge(in *settings) settings {
	text := func(old *string, v string) { *old = first(v, *old) }
	raw := func(old *json.RawMessage, v json.RawMessage) {
		if given(v) {
			*old = v
		}
	}
	text(&s.TaskDefinition, in.TaskDefinition)
	text(&s.PlatformVersion, in.PlatformVersion)
	text(&s.PropagateTags, in.PropagateTags)
	text(&s.ZoneRebalancing, in.ZoneRebalancing)
	raw(&s.Network, in.Network)
	raw(&s.CapacityProviders, in.CapacityProviders)
	raw(&s.PlacementConstraints, in.PlacementConstraints)
	raw(&s.PlacementStrategy, in.PlacementStrategy)
	raw(&s.Registries, in.Registries)
	over(&s.DesiredCount, in.DesiredCount)
	over(&s.LoadBalancers, in.LoadBalancers) // [] clears them
	over(&s.GracePeriod, in.GracePeriod)
	over(&s.ExecuteCommand, in.ExecuteCommand)
	over(&s.ManagedTags, in.ManagedTags)
	if d := in.Deployment; d != nil {
		rules := rolloutRules{}
		if s.Deployment != nil {
			rules = *s.Deployment
		}
		text(&rules.Strategy, d.Strategy)
		over(&rules.MaximumPercent, d.MaximumPercent)
		over(&rules.MinimumPercent, d.MinimumPercent)
		over(&rules.Breaker, d.Breaker)
		raw(&rules.Alarms, d.Alarms)
		raw(&rules.Hooks, d.Hooks)
		raw(&rules.BakeTime, d.BakeTime)
		s.Deployment = &rules
	}
	return s
}

func over[T any](old **T, v *T) {
	if v != nil {
		*old = v
	}
}
