package build

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/dockerfile"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// checkMounts refuses a RUN's mounts that cannot be had. Caches have no part in
// what is installed. A secret, or a key of ssh, that is not required is not there
// where nobody hands it in, as with BuildKit, and nobody can here.
func checkMounts(mounts []dockerfile.Mount) (advice string, err error) {
	for _, m := range mounts {
		if (m.Type == "secret" || m.Type == "ssh") && m.Required {
			return "leave the mount out: logins for package indexes are those of this machine (netrc, pip.conf, PIP_*, UV_*, keyring)",
				fmt.Errorf("--mount=type=%s,required is not supported", m.Type)
		}
	}
	return "", nil
}

// mounted returns the stage with the files of a RUN's bind mounts laid over it,
// which its commands read and no layer holds. It is the stage itself where there
// are none.
func (s *stage) mounted(ctx context.Context, step dockerfile.Run) (*stage, error) {
	over := s
	for _, m := range step.Mounts {
		switch m.Type {
		case "secret", "ssh":
			s.run.shared.notice(s.run.log(), fmt.Sprintf("no %s is handed in to %s: logins for package indexes are those of this machine", m.Type, clip(step.Text, 70)))
		case "bind":
			tree, err := s.mount(ctx, step, m, over.view)
			if err != nil {
				return nil, copyFault(step.Origin, fmt.Errorf("--mount=type=bind: %w", err))
			}
			sum, err := sumOf(ctx, tree)
			if err != nil {
				return nil, &StepError{Origin: step.Origin, Err: err}
			}
			with := *over
			with.view = over.view.with(&part{digest: sum, known: tree})
			over = &with
		}
	}
	return over, nil
}

// mount returns the files of a bind mount where they are seen. What the image has
// at its target is not.
func (s *stage) mount(ctx context.Context, step dockerfile.Run, m dockerfile.Mount, below *view) (layers.Tree, error) {
	from, own, err := s.run.from(ctx, dockerfile.Copy{Origin: step.Origin, From: m.From})
	if err != nil {
		return layers.Tree{}, err
	}
	files := from.known
	if !own {
		if files, err = from.whole(ctx); err != nil {
			return layers.Tree{}, err
		}
	}
	at, err := files.Resolve(path.Join("/", m.Source))
	if err != nil {
		return layers.Tree{}, err
	}
	target, err := below.known.Resolve(m.Target)
	if err != nil {
		return layers.Tree{}, err
	}
	top := layers.Entry{Kind: layers.Dir, Mode: 0o755}
	if at != "" {
		e, ok := files.Lookup(at)
		if !ok {
			return layers.Tree{}, &missingError{source: m.Source, context: m.From.Name == ""}
		}
		top = e
	}
	top.Path, top.Origin, top.Implied = target, "a mount", false
	if top.Kind == layers.Hardlink {
		top.Kind, top.Link = layers.File, ""
	}
	if top.Kind != layers.Dir {
		return layers.NewTree([]layers.Entry{top})
	}
	top.Opaque = true
	entries := []layers.Entry{top}
	for _, e := range files.Under(at) {
		e.Path = join(target, strings.TrimPrefix(strings.TrimPrefix(e.Path, at), "/"))
		if e.Kind == layers.Hardlink {
			e.Kind, e.Link = layers.File, ""
		}
		e.Origin, e.Implied = "a mount", false
		entries = append(entries, e)
	}
	return layers.NewTree(entries)
}

// lost is an error where a step has put something into a mount, which no image
// holds.
func lost(mounts []dockerfile.Mount, parts []*part) error {
	for _, m := range mounts {
		if m.Type == "secret" || m.Type == "ssh" {
			continue
		}
		target := strings.TrimPrefix(path.Clean(m.Target), "/")
		for _, p := range parts {
			for _, e := range p.known.Entries() {
				if e.Path != target && !strings.HasPrefix(e.Path, target+"/") || e.Kind == layers.Dir && e.Implied {
					continue
				}
				return &refusedError{what: fmt.Sprintf("/%s would be put into the %s mount at /%s, which is not part of the image", e.Path, m.Type, target),
					advice: mountAdvice(m)}
			}
		}
	}
	return nil
}

func mountAdvice(m dockerfile.Mount) string {
	if m.Type == "bind" {
		return "mount only the files that are read (source=pyproject.toml,target=pyproject.toml), or COPY them"
	}
	return "have the environment elsewhere (POETRY_VIRTUALENVS_IN_PROJECT=1, UV_PROJECT_ENVIRONMENT, WORKON_HOME)"
}
