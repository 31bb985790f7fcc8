package build

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/bytecode"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// wheelFormat numbers what becomes of a wheel beside its own files: a layer's key
// has it, and it changes when the same wheel is laid out in another way.
const wheelFormat = "wheel/2"

// lockedWheels are the wheels of one install on their way into layers.
type lockedWheels struct {
	*installation
	client *index.Client
	w      *wanted
	scheme wheel.Scheme
	frame  layers.Tree
	list   []*lockedOne
	// compiles is that bytecode is compiled: it is wanted, and can be made here.
	compiles bool

	// kept and given are names in the directory of pip's --target: those that stay
	// as they are, and those that give way to what has the same name.
	kept, given []string

	mu     sync.Mutex
	stayed map[string]bool // of kept, what a wheel has, too
}

// lockedOne is one wheel. It is fetched when it is first needed.
type lockedOne struct {
	pkg  python.Locked
	hash v1.Hash // of the wheel; zero as long as it is not known
	size int64
	key  string // of the wheel as it is laid out

	once sync.Once
	blob index.Blob
	name string // the file's
	err  error

	code layers.Tree // its bytecode
}

// named says whether the lock tells all that a layer's key is made of.
func (o *lockedOne) named() bool { return o.hash.Hex != "" && o.size > 0 }

// layOut makes the layers of a lock, or finds them on record: those wheels are
// fetched that are not in a layer yet.
func (p *installation) layOut(ctx context.Context, client *index.Client, lock python.Lock, w *wanted, scheme wheel.Scheme, at *place) error {
	if v := p.run.preview; v != nil {
		p.packages(v, lock)
		p.step.count(lock)
	}
	if p.in.WheelDir != "" {
		if p.run.preview != nil {
			return nil
		}
		return p.wheelhouse(ctx, client, lock)
	}
	l := &lockedWheels{installation: p, client: client, w: w, scheme: scheme, frame: at.frame}
	if err := l.decide(ctx); err != nil {
		return err
	}
	for _, pkg := range lock.Packages {
		one := &lockedOne{pkg: pkg, size: pkg.Wheel.Size}
		if sum := pkg.Wheel.Hashes["sha256"]; sum != "" && pkg.Wheel.Filename != "" {
			one.hash = v1.Hash{Algorithm: "sha256", Hex: sum}
		}
		l.list = append(l.list, one)
	}
	if err := l.settleTarget(at); err != nil {
		return err
	}
	if p.run.preview != nil && slices.ContainsFunc(l.list, func(one *lockedOne) bool { return !one.named() }) {
		return nil // a layer's key is known when all is fetched
	}
	if err := l.name(ctx); err != nil {
		return err
	}
	if err := l.replace(ctx, at); err != nil {
		return err
	}
	if err := l.layers(ctx); err != nil || p.run.preview != nil {
		return err
	}
	p.step.count(lock)
	return nil
}

// name finds out what the layers' keys are made of. What a lock does not tell
// of a wheel, its size or its digest, is known when it has been fetched or built.
func (l *lockedWheels) name(ctx context.Context) error {
	var absent []*lockedOne
	for _, one := range l.list {
		if !one.named() {
			absent = append(absent, one)
		}
	}
	if err := l.fetch(ctx, absent); err != nil {
		return err
	}
	frame, err := layers.Sum(ctx, l.frame)
	if err != nil {
		return err
	}
	compiled := ""
	if l.compiles {
		compiled = fmt.Sprintf("%s %s %t", bytecode.Format, l.python.target.Python, l.python.target.FreeThreaded)
	}
	for _, one := range l.list {
		direct := l.w.direct[one.pkg.Name]
		if direct != nil && !direct.Dir && direct.SHA256 == "" { // that of an archive is known already
			direct.SHA256 = one.hash.Hex
		}
		parts := []any{one.hash, l.scheme, one.pkg.Requested, direct, l.installer, compiled, l.in.WithoutScripts, frame, l.kept}
		if o := l.step.process.owner; o != (owner{}) {
			parts = append(parts, o.uid, o.gid)
		}
		if one.key, err = keyOf(wheelFormat, parts); err != nil {
			return err
		}
	}
	return nil
}

