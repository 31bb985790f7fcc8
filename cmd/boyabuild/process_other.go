//go:build !linux

package main

import (
	"os"
	"syscall"
)

// ownProgram is this program's file.
func ownProgram() (string, error) { return os.Executable() }

// detached has no attributes: tasks run on Linux only, and so no local cloud is
// left behind elsewhere.
func detached() *syscall.SysProcAttr { return nil }
