package python

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Limits on requirements files, which may come from a URL and include others.
const (
	maxRequirementsBytes = 16 << 20 // of one file
	maxRequirementsFiles = 1000     // read in all
	maxRequirementsDepth = 64       // that include one another
)

// RequirementsFile is what requirements files say: those that were read, with
// all that they include, in the order of reading. It is also what the options
// of a pip command line add up to.
type RequirementsFile struct {
	Requirements []FileRequirement
	Constraints  []FileRequirement // versions that are allowed if something else asks for the project

	IndexURL       string   // the last one given; "" = the default
	ExtraIndexURLs []string // in order, each once
	FindLinks      []string // folders, HTML pages; folders are relative to where the file that names them is
	// LinksAsWritten are the folders of FindLinks as their files have them: where
	// there is none beside the file, pip looks in the working directory.
	LinksAsWritten map[string]string
	NoIndex        bool // IndexURL and ExtraIndexURLs are then empty
	TrustedHosts   []string

	// Names of projects, normalized, sorted, or ":all:". A name is in at most
	// one of the two lists.
	NoBinary, OnlyBinary []string
	// Likewise: pre-releases of these are welcome, or are never taken.
	AllReleases, OnlyFinal []string
	Pre                    bool // pre-releases of all projects are welcome
	PreferBinary           bool // an older wheel is better than a newer sdist

	RequireHashes   bool // asked for, or some requirement has hashes
	NoRequireHashes bool // hashes of some do not ask for those of all

	// UseFeatures are names given to --use-feature. They turn on parts of pip
	// and mean nothing to anybody else.
	UseFeatures []string
}

// FileRequirement is one requirement of a file or a command line.
type FileRequirement struct {
	Requirement Requirement
	// Path is a local wheel, sdist or directory of source code, as written:
	// relative to the working directory, not to the file (as pip has it).
	// Requirement.URL is then "" or a file: URL, and Requirement.Name is "" where
	// only the directory tells.
	Path     string
	Editable bool     // -e: Path is a directory
	Hashes   []string // "sha256:hex", any of which will do; lower-case
	// ConfigSettings are passed to the back-end that builds it: "KEY=VALUE".
	ConfigSettings []string
	File           string // where it is written; "" for a command line
	Line           int
}

// ReadFunc returns the content of a requirements file: of the name that was
// asked for first, a path joined to the folder of the file that includes it,
// or a URL.
type ReadFunc func(name string) ([]byte, error)

// ReadRequirements reads a requirements file and what it includes, in the
// format of pip. env looks up ${VARIABLES}; nil, or an unset or empty one,
// leaves them as they are, like pip. Errors in a file are *FileError.
func ReadRequirements(name string, read ReadFunc, env func(string) (string, bool)) (RequirementsFile, error) {
	return readRequirements(name, read, env, false)
}

// ReadConstraints is ReadRequirements for a file given as constraints.
func ReadConstraints(name string, read ReadFunc, env func(string) (string, bool)) (RequirementsFile, error) {
	return readRequirements(name, read, env, true)
}

func readRequirements(name string, read ReadFunc, env func(string) (string, bool), constraint bool) (RequirementsFile, error) {
	r := &requirementsReader{read: read, env: env}
	if err := r.file(name, constraint); err != nil {
		return RequirementsFile{}, err
	}
	r.out.impliedHashes()
	return r.out, nil
}

// requirementsReader reads files that include one another.
type requirementsReader struct {
	read  ReadFunc
	env   func(string) (string, bool)
	stack []string // files being read, the innermost last
	files int
	out   RequirementsFile
}

