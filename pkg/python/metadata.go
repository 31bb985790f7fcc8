package python

import (
	"bytes"
	"fmt"
	"strings"
)

// Limits on core metadata. The longest descriptions on record have a few
// megabytes, the largest projects a few thousand requirements.
const (
	maxMetadataBytes  = 32 << 20
	maxMetadataFields = 20000
)

// Metadata is what METADATA of a wheel or PKG-INFO of an sdist says of a
// distribution, as far as choosing and installing it needs ("Core metadata
// specifications"). Fields that have several values are in their order.
type Metadata struct {
	MetadataVersion   string // "2.4"; "" when it is missing
	Name              string // as written
	Version           Version
	Summary           string
	License           string // free text, before 2.4
	LicenseExpression string // SPDX, since 2.4
	RequiresPython    Specifiers
	RequiresDist      []Requirement
	ProvidesExtra     []string // as written
	Dynamic           []string // fields that a build may change (PEP 643), lower-case

	// Problems are what was set aside, as pip does, and should be told: an
	// invalid Requires-Python, lines that are no fields.
	Problems []string
}

// MetadataError is a field that is missing or not valid.
type MetadataError struct {
	Name, Version string // of the distribution, as far as they were read
	Field         string // "Requires-Dist"
	Err           error
}

func (e *MetadataError) Error() string {
	who := strings.TrimSpace(e.Name + " " + e.Version)
	if who == "" {
		who = "a distribution"
	}
	return fmt.Sprintf("metadata of %s: %s: %v", clip(who, 200), e.Field, e.Err)
}

// Unwrap returns the cause.
func (e *MetadataError) Unwrap() error { return e.Err }

// ParseMetadata reads core metadata of any version up to 2.x; the description
// and fields without a part in Metadata are left out. The error is a
// *MetadataError.
func ParseMetadata(b []byte) (Metadata, error) {
	var m Metadata
	if len(b) > maxMetadataBytes {
		return m, &MetadataError{Field: "the file", Err: fmt.Errorf("larger than %d bytes", maxMetadataBytes)}
	}
	fields, problems := metadataFields(b)
	m.Problems = problems
	if len(fields) > maxMetadataFields {
		return m, &MetadataError{Field: "the file", Err: fmt.Errorf("has more than %d fields", maxMetadataFields)}
	}
	seen := map[string]string{}
	version := ""
	fail := func(field string, err error) (Metadata, error) {
		return Metadata{}, &MetadataError{Name: m.Name, Version: version, Field: field, Err: err}
	}
	for _, f := range fields {
		switch f.name {
		case "metadata-version", "name", "version", "requires-python":
			if first, again := seen[f.name]; again && first != f.value {
				return fail(f.written, fmt.Errorf("both %q and %q are given", clip(first, 80), clip(f.value, 80)))
			}
			seen[f.name] = f.value
		}
		if f.name == "version" {
			version = f.value
		}
		if err := m.set(f); err != nil {
			return fail(f.written, err)
		}
	}
	if m.Name == "" {
		return fail("Name", fmt.Errorf("is missing"))
	}
	if m.Version.IsZero() {
		return fail("Version", fmt.Errorf("is missing"))
	}
	return m, nil
}

// set takes over one field.
func (m *Metadata) set(f metadataField) (err error) {
	switch f.name {
	case "metadata-version":
		m.MetadataVersion = f.value
		// PEP 345: a larger major version cannot be read, a larger minor one can.
		v, err := ParseVersion(f.value)
		if err != nil || v.Number(0) > 2 {
			return fmt.Errorf("%q is not a version that can be read (1.0 to 2.x)", clip(f.value, 40))
		}
	case "name":
		m.Name = f.value
		if !ValidName(f.value) {
			return fmt.Errorf("%q is not a name (PEP 508)", clip(f.value, 80))
		}
	case "version":
		m.Version, err = ParseVersion(f.value)
	case "summary":
		m.Summary = f.value
	case "license":
		m.License = f.value
	case "license-expression":
		m.LicenseExpression = f.value
	case "requires-python":
		set, err := ParseSpecifiers(f.value)
		if err != nil {
			// pip: a distribution with such a field runs everywhere.
			m.Problems = append(m.Problems, fmt.Sprintf("Requires-Python is set aside: %v", err))
		}
		m.RequiresPython = set
	case "requires-dist":
		r, err := ParseRequirement(f.value)
		if err != nil {
			return err
		}
		m.RequiresDist = append(m.RequiresDist, r)
	case "provides-extra":
		m.ProvidesExtra = append(m.ProvidesExtra, f.value)
	case "dynamic":
		m.Dynamic = append(m.Dynamic, strings.ToLower(f.value))
	}
	return err
}

// IsStatic reports whether a field of an sdist's metadata is that of every
// wheel built from it, so that nothing need be built to know it (PEP 643).
func (m Metadata) IsStatic(field string) bool {
	v, err := ParseVersion(m.MetadataVersion)
	if err != nil || v.Compare(mustVersion("2.2")) < 0 {
		return false
	}
	for _, d := range m.Dynamic {
		if strings.EqualFold(d, field) {
			return false
		}
	}
	return true
}

// metadataField is a header.
type metadataField struct {
	name    string // lower-case
	written string
	value   string // unfolded, without white space around it
}

// metadataFields reads the headers: "Name: value", continued by lines that
// begin with white space, up to an empty line. A line that is neither is
// reported and passed over: old tools wrote licenses of many lines without
// indenting them, and what comes after must not be lost.
func metadataFields(b []byte) (fields []metadataField, problems []string) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	var value strings.Builder // of the last field
	end := func() {
		if n := len(fields); n > 0 {
			fields[n-1].value = strings.TrimSpace(value.String())
		}
		value.Reset()
	}
	for len(b) > 0 && len(fields) <= maxMetadataFields {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			break
		}
		text := strings.ToValidUTF8(string(line), "\uFFFD")
		if line[0] == ' ' || line[0] == '\t' {
			value.WriteString(" " + strings.TrimSpace(text))
			continue
		}
		name, first, ok := strings.Cut(text, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t") {
			if len(problems) == 0 {
				problems = append(problems, fmt.Sprintf("a line is no field: %q", clip(text, 80)))
			}
			continue
		}
		end()
		value.WriteString(first)
		fields = append(fields, metadataField{name: strings.ToLower(name), written: name})
	}
	end()
	return fields, problems
}
