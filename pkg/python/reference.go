package python

import (
	"fmt"
	"net/url"
	"path"
	"strings"
)

// ParseReference reads a requirement as pip takes it on a line of a file or as
// an argument: "name>=1; marker", "name @ URL", the URL or the path of a wheel
// or an sdist, the path of a directory of source code. A file without a name in
// front gives it one by its own; a directory has none before it is looked into.
// A marker follows "; ". The error is a *SyntaxError, or an *UnsupportedError
// for version control.
func ParseReference(s string) (FileRequirement, error) {
	if len(s) > maxRequirementLen {
		return FileRequirement{}, &SyntaxError{"requirement", s, -1, "too long"}
	}
	// pip splits the marker off first; in a URL, ";" needs white space behind.
	separator := ";"
	if isURL(s) || isVCS(s) {
		separator = "; "
	}
	text, condition, _ := strings.Cut(s, separator)
	text, condition = trimSpace(text), trimSpace(condition)
	r, err := parseReference(text)
	if err != nil {
		return FileRequirement{}, err
	}
	if condition != "" {
		if r.Requirement.Marker, err = ParseMarker(condition); err != nil {
			return FileRequirement{}, err
		}
	}
	return r, nil
}

// parseReference reads a reference without a marker.
func parseReference(text string) (FileRequirement, error) {
	name, _, at := strings.Cut(text, "@")
	named := at && !looksLikePath(name) && !strings.Contains(name, ":")
	switch {
	case isVCS(text):
		return FileRequirement{}, unsupportedVCS(text, "")
	case isURL(text), !named && strings.Contains(text, "://"):
		return fileReference(Requirement{URL: text})
	case !named:
		file, extras := cutExtras(text)
		if strings.HasSuffix(file, ".whl") || isArchive(file) || looksLikePath(text) {
			return localReference(file, extras)
		}
	}
	req, err := ParseRequirement(text)
	switch {
	case err != nil:
		return FileRequirement{}, err
	case req.URL == "":
		return FileRequirement{Requirement: req}, nil
	}
	return fileReference(req)
}

// fileReference checks the URL of a requirement, and takes the name from the
// file where there is none.
func fileReference(req Requirement) (FileRequirement, error) {
	if isVCS(req.URL) {
		return FileRequirement{}, unsupportedVCS(req.URL, req.Name)
	}
	bad := func(reason string) (FileRequirement, error) {
		return FileRequirement{}, &SyntaxError{"URL", req.URL, -1, reason}
	}
	u, err := url.Parse(req.URL)
	if err != nil {
		return bad("not a URL")
	}
	file := u.Path
	if u.Opaque != "" { // file:relative
		if file, err = url.PathUnescape(u.Opaque); err != nil {
			return bad("not a URL")
		}
	}
	local := u.Scheme == "" || u.Scheme == "file"
	if local && file == "" {
		return bad("names no file")
	}
	name, err := nameOfFile(path.Base(file))
	if egg := eggName(u.Fragment); name == "" && egg != "" { // as pip has it, of any archive
		if !ValidName(egg) {
			return bad(fmt.Sprintf("#egg=%s is no name of a project; write NAME[EXTRA] @ URL", egg))
		}
		if req.Name == "" {
			req.Name = egg
		}
	}
	switch {
	case err != nil:
		return FileRequirement{}, err
	case name == "" && !local && !isArchive(file):
		return bad("ends neither as a wheel nor as an sdist")
	case name == "" && !local && req.Name == "":
		return bad("does not say of which project it is; write NAME @ URL")
	case req.Name == "":
		req.Name = name
	case name != "" && req.Key() != name:
		return bad(fmt.Sprintf("is a file of %s, not of %s", name, req.Name))
	}
	r := FileRequirement{Requirement: req, Hashes: fragmentHashes(u.Fragment)}
	switch u.Scheme {
	case "http", "https":
	case "": // "name @ ./file.whl", which uv takes
		r.Path, r.Requirement.URL = file, ""
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return bad("a file: URL of another machine")
		}
		r.Path = file
	default:
		return bad(fmt.Sprintf("the scheme %s is none of https, http, file", u.Scheme))
	}
	return r, nil
}

