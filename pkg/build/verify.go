package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
)

// Mismatch is the first place at which an image is not what a plan builds.
type Mismatch struct {
	// Layer is the number of the layer from the base up, from 1; 0: it is not a
	// layer that differs.
	Layer int
	// Says is the layer's line in the history of the image that was looked at.
	Says string
	// Difference is what differs in the layer's tar; nil: only how it is
	// compressed, or that it is there at all.
	Difference *layers.Difference
	// Field is what differs of the layer, the configuration or the manifest as such:
	// "layers", "config.Env", "annotations". Image and Built are its values.
	Field, Image, Built string
}

// String says what differs, in one line.
func (m *Mismatch) String() string {
	where := ""
	if m.Layer > 0 {
		where = fmt.Sprintf("layer %d", m.Layer)
		if m.Says != "" {
			where += " (" + clip(m.Says, 70) + ")"
		}
		where += ": "
	}
	if m.Difference != nil {
		return where + strings.NewReplacer(" in the first", " in the image", " in the second", " built now", " from the second", " from what is built now",
			"the second has", "what is built now has").Replace(m.Difference.String())
	}
	return fmt.Sprintf("%s%s: %s in the image, %s built now", where, m.Field, m.Image, m.Built)
}

// Verify builds p anew, and compares the result byte by byte with img; nil: they
// are the same. The base and the versions of packages are those that img was
// made with, as far as it tells of them; everything else is made again, from
// what registries and indexes send now, in a store of its own.
func (b *Builder) Verify(ctx context.Context, p *Plan, img v1.Image) (*Mismatch, error) {
	told, err := readCarried(img)
	if err != nil {
		return nil, err
	}
	files, err := openContext(ctx, p.Options.Context, p.Options.Dockerfile, b.sumCache(p.Options.Context, p.Options))
	if err != nil {
		return nil, err
	}
	defer files.Close()
	sh := newShared(b, true, true)
	defer sh.close()
	run := b.platform(p, &p.Platforms[0], files, sh)
	defer run.close()
	run.records.off = true
	run.records.load = func(context.Context) []*carried { return []*carried{told.resolutions()} }
	run.pinned = told.Steps
	last, err := run.stages(ctx)
	if err != nil {
		return nil, err
	}
	built, err := last.image(p.Options)
	if err != nil {
		return nil, err
	}
	return compare(ctx, img, built)
}

// resolutions are the records that say what names stand for, and none that says
// what was made of it.
func (c *carried) resolutions() *carried {
	out := &carried{Base: map[string]json.RawMessage{}}
	for key, rec := range c.Base {
		if strings.HasPrefix(key, "base/registry/") || strings.HasPrefix(key, "base/debian/") {
			out.Base[key] = rec
		}
	}
	return out
}

// pins are versions that the installs of a step are to come to again: of each, in
// order.
type pins [][]python.FileRequirement

// pinsOf are those on record.
func pinsOf(rec stepRecord) (pins, error) {
	if len(rec.Packages) == 0 {
		return nil, nil
	}
	shares := rec.Shares
	if shares == nil {
		shares = []int{len(rec.Packages)}
	}
	var out pins
	packages := rec.Packages
	for _, n := range shares {
		if n < 0 || n > len(packages) {
			return nil, fmt.Errorf("the record of a step has %d packages, and shares %d", len(rec.Packages), rec.Shares)
		}
		var of []python.FileRequirement
		for _, text := range packages[:n] {
			name, version, _ := strings.Cut(text, " ")
			r, err := python.ParseRequirement(name + "===" + version)
			if err != nil {
				return nil, err
			}
			of = append(of, python.FileRequirement{Requirement: r})
		}
		out, packages = append(out, of), packages[n:]
	}
	return out, nil
}

// next takes what the next install is to come to.
func (p *pins) next() []python.FileRequirement {
	if len(*p) == 0 {
		return nil
	}
	of := (*p)[0]
	*p = (*p)[1:]
	return of
}

