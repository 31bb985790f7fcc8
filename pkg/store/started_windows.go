package store

import (
	"time"

	"golang.org/x/sys/windows"
)

// machineStarted tells when the machine was started.
func machineStarted() time.Time { return time.Now().Add(-windows.DurationSinceBoot()) }
