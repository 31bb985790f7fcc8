package resolve

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// library asks the source, each thing once, whichever target wants it. What it
// has already makes a search faster, and never different.
type library struct {
	ctx    context.Context
	source Source
	slots  chan struct{} // requests made ahead at a time
	ahead  sync.WaitGroup

	mu       sync.Mutex
	projects map[string]*future[*listing]
	metadata map[string]*future[python.Metadata]
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

// once returns the future of a key, made at the first call.
func once[V any](mu *sync.Mutex, all map[string]*future[V], key string, run func() (V, error)) *future[V] {
	mu.Lock()
	defer mu.Unlock()
	f := all[key]
	if f == nil {
		f = &future[V]{run: run}
		all[key] = f
	}
	return f
}

func newLibrary(ctx context.Context, o *Options) *library {
	return &library{
		ctx: ctx, source: o.Source, slots: make(chan struct{}, o.Concurrency),
		projects: map[string]*future[*listing]{}, metadata: map[string]*future[python.Metadata]{},
	}
}

// wait waits for what was started ahead.
func (l *library) wait() { l.ahead.Wait() }

// goAhead runs in the background when a slot is free and somebody may still
// want the result.
func (l *library) goAhead(ctx context.Context, run func()) {
	l.ahead.Go(func() {
		select {
		case l.slots <- struct{}{}:
			defer func() { <-l.slots }()
			if ctx.Err() == nil {
				run()
			}
		case <-ctx.Done():
		}
	})
}

func (l *library) project(name string) *future[*listing] {
	return once(&l.mu, l.projects, name, func() (*listing, error) {
		if s, ok := l.source.(Lister); ok {
			listed, err := s.Listing(l.ctx, name)
			if err != nil {
				return nil, err
			}
			return &listing{versions: listed.Versions(), listed: listed}, nil
		}
		files, err := l.source.Project(l.ctx, name)
		return newListing(files), err
	})
}

func (l *library) file(f *index.File) *future[python.Metadata] {
	return once(&l.mu, l.metadata, f.URL, func() (python.Metadata, error) { return l.source.Metadata(l.ctx, *f) })
}

// refresh asks again for pages that were not asked for lately, and reports
// whether one lists more than before.
func (l *library) refresh(projects []string) bool {
	s, ok := l.source.(Lister)
	if !ok {
		return false
	}
	var more atomic.Bool
	var all sync.WaitGroup
	for _, name := range projects {
		all.Go(func() {
			before, err := l.project(name).get()
			if err != nil || before.listed == nil {
				return
			}
			if asked, err := s.Refresh(l.ctx, name); err != nil || !asked {
				return // what is known must be enough
			}
			l.mu.Lock()
			delete(l.projects, name)
			l.mu.Unlock()
			now, err := l.project(name).get()
			if err == nil && now.listed.Len() > before.listed.Len() {
				more.Store(true)
			}
		})
	}
	all.Wait()
	return more.Load()
}

// listing are the files of a project by version, oldest first: what an index
// lists, or files that were given.
type listing struct {
	versions []python.Version
	listed   *index.Listing
	files    [][]index.File // when listed is nil
}

func newListing(files []index.File) *listing {
	at := map[string]int{}
	l := &listing{}
	var by [][]index.File
	for _, f := range files {
		key := f.Version.Key()
		i, ok := at[key]
		if !ok {
			i = len(by)
			at[key] = i
			by = append(by, nil)
		}
		by[i] = append(by[i], f)
	}
	slices.SortStableFunc(by, func(a, b []index.File) int { return a[0].Version.Compare(b[0].Version) })
	for _, same := range by {
		l.versions = append(l.versions, same[0].Version)
	}
	l.files = by
	return l
}

// facts are what most files are judged by.
type facts struct {
	kind              index.Kind
	yanked, local     bool
	tagSet, pythonSet int // numbers of index.Entry; 0 = none
	tags              []python.Tag
	python            python.Specifiers
	uploaded          time.Time
}

// length is the number of files of a version.
func (l *listing) length(version int) int {
	if l.listed != nil {
		return len(l.listed.Entries(version))
	}
	return len(l.files[version])
}

func (l *listing) facts(version, i int) facts {
	if l.listed == nil {
		f := &l.files[version][i]
		return facts{kind: f.Kind, yanked: f.Yanked, local: f.Local(), tags: f.Wheel.Tags, python: f.Python, uploaded: f.UploadTime}
	}
	e := &l.listed.Entries(version)[i]
	return facts{
		kind: e.Kind, yanked: e.Yanked, local: e.Local, tagSet: e.TagSet, pythonSet: e.PythonSet,
		tags: e.Tags, python: e.Python, uploaded: e.Uploaded(),
	}
}

// file makes a file, which costs more than its facts.
func (l *listing) file(version, i int) index.File {
	if l.listed == nil {
		return l.files[version][i]
	}
	return l.listed.File(l.listed.Entries(version)[i])
}
