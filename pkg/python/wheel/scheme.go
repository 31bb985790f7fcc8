package wheel

import (
	"fmt"
	"path"
	"strings"
)

// Scheme says where in an image the parts of a wheel go: sysconfig's install
// paths. All are absolute and clean.
type Scheme struct {
	Purelib string // "/usr/local/lib/python3.13/site-packages"
	Platlib string // where it differs, as with lib64; else the same
	Scripts string // "/usr/local/bin"
	Data    string // "/usr/local"
	// Headers is the directory of one distribution's headers, with "{name}" for
	// its name: "/usr/local/include/python3.13/{name}".
	Headers string
	// Interpreter is what scripts begin with: "/usr/local/bin/python3.13".
	Interpreter string
	// Python is the version that pip's own scripts are named after: "3.13".
	Python string

	// recorded holds the paths that RECORD is written by where pip writes it
	// before it moves the files (--target); nil: the ones above.
	recorded *Scheme
}

// Installation is what is known of a Python in an image.
type Installation struct {
	// Python is the minor version: "3.13". FreeThreaded builds have a "t" in
	// their directories' names.
	Python       string
	FreeThreaded bool
	// Prefix is sys.prefix: "/usr/local" for the python images, "/usr" for
	// Debian's Python, the environment's directory for a virtual environment.
	Prefix string
	// Interpreter is sys.executable: "/usr/local/bin/python3.13".
	Interpreter string
	// Debian says that it is the Python of Debian's packages, which pip
	// installs beside: to /usr/local/lib/python3.X/dist-packages.
	Debian bool
	// LocalPrefix says that pip installs beneath Prefix/local, and into
	// site-packages, unless a prefix is given: Fedora and its kin.
	LocalPrefix bool
	// Venv says that Prefix is a virtual environment.
	Venv bool
	// Lib is sysconfig's platlibdir where it is not "lib": "lib64" on Fedora
	// and SUSE.
	Lib string
}

// Place is where a command line asked pip to install to; zero is pip's default.
type Place struct {
	Target string // --target
	Prefix string // --prefix
	// DebianPrefix says that Debian's Python keeps its own scheme below Prefix
	// (Prefix/local/lib/python3.13/dist-packages), as with pips before 26.3.
	DebianPrefix bool
	User         string // --user: the user's base directory, "/root/.local"
	// InPlace says that Target is installed to directly, as uv does. pip moves
	// what it has installed elsewhere, and RECORD keeps the paths from there.
	InPlace bool
}

// PlaceError reports places that cannot be had, or not together.
type PlaceError struct{ Reason string }

func (e *PlaceError) Error() string { return "choose where to install: " + e.Reason }

// SchemeFor returns the scheme that pip would use, by sysconfig's posix_prefix,
// posix_user, posix_home and venv schemes and Debian's posix_local.
func SchemeFor(in Installation, at Place) (Scheme, error) {
	var s Scheme
	switch {
	case at.Target != "" && (at.Prefix != "" || at.User != ""):
		return Scheme{}, &PlaceError{"--target cannot be had with --prefix or --user"}
	case at.Prefix != "" && at.User != "":
		return Scheme{}, &PlaceError{"--prefix cannot be had with --user"}
	case in.Venv && at.User != "":
		return Scheme{}, &PlaceError{"a virtual environment has no --user packages"}
	case at.Target != "":
		s = in.target(at.Target)
		if at.InPlace {
			s.recorded = nil
			s.Headers = path.Join(at.Target, "include", "{name}")
		}
	case at.Prefix != "":
		s = in.scheme(at.Prefix, "site-packages") // Debian's posix_local is for its own prefix alone
		if in.Debian && !in.Venv && at.DebianPrefix {
			s = in.posixLocal(at.Prefix)
		}
	case at.User != "":
		s = in.scheme(at.User, "site-packages")
		s.Platlib = s.Purelib // posix_user has no platlibdir
	default:
		s = in.standard()
	}
	s.Interpreter, s.Python = in.Interpreter, in.Python
	return s, s.check()
}