// are says whether a lock has the pinned versions.
func are(pinned []python.FileRequirement, l python.Lock) bool {
	return !slices.ContainsFunc(l.Packages, func(pkg python.Locked) bool {
		return slices.ContainsFunc(pinned, func(r python.FileRequirement) bool {
			return r.Requirement.Key() == pkg.Name && !r.Requirement.Specifiers.Contains(pkg.Version)
		})
	})
}

func compare(ctx context.Context, img, built v1.Image) (*Mismatch, error) {
	want, err := img.Digest()
	if err != nil {
		return nil, err
	}
	have, err := built.Digest()
	if err != nil || want == have {
		return nil, err
	}
	theirs, err := img.Layers()
	if err != nil {
		return nil, err
	}
	ours, err := built.Layers()
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	says := layerHistory(config)
	for i := range min(len(theirs), len(ours)) {
		m, err := compareLayers(ctx, theirs[i], ours[i])
		if err != nil {
			return nil, fmt.Errorf("compare layer %d: %w", i+1, err)
		}
		if m != nil {
			m.Layer = i + 1
			if i < len(says) {
				m.Says = says[i]
			}
			return m, nil
		}
	}
	if len(theirs) != len(ours) {
		return &Mismatch{Field: "layers", Image: fmt.Sprint(len(theirs)), Built: fmt.Sprint(len(ours))}, nil
	}
	for _, of := range []struct {
		name string
		raw  func(v1.Image) ([]byte, error)
	}{{"config", v1.Image.RawConfigFile}, {"manifest", v1.Image.RawManifest}} {
		a, err := of.raw(img)
		if err != nil {
			return nil, err
		}
		b, err := of.raw(built)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(a, b) {
			continue
		}
		var x, y any
		if err := json.Unmarshal(a, &x); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &y); err != nil {
			return nil, err
		}
		field, left, right := firstField(of.name, x, y)
		return &Mismatch{Field: field, Image: clip(left, 100), Built: clip(right, 100)}, nil
	}
	return &Mismatch{Field: "digest", Image: want.String(), Built: have.String()}, nil
}

// layerHistory are the lines of the history that stand for layers.
func layerHistory(c *v1.ConfigFile) []string {
	var out []string
	for _, h := range c.History {
		if !h.EmptyLayer {
			out = append(out, h.CreatedBy)
		}
	}
	return out
}

func compareLayers(ctx context.Context, theirs, ours v1.Layer) (*Mismatch, error) {
	a, err := partial.Descriptor(theirs)
	if err != nil {
		return nil, err
	}
	b, err := partial.Descriptor(ours)
	if err != nil || a.Digest == b.Digest {
		return nil, err
	}
	x, err := theirs.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer x.Close()
	y, err := ours.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer y.Close()
	d, err := layers.Compare(ctx, x, y)
	if err != nil || d != nil {
		return &Mismatch{Difference: d}, err
	}
	return &Mismatch{Field: "compressed form", Image: a.Digest.String(), Built: b.Digest.String()}, nil
}

// firstField finds the first place at which two JSON values differ.
func firstField(at string, a, b any) (field, left, right string) {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			break
		}
		for _, k := range unionKeys(x, y) {
			if text(x[k]) != text(y[k]) {
				return firstField(at+"."+k, x[k], y[k])
			}
		}
	case []any:
		y, ok := b.([]any)
		if !ok {
			break
		}
		for i := range min(len(x), len(y)) {
			if text(x[i]) != text(y[i]) {
				return firstField(fmt.Sprintf("%s[%d]", at, i), x[i], y[i])
			}
		}
		return at, fmt.Sprintf("%d elements", len(x)), fmt.Sprintf("%d elements", len(y))
	}
	return at, text(a), text(b)
}

func unionKeys(a, b map[string]any) []string {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// text is a value as JSON has it; "nothing" for one that is not there.
func text(v any) string {
	if v == nil {
		return "nothing"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