func (r *requirementsReader) file(name string, constraint bool) error {
	if r.files++; r.files > maxRequirementsFiles {
		return fmt.Errorf("more than %d files are included", maxRequirementsFiles)
	}
	data, err := r.read(name)
	if err == nil && len(data) > maxRequirementsBytes {
		err = fmt.Errorf("larger than %d bytes", maxRequirementsBytes)
	}
	if err != nil {
		return &FileError{File: name, Err: err}
	}
	text, err := decodeText(data)
	if err != nil {
		return &FileError{File: name, Err: err}
	}
	r.stack = append(r.stack, name)
	defer func() { r.stack = r.stack[:len(r.stack)-1] }()
	for _, l := range logicalLines(text) {
		if err := r.line(name, l, constraint); err != nil {
			return err
		}
	}
	return nil
}

// line does what one logical line says.
func (r *requirementsReader) line(file string, l logicalLine, constraint bool) error {
	fail := func(err error) error { return &FileError{File: file, Line: l.number, Err: err} }
	requirement, options, err := splitOptions(expandVariables(l.text, r.env))
	if err != nil {
		return fail(err)
	}
	req := FileRequirement{File: file, Line: l.number}
	once := map[string]bool{}
	for _, o := range options {
		switch o.name {
		case "--editable", "--requirement", "--constraint", "--find-links":
			if once[o.name] {
				return fail(fmt.Errorf("%s stands there twice, of which pip takes one; write one a line", o.name))
			}
			once[o.name] = true
		}
		if requirement != "" && !o.onRequirement {
			return fail(fmt.Errorf("%s cannot stand behind a requirement", o.name))
		}
		switch o.name {
		case "--editable":
			if constraint {
				return fail(fmt.Errorf("an editable requirement cannot be a constraint"))
			}
			e, err := ParseEditable(o.value)
			if err != nil {
				return fail(err)
			}
			e.File, e.Line = file, l.number
			r.out.Requirements = append(r.out.Requirements, e)
		case "--requirement", "--constraint":
			if err := r.include(file, l.number, o.value, o.name == "--constraint"); err != nil {
				return err
			}
		default:
			if err := r.out.apply(o, file, &req); err != nil {
				return fail(err)
			}
		}
	}
	if requirement == "" {
		if len(req.Hashes) > 0 {
			return fail(fmt.Errorf("--hash without a requirement"))
		}
		return nil
	}
	hashes, settings := req.Hashes, req.ConfigSettings
	if req, err = ParseReference(requirement); err != nil {
		return fail(err)
	}
	req.File, req.Line, req.ConfigSettings = file, l.number, settings
	if len(hashes) > 0 {
		req.Hashes = hashes
	}
	if !constraint {
		r.out.Requirements = append(r.out.Requirements, req)
		return nil
	}
	if len(req.Requirement.Extras) > 0 {
		return fail(fmt.Errorf("constraint %s has extras, which constraints cannot have", req.Requirement.Name))
	}
	r.out.Constraints = append(r.out.Constraints, req)
	return nil
}

// include reads a file that line of file names. As with pip, -r in a file of
// constraints includes requirements.
func (r *requirementsReader) include(file string, line int, name string, constraint bool) error {
	name, err := includedName(file, name)
	switch {
	case err != nil:
	case slices.Contains(r.stack, name):
		err = fmt.Errorf("%s includes itself", redact(name))
	case len(r.stack) >= maxRequirementsDepth:
		err = fmt.Errorf("more than %d files include one another", maxRequirementsDepth)
	default:
		if err = r.file(name, constraint); err == nil {
			return nil
		}
		if f, ok := err.(*FileError); ok && f.Line > 0 {
			return err // the place is in the included file
		}
	}
	return &FileError{File: file, Line: line, Err: err}
}

// includedName resolves the name of an included file against the including
// one; both may be URLs.
func includedName(from, name string) (string, error) {
	switch {
	case isURL(from):
		base, err := url.Parse(from)
		if err != nil {
			return "", fmt.Errorf("%s is not a URL", redact(from))
		}
		ref, err := url.Parse(name)
		if err != nil {
			return "", fmt.Errorf("%s is not a URL", redact(name))
		}
		return base.ResolveReference(ref).String(), nil
	case isURL(name), path.IsAbs(name):
		return name, nil
	}
	return path.Join(path.Dir(from), name), nil
}

