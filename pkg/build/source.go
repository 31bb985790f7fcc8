package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
	"github.com/boyabuild/boyabuild/pkg/python/pep517"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
	"github.com/boyabuild/boyabuild/pkg/python/resolve"
	"github.com/boyabuild/boyabuild/pkg/python/source"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// maxBuildDepth bounds how deep building one package may need building another:
// real chains (a back-end that is built by a back-end) have two or three links.
const maxBuildDepth = 8

// sourceBuilder makes wheels of sdists and of projects: without running their
// code where their configuration says all, else by their own back-end in a
// sandbox on the base. A wheel is kept by what it was made from and for which
// Python.
type sourceBuilder struct {
	config pip.Config
	// fallback is the default index where config has none; it is asked for only
	// when something must be built.
	fallback     func(context.Context) (pip.Index, error)
	excludeNewer time.Time
	// settings are --config-settings ("KEY=VALUE") by the normalised name of the
	// project that they are for; those of "" are for every project.
	settings map[string][]string
	// constraints limit what builds need (--build-constraint).
	constraints []python.FileRequirement
	// stage gives the image whose Python builds, py that Python where it is
	// known already.
	stage func(context.Context) (*stage, error)
	py    *pythonInImage
	depth int
}

// SourceError says why a package could not be made from its source.
type SourceError struct {
	Source string // "markupsafe-2.0.1.tar.gz", "/app"
	err    error
}

func (e *SourceError) Error() string { return "build a wheel of " + e.Source + ": " + e.err.Error() }

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.err }

// Hint passes on what would help.
func (e *SourceError) Hint() string {
	var h interface{ Hint() string }
	if errors.As(e.err, &h) && h.Hint() != "" {
		return h.Hint()
	}
	if !strings.HasSuffix(e.Source, ".gz") && !strings.HasSuffix(e.Source, ".zip") {
		return ""
	}
	return "take a version that has a wheel, or make a wheel once (pip wheel) and give its folder by --find-links"
}

// Key stands for the Python that wheels are built for, and for what decides how.
func (b *sourceBuilder) Key() string {
	key := b.with()
	if len(b.settings) > 0 {
		key += fmt.Sprintf(" %q", b.settings)
	}
	return key
}

// with stands for the Python that wheels are built for, and for what limits the
// tools that they are built with.
func (b *sourceBuilder) with() string {
	key := "base"
	if b.py != nil {
		key = b.py.target.String()
	}
	for _, c := range b.constraints {
		key += fmt.Sprintf(" %q %s", c.Requirement, c.Hashes)
	}
	return key
}

// sourceJob is a wheel to be made.
type sourceJob struct {
	key  string // of the source
	name string // for messages
	open func() (layers.Tree, error)
	// settings are pip's --config-settings.
	settings []string
	// editable is where the project lies in the image, absolute, if the wheel is to
	// lead there (PEP 660).
	editable string
}

// builtWheel is on record for what it was built from.
type builtWheel struct {
	Filename string  `json:"filename"`
	Hash     v1.Hash `json:"hash"`
	Size     int64   `json:"size"`
}

// Build makes a wheel of an sdist that lies at path.
func (b *sourceBuilder) Build(ctx context.Context, f python.File, path string) (index.Blob, string, error) {
	s, err := b.stage(ctx)
	if err != nil {
		return index.Blob{}, "", err
	}
	sum := f.Hashes["sha256"]
	if sum == "" {
		return index.Blob{}, "", fmt.Errorf("%s: its sha256 is not known", f.Filename)
	}
	dir, err := s.run.Store.TempDir("sdist-*")
	if err != nil {
		return index.Blob{}, "", err
	}
	defer os.RemoveAll(dir)
	settings := b.settings[""]
	if project, _, err := python.ParseSdistName(f.Filename); err == nil {
		settings = append(slices.Clone(settings), b.settings[project]...)
	}
	return b.make(ctx, s, sourceJob{key: "sdist " + sum, name: f.Filename, settings: settings, open: func() (layers.Tree, error) {
		sdist, err := source.OpenSdist(path, f.Filename, dir)
		if err != nil {
			return layers.Tree{}, err
		}
		return sdist.Tree(), nil
	}})
}

// make makes a wheel, or finds it on record.
func (b *sourceBuilder) make(ctx context.Context, s *stage, job sourceJob) (index.Blob, string, error) {
	if b.py == nil {
		var err error
		if b.py, err = s.python(ctx); err != nil {
			return index.Blob{}, "", err
		}
	}
	st := s.run.Store
	// A wheel of pure Python serves every Python; so it is on record by the source alone, too.
	key := fmt.Sprintf("built-wheel/3 %d %q %s", epoch(s.run.plan.Options.Time).Unix(), job.editable, job.key)
	keys := []string{key, fmt.Sprintf("%s %s %q", key, b.with(), job.settings)}
	if len(job.settings) > 0 {
		keys = keys[1:]
	}
	for _, k := range keys {
		var w builtWheel
		ok, err := s.run.built(k, &w)
		if err != nil {
			return index.Blob{}, "", err
		}
		if ok && st.Has(w.Hash) {
			return index.Blob{Hash: w.Hash, Path: st.File(w.Hash), Size: w.Size}, w.Filename, nil
		}
	}
	tree, err := job.open()
	if err != nil {
		return index.Blob{}, "", &SourceError{job.name, err}
	}
	w, static, err := b.wheel(ctx, s, tree, job)
	if err != nil {
		return index.Blob{}, "", &SourceError{job.name, err}
	}
	as := keys[len(keys)-1]
	if static {
		as = keys[0]
	}
	return index.Blob{Hash: w.Hash, Path: st.File(w.Hash), Size: w.Size}, w.Filename, s.run.setBuilt(as, w)
}

