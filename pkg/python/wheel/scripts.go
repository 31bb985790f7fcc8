package wheel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// entryPoint is one console or GUI script: Name starts Module's Attr.
type entryPoint struct {
	name   string // of the script
	module string // "flask.cli"
	attr   string // "main", "App.run"
}

// entryPoints are a wheel's scripts in the order of their file. On Linux there
// is no difference between console and GUI scripts.
type entryPoints []entryPoint

func (p entryPoints) has(name string) bool {
	return slices.ContainsFunc(p, func(e entryPoint) bool { return e.name == name })
}

// parseEntryPoints reads the scripts out of entry_points.txt (PyPA, "Entry
// points specification", "File format"): INI without interpolation.
func parseEntryPoints(s string) (entryPoints, error) {
	var points entryPoints
	section := ""
	for i, line := range strings.Split(strings.TrimPrefix(s, "\ufeff"), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			end := strings.IndexByte(line, ']')
			if end < 0 {
				return nil, fmt.Errorf("line %d: %q is no section", i+1, line)
			}
			section = strings.TrimSpace(line[1:end])
		case section == "console_scripts" || section == "gui_scripts":
			e, err := parseEntryPoint(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			points = slices.DeleteFunc(points, func(o entryPoint) bool { return o.name == e.name }) // the last wins
			points = append(points, e)
		}
	}
	return points, nil
}

func parseEntryPoint(line string) (entryPoint, error) {
	name, value, ok := strings.Cut(line, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok {
		return entryPoint{}, fmt.Errorf("%q is no entry point", line)
	}
	if strings.ContainsAny(name, `/\`) {
		return entryPoint{}, fmt.Errorf("the script name %q has a path separator", name)
	}
	if !isScriptName(name) {
		return entryPoint{}, fmt.Errorf("%q is no script name", name)
	}
	if i := strings.IndexByte(value, '['); i >= 0 && strings.HasSuffix(value, "]") {
		value = strings.TrimSpace(value[:i]) // extras, which installers no longer look at
	}
	module, attr, ok := strings.Cut(value, ":")
	module, attr = strings.TrimSpace(module), strings.TrimSpace(attr)
	if !ok || !isDotted(module) || !isDotted(attr) {
		return entryPoint{}, fmt.Errorf("script %s: %q is not of the form module:function", name, value)
	}
	return entryPoint{name: name, module: module, attr: attr}, nil
}

// isScriptName follows the specification's advice and pip: letters, digits, and
// any of ".", "-", "+" and "_".
func isScriptName(s string) bool {
	if s == "" || s == "." || s == ".." {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._+-", r)
	})
}

// isDotted reports Python identifiers joined by dots.
func isDotted(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || unicode.IsDigit([]rune(part)[0]) {
			return false
		}
		if strings.ContainsFunc(part, func(r rune) bool {
			return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
		}) {
			return false
		}
	}
	return true
}

// forPython returns the scripts to write for a minor version of Python. pip's
// own wheel is made once for all versions, so pip renames its scripts: pip,
// pip3 and pip3.13; likewise old setuptools' easy_install and
// easy_install-3.13.
func (p entryPoints) forPython(python string) entryPoints {
	major, _, _ := strings.Cut(python, ".")
	out := p.renamed("pip", regexp.MustCompile(`^pip(\d+(\.\d+)?)?$`), "pip"+major, "pip"+python)
	return out.renamed("easy_install", regexp.MustCompile(`^easy_install(-\d+\.\d+)?$`), "easy_install-"+python)
}

// renamed replaces the scripts that match by name and the others given, all of
// them with what name starts. Without a script of that name nothing changes.
func (p entryPoints) renamed(name string, match *regexp.Regexp, others ...string) entryPoints {
	i := slices.IndexFunc(p, func(e entryPoint) bool { return e.name == name })
	if i < 0 {
		return p
	}
	out := slices.DeleteFunc(slices.Clone(p), func(e entryPoint) bool { return match.MatchString(e.name) })
	for _, n := range append([]string{name}, others...) {
		out = append(out, entryPoint{n, p[i].module, p[i].attr})
	}
	return out
}

// script returns the text of the script: what pip 26.3 writes, byte for byte,
// since RECORD has its hash. Older pips wrote others.
func (e entryPoint) script(first string) []byte {
	name, _, _ := strings.Cut(e.attr, ".")
	return fmt.Appendf(nil, `%simport sys
from %s import %s
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit(%s())
`, first, e.module, name, e.attr)
}

// maxShebang is the length of a first line, with "#!" and the line's end, that
// every Linux kernel takes (BINPRM_BUF_SIZE was 128 before Linux 5.1).
const maxShebang = 127

// shebang returns the first line of a script, with its end. A path that is too
// long or has a space in it is started through /bin/sh: the shell replaces
// itself by the interpreter, and Python sees a string.
func shebang(interpreter string) (string, error) {
	space := strings.Contains(interpreter, " ")
	if !space && len(interpreter)+len("#!\n") <= maxShebang {
		return "#!" + interpreter + "\n", nil
	}
	if strings.ContainsAny(interpreter, "\"'`$\\") || !space && strings.ContainsAny(interpreter, "\t|&;<>()*?[]#~=%!{}") {
		return "", &PlaceError{fmt.Sprintf("no script can begin with the interpreter %q", interpreter)}
	}
	if space {
		interpreter = `"` + interpreter + `"`
	}
	return "#!/bin/sh\n'''exec' " + interpreter + ` "$0" "$@"` + "\n' '''\n", nil
}

// adapted returns the content of a script of .data/scripts with its first line
// replaced by first, where that line asks for it: "#!python" or "#!pythonw"
// (PEP 427, "Recommended installer features"). nil means that nothing changes.
func (f *file) adapted(first string) ([]byte, error) {
	if f.size < int64(len("#!python")) {
		return nil, nil
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	start := make([]byte, len("#!python"))
	if _, err := io.ReadFull(r, start); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, nil
		}
		return nil, err
	}
	if string(start) != "#!python" {
		return nil, nil
	}
	if f.size > maxScript {
		return nil, f.w.refuse(f.name, "has %d bytes, more than the %d allowed for a script", f.size, maxScript)
	}
	rest := bufio.NewReader(r)
	for { // pip drops the whole line, with any arguments
		_, err := rest.ReadSlice('\n')
		if err == nil || err == io.EOF {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	var b bytes.Buffer
	b.WriteString(first)
	if _, err := b.ReadFrom(rest); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
