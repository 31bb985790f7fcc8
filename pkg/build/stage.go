package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/dockerfile"
	"github.com/boyabuild/boyabuild/pkg/dockerignore"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
)

// platformBuild is the state of building for one platform.
type platformBuild struct {
	*Builder
	shared   *shared
	plan     *Plan
	platform *PlatformPlan
	files    *contextDir
	done     map[int]*stage // by the stages' index in the file
	opened   []*contextDir  // other contexts, to be closed in the end
	scratch  []string       // folders to be removed in the end
	preview  *preview       // what would be done is noted, and not done
	records  *records
	final    map[int]bool // the stages whose layers are the image's: the target, and those that it stands on
	remaking sync.Mutex
	pinned   map[string]stepRecord // steps whose packages are to be the same again
	// What the image tells of its own making.
	steps    map[string]stepRecord
	outlines map[string][]byte
	facts    map[string]base.Facts
	resolved []*base.Base
}

// stage is an image in the making.
type stage struct {
	run   *platformBuild
	scope *dockerfile.Scope
	// base is what the first of the stages below stands on; its name and digest
	// are "" for scratch.
	base    *base.Base
	config  *v1.ConfigFile // of the base; the scope holds the parts that change
	layers  []v1.Layer
	history []v1.History
	view    *view
	facts   map[string]base.Facts // what was found out of the view, by what it depends on
	final   bool                  // its layers are the image's
	bare    bool                  // bytecode is left out, for that is how the layers were that are made again
}

// stage builds one stage.
func (p *platformBuild) stage(ctx context.Context, st dockerfile.ResolvedStage) (*stage, error) {
	s, err := p.begin(ctx, st)
	if err != nil {
		return nil, err
	}
	if v := p.preview; v != nil {
		sp := StagePreview{Name: st.Label(), Base: st.Base.Name, Steps: []StepPreview{}}
		if !st.Base.IsStage {
			sp.Source, sp.Digest = baseSource(p.plan.Options.Bases, st.Base.Name), s.base.Digest.String()
		}
		v.begin(sp)
	}
	if !st.Base.IsStage {
		if err := s.standardLibrary(ctx); err != nil {
			return nil, &StepError{Origin: st.Origin, Err: err}
		}
	}
	total := len(s.scope.Steps)
	for i, step := range s.scope.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		applied, err := s.scope.Apply(step)
		if err != nil {
			return nil, err
		}
		p.log().Debug(fmt.Sprintf("step %d/%d: %s", i+1, total, clip(applied.Step.At().Text, 100)))
		if err := s.apply(ctx, applied); err != nil {
			return nil, err
		}
	}
	for _, w := range s.scope.Warnings {
		p.log().Warn(w.String())
	}
	return s, nil
}

// now is the stage as it is now, for what is done later: the steps that follow
// change nothing of it.
func (s *stage) now() *stage {
	then, scope := *s, *s.scope
	scope.Config = *s.scope.Config.DeepCopy()
	then.scope = &scope
	then.facts = maps.Clone(s.facts)
	return &then
}

// begin starts a stage on an earlier one or on a base.
func (p *platformBuild) begin(ctx context.Context, st dockerfile.ResolvedStage) (*stage, error) {
	if st.Base.IsStage {
		below := p.done[st.Base.Stage]
		if below == nil {
			return nil, fmt.Errorf("%s:%d: stage %s is not built", st.File, st.Line, st.Base.Name)
		}
		scope, err := p.platform.resolved.BeginOn(st, below.scope)
		if err != nil {
			return nil, err
		}
		s := *below
		s.scope, s.final = scope, p.final[st.Index]
		s.facts = maps.Clone(below.facts)
		s.layers = append([]v1.Layer(nil), below.layers...)
		s.history = append([]v1.History(nil), below.history...)
		return &s, nil
	}
	s := &stage{run: p, base: &base.Base{}, view: &view{}, facts: map[string]base.Facts{}, final: p.final[st.Index], config: &v1.ConfigFile{OS: st.Platform.OS, Architecture: st.Platform.Architecture, Variant: st.Platform.Variant}}
	if !st.Base.Scratch() {
		if err := s.on(ctx, st); err != nil {
			return nil, err
		}
	}
	scope, err := p.platform.resolved.Begin(st, s.config.Config, s.config.Author)
	if err != nil {
		return nil, err
	}
	s.scope = scope
	return s, nil
}

