package wheel

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"
)

// DirectURL is the origin of a distribution that a requirement named by URL or
// path (PEP 610). Where neither Dir nor VCS is set it is an archive.
type DirectURL struct {
	// URL is the archive's, directory's or repository's. User name and password
	// and the fragment are not written.
	URL string
	// SHA256 is the archive's hash in hexadecimal; "" leaves it out.
	SHA256 string
	// Subdirectory is the project's path in the archive or repository.
	Subdirectory string
	// Dir says that URL is a local directory, Editable that it was installed so.
	Dir, Editable bool
	// VCS is "git", "hg", "bzr" or "svn", with what was asked for and found.
	VCS, RequestedRevision, CommitID string
}

// encode writes direct_url.json as pip does: Python's json.dumps with sorted
// keys and its default separators.
func (d DirectURL) encode() ([]byte, error) {
	u, err := url.Parse(d.URL)
	if err != nil || u.Scheme == "" {
		return nil, errors.New("the direct URL of the requirement is not valid") // it may hold a password
	}
	redacted := d.redacted(u)
	var member string
	switch {
	case d.Dir && d.VCS != "":
		return nil, fmt.Errorf("direct URL %s is both a directory and a repository", redacted)
	case d.Dir && d.Editable:
		member = `"dir_info": {"editable": true}`
	case d.Dir:
		member = `"dir_info": {}`
	case d.VCS != "":
		member = fmt.Sprintf(`"vcs_info": {"commit_id": %s, `, jsonString(d.CommitID))
		if d.RequestedRevision != "" {
			member += fmt.Sprintf(`"requested_revision": %s, `, jsonString(d.RequestedRevision))
		}
		member += fmt.Sprintf(`"vcs": %s}`, jsonString(d.VCS))
	case d.SHA256 != "":
		member = fmt.Sprintf(`"archive_info": {"hash": %s, "hashes": {"sha256": %s}}`,
			jsonString("sha256="+d.SHA256), jsonString(d.SHA256))
	default:
		member = `"archive_info": {}`
	}
	members := []string{member, `"url": ` + jsonString(redacted)}
	if d.Subdirectory != "" {
		members = append(members, `"subdirectory": `+jsonString(d.Subdirectory))
	}
	slices.Sort(members)
	return []byte("{" + strings.Join(members, ", ") + "}"), nil
}

// redacted drops user and password, but for the git@ of a git repository, as
// PEP 610 has it.
func (d DirectURL) redacted(u *url.URL) string {
	c := *u
	c.Fragment, c.RawFragment = "", ""
	if d.VCS != "git" || c.User.String() != "git" {
		c.User = nil
	}
	return c.String()
}

// jsonString writes s as a JSON string in ASCII, as json.dumps does.
func jsonString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < ' ' || r > 0x7e && r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
