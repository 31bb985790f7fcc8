package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Count is a number of files and what they take.
type Count struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (c *Count) add(size int64) { c.Files++; c.Bytes += size }

// Usage is what a store takes on the disk.
type Usage struct {
	// Dir is the store's directory.
	Dir string `json:"dir"`
	// Total is all of it.
	Total Count `json:"total"`
	// Images are the blobs that named images refer to, Blobs all other blobs,
	// and Records the records.
	Images  Count `json:"images"`
	Blobs   Count `json:"blobs"`
	Records Count `json:"records"`
	// Unfinished is work in progress, and Stale what is left of dead processes.
	Unfinished Count `json:"unfinished"`
	Stale      Count `json:"stale"`
	// Names are the names of images.
	Names int `json:"names"`
	// OldestUse is when the blob or record that was used least recently was
	// used, to the hour; zero in an empty store.
	OldestUse time.Time `json:"oldestUse,omitzero"`
}

// PruneOptions say what to remove. The zero value removes all that no named
// image refers to.
type PruneOptions struct {
	// MaxBytes removes what was used least recently until the store takes no
	// more; 0 is no bound.
	MaxBytes int64
	// OlderThan removes what was not used for so long; 0 is no bound. With both,
	// each removes its own.
	OlderThan time.Duration
	// All lets named images go like the rest: with one of its blobs an image's
	// name goes.
	All bool
	// DryRun only counts.
	DryRun bool
}

// PruneResult is what was removed.
type PruneResult struct {
	Blobs   Count `json:"blobs"`
	Records Count `json:"records"`
	// Stale is what was left of dead processes.
	Stale Count `json:"stale"`
	// Names are the images' names that went.
	Names []string `json:"names,omitempty"`
	// Freed is the sum, and Left what the store takes now, in bytes.
	Freed int64 `json:"freed"`
	Left  int64 `json:"left"`
	// InUse is what stayed only because a process that runs uses it, in bytes.
	InUse int64 `json:"inUse"`
}

// item is a blob or a record.
type item struct {
	path   string
	record bool
	size   int64
	used   time.Time // the blob of a named image with the image, if that was used later
	names  []string  // of the images that refer to a blob
}

// Usage tells what the store takes. It changes nothing.
func (s *Store) Usage(ctx context.Context) (Usage, error) {
	u, err := s.usage(ctx)
	if err != nil {
		return u, fmt.Errorf("look at store %s: %w", s.dir, err)
	}
	return u, nil
}

func (s *Store) usage(ctx context.Context) (Usage, error) {
	u := Usage{Dir: s.dir}
	names, err := s.names()
	if err != nil {
		return u, err
	}
	u.Names = len(names.Manifests)
	items, err := s.items(ctx, names.Manifests)
	if err != nil {
		return u, err
	}
	for _, i := range items {
		switch {
		case i.record:
			u.Records.add(i.size)
		case i.names != nil:
			u.Images.add(i.size)
		default:
			u.Blobs.add(i.size)
		}
		if u.OldestUse.IsZero() || i.used.Before(u.OldestUse) {
			u.OldestUse = i.used
		}
	}
	if u.Unfinished, u.Stale, err = s.unfinished(ctx); err != nil {
		return u, err
	}
	for _, c := range []Count{u.Images, u.Blobs, u.Records, u.Unfinished, u.Stale} {
		u.Total.Files += c.Files
		u.Total.Bytes += c.Bytes
	}
	return u, nil
}

// unfinished counts what lies in tmp/: what processes work on, and what dead
// ones left.
func (s *Store) unfinished(ctx context.Context) (live, stale Count, err error) {
	unlock, err := s.alone(ctx)
	if err != nil {
		return live, stale, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	u, err := s.leases()
	if err != nil {
		return live, stale, err
	}
	if live, err = sizeOf(u.busy); err != nil {
		return live, stale, err
	}
	stale, err = sizeOf(u.stale)
	return live, stale, err
}

// Prune removes what is used least, as the options say. What a named image
// refers to stays unless All is set, and in every case what another process that
// runs, or another Store, has used since it opened the store. Nobody can open the
// store meanwhile. It can be ended at any time: the store is then pruned in part.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (PruneResult, error) {
	r, err := s.prune(ctx, o)
	if err != nil {
		return r, fmt.Errorf("prune store %s: %w", s.dir, err)
	}
	return r, nil
}