// on puts a stage on its base image.
func (s *stage) on(ctx context.Context, st dockerfile.ResolvedStage) error {
	b, err := s.run.resolve(ctx, st.Base.Name, st.Platform)
	if err != nil {
		return baseFault(st.Origin, err)
	}
	s.base = b
	if s.config, err = b.Image.ConfigFile(); err != nil {
		return &StepError{Origin: st.Origin, Err: err}
	}
	if err := s.layBase(ctx, b); err != nil {
		return &StepError{Origin: st.Origin, Err: err}
	}
	s.history = append(s.history, s.config.History...)
	return nil
}

// baseFault places an error of a base: a name that means nothing, or that names
// what is not on this machine or not for the platform, is the Dockerfile's fault;
// the rest is not.
func baseFault(origin dockerfile.Origin, err error) error {
	var spec *debian.SpecError
	var layout *base.LayoutError
	var platform *base.PlatformError
	if errors.As(err, &spec) || errors.As(err, &layout) || errors.As(err, &platform) {
		return &InputError{Origin: origin, Err: err}
	}
	return &StepError{Origin: origin, Err: err}
}

// resolve finds a base by the name that a Dockerfile gives it.
func (p *platformBuild) resolve(ctx context.Context, name string, platform v1.Platform) (*base.Base, error) {
	o := p.Base
	o.Store, o.Log, o.Progress = p.records.base(ctx), p.log(), p.Progress
	o.Pull = p.plan.Options.Pull
	o.Source = func(digest v1.Hash) (v1.Layer, bool) { return p.records.source(ctx, digest) }
	o.Layer = layers.Options{Time: p.plan.Options.Time, Compression: p.plan.Options.Compression}
	return base.Resolve(ctx, baseSource(p.plan.Options.Bases, name), platform, o)
}

// apply does what a step does beside changing the configuration.
func (s *stage) apply(ctx context.Context, a dockerfile.Applied) error {
	origin := a.Step.At()
	if s.run.preview != nil {
		s.run.preview.step(a.Step)
	}
	var upper layers.Tree
	var err error
	switch step := a.Step.(type) {
	case dockerfile.Copy:
		if done, err := s.copyImage(ctx, step, a); done || err != nil {
			return err
		}
		upper, err = s.copy(ctx, step)
	case dockerfile.Add:
		if err := checkAdd(step); err != nil {
			return err
		}
		upper, err = s.copy(ctx, dockerfile.Copy{Origin: step.Origin, Sources: step.Sources, Inline: step.Inline, Dest: step.Dest,
			Chown: step.Chown, Chmod: step.Chmod, Link: step.Link, Exclude: step.Exclude})
	case dockerfile.Workdir:
		upper, err = s.view.on(ctx, func(lower layers.Tree) (layers.Tree, error) { return s.makeWorkdir(lower, step.Path) })
	case dockerfile.Run:
		return s.install(ctx, step, a.CreatedBy)
	default:
		s.note(a, true)
		return nil
	}
	if err != nil {
		return copyFault(origin, err)
	}
	if upper.Len() == 0 {
		s.note(a, true)
		return nil
	}
	sum, err := sumOf(ctx, upper)
	if err != nil {
		return &StepError{Origin: origin, Err: err}
	}
	p, rec, made, err := s.content(ctx, "tree "+sum.String(), upper, origin.Text)
	if err != nil {
		return &StepError{Origin: origin, Err: err}
	}
	s.lay(p)
	if s.run.preview == nil {
		s.tell(origin, told(0, 1, made, rec.Size))
	}
	s.note(a, false)
	return nil
}

// copyFault places an error of a COPY.
func copyFault(origin dockerfile.Origin, err error) error {
	var conflict *layers.ConflictError
	var missing *missingError
	var broken *StepError
	var wrongBase *InputError
	switch {
	case errors.As(err, &broken), errors.As(err, &wrongBase): // placed already
		return err
	case errors.As(err, &conflict), errors.As(err, &missing):
		return &InputError{Origin: origin, Err: err}
	}
	return asInput(origin, err)
}

// tell says on one line what a step has come to.
func (s *stage) tell(origin dockerfile.Origin, what string) {
	s.run.log().Info(fmt.Sprintf("%s: %s", clip(origin.Text, 70), what))
}

// asInput makes an error about a step the Dockerfile's own fault, unless it is
// about something that broke.
func asInput(origin dockerfile.Origin, err error) error {
	var pathErr *fs.PathError
	if errors.Is(err, context.Canceled) || errors.As(err, &pathErr) {
		return &StepError{Origin: origin, Err: err}
	}
	return &InputError{Origin: origin, Err: err}
}

