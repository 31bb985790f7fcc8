package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/smithy-go"
)

// FileError is something wrong in a task definition or service file.
type FileError struct {
	File  string
	Line  int    // 0 = unknown
	Path  string // "containerDefinitions[0].cpu", "" = the file as a whole
	Cause string
	hint  string
}

func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Cause)
	return b.String()
}

// Position is the file and the line; line 0 = unknown.
func (e *FileError) Position() (file string, line int) { return e.File, e.Line }

// Hint says what to write instead; "" where the cause says it.
func (e *FileError) Hint() string { return e.hint }

// APIError is that a call of ECS was refused, or did not get through.
type APIError struct {
	Doing  string // "register task definition boyacky-taskdef"
	Action string // the IAM action it takes: "ecs:RegisterTaskDefinition"
	Cause  error
}

func (e *APIError) Error() string {
	var api smithy.APIError
	switch {
	case errors.Is(e.Cause, context.Canceled):
		return e.Doing + ": interrupted"
	case errors.As(e.Cause, &api):
		return fmt.Sprintf("%s: %s: %s", e.Doing, api.ErrorCode(), oneLine(api.ErrorMessage()))
	}
	return e.Doing + ": " + oneLine(e.Cause.Error())
}

// Unwrap gives the cause.
func (e *APIError) Unwrap() error { return e.Cause }

// Hint says which permission or configuration the call takes; "" where AWS's
// answer is about the request itself.
func (e *APIError) Hint() string {
	var api smithy.APIError
	switch {
	case errors.Is(e.Cause, context.Canceled):
		return ""
	case isDenied(e.Cause):
		hint := "the AWS credentials in use must allow " + e.Action
		switch e.Action {
		case "ecs:RegisterTaskDefinition", "ecs:CreateService", "ecs:UpdateService":
			hint += ", and iam:PassRole for the roles named in the task definition"
		}
		return hint
	case errors.As(e.Cause, &api):
		return ""
	}
	return "this takes AWS credentials and a region, from the environment, a profile or the machine's role: aws sts get-caller-identity shows which are in use"
}

// isDenied is that IAM refused the call. Services answer with the modelled
// error or with the code that the AWS front end uses for all of them.
func isDenied(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "AccessDeniedException", "AccessDenied", "UnauthorizedOperation":
		return true
	}
	return false
}

// oneLine makes a text from outside fit for an error of one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
