//go:build !linux

package sandbox

import (
	"context"
	"errors"
	"runtime"
	"syscall"
	"time"
)

// Main does nothing: there are no sandbox stages on this system.
func Main() {}

// Process is a command that runs in a sandbox; there is none on this system.
type Process struct{}

func unavailable() *UnavailableError {
	err := errors.New("sandboxes are made of Linux namespaces, and this is " + runtime.GOOS)
	return &UnavailableError{
		Report: Report{Tried: []Attempt{{Mode: Namespaces, Err: err}}},
		hint:   "run it on Linux: a virtual machine or a Linux container will do",
	}
}

// Probe returns an *UnavailableError.
func Probe(context.Context, string) (Report, error) {
	err := unavailable()
	return err.Report, err
}

// Start returns an *UnavailableError.
func Start(context.Context, Command) (*Process, error) { return nil, unavailable() }

// RemoveAll returns an *UnavailableError.
func RemoveAll(context.Context, string) error { return unavailable() }

// HostFiles returns nil.
func HostFiles(string) map[string][]byte { return nil }

// Wait returns an *UnavailableError.
func (p *Process) Wait() (ExitStatus, error) { return ExitStatus{}, unavailable() }

// Stop returns an *UnavailableError.
func (p *Process) Stop(context.Context, time.Duration) error { return unavailable() }

// Signal does nothing.
func (p *Process) Signal(syscall.Signal) {}

// Notes returns nil.
func (p *Process) Notes() []string { return nil }

// Pid returns 0.
func (p *Process) Pid() int { return 0 }
