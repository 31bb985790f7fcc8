package main

import "syscall"

// ownProgram is this program's file, which may be gone already (go run removes
// it) and can be started all the same.
func ownProgram() (string, error) { return "/proc/self/exe", nil }

// detached makes a process that a closing terminal does not end.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
