package debian

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Scheme begins the text of a [Spec].
const Scheme = "debian://"

// Always returns the packages that every root has beside those asked for, so
// that a program finds its loader and C++ library, certificates, time zones,
// protocol names and media types.
func Always() []string {
	return []string{"base-files", "netbase", "tzdata", "ca-certificates", "media-types", "libc-bin", "libstdc++6", "zlib1g"}
}

// Spec says which root to make.
type Spec struct {
	// Suite is a release of Debian: "trixie", "stable", "sid". Its updates and
	// security suites are part of it where their address is known.
	Suite string
	// Packages are the packages wanted beside [Always]; one may name a version,
	// as for apt: "python3=3.13.5-1".
	Packages []string
	// Arch is a Debian architecture: "amd64", "arm64".
	Arch string
	// Components are the archive's parts that are looked at; none is main.
	Components []string
	// Snapshot is a time ("20261121T000000Z") at which a snapshot service is
	// asked for the archive.
	Snapshot string
	// Mirror is as in [Options], and beats it.
	Mirror string
	// SignedBy is the file of the keyring that alone is trusted; a relative path
	// is taken from the working directory.
	SignedBy string
	// IgnoreExpiry takes indexes past their Valid-Until.
	IgnoreExpiry bool
}

// SpecError reports a Spec that cannot be read.
type SpecError struct {
	Text, Reason string
}

func (e *SpecError) Error() string { return fmt.Sprintf("base %q: %s", e.Text, e.Reason) }

// Hint shows the form.
func (e *SpecError) Hint() string {
	return "write debian://SUITE?packages=a,b with any of arch, components, snapshot, mirror, signed-by, check-valid-until=no"
}

