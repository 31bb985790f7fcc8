package resolve

import (
	"context"
	"errors"
	"sync"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// loader is what the search for one target sees of the library: universes
// judged by its rules, and what it will probably need read ahead.
type loader struct {
	*library
	ctx   context.Context // of this search
	rules *rules

	own       sync.Mutex
	universes map[string]*future[*universe]
	guessed   map[string]bool
}

func newLoader(ctx context.Context, l *library, r *rules) *loader {
	return &loader{library: l, ctx: ctx, rules: r, universes: map[string]*future[*universe]{}, guessed: map[string]bool{}}
}

func (l *loader) universe(project string) *future[*universe] {
	return once(&l.own, l.universes, project, func() (*universe, error) { return l.readUniverse(project) })
}

func (l *loader) readUniverse(project string) (*universe, error) {
	if d := l.rules.direct[project]; d != nil && d.file != nil {
		return l.rules.universe(project, newListing([]index.File{*d.file}), nil), nil
	}
	listed, err := l.project(project).get()
	var missing *index.NotFoundError
	if errors.As(err, &missing) {
		listed, err = &listing{}, nil
	}
	if err != nil {
		if _, installed := l.rules.options.Installed[project]; !installed || l.ctx.Err() != nil {
			return nil, err
		}
		// pip asks no index about what is installed and fits. The installed
		// version must be enough then.
		u := l.rules.universe(project, &listing{}, nil)
		u.unasked = err
		return u, nil
	}
	return l.rules.universe(project, listed, missing), nil
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

// guess reads what a requirement will probably need: the project's page, the
// metadata of the version that would be chosen if there were no other
// requirement, and the same for its dependencies. It never reads an sdist,
// which may have to be built for that.
func (l *loader) guess(q python.Requirement) {
	project := q.Key()
	key := project + " " + q.Specifiers.String()
	extras := q.ExtraKeys()
	for _, e := range extras {
		key += " [" + e
	}
	l.own.Lock()
	seen := l.guessed[key]
	l.guessed[key] = true
	l.own.Unlock()
	if seen || q.URL != "" {
		return
	}
	l.goAhead(l.ctx, func() {
		u, err := l.universe(project).get()
		if err != nil {
			return
		}
		c := u.probable(l.rules, q.Specifiers)
		if c == nil || !c.readable() {
			return
		}
		m, err := l.file(c.file()).get()
		if err != nil || l.rules.options.NoDependencies {
			return
		}
		for _, next := range m.RequiresDist {
			if next.Marker.Evaluate(l.rules.environment, extras...) {
				l.guess(next)
			}
		}
	})
}

// readAhead reads the metadata of files that may be tried soon.
func (l *loader) readAhead(candidates []*candidate) {
	for _, c := range candidates {
		m := l.file(c.file())
		l.goAhead(l.ctx, func() { m.get() })
	}
}
