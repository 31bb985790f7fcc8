package dockerignore

import (
	"os"

	"golang.org/x/sys/unix"
)

// nonblock keeps the opening of a named pipe from waiting for a writer.
const nonblock = unix.O_NONBLOCK

// root is an open folder.
type root struct {
	file *os.File // for openat2
	root *os.Root // where there is no openat2; else nil
}

func openFolder(name string) (*root, error) {
	r, err := openByOpenat2(name)
	if err == unix.ENOSYS || err == unix.EPERM {
		// The kernel doesn't know it, or a filter of system calls refuses it.
		return openByRoot(name)
	}
	return r, err
}

func openByOpenat2(name string) (*root, error) {
	f, err := os.OpenFile(name, unix.O_DIRECTORY|unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	r := &root{file: f}
	fd, err := r.openat2(".", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		f.Close()
		return nil, err
	}
	return r, unix.Close(fd)
}

func openByRoot(name string) (*root, error) {
	r, err := os.OpenRoot(name)
	return &root{root: r}, err
}

func (r *root) close() error {
	if r.root != nil {
		return r.root.Close()
	}
	return r.file.Close()
}

// openat2 opens what lies below the root, with no symbolic link on the way to
// it and none at its end.
func (r *root) openat2(path string, flags uint64) (fd int, err error) {
	conn, err := r.file.SyscallConn()
	if err != nil {
		return -1, err
	}
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	e := conn.Control(func(dir uintptr) {
		// EAGAIN is for something that was renamed at a bad moment (or for a
		// lease on a file, which may last).
		for range 100 {
			if fd, err = unix.Openat2(int(dir), path, &how); err != unix.EINTR && err != unix.EAGAIN {
				return
			}
		}
	})
	if e != nil {
		return -1, os.ErrClosed // the one reason for Control not to run it
	}
	return fd, err
}

func (r *root) open(path string) (*os.File, error) {
	if r.root != nil {
		return openRegular(r.root, path)
	}
	fd, err := r.openat2(path, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_NOCTTY|nonblock)
	switch err {
	case nil:
	case unix.ELOOP, unix.ENOTDIR, unix.ENXIO: // a link, on the way too; a socket
		return nil, errIrregular
	default:
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errIrregular
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// withFolder calls f with a descriptor of the folder at path ("." = the root),
// to be used until f returns.
func (r *root) withFolder(path string, f func(fd int) error) error {
	if r.root == nil {
		fd, err := r.openat2(path, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_DIRECTORY)
		switch err {
		case nil:
		case unix.ELOOP, unix.ENOTDIR:
			return errNoFolder
		default:
			return err
		}
		defer unix.Close(fd)
		return f(fd)
	}
	dir, err := r.root.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	conn, err := dir.SyscallConn()
	if err != nil {
		return err
	}
	if e := conn.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}
