package build

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/store"
)

// layerRecord is what is kept of a layer under the key of what it was made from:
// enough to go on building without its bytes.
type layerRecord struct {
	Key string `json:"key"`
	layers.Descriptor
	// Outline is the layer's, marshalled; none for layers whose files are always
	// at hand.
	Outline []byte `json:"outline,omitempty"`
	// Tops are the first names that a layer of wheels has below the places that
	// wheels go to: two with none in common have no file in common.
	Tops []string `json:"tops,omitempty"`

	// foreign says that an image told it, and no build here.
	foreign bool
}

// stepRecord is what is kept of a step under the key of all that it depends on.
type stepRecord struct {
	Layers []layerRecord `json:"layers"`
	// Packages are those that it installed: "flask 3.1.3".
	Packages []string `json:"packages,omitempty"`
	// Shares are how many of them each install of the step has, in order, where
	// there are several.
	Shares []int `json:"shares,omitempty"`
	// Places are what its installs found where they installed to, by their keys.
	Places map[string]placeRecord `json:"places,omitempty"`
	// Bare is that bytecode was wanted, and could not be compiled for want of a
	// sandbox: a machine that has one does the step again.
	Bare bool `json:"bare,omitempty"`

	foreign bool
}

// records are what earlier builds have left: on this machine, and in images
// that carry the records of their own making.
type records struct {
	store *store.Store
	// off makes everything anew: nothing is looked up.
	off bool
	// fresh does not believe what steps came to: dependencies are resolved again.
	fresh bool
	// load reads the images that may be looked at; it is called when something is
	// not on record here, and once.
	load   func(context.Context) []*carried
	once   sync.Once
	loaded atomic.Pointer[[]*carried]
	// told are the keys of records of places and of bases that an image has told.
	// What was told is used for this build, and is not put on record here.
	mu   sync.Mutex
	told map[string]bool
}

func (r *records) hear(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told == nil {
		r.told = map[string]bool{}
	}
	r.told[key] = true
}

func (r *records) heard(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told[key]
}

func (r *records) carried(ctx context.Context) []*carried {
	r.once.Do(func() {
		var list []*carried
		if r.load != nil {
			list = r.load(ctx)
		}
		r.loaded.Store(&list)
	})
	return *r.loaded.Load()
}

// step finds what a step came to.
func (r *records) step(ctx context.Context, key string) (stepRecord, bool, error) {
	var rec stepRecord
	if r.off || r.fresh {
		return rec, false, nil
	}
	if ok, err := r.store.Record(stepKey(key), &rec); err != nil || ok {
		return rec, ok, err
	}
	for _, c := range r.carried(ctx) {
		if rec, ok := c.Steps[key]; ok {
			rec.foreign = true
			return rec, true, nil
		}
	}
	return stepRecord{}, false, nil
}

// layer finds the layer that was made of a key's inputs. For own files, which
// are made into a layer in no time, no image is read that was not read already.
func (r *records) layer(ctx context.Context, key string, own bool) (layerRecord, bool, error) {
	var rec layerRecord
	if r.off {
		return rec, false, nil
	}
	if ok, err := r.store.Record(key, &rec); err != nil || ok && rec.Key == key {
		return rec, ok, err
	}
	told := r.loaded.Load()
	if !own {
		list := r.carried(ctx)
		told = &list
	}
	if told == nil {
		return layerRecord{}, false, nil
	}
	for _, c := range *told {
		if rec, ok := c.byKey[key]; ok {
			rec.foreign = true
			return rec, true, nil
		}
	}
	return layerRecord{}, false, nil
}

// place finds what an install found where it installs to.
func (r *records) place(ctx context.Context, key string) (placeRecord, bool, error) {
	var rec placeRecord
	if r.off {
		return rec, false, nil
	}
	if ok, err := r.store.Record(key, &rec); err != nil || ok {
		return rec, ok, err
	}
	for _, c := range r.carried(ctx) {
		for _, s := range c.Steps {
			if rec, ok := s.Places[key]; ok {
				r.hear(key)
				return rec, true, nil
			}
		}
	}
	return placeRecord{}, false, nil
}

// facts finds what was found out of an image.
func (r *records) facts(ctx context.Context, key string) (base.Facts, bool, error) {
	var rec base.Facts
	if r.off {
		return rec, false, nil
	}
	if ok, err := r.store.Record(key, &rec); err != nil || ok {
		return rec, ok, err
	}
	for _, c := range r.carried(ctx) {
		if rec, ok := c.Facts[key]; ok {
			return rec, true, nil
		}
	}
	return base.Facts{}, false, nil
}

func stepKey(key string) string { return "step " + key }

