package base

import (
	"bytes"
	"errors"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/debian"
	"github.com/boyabuild/boyabuild/pkg/layers"
)

// interpreterName is the name of an interpreter's own file: the minor version
// and, for a build without the global interpreter lock, a "t".
var interpreterName = regexp.MustCompile(`^python(3\.\d{1,2})(t?)$`)

// python finds the Python that "python3" or "python" starts in the image.
func (p *probe) python(distribution string) (*Python, error) {
	found, real := p.findInterpreter()
	if found == "" {
		return nil, nil
	}
	m := interpreterName.FindStringSubmatch(path.Base(real))
	py := &Python{Version: m[1], FreeThreaded: m[2] == "t", Commands: p.commands(m[1]+m[2], real)}
	home := path.Dir(path.Dir(real)) // where the standard library is
	py.Prefix = home
	if venv := path.Dir(path.Dir(found)); p.is(venv+"/pyvenv.cfg", layers.File) {
		py.Prefix, py.Venv = venv, true
	}
	version, err := p.pythonVersion(home, m[1], m[2])
	if err != nil {
		return nil, err
	}
	if version != "" {
		py.Version = version
	}
	py.Lib = p.libDir(home, "python"+m[1]+m[2])
	if py.Prefix == "/usr" { // the distribution's own, which keeps /usr for its packages
		py.Debian = p.is("usr/lib/python3/dist-packages", layers.Dir) || distribution == "debian" || distribution == "ubuntu"
		py.LocalPrefix = !py.Debian && slices.Contains(fedoras, distribution)
	}
	if py.Interpreter, py.Pip, err = p.executable(py, found, real); err != nil {
		return nil, err
	}
	return py, nil
}

// searchDirs returns the directories of the image's PATH.
func (p *probe) searchDirs() []string {
	list := p.env["PATH"]
	if list == "" {
		list = searchPath // what runtimes take for an image that names none
	}
	var dirs []string
	for dir := range strings.SplitSeq(list, ":") {
		if path.IsAbs(dir) {
			dirs = append(dirs, path.Clean(dir))
		}
	}
	return dirs
}

// findInterpreter returns the first Python on the PATH as it is found there, and
// the file it is, both absolute; empty where there is none.
func (p *probe) findInterpreter() (found, real string) {
	for _, dir := range p.searchDirs() {
		names := []string{"python3", "python"}
		for _, e := range p.children(dir) { // an image may have python3.13 alone
			if name := path.Base(e.Path); interpreterName.MatchString(name) {
				names = append(names, name)
			}
		}
		slices.SortStableFunc(names[2:], func(a, b string) int { return len(b) - len(a) })
		for _, name := range names {
			file := path.Join(dir, name)
			if !p.is(file, layers.File) {
				continue
			}
			target, err := p.tree.Resolve(file)
			if err == nil && interpreterName.MatchString(path.Base(target)) {
				return file, "/" + target
			}
		}
	}
	return "", ""
}

// commands returns the names on the PATH by which a Python is started.
func (p *probe) commands(version, real string) []string {
	var found []string
	for _, dir := range p.searchDirs() {
		for _, name := range []string{"python", "python3", "python" + version} {
			file := path.Join(dir, name)
			if slices.Contains(found, file) || !p.is(file, layers.File) {
				continue
			}
			if target, err := p.tree.Resolve(file); err == nil && "/"+target == real {
				found = append(found, file)
			}
		}
	}
	return found
}

var (
	patchlevel   = regexp.MustCompile(`(?m)^#define\s+PY_VERSION\s+"([^"\s]{1,32})"`)
	debianPython = regexp.MustCompile(`^(?:\d+:)?(3\.\d+\.\d+)(?:~?((?:a|b|rc)\d+))?`)
	apkPython    = regexp.MustCompile(`^(3\.\d+\.\d+)(?:_(alpha|beta|rc)(\d+))?`)
)

// pythonVersion returns the whole version of a Python whose first two parts are
// known, from the first place that tells; "" if none does.
func (p *probe) pythonVersion(home, minor, threads string) (string, error) {
	fits := func(v string) bool { return strings.HasPrefix(v, minor+".") }
	// Docker's python images name what they have built into /usr/local.
	if v := p.env["PYTHON_VERSION"]; fits(v) && home == "/usr/local" {
		return v, nil
	}
	header, err := p.text(home+"/include/python"+minor+threads+"/patchlevel.h", maxText)
	if err != nil {
		return "", err
	}
	if m := patchlevel.FindSubmatch(header); m != nil && fits(string(m[1])) {
		return strings.TrimSuffix(string(m[1]), "+"), nil
	}
	if home == "/usr" {
		for _, from := range []func(minor string) (string, error){p.debianPython, p.apkPython} {
			if v, err := from(minor); err != nil || fits(v) {
				return v, err
			}
		}
	}
	// The version that sys.version begins with is a string of the interpreter or its library.
	inside, err := regexp.Compile(`\x00(` + regexp.QuoteMeta(minor) + `\.\d{1,2}(?:(?:a|b|rc)\d{1,2})?)\+?\x00`)
	if err != nil {
		return "", err
	}
	for _, file := range []string{"/lib/libpython" + minor + threads + ".so.1.0", "/bin/python" + minor + threads} {
		m, err := p.search(home+file, inside)
		if err != nil {
			return "", err
		}
		if m != nil {
			return m[1], nil
		}
	}
	return "", nil
}

