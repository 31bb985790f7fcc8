package debian

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/boyabuild/boyabuild/pkg/layers"
)

// Users and groups of a root. Those with numbers below 100 and nobody have them
// in every Debian system (base-passwd); nonroot is the one that images without
// a shell run their programs as.
const (
	passwd = `root:x:0:0:root:/root:/usr/sbin/nologin
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/usr/sbin/nologin
`
	group = `root:x:0:
daemon:x:1:
tty:x:5:
disk:x:6:
mail:x:8:
www-data:x:33:
shadow:x:42:
utmp:x:43:
staff:x:50:
nogroup:x:65534:
nonroot:x:65532:
`
	nsswitch = `passwd:         files
group:          files
shadow:         files
gshadow:        files

hosts:          files dns
networks:       files

protocols:      db files
services:       db files
ethers:         db files
rpc:            db files
`
)

// NonrootID is the user and group that a root has for programs that need no
// privilege.
const NonrootID = 65532

// maxCertificate bounds a file with a certificate.
const maxCertificate = 1 << 20

// finish adds what maintainer scripts would have made. What a package ships
// itself stays as it is.
func (a *assembly) finish(members []member, merged map[string]bool) error {
	system := &member{os: true, origin: "boyabuild's root"}
	add := func(e layers.Entry) {
		e.Origin = system.origin
		if a.at[e.Path] == nil {
			a.at[e.Path] = &placed{e, system}
		}
	}
	for _, top := range slices.Sorted(maps.Keys(merged)) {
		add(layers.Entry{Path: top, Kind: layers.Symlink, Mode: 0o777, Link: "usr/" + top})
		add(directory("usr/"+top, 0o755))
	}
	for _, e := range skeleton() {
		add(e)
	}
	if bundle, err := a.certificates(); err != nil {
		return err
	} else if len(bundle) > 0 {
		add(file("etc/ssl/certs/ca-certificates.crt", bundle))
		add(link("usr/lib/ssl/certs", "/etc/ssl/certs"))
		add(link("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt"))
	}
	if a.at["usr/share/zoneinfo/Etc/UTC"] != nil {
		add(link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC"))
		add(file("etc/timezone", []byte("Etc/UTC\n")))
	}
	if python := a.at["usr/bin/python3"]; python != nil && a.at["usr/bin/python"] == nil {
		e := link("usr/bin/python", "python3")
		e.Origin = system.origin
		a.at[e.Path] = &placed{e, python.from}
	}
	// Where scanners look for the packages of an image that has no dpkg.
	for i := range members {
		m := &members[i]
		status := "var/lib/dpkg/status.d/" + m.name
		a.at[status] = &placed{file(status, m.control), m}
		if m.md5sums != nil {
			a.at[status+".md5sums"] = &placed{file(status+".md5sums", m.md5sums), m}
		}
	}
	return nil
}

// skeleton returns the directories and files that a root has beside packages'.
func skeleton() []layers.Entry {
	entries := []layers.Entry{
		directory("tmp", 0o1777), directory("var/tmp", 0o1777), directory("root", 0o700),
		directory("run", 0o755), directory("run/lock", 0o1777),
		link("var/run", "/run"), link("var/lock", "/run/lock"),
		file("etc/passwd", []byte(passwd)), file("etc/group", []byte(group)),
		file("etc/nsswitch.conf", []byte(nsswitch)),
	}
	for _, dir := range []string{"dev", "proc", "sys", "home", "etc", "var/log", "var/cache", "var/lib", "opt", "srv", "mnt",
		"usr/local/bin", "usr/local/etc", "usr/local/include", "usr/local/lib", "usr/local/sbin", "usr/local/share"} {
		entries = append(entries, directory(dir, 0o755))
	}
	home := directory("home/nonroot", 0o700)
	home.UID, home.GID = NonrootID, NonrootID
	return append(entries, home)
}

func directory(p string, mode uint32) layers.Entry {
	return layers.Entry{Path: p, Kind: layers.Dir, Mode: mode}
}

func link(p, target string) layers.Entry {
	return layers.Entry{Path: p, Kind: layers.Symlink, Mode: 0o777, Link: target}
}

func file(p string, content []byte) layers.Entry {
	return layers.Entry{Path: p, Kind: layers.File, Mode: 0o644, Size: int64(len(content)), Content: layers.Bytes(content)}
}

// certificates puts the certificates of ca-certificates one after the other, in
// order of their paths, as update-ca-certificates does.
func (a *assembly) certificates() ([]byte, error) {
	var entries []layers.Entry
	for p, e := range a.at {
		if strings.HasPrefix(p, "usr/share/ca-certificates/") && path.Ext(p) == ".crt" && e.Kind == layers.File {
			entries = append(entries, e.Entry)
		}
	}
	t, err := layers.NewTree(entries)
	if err != nil {
		return nil, err
	}
	var bundle []byte
	for _, e := range t.Entries() {
		if e.Kind != layers.File {
			continue
		}
		b, err := t.ReadFile(e.Path, maxCertificate)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("assemble packages: %s: %w", e.Origin, err)
		}
		bundle = append(bundle, b...)
		if len(b) > 0 && b[len(b)-1] != '\n' {
			bundle = append(bundle, '\n')
		}
	}
	return bundle, nil
}
