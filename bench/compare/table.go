package main

import (
	"fmt"
	"io"
)

// table prints the medians, and how many times as much as boyabuild each took.
func (b *bench) table(w io.Writer) {
	fmt.Fprintln(w, "| | | seconds | ratio | CPU seconds | peak memory | to the registry | from the registry | requests |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	for _, workload := range b.only {
		for _, what := range cases {
			ours := 0.0
			for _, peer := range b.peer {
				list := b.of(workload, what, peer)
				if len(list) == 0 {
					continue
				}
				m, failed := medians(list)
				if failed != "" {
					fmt.Fprintf(w, "| %s %s | %s | not run: %.120q | | | | | | |\n", workload, what, peer, failed)
					continue
				}
				if peer == "boyabuild" {
					ours = m.seconds
				}
				ratio := ""
				if ours > 0 {
					ratio = fmt.Sprintf("%.1f×", m.seconds/ours)
				}
				fmt.Fprintf(w, "| %s %s | %s | %.2f | %s | %.2f | %d MB | %s | %s | %d |\n", workload, what, peer, m.seconds, ratio, m.cpu, m.peak>>20, size(m.up), size(m.down), m.requests)
			}
		}
	}
}

func (b *bench) of(workload, what, peer string) []result {
	var out []result
	for _, r := range b.results {
		if r.Workload == workload && r.Case == what && r.Peer == peer {
			out = append(out, r)
		}
	}
	return out
}

func medians(list []result) (m measured, failed string) {
	var seconds, cpu []float64
	var peak, up, down, requests []int64
	for _, r := range list {
		if r.Failed != "" {
			return m, r.Failed
		}
		seconds, cpu = append(seconds, r.Seconds), append(cpu, r.CPU)
		peak, up, down, requests = append(peak, r.Peak), append(up, r.Up), append(down, r.Down), append(requests, r.Requests)
	}
	return measured{seconds: median(seconds), cpu: median(cpu), peak: median(peak), up: median(up), down: median(down), requests: median(requests)}, ""
}
