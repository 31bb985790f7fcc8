package debian

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Source is one suite of a Debian archive at one address.
type Source struct {
	// URI is the archive's root, without a slash at its end.
	URI        string
	Suite      string
	Components []string
	// Keyring holds the keys trusted for it.
	Keyring Keyring
	// Optional says that the suite was derived from another's address, and may
	// not be there.
	Optional bool
}

func (s Source) inRelease() string { return redact(s.URI) + "/dists/" + s.Suite + "/InRelease" }

// redact returns an address without the password that may stand in it.
func redact(uri string) string {
	if u, err := url.Parse(uri); err == nil && u.User != nil {
		return u.Redacted()
	}
	return uri
}

// HostSources are the Debian archives that a machine's apt sources name. The
// zero value names none.
type HostSources struct {
	entries []hostEntry
	keyring []byte
	// Problems are the entries that could not be read; apt would refuse them.
	Problems []error
}

// hostEntry is one suite of one apt source.
type hostEntry struct {
	uri     string
	release string // "bookworm", of the suite "bookworm-security"
	pocket  string // "", "updates" or "security"
	rank    int    // how surely the address serves the Debian archive
	keys    []byte // an inline Signed-By
}

// SourceError reports an apt source that cannot be read.
type SourceError struct {
	File   string
	Line   int
	Reason string
}

func (e *SourceError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

// Position returns where the entry stands.
func (e *SourceError) Position() (string, int) { return e.File, e.Line }

// NoMirrorError reports that nothing says where to get a suite from.
type NoMirrorError struct {
	Suite string
	// Problem is the first apt source that could not be read; nil if all could.
	Problem error
}

func (e *NoMirrorError) Error() string {
	s := fmt.Sprintf("find mirror for Debian %s: this machine's apt sources name none, and none is set", e.Suite)
	if e.Problem != nil {
		s += fmt.Sprintf(" (not read: %v)", e.Problem)
	}
	return s
}

// Hint names the settings.
func (e *NoMirrorError) Hint() string {
	return "set BOYABUILD_DEBIAN_MIRROR, or mirror: under debian: in boyabuild.yaml, to the address of a Debian archive"
}

// maxSourceFile bounds an apt source, a mirror list and a keyring.
const maxSourceFile = 4 << 20

// hostKeyring is where Debian's package debian-archive-keyring has its keys.
const hostKeyring = "usr/share/keyrings/debian-archive-keyring.gpg"

// ReadSources reads the apt sources of the machine whose file system is host
// (os.DirFS("/")): /etc/apt/sources.list and the .list and .sources files in
// /etc/apt/sources.list.d (sources.list(5)), both the one-line and the deb822
// form. Entries that do not serve the Debian archive are passed over. A machine
// without apt has none, which is no error.
func ReadSources(host fs.FS) (HostSources, error) {
	var h HostSources
	names := []string{"etc/apt/sources.list"}
	found, err := fs.ReadDir(host, "etc/apt/sources.list.d")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h, fmt.Errorf("read apt sources: %w", err)
	}
	for _, f := range found {
		// apt passes over files with other endings, and so must we: they are disabled ones.
		if ext := path.Ext(f.Name()); !f.IsDir() && (ext == ".list" || ext == ".sources") {
			names = append(names, "etc/apt/sources.list.d/"+f.Name())
		}
	}
	for _, name := range names {
		text, err := readBounded(host, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return h, fmt.Errorf("read apt sources: %w", err)
		}
		r := sourceReader{host: host, file: "/" + name, into: &h}
		if path.Ext(name) == ".sources" {
			r.deb822(text)
		} else {
			r.oneLine(text)
		}
	}
	if len(h.entries) > 0 {
		// A host with newer keys than this program's trusts them for apt.
		h.keyring, _ = readBounded(host, hostKeyring)
	}
	return h, nil
}

func readBounded(host fs.FS, name string) ([]byte, error) {
	f, err := host.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSourceFile+1))
	if err == nil && len(b) > maxSourceFile {
		err = fmt.Errorf("/%s is larger than %d bytes", name, maxSourceFile)
	}
	return b, err
}

// sourceReader reads one apt source file.
type sourceReader struct {
	host fs.FS
	file string
	into *HostSources
}

func (r sourceReader) problem(line int, reason string) {
	r.into.Problems = append(r.into.Problems, &SourceError{r.file, line, reason})
}

// oneLine reads the format "deb [option=value …] uri suite component …".
func (r sourceReader) oneLine(text []byte) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxSourceFile)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		kind, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), " ")
		if kind == "deb-src" || kind == "" {
			continue
		}
		if kind != "deb" {
			r.problem(n, fmt.Sprintf("%.40q is no type of source", kind))
			continue
		}
		options, rest, err := cutOptions(strings.TrimSpace(rest))
		if err != nil {
			r.problem(n, err.Error())
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 || (len(fields) < 3 && !strings.HasSuffix(fields[1], "/")) {
			r.problem(n, "the entry needs an address, a suite and components")
			continue
		}
		r.add(fields[:1], fields[1:2], fields[2:], options["signed-by"])
	}
}

// cutOptions takes "[a=b c=d]" off the beginning of an entry.
func cutOptions(s string) (options map[string]string, rest string, err error) {
	if !strings.HasPrefix(s, "[") {
		return nil, s, nil
	}
	inside, rest, ok := strings.Cut(s[1:], "]")
	if !ok {
		return nil, "", errors.New("the options in brackets do not end")
	}
	options = map[string]string{}
	for _, option := range strings.Fields(inside) {
		name, value, ok := strings.Cut(option, "=")
		if !ok {
			return nil, "", fmt.Errorf("%.40q is not an option with a value", option)
		}
		options[strings.ToLower(strings.TrimRight(name, "+-"))] = value
	}
	return options, rest, nil
}

