package local

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A container's log is a text file with a time before each line, and one older file
// beside it: STATE/logs/<cluster>/<service or family>/<task>/<container>.log{,.1}.

// Bounds of a container's log.
const (
	maxLogFile = 8 << 20  // a file; there are two
	maxLogLine = 16 << 10 // longer lines are cut in pieces, as container runtimes do
)

// logTime is RFC 3339 with all digits, so that times sort as text.
const logTime = "2006-01-02T15:04:05.000000000Z"

// containerLog writes a log.
type containerLog struct {
	path string

	mu      sync.Mutex
	f       *os.File // nil when it is closed
	size    int64
	streams []*logStream
}

func openLog(path string) (*containerLog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	l := &containerLog{path: path}
	return l, l.create()
}

func (l *containerLog) create() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	l.f, l.size = f, 0
	return nil
}

// logStream is one of the two outputs of a container. It never fails: a full disk
// must not stop a task.
type logStream struct {
	log  *containerLog
	rest []byte // of a line that has not ended
}

func (l *containerLog) stream() io.Writer {
	s := &logStream{log: l}
	l.streams = append(l.streams, s)
	return s
}

func (s *logStream) Write(p []byte) (int, error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.rest = append(s.rest, p...)
	for {
		i := bytes.IndexByte(s.rest, '\n')
		switch {
		case i >= 0 && i <= maxLogLine:
			s.log.line(s.rest[:i])
			s.rest = s.rest[i+1:]
		case len(s.rest) > maxLogLine:
			s.log.line(s.rest[:maxLogLine])
			s.rest = s.rest[maxLogLine:]
		default:
			s.rest = slices.Clone(s.rest) // not the array of all that came before
			return len(p), nil
		}
	}
}

// line writes a line and changes files when this one is full.
func (l *containerLog) line(text []byte) {
	if l.f == nil {
		return
	}
	b := time.Now().UTC().AppendFormat(nil, logTime)
	b = append(append(append(b, ' '), bytes.TrimSuffix(text, []byte("\r"))...), '\n')
	if l.size > 0 && l.size+int64(len(b)) > maxLogFile {
		l.f.Close()
		l.f = nil
		if os.Rename(l.path, l.path+".1") != nil || l.create() != nil {
			return
		}
	}
	n, _ := l.f.Write(b)
	l.size += int64(n)
}

// Close writes what is left of unfinished lines.
func (l *containerLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		if len(s.rest) > 0 {
			l.line(s.rest)
			s.rest = nil
		}
	}
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

// LogLine is a line that a task wrote.
type LogLine struct {
	Time      time.Time `json:"time"`
	Task      string    `json:"task"` // its id, 32 hexadecimal digits
	Container string    `json:"container"`
	Text      string    `json:"text"`
}

// logReader reads the logs of a service or family, all tasks' lines in the order of
// their times.
type logReader struct {
	dir   string // of the service or family
	task  string // "" for all, or the beginning of an id
	files map[string]*logFile
}

// logFile reads one container's log, from the older file on into the newer one.
type logFile struct {
	path            string
	task, container string
	f               *os.File
	r               *bufio.Reader
	partial         string
	next            *LogLine // read and not yet returned
}

func (r *logReader) Close() {
	for _, f := range r.files {
		f.close()
	}
}

// scan finds logs that have appeared since the last scan.
func (r *logReader) scan() {
	paths, _ := filepath.Glob(filepath.Join(globEscape(r.dir), "*", "*.log"))
	for _, p := range paths {
		task := filepath.Base(filepath.Dir(p))
		if r.files[p] != nil || !strings.HasPrefix(task, r.task) {
			continue
		}
		if r.files == nil {
			r.files = map[string]*logFile{}
		}
		r.files[p] = &logFile{path: p, task: task, container: strings.TrimSuffix(filepath.Base(p), ".log")}
	}
}

func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// read returns the earliest line that has not been returned; nil when there is none
// yet.
func (r *logReader) read() *LogLine {
	var earliest *logFile
	for _, f := range r.files {
		if f.next == nil {
			f.next = f.line()
		}
		if f.next != nil && (earliest == nil || f.next.Time.Before(earliest.next.Time)) {
			earliest = f
		}
	}
	if earliest == nil {
		return nil
	}
	l := earliest.next
	earliest.next = nil
	return l
}

// line reads one whole line; nil when there is none yet.
func (f *logFile) line() *LogLine {
	for {
		if f.f == nil && !f.open(f.path+".1") && !f.open(f.path) {
			return nil
		}
		text, err := f.r.ReadString('\n')
		f.partial += text
		if err != nil {
			if !f.advance() {
				return nil
			}
			continue
		}
		text, f.partial = strings.TrimSuffix(f.partial, "\n"), ""
		stamp, text, _ := strings.Cut(text, " ")
		at, err := time.Parse(logTime, stamp)
		if err != nil {
			continue // not a line of ours
		}
		return &LogLine{Time: at, Task: f.task, Container: f.container, Text: text}
	}
}

// advance goes on to the newer file when this one is not the newest and has been
// read to its end.
func (f *logFile) advance() bool {
	mine, err := f.f.Stat()
	if err != nil {
		return false
	}
	newest, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) || err != nil || os.SameFile(mine, newest) {
		return false
	}
	if _, err := f.r.Peek(1); err == nil {
		return true // written before it was renamed
	}
	f.close()
	f.partial = ""
	return f.open(f.path)
}

func (f *logFile) open(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	f.f, f.r = file, bufio.NewReader(file)
	return true
}

func (f *logFile) close() {
	if f.f != nil {
		f.f.Close()
		f.f = nil
	}
}
