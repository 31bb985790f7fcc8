package index

import (
	"context"
	"errors"
	"sync"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// memo runs the function of a key once however many ask for it at the same
// time, and keeps the result. Failures are handed to all who wait, and then
// forgotten.
type memo[V any] struct {
	mu    sync.Mutex
	calls map[string]*call[V]
}

type call[V any] struct {
	done  chan struct{}
	value V
	err   error
}

func (m *memo[V]) do(ctx context.Context, key string, run func(context.Context) (V, error)) (V, error) {
	for {
		m.mu.Lock()
		if m.calls == nil {
			m.calls = map[string]*call[V]{}
		}
		c, running := m.calls[key]
		if !running {
			c = &call[V]{done: make(chan struct{})}
			m.calls[key] = c
			m.mu.Unlock()
			m.run(ctx, key, c, run)
			return c.value, c.err
		}
		m.mu.Unlock()
		select {
		case <-c.done:
		case <-ctx.Done():
			var zero V
			return zero, context.Cause(ctx)
		}
		// The one who ran it gave up; we have not.
		if isCancelled(c.err) && ctx.Err() == nil {
			continue
		}
		return c.value, c.err
	}
}

func (m *memo[V]) run(ctx context.Context, key string, c *call[V], run func(context.Context) (V, error)) {
	c.err = errors.New("the function did not return") // seen by others only if run panics
	defer func() {
		if c.err != nil {
			m.mu.Lock()
			delete(m.calls, key)
			m.mu.Unlock()
		}
		close(c.done)
	}()
	c.value, c.err = run(ctx)
}

func isCancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// specifierCache parses each text once: a page repeats the same
// Requires-Python on hundreds of files.
type specifierCache struct {
	mu     sync.Mutex
	parsed map[string]python.Specifiers
}

// get parses a Requires-Python; what cannot be parsed restricts nothing, as in
// pip.
func (s *specifierCache) get(text string) python.Specifiers {
	if text == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if parsed, ok := s.parsed[text]; ok {
		return parsed
	}
	parsed, err := python.ParseSpecifiers(text)
	if err != nil {
		parsed, err = python.ParseSpecifiers(repairSpecifiers(text))
	}
	if err != nil {
		parsed = nil
	}
	if s.parsed == nil {
		s.parsed = map[string]python.Specifiers{}
	}
	s.parsed[text] = parsed
	return parsed
}
