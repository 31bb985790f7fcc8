package lockfile

import (
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project/document"
)

// ReadPylock reads a lock file of PEP 751. name may have folders before it:
// paths in the file are relative to them. The error is a *python.FileError.
func ReadPylock(name string, data []byte) (*File, error) {
	t, err := document.TOML(name, data)
	if err != nil {
		return nil, err
	}
	r := &pylockReader{f: &File{name: name}}
	r.file(t)
	if err := t.Err(); err != nil {
		return nil, err
	}
	return r.f, nil
}

type pylockReader struct{ f *File }

func (r *pylockReader) file(t *document.Table) {
	f := r.f
	v := t.Get("lock-version")
	f.LockVersion = v.String()
	version, err := python.ParseVersion(f.LockVersion)
	switch {
	case !v.Exists():
		t.Failf("lock-version is missing (PEP 751)")
		return
	case err != nil:
		v.Fail(err)
		return
	case version.Number(0) != 1 || version.Epoch() != "0":
		// "Tools MUST raise an error if the major version is unsupported."
		v.Fail(&VersionError{"PEP 751", f.LockVersion, "1.0"})
		return
	case version.Number(1) != 0:
		f.Warnings = append(f.Warnings, fmt.Sprintf("lock-version is %s; what is newer than 1.0 is set aside", f.LockVersion))
	}
	for _, e := range t.Get("environments").Array() {
		f.Environments = append(f.Environments, marker(e))
	}
	f.RequiresPython = specifiers(t.Get("requires-python"))
	f.Extras = r.names(t.Get("extras"))
	f.DependencyGroups = r.names(t.Get("dependency-groups"))
	f.DefaultGroups = r.names(t.Get("default-groups"))
	f.CreatedBy = required(t, "created-by")
	f.Tool = tool(t)
	packages := t.Get("packages")
	if !packages.Exists() {
		t.Failf("packages is missing (PEP 751)")
	}
	for _, e := range packages.Array() {
		f.Packages = append(f.Packages, r.pkg(e.Table()))
	}
	r.newer(t)
}

// newer notes the keys that version 1.0 does not have.
func (r *pylockReader) newer(t *document.Table) {
	t.Unknown(func(_ string, v document.Value, nearest string) {
		text := fmt.Sprintf("line %d: %s is not known and set aside", v.Line, v.Path)
		if nearest != "" {
			text += "; did you mean " + nearest + "?"
		}
		const most = 100
		if len(r.f.Warnings) < most {
			r.f.Warnings = append(r.f.Warnings, text)
		}
	})
}

func (r *pylockReader) names(v document.Value) []string {
	if !v.Exists() {
		return nil
	}
	list := []string{}
	for _, e := range v.Array() {
		if n := e.String(); !python.ValidName(n) {
			e.Failf("%s: %q is not a valid name", e.Path, n)
		}
		list = append(list, python.NormalizeName(e.String()))
	}
	return list
}

func tool(t *document.Table) map[string]any {
	if v := t.Get("tool"); v.Exists() {
		return v.Table().Plain()
	}
	return nil
}

// required is a string that must be there.
func required(t *document.Table, key string) string {
	v := t.Get(key)
	if s := v.String(); s != "" {
		return s
	}
	v.Failf("%s is missing", v.Path)
	return ""
}

func marker(v document.Value) python.Marker {
	text := v.String()
	if !v.Exists() {
		return python.Marker{}
	}
	m, err := python.ParseMarker(text)
	if err != nil {
		v.Fail(err)
	}
	return m
}

func specifiers(v document.Value) python.Specifiers {
	s, err := python.ParseSpecifiers(v.String())
	if err != nil {
		v.Fail(err)
	}
	return s
}

func version(v document.Value) python.Version {
	if !v.Exists() {
		return python.Version{}
	}
	version, err := python.ParseVersion(v.String())
	if err != nil {
		v.Fail(err)
	}
	return version
}

// nameOf reads the name of a package, normalized.
func nameOf(t *document.Table) string {
	name := required(t, "name")
	if name != "" && !python.ValidName(name) {
		t.Get("name").Failf("%q is not a valid name (PEP 508)", name)
	}
	return python.NormalizeName(name)
}

func (r *pylockReader) pkg(t *document.Table) Package {
	p := Package{line: t.Line, Name: nameOf(t)}
	if name := t.String("name"); name != p.Name {
		t.Get("name").Failf("the name %q is not normalized (PEP 751)", name)
	}
	p.Version = version(t.Get("version"))
	p.Marker = marker(t.Get("marker"))
	p.RequiresPython = specifiers(t.Get("requires-python"))
	p.Index = withoutUser(t.String("index"))
	for _, d := range t.Get("dependencies").Tables() {
		dep := Dependency{Name: python.NormalizeName(d.String("name")), Version: version(d.Get("version"))}
		d.Unknown(func(key string, v document.Value, _ string) {
			if dep.Other == nil {
				dep.Other = map[string]any{}
			}
			dep.Other[key] = v.Plain()
		})
		if dep.Name == "" && dep.Version.IsZero() && dep.Other == nil {
			d.Failf("%s is empty", d.Path)
		}
		p.Dependencies = append(p.Dependencies, dep)
	}
	for _, a := range t.Get("attestation-identities").Tables() {
		required(a, "kind")
		p.AttestationIdentities = append(p.AttestationIdentities, a.Plain())
	}
	p.Tool = tool(t)
	if v := t.Get("vcs"); v.Exists() {
		p.VCS = r.vcs(v.Table())
	}
	if v := t.Get("directory"); v.Exists() {
		d := v.Table()
		p.Directory = &Source{Path: required(d, "path"), Editable: d.Bool("editable"), Subdirectory: subdirectory(d)}
		r.newer(d)
	}
	if v := t.Get("archive"); v.Exists() {
		a := r.artifact(v.Table(), true)
		p.Archive = &a
	}
	if v := t.Get("sdist"); v.Exists() {
		a := r.artifact(v.Table(), false)
		r.isOf(v.Table(), p, a.Filename)
		p.Sdist = &a
	}
	for _, w := range t.Get("wheels").Tables() {
		a := r.artifact(w, false)
		r.isOf(w, p, a.Filename)
		p.Wheels = append(p.Wheels, a)
	}
	r.exclusive(t)
	r.newer(t)
	return p
}

