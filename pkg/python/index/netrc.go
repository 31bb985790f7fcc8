package index

import (
	"fmt"
	"strings"
)

// Netrc are the logins of a netrc file. The "default" entry is left out: it
// would hand a password to every index there is.
type Netrc []NetrcLogin

// NetrcLogin is one "machine" entry.
type NetrcLogin struct{ Machine, Login, Password string }

// ParseNetrc reads a netrc file: "machine", "login", "password" and "account"
// with their values, "macdef" up to an empty line, comments after "#". A value
// may stand in double quotes.
func ParseNetrc(data []byte) (Netrc, error) {
	p := netrcParser{line: 1, rest: string(data)}
	var out Netrc
	var entry *NetrcLogin
	for {
		p.skipComments()
		word, ok := p.word()
		if !ok {
			return out, nil
		}
		switch word {
		case "machine":
			host, ok := p.word()
			if !ok {
				return nil, fmt.Errorf("read netrc:%d: machine without a name", p.line)
			}
			out = append(out, NetrcLogin{Machine: strings.ToLower(host)})
			entry = &out[len(out)-1]
		case "default":
			entry = &NetrcLogin{}
		case "macdef":
			p.skipMacro()
		case "login", "user", "password", "account":
			value, ok := p.word()
			if !ok || entry == nil {
				return nil, fmt.Errorf("read netrc:%d: %s belongs after a machine and needs a value", p.line, word)
			}
			switch word {
			case "login", "user":
				entry.Login = value
			case "password":
				entry.Password = value
			}
		default:
			return nil, fmt.Errorf("read netrc:%d: neither machine, login, password, account nor macdef", p.line)
		}
	}
}

// lookup finds the login of a host (without port).
func (n Netrc) lookup(host string) (NetrcLogin, bool) {
	for _, entry := range n {
		if strings.EqualFold(entry.Machine, host) {
			return entry, true
		}
	}
	return NetrcLogin{}, false
}

type netrcParser struct {
	rest string
	line int
}

// skipComments skips what "#" begins where a keyword may stand; in the place of
// a value it is a part of the value.
func (p *netrcParser) skipComments() {
	for p.skipSpace(); strings.HasPrefix(p.rest, "#"); p.skipSpace() {
		_, p.rest, _ = strings.Cut(p.rest, "\n")
		p.line++
	}
}

func (p *netrcParser) word() (string, bool) {
	p.skipSpace()
	if p.rest == "" {
		return "", false
	}
	if p.rest[0] == '"' {
		return p.quoted()
	}
	end := strings.IndexAny(p.rest, " \t\r\n")
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word, true
}

func (p *netrcParser) quoted() (string, bool) {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String(), true
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		case c == '\n':
			return "", false
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

func (p *netrcParser) skipSpace() {
	for p.rest != "" && strings.IndexByte(" \t\r\n", p.rest[0]) >= 0 {
		if p.rest[0] == '\n' {
			p.line++
		}
		p.rest = p.rest[1:]
	}
}

// skipMacro skips a macro definition: it ends at an empty line.
func (p *netrcParser) skipMacro() {
	for p.rest != "" {
		var line string
		line, p.rest, _ = strings.Cut(p.rest, "\n")
		p.line++
		if strings.TrimSpace(line) == "" {
			return
		}
	}
}
