package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// downloads is the number of packages fetched at a time: enough to hide the
// mirror's latency, and within what one address may open there.
const downloads = 8

// Root is an assembled root in two parts, the second to lie on the first. The
// contents of its entries lie in a temporary directory until Close.
type Root struct {
	// OS is what every root has: the packages of [Always] and what they need,
	// users, certificates, time zone.
	OS layers.Tree
	// Packages is what was asked for beyond that; empty if nothing was.
	Packages layers.Tree
	// Lock names what it was made of.
	Lock Lock

	dir string
}

// Close removes the unpacked contents; the trees cannot be read after it.
func (r *Root) Close() error { return os.RemoveAll(r.dir) }

// GoneError reports a locked package that the mirror no longer has.
type GoneError struct {
	Package Locked
	Suite   string
	Err     error
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("fetch %s of Debian %s: %v", e.Package, e.Suite, e.Err)
}

// Unwrap returns the mirror's answer.
func (e *GoneError) Unwrap() error { return e.Err }

// Hint says what can be done.
func (e *GoneError) Hint() string {
	return "a mirror has the newest versions only: resolve anew with --pull, or name a snapshot service"
}

// Assemble fetches the packages of a lock, unpacks them and puts them together
// as a root. The Spec says where from; what is in the cache is not asked for.
// The same lock gives the same trees, whoever assembles them.
//
// Errors: [*GoneError], [*ContentError], [*StatusError], [*ConflictError], and
// those of finding a mirror.
func Assemble(ctx context.Context, spec Spec, lock Lock, o Options) (*Root, error) {
	if err := lock.check(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Scratch, "debian-")
	if err != nil {
		return nil, err
	}
	root := &Root{Lock: lock, dir: dir}
	packages, err := o.unpackAll(ctx, spec, lock, dir)
	if err == nil {
		root.OS, root.Packages, err = assemble(packages)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	o.log().Info(fmt.Sprintf("assembled %d Debian packages into %d files and directories",
		len(lock.Packages), root.OS.Len()+root.Packages.Len()))
	return root, nil
}

// unpackAll fetches and unpacks the locked packages, several at a time.
func (o Options) unpackAll(ctx context.Context, spec Spec, lock Lock, dir string) ([]member, error) {
	from, err := o.addresses(spec, lock)
	if err != nil {
		return nil, err
	}
	var absent, total int64
	for _, p := range lock.Packages {
		if total += p.Size; !o.Cache.Has(p.wanted("").hash()) {
			absent += p.Size
		}
	}
	if absent > 0 {
		o.log().Info(fmt.Sprintf("fetching %d Debian packages (%.1f MB, %.1f MB of it in the cache)",
			len(lock.Packages), float64(total)/1e6, float64(total-absent)/1e6))
	}
	bar := o.progress("Debian packages", total)
	defer bar.Close()
	packages := make([]member, len(lock.Packages))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(downloads)
	unpacking := semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0)))
	for i, p := range lock.Packages {
		group.Go(func() error {
			if err := o.fetch(ctx, p.wanted(from[p.Suite]), bar); err != nil {
				if missing(err) {
					return &GoneError{p, lock.Suite, err}
				}
				return err
			}
			if err := unpacking.Acquire(ctx, 1); err != nil {
				return err
			}
			defer unpacking.Release(1)
			deb, _, err := o.Cache.Blob(p.wanted("").hash())
			if err != nil {
				return err
			}
			defer deb.Close()
			u, err := unpack(deb, filepath.Join(dir, strconv.Itoa(i)+".tar"), path.Base(p.Path))
			if err != nil {
				return err
			}
			packages[i], err = newMember(p, u)
			return err
		})
	}
	return packages, group.Wait()
}

// addresses returns the archives' roots by suite. Where all packages are in the
// cache no mirror is needed.
func (o Options) addresses(spec Spec, lock Lock) (map[string]string, error) {
	from := map[string]string{}
	sources, err := o.sources(spec)
	for _, s := range sources {
		from[s.Suite] = s.URI
	}
	for _, p := range lock.Packages {
		if o.Cache.Has(p.wanted("").hash()) || from[p.Suite] != "" {
			continue
		}
		if err == nil {
			err = fmt.Errorf("fetch %s: no address is known for the suite %s", p, p.Suite)
		}
		return nil, err
	}
	return from, nil
}

func (l Locked) wanted(root string) wanted {
	return wanted{root + "/" + l.Path, indexFile{l.SHA256, l.Size}}
}

// File returns one file of a package in the suite, of up to limit bytes. The
// package is fetched and checked, but nothing of it is installed. The error is
// [io/fs.ErrNotExist] where the package has no such file, and an
// [*UnsatisfiableError] where the suite has no such package.
func File(ctx context.Context, spec Spec, name, file string, limit int64, o Options) (content []byte, err error) {
	x, err := o.indexOf(ctx, spec, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	found := x.named(name)
	if x.err != nil {
		return nil, x.err
	}
	if len(found) == 0 {
		return nil, &UnsatisfiableError{Dependency: name, Reason: "no such package in the suite"}
	}
	p := found[0]
	l := Locked{Name: p.name, Version: p.version.String(), SHA256: p.sha256, Size: p.size, Path: p.filename, Suite: p.suite}
	from, err := o.addresses(spec, Lock{Packages: []Locked{l}})
	if err != nil {
		return nil, err
	}
	deb, err := o.open(ctx, l.wanted(from[l.Suite]), nil)
	if err != nil {
		return nil, err
	}
	defer deb.Close()
	dir, err := os.MkdirTemp(o.Scratch, "debian-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	u, err := unpack(deb, filepath.Join(dir, "data.tar"), path.Base(l.Path))
	if err != nil {
		return nil, err
	}
	content, err = u.tree.ReadFile(file, limit)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", file, p, err)
	}
	return content, nil
}
