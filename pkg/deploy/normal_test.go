package deploy

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func doc(t *testing.T, s string) map[string]any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader([]byte(s)))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return m
}

// What ECS fills in and what has no order is no difference; all else is.
func TestNormalTask(t *testing.T) {
	const base = `{"family": "f", "networkMode": "awsvpc", "cpu": "0.25 vCPU", "memory": "0.5GB", "requiresCompatibilities": ["FARGATE", "EC2"],
		"containerDefinitions": [{"name": "web", "image": "i", "portMappings": [{"containerPort": 8080}],
		"environment": [{"name": "A", "value": "1"}, {"name": "DB_PASSWORD", "value": "hunter2"}],
		"healthCheck": {"command": ["CMD", "true"]}}], "tags": [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]}`
	const described = `{"family": "f", "networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": ["EC2", "FARGATE"], "volumes": [], "placementConstraints": [],
		"runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}, "enableFaultInjection": false,
		"containerDefinitions": [{"name": "web", "image": "i", "cpu": 0, "essential": true, "mountPoints": [], "volumesFrom": [], "systemControls": [], "secrets": [], "privileged": false,
		"portMappings": [{"containerPort": 8080, "hostPort": 8080, "protocol": "tcp"}], "versionConsistency": "enabled",
		"environment": [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "A", "value": "1"}],
		"healthCheck": {"command": ["CMD", "true"], "interval": 30, "timeout": 5, "retries": 3}}], "tags": [{"key": "b", "value": "2"}, {"key": "aws:cloudformation:stack-name", "value": "x"}, {"key": "a", "value": "1"}]}`
	if d := diff(normalTask(doc(t, described)), normalTask(doc(t, base)), ""); len(d) != 0 {
		t.Errorf("no difference is one: %v", d)
	}
	for _, tc := range []struct {
		from, to string
		want     []string
	}{
		{`"image": "i"`, `"image": "j"`, []string{`containers.web.image: "i" becomes "j"`}},
		{`"value": "hunter2"`, `"value": "hunter3"`, []string{`containers.web.environment.DB_PASSWORD: "…" becomes "…"`}},
		{`{"name": "A", "value": "1"}, `, ``, []string{`containers.web.environment.A: removed, was "1"`}},
		{`"name": "web",`, `"name": "web", "essential": false,`, []string{`containers.web.essential: true becomes false`}},
		{`"name": "web",`, `"name": "web", "linuxParameters": {"swappiness": 0},`, []string{`containers.web.linuxParameters.swappiness: set to 0`}},
		{`"portMappings": [{"containerPort": 8080}]`, `"portMappings": [{"containerPort": 80}]`, []string{`containers.web.portMappings[0].containerPort: 8080 becomes 80`}},
		{`"containerDefinitions": [`, `"containerDefinitions": [{"name": "side", "image": "s", "environment": [{"name": "API_TOKEN", "value": "x"}]}, `,
			[]string{`containers.side.environment.API_TOKEN: set to "…"`, `containers.side.essential: set to true`, `containers.side.image: set to "s"`}},
		{`{"command": ["CMD", "true"]}`, `{"command": ["CMD", "true"], "retries": 5}`, []string{`containers.web.healthCheck.retries: set to 5`}},
		{`"family": "f",`, `"family": "f", "runtimePlatform": {"cpuArchitecture": "ARM64"},`, []string{`runtimePlatform.cpuArchitecture: set to "ARM64"`}},
		{`, {"key": "b", "value": "2"}`, ``, []string{`tags.b: removed, was "2"`}},
		{`["CMD", "true"]`, `["CMD", "true", "x"]`, []string{`containers.web.healthCheck.command: ["CMD","true"] becomes ["CMD","true","x"]`}},
	} {
		var got []string
		for _, c := range diff(normalTask(doc(t, described)), normalTask(doc(t, edit(base, tc.from, tc.to))), "") {
			got = append(got, c.String())
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s → %s (-want +got):\n%s", tc.from, tc.to, d)
		}
	}
	// A role by its name is the role that ECS tells the ARN of.
	if d := diff(map[string]any{"taskRoleArn": "arn:aws:iam::1:role/app"}, map[string]any{"taskRoleArn": "app"}, ""); len(d) != 0 {
		t.Errorf("role: %v", d)
	}
	if d := diff(map[string]any{"taskRoleArn": "arn:aws:iam::1:role/app2"}, map[string]any{"taskRoleArn": "app"}, ""); len(d) != 1 {
		t.Errorf("role: %v", d)
	}
}

