//go:build !windows && (!unix || solaris || aix)

package store

import (
	"errors"
	"os"
)

var errNoLocks = errors.New("this system has no file locks that end with their process")

func tryLock(*os.File, bool) (bool, error) { return false, errNoLocks }
func waitLock(*os.File) error              { return errNoLocks }
