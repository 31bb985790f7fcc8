package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/dockerfile"
	"github.com/boyabuild/boyabuild/pkg/python/pip"
)

// maxDockerfile bounds a Dockerfile's size in bytes.
const maxDockerfile = 4 << 20

// Plan says what a build would do. Making it fetches nothing.
type Plan struct {
	Options Options
	// Project is what was decided where there is no Dockerfile; else nil.
	Project   *Project
	Platforms []PlatformPlan
	Warnings  []dockerfile.Warning
}

// PlatformPlan is the part of a Plan for one platform.
type PlatformPlan struct {
	Platform v1.Platform
	Stages   []StagePlan

	resolved *dockerfile.Resolved
}

// StagePlan is one stage that the target needs.
type StagePlan struct {
	Name string
	// Base is the name in the FROM, Source where it is taken from.
	Base, Source string
	Steps        []StepPlan
}

// StepPlan is one step that makes a layer.
type StepPlan struct {
	Line int
	Kind StepKind
	Text string
}

// StepKind says how a step is done.
type StepKind string

// The kinds of steps that make layers.
const (
	CopyFiles       StepKind = "copy"
	InstallPackages StepKind = "install"
	MakeDirectory   StepKind = "directory"
	// StandardLibrary is no step of the Dockerfile: what a Debian base leaves to
	// be compiled.
	StandardLibrary StepKind = "standard library"
)

// Plan reads the Dockerfile, or looks at the Python project, and checks that
// each step can be done.
func (b *Builder) Plan(_ context.Context, o Options) (*Plan, error) {
	p := &Plan{Options: o}
	if info, err := os.Stat(o.Context); err != nil || !info.IsDir() {
		return nil, &ProjectError{Dir: o.Context, Reason: "is not a folder to build from"}
	}
	file, err := p.dockerfile()
	if err != nil {
		return nil, err
	}
	p.Warnings = file.Warnings
	platforms := o.Platforms
	if len(platforms) == 0 {
		platforms = []v1.Platform{hostPlatform()}
	}
	for _, platform := range platforms {
		pp, warnings, err := p.platform(file, platform)
		if err != nil {
			return nil, err
		}
		p.Platforms = append(p.Platforms, *pp)
		if len(p.Platforms) == 1 {
			p.Warnings = append(p.Warnings, warnings...)
		}
	}
	return p, nil
}

// dockerfile reads the Dockerfile, or writes the one that stands for the
// project.
func (p *Plan) dockerfile() (*dockerfile.File, error) {
	path, err := findDockerfile(p.Options.Context, p.Options.Dockerfile)
	if err != nil {
		return nil, err
	}
	p.Options.Dockerfile = path
	if path == "" {
		if p.Project, err = Detect(p.Options.Context, p.Options.Base); err != nil {
			return nil, err
		}
		return dockerfile.Parse(filepath.Join(p.Options.Context, "(project)"), strings.NewReader(p.Project.Dockerfile()))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &dockerfile.Error{File: path, Cause: reason(err)}
	}
	defer f.Close()
	return dockerfile.Parse(path, io.LimitReader(f, maxDockerfile))
}

