package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// What lies in a scratch directory. A later consumer of what a command changed
// (a RUN step) reads upperDir, or compares copyDir with the root filesystem.
const (
	upperDir  = "upper"  // what the command wrote, as overlayfs keeps it
	workDir   = "work"   // overlayfs's own
	lowerDir  = "lower"  // where init sees the root filesystem
	mergedDir = "merged" // where init mounts the overlay
	copyDir   = "copy"   // the copy of the root filesystem where there is no overlay
)

// scratch is a locked scratch directory.
type scratch struct {
	path string
	dir  *os.File
}

// openScratch makes, locks and empties the scratch directory. What it finds there
// is of a program that was killed.
func openScratch(ctx context.Context, path string) (*scratch, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the scratch directory: %w", err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the scratch directory: %w", err)
	}
	s := &scratch{path: path, dir: dir}
	if err := s.lock(ctx); err != nil {
		dir.Close()
		return nil, err
	}
	if err := s.clean(ctx); err != nil {
		dir.Close()
		return nil, err
	}
	return s, nil
}

// lock waits a little: the init of a program that was killed may be about to end.
func (s *scratch) lock(ctx context.Context) error {
	for end := time.Now().Add(stopDelay); ; {
		err := unix.Flock(int(s.dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock the scratch directory %s: %w", s.path, err)
		}
		if time.Now().After(end) {
			return fmt.Errorf("the scratch directory %s is used by another sandbox", s.path)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// clean removes everything that a sandbox may have left.
func (s *scratch) clean(ctx context.Context) error {
	for _, mountpoint := range []string{lowerDir, mergedDir} {
		// Never recursively: should something be mounted there, it stays.
		err := unix.Rmdir(filepath.Join(s.path, mountpoint))
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("empty the scratch directory: %s: %w", mountpoint, err)
		}
	}
	for _, tree := range []string{upperDir, workDir, copyDir} {
		if err := RemoveAll(ctx, filepath.Join(s.path, tree)); err != nil {
			return fmt.Errorf("empty the scratch directory: %w", err)
		}
	}
	return nil
}

func (s *scratch) close(ctx context.Context) error {
	defer s.dir.Close()
	return s.clean(ctx)
}

// RemoveAll removes a tree that a sandbox of this user wrote or that was unpacked
// for one. It removes what os.RemoveAll cannot: directories without the right to
// write them, and files that belong to the user's subordinate users.
func RemoveAll(ctx context.Context, tree string) error {
	err := os.RemoveAll(tree)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && err == nil {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	err = os.RemoveAll(tree)
	if !errors.Is(err, fs.ErrPermission) || os.Geteuid() == 0 {
		return err
	}
	if rerr := removeAsRoot(ctx, tree); rerr != nil {
		return fmt.Errorf("%w; and as the root of a user namespace: %w", err, rerr)
	}
	return nil
}

// removeAsRoot removes a tree as the root of the user's own user namespace, who
// has every right over files of the user's subordinate users.
func removeAsRoot(ctx context.Context, tree string) error {
	tree, err := filepath.Abs(tree)
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	in, err := spawn(Command{Mode: MappedUserNamespace, Args: []string{"remove"}}, null)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, in.kill)()
	if err := in.mapUsers(); err != nil {
		in.kill()
		return errors.Join(err, in.wait())
	}
	_ = in.send(request{Mode: MappedUserNamespace, Remove: tree})
	var e event
	derr := in.events.Decode(&e)
	werr := in.wait()
	switch {
	case derr != nil:
		return fmt.Errorf("no report: %w", errors.Join(derr, werr))
	case e.Kind == eventFailed:
		return errors.New(e.Error)
	}
	return nil
}
