package sandbox

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// identity is whom a command runs as.
type identity struct {
	UID, GID int
	Groups   []int // supplementary
	Home     string
}

// account is a line of etc/passwd.
type account struct {
	name     string
	uid, gid int
	home     string
}

// lookupUser finds who spec ("", "user", "user:group"; each a name or a number)
// is, given an image's etc/passwd and etc/group. The rules are those of the OCI
// image configuration's "User": a number need not be in the files and then has
// group 0; a user without a group gets the group of the password file and the
// supplementary groups of the group file.
func lookupUser(spec string, passwd, group []byte) (identity, error) {
	name, groupName, hasGroup := strings.Cut(spec, ":")
	id := identity{Home: "/"}
	who := name
	if who == "" {
		who = "0"
	}
	a, known := findAccount(passwd, who)
	switch {
	case known:
		id.UID, id.GID = a.uid, a.gid
		if a.home != "" {
			id.Home = a.home
		}
	default:
		n, err := parseID(who)
		if err != nil {
			return identity{}, fmt.Errorf("user %q is not in the image's /etc/passwd", name)
		}
		id.UID = n
	}
	if hasGroup && groupName != "" {
		gid, err := findGroup(group, groupName)
		if err != nil {
			return identity{}, err
		}
		id.GID = gid
		return id, nil
	}
	if known {
		id.Groups = memberships(group, a.name, id.GID)
	}
	return id, nil
}

func parseID(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err == nil && (n == math.MaxUint32 || n > math.MaxInt) { // (uid_t)-1 means "unchanged" to the kernel
		err = strconv.ErrRange
	}
	return int(n), err
}

// fields yields the colon-separated fields of each line of a passwd(5) or
// group(5) file that has at least min of them.
func fields(file []byte, min int, yield func([]string) bool) {
	for line := range strings.Lines(string(file)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) >= min && !strings.HasPrefix(f[0], "#") && !yield(f) {
			return
		}
	}
}

func findAccount(passwd []byte, who string) (found account, ok bool) {
	fields(passwd, 4, func(f []string) bool {
		uid, err1 := parseID(f[2])
		gid, err2 := parseID(f[3])
		if err1 != nil || err2 != nil || (f[0] != who && f[2] != who) {
			return true
		}
		found, ok = account{name: f[0], uid: uid, gid: gid}, true
		if len(f) > 5 {
			found.home = f[5]
		}
		return false
	})
	return found, ok
}

func findGroup(group []byte, who string) (int, error) {
	found := -1
	fields(group, 3, func(f []string) bool {
		gid, err := parseID(f[2])
		if err == nil && (f[0] == who || f[2] == who) {
			found = gid
		}
		return found < 0
	})
	if found >= 0 {
		return found, nil
	}
	gid, err := parseID(who)
	if err != nil {
		return 0, fmt.Errorf("group %q is not in the image's /etc/group", who)
	}
	return gid, nil
}

// memberships returns the groups that list name as a member, in the file's order,
// without its primary one.
func memberships(group []byte, name string, primary int) []int {
	var groups []int
	fields(group, 4, func(f []string) bool {
		gid, err := parseID(f[2])
		if err == nil && gid != primary && slices.Contains(strings.Split(f[3], ","), name) &&
			!slices.Contains(groups, gid) {
			groups = append(groups, gid)
		}
		return true
	})
	return groups
}
