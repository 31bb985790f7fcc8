package build

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/dockerfile"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
)

// Preview is a plan with what can be known of it before any wheel is fetched:
// which packages each install comes to, and which layers are on record.
type Preview struct {
	Platforms []PlatformPreview `json:"platforms"`
}

// PlatformPreview is the part of a Preview for one platform.
type PlatformPreview struct {
	Platform string         `json:"platform"`
	Stages   []StagePreview `json:"stages"`
}

// StagePreview is one stage. Digest is the base's, "" on another stage or on
// scratch.
type StagePreview struct {
	Name   string        `json:"name,omitempty"`
	Base   string        `json:"base"`
	Source string        `json:"source,omitempty"`
	Digest string        `json:"digest,omitempty"`
	Steps  []StepPreview `json:"steps"`
}

// StepPreview is one step that makes layers.
type StepPreview struct {
	Line int      `json:"line,omitempty"`
	Kind StepKind `json:"kind"`
	Text string   `json:"text"`
	// OnRecord says that no layer of the step need be made.
	OnRecord bool `json:"onRecord"`
	// Layers are those of the step that are on record.
	Layers []layers.Descriptor `json:"layers,omitempty"`
	// ToMake is the number of the others, as far as it is known.
	ToMake   int              `json:"toMake,omitempty"`
	Files    int              `json:"files,omitempty"`
	Packages []PackagePreview `json:"packages,omitempty"`
}

// PackagePreview is a package that would be installed.
type PackagePreview struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	File    string `json:"file"`
	Size    int64  `json:"size,omitempty"` // bytes; 0: unknown
	// Here says that the file is on this machine already.
	Here bool `json:"here"`
	// Build says that a wheel must be built of it.
	Build bool `json:"build,omitempty"`
}

// preview collects the steps of one platform.
type preview struct {
	stages []StagePreview
}

func (v *preview) begin(sp StagePreview) { v.stages = append(v.stages, sp) }

// step enters a step, nil for one that makes no layer.
func (v *preview) step(s dockerfile.Step) {
	kind, ok := kindOf(s)
	if !ok {
		return
	}
	st := &v.stages[len(v.stages)-1]
	// Until a layer is met there is none to make; an install's may not be known.
	st.Steps = append(st.Steps, StepPreview{Line: s.At().Line, Kind: kind, Text: s.At().Text, OnRecord: kind != InstallPackages})
}

// kindOf is what kind of a layer a step makes.
func kindOf(s dockerfile.Step) (StepKind, bool) {
	switch s.(type) {
	case dockerfile.Run:
		return InstallPackages, true
	case dockerfile.Copy, dockerfile.Add:
		return CopyFiles, true
	case dockerfile.Workdir:
		return MakeDirectory, true
	}
	return "", false
}

// current is the step that is looked at.
func (v *preview) current() *StepPreview {
	st := &v.stages[len(v.stages)-1]
	if len(st.Steps) == 0 {
		st.Steps = append(st.Steps, StepPreview{Kind: StandardLibrary, Text: "bytecode of the standard library"})
	}
	return &st.Steps[len(st.Steps)-1]
}

// layer notes what a layer of a step is, where that is on record.
func (v *preview) layer(d layers.Descriptor, known bool, files int) {
	c := v.current()
	c.Files += files
	if known {
		c.Layers = append(c.Layers, d)
	} else {
		c.ToMake++
	}
	c.OnRecord = c.ToMake == 0
}

// packages notes what an install comes to.
func (p *installation) packages(v *preview, l python.Lock) {
	c := v.current()
	for _, pkg := range l.Packages {
		f, build := pkg.Wheel, false
		if f.Filename == "" {
			f, build = pkg.Sdist, true
		}
		row := PackagePreview{Name: pkg.Name, Version: pkg.Version.String(), File: f.Filename, Size: f.Size, Build: build}
		row.Here = len(f.URL) > 5 && f.URL[:5] == "file:" || p.run.Store.Has(v1.Hash{Algorithm: "sha256", Hex: f.Hashes["sha256"]})
		c.Packages = append(c.Packages, row)
	}
}

// Preview goes through a plan and says what a build would do. It resolves bases
// and dependencies as a build does, fetches no wheel and makes no layer.
func (b *Builder) Preview(ctx context.Context, p *Plan) (*Preview, error) {
	files, err := openContext(ctx, p.Options.Context, p.Options.Dockerfile, b.sumCache(p.Options.Context, p.Options))
	if err != nil {
		return nil, err
	}
	defer files.Close()
	sh := newShared(b, p.Options.NoCache, p.Options.NoCache || p.Options.Pull)
	defer sh.close()
	out := &Preview{}
	for i := range p.Platforms {
		pp := &p.Platforms[i]
		run := b.platform(p, pp, files, sh)
		run.preview = &preview{}
		_, err := run.stages(ctx)
		run.close()
		if err != nil {
			return nil, err
		}
		out.Platforms = append(out.Platforms, PlatformPreview{Platform: pp.Platform.String(), Stages: run.preview.stages})
	}
	return out, nil
}

// Totals says in words what a step costs.
func (s StepPreview) Totals() string {
	text := ""
	switch {
	case s.Kind == InstallPackages:
		text = packages(len(s.Packages))
		n, size := 0, int64(0)
		for _, p := range s.Packages {
			if !p.Here {
				n++
				size += p.Size
			}
		}
		if n > 0 {
			text += fmt.Sprintf(", %d to fetch", n)
			if size > 0 {
				text += " (" + bytesText(size) + ")"
			}
		}
	case s.Files == 1:
		text = "1 entry"
	default:
		text = fmt.Sprintf("%d entries", s.Files)
	}
	var size int64
	for _, d := range s.Layers {
		size += d.Size
	}
	switch {
	case len(s.Layers) == 0 && s.OnRecord:
		return "nothing to do"
	case len(s.Layers) == 0:
		return text + ", layer to be made"
	case len(s.Layers) == 1 && s.OnRecord:
		return fmt.Sprintf("%s, layer %s on record (%s)", text, s.Layers[0].Digest, bytesText(size))
	case s.OnRecord:
		return fmt.Sprintf("%s, %d layers on record (%s)", text, len(s.Layers), bytesText(size))
	}
	return fmt.Sprintf("%s, %d layers on record (%s), %d to be made", text, len(s.Layers), bytesText(size), s.ToMake)
}
