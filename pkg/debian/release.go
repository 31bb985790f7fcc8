package debian

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxRelease bounds an InRelease file; the archive's largest has 200 kB.
const maxRelease = 16 << 20

// maxFuture is how far in the future an index's Date may lie: clocks differ.
const maxFuture = time.Hour

// SignatureError reports an index that no trusted key has signed.
type SignatureError struct {
	URL string
	Err error
}

func (e *SignatureError) Error() string {
	return fmt.Sprintf("check signature of %s: %v", e.URL, e.Err)
}

// Unwrap returns the cause.
func (e *SignatureError) Unwrap() error { return e.Err }

// Hint says how to trust another key.
func (e *SignatureError) Hint() string {
	return "if the archive has keys of its own, name their keyring with signed-by=FILE"
}

// ValidityError reports an index that is not valid at the time of the check.
type ValidityError struct {
	URL string
	// ValidUntil is the index's, if that has passed; else it is zero, and Date
	// lies in the future.
	Date, ValidUntil time.Time
}

func (e *ValidityError) Error() string {
	if !e.ValidUntil.IsZero() {
		return fmt.Sprintf("check %s: it was valid until %s", e.URL, e.ValidUntil.Format(time.RFC3339))
	}
	return fmt.Sprintf("check %s: it is dated %s, in the future", e.URL, e.Date.Format(time.RFC3339))
}

// Hint says how to use the index all the same.
func (e *ValidityError) Hint() string {
	if !e.ValidUntil.IsZero() {
		return "a mirror that no longer changes can be used with check-valid-until=no"
	}
	return "is the clock of this machine right?"
}

// SuiteError reports a suite that the mirror does not have.
type SuiteError struct {
	Suite string
	Err   error // the mirror's answer
}

func (e *SuiteError) Error() string { return fmt.Sprintf("no suite %q: %v", e.Suite, e.Err) }

// Unwrap returns the mirror's answer.
func (e *SuiteError) Unwrap() error { return e.Err }

// Hint says what suites are called.
func (e *SuiteError) Hint() string {
	return "suites go by their code names, such as bookworm, trixie and sid; a mirror may leave out old ones"
}

// release is what an InRelease file says.
type release struct {
	suite, codename  string
	date, validUntil time.Time
	byHash           bool
	components       []string
	architectures    []string
	// allInArch says that packages for all architectures are in the index of each.
	allInArch bool
	files     map[string]indexFile
}

type indexFile struct {
	sha256 string // hexadecimal
	size   int64
}

// parseRelease reads the text of an InRelease file, its signature checked.
func parseRelease(text []byte) (release, error) {
	p, err := NewControlReader(bytes.NewReader(text)).Next()
	if err != nil {
		return release{}, err
	}
	r := release{
		suite:         p.Get("Suite"),
		codename:      p.Get("Codename"),
		byHash:        p.Get("Acquire-By-Hash") == "yes",
		components:    strings.Fields(p.Get("Components")),
		architectures: strings.Fields(p.Get("Architectures")),
		allInArch:     strings.Contains(p.Get("No-Support-for-Architecture-all"), "Packages"),
		files:         map[string]indexFile{},
	}
	if r.date, err = parseDate(p.Get("Date")); err != nil {
		return release{}, fmt.Errorf("Date: %w", err)
	}
	if until := p.Get("Valid-Until"); until != "" {
		if r.validUntil, err = parseDate(until); err != nil {
			return release{}, fmt.Errorf("Valid-Until: %w", err)
		}
	}
	for line := range strings.Lines(p.Get("SHA256")) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return release{}, fmt.Errorf("SHA256: %.80q is not a hash, a size and a name", line)
		}
		size, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil || size < 0 || !validSHA256(fields[0]) {
			return release{}, fmt.Errorf("SHA256: %.80q is not a hash, a size and a name", line)
		}
		r.files[fields[2]] = indexFile{fields[0], size}
	}
	if len(r.files) == 0 {
		return release{}, errors.New("it lists no files by SHA256")
	}
	return r, nil
}

func validSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && strings.ToLower(s) == s
}

// parseDate reads a date as Release files have it (RFC 2822, in UTC).
func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{"Mon, 2 Jan 2006 15:04:05 MST", "Mon, 2 Jan 2006 15:04:05 -0700"} {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		if zone, offset := t.Zone(); offset == 0 && zone != "UTC" && zone != "GMT" && zone != "" {
			continue // Go takes any three letters for a zone at UTC
		}
		return t.UTC(), nil
	}
	return time.Time{}, fmt.Errorf("%.60q is not a date in UTC", s)
}

// check says whether the index is the one that was asked for, and valid now.
func (r release) check(s Source, now time.Time, ignoreExpiry bool) error {
	if s.Suite != r.suite && s.Suite != r.codename {
		return fmt.Errorf("check %s: it is of suite %q (%s), not of %q", s.inRelease(), r.suite, r.codename, s.Suite)
	}
	switch {
	case !r.validUntil.IsZero() && now.After(r.validUntil) && !ignoreExpiry:
		return &ValidityError{URL: s.inRelease(), Date: r.date, ValidUntil: r.validUntil}
	case r.date.After(now.Add(maxFuture)):
		return &ValidityError{URL: s.inRelease(), Date: r.date}
	}
	return nil
}
