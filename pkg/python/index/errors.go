package index

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// NotFoundError says that no index knows a project, or that a file is not where
// it should be.
type NotFoundError struct {
	Project string
	Indexes []string // those asked, without credentials
	URL     string   // of a file that is not there, without credentials; "" = of a project
}

func (e *NotFoundError) Error() string {
	if e.URL != "" {
		return e.URL + " is not there (404 Not Found)"
	}
	if len(e.Indexes) == 0 {
		return fmt.Sprintf("project %s: there is no index to look in", e.Project)
	}
	return fmt.Sprintf("project %s was not found on %s", e.Project, strings.Join(e.Indexes, ", "))
}

// Hint says what can be done.
func (e *NotFoundError) Hint() string {
	if e.URL != "" {
		return "it may have been removed or moved since it was listed: check the address, or resolve and lock again"
	}
	if len(e.Indexes) == 0 {
		return "give an index with --index-url, or a folder of wheels with --find-links"
	}
	return fmt.Sprintf("check the spelling of %q, or name the index that has it", e.Project)
}

// AddressError says that what an index is named by is no URL that can be read.
type AddressError struct{ reason string }

func (e *AddressError) Error() string { return e.reason }

// Position makes it an error of what the user gave.
func (e *AddressError) Position() (string, int) { return "", 0 }

// MissingIndexError says that a project is pinned to an index that is not
// configured.
type MissingIndexError struct {
	Project string
	Index   string // its name
}

func (e *MissingIndexError) Error() string {
	return fmt.Sprintf("project %s may come from the index %q only, and no index has that name", e.Project, e.Index)
}

// Hint says what can be done.
func (e *MissingIndexError) Hint() string {
	return fmt.Sprintf("configure an index named %q where the pin of %s is, or take the pin away", e.Index, e.Project)
}

// AuthError says that a server refused us (401 or 403).
type AuthError struct {
	URL    string // without credentials
	Status int
	Sent   bool // whether credentials were sent
}

func (e *AuthError) Error() string {
	if e.Sent {
		return fmt.Sprintf("%s refused the credentials it was given (%d %s)", e.URL, e.Status, http.StatusText(e.Status))
	}
	if e.Status == http.StatusForbidden {
		return fmt.Sprintf("%s does not let us in (403 Forbidden); no credentials were sent", e.URL)
	}
	return fmt.Sprintf("%s wants credentials (%d %s)", e.URL, e.Status, http.StatusText(e.Status))
}

// Hint says what can be done.
func (e *AuthError) Hint() string {
	if e.Sent {
		return "check the user name and the password or token: it may have expired"
	}
	if e.Status == http.StatusForbidden {
		return "if it needs a login, put user and password into the index URL (https://user:password@host/...) or into the netrc file"
	}
	return "put user and password into the index URL (https://user:password@host/...) or into the netrc file"
}

// StatusError is an answer of a server that is neither a success nor a 404.
type StatusError struct {
	URL    string // without credentials
	Status int
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d %s", e.URL, e.Status, http.StatusText(e.Status))
}

// HashError says that bytes are not those that were promised.
type HashError struct {
	Subject   string // file name
	Algorithm string
	Want, Got string // hexadecimal
}

func (e *HashError) Error() string {
	return fmt.Sprintf("%s of %s is %s, but should be %s", e.Algorithm, e.Subject, e.Got, e.Want)
}

// Hint says what can be done.
func (e *HashError) Hint() string {
	return "the file was changed on the index or on the way here; if the change is known and wanted, lock again"
}

// InvalidWheelError says that a wheel, or what an index serves as its
// metadata, cannot be used; another version may be.
type InvalidWheelError struct {
	Filename string
	Err      error
}

func (e *InvalidWheelError) Error() string { return fmt.Sprintf("%s: %v", e.Filename, e.Err) }
func (e *InvalidWheelError) Unwrap() error { return e.Err }

// redact is a URL as it may be shown: no credentials, and no query, which may
// hold a signature.
func redact(u *url.URL) string {
	v := *u
	v.User, v.Fragment, v.RawFragment = nil, "", ""
	if v.RawQuery != "" {
		v.RawQuery = "..."
	}
	return v.String()
}

// redactURLError takes the URL out of the errors of net/url and net/http, which
// quote it with its password.
func redactURLError(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