func TestServiceChanges(t *testing.T) {
	const current = `{"desiredCount": 2, "platformVersion": "1.4.0", "propagateTags": "NONE", "enableExecuteCommand": false, "healthCheckGracePeriodSeconds": 0,
		"deploymentConfiguration": {"maximumPercent": 200, "minimumHealthyPercent": 100, "strategy": "ROLLING", "bakeTimeInMinutes": 0,
			"deploymentCircuitBreaker": {"enable": true, "rollback": true, "resetOnHealthyTask": true}, "alarms": {"alarmNames": [], "enable": false, "rollback": false}},
		"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["b", "a"], "securityGroups": ["s"], "assignPublicIp": "DISABLED"}},
		"loadBalancers": [{"targetGroupArn": "t2", "containerName": "web", "containerPort": 81}, {"targetGroupArn": "t1", "containerName": "web", "containerPort": 80}],
		"placementStrategy": [{"type": "spread", "field": "zone"}, {"type": "binpack", "field": "cpu"}]}`
	for _, tc := range []struct {
		want     string
		settings string // changed, joined by a blank
	}{
		{`{}`, ""},
		{`{"desiredCount": 2, "platformVersion": "LATEST", "propagateTags": "NONE", "enableExecuteCommand": false, "enableECSManagedTags": false, "deploymentController": {"type": "ECS"}, "serviceRegistries": []}`, ""},
		{`{"deploymentConfiguration": {"maximumPercent": 200.0, "deploymentCircuitBreaker": {"enable": true, "rollback": true}}}`, ""},
		{`{"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["a", "b"], "securityGroups": ["s"]}}}`, ""},
		{`{"loadBalancers": [{"targetGroupArn": "t1", "containerName": "web", "containerPort": 80}, {"targetGroupArn": "t2", "containerName": "web", "containerPort": 81}]}`, ""},
		{`{"serviceConnectConfiguration": {"enabled": true, "namespace": "n"}}`, ""},
		{`{"serviceConnectConfiguration": {"enabled": true, "namespace": "m"}}`, "serviceConnectConfiguration"},
		{`{"monitoring": {"metricConfigurations": []}}`, ""},
		{`{"desiredCount": 3}`, "desiredCount"},
		{`{"platformVersion": "1.3.0"}`, "platformVersion"},
		{`{"loadBalancers": []}`, "loadBalancers"},
		{`{"loadBalancers": [{"targetGroupArn": "t1", "containerName": "web", "containerPort": 80}, {"targetGroupArn": "t1", "containerName": "web", "containerPort": 80}]}`, "loadBalancers"},
		{`{"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["a", "b"], "assignPublicIp": "ENABLED"}}}`, "networkConfiguration"},
		{`{"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": false}}}`, "deploymentConfiguration"},
		{`{"placementStrategy": [{"type": "binpack", "field": "cpu"}, {"type": "spread", "field": "zone"}]}`, "placementStrategy"},
		{`{"enableExecuteCommand": true, "healthCheckGracePeriodSeconds": 30, "propagateTags": "SERVICE"}`, "enableExecuteCommand healthCheckGracePeriodSeconds propagateTags"},
		{`{"launchType": "EC2", "role": "x", "tags": [{"key": "a"}], "clientToken": "t"}`, ""}, // not UpdateService's
	} {
		s := serviceState{service: doc(t, current), deployment: doc(t, `{"serviceConnectConfiguration": {"enabled": true, "namespace": "n", "services": []}}`)}
		changes, settings := s.changes(doc(t, tc.want))
		if got := strings.Join(settings, " "); got != tc.settings || (len(changes) == 0) != (got == "") {
			t.Errorf("%s: %v", tc.want, changes)
		}
	}
}
