//go:build unix

package main

import "syscall"

// endProcess asks a process that a script left behind to end, or ends it.
func endProcess(pid int, now bool) {
	signal := syscall.SIGTERM
	if now {
		signal = syscall.SIGKILL
	}
	_ = syscall.Kill(pid, signal)
}
