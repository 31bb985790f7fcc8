// Package debiantest serves a Debian archive over HTTP that a test makes:
// packages, indexes and the signature on them are real, and everything is made
// anew for each test.
//
//	s := debiantest.New(t)
//	s.AddBase("trixie")
//	s.Add("trixie", debiantest.Package{Name: "python3", Files: []debiantest.File{{Path: "usr/bin/python3", Body: "…"}}})
//	spec := debian.Spec{Suite: "trixie", Packages: []string{"python3"}, Arch: "amd64", Mirror: s.URL, SignedBy: s.KeyringFile()}
//
// It is for tests alone and serves on loopback only.
package debiantest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Date is the Date of every index unless a test sets another.
var Date = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// Package is a binary package.
type Package struct {
	Name    string
	Version string // "1.0-1" if empty
	Arch    string // "all" if empty
	Depends string
	// Fields are further fields of the control file: "Provides", "Pre-Depends".
	Fields map[string]string
	Files  []File
	// Compression of data.tar and control.tar: "xz" (the default), "zst", "gz"
	// or "none".
	Compression string
	// Raw, if set, is the .deb instead of one made of the above.
	Raw []byte
}

// File is a file of a package. With neither Body nor a link it is empty.
type File struct {
	Path string // relative to the root; a "/" at its end makes a directory
	Body string
	Mode int64 // 0644, for a directory 0755, if 0
	// Symlink and Hardlink are targets; a hard link's is a path in the package.
	Symlink, Hardlink string
	UID, GID          int
}

// Server is a Debian archive.
type Server struct {
	// URL is the address of the archive's root, to be used as a mirror.
	URL string
	// Edit, if set, changes what is served: it is given the path beneath the
	// root and the content, and what it returns is sent; nil is answered by 404.
	Edit func(path string, body []byte) []byte

	t      testing.TB
	key    *openpgp.Entity
	mu     sync.Mutex
	suites map[string]*Suite
	pool   map[string][]byte
	asked  []string
}

// Suite is one suite of a Server.
type Suite struct {
	Name, Codename string
	Date           time.Time
	ValidUntil     time.Time // zero: no such field
	NoByHash       bool      // no Acquire-By-Hash
	SplitAll       bool      // packages for all architectures in an index of their own
	Architectures  []string
	Components     []string
	packages       map[string][]string // paragraphs of Packages, by component and architecture
}

