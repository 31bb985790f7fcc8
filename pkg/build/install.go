package build

import (
	"context"
	"errors"
	"fmt"
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

// installStep is a RUN that is made of installs, on its way into layers.
type installStep struct {
	*stage
	at     *view  // with what the step has made so far
	work   string // a folder for files taken out of the image
	budget int    // how many layers it may come to

	process process // who runs it

	pins   pins                     // versions that are to be taken
	pinned []python.FileRequirement // of them, those of the current install

	parts    []*part
	recs     []layerRecord
	packages []string
	shares   []int // how many of them each install has
	places   map[string]placeRecord
	bytes    int64 // of what was made now
	made     bool
	lacks    bool // bytecode that was wanted
}

// add adds a layer.
func (t *installStep) add(p *part, rec layerRecord, made bool) {
	t.parts, t.recs = append(t.parts, p), append(t.recs, rec)
	t.at = t.at.with(p)
	if made {
		t.made = true
		t.bytes += rec.Size
	}
}

// tree adds a layer of files that are at hand.
func (t *installStep) tree(ctx context.Context, upper layers.Tree) error {
	if upper.Len() == 0 {
		return nil
	}
	sum, err := sumOf(ctx, upper)
	if err != nil {
		return err
	}
	p, rec, made, err := t.content(ctx, "files/2 "+sum.String(), upper, "")
	if err != nil || p == nil {
		return err
	}
	t.add(p, rec, made)
	return nil
}

// count notes what was installed.
func (t *installStep) count(l python.Lock) {
	if t.packages != nil && t.run.preview != nil {
		return
	}
	for _, pkg := range l.Packages {
		t.packages = append(t.packages, pkg.Name+" "+pkg.Version.String())
	}
}

// install does a RUN that is made of installs: a layer for each of the larger
// wheels, and some for the rest. If the step is on record, and nothing that it
// depends on has changed, its layers are known without more.
func (s *stage) install(ctx context.Context, step dockerfile.Run, createdBy string) error {
	over, err := s.mounted(ctx, step)
	if err != nil {
		return err
	}
	found, err := over.commands(ctx, step)
	if err != nil {
		return stepFault(step.Origin, err)
	}
	a := dockerfile.Applied{Step: step, CreatedBy: createdBy}
	key := over.installKey(ctx, found, step.Mounts)
	if key != "" {
		rec, ok, err := s.run.records.step(ctx, key)
		if err != nil {
			return stepFault(step.Origin, err)
		}
		if ok && rec.Bare {
			better, err := s.improves(ctx)
			if err != nil {
				return stepFault(step.Origin, err)
			}
			ok = !better
		}
		if ok {
			return s.recorded(ctx, a, key, rec, over.again(step.Origin, found, rec))
		}
	}
	t, err := over.installed(ctx, found, s.run.pinned[key])
	if err == nil {
		err = lost(step.Mounts, t.parts)
	}
	if err != nil {
		return stepFault(step.Origin, err)
	}
	rec := stepRecord{Layers: t.recs, Packages: t.packages, Places: t.places, Bare: t.lacks}
	if len(t.shares) > 1 && len(t.packages) > 0 {
		rec.Shares = t.shares
	}
	if key != "" && s.run.preview == nil {
		s.run.noteStep(key, rec)
		if err := s.run.records.keep(key, rec); err != nil {
			return stepFault(step.Origin, err)
		}
	}
	for _, p := range t.parts {
		s.lay(p)
	}
	if s.run.preview == nil && len(t.parts) > 0 {
		s.tell(step.Origin, told(len(t.packages), len(t.parts), t.made, t.bytes))
	}
	s.noteLayers(a, len(t.parts))
	return nil
}

// told says what an install has come to.
func told(packageCount, layerCount int, made bool, bytes int64) string {
	var text []string
	if packageCount > 0 {
		text = append(text, packages(packageCount))
	}
	if layerCount != 1 {
		text = append(text, fmt.Sprintf("%d layers", layerCount))
	}
	if made {
		text = append(text, bytesText(bytes))
	} else {
		text = append(text, "unchanged")
	}
	return strings.Join(text, ", ")
}

// recorded lays the layers of a step on the image that is on record. again does
// the step, for layers whose bytes nobody has any more.
func (s *stage) recorded(ctx context.Context, a dockerfile.Applied, key string, rec stepRecord, again func(context.Context) ([]*part, error)) error {
	at := a.Step.At()
	var parts []*part
	for _, l := range rec.Layers {
		p, err := s.part(ctx, l, nil, func(ctx context.Context) (layers.Descriptor, error) { return s.run.remake(ctx, l, again) })
		if err != nil {
			return &StepError{Origin: at, Err: err}
		}
		p.gathered(s.run, func(ctx context.Context) (layers.Tree, error) { return s.run.regather(ctx, l, again) })
		if v := s.run.preview; v != nil {
			v.layer(l.Descriptor, true, 0)
		}
		parts = append(parts, p)
	}
	if v := s.run.preview; v != nil {
		for _, text := range rec.Packages {
			name, version, _ := strings.Cut(text, " ")
			v.current().Packages = append(v.current().Packages, PackagePreview{Name: name, Version: version, Here: true})
		}
	}
	for _, p := range parts {
		s.lay(p)
	}
	s.run.noteStep(key, rec)
	if s.run.preview == nil && len(parts) > 0 {
		s.tell(at, told(len(rec.Packages), len(parts), false, 0))
	}
	s.noteLayers(a, len(parts))
	return nil
}

// noteLayers adds a step's lines to the image's history: one for each layer
// (OCI image specification, "history").
func (s *stage) noteLayers(a dockerfile.Applied, n int) {
	if n == 0 {
		s.note(a, true)
	}
	for range n {
		s.note(a, false)
	}
}

// commands reads a RUN's line as far as the files of the image have a say in it.
func (s *stage) commands(ctx context.Context, step dockerfile.Run) ([]pip.Step, error) {
	read := func(tree layers.Tree) ([]pip.Step, error) {
		v := &imageView{tree: tree}
		who, err := s.process(tree)
		if err != nil {
			return nil, err
		}
		v.home = who.home
		if py, err := s.python(ctx); err == nil {
			v.prefix, v.version = py.installation.Prefix, py.installation.Python
		}
		return installs(step, s.scope, v)
	}
	found, err := read(s.view.known)
	if !unlisted(err) {
		return found, err
	}
	all, err := s.view.whole(ctx)
	if err != nil {
		return nil, err
	}
	return read(all)
}

// again returns a function that does a step as it is now, at any time, and comes to
// the packages on record.
func (s *stage) again(origin dockerfile.Origin, found []pip.Step, rec stepRecord) func(context.Context) ([]*part, error) {
	then := s.now()
	then.bare = rec.Bare
	return func(ctx context.Context) ([]*part, error) {
		t, err := then.installed(ctx, found, rec)
		if err != nil {
			return nil, stepFault(origin, err)
		}
		return t.parts, nil
	}
}

// remake makes a layer that is on record by doing its step again.
func (p *platformBuild) remake(ctx context.Context, rec layerRecord, again func(context.Context) ([]*part, error)) (layers.Descriptor, error) {
	p.remaking.Lock() // what a build shares is for one at a time
	defer p.remaking.Unlock()
	p.log().Debug(fmt.Sprintf("layer %s is made again", rec.Digest))
	made, err := remade(ctx, rec, again)
	if err == nil {
		err = made.built.bring()
	}
	if err != nil {
		return layers.Descriptor{}, err
	}
	return made.built.rec.Descriptor, nil
}

// regather gathers the files of a layer that is on record by doing its step again.
func (p *platformBuild) regather(ctx context.Context, rec layerRecord, again func(context.Context) ([]*part, error)) (layers.Tree, error) {
	made, err := remade(ctx, rec, again)
	if err != nil {
		return layers.Tree{}, err
	}
	if made.whole == nil {
		return made.known, nil
	}
	return made.whole(ctx)
}

// remade does a step again, and returns the one of its layers that is on record.
func remade(ctx context.Context, rec layerRecord, again func(context.Context) ([]*part, error)) (*part, error) {
	parts, err := again(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if p != nil && p.built.rec.Key == rec.Key {
			return p, nil
		}
	}
	return nil, &RecordError{Key: rec.Key, Recorded: rec.Digest}
}

// installed does the commands of a step; what is pinned comes out in those
// versions.
func (s *stage) installed(ctx context.Context, found []pip.Step, pinned stepRecord) (*installStep, error) {
	pins, err := pinsOf(pinned)
	if err != nil {
		return nil, err
	}
	work, err := s.run.Store.TempDir("install-*")
	if err != nil {
		return nil, err
	}
	s.run.scratch = append(s.run.scratch, work) // what lies there is read when bytes are made
	who, err := s.user(ctx)
	if err != nil {
		return nil, err
	}
	t := &installStep{stage: s, process: who, at: s.view, work: work, budget: s.run.layerBudget(s), pins: pins, places: map[string]placeRecord{}}
	for i := range found {
		if err := t.command(ctx, &found[i]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// command does one command of a line: by what is known of the image, and where
// that is not enough, by all of its files.
func (t *installStep) command(ctx context.Context, c *pip.Step) error {
	if c.Install == nil && c.Sync == nil {
		return t.any(ctx, c)
	}
	before := len(t.packages)
	t.pinned = t.pins.next()
	err := t.any(ctx, c)
	t.shares = append(t.shares, len(t.packages)-before)
	return err
}

func (t *installStep) any(ctx context.Context, c *pip.Step) error {
	if c.Write != nil {
		upper, err := t.write(c.Write)
		if err != nil {
			return err
		}
		if upper, err = t.settled(ctx, upper, path.Dir(c.Write.Path)); err != nil {
			return err
		}
		return t.tree(ctx, upper)
	}
	if c.Install != nil && c.Install.IsEmpty() {
		return nil
	}
	if c.Install != nil {
		before := *t
		err := t.do(ctx, c, t.at.known)
		if !unlisted(err) {
			return err
		}
		*t = before
	}
	all, err := t.at.whole(ctx)
	if err != nil {
		return err
	}
	return t.do(ctx, c, all)
}

func (t *installStep) do(ctx context.Context, c *pip.Step, lower layers.Tree) error {
	switch {
	case c.Venv != nil:
		upper, err := t.venv(ctx, c.Venv, lower)
		if err != nil {
			return err
		}
		if upper, err = t.settled(ctx, upper, c.Venv.Dir); err != nil {
			return err
		}
		return t.tree(ctx, upper)
	case c.Sync != nil:
		return t.sync(ctx, c, lower)
	case c.Uninstall != nil:
		return t.uninstall(ctx, c, lower)
	case c.Install == nil:
		return nil
	}
	py, err := t.pythonOf(ctx, c, c.Install.Interpreter)
	if err != nil {
		return err
	}
	if c.Install.Tool == pip.Pip {
		py = py.startedBy(c.Install.Program)
	}
	in, err := t.mine(c.Install, py, lower)
	if err != nil {
		return err
	}
	p := &installation{stage: t.stage, step: t, at: t.at, python: py, in: in, view: lower, work: t.work, env: c.Env, dir: c.Dir, installer: installerName(c.Install.Tool)}
	return p.run1(ctx)
}

// pythonOf is the Python that a command installs for.
func (t *installStep) pythonOf(ctx context.Context, c *pip.Step, interpreter string) (*pythonInImage, error) {
	if interpreter == "" && c.Env["PATH"] == environ(t.scope.Config.Env)["PATH"] {
		return t.python(ctx) // what a step installs is no Python
	}
	all, err := t.at.whole(ctx)
	if err != nil {
		return nil, err
	}
	return t.pythonAt(all, c.Env["PATH"], interpreter)
}

// settled fits files that a command makes in dir to what lies there: directories
// on the way stay as they are, and the rest is the user's.
func (t *installStep) settled(ctx context.Context, upper layers.Tree, dir string) (layers.Tree, error) {
	if upper.Len() == 0 {
		return upper, nil
	}
	return t.at.on(ctx, func(lower layers.Tree) (layers.Tree, error) {
		if ok, err := t.process.mayWrite(lower, dir); err != nil {
			return layers.Tree{}, err
		} else if !ok {
			return layers.Tree{}, t.process.notWritable(dir)
		}
		own, err := t.process.owns(upper)
		if err != nil {
			return layers.Tree{}, err
		}
		return own.Settle(lower)
	})
}

// write is a file that a command writes: a tool's own configuration.
func (s *stage) write(f *pip.FileWrite) (layers.Tree, error) {
	return layers.NewTree([]layers.Entry{{Path: strings.TrimPrefix(path.Clean(f.Path), "/"), Kind: layers.File, Mode: f.Mode,
		Size: int64(len(f.Content)), Content: layers.Bytes(f.Content), Origin: "configuration"}})
}

// stepFault places an error of an install: what the user asked for in a way
// that cannot be done is the Dockerfile's fault, the rest is not.
func stepFault(origin dockerfile.Origin, err error) error {
	var word *pip.WordError
	var refused *refusedError
	var empty *source.NotAProjectError
	var placed *StepError
	var wrong *InputError
	if errors.As(err, &placed) || errors.As(err, &wrong) {
		return err
	}
	if errors.As(err, &word) || errors.As(err, &refused) || errors.As(err, &empty) || errors.Is(err, errNoPython) {
		return &InputError{Origin: origin, Err: err}
	}
	return &StepError{Origin: origin, Err: err}
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
	step   *installStep
	at     *view // that it installs into
	python *pythonInImage
	in     *pip.Install
	view   layers.Tree // what is looked at of it: its outline, or all
	work   string      // a folder for files taken out of the image
	taken  []string    // their names and digests
	env    map[string]string

	dir       string // where the command runs, absolute
	installer string // what INSTALLER says; "" = pip
}

// builder makes wheels for this install of what has none.
func (p *installation) builder(w *wanted) *sourceBuilder {
	return &sourceBuilder{config: w.config, fallback: p.fallback(w.config), excludeNewer: p.run.plan.Options.ExcludeNewer, py: p.python,
		settings: w.settings, constraints: w.buildConstraints,
		stage: func(context.Context) (*stage, error) { return p.stage, nil }}
}

// run1 resolves, fetches and lays out.
func (p *installation) run1(ctx context.Context) error {
	if err := p.refuse(); err != nil {
		return err
	}
	scheme, err := p.scheme(ctx)
	if err != nil {
		return err
	}
	at, err := p.place(ctx, scheme)
	if err != nil {
		return err
	}
	if p.in.WheelDir != "" {
		at.there = nil // it has no part in what is gathered
	}
	if sel, ok, err := p.locked(); err != nil || ok {
		if err != nil {
			return err
		}
		return p.installSelected(ctx, sel, scheme, at, path.Dir(p.absolute(p.in.Files[0])))
	}
	w, err := p.wanted()
	if err != nil {
		return err
	}
	if err := p.takeOut(ctx, w); err != nil {
		return err
	}
	client, err := p.client(ctx, w)
	if err != nil {
		return err
	}
	lock, err := p.lock(ctx, client, w, at.there)
	if err != nil {
		return err
	}
	if p.in.Sync {
		names := map[string]bool{}
		for _, l := range lock.Packages {
			names[l.Name] = true
		}
		if err := p.prune(ctx, names, at, scheme); err != nil {
			return err
		}
	}
	if len(lock.Packages) == 0 {
		p.run.log().Info("everything that is asked for is installed already")
		return nil
	}
	return p.layOut(ctx, client, lock, w, scheme, at)
}

// wheelhouse puts the wheels of a lock into a folder, as `pip wheel` does.
func (p *installation) wheelhouse(ctx context.Context, client *index.Client, lock python.Lock) error {
	entries := make([]layers.Entry, len(lock.Packages))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	for i, pkg := range lock.Packages {
		group.Go(func() error {
			blob, name, err := client.Wheel(gctx, pkg)
			entries[i] = layers.Entry{Path: strings.TrimPrefix(path.Join(p.in.WheelDir, name), "/"), Kind: layers.File, Mode: 0o644, Size: blob.Size,
				Content: layers.HostFile(blob.Path), Origin: name}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	tree, err := layers.NewTree(entries)
	if err != nil {
		return err
	}
	if tree, err = p.step.settled(ctx, tree, p.in.WheelDir); err != nil {
		return err
	}
	p.step.count(lock)
	return p.step.tree(ctx, tree)
}

// prune takes away what is installed in the scheme's place and has none of the
// names, as `uv sync`, `uv pip sync` and `poetry sync` do. What an environment
// was seeded with stays: pip, and with uv itself and, before Python 3.12,
// setuptools and wheel.
func (p *installation) prune(ctx context.Context, names map[string]bool, at *place, scheme wheel.Scheme) error {
	seeds := []string{"pip"}
	if p.in.Tool == pip.UV {
		seeds = append(seeds, "uv")
		if v := p.python.target.Python; v.Number(0) == 3 && v.Number(1) < 12 {
			seeds = append(seeds, "setuptools", "wheel")
		}
	}
	extraneous := func(d wheel.Distribution) bool {
		return !names[d.Key()] && !slices.Contains(seeds, d.Key()) && ("/"+d.Site == scheme.Purelib || "/"+d.Site == scheme.Platlib)
	}
	if !slices.ContainsFunc(at.there, extraneous) {
		return nil
	}
	all, err := p.at.whole(ctx)
	if err != nil {
		return err
	}
	there, err := wheel.Installed(all, p.sites(scheme))
	if err != nil {
		return err
	}
	gone, err := wheel.Replace(all, slices.DeleteFunc(there, func(d wheel.Distribution) bool { return !extraneous(d) }), layers.Tree{})
	if err != nil {
		return err
	}
	return p.step.tree(ctx, gone)
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
	if len(p.in.Constraints)+len(p.in.Config.Constraints) > 0 {
		return none, false, &refusedError{what: fmt.Sprintf("%s names every version, and constraints cannot be had with it", p.in.Files[i]), advice: "leave out -c (and PIP_CONSTRAINT, UV_CONSTRAINT)"}
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
	case in.NoBuildIsolation && len(in.BuildConstraints) > 0:
		return unsupported("--build-constraint and --no-build-isolation exclude each other", "leave out one of them")
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
	return path.Join(homeOf(p.env), ".local")
}

// homeOf is the home folder of the user that runs a step.
func homeOf(env map[string]string) string {
	if home := env["HOME"]; home != "" {
		return home
	}
	return "/root"
}

// absolute makes a path of the command line absolute.
func (p *installation) absolute(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join("/", p.dir, name)
}

// layerBudget is how many layers an install may come to: what the limit leaves
// after the base's and one for each other step, in equal shares.
func (p *platformBuild) layerBudget(s *stage) int {
	limit := p.plan.Options.MaxLayers
	if limit <= 0 {
		limit = DefaultMaxLayers
	}
	others, shares := 0, 0
	if s.base.Image != nil {
		if list, err := s.base.Image.Layers(); err == nil {
			others = len(list)
		}
	}
	for _, st := range p.platform.Stages {
		for _, step := range st.Steps {
			if step.Kind == InstallPackages {
				shares++
			} else {
				others++
			}
		}
	}
	return max(1, (limit-others)/max(1, shares))
}
