package sandbox

import (
	"fmt"
	"strings"
)

// UnavailableError says that no way of running a command apart from this machine
// works here, what was tried and why it did not work.
type UnavailableError struct {
	Report Report // its Mode is ""
	hint   string
}

func (e *UnavailableError) Error() string {
	var b strings.Builder
	b.WriteString("no sandbox can be made on this machine")
	if len(e.Report.Notes) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(e.Report.Notes, "; "))
	}
	for i, a := range e.Report.Tried {
		fmt.Fprintf(&b, "%c %s: %v", ":;"[min(i, 1)], a.Mode, a.Err)
	}
	return b.String()
}

// Hint says what would make a sandbox possible.
func (e *UnavailableError) Hint() string { return e.hint }

// StartError says that the sandbox was made but the command could not be started
// in it, because of what the image or the command says.
type StartError struct {
	// Arg is the command's first word.
	Arg string
	// Reason is the cause: `executable "pythn3" not found in $PATH (/usr/bin)`.
	Reason string
	// ExitCode is what a shell or a container runtime reports: 127 when the
	// executable does not exist, 126 when it cannot be run.
	ExitCode int
	hint     string
}

func (e *StartError) Error() string { return fmt.Sprintf("start %q: %s", e.Arg, e.Reason) }

// Hint says what to look at, or is "".
func (e *StartError) Hint() string { return e.hint }
