package local

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// validate checks what RegisterTaskDefinition checks on AWS and other emulators let
// through, with AWS's words where they are known. It also writes the task's size in
// its usual spelling.
func (d *definition) validate() error {
	if !familyName.MatchString(d.Family) {
		return clientError("Family contains invalid characters.")
	}
	if len(d.Containers) == 0 {
		return clientError("Container list cannot be empty.")
	}
	seen := map[string]bool{}
	essential := false
	for i := range d.Containers {
		c := &d.Containers[i]
		if seen[c.Name] {
			return clientError("Container names must be unique: %s is there twice.", c.Name)
		}
		seen[c.Name] = true
		essential = essential || c.essential()
		if err := c.validate(d); err != nil {
			return err
		}
	}
	if !essential {
		return clientError("At least one container of the task definition must be essential.")
	}
	if _, err := d.startOrder(); err != nil {
		return err
	}
	if s := d.Ephemeral; s != nil && (s.GiB < 21 || s.GiB > 200) {
		return clientError("Invalid ephemeralStorage sizeInGiB %d: it must be from 21 to 200.", s.GiB)
	}
	if slices.Contains(d.Compatibilities, "FARGATE") {
		return d.validateFargate()
	}
	return nil
}

var containerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

func (c *containerDefinition) validate(d *definition) error {
	switch {
	case c.Name == "":
		return clientError("Container.name should not be null or empty.")
	case !containerName.MatchString(c.Name):
		return clientError("Container.name contains invalid characters.")
	case strings.TrimSpace(c.Image) == "":
		return clientError("Container.image should not be null or empty.")
	case len(c.Image) > 255:
		return clientError("Container.image repository should be 255 characters or less.")
	case c.StopTimeout != nil && (*c.StopTimeout < 0 || *c.StopTimeout > 120):
		return clientError("Invalid stopTimeout %d of container %s: it must be from 0 to 120 seconds.", *c.StopTimeout, c.Name)
	case c.HealthCheck != nil && len(c.HealthCheck.Command) == 0:
		return clientError("Health check command of container %s is empty.", c.Name)
	case d.NetworkMode == "awsvpc" && (len(c.Links) > 0 || c.Hostname != "" || len(c.DNSServers) > 0 || len(c.DNSSearch) > 0 || len(c.ExtraHosts) > 0):
		return clientError("Links, hostname, dnsServers, dnsSearchDomains and extraHosts are not supported on container %s when networkMode=awsvpc.", c.Name)
	}
	for _, p := range c.PortMappings {
		if p.Container < 1 || p.Container > 65535 {
			return clientError("Invalid containerPort %d of container %s.", p.Container, c.Name)
		}
		if d.NetworkMode == "awsvpc" && p.Host != nil && *p.Host != 0 && *p.Host != p.Container {
			return clientError("When networkMode=awsvpc, the host ports and container ports in port mappings must match.")
		}
		if p.Protocol != "" && p.Protocol != "tcp" && p.Protocol != "udp" {
			return clientError("Invalid protocol %q of a port mapping of container %s.", p.Protocol, c.Name)
		}
	}
	for _, e := range slices.Concat(c.Environment, c.Secrets) {
		if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") {
			return clientError("Environment variable name %q of container %s is not valid.", e.Name, c.Name)
		}
	}
	return nil
}

