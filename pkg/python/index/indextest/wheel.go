package indextest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"time"
)

// Spec describes a wheel; Name and Version are enough for a valid one.
type Spec struct {
	Name, Version string
	Build         string   // build tag
	Tag           string   // "py3-none-any" when empty; compressed sets are written out in WHEEL
	Requires      []string // Requires-Dist
	Extras        []string // Provides-Extra
	// RequiresPython goes into METADATA and into the index's listing.
	RequiresPython string
	// Metadata replaces the whole METADATA that the above would make.
	Metadata string
	// Description is the body of METADATA.
	Description string

	Files map[string]string // path in the wheel -> content
	// Data are files of the .data directory: "scripts/tool", "data/etc/x.cfg",
	// "headers/x.h", "purelib/x.py", "platlib/x.so".
	Data           map[string]string
	Executable     []string          // those of Files (path) and Data (".data" path) with mode 0755
	ConsoleScripts map[string]string // name -> "module:function"
	GUIScripts     map[string]string
	Platlib        bool // Root-Is-Purelib: false
	Stored         bool // do not compress
	// DistInfo are further files of the .dist-info directory ("top_level.txt").
	DistInfo map[string]string

	// How the index lists it.
	Yanked       bool
	YankedReason string
	UploadTime   time.Time
}

// Wheel makes the wheel of a spec: its file name and its bytes, with WHEEL,
// METADATA, entry_points.txt and a correct RECORD. The same Spec gives the same
// bytes.
func Wheel(s Spec) (filename string, content []byte) {
	stem := escape(s.Name) + "-" + s.Version
	tag := s.tag()
	filename = stem + "-" + tag + ".whl"
	if s.Build != "" {
		filename = stem + "-" + s.Build + "-" + tag + ".whl"
	}
	executable := map[string]bool{}
	for _, p := range s.Executable {
		executable[p] = true
	}
	info := stem + ".dist-info/"
	w := wheelWriter{stored: s.Stored}
	w.zip = zip.NewWriter(&w.buf)
	for _, p := range sortedKeys(s.Files) {
		w.add(p, s.Files[p], executable[p])
	}
	for _, p := range sortedKeys(s.Data) {
		w.add(stem+".data/"+p, s.Data[p], executable[p])
	}
	for _, p := range sortedKeys(s.DistInfo) {
		w.add(info+p, s.DistInfo[p], false)
	}
	if points := s.entryPoints(); points != "" {
		w.add(info+"entry_points.txt", points, false)
	}
	w.add(info+"METADATA", s.metadata(), false)
	w.add(info+"WHEEL", s.wheelFile(tag), false)
	w.add(info+"RECORD", w.record.String()+info+"RECORD,,\n", false)
	if err := w.zip.Close(); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	return filename, w.buf.Bytes()
}

func (s Spec) tag() string {
	if s.Tag == "" {
		return "py3-none-any"
	}
	return s.Tag
}

func (s Spec) metadata() string {
	if s.Metadata != "" {
		return s.Metadata
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Metadata-Version: 2.3\nName: %s\nVersion: %s\n", s.Name, s.Version)
	if s.RequiresPython != "" {
		fmt.Fprintf(&b, "Requires-Python: %s\n", s.RequiresPython)
	}
	for _, r := range s.Requires {
		fmt.Fprintf(&b, "Requires-Dist: %s\n", r)
	}
	for _, e := range s.Extras {
		fmt.Fprintf(&b, "Provides-Extra: %s\n", e)
	}
	if s.Description != "" {
		fmt.Fprintf(&b, "\n%s", s.Description)
	}
	return b.String()
}

func (s Spec) wheelFile(tag string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Wheel-Version: 1.0\nGenerator: indextest\nRoot-Is-Purelib: %t\n", !s.Platlib)
	if s.Build != "" {
		fmt.Fprintf(&b, "Build: %s\n", s.Build)
	}
	if parts := strings.Split(tag, "-"); len(parts) == 3 {
		for _, python := range strings.Split(parts[0], ".") {
			for _, abi := range strings.Split(parts[1], ".") {
				for _, platform := range strings.Split(parts[2], ".") {
					fmt.Fprintf(&b, "Tag: %s-%s-%s\n", python, abi, platform)
				}
			}
		}
	}
	return b.String()
}

func (s Spec) entryPoints() string {
	var b strings.Builder
	for _, group := range []struct {
		name   string
		points map[string]string
	}{{"console_scripts", s.ConsoleScripts}, {"gui_scripts", s.GUIScripts}} {
		if len(group.points) == 0 {
			continue
		}
		fmt.Fprintf(&b, "[%s]\n", group.name)
		for _, name := range sortedKeys(group.points) {
			fmt.Fprintf(&b, "%s = %s\n", name, group.points[name])
		}
	}
	return b.String()
}

type wheelWriter struct {
	buf    bytes.Buffer
	zip    *zip.Writer
	record strings.Builder
	stored bool
}

func (w *wheelWriter) add(path, content string, executable bool) {
	h := &zip.FileHeader{Name: path, Method: zip.Deflate, Modified: time.Date(2020, 2, 2, 0, 0, 0, 0, time.UTC)}
	if w.stored {
		h.Method = zip.Store
	}
	mode := fs.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	h.SetMode(mode)
	f, err := w.zip.CreateHeader(h)
	if err == nil {
		_, err = f.Write([]byte(content))
	}
	if err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	sum := sha256.Sum256([]byte(content))
	fmt.Fprintf(&w.record, "%s,sha256=%s,%d\n", csvField(path), base64.RawURLEncoding.EncodeToString(sum[:]), len(content))
}

func csvField(s string) string {
	if strings.ContainsAny(s, ",\"\n") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

// escape is the form of a name in a wheel's file name (the binary distribution
// format's "Escaping and Unicode").
func escape(name string) string { return strings.ReplaceAll(normalize(name), "-", "_") }

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
