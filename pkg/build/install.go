package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/boyabuild/boyabuild/pkg/dockerfile"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// fetchers is how many wheels are downloaded at a time.
const fetchers = 8

// install does a RUN that is made of pip installs: one layer for the step.
func (s *stage) install(ctx context.Context, step dockerfile.Run, createdBy string) error {
	py, err := s.python()
	if err != nil {
		return &InputError{Origin: step.Origin, Err: err}
	}
	found, err := installs(step, s.scope, &imageView{tree: s.view, prefix: py.installation.Prefix})
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
		if found[i].IsEmpty() {
			continue
		}
		p := &installation{stage: s, python: py, in: &found[i], view: view, work: work, env: environ(s.scope.Env())}
		upper, key, err := p.tree(ctx)
		if err != nil {
			return stepFault(step.Origin, err)
		}
		count += p.count
		keys = append(keys, key)
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
	s.tell(step.Origin, fmt.Sprintf("%s, %s", packages(count), made))
	s.note(a, false)
	return nil
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
	if errors.As(err, &word) || errors.As(err, &refused) {
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
}

// wanted is what an install asks for, with the files that it names read.
type wanted struct {
	requirements, constraints []python.FileRequirement
	config                    pip.Config
	allReleases, onlyFinal    []string // of the requirements files: whose pre-releases are welcome, or never taken
	// direct says where the distributions come from that are named by URL or
	// path, by normalised name (PEP 610).
	direct map[string]*wheel.DirectURL
}

// tree resolves, fetches and lays out, and returns what the install lays over
// the view, with a key of all that went into the files' contents.
func (p *installation) tree(ctx context.Context) (layers.Tree, string, error) {
	if err := p.refuse(); err != nil {
		return layers.Tree{}, "", err
	}
	scheme, err := wheel.SchemeFor(p.python.installation, wheel.Place{Target: p.in.Target, Prefix: p.in.Prefix, User: p.userBase()})
	if err != nil {
		return layers.Tree{}, "", &refusedError{what: err.Error()}
	}
	w, err := p.wanted()
	if err != nil {
		return layers.Tree{}, "", err
	}
	there, err := p.installed(scheme)
	if err != nil {
		return layers.Tree{}, "", err
	}
	client, err := p.client(ctx, w.config)
	if err != nil {
		return layers.Tree{}, "", err
	}
	lock, err := p.lock(ctx, client, w, there)
	if err != nil {
		return layers.Tree{}, "", err
	}
	if len(lock.Packages) == 0 {
		p.run.log().Info("everything that is asked for is installed already")
		return layers.Tree{}, "", nil
	}
	return p.layOut(ctx, client, lock, w, scheme, there)
}

// refuse returns an error for what is understood but cannot be done.
func (p *installation) refuse() error {
	in := p.in
	unsupported := func(what, advice string) error { return &refusedError{what: what, advice: advice} }
	const wheels = "build a wheel of it once (pip wheel), COPY it and name the wheel"
	switch {
	case len(in.Editable) > 0:
		return unsupported(fmt.Sprintf("an editable install (-e %s) is not supported", in.Editable[0]), "COPY the app and set PYTHONPATH, or "+wheels)
	case in.Tool == pip.UV && !in.System && in.Target == "" && in.Prefix == "" && !p.python.installation.Venv:
		return unsupported("uv pip install wants a virtual environment, and the image's PATH leads to none", "write uv pip install --system, or set UV_SYSTEM_PYTHON=1")
	case in.IgnoreRequiresPython:
		return unsupported("--ignore-requires-python is not supported", "take a version that is made for this Python")
	}
	if v := in.Python; v != "" && !p.python.answersTo(v) {
		return unsupported(fmt.Sprintf("%s is for Python %s, and the image has %s", in.Program, v, p.python.target.Python), "write pip without a version, or take another base")
	}
	for _, file := range in.Paths {
		if !strings.HasSuffix(file, ".whl") {
			return unsupported(fmt.Sprintf("%q is not a wheel; building packages from source is not supported", file), wheels)
		}
	}
	for _, u := range in.URLs {
		if name, _, _ := strings.Cut(u, "#"); !strings.HasSuffix(name, ".whl") {
			return unsupported(fmt.Sprintf("%q is not a wheel; building packages from source is not supported", u), wheels)
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
	return path.Join("/", p.scope.Config.WorkingDir, name)
}

// wanted reads the requirements of the command line and of the files it names.
func (p *installation) wanted() (*wanted, error) {
	w := &wanted{direct: map[string]*wheel.DirectURL{}}
	for _, text := range p.in.Requirements {
		r, err := python.ParseRequirement(text)
		if err != nil {
			return nil, &refusedError{what: err.Error()}
		}
		w.requirements = append(w.requirements, python.FileRequirement{Requirement: r})
	}
	for _, u := range p.in.URLs {
		r, err := wheelRequirement(u, "")
		if err != nil {
			return nil, err
		}
		w.requirements = append(w.requirements, r)
	}
	for _, file := range p.in.Paths {
		r, err := wheelRequirement(file, file)
		if err != nil {
			return nil, err
		}
		w.requirements = append(w.requirements, r)
	}
	configs := []pip.Config{p.run.Index.Flags}
	for _, file := range p.in.Files {
		f, err := p.read(file, python.ReadRequirements)
		if err != nil {
			return nil, err
		}
		w.requirements = append(w.requirements, f.Requirements...)
		w.constraints = append(w.constraints, f.Constraints...)
		w.allReleases = append(w.allReleases, f.AllReleases...)
		w.onlyFinal = append(w.onlyFinal, f.OnlyFinal...)
		configs = append(configs, fileConfig(file, f))
	}
	configs = append(configs, p.in.Config)
	for i := range configs[1:] { // what the image's files say lies in the image
		if err := p.exportLinks(&configs[1+i]); err != nil {
			return nil, err
		}
	}
	w.config = pip.Merge(append(configs, p.run.Index.Host)...)
	files := slices.Clone(p.in.Constraints)
	for _, c := range p.in.Config.Constraints { // of PIP_CONSTRAINT in the image
		files = append(files, c.Value)
	}
	for _, file := range files {
		f, err := p.read(file, python.ReadConstraints)
		if err != nil {
			return nil, err
		}
		w.constraints = append(append(w.constraints, f.Requirements...), f.Constraints...)
	}
	for _, c := range p.run.Index.Host.Constraints { // and on this machine
		f, err := python.ReadConstraints(c.Value, os.ReadFile, func(string) (string, bool) { return "", false })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Source, err)
		}
		w.constraints = append(append(w.constraints, f.Requirements...), f.Constraints...)
	}
	return w, p.takeOut(w)
}

// takeOut takes the wheels that are named by path out of the image, and notes
// where what is named by path or URL comes from.
func (p *installation) takeOut(w *wanted) error {
	for i := range w.requirements {
		r := &w.requirements[i]
		switch {
		case r.Path != "":
			at := p.absolute(r.Path)
			out, err := p.export(at)
			if err != nil {
				return err
			}
			r.Path = out
			w.direct[r.Requirement.Key()] = &wheel.DirectURL{URL: "file://" + at}
		case r.Requirement.URL != "":
			w.direct[r.Requirement.Key()] = &wheel.DirectURL{URL: r.Requirement.URL}
		}
	}
	return nil
}

// exportLinks takes the folders of --find-links that lie in the image out of it.
func (p *installation) exportLinks(c *pip.Config) error {
	c.FindLinks = slices.Clone(c.FindLinks)
	for i, l := range c.FindLinks {
		if strings.Contains(l.Value, "://") {
			continue
		}
		out, err := p.export(p.absolute(l.Value))
		if err != nil {
			return err
		}
		c.FindLinks[i].Value = out
	}
	return nil
}

// wheelRequirement is the requirement for a wheel named by URL or path.
func wheelRequirement(name, file string) (python.FileRequirement, error) {
	bare, _, _ := strings.Cut(name, "#")
	parsed, err := python.ParseWheelName(path.Base(bare))
	if err != nil {
		return python.FileRequirement{}, &refusedError{what: err.Error()}
	}
	r := python.FileRequirement{Requirement: python.Requirement{Name: parsed.Name}, Path: file}
	if file == "" {
		r.Requirement.URL = name
	}
	return r, nil
}

// readFunc reads requirements or constraints with all files that they name.
type readFunc func(name string, read python.ReadFunc, env func(string) (string, bool)) (python.RequirementsFile, error)

// read reads a requirements or constraints file of the image.
func (p *installation) read(name string, as readFunc) (python.RequirementsFile, error) {
	read := func(file string) ([]byte, error) { return p.view.ReadFile(p.absolute(file), maxImageFile) }
	f, err := as(name, read, func(v string) (string, bool) { value, ok := p.env[v]; return value, ok })
	var missing *fs.PathError
	if errors.As(err, &missing) && errors.Is(err, fs.ErrNotExist) {
		return f, absent(missing.Path)
	}
	return f, err
}

// absent reports a file that a line names and the image does not have yet.
func absent(name string) error {
	return &refusedError{what: fmt.Sprintf("%s is not in the image at this step", name),
		advice: "COPY it before this RUN; .dockerignore may leave it out"}
}

// fileConfig turns a requirements file's own options into settings.
func fileConfig(name string, f python.RequirementsFile) pip.Config {
	c := pip.Config{NoBinary: f.NoBinary, OnlyBinary: f.OnlyBinary}
	if f.IndexURL != "" {
		c.Default = pip.Index{URL: f.IndexURL, Source: name}
	}
	for _, u := range f.ExtraIndexURLs {
		c.Extra = append(c.Extra, pip.Index{URL: u, Source: name})
	}
	for _, u := range f.FindLinks {
		c.FindLinks = append(c.FindLinks, pip.Setting[string]{Value: u, Source: name})
	}
	on := func(b bool) pip.Setting[bool] {
		if !b {
			return pip.Setting[bool]{}
		}
		return pip.Setting[bool]{Value: true, Source: name}
	}
	c.NoIndex, c.Pre, c.RequireHashes, c.PreferBinary = on(f.NoIndex), on(f.Pre), on(f.RequireHashes), on(f.PreferBinary)
	return c
}

// export takes a wheel, or a folder's wheels, out of the image so that the
// index client can read it from this machine.
func (p *installation) export(name string) (string, error) {
	e, err := p.view.Stat(name)
	if err != nil {
		return "", absent(name)
	}
	out := filepath.Join(p.work, filepath.FromSlash(path.Clean("/"+name)))
	if e.Kind == layers.Dir {
		if err := os.MkdirAll(out, 0o755); err != nil {
			return "", err
		}
		for _, c := range p.view.Children(e.Path) {
			if c.Kind != layers.Dir && strings.HasSuffix(c.Path, ".whl") {
				if err := p.copyOut(c, filepath.Join(out, path.Base(c.Path))); err != nil {
					return "", err
				}
			}
		}
		return out, nil
	}
	return out, p.copyOut(e, out)
}

// lock resolves, or takes what an earlier build of the same inputs resolved.
func (p *installation) lock(ctx context.Context, client *index.Client, w *wanted, there []wheel.Distribution) (python.Lock, error) {
	o := resolve.Options{
		Target:          p.python.target,
		Source:          client,
		Requirements:    w.requirements,
		Constraints:     w.constraints,
		Installed:       map[string]resolve.Installed{},
		UpgradePackages: p.in.UpgradePackages,
		Upgrade:         upgrade(p.in),
		Pre:             resolve.PreIfNamed,
		// pip takes Requires-Python as a whole; uv only its lower bound.
		StrictRequiresPython: p.in.Tool == pip.Pip,
		ExcludeNewer:         p.run.plan.Options.ExcludeNewer,
		RequireHashes:        w.config.RequireHashes.Value,
		NoBinary:             w.config.NoBinary,
		OnlyBinary:           w.config.OnlyBinary,
		AllReleases:          w.allReleases,
		OnlyFinal:            w.onlyFinal,
		NoDependencies:       p.in.NoDeps,
		Log:                  p.run.log(),
	}
	if o.ExcludeNewer.IsZero() {
		o.ExcludeNewer = w.config.ExcludeNewer.Value
	}
	switch {
	case w.config.Pre.Value:
		o.Pre = resolve.PreAllow
	case p.in.Tool == pip.UV:
		o.Pre = resolve.PreIfNecessary
	}
	if !p.in.ForceReinstall && !p.in.IgnoreInstalled && p.in.Target == "" {
		for _, d := range slices.Backward(there) { // the first on sys.path counts
			o.Installed[d.Key()] = resolve.Installed{Version: d.Version, Requires: d.Metadata.RequiresDist}
		}
		for _, name := range p.in.Reinstall {
			delete(o.Installed, python.NormalizeName(name))
		}
	}
	key, err := p.lockKey(o, w)
	if err != nil {
		return python.Lock{}, err
	}
	var lock python.Lock
	if p.reuse() {
		if ok, err := p.run.Store.Record(key, &lock); err != nil || ok {
			p.run.log().Debug("dependencies are on record")
			moveURLs(&lock, imageWheels, p.workURL())
			return lock, err
		}
	}
	r, err := resolve.Resolve(ctx, o)
	if err != nil {
		return python.Lock{}, err
	}
	p.run.log().Info(fmt.Sprintf("resolved %s for %s: %s", packages(len(r.Lock.Packages)), p.python.target, pins(r.Lock)))
	kept := r.Lock
	kept.Packages = slices.Clone(kept.Packages)
	moveURLs(&kept, p.workURL(), imageWheels)
	return r.Lock, p.run.Store.SetRecord(key, kept)
}

// imageWheels stands in records for the folder that wheels of the image are
// taken out to, which is another one in each build.
const imageWheels = "image:"

func (p *installation) workURL() string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(p.work)}).String()
}