// nameOfFile returns the normalised name of the project that a wheel or an
// sdist is of, "" where the file's name does not say.
func nameOfFile(base string) (string, error) {
	if strings.HasSuffix(base, ".whl") {
		w, err := ParseWheelName(base)
		return w.Name, err
	}
	if name, _, err := ParseSdistName(base); err == nil {
		return NormalizeName(name), nil
	}
	return "", nil
}

// localReference reads a path, with extras.
func localReference(file, extras string) (FileRequirement, error) {
	name, err := nameOfFile(path.Base(file))
	if err != nil {
		return FileRequirement{}, err
	}
	stand := name
	if stand == "" {
		stand = "x" // takes the extras' place until the directory is looked into
	}
	req, err := ParseRequirement(stand + extras)
	if err != nil {
		return FileRequirement{}, err
	}
	req.Name = name
	return FileRequirement{Requirement: req, Path: file}, nil
}

// ParseEditable reads what follows -e: a directory, with extras.
func ParseEditable(s string) (FileRequirement, error) {
	if isVCS(s) {
		return FileRequirement{}, unsupportedVCS(s, "")
	}
	text := s
	if !isURL(s) && !looksLikePath(s) { // pip takes it for a path whatever it looks like
		text = "./" + s
	}
	r, err := ParseReference(text)
	switch {
	case err != nil:
		return r, err
	case r.Path == "" || r.Requirement.Name != "":
		return r, &SyntaxError{"editable requirement", s, -1, "not a directory"}
	}
	r.Editable = true
	return r, nil
}

// cutExtras cuts "[a,b]" off a path.
func cutExtras(text string) (file, extras string) {
	if i := strings.LastIndexByte(text, '['); i > 0 && strings.HasSuffix(text, "]") {
		return trimSpace(text[:i]), text[i:]
	}
	return text, ""
}

// fragmentHashes reads hashes from the fragment of a URL,
// "sha256=hex&subdirectory=x".
func fragmentHashes(fragment string) (hashes []string) {
	for part := range strings.SplitSeq(fragment, "&") {
		if h, err := ParseHash(strings.Replace(part, "=", ":", 1)); err == nil {
			hashes = appendNew(hashes, h)
		}
	}
	return hashes
}

// eggName is the name in the fragment of a URL, "egg=name&subdirectory=x"; "" for
// none.
func eggName(fragment string) string {
	for part := range strings.SplitSeq(fragment, "&") {
		if name, ok := strings.CutPrefix(part, "egg="); ok {
			return name
		}
	}
	return ""
}

// isURL reports whether a reference begins like a URL of a file.
func isURL(s string) bool {
	scheme, _, ok := strings.Cut(s, ":")
	switch strings.ToLower(scheme) {
	case "http", "https", "file", "ftp":
		return ok
	}
	return false
}

// isVCS reports whether a reference begins like one to version control:
// "git+https://…", "svn+ssh://…", "git@host:…".
func isVCS(s string) bool {
	scheme, _, ok := strings.Cut(strings.ToLower(s), ":")
	system, _, plus := strings.Cut(scheme, "+")
	switch system {
	case "git", "hg", "svn", "bzr":
		return ok && plus || strings.HasPrefix(strings.ToLower(s), system+"://")
	}
	return strings.HasPrefix(s, "git@") && ok
}

// looksLikePath is pip's rule for what cannot be a name.
func looksLikePath(s string) bool {
	return strings.Contains(s, "/") || strings.HasPrefix(s, ".")
}

// isArchive reports whether a file is an archive of source code by its name.
func isArchive(file string) bool {
	file = strings.ToLower(file)
	for _, ext := range [...]string{
		".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar.lz", ".tlz", ".tar.lzma", ".zip",
	} {
		if strings.HasSuffix(file, ext) {
			return true
		}
	}
	return false
}

func unsupportedVCS(reference, name string) error {
	if name == "" {
		name = "NAME"
	}
	return &UnsupportedError{reference, "a version control reference", fmt.Sprintf(
		"name the archive of the commit (%s @ https://…/archive/COMMIT.zip), or a release of it, or build a wheel once ('pip wheel --no-deps URL') and name its file", name)}
}