// impliedHashes turns the hash mode on where some requirement has hashes, as
// pip does.
func (f *RequirementsFile) impliedHashes() {
	hashed := func(r FileRequirement) bool { return len(r.Hashes) > 0 }
	if !f.NoRequireHashes && (slices.ContainsFunc(f.Requirements, hashed) || slices.ContainsFunc(f.Constraints, hashed)) {
		f.RequireHashes = true
	}
}

// Merge adds what o says to f; where only one answer can hold, o's does.
func (f *RequirementsFile) Merge(o RequirementsFile) {
	f.Requirements = append(f.Requirements, o.Requirements...)
	f.Constraints = append(f.Constraints, o.Constraints...)
	f.FindLinks = appendNew(f.FindLinks, o.FindLinks...)
	if len(o.LinksAsWritten) > 0 {
		written := maps.Clone(o.LinksAsWritten)
		maps.Copy(written, f.LinksAsWritten)
		f.LinksAsWritten = written
	}
	f.TrustedHosts = appendNew(f.TrustedHosts, o.TrustedHosts...)
	f.UseFeatures = appendNew(f.UseFeatures, o.UseFeatures...)
	if o.NoIndex {
		f.SetNoIndex()
	}
	if !f.NoIndex {
		if o.IndexURL != "" {
			f.IndexURL = o.IndexURL
		}
		f.ExtraIndexURLs = appendNew(f.ExtraIndexURLs, o.ExtraIndexURLs...)
	}
	mergeChoices(&f.NoBinary, &f.OnlyBinary, o.NoBinary, o.OnlyBinary)
	mergeChoices(&f.AllReleases, &f.OnlyFinal, o.AllReleases, o.OnlyFinal)
	f.Pre = f.Pre || o.Pre
	f.PreferBinary = f.PreferBinary || o.PreferBinary
	f.RequireHashes = f.RequireHashes || o.RequireHashes
	f.NoRequireHashes = f.NoRequireHashes || o.NoRequireHashes
}

