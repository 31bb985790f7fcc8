package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/boyabuild/boyabuild/pkg/sandbox"
)

// errLocked says that another process has a lock.
var errLocked = errors.New("locked")

// Files of a state directory.
const (
	lockFile     = "lock"
	stateFile    = "state.json"
	tokenFile    = "token"
	announceFile = "local.json"
)

// stateVersion is of the format of stateFile.
const stateVersion = 1

// state is all that survives the cloud.
type state struct {
	Version      int                    `json:"version"`
	Repositories map[string]*repository `json:"repositories"`
	Families     map[string]*family     `json:"families"`
	Clusters     map[string]*cluster    `json:"clusters"`
}

// LockedError reports a state directory that another cloud uses.
type LockedError struct {
	State string
	// Address and Pid are of the cloud that uses it; "" and 0 when it did not say.
	Address string
	Pid     int
}

func (e *LockedError) Error() string {
	if e.Address == "" {
		return fmt.Sprintf("start local cloud: %s is in use by another one", e.State)
	}
	return fmt.Sprintf("start local cloud: %s is in use by the one at %s (process %d)", e.State, e.Address, e.Pid)
}

// Hint says what to do.
func (e *LockedError) Hint() string {
	return "use that one, stop it with `boyabuild local stop`, or choose another --state"
}

// takeLock makes this process the only one that uses the directory. The lock goes
// when the process does.
func (c *Cloud) takeLock() error {
	f, err := os.OpenFile(filepath.Join(c.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("start local cloud: %w", err)
	}
	err = tryLock(f, true)
	for range 5 { // one that was told to stop may be about to go
		if err != errLocked {
			break
		}
		time.Sleep(50 * time.Millisecond)
		err = tryLock(f, true)
	}
	switch {
	case err == errLocked:
		f.Close()
		locked := &LockedError{State: c.dir}
		if a, err := readAnnouncement(c.dir); err == nil {
			locked.Address, locked.Pid = a.Address, a.Pid
		}
		return locked
	case err != nil:
		f.Close()
		return fmt.Errorf("start local cloud: lock %s: %w", c.dir, err)
	}
	c.lock = f
	return nil
}

// load reads the token and the last snapshot.
func (c *Cloud) load() error {
	b, err := os.ReadFile(filepath.Join(c.dir, tokenFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("start local cloud: %w", err)
	}
	if c.token = strings.TrimSpace(string(b)); len(c.token) < 32 {
		c.token = randomHex(32)
		if err := writeFile(filepath.Join(c.dir, tokenFile), []byte(c.token+"\n")); err != nil {
			return fmt.Errorf("start local cloud: %w", err)
		}
	}
	b, err = os.ReadFile(filepath.Join(c.dir, stateFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.state.Version = stateVersion
	case err != nil:
		return fmt.Errorf("start local cloud: %w", err)
	default:
		if err := json.Unmarshal(b, &c.state); err != nil {
			return fmt.Errorf("start local cloud: read %s: %w", filepath.Join(c.dir, stateFile), err)
		}
		if c.state.Version != stateVersion {
			return fmt.Errorf("start local cloud: %s has the format %d, which this version does not know",
				filepath.Join(c.dir, stateFile), c.state.Version)
		}
	}
	if c.state.Repositories == nil {
		c.state.Repositories = map[string]*repository{}
	}
	if c.state.Families == nil {
		c.state.Families = map[string]*family{}
	}
	if c.state.Clusters == nil {
		c.state.Clusters = map[string]*cluster{}
	}
	return nil
}

// save writes a snapshot. What an API call changed is on disk before the call is
// answered; what the schedulers change follows soon after.
func (c *Cloud) save() error {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	b, err := json.Marshal(&c.state)
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("save local cloud: %w", err)
	}
	if err := writeFile(filepath.Join(c.dir, stateFile), b); err != nil {
		return fmt.Errorf("save local cloud: %w", err)
	}
	return nil
}

// touch asks for a snapshot soon.
func (c *Cloud) touch() {
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

// saver writes snapshots that were asked for, not more often than the interval.
func (c *Cloud) saver() {
	const interval = 500 * time.Millisecond
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.dirty:
		}
		if err := c.save(); err != nil {
			c.log.Warn(err.Error())
		}
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(interval):
		}
	}
}

// resume takes up the work of the state: tasks that ran have ended with the cloud
// that ran them, and the services start new ones.
func (c *Cloud) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cl := range c.state.Clusters {
		for _, t := range cl.Tasks {
			if t.LastStatus != statusStopped {
				t.finish(c.clock.Now(), stopOrder{code: "ServiceSchedulerInitiated", reason: reasonCloudStopped})
			}
		}
		for _, s := range cl.Services {
			s.cluster = cl
			if s.Status != "INACTIVE" {
				c.schedule(s)
			}
		}
	}
	go c.saver()
}

// announcement is what announceFile holds.
type announcement struct {
	Address string `json:"address"`
	Pid     int    `json:"pid"`
}

// announce tells clients where the cloud runs.
func (c *Cloud) announce() error {
	b, err := json.Marshal(announcement{Address: c.address, Pid: os.Getpid()})
	if err == nil {
		err = writeFile(filepath.Join(c.dir, announceFile), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("start local cloud: %w", err)
	}
	return nil
}

func readAnnouncement(dir string) (announcement, error) {
	var a announcement
	b, err := os.ReadFile(filepath.Join(dir, announceFile))
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	return a, err
}

// writeFile writes a whole file for its owner only, by renaming.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// collect removes blobs of the cloud's own store that no repository has any more.
func (c *Cloud) collect(dir string) error {
	used := map[string]bool{}
	for _, r := range c.state.Repositories {
		for digest := range r.Blobs {
			used[digest] = true
		}
		for digest := range r.Manifests {
			used[digest] = true
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if used["sha256:"+e.Name()] {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// emptyDir removes what is in dir and has a name that begins with prefix.
func emptyDir(dir, prefix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// removeTree removes a directory tree that was unpacked for a task or written by
// one, whoever its files belong to. It goes on when the cloud is closing.
func removeTree(path string) error { return sandbox.RemoveAll(context.Background(), path) }

// randomHex returns n random hexadecimal digits.
func randomHex(n int) string {
	b := make([]byte, (n+1)/2)
	rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)[:n]
}
