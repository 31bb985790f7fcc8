package build

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// process is who runs a step: what USER says, as a container's runtime takes it.
type process struct {
	owner
	home string // "" leaves it to the tools, which take root's
	user string // as written
}

// isRoot says whether it may write anywhere.
func (p process) isRoot() bool { return p.uid == 0 }

// process finds the user in the image's files. One without an entry has the group
// 0 and / for its home, unless the group is given.
func (s *stage) process(view layers.Tree) (process, error) {
	user := s.scope.Config.User
	p := process{user: user}
	name, group, grouped := strings.Cut(user, ":")
	if name == "" || name == "root" || name == "0" {
		return p, nil
	}
	p.home = "/"
	number, err := strconv.Atoi(name)
	if err == nil {
		p.uid = number
	}
	text, readErr := view.ReadFile("etc/passwd", maxPasswd)
	if unlisted(readErr) {
		return p, readErr
	}
	found := false
	for line := range strings.Lines(string(text)) {
		row := strings.Split(strings.TrimSpace(line), ":")
		if len(row) > 5 && (row[0] == name || err == nil && row[2] == name) {
			p.uid, p.gid, p.home, found = atoi(row, 2), atoi(row, 3), row[5], true
			break
		}
	}
	if !found && err != nil {
		return p, &refusedError{what: fmt.Sprintf("USER %s: the image's /etc/passwd does not have %q", user, name)}
	}
	if grouped {
		o, err := parseOwner(view, strconv.Itoa(p.uid)+":"+group)
		if err != nil {
			return p, err
		}
		p.gid = o.gid
	}
	return p, nil
}

// user is the process of a step, by what is known of the image or by all of it.
func (s *stage) user(ctx context.Context) (process, error) {
	p, err := s.process(s.view.known)
	if !unlisted(err) {
		return p, err
	}
	all, err := s.view.whole(ctx)
	if err != nil {
		return p, err
	}
	return s.process(all)
}

// owns gives what a step makes to its user; what was there keeps its owner.
func (p process) owns(t layers.Tree) (layers.Tree, error) {
	if p.uid == 0 && p.gid == 0 {
		return t, nil
	}
	entries := slices.Clone(t.Entries())
	for i := range entries {
		if e := &entries[i]; e.Kind != layers.Whiteout {
			e.UID, e.GID = p.uid, p.gid
		}
	}
	return layers.NewTree(entries)
}

// mayWrite says whether the process can make files in a directory, or the
// directory itself where it is missing.
func (p process) mayWrite(view layers.Tree, dir string) (bool, error) {
	if p.isRoot() {
		return true, nil
	}
	for at := path.Clean("/" + dir); ; at = path.Dir(at) {
		e, err := view.Stat(at)
		if unlisted(err) {
			return false, err
		}
		switch {
		case err != nil && at != "/":
			continue
		case err != nil || e.Kind != layers.Dir:
			return false, nil
		case e.UID == p.uid:
			return e.Mode&0o300 == 0o300, nil
		case e.GID == p.gid:
			return e.Mode&0o030 == 0o030, nil
		}
		return e.Mode&0o003 == 0o003, nil
	}
}

// notWritable reports a place that the step's user cannot write to.
func (p process) notWritable(dir string) error {
	return &refusedError{what: fmt.Sprintf("%s cannot be written by USER %s", dir, p.user),
		advice: "install before the USER instruction, or into a folder that belongs to the user"}
}

// mine decides where an install of the step's user goes: pip takes the user's own
// place where it may not write to Python's.
func (t *installStep) mine(in *pip.Install, py *pythonInImage, view layers.Tree) (*pip.Install, error) {
	if t.process.isRoot() || in.WheelDir != "" {
		return in, nil
	}
	place := wheel.Place{Target: in.Target, Prefix: in.Prefix}
	if in.User {
		place.User = path.Join(t.process.home, ".local")
	}
	scheme, err := wheel.SchemeFor(py.installation, place)
	if err != nil {
		return in, nil // said later
	}
	ok, err := t.process.mayWrite(view, scheme.Purelib)
	if err != nil || ok {
		return in, err
	}
	if in.Tool != pip.Pip || in.User || in.Target != "" || in.Prefix != "" || py.installation.Venv {
		return in, t.process.notWritable(scheme.Purelib)
	}
	t.run.shared.notice(t.run.log(), fmt.Sprintf("pip installs for USER %s below %s/.local: %s cannot be written by it", t.process.user, t.process.home, scheme.Purelib))
	own := *in
	own.User = true
	return &own, nil
}
