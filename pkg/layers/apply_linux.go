package layers

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// setXattrs sets extended attributes on an open file. What the file system or
// an ordinary user cannot have is left out unless strict.
func setXattrs(f *os.File, xattrs map[string]string, strict bool) error {
	for name, value := range xattrs {
		err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
		if err == nil || errors.Is(err, unix.ENOTSUP) || (!strict && errors.Is(err, unix.EPERM)) {
			continue
		}
		return fmt.Errorf("set extended attribute %s: %w", name, err)
	}
	return nil
}

// device makes a device node or a named pipe.
func (a *applier) device(e *Entry, at string) error {
	dir, err := a.root.Open(orDot(parent(at)))
	if err != nil {
		return err
	}
	defer dir.Close()
	mode := e.Mode
	switch e.Kind {
	case CharDevice:
		mode |= unix.S_IFCHR
	case BlockDevice:
		mode |= unix.S_IFBLK
	case FIFO:
		mode |= unix.S_IFIFO
	}
	number := int(unix.Mkdev(uint32(e.Major), uint32(e.Minor)))
	if err := unix.Mknodat(int(dir.Fd()), path.Base(at), mode, number); err != nil {
		return err
	}
	if err := a.chown(e, at); err != nil {
		return err
	}
	return a.root.Chmod(at, fileMode(e.Mode))
}
