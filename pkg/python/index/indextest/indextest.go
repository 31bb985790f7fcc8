// Package indextest is a package index for tests: a real Simple API (PEP 503
// HTML, PEP 691 JSON, PEP 658 metadata, HTTP ranges, ETags) on loopback, and
// wheels made on the spot.
//
// What goes in: wheels described by a [Spec], or any bytes with a file name.
// What comes out: the URL of an index that package index, pip and uv can read,
// and a log of what was asked of it. It serves what it was given and nothing
// else: what is not advertised answers 404, as on a strict index.
package indextest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is one index. Its settings may be changed between requests, but not
// during them.
type Server struct {
	// URL is the root of the Simple API: "http://127.0.0.1:PORT/simple/".
	URL string

	HTML     bool   // answer HTML whatever the client accepts, as older servers do
	Metadata bool   // advertise and serve PEP 658 metadata of all wheels
	NoRanges bool   // ignore Range headers: always 200 with the whole file
	ETags    bool   // send an ETag with project pages and answer If-None-Match
	NoHashes bool   // list no hashes
	User     string // ask for basic authentication with this name ...
	Password string // ... and this password

	// Intercept, when set, sees every request first and reports whether it has
	// answered it (to fail, redirect, stall or lie).
	Intercept func(w http.ResponseWriter, r *http.Request) bool

	server   *httptest.Server
	mu       sync.Mutex
	projects map[string][]File
	requests []Request
}

// File is one file of a project as the index lists it.
type File struct {
	Project        string // as a person would write it; "" = what stands in the file name
	Filename       string
	Content        []byte
	Metadata       string // served as Filename+".metadata" when Server.Metadata is set
	RequiresPython string
	Yanked         bool
	YankedReason   string
	UploadTime     time.Time // zero = the index does not say
}

// SHA256 is the hexadecimal sum of the content.
func (f File) SHA256() string {
	sum := sha256.Sum256(f.Content)
	return hex.EncodeToString(sum[:])
}

// Request is one line of the server's log.
type Request struct {
	Method, Path, Range, Accept, Authorization, IfNoneMatch string
}

// NewServer starts an index without projects; it stops when the test ends.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{projects: map[string][]File{}}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	s.URL = s.server.URL + "/simple/"
	return s
}

// Client is the HTTP client that reaches the server.
func (s *Server) Client() *http.Client { return s.server.Client() }

// Origin is "http://127.0.0.1:PORT".
func (s *Server) Origin() string { return s.server.URL }

// AddWheel makes a pure wheel and lists it. An empty metadata becomes that of
// a distribution without dependencies.
func (s *Server) AddWheel(name, version string, files map[string]string, metadata string) File {
	return s.AddSpec(Spec{Name: name, Version: version, Files: files, Metadata: metadata})
}

// AddSpec makes the wheel of a spec and lists it with the spec's
// Requires-Python.
func (s *Server) AddSpec(spec Spec) File {
	filename, content := Wheel(spec)
	f := File{
		Project: spec.Name, Filename: filename, Content: content,
		Metadata: spec.metadata(), RequiresPython: spec.RequiresPython,
		Yanked: spec.Yanked, YankedReason: spec.YankedReason, UploadTime: spec.UploadTime,
	}
	s.Add(f)
	return f
}

// Add lists a file; one of the same name is replaced.
func (s *Server) Add(f File) {
	if f.Project == "" {
		f.Project, _, _ = strings.Cut(f.Filename, "-")
	}
	key := normalize(f.Project)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, old := range s.projects[key] {
		if old.Filename == f.Filename {
			s.projects[key][i] = f
			return
		}
	}
	s.projects[key] = append(s.projects[key], f)
}

// AddProject makes the index know a name, without files if none are added.
func (s *Server) AddProject(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := normalize(name); s.projects[key] == nil {
		s.projects[key] = []File{}
	}
}

// FileURL is where a listed file is served.
func (s *Server) FileURL(filename string) string {
	return s.server.URL + "/files/" + url.PathEscape(filename)
}

// Requests is the log since the start or the last call of ResetRequests.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Paths are the paths of Requests, with the Range header behind them where
// there was one.
func (s *Server) Paths() []string {
	var out []string
	for _, r := range s.Requests() {
		p := r.Path
		if r.Range != "" {
			p += " " + r.Range
		}
		out = append(out, p)
	}
	return out
}

