package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read record: %w", err)
	}
	var r record
	if json.Unmarshal(b, &r) != nil || r.Key != key || r.SHA256 != digestOf(r.Value) || json.Unmarshal(r.Value, v) != nil {
		return false, nil
	}
	if info, err := os.Stat(path); err == nil {
		s.touch(path, info)
	}
	return true, nil
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
