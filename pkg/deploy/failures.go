package deploy

import (
	"regexp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Why ECS tasks stop, and what to do about it: a table, gone through from the
// top. Sources: the ECS API's TaskStopCode; in the Amazon ECS Developer Guide
// "Stopped tasks error codes", "CannotPullContainer task errors" and "Service
// event messages". The texts are ECS's own and may be reworded at any time;
// what is not recognised is shown as ECS said it.

// class groups the causes of stopped tasks by who has to do something.
type class string

const (
	classImage      class = "image"    // it is not there
	classArch       class = "arch"     // it is for another processor
	classIAM        class = "iam"      // a role lacks a permission
	classNetwork    class = "network"  // no way from the subnet to AWS
	classRegistry   class = "registry" // the registry refuses for now
	classSize       class = "size"     // the disk is too small
	classConfig     class = "config"   // something that the files name is not there
	classLogs       class = "logs"     // the log group
	classCapacity   class = "capacity" // AWS has no room, or the account's quota
	classMemory     class = "memory"   // the task used more than it has
	classCommand    class = "command"  // the command cannot be started
	classApp        class = "app"      // the program ended
	classCrash      class = "crash"    // the program was ended by a fault
	classSignal     class = "signal"   // the program was killed
	classHealth     class = "health"   // a health check failed
	classAWS        class = "aws"      // passing trouble in AWS
	classHuman      class = "human"    // somebody stopped it
	classNormal     class = "normal"   // what a rollout does anyway
	classUnknown    class = "unknown"  // not in the table
	awsvpcEndpoints       = "a task in a public subnet needs assignPublicIp ENABLED; in a private one a NAT gateway, or the VPC endpoints ecr.api, ecr.dkr, logs and (gateway) s3, whose security group admits 443"
	executionPolicy       = "the execution role needs the policy AmazonECSTaskExecutionRolePolicy; a repository in another account must also allow this one in its policy"
)

// cause is one row of the table. All that it has must match.
type cause struct {
	stopCode types.TaskStopCode // "" = any
	reason   *regexp.Regexp     // in the reasons of the task and its containers; nil = any
	exit     []int32            // exit codes; nil = any
	class    class
	remedy   string // for Hint, a line; "" = nothing to do
}

func re(s string) *regexp.Regexp { return regexp.MustCompile(`(?is)` + s) }

// serviceRole is in what CreateService answers while ECS is making its
// service-linked role ("Using service-linked roles for Amazon ECS").
var serviceRole = re(`service[ -]linked role`)

var causes = []cause{
	// What a rollout or AWS's upkeep does by itself.
	{reason: re(`^Scaling activity initiated by`), class: classNormal},
	{stopCode: types.TaskStopCodeSpotInterruption, class: classNormal},
	{stopCode: types.TaskStopCodeTerminationNotice, class: classNormal},
	{reason: re(`is performing maintenance`), class: classNormal},
	{stopCode: types.TaskStopCodeInfrastructureHealth, class: classAWS},
	{stopCode: types.TaskStopCodeUserInitiated, class: classHuman},
	{reason: re(`Task stopped by \(`), class: classHuman},

	// The image.
	{reason: re(`CannotPull.*(does not contain descriptor matching platform|no match(ing manifest)? for platform)`), class: classArch,
		remedy: "the image is not built for the task's processor: build with --platform, or set runtimePlatform.cpuArchitecture"},
	{reason: re(`CannotPull.*(i/o timeout|request canceled while waiting|context canceled|context deadline|connection issue|dial tcp)`), class: classNetwork,
		remedy: awsvpcEndpoints},
	{reason: re(`CannotPull.*(not authorized|AccessDenied|denied|no basic auth|check that the role has the permissions|unauthorized)`), class: classIAM,
		remedy: executionPolicy},
	{reason: re(`CannotPull.*(toomanyrequests|rate limit)`), class: classRegistry,
		remedy: "the registry limits pulls: keep the image in ECR"},
	{reason: re(`no space left on device`), class: classSize,
		remedy: "the image and its data do not fit in 20 GiB: set ephemeralStorage.sizeInGiB (21 to 200)"},
	{reason: re(`CannotPull.*(not found|manifest unknown|failed to resolve ref|does not exist)`), class: classImage,
		remedy: "the image is not in the registry any more, or never was: push it again, and look at the repository's lifecycle policy"},

	// What the agent does before a container starts.
	{reason: re(`ResourceNotFoundException.*log|log group does not exist`), class: classLogs,
		remedy: "create the log group, or set the log option awslogs-create-group to true and allow the execution role logs:CreateLogGroup"},
	{reason: re(`ResourceNotFoundException|invalid ssm parameters|can't find the specified secret value|did not contain json key`), class: classConfig,
		remedy: "a secret or parameter named in the task definition does not exist, has no current value, or lacks the JSON key"},
	{reason: re(`unable to pull secrets or registry auth.*(AccessDenied|not authorized)`), class: classIAM,
		remedy: "the execution role (not the task role) must allow secretsmanager:GetSecretValue or ssm:GetParameters, and kms:Decrypt, on what the task definition's secrets name"},
	{reason: re(`unable to pull secrets or registry auth`), class: classNetwork,
		remedy: awsvpcEndpoints + "; for secrets also secretsmanager or ssm"},
	{reason: re(`failed to validate logger args`), class: classNetwork,
		remedy: "there is no way from the subnet to CloudWatch Logs: add the VPC endpoint logs, or a NAT gateway"},
	{reason: re(`failed to invoke EFS utils`), class: classConfig,
		remedy: "the file system cannot be mounted: look at its security group (port 2049), its mount targets and its access point"},
	{reason: re(`failed to download env files`), class: classConfig,
		remedy: "look at the ARN of the environment file, and allow the execution role s3:GetObject on it"},
	{reason: re(`Unexpected EC2 error while attempting to Create Network Interface|insufficient free addresses`), class: classNetwork,
		remedy: "the subnet has no free addresses, or the subnet or security group is gone"},
	{reason: re(`Capacity is unavailable`), class: classCapacity,
		remedy: "Fargate is short of capacity there: add subnets in other availability zones, or FARGATE beside FARGATE_SPOT"},
	{reason: re(`Timeout waiting for (network interface|EphemeralStorage)|InternalError`), class: classAWS},

	// Health checks.
	{reason: re(`failed ELB health checks`), class: classHealth,
		remedy: "the load balancer gets no good answer: compare the target group's path and port with the app's, let the app listen on 0.0.0.0, admit the load balancer in the task's security group, and give a slow start healthCheckGracePeriodSeconds"},
	{reason: re(`failed container health checks`), class: classHealth,
		remedy: "the container's healthCheck fails: its command must be in the image (slim images have no curl), and startPeriod long enough"},

	// The program.
	{reason: re(`OutOfMemory|out of memory|Killed due to memory`), class: classMemory,
		remedy: "the container used more memory than it has: raise the task's memory, or start fewer workers"},
	{reason: re(`exec format error`), class: classArch,
		remedy: "the program is for another processor than the task's: build with --platform, or set runtimePlatform.cpuArchitecture"},
	{reason: re(`executable file not found|no such file or directory`), class: classCommand,
		remedy: "the image has no such program: look at entryPoint and command in the task definition, and at the image's own"},
	{exit: []int32{127}, class: classCommand,
		remedy: "the image has no such program: look at entryPoint and command in the task definition, and at the image's own"},
	{reason: re(`permission denied`), class: classCommand,
		remedy: "the program may not be executed: look at its mode, and at the image's user"},
	{exit: []int32{126}, class: classCommand,
		remedy: "the program may not be executed: look at its mode, and at the image's user"},
	{exit: []int32{143}, class: classNormal},
	{exit: []int32{137}, class: classSignal,
		remedy: "the container was killed: it did not end within stopTimeout of SIGTERM, or ran out of memory"},
	{exit: []int32{132, 134, 139}, class: classCrash,
		remedy: "the program crashed in native code: a wheel or library may be built for another processor"},
	{stopCode: types.TaskStopCodeEssentialContainerExited, exit: []int32{0}, class: classApp,
		remedy: "the program ended at once and without an error: a service's command must stay in the foreground"},
	{stopCode: types.TaskStopCodeEssentialContainerExited, class: classApp,
		remedy: "the program ended: its log says why"},
}

func (c *cause) matches(t StoppedTask) bool {
	if c.stopCode != "" && string(c.stopCode) != t.StopCode {
		return false
	}
	if c.reason != nil && !c.reason.MatchString(t.StoppedReason) && !c.reason.MatchString(t.ContainerReason) {
		return false
	}
	return c.exit == nil || t.ExitCode != nil && slices.Contains(c.exit, *t.ExitCode)
}

// diagnose finds the row for a stopped task.
func diagnose(t StoppedTask) (class, string) {
	for i := range causes {
		if causes[i].matches(t) {
			return causes[i].class, causes[i].remedy
		}
	}
	return classUnknown, ""
}

// notice is a service event that says why a deployment does not get on.
type notice struct {
	message *regexp.Regexp
	remedy  string
}

var notices = []notice{
	{re(`because of the service deployment configuration`),
		"minimumHealthyPercent and maximumPercent leave no room to replace a task: raise maximumPercent to 200"},
	{re(`reached the limit on the number of (vCPUs|tasks) you can run concurrently`),
		"the account's Fargate quota is used up: ask for more in Service Quotas"},
	{re(`Capacity is unavailable`),
		"Fargate is short of capacity there: add subnets in other availability zones, or FARGATE beside FARGATE_SPOT"},
	{re(`Reason: Internal error`), "a subnet may lie in an availability zone without Fargate"},
	{re(`is unable to consistently start tasks successfully`), "tasks stop soon after they start: their reasons are above"},
	{re(`is unhealthy in \(target-group`),
		"the load balancer gets no good answer: compare the target group's path and port with the app's, let the app listen on 0.0.0.0, and admit the load balancer in the task's security group"},
	{re(`was unable to|failed to (launch|register)|deployment failed|rolling back to`), ""},
}

// noticed says whether a service event tells of trouble, and what to do.
func noticed(message string) (bool, string) {
	for _, n := range notices {
		if n.message.MatchString(message) {
			return true, n.remedy
		}
	}
	return false, ""
}