// keep puts a step on record, with its layers, as far as this build has made
// them: what an image has told counts for this build only, or whoever can write
// that image could decide what others are made of.
func (r *records) keep(key string, rec stepRecord) error {
	foreign := false
	for _, l := range rec.Layers {
		if l.foreign {
			foreign = true
		} else if err := r.store.SetRecord(l.Key, l); err != nil {
			return err
		}
	}
	for k, p := range rec.Places {
		if r.heard(k) {
			foreign = true
		} else if err := r.store.SetRecord(k, p); err != nil {
			return err
		}
	}
	if foreign {
		return nil
	}
	return r.store.SetRecord(stepKey(key), rec)
}

// source finds a layer's bytes in the images that may be looked at.
func (r *records) source(ctx context.Context, digest v1.Hash) (v1.Layer, bool) {
	for _, c := range r.carried(ctx) {
		if l, ok := c.layers[digest]; ok {
			return l, true
		}
	}
	return nil, false
}

// baseRecords are records as pkg/base keeps them: the store's, and those that
// images carry.
type baseRecords struct {
	*store.Store
	r   *records
	ctx context.Context
}

// base are the records as pkg/base is given them.
func (r *records) base(ctx context.Context) baseRecords { return baseRecords{r.store, r, ctx} }

// Record looks here and then in the images.
func (b baseRecords) Record(key string, v any) (bool, error) {
	ok, err := b.Store.Record(key, v)
	if err != nil || ok {
		return ok, err
	}
	for _, c := range b.r.carried(b.ctx) {
		if raw, there := c.Base[key]; there && json.Unmarshal(raw, v) == nil {
			b.r.hear(key)
			return true, nil
		}
	}
	return false, nil
}

// SetRecord keeps a record, unless an image has told what was there.
func (b baseRecords) SetRecord(key string, v any) error {
	if b.r.heard(key) {
		return nil
	}
	return b.Store.SetRecord(key, v)
}

// carried are the records that an image carries in its configuration.
type carried struct {
	Format int `json:"format"`
	// Base are the records of the bases, by the keys that pkg/base gave them, and
	// the outlines of their layers.
	Base map[string]json.RawMessage `json:"base,omitempty"`
	// Steps are the records of the steps that make layers of more than the
	// build's own files.
	Steps map[string]stepRecord `json:"steps,omitempty"`
	// Facts are what was found out of the image as it was before steps, by what they
	// depend on. They are no part of a step's record: steps of one key may have
	// asked for different ones.
	Facts map[string]base.Facts `json:"facts,omitempty"`

	byKey  map[string]layerRecord
	layers map[v1.Hash]v1.Layer
}

const (
	// carriedFormat numbers what carried means. Records of another are none.
	carriedFormat = 2
	// carriedField is where an image's configuration has them. Runtimes and
	// registries leave alone what they do not know.
	carriedField = "boyabuild"
	// AnnotationKey is the annotation of a layer's descriptor that tells what the
	// layer was made from: the key that it is on record by.
	AnnotationKey = "io.github.boyabuild.layer.key"
)

// readCarried reads the records of an image. They say nothing but what the
// image's own layers are made from; what does not fit is none.
func readCarried(img v1.Image) (*carried, error) {
	raw, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	list, err := img.Layers()
	if err != nil {
		return nil, err
	}
	var config struct {
		Carried *carried `json:"boyabuild"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("read the records of the image: %w", err)
	}
	c := config.Carried
	if c == nil || c.Format != carriedFormat {
		c = &carried{}
	}
	c.layers = map[v1.Hash]v1.Layer{}
	own := map[v1.Hash]layers.Descriptor{}
	keys := map[string]layerRecord{}
	for i, d := range m.Layers {
		diffID, err := list[i].DiffID()
		if err != nil {
			return nil, err
		}
		c.layers[d.Digest] = list[i]
		own[d.Digest] = layers.Descriptor{Digest: d.Digest, DiffID: diffID, Size: d.Size, MediaType: d.MediaType}
		if key := d.Annotations[AnnotationKey]; key != "" {
			keys[key] = layerRecord{Key: key, Descriptor: own[d.Digest]}
		}
	}
	for _, s := range c.Steps {
		for _, l := range s.Layers {
			if d, ok := own[l.Digest]; ok && d != l.Descriptor {
				return nil, fmt.Errorf("read the records of the image: they tell of layer %s what its manifest does not", l.Digest)
			}
			if has, ok := keys[l.Key]; ok && has.Descriptor != l.Descriptor {
				return nil, fmt.Errorf("read the records of the image: they tell of another layer made of %q than its manifest", l.Key)
			}
			keys[l.Key] = l
		}
	}
	c.byKey = keys
	return c, nil
}