// note adds a step's line to the image's history.
func (s *stage) note(a dockerfile.Applied, empty bool) {
	if a.CreatedBy == "" {
		return
	}
	s.history = append(s.history, v1.History{Created: epoch(s.run.plan.Options.Time), CreatedBy: a.CreatedBy, EmptyLayer: empty})
}

// content is the layer of files that are at hand, under a key that stands for
// all that shapes them. With the layer on record its bytes are not made again.
// step is set for the build's own files, which are always at hand, and names what
// gathers them; of others an outline is kept.
func (s *stage) content(ctx context.Context, key string, upper layers.Tree, step string) (*part, layerRecord, bool, error) {
	o := s.layerOptions()
	own := step != ""
	if !own { // what is kept of it must not tell more than its bytes, which others may have in common with it
		upper = upper.Written()
	}
	key = o.Key() + " " + key
	rec, known, err := s.run.records.layer(ctx, key, own)
	if err != nil {
		return nil, rec, false, err
	}
	if known && !own && len(rec.Outline) == 0 {
		known = false
	}
	made := func(ctx context.Context) (layers.Descriptor, error) {
		if own {
			return s.run.addOwn(ctx, step, upper, o)
		}
		return s.run.Store.AddLayer(ctx, upper, o)
	}
	fresh := false
	if v := s.run.preview; v != nil {
		v.layer(rec.Descriptor, known, upper.Len())
	} else if !known {
		rec = layerRecord{Key: key}
		if rec.Descriptor, err = made(ctx); err != nil {
			return nil, rec, false, err
		}
		if !own {
			if rec.Outline, err = layers.MarshalOutline(layers.Outline(upper)); err != nil {
				return nil, rec, false, err
			}
		}
		if err := s.run.Store.SetRecord(key, rec); err != nil {
			return nil, rec, false, err
		}
		fresh = true
	}
	seen := upper
	if !own {
		seen = layers.Outline(upper)
	}
	p, err := s.part(ctx, rec, &seen, made)
	if err != nil {
		return nil, rec, false, err
	}
	if !own {
		p.whole = func(context.Context) (layers.Tree, error) { return upper, nil }
	}
	if fresh {
		s.written(p.layer)
	}
	return p, rec, fresh, nil
}

// bytesText shows a number of bytes to a person, in SI units.
func bytesText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// copy gathers what a COPY from the build context lays over the image.
func (s *stage) copy(ctx context.Context, step dockerfile.Copy) (layers.Tree, error) {
	from, _, err := s.run.from(ctx, step)
	if err != nil {
		return layers.Tree{}, err
	}
	return s.view.on(ctx, func(lower layers.Tree) (layers.Tree, error) {
		c, err := s.copyStep(step, lower)
		if err != nil {
			return layers.Tree{}, err
		}
		c.from, c.context = from.known, step.From.Name == ""
		return c.tree(lower)
	})
}

// copyImage does a COPY from another stage or image; false for one that is none.
// If it is on record, the files are not looked at.
func (s *stage) copyImage(ctx context.Context, step dockerfile.Copy, a dockerfile.Applied) (bool, error) {
	from, own, err := s.run.from(ctx, step)
	if err != nil || own {
		return false, err
	}
	key := ""
	if c, err := s.copyStep(step, s.view.known); err == nil {
		if key, err = s.copyKey(from, c); err != nil {
			return true, err
		}
	}
	then := s.now() // for the layer's bytes may be made when more lies on it
	work := func(ctx context.Context) (layers.Tree, error) {
		files, err := from.whole(ctx)
		if err != nil {
			return layers.Tree{}, err
		}
		return then.view.on(ctx, func(lower layers.Tree) (layers.Tree, error) {
			c, err := then.copyStep(step, lower)
			if err != nil {
				return layers.Tree{}, err
			}
			c.from = files
			return c.tree(lower)
		})
	}
	return true, s.copied(ctx, a, key, work)
}

