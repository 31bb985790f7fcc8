package index

import (
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
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if n := info.Size(); info.Mode().IsRegular() && n > 0 && n <= limit {
		b := make([]byte, n)
		_, err := io.ReadFull(f, b) // one that grows meanwhile is read as it was
		return b, err
	}
	return readLimit(f, limit)
}
