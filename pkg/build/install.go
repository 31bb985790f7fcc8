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
	"github.com/boyabuild/boyabuild/pkg/python/pip"
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
