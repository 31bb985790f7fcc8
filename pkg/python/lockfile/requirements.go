package lockfile

import (
	"fmt"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/python"
)

// RequirementsOptions say how a requirements file is written. The zero value is
// one line a package.
type RequirementsOptions struct {
	// Header are lines of comment at the top, without "#".
	Header []string
	// Hashes writes those of the files that were chosen, for all targets.
	Hashes bool
	// Via adds a comment that says who needs a package, Source what it says for
	// those that the user asked for: "-r requirements.in".
	Via    bool
	Source string
	// Extras keeps extras, "uvicorn[standard]==1.0", which all that is listed
	// makes superfluous.
	Extras bool
	// URLs are the direct references (PEP 508) of packages that do not come
	// from an index, by normalized name: "name @ URL".
	URLs map[string]string
	// IndexURL and ExtraIndexURLs are written as options at the top.
	IndexURL       string
	ExtraIndexURLs []string
}

// requirements writes the file. The error is an *ApartError, as that of Merge.
func requirements(locks []python.Lock, o RequirementsOptions) (string, error) {
	entries, p, err := gather(locks)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, h := range o.Header {
		b.WriteString(strings.TrimRight("# "+h, " ") + "\n")
	}
	if o.IndexURL != "" {
		b.WriteString("--index-url " + o.IndexURL + "\n")
	}
	for _, u := range o.ExtraIndexURLs {
		b.WriteString("--extra-index-url " + u + "\n")
	}
	if o.IndexURL != "" || len(o.ExtraIndexURLs) > 0 {
		b.WriteString("\n")
	}
	for _, e := range entries {
		b.WriteString(e.line(p, o))
	}
	return b.String(), nil
}

// line writes one package with what belongs to it.
func (e *entry) line(p *partition, o RequirementsOptions) string {
	var extras, hashes, via []string
	for i, l := range e.of {
		if !e.in[i] {
			continue
		}
		extras = append(extras, l.Extras...)
		hashes = append(append(hashes, hashList(l.Wheel.Hashes)...), hashList(l.Sdist.Hashes)...)
		via = append(via, l.RequiredBy...)
		if l.Requested && o.Source != "" {
			via = append(via, o.Source)
		}
	}
	text := e.name
	if extras = sortedSet(extras); o.Extras && len(extras) > 0 {
		text += "[" + strings.Join(extras, ",") + "]"
	}
	if u := o.URLs[e.name]; u != "" {
		text += " @ " + withoutUser(u)
	} else {
		text += "==" + e.version.String()
	}
	if m := p.marker(e.in); m != "" {
		text += " ; " + m
	}
	if o.Hashes {
		for _, h := range sortedSet(hashes) {
			text += " \\\n    --hash=" + h
		}
	}
	text += "\n"
	if via = sortedSet(via); o.Via && len(via) == 1 {
		text += fmt.Sprintf("    # via %s\n", via[0])
	} else if o.Via && len(via) > 1 {
		text += "    # via\n"
		for _, v := range via {
			text += fmt.Sprintf("    #   %s\n", v)
		}
	}
	return text
}

// pinned is the requirement of exactly one version. A local version is part of
// it (PEP 440, "Version matching").
func pinned(name string, version python.Version) (python.Requirement, error) {
	s, err := python.ParseSpecifiers("==" + version.String())
	return python.Requirement{Name: name, Specifiers: s}, err
}