var (
	suiteName    = regexp.MustCompile(`^[a-z][a-z0-9.]{1,63}$`)
	snapshotTime = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z$`)
	snapshotPart = regexp.MustCompile(`/[0-9]{8}T[0-9]{6}Z(/|$)`)
)

// ParseSpec reads
//
//	debian://SUITE?packages=a,b&arch=…&components=main&snapshot=…&mirror=…&signed-by=…&check-valid-until=no
//
// in which every parameter may be left out; arch then is for the caller to set.
// The packages of [Always] are added to those named. mirror may name two
// addresses, the second that of the security archive. The error is a [*SpecError].
func ParseSpec(text string) (Spec, error) {
	bad := func(format string, args ...any) (Spec, error) {
		return Spec{}, &SpecError{text, fmt.Sprintf(format, args...)}
	}
	rest, ok := strings.CutPrefix(text, Scheme)
	if !ok {
		return bad("does not begin with %s", Scheme)
	}
	suite, query, _ := strings.Cut(rest, "?")
	s := Spec{Suite: suite}
	if !suiteName.MatchString(suite) {
		return bad("%q is no name of a Debian release (its updates and security suites are part of it)", suite)
	}
	// "+" stands for itself, for package names have it: libstdc++6.
	values, err := url.ParseQuery(strings.ReplaceAll(query, "+", "%2B"))
	if err != nil {
		return bad("its parameters cannot be read: %v", err)
	}
	for _, name := range sortedKeys(values) {
		value := strings.Join(values[name], ",")
		if name != "packages" && name != "components" && len(values[name]) > 1 {
			return bad("%s is given more than once", name)
		}
		if err := s.set(name, value); err != nil {
			return bad("%v", err)
		}
	}
	return s, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (s *Spec) set(name, value string) error {
	switch name {
	case "packages":
		s.Packages = splitList(value)
		for _, p := range s.Packages {
			if _, err := parseRequest(p); err != nil {
				return err
			}
		}
	case "arch":
		if !validName(value) {
			return fmt.Errorf("arch: %q is no architecture", value)
		}
		s.Arch = value
	case "components":
		s.Components = splitList(value)
		for _, c := range s.Components {
			if !validName(c) {
				return fmt.Errorf("components: %q is no component", c)
			}
		}
	case "snapshot":
		if _, err := time.Parse("20060102T150405Z", value); err != nil || !snapshotTime.MatchString(value) {
			return fmt.Errorf("snapshot: %q is not a time like 20261121T000000Z", value)
		}
		s.Snapshot = value
	case "mirror":
		if _, _, err := parseMirror(value); err != nil {
			return fmt.Errorf("mirror: %w", err)
		}
		s.Mirror = value
	case "signed-by":
		if value == "" {
			return fmt.Errorf("signed-by: names no file")
		}
		s.SignedBy = value
	case "check-valid-until":
		if !disabled(value) && value != "yes" {
			return fmt.Errorf("check-valid-until: %q is neither yes nor no", value)
		}
		s.IgnoreExpiry = value != "yes"
	default:
		return fmt.Errorf("unknown parameter %q", name)
	}
	return nil
}

// splitList parts a list at its commas and drops what is empty.
func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// parseRequest reads "name" or "name=version".
func parseRequest(s string) (Relation, error) {
	name, version, exact := strings.Cut(s, "=")
	r := Relation{Name: name}
	if !validName(name) {
		return r, fmt.Errorf("packages: %q is no name of a package", s)
	}
	if !exact {
		return r, nil
	}
	v, err := ParseVersion(version)
	if err != nil {
		return r, fmt.Errorf("packages: %q: %w", s, err)
	}
	r.Op, r.Version = "=", v
	return r, nil
}

// parseMirror reads an archive's address, or two separated by a comma.
func parseMirror(s string) (archive, security string, err error) {
	list := splitList(s)
	if len(list) == 0 || len(list) > 2 {
		return "", "", fmt.Errorf("%q is not one address, or two with a comma", redact(s))
	}
	for i, uri := range list {
		address, ok := httpAddress(uri)
		if !ok {
			return "", "", fmt.Errorf("%q is no address of the form http://HOST/debian", redact(uri))
		}
		list[i] = address
	}
	if len(list) == 1 {
		return list[0], "", nil
	}
	return list[0], list[1], nil
}

// SnapshotError reports that no address is known at which to ask for a
// snapshot.
type SnapshotError struct{ Snapshot string }

func (e *SnapshotError) Error() string {
	return fmt.Sprintf("find mirror for the snapshot %s: the archive's address is not that of a snapshot service", e.Snapshot)
}

// Hint says what to name.
func (e *SnapshotError) Hint() string {
	return "name the service's archive with mirror=…/archive/debian, which the time is put after"
}

// ReadKeyring reads the file SignedBy; nil if none is named.
func (s Spec) ReadKeyring() (Keyring, error) {
	if s.SignedBy == "" {
		return nil, nil
	}
	dir, name := filepath.Split(s.SignedBy)
	b, err := readBounded(os.DirFS(filepath.Clean(dir)), name)
	if inFile := new(fs.PathError); errors.As(err, &inFile) {
		err = inFile.Err
	}
	if err != nil {
		return nil, fmt.Errorf("read keyring %s: %w", s.SignedBy, err)
	}
	return Keyring{b}, nil
}

// sources returns the suites that a Spec is resolved in, the release itself
// first, and whether security updates are among them.
func (o Options) sources(s Spec) ([]Source, error) {
	found, err := o.findSources(s)
	if err != nil {
		return nil, err
	}
	var keys Keyring
	if s.SignedBy != "" {
		if keys, err = s.ReadKeyring(); err != nil {
			return nil, err
		}
	} else if o.Keyring != nil {
		keys = o.Keyring
	}
	components := s.Components
	if len(components) == 0 {
		components = []string{"main"}
	}
	for i := range found {
		found[i].Components = components
		if keys != nil {
			found[i].Keyring = keys
		}
		if s.Snapshot == "" {
			continue
		}
		if found[i].URI, err = atSnapshot(found[i].URI, s); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (o Options) findSources(s Spec) ([]Source, error) {
	mirror := s.Mirror
	if mirror == "" {
		mirror = o.Mirror
	}
	if mirror == "" {
		return o.Host.of(s.Suite)
	}
	archive, security, err := parseMirror(mirror)
	if err != nil {
		return nil, fmt.Errorf("mirror of Debian: %w", err)
	}
	found := []Source{{URI: archive, Suite: s.Suite, Keyring: ArchiveKeyring()}}
	if moving(s.Suite) {
		return found, nil
	}
	found = append(found, Source{URI: archive, Suite: s.Suite + "-updates", Keyring: ArchiveKeyring(), Optional: true})
	if security != "" {
		found = append(found, Source{URI: security, Suite: s.Suite + "-security", Keyring: ArchiveKeyring()})
	}
	return found, nil
}

// atSnapshot returns a snapshot service's address of the archive at a time:
// ROOT/TIME, where ROOT is given or stands before another time.
func atSnapshot(uri string, s Spec) (string, error) {
	if at := snapshotPart.FindStringIndex(uri); at != nil {
		return uri[:at[0]] + "/" + s.Snapshot + strings.TrimRight("/"+strings.TrimLeft(uri[at[1]:], "/"), "/"), nil
	}
	if s.Mirror == "" {
		return "", &SnapshotError{s.Snapshot}
	}
	return uri + "/" + s.Snapshot, nil
}
