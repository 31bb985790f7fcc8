//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package store

import (
	"time"

	"golang.org/x/sys/unix"
)

// machineStarted tells when the machine was started; zero where that is not
// known.
func machineStarted() time.Time {
	t, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return time.Time{}
	}
	return time.Unix(t.Unix())
}