// dir is the name that the version's directories have: "python3.13t".
func (in Installation) dir() string {
	if in.FreeThreaded {
		return "python" + in.Python + "t"
	}
	return "python" + in.Python
}

// scheme is posix_prefix with its base at base.
func (in Installation) scheme(base, packages string) Scheme {
	lib := in.Lib
	if lib == "" {
		lib = "lib"
	}
	s := Scheme{
		Purelib: path.Join(base, "lib", in.dir(), packages),
		Platlib: path.Join(base, lib, in.dir(), packages),
		Scripts: path.Join(base, "bin"),
		Data:    base,
		Headers: path.Join(base, "include", in.dir(), "{name}"),
	}
	if in.Venv {
		// pip's own choice, not sysconfig's.
		s.Headers = path.Join(base, "include", "site", "python"+in.Python, "{name}")
	}
	return s
}

// standard is where pip installs to unless told otherwise.
func (in Installation) standard() Scheme {
	switch {
	case in.Debian && !in.Venv:
		return in.posixLocal(in.Prefix)
	case in.LocalPrefix && !in.Venv:
		return in.scheme(path.Join(in.Prefix, "local"), "site-packages")
	}
	return in.scheme(in.Prefix, "site-packages")
}

// posixLocal is Debian's posix_local: all below local but the headers, which are
// by installed_base.
func (in Installation) posixLocal(base string) Scheme {
	s := in.scheme(path.Join(base, "local"), "dist-packages")
	s.Headers = path.Join(base, "include", in.dir(), "{name}")
	return s
}

// target is `pip install --target DIR`: pip installs by posix_home into an
// empty directory, then moves what is in its lib/python, and all the rest of
// it, to DIR. RECORD keeps the paths from before.
func (in Installation) target(dir string) Scheme {
	const home = "/home"
	headers := path.Join("include", "python", "{name}")
	if in.Venv { // pip's own choice, as ever
		headers = path.Join("include", "site", "python"+in.Python, "{name}")
	}
	return Scheme{
		Purelib: dir, Platlib: dir,
		Scripts: path.Join(dir, "bin"),
		Data:    dir,
		Headers: path.Join(dir, headers),
		recorded: &Scheme{
			Purelib: home + "/lib/python", Platlib: home + "/lib/python",
			Scripts: home + "/bin",
			Data:    home,
			Headers: path.Join(home, headers),
		},
	}
}

// check refuses paths that are not absolute and clean, and an interpreter that
// no script can begin with.
func (s Scheme) check() error {
	for _, p := range []string{s.Purelib, s.Platlib, s.Scripts, s.Data, s.Headers, s.Interpreter} {
		if !path.IsAbs(p) || path.Clean(p) != p {
			return &PlaceError{fmt.Sprintf("%q is not an absolute path", p)}
		}
		if strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return &PlaceError{fmt.Sprintf("%q has a control character", p)}
		}
	}
	if s.Python == "" {
		return &PlaceError{"the Python version is not known"}
	}
	_, err := shebang(s.Interpreter)
	return err
}

// dest returns the place in the image of a file of the wheel, and the place
// that RECORD has for it.
func (s Scheme) dest(k key, project, sub string) (at, recorded string) {
	at = path.Join(s.dir(k, project), sub)
	if s.recorded == nil {
		return at, at
	}
	return at, path.Join(s.recorded.dir(k, project), sub)
}

// key names one of a scheme's paths, as the directories in .data do.
type key string

func (s Scheme) dir(k key, project string) string {
	switch k {
	case "purelib":
		return s.Purelib
	case "platlib":
		return s.Platlib
	case "scripts":
		return s.Scripts
	case "data":
		return s.Data
	case "headers":
		return strings.ReplaceAll(s.Headers, "{name}", project)
	}
	return ""
}
