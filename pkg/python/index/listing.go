package index

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// Listing is what the indexes list of one project, by version. It costs little
// however many files there are: a file is judged by its [Entry], and the few
// that are needed are made with File. It does not change.
type Listing struct {
	project  string
	places   []listedPage
	versions []python.Version
	entries  [][]Entry
	count    int
	reused   bool // some page was taken from the cache without asking

	all func() []File
}

// listedPage is the page of one place in a listing.
type listedPage struct {
	page     *page
	index    string
	versions []python.Version   // by number - 1, as written in file names
	tags     []*tagSet          // by number - 1
	requires []*requiredPythons // by number - 1
	local    []bool             // by number of the server
}

// Entry is one file of a listing, as far as most can be judged.
type Entry struct {
	Kind   Kind
	Yanked bool
	Built  bool // the wheel has a build tag, which counts between wheels with equal tags
	Local  bool // it lies on this machine

	// TagSet stands for the tags of a wheel, PythonSet for the Requires-Python:
	// for one Client equal numbers are equal sets, whatever the project, so
	// that what was found out about one need not be found out again. They are
	// small and count from 1; 0 is no tags, no Requires-Python.
	TagSet, PythonSet int
	Tags              []python.Tag      // do not modify
	Python            python.Specifiers // do not modify; nil = any

	uploaded    int64
	place, file int32
}

// Uploaded is when the file was uploaded; zero = the index does not say.
func (e Entry) Uploaded() time.Time {
	if e.uploaded == unknownTime {
		return time.Time{}
	}
	return time.UnixMicro(e.uploaded).UTC()
}

// Project is the normalized name.
func (l *Listing) Project() string { return l.project }

// Len is the number of files.
func (l *Listing) Len() int { return l.count }

// Versions are the versions that there are files of, oldest first, each once:
// 1.0 and 1.0.0 are one. Do not modify.
func (l *Listing) Versions() []python.Version { return l.versions }

// Entries are the files of the i-th version: find-links first, then as the
// indexes list them. Do not modify.
func (l *Listing) Entries(i int) []Entry { return l.entries[i] }

// Reused tells that a page is one that was read some minutes ago and is held
// fresh; [Client.Refresh] asks again.
func (l *Listing) Reused() bool { return l.reused }

// File is the file of an entry of this listing.
func (l *Listing) File(e Entry) File {
	at := l.places[e.place]
	r := at.page.record(int(e.file))
	f := at.page.file(r)
	f.Project, f.Index, f.Python = l.project, at.index, e.Python
	if n := number(r, atVersion); n > 0 && int(n) <= len(at.versions) {
		f.Version = at.versions[n-1]
	}
	if f.Kind == Wheel {
		f.Wheel = python.WheelName{Name: l.project, Version: f.Version, Tags: e.Tags, Filename: f.Filename}
		if e.Built {
			f.Wheel.Build = buildTag(f.Filename)
		}
	}
	return f
}

// buildTag is the third part of the name of a wheel that has six.
func buildTag(filename string) string {
	_, rest, _ := strings.Cut(filename, "-")
	_, rest, _ = strings.Cut(rest, "-")
	build, _, _ := strings.Cut(rest, "-")
	return build
}

// Files are all files: those of each place in the order of its page. Do not
// modify.
func (l *Listing) Files() []File { return l.all() }

func (l *Listing) files() []File {
	var all []Entry
	for _, entries := range l.entries {
		all = append(all, entries...)
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.file, b.file))
	})
	out := make([]File, len(all))
	for i, e := range all {
		out[i] = l.File(e)
	}
	return out
}

// place is a page and the name of where it is from.
type place struct {
	page  *page
	index string
}

// listing puts the pages of a project together.
func (c *Client) listing(project string, places []place) *Listing {
	l := &Listing{project: project}
	l.all = sync.OnceValue(l.files)
	for i, p := range places {
		versions, entries := l.read(int32(i), p, &c.sets)
		if i == 0 {
			l.versions, l.entries = versions, entries
		} else {
			l.merge(versions, entries)
		}
	}
	for _, entries := range l.entries {
		l.count += len(entries)
	}
	return l
}

