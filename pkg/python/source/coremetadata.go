package source

import (
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
	"github.com/boyabuild/boyabuild/pkg/python/project"
)

// coreMetadata is what METADATA says ("Core metadata specifications"). Empty
// fields are left out.
type coreMetadata struct {
	metadataVersion             string
	name                        string // as the project spells it
	version                     python.Version
	dynamic                     []string
	platforms                   []string
	summary                     string
	description, contentType    string
	keywords                    string // separated by commas
	homePage, downloadURL       string
	author, authorEmail         string
	maintainer, maintainerEmail string
	license, licenseExpression  string
	licenseFiles                []string // relative to the project
	classifiers                 []string
	requiresDist                []string
	requiresPython              string
	urls                        []string // "label, URL"
	extras                      []string
	importNames                 []string // nil = not said, empty = there are none
	importNamespaces            []string
}

// bytes writes METADATA: headers, an empty line, the description.
func (m coreMetadata) bytes() []byte {
	var b strings.Builder
	one := func(name, value string) {
		if value == "" {
			return
		}
		// RFC 822: a value goes on in lines that begin with white space.
		lines := strings.Split(strings.TrimSpace(value), "\n")
		for i, line := range lines {
			if line = strings.TrimRight(line, " \t\r"); i == 0 {
				b.WriteString(name + ": " + line + "\n")
			} else {
				b.WriteString("        " + line + "\n")
			}
		}
	}
	all := func(name string, values []string) {
		for _, v := range values {
			one(name, v)
		}
	}
	one("Metadata-Version", m.metadataVersion)
	one("Name", m.name)
	one("Version", m.version.String())
	if m.importNames != nil && len(m.importNames) == 0 && len(m.importNamespaces) == 0 {
		b.WriteString("Import-Name:\n") // PEP 794: there is nothing to import
	}
	all("Import-Name", m.importNames)
	all("Import-Namespace", m.importNamespaces)
	all("Dynamic", m.dynamic)
	all("Platform", m.platforms)
	one("Summary", m.summary)
	one("Home-page", m.homePage)
	one("Download-URL", m.downloadURL)
	all("Project-URL", m.urls)
	one("Author", m.author)
	one("Author-email", m.authorEmail)
	one("Maintainer", m.maintainer)
	one("Maintainer-email", m.maintainerEmail)
	one("License", m.license)
	one("License-Expression", m.licenseExpression)
	all("License-File", m.licenseFiles)
	one("Keywords", m.keywords)
	all("Classifier", m.classifiers)
	one("Requires-Python", m.requiresPython)
	all("Provides-Extra", m.extras)
	all("Requires-Dist", m.requiresDist)
	one("Description-Content-Type", m.contentType)
	if m.description != "" {
		b.WriteString("\n" + m.description)
		if !strings.HasSuffix(m.description, "\n") {
			b.WriteString("\n")
		}
	}
	return []byte(b.String())
}

// coreOf returns what all back-ends take from [project] in the same way. What
// they do not is theirs to fill in: version, licenses, dependencies of Poetry.
func coreOf(s *sourceTree, p *project.Project) (coreMetadata, error) {
	m := coreMetadata{
		name: p.Name, version: p.Version, summary: p.Description,
		keywords: strings.Join(p.Keywords, ","), classifiers: p.Classifiers,
		requiresPython: p.RequiresPython.String(), licenseExpression: p.License.Expression,
	}
	m.author, m.authorEmail = people(p.Authors)
	m.maintainer, m.maintainerEmail = people(p.Maintainers)
	for _, u := range p.URLs {
		m.urls = append(m.urls, u.Label+", "+u.URL)
	}
	for _, r := range p.Dependencies {
		m.requiresDist = append(m.requiresDist, canonical(r.Requirement).String())
	}
	for _, g := range p.OptionalDependencies {
		if err := m.addExtra(p, g); err != nil {
			return m, err
		}
	}
	m.importNames, m.importNamespaces = p.ImportNames, p.ImportNamespaces
	m.contentType, m.description = p.Readme.ContentType, p.Readme.Text
	if p.Readme.File != "" {
		text, err := s.text(p.Readme.File)
		if err != nil {
			return m, err
		}
		if m.contentType == "" {
			return m, keyed(p, "project.readme", "what kind of text %s is can only be guessed", p.Readme.File)
		}
		m.description = text
	}
	return m, nil
}

// addExtra adds an extra with its requirements.
func (m *coreMetadata) addExtra(p *project.Project, g project.Group) error {
	m.extras = append(m.extras, g.Name)
	for _, r := range g.Requirements {
		text, err := underExtra(r.Requirement, g.Name)
		if err != nil {
			return keyed(p, "project.optional-dependencies", "%v", err)
		}
		m.requiresDist = append(m.requiresDist, text)
	}
	return nil
}

// underExtra writes a requirement that holds for an extra only.
func underExtra(r python.Requirement, extra string) (string, error) {
	m, err := python.ParseMarker(`extra == "` + extra + `"`)
	if err != nil {
		return "", err
	}
	r = canonical(r)
	if r.Marker, err = project.And(r.Marker, m); err != nil {
		return "", err
	}
	return r.String(), nil
}

// canonical returns a requirement with normalized extras, as metadata should
// have them (PEP 685).
func canonical(r python.Requirement) python.Requirement {
	r.Extras = r.ExtraKeys()
	return r
}

// people writes authors or maintainers as PEP 621 has it: those with an address
// in the one field, the others in the other.
func people(list []project.Person) (names, emails string) {
	var n, e []string
	for _, p := range list {
		switch {
		case p.Email == "":
			n = append(n, p.Name)
		case p.Name == "":
			e = append(e, p.Email)
		default:
			e = append(e, mailbox(p.Name, p.Email))
		}
	}
	return strings.Join(n, ", "), strings.Join(e, ", ")
}

// mailbox writes "name <address>" (RFC 5322, "name-addr").
func mailbox(name, address string) string {
	if strings.ContainsAny(name, `()<>@,:;."[]\`) {
		name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return name + " <" + address + ">"
}

// licenseFiles returns the files that patterns name, each once, sorted. With
// required, each pattern must name one (PEP 639).
func (s *sourceTree) licenseFiles(p *project.Project, patterns []string, required, hidden bool) ([]string, error) {
	var files []string
	for _, pattern := range patterns {
		found, ok := s.globFiles(pattern, hidden)
		if !ok {
			return nil, keyed(p, "project.license-files", "the pattern %q is not followed here", pattern)
		}
		if required && len(found) == 0 {
			return nil, keyed(p, "project.license-files", "no file matches %q", pattern)
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// defaultLicenses are the files that all back-ends take for licenses (PEP 639).
func defaultLicenses() []string { return []string{"LICEN[CS]E*", "COPYING*", "NOTICE*", "AUTHORS*"} }

// onlyDynamic refuses dynamic fields other than those that are known.
func onlyDynamic(p *project.Project, known ...string) error {
	for _, field := range p.Dynamic {
		if !slices.Contains(known, field) {
			return keyed(p, "project.dynamic", "%s is found by running code", field)
		}
	}
	return nil
}
