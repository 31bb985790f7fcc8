package deploy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// What ECS would refuse, or accept and then never manage to run, is found here
// before anything is touched. Only what is certain is checked: what depends on
// the region, on quotas or on other services is for ECS to say.

// checker gathers what is wrong with a pair of files.
type checker struct {
	task          *document
	service       *document
	td            *ecs.RegisterTaskDefinitionInput
	svc           *ecs.CreateServiceInput
	architectures []string // GOARCH names that the image has; empty = not known
	problems      []*FileError
}

// taskProblem records something wrong in the task definition, at the line where path
// ends, or where it would have been.
func (c *checker) taskProblem(hint string, path []any, format string, args ...any) {
	e := c.task.fail(pathText(path), c.task.root.at(path...), format, args...)
	e.hint = hint
	c.problems = append(c.problems, e)
}

func (c *checker) serviceProblem(hint string, path []any, format string, args ...any) {
	e := c.service.fail(pathText(path), c.service.root.at(path...), format, args...)
	e.hint = hint
	c.problems = append(c.problems, e)
}

func pathText(path []any) string {
	s := ""
	for _, step := range path {
		switch step := step.(type) {
		case string:
			s = join(s, step)
		case int:
			s += fmt.Sprintf("[%d]", step)
		}
	}
	return s
}

func at(path ...any) []any { return path }

// run makes the checks that need no more than the files.
func (c *checker) run() []*FileError {
	c.family()
	c.containers()
	if c.fargate() {
		c.fargateTask()
		c.fargateContainers()
		c.executionRole()
	}
	c.architecture()
	c.loadBalancers()
	return c.problems
}

// forCreation adds what a service needs that does not exist yet; an existing
// one keeps what its file leaves out.
func (c *checker) forCreation() []*FileError {
	c.network()
	if c.svc.DesiredCount == nil && c.svc.SchedulingStrategy != types.SchedulingStrategyDaemon {
		c.serviceProblem(`set "desiredCount": 1`, at("desiredCount"), "is missing: a new service needs it")
	}
	c.headroom(aws.ToInt32(c.svc.DesiredCount))
	return c.problems
}

// forUpdate adds what depends on how the service stands.
func (c *checker) forUpdate(current types.Service) []*FileError {
	desired := current.DesiredCount
	if c.svc.DesiredCount != nil {
		desired = *c.svc.DesiredCount
	}
	c.headroom(desired)
	return c.problems
}

// fargate is that the task is to run on Fargate: the task definition asks for
// it, or the service says so.
func (c *checker) fargate() bool {
	if slices.Contains(c.td.RequiresCompatibilities, types.CompatibilityFargate) || c.svc.LaunchType == types.LaunchTypeFargate {
		return true
	}
	for _, s := range c.svc.CapacityProviderStrategy {
		if p := aws.ToString(s.CapacityProvider); p == "FARGATE" || p == "FARGATE_SPOT" {
			return true
		}
	}
	return false
}

var familyName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

func (c *checker) family() {
	switch family := aws.ToString(c.td.Family); {
	case family == "":
		c.taskProblem("", at("family"), "is missing")
	case !familyName.MatchString(family):
		c.taskProblem("", at("family"), "%q is no name of a family: letters, digits, - and _, at most 255", family)
	}
	if aws.ToString(c.svc.ServiceName) == "" {
		c.serviceProblem("", at("serviceName"), "is missing")
	}
}

func (c *checker) containers() {
	seen := map[string]bool{}
	essential := false
	for i, cd := range c.td.ContainerDefinitions {
		name := aws.ToString(cd.Name)
		switch {
		case name == "":
			c.taskProblem("", at("containerDefinitions", i, "name"), "is missing")
		case seen[name]:
			c.taskProblem("", at("containerDefinitions", i, "name"), "a second container is called %s", name)
		}
		seen[name] = true
		essential = essential || cd.Essential == nil || *cd.Essential
		if len(aws.ToString(cd.Image)) > 255 {
			c.taskProblem("", at("containerDefinitions", i, "image"), "is longer than the 255 characters that ECS takes")
		}
	}
	if len(c.td.ContainerDefinitions) > 0 && !essential {
		c.taskProblem("", at("containerDefinitions"), "no container is essential: at least one must be")
	}
}

