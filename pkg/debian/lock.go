package debian

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Lock names the packages of a root, each by its content. With it a root is
// made again without an index, by any mirror that still has the packages. It
// can be kept as JSON.
type Lock struct {
	// Rules is [Rules] of the program that wrote the lock.
	Rules int    `json:"rules"`
	Suite string `json:"suite"`
	Arch  string `json:"arch"`
	// Dates are the Date fields of the suites' indexes that were resolved in.
	Dates map[string]string `json:"dates"`
	// Packages are in order of their names.
	Packages []Locked `json:"packages"`
}

// Locked is one package of a [Lock].
type Locked struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Arch is the package's own: that of the lock, or "all".
	Arch   string `json:"arch"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // of the .deb, in bytes
	// Path is the .deb's, beneath the root of the archive that has the suite Suite.
	Path  string `json:"path"`
	Suite string `json:"suite"`
	// OS says that the package belongs to what every root has; the others are
	// those asked for and what they need beyond that.
	OS bool `json:"os,omitempty"`
}

// String returns name and version.
func (l Locked) String() string { return l.Name + " " + l.Version }

// Package returns the locked package of a name.
func (l Lock) Package(name string) (Locked, bool) {
	i, ok := slices.BinarySearchFunc(l.Packages, name, func(p Locked, name string) int { return strings.Compare(p.Name, name) })
	if !ok {
		return Locked{}, false
	}
	return l.Packages[i], true
}

// check says whether a lock, which may come from a file, can be used.
func (l Lock) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("read lock of Debian %s: %s", l.Suite, fmt.Sprintf(format, args...))
	}
	if l.Rules != Rules {
		return bad("it was written for rules %d, not %d", l.Rules, Rules)
	}
	for i, p := range l.Packages {
		switch {
		case !validName(p.Name) || !validSHA256(p.SHA256) || p.Size < 0 || !validPoolPath(p.Path):
			return bad("its entry %d, %q, is not well-formed", i, p.Name)
		case i > 0 && l.Packages[i-1].Name >= p.Name:
			return bad("%q is out of order", p.Name)
		}
	}
	return nil
}

// Resolve chooses the packages of a root: those that every root has, those
// asked for, and what they depend on. The highest version in the release and
// its updates and security suites wins. It fetches the suites' indexes.
//
// Errors: [*NoMirrorError], [*SnapshotError], [*SignatureError],
// [*ValidityError], [*StatusError], [*ContentError], [*UnsatisfiableError].
func Resolve(ctx context.Context, spec Spec, o Options) (lock Lock, err error) {
	x, err := o.indexOf(ctx, spec, "")
	if err != nil {
		return Lock{}, err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	always := make([]Relation, 0, 8)
	for _, name := range Always() {
		always = append(always, Relation{Name: name})
	}
	base, err := x.closure(always, isDropped)
	if err != nil {
		return Lock{}, err
	}
	requests, err := spec.requests()
	if err != nil {
		return Lock{}, err
	}
	all, err := x.closure(append(always, requests...), isDropped)
	if err != nil {
		return Lock{}, err
	}
	lock = Lock{Rules: Rules, Suite: spec.Suite, Arch: spec.Arch, Dates: x.dates}
	for _, p := range all {
		lock.Packages = append(lock.Packages, Locked{
			Name: p.name, Version: p.version.String(), Arch: p.arch, SHA256: p.sha256, Size: p.size,
			Path: p.filename, Suite: p.suite, OS: slices.Contains(base, p),
		})
	}
	slices.SortFunc(lock.Packages, func(a, b Locked) int { return strings.Compare(a.Name, b.Name) })
	o.log().Info(fmt.Sprintf("resolved %d Debian packages (%s, %s)", len(lock.Packages), spec.Suite, spec.Arch))
	return lock, nil
}

// requests returns the packages asked for, as relations.
func (s Spec) requests() ([]Relation, error) {
	var list []Relation
	for _, text := range s.Packages {
		r, err := parseRequest(text)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// indexOf loads the index that a Spec is resolved in, or what it has of one name.
func (o Options) indexOf(ctx context.Context, spec Spec, only string) (*index, error) {
	sources, err := o.sources(spec)
	if err != nil {
		return nil, err
	}
	if !validName(spec.Arch) {
		return nil, fmt.Errorf("resolve packages: %q is no Debian architecture", spec.Arch)
	}
	if !moving(spec.Suite) && !slices.ContainsFunc(sources, func(s Source) bool { return strings.HasSuffix(s.Suite, "-security") }) {
		o.log().Warn(fmt.Sprintf("no security archive is known for Debian %s: name it after the mirror, with a comma between", spec.Suite))
	}
	return o.load(ctx, spec, sources, only)
}

// Architecture returns Debian's name for a platform of an image (GOARCH and
// its variant), or "".
func Architecture(arch, variant string) string {
	switch arch {
	case "amd64", "arm64", "riscv64", "s390x", "loong64":
		return arch
	case "386":
		return "i386"
	case "ppc64le":
		return "ppc64el"
	case "mips64le":
		return "mips64el"
	case "arm":
		if variant == "v5" || variant == "v6" {
			return "armel"
		}
		return "armhf"
	}
	return ""
}

func snapshotMoment(s string) (time.Time, error) { return time.Parse("20060102T150405Z", s) }
