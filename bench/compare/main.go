// Compare builds and pushes the same images with boyabuild and with others, one
// after the other on the same machine, and prints what each took.
//
// It is started by bench/run, which makes what it needs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

// options are the command line.
type options struct {
	boyabuild, peers, wheels, workloads, uv string // paths
	out                                     string
	only, peer                              []string
	runs                                    int
	linear                                  bool
}

func main() {
	var o options
	var only, peer string
	flag.StringVar(&o.boyabuild, "boyabuild", "", "the program")
	flag.StringVar(&o.peers, "bin", "", "folder with buildkitd, buildctl and crane")
	flag.StringVar(&o.wheels, "wheels", "", "folder with all wheels")
	flag.StringVar(&o.workloads, "requirements", "bench/workloads", "folder with w1.txt and w2.txt")
	flag.StringVar(&o.uv, "uv", "", "uv's program")
	flag.StringVar(&o.out, "out", "", "write raw results as JSON lines into this folder")
	flag.StringVar(&only, "workloads", "W1,W2,W3", "which of them")
	flag.StringVar(&peer, "peers", "boyabuild,buildkit,buildah,uv+crane,uv+umoci,pip+crane", "which builders")
	flag.IntVar(&o.runs, "runs", 3, "how often each is done; medians are shown")
	flag.BoolVar(&o.linear, "linear", false, "boyabuild alone, with 1, 4 and 16 times the bytes and the files")
	flag.Parse()
	o.only, o.peer = strings.Split(only, ","), strings.Split(peer, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// result is one measured command.
type result struct {
	Workload, Case, Peer string
	Run                  int
	Seconds, CPU         float64
	Peak                 int64 // bytes of memory that is no file's, over all processes
	Up, Down             int64 // bytes to and from the registry
	Requests             int64
	Failed               string `json:",omitempty"`
}

func run(ctx context.Context, o options) error {
	work, err := os.MkdirTemp("", "boyabuild-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	reg, err := startRegistry(ctx, filepath.Join(work, "registry"))
	if err != nil {
		return err
	}
	defer reg.stop()
	b := &bench{options: o, work: work, registry: reg}
	if o.linear {
		return b.linearity(ctx)
	}
	if err := b.base(ctx); err != nil {
		return err
	}
	for _, w := range o.only {
		if err := b.workload(ctx, w); err != nil {
			return err
		}
	}
	b.table(os.Stdout)
	return b.write()
}

// bench is one run of the benchmark.
type bench struct {
	options
	work     string
	registry *registry
	results  []result
}

// write keeps the raw results.
func (b *bench) write() error {
	if b.out == "" {
		return nil
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(b.out, "results.jsonl"))
	if err != nil {
		return err
	}
	defer f.Close()
	enc := json.NewEncoder(f)
	for _, r := range b.results {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return f.Close()
}

// cases are what is done with each workload, in this order.
var cases = []string{"cold", "unchanged", "one file", "one dependency", "cold runner"}

// workload does all cases with all builders, several times.
func (b *bench) workload(ctx context.Context, name string) error {
	for i := range b.runs {
		for _, peer := range b.peer {
			c, err := b.context(name, filepath.Join(b.work, fmt.Sprintf("%s-%s-%d", name, safe(peer), i)))
			if err != nil {
				return err
			}
			p, err := b.builder(peer, c, fmt.Sprintf("%s-%s-%d", strings.ToLower(name), safe(peer), i))
			if err != nil {
				return err
			}
			for n, what := range cases {
				if what == "one dependency" && c.bump == "" {
					continue
				}
				if err := b.one(ctx, p, c, result{Workload: name, Case: what, Peer: peer, Run: i}, n); err != nil {
					return err
				}
			}
			p.end()
			os.RemoveAll(c.dir)
		}
	}
	return nil
}

// one does one case.
func (b *bench) one(ctx context.Context, p builder, c *buildContext, r result, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tag := fmt.Sprint("1.", n)
	switch r.Case {
	case "cold":
		if err := p.forget(ctx); err != nil {
			return fmt.Errorf("%s: %w", r.Peer, err)
		}
	case "unchanged":
		tag = "1.0"
	case "one file":
		c.edit()
	case "one dependency":
		if err := c.bumpPackage(); err != nil {
			return err
		}
	case "cold runner":
		c.edit()
		if err := p.forget(ctx); err != nil {
			return fmt.Errorf("%s: %w", r.Peer, err)
		}
	}
	m, err := p.push(ctx, tag, r.Case == "cold runner")
	r.Seconds, r.CPU, r.Peak, r.Up, r.Down, r.Requests = m.seconds, m.cpu, m.peak, m.up, m.down, m.requests
	if err != nil {
		r.Failed = err.Error()
	}
	fmt.Fprintf(os.Stderr, "%s %-14s %-10s %7.2f s %7.2f s cpu %4d MB  %s up, %s down, %d requests %s\n", r.Workload, r.Case, r.Peer, r.Seconds, r.CPU, r.Peak>>20, size(r.Up), size(r.Down), r.Requests, r.Failed)
	b.results = append(b.results, r)
	return nil
}

func safe(s string) string { return strings.ReplaceAll(s, "+", "-") }

func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%d kB", n/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

func median[T int64 | float64](list []T) T {
	slices.Sort(list)
	return list[len(list)/2]
}
