package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// stdin passes a reader on to a command. os/exec would wait for the reader's end
// also when the command has ended, and would hand the command an *os.File as it
// is: a file of this machine, with its offset and whatever can be done to it.
// Methods of a nil *stdin do nothing.
type stdin struct {
	from   io.Reader
	theirs *os.File // until the command has it
	ours   *os.File
	closed sync.Once
	fed    chan struct{} // closed when from is not read any more
	err    atomic.Pointer[error]
}

// newStdin gives cmd one end of a pipe; a nil reader needs none.
func newStdin(from io.Reader, cmd *exec.Cmd) (*stdin, error) {
	if from == nil {
		return nil, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pass on the command's input: %w", err)
	}
	cmd.Stdin = r
	return &stdin{from: from, theirs: r, ours: w, fed: make(chan struct{})}, nil
}

// feed copies until either side ends. The command has started.
func (s *stdin) feed() {
	if s == nil {
		return
	}
	s.theirs.Close()
	go func() {
		defer close(s.fed)
		_, err := io.Copy(s.ours, s.from)
		// The command need not read all of it.
		if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, os.ErrClosed) {
			s.err.Store(&err)
		}
		s.closed.Do(func() { s.ours.Close() })
	}()
}

// close ends a copy at its next write.
func (s *stdin) close() {
	if s == nil {
		return
	}
	s.theirs.Close() // again does no harm
	s.closed.Do(func() { s.ours.Close() })
}

// stdinError is what the reader failed with.
func (p *initProcess) stdinError() error {
	if p.stdin == nil {
		return nil
	}
	if err := p.stdin.err.Load(); err != nil {
		return *err
	}
	return nil
}
