package dockerfile

import (
	"fmt"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// hostPlatform is where builds run when nothing else is said: containers are
// Linux's, on this machine's architecture.
func hostPlatform() v1.Platform {
	return v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
}

// ParsePlatform reads "os/arch[/variant]", and "arch" alone for Linux, into the
// normal form of image manifests: "linux/aarch64" and "arm64/v8" are
// linux/arm64, "x86_64" is linux/amd64, "arm" is linux/arm/v7.
func ParsePlatform(s string) (v1.Platform, error) {
	parts := strings.Split(strings.ToLower(s), "/")
	for _, part := range parts {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" {
			return v1.Platform{}, fmt.Errorf("%q is not a platform (os/architecture)", s)
		}
	}
	p := v1.Platform{OS: "linux"}
	switch {
	case len(parts) > 3:
		return p, fmt.Errorf("%q is not a platform (os/architecture)", s)
	case len(parts) == 1 && isOS(parts[0]):
		p.OS, p.Architecture = parts[0], runtime.GOARCH
	case len(parts) == 1:
		p.Architecture = parts[0]
	case len(parts) == 2 && !isOS(parts[0]):
		p.Architecture, p.Variant = parts[0], parts[1]
	default:
		p.OS, p.Architecture = parts[0], parts[1]
		p.Variant = strings.Join(parts[2:], "")
	}
	return normal(p), nil
}

func isOS(s string) bool {
	switch s {
	case "linux", "windows", "darwin", "freebsd":
		return true
	}
	return false
}

// normal maps names that mean the same to one, as containerd does.
func normal(p v1.Platform) v1.Platform {
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "i386", "i486", "i586", "i686":
		p.Architecture = "386"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf", "armel":
		if p.Architecture == "armel" {
			p.Variant = "v6"
		}
		p.Architecture = "arm"
	}
	switch p.Architecture + "/" + p.Variant {
	case "amd64/v1", "arm64/8", "arm64/v8":
		p.Variant = ""
	case "arm/", "arm/7":
		p.Variant = "v7"
	case "arm/5", "arm/6", "arm/8":
		p.Variant = "v" + p.Variant
	}
	return p
}