// moveURLs replaces the beginning of the wheels' URLs.
func moveURLs(l *python.Lock, from, to string) {
	for i := range l.Packages {
		w := &l.Packages[i].Wheel
		if rest, ok := strings.CutPrefix(w.URL, from); ok {
			w.URL = to + rest
		}
	}
}

// reuse says whether what is on record may be used.
func (p *installation) reuse() bool {
	return !p.run.plan.Options.NoCache && !p.run.plan.Options.Pull
}

// lockKey stands for everything that a resolution depends on but the index's
// content: as with any builder's cache, that is asked again with --no-cache.
func (p *installation) lockKey(o resolve.Options, w *wanted) (string, error) {
	row := func(r python.FileRequirement) string {
		return fmt.Sprintf("%s %s %q", r.Requirement, strings.TrimPrefix(r.Path, p.work), r.Hashes)
	}
	var requirements, constraints, places []string
	for _, r := range o.Requirements {
		requirements = append(requirements, row(r))
	}
	for _, r := range o.Constraints {
		constraints = append(constraints, row(r))
	}
	for _, x := range w.config.Indexes(pip.Index{}) {
		places = append(places, x.URL) // only its digest is kept
	}
	for _, l := range w.config.FindLinks {
		places = append(places, strings.TrimPrefix(l.Value, p.work))
	}
	return keyOf("lock/2", []any{p.python.target.String(), requirements, constraints, places, p.taken, w.config.Pins, w.config.NoIndex.Value, o.Installed,
		o.Upgrade, o.UpgradePackages, o.Pre, o.StrictRequiresPython, o.ExcludeNewer.Unix(), o.RequireHashes, o.NoBinary, o.OnlyBinary, o.AllReleases, o.OnlyFinal, o.NoDependencies})
}

