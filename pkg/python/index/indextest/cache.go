package indextest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Cache is a cache for package index in a folder of the test.
type Cache struct {
	dir     string
	mu      sync.Mutex
	records map[string][]byte
}

// NewCache makes an empty cache.
func NewCache(t testing.TB) *Cache {
	t.Helper()
	return &Cache{dir: t.TempDir(), records: map[string][]byte{}}
}

// File is where a blob lies.
func (c *Cache) File(h v1.Hash) string { return filepath.Join(c.dir, h.Hex) }

// Has reports whether a blob is there.
func (c *Cache) Has(h v1.Hash) bool {
	_, err := os.Stat(c.File(h))
	return err == nil && h.Hex != ""
}

// Blobs is the number of blobs.
func (c *Cache) Blobs() int {
	entries, _ := os.ReadDir(c.dir)
	return len(entries)
}

// Put stores what r gives; with want set, nothing else than that.
func (c *Cache) Put(ctx context.Context, r io.Reader, want *v1.Hash) (v1.Hash, int64, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return v1.Hash{}, 0, err
	}
	sum := sha256.Sum256(content)
	h := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	if want != nil && *want != h {
		return v1.Hash{}, 0, fmt.Errorf("digest is %s where %s was expected", h, want)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return h, int64(len(content)), os.WriteFile(c.File(h), content, 0o644)
}

// Record reads the record of a key into v.
func (c *Cache) Record(key string, v any) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, ok := c.records[key]
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal(data, v)
}

// SetRecord writes the record of a key.
func (c *Cache) SetRecord(key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records[key] = data
	return nil
}
