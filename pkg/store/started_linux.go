package store

import (
	"time"

	"golang.org/x/sys/unix"
)

// machineStarted tells when the machine was started; zero where that is not
// known. It is the clock's answer of now, and up to a second late.
func machineStarted() time.Time {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(info.Uptime) * time.Second)
}
