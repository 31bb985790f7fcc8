package source

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
)

// Limits on what is read into memory. Configuration files have kilobytes; the
// longest descriptions on record a few megabytes.
const (
	maxConfig = 8 << 20
	maxText   = 16 << 20
)

// sourceTree is the tree of a project, seen as a back-end sees its directory.
// Paths are relative to the project, "" or "." is the project itself.
type sourceTree struct {
	tree layers.Tree
	err  error // the first entry that no back-end's rules were checked for
}

func newTree(t layers.Tree) *sourceTree { return &sourceTree{tree: t} }

// clean returns a path as trees have it: "" for the project itself. ok is false
// for one that leads out of the project.
func clean(p string) (string, bool) {
	if path.IsAbs(p) {
		return "", false
	}
	p = path.Clean(p)
	if p == "." {
		return "", true
	}
	return p, p != ".." && !strings.HasPrefix(p, "../")
}

func (s *sourceTree) isFile(p string) bool {
	p, ok := clean(p)
	if !ok || p == "" {
		return false
	}
	e, err := s.tree.Stat(p)
	return err == nil && (e.Kind == layers.File || e.Kind == layers.Hardlink)
}

func (s *sourceTree) isDir(p string) bool {
	p, ok := clean(p)
	if !ok {
		return false
	}
	if p == "" {
		return true
	}
	e, err := s.tree.Stat(p)
	return err == nil && e.Kind == layers.Dir
}

// read reads a file of the project. An error is a *python.FileError.
func (s *sourceTree) read(p string, limit int64) ([]byte, error) {
	b, err := s.tree.ReadFile(p, limit)
	return b, inFile(p, err)
}

// inFile says of an error in which file it is, once.
func inFile(p string, err error) error {
	if err == nil {
		return nil
	}
	var named *fs.PathError
	if errors.As(err, &named) && named.Path == p {
		err = named.Err
	}
	return &python.FileError{File: p, Err: err}
}

// text reads a file of UTF-8 as Python does in text mode: with universal
// newlines. Where it cannot, the error is a *NeedsBuildError: the back-end will
// say it better.
func (s *sourceTree) text(p string) (string, error) {
	c, ok := clean(p)
	if !ok {
		return "", &NeedsBuildError{File: p, Reason: "the file is outside of the project"}
	}
	b, err := s.read(c, maxText)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &NeedsBuildError{File: p, Reason: "there is no such file"}
	case err != nil:
		return "", err
	case !utf8.Valid(b):
		return "", &NeedsBuildError{File: p, Reason: "the file is not UTF-8"}
	}
	return strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\r", "\n"), nil
}

// names returns the names in a directory, sorted.
func (s *sourceTree) names(dir string) (files, dirs []string) {
	dir, ok := clean(dir)
	if !ok {
		return nil, nil
	}
	for _, e := range s.tree.Children(dir) {
		name := path.Base(e.Path)
		switch s.kind(e) {
		case layers.File:
			files = append(files, name)
		case layers.Dir:
			dirs = append(dirs, name)
		}
	}
	slices.Sort(files)
	slices.Sort(dirs)
	return files, dirs
}

// kind returns File or Dir, with links followed; 0 for anything else.
func (s *sourceTree) kind(e layers.Entry) layers.Kind {
	if e.Kind == layers.Symlink {
		target, err := s.tree.Stat(e.Path)
		if err != nil {
			return 0
		}
		e = target
	}
	switch e.Kind {
	case layers.File, layers.Hardlink:
		return layers.File
	case layers.Dir:
		return layers.Dir
	}
	return 0
}

// walk calls file for each file below dir, with its path, and skip for each
// directory, whether to leave it out; both in order. Links to files are files; a
// link to a directory on the way is remembered as an error, for back-ends do not
// agree on those.
func (s *sourceTree) walk(dir string, skip func(dir, name string) bool, file func(p string)) {
	dir, ok := clean(dir)
	if !ok || s.throughLink(dir) {
		return
	}
	children := s.tree.Children(dir)
	for _, e := range children {
		if s.kind(e) == layers.File {
			file(e.Path)
		}
	}
	for _, e := range children {
		name := path.Base(e.Path)
		if s.kind(e) != layers.Dir || skip != nil && skip(dir, name) {
			continue
		}
		s.walk(e.Path, skip, file)
	}
}

// throughLink refuses a directory that is reached through a symbolic link.
func (s *sourceTree) throughLink(dir string) bool {
	r, err := s.tree.Resolve(dir)
	if err == nil && r == dir {
		return false
	}
	s.refuse(&NeedsBuildError{File: dir, Reason: linkedDirectory})
	return true
}

// noLinksBelow refuses symbolic links to directories anywhere below a directory:
// patterns of Python's look behind them.
func (s *sourceTree) noLinksBelow(dir string) {
	for _, e := range s.tree.Under(dir) {
		if e.Kind == layers.Symlink && s.kind(e) == layers.Dir {
			s.refuse(&NeedsBuildError{File: e.Path, Reason: linkedDirectory})
		}
	}
}

const linkedDirectory = "a symbolic link to a directory lies among the files of the project"

// refuse remembers the first error, why the project must be built; nil is none.
func (s *sourceTree) refuse(err error) {
	if s.err == nil && err != nil {
		s.err = err
	}
}

// entry returns the file that p leads to.
func (s *sourceTree) entry(p string) (layers.Entry, error) {
	c, ok := clean(p)
	if !ok || c == "" {
		return layers.Entry{}, &NeedsBuildError{File: p, Reason: "the file is outside of the project"}
	}
	e, err := s.tree.Stat(c)
	if err != nil || e.Kind != layers.File && e.Kind != layers.Hardlink {
		return layers.Entry{}, &NeedsBuildError{File: p, Reason: "there is no such file"}
	}
	return e, nil
}
