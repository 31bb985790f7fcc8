package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// Metadata returns what the sdist says of itself, and whether that is what every
// wheel of it says. It is static where PKG-INFO is (PEP 643: of version 2.2 or
// later, and what decides about dependencies is not dynamic), or where
// pyproject.toml says the same things in [project], which no back-end may
// change (PEP 621). Where it is not static, a wheel must be made to know it,
// and the Metadata is what PKG-INFO says, or is zero without one.
//
// The error is an *SdistError: what the sdist says is not valid, or is of
// another project.
func (s *Sdist) Metadata() (m python.Metadata, static bool, err error) {
	read := func(name string) ([]byte, error) {
		b, err := s.tree.ReadFile(name, maxText)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return b, err
	}
	info, err := read("PKG-INFO")
	if err != nil {
		return m, false, &SdistError{Sdist: s.Filename, Entry: "PKG-INFO", Err: err}
	}
	pyproject, err := read("pyproject.toml")
	if err != nil {
		return m, false, &SdistError{Sdist: s.Filename, Entry: "pyproject.toml", Err: err}
	}
	return sdistMetadata(s.Filename, info, pyproject)
}

// SdistMetadata is OpenSdist and Metadata for one who needs no more: of the
// archive it reads up to where that is known, and keeps nothing of it.
func SdistMetadata(path, filename string) (m python.Metadata, static bool, err error) {
	a, err := openArchive(path, filename)
	if err != nil {
		return m, false, err
	}
	defer a.close()
	found := map[string][]byte{}
	err = a.each(func(it item) error {
		_, name, ok := strings.Cut(it.path, "/")
		if !ok || it.kind != layers.File || name != "PKG-INFO" && name != "pyproject.toml" {
			return nil
		}
		if it.size > maxText {
			return a.refuse(it.path, "is larger than %d bytes", maxText)
		}
		var b bytes.Buffer
		if _, err := io.CopyN(&b, it.r, it.size); err != nil {
			return &SdistError{Sdist: a.name, Entry: it.path, Reason: "cannot be read", Err: short(err)}
		}
		found[name] = b.Bytes()
		if name == "PKG-INFO" {
			if m, err := python.ParseMetadata(b.Bytes()); err == nil && isStatic(m) {
				return errStop
			}
		}
		if len(found) == 2 {
			return errStop
		}
		return nil
	})
	if err != nil {
		return m, false, a.wrap(err)
	}
	return sdistMetadata(a.name, found["PKG-INFO"], found["pyproject.toml"])
}

// isStatic reports whether metadata of an sdist is that of its wheels, as far as
// choosing them and their dependencies goes.
func isStatic(m python.Metadata) bool {
	for _, field := range []string{"Name", "Version", "Requires-Dist", "Requires-Python", "Provides-Extra"} {
		if !m.IsStatic(field) {
			return false
		}
	}
	return true
}

// sdistMetadata reads what an sdist says of itself.
func sdistMetadata(filename string, info, pyproject []byte) (m python.Metadata, static bool, err error) {
	refuse := func(entry string, err error) (python.Metadata, bool, error) {
		return python.Metadata{}, false, &SdistError{Sdist: filename, Entry: entry, Reason: "is not valid", Err: err}
	}
	if info != nil {
		// What cannot be read says nothing: a wheel will say more.
		if parsed, err := python.ParseMetadata(info); err == nil {
			if err := sameProject(filename, parsed.Name, parsed.Version); err != nil {
				return refuse("PKG-INFO", err)
			}
			if m = parsed; isStatic(m) {
				return m, true, nil
			}
		}
	}
	if pyproject == nil {
		return m, false, nil
	}
	p, err := project.Read("pyproject.toml", pyproject)
	if err != nil || !tableOf(p, "project") {
		// A file that this reader refuses may be one that the back-end takes.
		return m, false, nil
	}
	for _, field := range []string{"dependencies", "optional-dependencies", "requires-python"} {
		if p.IsDynamic(field) {
			return m, false, nil
		}
	}
	declared, ok := declaredMetadata(p, m.Version)
	if !ok {
		return m, false, nil
	}
	if err := sameProject(filename, declared.Name, declared.Version); err != nil {
		return refuse("pyproject.toml", err)
	}
	return declared, true, nil
}

// declaredMetadata is what [project] says. version is that of PKG-INFO, for a
// project that does not say its own.
func declaredMetadata(p *project.Project, version python.Version) (python.Metadata, bool) {
	if !tableHas(p, "project", "dependencies") && p.Tool == project.Poetry {
		return python.Metadata{}, false // what Poetry has in their place is for it to say
	}
	core := coreMetadata{metadataVersion: "2.4", name: p.Name, version: p.Version, summary: p.Description,
		requiresPython: p.RequiresPython.String(), licenseExpression: p.License.Expression}
	if core.version.IsZero() {
		core.version = version
	}
	for _, r := range p.Dependencies {
		core.requiresDist = append(core.requiresDist, canonical(r.Requirement).String())
	}
	for _, g := range p.OptionalDependencies {
		if core.addExtra(p, g) != nil {
			return python.Metadata{}, false
		}
	}
	m, err := python.ParseMetadata(core.bytes())
	return m, err == nil
}

// sameProject returns an error where an sdist is not of the project that its
// file's name says (PEP 625).
func sameProject(filename, name string, version python.Version) error {
	want, v := sdistName(filename)
	if want == "" {
		return nil
	}
	if got := python.NormalizeName(name); got != want {
		return fmt.Errorf("it is of the project %s, not of %s", got, want)
	}
	if !version.Equal(v) {
		return fmt.Errorf("it is of version %s, not of %s", version, v)
	}
	return nil
}
