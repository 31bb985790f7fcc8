//go:build !linux

package layers

import "os"

// setXattrs does nothing: extended attributes are Linux's own.
func setXattrs(*os.File, map[string]string, bool) error { return nil }

// device does nothing: an image is run on Linux only.
func (a *applier) device(*Entry, string) error { return nil }