// copied lays what a COPY from another stage or image gathers on the image.
func (s *stage) copied(ctx context.Context, a dockerfile.Applied, key string, work func(context.Context) (layers.Tree, error)) error {
	then := s.now()
	origin := a.Step.At()
	make := func(ctx context.Context) (*part, layerRecord, bool, error) {
		upper, err := work(ctx)
		if err != nil || upper.Len() == 0 {
			return nil, layerRecord{}, false, err
		}
		sum, err := sumOf(ctx, upper)
		if err != nil {
			return nil, layerRecord{}, false, err
		}
		return then.content(ctx, "files/2 "+sum.String(), upper, "")
	}
	if key != "" {
		rec, ok, err := s.run.records.step(ctx, key)
		if err != nil {
			return &StepError{Origin: origin, Err: err}
		}
		if ok {
			return s.recorded(ctx, a, key, rec, func(ctx context.Context) ([]*part, error) {
				p, _, _, err := make(ctx)
				return []*part{p}, err
			})
		}
	}
	p, rec, made, err := make(ctx)
	if err != nil {
		return copyFault(origin, err)
	}
	done := stepRecord{}
	if p != nil {
		done.Layers = []layerRecord{rec}
		s.lay(p)
	}
	if s.run.preview == nil {
		if key != "" {
			s.run.noteStep(key, done)
			if err := s.run.records.keep(key, done); err != nil {
				return &StepError{Origin: origin, Err: err}
			}
		}
		if p != nil {
			s.tell(origin, told(0, 1, made, rec.Size))
		}
	}
	s.noteLayers(a, len(done.Layers))
	return nil
}

// copyStep is a COPY with the names of owners looked up in the image.
func (s *stage) copyStep(step dockerfile.Copy, lower layers.Tree) (*copyStep, error) {
	c := &copyStep{
		sources: step.Sources,
		dest:    step.Dest,
		workdir: s.scope.Config.WorkingDir,
		parents: step.Parents,
		origin:  fmt.Sprintf("%s:%d", step.File, step.Line),
		chmod:   step.Chmod, excludes: step.Exclude,
	}
	for _, f := range step.Inline {
		c.inline = append(c.inline, inlineFile{name: f.Name, content: []byte(f.Data)})
	}
	if step.Chown != "" {
		o, err := parseOwner(lower, step.Chown)
		if err != nil {
			return nil, fmt.Errorf("--chown: %w", err)
		}
		c.owner = &o
	}
	var err error
	if step.Chmod != "" {
		if c.mode, err = dockerfile.ParseChmod(step.Chmod); err != nil {
			return nil, fmt.Errorf("--chmod: %w", err)
		}
	}
	if len(step.Exclude) > 0 {
		if c.exclude, err = dockerignore.New(step.Exclude...); err != nil {
			return nil, fmt.Errorf("--exclude: %w", err)
		}
	}
	return c, nil
}

// from returns the files that a COPY copies from, and whether they are the
// build's own: of a folder, or none.
func (p *platformBuild) from(ctx context.Context, step dockerfile.Copy) (*view, bool, error) {
	switch ref := step.From; {
	case ref.IsStage:
		st := p.done[ref.Stage]
		if st == nil {
			return nil, false, fmt.Errorf("stage %s is not built", ref.Name)
		}
		return st.view, false, nil
	case ref.Name == "":
		return &view{known: p.files.tree}, true, nil
	case ref.Scratch():
		return &view{}, true, nil
	default:
		v, own, err := p.other(ctx, ref.Name)
		if err != nil {
			return nil, false, baseFault(step.Origin, err)
		}
		return v, own, nil
	}
}

// other returns the files of an image, or of a folder given as a build context.
func (p *platformBuild) other(ctx context.Context, name string) (*view, bool, error) {
	if dir := baseSource(p.plan.Options.Bases, name); isFolder(dir) {
		files, err := openContext(ctx, dir, "", p.sumCache(dir, p.plan.Options))
		if err != nil {
			return nil, false, err
		}
		p.opened = append(p.opened, files)
		return &view{known: files.tree}, true, nil
	}
	b, err := p.resolve(ctx, name, p.platform.Platform)
	if err != nil {
		return nil, false, err
	}
	v, err := p.baseView(ctx, b)
	return v, false, err
}

// isFolder says whether the source of a build context is a folder of files, and
// not one with an OCI layout.
func isFolder(source string) bool {
	if !strings.HasPrefix(source, ".") && !filepath.IsAbs(source) {
		return false
	}
	info, err := os.Stat(source)
	if err != nil || !info.IsDir() {
		return false
	}
	_, err = os.Stat(filepath.Join(source, "oci-layout")) // OCI image specification, "oci-layout file"
	return errors.Is(err, fs.ErrNotExist)
}