func (d *definition) validateFargate() error {
	if d.NetworkMode != "awsvpc" {
		return clientError("Fargate only supports network mode ‘awsvpc’.")
	}
	if d.CPU == "" {
		return clientError("Fargate requires that 'cpu' be defined at the task level.")
	}
	if d.Memory == "" {
		return clientError("Fargate requires that 'memory' be defined at the task level.")
	}
	cpu, ok := units(d.CPU, "vcpu")
	if !ok || fargateMemory[cpu] == nil {
		return clientError("Invalid 'cpu' setting for task.")
	}
	memory, ok := units(d.Memory, "gb")
	if !ok || !fargateMemory[cpu].has(memory) {
		return clientError("No Fargate configuration exists for given values.")
	}
	d.CPU, d.Memory = strconv.Itoa(cpu), strconv.Itoa(memory)
	for _, c := range d.Containers {
		switch {
		case c.Privileged:
			return clientError("Privileged containers are not supported on Fargate: %s.", c.Name)
		case c.CPU > cpu || (c.Memory != nil && *c.Memory > memory):
			return clientError("Invalid setting for container '%s'. Its cpu and memory must not exceed the task's.", c.Name)
		case len(c.Secrets) > 0 && d.ExecutionRole == "":
			return clientError("When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
		case c.Logging != nil && c.Logging.Driver == "awslogs" && d.ExecutionRole == "":
			return clientError("Fargate requires task definition to have execution role ARN to support log driver awslogs.")
		}
	}
	return nil
}

// sizes are the amounts of memory that go with a task CPU, in MiB: from the first to
// the last by steps, or those listed.
type sizes []int

func (s sizes) has(n int) bool { return slices.Contains(s, n) }

func steps(from, to, by int) sizes {
	var s sizes
	for n := from; n <= to; n += by {
		s = append(s, n)
	}
	return s
}

// fargateMemory is the table of task sizes by CPU units (Amazon ECS Developer Guide,
// "Task CPU and memory").
var fargateMemory = map[int]sizes{
	256:   {512, 1024, 2048},
	512:   steps(1024, 4096, 1024),
	1024:  steps(2048, 8192, 1024),
	2048:  steps(4096, 16384, 1024),
	4096:  steps(8192, 30720, 1024),
	8192:  steps(16384, 61440, 4096),
	16384: steps(32768, 122880, 8192),
	32768: {61440, 122880, 249856},
}

// units reads "1024" or "1 vCPU", "2048" or "2GB": whole numbers are units or MiB,
// and with the suffix 1024 times that.
func units(s, suffix string) (int, bool) {
	lower := strings.ToLower(strings.TrimSpace(s))
	number, scaled := strings.CutSuffix(lower, suffix)
	number = strings.TrimSpace(number)
	if !scaled {
		n, err := strconv.Atoi(number)
		return n, err == nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f <= 0 || f > 1024 {
		return 0, false
	}
	return int(f * 1024), true
}

// startOrder sorts the containers so that each comes after those that it depends
// on, and otherwise as they are written.
func (d *definition) startOrder() ([]*containerDefinition, error) {
	const visiting, done = 1, 2
	state := map[string]int{}
	var order []*containerDefinition
	var visit func(*containerDefinition) error
	visit = func(c *containerDefinition) error {
		switch state[c.Name] {
		case visiting:
			return clientError("Invalid dependsOn: container %s depends on itself.", c.Name)
		case done:
			return nil
		}
		state[c.Name] = visiting
		for _, dep := range c.DependsOn {
			on := d.container(dep.Container)
			if on == nil {
				return clientError("Invalid dependsOn: container %s depends on %s, which is not in the task definition.", c.Name, dep.Container)
			}
			switch dep.Condition {
			case "START", "COMPLETE", "SUCCESS":
			case "HEALTHY":
				if on.HealthCheck == nil {
					return clientError("Invalid dependsOn: container %s must have a healthCheck for %s to depend on it being HEALTHY.", on.Name, c.Name)
				}
			default:
				return clientError("Invalid dependsOn: container %s has the condition %q.", c.Name, dep.Condition)
			}
			if (dep.Condition == "COMPLETE" || dep.Condition == "SUCCESS") && on.essential() {
				return clientError("Invalid dependsOn: container %s waits for the end of %s, which is essential.", c.Name, on.Name)
			}
			if err := visit(on); err != nil {
				return err
			}
		}
		state[c.Name] = done
		order = append(order, c)
		return nil
	}
	for i := range d.Containers {
		if err := visit(&d.Containers[i]); err != nil {
			return nil, err
		}
	}
	return order, nil
}
