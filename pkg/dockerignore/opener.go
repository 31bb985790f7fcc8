package dockerignore

import (
	"errors"
	"io/fs"
	"os"
)

// Opener lists and opens what lies in one folder, and nothing else: no path and
// no symbolic link leads out of it. It stays with the folder if that is renamed.
// It is safe for concurrent use.
//
// On Linux it opens with one system call, however deep a file lies, where os.Root
// takes two for each folder on the way, and follows no link at all. Elsewhere,
// and where the kernel knows no openat2 (before 5.6) or a sandbox forbids it, it
// is an os.Root, which follows links inside the folder.
type Opener struct {
	root *root
	name string
}

// Something else is at a path than the walk has seen, or a link on the way.
var (
	errIrregular = errors.New("is no longer a regular file")
	errNoFolder  = errors.New("is no longer a folder")
)

// NewOpener returns the Opener of the folder at root, which may be given by a
// symbolic link. It is to be closed; what it opened stays open. Errors are of type
// *WalkError.
func NewOpener(root string) (*Opener, error) {
	r, err := openFolder(root)
	if err != nil {
		return nil, &WalkError{Context: root, Path: ".", Cause: bare(err)}
	}
	return &Opener{r, root}, nil
}

// Open opens a regular file for reading. path is relative to the folder and
// slash-separated, as in File.Path. Anything else at path is an error, even if it
// became that just now; no named pipe is waited for. Errors are of type
// *fs.PathError, and name path alone.
func (o *Opener) Open(path string) (*os.File, error) {
	f, err := o.root.open(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: bare(err)}
	}
	return f, nil
}

// Close ends the use of the Opener.
func (o *Opener) Close() error { return o.root.close() }

// openRegular opens a file through a Root, and only if it is a regular one.
func openRegular(root *os.Root, path string) (*os.File, error) {
	f, err := root.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errIrregular
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
