//go:build unix

package local

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// tryLock takes the lock of an open file; errLocked when another process or another
// open file has it. The lock goes when the file is closed.
func tryLock(f *os.File, exclusive bool) error {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return errLocked
	}
	return err
}

// signalNumber is the number of a signal by its name, 0 when there is none.
func signalNumber(name string) syscall.Signal { return unix.SignalNum(name) }
