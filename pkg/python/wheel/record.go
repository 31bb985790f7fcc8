package wheel

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// row is one line of RECORD (PEP 376, PEP 627).
type row struct {
	path string
	hash string // as written: "sha256=…" in unpadded URL-safe base64; "" for none
	size string // as written, decimal; "" for none

	algorithm func() hash.Hash // nil where there is no hash
	digest    []byte
}

// parseRecord reads RECORD's lines. What they mean is not looked at.
func parseRecord(b []byte) ([]row, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))))
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	var rows []row
	for {
		fields, err := r.Read()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return rows, nil
			}
			return nil, err
		}
		fields = append(slices.Clone(fields), "", "")
		rows = append(rows, row{path: fields[0], hash: fields[1], size: fields[2]})
	}
}

// check reads the row's hash.
func (r *row) check() error {
	if r.hash == "" {
		return nil
	}
	name, text, ok := strings.Cut(r.hash, "=")
	if !ok {
		return fmt.Errorf("has the hash %q, which names no algorithm", r.hash)
	}
	switch name {
	case "sha256":
		r.algorithm = sha256.New
	case "sha384":
		r.algorithm = sha512.New384
	case "sha512":
		r.algorithm = sha512.New
	default:
		// PEP 427, "Signed wheel files": sha256 or better, never md5 or sha1.
		return fmt.Errorf("has a %s hash; RECORD takes sha256 or better", name)
	}
	digest, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(digest) != r.algorithm().Size() {
		return fmt.Errorf("has a wrong hash %q", r.hash)
	}
	r.digest = digest
	return nil
}

// isSignature says whether p is RECORD or a signature of it, which RECORD
// cannot hold hashes of (PEP 427, "The .dist-info directory").
func (w *Wheel) isSignature(p string) bool {
	dir, name := path.Split(p)
	return dir == w.distInfo+"/" && (name == "RECORD" || name == "RECORD.jws" || name == "RECORD.p7s")
}

// readRecord ties every file to its line in RECORD. Files without a line and
// lines without a file are errors.
func (w *Wheel) readRecord() error {
	b, err := w.readText("RECORD", false)
	if err != nil {
		return err
	}
	name := w.distInfo + "/RECORD"
	rows, err := parseRecord(b)
	if err != nil {
		return &Error{Wheel: w.Name.Filename, Entry: name, Reason: "is no CSV file", Err: err}
	}
	for i := range rows {
		if err := w.tieRow(&rows[i]); err != nil {
			return err
		}
	}
	for _, f := range w.files {
		if f.row == nil && !w.isSignature(f.name) {
			return w.refuse(f.name, "is not in RECORD")
		}
	}
	w.rows = rows
	return nil
}

// tieRow finds the row's file and holds the sizes against each other.
func (w *Wheel) tieRow(r *row) error {
	if strings.HasSuffix(r.path, "/") { // old tools list directories too
		return nil
	}
	if reason := badPath(r.path); reason != "" {
		return w.refuse(w.distInfo+"/RECORD", "has a line for %q, which %s", r.path, reason)
	}
	f, ok := w.byName[path.Clean(r.path)]
	if !ok {
		return w.refuse(r.path, "is in RECORD, but not in the archive")
	}
	if w.isSignature(f.name) {
		return nil
	}
	if err := r.check(); err != nil {
		return w.refuse(f.name, "%s", err)
	}
	if r.hash == "" {
		return w.refuse(f.name, "has no hash in RECORD")
	}
	if r.size != "" {
		if n, err := strconv.ParseInt(r.size, 10, 64); err != nil || n != f.size {
			return w.refuse(f.name, "has %d bytes, but %q in RECORD", f.size, r.size)
		}
	}
	if f.row != nil && (f.row.hash != r.hash || f.row.size != r.size) {
		return w.refuse(f.name, "is in RECORD twice, with different hashes")
	}
	f.row = r
	return nil
}

// rowOf returns the line of a file that was made or changed here.
func rowOf(p string, content []byte) row {
	sum := sha256.Sum256(content)
	return row{path: p, hash: "sha256=" + base64.RawURLEncoding.EncodeToString(sum[:]), size: strconv.Itoa(len(content))}
}

// formatRecord writes rows as pip does: sorted by their three fields, quoted
// where they must be, ended by CR LF as Python's csv module ends them.
func formatRecord(rows []row) []byte {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b row) int {
		if c := strings.Compare(a.path, b.path); c != 0 {
			return c
		}
		if c := strings.Compare(a.hash, b.hash); c != 0 {
			return c
		}
		return strings.Compare(a.size, b.size)
	})
	var b bytes.Buffer
	for _, r := range rows {
		for i, field := range []string{r.path, r.hash, r.size} {
			if i > 0 {
				b.WriteByte(',')
			}
			if strings.ContainsAny(field, ",\"\r\n") {
				field = `"` + strings.ReplaceAll(field, `"`, `""`) + `"`
			}
			b.WriteString(field)
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()
}
