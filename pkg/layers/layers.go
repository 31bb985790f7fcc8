// Package layers turns file trees into image layers, and layers into trees.
//
// A [Tree] is a sorted list of entries (path, mode, owner, size, link, where
// the content is). Wheels, Debian packages, the build context and an unpacked
// base are all Trees; there is one Tree type and one way to turn it into a
// layer: [Write], a pure function of the tree and its [Options]. The same tree
// gives the same bytes on any machine, any day.
//
// Contents that are deflated already, as the files of a wheel are ([Deflated]),
// become part of a gzip layer as they are; what is left to do for them is to
// inflate and to hash.
//
// The package never reads the clock, the environment or the host's users, and
// it never holds a layer or a long file in memory: contents are opened when they
// are written, and what is held of them is bounded.
package layers

import (
	"bytes"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Kind says what an entry is.
type Kind uint8

// The kinds of entries that a layer can hold.
const (
	File        Kind = iota + 1 // a regular file
	Dir                         // a directory
	Symlink                     // a symbolic link; Link is its target as written
	Hardlink                    // a second name; Link is the path of the first
	CharDevice                  // a character device
	BlockDevice                 // a block device
	FIFO                        // a named pipe
	Whiteout                    // removes Path, with all that lies in it, from the layers below
)

// String returns the word used for the kind in messages.
func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Dir:
		return "directory"
	case Symlink:
		return "symbolic link"
	case Hardlink:
		return "hard link"
	case CharDevice:
		return "character device"
	case BlockDevice:
		return "block device"
	case FIFO:
		return "named pipe"
	case Whiteout:
		return "whiteout"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Content is where the bytes of a file are. Open may be called any number of
// times, by several goroutines at once, and must give the same bytes each time.
type Content interface {
	Open() (io.ReadCloser, error)
}

// Bytes is a Content held in memory.
func Bytes(b []byte) Content { return memory(b) }

type memory []byte

func (m memory) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m)), nil
}

// HostFile is the Content of the file at path on this machine.
func HostFile(path string) Content { return hostFile(path) }

type hostFile string

func (h hostFile) Open() (io.ReadCloser, error) { return os.Open(string(h)) }

// Entry is one file, directory, link, device or whiteout of a Tree.
type Entry struct {
	// Path is slash-separated, relative to the image's root and clean:
	// "usr/bin/python3". Never empty, never ".", never with "..".
	Path string
	Kind Kind
	// Mode holds the permission bits with setuid (0o4000), setgid (0o2000)
	// and sticky (0o1000), and nothing else.
	Mode     uint32
	UID, GID int
	// Size is the number of bytes of a File.
	Size int64
	// Link is the target of a Symlink as written, or the Path of the entry
	// that a Hardlink is a second name of.
	Link string
	// Major and Minor number a device.
	Major, Minor int64
	// Xattrs are extended attributes by their full name ("security.capability").
	Xattrs map[string]string
	// Content gives a File's bytes; nil is an empty file. A Hardlink that was
	// read from a tar has its target's content.
	Content Content
	// Opaque marks a Dir that hides what the layers below have in it.
	Opaque bool
	// Implied marks a Dir that is here only because something lies in it; a
	// directory of the layers below keeps its own mode and owner.
	Implied bool
	// Closed marks a Dir of which not all that lies in it is listed (see
	// [Outline]): the tree is not [Tree.Complete]. It is knowledge about a
	// layer, not part of one: the bytes have no such mark.
	Closed bool
	// Origin says where the entry comes from, for messages: a wheel's file
	// name, "Dockerfile:4".
	Origin string
}

// Descriptor describes a finished layer.
type Descriptor struct {
	// Digest and Size are of the bytes as stored and sent (compressed).
	Digest v1.Hash `json:"digest"`
	// DiffID is the digest of the uncompressed tar.
	DiffID    v1.Hash         `json:"diffID"`
	Size      int64           `json:"size"`
	MediaType types.MediaType `json:"mediaType"`
}

// PathError reports a path that no layer may hold.
type PathError struct {
	Path   string
	Origin string
	Reason string
}

func (e *PathError) Error() string {
	if e.Origin != "" {
		return fmt.Sprintf("%s: path %q: %s", e.Origin, e.Path, e.Reason)
	}
	return fmt.Sprintf("path %q: %s", e.Path, e.Reason)
}

// ConflictError reports two different entries of one path.
type ConflictError struct {
	Path string
	// First and Second are the origins of the two entries.
	First, Second string
	// Field says what differs: "content", "mode", "kind", …
	Field string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s and %s both have %q, with a different %s",
		orUnknown(e.First), orUnknown(e.Second), e.Path, e.Field)
}

func orUnknown(origin string) string {
	if origin == "" {
		return "an unnamed source"
	}
	return origin
}