// exclusive holds the rule of which sources go together.
func (r *pylockReader) exclusive(t *document.Table) {
	var found []string
	for _, key := range [...]string{"vcs", "directory", "archive"} {
		if t.Has(key) {
			found = append(found, key)
		}
	}
	files := t.Has("sdist") || t.Has("wheels")
	switch {
	case len(found) > 1:
		t.Failf("%s has %s, which exclude one another (PEP 751)", t.Path, strings.Join(found, " and "))
	case len(found) == 1 && files:
		t.Failf("%s has %s beside wheels or an sdist, which exclude one another (PEP 751)", t.Path, found[0])
	case len(found) == 0 && !files:
		t.Failf("%s has no source: none of wheels, sdist, archive, directory and vcs (PEP 751)", t.Path)
	}
}

// isOf checks that a file belongs to a package by its name. One whose name is
// not in the form of today, such as an old .tar.bz2, may be listed.
func (r *pylockReader) isOf(t *document.Table, p Package, filename string) {
	name, version, err := fileVersion(filename)
	switch {
	case err != nil || t.Err() != nil:
	case name != p.Name || !p.Version.IsZero() && !version.Equal(p.Version):
		t.Failf("%s is a file of %s %s, and not of %s %s", filename, name, version, p.Name, p.Version)
	}
}

func (r *pylockReader) vcs(t *document.Table) *VCS {
	v := &VCS{Type: required(t, "type"), URL: withoutUser(t.String("url")), Path: t.String("path"), RequestedRevision: t.String("requested-revision"),
		CommitID: required(t, "commit-id"), Subdirectory: subdirectory(t)}
	if v.URL == "" && v.Path == "" {
		t.Failf("%s has neither url nor path", t.Path)
	}
	r.newer(t)
	return v
}

func (r *pylockReader) artifact(t *document.Table, archive bool) Artifact {
	a := Artifact{Path: t.String("path")}
	a.URL = withoutUser(t.String("url"))
	a.Filename = t.String("name")
	a.UploadTime = t.Get("upload-time").Time()
	if a.Size = t.Get("size").Int(); a.Size < 0 {
		t.Get("size").Failf("the size %d is negative", a.Size)
	}
	if a.Filename == "" {
		switch { // PEP 751: the last component of path, else of url
		case a.Path != "":
			a.Filename = lastOf(a.Path)
		case a.URL != "":
			a.Filename = lastOf(a.URL)
		}
	}
	switch {
	case a.URL == "" && a.Path == "":
		t.Failf("%s has neither url nor path", t.Path)
	case strings.ContainsAny(a.Filename, "/\\") || a.Filename == "." || a.Filename == "..":
		t.Failf("%s: %q is not the name of a file", t.Path, a.Filename)
	}
	a.Hashes = hashes(t.Get("hashes"))
	if archive {
		a.Subdirectory = subdirectory(t)
	}
	r.newer(t)
	return a
}

// hashes reads a table of them, of which at least one must be safe.
func hashes(v document.Value) map[string]string {
	t := v.Table()
	m := map[string]string{}
	safe := false
	for _, algorithm := range t.Keys() {
		h := t.Get(algorithm)
		digest := strings.ToLower(h.String())
		if _, err := hex.DecodeString(digest); err != nil || digest == "" {
			h.Failf("%s is not hexadecimal", h.Path)
		}
		algorithm = strings.ToLower(algorithm)
		if slices.Contains([]string{"sha256", "sha384", "sha512"}, algorithm) {
			if _, err := python.ParseHash(algorithm + ":" + digest); err != nil {
				h.Fail(err)
			}
			safe = true
		}
		m[algorithm] = digest
	}
	if !safe {
		v.Failf("%s: a sha256, sha384 or sha512 hash is needed", v.Path)
	}
	return m
}

// subdirectory must not lead out of what it is in.
func subdirectory(t *document.Table) string {
	v := t.Get("subdirectory")
	if leadsOut(v.String()) {
		v.Failf("%s: %q leads out", v.Path, v.String())
	}
	return v.String()
}

// leadsOut reports whether a path leaves the folder it is relative to.
func leadsOut(p string) bool {
	p = slashed(p)
	return path.IsAbs(p) || path.Clean(p) == ".." || strings.HasPrefix(path.Clean(p), "../")
}