// decide finds out whether bytecode is compiled. Layers without it, for want of a
// sandbox, are others than those with it.
func (l *lockedWheels) decide(ctx context.Context) (err error) {
	if !l.in.Compile || l.run.plan.Options.NoCompile {
		return nil
	}
	if !l.stage.bare {
		l.compiles, err = l.canCompile(ctx)
	}
	l.step.lacks = l.step.lacks || !l.compiles
	return err
}

// fetch brings wheels to this machine, several at a time.
func (l *lockedWheels) fetch(ctx context.Context, list []*lockedOne) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	for _, one := range list {
		group.Go(func() error { return l.get(gctx, one) })
	}
	return group.Wait()
}

// get brings one wheel to this machine.
func (l *lockedWheels) get(ctx context.Context, one *lockedOne) error {
	one.once.Do(func() {
		if one.blob, one.name, one.err = l.client.Wheel(ctx, one.pkg); one.err == nil {
			one.hash, one.size = one.blob.Hash, one.blob.Size
		}
	})
	return one.err
}

// tree lays a wheel out, which has been fetched.
func (l *lockedWheels) tree(one *lockedOne) (layers.Tree, error) {
	opened, err := wheel.Open(one.blob.Path, one.name)
	if err != nil {
		return layers.Tree{}, err
	}
	tree, err := opened.Tree(l.scheme, wheel.Options{Requested: one.pkg.Requested, DirectURL: l.w.direct[one.pkg.Name], Installer: l.installer, Bytecode: one.code, Log: l.run.log()})
	if err != nil {
		return layers.Tree{}, err
	}
	if len(l.in.WithoutScripts) > 0 {
		tree, err = layers.NewTree(slices.DeleteFunc(slices.Clone(tree.Entries()), func(e layers.Entry) bool {
			return path.Dir("/"+e.Path) == l.scheme.Scripts && slices.Contains(l.in.WithoutScripts, path.Base(e.Path))
		}))
		if err != nil {
			return layers.Tree{}, err
		}
	}
	if len(l.kept) > 0 {
		if tree, err = l.withoutKept(tree); err != nil {
			return layers.Tree{}, err
		}
	}
	if tree, err = l.step.process.owns(tree); err != nil {
		return layers.Tree{}, err
	}
	return tree.Settle(l.frame)
}

// replace takes away what is installed in another version: a layer of its own,
// below those of the wheels.
func (l *lockedWheels) replace(ctx context.Context, at *place) error {
	replaced := func(d wheel.Distribution) bool {
		return l.replaces(d, l.scheme) && slices.ContainsFunc(l.list, func(one *lockedOne) bool { return one.pkg.Name == d.Key() })
	}
	stale := l.in.IgnoreInstalled // only bytecode, which Python would take for that of the new sources
	if l.run.preview != nil || stale && l.compiles {
		return nil
	}
	if l.aside() {
		return l.giveWay(ctx)
	}
	if !slices.ContainsFunc(at.there, replaced) {
		return nil
	}
	all, err := l.at.whole(ctx)
	if err != nil {
		return err
	}
	there, err := wheel.Installed(all, l.sites(l.scheme)) // with the files of each
	if err != nil {
		return err
	}
	there = slices.DeleteFunc(there, func(d wheel.Distribution) bool { return !replaced(d) || stale && d.Files == nil })
	next, err := l.merged(ctx)
	if err != nil {
		return err
	}
	both, err := wheel.Replace(all, there, next)
	if err != nil {
		return err
	}
	gone := marks(both)
	if stale {
		gone, err = layers.NewTree(slices.DeleteFunc(slices.Clone(gone.Entries()), func(e layers.Entry) bool { return !isBytecode(e.Path) }))
		if err != nil {
			return err
		}
	}
	return l.step.tree(ctx, gone)
}

// isBytecode says whether a path is that of bytecode, or of a directory of it.
func isBytecode(p string) bool {
	return path.Ext(p) == ".pyc" || path.Base(p) == "__pycache__"
}

// merged is what all wheels lay out, without bytecode.
func (l *lockedWheels) merged(ctx context.Context) (layers.Tree, error) {
	if err := l.fetch(ctx, l.list); err != nil {
		return layers.Tree{}, err
	}
	trees := make([]layers.Tree, len(l.list))
	for i, one := range l.list {
		var err error
		if trees[i], err = l.tree(one); err != nil {
			return layers.Tree{}, err
		}
	}
	return layers.Merge(trees...)
}