// wheel makes the wheel; static says that no code was run for it.
func (b *sourceBuilder) wheel(ctx context.Context, s *stage, tree layers.Tree, job sourceJob) (w builtWheel, static bool, err error) {
	if len(job.settings) == 0 {
		var needs *source.NeedsBuildError
		o := source.Options{Time: s.run.plan.Options.Time}
		w.Hash, w.Size, err = s.run.Store.Create(func(out io.Writer) (err error) {
			if job.editable != "" {
				w.Filename, err = source.Editable(ctx, tree, job.editable, out, o)
				return err
			}
			w.Filename, err = source.Wheel(ctx, tree, out, o)
			return err
		})
		if err == nil {
			s.run.log().Debug(fmt.Sprintf("made %s of %s without running its code", w.Filename, job.name))
			return w, true, nil
		}
		if !errors.As(err, &needs) {
			return w, false, err
		}
		s.run.log().Debug(fmt.Sprintf("%s is built by its own back-end: %s", job.name, needs.Reason))
	}
	if w, err = b.run(ctx, s, tree, job); err != nil {
		return w, false, err
	}
	parsed, err := python.ParseWheelName(w.Filename)
	if err != nil {
		return w, false, err
	}
	if _, ok := parsed.Rank(python.NewTagSet(b.py.target.Tags())); !ok {
		return w, false, fmt.Errorf("its back-end made %s, which does not run on %s", w.Filename, b.py.target)
	}
	return w, false, nil
}

// run lets the back-end build, in a sandbox without a network.
func (b *sourceBuilder) run(ctx context.Context, s *stage, tree layers.Tree, job sourceJob) (w builtWheel, err error) {
	if b.depth >= maxBuildDepth {
		return w, fmt.Errorf("building it needs building others, more than %d deep", maxBuildDepth)
	}
	if job.editable != "" {
		if err := mayLieApart(job.editable, b.py.installation); err != nil {
			return w, err
		}
	}
	g, err := s.guest(ctx, b.py)
	if err != nil {
		return w, err
	}
	system, err := source.BuildRequires(tree)
	if err != nil {
		return w, err
	}
	s.run.log().Info(fmt.Sprintf("building %s by its own back-end (%s)", job.name, system.Backend))
	env, err := b.environment(ctx, s, g, system.Requires)
	if err != nil {
		return w, err
	}
	in := pep517.Input{
		Interpreter: g.interpreter, Source: tree, At: job.editable, Environment: env, Backend: system.Backend, BackendPath: system.BackendPath,
		ConfigSettings: configSettings(job.settings), Time: s.run.plan.Options.Time, Log: s.run.log(),
	}
	requires, build := pep517.Requires, pep517.BuildWheel
	if job.editable != "" {
		requires, build = pep517.RequiresEditable, pep517.BuildEditable
	}
	more, err := requires(ctx, g, in)
	if err != nil {
		return w, err
	}
	if len(more) > 0 {
		if in.Environment, err = b.environment(ctx, s, g, append(more, system.Requires...)); err != nil {
			return w, err
		}
	}
	w.Hash, w.Size, err = s.run.Store.Create(func(out io.Writer) (err error) {
		w.Filename, err = build(ctx, g, in, out)
		return err
	})
	if err == nil && g.target.Arch != b.py.target.Arch && !strings.HasSuffix(w.Filename, "-any.whl") {
		err = fmt.Errorf("it has code for the processor (%s), and this machine (%s) cannot compile for %s", w.Filename, runtime.GOARCH, b.py.target.Arch)
	}
	return w, err
}

// mayLieApart says whether a project can lie at dir, its place in the image, while
// it is built, with nothing else there: not if the build needs what is.
func mayLieApart(dir string, py wheel.Installation) error {
	for _, needed := range []string{py.Interpreter, py.Prefix, pep517.Dir, "/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/dev", "/sys"} {
		if dir == "/" || needed == dir || strings.HasPrefix(needed, dir+"/") {
			return &refusedError{what: "an editable install of it runs its build where it lies, and " + dir + " is not its own", advice: "install it without -e, or COPY it to a folder of its own"}
		}
	}
	return nil
}

