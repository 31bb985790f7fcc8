//go:build !linux && !windows && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package store

import "time"

// machineStarted tells that it is not known when the machine was started.
func machineStarted() time.Time { return time.Time{} }
