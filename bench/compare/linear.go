package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// linearity shows what boyabuild takes for 1, 4 and 16 times as much.
func (b *bench) linearity(ctx context.Context) error {
	fmt.Println("| | seconds | CPU seconds | peak memory |")
	fmt.Println("|---|---|---|---|")
	one := func(name string, fill func(dir string) error) error {
		dir := filepath.Join(b.work, name)
		defer os.RemoveAll(dir)
		err := write(dir, map[string]string{"Dockerfile": "FROM scratch\nCOPY data /\n"})
		if err == nil {
			err = fill(filepath.Join(dir, "data"))
		}
		if err != nil {
			return err
		}
		time.Sleep(3 * time.Second) // files just written are read twice
		p := &boyabuild{peer{b: b, c: &buildContext{dir: dir}, repository: b.registry.host + "/" + strings.ReplaceAll(strings.ToLower(name), " ", "-"), cache: filepath.Join(b.work, "cache-"+name)}}
		defer p.end()
		for _, what := range []string{"cold", "unchanged"} {
			m, err := p.push(ctx, "1", false)
			if err != nil {
				return err
			}
			fmt.Printf("| %s, %s | %.2f | %.2f | %d MB |\n", name, what, m.seconds, m.cpu, m.peak>>20)
		}
		return nil
	}
	for _, n := range []int64{64, 256, 1024} {
		err := one(fmt.Sprintf("one file of %d MB", n), func(dir string) error {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			f, err := os.Create(filepath.Join(dir, "file"))
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.CopyN(f, rand.Reader, n<<20)
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, n := range []int{5_000, 20_000, 80_000} {
		err := one(fmt.Sprintf("%d files", n), func(dir string) error {
			files := map[string]string{}
			for i := range n {
				files[fmt.Sprintf("p%d/f%d.py", i/100, i)] = text2k(uint64(i))
			}
			return write(dir, files)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
