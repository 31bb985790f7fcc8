package dockerignore

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// list fills f with the entries of the directory dir ("" = the root) that are
// wanted, in order. An error about an entry is a *WalkError.
//
// For each folder it takes an openat2, which the kernel keeps inside the root, a
// few getdents, and for each entry wanted an fstatat by its name in the folder.
func (w *walk) list(f *folder, dir string) error {
	path := dir
	if dir == "" {
		path = "."
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	return w.root.withFolder(path, func(fd int) error {
		if err := s.readNames(fd, dir); err != nil {
			return err
		}
		wanted := s.names[:0]
		for i := range s.names {
			if w.wants(f, &s.names[i]) {
				wanted = append(wanted, s.names[i])
			}
		}
		return w.stat(f, fd, wanted)
	})
}

// stat adds entries to f, which is open as fd.
func (w *walk) stat(f *folder, fd int, wanted []found) error {
	f.entries = make([]entry, 0, len(wanted))
	infos := make([]info, len(wanted)) // one allocation for all of a folder
	for i := range wanted {
		e, in := &wanted[i], &infos[i]
		in.name = base(e.path)
		err := in.fstatat(fd)
		link := ""
		if err == nil && in.mode&fs.ModeSymlink != 0 {
			link, err = readlinkat(fd, in.name)
		}
		switch err {
		case nil:
			w.add(f, e, in, link)
		case unix.ENOENT:
		default:
			return w.fail(e.path, err)
		}
	}
	return nil
}

func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// fstatat fills i with the stat data of its name in the folder fd.
func (i *info) fstatat(fd int) error {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(fd, i.name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.EINTR {
			continue
		}
		if err == nil {
			i.mode, i.stat = fileMode(st.Mode), stat(&st)
		}
		return err
	}
}

func readlinkat(fd int, name string) (string, error) {
	for buf := make([]byte, 256); ; buf = make([]byte, 2*len(buf)) {
		n, err := unix.Readlinkat(fd, name, buf)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "", err
		case n < len(buf):
			return string(buf[:n]), nil
		}
	}
}

// scratch is the memory that listing a folder takes. Paths outlive it.
type scratch struct {
	// As large as the C library's: one call is enough for most folders.
	dirents [32 << 10]byte
	paths   []byte // of all names, to be one string
	names   []found
	ends    []int // of paths
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// readNames reads into s.names, sorted, what the folder fd lists; dir is its path
// ("" = the root).
func (s *scratch) readNames(fd int, dir string) error {
	if dir != "" {
		dir += "/"
	}
	s.names, s.ends, s.paths = s.names[:0], s.ends[:0], s.paths[:0]
	for {
		n, err := unix.Getdents(fd, s.dirents[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			break
		}
		s.add(s.dirents[:n], dir)
	}
	all, start := string(s.paths), 0
	for i, end := range s.ends {
		s.names[i].path, start = all[start:end], end
	}
	slices.SortFunc(s.names, func(a, b found) int { return strings.Compare(a.path[len(dir):], b.path[len(dir):]) })
	return nil
}

// add adds what is in one buffer of getdents: struct linux_dirent64, which is an
// inode and an offset of 8 bytes each, the length of the whole in 2, the kind in
// 1, and the name with a NUL.
func (s *scratch) add(dirents []byte, dir string) {
	const name = 19
	for b := dirents; len(b) > name; {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size <= name || size > len(b) {
			return
		}
		text, kind := b[name:size], b[18]
		b = b[size:]
		if i := bytes.IndexByte(text, 0); i >= 0 {
			text = text[:i]
		}
		if string(text) == "." || string(text) == ".." {
			continue
		}
		s.paths = append(append(s.paths, dir...), text...)
		s.ends = append(s.ends, len(s.paths))
		// Some file systems don't tell the kind.
		s.names = append(s.names, found{isDir: kind == unix.DT_DIR, known: kind != unix.DT_UNKNOWN})
	}
}

// info is the fs.FileInfo of an fstatat.
type info struct {
	name string
	mode fs.FileMode
	stat syscall.Stat_t
}

func (i *info) Name() string       { return i.name }
func (i *info) Size() int64        { return i.stat.Size }
func (i *info) Mode() fs.FileMode  { return i.mode }
func (i *info) ModTime() time.Time { return time.Unix(i.stat.Mtim.Unix()) }
func (i *info) IsDir() bool        { return i.mode.IsDir() }
func (i *info) Sys() any           { return &i.stat }

// stat makes what package os has of what package unix has. The two are generated
// of the same C structure, for each architecture.
func stat(u *unix.Stat_t) syscall.Stat_t {
	return syscall.Stat_t{
		Dev: u.Dev, Ino: u.Ino, Nlink: u.Nlink, Mode: u.Mode, Uid: u.Uid, Gid: u.Gid, Rdev: u.Rdev,
		Size: u.Size, Blksize: u.Blksize, Blocks: u.Blocks,
		Atim: syscall.Timespec(u.Atim), Mtim: syscall.Timespec(u.Mtim), Ctim: syscall.Timespec(u.Ctim),
	}
}

// fileMode is what package os makes of a mode.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & unix.S_IFMT {
	case unix.S_IFBLK:
		m |= fs.ModeDevice
	case unix.S_IFCHR:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFDIR:
		m |= fs.ModeDir
	case unix.S_IFIFO:
		m |= fs.ModeNamedPipe
	case unix.S_IFLNK:
		m |= fs.ModeSymlink
	case unix.S_IFSOCK:
		m |= fs.ModeSocket
	}
	if mode&unix.S_ISUID != 0 {
		m |= fs.ModeSetuid
	}
	if mode&unix.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if mode&unix.S_ISVTX != 0 {
		m |= fs.ModeSticky
	}
	return m
}
