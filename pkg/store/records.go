package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// RecordFile is the file for a record that its user reads and replaces himself,
// in a form of its own. It is pruned as other records are, and may be gone at any
// time.
func (s *Store) RecordFile(key string) string { return s.recordFile(key) }

// recordFile returns where the record of a key lies. Keys are free text; the
// file's name is their digest.
func (s *Store) recordFile(key string) string {
	return filepath.Join(s.records(), digestOf([]byte(key))+".json")
}

// digestOf returns the sha256 of b in hexadecimal.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// record is a record's file: the key is kept beside the value, so that the
// folder can be read by a person and a collision of names would be seen, and
// the digest of the value, because a record is believed.
type record struct {
	Key    string          `json:"key"`
	Value  json.RawMessage `json:"value"`
	SHA256 string          `json:"sha256"`
}

// Record reads the record of key into v and says whether there is one. A
// damaged record counts as absent.
func (s *Store) Record(key string, v any) (bool, error) {
	path := s.recordFile(key)
	b, info, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read record: %w", err)
	}
	value, ok := valueOf(b, key)
	if !ok || json.Unmarshal(value, v) != nil {
		return false, nil
	}
	s.touch(path, info)
	return true, nil
}

// valueOf is the value in the record of a key, if it is what its digest says.
// A resolution reads hundreds of records, so they are not parsed but taken
// apart: all but the value is known, or of a known length.
func valueOf(b []byte, key string) (json.RawMessage, bool) {
	name, err := json.Marshal(key)
	if err != nil {
		return nil, false
	}
	head := slices.Concat([]byte(`{"key":`), name, []byte(`,"value":`))
	const between, end = `,"sha256":"`, `"}`
	tail := len(b) - len(between) - 2*sha256.Size - len(end)
	if tail < len(head) || !bytes.HasPrefix(b, head) {
		return nil, false
	}
	value := b[len(head):tail]
	return value, string(b[tail:]) == between+digestOf(value)+end
}

// readFile reads a whole file that nobody writes to, and its stat data.
func readFile(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	b := make([]byte, info.Size())
	_, err = io.ReadFull(f, b)
	return b, info, err
}

// SetRecord keeps v under key.
func (s *Store) SetRecord(key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	b, err := json.Marshal(record{Key: key, Value: value, SHA256: digestOf(value)})
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if err := s.replace(s.recordFile(key), b, false); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// replace writes a whole file by renaming. With sync, a power failure leaves the
// old file or the new one.
func (s *Store) replace(path string, b []byte, sync bool) error {
	f, err := os.CreateTemp(s.scratch(), "file-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