// read makes the entries of a page, by version.
func (l *Listing) read(n int32, p place, sets *sharedSets) ([]python.Version, [][]Entry) {
	at := listedPage{page: p.page, index: p.index}
	group := make([]int32, p.page.counts[versionTable]) // spellings of one version go together
	var versions []python.Version
	for i := range p.page.counts[versionTable] {
		v, _ := python.ParseVersion(string(p.page.text(versionTable, uint32(i+1))))
		at.versions = append(at.versions, v)
		if len(versions) == 0 || !versions[len(versions)-1].Equal(v) {
			versions = append(versions, v)
		}
		group[i] = int32(len(versions) - 1)
	}
	at.tags, at.requires = sets.of(p.page)
	at.local = make([]bool, 1+p.page.counts[serverTable])
	for i := range at.local {
		at.local[i] = bytes.HasPrefix(p.page.text(serverTable, uint32(i)), []byte("file:"))
	}
	l.places = append(l.places, at)

	// Two passes, so that all entries lie in one piece of memory.
	files := p.page.counts[fileTable]
	starts := make([]int32, len(versions)+1)
	for i := range files {
		if v := number(p.page.record(i), atVersion); v > 0 && int(v) <= len(group) {
			starts[group[v-1]+1]++
		}
	}
	for i := range versions {
		starts[i+1] += starts[i]
	}
	all := make([]Entry, starts[len(versions)])
	next := slices.Clone(starts)
	for i := range files {
		r := p.page.record(i)
		v := number(r, atVersion)
		if v == 0 || int(v) > len(group) {
			continue
		}
		g := group[v-1]
		at.entry(&all[next[g]], r)
		all[next[g]].place, all[next[g]].file = n, int32(i)
		next[g]++
	}
	entries := make([][]Entry, len(versions))
	for i := range entries {
		entries[i] = all[starts[i]:starts[i+1]:starts[i+1]]
	}
	return versions, entries
}

func (p *listedPage) entry(e *Entry, r []byte) {
	flags := number(r, atFlags)
	e.Yanked, e.Built = flags&flagYanked != 0, flags&flagBuild != 0
	if flags&flagSdist != 0 {
		e.Kind = Sdist
	}
	if n := number(r, atTags); n > 0 && int(n) <= len(p.tags) {
		e.TagSet, e.Tags = p.tags[n-1].number, p.tags[n-1].tags
	}
	if n := number(r, atRequires); n > 0 && int(n) <= len(p.requires) {
		e.PythonSet, e.Python = p.requires[n-1].number, p.requires[n-1].specifiers
	}
	if n := number(r, atServer); int(n) < len(p.local) {
		e.Local = p.local[n]
	}
	e.uploaded = int64(long(r, atUploaded))
}

// merge puts the files of a later place behind those of the earlier ones.
func (l *Listing) merge(versions []python.Version, entries [][]Entry) {
	var mergedVersions []python.Version
	var merged [][]Entry
	i, j := 0, 0
	for i < len(l.versions) || j < len(versions) {
		order := 0
		switch {
		case i == len(l.versions):
			order = 1
		case j == len(versions):
			order = -1
		default:
			order = l.versions[i].Compare(versions[j])
		}
		switch {
		case order < 0:
			mergedVersions, merged = append(mergedVersions, l.versions[i]), append(merged, l.entries[i])
			i++
		case order > 0:
			mergedVersions, merged = append(mergedVersions, versions[j]), append(merged, entries[j])
			j++
		default:
			mergedVersions, merged = append(mergedVersions, l.versions[i]), append(merged, append(l.entries[i], entries[j]...))
			i++
			j++
		}
	}
	l.versions, l.entries = mergedVersions, merged
}

// sharedSets parses each text once for all projects: "py3-none-any" and
// ">=3.8" are everywhere.
type sharedSets struct {
	mu      sync.Mutex
	tags    map[string]*tagSet
	pythons map[string]*requiredPythons
}

type tagSet struct {
	number int
	tags   []python.Tag
}

type requiredPythons struct {
	number     int
	specifiers python.Specifiers
}

// of are the sets of the tables of a page.
func (s *sharedSets) of(p *page) ([]*tagSet, []*requiredPythons) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tags := make([]*tagSet, p.counts[tagTable])
	for i := range tags {
		tags[i] = s.tagSet(p.text(tagTable, uint32(i+1)))
	}
	pythons := make([]*requiredPythons, p.counts[requiresTable])
	for i := range pythons {
		pythons[i] = s.pythonSet(p.text(requiresTable, uint32(i+1)))
	}
	return tags, pythons
}

func (s *sharedSets) tagSet(text []byte) *tagSet {
	set := s.tags[string(text)]
	if set == nil {
		set = &tagSet{number: len(s.tags) + 1}
		set.tags, _ = python.ParseTags(string(text)) // checked when the page was read
		if s.tags == nil {
			s.tags = map[string]*tagSet{}
		}
		s.tags[string(text)] = set
	}
	return set
}

func (s *sharedSets) pythonSet(text []byte) *requiredPythons {
	set := s.pythons[string(text)]
	if set == nil {
		set = &requiredPythons{number: len(s.pythons) + 1, specifiers: parsePythons(string(text))}
		if s.pythons == nil {
			s.pythons = map[string]*requiredPythons{}
		}
		s.pythons[string(text)] = set
	}
	return set
}

// specifiers parses a Requires-Python.
func (s *sharedSets) specifiers(text string) python.Specifiers {
	if text == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pythonSet([]byte(text)).specifiers
}

// parsePythons parses a Requires-Python; what cannot be parsed restricts
// nothing, as in pip.
func parsePythons(text string) python.Specifiers {
	parsed, err := python.ParseSpecifiers(text)
	if err != nil {
		parsed, err = python.ParseSpecifiers(repairSpecifiers(text))
	}
	if err != nil {
		return nil
	}
	return parsed
}