func (s *Store) prune(ctx context.Context, o PruneOptions) (r PruneResult, err error) {
	unlock, err := s.alone(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	inUse, err := s.leases()
	if err != nil {
		return r, err
	}
	if r.Stale, err = sizeOf(inUse.stale); err != nil {
		return r, err
	}
	if !o.DryRun {
		inUse.clear()
	}
	unlockNames, err := s.lockNames()
	if err != nil {
		return r, err
	}
	defer unlockNames()
	names, err := s.names()
	if err != nil {
		return r, err
	}
	items, err := s.items(ctx, names.Manifests)
	if err != nil {
		return r, err
	}
	gone := r.choose(items, o, inUse)
	if o.DryRun {
		return r, nil
	}
	if len(r.Names) > 0 { // before what they stand for
		names.Manifests = slices.DeleteFunc(names.Manifests, func(d v1.Descriptor) bool { return slices.Contains(r.Names, d.Annotations[refName]) })
		if err := s.writeNames(names); err != nil {
			return r, err
		}
	}
	for _, i := range gone {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if err := os.Remove(i.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return r, err
		}
	}
	return r, nil
}

// choose returns the items that are to go and counts them.
func (r *PruneResult) choose(items []item, o PruneOptions, inUse use) []item {
	for _, i := range items {
		r.Left += i.size
	}
	slices.SortStableFunc(items, func(a, b item) int { return a.used.Compare(b.used) })
	var gone []item
	now := time.Now()
	for _, i := range items { // the least recently used first
		old := o.OlderThan > 0 && now.Sub(i.used) > o.OlderThan
		much := o.MaxBytes > 0 && r.Left > o.MaxBytes
		unbounded := o.OlderThan <= 0 && o.MaxBytes <= 0
		if !old && !much && !unbounded || i.names != nil && !o.All {
			continue
		}
		if inUse.has(i.used) {
			r.InUse += i.size
			continue
		}
		gone = append(gone, i)
		r.Left -= i.size
		r.Names = append(r.Names, i.names...)
		if i.record {
			r.Records.add(i.size)
		} else {
			r.Blobs.add(i.size)
		}
	}
	slices.Sort(r.Names)
	r.Names = slices.Compact(r.Names)
	r.Freed = r.Blobs.Bytes + r.Records.Bytes + r.Stale.Bytes
	return gone
}

// items lists blobs and records.
func (s *Store) items(ctx context.Context, images []v1.Descriptor) ([]item, error) {
	names := map[string][]string{} // of the images that refer to a blob, by its digest in hexadecimal
	used := map[string]time.Time{} // when an image was used, by its name
	for _, d := range images {
		name := d.Annotations[refName]
		blobs, last, err := s.reachable(d)
		if err != nil {
			return nil, err
		}
		for blob := range blobs {
			names[blob] = append(names[blob], name)
		}
		used[name] = last
	}
	var all []item
	for _, dir := range []string{s.blobs(), s.records()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			if err != nil {
				return nil, err
			}
			i := item{path: filepath.Join(dir, e.Name()), size: info.Size(), used: info.ModTime(), record: dir == s.records()}
			if !info.Mode().IsRegular() {
				continue // not ours
			}
			if !i.record {
				i.names = names[e.Name()]
			}
			for _, name := range i.names {
				if used[name].After(i.used) {
					i.used = used[name]
				}
			}
			all = append(all, i)
		}
	}
	return all, nil
}

// reachable returns the blobs that an image or index consists of, by their
// digests in hexadecimal, and when one of its manifests was used last. What is
// not in the store is passed over.
func (s *Store) reachable(top v1.Descriptor) (blobs map[string]bool, used time.Time, err error) {
	blobs = map[string]bool{}
	for todo := []v1.Descriptor{top}; len(todo) > 0; {
		d := todo[0]
		todo = todo[1:]
		if blobs[d.Digest.Hex] {
			continue
		}
		blobs[d.Digest.Hex] = true
		if !d.MediaType.IsIndex() && !d.MediaType.IsImage() {
			continue
		}
		info, err := os.Stat(s.File(d.Digest))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, used, err
		}
		if info.ModTime().After(used) {
			used = info.ModTime()
		}
		if info.Size() > maxManifest {
			continue
		}
		raw, err := os.ReadFile(s.File(d.Digest)) // looking at it is no use of it
		if err != nil {
			return nil, used, err
		}
		// An image's manifest and an index differ in what they list.
		var m struct {
			Config    v1.Descriptor   `json:"config"`
			Layers    []v1.Descriptor `json:"layers"`
			Manifests []v1.Descriptor `json:"manifests"`
		}
		if json.Unmarshal(raw, &m) != nil {
			continue // damaged: it stands for nothing
		}
		todo = append(append(append(todo, m.Config), m.Layers...), m.Manifests...)
	}
	return blobs, used, nil
}
