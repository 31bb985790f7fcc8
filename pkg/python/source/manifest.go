package source

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// manifest returns the files that setuptools would put into an sdist, as far as
// they can be data of a package: those that it always takes, those that were in
// the sdist that the tree comes from, and what MANIFEST.in says ("Controlling
// files in the distribution").
func (b *setuptools) manifest() ([]string, error) {
	set := map[string]bool{}
	for _, pattern := range []string{"tests/test*.py", "test/test*.py"} {
		found, _ := b.s.globFiles(pattern, false)
		add(set, found)
	}
	for _, pkg := range b.packages {
		dir := path.Clean(b.dir(pkg))
		found, err := b.packageDataFiles(pkg, dir)
		if err == nil {
			found, err = b.withoutExcluded(pkg, dir, found)
		}
		if err != nil {
			return nil, err
		}
		add(set, found)
	}
	name := regexp.MustCompile(`[^A-Za-z0-9.]+`).ReplaceAllString(b.core.name, "_") + ".egg-info/SOURCES.txt"
	if list := path.Join(b.packageDir[""], name); b.s.isFile(list) {
		text, err := b.s.text(list)
		if err != nil {
			return nil, err
		}
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' && b.s.isFile(line) {
				set[path.Clean(line)] = true
			}
		}
	}
	if b.s.isFile("MANIFEST.in") {
		if err := b.template(set); err != nil {
			return nil, err
		}
	}
	add(set, b.core.licenseFiles)
	add(set, b.referenced)
	var files []string
	for f := range set {
		if first, _, _ := strings.Cut(f, "/"); !pruned.MatchString("/"+f) && first != "build" && b.s.isFile(f) {
			files = append(files, f)
		}
	}
	slices.Sort(files)
	return files, nil
}

// pruned are directories that no sdist has.
var pruned = regexp.MustCompile(`/(RCS|CVS|\.svn|\.hg|\.git|\.bzr|_darcs)/|^/(\.tox|\.nox|\.venv)/`)

func add(set map[string]bool, files []string) {
	for _, f := range files {
		set[path.Clean(f)] = true
	}
}

// template does what the lines of MANIFEST.in say.
func (b *setuptools) template(set map[string]bool) error {
	text, err := b.s.text("MANIFEST.in")
	if err != nil {
		return err
	}
	b.s.noLinksBelow("")
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.SplitSeq(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if !b.command(set, words[0], words[1:]) {
			return &NeedsBuildError{File: "MANIFEST.in", Reason: "the line is not followed here: " + strings.TrimSpace(line)}
		}
	}
	return nil
}

// command does one command. ok is false for one that is not understood.
func (b *setuptools) command(set map[string]bool, name string, args []string) (ok bool) {
	dir := ""
	if name == "recursive-include" || name == "recursive-exclude" {
		if len(args) < 2 {
			return false
		}
		dir, args = args[0], args[1:]
	}
	if len(args) == 0 {
		return false
	}
	for _, pattern := range args {
		switch name {
		case "include", "exclude":
			if strings.Contains(pattern, "**") {
				return false
			}
		case "recursive-include", "recursive-exclude":
			pattern = path.Join(dir, "**", pattern)
		case "global-include", "global-exclude":
			pattern = "**/" + pattern
		case "graft", "prune":
			pattern = path.Join(pattern, "**")
		default:
			return false
		}
		if path.IsAbs(pattern) || strings.Contains(pattern, "..") || rangeClass.MatchString(pattern) {
			return false
		}
		re, ok := globExpression(pattern, true)
		if !ok {
			return false
		}
		switch name {
		case "exclude", "recursive-exclude", "global-exclude", "prune":
			for f := range set {
				if re.MatchString(f) {
					delete(set, f)
				}
			}
		default:
			for _, e := range b.s.tree.Entries() {
				if re.MatchString(e.Path) && b.s.isFile(e.Path) {
					set[e.Path] = true
				}
			}
		}
	}
	return true
}

// rangeClass is a class with a range in it, which setuptools takes literally in
// some commands.
var rangeClass = regexp.MustCompile(`\[[^\]]*-[^\]]*\]`)