// settleTarget finds out what becomes of that which is in the directory of pip's
// --target already. pip moves what it has installed there name by name: one that
// exists stays, with all that is in it; with --upgrade it is replaced as a whole,
// unless it is a link.
func (l *lockedWheels) settleTarget(at *place) error {
	if !l.aside() || len(at.names) == 0 {
		return nil
	}
	l.kept = at.names
	if !l.in.Upgrade {
		return nil
	}
	l.kept = at.links
	l.given = slices.DeleteFunc(slices.Clone(at.names), func(name string) bool { return slices.Contains(at.links, name) })
	dir, err := l.frame.Resolve(l.scheme.Purelib)
	if err != nil {
		return err
	}
	l.frame, err = layers.NewTree(slices.DeleteFunc(slices.Clone(l.frame.Entries()), func(e layers.Entry) bool {
		return slices.Contains(l.given, nameBelow(e.Path, dir))
	}))
	return err
}

// nameBelow is the first name of a path below dir, "" if it is not there.
func nameBelow(p, dir string) string {
	rest, ok := strings.CutPrefix(p, dir+"/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// withoutKept leaves out what is under a name that stays as it is.
func (l *lockedWheels) withoutKept(tree layers.Tree) (layers.Tree, error) {
	return layers.NewTree(slices.DeleteFunc(slices.Clone(tree.Entries()), func(e layers.Entry) bool {
		name := nameBelow("/"+e.Path, l.scheme.Purelib)
		if !slices.Contains(l.kept, name) {
			return false
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.stayed == nil {
			l.stayed = map[string]bool{}
		}
		l.stayed[name] = true
		return true
	}))
}

// giveWay takes away what the names of the wheels replace in the directory of
// --target.
func (l *lockedWheels) giveWay(ctx context.Context) error {
	if len(l.given) == 0 {
		return nil
	}
	next, err := l.merged(ctx)
	if err != nil {
		return err
	}
	dir, err := l.frame.Resolve(l.scheme.Purelib)
	if err != nil {
		return err
	}
	var gone []layers.Entry
	for _, name := range l.given {
		if slices.ContainsFunc(next.Entries(), func(e layers.Entry) bool {
			return nameBelow(e.Path, dir) == name || name == "__pycache__" && path.Dir(e.Path) == dir && path.Ext(e.Path) == ".py"
		}) {
			gone = append(gone, layers.Entry{Path: path.Join(dir, name), Kind: layers.Whiteout})
		}
	}
	tree, err := layers.NewTree(gone)
	if err != nil {
		return err
	}
	return l.step.tree(ctx, tree)
}

// marks are the whiteouts of a tree.
func marks(t layers.Tree) layers.Tree {
	var gone []layers.Entry
	for _, e := range t.Entries() {
		if e.Kind == layers.Whiteout {
			gone = append(gone, e)
		}
	}
	only, err := layers.NewTree(gone)
	if err != nil {
		panic(err) // entries of a tree, without their order changed
	}
	return only
}

// wheelLayer is one layer of wheels.
type wheelLayer struct {
	of   []*lockedOne
	key  string
	rec  layerRecord
	made bool // the bytes are made now

	mu   sync.Mutex
	tree *layers.Tree // once it was laid out
}

// layers makes the layers of the wheels, or finds them on record.
func (l *lockedWheels) layers(ctx context.Context) error {
	wheels := make([]sized, len(l.list))
	for i, one := range l.list {
		wheels[i] = sized{one.pkg.Name, one.size}
	}
	var all, missing []*wheelLayer
	for _, members := range group(wheels, l.step.budget) {
		wl := &wheelLayer{}
		var keys []string
		for _, i := range members {
			wl.of = append(wl.of, l.list[i])
			keys = append(keys, l.list[i].key)
		}
		key, err := keyOf("wheels", keys)
		if err != nil {
			return err
		}
		wl.key = l.layerOptions().Key() + " " + key
		known := false
		if wl.rec, known, err = l.run.records.layer(ctx, wl.key, false); err != nil {
			return err
		}
		if !known {
			missing = append(missing, wl)
		}
		all = append(all, wl)
	}
	if v := l.run.preview; v != nil {
		l.previewLayers(v, all, missing)
	} else if err := l.makeAll(ctx, missing); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(l.stayed)) {
		l.run.shared.notice(l.run.log(), fmt.Sprintf("%s is there already and stays as it is, as with pip; --upgrade replaces it", path.Join(l.scheme.Purelib, name)))
	}
	if err := l.conflicts(ctx, all); err != nil {
		return err
	}
	for _, wl := range all {
		if l.run.preview != nil && wl.rec.Key == "" {
			continue
		}
		p, err := l.part(ctx, wl.rec, nil, func(ctx context.Context) (layers.Descriptor, error) {
			if err := l.prepare(ctx, []*wheelLayer{wl}); err != nil {
				return layers.Descriptor{}, err
			}
			return l.write(ctx, wl)
		})
		if err != nil {
			return err
		}
		p.gathered(l.run, func(ctx context.Context) (layers.Tree, error) { return l.laidOut(ctx, wl) })
		l.step.add(p, wl.rec, wl.made)
	}
	return nil
}

// prepare fetches the wheels of layers and compiles what is to be compiled.
func (l *lockedWheels) prepare(ctx context.Context, list []*wheelLayer) error {
	var need []*lockedOne
	for _, wl := range list {
		need = append(need, wl.of...)
	}
	if err := l.fetch(ctx, need); err != nil || !l.compiles {
		return err
	}
	units := make([]compileUnit, len(need))
	for i, one := range need {
		opened, err := wheel.Open(one.blob.Path, one.name)
		if err != nil {
			return err
		}
		sources, err := opened.Sources(l.scheme)
		if err != nil {
			return err
		}
		units[i] = compileUnit{key: fmt.Sprintf("wheel %s %s %s %s %s", one.blob.Hash, l.scheme.Purelib, l.scheme.Platlib, l.scheme.Scripts, l.scheme.Data), tree: sources, unchanged: one.blob.Unchanged}
	}
	codes, err := l.bytecode(ctx, l.python, units)
	for i, one := range need {
		if err == nil {
			one.code = codes[i]
		}
	}
	return err
}

// makeAll makes layers. Each is begun when its wheels are there, while others
// are still fetched, and handed on when it is done; as many are made at a time
// as there are processors, for each is made by several workers already.
func (l *lockedWheels) makeAll(ctx context.Context, list []*wheelLayer) error {
	if len(list) == 0 {
		return nil
	}
	if l.compiles { // one process compiles them all
		if err := l.prepare(ctx, list); err != nil {
			return err
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	making := semaphore.NewWeighted(int64(max(2, runtime.GOMAXPROCS(0)/2)))
	fetching := semaphore.NewWeighted(fetchers)
	for _, wl := range list {
		group.Go(func() error {
			for _, one := range wl.of {
				if err := fetching.Acquire(gctx, 1); err != nil {
					return err
				}
				err := l.get(gctx, one)
				fetching.Release(1)
				if err != nil {
					return err
				}
			}
			if err := making.Acquire(gctx, 1); err != nil {
				return err
			}
			defer making.Release(1)
			d, err := l.write(gctx, wl)
			if err != nil {
				return err
			}
			wl.rec = layerRecord{Key: wl.key, Descriptor: d, Tops: tops(*wl.tree, l.scheme)}
			if wl.rec.Outline, err = layers.MarshalOutline(layers.Outline(*wl.tree)); err != nil {
				return err
			}
			wl.made = true
			l.written(&builtLayer{run: l.run, ctx: ctx, rec: wl.rec})
			return nil
		})
	}
	return group.Wait()
}

// write makes the bytes of a layer. If that fails for a wheel whose file is
// damaged, the wheel is fetched again.
func (l *lockedWheels) write(ctx context.Context, wl *wheelLayer) (layers.Descriptor, error) {
	d, err := l.writeOnce(ctx, wl)
	if err == nil || ctx.Err() != nil || !l.mend(ctx, wl.of) {
		return d, err
	}
	return l.writeOnce(ctx, wl)
}

// mend fetches those wheels again whose files are damaged; false: there are none,
// or they cannot be had.
func (l *lockedWheels) mend(ctx context.Context, list []*lockedOne) bool {
	mended := false
	for _, one := range list {
		if one.blob.InPlace() {
			continue
		}
		r, _, err := l.run.Store.Blob(one.blob.Hash)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if err == nil {
			continue
		}
		l.run.log().Warn(fmt.Sprintf("%s is damaged in the cache, and fetched again", one.name))
		one.once = sync.Once{}
		if l.get(ctx, one) != nil {
			return false
		}
		mended = true
	}
	return mended
}

func (l *lockedWheels) writeOnce(ctx context.Context, wl *wheelLayer) (layers.Descriptor, error) {
	wl.mu.Lock()
	defer wl.mu.Unlock()
	whole, err := l.layOutOf(wl)
	if err != nil {
		return layers.Descriptor{}, err
	}
	d, err := l.run.Store.AddLayer(ctx, whole, l.layerOptions())
	for _, one := range wl.of {
		if changed := one.blob.Unchanged(); changed != nil {
			return layers.Descriptor{}, changed
		}
	}
	return d, err
}

// layOutOf lays the wheels of a layer out, which have been fetched.
func (l *lockedWheels) layOutOf(wl *wheelLayer) (layers.Tree, error) {
	trees := make([]layers.Tree, len(wl.of))
	for i, one := range wl.of {
		var err error
		if trees[i], err = l.tree(one); err != nil {
			return layers.Tree{}, err
		}
	}
	whole, err := layers.Merge(trees...)
	whole = whole.Written()
	if err == nil {
		wl.tree = &whole
	}
	return whole, err
}

// laidOut are the files of a layer.
func (l *lockedWheels) laidOut(ctx context.Context, wl *wheelLayer) (layers.Tree, error) {
	wl.mu.Lock()
	defer wl.mu.Unlock()
	if wl.tree != nil {
		return *wl.tree, nil
	}
	if err := l.prepare(ctx, []*wheelLayer{wl}); err != nil {
		return layers.Tree{}, err
	}
	l.mend(ctx, wl.of) // whoever reads them cannot
	return l.layOutOf(wl)
}

// tops are the first names of files below the places that wheels go to.
func tops(t layers.Tree, s wheel.Scheme) []string {
	found := map[string]bool{}
	roots := []string{s.Purelib, s.Platlib, s.Scripts, s.Data} // the longest first: data's is the prefix of all
	for _, e := range t.Entries() {
		if e.Kind == layers.Dir {
			continue
		}
		name := "/" + e.Path
		for _, r := range roots {
			rest, ok := strings.CutPrefix("/"+e.Path, r+"/")
			if !ok {
				continue
			}
			name = r + "/" + rest
			if r == s.Purelib || r == s.Platlib {
				first, _, _ := strings.Cut(rest, "/")
				name = "/" + first // both are one place where they are two
			}
			break
		}
		found[name] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// conflicts looks for files that two wheels both have, and that are not alike.
// Only layers that have a first name in common are looked at.
func (l *lockedWheels) conflicts(ctx context.Context, all []*wheelLayer) error {
	with := map[string][]*wheelLayer{}
	for _, wl := range all {
		for _, top := range wl.rec.Tops {
			with[top] = append(with[top], wl)
		}
	}
	suspect := map[*wheelLayer]bool{}
	for _, list := range with {
		if len(list) > 1 && slices.ContainsFunc(list, func(wl *wheelLayer) bool { return wl.made }) { // others were looked at when they were made
			for _, wl := range list {
				suspect[wl] = true
			}
		}
	}
	var trees []layers.Tree
	for _, wl := range all {
		if !suspect[wl] {
			continue
		}
		if wl.tree == nil {
			if err := l.fetch(ctx, wl.of); err != nil {
				return err
			}
			for _, one := range wl.of {
				tree, err := l.tree(one)
				if err != nil {
					return err
				}
				trees = append(trees, tree)
			}
			continue
		}
		trees = append(trees, *wl.tree)
	}
	_, err := layers.Merge(trees...)
	return err
}

// previewLayers notes what the layers of an install are.
func (l *lockedWheels) previewLayers(v *preview, all, missing []*wheelLayer) {
	for _, wl := range all {
		v.layer(wl.rec.Descriptor, !slices.Contains(missing, wl) && l.run.Store.Has(wl.rec.Digest), 0)
	}
}
