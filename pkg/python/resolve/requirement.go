package resolve

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/index"
)

// RequirementError is a requirement that cannot be used, whatever the indexes
// have.
type RequirementError struct {
	File        string // "" = not from a file
	Line        int    // 0 = not known
	Requirement string
	Problem     string
	hint        string
}

func (e *RequirementError) Error() string {
	text := fmt.Sprintf("requirement %s: %s", e.Requirement, e.Problem)
	switch {
	case e.File == "":
		return text
	case e.Line == 0:
		return e.File + ": " + text
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, text)
}

// Position is where the requirement stands.
func (e *RequirementError) Position() (file string, line int) { return e.File, e.Line }

// Hint says what can be done; "" = nothing known.
func (e *RequirementError) Hint() string { return e.hint }

// root is a requirement or constraint of the user that holds for the target.
type root struct {
	python.FileRequirement
	name       string // normalized
	constraint bool
	override   bool
}

// source is where it stands, for messages: "requirements.txt:3", or "".
func (r root) source() string {
	switch {
	case r.override && r.File == "":
		return "override"
	case r.override:
		return "override, " + root{FileRequirement: r.FileRequirement}.source()
	case r.File == "":
		return ""
	case r.Line == 0:
		return r.File
	}
	return fmt.Sprintf("%s:%d", r.File, r.Line)
}

// text is the requirement without its marker, which holds anyway.
func (r root) text() string { return requirementText(r.Requirement, r.name) }

// requirementText is a requirement as it is told: without its marker, and with
// lower bounds before upper ones.
func requirementText(q python.Requirement, name string) string {
	if q.Name == "" {
		q.Name = name
	}
	specifiers := slices.Clone(q.Specifiers)
	q.Marker, q.Specifiers = python.Marker{}, nil
	return q.Redacted() + specifierText(specifiers)
}

func specifierText(s python.Specifiers) string {
	order := map[string]int{"===": 0, "==": 0, "~=": 1, ">=": 2, ">": 2, "<=": 3, "<": 3, "!=": 4}
	s = slices.Clone(s)
	slices.SortStableFunc(s, func(a, b python.Specifier) int { return order[a.Op] - order[b.Op] })
	var clauses []string
	for _, c := range s {
		clauses = append(clauses, c.String())
	}
	return strings.Join(clauses, ",")
}

func (r root) problem(problem, hint string) error {
	text := r.Path
	if text == "" {
		text = r.Requirement.Redacted()
	}
	return &RequirementError{File: r.File, Line: r.Line, Requirement: text, Problem: problem, hint: hint}
}

// wishes are what the user says, as far as it holds for the target.
type wishes struct {
	roots     []root // requirements, with the overrides in their place, and constraints
	overrides overrides
	demands   map[string]*demand // what they say of each project
}

// readWishes checks the requirements, constraints and overrides, drops those
// whose marker does not hold, and gathers what they say of each project.
func readWishes(o *Options) (wishes, error) {
	w := wishes{overrides: overrides{}, demands: map[string]*demand{}}
	if err := w.readOverrides(o); err != nil {
		return wishes{}, err
	}
	replaced := map[string]bool{}
	for _, q := range o.Requirements {
		r := root{FileRequirement: q, name: q.Requirement.Key()}
		if instead, ok := w.overrides[r.name]; ok {
			if !replaced[r.name] {
				replaced[r.name] = true
				w.roots = append(w.roots, instead...)
				for _, r := range instead {
					w.demands[r.name].required = true
				}
			}
			continue
		}
		if err := w.take(o, r); err != nil {
			return wishes{}, err
		}
	}
	for _, q := range o.Constraints {
		if err := w.take(o, root{FileRequirement: q, name: q.Requirement.Key(), constraint: true}); err != nil {
			return wishes{}, err
		}
	}
	return w, checkHashes(o, w.roots, w.demands)
}

func (w *wishes) take(o *Options, r root) error {
	if !r.Requirement.Marker.Evaluate(o.Target.Environment()) {
		return nil
	}
	if err := r.enter(o, w.demands); err != nil {
		return err
	}
	w.roots = append(w.roots, r)
	return nil
}