func appendNew(list []string, values ...string) []string {
	for _, v := range values {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// SetNoIndex does what --no-index says.
func (f *RequirementsFile) SetNoIndex() {
	f.NoIndex, f.IndexURL, f.ExtraIndexURLs = true, "", nil
}

// AddNoBinary does what --no-binary says: names separated by commas, ":all:"
// or ":none:".
func (f *RequirementsFile) AddNoBinary(value string) { chooseAll(&f.NoBinary, &f.OnlyBinary, value) }

// AddOnlyBinary does what --only-binary says, like AddNoBinary.
func (f *RequirementsFile) AddOnlyBinary(value string) { chooseAll(&f.OnlyBinary, &f.NoBinary, value) }

// AddAllReleases does what --all-releases says, like AddNoBinary.
func (f *RequirementsFile) AddAllReleases(value string) {
	chooseAll(&f.AllReleases, &f.OnlyFinal, value)
}

// AddOnlyFinal does what --only-final says, like AddNoBinary.
func (f *RequirementsFile) AddOnlyFinal(value string) { chooseAll(&f.OnlyFinal, &f.AllReleases, value) }

// chooseAll applies a list of names to a pair of lists that exclude each
// other. ":all:" covers what was said of single projects, and what comes
// before it.
func chooseAll(target, other *[]string, value string) {
	names := strings.Split(value, ",")
	for i := slices.Index(names, ":all:"); i >= 0; i = slices.Index(names, ":all:") {
		*target, *other = []string{":all:"}, nil
		names = names[i+1:]
		if !slices.Contains(names, ":none:") {
			return
		}
	}
	for _, name := range names {
		switch name = strings.TrimSpace(name); name {
		case "":
		case ":none:":
			*target = nil
		default:
			choose(target, other, NormalizeName(name))
		}
	}
}

// mergeChoices applies the choices of another pair of lists, what it says of
// all projects first.
func mergeChoices(yes, no *[]string, otherYes, otherNo []string) {
	const all = ":all:"
	if slices.Contains(otherYes, all) || slices.Contains(otherNo, all) {
		*yes, *no = nil, nil
	}
	for _, name := range otherYes {
		choose(yes, no, name)
	}
	for _, name := range otherNo {
		choose(no, yes, name)
	}
}

// choose moves a name from one list to the other.
func choose(target, other *[]string, name string) {
	*other = slices.DeleteFunc(*other, func(s string) bool { return s == name })
	if i, found := slices.BinarySearch(*target, name); !found {
		*target = slices.Insert(*target, i, name)
	}
}

// AllowsWheels reports whether wheels of a project may be used, by
// --no-binary and --only-binary. What is said of the project wins over ":all:".
func (f RequirementsFile) AllowsWheels(name string) bool {
	return allowed(f.OnlyBinary, f.NoBinary, name) >= 0
}

// AllowsSdists reports whether source distributions of a project may be used,
// like AllowsWheels.
func (f RequirementsFile) AllowsSdists(name string) bool {
	return allowed(f.NoBinary, f.OnlyBinary, name) >= 0
}

// PrereleasesOf returns what --pre, --all-releases and --only-final say of a
// project.
func (f RequirementsFile) PrereleasesOf(name string) Prereleases {
	all := f.AllReleases
	if f.Pre {
		all = appendNew(slices.Clone(all), ":all:")
	}
	switch allowed(all, f.OnlyFinal, name) {
	case 1:
		return PrereleasesAllow
	case -1:
		return PrereleasesDeny
	}
	return PrereleasesDefault
}

// allowed returns 1 where yes holds for a project, -1 where no does, else 0.
func allowed(yes, no []string, name string) int {
	for _, n := range [...]string{NormalizeName(name), ":all:"} {
		switch {
		case slices.Contains(yes, n):
			return 1
		case slices.Contains(no, n):
			return -1
		}
	}
	return 0
}

// CheckHashes returns an error unless RequireHashes is false or every
// requirement that holds in env is pinned and has hashes, itself or by a
// constraint (pip, "Hash-checking mode"). It is a *FileError when the
// requirement is of a file.
func (f RequirementsFile) CheckHashes(env Environment) error {
	if !f.RequireHashes {
		return nil
	}
	for _, r := range f.Requirements {
		if !r.Requirement.Marker.Evaluate(env) {
			continue
		}
		pinned, hashed := r.pinned(), len(r.Hashes) > 0
		for _, c := range f.Constraints {
			if c.Requirement.Key() == r.Requirement.Key() && c.Requirement.Marker.Evaluate(env) {
				pinned, hashed = pinned || c.pinned(), hashed || len(c.Hashes) > 0
			}
		}
		if pinned && hashed {
			continue
		}
		err := &hintedError{
			cause: fmt.Sprintf("%s has no hash, and hashes are required of all when one has them", r.Requirement.Redacted()),
			hint:  "write all hashes with 'pip-compile --generate-hashes' or 'uv pip compile --generate-hashes'",
		}
		if !pinned {
			err.cause = fmt.Sprintf("%s is not pinned with ==, and hashes are required", r.Requirement.Redacted())
		}
		if r.File == "" {
			return err
		}
		return &FileError{File: r.File, Line: r.Line, Err: err}
	}
	return nil
}

// pinned reports whether only one version, or one file, will do.
func (r FileRequirement) pinned() bool {
	s := r.Requirement.Specifiers
	return r.Path != "" || r.Requirement.URL != "" ||
		len(s) == 1 && (s[0].Op == "===" || s[0].Op == "==" && !s[0].Prefix())
}
