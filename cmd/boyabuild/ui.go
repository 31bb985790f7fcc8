package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// ui is where messages and progress go: bars on a terminal, one line a step
// elsewhere, JSON lines for machines, nothing when told so. It writes to stderr
// only; stdout is for results.
type ui struct {
	mode string // tty, plain, json or none
	out  io.Writer
	log  *slog.Logger
	bars *mpb.Progress

	refresh chan any      // draws bars and messages anew
	closed  chan struct{} // ends the drawing
}

// newUI takes --progress, -q and -v, and what the environment says.
func newUI(e *env, progress string, verbose bool) (*ui, error) {
	u := &ui{mode: progress, out: e.stderr}
	if u.mode == "auto" {
		u.mode = "plain"
		if f, ok := e.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && e.getenv("CI") == "" && e.getenv("TERM") != "dumb" {
			u.mode = "tty"
		}
	}
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	switch u.mode {
	case "none":
		u.log = slog.New(slog.DiscardHandler)
	case "json":
		u.log = slog.New(slog.NewJSONHandler(u.out, &slog.HandlerOptions{Level: level}))
	case "plain":
		u.log = slog.New(&lines{out: u.out, level: level})
	case "tty":
		u.refresh, u.closed = make(chan any), make(chan struct{})
		u.bars = mpb.New(mpb.WithOutput(u.out), mpb.WithWidth(40), mpb.WithManualRefresh(u.refresh))
		u.log = slog.New(&lines{out: &aboveBars{u}, level: level, colour: e.getenv("NO_COLOR") == ""})
		go u.draw()
	default:
		return nil, usagef("--progress is %q, none of auto, tty, plain, json, none", progress)
	}
	return u, nil
}

// progress follows the bytes of one transfer.
func (u *ui) progress(what string, total int64) io.WriteCloser {
	switch u.mode {
	case "tty":
		return u.bar(what, total)
	case "plain", "json":
		u.log.Debug(what, "bytes", total)
	}
	return discard{}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

func (u *ui) bar(what string, total int64) io.WriteCloser {
	if total < 0 {
		total = 0
	}
	b := u.bars.New(total, mpb.BarStyle().Lbound("").Filler("━").Tip("━").Padding(" ").Rbound(""),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(clip(what, 44), decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
	return &barWriter{bar: b}
}

// clip shortens a text to n characters.
func clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

type barWriter struct{ bar *mpb.Bar }

func (b *barWriter) Write(p []byte) (int, error) {
	b.bar.IncrBy(len(p))
	return len(p), nil
}

// Close ends the bar, also where fewer bytes came than were announced.
func (b *barWriter) Close() error {
	b.bar.Abort(true)
	return nil
}

// draw moves the bars on.
func (u *ui) draw() {
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for {
		select {
		case t := <-ticks.C:
			select {
			case u.refresh <- t:
			case <-u.closed:
				return
			}
		case <-u.closed:
			return
		}
	}
}

// close waits until the last line has been drawn.
func (u *ui) close() {
	if u.bars == nil {
		return
	}
	close(u.closed)
	select {
	case u.refresh <- time.Now(): // mpb by itself drops what has not been drawn yet
	case <-time.After(time.Second): // the terminal is gone, and mpb has ended
	}
	u.bars.Shutdown()
}

// aboveBars writes messages, which are drawn at once if nothing else is being
// drawn, and else with the next tick.
type aboveBars struct{ *ui }

func (a *aboveBars) Write(p []byte) (int, error) {
	n, err := a.bars.Write(p)
	select {
	case a.refresh <- time.Now():
	default:
	}
	return n, err
}

// lines writes a log record as one line of text for a person.
type lines struct {
	mu     sync.Mutex
	out    io.Writer
	level  slog.Level
	colour bool
}

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= l.level }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	switch {
	case r.Level >= slog.LevelWarn && l.colour:
		b.WriteString("\x1b[33mwarning:\x1b[0m ")
	case r.Level >= slog.LevelWarn:
		b.WriteString("warning: ")
	case r.Level < slog.LevelInfo && l.colour:
		b.WriteString("\x1b[2m")
	}
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if r.Level < slog.LevelInfo {
			fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		}
		return true
	})
	if r.Level < slog.LevelInfo && l.colour {
		b.WriteString("\x1b[0m")
	}
	b.WriteString("\n")
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := io.WriteString(l.out, b.String())
	return err
}

// Attributes of a logger are not shown: messages are whole sentences.
func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *lines) WithGroup(string) slog.Handler      { return l }

// behind is the log of what runs in this process beside the command itself: it
// tells its steps only with -v.
func (u *ui) behind() *slog.Logger { return slog.New(&demoted{u.log.Handler()}) }

// demoted makes information a detail. Warnings stay.
type demoted struct{ slog.Handler }

func (d *demoted) Enabled(ctx context.Context, level slog.Level) bool {
	return d.Handler.Enabled(ctx, lower(level))
}

func (d *demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = lower(r.Level)
	return d.Handler.Handle(ctx, r)
}

func (d *demoted) WithAttrs(a []slog.Attr) slog.Handler { return &demoted{d.Handler.WithAttrs(a)} }
func (d *demoted) WithGroup(n string) slog.Handler      { return &demoted{d.Handler.WithGroup(n)} }

func lower(l slog.Level) slog.Level {
	if l == slog.LevelInfo {
		return slog.LevelDebug
	}
	return l
}
