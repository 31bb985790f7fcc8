package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A lease says that a process uses the store, since when, and where its work in
// progress lies: a directory in tmp/ with a file that the process holds locked.
// The system gives a dead process's locks back, so nothing that is left of it can
// be taken for one that lives.
//
// Leases are taken, blobs put in place and uses noted under a shared lock of the
// file "lock" in the store. Pruning, and clearing away what was left behind, take
// it alone.
type lease struct {
	dir  string
	lock *os.File
}

// Names in the store's directory and in a lease's.
const (
	lockName    = "lock"
	leasePrefix = "use-"
)

// abandonedAfter is how old something in tmp/ must be that nobody holds a lock of
// to count as left behind.
const abandonedAfter = 24 * time.Hour

// takeLease begins the use of the store, and clears away what dead processes
// left.
func (s *Store) takeLease() (*lease, error) {
	all, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	defer all.Close() // which unlocks it
	// Without waiting: whoever else is here clears away as well.
	if ok, err := tryLock(all, true); err != nil {
		return nil, err
	} else if ok {
		u, err := s.leases()
		if err != nil {
			return nil, err
		}
		u.clear()
	} else if err := waitLock(all); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.tmp(), leasePrefix)
	if err != nil {
		return nil, err
	}
	l := &lease{dir: dir}
	if l.lock, err = os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
		_, err = tryLock(l.lock, true) // nobody else can have it: looking at leases takes the store's lock
	}
	if err != nil {
		return nil, errors.Join(err, l.end())
	}
	return l, nil
}

// alone takes the store's lock for itself: nobody begins to use the store until
// it is given back.
func (s *Store) alone(ctx context.Context) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		ok, err := tryLock(f, true)
		if err == nil && !ok {
			// Others have it for an instant, or prune as well.
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f.Close, nil
	}
}

// together does something while nobody prunes, after waiting if need be. A store
// that cannot be locked cannot be pruned either.
func (s *Store) together(do func() error) error {
	f, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_RDWR, 0)
	if err == nil {
		defer f.Close()
		_ = waitLock(f)
	}
	return do()
}

// touch notes that a file is used now, and says whether it is still there. What
// was noted less than touchEvery ago is safe from pruning as it is, but a use
// since the start of the machine is noted in any case.
func (s *Store) touch(path string, info fs.FileInfo) bool {
	if time.Since(info.ModTime()) <= s.touchEvery && !info.ModTime().Before(s.started) {
		return true
	}
	err := s.together(func() error {
		now := time.Now()
		return os.Chtimes(path, now, now)
	})
	return !errors.Is(err, fs.ErrNotExist)
}

// end ends the use and removes the work in progress.
func (l *lease) end() error {
	var err error
	if l.lock != nil {
		err = l.lock.Close()
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

// use is what lies in tmp/ beside the store's own lease.
type use struct {
	live  bool
	since time.Time // when the longest of the leases that live began, less touchEvery
	// busy is what processes work on, and stale what dead ones left.
	busy, stale []string
}

// leases looks at all leases but the store's own. The store's lock is held alone.
func (s *Store) leases() (use, error) {
	var u use
	entries, err := os.ReadDir(s.tmp())
	if err != nil {
		return u, err
	}
	for _, e := range entries {
		path := filepath.Join(s.tmp(), e.Name())
		if l := s.lease.Load(); l != nil && path == l.dir {
			continue
		}
		f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(e.Name(), leasePrefix) {
			// Whoever began it died before it was locked: that is done under the
			// store's lock. Or it is being removed.
			u.stale = append(u.stale, path)
			continue
		}
		if err != nil {
			// No lease, or another user's. Nothing tells of its use but its age.
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandonedAfter {
				u.stale = append(u.stale, path)
			} else {
				u.busy = append(u.busy, path)
			}
			continue
		}
		since, live, err := holder(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return u, err
		}
		if !live {
			u.stale = append(u.stale, path)
			continue
		}
		u.busy = append(u.busy, path)
		if since = since.Add(-s.touchEvery); !u.live || since.Before(u.since) {
			u.live, u.since = true, since
		}
	}
	return u, nil
}

// holder says whether a process that lives holds a lease's lock, and since when.
func holder(f *os.File) (since time.Time, live bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return since, false, err
	}
	free, err := tryLock(f, true)
	return info.ModTime(), !free, err
}

// clear removes what dead processes left.
func (u use) clear() {
	for _, path := range u.stale {
		// What cannot be removed, such as files of another user, stays and is counted.
		_ = os.RemoveAll(path)
	}
}

// has says whether something that was last used at a time may be what a process
// that runs has used since it began.
func (u use) has(used time.Time) bool { return u.live && !used.Before(u.since) }

// sizeOf counts the files beneath paths.
func sizeOf(paths []string) (Count, error) {
	var all Count
	for _, path := range paths {
		if err := all.addTree(path); err != nil {
			return all, err
		}
	}
	return all, nil
}

// addTree counts the files beneath a directory, or a file.
func (c *Count) addTree(path string) error {
	return filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			return nil
		}
		var info fs.FileInfo
		if err == nil {
			info, err = e.Info()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
			return nil
		case errors.Is(err, fs.ErrPermission): // a directory of another user
			return fs.SkipDir
		case err != nil:
			return err
		}
		c.add(info.Size())
		return nil
	})
}
