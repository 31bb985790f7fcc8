package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/boyabuild/boyabuild/pkg/dockerfile"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/lockfile"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/source"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// fetchers is how many wheels are downloaded at a time.
const fetchers = 8

// install does a RUN that is made of installs: one layer for the step.
func (s *stage) install(ctx context.Context, step dockerfile.Run, createdBy string) error {
	v := &imageView{tree: s.view}
	if py, err := s.python(); err == nil {
		v.prefix, v.version = py.installation.Prefix, py.installation.Python
	}
	found, err := installs(step, s.scope, v)
	if err != nil {
		return err
	}
	work, err := s.run.Store.TempDir("install-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	view, whole := s.view, layers.Tree{}
	var keys []string
	count := 0
	for i := range found {
		upper, done, err := s.command(ctx, &found[i], view, work)
		if err != nil {
			return stepFault(step.Origin, err)
		}
		if done != nil {
			count += done.count
			keys = append(keys, done.key)
		}
		whole = layers.Compose(whole, upper)
		view = layers.Overlay(view, upper)
	}
	if whole, err = needed(whole, s.view); err != nil {
		return stepFault(step.Origin, err)
	}
	a := dockerfile.Applied{Step: step, CreatedBy: createdBy}
	if whole.Len() == 0 {
		s.note(a, true)
		return nil
	}
	key, err := keyOf("install", []any{keys, shape(whole)})
	if err != nil {
		return err
	}
	made, err := s.add(ctx, key, whole)
	if err != nil {
		return stepFault(step.Origin, err)
	}
	if s.run.preview == nil {
		if count > 0 {
			made = packages(count) + ", " + made
		}
		s.tell(step.Origin, made)
	}
	s.note(a, false)
	return nil
}

// command does one command of a line, over view.
func (s *stage) command(ctx context.Context, c *pip.Step, view layers.Tree, work string) (layers.Tree, *installation, error) {
	switch {
	case c.Venv != nil:
		upper, err := s.venv(ctx, c.Venv, view)
		return upper, nil, err
	case c.Sync != nil:
		return s.sync(ctx, c, view, work)
	case c.Write != nil:
		upper, err := s.write(c.Write)
		return upper, nil, err
	case c.Install == nil || c.Install.IsEmpty():
		return layers.Tree{}, nil, nil
	}
	py, err := s.pythonAt(view, c.Install.Interpreter)
	if err != nil {
		return layers.Tree{}, nil, err
	}
	p := &installation{stage: s, python: py, in: c.Install, view: view, work: work, env: c.Env, dir: c.Dir, installer: installerName(c.Install.Tool)}
	upper, err := p.tree(ctx)
	return upper, p, err
}

// write is a file that a command writes: a tool's own configuration.
func (s *stage) write(f *pip.FileWrite) (layers.Tree, error) {
	return layers.NewTree([]layers.Entry{{Path: strings.TrimPrefix(path.Clean(f.Path), "/"), Kind: layers.File, Mode: f.Mode,
		Size: int64(len(f.Content)), Content: layers.Bytes(f.Content), Origin: "configuration"}})
}

// needed leaves out the whiteouts of what only an earlier install of the same
// step has made.
func needed(upper, lower layers.Tree) (layers.Tree, error) {
	kept := slices.DeleteFunc(slices.Clone(upper.Entries()), func(e layers.Entry) bool {
		_, ok := lower.Lookup(e.Path)
		return e.Kind == layers.Whiteout && !ok
	})
	return layers.NewTree(kept)
}

// stepFault places an error of an install: what the user asked for in a way
// that cannot be done is the Dockerfile's fault, the rest is not.
func stepFault(origin dockerfile.Origin, err error) error {
	var word *pip.WordError
	var refused *refusedError
	var empty *source.NotAProjectError
	if errors.As(err, &word) || errors.As(err, &refused) || errors.As(err, &empty) || errors.Is(err, errNoPython) {
		return &InputError{Origin: origin, Err: err}
	}
	return &StepError{Origin: origin, Err: err}
}

// shape lists everything of a tree but the contents, for a key beside what the
// contents were made from.
func shape(t layers.Tree) []string {
	rows := make([]string, 0, t.Len())
	for _, e := range t.Entries() {
		rows = append(rows, fmt.Sprintf("%s %d %o %d:%d %d %s %t", e.Path, e.Kind, e.Mode, e.UID, e.GID, e.Size, e.Link, e.Opaque))
	}
	return rows
}

// refusedError is something that pip would do and this program does not.
type refusedError struct {
	what   string
	advice string
}

func (e *refusedError) Error() string { return e.what }
func (e *refusedError) Hint() string  { return e.advice }

// installation is one pip install in the making.
type installation struct {
	*stage
	python *pythonInImage
	in     *pip.Install
	view   layers.Tree
	work   string   // a folder for files taken out of the image
	taken  []string // their names and digests
	env    map[string]string
	count  int // packages installed

	dir       string // where the command runs, absolute
	installer string // what INSTALLER says; "" = pip
	key       string // stands for all that went into the files' contents
}

// builder makes wheels for this install of what has none.
func (p *installation) builder(c pip.Config) *sourceBuilder {
	return &sourceBuilder{config: c, fallback: p.fallback(c), excludeNewer: p.run.plan.Options.ExcludeNewer, py: p.python,
		stage: func(context.Context) (*stage, error) { return p.stage, nil }}
}

// tree resolves, fetches and lays out, and returns what the install lays over
// the view.
func (p *installation) tree(ctx context.Context) (layers.Tree, error) {
	if err := p.refuse(); err != nil {
		return layers.Tree{}, err
	}
	scheme, err := wheel.SchemeFor(p.python.installation, wheel.Place{Target: p.in.Target, Prefix: p.in.Prefix, User: p.userBase()})
	if err != nil {
		return layers.Tree{}, &refusedError{what: err.Error()}
	}
	there, err := p.installed(scheme)
	if err != nil {
		return layers.Tree{}, err
	}
	if sel, ok, err := p.locked(); err != nil || ok {
		if err != nil {
			return layers.Tree{}, err
		}
		return p.installSelected(ctx, sel, scheme, there, path.Dir(p.absolute(p.in.Files[0])), false)
	}
	w, err := p.wanted(ctx)
	if err != nil {
		return layers.Tree{}, err
	}
	client, err := p.client(ctx, w.config)
	if err != nil {
		return layers.Tree{}, err
	}
	lock, err := p.lock(ctx, client, w, there)
	if err != nil {
		return layers.Tree{}, err
	}
	if len(lock.Packages) == 0 {
		p.run.log().Info("everything that is asked for is installed already")
		return layers.Tree{}, nil
	}
	upper, key, err := p.layOut(ctx, client, lock, w, scheme, there)
	p.key = key
	if err != nil || !p.in.Sync {
		return upper, err
	}
	return p.prune(upper, lock, there, scheme)
}

// prune takes away what is installed in the scheme's place and is not in the
// lock, as `uv pip sync` does.
func (p *installation) prune(upper layers.Tree, lock python.Lock, there []wheel.Distribution, scheme wheel.Scheme) (layers.Tree, error) {
	gone := layers.Tree{}
	for _, d := range there {
		if _, ok := lock.Lookup(d.Key()); ok || "/"+d.Site != scheme.Purelib && "/"+d.Site != scheme.Platlib {
			continue
		}
		t, err := wheel.Uninstall(p.view, d)
		if err != nil {
			return layers.Tree{}, err
		}
		gone = layers.Compose(gone, t)
	}
	return layers.Compose(gone, upper), nil
}

// locked is what a pylock.toml named by -r says.
func (p *installation) locked() (lockfile.Selected, bool, error) {
	var none lockfile.Selected
	i := slices.IndexFunc(p.in.Files, lockfile.IsLockFile)
	if i < 0 {
		return none, false, nil
	}
	if len(p.in.Files)+len(p.in.Requirements)+len(p.in.Paths)+len(p.in.URLs)+len(p.in.Editable) > 1 {
		return none, false, &refusedError{what: fmt.Sprintf("%s is complete, and nothing else can be installed with it in one command", p.in.Files[i]), advice: "write two commands"}
	}
	locker, err := p.locker(p.in.Files[i])
	if err != nil {
		return none, false, err
	}
	sel, err := locker.Select(p.python.target, lockfile.Selection{Extras: p.in.Extras, Groups: groupNames(p.in.Groups), AllExtras: p.in.AllExtras})
	return sel, true, err
}

// refuse returns an error for what is understood but cannot be done.
func (p *installation) refuse() error {
	in := p.in
	unsupported := func(what, advice string) error { return &refusedError{what: what, advice: advice} }
	const wheels = "build a wheel of it once (pip wheel), COPY it and name the wheel"
	switch {
	case in.Tool == pip.UV && !in.System && in.Target == "" && in.Prefix == "" && !p.python.installation.Venv:
		return unsupported("uv pip install wants a virtual environment, and the image's PATH leads to none", "write uv pip install --system, or set UV_SYSTEM_PYTHON=1")
	case in.NoBuildIsolation && len(in.Paths)+len(in.Editable) > 0:
		return unsupported("--no-build-isolation is not supported: packages are built apart from the image", "leave it out, or "+wheels)
	case len(in.BuildConstraints) > 0:
		return unsupported("--build-constraint is not supported", "leave it out, or "+wheels)
	case in.IgnoreRequiresPython:
		return unsupported("--ignore-requires-python is not supported", "take a version that is made for this Python")
	}
	if v := in.Python; v != "" && !p.python.answersTo(v) {
		return unsupported(fmt.Sprintf("%s is for Python %s, and the image has %s", in.Program, v, p.python.target.Python), "write pip without a version, or take another base")
	}
	for _, u := range slices.Concat(in.URLs, in.Editable) {
		if vcs, _, ok := strings.Cut(u, "+"); ok && slices.Contains([]string{"git", "hg", "svn", "bzr"}, vcs) {
			return unsupported(fmt.Sprintf("%q is a repository, which is not fetched", u), "name the archive of a commit by its URL, or "+wheels)
		}
	}
	return nil
}

// userBase is where --user installs to: ~/.local of the user that runs the step.
func (p *installation) userBase() string {
	if !p.in.User {
		return ""
	}
	home := p.env["HOME"]
	if home == "" {
		home = "/root"
	}
	return path.Join(home, ".local")
}

// absolute makes a path of the command line absolute.
func (p *installation) absolute(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join("/", p.dir, name)
}

// layOut fetches the wheels and lays them out in one tree.
func (p *installation) layOut(ctx context.Context, client *index.Client, lock python.Lock, w *wanted, scheme wheel.Scheme, there []wheel.Distribution) (layers.Tree, string, error) {
	if v := p.run.preview; v != nil && !p.packages(v, lock) {
		p.count = len(lock.Packages)
		return layers.Tree{}, "", nil
	}
	blobs := make([]index.Blob, len(lock.Packages))
	trees := make([]layers.Tree, len(lock.Packages))
	names := make([]string, len(lock.Packages)) // of the wheels
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	for i, pkg := range lock.Packages {
		group.Go(func() error {
			var err error
			if blobs[i], names[i], err = client.Wheel(gctx, pkg); err != nil {
				return err
			}
			trees[i], err = p.wheelTree(pkg, blobs[i], names[i], scheme, w.direct[pkg.Name], layers.Tree{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return layers.Tree{}, "", err
	}
	if p.in.Compile {
		if err := p.compile(ctx, lock, blobs, names, trees, scheme, w); err != nil {
			return layers.Tree{}, "", err
		}
	}
	whole, err := layers.Merge(trees...)
	if err != nil {
		return layers.Tree{}, "", err
	}
	if whole, err = whole.Settle(p.view); err != nil {
		return layers.Tree{}, "", err
	}
	var old []wheel.Distribution
	var told, made []string
	for i, pkg := range lock.Packages {
		told = append(told, pkg.Name+" "+pkg.Version.String())
		made = append(made, fmt.Sprint(blobs[i].Hash, pkg.Requested, w.direct[pkg.Name]))
		for _, d := range there {
			if d.Key() == pkg.Name {
				old = append(old, d)
			}
		}
	}
	if len(old) > 0 && p.in.Target == "" && !p.in.IgnoreInstalled {
		if whole, err = wheel.Replace(p.view, old, whole); err != nil {
			return layers.Tree{}, "", err
		}
	}
	p.count = len(told)
	p.run.log().Debug("installed " + strings.Join(told, ", "))
	key, err := keyOf("wheels", []any{made, scheme, p.in.Compile})
	return whole, key, err
}

func (p *installation) wheelTree(pkg python.Locked, b index.Blob, name string, scheme wheel.Scheme, direct *wheel.DirectURL, bytecode layers.Tree) (layers.Tree, error) {
	w, err := wheel.Open(b.Path, name)
	if err != nil {
		return layers.Tree{}, err
	}
	if direct != nil && !direct.Dir {
		direct.SHA256 = b.Hash.Hex
	}
	tree, err := w.Tree(scheme, wheel.Options{Requested: pkg.Requested, DirectURL: direct, Installer: p.installer, Bytecode: bytecode, Log: p.run.log()})
	if err != nil || len(p.in.WithoutScripts) == 0 {
		return tree, err
	}
	return layers.NewTree(slices.DeleteFunc(slices.Clone(tree.Entries()), func(e layers.Entry) bool {
		return path.Dir("/"+e.Path) == scheme.Scripts && slices.Contains(p.in.WithoutScripts, path.Base(e.Path))
	}))
}

// compile adds bytecode to the trees, as pip leaves it.
func (p *installation) compile(ctx context.Context, lock python.Lock, blobs []index.Blob, names []string, trees []layers.Tree, scheme wheel.Scheme, w *wanted) error {
	units := make([]compileUnit, len(trees))
	for i := range trees {
		opened, err := wheel.Open(blobs[i].Path, names[i])
		if err != nil {
			return err
		}
		sources, err := opened.Sources(scheme)
		if err != nil {
			return err
		}
		units[i] = compileUnit{key: fmt.Sprintf("wheel %s %s %s %s %s", blobs[i].Hash, scheme.Purelib, scheme.Platlib, scheme.Scripts, scheme.Data), tree: sources}
	}
	codes, err := p.bytecode(ctx, p.python, units)
	if err != nil {
		return err
	}
	for i, pkg := range lock.Packages {
		if codes[i].Len() == 0 {
			continue
		}
		if trees[i], err = p.wheelTree(pkg, blobs[i], names[i], scheme, w.direct[pkg.Name], codes[i]); err != nil {
			return err
		}
	}
	return nil
}