// environment resolves, fetches and lays out what a build needs.
func (b *sourceBuilder) environment(ctx context.Context, s *stage, g *guest, requires []python.Requirement) (layers.Tree, error) {
	if len(requires) == 0 {
		return layers.Tree{}, nil
	}
	own := *b
	own.depth++
	own.py = nil
	own.settings = nil
	if general := b.settings[""]; len(general) > 0 {
		own.settings = map[string][]string{"": general}
	}
	if g.target.Arch == b.py.target.Arch {
		own.py = b.py
	}
	index, err := b.fallback(ctx)
	if err != nil {
		return layers.Tree{}, err
	}
	c, err := b.config.For(g.target.Environment())
	if err != nil {
		return layers.Tree{}, err
	}
	client, err := s.run.shared.client(c, index, &own)
	if err != nil {
		return layers.Tree{}, err
	}
	o := resolve.Options{Target: g.target, Source: client, Constraints: b.constraints, Build: true, ExcludeNewer: b.excludeNewer, Log: s.run.log(), Pre: resolve.PreIfNamed, StrictRequiresPython: true, YankedIfPinned: true}
	for _, r := range requires {
		o.Requirements = append(o.Requirements, python.FileRequirement{Requirement: r})
	}
	r, err := resolve.Resolve(ctx, o)
	if err != nil {
		return layers.Tree{}, fmt.Errorf("what its build needs: %w", err)
	}
	scheme, err := wheel.SchemeFor(wheel.Installation{
		Python: fmt.Sprintf("%d.%d", g.target.Python.Number(0), g.target.Python.Number(1)), FreeThreaded: g.target.FreeThreaded,
		Prefix: pep517.EnvironmentDir, Interpreter: pep517.EnvironmentDir + "/bin/python", Venv: true,
	}, wheel.Place{})
	if err != nil {
		return layers.Tree{}, err
	}
	trees := make([]layers.Tree, len(r.Lock.Packages))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	for i, pkg := range r.Lock.Packages {
		group.Go(func() error {
			blob, filename, err := client.Wheel(gctx, pkg)
			if err != nil {
				return err
			}
			w, err := wheel.Open(blob.Path, filename)
			if err != nil {
				return err
			}
			trees[i], err = w.Tree(scheme, wheel.Options{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return layers.Tree{}, err
	}
	return layers.Merge(trees...)
}

// local makes a wheel of a project in the image, and writes it beside the other
// files taken out. An editable one leads to the project where it lies.
func (p *installation) local(ctx context.Context, b *sourceBuilder, dir string, editable bool, settings []string) (file, name string, err error) {
	tree, err := p.subtree(dir)
	if err != nil {
		return "", "", err
	}
	at := ""
	if editable {
		if e, err := p.view.Stat(dir); err == nil {
			at = "/" + e.Path // as the back-end finds it
		}
	}
	return p.project(ctx, b, tree, dir, at, settings)
}

// project makes a wheel of a project's files, and writes it beside the other
// files taken out. from names them in messages; editable is where they lie, for a
// wheel that leads there.
func (p *installation) project(ctx context.Context, b *sourceBuilder, tree layers.Tree, from, editable string, settings []string) (file, name string, err error) {
	sum, err := sumOf(ctx, tree)
	if err != nil {
		return "", "", err
	}
	blob, name, err := b.make(ctx, p.stage, sourceJob{key: "tree " + sum.String(), name: from, editable: editable,
		settings: append(slices.Clone(b.settings[""]), settings...), open: func() (layers.Tree, error) { return tree, nil }})
	if err != nil {
		return "", "", err
	}
	return p.built(sum, blob, name)
}

// built gives a wheel that was made of a tree its name.
func (p *installation) built(sum v1.Hash, blob index.Blob, name string) (file, _ string, err error) {
	at := filepath.Join(p.work, "built", sum.Hex[:16])
	if err := os.MkdirAll(at, 0o755); err != nil {
		return "", "", err
	}
	file = filepath.Join(at, name)
	p.taken = append(p.taken, fmt.Sprintf("%s %s", name, blob.Hash))
	if err := os.Symlink(blob.Path, file); err != nil && !errors.Is(err, os.ErrExist) {
		return "", "", err
	}
	return file, name, nil
}

// subtree is a folder of the image as a tree of its own.
func (p *installation) subtree(dir string) (layers.Tree, error) {
	e, err := p.view.Stat(p.absolute(dir))
	if err == nil {
		err = allListed(p.view, e)
	}
	if err != nil || e.Kind != layers.Dir {
		return layers.Tree{}, absentOr(dir, err)
	}
	under := p.view.Under(e.Path)
	entries := make([]layers.Entry, 0, len(under))
	for _, c := range under {
		c.Path = strings.TrimPrefix(c.Path, e.Path+"/")
		entries = append(entries, c)
	}
	return layers.NewTree(entries)
}

// configSettings reads KEY=VALUE; a key may come more than once.
func configSettings(list []string) map[string][]string {
	if len(list) == 0 {
		return nil
	}
	m := map[string][]string{}
	for _, kv := range list {
		k, v, _ := strings.Cut(kv, "=")
		m[k] = append(m[k], v)
	}
	return m
}
