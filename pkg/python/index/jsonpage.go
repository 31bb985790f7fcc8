package index

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// listed is an entry of a page as it was read, before it is known to be a file
// of the project. Its strings are parts of the page.
type listed struct {
	filename   string
	url        string   // absolute, without credentials and fragment
	login      *url.URL // with the credentials that the reference had; nil = none
	hashes     []hashValue
	size       int64
	uploaded   int64 // microseconds since 1970; unknownTime = not said
	requires   string
	yanked     bool
	reason     string
	core       bool
	coreHashes []hashValue
}

// hashValue is a sum in lower-case hexadecimal.
type hashValue struct{ algorithm, value string }

// unknownTime stands for the upload time of a file whose index gives none.
const unknownTime = math.MinInt64

func parseJSON(body []byte, base *url.URL) ([]link, error) {
	var out []link
	err := scanJSON(string(body), base, func(l *listed) { out = append(out, l.link()) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// link gives the entry the form that pages on this machine and HTML pages have.
func (l *listed) link() link {
	out := link{login: l.login}
	out.Filename, out.URL, out.Size = l.filename, l.url, l.size
	out.Hashes, out.RequiresPython = hashMap(l.hashes), l.requires
	out.Yanked, out.YankedReason = l.yanked, l.reason
	out.CoreMetadata, out.MetadataHashes = l.core, hashMap(l.coreHashes)
	if l.uploaded != unknownTime {
		out.UploadTime = time.UnixMicro(l.uploaded).UTC()
	}
	return out
}

func hashMap(values []hashValue) map[string]string {
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]string, len(values))
	for _, v := range values {
		out[v.algorithm] = v.value
	}
	return out
}

// scanJSON reads the JSON of PEP 691 and PEP 700 and hands over each file; the
// entry is used again for the next one. Pages are many megabytes, and reading
// them by reflection was most of what a resolution cost, hence a scanner for
// just this document. What it does not know it checks and skips.
func scanJSON(body string, base *url.URL, emit func(*listed)) error {
	s := jsonScanner{text: body}
	r := jsonReader{jsonScanner: &s, base: base, emit: emit}
	if err := r.page(); err != nil {
		return fmt.Errorf("read page %s: %w", redact(base), err)
	}
	return nil
}

// jsonReader knows the document, jsonScanner the syntax.
type jsonReader struct {
	*jsonScanner
	base  *url.URL
	emit  func(*listed)
	entry listed
}

func (r *jsonReader) page() error {
	version := ""
	err := r.object(func(key string) (err error) {
		switch key {
		case "meta":
			return r.object(func(key string) (err error) {
				if key != "api-version" {
					return r.skip()
				}
				version, err = r.optionalText()
				return err
			})
		case "files":
			return r.array(r.file)
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	if err := r.end(); err != nil {
		return err
	}
	return checkAPIVersion(version)
}

func (r *jsonReader) file() error {
	l := &r.entry
	*l = listed{hashes: l.hashes[:0], coreHashes: l.coreHashes[:0], uploaded: unknownTime}
	reference := ""
	var named [2]coreMetadata // by the name of PEP 714, and that of PEP 658
	err := r.object(func(key string) (err error) {
		switch key {
		case "filename":
			l.filename, err = r.optionalText()
		case "url":
			reference, err = r.optionalText()
		case "hashes":
			l.hashes = l.hashes[:0]
			err = r.hashes(func(h hashValue) {
				if h, ok := h.checked(); ok {
					l.hashes = append(l.hashes, h)
				}
			})
		case "requires-python":
			l.requires, err = r.optionalText()
		case "size":
			l.size, err = r.optionalInteger()
			l.size = max(l.size, 0)
		case "upload-time":
			err = r.uploadTime()
		case "yanked":
			l.yanked, l.reason, err = r.boolOrText()
		case "core-metadata":
			named[0], err = r.coreMetadata()
		case "dist-info-metadata":
			named[1], err = r.coreMetadata()
		default:
			err = r.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	// PEP 714: the new key wins when both are there.
	core := named[0]
	if !core.present {
		core = named[1]
	}
	l.core, l.coreHashes = core.set, append(l.coreHashes, core.hashes...)
	if !l.locate(r.base, reference) {
		return nil // cannot be fetched; another file may do
	}
	r.emit(l)
	return nil
}

// locate makes the reference absolute.
func (l *listed) locate(base *url.URL, reference string) bool {
	if isPlainURL(reference) {
		l.url = reference
		return true
	}
	u, ok := resolve(base, reference)
	if !ok {
		return false
	}
	if u.User != nil {
		l.login = u
	}
	v := *u
	v.User, v.Fragment, v.RawFragment = nil, "", ""
	l.url = v.String()
	return true
}

// isPlainURL reports whether a reference is an absolute address that package
// url would give back as it is: nothing to resolve, no credentials, no escapes.
func isPlainURL(s string) bool {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		if rest, ok = strings.CutPrefix(s, "http://"); !ok {
			return false
		}
	}
	host := strings.IndexByte(rest, '/')
	if host <= 0 {
		return false
	}
	for i := range host {
		if c := rest[i]; !isAlnum(c) && c != '.' && c != '-' {
			return false // a port too: package url checks it
		}
	}
	for i := host; i < len(rest); i++ {
		switch c := rest[i]; {
		case isAlnum(c) || c == '-' || c == '_' || c == '~':
		case c == '.':
			if rest[i-1] == '/' { // "." and ".." are resolved
				return false
			}
		case c == '/':
			if rest[i-1] == '/' && i > host {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// checked is the sum as it is compared; ok is false for one that cannot be.
func (h hashValue) checked() (hashValue, bool) {
	if h.algorithm != "sha256" && newHash(h.algorithm) == nil || len(h.value) == 0 || len(h.value)%2 != 0 {
		return h, false
	}
	lower := true
	for i := range len(h.value) {
		switch c := h.value[i]; {
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
		case c >= 'A' && c <= 'F':
			lower = false
		default:
			return h, false
		}
	}
	if !lower {
		h.value = strings.ToLower(h.value)
	}
	return h, true
}

// coreMetadata is the value of "core-metadata": hashes, or whether.
type coreMetadata struct {
	present, set bool
	hashes       []hashValue
}

func (r *jsonReader) coreMetadata() (m coreMetadata, err error) {
	switch r.peek() {
	case 'n':
		return m, r.skip()
	case 't', 'f':
		m.present, m.set = true, r.peek() == 't'
		return m, r.skip()
	}
	m.present, m.set = true, true
	err = r.hashes(func(h hashValue) { m.hashes = append(m.hashes, h) })
	return m, err
}

func (r *jsonReader) hashes(add func(hashValue)) error {
	return r.object(func(algorithm string) error {
		value, err := r.optionalText()
		if err == nil {
			add(hashValue{algorithm, value})
		}
		return err
	})
}

// boolOrText is the value of "yanked": a reason, or whether.
func (r *jsonReader) boolOrText() (set bool, text string, err error) {
	switch r.peek() {
	case 'n', 'f':
		return false, "", r.skip()
	case 't':
		return true, "", r.skip()
	}
	text, err = r.string()
	return true, text, err
}

// uploadTime reads an upload time; PEP 700 fixes the format, and what does not
// parse counts as not said.
func (r *jsonReader) uploadTime() error {
	text, err := r.optionalText()
	if err != nil {
		return err
	}
	r.entry.uploaded = unknownTime
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		r.entry.uploaded = t.UnixMicro()
	}
	return nil
}

// optionalText reads a string; null is the empty one.
func (r *jsonReader) optionalText() (string, error) {
	if r.peek() == 'n' {
		return "", r.skip()
	}
	return r.string()
}

func (r *jsonReader) optionalInteger() (int64, error) {
	if r.peek() == 'n' {
		return 0, r.skip()
	}
	start := r.pos
	if err := r.number(); err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(r.text[start:r.pos], 10, 64)
	if err != nil {
		return 0, r.wrong("a whole number")
	}
	return n, nil
}

// jsonScanner reads JSON (RFC 8259) in one pass, without copying.
type jsonScanner struct {
	text  string
	pos   int
	depth int
}

// maxJSONDepth bounds what is nested in what is skipped, so that a page of
// brackets cannot exhaust the stack.
const maxJSONDepth = 1000

func (s *jsonScanner) wrong(want string) error {
	return fmt.Errorf("byte %d of the JSON is not %s", s.pos, want)
}

// peek is the first byte of the next token; 0 at the end.
func (s *jsonScanner) peek() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

func (s *jsonScanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

func (s *jsonScanner) end() error {
	if s.peek() != 0 || s.pos < len(s.text) {
		return s.wrong("the end")
	}
	return nil
}

// object calls field with every key; null has none.
func (s *jsonScanner) object(field func(key string) error) error {
	if s.peek() == 'n' {
		return s.word("null")
	}
	if !s.take('{') {
		return s.wrong("an object")
	}
	if s.depth++; s.depth > maxJSONDepth {
		return s.wrong("nested as deep as a page may be")
	}
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return s.wrong("a comma or the end of the object")
		}
		if s.peek() != '"' {
			return s.wrong("a key")
		}
		key, err := s.string()
		if err != nil {
			return err
		}
		if !s.take(':') {
			return s.wrong("a colon")
		}
		if err := field(key); err != nil {
			return err
		}
	}
	s.depth--
	return nil
}

// array calls element in front of every element; null has none.
func (s *jsonScanner) array(element func() error) error {
	if s.peek() == 'n' {
		return s.word("null")
	}
	if !s.take('[') {
		return s.wrong("an array")
	}
	if s.depth++; s.depth > maxJSONDepth {
		return s.wrong("nested as deep as a page may be")
	}
	for first := true; !s.take(']'); first = false {
		if !first && !s.take(',') {
			return s.wrong("a comma or the end of the array")
		}
		if s.peek() == ']' {
			return s.wrong("an element")
		}
		if err := element(); err != nil {
			return err
		}
	}
	s.depth--
	return nil
}

// skip checks a value and leaves it out.
func (s *jsonScanner) skip() error {
	switch s.peek() {
	case '{':
		return s.object(func(string) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case '"':
		_, err := s.string()
		return err
	case 'n':
		return s.word("null")
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	}
	return s.number()
}

func (s *jsonScanner) word(w string) error {
	if !strings.HasPrefix(s.text[s.pos:], w) {
		return s.wrong("a value")
	}
	s.pos += len(w)
	return nil
}

// number checks a number: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
func (s *jsonScanner) number() error {
	s.peek()
	i := s.pos
	digits := func() bool {
		start := i
		for i < len(s.text) && s.text[i] >= '0' && s.text[i] <= '9' {
			i++
		}
		return i > start
	}
	is := func(set string) bool {
		if i < len(s.text) && strings.IndexByte(set, s.text[i]) >= 0 {
			i++
			return true
		}
		return false
	}
	is("-")
	ok := is("0") || digits()
	if ok && is(".") {
		ok = digits()
	}
	if ok && is("eE") {
		is("+-")
		ok = digits()
	}
	if !ok {
		return s.wrong("a value")
	}
	s.pos = i
	return nil
}

// string reads a string. One with escapes, or with anything but ASCII in it, is
// left to package json; there are few.
func (s *jsonScanner) string() (string, error) {
	if !s.take('"') {
		return "", s.wrong("a string")
	}
	start, plain := s.pos, true
	for i := start; i < len(s.text); i++ {
		c := s.text[i]
		if c-' ' < 0x80-' ' && c != '"' && c != '\\' { // nearly always
			continue
		}
		switch {
		case c == '"':
			s.pos = i + 1
			if plain {
				return s.text[start:i], nil
			}
			var out string
			if err := json.Unmarshal([]byte(s.text[start-1:s.pos]), &out); err != nil {
				s.pos = start
				return "", s.wrong("a string")
			}
			return out, nil
		case c < ' ':
			s.pos = i
			return "", s.wrong("a character of a string")
		case c == '\\':
			i++ // whatever is escaped does not end it
		}
		plain = false
	}
	return "", s.wrong("a string that ends")
}
