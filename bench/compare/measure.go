package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// measured is what a command took.
type measured struct {
	seconds, cpu       float64
	peak               int64
	up, down, requests int64
}

// clockTick is the unit of times in /proc: USER_HZ, which is 100 on Linux.
const clockTick = 100

// measure runs a command and watches it, and a daemon that works for it (0: none).
func (b *bench) measure(ctx context.Context, cmd *exec.Cmd, daemon int) (measured, error) {
	var m measured
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	r := b.registry
	up, down, requests := r.up.Load(), r.down.Load(), r.requests.Load()
	before := treeTicks(daemon)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return m, err
	}
	done := make(chan struct{})
	var peak atomic.Int64
	go func() {
		for {
			n := treeMemory(cmd.Process.Pid)
			if daemon != 0 {
				n += treeMemory(daemon)
			}
			peak.Store(max(peak.Load(), n))
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	err := cmd.Wait()
	m.seconds = time.Since(start).Seconds()
	close(done)
	m.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() + float64(treeTicks(daemon)-before)/clockTick
	m.peak = peak.Load()
	m.up, m.down, m.requests = r.up.Load()-up, r.down.Load()-down, r.requests.Load()-requests
	if err != nil {
		text := strings.TrimSpace(said.String())
		return m, fmt.Errorf("%w: %s", err, text[max(0, len(text)-1500):])
	}
	return m, nil
}

// tree are a process and its descendants.
func tree(pid int) []int {
	list := []int{pid}
	for i := 0; i < len(list); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", list[i]))
		for _, t := range tasks {
			text, _ := os.ReadFile(t)
			for _, f := range strings.Fields(string(text)) {
				if n, err := strconv.Atoi(f); err == nil {
					list = append(list, n)
				}
			}
		}
	}
	return list
}

// treeMemory is the memory of a process and its descendants that is no file's, in
// bytes.
func treeMemory(pid int) int64 {
	total := int64(0)
	for _, p := range tree(pid) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		for line := range strings.Lines(string(text)) {
			if name, rest, _ := strings.Cut(line, ":"); name == "RssAnon" || name == "RssShmem" {
				if f := strings.Fields(rest); len(f) > 0 {
					n, _ := strconv.ParseInt(f[0], 10, 64)
					total += n << 10
				}
			}
		}
	}
	return total
}

// treeTicks is the processor time of a daemon, of its descendants that live and of
// those that it has waited for.
func treeTicks(pid int) int64 {
	if pid == 0 {
		return 0
	}
	total := int64(0)
	for _, p := range tree(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			continue
		}
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		for _, i := range []int{11, 12, 13, 14} { // utime, stime, cutime, cstime
			n, _ := strconv.ParseInt(f[i], 10, 64)
			total += n
		}
	}
	return total
}
