//go:build !unix

package local

import (
	"errors"
	"os"
	"syscall"
)

// tryLock refuses: without locks two clouds could take one directory, and no task
// could be run here anyway.
func tryLock(*os.File, bool) error {
	return errors.New("the local cloud needs a Unix system")
}

// signalNumber knows no signals.
func signalNumber(string) syscall.Signal { return 0 }