// deb822 reads the format of paragraphs with Types, URIs, Suites, Components.
func (r sourceReader) deb822(text []byte) {
	control := NewControlReader(bytes.NewReader(text))
	for {
		p, err := control.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			var bad *ControlError
			if errors.As(err, &bad) {
				r.problem(bad.Line, bad.Reason)
			}
			return
		}
		if !slices.Contains(strings.Fields(p.Get("Types")), "deb") || disabled(p.Get("Enabled")) {
			continue
		}
		uris, suites := strings.Fields(p.Get("URIs")), strings.Fields(p.Get("Suites"))
		if len(uris) == 0 || len(suites) == 0 {
			r.problem(p[0].Line, "the source needs URIs and Suites")
			continue
		}
		r.add(uris, suites, strings.Fields(p.Get("Components")), p.Get("Signed-By"))
	}
}

// disabled says whether a value of Enabled is one of apt's words for no.
func disabled(s string) bool {
	switch strings.ToLower(s) {
	case "no", "false", "without", "off", "disable", "0":
		return true
	}
	return false
}

// add keeps those suites of a source that are the Debian archive's.
func (r sourceReader) add(uris, suites, components []string, signedBy string) {
	if !slices.Contains(components, "main") { // third parties: "stable", "nodistro"
		return
	}
	var keys []byte
	signer := 1
	if strings.Contains(signedBy, "-----BEGIN PGP PUBLIC KEY BLOCK-----") {
		keys = inlineKey(signedBy)
	} else if strings.Contains(signedBy, "debian-archive") {
		signer = 2
	} else if signedBy != "" {
		return // keys of someone else's
	}
	for _, uri := range uris {
		uri, ok := r.address(uri)
		if !ok {
			continue
		}
		rank := signer * 2
		if strings.Contains(uri[strings.Index(uri, "//")+2:], "/debian") {
			rank++
		}
		for _, suite := range suites {
			release, pocket, ok := splitSuite(suite)
			if !ok {
				continue
			}
			r.into.entries = append(r.into.entries, hostEntry{uri, release, pocket, rank, keys})
		}
		return // the others are mirrors of the first
	}
}

// inlineKey undoes what deb822 asks of a key in a field: an indent, and a
// point for an empty line.
func inlineKey(s string) []byte {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if lines[i] = strings.TrimSpace(line); lines[i] == "." {
			lines[i] = ""
		}
	}
	return []byte(strings.TrimSpace(strings.Join(lines, "\n")) + "\n")
}

// address returns the address by HTTP that an apt URI stands for.
func (r sourceReader) address(uri string) (string, bool) {
	// apt-transport-mirror(1); the Debian project's cloud images have it.
	if list, ok := strings.CutPrefix(uri, "mirror+file:"); ok {
		text, err := readBounded(r.host, strings.TrimLeft(list, "/"))
		if err != nil {
			return "", false
		}
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			if fields := strings.Fields(line); len(fields) > 0 {
				return httpAddress(fields[0])
			}
		}
		return "", false
	}
	return httpAddress(uri)
}

func httpAddress(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	return strings.TrimRight(uri, "/"), true
}

// releases are the names of Debian's releases from the first that this package
// can read to those announced, and the names that move from one to the next.
const releases = " buster bullseye bookworm trixie forky duke sid" +
	" oldoldstable oldstable stable testing unstable experimental "

// splitSuite parts a suite of the Debian archive into release and pocket; false
// for other archives' suites, and for pockets that are not laid over a release
// by itself (backports, proposed-updates).
func splitSuite(suite string) (release, pocket string, ok bool) {
	release, pocket, _ = strings.Cut(strings.TrimSuffix(suite, "/"), "-")
	if before, ok := strings.CutSuffix(suite, "/updates"); ok {
		release, pocket = before, "security" // the security suites up to buster
	}
	known := release != "" && strings.Contains(releases, " "+release+" ")
	return release, pocket, known && (pocket == "" || pocket == "updates" || pocket == "security")
}

// moving says whether a release has neither updates nor security suites.
func moving(release string) bool {
	return release == "sid" || release == "unstable" || release == "experimental"
}

// of returns the suites that serve a release, from the best of the host's
// addresses: the release itself, and its updates and security suites where the
// host has those of any release.
func (h HostSources) of(release string) ([]Source, error) {
	var found []Source
	for _, pocket := range []string{"", "updates", "security"} {
		var best *hostEntry
		for i := range h.entries {
			e := &h.entries[i]
			if e.pocket == pocket && (best == nil || e.rank > best.rank) {
				best = e
			}
		}
		switch {
		case best == nil && pocket == "":
			none := &NoMirrorError{Suite: release}
			if len(h.Problems) > 0 {
				none.Problem = h.Problems[0]
			}
			return nil, none
		case best == nil || (pocket != "" && moving(release)):
			continue
		}
		s := Source{URI: best.uri, Suite: release, Keyring: ArchiveKeyring(), Optional: pocket != "" && best.release != release}
		if pocket != "" {
			s.Suite += "-" + pocket
		}
		if len(h.keyring) > 0 {
			s.Keyring = append(s.Keyring, h.keyring)
		}
		if len(best.keys) > 0 {
			s.Keyring = append(s.Keyring, best.keys)
		}
		found = append(found, s)
	}
	return found, nil
}