// New starts a server with a key of its own and no suites. It ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	key, err := openpgp.NewEntity("Archive of a test", "", "archive@example.org", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA,
		Time:      func() time.Time { return Date.AddDate(-1, 0, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, key: key, suites: map[string]*Suite{}, pool: map[string][]byte{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL + "/debian"
	return s
}

// Suite returns a suite, and makes it if it is not there: with the component
// main, the architectures amd64 and arm64, and its name for a codename.
func (s *Server) Suite(name string) *Suite {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suites[name] == nil {
		s.suites[name] = &Suite{Name: name, Codename: name, Date: Date, packages: map[string][]string{},
			Architectures: []string{"amd64", "arm64"}, Components: []string{"main"}}
	}
	return s.suites[name]
}

// Add puts a package into the component main of a suite.
func (s *Server) Add(suite string, p Package) {
	s.t.Helper()
	p = p.withDefaults()
	deb := p.Raw
	if deb == nil {
		var err error
		if deb, err = p.Deb(); err != nil {
			s.t.Fatalf("make package %s: %v", p.Name, err)
		}
	}
	in := s.Suite(suite)
	s.mu.Lock()
	defer s.mu.Unlock()
	file := fmt.Sprintf("pool/main/%c/%s/%s_%s_%s.deb", p.Name[0], p.Name, p.Name, withoutEpoch(p.Version), p.Arch)
	s.pool[file] = deb
	sum := sha256.Sum256(deb)
	paragraph := p.Control() + fmt.Sprintf("Filename: %s\nSize: %d\nSHA256: %s\n", file, len(deb), hex.EncodeToString(sum[:]))
	arches := []string{p.Arch}
	if p.Arch == "all" && !in.SplitAll {
		arches = in.Architectures
	}
	for _, arch := range arches {
		in.packages["main/binary-"+arch] = append(in.packages["main/binary-"+arch], paragraph)
	}
}

func withoutEpoch(version string) string {
	if _, rest, ok := strings.Cut(version, ":"); ok {
		return rest
	}
	return version
}

// Keyring returns the public key that signs the indexes.
func (s *Server) Keyring() []byte {
	var b bytes.Buffer
	if err := s.key.Serialize(&b); err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}

// KeyringFile writes Keyring to a file of the test and returns its name.
func (s *Server) KeyringFile() string {
	name := filepath.Join(s.t.TempDir(), "debian-archive-keyring.gpg")
	if err := os.WriteFile(name, s.Keyring(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// Requests returns the paths that were asked for since the last call, beneath
// the root and in order.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// ServeHTTP serves the archive.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/debian/")
	s.mu.Lock()
	s.asked = append(s.asked, name)
	body, err := s.file(name)
	edit := s.Edit
	s.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if edit != nil && body != nil {
		body = edit(name, body)
	}
	if body == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.Write(body) // the client has gone, then
}

// file returns a file of the archive, nil if there is none.
func (s *Server) file(name string) ([]byte, error) {
	if deb, ok := s.pool[name]; ok {
		return deb, nil
	}
	rest, ok := strings.CutPrefix(name, "dists/")
	if !ok {
		return nil, nil
	}
	suiteName, file, _ := strings.Cut(rest, "/")
	suite := s.suites[suiteName]
	if suite == nil {
		return nil, nil
	}
	indexes, err := suite.indexes()
	if err != nil {
		return nil, err
	}
	if file == "InRelease" {
		return s.sign(suite.release(indexes))
	}
	if dir, hash, ok := strings.Cut(file, "/by-hash/SHA256/"); ok && !suite.NoByHash {
		for path, body := range indexes {
			if sum := sha256.Sum256(body); strings.HasPrefix(path, dir+"/") && hex.EncodeToString(sum[:]) == hash {
				return body, nil
			}
		}
		return nil, nil
	}
	return indexes[file], nil
}

// indexes returns the suite's Packages files, compressed in two ways.
func (u *Suite) indexes() (map[string][]byte, error) {
	files := map[string][]byte{}
	arches := u.Architectures
	if u.SplitAll {
		arches = append(slices.Clone(arches), "all")
	}
	for _, component := range u.Components {
		for _, arch := range arches {
			dir := component + "/binary-" + arch
			plain := []byte(strings.Join(u.packages[dir], "\n"))
			gz, err := compress("gz", plain)
			if err != nil {
				return nil, err
			}
			files[dir+"/Packages"], files[dir+"/Packages.gz"], files[dir+"/Packages.xz"] = plain, gz, storeXZ(plain)
		}
	}
	return files, nil
}

// release returns the text of the suite's InRelease.
func (u *Suite) release(indexes map[string][]byte) string {
	var b strings.Builder
	arches := strings.Join(u.Architectures, " ")
	fmt.Fprintf(&b, "Origin: Debian\nLabel: Debian\nSuite: %s\nCodename: %s\nDate: %s\n", u.Name, u.Codename, date(u.Date))
	if !u.ValidUntil.IsZero() {
		fmt.Fprintf(&b, "Valid-Until: %s\n", date(u.ValidUntil))
	}
	if !u.NoByHash {
		b.WriteString("Acquire-By-Hash: yes\n")
	}
	if u.SplitAll {
		fmt.Fprintf(&b, "Architectures: all %s\n", arches)
	} else {
		fmt.Fprintf(&b, "No-Support-for-Architecture-all: Packages\nArchitectures: all %s\n", arches)
	}
	fmt.Fprintf(&b, "Components: %s\nDescription: an archive made by a test\nSHA256:\n", strings.Join(u.Components, " "))
	names := make([]string, 0, len(indexes))
	for name := range indexes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		sum := sha256.Sum256(indexes[name])
		fmt.Fprintf(&b, " %s %8d %s\n", hex.EncodeToString(sum[:]), len(indexes[name]), name)
	}
	return b.String()
}

func date(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05") + " UTC" }

// sign returns the text as a clear-signed message.
func (s *Server) sign(text string) ([]byte, error) {
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, s.key.PrivateKey, &packet.Config{Time: func() time.Time { return Date }})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