func (c *checker) fargateTask() {
	if c.td.NetworkMode != types.NetworkModeAwsvpc {
		cause := "is missing: Fargate takes awsvpc only"
		if c.td.NetworkMode != "" {
			cause = fmt.Sprintf("is %s: Fargate takes awsvpc only", c.td.NetworkMode)
		}
		c.taskProblem(`set "networkMode": "awsvpc"`, at("networkMode"), "%s", cause)
	}
	c.fargateSize()
	if s := c.td.EphemeralStorage; s != nil && (s.SizeInGiB < 21 || s.SizeInGiB > 200) {
		c.taskProblem("20 GiB come without asking", at("ephemeralStorage", "sizeInGiB"), "%d is not from 21 to 200", s.SizeInGiB)
	}
	if len(c.td.PlacementConstraints) > 0 {
		c.taskProblem("", at("placementConstraints"), "Fargate takes none")
	}
}

func (c *checker) fargateSize() {
	if c.td.Cpu == nil || c.td.Memory == nil {
		missing := "cpu"
		if c.td.Cpu != nil {
			missing = "memory"
		}
		c.taskProblem(`the smallest is "cpu": "256", "memory": "512"`, at(missing), "is missing: Fargate needs the task's cpu and memory")
		return
	}
	cpu, ok := cpuUnits(*c.td.Cpu)
	size, exists := fargateCPU(cpu)
	if !ok || !exists {
		c.taskProblem("Fargate has cpu "+cpuChoices(), at("cpu"), "Fargate has no size with %s CPU units", *c.td.Cpu)
		return
	}
	memory, ok := memoryMiB(*c.td.Memory)
	if !ok || !slices.Contains(size.memory, memory) {
		c.taskProblem(fmt.Sprintf("cpu %d goes with memory %s", cpu, size.memoryChoices()), at("memory"),
			"Fargate has no size with cpu %d and memory %s", cpu, *c.td.Memory)
		return
	}
	if pv := aws.ToString(c.svc.PlatformVersion); size.latestOnly && pv != "" && pv != "LATEST" && pv != "1.4.0" {
		c.serviceProblem(`leave it out, or set "platformVersion": "LATEST"`, at("platformVersion"),
			"cpu %d needs platform version 1.4.0, not %s", cpu, pv)
	}
	var sum int32
	for _, cd := range c.td.ContainerDefinitions {
		sum += cd.Cpu
	}
	if int(sum) > cpu {
		c.taskProblem("", at("containerDefinitions"), "the containers ask for cpu %d, the task has %d", sum, cpu)
	}
	for i, cd := range c.td.ContainerDefinitions {
		if m := aws.ToInt32(cd.Memory); int(m) > memory {
			c.taskProblem("", at("containerDefinitions", i, "memory"), "%d is more than the task's %d", m, memory)
		}
	}
}

func (c *checker) fargateContainers() {
	for i, cd := range c.td.ContainerDefinitions {
		for j, pm := range cd.PortMappings {
			if pm.HostPort != nil && *pm.HostPort != aws.ToInt32(pm.ContainerPort) {
				c.taskProblem("leave hostPort out", at("containerDefinitions", i, "portMappings", j, "hostPort"),
					"%d differs from containerPort %d: with awsvpc they are the same", *pm.HostPort, aws.ToInt32(pm.ContainerPort))
			}
		}
		if aws.ToBool(cd.Privileged) {
			c.taskProblem("", at("containerDefinitions", i, "privileged"), "Fargate runs no privileged containers")
		}
		if len(cd.Links) > 0 {
			c.taskProblem("containers of one task reach each other on localhost", at("containerDefinitions", i, "links"), "there are no links with awsvpc")
		}
		if t := aws.ToInt32(cd.StopTimeout); t > 120 {
			c.taskProblem("", at("containerDefinitions", i, "stopTimeout"), "%d is more than the 120 seconds that Fargate waits", t)
		}
	}
}

var ecrImage = regexp.MustCompile(`^\d{12}\.dkr[.-]ecr`)

// executionRole finds what only the execution role can do: on Fargate the agent
// has no other identity to pull, log and read secrets with.
func (c *checker) executionRole() {
	if aws.ToString(c.td.ExecutionRoleArn) != "" {
		return
	}
	for i, cd := range c.td.ContainerDefinitions {
		for _, need := range []struct {
			is    bool
			field string
			what  string
		}{
			{ecrImage.MatchString(aws.ToString(cd.Image)), "image", "pull an image from ECR"},
			{cd.LogConfiguration != nil && cd.LogConfiguration.LogDriver == types.LogDriverAwslogs, "logConfiguration", "write to CloudWatch Logs"},
			{len(cd.Secrets) > 0, "secrets", "read secrets"},
		} {
			if need.is {
				c.taskProblem("set executionRoleArn to a role with the policy AmazonECSTaskExecutionRolePolicy",
					at("containerDefinitions", i, need.field), "to %s on Fargate the task definition needs executionRoleArn", need.what)
				return
			}
		}
	}
}

