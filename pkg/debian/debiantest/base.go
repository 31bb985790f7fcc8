package debiantest

import "strings"

// Certificate is the content of the one certificate file that AddBase serves.
const Certificate = "-----BEGIN CERTIFICATE-----\nbWFkZSBieSBhIHRlc3Q=\n-----END CERTIFICATE-----\n"

// AddBase puts into a suite the packages that every assembled root has, small
// and laid out like Debian's: base-files, netbase, tzdata, ca-certificates,
// media-types, libc-bin, libstdc++6, zlib1g, and what they depend on, for all
// architectures of the suite. The C library is called version 2.41.
func (s *Server) AddBase(suite string) {
	release := strings.TrimSuffix(suite, "-updates")
	osRelease := "PRETTY_NAME=\"A test's GNU/Linux (" + release + ")\"\nID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=" + release + "\n"
	for _, p := range []Package{
		{Name: "base-files", Version: "13.8+deb13u1", Fields: map[string]string{"Pre-Depends": "awk", "Essential": "yes"}, Files: []File{
			{Path: "bin", Symlink: "usr/bin"}, {Path: "sbin", Symlink: "usr/sbin"}, {Path: "lib", Symlink: "usr/lib"},
			{Path: "tmp/", Mode: 0o1777}, {Path: "var/tmp/", Mode: 0o1777}, {Path: "root/", Mode: 0o700}, {Path: "usr/"},
			{Path: "etc/os-release", Symlink: "../usr/lib/os-release"}, {Path: "usr/lib/os-release", Body: osRelease},
			{Path: "usr/share/doc/base-files/copyright", Body: "GPL\n"}, {Path: "usr/share/doc/base-files/README", Body: "pruned\n"},
		}},
		{Name: "mawk", Fields: map[string]string{"Provides": "awk", "Priority": "required"}, Files: []File{{Path: "usr/bin/mawk", Mode: 0o755}}},
		{Name: "netbase", Version: "6.5", Files: []File{{Path: "etc/services", Body: "http 80/tcp\n"}}},
		{Name: "tzdata", Version: "2026b-0+deb13u1", Depends: "debconf (>= 0.5) | debconf-2.0", Files: []File{
			{Path: "usr/share/zoneinfo/Etc/UTC", Body: "TZif2"}, {Path: "usr/share/zoneinfo/UTC", Hardlink: "usr/share/zoneinfo/Etc/UTC"},
		}},
		{Name: "debconf", Version: "1.5.91", Fields: map[string]string{"Provides": "debconf-2.0"}, Files: []File{{Path: "usr/bin/debconf", Mode: 0o755}}},
		{Name: "ca-certificates", Version: "20260601", Depends: "openssl (>= 1.1.1), debconf (>= 0.5) | debconf-2.0", Files: []File{
			{Path: "usr/share/ca-certificates/mozilla/Test.crt", Body: Certificate}, {Path: "etc/ssl/certs/"},
		}},
		{Name: "openssl", Version: "3.5.9-1", Files: []File{{Path: "usr/bin/openssl", Mode: 0o755}}},
		{Name: "media-types", Version: "13.0.0", Files: []File{{Path: "etc/mime.types", Body: "text/html html\n"}}},
		{Name: "libc-bin", Version: "2.41-12", Depends: "libc6 (>> 2.41)", Files: []File{{Path: "usr/sbin/ldconfig", Mode: 0o755}}},
		{Name: "libc6", Version: "2.41-12", Files: []File{
			{Path: "usr/lib/libc.so.6", Body: "\x00GNU C Library (Debian GLIBC 2.41-12) stable release version 2.41.\n\x00"},
		}},
		{Name: "libstdc++6", Version: "14.2.0-19", Depends: "libc6 (>= 2.38)", Files: []File{{Path: "usr/lib/libstdc++.so.6"}}},
		{Name: "zlib1g", Version: "1:1.3.dfsg-1", Depends: "libc6 (>= 2.14)", Compression: "zst", Files: []File{{Path: "usr/lib/libz.so.1"}}},
	} {
		s.Add(suite, p)
	}
}

// AddPython puts a python3 of a version ("3.13.5") into a suite, whose
// interpreter is a file with the given content, and a python3-pip that has the
// line by which pip names its default index.
func (s *Server) AddPython(suite, version, interpreter, index string) {
	minor := version[:strings.LastIndexByte(version, '.')]
	name := "python" + minor
	for _, p := range []Package{
		{Name: "python3", Version: version + "-1", Depends: name + " (>= " + version + "-1~), lib" + name + "-stdlib",
			Files: []File{{Path: "usr/bin/python3", Symlink: name}}, Fields: map[string]string{"Multi-Arch": "allowed"}},
		{Name: name, Version: version + "-2", Depends: "media-types | mime-support", Compression: "gz",
			Files: []File{{Path: "usr/bin/" + name, Body: interpreter, Mode: 0o755}}},
		{Name: "lib" + name + "-stdlib", Version: version + "-2", Compression: "none", Files: []File{
			{Path: "usr/lib/" + name + "/os.py", Body: "# os\n"}, {Path: "usr/lib/python3/dist-packages/"},
		}},
		{Name: "python3-pip", Version: "25.1.1+dfsg-1", Depends: "python3:any", Files: []File{
			{Path: "usr/lib/python3/dist-packages/pip/_internal/models/index.py",
				Body: "class PackageIndex:\n    pass\n\n\nPyPI = PackageIndex(\"" + index + "\", file_storage_domain=\"files.example.org\")\n"},
		}},
	} {
		s.Add(suite, p)
	}
}