// makeWorkdir makes the working directory where it is missing; it belongs to
// the user that the steps so far have set, as with BuildKit.
func (s *stage) makeWorkdir(lower layers.Tree, dir string) (layers.Tree, error) {
	at, err := lower.Resolve(dir)
	if err != nil || at == "" {
		return layers.Tree{}, err
	}
	if e, ok := lower.Lookup(at); ok {
		if e.Kind != layers.Dir {
			return layers.Tree{}, fmt.Errorf("%s is a %s in the image", dir, e.Kind)
		}
		return layers.Tree{}, nil
	}
	var o owner
	if user := s.scope.Config.User; user != "" {
		if o, err = parseOwner(lower, user); err != nil {
			return layers.Tree{}, err
		}
	}
	t, err := layers.NewTree([]layers.Entry{{Path: at, Kind: layers.Dir, Mode: 0o755, UID: o.uid, GID: o.gid, Origin: "WORKDIR"}})
	if err != nil {
		return layers.Tree{}, err
	}
	return t.Settle(lower)
}

// image makes the stage's image.
func (s *stage) image(o Options) (v1.Image, error) {
	config := s.config.DeepCopy()
	config.Config = *s.scope.Config.DeepCopy()
	config.Author = s.scope.Author
	config.Created = epoch(o.Time)
	config.History = s.history
	config.Container = ""
	config.DockerVersion = "" //lint:ignore SA1019 a base may still have one, which would be untrue here
	if len(o.Labels) > 0 {
		if config.Config.Labels == nil {
			config.Config.Labels = map[string]string{}
		}
		maps.Copy(config.Config.Labels, o.Labels)
	}
	annotations := map[string]string{}
	if s.base.Digest != (v1.Hash{}) {
		if !isLocal(s.base.Name) { // a path of this machine means nothing elsewhere
			annotations[annotationBaseName] = s.base.Name
		}
		annotations[annotationBaseDigest] = s.base.Digest.String()
	}
	maps.Copy(annotations, o.Annotations)
	told, err := s.run.carry()
	if err != nil {
		return nil, err
	}
	img := &image{config: config, layers: s.layers, annotations: annotations, carried: told}
	return img.assemble()
}

// isLocal says whether a base's name is that of a file or folder.
func isLocal(name string) bool {
	return strings.HasPrefix(name, "oci-layout:") || strings.HasPrefix(name, "docker-archive:") || strings.HasPrefix(name, ".") || filepath.IsAbs(name)
}

// imageView shows the image as built so far to what reads files in it by their
// absolute paths.
type imageView struct {
	tree    layers.Tree
	prefix  string // of the Python in it
	version string // of its Python, "3.13"
	home    string // of the step's user; "" is root's
}

// maxImageFile bounds the files read from an image for their settings and
// requirements.
const maxImageFile = 16 << 20

func (v *imageView) readFile(name string) ([]byte, error) { return v.tree.ReadFile(name, maxImageFile) }

func (v *imageView) readDir(name string) ([]fs.DirEntry, error) {
	e, err := v.tree.Stat(name)
	if err != nil {
		return nil, err
	}
	if e.Kind != layers.Dir {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is not a directory")}
	}
	var out []fs.DirEntry
	for _, c := range v.tree.Children(e.Path) {
		out = append(out, dirEntry{c})
	}
	return out, nil
}

// dirEntry is an entry of an image's directory as io/fs has them.
type dirEntry struct{ e layers.Entry }

func (d dirEntry) Name() string               { return path.Base(d.e.Path) }
func (d dirEntry) IsDir() bool                { return d.e.Kind == layers.Dir }
func (d dirEntry) Info() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
func (d dirEntry) Type() fs.FileMode {
	switch d.e.Kind {
	case layers.Dir:
		return fs.ModeDir
	case layers.Symlink:
		return fs.ModeSymlink
	}
	return 0
}

// parseOptions are what a RUN's line means in the image as built so far; a nil
// view knows no files.
func (v *imageView) parseOptions(scope *dockerfile.Scope) pip.ParseOptions {
	o := pip.ParseOptions{Env: environ(scope.Env()), Dir: scope.Config.WorkingDir}
	if v != nil {
		o.ReadFile, o.ReadDir, o.PythonPrefix, o.PythonVersion = v.readFile, v.readDir, v.prefix, v.version
		if o.Env["HOME"] == "" && v.home != "" {
			o.Env["HOME"] = v.home
		}
	}
	return o
}

func environ(vars []string) map[string]string {
	m := make(map[string]string, len(vars))
	for _, kv := range vars {
		name, value, _ := strings.Cut(kv, "=")
		m[name] = value
	}
	return m
}

// keyOf makes a record's key of anything that JSON can write.
func keyOf(kind string, v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	h, _, err := v1.SHA256(io.NopCloser(strings.NewReader(string(b))))
	if err != nil {
		return "", err
	}
	return kind + " " + h.String(), nil
}
