package build

import (
	"errors"
	"fmt"

	"github.com/boyabuild/boyabuild/pkg/dockerfile"
)

// StepError reports a step of a Dockerfile that was not done, for a reason that
// lies elsewhere: an index that does not answer, versions that do not fit.
type StepError struct {
	Origin dockerfile.Origin
	Err    error
}

func (e *StepError) Error() string {
	return fmt.Sprintf("%s:%d: %s: %v", e.Origin.File, e.Origin.Line, clip(e.Origin.Text, 60), e.Err)
}

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// InputError reports a step of a Dockerfile that is wrong, or that asks for
// what cannot be done.
type InputError struct {
	Origin dockerfile.Origin
	Err    error
	Advice string
}

func (e *InputError) Error() string {
	return fmt.Sprintf("%s:%d: %s: %v", e.Origin.File, e.Origin.Line, clip(e.Origin.Text, 60), e.Err)
}

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

// Position returns the Dockerfile and the line.
func (e *InputError) Position() (string, int) { return e.Origin.File, e.Origin.Line }

// Hint says what to do.
func (e *InputError) Hint() string {
	if e.Advice != "" {
		return e.Advice
	}
	var hinted interface{ Hint() string }
	if errors.As(e.Err, &hinted) {
		return hinted.Hint()
	}
	return ""
}

// clip shortens an instruction for a message.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
