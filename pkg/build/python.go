package build

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/boyabuild/boyabuild/pkg/base"
	"github.com/boyabuild/boyabuild/pkg/layers"
	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/wheel"
)

// pythonInImage is the Python that an install is for.
type pythonInImage struct {
	installation wheel.Installation
	target       python.Target
	commands     []string // that start it, absolute, in the order of PATH
}

// startedBy is the Python as a program's line starts it: the name that it is
// called by is its sys.executable, which scripts begin with. pip's own script
// has one of its own.
func (p *pythonInImage) startedBy(program string) *pythonInImage {
	word, rest, _ := strings.Cut(program, " ")
	if rest == "" {
		return p
	}
	i := slices.IndexFunc(p.commands, func(c string) bool { return c == word || path.Base(c) == word })
	if i < 0 {
		return p
	}
	own := *p
	own.installation.Interpreter = p.commands[i]
	return &own
}

// answersTo says whether the Python is the one that a program's name asks for:
// "3" and "3.13" are both 3.13.5.
func (p *pythonInImage) answersTo(version string) bool {
	full := p.target.Python.String()
	return full == version || strings.HasPrefix(full+".", version+".")
}

// python tells which Python the image as built so far has.
func (s *stage) python(ctx context.Context) (*pythonInImage, error) {
	f, err := s.factsNow(ctx)
	if err != nil {
		return nil, err
	}
	if f.Python == nil {
		return nil, errNoPython
	}
	return pythonOf(f, s.scope.Stage.Platform)
}

// architecture is a platform's as [python.Target] has it.
func architecture(p v1.Platform) string {
	if p.Architecture == "arm" {
		return "arm/" + p.Variant
	}
	return p.Architecture
}

// pythonOf is the Python that an image's facts tell of.
func pythonOf(f base.Facts, platform v1.Platform) (*pythonInImage, error) {
	v, err := python.ParseVersion(f.Python.Version)
	if err != nil {
		return nil, err
	}
	t := python.Target{
		Python: v, FreeThreaded: f.Python.FreeThreaded, OS: platform.OS, Arch: architecture(platform),
		Libc: python.Libc{Name: f.Libc.Name, Major: f.Libc.Major, Minor: f.Libc.Minor},
	}
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return &pythonInImage{target: t, commands: f.Python.Commands, installation: wheel.Installation{
		Python:       fmt.Sprintf("%d.%d", v.Number(0), v.Number(1)),
		FreeThreaded: f.Python.FreeThreaded,
		Prefix:       f.Python.Prefix,
		Interpreter:  f.Python.Interpreter,
		Debian:       f.Python.Debian,
		Lib:          f.Python.Lib,
		LocalPrefix:  f.Python.LocalPrefix,
		Venv:         f.Python.Venv,
	}}, nil
}

// factsNow are those of the base, as long as the stage looks for Python where
// the base does; after that the image as built so far is looked at, or what is on
// record of it.
func (s *stage) factsNow(ctx context.Context) (base.Facts, error) {
	env := environ(s.scope.Config.Env)
	search := env["PATH"]
	if s.base.Image != nil {
		// They are asked for in any case: an image tells of the facts that were asked
		// for, and must not tell more if more has to be resolved.
		f, err := s.base.Facts()
		if err != nil || f.Python != nil && search == environ(s.config.Config.Env)["PATH"] {
			return f, err
		}
	}
	key, err := keyOf("facts/3", []any{s.view.identity(append(pathPlaces(search), systemPlaces...)), search, env["PYTHON_VERSION"]})
	if err != nil {
		return base.Facts{}, err
	}
	f, known := s.facts[key]
	if !known {
		if f, known, err = s.run.records.facts(ctx, key); err != nil {
			return f, err
		}
	}
	if !known {
		all, err := s.view.whole(ctx)
		if err != nil {
			return f, err
		}
		if f, err = base.ReadFacts(all, s.scope.Config); err != nil {
			return f, err
		}
		if err := s.run.Store.SetRecord(key, f); err != nil {
			return f, err
		}
	}
	s.facts[key] = f
	s.run.noteFacts(key, f)
	return f, nil
}

// copyOut writes a file of the image to this machine, and notes what it is.
func (p *installation) copyOut(e layers.Entry, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	if e.Content != nil {
		r, err := e.Content.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		sum := sha256.New()
		if _, err := io.Copy(io.MultiWriter(f, sum), r); err != nil {
			return err
		}
		p.taken = append(p.taken, fmt.Sprintf("%s %x", strings.TrimPrefix(to, p.work), sum.Sum(nil)))
	}
	return f.Close()
}
