package resolve

import (
	"context"
	"errors"
	"sync"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// loader asks the source, each thing once, and ahead of need. What it has
// already makes the search faster, and never different.
type loader struct {
	ctx    context.Context
	source Source
	rules  *rules
	slots  chan struct{} // requests made ahead at a time
	ahead  sync.WaitGroup

	mu        sync.Mutex
	universes map[string]*future[*universe]
	metadata  map[string]*future[python.Metadata]
	guessed   map[string]bool
}

// future is a result that the first one who asks computes.
type future[V any] struct {
	once sync.Once
	run  func() (V, error)
	v    V
	err  error
}

func (f *future[V]) get() (V, error) {
	f.once.Do(func() { f.v, f.err = f.run() })
	return f.v, f.err
}

func newLoader(ctx context.Context, o *Options, r *rules) *loader {
	return &loader{
		ctx: ctx, source: o.Source, rules: r, slots: make(chan struct{}, o.Concurrency),
		universes: map[string]*future[*universe]{}, metadata: map[string]*future[python.Metadata]{}, guessed: map[string]bool{},
	}
}

// wait waits for what was started ahead.
func (l *loader) wait() { l.ahead.Wait() }

func (l *loader) universe(project string) *future[*universe] {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.universes[project]
	if f == nil {
		f = &future[*universe]{run: func() (*universe, error) { return l.readUniverse(project) }}
		l.universes[project] = f
	}
	return f
}

func (l *loader) readUniverse(project string) (*universe, error) {
	if d := l.rules.direct[project]; d != nil && d.file != nil {
		return l.rules.universe(project, nil, nil), nil
	}
	files, err := l.source.Project(l.ctx, project)
	var missing *index.NotFoundError
	if err != nil && !errors.As(err, &missing) {
		if _, installed := l.rules.options.Installed[project]; !installed || l.ctx.Err() != nil {
			return nil, err
		}
		// pip asks no index about what is installed and fits. The installed
		// version must be enough then.
		u := l.rules.universe(project, nil, nil)
		u.unasked = err
		return u, nil
	}
	return l.rules.universe(project, files, missing), nil
}

func (l *loader) file(f index.File) *future[python.Metadata] {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := f.URL
	m := l.metadata[key]
	if m == nil {
		m = &future[python.Metadata]{run: func() (python.Metadata, error) { return l.source.Metadata(l.ctx, f) }}
		l.metadata[key] = m
	}
	return m
}

// needAll reads several projects at once, which the search needs now.
func (l *loader) needAll(projects []string) {
	var all sync.WaitGroup
	limit := make(chan struct{}, cap(l.slots))
	for _, p := range projects {
		f := l.universe(p)
		all.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			f.get() // an error is met again by the one who needs the project
		})
	}
	all.Wait()
}

// goAhead runs in the background when a slot is free and the search still on.
func (l *loader) goAhead(run func()) {
	l.ahead.Go(func() {
		select {
		case l.slots <- struct{}{}:
			defer func() { <-l.slots }()
			if l.ctx.Err() == nil {
				run()
			}
		case <-l.ctx.Done():
		}
	})
}

// guess reads what a requirement will probably need: the project's page, the
// metadata of the version that would be chosen if there were no other
// requirement, and the same for its dependencies.
func (l *loader) guess(q python.Requirement) {
	project := q.Key()
	key := project + " " + q.Specifiers.String()
	extras := q.ExtraKeys()
	for _, e := range extras {
		key += " [" + e
	}
	l.mu.Lock()
	seen := l.guessed[key]
	l.guessed[key] = true
	l.mu.Unlock()
	if seen || q.URL != "" {
		return
	}
	l.goAhead(func() {
		u, err := l.universe(project).get()
		if err != nil {
			return
		}
		c := u.probable(l.rules, q.Specifiers)
		if c == nil || c.installed != nil {
			return
		}
		m, err := l.file(c.file).get()
		if err != nil || l.rules.options.NoDependencies {
			return
		}
		environment := l.rules.target.Environment()
		for _, next := range m.RequiresDist {
			if next.Marker.Evaluate(environment, extras...) {
				l.guess(next)
			}
		}
	})
}

// readAhead reads the metadata of files that may be tried soon.
func (l *loader) readAhead(files []index.File) {
	for _, f := range files {
		m := l.file(f)
		l.goAhead(func() { m.get() })
	}
}
