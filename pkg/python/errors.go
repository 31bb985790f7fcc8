package python

import (
	"errors"
	"fmt"
)

// FileError is an error in a file that a user wrote.
type FileError struct {
	File string
	Line int // 0 = not known, or the file as a whole
	Err  error
}

// Error returns "file:line: cause".
func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", redact(e.File), e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", redact(e.File), e.Line, e.Err)
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Position returns where the error is; line 0 is not known.
func (e *FileError) Position() (file string, line int) { return e.File, e.Line }

// Hint returns the cause's advice, or "".
func (e *FileError) Hint() string {
	var h interface{ Hint() string }
	if errors.As(e.Err, &h) {
		return h.Hint()
	}
	return ""
}

// UnsupportedError is a reference that is correct and is not installed: what it
// leads to is not fetched.
type UnsupportedError struct {
	Reference string // as written
	Kind      string // "a version control reference"
	hint      string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%q is %s, which is not fetched", clip(redact(e.Reference), 200), e.Kind)
}

// Hint says what to do instead.
func (e *UnsupportedError) Hint() string { return e.hint }

// hintedError is a cause with advice.
type hintedError struct{ cause, hint string }

func (e *hintedError) Error() string { return e.cause }
func (e *hintedError) Hint() string  { return e.hint }
