package sandbox

import (
	"fmt"
	"strings"
)

// Report is what Probe found out.
type Report struct {
	// Mode is the best way that works, "" when none does.
	Mode Mode
	// Tried holds every way that was tried, best first.
	Tried []Attempt
	// Notes say what the best way cannot do, and without one, which settings of this
	// machine are known to forbid sandboxes.
	Notes []string
}

// Attempt is one way that was tried.
type Attempt struct {
	Mode Mode
	// Err is why it does not work; nil when it does.
	Err error
	// Notes say what it cannot do.
	Notes []string
	// LowestPort is the lowest TCP port that root may bind in it.
	LowestPort int
}

// For returns the best way in which root can bind the TCP port, which is Mode
// unless the port is a low one. Without such a way it returns Mode; binding
// the port then fails inside with "permission denied".
func (r Report) For(port int) Mode {
	for _, a := range r.Tried {
		if a.Err == nil && a.LowestPort <= port {
			return a.Mode
		}
	}
	return r.Mode
}

// String is the report for a person, a line for each way.
func (r Report) String() string {
	var b strings.Builder
	if r.Mode == "" {
		b.WriteString("sandbox: none works on this machine\n")
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "  %s\n", n)
		}
	} else {
		fmt.Fprintf(&b, "sandbox: %s\n", r.Mode)
	}
	for _, a := range r.Tried {
		if a.Err != nil {
			fmt.Fprintf(&b, "  no   %-22s %v\n", a.Mode, a.Err)
			continue
		}
		fmt.Fprintf(&b, "  yes  %s\n", a.Mode)
		for _, n := range a.Notes {
			fmt.Fprintf(&b, "         %s\n", n)
		}
	}
	return b.String()
}