// debianPython returns the version of Debian's package of a Python.
func (p *probe) debianPython(minor string) (string, error) {
	for _, name := range []string{"python" + minor + "-minimal", "libpython" + minor + "-minimal", "python" + minor} {
		v, err := p.dpkgVersion(name)
		if err != nil {
			return "", err
		}
		if m := debianPython.FindStringSubmatch(v); m != nil {
			return m[1] + m[2], nil
		}
	}
	return "", nil
}

// apkPython returns the version of Alpine's or Wolfi's package of a Python.
func (p *probe) apkPython(minor string) (string, error) {
	for _, name := range []string{"python3", "python-" + minor, "python-" + minor + "-base"} {
		v, err := p.apkVersion(name)
		if err != nil {
			return "", err
		}
		if m := apkPython.FindStringSubmatch(v); m != nil && strings.HasPrefix(m[1], minor+".") {
			pre := map[string]string{"alpha": "a", "beta": "b", "rc": "rc"}[m[2]]
			return m[1] + pre + m[3], nil
		}
	}
	return "", nil
}

// dpkgVersion returns the installed version of a Debian package, from dpkg's
// status or, in images without dpkg, from status.d; "" if it is not installed.
func (p *probe) dpkgVersion(name string) (string, error) {
	for _, file := range []string{"var/lib/dpkg/status.d/" + name, "var/lib/dpkg/status"} {
		text, err := p.text(file, maxStatus)
		if err != nil {
			return "", err
		}
		control := debian.NewControlReader(bytes.NewReader(text))
		control.Only = []string{"Package", "Version", "Status"}
		for {
			paragraph, err := control.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return "", err
			}
			status := paragraph.Get("Status")
			if paragraph.Get("Package") == name && (status == "" || strings.HasSuffix(status, " installed")) {
				return paragraph.Get("Version"), nil
			}
		}
	}
	return "", nil
}

// apkVersion returns the installed version of an apk package; "" if it is not
// installed.
func (p *probe) apkVersion(name string) (string, error) {
	for _, file := range []string{"lib/apk/db/installed", "usr/lib/apk/db/installed"} {
		text, err := p.text(file, maxStatus)
		if err != nil {
			return "", err
		}
		this := false
		for line := range strings.Lines(string(text)) {
			switch key, value, _ := strings.Cut(strings.TrimSpace(line), ":"); key {
			case "P":
				this = value == name
			case "V":
				if this {
					return value, nil
				}
			case "":
				this = false
			}
		}
	}
	return "", nil
}

// fedoras are the distributions whose Python has Fedora's change "Making sudo
// pip safe": what is not installed by rpm goes to /usr/local.
var fedoras = []string{"fedora", "rhel", "centos", "rocky", "almalinux", "ol", "amzn"}

// libDir returns sysconfig's platlibdir, which is where the standard library
// lies, if it is not "lib". Where one is a link to the other it is "lib".
func (p *probe) libDir(home, name string) string {
	at := func(lib string) bool { return p.is(path.Join(home, lib, name, "os.py"), layers.File) }
	if at("lib64") && !at("lib") {
		return "lib64"
	}
	return ""
}

// executable returns the interpreter that the image's pip runs on, which is the
// one in its first line; and without a pip, the one that a distribution's
// would: /usr/bin/python3, and elsewhere the file with the version in its name.
func (p *probe) executable(py *Python, found, real string) (interpreter, pip string, err error) {
	for _, dir := range p.searchDirs() {
		for _, name := range []string{"pip", "pip3"} {
			file := path.Join(dir, name)
			if !p.is(file, layers.File) {
				continue
			}
			if e, err := p.tree.Stat(file); err != nil || e.Size > maxText {
				continue
			}
			text, err := p.text(file, maxText)
			if err != nil {
				return "", "", err
			}
			line, _, _ := bytes.Cut(text, []byte{'\n'})
			program, isScript := strings.CutPrefix(strings.TrimSpace(string(line)), "#!")
			program = strings.TrimSpace(program)
			// A pip of another installation on the PATH says nothing of this one.
			if target, err := p.tree.Resolve(program); isScript && path.IsAbs(program) && err == nil && "/"+target == real {
				return program, file, nil
			}
		}
	}
	if py.Prefix == "/usr" && p.is("usr/bin/python3", layers.File) {
		return "/usr/bin/python3", "", nil
	}
	minor := strings.Join(strings.SplitN(py.Version, ".", 3)[:2], ".")
	if versioned := path.Join(py.Prefix, "bin", "python"+minor); p.is(versioned, layers.File) {
		return versioned, "", nil
	}
	return found, "", nil
}