// goArch is ECS's name for an architecture as Go and OCI name it.
var goArch = map[string]types.CPUArchitecture{"amd64": types.CPUArchitectureX8664, "arm64": types.CPUArchitectureArm64}

func (c *checker) architecture() {
	if len(c.architectures) == 0 || !c.fargate() && c.td.RuntimePlatform == nil {
		return
	}
	want, path := types.CPUArchitectureX8664, at("runtimePlatform")
	if rp := c.td.RuntimePlatform; rp != nil && rp.CpuArchitecture != "" {
		want, path = rp.CpuArchitecture, at("runtimePlatform", "cpuArchitecture")
	}
	var have []string
	for _, a := range c.architectures {
		if goArch[a] == want {
			return
		}
		have = append(have, a)
	}
	for goName, name := range goArch {
		if name == want {
			c.taskProblem(fmt.Sprintf("build with --platform linux/%s, or set runtimePlatform.cpuArchitecture to %s", goName, goArch[have[0]]),
				path, "the task runs on %s, the image is built for %s", want, strings.Join(have, ", "))
		}
	}
}

func (c *checker) network() {
	if c.td.NetworkMode == types.NetworkModeAwsvpc {
		n := c.svc.NetworkConfiguration
		if n == nil || n.AwsvpcConfiguration == nil || len(n.AwsvpcConfiguration.Subnets) == 0 {
			c.serviceProblem("set networkConfiguration.awsvpcConfiguration.subnets", at("networkConfiguration"),
				"a task with network mode awsvpc needs subnets")
		}
	}
}

func (c *checker) loadBalancers() {
	for i, lb := range c.svc.LoadBalancers {
		name := aws.ToString(lb.ContainerName)
		if name == "" {
			continue
		}
		j := slices.IndexFunc(c.td.ContainerDefinitions, func(cd types.ContainerDefinition) bool { return aws.ToString(cd.Name) == name })
		if j < 0 {
			c.serviceProblem("", at("loadBalancers", i, "containerName"), "the task definition has no container %s", name)
			continue
		}
		cd := c.td.ContainerDefinitions[j]
		if lb.ContainerPort != nil && !mapsPort(cd, *lb.ContainerPort) {
			c.serviceProblem("", at("loadBalancers", i, "containerPort"), "container %s maps no port %d", name, *lb.ContainerPort)
		}
	}
}

func mapsPort(cd types.ContainerDefinition, port int32) bool {
	for _, pm := range cd.PortMappings {
		if aws.ToInt32(pm.ContainerPort) == port {
			return true
		}
		from, to, ok := strings.Cut(aws.ToString(pm.ContainerPortRange), "-")
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if ok && err1 == nil && err2 == nil && int(port) >= first && int(port) <= last {
			return true
		}
	}
	return false
}

// headroom finds percentages that let ECS neither start a new task before it
// stops an old one nor the other way round: such a deployment never moves. In
// ECS's terms at most floor(desired·maximum/100) tasks may run and at least
// ceil(desired·minimum/100) must.
func (c *checker) headroom(desired int32) {
	dc := c.svc.DeploymentConfiguration
	if dc == nil || desired < 1 || c.svc.SchedulingStrategy == types.SchedulingStrategyDaemon ||
		dc.Strategy != "" && dc.Strategy != types.DeploymentStrategyRolling {
		return
	}
	minimum, maximum := int32(100), int32(200)
	if dc.MinimumHealthyPercent != nil {
		minimum = *dc.MinimumHealthyPercent
	}
	if dc.MaximumPercent != nil {
		maximum = *dc.MaximumPercent
	}
	most := int64(desired) * int64(maximum) / 100
	least := (int64(desired)*int64(minimum) + 99) / 100
	if most > int64(desired) || least < int64(desired) {
		return
	}
	field := "maximumPercent"
	if dc.MaximumPercent == nil {
		field = "minimumHealthyPercent"
	}
	c.serviceProblem("set maximumPercent to 200, or minimumHealthyPercent lower", at("deploymentConfiguration", field),
		"with %d desired tasks, at least %d%% and at most %d%% of them leave no room to replace a single one", desired, minimum, maximum)
}