// reason takes the path out of a file error, for messages that name it already.
func reason(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

func (p *Plan) platform(file *dockerfile.File, platform v1.Platform) (*PlatformPlan, []dockerfile.Warning, error) {
	r, err := file.Resolve(p.resolveOptions(platform))
	if err != nil {
		return nil, nil, err
	}
	pp := &PlatformPlan{Platform: platform, resolved: r}
	for _, st := range r.Stages {
		if st.Context != "" {
			continue
		}
		sp, err := planStage(r, st, p.Options)
		if err != nil {
			return nil, nil, err
		}
		pp.Stages = append(pp.Stages, *sp)
	}
	return pp, r.Warnings, nil
}

func (p *Plan) resolveOptions(platform v1.Platform) dockerfile.Options {
	return dockerfile.Options{
		BuildArgs: p.Options.BuildArgs,
		Target:    p.Options.Target,
		Platform:  platform,
		Contexts:  slices.Sorted(maps.Keys(p.Options.Bases)),
	}
}

// hostPlatform is what is built where no platform is asked for.
func hostPlatform() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

// planStage goes through a stage without its base, so that what cannot be done
// is said before anything is fetched. Variables that only the base sets are
// empty here; steps that use any are looked at again when it is known.
func planStage(r *dockerfile.Resolved, st dockerfile.ResolvedStage, o Options) (*StagePlan, error) {
	sp := &StagePlan{Name: st.Label(), Base: st.Base.Name, Source: baseSource(o.Bases, st.Base.Name)}
	scope, err := r.Begin(st, v1.Config{}, "")
	if err != nil {
		return nil, err
	}
	for _, step := range scope.Steps {
		applied, err := scope.Apply(step)
		if err != nil {
			if uncertain(step) {
				continue
			}
			return nil, err
		}
		kind, err := check(applied.Step, scope)
		if err != nil && !uncertain(step) && !isPattern(err) {
			return nil, err
		}
		if kind != "" {
			sp.Steps = append(sp.Steps, StepPlan{Line: step.At().Line, Kind: kind, Text: step.At().Text})
		}
	}
	return sp, nil
}

// uncertain says whether a step's meaning may depend on the base's environment.
func uncertain(step dockerfile.Step) bool { return strings.Contains(step.At().Text, "$") }

// isPattern says that a word stands for files of the image, which are not known
// before it is built.
func isPattern(err error) bool {
	var word *pip.WordError
	return errors.As(err, &word) && strings.ContainsAny(word.Word, "*?")
}

// baseSource returns where a base is taken from.
func baseSource(bases map[string]string, name string) string {
	if s, ok := bases[name]; ok {
		return s
	}
	return name
}

// check says how a step is done, "" for one that makes no layer, and returns an
// *InputError for one that cannot be done.
func check(step dockerfile.Step, scope *dockerfile.Scope) (StepKind, error) {
	switch s := step.(type) {
	case dockerfile.Run:
		_, err := installs(s, scope, nil)
		return InstallPackages, err
	case dockerfile.Copy:
		return CopyFiles, nil
	case dockerfile.Add:
		return CopyFiles, checkAdd(s)
	case dockerfile.Workdir:
		return MakeDirectory, nil
	}
	return "", nil
}

// checkAdd takes an ADD that does what COPY does.
func checkAdd(s dockerfile.Add) error {
	for _, src := range s.Sources {
		switch {
		case strings.Contains(src, "://") || strings.HasPrefix(src, "git@"):
			return &InputError{Origin: s.Origin, Err: fmt.Errorf("ADD of a URL (%s) is not supported", src),
				Advice: "download the file beside the Dockerfile and COPY it"}
		case isArchive(src) && (s.Unpack == nil || *s.Unpack):
			return &InputError{Origin: s.Origin, Err: fmt.Errorf("ADD of an archive (%s), which would be unpacked, is not supported", src),
				Advice: "unpack it beside the Dockerfile and COPY the folder, or say ADD --unpack=false"}
		}
	}
	return nil
}

// isArchive says whether Docker's ADD would unpack a file of this name.
func isArchive(name string) bool {
	for _, ext := range []string{".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst"} {
		if strings.HasSuffix(strings.ToLower(name), ext) {
			return true
		}
	}
	return false
}

// installs reads a RUN as pip installs. The view is the image as built so far;
// nil where it is not known yet.
func installs(s dockerfile.Run, scope *dockerfile.Scope, view *imageView) ([]pip.Step, error) {
	refuse := func(err error, advice string) error {
		return &InputError{Origin: s.Origin, Err: err, Advice: advice}
	}
	if advice, err := checkMounts(s.Mounts); err != nil {
		return nil, refuse(err, advice)
	}
	if len(s.Devices) > 0 || s.Security == "insecure" {
		return nil, refuse(errors.New("a RUN with devices or without a sandbox is not supported"), "")
	}
	o := view.parseOptions(scope)
	var found []pip.Step
	var err error
	switch process := s.Process([]string{"/bin/sh", "-c"}); {
	case process.Script != nil:
		return nil, refuse(errors.New("a RUN with a program in a here-document is not supported"), "write pip installs, one a line")
	case s.Shell:
		found, err = pip.ParseSteps(process.Args[len(process.Args)-1], o)
	default:
		found, err = pip.ParseStepsArgs(s.Args, o)
	}
	var notPip *pip.NotPipError
	switch {
	case errors.As(err, &notPip):
		return nil, refuse(err, "this version runs no commands while building: only installs of Python packages, which it does itself; put other software into the base (debian://SUITE?packages=…)")
	case err != nil:
		return nil, refuse(err, "")
	}
	return found, nil
}
