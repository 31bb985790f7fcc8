package index

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
)

// readLimit reads all of r, and refuses more than limit bytes.
func readLimit(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return b, nil
}

func readFileLimit(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimit(f, limit)
}

// keepDocument puts a page into the cache. That it could not be kept costs
// time, not the result.
func (c *Client) keepDocument(ctx context.Context, key, etag string, d document) {
	h, _, err := c.cache.Put(ctx, bytes.NewReader(d.body), nil)
	if err == nil {
		err = c.cache.SetRecord(key, pageRecord{ETag: etag, ContentType: d.contentType, Base: d.base.String(), Body: h})
	}
	if err != nil {
		c.log.Debug(fmt.Sprintf("keep page %s: %v", redact(d.base), err))
	}
}