// enter adds what a requirement says to the demands on its project.
func (r *root) enter(o *Options, demands map[string]*demand) error {
	if r.constraint && len(r.Requirement.Extras) > 0 {
		return r.problem("a constraint cannot have extras", "name the extras in the requirement instead")
	}
	file, err := r.pinnedFile(o)
	if err != nil {
		return err
	}
	if file != nil {
		named := file.Project
		if r.name != "" && r.name != named {
			return r.problem(fmt.Sprintf("the %s is one of %s", map[index.Kind]string{index.Wheel: "wheel", index.Sdist: "sdist"}[file.Kind], named), "")
		}
		r.name = named
	}
	d := demands[r.name]
	if d == nil {
		d = &demand{}
		demands[r.name] = d
	}
	d.required = d.required || !r.constraint && !r.override
	if specifiers := r.Requirement.Specifiers; isPin(specifiers) {
		d.pins = append(d.pins, specifiers)
	}
	d.named = d.named || !r.constraint && r.Requirement.Specifiers.AllowsPrereleases()
	if file != nil {
		if d.file != nil && d.file.URL != file.URL {
			return r.problem(fmt.Sprintf("%s is also required from %s", r.name, d.file.Index), "leave one of the two")
		}
		d.file, d.url = file, r.Requirement.URL
	}
	return r.enterHashes(d)
}

func (r *root) enterHashes(d *demand) error {
	if len(r.Hashes) == 0 {
		return nil
	}
	for _, h := range r.Hashes {
		// pip's strong hashes; others prove nothing.
		switch algorithm, _, _ := strings.Cut(h, ":"); algorithm {
		case "sha256", "sha384", "sha512":
		default:
			return r.problem(fmt.Sprintf("--hash with %s; only sha256, sha384 and sha512 can be used", algorithm), "")
		}
	}
	if d.hashes == nil {
		d.hashes = slices.Clone(r.Hashes)
		return nil
	}
	d.hashes = slices.DeleteFunc(d.hashes, func(h string) bool { return !slices.Contains(r.Hashes, h) })
	return nil
}

// pinnedFile is the file that a requirement names by URL or path; nil when it
// names none.
func (r *root) pinnedFile(o *Options) (*index.File, error) {
	const build = "build a wheel of it once (pip wheel --no-deps) and give that, or its folder with --find-links"
	if r.Editable {
		return nil, r.problem("an editable requirement would have to be built", build)
	}
	if r.Path != "" {
		if !strings.HasSuffix(r.Path, ".whl") && !o.Build {
			return nil, r.problem("it is not a wheel and would have to be built", build)
		}
		f, err := index.LocalFile(r.Path)
		if err != nil {
			return nil, r.problem(err.Error(), "")
		}
		return &f, nil
	}
	if r.Requirement.URL == "" {
		return nil, nil
	}
	u, err := url.Parse(r.Requirement.URL)
	if err != nil {
		return nil, r.problem("the URL cannot be read", "")
	}
	if vcs, _, ok := strings.Cut(u.Scheme, "+"); ok {
		return nil, r.problem(fmt.Sprintf("a checkout of a %s repository would have to be built", vcs), build)
	}
	f, err := o.Source.Direct(r.Requirement.URL)
	if err != nil {
		return nil, r.problem(err.Error(), "give the URL of a wheel (.whl) or of an sdist (.tar.gz)")
	}
	if f.Kind != index.Wheel && !o.Build {
		return nil, r.problem("an sdist would have to be built", build)
	}
	return &f, nil
}

// checkHashes holds what --require-hashes asks of requirements: a version, and
// a hash.
func checkHashes(o *Options, roots []root, demands map[string]*demand) error {
	if !o.RequireHashes {
		return nil
	}
	for _, r := range roots {
		d := demands[r.name]
		switch {
		case r.constraint:
		case d.hashes == nil && (d.file == nil || d.file.Hashes == nil):
			return r.problem("it has no hash, and hashes are required", "add --hash=sha256:... to every requirement, or to none")
		case d.file == nil && len(d.pins) == 0:
			return r.problem("it does not pin a version (==), which is needed where hashes are required", "")
		}
	}
	return nil
}
