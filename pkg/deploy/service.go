package deploy

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/schemas"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// A service's file says what is to be; what it leaves out stays as it is. So a
// service is compared one way: does what ECS has cover what the file wants?

// updatable are the settings that UpdateService changes, in order.
func updatable() []string {
	var names []string
	for _, name := range memberNames(schemas.UpdateServiceRequest) {
		switch name {
		case "cluster", "service", "taskDefinition", "forceNewDeployment":
		default:
			if schemas.CreateServiceRequest.Member(name) != nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// startsDeployment is that changing the setting makes ECS replace the running
// tasks. Source: the documentation of UpdateService, parameter by parameter.
func startsDeployment(setting string) bool {
	switch setting {
	case "networkConfiguration", "platformVersion", "loadBalancers", "serviceRegistries",
		"serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations":
		return true
	}
	return false
}

// onTasks is that running tasks keep the old value until they are replaced.
func onTasks(setting string) bool {
	switch setting {
	case "enableExecuteCommand", "enableECSManagedTags", "propagateTags", "capacityProviderStrategy":
		return true
	}
	return false
}

// serviceState is a service as ECS describes it, as documents: the settings of
// a service are spread over the service, its primary deployment and, for the
// newest ones, only its service revision.
type serviceState struct {
	service, deployment, revision map[string]any
}

func (s serviceState) setting(name string) any {
	switch name {
	case "serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations":
		return s.deployment[name]
	case "gatewayConnectors", "monitoring":
		return s.revision[name]
	}
	return s.service[name]
}

// changes lists what UpdateService has to change so that the service is as the
// file wants it, and the settings that these changes are in.
func (s serviceState) changes(want map[string]any) (changes []Change, settings []string) {
	for _, name := range updatable() {
		value, ok := want[name]
		if !ok {
			continue
		}
		var found []Change
		if name == "platformVersion" {
			found = s.platformVersion(value)
		} else {
			found = missing(s.setting(name), value, name)
		}
		if len(found) > 0 {
			changes = append(changes, found...)
			settings = append(settings, name)
		}
	}
	return changes, settings
}

// latestPlatform is what the platform version LATEST stands for on Linux; ECS
// describes a service that asked for the one with the other.
const latestPlatform = "1.4.0"

func (s serviceState) platformVersion(want any) []Change {
	canonical := func(v any) any {
		if v == nil || v == "" || v == latestPlatform {
			return "LATEST"
		}
		return v
	}
	have := s.service["platformVersion"]
	if have == nil {
		have = s.deployment["platformVersion"]
	}
	if canonical(have) == canonical(want) {
		return nil
	}
	return []Change{{Path: "platformVersion", Have: jsonText(have), Want: jsonText(want)}}
}

// missing lists what of want is not in have. Objects may have more than is
// wanted: ECS fills in defaults. Lists are sets (subnets, security groups, load
// balancers) with as many members, but for placementStrategy, whose order counts.
func missing(have, want any, path string) []Change {
	switch w := want.(type) {
	case map[string]any:
		h := asObject(have)
		var all []Change
		for _, k := range sortedKeys(keySet(w)) {
			all = append(all, missing(h[k], w[k], join(path, k))...)
		}
		return all
	case []any:
		h, _ := have.([]any)
		if coversList(h, w, path) {
			return nil
		}
		return []Change{{Path: path, Have: jsonText(have), Want: jsonText(want)}}
	}
	if have == nil && isDefault(path, want) || equalScalars(have, want) {
		return nil
	}
	return []Change{{Path: path, Have: jsonText(have), Want: jsonText(want)}}
}

func keySet(m map[string]any) map[string]bool {
	set := map[string]bool{}
	for k := range m {
		set[k] = true
	}
	return set
}

func coversList(have, want []any, path string) bool {
	if len(have) != len(want) {
		return false
	}
	ordered := path == "placementStrategy"
	left := slices.Clone(have)
	for i, w := range want {
		fits := func(h any) bool { return len(missing(h, w, path+"[]")) == 0 }
		if ordered {
			if !fits(have[i]) {
				return false
			}
			continue
		}
		j := slices.IndexFunc(left, fits)
		if j < 0 {
			return false
		}
		left = slices.Delete(left, j, j+1)
	}
	return true
}

func equalScalars(a, b any) bool {
	x, xok := a.(json.Number)
	y, yok := b.(json.Number)
	if xok && yok {
		f, err1 := x.Float64()
		g, err2 := y.Float64()
		return err1 == nil && err2 == nil && f == g
	}
	return a == b
}

// isDefault is that ECS takes the value for one that is not there, and so may
// leave it out of its answers.
func isDefault(path string, v any) bool {
	switch path {
	case "deploymentConfiguration.maximumPercent":
		return equalScalars(v, json.Number("200"))
	case "deploymentConfiguration.minimumHealthyPercent":
		return equalScalars(v, json.Number("100"))
	case "deploymentConfiguration.strategy":
		return v == "ROLLING"
	case "deploymentConfiguration.deploymentCircuitBreaker.resetOnHealthyTask":
		return v == true
	case "deploymentController.type":
		return v == "ECS"
	case "propagateTags":
		return v == "NONE"
	case "availabilityZoneRebalancing", "networkConfiguration.awsvpcConfiguration.assignPublicIp":
		return v == "DISABLED"
	}
	return v == false || v == "" || v == nil || equalScalars(v, json.Number("0"))
}

// checkFixed finds settings in the file that ECS cannot change any more.
func (d *document) checkFixed(want map[string]any, current types.Service) *FileError {
	if controller := current.DeploymentController; controller != nil && controller.Type != "" && controller.Type != types.DeploymentControllerTypeEcs {
		return d.fail("", d.root.line, "service %s is rolled out by %s: boyabuild deploys only what ECS itself rolls out", aws.ToString(current.ServiceName), controller.Type)
	}
	for _, fixed := range []struct{ name, have, unset string }{
		{"launchType", string(current.LaunchType), "a capacity provider strategy"},
		{"schedulingStrategy", string(current.SchedulingStrategy), "REPLICA"},
	} {
		value, ok := want[fixed.name]
		have := fixed.have
		if have == "" {
			have = fixed.unset
		}
		if ok && value != have {
			e := d.fail(fixed.name, d.root.at(fixed.name), "is %v, but service %s runs with %s, which ECS cannot change", value, aws.ToString(current.ServiceName), have)
			e.hint = fmt.Sprintf("leave %s as it is, or give the service another name", fixed.name)
			return e
		}
	}
	return nil
}

// missingTags are the tags of the file that the service lacks or has with
// another value. Tags that the file does not name are somebody else's.
func missingTags(current []types.Tag, want []types.Tag) []types.Tag {
	have := map[string]string{}
	for _, t := range current {
		have[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	var all []types.Tag
	for _, t := range want {
		if v, ok := have[aws.ToString(t.Key)]; !ok || v != aws.ToString(t.Value) {
			all = append(all, t)
		}
	}
	return all
}