func upgrade(in *pip.Install) resolve.Upgrade {
	switch {
	case in.Upgrade && in.UpgradeStrategy == "eager":
		return resolve.UpgradeAll
	case in.Upgrade:
		return resolve.UpgradeRequested
	}
	return resolve.UpgradeNeeded
}

// pins lists what was resolved, the first few of a long list.
func pins(l python.Lock) string {
	const most = 12
	var names []string
	for i, pkg := range l.Packages {
		if i == most {
			return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), len(l.Packages)-most)
		}
		names = append(names, pkg.Name+" "+pkg.Version.String())
	}
	return strings.Join(names, ", ")
}

func packages(n int) string {
	if n == 1 {
		return "1 package"
	}
	return fmt.Sprintf("%d packages", n)
}

// layOut fetches the wheels and lays them out in one tree.
func (p *installation) layOut(ctx context.Context, client *index.Client, lock python.Lock, w *wanted, scheme wheel.Scheme, there []wheel.Distribution) (layers.Tree, string, error) {
	blobs := make([]index.Blob, len(lock.Packages))
	trees := make([]layers.Tree, len(lock.Packages))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	for i, pkg := range lock.Packages {
		group.Go(func() error {
			var err error
			if blobs[i], err = client.Fetch(gctx, pkg.Wheel); err != nil {
				return err
			}
			trees[i], err = p.wheelTree(pkg, blobs[i], scheme, w.direct[pkg.Name])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return layers.Tree{}, "", err
	}
	whole, err := layers.Merge(trees...)
	if err != nil {
		return layers.Tree{}, "", err
	}
	if whole, err = whole.Settle(p.view); err != nil {
		return layers.Tree{}, "", err
	}
	var old []wheel.Distribution
	var names, made []string
	for i, pkg := range lock.Packages {
		names = append(names, pkg.Name+" "+pkg.Version.String())
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
	p.count = len(names)
	p.run.log().Debug("installed " + strings.Join(names, ", "))
	key, err := keyOf("wheels", []any{made, scheme})
	return whole, key, err
}

func (p *installation) wheelTree(pkg python.Locked, b index.Blob, scheme wheel.Scheme, direct *wheel.DirectURL) (layers.Tree, error) {
	w, err := wheel.Open(b.Path, pkg.Wheel.Filename)
	if err != nil {
		return layers.Tree{}, err
	}
	if direct != nil {
		direct.SHA256 = b.Hash.Hex
	}
	return w.Tree(scheme, wheel.Options{Requested: pkg.Requested, DirectURL: direct, Log: p.run.log()})
}
