package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python/bytecode"
	"github.com/boyabuild/boyabuild/pkg/sandbox"
)

// compiled is the bytecode of one tree, on record by what it was compiled from.
type compiled struct {
	Hash v1.Hash `json:"hash"`
	Size int64   `json:"size"`
}

// compileUnit is a tree to compile, and the key of its content.
type compileUnit struct {
	key  string
	tree layers.Tree
	// unchanged, if set, is asked at the end whether it still has that content.
	unchanged func() error
}

// bytecode returns the bytecode of trees, compiled by the image's Python or
// taken from record; nothing where it cannot be run here, which is told once.
func (s *stage) bytecode(ctx context.Context, py *pythonInImage, units []compileUnit) ([]layers.Tree, error) {
	out := make([]layers.Tree, len(units))
	if s.run.plan.Options.NoCompile {
		return out, nil
	}
	st := s.run.Store
	keys := make([]string, len(units))
	var missing []bytecode.Unit
	var places []int
	for i, u := range units {
		keys[i] = fmt.Sprintf("%s %s %t %s", bytecode.Format, py.target.Python, py.target.FreeThreaded, u.key)
		var c compiled
		ok, err := s.run.built(keys[i], &c)
		if err != nil {
			return nil, err
		}
		if ok && st.Has(c.Hash) {
			if out[i], err = s.run.stored(c.Hash); err != nil {
				return nil, err
			}
			continue
		}
		missing = append(missing, bytecode.Unit{Name: u.key, Tree: u.tree})
		places = append(places, i)
	}
	if len(missing) == 0 {
		return out, nil
	}
	if s.run.preview != nil {
		return out, nil // only what is on record is looked at
	}
	g, err := s.guest(ctx, py)
	var none *guestError
	if errors.As(err, &none) {
		s.run.shared.notice(s.run.log(), "no bytecode is compiled, so the app starts more slowly: "+none.Error())
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	o := bytecode.Options{Interpreter: g.interpreter, Log: s.run.log()}
	err = bytecode.CompileAll(ctx, g, missing, o, func(n int, pycs layers.Tree) error {
		h, size, err := st.Create(func(w io.Writer) error {
			_, err := layers.Write(ctx, w, pycs, layers.Options{Compression: layers.None})
			return err
		})
		if err != nil {
			return err
		}
		i := places[n]
		if u := units[i]; u.unchanged != nil {
			if err := u.unchanged(); err != nil {
				return err
			}
		}
		if out[i], err = s.run.stored(h); err != nil {
			return err
		}
		return s.run.setBuilt(keys[i], compiled{h, size})
	})
	var start *sandbox.StartError
	var python *bytecode.Error
	if ctx.Err() == nil && (errors.As(err, &start) || errors.As(err, &python)) { // a Python that lacks what compiling takes may still run the app
		s.run.shared.notice(s.run.log(), "no bytecode is compiled, so the app starts more slowly: "+firstLine(err.Error()))
		return make([]layers.Tree, len(units)), nil
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// canCompile says whether a Python can be run on this machine, in a sandbox. That it
// cannot is told once.
func (s *stage) canCompile(ctx context.Context) (bool, error) {
	err := s.run.shared.guests.possible(ctx)
	var none *guestError
	if errors.As(err, &none) {
		s.run.shared.notice(s.run.log(), "no bytecode is compiled, so the app starts more slowly: "+none.Error())
		return false, nil
	}
	return err == nil, err
}

// improves says whether a step that was done without compiling bytecode can be done
// with it here.
func (s *stage) improves(ctx context.Context) (bool, error) {
	if s.scope.Stage.Platform.Architecture != runtime.GOARCH { // it may have been for want of a Python for another machine
		return false, nil
	}
	return s.canCompile(ctx)
}

// stored is the tree of an uncompressed tar in the store.
func (p *platformBuild) stored(h v1.Hash) (layers.Tree, error) {
	return layers.ReadTar(func() (io.ReadCloser, error) {
		r, _, err := p.Store.Blob(h)
		return r, err
	})
}

// standardLibrary compiles what a Debian base leaves to be compiled when it is
// installed: one layer, before all others.
func (s *stage) standardLibrary(ctx context.Context) error {
	if s.base.Debian == nil || s.run.plan.Options.NoCompile {
		return nil
	}
	py, err := s.python(ctx)
	if err != nil {
		return nil // a base without a Python has no library to compile
	}
	lib := strings.TrimPrefix(path.Join(py.installation.Prefix, "lib", "python"+py.installation.Python), "/")
	key, err := keyOf("standard-library/1", []any{s.layerOptions().Key(), bytecode.Format, s.base.Digest, py.target.Python.String(), lib})
	if err != nil {
		return err
	}
	files := func(ctx context.Context) (layers.Tree, error) {
		all, err := s.base.Tree()
		if err != nil {
			return layers.Tree{}, err
		}
		tree, err := bytecode.StandardLibrary(all, lib)
		if err != nil || tree.Len() == 0 {
			return layers.Tree{}, err
		}
		made, err := s.bytecode(ctx, py, []compileUnit{{key: "base " + s.base.Digest.String() + " " + lib, tree: tree}})
		if err != nil || made[0].Len() == 0 {
			return layers.Tree{}, err
		}
		return made[0].Settle(all)
	}
	rec, known, err := s.run.records.step(ctx, key)
	if err != nil {
		return err
	}
	var laid *part
	then := s.now()
	make := func(ctx context.Context) (*part, layerRecord, bool, error) {
		whole, err := files(ctx)
		if err != nil || whole.Len() == 0 {
			return nil, layerRecord{}, false, err
		}
		return then.content(ctx, "standard library "+s.base.Digest.String()+" "+py.target.Python.String(), whole, "")
	}
	text := "unchanged"
	switch {
	case known && len(rec.Layers) == 1:
		l := rec.Layers[0]
		laid, err = s.part(ctx, l, nil, func(ctx context.Context) (layers.Descriptor, error) {
			return s.run.remake(ctx, l, func(ctx context.Context) ([]*part, error) {
				p, _, _, err := make(ctx)
				return []*part{p}, err
			})
		})
		if v := s.run.preview; v != nil {
			v.layer(l.Descriptor, true, 0)
		}
	case !known:
		var l layerRecord
		var fresh bool
		if laid, l, fresh, err = make(ctx); err != nil || laid == nil {
			return err
		}
		if fresh {
			text = bytesText(l.Size)
		}
		rec = stepRecord{Layers: []layerRecord{l}}
		if s.run.preview == nil {
			err = s.run.records.keep(key, rec)
		}
	}
	if err != nil || laid == nil {
		return err
	}
	s.lay(laid)
	s.run.noteStep(key, rec)
	if s.run.preview == nil {
		s.run.log().Info(fmt.Sprintf("bytecode of the standard library: %s", text))
	}
	s.history = append(s.history, v1.History{Created: epoch(s.run.plan.Options.Time), CreatedBy: "boyabuild: bytecode of the standard library"})
	return nil
}

// firstLine is the first line of a text, no longer than a message should be.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return clip(line, 240)
}
