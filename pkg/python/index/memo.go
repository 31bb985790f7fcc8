package index

import (
	"context"
	"errors"
	"sync"
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

// value is the result of a key, if there is one by now.
func (m *memo[V]) value(key string) (v V, ok bool) {
	m.mu.Lock()
	c := m.calls[key]
	m.mu.Unlock()
	if c == nil {
		return v, false
	}
	select {
	case <-c.done:
		return c.value, c.err == nil
	default:
		return v, false
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
