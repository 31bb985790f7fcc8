//go:build !linux

package dockerignore

import "testing"

func everyOpener() openers { return openers{"os.Root": NewOpener} }

func special(*testing.T, string) {}
