package dockerfile

import (
	"fmt"
	"strconv"
	"strings"
)

// Chmod is the value of --chmod. The zero value changes nothing.
type Chmod struct {
	octal   bool
	mode    uint32
	changes []change
}

// change is one "[who]op[what]" of a symbolic mode.
type change struct {
	who, what, from uint32 // permission bits; from is one of the three classes
	op              byte
	conditional     bool // X
}

// The three classes' bits, set-ID and sticky ones included.
const (
	userBits  = 0o4700
	groupBits = 0o2070
	otherBits = 0o1007
)

// ParseChmod reads a mode: octal up to 7777, or symbolic as in chmod(1):
// "u=rwX,go=rX", "+x", "g=u".
func ParseChmod(s string) (Chmod, error) {
	if s != "" && strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseUint(s, 8, 32)
		if err != nil || n > 0o7777 {
			return Chmod{}, fmt.Errorf("--chmod=%s is not an octal number up to 7777", s)
		}
		return Chmod{octal: true, mode: uint32(n)}, nil
	}
	var c Chmod
	for clause := range strings.SplitSeq(s, ",") {
		changes, ok := parseClause(clause)
		if !ok {
			return Chmod{}, fmt.Errorf(`--chmod=%s is neither an octal number nor like "u=rwX,go=rX"`, s)
		}
		c.changes = append(c.changes, changes...)
	}
	return c, nil
}

// parseClause reads "who(op what)+".
func parseClause(s string) ([]change, bool) {
	i := 0
	var who uint32
	for ; i < len(s) && strings.IndexByte("ugoa", s[i]) >= 0; i++ {
		who |= map[byte]uint32{'u': userBits, 'g': groupBits, 'o': otherBits, 'a': 0o7777}[s[i]]
	}
	if who == 0 {
		who = 0o7777 // there is no umask in a build
	}
	var out []change
	for i < len(s) {
		c := change{who: who, op: s[i]}
		if strings.IndexByte("+-=", c.op) < 0 {
			return nil, false
		}
		i++
		if i < len(s) && strings.IndexByte("ugo", s[i]) >= 0 {
			c.from = map[byte]uint32{'u': 0o700, 'g': 0o070, 'o': 0o007}[s[i]]
			i++
		} else {
			for ; i < len(s) && strings.IndexByte("rwxXst", s[i]) >= 0; i++ {
				c.what |= map[byte]uint32{'r': 0o444, 'w': 0o222, 'x': 0o111, 's': 0o6000, 't': 0o1000}[s[i]]
				c.conditional = c.conditional || s[i] == 'X'
			}
		}
		out = append(out, c)
	}
	return out, len(out) > 0
}

// Apply returns the mode that a file or folder of the given one gets: permission,
// set-ID and sticky bits.
func (c Chmod) Apply(mode uint32, folder bool) uint32 {
	if c.octal {
		return c.mode
	}
	for _, ch := range c.changes {
		what := ch.what
		if ch.conditional && (folder || mode&0o111 != 0) {
			what |= 0o111
		}
		if ch.from != 0 {
			bits := mode & ch.from
			for ch.from&1 == 0 { // down to the lowest class, then into all
				bits >>= 3
				ch.from >>= 3
			}
			what = bits | bits<<3 | bits<<6
		}
		what &= ch.who
		switch ch.op {
		case '+':
			mode |= what
		case '-':
			mode &^= what
		case '=':
			mode = mode&^ch.who | what
		}
	}
	return mode
}