// ResetRequests empties the log.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// ServeHTTP answers one request: /simple/NAME/, /files/FILE,
// /files/FILE.metadata and /links.html (all files on one page, for
// --find-links).
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, Request{
		Method: r.Method, Path: r.URL.Path, Range: r.Header.Get("Range"), Accept: r.Header.Get("Accept"),
		Authorization: r.Header.Get("Authorization"), IfNoneMatch: r.Header.Get("If-None-Match"),
	})
	s.mu.Unlock()
	if s.Intercept != nil && s.Intercept(w, r) {
		return
	}
	if s.User != "" {
		if user, password, ok := r.BasicAuth(); !ok || user != s.User || password != s.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="index"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
	}
	switch name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); name {
	case "simple":
		s.serveProject(w, r, strings.TrimSuffix(rest, "/"))
	case "links.html":
		w.Header().Set("Content-Type", "text/html")
		w.Write(s.htmlPage("links", s.Files()))
	case "files":
		s.serveFile(w, r, rest)
	default:
		http.NotFound(w, r)
	}
}

// Files are all files, by name.
func (s *Server) Files() []File {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []File
	for _, files := range s.projects {
		out = append(out, files...)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Filename < out[j].Filename })
	return out
}

func (s *Server) serveProject(w http.ResponseWriter, r *http.Request, name string) {
	s.mu.Lock()
	files, ok := s.projects[name]
	files = append([]File(nil), files...)
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	body, contentType := s.htmlPage(name, files), "text/html; charset=utf-8"
	if !s.HTML && strings.Contains(r.Header.Get("Accept"), "application/vnd.pypi.simple.v1+json") {
		body, contentType = s.jsonPage(name, files), "application/vnd.pypi.simple.v1+json"
	}
	if s.ETags {
		sum := sha256.Sum256(body)
		tag := `"` + hex.EncodeToString(sum[:8]) + `"`
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.Header().Set("Content-Type", contentType)
	w.Write(body)
}

func (s *Server) jsonPage(name string, files []File) []byte {
	type entry map[string]any
	list := []entry{}
	for _, f := range files {
		e := entry{
			"filename": f.Filename, "url": "../../files/" + url.PathEscape(f.Filename),
			"hashes": map[string]string{}, "size": len(f.Content),
		}
		if !s.NoHashes {
			e["hashes"] = map[string]string{"sha256": f.SHA256()}
		}
		if f.RequiresPython != "" {
			e["requires-python"] = f.RequiresPython
		}
		if f.Yanked {
			e["yanked"] = true
			if f.YankedReason != "" {
				e["yanked"] = f.YankedReason
			}
		}
		if !f.UploadTime.IsZero() {
			e["upload-time"] = f.UploadTime.UTC().Format("2006-01-02T15:04:05.000000Z")
		}
		if s.advertises(f) {
			e["core-metadata"] = map[string]string{"sha256": sumOf(f.Metadata)}
		}
		list = append(list, e)
	}
	body, err := json.Marshal(map[string]any{
		"meta": map[string]string{"api-version": "1.1"}, "name": name, "files": list,
	})
	if err != nil {
		panic(err) // strings and numbers only
	}
	return body
}

func (s *Server) htmlPage(name string, files []File) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html><head><meta name=\"pypi:repository-version\" content=\"1.1\"><title>Links for %s</title></head><body>\n", html.EscapeString(name))
	for _, f := range files {
		href := s.server.URL + "/files/" + url.PathEscape(f.Filename)
		if !s.NoHashes {
			href += "#sha256=" + f.SHA256()
		}
		fmt.Fprintf(&b, "<a href=\"%s\"", html.EscapeString(href))
		if f.RequiresPython != "" {
			fmt.Fprintf(&b, " data-requires-python=\"%s\"", html.EscapeString(f.RequiresPython))
		}
		if f.Yanked {
			fmt.Fprintf(&b, " data-yanked=\"%s\"", html.EscapeString(f.YankedReason))
		}
		if s.advertises(f) {
			fmt.Fprintf(&b, " data-core-metadata=\"sha256=%s\"", sumOf(f.Metadata))
		}
		fmt.Fprintf(&b, ">%s</a><br>\n", html.EscapeString(f.Filename))
	}
	b.WriteString("</body></html>\n")
	return b.Bytes()
}

func (s *Server) advertises(f File) bool {
	return s.Metadata && f.Metadata != "" && strings.HasSuffix(f.Filename, ".whl")
}

func (s *Server) serveFile(w http.ResponseWriter, r *http.Request, name string) {
	for _, f := range s.Files() {
		content := f.Content
		switch {
		case name == f.Filename:
		case name == f.Filename+".metadata" && s.advertises(f):
			content = []byte(f.Metadata)
		default:
			continue
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if s.NoRanges {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			if r.Method != http.MethodHead {
				w.Write(content)
			}
			return
		}
		http.ServeContent(w, r, path.Base(name), time.Time{}, bytes.NewReader(content))
		return
	}
	http.NotFound(w, r)
}

func sumOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// normalize is PEP 503's rule, written here again so that a wrong one in the
// code under test is noticed.
func normalize(name string) string {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	return strings.Join(parts, "-")
}
